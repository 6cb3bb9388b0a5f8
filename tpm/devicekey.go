package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"fmt"
	"io"

	"github.com/google/go-tpm/tpm2"
)

// formatKey begins the blob of a device key, which is otherwise as a sealed one.
const formatKey = 0x81

// DeviceKey is a P-256 key for signing that never leaves its TPM. It signs whatever it is given, so it proves nothing of the machine but that it is the same one.
type DeviceKey struct {
	d      *Device
	blob   *blob
	public *ecdsa.PublicKey
}

func deviceTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:             tpm2.TPMAlgECC,
		NameAlg:          tpm2.TPMAlgSHA256,
		ObjectAttributes: primaryAttributes(),
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme:  tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})},
			CurveID: tpm2.TPMECCNistP256,
		}),
	}
}

// NewDeviceKey draws a key inside the TPM. Its blob opens on this TPM only.
func (d *Device) NewDeviceKey() ([]byte, error) {
	var made *blob
	err := d.operate("make a device key", func() error {
		srk, err := d.storageRoot(nil)
		if err != nil {
			return err
		}
		defer d.flush(srk.handle)
		rsp, err := tpm2.Create{
			ParentHandle: tpm2.AuthHandle{Handle: srk.handle, Name: srk.name, Auth: srk.hmac()},
			InPublic:     tpm2.New2B(deviceTemplate()),
		}.Execute(d.link)
		if err != nil {
			return err
		}
		made = &blob{format: formatKey, srk: srk.name.Buffer, private: rsp.OutPrivate.Buffer, public: rsp.OutPublic.Bytes()}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made.encode(), nil
}

// DeviceKey opens the blob of one. ErrNotOurs: it is another TPM's, or from before this one was cleared.
func (d *Device) DeviceKey(b []byte) (*DeviceKey, error) {
	k := &DeviceKey{d: d}
	var err error
	if k.blob, err = open(b, formatKey, 0); err != nil {
		return nil, fmt.Errorf("open a device key: %w", err)
	}
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](k.blob.public)
	if err != nil {
		return nil, fmt.Errorf("open a device key: %w", err)
	}
	if k.public, err = ecdsaKey(*public); err != nil {
		return nil, fmt.Errorf("open a device key: %w", err)
	}
	return k, d.operate("open a device key", func() error { return k.use(func(*key) error { return nil }) })
}

// use loads the key for f. Inside an operation.
func (k *DeviceKey) use(f func(*key) error) error {
	srk, err := k.d.storageRoot(k.blob.srk)
	if err != nil {
		return err
	}
	defer k.d.flush(srk.handle)
	loaded, err := k.d.load(srk, k.blob)
	if err != nil {
		return err
	}
	defer k.d.flush(loaded.handle)
	return f(loaded)
}

// Public is an *ecdsa.PublicKey.
func (k *DeviceKey) Public() crypto.PublicKey { return k.public }

// Sign signs a SHA-256 digest; chance is the TPM's.
func (k *DeviceKey) Sign(_ io.Reader, digest []byte, o crypto.SignerOpts) (der []byte, err error) {
	err = k.d.operate("sign with a device key", func() error {
		return k.use(func(loaded *key) (err error) {
			der, err = k.d.sign(loaded, digest, o)
			return err
		})
	})
	return der, err
}
