package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/rig"
	"github.com/leasehold/leasehold/storage/storagetest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// verdict is what a daemon says of the storage it was started on, in one word.
func (b *box) verdict() (word string, h console.Health, err error) {
	if err := b.Start(); err != nil {
		return "", h, err
	}
	if err := b.get("health", &h); err != nil {
		return "", h, err
	}
	if h.Condition != nil {
		return h.Condition.Symbol, h, nil
	}
	return h.State, h, nil
}

// lastly is a client that nobody has seen before, asking for the one seat too many; and one that has seats, asking for more of them.
func (b *box) lastly(old *desk) (granted uint32, err error) {
	stranger, err := newDesk()
	if err != nil {
		return 0, err
	}
	for _, d := range []*desk{stranger, old} {
		before := d.held
		if _, err := d.want(b.Clients.Addr().String(), before+1, nil); err != nil {
			return granted, err
		}
		if d.held > before {
			granted += d.held - before
		}
		d.leave()
	}
	return granted, nil
}

// power takes the TPM's power away and gives it again.
func (b *box) power() error { return b.Chip.Cut() }

// reset makes the box a fresh copy of the site: TPM and disk.
func (b *box) reset() error {
	b.Kill()
	b.Chip.Kill()
	dir := filepath.Join(b.Dir, "tpm")
	if err := errors.Join(replaceTree(filepath.Join(b.site.dir, "tpm"), dir), replaceTree(filepath.Join(b.site.dir, "state"), b.State())); err != nil {
		return err
	}
	return b.Chip.Boot()
}

// TestSoakRestoredDisk copies the state directory of a real daemon at random moments - at rest, under load, in returns that move the epoch, after a clean stop -
// and goes on until clients hold every count there is. Then each copy is put back, with or without a power cut of the TPM between, and a daemon started on it. It
// must refuse (the epoch is older, or the copy is torn) or hold for a whole lease interval; a stranger and a client that has seats ask for one more, and what all
// clients believe to have, with what was returned, is never more than was given. One case is one copy that was put back.
func TestSoakRestoredDisk(t *testing.T) {
	size := storagetest.Size(t, 4, 1000, 10_000)
	chance := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	b := newBox(t)
	tried, failed := 0, 0
	words := map[string]int{}
	defer func() {
		storagetest.Tried(t, tried, failed)
		t.Logf("%d copies put back: %v", tried, words)
	}()
	copies := filepath.Join(b.Dir, "copies")
	for life := 0; tried < size; life++ {
		all, given, n, err := b.livedOn(copies, chance)
		if err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		believed := given
		for _, d := range all {
			believed += d.held
		}
		if believed > planted {
			failed++
			t.Errorf("life %d: %d counts are held or returned, %d were given", life, believed, planted)
		}
		for _, i := range chance.Perm(n) {
			if chance.IntN(2) == 0 {
				if err := b.power(); err != nil {
					t.Fatal(err)
				}
			}
			if err := replaceTree(filepath.Join(copies, fmt.Sprint(i)), b.State()); err != nil {
				t.Fatal(err)
			}
			word, h, err := b.verdict()
			if err != nil {
				t.Fatalf("life %d, copy %d: %v", life, i, err)
			}
			tried++
			words[word]++
			granted, err := b.lastly(all[0])
			if err != nil {
				t.Fatalf("life %d, copy %d, %s: %v\n%s", life, i, word, err, b.Log)
			}
			hold := word == "holding" && h.HoldUntil-h.Now >= capability.Time(capability.DefaultLease)-5
			refused := word == capability.ErrRollback.Entry().Symbol || word == capability.ErrCorrupt.Entry().Symbol
			if granted > 0 || !hold && !refused {
				failed++
				t.Errorf("life %d, copy %d: it is %s after a start that was %s, until %s, and gives %d more of %d where %d are believed", life, i, word, h.Start, h.HoldUntil, granted, planted, believed)
			}
			b.Kill()
		}
	}
}

// livedOn is one life: it leaves n copies of the disk, a daemon that ended, clients with everything there is, and the counts that were returned.
func (b *box) livedOn(copies string, chance *rand.Rand) (all []*desk, given uint32, n int, err error) {
	if err := errors.Join(os.RemoveAll(copies), b.reset(), b.Start()); err != nil {
		return nil, 0, 0, err
	}
	if all, err = desks(3); err != nil {
		return nil, 0, 0, err
	}
	keep := func() error {
		err := rig.CopyTree(b.State(), filepath.Join(copies, fmt.Sprint(n)))
		n++
		return err
	}
	moments := chance.Perm(4)
	if chance.IntN(2) == 0 {
		moments = []int{0, 1} // all in one epoch
	}
	for _, moment := range moments {
		var work sync.WaitGroup
		var moved error
		ctx, stop := context.WithCancel(context.Background())
		switch moment {
		case 1: // under load
			for _, d := range all {
				chance := rand.New(rand.NewPCG(chance.Uint64(), 4))
				work.Go(func() { d.work(ctx, b.Clients.Addr().String(), chance) })
			}
		case 2: // in a move
			given++
			work.Go(func() {
				moved = b.Ask("POST", "returns", console.Giving{ActivationID: b.site.id, Copies: 1}, &capability.Return{})
			})
		case 3: // after a clean stop
			if err := b.Halt(); err != nil {
				stop()
				return nil, 0, 0, err
			}
			for _, d := range all {
				d.leave()
			}
		}
		err := keep()
		stop()
		work.Wait()
		if moment == 3 {
			err = errors.Join(err, b.Start())
		}
		if err = errors.Join(err, moved); err != nil {
			return nil, 0, 0, err
		}
	}
	// The rest of the life is in the epoch of the last move: copies made since then are told from the newest by the running digest alone.
	left := planted - given
	for i, d := range all {
		count := left / uint32(len(all))
		if i == 0 {
			count += left % uint32(len(all))
		}
		denied, err := d.want(b.Clients.Addr().String(), count, nil)
		if err != nil || len(denied) > 0 {
			return nil, 0, 0, fmt.Errorf("%d more: %v, %w", count, denied, err)
		}
	}
	if chance.IntN(3) == 0 {
		err = b.Halt()
	} else {
		b.Kill()
	}
	for _, d := range all {
		d.leave()
	}
	return all, given, n, err
}

// TestSoakCopiedDisk starts a daemon on copies of another machine's disk, made at many moments of its life: on a TPM that was never used, and on one that has
// rights of its own. Nothing opens: no feature is named, nobody gets a seat. One case is one copy.
func TestSoakCopiedDisk(t *testing.T) {
	size := storagetest.Size(t, 4, 1000, 10_000)
	chance := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 5))
	owner := newBox(t)
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	all, err := desks(2)
	if err != nil {
		t.Fatal(err)
	}
	thieves := []*box{thief(t, false), thief(t, true)}
	tried, failed := 0, 0
	words := map[string]int{}
	defer func() {
		storagetest.Tried(t, tried, failed)
		t.Logf("%d copies on another TPM: %v", tried, words)
	}()
	for tried < size {
		var work sync.WaitGroup
		ctx, stop := context.WithCancel(context.Background())
		for _, d := range all {
			chance := rand.New(rand.NewPCG(chance.Uint64(), 6))
			work.Go(func() { d.work(ctx, owner.Clients.Addr().String(), chance) })
		}
		if tried%8 == 3 {
			work.Go(func() {
				owner.Ask("POST", "returns", console.Giving{ActivationID: owner.site.id, Copies: 1}, nil)
			})
		}
		b := thieves[tried%2]
		err := replaceTree(owner.State(), b.State())
		stop()
		work.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if tried%16 == 7 {
			if err := errors.Join(owner.Halt(), replaceTree(owner.State(), b.State()), owner.Start()); err != nil {
				t.Fatal(err)
			}
			for _, d := range all {
				d.leave()
			}
		}
		word, h, err := b.verdict()
		if err != nil {
			t.Fatal(err)
		}
		tried++
		words[word]++
		var features []console.Feature
		shown := b.get("features", &features)
		stranger, err := newDesk()
		if err != nil {
			t.Fatal(err)
		}
		denied, err := stranger.want(b.Clients.Addr().String(), 1, nil)
		stranger.leave()
		if h.Condition == nil || shown == nil || len(features) > 0 || err != nil || len(denied) == 0 || stranger.held > 0 {
			failed++
			t.Errorf("copy %d: it is %s, names %d features (%v), and a stranger gets %d, %v, %v", tried, word, len(features), shown, stranger.held, denied, err)
		}
		b.Kill()
	}
}

// thief is a machine with another TPM, which may have rights of its own.
func thief(t testing.TB, activated bool) *box {
	t.Helper()
	b := newBox(t)
	b.Chip.Kill()
	dir := filepath.Join(b.Dir, "tpm")
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700), os.RemoveAll(b.State())); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.Chip, err = tpmtest.New(dir, tpmtest.P256); err != nil {
		t.Fatal(err)
	}
	if !activated {
		return b
	}
	id, err := b.office.Entitle("--customer", "Other", "--product", "Render", "--feature", "render:2026.1", "--count", "5")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.office.Activate(b.Box, id, planted), b.Halt()); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSoakForkedMachine restores disk and software TPM together, which no machine can notice by itself: two lines of one life go on, each with its own seats,
// returns, requests and imports. The back office must name it as soon as both lines have sent a request: E_FORK, E_ROLLBACK_SUSPECT or E_REPAIR. One case is one
// pair of lines.
func TestSoakForkedMachine(t *testing.T) {
	size := storagetest.Size(t, 1, 100, 1000)
	chance := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 7))
	one, two := newBox(t), newBox(t)
	two.office = one.office // one back office
	tried, failed := 0, 0
	words := map[string]int{}
	defer func() {
		storagetest.Tried(t, tried, failed)
		t.Logf("%d pairs of lines: %v", tried, words)
	}()
	for tried < size {
		if err := errors.Join(one.reset(), two.reset(), replaceTree(filepath.Join(one.site.dir, "fh"), one.office.Dir)); err != nil {
			t.Fatal(err)
		}
		lines := []*line{{box: one}, {box: two}}
		if chance.IntN(2) == 0 {
			slices.Reverse(lines)
		}
		// The first line may go on for a while before the second one wakes.
		for range 1 + chance.IntN(3) {
			if err := lines[0].step(chance); err != nil {
				t.Fatalf("pair %d: one line alone: %v", tried, err)
			}
		}
		for lines[0].sent == 0 {
			if err := lines[0].send(); err != nil {
				t.Fatalf("pair %d: one line alone: %v", tried, err)
			}
		}
		found := ""
		for range chance.IntN(3) {
			if err := lines[1].live(chance); err != nil {
				t.Fatal(err)
			}
		}
		if err := lines[1].send(); err != nil {
			found = named(err)
			if found == "" {
				t.Fatalf("pair %d: %v", tried, err)
			}
		}
		tried++
		words[found]++
		if found == "" {
			failed++
			t.Errorf("pair %d: both lines have sent a request (%d and %d), and no word of it", tried, lines[0].sent, lines[1].sent)
		}
		one.Kill()
		two.Kill()
	}
}

// named is the word for a fork in what the back office says.
func named(err error) string {
	for _, c := range []capability.Code{capability.ErrFork, capability.ErrRepair, capability.ErrRollbackSuspect} {
		if strings.Contains(err.Error(), c.String()) {
			return c.Entry().Symbol
		}
	}
	return ""
}

// line is one of the two.
type line struct {
	*box
	sent int
}

func (l *line) up() error {
	if l.Runs() {
		return nil
	}
	return l.Start()
}

// live is a bit of life without the back office.
func (l *line) live(chance *rand.Rand) error {
	if err := l.up(); err != nil {
		return err
	}
	switch chance.IntN(3) {
	case 0:
		d, err := newDesk()
		if err != nil {
			return err
		}
		defer d.leave()
		denied, err := d.want(l.Clients.Addr().String(), 1+uint32(chance.IntN(9)), nil)
		if len(denied) > 0 {
			err = errors.Join(err, fmt.Errorf("denied: %v", denied))
		}
		return err
	case 1:
		return l.Ask("POST", "returns", console.Giving{ActivationID: l.site.id, Copies: 1}, nil)
	default:
		return l.Halt()
	}
}

func (l *line) step(chance *rand.Rand) error {
	if chance.IntN(2) == 0 {
		return l.send()
	}
	return l.live(chance)
}

// send carries a request to the back office and its response back.
func (l *line) send() error {
	if err := l.up(); err != nil {
		return err
	}
	request, err := l.request()
	if err != nil {
		return err
	}
	response, err := l.office.Respond(request)
	if err != nil {
		return err
	}
	l.sent++
	return l.Import(response)
}
