package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/google/go-tpm/tpm2"
)

// BootKey is the producer's key that signs boot states, P-256, and the reference
// that ties its signatures to one product. Trusted storage is sealed to both, so
// that an update needs a signature and no new seal.
type BootKey struct {
	Public *ecdsa.PublicKey
	Ref    []byte // at most MaxRefBytes
}

// MaxRefBytes is the longest reference that every TPM takes: TPM2B_NONCE is as long
// as the TPM's longest digest, at least SHA-256.
const MaxRefBytes = 32

// SignedState allows one boot state.
type SignedState struct {
	PCRs      []byte // values of PCR 7, 11, then 12, 96 bytes
	Signature []byte // r and s, 64 bytes, over SHA-256(PCR policy || ref)
}

// SignState allows one boot state (values of PCR 7, 11, then 12, which is zeros
// in our image); producer's side. The key is P-256; rand is handed on to it.
func SignState(rand io.Reader, key crypto.Signer, ref, pcrs []byte) (*SignedState, error) {
	public, ok := key.Public().(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("sign a boot state: the boot key is not P-256")
	}
	digest, err := stateDigest(ref, pcrs)
	if err != nil {
		return nil, fmt.Errorf("sign a boot state: %w", err)
	}
	der, err := key.Sign(rand, digest, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign a boot state: %w", err)
	}
	var sig struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &sig); err != nil || len(rest) != 0 || !fits(sig.R) || !fits(sig.S) {
		return nil, errors.New("sign a boot state: the key's answer is not an ECDSA signature on P-256")
	}
	signed := &SignedState{PCRs: append([]byte(nil), pcrs...), Signature: make([]byte, signatureBytes)}
	sig.R.FillBytes(signed.Signature[:signatureBytes/2])
	sig.S.FillBytes(signed.Signature[signatureBytes/2:])
	return signed, (BootKey{public, ref}).Verify(signed)
}

func fits(n *big.Int) bool { return n != nil && n.Sign() > 0 && n.BitLen() <= 8*signatureBytes/2 }

// Verify tells whether k signed s, as the TPM will judge it.
func (k BootKey) Verify(s *SignedState) error {
	if _, err := k.TPMT(); err != nil {
		return err
	}
	digest, err := stateDigest(k.Ref, s.PCRs)
	if err != nil {
		return err
	}
	if len(s.Signature) != signatureBytes {
		return fmt.Errorf("signature of a boot state has %d bytes, want %d", len(s.Signature), signatureBytes)
	}
	r := new(big.Int).SetBytes(s.Signature[:signatureBytes/2])
	v := new(big.Int).SetBytes(s.Signature[signatureBytes/2:])
	if !ecdsa.Verify(k.Public, digest, r, v) {
		return errors.New("signature of a boot state does not verify")
	}
	return nil
}

// TPMT returns k as a TPM loads it. Its Name is what storage is sealed to.
func (k BootKey) TPMT() (tpm2.TPMTPublic, error) {
	if k.Public == nil || k.Public.Curve != elliptic.P256() {
		return tpm2.TPMTPublic{}, errors.New("boot key is not P-256")
	}
	if len(k.Ref) > MaxRefBytes {
		return tpm2.TPMTPublic{}, fmt.Errorf("reference of the boot key has %d bytes, at most %d are allowed", len(k.Ref), MaxRefBytes)
	}
	point, err := k.Public.Bytes() // 4, x, y
	if err != nil {
		return tpm2.TPMTPublic{}, fmt.Errorf("boot key: %w", err)
	}
	return tpm2.TPMTPublic{
		Type:             tpm2.TPMAlgECC,
		NameAlg:          tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{SignEncrypt: true, UserWithAuth: true},
		Parameters:       tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, ecdsaP256()),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1 : 1+coordinateBytes]},
			Y: tpm2.TPM2BECCParameter{Buffer: point[1+coordinateBytes:]},
		}),
	}, nil
}

// StatePolicy returns the digest of PolicyPCR over one boot state, which the boot
// key approves.
func StatePolicy(pcrs []byte) ([]byte, error) {
	if len(pcrs) != bootStateBytes {
		return nil, fmt.Errorf("boot state has %d bytes, want %d: PCR 7, 11 and 12", len(pcrs), bootStateBytes)
	}
	c, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA256)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(pcrs)
	if err := (tpm2.PolicyPCR{PcrDigest: tpm2.TPM2BDigest{Buffer: sum[:]}, Pcrs: BootPCRs()}).Update(c); err != nil {
		return nil, err
	}
	return c.Hash().Digest, nil
}

// stateDigest is what the boot key signs: TPM2_PolicyAuthorize's aHash.
func stateDigest(ref, pcrs []byte) ([]byte, error) {
	policy, err := StatePolicy(pcrs)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append(policy, ref...))
	return sum[:], nil
}
