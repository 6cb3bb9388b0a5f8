package main

import (
	"fmt"
	"io"

	"github.com/leasehold/leasehold/cmd/internal/machine"
)

// report is what is written: figures with all that is needed to judge them.
type report struct {
	Machine machine.Machine `json:"machine"`
	Commit  string          `json:"commit"`
	Started string          `json:"started"`
	Seconds float64         `json:"seconds"`
	Rounds  int             `json:"rounds"`
	Busy    float64         `json:"busy"` // part of the cores that others used just before
	Goals   []verdict       `json:"goals"`
	Rows    table           `json:"rows"`
	Figures figures         `json:"figures"`
	Micro   []micro         `json:"micro,omitempty"`
}

// quiet is the part of the cores below which nobody else is at work.
const quiet = 0.1

func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s, %d cores, Linux %s, %s, %s\n%s, %d rounds, medians, clients on the same cores, others before it used %.0f %% of the cores\n", r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.Go, r.Machine.TPM, r.Commit, r.Rounds, 100*r.Busy)
	if r.Busy > quiet {
		fmt.Fprintln(out, "THE MACHINE WAS BUSY: these figures are no measure of anything but the machine; repeat them when it is quiet")
	}
	workload := ""
	for _, w := range r.Rows {
		if w.Workload != workload {
			workload = w.Workload
			fmt.Fprintf(out, "\n%s\n%5s  %-16s %8s %9s %9s %9s %7s %8s %6s %6s %7s %7s %8s\n", workload, "conns", "server", "ops/s", "p50 us", "p99 us", "p99.9 us", "CPU us", "bytes/op", "syncs", "MiB", "/echo", "/floor", "/baseline")
		}
		m := w.Median
		syncs := ""
		if w.Server == appliance {
			syncs = fmt.Sprintf("%.3f", m.Syncs)
		}
		fmt.Fprintf(out, "%5d  %-16s %8.0f %9.0f %9.0f %9.0f %7.1f %8.0f %6s %6.0f %7s %7s %8s\n", w.Connections, w.Server, m.Rate, m.P50, m.P99, m.P999, m.CPU, m.Written, syncs, m.Resident,
			r.relative(w, echo), r.relative(w, floorTree), r.relative(w, baseline))
	}
	r.printFigures(out)
	fmt.Fprintf(out, "\n%-4s %-76s %-34s %s\n", "goal", "", "measured", "")
	for _, g := range r.Goals {
		fmt.Fprintf(out, "%-4s %-76s %-34s %s\n", g.Name, g.Goal, g.Figure, g.Verdict)
		if g.Why != "" {
			fmt.Fprintf(out, "%-4s   %s\n", "", g.Why)
		}
	}
}

func (r *report) relative(w row, to string) string {
	if w.Server == to {
		return ""
	}
	v, err := r.Rows.ratio(w.Workload, w.Connections, w.Server, to, rate)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%.3f", v)
}

func (r *report) printFigures(out io.Writer) {
	f := &r.Figures
	if f.Sync != nil {
		fmt.Fprintf(out, "\nbeside the rounds, p50: sync of 300 bytes %.0f us; the TPM's extend %.0f us, read-back %.0f us\n", *f.Sync, *f.Extend, *f.ReadBack)
	}
	if f.IdleResident != nil {
		fmt.Fprintf(out, "idle: %.1f MiB, %.1f KiB for each idle connection\n", *f.IdleResident, *f.IdleConn)
	}
	for _, u := range f.TPM {
		fmt.Fprintf(out, "TPM time at %d: %.0f us extend and %.0f us read-back in each group, of %.1f operations; %.1f us each\n", u.Connections, u.Extend, u.ReadBack, u.OpsPerGroup, u.PerOp)
	}
	for _, u := range f.First {
		fmt.Fprintf(out, "first connections, %d at once, chain verified: %.0f/s, p50 %.0f us, p99 %.0f us, server CPU %.0f us\n", u.AtOnce, u.Rate, u.P50, u.P99, u.CPU)
	}
	if s := f.Storm; s != nil {
		fmt.Fprintf(out, "%d clients at once: %.0f ms, floor %.0f ms, ratio %.2f; %d refused; at most %.0f MiB\n", s.Clients, s.Appliance, s.Floor, s.Ratio, s.Refused, s.Resident)
	}
	if s := f.Starts; s != nil {
		fmt.Fprintf(out, "%d starts: %.0f ms to the first answer, of which %.0f ms the TPM's; %.0f ms beyond it, at most %.0f; %.0f after a kill under load\n", s.Count, s.Took, s.TPM, s.Beyond, s.BeyondMax, s.Killed)
	}
	if n := f.Nodes; n != nil {
		fmt.Fprintf(out, "%d nodes leased, connections closed: %.0f MiB, %.0f right after\n", n.Count, n.Resident, n.Peak)
	}
	if m := f.Many; m != nil {
		fmt.Fprintf(out, "%d live leases: %.0f ops/s at %d connections, p50 %.0f us, CPU %.1f us; before %.0f ops/s, %.0f us, %.1f us; %.0f MiB; start %.0f ms, empty %.0f; SQLite reads as many in %.0f ms\n",
			m.Leases, m.Full.Rate, busy, m.Full.P50, m.Full.CPU, m.Few.Rate, m.Few.P50, m.Few.CPU, m.Resident, m.Start, m.Empty, m.SQLite)
	}
	if s := f.Slow; s != nil {
		fmt.Fprintf(out, "with %.0f ms added to each sync: %.0f ops/s at %d connections, %.2f of connections / (2 x period)\n", s.Delay, s.Rate, s.Connections, s.Rate/s.Bound)
	}
	for _, c := range f.SyncsCalled {
		fmt.Fprintf(out, "%d checkouts and releases at %d connections: %d calls of fdatasync\n", c.Ops, c.Connections, c.Syncs)
	}
	for _, p := range f.Profiles {
		fmt.Fprintf(out, "\nCPU and allocated bytes of %s at %d, each part with all that it calls, so that parts overlap (%s)\n", p.Workload, p.Connections, p.File)
		for i, c := range p.Costs {
			fmt.Fprintf(out, "  %5.1f %%  %5.1f %%  %s\n", c.Percent, p.Allocated[i].Percent, c.What)
		}
	}
}
