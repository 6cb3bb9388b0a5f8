package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// onceOnly takes the measures that need no turns, or servers of their own. One that cannot be taken keeps none from being taken, and is in the error.
func (t *trial) onceOnly(profiles string) (failed error) {
	for _, m := range []struct {
		what string
		take func() error
	}{
		{"first connections", t.firstConnections},
		{"clients at once", t.storms},
		{"the TPM's part, and starts", t.tapped},
		{"profiles, syncs and a slow disk", func() error { return t.instrumentedMeasures(profiles) }},
		{"nodes", t.manyNodes},
		{"many leases", t.manyLeases},
	} {
		if !t.once.MatchString(m.what) {
			continue
		}
		begun := time.Now()
		if err := m.take(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", m.what, err))
		}
		fmt.Fprintf(t.out, "%s: %s\n", m.what, time.Since(begun).Round(time.Second))
	}
	return failed
}

// firstUse is clients that connect, ask for the chain, check it from the producer's root, take a count and go.
type firstUse struct {
	AtOnce int     `json:"atOnce"`
	Rate   float64 `json:"perSecond"`
	P50    float64 `json:"p50us"`
	P99    float64 `json:"p99us"`
	CPU    float64 `json:"cpuUsPerConnection"`
}

func (t *trial) firstConnections() error {
	for _, n := range []int{1, 8, busy} {
		s := &subject{name: appliance, pid: t.box.Cmd.Process.Pid, dial: func(_ workload, i int) (speaker, error) {
			return &newcomer{t.box.Address(), t.site.trust, t.devices[i], wire.New()}, nil
		}}
		r, err := s.run(workload{name: "first connections"}, n, t.warm, aBit)
		if err != nil {
			return err
		}
		t.figures.First = append(t.figures.First, firstUse{n, r.Rate, r.P50, r.P99, r.CPU})
	}
	return nil
}

// newcomer is a client without a connection.
type newcomer struct {
	address string
	trust   *wire.Trust
	device  device
	codec   *wire.Codec
}

func (n *newcomer) do() error {
	c, err := connect(n.address, n.device)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	if _, err := c.conn.Write(n.codec.Ask()); err != nil {
		return err
	}
	kind, body, err := n.codec.ReadFrame(c.in)
	if err != nil || kind != wire.MessageChain {
		return fmt.Errorf("message %d where the chain is wanted: %w", kind, err)
	}
	var chain wire.Chain
	if err := n.codec.Decode(body, &chain, capability.MaxFrame); err != nil {
		return err
	}
	if _, err := n.codec.VerifyChain(n.trust, &chain, attest.JudgeSession); err != nil {
		return err
	}
	if !c.server.Equal(ed25519.PublicKey(chain.Serving)) {
		return errors.New("the chain proves another key than that of the connection")
	}
	m := c.message(n.device.id, capability.StatusOK, desired(feature, 1))
	return c.exchange(&m)
}

func (n *newcomer) leave() error {
	c, err := connect(n.address, n.device)
	if err != nil {
		return err
	}
	return c.leave()
}

// storm is as many clients as an address may have, all at once, each with a new connection and one checkout.
type storm struct {
	Clients   int     `json:"clients"`
	Appliance float64 `json:"applianceMs"` // until the last one is served, median
	Floor     float64 `json:"floorMs"`
	Ratio     float64 `json:"ratio"`
	Refused   int     `json:"refused"`
	Resident  float64 `json:"peakResidentMiB"`
}

func (t *trial) storms() error {
	s := storm{Clients: mostDevices}
	var ours, theirs, ratios []float64
	var first error
	for round := range t.rounds {
		names := []string{appliance, floorTree}
		took := map[string]float64{}
		for i := range names {
			name := names[(i+round)%2]
			d, peak, refused, err := t.storm(t.subjects[name])
			if took[name] = milliseconds(d); name == appliance {
				s.Resident, s.Refused = max(s.Resident, float64(peak)/(1<<20)), s.Refused+refused
				if first == nil {
					first = err
				}
			} else if err != nil {
				return err
			}
		}
		ours, theirs, ratios = append(ours, took[appliance]), append(theirs, took[floorTree]), append(ratios, took[appliance]/took[floorTree])
	}
	if first != nil {
		fmt.Fprintf(t.out, "%d of %d clients were not served, the first because of: %v\n", s.Refused, s.Clients*t.rounds, first)
	}
	s.Appliance, s.Floor, s.Ratio = median(ours), median(theirs), median(ratios)
	t.figures.Storm = &s
	return nil
}

func (t *trial) storm(s *subject) (took time.Duration, peak uint64, refused int, first error) {
	speakers, errs := make([]speaker, mostDevices), make([]error, mostDevices)
	var all sync.WaitGroup
	var done atomic.Bool
	watched := make(chan uint64)
	go func() {
		var most uint64
		for !done.Load() {
			if n, err := residentBytes(s.pid); err == nil {
				most = max(most, n)
			}
			wait(5 * time.Millisecond)
		}
		watched <- most
	}()
	begun := time.Now()
	for i := range speakers {
		all.Go(func() {
			if speakers[i], errs[i] = s.dial(workloads()[0], i); errs[i] == nil {
				errs[i] = speakers[i].do()
			}
		})
	}
	all.Wait()
	took = time.Since(begun)
	done.Store(true)
	peak = <-watched
	for i, err := range errs {
		if err == nil {
			err = speakers[i].leave()
		}
		if err != nil {
			refused++
			if first == nil {
				first = err
			}
		}
	}
	return took, peak, refused, first
}

// nodes is the memory of a daemon from which so many devices hold a count, when all connections are closed.
type nodes struct {
	Count    int     `json:"count"`
	Resident float64 `json:"residentMiB"`
	Peak     float64 `json:"rightAfterMiB"`
}

func (t *trial) manyNodes() error {
	b, err := t.site.box("n")
	if err != nil {
		return err
	}
	defer b.Close()
	if err := b.Start(); err != nil {
		return err
	}
	left := t.nodes
	for left > 0 {
		n := min(left, mostDevices)
		left -= n
		devices, err := newDevices(n)
		if err != nil {
			return err
		}
		if err := eachOf(n, func(i int) error {
			c, err := connect(b.Address(), devices[i])
			if err != nil {
				return err
			}
			defer c.conn.Close()
			m := c.message(devices[i].id, capability.StatusOK, desired(feature, 1))
			return c.exchange(&m)
		}); err != nil {
			return err
		}
	}
	pid := b.Cmd.Process.Pid
	peak, err := residentBytes(pid)
	if err != nil {
		return err
	}
	wait(12 * aBit) // its collector runs every 10 s, and its runtime gives memory back little by little
	now, err := residentBytes(pid)
	t.figures.Nodes = &nodes{t.nodes, *megabytes(now), *megabytes(peak)}
	return err
}

// eachOf calls do for 0 to n-1, some at once.
func eachOf(n int, do func(int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	room := make(chan struct{}, 8)
	for i := range n {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			errs[i] = do(i)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// many is a daemon that serves many leases, one of each device, beside the same daemon before.
type many struct {
	Leases   int     `json:"leases"`
	Few      sample  `json:"few"` // 64 clients on the empty ledger
	Full     sample  `json:"full"`
	Resident float64 `json:"residentMiB"`
	Start    float64 `json:"startMs"`      // until the first answer
	Empty    float64 `json:"emptyStartMs"` // the same before
	SQLite   float64 `json:"sqliteMs"`     // that SQLite takes to read as many leases
}

func (t *trial) manyLeases() error {
	b, err := t.site.box("m")
	if err != nil {
		return err
	}
	defer b.Close()
	m := many{Leases: t.leases}
	if m.Empty, err = t.timedStart(b); err != nil {
		return err
	}
	for _, run := range []struct {
		fill bool
		to   *sample
	}{{false, &m.Few}, {true, &m.Full}} {
		if run.fill {
			if err := t.fill(b); err != nil {
				return err
			}
		}
		if *run.to, err = b.subject(t.devices).run(workloads()[0], busy, t.warm, 2*aBit); err != nil {
			return err
		}
	}
	n, err := residentBytes(b.Cmd.Process.Pid)
	if err != nil {
		return err
	}
	m.Resident = *megabytes(n)
	if err := b.Halt(); err != nil {
		return err
	}
	if m.Start, err = t.timedStart(b); err != nil {
		return err
	}
	h, err := b.Health()
	if err != nil {
		return err
	}
	if h.Used != uint64(t.leases)+1 {
		return fmt.Errorf("after the start %d counts are in use where %d and one were", h.Used, t.leases)
	}
	dir := t.dir + "/sqlite"
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	out, err := exec.Command(t.baseline, "-dir", dir, "-recover", strconv.Itoa(t.leases)).Output()
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	m.SQLite, err = strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	t.figures.Many = &m
	return err
}

// timedStart starts a daemon and gives the milliseconds until a client that waits has its first answer. The client keeps one count.
func (t *trial) timedStart(b *box) (float64, error) {
	begun := time.Now()
	if err := b.Spawn(); err != nil {
		return 0, err
	}
	c, err := workloads()[1].client(b.Address(), t.devices[mostDevices-1], "")
	took := time.Since(begun)
	if err != nil {
		b.Kill()
		return 0, fmt.Errorf("after a start: %w\n%s", err, b.Log)
	}
	return milliseconds(took), c.conn.Close()
}

// fill takes leases for made-up devices, each with one count, over many connections.
func (t *trial) fill(b *box) error {
	var next atomic.Uint64
	const clients = 256
	return eachAtOnce(clients, func(i int) error {
		c, err := connect(b.Address(), t.devices[i])
		if err != nil {
			return err
		}
		defer c.conn.Close()
		m := c.message(hostid.ID{Type: hostid.Ethernet, Value: "f00000000000"}, capability.StatusOK, desired(feature, 1))
		n := t.leases / clients
		if i < t.leases%clients {
			n++
		}
		c.fresh = func() uint64 { return next.Add(1) }
		for range n {
			if err := c.exchange(&m); err != nil {
				return err
			}
		}
		return nil
	})
}

func eachAtOnce(n int, do func(int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}
