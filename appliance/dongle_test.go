package appliance

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/hostid/dongle"
	"github.com/leasehold/leasehold/hostid/dongle/dongletest"
)

// keyed is a site whose producer asks for a security key that answers, and the emulated key.
type keyed struct {
	*site
	e *dongletest.Key
	c hostid.Credential
}

func newKeyed(t *testing.T) *keyed {
	s := &keyed{site: newSite(t, newProducer(t, 1)), e: dongletest.New()}
	ctx := context.Background()
	f, err := s.e.Plug()
	must(t, err)
	k := dongle.Over(f)
	s.c, _, err = k.Enroll(ctx, s.a.Host, nil)
	must(t, err)
	must(t, k.Close())
	must(t, s.a.Recognize(ctx, found(hostid.ID{Type: hostid.BoardUUID, Value: "B1"})))
	r, err := s.a.Request(ctx, nil, "test")
	must(t, err)
	asks := func(r *capability.Response) {
		r.Policy.Binding, r.Policy.Grace, r.Policy.Dongle = hostid.RuleProof, 3600, s.c.HostID()
	}
	_, err = s.a.Import(ctx, s.p.respond(r.Bytes, 1, asks, item(t, 1, "render", 5)))
	must(t, err)
	return s
}

// prove carries one challenge to a key and its answer back, as the unit does.
func (s *keyed) prove(e *dongletest.Key) error {
	s.t.Helper()
	ctx := context.Background()
	q, err := s.a.Challenge(ctx, s.c)
	must(s.t, err)
	f, err := e.Plug()
	must(s.t, err)
	k := dongle.Over(f)
	defer k.Close()
	a, err := k.Prove(ctx, s.c, q)
	must(s.t, err)
	return s.a.Answer(ctx, s.c.HostID(), a)
}

func (s *keyed) is(when string, want hostid.Outcome) {
	s.t.Helper()
	v, _, _, err := s.a.HostIDs(context.Background())
	must(s.t, err)
	if v.Outcome != want {
		s.t.Errorf("%s: the machine is %s, want %s", when, v.Outcome, want)
	}
}

// serves asks for one count of a device.
func (s *keyed) serves(n int) bool {
	s.t.Helper()
	c := ask(n, 1, "render")
	must(s.t, s.a.do(context.Background(), c))
	return len(s.response(c).Rights) == 1
}

// A security key that answers is what the producer asked for; its number alone is not. When it is pulled out nobody new is served from then on, who was goes on, and
// when it is back all is as before.
func TestSecurityKey(t *testing.T) {
	s := newKeyed(t)
	ctx := context.Background()
	s.is("before it was asked", hostid.Grace)
	if s.serves(1) {
		t.Error("granted before the first answer")
	}
	must(t, s.a.Recognize(ctx, found(hostid.ID{Type: hostid.BoardUUID, Value: "B1"}, s.c.HostID())))
	s.is("told that it is there", hostid.Grace)
	must(t, s.prove(s.e))
	s.is("it answered", hostid.Same)
	if !s.serves(1) {
		t.Error("refused with the key")
	}
	must(t, s.a.Recognize(ctx, found(hostid.ID{Type: hostid.BoardUUID, Value: "B1"})))
	s.is("it answered, and the rest is told again", hostid.Same)

	// Pulled out: the unit asks in vain and says so.
	_, err := s.a.Challenge(ctx, s.c)
	must(t, err)
	begin := time.Now()
	must(t, s.a.Answer(ctx, s.c.HostID(), hostid.Assertion{}))
	s.is("it was pulled out", hostid.Grace)
	if s.serves(2) || time.Since(begin) > 2*time.Second {
		t.Errorf("a new device is served after %s", time.Since(begin))
	}
	if !s.serves(1) {
		t.Error("what was granted is not renewed")
	}
	must(t, s.prove(s.e))
	if s.is("it is back", hostid.Same); !s.serves(2) {
		t.Error("refused with the key back")
	}
}

// A question that nobody answers ends what the key proved before, within two seconds and a little.
func TestSecurityKeyIsMissed(t *testing.T) {
	s := newKeyed(t)
	must(t, s.prove(s.e))
	s.is("it answered", hostid.Same)
	begin := time.Now()
	_, err := s.a.Challenge(context.Background(), s.c)
	must(t, err)
	s.is("it was asked", hostid.Same)
	for s.outcome() != hostid.Grace {
		if time.Since(begin) > 10*time.Second {
			t.Fatal("nobody misses it")
		}
	}
	if took := time.Since(begin); took < hostid.MaxWithin {
		t.Errorf("missed after %s, and it has %s", took, hostid.MaxWithin)
	}
	if s.serves(1) {
		t.Error("granted without the key")
	}
}

func (s *keyed) outcome() hostid.Outcome {
	s.t.Helper()
	v, _, _, err := s.a.HostIDs(context.Background())
	must(s.t, err)
	return v.Outcome
}

// What another key, a copy, an old answer or an answer to nothing proves.
func TestSecurityKeyOfAnother(t *testing.T) {
	s := newKeyed(t)
	ctx := context.Background()
	refused := func(what string, err error) {
		t.Helper()
		if r := (*capability.Refusal)(nil); !errors.As(err, &r) || r.Code != capability.ErrBinding {
			t.Errorf("%s: %v", what, err)
		}
		s.is(what, hostid.Grace)
	}
	copied := s.e.Copy()
	pretender, err := s.e.Pretend()
	must(t, err)
	refused("an answer before a question", s.a.Answer(ctx, s.c.HostID(), hostid.Assertion{AuthenticatorData: []byte{1}}))
	refused("a key without the secrets", s.prove(pretender))
	other := dongletest.New()
	f, err := other.Plug()
	must(t, err)
	k := dongle.Over(f)
	c, _, err := k.Enroll(ctx, s.a.Host, nil)
	must(t, err)
	q, err := s.a.Challenge(ctx, c)
	must(t, err)
	a, err := k.Prove(ctx, c, q)
	must(t, err)
	must(t, s.a.Answer(ctx, c.HostID(), a)) // it proves itself, and is not the one that was chosen
	s.is("another key", hostid.Grace)
	refused("the same answer again", s.a.Answer(ctx, c.HostID(), a))
	refused("its answer for the chosen one", s.a.Answer(ctx, s.c.HostID(), a))
	must(t, s.prove(s.e))
	s.is("the key", hostid.Same)
	must(t, s.prove(s.e))
	refused("a copy of the key", s.prove(copied))
	for i := range byte(maxKeys + 2) { // more keys than are watched
		c.PublicKey = otherPoint(t)
		if _, err := s.a.Challenge(ctx, c); err != nil {
			t.Errorf("key %d: %v", i, err)
		}
	}
	if _, err := s.a.Challenge(ctx, hostid.Credential{}); !errors.As(err, new(*capability.Malformed)) {
		t.Errorf("no credential: %v", err)
	}
}

// otherPoint is the public key of a new key.
func otherPoint(t *testing.T) []byte {
	t.Helper()
	f, err := dongletest.New().Plug()
	must(t, err)
	k := dongle.Over(f)
	defer k.Close()
	c, _, err := k.Enroll(context.Background(), hostid.ID{Type: hostid.String, Value: "x"}, nil)
	must(t, err)
	return c.PublicKey
}

// A run begins without any proof: what a key answered to the one before is taken back before anybody is served.
func TestProofEndsWithTheRun(t *testing.T) {
	s := newKeyed(t)
	must(t, s.prove(s.e))
	var c ledger.Command
	must(t, s.a.Look(context.Background(), func(*ledger.Ledger, ledger.Now) {
		if s.a.reproved() != nil {
			t.Error("the same proof twice")
		}
		s.a.watchful.keys = map[hostid.ID]*hostid.Watch{} // as in a new run
		c = s.a.reproved()
	}))
	r, ok := c.(ledger.Recognize)
	if !ok || len(r.Shown) != 2 || r.Shown[0].ID != s.a.Host || r.Shown[1].ID.Type != hostid.BoardUUID {
		t.Fatalf("%+v", c)
	}
	must(t, s.a.do(context.Background(), &call{command: c}))
	s.is("a new run", hostid.Grace)
}
