package console

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// transfer is a file that was written or read: a line of the transfer journal.
type transfer struct {
	File, What, Time, State, Class, Next string
	at                                   uint64 // position of its entry
}

const (
	pastStep = 1000   // entries that are read at once, from the newest
	pastMost = 20_000 // that one page looks at
)

// entries has f called with every entry from a position on and before another, in order.
func (v *visit) entries(from, end uint64, f func(*ledger.Entry) error) error {
	return v.Appliance.Entries(v.r.Context(), from, func(e *ledger.Entry) (bool, error) {
		if e.Position >= end {
			return false, nil
		}
		return true, f(e)
	})
}

// head is the position of the newest entry.
func (v *visit) head() (position uint64, digest capability.Digest, err error) {
	err = v.Appliance.Look(v.r.Context(), func(l *ledger.Ledger, now ledger.Now) {
		s := l.Status(now)
		position, digest = s.Position, s.Head
	})
	return position, digest, err
}

// journal is every file that was written and read, the newest first, as far back as one page looks; partly says why it goes no further.
func (v *visit) journal() (list []transfer, partly string, err error) {
	var serial, answered uint64
	waiting := map[uint64]bool{}
	if err := v.Appliance.Look(v.r.Context(), func(l *ledger.Ledger, _ ledger.Now) {
		applied, _ := l.Applied()
		serial, answered = applied.Serial, applied.Number
		for _, w := range l.Outstanding() {
			waiting[w.Number] = true
		}
	}); err != nil {
		return nil, "", err
	}
	end, _, err := v.head()
	if err != nil {
		return nil, "", err
	}
	end++
	first := uint64(1)
	if end > pastMost {
		first = end - pastMost
		partly = fmt.Sprintf("What lies more than %d entries back is in the audit.", pastMost)
	}
	answers := map[uint64]bool{answered: true}
	err = v.entries(first, end, func(e *ledger.Entry) error {
		switch {
		case e.Requested != nil:
			n := e.Requested.Written.Number
			list = append(list, transfer{File: fmt.Sprintf("request %d", n), What: "written by " + cmp.Or(e.Requested.By, "the appliance"), Time: e.Now.Wall.String(), at: n})
		case e.Provisioned != nil:
			r := &e.Provisioned.Response
			answers[r.Number] = true
			t := transfer{File: fmt.Sprintf("response %d", r.Serial), What: "answers nothing of this appliance", Time: e.Now.Wall.String(), State: "replaced by a newer one", Next: "nothing"}
			if r.Number > 0 {
				t.What = fmt.Sprintf("answers request %d", r.Number)
			}
			if r.Serial == serial {
				t.State, t.Class = "in force", "good"
			}
			list = append(list, t)
		}
		return nil
	})
	if r := (*capability.Refusal)(nil); errors.As(err, &r) && r.Code == capability.ErrNoArchive {
		partly, err = r.Sentence(), nil
		for n := range waiting {
			list = append(list, transfer{File: fmt.Sprintf("request %d", n), What: "written", at: n})
		}
		slices.SortFunc(list, func(a, b transfer) int { return cmp.Compare(a.at, b.at) })
	}
	if err != nil {
		return nil, "", err
	}
	for i := range list {
		t := &list[i]
		switch {
		case t.State != "":
		case waiting[t.at]:
			t.State, t.Class, t.Next = "waiting for an answer", "warn", "take it to the back office, and upload the response here"
		case answers[t.at]:
			t.State, t.Class, t.Next = "answered", "good", "nothing"
		default:
			t.State, t.Next = "overtaken", "nothing: a later request was answered, and says the same and more"
		}
	}
	slices.Reverse(list)
	return list, partly, nil
}
