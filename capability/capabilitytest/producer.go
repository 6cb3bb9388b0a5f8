package capabilitytest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// producer is a vendor with keys of its own, who answers the requests of one appliance without a book.
type producer struct {
	codec       *wire.Codec
	key         *wire.ProducerKey
	boot        *ecdsa.PrivateKey
	trust       *wire.Trust
	certificate []byte
	serial      uint64
}

func newProducer(t T) *producer {
	t.Helper()
	p := &producer{codec: wire.New()}
	seed := make([]byte, wire.SeedSize)
	rand.Read(seed)
	root, err := wire.NewProducerKey(bytes.Clone(seed))
	must(t, err)
	seed[0]++
	p.key, err = wire.NewProducerKey(seed)
	must(t, err)
	p.boot, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	p.trust = &wire.Trust{Producer: "Example Works", Root: root.Public}
	p.certificate, err = p.codec.CertifyKey(root, &wire.KeyCertificate{Keys: p.key.Public, Name: "test", From: 1})
	must(t, err)
	return p
}

// respond answers a request file with these items, at this time.
func (p *producer) respond(t T, file []byte, now capability.Time, policy capability.Policy, items []capability.LineItem) []byte {
	t.Helper()
	req, err := p.codec.ReadRequest(file)
	must(t, err)
	e, err := attest.DecodeEvidence(req.Signature)
	must(t, err)
	id, err := attest.Verify(e, attest.Request, req.Digest[:])
	must(t, err)
	state, err := attest.SignState(rand.Reader, p.boot, []byte("test"), id.PCRs)
	must(t, err)
	bootKey, err := x509.MarshalPKIXPublicKey(&p.boot.PublicKey)
	must(t, err)
	p.serial++
	host := hostid.OfDigest(hostid.TPMEK, id.HostID)
	certificate, err := p.codec.CertifyAppliance(p.key, &wire.ApplianceCertificate{Host: host, AK: id.AK, Serial: p.serial, From: 1})
	must(t, err)
	key := make([]byte, wire.ContentKeySize)
	rand.Read(key)
	wrapped, err := attest.Wrap(rand.Reader, id, key)
	must(t, err)
	out, err := p.codec.SealResponse(p.key, p.certificate, &capability.Response{
		Version: capability.Protocol, For: host, Serial: p.serial, Time: now, Lifetime: 3600, Request: req.Digest, Number: req.Request.Number,
		Correlation: req.Request.Correlation, Items: items, Epoch: req.Request.Epoch, Life: req.Request.Life, Certificate: certificate, Policy: policy,
		Boot: capability.Boot{Key: bootKey, Ref: []byte("test"), States: [][]byte{state.Encode()}},
	}, wrapped.Encode(), key)
	must(t, err)
	return out
}
