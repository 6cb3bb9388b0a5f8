package ledger

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Decide says what a command would do. It changes nothing. The error is a *capability.Refusal, which is an answer, or a *capability.Malformed; with either there is nothing to apply.
func (l *Ledger) Decide(now Now, c Command) (Decision, error) {
	if now.before(l.now) || now.Wall <= 0 {
		return Decision{}, malformed("now", "%d on the lease clock and %s, where the last entry was at %d and %s", now.Lease, now.Wall, l.now.Lease, l.now.Wall)
	}
	switch c := c.(type) {
	case Serve:
		return l.serve(now, &c)
	case *Serve:
		return l.serve(now, c)
	case Start:
		return l.start(now, c)
	case Advance:
		return l.advanceTo(now), nil
	case CloseUsage:
		return l.closeUsage(now), nil
	case Provision:
		return l.provision(now, c)
	case Return:
		return l.giveUp(now, c)
	case Prove:
		return l.prove(now, c)
	case WriteRequest:
		return l.writeRequest(now, c)
	case Drop:
		return l.drop(now, c)
	case SetModel:
		return l.setModel(now, c)
	case DeleteModel:
		return l.deleteModel(now, c)
	case SetReservations:
		return l.setReservations(now, c)
	case PutGroup:
		return l.putGroup(now, c)
	case DeleteReserved:
		return l.deleteReserved(now, c)
	case Drain:
		return l.drain(now, c)
	case CancelDrain:
		return l.cancelDrain(now, c)
	case Watch:
		return l.watch(now, c), nil
	case SetTime:
		return l.setTime(now, c)
	case SetPolicy:
		return l.setPolicy(now, c)
	case Recognize:
		return l.recognize(now, c)
	case PlanChange:
		return l.planChange(now, c)
	case TakeRecovery:
		return l.takeRecovery(now, c)
	case DisconnectIdle:
		return l.disconnectIdle(now, c)
	case AddLogin:
		return l.addLogin(now, c)
	case ChangeLogin:
		return l.changeLogin(now, c)
	case RemoveLogin:
		return l.removeLogin(now, c)
	case AddToken:
		return l.addToken(now, c)
	case EndToken:
		return l.endToken(now, c)
	case NoteSignIn:
		return l.noteSignIn(now, c)
	case NoteCertificate:
		return l.noteCertificate(now, c)
	case RegisterKey:
		return l.registerKey(now, c)
	case RemoveKey:
		return l.removeKey(now, c)
	}
	return Decision{}, malformed("command", "%T is not known", c)
}

func malformed(field, format string, args ...any) error {
	return &capability.Malformed{Field: field, Cause: fmt.Sprintf(format, args...)}
}

// decided gives entries their places in the chain.
func (l *Ledger) decided(now Now, entries ...Entry) Decision {
	position, head := l.position, l.head
	for i := range entries {
		position++
		entries[i].Position, entries[i].Previous, entries[i].Now = position, head, now
		if i+1 < len(entries) {
			head = digest(entries[i].Encode(l.codec))
		}
	}
	return Decision{Entries: entries}
}

func checkBy(by string) error {
	if len(by) > capability.MaxText {
		return malformed("by", "%d bytes where at most %d are allowed", len(by), capability.MaxText)
	}
	return nil
}

// advanceTo ends what is due, fills deficits with what came back by it, books overdraft leases over, and divides the items anew where one of them started or expired.
func (l *Ledger) advanceTo(now Now) Decision {
	e := Entry{Advanced: &Advanced{}}
	due := len(l.ends) > 0 && l.ends[0].leases[0].end <= now.Lease || l.hold != 0 && l.hold <= now.Lease
	if date := l.nextDate(anyItem); date != 0 && date <= now.Wall {
		e.Division, due = l.division(l.rules(), now, l.dates(now), l.inventory()), true
	} else {
		d := l.draft(now, nil, "")
		for _, it := range l.items {
			d.settle(it, func(*slice) bool { return false })
		}
		e.Transfers, e.Booked = d.transfers(), d.bookings(l.items)
	}
	e.Judged = l.rejudged(now)
	due = due || e.Judged != nil
	if !due && len(e.Transfers)+len(e.Booked) == 0 {
		return Decision{}
	}
	return l.decided(now, e)
}

func (l *Ledger) start(now Now, c Start) (Decision, error) {
	switch {
	case c.HoldFor < 0:
		return Decision{}, malformed("holdFor", "%d seconds", c.HoldFor)
	case len(c.BootID) > capability.MaxText || len(c.Cause) > capability.MaxText:
		return Decision{}, malformed("start", "boot ID of %d bytes and cause of %d where at most %d are allowed", len(c.BootID), len(c.Cause), capability.MaxText)
	}
	end := l.holdAt(now)
	if c.HoldFor > 0 {
		end = max(end, now.Lease+c.HoldFor)
	}
	f := &Started{BootID: c.BootID, Hold: end, Cause: c.Cause, Lost: l.lost, Slept: l.slept(now.Lease, c.TPM), TPM: c.TPM, At: now.Lease, Counts: l.usage.from == 0}
	if l.life == (capability.LifeID{}) {
		f.Life = c.Life
	}
	if !l.provisioned() && l.lost == 0 {
		f.Lost = c.Lost // what comes later, like a counter made anew for the requests, is no cause
	}
	if l.run.TPM != (TPMClock{}) && c.TPM == l.run.TPM {
		f.At = l.run.At // the reading is of that start
	}
	e := Entry{Started: f}
	if c.Raw != 0 {
		r := judge(now.Lease, l.expected(now.Lease).Add(f.Slept), c.Raw, Clock{})
		if now = r.Now; r.Clock != (Clock{}) {
			e.Clock = &r.Clock
		}
	}
	return l.decided(now, e), nil
}

// holdAt is the end of the hold that still runs at now, or zero.
func (l *Ledger) holdAt(now Now) capability.Seconds {
	if now.Lease < l.hold {
		return l.hold
	}
	return 0
}

func (l *Ledger) provision(now Now, c Provision) (Decision, error) {
	r := c.Response
	if err := r.Validate(); err != nil {
		return Decision{}, err
	}
	if err := l.revokes(&c); err != nil {
		return Decision{}, err
	}
	switch {
	case r.Serial == 0:
		return Decision{}, malformed("serial", "absent")
	case l.lost != 0 && len(r.Items) == 0:
		return Decision{}, capability.Refuse(capability.ErrNotEntitled, "", "the response brings no rights, so the storage that cannot be used is left as it is")
	case r.Status == capability.StatusPreview:
		return Decision{}, malformed("status", "%s is never applied", r.Status)
	case r.Life != (capability.LifeID{}) && r.Life != l.life:
		return Decision{}, capability.Refuse(capability.ErrResponseEpoch, "", "its request was written by another trusted storage")
	case r.Serial < l.applied.Serial:
		return Decision{}, capability.Refuse(capability.OlderResponse, "", "serial %d, in force is %d", r.Serial, l.applied.Serial)
	case r.Serial == l.applied.Serial && c.Digest == l.digest:
		return Decision{}, capability.Refuse(capability.AlreadyHere, "", "serial %d", r.Serial)
	case r.Serial == l.applied.Serial:
		return Decision{}, capability.Refuse(capability.ErrReplayedSerial, "", "serial %d", r.Serial)
	}
	// A response to an older request must not bring back what was returned since; one that refuses the return does.
	items := slices.Clone(r.Items)
	for _, t := range l.returns {
		if slices.Contains(r.Acknowledged, t.ID) || r.Refuses(t) {
			continue
		}
		for i := range items {
			if items[i].ActivationID == t.ActivationID {
				items[i] = less(items[i], t.Copies)
			}
		}
	}
	r.Items = slices.DeleteFunc(items, func(i capability.LineItem) bool { return i.Copies == 0 })
	if len(r.Items) == 0 {
		r.Items = nil
	}
	clock := l.clock
	now, changed := l.signed(now, c.Raw, r.Time)
	if changed != nil {
		clock = *changed
	}
	f := &Provisioned{Response: r, Digest: c.Digest}
	if l.beginsHeld(&r) {
		f.Hold = max(l.holdAt(now), now.Lease+capability.MaxLease) // the policy that the lost leases were given by may have been another
	}
	div := l.division(l.rules(), now, clock.dates(now), l.arriving(r.Items))
	f.Revoked = l.unheard(c.Revoked)
	e := Entry{Provisioned: f, Division: div, Clock: changed}
	if judged := l.answered(now, &r); !judged.same(l.machine.Judged) {
		e.Judged = &judged
	}
	d := l.decided(now, e)
	if d.Move = true; div != nil {
		d.Unsatisfied = l.unsatisfied(div)
	}
	if r.Policy.Duplicates && len(l.groups) > 0 {
		d.Notices = append(d.Notices, capability.Denial{Code: capability.DuplicatesOff, Detail: groupNames(l.groups)})
	}
	return d, nil
}

// less is the item after copies of it were returned; without copies left it is gone.
func less(i capability.LineItem, copies uint32) capability.LineItem {
	if copies = min(copies, i.Copies); copies == 0 {
		return i
	}
	i.Count -= i.Count / i.Copies * copies
	i.Copies -= copies
	return i
}

func (l *Ledger) giveUp(now Now, c Return) (Decision, error) {
	if err := c.ActivationID.Validate(); err != nil {
		return Decision{}, malformed("activationId", "%v", err)
	}
	switch {
	case c.ID == capability.ReturnID{}:
		return Decision{}, malformed("id", "absent")
	case c.Copies > capability.MaxCount:
		return Decision{}, malformed("copies", "%d where at most %d are allowed", c.Copies, capability.MaxCount)
	case len(c.By) > capability.MaxText:
		return Decision{}, malformed("by", "%d bytes where at most %d are allowed", len(c.By), capability.MaxText)
	}
	refuse := func(code capability.Code, format string, args ...any) (Decision, error) {
		return Decision{}, capability.Refuse(code, string(c.ActivationID), format, args...)
	}
	if i := l.pending(c.ID); i >= 0 {
		t := l.returns[i]
		if t.ActivationID != c.ActivationID || c.Copies != 0 && c.Copies != t.Copies {
			return Decision{}, malformed("id", "names another return: %d copies of %s", t.Copies, t.ActivationID)
		}
		return Decision{Return: t}, nil
	}
	end := l.holdAt(now)
	switch {
	case slices.Contains(l.closed, c.ID):
		return refuse(capability.ErrNothingToReturn, "the back office has acknowledged this very return, or refused it")
	case end != 0:
		return Decision{}, &capability.Refusal{Denial: capability.Denial{Code: capability.ErrHold, Subject: string(c.ActivationID), Until: now.Told(end)}}
	case len(l.returns) >= capability.MaxReturns:
		return refuse(capability.ErrBusy, "%d returns wait for their acknowledgment, and no request carries more", len(l.returns))
	}
	copies, err := l.returnable(c.ActivationID, c.Copies)
	if err != nil {
		return Decision{}, err
	}
	items, _ := l.activation(c.ActivationID)
	d := l.draft(now, nil, "")
	for _, it := range items {
		if d.inTheWay(it, copies) == 0 {
			continue
		}
		rest, used := less(it.LineItem, copies), uint64(d.inUse(it)+d.used(it.slices[inOverdraft]))
		no := capability.Denial{
			Code: capability.ErrInUse, Subject: string(c.ActivationID), Detail: it.Feature,
			Asked: it.Count - rest.Count, Available: clip(int64(it.Count) - d.inUse(it)), Total: it.Count, Used: clip(used),
		}
		no.Until, no.Holders = d.holders(it.slices, capability.HoldersNames, capability.MaxFile)
		return Decision{}, &capability.Refusal{Denial: no}
	}
	left := l.inventory()
	for i := range left {
		if left[i].ActivationID == c.ActivationID {
			left[i] = less(left[i], copies)
		}
	}
	t := capability.Return{ID: c.ID, ActivationID: c.ActivationID, Copies: copies, Epoch: c.Epoch, Time: now.Wall, Serial: l.applied.Serial}
	div := l.division(l.rules(), now, l.dates(now), left)
	dec := l.decided(now, Entry{Returned: &Returned{Return: t, By: c.By}, Division: div})
	if dec.Return, dec.Move = t, true; div != nil {
		dec.Unsatisfied = l.unsatisfied(div)
	}
	return dec, nil
}

// beginsHeld says that the rights of a response begin with a hold: they were given before, to a storage that was lost or to a twin of this one.
func (l *Ledger) beginsHeld(r *capability.Response) bool {
	return l.lost != 0 || !l.provisioned() && r.Hold != 0
}

func (l *Ledger) provisioned() bool { return l.applied.Serial != 0 }

// absent is why there are no rights before the first response.
func (l *Ledger) absent() capability.Code {
	if l.lost != 0 {
		return l.lost
	}
	return capability.ErrNotProvisioned
}

// pending is the place of a return that waits for its acknowledgment, or -1.
func (l *Ledger) pending(id capability.ReturnID) int {
	return slices.IndexFunc(l.returns, func(t capability.Return) bool { return t.ID == id })
}

// activation is every item of an activation ID and the copies behind them.
func (l *Ledger) activation(id capability.ActivationID) (items []*item, copies uint32) {
	for _, it := range l.items {
		if it.ActivationID == id && !it.cut {
			items, copies = append(items, it), max(copies, it.Copies)
		}
	}
	return items, copies
}

func (l *Ledger) prove(now Now, c Prove) (Decision, error) {
	if len(c.Proof) == 0 || len(c.Proof) > capability.MaxEvidence {
		return Decision{}, malformed("proof", "%d bytes where 1 to %d are allowed", len(c.Proof), capability.MaxEvidence)
	}
	i := l.pending(c.ID)
	switch {
	case slices.Contains(l.closed, c.ID) || i >= 0 && l.returns[i].Proof != nil:
		return Decision{}, nil
	case i < 0:
		return Decision{}, capability.Refuse(capability.ErrNothingToReturn, "", "return %x was not made here", c.ID)
	}
	return l.decided(now, Entry{Proved: &Proved{ID: c.ID, Proof: c.Proof}}), nil
}

func (l *Ledger) writeRequest(now Now, c WriteRequest) (Decision, error) {
	switch w := (Written{c.Number, c.Digest}); {
	case len(c.By) > capability.MaxText:
		return Decision{}, malformed("by", "%d bytes where at most %d are allowed", len(c.By), capability.MaxText)
	case slices.Contains(l.written, w):
		return Decision{}, nil
	case c.Epoch < l.epoch:
		return Decision{}, malformed("epoch", "%d where request %d was of epoch %d", c.Epoch, l.number, l.epoch)
	case c.Number != l.number+1:
		return Decision{}, malformed("number", "%d where the next is %d", c.Number, l.number+1)
	default:
		f := &Requested{Written: w, By: c.By, Epoch: c.Epoch}
		if len(c.Shown) > 0 && !slices.Equal(c.Shown, l.namedIn(l.number)) {
			if err := checkShown(c.Shown); err != nil {
				return Decision{}, malformed("shown", "%v", err)
			}
			f.Shown = c.Shown
		}
		return l.decided(now, Entry{Requested: f}), nil
	}
}

func (l *Ledger) drop(now Now, c Drop) (Decision, error) {
	if err := checkBy(c.By); err != nil {
		return Decision{}, err
	}
	held, fresh := false, false
	for _, r := range l.devices[c.Device] {
		for _, s := range r.live(now) {
			if s.slice.item.Feature == c.Feature {
				held, fresh = true, fresh || !s.dropped
			}
		}
	}
	switch {
	case !held:
		return Decision{}, capability.Refuse(capability.ErrNoSuchLease, c.Feature, "%s holds none", c.Device)
	case !fresh:
		return Decision{}, nil
	}
	return l.decided(now, Entry{Dropped: &Dropped{Device: c.Device, Feature: c.Feature, By: c.By}}), nil
}
