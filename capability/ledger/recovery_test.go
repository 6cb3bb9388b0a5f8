package ledger

import (
	"bytes"
	"errors"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

func TestRecoveryKeyIsShownOnce(t *testing.T) {
	v := &life{t: t, l: New(), now: At(1000, day)}
	v.must(Start{})
	v.refused(TakeRecovery{By: "a"}, capability.ErrNotProvisioned)
	v.provision(lineItem('a', "f:1.0", 4))
	for n, c := range []struct {
		anew   bool
		number uint32
		code   capability.Code
	}{{false, 0, 0}, {false, 0, capability.ErrRecoveryTaken}, {true, 1, 0}, {false, 1, capability.ErrRecoveryTaken}, {true, 2, 0}} {
		v.pass(10)
		command := TakeRecovery{New: c.anew, By: string(rune('a' + n))}
		if c.code != 0 {
			v.refused(command, c.code)
			continue
		}
		v.must(command)
		if r := v.l.Recovery(); r != (RecoveryView{v.l.life, c.number, command.By, v.now.Wall}) {
			t.Errorf("%+v", r)
		}
	}
	l, err := Restore(v.l.Snapshot())
	if err != nil || l.Recovery() != v.l.Recovery() {
		t.Errorf("restored: %v", err)
	}
	for number, l := range map[uint32]*Ledger{2: l, 4: l, 0: New()} {
		if err := l.Apply(l.decided(v.now, Entry{Recovery: &Recovery{Number: number}}).Entries[0]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("key %d is taken: %v", number, err)
		}
	}
	if _, err := v.do(TakeRecovery{By: string(make([]byte, capability.MaxText+1))}); err == nil {
		t.Error("a name of any length is taken")
	}
}

// The trail finds what is missing, doubled, changed or moved; its words name every fact.
func TestTrail(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	v.must(TakeRecovery{By: "admin"})
	v.ask("d", "f:1.0 1")
	v.must(Drop{Device: v.request("d").Hosts[0], Feature: "f", By: "admin"})
	v.must(SetPolicy{Name: IdleLimit, Value: "2h", By: "admin"})
	v.must(WriteRequest{Number: 1, Digest: capability.Digest{1}, By: "admin"})
	var items [][]byte
	for _, e := range v.entries {
		items = append(items, e.Encode(wire.New()))
		if kind, _, _ := e.Words(); kind == "unknown" {
			t.Errorf("no words for entry %d", e.Position)
		}
	}
	follow := func(items ...[]byte) (tr Trail, err error) {
		for _, b := range items {
			if _, err = tr.Add(b); err != nil {
				return tr, err
			}
		}
		return tr, nil
	}
	tr, err := follow(items...)
	if err != nil || tr.First != 1 || tr.Position != v.l.Status(v.now).Position || tr.Head != v.l.Status(v.now).Head {
		t.Fatalf("%+v, %v", tr, err)
	}
	if tr, err := follow(items[2:]...); err != nil || tr.First != 3 {
		t.Errorf("from the middle: %+v, %v", tr, err)
	}
	changed := bytes.Clone(items[2])
	for n := range changed {
		changed[n] ^= 1
		if _, err := follow(items[0], items[1], changed, items[3]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d is changed: %v", n, err)
		}
		changed[n] ^= 1
	}
	for name, list := range map[string][][]byte{
		"one is missing":  {items[0], items[2]},
		"one is doubled":  {items[0], items[0]},
		"two are swapped": {items[0], items[2], items[1]},
	} {
		if _, err := follow(list...); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	forged := v.entries[0]
	forged.Previous = capability.Digest{9}
	if _, err := follow(forged.Encode(wire.New())); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a first entry that names another: %v", err)
	}
	for _, e := range []Entry{{Modeled: &Modeled{}}, {Modeled: &Modeled{Text: []byte("x")}}, {Reserved: &Reserved{}}, {Drained: &Drained{}}, {Stated: &Stated{}}, {Watched: &Watched{}}, {Watched: &Watched{}, Clock: &Clock{}},
		{Returned: &Returned{}}, {Proved: &Proved{}}, {Advanced: &Advanced{}}} {
		if kind, _, _ := e.Words(); kind == "unknown" || kind == "" {
			t.Errorf("no words for %+v", e)
		}
	}
	if kind, _, _ := (&Entry{}).Words(); kind != "unknown" {
		t.Error(kind)
	}
}

func TestConfigurationIsACopy(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	v.must(SetPolicy{Name: IdleLimit, Value: "2h"})
	v.must(SetModel{Text: []byte(`model "m" { on any() { accept } }`)})
	c := v.l.Configuration()
	c.Model[0], c.Settings[0].Value = 'X', "0"
	if again := v.l.Configuration(); string(again.Model[:5]) != "model" || again.Settings[0].Value == "0" {
		t.Errorf("%+v", again)
	}
}
