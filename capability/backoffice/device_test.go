package backoffice

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// workstation is a machine without a TPM, as far as files go.
type workstation struct {
	t      testing.TB
	key    ed25519.PrivateKey
	box    *ecdh.PrivateKey
	number uint64
}

func newWorkstation(t testing.TB) *workstation {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	box, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &workstation{t: t, key: key, box: box}
}

func (w *workstation) public() ed25519.PublicKey { return w.key.Public().(ed25519.PublicKey) }
func (w *workstation) host() hostid.ID {
	return hostid.OfDigest(hostid.DeviceKey, wire.DeviceOf(w.public()))
}

// request asks for copies; change may spoil it before it is signed.
func (w *workstation) request(o *Office, id capability.ActivationID, copies uint32, change func(*capability.Request)) []byte {
	w.t.Helper()
	w.number++
	r := &capability.Request{Version: 1, Hosts: []hostid.ID{w.host(), {Type: hostid.BoardUUID, Value: "4C4C4544-0001"}}, Number: w.number, Epoch: w.number, Life: capability.LifeID{1},
		Correlation: capability.CorrelationID{byte(w.number)}, Producer: o.codec.Fingerprint(o.trust.Root), Desired: []capability.Desired{{ActivationID: id, Count: copies}}}
	change(r)
	file, _, err := o.codec.SignRequest(r, wire.AlgEd25519, wire.DeviceKeyID(w.public()), func(d capability.Digest) ([]byte, error) {
		return wire.SignAsDevice(w.key, w.box.PublicKey(), d), nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return file
}

func asIs(*capability.Request) {}

// A machine without a TPM has what the producer allows tier software, and its response opens with its key and no other.
func TestDevice(t *testing.T) {
	_, o := newOffice(t, func(s *Setup) { s.Policy.MinimumTier = entitlement.Software })
	id, w := entitle(t, o, 3), newWorkstation(t)
	res, err := o.Respond(w.request(o, id, 2, asIs), "", "operator", today)
	if err != nil || res.Tier != entitlement.Software || len(res.Items) != 1 || res.Host != w.host() {
		t.Fatal(err)
	}
	s, err := o.codec.ReadResponse(res.File)
	if err != nil {
		t.Fatal(err)
	}
	other := newWorkstation(t)
	if _, err := wire.UnwrapAsDevice(other.box, wire.DeviceOf(other.public()), s.Wrap); err == nil {
		t.Error("another machine opens it")
	}
	key, err := wire.UnwrapAsDevice(w.box, wire.DeviceOf(w.public()), s.Wrap)
	if err != nil {
		t.Fatal(err)
	}
	r, err := o.codec.Open(s, key)
	if err != nil || len(r.Items) != 1 || r.Items[0].Count != 2 || len(r.Boot.Key)+len(r.Certificate) != 0 {
		t.Errorf("%+v %v", r, err)
	}
	// Another key under its name is refused, whatever else it knows.
	if _, err := o.Respond(other.request(o, id, 1, func(r *capability.Request) { r.Hosts[0] = w.host() }), "", "operator", today); err == nil {
		t.Error("another key speaks for it")
	}
	hard := func(s *Setup) { s.Policy.MinimumTier = entitlement.Virtual }
	_, strict := newOffice(t, hard)
	no, err := strict.Respond(newWorkstation(t).request(strict, entitle(t, strict, 1), 1, asIs), "", "operator", today)
	if err != nil || len(no.Lines) != 1 || no.Lines[0].Denial.Code != capability.ErrTier || len(no.Items) != 0 {
		t.Errorf("a producer who wants a TPM: %v", err)
	}
}

// A return by a device key is credited once, to the machine that had the rights, and not without its proof.
func TestDeviceReturns(t *testing.T) {
	_, o := newOffice(t, func(s *Setup) { s.Policy.MinimumTier = entitlement.Software })
	id, w, thief := entitle(t, o, 3), newWorkstation(t), newWorkstation(t)
	for _, m := range []*workstation{w, thief} {
		if _, err := o.Respond(m.request(o, id, 1, asIs), "", "operator", today); err != nil {
			t.Fatal(err)
		}
	}
	back := capability.Return{ID: capability.ReturnID{1}, ActivationID: id, Copies: 1, Epoch: 2, Time: today, Serial: 1}
	give := func(m *workstation, proof []byte) *Result {
		t.Helper()
		res, err := o.Respond(m.request(o, id, 0, func(r *capability.Request) {
			r.Desired, r.Applied, r.Returns = nil, m.number-1, []capability.Return{back}
			r.Returns[0].Proof = proof
		}), "", "operator", today)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := give(w, nil); len(res.Credited) != 0 || len(res.Denials) != 1 || res.Denials[0].Code != capability.ErrReturnProof {
		t.Error("it is credited without a proof")
	}
	back.ID, back.Epoch = capability.ReturnID{2}, w.number+1
	if res := give(w, wire.ProveAsDevice(thief.key, o.codec.ReturnDigest(back))); len(res.Credited) != 0 {
		t.Error("it is credited on another machine's word")
	}
	back.ID, back.Epoch = capability.ReturnID{3}, w.number+1
	proof := wire.ProveAsDevice(w.key, o.codec.ReturnDigest(back))
	if res := give(w, proof); len(res.Credited) != 1 || len(res.Items) != 0 {
		t.Errorf("it is not credited: %+v", res.Denials)
	}
	if res := give(w, proof); len(res.Credited) != 0 {
		t.Error("it is credited twice")
	}
	if v, _ := o.Book().Item(id, today); v.Left != 2 {
		t.Errorf("%d are left", v.Left)
	}
}

// A thousand forgeries of a request by a device key: none is answered.
func TestDeviceForged(t *testing.T) {
	_, o := newOffice(t, func(s *Setup) { s.Policy.MinimumTier = entitlement.Software })
	w, rng := newWorkstation(t), mathrand.New(mathrand.NewPCG(5, 6))
	good := w.request(o, entitle(t, o, 3), 2, asIs)
	for range 1000 {
		bad := bytes.Clone(good)
		switch at := rng.IntN(len(bad)); rng.IntN(3) {
		case 0:
			bad[at] ^= 1 << rng.IntN(8)
		case 1:
			bad = bad[:at]
		case 2:
			copy(bad[max(0, len(bad)-64-rng.IntN(64)):], bytes.Repeat([]byte{byte(rng.Uint32())}, 1+rng.IntN(64)))
		}
		if bytes.Equal(bad, good) {
			continue
		}
		if _, err := o.Respond(bad, "", "operator", today); err == nil {
			t.Fatalf("%x is answered", bad)
		} else if no := (*capability.Refusal)(nil); !errors.As(err, &no) {
			t.Fatalf("%v is no refusal", err)
		}
	}
	if len(o.Book().Hosts()) != 0 {
		t.Error("the book knows somebody")
	}
	if _, err := o.Respond(good, "", "operator", today); err != nil {
		t.Error(err)
	}
}
