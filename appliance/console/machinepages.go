package console

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

func machineRoutes() []route {
	see, secure, audit := needs(ledger.ToSee), needs(ledger.ToSecure), needs(ledger.ToAudit)
	return []route{
		{pattern: "GET /hostids", gate: see, do: (*visit).hostIDs},
		{pattern: "POST /hostids/planned", gate: secure, do: (*visit).planForm, stands: true},
		{pattern: "GET /time", gate: see, do: (*visit).timePage},
		{pattern: "POST /time", gate: secure, do: (*visit).timeForm},
		{pattern: "GET /audit", gate: audit, do: (*visit).auditPage},
		{pattern: "GET /audit/{number}", gate: audit, do: (*visit).entryPage},
	}
}

type machineView struct {
	web.Sent
	Facts   web.Facts
	Changes []string
	Gone    []Host
	Alarms  []Alarm
	Table   tableView
	Secures bool
}

func (v *visit) hostIDs() error {
	m, err := got[*Machine](v, v.Console.machine)
	if err != nil {
		return err
	}
	view := machineView{Sent: v.Sent, Changes: m.Changes, Gone: m.Gone, Alarms: m.Alarms, Secures: v.may(ledger.ToSecure)}
	view.Facts.Add("Outcome", m.Outcome)
	view.Facts.Add("Rule", m.Rule)
	view.Facts.Add("Score", fmt.Sprintf("%d of %d", m.Score, m.Of))
	view.Facts.Add("Since", m.Since)
	view.Facts.Add("Grace until", m.Grace)
	view.Facts.Add("Change planned until", m.Planned)
	view.Facts.Add("Planned by", m.By)
	view.Facts.Add("Virtual machine", m.Platform.Virtual)
	view.Facts.Add("Container", m.Platform.Container)
	view.Facts.Add("Looked at", m.At)
	if m.Requested {
		view.Facts.Add("Last request", "names what is there now")
	} else {
		view.Facts.Add("Last request", "does not name what is there now: the next one does")
	}
	yes := func(b bool) string { return map[bool]string{true: "yes", false: "no"}[b] }
	view.Table = tableOf(v, "/hostids", m.IDs, []column[MachineID]{
		{name: "value", title: "Host ID", id: true, text: func(i *MachineID) string { return i.Host.Value }},
		{name: "type", title: "ID Type", text: func(i *MachineID) string { return i.Host.Type }},
		{name: "strength", title: "Strength", text: func(i *MachineID) string { return i.Strength }},
		{name: "source", title: "Source", text: func(i *MachineID) string { return i.Source }},
		{name: "flaw", title: "Flaw", text: func(i *MachineID) string { return i.Flaw }},
		{name: "counts", title: "Can Be Bound", text: func(i *MachineID) string { return yes(i.Counts) }},
		{name: "bound", title: "Bound", text: func(i *MachineID) string { return yes(i.Bound) }},
	}, "No host ID is known.")
	return v.show("hostids", "Host IDs", view)
}

func (v *visit) planForm() error {
	if _, err := v.form(); err != nil {
		return err
	}
	return v.again(v.act(func() (string, error) {
		if err := v.Appliance.PlanChange(v.r.Context(), v.by); err != nil {
			return "", err
		}
		v.say("A change of the machine is planned: what is missing meanwhile starts no grace.")
		return "/hostids", nil
	}), (*visit).hostIDs)
}

type timeView struct {
	web.Sent
	Facts   web.Facts
	Secures bool
	Asks    bool // for the password
	Now     string
}

func (v *visit) timePage() error {
	c, err := got[*Clock](v, v.Console.time)
	if err != nil {
		return err
	}
	view := timeView{Sent: v.Sent, Secures: v.may(ledger.ToSecure), Asks: v.asks(), Now: c.Trusted.String()}
	view.Facts.Marked("State", c.State, map[bool]string{true: "good", false: "warn"}[c.State == "trusted"])
	view.Facts.Add("Trusted time", c.Trusted)
	view.Facts.Add("System clock", c.System)
	if c.Behind != 0 {
		view.Facts.Add("System clock is behind by", c.Behind.String())
	}
	if c.Correction != 0 {
		view.Facts.Add("Corrected by", c.Correction.String()+", until the next start")
	}
	return v.show("time", "Time", view)
}

// timeForm states what time it is.
func (v *visit) timeForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if err := v.prove(form); err != nil {
		return v.again(err, (*visit).timePage)
	}
	return v.again(v.act(func() (string, error) {
		var t capability.Time
		if form.Get("do") != "right" {
			var err error
			if t, err = capability.ParseDate(strings.TrimSpace(form.Get("time")), false); err != nil {
				return "", capability.Refuse(capability.ErrForm, "time", "%v", err)
			}
		}
		c, err := v.stateTime(v.r.Context(), t, v.by)
		if err != nil {
			return "", err
		}
		v.say("The trusted time is %s, and the clock is %s.", c.Trusted, c.State)
		return "/time", nil
	}), (*visit).timePage)
}

type auditView struct {
	Search, By string
	Facts      web.Facts
	Rows       []auditRow
	Next       string
	To         uint64 // the entry down to which was looked
}

type auditRow struct {
	Number                  uint64
	Time, By, What, Subject string
}

// auditPage shows the entries, the newest first.
func (v *visit) auditPage() error {
	last, digest, err := v.head()
	if err != nil {
		return err
	}
	view := auditView{Search: v.query("q"), By: v.query("by"), To: last + 1}
	view.Facts.Add("Entries", last)
	view.Facts.Add("Head", fmt.Sprintf("%x", digest))
	if before, err := strconv.ParseUint(v.query("before"), 10, 64); err == nil && before > 0 && before < view.To {
		view.To = before
	}
	text, by, size := strings.ToLower(strings.TrimSpace(view.Search)), strings.TrimSpace(view.By), v.pageSize()
	for looked := 0; view.To > 1 && len(view.Rows) < size && looked < pastMost; looked += pastStep {
		from := uint64(1)
		if view.To > pastStep {
			from = view.To - pastStep
		}
		var found []auditRow
		err := v.entries(from, view.To, func(e *ledger.Entry) error {
			r := auditRow{Number: e.Position, Time: e.Now.Wall.String()}
			r.What, r.Subject, r.By = e.Words()
			if (by == "" || strings.Contains(strings.ToLower(r.By), strings.ToLower(by))) && (text == "" || strings.Contains(strings.ToLower(strings.Join([]string{r.By, r.What, r.Subject}, "\x00")), text)) {
				found = append(found, r)
			}
			return nil
		})
		if err != nil {
			return err
		}
		view.To = from
		for n := len(found) - 1; n >= 0; n-- {
			if len(view.Rows) == size {
				view.To = view.Rows[size-1].Number
				break
			}
			view.Rows = append(view.Rows, found[n])
		}
	}
	if view.To > 1 {
		view.Next = web.PathTo("/audit", "q", view.Search, "by", view.By, "before", strconv.FormatUint(view.To, 10))
	}
	return v.show("audit", "Audit", view)
}

type entryView struct {
	Facts web.Facts
	Whole string
}

// entryPage shows one entry with everything that is in it.
func (v *visit) entryPage() error {
	text := v.r.PathValue("number")
	number, err := strconv.ParseUint(text, 10, 64)
	last, _, herr := v.head()
	if herr != nil {
		return herr
	}
	if err != nil || number == 0 || number > last {
		return notThere(text)
	}
	view, there := entryView{}, false
	err = v.entries(number, number+1, func(e *ledger.Entry) error {
		what, subject, by := e.Words()
		view.Facts.Add("Time", e.Now.Wall)
		view.Facts.Add("By", by)
		view.Facts.Add("What", what)
		view.Facts.Add("About", subject)
		view.Facts.Add("Follows", fmt.Sprintf("%x", e.Previous))
		if e.Admitted != nil { // what is kept of passwords and tokens is nobody's to look at
			e.Admitted.Login.Password, e.Admitted.Login.Tokens = nil, nil
		}
		b, err := json.MarshalIndent(e, "", "  ")
		view.Whole, there = string(b), true
		return err
	})
	if err != nil {
		return err
	}
	if !there {
		return notThere(text)
	}
	return v.show("entry", "Entry "+text, view)
}
