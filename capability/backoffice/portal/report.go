package portal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

func (p *Portal) reportRoutes() []route {
	return []route{
		{pattern: "GET /reports", gate: needs(entitlement.ToReport), do: (*visit).reports},
		{pattern: "GET /reports/{report}", gate: needs(entitlement.ToReport), do: (*visit).report},
	}
}

const dayLong capability.Seconds = 24 * 60 * 60

// reportForm says how a report is asked for and drawn. All of it is by whole columns of the report.
type reportForm struct {
	kind         backoffice.ReportKind
	title, about string
	back, ahead  capability.Seconds // the time it is about, where nobody says another
	label        string             // the column below the bars: of times, or of names of which the greatest are drawn
	by           string             // how much of a time is a label: a layout of package time
	values       []string           // the columns of the bars; none: how many rows there are
}

func reportForms() []reportForm {
	return []reportForm{
		{backoffice.ReportUsage, "Usage", "what was used, by day, machine and feature", 30 * dayLong, 0, "day", "2006-01-02", []string{"served", "denied"}},
		{backoffice.ReportLicenses, "Licenses", "each line item, with what was used of it", 30 * dayLong, 0, "product", "", []string{"copies", "in_use"}},
		{backoffice.ReportDevices, "Devices", "each machine, and since when nothing was heard of it", 30 * dayLong, 0, "tier", "", []string{"copies"}},
		{backoffice.ReportExpiring, "Expiring soon", "line items that end in that time", 0, 365 * dayLong, "expires", "2006-01", []string{"copies", "in_use"}},
		{backoffice.ReportUnused, "Unused", "line items in force of which nothing was used in that time", 90 * dayLong, 0, "product", "", []string{"copies"}},
		{backoffice.ReportDenials, "Denials", "what was refused and why", 30 * dayLong, 0, "code", "", []string{"count"}},
		{backoffice.ReportSeats, "Seats", "seats that belong to somebody, and sessions that run", 30 * dayLong, 0, "product", "", nil},
	}
}

func (v *visit) reports() error {
	view := listView{Columns: []string{"Report", "About"}}
	for _, f := range reportForms() {
		view.Rows = append(view.Rows, listRow{f.title, "/reports/" + string(f.kind), []string{f.about}})
	}
	view.Intro = "Reports are made from the book: from its line items, and from the records of usage that machines sent with their requests, by file as well. Each record is counted once."
	return v.show("list", "Reports", view)
}

// reportData is freehold.report/1.
type reportData struct {
	Schema   string                `json:"schema"`
	Warnings []string              `json:"warnings"`
	Report   backoffice.ReportKind `json:"report"`
	From     capability.Time       `json:"from"`
	Until    capability.Time       `json:"until"` // the first moment after
	Account  string                `json:"account"`
	Columns  []string              `json:"columns"`
	Rows     []map[string]any      `json:"rows"`
	Totals   map[string]uint64     `json:"totals"`
}

func dataOf(f *reportForm, q backoffice.Query, r *capability.Table) reportData {
	return reportData{"freehold.report/1", []string{}, f.kind, q.From, q.Until, q.Account, r.Columns, r.Objects(), r.Totals}
}

// makeReport is a report as the values of an address cut it, of what who asks may see.
func (v *asker) makeReport(f *reportForm, values url.Values) (q backoffice.Query, r *capability.Table, err error) {
	if q, err = v.reportQuery(f, values); err != nil {
		return q, nil, err
	}
	err = v.read(func(o *backoffice.Office, pause backoffice.Pause) (err error) {
		if q.Account, err = v.cut(o, q.Account); err != nil {
			return err
		}
		r, err = backoffice.MakeReport(o.Book(), f.kind, q.InPieces(pause))
		return err
	})
	return q, r, err
}

// reportQuery is what a report is cut to, as the address says.
func (v *asker) reportQuery(f *reportForm, values url.Values) (q backoffice.Query, err error) {
	q = backoffice.Query{Account: values.Get("account"), Group: values.Get("group"), Now: v.now}
	if q.From, err = parsed(values, "from", day(false)); err != nil {
		return q, err
	}
	if q.Until, err = parsed(values, "to", day(true)); err != nil {
		return q, err
	}
	if q.Until == 0 {
		q.Until = v.now.Add(f.ahead)
	}
	q.Until++
	if q.From == 0 {
		q.From = min(v.now, q.Until).Add(-f.back)
	}
	if q.From >= q.Until {
		return q, capability.Refuse(capability.ErrForm, "from", "%s is after the end, %s", q.From, q.Until)
	}
	return q, nil
}

// maxRows of a report are in a page; all of them are in its files.
const maxRows = 500

type reportView struct {
	Fields  []web.Field
	Path    string
	Files   []link
	Plot    template.HTML
	Columns []string
	Rows    [][]string
	More    int
	Totals  []web.Fact
}

// report shows a report, or sends it as CSV, JSON or SVG, as its name ends.
func (v *visit) report() error {
	name, ending, _ := strings.Cut(v.r.PathValue("report"), ".")
	forms := reportForms()
	at := slices.IndexFunc(forms, func(f reportForm) bool { return string(f.kind) == name })
	if at < 0 {
		return foreign(name)
	}
	f := &forms[at]
	q, r, err := v.makeReport(f, v.r.URL.Query())
	if err != nil {
		return err
	}
	plot := f.plot(r, q)
	var b bytes.Buffer
	switch ending {
	case "":
		return v.showReport(f, q, r, plot.SVG())
	case "csv":
		if err := r.WriteCSV(&b); err != nil {
			return err
		}
		return v.send(name+".csv", "text/csv; charset=utf-8", b.Bytes())
	case "json":
		if err := json.NewEncoder(&b).Encode(dataOf(f, q, r)); err != nil {
			return err
		}
		return v.send(name+".json", "application/json", b.Bytes())
	case "svg":
		return v.send(name+".svg", "image/svg+xml", plot.SVG())
	}
	return foreign(v.r.PathValue("report"))
}

func (v *visit) showReport(f *reportForm, q backoffice.Query, r *capability.Table, svg []byte) error {
	path := "/reports/" + string(f.kind)
	view := reportView{Path: path, Plot: template.HTML(svg), Fields: []web.Field{
		{Name: "from", Label: "First day", Kind: web.KindDate, Value: q.From.String()[:len("2006-01-02")]},
		{Name: "to", Label: "Last day", Kind: web.KindDate, Value: (q.Until - 1).String()[:len("2006-01-02")]},
		{Name: "account", Label: "Account, with its parts", Kind: web.KindText, Value: q.Account},
		{Name: "group", Label: "Group", Kind: web.KindText, Value: q.Group},
	}}
	for _, kind := range []string{"CSV", "JSON", "SVG"} {
		view.Files = append(view.Files, link{web.PathTo(path+"."+strings.ToLower(kind), "from", v.query("from"), "to", v.query("to"), "account", v.query("account"), "group", v.query("group")), kind})
	}
	for _, c := range r.Columns {
		view.Columns = append(view.Columns, strings.ReplaceAll(c, "_", " "))
	}
	shown := r.Rows[:min(len(r.Rows), maxRows)]
	view.More = len(r.Rows) - len(shown)
	for _, row := range shown {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = capability.Cell(c)
		}
		view.Rows = append(view.Rows, cells)
	}
	for _, column := range slices.Sorted(maps.Keys(r.Totals)) {
		view.Totals = append(view.Totals, web.Fact{Name: "total " + strings.ReplaceAll(column, "_", " "), Value: fmt.Sprint(r.Totals[column])})
	}
	return v.show("report", f.title, view)
}

// maxBars are drawn of names: those with the most.
const maxBars = 24

// plot adds the rows up by their labels. Times are in order, without gaps between the months of a year; names are those with the most first. A row that names a user says more of what another one counts.
func (f *reportForm) plot(r *capability.Table, q backoffice.Query) *web.Plot {
	p := &web.Plot{Title: f.title, Description: fmt.Sprintf("%s, from %s until %s, by %s; the table has the numbers", f.about, q.From, q.Until, f.label)}
	at := slices.Index(r.Columns, f.label)
	user := slices.Index(r.Columns, "user")
	values := max(len(f.values), 1)
	sums := map[string][]uint64{}
	in := func(label string) []uint64 {
		if sums[label] == nil {
			sums[label] = make([]uint64, values)
		}
		return sums[label]
	}
	if f.by == "2006-01" {
		for month := q.From.Std(); len(sums) < 36 && month.Before(q.Until.Std()); month = month.AddDate(0, 0, 28) {
			in(month.Format(f.by))
		}
	}
	for _, row := range r.Rows {
		if f.kind == backoffice.ReportUsage && row[user] != "" {
			continue
		}
		label := capability.Cell(row[at])
		if t, is := row[at].(capability.Time); is && f.by != "" {
			label = t.Std().Format(f.by)
		}
		s := in(label)
		if len(f.values) == 0 {
			s[0]++
		}
		for n, column := range f.values {
			if count, is := row[slices.Index(r.Columns, column)].(uint64); is {
				s[n] = min(s[n]+count, capability.MaxUsed)
			}
		}
	}
	p.Labels = slices.Sorted(maps.Keys(sums))
	if f.by == "" {
		slices.SortStableFunc(p.Labels, func(a, b string) int { return cmp.Compare(slices.Max(sums[b]), slices.Max(sums[a])) })
		p.Labels = p.Labels[:min(len(p.Labels), maxBars)]
	}
	for n := range values {
		s := web.Series{Name: "seats and sessions"}
		if len(f.values) > 0 {
			s.Name = strings.ReplaceAll(f.values[n], "_", " ")
		}
		for _, label := range p.Labels {
			s.Values = append(s.Values, sums[label][n])
		}
		p.Series = append(p.Series, s)
	}
	return p
}
