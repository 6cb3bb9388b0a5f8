package backoffice

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"embed"
	"encoding/pem"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/google/go-tpm-tools/server"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/tpm/attest"
)

// The authorities that ship with freehold are copied into roots/ when a back office is made: what is trusted is what is there, for everyone to see, and a producer may take one away.

// authorities has a directory for each tier, with PEM files in which every certificate has its source in a line above it.
//
//go:embed authorities
var authorities embed.FS

const shippedName = "shipped.pem"

// Authority is one that certifies endorsement keys, or intermediates that do.
type Authority struct {
	Tier        entitlement.Tier
	Certificate *x509.Certificate
	Source      string // where it was published; empty: the file does not say
	File        string // in the directory of the back office
}

// Fingerprint is the SHA-256 of the certificate, in hex.
func (a *Authority) Fingerprint() string { return fmt.Sprintf("%x", sha256.Sum256(a.Certificate.Raw)) }

// Flaw says why nothing that it certified counts, or is empty.
func (a *Authority) Flaw(now capability.Time) string {
	if err := attest.CheckAuthority(a.Certificate, now.Std()); err != nil {
		return err.Error()
	}
	return ""
}

// Shipped are the authorities that come with this program: those of TPM makers that are among its files, and those of Google Compute Engine's virtual TPMs, as google/go-tpm-tools pins them.
func Shipped() ([]Authority, error) {
	var list []Authority
	for _, tier := range []entitlement.Tier{entitlement.Hardware, entitlement.Virtual} {
		dir := path.Join("authorities", tier.String())
		files, err := authorities.ReadDir(dir)
		if err != nil {
			continue // none ship for this tier
		}
		for _, f := range files {
			b, err := authorities.ReadFile(path.Join(dir, f.Name()))
			if err != nil {
				return nil, err
			}
			some, err := parseAuthorities(b, tier, "")
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name(), err)
			}
			list = append(list, some...)
		}
	}
	for _, c := range slices.Concat(server.GceEKRoots, server.GceEKIntermediates) {
		list = append(list, Authority{Tier: entitlement.Virtual, Certificate: c, Source: "github.com/google/go-tpm-tools/server"})
	}
	return list, nil
}

// parseAuthorities reads a PEM file in which text may stand between the certificates.
func parseAuthorities(file []byte, tier entitlement.Tier, name string) ([]Authority, error) {
	certificates, err := parseRoots(file)
	if err != nil {
		return nil, err
	}
	list := make([]Authority, len(certificates))
	texts := bytes.Split(file, []byte("-----BEGIN CERTIFICATE-----"))
	for i, c := range certificates {
		list[i] = Authority{Tier: tier, Certificate: c, File: name}
		for line := range strings.Lines(string(texts[i])) {
			if source, ok := strings.CutPrefix(line, "Source: "); ok {
				list[i].Source = words(strings.TrimSpace(source))
			}
		}
	}
	return list, nil
}

// WriteShipped puts authorities into roots/, in the place of those that an earlier version of this program put there.
func WriteShipped(p Place, list []Authority) error {
	for _, kind := range kinds(p) {
		var b bytes.Buffer
		for _, a := range list {
			if a.Tier == kind.tier {
				fmt.Fprintf(&b, "Subject: %s\nSource: %s\nSHA-256: %s\n", words(a.Certificate.Subject.String()), words(a.Source), a.Fingerprint())
				if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw}); err != nil {
					return err
				}
			}
		}
		if b.Len() == 0 {
			continue
		}
		if err := put(kind.disk, shippedName, b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

type kind struct {
	tier entitlement.Tier
	disk storage.Disk
}

func kinds(p Place) []kind {
	return []kind{{entitlement.Hardware, p.Hardware}, {entitlement.Virtual, p.Virtual}}
}

// Authorities are all that are in roots/, and so trusted. It needs no passphrase.
func Authorities(p Place) ([]Authority, error) {
	if err := Look(p); err != nil {
		return nil, err
	}
	var list []Authority
	for _, kind := range kinds(p) {
		err := eachRoots(kind.disk, func(name string, file []byte) error {
			some, err := parseAuthorities(file, kind.tier, path.Join("roots", kind.tier.String(), name))
			list = append(list, some...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}
