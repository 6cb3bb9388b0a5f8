package backoffice

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/storage"
)

// AskCustomer keeps a request file waiting with a question for its customer, until the machine is answered or the question is ended. What was answered already, or is older than what was, waits for
// nothing. The number is that of the question.
func (o *Office) AskCustomer(file []byte, text string, order Order, now capability.Time) (uint64, error) {
	p, err := o.Preview(file, order, now)
	switch {
	case p == nil:
		return 0, err
	case capability.ErrOlderRequest == entitlement.Code(err):
		return 0, err
	case err == nil && p.Again:
		return 0, fmt.Errorf("%w: request %d was answered, so nothing waits for what is asked", entitlement.ErrDevice, p.Number)
	case o.place.Evidence == nil:
		return 0, fmt.Errorf("%w: this back office has no place for the file", entitlement.ErrDevice)
	}
	if err := o.putBy(file, p.Request); err != nil {
		return 0, err
	}
	// A cut here leaves a file that no entry names; the same request again puts it in its place.
	question := entitlement.Question{Host: p.Host, Request: p.Request, Of: p.Number, Text: text}
	d, err := o.do(now, entitlement.AskCustomer{Question: question, By: order.By})
	switch {
	case err != nil:
		return 0, errors.Join(err, o.discard(now, waits{p.Request, p.Host}))
	case d.Done != nil:
		return d.Done.Entry, nil
	}
	return d.Entries[0].Question.Question.Number, nil
}

// EndQuestion ends a question without an answer.
func (o *Office) EndQuestion(c entitlement.EndQuestion, now capability.Time) error {
	q, _ := o.book.Question(c.Number)
	if err := o.Do(c, now); err != nil {
		return err
	}
	return o.discard(now, waits{q.Request, q.Host})
}

// Questioned is the file of the request that waits with a question.
func (o *Office) Questioned(q *entitlement.Question) ([]byte, error) {
	file := o.keptRequest(q.Request)
	if file == nil {
		return nil, capability.Refuse(capability.ErrBookDamaged, q.Host.Short(), "question %d is on record, and the file of its request is gone: put evidence/%s back", q.Number, requestName(q.Request))
	}
	return file, nil
}

// keptRequest is the file of a request that was answered, or that something is open about; nil: there is none.
func (o *Office) keptRequest(request capability.Digest) []byte {
	for _, disk := range []storage.Disk{o.place.Evidence, o.place.Responses} {
		if disk == nil {
			continue
		}
		file, err := disk.Read(requestName(request), capability.MaxFile)
		if err != nil {
			continue
		}
		if s, err := o.codec.ReadRequest(file); err == nil && s.Digest == request {
			return file
		}
	}
	return nil
}

// discard removes the files of requests that nothing is open about any more, so that what is kept of requests which were never answered is bounded by the proposals and questions that are open: the book
// goes on to name the request. What is evidence of an incident stays; so does, after a cut before this, what nothing is about.
func (o *Office) discard(now capability.Time, over ...waits) error {
	removed := false
	for _, w := range over {
		if w.request == (capability.Digest{}) || o.place.Evidence == nil || o.needed(w, now) {
			continue
		}
		if err := o.place.Evidence.Remove(requestName(w.request)); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("remove the file of a request that waits no more: %w: %w", ErrWrite, err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return o.place.Evidence.Sync()
}
