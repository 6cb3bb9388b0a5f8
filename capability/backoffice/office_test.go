package backoffice

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage/storagetest"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

const today capability.Time = 1_800_000_000

func passphrase() []byte { return []byte("correct horse battery") }

// cheap makes guessing cheap, so that tests open key files thousands of times.
func cheap() Cost { return Cost{Passes: 1, Memory: 64, Threads: 1} }

func authority(t testing.TB) []byte {
	t.Helper()
	a, err := tpmtest.TheAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
}

func setup(t testing.TB) Setup {
	s := Setup{Policy: entitlement.DefaultPolicy("Example Software"), KeyName: "producer-A", Hardware: [][]byte{authority(t)}, Cost: cheap(), By: "operator"}
	s.Policy.Lease = capability.MinLease
	return s
}

// simulated is a place on a machine whose power can be cut.
func simulated(m *storagetest.Machine) Place {
	d := func() *storagetest.Disk { return m.AddDisk(nil) }
	return Place{Top: d(), Book: m.Disk, History: d(), Keys: d(), Responses: d(), Hardware: d(), Virtual: d(), beside: func(task func()) { task() }}
}

func mustOpen(t testing.TB, p Place, chance io.Reader) *Office {
	t.Helper()
	o, err := Open(p, passphrase(), chance)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// newOffice is a back office in a real directory.
func newOffice(t testing.TB, change func(*Setup)) (Place, *Office) {
	t.Helper()
	p := Dir(t.TempDir())
	s := setup(t)
	if change != nil {
		change(&s)
	}
	if _, err := Create(p, passphrase(), s, today, rand.Reader); err != nil {
		t.Fatal(err)
	}
	o := mustOpen(t, p, rand.Reader)
	t.Cleanup(func() { o.Close() })
	return p, o
}

func entitle(t testing.TB, o *Office, copies uint32) capability.ActivationID {
	t.Helper()
	v, err := o.Entitle(entitlement.Item{Customer: "ACME Works", Product: "Render Pro", Copies: copies,
		Features: []entitlement.Feature{{Name: "render", Version: capability.Version{Major: 2026, Minor: 1}, PerCopy: 1}}}, "operator", today)
	if err != nil {
		t.Fatal(err)
	}
	return v.ActivationID
}

// appliance is a machine with a software TPM, as far as files go.
type appliance struct {
	t           testing.TB
	codec       *wire.Codec
	device      *tpm.Device
	host        hostid.ID
	ak          []byte
	kid         wire.KeyID
	number      uint64
	applied     *capability.Response
	epoch       uint64
	outstanding []capability.Digest
	returns     []capability.Return
	binding     *tpm.Binding
	secret      []byte
}

func newAppliance(t testing.TB, certificates ...tpmtest.Certificate) *appliance {
	t.Helper()
	return applianceWith(t, tpmtest.Start(t, certificates...))
}

func applianceWith(t testing.TB, m *tpmtest.TPM) *appliance {
	t.Helper()
	a := &appliance{t: t, codec: wire.New(), device: m.Device(t), applied: &capability.Response{}, epoch: 1}
	id, err := a.device.HostID()
	if err != nil {
		t.Fatal(err)
	}
	a.host = hostid.OfDigest(hostid.TPMEK, id)
	e, err := a.device.Evidence(attest.Request, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.ak, a.kid = e.AK, wire.AttestationKeyID(e.AK)
	return a
}

// sign makes the file of a request; change may spoil the evidence.
func (a *appliance) sign(r *capability.Request, change func(*attest.Evidence)) ([]byte, capability.Digest) {
	a.t.Helper()
	file, digest, err := a.codec.SignRequest(r, wire.AlgTPMQuote, a.kid, func(d capability.Digest) ([]byte, error) {
		e, err := a.device.Evidence(attest.Request, d[:])
		if err != nil {
			return nil, err
		}
		if change != nil {
			change(e)
		}
		return e.Encode(), nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return file, digest
}

func (a *appliance) draft(root wire.PublicKeys, desired ...capability.Desired) *capability.Request {
	a.number++
	r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{a.host}, Number: a.number, Applied: a.applied.Serial, BookHead: a.applied.BookHead,
		Desired: desired, Outstanding: a.outstanding, Epoch: a.epoch, Returns: a.returns, Alias: "hall 3", Producer: a.codec.Fingerprint(root)}
	binary.BigEndian.PutUint64(r.Correlation[:], a.number)
	return r
}

func (a *appliance) request(o *Office, desired ...capability.Desired) []byte {
	a.t.Helper()
	file, digest := a.sign(a.draft(o.Trust().Root, desired...), nil)
	a.outstanding = append(a.outstanding, digest)
	return file
}

// open verifies and decrypts a response as an appliance does, with nothing but the trust bundle and its TPM.
func (a *appliance) open(trust *wire.Trust, file []byte) (*capability.Response, error) {
	s, err := a.codec.ReadResponse(file)
	if err != nil {
		return nil, err
	}
	if _, _, err := a.codec.Verify(trust, s); err != nil {
		return nil, err
	}
	w, err := attest.DecodeWrapped(s.Wrap)
	if err != nil {
		return nil, err
	}
	key, err := a.device.Activate(w)
	if err != nil {
		return nil, err
	}
	return a.codec.Open(s, key)
}

func (a *appliance) apply(trust *wire.Trust, file []byte) *capability.Response {
	a.t.Helper()
	r, err := a.open(trust, file)
	if err != nil {
		a.t.Fatal(err)
	}
	a.applied, a.outstanding, a.returns = r, nil, nil
	return r
}

// provision makes the epoch counter under the boot key that the response brought.
func (a *appliance) provision(b capability.Boot) {
	a.t.Helper()
	public, err := x509.ParsePKIXPublicKey(b.Key)
	if err != nil {
		a.t.Fatal(err)
	}
	key := attest.BootKey{Public: public.(*ecdsa.PublicKey), Ref: b.Ref}
	var states []attest.SignedState
	for _, raw := range b.States {
		s, err := attest.DecodeSignedState(raw)
		if err != nil {
			a.t.Fatal(err)
		}
		if err := key.Verify(s); err != nil {
			a.t.Fatal(err)
		}
		states = append(states, *s)
	}
	a.binding, a.secret = a.device.Binding(attest.EpochIndex, attest.RunningPCR, key, states), make([]byte, 32)
	if a.epoch, err = a.binding.Provision(a.secret); err != nil {
		a.t.Fatal(err)
	}
	// The state that the request quoted is the one it opens in.
	blob, err := a.binding.Seal(a.secret, a.epoch)
	if err != nil {
		a.t.Fatal(err)
	}
	if back, err := a.binding.Unseal(blob, a.epoch); err != nil || !bytes.Equal(back, a.secret) {
		a.t.Fatalf("storage sealed under the response's boot state: %v", err)
	}
}

// giveBack returns copies as an appliance does: the epoch moves, then the TPM proves it.
func (a *appliance) giveBack(id capability.ActivationID, copies uint32) *capability.Return {
	a.t.Helper()
	if err := a.binding.Advance(a.secret, a.epoch); err != nil {
		a.t.Fatal(err)
	}
	a.epoch++
	r := capability.Return{ActivationID: id, Copies: copies, Epoch: a.epoch, Time: today, Serial: a.applied.Serial}
	binary.BigEndian.PutUint64(r.ID[:], a.epoch)
	d := a.codec.ReturnDigest(r)
	proof, err := a.device.CertifyEpoch(attest.EpochIndex, d[:])
	if err != nil {
		a.t.Fatal(err)
	}
	r.Proof = proof.Encode()
	a.returns = append(a.returns, r)
	return &a.returns[len(a.returns)-1]
}

func want(id capability.ActivationID, n uint32) capability.Desired {
	return capability.Desired{ActivationID: id, Count: n}
}

func mustRespond(t testing.TB, o *Office, file []byte) *Result {
	t.Helper()
	r, err := o.Respond(file, "", "operator", today)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func codeOf(err error) capability.Code {
	if r := (*capability.Refusal)(nil); errors.As(err, &r) {
		return r.Code
	}
	return 0
}

func TestLoop(t *testing.T) {
	p, o := newOffice(t, nil)
	id := entitle(t, o, 40)
	a, b := newAppliance(t), newAppliance(t)
	file := a.request(o, want(id, 40))
	one := mustRespond(t, o, file)
	if one.Name != "RSP-0001.LHR" || one.Tier != entitlement.Hardware || one.Proven || one.Host != a.host || one.Serial != 1 || len(one.Lines) != 1 || one.Lines[0].Product != "Render Pro" {
		t.Errorf("the operator is told %+v", one)
	}
	// Another machine opens nothing, whatever it tries.
	if _, err := b.open(o.Trust(), one.File); !errors.Is(err, tpm.ErrNotOurs) {
		t.Errorf("another TPM: %v", err)
	}
	r := a.apply(o.Trust(), one.File)
	if len(r.Items) != 1 || r.Items[0].Count != 40 || r.Items[0].ActivationID != id || r.Policy.Lease != capability.MinLease || r.For != a.host {
		t.Errorf("response %+v", r)
	}
	a.provision(r.Boot)

	// Clients get from the root to the machine's key by what came in the response.
	s, err := a.codec.ReadResponse(one.File)
	if err != nil {
		t.Fatal(err)
	}
	serving := bytes.Repeat([]byte{7}, 32)
	statement, err := a.device.Session(serving)
	if err != nil {
		t.Fatal(err)
	}
	chain := &wire.Chain{Key: s.Certificate(), Appliance: r.Certificate, Serving: serving, Statement: statement.Encode()}
	certified, err := a.codec.VerifyChain(o.Trust(), chain, func(ak, statement, serving []byte) error {
		e, err := attest.DecodeEvidence(statement)
		if err != nil {
			return err
		}
		return attest.VerifySession(ak, e, serving)
	})
	if err != nil || certified.Host != a.host || !bytes.Equal(certified.AK, a.ak) {
		t.Errorf("chain to the machine's key: %v", err)
	}

	// The same request gives the same bytes, also to the next process.
	o.Close()
	o = mustOpen(t, p, rand.Reader)
	t.Cleanup(func() { o.Close() })
	if again := mustRespond(t, o, file); !again.Again || !bytes.Equal(again.File, one.File) || again.Serial != 1 || again.Made != today {
		t.Error("the same request gave other bytes")
	}

	// Nothing is left for B, until A returns with proof.
	refused := mustRespond(t, o, b.request(o, want(id, 10)))
	if got := b.apply(o.Trust(), refused.File); got.Lines[0].Denial.Code != capability.ErrHeldElsewhere || len(got.Items) != 0 {
		t.Errorf("B is told %+v", got.Lines)
	}
	a.giveBack(id, 10)
	credit := mustRespond(t, o, a.request(o))
	if len(credit.Credited) != 1 || credit.Credited[0].Copies != 10 || !credit.Proven {
		t.Fatalf("the return: %+v, %+v", credit.Credited, credit.Denials)
	}
	if r := a.apply(o.Trust(), credit.File); len(r.Acknowledged) != 1 || r.Items[0].Count != 30 {
		t.Errorf("after the return A has %+v", r.Items)
	}
	given := mustRespond(t, o, b.request(o, want(id, 10)))
	if r := b.apply(o.Trust(), given.File); len(r.Items) != 1 || r.Items[0].Count != 10 {
		t.Errorf("B has %+v", r.Items)
	}
	if v, _ := o.Book().Item(id, today); v.State != entitlement.FullyUsed {
		t.Errorf("the item is %s", v.State)
	}
}

func TestReturnsAreProven(t *testing.T) {
	_, o := newOffice(t, nil)
	id := entitle(t, o, 40)
	a, b := newAppliance(t), newAppliance(t)
	a.provision(a.apply(o.Trust(), mustRespond(t, o, a.request(o, want(id, 20))).File).Boot)
	b.provision(b.apply(o.Trust(), mustRespond(t, o, b.request(o, want(id, 20))).File).Boot)
	for _, c := range []struct {
		name  string
		spoil func(r *capability.Return)
	}{
		{"no proof", func(r *capability.Return) { r.Proof = nil }},
		{"a cut proof", func(r *capability.Return) { r.Proof = r.Proof[:len(r.Proof)-1] }},
		{"more copies than proven", func(r *capability.Return) { r.Copies++ }},
		{"another ID than proven", func(r *capability.Return) { r.ID[0] ^= 1 }},
		{"a later epoch than proven", func(r *capability.Return) { r.Epoch++ }},
		{"another machine's proof", func(r *capability.Return) {
			d := b.codec.ReturnDigest(*r)
			p, err := b.device.CertifyEpoch(attest.EpochIndex, d[:])
			if err != nil {
				t.Fatal(err)
			}
			r.Proof = p.Encode()
		}},
		{"another counter of the same TPM", func(r *capability.Return) {
			// Whoever is root there can make a counter of his own, which starts above every other, and have it certified.
			const own = attest.EpochIndex + 1
			if _, err := a.device.Binding(own, attest.RunningPCR, attest.BootKey{}, nil).Provision(make([]byte, 32)); err != nil {
				t.Fatal(err)
			}
			d := a.codec.ReturnDigest(*r)
			p, err := a.device.CertifyEpoch(own, d[:])
			if err != nil {
				t.Fatal(err)
			}
			r.Proof = p.Encode()
		}},
	} {
		c.spoil(a.giveBack(id, 1))
		res, denials := mustRespond(t, o, a.request(o)), 1
		if c.name != "no proof" { // which may come later: the others are refused for good
			denials = 2
		}
		if len(res.Credited) != 0 || len(res.Denials) != denials || denials == 2 && res.Denials[1].Code != capability.ErrReturnRefused || res.Denials[0].Code != capability.ErrReturnProof {
			t.Errorf("%s: credited %v, refused %v", c.name, res.Credited, res.Denials)
		}
		if r := a.apply(o.Trust(), res.File); r.Items[0].Count != 20 || len(r.Denials) != denials {
			t.Errorf("%s: the machine has %d", c.name, r.Items[0].Count)
		}
	}
}

func TestTiers(t *testing.T) {
	software := func(s *Setup) { s.Policy.MinimumTier = entitlement.Software }
	for _, c := range []struct {
		name         string
		change       func(*Setup)
		certificates []tpmtest.Certificate
		tier         entitlement.Tier
		given        int
	}{
		{"hardware", nil, []tpmtest.Certificate{tpmtest.P256}, entitlement.Hardware, 1},
		{"hardware by its RSA key", nil, []tpmtest.Certificate{tpmtest.RSA}, entitlement.Hardware, 1},
		{"hardware by its own intermediate", nil, []tpmtest.Certificate{tpmtest.Chained}, entitlement.Hardware, 1},
		{"virtual by its own intermediate", func(s *Setup) { s.Virtual, s.Hardware = s.Hardware, nil }, []tpmtest.Certificate{tpmtest.Chained}, entitlement.Virtual, 0},
		{"virtual", func(s *Setup) { s.Virtual, s.Hardware = s.Hardware, nil }, []tpmtest.Certificate{tpmtest.P256}, entitlement.Virtual, 0},
		{"virtual is enough", func(s *Setup) {
			s.Virtual, s.Hardware, s.Policy.MinimumTier = s.Hardware, nil, entitlement.Virtual
		}, []tpmtest.Certificate{tpmtest.P256}, entitlement.Virtual, 1},
		{"no certificate", nil, []tpmtest.Certificate{tpmtest.None}, entitlement.Software, 0},
		{"no certificate is needed", software, []tpmtest.Certificate{tpmtest.None}, entitlement.Software, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, o := newOffice(t, c.change)
			id := entitle(t, o, 5)
			a := newAppliance(t, c.certificates...)
			res := mustRespond(t, o, a.request(o, want(id, 5)))
			r := a.apply(o.Trust(), res.File)
			if res.Tier != c.tier || len(r.Items) != c.given {
				t.Errorf("tier %s, %d items, want %s and %d", res.Tier, len(r.Items), c.tier, c.given)
			}
			if c.given == 0 && r.Lines[0].Denial.Code != capability.ErrTier {
				t.Errorf("the machine is told %+v", r.Lines)
			}
		})
	}
}

// What a machine says lies between its certificate and a root is nobody's word: forged, left out or garbled it raises nothing, and the request is judged as one without it.
func TestForeignIntermediates(t *testing.T) {
	_, o := newOffice(t, func(s *Setup) { s.Policy.MinimumTier = entitlement.Software })
	id := entitle(t, o, 9)
	twin, err := tpmtest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := twin.Below("Leasehold test TPM intermediate")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		between func([][]byte) [][]byte
		tier    entitlement.Tier
	}{
		"left out":         {func([][]byte) [][]byte { return nil }, entitlement.Software},
		"forged":           {func([][]byte) [][]byte { return [][]byte{forged.Certificate.Raw, twin.Certificate.Raw} }, entitlement.Software},
		"garbled":          {func(own [][]byte) [][]byte { return [][]byte{own[0][:len(own[0])-1], {}, []byte("noise")} }, entitlement.Software},
		"with forged ones": {func(own [][]byte) [][]byte { return append([][]byte{forged.Certificate.Raw, []byte("noise")}, own...) }, entitlement.Hardware},
	} {
		a := newAppliance(t, tpmtest.Chained)
		plain := a.draft(o.Trust().Root)
		file, _ := a.sign(plain, func(e *attest.Evidence) { e.Intermediates = c.between(e.Intermediates) })
		res, err := o.Respond(file, "", "operator", today)
		if err != nil || res.Tier != c.tier || (res.TierNote == "") != (c.tier == entitlement.Hardware) {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
	// As the first, with something asked that the tier allows.
	a := newAppliance(t, tpmtest.Chained)
	file, _ := a.sign(a.draft(o.Trust().Root, want(id, 1)), func(e *attest.Evidence) { e.Intermediates = nil })
	if res := mustRespond(t, o, file); res.Tier != entitlement.Software || len(res.Items) != 1 {
		t.Errorf("without its intermediate: tier %s, %d items", res.Tier, len(res.Items))
	}
}

// A certificate that leads nowhere can be mended, by naming its authority: until then nothing is answered.
func TestUnknownAuthority(t *testing.T) {
	p, o := newOffice(t, func(s *Setup) { s.Hardware = nil })
	id := entitle(t, o, 5)
	a := newAppliance(t)
	plain := mustRespond(t, o, a.request(o)) // nothing is asked that a tier could refuse
	if plain.Tier != entitlement.Software || plain.TierNote == "" {
		t.Errorf("tier %s, note %q", plain.Tier, plain.TierNote)
	}
	a.apply(o.Trust(), plain.File)
	file, before := a.request(o, want(id, 5)), o.book.Digest()
	if _, err := o.Respond(file, "", "operator", today); codeOf(err) != capability.ErrTier || !strings.Contains(err.Error(), "issued by \"CN=Leasehold test TPM authority") {
		t.Errorf("an unknown authority: %v", err)
	}
	if o.book.Digest() != before {
		t.Error("the book was changed")
	}
	o.Close()
	if err := put(p.Hardware, "maker.pem", authority(t)); err != nil {
		t.Fatal(err)
	}
	o = mustOpen(t, p, rand.Reader)
	t.Cleanup(func() { o.Close() })
	if res := mustRespond(t, o, file); res.Tier != entitlement.Hardware || len(res.Items) != 1 {
		t.Errorf("with the authority: tier %s, %d items", res.Tier, len(res.Items))
	}
}
