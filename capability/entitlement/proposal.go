package entitlement

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// What frees rights without a proof, a write-off, a re-host of a machine that is gone and a repair, two persons stand for. A proposal is the word of the first: a login says what is to be done, and why. The
// word of the second does it: in one group with what it does, so that neither is there without the other. Nobody approves the own proposal, and nothing that was proposed is done without an approval.

// Freeing is what a proposal is about.
type Freeing uint8

const (
	FreeByWriteOff Freeing = 1 // copies on a machine that proves nothing any more
	FreeByRehost   Freeing = 2 // everything that a machine has which is gone, for the machine of a request
	FreeByRepair   Freeing = 3 // a new trusted storage for the machine of a request
)

func (f Freeing) String() string {
	switch f {
	case FreeByWriteOff:
		return "write-off"
	case FreeByRehost:
		return "re-host"
	case FreeByRepair:
		return "repair"
	}
	return fmt.Sprintf("freeing %d", uint8(f))
}

// MarshalText makes JSON show the name.
func (f Freeing) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// ProposalLife is how long a proposal can be approved, 30 days.
const ProposalLife capability.Seconds = 30 * day

// The most proposals that are open at once, of all logins and of one: beyond that nobody reads them.
const (
	MaxProposals    = 256
	MaxOwnProposals = 16
	maxOver         = 256 // of those that are over, the newest, for as long as they could have been open: who comes late reads what became of them
)

// Proposal is what somebody proposed.
type Proposal struct {
	Number       uint64                  `cbor:"1,keyasint,omitzero" json:"number"` // of the entry that has it
	Freeing      Freeing                 `cbor:"2,keyasint,omitzero" json:"freeing"`
	Host         hostid.ID               `cbor:"3,keyasint,omitzero" json:"host"`                   // whose copies are written off; of the others, the machine of the request
	ActivationID capability.ActivationID `cbor:"4,keyasint,omitzero" json:"activationId,omitempty"` // of a write-off
	From         hostid.ID               `cbor:"5,keyasint,omitzero" json:"from,omitzero"`          // of a re-host: the machine that is gone
	Request      capability.Digest       `cbor:"6,keyasint,omitzero" json:"request,omitzero"`       // of re-host and repair: the request that is answered
	Reason       string                  `cbor:"7,keyasint,omitzero" json:"reason"`
	By           string                  `cbor:"8,keyasint,omitzero" json:"by"` // the login
	Time         capability.Time         `cbor:"9,keyasint,omitzero" json:"time"`
	Maker        string                  `cbor:"11,keyasint,omitzero" json:"maker,omitempty"` // who made the token that it was proposed with; empty: it was proposed without one
	Over         *Over                   `cbor:"10,keyasint,omitempty" json:"over,omitempty"` // what became of it; nil: it is open, or nobody approved it in time
}

// Over is what became of a proposal.
type Over struct {
	Approved bool            `cbor:"1,keyasint,omitzero" json:"approved"` // otherwise it was turned down, or taken back by who made it
	By       string          `cbor:"2,keyasint,omitzero" json:"by"`
	Time     capability.Time `cbor:"3,keyasint,omitzero" json:"time"`
	Reason   string          `cbor:"4,keyasint,omitzero" json:"reason,omitempty"`
}

// Ends is from when on it cannot be approved any more.
func (p *Proposal) Ends() capability.Time { return p.Time.Add(ProposalLife) }

// Freed is the machine that loses rights by it, or is repaired.
func (p *Proposal) Freed() hostid.ID {
	if p.Freeing == FreeByRehost {
		return p.From
	}
	return p.Host
}

// Proposed is the fact that something was proposed, or what became of it. Exactly one is there.
type Proposed struct {
	Proposal *Proposal `cbor:"1,keyasint,omitempty" json:"proposal,omitempty"`
	Approved uint64    `cbor:"2,keyasint,omitzero" json:"approved,omitempty"` // the number: the next entry does it
	Ended    uint64    `cbor:"3,keyasint,omitzero" json:"ended,omitempty"`    // the number: it was turned down, or taken back
	Reason   string    `cbor:"4,keyasint,omitzero" json:"reason,omitempty"`   // why it ended
	Keep     bool      `cbor:"5,keyasint,omitzero" json:"keep,omitempty"`     // what became of it is remembered; books of before do not
}

// Propose puts a proposal into the book. That it could be done now was seen by the caller, of what needs a request.
type Propose struct {
	Proposal Proposal // without number and time
	By       string
}

// Approve does what was proposed. Who approves is a login that may, and another one; and neither of them made a token for the other.
type Approve struct {
	Number uint64
	By     string
	Answer *Answer // of a re-host or a repair: the request as it was judged

	maker string // of the token with which it is asked for, as Through says
}

// EndProposal turns a proposal down, or takes the own one back.
type EndProposal struct {
	Number uint64
	Reason string
	By     string
}

// Proposals are those that are open at the moment now, of rights of an account (empty: of all), oldest first.
func (b *Book) Proposals(now capability.Time, account string) (list []Proposal) {
	for _, p := range b.proposals {
		if p.open(now) && (account == "" || b.Within(b.OwnerOfFreed(p), account)) {
			list = append(list, *p)
		}
	}
	return list
}

// OwnerOfFreed is the account whose rights a proposal frees.
func (b *Book) OwnerOfFreed(p *Proposal) string {
	if i := b.byID[p.ActivationID]; i != nil {
		return i.Customer
	}
	return b.OwnerOf(p.Freed())
}

// Proposal is an open one.
func (b *Book) Proposal(number uint64, now capability.Time) (Proposal, bool) {
	if p := b.proposal(number); p != nil && p.open(now) {
		return *p, true
	}
	return Proposal{}, false
}

// ProposalOver is one that is open no more, as long as it is remembered.
func (b *Book) ProposalOver(number uint64, now capability.Time) (Proposal, bool) {
	if p := b.proposal(number); p != nil && !p.open(now) {
		return *p, true
	}
	return Proposal{}, false
}

// Lapsed are proposals that nobody approved in time, and that the book forgets with the next one.
func (b *Book) Lapsed(now capability.Time) (list []Proposal) {
	for _, p := range b.proposals {
		if p.Over == nil && !p.open(now) {
			list = append(list, *p)
		}
	}
	return list
}

func (p *Proposal) open(now capability.Time) bool { return p.Over == nil && now < p.Ends() }

// over refuses to do anything more with a proposal that is not open.
func (b *Book) over(number uint64, now capability.Time) error {
	subject := fmt.Sprintf("proposal %d", number)
	if p, remembered := b.ProposalOver(number, now); remembered {
		return capability.Refuse(capability.ErrProposalOver, subject, "%s", p.Became(true))
	}
	return capability.Refuse(capability.ErrNotFound, subject, "it was done, turned down, or is older than %s", ProposalLife)
}

// Became says what became of a proposal that is over; where names are not told, without who and why.
func (p *Proposal) Became(names bool) string {
	o := p.Over
	if o == nil {
		return fmt.Sprintf("nobody approved it until %s", p.Ends())
	}
	words := "it was turned down"
	switch {
	case o.Approved:
		words = "it was approved, and done"
	case strings.EqualFold(o.By, p.By):
		words = "it was taken back"
	}
	words += " " + o.Time.String()
	if names {
		words += " by " + o.By
		if o.Reason != "" {
			words += ": " + o.Reason
		}
	}
	return words
}

func (b *Book) proposal(number uint64) *Proposal {
	at, there := slices.BinarySearchFunc(b.proposals, number, func(p *Proposal, n uint64) int { return int(int64(p.Number) - int64(n)) })
	if !there {
		return nil
	}
	return b.proposals[at]
}

// mayDo refuses what a login may not do. A name that is no login's may nothing.
func (b *Book) mayDo(name string, p Permission) error {
	if l := b.login(name); l == nil || !l.May(p) {
		return capability.Refuse(capability.ErrPermission, name, "")
	}
	return nil
}

// Somebody is a name that is not the one given, and stands for the second person where it is asked whether something could be done.
func Somebody(by string) string {
	const name = "a second person"
	if strings.EqualFold(by, name) {
		return name + " more"
	}
	return name
}

func (c Propose) decide(b *Book, now capability.Time) (*Decision, error) {
	p := c.Proposal
	_, p.Number = b.Head()
	p.Number, p.Time, p.By, p.Maker, p.Over = p.Number+1, now, c.By, "", nil
	if err := b.mayDo(c.By, ToMove); err != nil {
		return nil, err
	}
	if err := b.proposable(&p, now); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	if p.Freeing == FreeByWriteOff {
		if _, err := (WriteOff{Host: p.Host, ActivationID: p.ActivationID, Reason: p.Reason, By: p.By, Approved: Somebody(p.By)}).decide(b, now); err != nil {
			return nil, err
		}
	}
	e := b.entry(now, c.By)
	e.Proposed = &Proposed{Proposal: &p}
	return &Decision{Entries: []*Entry{e}}, nil
}

// proposable says why a proposal cannot be in the book.
func (b *Book) proposable(p *Proposal, now capability.Time) error {
	if err := p.validate(); err != nil {
		return err
	}
	own, open := 0, 0
	for _, o := range b.proposals {
		if !o.open(now) {
			continue
		}
		open++
		if strings.EqualFold(o.By, p.By) {
			own++
		}
		if o.Freeing == p.Freeing && o.Host == p.Host && o.ActivationID == p.ActivationID && o.From == p.From && o.Request == p.Request {
			return fmt.Errorf("%s proposed this %s %s, and it waits for a second person", o.By, o.Freeing, o.Time)
		}
	}
	if open >= MaxProposals || own >= MaxOwnProposals {
		return fmt.Errorf("%d proposals are open, %d of them of %s, and %d and %d may be", open, own, p.By, MaxProposals, MaxOwnProposals)
	}
	return nil
}

func (p *Proposal) validate() error {
	if p.Reason == "" {
		return errors.New("a proposal needs a reason")
	}
	if err := capability.CheckText(p.Reason); err != nil {
		return fmt.Errorf("reason: %w", err)
	}
	if err := capability.CheckName("login", p.By); err != nil {
		return err
	}
	if err := capability.CheckText(p.Maker); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if err := p.Host.Validate(); err != nil {
		return err
	}
	off, rehost := p.Freeing == FreeByWriteOff, p.Freeing == FreeByRehost
	switch {
	case p.Freeing < FreeByWriteOff || p.Freeing > FreeByRepair:
		return fmt.Errorf("%s is not known", p.Freeing)
	case off != (p.ActivationID != "") || off != (p.Request == capability.Digest{}) || rehost != (p.From != hostid.ID{}) || p.From == p.Host:
		return fmt.Errorf("a %s of %s with the ID %q, from %q and for request %.8x", p.Freeing, p.Host.Short(), p.ActivationID, p.From, p.Request[:])
	case p.Number == 0 || p.Time == 0:
		return errors.New("a proposal without a number or a time")
	}
	if rehost {
		return p.From.Validate()
	}
	return nil
}

func (c Approve) decide(b *Book, now capability.Time) (*Decision, error) {
	if err := b.mayDo(c.By, ToApprove); err != nil {
		return nil, err
	}
	p, open := b.Proposal(c.Number, now)
	if !open {
		return nil, b.over(c.Number, now)
	}
	if why := p.samePerson(c.By, c.maker); why != "" {
		return nil, capability.Refuse(capability.ErrSecondPerson, c.By, "%s", why)
	}
	d, err := c.done(b, &p, now)
	if err != nil {
		return d, err
	}
	e := b.entry(now, c.By)
	e.Proposed = &Proposed{Approved: c.Number, Keep: true}
	d.Entries = append([]*Entry{e}, d.Entries...)
	b.chain(d)
	return d, nil
}

// done is what follows from the proposal itself, as the command of old.
func (c Approve) done(b *Book, p *Proposal, now capability.Time) (*Decision, error) {
	if p.Freeing == FreeByWriteOff {
		return WriteOff{Host: p.Host, ActivationID: p.ActivationID, Reason: p.Reason, By: p.By, Approved: c.By}.decide(b, now)
	}
	if c.Answer == nil || c.Answer.Digest != p.Request || c.Answer.Identity.Host != p.Host {
		return nil, fmt.Errorf("%w: the request of proposal %d is another one", ErrDevice, p.Number)
	}
	a := *c.Answer
	a.By, a.Approved, a.Repair, a.Rehost = p.By, c.By, p.Reason, p.From
	d, err := a.decide(b, now)
	switch {
	case err != nil:
		return d, err
	case d.Known != nil:
		return nil, fmt.Errorf("%w: the request of proposal %d was answered since, without it", ErrDevice, p.Number)
	case d.Answered().Repair == nil && d.Answered().Rehosted == nil:
		return nil, fmt.Errorf("%w: the machine of proposal %d needs no repair", ErrDevice, p.Number)
	}
	return d, nil
}

func (c EndProposal) decide(b *Book, now capability.Time) (*Decision, error) {
	p := b.proposal(c.Number)
	if p == nil || !strings.EqualFold(c.By, p.By) {
		if err := b.mayDo(c.By, ToApprove); err != nil {
			return nil, err
		}
	}
	if p == nil || !p.open(now) {
		return nil, b.over(c.Number, now)
	}
	if err := capability.CheckText(c.Reason); err != nil {
		return nil, fmt.Errorf("%w: reason: %w", ErrDevice, err)
	}
	e := b.entry(now, c.By)
	e.Proposed = &Proposed{Ended: c.Number, Reason: c.Reason, Keep: true}
	return &Decision{Entries: []*Entry{e}}, nil
}

// applyProposed takes the fact in. What is over by its age goes with the next one.
func (b *Book) applyProposed(e *Entry) error {
	f := e.Proposed
	switch p := f.Proposal; {
	case p != nil:
		if f.Approved != 0 || f.Ended != 0 || f.Reason != "" || f.Keep || p.Over != nil || p.Maker != "" || p.Number != b.length+1 || p.Time != e.Time || p.By != e.By {
			return fmt.Errorf("proposal %d of %s is of another entry", p.Number, p.By)
		}
		if err := b.proposable(p, e.Time); err != nil {
			return err
		}
		kept := *p
		kept.Maker = e.maker()
		b.proposals = append(slices.DeleteFunc(b.proposals, func(o *Proposal) bool { return e.Time >= o.Ends() }), &kept)
		return nil
	case (f.Approved == 0) == (f.Ended == 0) || f.Approved != 0 && f.Reason != "":
		return errors.New("a proposal is both approved and ended, or neither")
	}
	p, open := b.Proposal(f.Approved+f.Ended, e.Time)
	if !open {
		return fmt.Errorf("proposal %d is not open", f.Approved+f.Ended)
	}
	if f.Approved != 0 && (e.By == "" || p.samePerson(e.By, e.maker()) != "") {
		return fmt.Errorf("proposal %d is approved by %q, who is one with %q", p.Number, e.By, p.By)
	}
	if err := capability.CheckText(f.Reason); err != nil {
		return fmt.Errorf("reason: %w", err)
	}
	if !f.Keep {
		b.proposals = slices.DeleteFunc(b.proposals, func(o *Proposal) bool { return o.Number == p.Number })
		return nil
	}
	b.proposal(p.Number).Over = &Over{Approved: f.Approved != 0, By: e.By, Time: e.Time, Reason: f.Reason}
	b.forgetOver()
	return nil
}

// forgetOver forgets of the proposals that are over the oldest, where there are too many.
func (b *Book) forgetOver() {
	over := 0
	for _, p := range b.proposals {
		if p.Over != nil {
			over++
		}
	}
	b.proposals = slices.DeleteFunc(b.proposals, func(p *Proposal) bool {
		if p.Over == nil || over <= maxOver {
			return false
		}
		over--
		return true
	})
}

func (b *Book) checkProposals() error {
	last, over := uint64(0), 0
	for _, p := range b.proposals {
		if err := p.validate(); err != nil {
			return fmt.Errorf("proposal %d: %w", p.Number, err)
		}
		if o := p.Over; o != nil {
			if over++; over > maxOver {
				return fmt.Errorf("%d proposals that are over", over)
			}
			if o.Time < p.Time || o.Time >= p.Ends() || o.Approved && (o.By == "" || strings.EqualFold(o.By, p.By) || o.Reason != "") {
				return fmt.Errorf("proposal %d was over %s by %q", p.Number, o.Time, o.By)
			}
			if err := cmp.Or(capability.CheckText(o.Reason), capability.CheckText(o.By)); err != nil {
				return fmt.Errorf("proposal %d: %w", p.Number, err)
			}
		}
		if p.Number <= last || p.Number > b.length {
			return fmt.Errorf("proposal %d follows %d, of %d entries", p.Number, last, b.length)
		}
		last = p.Number
	}
	return nil
}

// Subject is the machine, or the number of the proposal.
func (f *Proposed) Subject() string {
	if f.Proposal != nil {
		return f.Proposal.Freed().String()
	}
	return fmt.Sprint(f.Approved + f.Ended)
}
