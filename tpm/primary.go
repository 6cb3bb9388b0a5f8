package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"

	"github.com/google/go-tpm/tpm2"
)

// Keys that a TPM makes again from its own seed whenever they are needed: nothing of them is kept, they are there while trusted storage is not, and they outlive TPM2_Clear as the identity of the machine does.
// What tells them from each other, and from those of other programs, is a name in the template.
const (
	authorityName = "leasehold certificate authority v1"
	pepperName    = "leasehold password pepper v1"
)

func named(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

// primaryAttributes are those of a key that signs what it is given, without a password.
func primaryAttributes() tpm2.TPMAObject {
	return tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, SignEncrypt: true}
}

func authorityTemplate() tpm2.TPMTPublic {
	t := deviceTemplate()
	t.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: named(authorityName)}, Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)},
	})
	return t
}

func pepperTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgKeyedHash, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: primaryAttributes(),
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgKeyedHash, &tpm2.TPMSKeyedHashParms{Scheme: tpm2.TPMTKeyedHashScheme{
			Scheme: tpm2.TPMAlgHMAC, Details: tpm2.NewTPMUSchemeKeyedHash(tpm2.TPMAlgHMAC, &tpm2.TPMSSchemeHMAC{HashAlg: tpm2.TPMAlgSHA256}),
		}}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgKeyedHash, &tpm2.TPM2BDigest{Buffer: named(pepperName)}),
	}
}

// Authority is a P-256 key that signs the certificates of this machine: one for each TPM, always the same. It never leaves the TPM.
type Authority struct {
	d      *Device
	public *ecdsa.PublicKey
}

// Authority makes the key.
func (d *Device) Authority() (*Authority, error) {
	a := &Authority{d: d}
	err := d.operate("make the authority's key", func() error {
		k, err := d.primary(tpm2.TPMRHEndorsement, authorityTemplate())
		if err != nil {
			return err
		}
		d.flush(k.handle)
		a.public, err = ecdsaKey(k.public)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Public is an *ecdsa.PublicKey.
func (a *Authority) Public() crypto.PublicKey { return a.public }

// Sign signs a SHA-256 digest; chance is the TPM's.
func (a *Authority) Sign(_ io.Reader, digest []byte, o crypto.SignerOpts) (der []byte, err error) {
	err = a.d.operate("sign a certificate", func() error {
		k, err := a.d.primary(tpm2.TPMRHEndorsement, authorityTemplate())
		if err != nil {
			return err
		}
		defer a.d.flush(k.handle)
		der, err = a.d.sign(k, digest, o)
		return err
	})
	return der, err
}

// sign signs a SHA-256 digest with a loaded key. Inside an operation.
func (d *Device) sign(k *key, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	if o.HashFunc() != crypto.SHA256 || len(digest) != crypto.SHA256.Size() {
		return nil, fmt.Errorf("%d bytes of hash %v, where SHA-256 is wanted", len(digest), o.HashFunc())
	}
	rsp, err := tpm2.Sign{
		KeyHandle:  k.auth(),
		Digest:     tpm2.TPM2BDigest{Buffer: digest},
		InScheme:   tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, // the key's own
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull},
	}.Execute(d.link)
	if err != nil {
		return nil, err
	}
	s, err := rsp.Signature.Signature.ECDSA()
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(s.SignatureR.Buffer), new(big.Int).SetBytes(s.SignatureS.Buffer)})
}

func ecdsaKey(public tpm2.TPMTPublic) (*ecdsa.PublicKey, error) {
	parameters, err := public.Parameters.ECCDetail()
	if err != nil {
		return nil, err
	}
	point, err := public.Unique.ECC()
	if err != nil {
		return nil, err
	}
	return tpm2.ECDSAPub(parameters, point)
}

// Pepper is HMAC-SHA-256 over a password with a key that never leaves this TPM: what is made from it cannot be searched for without the TPM, at a few tries a second. Neither the password nor
// the result is readable between the TPM and the processor. The password may have any length.
func (d *Device) Pepper(password []byte) (out [32]byte, err error) {
	digest := sha256.Sum256(append([]byte("leasehold password v1\x00"), password...))
	err = d.operate("pepper a password", func() error {
		k, err := d.primary(tpm2.TPMRHEndorsement, pepperTemplate())
		if err != nil {
			return err
		}
		defer d.flush(k.handle)
		srk, err := d.storageRoot(nil)
		if err != nil {
			return err
		}
		defer d.flush(srk.handle)
		rsp, err := tpm2.Hmac{
			Handle:  tpm2.AuthHandle{Handle: k.handle, Name: k.name, Auth: srk.hmac(tpm2.AESEncryption(128, tpm2.EncryptInOut))},
			Buffer:  tpm2.TPM2BMaxBuffer{Buffer: digest[:]},
			HashAlg: tpm2.TPMAlgSHA256,
		}.Execute(d.link)
		if err != nil {
			return err
		}
		if len(rsp.OutHMAC.Buffer) != len(out) {
			return fmt.Errorf("%d bytes where %d are an HMAC", len(rsp.OutHMAC.Buffer), len(out))
		}
		copy(out[:], rsp.OutHMAC.Buffer)
		return nil
	})
	return out, err
}
