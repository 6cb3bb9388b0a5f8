package portal

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// station is one without a TPM, as far as files go.
type station struct {
	w      *world
	key    ed25519.PrivateKey
	box    *ecdh.PrivateKey
	number uint64
	life   byte
	last   capability.Digest // of its newest request
}

func (w *world) station() *station {
	w.t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	box, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	return &station{w: w, key: key, box: box, life: 1}
}

func (m *station) host() hostid.ID {
	return hostid.OfDigest(hostid.DeviceKey, wire.DeviceOf(m.key.Public().(ed25519.PublicKey)))
}

// request asks for copies; change may spoil it before it is signed.
func (m *station) request(id capability.ActivationID, copies uint32, change ...func(*capability.Request)) []byte {
	m.w.t.Helper()
	codec := wire.New()
	var root wire.PublicKeys
	if err := m.w.desk.Ask(func(o *backoffice.Office) error { root = o.Trust().Root; return nil }); err != nil {
		m.w.t.Fatal(err)
	}
	m.number++
	r := &capability.Request{
		Version: 1, Hosts: []hostid.ID{m.host(), {Type: hostid.BoardUUID, Value: "4C4C4544-0001"}}, Number: m.number, Epoch: m.number, Life: capability.LifeID{m.life}, Applied: m.number - 1, Alias: "hall 3",
		Correlation: capability.CorrelationID{byte(m.number), m.life}, Producer: codec.Fingerprint(root), Desired: []capability.Desired{{ActivationID: id, Count: copies}},
	}
	for _, f := range change {
		f(r)
	}
	file, digest, err := codec.SignRequest(r, wire.AlgEd25519, wire.DeviceKeyID(m.key.Public().(ed25519.PublicKey)), func(d capability.Digest) ([]byte, error) {
		return wire.SignAsDevice(m.key, m.box.PublicKey(), d), nil
	})
	if err != nil {
		m.w.t.Fatal(err)
	}
	m.last = digest
	return file
}

// anyMachine lets machines of tier software hold rights.
func (w *world) anyMachine() {
	p := entitlement.DefaultPolicy("Example")
	p.MinimumTier = entitlement.Software
	w.do(entitlement.SetPolicy{Policy: p, By: "test"})
}

// entitle puts a line item into the book.
func (w *world) entitle(customer string, copies uint32) (id capability.ActivationID) {
	w.t.Helper()
	err := w.desk.Ask(func(o *backoffice.Office) error {
		v, err := o.Entitle(entitlement.Item{Customer: customer, Product: "Render Pro", Copies: copies, Features: []entitlement.Feature{{Name: "render", PerCopy: 1}}}, "test", capability.At(w.now()))
		id = v.ActivationID
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// answer has a request answered by staff.
func (w *world) answer(file []byte) *backoffice.Result {
	w.t.Helper()
	var r *backoffice.Result
	err := w.desk.Ask(func(o *backoffice.Office) (err error) {
		r, err = o.Respond(file, "", "test", capability.At(w.now()))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// book looks at the book.
func (w *world) book(f func(*entitlement.Book)) {
	w.t.Helper()
	if err := w.desk.Ask(func(o *backoffice.Office) error { f(o.Book()); return nil }); err != nil {
		w.t.Fatal(err)
	}
}
