package client

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// asked is a server at the other end of an Office, and what it was asked.
func asked(t *testing.T, answer http.HandlerFunc) (*Office, *httptest.Server) {
	t.Helper()
	s := httptest.NewUnstartedServer(answer)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &Office{URL: s.URL, Authorities: pool, Timeout: 10 * time.Second}, s
}

// The bytes of the request go out and the bytes of the answer come back, and everything else is a refusal with a code of ours.
func TestExchangeWithOffice(t *testing.T) {
	const request = "the bytes of a request"
	denial := func(d capability.Denial) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.Header.Get("Accept"), "application/cbor") {
				t.Error("it does not say that it reads CBOR")
			}
			w.WriteHeader(http.StatusForbidden)
			w.Write(wire.New().Encode(&d))
		}
	}
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		code   capability.Code
		detail string
	}{
		"answered": {func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil || string(b) != request || r.Method != http.MethodPost || r.URL.Path != "/exchange" {
				t.Errorf("%s %s %q", r.Method, r.URL, b)
			}
			w.Write([]byte("answer"))
		}, 0, ""},
		"refused":                  {denial(capability.Denial{Code: capability.ErrOperator, Subject: "it", Detail: "ask"}), capability.ErrOperator, "ask"},
		"refused by no code":       {denial(capability.Denial{Detail: "x"}), capability.ErrOfficeUnreachable, "403 Forbidden"},
		"refused by what was done": {denial(capability.Denial{Code: capability.Applied}), capability.ErrOfficeUnreachable, "403 Forbidden"},
		"refused in lines":         {denial(capability.Denial{Code: capability.ErrOperator, Detail: "ask\nLH-2201 response applied"}), capability.ErrOperator, "ask?LH-2201"},
		"a page":                   {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }, capability.ErrOfficeUnreachable, "502 Bad Gateway, which no back office says"},
		"somewhere else": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
		}, capability.ErrOfficeUnreachable, "307"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, capability.MaxFile+1)) }, capability.ErrOfficeUnreachable, "more than"},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("x"))
		}, capability.ErrOfficeUnreachable, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := asked(t, test.answer)
			b, err := o.Exchange(t.Context(), []byte(request))
			if test.code == 0 {
				if err != nil || string(b) != "answer" {
					t.Errorf("%q %v", b, err)
				}
				return
			}
			no := (*capability.Refusal)(nil)
			if !errors.As(err, &no) || no.Code != test.code || !strings.Contains(no.Detail, test.detail) {
				t.Errorf("%v", err)
			}
		})
	}
}

// One certificate is believed: the one whose fingerprint was set, whatever its names and dates, or one that an authority stands for by the name that was asked. Whoever shows another hears nothing.
func TestOfficeCertificate(t *testing.T) {
	heard := 0
	o, s := asked(t, func(http.ResponseWriter, *http.Request) { heard++ })
	pin := fmt.Sprintf("%X", sha256.Sum256(s.Certificate().Raw))
	port := s.Listener.Addr().(*net.TCPAddr).Port
	named := fmt.Sprintf("https://localhost:%d", port) // the certificate is for an address
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.StartTLS()
	t.Cleanup(old.Close)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	for name, test := range map[string]struct {
		office Office
		want   error
	}{
		"by its authority":                     {Office{URL: s.URL, Authorities: o.Authorities}, nil},
		"by its fingerprint":                   {Office{URL: s.URL, Certificate: pin}, nil},
		"by its fingerprint, for another name": {Office{URL: named, Certificate: strings.ToLower(pin)}, nil},
		"by no authority":                      {Office{URL: s.URL}, ErrOfficeCertificate},
		"by its authority, for another name":   {Office{URL: named, Authorities: o.Authorities}, ErrOfficeCertificate},
		"by another fingerprint":               {Office{URL: s.URL, Authorities: o.Authorities, Certificate: "00" + pin[2:]}, ErrOfficeCertificate},
		"by half a fingerprint":                {Office{URL: s.URL, Certificate: pin[:32]}, ErrOfficeCertificate},
		"TLS 1.2":                              {Office{URL: old.URL, Certificate: pin}, ErrOfficeUnreachable},
		"no TLS":                               {Office{URL: "https" + strings.TrimPrefix(plain.URL, "http"), Certificate: pin}, ErrOfficeUnreachable},
		"no TLS, said so":                      {Office{URL: plain.URL, Certificate: pin}, ErrOfficeUnreachable},
		"no address":                           {Office{URL: ":", Certificate: pin}, ErrOfficeUnreachable},
	} {
		before := heard
		_, err := test.office.Exchange(t.Context(), []byte("x"))
		if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if (heard > before) != (test.want == nil) {
			t.Errorf("%s: the request was sent %d times", name, heard-before)
		}
	}
}

// Who does not answer is waited for so long and no longer.
func TestOfficeSilent(t *testing.T) {
	o, _ := asked(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() })
	o.Timeout = 50 * time.Millisecond
	if _, err := o.Exchange(t.Context(), []byte("x")); !errors.Is(err, ErrOfficeUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
