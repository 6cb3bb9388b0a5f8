package ledger

import (
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// What no caller may ask is malformed, changes nothing, and names the field.
func TestMalformedCommands(t *testing.T) {
	long := repeated('x', capability.MaxText+1)
	var bad *capability.Malformed
	for _, c := range []struct {
		field   string
		command Command
	}{
		{"command", nil},
		{"start", Start{BootID: long}},
		{"start", Start{BootID: "1", Cause: long}},
		{"by", Return{ID: capability.ReturnID{1}, ActivationID: activation('a'), By: long}},
		{"copies", Return{ID: capability.ReturnID{1}, ActivationID: activation('a'), Copies: capability.MaxCount + 1}},
		{"by", WriteRequest{Number: 1, By: long}},
		{"by", Drain{ActivationID: activation('a'), Deadline: day + 900, By: long}},
		{"activationId", Drain{ActivationID: "a", Deadline: day + 900}},
		{"by", CancelDrain{ActivationID: activation('a'), By: long}},
		{"by", DeleteModel{By: long}},
		{IdleLimit, SetPolicy{Name: IdleLimit, Value: "an hour"}},
		{IdleLimit, SetPolicy{Name: IdleLimit, Value: "h"}},
	} {
		v := begin(t, lineItem('a', "f:1.0", 4))
		before := v.l.Digest()
		if _, err := v.do(c.command); !asMalformed(err, &bad) || bad.Field != c.field {
			t.Errorf("%T: %v where %s is malformed", c.command, err, c.field)
		}
		if v.l.Digest() != before {
			t.Errorf("%T changed the state", c.command)
		}
	}
}

// A refusal because of many groups names three of them.
func TestManyGroupsAreNotAllNamed(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 9))
	var all []Group
	for _, name := range []string{"red", "green", "blue", "gray"} {
		all = append(all, groups(name, "d/ETHERNET f:1.0 1")...)
	}
	v.must(SetReservations{Groups: all})
	no := v.refused(SetModel{Text: []byte(`model "m" { on any() { accept } }`)}, capability.ErrReserved)
	if !strings.HasSuffix(no.Detail, "red, green, blue, and others") {
		t.Error(no.Detail)
	}
}

// A configuration changes with models, reservations and settings, and with nothing else.
func TestEntriesThatConfigure(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 9))
	for _, c := range []struct {
		command Command
		want    bool
	}{
		{SetPolicy{Name: IdleLimit, Value: "2h"}, true},
		{SetModel{Text: []byte(`model "m" { on any() { accept } }`)}, true},
		{DeleteModel{}, true},
		{SetReservations{Groups: groups("red", "d/ETHERNET f:1.0 1")}, true},
		{Drain{ActivationID: activation('a'), Deadline: day + 900}, false},
		{TakeRecovery{}, false},
		{Start{BootID: "2"}, false},
	} {
		d := v.must(c.command)
		if len(d.Entries) != 1 || d.Entries[0].Configures() != c.want {
			t.Errorf("%T: %d entries, where %t is wanted of one", c.command, len(d.Entries), c.want)
		}
	}
}
