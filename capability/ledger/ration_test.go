package ledger

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// spend leaves the ration of moves empty.
func (v *life) spend() { v.l.ration = ration{v.now.Lease + moveSaved*movePeriod, v.now.Lease} }

func TestRation(t *testing.T) {
	now := At(5000, day)
	r, n := ration{}, 0
	for ; r.left(now); n++ {
		r = r.after(now)
	}
	if n != moveSaved {
		t.Errorf("%d moves are saved where %d are", n, moveSaved)
	}
	for i := range 40 { // then one a period, however often it is asked for
		now.Lease += movePeriod - 1
		if r.left(now) {
			t.Fatalf("a move %d s early, the %dth time", 1, i)
		}
		now.Lease++
		if !r.left(now) {
			t.Fatal("none after a period")
		}
		r = r.after(now)
	}
	asked, metering, reports := 0, ration{}, 0
	r = ration{}
	for now.Lease = 0; now.Lease < 365*24*60*60; now.Lease++ { // each second of a year
		if r.left(now) {
			r, asked = r.after(now), asked+1
		}
		if metering.meters(now) {
			metering, reports = metering.after(now), reports+1
		}
	}
	if most := moveSaved + 20*365; asked > most || asked < most-1 || reports > most {
		t.Errorf("%d moves and %d for reports in a year where at most %d are", asked, reports, most)
	}
	if m := (ration{now.Lease + 1, now.Lease - meterPeriod}); !m.meters(now) {
		t.Error("no move for metering an hour after the last")
	}
	if m := (ration{now.Lease + 1, now.Lease - meterPeriod + 1}); m.meters(now) {
		t.Error("a move for metering within the hour")
	}
}

// Without a move left a lease is no longer than a hold, but nobody has less than before by it, and the next one is in full when there is a move.
func TestShortened(t *testing.T) {
	serve := func(v *life, count uint32, borrow capability.Seconds) (Decision, string) {
		r := v.request("d", fmt.Sprintf("f:1.0 %d", count))
		r.Borrow = borrow
		d := v.must(Serve{Key: key("d"), Request: r})
		return d, v.holds("d")
	}
	v := begin(t, lineItem('a', "f:1.0", 5, borrow(86400)))
	if d, has := serve(v, 2, 5000); !d.Move || has != "a*2@5000" || d.Notices != nil {
		t.Fatalf("%s, move %v, %v", has, d.Move, d.Notices)
	}
	v.spend()
	for i, c := range []struct {
		count    uint32
		borrow   capability.Seconds
		has      string
		notices  int
		position string
	}{
		{2, 5000, "a*2@5000", 0, "the same end is no new lease"},
		{2, 4000, "a*2@4000", 0, "an earlier end is none"},
		{2, 6000, "a*2@4000", 1, "a later one is cut to what there was"},
		{3, 6000, "a*1@900 a*2@4000", 1, "and to a hold for what is new"},
		{3, 900, "a*3@900", 0, "a plain lease is as ever"},
		{3, 6000, "a*3@900", 1, "what was given back is not had"},
	} {
		d, has := serve(v, c.count, c.borrow)
		if d.Move || has != c.has || len(d.Notices) != c.notices || d.Response.Status != capability.StatusOK {
			t.Errorf("%d, %s: %s where %s is wanted, move %v, %d notices", i, c.position, has, c.has, d.Move, len(d.Notices))
		}
		if c.notices > 0 && (d.Notices[0].Code != capability.BorrowShortened || d.Notices[0].Subject != "f" || d.Entries[0].Served.Spent != 0) {
			t.Errorf("%d: %+v", i, d.Notices)
		}
		var n uint32
		for _, g := range d.Response.Rights {
			n += g.Count
			if held, _ := v.l.Device(v.request("d").Hosts[0], v.now); g.Expiry > held.Holdings[len(held.Holdings)-1].Expiry {
				t.Errorf("%d: told %s", i, g.Expiry)
			}
		}
		if n != c.count {
			t.Errorf("%d: %d told", i, n)
		}
	}
	v.pass(movePeriod)
	if d, has := serve(v, 3, 6000); !d.Move || has != "a*3@6000" || d.Entries[0].Served.Spent == 0 {
		t.Errorf("a period later: %s, move %v", has, d.Move)
	}
	// A kept lease stays what it is, and its units cannot cover others.
	v.spend()
	r := v.request("d", "f:1.0 1", "f:1.0 9")
	r.Borrow = 6000
	if d := v.must(Serve{Key: key("d"), Request: r}); d.Move || v.holds("d") != "a*3@6000" {
		t.Errorf("%s, move %v", v.holds("d"), d.Move)
	}
	// The end of an item is the end of its leases: the wall clock has gone ahead of the lease clock.
	v = begin(t, lineItem('a', "f:1.0", 5, borrow(86400), until(day+8000)))
	serve(v, 1, 7000)
	v.spend()
	v.now.Wall += 5000
	if d, has := serve(v, 1, 7000); d.Move || has != "a*1@3000" {
		t.Errorf("%s, move %v", has, d.Move)
	}
}

func TestRationIsAsserted(t *testing.T) {
	for _, spent := range []capability.Seconds{-1, 1, 1000, 1000 + movePeriod} {
		v := begin(t, lineItem('a', "f:1.0", 5, borrow(86400)))
		v.ask("d", "f:1.0 1")
		d, err := v.l.Decide(v.now, Serve{Key: key("e"), Request: v.request("e", "f:1.0 1")})
		if err != nil || d.Entries[0].Served.Spent != 1000+2*movePeriod {
			t.Fatal(err, d.Entries[0].Served.Spent)
		}
		d.Entries[0].Served.Spent = spent
		if err := v.l.Apply(d.Entries[0]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a ration of %d: %v", spent, err)
		}
	}
	for _, r := range []ration{{0, 5}, {5, 9000}, {900, 900}, {5, -1}} {
		v := begin(t, lineItem('a', "f:1.0", 5))
		v.l.ration = r
		if err := v.l.Check(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	// A snapshot without a ration is one in which nothing was spent.
	v := begin(t, lineItem('a', "f:1.0", 5, borrow(86400)))
	v.ask("d", "f:1.0 1")
	back, err := Restore(v.l.Snapshot())
	if err != nil || back.ration != v.l.ration || back.ration == (ration{}) {
		t.Error(err)
	}
}

// A year of what clients can do: however they ask, the epoch moves 20 times a day in the long run, and a plain lease never moves it.
func TestAYearOfMoves(t *testing.T) {
	const length = 365 * 24 * 60 * 60
	most := moveSaved + 20*365
	for _, c := range []struct {
		name        string
		items       []capability.LineItem
		policy      capability.Policy
		every       capability.Seconds // between requests, all clients together
		clients     int
		line        func(i int) string
		operation   capability.Operation
		least, most int
		years       capability.Seconds // parts of one
	}{
		{"50 clients at the granularity of a day", items(lineItem('a', "f:1.0", 50)), capability.Policy{Granularity: uint8(Day)}, 3600, 50,
			func(int) string { return "f:1.0 1" }, capability.Grant, 365, most, 1},
		{"50 clients that borrow a day", items(lineItem('a', "f:1.0", 50, borrow(86400))), capability.Policy{}, 1800, 50,
			func(int) string { return "f:1.0 1" }, capability.Grant, 365, most, 1},
		{"a report each minute", items(lineItem('m', "m:1.0", 1<<30, metered(false, 0))), capability.Policy{}, 60, 1,
			func(i int) string { return fmt.Sprintf("m:1.0 %d", i+1) }, capability.Report, 200, 240, 40},
		{"a device that borrows and returns each second", items(lineItem('a', "f:1.0", 5, borrow(86400))), capability.Policy{}, 1, 1,
			func(i int) string { return fmt.Sprintf("f:1.0 %d", i%2) }, capability.Grant, moveSaved, moveSaved + 1, 365 * 24},
		{"plain leases", items(lineItem('a', "f:1.0", 50)), capability.Policy{}, 600, 50, func(int) string { return "f:1.0 1" }, capability.Grant, 0, 0, 10},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			v := begin(t)
			v.respond(capability.Response{Items: c.items, Policy: c.policy})
			moves, calls, spent := 0, 0, capability.Seconds(0)
			for ; spent < length/c.years; spent += c.every {
				device := fmt.Sprintf("d%d", calls%c.clients)
				r := v.request(device, c.line(calls))
				r.Operation = c.operation
				d, err := v.l.Decide(v.now, Serve{Key: key(device), Request: r})
				if err != nil || len(d.Entries) != 1 || d.Response.Status > capability.StatusOK && d.Response.Status != capability.StatusReturned {
					t.Fatal(d.Response.Status, err)
				}
				if err := v.l.Apply(d.Entries[0]); err != nil {
					t.Fatal(err)
				}
				for _, s := range d.Entries[0].Served.Leases {
					if !d.Move && c.operation == capability.Grant && s.End-v.now.Lease > v.l.Policy().Lease && c.clients == 1 {
						t.Fatalf("a lease of %d s without a move", s.End-v.now.Lease)
					}
				}
				if d.Move {
					moves++
				}
				calls++
				v.pass(c.every)
			}
			if err := v.l.Check(); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d requests, %d moves", calls, moves)
			if moves < c.least || moves > c.most {
				t.Errorf("%d moves where %d to %d are wanted", moves, c.least, c.most)
			}
		})
	}
}
