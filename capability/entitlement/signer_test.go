package entitlement

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

func certificate(number uint64, key byte, revoked ...byte) Signer {
	s := Signer{Key: capability.Digest{key}, Name: "producer", From: 5, Number: number}
	for _, r := range revoked {
		s.Revoked = append(s.Revoked, wire.RevokedKey{Key: capability.Digest{r}})
	}
	return s
}

// Certificates come on record by rising numbers. From then on no older one of a key signs, and no revoked key.
func TestSigners(t *testing.T) {
	w := newWorld(t, anyTier())
	w.mustDo(TakeSigner{Signer: certificate(1, 'a')})
	w.mustDo(TakeSigner{Signer: certificate(4, 'b')})
	w.mustDo(TakeSigner{Signer: certificate(5, 'b', 'a')})
	for name, change := range map[string]func(*Signer){
		"the number on record":        func(s *Signer) { s.Number = 5 },
		"a lower number":              func(s *Signer) { s.Number = 2 },
		"no key":                      func(s *Signer) { s.Key = capability.Digest{} },
		"no name":                     func(s *Signer) { s.Name = "" },
		"a name that writes":          func(s *Signer) { s.Name = "\x1b[2J" },
		"an end before its beginning": func(s *Signer) { s.Until = 4 },
		"a negative beginning":        func(s *Signer) { s.From = -1 },
		"too many revoked":            func(s *Signer) { s.Revoked = make([]wire.RevokedKey, wire.MaxRevokedKeys+1) },
	} {
		s := certificate(6, 'c')
		change(&s)
		if d, err := w.do(TakeSigner{Signer: s}); code(err) != capability.ErrKeyRequest || d != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, row := range []struct {
		key    byte
		number uint64
		why    string
	}{{'a', 9, ""}, {'b', 4, "put back"}, {'b', 5, ""}, {'b', 6, ""}, {'c', 1, ""}} {
		if got := w.book.Replaced(capability.Digest{row.key}, row.number); (row.why == "") != (got == "") || !strings.Contains(got, row.why) {
			t.Errorf("key %c, certificate %d: %q", row.key, row.number, got)
		}
	}
	list := w.book.Signers()
	if len(list) != 3 || !reflect.DeepEqual(list[2], certificate(5, 'b', 'a')) {
		t.Fatalf("%+v", list)
	}
	list[2].Revoked[0].Key[0] = 'x'
	if w.book.Signers()[2].Revoked[0].Key != (capability.Digest{'a'}) {
		t.Error("what was looked at has changed the book")
	}
	if e := w.book.entry(w.now, ""); e.Subject() != "" {
		t.Error(e.Subject())
	}
}

// What was signed is counted by the hours of the clock, forgotten after a day, and the same after a restart.
func TestSignedIsCounted(t *testing.T) {
	w := newWorld(t, anyTier())
	mesh := w.entitle(1, 100, func(i *Item) { i.Product = "Mesh" })
	solve := w.entitle(2, 100, func(i *Item) { i.Product = "Solve" })
	m, other := newMachine(1), newMachine(2)
	w.now = 3600 * 24 * 30000
	step := func(m *machine, salt uint64, after capability.Time, desired ...capability.Desired) *Decision {
		w.now += after
		d, err := w.book.Decide(w.now, m.request(salt, desired...))
		if err != nil {
			t.Fatal(err)
		}
		gains := w.book.Gains(d)
		d = w.mustDo(m.request(salt, desired...))
		m.apply(d.Response)
		var has uint64
		for _, g := range gains {
			has += g.Has
		}
		var copies uint64
		for _, i := range d.Response.Items {
			copies += uint64(i.Copies)
		}
		if has != copies {
			t.Fatalf("gains of %d copies, and the response has %d", has, copies)
		}
		return d
	}
	expect := func(hour, day uint64, products map[string]uint64) {
		t.Helper()
		want := Signed{hour, day, products}
		for name, b := range map[string]*Book{"book": w.book, "replica": w.replica} {
			if got := b.Signed(w.now); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s at %s: %+v, expected is %+v", name, w.now, got, want)
			}
		}
	}
	step(m, 1, 0, want(mesh, 10))
	expect(1, 1, map[string]uint64{"Mesh": 10})
	step(m, 2, 10, want(mesh, 10)) // nothing more
	expect(2, 2, map[string]uint64{"Mesh": 10})
	step(m, 3, 3600, want(mesh, 14), want(solve, 5))
	expect(1, 3, map[string]uint64{"Mesh": 14, "Solve": 5})
	step(other, 4, 3600, want(mesh, 1))
	expect(1, 4, map[string]uint64{"Mesh": 15, "Solve": 5})
	w.now += 22 * 3600
	expect(0, 2, map[string]uint64{"Mesh": 5, "Solve": 5}) // the first hour is a day old
	step(m, 5, 3600)
	expect(1, 2, map[string]uint64{"Mesh": 1})
	w.now += 48 * 3600
	expect(0, 0, map[string]uint64{})
}

// A refusal by a limit is on record, once for a machine in an hour.
func TestLimitedIsOnRecord(t *testing.T) {
	w := newWorld(t, anyTier())
	w.now = 3600 * 24 * 30000
	a, b := newMachine(1).id.Host, newMachine(2).id.Host
	for _, row := range []struct {
		after   capability.Time
		c       NoteLimited
		entries int
	}{
		{0, NoteLimited{Host: a, Detail: "one"}, 1}, {10, NoteLimited{Host: a, Detail: "two"}, 0}, {10, NoteLimited{Host: b, Detail: "three"}, 1},
		{3600, NoteLimited{Host: b, Detail: strings.Repeat("x", capability.MaxDetail+9)}, 1},
	} {
		w.now += row.after
		d := w.mustDo(row.c)
		if len(d.Entries) != row.entries {
			t.Fatalf("%+v: %d entries", row.c, len(d.Entries))
		}
		if row.entries > 0 && (w.book.Limited().Host != row.c.Host || d.Entries[0].Subject() != row.c.Host.String()) {
			t.Errorf("%+v is on record as %+v", row.c, w.book.Limited())
		}
	}
	if n := len(w.book.Limited().Detail); n != capability.MaxDetail {
		t.Errorf("a detail of %d bytes", n)
	}
}

// Apply and Check find what no command decided.
func TestSignersThatNobodyDecided(t *testing.T) {
	w := newWorld(t, anyTier())
	w.mustDo(TakeSigner{Signer: certificate(3, 'a')})
	again, late := certificate(3, 'b'), &Limited{Detail: "x", Time: w.now + 1}
	for name, change := range map[string]func(*Entry){
		"a number twice":    func(e *Entry) { e.Signer = &again },
		"of another moment": func(e *Entry) { e.Limited = late },
		"both":              func(e *Entry) { e.Signer, e.Limited = &again, late },
	} {
		e := w.book.entry(w.now, "")
		change(e)
		b, err := Restore(w.book.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Apply(e); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, spoil := range map[string]func(*Book){
		"numbers out of order": func(b *Book) { b.signers = append(b.signers, certificate(2, 'b')) },
		"a count of nothing":   func(b *Book) { b.signed = []Count{{Hour: 1}} },
		"a count to come":      func(b *Book) { b.signed = []Count{{Hour: 1 << 40, Number: 1}} },
		"counts out of order": func(b *Book) {
			b.signed = []Count{{Hour: 1, Product: "b", Number: 1}, {Hour: 1, Product: "a", Number: 1}}
		},
		"counts of two days": func(b *Book) { b.signed = []Count{{Hour: 1, Number: 1}, {Hour: 1 + dayHours, Number: 1}} },
		"a limit to come":    func(b *Book) { b.limited = late },
	} {
		b, err := Restore(w.book.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		b.last = max(b.last, 3600*48)
		late.Time = b.last + 1
		if spoil(b); !errors.Is(b.Check(), ErrCorrupt) {
			t.Errorf("%s: Check says %v", name, b.Check())
		}
	}
	w.book.signers = make([]Signer, MaxSigners)
	if err := w.book.signable(&Signer{Key: capability.Digest{1}, Name: "x", Number: 1}); err == nil {
		t.Errorf("%d certificates and one more are taken", MaxSigners)
	}
}
