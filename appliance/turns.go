package appliance

import (
	"container/list"
	"net/netip"
)

// turns says who may work when few may at a time. Addresses take turns, and within one it goes by the order of arrival, so that whoever comes in hundreds waits for
// its own. As places it knows no clock and no lock.
type turns struct {
	free  int
	next  list.List // of *queue, none of them empty; whose turn it is first
	lines map[netip.Prefix]*list.Element
}

type queue struct {
	address netip.Prefix
	waiting []*turn
}

// turn is one place in a line. ready is closed when the turn has come.
type turn struct {
	ready chan struct{}
	gone  bool
}

func newTurns(n int) *turns { return &turns{free: n, lines: map[netip.Prefix]*list.Element{}} }

// wait takes a turn, or a place in the line for one.
func (t *turns) wait(address netip.Prefix) *turn {
	w := &turn{ready: make(chan struct{})}
	if t.free > 0 {
		t.free--
		close(w.ready)
		return w
	}
	e := t.lines[address]
	if e == nil {
		e = t.next.PushBack(&queue{address: address})
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
	for t.free > 0 && t.next.Len() > 0 {
		e := t.next.Front()
		q := e.Value.(*queue)
		o := q.waiting[0]
		if q.waiting = q.waiting[1:]; len(q.waiting) == 0 {
			t.next.Remove(e)
			delete(t.lines, q.address)
		} else if !o.gone {
			t.next.MoveToBack(e)
		}
		if !o.gone {
			t.free--
			close(o.ready)
		}
	}
}
