package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
)

// publicRSA is the file of an RSA public key with so many bits.
func publicRSA(t *testing.T, bits uint) []byte {
	t.Helper()
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	file, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n.Add(n, big.NewInt(99)), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// notKeys are files that are refused, each by its own code.
func notKeys(t *testing.T) map[capability.Code][]byte {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	return map[capability.Code][]byte{
		capability.ErrKeyPEM:     pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicRSA(t, 2048)}),
		capability.ErrKeyPrivate: private,
		capability.ErrKeySize:    publicRSA(t, 1024),
		capability.ErrKeyKind:    certificate,
		capability.ErrKeyForm:    []byte("no key"),
	}
}

// A client's key is uploaded as its DER, listed, named anew and removed, and each is in the audit trail by who did it. What is no such file is refused by its name, and changes nothing.
func TestClientKeysOverTheAPI(t *testing.T) {
	c, vault := runningConsole(t, noon)
	call := serve(t, c)
	if _, _, body := call("GET", Base+"keys", ""); strings.TrimSpace(body) != "[]" {
		t.Error(body)
	}
	file := publicRSA(t, 2048)
	want := ClientKey{fmt.Sprintf("%X", sha256.Sum256(file)), wire.KeyRSA2048, "WS-1", start + 60}
	status, _, body := call("POST", Base+"keys?name=+WS-1+", string(file))
	if got := read[ClientKey](t, body); status != http.StatusOK || got != want {
		t.Errorf("%d %s, want %+v", status, body, want)
	}
	if e := vault.last(); e.Registered == nil || e.Registered.Key.Name != "WS-1" || e.Registered.By == "" {
		t.Errorf("in the trail: %+v", e)
	}
	for code, no := range notKeys(t) {
		before := vault.last().Position
		if status, p, body := call("POST", Base+"keys", string(no)); status != http.StatusUnprocessableEntity || p.Code != code || strings.Contains(body, string(no)) || vault.last().Position != before {
			t.Errorf("%s: %d %s", code, status, body)
		}
	}
	if status, p, _ := call("POST", Base+"keys?name="+strings.Repeat("x", 129), string(file)); status != http.StatusBadRequest || p.Code != capability.ErrForm {
		t.Errorf("a long name: %d %+v", status, p)
	}
	if _, _, body := call("POST", Base+"keys?name=WS-2", string(file)); read[ClientKey](t, body).Name != "WS-2" {
		t.Error(body)
	}
	if _, _, body := call("GET", Base+"keys", ""); len(read[[]ClientKey](t, body)) != 1 {
		t.Error(body)
	}
	for path, code := range map[string]capability.Code{"zz": capability.ErrForm, want.SHA256[:62]: capability.ErrForm, strings.Repeat("0", 64): capability.ErrNotFound} {
		if status, p, _ := call("DELETE", Base+"keys/"+path, ""); status == http.StatusOK || p.Code != code {
			t.Errorf("%s: %d %+v", path, status, p)
		}
	}
	if status, _, body := call("DELETE", Base+"keys/"+strings.ToLower(want.SHA256), ""); status != http.StatusOK || !vault.last().Registered.Removed {
		t.Errorf("%d %s", status, body)
	}
}

// A backup has the registered keys, and a restore registers them before the setting that serves these alone.
func TestClientKeysAreConfiguration(t *testing.T) {
	c, _ := runningConsole(t, noon)
	call := serve(t, c)
	call("POST", Base+"keys?name=WS-1", string(publicRSA(t, 2048)))
	call("POST", Base+"policies", `{"name":"client-keys-only","value":"true"}`)
	_, _, text := call("GET", Base+"configuration", "")
	other, vault := runningConsole(t, noon)
	call = serve(t, other)
	status, _, body := call("PUT", Base+"configuration", text)
	if got := read[Configured](t, body); status != http.StatusOK || len(got.Changed) != 2 || !strings.HasPrefix(got.Changed[0], "client key ") || got.Changed[1] != ledger.ClientKeysOnly || len(got.Refused) > 0 {
		t.Errorf("%d %s", status, body)
	}
	if e := vault.last(); e.Configured == nil || e.Configured.Setting.Value != "true" {
		t.Errorf("%+v", e)
	}
	if _, _, again := call("GET", Base+"configuration", ""); again != text {
		t.Errorf("%s, want %s", again, text)
	}
	for _, bad := range []string{`{"clientKeys":[{"sha256":"AB","kind":"P-256"}]}`, `{"clientKeys":[{"sha256":"` + strings.Repeat("0", 64) + `","kind":"DSA"}]}`} {
		if status, p, _ := call("PUT", Base+"configuration", bad); status != http.StatusBadRequest || p.Code != capability.ErrForm {
			t.Errorf("%s: %d %+v", bad, status, p)
		}
	}
}

// The page: a license administrator uploads the file, and finds what was wrong above the form. Others see the list alone.
func TestClientKeysPage(t *testing.T) {
	w := newPages(t)
	b, viewer := w.signedIn("both"), w.signedIn("viewer")
	file := publicRSA(t, 2048)
	digest := fmt.Sprintf("%X", sha256.Sum256(file))
	for code, no := range notKeys(t) {
		if a := b.sendFile("/keys", no, "once", b.once("/keys"), "name", "WS-1"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, code.String()) || !strings.Contains(a.body, `value="WS-1"`) {
			t.Errorf("%s: %d %s", code, a.status, words(a.body))
		}
	}
	if a := b.post("/keys", "once", "none", "name", "WS-1"); a.status != http.StatusBadRequest || !strings.Contains(words(a.body), "choose the file") {
		t.Errorf("no file: %d %s", a.status, words(a.body))
	}
	if a := b.sendFile("/keys", file, "once", "up", "name", "WS-1 of bob"); a.status != http.StatusSeeOther || a.location != "/keys" {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	page := b.page("/keys")
	for _, has := range []string{"The RSA-2048 key " + digest + " is registered", "WS-1 of bob", "Total number of records: 1", "Other clients are served as well"} {
		if !strings.Contains(words(page), has) {
			t.Errorf("%q is not on %s", has, words(page))
		}
	}
	if p := viewer.page("/keys"); strings.Contains(p, ">Upload</button>") || strings.Contains(p, ">Remove</button>") || !strings.Contains(words(p), "WS-1 of bob") || !strings.Contains(words(p), "license administrator to upload") {
		t.Error(words(p))
	}
	if a := b.post("/properties", "once", "set", "set-client-keys-only", "true", "was-client-keys-only", ""); a.status != http.StatusSeeOther {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	if p := words(b.page("/keys")); !strings.Contains(p, "Registered keys are served, and no others") {
		t.Error(p)
	}
	if a := b.post("/keys/remove", "once", "gone", "key", digest); a.status != http.StatusSeeOther {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	if p := words(b.page("/keys")); !strings.Contains(p, digest+" is not registered any more") || !strings.Contains(p, "No client key is registered") {
		t.Error(p)
	}
	if a := b.post("/keys/remove", "once", "again", "key", digest); a.status != http.StatusNotFound {
		t.Errorf("%d %s", a.status, words(a.body))
	}
}

// A name is text, whatever it looks like, and a device that holds something is one step from its key.
func TestClientKeyNamesAreText(t *testing.T) {
	const bad = `<script>alert(1)</script>"'>{{.}}`
	w := newPages(t)
	b := w.signedIn("both")
	if a := b.sendFile("/keys", publicRSA(t, 2048), "name", bad); a.status != http.StatusSeeOther {
		t.Errorf("%d %s", a.status, words(a.body))
	}
	for _, path := range []string{"/keys", "/keys?q=" + url.QueryEscape(bad), "/keys?sort=" + url.QueryEscape(bad), "/audit"} {
		if p := b.page(path); strings.Contains(p, "<script>alert") || strings.Contains(p, `"'>{{`) {
			t.Errorf("%s: markup of a name", path)
		}
	}
	var keys []ClientKey
	if err := json.Unmarshal([]byte(b.api("GET keys", "").body), &keys); err != nil || len(keys) != 1 || keys[0].Name != bad {
		t.Errorf("%+v, %v", keys, err)
	}
	for _, post := range [][]string{{"/keys/remove", "key", bad}, {"/keys", "name", bad}} {
		if a := b.post(post[0], post[1:]...); a.status >= 500 || strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, `"'>{{`) {
			t.Errorf("%s: %d, and markup of a name", post[0], a.status)
		}
	}
}
