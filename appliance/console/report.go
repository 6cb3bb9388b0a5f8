package console

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/ledger/history"
	"github.com/leasehold/leasehold/hostid"
)

// ReportKind is what a report is about.
type ReportKind string

// The reports.
const (
	ReportUsage     ReportKind = "usage"     // what was in use, by hour, day or month
	ReportPeaks     ReportKind = "peaks"     // the most in use on each day, beside what is entitled
	ReportDenials   ReportKind = "denials"   // what was refused and why
	ReportLevels    ReportKind = "levels"    // for how long at least so many units were in use
	ReportWeek      ReportKind = "week"      // when in the week units are in use
	ReportIdle      ReportKind = "idle"      // units that were held and not used
	ReportExpiry    ReportKind = "expiry"    // what ends, and when
	ReportUnused    ReportKind = "unused"    // reserved and assigned units that nobody used
	ReportSeats     ReportKind = "seats"     // who holds what now
	ReportInventory ReportKind = "inventory" // the rights that are here
	ReportWhatIf    ReportKind = "what-if"   // what another count would have refused
)

// ReportInfo says of a report what it is called and what its columns mean.
type ReportInfo struct {
	Kind  ReportKind `json:"report"`
	Title string     `json:"title"`
	About string     `json:"about"`
	back  capability.Seconds
	make  func(*reporting) error
}

const dayLong capability.Seconds = 24 * 60 * 60

// ReportInfos are all reports. What is in use at a moment is exact: it comes from the entries, and not from samples.
func ReportInfos() []ReportInfo {
	return []ReportInfo{
		{ReportUsage, "Usage over time", "units in use: the most at one moment, and on average while the appliance was on; units newly served; hours held and not used; lines refused", 30 * dayLong, (*reporting).usage},
		{ReportPeaks, "Daily peaks", "the most units in use at one moment of each day, beside what was entitled", 90 * dayLong, (*reporting).peaks},
		{ReportDenials, "Denials", "lines that were refused, by day and reason, and how many people were told so; requests that were refused as a whole leave no entry", 90 * dayLong, (*reporting).denials},
		{ReportLevels, "Duration curve", "for what share of the time at least so many units were in use", 90 * dayLong, (*reporting).levels},
		{ReportWeek, "Hours of the week", "units in use by weekday and hour", 90 * dayLong, (*reporting).week},
		{ReportIdle, "Held and not used", "hours for which a unit was held and its device said that nobody used it, of all hours held", 30 * dayLong, (*reporting).idle},
		{ReportExpiry, "What ends", "units that end, by day, in the coming year", 0, (*reporting).expiry},
		{ReportUnused, "Not used", "reserved and assigned units whose owners were not served in that time", 90 * dayLong, (*reporting).unused},
		{ReportSeats, "Seats now", "who holds what at this moment", 0, (*reporting).seats},
		{ReportInventory, "Inventory", "the rights that are here, and how much of each was in use at most", 90 * dayLong, (*reporting).inventory},
		{ReportWhatIf, "What if", "what would have been refused with another count, by replaying the entries", 90 * dayLong, (*reporting).whatIf},
	}
}

// Report answers GET reports/NAME: leasehold.report/1.
type Report struct {
	Schema   string            `json:"schema"`
	Warnings []string          `json:"warnings"`
	Kind     ReportKind        `json:"report"`
	Feature  string            `json:"feature,omitempty"` // empty: all
	From     capability.Time   `json:"from"`
	Until    capability.Time   `json:"until"` // the first moment after
	By       string            `json:"by,omitempty"`
	Zone     int64             `json:"zoneOffset"` // seconds that days and hours begin before those of UTC
	Columns  []string          `json:"columns"`
	Rows     []map[string]any  `json:"rows"`
	Totals   map[string]uint64 `json:"totals"`
	Sentence string            `json:"sentence,omitempty"` // what the numbers say, in words

	Table *capability.Table `json:"-"`
}

// Reports answers GET reports.
type Reports struct {
	Schema   string       `json:"schema"` // leasehold.reports/1
	Warnings []string     `json:"warnings"`
	Reports  []ReportInfo `json:"reports"`
}

// reports are the operations that show them: as JSON, and as files for spreadsheets and pictures.
func (c *Console) reports() []operation {
	gate := needs(ledger.ToReport)
	file := func(ending, kind string, write func(*Report, io.Writer) error) operation {
		return operation{pattern: "GET reports/{report}/" + ending, gate: gate, kind: kind, stream: func(r *http.Request, w io.Writer) error {
			report, err := c.report(r)
			if err != nil {
				return err
			}
			return write(report, w)
		}}
	}
	return []operation{
		{pattern: "GET reports", gate: gate, do: func(*http.Request, asker) (any, error) {
			return Reports{"leasehold.reports/1", []string{}, ReportInfos()}, nil
		}},
		{pattern: "GET reports/{report}", gate: gate, do: func(r *http.Request, _ asker) (any, error) {
			report, err := c.report(r)
			if err == nil {
				report.Rows = report.Table.Objects()
			}
			return report, err
		}},
		file("csv", "text/csv; charset=utf-8", func(r *Report, w io.Writer) error { return r.Table.WriteCSV(w) }),
		file("svg", "image/svg+xml", (*Report).plot),
	}
}

func (c *Console) report(r *http.Request) (*Report, error) {
	return c.reportOf(r, ReportKind(r.PathValue("report")))
}

// plot writes the picture.
func (r *Report) plot(w io.Writer) error {
	svg := r.Plot(string(r.Kind))
	if svg == nil {
		return capability.Refuse(capability.ErrNotFound, string(r.Kind), "this report is not drawn, or of one feature only")
	}
	_, err := w.Write(svg)
	return err
}

// MaxReportRows bounds a report, which is whole in memory; more is asked for in parts.
const MaxReportRows = 25_000

// reporting is a report that is being made.
type reporting struct {
	*Report
	features []string // asked about
	by       history.Step
	zone     capability.Seconds
	now      ledger.Now
	count    uint64 // of what-if; given says that it was asked for
	given    bool

	items    []ledger.Item
	reserved []ledger.EntryView
	devices  []ledger.Device
	lease    capability.Seconds
	h        *history.History
}

// reportOf makes a report as the values of an address cut it.
func (c *Console) reportOf(r *http.Request, kind ReportKind) (*Report, error) {
	all := ReportInfos()
	at := slices.IndexFunc(all, func(i ReportInfo) bool { return i.Kind == kind })
	if at < 0 {
		return nil, capability.Refuse(capability.ErrNotFound, string(kind), "no report is called so")
	}
	info := &all[at]
	p := &reporting{Report: &Report{Schema: "leasehold.report/1", Warnings: []string{}, Kind: kind}}
	var life capability.LifeID
	if err := c.look(r, func(l *ledger.Ledger, now ledger.Now) {
		life, p.now, p.items, p.devices = l.Recovery().Life, now, l.Items(now), l.Devices(now)
		p.lease, p.zone = l.Policy().Lease, l.Zone()
		_, p.reserved = l.Reservations()
	}); err != nil {
		return nil, err
	}
	if err := p.cut(info, r.URL.Query()); err != nil {
		return nil, err
	}
	err := c.past.ask(r.Context(), life, p.now, c.Appliance.Entries, func(h *history.History) error {
		p.h = h
		if p.features = []string{p.Feature}; p.Feature == "" {
			p.features = h.Features()
		}
		return info.make(p)
	})
	if err != nil {
		return nil, err
	}
	if since := p.h.Since(); info.back > 0 && since > p.From {
		p.Warnings = append(p.Warnings, fmt.Sprintf("nothing is known of the time before %s", since))
	}
	if !p.h.Complete() {
		p.Warnings = append(p.Warnings, "the audit trail does not go back to the beginning: what was held when it begins counts from when its device was heard of")
	}
	if p.h.Crowded() {
		p.Warnings = append(p.Warnings, "more people and devices were heard of than are told apart: there may have been more of them than is said")
	}
	p.Columns, p.Totals = p.Table.Columns, p.Table.Totals
	return p.Report, nil
}

// cut reads what a report is about: feature, from, to, by and count.
func (p *reporting) cut(info *ReportInfo, values url.Values) error {
	p.Feature, p.Zone = values.Get("feature"), int64(p.zone)
	var err error
	if p.From, err = p.moment(values.Get("from"), "from", false); err != nil {
		return err
	}
	if p.Until, err = p.moment(values.Get("to"), "to", true); err != nil {
		return err
	}
	if p.Until == 0 {
		p.Until = p.now.Wall + 1
		if info.Kind == ReportExpiry {
			p.Until = p.now.Wall.Add(366 * dayLong)
		}
	}
	if p.From == 0 {
		p.From = min(p.now.Wall, p.Until).Add(-info.back)
	}
	if p.From >= p.Until {
		return &capability.Malformed{Field: "from", Cause: fmt.Sprintf("%s is after the end, %s", p.From, p.Until)}
	}
	by, known := history.ParseStep(cmp.Or(values.Get("by"), history.Day.String()))
	if !known {
		return &capability.Malformed{Field: "by", Cause: fmt.Sprintf("%q where hour, day or month is wanted", values.Get("by"))}
	}
	if p.by = by; info.Kind == ReportUsage || info.Kind == ReportIdle {
		p.By = by.String()
	}
	if text := values.Get("count"); text != "" {
		if p.count, err = strconv.ParseUint(text, 10, 32); err != nil {
			return &capability.Malformed{Field: "count", Cause: fmt.Sprintf("%q where a number of units is wanted", text)}
		}
		p.given = true
	}
	return nil
}

// moment reads a day as the site's zone has them, or a moment as RFC 3339 has it. The end of a time is the first moment after the day.
func (p *reporting) moment(text, field string, end bool) (capability.Time, error) {
	if text == "" {
		return 0, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		at := capability.At(t).Add(-p.zone)
		if end {
			at = at.Add(dayLong)
		}
		return at, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, &capability.Malformed{Field: field, Cause: fmt.Sprintf("%q where a day as 2026-01-31 is wanted, or a moment as 2026-01-31T12:00:00Z", text)}
	}
	return capability.At(t), nil
}

func (p *reporting) query(feature string) history.Query {
	return history.Query{Feature: feature, From: p.From, Until: p.Until}
}

// columns begins the table.
func (p *reporting) columns(names ...string) *capability.Table {
	p.Table = capability.NewTable(names...)
	return p.Table
}

// room says whether there is room for so many more rows.
func (p *reporting) room(more int) error {
	if len(p.Table.Rows)+more > MaxReportRows {
		return capability.Refuse(capability.ErrForm, "feature", "more than %d rows: ask for one feature, a shorter time or longer steps", MaxReportRows)
	}
	return nil
}

// buckets gives each feature's, as long as there is room.
func (p *reporting) buckets(by history.Step, f func(feature string, b *history.Bucket)) error {
	for _, feature := range p.features {
		list := p.h.Usage(p.query(feature), by, p.zone)
		if err := p.room(len(list)); err != nil {
			return err
		}
		for i := range list {
			f(feature, &list[i])
		}
	}
	return nil
}

// entitled is a count in words.
func entitled(e history.Entitled) any {
	if e.Uncounted {
		return "uncounted"
	}
	return e.Count
}

// share is a part of a whole in percent, with one decimal.
func share(part, whole uint64) string {
	if whole == 0 {
		return ""
	}
	return strconv.FormatFloat(100*float64(part)/float64(whole), 'f', 1, 64)
}

// hours are seconds in hours, with two decimals.
func hours(seconds uint64) string { return strconv.FormatFloat(float64(seconds)/3600, 'f', 2, 64) }

// average is what was in use on average while the appliance was on, with two decimals.
func average(seconds, on uint64) string {
	if on == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(seconds)/float64(on), 'f', 2, 64)
}

func lines(denials []history.Denial) (n uint64) {
	for _, d := range denials {
		n += d.Lines
	}
	return n
}

func (p *reporting) usage() error {
	t := p.columns("from", "until", "feature", "peak", "average", "entitled", "overdraft", "served", "unit_seconds", "idle_seconds", "denied")
	return p.buckets(p.by, func(feature string, b *history.Bucket) {
		n := lines(b.Denials)
		t.Row(b.From, b.Until, feature, b.Peak, average(b.Seconds, b.On), entitled(b.Entitled), b.Entitled.Overdraft, b.Served, b.Seconds, b.Idle, n)
		t.Add("served", b.Served)
		t.Add("unit_seconds", b.Seconds)
		t.Add("idle_seconds", b.Idle)
		t.Add("denied", n)
	})
}

func (p *reporting) peaks() error {
	t := p.columns("day", "feature", "peak", "entitled", "overdraft", "denied")
	most := map[string][2]uint64{}
	err := p.buckets(history.Day, func(feature string, b *history.Bucket) {
		t.Row(b.From, feature, b.Peak, entitled(b.Entitled), b.Entitled.Overdraft, lines(b.Denials))
		if b.Peak > most[feature][0] {
			most[feature] = [2]uint64{b.Peak, uint64(b.From)}
		}
	})
	if len(p.features) == 1 && err == nil {
		if m, level := most[p.features[0]], p.level(p.features[0], 95); m[0] > 0 {
			p.Sentence = fmt.Sprintf("At most %d of %s were in use, on %s; for 95 percent of the time it was %d or fewer.", m[0], p.features[0], capability.Time(m[1]), level)
		}
	}
	return err
}

// level is the number of units that was not exceeded for so many percent of the time.
func (p *reporting) level(feature string, percent uint64) uint64 {
	levels := p.h.Levels(p.query(feature))
	var all, sum uint64
	for _, l := range levels {
		all += l.Seconds
	}
	for _, l := range levels {
		if sum += l.Seconds; sum*100 >= all*percent {
			return l.Units
		}
	}
	return 0
}

func (p *reporting) denials() error {
	if p.Feature == "" {
		p.features = append(p.features, "") // what was refused of features that are not here
	}
	t := p.columns("day", "feature", "code", "reason", "lines", "people")
	return p.buckets(history.Day, func(feature string, b *history.Bucket) {
		for _, d := range b.Denials {
			t.Row(b.From, feature, d.Code.String(), d.Code.Entry().Title, d.Lines, d.People)
			t.Add("lines", d.Lines)
		}
	})
}

func (p *reporting) levels() error {
	t := p.columns("feature", "units", "seconds", "percent_at_least")
	for _, feature := range p.features {
		levels := p.h.Levels(p.query(feature))
		if err := p.room(len(levels)); err != nil {
			return err
		}
		var all uint64
		for _, l := range levels {
			all += l.Seconds
		}
		above := all
		for _, l := range levels {
			t.Row(feature, l.Units, l.Seconds, share(above, all))
			above -= l.Seconds
		}
	}
	return nil
}

func (p *reporting) week() error {
	t := p.columns("feature", "weekday", "hour", "peak", "average")
	for _, feature := range p.features {
		week := p.h.Week(p.query(feature), p.zone)
		if p.Feature == "" && !week.Used() {
			continue // of all features those that were in use
		}
		if err := p.room(7 * 24); err != nil {
			return err
		}
		for day, row := range week {
			for hour, cell := range row {
				t.Row(feature, time.Weekday((day+1)%7).String(), uint64(hour), cell.Peak, average(cell.Seconds, cell.On))
			}
		}
	}
	return nil
}

func (p *reporting) idle() error {
	t := p.columns("from", "until", "feature", "idle_hours", "held_hours", "percent")
	return p.buckets(p.by, func(feature string, b *history.Bucket) {
		if b.Seconds > 0 {
			t.Row(b.From, b.Until, feature, hours(b.Idle), hours(b.Seconds), share(b.Idle, b.Seconds))
			t.Add("idle_seconds", b.Idle)
		}
	})
}

func (p *reporting) expiry() error {
	t := p.columns("day", "feature", "version", "count", "activation_id", "product")
	ends := slices.Clone(p.items)
	slices.SortStableFunc(ends, func(a, b ledger.Item) int { return cmp.Compare(a.Expiry, b.Expiry) })
	for _, i := range ends {
		if i.Expiry >= p.From && i.Expiry < p.Until && (p.Feature == "" || p.Feature == i.Feature) {
			t.Row(i.Expiry, i.Feature, i.Version.String(), uint64(i.Count), string(i.ActivationID), i.Product)
			t.Add("count", uint64(i.Count))
		}
	}
	return nil
}

func (p *reporting) unused() error {
	t := p.columns("feature", "owner", "kind", "count", "last_used")
	owned := func(feature, owner, kind string, count uint64) {
		if last := p.h.LastUse(owner, feature); last < p.From && (p.Feature == "" || p.Feature == feature) {
			t.Row(feature, owner, kind, count, last)
			t.Add("count", count)
		}
	}
	for _, r := range p.reserved {
		owner := r.Host.String()
		if r.Host.Type == hostid.User {
			owner = r.Host.Value
		}
		owned(r.Feature, owner, "reserved", uint64(r.Count))
	}
	for _, i := range p.items {
		if i.User != "" {
			owned(i.Feature, i.User, "assigned", uint64(i.Count))
		}
	}
	return nil
}

func (p *reporting) seats() error {
	t := p.columns("feature", "version", "count", "host", "alias", "user", "pool", "idle_seconds", "ends")
	for _, d := range p.devices {
		for _, h := range d.Holdings {
			if p.Feature == "" || p.Feature == h.Item.Feature {
				if err := p.room(1); err != nil {
					return err
				}
				t.Row(h.Item.Feature, h.Version.String(), uint64(h.Count), d.ID.String(), d.Who.Alias, d.Who.User, h.Source.String(), uint64(d.Idle), h.Expiry)
				t.Add("count", uint64(h.Count))
			}
		}
	}
	return nil
}

func (p *reporting) inventory() error {
	t := p.columns("feature", "version", "count", "in_use", "max_used", "starts", "ends", "metered", "product", "activation_id", "entitlement_id")
	for _, i := range p.items {
		if p.Feature != "" && p.Feature != i.Feature {
			continue
		}
		most := uint64(0)
		for _, b := range p.h.Usage(p.query(i.Feature), history.Month, p.zone) {
			most = max(most, b.Peak)
		}
		count := any(uint64(i.Count))
		if i.Uncounted {
			count = "uncounted"
		}
		t.Row(i.Feature, i.Version.String(), count, i.Used+i.Overdrawn, most, i.Start, i.Expiry, i.Metered, i.Product, string(i.ActivationID), i.EntitlementID)
	}
	return nil
}

// whatIf replays the time with the count asked for, or with a tenth less and a tenth more than what was entitled last.
func (p *reporting) whatIf() error {
	if p.Feature == "" {
		return &capability.Malformed{Field: "feature", Cause: "is left out: name the one that another count is thought of for"}
	}
	t := p.columns("feature", "count", "would_refuse", "was_refused", "would_serve")
	last := p.h.Usage(p.query(p.Feature), history.Month, p.zone)
	if len(last) == 0 {
		return nil
	}
	had := last[len(last)-1].Entitled.Count
	counts := []uint64{had - (had+9)/10, had + (had+9)/10}
	if p.given {
		counts = []uint64{p.count}
	}
	span := max(1, (min(p.Until, p.h.Now())-max(p.From, p.h.Detailed())+capability.Time(dayLong)-1)/capability.Time(dayLong))
	for n, count := range counts {
		w := p.h.WhatIf(p.query(p.Feature), count, p.lease)
		t.Row(p.Feature, count, w.Lost, w.Refused, w.Won)
		part := fmt.Sprintf("with %d, %d of the %d refused would have been served", count, w.Won, w.Refused)
		if count < had {
			part = fmt.Sprintf("with %s instead of %d you would have refused %s in %s", capability.Counted(count, "unit"), had, capability.Counted(w.Lost, "checkout"), capability.Counted(uint64(span), "day"))
		}
		if n > 0 {
			part = "; " + part
		}
		p.Sentence += part
	}
	p.Sentence = string(p.Sentence[0]-'a'+'A') + p.Sentence[1:] + "."
	return nil
}
