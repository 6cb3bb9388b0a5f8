package portal

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/crewjam/saml"
)

const (
	maxAnswer = 256 << 10 // bytes of a SAML response
	samlSkew  = time.Minute
)

// SAML is an identity provider of SAML 2.0: web browser SSO (saml-profiles-2.0-os, 4.1), asked by redirect and answering by POST.
type SAML struct {
	Name     string // in paths and subjects
	Metadata []byte // the provider's
}

type samlProvider struct {
	p     *Portal
	name  string
	party *saml.ServiceProvider
}

func (p *Portal) newSAML(s SAML) (provider, error) {
	var about saml.EntityDescriptor
	if err := xml.Unmarshal(s.Metadata, &about); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	here := p.here("sign-in", "saml", s.Name)
	party := &saml.ServiceProvider{EntityID: here.String(), MetadataURL: *here, AcsURL: *here, IDPMetadata: &about, AuthnNameIDFormat: saml.UnspecifiedNameIDFormat}
	party.ValidateAudienceRestriction = func(a *saml.Assertion) error {
		for _, r := range a.Conditions.AudienceRestrictions {
			if r.Audience.Value != party.EntityID {
				return fmt.Errorf("it is for %q", r.Audience.Value)
			}
		}
		if len(a.Conditions.AudienceRestrictions) == 0 {
			return errors.New("it is for anybody")
		}
		return nil
	}
	keys := 0
	for _, d := range about.IDPSSODescriptors {
		for _, k := range d.KeyDescriptors {
			if k.Use != "encryption" {
				keys += len(k.KeyInfo.X509Data.X509Certificates)
			}
		}
	}
	switch to := party.GetSSOBindingLocation(saml.HTTPRedirectBinding); {
	case about.EntityID == "":
		return nil, errors.New("metadata: no entityID")
	case keys == 0:
		return nil, errors.New("metadata: no certificate that signs")
	case !strings.HasPrefix(to, "https://"):
		return nil, fmt.Errorf("metadata: %q is no address of https to redirect to", to)
	}
	return &samlProvider{p, s.Name, party}, nil
}

// asked is an errand to a provider of SAML.
type asked struct {
	ID string
	To afterwards
}

func (s *samlProvider) send(v *visit, to afterwards) error {
	req, err := s.party.MakeAuthenticationRequest(s.party.GetSSOBindingLocation(saml.HTTPRedirectBinding), saml.HTTPRedirectBinding, saml.HTTPPostBinding)
	if err != nil {
		return err
	}
	at, err := req.Redirect("", s.party)
	if err != nil {
		return err
	}
	// The answer is a form of another site's: only a cookie that is for those comes back with it. It is good for this sign-in and for nothing else.
	if err := v.p.errands.Send(v.w, s.name, http.SameSiteNoneMode, asked{req.ID, to}); err != nil {
		return err
	}
	return v.goTo(at.String())
}

func (v *visit) saml() (*samlProvider, error) {
	s, ok := v.p.providers[v.r.PathValue("provider")].(*samlProvider)
	if !ok {
		return nil, foreign(v.r.PathValue("provider"))
	}
	return s, nil
}

// samlMetadata is what the provider's administrator needs to know of this portal.
func (v *visit) samlMetadata() error {
	s, err := v.saml()
	if err != nil {
		return err
	}
	about := s.party.Metadata()
	for n := range about.SPSSODescriptors {
		about.SPSSODescriptors[n].AssertionConsumerServices = about.SPSSODescriptors[n].AssertionConsumerServices[:1] // by POST; artifacts are not fetched
	}
	b, err := xml.MarshalIndent(about, "", " ")
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "application/samlmetadata+xml")
	_, err = v.w.Write(b)
	return err
}

// samlAnswer takes the form that a provider has the browser send here. It is the one route that another site's page may send a form to.
func (v *visit) samlAnswer() error {
	s, err := v.saml()
	if err != nil {
		return err
	}
	if err := v.mayAnswer(); err != nil {
		return err
	}
	form, err := v.form()
	if err != nil {
		return err
	}
	said, err := s.answer(v, form.Get("SAMLResponse"))
	if private := (*saml.InvalidResponseError)(nil); errors.As(err, &private) {
		err = private.PrivateErr
	}
	if err != nil {
		return v.refuseAnswer(s.name, err)
	}
	return v.known(*said)
}

func (s *samlProvider) answer(v *visit, text string) (*who, error) {
	var trip asked
	errand, err := v.p.errands.Back(v.r, s.name, &trip)
	if err != nil {
		return nil, err
	}
	if len(text) > base64.StdEncoding.EncodedLen(maxAnswer) {
		return nil, fmt.Errorf("%d characters where at most %d bytes are allowed", len(text), maxAnswer)
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	if err := shapeOf(b); err != nil {
		return nil, err
	}
	a, err := s.party.ParseXMLResponse(b, []string{trip.ID}, s.party.AcsURL) // not ParseResponse: that fetches artifacts
	if err != nil {
		return nil, err
	}
	name, err := judged(a, v.p.Now())
	if err != nil {
		return nil, err
	}
	return &who{s.name, name, trip.To}, v.p.errands.Done(v.w, s.name, errand)
}

// judged is the name in an assertion whose signature, audience, recipient and request are right, if it is good now.
func judged(a *saml.Assertion, now time.Time) (string, error) {
	early, late := now.Add(-samlSkew), now.Add(samlSkew)
	for _, c := range a.Subject.SubjectConfirmations {
		if !early.Before(c.SubjectConfirmationData.NotOnOrAfter) {
			return "", fmt.Errorf("its subject is confirmed until %s", c.SubjectConfirmationData.NotOnOrAfter)
		}
	}
	id := a.Subject.NameID
	switch {
	case !early.Before(a.Conditions.NotOnOrAfter) || late.Before(a.Conditions.NotBefore):
		return "", fmt.Errorf("it is good from %s until %s", a.Conditions.NotBefore, a.Conditions.NotOnOrAfter)
	case len(a.AuthnStatements) == 0:
		return "", errors.New("it does not say that anybody signed in")
	case id.Format == string(saml.TransientNameIDFormat):
		return "", errors.New("the name in it is another one each time; the provider must send a lasting one")
	case id.Value == "" || strings.TrimSpace(id.Value) != id.Value:
		return "", fmt.Errorf("%q is no name", id.Value)
	}
	return id.Value, nil
}

const (
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsSignature = "http://www.w3.org/2000/09/xmldsig#"
	bearer      = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
)

// shape is what was seen of an answer.
type shape struct {
	path   []xml.Name
	own    []string // the ID of each element of the path; empty: it has none
	ids    map[string]bool
	count  map[string]int // of elements, by their names
	signed map[string]bool
}

// shapeOf refuses an answer that is not of the one shape that is taken here, before anything in it is believed: one Response, one Assertion in it and nowhere else, signatures only as their children and
// each of its own parent, no ID twice, nothing that is left out when a signature is checked. Every way to wrap a signed assertion needs more than that.
func shapeOf(b []byte) error {
	s := shape{ids: map[string]bool{}, count: map[string]int{}, signed: map[string]bool{}}
	d := xml.NewDecoder(bytes.NewReader(b))
	for tokens := 0; tokens < 10_000; tokens++ {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return s.whole()
		}
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.Comment:
			return errors.New("there is a comment in it")
		case xml.Directive:
			return errors.New("there is a document type in it")
		case xml.ProcInst:
			if t.Target != "xml" || len(s.ids) > 0 {
				return fmt.Errorf("there is an instruction for %s in it", t.Target)
			}
		case xml.StartElement:
			if err := s.begin(t); err != nil {
				return err
			}
		case xml.EndElement:
			s.path, s.own = s.path[:len(s.path)-1], s.own[:len(s.own)-1]
		}
	}
	return errors.New("it has more than 10000 parts")
}

func (s *shape) begin(e xml.StartElement) error {
	parent, id := "", ""
	if n := len(s.path); n > 0 {
		parent = s.path[n-1].Local
	}
	for _, a := range e.Attr {
		if strings.EqualFold(a.Name.Local, "ID") {
			if s.ids[a.Value] || id != "" {
				return fmt.Errorf("the ID %q is there twice", a.Value)
			}
			id = a.Value
			s.ids[id] = true
		}
	}
	at := func(space string, path ...string) bool {
		if e.Name.Space != space || len(path) != len(s.path)+1 {
			return false
		}
		for n, name := range s.path {
			if name.Local != path[n] {
				return false
			}
		}
		return true
	}
	attr := func(name string) string {
		n := slices.IndexFunc(e.Attr, func(a xml.Attr) bool { return a.Name.Local == name && a.Name.Space == "" })
		if n < 0 {
			return ""
		}
		return e.Attr[n].Value
	}
	good := true
	switch e.Name.Local {
	case "Response":
		good = at(nsProtocol, "Response") && id != ""
	case "Assertion":
		good = at(nsAssertion, "Response", "Assertion") && id != ""
	case "EncryptedAssertion", "EncryptedID", "EncryptedAttribute", "Object", "EntityDescriptor":
		good = false
	case "Signature":
		good = at(nsSignature, "Response", "Signature") || at(nsSignature, "Response", "Assertion", "Signature")
	case "Reference":
		// Of the element that its signature is a child of: Reference in SignedInfo in Signature.
		n := len(s.path)
		good = n >= 3 && s.path[n-2].Local == "Signature" && parent == "SignedInfo" && s.own[n-3] != "" && attr("URI") == "#"+s.own[n-3]
	case "SignatureMethod":
		good = slices.Contains([]string{
			"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
			"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
		}, attr("Algorithm"))
	case "DigestMethod":
		good = slices.Contains([]string{"http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmldsig-more#sha384", "http://www.w3.org/2001/04/xmlenc#sha512"}, attr("Algorithm"))
	case "Subject", "Conditions":
		good = parent == "Assertion" && (e.Name.Local == "Subject" || attr("NotOnOrAfter") != "")
	case "NameID":
		good = parent == "Subject"
	case "SubjectConfirmation":
		good = parent == "Subject" && attr("Method") == bearer
	case "SubjectConfirmationData":
		good = parent == "SubjectConfirmation" && attr("NotOnOrAfter") != "" && attr("Recipient") != "" && attr("InResponseTo") != ""
	}
	if !good || len(s.path) > 20 {
		return fmt.Errorf("%s is where none is expected, or not as expected", e.Name.Local)
	}
	s.path, s.own = append(s.path, e.Name), append(s.own, id)
	s.count[e.Name.Local]++
	if e.Name.Local == "Signature" {
		if s.signed[parent] {
			return fmt.Errorf("two signatures of one %s", parent)
		}
		s.signed[parent] = true
	}
	return nil
}

// whole wants everything there that judges rely on.
func (s *shape) whole() error {
	for _, name := range []string{"Response", "Assertion", "Subject", "NameID", "Conditions", "SubjectConfirmation", "SubjectConfirmationData"} {
		if n := s.count[name]; n != 1 {
			return fmt.Errorf("%d of %s where one is expected", n, name)
		}
	}
	if n := s.count["Signature"]; n == 0 || s.count["Reference"] != n || s.count["SignatureMethod"] != n || s.count["DigestMethod"] != n {
		return fmt.Errorf("%d signatures with %d references", n, s.count["Reference"])
	}
	return nil
}
