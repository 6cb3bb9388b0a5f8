package attest

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// maxAuthorityRSA bounds the work of a signature in certificates that a stranger
// chose: no maker's authority has more than 4096 bits.
const maxAuthorityRSA = 8192

func checkIntermediates(ders [][]byte) error {
	if len(ders) > MaxIntermediates {
		return fmt.Errorf("%d intermediate certificates, at most %d are allowed", len(ders), MaxIntermediates)
	}
	var size int
	for _, der := range ders {
		size += len(der)
	}
	if size > MaxIntermediateBytes {
		return fmt.Errorf("intermediate certificates have %d bytes, at most %d are allowed", size, MaxIntermediateBytes)
	}
	return nil
}

// parseIntermediates passes over what is no certificate: a TPM's memory may hold
// anything, and nothing there is a reason to refuse a machine.
func parseIntermediates(ders [][]byte) []*x509.Certificate {
	var list []*x509.Certificate
	for _, der := range ders {
		if c, err := x509.ParseCertificate(der); err == nil {
			list = append(list, c)
		}
	}
	return list
}

// pool is what chains of c may pass through at the given time, beside the authorities
// that they end in: the producer's intermediates, and of the machine's own those that
// could be an authority. None of them is trusted.
func (id *Identity) pool(known *x509.CertPool, at time.Time) *x509.CertPool {
	pool := x509.NewCertPool()
	if known != nil {
		pool = known.Clone()
	}
	for _, c := range id.Intermediates {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxAuthorityRSA {
			continue
		}
		if CheckAuthority(c, at) == nil {
			pool.AddCert(c)
		}
	}
	return pool
}

// ChooseIntermediates is what a machine puts into its evidence of the
// certificates that it found beside leaves, its EKCertificates: those that certify
// a leaf, by name, or another chosen one; each once, no root, as many as
// MaxIntermediates and MaxIntermediateBytes allow. What is no certificate is passed
// over.
func ChooseIntermediates(found, leaves [][]byte) [][]byte {
	left := parseIntermediates(found)
	open := parseIntermediates(leaves)
	var chosen [][]byte
	var size int
	for len(open) > 0 {
		below := open[0]
		open = open[1:]
		for i, c := range left {
			if c == nil || !bytes.Equal(c.RawSubject, below.RawIssuer) {
				continue
			}
			left[i] = nil
			root := bytes.Equal(c.RawSubject, c.RawIssuer)
			again := slices.ContainsFunc(chosen, func(der []byte) bool { return bytes.Equal(der, c.Raw) })
			if root || again || !c.IsCA || len(chosen) == MaxIntermediates || size+len(c.Raw) > MaxIntermediateBytes {
				continue
			}
			chosen, open, size = append(chosen, c.Raw), append(open, c), size+len(c.Raw)
		}
	}
	return chosen
}
