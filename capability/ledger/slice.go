package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
)

// Source says of which part of its item a lease is. The zero value is the default pool.
type Source struct {
	Pool      string `cbor:"1,keyasint,omitzero" json:"pool,omitempty"`      // a named license pool
	Entry     uint64 `cbor:"2,keyasint,omitzero" json:"entry,omitempty"`     // ID of a reservation entry
	Overdraft bool   `cbor:"3,keyasint,omitzero" json:"overdraft,omitempty"` // above the count, as far as the producer allows
}

func (s Source) String() string {
	switch {
	case s.Overdraft:
		return "overdraft"
	case s.Entry != 0:
		return fmt.Sprintf("reservation %d", s.Entry)
	case s.Pool != "":
		return s.Pool
	}
	return model.DefaultPool
}

func compareSources(a, b Source) int {
	return cmp.Or(compareBool(a.Overdraft, b.Overdraft), cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.Pool, b.Pool))
}

// slice is the part of an item that one source holds. Together the slices of an item are its count; the overdraft is beside it.
//
// A share holds less than was computed for it (a deficit) while leases of the default pool are in the way. What comes back to the default pool fills deficits.
type slice struct {
	item     *item
	source   Source
	count    uint64
	computed uint64 // of a share: what the division gave it
	used     uint64
	leases   queue[*lease]
	at       int
}

func (a *slice) before(b *slice) bool { return a.leases[0].before(b.leases[0]) }

//lint:ignore U1000 queue calls it, through its constraint
func (a *slice) place(at int) { a.at = at }

// The first two slices of every item; the shares follow.
const (
	inDefault = iota
	inOverdraft
	firstShare
)

func newItem(i capability.LineItem) *item {
	it := &item{LineItem: i}
	it.slices = []*slice{{item: it}, {item: it, source: Source{Overdraft: true}}}
	return it
}

// slice is the slice of that source, or nil.
func (it *item) slice(s Source) *slice {
	for _, sl := range it.slices {
		if sl.source == s {
			return sl
		}
	}
	return nil
}

func (it *item) shares() []*slice { return it.slices[firstShare:] }

// recount gives the default pool what the shares leave.
func (it *item) recount() {
	rest := uint64(it.Count)
	for _, s := range it.shares() {
		rest -= s.count
	}
	it.slices[inDefault].count = rest
	it.slices[inOverdraft].count = uint64(it.Overdraft)
}

// book adds a lease to its slice; the caller adds it to its row.
func (l *Ledger) book(s *lease) {
	sl := s.slice
	l.leases++
	l.count(s, sl.used+uint64(s.count))
	sl.leases.push(s)
	if len(sl.leases) == 1 {
		l.ends.push(sl)
	} else {
		l.ends.fix(sl.at)
	}
	l.step()
}

// unbook takes a lease from its slice; the caller takes it from its row, and forgets a cut item that nobody holds any more.
func (l *Ledger) unbook(s *lease) {
	sl := s.slice
	l.leases--
	l.count(s, sl.used-uint64(s.count))
	if len(sl.leases) == 1 {
		l.ends.remove(sl.at)
		sl.leases.remove(s.at)
	} else {
		sl.leases.remove(s.at)
		l.ends.fix(sl.at)
	}
	l.step()
}

// count sets what is used of the slice of a lease, and with it the sums of its item and user.
func (l *Ledger) count(s *lease, used uint64) {
	it, change := s.slice.item, used-s.slice.used // modulo 2^64: both directions add up
	l.countItem(it, change)
	if s.slice.source.Overdraft {
		l.overdrawn += compareBool(used > 0, s.slice.used > 0)
	} else {
		it.used += change
	}
	s.slice.used = used
	if user := s.row.who.User; user != "" {
		l.countUser(user, it, change)
		k := held{user, it}
		if l.users[k] += change; l.users[k] == 0 {
			delete(l.users, k)
		}
	}
}

// idle says that nobody holds anything of the item.
func (it *item) idle() bool { return it.used == 0 && it.slices[inOverdraft].used == 0 }

// rebook moves a lease to another slice of its item. The caller puts its row in order again.
func (l *Ledger) rebook(s *lease, to *slice) {
	l.unbook(s)
	s.slice = to
	l.book(s)
}

// split takes all but n units of a lease out as a lease of its own, in the same slice. The caller puts its row in order again.
func (l *Ledger) split(s *lease, n uint32) *lease {
	rest := *s
	rest.count -= n
	l.unbook(s)
	s.count = n
	l.book(s)
	l.book(&rest)
	s.row.leases = append(s.row.leases, &rest)
	return &rest
}

// order sorts the leases of a row; those that have become alike become one.
func (l *Ledger) order(r *row) {
	slices.SortStableFunc(r.leases, func(a, b *lease) int { return compareLeases(a.lease(), b.lease()) })
	out := r.leases[:0]
	for _, s := range r.leases {
		if n := len(out); n > 0 && compareLeases(out[n-1].lease(), s.lease()) == 0 {
			first := out[n-1]
			l.unbook(s)
			l.count(first, first.slice.used+uint64(s.count))
			first.count += s.count
			first.told = min(first.told, s.told)
			continue
		}
		out = append(out, s)
	}
	clear(r.leases[len(out):])
	r.leases = out
}
