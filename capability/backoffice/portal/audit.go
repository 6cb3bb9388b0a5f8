package portal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

func (p *Portal) auditRoutes() []route {
	audit := needs(entitlement.ToAudit)
	return []route{
		{pattern: "GET /audit", gate: audit, do: (*visit).audit},
		{pattern: "GET /audit/{number}", gate: audit, do: (*visit).entry},
		{pattern: "POST /audit/verify", gate: audit, do: (*visit).verify},
	}
}

type auditView struct {
	web.Sent
	Search  web.Search
	Head    string
	Entries uint64
	Rows    []auditRow
	Next    string
	To      uint64 // the entry down to which was looked
}

type auditRow struct {
	Number                          uint64
	At                              capability.Time
	Time, By, What, Subject, Detail string // By with the token
	entry                           *entitlement.Entry
}

const (
	auditStep = 1000   // entries that are read at once, from the newest
	auditMost = 20_000 // that one page looks at
)

// errRead ends a reading of the history where a page needs no more.
var errRead = errors.New("as much as was wanted")

func (v *visit) audit() error {
	text, by := strings.ToLower(v.query("q")), v.query("by")
	view := auditView{Sent: v.Sent, Search: web.Search{Path: "/audit", Text: v.query("q"), More: []web.Field{{Name: "by", Label: "By", Kind: web.KindText, Value: by}}}}
	before, _ := strconv.ParseUint(v.query("before"), 10, 64)
	err := v.office(func(o *backoffice.Office) error {
		head, length := o.Book().Head()
		view.Head, view.Entries = fmt.Sprintf("%x", head), length
		var err error
		if view.Rows, view.To, err = v.pastEntries(o, before, text, by, pageRows); err != nil {
			return err
		}
		if view.To > 1 {
			view.Next = web.PathTo("/audit", "q", v.query("q"), "by", by, "before", strconv.FormatUint(view.To, 10))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("audit", "Audit", view)
}

// pastEntries are at most limit entries before one of a number (zero: of all), the newest first, that have a text and are by somebody; to is the entry down to which was looked.
func (v *asker) pastEntries(o *backoffice.Office, before uint64, text, by string, limit int) (rows []auditRow, to uint64, err error) {
	_, length := o.Book().Head()
	if to = length + 1; before > 0 && before < to {
		to = before
	}
	for looked := 0; to > 1 && len(rows) < limit && looked < auditMost; looked += auditStep {
		from := uint64(1)
		if to > auditStep {
			from = to - auditStep
		}
		found, err := v.entries(o, from, to, text, by)
		if err != nil {
			return nil, 0, err
		}
		to = from
		for n := len(found) - 1; n >= 0; n-- { // the newest first
			if len(rows) == limit {
				to = rows[limit-1].Number
				break
			}
			rows = append(rows, found[n])
		}
	}
	return rows, to, nil
}

// entries are those from a number on and before another that have a text and are by somebody, in order.
func (v *asker) entries(o *backoffice.Office, from, end uint64, text, by string) (found []auditRow, err error) {
	err = o.History(from, func(n uint64, e *entitlement.Entry) error {
		if n >= end {
			return errRead
		}
		what, detail := v.p.wordsOf(e)
		r := auditRow{n, e.Time, e.Time.String(), e.Who(), what, e.Subject(), detail, e}
		if (by == "" || strings.EqualFold(by, e.By)) && (text == "" || strings.Contains(strings.ToLower(strings.Join([]string{r.By, r.What, r.Subject, r.Detail}, "\x00")), text)) {
			found = append(found, r)
		}
		return nil
	})
	if errors.Is(err, errRead) {
		err = nil
	}
	return found, err
}

// wordsOf says what an entry did.
func (p *Portal) wordsOf(e *entitlement.Entry) (what, detail string) {
	if p.Words == nil {
		return "wrote", ""
	}
	return p.Words(e)
}

type entryView struct {
	Facts web.Facts
	Whole string
}

// entry shows one entry with everything that is in it.
func (v *visit) entry() error {
	text := v.r.PathValue("number")
	number, err := strconv.ParseUint(text, 10, 64)
	view, there := entryView{}, false
	if err != nil || number == 0 {
		return foreign(text)
	}
	err = v.office(func(o *backoffice.Office) error {
		if _, length := o.Book().Head(); number > length {
			return nil
		}
		err := o.History(number, func(n uint64, e *entitlement.Entry) error {
			what, detail := v.p.wordsOf(e)
			view.Facts.Add("Time", e.Time)
			view.Facts.Add("By", e.Who())
			view.Facts.Add("What", what)
			view.Facts.Add("Subject", e.Subject())
			view.Facts.Add("Detail", detail)
			view.Facts.Add("Follows", fmt.Sprintf("%x", e.Before))
			b, err := json.Marshal(e)
			if err != nil {
				return err
			}
			var whole bytes.Buffer
			if err := json.Indent(&whole, b, "", "  "); err != nil {
				return err
			}
			view.Whole, there = whole.String(), true
			return errRead
		})
		if errors.Is(err, errRead) {
			err = nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if !there {
		return foreign(text)
	}
	return v.show("entry", "Entry "+text, view)
}

// A check of the whole history is work for some time, so that there are few of them, whoever asks.
const (
	verifiesAtOnce = 3
	verifyInterval = time.Minute
)

// verify reads the whole history, in pieces between which others are served.
func (v *visit) verify() error {
	if _, err := v.form(); err != nil {
		return err
	}
	if wait := v.p.verifies.Take(""); wait > 0 {
		return v.again(capability.Refuse(capability.ErrThrottled, "", "it was checked just now; the next time in %s", wait.Round(time.Second)), (*visit).audit)
	}
	if err := v.office(func(*backoffice.Office) error { return nil }); err != nil {
		return err
	}
	n, err := v.p.Desk.Verify()
	if err != nil {
		return v.again(err, (*visit).audit)
	}
	v.say("%d entries, each follows the one before, and together they are the book.", n)
	return v.goTo("/audit")
}
