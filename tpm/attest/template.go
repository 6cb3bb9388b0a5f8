package attest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

const (
	// EpochIndex is the NV index of the epoch counter unless a second producer
	// on the machine needs another: any in 0x01800000-0x01BFFFFF, which the TCG
	// registry leaves to owners.
	EpochIndex uint32 = 0x01804C48

	// ImagesIndex is the NV index of the counter of images.
	ImagesIndex uint32 = 0x01804C49

	// RunningPCR holds the running digest by default. Only a reset or restart
	// of the TPM clears it.
	RunningPCR = 15

	// bootStateBytes is the size of a boot state: PCR 7, 11 and 12.
	bootStateBytes = 3 * sha256.Size
)

// BootPCRs selects what makes a boot state: Secure Boot policy (7), kernel image
// (11) and its command line (12), in the SHA-256 bank.
func BootPCRs() tpm2.TPMLPCRSelection { return SelectPCRs(7, 11, 12) }

// SelectPCRs selects PCRs of the SHA-256 bank.
func SelectPCRs(pcrs ...uint) tpm2.TPMLPCRSelection {
	return tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{
		Hash:      tpm2.TPMAlgSHA256,
		PCRSelect: tpm2.PCClientCompatible.PCRs(pcrs...),
	}}}
}

// AKTemplate is the attestation key: a restricted P-256 signing key, a primary of
// the endorsement hierarchy, so that it needs no storage and survives TPM2_Clear.
func AKTemplate() tpm2.TPMTPublic {
	label := sha256.Sum256([]byte("leasehold attestation key v1"))
	return tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgECC,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM:            true,
			FixedParent:         true,
			SensitiveDataOrigin: true,
			UserWithAuth:        true,
			NoDA:                true,
			Restricted:          true,
			SignEncrypt:         true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, ecdsaP256()),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: label[:]},
			Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, coordinateBytes)},
		}),
	}
}

// EpochPublic is the public area of the epoch counter once it was incremented.
// Its Name is always computed from this and never taken from the TPM's word.
func EpochPublic(index uint32) tpm2.TPMSNVPublic {
	return tpm2.TPMSNVPublic{
		NVIndex: tpm2.TPMHandle(index),
		NameAlg: tpm2.TPMAlgSHA256,
		Attributes: tpm2.TPMANV{
			AuthWrite: true,
			OwnerRead: true,
			NT:        tpm2.TPMNTCounter,
			NoDA:      true,
			Written:   true,
		},
		DataSize: 8,
	}
}

// ImagesPublic is the public area of the counter of images once it was written: its owner reads and moves it.
func ImagesPublic(index uint32) tpm2.TPMSNVPublic {
	public := EpochPublic(index)
	public.Attributes.AuthWrite, public.Attributes.OwnerWrite = false, true
	return public
}

func ecdsaP256() *tpm2.TPMSECCParms {
	return &tpm2.TPMSECCParms{
		Scheme: tpm2.TPMTECCScheme{
			Scheme:  tpm2.TPMAlgECDSA,
			Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
		},
		CurveID: tpm2.TPMECCNistP256,
	}
}

// EpochProof is the AK's word for the value of the epoch counter, made when a
// return was durable. It shows that no state of an earlier epoch opens any more.
type EpochProof struct {
	Index     uint32 // NV index of the counter
	Certified []byte // TPMS_ATTEST, an NV certification of all 8 bytes
	Signature []byte // TPMT_SIGNATURE by the AK over Certified
}

// VerifyEpoch returns the counter's value that p proves for data, the digest of a
// return. Of id only AK is used, so that &Identity{AK: ak} does.
func VerifyEpoch(p *EpochProof, id *Identity, data []byte) (epoch uint64, err error) {
	ak, err := parseAK(id.AK)
	if err != nil {
		return 0, err
	}
	said, err := verifyStatement(ak, p.Certified, p.Signature, tpm2.TPMSTAttestNV, Return, data)
	if err != nil {
		return 0, err
	}
	nv, err := said.Attested.NV()
	if err != nil {
		return 0, fmt.Errorf("read certified counter: %w", err)
	}
	public := EpochPublic(p.Index)
	name, err := tpm2.NVName(&public)
	if err != nil {
		return 0, fmt.Errorf("compute name of NV index %#x: %w", p.Index, err)
	}
	if string(nv.IndexName.Buffer) != string(name.Buffer) {
		return 0, fmt.Errorf("statement is not about an epoch counter at NV index %#x", p.Index)
	}
	if nv.Offset != 0 || len(nv.NVContents.Buffer) != 8 {
		return 0, fmt.Errorf("statement has %d bytes of the counter from byte %d, want 8 from byte 0", len(nv.NVContents.Buffer), nv.Offset)
	}
	return binary.BigEndian.Uint64(nv.NVContents.Buffer), nil
}
