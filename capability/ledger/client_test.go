package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// request is one request of a client of the simulation, and everything that must be so about its answer.
func (w *world) request(c *client) error {
	if err := w.duplicate(c); err != nil {
		return err
	}
	s, again := w.compose(c)
	hold := w.l.holdAt(w.now)
	before := w.device(c)
	free := w.available(c, &s)
	told, over := w.toldAll(), w.over()
	want, known := slowServe(w.l, w.now, &s)
	var preview capability.Response
	if s.Request.Operation == capability.Grant && !again && w.rng.IntN(4) == 0 {
		p := s
		p.Request.Operation = capability.Preview
		d, err := w.decide(p)
		if err != nil {
			return err
		}
		preview = *d.Response
	}
	was := w.l.Items(w.now)
	d, err := w.decide(s)
	if err != nil {
		return err
	}
	if err := w.keptBack(was); err != nil {
		return err
	}
	a := *d.Response
	after := w.device(c)
	if len(a.Denials) > 0 && a.Denials[0].Code == capability.ErrBinding {
		w.happened[refusedBinding]++
		if m := w.l.Machine(w.now); m.Rule == hostid.RuleTPM || m.Outcome.Serves() {
			return fmt.Errorf("refused on a machine that is %s by the rule %s", m.Outcome, m.Rule)
		}
	}
	w.count(&a, len(d.Entries) > 0)
	w.happened[shortened] += len(d.Notices)
	if w.seen(&a, again, len(d.Entries)) {
		w.happened[resent]++
	}
	if preview.Version != 0 && preview.Status == capability.StatusPreview && !reflect.DeepEqual(preview.Lines, a.Lines) {
		return fmt.Errorf("preview %+v, request %+v", preview.Lines, a.Lines)
	}
	if len(d.Entries) > 0 {
		w.remember(c, answered{s, a, w.now.Lease, len(w.journal)})
	}
	switch {
	case a.Serial == 0 || a.Status == capability.StatusUnchanged:
		if a.Serial != 0 {
			before = w.theirs(before, s.Request.User)
		}
		if !maps.Equal(units(before), units(after)) {
			return fmt.Errorf("%s altered %+v to %+v", a.Status, before.Holdings, after.Holdings)
		}
	case len(d.Entries) > 0:
		if a.Serial <= before.Serial || !again && a.Serial <= c.last.Serial {
			return fmt.Errorf("serial %d after %d and %d", a.Serial, before.Serial, c.last.Serial)
		}
		if err := rightsAre(&a, after, hold != 0); err != nil {
			return err
		}
		if err := w.fair(&s, &a, hold, free, w.theirs(before, s.Request.User), after); err != nil {
			return err
		}
		if known {
			w.happened[compared]++
			if err := want.agrees(&a, after); err != nil {
				return err
			}
		}
		for _, h := range after.Holdings {
			switch {
			case h.Source.Overdraft:
				w.happened[overdrawn]++
			case h.Source.Entry != 0:
				w.happened[fromEntry]++
			case h.Source.Pool != "":
				w.happened[fromPool]++
			case h.End == forever:
				w.happened[counted]++
			}
		}
		if s.Request.Operation == capability.Report {
			c.report = capability.CorrelationID{}
			if e := d.Entries[0].Served; e.Reported != nil {
				c.report = s.Request.Correlation
			}
		}
		if s.Request.Operation == capability.Undo {
			c.report = capability.CorrelationID{}
			w.happened[undone]++
		}
	}
	if c.waits = w.rng.IntN(8) == 0; c.waits {
		w.miss(c)
	} else {
		w.hear(c, &a)
	}
	// What is booked for the device was decided when more may have been entitled: it may be told again, to one who missed it, whatever others have from a line of
	// history that this ledger does not know.
	if len(d.Entries) == 0 {
		for _, h := range before.Holdings {
			told[class{h.Item.Feature, h.Version}] += uint64(h.Count)
		}
	}
	for k, n := range w.toldAll() {
		if !k.endless() && n > told[k] && n > w.entitled(k)+over[k] {
			return fmt.Errorf("%d of %v told where %d are entitled; %d before, or booked", n, k, w.entitled(k), told[k])
		}
	}
	return nil
}

// remember keeps what may come again. The other client of the host ID has its answers forgotten, where they are those of one row.
func (w *world) remember(c *client, a answered) {
	c.answered = append(c.answered, a)
	c.answered = c.answered[max(0, len(c.answered)-MaxRemembered):]
	for _, other := range w.clients {
		if other != c && other.id == c.id {
			other.answered = nil
		}
	}
}

// duplicate brings an old request once more, as a network may. It is answered as it was, and changes nothing.
func (w *world) duplicate(c *client) error {
	if len(c.answered) == 0 || w.network.IntN(3) > 0 {
		return nil
	}
	i := w.network.IntN(len(c.answered))
	old := c.answered[i]
	if w.now.Lease >= old.at+remembers && i < len(c.answered)-1 {
		return nil
	}
	d, err := w.decide(old.Serve)
	if err != nil || len(d.Entries) > 0 || !reflect.DeepEqual(*d.Response, old.answer) {
		return fmt.Errorf("a late duplicate is answered %+v with %d entries, first %+v: %w", d.Response, len(d.Entries), old.answer, err)
	}
	w.happened[late]++
	return nil
}

// keptBack says that a request took nothing new of what is being returned.
func (w *world) keptBack(was []Item) error {
	for _, it := range w.l.Items(w.now) {
		if it.Returning == 0 || it.Cut {
			continue
		}
		w.happened[drained]++
		before := was[slices.IndexFunc(was, func(o Item) bool { return o.ID() == it.ID() })]
		rest := less(it.LineItem, it.Returning)
		if all := it.Returning == it.Copies; all && it.Used+it.Overdrawn > before.Used+before.Overdrawn || !all && !it.Uncounted && it.Used > max(before.Used, uint64(rest.Count)) {
			return fmt.Errorf("%d of %s in use after %d, and %d of %d copies are being returned", it.Used, it.ID(), before.Used, it.Returning, it.Copies)
		}
	}
	return nil
}

// theirs is what a device may keep when it asks for this user.
func (w *world) theirs(d Device, user string) Device {
	d.Holdings = slices.DeleteFunc(slices.Clone(d.Holdings), func(h Holding) bool {
		for _, g := range w.l.groups {
			for _, r := range g.Reservations {
				mine := r.Host == d.ID || r.Host == (hostid.ID{Type: hostid.User, Value: user})
				if !mine && slices.ContainsFunc(r.Entries, func(e ReservationEntry) bool { return e.ID == h.Source.Entry }) {
					return true
				}
			}
		}
		return false
	})
	return d
}

// units is what a device holds, whatever its source.
func units(d Device) map[string]uint32 {
	out := map[string]uint32{}
	for _, h := range d.Holdings {
		out[fmt.Sprint(h.Item, h.Expiry, h.Dropped)] += h.Count
	}
	return out
}

// device is what the ledger has for a client: for its key, or as long as that has nothing, for its host ID.
func (w *world) device(c *client) (d Device) {
	rows := w.l.devices[c.id]
	if i := slices.IndexFunc(rows, func(r *row) bool { return r.key == c.key }); i >= 0 {
		d = rows[i].view(w.now)
	} else if len(rows) > 0 && !w.l.Policy().Duplicates {
		d = rows[0].view(w.now) // with what is metered: it stays with the host ID
	}
	d.Holdings = slices.DeleteFunc(d.Holdings, func(h Holding) bool { return h.Unheard })
	return d
}

func (w *world) seen(a *capability.Response, again bool, entries int) bool {
	return again && entries == 0 && a.Serial != 0
}

// count notes what kind of answer it was.
func (w *world) count(a *capability.Response, fresh bool) {
	for _, no := range a.Denials {
		switch no.Code {
		case capability.ErrHold:
			w.happened[deniedStale]++
		case capability.ErrRule:
			w.happened[denied]++
		}
	}
	for _, l := range a.Lines {
		switch {
		case l.Count > 0 && a.Hold != 0 && fresh:
			w.happened[renewedByReceipt]++
		case l.Count > 0:
			w.happened[granted]++
		case l.Denial.Code == capability.ErrNoSeat && l.Denial.Detail != "":
			w.happened[refusedDrain]++
		case l.Denial.Code == capability.ErrNoSeat:
			w.happened[refusedSeat]++
		case l.Denial.Code == capability.ErrOverage:
			w.happened[refusedOverage]++
		case l.Denial.Code == capability.ErrHold:
			w.happened[refusedHold]++
		case l.Denial.Code == capability.ErrClock:
			w.happened[refusedClock]++
		case l.Denial.Code == capability.ErrLimit:
			w.happened[limited]++
		}
		if l.Denial.Position > 0 {
			w.happened[queued]++
		}
	}
}

// compose draws a request, or the last one again. Clients are honest: they say which serial they have applied, show the newest answer they heard,
// and ask nothing else before they have heard what became of the last request.
func (w *world) compose(c *client) (s Serve, again bool) {
	if c.waits || c.sent != nil && w.rng.IntN(6) == 0 {
		return *c.sent, true
	}
	w.calls++
	r := capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{c.id}, Applied: c.last.Serial, Atomic: w.rng.IntN(5) == 0, Alias: c.id.Value}
	r.Correlation = capability.CorrelationID{1, byte(w.calls), byte(w.calls >> 8), byte(w.step)}
	switch n := w.rng.IntN(24); {
	case n < 14 && c.report != (capability.CorrelationID{}):
		r.Operation, r.Undoes = capability.Undo, c.report
	case n < 3:
		r.Operation = capability.Operation(1 + w.rng.IntN(3))
	case n < 7:
		r.Operation = capability.Report
	}
	if r.Operation == capability.Undo && r.Undoes == (capability.CorrelationID{}) {
		r.Operation = capability.Preview
	}
	r.User = []string{"", "u1", "u2"}[w.rng.IntN(3)]
	r.Granularity = uint8(max(0, w.rng.IntN(12)-8))
	if bu := []string{"", "a", "b"}[w.rng.IntN(3)]; bu != "" {
		r.Dictionary = []capability.Pair{{Key: "bu", Value: bu}}
	}
	if w.rng.IntN(6) == 0 {
		r.Idle = capability.Seconds(w.rng.IntN(200))
	}
	if w.rng.IntN(6) == 0 {
		r.Borrow = capability.Seconds(1 + w.rng.IntN(400))
	}
	switch {
	case r.Operation == capability.Undo:
	case w.rng.IntN(3) == 0: // renew exactly what it has
		for _, g := range c.last.Rights {
			r.Desired = append(r.Desired, capability.Desired{Feature: g.Feature, Version: g.Version, Count: g.Count})
		}
	default:
		for range w.rng.IntN(4 + int(r.Operation)%3) {
			d := capability.Desired{Feature: []string{"f", "f", "g", "g", "g", "u", "m", "n", "x"}[w.rng.IntN(9)], Count: w.rng.Uint32N(7), Partial: w.rng.IntN(3) == 0, Wait: w.rng.IntN(4) == 0}
			d.Version.Major = w.rng.Uint32N(3)
			if r.Operation == capability.Report && w.rng.IntN(4) > 0 {
				d.Feature, d.Version.Major, d.Count = []string{"m", "n"}[w.rng.IntN(2)], 1, 1+w.rng.Uint32N(4)
			}
			r.Desired = append(r.Desired, d)
		}
	}
	s = Serve{Key: c.key, Request: r}
	if c.last.Serial != 0 && w.rng.IntN(5) > 0 {
		s.Receipt = ReceiptOf(&c.last)
	}
	c.sent, c.sentAt = &s, w.real
	return s, false
}

// hear is what a client does with an answer: the newest serial wins. Its leases run on its own clock, from the moment it first sent
// the request: an answer may be a remembered one.
func (w *world) hear(c *client, a *capability.Response) {
	if a.Serial <= c.last.Serial {
		return
	}
	c.last, c.held = *a, nil
	for _, g := range a.Rights {
		c.held = append(c.held, holding{class{g.Feature, g.Version}, uint64(g.Count), c.sentAt + capability.Seconds(g.Expiry-a.Time)})
	}
}

// miss is an answer lost on its way. All the client knows is what it asked for: it does not use what it asked to give back.
func (w *world) miss(c *client) {
	if c.sent.Request.Operation != capability.Grant && c.sent.Request.Operation != capability.Report {
		return
	}
	asked := map[string]uint64{}
	for _, d := range c.sent.Request.Desired {
		asked[d.Feature] += uint64(d.Count)
	}
	spent := map[class]uint64{}
	for i := range c.held {
		h := &c.held[i]
		if c.sent.Request.Operation == capability.Report && !(class{feature: h.feature}).endless() {
			continue // a report leaves alone what is not metered
		}
		h.count = min(h.count, asked[h.feature]-spent[h.class])
		spent[h.class] += h.count
	}
}

func (w *world) told(k class) (n uint64) {
	for _, c := range w.clients {
		for _, h := range c.held {
			if h.class == k && h.until > w.real {
				n += h.count
			}
		}
	}
	return n
}

// over is what is served above the count of single items: it runs out, while other items of the class go on serving.
func (w *world) over() map[class]uint64 {
	all := map[class]uint64{}
	for _, it := range w.l.Items(w.now) {
		switch k := (class{it.Feature, it.Version}); {
		case it.Cut:
			all[k] += it.Used + it.Overdrawn
		case it.Over:
			all[k] += it.Used - uint64(it.Count)
		}
	}
	return all
}

func (w *world) toldAll() map[class]uint64 {
	all := map[class]uint64{}
	for _, c := range w.clients {
		for _, h := range c.held {
			all[h.class] = w.told(h.class)
		}
	}
	return all
}

// available is what the first line of a request could have, counted from the views the slow way; -1 where the slow way knows too little.
func (w *world) available(c *client, s *Serve) int64 {
	if len(w.l.drains) > 0 || len(s.Request.Desired) != 1 || s.Request.Operation != capability.Grant || w.l.model != nil || len(w.l.groups) > 0 || len(w.l.waiting) > 0 || s.Request.Idle > 0 {
		return -1
	}
	line := s.Request.Desired[0]
	if slices.ContainsFunc(w.l.Devices(w.now), func(d Device) bool { return d.ID == c.id && d.Key != c.key }) {
		return -1
	}
	var n int64
	for _, it := range w.l.Items(w.now) {
		if it.Feature != line.Feature || it.Version.Compare(line.Version) < 0 || it.Cut || !inDates(w.l.Status(w.now).Clock, w.now.Wall, it.LineItem) {
			continue
		}
		var others, regular int64 // what the device itself holds comes back first, and what is over its count is judged without it
		for _, d := range w.l.Devices(w.now) {
			for _, h := range d.Holdings {
				if h.Item == it.ID() && d.Key != c.key {
					others += int64(h.Count)
					if !h.Source.Overdraft {
						regular += int64(h.Count)
					}
				}
			}
		}
		left := int64(it.Count) - others
		if regular <= int64(it.Count) {
			left += int64(it.Overdraft)
		}
		if it.Uncounted {
			left = 1 << 40
		}
		n += max(0, left)
	}
	return n
}

// fair compares a decided answer with the slow way, and with what the device had.
func (w *world) fair(s *Serve, a *capability.Response, hold capability.Seconds, free int64, before, after Device) error {
	had, has, dropped := map[string]uint64{}, map[string]uint64{}, false
	for _, h := range before.Holdings {
		had[h.Item.Feature] += uint64(h.Count)
		dropped = dropped || h.Dropped
	}
	for _, h := range after.Holdings {
		has[h.Item.Feature] += uint64(h.Count)
	}
	if s.Request.Operation != capability.Grant || len(s.Request.Desired) == 0 {
		return nil
	}
	gave, asked, refused, spoiled := map[string]uint64{}, map[string]uint64{}, map[string]bool{}, map[string]bool{}
	for i, l := range a.Lines {
		d := s.Request.Desired[i]
		gave[d.Feature] += uint64(l.Count)
		asked[d.Feature] += uint64(d.Count)
		spoiled[d.Feature] = spoiled[d.Feature] || slices.Contains([]capability.Code{capability.ErrBinding, capability.ErrRule, capability.ErrClock, capability.ErrExpired}, l.Denial.Code)
		refused[d.Feature] = refused[d.Feature] || l.Status == capability.LineInsufficient
		switch {
		case l.Status == capability.LineInsufficient && l.Count != 0, l.Status == capability.LineOK && l.Count != d.Count && a.Status != capability.StatusUnchanged:
			return fmt.Errorf("line %+v for %+v", l, d)
		case l.Status == capability.LineInsufficient && l.Denial.Code == 0:
			return errors.New("a refusal without a code")
		}
	}
	if a.Status != capability.StatusUnchanged {
		for f := range had {
			switch {
			case f == "n" && has[f] < max(had[f], gave[f]):
				return fmt.Errorf("%q is not reusable, and fell from %d to %d", f, had[f], has[f])
			case f == "n":
			case refused[f] && spoiled[f] && has[f] >= min(had[f], asked[f]): // what is not asked for is given back
			case refused[f] && hold == 0 && has[f] < had[f]:
				return fmt.Errorf("refused, and %q fell from %d to %d", f, had[f], has[f])
			case refused[f] && has[f] > had[f]+gave[f], !refused[f] && has[f] != gave[f]:
				return fmt.Errorf("%q: had %d, was granted %d, has %d", f, had[f], gave[f], has[f])
			}
		}
	}
	if hold == 0 && w.l.renewsOnly() {
		for f := range has {
			if has[f] > had[f] {
				return fmt.Errorf("%q: had %d, has %d, and the dongle is missing", f, had[f], has[f])
			}
		}
		free = min(free, int64(had[s.Request.Desired[0].Feature]))
	}
	barred := len(a.Lines) > 0 && (a.Lines[0].Denial.Code == capability.ErrBinding || a.Lines[0].Denial.Code == capability.ErrRule) // it may give back
	if free >= 0 && hold == 0 && !dropped && !barred && s.Request.Desired[0].Count > 0 {
		asked := s.Request.Desired[0]
		want := int64(asked.Count)
		if free < want {
			if want = 0; asked.Partial {
				want = free
			}
		}
		if got := int64(a.Lines[0].Count); got != want {
			return fmt.Errorf("asked %+v, %d free, granted %d", asked, free, got)
		}
	}
	return nil
}

// rightsAre says that the answer tells exactly the units that the ledger has, whatever slices they are of; in a hold it may tell fewer, and shorter ones.
func rightsAre(a *capability.Response, d Device, hold bool) error {
	told, has := map[class][]capability.Time{}, map[class][]capability.Time{}
	for _, g := range a.Rights {
		k := class{g.Feature, g.Version}
		told[k] = append(told[k], slices.Repeat([]capability.Time{g.Expiry}, int(g.Count))...)
	}
	for _, h := range d.Holdings {
		k := class{h.Item.Feature, h.Version}
		has[k] = append(has[k], slices.Repeat([]capability.Time{h.Expiry}, int(h.Count))...)
		if _, any := told[k]; !any && !hold {
			return fmt.Errorf("told %+v, has %+v", a.Rights, d.Holdings)
		}
	}
	latest := func(a, b capability.Time) int { return cmp.Compare(b, a) }
	for k, ends := range told {
		slices.SortFunc(ends, latest)
		slices.SortFunc(has[k], latest)
		wrong := len(ends) > len(has[k]) || !hold && !slices.Equal(ends, has[k])
		for i := 0; i < len(ends) && !wrong; i++ {
			wrong = ends[i] > has[k][i]
		}
		if wrong {
			return fmt.Errorf("told %+v, has %+v", a.Rights, d.Holdings)
		}
	}
	return nil
}
