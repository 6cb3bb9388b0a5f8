package capabilitytest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/storage/storagetest"
)

const victimVariable = "LEASEHOLD_VICTIM"

// TestMain is also the program that TestSoakKilledClients kills.
func TestMain(m *testing.M) {
	if args := os.Getenv(victimVariable); args != "" {
		fmt.Println(victim(strings.Split(args, "\n")))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// victim takes a seat and gives it back, again and again, until it is killed or its standard input ends. The seat of so many it holds, where that is not 0.
func victim(args []string) error {
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(2) // whoever started it is gone
	}()
	c, err := client.New(client.Options{Server: args[0], TrustFile: args[1], Dir: args[2], Alias: filepath.Base(args[2]), Timeout: 2 * time.Minute})
	if err != nil {
		return err
	}
	ctx := context.Background()
	for n := 1; ; n++ {
		l, err := c.Acquire(ctx, "render")
		if err != nil {
			return err
		}
		fmt.Println("held")
		if strconv.Itoa(n) == args[3] {
			<-l.Lost()
			return l.Err()
		}
		if err := l.Release(ctx); err != nil {
			return err
		}
	}
}

// life is what is done to one victim.
type life struct {
	dir    string
	rounds int           // seats that it says it took, before
	hold   bool          // the last of these, if there is one
	delay  time.Duration // it is killed
	back   bool          // the machine asks again; else it stays away
}

// end runs a victim until it is killed.
func (l life) end(ctx context.Context, server, trust string) error {
	hold := "0"
	if l.hold {
		hold = strconv.Itoa(l.rounds)
	}
	c := exec.CommandContext(ctx, os.Args[0])
	c.Env = append(os.Environ(), victimVariable+"="+strings.Join([]string{server, trust, l.dir, hold}, "\n"))
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for range l.rounds {
		if !lines.Scan() || lines.Text() != "held" {
			c.Process.Kill()
			c.Wait()
			return fmt.Errorf("the victim says %q, %w", lines.Text(), lines.Err())
		}
	}
	drained := make(chan error, 1)
	go func() {
		for lines.Scan() {
			if lines.Text() != "held" {
				drained <- errors.New(lines.Text())
				return
			}
		}
		drained <- nil
	}()
	<-time.After(l.delay)
	if err := c.Process.Kill(); err != nil {
		return err
	}
	err = <-drained
	c.Wait()
	if c.ProcessState.Exited() {
		return errors.Join(fmt.Errorf("the victim ended by itself with %d", c.ProcessState.ExitCode()), err)
	}
	return err
}

// Programs that are killed at any moment: while they start, ask, hold, renew or give back. Each then has one seat booked, or none. The same machine has a booked one back at
// once, with every other seat taken, and another machine has it at the end of its lease and no sooner.
func TestSoakKilledClients(t *testing.T) {
	n := storagetest.Size(t, 60, 300, 1000)
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	chance := rand.New(rand.NewPCG(seed, 1))
	a := New(t, Item("render", uint32(n)))
	server, interval := a.Server(), capability.DefaultPolicy().Lease.Duration()
	trust := filepath.Join(t.TempDir(), "producer.lht")
	if err := os.WriteFile(trust, a.Trust(), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(dir string) *client.Client {
		c, err := client.New(client.Options{Server: server, TrustFile: trust, Dir: dir, Alias: filepath.Base(dir), Timeout: 2 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	root := t.TempDir()
	lives := make([]life, n)
	for i := range lives {
		lives[i] = life{filepath.Join(root, fmt.Sprintf("victim-%d", i)), chance.IntN(4), chance.IntN(2) == 0, time.Duration(chance.Int64N(int64(60 * time.Millisecond))), chance.IntN(2) == 0}
	}
	begin := a.Now()
	var all sync.WaitGroup
	turns := make(chan struct{}, 4)
	for _, l := range lives {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			if err := l.end(t.Context(), server, trust); err != nil {
				t.Errorf("%s: %v", l.dir, err)
			}
		})
	}
	all.Wait()
	killed := a.Now()

	booked := a.Holders("render")
	other := open(filepath.Join(root, "other"))
	defer other.Close()
	left := n - len(booked)
	if left > 0 {
		if rest, err := other.Acquire(t.Context(), "render", client.Count(uint32(n)), client.Partial()); err != nil || rest.Count() != uint32(left) {
			t.Fatalf("%d of %d seats are booked, and another machine takes the rest: %v", len(booked), n, err)
		}
	}
	var back, away, failed int
	for _, l := range lives {
		name := filepath.Base(l.dir)
		if booked[name] > 1 {
			t.Errorf("%s has %d seats where it never held more than one", name, booked[name])
			failed++
		}
		if booked[name] == 0 || !l.back {
			away += int(booked[name])
			continue
		}
		c := open(l.dir)
		lease, err := c.Acquire(t.Context(), "render")
		if err == nil {
			back++
			err = lease.Release(t.Context()) // and with that it is anybody's
		}
		if err = errors.Join(err, c.Close()); err != nil {
			t.Errorf("%s does not have its seat back: %v", name, err)
			failed++
		}
	}
	if left > 0 {
		if err := other.Release(t.Context(), "render"); err != nil {
			t.Fatal(err)
		}
	}

	// Everything is free but the seats of those who stay away. These are until the ends of their leases, which the refusal says.
	_, err := other.Acquire(t.Context(), "render", client.Count(uint32(n)))
	var no *capability.Refusal
	if away > 0 && (!errors.As(err, &no) || !errors.Is(err, client.ErrNoSeat) || int(no.Used) != away || no.Until < capability.At(begin.Add(interval)) || no.Until > capability.At(killed.Add(interval)).Add(1)) {
		t.Errorf("%d are away, from %s to %s, and another machine hears: %v, %+v", away, begin, killed, err, no)
	}
	const margin = 2 * time.Minute // for what follows here
	a.Forward(begin.Add(interval - margin).Sub(a.Now()))
	if used := a.Used("render"); int(used) != away {
		t.Errorf("%d are booked %s before the first end, where %d are away", used, margin, away)
	}
	a.Forward(killed.Add(interval + 2*time.Second).Sub(a.Now()))
	if used := a.Used("render"); used != 0 {
		t.Errorf("%d are booked after the last end", used)
	}
	if _, err := other.Acquire(t.Context(), "render", client.Count(uint32(n))); err != nil {
		t.Errorf("all seats after the last end: %v", err)
	}
	t.Logf("%d killed in %s: %d without a seat, %d took theirs back at once, %d were free at the end of their lease", n, killed.Sub(begin).Round(time.Millisecond), left, back, away)
	storagetest.Tried(t, n, failed)
}
