package backoffice

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/tpm/attest"
)

// maxRoots bounds a PEM file in bytes: some hundred certificates of makers and their intermediates.
const maxRoots = 1 << 20

// parseRoots reads all certificates of a PEM file, which holds nothing else.
func parseRoots(file []byte) ([]*x509.Certificate, error) {
	if len(file) > maxRoots {
		return nil, fmt.Errorf("%w: %d bytes where at most %d are allowed", ErrRoots, len(file), maxRoots)
	}
	var list []*x509.Certificate
	rest := file
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%w: it holds a %s", ErrRoots, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRoots, err)
		}
		list = append(list, c)
	}
	if len(list) == 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: %d certificates, then %d other bytes", ErrRoots, len(list), len(rest))
	}
	return list, nil
}

// eachRoots gives every PEM file of a directory, by name.
func eachRoots(d storage.Disk, do func(name string, file []byte) error) error {
	names, err := d.List()
	if err != nil {
		return fmt.Errorf("read the authorities: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		if !strings.HasSuffix(name, ".pem") {
			continue
		}
		file, err := d.Read(name, maxRoots)
		if err != nil {
			return fmt.Errorf("read the authorities: %w", err)
		}
		if err := do(name, file); err != nil {
			return fmt.Errorf("authorities in %s: %w", name, err)
		}
	}
	return nil
}

// readRoots reads both directories. Every certificate there is trusted as it is, intermediate or root.
func readRoots(p Place) (attest.Roots, error) {
	var pools [2]*x509.CertPool
	for i, d := range []storage.Disk{p.Hardware, p.Virtual} {
		pools[i] = x509.NewCertPool()
		err := eachRoots(d, func(_ string, file []byte) error {
			list, err := parseRoots(file)
			for _, c := range list {
				pools[i].AddCert(c)
			}
			return err
		})
		if err != nil {
			return attest.Roots{}, err
		}
	}
	return attest.Roots{Hardware: pools[0], Virtual: pools[1]}, nil
}
