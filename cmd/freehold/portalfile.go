package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice/portal"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

const (
	portalName    = "portal.toml"
	maxPortalFile = 64 << 10
	maxMetadata   = 1 << 20
	maxSecret     = 4 << 10
)

// portalFile is DIR/portal.toml. Files that it names are found from DIR on. No secret is in it.
type portalFile struct {
	Listen       string    `toml:"listen"`
	Hosts        []string  `toml:"hosts"`
	URL          string    `toml:"url"` // how browsers and identity providers know it
	SingleSignOn bool      `toml:"single_sign_on"`
	TLS          tlsFile   `toml:"tls"`
	OIDC         []oidcRow `toml:"oidc"`
	SAML         []samlRow `toml:"saml"`
}

type tlsFile struct {
	Certificate string `toml:"certificate"`
	Key         string `toml:"key"`
}

type oidcRow struct {
	Name       string `toml:"name"`
	Issuer     string `toml:"issuer"`
	ClientID   string `toml:"client_id"`
	File       string `toml:"secret_file"`
	Credential string `toml:"secret_credential"` // of systemd's
}

type samlRow struct {
	Name     string `toml:"name"`
	Metadata string `toml:"metadata"`
}

// read completes what flags have said by portal.toml, if there is one.
func (s *serving) read(dir string, flags *pflag.FlagSet) error {
	path := filepath.Join(dir, portalName)
	b, err := terminal.ReadFile(path, maxPortalFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return terminal.Coded(capability.ErrFileRead, fmt.Errorf("%s: %w", portalName, err))
	}
	p, err := parsePortal(b)
	if err == nil {
		err = s.take(p, dir, flags)
	}
	if err != nil {
		return terminal.Usage("%s: %w", path, err)
	}
	return nil
}

// parsePortal reads a portal.toml.
func parsePortal(b []byte) (*portalFile, error) {
	var p portalFile
	if err := terminal.TOML(b, &p); err != nil {
		return nil, err
	}
	if len(p.OIDC)+len(p.SAML) == 0 && p.SingleSignOn {
		return nil, fmt.Errorf("line %d: single_sign_on without an identity provider", terminal.LineOf(b, "single_sign_on"))
	}
	return &p, nil
}

// take is what the file says and no flag does.
func (s *serving) take(p *portalFile, dir string, flags *pflag.FlagSet) error {
	in := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	if p.Listen != "" && !flags.Changed("listen") {
		s.listen = p.Listen
	}
	if !flags.Changed("host") {
		s.hosts = p.Hosts
	}
	if !flags.Changed("tls-cert") {
		s.cert, s.key = in(p.TLS.Certificate), in(p.TLS.Key)
		if (s.cert == "") != (s.key == "") {
			return errors.New("tls: a certificate without its key, or a key without its certificate")
		}
	}
	s.url, s.single = p.URL, p.SingleSignOn
	for _, row := range p.OIDC {
		secret, err := row.secret(in)
		if err != nil {
			return fmt.Errorf("oidc %s: %w", row.Name, err)
		}
		s.oidc = append(s.oidc, portal.OIDC{Name: row.Name, Issuer: row.Issuer, ClientID: row.ClientID, Secret: secret})
	}
	for _, row := range p.SAML {
		b, err := terminal.ReadFile(in(row.Metadata), maxMetadata)
		if err != nil {
			return fmt.Errorf("saml %s: metadata: %w", row.Name, err)
		}
		s.saml = append(s.saml, portal.SAML{Name: row.Name, Metadata: b})
	}
	return nil
}

// secret is the first line of the file or the credential that has it; without either the client is a public one.
func (r *oidcRow) secret(in func(string) string) (string, error) {
	path := in(r.File)
	switch {
	case r.File != "" && r.Credential != "":
		return "", errors.New("secret_file and secret_credential: one of them")
	case r.Credential != "" && filepath.Base(r.Credential) != r.Credential:
		return "", fmt.Errorf("secret_credential: %q is no name of a credential", r.Credential)
	case r.Credential != "":
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return "", fmt.Errorf("secret_credential %s: the service manager has given no credentials", r.Credential)
		}
		path = filepath.Join(dir, r.Credential)
	case r.File == "":
		return "", nil
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("%s has mode %o, so that everybody on this machine may use it; chmod 600", path, info.Mode().Perm())
	}
	b, err := terminal.ReadFile(path, maxSecret)
	if err != nil {
		return "", fmt.Errorf("secret: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	if line = bytes.TrimSpace(line); len(line) == 0 {
		return "", fmt.Errorf("the first line of %s is empty", path)
	}
	return string(line), nil
}

// origin is how browsers know a portal: as portal.toml says, or by its first name and the port it listens on.
func (s *serving) origin(host string, at net.Addr) string {
	if s.url != "" {
		return s.url
	}
	if p := port(at); p != "443" {
		return "https://" + net.JoinHostPort(host, p)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "https://" + host
}
