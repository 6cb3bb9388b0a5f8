package entitlement

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func state(n byte) []byte { return bytes.Repeat([]byte{n}, StateBytes) }

func TestBootStates(t *testing.T) {
	w := newWorld(t, anyTier())
	for _, s := range []AllowBoot{{State: state(1), Note: "image 1"}, {State: state(2), Note: "image 2", By: "operator"}} {
		w.mustDo(s)
	}
	for name, c := range map[string]Command{
		"too short":                  AllowBoot{State: state(3)[1:], Note: "x"},
		"too long":                   AllowBoot{State: append(state(3), 0), Note: "x"},
		"none":                       AllowBoot{Note: "x"},
		"no note":                    AllowBoot{State: state(3)},
		"a note that writes":         AllowBoot{State: state(3), Note: "a\x1b[31m"},
		"there already":              AllowBoot{State: state(1), Note: "x"},
		"withdrawn, and never there": WithdrawBoot{State: state(3)},
		"withdrawn, and no state":    WithdrawBoot{State: state(3)[1:]},
	} {
		if d, err := w.do(c); !errors.Is(err, ErrBoot) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	list := func(quoted byte) (out []byte) {
		for _, s := range w.book.StatesFor(state(quoted)) {
			out = append(out, s[0])
		}
		return out
	}
	for quoted, want := range map[byte][]byte{9: {9, 1, 2}, 2: {2, 1}, 1: {1, 2}} {
		if got := list(quoted); !bytes.Equal(got, want) {
			t.Errorf("a machine in %d gets %v, want %v", quoted, got, want)
		}
	}
	w.now++
	w.mustDo(WithdrawBoot{State: state(1)})
	if got := list(9); !bytes.Equal(got, []byte{9, 2}) {
		t.Errorf("after the withdrawal %v", got)
	}
	if _, err := w.do(WithdrawBoot{State: state(1)}); !errors.Is(err, ErrBoot) {
		t.Errorf("withdrawn twice: %v", err)
	}
	b, err := Restore(w.book.Snapshot())
	if err != nil || b.Digest() != w.book.Digest() {
		t.Fatalf("restored: %v", err)
	}
	if s := b.BootStates(); len(s) != 2 || s[0].Withdrawn != w.now || s[1].Note != "image 2" || s[1].By != "operator" || s[1].Allowed == 0 {
		t.Errorf("%+v", s)
	}
	w.mustDo(AllowBoot{State: state(1), Note: "image 1 after all"})
	if got := list(9); !bytes.Equal(got, []byte{9, 2, 1}) || len(w.book.BootStates()) != 2 {
		t.Errorf("allowed again: %v", got)
	}
}

func TestBootStatesAreBounded(t *testing.T) {
	w := newWorld(t, anyTier())
	for n := range byte(MaxBootStates) {
		w.mustDo(AllowBoot{State: state(n + 1), Note: "image"})
	}
	if _, err := w.do(AllowBoot{State: state(200), Note: "image"}); !errors.Is(err, ErrBoot) {
		t.Errorf("one above the limit: %v", err)
	}
	w.mustDo(WithdrawBoot{State: state(7)})
	w.mustDo(AllowBoot{State: state(200), Note: "image"})
	if n := len(w.book.StatesFor(state(201))); n != MaxBootStates+1 {
		t.Errorf("%d states in a response", n)
	}
}

// A machine that runs in a withdrawn state is told so, and goes on once it runs in another one.
func TestWithdrawnStateIsInNoResponse(t *testing.T) {
	w := newWorld(t, anyTier())
	m := newMachine(1)
	w.mustDo(AllowBoot{State: state(1), Note: "image 1"})
	first := m.request(1)
	first.Boot = state(1)
	m.apply(w.mustDo(first).Response)
	w.mustDo(WithdrawBoot{State: state(1)})
	a := m.request(2)
	a.Boot = state(1)
	_, before := w.book.Head()
	d, err := w.do(a)
	if code(err) != capability.ErrSealed || d != nil || !strings.Contains(err.Error(), "image 1") {
		t.Errorf("%v, %+v", err, d)
	}
	if _, after := w.book.Head(); after != before {
		t.Error("the innocent request is on record")
	}
	if d := w.mustDo(first); d.Known == nil {
		t.Error("what was answered before is not the same answer")
	}
	a.Boot = state(2)
	w.mustDo(a)
}

func TestForgedBootStates(t *testing.T) {
	w := newWorld(t, anyTier())
	w.mustDo(AllowBoot{State: state(1), Note: "image 1"})
	for name, c := range map[string]BootChange{
		"short":                      {State: state(2)[1:], Note: "x"},
		"twice":                      {State: state(1), Note: "x"},
		"without words":              {State: state(2)},
		"withdrawn, and never there": {State: state(2), Withdraw: true},
	} {
		if err := w.book.Apply(&Entry{Before: w.book.head, Time: w.now, Boot: &c}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, spoil := range map[string]func(){
		"short": func() { w.book.boots[0].State = state(1)[1:] },
		"twice": func() { s := *w.book.boots[0]; w.book.boots = append(w.book.boots, &s) },
	} {
		scratch, err := Restore(w.book.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		was := w.book
		w.book = scratch
		if spoil(); w.book.Check() == nil {
			t.Errorf("%s: not found", name)
		}
		w.book = was
	}
}
