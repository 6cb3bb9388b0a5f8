package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// reportData is freehold.report/1. A row has a member for each column.
type reportData struct {
	terminal.Data
	Report  backoffice.ReportKind `json:"report"`
	From    capability.Time       `json:"from"`
	Until   capability.Time       `json:"until"` // first moment after
	Account string                `json:"account,omitempty"`
	Columns []string              `json:"columns"`
	Rows    []map[string]any      `json:"rows"`
	Totals  map[string]uint64     `json:"totals"`
}

// The time that a report is about where nobody says another.
const (
	reportBack  capability.Seconds = 30 * 24 * 60 * 60
	reportAhead capability.Seconds = 90 * 24 * 60 * 60
)

func reportCommand(f *flags) *cobra.Command {
	var from, to, format string
	q := backoffice.Query{}
	var kinds []string
	for _, k := range backoffice.ReportKinds() {
		kinds = append(kinds, string(k))
	}
	c := &cobra.Command{
		Use: "report " + strings.Join(kinds, "|"), Short: "Show what is used, what is not, and what ends",
		Long: "Reports are made from the book: from the line items in it, and from the records of usage that machines sent with their requests, by file as well. Each record is counted once, and the totals are those of what was acknowledged.\n\n" +
			"usage is one row for a day, a machine and a feature; rows that name a user say more of the same use, and are in no total. licenses and unused are about line items, devices about machines, " +
			"seats about who has one and who works, denials about what was refused and why, expiring about what ends in the time, which is the next 90 days unless --from and --to say another. For the others it is the last 30 days.\n\n" +
			"A machine that did not come to the back office for long has used more than the book knows: devices says since when nothing is known. In a table for a spreadsheet, what would be taken for a formula has an apostrophe in front. Moments are in ISO 8601 with their zone, which a spreadsheet may keep as text: of one in A2, =DATEVALUE(LEFT(A2;10))+TIMEVALUE(MID(A2;12;8)) is the date and time, in UTC.",
		Example:   "  freehold report usage --from 2026-10-01 --to 2026-10-31 --account Acme --format csv\n  freehold report unused",
		Args:      cobra.ExactArgs(1),
		ValidArgs: kinds,
		RunE: func(c *cobra.Command, args []string) (err error) {
			kind := backoffice.ReportKind(args[0])
			if !slices.Contains(kinds, args[0]) {
				return terminal.Usage("%s is no report: want %s", terminal.Plain(args[0]), strings.Join(kinds, ", "))
			}
			if f.json {
				format = "json"
			}
			if !slices.Contains([]string{"text", "csv", "json"}, format) {
				return terminal.Usage("--format %s: want text, csv or json", format)
			}
			q.Now = now()
			if q.From, err = date("from", from, false); err != nil {
				return err
			}
			if q.Until, err = date("to", to, true); err != nil {
				return err
			}
			if q.Until++; to == "" {
				q.Until = q.Now + 1
				if kind == backoffice.ReportExpiring {
					q.Until = q.Now.Add(reportAhead)
				}
			}
			if from == "" {
				q.From = q.Until.Add(-reportBack)
				if kind == backoffice.ReportExpiring {
					q.From = q.Now
				}
			}
			if q.From >= q.Until {
				return terminal.Usage("--from %s: it is after the end, %s", q.From, q.Until)
			}
			return f.look(func(o *backoffice.Office) error {
				if err := onRecord(o.Book(), q.Account, q.Group); err != nil {
					return err
				}
				r, err := backoffice.MakeReport(o.Book(), kind, q)
				if err != nil {
					return err
				}
				return printReport(c.OutOrStdout(), r, kind, q, format)
			})
		},
	}
	c.Flags().StringVar(&from, "from", "", "first `day`, like 2026-10-01, or a moment")
	c.Flags().StringVar(&to, "to", "", "last `day`, or a moment")
	c.Flags().StringVar(&q.Account, "account", "", "only of this account and its parts, by `name`")
	c.Flags().StringVar(&q.Group, "group", "", "only of line items of this group, by `name`")
	c.Flags().StringVar(&format, "format", "text", "`form` of the output: text, csv or json")
	return c
}

func printReport(w io.Writer, r *capability.Table, kind backoffice.ReportKind, q backoffice.Query, format string) error {
	switch format {
	case "csv":
		return r.WriteCSV(w)
	case "json":
		return printJSON(w, reportData{terminal.NewData("freehold.report/1"), kind, q.From, q.Until, q.Account, r.Columns, r.Objects(), r.Totals})
	}
	fmt.Fprintf(w, "%s from %s until %s%s\n", kind, q.From, q.Until, ofAccount(q.Account))
	if len(r.Rows) == 0 {
		_, err := fmt.Fprintln(w, "nothing")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ToUpper(strings.ReplaceAll(strings.Join(r.Columns, "\t"), "_", " ")))
	for _, row := range r.Rows {
		cells := make([]string, len(row))
		for i, v := range row {
			if cells[i] = terminal.Plain(capability.Cell(v)); r.Columns[i] == "host" {
				cells[i] = short(cells[i])
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, column := range slices.Sorted(maps.Keys(r.Totals)) {
		fmt.Fprintf(w, "total %s: %d\n", strings.ReplaceAll(column, "_", " "), r.Totals[column])
	}
	return nil
}

// onRecord refuses an account or a group that nothing on record names: an empty list would say that there is nothing.
func onRecord(b *entitlement.Book, account, group string) error {
	if account != "" && !b.HasAccount(account) {
		return capability.Refuse(capability.ErrNotFound, account, "no account has this name: freehold account list, freehold show")
	}
	if group != "" && !slices.ContainsFunc(b.Groups(), func(g entitlement.GroupView) bool { return g.Name == group }) {
		return capability.Refuse(capability.ErrNotFound, group, "nothing is in a group of that name: freehold group")
	}
	return nil
}

func ofAccount(name string) string {
	if name == "" {
		return ""
	}
	return ", of " + terminal.Plain(name)
}
