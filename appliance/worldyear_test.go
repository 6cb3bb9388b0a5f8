package appliance

import (
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// mostMoves of the epoch counter in a day of ordinary use: each is a rewrite of the TPM's flash, and 20 a day wear out 500,000 cycles in 68 years.
const mostMoves = 20

// A plant of fifty seats works through a year: every seat is taken in the morning, renewed all day and given back, some people borrow for two days, once a week
// the machine is stopped and started, now and then it loses power, is killed, or exchanges files with the back office.
func TestSoakEpochMovesInAYear(t *testing.T) {
	days := storagetest.Size(t, 14, 365, 365)
	const seats = 50
	w := newWorld(t, 2, 1, seats)
	b := w.boxes[0]
	w.office.entitle(100, entitlement.Feature{Name: "render", Version: capability.Version{Major: 1}, PerCopy: 1})
	exchange := func(copies uint32) {
		w.write(b, []capability.Desired{{ActivationID: last(w.office.items).ActivationID, Count: copies}})
		w.carry(len(w.bag)-1, nil)
		w.carry(len(w.bag)-1, nil)
	}
	exchange(60)
	var all, worst int64
	above := 0
	all = -w.moves[b.chip]
	for day := range days {
		before := w.moves[b.chip]
		w.year(b, day, exchange)
		if w.wrong != nil {
			t.Fatalf("day %d: %v", day, w.wrong)
		}
		moved := w.moves[b.chip] - before
		worst = max(worst, moved)
		if moved > mostMoves {
			above++
			t.Logf("day %d: %d moves", day, moved)
		}
	}
	all += w.moves[b.chip]
	storagetest.Tried(t, days, above)
	t.Logf("%d days: %d moves of the epoch, %.1f a day, at most %d; %.0f a year", days, all, float64(all)/float64(days), worst, float64(all)/float64(days)*365)
}

// year is one day of it.
func (w *world) year(b *box, day int, exchange func(copies uint32)) {
	w.pass(7 * 3600)
	switch {
	case day%7 == 0:
		operations["stop"](w, 0, 0, 0)
		w.pass(120)
	case day%45 == 20:
		operations["kill"](w, 0, 0, 0)
	case day%90 == 60:
		operations["cut"](w, 0, day, 0)
	}
	if !w.begin(b, 0) {
		w.fail("%s does not start on day %d", b, day)
		return
	}
	w.pass(int64(interval))
	if day%7 > 4 {
		w.pass(17*3600 - int64(interval) - 120)
		return
	}
	borrowers := 3 + day%4
	for i, c := range w.clients {
		wi := wish{c: c, feature: "render", count: 1, borrow: interval}
		if (i+day)%len(w.clients) < borrowers {
			wi.borrow = borrows[3]
		}
		w.ask([]wish{wi})
		w.pass(20)
		if w.holds(c, b.chip.line, "render") != 1 {
			w.fail("client %d has no seat on day %d", c.n, day)
			return
		}
	}
	for w.now%86400 < (begins+16*3600)%86400 {
		w.pass(int64(interval) - 60)
		var all []wish
		for i, c := range w.clients {
			if (i+day)%len(w.clients) >= borrowers {
				all = append(all, wish{c: c, borrow: interval})
			}
		}
		w.ask(all)
	}
	if day%30 == 3 {
		exchange(uint32(60 + day/30))
	}
	if day%60 == 10 {
		w.giveBack(b, 1, 1)
	}
	var all []wish
	for i, c := range w.clients {
		if (i+day)%len(w.clients) >= borrowers {
			all = append(all, wish{c: c, feature: "render", borrow: interval})
		}
	}
	w.ask(all)
	w.pass((begins+86400-w.now%86400)%86400 - begins%86400 + 86400)
}
