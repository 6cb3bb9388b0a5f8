package certificate

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// Options are the parts of what an appliance shows. All but Kept, Site and Asked are required.
type Options struct {
	Key     crypto.Signer // of the authority
	Machine string        // what the authority's certificate calls the machine: its short host ID
	Hosts   []string      // what the machine goes by, as Host gives them; at least one
	Kept    []byte        // the authority's certificate of the last run, in DER
	// Keep keeps it for the next run. What goes wrong there is said, and a new one is made next time.
	Keep func(der []byte) error
	// Site and Asked are the files of the site's certificate, and of the request for the next one, as KeepSite and KeepAsked had them last. These are given nothing where the file is to go.
	Site, Asked         []byte
	KeepSite, KeepAsked func(file []byte) error
	Sealer              Sealer
	// Now is a time that nobody can set back.
	Now  func() (time.Time, error)
	Rand io.Reader
	Log  *slog.Logger
}

// Shown is what is shown at present. Its methods are safe for several goroutines.
//
// Where a machine has no list of its addresses, it learns them: an address that somebody has connected to is one of its own, and is named from then on. What may be learned has an end, see MaxAddresses.
type Shown struct {
	o Options

	at atomic.Pointer[present] // for handshakes, which wait for nobody that changes something

	mu        sync.Mutex // of who does
	authority *authority
	names     Names
	own       *tls.Certificate
	site      *tls.Certificate // the site's, or nil
	pair      *pair            // of it
	asked     *pair            // for the next one, or nil
	lost      error            // why the kept one is not shown
	wanted    []netip.Addr     // addresses that were not added; they wait for Renew
	learned   int              // addresses since then: each costs the TPM some work
}

// present is what is shown just now.
type present struct {
	certificate *tls.Certificate
	addresses   []netip.Addr // that the machine goes by
	names       []string     // with those of the site's certificate
}

// publish puts it before the handshakes to come.
func (s *Shown) publish() { s.at.Store(&present{s.shown(), s.names.Addresses, s.allNames()}) }

// New makes the authority's certificate, unless the kept one will do, and the first one to show.
func New(o Options) (*Shown, error) {
	if len(o.Hosts) == 0 {
		return nil, errors.New("a machine without a name")
	}
	s := &Shown{o: o, names: Names{Hosts: o.Hosts}}
	if len(o.Kept) > 0 {
		if kept, err := keptAuthority(o.Key, o.Kept); err != nil {
			o.Log.Warn("the certificate of the authority is made anew: the kept one is of no use", "cause", err.Error())
		} else {
			s.authority, s.names.Addresses = kept, kept.names().Addresses
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.openSite()
	return s, s.make(s.names)
}

// openSite takes up what was kept of the site's certificate.
func (s *Shown) openSite() {
	var err error
	if len(s.o.Asked) > 0 {
		if s.asked, err = openPair(s.o.Sealer, s.o.Asked, typeRequest); err != nil {
			s.asked = nil
			s.o.Log.Warn("the request for a certificate is of no use any more", "cause", err.Error())
		}
	}
	if len(s.o.Site) == 0 {
		return
	}
	p, err := openPair(s.o.Sealer, s.o.Site, typeCertificate)
	if err == nil {
		s.site, err = p.tls()
	}
	if s.pair, s.lost = p, err; err != nil {
		s.site, s.pair = nil, nil
		s.o.Log.Error(capability.ErrCertificateLost.Entry().Title, "code", capability.ErrCertificateLost.String(), "cause", err.Error())
		return
	}
	s.say()
}

// say writes down what is shown.
func (s *Shown) say() {
	c := s.shown()
	s.o.Log.Info("certificate for browsers", "sha256", Fingerprint(c.Leaf.Raw), "issuer", c.Leaf.Issuer.String(), "names", namesOf(c.Leaf), "until", c.Leaf.NotAfter.Format(time.DateOnly))
}

// shown is the site's certificate before ours.
func (s *Shown) shown() *tls.Certificate {
	if s.site != nil {
		return s.site
	}
	return s.own
}

// make makes what is shown for the names, and the authority's certificate where it may not name them yet.
func (s *Shown) make(n Names) error {
	now, err := s.o.Now()
	if err != nil {
		return err
	}
	a := s.authority
	if a == nil || !a.covers(n) {
		if a, err = newAuthority(s.o.Key, s.o.Rand, s.o.Machine, n); err != nil {
			return err
		}
	}
	leaf, err := a.leaf(s.o.Rand, n, now)
	if err != nil {
		return err
	}
	if a != s.authority {
		if err := s.o.Keep(a.of.Raw); err != nil {
			s.o.Log.Warn("the certificate of the authority is not kept, and is another one after the next start", "cause", err.Error())
		}
	}
	s.authority, s.names, s.own = a, n, leaf
	s.publish()
	if s.site == nil {
		s.o.Log.Info("certificate for browsers", "sha256", Fingerprint(leaf.Leaf.Raw), "authority_sha256", Fingerprint(a.of.Raw), "names", n.All(), "until", leaf.Leaf.NotAfter.Format(time.DateOnly))
	}
	return nil
}

// Renew makes another one in time before the present one ends, and for addresses that could not be named before. It is to be called every hour or so.
func (s *Shown) Renew() error {
	now, err := s.o.Now()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil { // the TPM may have been away
		s.openSite()
		s.publish()
	}
	n := s.names
	for _, a := range s.wanted {
		n = n.with(a)
	}
	if s.wanted, s.learned = nil, 0; slices.Equal(n.Addresses, s.names.Addresses) && now.Before(s.own.Leaf.NotAfter.Add(-renewal)) {
		return nil
	}
	return s.make(n)
}

// Certificate is for tls.Config.GetCertificate.
func (s *Shown) Certificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := s.at.Load()
	at, ok := addressOf(h)
	if !ok || slices.Contains(now.addresses, at) || !s.mu.TryLock() {
		return now.certificate, nil
	}
	defer s.mu.Unlock()
	if !slices.Contains(s.names.Addresses, at) && !slices.Contains(s.wanted, at) {
		if s.learned++; s.learned > MaxAddresses {
			return now.certificate, nil
		}
		if err := s.make(s.names.with(at)); err != nil {
			s.o.Log.Warn("a certificate does not name an address that it is shown at", "address", at.String(), "cause", err.Error())
			s.wanted = append(s.wanted, at)
		}
	}
	return s.at.Load().certificate, nil
}

// addressOf is the address that somebody connected to, if others can too: one that is good on a single link needs more than a certificate can say.
func addressOf(h *tls.ClientHelloInfo) (netip.Addr, bool) {
	at, err := netip.ParseAddrPort(h.Conn.LocalAddr().String())
	if err != nil {
		return netip.Addr{}, false
	}
	a := at.Addr().Unmap()
	return a, a.Zone() == "" && !a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.IsUnspecified()
}

// View is what is shown, for people and programs that look at it.
type View struct {
	Fingerprint string          `json:"sha256"`                       // of the certificate, as Fingerprint gives it
	Authority   string          `json:"authoritySha256,omitempty"`    // of our authority's, which stays when that changes; none where the site's is shown
	Key         string          `json:"authorityKeySha256,omitempty"` // of its public key, as a certificate has it: its certificate is another one where the machine goes by a new address, and the key stays
	Issuer      string          `json:"issuer"`
	Names       []string        `json:"names"`
	From        capability.Time `json:"from"`
	Until       capability.Time `json:"until"`
	Site        bool            `json:"site,omitempty"`  // it is the site's
	Asked       string          `json:"asked,omitempty"` // the request for one of the site's that has not come, in PEM
	Lost        string          `json:"lost,omitempty"`  // why one of the site's that was installed is not shown
}

// Look gives what is shown.
func (s *Shown) Look() View {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.shown().Leaf
	v := View{Fingerprint: Fingerprint(c.Raw), Issuer: c.Issuer.String(), Names: namesOf(c), From: capability.At(c.NotBefore), Until: capability.At(c.NotAfter), Site: s.site != nil}
	if !v.Site {
		v.Authority, v.Key = Fingerprint(s.authority.of.Raw), Fingerprint(s.authority.of.RawSubjectPublicKeyInfo)
	}
	if s.asked != nil {
		v.Asked = string(pem.EncodeToMemory(&pem.Block{Type: typeRequest, Bytes: s.asked.public[0]}))
	}
	if s.lost != nil {
		v.Lost = s.lost.Error()
	}
	return v
}

// Names are those that the machine may be asked by: its own, and those of the site's certificate.
func (s *Shown) Names() []string { return s.at.Load().names }

func (s *Shown) allNames() []string {
	names := append(s.names.hosts(), Names{Addresses: s.names.Addresses}.All()...)
	if s.site != nil {
		for _, n := range namesOf(s.site.Leaf) {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

// Note is told what is about to be kept, in DER and with its names: of a removal nothing. Its error stops that.
type Note func(der []byte, names []string) error

// Ask draws a key and gives the request for a certificate of the site's authority, in PEM: for these names, or without any for those that the machine goes by. What was asked for before and has not come is
// asked for no more. What is shown stays until Install. Note hears of it before anything is kept, and may refuse.
func (s *Shown) Ask(hosts []string, note Note) (request []byte, names []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.names
	if len(hosts) > 0 {
		n = Names{}
		for _, given := range hosts {
			host, ok := Host(given)
			if !ok || len(n.Hosts) == maxAsked {
				return nil, nil, &capability.Malformed{Field: "names", Cause: fmt.Sprintf("%q is no host name, or one above %d", given, maxAsked)}
			}
			n.Hosts = append(n.Hosts, host)
		}
	}
	p, err := newPair(s.o.Rand, s.o.Sealer)
	if err != nil {
		return nil, nil, err
	}
	if err := p.ask(s.o.Rand, n); err != nil {
		return nil, nil, err
	}
	if err := note(p.public[0], n.All()); err != nil {
		return nil, nil, err
	}
	if err := s.o.KeepAsked(p.encode(typeRequest)); err != nil {
		return nil, nil, fmt.Errorf("keep a certificate request: %w", err)
	}
	s.asked = p
	return pem.EncodeToMemory(&pem.Block{Type: typeRequest, Bytes: p.public[0]}), n.All(), nil
}

// Install shows the certificate in the file from now on, in PEM or DER and with those above it, if it was made for a key that was drawn here, goes by a name of this machine, and is good by the trusted time. It may be
// for the key that is in use. A refusal is a *capability.Refusal, and changes nothing.
func (s *Shown) Install(file []byte, note Note) (View, error) {
	now, err := s.o.Now()
	if err != nil {
		return View{}, err
	}
	if err := s.install(file, now, note); err != nil {
		return View{}, err
	}
	return s.Look(), nil
}

func (s *Shown) install(file []byte, now time.Time, note Note) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.allNames()
	var pairs []*pair
	if s.asked != nil {
		if r, err := x509.ParseCertificateRequest(s.asked.public[0]); err == nil {
			names = append(names, r.DNSNames...)
		}
		pairs = append(pairs, s.asked)
	}
	if s.pair != nil {
		pairs = append(pairs, s.pair)
	}
	p, err := judge(file, pairs, names, now)
	if err != nil {
		return err
	}
	shown, err := p.tls()
	if err != nil {
		return err
	}
	if err := note(shown.Leaf.Raw, namesOf(shown.Leaf)); err != nil {
		return err
	}
	if err := s.o.KeepSite(p.encode(typeCertificate)); err != nil {
		return fmt.Errorf("keep a certificate: %w", err)
	}
	// A cut here leaves the request, which is of no more use and in nobody's way.
	if s.asked != nil && s.asked.key.Equal(p.key) {
		s.forgetAsked()
	}
	s.site, s.pair, s.lost = shown, p, nil
	s.publish()
	s.say()
	return nil
}

func (s *Shown) forgetAsked() {
	s.asked = nil
	if err := s.o.KeepAsked(nil); err != nil {
		s.o.Log.Warn("the file of a certificate request stays", "cause", err.Error())
	}
}

// Remove shows our own certificate again, and forgets the site's with its key, and what was asked for.
func (s *Shown) Remove(note Note) (View, error) {
	if err := s.remove(note); err != nil {
		return View{}, err
	}
	return s.Look(), nil
}

func (s *Shown) remove(note Note) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := note(nil, nil); err != nil {
		return err
	}
	if s.site != nil || s.lost != nil {
		if err := s.o.KeepSite(nil); err != nil {
			return fmt.Errorf("remove a certificate: %w", err)
		}
	}
	if s.asked != nil {
		s.forgetAsked()
	}
	s.site, s.pair, s.lost = nil, nil, nil
	s.publish()
	return s.make(s.names)
}

// Authority is the certificate of the authority, in DER, for browsers to trust.
func (s *Shown) Authority() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.authority.of.Raw
}

func namesOf(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}
