package ledger

import (
	"reflect"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

func copies(n uint32) func(*capability.LineItem) {
	return func(i *capability.LineItem) { i.Copies = n }
}

func (v *life) expect(words, want string) {
	v.t.Helper()
	if got := v.step(words); got != want {
		v.t.Fatalf("%s:\n got %s\nwant %s", words, got, want)
	}
}

func (v *life) giveUp(id byte, letter byte, n uint32) Return {
	return Return{ID: capability.ReturnID{id}, ActivationID: activation(letter), Copies: n, Epoch: 7, By: "admin"}
}

func TestProvisionSerials(t *testing.T) {
	v := begin(t)
	one := Provision{Response: v.response(5, capability.Response{Items: items(lineItem('a', "f:1.0", 4))}), Digest: capability.Digest{5}}
	if d := v.must(one); !d.Move {
		t.Error("a response does not move the epoch")
	}
	v.refused(one, capability.AlreadyHere)
	other := one
	other.Digest = capability.Digest{6}
	v.refused(other, capability.ErrReplayedSerial)
	other.Response.Serial = 4
	v.refused(other, capability.OlderResponse)
	other.Response.Serial = 7
	v.must(other)
	v.refused(one, capability.OlderResponse)
	for field, change := range map[string]func(*capability.Response){
		"serial":   func(r *capability.Response) { r.Serial = 0 },
		"status":   func(r *capability.Response) { r.Status = capability.StatusPreview },
		"items[0]": func(r *capability.Response) { r.Items[0].Copies = 0 },
		"items[1]": func(r *capability.Response) { r.Items = append(r.Items, r.Items[0]) },
	} {
		p := Provision{Response: v.response(9, capability.Response{Items: items(lineItem('a', "f:1.0", 4))})}
		change(&p.Response)
		var m *capability.Malformed
		if _, err := v.do(p); !asMalformed(err, &m) || m.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestProvisionKeeps(t *testing.T) {
	v := begin(t)
	r := capability.Response{
		Items: items(lineItem('a', "f:1.0", 4)), Policy: capability.Policy{Lease: 60}, Revoked: []capability.Digest{{1}},
		Certificate: []byte{1, 2}, Boot: capability.Boot{Key: []byte{3}}, BookHead: capability.Digest{4}, ReturnAsked: true,
		Denials: []capability.Denial{{Code: capability.ErrTooFew, Subject: "x"}},
	}
	v.respond(r)
	got, sum := v.l.Applied()
	want := v.response(1, r)
	want.Items = nil
	if !reflect.DeepEqual(got, want) || sum != (capability.Digest{1, 1}) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if p := v.l.Policy(); p.Lease != 60 || p.RenewPercent != 15 || p.ResponseLife == 0 {
		t.Errorf("%+v", p)
	}
	s := v.l.Status(v.now)
	if !s.Provisioned || s.Serial != 1 || s.Total != 4 || s.Items != 1 || s.Host != want.For || s.Applied != day {
		t.Errorf("%+v", s)
	}
}

// The whole target state: items change under leases, which run out.
func TestOverage(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 6))
	v.expect("d1 f:1.0 3", "OK | OK 3 | has 3")
	v.pass(100)
	v.expect("d2 f:1.0 2", "OK | OK 2 | has 2")
	v.expect("d3 f:1.0 1", "OK | OK 1 | has 1")
	v.provision(lineItem('a', "f:1.0", 4))
	v.expect("items", "a 6/4 over")
	v.expect("d4 f:1.0 1", "PARTLY | INSUFFICIENT 0 E_OVERAGE | has 0")
	v.expect("d3 f:1.0 1", "PARTLY | INSUFFICIENT 0 E_OVERAGE | has 1")
	v.expect("d2 f:1.0 2", "PARTLY | INSUFFICIENT 0 E_OVERAGE | has 2")
	v.expect("d1 f:1.0 3", "PARTLY | INSUFFICIENT 0 E_OVERAGE | has 3")
	v.expect("holds d1", "a*3@800")
	if n := v.ask("d4", "f:1.0 1").Lines[0].Denial; n.Total != 4 || n.Used != 6 || n.Available != 0 || n.Until != v.now.Told(1900) {
		t.Errorf("%+v", n)
	}
	// The first to end make room for the renewals of the rest.
	v.pass(800)
	v.expect("d3 f:1.0 1", "OK | OK 1 | has 1")
	v.expect("d4 f:1.0 2", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0")
	v.expect("d4 f:1.0 1", "OK | OK 1 | has 1")
	v.expect("items", "a 4/4")
	// Giving back is possible in an overage, down to what fits.
	v.provision(lineItem('a', "f:1.0", 2))
	v.expect("d2 f:1.0 1", "PARTLY | INSUFFICIENT 0 E_OVERAGE | has 2")
	v.expect("d2", "RETURNED | has 0")
	v.expect("d3 f:1.0 1", "OK | OK 1 | has 1")
	// More again.
	v.provision(lineItem('a', "f:1.0", 9), lineItem('b', "f:1.0", 1))
	v.expect("d5 f:1.0 8", "OK | OK 8 | has 8")
}

func TestCut(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4), lineItem('b', "g:1.0", 4), lineItem('c', "h:1.0", 4))
	v.expect("d1 f:1.0 2, g:1.0 1", "OK | OK 2 | OK 1 | has 3")
	v.provision(lineItem('b', "g:1.0", 4))
	v.expect("items", "a 2/4 cut, b 1/4")
	if it := v.l.Items(v.now); it[0].Available != 0 || it[1].Available != 3 || it[0].FirstEnd != day+900 {
		t.Errorf("%+v", it)
	}
	v.expect("d2 f:1.0 1", "PARTLY | INSUFFICIENT 0 E_NOT_ENTITLED | has 0")
	v.pass(10)
	v.expect("d1 f:1.0 2, g:1.0 1", "PARTLY | INSUFFICIENT 0 E_NOT_ENTITLED | OK 1 | has 3")
	v.expect("holds d1", "a*2@890 b*1@900")
	if s := v.l.Status(v.now); s.Items != 1 || s.Overage != 1 || s.Total != 4 || s.Used != 3 || s.Devices != 1 || s.Leases != 2 {
		t.Errorf("%+v", s)
	}
	// It comes back with its leases.
	v.provision(lineItem('a', "f:1.0", 3))
	v.expect("items", "a 2/3, b 1/4 cut")
	v.expect("d2 f:1.0 2", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0")
	v.pass(890)
	v.must(Advance{})
	v.expect("items", "a 0/3, b 1/4 cut")
	v.pass(10)
	v.must(Advance{})
	v.expect("items", "a 0/3")
	// A cut item goes as well when it is given back, by rule K's hand too.
	v.expect("d1 f:1.0 2", "OK | OK 2 | has 2")
	v.provision()
	v.expect("items", "a 2/3 cut")
	v.expect("d1 f:1.0 1", "PARTLY | INSUFFICIENT 0 E_NOT_ENTITLED | has 2")
	v.expect("d1", "RETURNED | has 0")
	v.expect("items", "")
}

func TestReturn(t *testing.T) {
	v := begin(t)
	v.refused(v.giveUp(1, 'a', 1), capability.ErrNotProvisioned)
	v.respond(capability.Response{Items: items(lineItem('a', "f:1.0", 12, copies(4)), lineItem('a', "g:1.0", 4, copies(4)), lineItem('b', "f:1.0", 1), lineItem('c', "u:1.0", 1, uncounted))})
	v.expect("d1 f:1.0 7, g:1.0 1", "OK | OK 7 | OK 1 | has 8")
	v.refused(v.giveUp(1, 'd', 1), capability.ErrNothingToReturn)
	v.refused(v.giveUp(1, 'a', 5), capability.ErrNothingToReturn)
	no := v.refused(v.giveUp(1, 'a', 2), capability.ErrInUse)
	want := capability.Denial{
		Code: capability.ErrInUse, Subject: string(activation('a')), Asked: 6, Available: 5, Total: 12, Used: 7, Until: day + 900, Detail: "f",
		Holders: []capability.Holder{{Name: "host of d1", Count: 7, Expiry: day + 900}},
	}
	if !reflect.DeepEqual(no, want) {
		t.Errorf("got  %+v\nwant %+v", no, want)
	}
	v.refused(v.giveUp(1, 'a', 0), capability.ErrInUse)
	c := v.giveUp(1, 'a', 1)
	d := v.must(c)
	back := capability.Return{ID: capability.ReturnID{1}, ActivationID: activation('a'), Copies: 1, Epoch: 7, Time: v.now.Wall, Serial: 1}
	if !d.Move || !reflect.DeepEqual(d.Return, back) || d.Entries[0].Returned.By != "admin" {
		t.Errorf("move %v, %+v", d.Move, d.Return)
	}
	v.expect("items", "a 7/9, b 0/1, a 1/3, c 0/1")
	// The same return again, also as "all", is the same return; another one under its ID is malformed.
	for _, n := range []uint32{1, 0} {
		c.Copies = n
		if d := v.must(c); len(d.Entries) != 0 || !reflect.DeepEqual(d.Return, back) {
			t.Errorf("resend with %d copies: %+v", n, d)
		}
	}
	c.Copies = 2
	var m *capability.Malformed
	if _, err := v.do(c); !asMalformed(err, &m) || m.Field != "id" {
		t.Error(err)
	}
	for field, c := range map[string]Return{
		"id": {ActivationID: activation('a')}, "activationId": {ID: capability.ReturnID{9}, ActivationID: "x"}, "copies": {ID: capability.ReturnID{9}, ActivationID: activation('a'), Copies: capability.MaxCount + 1},
	} {
		if _, err := v.do(c); !asMalformed(err, &m) || m.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	// What nobody holds can go, as soon as its leases have ended, by the clock alone.
	v.pass(899)
	v.refused(v.giveUp(2, 'a', 0), capability.ErrInUse)
	v.pass(1)
	if d := v.must(v.giveUp(2, 'a', 0)); d.Return.Copies != 3 {
		t.Errorf("%+v", d.Return)
	}
	v.expect("items", "b 0/1, c 0/1")
	v.expect("d1 u:1.0 5", "OK | OK 5 | has 5")
	v.refused(v.giveUp(3, 'c', 0), capability.ErrInUse)
	v.expect("d1", "RETURNED | has 0")
	v.must(v.giveUp(3, 'c', 0))
	v.expect("items", "b 0/1")
}

func TestProve(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	v.must(v.giveUp(1, 'a', 1))
	v.must(v.giveUp(2, 'a', 1))
	v.refused(Prove{ID: capability.ReturnID{3}, Proof: []byte{1}}, capability.ErrNothingToReturn)
	for _, proof := range [][]byte{nil, make([]byte, capability.MaxEvidence+1)} {
		var m *capability.Malformed
		if _, err := v.do(Prove{ID: capability.ReturnID{2}, Proof: proof}); !asMalformed(err, &m) || m.Field != "proof" {
			t.Error(err)
		}
	}
	v.must(Prove{ID: capability.ReturnID{2}, Proof: []byte{1}})
	// The first proof stays.
	for _, proof := range [][]byte{{1}, {2}} {
		if d := v.must(Prove{ID: capability.ReturnID{2}, Proof: proof}); len(d.Entries) != 0 {
			t.Error("a second proof was taken")
		}
	}
	got := v.l.Returns()
	if len(got) != 2 || got[0].Proof != nil || !reflect.DeepEqual(got[1].Proof, []byte{1}) {
		t.Errorf("%+v", got)
	}
	got[1].Proof[0] = 9
	if v.l.Returns()[1].Proof[0] != 1 {
		t.Error("a view reaches into the state")
	}
	v.respond(capability.Response{Items: items(lineItem('a', "f:1.0", 2)), Acknowledged: []capability.ReturnID{{2}, {1}, {77}}})
	if len(v.l.Returns()) != 0 {
		t.Error("an acknowledged return stays")
	}
	v.refused(v.giveUp(2, 'a', 1), capability.ErrNothingToReturn)
	if d := v.must(Prove{ID: capability.ReturnID{2}, Proof: []byte{1}}); len(d.Entries) != 0 {
		t.Error("a proof of a closed return was taken")
	}
	v.expect("items", "a 0/2")
}

// A response made before the back office saw a return does not bring the returned copies back; the one that acknowledges it says the whole truth.
func TestReturnAgainstOlderRequest(t *testing.T) {
	all := items(lineItem('a', "f:1.0", 12, copies(4)), lineItem('b', "f:1.0", 2))
	v := begin(t, all...)
	v.must(v.giveUp(1, 'a', 1))
	v.must(v.giveUp(2, 'a', 2))
	v.provision(lineItem('a', "f:1.0", 3, copies(1)), lineItem('b', "f:1.0", 2)) // less than one of the returns alone
	v.expect("items", "b 0/2")
	v.provision(all...)
	v.expect("items", "a 0/3, b 0/2")
	v.respond(capability.Response{Items: all, Acknowledged: []capability.ReturnID{{1}}})
	v.expect("items", "a 0/6, b 0/2")
	v.provision(lineItem('a', "f:1.0", 6, copies(2)))
	v.expect("items", "")
	v.provision(lineItem('a', "f:1.0", 3, copies(1)), lineItem('b', "f:1.0", 1))
	v.expect("items", "b 0/1")
	// Acknowledged, and fulfilled anew in the same response.
	v.respond(capability.Response{Items: all, Acknowledged: []capability.ReturnID{{2}}})
	v.expect("items", "a 0/12, b 0/2")
}

// A return that is refused for good is closed, and what the response lists is here again: those copies, not those of returns it says nothing of. It is never made again.
func TestReturnRefused(t *testing.T) {
	all := items(lineItem('a', "f:1.0", 12, copies(4)))
	v := begin(t, all...)
	v.must(v.giveUp(1, 'a', 1))
	v.must(v.giveUp(2, 'a', 2))
	first, second := v.l.Returns()[0], v.l.Returns()[1]
	refuses := func(t capability.Return) capability.Denial {
		return capability.RefuseReturn(t, capability.ErrReturnProof)
	}
	other := refuses(first)
	other.Code = capability.ErrReturnProof
	for _, d := range []capability.Denial{other, {Code: capability.ErrReturnRefused}, {Code: capability.ErrReturnRefused, Subject: string(first.ActivationID)}, {Code: capability.ErrReturnRefused, Subject: "0F"}} {
		v.respond(capability.Response{Items: all, Denials: []capability.Denial{d}})
		if len(v.l.Returns()) != 2 {
			t.Errorf("closed by %+v", d)
		}
	}
	v.expect("items", "a 0/3")
	v.respond(capability.Response{Items: all, Denials: []capability.Denial{refuses(first)}})
	v.expect("items", "a 0/6")
	if left := v.l.Returns(); len(left) != 1 || left[0].ID != second.ID {
		t.Errorf("%+v", left)
	}
	v.refused(v.giveUp(1, 'a', 1), capability.ErrNothingToReturn)
	v.respond(capability.Response{Items: all, Denials: []capability.Denial{refuses(first), refuses(second)}, Acknowledged: []capability.ReturnID{second.ID}}) // credited wins
	v.expect("items", "a 0/12")
	// What the back office does not list does not come back.
	v.must(v.giveUp(3, 'a', 4))
	v.respond(capability.Response{Denials: []capability.Denial{refuses(v.l.Returns()[0])}})
	v.expect("items", "")
	if len(v.l.Returns()) != 0 {
		t.Error("it waits on")
	}
}

func TestWriteRequest(t *testing.T) {
	v := begin(t)
	var m *capability.Malformed
	if _, err := v.do(WriteRequest{Number: 2}); !asMalformed(err, &m) || m.Field != "number" {
		t.Error(err)
	}
	write := func(n uint64) Decision {
		return v.must(WriteRequest{Number: n, Digest: capability.Digest{byte(n), byte(n >> 8), 1}, By: "admin"})
	}
	for n := range uint64(5) {
		if d := write(n + 1); len(d.Entries) != 1 || d.Move || d.Entries[0].Requested.By != "admin" {
			t.Errorf("%+v", d)
		}
		if d := write(n + 1); len(d.Entries) != 0 {
			t.Error("the same file twice")
		}
	}
	if _, err := v.do(WriteRequest{Number: 5, Digest: capability.Digest{9}}); !asMalformed(err, &m) || m.Field != "number" {
		t.Error(err)
	}
	v.respond(capability.Response{Number: 3})
	if got := v.l.Outstanding(); len(got) != 2 || got[0].Number != 4 || got[1].Number != 5 {
		t.Errorf("%+v", got)
	}
	v.respond(capability.Response{Number: 9})
	if s := v.l.Status(v.now); s.Outstanding != 0 || s.Number != 5 {
		t.Errorf("%+v", s)
	}
}

func TestWriteRequestLimit(t *testing.T) {
	l := New()
	for n := range uint64(capability.MaxOutstanding + 1) {
		d, err := l.Decide(At(1, day), WriteRequest{Number: n + 1, Digest: capability.Digest{byte(n), byte(n >> 8)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Apply(d.Entries[0]); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.Outstanding(); len(got) != capability.MaxOutstanding || got[0].Number != 2 {
		t.Errorf("%d, first %d", len(got), got[0].Number)
	}
	if _, err := Restore(l.Snapshot()); err != nil {
		t.Error(err)
	}
}

func TestReturnLimit(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 1000))
	var all []capability.ReturnID
	for i := range capability.MaxReturns {
		c := v.giveUp(1, 'a', 1)
		c.ID[1], c.ID[2] = byte(i), 1
		all = append(all, c.ID)
		d, err := v.l.Decide(v.now, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.l.Apply(d.Entries[0]); err != nil {
			t.Fatal(err)
		}
	}
	v.refused(v.giveUp(9, 'a', 1), capability.ErrBusy)
	v.respond(capability.Response{Acknowledged: all, Items: items(lineItem('a', "f:1.0", 744))})
	v.must(v.giveUp(9, 'a', 1))
	v.expect("items", "a 0/743")
}

func TestDrop(t *testing.T) {
	device := hostid.ID{Type: hostid.Ethernet, Value: "d1"}
	v := begin(t, lineItem('a', "f:1.0", 4), lineItem('b', "g:1.0", 4))
	v.expect("d1 f:1.0 3, g:1.0 1", "OK | OK 3 | OK 1 | has 4")
	v.refused(Drop{Device: device, Feature: "h"}, capability.ErrNoSuchLease)
	v.refused(Drop{Device: hostid.ID{Type: hostid.Ethernet, Value: "d2"}, Feature: "f"}, capability.ErrNoSuchLease)
	v.must(Drop{Device: device, Feature: "f", By: "admin"})
	if d := v.must(Drop{Device: device, Feature: "f"}); len(d.Entries) != 0 {
		t.Error("dropped twice")
	}
	v.pass(100)
	v.expect("d1 f:1.0 3, g:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | OK 1 | has 4")
	v.expect("holds d1", "a*3@800! b*1@900")
	v.expect("d1 f:1.0 1, g:1.0 1", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | OK 1 | has 4")
	v.expect("d2 f:1.0 2", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0")
	v.pass(800)
	v.expect("d2 f:1.0 2", "OK | OK 2 | has 2")
	v.expect("d1 f:1.0 2", "OK | OK 2 | has 2")
	// The device itself may give it back before.
	v.must(Drop{Device: device, Feature: "f"})
	v.expect("d1", "RETURNED | has 0")
	v.expect("d1 f:1.0 2", "OK | OK 2 | has 2")
	v.pass(900)
	v.refused(Drop{Device: device, Feature: "f"}, capability.ErrNoSuchLease)
}

func TestAdvance(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4))
	due := func(want capability.Seconds) {
		t.Helper()
		if at, ok := v.l.NextDue(); at != want || ok != (want != 0) {
			t.Errorf("due at %d, %v, want %d", at, ok, want)
		}
	}
	due(0)
	v.ask("d1", "f:1.0 1")
	v.pass(100)
	v.ask("d2", "f:1.0 1")
	due(1900)
	v.ask("d1", "f:1.0 1")
	due(2000)
	v.must(Start{HoldFor: 50})
	due(1150)
	v.pass(49)
	if d := v.must(Advance{}); len(d.Entries) != 0 {
		t.Error("an entry without a cause")
	}
	v.pass(1)
	for _, n := range []int{1, 0} {
		if d := v.must(Advance{}); len(d.Entries) != n {
			t.Errorf("%d entries, want %d", len(d.Entries), n)
		}
	}
	due(2000)
	v.pass(850)
	v.must(Advance{})
	due(0)
	v.expect("items", "a 0/4")
}
