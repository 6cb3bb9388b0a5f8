package console

import (
	"encoding/pem"
	"net/http"

	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/capability"
)

// certificate answers GET certificate with a certificate.View: what browsers are shown, for people to compare.
func (c *Console) certificate(*http.Request) (any, error) {
	s := c.shown()
	if s == nil {
		return nil, capability.Refuse(capability.ErrBusy, "", "no certificate could be made yet; the journal says why")
	}
	return s.Look(), nil
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
