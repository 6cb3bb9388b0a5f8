package backoffice

import (
	"bytes"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// The file of a request that waits with a question is kept as long as the question is open, and is what was asked about.
func TestQuestionFiles(t *testing.T) {
	p, o := newOffice(t, func(s *Setup) { s.Policy.MinimumTier = entitlement.Software })
	id := entitle(t, o, 9)
	w := newWorkstation(t)
	kept := func() int {
		t.Helper()
		names, err := p.Evidence.List()
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	order := Order{By: "keller"}
	first := w.request(o, id, 5, asIs)
	second := w.request(o, id, 6, func(r *capability.Request) {
		s, err := o.codec.ReadRequest(first)
		if err != nil {
			t.Fatal(err)
		}
		r.Outstanding = []capability.Digest{s.Digest}
	})
	for _, file := range [][]byte{first, second} {
		n, err := o.AskCustomer(file, "why?", order, today)
		if err != nil {
			t.Fatal(err)
		}
		q, open := o.Book().Question(n)
		if got, err := o.Questioned(&q); !open || err != nil || !bytes.Equal(got, file) {
			t.Errorf("question %d: %t %v", n, open, err)
		}
	}
	if _, err := o.AskCustomer(first, "a\nb", order, today); err == nil || kept() != 2 {
		t.Errorf("%d files after a question that cannot be: %v", kept(), err)
	}
	if err := o.EndQuestion(entitlement.EndQuestion{Number: o.Book().Questions("")[0].Number, By: "keller"}, today); err != nil || kept() != 1 {
		t.Errorf("%d files after one was ended: %v", kept(), err)
	}
	if _, err := o.AskCustomer(first, "why?", order, today); err != nil {
		t.Fatal(err)
	}
	mustRespond(t, o, second)
	if kept() != 0 || len(o.Book().Questions("")) != 0 {
		t.Errorf("%d files and %d questions after the answer", kept(), len(o.Book().Questions("")))
	}
	for name, file := range map[string][]byte{"answered": second, "older": first} {
		if n, err := o.AskCustomer(file, "why?", order, today); err == nil || n != 0 || kept() != 0 {
			t.Errorf("%s: question %d, %v", name, n, err)
		}
	}
	// A file that is gone is said to be.
	n, err := o.AskCustomer(newWorkstation(t).request(o, id, 1, asIs), "why?", order, today)
	if err != nil {
		t.Fatal(err)
	}
	q, _ := o.Book().Question(n)
	place, ok := p.Evidence.(interface{ Remove(string) error })
	if !ok || place.Remove(requestName(q.Request)) != nil {
		t.Fatal("no file to remove")
	}
	if _, err := o.Questioned(&q); codeOf(err) != capability.ErrBookDamaged {
		t.Errorf("without its file: %v", err)
	}
}
