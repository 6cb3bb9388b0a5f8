package ledger

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// crowd is a ledger in which n devices hold one count each of one of ten features, granted a second apart so that their ends differ.
func crowd(t testing.TB, n int) (*Ledger, Now) {
	l, now := New(), At(1000, day)
	step := func(c Command) {
		d, err := l.Decide(now, c)
		if err == nil && len(d.Entries) > 0 {
			err = l.Apply(d.Entries[0])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	r := capability.Response{Version: capability.Protocol, For: hostid.ID{Type: hostid.TPMEK, Value: "aa"}, Serial: 1, Time: day, Policy: capability.Policy{Lease: capability.MaxLease, Holders: capability.HoldersNames}}
	for i := range 10 {
		it := lineItem('a', fmt.Sprintf("f%d:1.0", i), uint32(n/10+1))
		it.ActivationID = numbered(i)
		r.Items = append(r.Items, it)
	}
	step(Provision{Response: r, Digest: capability.Digest{1}})
	for i := range n {
		step(crowdServe(i, uint64(i)+1, fmt.Sprintf("f%d", i%10), 1))
		if i%max(1, n/3000) == 0 {
			now.Lease++
			now.Wall++
		}
	}
	return l, now
}

func crowdServe(device int, call uint64, feature string, count uint32) Serve {
	r := capability.Request{
		Version: capability.Protocol, Hosts: []hostid.ID{{Type: hostid.Ethernet, Value: fmt.Sprintf("%012x", device)}},
		Desired: []capability.Desired{{Feature: feature, Count: count}},
	}
	for i := range 8 {
		r.Correlation[i] = byte(call >> (8 * i))
	}
	r.Correlation[15] = 1
	return Serve{Key: capability.Digest{1}, Request: r}
}

// The work of a request does not grow with the rows. Counted, not timed: leases booked, freed and looked at.
func TestCostDoesNotGrow(t *testing.T) {
	work := map[string][2]int{}
	for i, n := range []int{100, 10000} {
		l, now := crowd(t, n)
		count := 0
		l.steps = func() { count++ }
		call := uint64(n) * 2
		for _, c := range []struct {
			name    string
			command Command
		}{
			{"renewal", crowdServe(7, call+1, "f7", 1)},
			{"refusal with holders", crowdServe(n+1, call+2, "f3", 2)},
			{"giving back", crowdServe(7, call+3, "f7", 0)},
			{"new", crowdServe(n+2, call+4, "f7", 1)},
			{"advance", Advance{}},
		} {
			if c.name == "advance" {
				due, _ := l.NextDue()
				now = At(due, now.Wall+capability.Time(due-now.Lease))
			}
			before := count
			d, err := l.Decide(now, c.command)
			if err != nil || len(d.Entries) != 1 {
				t.Fatal(c.name, err)
			}
			if err := l.Apply(d.Entries[0]); err != nil {
				t.Fatal(err)
			}
			w := work[c.name]
			w[i] = count - before
			work[c.name] = w
		}
	}
	for name, w := range work {
		t.Logf("%s: %d, %d", name, w[0], w[1])
		if w[0] == 0 && w[1] == 0 || w[1] > 4*max(w[0], 1)+capability.MaxHolders {
			t.Errorf("%s: %d steps with 100 rows, %d with 10,000", name, w[0], w[1])
		}
	}
}

// The moves inside a queue grow with its logarithm.
func TestQueueCost(t *testing.T) {
	for _, n := range []int{100, 100000} {
		var q queue[*node]
		moves := 0
		nodes := make([]*node, n)
		for i := range nodes {
			nodes[i] = &node{end: i * 7919 % n, moves: &moves}
			q.push(nodes[i])
		}
		limit := 0
		for m := n; m > 0; m /= 2 {
			limit += 3
		}
		for i, x := range nodes {
			moves = 0
			x.end += n
			q.fix(x.at)
			if i%3 == 0 {
				q.remove(x.at)
				q.push(x)
			}
			if moves > limit*3 {
				t.Fatalf("%d members: %d moves where at most %d are wanted", n, moves, limit*3)
			}
		}
		last := -1
		q.first(func(x *node) bool {
			if x.end < last {
				t.Fatalf("%d after %d", x.end, last)
			}
			last = x.end
			return x.end < n+200
		})
		seen := 0
		q.each(func(x *node) bool {
			if x.end < n+50 {
				seen++
			}
			return x.end < n+50
		})
		if seen != 50 {
			t.Errorf("%d of 50 members below the bound", seen)
		}
		for last = -1; len(q) > 0; q.remove(0) {
			if q[0].end < last {
				t.Fatalf("%d after %d", q[0].end, last)
			}
			last = q[0].end
		}
	}
}

type node struct {
	end, at int
	moves   *int
}

//lint:ignore U1000 queue calls it, through its constraint
func (a *node) before(b *node) bool { return a.end < b.end }

//lint:ignore U1000 queue calls it, through its constraint
func (a *node) place(at int) { a.at = at; *a.moves++ }

func BenchmarkServe(b *testing.B) {
	for _, n := range rowsToTry() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			l, now := crowd(b, n)
			runtime.GC()
			runtime.ReadMemStats(&after)
			call, size := uint64(n)+1, 0
			for b.Loop() {
				call++
				device := int(call * 7919 % uint64(n))
				d, err := l.Decide(now, crowdServe(device, call, fmt.Sprintf("f%d", device%10), 1))
				if err == nil {
					err = l.Apply(d.Entries[0])
				}
				if err != nil {
					b.Fatal(err)
				}
				if size == 0 {
					size = len(d.Entries[0].Encode(wire.New()))
				}
			}
			b.ReportMetric(float64(size), "B/entry")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/lease")
		})
	}
}

// What is kept for a device that has not heard its answers costs as much as there is of it, and no more.
func TestCostOfUnheard(t *testing.T) {
	for _, n := range []int{10, 100, 400} {
		s := unheard(t, n)
		count := 0
		s.l.steps = func() { count++ }
		s.askUnheard(n, n)
		if row := s.l.rows[0]; len(row.leases) != n || count < n || count > 10*n {
			t.Errorf("%d steps for %d leases, of %d units", count, len(row.leases), n)
		}
	}
}
