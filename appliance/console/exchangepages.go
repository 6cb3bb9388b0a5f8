package console

import (
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/wire"
)

func exchangeRoutes() []route {
	see, exchange := needs(ledger.ToSee), needs(ledger.ToExchange)
	return []route{
		{pattern: "GET /online", gate: see, do: (*visit).onlinePage},
		{pattern: "POST /online", gate: exchange, do: (*visit).activateForm, stands: true},
		{pattern: "GET /online/update", gate: see, do: (*visit).updatePage},
		{pattern: "POST /online/update", gate: exchange, do: (*visit).refreshForm, stands: true},
		{pattern: "GET /offline", gate: see, do: (*visit).offlinePage},
		{pattern: "POST /offline/request", gate: exchange, do: (*visit).requestForm},
		{pattern: "GET /offline/requests/{name}", gate: exchange, do: (*visit).requestFile},
		{pattern: "POST /offline/response", gate: exchange, do: (*visit).responseForm},
	}
}

// idLine is a line of a form that asks for copies of an activation ID.
type idLine struct{ ID, Count string }

// idLines are those of a form, with a button pressed that adds or removes one; pressed is none for any other button.
func idLines(form url.Values) (list []idLine, pressed bool) {
	counts := form["count"]
	for i, id := range form["id"] {
		l := idLine{ID: id}
		if i < len(counts) {
			l.Count = counts[i]
		}
		list = append(list, l)
	}
	do := form.Get("do")
	at, removes := strings.CutPrefix(do, "remove ")
	switch {
	case do == "more":
		return append(list, idLine{}), true
	case removes:
		if n, err := strconv.Atoi(at); err == nil && n >= 0 && n < len(list) {
			list = append(list[:n:n], list[n+1:]...)
		}
		return list, true
	}
	return list, false
}

// wishOf is what lines ask for. An empty line asks for nothing.
func wishOf(list []idLine) (w Wish, err error) {
	for i, l := range list {
		if strings.TrimSpace(l.ID) == "" && strings.TrimSpace(l.Count) == "" {
			continue
		}
		id, err := capability.ParseActivationID(strings.TrimSpace(l.ID))
		if err != nil {
			return w, capability.Refuse(capability.ErrForm, "id", "line %d: %v", i+1, err)
		}
		n, err := strconv.ParseUint(strings.TrimSpace(l.Count), 10, 32)
		if err != nil || n > capability.MaxCount {
			return w, capability.Refuse(capability.ErrForm, "count", "line %d: %q is no number from 0 to %d", i+1, l.Count, capability.MaxCount)
		}
		w.Desired = append(w.Desired, capability.Desired{ActivationID: id, Count: uint32(n)})
	}
	return w, nil
}

// linesView is the part of a page where lines are typed.
type linesView struct {
	Path, Button string
	Lines        []idLine
}

// typedLines are the lines of a form that was refused, or one to begin with.
func (v *visit) typedLines(path string) []idLine {
	if v.Action == path {
		if list, _ := idLines(v.Filled); len(list) > 0 {
			return list
		}
	}
	return []idLine{{}}
}

type onlineView struct {
	web.Sent
	Tabs      []tab
	Exchanges bool
	Lines     linesView
	Problem   *web.Problem // why nothing is asked online
	Polling   web.Facts
	Outcome   []outcomeView
	Last      *web.Problem // why the last try brought nothing
	Changes   []Change
}

// outcomeView is what became of one line.
type outcomeView struct {
	ID      string
	Count   uint32
	Problem string // empty: it is in force
}

func onlineTabs(here string) []tab {
	return tabs(here, navLink{"/online", "Online Activations"}, navLink{"/online/update", "Update Licenses"})
}

func (v *visit) onlinePage() error {
	view := onlineView{Sent: v.Sent, Tabs: onlineTabs("/online"), Exchanges: v.may(ledger.ToExchange), Lines: linesView{"/online", "Activate", v.typedLines("/online")}}
	return v.online("online", view)
}

func (v *visit) updatePage() error {
	return v.online("update", onlineView{Sent: v.Sent, Tabs: onlineTabs("/online/update"), Exchanges: v.may(ledger.ToExchange)})
}

// online shows a page with how it goes with the back office. With done in the address it waits for the end of a try, for a while.
func (v *visit) online(page string, view onlineView) error {
	var p *Polling
	err := error(capability.Refuse(capability.ErrNotPolled, "", "%s is not set", ledger.OfficeURL))
	if v.Poll != nil {
		p, err = got[*Polling](v, v.Poll.look)
	}
	if err != nil {
		_, problem := v.explain(err)
		view.Problem = &problem
	}
	if p != nil {
		view.Polling = pollingFacts(p)
		if last := p.Last; last != nil {
			if last.Problem != nil {
				e := last.Problem.Code.Entry()
				view.Last = &web.Problem{Code: last.Problem.Code.String(), What: last.Problem.Text, Cause: e.Cause, Next: e.Next}
			}
			for _, l := range last.Lines {
				o := outcomeView{ID: string(l.ActivationID), Count: l.Count}
				if l.Problem != nil {
					o.Problem = l.Problem.Code.String() + " " + l.Problem.Text
				}
				view.Outcome = append(view.Outcome, o)
			}
			if last.Imported != nil {
				view.Changes = last.Imported.Changes
			}
		}
	}
	return v.show(page, "Online Server Updates", view)
}

func pollingFacts(p *Polling) (f web.Facts) {
	f.Add("Back office", p.URL)
	f.Add("Asked every", p.Every.String())
	if p.Running {
		f.Marked("Program that asks", "runs", "good")
	} else {
		f.Marked("Program that asks", "does not run", "bad")
	}
	f.Add("Last exchange", p.Reached)
	f.Add("Not reached since", p.Since)
	f.Add("Tries that reached nothing", p.Tries)
	f.Add("Next try", p.Next)
	if p.Last != nil {
		f.Add("Last try", fmt.Sprintf("request %d, at %s", p.Last.Number, p.Last.At))
	}
	return f
}

func (v *visit) activateForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if list, pressed := idLines(form); pressed {
		v.Sent = web.Sent{Action: "/online", Filled: formOf(list)}
		return v.onlinePage()
	}
	return v.again(v.act(func() (string, error) {
		list, _ := idLines(form)
		w, err := wishOf(list)
		if err == nil && len(w.Desired) == 0 {
			err = capability.Refuse(capability.ErrForm, "id", "name an activation ID")
		}
		if err != nil {
			return "", err
		}
		return v.askOnline("/online", w)
	}), (*visit).onlinePage)
}

// formOf is a form with these lines.
func formOf(list []idLine) url.Values {
	form := url.Values{}
	for _, l := range list {
		form.Add("id", l.ID)
		form.Add("count", l.Count)
	}
	return form
}

func (v *visit) refreshForm() error {
	if _, err := v.form(); err != nil {
		return err
	}
	return v.again(v.act(func() (string, error) { return v.askOnline("/online/update", Wish{}) }), (*visit).updatePage)
}

// askOnline has the back office asked now, and names the page that waits for what comes of it.
func (v *visit) askOnline(page string, w Wish) (string, error) {
	if v.Poll == nil {
		return "", capability.Refuse(capability.ErrNotPolled, "", "%s is not set", ledger.OfficeURL)
	}
	p, err := v.Poll.askNow(v.r.Context(), w)
	if err != nil {
		return "", err
	}
	return web.PathTo(page, "done", strconv.FormatUint(p.Done, 10)), nil
}

// writtenFiles are the last request files that were written for browsers, in memory: each can be fetched again, and another can always be written.
type writtenFiles struct {
	mu   sync.Mutex
	list []Written
}

// keptFiles of at most 1 MiB each.
const keptFiles = 16

func (w *writtenFiles) keep(f Written) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.list = append(w.list, f); len(w.list) > keptFiles {
		w.list = append([]Written(nil), w.list[1:]...)
	}
}

func (w *writtenFiles) named(name string) (Written, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.list {
		if f.Name == name {
			return f, true
		}
	}
	return Written{}, false
}

type offlineView struct {
	web.Sent
	Exchanges bool
	Lines     linesView
	Written   string // name of the file that was written just now
	Journal   []transfer
	Partly    string // why the journal begins late
}

func (v *visit) offlinePage() error {
	view := offlineView{Sent: v.Sent, Exchanges: v.may(ledger.ToExchange), Lines: linesView{"/offline/request", "Download", v.typedLines("/offline/request")}}
	if f, ok := v.files.named(v.query("written")); ok {
		view.Written = f.Name
	}
	var err error
	if view.Journal, view.Partly, err = v.journal(); err != nil {
		return err
	}
	return v.show("offline", "Offline Server Updates", view)
}

func (v *visit) requestForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	list, pressed := idLines(form)
	if pressed {
		v.Sent = web.Sent{Action: "/offline/request", Filled: formOf(list)}
		return v.offlinePage()
	}
	return v.again(v.act(func() (string, error) {
		w, err := wishOf(list)
		if err != nil {
			return "", err
		}
		f, err := v.writeRequest(v.r.Context(), w, v.by)
		if err != nil {
			return "", err
		}
		v.files.keep(*f)
		v.say("Request %d is written. Download it, and take it to the back office.", f.Number)
		return web.PathTo("/offline", "written", f.Name), nil
	}), (*visit).offlinePage)
}

func (v *visit) requestFile() error {
	f, ok := v.files.named(v.r.PathValue("name"))
	if !ok {
		return capability.Refuse(capability.ErrNotFound, v.r.PathValue("name"), "it was written long ago, or before the last start: write another one, which says the same")
	}
	return v.give(f.Name, "application/octet-stream", f.File)
}

func (v *visit) responseForm() error {
	form, files, err := v.uploads()
	if err != nil {
		return v.again(err, (*visit).offlinePage)
	}
	file := []byte(form.Get("text"))
	if len(files) == 1 {
		file = files[0].Content
	}
	if len(files) > 1 || len(file) == 0 || len(files) == 1 && strings.TrimSpace(form.Get("text")) != "" {
		return v.again(capability.Refuse(capability.ErrForm, "file", "choose one response file, or paste it as text"), (*visit).offlinePage)
	}
	if file, err = wire.FromText(file); err != nil {
		return v.again(capability.Refuse(wire.Code(err), "", "%v", err), (*visit).offlinePage)
	}
	return v.again(v.act(func() (string, error) {
		if kind, err := wire.Kind(file); err == nil && kind == wire.KindRequest {
			return v.answerForm(file)
		}
		in, err := v.applyFile(v.r.Context(), file)
		if err != nil {
			return "", err
		}
		v.say("%s", importedWords(in))
		return "/offline", nil
	}), (*visit).offlinePage)
}

// answerForm answers the request file of a PC. The name of the answer says whose it is: two PCs number theirs alike.
func (v *visit) answerForm(file []byte) (string, error) {
	if err := v.look(v.r, func(*ledger.Ledger, ledger.Now) {}); err != nil {
		return "", err
	}
	a, err := v.answerFile(v.r.Context(), file, v.by)
	if err != nil {
		return "", err
	}
	f := Written{Number: a.Number, Name: strings.ReplaceAll(a.Host.Short(), "-", "") + "-" + a.Name, File: a.File}
	v.files.keep(f)
	v.say("Request %d of the PC %s is answered: %s. Download the answer, and take it to that PC.", a.Number, cmp.Or(a.Alias, "LH-"+a.Host.Short()), lentWords(a.Rights))
	return web.PathTo("/offline", "written", f.Name), nil
}

// lentWords says what a PC has.
func lentWords(rights []capability.Right) string {
	if len(rights) == 0 {
		return "it has given everything back"
	}
	var list []string
	for _, r := range rights {
		list = append(list, fmt.Sprintf("%d of %s until %s", r.Count, r.Feature, r.Expiry))
	}
	return "it has " + strings.Join(list, ", ")
}

// importedWords says what a response did.
func importedWords(in *Imported) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s, serial %d.", in.Code, in.Code.Entry().Title, in.Serial)
	for n, c := range in.Changes {
		if n == 20 {
			fmt.Fprintf(&b, " And %d more features.", len(in.Changes)-n)
			break
		}
		fmt.Fprintf(&b, " %s: %d before, %d now.", c.Feature, c.Before, c.After)
	}
	for _, d := range in.Denials {
		fmt.Fprintf(&b, " %s %s: %s.", d.Code, d.Code.Entry().Title, d.Subject)
	}
	if n := len(in.Closed); n > 0 {
		fmt.Fprintf(&b, " The back office has credited returns: %d.", n)
	}
	for _, d := range in.Notices {
		fmt.Fprintf(&b, " %s %s %s.", d.Code, d.Code.Entry().Title, d.Subject)
	}
	return b.String()
}
