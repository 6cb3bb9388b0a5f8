package tpmtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// Certificate says which endorsement key of a new TPM gets one.
type Certificate uint8

const (
	None    Certificate = iota // beside no other: a TPM that nobody vouches for
	P256                       // at NV index 0x01C0000A
	RSA                        // at 0x01C00002: what most makers and swtpm_setup give
	Chained                    // P256 by an intermediate of the authority, which is at 0x01C00100
)

const authorityFile = "authority.pem"

// Authority is who certifies endorsement keys: a certificate and its key.
type Authority struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

var theAuthority = sync.OnceValues(NewAuthority)

// TheAuthority is the one whose certificates New writes, one for a process.
func TheAuthority() (*Authority, error) { return theAuthority() }

// Roots is a pool of TheAuthority, for one or the other side of attest.Roots.
func Roots() (*x509.CertPool, error) {
	a, err := TheAuthority()
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate)
	return pool, nil
}

// NewAuthority makes another one, as a forger would.
func NewAuthority() (*Authority, error) { return authority("Leasehold test TPM authority", nil) }

// Below makes an intermediate that a certifies.
func (a *Authority) Below(name string) (*Authority, error) { return authority(name, a) }

func authority(name string, above *Authority) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             notBefore(),
		NotAfter:              notAfter(),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	if above == nil {
		above = &Authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above.Certificate, key.Public(), above.key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate, key}, nil
}

func notBefore() time.Time { return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) }
func notAfter() time.Time  { return time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }

// Certify returns an endorsement key certificate as makers write them: empty
// subject, critical alternative name with maker and model, and the extended key
// usage of endorsement keys. change, if not nil, may spoil it first.
func (a *Authority) Certify(key crypto.PublicKey, change func(*x509.Certificate)) ([]byte, error) {
	model, err := subjectAltName()
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		NotBefore:             notBefore(),
		NotAfter:              notAfter(),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageKeyAgreement,
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}},
		ExtraExtensions:       []pkix.Extension{model},
	}
	if change != nil {
		change(template)
	}
	return x509.CreateCertificate(rand.Reader, template, a.Certificate, key, a.key)
}

// subjectAltName holds a directory name only: maker, model and version.
func subjectAltName() (pkix.Extension, error) {
	var names pkix.RDNSequence
	for i, v := range []string{"id:00001014", "swtpm", "id:20191023"} {
		names = append(names, []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 23, 133, 2, i + 1}, Value: v}})
	}
	name, err := asn1.Marshal(names)
	if err != nil {
		return pkix.Extension{}, err
	}
	directory := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: name}
	value, err := asn1.Marshal([]asn1.RawValue{directory})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: value}, err
}

func (m *TPM) certify(kinds []Certificate) error {
	a, err := TheAuthority()
	if err != nil {
		return err
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
	if err := os.WriteFile(filepath.Join(m.dir, authorityFile), block, 0o644); err != nil {
		return err
	}
	for _, kind := range kinds {
		var template tpm2.TPMTPublic
		var index tpm2.TPMHandle
		switch kind {
		case P256, Chained:
			template, index = tpm2.ECCEKTemplate, 0x01C0000A
		case RSA:
			template, index = tpm2.RSAEKTemplate, 0x01C00002
		default:
			continue
		}
		key, err := m.endorsementKey(template)
		if err != nil {
			return fmt.Errorf("certify the tpm: %w", err)
		}
		by := a
		if kind == Chained {
			if by, err = a.Below("Leasehold test TPM intermediate"); err != nil {
				return fmt.Errorf("certify the tpm: %w", err)
			}
			if err := m.WriteNV(0x01C00100, by.Certificate.Raw); err != nil {
				return fmt.Errorf("certify the tpm: %w", err)
			}
		}
		der, err := by.Certify(key, nil)
		if err != nil {
			return fmt.Errorf("certify the tpm: %w", err)
		}
		if err := m.WriteNV(index, der); err != nil {
			return fmt.Errorf("certify the tpm: %w", err)
		}
	}
	return nil
}

func (m *TPM) endorsementKey(template tpm2.TPMTPublic) (crypto.PublicKey, error) {
	rsp, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHEndorsement, InPublic: tpm2.New2B(template)}.Execute(m.bus)
	if err != nil {
		return nil, err
	}
	if _, err := (tpm2.FlushContext{FlushHandle: rsp.ObjectHandle}).Execute(m.bus); err != nil {
		return nil, err
	}
	public, err := rsp.OutPublic.Contents()
	if err != nil {
		return nil, err
	}
	return tpm2.Pub(*public)
}

// WriteNV defines an index as a platform's maker does, which TPM2_Clear leaves
// alone, and writes data.
func (m *TPM) WriteNV(index tpm2.TPMHandle, data []byte) error {
	platform := tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)}
	if _, err := (tpm2.NVDefineSpace{
		AuthHandle: platform,
		PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
			NVIndex: index,
			NameAlg: tpm2.TPMAlgSHA256,
			Attributes: tpm2.TPMANV{
				PPWrite: true, PPRead: true, OwnerRead: true, AuthRead: true,
				NoDA: true, PlatformCreate: true,
			},
			DataSize: uint16(len(data)),
		}),
	}).Execute(m.bus); err != nil {
		return fmt.Errorf("define NV index %#x: %w", uint32(index), err)
	}
	const chunk = 512
	for at := 0; at < len(data); at += chunk {
		public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(m.bus) // writing changes the Name
		if err != nil {
			return fmt.Errorf("write NV index %#x: %w", uint32(index), err)
		}
		if _, err := (tpm2.NVWrite{
			AuthHandle: platform,
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Data:       tpm2.TPM2BMaxNVBuffer{Buffer: data[at:min(at+chunk, len(data))]},
			Offset:     uint16(at),
		}).Execute(m.bus); err != nil {
			return fmt.Errorf("write NV index %#x: %w", uint32(index), err)
		}
	}
	return nil
}

// Clear is TPM2_Clear, which any root can send: lockout authorization is empty.
func (m *TPM) Clear() error {
	if _, err := (tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHLockout, Auth: tpm2.PasswordAuth(nil)}}).Execute(m.bus); err != nil {
		return fmt.Errorf("clear the tpm: %w", err)
	}
	return nil
}
