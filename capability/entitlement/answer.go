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

// An answer brings the record of a host up to what its request says and proves, gives what it wants and may have, and says no to the rest.

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
	// Seat is a seat of a fixed-user item that the answer shall bring to the machine; nil: none.
	Seat *SeatOrder
	// Refused is the operator's reason to refuse what the request asks for; empty: it is answered on its merits.
	Refused string
	// Boot is the boot state that the request quotes, StateBytes long.
	Boot []byte
	// Shown is what else its evidence says.
	Shown Shown
	// Online: it came over the network, and no operator has looked at it.
	Online bool

	disputed bool     // it contradicts the record, and is answered under a warning
	foreign  *Foreign // it has applied a response that is none of this book's, and is answered all the same
}

// Proof is what was found in the proof of a return: the epoch that the TPM attests over it, or in Fault why it attests nothing.
type Proof struct {
	Epoch uint64
	Fault string
}

func (c Answer) decide(b *Book, now capability.Time) (*Decision, error) {
	if err := b.online(&c); err != nil {
		return nil, err
	}
	if h := b.answered[c.Digest]; h != nil {
		k, _ := h.byDigest(c.Digest)
		if no := h.stale(k); no != nil {
			return nil, no
		}
		if c.Refused != "" && k.Refused == "" {
			return nil, capability.Refuse(capability.ErrForm, c.Identity.Host.Short(), "request %d was answered %s with response %d, and stays answered", k.Number, k.Time, k.Serial)
		}
		if c.Seat != nil {
			if err := b.reissued(&c, h, k); err != nil {
				return nil, err
			}
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
	if q != nil {
		if c.foreign, q = b.overrules(&c, q); q == nil {
			named, q = history(host, &c)
		}
	}
	if q == nil {
		q = b.miscounted(host, c.Request)
	}
	if q != nil && (!q.ahead || b.policy.Forks != WarnForks) {
		return b.incident(now, &c, before, q), q.told()
	}
	if refusal := b.withdrawn(&c); refusal != nil {
		return nil, refusal
	}
	from, refusal := b.rehosted(now, host, &c)
	if refusal != nil {
		return nil, refusal
	}
	seat, made, err := b.seatOrder(now, host, &c)
	if err != nil {
		return nil, err
	}
	c.disputed = q != nil
	d := b.answer(now, &c, host, from, named, seat)
	d.Answered().Repair, d.Answered().Foreign = repair, c.foreign
	if from != nil {
		d.Answered().Rehosted = &Rehosted{From: from.Host, Reason: c.Repair, Approved: c.Approved}
	}
	b.acknowledge(host, c.Request, d, q != nil)
	if q != nil {
		b.warn(now, &c, before, q, d)
	}
	if made != nil {
		d.Entries = append([]*Entry{made}, d.Entries...)
		b.chain(d)
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
	if err := c.Identity.Host.Validate(); err != nil || c.Identity.Tier < Software || c.Identity.Tier > Hardware {
		return fmt.Errorf("a machine %s of tier %d, which is none: %w", c.Identity.Host, c.Identity.Tier, cmp.Or(err, errors.New("no such tier")))
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
	if err := c.checkRefusal(); err != nil {
		return err
	}
	if c.Rehost != (hostid.ID{}) && c.Repair == "" {
		return errors.New("a re-host needs a reason")
	}
	if c.Approved != "" {
		if err := legible("approver", c.Approved); err != nil {
			return fmt.Errorf("%w: %w", ErrDevice, err)
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
func (b *Book) answer(now capability.Time, c *Answer, before, from *Host, named []Known, seat *Seat) *Decision {
	r, h := c.Request, before.clone()
	if from != nil {
		h.takes(from)
	}
	resp := &capability.Response{
		Version: capability.Protocol, For: r.Hosts[0], Serial: before.above(c.foreign), Correlation: r.Correlation, Time: now,
		Request: c.Digest, Number: r.Number, Policy: capability.DefaultPolicy(), BookHead: b.head, Epoch: r.Epoch, Life: r.Life,
	}
	resp.Policy.Lease, resp.Policy.Holders = b.policy.Lease, b.policy.Holders
	resp.Policy.Binding, resp.Policy.Grace, resp.Policy.Dongle = b.policy.Binding, b.policy.Grace, b.policy.Dongle
	resp.Policy.Detail, resp.Policy.States = b.policy.Detail, b.policy.States
	d := &Decision{Response: resp}

	a := &Answered{Identity: c.Identity, Alias: r.Alias, Proven: before.Proven || proves(before, r), Epoch: r.Epoch, Life: r.Life, Named: named,
		Request: Known{Number: r.Number, Digest: c.Digest, Serial: resp.Serial, Head: b.head, Time: now, Audit: checkpoint(r), Refused: c.Refused}}
	if c.foreign != nil {
		a.Request.Claimed = r.Applied
	}
	if r.Applied == 0 && (before.Serial > 0 || from != nil) {
		// A machine that has applied none of the responses it was given may have a twin that has: what that one lent must end first. The machine's own word on
		// what it lost is not needed for it. So must what another machine lent whose rights it takes over.
		resp.Hold = now.Add(b.policy.Lease)
	}
	back := b.credit(now, h, c, a, d)
	if seat != nil {
		seat.brings(h, a, resp.Serial, b.byID[seat.ActivationID].Customer)
	}
	b.steer(now, before, h, c, a, back, resp)
	b.knows(now, before, h, c, a)
	switch {
	case c.Refused != "":
		c.refuse(h, resp)
	case r.Operation == capability.Grant:
		b.desire(now, h, c, back, resp)
	}
	b.modeled(&resp.Policy, h)
	if before.Account == "" {
		a.Account = h.Account
	}
	a.Holds, a.Metered, a.Appearance = changed(before, h), b.counted(before, r), before.appears(now, c)
	if from != nil {
		a.Holds = changedAgain(a.Holds, before, from, h)
	}
	rights, out := b.fitting(b.rights(h, c.Identity.Tier, now))
	resp.Items, resp.Lifetime = rights, b.lifetime(h, c.Identity.Tier)
	for _, id := range out {
		resp.Denials = deny(resp.Denials, capability.Refuse(capability.ErrNoRoom, string(id), "the rights before it fill the response"))
	}
	b.nameUsers(resp.Items, from, seat)
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
	for _, alarm := range slices.Concat(before.alarms(r), h.notices()) { // they refuse nothing, so the status is not about them
		resp.Denials = deny(resp.Denials, &capability.Refusal{Denial: alarm})
	}
	e := b.entry(now, c.By)
	e.Answer = a
	d.Entries = []*Entry{e}
	d.Host = *h
	record(&d.Host, a)
	return d
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
	was, account := slices.Clone(h.Holds), h.Account
	h.Account = b.accountOf(h)
	refused := false
	for _, w := range c.Request.Desired {
		if i := b.byID[w.ActivationID]; i != nil {
			if _, is := b.shall(h, i); is {
				line := b.mappedLine(h, i, w)
				resp.Lines, refused = append(resp.Lines, line), refused || line.Status != capability.LineOK
				continue
			}
		}
		have := h.held(w.ActivationID)
		w.Partial = b.partial(w)
		count, refusal := b.line(now, c, w, have, back[w.ActivationID])
		if no := b.shut(h, c, w); no != nil {
			count, refusal = have, no
		} else if count > have && have == 0 {
			if no := b.crowded(h.Host, h, b.byID[w.ActivationID]); no != nil {
				count, refusal = have, no
			}
		}
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
			h.Account = cmp.Or(h.Account, b.byID[w.ActivationID].Customer)
		}
		resp.Lines = append(resp.Lines, line)
	}
	if !c.Request.Atomic || !refused {
		return
	}
	h.Holds, h.Account, resp.Status = was, account, capability.StatusUnchanged
	for i, w := range c.Request.Desired {
		line := &resp.Lines[i]
		if line.Count = h.given(w.ActivationID); line.Count != w.Count {
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
	if over := i.overage(); over > 0 {
		left = back - min(back, over)
	}
	denial := capability.Denial{Subject: string(w.ActivationID), Asked: w.Count}
	if w.Count <= have {
		if w.Count < have {
			denial.Code, denial.Detail = capability.ErrReturnProof, fmt.Sprintf("the machine has %d copies; to have less, return them on it", have)
			return have, &capability.Refusal{Denial: denial}
		}
		return have, nil
	}
	if no := b.seatRefusal(i); no != nil {
		no.Asked = w.Count
		return have, no
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
	room := i.Copies + i.Life.Extra
	denial.Code, denial.Available, denial.Total, denial.Used = capability.ErrTooFew, left, room, room-min(left, room)
	if over := i.overage(); over > 0 {
		denial.Used, denial.Detail = i.used, fmt.Sprintf("%d more are in use than entitled, and nothing more of it is given meanwhile", over)
	} else if elsewhere := int64(room) - int64(left) - int64(have); elsewhere > 0 && w.Count <= room {
		denial.Code, denial.Detail = capability.ErrHeldElsewhere, capability.Counted(elsewhere, "copy")+" on other machines"
	}
	if w.Partial {
		return have + left, &capability.Refusal{Denial: denial}
	}
	return have, &capability.Refusal{Denial: denial}
}

// minimum is the tier that a machine needs for an item: the item's word, else its model's, else the policy's.
func (b *Book) minimum(i *item) Tier {
	return cmp.Or(i.MinimumTier, b.modelOf(i).MinimumTier, b.policy.MinimumTier)
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

// changedAgain adds the totals that a re-host changed and the answer changed back, as by a return with the same request.
func changedAgain(list []Fulfillment, before, from, after *Host) []Fulfillment {
	both := before.clone()
	both.takes(from)
	for _, f := range changed(both, after) {
		if !slices.ContainsFunc(list, func(g Fulfillment) bool { return g.ActivationID == f.ActivationID }) {
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
		i, given := b.byID[f.ActivationID], h.given(f.ActivationID)
		if given == 0 || i.Life.Stage == StageObsolete {
			continue
		}
		for _, feature := range i.Features {
			line := i.lineItem(feature, given)
			line.User = i.userOn(h.Host)
			line.Issuer, line.Expiry = b.policy.Producer, b.expiry(i, tier, now)
			b.shape(&line, i, now)
			list = append(list, line)
		}
	}
	b.aggregate(list)
	return list
}
