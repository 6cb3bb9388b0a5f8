package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// given is freehold serve's flags as somebody typed them.
func given(t *testing.T, args ...string) (*serving, *cobra.Command) {
	t.Helper()
	var s serving
	c := &cobra.Command{}
	c.Flags().StringVar(&s.listen, "listen", "127.0.0.1:7443", "")
	c.Flags().StringSliceVar(&s.hosts, "host", nil, "")
	c.Flags().StringVar(&s.cert, "tls-cert", "", "")
	c.Flags().StringVar(&s.key, "tls-key", "", "")
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return &s, c
}

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

const goodPortal = `
listen = ":7443"
hosts = ["licenses.example.com"]
single_sign_on = true
[tls]
certificate = "cert.pem"
key = "/etc/key.pem"
[[oidc]]
name = "corp"
issuer = "https://idp.example"
client_id = "leasehold"
secret_file = "secret"
[[oidc]]
name = "more"
issuer = "https://idp.example"
client_id = "leasehold"
secret_credential = "oidc.more"
[[oidc]]
name = "public"
issuer = "https://idp.example"
client_id = "leasehold"
[[saml]]
name = "adfs"
metadata = "idp.xml"
`

func TestPortalFile(t *testing.T) {
	dir := t.TempDir()
	s, c := given(t)
	if err := s.read(dir, c.Flags()); err != nil || s.listen != "127.0.0.1:7443" {
		t.Error("without a file:", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", t.TempDir())
	put(t, filepath.Join(os.Getenv("CREDENTIALS_DIRECTORY"), "oidc.more"), "another secret", 0o400)
	put(t, filepath.Join(dir, portalName), goodPortal, 0o644)
	put(t, filepath.Join(dir, "secret"), "the secret\nmore\n", 0o600)
	put(t, filepath.Join(dir, "idp.xml"), "<metadata/>", 0o644)
	if err := s.read(dir, c.Flags()); err != nil {
		t.Fatal(err)
	}
	if s.listen != ":7443" || len(s.hosts) != 1 || s.cert != filepath.Join(dir, "cert.pem") || s.key != "/etc/key.pem" || !s.single || len(s.oidc) != 3 || len(s.saml) != 1 ||
		s.oidc[0].Secret != "the secret" || s.oidc[1].Secret != "another secret" || s.oidc[2].Secret != "" || s.oidc[0].Name != "corp" || s.oidc[0].ClientID != "leasehold" || string(s.saml[0].Metadata) != "<metadata/>" {
		t.Errorf("%+v", s)
	}
	// What is typed counts.
	s, c = given(t, "--listen", "127.0.0.1:1", "--host", "other.example", "--tls-cert", "a", "--tls-key", "b")
	if err := s.read(dir, c.Flags()); err != nil || s.listen != "127.0.0.1:1" || s.hosts[0] != "other.example" || s.cert != "a" || s.key != "b" {
		t.Errorf("%+v %v", s, err)
	}
	at := &net.TCPAddr{Port: 7443}
	for url, want := range map[string]string{"": "https://a.example:7443", "https://licenses.example.com": "https://licenses.example.com"} {
		if got := (&serving{url: url}).origin("a.example", at); got != want {
			t.Error(got)
		}
	}
	for host, want := range map[string]string{"a.example": "https://a.example", "::1": "https://[::1]"} {
		if got := (&serving{}).origin(host, &net.TCPAddr{Port: 443}); got != want {
			t.Error(got)
		}
	}
}

func TestPortalFilesThatCannotBe(t *testing.T) {
	for what, c := range map[string]struct {
		text string
		want []string
	}{
		"a misspelled key":        {"listen = \":1\"\nhots = []\n", []string{"line 2", "hots", "the nearest is hosts"}},
		"a misspelled table":      {"\n[tsl]\ncertificate = \"x\"\n", []string{"line 2", "tsl"}},
		"in a table":              {"[tls]\n\ncertificat = \"x\"\n", []string{"line 3", "tls.certificat", "the nearest is tls.certificate"}},
		"in the second of a kind": {"[[oidc]]\nname = \"a\"\n[[oidc]]\nname = \"b\"\nisuer = \"x\"\n", []string{"line 5", "oidc.isuer", "the nearest is oidc.issuer"}},
		"a secret in the file":    {"[[oidc]]\nsecret = \"x\"\n", []string{"line 2", "oidc.secret"}},
		"nothing like it":         {"frobnicate = 1\n", []string{"line 1", "frobnicate", "there are listen, hosts"}},
		"no TOML":                 {"listen = \":1\"\nhosts = [\n\n=", []string{"line 4"}},
		"another type":            {"hosts = 7\n", []string{"hosts"}},
		"single sign-on at what":  {"\nsingle_sign_on = true\n", []string{"line 2", "without an identity provider"}},
		"half of a certificate":   {"[tls]\nkey = \"x\"\n", []string{"without its certificate"}},
		"two secrets":             {"[[oidc]]\nname = \"corp\"\nsecret_file = \"a\"\nsecret_credential = \"b\"\n", []string{"corp", "one of them"}},
		"a path of a credential":  {"[[oidc]]\nname = \"corp\"\nsecret_credential = \"../b\"\n", []string{"corp", "no name of a credential"}},
		"no credentials":          {"[[oidc]]\nname = \"corp\"\nsecret_credential = \"b\"\n", []string{"corp", "no credentials"}},
		"an absent secret":        {"[[oidc]]\nname = \"corp\"\nsecret_file = \"absent\"\n", []string{"corp", "no such file"}},
		"an open secret":          {"[[oidc]]\nname = \"corp\"\nsecret_file = \"open\"\n", []string{"corp", "mode 644"}},
		"an empty secret":         {"[[oidc]]\nname = \"corp\"\nsecret_file = \"empty\"\n", []string{"corp", "is empty"}},
		"absent metadata":         {"[[saml]]\nname = \"adfs\"\nmetadata = \"absent\"\n", []string{"adfs", "no such file"}},
		"too large":               {strings.Repeat("#\n", maxPortalFile), []string{"more than"}},
	} {
		t.Setenv("CREDENTIALS_DIRECTORY", "")
		dir := t.TempDir()
		put(t, filepath.Join(dir, portalName), c.text, 0o600)
		put(t, filepath.Join(dir, "open"), "x", 0o644)
		put(t, filepath.Join(dir, "empty"), "\n", 0o600)
		s, cmd := given(t)
		err := s.read(dir, cmd.Flags())
		if err == nil {
			t.Errorf("%s: taken", what)
			continue
		}
		for _, want := range append(c.want, portalName) {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, and not %q", what, err, want)
			}
		}
	}
}
