package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// The servers that are compared.
const (
	appliance     = "leaseholdd"
	echo          = "echo"
	floorTree     = "floor"
	floorEach     = "floor, sign each"
	floorUnsigned = "floor, unsigned"
	baseline      = "baseline"
	nosync        = "nosync"
)

// workload is what every client does again and again.
type workload struct {
	name    string
	servers []string // that it is run on, turn about
	only    []int    // connections; nil: all that are asked for
}

const (
	checkouts = "checkouts" // one count of a feature is taken and given back: each is one operation, and durable
	renewals  = "renewals"  // the same count is asked for again
	denials   = "denials"   // more than there is
	sixes     = "checkouts of six features"
)

func workloads() []workload {
	return []workload{
		{name: checkouts, servers: []string{echo, floorTree, appliance, baseline, nosync}},
		{name: renewals, servers: []string{echo, floorTree, floorEach, floorUnsigned, appliance, baseline}},
		{name: denials, servers: []string{appliance}},
		{name: sixes, servers: []string{appliance}, only: []int{64}},
	}
}

// client gives a client of the appliance or of floor, which grants everything.
func (w workload) client(address string, d device, sign string) (*client, error) {
	c, err := connect(address, d)
	if err != nil {
		return nil, err
	}
	one := desired(feature, 1)
	take, give := c.message(d.id, capability.StatusOK, one), c.message(d.id, capability.StatusReturned)
	switch w.name {
	case checkouts:
		c.messages = []message{take, give}
	case renewals:
		if sign == "" {
			err = c.exchange(&take)
		}
		c.messages = []message{take}
	case denials:
		m := c.message(d.id, capability.StatusPartly, desired(feature, total+1))
		m.code = capability.ErrNoSeat
		c.messages = []message{m}
	case sixes:
		var lines []capability.Desired
		for _, f := range sixFeatures() {
			lines = append(lines, desired(f, 1))
		}
		c.messages = []message{c.message(d.id, capability.StatusOK, lines...), give}
	}
	if sign != "" {
		c.last.want, c.unsigned = capability.StatusOK, sign == signNone
		for i := range c.messages {
			c.messages[i].want = capability.StatusOK
		}
	}
	if err != nil {
		c.conn.Close()
		return nil, err
	}
	return c, nil
}

// row is a workload on a server with so many connections: every round, and the medians.
type row struct {
	Workload    string   `json:"workload"`
	Connections int      `json:"connections"`
	Server      string   `json:"server"`
	Median      sample   `json:"median"`
	Rounds      []sample `json:"rounds"`
}

// table is all rows, with a lookup.
type table []row

func (t table) find(workload, server string, connections int) *row {
	for i := range t {
		if r := &t[i]; r.Workload == workload && r.Server == server && r.Connections == connections {
			return r
		}
	}
	return nil
}

// others starts the servers that are compared with the appliance.
func others(dir, baselineProgram string, devices []device) (map[string]*subject, func(), error) {
	all := map[string]*subject{}
	var children []*child
	stop := func() {
		for _, c := range children {
			c.stop()
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, stop, err
	}
	start := func(name, program string, args ...string) (*child, error) {
		c, err := startChild(program, args...)
		if err == nil {
			children = append(children, c)
			all[name] = &subject{name: name, pid: c.cmd.Process.Pid}
		}
		return c, err
	}
	c, err := start(echo, self, "serve", echo)
	if err != nil {
		return nil, stop, err
	}
	address := c.address
	all[echo].dial = func(w workload, _ int) (speaker, error) {
		if w.name == renewals {
			return newEchoer(address, renewalBytes)
		}
		return newEchoer(address, checkoutBytes)
	}
	for name, sign := range map[string]string{floorTree: signGroup, floorEach: signEach, floorUnsigned: signNone} {
		c, err := start(name, self, "serve", "floor", dir, sign)
		if err != nil {
			return nil, stop, err
		}
		all[name].dial = func(w workload, i int) (speaker, error) { return w.client(c.address, devices[i], sign) }
	}
	for _, name := range []string{baseline, nosync} {
		database := dir + "/" + name
		if err := os.Mkdir(database, 0o700); err != nil {
			return nil, stop, err
		}
		args := []string{"-dir", database}
		if name == nosync {
			args = append(args, "-nosync")
		}
		c, err := start(name, baselineProgram, args...)
		if err != nil {
			return nil, stop, err
		}
		var key []byte
		if name == baseline {
			if key, err = keyOf(c.address); err != nil {
				return nil, stop, err
			}
		}
		all[name].dial = func(w workload, i int) (speaker, error) {
			return newCaller(c.address, key, devices[i], w.name == renewals)
		}
	}
	return all, stop, nil
}

// rounds runs every workload on every server with every number of connections, turn about: all that is compared is measured within seconds, and each round begins
// with another server. What goes on between two rounds is probe's.
func rounds(o options, subjects map[string]*subject, probe func() error, out io.Writer) (table, error) {
	var t table
	for round := range o.rounds {
		if err := probe(); err != nil {
			return t, err
		}
		for _, w := range workloads() {
			if !o.only.MatchString(w.name) {
				continue
			}
			for _, n := range o.connections {
				if w.only != nil && !slices.Contains(w.only, n) {
					continue
				}
				for i := range w.servers {
					s := subjects[w.servers[(i+round)%len(w.servers)]]
					r, err := s.run(w, n, o.warm, o.measure)
					if err != nil {
						return t, err
					}
					found := t.find(w.name, s.name, n)
					if found == nil {
						t = append(t, row{Workload: w.name, Connections: n, Server: s.name})
						found = &t[len(t)-1]
					}
					found.Rounds = append(found.Rounds, r)
				}
			}
		}
		fmt.Fprintf(out, "round %d of %d\n", round+1, o.rounds)
	}
	for i := range t {
		t[i].Median = medianSample(t[i].Rounds)
	}
	slices.SortStableFunc(t, func(a, b row) int {
		name := func(r row) int {
			return slices.IndexFunc(workloads(), func(w workload) bool { return w.name == r.Workload })
		}
		return cmp.Or(name(a)-name(b), a.Connections-b.Connections, order(a)-order(b))
	})
	return t, nil
}

func order(r row) int {
	return slices.Index([]string{appliance, floorTree, floorEach, floorUnsigned, baseline, nosync, echo}, r.Server)
}

// leastCPU is the CPU for each operation in the best round: what others do to caches and clocks can only add to it.
func leastCPU(all []sample) float64 {
	least := all[0].CPU
	for _, s := range all {
		least = min(least, s.CPU)
	}
	return least
}

// medianSample is the median of each figure, and the least CPU.
func medianSample(all []sample) sample {
	of := func(f func(sample) float64) float64 {
		v := make([]float64, len(all))
		for i, s := range all {
			v[i] = f(s)
		}
		return median(v)
	}
	return sample{
		Ops:  uint64(of(func(s sample) float64 { return float64(s.Ops) })),
		Rate: of(func(s sample) float64 { return s.Rate }), P50: of(func(s sample) float64 { return s.P50 }), P99: of(func(s sample) float64 { return s.P99 }),
		P999: of(func(s sample) float64 { return s.P999 }), CPU: leastCPU(all), Written: of(func(s sample) float64 { return s.Written }),
		Dirtied: of(func(s sample) float64 { return s.Dirtied }),
		Syncs:   of(func(s sample) float64 { return s.Syncs }), TPM: of(func(s sample) float64 { return s.TPM }), Resident: of(func(s sample) float64 { return s.Resident }),
		Request: of(func(s sample) float64 { return s.Request }), Answer: of(func(s sample) float64 { return s.Answer }),
	}
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// ratio is the median over the rounds of one figure of the appliance, or of another server, to that of a third.
func (t table) ratio(workload string, connections int, a, b string, f func(sample) float64) (float64, error) {
	x, y := t.find(workload, a, connections), t.find(workload, b, connections)
	if x == nil || y == nil {
		return 0, errors.New("not part of this run")
	}
	v := make([]float64, min(len(x.Rounds), len(y.Rounds)))
	for i := range v {
		v[i] = f(x.Rounds[i]) / f(y.Rounds[i])
	}
	return median(v), nil
}

func rate(s sample) float64 { return s.Rate }
func p50(s sample) float64  { return s.P50 }
func p99(s sample) float64  { return s.P99 }

// options are what a run is asked for.
type options struct {
	report, micro, baseline string
	rounds                  int
	connections             []int
	warm, measure           time.Duration
	leases, nodes, starts   int
	only, once              *regexp.Regexp // workloads, and measures that are taken once
}
