package portal

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

func (p *Portal) restReports() []operation {
	report, audit, entitle := needs(entitlement.ToReport), needs(entitlement.ToAudit), needs(entitlement.ToEntitle)
	return []operation{
		ask("list-reports", "GET /reports", report, "Reports there are", (*call).listReports),
		askSlowly("get-report", "GET /reports/{report}", report, "A report, as freehold.report/1", (*call).getReport),
		askBytes("get-report-csv", "GET /reports/{report}/csv", report, "A report as CSV (RFC 4180)", "text/csv; charset=utf-8", (*call).reportCSV),
		askBytes("export-table", "GET /tables/{table}/csv", report, "A table of the book, as an import reads it: accounts, products, models, entitlements; a customer has its own entitlements", "text/csv; charset=utf-8", (*call).exportTable),
		ask("import-table", "POST /tables", entitle, "Read a table in CSV or JSON into the book: all of it, or nothing", (*call).readTable).of(web.MaxUpload),
		ask("list-audit", "GET /audit", audit, "Entries of the book, the newest first", (*call).listAudit),
		ask("get-audit", "GET /audit/{number}", audit, "An entry of the book, whole", (*call).getAudit),
	}
}

type reportOut struct {
	Report backoffice.ReportKind `json:"report"`
	Title  string                `json:"title"`
	About  string                `json:"about"`
}

func (c *call) listReports(*backoffice.Office, *nothing) (page[reportOut], error) {
	list := page[reportOut]{Items: []reportOut{}}
	for _, f := range reportForms() {
		list.Items = append(list.Items, reportOut{f.kind, f.title, f.about})
	}
	return list, nil
}

type reportIn struct {
	Report  string `path:"report" maxLength:"32"`
	From    string `query:"from" maxLength:"32" doc:"first day, as 2006-01-02, or a moment"`
	To      string `query:"to" maxLength:"32" doc:"last day, or a moment"`
	Account string `query:"account" maxLength:"128" doc:"with its parts"`
	Group   string `query:"group" maxLength:"128"`
}

// reportOf is the report that a path names.
func (c *call) reportOf(in *reportIn) (*reportForm, backoffice.Query, *capability.Table, error) {
	forms := reportForms()
	at := slices.IndexFunc(forms, func(f reportForm) bool { return string(f.kind) == in.Report })
	if at < 0 {
		return nil, backoffice.Query{}, nil, foreign(in.Report)
	}
	q, r, err := c.makeReport(&forms[at], c.r.URL.Query())
	return &forms[at], q, r, err
}

func (c *call) getReport(in *reportIn) (reportData, error) {
	f, q, r, err := c.reportOf(in)
	if err != nil {
		return reportData{}, err
	}
	return dataOf(f, q, r), nil
}

func (c *call) reportCSV(in *reportIn) ([]byte, error) {
	_, _, r, err := c.reportOf(in)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = r.WriteCSV(&b)
	return b.Bytes(), err
}

type tableIn struct {
	Table string `path:"table" maxLength:"32"`
}

func (c *call) exportTable(in *tableIn) ([]byte, error) {
	return c.exported(in.Table+".csv", backoffice.Noun(in.Table), backoffice.WriteCSV)
}

type importIn struct{ RawBody []byte }

type importOut struct {
	New     int  `json:"new"`
	Changed int  `json:"changed"`
	Same    int  `json:"same"`
	Again   bool `json:"again,omitempty"` // it was done before, under its key
}

func (c *call) readTable(o *backoffice.Office, in *importIn) (importOut, error) {
	n, rows, err := backoffice.ReadTable(bytes.Clone(in.RawBody))
	if err != nil {
		return importOut{}, err
	}
	made, err := o.Import(n, rows, c.login.Name, c.now)
	if err != nil {
		return importOut{}, err
	}
	return importOut{made.New, made.Changed, made.Same, made.Again}, nil
}

type auditIn struct {
	Search
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"500"`
	By     string `query:"by" maxLength:"128"`
	Before uint64 `query:"before" doc:"only entries with smaller numbers; the next page begins with next, of this one"`
}

// AuditEntry is an entry of the book in words.
type AuditEntry struct {
	Number  uint64          `json:"number"`
	Time    capability.Time `json:"time"`
	By      string          `json:"by,omitempty"`
	Token   string          `json:"token,omitempty"` // of the login, with which a program asked for it
	What    string          `json:"what"`
	Subject string          `json:"subject,omitempty"`
	Detail  string          `json:"detail,omitempty"`
}

func auditEntry(n uint64, e *entitlement.Entry, what, detail string) AuditEntry {
	out := AuditEntry{Number: n, Time: e.Time, By: e.By, What: what, Subject: e.Subject(), Detail: detail}
	if e.Token != nil {
		out.Token = e.Token.Name
	}
	return out
}

// listAudit reads so far back until the page is full, or as far as one page looks.
func (c *call) listAudit(o *backoffice.Office, in *auditIn) (page[AuditEntry], error) {
	out := page[AuditEntry]{Items: []AuditEntry{}}
	rows, to, err := c.pastEntries(o, in.Before, strings.ToLower(in.Text), in.By, in.Limit)
	for _, r := range rows {
		out.Items = append(out.Items, auditEntry(r.Number, r.entry, r.What, r.Detail))
	}
	if to > 1 {
		out.Next = strconv.FormatUint(to, 10)
	}
	return out, err
}

type auditRef struct {
	Number uint64 `path:"number"`
}

type entryOut struct {
	AuditEntry
	Entry json.RawMessage `json:"entry"`
}

func (c *call) getAudit(o *backoffice.Office, in *auditRef) (out entryOut, err error) {
	if _, length := o.Book().Head(); in.Number == 0 || in.Number > length {
		return out, foreign(strconv.FormatUint(in.Number, 10))
	}
	err = o.History(in.Number, func(n uint64, e *entitlement.Entry) (err error) {
		what, detail := c.p.wordsOf(e)
		out.AuditEntry = auditEntry(n, e, what, detail)
		if out.Entry, err = json.Marshal(e); err != nil {
			return err
		}
		return errRead
	})
	if errors.Is(err, errRead) {
		err = nil
	}
	return out, err
}
