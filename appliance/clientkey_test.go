package appliance

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// shows has a client show a key, and gives the file of its public half.
func shows(t *testing.T, key crypto.Signer) (change func(*tls.Config), file []byte, id hostid.ID) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	file, err = x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	_, digest, _ := wire.ReadClientKey(file)
	return func(c *tls.Config) { c.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}} }, file, hostid.OfDigest(hostid.DeviceKey, digest)
}

// The file that an administrator registers is of the key that the device shows: an RSA key of 2048 bits opens what is closed to everybody else, and another closes it again.
func TestRegisteredClients(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	addr := s.listen()
	s.activate(item(t, 1, "render", 5))
	change := func(c ledger.Command) {
		t.Helper()
		_, err := s.a.Change(context.Background(), c, "a test", "admin")
		must(t, err)
	}
	change(ledger.SetPolicy{Name: ledger.ClientKeysOnly, Value: "true"})
	secret, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	for n, key := range []crypto.Signer{secret, curve} {
		show, file, id := shows(t, key)
		kind, digest, err := wire.ReadClientKey(file)
		must(t, err)
		c, _ := dial(t, addr, show)
		if r := s.roundTrip(c, want(id, 1, "render", 1)); r.Status != capability.StatusDenied || r.Denials[0].Code != capability.ErrClientKey {
			t.Errorf("%s that is not registered: %+v", kind, r)
		}
		s.until("a stranger", func(c Connections) bool { return c.Known == n })
		change(ledger.RegisterKey{Key: digest, Kind: kind})
		if r := s.roundTrip(c, want(id, 2, "render", 1)); r.Status != capability.StatusOK || len(r.Rights) != 1 {
			t.Errorf("%s that is registered: %+v", kind, r)
		}
		s.until("one that was served", func(c Connections) bool { return c.Known == n+1 })
	}
}

// A device whose key is registered is in before strangers are, also where it holds nothing and never did.
func TestRegisteredIsKnown(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	addr := s.listen()
	secret, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	show, file, _ := shows(t, secret)
	kind, digest, err := wire.ReadClientKey(file)
	must(t, err)
	_, err = s.a.Change(context.Background(), ledger.RegisterKey{Key: digest, Kind: kind}, "a test", "admin")
	must(t, err)
	dial(t, addr, nil)
	dial(t, addr, show)
	s.until("a registered one beside a stranger", func(c Connections) bool { return c.Open == 2 && c.Known == 1 })
}

// A device key of another size or kind gets no further than the handshake, and the journal names it.
func TestRefusedDeviceKeys(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	j := s.hear()
	addr := s.listen()
	wide, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	long, err := rsa.GenerateKey(rand.Reader, 2056)
	must(t, err)
	for name, key := range map[string]crypto.Signer{"P-384": wide, "2056 bits": long} {
		show, _, _ := shows(t, key)
		c, _ := dial(t, addr, show)
		if c == nil {
			t.Fatalf("%s: no handshake", name)
		}
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%s hears %q", name, b)
		}
		j.says(t, name, capability.ErrKeySize.String())
	}
}
