//go:build vm

package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
)

var provision sync.Mutex

// provided is the directory of a machine that was booted for the first time and activated by a stick, with a snapshot before that and one after it. It is done for the first test that wants it.
func provided(t *testing.T) string {
	t.Helper()
	provision.Lock()
	defer provision.Unlock()
	dir, err := base()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name string
		do   func(*testing.T, string)
	}{{unprovisioned, firstBoot}, {activated, twoInsertions}} {
		done, failed := filepath.Join(dir, step.name), filepath.Join(dir, step.name+"-failed")
		if exists(done) {
			continue
		}
		if exists(failed) {
			t.Fatal("the machine that scenarios go on from could not be made; the first test says why")
		}
		if err := os.WriteFile(failed, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		// A test of its own, so that what it opens is closed before anybody goes on from it.
		if !t.Run(step.name, func(t *testing.T) { step.do(t, dir) }) {
			t.FailNow()
		}
		if err := os.Rename(failed, done); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// firstBoot boots a machine that was just unpacked, and reads on its screen what to do.
func firstBoot(t *testing.T, dir string) {
	s := inDir(t, dir)
	ctx := s.within(bootTime)
	name, err := accelerator()
	s.must(err)
	s.vm, err = New(ctx, filepath.Join(dir, "a"), s.image+".disk", name)
	s.must(err)
	s.boots()
	s.shows(`STATE NOT ACTIVATED - no licenses yet NEXT 1\. Plug in a USB stick that has a folder named LEASEHOLD 2\. .* 3\. `)
	code := s.shows(`first-login code ([0-9A-Z]{4}-[0-9A-Z]{4})`)[1]
	s.must(os.WriteFile(filepath.Join(dir, "code"), []byte(code), 0o600))
	s.trusts()
	s.shoot("1-unprovisioned")
	if status, said := s.web("GET", "/readyz", nil); status != 503 || strings.TrimSpace(said) != "not serving" {
		t.Errorf("/readyz of a machine that nobody has activated: %d %q", status, said)
	}
	s.must(s.vm.Save(ctx, unprovisioned))
	s.log("snapshot %s", unprovisioned)
}

// twoInsertions does what the screen says: a stick in, its request to the supplier, the stick in again. No key is pressed.
func twoInsertions(t *testing.T, dir string) {
	s := inDir(t, dir)
	s.resumes(unprovisioned)
	ctx := s.within(bootTime)
	stick := s.courier("stick.img")
	s.visits(stick, false, `^USB stick .* - request 1 WRITTEN\. SAFE TO REMOVE$`)
	s.shoot("2-request")
	own := s.wrote(stick, "REQ-0001.LHQ", "REQ-0001.TXT")

	s.producer()
	s.answers(stick, own, "REQ-0001.LHQ")
	s.visits(stick, false, `^Response 1: signatures good, for this appliance\. APPLIED: 1 product, 1 feature, 40 seats\. SAFE TO REMOVE$`)
	s.shows(`STATE SERVING - 0 of 40 seats in use`)
	s.shoot("3-activated")
	s.wrote(stick, "RCP-0001.TXT", "REQ-0001.LHQ", "REQ-0001.TXT", "RSP-0001.LHR")
	if status, _ := s.web("GET", "/readyz", nil); status != 200 {
		t.Errorf("/readyz of a machine that serves: %d", status)
	}
	s.must(s.vm.Save(ctx, activated))
	s.log("snapshot %s", activated)
}

// stick is an empty one.
func (s *scenario) stick(name string) Stick {
	s.t.Helper()
	stick, err := NewStick(s.within(stepTime), filepath.Join(s.dir, name), 64)
	s.must(err)
	return stick
}

// wrote checks what a stick has that was plugged in here: the machine's folder with these files, a word about the stick, and nothing else that the machine could have written. It gives the folder.
func (s *scenario) wrote(stick Stick, names ...string) string {
	s.t.Helper()
	ctx := s.within(stepTime)
	all, err := stick.Files(ctx)
	s.must(err)
	at := slices.IndexFunc(all, func(f string) bool { return strings.Count(f, "/") == 2 })
	if at < 0 {
		s.t.Fatalf("the stick has no folder of the machine: %q", all)
	}
	own := filepath.Dir(all[at])
	want := []string{"LEASEHOLD/README.TXT"}
	for _, n := range names {
		want = append(want, own+"/"+n)
	}
	slices.Sort(want)
	if !slices.Equal(all, want) {
		s.t.Errorf("the stick has %q, want %q", all, want)
	}
	if damage := stick.Damage(ctx); damage != "" {
		s.t.Errorf("the stick's file system is damaged: %s", damage)
	}
	return own
}

// producer gives the scenario a back office of its own, with an empty book.
func (s *scenario) producer() {
	s.t.Helper()
	s.must(os.CopyFS(filepath.Join(s.dir, "freehold"), os.DirFS(filepath.Join(filepath.Dir(s.image), "test", "freehold"))))
}

// answers has the back office answer a request on a stick, and puts the response beside it. The first time the machine is entered in the book, with 40 seats for it.
func (s *scenario) answers(stick Stick, own, request string) {
	s.t.Helper()
	ctx := s.within(stepTime)
	b, err := stick.Read(ctx, own+"/"+request)
	s.must(err)
	file, out := filepath.Join(s.dir, request), filepath.Join(s.dir, "out-"+request)
	s.must(os.WriteFile(file, b, 0o600))
	if !exists(filepath.Join(s.dir, "known")) {
		in, err := client.Inspect(b, nil)
		s.must(err)
		host := in.Request.Fields.Hosts[0].String()
		s.freehold("device", "set", host, "--name", "mill", "--server")
		// The producer lets leases last an hour, which is longer than any start; else they last a minute.
		s.freehold("model", "set", "Travel", "--borrow", "1h")
		s.freehold("model", "deploy", "Travel")
		id := strings.TrimSpace(s.freehold("entitle", "--customer", "Acme", "--product", "Render", "--feature", "render:2026.1", "--count", "40", "--model", "Travel"))
		s.freehold("map", "mill", id, "40")
		s.measured(file)
		s.must(os.WriteFile(filepath.Join(s.dir, "known"), []byte(id), 0o600))
	}
	s.must(os.MkdirAll(out, 0o700))
	s.freehold("respond", file, "-o", out)
	files, err := os.ReadDir(out)
	s.must(err)
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(out, f.Name()))
		s.must(err)
		s.must(stick.Write(ctx, own+"/"+f.Name(), b))
	}
	s.log("answered by the back office: %d file", len(files))
}

// client gives the arguments by which a client of that name asks.
func (s *scenario) client(name string) []string {
	return []string{"--server", s.server(), "--trust", filepath.Join(filepath.Dir(s.image), "test", "producer.lht"), "--dir", filepath.Join(s.dir, name)}
}

// opens is a client as a program that embeds the SDK.
func (s *scenario) opens(name string) *client.Client {
	s.t.Helper()
	c, err := client.New(client.Options{Server: s.server(), TrustFile: filepath.Join(filepath.Dir(s.image), "test", "producer.lht"), Dir: filepath.Join(s.dir, name), Alias: name, Timeout: 20 * time.Second})
	s.must(err)
	return c
}

// TestCore is what must work before a change lands: from the box to serving by two insertions of a stick, a power cut under load, and a disk that was rolled back.
func TestCore(t *testing.T) {
	s := goesOn(t, activated)
	held, end := s.loaded(6) // with the four that are at it they fill the screen
	s.vm.Kill()
	end()
	s.log("power cut under load; %d clients had leases confirmed", len(held))
	old := filepath.Join(s.dir, "old.qcow2")
	s.must(run(s.within(stepTime), "cp", "--sparse=always", s.vm.Disk(), old))
	s.afterTheCut(held)
	s.vm.Kill()

	// The disk of before that start again, beside the TPM of now.
	s.must(os.Rename(old, s.vm.Disk()))
	s.startsAs("5-rolled-back", `NOT SERVING - LH-4003 trusted storage was rolled back`)
	s.refuses("another")
}

// holder is a program that has two leases.
type holder struct {
	name         string
	c            *client.Client
	first, other *client.Lease
	until        time.Time // the end of the first as it was confirmed: what is renewed ends later
}

// afterTheCut switches the machine on again. What was confirmed is there and is renewed; nobody new is served as long as leases could run that nobody here knows of.
func (s *scenario) afterTheCut(held []holder) {
	s.t.Helper()
	s.switchesOn()
	s.booted()
	s.shows(`STATE HOLDING until `)
	s.shoot("4-after-the-cut")
	s.must(s.vm.Type("5"))
	for _, h := range held {
		s.shows(h.name + ` `)
	}
	s.shoot("4-seats")
	s.must(s.vm.Type("1"))
	for _, h := range held {
		// To give one of the two back is to renew the other.
		if err := h.other.Release(s.within(stepTime)); err != nil {
			s.t.Errorf("%s gives a lease back in the hold: %v", h.name, err)
		}
		if err := h.first.Err(); err != nil || !h.first.Expiry().After(h.until) {
			s.t.Errorf("the lease of %s that was confirmed before the cut is not renewed after it: it ends at %s, was to end at %s, %v", h.name, h.first.Expiry(), h.until, err)
		}
	}
	s.log("the leases are renewed")
	c := s.opens("newcomer")
	defer c.Close()
	if _, err := c.Acquire(s.within(stepTime), "render"); !errors.Is(err, client.ErrHold) {
		s.t.Errorf("a newcomer in the hold after a power cut: %v", err)
	}
}

// refuses fails unless the appliance serves nobody.
func (s *scenario) refuses(name string) {
	s.t.Helper()
	c := s.opens(name)
	defer c.Close()
	l, err := c.Acquire(s.within(stepTime), "render")
	var no *capability.Refusal
	if l != nil || !errors.As(err, &no) || errors.Is(err, client.ErrServerUnreachable) {
		s.t.Errorf("an appliance that serves nobody answers %v", err)
	}
	if status, said := s.web("GET", "/readyz", nil); status != 503 || strings.TrimSpace(said) != "not serving" {
		s.t.Errorf("/readyz of an appliance that serves nobody: %d %q", status, said)
	}
	s.log("a client is refused: %v", err)
}

// lasting is how long the leases that a machine loses its power with last: longer than any start.
const lasting = time.Hour

// loaded has clients take and give back without a pause, and then others take two leases each and keep them. When it returns the first are at it, until end is called.
func (s *scenario) loaded(n int) (held []holder, end func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range 4 {
		c := s.opens("busy" + string(rune('a'+i)))
		begun := make(chan struct{})
		all.Go(func() {
			defer c.Close()
			for n := 0; ctx.Err() == nil; n++ {
				if l, err := c.Acquire(ctx, "render"); err == nil {
					l.Release(ctx)
				}
				if n == 2 {
					close(begun)
				}
			}
		})
		select {
		case <-begun:
		case <-s.within(stepTime).Done():
			s.t.Error("clients take and give back too slowly")
		}
	}
	for i := range n {
		h := holder{name: fmt.Sprintf("client%c", 'a'+i)}
		h.c = s.opens(h.name)
		s.t.Cleanup(func() { h.c.Close() })
		for _, l := range []**client.Lease{&h.first, &h.other} {
			var err error
			*l, err = h.c.Acquire(s.within(stepTime), "render", client.Borrow(lasting), client.Wait(stepTime))
			s.must(err)
		}
		h.until = h.first.Expiry()
		if left := time.Until(h.until); left < bootTime {
			s.t.Errorf("%s holds a lease for %s", h.name, left)
		}
		held = append(held, h)
	}
	s.log("%d clients hold leases", n)
	return held, func() { cancel(); all.Wait() }
}
