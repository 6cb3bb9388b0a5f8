// Package attesttest models what a TPM 2.0 says and opens with its two P-256 keys, for tests of whoever asks one and whoever judges its answers. All is in the bytes
// that a TPM would write. It keeps no secrets, and counts nothing by itself: what a statement says of clock and counter is the caller's.
package attesttest

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// Chip is an endorsement key and an attestation key. PCRs 7, 11 and 12 are zero. It may be copied, and used by any number of goroutines.
type Chip struct {
	Host hostid.ID
	EK   []byte // TPMT_PUBLIC
	AK   []byte // TPMT_PUBLIC

	ek, ak *ecdsa.PrivateKey
	name   []byte // of the attestation key
	signer []byte // its qualified name
}

// New gives a chip with these two keys, which must be of P-256.
func New(ek, ak *ecdsa.PrivateKey) (*Chip, error) {
	c := &Chip{ek: ek, ak: ak}
	var err error
	if c.EK, _, err = public(tpm2.ECCEKTemplate, ek); err != nil {
		return nil, err
	}
	if c.AK, c.name, err = public(attest.AKTemplate(), ak); err != nil {
		return nil, err
	}
	qualified := sha256.Sum256(append(tpm2.PrimaryHandleName(tpm2.TPMRHEndorsement), c.name...))
	c.signer = append([]byte{0, 0x0B}, qualified[:]...)
	id, err := attest.HostIDOf(c.EK)
	c.Host = hostid.OfDigest(hostid.TPMEK, id)
	return c, err
}

// public is the area of a key made from a template, and its Name.
func public(template tpm2.TPMTPublic, key *ecdsa.PrivateKey) (area, name []byte, err error) {
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, nil, err
	}
	template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
	})
	n, err := tpm2.ObjectName(&template)
	if err != nil {
		return nil, nil, err
	}
	return tpm2.Marshal(template), n.Buffer, nil
}

// Quote is TPM2_Quote of the boot PCRs over data.
func (c *Chip) Quote(p attest.Purpose, data []byte, clock tpm2.TPMSClockInfo) (*attest.Evidence, error) {
	pcrs := make([]byte, 96)
	sum := sha256.Sum256(pcrs)
	quoted := c.statement(tpm2.TPMSTAttestQuote, p, data, clock, tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
		PCRSelect: attest.BootPCRs(), PCRDigest: tpm2.TPM2BDigest{Buffer: sum[:]},
	}))
	signature, err := c.sign(quoted)
	return &attest.Evidence{EK: c.EK, AK: c.AK, PCRs: pcrs, Quoted: quoted, Signature: signature}, err
}

// Session is a quote for clients: they have the rest in a certificate.
func (c *Chip) Session(data []byte, clock tpm2.TPMSClockInfo) (*attest.Evidence, error) {
	e, err := c.Quote(attest.Session, data, clock)
	if err != nil {
		return nil, err
	}
	return &attest.Evidence{Quoted: e.Quoted, Signature: e.Signature}, nil
}

// CertifyEpoch is TPM2_NV_Certify over data of a counter that stands at epoch.
func (c *Chip) CertifyEpoch(index uint32, epoch uint64, data []byte, clock tpm2.TPMSClockInfo) (*attest.EpochProof, error) {
	area := attest.EpochPublic(index)
	name, err := tpm2.NVName(&area)
	if err != nil {
		return nil, err
	}
	certified := c.statement(tpm2.TPMSTAttestNV, attest.Return, data, clock, tpm2.NewTPMUAttest(tpm2.TPMSTAttestNV, &tpm2.TPMSNVCertifyInfo{
		IndexName: *name, NVContents: tpm2.TPM2BData{Buffer: binary.BigEndian.AppendUint64(nil, epoch)},
	}))
	signature, err := c.sign(certified)
	return &attest.EpochProof{Index: index, Certified: certified, Signature: signature}, err
}

func (c *Chip) statement(kind tpm2.TPMST, p attest.Purpose, data []byte, clock tpm2.TPMSClockInfo, said tpm2.TPMUAttest) []byte {
	return tpm2.Marshal(tpm2.TPMSAttest{
		Magic: tpm2.TPMGeneratedValue, Type: kind, QualifiedSigner: tpm2.TPM2BName{Buffer: c.signer}, ExtraData: tpm2.TPM2BData{Buffer: p.Qualifying(data)},
		ClockInfo: clock, Attested: said,
	})
}

// sign is ECDSA without chance (RFC 6979), so that what a seed began repeats.
func (c *Chip) sign(message []byte) ([]byte, error) {
	sum := sha256.Sum256(message)
	der, err := c.ak.Sign(nil, sum[:], crypto.SHA256)
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

// Activate is TPM2_ActivateCredential (TPM 2.0 Library, part 1, credential protection) for the endorsement key. A second credential, for an RSA one, is passed over.
func (c *Chip) Activate(wrapped *attest.Wrapped) ([]byte, error) {
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
	h.Write(c.name)
	if !hmac.Equal(h.Sum(nil), sum) {
		return nil, errors.New("the credential is for another key")
	}
	block, err := aes.NewCipher(tpm2.KDFa(crypto.SHA256, seed, "STORAGE", c.name, nil, 128))
	if err != nil {
		return nil, err
	}
	plain := bytes.Clone(sealed)
	//lint:ignore SA1019 a TPM uses this mode
	cipher.NewCFBDecrypter(block, make([]byte, aes.BlockSize)).XORKeyStream(plain, sealed)
	return plain[2:], nil
}
