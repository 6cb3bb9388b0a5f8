package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/backoffice/portal"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/systemd"
)

// serving is what freehold serve was told, by flags and by portal.toml.
type serving struct {
	listen    string
	hosts     []string
	cert, key string
	url       string
	oidc      []portal.OIDC
	saml      []portal.SAML
	single    bool
}

// What is open at once: connections of all and of one address, behind which a company's machines may be, and requests of one connection.
const (
	connections     = 10_000
	connectionsEach = 2_000
	streams         = 50
)

func serveCommand(f *flags) *cobra.Command {
	var s serving
	c := &cobra.Command{
		Use: "serve", Short: "Serve the portal to browsers, the REST API to programs, and the online endpoint to appliances",
		Long: "Serve opens the back office and keeps it open: until it ends, the other commands that need the book wait for it, and say so. It speaks HTTPS only. Without --tls-cert it makes a certificate of its own, once, " +
			"and prints the fingerprint that a browser must show.\n\nIdentity providers, and whatever is not said by a flag, are in the file portal.toml of the back office's directory: listen, hosts, url, single_sign_on, [tls] with certificate and key, " +
			"[[oidc]] with name, issuer, client_id and secret_file or secret_credential, [[saml]] with name and metadata, a file.\n\n" +
			"Programs ask below /api/v1/, with a token of a login (freehold login token NAME) as \"Authorization: Bearer TOKEN\"; what there is to ask, and how, is in /api/v1/openapi.json. A POST with an Idempotency-Key that is sent again counts once.\n\nNobody can sign in before there is a login: freehold login add NAME --role \"security administrator\".",
		Example: "  freehold serve --listen :7443 --host licenses.example.com",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := s.read(f.dir, c.Flags()); err != nil {
				return err
			}
			return f.serve(c, &s)
		},
	}
	c.Flags().StringVar(&s.listen, "listen", "127.0.0.1:7443", "`address` to listen on")
	c.Flags().StringSliceVar(&s.hosts, "host", nil, "`name` or address that browsers use for it, beside the one that it listens on; again for each")
	c.Flags().StringVar(&s.cert, "tls-cert", "", "PEM `file` of the certificate and its chain")
	c.Flags().StringVar(&s.key, "tls-key", "", "PEM `file` of its key")
	c.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	return c
}

func (f *flags) serve(c *cobra.Command, s *serving) error {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return terminal.Usage("--listen: %w", err)
	}
	defer l.Close()
	hosts := names(s.hosts, l.Addr())
	o, err := f.open()
	if err != nil {
		return err
	}
	admitted := slices.ContainsFunc(o.Book().Logins(), func(l entitlement.Login) bool { return l.May(entitlement.ToAdmit) })
	alone := slices.ContainsFunc(o.Book().Logins(), func(l entitlement.Login) bool { return l.Local && l.Account == "" && l.May(entitlement.ToAdmit) })
	desk := backoffice.NewDesk(o)
	defer desk.Close()
	if s.single && !alone {
		return terminal.Advised(capability.ErrUsage, errors.New("single_sign_on is set, and nobody of the staff could admit logins without an identity provider"), "freehold login add NAME --local --role \"security administrator\"")
	}
	certificate, err := f.certificate(s, hosts)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
	if why := ending(certificate.Leaf, time.Now()); why != "" {
		log.Warn("certificate", "why", why)
	}
	p, err := portal.New(portal.Options{Desk: desk, Hosts: hosts, Now: time.Now, Rand: rand.Reader, Log: log, CodeOf: backoffice.Code, Words: auditWords, Version: terminal.Version(),
		Origin: s.origin(hosts[0], l.Addr()), OIDC: s.oidc, SAML: s.saml, SingleSignOn: s.single})
	if err != nil {
		return terminal.Usage("%w", err)
	}
	server := &http.Server{
		Handler: p.Handler(), ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}},
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streams},
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, WriteTimeout: 5 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	fmt.Fprintf(c.OutOrStdout(), "serving https://%s  certificate SHA-256 %X\n", net.JoinHostPort(hosts[0], port(l.Addr())), sha256.Sum256(certificate.Certificate[0]))
	if !admitted {
		fmt.Fprintln(c.ErrOrStderr(), "nobody can sign in yet; stop this, then: freehold login add NAME --role \"security administrator\"")
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(web.NewRoom(connections, connectionsEach).Listener(l), "", "") }()
	if err := systemd.Ready("serving on " + l.Addr().String()); err != nil {
		log.Warn("the service manager was not told", "error", err)
	}
	var failed error
	select {
	case err := <-ended:
		return err
	case failed = <-desk.Failed(): // nothing can be written any more, not even that somebody signs in
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(last); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errors.Join(failed, desk.Close())
}

// names are those that a server goes by: what was said, the address it listens on, and this machine's own words for itself where that is a loopback address.
func names(said []string, at net.Addr) []string {
	list := slices.Clone(said)
	if host, _, err := net.SplitHostPort(at.String()); err == nil {
		ip := net.ParseIP(host)
		if !ip.IsUnspecified() {
			list = append(list, host)
		}
		if ip.IsLoopback() || ip.IsUnspecified() {
			list = append(list, "localhost", "127.0.0.1", "::1")
		}
	}
	slices.Sort(list[len(said):])
	return slices.Compact(list)
}

func port(a net.Addr) string {
	_, p, err := net.SplitHostPort(a.String())
	if err != nil {
		return ""
	}
	return p
}

// endsSoon is how long before its end a certificate is warned of.
const endsSoon = 30 * 24 * time.Hour

// ending says that browsers take a certificate no more, or not for long; empty: they do.
func ending(c *x509.Certificate, now time.Time) string {
	const next = "put another in its place; where portal.pem was made here, take it away and one is made, whose fingerprint machines and browsers must be told"
	switch {
	case c == nil || now.Add(endsSoon).Before(c.NotAfter):
		return ""
	case now.After(c.NotAfter):
		return fmt.Sprintf("it ended %s: %s", c.NotAfter.UTC().Format(time.DateOnly), next)
	}
	return fmt.Sprintf("it ends %s: %s", c.NotAfter.UTC().Format(time.DateOnly), next)
}

// certificate is the one that was named, or the portal's own, which is made the first time.
func (f *flags) certificate(s *serving, hosts []string) (tls.Certificate, error) {
	if s.cert != "" {
		c, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return c, terminal.Coded(capability.ErrFileRead, err)
		}
		return c, nil
	}
	file := filepath.Join(f.dir, "portal.pem")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if b, err = web.NewCertificate(hosts, time.Now()); err == nil {
			err = writeMode(file, b, 0o600)
		}
	}
	if err != nil {
		return tls.Certificate{}, terminal.Coded(capability.ErrFileRead, err)
	}
	return tls.X509KeyPair(b, b)
}
