package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

func registered(device, name string) RegisterKey {
	return RegisterKey{Key: key(device), Kind: wire.KeyRSA2048, Name: name, By: "login keller"}
}

// A key is registered once, may be named anew, and is gone when an administrator says so. All of it is in the snapshot.
func TestClientKeys(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	v.must(registered("d2", "WS-2"))
	first := v.now.Wall
	v.pass(60)
	v.must(registered("d1", ""))
	if d := v.must(registered("d2", "WS-2")); len(d.Entries) > 0 {
		t.Error("a key that is registered is registered again")
	}
	v.must(registered("d2", "WS-2 on floor 3"))
	k, ok := v.l.ClientKey(key("d2"))
	if want := (ClientKey{key("d2"), wire.KeyRSA2048, "WS-2 on floor 3", first}); !ok || k != want {
		t.Errorf("%+v, want %+v", k, want)
	}
	all := v.l.ClientKeys()
	if len(all) != 2 || all[0].Key != key("d1") || all[0].Since != first.Add(60) {
		t.Errorf("%+v", all)
	}
	all[0].Name = "changed outside"
	if conf := v.l.Configuration(); len(conf.Keys) != 2 || conf.Keys[0].Name != "" {
		t.Errorf("%+v", conf.Keys)
	}
	if l, err := Restore(v.l.Snapshot()); err != nil || l.Digest() != v.l.Digest() || !slices.Equal(l.ClientKeys(), v.l.ClientKeys()) {
		t.Error("another state: ", err)
	}
	v.must(RemoveKey{Key: key("d1"), By: "login keller"})
	v.refused(RemoveKey{Key: key("d1")}, capability.ErrNotFound)
	if _, ok := v.l.ClientKey(key("d1")); ok || len(v.l.ClientKeys()) != 1 {
		t.Error("a key that was removed is there")
	}
}

// Where registered keys alone are served, another gets nothing, renews nothing and loses nothing before its end; it may give back.
func TestRegisteredKeysOnly(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	v.must(registered("d1", "WS-1"))
	both := [][2]string{{"d1 f:1.0 1", "OK | OK 1 | has 1"}, {"d2 f:1.0 2", "OK | OK 2 | has 2"}}
	v.play(both)
	v.must(SetPolicy{Name: ClientKeysOnly, Value: "true", By: "admin"})
	v.play([][2]string{
		{"d1 f:1.0 2", "OK | OK 2 | has 2"},
		{"d2 f:1.0 2", "DENIED E_CLIENT_KEY | has 0"},
		{"preview d2 f:1.0 2", "DENIED E_CLIENT_KEY | has 0"},
		{"d3 f:1.0 1", "DENIED E_CLIENT_KEY | has 0"},
		{"d2 f:1.0 1", "PARTLY | INSUFFICIENT 0 E_CLIENT_KEY | has 1"}, // one goes back
		{"items", "a 3/4"},
		{"d2", "RETURNED | has 0"},
		{"items", "a 2/4"},
	})
	v.must(registered("d2", ""))
	v.play([][2]string{{"d2 f:1.0 2", "OK | OK 2 | has 2"}})
	v.must(RemoveKey{Key: key("d2")})
	v.play([][2]string{{"items", "a 4/4"}, {"d2 f:1.0 2", "DENIED E_CLIENT_KEY | has 0"}, {"+900", ""}, {"items", "a 0/4"}})
	v.must(SetPolicy{Name: ClientKeysOnly, Value: "", By: "admin"})
	v.play([][2]string{{"d2 f:1.0 2", "OK | OK 2 | has 2"}})
}

// Another key that names the same host ID as a registered one is not that.
func TestRegisteredKeyIsNotAHostID(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	v.must(registered("d1", "WS-1"))
	v.must(SetPolicy{Name: ClientKeysOnly, Value: "true", By: "admin"})
	if got := show(v.serve(Serve{Key: key("thief"), Request: v.request("d1", "f:1.0 1")})); got != "DENIED E_CLIENT_KEY | has 0" {
		t.Error(got)
	}
	if got := show(v.serve(Serve{Key: key("d1"), Request: v.request("another name", "f:1.0 1")})); got != "OK | OK 1 | has 1" {
		t.Error(got)
	}
	v.play([][2]string{{"d1 f:1.0 1", "OK | OK 1 | has 1"}, {"+900", ""}})
	if got := show(v.serve(Serve{Key: key("thief"), Request: v.request("d1", "f:1.0 1")})); got != "DENIED E_CLIENT_KEY | has 0" {
		t.Errorf("where the registered one was before: %s", got)
	}
}

// An undo gives nothing again to a key that is not registered.
func TestUndoByAnUnknownKey(t *testing.T) {
	v := begin(t, lineItem('m', "m:1.0", 9, metered(true, 7200)))
	v.say("report d m:1.0 5")
	v.say("report d cor:r m:1.0 2")
	v.must(SetPolicy{Name: ClientKeysOnly, Value: "true", By: "admin"})
	undo := v.request("d")
	undo.Operation, undo.Undoes = capability.Undo, named("r")
	if got := show(v.serve(Serve{Key: key("d"), Request: undo})); got != "DENIED E_CLIENT_KEY | has 0" {
		t.Error(got)
	}
	v.must(registered("d", ""))
	undo.Correlation = named("again")
	if got := v.serve(Serve{Key: key("d"), Request: undo}); got.Status != capability.StatusOK {
		t.Error(show(got))
	}
}

// An older copy of the disk brings back no key that was removed, and does not open what was closed to strangers.
func TestClientKeysMoveTheEpoch(t *testing.T) {
	v := begin(t)
	v.must(registered("d1", ""))
	if v.must(RemoveKey{Key: key("d1")}).Move {
		t.Error("there is no epoch before the first response")
	}
	v.provision(lineItem('a', "f:1.0", 4))
	for _, c := range []struct {
		command Command
		moves   bool
	}{
		{registered("d1", ""), false}, {registered("d1", "n"), false}, {RemoveKey{Key: key("d1")}, true},
		{SetPolicy{Name: ClientKeysOnly, Value: "true"}, true}, {SetPolicy{Name: ClientKeysOnly, Value: "true"}, false}, {SetPolicy{Name: ClientKeysOnly, Value: "false"}, false},
		{SetPolicy{Name: IdleLimit, Value: "3600"}, false},
	} {
		if d := v.must(c.command); d.Move != c.moves {
			t.Errorf("%+v moves the epoch: %v", c.command, d.Move)
		}
	}
}

// However often an administrator removes keys or closes the door to strange ones, the TPM is written to as often as it can bear. Then he is told when he can again, and nothing is half done.
func TestClientKeysDoNotWearTheTPM(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	moves := 0
	remove := func() error {
		v.must(registered("d1", ""))
		d, err := v.l.Decide(v.now, RemoveKey{Key: key("d1")})
		if err == nil {
			moves++
			v.must(RemoveKey{Key: key("d1")})
		}
		if err == nil != d.Move {
			t.Fatalf("%+v: %v", d, err)
		}
		return err
	}
	var err error
	for err == nil && moves <= keySaved {
		err = remove()
	}
	no := (*capability.Refusal)(nil)
	if moves != keySaved || !errors.As(err, &no) || no.Code != capability.ErrRation || no.Until != v.now.Wall.Add(keyPeriod) {
		t.Fatalf("%d moves at once, want %d: %v", moves, keySaved, err)
	}
	if _, here := v.l.ClientKey(key("d1")); !here {
		t.Error("a key is gone without a move")
	}
	v.refused(SetPolicy{Name: ClientKeysOnly, Value: "true"}, capability.ErrRation)
	v.must(SetPolicy{Name: ClientKeysOnly, Value: "false"})
	if l, err := Restore(v.l.Snapshot()); err != nil || l.Digest() != v.l.Digest() {
		t.Error("another state: ", err)
	} else if _, err := l.Decide(v.now, RemoveKey{Key: key("d1")}); !errors.As(err, &no) || no.Code != capability.ErrRation {
		t.Error("the ration is another after a restart: ", err)
	}
	v.pass(keyPeriod - 1)
	v.refused(RemoveKey{Key: key("d1")}, capability.ErrRation)
	v.pass(1)
	if !v.must(SetPolicy{Name: ClientKeysOnly, Value: "true"}).Move {
		t.Error("no move in its time")
	}
	v.refused(RemoveKey{Key: key("d1")}, capability.ErrRation)
	// Nothing that an entry says makes more of it.
	for what, e := range map[string]Entry{
		"a key registered with a move": {Registered: &Registered{Key: ClientKey{Key: key("d2"), Kind: wire.KeyP256, Since: v.now.Wall}, Spent: v.l.keySpent + 1}},
		"a setting with a move":        {Configured: &Configured{Setting: Setting{Name: IdleLimit, Value: "3600"}, Spent: v.l.keySpent + 1}},
		"a ration that comes back":     {Registered: &Registered{Key: ClientKey{Key: key("d1")}, Removed: true, Spent: v.l.keySpent}},
		"a ration without an end":      {Registered: &Registered{Key: ClientKey{Key: key("d1")}, Removed: true, Spent: v.now.Lease + keySaved*keyPeriod + 1}},
	} {
		l, err := Restore(v.l.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		e.Position, e.Previous, e.Now = l.position+1, l.head, v.now
		if err := l.Apply(e); err == nil {
			t.Errorf("%s is applied", what)
		}
	}
	for _, spent := range []capability.Seconds{-1, v.now.Lease + keySaved*keyPeriod + 1} {
		was := v.l.keySpent
		v.l.keySpent = spent
		if v.l.Check() == nil {
			t.Errorf("a ration at %d", spent)
		}
		v.l.keySpent = was
	}
}

func TestTooManyClientKeys(t *testing.T) {
	v := begin(t)
	for n := range MaxClientKeys {
		v.l.keys = append(v.l.keys, ClientKey{Key: capability.Digest{byte(n >> 8), byte(n), 1}, Kind: wire.KeyP256, Since: v.now.Wall})
	}
	if err := v.l.Check(); err != nil {
		t.Fatal(err)
	}
	var m *capability.Malformed
	if _, err := v.l.Decide(v.now, registered("d1", "")); !errors.As(err, &m) || m.Field != "key" {
		t.Error(err)
	}
	if _, err := v.l.Decide(v.now, RegisterKey{Key: capability.Digest{0, 0, 1}, Kind: wire.KeyP256, Name: "named anew"}); err != nil {
		t.Error(err)
	}
	v.l.keys = append(v.l.keys, ClientKey{Key: capability.Digest{0xff}, Kind: wire.KeyP256, Since: v.now.Wall})
	if err := v.l.Check(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("one too many: %v", err)
	}
}

// What is no such key is refused, and corrupt where it is on disk.
func TestBadClientKeys(t *testing.T) {
	for name, spoil := range map[string]func(*Registered){
		"nothing": func(*Registered) {}, "no key": func(f *Registered) { f.Key.Key = capability.Digest{} }, "no kind": func(f *Registered) { f.Key.Kind = 0 }, "a kind to come": func(f *Registered) { f.Key.Kind = 4 },
		"a long name": func(f *Registered) { f.Key.Name = strings.Repeat("x", capability.MaxName+1) }, "a line in a name": func(f *Registered) { f.Key.Name = "a\nb" }, "a line in who": func(f *Registered) { f.By = "a\nb" },
		"another time": func(f *Registered) { f.Key.Since++ }, "removed, and was not there": func(f *Registered) { *f = Registered{Key: ClientKey{Key: f.Key.Key}, Removed: true} },
		"as it is": func(f *Registered) { f.Key = ClientKey{key("d2"), wire.KeyRSA2048, "WS-2", f.Key.Since} }, "of another kind": func(f *Registered) { f.Key = ClientKey{key("d2"), wire.KeyP256, "WS-2", f.Key.Since} },
		"removed with a name": func(f *Registered) { *f = Registered{Key: ClientKey{Key: key("d2"), Name: "WS-2"}, Removed: true} },
	} {
		v := begin(t)
		v.must(registered("d2", "WS-2"))
		d, err := v.l.Decide(v.now, registered("d1", "WS-1"))
		if err != nil {
			t.Fatal(err)
		}
		spoil(d.Entries[0].Registered)
		if err := v.l.Apply(d.Entries[0]); errors.Is(err, ErrCorrupt) != (name != "nothing") {
			t.Errorf("%s: %v", name, err)
		}
	}
	v := begin(t)
	var m *capability.Malformed
	for _, c := range []RegisterKey{{Key: key("d"), Kind: 9}, {Kind: wire.KeyP256}, {Key: key("d"), Kind: wire.KeyP256, Name: "\x1b"}, {Key: key("d"), Kind: wire.KeyP256, By: strings.Repeat("x", 1000)}} {
		if _, err := v.l.Decide(v.now, c); !errors.As(err, &m) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// What is done about a client key is in the trail, in words, and in bytes that stay.
func TestClientKeyEntry(t *testing.T) {
	f := Registered{Key: ClientKey{capability.Digest{0xab, 0xcd}, wire.KeyRSA2048, "a", 5}, By: "uid 0"}
	e := Entry{Position: 1, Now: At(1, 2), Registered: &f}
	want := "a3" + "01" + "01" + "03" + "82" + "01" + "02" + "1835" + "a2" + // 53: about a client key
		"01" + "a4" + "01" + "5820" + "abcd" + strings.Repeat("00", 30) + "02" + "03" + "03" + "6161" + "04" + "05" + "03" + "65" + "7569642030" // RSA-2048, called a, since 5, by uid 0
	b := e.Encode(wire.New())
	if got := fmt.Sprintf("%x", b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if read, err := DecodeEntry(wire.New(), b); err != nil || !bytes.Equal(read.Encode(wire.New()), b) || !read.Configures() {
		t.Errorf("%+v, %v", read, err)
	}
	digest := "ABCD" + strings.Repeat("00", 30)
	for _, c := range []struct {
		change func()
		words  string
	}{{func() {}, "client key registered|a, " + digest + "|uid 0"}, {func() { f.Key.Name = "" }, "client key registered|" + digest + "|uid 0"}, {func() { f.Removed = true }, "client key removed|" + digest + "|uid 0"}} {
		c.change()
		if a, b, by := e.Words(); a+"|"+b+"|"+by != c.words {
			t.Errorf("%s|%s|%s, want %s", a, b, by, c.words)
		}
	}
}
