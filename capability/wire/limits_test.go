package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A frame of the largest size is read, one byte more is refused before it is.
func TestLargestFrame(t *testing.T) {
	c := New()
	body := func(n int) []byte { return c.Encode(make([]byte, n-5)) } // array head, kind, and a length of two bytes with its head
	frame := c.Frame(MessageRequest, rawItem(body(capability.MaxFrame)))
	if n := binary.BigEndian.Uint32(frame); n != capability.MaxFrame {
		t.Fatalf("the test's frame has %d bytes", n)
	}
	if _, _, err := c.ReadFrame(bytes.NewReader(frame)); err != nil {
		t.Error(err)
	}
	frame = c.Frame(MessageRequest, rawItem(body(capability.MaxFrame+1)))
	r := bytes.NewReader(frame)
	if _, _, err := c.ReadFrame(r); !errors.Is(err, ErrSize) || r.Len() != len(frame)-4 {
		t.Errorf("%d bytes are left: %v", r.Len(), err)
	}
	if _, _, err := c.DecodeMessage(frame[4:]); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

// A request file of the largest size is written and read, one byte more neither.
func TestLargestFile(t *testing.T) {
	c := New()
	sign := func(capability.Digest) ([]byte, error) { return []byte("evidence"), nil }
	request := func(n int) *capability.Request {
		return &capability.Request{Version: 1, Hosts: []hostid.ID{host(7)}, Correlation: correlation(), Records: []capability.Record{{Number: 1, Body: bytes.Repeat([]byte{1}, n)}}}
	}
	small, _, err := c.SignRequest(request(1<<19), AlgTPMQuote, KeyID{1}, sign)
	if err != nil {
		t.Fatal(err)
	}
	fits := 1<<19 + capability.MaxFile - len(small)
	file, digest, err := c.SignRequest(request(fits), AlgTPMQuote, KeyID{1}, sign)
	if err != nil || len(file) != capability.MaxFile {
		t.Fatalf("%d bytes: %v", len(file), err)
	}
	if s, err := c.ReadRequest(file); err != nil || s.Digest != digest {
		t.Error(err)
	}
	if _, _, err := c.SignRequest(request(fits+1), AlgTPMQuote, KeyID{1}, sign); !errors.Is(err, ErrSize) {
		t.Errorf("written: %v", err)
	}
	if _, err := c.ReadRequest(append(file, 0)); !errors.Is(err, ErrSize) {
		t.Errorf("read: %v", err)
	}

	p := newProducer(t, 1)
	response := func(n int) *capability.Response {
		r := &capability.Response{Version: 1, For: host(7), Time: 5000, Lifetime: 1}
		r.Boot.Key = bytes.Repeat([]byte{1}, n)
		return r
	}
	small, err = p.c.SealResponse(p.key, p.certificate, response(1<<19), []byte("wrap"), make([]byte, ContentKeySize))
	if err != nil {
		t.Fatal(err)
	}
	fits = 1<<19 + capability.MaxFile - len(small)
	file, err = p.c.SealResponse(p.key, p.certificate, response(fits), []byte("wrap"), make([]byte, ContentKeySize))
	if err != nil || len(file) != capability.MaxFile {
		t.Fatalf("%d bytes: %v", len(file), err)
	}
	if _, err := p.c.ReadResponse(file); err != nil {
		t.Error(err)
	}
	if _, err := p.c.SealResponse(p.key, p.certificate, response(fits+1), []byte("wrap"), make([]byte, ContentKeySize)); !errors.Is(err, ErrSize) {
		t.Errorf("written: %v", err)
	}
}

// The decoder's own bounds, each at its value and one above.
func TestDecoderBounds(t *testing.T) {
	c := New()
	nested := func(n int) []byte { return append(bytes.Repeat([]byte{0x81}, n-1), 0x80) }
	array := func(n int) []byte { return c.Encode(make([]smallNumber, n)) }
	pairs := func(n int) []byte {
		m := map[int]int{}
		for i := range n {
			m[i] = i + 1
		}
		return c.Encode(m)
	}
	for name, b := range map[string]struct {
		most int
		make func(int) []byte
	}{
		"nesting":  {maxNesting, nested},
		"elements": {maxElements, array},
		"pairs":    {maxPairs, pairs},
	} {
		var v any
		if err := c.Decode(b.make(b.most), &v, capability.MaxFile); err != nil {
			t.Errorf("%s: %d: %v", name, b.most, err)
		}
		if err := c.Decode(b.make(b.most+1), &v, capability.MaxFile); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %d: %v", name, b.most+1, err)
		}
	}
	good := c.Encode("abc")
	var s string
	if c.Decode(good, &s, len(good)) != nil || c.Decode(good, &s, len(good)-1) == nil {
		t.Error("the limit of Decode is not where it says")
	}
}

// smallNumber keeps an array of small numbers from being a byte string.
type smallNumber uint16

// A protected header of 256 bytes is looked at, one of 257 is not: what is wrong with the first is its type.
func TestHeaderBound(t *testing.T) {
	c := New()
	envelope := func(n int) []byte {
		h := c.Encode(header{Alg: AlgEd25519, KID: KeyID{1}, Typ: strings.Repeat("x", 100)})
		h = c.Encode(header{Alg: AlgEd25519, KID: KeyID{1}, Typ: strings.Repeat("x", 100+n-len(h))})
		if len(h) != n {
			t.Fatalf("a header of %d bytes where %d are wanted", len(h), n)
		}
		return c.Encode(sign1{Protected: h, Payload: ptr([]byte{1})})
	}
	if _, _, err := c.open(envelope(maxHeader), TypKey, capability.MaxFile, AlgEd25519); !errors.Is(err, ErrType) {
		t.Error(err)
	}
	if _, _, err := c.open(envelope(maxHeader+1), TypKey, capability.MaxFile, AlgEd25519); !errors.Is(err, ErrMalformed) || errors.Is(err, ErrType) {
		t.Error(err)
	}
}

// Certificates are bounded, evidence is bounded, keys have their length.
func TestOtherBounds(t *testing.T) {
	p := newProducer(t, 1)
	certificate := func(n int) []byte {
		name := strings.Repeat("n", 1<<15)
		for {
			b, err := p.c.CertifyKey(p.root, &KeyCertificate{Keys: p.key.Public, Name: name, From: 1000, Until: 9000})
			if err != nil {
				t.Fatal(err)
			}
			if len(b) == n {
				return b
			}
			name = strings.Repeat("n", len(name)+n-len(b))
		}
	}
	if _, err := p.c.openTwice(certificate(capability.MaxSigned), TypKey, capability.MaxSigned); err != nil {
		t.Error(err)
	}
	if _, err := p.c.SigningKey(p.trust, certificate(capability.MaxSigned+1)); !errors.Is(err, ErrMalformed) || strings.Contains(err.Error(), "name") {
		t.Error(err)
	}
	for n, ok := range map[int]bool{0: true, capability.MaxText: true, capability.MaxText + 1: false} {
		b, err := p.c.CertifyKey(p.root, &KeyCertificate{Keys: p.key.Public, Name: strings.Repeat("n", n), From: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.c.SigningKey(p.trust, b); ok != (err == nil) || !ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("a key named by %d bytes: %v", n, err)
		}
		b = p.c.EncodeTrust(&Trust{Producer: strings.Repeat("n", n), Root: p.trust.Root})
		if _, err := p.c.DecodeTrust(b); ok != (err == nil) || !ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("a producer named by %d bytes: %v", n, err)
		}
	}
	for n, ok := range map[int]bool{0: false, 1: true, maxPublic: true, maxPublic + 1: false} {
		a := &ApplianceCertificate{Host: host(7), AK: make([]byte, n)}
		if err := a.validate(); ok != (err == nil) || !ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("an AK of %d bytes: %v", n, err)
		}
	}
	for n, ok := range map[int]bool{0: false, 1: true, maxWrap: true, maxWrap + 1: false} {
		b, err := p.c.SealResponse(p.key, p.certificate, &capability.Response{Version: 1, For: host(7), Time: 5000, Lifetime: 1}, make([]byte, n), make([]byte, ContentKeySize))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.c.ReadResponse(b); ok != (err == nil) || !ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("a wrap of %d bytes: %v", n, err)
		}
	}
	c := p.c
	for n, ok := range map[int]bool{capability.MaxQuoted: true, capability.MaxQuoted + 1: false} {
		r := capability.Request{Version: 1, Hosts: []hostid.ID{host(7)}, Correlation: correlation()}
		file, _, err := c.SignRequest(&r, AlgTPMQuote, KeyID{1}, func(capability.Digest) ([]byte, error) { return bytes.Repeat([]byte{1}, n), nil })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadRequest(file); ok != (err == nil) || !ok && !errors.Is(err, ErrMalformed) {
			t.Errorf("evidence of %d bytes: %v", n, err)
		}
	}
	for _, n := range []int{0, SeedSize - 1, SeedSize + 1} {
		if _, err := NewProducerKey(make([]byte, n)); err == nil {
			t.Errorf("a seed of %d bytes", n)
		}
	}
	for _, n := range []int{0, 16, ContentKeySize - 1, ContentKeySize + 1} {
		if _, err := c.SealResponse(p.key, p.certificate, &capability.Response{Version: 1, For: host(7), Time: 1, Lifetime: 1}, nil, make([]byte, n)); err == nil {
			t.Errorf("a content key of %d bytes", n)
		}
	}
}
