package client

import (
	"bytes"
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
	"path/filepath"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

const (
	keyFile   = "device.key"   // PKCS #8 in PEM, readable by its owner
	boundFile = "device.bound" // the same in DER, bound to the machine
	chipFile  = "device.tpm"   // what a TPM needs to use a key that is its own
	keyLimit  = 4 << 10        // bytes of the first and the last: an Ed25519 key is 119
)

// KeyMaker makes a device's key and keeps it, in the machine's TPM for instance. What it gives back of one is all that the device's directory holds of it.
type KeyMaker interface {
	NewKey() (blob []byte, err error)
	// OpenKey's error has ErrOtherMachine in it where the key is another machine's.
	OpenKey(blob []byte) (crypto.Signer, error)
}

// device is who we are on the wire: the key that owns our leases and the self-signed certificate that shows it.
type device struct {
	host        hostid.ID
	public      []byte            // the public key as PKIX SubjectPublicKeyInfo, in DER
	key         capability.Digest // SHA-256 of that
	certificate tls.Certificate
}

func newDevice(key crypto.Signer, host hostid.ID) (*device, error) {
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	d := &device{host: host, public: public, key: sha256.Sum256(public)}
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

// How a device's key is kept.
const (
	KeptInFile    = "file"    // as its owner's account reads it
	KeptByMachine = "machine" // bound to what the machine shows: Options.Machine opens it
	KeptInTPM     = "tpm"     // by Options.Keys
)

// PublicKey is the public half of this device's key in DER, as a SubjectPublicKeyInfo: the file that an appliance registers this device by.
func (c *Client) PublicKey() []byte { return bytes.Clone(c.device.public) }

// HowKept says how the key of the device in a directory is kept; empty: it has none yet.
func HowKept(dir string) string {
	for _, k := range []struct{ file, how string }{{chipFile, KeptInTPM}, {boundFile, KeptByMachine}, {keyFile, KeptInFile}} {
		if _, err := os.Lstat(filepath.Join(dir, k.file)); err == nil {
			return k.how
		}
	}
	return ""
}

// deviceKey reads the key of this directory, however it is kept. fs.ErrNotExist: it has none yet, or it is to be bound anew, which takes the lock. ErrOtherMachine: it is
// another machine's.
func (o *Options) deviceKey(codec *wire.Codec, dir *os.Root, locked bool) (crypto.Signer, error) {
	blob, err := readBounded(dir, chipFile, keyLimit)
	switch {
	case err == nil && o.Keys == nil:
		return nil, refuse(capability.ErrTPMAbsent, fmt.Errorf("the key of this device is in the TPM of its machine, and %s says only where", chipFile))
	case err == nil:
		return o.Keys.OpenKey(blob)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, broken("read the device key", err)
	}
	file, err := readBounded(dir, boundFile, boundLimit)
	if err == nil {
		return o.boundKey(codec, dir, file, locked)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, broken("read the device key", err)
	}
	key, err := plainKey(dir)
	if err == nil && len(o.Machine.Findings) > 0 { // from before anybody said what the machine is
		if !locked {
			return nil, fs.ErrNotExist
		}
		o.bindKey(codec, dir, key)
	}
	return key, err
}

// boundKey opens the key that is bound to this machine, and binds it anew where the machine has changed.
func (o *Options) boundKey(codec *wire.Codec, dir *os.Root, file []byte, locked bool) (crypto.Signer, error) {
	if len(o.Machine.Findings) == 0 {
		return nil, refuse(capability.ErrBinding, fmt.Errorf("the key of this device, %s, is bound to what its machine shows, and this program was not told what that is", boundFile))
	}
	der, missing, err := unbind(codec, file, o.Machine)
	if no := (*unbound)(nil); errors.As(err, &no) {
		if !o.NewDevice && !showsEnough(o.Machine) { // it may well be this machine, to an account that may not read what it is
			return nil, refuse(capability.ErrBinding, fmt.Errorf("the key of this device, %s, is bound to its machine: %w", boundFile, ErrTooLittle))
		}
		return nil, fmt.Errorf("the key of this device: %w: %w", ErrOtherMachine, no)
	}
	if err != nil {
		return nil, broken("read the device key", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, broken("read the device key", fmt.Errorf("%s: %w", boundFile, err))
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, broken("read the device key", fmt.Errorf("%s holds a %T where an Ed25519 key is wanted", boundFile, parsed))
	}
	if missing.better(o.Machine) {
		if !locked {
			return nil, fs.ErrNotExist
		}
		o.bindKey(codec, dir, key)
	}
	return key, nil
}

// bindKey keeps a key in a form that only this machine reads. Where that cannot be, it stays as it is kept.
func (o *Options) bindKey(codec *wire.Codec, dir *os.Root, key crypto.Signer) bool {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return false
	}
	file, err := bind(codec, o.Machine, der)
	if err != nil || writeDurable(dir, boundFile, file) != nil {
		return false
	}
	dir.Remove(keyFile) // a cut here leaves both, and the bound one is read
	return true
}

// plainKey reads the key that is bound to nothing.
func plainKey(dir *os.Root) (crypto.Signer, error) {
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
func (o *Options) ownKey(ctx context.Context, codec *wire.Codec, dir *os.Root) (crypto.Signer, error) {
	key, err := o.deviceKey(codec, dir, false)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	lock, err := lockIn(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if key, err = o.deviceKey(codec, dir, true); errors.Is(err, fs.ErrNotExist) {
		return o.newDeviceKey(codec, dir)
	}
	return key, err
}

func (o *Options) newDeviceKey(codec *wire.Codec, dir *os.Root) (crypto.Signer, error) {
	if o.Keys != nil {
		blob, err := o.Keys.NewKey()
		if err != nil {
			return nil, fmt.Errorf("make a device key: %w", err)
		}
		if err := writeDurable(dir, chipFile, blob); err != nil {
			return nil, broken("keep the device key", err)
		}
		return o.Keys.OpenKey(blob)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a device key: %w", err)
	}
	if o.bindKey(codec, dir, key) {
		return key, nil
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
