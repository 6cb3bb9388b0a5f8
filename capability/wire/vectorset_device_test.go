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
	host, kid := paperDevice(key)
	r := capability.Request{Version: 1, Hosts: []hostid.ID{host, {Type: hostid.BoardUUID, Value: "4C4C4544-0042"}}, Correlation: correlation(), Number: 1,
		Desired: []capability.Desired{{ActivationID: s.id(7), Count: 1}}, Producer: digest(5)}
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
