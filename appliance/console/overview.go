package console

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

func overviewRoutes() []route {
	see := needs(ledger.ToSee)
	return []route{
		{pattern: "GET /{$}", gate: anyone, do: (*visit).start},
		{pattern: "GET /overview", gate: see, do: (*visit).overview},
	}
}

// start leads to the first page.
func (v *visit) start() error {
	if v.may(ledger.ToSee) {
		return v.goTo("/overview")
	}
	if v.name != "" {
		return v.goTo("/me")
	}
	return v.goTo("/sign-in")
}

type overviewView struct {
	Facts      web.Facts
	Conditions []conditionView
	Table      tableView
}

// conditionView is a condition with the words of the catalog, and a color beside its severity.
type conditionView struct {
	Condition
	Cause, Class string
}

func conditionViews(list []Condition) (out []conditionView) {
	for _, c := range list {
		out = append(out, conditionView{c, c.Code.Entry().Cause, map[Severity]string{Stops: "bad", Warning: "warn"}[c.Severity]})
	}
	return out
}

// overviewed is what the overview shows of the ledger.
type overviewed struct {
	health *Health
	items  []Feature
	peaks  map[capability.ItemID]uint64
}

func (v *visit) overviewed() (o overviewed, err error) {
	if o.health, err = v.Health(v.r.Context()); err != nil || o.health.Condition != nil && o.health.Applied == 0 {
		return o, err
	}
	if o.items, err = got[[]Feature](v, v.Console.features); err != nil {
		return o, err
	}
	used, err := v.past()
	o.peaks = map[capability.ItemID]uint64{}
	for _, u := range used {
		if u.User == "" && u.Feature != "" {
			o.peaks[u.ID()] = max(o.peaks[u.ID()], u.Peak)
		}
	}
	return o, err
}

func (v *visit) overview() error {
	o, err := shared(v, "/overview", v.overviewed)
	if err != nil {
		return err
	}
	h, items, peaks, rows := o.health, o.items, o.peaks, sums(o.items)
	var view overviewView
	view.Conditions = conditionViews(h.Conditions)
	type licensed struct {
		summed
		peak, outside uint64
	}
	most, outside := map[string]uint64{}, map[string]uint64{}
	for i := range items {
		f := &items[i]
		key := f.Feature + "\x00" + f.Version.String()
		most[key] += max(f.Used, peaks[f.ID()])
		if f.Used > f.Total && !f.Uncounted {
			outside[key] += f.Used - f.Total
		}
	}
	list, all := make([]licensed, 0, len(rows)), licensed{}
	for _, s := range rows {
		key := s.name + "\x00" + s.version.String()
		one := licensed{s, most[key], outside[key]}
		list = append(list, one)
		if !s.uncounted {
			all.total, all.used, all.peak, all.outside = all.total+s.total, all.used+s.used, all.peak+one.peak, all.outside+one.outside
		}
	}
	view.Facts = healthFacts(h)
	view.Facts = append(view.Facts,
		web.Fact{Name: "In license", Value: counted(all.total)}, web.Fact{Name: "In use", Value: counted(all.used)},
		web.Fact{Name: "Outside the license", Value: counted(all.outside), Class: map[bool]string{true: "bad"}[all.outside > 0]})
	total := func(s *licensed) uint64 { return s.total }
	view.Table = tableOf(v, "/overview", list, []column[licensed]{
		{name: "feature", title: "Feature", text: func(s *licensed) string { return s.name }, path: func(s *licensed) string {
			return web.PathTo("/features/details", "in-feature", s.name, "in-version", s.version.String())
		}},
		{name: "version", title: "Version", text: func(s *licensed) string { return s.version.String() }, less: func(a, b *licensed) int { return a.version.Compare(b.version) }},
		{name: "total", title: "In License", count: true, text: func(s *licensed) string {
			if s.uncounted {
				return "uncounted"
			}
			return counted(s.total)
		}, less: byNumber(total)},
		{name: "used", title: "In Use", count: true, text: func(s *licensed) string { return counted(s.used) }, less: byNumber(func(s *licensed) uint64 { return s.used })},
		{name: "peak", title: "Max Used", count: true, text: func(s *licensed) string {
			if s.items > 1 && s.peak > 0 {
				return "at most " + counted(s.peak) // each line item has its own day
			}
			return counted(s.peak)
		}, less: byNumber(func(s *licensed) uint64 { return s.peak })},
		{name: "outside", title: "Outside", count: true, text: func(s *licensed) string { return counted(s.outside) }, less: byNumber(func(s *licensed) uint64 { return s.outside })},
		{name: "expires", title: "Next Expiry", when: true, text: func(s *licensed) string { return expiry(s.first) }, less: func(a, b *licensed) int { return compareExpiries(a.first, b.first) }},
		{name: "state", title: "State", text: func(s *licensed) string { return fullness(&s.summed) }, class: func(s *licensed) string {
			return map[string]string{"full": "warn", "outside the license": "bad"}[fullness(&s.summed)]
		}},
	}, "No license is here yet: write a request, take it to the back office, and upload its response.")
	return v.show("overview", "Overview", view)
}

// fullness says in a word how much of a feature is left.
func fullness(s *summed) string {
	switch {
	case s.uncounted:
		return "uncounted"
	case s.used > s.total:
		return "outside the license"
	case s.used == s.total:
		return "full"
	}
	return "seats left"
}

func healthFacts(h *Health) (f web.Facts) {
	f.Marked("State", h.State, map[string]string{"serving": "good", "refusing": "bad"}[h.State])
	f.Add("Serving since", h.Since)
	f.Add("Start", h.Start)
	if h.HoldUntil != 0 {
		f.Add("Hold", fmt.Sprintf("until %s: leases are renewed, nothing new is granted", h.HoldUntil))
	}
	f.Add("Devices", h.Devices)
	switch {
	case h.Expiry != 0:
		f.Add("Next expiry", h.Expiry)
	case h.Applied != 0:
		f.Add("Next expiry", "none to come")
	}
	if h.Applied != 0 {
		f.Add("Last response", fmt.Sprintf("%d, made at %s", h.Applied, h.AppliedAt))
	} else {
		f.Add("Last response", "none yet")
	}
	if h.Waiting > 0 {
		f.Link("Requests", fmt.Sprintf("%d wait for an answer", h.Waiting), "/offline")
	}
	if n := len(h.Returns); n > 0 {
		f.Add("Returns", fmt.Sprintf("%d not credited yet: the next request carries the proof", n))
	}
	for _, d := range h.Drains {
		f.Add("Being returned", fmt.Sprintf("%s of %s, %d in the way", capability.Counted(d.Copies, "copy"), d.ActivationID, d.InTheWay))
	}
	if h.Binding.Outcome != "" && h.Binding.Outcome != hostid.Unjudged.String() {
		f.Link("Machine", h.Binding.Outcome, "/hostids")
	}
	if h.Clock != nil {
		f.Link("Clock", h.Clock.State, "/time")
	}
	return f
}

// past is what was used in every period that is still known.
func (v *visit) past() ([]capability.Usage, error) {
	var kept [][]byte
	var all []capability.Usage
	if err := v.look(v.r, func(l *ledger.Ledger, now ledger.Now) { kept, all = l.Past(now) }); err != nil {
		return nil, err
	}
	codec := wire.New()
	for _, b := range kept {
		u, err := codec.DecodeUsage(b)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}
