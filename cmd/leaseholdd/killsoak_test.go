package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/rig"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// clerk is the administrator in the load: returns, requests, imports and models, and what was acknowledged of them.
type clerk struct {
	b        *box
	requests uint64 // number of the last acknowledged request
	returns  []capability.ReturnID
	given    uint32 // copies returned, acknowledged
	unsure   uint32 // copies whose return was not answered
	applied  uint64 // serial
	model    string // acknowledged
	next     string // model that was not answered
}

// killed is how a cycle ended.
type killed string

const (
	inStart  killed = "in the start"
	inLoad   killed = "under load"
	inMove   killed = "in a return"
	inImport killed = "in an import"
	inUpload killed = "in an upload"
	inStop   killed = "in a clean stop"
)

// TestSoakKill kills a real daemon on a software TPM at random moments: in its start, under the load of six clients, in returns (which move the epoch), imports,
// uploads of models (whose size forces snapshots) and clean stops. After each kill it starts again and
//   - serves at once: no hold, no refusal;
//   - has for every client exactly what that client was last told in a verified answer, or what its one unanswered request asked for, and nothing for anyone else;
//   - has every acknowledged return, request number, response and model, and at most the one more that was under way.
//
// Until it is killed nobody's connection breaks: a daemon that ends by itself is a failure.
//
// Two kills of three under load come with an answer: the client that has it kills before it reads it, which is when an acknowledgement too early would show. The others
// come some time after one. Most of a cycle is waiting, so that a long run leads several machines side by side. One case is one kill.
func TestSoakKill(t *testing.T) {
	size := storagetest.Size(t, 6, 10_000, 100_000)
	var (
		mu                     sync.Mutex
		begun, tried, answered int
		failed                 int
		given                  uint32
		ends                   = map[killed]int{}
		starting               time.Duration
		all                    sync.WaitGroup
	)
	take := func() bool {
		mu.Lock()
		defer mu.Unlock()
		begun++
		return begun <= size && failed == 0
	}
	for lane := range min(6, 1+size/100) {
		chance := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(lane)))
		a := &clerk{b: newBox(t)}
		clients, err := desks(6)
		if err := errors.Join(err, a.b.Start(), a.upload(0), a.look()); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for n := 0; take(); n++ {
				how, took, wrong := a.cycle(clients, chance, n)
				mu.Lock()
				tried++
				ends[how]++
				starting += took
				if wrong != nil {
					failed++
					t.Errorf("machine %d, kill %d, %s: %v\n%s", lane, n, how, wrong, a.b.Log)
				}
				mu.Unlock()
				if wrong != nil {
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			given += a.given
			for _, d := range clients {
				answered += d.answered
			}
		})
	}
	all.Wait()
	storagetest.Tried(t, tried, failed)
	t.Logf("%d kills: %v; %d answers to clients, %d returns; %.0f ms a start with its audit", tried, ends, answered, given, float64(starting.Milliseconds())/float64(max(tried, 1)))
}

// cycle is one kill: what comes before it, and the start after it, which took so long.
func (a *clerk) cycle(clients []*desk, chance *rand.Rand, n int) (how killed, took time.Duration, wrong error) {
	how, err := a.live(clients, chance, n)
	if err != nil {
		return how, 0, err
	}
	begun := time.Now()
	said, err := a.rise(clients)
	if len(said) > 0 {
		err = errors.Join(err, errors.New(strings.Join(said, "; ")))
	}
	return how, time.Since(begun), err
}

// look takes what there is as acknowledged.
func (a *clerk) look() error {
	var h console.Health
	var m console.Model
	if err := errors.Join(a.b.get("health", &h), a.b.get("model", &m)); err != nil {
		return err
	}
	a.requests, a.applied, a.model = h.Requests, h.Applied, m.Text
	return nil
}

// live lets the daemon, which runs, work until it is killed.
func (a *clerk) live(all []*desk, chance *rand.Rand, n int) (killed, error) {
	if n%4 == 3 { // anywhere in a start: it takes 40 to 150 ms
		a.b.Kill()
		if err := a.b.Spawn(); err != nil {
			return inStart, err
		}
		a.b.lives(time.Duration(chance.IntN(120_000)) * time.Microsecond)
		a.b.Kill()
		return inStart, nil
	}
	var (
		ending atomic.Bool // from here on a connection may break
		mu     sync.Mutex
		early  []error
	)
	broken := func(err error) {
		if err != nil && !ending.Load() {
			mu.Lock()
			early = append(early, err)
			mu.Unlock()
		}
	}
	how, do := inLoad, func() error { return nil }
	switch {
	case n%64 == 5:
		how = inImport
		request, err := a.b.request()
		if err != nil {
			return how, err
		}
		a.requests++
		response, err := a.b.office.Respond(request)
		if err != nil {
			return how, err
		}
		do = func() error { return a.imports(response) }
	case n%16 == 2:
		how, do = inUpload, func() error { return a.upload(n) }
	case n%4 == 1:
		how, do = inMove, a.giveBack
	case n%32 == 4:
		how, do = inStop, func() error { ending.Store(true); return a.b.Cmd.Process.Signal(syscall.SIGTERM) }
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var work sync.WaitGroup
	var left atomic.Int64
	due := make(chan struct{})
	left.Store(1 + chance.Int64N(24))
	daemon := a.b.Cmd.Process
	for _, d := range all {
		chance := rand.New(rand.NewPCG(chance.Uint64(), 2))
		d.heard = func() {
			if left.Add(-1) == 0 {
				if n%3 > 0 {
					ending.Store(true)
					daemon.Kill()
				}
				close(due)
			}
		}
		work.Go(func() { broken(d.work(ctx, a.b.Clients.Addr().String(), chance)) })
	}
	var failed error
	work.Go(func() {
		if failed = do(); errors.As(failed, new(*rig.Silence)) {
			broken(failed)
			failed = nil
		}
	})
	select {
	case <-due:
		if n%3 == 0 {
			a.b.lives(time.Duration(chance.IntN(20_000)) * time.Microsecond)
		}
	case <-a.b.Ended: // it was stopped before so many answers were given
	case <-time.After(60 * time.Second):
		broken(errors.New("nobody is answered"))
	}
	ending.Store(true)
	a.b.Kill()
	stop()
	work.Wait()
	return how, errors.Join(append(early, failed)...)
}

// lives waits as long as a daemon may live, or until it ends by itself, which a clean stop does.
func (b *box) lives(d time.Duration) {
	select {
	case <-time.After(d):
	case <-b.Ended:
	}
}

func (a *clerk) giveBack() error {
	a.unsure = 1
	var r capability.Return
	if err := a.b.Ask("POST", "returns", console.Giving{ActivationID: a.b.site.id, Copies: 1}, &r); err != nil {
		return err
	}
	a.unsure, a.given = 0, a.given+1
	a.returns = append(a.returns, r.ID)
	return nil
}

func (a *clerk) imports(response []byte) error {
	var in console.Imported
	if err := a.b.Ask("POST", "responses", response, &in); err != nil {
		return err
	}
	a.applied = in.Serial
	a.returns = slices.DeleteFunc(a.returns, func(id capability.ReturnID) bool { return slices.Contains(in.Closed, id) })
	return nil
}

func (a *clerk) upload(n int) error {
	filler := fmt.Sprintf("// %064d\n", n)
	a.next = fmt.Sprintf("model \"m%d\" {\n%s\ton any() { use \"default\" accept }\n}\n", n, strings.Repeat(filler, 400<<10/len(filler)))
	if err := a.b.Ask("PUT", "model", []byte(a.next), nil); err != nil {
		return err
	}
	a.model, a.next = a.next, ""
	return nil
}

// rise starts the daemon and compares everything.
func (a *clerk) rise(all []*desk) (wrong []string, err error) {
	if err := a.b.Start(); err != nil {
		return nil, err
	}
	var h console.Health
	if err := a.b.get("health", &h); err != nil {
		return nil, err
	}
	if h.State != "serving" || !strings.HasPrefix(h.Start, "exact") {
		wrong = append(wrong, fmt.Sprintf("it is %s after a start that was %s", h.State, h.Start))
	}
	if h.Requests < a.requests || h.Requests > a.requests+1 {
		wrong = append(wrong, fmt.Sprintf("%d requests were written, %d acknowledged", h.Requests, a.requests))
	}
	a.requests = h.Requests
	if h.Applied < a.applied {
		wrong = append(wrong, fmt.Sprintf("response %d is in force, %d was acknowledged", h.Applied, a.applied))
	}
	open := map[capability.ReturnID]bool{}
	for _, r := range h.Returns {
		open[r.ID] = true
	}
	if h.Applied == a.applied {
		for _, id := range a.returns {
			if !open[id] {
				wrong = append(wrong, fmt.Sprintf("return %s was acknowledged and is not there", id))
			}
		}
	}
	a.applied, a.returns = h.Applied, nil
	for id := range open {
		a.returns = append(a.returns, id)
	}
	var features []console.Feature
	if err := a.b.get("features", &features); err != nil {
		return wrong, err
	}
	for _, f := range features {
		if f.Feature != "render" {
			continue
		}
		if gone := uint32(planted - f.Total); gone != a.given && gone != a.given+a.unsure {
			wrong = append(wrong, fmt.Sprintf("%d copies are gone, %d were returned and %d perhaps", gone, a.given, a.unsure))
		} else {
			a.given = gone
		}
	}
	a.unsure = 0
	var m console.Model
	if err := a.b.get("model", &m); err != nil {
		return wrong, err
	}
	if m.Text != a.model && (a.next == "" || m.Text != a.next) {
		wrong = append(wrong, fmt.Sprintf("a model of %d bytes is in force that is neither the old nor the new one", len(m.Text)))
	}
	a.model, a.next = m.Text, ""
	more, err := a.b.audit(all)
	return append(wrong, more...), err
}
