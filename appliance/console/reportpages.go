package console

import (
	"bytes"
	"encoding/json"
	"html/template"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

func reportRoutes() []route {
	report := needs(ledger.ToReport)
	return []route{
		{pattern: "GET /reports", gate: report, do: (*visit).reportList},
		{pattern: "GET /reports/{report}", gate: report, do: (*visit).reportPage},
		{pattern: "GET /reports/{report}/{file}", gate: report, do: (*visit).reportFile},
	}
}

func reportPath(kind ReportKind) string { return "/reports/" + string(kind) }

func (v *visit) reportList() error {
	return v.show("list", "Reports", listPage{
		Intro: "Reports are made from the entries, so that what was in use at a moment is exact. The first one after a start waits until all of them are read.",
		Table: tableOf(v, "/reports", ReportInfos(), []column[ReportInfo]{
			{name: "report", title: "Report", text: func(i *ReportInfo) string { return i.Title }, path: func(i *ReportInfo) string { return reportPath(i.Kind) }},
			{name: "about", title: "What It Says", text: func(i *ReportInfo) string { return i.About }},
		}, "No report like that."),
	})
}

type reportView struct {
	Path, About, Sentence string
	Warnings              []string
	Fields                []web.Field
	Files                 []navLink
	Plot                  template.HTML
	Columns               []string
	Rows                  [][]string
	More                  int
	Totals                web.Facts
}

// maxReportShown rows of a report are in its page; all of them are in its files.
const maxReportShown = 500

func (v *visit) reportPage() error {
	kind := ReportKind(v.r.PathValue("report"))
	infos := ReportInfos()
	at := slices.IndexFunc(infos, func(i ReportInfo) bool { return i.Kind == kind })
	if at < 0 {
		return notThere(string(kind))
	}
	path := reportPath(kind)
	view := reportView{Path: path, About: infos[at].About, Fields: []web.Field{
		{Name: "feature", Label: "Feature", Hint: "all if empty", Kind: web.KindText, Value: v.query("feature")},
		{Name: "from", Label: "First day", Kind: web.KindDate, Value: v.query("from")},
		{Name: "to", Label: "Last day", Kind: web.KindDate, Value: v.query("to")},
		{Name: "by", Label: "Steps", Kind: web.KindSelect, Options: []string{"", "hour", "day", "month"}, Value: v.query("by")},
	}}
	if kind == ReportWhatIf {
		view.Fields = append(view.Fields, web.Field{Name: "count", Label: "Units instead", Kind: web.KindNumber, Value: v.query("count")})
	}
	if kind == ReportWhatIf && (v.query("feature") == "" || v.query("count") == "") {
		view.Sentence = "Name a feature, and how many units of it there would be instead."
		return v.show("report", infos[at].Title, view)
	}
	r, err := v.reportOf(v.r, kind)
	if err != nil {
		v.Refused = err // beside the fields that it is about
		return v.show("report", infos[at].Title, view)
	}
	view.Sentence, view.Warnings = r.Sentence, r.Warnings
	for _, name := range r.Columns {
		view.Columns = append(view.Columns, strings.ReplaceAll(name, "_", " "))
	}
	if svg := r.Plot(infos[at].Title); svg != nil {
		view.Plot = template.HTML(svg)
	}
	for n, row := range r.Table.Rows {
		if n == maxReportShown {
			view.More = len(r.Table.Rows) - n
			break
		}
		var cells []string
		for _, c := range row {
			cells = append(cells, capability.Cell(c))
		}
		view.Rows = append(view.Rows, cells)
	}
	for _, name := range r.Columns {
		if n, ok := r.Totals[name]; ok {
			view.Totals = append(view.Totals, web.Fact{Name: strings.ReplaceAll(name, "_", " ") + ", all", Value: counted(n)})
		}
	}
	for _, ending := range []string{"csv", "json", "svg"} {
		if ending != "svg" || view.Plot != "" {
			view.Files = append(view.Files, navLink{web.PathTo(path+"/report."+ending, "feature", v.query("feature"), "from", v.query("from"), "to", v.query("to"), "by", v.query("by"), "count", v.query("count")), strings.ToUpper(ending)})
		}
	}
	return v.show("report", infos[at].Title, view)
}

func (v *visit) reportFile() error {
	kind := ReportKind(v.r.PathValue("report"))
	ending, is := strings.CutPrefix(v.r.PathValue("file"), "report.")
	if !is {
		return notThere(v.r.PathValue("file"))
	}
	r, err := v.reportOf(v.r, kind)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	media := ""
	switch ending {
	case "csv":
		media, err = "text/csv; charset=utf-8", r.Table.WriteCSV(&b)
	case "json":
		media, err = "application/json", json.NewEncoder(&b).Encode(r)
	case "svg":
		media, err = "image/svg+xml", r.plot(&b)
	default:
		err = capability.Refuse(capability.ErrNotFound, ending, "")
	}
	if err != nil {
		return err
	}
	return v.give(string(kind)+"."+ending, media, b.Bytes())
}
