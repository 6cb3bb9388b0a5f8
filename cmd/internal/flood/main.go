// Flood shows that hostile neighbors do not matter: honest clients renew and check out all the time on a real leaseholdd with a software TPM, while others, from
// many addresses of the loopback network, hold connections, open half of them, drip bytes, send what is no message, come and go; one after the other, then all
// together.
//
//	flood [-o FILE] [-short] [-malformed DURATION]
//
// It is started at the top of the repository. The attackers are processes of their own on the same cores, so figures of time say as much about the machine as
// about the server; what must hold on every machine is told apart from them. The status is 1 if one of those promises was broken, or the run could not be made.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/leasehold/leasehold/cmd/internal/machine"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "attack" {
		if err := attackMain(os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "flood:", err)
			os.Exit(1)
		}
		return
	}
	o := options{sizes: whole()}
	flag.StringVar(&o.report, "o", "bin/flood.json", "write the report to this `file`")
	flag.BoolFunc("short", "a run of about a minute, with a share of everything", func(string) error { o.sizes = share(); return nil })
	flag.DurationVar(&o.sizes.Malformed, "malformed", o.sizes.Malformed, "end the phase of malformed frames after this `time`, however many were sent")
	flag.Parse()
	broken, err := flood(o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "flood:", err)
	}
	if err != nil || broken {
		os.Exit(1)
	}
}

type options struct {
	report string
	sizes  sizes
}

// sizes are how much and for how long. A phase of malformed frames ends when all are sent.
type sizes struct {
	Calm      time.Duration `json:"calmNs"`
	Each      time.Duration `json:"eachNs"`
	Slowloris time.Duration `json:"slowlorisNs"`
	Storm     time.Duration `json:"stormNs"`
	Together  time.Duration `json:"togetherNs"`
	Malformed time.Duration `json:"malformedNs"` // at most
	Live      int           `json:"live"`
	HalfOpen  int           `json:"halfOpen"`
	Drips     int           `json:"drips"`
	Frames    int           `json:"frames"`
	Browsers  int           `json:"browsers"`
}

func whole() sizes {
	return sizes{10 * time.Second, 30 * time.Second, time.Minute, time.Minute, time.Minute, time.Hour, 10_000, 10_000, 1000, 1_000_000, 500}
}

func share() sizes {
	return sizes{6 * time.Second, 8 * time.Second, 8 * time.Second, 6 * time.Second, 10 * time.Second, 8 * time.Second, 5000, 5000, 500, 3000, 300}
}

// report is what is written: figures with all that is needed to judge them.
type report struct {
	Machine  machine.Machine `json:"machine"`
	Commit   string          `json:"commit"`
	Started  string          `json:"started"`
	Seconds  float64         `json:"seconds"`
	Sizes    sizes           `json:"sizes"`
	Before   size            `json:"before"` // nobody is connected
	After    size            `json:"after"`
	Phases   []phase         `json:"phases"`
	Key      timing          `json:"keyTiming"`
	Journal  int             `json:"journalLines"` // of the daemon, in all
	Promises []promise       `json:"promises"`
	Figures  []promise       `json:"figures"` // which depend on the machine
}

// phase is one flood, or none, with what the honest clients heard meanwhile.
type phase struct {
	Name    string     `json:"name"`
	Attacks []*outcome `json:"attacks,omitempty"`
	Honest  *heard     `json:"honest"`
	Most    size       `json:"most"`
	Left    size       `json:"left"` // when the attackers were gone for a while
	Daemon  cores      `json:"daemon"`
	Clients cores      `json:"clients"` // the honest ones
}

type promise struct {
	What string `json:"what"`
	Seen string `json:"seen"`
	Met  bool   `json:"met"`
}

type plan struct {
	name    string
	lasts   time.Duration
	attacks []start
}

type start struct {
	kind string
	n    int
}

func (s sizes) plans() []plan {
	return []plan{
		{"calm", s.Calm, nil},
		{"live connections", s.Each, []start{{"live", s.Live}}},
		{"half-open connections", s.Each, []start{{"half-open", s.HalfOpen}}},
		{"slowloris", s.Slowloris, []start{{"slowloris", s.Drips}}},
		{"malformed frames", s.Malformed, []start{{"malformed", s.Frames}}},
		{"new connections", s.Storm, []start{{"connections", 0}}},
		{"browsers", s.Each, []start{{"browsers", s.Browsers}}},
		{"all together", s.Together, []start{{"live", s.Live}, {"half-open", s.HalfOpen}, {"slowloris", s.Drips}, {"malformed", s.Frames}, {"connections", 0}, {"browsers", s.Browsers}}},
		{"calm again", s.Calm / 2, nil},
	}
}

func flood(o options, out io.Writer) (broken bool, err error) {
	begun := time.Now()
	r := report{Started: begun.UTC().Format(time.RFC3339), Sizes: o.sizes}
	if r.Machine, err = machine.This(); err != nil {
		return false, err
	}
	if r.Commit, err = machine.Commit(); err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "lh") // short, because of the sockets in it
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	t, err := newTarget(dir)
	if err != nil {
		return false, err
	}
	defer t.Close()
	if err := r.run(t, o.sizes, out); err != nil {
		t.Kill()
		said := t.Log.Bytes()
		return false, fmt.Errorf("%w\n%s", err, said[max(0, len(said)-4000):])
	}
	if err := t.Halt(); err != nil {
		return false, err
	}
	r.Journal = bytes.Count(t.Log.Bytes(), []byte("\n"))
	r.Seconds = time.Since(begun).Round(time.Second).Seconds()
	r.judge()
	r.print(out)
	for _, p := range r.Promises {
		broken = broken || !p.Met
	}
	b, err := json.MarshalIndent(&r, "", "  ")
	if err != nil {
		return broken, err
	}
	if err := os.MkdirAll(filepath.Dir(o.report), 0o755); err != nil {
		return broken, err
	}
	return broken, os.WriteFile(o.report, append(b, '\n'), 0o644)
}

func (r *report) run(t *target, s sizes, out io.Writer) error {
	// What is made once at the first connection is no growth.
	first, err := newDevice(t.Address(), nil)
	if err != nil {
		return err
	}
	if err := errors.Join(first.ask(1), first.ask(0)); err != nil {
		return err
	}
	first.leave()
	if r.Before, err = settled(t, func(z size) bool { return z.Open+z.HalfOpen == 0 }); err != nil {
		return err
	}
	if r.Key, err = measureTiming(t); err != nil {
		return err
	}
	h, err := begin(t)
	if err != nil {
		return err
	}
	for _, p := range s.plans() {
		done, err := p.run(t, h)
		if err != nil {
			h.end()
			return fmt.Errorf("%s: %w", p.name, err)
		}
		r.Phases = append(r.Phases, *done)
		fmt.Fprintf(out, "%s\n", done.line())
	}
	h.end()
	r.After, err = settled(t, func(z size) bool {
		return z.Open+z.HalfOpen == 0 && z.Sockets <= r.Before.Sockets && z.Goroutines <= r.Before.Goroutines
	})
	return err
}

// run is one phase: the attackers begin, the daemon is looked at four times a second, and afterwards it is waited until they are gone from it.
func (p plan) run(t *target, h *honest) (*phase, error) {
	h.phase()
	done := &phase{Name: p.name}
	begun, daemon, clients := time.Now(), coresOf(t.Cmd.Process.Pid), coresOf(os.Getpid())
	var waits []func() (*outcome, error)
	for _, a := range p.attacks {
		w, err := startAttack(a.kind, t.Address(), a.n, p.lasts)
		if err != nil {
			return nil, err
		}
		waits = append(waits, w)
	}
	gone := make(chan error, 1)
	if len(waits) == 0 {
		time.AfterFunc(p.lasts, func() { gone <- nil })
	} else {
		go func() {
			var all error
			for _, w := range waits {
				o, err := w()
				done.Attacks, all = append(done.Attacks, o), errors.Join(all, err)
			}
			gone <- all
		}()
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-gone:
			done.Honest = h.phase()
			done.Daemon, done.Clients = coresOf(t.Cmd.Process.Pid).since(daemon, begun), coresOf(os.Getpid()).since(clients, begun)
			if err != nil {
				return nil, err
			}
			done.Left, err = settled(t, func(z size) bool { return z.Open <= honestConnections && z.HalfOpen <= returners+newcomers })
			return done, err
		case <-tick.C:
			z, err := t.size()
			if err != nil {
				return nil, err
			}
			done.Most = done.Most.larger(z)
		}
	}
}

// settled is the size when it is as wanted, or after a while.
func settled(t *target, as func(size) bool) (size, error) {
	for begun := time.Now(); ; wait(50 * time.Millisecond) {
		z, err := t.size()
		if err != nil || as(z) || time.Since(begun) > 15*time.Second {
			return z, err
		}
	}
}

// timing is how long a malformed frame takes to be refused over a new connection, of a device that holds a lease and of a stranger: medians of the same minutes, turn about.
type timing struct {
	Device   float64 `json:"deviceMs"`
	Stranger float64 `json:"strangerMs"`
	Each     int     `json:"each"`
}

func measureTiming(t *target) (timing, error) {
	const each = 101
	known, err := newDevice(t.Address(), nil)
	if err != nil {
		return timing{}, err
	}
	if err := known.ask(1); err != nil {
		return timing{}, err
	}
	known.leave()
	var took [2][]time.Duration
	for range each {
		stranger, err := newDevice(t.Address(), nil)
		if err != nil {
			return timing{}, err
		}
		for i, d := range []*device{known, stranger} {
			begun := time.Now()
			conn, err := d.connect(patience)
			if err != nil {
				return timing{}, err
			}
			conn.Write([]byte{0, 0, 0, 0})
			io.ReadAll(conn)
			took[i] = append(took[i], time.Since(begun))
			conn.Close()
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	return timing{milliseconds(took[0][each/2]), milliseconds(took[1][each/2]), each}, known.ask(0)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
