package attest

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Tier classes a machine by the evidence it gave. The producer's policy says what
// each may hold.
type Tier uint8

const (
	Software Tier = iota // anything else
	Virtual              // a TPM of a known virtual machine monitor: can be copied with its machine
	Hardware             // a TPM of a pinned maker
)

func (t Tier) String() string {
	switch t {
	case Hardware:
		return "hardware"
	case Virtual:
		return "virtual"
	case Software:
		return "software"
	}
	return fmt.Sprintf("tier %d", uint8(t))
}

// Roots are the certificate authorities a producer trusts to say that an
// endorsement key is one. A nil pool holds none. A root may be one that another
// authority certified: it is trusted as it is.
type Roots struct {
	Hardware, Virtual *x509.CertPool
	Intermediates     *x509.CertPool // not trusted: each is judged as part of a chain
}

// TierOf classes id at the given time by the best of its certificates. It is
// about the certificates only: that the machine holds their keys is shown by
// opening what Wrap returned. A way to a root may pass through the machine's own
// intermediates, and never end in one. The tier is valid beside an error, which says why a
// certificate did not raise it.
func TierOf(id *Identity, r Roots, at time.Time) (Tier, error) {
	tier, _, err := Class(id, r, at)
	return tier, err
}

// Class is TierOf, with the authority that the tier rests on: the end of the
// chain, which is one of r; nil for Software.
func Class(id *Identity, r Roots, at time.Time) (Tier, *x509.Certificate, error) {
	best, by := Software, (*x509.Certificate)(nil)
	var why []error
	r.Intermediates = id.pool(r.Intermediates, at)
	for i, c := range id.EKCertificates {
		tier, root, err := tierOf(c, r, at)
		if err != nil {
			why = append(why, fmt.Errorf("endorsement key certificate %d: %w", i, err))
		}
		if tier > best {
			best, by = tier, root
		}
	}
	if best != Software {
		return best, by, nil
	}
	return best, nil, errors.Join(why...)
}

func tierOf(c *x509.Certificate, r Roots, at time.Time) (Tier, *x509.Certificate, error) {
	if err := checkEK(c, at); err != nil {
		return Software, nil, err
	}
	// The subject alternative name of an EK certificate is critical and holds a
	// directory name only, which crypto/x509 does not handle. It says maker and
	// model, which are never evidence.
	leaf := *c
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(c.UnhandledCriticalExtensions), subjectAltName().Equal)

	var why error
	for _, pool := range []struct {
		tier  Tier
		roots *x509.CertPool
	}{{Hardware, r.Hardware}, {Virtual, r.Virtual}} {
		if pool.roots == nil {
			continue // a nil pool would mean the system's
		}
		chains, err := leaf.Verify(x509.VerifyOptions{
			Roots:         pool.roots,
			Intermediates: r.Intermediates,
			CurrentTime:   at,
			KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		for _, chain := range chains {
			if err = checkChain(chain); err == nil {
				return pool.tier, chain[len(chain)-1], nil
			}
		}
		why = err
	}
	if why == nil {
		why = errors.New("no authority is trusted")
	}
	return Software, nil, fmt.Errorf("issued by %q: %w", c.Issuer, why)
}

func subjectAltName() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 17} }

// checkEK tells whether c is a certificate of an endorsement key as the TCG EK
// Credential Profile 2.5 (3.2) has it, whoever signed it.
func checkEK(c *x509.Certificate, at time.Time) error {
	// tcg-kp-EKCertificate: the holder is an endorsement key.
	ekCertificate := asn1.ObjectIdentifier{2, 23, 133, 8, 1}
	encipher := x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement
	switch {
	case !slices.ContainsFunc(c.UnknownExtKeyUsage, ekCertificate.Equal):
		return errors.New("extended key usage is not that of an endorsement key")
	case c.IsCA:
		return errors.New("is one of an authority")
	case c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return errors.New("is for a key that signs certificates")
	case c.KeyUsage != 0 && c.KeyUsage&encipher == 0:
		return errors.New("is for a key that neither encrypts keys nor agrees on them, as an endorsement key does")
	case at.After(c.NotAfter):
		return fmt.Errorf("expired %s", c.NotAfter.UTC().Format(time.DateOnly))
	case at.Before(c.NotBefore):
		return fmt.Errorf("is valid from %s only", c.NotBefore.UTC().Format(time.DateOnly))
	}
	return checkModel(c)
}

// checkModel tells whether the alternative name of c is that of a TPM: directory
// names, of which one has the maker (tcg-at-tpmManufacturer), and no name of a
// person or a server. Other forms that the profile allows are passed over.
func checkModel(c *x509.Certificate) error {
	const otherName, directoryName = 0, 4
	maker := asn1.ObjectIdentifier{2, 23, 133, 2, 1}
	at := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(subjectAltName()) })
	if at < 0 {
		return errors.New("has no alternative name, which says the maker of a TPM")
	}
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(c.Extensions[at].Value, &names); err != nil || len(rest) != 0 {
		return errors.New("has an alternative name that cannot be read")
	}
	made := false
	for _, n := range names {
		switch {
		case n.Class != asn1.ClassContextSpecific || n.Tag != otherName && n.Tag != directoryName:
			return fmt.Errorf("has an alternative name of form %d, which is no TPM's", n.Tag)
		case n.Tag == directoryName:
			var sets pkix.RDNSequence
			if rest, err := asn1.Unmarshal(n.Bytes, &sets); err != nil || len(rest) != 0 {
				return errors.New("has a directory name that cannot be read")
			}
			for _, set := range sets {
				made = made || slices.ContainsFunc(set, func(a pkix.AttributeTypeAndValue) bool { return a.Type.Equal(maker) })
			}
		}
	}
	if !made {
		return errors.New("has an alternative name without the maker of a TPM")
	}
	return nil
}

// checkChain refuses keys that could have been broken since a maker used them;
// crypto/x509 takes RSA from 1024 bits on. What an authority signed with SHA-1 it
// refuses by itself. Constraints on names it does not judge for directory names,
// and no maker is known to use them, so they end a chain.
func checkChain(chain []*x509.Certificate) error {
	nameConstraints := asn1.ObjectIdentifier{2, 5, 29, 30}
	for _, c := range chain {
		if slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(nameConstraints) }) {
			return fmt.Errorf("chain has an authority %q that may certify some names only", c.Subject)
		}
		switch key := c.PublicKey.(type) {
		case *rsa.PublicKey:
			if key.N.BitLen() < 2048 {
				return fmt.Errorf("chain has an RSA key of %d bits in %q, at least 2048 are needed", key.N.BitLen(), c.Subject)
			}
		case *ecdsa.PublicKey:
			if bits := key.Curve.Params().BitSize; bits < 256 {
				return fmt.Errorf("chain has a key of %d bits in %q, at least 256 are needed", bits, c.Subject)
			}
		default:
			return fmt.Errorf("chain has a key of type %v in %q", c.PublicKeyAlgorithm, c.Subject)
		}
	}
	return nil
}

// CheckAuthority tells whether c can be one of Roots at the given time: an
// authority that may sign certificates, with a key that is strong enough.
func CheckAuthority(c *x509.Certificate, at time.Time) error {
	switch {
	case !c.IsCA || !c.BasicConstraintsValid:
		return errors.New("is not of an authority")
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("is of an authority that may not sign certificates")
	case at.After(c.NotAfter):
		return fmt.Errorf("expired %s", c.NotAfter.UTC().Format(time.DateOnly))
	case at.Before(c.NotBefore):
		return fmt.Errorf("is valid from %s only", c.NotBefore.UTC().Format(time.DateOnly))
	}
	return checkChain([]*x509.Certificate{c})
}
