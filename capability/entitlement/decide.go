package entitlement

import (
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// ErrItem is in the error of a line item that cannot be in the book; it says why.
var ErrItem = errors.New("line item")

// Command is Answer, or what an operator says: Entitle, SetPolicy, SetAccount, SetProduct, SetModel, ChangeItem, AllowBoot, WithdrawBoot and the like.
type Command interface {
	decide(b *Book, now capability.Time) (*Decision, error)
}

// Entitle adds a line item. Its activation ID was drawn by the caller; Issued is set to now.
type Entitle struct {
	Item Item
	By   string
}

// SetPolicy replaces the policy. It is the first entry of every book.
type SetPolicy struct {
	Policy Policy
	By     string
}

// Decision is what follows from a command. The entries must be durable, and applied, before anyone hears of it.
type Decision struct {
	Entries []*Entry
	// Response is the whole answer to an Answer, without Boot and Certificate, which are the caller's.
	Response *capability.Response
	// Known is set instead when this very request was answered before: the response of that time is the answer.
	Known *Known
	// Done is set instead when the command was done before under its key. There are no entries then.
	Done *Done
	// Warning is set where the request contradicts the record, and is answered because the policy only warns.
	Warning *capability.Refusal
	// Credited are the returns that this decision credits, each for the first time.
	Credited []ReturnSeen
	Host     Host // as it will be
	// Session is what a device is told, of the commands about sessions. Without entries the book's promise covers it.
	Session *Granted
}

// Answered is the part of the entries that says what was answered; nil where they say something else.
func (d *Decision) Answered() *Answered { return d.Entries[len(d.Entries)-1].Answer }

// Filed names the response file in the entry that the decision makes of it, so that the same bytes can be found again.
func (d *Decision) Filed(file capability.Digest) { d.Answered().Request.File = file }

// clockSlack is how far the clock may step back between two entries: less is a correction, more a wrong clock.
const clockSlack capability.Seconds = 60 * 60

// Decide says what follows from a command at the moment now. The book is not changed.
//
// The error is a *capability.Refusal, a *capability.Malformed, or a sentence about the command. A refusal may come with a decision: then its entries,
// which keep the refused request on record and change nothing else, are made durable before the refusal is told.
func (b *Book) Decide(now capability.Time, c Command) (*Decision, error) {
	if now > farthest {
		return nil, capability.Refuse(capability.ErrClock, "", "it is %d seconds after 1970, and no clock is", now)
	}
	if now < b.last {
		if b.last-now > capability.Time(clockSlack) {
			return nil, capability.Refuse(capability.ErrClock, "", "it is %s, and the last entry of the book is of %s", now, b.last)
		}
		now = b.last
	}
	first := c
	if once, keyed := c.(Once); keyed {
		first = once.Command
	}
	if _, policy := first.(SetPolicy); !policy && b.length == 0 {
		return nil, errors.New("the book has no policy yet")
	}
	d, err := c.decide(b, now)
	if d != nil && len(d.Entries) > 0 {
		if err := capability.CheckText(d.Entries[0].By); err != nil {
			return nil, fmt.Errorf("operator: %w", err)
		}
	}
	return d, err
}

// farthest is the last moment at which anything is decided: what is added to it is still a time.
const farthest capability.Time = 1 << 50

func (b *Book) entry(now capability.Time, by string) *Entry {
	return &Entry{Before: b.head, Time: now, By: by}
}

func (c SetPolicy) decide(b *Book, now capability.Time) (*Decision, error) {
	if err := c.Policy.Validate(); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	e := b.entry(now, c.By)
	c.Policy.Limits, c.Policy.Excluded = slices.Clone(c.Policy.Limits), slices.Clone(c.Policy.Excluded)
	e.Policy = &c.Policy
	return &Decision{Entries: []*Entry{e}}, nil
}

func (c Entitle) decide(b *Book, now capability.Time) (*Decision, error) {
	i := c.Item
	i.Issued, i.Features, i.Limits = now, slices.Clone(i.Features), slices.Clone(i.Limits)
	if err := b.made(&i); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrItem, err)
	}
	if err := i.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrItem, err)
	}
	if err := b.newAccount(i.Customer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrItem, err)
	}
	if err := b.begins(&i); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrItem, err)
	}
	if b.byID[i.ActivationID] != nil {
		return nil, fmt.Errorf("%w: activation ID %s is in the book already", ErrItem, i.ActivationID)
	}
	if err := b.replaces(&i, now); err != nil {
		return nil, err
	}
	if i.Expiry != 0 && i.Expiry <= now {
		return nil, fmt.Errorf("%w: it would have expired %s", ErrItem, i.Expiry)
	}
	e := b.entry(now, c.By)
	e.Item = &i
	return &Decision{Entries: []*Entry{e}}, nil
}

// Code is the catalog's code for an error of Decide, or zero.
func Code(err error) capability.Code {
	if r := (*capability.Refusal)(nil); errors.As(err, &r) {
		return r.Code
	}
	return wire.Code(err)
}
