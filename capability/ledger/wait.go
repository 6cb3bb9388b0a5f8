package ledger

import (
	"cmp"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A line that asks to wait and is refused for want of a seat puts its device into the queue of the feature. Shared counts that come free go to those who wait
// longest: to others only what is left after them, and to everybody what he had before. A place is lost when its device does not ask again in time.

// The limits of the queues.
const (
	MaxWaiting                    = 1024 // places in all queues: a longer queue tells nobody anything
	waitFor    capability.Seconds = 120  // until the device must have asked again
)

// Wait is a place in the queue of a feature.
type Wait struct {
	Feature string             `cbor:"1,keyasint,omitzero"`
	Count   uint32             `cbor:"2,keyasint,omitzero"`
	Since   uint64             `cbor:"3,keyasint,omitzero"` // position of the entry with which the waiting began
	Until   capability.Seconds `cbor:"4,keyasint,omitzero"`
	Pools   []string           `cbor:"5,keyasint,omitempty"` // that the request draws on
}

type wait struct {
	Wait
	row *row
}

// queueFor is those who wait for the feature at that moment, the longest first.
func (l *Ledger) queueFor(feature string, now Now) (out []*wait) {
	for _, w := range l.waiting {
		if w.Feature == feature && w.Until > now.Lease {
			out = append(out, w)
		}
	}
	return out
}

// place is the place of the device in the queue, if it waits.
func (s *serving) place(feature string) *wait {
	if s.row == nil {
		return nil
	}
	for _, w := range s.row.waits {
		if w.Feature == feature && w.Until > s.now.Lease {
			return w
		}
	}
	return nil
}

// waitingBefore is those who wait for the feature ahead of this device and draw on a pool that it draws on too.
func (s *serving) waitingBefore(feature string) (out []*wait) {
	mine := s.place(feature)
	for _, w := range s.l.queueFor(feature, s.now) {
		if w.row == s.row && s.row != nil || mine != nil && w.Since > mine.Since {
			continue
		}
		if slices.ContainsFunc(w.Pools, func(p string) bool { return slices.Contains(s.route.Pools, p) }) {
			out = append(out, w)
		}
	}
	return out
}

// ahead is how many units those ahead wait for.
func (s *serving) ahead(feature string) (n uint64) {
	for _, w := range s.waitingBefore(feature) {
		n += uint64(w.Count)
	}
	return n
}

// shared is how much of the shared sources, which have so much free, the request may take: what those ahead leave, but at least what the device had of them.
func (s *serving) shared(sources []*slice, frees []uint64, ahead uint64) uint64 {
	var free, had uint64
	for i, sl := range sources {
		if sl.source.Entry != 0 {
			continue
		}
		free += frees[i]
		for _, h := range s.held {
			if h.slice == sl {
				had += uint64(h.count)
			}
		}
		for _, g := range s.grants {
			if g.slice == sl {
				had -= min(had, uint64(g.count))
			}
		}
	}
	return max(free-min(free, ahead), min(free, had))
}

// enqueue gives a refused line a place, if it wants one, and says which it is.
func (s *serving) enqueue(w want, no *capability.Denial) {
	if !w.Wait || no.Code != capability.ErrNoSeat && no.Code != capability.ErrOverage || len(s.route.Pools) == 0 {
		return
	}
	if slices.ContainsFunc(s.waits, func(o Wait) bool { return o.Feature == w.Feature }) {
		return
	}
	before := s.waitingBefore(w.Feature)
	place := Wait{Feature: w.Feature, Count: w.Count, Since: s.l.position + 1, Until: s.now.Lease + waitFor, Pools: slices.Clone(s.route.Pools)}
	if mine := s.place(w.Feature); mine != nil {
		place.Since = mine.Since
	} else if len(s.l.waiting) >= MaxWaiting {
		return
	}
	no.Position = uint32(len(before)) + 1
	s.waits = append(s.waits, place)
}

// applyWaits gives a device these places and no others.
func (l *Ledger) applyWaits(r *row, waits []Wait) error {
	for _, w := range r.waits {
		l.unwait(w)
	}
	r.waits = nil
	for _, n := range waits {
		if n.Count == 0 || n.Since == 0 || n.Since > l.position+1 || n.Until <= l.now.Lease || len(n.Pools) == 0 || n.Feature == "" {
			return corrupt("a wait for %d of %q since %d until %d", n.Count, n.Feature, n.Since, n.Until)
		}
		l.wait(&wait{n, r})
	}
	return nil
}

func (l *Ledger) wait(w *wait) {
	at, _ := slices.BinarySearchFunc(l.waiting, w, compareWaits)
	l.waiting = slices.Insert(l.waiting, at, w)
	w.row.waits = append(w.row.waits, w)
}

func compareWaits(a, b *wait) int {
	return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.row.sequence, b.row.sequence), cmp.Compare(a.Feature, b.Feature))
}

// unwait takes a place out of its queue; the caller takes it from its row.
func (l *Ledger) unwait(w *wait) {
	l.waiting = slices.DeleteFunc(l.waiting, func(o *wait) bool { return o == w })
}

// endWaits ends the places that were not asked for again in time.
func (l *Ledger) endWaits() {
	for _, w := range slices.Clone(l.waiting) {
		if w.Until <= l.now.Lease {
			w.row.waits = slices.DeleteFunc(w.row.waits, func(o *wait) bool { return o == w })
			l.unwait(w)
		}
	}
}

// Waiting is a place in a queue as people see it.
type Waiting struct {
	Feature  string
	Position int
	Device   hostid.ID
	Name     string
	Count    uint32
	Until    capability.Seconds // on the lease clock, if it does not ask again
}

// Queue is everybody who waits for the feature, the longest first.
func (l *Ledger) Queue(feature string, now Now) (out []Waiting) {
	for i, w := range l.queueFor(feature, now) {
		out = append(out, Waiting{Feature: feature, Position: i + 1, Device: w.row.id, Name: w.row.name(), Count: w.Count, Until: w.Until})
	}
	return out
}

// DisconnectIdle drops every lease of devices that nobody has used for so long: they are not renewed, and run out (DRAINING). At most MaxDisconnected at a time.
type DisconnectIdle struct {
	After   capability.Seconds
	Feature string // empty: all
	By      string
}

// MaxDisconnected bounds the entries of one DisconnectIdle; the same command again takes the next ones.
const MaxDisconnected = 256

func (DisconnectIdle) command() {}

func (l *Ledger) disconnectIdle(now Now, c DisconnectIdle) (Decision, error) {
	if err := checkBy(c.By); err != nil {
		return Decision{}, err
	}
	if c.After <= 0 {
		return Decision{}, malformed("after", "%d seconds", c.After)
	}
	var out []Entry
	for _, r := range l.rows {
		if now.Lease-r.active < c.After {
			continue
		}
		for _, s := range r.live(now) {
			name := s.slice.item.Feature
			same := func(e Entry) bool { return e.Dropped.Device == r.id && e.Dropped.Feature == name }
			if s.dropped || s.end == forever || c.Feature != "" && name != c.Feature || slices.ContainsFunc(out, same) {
				continue
			}
			if len(out) < MaxDisconnected {
				out = append(out, Entry{Dropped: &Dropped{Device: r.id, Feature: name, By: c.By}})
			}
		}
	}
	return l.decided(now, out...), nil
}
