// Package issuertest is an issuer of OpenID Connect on this machine for tests, which says what a test tells it to, true or not. Start with New.
package issuertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"
)

// The client that an Issuer knows, and its secret.
const (
	Client = "leasehold"
	Secret = "the-secret"
)

// Issuer is one that runs.
type Issuer struct {
	*httptest.Server // with TLS

	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey

	mu     sync.Mutex
	alg    string
	claims map[string]any
	codes  map[string]asked
}

// asked is what a code was asked for with.
type asked struct{ challenge, nonce, redirect string }

// New starts one. What it signs is good, and names 4711.
func New() (*Issuer, error) {
	i := &Issuer{alg: "RS256", codes: map[string]asked{}}
	var err error
	if i.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	if i.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	public, err := i.ec.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		u := i.URL
		answer(w, map[string]any{"issuer": u, "authorization_endpoint": u + "/authorize", "token_endpoint": u + "/token", "jwks_uri": u + "/keys", "token_endpoint_auth_methods_supported": []string{"client_secret_basic"}, "id_token_signing_alg_values_supported": []string{"RS256", "ES256", "none", "HS256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		b64 := base64.RawURLEncoding.EncodeToString
		answer(w, map[string]any{"keys": []any{
			map[string]string{"kty": "RSA", "kid": "rsa", "use": "sig", "n": b64(i.rsa.N.Bytes()), "e": b64(big.NewInt(int64(i.rsa.E)).Bytes())},
			map[string]string{"kty": "EC", "kid": "ec", "use": "sig", "crv": "P-256", "x": b64(public[1:33]), "y": b64(public[33:])},
		}})
	})
	mux.HandleFunc("POST /token", i.token)
	i.Server = httptest.NewTLSServer(mux)
	return i, nil
}

// Say has what is signed from now on say these claims beside those of every token, and without those that are nil; alg is how: RS256, ES256, none, HS256 with what everybody knows as the key, or ES256! by
// somebody else.
func (i *Issuer) Say(alg string, claims map[string]any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.alg, i.claims = alg, claims
}

// Grant is the user who says yes at an address that a browser was sent to: what the browser is sent back with, and where to.
func (i *Issuer) Grant(address string) (back url.Values, redirect string, err error) {
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, i.URL+"/authorize?") {
		return nil, "", fmt.Errorf("%q is no address of the issuer", address)
	}
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("response_type") != "code" || q.Get("client_id") != Client || len(q.Get("state")) < 26 || len(q.Get("nonce")) < 26 || q.Get("state") == q.Get("nonce") {
		return nil, "", fmt.Errorf("asked with %v", q)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	code := rand.Text()
	i.codes[code] = asked{q.Get("code_challenge"), q.Get("nonce"), q.Get("redirect_uri")}
	return url.Values{"code": {code}, "state": {q.Get("state")}}, q.Get("redirect_uri"), nil
}

// refuse is an error of RFC 6749, 5.2.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": code})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// token exchanges a code, once.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	err := r.ParseForm()
	code := r.PostForm.Get("code")
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	id, secret, _ := r.BasicAuth()
	if id != Client || secret != Secret {
		refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	of, known := i.codes[code]
	if err != nil || !known || of.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) || of.redirect != r.PostForm.Get("redirect_uri") {
		refuse(w, http.StatusBadRequest, "invalid_grant")
		return
	}
	delete(i.codes, code)
	signed, err := i.sign(of.nonce)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	answer(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": signed})
}

// sign is the next token.
func (i *Issuer) sign(nonce string) (string, error) {
	claims := map[string]any{"iss": i.URL, "aud": Client, "sub": "4711", "nonce": nonce, "iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix()}
	for name, v := range i.claims {
		if v == nil {
			delete(claims, name)
		} else {
			claims[name] = v
		}
	}
	kid := map[string]string{"RS256": "rsa", "ES256": "ec"}[i.alg]
	head, errHead := json.Marshal(map[string]string{"alg": strings.TrimSuffix(i.alg, "!"), "kid": kid})
	text, errText := json.Marshal(claims)
	body := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(text)
	sum := sha256.Sum256([]byte(body))
	var sig []byte
	var err error
	switch i.alg {
	case "RS256":
		sig, err = rsa.SignPKCS1v15(rand.Reader, i.rsa, crypto.SHA256, sum[:])
	case "ES256":
		sig, err = signES(i.ec, sum[:])
	case "HS256":
		mac := hmac.New(sha256.New, i.rsa.N.Bytes())
		mac.Write([]byte(body))
		sig = mac.Sum(nil)
	case "ES256!":
		stranger, gerr := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if gerr != nil {
			return "", gerr
		}
		sig, err = signES(stranger, sum[:])
	}
	return body + "." + base64.RawURLEncoding.EncodeToString(sig), errors.Join(err, errHead, errText)
}

func signES(key *ecdsa.PrivateKey, sum []byte) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, key, sum)
	if err != nil {
		return nil, err
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
}
