package console

import (
	"net/http"

	"github.com/leasehold/leasehold/hostid"
)

const maxAnswer = 4 << 10 // bytes: a credential of 1,023 bytes in base64, and what is around it

// KeyAnswer is the body of POST hostids/answer, which answers as GET hostids does. POST hostids/challenge takes a hostid.Credential and gives a hostid.Challenge.
type KeyAnswer struct {
	Key       hostid.ID        `json:"key"`       // the host ID of the credential
	Assertion hostid.Assertion `json:"assertion"` // empty: the security key is not there
}

// challenge draws a question for a security key. It is for root: a question that nobody answers ends what was proven.
func (c *Console) challenge(r *http.Request) (any, error) {
	var credential hostid.Credential
	if err := decodeUpTo(maxAnswer, r, &credential); err != nil {
		return nil, err
	}
	q, err := c.Appliance.Challenge(r.Context(), credential)
	if err != nil {
		return nil, err
	}
	return &q, nil
}

func (c *Console) answer(r *http.Request) (any, error) {
	var a KeyAnswer
	if err := decodeUpTo(maxAnswer, r, &a); err != nil {
		return nil, err
	}
	if err := c.Appliance.Answer(r.Context(), a.Key, a.Assertion); err != nil {
		return nil, err
	}
	return c.machine(r)
}
