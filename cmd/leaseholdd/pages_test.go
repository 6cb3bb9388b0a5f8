package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/capability/web"
)

// browse NAME PATH FILE [AUTHORITY]: the answer of that daemon's pages goes into the file, as a browser gets it that trusts the authority, or has been told to go on without. $SHOWN is the
// fingerprint of what it was shown, $STATUS the status.
func (m *machines) browse(ts *testscript.TestScript, args []string) {
	config := &tls.Config{InsecureSkipVerify: true}
	if len(args) > 3 {
		b, err := os.ReadFile(ts.MkAbs(args[3]))
		ts.Check(err)
		config = &tls.Config{RootCAs: x509.NewCertPool()}
		config.RootCAs.AppendCertsFromPEM(b)
	}
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	r, err := client.Get("https://" + ts.Getenv("ADDR_"+args[0]) + args[1])
	for end := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(end); r, err = client.Get("https://" + ts.Getenv("ADDR_"+args[0]) + args[1]) {
		<-time.After(20 * time.Millisecond) // a daemon that has just started has no certificate yet
	}
	ts.Check(err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), b, 0o600))
	ts.Setenv("SHOWN", certificate.Fingerprint(r.TLS.PeerCertificates[0].Raw))
	ts.Setenv("STATUS", r.Status)
}

// Requests that are answered take places, of which one address has some; who comes then is told to come again.
func TestCrowded(t *testing.T) {
	inside, leave := make(chan bool, 4), make(chan bool)
	h := crowded(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { inside <- true; <-leave }), web.NewRoom(3, 2))
	ask := func(from string) *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = from + ":1"
		h.ServeHTTP(w, r)
		return w
	}
	var running sync.WaitGroup
	for _, from := range []string{"10.0.0.1", "10.0.0.1", "10.0.0.2"} {
		running.Go(func() {
			if w := ask(from); w.Code != http.StatusOK {
				t.Errorf("%s hears %d", from, w.Code)
			}
		})
	}
	for range 3 {
		<-inside
	}
	for _, from := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
		if w := ask(from); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s hears %d", from, w.Code)
		}
	}
	close(leave)
	running.Wait()
	if w := ask("10.0.0.1"); w.Code != http.StatusOK {
		t.Errorf("the place of one that left is not free: %d", w.Code)
	}
}

// What cannot be made at once is tried for until it is there; until then browsers are shown nothing.
func TestCertificateIsTriedFor(t *testing.T) {
	var b browsing
	if _, err := b.certificate(nil); err == nil {
		t.Error("something is shown before there is a certificate")
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	tries := 0
	b.keep(ctx, slog.New(slog.DiscardHandler), func(context.Context) (certificate.Options, error) {
		if tries++; tries == 2 {
			end()
		}
		return certificate.Options{}, errors.New("the TPM is busy")
	})
	if tries != 2 || b.shown.Load() != nil {
		t.Errorf("%d tries", tries)
	}
}
