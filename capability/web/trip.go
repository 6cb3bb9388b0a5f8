package web

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
)

// Trip ties what a browser brings back from an issuer of OpenID Connect (Core 1.0) to this one time that it was sent there. It goes with an errand.
type Trip struct {
	State    string // comes back with the browser
	Nonce    string // comes back in what the issuer signs
	Verifier string // shows the issuer that who exchanges the code is who asked for it (RFC 7636)
}

// NewTrip is drawn anew for every browser that is sent away.
func NewTrip() Trip {
	var verifier [32]byte
	rand.Read(verifier[:])
	return Trip{rand.Text(), rand.Text(), base64.RawURLEncoding.EncodeToString(verifier[:])}
}

// Code is what a browser brought back for the issuer to exchange, if it is of this trip.
func (t *Trip) Code(q url.Values, issuer string) (string, error) {
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(t.State)) != 1 {
		return "", errors.New("the state is that of another browser")
	}
	if iss := q.Get("iss"); iss != "" && iss != issuer { // RFC 9207
		return "", fmt.Errorf("it is of the issuer %q", iss)
	}
	if q.Get("error") != "" || q.Get("code") == "" {
		return "", fmt.Errorf("it has no code, but the error %q", q.Get("error"))
	}
	return q.Get("code"), nil
}
