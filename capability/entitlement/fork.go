package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Requests are numbered without gaps, each names all since the last response it applied, and each names the end of its machine's audit trail. So one machine
// has one history: a number with two digests, an answered request that a later one does not know, or an audit trail that shrank or changed is a copy of the
// machine or of its storage. A late file is neither: its digest is known. Nor are two requests after one response: the second names the first.

// ForkPolicy is what happens to the second of two histories of one machine.
type ForkPolicy uint8

const (
	RefuseForks ForkPolicy = 0
	WarnForks   ForkPolicy = 1 // the history that is ahead is answered, with a warning; the one behind is refused
)

func (p ForkPolicy) String() string {
	if p == WarnForks {
		return "warn"
	}
	return "refuse"
}

// MarshalText makes JSON show the name.
func (p ForkPolicy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// ParseForkPolicy reads a name.
func ParseForkPolicy(s string) (ForkPolicy, error) {
	for p := RefuseForks; p <= WarnForks; p++ {
		if s == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%q is no policy for forks: want warn or refuse", s)
}

// Forked says whether two histories of this machine have sent requests.
func (h *Host) Forked() bool {
	return slices.ContainsFunc(h.Incidents, func(i Incident) bool { return i.Code == capability.ErrFork })
}

// dispute is what a request says against the record.
type dispute struct {
	*capability.Refusal
	against capability.Digest // the answered request whose file says otherwise
	ahead   bool              // no request of the machine is newer, so that a policy may have it answered
	foreign bool              // a response that is none of this book's explains it
	advice  string            // to the operator, and not to the machine
}

// told is what the operator hears.
func (q *dispute) told() *capability.Refusal {
	d := q.Denial
	d.Detail += q.advice
	return &capability.Refusal{Denial: d}
}

// history compares what a request says of its machine's past with what is on record, and gives the earlier requests that it is the first to name.
func history(h *Host, c *Answer) ([]Known, *dispute) {
	if q := behind(h, c); q != nil {
		return nil, q
	}
	r, subject := c.Request, h.Host.Short()
	var named []Known
	var found *dispute
	fork := func(against capability.Digest, format string, args ...any) {
		if found == nil {
			found = &dispute{Refusal: capability.Refuse(capability.ErrFork, subject, format, args...), against: against, ahead: true, foreign: h.foreign(r)}
		}
	}
	first := r.Number - uint64(len(r.Outstanding))
	for i, d := range r.Outstanding {
		if _, known := h.known(first + uint64(i)); !known {
			named = append(named, Known{Number: first + uint64(i), Digest: d})
		}
	}
	if q := h.contradiction(r); q != nil {
		found = q
	}
	if c.foreign == nil && h.Answered > 0 && r.Applied < h.Serial && first > h.Answered && len(r.Outstanding) < capability.MaxOutstanding {
		fork(h.witness(h.Answered), "request %d was answered, and this request %d does not know of it", h.Answered, r.Number)
	}
	if k, ok := h.bySerial(r.Applied); c.foreign == nil && ok && r.BookHead != (capability.Digest{}) && k.Head != r.BookHead {
		fork(k.Digest, "response %d named the book's head %.8x, this request says %.8x", r.Applied, k.Head[:], r.BookHead[:])
	}
	if q := h.audit(r.Number, checkpoint(r)); q != nil && found == nil {
		found = q
	}
	return named, found
}

// behind says why a request cannot be answered under any policy: it is another machine's, the machine has gone on since, or the book itself is older than it.
func behind(h *Host, c *Answer) *dispute {
	r, subject := c.Request, h.Host.Short()
	no := func(code capability.Code, against capability.Digest, format string, args ...any) *dispute {
		return &dispute{Refusal: capability.Refuse(code, subject, format, args...), against: against}
	}
	last := h.witness(h.Answered)
	own, isKnown := h.known(r.Number)
	switch {
	case string(h.AKName) != string(c.Identity.AKName):
		return no(capability.ErrHostKey, last, "on record with key %.8x, this request is signed by %.8x", tail(h.AKName), tail(c.Identity.AKName))
	case isKnown && own.Digest != c.Digest:
		return no(capability.ErrFork, h.witness(r.Number), "number %d is on record with digest %.8x, this one is %.8x", r.Number, own.Digest[:], c.Digest[:])
	case isKnown:
		return no(capability.ErrOlderRequest, last, "this is request %d, request %d was answered", r.Number, h.Answered)
	case r.Number <= h.Answered:
		return no(capability.ErrFork, last, "request %d was answered, and it did not know of this request %d", h.Answered, r.Number)
	case r.Applied > h.Serial && c.foreign == nil:
		q := no(capability.ErrFork, last, "it has applied response %d, and the last one in this book is %d: the book may be an older copy", r.Applied, h.Serial)
		q.foreign = true
		return q
	case r.Epoch < h.Epoch: // whatever the machine says of its storage: a counter that was made anew begins above all that it was
		if q := h.contradiction(r); q != nil {
			q.ahead = false
			return q
		}
		return no(capability.ErrRollbackSuspect, last, "request %d is of epoch %d, request %d was of epoch %d", r.Number, r.Epoch, h.Answered, h.Epoch)
	}
	if q := h.audit(r.Number, checkpoint(r)); q != nil && !q.ahead {
		return q
	}
	return nil
}

// contradiction is the first request that the sender wrote since its newest response under a number that is on record for another.
func (h *Host) contradiction(r *capability.Request) *dispute {
	first := r.Number - uint64(len(r.Outstanding))
	for i, d := range r.Outstanding {
		n := first + uint64(i)
		if k, ok := h.known(n); ok && k.Digest != d {
			return &dispute{
				Refusal: capability.Refuse(capability.ErrFork, h.Host.Short(), "number %d is on record with digest %.8x, request %d knows it as %.8x", n, k.Digest[:], r.Number, d[:]),
				against: h.witness(n), ahead: true,
			}
		}
	}
	return nil
}

// checkpoint is the end of the sender's audit trail; zero where the request names none.
func checkpoint(r *capability.Request) capability.Head {
	if r.Head.Position == 0 {
		return capability.Head{}
	}
	return r.Head
}

// audit compares the checkpoint of a request with the newest of its life. Older ones need no look: checkpoints on record do not contradict each other.
func (h *Host) audit(number uint64, at capability.Head) *dispute {
	i := len(h.Requests) - 1
	for ; i >= 0 && h.Requests[i].Audit.Position == 0; i-- {
	}
	if i < 0 {
		return nil
	}
	k := &h.Requests[i]
	fork := func(ahead bool, format string, args ...any) *dispute {
		return &dispute{Refusal: capability.Refuse(capability.ErrFork, h.Host.Short(), format, args...), against: k.Digest, ahead: ahead}
	}
	switch {
	case at.Position < k.Audit.Position:
		return fork(false, "request %d named %d audit entries, this request %d names %d", k.Number, k.Audit.Position, number, at.Position)
	case at.Position == k.Audit.Position && at.Hash != k.Audit.Hash:
		return fork(true, "audit entry %d has the hash %.8x in request %d, and %.8x in this request %d", at.Position, k.Audit.Hash[:], k.Number, at.Hash[:], number)
	}
	return nil
}

// Audit is the newest checkpoint of the running life, and the number of the request that named it; zero where none did.
func (h *Host) Audit() (at capability.Head, number uint64) {
	for _, k := range h.Requests {
		if k.Audit.Position != 0 {
			at, number = k.Audit, k.Number
		}
	}
	return at, number
}

// witness is the first answered request from that number on: that one itself, or the one that named it.
func (h *Host) witness(number uint64) capability.Digest {
	for _, k := range h.Requests {
		if k.Number >= number && k.Serial != 0 {
			return k.Digest
		}
	}
	return capability.Digest{}
}

// tail drops the two bytes of a Name that only say the hash algorithm.
func tail(name []byte) []byte { return name[min(2, len(name)):] }

// incident keeps a disputed request on record, once. An older request is innocent, and what an unknown host did wrong is nobody's history.
func (b *Book) incident(now capability.Time, c *Answer, h *Host, q *dispute) *Decision {
	known, repairs := false, 0
	for _, i := range h.Incidents {
		known = known || i.Digest == c.Digest
		if i.Code == capability.ErrRepair || i.Code == capability.ErrSpent {
			repairs++
		}
	}
	full := len(h.Incidents) >= MaxIncidents || (q.Code == capability.ErrRepair || q.Code == capability.ErrSpent) && repairs >= maxRepairIncidents
	if q.Code == capability.ErrOlderRequest || known || full || b.byKey[h.Host] == nil {
		return nil
	}
	e := b.entry(now, c.By)
	e.Incident = &Incident{Host: h.Host, Code: q.Code, Number: c.Request.Number, Digest: c.Digest, Detail: q.Detail, Time: now, Against: q.against}
	return &Decision{Entries: []*Entry{e}}
}

// warn puts the record of the dispute before the answer, in one group with it.
func (b *Book) warn(now capability.Time, c *Answer, h *Host, q *dispute, d *Decision) {
	a := d.Answered()
	d.Warning, a.Request.Fork = q.Refusal, true
	alarm := Incident{Host: h.Host, Code: q.Code, Number: c.Request.Number, Detail: q.Detail, Time: now}
	d.Response.Denials = deny(d.Response.Denials, &capability.Refusal{Denial: alarm.alarm()})
	record(&d.Host, a)
	i := b.incident(now, c, h, q)
	if i == nil {
		return
	}
	e := i.Entries[0]
	e.Incident.Warned = true
	d.Host.Incidents = append(d.Host.Incidents, *e.Incident)
	d.Entries[0].Before = e.Hash(b.codec)
	d.Entries = append(i.Entries, d.Entries...)
}
