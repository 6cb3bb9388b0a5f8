package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/hostid"
)

// slow is the grant algorithm once more, as plainly as it can be written: over lists that are searched from end to end, made from what the
// views show, with nothing of the draft, the indexes and the queues of the ledger. It knows neither holds nor missing dongles nor the queue of a feature.
type slow struct {
	now    Now
	clock  Clock
	parts  []*part
	limits []model.Limit
	mine   map[*part]uint64 // what the device held before
	others map[string]uint64
	got    map[*part]uint64
}

// part is a slice of an item.
type part struct {
	item                  capability.LineItem
	source                Source
	count, computed, used uint64
	cut                   bool
}

// answer is what the slow way gives: status and count of each line, and what the device holds, unless a refusal makes it keep something.
type slowAnswer struct {
	lines   []string
	holds   map[string]uint64
	refused bool
}

func slowServe(l *Ledger, now Now, s *Serve) (slowAnswer, bool) {
	r := &s.Request
	if len(l.drains) > 0 || l.renewsOnly() || l.Status(now).Hold != 0 || r.Operation != capability.Grant || r.Idle != 0 || !l.Status(now).Provisioned {
		return slowAnswer{}, false
	}
	x := slow{now: now, clock: l.Status(now).Clock, mine: map[*part]uint64{}, got: map[*part]uint64{}, others: map[string]uint64{}}
	items := map[capability.ItemID]Item{}
	for _, it := range l.Items(now) {
		items[it.ID()] = it
	}
	for _, sl := range l.Slices() {
		if len(l.Queue(sl.Item.Feature, now)) > 0 {
			return slowAnswer{}, false
		}
		it := items[sl.Item]
		if sl.Source == (Source{}) && it.Uncounted {
			sl.Count = 1 << 40
		}
		x.parts = append(x.parts, &part{item: it.LineItem, source: sl.Source, count: sl.Count, computed: sl.Computed, cut: it.Cut})
	}
	for _, d := range l.Devices(now) {
		for _, h := range d.Holdings {
			p := x.part(h.Item, h.Source)
			p.used += uint64(h.Count)
			if d.ID == r.Hosts[0] && d.Key != s.Key {
				return slowAnswer{}, false
			}
			if d.ID == r.Hosts[0] {
				x.mine[p] += uint64(h.Count)
				if h.Dropped {
					return slowAnswer{}, false
				}
			} else if r.User != "" && d.Who.User == r.User {
				x.others[h.Item.String()] += uint64(h.Count)
			}
		}
	}
	for p, n := range x.mine {
		p.used -= n
	}
	m, _ := l.Model()
	route := m.Route(model.Facts{Hosts: r.Hosts, User: r.User, Alias: r.Alias, DeviceType: r.DeviceType, Dictionary: r.Dictionary})
	var own []Source
	_, entries := l.Reservations()
	for _, host := range []hostid.ID{r.Hosts[0], {Type: hostid.User, Value: r.User}} {
		for _, e := range entries {
			if e.Host == host {
				own = append(own, Source{Entry: e.ID})
			}
		}
	}
	x.limits = route.Limits
	if !route.Accept || l.unbound(now) { // then it is granted nothing, and may give back
		return slowAnswer{}, false
	}
	reach := slices.Clone(own)
	for _, p := range route.Pools {
		if p == model.DefaultPool {
			p = ""
		}
		reach = append(reach, Source{Pool: p})
	}
	if route.Default {
		reach = append(reach, Source{Overdraft: true})
	}
	for id := range items {
		x.settle(id, reach)
	}

	type line struct {
		capability.Desired
		only *Source
	}
	var lines []line
	for _, w := range r.Desired {
		lines = append(lines, line{w, nil})
	}
	if len(lines) == 0 {
		for _, src := range own {
			i := slices.IndexFunc(entries, func(e EntryView) bool { return e.ID == src.Entry })
			e := entries[i]
			lines = append(lines, line{capability.Desired{Feature: e.Feature, Version: e.Version, Count: e.Count, Partial: true}, &src})
		}
		for _, w := range l.model.Distribute(l.divided, dates{until: l.divided.Add(l.dividedAhead), from: l.divided}.unexpired(l.inventory())).Given().Lines(route.Spec) {
			lines = append(lines, line{w, nil})
		}
	}
	var a slowAnswer
	for _, w := range lines {
		sources := reach
		if w.only != nil {
			sources = []Source{*w.only}
		}
		text := fmt.Sprintf("%s %d", capability.LineOK, w.Count)
		if w.Count > 0 {
			had := maps.Clone(x.got)
			n := x.draw(w.Desired, sources)
			switch {
			case n == w.Count:
			case w.Partial:
				text = fmt.Sprintf("%s %d", capability.LinePartial, n)
			default:
				x.got, a.refused = had, true
				text = fmt.Sprintf("%s 0", capability.LineInsufficient)
			}
		}
		if len(r.Desired) > 0 {
			a.lines = append(a.lines, text)
		}
	}
	for p, n := range x.mine {
		if p.item.Metered && !p.item.Reusable {
			x.got[p] = max(x.got[p], n)
		}
	}
	a.holds = map[string]uint64{}
	for p, n := range x.got {
		if n > 0 {
			a.holds[p.item.ID().String()+"@"+p.source.String()] = n
		}
	}
	return a, true
}

func (x *slow) part(id capability.ItemID, src Source) *part {
	for _, p := range x.parts {
		if p.item.ID() == id && p.source == src {
			return p
		}
	}
	return nil
}

// settle puts the counts of one item where they belong.
func (x *slow) settle(id capability.ItemID, reach []Source) {
	rest := x.part(id, Source{})
	var shares []*part
	for _, p := range x.parts {
		if p.item.ID() == id && !p.source.Overdraft && p != rest {
			shares = append(shares, p)
		}
	}
	for i := len(shares) - 1; i >= 0; i-- {
		for rest.used > rest.count && shares[i].count > shares[i].used {
			shares[i].count--
			rest.count++
		}
	}
	for _, wanted := range []bool{true, false} {
		for _, p := range shares {
			for slices.Contains(reach, p.source) == wanted && p.count < p.computed && rest.count > rest.used {
				p.count++
				rest.count--
			}
		}
	}
}

// draw takes one unit after the other until the line has enough, or nothing is left for it.
func (x *slow) draw(w capability.Desired, sources []Source) (n uint32) {
	var usable []*part
	for _, src := range sources {
		var here []*part
		for _, p := range x.parts {
			i := p.item
			dated := inDates(x.clock, x.now.Wall, i)
			if p.source == src && i.Feature == w.Feature && i.Version.Compare(w.Version) >= 0 && !p.cut && dated && !x.over(i.ID()) {
				here = append(here, p)
			}
		}
		slices.SortStableFunc(here, func(a, b *part) int {
			end := func(p *part) uint64 { return uint64(p.item.Expiry) - 1 }
			return cmp.Or(a.item.Version.Compare(b.item.Version), compareBool(a.item.Grace, b.item.Grace), cmp.Compare(end(a), end(b)), cmp.Compare(a.item.ActivationID, b.item.ActivationID))
		})
		usable = append(usable, here...)
	}
	for _, p := range usable {
		room := p.count - min(p.count, p.used+x.got[p])
		for _, m := range x.limits {
			if m.Feature == w.Feature && p.item.Version.Compare(m.Version) >= 0 {
				room = min(room, uint64(m.Count)-min(uint64(m.Count), x.against(m)))
			}
		}
		t := min(room, uint64(w.Count-n))
		x.got[p] += t
		n += uint32(t)
	}
	return n
}

// against is what counts against a limit.
func (x *slow) against(m model.Limit) (n uint64) {
	for _, p := range x.parts {
		if p.item.Feature == m.Feature && p.item.Version.Compare(m.Version) >= 0 {
			n += x.got[p]
		}
	}
	if m.Per == model.PerUser {
		seen := map[string]bool{}
		for _, p := range x.parts {
			if id := p.item.ID().String(); p.item.Feature == m.Feature && p.item.Version.Compare(m.Version) >= 0 && !seen[id] {
				seen[id] = true
				n += x.others[id]
			}
		}
	}
	return n
}

func (x *slow) over(id capability.ItemID) bool {
	var used, count uint64
	for _, p := range x.parts {
		if p.item.ID() == id && !p.source.Overdraft {
			used += p.used
			count = uint64(p.item.Count)
			if p.item.Uncounted {
				return false
			}
		}
	}
	return used > count
}

// agrees compares a decided answer with the slow one.
func (a slowAnswer) agrees(r *capability.Response, after Device) error {
	if r.Status == capability.StatusUnchanged {
		return nil
	}
	var lines []string
	for _, l := range r.Lines {
		lines = append(lines, fmt.Sprintf("%s %d", l.Status, l.Count))
	}
	if !slices.Equal(lines, a.lines) {
		return fmt.Errorf("lines %v, and the slow way says %v", lines, a.lines)
	}
	if a.refused {
		return nil
	}
	holds := map[string]uint64{}
	for _, h := range after.Holdings {
		holds[h.Item.String()+"@"+h.Source.String()] += uint64(h.Count)
	}
	if !maps.Equal(holds, a.holds) {
		return fmt.Errorf("holds %v, and the slow way says %v", holds, a.holds)
	}
	return nil
}

// inDates says that an item may serve at that time under that clock.
func inDates(c Clock, now capability.Time, i capability.LineItem) bool {
	if i.Start == 0 && i.Expiry == 0 {
		return true
	}
	return c.State != ClockHeld && now >= i.Start && (i.Expiry == 0 || now < i.Expiry && now+capability.Time(c.Ahead) < i.Expiry)
}
