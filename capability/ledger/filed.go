package ledger

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// A request that comes in a file has a number, which a device draws from a count of its own that only grows. Over a connection the handshake says that the device asks
// now; a file says it at any time, and whoever has a copy can bring it again after the seat was given back. So the highest number decided is kept with the device, as
// long as its row: that file again gets its answer again as long as that is the device's last, and else nothing; one with a lower number gets nothing. Over a connection
// a device says which number it has come to: once it has asked there for all that it shall hold, files from before would take that away, or give it twice.
//
// What is refused is not decided: it leaves no entry, and the same file is judged anew when it is brought again.

// passed says why a request of a file is not decided any more; a code of zero: it is, or it is the last one again.
func (r *row) passed(c *Serve, again bool) (no capability.Denial) {
	n := c.Request.Number
	if !c.Filed || r == nil || r.key != c.Key || n > r.number || n == r.number && again {
		return no
	}
	return capability.Denial{Code: capability.ErrRequestPassed, Detail: fmt.Sprintf("it is request %d of this device, and what it asked for after it had come to request %d was decided", n, r.number)}
}

// overtakes is the number up to which files of the device are not decided any more because of this request; zero: it is the same as before.
func (r *row) overtakes(c *Serve) uint64 {
	if n := c.Request.Number; r == nil || r.key != c.Key || n > r.number {
		return n
	}
	return 0
}

// staying is what a file that gives something back leaves as it is: of each other feature of which it asks for no more than the device holds. Nothing of it is
// renewed, so what was lent for long ends when it did, and neither a hold nor what has become of another feature keeps anyone from giving back.
func (s *serving) staying(wants []want) map[string]uint64 {
	asks, gives := map[string]uint64{}, false
	for _, w := range wants {
		gives = gives || w.Count == 0
		asks[w.Feature] += uint64(w.Count)
	}
	if !gives {
		return nil
	}
	has := map[string]uint64{}
	for _, h := range s.held {
		has[h.slice.item.Feature] += uint64(h.count)
	}
	for name, n := range asks {
		if n == 0 || n > has[name] {
			delete(asks, name)
		}
	}
	return asks
}

// refusedFile is why a request of a file, which grants all or nothing, gets nothing.
func (s *serving) refusedFile() capability.Denial {
	for _, l := range s.answer.Lines {
		if l.Denial.Code != 0 {
			return l.Denial
		}
	}
	return capability.Denial{Code: capability.ErrNoSeat}
}

// applyNumber keeps the number that a device has come to. Another key of the same host counts its own.
func (l *Ledger) applyNumber(r *row, f *Served) error {
	if r.key != f.Answer.Key {
		r.number = 0
	}
	if f.Number != 0 && f.Number <= r.number {
		return corrupt("%s comes to request %d after request %d", r.id, f.Number, r.number)
	}
	r.number = max(r.number, f.Number)
	return nil
}
