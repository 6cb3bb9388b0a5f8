package backoffice

import (
	"fmt"
	"io"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// Slip draws the code of a user's slip, and what the book keeps of it. The code is nowhere else: who loses it needs another one.
func (o *Office) Slip(user entitlement.UserID) (code string, hash capability.Digest, err error) {
	if code, err = entitlement.NewCode(o.rand); err != nil {
		return "", capability.Digest{}, err
	}
	return code, entitlement.CodeHash(user, code), nil
}

// LoginCode draws the one-time code of a login, and what the book keeps of it.
func (o *Office) LoginCode(name string) (code string, hash capability.Digest, err error) {
	if code, err = entitlement.NewCode(o.rand); err != nil {
		return "", capability.Digest{}, err
	}
	return code, entitlement.LoginHash(name, code), nil
}

// TakeSession gives a device a seat of an online item, or what it has of it already. Its ID is drawn here.
func (o *Office) TakeSession(c entitlement.TakeSession, now capability.Time) (*entitlement.Granted, error) {
	if _, err := io.ReadFull(o.rand, c.ID[:]); err != nil {
		return nil, fmt.Errorf("draw a session: %w", err)
	}
	return o.grant(now, o.desk.Take(o.book, c, now), c.Signed)
}

// RenewSession moves the end of a session, mostly without a write.
func (o *Office) RenewSession(c entitlement.RenewSession, now capability.Time) (*entitlement.Granted, error) {
	return o.grant(now, c, c.Signed)
}

// grant makes a decision about a session durable. answers: so many were signed with this one and are not counted by an entry; zero: none is.
func (o *Office) grant(now capability.Time, c entitlement.Command, answers uint64) (*entitlement.Granted, error) {
	d, err := o.do(now, c)
	if err != nil || d.Session == nil {
		return nil, err
	}
	if answers > 0 {
		if o.seats = answers; len(d.Entries) > 0 {
			o.seats = 0
		}
	}
	o.desk.Told(d.Session)
	return d.Session, nil
}

// Disconnect ends the renewals of a session.
func (o *Office) Disconnect(c entitlement.Disconnect, now capability.Time) error {
	return o.Do(o.desk.Disconnect(c), now)
}

// Sessions are those that may run, of one item or of an empty ID of all, the longest idle first.
func (o *Office) Sessions(id capability.ActivationID, now capability.Time) []entitlement.SessionView {
	return o.desk.Sessions(o.book, id, now)
}
