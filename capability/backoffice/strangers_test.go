package backoffice

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage/storagetest"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/attest/attesttest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

func newChip(t testing.TB) *attesttest.Chip {
	t.Helper()
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key
	}
	c, err := attesttest.New(keys[0], keys[1])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// forged is what a machine writes that wants to be another one: each field may be its own or the other's.
type forged struct {
	host       hostid.ID
	signer     *attesttest.Chip // whose key signs the quote
	ek, ak     []byte
	kid        []byte // the AK that the key ID names
	purpose    attest.Purpose
	data       []byte // quoted instead of the request's digest
	certified  [][]byte
	evidence   func([]byte) // the bytes of the evidence
	afterwards func([]byte) // the bytes of the file
}

// stranger is machine B, whose keys its owner may use as he likes, beside machine A, whose public parts he knows.
type stranger struct {
	t     *testing.T
	rng   *rand.Rand
	codec *wire.Codec
	o     *Office
	a, b  *attesttest.Chip
	other *attesttest.Chip // a second attestation key of B, beside B's endorsement key
	salt  uint64
	rsa   []byte // certificate of A's RSA endorsement key
}

func (s *stranger) draft(host hostid.ID, id capability.ActivationID) *capability.Request {
	s.salt++
	r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{host}, Number: 1, Epoch: 1, Desired: []capability.Desired{want(id, 1)}, Producer: s.codec.Fingerprint(s.o.Trust().Root)}
	binary.BigEndian.PutUint64(r.Correlation[:], s.salt)
	return r
}

func (s *stranger) file(f forged, id capability.ActivationID) []byte {
	s.t.Helper()
	file, _, err := s.codec.SignRequest(s.draft(f.host, id), wire.AlgTPMQuote, wire.AttestationKeyID(f.kid), func(d capability.Digest) ([]byte, error) {
		data := d[:]
		if f.data != nil {
			data = f.data
		}
		e, err := f.signer.Quote(f.purpose, data, clock())
		if err != nil {
			return nil, err
		}
		e.EK, e.AK, e.EKCertificates = f.ek, f.ak, f.certified
		b := e.Encode()
		if f.evidence != nil {
			f.evidence(b)
		}
		return b, nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if f.afterwards != nil {
		f.afterwards(file)
	}
	return file
}

// honest is what a machine writes in its own name.
func honest(c *attesttest.Chip) forged {
	return forged{host: c.Host, signer: c, ek: c.EK, ak: c.AK, kid: c.AK, purpose: attest.Request}
}

// opens says whether one of B's keys opens the content, through the wrap that came with it or through one that B made of it.
func (s *stranger) opens(r *wire.SealedResponse, wraps ...*attest.Wrapped) bool {
	for _, w := range wraps {
		for _, chip := range []*attesttest.Chip{s.b, s.other} {
			if key, err := chip.Activate(w); err == nil && len(key) == wire.ContentKeySize {
				if _, err := s.codec.Open(r, key); err == nil {
					return true
				}
			}
		}
	}
	return false
}

func (s *stranger) sealed(file []byte) (*wire.SealedResponse, *attest.Wrapped) {
	s.t.Helper()
	r, err := s.codec.ReadResponse(file)
	if err != nil {
		s.t.Fatal(err)
	}
	w, err := attest.DecodeWrapped(r.Wrap)
	if err != nil {
		s.t.Fatal(err)
	}
	return r, w
}

// TestNobodyElseOpens: B asks in A's name with every mixture of what is A's and what is B's, and B turns the response that A got in every way. It opens none: not one right of A's is worth anything on B.
func TestNobodyElseOpens(t *testing.T) {
	m := storagetest.New(1)
	p := simulated(m)
	setup := setup(t)
	setup.Policy.MinimumTier = entitlement.Software
	if _, err := Create(p, passphrase(), setup, today, m); err != nil {
		t.Fatal(err)
	}
	o := mustOpen(t, p, m)
	defer o.Close()
	id := entitle(t, o, 1<<20)
	foreign, err := rsa.GenerateKey(crand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := tpmtest.TheAuthority()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.Certify(&foreign.PublicKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	const rounds = 80
	for seed := range uint64(rounds) {
		s := &stranger{t: t, rng: rand.New(rand.NewPCG(seed, 17)), codec: wire.New(), o: o, a: newChip(t), b: newChip(t), salt: seed << 32, rsa: certificate}
		s.other = newChip(t)
		onRecord := seed%2 == 0
		own := mustRespond(t, o, s.file(honest(s.b), id))
		if r, w := s.sealed(own.File); !s.opens(r, w) {
			t.Fatalf("seed %d: B does not open its own response, so nothing is shown", seed)
		}
		if onRecord {
			s.turns(counts, mustRespond(t, o, s.file(honest(s.a), id)).File, own.File)
		}
		for range 12 {
			s.asks(counts, id, onRecord)
		}
	}
	total := 0
	for what, n := range counts {
		t.Logf("%-40s %d", what, n)
		total += n
	}
	if total < 1000 || counts["asked: answered, and not opened"] < 50 || counts["asked: refused"] < 300 || counts["turned"] < 500 {
		t.Errorf("%d mutations: %v", total, counts)
	}
}

// asks sends one request with a mixture of identities.
func (s *stranger) asks(counts map[string]int, id capability.ActivationID, onRecord bool) {
	s.t.Helper()
	s.b, s.other = newChip(s.t), newChip(s.t)
	if !onRecord {
		s.a = newChip(s.t)
	}
	f, flip := honest(s.b), func(b []byte) { b[s.rng.IntN(len(b))] ^= 1 << s.rng.IntN(8) }
	mine := true
	for mine { // at least one thing is not B's own
		f = honest(s.b)
		for _, change := range []func(){
			func() { f.host = s.a.Host },
			func() { f.ek = s.a.EK },
			func() { f.ak = s.a.AK },
			func() { f.kid = s.a.AK },
			func() { f.host, f.ek = s.a.Host, s.a.EK },
			func() { f.host, f.ek, f.ak, f.kid = s.a.Host, s.a.EK, s.a.AK, s.a.AK },
			func() { f.host, f.ek, f.ak, f.kid, f.signer = s.a.Host, s.a.EK, s.other.AK, s.other.AK, s.other },
			func() { f.certified = [][]byte{s.rsa} },
			func() { f.purpose = attest.Session },
			func() { f.data = []byte("another request") },
			func() { f.ek = newChip(s.t).EK },
			func() { f.ek, f.host = s.a.EK, s.a.Host; f.certified = [][]byte{s.rsa} },
			func() { f.evidence = flip },
			func() { f.afterwards = flip },
		} {
			if s.rng.IntN(8) == 0 {
				change()
				mine = false
			}
		}
	}
	res, err := s.o.Respond(s.file(f, id), "", "operator", today)
	if err != nil {
		if codeOf(err) == 0 {
			s.t.Fatalf("a forged request: %v", err)
		}
		counts["asked: refused"]++
		return
	}
	if onRecord && res.Host == s.a.Host {
		s.t.Errorf("a request in the name of a machine on record was answered")
	}
	r, w := s.sealed(res.File)
	if s.opens(r, w, &attest.Wrapped{HostID: w.HostID, P256: w.RSA}) {
		s.t.Errorf("host %s: B opens what it asked for as %+v", res.Host.Short(), f)
	}
	counts["asked: answered, and not opened"]++
}

// turns tries A's response with every part changed, its own response at hand.
func (s *stranger) turns(counts map[string]int, file, own []byte) {
	s.t.Helper()
	r, wrap := s.sealed(file)
	mine, wrapOwn := s.sealed(own)
	if key, err := s.a.Activate(wrap); err != nil {
		s.t.Fatal(err)
	} else if _, err := s.codec.Open(r, key); err != nil {
		s.t.Fatalf("A does not open its own response: %v", err)
	}
	var hostB [32]byte
	copy(hostB[:], wrapOwn.HostID[:])
	flipped := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[s.rng.IntN(len(b))] ^= 1 << s.rng.IntN(8)
		return b
	}
	for name, w := range map[string]*attest.Wrapped{
		"as it is":                wrap,
		"B's name on it":          {HostID: hostB, P256: wrap.P256},
		"B's own wrap":            wrapOwn,
		"A's blob, B's secret":    {HostID: hostB, P256: attest.Credential{Blob: wrap.P256.Blob, Secret: wrapOwn.P256.Secret}},
		"B's blob, A's secret":    {HostID: hostB, P256: attest.Credential{Blob: wrapOwn.P256.Blob, Secret: wrap.P256.Secret}},
		"swapped":                 {HostID: hostB, P256: attest.Credential{Blob: wrap.P256.Secret, Secret: wrap.P256.Blob}},
		"as RSA":                  {HostID: hostB, P256: wrapOwn.P256, RSA: wrap.P256},
		"a bit of the blob":       {HostID: hostB, P256: attest.Credential{Blob: flipped(wrap.P256.Blob), Secret: wrap.P256.Secret}},
		"a bit of the secret":     {HostID: hostB, P256: attest.Credential{Blob: wrap.P256.Blob, Secret: flipped(wrap.P256.Secret)}},
		"B's wrap, a bit flipped": {HostID: hostB, P256: attest.Credential{Blob: flipped(wrapOwn.P256.Blob), Secret: wrapOwn.P256.Secret}},
	} {
		as := *r
		if s.opens(&as, w) {
			s.t.Errorf("%s: B opens A's response", name)
		}
		as.Clear.For = s.b.Host // and in B's name
		if s.opens(&as, w) {
			s.t.Errorf("%s, in B's name: B opens A's response", name)
		}
		as.Clear = mine.Clear
		if s.opens(&as, w) {
			s.t.Errorf("%s, under B's clear part: B opens A's response", name)
		}
		counts["turned"] += 3
	}
	// The file itself: whatever is changed in it, no signature is good, and no key of B's opens it.
	for range 5 {
		changed := flipped(file)
		counts["turned: a bit of the file"]++
		read, err := s.codec.ReadResponse(changed)
		if err != nil {
			continue
		}
		if _, _, err := s.codec.Verify(s.o.Trust(), read); err == nil {
			s.t.Error("a changed file verifies")
		}
		if w, err := attest.DecodeWrapped(read.Wrap); err == nil && s.opens(read, w) {
			s.t.Error("B opens a changed file of A's")
		}
	}
}

func clock() tpm2.TPMSClockInfo { return tpm2.TPMSClockInfo{Clock: 1, Safe: true} }

// mustKey is the key in a TPMT_PUBLIC.
func mustKey(t testing.TB, area []byte) *ecdsa.PublicKey {
	t.Helper()
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](area)
	if err != nil {
		t.Fatal(err)
	}
	key, err := tpm2.Pub(*public)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PublicKey)
}
