package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
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

// authority ROOT CSR CERTIFICATE ADDRESS [key]: a site's authority, new for this call, signs a request for a day, for that address too; with key it signs another key instead.
func (m *machines) authority(ts *testscript.TestScript, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Site"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	block, _ := pem.Decode(b)
	asked, err := x509.ParseCertificateRequest(block.Bytes)
	ts.Check(err)
	public := asked.PublicKey
	if len(args) > 4 {
		public = key.Public()
	}
	der, err = x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: asked.Subject, NotBefore: root.NotBefore, NotAfter: root.NotAfter, DNSNames: asked.DNSNames, IPAddresses: append(asked.IPAddresses, net.ParseIP(args[3])),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, root, public, key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
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
