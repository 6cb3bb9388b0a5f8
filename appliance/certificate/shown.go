package certificate

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// Options are the parts of what an appliance shows. All but Kept are required.
type Options struct {
	Key     crypto.Signer // of the authority
	Machine string        // what the authority's certificate calls the machine: its short host ID
	Hosts   []string      // what the machine goes by, as Host gives them; at least one
	Kept    []byte        // the authority's certificate of the last run, in DER
	// Keep keeps it for the next run. What goes wrong there is said, and a new one is made next time.
	Keep func(der []byte) error
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

	mu        sync.Mutex
	authority *authority
	names     Names
	own       *tls.Certificate
	wanted    []netip.Addr // addresses that were not added; they wait for Renew
	learned   int          // addresses since then: each costs the TPM some work
}

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
	return s, s.make(s.names)
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
	s.o.Log.Info("certificate for browsers", "sha256", Fingerprint(leaf.Leaf.Raw), "authority_sha256", Fingerprint(a.of.Raw), "names", n.All(), "until", leaf.Leaf.NotAfter.Format(time.DateOnly))
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := addressOf(h); ok && !slices.Contains(s.names.Addresses, at) && !slices.Contains(s.wanted, at) {
		if s.learned++; s.learned > MaxAddresses {
			return s.own, nil
		}
		if err := s.make(s.names.with(at)); err != nil {
			s.o.Log.Warn("a certificate does not name an address that it is shown at", "address", at.String(), "cause", err.Error())
			s.wanted = append(s.wanted, at)
		}
	}
	return s.own, nil
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
	Fingerprint string          `json:"sha256"`                    // of the certificate, as Fingerprint gives it
	Authority   string          `json:"authoritySha256,omitempty"` // of the authority's, which stays when that changes
	Names       []string        `json:"names"`
	From        capability.Time `json:"from"`
	Until       capability.Time `json:"until"`
}

// Look gives what is shown.
func (s *Shown) Look() View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return View{Fingerprint(s.own.Leaf.Raw), Fingerprint(s.authority.of.Raw), namesOf(s.own.Leaf), capability.At(s.own.Leaf.NotBefore), capability.At(s.own.Leaf.NotAfter)}
}

// Names are those that the shown certificate is good for.
func (s *Shown) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return namesOf(s.own.Leaf)
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
