package portal

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// The inbox takes two clicks: files are dropped, and looked at without a word in the book; then their responses are created, all at once. Whoever may answer sees it; a customer's login answers for machines
// and activation IDs of its account.

func (p *Portal) inboxRoutes() []route {
	answers := needs(entitlement.ToAnswer)
	return []route{
		{pattern: "GET /inbox", gate: answers, do: (*visit).inbox},
		{pattern: "POST /inbox", gate: answers, do: (*visit).dropFiles},
		{pattern: "POST /inbox/create", gate: answers, do: (*visit).createResponses},
		{pattern: "POST /inbox/refuse", gate: answers, do: (*visit).refuseRequest},
		{pattern: "POST /inbox/clear", gate: answers, do: (*visit).clearInbox},
		{pattern: "GET /inbox/responses.zip", gate: answers, do: (*visit).inboxZip},
		{pattern: "GET /responses/{request}", gate: answers, do: (*visit).responseFile},
		{pattern: "GET /responses/{request}/text", gate: answers, do: (*visit).responseText},
		{pattern: "GET /responses/{request}/qr", gate: answers, do: (*visit).responseCodes},
		{pattern: "GET /responses/{request}/qr/{frame}", gate: answers, do: (*visit).responseCode},
	}
}

type inboxView struct {
	web.Sent
	Files    []inboxFile
	Ready    int // that can be answered now
	Answered int
	Moves    bool
	Asks     bool // the customer
}

// inboxFile is one file of the page.
type inboxFile struct {
	ID, Name string
	Who      *inboxMachine // nil: the file proves nobody
	Asks     []string
	Notes    []string
	Waits    []questionRow
	Gives    []inboxLine
	Refuses  []string
	Outcomes []inboxOutcome
	Problem  *web.Problem // why there is no answer
	Response *inboxResponse
}

// Ready says that a response can be created.
func (f *inboxFile) Ready() bool { return f.Problem == nil && f.Response == nil }

type inboxMachine struct {
	ID, Short, Alias, Account, Signature, Tier, Why string
	Number                                          uint64
	Known                                           bool // it has a page
}

type inboxLine struct {
	ActivationID, Product string
	Count, Asked          uint32
}

type inboxOutcome struct {
	ActivationID, EntitlementID, Product, Ends string
	Had, Has, Copies, Left                     uint32
}

type inboxResponse struct {
	Request, Name, Made, ApplyBefore string
	Serial                           uint64
	Again                            bool
}

func (v *visit) inbox() error {
	view := inboxView{Sent: v.Sent, Moves: v.may(entitlement.ToMove), Asks: v.login.Account == ""}
	for _, f := range v.p.trays.take(trayOf(&v.login)) {
		shown := inboxFile{ID: f.ID, Name: f.Name}
		err := f.refused
		if err == nil {
			err = v.office(func(o *backoffice.Office) error { return v.lookAt(o, &f, &shown) }) // a turn for each, so that others wait for one file at most
		}
		if errors.Is(err, errSignInFirst) {
			return err
		}
		if err != nil {
			_, words := v.explain(err)
			shown.Problem = &words
		}
		if view.Files = append(view.Files, shown); shown.Ready() {
			view.Ready++
		}
		if shown.Response != nil {
			view.Answered++
		}
	}
	return v.show("inbox", "Inbox", view)
}

// lookAt fills in what a file says, and what it would bring or has brought.
func (v *visit) lookAt(o *backoffice.Office, f *trayFile, shown *inboxFile) error {
	p, err := o.Preview(f.content, v.order(), v.now)
	if p == nil {
		return err
	}
	shown.Who = machineOf(o, p)
	for _, q := range o.Book().QuestionsTo(p.Host) {
		shown.Waits = append(shown.Waits, v.questionRow(o, &q))
	}
	shown.Asks = asks(p)
	shown.Notes = notes(&p.Result)
	if p.Newer > 0 {
		shown.Notes = append(shown.Notes, fmt.Sprintf("this was answered before, and the machine's newest response is number %d: of two the newer one counts", p.Newer))
	}
	if r := f.answer; r != nil {
		shown.Response = &inboxResponse{hexOf(p.Request), r.Name, r.Made.String(), r.ApplyBefore.String(), r.Serial, r.Again}
		shown.Gives, shown.Refuses, shown.Notes = gives(r), refuses(r), slices.Concat(notes(r), brought(r))
		return nil
	}
	if err != nil {
		return err
	}
	if p.Again {
		did := "answered"
		if p.Refused != "" {
			did = "refused"
			shown.Refuses = []string{refusedWords(p.Refused)}
		}
		shown.Notes = append(shown.Notes, fmt.Sprintf("%s %s with response %d: the same bytes come out again", did, p.Made, p.Serial))
		return nil
	}
	shown.Gives, shown.Refuses, shown.Notes = gives(&p.Result), refuses(&p.Result), append(shown.Notes, brought(&p.Result)...)
	shown.Outcomes = outcomeRows(p)
	return nil
}

func outcomeRows(p *backoffice.Preview) (rows []inboxOutcome) {
	for _, out := range p.Outcomes {
		ends := "permanent"
		if out.Item.Expiry != 0 {
			ends = "to " + out.Item.Expiry.String()
		}
		rows = append(rows, inboxOutcome{string(out.Item.ActivationID), out.Item.EntitlementID, out.Item.Product, ends, out.Had, out.Has, out.Item.Copies, out.Left})
	}
	return rows
}

func machineOf(o *backoffice.Office, p *backoffice.Preview) *inboxMachine {
	by := "TPM"
	if p.Host.Type == hostid.DeviceKey {
		by = "device key"
	}
	keys := "keys claimed"
	if p.Proven {
		keys = "keys proven"
	}
	_, known := o.Book().DeviceOf(p.Host)
	return &inboxMachine{
		ID: p.Host.String(), Short: p.Host.Short(), Alias: p.Alias, Account: p.Account, Signature: fmt.Sprintf("GOOD (%s, %s)", by, keys), Tier: p.Tier.String(), Why: p.Why, Number: p.Number, Known: known,
	}
}

// asks is what a request wants, in words.
func asks(p *backoffice.Preview) (list []string) {
	for _, w := range p.Asked {
		what := string(w.ActivationID)
		if what == "" {
			what = w.Feature
		}
		words := fmt.Sprintf("%s of %s", capability.Counted(w.Count, "copy"), what)
		if w.Partial {
			words += ", or as many as there are"
		}
		list = append(list, words)
	}
	if p.Returns > 0 {
		list = append(list, fmt.Sprintf("to take back what it returned: %s", capability.Counted(p.Returns, "return")))
	}
	switch {
	case p.Report:
		return append(list, "to take its records of usage")
	case len(list) == 0:
		return []string{"everything that is the machine's"}
	}
	return list
}

// notes is what whoever answers should know of the machine.
func notes(r *backoffice.Result) (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if r.TierNote != "" {
		say("its certificates did not raise its tier: %s", r.TierNote)
	}
	if r.Booted != nil {
		for _, l := range r.Booted.Lines() {
			say("booted: %s", l)
		}
	}
	for _, m := range r.Alarms {
		say("it reports %s %s, %d times, last %s", m.Code, m.Code.Entry().Title, m.Count, m.Last)
	}
	if len(r.Gone)+len(r.Came) > 0 {
		say("the same machine looks different: gone %s; new %s", idWords(r.Gone), idWords(r.Came))
	}
	if r.Warning != "" {
		say("%s %s: %s", capability.ErrFork, capability.ErrFork.Entry().Title, r.Warning)
	}
	return list
}

// brought is what the answer does besides giving and refusing.
func brought(r *backoffice.Result) (list []string) {
	for _, s := range r.Credited {
		list = append(list, fmt.Sprintf("credits %s of %s, returned", capability.Counted(s.Copies, "copy"), s.ActivationID))
	}
	for _, g := range r.Proved {
		list = append(list, fmt.Sprintf("proves that %s of %s, asked back, are gone", capability.Counted(g.Copies, "copy"), g.ActivationID))
	}
	if r.Counted > 0 {
		list = append(list, fmt.Sprintf("counts %s of usage", capability.Counted(r.Counted, "record")))
	}
	if r.Stated > 0 {
		list = append(list, fmt.Sprintf("takes %s of the day that runs", capability.Counted(r.Stated, "state")))
	}
	if r.Capped {
		list = append(list, fmt.Sprintf("rights of a machine of tier %s end early: each new request moves their end", r.Tier))
	}
	return list
}

func idWords(ids []hostid.ID) string {
	if len(ids) == 0 {
		return "nothing"
	}
	words := make([]string, len(ids))
	for n, id := range ids {
		words[n] = id.String()
	}
	return strings.Join(words, ", ")
}

func gives(r *backoffice.Result) (list []inboxLine) {
	if r.Refused != "" {
		return nil
	}
	for _, l := range r.Lines {
		if l.Count > 0 {
			list = append(list, inboxLine{string(l.ActivationID), l.Product, l.Count, l.Asked})
		}
	}
	return list
}

func refuses(r *backoffice.Result) (list []string) {
	if r.Refused != "" {
		return []string{refusedWords(r.Refused)}
	}
	for _, l := range r.Lines {
		if l.Denial.Code != 0 {
			list = append(list, l.Denial.Code.String()+" "+l.Denial.Sentence())
		}
	}
	for _, d := range r.Denials {
		list = append(list, d.Code.String()+" "+d.Sentence())
	}
	return list
}

// pastedEnd ends each file in its text form (wire.Text).
const pastedEnd = "-----END LEASEHOLD FILE-----"

// dropFiles takes files and pasted text, bounded as they come, and writes nothing.
func (v *visit) dropFiles() error {
	files, err := v.dropped()
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return capability.Refuse(capability.ErrForm, "", "no file and no text was sent")
	}
	if err := v.p.trays.put(trayOf(&v.login), files); err != nil {
		return err
	}
	return v.goTo("/inbox")
}

func (v *visit) dropped() (files []trayFile, err error) {
	if kind, _, err := mime.ParseMediaType(v.r.Header.Get("Content-Type")); err != nil || kind != "multipart/form-data" {
		form, err := v.form()
		if err != nil {
			return nil, err
		}
		return pasted(form.Get("text"))
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxTrayBytes+64<<10) // and what is between the files
	parts, err := v.r.MultipartReader()
	if err != nil {
		return nil, web.Unread(err)
	}
	for n := 0; ; n++ {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, web.Unread(err)
		}
		var more []trayFile
		switch name := part.FileName(); {
		case part.FormName() == "text":
			text, err := io.ReadAll(part)
			if err != nil {
				return nil, web.Unread(err)
			}
			if more, err = pasted(string(text)); err != nil {
				return nil, err
			}
		case part.FormName() == "file" && name != "":
			b, err := io.ReadAll(io.LimitReader(part, capability.MaxFile+1))
			if err != nil {
				return nil, web.Unread(err)
			}
			more = []trayFile{received(name, b)}
		}
		if files = append(files, more...); len(files) > maxTrayFiles || n > 2*maxTrayFiles {
			return nil, capability.Refuse(capability.ErrForm, "", "more than %d files", maxTrayFiles)
		}
	}
}

// received is a file in either form. No archive is opened: it is no request, and says so.
func received(name string, b []byte) trayFile {
	file, err := wire.FromText(b)
	if err == nil && len(file) > capability.MaxFile {
		err = fmt.Errorf("%w: more than %d bytes", wire.ErrSize, capability.MaxFile)
	}
	if err != nil {
		return newTrayFile(name, nil, capability.Refuse(wire.Code(err), "", "%v", err))
	}
	return newTrayFile(name, file, nil)
}

// pasted are the files of a pasted text, which may hold several.
func pasted(text string) (files []trayFile, err error) {
	for n := 1; strings.TrimSpace(text) != ""; n++ {
		if n > maxTrayFiles {
			return nil, capability.Refuse(capability.ErrForm, "text", "more than %d files", maxTrayFiles)
		}
		one, rest := text, ""
		if at := strings.Index(text, pastedEnd); at >= 0 {
			if end := strings.IndexByte(text[at:], '\n'); end >= 0 {
				one, rest = text[:at+end], text[at+end:]
			}
		}
		files, text = append(files, received(fmt.Sprintf("pasted text %d", n), []byte(one))), rest
	}
	return files, nil
}

// createResponses answers the files that were chosen, each by itself: one that is refused stops no other. A file that was answered gives the same bytes, however often the form is sent.
func (v *visit) createResponses() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	chosen, made, refused := form["file"], 0, 0
	for _, f := range v.p.trays.take(trayOf(&v.login)) {
		if f.content == nil || f.answer != nil || !slices.Contains(chosen, f.ID) {
			continue
		}
		var r *backoffice.Result
		err := v.office(func(o *backoffice.Office) (err error) {
			r, err = o.RespondTo(f.content, v.order(), v.now)
			return err
		})
		if err != nil {
			if errors.Is(err, errSignInFirst) {
				return err
			}
			if code, _ := v.explain(err); code == capability.ErrInternal {
				return err
			}
			refused++
			continue
		}
		v.p.trays.answered(trayOf(&v.login), f.ID, r)
		made++
	}
	switch {
	case made == 0 && refused == 0:
		v.say("Nothing was chosen that waits for a response.")
	case refused == 0:
		v.say("%s created.", capability.Counted(made, "response"))
	default:
		v.say("%s created, %s refused.", capability.Counted(made, "response"), capability.Counted(refused, "request"))
	}
	return v.goTo("/inbox")
}

func (v *visit) clearInbox() error {
	if _, err := v.form(); err != nil {
		return err
	}
	v.p.trays.clear(trayOf(&v.login))
	return v.goTo("/inbox")
}
