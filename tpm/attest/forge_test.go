package attest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/attest"
)

// forger signs what no TPM would: its keys are in software, so that each single
// thing a verifier checks can be wrong while all else, the signature too, is right.
type forger struct {
	ek, ak       *ecdsa.PrivateKey
	ekArea       tpm2.TPMTPublic
	akArea       tpm2.TPMTPublic
	pcrs         []byte
	certificates [][]byte
	between      [][]byte // intermediates
}

func newForger(t testing.TB) *forger {
	t.Helper()
	f := &forger{ek: newKey(t), ak: newKey(t), pcrs: make([]byte, 96)}
	f.ekArea = withPoint(tpm2.ECCEKTemplate, &f.ek.PublicKey)
	f.akArea = withPoint(attest.AKTemplate(), &f.ak.PublicKey)
	rand.Read(f.pcrs[:64])
	return f
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func withPoint(template tpm2.TPMTPublic, key *ecdsa.PublicKey) tpm2.TPMTPublic {
	x, y := coordinates(key)
	template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: x},
		Y: tpm2.TPM2BECCParameter{Buffer: y},
	})
	return template
}

func coordinates(key *ecdsa.PublicKey) (x, y []byte) {
	b, err := key.Bytes()
	if err != nil {
		panic(err)
	}
	return b[1:33], b[33:]
}

// name is the Name of a public area and the qualified one under a hierarchy.
func names(area tpm2.TPMTPublic, hierarchy tpm2.TPMHandle) (name, qualified []byte) {
	n, err := tpm2.ObjectName(&area)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(append(tpm2.PrimaryHandleName(hierarchy), n.Buffer...))
	return n.Buffer, append([]byte{0, 0x0B}, sum[:]...)
}

// statement is a quote over data; change may spoil it.
func (f *forger) statement(p attest.Purpose, data []byte, change func(*tpm2.TPMSAttest)) []byte {
	_, signer := names(f.akArea, tpm2.TPMRHEndorsement)
	sum := sha256.Sum256(f.pcrs)
	s := tpm2.TPMSAttest{
		Magic:           tpm2.TPMGeneratedValue,
		Type:            tpm2.TPMSTAttestQuote,
		QualifiedSigner: tpm2.TPM2BName{Buffer: signer},
		ExtraData:       tpm2.TPM2BData{Buffer: p.Qualifying(data)},
		ClockInfo:       tpm2.TPMSClockInfo{Clock: 1234, ResetCount: 5, RestartCount: 6, Safe: true},
		FirmwareVersion: 0x0102030405060708,
		Attested: tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
			PCRSelect: attest.BootPCRs(),
			PCRDigest: tpm2.TPM2BDigest{Buffer: sum[:]},
		}),
	}
	if change != nil {
		change(&s)
	}
	return tpm2.Marshal(s)
}

// counter is a certification of an epoch counter.
func (f *forger) counter(index uint32, epoch uint64, data []byte, change func(*tpm2.TPMSAttest, *tpm2.TPMSNVCertifyInfo)) *attest.EpochProof {
	public := attest.EpochPublic(index)
	name, err := tpm2.NVName(&public)
	if err != nil {
		panic(err)
	}
	info := &tpm2.TPMSNVCertifyInfo{
		IndexName:  *name,
		NVContents: tpm2.TPM2BData{Buffer: binary.BigEndian.AppendUint64(nil, epoch)},
	}
	b := f.statement(attest.Return, data, func(s *tpm2.TPMSAttest) {
		s.Type = tpm2.TPMSTAttestNV
		if change != nil {
			change(s, info)
		}
		s.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestNV, info)
	})
	return &attest.EpochProof{Index: index, Certified: b, Signature: f.sign(b, nil)}
}

func (f *forger) sign(message []byte, change func(*tpm2.TPMSSignatureECC)) []byte {
	sum := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, f.ak, sum[:])
	if err != nil {
		panic(err)
	}
	signature := &tpm2.TPMSSignatureECC{
		Hash:       tpm2.TPMAlgSHA256,
		SignatureR: tpm2.TPM2BECCParameter{Buffer: r.FillBytes(make([]byte, 32))},
		SignatureS: tpm2.TPM2BECCParameter{Buffer: s.FillBytes(make([]byte, 32))},
	}
	if change != nil {
		change(signature)
	}
	return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, signature)})
}

// evidence is sound but for what change does to the statement.
func (f *forger) evidence(p attest.Purpose, data []byte, change func(*tpm2.TPMSAttest)) *attest.Evidence {
	quoted := f.statement(p, data, change)
	return &attest.Evidence{
		EK:             tpm2.Marshal(f.ekArea),
		AK:             tpm2.Marshal(f.akArea),
		Quoted:         quoted,
		Signature:      f.sign(quoted, nil),
		PCRs:           f.pcrs,
		EKCertificates: f.certificates,
		Intermediates:  f.between,
	}
}
