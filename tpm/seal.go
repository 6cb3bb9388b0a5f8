package tpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/attest"
)

// A sealed blob is a format byte, the Name of the storage root key (34 bytes), the
// epoch (8 bytes, big-endian), and two fields with 2-byte lengths: TPM2B_PRIVATE
// and TPM2B_PUBLIC without their own. About 290 bytes.
const (
	formatSealed = 0x51 // opens in a signed boot state and at its epoch only
	formatSetup  = 0x61 // opens on its TPM; the epoch is part of the sealed data
	formatBoot   = 0x71 // opens in a signed boot state, at any epoch

	MaxBlobBytes = 1 << 10 // checked before anything is parsed

	secretBytes = 32
	nameBytes   = 34 // algorithm and SHA-256
)

func checkSecret(secret []byte) error {
	if len(secret) != secretBytes {
		return fmt.Errorf("root secret has %d bytes, want %d", len(secret), secretBytes)
	}
	return nil
}

type blob struct {
	format          byte
	srk             []byte
	epoch           uint64
	private, public []byte
}

func (s *blob) encode() []byte {
	b := append([]byte{s.format}, s.srk...)
	b = binary.BigEndian.AppendUint64(b, s.epoch)
	for _, field := range [][]byte{s.private, s.public} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(field)))
		b = append(b, field...)
	}
	return b
}

func decodeBlob(b []byte, format byte) (*blob, error) {
	const fixed = 1 + nameBytes + 8
	switch {
	case len(b) > MaxBlobBytes:
		return nil, fmt.Errorf("sealed blob has %d bytes, at most %d are allowed", len(b), MaxBlobBytes)
	case len(b) < fixed:
		return nil, fmt.Errorf("sealed blob of %d bytes is cut short", len(b))
	case b[0] != format:
		return nil, fmt.Errorf("sealed blob has format %#02x, want %#02x", b[0], format)
	}
	s := &blob{format: format, srk: bytes.Clone(b[1 : 1+nameBytes]), epoch: binary.BigEndian.Uint64(b[1+nameBytes:])}
	rest := b[fixed:]
	for _, field := range []*[]byte{&s.private, &s.public} {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil, fmt.Errorf("sealed blob of %d bytes is cut short", len(b))
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		*field, rest = bytes.Clone(rest[2:n]), rest[n:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("sealed blob has %d bytes left over", len(rest))
	}
	return s, nil
}

// open decodes a blob and compares its epoch.
func open(b []byte, format byte, epoch uint64) (*blob, error) {
	s, err := decodeBlob(b, format)
	if err == nil && s.epoch != epoch {
		return nil, fmt.Errorf("%w: it is for %d, not for %d", ErrEpoch, s.epoch, epoch)
	}
	return s, err
}

// storageRoot makes the storage root key and compares it with the one a blob
// names, before anything is encrypted to it.
func (d *Device) storageRoot(name []byte) (*key, error) {
	srk, err := d.primary(tpm2.TPMRHOwner, tpm2.ECCSRKTemplate)
	if err != nil {
		return nil, err
	}
	if name != nil && !bytes.Equal(name, srk.name.Buffer) {
		d.flush(srk.handle)
		return nil, fmt.Errorf("%w: the storage root key is %.8x, want %.8x", ErrNotOurs, srk.name.Buffer, name)
	}
	return srk, nil
}

// Sealed says whether a blob that a Binding sealed was sealed on this TPM, whatever else keeps it from opening: ErrNotOurs on another one, and after TPM2_Clear.
func (d *Device) Sealed(blob []byte) error {
	s, err := decodeBlob(blob, formatSealed)
	if err != nil {
		return fmt.Errorf("look at a sealed blob: %w", err)
	}
	return d.operate("make the storage root key", func() error {
		srk, err := d.storageRoot(s.srk)
		if err == nil {
			d.flush(srk.handle)
		}
		return err
	})
}

// create seals data under srk. It crosses the bus encrypted.
func (d *Device) create(srk *key, attributes tpm2.TPMAObject, policy, data []byte) (*blob, error) {
	attributes.FixedTPM, attributes.FixedParent, attributes.NoDA = true, true, true
	rsp, err := tpm2.Create{
		ParentHandle: tpm2.AuthHandle{Handle: srk.handle, Name: srk.name, Auth: srk.hmac(tpm2.AESEncryption(128, tpm2.EncryptIn))},
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: data}),
		}},
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type:             tpm2.TPMAlgKeyedHash,
			NameAlg:          tpm2.TPMAlgSHA256,
			ObjectAttributes: attributes,
			AuthPolicy:       tpm2.TPM2BDigest{Buffer: policy},
		}),
	}.Execute(d.link)
	if err != nil {
		return nil, err
	}
	return &blob{
		srk:     bytes.Clone(srk.name.Buffer),
		private: rsp.OutPrivate.Buffer,
		public:  bytes.Clone(rsp.OutPublic.Bytes()),
	}, nil
}

func (d *Device) load(srk *key, s *blob) (*key, error) {
	public := tpm2.BytesAs2B[tpm2.TPMTPublic](s.public)
	rsp, err := tpm2.Load{
		ParentHandle: srk.auth(),
		InPrivate:    tpm2.TPM2BPrivate{Buffer: s.private},
		InPublic:     public,
	}.Execute(d.link)
	if err != nil {
		return nil, refused(err, ErrNotOurs)
	}
	return &key{handle: rsp.ObjectHandle, name: rsp.Name}, nil
}

// Seal seals the root secret, 32 bytes, so that it opens on this TPM, in a boot
// state that the boot key signed, while the counter is at epoch.
func (b *Binding) Seal(secret []byte, epoch uint64) ([]byte, error) {
	if err := checkSecret(secret); err != nil {
		return nil, fmt.Errorf("seal trusted storage: %w", err)
	}
	policy, err := b.policy(epoch)
	if err != nil {
		return nil, fmt.Errorf("seal trusted storage: %w", err)
	}
	var sealed *blob
	err = b.d.operate("seal trusted storage", func() error {
		srk, err := b.d.storageRoot(b.srk)
		if err != nil {
			return err
		}
		defer b.d.flush(srk.handle)
		if sealed, err = b.d.create(srk, tpm2.TPMAObject{}, policy, secret); err != nil {
			return err
		}
		sealed.format, sealed.epoch = formatSealed, epoch
		b.srk = sealed.srk
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sealed.encode(), nil
}

// policy is PolicyAuthorize of the boot key and then PolicyNV(E == epoch). The
// order matters: PolicyAuthorize replaces what came before, which is what the
// producer signs; what follows is ours.
func (b *Binding) policy(epoch uint64) ([]byte, error) {
	public, err := b.key.TPMT()
	if err != nil {
		return nil, err
	}
	keyName, err := tpm2.ObjectName(&public)
	if err != nil {
		return nil, err
	}
	index, err := epochName(b.index)
	if err != nil {
		return nil, err
	}
	c, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA256)
	if err != nil {
		return nil, err
	}
	authorize := tpm2.PolicyAuthorize{PolicyRef: tpm2.TPM2BDigest{Buffer: b.key.Ref}, KeySign: *keyName}
	if err := authorize.Update(c); err != nil {
		return nil, err
	}
	if err := b.atEpoch(index, epoch).Update(c); err != nil {
		return nil, err
	}
	return c.Hash().Digest, nil
}

func (b *Binding) atEpoch(name tpm2.TPM2BName, epoch uint64) tpm2.PolicyNV {
	return tpm2.PolicyNV{
		AuthHandle: owner(),
		NVIndex:    tpm2.NamedHandle{Handle: tpm2.TPMHandle(b.index), Name: name},
		OperandB:   tpm2.TPM2BOperand{Buffer: binary.BigEndian.AppendUint64(nil, epoch)},
		Operation:  tpm2.TPMEOEq,
	}
}

// Unseal opens what Seal sealed for epoch. ErrEpoch: it is for another, or the
// counter is elsewhere; ErrBootState, ErrCounter and ErrNotOurs say what else no
// longer is as it was.
func (b *Binding) Unseal(sealed []byte, epoch uint64) ([]byte, error) {
	s, err := open(sealed, formatSealed, epoch)
	if err != nil {
		return nil, fmt.Errorf("unseal trusted storage: %w", err)
	}
	var secret []byte
	err = b.d.operate("unseal trusted storage", func() (err error) {
		for range 3 { // any extension of another PCR ends a policy session
			if secret, err = b.unseal(s); !errors.Is(err, tpm2.TPMRCPCRChanged) {
				break
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return secret, nil
}

func (b *Binding) unseal(s *blob) ([]byte, error) {
	srk, err := b.d.storageRoot(s.srk)
	if err != nil {
		return nil, err
	}
	defer b.d.flush(srk.handle)
	item, err := b.d.load(srk, s)
	if err != nil {
		return nil, err
	}
	defer b.d.flush(item.handle)
	session, end, err := tpm2.PolicySession(b.d.link, tpm2.TPMAlgSHA256, 16, srk.salted(), tpm2.AESEncryption(128, tpm2.EncryptOut))
	if err != nil {
		return nil, err
	}
	defer end()
	if err := b.authorizeBootState(session.Handle()); err != nil {
		return nil, err
	}
	index, err := epochName(b.index)
	if err != nil {
		return nil, err
	}
	atEpoch := b.atEpoch(index, s.epoch)
	atEpoch.PolicySession = session.Handle()
	if _, err := atEpoch.Execute(b.d.link); err != nil {
		return nil, counterError(means(err, ErrEpoch, tpm2.TPMRCPolicy))
	}
	rsp, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{Handle: item.handle, Name: item.name, Auth: session}}.Execute(b.d.link)
	if errors.Is(err, tpm2.TPMRCPolicyFail) && !b.counterIsOurs(index) {
		return nil, fmt.Errorf("%w: %w", ErrCounter, err)
	}
	if err != nil {
		return nil, means(err, ErrBootState, tpm2.TPMRCPolicyFail)
	}
	if err := checkSecret(rsp.OutData.Buffer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	b.srk = bytes.Clone(s.srk)
	return rsp.OutData.Buffer, nil
}

// authorizeBootState brings a policy session to where the boot key's signature
// over the present boot state takes it.
func (b *Binding) authorizeBootState(session tpm2.TPMHandle) error {
	pcrs, err := readPCRs(b.d.link, 7, 11, 12)
	if err != nil {
		return err
	}
	state := b.signedState(pcrs)
	if state == nil {
		return fmt.Errorf("%w: PCR 7 is %x, 11 is %x, 12 is %x", ErrBootState, pcrs[:32], pcrs[32:64], pcrs[64:])
	}
	approved, err := attest.StatePolicy(pcrs)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(pcrs)
	if _, err := (tpm2.PolicyPCR{
		PolicySession: session,
		PcrDigest:     tpm2.TPM2BDigest{Buffer: sum[:]},
		Pcrs:          attest.BootPCRs(),
	}).Execute(b.d.link); err != nil {
		return means(err, ErrBootState, tpm2.TPMRCValue)
	}
	public, err := b.key.TPMT()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBootState, err)
	}
	// The ticket is good for PolicyAuthorize in a hierarchy other than Null.
	loaded, err := tpm2.LoadExternal{InPublic: tpm2.New2B(public), Hierarchy: tpm2.TPMRHOwner}.Execute(b.d.link)
	if err != nil {
		return err
	}
	defer b.d.flush(loaded.ObjectHandle)
	digest := sha256.Sum256(append(bytes.Clone(approved), b.key.Ref...))
	half := len(state.Signature) / 2
	verified, err := tpm2.VerifySignature{
		KeyHandle: loaded.ObjectHandle,
		Digest:    tpm2.TPM2BDigest{Buffer: digest[:]},
		Signature: tpm2.TPMTSignature{
			SigAlg: tpm2.TPMAlgECDSA,
			Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
				Hash:       tpm2.TPMAlgSHA256,
				SignatureR: tpm2.TPM2BECCParameter{Buffer: state.Signature[:half]},
				SignatureS: tpm2.TPM2BECCParameter{Buffer: state.Signature[half:]},
			}),
		},
	}.Execute(b.d.link)
	if err != nil {
		return means(err, ErrBootState, tpm2.TPMRCSignature)
	}
	_, err = tpm2.PolicyAuthorize{
		PolicySession:  session,
		ApprovedPolicy: tpm2.TPM2BDigest{Buffer: approved},
		PolicyRef:      tpm2.TPM2BDigest{Buffer: b.key.Ref},
		KeySign:        loaded.Name,
		CheckTicket:    verified.Validation,
	}.Execute(b.d.link)
	return means(err, ErrBootState, tpm2.TPMRCValue, tpm2.TPMRCPolicyFail, tpm2.TPMRCSignature)
}

// signedState finds a state with these values that verifies, if there is one: a
// list may hold another product's too.
func (b *Binding) signedState(pcrs []byte) *attest.SignedState {
	for i := range b.signed {
		if s := &b.signed[i]; bytes.Equal(s.PCRs, pcrs) && b.key.Verify(s) == nil {
			return s
		}
	}
	return nil
}

// counterIsOurs asks the TPM for the counter's Name, to name a refusal and for
// nothing else.
func (b *Binding) counterIsOurs(name tpm2.TPM2BName) bool {
	rsp, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(b.index)}.Execute(b.d.link)
	return err == nil && bytes.Equal(rsp.NVName.Buffer, name.Buffer)
}

// Setup seals for this TPM in any boot state and at any epoch of a counter: for
// storage before the first response, which holds no right. The epoch is a number
// of the storage's own, and part of what is sealed.
type Setup struct{ d *Device }

// Setup returns a sealer for storage before the first response.
func (d *Device) Setup() *Setup { return &Setup{d} }

// Seal seals the root secret, 32 bytes, to this TPM.
func (s *Setup) Seal(secret []byte, epoch uint64) ([]byte, error) {
	if err := checkSecret(secret); err != nil {
		return nil, fmt.Errorf("seal settings: %w", err)
	}
	var sealed *blob
	err := s.d.operate("seal settings", func() error {
		srk, err := s.d.storageRoot(nil)
		if err != nil {
			return err
		}
		defer s.d.flush(srk.handle)
		data := append(binary.BigEndian.AppendUint64(nil, epoch), secret...)
		if sealed, err = s.d.create(srk, tpm2.TPMAObject{UserWithAuth: true}, nil, data); err != nil {
			return err
		}
		sealed.format, sealed.epoch = formatSetup, epoch
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sealed.encode(), nil
}

// Unseal opens what Seal sealed for epoch; ErrEpoch if it was for another,
// ErrNotOurs on another TPM or after TPM2_Clear.
func (s *Setup) Unseal(sealed []byte, epoch uint64) ([]byte, error) {
	b, err := open(sealed, formatSetup, epoch)
	if err != nil {
		return nil, fmt.Errorf("unseal settings: %w", err)
	}
	var secret []byte
	err = s.d.operate("unseal settings", func() error {
		srk, err := s.d.storageRoot(b.srk)
		if err != nil {
			return err
		}
		defer s.d.flush(srk.handle)
		item, err := s.d.load(srk, b)
		if err != nil {
			return err
		}
		defer s.d.flush(item.handle)
		rsp, err := tpm2.Unseal{ItemHandle: tpm2.AuthHandle{
			Handle: item.handle, Name: item.name, Auth: srk.hmac(tpm2.AESEncryption(128, tpm2.EncryptOut)),
		}}.Execute(s.d.link)
		if err != nil {
			return refused(err, ErrNotOurs)
		}
		data := rsp.OutData.Buffer
		if len(data) != 8+secretBytes {
			return fmt.Errorf("%w: it holds %d bytes, want %d", ErrNotOurs, len(data), 8+secretBytes)
		}
		if at := binary.BigEndian.Uint64(data); at != epoch {
			return fmt.Errorf("%w: it is for %d, not for %d", ErrEpoch, at, epoch)
		}
		secret = data[8:]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return secret, nil
}
