package backoffice

import (
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// The root may limit what a signing key signs: which products, how many copies, how many responses in an hour and a day. The limits are the root's, signed through the
// certificate, and what was signed lately is the book's, whose entries are chained: who uses freehold can change neither. Who owns its machine can: he has the ML-DSA half
// of the key in memory, and writes what he wants around this program. Against him there is a token, which counts by itself, and revocation.

// allowed refuses a decision that the key of its moment may not sign, and puts that on record.
func (o *Office) allowed(d *entitlement.Decision, host hostid.ID, by string, now capability.Time) error {
	s, err := o.signerAt(d.Response.Time)
	if err != nil {
		return capability.Refuse(capability.ErrNoSigningKey, host.Short(), "%v", err)
	}
	why := beyond(&s.limits, o.signed(d.Response.Time), o.book.Gains(d))
	if why == "" {
		return nil
	}
	return errors.Join(capability.Refuse(capability.ErrSigningLimit, host.Short(), "%s", why), o.decide(now, entitlement.NoteLimited{Host: host, Detail: why, By: by}))
}

// seatAllowed is allowed for a seat that is used online, and comes before it is taken. Answers that give one count as responses do, and one to a device that has none as one more copy; answers that give nothing do not count, or strangers
// could use the limits up.
func (o *Office) seatAllowed(item capability.ActivationID, host hostid.ID, has bool, by string, now capability.Time) error {
	s, err := o.signerAt(now)
	if err != nil {
		return capability.Refuse(capability.ErrNoSigningKey, host.Short(), "%v", err)
	}
	var gains []entitlement.Gain
	if v, ok := o.book.Item(item, now); ok {
		gains = []entitlement.Gain{{Product: v.Product, Has: 1, More: 1}}
		if has {
			gains[0].More = 0
		}
	}
	why := beyond(&s.limits, o.signed(now), gains)
	if why == "" {
		return nil
	}
	no := capability.Refuse(capability.ErrSigningLimit, host.Short(), "%s", why)
	if has { // it asks again and again, and its program runs on meanwhile
		return no
	}
	return errors.Join(no, o.decide(now, entitlement.NoteLimited{Host: host, Detail: why, By: by}))
}

// signed is what was signed lately, with what no entry counts yet.
func (o *Office) signed(now capability.Time) entitlement.Signed {
	s := o.book.Signed(now)
	s.Hour, s.Day = s.Hour+o.seats, s.Day+o.seats
	return s
}

// beyond says which limit a response would pass that gives so much more, or is empty.
func beyond(l *wire.Limits, signed entitlement.Signed, gains []entitlement.Gain) string {
	switch {
	case l.Hour > 0 && signed.Hour >= uint64(l.Hour):
		return fmt.Sprintf("%s signed in this hour, and %d are allowed", capability.Counted(signed.Hour, "response"), l.Hour)
	case l.Day > 0 && signed.Day >= uint64(l.Day):
		return fmt.Sprintf("%s signed in this and the 23 hours before, and %d are allowed", capability.Counted(signed.Day, "response"), l.Day)
	case len(l.Products) == 0:
		return ""
	}
	for _, g := range gains {
		at := slices.IndexFunc(l.Products, func(p wire.ProductLimit) bool { return p.Product == g.Product })
		if at < 0 {
			return fmt.Sprintf("the key may not give %q", g.Product)
		}
		p := l.Products[at]
		if p.Copies > 0 && g.Has > uint64(p.Copies) {
			return fmt.Sprintf("%s of %q in one response, and %d are allowed", capability.Counted(g.Has, "copy"), g.Product, p.Copies)
		}
		if p.Day > 0 && g.More > 0 && signed.Products[g.Product]+g.More > uint64(p.Day) {
			return fmt.Sprintf("%s of %q given in this and the 23 hours before and %d would come, and %d are allowed", capability.Counted(signed.Products[g.Product], "copy"), g.Product, g.More, p.Day)
		}
	}
	return ""
}

// LimitsView is what the key that signs now may sign, and what was signed lately.
type LimitsView struct {
	Name    string               `json:"name"`
	Limits  wire.Limits          `json:"limits"`
	Signed  entitlement.Signed   `json:"signed"`
	Limited *entitlement.Limited `json:"limited,omitempty"` // the last response that was not signed for it
}

// LimitWords says what a signing key may sign at most, a line for each limit; none: anything.
func LimitWords(l *wire.Limits) (lines []string) {
	if l.Hour > 0 {
		lines = append(lines, capability.Counted(l.Hour, "response")+" an hour")
	}
	if l.Day > 0 {
		lines = append(lines, capability.Counted(l.Day, "response")+" a day")
	}
	for _, p := range l.Products {
		line := p.Product
		if p.Copies > 0 {
			line += ", " + capability.Counted(p.Copies, "copy") + " in a response"
		}
		if p.Day > 0 {
			line += fmt.Sprintf(", %d more copies a day", p.Day)
		}
		lines = append(lines, line)
	}
	return lines
}

// Limits are those of the key that signs now.
func (o *Office) Limits(now capability.Time) (LimitsView, error) {
	s, err := o.signerAt(now)
	if err != nil {
		return LimitsView{}, err
	}
	return LimitsView{s.said.Name, s.limits, o.signed(now), o.book.Limited()}, nil
}

// revokedSince refuses to hand out again what a key signed that has been revoked since: the machine would not take it.
func (o *Office) revokedSince(certificate []byte, host hostid.ID, serial uint64) error {
	k, err := o.codec.SigningKey(o.trust, certificate)
	if err != nil {
		return fmt.Errorf("the certificate of a response that was made: %w", err)
	}
	if err := o.codec.StillCounts(k, o.known()); err != nil {
		return capability.Refuse(capability.ErrKeyRevoked, host.Short(), "response %d was made before: %v", serial, err)
	}
	return nil
}
