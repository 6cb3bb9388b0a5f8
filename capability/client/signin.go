package client

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// What a machine keeps of back offices on the network: who its user is to each of them, for as long as they believe it, and which of its programs use which seat. The device key stands for the machine, so
// all its programs share a seat of an item, and the last one that is done with it gives it back. Passwords and codes are not kept. The file is encrypted to the machine like its rights. It dates nothing and
// grants nothing: an older copy of it names a token that has ended, or a seat that is somebody else's by now.

const (
	onlineFile   = "online.cbor"
	onlineLimit  = 4 << 20 // bytes: a seat brings the features of one line item, of which there are some hundred
	onlineFormat = 1
	maxSignIns   = 16
	maxUses      = 64
	maxUsers     = 256 // programs that share a seat
)

// SignIn is who the user of this machine is to a back office.
type SignIn struct {
	URL         string          // https://HOST:PORT
	Certificate string          // SHA-256 of what it shows, in hexadecimal digits; empty: an authority stands for it
	Account     string          // the customer
	User        string          // the name there
	Until       capability.Time // until then a seat can be taken without signing in again
}

// HeldSeat is a seat that programs of this machine use, as it was told last.
type HeldSeat struct {
	URL          string
	ActivationID capability.ActivationID
	Items        []capability.LineItem // what it brings
	Asked        capability.Time       // when, by this machine's clock, the request went out that was answered last
	Runs         capability.Seconds    // from then on, if no renewal gets through
	Renew        capability.Seconds    // from then on
	Programs     int                   // that use it now
	Kept         bool                  // it stays when they have ended
	Warning      string                // what the back office has to say about its use
}

type signedIn struct {
	URL         string          `cbor:"1,keyasint,omitzero"`
	Certificate string          `cbor:"2,keyasint,omitzero"`
	Account     string          `cbor:"3,keyasint,omitzero"`
	User        string          `cbor:"4,keyasint,omitzero"`
	Token       string          `cbor:"5,keyasint,omitzero"`
	Until       capability.Time `cbor:"6,keyasint,omitzero"`
}

// use is a seat and the programs that use it; the zero holder is nobody, for whom it is kept.
type use struct {
	URL          string                  `cbor:"1,keyasint,omitzero"`
	ActivationID capability.ActivationID `cbor:"2,keyasint,omitzero"`
	Holders      []holderID              `cbor:"3,keyasint,omitempty"`
	Items        []capability.LineItem   `cbor:"4,keyasint,omitempty"`
	Asked        capability.Time         `cbor:"5,keyasint,omitzero"`
	Runs         capability.Seconds      `cbor:"6,keyasint,omitzero"`
	Renew        capability.Seconds      `cbor:"7,keyasint,omitzero"`
	Warning      string                  `cbor:"8,keyasint,omitzero"`
}

// online is the file.
type online struct {
	Format  uint8      `cbor:"1,keyasint,omitzero"`
	SignIns []signedIn `cbor:"2,keyasint,omitempty"`
	Uses    []use      `cbor:"3,keyasint,omitempty"`
}

func (o *online) signIn(url string) *signedIn {
	if i := slices.IndexFunc(o.SignIns, func(s signedIn) bool { return s.URL == url }); i >= 0 {
		return &o.SignIns[i]
	}
	return nil
}

func (o *online) use(url string, id capability.ActivationID) *use {
	if i := slices.IndexFunc(o.Uses, func(u use) bool { return u.URL == url && u.ActivationID == id }); i >= 0 {
		return &o.Uses[i]
	}
	return nil
}

// drop takes one use by a holder out, and says whether it was there and how many are left.
func (o *online) drop(url string, id capability.ActivationID, h holderID) (had bool, left int) {
	u := o.use(url, id)
	if u == nil {
		return false, 0
	}
	if i := slices.Index(u.Holders, h); i >= 0 {
		had, u.Holders = true, slices.Delete(u.Holders, i, i+1)
	}
	if left = len(u.Holders); left == 0 {
		o.Uses = slices.DeleteFunc(o.Uses, func(u use) bool { return u.URL == url && u.ActivationID == id })
	}
	return had, left
}

// officeURL is the one form of a back office's address.
func officeURL(address string) (string, error) {
	at, err := url.Parse(address)
	if err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil || at.RawQuery != "" || at.Fragment != "" {
		return "", refuse(capability.ErrOfficeUnreachable, fmt.Errorf("%q where https://HOST:PORT is wanted", address))
	}
	return "https://" + strings.ToLower(at.Host) + strings.TrimRight(at.EscapedPath(), "/"), nil
}

// withOnline runs f on what is kept of back offices while no other program of this machine does, and makes durable what it changed, even where f has an error. f may make an exchange, so the others wait
// for one.
func (s *Standalone) withOnline(ctx context.Context, f func(*online) error) error {
	return s.lockedFor(ctx, s.options.Timeout+officeTimeout, func() error {
		key, err := s.key("online")
		if err != nil {
			return err
		}
		defer clear(key)
		o, before, err := s.readOnline(key)
		if err != nil {
			return err
		}
		for i := range o.Uses {
			o.Uses[i].Holders = slices.DeleteFunc(o.Uses[i].Holders, func(h holderID) bool { return h != holderID{} && h != s.store.mine && s.store.died(h) })
		}
		// A program that died has left its seat at the back office: it is this machine's for as long as the product could have run.
		now := capability.At(s.options.Clock())
		o.Uses = slices.DeleteFunc(o.Uses, func(u use) bool { return u.Asked.Add(u.Runs) <= now })
		no := f(o)
		after := s.codec.Encode(o)
		if slices.Equal(before, after) {
			return no
		}
		sealed, err := seal(key, after, []byte(onlineFile))
		if err == nil {
			err = writeDurable(s.store.dir, onlineFile, sealed)
		}
		if err != nil {
			err = broken("keep who the user of this machine is", err)
		}
		return errors.Join(no, err)
	})
}

// readOnline is what is kept; of what cannot be read nothing is: the user signs in again.
func (s *Standalone) readOnline(key []byte) (*online, []byte, error) {
	o := &online{Format: onlineFormat}
	b, err := readBounded(s.store.dir, onlineFile, onlineLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return o, s.codec.Encode(o), nil
	} else if err != nil && !errors.Is(err, wire.ErrSize) {
		return nil, nil, broken("read who the user of this machine is", err)
	}
	if err == nil {
		b, err = unseal(key, b, []byte(onlineFile))
	}
	var kept online
	if err != nil || s.codec.Decode(b, &kept, onlineLimit) != nil || kept.Format != onlineFormat {
		return o, nil, nil
	}
	return &kept, b, nil
}

// SignIn shows a back office who the user of this machine is, and gives a token for seats. A code, which is on the slip of a new user, sets the password. Neither is kept.
func (s *Standalone) SignIn(ctx context.Context, o *Office, account, user, password, code string) (token string, until capability.Time, err error) {
	device, err := hex.DecodeString(s.host.Value)
	if err != nil {
		return "", 0, fmt.Errorf("host ID: %w", err)
	}
	form := map[string]string{"account": account, "user": user, "password": password, "device": hex.EncodeToString(device)}
	if code != "" {
		form["code"] = code
	}
	b, err := json.Marshal(form)
	if err != nil {
		return "", 0, err
	}
	answer, err := o.post(ctx, "token", b, maxTokenAnswer)
	if err != nil {
		return "", 0, err
	}
	var a struct {
		Token string          `json:"token"`
		Until capability.Time `json:"until"`
	}
	if err := json.Unmarshal(answer, &a); err != nil || a.Token == "" || len(a.Token) > maxToken {
		return "", 0, refuse(capability.ErrOfficeUnreachable, errors.New("it answers with no token"))
	}
	return a.Token, a.Until, nil
}

const (
	maxTokenAnswer = 16 << 10 // bytes
	maxToken       = 1024     // bytes of one, in text
)

// KeepSignIn is SignIn for all programs of this machine: seats are taken with the token that it gives, which is kept, until it ends. One at a time is kept of each back office.
func (s *Standalone) KeepSignIn(ctx context.Context, o *Office, account, user, password, code string) (*SignIn, error) {
	at, err := officeURL(o.URL)
	if err != nil {
		return nil, err
	}
	token, until, err := s.SignIn(ctx, o, account, user, password, code)
	if err != nil {
		return nil, err
	}
	kept := signedIn{at, strings.ToLower(strings.ReplaceAll(o.Certificate, ":", "")), account, user, token, until}
	err = s.withOnline(ctx, func(on *online) error {
		on.SignIns = append(slices.DeleteFunc(on.SignIns, func(i signedIn) bool { return i.URL == at }), kept)
		on.SignIns = on.SignIns[max(0, len(on.SignIns)-maxSignIns):]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return kept.shown(), nil
}

func (i *signedIn) shown() *SignIn {
	return &SignIn{i.URL, i.Certificate, i.Account, i.User, i.Until}
}

// SignOut forgets who the user is to a back office, or of an empty URL to all; the certificate that is believed stays. What runs goes on. It gives what was forgotten.
func (s *Standalone) SignOut(ctx context.Context, address string) (forgotten []SignIn, err error) {
	if address != "" {
		if address, err = officeURL(address); err != nil {
			return nil, err
		}
	}
	err = s.withOnline(ctx, func(on *online) error {
		for n, i := range on.SignIns {
			if i.Token != "" && (address == "" || i.URL == address) {
				forgotten = append(forgotten, *i.shown())
				on.SignIns[n] = signedIn{URL: i.URL, Certificate: i.Certificate}
			}
		}
		return nil
	})
	return forgotten, err
}

// SignIns lists who the user of this machine is to which back office, by address. It asks nobody.
func (s *Standalone) SignIns(ctx context.Context) (list []SignIn, err error) {
	err = s.withOnline(ctx, func(on *online) error {
		for _, i := range on.SignIns {
			if i.Token != "" {
				list = append(list, *i.shown())
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b SignIn) int { return cmp.Compare(a.URL, b.URL) })
	return list, err
}

// HeldSeats lists the seats that programs of this machine use, as they were told last. It asks nobody.
func (s *Standalone) HeldSeats(ctx context.Context) (list []HeldSeat, err error) {
	err = s.withOnline(ctx, func(on *online) error {
		for _, u := range on.Uses {
			h := HeldSeat{u.URL, u.ActivationID, u.Items, u.Asked, u.Runs, u.Renew, 0, slices.Contains(u.Holders, holderID{}), u.Warning}
			live := map[holderID]bool{{}: true}
			for _, holder := range u.Holders {
				if !live[holder] {
					live[holder] = true
					h.Programs++
				}
			}
			list = append(list, h)
		}
		return nil
	})
	return list, err
}

// OfficeAt is the back office at an address, as the user signed in there: with the certificate that it showed then.
func (s *Standalone) OfficeAt(ctx context.Context, address string) (*Office, error) {
	at, err := officeURL(address)
	if err != nil {
		return nil, err
	}
	o := &Office{URL: at}
	err = s.withOnline(ctx, func(on *online) error {
		if i := on.signIn(at); i != nil {
			o.Certificate = i.Certificate
		}
		return nil
	})
	return o, err
}

// OnlineDir is where New looks in a directory of a device, or of the default one, for what this machine keeps of back offices.
func OnlineDir(ctx context.Context, dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = DefaultDir(); err != nil {
			return "", err
		}
	}
	own, _, err := ownDir(ctx, dir, thisMachine())
	return filepath.Join(own, SeatsDir), err
}
