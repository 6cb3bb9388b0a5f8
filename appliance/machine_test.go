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
	for range 2 { // one look may be wrong
		must(t, s.a.Recognize(ctx, found(board, hostid.ID{Type: hostid.Ethernet, Value: "02BB"})))
		s.awake.Add(int64(lookAgain))
	}
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

// What is missing in one look is looked for again: only a second look without it counts, or that nobody looks again. With a dongle that is over in less than two seconds.
func TestOneBadLook(t *testing.T) {
	board, card, dongle := hostid.ID{Type: hostid.BoardUUID, Value: "B1"}, hostid.ID{Type: hostid.Ethernet, Value: "02AA"}, hostid.ID{Type: hostid.Flexid9, Value: "9-1"}
	for _, x := range []struct {
		name  string
		rule  hostid.Rule
		grace capability.Seconds
		again time.Duration
		bad   hostid.Machine
		ends  hostid.Outcome
	}{
		{"secondaries", hostid.RuleSecondaries, 3600, 3 * time.Second, found(dongle), hostid.Grace},
		{"secondaries without a grace", hostid.RuleSecondaries, capability.NoGrace, 3 * time.Second, found(dongle), hostid.Broken},
		{"dongle", hostid.RuleDongle, 3600, time.Second, found(board, card), hostid.Grace},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := newSite(t, newProducer(t, 1))
			ctx, good := context.Background(), found(board, card, dongle)
			must(t, s.a.Recognize(ctx, good))
			f, err := s.a.Request(ctx, nil, "test")
			must(t, err)
			_, err = s.a.Import(ctx, s.p.respond(f.Bytes, 1, func(r *capability.Response) {
				r.Policy.Binding, r.Policy.Grace = x.rule, x.grace
				if x.rule.AsksDongle() {
					r.Policy.Dongle = dongle
				}
			}, item(t, 1, "render", 5)))
			must(t, err)
			look := func(what string, m hostid.Machine, want hostid.Outcome, again time.Duration) {
				t.Helper()
				must(t, s.a.Recognize(ctx, m))
				v, seen, _, err := s.a.HostIDs(ctx)
				must(t, err)
				if v.Outcome != want && !(want == hostid.Broken && v.Outcome == hostid.Grace) || seen.Again > again || seen.Again <= again-time.Second {
					t.Errorf("%s: %s, again after %s; want %s, %s", what, v.Outcome, seen.Again, want, again)
				}
			}
			look("as it was bound", good, hostid.Same, 0)
			look("one bad look", x.bad, hostid.Same, x.again)
			look("a good one after it", good, hostid.Same, 0)
			s.awake.Add(int64(x.again))
			look("one more bad look", x.bad, hostid.Same, x.again)
			look("the same at once", x.bad, hostid.Same, x.again)
			s.awake.Add(int64(x.again))
			look("a second one", x.bad, x.ends, 0)

			look("put back", good, hostid.Same, 0)
			look("a bad look, and nobody looks again", x.bad, hostid.Same, x.again)
			var c ledger.Command
			s.awake.Add(int64(doubtFor) - int64(time.Second))
			must(t, s.a.Look(ctx, func(*ledger.Ledger, ledger.Now) { c = s.a.missed() }))
			if c != nil {
				t.Errorf("a second too soon: %+v", c)
			}
			s.awake.Add(int64(time.Second))
			var due time.Duration
			must(t, s.a.Look(ctx, func(*ledger.Ledger, ledger.Now) { due, c = s.a.untilDue(), s.a.missed() }))
			if c == nil || due != 0 {
				t.Fatalf("nobody looked again, and nothing comes of it: %+v after %s", c, due)
			}
			must(t, s.a.do(ctx, &call{command: c}))
			if v, _, _, err := s.a.HostIDs(ctx); err != nil || v.Outcome != x.ends && v.Outcome != hostid.Grace {
				t.Errorf("%s, %v", v.Outcome, err)
			}
		})
	}
}

// While a machine sleeps nobody can tell what it shows, and no key answers: a grace begins by what is seen after it woke.
func TestSleepIsNoSilence(t *testing.T) {
	s := newKeyed(t)
	must(t, s.prove(s.e))
	s.is("before it sleeps", hostid.Same)
	s.slept.Add(int64(8 * time.Hour))
	var c ledger.Command
	must(t, s.a.Look(context.Background(), func(*ledger.Ledger, ledger.Now) { c = s.a.missed() }))
	if c != nil {
		t.Errorf("as it wakes: %+v", c)
	}
	s.is("as it wakes", hostid.Same)
	s.awake.Add(int64(silence))
	must(t, s.a.Look(context.Background(), func(*ledger.Ledger, ledger.Now) { c = s.a.missed() }))
	if c == nil {
		t.Error("awake, and silent as long as three looks take: nobody minds")
	}
}
