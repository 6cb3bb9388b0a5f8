package attest

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-tpm/tpm2"
)

// KeyBytes is the length of the content key that Wrap takes.
const KeyBytes = 32

// Wrapped is a content key that one TPM only can recover, and only beside the AK
// it was wrapped for. Encoded: 177 bytes, or 501 where RSA is there.
type Wrapped struct {
	HostID HostID // of that TPM, to refuse others before they ask theirs

	// P256 is for the endorsement key behind the host ID. RSA is there when the
	// machine's certificate is for its RSA endorsement key: the content key is
	// then the exclusive or of both secrets, so that a certificate copied from
	// another machine opens nothing.
	P256, RSA Credential
}

// Credential is what TPM2_ActivateCredential takes, without the outer lengths.
type Credential struct {
	Blob   []byte // TPMS_ID_OBJECT
	Secret []byte // TPM2B_ENCRYPTED_SECRET
}

// Present tells whether there is a credential.
func (c Credential) Present() bool { return len(c.Blob) != 0 || len(c.Secret) != 0 }

// Wrap encrypts key, of KeyBytes, to the EK and AK of id, which Verify returned.
// A response that comes back applied proves they share a TPM.
func Wrap(rand io.Reader, id *Identity, key []byte) (*Wrapped, error) {
	if len(key) != KeyBytes {
		return nil, fmt.Errorf("wrap a key of %d bytes, want %d", len(key), KeyBytes)
	}
	ek, err := parseEK(id.EK)
	if err != nil {
		return nil, err
	}
	ak, err := parseAK(id.AK)
	if err != nil {
		return nil, err
	}
	w := &Wrapped{HostID: hostID(ek.name)}
	share := key
	for _, c := range id.EKCertificates {
		public, ok := c.PublicKey.(*rsa.PublicKey)
		if !ok {
			if own, ok := c.PublicKey.(*ecdsa.PublicKey); ok && own.Equal(ek.point) {
				continue
			}
			return nil, errors.New("an endorsement key certificate is for a key that cannot be wrapped to")
		}
		if w.RSA.Present() {
			return nil, errors.New("two RSA endorsement key certificates")
		}
		other := make([]byte, KeyBytes)
		if _, err := io.ReadFull(rand, other); err != nil {
			return nil, fmt.Errorf("draw the second share of a key: %w", err)
		}
		if w.RSA, err = credential(rand, rsaEK(public), ak.name, other); err != nil {
			return nil, fmt.Errorf("wrap to the RSA endorsement key: %w", err)
		}
		share = make([]byte, KeyBytes)
		subtle.XORBytes(share, key, other)
	}
	if w.P256, err = credential(rand, ek.public, ak.name, share); err != nil {
		return nil, fmt.Errorf("wrap to the P-256 endorsement key: %w", err)
	}
	return w, nil
}

func credential(rand io.Reader, ek tpm2.TPMTPublic, akName, secret []byte) (Credential, error) {
	key, err := tpm2.ImportEncapsulationKey(&ek)
	if err != nil {
		return Credential{}, err
	}
	blob, encrypted, err := tpm2.CreateCredential(rand, key, akName, secret)
	return Credential{Blob: blob, Secret: encrypted}, err
}

// rsaEK is the RSA endorsement key that a certificate names: key bits from the
// certificate, the rest from the standard template.
func rsaEK(key *rsa.PublicKey) tpm2.TPMTPublic {
	public := tpm2.RSAEKTemplate
	public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: key.N.FillBytes(make([]byte, 256))})
	return public
}
