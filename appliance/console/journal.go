package console

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// transfer is a file that was written or read: a line of the transfer journal.
type transfer struct {
	File, What, Time, State, Class, Next string
	at                                   uint64 // number of a request
	response, answers                    uint64 // serial of a response, and the request that it answers
}

// transfers are the files that were written and read, as the entries tell of them. Each page reads the entries that are new, and the first one pastMost of them.
type transfers struct {
	once  sync.Once
	turn  chan struct{} // who holds it reads
	life  capability.LifeID
	from  uint64 // files of earlier entries are not here
	next  uint64
	files []transfer // the newest last
}

// mostTransfers are kept: a page with more is read by nobody.
const mostTransfers = 2000

// read catches up with the entries. The files are the caller's, and those of entries before from are not among them.
func (t *transfers) read(v *visit) (files []transfer, from uint64, err error) {
	t.once.Do(func() { t.turn = make(chan struct{}, 1) })
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-v.r.Context().Done():
		return nil, 0, capability.Refuse(capability.ErrBusy, "", "the entries are being read for another page")
	}
	var life capability.LifeID
	if err := v.Appliance.Look(v.r.Context(), func(l *ledger.Ledger, now ledger.Now) { life = l.Status(now).Life }); err != nil {
		return nil, 0, err
	}
	end, _, err := v.head()
	if err != nil {
		return nil, 0, err
	}
	end++
	if t.life != life || t.next == 0 || t.next > end || end-t.next > pastMost {
		t.life, t.files, t.next = life, nil, max(1, end-min(end, pastMost))
		t.from = t.next
	}
	err = v.entries(t.next, end, func(e *ledger.Entry) error {
		t.next = e.Position + 1
		if one, is := transferOf(e); is {
			t.files = append(t.files, one)
		}
		return nil
	})
	if len(t.files) > mostTransfers {
		t.files = slices.Clone(t.files[len(t.files)-mostTransfers:])
		t.from = max(t.from, 2) // the first ones are left out
	}
	return slices.Clone(t.files), t.from, err
}

// transferOf is the file that an entry is about, if it is about one. What became of it is not known yet.
func transferOf(e *ledger.Entry) (t transfer, is bool) {
	switch {
	case e.Requested != nil:
		n := e.Requested.Written.Number
		return transfer{File: fmt.Sprintf("request %d", n), What: "written by " + cmp.Or(e.Requested.By, "the appliance"), Time: e.Now.Wall.String(), at: n}, true
	case e.Provisioned != nil:
		r := &e.Provisioned.Response
		t := transfer{File: fmt.Sprintf("response %d", r.Serial), What: "answers nothing of this appliance", Time: e.Now.Wall.String(), response: r.Serial, answers: r.Number}
		if r.Number > 0 {
			t.What = fmt.Sprintf("answers request %d", r.Number)
		}
		return t, true
	}
	return transfer{}, false
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
	list, from, err := v.transfers.read(v)
	if from > 1 {
		partly = "What was written and read before is in the audit."
	}
	answers := map[uint64]bool{answered: true}
	for i := range list {
		t := &list[i]
		if t.response == 0 {
			continue
		}
		answers[t.answers] = true
		t.State, t.Next = "replaced by a newer one", "nothing"
		if t.response == serial {
			t.State, t.Class = "in force", "good"
		}
	}
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
