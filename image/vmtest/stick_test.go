//go:build vm

package vm

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/capability/wire"
)

// told are the lines about sticks that the screen shows, the oldest first, each with its time.
func told(screen string) []string {
	text, _, _ := strings.Cut(joined(screen), " + F1 ")
	begin := regexp.MustCompile(`\d\d:\d\d:\d\d[ |]`)
	at := begin.FindAllStringIndex(text, -1)
	var lines []string
	for i, a := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		lines = append(lines, strings.TrimSpace(text[a[0]:end]))
	}
	return lines
}

// told are the lines that the screen shows now.
func (s *scenario) told() []string {
	s.t.Helper()
	text, err := s.vm.Screen()
	s.must(err)
	return told(text)
}

// settled are the lines about sticks once the whole screen is drawn: one that goes on from a snapshot may be in the middle of it.
func (s *scenario) settled() []string {
	s.t.Helper()
	ctx := s.within(stepTime)
	last, still := "", 0
	for {
		text, err := s.vm.Screen()
		s.must(err)
		if still++; text != last {
			last, still = text, 0
		}
		if still > 10 && strings.HasPrefix(text, "+- Leasehold ") && strings.Contains(text, "\n+ F1 ") {
			return told(text)
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			s.t.Fatalf("the screen is drawn again and again:\n%s", text)
		}
	}
}

// ends waits until a line that was not there before is the last word about a stick: what is to be done with it now. A line that is still being drawn is none.
func (s *scenario) ends(before []string) string {
	s.t.Helper()
	ctx := s.within(stepTime)
	final := regexp.MustCompile(`SAFE TO REMOVE$|NEXT: .*\.$`)
	last, still := "", 0
	for {
		now := ""
		if lines := s.told(); len(lines) > 0 {
			now = lines[len(lines)-1]
		}
		if still++; now != last {
			last, still = now, 0
		}
		if still > 2 && final.MatchString(now) && !slices.Contains(before, now) {
			return now[len("00:00:00 "):]
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			s.shoot("no-last-word")
			s.t.Fatalf("the screen has no last word about the stick: %q", now)
		}
	}
}

// visits plugs a stick in, waits for the last word about it, which must match, and pulls it out.
func (s *scenario) visits(stick Stick, protected bool, expression string) string {
	s.t.Helper()
	ctx, before := s.within(stepTime), s.settled()
	begin := time.Now()
	in, err := s.vm.Plug(ctx, stick, "STICK", protected)
	s.must(err)
	said := s.ends(before)
	s.log("%.1f s: %s", time.Since(begin).Seconds(), said)
	if !regexp.MustCompile(expression).MatchString(said) {
		s.t.Errorf("the screen says %q, want %q", said, expression)
	}
	s.must(in.Pull(ctx))
	return said
}

// courier is a stick with the folder, and nothing in it.
func (s *scenario) courier(name string) Stick {
	s.t.Helper()
	stick := s.stick(name)
	s.must(stick.Folder(s.within(stepTime), "LEASEHOLD"))
	return stick
}

// Checks 3 and 4, of who touches nothing but the stick: in ten seconds, which is all that a visit is given, the request is on it, and with the response it serves.
func TestCheck03And04TwoInsertions(t *testing.T) {
	s := goesOn(t, unprovisioned)
	stick := s.courier("stick.img")
	s.visits(stick, false, `^USB stick .* - request 1 WRITTEN\. SAFE TO REMOVE$`)
	own := s.wrote(stick, "REQ-0001.LHQ", "REQ-0001.TXT")
	for name, limit := range map[string]int{"REQ-0001.LHQ": 1 << 20, "REQ-0001.TXT": 1 << 20} {
		b, err := stick.Read(s.within(stepTime), own+"/"+name)
		s.must(err)
		if len(b) == 0 || len(b) > limit {
			t.Errorf("%s has %d bytes", name, len(b))
		}
	}
	s.producer()
	s.answers(stick, own, "REQ-0001.LHQ")
	s.visits(stick, false, `^Response 1: signatures good, for this appliance\. APPLIED: 1 product, 1 feature, 40 seats\. SAFE TO REMOVE$`)
	s.shows(`STATE SERVING - 0 of 40 seats in use`)
	s.wrote(stick, "RCP-0001.TXT", "REQ-0001.LHQ", "REQ-0001.TXT", "RSP-0001.LHR")
	l, err := s.opens("one").Acquire(s.within(stepTime), "render")
	s.must(err)
	s.must(l.Release(s.within(stepTime)))
}

// Check 5, and what else a stick may be: each is used or refused with a word, and afterwards a good one is served as ever.
func TestCheck05Sticks(t *testing.T) {
	s := goesOn(t, unprovisioned)
	ctx := s.within(bootTime)

	plain := s.stick("no-folder.img")
	s.must(plain.Write(ctx, "HOLIDAY.JPG", bytes.Repeat([]byte("jpeg"), 1000)))
	s.visits(plain, false, `^LH-2103 the stick is not for us.*SAFE TO REMOVE$`)
	if files, err := plain.Files(ctx); err != nil || !slices.Equal(files, []string{"HOLIDAY.JPG"}) {
		t.Errorf("a stick that is not for us has %q, %v", files, err)
	}

	protected := s.courier("protected.img")
	was, err := os.ReadFile(string(protected))
	s.must(err)
	s.visits(protected, true, `^LH-2010 the medium is write-protected.*NEXT: .*SAFE TO REMOVE$`)
	if is, err := os.ReadFile(string(protected)); err != nil || !bytes.Equal(is, was) {
		t.Errorf("a write-protected stick was changed, %v", err)
	}

	full := s.courier("full.img")
	s.fills(full)
	s.visits(full, false, `^LH-2009 the medium is full.*NEXT: .*SAFE TO REMOVE$`)

	// 10,000 other files, in the folder that is the machine's own.
	many, err := NewStick(ctx, filepath.Join(s.dir, "many.img"), 300)
	s.must(err)
	s.must(many.Folder(ctx, "LEASEHOLD"))
	s.visits(many, false, `^USB stick .* - request \d+ WRITTEN\. SAFE TO REMOVE$`)
	own, _ := s.request(many)
	dir := filepath.Join(s.dir, "many")
	s.must(os.Mkdir(dir, 0o700))
	args := []string{}
	for i := range 10_000 {
		path := filepath.Join(dir, fmt.Sprintf("F%07d.DAT", i))
		s.must(os.WriteFile(path, []byte("x"), 0o600))
		args = append(args, path)
	}
	_, err = many.mtools(ctx, nil, "mcopy", append(args, "::/"+own)...)
	s.must(err)
	s.visits(many, false, `^USB stick .* - request \d+ (WRITTEN\.|is on it, WAITING for the response\.) SAFE TO REMOVE$`)

	x, err := NewExFAT(ctx, filepath.Join(s.dir, "exfat.img"), 64, "LEASEHOLD")
	s.must(err)
	s.visits(x.Stick(), false, `^USB stick .* - request \d+ WRITTEN\. SAFE TO REMOVE$`)
	x, err = OpenExFAT(string(x.Stick()))
	s.must(err)
	whole := 0
	for name, b := range x.Files() {
		if strings.HasSuffix(name, ".LHQ") {
			if in, err := client.Inspect(b, nil); err == nil && in.Signature == client.Good {
				whole++
			}
		}
	}
	if whole != 1 {
		t.Errorf("the stick with exFAT has %d whole requests: %q", whole, slices.Collect(maps.Keys(x.Files())))
	}
	if err := run(ctx, "fsck.exfat", "-n", string(x.Stick())); err != nil {
		t.Errorf("the stick's file system is damaged: %v", err)
	}

	// What is in the machine's own folder is somebody's too.
	good := s.courier("good.img")
	s.visits(good, false, `^USB stick .* - request \d+ WRITTEN\. SAFE TO REMOVE$`)
	own, request := s.request(good)
	s.must(good.Write(ctx, own+"/RSP-0001.LHR", make([]byte, 2<<20)))
	s.visits(good, false, ` is on it, WAITING for the response\. LH-2003 the file is too large\. .*Nothing was changed\. SAFE TO REMOVE$`)
	s.must(good.Write(ctx, own+"/RSP-0001.LHR", bytes.Repeat([]byte("noise"), 1000)))
	s.visits(good, false, ` is on it, WAITING for the response\. LH-2001 .*Nothing was changed\. SAFE TO REMOVE$`)
	s.must(good.Remove(ctx, own+"/RSP-0001.LHR"))

	// None of these is used: there is no driver to try, or nothing that a driver could make sense of. Nothing has to be said, but nothing may break.
	for name, make := range map[string]func(Stick) error{
		"ext4 with links":         func(k Stick) error { return s.ext4(k) },
		"a damaged superblock":    func(k Stick) error { return s.overwrites(k, 0, 512) },
		"noise":                   func(k Stick) error { return s.overwrites(k, 0, 64<<20) },
		"a FAT filled with noise": func(k Stick) error { return s.overwrites(k, 32*512, 4<<20) },
	} {
		k := s.courier(strings.ReplaceAll(name, " ", "-") + ".img")
		s.must(make(k))
		before := s.settled()
		in, err := s.vm.Plug(ctx, k, "BAD", false)
		s.must(err)
		s.goesOnWith(good, `^USB stick .* - request \d+ is on it, WAITING for the response\. SAFE TO REMOVE$`)
		s.must(in.Pull(ctx))
		s.log("%s: %q", name, slices.DeleteFunc(s.told(), func(l string) bool { return slices.Contains(before, l) }))
	}
	s.producer()
	// As text with the line ends of a PC, as a mail program leaves it.
	s.answers(good, own, request)
	for _, f := range mustFiles(s, good) {
		if !strings.HasSuffix(f, ".LHR") {
			continue
		}
		b, err := good.Read(ctx, f)
		s.must(err)
		s.must(good.Remove(ctx, f))
		s.must(good.Write(ctx, own+"/RESPONSE.TXT", []byte(strings.ReplaceAll(wire.Text(b), "\n", "\r\n"))))
	}
	s.visits(good, false, `^Response \d+: signatures good, for this appliance\. APPLIED: .*SAFE TO REMOVE$`)
}

// Check 8: two requests are written before any response comes. In whichever order the responses are applied, the machine has the same. Where the newer one comes first the back office
// answered a machine that it had answered already and that has applied nothing: a twin may have, so the rights begin with a hold.
func TestCheck08TwoRequests(t *testing.T) {
	var has []string
	for _, order := range []struct {
		name          string
		first, second int
		older, state  string
	}{
		{"in order", 0, 1, `^Response 2: .*APPLIED: 1 product, 1 feature, 40 seats\. SAFE TO REMOVE$`, `STATE SERVING - 0 of 40 seats in use`},
		{"the other way round", 1, 0, `^Response 1: older than the one in force, ignored\. .*SAFE TO REMOVE$`, `STATE HOLDING until .* it serves again by itself`},
	} {
		t.Run(order.name, func(t *testing.T) {
			s := goesOn(t, unprovisioned)
			s.producer()
			var sticks [2]Stick
			for i := range sticks {
				sticks[i] = s.courier(fmt.Sprintf("stick%d.img", i+1))
				s.visits(sticks[i], false, fmt.Sprintf(`^USB stick .* - request %d WRITTEN\. SAFE TO REMOVE$`, i+1))
			}
			for i, k := range sticks {
				name := fmt.Sprintf("REQ-%04d", i+1)
				s.answers(k, s.wrote(k, name+".LHQ", name+".TXT"), name+".LHQ")
			}
			s.visits(sticks[order.first], false, fmt.Sprintf(`^Response %d: .*APPLIED: 1 product, 1 feature, 40 seats\. SAFE TO REMOVE$`, order.first+1))
			s.visits(sticks[order.second], false, order.older)
			s.shows(order.state)
			s.enters()
			id, err := os.ReadFile(filepath.Join(s.dir, "known"))
			s.must(err)
			has = append(has, strings.Replace(s.manages(0, "features"), string(id), "the activation ID", 1))
		})
	}
	if len(has) != 2 || !strings.Contains(has[0], "render") || has[0] != has[1] {
		t.Errorf("what the machine has depends on the order of the responses: %q", has)
	}
}

// goesOnWith plugs a second stick in, and waits for the last word about it, which nothing that is said of the first one is.
func (s *scenario) goesOnWith(stick Stick, expression string) {
	s.t.Helper()
	ctx, before, word := s.within(stepTime), s.settled(), regexp.MustCompile(expression)
	in, err := s.vm.Plug(ctx, stick, "GOOD", false)
	s.must(err)
	s.until("a good stick is served beside it", func() bool {
		return slices.ContainsFunc(s.told(), func(l string) bool {
			return !slices.Contains(before, l) && len(l) > len("00:00:00 ") && word.MatchString(l[len("00:00:00 "):])
		})
	})
	s.must(in.Pull(ctx))
}

// fills leaves a stick without a free cluster.
func (s *scenario) fills(k Stick) {
	s.t.Helper()
	for size := 32 << 20; size >= 512; size /= 2 {
		for i := 0; ; i++ {
			if k.Write(s.within(stepTime), fmt.Sprintf("F%d-%d.BIN", size, i), make([]byte, size)) != nil {
				break
			}
		}
	}
}

// overwrites puts noise, always the same, over a part of a stick.
func (s *scenario) overwrites(k Stick, from, length int) error {
	b, err := os.ReadFile(string(k))
	if err != nil {
		return err
	}
	r := rand.NewChaCha8([32]byte{})
	r.Read(b[from:min(len(b), from+length)])
	return os.WriteFile(string(k), b, 0o600)
}

// ext4 makes a stick with a file system that is never mounted, with links on it to what nobody should read.
func (s *scenario) ext4(k Stick) error {
	tree := filepath.Join(s.dir, "links")
	folder := filepath.Join(tree, "LEASEHOLD", "00000000")
	err := os.MkdirAll(folder, 0o700)
	for name, to := range map[string]string{"RSP-0001.LHR": "/etc/shadow", "RSP-0002.LHR": "../../../../etc/shadow", "REQ-0001.LHQ": "/dev/vda"} {
		err = errors.Join(err, os.Symlink(to, filepath.Join(folder, name)))
	}
	return errors.Join(err, os.Truncate(string(k), 0), os.Truncate(string(k), 64<<20), run(s.within(stepTime), "mkfs.ext4", "-q", "-F", "-d", tree, string(k)))
}

// Check 7: a response that is another machine's, damaged, old or known changes nothing, and says which it is.
func TestCheck07Responses(t *testing.T) {
	s := goesOn(t, activated)
	ctx := s.within(bootTime)
	stick := Stick(filepath.Join(s.dir, "stick.img"))
	response := s.wrote(stick, "RCP-0001.TXT", "REQ-0001.LHQ", "REQ-0001.TXT", "RSP-0001.LHR") + "/RSP-0001.LHR"
	first, err := stick.Read(ctx, response)
	s.must(err)

	s.visits(stick, false, `^Response 1: already applied\. .*SAFE TO REMOVE$`)

	flipped := bytes.Clone(first)
	flipped[len(flipped)/2] ^= 1
	s.must(stick.Write(ctx, response, flipped))
	s.visits(stick, false, ` is on it, WAITING for the response\. LH-2301 .*Nothing was changed\. SAFE TO REMOVE$`)

	// A newer one, and then the old one comes back.
	s.must(stick.Remove(ctx, response))
	own, newest := s.request(stick)
	s.answers(stick, own, newest)
	s.visits(stick, false, `^Response \d+: .*APPLIED: .*SAFE TO REMOVE$`)
	for _, f := range mustFiles(s, stick) {
		if strings.HasSuffix(f, ".LHR") {
			s.must(stick.Remove(ctx, f))
		}
	}
	s.must(stick.Write(ctx, response, first))
	s.visits(stick, false, `^Response 1: older than the one in force, ignored\. .*SAFE TO REMOVE$`)
	s.shows(`STATE SERVING - 0 of 40 seats in use`)
	if _, err := s.opens("one").Acquire(ctx, "render", client.Count(seats)); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// request gives the folder with the newest request on a stick, and the name of that.
func (s *scenario) request(k Stick) (own, name string) {
	s.t.Helper()
	files := mustFiles(s, k)
	for _, f := range files {
		if strings.HasSuffix(f, ".LHQ") {
			own, name = filepath.Dir(f), filepath.Base(f)
		}
	}
	if name == "" {
		s.t.Fatalf("there is no request on the stick: %q", files)
	}
	return own, name
}

func mustFiles(s *scenario, k Stick) []string {
	s.t.Helper()
	files, err := k.Files(s.within(stepTime))
	s.must(err)
	return files
}

// Check 6: a stick that is pulled out at any moment loses nothing: the next insertion mends it, no half request is accepted, and what was applied is applied.
func TestCheck06Pulled(t *testing.T) { pulls(t, 5, 6) }

// pulls pulls sticks out so many times at random moments. Before each the machine wants to write a request or is given a response.
func pulls(t *testing.T, n int, seed uint64) {
	s := goesOn(t, unprovisioned)
	s.producer()
	r := rand.New(rand.NewPCG(seed, 0))
	var early, whole, applied, halves int
	stick := s.courier("stick.img")
	for i := range n {
		ctx := s.within(stepTime)
		in, err := s.vm.Plug(ctx, stick, "PULLED", false)
		s.must(err)
		s.lets(time.Duration(r.Int64N(int64(6 * time.Second))))
		s.must(in.Pull(ctx))
		for _, f := range mustFiles(s, stick) {
			if !strings.HasSuffix(f, ".LHQ") {
				continue
			}
			b, err := stick.Read(ctx, f)
			s.must(err)
			if in, err := client.Inspect(b, nil); err != nil || in.Signature != client.Good {
				halves++
				t.Errorf("pull %d left %s, which is no whole request: %v", i, f, err)
			}
		}
		before := s.settled()
		in, err = s.vm.Plug(ctx, stick, "PULLED", false)
		s.must(err)
		said := s.ends(before)
		s.must(in.Pull(ctx))
		switch {
		case strings.Contains(said, "WRITTEN"):
			early++
		case strings.Contains(said, "APPLIED"), strings.Contains(said, "already applied"):
			applied++
		case strings.Contains(said, "is on it, WAITING"):
			whole++
		default:
			t.Errorf("after pull %d the next insertion says %q", i, said)
		}
		// Every other time the stick goes to the producer and back, and every time it is one that was used.
		if i%2 == 1 {
			own, request := s.request(stick)
			s.answers(stick, own, request)
		}
	}
	s.log("seed %d: %d pulls; the next insertion wrote a request %d times, found it whole %d times, had the response in force %d times; %d half requests", seed, n, early, whole, applied, halves)
	var no *capability.Refusal
	if _, err := s.opens("one").Acquire(s.within(stepTime), "render"); n > 2 && err != nil && !errors.As(err, &no) {
		t.Errorf("after all that: %v", err)
	}
}
