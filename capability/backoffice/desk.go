package backoffice

import "errors"

// ErrEnded: the desk was closed, and nothing of what was asked was done.
var ErrEnded = errors.New("the back office is closed")

// Desk lets many goroutines use one Office: its own does what they ask, one after the other, so that each finds the book as the one before left it.
type Desk struct {
	asks   chan func(*Office)
	end    chan chan error
	ended  chan struct{}
	failed chan error
}

// NewDesk takes an office over. Nobody else uses it from then on.
func NewDesk(o *Office) *Desk {
	d := &Desk{make(chan func(*Office)), make(chan chan error), make(chan struct{}), make(chan error, 1)}
	go d.run(o)
	return d
}

func (d *Desk) run(o *Office) {
	for {
		select {
		case f := <-d.asks:
			f(o)
			o.once, o.token = nil, nil // a key is of what was asked under it, and of nothing after; a token too
			if o.failed != nil {
				select {
				case d.failed <- o.failed:
				default: // it was said
				}
			}
		case done := <-d.end:
			close(d.ended)
			done <- o.Close()
			return
		}
	}
}

// Ask has f done with the office, and gives its error. What f was given it must not keep.
func (d *Desk) Ask(f func(*Office) error) error {
	done := make(chan error, 1)
	select {
	case d.asks <- func(o *Office) { done <- f(o) }:
		return <-done
	case <-d.ended:
		return ErrEnded
	}
}

// Failed gives the error of a write after which the office takes nothing more. The book in memory is ahead of the disk then: only opening it again says what is in it, so who serves it ends.
func (d *Desk) Failed() <-chan error { return d.failed }

// Close waits for what is being done and closes the office.
func (d *Desk) Close() error {
	done := make(chan error, 1)
	select {
	case d.end <- done:
		return <-done
	case <-d.ended:
		return ErrEnded
	}
}
