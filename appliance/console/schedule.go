package console

import (
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// schedule says when the back office is asked next. Its times are of a clock that nobody can set, since some fixed moment.
type schedule struct {
	tried  time.Duration // when it was asked last
	ever   bool          // in this run
	failed int           // tries in a row that reached nothing
	asked  bool          // somebody wants an exchange now
}

// due is when the next try is to be made. A try that reached nothing is repeated so many times after the retry period, then the next period comes, and its tries again.
func (s *schedule) due(p ledger.Polling) time.Duration {
	switch {
	case s.asked || !s.ever:
		return 0
	case s.failed > 0 && (s.failed-1)%(int(p.Retries)+1) < int(p.Retries):
		return s.tried + min(p.RetryPeriod, p.Period).Duration()
	}
	return s.tried + p.Period.Duration()
}

// begin notes a try.
func (s *schedule) begin(now time.Duration) { s.tried, s.ever, s.asked = now, true, false }

// missed notes that it reached nothing.
func (s *schedule) missed() { s.failed++ }

// reached notes that it was answered. What was answered late was written long ago, and what has come up since is told at once.
func (s *schedule) reached(late bool) { s.failed, s.asked = 0, s.asked || late }

// pending is a request without an answer: the same bytes are sent again, until something has happened that another request would tell.
type pending struct {
	number uint64 // of the last request that was written, which is this one
	serial uint64 // of the response in force
	gave   int    // returns that wait for their credit
	lost   capability.Code
	wish   []capability.Desired
	file   []byte
	missed bool // it was sent, and reached nothing
}

// still are the wishes of a request that follows it: the new ones first. What was given back since may be what the old ones are about, so then they are over.
func (p *pending) still(now *pending, wish []capability.Desired) []capability.Desired {
	if p.gave != now.gave || p.lost != now.lost {
		return wish
	}
	all := slices.Clone(wish)
	for _, d := range p.wish {
		if len(all) < capability.MaxDesired && !slices.ContainsFunc(all, func(w capability.Desired) bool { return w.ActivationID == d.ActivationID }) {
			all = append(all, d)
		}
	}
	return all
}

// stands says that the request still tells all that one written now would tell, but for usage.
func (p *pending) stands(now *pending) bool {
	return p.file != nil && p.number == now.number && p.serial == now.serial && p.gave == now.gave && p.lost == now.lost
}
