package backoffice

import (
	"errors"
	"iter"
)

// What looks at the whole book, a report, a table, would keep everybody else waiting for as long as it takes: a second, with a million line items. So it is read in pieces, each in a turn of its own, and
// others are served between them. All that is read is of one state of the book: where it changed meanwhile the reading begins again, and where it changes each time it is done in one turn at last.

// pieceRows are read in one turn: some milliseconds.
const pieceRows = 2000

// readingTries are made in pieces before a reading keeps the turn.
const readingTries = 4

// errMoved ends a reading whose book has changed.
var errMoved = errors.New("the book has changed meanwhile")

// Pause lets others have their turn. After an error what was read is of no use, and the book is not to be looked at any more.
type Pause func() error

// pacer pauses once for so many rows.
type pacer struct {
	pause Pause // nil: never
	rows  int
}

func (p *pacer) row() error {
	if p.rows++; p.pause == nil || p.rows < pieceRows {
		return nil
	}
	p.rows = 0
	return p.pause()
}

// Read has the book read in pieces: read pauses now and then, gives back the error of a pause at once, and begins anew whenever it is called. What it was given it must not keep.
func (d *Desk) Read(read func(o *Office, pause Pause) error) error {
	for try := 1; ; try++ {
		if err := d.readOnce(read, try <= readingTries); !errors.Is(err, errMoved) {
			return err
		}
	}
}

func (d *Desk) readOnce(read func(*Office, Pause) error, inPieces bool) error {
	var changes uint64
	begun := false
	ended, err := d.turns(func(o *Office, pause Pause) error {
		if !begun {
			begun, changes = true, o.changes
		}
		return read(o, func() error {
			if !inPieces {
				return nil
			}
			if err := pause(); err != nil {
				return err
			}
			if o.changes != changes {
				return errMoved
			}
			return nil
		})
	})
	if ended {
		return ErrEnded
	}
	return err
}

// turns has read done in as many turns as it pauses, whatever others write meanwhile. It says whether the desk ended before it did.
func (d *Desk) turns(read func(*Office, Pause) error) (ended bool, err error) {
	var office *Office
	next, stop := iter.Pull(func(yield func(struct{}) bool) {
		err = read(office, func() error {
			if !yield(struct{}{}) {
				return ErrEnded
			}
			return nil
		})
	})
	defer stop()
	for more := true; more; {
		gone := d.Ask(func(o *Office) error {
			office = o
			_, more = next()
			return nil
		})
		if gone != nil {
			return true, gone
		}
	}
	return false, err
}
