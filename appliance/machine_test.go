package appliance

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
)

func found(ids ...hostid.ID) (m hostid.Machine) {
	m.Virtual = "kvm"
	for _, id := range ids {
		m.Findings = append(m.Findings, hostid.Finding{ID: id, Strength: hostid.Proven})
	}
	return m
}

// A request names the machine as a probe told it, behind the TPM that signs it, and says what it runs on; the response binds that. Nothing that is told moves the TPM or proves a dongle.
func TestRequestNamesTheMachine(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	ctx := context.Background()
	board, card, dongle := hostid.ID{Type: hostid.BoardUUID, Value: "B1"}, hostid.ID{Type: hostid.Ethernet, Value: "02AA"}, hostid.ID{Type: hostid.Flexid9, Value: "9-1"}
	request := func() *capability.Request {
		t.Helper()
		f, err := s.a.Request(ctx, nil, "test")
		must(t, err)
		r, err := s.p.c.ReadRequest(f.Bytes)
		must(t, err)
		return &r.Request
	}
	if r := request(); !slices.Equal(r.Hosts, []hostid.ID{s.a.Host}) || r.Platform != (capability.Platform{}) || r.Alarms != nil {
		t.Errorf("before anyone has told: %+v", r)
	}
	liar := hostid.ID{Type: hostid.TPMEK, Value: "00"}
	must(t, s.a.Recognize(ctx, found(liar, board, card, dongle, hostid.ID{Type: hostid.String, Value: "told"})))
	f, err := s.a.Request(ctx, nil, "test")
	must(t, err)
	r, err := s.p.c.ReadRequest(f.Bytes)
	must(t, err)
	if want := []hostid.ID{s.a.Host, board, card}; !slices.Equal(r.Request.Hosts, want) || r.Request.Platform != (capability.Platform{Virtual: "kvm", Container: capability.Bare}) {
		t.Errorf("hosts %v on %+v, want %v", r.Request.Hosts, r.Request.Platform, want)
	}
	strict := func(r *capability.Response) { r.Policy.Binding, r.Policy.Grace = hostid.RuleSecondaries, 3600 }
	_, err = s.a.Import(ctx, s.p.respond(f.Bytes, 1, strict, item(t, 1, "render", 5)))
	must(t, err)
	v, seen, alarms, err := s.a.HostIDs(ctx)
	must(t, err)
	if v.Outcome != hostid.Same || v.Bound.EK != s.a.Host || !slices.Equal(v.Bound.Others, []hostid.ID{board, card}) || seen.At == 0 || len(seen.Machine.Findings) != 5 || alarms != nil {
		t.Errorf("%+v, %+v, %+v", v, seen, alarms)
	}
	if slices.ContainsFunc(v.Shown, func(s hostid.Shown) bool { return s.Proven && s.ID.Type.Dongle() }) {
		t.Errorf("a dongle is proven by being told: %v", v.Shown)
	}
	// What is missing is said in the next request, which names what is there.
	must(t, s.a.Recognize(ctx, found(board, hostid.ID{Type: hostid.Ethernet, Value: "02BB"})))
	if r := request(); r.Condition != 0 || len(r.Alarms) != 1 || r.Alarms[0].Code != capability.ErrBinding || r.Hosts[2].Value != "02BB" {
		t.Errorf("%+v", r)
	}
}

// Two keys on one host ID are refused, counted once each, shown here with a name, and told to the back office without one.
func TestTwoKeysAreAnAlarm(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	ctx := context.Background()
	s.activate(item(t, 1, "render", 5))
	ask := func(key byte, n byte) *call {
		c := newServe()
		c.serve = ledger.Serve{Key: capability.Digest{key}, Request: capability.Request{
			Version: capability.Protocol, Hosts: []hostid.ID{{Type: hostid.Ethernet, Value: "02AA"}}, Correlation: capability.CorrelationID{n}, Alias: "WS-1",
			Desired: []capability.Desired{{Feature: "render", Version: capability.Version{Major: 2026, Minor: 1}, Count: 1}},
		}}
		must(t, s.a.do(ctx, c))
		return c
	}
	ask(1, 1)
	for n := range byte(3) { // one of them asks twice
		if c := ask(2+n%2, 10+n); c.decision.Response.Status != capability.StatusDenied {
			t.Fatal(c.decision.Response)
		}
	}
	_, _, alarms, err := s.a.HostIDs(ctx)
	must(t, err)
	if len(alarms) != 1 || alarms[0].Code != capability.ErrDeviceKey || alarms[0].Count != 2 || alarms[0].Subject != "WS-1" || alarms[0].Last == 0 {
		t.Errorf("%+v", alarms)
	}
	f, err := s.a.Request(ctx, nil, "test")
	must(t, err)
	r, err := s.p.c.ReadRequest(f.Bytes)
	must(t, err)
	if len(r.Request.Alarms) != 1 || r.Request.Alarms[0] != alarms[0].Alarm {
		t.Errorf("the request says %+v", r.Request.Alarms)
	}
}

// Where more than the TPM is asked for, a machine of which nobody tells anything for hours is one that shows nothing.
func TestSilence(t *testing.T) {
	w := newWorld(t, 1, 1, 3)
	d := w.boxes[0].daemons[0]
	policy := func(rule hostid.Rule) { // as the next response would
		r, _ := d.a.Ledger.Applied()
		r.Serial, r.Policy.Binding, r.Policy.Grace, r.Time = r.Serial+1, rule, 7200, capability.Time(w.now)
		c := &call{command: ledger.Provision{Response: r, Digest: capability.Digest{byte(r.Serial)}}}
		if d.do(c); c.err != nil {
			t.Fatal(c.err)
		}
	}
	outcome := func() hostid.Outcome { return d.a.Ledger.Machine(d.a.now()).Outcome }
	w.drift(w.boxes[0], 1|4|16)
	w.now += int64(silence / time.Second)
	if c := d.a.silent(); c != nil {
		t.Errorf("by the default rule: %+v", c)
	}
	policy(hostid.RuleSecondaries)
	if outcome() != hostid.Same {
		t.Fatal(outcome())
	}
	d.a.watchful.heard = d.a.Elapsed()
	w.now += int64(silence/time.Second) - 1
	if c := d.a.silent(); c != nil {
		t.Errorf("a second too soon: %+v", c)
	}
	w.now++
	c := d.a.silent()
	if c == nil {
		t.Fatal("nobody notices")
	}
	if d.do(&call{command: c}); outcome() != hostid.Grace {
		t.Errorf("silent: %s", outcome())
	}
	w.drift(w.boxes[0], 1|4|16)
	if outcome() != hostid.Same {
		t.Errorf("told again: %s", outcome())
	}
}
