package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability/directory/directorytest"
	"github.com/leasehold/leasehold/capability/web/issuer/issuertest"
)

// ldap NAME [expired|foreign]: starts a server of LDAP, and sets $LDAPS_NAME, $LDAP_NAME and $AUTHORITY_NAME; with "gone" it ends.
func (m *machines) ldap(ts *testscript.TestScript, args []string) {
	name, show := args[0], directorytest.Good
	if len(args) > 1 {
		switch args[1] {
		case "gone":
			m.directories[name].Close()
			delete(m.directories, name)
			return
		case "expired":
			show = directorytest.Expired
		case "foreign":
			show = directorytest.Foreign
		}
	}
	dir := filepath.Join(m.dir, "ldap-"+name)
	ts.Check(os.Mkdir(dir, 0o700))
	d, err := directorytest.New(dir, show)
	ts.Check(err)
	m.directories[name] = d
	ts.Setenv("LDAPS_"+name, d.TLS)
	ts.Setenv("LDAP_"+name, d.Plain)
	ts.Setenv("AUTHORITY_"+name, d.Authority)
}

// clerk NAME AUTHORITY SECRET asks the directory for the daemon of that name, until it is halted as clerk-NAME.
func (m *machines) clerk(ts *testscript.TestScript, args []string) {
	m.process(ts, "clerk-"+args[0], "", "leasehold", "directory", "--directory-socket", ts.Getenv("SOCK_"+args[0])+"d", "--authority", args[1], "--secret", args[2])
	admin := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", ts.Getenv("SOCK_"+args[0]))
	}}}
	for end := time.Now().Add(time.Minute); ; {
		var s console.DirectoryState
		r, err := admin.Get("http://leaseholdd" + console.Base + "directory")
		ts.Check(err)
		err = json.NewDecoder(r.Body).Decode(&s)
		r.Body.Close()
		ts.Check(err)
		if s.Running {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("the daemon knows of no program that asks the directory:\n%s", ts.ReadFile("clerk-"+args[0]+".log"))
		}
		<-time.After(20 * time.Millisecond)
	}
}

// issuer starts an issuer of OpenID Connect, and sets $ISSUER and $ISSUER_AUTHORITY.
func (m *machines) startIssuer(ts *testscript.TestScript, _ []string) {
	i, err := issuertest.New()
	ts.Check(err)
	ts.Defer(i.Close)
	m.issuer = i
	path := filepath.Join(m.dir, "issuer.pem")
	ts.Check(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw}), 0o600))
	ts.Setenv("ISSUER", i.URL)
	ts.Setenv("ISSUER_AUTHORITY", path)
}

// through NAME USER GROUP FILE [forged]: a browser signs in at the console of a daemon through the issuer, which says that it is USER in GROUP; the last page it sees is in FILE.
func (m *machines) through(ts *testscript.TestScript, args []string) {
	alg := "ES256"
	if len(args) > 4 {
		alg = "ES256!"
	}
	m.issuer.Say(alg, map[string]any{"preferred_username": args[1], "groups": []string{args[2]}, "sub": "sub-" + args[1]})
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	b := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(address string) (*http.Response, string) {
		r, err := b.Get(address)
		ts.Check(err)
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		ts.Check(err)
		return r, string(text)
	}
	r, text := get("https://" + ts.Getenv("ADDR_"+args[0]) + "/sign-in/directory?to=/me")
	if at := r.Header.Get("Location"); at != "" {
		came, redirect, err := m.issuer.Grant(at)
		ts.Check(err)
		r, text = get(redirect + "?" + came.Encode())
	}
	if _, to, ok := strings.Cut(r.Header.Get("Refresh"), "url="); ok {
		_, text = get("https://" + ts.Getenv("ADDR_"+args[0]) + to)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), []byte(text), 0o600))
}
