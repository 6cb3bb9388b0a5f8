package attest

import (
	"crypto/x509"
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
// endorsement key is one. A nil pool holds none.
type Roots struct {
	Hardware, Virtual *x509.CertPool
	Intermediates     *x509.CertPool
}

// TierOf classes id at the given time by the best of its certificates. It is
// about the certificates only: that the machine holds their keys is shown by
// opening what Wrap returned. The tier is valid beside an error, which says why a
// certificate did not raise it.
func TierOf(id *Identity, r Roots, at time.Time) (Tier, error) {
	best := Software
	var why []error
	for i, c := range id.EKCertificates {
		tier, err := tierOf(c, r, at)
		if err != nil {
			why = append(why, fmt.Errorf("endorsement key certificate %d: %w", i, err))
		}
		best = max(best, tier)
	}
	if best != Software {
		return best, nil
	}
	return best, errors.Join(why...)
}

func tierOf(c *x509.Certificate, r Roots, at time.Time) (Tier, error) {
	// tcg-kp-EKCertificate: the holder is an endorsement key.
	ekCertificate := asn1.ObjectIdentifier{2, 23, 133, 8, 1}
	if !slices.ContainsFunc(c.UnknownExtKeyUsage, ekCertificate.Equal) {
		return Software, errors.New("extended key usage is not that of an endorsement key")
	}
	if c.IsCA {
		return Software, errors.New("is one of an authority")
	}
	// The subject alternative name of an EK certificate is critical and holds a
	// directory name only, which crypto/x509 does not handle. It says maker and
	// model, which are never evidence.
	leaf := *c
	subjectAltName := asn1.ObjectIdentifier{2, 5, 29, 17}
	leaf.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(c.UnhandledCriticalExtensions), subjectAltName.Equal)

	var why error
	for _, pool := range []struct {
		tier  Tier
		roots *x509.CertPool
	}{{Hardware, r.Hardware}, {Virtual, r.Virtual}} {
		if pool.roots == nil {
			continue // a nil pool would mean the system's
		}
		_, err := leaf.Verify(x509.VerifyOptions{
			Roots:         pool.roots,
			Intermediates: r.Intermediates,
			CurrentTime:   at,
			KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		if err == nil {
			return pool.tier, nil
		}
		why = err
	}
	if why == nil {
		why = errors.New("no authority is trusted")
	}
	return Software, why
}
