package attest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

func TestTierOf(t *testing.T) {
	a, err := tpmtest.TheAuthority()
	must(t, err)
	forger, err := tpmtest.NewAuthority()
	must(t, err)
	pool, err := tpmtest.Roots()
	must(t, err)
	other := x509.NewCertPool()
	other.AddCert(forger.Certificate)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f := newForger(t)
	for _, c := range []struct {
		name   string
		by     *tpmtest.Authority
		change func(*x509.Certificate)
		roots  attest.Roots
		at     time.Time
		want   attest.Tier
	}{
		{"hardware", a, nil, attest.Roots{Hardware: pool}, now, attest.Hardware},
		{"virtual", a, nil, attest.Roots{Hardware: other, Virtual: pool}, now, attest.Virtual},
		{"in both pools", a, nil, attest.Roots{Hardware: pool, Virtual: pool}, now, attest.Hardware},
		{"no roots", a, nil, attest.Roots{}, now, attest.Software},
		{"unknown authority", forger, nil, attest.Roots{Hardware: pool, Virtual: pool}, now, attest.Software},
		{"before its time", a, nil, attest.Roots{Hardware: pool}, time.Date(2019, 1, 1, 0, 0, 0, 0, time.UTC), attest.Software},
		{"expired", a, func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }, attest.Roots{Hardware: pool}, now, attest.Software},
		{"no usage", a, func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil }, attest.Roots{Hardware: pool}, now, attest.Software},
		{"platform certificate's usage", a, func(c *x509.Certificate) {
			c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{2, 23, 133, 8, 2}}
		}, attest.Roots{Hardware: pool}, now, attest.Software},
		{"any usage", a, func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		}, attest.Roots{Hardware: pool}, now, attest.Software},
		{"an authority", a, func(c *x509.Certificate) { c.IsCA = true }, attest.Roots{Hardware: pool}, now, attest.Software},
		{"another critical extension", a, func(c *x509.Certificate) {
			c.ExtraExtensions[0].Id = asn1.ObjectIdentifier{1, 2, 3, 4}
		}, attest.Roots{Hardware: pool}, now, attest.Software},
	} {
		der, err := c.by.Certify(&f.ek.PublicKey, c.change)
		must(t, err)
		f.certificates = [][]byte{der}
		id, err := attest.Verify(f.evidence(attest.Request, data(), nil), attest.Request, data())
		must(t, err)
		tier, err := attest.TierOf(id, c.roots, c.at)
		if tier != c.want || (err == nil) != (c.want != attest.Software) {
			t.Errorf("%s: %v, %v, want %v", c.name, tier, err, c.want)
		}
	}
	if tier, err := attest.TierOf(&attest.Identity{}, attest.Roots{Hardware: pool}, now); tier != attest.Software || err != nil {
		t.Errorf("no certificate: %v, %v", tier, err)
	}
	// A self-signed one.
	template := &x509.Certificate{SerialNumber: a.Certificate.SerialNumber, NotBefore: a.Certificate.NotBefore, NotAfter: a.Certificate.NotAfter,
		Subject: a.Certificate.Subject, UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &f.ek.PublicKey, f.ek)
	must(t, err)
	f.certificates = [][]byte{der}
	id, err := attest.Verify(f.evidence(attest.Request, data(), nil), attest.Request, data())
	must(t, err)
	if tier, err := attest.TierOf(id, attest.Roots{Hardware: pool, Virtual: pool}, now); tier != attest.Software || err == nil {
		t.Errorf("self-signed under the authority's name: %v, %v", tier, err)
	}
}

func TestWrap(t *testing.T) {
	a, err := tpmtest.TheAuthority()
	must(t, err)
	f := newForger(t)
	id, err := attest.Verify(f.evidence(attest.Request, data(), nil), attest.Request, data())
	must(t, err)
	for n := range 65 {
		w, err := attest.Wrap(rand.Reader, id, make([]byte, n))
		if (err == nil) != (n == attest.KeyBytes) {
			t.Errorf("wrap %d bytes: %v, %v", n, w, err)
		}
	}
	w, err := attest.Wrap(rand.Reader, id, make([]byte, attest.KeyBytes))
	must(t, err)
	if w.RSA.Present() || w.HostID != id.HostID || len(w.Encode()) > 250 {
		t.Errorf("wrapped to the P-256 key alone: %d bytes, %+v", len(w.Encode()), w)
	}
	// Randomness that ends is an error, never a weaker key. (ECDH keys are drawn
	// from the system whatever the reader.)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	der, err := a.Certify(&key.PublicKey, nil)
	must(t, err)
	f.certificates = [][]byte{der}
	id, err = attest.Verify(f.evidence(attest.Request, data(), nil), attest.Request, data())
	must(t, err)
	if w, err := attest.Wrap(io.LimitReader(rand.Reader, 31), id, make([]byte, attest.KeyBytes)); err == nil {
		t.Errorf("wrap with 31 random bytes: %v", w)
	}
	w, err = attest.Wrap(rand.Reader, id, make([]byte, attest.KeyBytes))
	must(t, err)
	if n := len(w.Encode()); !w.RSA.Present() || n > attest.MaxWrappedBytes {
		t.Errorf("wrapped to both keys: %d bytes, %+v", n, w)
	}
	// Who builds an identity by hand gets no weaker wrap.
	for name, spoil := range map[string]func(*attest.Identity){
		"no EK":            func(i *attest.Identity) { i.EK = nil },
		"no AK":            func(i *attest.Identity) { i.AK = nil },
		"EK as AK":         func(i *attest.Identity) { i.AK = i.EK },
		"RSA twice":        func(i *attest.Identity) { i.EKCertificates = append(i.EKCertificates, i.EKCertificates[0]) },
		"another EK's own": func(i *attest.Identity) { i.EKCertificates = []*x509.Certificate{a.Certificate} },
	} {
		bad := *id
		spoil(&bad)
		if w, err := attest.Wrap(rand.Reader, &bad, make([]byte, attest.KeyBytes)); err == nil {
			t.Errorf("%s: %v", name, w)
		}
	}
}

// signer is a crypto.Signer that answers as it likes.
type signer struct {
	public crypto.PublicKey
	sign   func(digest []byte) ([]byte, error)
}

func (s signer) Public() crypto.PublicKey { return s.public }
func (s signer) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return s.sign(digest)
}

func TestSignState(t *testing.T) {
	key := newKey(t)
	ref, pcrs := []byte("product"), bytes.Repeat([]byte{3}, 96)
	k := attest.BootKey{Public: &key.PublicKey, Ref: ref}
	s, err := attest.SignState(rand.Reader, key, ref, pcrs)
	must(t, err)
	must(t, k.Verify(s))
	for _, bad := range []struct {
		name string
		k    attest.BootKey
		s    attest.SignedState
	}{
		{"another reference", attest.BootKey{Public: k.Public, Ref: []byte("other")}, *s},
		{"another key", attest.BootKey{Public: &newKey(t).PublicKey, Ref: ref}, *s},
		{"no key", attest.BootKey{Ref: ref}, *s},
		{"other PCRs", k, attest.SignedState{PCRs: make([]byte, 96), Signature: s.Signature}},
		{"too few PCRs", k, attest.SignedState{PCRs: pcrs[:95], Signature: s.Signature}},
		{"short signature", k, attest.SignedState{PCRs: pcrs, Signature: s.Signature[:63]}},
		{"no signature", k, attest.SignedState{PCRs: pcrs}},
	} {
		if err := bad.k.Verify(&bad.s); err == nil {
			t.Errorf("%s: accepted", bad.name)
		}
	}
	whole := s.Encode()
	for i := range whole {
		forged := bytes.Clone(whole)
		forged[i] ^= 1
		if s, err := attest.DecodeSignedState(forged); err == nil && k.Verify(s) == nil {
			t.Errorf("byte %d flipped: accepted", i)
		}
	}

	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	for name, key := range map[string]crypto.Signer{
		"P-384": p384, "Ed25519": edwards,
		"a token that fails": signer{&key.PublicKey, func([]byte) ([]byte, error) { return nil, errors.New("no PIN") }},
		"a token that lies":  signer{&key.PublicKey, func([]byte) ([]byte, error) { return p384.Sign(rand.Reader, make([]byte, 32), crypto.SHA256) }},
		"a token with noise": signer{&key.PublicKey, func([]byte) ([]byte, error) { return []byte("noise"), nil }},
		"a token with left over": signer{&key.PublicKey, func(d []byte) ([]byte, error) {
			b, err := key.Sign(rand.Reader, d, crypto.SHA256)
			return append(b, 0), err
		}},
		"a token of another key":  signer{&key.PublicKey, func(d []byte) ([]byte, error) { return newKey(t).Sign(rand.Reader, d, crypto.SHA256) }},
		"a token that signs zero": signer{&key.PublicKey, func([]byte) ([]byte, error) { return []byte{0x30, 6, 2, 1, 0, 2, 1, 0}, nil }},
	} {
		if _, err := attest.SignState(rand.Reader, key, ref, pcrs); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	for _, n := range []int{0, 95, 97} {
		if _, err := attest.SignState(rand.Reader, key, ref, make([]byte, n)); err == nil {
			t.Errorf("%d bytes of PCRs: signed", n)
		}
	}
	if _, err := attest.SignState(rand.Reader, key, make([]byte, attest.MaxRefBytes), pcrs); err != nil {
		t.Errorf("the longest reference: %v", err)
	}
	if _, err := attest.SignState(rand.Reader, key, make([]byte, attest.MaxRefBytes+1), pcrs); err == nil {
		t.Error("a longer reference: signed")
	}
}

func TestJudge(t *testing.T) {
	wall := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const slack = time.Minute
	mark := attest.Mark{Wall: wall, Max: wall.Add(time.Hour), Clock: attest.Clock{Elapsed: 10 * time.Hour, Resets: 5, Restarts: 2}}
	clock := func(elapsed time.Duration, resets, restarts uint32) attest.Clock {
		return attest.Clock{Elapsed: elapsed, Resets: resets, Restarts: restarts}
	}
	const h = time.Hour
	for _, c := range []struct {
		name string
		now  time.Duration // after wall
		at   attest.Clock
		want attest.Verdict
	}{
		{"one pace", 10 * h, clock(20*h, 5, 2), attest.OK},
		{"oscillator slow by 13%", 10*h + 10*time.Minute, clock(19*h, 5, 2), attest.OK},
		{"fewer resets", 10 * h, clock(20*h, 4, 2), attest.Replaced},
		{"fewer resets and all else later", 100 * h, clock(100*h, 4, 9), attest.Replaced},
		{"fewer restarts", 10 * h, clock(20*h, 5, 1), attest.Replaced},
		{"fewer restarts after a reset", 10 * h, clock(20*h, 6, 0), attest.OK},
		{"clock back within a power cycle", 10 * h, clock(9*h, 5, 2), attest.Replaced},
		{"clock back over a restart", 10 * h, clock(9*h, 5, 3), attest.Replaced},
		{"cleared", 10 * h, clock(0, 0, 0), attest.Replaced},
		{"clock back over a power cut", 10 * h, clock(9*h, 6, 0), attest.Unsafe},
		{"the same, and now at the latest seen", 59 * time.Minute, clock(9*h, 6, 0), attest.Unsafe},
		{"the same, and now before the latest seen", 58 * time.Minute, clock(9*h, 6, 0), attest.WindBack},
		{"now within slack of the latest seen", 59 * time.Minute, clock(11*h, 5, 2), attest.OK},
		{"now before the latest seen", 59*time.Minute - 1, clock(11*h, 5, 2), attest.WindBack},
		{"off for a year", 8760 * h, clock(10*h, 6, 0), attest.OK},
		{"suspended for a year", 8760 * h, clock(10*h, 5, 3), attest.OK},
		{"wall at 85% less slack", 85*h - slack, clock(110*h, 6, 0), attest.OK},
		{"wall below 85% less slack", 85*h - slack - 1, clock(110*h, 6, 0), attest.WindBack},
		{"wall at 115% and slack", 115*h + slack, clock(110*h, 5, 2), attest.OK},
		{"wall above 115% and slack", 115*h + slack + 1, clock(110*h, 5, 2), attest.Ahead},
		{"the same over a power cycle", 115*h + slack + 1, clock(110*h, 6, 2), attest.OK},
		{"longest clock", 10 * h, clock(math.MaxInt64, 6, 0), attest.WindBack},
	} {
		if got := mark.Judge(wall.Add(c.now), c.at, slack); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got := (attest.Mark{}).Judge(wall, clock(math.MaxInt64, 0, 0), slack); got != attest.OK && got != attest.WindBack {
		t.Errorf("longest clock against an empty mark: %v", got)
	}
	if got := attest.NewClock(math.MaxUint64, 0, 0, false).Elapsed; got <= 0 {
		t.Errorf("the longest clock is %v", got)
	}
}

func TestStrings(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{attest.Hardware.String(), "hardware"}, {attest.Virtual.String(), "virtual"}, {attest.Software.String(), "software"}, {attest.Tier(9).String(), "tier 9"},
		{attest.OK.String(), "ok"}, {attest.Unsafe.String(), "unsafe"}, {attest.WindBack.String(), "wind-back"},
		{attest.Ahead.String(), "ahead"}, {attest.Replaced.String(), "replaced"}, {attest.Verdict(9).String(), "verdict 9"},
		{attest.HostID{0xab}.String(), "ab" + strings.Repeat("0", 62)},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// TestCodec: one encoding, bounded, nothing left over, and no kind passes as another.
func TestCodec(t *testing.T) {
	f := newForger(t)
	f.certificates = [][]byte{[]byte("one"), []byte("two")} // no decoder judges them
	e := f.evidence(attest.Request, data(), nil)
	p := f.counter(7, 9, data(), nil)
	w := &attest.Wrapped{HostID: attest.HostID{1}, P256: attest.Credential{Blob: []byte("blob"), Secret: []byte("secret")}}
	s := &attest.SignedState{PCRs: make([]byte, 96), Signature: make([]byte, 64)}
	decoders := map[string]func([]byte) ([]byte, error){
		"evidence":     func(b []byte) ([]byte, error) { return again(attest.DecodeEvidence(b)) },
		"epoch proof":  func(b []byte) ([]byte, error) { return again(attest.DecodeEpochProof(b)) },
		"wrapped key":  func(b []byte) ([]byte, error) { return again(attest.DecodeWrapped(b)) },
		"signed state": func(b []byte) ([]byte, error) { return again(attest.DecodeSignedState(b)) },
	}
	limits := map[string]int{"evidence": attest.MaxEvidenceBytes, "epoch proof": attest.MaxEpochProofBytes, "wrapped key": attest.MaxWrappedBytes, "signed state": attest.SignedStateBytes}
	for kind, b := range map[string][]byte{"evidence": e.Encode(), "epoch proof": p.Encode(), "wrapped key": w.Encode(), "signed state": s.Encode()} {
		for name, decode := range decoders {
			got, err := decode(b)
			if name == kind && (err != nil || !bytes.Equal(got, b)) {
				t.Errorf("%s: %x, %v, want %x", kind, got, err, b)
			}
			if name != kind && err == nil {
				t.Errorf("%s decodes as %s", kind, name)
			}
		}
		for n := range b {
			if _, err := decoders[kind](b[:n]); err == nil {
				t.Errorf("%s: the first %d bytes of %d decode", kind, n, len(b))
			}
		}
		if _, err := decoders[kind](append(bytes.Clone(b), 0)); err == nil {
			t.Errorf("%s: decodes with a byte left over", kind)
		}
		if _, err := decoders[kind](make([]byte, limits[kind]+1)); err == nil || !strings.Contains(err.Error(), "at most") {
			t.Errorf("%s of %d bytes: %v", kind, limits[kind]+1, err)
		}
		future := bytes.Clone(b)
		future[0] |= 0x0f
		if _, err := decoders[kind](future); err == nil || !strings.Contains(err.Error(), "format") {
			t.Errorf("%s of the next version: %v", kind, err)
		}
	}
	// Evidence with an event log has a format of its own, which an empty log has not.
	e.EventLog = []byte("log")
	b := e.Encode()
	if got, err := decoders["evidence"](b); err != nil || !bytes.Equal(got, b) || b[0] != 0x12 || !bytes.HasSuffix(b, []byte("\x00\x03log")) {
		t.Errorf("evidence with a log: %x, %v", b, err)
	}
	for n := range b {
		if _, err := attest.DecodeEvidence(b[:n]); err == nil {
			t.Errorf("evidence with a log: the first %d bytes of %d decode", n, len(b))
		}
	}
	if _, err := attest.DecodeEvidence(append(bytes.Clone(b[:len(b)-5]), 0, 0)); err == nil {
		t.Error("evidence with an empty log decodes")
	}
	e.EventLog = make([]byte, attest.MaxEventLogBytes)
	if got, err := attest.DecodeEvidence(e.Encode()); err != nil || len(got.EventLog) != attest.MaxEventLogBytes {
		t.Errorf("evidence with the longest log: %v", err)
	}
	e.EventLog = append(e.EventLog, 0)
	if id, err := attest.Verify(e, attest.Request, data()); err == nil || !strings.Contains(err.Error(), "event log") {
		t.Errorf("a log too long: %v, %v", id, err)
	}
	// The first bytes of each, one by one.
	if got := p.Encode()[:7]; !bytes.Equal(got, []byte{
		0x21,       // epoch proof, version 1
		0, 0, 0, 7, // index
		0, byte(len(p.Certified)), // length of what follows
	}) {
		t.Errorf("epoch proof starts with %x", got)
	}
	if got, want := w.Encode()[:37], append(append([]byte{
		0x31, // wrapped key, version 1
	}, append([]byte{1}, make([]byte, 31)...)...), // host ID
		0, 4, 'b', 'l', // P256.Blob
	); !bytes.Equal(got, want) {
		t.Errorf("wrapped key starts with %x, want %x", got, want)
	}
	// At the limit an item is still read.
	at := &attest.Wrapped{P256: attest.Credential{Blob: make([]byte, attest.MaxWrappedBytes-1-32-8)}}
	if _, err := attest.DecodeWrapped(at.Encode()); err != nil {
		t.Errorf("wrapped key of %d bytes: %v", len(at.Encode()), err)
	}
}

func again[T interface{ Encode() []byte }](v T, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return v.Encode(), nil
}

func fuzzCodec[T interface{ Encode() []byte }](f *testing.F, decode func([]byte) (T, error), seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := again(decode(b)); err == nil && !bytes.Equal(got, b) {
			t.Errorf("%x is encoded again as %x", b, got)
		}
	})
}

func FuzzEvidence(f *testing.F) {
	fuzzCodec(f, attest.DecodeEvidence, newForger(f).evidence(attest.Request, data(), nil).Encode())
}

func FuzzEpochProof(f *testing.F) {
	fuzzCodec(f, attest.DecodeEpochProof, newForger(f).counter(1, 2, data(), nil).Encode())
}

func FuzzWrapped(f *testing.F) {
	fuzzCodec(f, attest.DecodeWrapped, (&attest.Wrapped{P256: attest.Credential{Blob: []byte("b"), Secret: []byte("s")}}).Encode())
}

func FuzzSignedState(f *testing.F) {
	fuzzCodec(f, attest.DecodeSignedState, (&attest.SignedState{PCRs: make([]byte, 96), Signature: make([]byte, 64)}).Encode())
}

// FuzzVerify: whatever comes, a verifier ends, without a panic; and what it
// accepts names the host of the key that was shown.
func FuzzVerify(f *testing.F) {
	sound := newForger(f).evidence(attest.Request, data(), nil)
	f.Add(sound.EK, sound.AK, sound.Quoted, sound.Signature, sound.PCRs, []byte{})
	f.Add(tpm2.Marshal(tpm2.RSAEKTemplate), sound.AK, sound.Quoted, sound.Signature, sound.PCRs, []byte("certificate"))
	f.Fuzz(func(t *testing.T, ek, ak, quoted, signature, pcrs, certificate []byte) {
		e := &attest.Evidence{EK: ek, AK: ak, Quoted: quoted, Signature: signature, PCRs: pcrs}
		if len(certificate) > 0 {
			e.EKCertificates = [][]byte{certificate}
		}
		if id, err := attest.Verify(e, attest.Request, data()); err == nil {
			if host, err := attest.HostIDOf(ek); err != nil || host != id.HostID || !bytes.Equal(id.AK, ak) || !bytes.Equal(id.PCRs, pcrs) {
				t.Errorf("accepted: %+v, host is %v, %v", id, host, err)
			}
		}
		_ = attest.VerifySession(ak, e, data())
		if epoch, err := attest.VerifyEpoch(&attest.EpochProof{Certified: quoted, Signature: signature}, &attest.Identity{AK: ak}, data()); err == nil {
			t.Errorf("accepted as a proof of epoch %d", epoch)
		}
	})
}
