package ledger

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// A request that comes in a file has a number, which a device draws from a count of its own that only grows. Over a connection the handshake says that the device asks
// now; a file says it at any time, and whoever has a copy can bring it again after the seat was given back. So the highest number decided is kept with the device, as
// long as its row: that file again gets its answer again as long as that is the device's last, and else nothing; one with a lower number gets nothing.
//
// What is refused is not decided: it leaves no entry, and the same file is judged anew when it is brought again.

// passed says why a request of a file is not decided any more; a code of zero: it is, or it is the last one again.
func (r *row) passed(req *capability.Request, key capability.Digest, again bool) (no capability.Denial) {
	if r == nil || r.key != key || req.Number == 0 || req.Number > r.number || req.Number == r.number && again {
		return no
	}
	return capability.Denial{Code: capability.ErrRequestPassed, Detail: fmt.Sprintf("it is request %d of this device, and request %d was decided", req.Number, r.number)}
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

// applyNumber keeps the number of a file. Another key of the same host counts its own.
func (l *Ledger) applyNumber(r *row, f *Served) error {
	if r.key != f.Answer.Key {
		r.number = 0
	}
	if f.Number != 0 && f.Number <= r.number {
		return corrupt("request %d of %s came in a file after request %d", f.Number, r.id, r.number)
	}
	r.number = max(r.number, f.Number)
	return nil
}
