package console

import (
	"crypto/sha256"
	"encoding/pem"
	"io"
	"net/http"

	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// certificate answers GET certificate with a certificate.View: what browsers are shown, for people to compare.
func (c *Console) certificate(*http.Request) (any, error) {
	s, err := c.mustShow()
	if err != nil {
		return nil, err
	}
	return s.Look(), nil
}

// CertificateWish is the body of POST certificate/request, which answers with a CertificateRequest. PUT certificate takes the file that came back, as it is, and answers as GET does; so does DELETE.
type CertificateWish struct {
	Names []string `json:"names,omitempty"` // none: those that the machine goes by
}

// CertificateRequest is for the site's authority.
type CertificateRequest struct {
	Request string   `json:"request"` // in PEM
	Names   []string `json:"names"`
}

func (c *Console) askCertificate(r *http.Request, by string) (any, error) {
	var wish CertificateWish
	if err := decode(r, &wish); err != nil {
		return nil, err
	}
	s, err := c.mustShow()
	if err != nil {
		return nil, err
	}
	b, names, err := s.Ask(wish.Names, c.noting(r, ledger.CertificateAsked, by))
	if err != nil {
		return nil, err
	}
	return &CertificateRequest{string(b), names}, nil
}

func (c *Console) installCertificate(r *http.Request, by string) (any, error) {
	s, err := c.mustShow()
	if err != nil {
		return nil, err
	}
	file, err := io.ReadAll(io.LimitReader(r.Body, certificate.MaxChainBytes+1))
	if err != nil {
		return nil, capability.Refuse(capability.ErrFileRead, "", "%v", err)
	}
	return s.Install(file, c.noting(r, ledger.CertificateInstalled, by))
}

func (c *Console) removeCertificate(r *http.Request, by string) (any, error) {
	s, err := c.mustShow()
	if err != nil {
		return nil, err
	}
	return s.Remove(c.noting(r, ledger.CertificateRemoved, by))
}

// noting has the audit trail say what is done about the certificate, before it is.
func (c *Console) noting(r *http.Request, what ledger.CertificateAct, by string) certificate.Note {
	return func(der []byte, names []string) error {
		f := ledger.Certified{What: what, Names: names[:min(len(names), ledger.MaxCertificateNames)], By: by}
		if der != nil {
			f.SHA256 = sha256.Sum256(der)
		}
		_, err := c.Appliance.Change(r.Context(), ledger.NoteCertificate{Certified: f}, "certificate "+what.String(), by)
		return err
	}
}

func (c *Console) mustShow() (*certificate.Shown, error) {
	if s := c.shown(); s != nil {
		return s, nil
	}
	return nil, capability.Refuse(capability.ErrBusy, "", "no certificate could be made yet; the journal says why")
}

// shown is what browsers are shown, or nil.
func (c *Console) shown() *certificate.Shown {
	if c.Certificate == nil {
		return nil
	}
	return c.Certificate()
}

// authority is the certificate of the appliance's authority, for browsers to trust. Whoever takes it compares its fingerprint with what the appliance says of it elsewhere.
func (c *Console) authority(w http.ResponseWriter, r *http.Request) {
	s := c.shown()
	if s == nil {
		c.missing(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	w.Header().Set("Content-Disposition", `attachment; filename="leasehold-authority.pem"`)
	pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: s.Authority()})
}
