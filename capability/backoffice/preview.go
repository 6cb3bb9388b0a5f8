package backoffice

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/hostid"
)

// Preview is a request file as somebody sees it who has not answered it yet: who asks for what, and what would be answered now.
type Preview struct {
	Result // without File; what it says of the answer is what it would be
	// Request is the digest of what was signed: the answer's name.
	Request  capability.Digest
	Asked    []capability.Desired
	Returns  int // that it brings
	Report   bool
	Account  string                // that the machine belongs to; empty: none yet
	Outcomes []entitlement.Outcome // what it had and will have; of a request that was answered before: none
	// Newer is the serial of the machine's newest response, where the request was answered before and others were since.
	Newer uint64
}

// Preview says what Respond would answer, and writes nothing. With an error it says as much as the signature proves, or is nil where it proves nothing.
func (o *Office) Preview(file []byte, order Order, now capability.Time) (*Preview, error) {
	signed, id, err := o.judge(file)
	if err != nil {
		return nil, err
	}
	r := &signed.Request
	if err := o.within(r, order); err != nil {
		return nil, err
	}
	w := o.weigh(signed, id, order, now)
	l := &Preview{
		Result: *w.res, Request: signed.Digest, Asked: r.Desired, Returns: len(r.Returns), Report: r.Operation == capability.Report, Account: o.book.OwnerOf(r.Hosts[0]),
	}
	if w.err != nil {
		return l, refuse(w.err)
	}
	if w.d.Known != nil {
		if _, err := o.again(&l.Result, w.d.Known, signed.Digest); err != nil {
			return l, err
		}
		l.File = nil
		if w.was.Serial > l.Serial {
			l.Newer = w.was.Serial
		}
		return l, nil
	}
	if err := w.tooWeak(); err != nil {
		return l, err
	}
	s, err := o.signerAt(w.d.Response.Time)
	if err != nil {
		return l, capability.Refuse(capability.ErrNoSigningKey, r.Hosts[0].Short(), "%v", err)
	}
	if why := beyond(&s.limits, o.signed(w.d.Response.Time), o.book.Gains(w.d)); why != "" {
		return l, capability.Refuse(capability.ErrSigningLimit, r.Hosts[0].Short(), "%s", why)
	}
	o.say(&l.Result, r, w.d)
	l.Outcomes = o.book.Outcomes(w.d, now)
	return l, nil
}

// within refuses, on behalf of an account, the request of a machine that is not the account's, nor will be: what is another's is as if it were not there. A machine that belongs to nobody yet becomes the
// account's by an activation ID of it, by a seat of it, or by the rights of a machine of it; what a machine has of an account above, it may go on to ask for.
func (o *Office) within(r *capability.Request, order Order) error {
	account := order.Within
	if account == "" {
		return nil
	}
	nothing := func(subject string) error { return capability.Refuse(capability.ErrNotFound, subject, "") }
	own, named := o.book.OwnerOf(r.Hosts[0]), order.Rehost != hostid.ID{}
	if from := o.book.OwnerOf(order.Rehost); named && (from == "" || !o.book.Within(from, account)) {
		return nothing(order.Rehost.Short())
	}
	h, _ := o.book.Host(r.Hosts[0])
	if order.Seat != nil {
		v, ok := o.book.Item(order.Seat.ActivationID, 0)
		if named = ok && o.book.Within(v.Customer, account); !named {
			return nothing(string(order.Seat.ActivationID))
		}
	}
	for _, w := range r.Desired {
		if w.ActivationID == "" {
			continue
		}
		v, ok := o.book.Item(w.ActivationID, 0)
		ours := ok && o.book.Within(v.Customer, account)
		if !ours && !slices.ContainsFunc(h.Holds, func(f entitlement.Fulfillment) bool { return f.ActivationID == w.ActivationID && f.Copies >= w.Count }) {
			return nothing(string(w.ActivationID))
		}
		named = named || ours
	}
	if own == "" && !named || own != "" && !o.book.Within(own, account) {
		return nothing(r.Hosts[0].Short())
	}
	return nil
}

// Response is the file that answered the request of that digest, as it was handed out. What would be refused to who asked again is refused here too.
func (o *Office) Response(request capability.Digest) (*Result, error) {
	host, k, err := o.book.AnswerTo(request)
	if err != nil {
		return nil, err
	}
	return o.again(&Result{Host: host, Number: k.Number, Name: capability.FileName("RSP", k.Number, "LHR")}, &k, request)
}
