package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// story is the life of 40 seats: granted, carried, served, attacked, given back and moved.
func (s *stage) story() {
	pass := s.path("passphrase")
	check(os.WriteFile(pass, []byte("correct horse battery staple\n"), 0o600), "write the passphrase")
	freehold := func(args ...string) result {
		return s.run("freehold", append(args, "--dir", s.path("freehold"), "--passphrase-file", pass)...)
	}

	a, b := s.newAppliance("A", tpmtest.P256), s.newAppliance("B", tpmtest.RSA)
	freehold("init", "--producer", "Example Works", "--lease-interval", "1m", "--minimum-tier", "virtual",
		"--virtual-roots", s.path("A", "t", "authority.pem"), "--trust", s.path("producer.lht")).wants(0)
	s.say("producer is set up: root and signing keys sealed, trust bundle for programs written (%d bytes)", size(s.path("producer.lht")))

	r := freehold("entitle", "--customer", "Acme Plant 3", "--product", "Render Pro", "--feature", "render:2026.1", "--count", "40", "--expires", "2036-12-31").wants(0)
	id := r.first(`([0-9A-Z]{5}(?:-[0-9A-Z]{5}){3})`)
	s.say("40 counts of render 2026.1 are entitled: activation ID %s", id)

	a.start()
	if h := a.health(); h.State != "not activated" {
		fail("a new appliance says %q", h.State)
	}
	s.say("appliance A starts without rights: %s", strings.TrimSpace(a.leasehold("status").line("not activated")))

	k := s.newStick()
	k.plug(func(dir string) { a.leasehold("request", "--id", id, "--count", "40", "--stick", dir).wants(0) })
	files := k.list()
	if !has(files, "REQ-0001.LHQ") || !has(files, "REQ-0001.TXT") {
		fail("the stick holds %s", files)
	}
	s.say("request on the stick, with its words beside it: %s", strings.Join(files, ", "))

	var response []byte
	k.plug(func(dir string) {
		request := find(dir, "REQ-0001.LHQ")
		inspected := s.run("leasehold", "inspect", request).wants(0, "signature: GOOD")
		freehold("respond", request, "-o", filepath.Dir(request)).wants(0)
		response = read(find(dir, "RSP-0001.LHR"))
		again := s.mkdir("again")
		freehold("respond", request, "-o", again).wants(0)
		if !bytes.Equal(read(find(again, "RSP-0001.LHR")), response) {
			fail("the same request got other bytes")
		}
		s.say("producer answers the request (%s): %d bytes, and the same bytes when asked again", inspected.line("signature"), len(response))
	})

	k.plug(func(dir string) {
		r = a.leasehold("import", dir).wants(0)
		if !has(k.listOf(dir), "RCP-0001.TXT") {
			fail("no receipt on the stick: %s", k.listOf(dir))
		}
	})
	a.leasehold("import", writeTemp(s, "same.lhr", response)).wants(0, "LH-2202")
	s.say("A applies it: %s; once more is \"already applied\"", r.line("render"))

	holders := []*client{s.acquire(a, "j.ortiz", 20), s.acquire(a, "m.chen", 15), s.acquire(a, "a.larsen", 5)}
	s.until(20*time.Second, "three clients hold 40 counts", func() bool { return a.health().Used == 40 })
	refused := s.run("leasehold", s.asks(a, "k.novak", 1)...).wants(10, "LH-3104")
	list := a.leasehold("devices").wants(0, "j.ortiz", "m.chen", "a.larsen")
	if strings.Contains(refused.err, "j.ortiz") {
		fail("a user sees the holders' names, and the policy says counts only: %s", refused)
	}
	s.say("three clients hold all 40; the fourth is refused: %s", refused.line("error:"))
	s.say("the administrator sees who: %s", summary(list, "j.ortiz", "m.chen", "a.larsen"))

	before := a.health()
	old := s.path("old-before-kill")
	s.copyTree(a.state, old)
	a.kill()
	a.start()
	h := a.health()
	if h.State != "serving" || h.Used != 40 {
		fail("after kill -9: %+v", h)
	}
	s.say("kill -9 of the daemon: %d of %d leases are there, no hold (start: %s; epoch %d -> %d)", h.Used, h.Total, h.Start, before.Epoch, h.Epoch)

	a.cut()
	a.start()
	h = a.health()
	if h.State != "holding" {
		fail("after a power cut: %+v", h)
	}
	cutAt := time.Now()
	s.say("power cut of TPM and daemon together: hold for one lease interval (%s)", h.Start)
	s.run("leasehold", s.asks(a, "k.novak", 1)...).wants(22, "LH-4002")
	expiries := func() (low int64) {
		for _, d := range a.devices() {
			for _, x := range d.Holdings {
				if low == 0 || x.Expiry < low {
					low = x.Expiry
				}
			}
		}
		return low
	}
	first := expiries()
	// While a machine is off its leases stand still, which moves their ends a little; a renewal moves them by what has passed of the interval.
	s.until(45*time.Second, "all three renew in the hold", func() bool { return expiries() >= first+6 })
	if h = a.health(); h.State != "holding" || h.Used != 40 {
		fail("the renewals were to come inside the hold: %+v", h)
	}
	s.say("in the hold: no new grant (LH-4002), and all three renew with their receipts (ends moved by %d s, %s into the hold)", expiries()-first, time.Since(cutAt).Round(time.Second))
	a.leasehold("return", id, "--count", "1").wants(22, "LH-4002")
	s.say("in the hold: no return is taken either (LH-4002)")

	// An old disk image comes back: E has moved on, so it does not open. The daemon stays up to say why.
	a.stop()
	s.copyTree(a.state, s.path("newest"))
	s.copyTree(old, a.state)
	a.start()
	h = a.health()
	if h.Condition == nil || h.Condition.Code != "LH-4003" {
		fail("a restored disk from before the kill: %+v", h)
	}
	s.run("leasehold", s.asks(a, "k.novak", 1)...).wants(12, "LH-4001")
	s.say("a copy of the disk from before that kill is restored: %s; nothing is served", h.Condition.Text)
	a.kill()
	s.copyTree(s.path("newest"), a.state)
	a.start()
	if h = a.health(); h.State != "holding" && h.State != "serving" {
		fail("with the newest disk back: %+v", h)
	}
	s.say("the newest disk is back: %s (start: %s)", h.State, h.Start)

	b.start()
	state := b.health()
	b.leasehold("import", writeTemp(s, "for-a.lhr", response)).wants(21, "LH-2305")
	if now := b.health(); now.Applied != 0 || now.State != state.State {
		fail("B changed: %+v", now)
	}
	s.say("appliance B, another TPM, is given A's response: %s; nothing changed", b.leasehold("import", s.path("for-a.lhr")).line("error:"))

	s.until(75*time.Second, "the hold ends by itself", func() bool { return a.health().State == "serving" })
	for _, c := range holders {
		c.end()
	}
	s.until(10*time.Second, "all counts are given back", func() bool { return a.health().Used == 0 })
	s.say("the hold has ended by itself, the three programs ended, all 40 counts are free")

	beforeReturn := s.path("old-before-return")
	s.copyTree(a.state, beforeReturn)
	epoch := a.health().Epoch
	k.plug(func(dir string) {
		a.leasehold("return", id, "--stick", dir).wants(0)
		request := newest(dir, "REQ-*.LHQ")
		if h = a.health(); h.Total != 0 || h.Epoch <= epoch {
			fail("after the return: %+v", h)
		}
		r = freehold("respond", request, "-o", filepath.Dir(request)).wants(0)
	})
	s.say("A returns all 40: epoch %d -> %d before its file existed; freehold credits the proof: %s", epoch, h.Epoch, summary(freehold("show", id).wants(0), "40"))

	a.stop()
	s.copyTree(a.state, s.path("newest"))
	s.copyTree(beforeReturn, a.state)
	a.start()
	if h = a.health(); h.Condition == nil || h.Condition.Code != "LH-4003" {
		fail("the disk from before the return: %+v", h)
	}
	s.say("A's disk from before the return cannot serve again: %s", h.Condition.Text)
	a.kill()
	s.copyTree(s.path("newest"), a.state)
	a.start()
	k.plug(func(dir string) { a.leasehold("import", dir).wants(0) })
	if h = a.health(); h.Total != 0 {
		fail("A still has rights: %+v", h)
	}

	out := s.mkdir("b-files")
	b.leasehold("request", "--id", id, "--count", "40", "-o", out).wants(0)
	freehold("respond", newest(out, "REQ-*.LHQ"), "-o", out).wants(0)
	b.leasehold("import", out).wants(0)
	c := s.acquire(b, "b.adams", 40)
	s.until(20*time.Second, "B serves the 40", func() bool { return b.health().Used == 40 })
	c.end()
	s.say("B activates the same ID and serves all 40")

	// B loses its disk. What it had is on record, and comes back by an operator's word, into a storage that the old one cannot be mistaken for.
	b.stop()
	check(os.RemoveAll(b.state), "lose a disk")
	b.start()
	lost := b.health()
	if lost.Condition == nil || lost.Condition.Code != "LH-4013" {
		fail("without its disk: %+v", lost)
	}
	out = s.mkdir("b-repair")
	b.leasehold("request", "-o", out).wants(0)
	freehold("respond", newest(out, "REQ-*.LHQ"), "-o", out).wants(13, "LH-5030")
	freehold("respond", newest(out, "REQ-*.LHQ"), "-o", out, "--repair", "disk died").wants(0)
	b.leasehold("import", out).wants(0)
	if h = b.health(); h.Total != 40 || h.State != "holding" {
		fail("after the repair: %+v", h)
	}
	s.say("B's disk is lost (%s): a request, freehold respond --repair and the response bring its 40 back, in a hold in which only receipts renew", lost.Condition.Code)
	trail := filepath.Join(out, "audit.cbor")
	b.leasehold("audit", "export", "-o", trail).wants(0)
	s.say("its audit trail: %s", s.run("leasehold", "audit", "verify", trail, "--request", newest(out, "REQ-*.LHQ")).wants(0).line("GOOD"))
	b.stop()
	a.stop()
	s.say("both appliances stop cleanly")
}

func size(path string) int64 {
	i, err := os.Stat(path)
	check(err, "look at a file")
	return i.Size()
}

func read(path string) []byte {
	b, err := os.ReadFile(path)
	check(err, "read a file")
	return b
}

func writeTemp(s *stage, name string, b []byte) string {
	p := s.path(name)
	check(os.WriteFile(p, b, 0o600), "write a file")
	return p
}

func has(files []string, name string) bool {
	return slices.ContainsFunc(files, func(f string) bool { return filepath.Base(f) == name })
}

func (k *stick) listOf(dir string) (files []string) {
	filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, p)
		}
		return err
	})
	return files
}

// find is the one file of that name below dir.
func find(dir, name string) string { return newest(dir, name) }

// newest is the last in order of the files below dir whose name matches.
func newest(dir, pattern string) string {
	var found []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if ok, _ := filepath.Match(pattern, d.Name()); err == nil && ok {
			found = append(found, p)
		}
		return err
	})
	check(err, "look for a file")
	if len(found) == 0 {
		fail("no %s in %s", pattern, dir)
	}
	slices.Sort(found)
	return found[len(found)-1]
}

// summary is the lines that hold one of the words, joined.
func summary(r result, words ...string) string {
	var lines []string
	for l := range strings.Lines(r.out) {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(l, w) }) {
			lines = append(lines, strings.Join(strings.Fields(l), " "))
		}
	}
	if len(lines) == 0 {
		fail("none of %s: %s", fmt.Sprint(words), r)
	}
	return strings.Join(lines, "; ")
}
