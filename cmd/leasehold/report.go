package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// reportKindCommands are the reports of the appliance. They share a verb with the report of a metered feature; a feature that is called like one of them is reported with its version: usage:1.0.
func (p *program) reportKindCommands() (list []*cobra.Command) {
	for _, info := range console.ReportInfos() {
		list = append(list, p.reportKindCommand(info))
	}
	return list
}

func (p *program) reportKindCommand(info console.ReportInfo) *cobra.Command {
	var format string
	values := map[string]*string{}
	c := &cobra.Command{
		Use: string(info.Kind), Short: info.Title + ": " + firstOf(info.About), Args: cobra.NoArgs,
		Long: strings.ToUpper(info.About[:1]) + info.About[1:] + ".\n\n" +
			"The numbers come from the entries of trusted storage, and not from samples: a peak of one second is in them. The first report after a start waits until the entries are read.\n\n" +
			"Days begin where the setting zone-offset says. In a table for a spreadsheet, what would be taken for a formula has an apostrophe in front. Moments are in ISO 8601 with their zone, which a spreadsheet may keep as text: of one in A2, =DATEVALUE(LEFT(A2;10))+TIMEVALUE(MID(A2;12;8)) is the date and time, in UTC.",
		Example: fmt.Sprintf("  leasehold report %s --from 2026-10-01 --to 2026-10-31 -o csv", info.Kind),
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{}
			for name, v := range values {
				if *v != "" {
					q.Set(name, *v)
				}
			}
			if p.json {
				format = "json"
			}
			return p.printReport(c, info, q, format)
		},
	}
	flag := func(name, about string) {
		values[name] = c.Flags().String(name, "", about)
	}
	flag("feature", "only of this feature, by `name`")
	flag("from", "first `day`, like 2026-10-01, or a moment like 2026-10-01T08:00:00Z")
	flag("to", "last `day`, or a moment")
	switch info.Kind {
	case console.ReportUsage, console.ReportIdle:
		flag("by", "rows by `step`: hour, day or month")
	case console.ReportWhatIf:
		flag("count", "as if there were `N` units")
	}
	c.Flags().StringVarP(&format, "output", "o", "text", "`form` of the output: text, csv, json or svg")
	if err := c.RegisterFlagCompletionFunc("feature", p.completeFeature); err != nil {
		panic(err) // the flag is there
	}
	return c
}

// firstOf is the first part of a sentence that goes on.
func firstOf(sentence string) string {
	first, _, _ := strings.Cut(sentence, ";")
	return first
}

func (p *program) printReport(c *cobra.Command, info console.ReportInfo, q url.Values, format string) error {
	path := "reports/" + string(info.Kind)
	switch format {
	case "csv", "svg":
		return p.stream(c.Context(), path+"/"+format+"?"+q.Encode(), func(r io.Reader) error {
			_, err := io.Copy(p.out, r)
			return err
		})
	case "json", "text":
	default:
		return terminal.Usage("-o %s: want text, csv, json or svg", format)
	}
	var body []byte
	if err := p.call(c.Context(), http.MethodGet, path+"?"+q.Encode(), nil, &body); err != nil {
		return err
	}
	if format == "json" {
		_, err := p.out.Write(body)
		return err
	}
	var r console.Report
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&r); err != nil {
		return terminal.Coded(capability.ErrInternal, fmt.Errorf("the daemon's report is not the JSON this program knows: %w", err))
	}
	for _, warning := range r.Warnings {
		p.say("warning: %s\n", terminal.Plain(warning))
	}
	p.printf("%s from %s until %s\n", info.Title, r.From, r.Until)
	if len(r.Rows) == 0 {
		p.printf("nothing\n")
		return nil
	}
	head := strings.ToUpper(strings.ReplaceAll(strings.Join(r.Columns, "\t"), "_", " "))
	if err := p.table(head, len(r.Rows), func(i int) string {
		cells := make([]string, len(r.Columns))
		for n, column := range r.Columns {
			cells[n] = reportCell(column, r.Rows[i][column])
		}
		return strings.Join(cells, "\t")
	}); err != nil {
		return err
	}
	for _, column := range slices.Sorted(maps.Keys(r.Totals)) {
		p.printf("total %s: %d\n", strings.ReplaceAll(column, "_", " "), r.Totals[column])
	}
	if r.Sentence != "" {
		p.printf("%s\n", terminal.Plain(r.Sentence))
	}
	return nil
}

// reportCell is a cell of a report in words.
func reportCell(column string, cell any) string {
	if n, is := cell.(json.Number); is && slices.Contains([]string{"from", "until", "day", "starts", "ends", "last_used"}, column) {
		seconds, err := n.Int64()
		if err != nil || seconds == 0 {
			return "-"
		}
		return minute(capability.Time(seconds))
	}
	if text := fmt.Sprint(cell); text != "" {
		return strings.ReplaceAll(text, "\t", " ")
	}
	return "-"
}
