package wire

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func digests(n int) []RevokedKey {
	list := make([]RevokedKey, n)
	for i := range list {
		list[i] = RevokedKey{Key: capability.Digest{byte(i), 1}, Since: 1 << 40}
	}
	return list
}

// A chain fits a frame with the longest name and the most revoked keys that a root may sign.
func TestChainWithRevokedKeysFitsAFrame(t *testing.T) {
	p := newProducer(t, 1)
	certify := func(n int) []byte {
		b, err := p.c.CertifyKey(p.root, &KeyCertificate{Keys: p.key.Public, Name: strings.Repeat("n", MaxKeyName), From: 1 << 40, Until: 1 << 41, Number: 1 << 40, Revoked: digests(n), Limits: capability.Digest{1}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	appliance, err := p.c.CertifyAppliance(p.key, &ApplianceCertificate{Host: host(7), AK: make([]byte, 512), Serial: 1 << 40, From: 1 << 40, Until: 1 << 41})
	if err != nil {
		t.Fatal(err)
	}
	// AK, Quoted and Signature at their bounds.
	ch := Chain{Key: certify(MaxRevokedKeys), Appliance: appliance, Serving: make([]byte, 32), Statement: make([]byte, 512+128+20)}
	if n := len(p.c.Frame(MessageChain, &ch)); n > capability.MaxFrame+4 {
		t.Errorf("a chain of %d bytes where a frame has %d", n, capability.MaxFrame)
	}
	if _, err := p.c.SigningKey(p.trust, ch.Key); err != nil {
		t.Error(err)
	}
	if _, err := p.c.SigningKey(p.trust, certify(MaxRevokedKeys+1)); !errors.Is(err, ErrMalformed) {
		t.Errorf("%d revoked keys: %v", MaxRevokedKeys+1, err)
	}
}

func TestLearn(t *testing.T) {
	a, b, c := capability.Digest{1}, capability.Digest{2}, capability.Digest{3}
	known := Learn(nil, &KeyCertificate{Revoked: []RevokedKey{{Key: c}, {Key: a}}})
	if !slices.Equal(known, []capability.Digest{a, c}) {
		t.Fatalf("%.1x", known)
	}
	more := Learn(known, &KeyCertificate{Revoked: []RevokedKey{{Key: a}, {Key: b}}})
	if !slices.Equal(more, []capability.Digest{a, b, c}) || !slices.Equal(known, []capability.Digest{a, c}) {
		t.Errorf("%.1x, and what was known before is %.1x", more, known)
	}
	if again := Learn(more, &KeyCertificate{}); !slices.Equal(again, more) {
		t.Errorf("an empty list leaves %.1x", again)
	}
}

// half signs as a token does, or as one that is broken or another's.
type half struct {
	ed25519.PrivateKey
	spoil func([]byte) ([]byte, error)
}

func (h half) Sign(r io.Reader, message []byte, o crypto.SignerOpts) ([]byte, error) {
	sig, err := h.PrivateKey.Sign(r, message, o)
	if err != nil || h.spoil == nil {
		return sig, err
	}
	return h.spoil(sig)
}

// A key whose Ed25519 half is elsewhere makes the same bytes as a whole one, and nothing where that half errs.
func TestSplitKey(t *testing.T) {
	s := seed(3)
	whole, err := NewProducerKey(s)
	if err != nil {
		t.Fatal(err)
	}
	ed := ed25519.NewKeyFromSeed(s[:ed25519.SeedSize])
	c := New()
	gone := errors.New("pulled out")
	for name, row := range map[string]struct {
		spoil func([]byte) ([]byte, error)
		want  error
	}{
		"good":    {nil, nil},
		"absent":  {func([]byte) ([]byte, error) { return nil, gone }, gone},
		"short":   {func(b []byte) ([]byte, error) { return b[:63], nil }, ErrSignature},
		"empty":   {func([]byte) ([]byte, error) { return nil, nil }, ErrSignature},
		"another": {func(b []byte) ([]byte, error) { return flip(b, 5), nil }, ErrSignature},
	} {
		k, err := NewSplitKey(half{ed, row.spoil}, s[ed25519.SeedSize:])
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.CertifyKey(k, &KeyCertificate{Keys: whole.Public})
		if !errors.Is(err, row.want) || row.want != nil && got != nil {
			t.Errorf("%s: %v, %d bytes", name, err, len(got))
		}
		if want, _ := c.CertifyKey(whole, &KeyCertificate{Keys: whole.Public}); row.want == nil && string(got) != string(want) {
			t.Errorf("%s: other bytes than the whole key's", name)
		}
	}
	if _, err := NewSplitKey(half{ed, nil}, s[:31]); err == nil {
		t.Error("31 bytes of chance make a key")
	}
}

// Releases are compared by number, whatever is missing at the end.
func TestCompareReleases(t *testing.T) {
	order := []string{"", "0.0", "0.1", "0.2", "0.10", "1.0.0.1", "1.0.1", "2026.1", "2026.1.0.1", "2026.2", "99999.0"}
	for i, a := range order {
		for j, b := range order {
			if got := CompareReleases(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%q and %q: %d", a, b, got)
			}
		}
	}
	if CompareReleases("1.0", "1.0.0") != 0 {
		t.Error("what is missing at the end is not zero")
	}
}
