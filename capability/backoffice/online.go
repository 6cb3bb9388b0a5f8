package backoffice

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// A user shows once who is there, with a password, and has a token for it: the word of this back office, to itself, that whoever signs with that device key is that user. It is worth nothing with another key, and
// not for long. It is authenticated with a key from the book's vault, so that it outlives a restart and nobody else makes one.

// TokenLife is how long a token of a user opens seats. What runs goes on without it.
const TokenLife capability.Seconds = 12 * 60 * 60

const (
	tokenLabel = "freehold user token"
	maxToken   = 1024 // bytes of one, in text
)

// token is what one says.
type token struct {
	Account string            `cbor:"1,keyasint,omitzero"`
	Name    string            `cbor:"2,keyasint,omitzero"`
	Device  capability.Digest `cbor:"3,keyasint,omitzero"`
	Until   capability.Time   `cbor:"4,keyasint,omitzero"`
	Since   capability.Time   `cbor:"5,keyasint,omitzero"` // when the user's password was set: another password ends it
}

func (o *Office) tokenMAC(body []byte) ([]byte, error) {
	key, err := o.vault.Derive(tokenLabel, sha256.Size)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	return mac.Sum(nil), nil
}

// Token is the word that a user is at a device. The caller has seen that it is so.
func (o *Office) Token(id entitlement.UserID, device capability.Digest, now capability.Time) (text string, until capability.Time, err error) {
	u, ok := o.book.User(id)
	if !ok || u.Disabled {
		return "", 0, capability.Refuse(capability.ErrNoUser, id.Name, "")
	}
	until = now.Add(TokenLife)
	body := o.codec.Encode(token{u.ID.Account, u.ID.Name, device, until, u.Claimed})
	mac, err := o.tokenMAC(body)
	if err != nil {
		return "", 0, err
	}
	return base64.RawURLEncoding.EncodeToString(append(mac, body...)), until, nil
}

// userOf is who a token says is at a device. Every fault of one is the same to whoever sends it: sign in again.
func (o *Office) userOf(text string, device capability.Digest, now capability.Time) (id entitlement.UserID, err error) {
	no := func(why string) (entitlement.UserID, error) {
		return entitlement.UserID{}, capability.Refuse(capability.ErrUserToken, "", "%s", why)
	}
	if len(text) > maxToken {
		return no("it is none of this back office")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) <= sha256.Size {
		return no("it is none of this back office")
	}
	mac, err := o.tokenMAC(b[sha256.Size:])
	if err != nil {
		return id, err
	}
	var t token
	if !hmac.Equal(mac, b[:sha256.Size]) || o.codec.Decode(b[sha256.Size:], &t, maxToken) != nil {
		return no("it is none of this back office")
	}
	id = entitlement.UserID{Account: t.Account, Name: t.Name}
	u, ok := o.book.User(id)
	switch {
	case t.Device != device:
		return no("it is for another device")
	case now >= t.Until:
		return no("it could be used until " + t.Until.String())
	case !ok || u.Disabled || u.Claimed != t.Since:
		return no("the user has changed since")
	}
	return id, nil
}

// Seating is what comes with a request for a seat and is not in it.
type Seating struct {
	Token    string // of the user; empty: only a session that there is goes on
	TakeOver bool   // the user gives up a session elsewhere for this one
	By       string
}

// Seat answers a device that asks for a seat of an online item, goes on with one, or gives it back: the same request and the same kind of response as for files, with one line and short rights. The device key in
// the request is the session's; a token says who the user is. That a session does not go on is a response too, which gives nothing: nobody else can end what runs. Any other refusal is a *capability.Refusal
// without a response, and takes nothing away.
func (o *Office) Seat(file []byte, s Seating, now capability.Time) ([]byte, error) {
	signed, id, err := o.judge(file)
	if err != nil {
		return nil, err
	}
	r := &signed.Request
	device := capability.Digest(id.HostID)
	switch {
	case o.book.Policy().Online == entitlement.NothingOnline:
		return nil, capability.Refuse(capability.ErrOnline, "", "the producer serves no seats over the network")
	case r.Operation != capability.Grant:
		return nil, capability.Refuse(capability.ErrOperation, r.Operation.String(), "a seat is asked for with a request")
	case r.Number != 0: // a request that goes by file has a number: none is worth anything in the other's place
		return nil, capability.Refuse(capability.ErrForm, "number", "a request for a seat has none")
	case len(r.Desired) != 1 || r.Desired[0].Count > 1 || len(r.Returns) > 0 || len(r.Records) > 0 || len(r.States) > 0:
		return nil, capability.Refuse(capability.ErrForm, "desired", "one line of one count is wanted, and nothing beside it")
	}
	wish := r.Desired[0]
	item := wish.ActivationID
	var user entitlement.UserID
	if s.Token != "" {
		if user, err = o.userOf(s.Token, device, now); err != nil {
			return nil, err
		}
		if item == "" {
			if item, err = o.book.SeatFor(user, wish.Feature, wish.Version, now); err != nil {
				return nil, err
			}
		}
	}
	has, any := o.book.SessionOf(item, device, user, now)
	var g *entitlement.Granted
	switch {
	case wish.Count == 0:
		if any { // who gives back twice has given back
			err = o.Do(entitlement.EndSession{ID: has.ID, Device: device, By: s.By}, now)
		}
	default:
		err = o.seatAllowed(item, r.Hosts[0], any, s.By, now)
		switch {
		case err != nil:
		case s.Token != "":
			g, err = o.TakeSession(entitlement.TakeSession{ActivationID: item, User: user, Device: device, Machine: r.Alias, Platform: words(platform(r)), TakeOver: s.TakeOver, Signed: o.seats + 1, By: s.By}, now)
		case any:
			g, err = o.RenewSession(entitlement.RenewSession{ID: has.ID, Device: device, Idle: r.Idle, Signed: o.seats + 1, By: s.By}, now)
		default:
			err = capability.Refuse(capability.ErrSessionEnded, string(item), "this device has none; sign in to take one")
		}
	}
	if no := (*capability.Refusal)(nil); s.Token == "" && errors.As(err, &no) && ends(no.Code) {
		return o.seal(o.ended(r, signed.Digest, no.Denial, now), id)
	}
	if err != nil {
		return nil, refuse(err)
	}
	resp := o.seated(r, signed.Digest, item, g, now)
	if resp == nil {
		return nil, errors.New("a seat without its item")
	}
	return o.seal(resp, id)
}

// ends says that for a refusal of a renewal its program has to stop.
func ends(c capability.Code) bool {
	switch c {
	case capability.ErrSessionEnded, capability.ErrUnassigned, capability.ErrNoUser, capability.ErrMode, capability.ErrSuspended, capability.ErrRetired, capability.ErrBookExpired:
		return true
	}
	return false
}

// ended is the response that says why a session does not go on.
func (o *Office) ended(r *capability.Request, request capability.Digest, why capability.Denial, now capability.Time) *capability.Response {
	resp := o.seatAnswer(r, request, now)
	resp.Status, resp.Denials = capability.StatusDenied, []capability.Denial{why}
	return resp
}

// seatAnswer is what all responses about seats have in common.
func (o *Office) seatAnswer(r *capability.Request, request capability.Digest, now capability.Time) *capability.Response {
	resp := &capability.Response{
		Version: capability.Protocol, For: r.Hosts[0], Serial: uint64(max(now, 1)), Correlation: r.Correlation, Time: now, Request: request, Number: r.Number, Life: r.Life, Epoch: r.Epoch,
		Policy: capability.DefaultPolicy(), Lifetime: o.book.Policy().Lease,
	}
	resp.Policy.Lease = o.book.Policy().Lease
	return resp
}

// seated is the response for a seat that was granted; nil: given back.
func (o *Office) seated(r *capability.Request, request capability.Digest, item capability.ActivationID, g *entitlement.Granted, now capability.Time) *capability.Response {
	resp := o.seatAnswer(r, request, now)
	if g == nil {
		resp.Status = capability.StatusReturned
		return resp
	}
	v, ok := o.book.Item(item, now)
	if !ok {
		return nil
	}
	resp.Status, resp.Lifetime = capability.StatusOK, capability.Seconds(max(g.Until-now, 1))
	resp.Lines = []capability.Line{{Status: capability.LineOK, Count: 1}}
	for _, f := range v.Features {
		resp.Items = append(resp.Items, capability.LineItem{
			ActivationID: item, EntitlementID: v.EntitlementID, Product: v.Product, Feature: f.Name, Version: f.Version, Count: max(f.PerCopy, 1), Copies: 1, Start: v.Start, Expiry: g.Runs, Issued: v.Issued,
		})
	}
	if g.Warning != "" {
		resp.Denials = append(resp.Denials, capability.Denial{Code: capability.ErrService, Subject: fmt.Sprint(g.Session.User), Detail: g.Warning})
	}
	return resp
}
