package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// remote is how the daemon is asked from another machine: on the port of clients, as a login that shows a token. Without a token the daemon is asked on its socket.
type remote struct {
	tokenFile   string
	fingerprint string // SHA-256 of the appliance's certificate, or of its authority's
	token       string // of this run alone; before that in the file
	on          bool   // ask over the network whatever the flags say
}

const maxToken = 1 << 10 // bytes of a file with a token

func (r *remote) flags(f *pflag.FlagSet) {
	f.StringVar(&r.tokenFile, "token-file", from("LEASEHOLD_TOKEN_FILE", ""), "`file` with the token of a login: manage the appliance at --server, from this machine ($LEASEHOLD_TOKEN_FILE)")
	f.StringVar(&r.fingerprint, "fingerprint", from("LEASEHOLD_FINGERPRINT", ""), "`SHA-256` of the appliance's certificate, of its authority's or of that one's key, as leasehold fingerprint says it there ($LEASEHOLD_FINGERPRINT)")
}

// away says that the daemon is asked over the network.
func (r *remote) away() bool { return r.on || r.tokenFile != "" }

// shown is the token, read from its file when it is needed first.
func (r *remote) shown() (string, error) {
	if r.token != "" || r.tokenFile == "" {
		return r.token, nil
	}
	b, err := terminal.ReadFile(r.tokenFile, maxToken)
	if err != nil {
		return "", terminal.Coded(capability.ErrFileRead, err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", terminal.Usage("--token-file %s: want one token in it", r.tokenFile)
	}
	r.token = text
	return text, nil
}

// remoteDaemon asks the daemon over the network.
func (p *program) remoteDaemon(r *http.Request) (*http.Response, error) {
	host, err := p.appliance()
	if err != nil {
		return nil, err
	}
	token, err := p.remote.shown()
	if err != nil {
		return nil, err
	}
	config, err := p.pinned(host)
	if err != nil {
		return nil, err
	}
	r.URL.Scheme, r.URL.Host, r.Host = "https", host, host
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	daemon := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: config, Proxy: nil, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a token goes nowhere else
	}
	w, err := daemon.Do(r)
	var no *capability.Refusal
	switch {
	case errors.As(err, &no):
		return nil, no
	case isCertificate(err):
		return nil, terminal.Coded(capability.ErrApplianceCertificate, fmt.Errorf("%s: %w", host, cause(err)))
	case err != nil && r.Context().Err() != nil:
		return nil, r.Context().Err()
	case err != nil:
		return nil, terminal.Advised(capability.ErrNoDaemon, fmt.Errorf("%s: %w", host, cause(err)), "check --server and the network; on the appliance: systemctl status leaseholdd")
	}
	return w, nil
}

func isCertificate(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.HostnameError)) || errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.CertificateInvalidError))
}

// appliance is the host and port in --server.
func (p *program) appliance() (string, error) {
	all := servers(p.server)
	if len(all) != 1 {
		return "", terminal.Usage("--server %s: want one appliance to manage", p.server)
	}
	at, isURL := strings.CutPrefix(all[0], "https://")
	at = strings.TrimSuffix(at, "/")
	if strings.Contains(at, "/") || !isURL && strings.Contains(at, "://") {
		return "", terminal.Usage("--server %s: want HOST or HOST:PORT", p.server)
	}
	if _, _, err := net.SplitHostPort(at); err != nil {
		at = net.JoinHostPort(strings.Trim(at, "[]"), strconv.Itoa(wire.Port))
	}
	return at, nil
}

// pinned is how the appliance's certificate is judged: by a fingerprint, or by the authorities that stand for it.
func (p *program) pinned(host string) (*tls.Config, error) {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		return nil, terminal.Usage("--server %s: %w", p.server, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: name}
	if p.remote.fingerprint == "" {
		config.RootCAs, err = p.authorities()
		return config, err
	}
	want, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(p.remote.fingerprint))
	if err != nil || len(want) != sha256.Size {
		return nil, terminal.Usage("--fingerprint: want the 64 digits of a SHA-256")
	}
	config.InsecureSkipVerify = true // the fingerprint says more than an authority could
	config.VerifyConnection = func(s tls.ConnectionState) error { return fits(s.PeerCertificates, [sha256.Size]byte(want), name) }
	return config, nil
}

// fits says why a chain is not the one of that fingerprint: it is of the certificate that is shown, or of an authority above it or of that one's key, which then stands for the name.
func fits(chain []*x509.Certificate, want [sha256.Size]byte, name string) error {
	for i, c := range chain {
		if sha256.Sum256(c.Raw) != want && (i == 0 || sha256.Sum256(c.RawSubjectPublicKeyInfo) != want) {
			continue
		}
		if i == 0 {
			return nil
		}
		o := x509.VerifyOptions{DNSName: name, Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
		o.Roots.AddCert(c)
		for _, between := range chain[1:i] {
			o.Intermediates.AddCert(between)
		}
		if _, err := chain[0].Verify(o); err != nil {
			return capability.Refuse(capability.ErrApplianceCertificate, "", "%v", err)
		}
		return nil
	}
	if len(chain) == 0 {
		return capability.Refuse(capability.ErrApplianceCertificate, "", "it shows none")
	}
	return capability.Refuse(capability.ErrApplianceCertificate, "", "its SHA-256 is %x", sha256.Sum256(chain[0].Raw))
}

// signedIn runs f as a login that signs in for it, and out again.
func (p *program) signedIn(ctx context.Context, name, password string, f func() error) error {
	if err := p.openSession(ctx, console.SignInForm{Name: name, Password: password}); err != nil {
		return err
	}
	err := f()
	var none struct{}
	// Why f failed is what somebody can do something about: a session that was not ended ends by itself.
	if ended := p.call(ctx, http.MethodDelete, "session", nil, &none); err == nil && ended != nil && !over(ended) {
		return ended
	}
	return err
}

// over says that a token was refused because it is over: another password ends every session.
func over(err error) bool {
	var no *capability.Refusal
	return errors.As(err, &no) && no.Code == capability.ErrApplianceToken
}
