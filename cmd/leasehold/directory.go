package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/directory"
	"github.com/leasehold/leasehold/capability/web/issuer"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/systemd"
)

const (
	defaultDirectorySocket = "/run/leasehold/directory.sock"
	// directoryAtOnce are the questions that are answered at a time, each on a connection to the daemon.
	directoryAtOnce = 4
	maxSecret       = 1 << 10 // bytes of a file with the password of an account, or of a client
)

func (p *program) directoryCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "directory --authority FILE", Short: "Ask a directory of the site who signs in, as long as it runs", Args: cobra.NoArgs,
		Long: "Directory is the program of leasehold-directory.service: it asks the directory of the site, LDAP or an issuer of OpenID Connect, who somebody is that signs in at the console, and connects to nothing else. " +
			"The daemon says where, and decides what such a person may do. The place and the groups are settings of the daemon:\n\n" +
			"  leasehold policies set directory-url ldaps://dc.example.org\n  leasehold policies set directory-account cn=leasehold,dc=example,dc=org\n  leasehold policies set directory-base ou=people,dc=example,dc=org\n" +
			"  leasehold policies set directory-license-administrator cn=licenses,ou=groups,dc=example,dc=org\n\n" +
			"directory-url: ldaps://HOST; ldap://HOST, where nothing is said before STARTTLS; or the issuer, https://HOST, from which everything has to come. Empty: no directory is asked.\n\n" +
			"directory-account: the DN that looks people up; of an issuer, the client ID. Its password is in the file of --secret.\n\n" +
			"directory-base: the DN below which people are.\n\n" +
			"directory-name: the attribute or the claim that names people, uid or preferred_username where nothing is set.\n\n" +
			"directory-groups, directory-scope: of an issuer, the claim with the groups, and what is asked for beside openid and profile.\n\n" +
			"directory-viewer, -operator, -license-administrator, -security-administrator, -auditor: the groups whose members have that role, with semicolons between them: DNs, or what the claim has. Nobody has a role that no group of his has.\n\n" +
			"An issuer sends browsers back to https://HOST:7070/sign-in/directory/answer, which has to be known there. No authority is believed but those of --authority.",
		RunE: func(c *cobra.Command, _ []string) error {
			if p.authority == "" {
				return terminal.Usage("--authority FILE: no authority stands for the certificate of the directory")
			}
			o := clerk{program: *p, issuers: map[string]*issuer.Issuer{}}
			o.socket, o.remote = c.Flag("directory-socket").Value.String(), remote{} // it runs on the appliance
			var err error
			if o.known, err = p.authorities(); err != nil {
				return err
			}
			if file := c.Flag("secret").Value.String(); file != "" {
				b, err := terminal.ReadFile(file, maxSecret)
				if err != nil {
					return terminal.Coded(capability.ErrFileRead, err)
				}
				o.secret = line(b)
			}
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return o.run(ctx)
		},
	}
	c.Flags().String("directory-socket", from("LEASEHOLD_DIRECTORY_SOCKET", defaultDirectorySocket), "`path` of the daemon's socket for this program ($LEASEHOLD_DIRECTORY_SOCKET)")
	c.Flags().String("secret", from("LEASEHOLD_DIRECTORY_SECRET", ""), "`file` with the password of directory-account, or the secret of the client ($LEASEHOLD_DIRECTORY_SECRET)")
	return c
}

// clerk is the program that asks; its socket is the daemon's for it.
type clerk struct {
	program
	known  *x509.CertPool // the authorities
	secret string

	mu      sync.Mutex
	issuers map[string]*issuer.Issuer // by their address and the client, so that their keys are not asked for each time
}

func (o *clerk) run(ctx context.Context) error {
	if err := systemd.Ready("asking the daemon"); err != nil {
		o.say("the service manager was not told: %s\n", err)
	}
	var all sync.WaitGroup
	for range directoryAtOnce {
		all.Go(func() {
			attend(ctx, &o.program, "directory/next", func(q *console.DirectoryQuestion) error {
				if q.Number == 0 {
					return nil
				}
				var taken struct{}
				return o.call(ctx, http.MethodPost, "directory/answer", o.answer(ctx, q), &taken)
			})
		})
	}
	all.Wait()
	return nil
}

// answer asks the directory.
func (o *clerk) answer(ctx context.Context, q *console.DirectoryQuestion) *console.DirectoryAnswer {
	a := &console.DirectoryAnswer{Number: q.Number}
	err := o.ask(ctx, q, a)
	if err == nil {
		return a
	}
	code := capability.ErrDirectory // and not the fault of who signs in
	if errors.Is(err, directory.ErrUnknown) || errors.Is(err, issuer.ErrOtherSignIn) {
		code = capability.ErrApplianceSignIn
	}
	if !errors.Is(err, directory.ErrUnknown) {
		o.say("%s: %s\n", q.URL, err)
	}
	d := capability.Denial{Code: code, Detail: err.Error()}.Shown()
	return &console.DirectoryAnswer{Number: q.Number, Denial: &d}
}

func (o *clerk) ask(ctx context.Context, q *console.DirectoryQuestion, a *console.DirectoryAnswer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, directory.Patience)
	defer cancel()
	if q.Password != nil {
		s := directory.Server{URL: q.URL, Authorities: o.known, Account: q.Account, Secret: o.secret, Base: q.Base, Name: q.Name}
		k, err := s.Ask(ctx, q.Password.Name, q.Password.Password, q.Groups)
		if err == nil {
			a.Person = &console.Person{Subject: k.Subject, Name: k.Name, Groups: k.Groups}
		}
		return err
	}
	i, err := o.issuer(q)
	switch {
	case err != nil:
	case q.Address != nil:
		a.Address, err = i.Address(ctx, q.Address.Redirect, q.Address.Trip, append([]string{"profile"}, strings.Fields(q.Scope)...)...)
	case q.Code != nil:
		a.Person, err = redeemed(ctx, i, q)
	default:
		err = errors.New("this program does not know what is asked: it is older than the daemon")
	}
	return err
}

// issuer is the one of a question. It is asked in one place: what it names elsewhere is not.
func (o *clerk) issuer(q *console.DirectoryQuestion) (*issuer.Issuer, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := q.URL + " " + q.Account
	if i := o.issuers[key]; i != nil {
		return i, nil
	}
	at, err := url.Parse(q.URL)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.known}, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute}
	i, err := issuer.New(issuer.Options{URL: q.URL, ClientID: q.Account, Secret: o.secret, Transport: onePlace{transport, at.Host}, Now: time.Now})
	if err == nil {
		clear(o.issuers) // there is one at a time
		o.issuers[key] = i
	}
	return i, err
}

// onePlace reaches one host and port.
type onePlace struct {
	http.RoundTripper
	host string
}

func (p onePlace) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != p.host {
		return nil, fmt.Errorf("the issuer is at %s, and %s is not asked", p.host, r.URL.Host)
	}
	return p.RoundTripper.RoundTrip(r)
}

// redeemed is whom the issuer means by a code.
func redeemed(ctx context.Context, i *issuer.Issuer, q *console.DirectoryQuestion) (*console.Person, error) {
	k, err := i.Redeem(ctx, q.Code.Redirect, q.Code.Code, q.Code.Trip)
	if err != nil {
		return nil, err
	}
	claims := map[string]any{}
	if err := k.Claims(&claims); err != nil {
		return nil, err
	}
	name, _ := claims[q.Name].(string)
	if name = strings.TrimSpace(name); name == "" {
		return nil, fmt.Errorf("the claim %s names nobody", q.Name)
	}
	in := []string{}
	for _, g := range texts(claims[cmp.Or(q.Claim, "groups")]) {
		if slices.Contains(q.Groups, g) {
			in = append(in, g)
		}
	}
	return &console.Person{Subject: k.Subject, Name: name, Groups: in}, nil
}

// texts are those of a claim: one, or several.
func texts(claim any) (list []string) {
	switch v := claim.(type) {
	case string:
		list = append(list, v)
	case []any:
		for _, one := range v {
			if s, ok := one.(string); ok {
				list = append(list, s)
			}
		}
	}
	return list
}
