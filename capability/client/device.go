package client

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

const (
	keyFile  = "device.key" // PKCS #8 in PEM, readable by its owner
	keyLimit = 4 << 10      // bytes of that file: an Ed25519 key is 119
)

// device is who we are on the wire: the key that owns our leases and the self-signed certificate that shows it.
type device struct {
	host        hostid.ID
	key         capability.Digest // SHA-256 of the public key as PKIX SubjectPublicKeyInfo
	certificate tls.Certificate
}

func newDevice(key crypto.Signer, host hostid.ID) (*device, error) {
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	d := &device{host: host, key: sha256.Sum256(public)}
	if host == (hostid.ID{}) {
		d.host = hostid.OfDigest(hostid.DeviceKey, d.key)
	}
	if err := d.host.Validate(); err != nil {
		return nil, fmt.Errorf("host ID of this device: %w", err)
	}
	// The certificate only carries the key: the appliance looks at nothing else in it, so its dates are the widest that X.509 has.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "leasehold device"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certificate of the device key: %w", err)
	}
	d.certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return d, nil
}

// deviceKey reads the key of this directory. fs.ErrNotExist: it has none yet.
func deviceKey(dir *os.Root) (ed25519.PrivateKey, error) {
	b, err := readBounded(dir, keyFile, keyLimit)
	if err != nil {
		return nil, broken("read the device key", err)
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) != 0 {
		return nil, broken("read the device key", fmt.Errorf("%s is not one private key in PEM", keyFile))
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, broken("read the device key", fmt.Errorf("%s: %w", keyFile, err))
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, broken("read the device key", fmt.Errorf("%s holds a %T where an Ed25519 key is wanted", keyFile, parsed))
	}
	return key, nil
}

// ownKey is the key of this directory, which the first program makes. Only then is anybody waited for.
func ownKey(ctx context.Context, dir *os.Root) (ed25519.PrivateKey, error) {
	key, err := deviceKey(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	lock, err := lockIn(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if key, err = deviceKey(dir); errors.Is(err, fs.ErrNotExist) {
		return newDeviceKey(dir)
	}
	return key, err
}

func newDeviceKey(dir *os.Root) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a device key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make a device key: %w", err)
	}
	if err := writeDurable(dir, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return nil, broken("keep the device key", err)
	}
	return key, nil
}
