package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// What the package writes is what the document says, and only a key of the two kinds signs.
func TestClientFilesAsTheDocumentSays(t *testing.T) {
	c := New()
	ed, p256, _ := clientKeys()
	for _, key := range []crypto.Signer{ed, p256} {
		spki, host, kid := paperClient(key)
		r := capability.Request{Version: 1, Correlation: correlation(), Atomic: true, Number: 1, Producer: digest(1), Desired: []capability.Desired{{Feature: "render"}}}
		r.Hosts = append(r.Hosts, host)
		file, d, err := c.SignClientRequest(rand.Reader, key, &r)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.ReadRequest(file)
		if err != nil || s.KID != kid || s.Digest != d || !s.OfClient() || len(s.Signature) != 3+len(spki)+64 {
			t.Fatalf("%+v, %v", s, err)
		}
		if got, err := VerifyClient(s); err != nil || got != capability.Digest(unhex(host.Value)) {
			t.Fatalf("%x, %v", got, err)
		}
		if _, err := VerifyDevice(s); !errors.Is(err, ErrMalformed) {
			t.Fatalf("taken as a machine's request to a back office: %v", err)
		}
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := capability.Request{Version: 1, Hosts: []hostid.ID{client()}, Correlation: correlation(), Atomic: true, Number: 1, Producer: digest(1), Desired: []capability.Desired{{Feature: "render"}}}
	for name, key := range map[string]crypto.Signer{"P-384": p384, "a signer that lies": liar{p256}, "a signer that fails": broken{ed}} {
		if _, _, err := c.SignClientRequest(rand.Reader, key, &r); err == nil {
			t.Errorf("%s signed", name)
		}
	}
	r.Number = 0
	if _, _, err := c.SignClientRequest(rand.Reader, ed, &r); err == nil {
		t.Error("a request that no appliance takes was signed")
	}
}

type liar struct{ *ecdsa.PrivateKey }

func (l liar) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return []byte{0x30, 0}, nil }

type broken struct{ ed25519.PrivateKey }

func (b broken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the key is gone")
}
