package wire

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A machine without a TPM on paper: SPEC.md 7.4, from the specification alone.

func paperDevice(key ed25519.PrivateKey) (host hostid.ID, kid KeyID) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	d := sha256.Sum256(der)
	return hostid.ID{Type: hostid.DeviceKey, Value: strings.ToUpper(hex.EncodeToString(d[:]))}, KeyID(d[:16])
}

func paperEvidence(key ed25519.PrivateKey, box, digest []byte) []byte {
	said := slices.Concat([]byte("leasehold device request v1\x00"), box, digest)
	return slices.Concat([]byte{0x81}, key.Public().(ed25519.PublicKey), box, ed25519.Sign(key, said))
}

func judgeDevice(s *SignedRequest) error {
	b := s.Signature
	if len(b) != 129 || b[0] != 0x81 {
		return fmt.Errorf("%w: no evidence of a device key", ErrMalformed)
	}
	key := ed25519.PublicKey(b[1:33])
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return err
	}
	d := sha256.Sum256(der)
	host := hostid.ID{Type: hostid.DeviceKey, Value: strings.ToUpper(hex.EncodeToString(d[:]))}
	if s.KID != KeyID(d[:16]) || s.Request.Hosts[0] != host || !ed25519.Verify(key, slices.Concat([]byte("leasehold device request v1\x00"), b[33:65], s.Digest[:]), b[65:]) {
		return fmt.Errorf("%w: not this key's", ErrSignature)
	}
	return nil
}

// deviceFiles are request files of a machine without a TPM.
func (s *set) deviceFiles() {
	c := s.c
	key, other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x41}, 32)), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x43}, 32))
	private, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{0x42}, 32))
	if err != nil {
		s.t.Fatal(err)
	}
	box := private.PublicKey().Bytes()
	root, _, err := keyPair(s.producerKeys())
	if err != nil {
		s.t.Fatal(err)
	}
	host, kid := paperDevice(key)
	r := capability.Request{Version: 1, Hosts: []hostid.ID{host, {Type: hostid.BoardUUID, Value: "4C4C4544-0042"}}, Correlation: correlation(), Number: 1,
		Desired: []capability.Desired{{ActivationID: s.id(7), Count: 1}}, Producer: c.Fingerprint(root.Public)}
	make1 := func(r capability.Request, kid KeyID, evidence func(digest []byte) []byte) []byte {
		file, _, err := c.SignRequest(&r, AlgEd25519, kid, func(d capability.Digest) ([]byte, error) { return evidence(d[:]), nil })
		if err != nil {
			s.t.Fatal(err)
		}
		return file
	}
	honest := func(d []byte) []byte { return paperEvidence(key, box, d) }
	var evidence []byte
	make1(r, kid, func(d []byte) []byte { evidence = honest(d); return evidence })
	good := s.good("request-file", "request-file-device", "a machine without a TPM asks for one copy; the evidence is a device key's", requestFileInput{r, kid, evidence}, nil)
	s.last().Digest = s.digestOf(good)
	s.deviceRequest = capability.Digest(unhex(s.last().Digest))

	bad := func(name, expect, description string, b []byte) {
		s.bad("request-file", "request-file-device-"+name, expect, description, b, nil)
	}
	bad("payload-flipped", "signature", "one bit of an activation ID is another", s.flipIn(good, []byte("4C4C4544-0042"), 3))
	bad("signature-flipped", "signature", "one bit of the signature is another", flip(good, -1))
	bad("box-flipped", "signature", "one bit of the box key is another: whoever put his own there would read the response", s.flipIn(good, box, 3))
	bad("host-of-another", "signature", "the first host ID is another key's", func() []byte {
		o := r
		id, _ := paperDevice(other)
		o.Hosts = []hostid.ID{id}
		return make1(o, kid, honest)
	}())
	bad("host-of-tpm", "signature", "the first host ID has the type of a TPM", func() []byte {
		o := r
		o.Hosts = []hostid.ID{{Type: hostid.TPMEK, Value: host.Value}}
		return make1(o, kid, honest)
	}())
	_, foreign := paperDevice(other)
	bad("kid", "signature", "kid is another key's", make1(r, foreign, honest))
	bad("cut-evidence", "malformed", "evidence of 128 bytes", make1(r, kid, func(d []byte) []byte { return honest(d)[:128] }))
	bad("format", "malformed", "another format byte", make1(r, kid, func(d []byte) []byte { return append([]byte{0x91}, honest(d)[1:]...) }))
}

// deviceWrap is the content key of the vectors, 32 bytes 0x09, as HPKE encrypted it once to the box key of deviceFiles. It is drawn at random, so it is kept.
const deviceWrap = "530118f49a98daa7a67665aa72df9e39375c1b92ecea6bd6d4b7342044f0180ac9385627e22d3fe1ceea0d3e9b83764c0b76e6d44042069a814dd8514ea0731b69960b82c0d6ae69f22ec30d4356bf00"

// deviceResponses are what a back office answers to such a machine, and the proofs of what it gives back.
func (s *set) deviceResponses() {
	c, keys := s.c, s.producerKeys()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x41}, 32))
	host, _ := paperDevice(key)
	keys["box"] = strings.Repeat("42", 32)
	judge := judgeKeys(keys)
	delete(judge, "contentKey")
	r := s.responseContent()
	r.For, r.Request, r.Number, r.Serial, r.Items[0].Count, r.Items[0].Copies, r.Lines[0].Count = host, s.deviceRequest, 1, 1, 1, 1, 1
	wrap := slices.Concat([]byte{0xa1}, unhex(host.Value), unhex(deviceWrap))
	s.good("response-file", "response-file-device", "the answer to request-file-device, opened with its box key", responseFileInput{KeyCertificate{Name: "producer-2026-A", From: 1000, Until: 9000}, r, wrap}, keys)
	bad := func(name, expect, description string, wrap []byte) {
		in := responseFileInput{KeyCertificate{Name: "producer-2026-A", From: 1000, Until: 9000}, r, wrap}
		b, err := in.encode(c, keys)
		if err != nil {
			s.t.Fatal(err)
		}
		s.bad("response-file", "response-file-device-"+name, expect, description, b, judge)
	}
	bad("wrap-flipped", "signature", "one bit of the encrypted content key is another", flip(wrap, -3))
	bad("encapsulated-flipped", "signature", "one bit of the encapsulated key is another", flip(wrap, 40))
	bad("encapsulated-zero", "signature", "an encapsulated key of zeros, with which everybody would share the secret", slices.Concat(wrap[:33], make([]byte, 32), wrap[65:]))
	bad("wrap-for-another", "signature", "the wrap is for another host than the clear part", flip(wrap, 5))
	bad("wrap-format", "malformed", "the wrap has the format byte of a TPM's", append([]byte{0x31}, wrap[1:]...))
	bad("wrap-short", "malformed", "a wrap of 112 bytes", wrap[:112])

	back := s.aReturn()
	digest := c.ReturnDigest(back)
	proof := append([]byte{0x91}, ed25519.Sign(key, slices.Concat([]byte("leasehold device return v1\x00"), digest[:]))...)
	given := map[string]string{"device": hex.EncodeToString(key.Public().(ed25519.PublicKey))}
	back.Proof = proof
	b := s.good("return", "return-device", "a machine without a TPM gives two copies back; its key says so", back, given)
	s.last().Digest = hex.EncodeToString(digest[:])
	s.bad("return", "return-device-flipped", "signature", "one bit of the signature is another", s.flipIn(b, proof, -3), given)
	s.bad("return", "return-device-other-epoch", "signature", "another epoch than the one that was signed", s.swap(b, []byte{4, 0x1a, 0, 1, 0x11, 0x70}, []byte{4, 0x1a, 0, 1, 0x11, 0x71}), given)
	s.bad("return", "return-device-of-request", "signature", "the key signed the digest as a request's", s.swap(b, proof, append([]byte{0x91}, ed25519.Sign(key, slices.Concat([]byte("leasehold device request v1\x00"), digest[:]))...)), given)
	s.bad("return", "return-device-of-another", "signature", "another key's proof", b, map[string]string{"device": hex.EncodeToString(publicOf(strings.Repeat("43", 32)))})
	s.bad("return", "return-device-format", "malformed", "the format byte of a TPM's proof", s.swap(b, proof, append([]byte{0x21}, proof[1:]...)), given)
}

// counted are proofs of returns by a TPM.
func (s *set) counted() {
	back := s.aReturn()
	digest := s.c.ReturnDigest(back)
	proof := s.tpm.counted(s.t, 0x01804c48, back.Epoch, digest[:])
	given := map[string]string{"ak": hex.EncodeToString(s.tpm.AK)}
	back.Proof = proof
	b := s.good("return", "return-tpm", "a machine gives two copies back; its TPM says that its counter has come to their epoch", back, given)
	s.last().Digest = hex.EncodeToString(digest[:])
	bad := func(name, expect, description string, other []byte) {
		s.bad("return", "return-tpm-"+name, expect, description, s.swap(b, appendBytes(nil, proof), appendBytes(nil, other)), given)
	}
	bad("flipped", "signature", "one bit of the signature is another", flip(proof, -3))
	bad("other-value", "signature", "the counter has come to one more than was certified", flip(proof, 5+2+148))
	bad("other-counter", "signature", "the proof is about another counter", s.tpm.counted(s.t, 0x01804c49, back.Epoch, digest[:]))
	bad("other-return", "signature", "the proof is about another return", s.tpm.counted(s.t, 0x01804c48, back.Epoch, make([]byte, 32)))
	bad("of-another", "signature", "the proof is another TPM's", newPaperTPM(s.t, 0x31).counted(s.t, 0x01804c48, back.Epoch, digest[:]))
	bad("cut", "malformed", "a proof without its last byte", proof[:len(proof)-1])
	bad("format", "malformed", "the format byte of a device key's proof", append([]byte{0x91}, proof[1:]...))
}
