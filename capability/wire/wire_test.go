package wire

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// seed is fixed chance for keys in tests.
func seed(n byte) []byte { return bytes.Repeat([]byte{n}, SeedSize) }

type producer struct {
	c           *Codec
	root, key   *ProducerKey
	trust       *Trust
	certificate []byte
}

func newProducer(t testing.TB, n byte) *producer {
	t.Helper()
	p := &producer{c: New()}
	var err error
	if p.root, err = NewProducerKey(seed(n)); err != nil {
		t.Fatal(err)
	}
	if p.key, err = NewProducerKey(seed(n + 1)); err != nil {
		t.Fatal(err)
	}
	p.trust = &Trust{Producer: "Example Works", Root: p.root.Public}
	if p.certificate, err = p.c.CertifyKey(p.root, &KeyCertificate{Keys: p.key.Public, Name: "producer-2026-A", From: 1000, Until: 9000}); err != nil {
		t.Fatal(err)
	}
	return p
}

func host(n int) hostid.ID { return hostid.ID{Type: hostid.TPMEK, Value: fmt.Sprintf("%064X", n)} }

func (p *producer) response(t testing.TB, r *capability.Response) []byte {
	t.Helper()
	file, err := p.c.SealResponse(p.key, p.certificate, r, []byte("wrap"), seed(9)[:ContentKeySize])
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestResponseOpensAndNothingElseDoes(t *testing.T) {
	p := newProducer(t, 1)
	want := &capability.Response{Version: 1, For: host(7), Serial: 3, Time: 5000, Lifetime: 600, Request: capability.Digest{1}, Number: 2}
	file := p.response(t, want)
	s, err := p.c.ReadResponse(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.c.Verify(p.trust, s); err != nil {
		t.Fatal(err)
	}
	got, err := p.c.Open(s, seed(9)[:ContentKeySize])
	if err != nil || got.Serial != 3 || s.Clear.ApplyBefore != 5600 {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := p.c.Open(s, seed(8)[:ContentKeySize]); !errors.Is(err, ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	if _, _, err := p.c.Verify(newProducer(t, 5).trust, s); !errors.Is(err, ErrOtherProducer) {
		t.Errorf("another producer: %v", err)
	}
	for _, i := range places(t, s, file) {
		bad := bytes.Clone(file)
		bad[i] ^= 0x10
		s, err := p.c.ReadResponse(bad)
		if err != nil {
			continue
		}
		if _, _, err := p.c.Verify(p.trust, s); err == nil {
			t.Errorf("byte %d flipped: accepted", i)
		}
	}
	for n := range len(file) {
		if _, err := p.c.ReadResponse(file[:n]); !errors.Is(err, ErrCut) && n > 0 {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	t.Logf("a response without rights has %d bytes, a key certificate %d", len(file), len(p.certificate))
}

// places are the bytes of a response file to flip: each one outside of ML-DSA's long keys and signatures, and of those the ends and every 97th.
// With LEASEHOLD_LONG=1 it is each one.
func places(t *testing.T, s *SealedResponse, file []byte) (list []int) {
	t.Helper()
	certificate, err := New().openTwice(s.certificate, TypKey, capability.MaxSigned)
	if err != nil {
		t.Fatal(err)
	}
	var k KeyCertificate
	if err := New().Decode(certificate.payload, &k, capability.MaxSigned); err != nil {
		t.Fatal(err)
	}
	skip := map[int]bool{}
	for _, long := range [][]byte{s.twice.outer.Signature, certificate.outer.Signature, k.Keys.MLDSA87} {
		at := bytes.Index(file, long)
		if at < 0 {
			t.Fatal("a long part is not in the file")
		}
		for i := 1; i < len(long)-1; i++ {
			skip[at+i] = i%97 != 0
		}
	}
	for i := range file {
		if !skip[i] || os.Getenv("LEASEHOLD_LONG") != "" {
			list = append(list, i)
		}
	}
	return list
}

// A file without a lifetime would be too late the moment it is made, so it is not made.
func TestResponseNeedsALifetime(t *testing.T) {
	p := newProducer(t, 1)
	r := &capability.Response{Version: 1, For: host(7), Serial: 3, Time: 5000}
	if _, err := p.c.SealResponse(p.key, p.certificate, r, nil, seed(9)[:ContentKeySize]); err == nil {
		t.Error("made")
	}
	r.Lifetime = 1
	if _, err := p.c.SealResponse(p.key, p.certificate, r, nil, seed(9)[:ContentKeySize]); err != nil {
		t.Error(err)
	}
}

// Another valid certificate for the same key makes another file of the same response: it is still the same response.
func TestResponseIsNamedByWhatIsSigned(t *testing.T) {
	p := newProducer(t, 1)
	r := &capability.Response{Version: 1, For: host(7), Serial: 3, Time: 5000, Lifetime: 60}
	a, err := p.c.ReadResponse(p.response(t, r))
	if err != nil {
		t.Fatal(err)
	}
	if p.certificate, err = p.c.CertifyKey(p.root, &KeyCertificate{Keys: p.key.Public, Name: "renewed", From: 1000}); err != nil {
		t.Fatal(err)
	}
	b, err := p.c.ReadResponse(p.response(t, r))
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest != b.Digest {
		t.Error("two digests of one response")
	}
	r.Serial++
	if b, err = p.c.ReadResponse(p.response(t, r)); err != nil || a.Digest == b.Digest {
		t.Errorf("one digest of two responses, %v", err)
	}
}

func TestAnswerProvesItselfAlone(t *testing.T) {
	c := New()
	key := ed25519.NewKeyFromSeed(seed(3)[:32])
	pub := key.Public().(ed25519.PublicKey)
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 31, 33, 70} {
		var responses [][]byte
		for i := range n {
			responses = append(responses, c.Encode(&capability.Response{Version: 1, For: host(i), Serial: uint64(i), Time: 5000, Salt: [16]byte{byte(i), 1}}))
		}
		tree := c.SignTree(key, Grow(responses), 5000, 9)
		for i := range n {
			a := c.Answer(tree, i, responses[i])
			r, g, err := c.VerifyAnswer(pub, &a)
			if err != nil || r.Serial != uint64(i) || g != (Group{uint64(n), 5000, 9}) {
				t.Fatalf("answer %d of %d: %+v %+v %v", i, n, r, g, err)
			}
			a.Response = responses[(i+1)%n]
			if _, _, err := c.VerifyAnswer(pub, &a); n > 1 && err == nil {
				t.Fatalf("answer %d of %d proves its neighbor", i, n)
			}
		}
	}
}

// Who only looks at a response file, as inspect does, gets a host ID that can be shown.
func TestClearPartIsInForm(t *testing.T) {
	p := newProducer(t, 1)
	for value, ok := range map[string]bool{"A": true, "": false, "\x1b[2J": false} {
		b, err := p.c.signTwice(p.key, TypResponse, p.c.Encode(sealed{Clear: Clear{For: hostid.ID{Type: hostid.TPMEK, Value: value}, Time: 1, ApplyBefore: 1}, Wrap: []byte{1}, Cipher: []byte{1}}), unprotected{Certificate: p.certificate})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.c.ReadResponse(append(responseMagic(), b...)); ok != (err == nil) || !ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestChain(t *testing.T) {
	p := newProducer(t, 1)
	ac, err := p.c.CertifyAppliance(p.key, &ApplianceCertificate{Host: host(7), AK: []byte("ak"), Serial: 1, From: 5000})
	if err != nil {
		t.Fatal(err)
	}
	ch := &Chain{Key: p.certificate, Appliance: ac, Serving: seed(4)[:32], Statement: bytes.Repeat([]byte{1}, 400)}
	yes := func(ak, statement, serving []byte) error { return nil }
	if _, err := p.c.VerifyChain(p.trust, ch, yes); err != nil {
		t.Fatal(err)
	}
	if n := len(p.c.Frame(MessageChain, ch)); n > capability.MaxFrame {
		t.Errorf("a chain of %d bytes does not fit a frame", n)
	} else {
		t.Logf("a chain has %d bytes", n)
	}
	if _, err := p.c.VerifyChain(p.trust, ch, func(a, b, c []byte) error { return errors.New("no") }); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
	if _, err := p.c.VerifyChain(newProducer(t, 5).trust, ch, yes); !errors.Is(err, ErrOtherProducer) {
		t.Error(err)
	}
}

func TestRefusedIsThirtyTwoBytes(t *testing.T) {
	if n := len(New().Refused()); n != 32 {
		t.Errorf("%d bytes", n)
	}
}
