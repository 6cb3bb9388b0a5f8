package entitlement

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A request may have to wait for its customer: an operator asks something before it is answered. The question names the request, which is kept with it, and it ends with the next answer that the machine
// gets, a refusal too, or when an operator needs to know no more. It changes nothing of what the machine has.

// MaxQuestions that are open at once: the file of each is kept, of 1 MiB at most.
const MaxQuestions = 256

// Question is what somebody asked.
type Question struct {
	Number  uint64            `cbor:"1,keyasint,omitzero" json:"number"` // of the entry that has it
	Host    hostid.ID         `cbor:"2,keyasint,omitzero" json:"host"`
	Request capability.Digest `cbor:"3,keyasint,omitzero" json:"request"` // that waits
	Of      uint64            `cbor:"4,keyasint,omitzero" json:"of"`      // number of the request, as its machine counts
	Text    string            `cbor:"5,keyasint,omitzero" json:"text"`    // the customer reads it
	By      string            `cbor:"6,keyasint,omitzero" json:"by"`
	Time    capability.Time   `cbor:"7,keyasint,omitzero" json:"time"`
}

// Questioned is the fact that something was asked, or need not be answered any more. Exactly one is there.
type Questioned struct {
	Question *Question `cbor:"1,keyasint,omitempty" json:"question,omitempty"`
	Ended    uint64    `cbor:"2,keyasint,omitzero" json:"ended,omitempty"` // the number
}

// AskCustomer puts a question into the book. That the request is one, and its machine's, was seen by the caller. The question that was asked before about the same request ends.
type AskCustomer struct {
	Question Question // without number and time
	By       string
}

// EndQuestion ends a question without an answer.
type EndQuestion struct {
	Number uint64
	By     string
}

// Questions are those that are open about machines of an account (empty: of all), oldest first.
func (b *Book) Questions(account string) (list []Question) {
	for _, q := range b.questions {
		if account == "" || b.Within(b.OwnerOf(q.Host), account) {
			list = append(list, *q)
		}
	}
	return list
}

// QuestionsTo are those that are open about one machine, oldest first.
func (b *Book) QuestionsTo(host hostid.ID) (list []Question) {
	for _, q := range b.questions {
		if q.Host == host {
			list = append(list, *q)
		}
	}
	return list
}

// Question is an open one.
func (b *Book) Question(number uint64) (Question, bool) {
	at := slices.IndexFunc(b.questions, func(q *Question) bool { return q.Number == number })
	if at < 0 {
		return Question{}, false
	}
	return *b.questions[at], true
}

func (c AskCustomer) decide(b *Book, now capability.Time) (*Decision, error) {
	q := c.Question
	_, length := b.Head()
	q.Number, q.Time, q.By = length+1, now, c.By
	if err := b.askable(&q); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	e := b.entry(now, c.By)
	e.Question = &Questioned{Question: &q}
	return &Decision{Entries: []*Entry{e}}, nil
}

// askable says why a question cannot be in the book.
func (b *Book) askable(q *Question) error {
	if err := q.validate(); err != nil {
		return err
	}
	if h := b.answered[q.Request]; h != nil {
		return fmt.Errorf("request %d of %s was answered, so nothing waits for what is asked", q.Of, h.Host.Short())
	}
	same := func(o *Question) bool { return o.Request == q.Request }
	if len(b.questions) >= MaxQuestions && !slices.ContainsFunc(b.questions, same) {
		return fmt.Errorf("%d questions are open, and no more may be: answer or end some of them", len(b.questions))
	}
	return nil
}

func (q *Question) validate() error {
	switch {
	case strings.TrimSpace(q.Text) == "":
		return errors.New("the customer has to read a question")
	case q.Number == 0 || q.Time == 0 || q.Of == 0 || q.Request == capability.Digest{}:
		return errors.New("a question without a number, a time or a request")
	}
	if err := capability.CheckText(q.Text); err != nil {
		return fmt.Errorf("question: %w", err)
	}
	if err := capability.CheckText(q.By); err != nil {
		return fmt.Errorf("operator: %w", err)
	}
	return q.Host.Validate()
}

func (c EndQuestion) decide(b *Book, now capability.Time) (*Decision, error) {
	if _, open := b.Question(c.Number); !open {
		return nil, capability.Refuse(capability.ErrNotFound, fmt.Sprintf("question %d", c.Number), "its request was answered, or it was ended")
	}
	e := b.entry(now, c.By)
	e.Question = &Questioned{Ended: c.Number}
	return &Decision{Entries: []*Entry{e}}, nil
}

func (b *Book) applyQuestion(e *Entry) error {
	f := e.Question
	q := f.Question
	if q == nil {
		if _, open := b.Question(f.Ended); !open {
			return fmt.Errorf("question %d is not open", f.Ended)
		}
		b.endQuestions(func(o *Question) bool { return o.Number == f.Ended })
		return nil
	}
	if f.Ended != 0 || q.Number != b.length+1 || q.Time != e.Time || q.By != e.By {
		return fmt.Errorf("question %d of %q is of another entry", q.Number, q.By)
	}
	if err := b.askable(q); err != nil {
		return err
	}
	kept := *q
	b.endQuestions(func(o *Question) bool { return o.Request == q.Request })
	b.questions = append(b.questions, &kept)
	return nil
}

func (b *Book) endQuestions(which func(*Question) bool) {
	b.questions = slices.DeleteFunc(b.questions, which)
}

func (b *Book) checkQuestions() error {
	last, requests := uint64(0), map[capability.Digest]bool{}
	for _, q := range b.questions {
		if err := q.validate(); err != nil {
			return fmt.Errorf("question %d: %w", q.Number, err)
		}
		if q.Number <= last || q.Number > b.length || requests[q.Request] || b.answered[q.Request] != nil {
			return fmt.Errorf("question %d follows %d, of %d entries, or its request is there twice or answered", q.Number, last, b.length)
		}
		last, requests[q.Request] = q.Number, true
	}
	if len(b.questions) > MaxQuestions {
		return fmt.Errorf("%d questions", len(b.questions))
	}
	return nil
}

// Subject is the machine, or the number of the question.
func (f *Questioned) Subject() string {
	if f.Question != nil {
		return f.Question.Host.String()
	}
	return fmt.Sprint(f.Ended)
}
