package portal

import (
	"compress/flate"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// asserter is an identity provider of SAML, which says what a test tells it to.
type asserter struct {
	t    *testing.T
	key  *rsa.PrivateKey
	cert []byte
}

func newAsserter(t *testing.T) *asserter {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &asserter{t, key, cert}
}

const idp = "https://idp.example/metadata"

func (s *asserter) metadata() []byte {
	return fmt.Appendf(nil, `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="%s"><IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
<KeyDescriptor use="signing"><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>%s</X509Certificate></X509Data></KeyInfo></KeyDescriptor>
<SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example/sso"/></IDPSSODescriptor></EntityDescriptor>`, idp, base64.StdEncoding.EncodeToString(s.cert))
}

func (s *asserter) options(o *Options) { o.SAML = []SAML{{"adfs", s.metadata()}} }

// said is what an answer says; zero fields are what is right.
type said struct {
	name, format, audience, recipient, request, method string
	issuer, destination, status                        string
	issued, until                                      time.Duration // from now
	noAudience, noConfirmation, noStatement            bool
	sign                                               string // assertion, response, both, neither
	hash                                               string // signature method
	key                                                *rsa.PrivateKey
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// answer builds and signs one.
func (s *asserter) answer(w *world, request string, c said) *etree.Document {
	s.t.Helper()
	at := w.server.URL + "/sign-in/saml/adfs"
	stamp := func(d time.Duration) string { return time.Now().Add(d).UTC().Format("2006-01-02T15:04:05Z") }
	if c.until == 0 {
		c.until = 5 * time.Minute
	}
	esc := func(text string) string {
		var b strings.Builder
		if err := xml.EscapeText(&b, []byte(text)); err != nil {
			s.t.Fatal(err)
		}
		return b.String()
	}
	audience := `<saml:AudienceRestriction><saml:Audience>` + esc(or(c.audience, at)) + `</saml:Audience></saml:AudienceRestriction>`
	if c.noAudience {
		audience = ""
	}
	confirmation := fmt.Sprintf(`<saml:SubjectConfirmation Method="%s"><saml:SubjectConfirmationData InResponseTo="%s" Recipient="%s" NotOnOrAfter="%s"/></saml:SubjectConfirmation>`,
		or(c.method, bearer), or(c.request, request), or(c.recipient, at), stamp(c.until))
	if c.noConfirmation {
		confirmation = ""
	}
	statement := fmt.Sprintf(`<saml:AuthnStatement AuthnInstant="%s"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>`, stamp(c.issued))
	if c.noStatement {
		statement = ""
	}
	name := or(c.name, "larsen@acme.example")
	if !strings.HasPrefix(name, "<") && !strings.Contains(name, "<!--") {
		name = esc(name)
	}
	parse := func(text string) *etree.Element {
		d := etree.NewDocument()
		if err := d.ReadFromString(text); err != nil {
			s.t.Fatal(err)
		}
		return d.Root()
	}
	assertion := parse(fmt.Sprintf(`<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_a%s" Version="2.0" IssueInstant="%s"><saml:Issuer>%s</saml:Issuer><saml:Subject><saml:NameID Format="%s">%s</saml:NameID>%s</saml:Subject>`+
		`<saml:Conditions NotBefore="%s" NotOnOrAfter="%s">%s</saml:Conditions>%s</saml:Assertion>`,
		strings.ToLower(rand.Text()), stamp(c.issued), or(c.issuer, idp), or(c.format, string(saml.PersistentNameIDFormat)), name, confirmation, stamp(c.issued), stamp(c.until), audience, statement))
	if c.sign == "" || c.sign == "assertion" || c.sign == "both" {
		assertion = s.signed(assertion, c)
	}
	response := parse(fmt.Sprintf(`<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_r%s" Version="2.0" IssueInstant="%s" InResponseTo="%s" Destination="%s"><saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">%s</saml:Issuer>`+
		`<samlp:Status><samlp:StatusCode Value="%s"/></samlp:Status></samlp:Response>`,
		strings.ToLower(rand.Text()), stamp(c.issued), or(c.request, request), or(c.destination, at), or(c.issuer, idp), or(c.status, saml.StatusSuccess)))
	response.AddChild(assertion)
	if c.sign == "response" || c.sign == "both" {
		response = s.signed(response, c)
	}
	d := etree.NewDocument()
	d.SetRoot(response)
	return d
}

func (s *asserter) signed(e *etree.Element, c said) *etree.Element {
	s.t.Helper()
	key := s.key
	if c.key != nil {
		key = c.key
	}
	ctx, err := dsig.NewSigningContext(key, [][]byte{s.cert})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := ctx.SetSignatureMethod(or(c.hash, dsig.RSASHA256SignatureMethod)); err != nil {
		s.t.Fatal(err)
	}
	e, err = ctx.SignEnveloped(e)
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

var requestID = regexp.MustCompile(` ID="([^"]+)"`)

// begin has a browser begin to sign in, and gives the ID of the request it is sent away with.
func (s *asserter) begin(b *browser, to string) string {
	s.t.Helper()
	a := b.get("/sign-in/with/adfs?to=" + url.QueryEscape(to))
	u, err := url.Parse(a.location)
	if err != nil || !strings.HasPrefix(a.location, "https://idp.example/sso?") {
		s.t.Fatal(a, err)
	}
	if c := a.header.Get("Set-Cookie"); !strings.HasPrefix(c, "__Host-errand-adfs=") || !strings.Contains(c, "SameSite=None") || !strings.Contains(c, "Secure") || !strings.Contains(c, "HttpOnly") {
		s.t.Error(c)
	}
	raw, err := base64.StdEncoding.DecodeString(u.Query().Get("SAMLRequest"))
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := io.ReadAll(flate.NewReader(strings.NewReader(string(raw))))
	if err != nil {
		s.t.Fatal(err)
	}
	m := requestID.FindStringSubmatch(string(text))
	if m == nil || u.Query().Get("RelayState") != "" || !strings.Contains(string(text), b.w.server.URL+"/sign-in/saml/adfs") {
		s.t.Fatalf("%s", text)
	}
	return m[1]
}

// post sends an answer as the provider's page has the browser do it.
func (b *browser) answer(text string) answer {
	b.w.t.Helper()
	form := url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(text))}, "RelayState": {"https://evil.example/"}}
	r, err := http.NewRequest(http.MethodPost, b.w.server.URL+"/sign-in/saml/adfs", strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "https://idp.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	return b.send(r, err)
}

func text(t *testing.T, d *etree.Document) string {
	t.Helper()
	s, err := d.WriteToString()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newSAMLWorld(t *testing.T, s *asserter, log *written) *world {
	w := newWorld(t, s.options, log.options)
	w.do(entitlement.AddLogin{Name: "larsen", Account: "ACME", Roles: []capability.Role{capability.Viewer}, Subject: "adfs larsen@acme.example", By: "test"},
		entitlement.AddLogin{Name: "keller", Roles: []capability.Role{capability.SecurityAdministrator}, Subject: "adfs keller@example.com", By: "test"})
	return w
}

// Whom the provider names is signed in, whichever part of the answer is signed; the page that follows is this site's.
func TestSAML(t *testing.T) {
	var log written
	s := newAsserter(t)
	w := newSAMLWorld(t, s, &log)
	for _, sign := range []string{"assertion", "response", "both"} {
		b := w.browser()
		a := b.answer(text(t, s.answer(w, s.begin(b, "/devices"), said{sign: sign})))
		if a.status != http.StatusOK || a.header.Get("Refresh") != "0; url=/devices" {
			t.Fatal(sign, a, log.take())
		}
		if a := b.get("/devices"); a.status != http.StatusOK || !strings.Contains(a.body, "larsen, ACME") {
			t.Error(sign, a)
		}
	}
	a := w.browser().get("/sign-in/saml/adfs")
	var about saml.EntityDescriptor
	if err := xml.Unmarshal([]byte(a.body), &about); err != nil || about.EntityID != w.server.URL+"/sign-in/saml/adfs" || len(about.SPSSODescriptors[0].AssertionConsumerServices) != 1 {
		t.Error(a, err)
	}
	// The hole is where the answer comes in and nowhere else.
	for _, path := range []string{"/sign-in", "/claim", "/sign-out", "/logins", "/sign-in/with/adfs", "/sign-in/oidc/adfs"} {
		r, err := http.NewRequest(http.MethodPost, w.server.URL+path, strings.NewReader("name=x"))
		if err == nil {
			r.Header.Set("Origin", "https://idp.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}
		if a := w.browser().send(r, err); a.status != http.StatusForbidden {
			t.Errorf("%s takes a form of another site: %v", path, a)
		}
	}
}

// What is not a good answer, for this portal, to what this browser was sent away with is refused.
func TestSAMLRefuses(t *testing.T) {
	var log written
	s := newAsserter(t)
	w := newSAMLWorld(t, s, &log)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		said   said
		change func(text string) string
		why    string
	}{
		"unsigned":                  {said: said{sign: "neither"}, why: "0 signatures"},
		"signed by another":         {said: said{key: stranger}, why: "cannot validate signature"},
		"the response by another":   {said: said{sign: "response", key: stranger}, why: "cannot validate signature"},
		"changed":                   {change: func(s string) string { return strings.Replace(s, "larsen@", "keller@", 1) }, why: "cannot validate signature"},
		"SHA-1":                     {said: said{hash: dsig.RSASHA1SignatureMethod}, why: "SignatureMethod"},
		"another audience":          {said: said{audience: "https://another.example"}, why: "it is for"},
		"for anybody":               {said: said{noAudience: true}, why: "for anybody"},
		"another recipient":         {said: said{recipient: "https://another.example/acs"}, why: "Recipient"},
		"another destination":       {said: said{destination: "https://another.example/acs"}, why: "Destination"},
		"another request":           {said: said{request: "id-0123"}, why: "InResponseTo"},
		"no request":                {said: said{request: " "}, why: "InResponseTo"},
		"another issuer":            {said: said{issuer: "https://evil.example"}, why: "ssuer"},
		"expired":                   {said: said{issued: -10 * time.Minute, until: -5 * time.Minute}, why: "expired"},
		"over":                      {said: said{issued: -80 * time.Second, until: -70 * time.Second}, why: "confirmed until"},
		"issued long ago":           {said: said{issued: -3 * time.Minute}, why: "expired"},
		"not yet good":              {said: said{issued: 2 * time.Minute, until: 10 * time.Minute}, why: "good from"},
		"refused there":             {said: said{status: saml.StatusResponder}, why: "Responder"},
		"another kind of proof":     {said: said{method: "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"}, why: "SubjectConfirmation"},
		"no proof":                  {said: said{noConfirmation: true}, why: "SubjectConfirmation"},
		"nobody signed in":          {said: said{noStatement: true}, why: "anybody signed in"},
		"a name that does not last": {said: said{format: string(saml.TransientNameIDFormat)}, why: "each time"},
		"an empty name":             {said: said{name: " "}, why: "no name"},
		"a comment put in later": {change: func(s string) string {
			return strings.Replace(s, "larsen@acme.example", "larsen@<!-- -->acme.example", 1)
		}, why: "comment"},
		"a document type": {change: func(s string) string { return `<!DOCTYPE x [<!ENTITY e "keller@example.com">]>` + s }, why: "document type"},
		"an instruction":  {change: func(s string) string { return strings.Replace(s, "<saml:Subject>", "<saml:Subject><?x y?>", 1) }, why: "instruction"},
		"nothing":         {change: func(string) string { return "" }, why: "0 of Response"},
		"text":            {change: func(string) string { return "hello" }, why: "0 of Response"},
		"cut":             {change: func(s string) string { return s[:len(s)/2] }, why: "EOF"},
		"two of them":     {change: func(s string) string { return s + s }, why: "twice"},
		"deep":            {change: func(string) string { return strings.Repeat("<a>", 50_000) }, why: "expected"},
		"large":           {change: func(string) string { return strings.Repeat(" ", maxAnswer+3) }, why: "allowed"},
	} {
		log.take()
		b := w.browser()
		answered := text(t, s.answer(w, s.begin(b, "/"), c.said))
		if c.change != nil {
			answered = c.change(answered)
		}
		a := b.answer(answered)
		if a.status != http.StatusUnauthorized || b.get("/me").status != http.StatusSeeOther {
			t.Errorf("%s: %d", what, a.status)
		}
		if why := log.take(); !strings.Contains(why, c.why) {
			t.Errorf("%s: refused for another reason: %s", what, why)
		}
	}

	// A good one is good once, and in the browser that was sent away only.
	b, other := w.browser(), w.browser()
	good := text(t, s.answer(w, s.begin(b, "/"), said{}))
	if a := other.answer(good); a.status != http.StatusUnauthorized {
		t.Error("another browser:", a)
	}
	s.begin(other, "/")
	if a := other.answer(good); a.status != http.StatusUnauthorized {
		t.Error("another browser, which was sent away too:", a)
	}
	before := b.Jar.Cookies(b.address())
	if a := b.answer(good); a.status != http.StatusOK {
		t.Error(a)
	}
	if a := b.answer(good); a.status != http.StatusUnauthorized {
		t.Error("replayed:", a)
	}
	other.Jar.SetCookies(b.address(), before)
	if a := other.answer(good); a.status != http.StatusUnauthorized {
		t.Error("replayed with the cookies of before:", a)
	}
	b = w.browser()
	if a := b.answer(text(t, s.answer(w, s.begin(b, "/"), said{name: "stranger@acme.example"}))); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "ask a security administrator") {
		t.Error(a)
	}
}

// wrappings are the eight ways of XML signature wrapping (Somorovsky and others, "On Breaking SAML", 2012), each of a good signed answer: who reads the forged part and checks the signed one is deceived.
func wrappings() map[string]func(signed, forged *etree.Element) {
	child := func(e *etree.Element, tag string) *etree.Element {
		return e.FindElement("./" + tag)
	}
	without := func(e *etree.Element) *etree.Element {
		c := e.Copy()
		if s := child(c, "Signature"); s != nil {
			c.RemoveChild(s)
		}
		return c
	}
	// Each changes the document whose root is first, from one that is whole and signed; forged is the same element with another name in it.
	assertion := func(f func(root, good, evil *etree.Element)) func(*etree.Element, *etree.Element) {
		return func(root, evil *etree.Element) { f(root, child(root, "Assertion"), child(evil, "Assertion")) }
	}
	// become makes a root the forged one, with the signature of the good one.
	become := func(root, evil *etree.Element) (good, signature *etree.Element) {
		good = without(root)
		signature = child(root, "Signature").Copy()
		forged := without(evil)
		root.Child, root.Attr = nil, forged.Attr
		for _, c := range slices.Clone(forged.Copy().Child) {
			root.AddChild(c)
		}
		return good, signature
	}
	return map[string]func(*etree.Element, *etree.Element){
		"1, the response in the signature of a forged one": func(root, evil *etree.Element) {
			good, signature := become(root, evil)
			signature.AddChild(good)
			root.AddChild(signature)
		},
		"2, the response beside the signature in a forged one": func(root, evil *etree.Element) {
			good, signature := become(root, evil)
			root.AddChild(good)
			root.AddChild(signature)
		},
		"3, a forged assertion before the signed one": assertion(func(root, good, evil *etree.Element) { root.InsertChildAt(good.Index(), without(evil)) }),
		"4, the signed assertion in a forged one": assertion(func(root, good, evil *etree.Element) {
			outer := without(evil)
			at := good.Index()
			root.RemoveChild(good)
			outer.AddChild(good)
			root.InsertChildAt(at, outer)
		}),
		"5, a forged assertion with the signature, the signed one at the end": assertion(func(root, good, evil *etree.Element) {
			outer := without(evil)
			outer.AddChild(child(good, "Signature").Copy())
			at := good.Index()
			root.RemoveChild(good)
			root.InsertChildAt(at, outer)
			root.AddChild(without(good))
		}),
		"6, a forged assertion with the signature, the signed one in that": assertion(func(root, good, evil *etree.Element) {
			outer := without(evil)
			signature := child(good, "Signature").Copy()
			signature.AddChild(without(good))
			outer.AddChild(signature)
			at := good.Index()
			root.RemoveChild(good)
			root.InsertChildAt(at, outer)
		}),
		"7, a forged assertion in an extension": assertion(func(root, good, evil *etree.Element) {
			e := etree.NewElement("samlp:Extensions")
			e.AddChild(without(evil))
			root.InsertChildAt(0, e)
		}),
		"8, a forged assertion with the signature, the signed one in an object of that": assertion(func(root, good, evil *etree.Element) {
			outer := without(evil)
			signature := child(good, "Signature").Copy()
			object := etree.NewElement("ds:Object")
			object.AddChild(without(good))
			signature.AddChild(object)
			outer.AddChild(signature)
			at := good.Index()
			root.RemoveChild(good)
			root.InsertChildAt(at, outer)
		}),
	}
}

func TestSignatureWrapping(t *testing.T) {
	var log written
	s := newAsserter(t)
	w := newSAMLWorld(t, s, &log)
	refused := 0
	for what, wrap := range wrappings() {
		good := true
		for _, sameID := range []bool{false, true} {
			sign := "assertion"
			if strings.Contains(what, "response") {
				sign = "response"
			}
			b := w.browser()
			id := s.begin(b, "/")
			signed, forged := s.answer(w, id, said{sign: sign}), s.answer(w, id, said{name: "keller@example.com", sign: sign})
			if sameID {
				forged.Root().CreateAttr("ID", signed.Root().SelectAttrValue("ID", ""))
				forged.Root().FindElement("./Assertion").CreateAttr("ID", signed.Root().FindElement("./Assertion").SelectAttrValue("ID", ""))
			}
			wrap(signed.Root(), forged.Root())
			wrapped := text(t, signed)
			if !strings.Contains(wrapped, "keller@example.com") || !strings.Contains(wrapped, "larsen@acme.example") || !strings.Contains(wrapped, "SignatureValue") {
				t.Fatalf("%s is no wrapping:\n%s", what, wrapped)
			}
			// The library is asked alone as well: neither line of defense stands for the other.
			party := w.portal.providers["adfs"].(*samlProvider).party
			if a, err := party.ParseXMLResponse([]byte(wrapped), []string{id}, party.AcsURL); err == nil && a.Subject.NameID.Value != "larsen@acme.example" {
				t.Errorf("%s, same ID %t: the library takes it as %s's", what, sameID, a.Subject.NameID.Value)
			}
			if err := shapeOf([]byte(wrapped)); err == nil {
				t.Errorf("%s, same ID %t: its shape is taken", what, sameID)
				good = false
			}
			if a := b.answer(wrapped); a.status != http.StatusUnauthorized || b.get("/me").status != http.StatusSeeOther {
				t.Errorf("%s, same ID %t: %v", what, sameID, a)
				good = false
			}
		}
		if good {
			refused++
		}
	}
	t.Logf("%d of %d wrappings refused", refused, len(wrappings()))
	if len(wrappings()) != 8 {
		t.Error("these are not the eight")
	}
}

// The signature check of goxmldsig before 1.6.1 can be passed by (CVE-2026-33487), and the SAML library alone would be content with one of those.
func TestSignatureLibraryIsNewEnough(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`\n\s+github.com/russellhaering/goxmldsig v(\d+)\.(\d+)\.(\d+)`).FindStringSubmatch(string(b))
	if m == nil {
		t.Fatal("go.mod does not name it")
	}
	var v [3]int
	for n := range v {
		fmt.Sscan(m[n+1], &v[n])
	}
	if v[0] < 1 || v[0] == 1 && (v[1] < 6 || v[1] == 6 && v[2] < 1) {
		t.Errorf("v%s.%s.%s", m[1], m[2], m[3])
	}
}

func TestSAMLProvidersThatCannotBe(t *testing.T) {
	good := string(newAsserter(t).metadata())
	for what, metadata := range map[string]string{
		"nothing": "", "text": "hello", "of nobody": strings.Replace(good, idp, "", 1), "without a key": strings.Replace(good, `use="signing"`, `use="encryption"`, 1), "without https": strings.Replace(good, "https://idp.example/sso", "http://idp.example/sso", 1),
		"without an address": strings.Replace(good, "HTTP-Redirect", "SOAP", 1),
	} {
		if _, err := New(Options{Hosts: []string{"localhost"}, Now: time.Now, SAML: []SAML{{"adfs", []byte(metadata)}}}); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	if _, err := New(Options{Hosts: []string{"localhost"}, Now: time.Now, SAML: []SAML{{"adfs", []byte(good)}}}); err != nil {
		t.Error(err)
	}
}

// Each rule about the shape of an answer is one that something breaks.
func TestSAMLShapes(t *testing.T) {
	var log written
	s := newAsserter(t)
	w := newSAMLWorld(t, s, &log)
	at := func(d *etree.Document, path string) *etree.Element {
		e := d.Root().FindElement(path)
		if e == nil {
			t.Fatalf("no %s in it", path)
		}
		return e
	}
	for what, change := range map[string]func(d *etree.Document){
		"": func(*etree.Document) {},
		"two signatures of the assertion": func(d *etree.Document) {
			at(d, "./Assertion").AddChild(at(d, "./Assertion/Signature").Copy())
		},
		"a signature of the subject": func(d *etree.Document) { at(d, "./Assertion/Subject").AddChild(at(d, "./Assertion/Signature")) },
		"a reference to nothing":     func(d *etree.Document) { at(d, ".//Reference").CreateAttr("URI", "#nothing") },
		"a reference to everything":  func(d *etree.Document) { at(d, ".//Reference").CreateAttr("URI", "") },
		"a reference to the response": func(d *etree.Document) {
			at(d, ".//Reference").CreateAttr("URI", "#"+d.Root().SelectAttrValue("ID", ""))
		},
		"two references":               func(d *etree.Document) { at(d, ".//SignedInfo").AddChild(at(d, ".//Reference").Copy()) },
		"an assertion in an extension": func(d *etree.Document) { d.Root().CreateElement("samlp:Extensions").AddChild(at(d, "./Assertion")) },
		"an assertion of another kind": func(d *etree.Document) {
			at(d, "./Assertion").CreateAttr("xmlns:saml", "urn:oasis:names:tc:SAML:1.0:assertion")
		},
		"two assertions": func(d *etree.Document) {
			c := at(d, "./Assertion").Copy()
			c.CreateAttr("ID", "other")
			c.RemoveChild(c.FindElement("./Signature"))
			d.Root().AddChild(c)
		},
		"an ID twice": func(d *etree.Document) {
			at(d, ".//Subject").CreateAttr("ID", at(d, "./Assertion").SelectAttrValue("ID", ""))
		},
		"an ID twice, in small": func(d *etree.Document) {
			at(d, ".//Subject").CreateAttr("id", at(d, "./Assertion").SelectAttrValue("ID", ""))
		},
		"two IDs":                  func(d *etree.Document) { at(d, "./Assertion").CreateAttr("Id", "other") },
		"no ID":                    func(d *etree.Document) { at(d, "./Assertion").RemoveAttr("ID") },
		"an object":                func(d *etree.Document) { at(d, ".//Signature").CreateElement("ds:Object") },
		"an encrypted assertion":   func(d *etree.Document) { d.Root().CreateElement("saml:EncryptedAssertion") },
		"an encrypted name":        func(d *etree.Document) { at(d, ".//Subject").CreateElement("saml:EncryptedID") },
		"no subject":               func(d *etree.Document) { at(d, "./Assertion").RemoveChild(at(d, ".//Subject")) },
		"the name in the proof":    func(d *etree.Document) { at(d, ".//SubjectConfirmation").AddChild(at(d, ".//NameID")) },
		"two names":                func(d *etree.Document) { at(d, ".//Subject").AddChild(at(d, ".//NameID").Copy()) },
		"no conditions":            func(d *etree.Document) { at(d, "./Assertion").RemoveChild(at(d, ".//Conditions")) },
		"conditions without end":   func(d *etree.Document) { at(d, ".//Conditions").RemoveAttr("NotOnOrAfter") },
		"a proof without end":      func(d *etree.Document) { at(d, ".//SubjectConfirmationData").RemoveAttr("NotOnOrAfter") },
		"a proof for anybody":      func(d *etree.Document) { at(d, ".//SubjectConfirmationData").RemoveAttr("Recipient") },
		"a proof without data":     func(d *etree.Document) { at(d, ".//SubjectConfirmation").Child = nil },
		"a proof of no request":    func(d *etree.Document) { at(d, ".//SubjectConfirmationData").RemoveAttr("InResponseTo") },
		"a response in a response": func(d *etree.Document) { d.Root().AddChild(d.Root().Copy()) },
		"MD5": func(d *etree.Document) {
			at(d, ".//DigestMethod").CreateAttr("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#md5")
		},
		"a MAC": func(d *etree.Document) {
			at(d, ".//SignatureMethod").CreateAttr("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256")
		},
	} {
		d := s.answer(w, "id-1", said{})
		change(d)
		if err := shapeOf([]byte(text(t, d))); (err == nil) != (what == "") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
