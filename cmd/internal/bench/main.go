// Bench measures a real leaseholdd on a software TPM under load, and in the same minutes what it is compared with: echo, which only sends bytes back; floor, which
// does what any server with the same promises must do at least; baseline and nosync, which anyone would write first (module baseline). Each is a process of its own, and they take turns.
//
//	bench [-o FILE] [-micro FILE] [-baseline PROGRAM] [-short] [-rounds N] [-connections 1,8,64,512] [-only REGEXP] [-once REGEXP]
//	bench markdown FILE
//
// It is started at the top of the repository. Clients keep one request in flight each, on the same cores as the server; every answer is looked at, and one in 64 is
// decoded and its proof checked. The report says for each goal of speed what was measured and whether it is met. A goal that is not met does not change the status: 1 is
// a run that could not be made, or an answer that was not the wanted one.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/leasehold/leasehold/cmd/internal/machine"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) >= 2 && args[0] == "serve" {
		return serve(args[1:])
	}
	if len(args) == 2 && args[0] == "markdown" {
		return markdown(args[1], out)
	}
	o := options{rounds: 5, connections: []int{1, 8, 64, 512}, warm: 200 * time.Millisecond, measure: time.Second, leases: 1_000_000, nodes: 10_000, starts: 20}
	o.only, o.once = regexp.MustCompile(""), regexp.MustCompile("")
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.report, "o", "bin/bench.json", "write the report to this `file`")
	f.StringVar(&o.micro, "micro", "", "take the figures of the benchmarks from this `file`, as go test wrote them")
	f.StringVar(&o.baseline, "baseline", "bin/bench-baseline", "the `program` of module baseline")
	f.BoolFunc("short", "a run of a minute or two: 2 rounds, 1 and 64 connections, small sizes", func(string) error {
		o.rounds, o.connections, o.measure, o.leases, o.nodes, o.starts = 2, []int{1, 64}, 500*time.Millisecond, 50_000, 1000, 3
		return nil
	})
	f.IntVar(&o.rounds, "rounds", o.rounds, "`number` of rounds")
	f.DurationVar(&o.measure, "measure", o.measure, "`time` to measure each workload, server and number of connections in each round")
	f.IntVar(&o.leases, "leases", o.leases, "live leases where there are many, at most 1000000")
	f.Func("connections", "`numbers` of connections, with commas", func(s string) error {
		o.connections = nil
		for n := range strings.SplitSeq(s, ",") {
			v, err := strconv.Atoi(n)
			if err != nil || v < 1 || v > mostDevices {
				return fmt.Errorf("%q is not 1 to %d", n, mostDevices)
			}
			o.connections = append(o.connections, v)
		}
		return nil
	})
	matching := func(to **regexp.Regexp) func(string) error {
		return func(s string) (err error) {
			*to, err = regexp.Compile(s)
			return err
		}
	}
	f.Func("only", "only the workloads whose name matches this `regexp`", matching(&o.only))
	f.Func("once", "only those measures that are taken once whose name matches this `regexp`", matching(&o.once))
	if err := f.Parse(args); err != nil {
		return err
	}
	return bench(o, out)
}

// serve is this program as one of the servers.
func serve(args []string) error {
	switch {
	case len(args) == 1 && args[0] == echo:
		return serveEcho()
	case len(args) == 3 && args[0] == "floor":
		return serveFloor(args[1], args[2])
	}
	return errors.New("serve echo, or serve floor DIR group|each|none")
}

// mostDevices is as many clients as there are at once: an address may have 1,024 connections.
const mostDevices = 1000

func bench(o options, out io.Writer) error {
	begun := time.Now()
	r := report{Started: begun.UTC().Format(time.RFC3339)}
	var err error
	if r.Machine, err = machine.This(); err != nil {
		return err
	}
	if r.Commit, err = machine.Commit(); err != nil {
		return err
	}
	if r.Busy, err = busyShare(2 * aBit); err != nil {
		return err
	}
	if o.baseline, err = filepath.Abs(o.baseline); err != nil {
		return err
	}
	if r.Micro, err = readMicro(o.micro); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lh") // short, because of the sockets in it
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &trial{options: o, dir: dir, out: out}
	defer b.close()
	if err := b.prepare(); err != nil {
		return err
	}
	if r.Rows, err = rounds(o, b.subjects, b.probe, out); err != nil {
		return err
	}
	failed := b.onceOnly(filepath.Dir(o.report))
	r.Figures, r.Rounds = b.figures, o.rounds
	r.Goals = judge(&r)
	r.Seconds = time.Since(begun).Round(time.Second).Seconds()
	r.print(out)
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.report), 0o755); err != nil {
		return err
	}
	return errors.Join(failed, os.WriteFile(o.report, append(text, '\n'), 0o644))
}
