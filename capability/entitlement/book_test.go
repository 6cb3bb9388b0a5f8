package entitlement

import (
	"errors"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

func TestApplyFindsWhatDecideNeverWrote(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	a := newMachine(1)
	a.apply(w.mustDo(a.request(1, want(id, 4))).Response)
	a.giveBack(id, 1)
	w.mustDo(a.request(2))
	b := newMachine(2)
	w.mustDo(b.request(1, want(id, 7)))

	for name, change := range map[string]func(e *Entry){
		"another history":       func(e *Entry) { e.Before[0] ^= 1 },
		"time goes back":        func(e *Entry) { e.Time-- },
		"nothing inside":        func(e *Entry) { e.Answer = nil },
		"two things inside":     func(e *Entry) { p := anyTier(); e.Policy = &p },
		"serial again":          func(e *Entry) { e.Answer.Request.Serial = 2 },
		"serial jumps":          func(e *Entry) { e.Answer.Request.Serial = 4 },
		"number again":          func(e *Entry) { e.Answer.Request.Number = 2 },
		"another key":           func(e *Entry) { e.Answer.Identity.AKName = []byte{1, 2, 3} },
		"more than there are":   func(e *Entry) { e.Answer.Holds = []Fulfillment{{id, 4}} },
		"less without a return": func(e *Entry) { e.Answer.Returns = nil },
		"more than returned":    func(e *Entry) { e.Answer.Holds[0].Copies = 0 },
		"returned but not held": func(e *Entry) { e.Answer.Returns[0].Copies = 9 },
		"an unknown item":       func(e *Entry) { e.Answer.Holds = []Fulfillment{{testID(t, 9), 0}} },
		"totals out of order":   func(e *Entry) { e.Answer.Holds = append(e.Answer.Holds, e.Answer.Holds[0]) },
		"a return credited before": func(e *Entry) {
			host, _ := w.book.Host(a.id.Host)
			e.Answer.Returns = append(e.Answer.Returns, host.Returns[0])
		},
		"a named request that is known":     func(e *Entry) { e.Answer.Named = []Known{{Number: 1}} },
		"a named request that was answered": func(e *Entry) { e.Answer.Request.Number = 5; e.Answer.Named = []Known{{Number: 4, Serial: 1}} },
		"a tier that is none":               func(e *Entry) { e.Answer.Identity.Tier = 0 },
		"no longer proven":                  func(e *Entry) { e.Answer.Proven = false },
	} {
		t.Run(name, func(t *testing.T) {
			m := a.copied()
			m.giveBack(id, 2)
			d, err := w.book.Decide(w.now, m.request(3))
			if err != nil {
				t.Fatal(err)
			}
			e, before := d.Entries[0], w.book.Digest()
			change(e)
			if err := w.book.Apply(e); !errors.Is(err, ErrCorrupt) {
				t.Errorf("applied: %v", err)
			}
			if w.book.Digest() != before {
				t.Error("the book was changed")
			}
		})
	}
	p := anyTier()
	for name, e := range map[string]*Entry{
		"an incident of nobody": {Before: w.book.head, Time: w.now, Incident: &Incident{Host: newMachine(8).id.Host}},
		"an item twice":         {Before: w.book.head, Time: w.now, Item: &w.book.items[0].Item},
		"a bad item":            {Before: w.book.head, Time: w.now, Item: &Item{}},
		"a bad policy":          {Before: w.book.head, Time: w.now, Policy: &Policy{}},
	} {
		if err := w.book.Apply(e); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.book.Apply(&Entry{Before: w.book.head, Time: w.now, Policy: &p}); err != nil {
		t.Error(err)
	}
}

// An edited, removed or exchanged entry is found by the entry after it, or by the count.
func TestEditedHistoryIsFound(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	for n := range uint32(5) {
		m.apply(w.mustDo(m.request(uint64(n), want(id, n+1))).Response)
	}
	head, length := w.book.Head()
	for at := range w.entries {
		for name, edit := range map[string]func() [][]byte{
			"removed": func() [][]byte { return append(append([][]byte{}, w.entries[:at]...), w.entries[at+1:]...) },
			"edited": func() [][]byte {
				list := append([][]byte{}, w.entries...)
				e, err := DecodeEntry(w.codec, list[at])
				if err != nil {
					t.Fatal(err)
				}
				e.By = "someone else"
				list[at] = e.Encode(w.codec)
				return list
			},
		} {
			b := New()
			var err error
			for _, raw := range edit() {
				var e *Entry
				if e, err = DecodeEntry(w.codec, raw); err == nil {
					err = b.Apply(e)
				}
				if err != nil {
					break
				}
			}
			if h, n := b.Head(); err == nil && h == head && n == length {
				t.Errorf("entry %d %s: not found", at, name)
			}
		}
	}
}

func TestSnapshot(t *testing.T) {
	w, m, _, unsent := prepared(t)
	w.mustDo(unsent)
	fork := m.copied()
	fork.number = 0
	fork.outstanding = nil
	if _, err := w.do(fork.request(9)); code(err) != capability.ErrFork {
		t.Fatal(err)
	}
	m.giveBack(testID(t, 1), 1)
	a := m.request(10)
	a.Proofs[0].Fault = "bad"
	w.mustDo(a)
	s := w.book.Snapshot()
	again, err := Restore(s)
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest() != w.book.Digest() || string(again.Snapshot()) != string(s) || w.replica.Digest() != w.book.Digest() {
		t.Error("the restored book differs")
	}
	d1, err1 := again.Decide(w.now, m.request(11))
	m.number--
	m.outstanding = m.outstanding[:len(m.outstanding)-1]
	d2, err2 := w.book.Decide(w.now, m.request(11))
	if err1 != nil || err2 != nil || string(d1.Entries[0].Encode(w.codec)) != string(d2.Entries[0].Encode(w.codec)) {
		t.Errorf("the restored book decides differently: %v, %v", err1, err2)
	}
	for i := range s {
		for _, bit := range []byte{1, 0x80} {
			bad := append([]byte{}, s...)
			bad[i] ^= bit
			if b, err := Restore(bad); err == nil && b.Digest() == w.book.Digest() {
				t.Fatalf("byte %d flipped: the same book", i)
			} else if err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d flipped: %v", i, err)
			}
		}
		if b, err := Restore(s[:i]); i > 0 && err == nil && b.Digest() == w.book.Digest() {
			t.Fatalf("cut at %d: the same book", i)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	w := newWorld(f, anyTier())
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 4))).Response)
	m.giveBack(id, 1)
	w.mustDo(m.request(2))
	for _, e := range w.entries {
		f.Add(e)
	}
	c := wire.New()
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEntry(c, b)
		if err != nil {
			return
		}
		if string(e.Encode(c)) != string(b) {
			t.Error("a second encoding was taken")
		}
		e.Before = w.book.head
		scratch, err := Restore(w.book.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		if scratch.Apply(e) == nil {
			if err := scratch.Check(); err != nil {
				t.Errorf("an entry was applied and broke the book: %v", err)
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	w := newWorld(f, anyTier())
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 4))).Response)
	m.giveBack(id, 1)
	w.mustDo(m.request(2))
	f.Add(w.book.Snapshot())
	f.Fuzz(func(t *testing.T, b []byte) {
		if book, err := Restore(b); err == nil && string(book.Snapshot()) != string(b) {
			t.Error("a second encoding was taken")
		}
	})
}
