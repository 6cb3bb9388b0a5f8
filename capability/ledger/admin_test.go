package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/hostid"
)

// entryStates is every reservation entry as "ID status has/count".
func (v *life) entryStates() string {
	var out []string
	_, views := v.l.Reservations()
	for _, e := range views {
		out = append(out, fmt.Sprintf("%d %s %d/%d", e.ID, e.Status, e.Has, e.Count))
	}
	return strings.Join(out, ", ")
}

func (v *life) states(want string) {
	v.t.Helper()
	if got := v.entryStates(); got != want {
		v.t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestReservationLevels(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 10))
	v.must(SetReservations{Groups: groups("g", "d1/ETHERNET f:1.0 3", "d1/ETHERNET f:2.0 1", "d2/ETHERNET f:1.0 2"), By: "admin"})
	v.states("3 satisfied 3/3, 4 unsatisfied 0/1, 6 satisfied 2/2")
	if d := v.must(SetReservations{Groups: groups("g", "d1/ETHERNET f:1.0 3", "d1/ETHERNET f:2.0 1", "d2/ETHERNET f:1.0 2")}); len(d.Entries) != 0 {
		t.Error("the same import again changes something")
	}
	v.must(PutGroup{Group: groups("h", "u/USER f:1.0 4")[0]})
	v.states("3 satisfied 3/3, 4 unsatisfied 0/1, 6 satisfied 2/2, 9 satisfied 4/4")
	v.play([][2]string{{"d1 f:1.0 3", "OK | OK 3 | has 3"}})

	// Edit in place: a count changes, an entry comes, another owner is another entry. Leases are untouched.
	all, _ := v.l.Reservations()
	g := all[0]
	g.Reservations[0].Entries[0].Count = 4
	g.Reservations[0].Entries = append(g.Reservations[0].Entries, ReservationEntry{Feature: "f", Version: capability.Version{Major: 1}, Count: 1})
	g.Reservations[1].Host.Value = "d3"
	v.must(PutGroup{Group: g})
	v.states("3 satisfied 4/4, 4 unsatisfied 0/1, 10 satisfied 1/1, 12 unsatisfied 0/2, 9 satisfied 4/4")
	v.play([][2]string{{"has d1", "a*3@reservation 3"}})

	for _, id := range []uint64{10, 4} {
		v.must(DeleteReserved{ID: id})
	}
	v.states("3 satisfied 4/4, 12 satisfied 2/2, 9 satisfied 4/4")
	v.must(DeleteReserved{ID: 2})
	v.states("12 satisfied 2/2, 9 satisfied 4/4")
	v.play([][2]string{{"has d1", "a*3@default"}})
	v.must(DeleteReserved{ID: 7})
	v.states("12 satisfied 2/2")
	v.must(DeleteReserved{ID: 12})
	v.states("")
	v.refused(DeleteReserved{ID: 12}, capability.ErrNotFound)
	v.refused(PutGroup{Group: Group{ID: 99, Name: "x", Reservations: g.Reservations}}, capability.ErrNotFound)
}

// Counts leased from the default pool do not move; the entry waits for them.
func TestPendingReservation(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	v.say("d1 f:1.0 3")
	v.must(SetReservations{Groups: groups("g", "d2/ETHERNET f:1.0 3")})
	v.states("3 pending 1/3")
	v.play([][2]string{
		{"d3 f:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
		{"d2 f:1.0 2", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
		{"+900", ""},
		{"advance", ""},
	})
	v.states("3 satisfied 3/3")
	v.play([][2]string{{"slices", "default a 0/1, reservation 3 a 0/3"}, {"d2 f:1.0 4", "OK | OK 4 | has 4"}})
}

// When counts shrink, the newest entries lose first, and a decision says which before it happens.
func TestShrinkUnderReservations(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 10))
	v.must(SetReservations{Groups: groups("g", "d1/ETHERNET f:1.0 3", "d2/ETHERNET f:1.0 4", "d3/ETHERNET f:1.0 2")})
	v.say("d2 f:1.0 4")
	v.serial++
	d := v.must(Provision{Response: v.response(v.serial, capability.Response{Items: items(lineItem('a', "f:1.0", 4))})})
	if fmt.Sprint(d.Unsatisfied) != "[3 5 7]" {
		t.Errorf("loses %v", d.Unsatisfied)
	}
	v.states("3 unsatisfied 0/3, 5 unsatisfied 0/4, 7 unsatisfied 0/2")
	v.play([][2]string{{"has d2", "a*4@default"}, {"d2", "RETURNED | has 0"}, {"advance", ""}, {"slices", "default a 0/4"}})
	v.provision(lineItem('a', "f:1.0", 5))
	v.play([][2]string{{"slices", "default a 0/0, reservation 3 a 0/3, reservation 7 a 0/2"}})
	v.must(DeleteReserved{ID: 7})
	d = v.must(v.giveUp(1, 'a', 3))
	if fmt.Sprint(d.Unsatisfied) != "[3]" {
		t.Errorf("a return loses %v", d.Unsatisfied)
	}
}

func TestReservationsMalformed(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 10))
	one := func(change func(*Group)) []Group {
		g := groups("g", "d1/ETHERNET f:1.0 3")
		change(&g[0])
		return g
	}
	many := make([]ReservationEntry, MaxEntries+1)
	for i := range many {
		many[i] = ReservationEntry{Feature: "f", Count: 1}
	}
	for field, bad := range map[string][]Group{
		"groups[0] ":                            one(func(g *Group) { g.Name = "" }),
		"groups[0]":                             one(func(g *Group) { g.Reservations = nil }),
		"groups[1]":                             append(one(func(*Group) {}), one(func(*Group) {})...),
		"groups":                                make([]Group, MaxGroups+1),
		"groups[0].reservations[0]":             one(func(g *Group) { g.Reservations[0].Host.Value = "" }),
		"groups[0].reservations[0] ":            one(func(g *Group) { g.Reservations[0].Entries = nil }),
		"groups[0].reservations[0]  ":           one(func(g *Group) { g.Reservations[0].Entries = many }),
		"groups[0].reservations[0].entries[0]":  one(func(g *Group) { g.Reservations[0].Entries[0].Count = 0 }),
		"groups[0].reservations[0].entries[0] ": one(func(g *Group) { g.Reservations[0].Entries[0].Feature = "" }),
	} {
		var m *capability.Malformed
		if _, err := v.do(SetReservations{Groups: bad}); !asMalformed(err, &m) || m.Field != strings.TrimSpace(field) {
			t.Errorf("%q: %v", field, err)
		}
	}
	v.must(SetReservations{Groups: one(func(g *Group) { g.Reservations[0].Entries = many[:MaxEntries] })})
	long := strings.Repeat("x", capability.MaxText+1)
	for _, c := range []Command{SetReservations{By: long}, SetModel{By: long}, DeleteModel{By: long}, SetPolicy{By: long}, DisconnectIdle{By: long, After: 1}, Drop{By: long}, DisconnectIdle{}} {
		var m *capability.Malformed
		if _, err := v.do(c); !asMalformed(err, &m) {
			t.Errorf("%T: %v", c, err)
		}
	}
}

// Pools and reservations exclude each other in both directions.
func TestReservationsOrModel(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 10), lineItem('b', "f:2.0", 4, until(day+5000)), lineItem('c', "g:1.0", 3))
	text := []byte(`model "m" { partitions { partition "p" { "f" 1.0 3 } } on any() { use "default" accept } }`)
	v.must(SetReservations{Groups: append(groups("red", "d1/ETHERNET f:1.0 3", "d1/ETHERNET f:1.0 1", "u/USER f:2.0 2", "u/USER g:1.0 1"), groups("blue", "d2/ETHERNET g:1.0 9")...)})
	if no := v.refused(SetModel{Text: text}, capability.ErrReserved); !strings.Contains(no.Detail, "red, blue") {
		t.Error(no.Detail)
	}
	v.must(SetReservations{})
	v.must(SetModel{Text: text})
	if no := v.refused(SetReservations{Groups: groups("g", "d1/ETHERNET f:1.0 3")}, capability.ErrModelInForce); !strings.Contains(no.Detail, "p") {
		t.Error(no.Detail)
	}
	if no := v.refused(SetModel{Text: []byte("model \"m\" {\n on any() { use \"x\" accept } }")}, capability.ErrModel); !strings.HasPrefix(no.Detail, "2:") {
		t.Error(no.Detail)
	}
	if d := v.must(SetModel{Text: text}); len(d.Entries) != 0 {
		t.Error("the same model again")
	}
	text = []byte(`model "n" { partitions { partition "q" { "g" 1.0 1 } } on any() { use "default" accept } }`)
	v.must(SetModel{Text: text})
	if m, got := v.l.Model(); m == nil || string(got) != string(text) || len(v.l.Inventory()) != 3 || len(v.l.Distribution(v.now).Pools) != 1 {
		t.Error("another model is in force")
	}
	v.must(DeleteModel{})
	v.refused(DeleteModel{}, capability.ErrNotFound)
	if len(v.l.Distribution(v.now).Pools) != 0 {
		t.Error("pools without a model")
	}
	// Nothing is reserved for a host ID that several keys share.
	v.respond(capability.Response{Policy: capability.Policy{Duplicates: true}})
	v.refused(SetReservations{Groups: groups("g", "d1/ETHERNET f:1.0 3")}, capability.ErrDuplicates)
}

// What a new model would move is told before it does.
func TestMovesBefore(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 10))
	v.model(`partition "p" {"f" 1.0 4}`, `on any(){use "p","default" accept}`)
	v.say("d1 f:1.0 9")
	before := v.l.Digest()
	got, err := v.l.Moves(v.now, SetModel{Text: []byte(`model "n" { partitions { partition "p" { "f" 1.0 1 } } on any() { use "default" accept } }`)})
	if err != nil || len(got) != 1 || got[0].Count != 3 || got[0].From.Pool != "p" || got[0].To != (Source{}) || v.l.Digest() != before {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := v.l.Moves(v.now, SetModel{Text: []byte("x")}); err == nil {
		t.Error("a bad model moves something")
	}
}

// The items are divided anew at the start and the expiry of one of them, unless that is switched off.
func TestDates(t *testing.T) {
	for _, follow := range []bool{true, false} {
		v := begin(t, lineItem('a', "f:1.0", 2, until(day+200)), lineItem('b', "f:1.0", 3, from(day+100)))
		v.must(SetPolicy{Name: ModelAtDates, Value: fmt.Sprint(follow)})
		v.model(`partition "p" {"f" 1.0 100%}`, `on any(){use "p" accept}`)
		due, ok := v.l.NextDue()
		if ok != follow || follow && due != v.now.Lease+100 {
			t.Errorf("due %d, %v", due, ok)
		}
		v.play([][2]string{{"slices", "default a 0/0, p a 0/2, default b 0/3"}, {"+100", ""}, {"advance", ""}})
		want := map[bool]string{true: "default a 0/0, p a 0/2, default b 0/0, p b 0/3", false: "default a 0/0, p a 0/2, default b 0/3"}[follow]
		v.play([][2]string{{"slices", want}})
		if d := v.must(Advance{}); len(d.Entries) != 0 {
			t.Error("one date divides twice")
		}
		v.play([][2]string{{"+100", ""}, {"advance", ""}})
		want = map[bool]string{true: "default a 0/2, default b 0/0, p b 0/3", false: want}[follow]
		v.play([][2]string{{"slices", want}})
	}
}

func TestOverdraft(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 2, overdraft(3)), lineItem('b', "f:2.0", 1))
	v.play([][2]string{
		{"d1 f:1.0 4", "OK | OK 4 | has 4"},
		{"has d1", "a*2@default a*1@overdraft b*1@default"},
		{"d2 f:1.0 3", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
		{"d2 f:1.0 2", "OK | OK 2 | has 2"},
		{"has d2", "a*2@overdraft"},
	})
	if s := v.l.Status(v.now); s.Overdraft != 3 || s.Used != 3 || s.Total != 3 {
		t.Errorf("%+v", s)
	}
	v.model(`partition "p" {"f" 1.0 1}`, `on hostname("p"){use "p" accept} on any(){use "default" accept}`)
	v.play([][2]string{{"d3 @p f:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"}, {"d2", "RETURNED | has 0"}, {"d3 @p f:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"}})
}

func TestLimits(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 5), lineItem('b', "f:2.0", 5))
	v.model(``, `on user("u"){use "default" max "f" 2.0 3 per user accept} on any(){use "default" max "f" 1.0 2 per device accept}`)
	v.play([][2]string{
		{"d1 f:1.0 3", "PARTLY | INSUFFICIENT 0 E_LIMIT | has 0"},
		{"d1 f:1.0 2", "OK | OK 2 | has 2"},
		{"d1 f:1.0 1, f:1.0 2", "PARTLY | OK 1 | INSUFFICIENT 0 E_LIMIT | has 2"},
		{"d1 f:1.0 9?", "OK | PARTIAL 2 E_LIMIT | has 2"},
		{"d2 user:u f:2.0 2", "OK | OK 2 | has 2"},
		{"d3 user:u f:2.0 2", "PARTLY | INSUFFICIENT 0 E_LIMIT | has 0"},
		{"d3 user:u f:2.0 1", "OK | OK 1 | has 1"},
		{"d2 user:u f:2.0 2, f:1.0 3", "OK | OK 2 | OK 3 | has 5"}, // version 1 is not limited, and the rest is its own
		{"d1", "RETURNED | has 0"},
		{"+900", ""},
		{"d3 user:u f:2.0 3", "OK | OK 3 | has 3"},
	})
}

// Sixteen combinations of who names an interval, and what its end is rounded up to, in the server's zone.
func TestEffectiveBorrow(t *testing.T) {
	for i := range 16 {
		client, item, policy, admin := i&1 != 0, i&2 != 0, i&4 != 0, i&8 != 0
		v := begin(t)
		want := capability.DefaultLease
		r := capability.Response{Items: items(lineItem('a', "f:1.0", 1))}
		if policy {
			r.Policy.Lease, want = 1200, 1200
		}
		if item {
			r.Items[0].Borrow, want = 2000, 2000
		}
		v.respond(r)
		q := v.request("d", "f:1.0 1")
		if client {
			q.Borrow, want = 850, 850
		}
		if admin {
			v.must(SetPolicy{Name: BorrowMaximum, Value: "800s"})
			want = 800
		}
		d := v.must(Serve{Key: key("d"), Request: q})
		if got := capability.Seconds(d.Response.Rights[0].Expiry - v.now.Wall); got != want || d.Move != (want > v.l.Policy().Lease) {
			t.Errorf("client %v, item %v, policy %v, administrator %v: %s, move %v, want %s", client, item, policy, admin, got, d.Move, want)
		}
	}
}

func TestGranularity(t *testing.T) {
	at := func(clock string) capability.Time {
		tm, err := time.Parse(time.RFC3339, "2030-06-01T"+clock+"Z")
		if err != nil {
			t.Fatal(err)
		}
		return capability.At(tm)
	}
	for _, c := range []struct {
		policy, request uint8
		zone, now, want string
	}{
		{0, 0, "0", "17:05:01", "17:06:01"},
		{1, 0, "0", "17:05:01", "17:06:59"},
		{2, 0, "0", "17:05:01", "17:59:59"},
		{3, 0, "0", "17:05:01", "23:59:59"},
		{0, 2, "0", "17:05:01", "17:59:59"},
		{3, 1, "0", "17:05:01", "17:06:59"},
		{1, 0, "0", "17:05:59", "17:06:59"},
		{1, 0, "0", "17:05:00", "17:06:59"},
		{3, 0, "-7200", "17:05:01", "2030-06-02T01:59:59Z"},
		{3, 0, "5h", "17:05:01", "18:59:59"},
		{2, 0, "1800", "17:05:01", "17:29:59"},
		{3, 0, "0", "23:59:30", "2030-06-02T23:59:59Z"},
	} {
		v := begin(t)
		v.now.Wall = at(c.now)
		v.respond(capability.Response{Items: items(lineItem('a', "f:1.0", 1, until(at("23:00:00")+86400*2))), Policy: capability.Policy{Granularity: c.policy, Lease: 60}})
		v.must(SetPolicy{Name: ZoneOffset, Value: c.zone})
		r := v.request("d", "f:1.0 1")
		r.Granularity = c.request
		want := c.want
		if len(want) == 8 {
			want = "2030-06-01T" + want + "Z"
		}
		if got := v.serve(Serve{Key: key("d"), Request: r}).Rights[0].Expiry.String(); got != want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// What belongs to the producer is refused by name.
func TestSettings(t *testing.T) {
	v := begin(t)
	v.respond(capability.Response{Policy: capability.Policy{Lease: 120, BorrowMaximum: 77, Granularity: 2, Holders: 1}})
	last := ""
	for _, k := range KnownSettings() {
		if k.Name <= last {
			t.Errorf("%s after %s", k.Name, last)
		}
		last = k.Name
		value := k.Default
		if value == "" {
			value = map[Kind]string{Interval: "3600", Text: "x", Groups: "x; y"}[k.Kind]
		}
		if k.Owner == Producer {
			if no := v.refused(SetPolicy{Name: k.Name, Value: value}, capability.ErrLocked); no.Subject != k.Name {
				t.Errorf("%+v", no)
			}
			continue
		}
		v.must(SetPolicy{Name: k.Name, Value: value, By: "admin"})
		if d := v.must(SetPolicy{Name: k.Name, Value: value}); len(d.Entries) != 0 {
			t.Errorf("%s is set twice", k.Name)
		}
		v.must(SetPolicy{Name: k.Name})
	}
	for name, value := range map[string]string{BorrowMaximum: "-1", IdleLimit: "5", ModelAtDates: "yes", ZoneOffset: "15h", "failover-uris": "\x00", "session-timeout": "m", "token-life": "99d"} {
		var m *capability.Malformed
		if _, err := v.do(SetPolicy{Name: name, Value: value}); !asMalformed(err, &m) || m.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	v.refused(SetPolicy{Name: "nothing"}, capability.ErrNotFound)
	v.must(SetPolicy{Name: BorrowMaximum, Value: "1h"})
	got := map[string]string{}
	for _, s := range v.l.Settings() {
		got[s.Name] = s.Value
		if s.Changed != (s.Name == BorrowMaximum) {
			t.Errorf("%+v", s)
		}
	}
	for name, want := range map[string]string{BorrowMaximum: "3600", leaseInterval: "120", renewInterval: "15", responseLife: "86400", tolerance: "0", granularity: "hour", holderPolicy: "initials", DuplicateClients: "false", "log-threshold": "INFO"} {
		if got[name] != want {
			t.Errorf("%s is %q, not %q", name, got[name], want)
		}
	}
	v.must(SetPolicy{Name: BorrowMaximum})
	if v.l.setting(BorrowMaximum) != "77" {
		t.Error("the producer's value is lost")
	}
	if Producer.String()+Administrator.String()+Both.String() == "" || Satisfied.String() == Pending.String() {
		t.Error("names")
	}
}

// Two keys of one host ID, both settings.
func TestDuplicateClients(t *testing.T) {
	v := begin(t)
	all := items(lineItem('a', "f:1.0", 5))
	v.respond(capability.Response{Items: all, Policy: capability.Policy{Duplicates: true}})
	serve := func(k string, lines ...string) string {
		return show(v.serve(Serve{Key: key(k), Request: v.request("d", lines...)}))
	}
	if a, b := serve("one", "f:1.0 2"), serve("two", "f:1.0 3"); a != "OK | OK 2 | has 2" || b != "OK | OK 3 | has 3" {
		t.Error(a, b)
	}
	if n := len(v.l.Devices(v.now)); n != 2 {
		t.Errorf("%d devices", n)
	}
	v.must(Drop{Device: hostid.ID{Type: hostid.Ethernet, Value: "d"}, Feature: "f"})
	v.pass(900)
	serve("one", "f:1.0 2")
	serve("two", "f:1.0 3")
	v.respond(capability.Response{Items: all})
	if a, b := serve("one", "f:1.0 1"), serve("two"); a != "OK | OK 1 | has 1" || b != "RETURNED | has 0" {
		t.Error(a, b)
	}
	if b := serve("two", "f:1.0 1"); b != "DENIED E_DEVICE_KEY | has 0" {
		t.Error(b)
	}
	if d, ok := v.l.Device(hostid.ID{Type: hostid.Ethernet, Value: "d"}, v.now); !ok || d.Key != key("one") {
		t.Errorf("%+v", d)
	}
}

// The queue: those who wait longest come first, renewals never wait, and a place is lost when it is not asked for again.
func TestQueue(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	wait := func(device, line string, position uint32, want string) {
		t.Helper()
		r := v.request(device, line)
		r.Desired[0].Wait = true
		a := v.serve(Serve{Key: key(device), Request: r})
		if a.Lines[0].Denial.Position != position || show(a) != want {
			t.Errorf("%s %s: place %d, %s", device, line, a.Lines[0].Denial.Position, show(a))
		}
	}
	no := "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"
	v.say("d1 f:1.0 3")
	v.pass(10)
	v.say("d2 f:1.0 1")
	wait("d3", "f:1.0 2", 1, no)
	wait("d4", "f:1.0 1", 2, no)
	wait("d3", "f:1.0 2", 1, no)
	v.play([][2]string{{"d2 f:1.0 1", "OK | OK 1 | has 1"}, {"d1 f:1.0 1", "OK | OK 1 | has 1"}, {"d5 f:1.0 1", no}})
	wait("d4", "f:1.0 1", 2, no)
	if q := v.l.Queue("f", v.now); len(q) != 2 || q[0].Device.Value != "d3" || q[1].Position != 2 {
		t.Errorf("%+v", q)
	}
	wait("d3", "f:1.0 2", 0, "OK | OK 2 | has 2")
	wait("d4", "f:1.0 1", 1, no)
	v.play([][2]string{{"d1", "RETURNED | has 0"}, {"d5 f:1.0 1", no}})
	if d, _ := v.l.Device(hostid.ID{Type: hostid.Ethernet, Value: "d4"}, v.now); len(d.Waiting) != 1 {
		t.Errorf("%+v", d)
	}
	v.pass(waitFor - 1)
	v.play([][2]string{{"d5 f:1.0 1", no}})
	v.pass(1)
	v.play([][2]string{{"d5 f:1.0 1", "OK | OK 1 | has 1"}})
	if len(v.l.waiting) != 0 {
		t.Error("a place stays")
	}
	// A place in one pool does not keep others from another.
	v.model(`partition "p" {"f" 1.0 1}`, `on hostname("p"){use "p" accept} on any(){use "default" accept}`)
	v.play([][2]string{{"d3", "RETURNED | has 0"}, {"d6 @p f:1.0 1", "OK | OK 1 | has 1"}})
	r := v.request("d7", "f:1.0 1")
	r.Alias, r.Desired[0].Wait = "p", true
	v.serve(Serve{Key: key("d7"), Request: r})
	v.play([][2]string{{"d8 f:1.0 1", "OK | OK 1 | has 1"}})
}

func TestIdle(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 9), lineItem('b', "g:1.0", 9))
	v.must(SetPolicy{Name: IdleLimit, Value: "10m"})
	ask := func(device string, idle capability.Seconds, lines ...string) string {
		r := v.request(device, lines...)
		r.Idle = idle
		return show(v.serve(Serve{Key: key(device), Request: r}))
	}
	if got := ask("d1", 5000, "f:1.0 1", "g:1.0 1"); got != "OK | OK 1 | OK 1 | has 2" { // it begins to use it
		t.Error(got)
	}
	v.pass(100)
	if got := ask("d1", 599, "f:1.0 1", "g:1.0 1"); got != "OK | OK 1 | OK 1 | has 2" {
		t.Error(got)
	}
	v.pass(1)
	if got := ask("d1", 600, "f:1.0 1", "g:1.0 1"); got != "PARTLY | INSUFFICIENT 0 E_IDLE | INSUFFICIENT 0 E_IDLE | has 2" || v.holds("d1") != "a*1@899 b*1@899" {
		t.Error(got, v.holds("d1"))
	}
	ask("d2", 0, "f:1.0 1")
	if got := v.l.Idle(600, v.now); len(got) != 1 || got[0].ID.Value != "d1" || got[0].Idle != 600 {
		t.Errorf("%+v", got)
	}
	for _, n := range []int{1, 0} {
		if d := v.must(DisconnectIdle{After: 600, Feature: "f"}); len(d.Entries) != n {
			t.Errorf("%d entries", len(d.Entries))
		}
	}
	if d := v.must(DisconnectIdle{After: 600}); len(d.Entries) != 1 || v.holds("d1") != "a*1@899! b*1@899!" {
		t.Error(v.holds("d1"))
	}
	// Used again or not, it runs out.
	if got := ask("d1", 0, "f:1.0 1"); got != "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 1" {
		t.Error(got)
	}
	v.pass(899)
	if got := ask("d1", 0, "f:1.0 1"); got != "OK | OK 1 | has 1" {
		t.Error(got)
	}
}

// The counts of a new model are where the dry run says they will be.
func TestDryRun(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 5), lineItem('b', "f:2.0", 7, until(day+500)), lineItem('c', "g:1.0", 3))
	text := []byte(`model "m" { partitions { partition "p" { "f" 2.0 50% "g" 1.0 9 } partition "q" { "f" 1.0 remainder } } on any() { use "p" accept } }`)
	want := map[string]uint32{}
	for _, p := range model.Check(text, v.now.Wall, v.l.Inventory()).Distribution.Pools {
		for _, s := range p.Slices() {
			want[p.Name+name(s.Item)] += s.Count
		}
	}
	v.must(SetModel{Text: text})
	n := 0
	for _, s := range v.l.Slices() {
		if s.Source.Pool != "" {
			if n++; want[s.Source.Pool+name(s.Item)] != uint32(s.Computed) {
				t.Errorf("%+v", s)
			}
		}
	}
	if n != len(want) || n == 0 {
		t.Errorf("%d slices, %v", n, want)
	}
}

// The producer allows duplicate clients while reservations exist: nothing of the response is lost, the setting waits for the last reservation to go, and both are told.
func TestDuplicatesWaitForReservations(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 5))
	v.must(SetReservations{Groups: groups("red", "d/ETHERNET f:1.0 3")})
	serve := func(k string, lines ...string) string {
		return show(v.serve(Serve{Key: key(k), Request: v.request("d", lines...)}))
	}
	note := func() string {
		for _, s := range v.l.Settings() {
			if s.Name == DuplicateClients {
				return s.Value + " " + s.Note
			}
		}
		return "absent"
	}
	respond := func(duplicates bool) []capability.Denial {
		v.serial++
		r := v.response(v.serial, capability.Response{Items: items(lineItem('a', "f:1.0", 6)), Policy: capability.Policy{Duplicates: duplicates}})
		return v.must(Provision{Response: r, Digest: capability.Digest{byte(v.serial), 2}}).Notices
	}
	if got := respond(true); len(got) != 1 || got[0].Code != capability.DuplicatesOff || got[0].Sentence() != "duplicate clients stay off: red" {
		t.Errorf("notices %+v", got)
	}
	if got := v.step("items"); got != "a 0/6" {
		t.Errorf("the items of the response: %s", got)
	}
	if got := note(); got != "false the producer allows duplicates; off while reservations exist" {
		t.Error(got)
	}
	if a, b := serve("one", "f:1.0 2"), serve("two", "f:1.0 1"); a != "OK | OK 2 | has 2" || b != "DENIED E_DEVICE_KEY | has 0" {
		t.Error(a, b)
	}
	v.must(SetReservations{Groups: groups("blue", "d/ETHERNET f:1.0 1")}) // reservations may be edited meanwhile
	back, err := Restore(v.l.Snapshot())
	if err != nil || back.Policy().Duplicates {
		t.Error("a copy allows duplicates:", err)
	}
	g, _ := v.l.Reservations()
	v.must(DeleteReserved{ID: g[0].ID})
	if got := note(); got != "true " {
		t.Error(got)
	}
	if b := serve("two", "f:1.0 1"); b != "OK | OK 1 | has 1" {
		t.Error(b)
	}
	v.refused(SetReservations{Groups: groups("g", "d/ETHERNET f:1.0 1")}, capability.ErrDuplicates)
	if got := append(respond(true), respond(false)...); got != nil {
		t.Errorf("notices without reservations: %+v", got)
	}
}
