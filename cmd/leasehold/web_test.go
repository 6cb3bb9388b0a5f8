package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// A browser of this machine asks the appliance through the program: by the appliance's name, as if its pages came from there, and only where the certificate is the one that was meant.
func TestConsoleFromAPC(t *testing.T) {
	f := newFar(t, "localhost")
	var last http.Header
	console := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last = r.Header.Clone()
		last.Set("Host", r.Host)
		http.SetCookie(w, &http.Cookie{Name: "__Host-session", Value: "s", Path: "/", Secure: true, HttpOnly: true})
		json.NewEncoder(w).Encode(r.URL.RequestURI())
	}))
	console.TLS = f.TLS
	console.StartTLS()
	defer console.Close()
	host := console.Listener.Addr().String()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := l.Addr().String()
	p := &program{server: host, remote: remote{fingerprint: fmt.Sprintf("%x", sha256.Sum256(f.leaf))}}
	b, err := p.between(host, own)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.reach(t.Context()); err != nil {
		t.Fatal(err)
	}
	go serveUntil(t.Context(), l, b)
	ask := func(name string, headers ...string) (int, string) {
		r, err := http.NewRequest(http.MethodPost, "http://"+own+"/features?q=a%20b", strings.NewReader("x=1"))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = name
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		body, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if w.StatusCode == http.StatusOK && w.Header.Get("Set-Cookie") == "" {
			t.Error("the cookie does not reach the browser")
		}
		return w.StatusCode, strings.TrimSpace(string(body))
	}
	if status, body := ask(own, "Origin", "http://"+own, "Referer", "http://"+own+"/reservations?page=2", "Cookie", "__Host-session=s"); status != 200 || body != `"/features?q=a%20b"` {
		t.Errorf("%d %s", status, body)
	}
	for name, want := range map[string]string{"Host": host, "Origin": "https://" + host, "Referer": "https://" + host + "/reservations?page=2", "Cookie": "__Host-session=s", "X-Forwarded-For": "", "Authorization": ""} {
		if got := last.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	// A page from elsewhere stays one, and another name for this program is none.
	if ask(own, "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"); last.Get("Origin") != "http://evil.example" || last.Get("Sec-Fetch-Site") != "cross-site" {
		t.Errorf("a page from elsewhere: %v", last)
	}
	last = nil
	if status, _ := ask("evil.example"); status != http.StatusMisdirectedRequest || last != nil {
		t.Errorf("another name: %d, asked %v", status, last)
	}

	p.remote.fingerprint = fmt.Sprintf("%x", sha256.Sum256([]byte("x")))
	if b, err = p.between(host, own); err != nil {
		t.Fatal(err)
	}
	if no := b.reach(t.Context()); no == nil || b.refusal(no).Code != capability.ErrApplianceCertificate {
		t.Errorf("another certificate: %v", no)
	}
	console.Close()
	if no := b.reach(t.Context()); no == nil || b.refusal(no).Code != capability.ErrNoDaemon {
		t.Errorf("nobody there: %v", no)
	}
}
