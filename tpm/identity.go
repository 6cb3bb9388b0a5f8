package tpm

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm/attest"
)

// key is a loaded object. Whoever loads one defers flush.
type key struct {
	handle tpm2.TPMHandle
	public tpm2.TPMTPublic
	raw    []byte // TPMT_PUBLIC
	name   tpm2.TPM2BName
}

// auth is the key with its empty auth value.
func (k *key) auth() tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: k.handle, Name: k.name, Auth: tpm2.PasswordAuth(nil)}
}

func (k *key) salted() tpm2.AuthOption { return tpm2.Salted(k.handle, k.public) }

// hmac is a session for one command, keyed by a salt that only k's TPM can read.
func (k *key) hmac(options ...tpm2.AuthOption) tpm2.Session {
	return tpm2.HMAC(tpm2.TPMAlgSHA256, 16, append(options, k.salted())...)
}

func (d *Device) primary(hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic) (*key, error) {
	rsp, err := tpm2.CreatePrimary{PrimaryHandle: hierarchy, InPublic: tpm2.New2B(template)}.Execute(d.link)
	if err != nil {
		return nil, hierarchyError(err)
	}
	k := &key{handle: rsp.ObjectHandle, raw: bytes.Clone(rsp.OutPublic.Bytes())}
	public, err := rsp.OutPublic.Contents()
	if err == nil {
		k.public = *public
		var name *tpm2.TPM2BName
		if name, err = tpm2.ObjectName(public); err == nil {
			k.name = *name
			return k, nil
		}
	}
	d.flush(k.handle)
	return nil, err
}

func (d *Device) endorsementKey() (*key, error) {
	return d.primary(tpm2.TPMRHEndorsement, tpm2.ECCEKTemplate)
}

func (d *Device) attestationKey() (*key, error) {
	return d.primary(tpm2.TPMRHEndorsement, attest.AKTemplate())
}

// flush ends an object or session. What it cannot flush now is flushed when the
// TPM runs out: see operate.
func (d *Device) flush(h tpm2.TPMHandle) {
	_, _ = tpm2.FlushContext{FlushHandle: h}.Execute(d.link)
}

// HostID names this machine by its P-256 endorsement key.
func (d *Device) HostID() (id attest.HostID, err error) {
	err = d.operate("read the host ID", func() error {
		ek, err := d.endorsementKey()
		if err != nil {
			return err
		}
		defer d.flush(ek.handle)
		id, err = attest.HostIDOf(ek.raw)
		return err
	})
	return id, err
}

// Evidence quotes the boot state over purpose and data, and shows the keys and
// certificates by which the quote is judged.
func (d *Device) Evidence(p attest.Purpose, data []byte) (*attest.Evidence, error) {
	var e *attest.Evidence
	err := d.operate("make evidence", func() error {
		ek, err := d.endorsementKey()
		if err != nil {
			return err
		}
		d.flush(ek.handle)
		if e, err = d.quote(p, data); err != nil {
			return err
		}
		e.EK = ek.raw
		if e.EKCertificates, err = d.certificates(ek.raw); err != nil || p != attest.Request || len(e.EKCertificates) == 0 {
			return err
		}
		chain, err := d.chain()
		e.Intermediates = attest.ChooseIntermediates(chain, e.EKCertificates)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Session is the statement about data, the serving key's public bytes, for
// attest.VerifySession: less than 400 bytes encoded, because it goes to every
// client.
func (d *Device) Session(data []byte) (*attest.Evidence, error) {
	var e *attest.Evidence
	err := d.operate("make a session statement", func() error {
		quoted, err := d.quote(attest.Session, data)
		if err != nil {
			return err
		}
		e = &attest.Evidence{Quoted: quoted.Quoted, Signature: quoted.Signature}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// quote repeats itself when a PCR moved between the reading and the quote.
func (d *Device) quote(p attest.Purpose, data []byte) (*attest.Evidence, error) {
	ak, err := d.attestationKey()
	if err != nil {
		return nil, err
	}
	defer d.flush(ak.handle)
	for range 3 {
		pcrs, err := readPCRs(d.link, 7, 11, 12)
		if err != nil {
			return nil, err
		}
		rsp, err := tpm2.Quote{
			SignHandle:     ak.auth(),
			QualifyingData: tpm2.TPM2BData{Buffer: p.Qualifying(data)},
			InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, // the key's own
			PCRSelect:      attest.BootPCRs(),
		}.Execute(d.link)
		if err != nil {
			return nil, err
		}
		said, err := rsp.Quoted.Contents()
		if err != nil {
			return nil, err
		}
		quoted, err := said.Attested.Quote()
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(pcrs); bytes.Equal(sum[:], quoted.PCRDigest.Buffer) {
			return &attest.Evidence{
				AK:        ak.raw,
				Quoted:    bytes.Clone(rsp.Quoted.Bytes()),
				Signature: tpm2.Marshal(rsp.Signature),
				PCRs:      pcrs,
			}, nil
		}
	}
	return nil, errors.New("the boot state does not hold still")
}

// NV indexes of EK certificates: TCG EK Credential Profile 2.2.1.4.
const (
	certificateRSA2048 = 0x01C00002
	certificateP256    = 0x01C0000A

	maxCertificateArea = 8 << 10 // bytes: evidence takes certificates of 4 KiB
)

// certificates reads those EK certificates that attest.Verify takes. A TPM may
// have none; makers write odd ones, which are left out.
func (d *Device) certificates(ek []byte) ([][]byte, error) {
	var found [][]byte
	for _, index := range []tpm2.TPMHandle{certificateP256, certificateRSA2048} {
		b, err := d.readNV(index, maxCertificateArea)
		if err != nil && lasting(err) {
			continue // not there, or not for us to read
		}
		if err != nil {
			return nil, fmt.Errorf("read the certificate at NV index %#x: %w", uint32(index), err)
		}
		var der asn1.RawValue // makers pad what follows
		if _, err := asn1.Unmarshal(b, &der); err == nil && attest.CheckCertificate(der.FullBytes, ek) == nil {
			found = append(found, der.FullBytes)
		}
	}
	return found, nil
}

// readNV reads what an index holds, at most its first limit bytes.
func (d *Device) readNV(index tpm2.TPMHandle, limit int) ([]byte, error) {
	area, err := tpm2.NVReadPublic{NVIndex: index}.Execute(d.link)
	if err != nil {
		return nil, err
	}
	public, err := area.NVPublic.Contents()
	if err != nil {
		return nil, err
	}
	// A wrong password must not count towards a lockout, and ours is a guess: the
	// profile has NO_DA, as makers have.
	if !public.Attributes.NoDA && index >= firstChain {
		return nil, tpm2.TPMRCNVAuthorization
	}
	if d.chunk == 0 {
		limits, err := properties(d.link, tpm2.TPMPTNVBufferMax, 1)
		if err != nil {
			return nil, err
		}
		d.chunk = int(limits[tpm2.TPMPTNVBufferMax])
	}
	chunk := min(max(d.chunk, 64), 1024)
	size := min(int(public.DataSize), limit)
	data := make([]byte, 0, size)
	for len(data) < size {
		want := min(chunk, size-len(data))
		rsp, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: area.NVName, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: area.NVName},
			Size:       uint16(want),
			Offset:     uint16(len(data)),
		}.Execute(d.link)
		if err != nil {
			return nil, err
		}
		if len(rsp.Data.Buffer) != want {
			return nil, fmt.Errorf("asked for %d bytes and got %d", want, len(rsp.Data.Buffer))
		}
		data = append(data, rsp.Data.Buffer...)
	}
	return data, nil
}

// CertifyEpoch is the proof in a return: the AK's word for the value of E beside
// data, the digest of the return.
func (d *Device) CertifyEpoch(index uint32, data []byte) (*attest.EpochProof, error) {
	var p *attest.EpochProof
	err := d.operate("certify the epoch", func() error {
		name, err := epochName(index)
		if err != nil {
			return err
		}
		ak, err := d.attestationKey()
		if err != nil {
			return err
		}
		defer d.flush(ak.handle)
		rsp, err := tpm2.NVCertify{
			SignHandle:     ak.auth(),
			AuthHandle:     owner(),
			NVIndex:        tpm2.NamedHandle{Handle: tpm2.TPMHandle(index), Name: name},
			QualifyingData: tpm2.TPM2BData{Buffer: attest.Return.Qualifying(data)},
			InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull}, // the key's own
			Size:           8,
		}.Execute(d.link)
		if err := hierarchyError(err); errors.Is(err, ErrPassword) {
			return err
		}
		if err != nil {
			return counterError(err)
		}
		p = &attest.EpochProof{
			Index:     index,
			Certified: bytes.Clone(rsp.CertifyInfo.Bytes()),
			Signature: tpm2.Marshal(rsp.Signature),
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Activate recovers the content key of a response; ErrNotOurs if it is for
// another host, for another attestation key, or damaged.
func (d *Device) Activate(w *attest.Wrapped) ([]byte, error) {
	var content []byte
	err := d.operate("open a response", func() error {
		ek, err := d.endorsementKey()
		if err != nil {
			return err
		}
		defer d.flush(ek.handle)
		id, err := attest.HostIDOf(ek.raw)
		if err != nil {
			return err
		}
		if id != w.HostID {
			return fmt.Errorf("%w: it is for host %v, this is %v", ErrNotOurs, w.HostID, id)
		}
		ak, err := d.attestationKey()
		if err != nil {
			return err
		}
		defer d.flush(ak.handle)
		if content, err = d.activate(ek, ak, w.P256); err != nil {
			return err
		}
		if w.RSA.Present() {
			other, err := d.primary(tpm2.TPMRHEndorsement, tpm2.RSAEKTemplate)
			if err != nil {
				return err
			}
			defer d.flush(other.handle)
			share, err := d.activate(other, ak, w.RSA)
			if err != nil {
				return err
			}
			subtle.XORBytes(content, content, share)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return content, nil
}

// activate opens one credential. The secret leaves the TPM encrypted.
func (d *Device) activate(ek, ak *key, c attest.Credential) ([]byte, error) {
	session, end, err := tpm2.PolicySession(d.link, tpm2.TPMAlgSHA256, 16, ek.salted(), tpm2.AESEncryption(128, tpm2.EncryptOut))
	if err != nil {
		return nil, err
	}
	defer end()
	if _, err := (tpm2.PolicySecret{
		AuthHandle:    tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		PolicySession: session.Handle(),
		NonceTPM:      session.NonceTPM(),
	}).Execute(d.link); err != nil {
		return nil, err
	}
	rsp, err := tpm2.ActivateCredential{
		ActivateHandle: ak.auth(),
		KeyHandle:      tpm2.AuthHandle{Handle: ek.handle, Name: ek.name, Auth: session},
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: c.Blob},
		Secret:         tpm2.TPM2BEncryptedSecret{Buffer: c.Secret},
	}.Execute(d.link)
	if errors.Is(err, tpm2.TPMRCFailure) {
		// Some TPMs say so of an RSA credential for another one and are well.
		if _, broken := (tpm2.GetRandom{BytesRequested: 8}).Execute(d.link); broken == nil {
			return nil, fmt.Errorf("%w: %w", ErrNotOurs, err)
		}
		return nil, err
	}
	if err != nil {
		return nil, refused(err, ErrNotOurs)
	}
	if n := len(rsp.CertInfo.Buffer); n != attest.KeyBytes {
		return nil, fmt.Errorf("%w: it holds a key of %d bytes, want %d", ErrNotOurs, n, attest.KeyBytes)
	}
	return rsp.CertInfo.Buffer, nil
}
