package entitlement

import (
	"fmt"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func entitled(t testing.TB, n uint64, copies uint32) Entitle {
	return Entitle{Item: Item{ActivationID: testID(t, n), Customer: "ACME Works", EntitlementID: "ENT-1", Product: "Render Pro", Copies: copies,
		Features: []Feature{{Name: "render", PerCopy: 1}}}}
}

// The same command under the same key changes nothing and says what came of it, also from a snapshot; another one is refused.
func TestOnce(t *testing.T) {
	w := newWorld(t, anyTier())
	asked := capability.Digest{7}
	first := w.mustDo(Once{Key: "order 17", Asked: asked, Command: entitled(t, 1, 3)})
	if first.Done != nil || len(first.Entries) != 1 {
		t.Fatalf("the first time: %+v", first)
	}
	_, length := w.book.Head()
	restored, err := Restore(w.book.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*Book{"book": w.book, "replica": w.replica, "restored": restored} {
		d, err := b.Decide(w.now+5, Once{Key: "order 17", Asked: asked, Command: entitled(t, 2, 3)})
		if err != nil || len(d.Entries) != 0 || d.Done == nil || d.Done.Subject != string(testID(t, 1)) || d.Done.Entry != length || d.Done.Time != w.now {
			t.Errorf("%s, again: %+v, %v", name, d, err)
		}
		if _, err := b.Decide(w.now, Once{Key: "order 17", Asked: capability.Digest{8}, Command: entitled(t, 2, 4)}); code(err) != capability.ErrKeyUsed {
			t.Errorf("%s, another command: %v", name, err)
		}
		if d, err := b.Decide(w.now, Once{Key: "order 17", Part: 1, Asked: asked, Command: entitled(t, 2, 3)}); err != nil || len(d.Entries) != 1 {
			t.Errorf("%s, the next part: %v", name, err)
		}
	}
	for _, c := range []Once{{Key: "", Asked: asked}, {Key: "a\nb", Asked: asked}, {Key: string(make([]byte, capability.MaxName+1)), Asked: asked}, {Key: "nothing"}} {
		if c.Command = entitled(t, 3, 1); decides(w.book, w.now, c) {
			t.Errorf("key %q of %x is taken", c.Key, c.Asked)
		}
	}
}

func decides(b *Book, now capability.Time, c Command) bool {
	_, err := b.Decide(now, c)
	return err == nil
}

// A refused command has not used its key, whether it leaves a record of the refusal or not.
func TestOnceRefused(t *testing.T) {
	w := newWorld(t, anyTier())
	asked := capability.Digest{7}
	if _, err := w.do(Once{Key: "k", Asked: asked, Command: entitled(t, 1, 0)}); err == nil {
		t.Fatal("an item of no copies is taken")
	}
	id := w.entitle(1, 9, nil)
	m := newMachine(1)
	w.mustDo(m.request(1, want(id, 2)))
	copied := m.copied()
	w.mustDo(m.request(2, want(id, 2)))
	if d, err := w.do(Once{Key: "k", Asked: asked, Command: copied.request(3, want(id, 3))}); code(err) != capability.ErrFork || len(d.Entries) != 1 {
		t.Fatalf("a fork: %v", err)
	}
	if d := w.mustDo(Once{Key: "k", Asked: asked, Command: m.request(4, want(id, 3))}); d.Done != nil || d.Answered().Request.Serial != 3 {
		t.Errorf("after the refusals: %+v", d)
	}
}

// The last MaxKeys keys are known, the one before them is free again; Apply does not take a key that is known.
func TestKeysAreBounded(t *testing.T) {
	b := New()
	take := func(c Command) (*Decision, error) {
		d, err := b.Decide(1_800_000_000, c)
		if err != nil {
			return nil, err
		}
		for _, e := range d.Entries {
			if err := b.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		return d, nil
	}
	policy := SetPolicy{Policy: anyTier()}
	if _, err := take(policy); err != nil {
		t.Fatal(err)
	}
	under := func(n int) Once {
		return Once{Key: fmt.Sprint("key ", n), Asked: capability.Digest{1}, Command: policy}
	}
	for n := range MaxKeys + 1 {
		if d, err := take(under(n)); err != nil || d.Done != nil {
			t.Fatalf("key %d: %v", n, err)
		}
	}
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	for n, known := range map[int]bool{0: false, 1: true, MaxKeys: true} {
		d, err := b.Decide(1_800_000_000, under(n))
		if err != nil || (d.Done != nil) != known {
			t.Errorf("key %d is known: %v, want %v", n, !known, known)
		}
	}
	e := b.entry(1_800_000_000, "")
	e.Policy, e.Once = &policy.Policy, &Mark{"key 1", 0, capability.Digest{1}}
	if err := b.Apply(e); err == nil {
		t.Error("a key is applied twice")
	}
}
