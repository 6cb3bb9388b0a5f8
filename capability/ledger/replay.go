package ledger

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// The answer that a device got last is remembered until it gets another, so that a resend counts nothing twice. One before that is remembered a while longer,
// for a request that was still on its way when the next was made. A device that renews at the usual interval has one remembered answer.

// MaxRemembered bounds the remembered answers of one device; the oldest go first. An answer is no longer than a frame.
const MaxRemembered = 8

// remembers is how long an answer is remembered at least, on the lease clock, if not too many follow.
const remembers capability.Seconds = 120

// remembered is an answer that the same request gets again. A request with its correlation ID and another body is refused.
type remembered struct {
	_           struct{} `cbor:",toarray"`
	Correlation capability.CorrelationID
	Body        capability.Digest
	Answer      []byte             // encoded
	Until       capability.Seconds // zero: only as long as it is the last
}

// recall is the answer to a request of that correlation ID, if it is remembered at that moment.
func (r *row) recall(id capability.CorrelationID, now Now) (remembered, bool) {
	if r.last.Correlation == id {
		return r.last, true
	}
	at := slices.IndexFunc(r.earlier, func(m remembered) bool { return m.Correlation == id && m.Until > now.Lease })
	if at < 0 {
		return remembered{}, false
	}
	return r.earlier[at], true
}

// remember makes an answer the last one. What another key was answered is forgotten.
func (l *Ledger) remember(r *row, f *Served) error {
	a := &f.Answer
	if f.Until < 0 || f.Until != 0 && f.Until <= l.now.Lease {
		return corrupt("an answer remembered until %d, and it is %d", f.Until, l.now.Lease)
	}
	over := func(m remembered) bool { return m.Until <= l.now.Lease || r.key != a.Key }
	r.earlier = slices.DeleteFunc(r.earlier, over)
	if !over(r.last) {
		// In its place, since a busy device has as many as it may at every request.
		r.earlier = append(slices.Delete(r.earlier, 0, max(0, len(r.earlier)-(MaxRemembered-2))), r.last)
	}
	if len(r.earlier) < cap(r.earlier)/4 {
		r.earlier = append([]remembered(nil), r.earlier...)
	}
	if slices.ContainsFunc(r.earlier, func(m remembered) bool { return m.Correlation == a.Correlation }) {
		return corrupt("correlation %x of %s is there twice", a.Correlation[:4], a.For)
	}
	r.key, r.last = a.Key, remembered{Correlation: a.Correlation, Body: f.Body, Answer: l.codec.Encode(a), Until: f.Until}
	return nil
}

// checkRemembered looks at every remembered answer of a device, the oldest first.
func (l *Ledger) checkRemembered(r *row) error {
	if len(r.earlier) >= MaxRemembered {
		return corrupt("device %s: %d answers are remembered", r.id, len(r.earlier)+1)
	}
	var serial uint64
	seen := map[capability.CorrelationID]bool{}
	for i, m := range append(slices.Clip(r.earlier), r.last) {
		var a capability.Response
		if err := l.codec.Decode(m.Answer, &a, MaxEntry); err != nil {
			return corrupt("device %s: remembered answer: %w", r.id, err)
		}
		last := i == len(r.earlier)
		switch {
		case a.For != r.id || a.Key != r.key || a.Correlation != m.Correlation || last && a.Serial != r.serial:
			return corrupt("device %s: the remembered answer is %d to %x, for %s", r.id, a.Serial, a.Correlation[:4], a.For)
		case seen[m.Correlation] || a.Serial <= serial || m.Until <= 0 && !last:
			return corrupt("device %s: the answer to %x is remembered twice, or after a later one, or for no time", r.id, m.Correlation[:4])
		}
		seen[m.Correlation], serial = true, a.Serial
	}
	return nil
}
