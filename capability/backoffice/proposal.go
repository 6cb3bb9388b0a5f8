package backoffice

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage"
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
	d, err := o.book.Decide(now, entitlement.Propose{Proposal: proposal, By: order.By})
	if err != nil {
		return err
	}
	d.Entries[len(d.Entries)-1].Once = mark
	// A cut after the file leaves one that no entry names; the same request again puts it in its place.
	return o.record(file, p.Request, d.Entries)
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
	return o.RespondTo(file, Order{By: p.By, Repair: p.Reason, Rehost: p.From, Approved: by, proposal: number}, now)
}

// requestOf is the file that was proposed to be answered.
func (o *Office) requestOf(p *entitlement.Proposal) ([]byte, error) {
	for _, disk := range []storage.Disk{o.place.Evidence, o.place.Responses} {
		if disk == nil {
			continue
		}
		file, err := disk.Read(requestName(p.Request), capability.MaxFile)
		if err != nil {
			continue
		}
		if s, err := o.codec.ReadRequest(file); err == nil && s.Digest == p.Request {
			return file, nil
		}
	}
	return nil, capability.Refuse(capability.ErrBookDamaged, p.Host.Short(), "proposal %d is on record, and its file is gone: put evidence/%s back", p.Number, requestName(p.Request))
}
