package ledger

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// Certified: what browsers are shown to say who the appliance is has changed by somebody's word, or is about to. The certificate itself is no right, and kept elsewhere.
type Certified struct {
	What   CertificateAct    `cbor:"1,keyasint,omitzero"`
	SHA256 capability.Digest `cbor:"2,keyasint,omitzero"` // of the certificate that is installed, or of the request
	Names  []string          `cbor:"3,keyasint,omitempty"`
	By     string            `cbor:"4,keyasint,omitzero"`
}

// CertificateAct is what was done. Numbers are on disk.
type CertificateAct uint8

// The acts.
const (
	CertificateAsked     CertificateAct = iota + 1 // a request for one was made, with a key of its own
	CertificateInstalled                           // one of the site's authority is shown
	CertificateRemoved                             // it is not any more
)

func (a CertificateAct) String() string {
	return [...]string{"of no kind", "asked for", "installed", "removed"}[min(a, CertificateRemoved+1)%(CertificateRemoved+1)]
}

// MaxCertificateNames is how many names an entry has: more than are asked for, and one that the site's authority adds.
const MaxCertificateNames = 100

// NoteCertificate keeps what somebody did about the certificate.
type NoteCertificate struct{ Certified }

func (NoteCertificate) command() {}

func (l *Ledger) noteCertificate(now Now, c NoteCertificate) (Decision, error) {
	if err := c.Certified.check(); err != nil {
		return Decision{}, malformed("certificate", "%v", err)
	}
	return l.decided(now, Entry{Certified: &c.Certified}), nil
}

func (f *Certified) check() error {
	if f.What == 0 || f.What > CertificateRemoved || len(f.Names) > MaxCertificateNames {
		return fmt.Errorf("act %d with %d names", f.What, len(f.Names))
	}
	for _, text := range append([]string{f.By}, f.Names...) {
		if err := capability.CheckText(text); err != nil {
			return err
		}
	}
	return nil
}

// words say which certificate, by the first bytes of its fingerprint.
func (f *Certified) words() string {
	if f.What == CertificateRemoved {
		return ""
	}
	return fmt.Sprintf("SHA-256 %x..., for %s", f.SHA256[:8], strings.Join(f.Names, ", "))
}
