package appliance

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
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

// chip is a modeled TPM: two keys, one counter, one running digest, and a key for what is sealed here. What it says is in the bytes that a TPM would write, so
// that the back office and clients judge it as they judge any. A copy of it is a clone of a virtual TPM.
type chip struct {
	b        *box
	ek, ak   *ecdsa.PrivateKey
	ekArea   []byte // TPMT_PUBLIC
	akArea   []byte
	akName   []byte
	signer   []byte // qualified name of the AK
	host     hostid.ID
	storage  [32]byte // key of what is sealed here
	counter  uint64   // value of the epoch counter, also the highest that any ever had
	made     bool     // the counter is there
	auth     [32]byte // hash of the secret that may move it
	digest   [32]byte
	resets   uint32
	restarts uint32
	line     *line
}

func newChip(b *box, seed byte) *chip {
	c := &chip{b: b, counter: 100, storage: sha256.Sum256([]byte{seed, 3})}
	key := func(template tpm2.TPMTPublic, n byte) (*ecdsa.PrivateKey, []byte, []byte) {
		d := sha256.Sum256([]byte{seed, n})
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d[:])
		must(b.w, err)
		point, err := k.PublicKey.Bytes()
		must(b.w, err)
		template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
		})
		name, err := tpm2.ObjectName(&template)
		must(b.w, err)
		return k, tpm2.Marshal(template), name.Buffer
	}
	c.ek, c.ekArea, _ = key(tpm2.ECCEKTemplate, 1)
	c.ak, c.akArea, c.akName = key(attest.AKTemplate(), 2)
	qualified := sha256.Sum256(append(tpm2.PrimaryHandleName(tpm2.TPMRHEndorsement), c.akName...))
	c.signer = append([]byte{0, 0x0B}, qualified[:]...)
	id, err := attest.HostIDOf(c.ekArea)
	must(b.w, err)
	c.host = hostid.OfDigest(hostid.TPMEK, id)
	return c
}

var errNotHere = errors.New("the blob does not unseal here and now")

// Provision makes the counter above every value that one ever had.
func (c *chip) Provision(secret []byte) (epoch uint64, err error) {
	err = c.b.command(func() error {
		c.counter++
		c.auth, c.made, epoch = sha256.Sum256(secret), true, c.counter
		return nil
	})
	return epoch, err
}

func (c *chip) Epoch() (epoch uint64, err error) {
	err = c.b.command(func() error {
		if epoch = c.counter; !c.made {
			return errors.New("there is no counter")
		}
		return nil
	})
	return epoch, err
}

func (c *chip) Advance(secret []byte, _ uint64) error {
	return c.b.command(func() error {
		if !c.made || sha256.Sum256(secret) != c.auth {
			return errors.New("the counter is moved with another secret")
		}
		c.counter++
		c.b.w.moved(c)
		return nil
	})
}

func (c *chip) Extend(group [32]byte) error {
	return c.b.command(func() error { c.extend(group); return nil })
}

func (c *chip) extend(group [32]byte) { c.digest = sha256.Sum256(append(c.digest[:], group[:]...)) }

func (c *chip) Running() (digest [32]byte, resets, restarts uint32, err error) {
	err = c.b.command(func() error { digest, resets, restarts = c.digest, c.resets, c.restarts; return nil })
	return digest, resets, restarts, err
}

func (c *chip) mac(b []byte) []byte {
	h := hmac.New(sha256.New, c.storage[:])
	h.Write(b)
	return h.Sum(nil)
}

// Seal hides nothing, but only this chip takes the blob back.
func (c *chip) Seal(secret []byte, epoch uint64) (blob []byte, err error) {
	err = c.b.command(func() error {
		blob = append(binary.BigEndian.AppendUint64(nil, epoch), secret...)
		blob = append(blob, c.mac(blob)...)
		return nil
	})
	return blob, err
}

func (c *chip) Unseal(blob []byte, epoch uint64) ([]byte, error) {
	return c.unseal(blob, func(sealed uint64) bool { return epoch == c.counter && sealed == c.counter && c.made })
}

func (c *chip) unseal(blob []byte, fits func(uint64) bool) (secret []byte, err error) {
	err = c.b.command(func() error {
		at := len(blob) - sha256.Size
		if at < 8 || !bytes.Equal(c.mac(blob[:at]), blob[at:]) || !fits(binary.BigEndian.Uint64(blob)) {
			return errNotHere
		}
		secret = bytes.Clone(blob[8:at])
		return nil
	})
	return secret, err
}

// anyEpoch seals to the chip alone: for the storage of requests.
type anyEpoch struct{ *chip }

func (s anyEpoch) Unseal(blob []byte, _ uint64) ([]byte, error) {
	return s.unseal(blob, func(uint64) bool { return true })
}

// epoch is the counter as the daemon reads it before the first response: where none is, it makes one that nobody can move.
func (c *chip) epoch() (uint64, error) {
	if !c.made {
		return c.Provision([]byte("thrown away"))
	}
	return c.Epoch()
}

// Evidence, Session, CertifyEpoch and Activate are those of Machine.
func (c *chip) Evidence(p attest.Purpose, data []byte) (e *attest.Evidence, err error) {
	err = c.b.command(func() error {
		pcrs := make([]byte, 96)
		sum := sha256.Sum256(pcrs)
		quoted := c.statement(tpm2.TPMSTAttestQuote, p, data, tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
			PCRSelect: attest.BootPCRs(), PCRDigest: tpm2.TPM2BDigest{Buffer: sum[:]},
		}))
		e = &attest.Evidence{EK: c.ekArea, AK: c.akArea, PCRs: pcrs, Quoted: quoted, Signature: c.sign(quoted)}
		return nil
	})
	return e, err
}

func (c *chip) Session(data []byte) (*attest.Evidence, error) {
	e, err := c.Evidence(attest.Session, data)
	if err != nil {
		return nil, err
	}
	return &attest.Evidence{Quoted: e.Quoted, Signature: e.Signature}, nil
}

func (c *chip) CertifyEpoch(index uint32, data []byte) (p *attest.EpochProof, err error) {
	err = c.b.command(func() error {
		public := attest.EpochPublic(index)
		name, err := tpm2.NVName(&public)
		if err != nil {
			return err
		}
		b := c.statement(tpm2.TPMSTAttestNV, attest.Return, data, tpm2.NewTPMUAttest(tpm2.TPMSTAttestNV, &tpm2.TPMSNVCertifyInfo{
			IndexName: *name, NVContents: tpm2.TPM2BData{Buffer: binary.BigEndian.AppendUint64(nil, c.counter)},
		}))
		p = &attest.EpochProof{Index: index, Certified: b, Signature: c.sign(b)}
		return nil
	})
	return p, err
}

func (c *chip) statement(kind tpm2.TPMST, p attest.Purpose, data []byte, said tpm2.TPMUAttest) []byte {
	return tpm2.Marshal(tpm2.TPMSAttest{
		Magic: tpm2.TPMGeneratedValue, Type: kind, Attested: said,
		QualifiedSigner: tpm2.TPM2BName{Buffer: c.signer}, ExtraData: tpm2.TPM2BData{Buffer: p.Qualifying(data)},
		ClockInfo: tpm2.TPMSClockInfo{Clock: 1000 * uint64(c.b.w.now-begins), ResetCount: c.resets, RestartCount: c.restarts, Safe: true},
	})
}

// sign is ECDSA without chance, so that a life repeats.
func (c *chip) sign(message []byte) []byte {
	sum := sha256.Sum256(message)
	der, err := c.ak.Sign(nil, sum[:], crypto.SHA256)
	must(c.b.w, err)
	var point struct{ R, S *big.Int }
	_, err = asn1.Unmarshal(der, &point)
	must(c.b.w, err)
	return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
		Hash:       tpm2.TPMAlgSHA256,
		SignatureR: tpm2.TPM2BECCParameter{Buffer: point.R.FillBytes(make([]byte, 32))},
		SignatureS: tpm2.TPM2BECCParameter{Buffer: point.S.FillBytes(make([]byte, 32))},
	})})
}

// Activate is TPM2_ActivateCredential (TPM 2.0 Library, part 1, credential protection) for the P-256 endorsement key.
func (c *chip) Activate(w *attest.Wrapped) (key []byte, err error) {
	err = c.b.command(func() error { key, err = c.activate(w.P256); return err })
	return key, err
}

func (c *chip) activate(w attest.Credential) ([]byte, error) {
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
	plain := make([]byte, len(sealed))
	//lint:ignore SA1019 a TPM uses this mode
	cipher.NewCFBDecrypter(block, make([]byte, aes.BlockSize)).XORKeyStream(plain, sealed)
	return plain[2:], nil
}
