package certificate

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// office signs for a site.
type office struct {
	*testing.T
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	above []*x509.Certificate // the one that signed it, and so on, up to the root
}

func newOffice(t *testing.T, name string, by *office) *office {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	o := &office{T: t, key: key}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: monday.Add(-time.Hour), NotAfter: monday.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if by == nil {
		o.cert = o.sign(c, key.Public(), c, key)
		return o
	}
	o.cert, o.above = o.sign(c, key.Public(), by.cert, by.key), append([]*x509.Certificate{by.cert}, by.above...)
	return o
}

func (o *office) sign(c *x509.Certificate, public crypto.PublicKey, by *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	o.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, by, public, key)
	must(o.T, err)
	made, err := x509.ParseCertificate(der)
	must(o.T, err)
	return made
}

// answer makes a server's certificate of a request, for a year.
func (o *office) answer(request []byte, change func(*x509.Certificate)) *x509.Certificate {
	o.Helper()
	block, _ := pem.Decode(request)
	r, err := x509.ParseCertificateRequest(block.Bytes)
	must(o.T, err)
	must(o.T, r.CheckSignature())
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: r.Subject, NotBefore: monday.Add(-time.Hour), NotAfter: monday.AddDate(1, 0, 0),
		DNSNames: r.DNSNames, IPAddresses: r.IPAddresses, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if change != nil {
		change(c)
	}
	return o.sign(c, r.PublicKey, o.cert, o.key)
}

func pems(all ...*x509.Certificate) (b []byte) {
	for _, c := range all {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: typeCertificate, Bytes: c.Raw})...)
	}
	return b
}

func (m *machine) ask(s *Shown, names ...string) []byte {
	m.Helper()
	r, _, err := s.Ask(names, m.note)
	must(m.T, err)
	return r
}

// note is the audit trail.
func (m *machine) note(der []byte, names []string) error {
	if m.noted == nil {
		m.told++
	}
	return m.noted
}

func code(err error) capability.Code {
	if r, is := errors.AsType[*capability.Refusal](err); is {
		return r.Code
	}
	return 0
}

// TestSite: what the site's authority has signed is shown at once, and in the next run; the next one takes its place while both keys are there; and what was removed is gone.
func TestSite(t *testing.T) {
	m := newMachine(t)
	root := newOffice(t, "Root of the site", nil)
	below := newOffice(t, "Servers of the site", root)
	s := m.run("lic01")
	own := m.comes(s, "10.1.2.3:1")
	request := m.ask(s, "licenses.example.org", "lic01")
	if v := s.Look(); v.Site || v.Asked != string(request) || !m.comes(s, "10.1.2.3:1").Equal(own) {
		t.Errorf("while it is asked for: %+v", v)
	}
	s = m.run("lic01") // which takes a while
	leaf := below.answer(request, nil)
	v, err := s.Install(pems(leaf, below.cert, root.cert), m.note)
	must(t, err)
	if !v.Site || v.Authority != "" || v.Asked != "" || v.Fingerprint != Fingerprint(leaf.Raw) || !strings.Contains(v.Issuer, "Servers of the site") || m.asked != nil || !strings.Contains(m.log.String(), v.Fingerprint) {
		t.Errorf("%+v", v)
	}
	for range 2 {
		c, err := s.Certificate(&tls.ClientHelloInfo{Conn: hello{at: "10.1.2.3:1"}})
		must(t, err)
		if !c.Leaf.Equal(leaf) || len(c.Certificate) != 2 || !bytes.Equal(c.Certificate[1], below.cert.Raw) {
			t.Errorf("%d certificates are shown, the first for %q", len(c.Certificate), c.Leaf.DNSNames)
		}
		if names := s.Names(); !slices.Contains(names, "licenses.example.org") || !slices.Contains(names, "lic01") || !slices.Contains(names, "10.1.2.3") {
			t.Errorf("it is asked by %q", names)
		}
		s = m.run("lic01")
	}
	// The next one, in another order, with its own key; and one more with that key.
	request = m.ask(s)
	must(t, s.Renew())
	next := root.answer(request, nil)
	if v, err = s.Install(pems(root.cert, next), m.note); err != nil || v.Fingerprint != Fingerprint(next.Raw) {
		t.Errorf("%+v, %v", v, err)
	}
	renewed := root.answer(request, func(c *x509.Certificate) { c.NotAfter = monday.AddDate(2, 0, 0) })
	if v, err = s.Install(renewed.Raw, m.note); err != nil || v.Fingerprint != Fingerprint(renewed.Raw) {
		t.Errorf("in DER: %+v, %v", v, err)
	}
	if bytes.Contains(m.site, []byte("PRIVATE KEY")) || bytes.Count(m.site, []byte("BEGIN")) != 2 {
		t.Errorf("kept: %s", m.site)
	}
	m.ask(s)
	if v, err = s.Remove(m.note); err != nil || v.Site || v.Asked != "" || m.site != nil || m.asked != nil || m.trusts(s.Authority(), m.comes(s, "10.1.2.3:1"), "lic01") != nil {
		t.Errorf("removed: %+v, %v", v, err)
	}
	if _, err := s.Install(pems(renewed), m.note); code(err) != capability.ErrCertificateKey {
		t.Errorf("its key is still there: %v", err)
	}
}

// TestWrongCertificates: each has its code, and what is shown stays.
func TestWrongCertificates(t *testing.T) {
	m := newMachine(t)
	root, other := newOffice(t, "Root of the site", nil), newOffice(t, "Another root", nil)
	below := newOffice(t, "Servers of the site", root)
	old := newOffice(t, "Root of the site", nil)
	s := m.run("lic01")
	before := m.ask(s)
	request := m.ask(s, "licenses.example.org")
	shown := m.comes(s, "10.1.2.3:1")
	good := below.answer(request, nil)
	var many []*x509.Certificate
	deep := newOffice(t, "0", root)
	for range 5 {
		deep = newOffice(t, deep.cert.Subject.CommonName+"0", deep)
	}
	many = append([]*x509.Certificate{deep.answer(request, nil), deep.cert}, deep.above...)
	private, err := x509.MarshalPKCS8PrivateKey(root.key)
	must(t, err)
	late := newOffice(t, "Late servers", root)
	late.cert = root.sign(&x509.Certificate{
		SerialNumber: big.NewInt(9), Subject: pkix.Name{CommonName: "Late servers"}, NotBefore: monday.AddDate(0, 1, 0), NotAfter: monday.AddDate(5, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, late.key.Public(), root.cert, root.key)
	for name, row := range map[string]struct {
		file []byte
		code capability.Code
	}{
		"nothing":                     {nil, capability.ErrCertificateForm},
		"noise":                       {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), capability.ErrCertificateForm},
		"a request":                   {request, capability.ErrCertificateForm},
		"cut":                         {good.Raw[:len(good.Raw)-1], capability.ErrCertificateForm},
		"too long":                    {bytes.Repeat([]byte("\n"), MaxChainBytes+1), capability.ErrCertificateForm},
		"with a private key":          {append(pems(good), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), capability.ErrCertificateForm},
		"for clients":                 {pems(below.answer(request, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })), capability.ErrCertificateForm},
		"an authority's":              {pems(below.answer(request, func(c *x509.Certificate) { c.IsCA = true })), capability.ErrCertificateForm},
		"of an older request":         {pems(below.answer(before, nil)), capability.ErrCertificateKey},
		"the office's own":            {pems(below.cert, root.cert), capability.ErrCertificateKey},
		"for another name":            {pems(below.answer(request, func(c *x509.Certificate) { c.DNSNames = []string{"www.example.org"} })), capability.ErrCertificateName},
		"without a name":              {pems(below.answer(request, func(c *x509.Certificate) { c.DNSNames = nil })), capability.ErrCertificateName},
		"expired":                     {pems(below.answer(request, func(c *x509.Certificate) { c.NotAfter = monday.Add(-time.Second) })), capability.ErrCertificateDates},
		"not yet good":                {pems(below.answer(request, func(c *x509.Certificate) { c.NotBefore = monday.Add(time.Second) })), capability.ErrCertificateDates},
		"below one not yet good":      {pems(late.answer(request, nil), late.cert), capability.ErrCertificateDates},
		"with a stranger's":           {pems(good, below.cert, other.cert), capability.ErrCertificateChain},
		"without the one between":     {pems(good, root.cert), capability.ErrCertificateChain},
		"with one of the same name":   {pems(good, below.cert, old.cert), capability.ErrCertificateChain},
		"with more than can be shown": {pems(many...), capability.ErrCertificateChain},
	} {
		if _, err := s.Install(row.file, m.note); code(err) != row.code {
			t.Errorf("%s: %v, want %s", name, err, row.code)
		}
		if c := m.comes(s, "10.1.2.3:1"); !c.Equal(shown) || s.Look().Asked != string(request) || m.site != nil {
			t.Errorf("%s: something has changed", name)
		}
	}
	m.noted = errors.New("the ledger takes nothing")
	if _, err := s.Install(pems(good, below.cert), m.note); err == nil || m.site != nil {
		t.Errorf("what is not in the trail is shown: %v", err)
	}
	if _, _, err := s.Ask(nil, m.note); err == nil || s.Look().Asked != string(request) {
		t.Errorf("what is not in the trail is asked for: %v", err)
	}
	if _, err := s.Remove(m.note); err == nil || s.Look().Asked != string(request) {
		t.Errorf("what is not in the trail is removed: %v", err)
	}
	m.noted = nil
	m.full = errors.New("the disk is full")
	if _, err := s.Install(pems(good, below.cert), m.note); err == nil || m.comes(s, "10.1.2.3:1").Equal(good) {
		t.Errorf("what is not kept is shown: %v", err)
	}
	if _, _, err := s.Ask(nil, m.note); err == nil {
		t.Error("a request is given whose key is not kept")
	}
	m.full, m.lost = nil, errors.New("the owner is busy")
	if _, err := s.Install(pems(good, below.cert), m.note); err == nil {
		t.Error("it is taken without a time")
	}
	m.lost = nil
	for _, names := range [][]string{{"*.example.org"}, {"a b"}, {""}, slices.Repeat([]string{"x"}, maxAsked+1)} {
		var bad *capability.Malformed
		if _, _, err := s.Ask(names, m.note); !errors.As(err, &bad) {
			t.Errorf("%.40q is asked for: %v", names, err)
		}
	}
	if v, err := s.Install(pems(good, below.cert), m.note); err != nil || !v.Site {
		t.Errorf("after all that: %v", err)
	}
}

// TestHandshakesWaitForNobody: while somebody changes what is shown, those that come are shown what there is.
func TestHandshakesWaitForNobody(t *testing.T) {
	m := newMachine(t)
	s := m.run("lic01")
	shown := m.comes(s, "10.1.2.3:1")
	in, out := make(chan bool), make(chan bool)
	ended := make(chan error)
	go func() {
		_, _, err := s.Ask(nil, func([]byte, []string) error { in <- true; <-out; return nil })
		ended <- err
	}()
	<-in
	for _, at := range []string{"10.1.2.3:1", "10.1.2.4:1"} {
		if c, err := s.Certificate(&tls.ClientHelloInfo{Conn: hello{at: at}}); err != nil || !c.Leaf.Equal(shown) {
			t.Errorf("%s: %v", at, err)
		}
	}
	if len(s.Names()) != 2 {
		t.Errorf("%q", s.Names())
	}
	out <- true
	must(t, <-ended)
	if c := m.comes(s, "10.1.2.4:1"); m.trusts(s.Authority(), c, "10.1.2.4") != nil {
		t.Error("the address is forgotten")
	}
}

// TestSiteLost: on another TPM, or from a damaged file, the appliance shows its own and says so until there is a new one.
func TestSiteLost(t *testing.T) {
	m := newMachine(t)
	root := newOffice(t, "Root of the site", nil)
	s := m.run("lic01")
	leaf := root.answer(m.ask(s), nil)
	_, err := s.Install(pems(leaf), m.note)
	must(t, err)
	m.ask(s)
	site, asked := m.site, m.asked
	for name, spoil := range map[string]func(){
		"another TPM":      func() { m.chip++ },
		"no key":           func() { m.site = pems(leaf) },
		"no certificate":   func() { m.site = m.site[:bytes.Index(m.site, []byte("-----BEGIN CERTIFICATE"))] },
		"a cut file":       func() { m.site = m.site[:len(m.site)-60] },
		"noise":            func() { m.site = []byte("noise") },
		"a damaged number": func() { m.site = bytes.Replace(m.site, []byte("MII"), []byte("MAA"), 1) },
	} {
		m.site, m.asked, m.chip = site, asked, 0
		m.log.Reset()
		spoil()
		s = m.run("lic01")
		own := m.comes(s, "10.1.2.3:1")
		if v := s.Look(); v.Site || v.Lost == "" || m.trusts(s.Authority(), own, "lic01") != nil || !strings.Contains(m.log.String(), capability.ErrCertificateLost.String()) {
			t.Errorf("%s: %+v", name, v)
		}
		before := m.chip
		if m.chip = 0; name == "another TPM" { // which was only away
			must(t, s.Renew())
			if v := s.Look(); !v.Site || v.Lost != "" {
				t.Errorf("after that: %+v", v)
			}
			m.chip = before
			s = m.run("lic01")
		}
		m.chip = before
		again := root.answer(m.ask(s), nil)
		if v, err := s.Install(pems(again), m.note); err != nil || !v.Site || v.Lost != "" {
			t.Errorf("%s, and a new one: %+v, %v", name, v, err)
		}
	}
	m.site, m.asked, m.chip = site, []byte("noise"), 0
	if v := m.run("lic01").Look(); !v.Site || v.Asked != "" {
		t.Errorf("a damaged request: %+v", v)
	}
}
