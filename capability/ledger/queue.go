package ledger

import (
	"slices"
	"sort"
)

// queue is a binary heap whose members know their place, so that any of them can be moved or removed in logarithmic time.
type queue[T interface {
	before(T) bool
	place(int)
}] []T

func (q *queue[T]) push(x T) {
	*q = append(*q, x)
	x.place(len(*q) - 1)
	q.up(len(*q) - 1)
}

func (q *queue[T]) remove(at int) {
	last := len(*q) - 1
	q.swap(at, last)
	(*q)[last] = *new(T)
	*q = (*q)[:last]
	if at < last {
		q.fix(at)
	}
}

// fix puts the member at this place where it belongs now.
func (q *queue[T]) fix(at int) {
	if !q.up(at) {
		q.down(at)
	}
}

func (q queue[T]) swap(i, j int) {
	if i != j {
		q[i], q[j] = q[j], q[i]
		q[i].place(i)
		q[j].place(j)
	}
}

func (q queue[T]) up(at int) (moved bool) {
	for at > 0 {
		parent := (at - 1) / 2
		if !q[at].before(q[parent]) {
			break
		}
		q.swap(at, parent)
		at, moved = parent, true
	}
	return moved
}

func (q queue[T]) down(at int) {
	for {
		first := at
		for child := 2*at + 1; child <= 2*at+2 && child < len(q); child++ {
			if q[child].before(q[first]) {
				first = child
			}
		}
		if first == at {
			return
		}
		q.swap(at, first)
		at = first
	}
}

// each visits members from the top down and goes below a member only when visit says so: with a condition that holds for a prefix of the order,
// it costs as much as there are members that meet it.
func (q queue[T]) each(visit func(T) bool) {
	pending := []int{0}
	for len(pending) > 0 {
		at := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if at < len(q) && visit(q[at]) {
			pending = append(pending, 2*at+1, 2*at+2)
		}
	}
}

// first visits members in order until visit says stop, without changing the queue.
func (q queue[T]) first(visit func(T) bool) {
	if len(q) == 0 {
		return
	}
	// The frontier holds the places whose parents were visited, the next one last.
	frontier := []int{0}
	for len(frontier) > 0 {
		at := frontier[len(frontier)-1]
		frontier = frontier[:len(frontier)-1]
		if !visit(q[at]) {
			return
		}
		for child := 2*at + 1; child <= 2*at+2 && child < len(q); child++ {
			i := sort.Search(len(frontier), func(i int) bool { return q[frontier[i]].before(q[child]) })
			frontier = slices.Insert(frontier, i, child)
		}
	}
}
