package backoffice

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// The book is verified against its history: every entry that was ever made is read, and makes the book anew, which must be the one that is in use.

// verifying is the book that is made anew, up to an entry.
type verifying struct {
	again  *entitlement.Book
	number uint64
}

func newVerifying() *verifying { return &verifying{again: entitlement.New()} }

// entriesInATurn are read in one turn: an entry may be an answer with its records.
const entriesInATurn = 500

// catchUp takes in the entries of the office that are there when it begins.
func (v *verifying) catchUp(o *Office, pause Pause) error {
	pace := pacer{pause: pause, rows: pieceRows - entriesInATurn}
	return o.History(v.number+1, func(n uint64, e *entitlement.Entry) error {
		if err := v.again.Apply(e); err != nil {
			return err
		}
		v.number = n
		if err := pace.row(); err != nil {
			return err
		}
		if pace.rows == 0 {
			pace.rows = pieceRows - entriesInATurn
		}
		return nil
	})
}

// compare says whether the book that was made anew is the one in use.
func (v *verifying) compare(made, used capability.Digest) error {
	if made != used {
		return fmt.Errorf("%w: its %d entries make a book %.8x, the one in use is %.8x", entitlement.ErrCorrupt, v.number, made[:], used[:])
	}
	return nil
}

// Verify reads every entry ever made, and makes the book of them anew: it must be the one that is in use. It gives the number of entries.
func (o *Office) Verify() (uint64, error) {
	v := newVerifying()
	if err := v.catchUp(o, nil); err != nil {
		return 0, err
	}
	if err := v.again.Check(); err != nil {
		return 0, err
	}
	return v.number, v.compare(v.again.Digest(), o.book.Digest())
}

// Verify is Office.Verify in many turns. What is written meanwhile is read too.
func (d *Desk) Verify() (uint64, error) {
	v := newVerifying()
	// The history only grows: a change meanwhile is read afterwards.
	if _, err := d.turns(func(o *Office, pause Pause) error { return v.catchUp(o, pause) }); err != nil {
		return 0, err
	}
	if err := v.again.Check(); err != nil {
		return 0, err
	}
	var used capability.Digest
	err := d.Read(func(o *Office, pause Pause) error {
		if err := v.catchUp(o, nil); err != nil { // little: what was written since
			return err
		}
		var err error
		pace := pacer{pause: pause}
		used, err = o.book.DigestInPieces(pace.row)
		return err
	})
	if err != nil {
		return 0, err
	}
	return v.number, v.compare(v.again.Digest(), used)
}
