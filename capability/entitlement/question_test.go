package entitlement

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// asked is a question about a request.
func asked(a Answer, text string) AskCustomer {
	return AskCustomer{Question: Question{Host: a.Identity.Host, Request: a.Digest, Of: a.Request.Number, Text: text}, By: "operator"}
}

// A request waits with a question, which ends with the next answer of its machine, whichever it is, and with nothing of another's.
func TestQuestions(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m, other := newMachine(1), newMachine(2)
	m.apply(w.mustDo(m.request(1, want(id, 1))).Response)
	open := func(n int) {
		t.Helper()
		if got := w.book.Questions(""); len(got) != n {
			t.Errorf("%d questions are open, want %d", len(got), n)
		}
		b, err := Restore(w.book.Snapshot())
		if err != nil || b.Digest() != w.book.Digest() || len(b.Questions("")) != n {
			t.Errorf("in a snapshot: %v", err)
		}
	}
	a := m.request(2, want(id, 4))
	before := w.book.Digest()
	n := w.mustDo(asked(a, "for which hall?")).Entries[0].Question.Question.Number
	if open(1); before == w.book.Digest() {
		t.Error("the digest does not tell")
	}
	q, ok := w.book.Question(n)
	if !ok || q.By != "operator" || q.Time != w.now || q.Text != "for which hall?" || len(w.book.QuestionsTo(m.id.Host)) != 1 || len(w.book.QuestionsTo(other.id.Host)) != 0 ||
		len(w.book.Questions("ACME Works")) != 1 || len(w.book.Questions("Other")) != 0 {
		t.Errorf("%+v", q)
	}
	// Asked once more it is another question about the same.
	again := w.mustDo(asked(a, "for which hall, and since when?")).Entries[0].Question.Question.Number
	if _, there := w.book.Question(n); there {
		t.Error("two questions about one request")
	}
	open(1)
	theirs := other.request(1, want(id, 1))
	w.mustDo(asked(theirs, "who are you?"))
	open(2)
	if len(w.book.Questions("ACME Works")) != 1 {
		t.Error("an account sees a question to a machine of nobody")
	}
	w.mustDo(refused(a))
	open(1)
	w.refused(EndQuestion{Number: again, By: "operator"}, capability.ErrNotFound, "answered, or it was ended")
	if _, err := w.do(asked(a, "too late")); !errors.Is(err, ErrDevice) || !strings.Contains(err.Error(), "was answered") {
		t.Error(err)
	}
	w.mustDo(theirs)
	open(0)
	// A newer request of the machine ends it as well: that is the one that is answered.
	a = m.request(3, want(id, 4))
	w.mustDo(asked(a, "for which hall?"))
	w.mustDo(m.request(4, want(id, 4)))
	open(0)
	a = m.request(5, want(id, 5))
	n = w.mustDo(asked(a, "for which hall?")).Entries[0].Question.Question.Number
	w.mustDo(EndQuestion{Number: n, By: "operator"})
	open(0)
}

// A question is a text that can be read, and so many are open at most.
func TestQuestionsThatCannotBe(t *testing.T) {
	w := newWorld(t, anyTier())
	m := newMachine(1)
	a := m.request(1)
	for name, spoil := range map[string]func(*Question){
		"blank":            func(q *Question) { q.Text = " \t" },
		"of lines":         func(q *Question) { q.Text = "a\nb" },
		"too long":         func(q *Question) { q.Text = strings.Repeat("x", capability.MaxText+1) },
		"about no request": func(q *Question) { q.Request = capability.Digest{} },
		"about request 0":  func(q *Question) { q.Of = 0 },
		"to no machine":    func(q *Question) { q.Host.Value = "" },
	} {
		c := asked(a, "why?")
		spoil(&c.Question)
		if d, err := w.do(c); !errors.Is(err, ErrDevice) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	last := AskCustomer{}
	for n := range MaxQuestions {
		last = asked(a, fmt.Sprint("question ", n))
		last.Question.Request = capability.Digest{byte(n), byte(n >> 8), 1}
		w.mustDo(last)
	}
	more := asked(a, "one more")
	if _, err := w.do(more); !errors.Is(err, ErrDevice) {
		t.Error(err)
	}
	w.mustDo(last) // in the place of itself
	w.mustDo(EndQuestion{Number: w.book.questions[0].Number})
	w.mustDo(more)
}

// Apply and Check find what Decide would not have made.
func TestQuestionsThatWereNotAsked(t *testing.T) {
	for name, spoil := range map[string]func(*Entry){
		"of another number": func(e *Entry) { e.Question.Question.Number++ },
		"of another time":   func(e *Entry) { e.Question.Question.Time++ },
		"of somebody else":  func(e *Entry) { e.Question.Question.By = "nobody" },
		"of no words":       func(e *Entry) { e.Question.Question.Text = "" },
		"that ends another": func(e *Entry) { e.Question.Ended = 1 },
		"that is none":      func(e *Entry) { e.Question = &Questioned{} },
	} {
		w := newWorld(t, anyTier())
		d, err := w.book.Decide(w.now, asked(newMachine(1).request(1), "why?"))
		if err != nil {
			t.Fatal(err)
		}
		if spoil(d.Entries[0]); w.book.Apply(d.Entries[0]) == nil {
			t.Errorf("an entry %s is taken in", name)
		}
	}
	for name, spoil := range map[string]func(b *Book){
		"twice about one request": func(b *Book) { b.questions[1].Request = b.questions[0].Request },
		"out of order":            func(b *Book) { b.questions[0], b.questions[1] = b.questions[1], b.questions[0] },
		"of an entry to come":     func(b *Book) { b.questions[1].Number = 99 },
		"about what was answered": func(b *Book) { b.questions[0].Request = b.hosts[0].Requests[0].Digest },
	} {
		w := newWorld(t, anyTier())
		w.mustDo(newMachine(1).request(1))
		w.mustDo(asked(newMachine(2).request(1), "why?"))
		w.mustDo(asked(newMachine(3).request(1), "why?"))
		if spoil(w.book); w.book.Check() == nil {
			t.Errorf("questions %s pass", name)
		}
	}
}
