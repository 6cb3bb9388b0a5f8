package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

// far is an appliance on the network: what it is asked, by which token, and what its certificates are.
type far struct {
	*httptest.Server
	leaf, authority []byte // DER
	own, key        []byte // their public keys

	mu     sync.Mutex
	tokens map[string]string // by method and path
}

func newFar(t *testing.T, name string) *far {
	t.Helper()
	make := func(subject string, serial int64, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: subject}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		}
		if parent == nil {
			parent, signer = c, key
		} else {
			c.DNSNames, c.ExtKeyUsage = []string{name}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		made, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return made, key
	}
	top, topKey := make("authority", 1, nil, nil)
	leaf, key := make("appliance", 2, top, topKey)
	f := &far{leaf: leaf.Raw, authority: top.Raw, own: leaf.RawSubjectPublicKeyInfo, key: top.RawSubjectPublicKeyInfo, tokens: map[string]string{}}
	f.Server = httptest.NewUnstartedServer(f)
	f.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, top.Raw}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
	f.EnableHTTP2 = true
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := r.Method + " " + strings.TrimPrefix(r.URL.Path, console.Base)
	f.mu.Lock()
	f.tokens[what] = r.Header.Get("Authorization")
	f.mu.Unlock()
	no := func(status int, code capability.Code) {
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(console.Problem{Code: code, Symbol: code.Symbol(), Denial: capability.Denial{Code: code}})
	}
	switch what {
	case "GET users", "GET features":
		json.NewEncoder(w).Encode([]any{})
	case "POST session":
		var form console.SignInForm
		if json.NewDecoder(r.Body).Decode(&form) != nil || form.Password != "correct horse" {
			no(http.StatusUnauthorized, capability.ErrApplianceSignIn)
			return
		}
		json.NewEncoder(w).Encode(console.SignedIn{Token: "lh_session", Life: 1800})
	case "PUT password":
		json.NewEncoder(w).Encode(keller())
	case "DELETE session":
		no(http.StatusUnauthorized, capability.ErrApplianceToken) // another password ended it
	case "GET devices":
		http.Redirect(w, r, console.Base+"elsewhere", http.StatusFound)
	default:
		no(http.StatusForbidden, capability.ErrApplianceRole)
	}
}

// The appliance is asked over the network by whom a token says, if its certificate is the one that was meant.
func TestManageFromElsewhere(t *testing.T) {
	m := newMachine(t)
	f := newFar(t, "localhost")
	m.put("token", []byte("lh_script\n"))
	m.put("two", []byte("lh_a lh_b\n"))
	m.put("authority.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.authority}))
	m.put("other.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newFar(t, "localhost").authority}))
	_, port, _ := strings.Cut(strings.TrimPrefix(f.URL, "https://"), ":")
	by := func(der []byte) string { return fmt.Sprintf("%x", sha256.Sum256(der)) }
	spelled := strings.ToUpper(by(f.leaf)[:2] + ":" + by(f.leaf)[2:])
	run := func(host string, args ...string) (int, string, string) {
		return m.run(append([]string{"features", "--server", host + ":" + port, "--token-file", "token"}, args...)...)
	}
	for name, c := range map[string]struct {
		host   string
		args   []string
		status int
		code   capability.Code
	}{
		"the certificate":               {"127.0.0.1", []string{"--fingerprint", by(f.leaf)}, 0, 0},
		"the certificate, as it reads":  {"localhost", []string{"--fingerprint", spelled}, 0, 0},
		"its authority":                 {"localhost", []string{"--fingerprint", by(f.authority)}, 0, 0},
		"its authority's key":           {"localhost", []string{"--fingerprint", by(f.key)}, 0, 0},
		"that key, another name":        {"127.0.0.1", []string{"--fingerprint", by(f.key)}, 20, capability.ErrApplianceCertificate},
		"the certificate's own key":     {"localhost", []string{"--fingerprint", by(f.own)}, 20, capability.ErrApplianceCertificate},
		"a file of its authority":       {"localhost", []string{"--authority", "authority.pem"}, 0, 0},
		"its authority, another name":   {"127.0.0.1", []string{"--fingerprint", by(f.authority)}, 20, capability.ErrApplianceCertificate},
		"a file, another name":          {"127.0.0.1", []string{"--authority", "authority.pem"}, 20, capability.ErrApplianceCertificate},
		"another fingerprint":           {"localhost", []string{"--fingerprint", by([]byte("x"))}, 20, capability.ErrApplianceCertificate},
		"another authority":             {"localhost", []string{"--authority", "other.pem"}, 20, capability.ErrApplianceCertificate},
		"those that this machine knows": {"localhost", nil, 20, capability.ErrApplianceCertificate},
		"no fingerprint at all":         {"localhost", []string{"--fingerprint", "abc"}, 2, capability.ErrUsage},
		"no authority at all":           {"localhost", []string{"--authority", "token"}, 2, capability.ErrUsage},
	} {
		f.mu.Lock()
		clear(f.tokens)
		f.mu.Unlock()
		status, _, stderr := run(c.host, c.args...)
		if status != c.status {
			t.Errorf("%s: %d %s", name, status, stderr)
		}
		f.mu.Lock()
		if seen := f.tokens["GET features"]; seen != "" != (c.status == 0) || seen != "" && seen != "Bearer lh_script" {
			t.Errorf("%s: it was shown %q", name, seen)
		}
		f.mu.Unlock()
		if c.code != 0 {
			fourLines(t, name, stderr, c.code)
		}
	}
	pin := []string{"--fingerprint", by(f.leaf), "--server", "https://localhost:" + port + "/"}
	with := func(args ...string) (int, string, string) { return m.run(append(args, pin...)...) }
	if status, _, stderr := with("doctor", "--token-file", "token"); status != capability.ExitPolicy || !strings.Contains(stderr, "LH-4303") {
		t.Errorf("%d %s", status, stderr)
	}
	if status, _, stderr := with("devices", "--token-file", "token"); status == 0 || strings.Contains(stderr, "lh_script") {
		t.Errorf("a token goes elsewhere: %d %s", status, stderr)
	}
	f.mu.Lock()
	if seen, met := f.tokens["GET elsewhere"]; met {
		t.Errorf("a redirection was followed with %q", seen)
	}
	f.mu.Unlock()
	for _, file := range []string{"two", "none", "."} {
		if status, _, stderr := with("features", "--token-file", file); status == 0 || strings.Contains(stderr, "lh_") {
			t.Errorf("%s: %d %s", file, status, stderr)
		}
	}
	for _, server := range []string{"a:1,b:2", "http://localhost:" + port, "localhost/x", ""} {
		if status, _, _ := m.run("features", "--token-file", "token", "--server", server); status != capability.ExitUsage {
			t.Errorf("--server %q: %d", server, status)
		}
	}
	if status, _, stderr := m.run("features", "--token-file", "token", "--server", "127.0.0.1:1"); status != capability.ExitNoDaemon || !strings.Contains(stderr, "check --server") {
		t.Errorf("%d %s", status, stderr)
	}

	// Somebody signs in, and the token is in a file of theirs alone.
	m.put("pw", []byte("correct horse\n"))
	m.put("wrong", []byte("wrong\n"))
	if status, _, stderr := with("session", "open", "--user", "keller", "--password-file", "wrong", "-o", "session"); status != capability.ExitPolicy || !strings.Contains(stderr, "LH-4302") {
		t.Errorf("%d %s", status, stderr)
	}
	if status, stdout, stderr := with("session", "open", "--user", "keller", "--password-file", "pw", "-o", "session"); status != 0 || strings.Contains(stdout+stderr, "lh_session") {
		t.Errorf("%d %s%s", status, stdout, stderr)
	}
	path := filepath.Join(m.dir, "session")
	if b, err := os.ReadFile(path); err != nil || string(b) != "lh_session\n" {
		t.Errorf("%q, %v", b, err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", i, err)
	}
	if status, _, stderr := with("session", "close", "--token-file", "session"); status != 0 {
		t.Errorf("%d %s", status, stderr)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is still there")
	}

	// Over the network the own password is asked; here nobody is at a terminal.
	if status, _, stderr := with("users", "remove", "ada", "--token-file", "token"); status != capability.ExitUsage || !strings.Contains(stderr, "own-password") {
		t.Errorf("%d %s", status, stderr)
	}
	if status, _, stderr := with("password", "--user", "keller", "--current-password-file", "pw", "--password-file", "wrong"); status != 0 {
		t.Errorf("%d %s", status, stderr)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tokens["PUT password"] != "Bearer lh_session" || f.tokens["POST session"] != "" {
		t.Errorf("%v", f.tokens)
	}
}
