package ledger

import (
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
)

// draw goes through the sources and takes, or only counts, up to need units. Shared counts are left to those who wait ahead, but for what the device had before.
// limited says that a limit of the model, and nothing else, was in the way. In a hold each unit is of a version of which the receipt proves one.
func (s *serving) draw(sources []*slice, need, ahead uint64, take bool) (got uint64, limited bool) {
	left := make([]uint64, len(s.limits))
	for i := range s.limits {
		left[i] = s.limits[i].left
	}
	free, rights := s.frees(sources), s.rights
	if !take {
		rights = slices.Clone(rights)
	}
	shared := s.shared(sources, free, ahead)
	for i, sl := range sources {
		n := min(need-got, free[i])
		if sl.source.Entry == 0 {
			n = min(n, shared)
		}
		want := n
		for i := range s.limits {
			if s.limits[i].covers(sl.item) {
				n = min(n, left[i])
			}
		}
		limited = limited || n < want
		if s.hold != 0 {
			n = s.spend(rights, sl.item, n)
		}
		if n == 0 {
			continue
		}
		for i := range s.limits {
			if s.limits[i].covers(sl.item) {
				left[i] -= n
			}
		}
		if sl.source.Entry == 0 {
			shared -= n
		}
		got += n
		if take {
			s.take(sl, clip(n), s.end(sl.item))
		}
	}
	if take {
		for i := range s.limits {
			s.limits[i].left = left[i]
		}
	}
	return got, limited
}

// limit is a limit of the model with what it leaves to this request.
type limit struct {
	model.Limit
	left uint64
}

func (m limit) covers(it *item) bool {
	return it.Feature == m.Feature && it.Version.Compare(m.Version) >= 0
}

// limitsOf is the limits on the way of the request. What other devices of the user hold counts against a limit per user.
func (s *serving) limitsOf() (out []limit) {
	for _, m := range s.route.Limits {
		n := limit{Limit: m, left: uint64(m.Count)}
		if m.Per == model.PerUser && s.req.User != "" {
			for _, it := range s.l.features[m.Feature] {
				if n.covers(it) {
					n.left -= min(n.left, s.l.users[held{s.req.User, it}]-uint64(s.mine[it])-s.own(it))
				}
			}
		}
		out = append(out, n)
	}
	return out
}

// own is what the device itself held of the item under the same user.
func (s *serving) own(it *item) (n uint64) {
	if s.row == nil || s.row.who.User != s.req.User {
		return 0
	}
	for _, h := range s.held {
		if h.slice.item == it {
			n += uint64(h.count)
		}
	}
	return n
}

// sources is every slice that may serve the line now: what is reserved for the device and the user, the pools in their order, the overdraft. In each, items in
// serving order: the requested version first, then higher ones, then non-grace, then shorter expiry, then ID.
func (s *serving) sources(w want) (out []*slice) {
	fitting := s.fitting(w)
	out = make([]*slice, 0, 2*len(fitting)) // for most: of the default pool, and of the overdraft
	add := func(src Source) {
		for _, it := range fitting {
			if sl := it.slice(src); sl != nil {
				out = append(out, sl)
			}
		}
	}
	for _, e := range s.entries {
		if e.Feature == w.Feature && (w.entry == 0 || w.entry == e.ID) {
			add(Source{Entry: e.ID})
		}
	}
	if w.entry != 0 {
		return out
	}
	for _, pool := range s.route.Pools {
		if pool == model.DefaultPool {
			pool = ""
		}
		add(Source{Pool: pool})
	}
	if s.route.Default {
		add(Source{Overdraft: true})
	}
	return out
}

// fitting is every item that may serve the line now, in serving order.
func (s *serving) fitting(w want) (out []*item) {
	for _, it := range s.l.features[w.Feature] {
		if it.Version.Compare(w.Version) >= 0 && it.dated(s.l.dates(s.now)) == Usable && it.serves(s.req.User) && selects(it.Selectors, w.Selectors) && (it.Metered || s.req.Operation != capability.Report) {
			out = append(out, it)
		}
	}
	return out
}

// serves says that the item is not assigned to another user. Who asks is whom it says it is.
func (i *item) serves(user string) bool { return i.User == "" || i.User == user }

// selects says that the item has every pair that the line names.
func selects(have, want []capability.Pair) bool {
	for _, p := range want {
		if !slices.Contains(have, p) {
			return false
		}
	}
	return true
}

// end is when a lease of the item that begins now ends: after the client's interval if that is smaller than the item's, or the policy's where the
// item has none; never above what the producer or an administrator allows; rounded up; never past the deadline of a drain, but for a plain lease; and
// never past the item's expiry. What is metered has no end.
func (s *serving) end(it *item) capability.Seconds {
	if it.Metered {
		return forever
	}
	length := s.policy.Lease
	if it.Borrow > 0 {
		length = it.Borrow
	}
	for _, other := range []capability.Seconds{s.req.Borrow, s.policy.BorrowMaximum, s.l.interval(BorrowMaximum)} {
		if other > 0 {
			length = min(length, other)
		}
	}
	g := Granularity(s.policy.Granularity)
	if s.req.Granularity != 0 {
		g = Granularity(s.req.Granularity)
	}
	end := g.end(s.now.Wall.Add(length), s.l.Zone())
	if dr := s.l.drainOf(it.ActivationID); dr != nil && s.now.Wall < dr.Deadline {
		end = min(end, max(dr.Deadline, s.now.Wall.Add(s.policy.Lease)))
	}
	if it.Expiry != 0 {
		end = min(end, it.Expiry.Add(-s.l.clock.Ahead))
	}
	return s.now.Lease + capability.Seconds(end-s.now.Wall)
}
