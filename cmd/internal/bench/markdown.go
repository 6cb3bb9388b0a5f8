package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// markdown writes a report, read from a file, as the tables of the README.
func markdown(file string, out io.Writer) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	r.markdown(out)
	return nil
}

func (r *report) markdown(out io.Writer) {
	fmt.Fprintf(out, "%s, %d cores, Linux %s, %s, %s; commit %.7s, %d rounds, medians; others used %.0f %% of the cores just before.\n\n", r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.Go, r.Machine.TPM, r.Commit, r.Rounds, 100*r.Busy)
	fmt.Fprintf(out, "| what | connections | per second | p50 µs | p99 µs | p99.9 µs | server CPU µs | device bytes | syncs | MiB | × echo | × floor | × baseline |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, w := range r.Rows {
		if w.Server != appliance {
			continue
		}
		m := w.Median
		fmt.Fprintf(out, "| %s | %d | %.0f | %.0f | %.0f | %.0f | %.1f | %.0f | %.3f | %.0f | %s | %s | %s |\n", w.Workload, w.Connections, m.Rate, m.P50, m.P99, m.P999, m.CPU, m.Written, m.Syncs, m.Resident,
			r.relative(w, echo), r.relative(w, floorTree), r.relative(w, baseline))
	}
	fmt.Fprintf(out, "\n| goal | | measured | |\n|---|---|---|---|\n")
	for _, g := range r.Goals {
		why := ""
		if g.Why != "" {
			why = ": " + g.Why
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s%s |\n", g.Name, strings.NewReplacer("<=", "≤", ">=", "≥", " x", " ×").Replace(g.Goal), g.Figure, strings.ToLower(g.Verdict), why)
	}
}
