package portal

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// A request that cannot be answered yet waits with a question for its customer, which the producer's staff asks in the inbox. No mail is sent: the page of a question has a text to print, or to copy into
// one. A customer sees what it is asked, and not by whom.

func (p *Portal) questionRoutes() []route {
	sees, answers := needs(entitlement.ToSee), needs(entitlement.ToAnswer)
	return []route{
		{pattern: "POST /inbox/ask", gate: answers, staff: true, do: (*visit).askCustomer},
		{pattern: "GET /questions/{number}", gate: sees, do: (*visit).questionPage},
		{pattern: "POST /questions/answer", gate: answers, staff: true, do: (*visit).answerQuestion},
		{pattern: "POST /questions/end", gate: answers, staff: true, do: (*visit).endQuestion},
	}
}

// askCustomer keeps a file of the inbox waiting.
func (v *visit) askCustomer() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	f, err := v.waitingFile(form.Get("file"))
	if err != nil {
		return err
	}
	number := uint64(0)
	err = v.act(func(o *backoffice.Office) (err error) {
		number, err = o.AskCustomer(f.content, strings.TrimSpace(form.Get("text")), v.order(), v.now)
		return err
	})
	if err != nil {
		return v.again(err, (*visit).inbox)
	}
	v.say("The request waits. Below is the text for the customer.")
	return v.goTo(questionPath(number))
}

func questionPath(number uint64) string { return fmt.Sprintf("/questions/%d", number) }

type questionRow struct {
	Number, Of                           uint64
	Path, Short, Device, Text, Since, By string
}

func (v *visit) questionRow(o *backoffice.Office, q *entitlement.Question) questionRow {
	row := questionRow{Number: q.Number, Of: q.Of, Path: questionPath(q.Number), Short: q.Host.Short(), Text: q.Text, Since: q.Time.String(), By: "the producer"}
	if _, known := o.Book().DeviceOf(q.Host); known {
		row.Device = devicePath(q.Host)
	}
	if v.login.Account == "" {
		row.By = q.By
	}
	return row
}

func (v *visit) questionRows(o *backoffice.Office, list []entitlement.Question) (rows []questionRow) {
	for n := range list {
		rows = append(rows, v.questionRow(o, &list[n]))
	}
	return rows
}

// question is the one that the address or the form names, where who visits may see it.
func (v *visit) question(o *backoffice.Office) (entitlement.Question, error) {
	text := v.r.PathValue("number")
	if text == "" {
		text = v.r.PostForm.Get("number")
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		if q, ok := o.Book().Question(n); ok && v.within(o, o.Book().OwnerOf(q.Host)) {
			return q, nil
		}
	}
	return entitlement.Question{}, foreign(text)
}

type questionView struct {
	questionRow
	Letter  string // for the customer
	Answers bool
}

func (v *visit) questionPage() error {
	view := questionView{Answers: v.may(entitlement.ToAnswer) && v.login.Account == ""}
	err := v.office(func(o *backoffice.Office) error {
		q, err := v.question(o)
		if err != nil {
			return err
		}
		view.questionRow = v.questionRow(o, &q)
		file, err := o.Questioned(&q)
		if err != nil {
			return err
		}
		wants, alias := []string(nil), ""
		if p, _ := o.Preview(file, v.order(), v.now); p != nil { // why it could not be answered now is not the customer's to read
			wants, alias = asks(p), p.Alias
		}
		view.Letter = letter(&q, alias, o.Book().Policy().Producer, wants)
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("question", fmt.Sprintf("Question %d", view.Number), view)
}

// letter is what the customer reads, on paper or in a mail.
func letter(q *entitlement.Question, alias, producer string, wants []string) string {
	name := q.Host.Short()
	if alias != "" {
		name += fmt.Sprintf(" %q", alias)
	}
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("%s has a question about request %d of your machine %s.", producer, q.Of, name)
	say("")
	if len(wants) > 0 {
		say("The request asks for:")
		for _, w := range wants {
			say("  - %s", w)
		}
		say("")
	}
	say("Before it is answered we need to know:")
	say("  %s", q.Text)
	say("")
	say("Until then your machine keeps what it has, and the request waits here: it need not be sent again.")
	say("Please answer with this line: question %d, machine %s, request %d.", q.Number, q.Host.Short(), q.Of)
	return b.String()
}

// answerQuestion puts the request that waits back into the inbox, where it is answered or refused.
func (v *visit) answerQuestion() error {
	if _, err := v.form(); err != nil {
		return err
	}
	var f trayFile
	err := v.office(func(o *backoffice.Office) error {
		q, err := v.question(o)
		if err != nil {
			return err
		}
		file, err := o.Questioned(&q)
		f = newTrayFile(fmt.Sprintf("question %d", q.Number), file, nil)
		return err
	})
	if err != nil {
		return err
	}
	if err := v.p.trays.put(trayOf(&v.login), []trayFile{f}); err != nil {
		return err
	}
	return v.goTo("/inbox")
}

// endQuestion ends a question without an answer.
func (v *visit) endQuestion() error {
	if _, err := v.form(); err != nil {
		return err
	}
	err := v.act(func(o *backoffice.Office) error {
		q, err := v.question(o)
		if err != nil {
			return err
		}
		return o.EndQuestion(entitlement.EndQuestion{Number: q.Number, By: v.login.Name}, v.now)
	})
	if err != nil {
		return err
	}
	v.say("The request waits no more. Its machine can bring it again.")
	return v.goTo("/waiting")
}
