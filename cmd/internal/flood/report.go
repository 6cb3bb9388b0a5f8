package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/leasehold/leasehold/capability/wire"
)

// The promises of a server under flood.
const (
	mostResident  = 256 // MiB
	slowdown      = 5   // times the p99 of an unloaded server
	halfOpenLimit = 5   // s
	leastKinds    = 100 // families of malformed frames
	stormRate     = 100_000
)

// judge compares what was seen with what is promised on every machine, and with what depends on it.
func (r *report) judge() {
	var tried, failed, halfOpen int
	var most size
	var oldest, slowest, unloaded, waitedThen, waitedCalm float64
	var wrong []string
	seen := map[string]int{}
	raw := map[string]int{}
	at := map[string]int{}
	for _, p := range r.Phases {
		tried += p.Honest.Renewals.Tried + p.Honest.Returning.Tried
		failed += p.Honest.Renewals.Failed + p.Honest.Returning.Failed
		most = most.larger(p.Most)
		if p.Attacks == nil && unloaded == 0 {
			unloaded, waitedCalm = p.Honest.Checkouts.P99, p.Daemon.ratio()
		}
		if p.Honest.Checkouts.P99 > slowest {
			slowest, waitedThen = p.Honest.Checkouts.P99, p.Daemon.ratio()
		}
		for _, o := range p.Attacks {
			oldest = max(oldest, o.Oldest)
			wrong = append(wrong, o.Wrong...)
			for b, n := range o.Seen {
				seen[b] += n
			}
			for b, n := range o.Raw {
				raw[b] += n
			}
			at[o.Kind] = max(at[o.Kind], o.AtOnce)
			if o.Kind == "half-open" {
				halfOpen += o.Opened
			}
		}
	}
	fixed := hex.EncodeToString(wire.New().Refused())
	other := 0 // than the fixed refusal, or nothing
	for b := range seen {
		if b != fixed && b != "" {
			other++
		}
	}
	for b := range raw {
		if b != "" {
			other++
		}
	}
	say := func(list *[]promise, met bool, what, format string, args ...any) {
		*list = append(*list, promise{what, fmt.Sprintf(format, args...), met})
	}
	must := &r.Promises
	say(must, failed == 0 && tried > 0, "every honest renewal is answered", "%d of %d failed", failed, tried)
	say(must, most.Resident > 0 && most.Resident <= mostResident, fmt.Sprintf("RSS at most %d MiB", mostResident), "%.0f MiB", most.Resident)
	say(must, most.Oldest <= halfOpenLimit+1 && halfOpen > 0, "no half-open connection older than 5 s, and a second for a busy machine", "the oldest %.1f s; as the attackers saw it %.1f s", most.Oldest, oldest)
	say(must, other == 0 && seen[fixed] > 0, "a stranger sees one answer", "%d others; the fixed one %d times", other, seen[fixed])
	say(must, r.After.Open+r.After.HalfOpen == 0, "all places are free afterwards", "%d open, %d half-open", r.After.Open, r.After.HalfOpen)
	say(must, r.After.Sockets <= r.Before.Sockets, "as many sockets as before", "%d, before %d; of %d descriptors, before %d", r.After.Sockets, r.Before.Sockets, r.After.Descriptors, r.Before.Descriptors)
	say(must, r.After.Goroutines <= r.Before.Goroutines, "as many goroutines as before", "%d, before %d", r.After.Goroutines, r.Before.Goroutines)
	say(must, len(wrong) == 0, "the floods are what they are called", "%s", strings.Join(append(wrong, "nothing wrong")[:min(3, len(wrong)+1)], "; "))

	may := &r.Figures
	ratio := 0.0
	if unloaded > 0 {
		ratio = slowest / unloaded
	}
	say(may, ratio > 0 && ratio <= slowdown, fmt.Sprintf("p99 of checkouts at most %d times that of a calm server", slowdown), "%.1f times: %.1f ms, calm %.1f ms; for each second that the daemon ran then, its threads waited %.1f s for a core, calm %.1f s", ratio, slowest, unloaded, waitedThen, waitedCalm)
	say(may, at["live"] >= 10_000 || r.tried("live connections", "live") >= 10_000, "10000 live connections", "%d tried, %d at once; the daemon had at most %d", r.tried("live connections", "live"), at["live"], most.Open)
	say(may, r.tried("half-open connections", "half-open") >= 10_000, "10000 half-open connections", "%d tried, %d at once; the daemon had at most %d", r.tried("half-open connections", "half-open"), at["half-open"], most.HalfOpen)
	if o := r.attack("slowloris", "slowloris"); o != nil {
		say(may, o.Seconds >= 60, "slowloris for 60 s", "%.0f s, %d connections", o.Seconds, o.Opened)
	}
	if o := r.attack("malformed frames", "malformed"); o != nil {
		say(may, o.Tried >= 1_000_000 && o.Families >= leastKinds, fmt.Sprintf("1000000 malformed frames of %d families", leastKinds), "%d of %d families, %.0f a second", o.Tried, o.Families, float64(o.Tried)/o.Seconds)
	}
	if o := r.attack("new connections", "connections"); o != nil {
		rate := float64(o.Opened) / o.Seconds * 60
		say(may, rate >= stormRate, fmt.Sprintf("%d new connections a minute", stormRate), "%.0f a minute, each with a whole handshake", rate)
	}
	if o := r.attack("browsers", "browsers"); o != nil {
		say(may, o.Pages > 0, "browsers without a pause", "%d at once, %.0f pages a second", o.AtOnce, float64(o.Pages)/o.Seconds)
	}
	say(may, r.Key.Stranger < 1.1*r.Key.Device && r.Key.Device < 1.1*r.Key.Stranger, "a device and a stranger wait equally long for a refusal", "%.2f ms and %.2f ms, median of %d each", r.Key.Device, r.Key.Stranger, r.Key.Each)
}

func (r *report) attack(phase, kind string) *outcome {
	for _, p := range r.Phases {
		for _, o := range p.Attacks {
			if p.Name == phase && o.Kind == kind {
				return o
			}
		}
	}
	return nil
}

func (r *report) tried(phase, kind string) int {
	if o := r.attack(phase, kind); o != nil {
		return o.Tried
	}
	return 0
}

const form = "%-22s %9s %16s %16s %12s %16s %8s %6s %10s %6s %16s"

func (p *phase) line() string {
	tried := 0
	for _, o := range p.Attacks {
		tried += o.Tried
	}
	of := func(t *tallied) string { return fmt.Sprintf("%d/%d", t.Failed, t.Tried) }
	return fmt.Sprintf(form, p.Name, fmt.Sprint(tried), of(&p.Honest.Renewals), of(&p.Honest.Returning), of(&p.Honest.Newcomers), fmt.Sprintf("%.1f / %.1f", p.Honest.Checkouts.P50, p.Honest.Checkouts.P99),
		fmt.Sprintf("%.0f", p.Most.Resident), fmt.Sprint(p.Most.Open), fmt.Sprint(p.Most.HalfOpen), fmt.Sprint(p.Left.Open+p.Left.HalfOpen),
		fmt.Sprintf("%.2f / %.2f", p.Daemon.Ran, p.Daemon.Waited))
}

func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s, %d cores, Linux %s, %s, %s\n%s, %.0f s\n\n", r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.Go, r.Machine.TPM, r.Commit, r.Seconds)
	fmt.Fprintf(out, form+"\n", "flood", "tried", "renewals f/tried", "returning", "newcomers", "checkout p50/p99", "RSS MiB", "open", "half-open", "left", "ran / waited")
	for _, p := range r.Phases {
		fmt.Fprintln(out, p.line())
	}
	fmt.Fprintf(out, "\nbefore: %+v\nafter:  %+v\njournal: %d lines\n\n", r.Before, r.After, r.Journal)
	for _, list := range [][]promise{r.Promises, r.Figures} {
		for _, p := range list {
			word := "yes"
			if !p.Met {
				word = "NO"
			}
			fmt.Fprintf(out, "%-4s %s: %s\n", word, p.What, p.Seen)
		}
		fmt.Fprintln(out)
	}
}
