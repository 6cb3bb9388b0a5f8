package backoffice

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/hostid"
)

// ProposeAnswer puts it into the book that order.By wants a request answered with a repair, or a re-host, for the reason in order.Repair. The file is kept until somebody else has looked at it. What could not be done now
// is refused at once.
func (o *Office) ProposeAnswer(file []byte, order Order, now capability.Time) error {
	mark, done, err := o.marked()
	if err != nil || done {
		return err
	}
	order.Approved = entitlement.Somebody(order.By)
	p, err := o.Preview(file, order, now)
	if err != nil {
		return err
	}
	if p.Again || !p.Repaired && p.Rehosted == (hostid.ID{}) {
		return fmt.Errorf("%w: %s", entitlement.ErrDevice, p.RepairNote)
	}
	proposal := entitlement.Proposal{Freeing: entitlement.FreeByRepair, Host: p.Host, From: order.Rehost, Request: p.Request, Reason: order.Repair}
	if order.Rehost != (hostid.ID{}) {
		proposal.Freeing = entitlement.FreeByRehost
	}
	if o.place.Evidence == nil {
		return fmt.Errorf("%w: this back office has no place for the file", entitlement.ErrDevice)
	}
	d, err := o.book.Decide(now, o.asked(entitlement.Propose{Proposal: proposal, By: order.By}))
	if err != nil {
		return err
	}
	d.Entries[len(d.Entries)-1].Once = mark
	lapsed := o.book.Lapsed(now) // which the entry makes the book forget
	// A cut after the file leaves one that no entry names; the same request again puts it in its place.
	if err := o.record(file, p.Request, d.Entries); err != nil {
		return err
	}
	return o.discard(now, aboutProposals(lapsed...)...)
}

// EndProposal turns a proposal down, or takes the own one back.
func (o *Office) EndProposal(c entitlement.EndProposal, now capability.Time) error {
	p, _ := o.book.Proposal(c.Number, now)
	if err := o.Do(c, now); err != nil {
		return err
	}
	return o.discard(now, aboutProposals(p)...)
}

// waits is a request, and whose it is, that a proposal or a question was about.
type waits struct {
	request capability.Digest
	host    hostid.ID
}

func aboutProposals(list ...entitlement.Proposal) (over []waits) {
	for _, p := range list {
		over = append(over, waits{p.Request, p.Host})
	}
	return over
}

// needed says that the file of a request is still that of something.
func (o *Office) needed(w waits, now capability.Time) bool {
	h, _ := o.book.Host(w.host)
	return slices.ContainsFunc(o.book.Proposals(now, ""), func(p entitlement.Proposal) bool { return p.Request == w.request }) ||
		slices.ContainsFunc(o.book.QuestionsTo(w.host), func(q entitlement.Question) bool { return q.Request == w.request }) ||
		slices.ContainsFunc(h.Incidents, func(i entitlement.Incident) bool { return i.Digest == w.request || i.Against == w.request })
}

// Proposed is what the approval of a proposal would bring; of a write-off nil. It writes nothing.
func (o *Office) Proposed(p *entitlement.Proposal, now capability.Time) (*Preview, error) {
	if p.Freeing == entitlement.FreeByWriteOff {
		return nil, nil
	}
	file, err := o.requestOf(p)
	if err != nil {
		return nil, err
	}
	return o.Preview(file, Order{By: p.By, Repair: p.Reason, Rehost: p.From, Approved: entitlement.Somebody(p.By)}, now)
}

// Approve does what was proposed, on the word of a second login. The Result is that of a request; of a write-off it is nil.
func (o *Office) Approve(number uint64, by string, now capability.Time) (*Result, error) {
	p, open := o.book.Proposal(number, now)
	if !open || p.Freeing == entitlement.FreeByWriteOff {
		return nil, o.Do(entitlement.Approve{Number: number, By: by}, now) // which says what is wrong
	}
	file, err := o.requestOf(&p)
	if err != nil {
		return nil, err
	}
	r, err := o.RespondTo(file, Order{By: p.By, Repair: p.Reason, Rehost: p.From, Approved: by, proposal: number}, now)
	if err != nil {
		return nil, err
	}
	return r, o.discard(now, aboutProposals(p)...) // it is beside its response now
}

// requestOf is the file that was proposed to be answered.
func (o *Office) requestOf(p *entitlement.Proposal) ([]byte, error) {
	file := o.keptRequest(p.Request)
	if file == nil {
		return nil, capability.Refuse(capability.ErrBookDamaged, p.Host.Short(), "proposal %d is on record, and its file is gone: put evidence/%s back", p.Number, requestName(p.Request))
	}
	return file, nil
}
