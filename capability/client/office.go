package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// ErrOfficeUnreachable and ErrOfficeCertificate are why a request did not get to a back office.
var (
	ErrOfficeUnreachable error = sentinel(capability.ErrOfficeUnreachable)
	ErrOfficeCertificate error = sentinel(capability.ErrOfficeCertificate)
)

// Office is a back office on the network, which takes the bytes of request files.
type Office struct {
	URL string // https://HOST:PORT
	// Certificate is the SHA-256, in hexadecimal digits, of the one certificate that it may show. Empty: one that Authorities stand for.
	Certificate string
	Authorities *x509.CertPool // nil: those of the system
	Timeout     time.Duration  // of one exchange; 30 s

	carry http.RoundTripper // of tests
}

const officeTimeout = 30 * time.Second

// Exchange sends a request file and gives the response file, neither of which it looks into. The answer is believed by nobody for where it came from: Import judges it as every file. A refusal of the back
// office is one here, in its own words.
func (o *Office) Exchange(ctx context.Context, request []byte) ([]byte, error) {
	return o.post(ctx, "exchange", request, capability.MaxFile)
}

// post sends bytes to one of its paths, and gives at most so many back.
func (o *Office) post(ctx context.Context, path string, body []byte, most int64) ([]byte, error) {
	return o.postAs(ctx, path, "", body, most)
}

// postAs is post with the token of a user.
func (o *Office) postAs(ctx context.Context, path, token string, body []byte, most int64) ([]byte, error) {
	timeout := o.Timeout
	if timeout == 0 {
		timeout = officeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	at, err := url.Parse(o.URL)
	if err != nil || at.Scheme != "https" || at.Host == "" {
		return nil, refuse(capability.ErrOfficeUnreachable, fmt.Errorf("%q where https://HOST:PORT is wanted", o.URL))
	}
	path, query, _ := strings.Cut(path, "?")
	at = at.JoinPath(path)
	at.RawQuery = query
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), bytes.NewReader(body))
	if err != nil {
		return nil, refuse(capability.ErrOfficeUnreachable, err)
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Accept", "application/octet-stream, application/cbor")
	config, err := o.tls()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}
	to := &http.Client{Transport: cmp.Or[http.RoundTripper](o.carry, transport), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	w, err := to.Do(r)
	if err != nil {
		return nil, unreached(err)
	}
	defer w.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(w.Body, most+1))
	switch {
	case err != nil:
		return nil, unreached(err)
	case int64(len(answer)) > most:
		return nil, refuse(capability.ErrOfficeUnreachable, fmt.Errorf("%s answers with more than %d bytes", at.Host, most))
	case w.StatusCode != http.StatusOK:
		var d capability.Denial
		if err := wire.New().Decode(answer, &d, capability.MaxFrame); err != nil || d.Code == 0 || !d.Code.Refuses() {
			return nil, refuse(capability.ErrOfficeUnreachable, fmt.Errorf("%s answers %s, which no back office says", at.Host, w.Status))
		}
		return nil, denied(d.Shown())
	}
	return answer, nil
}

// errOtherCertificate: what the server shows is not what was set.
var errOtherCertificate = errors.New("another certificate")

func (o *Office) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: o.Authorities}
	if o.Certificate == "" {
		return c, nil
	}
	pin, err := hex.DecodeString(strings.ReplaceAll(o.Certificate, ":", ""))
	if err != nil || len(pin) != sha256.Size {
		return nil, refuse(capability.ErrOfficeCertificate, fmt.Errorf("%q where a SHA-256 of 64 hexadecimal digits is wanted", o.Certificate))
	}
	// Names and dates in it mean nothing: it is this certificate, and whoever has its key.
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if shown := sha256.Sum256(s.PeerCertificates[0].Raw); !bytes.Equal(shown[:], pin) {
			return fmt.Errorf("%w: it has SHA-256 %X, and %X was set", errOtherCertificate, shown, pin)
		}
		return nil
	}
	return c, nil
}

// unreached is why there was no answer.
func unreached(err error) error {
	if said := (*url.Error)(nil); errors.As(err, &said) {
		err = said.Err
	}
	unverified := (*tls.CertificateVerificationError)(nil)
	if errors.Is(err, errOtherCertificate) || errors.As(err, &unverified) {
		return refuse(capability.ErrOfficeCertificate, err)
	}
	return refuse(capability.ErrOfficeUnreachable, err)
}
