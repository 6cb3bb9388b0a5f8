package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// A site that has an authority of its own signs the key that this machine drew for it, and its certificate takes the place of ours. The private key leaves the machine never, and is on the disk
// encrypted to the TPM: a signature of the TPM for each handshake would be in the way of everything else that it does.

const (
	typeCertificate = "CERTIFICATE"
	typeRequest     = "CERTIFICATE REQUEST"
	typeKey         = "LEASEHOLD SEALED KEY"

	// MaxChainBytes is how large a file with a certificate and those above it may be: five of 4 KiB, in letters.
	MaxChainBytes = 32 << 10
	maxChain      = 5 // certificates that are shown
	maxAsked      = 32
)

// Sealer keeps a secret of 32 bytes where only this machine can read it.
type Sealer interface {
	Seal(secret []byte, epoch uint64) ([]byte, error)
	Unseal(sealed []byte, epoch uint64) ([]byte, error)
}

// pair is a key of the site's certificate, as it is kept: encrypted, with what was asked for it, or what came back.
type pair struct {
	key    *ecdsa.PrivateKey
	sealed []byte
	public [][]byte // one request in DER, or the certificates
}

func newPair(chance io.Reader, sealer Sealer) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), chance)
	if err != nil {
		return nil, err
	}
	secret, err := key.Bytes()
	if err != nil {
		return nil, err
	}
	sealed, err := sealer.Seal(secret, 0)
	clear(secret)
	if err != nil {
		return nil, fmt.Errorf("keep a key: %w", err)
	}
	return &pair{key: key, sealed: sealed}, nil
}

// encode is the pair as a file.
func (p *pair) encode(kind string) []byte {
	b := pem.EncodeToMemory(&pem.Block{Type: typeKey, Bytes: p.sealed})
	for _, der := range p.public {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	return b
}

// openPair reads the file of one.
func openPair(sealer Sealer, b []byte, kind string) (*pair, error) {
	p := &pair{}
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case typeKey:
			p.sealed = block.Bytes
		case kind:
			p.public = append(p.public, block.Bytes)
		}
	}
	if len(p.sealed) == 0 || len(p.public) == 0 {
		return nil, fmt.Errorf("the file has no key, or no %s", kind)
	}
	secret, err := sealer.Unseal(p.sealed, 0)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	p.key, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), secret)
	return p, err
}

// ask makes the request for a certificate.
func (p *pair) ask(chance io.Reader, n Names) error {
	t := &x509.CertificateRequest{Subject: pkix.Name{CommonName: commonName(n.Hosts[0])}, DNSNames: n.Hosts, IPAddresses: n.ips()}
	der, err := x509.CreateCertificateRequest(chance, t, p.key)
	if err != nil {
		return fmt.Errorf("sign a certificate request: %w", err)
	}
	p.public = [][]byte{der}
	return nil
}

// commonName is as much of a name as that field takes (RFC 5280, appendix A.1).
func commonName(host string) string { return host[:min(len(host), 64)] }

// chainOf reads the certificates of a file, in PEM or DER.
func chainOf(file []byte) (all []*x509.Certificate, err error) {
	if len(file) > MaxChainBytes {
		return nil, refuse(capability.ErrCertificateForm, "%d bytes, where at most %d are read", len(file), MaxChainBytes)
	}
	ders := [][]byte{}
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case typeCertificate:
			ders = append(ders, block.Bytes)
		case "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
			return nil, refuse(capability.ErrCertificateForm, "it has a private key in it, which belongs nowhere but where it was drawn")
		}
	}
	if len(ders) == 0 {
		ders = append(ders, file)
	}
	for i, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, refuse(capability.ErrCertificateForm, "certificate %d of %d: %v", i+1, len(ders), err)
		}
		all = append(all, c)
	}
	return all, nil
}

func refuse(code capability.Code, format string, args ...any) error {
	return capability.Refuse(code, "", format, args...)
}

// judge says of the certificates in a file what may be shown with one of the keys: that key's, and those above it without the site's root, which whoever trusts it has. The time is the trusted one.
func judge(file []byte, pairs []*pair, names []string, now time.Time) (*pair, error) {
	all, err := chainOf(file)
	if err != nil {
		return nil, err
	}
	var own *pair
	var leaf *x509.Certificate
	for _, p := range pairs {
		for _, c := range all {
			if public, ok := c.PublicKey.(*ecdsa.PublicKey); ok && own == nil && public.Equal(p.key.Public()) {
				own, leaf = p, c
			}
		}
	}
	if leaf == nil {
		return nil, refuse(capability.ErrCertificateKey, "the first one is for %q", naming(all[0]))
	}
	switch {
	case leaf.IsCA:
		return nil, refuse(capability.ErrCertificateForm, "it is an authority's")
	case len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny):
		return nil, refuse(capability.ErrCertificateForm, "it is not for servers")
	case !slices.ContainsFunc(names, func(n string) bool { return leaf.VerifyHostname(n) == nil }):
		return nil, refuse(capability.ErrCertificateName, "it is for %q, and this machine goes by %q", namesOf(leaf), names)
	}
	chain, err := above(leaf, all)
	if err != nil {
		return nil, err
	}
	shown := &pair{key: own.key, sealed: own.sealed}
	for i, c := range chain {
		if now.Before(c.NotBefore) || now.After(c.NotAfter) {
			return nil, refuse(capability.ErrCertificateDates, "%q is good from %s until %s, and it is %s", naming(c), c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly), now.UTC().Format(time.DateOnly))
		}
		if i == 0 || !bytes.Equal(c.RawIssuer, c.RawSubject) {
			shown.public = append(shown.public, c.Raw)
		}
	}
	return shown, nil
}

// above is the certificate, and after each one the one that has signed it, as far as they are there. Those that have signed none of them are in the way.
func above(leaf *x509.Certificate, all []*x509.Certificate) ([]*x509.Certificate, error) {
	chain := []*x509.Certificate{leaf}
	for len(chain) <= len(all) {
		c := chain[len(chain)-1]
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			break
		}
		i := slices.IndexFunc(all, func(o *x509.Certificate) bool { return !slices.Contains(chain, o) && c.CheckSignatureFrom(o) == nil })
		if i < 0 {
			break
		}
		chain = append(chain, all[i])
	}
	switch {
	case len(chain) < len(all):
		return nil, refuse(capability.ErrCertificateChain, "of %d certificates %d lead up from %q", len(all), len(chain), naming(leaf))
	case len(chain) > maxChain:
		return nil, refuse(capability.ErrCertificateChain, "%d certificates, where at most %d are shown", len(chain), maxChain)
	}
	return chain, nil
}

// naming is what a certificate is called in a sentence.
func naming(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return c.Subject.String()
}

// tls is the pair as it is shown.
func (p *pair) tls() (*tls.Certificate, error) {
	leaf, err := x509.ParseCertificate(p.public[0])
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: p.public, PrivateKey: p.key, Leaf: leaf}, nil
}
