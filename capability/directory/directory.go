// Package directory asks a server of LDAP (RFC 4511) whether a name and a password belong together, and which of some groups that person is in. It speaks TLS or nothing, with a server that an authority
// which was handed in stands for, follows no referral, and believes no more than a bounded answer in a bounded time. It knows neither licenses nor roles.
//
// Start with Server and its Ask.
package directory

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

const (
	// Patience is how long one Ask takes at most.
	Patience = 10 * time.Second

	maxName     = 256      // bytes of a name that is asked for
	maxPassword = 1024     // bytes
	maxAnswers  = 64 << 10 // bytes that the server may say on one connection, in TLS: an entry has a name, and a group nothing but that it is there
	searchTime  = 5        // seconds that the server is told to take at most
)

// ErrUnknown: the directory knows nobody of that name with that password. Which of the two it is, is not said.
var ErrUnknown = errors.New("no such name and password")

// Server is one directory, and how it is asked.
type Server struct {
	URL         string         // ldaps://HOST:PORT; or ldap://HOST:PORT, where nothing is said before STARTTLS
	Authorities *x509.CertPool // that stand for its certificate; nil: nobody does
	Account     string         // the DN that looks people and groups up; empty: nobody in particular
	Secret      string         // its password
	Base        string         // the DN below which people are
	Name        string         // the attribute that names them
}

// Known is somebody whom the directory knows.
type Known struct {
	Subject string   // the DN
	Name    string   // as the directory writes it
	Groups  []string // of those that were asked for, as they were written there
}

// Ask says who has a name and a password, and which of these groups, by their DNs, have him as a member. The error is ErrUnknown, or that the directory gave no answer that counts.
func (s *Server) Ask(ctx context.Context, name, password string, groups []string) (*Known, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	// A bind without a password succeeds for everybody (RFC 4513, 5.1.2).
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) || password == "" || len(password) > maxPassword {
		return nil, ErrUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	look, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer look.close()
	if s.Account != "" {
		if err := look.Bind(s.Account, s.Secret); err != nil {
			return nil, fmt.Errorf("sign in as %s: %w", s.Account, err)
		}
	}
	found, err := s.find(look, name)
	if err != nil {
		return nil, err
	}
	// Also for a name that nobody has: whoever guesses names learns nothing by the clock.
	if err := s.prove(ctx, found, password); err != nil {
		return nil, err
	}
	if found.Groups, err = s.memberOf(look, found, groups); err != nil {
		return nil, err
	}
	return found, nil
}

func (s *Server) check() error {
	switch {
	case s.Authorities == nil:
		return errors.New("no authority stands for the directory's certificate")
	case s.Base == "":
		return errors.New("no DN is set below which people are")
	case s.Account != "" && s.Secret == "":
		return fmt.Errorf("no password is given for %s", s.Account)
	case !regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`).MatchString(s.Name):
		return fmt.Errorf("%q is no attribute", s.Name)
	}
	return nil
}

// find is the one person of that name. Who is none, or one of several, has no subject.
func (s *Server) find(c *conversation, name string) (*Known, error) {
	said, err := c.search(s.Base, ldap.ScopeWholeSubtree, 2, fmt.Sprintf("(%s=%s)", s.Name, ldap.EscapeFilter(name)), s.Name)
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) {
		return &Known{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for a name: %w", err)
	}
	if len(said) != 1 || said[0].DN == "" {
		return &Known{}, nil
	}
	for _, v := range said[0].GetEqualFoldAttributeValues(s.Name) {
		if strings.EqualFold(v, name) {
			return &Known{Subject: said[0].DN, Name: v}, nil
		}
	}
	return &Known{}, nil // another name, which the directory holds for the same
}

// prove has the directory judge a password, on a connection that is used for nothing else.
func (s *Server) prove(ctx context.Context, k *Known, password string) error {
	dn := k.Subject
	if dn == "" {
		dn = s.Name + "=" + strings.ToLower(rand.Text()) + "," + s.Base
	}
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	err = c.Bind(dn, password)
	switch {
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultUnwillingToPerform, ldap.LDAPResultConstraintViolation,
		ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax):
		return ErrUnknown
	case err != nil:
		return fmt.Errorf("have a password judged: %w", err)
	case k.Subject == "":
		return ErrUnknown // whatever was bound to
	}
	return nil
}

// memberOf are those of the groups that have somebody as a member.
func (s *Server) memberOf(c *conversation, k *Known, groups []string) (in []string, err error) {
	filter := fmt.Sprintf("(member=%s)(uniqueMember=%[1]s)", ldap.EscapeFilter(k.Subject))
	if strings.EqualFold(s.Name, "uid") {
		filter += fmt.Sprintf("(memberUid=%s)", ldap.EscapeFilter(k.Name))
	}
	for _, g := range groups {
		said, err := c.search(g, ldap.ScopeBaseObject, 1, "(|"+filter+")", "1.1")
		switch {
		case ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax):
		case err != nil:
			return nil, fmt.Errorf("look into the group %s: %w", g, err)
		case len(said) == 1:
			in = append(in, g)
		}
	}
	return in, nil
}

// conversation is a connection to the directory, which ends with its context.
type conversation struct {
	*ldap.Conn
	stop func() bool
}

// open connects, and says nothing before TLS.
func (s *Server) open(ctx context.Context) (*conversation, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Hostname() == "" || u.Scheme != "ldaps" && u.Scheme != "ldap" {
		return nil, fmt.Errorf("%q is no address of a directory", s.URL)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"ldaps": ldap.DefaultLdapsPort, "ldap": ldap.DefaultLdapPort}[u.Scheme]
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.Authorities, ServerName: u.Hostname()}
	under := &bounded{Conn: raw, left: maxAnswers}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	c := &conversation{stop: stop}
	if u.Scheme == "ldaps" {
		secure := tls.Client(under, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			stop()
			raw.Close()
			return nil, err
		}
		c.Conn = ldap.NewConn(secure, true)
		c.Start()
		return c, nil
	}
	c.Conn = ldap.NewConn(under, false)
	c.Start()
	if err := c.StartTLS(config); err != nil {
		c.close()
		return nil, fmt.Errorf("begin TLS: %w", err)
	}
	return c, nil
}

func (c *conversation) close() {
	c.stop()
	c.Conn.Close()
}

// search is one question. Where the server points elsewhere nobody goes: what is there is not here.
func (c *conversation) search(base string, scope, most int, filter, attribute string) ([]*ldap.Entry, error) {
	said, err := c.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, most, searchTime, false, filter, []string{attribute}, nil))
	if err != nil {
		return nil, err
	}
	return said.Entries, nil
}

// bounded is a connection on which so many bytes are read and no more.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("it says more than %d bytes", maxAnswers)
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
