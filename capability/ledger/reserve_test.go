package ledger

import (
	"errors"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// What is reserved for one user is never on a device that another asks from, whatever becomes of the request.
func TestReservedCountsStayWithTheirUser(t *testing.T) {
	for _, c := range []struct{ name, request, answer, has, slices string }{
		{"the same user, refused", "d user:ann f:1.0 9", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 4", "a*1@default a*2@reservation 3 a*1@reservation 5", "default a 1/1, reservation 3 a 2/2, reservation 5 a 1/1"},
		{"another user, refused", "d user:bob f:1.0 9", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 2", "a*1@default a*1@reservation 5", "default a 1/1, reservation 3 a 0/2, reservation 5 a 1/1"},
		{"another user, unchanged", "atomic d user:bob f:1.0 9", "UNCHANGED | INSUFFICIENT 0 E_NO_SEAT | has 2", "a*1@default a*1@reservation 5", "default a 1/1, reservation 3 a 0/2, reservation 5 a 1/1"},
		{"nobody, refused", "d f:1.0 9", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 2", "a*1@default a*1@reservation 5", "default a 1/1, reservation 3 a 0/2, reservation 5 a 1/1"},
		{"another user, granted", "d user:bob f:1.0 2", "OK | OK 2 | has 2", "a*1@default a*1@reservation 5", "default a 1/1, reservation 3 a 0/2, reservation 5 a 1/1"},
		{"another user, a report", "report d user:bob m:1.0 1", "OK | OK 1 | has 3", "a*1@default a*1@reservation 5 m*1@default", "default a 1/1, reservation 3 a 0/2, reservation 5 a 1/1, default m 1/5"},
		{"another user, a report of nothing metered changes nothing", "report d user:bob f:1.0 1", "OK | OK 1 | has 4", "a*1@default a*2@reservation 3 a*1@reservation 5", "default a 1/1, reservation 3 a 2/2, reservation 5 a 1/1"},
		{"another user, a preview changes nothing", "preview d user:bob f:1.0 9", "PREVIEW | INSUFFICIENT 0 E_NO_SEAT | has 2", "a*1@default a*2@reservation 3 a*1@reservation 5", "default a 1/1, reservation 3 a 2/2, reservation 5 a 1/1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t, lineItem('a', "f:1.0", 4), lineItem('m', "m:1.0", 5, metered(true, 60)))
			v.must(SetReservations{Groups: groups("g", "ann/USER f:1.0 2", "d/ETHERNET f:1.0 1")})
			v.play([][2]string{{"d user:ann f:1.0 4", "OK | OK 4 | has 4"}, {c.request, c.answer}, {"has d", c.has}})
			if got := v.slices(); got != c.slices && got != c.slices+", default m 0/5" {
				t.Errorf("%s where %s is wanted", got, c.slices)
			}
		})
	}
	// An undo names a user too.
	v := begin(t, lineItem('a', "f:1.0", 4), lineItem('m', "m:1.0", 5, metered(true, 60)))
	v.must(SetReservations{Groups: groups("g", "ann/USER f:1.0 2")})
	v.say("d user:ann f:1.0 2")
	r := v.request("d", "m:1.0 1")
	r.Operation, r.User = capability.Report, "ann"
	v.serve(Serve{Key: key("d"), Request: r})
	undo := v.request("d")
	undo.Operation, undo.User, undo.Undoes = capability.Undo, "bob", r.Correlation
	v.serve(Serve{Key: key("d"), Request: undo})
	if got := v.has("d"); got != "" {
		t.Errorf("bob undoes and has %s", got)
	}
	// Check finds what an earlier release left behind.
	v.say("d user:ann f:1.0 2")
	v.l.rows[0].who.User = ""
	v.l.users = map[held]uint64{}
	if err := v.l.Check(); !errors.Is(err, ErrCorrupt) {
		t.Error("a count of ann on a device that nobody uses:", err)
	}
}
