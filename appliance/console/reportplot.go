package console

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
)

// Plot draws the report; nil where there is nothing to draw: a list of seats says more as a list.
func (r *Report) Plot(title string) []byte {
	title = strings.TrimSpace(title + " " + r.Feature)
	p := &web.Plot{Title: title, Description: fmt.Sprintf("%s, from %s until %s; the table has the numbers", title, r.From, r.Until)}
	switch r.Kind {
	case ReportUsage, ReportPeaks:
		if r.Feature == "" {
			return r.byFeature(p, "peak", true)
		}
		p.Series = []web.Series{{Name: "peak", Values: r.values("peak")}}
		p.Lines = []web.Series{{Name: "entitled", Values: r.values("entitled")}, {Name: "with overdraft", Values: r.sum("entitled", "overdraft")}}
		p.Marks = web.Series{Name: "denied", Values: r.values("denied")}
		p.Labels = r.labels(map[ReportKind]string{ReportUsage: "from", ReportPeaks: "day"}[r.Kind])
	case ReportDenials:
		r.byReason(p)
	case ReportLevels:
		if r.Feature == "" {
			return nil
		}
		p.Labels = r.labels("units")
		p.Series = []web.Series{{Name: "percent of the time", Values: r.values("percent_at_least")}}
	case ReportWeek:
		if r.Feature == "" {
			return nil
		}
		return r.grid(p)
	case ReportIdle:
		return r.byFeature(p, "idle_hours", false)
	case ReportExpiry:
		return r.byMonth(p)
	case ReportUnused:
		return r.byFeature(p, "count", false)
	case ReportWhatIf:
		p.Labels = r.labels("count")
		p.Series = []web.Series{{Name: "would refuse", Values: r.values("would_refuse")}, {Name: "would serve", Values: r.values("would_serve")}}
	default:
		return nil
	}
	return p.SVG()
}

// values are the numbers of a column; what is no number counts for nothing.
func (r *Report) values(column string) []uint64 {
	at := slices.Index(r.Columns, column)
	out := make([]uint64, len(r.Table.Rows))
	for i, row := range r.Table.Rows {
		out[i] = whole(row[at])
	}
	return out
}

// whole is a cell as a number, without its decimals.
func whole(cell any) uint64 {
	switch v := cell.(type) {
	case uint64:
		return v
	case string:
		var n uint64
		if _, err := fmt.Sscan(v, &n); err == nil {
			return n
		}
	}
	return 0
}

func (r *Report) sum(a, b string) []uint64 {
	out := r.values(a)
	for i, v := range r.values(b) {
		out[i] += v
	}
	return out
}

func (r *Report) labels(column string) []string {
	at := slices.Index(r.Columns, column)
	out := make([]string, len(r.Table.Rows))
	for i, row := range r.Table.Rows {
		out[i] = capability.Cell(row[at])
		if t, is := row[at].(capability.Time); is {
			out[i] = t.Add(capability.Seconds(r.Zone)).Std().Format(map[string]string{"hour": "2006-01-02 15h", "month": "2006-01"}[r.By])
			if r.By != "hour" && r.By != "month" {
				out[i] = t.Add(capability.Seconds(r.Zone)).Std().Format("2006-01-02")
			}
		}
	}
	return out
}

// maxPlotted are the labels that are drawn where they are names: those with the most.
const maxPlotted = 24

// byFeature draws one bar for each feature: the most of its rows, or all of them together.
func (r *Report) byFeature(p *web.Plot, column string, most bool) []byte {
	sums := map[string]uint64{}
	names := r.labels("feature")
	for i, v := range r.values(column) {
		if most {
			sums[names[i]] = max(sums[names[i]], v)
		} else {
			sums[names[i]] += v
		}
	}
	p.Labels = slices.Compact(slices.Sorted(slices.Values(names)))
	slices.SortStableFunc(p.Labels, func(a, b string) int { return cmp.Compare(sums[b], sums[a]) })
	p.Labels = p.Labels[:min(len(p.Labels), maxPlotted)]
	s := web.Series{Name: strings.ReplaceAll(column, "_", " ")}
	for _, name := range p.Labels {
		s.Values = append(s.Values, sums[name])
	}
	p.Series = []web.Series{s}
	return p.SVG()
}

// byReason draws the denials of each day, by the reasons that were given most; the last bar is of all others.
func (r *Report) byReason(p *web.Plot) {
	days, codes, lines := r.labels("day"), r.labels("reason"), r.values("lines")
	sums := map[string]uint64{}
	for i, n := range lines {
		sums[codes[i]] += n
	}
	reasons := slices.Compact(slices.Sorted(slices.Values(codes)))
	slices.SortStableFunc(reasons, func(a, b string) int { return cmp.Compare(sums[b], sums[a]) })
	p.Labels = slices.Compact(slices.Sorted(slices.Values(days)))
	for n, reason := range reasons[:min(len(reasons), web.MaxSeries)] {
		s := web.Series{Name: reason, Values: make([]uint64, len(p.Labels))}
		others := n == web.MaxSeries-1 && len(reasons) > web.MaxSeries
		if others {
			s.Name = "all others"
		}
		for i, day := range days {
			if codes[i] == reason || others && slices.Index(reasons, codes[i]) > n {
				at, _ := slices.BinarySearch(p.Labels, day)
				s.Values[at] += lines[i]
			}
		}
		p.Series = append(p.Series, s)
	}
}

// byMonth draws what ends in each month of the time, also where nothing does.
func (r *Report) byMonth(p *web.Plot) []byte {
	last := r.Until.Std()
	for month := r.From.Std(); len(p.Labels) < 36 && month.Before(last); month = month.AddDate(0, 1, 1-month.Day()) {
		p.Labels = append(p.Labels, month.Format("2006-01"))
	}
	s := web.Series{Name: "units that end", Values: make([]uint64, len(p.Labels))}
	counts := r.values("count")
	for i, day := range r.labels("day") {
		if at, here := slices.BinarySearch(p.Labels, day[:len("2006-01")]); here {
			s.Values[at] += counts[i]
		}
	}
	p.Series = []web.Series{s}
	return p.SVG()
}

func (r *Report) grid(p *web.Plot) []byte {
	const dayHours = 24
	g := &web.Grid{Title: p.Title, Description: p.Description}
	for hour := range dayHours {
		g.Columns = append(g.Columns, fmt.Sprint(hour))
	}
	days, peaks, averages := r.labels("weekday"), r.values("peak"), r.labels("average")
	for i := 0; i+dayHours <= len(days); i += dayHours {
		g.Rows = append(g.Rows, days[i])
		g.Values = append(g.Values, peaks[i:i+dayHours])
	}
	g.Words = func(row, column int) string {
		i := row*dayHours + column
		return fmt.Sprintf("%s, %d to %d: peak %d, average %s", days[i], column, column+1, peaks[i], averages[i])
	}
	return g.SVG()
}
