package entitlement

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// ErrItem is in the error of a line item that cannot be in the book; it says why.
var ErrItem = errors.New("line item")

// Command is Entitle, SetPolicy, AllowBoot, WithdrawBoot or Answer.
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

// Answer answers a request whose signature the caller has judged.
type Answer struct {
	Request  *capability.Request // validated
	Digest   capability.Digest   // of what was signed
	Identity Identity
	Proofs   []Proof // one for each return of the request, in its order
	By       string
	// Repair is the operator's reason to take a new trusted storage for the machine's; empty, one that the book does not know is refused.
	Repair string
	// Rehost is the machine whose rights the one of the request takes over, for the reason in Repair; zero: none.
	Rehost hostid.ID
	// Approved names a second person who stands for the repair; more repairs of one machine than the policy allows need one, and every re-host.
	Approved string
	// Boot is the boot state that the request quotes, StateBytes long.
	Boot []byte
	// Shown is what else its evidence says.
	Shown Shown
}

// Proof is what was found in the proof of a return: the epoch that the TPM attests over it, or in Fault why it attests nothing.
type Proof struct {
	Epoch uint64
	Fault string
}

// Decision is what follows from a command. The entries must be durable, and applied, before anyone hears of it.
type Decision struct {
	Entries []*Entry
	// Response is the whole answer to an Answer, without Boot and Certificate, which are the caller's.
	Response *capability.Response
	// Known is set instead when this very request was answered before: the response of that time is the answer.
	Known *Known
	// Warning is set where the request contradicts the record, and is answered because the policy only warns.
	Warning *capability.Refusal
	// Credited are the returns that this decision credits, each for the first time.
	Credited []ReturnSeen
	Host     Host // as it will be
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
	if now < b.last {
		if b.last-now > capability.Time(clockSlack) {
			return nil, capability.Refuse(capability.ErrClock, "", "it is %s, and the last entry of the book is of %s", now, b.last)
		}
		now = b.last
	}
	if _, policy := c.(SetPolicy); !policy && b.length == 0 {
		return nil, errors.New("the book has no policy yet")
	}
	return c.decide(b, now)
}

func (b *Book) entry(now capability.Time, by string) *Entry {
	return &Entry{Before: b.head, Time: now, By: by}
}

func (c SetPolicy) decide(b *Book, now capability.Time) (*Decision, error) {
	if err := c.Policy.Validate(); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	e := b.entry(now, c.By)
	c.Policy.Limits = slices.Clone(c.Policy.Limits)
	e.Policy = &c.Policy
	return &Decision{Entries: []*Entry{e}}, nil
}

func (c Entitle) decide(b *Book, now capability.Time) (*Decision, error) {
	i := c.Item
	i.Issued, i.Features, i.Limits = now, slices.Clone(i.Features), slices.Clone(i.Limits)
	if err := i.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrItem, err)
	}
	if b.byID[i.ActivationID] != nil {
		return nil, fmt.Errorf("%w: activation ID %s is in the book already", ErrItem, i.ActivationID)
	}
	if i.Expiry != 0 && i.Expiry <= now {
		return nil, fmt.Errorf("%w: it would have expired %s", ErrItem, i.Expiry)
	}
	e := b.entry(now, c.By)
	e.Item = &i
	return &Decision{Entries: []*Entry{e}}, nil
}

func (c Answer) decide(b *Book, now capability.Time) (*Decision, error) {
	if h := b.answered[c.Digest]; h != nil {
		k, _ := h.byDigest(c.Digest)
		if h.Moved != nil && k.Serial <= h.Moved.Serial {
			return nil, capability.Refuse(capability.ErrRehosted, h.Host.Short(), "%s", h.Moved)
		}
		return &Decision{Known: k, Host: *h.clone()}, nil
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	before := b.byKey[c.Identity.Host]
	if lost := c.Request.Condition; before == nil && lost != 0 && c.Repair == "" {
		return nil, capability.Refuse(capability.ErrRehost, c.Identity.Host.Short(), "%s", lossOf(lost))
	}
	if before == nil {
		before = &Host{Identity: c.Identity}
	}
	host, repair, refusal := b.renewed(now, before, &c)
	if refusal != nil {
		q := &dispute{Refusal: refusal, against: before.witness(0)}
		return b.incident(now, &c, before, q), refusal
	}
	if repair != nil {
		host = host.clone()
		host.replace(repair, now, c.By)
	}
	named, q := history(host, &c)
	if q != nil && (!q.ahead || b.policy.Forks != WarnForks) {
		return b.incident(now, &c, before, q), q.Refusal
	}
	if refusal := b.withdrawn(&c); refusal != nil {
		return nil, refusal
	}
	from, refusal := b.rehosted(host, &c)
	if refusal != nil {
		return nil, refusal
	}
	d := b.answer(now, &c, host, from, named)
	d.Answered().Repair = repair
	if from != nil {
		d.Answered().Rehosted = &Rehosted{From: from.Host, Reason: c.Repair, Approved: c.Approved}
	}
	if q != nil {
		b.warn(now, &c, before, q, d)
	}
	return d, nil
}

// check refuses what no machine of ours writes.
func (c *Answer) check() error {
	r := c.Request
	if err := r.Validate(); err != nil {
		return err
	}
	if r.Number == 0 {
		return &capability.Malformed{Field: "number", Cause: "absent"}
	}
	if uint64(len(r.Outstanding)) >= r.Number {
		return &capability.Malformed{Field: "outstanding", Cause: fmt.Sprintf("%d requests before number %d", len(r.Outstanding), r.Number)}
	}
	if err := c.Shown.check(); err != nil {
		return err
	}
	if err := capability.CheckText(c.Repair); err != nil {
		return fmt.Errorf("reason: %w", err)
	}
	if c.Rehost != (hostid.ID{}) && c.Repair == "" {
		return errors.New("a re-host needs a reason")
	}
	if c.Approved != "" {
		if err := capability.CheckName("approver", c.Approved); err != nil {
			return err
		}
		if strings.EqualFold(c.Approved, c.By) {
			return fmt.Errorf("%q orders the repair, so somebody else has to approve it", c.By)
		}
	}
	if len(c.Proofs) != len(r.Returns) {
		return fmt.Errorf("%d proofs were judged for %d returns", len(c.Proofs), len(r.Returns))
	}
	if r.Operation != capability.Grant && r.Operation != capability.Report {
		return capability.Refuse(capability.ErrOperation, r.Operation.String(), "the back office answers requests and reports")
	}
	for n, d := range r.Desired {
		for _, other := range r.Desired[:n] {
			if d.ActivationID != "" && other.ActivationID == d.ActivationID {
				return &capability.Malformed{Field: fmt.Sprintf("desired[%d]", n), Cause: fmt.Sprintf("%s is there twice", d.ActivationID)}
			}
		}
	}
	return nil
}

// answer decides the whole target state of a host: what it takes from another one, then returns, then what is desired.
func (b *Book) answer(now capability.Time, c *Answer, before, from *Host, named []Known) *Decision {
	r, h := c.Request, before.clone()
	if from != nil {
		h.takes(from)
	}
	resp := &capability.Response{
		Version: capability.Protocol, For: r.Hosts[0], Serial: before.Serial + 1, Correlation: r.Correlation, Time: now,
		Request: c.Digest, Number: r.Number, Policy: capability.DefaultPolicy(), BookHead: b.head, Epoch: r.Epoch, Life: r.Life,
	}
	resp.Policy.Lease, resp.Policy.Holders = b.policy.Lease, b.policy.Holders
	resp.Policy.Binding, resp.Policy.Grace, resp.Policy.Dongle = b.policy.Binding, b.policy.Grace, b.policy.Dongle
	d := &Decision{Response: resp}

	a := &Answered{Identity: c.Identity, Alias: r.Alias, Proven: before.Proven || proves(before, r), Epoch: r.Epoch, Life: r.Life, Named: named,
		Request: Known{Number: r.Number, Digest: c.Digest, Serial: resp.Serial, Head: b.head, Time: now, Audit: checkpoint(r)}}
	if r.Applied == 0 && (before.Serial > 0 || from != nil) {
		// A machine that has applied none of the responses it was given may have a twin that has: what that one lent must end first. The machine's own word on
		// what it lost is not needed for it. So must what another machine lent whose rights it takes over.
		resp.Hold = now.Add(b.policy.Lease)
	}
	back := b.credit(h, c, a, d)
	if r.Operation == capability.Grant {
		b.desire(now, h, c, back, resp)
	}
	a.Holds, a.Metered, a.Appearance = changed(before, h), b.counted(before, r), before.appears(now, c)
	resp.Items, resp.Lifetime = b.rights(h, c.Identity.Tier, now), b.lifetime(h, c.Identity.Tier)
	if r.Applied == 0 {
		usedBefore(resp.Items, h)
	}
	switch {
	case resp.Status != capability.StatusOK:
	case len(resp.Denials) > 0 || slices.ContainsFunc(resp.Lines, func(l capability.Line) bool { return l.Status != capability.LineOK }):
		resp.Status = capability.StatusPartly
	case len(h.Holds) == 0 && len(resp.Acknowledged) > 0:
		resp.Status = capability.StatusReturned
	}
	for _, alarm := range before.alarms(r) { // they refuse nothing, so the status is not about them
		resp.Denials = deny(resp.Denials, &capability.Refusal{Denial: alarm})
	}
	e := b.entry(now, c.By)
	e.Answer = a
	d.Entries = []*Entry{e}
	d.Host = *h
	record(&d.Host, a)
	return d
}

// proves says whether the request shows that its machine opened a response of ours: the head of the book is in no clear part.
func proves(h *Host, r *capability.Request) bool {
	k, ok := h.bySerial(r.Applied)
	return r.Applied > 0 && ok && k.Head == r.BookHead
}

// credit takes back what the request proves to have returned, each return once, and gives the copies that came back by activation ID.
func (b *Book) credit(h *Host, c *Answer, a *Answered, d *Decision) map[capability.ActivationID]uint32 {
	back := map[capability.ActivationID]uint32{}
	for n, t := range c.Request.Returns {
		if slices.Contains(d.Response.Acknowledged, t.ID) {
			continue
		}
		seen, again := h.seen(t.ID)
		s := ReturnSeen{ID: t.ID, ActivationID: t.ActivationID, Copies: t.Copies, Epoch: t.Epoch, Floor: h.Epoch}
		if again {
			s.Floor = seen.Floor
		}
		refusal := b.judge(h, c.Request, t, c.Proofs[n], seen, s.Floor)
		switch {
		case refusal != nil:
			d.Response.Denials = deny(d.Response.Denials, refusal)
			if s.Refused = refusal.Code; !again && len(h.Returns) < maxReturnsKept {
				a.Returns = append(a.Returns, s)
				h.note(s)
			}
		case again && seen.Credited:
			d.Response.Acknowledged = append(d.Response.Acknowledged, t.ID)
		default:
			s.Credited = true
			h.hold(t.ActivationID, h.held(t.ActivationID)-t.Copies)
			back[t.ActivationID] += t.Copies
			a.Returns = append(a.Returns, s)
			h.note(s)
			d.Credited = append(d.Credited, s)
			d.Response.Acknowledged = append(d.Response.Acknowledged, t.ID)
		}
	}
	return back
}

// maxReturnsKept of one host: refused ones beyond it are refused again without being kept, so that nobody fills the book with them.
const maxReturnsKept = 4096

// judge says why a return is not credited, or nil. One that was credited already needs no second proof, but must be the same.
func (b *Book) judge(h *Host, r *capability.Request, t capability.Return, p Proof, seen *ReturnSeen, floor uint64) *capability.Refusal {
	no := func(code capability.Code, format string, args ...any) *capability.Refusal {
		return capability.Refuse(code, string(t.ActivationID), format, args...)
	}
	if seen != nil && (seen.ActivationID != t.ActivationID || seen.Copies != t.Copies || seen.Epoch != t.Epoch) {
		return no(capability.ErrReturnProof, "return %.4x is on record with %d copies of %s at epoch %d", t.ID[:], seen.Copies, seen.ActivationID, seen.Epoch)
	}
	if seen != nil && seen.Credited {
		return nil
	}
	switch held := h.held(t.ActivationID); {
	case b.byID[t.ActivationID] == nil:
		return no(capability.ErrUnknownID, "a return names it")
	case p.Fault != "":
		return no(capability.ErrReturnProof, "%s", p.Fault)
	case p.Epoch < t.Epoch:
		return no(capability.ErrReturnProof, "the TPM's counter was at %d, the return is of epoch %d", p.Epoch, t.Epoch)
	case t.Epoch <= floor || r.Epoch < t.Epoch:
		return no(capability.ErrRollbackSuspect, "the return is of epoch %d, the request of epoch %d, and epoch %d was seen before it", t.Epoch, r.Epoch, floor)
	case t.Serial == 0 || t.Serial > h.Serial:
		return no(capability.ErrReturnProof, "its rights came with response %d, and the last one was %d", t.Serial, h.Serial)
	case t.Copies > held:
		return no(capability.ErrReturnProof, "%d copies, and this machine has %d", t.Copies, held)
	}
	return nil
}

// deny adds a refusal to a response; one that lists all it can lists no more.
func deny(list []capability.Denial, r *capability.Refusal) []capability.Denial {
	if len(list) < capability.MaxDenials {
		return append(list, r.Denial)
	}
	return list
}

// desire raises the holdings to what the request wants, line by line. A refused line leaves what the host has.
func (b *Book) desire(now capability.Time, h *Host, c *Answer, back map[capability.ActivationID]uint32, resp *capability.Response) {
	was := slices.Clone(h.Holds)
	refused := false
	for _, w := range c.Request.Desired {
		have := h.held(w.ActivationID)
		count, refusal := b.line(now, c, w, have, back[w.ActivationID])
		if h.Moved != nil && w.Count > have {
			count, refusal = have, &capability.Refusal{Denial: capability.Denial{Code: capability.ErrRehosted, Subject: string(w.ActivationID), Asked: w.Count, Detail: h.Moved.String()}}
		}
		line := capability.Line{Count: count}
		switch {
		case refusal == nil:
		case count > have:
			line.Status, line.Denial = capability.LinePartial, refusal.Denial
		default:
			line.Status, line.Denial, refused = capability.LineInsufficient, refusal.Denial, true
		}
		if count != have {
			h.hold(w.ActivationID, count)
		}
		resp.Lines = append(resp.Lines, line)
	}
	if !c.Request.Atomic || !refused {
		return
	}
	h.Holds, resp.Status = was, capability.StatusUnchanged
	for i, w := range c.Request.Desired {
		line := &resp.Lines[i]
		if line.Count = h.held(w.ActivationID); line.Count != w.Count {
			line.Status = capability.LineInsufficient
		}
	}
}

// line is the total a host will have of one wanted item, and why it is not the wanted one. back came back with this very request.
func (b *Book) line(now capability.Time, c *Answer, w capability.Desired, have, back uint32) (uint32, *capability.Refusal) {
	i := b.byID[w.ActivationID]
	if i == nil {
		subject := string(w.ActivationID)
		if subject == "" {
			subject = w.Feature
		}
		return 0, &capability.Refusal{Denial: capability.Denial{Code: capability.ErrUnknownID, Subject: subject, Asked: w.Count}}
	}
	left := i.left() + back
	denial := capability.Denial{Subject: string(w.ActivationID), Asked: w.Count}
	if w.Count <= have {
		if w.Count < have {
			denial.Code, denial.Detail = capability.ErrReturnProof, fmt.Sprintf("the machine has %d copies; to have less, return them on it", have)
			return have, &capability.Refusal{Denial: denial}
		}
		return have, nil
	}
	if i.Expiry != 0 && now >= i.Expiry {
		denial.Code, denial.Detail = capability.ErrBookExpired, fmt.Sprintf("it expired %s", i.Expiry)
		return have, &capability.Refusal{Denial: denial}
	}
	if no := b.barred(i, c.Identity.Tier, w.Count, c.Shown.Why); no != nil {
		no.Asked = w.Count
		if w.Partial {
			have = max(have, min(b.most(i, c.Identity.Tier), have+left))
		}
		return have, no
	}
	if w.Count-have <= left {
		return w.Count, nil
	}
	denial.Code, denial.Available, denial.Total, denial.Used = capability.ErrTooFew, left, i.Copies, i.Copies-left
	if elsewhere := i.Copies - left - have; elsewhere > 0 && w.Count <= i.Copies {
		denial.Code, denial.Detail = capability.ErrHeldElsewhere, fmt.Sprintf("%d copies are on other machines", elsewhere)
	}
	if w.Partial {
		return have + left, &capability.Refusal{Denial: denial}
	}
	return have, &capability.Refusal{Denial: denial}
}

// minimum is the tier that a machine needs for an item.
func (b *Book) minimum(i *item) Tier {
	if i.MinimumTier != 0 {
		return i.MinimumTier
	}
	return b.policy.MinimumTier
}

// changed are the totals that differ between two states of a host, by activation ID.
func changed(before, after *Host) []Fulfillment {
	var list []Fulfillment
	for _, f := range before.Holds {
		if after.held(f.ActivationID) == 0 {
			list = append(list, Fulfillment{ActivationID: f.ActivationID})
		}
	}
	for _, f := range after.Holds {
		if before.held(f.ActivationID) != f.Copies {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b Fulfillment) int { return compareIDs(a.ActivationID, b.ActivationID) })
	return list
}

// rights is everything a host has, as it stores it.
func (b *Book) rights(h *Host, tier Tier, now capability.Time) []capability.LineItem {
	var list []capability.LineItem
	for _, f := range h.Holds {
		i := b.byID[f.ActivationID]
		for _, feature := range i.Features {
			line := i.lineItem(feature, f.Copies)
			line.Issuer, line.Expiry = b.policy.Producer, b.expiry(i, tier, now)
			list = append(list, line)
		}
	}
	return list
}

// Code is the catalog's code for an error of Decide, or zero.
func Code(err error) capability.Code {
	if r := (*capability.Refusal)(nil); errors.As(err, &r) {
		return r.Code
	}
	return wire.Code(err)
}
