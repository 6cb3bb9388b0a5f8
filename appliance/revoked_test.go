package appliance

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// rotated is the same producer with another signing key, whose certificate revokes those that are named.
func (p *producer) rotated(n byte, number uint64, revoked ...capability.Digest) *producer {
	p.t.Helper()
	next := *p
	var err error
	next.key, err = wire.NewProducerKey(bytes.Repeat([]byte{n}, wire.SeedSize))
	must(p.t, err)
	root, err := wire.NewProducerKey(bytes.Repeat([]byte{1}, wire.SeedSize))
	must(p.t, err)
	k := &wire.KeyCertificate{Keys: next.key.Public, Name: "producer-next", From: 1, Number: number}
	for _, r := range revoked {
		k.Revoked = append(k.Revoked, wire.RevokedKey{Key: r, Since: capability.At(time.Now())})
	}
	next.certificate, err = p.c.CertifyKey(root, k)
	must(p.t, err)
	return &next
}

func (p *producer) fingerprint() capability.Digest { return p.c.Fingerprint(p.key.Public) }

// A key is rotated and revoked; whoever stole it is refused from then on, however his files are dated and numbered.
func TestRevokedKeyIsRefused(t *testing.T) {
	p := newProducer(t, 1)
	s := newSite(t, p)
	mesh := item(t, 1, "mesh", 4)
	import_ := func(by *producer, serial uint64, change func(*capability.Response)) error {
		t.Helper()
		file, err := s.a.Request(t.Context(), nil, "admin")
		must(t, err)
		_, err = s.a.Import(t.Context(), by.respond(file.Bytes, serial, change, mesh))
		return err
	}
	refused := func(what string, err error) {
		t.Helper()
		var no *capability.Refusal
		if !errors.As(err, &no) || no.Code != capability.ErrKeyRevoked {
			t.Errorf("%s: %v where %s is expected", what, err, capability.ErrKeyRevoked)
		}
	}
	must(t, import_(p, 1, nil))
	second := p.rotated(7, 2)
	must(t, import_(second, 2, nil))
	must(t, import_(p, 3, nil)) // both keys count
	must(t, import_(second, 4, nil))

	third := p.rotated(8, 3, p.fingerprint())
	must(t, import_(third, 5, nil))
	refused("the revoked key", import_(p, 6, nil))
	s.a.Image = Image{"2026.2", 1}
	_, err := s.a.Update(t.Context(), p.update("2026.3", 1, 0), false)
	refused("an update by the revoked key", err)
	refused("the revoked key, far ahead", import_(p, 1<<40, nil))
	refused("the revoked key, dated back", import_(p, 7, func(r *capability.Response) { r.Time -= 3000 }))
	thief := *p
	thief.certificate = p.rotated(8, 9, second.fingerprint()).certificate // of another key than the one that signs
	if err := import_(&thief, 8, nil); err == nil {
		t.Error("a certificate of another key is taken")
	}
	must(t, import_(second, 6, nil)) // an older certificate, which gives the first key nothing back
	refused("the revoked key, after a response that does not know", import_(p, 9, nil))
	must(t, import_(third, 10, nil))

	chain, err := s.a.Chain(t.Context())
	must(t, err)
	k, err := p.c.SigningKey(p.trust, chain.Key)
	must(t, err)
	if len(k.Revoked) != 1 || k.Revoked[0].Key != p.fingerprint() {
		t.Errorf("clients are told of %v", k.Revoked)
	}
}
