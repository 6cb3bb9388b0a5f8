package ledger

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// A key that was revoked stays so, whatever comes later: older lists, other lists, the same response again, a restart.
func TestRevokedKeys(t *testing.T) {
	a, b, c, d := capability.Digest{1}, capability.Digest{2}, capability.Digest{3}, capability.Digest{4}
	v := begin(t)
	for n, step := range []struct {
		name    string
		key     capability.Digest
		revoked []capability.Digest
		code    capability.Code // zero: applied
		known   []capability.Digest
	}{
		{"before anything is known", a, nil, 0, nil},
		{"a key that revokes another", b, []capability.Digest{a}, 0, []capability.Digest{a}},
		{"the revoked one", a, nil, capability.ErrKeyRevoked, []capability.Digest{a}},
		{"the revoked one, revoking the other", a, []capability.Digest{b}, capability.ErrKeyRevoked, []capability.Digest{a}},
		{"an older list", b, nil, 0, []capability.Digest{a}},
		{"the revoked one, after an older list", a, nil, capability.ErrKeyRevoked, []capability.Digest{a}},
		{"one that revokes itself", d, []capability.Digest{d}, capability.ErrKeyRevoked, []capability.Digest{a}},
		{"another list, not in order", c, []capability.Digest{d, b}, 0, []capability.Digest{a, b, d}},
		{"the second revoked one", b, []capability.Digest{a}, capability.ErrKeyRevoked, []capability.Digest{a, b, d}},
		{"the same list again", c, []capability.Digest{b, d}, 0, []capability.Digest{a, b, d}},
		{"by nobody known", capability.Digest{}, nil, 0, []capability.Digest{a, b, d}},
	} {
		before := v.l.Snapshot()
		serial := uint64(n + 1)
		if step.code != 0 {
			serial = 1 << 40 // the thief looks far ahead
		}
		_, err := v.do(Provision{Response: v.response(serial, capability.Response{Items: items(lineItem('a', "f:1.0", 4))}), Digest: capability.Digest{byte(n)}, Key: step.key, Revoked: step.revoked})
		var no *capability.Refusal
		switch {
		case step.code == 0 && err != nil:
			t.Fatalf("%s: %v", step.name, err)
		case step.code != 0 && (!errors.As(err, &no) || no.Code != step.code):
			t.Fatalf("%s: %v where %s is expected", step.name, err, step.code)
		case step.code != 0 && !bytes.Equal(before, v.l.Snapshot()):
			t.Errorf("%s: a refused response changes something", step.name)
		}
		again, err := Restore(v.l.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(again.Revoked(), step.known) {
			t.Errorf("%s: %.1x are known, expected are %.1x", step.name, again.Revoked(), step.known)
		}
	}
}

// Journals tell nothing that Decide would not have written.
func TestRevokedKeysInEntries(t *testing.T) {
	a, b := capability.Digest{1}, capability.Digest{2}
	full := make([]capability.Digest, capability.MaxRevoked)
	for n := range full {
		full[n] = capability.Digest{byte(n >> 8), byte(n), 1}
	}
	for name, row := range map[string]struct {
		before, keys []capability.Digest
		ok           bool
	}{
		"none":         {nil, nil, true},
		"two":          {nil, []capability.Digest{a, b}, true},
		"out of order": {nil, []capability.Digest{b, a}, false},
		"twice":        {nil, []capability.Digest{a, a}, false},
		"known":        {[]capability.Digest{a}, []capability.Digest{a}, false},
		"the most":     {full[1:], full[:1], true},
		"too many":     {full, []capability.Digest{{0xff}}, false},
	} {
		l := New()
		l.revoked = row.before
		if err := l.revoke(row.keys); (err == nil) != row.ok || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	v := begin(t)
	v.must(Provision{Response: v.response(1, capability.Response{}), Digest: capability.Digest{1}, Revoked: full})
	var m *capability.Malformed
	if _, err := v.do(Provision{Response: v.response(2, capability.Response{}), Digest: capability.Digest{2}, Revoked: []capability.Digest{{0xff}}}); !errors.As(err, &m) || m.Field != "revoked" {
		t.Errorf("one key more than is kept: %v", err)
	}
	for name, list := range map[string][]capability.Digest{"no key": {{}}, "order": {b, a}, "twice": {a, a}, "too many": append(full, capability.Digest{0xff})} {
		v.l.revoked = list
		if err := v.l.Check(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: Check says %v", name, err)
		}
	}
}
