package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// openSealer is no TPM: what it keeps anybody reads.
type openSealer struct{}

func (openSealer) Seal(secret []byte, _ uint64) ([]byte, error)   { return slices.Clone(secret), nil }
func (openSealer) Unseal(sealed []byte, _ uint64) ([]byte, error) { return slices.Clone(sealed), nil }

// showing gives a console something to show browsers.
func showing(t *testing.T, c *Console) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	none := func([]byte) error { return nil }
	s, err := certificate.New(certificate.Options{
		Key: key, Machine: "LH-TEST", Hosts: []string{"lic01"}, Keep: none, KeepSite: none, KeepAsked: none, Sealer: openSealer{},
		Now: func() (time.Time, error) { return noon(), nil }, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Certificate = func() *certificate.Shown { return s }
}

// TestCertificateOverTheAPI: what browsers are shown is asked for, installed and removed, and each is in the audit trail by who did it.
func TestCertificateOverTheAPI(t *testing.T) {
	c, vault := runningConsole(t, noon)
	call := serve(t, c)
	for _, what := range []string{"GET certificate", "POST certificate/request", "PUT certificate", "DELETE certificate"} {
		method, path := what[:len(what)-len(" certificate")], "certificate"
		if what == "POST certificate/request" {
			method, path = "POST", "certificate/request"
		}
		if status, p, _ := call(method, Base+path, "{}"); status != http.StatusServiceUnavailable || p.Code != capability.ErrBusy {
			t.Errorf("%s before there is one: %d %+v", what, status, p)
		}
	}
	showing(t, c)
	view := func(body string) certificate.View { t.Helper(); return read[certificate.View](t, body) }
	_, _, body := call("GET", Base+"certificate", "")
	own := view(body)
	if own.Site || own.Fingerprint == "" || own.Authority == "" {
		t.Errorf("%s", body)
	}
	status, _, body := call("POST", Base+"certificate/request", `{"names":["licenses.example.org"]}`)
	var asked CertificateRequest
	if err := json.Unmarshal([]byte(body), &asked); err != nil || status != 200 || !slices.Equal(asked.Names, []string{"licenses.example.org"}) {
		t.Fatalf("%d %s %v", status, body, err)
	}
	if e := vault.last(); e.Certified == nil || e.Certified.What != ledger.CertificateAsked || e.Certified.By == "" {
		t.Errorf("in the trail: %+v", e)
	}
	if status, p, _ := call("POST", Base+"certificate/request", `{"names":["*"]}`); status != http.StatusBadRequest || p.Denial.Subject != "names" {
		t.Errorf("a name that is none: %d %+v", status, p)
	}
	block, _ := pem.Decode([]byte(asked.Request))
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon(), NotAfter: noon().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: noon(), NotAfter: noon().Add(time.Hour), DNSNames: r.DNSNames}, root, r.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if status, p, _ := call("PUT", Base+"certificate", "noise"); status != http.StatusUnprocessableEntity || p.Code != capability.ErrCertificateForm || vault.last().Certified.What != ledger.CertificateAsked {
		t.Errorf("noise: %d %+v", status, p)
	}
	status, _, body = call("PUT", Base+"certificate", string(der))
	if v := view(body); status != 200 || !v.Site || v.Fingerprint != certificate.Fingerprint(der) {
		t.Errorf("%d %s", status, body)
	}
	if e := vault.last(); e.Certified == nil || e.Certified.What != ledger.CertificateInstalled || e.Certified.SHA256 != sha256.Sum256(der) || !slices.Equal(e.Certified.Names, r.DNSNames) {
		t.Errorf("in the trail: %+v", e)
	}
	status, _, body = call("DELETE", Base+"certificate", "")
	if v := view(body); status != 200 || v.Site || vault.last().Certified.What != ledger.CertificateRemoved {
		t.Errorf("%d %s", status, body)
	}
	if _, _, body := call("GET", Base+"health", ""); read[Health](t, body).Certificate == nil {
		t.Errorf("%s", body)
	}
}
