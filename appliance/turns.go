package appliance

import (
	"container/list"
	"net/netip"
)

// turns says who may work when few may at a time. Addresses take turns, and within one it goes by the order of arrival, so that whoever comes in hundreds waits for
// its own. Addresses that devices came from go before all others, but for one turn of every few, so that a flood of strangers, from however many addresses, hardly
// keeps a device waiting, and devices no stranger for good. As places it knows no clock and no lock.
type turns struct {
	free          int
	known, others list.List // of *queue, none of them empty; whose turn it is first
	row           int       // turns of known addresses since others had one
	lines         map[netip.Prefix]*list.Element
}

const knownInRow = 3

type queue struct {
	address netip.Prefix
	in      *list.List
	waiting []*turn
}

// turn is one place in a line. ready is closed when the turn has come.
type turn struct {
	ready chan struct{}
	gone  bool
}

func newTurns(n int) *turns { return &turns{free: n, lines: map[netip.Prefix]*list.Element{}} }

// wait takes a turn, or a place in the line for one.
func (t *turns) wait(address netip.Prefix, known bool) *turn {
	w := &turn{ready: make(chan struct{})}
	if t.free > 0 {
		t.free--
		close(w.ready)
		return w
	}
	e := t.lines[address]
	if e == nil {
		in := &t.others
		if known {
			in = &t.known
		}
		e = in.PushBack(&queue{address: address, in: in})
		t.lines[address] = e
	}
	q := e.Value.(*queue)
	q.waiting = append(q.waiting, w)
	return w
}

// end gives a turn back, or a place in the line.
func (t *turns) end(w *turn) {
	if w.gone {
		return
	}
	w.gone = true
	select {
	case <-w.ready:
	default:
		return // it is passed over
	}
	t.free++
	for t.free > 0 && len(t.lines) > 0 {
		e := t.next()
		q := e.Value.(*queue)
		o := q.waiting[0]
		if q.waiting = q.waiting[1:]; len(q.waiting) == 0 {
			q.in.Remove(e)
			delete(t.lines, q.address)
		} else if !o.gone {
			q.in.MoveToBack(e)
		}
		if !o.gone {
			t.free--
			close(o.ready)
			if t.row++; q.in == &t.others {
				t.row = 0
			}
		}
	}
}

// next is the address whose turn it is, when any waits.
func (t *turns) next() *list.Element {
	if t.known.Len() > 0 && (t.row < knownInRow || t.others.Len() == 0) {
		return t.known.Front()
	}
	return t.others.Front()
}
