package capabilitytest

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// chip is a modeled TPM: an endorsement key and an attestation key. What it says is in the bytes that a TPM would write, so that clients judge it as they judge any.
type chip struct {
	ek, ak         *ecdsa.PrivateKey
	ekArea, akArea []byte // TPMT_PUBLIC
	akName         []byte
	signer         []byte // qualified name of the attestation key
	host           hostid.ID
}

func newChip(t T) *chip {
	t.Helper()
	c := &chip{}
	var err error
	if c.ek, c.ekArea, _, err = newKey(tpm2.ECCEKTemplate); err == nil {
		c.ak, c.akArea, c.akName, err = newKey(attest.AKTemplate())
	}
	must(t, err)
	qualified := sha256.Sum256(append(tpm2.PrimaryHandleName(tpm2.TPMRHEndorsement), c.akName...))
	c.signer = append([]byte{0, 0x0B}, qualified[:]...)
	id, err := attest.HostIDOf(c.ekArea)
	must(t, err)
	c.host = hostid.OfDigest(hostid.TPMEK, id)
	return c
}

func newKey(template tpm2.TPMTPublic) (key *ecdsa.PrivateKey, area, name []byte, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, nil, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, nil, nil, err
	}
	template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
	})
	n, err := tpm2.ObjectName(&template)
	if err != nil {
		return nil, nil, nil, err
	}
	return key, tpm2.Marshal(template), n.Buffer, nil
}

func (c *chip) Evidence(p attest.Purpose, data []byte) (*attest.Evidence, error) {
	pcrs := make([]byte, 96)
	sum := sha256.Sum256(pcrs)
	quoted := tpm2.Marshal(tpm2.TPMSAttest{
		Magic: tpm2.TPMGeneratedValue, Type: tpm2.TPMSTAttestQuote,
		QualifiedSigner: tpm2.TPM2BName{Buffer: c.signer}, ExtraData: tpm2.TPM2BData{Buffer: p.Qualifying(data)},
		ClockInfo: tpm2.TPMSClockInfo{Clock: 1, Safe: true},
		Attested: tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
			PCRSelect: attest.BootPCRs(), PCRDigest: tpm2.TPM2BDigest{Buffer: sum[:]},
		}),
	})
	signature, err := c.sign(quoted)
	return &attest.Evidence{EK: c.ekArea, AK: c.akArea, PCRs: pcrs, Quoted: quoted, Signature: signature}, err
}

func (c *chip) Session(data []byte) (*attest.Evidence, error) {
	e, err := c.Evidence(attest.Session, data)
	if err != nil {
		return nil, err
	}
	return &attest.Evidence{Quoted: e.Quoted, Signature: e.Signature}, nil
}

// CertifyEpoch is for returns, which no client makes.
func (c *chip) CertifyEpoch(uint32, []byte) (*attest.EpochProof, error) {
	return nil, errors.New("this appliance gives nothing back to its producer")
}

func (c *chip) sign(message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	der, err := c.ak.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var point struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &point); err != nil {
		return nil, err
	}
	return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
		Hash:       tpm2.TPMAlgSHA256,
		SignatureR: tpm2.TPM2BECCParameter{Buffer: point.R.FillBytes(make([]byte, 32))},
		SignatureS: tpm2.TPM2BECCParameter{Buffer: point.S.FillBytes(make([]byte, 32))},
	})}), nil
}

// Activate is TPM2_ActivateCredential (TPM 2.0 Library, part 1, credential protection) for the P-256 endorsement key.
func (c *chip) Activate(wrapped *attest.Wrapped) ([]byte, error) {
	w := wrapped.P256
	point, err := tpm2.Unmarshal[tpm2.TPMSECCPoint](w.Secret)
	if err != nil {
		return nil, err
	}
	own, err := c.ek.ECDH()
	if err != nil {
		return nil, err
	}
	other, err := own.Curve().NewPublicKey(append(append([]byte{4}, point.X.Buffer...), point.Y.Buffer...))
	if err != nil {
		return nil, err
	}
	z, err := own.ECDH(other)
	if err != nil {
		return nil, err
	}
	seed := tpm2.KDFe(crypto.SHA256, z, "IDENTITY", point.X.Buffer, own.PublicKey().Bytes()[1:33], 256)
	if len(w.Blob) < 34 {
		return nil, fmt.Errorf("a credential of %d bytes", len(w.Blob))
	}
	sum, sealed := w.Blob[2:34], w.Blob[34:]
	h := hmac.New(sha256.New, tpm2.KDFa(crypto.SHA256, seed, "INTEGRITY", nil, nil, 256))
	h.Write(sealed)
	h.Write(c.akName)
	if !hmac.Equal(h.Sum(nil), sum) {
		return nil, errors.New("the credential is for another key")
	}
	block, err := aes.NewCipher(tpm2.KDFa(crypto.SHA256, seed, "STORAGE", c.akName, nil, 128))
	if err != nil {
		return nil, err
	}
	plain := bytes.Clone(sealed)
	//lint:ignore SA1019 a TPM uses this mode
	cipher.NewCFBDecrypter(block, make([]byte, aes.BlockSize)).XORKeyStream(plain, sealed)
	return plain[2:], nil
}
