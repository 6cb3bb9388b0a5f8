package ledger

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// passing goes on to a moment, stopping wherever due says, and counts the stops.
func (v *life) passing(until capability.Seconds, due func(*Ledger) (capability.Seconds, bool)) (stops int) {
	for end := v.now.Lease + until; v.now.Lease < end || stops == 0; stops++ {
		at := end
		if next, any := due(v.l); any {
			at = min(max(next, v.now.Lease+1), end)
		}
		v.pass(at - v.now.Lease)
		for len(v.must(Advance{}).Entries) > 0 {
		}
	}
	return stops
}

// Whoever stops only at the dates that are felt comes to the same slices and the same leases as one who stops at each.
func TestFeltDates(t *testing.T) {
	skipped, held := 0, 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 5))
		var all []capability.LineItem
		for i := range 24 {
			change := []func(*capability.LineItem){borrow(capability.Seconds(1 + rng.IntN(9000)))}
			switch date := day + 100 + capability.Time(rng.IntN(5000)); rng.IntN(6) {
			case 0:
			case 1, 2:
				change = append(change, from(date))
			default:
				change = append(change, until(date))
			}
			all = append(all, lineItem('a'+byte(i), []string{"f:1.0", "f:2.0", "g:1.0", "h:1.0"}[rng.IntN(4)], 1+rng.Uint32N(3), change...))
		}
		v := begin(t, items(all...)...)
		switch seed % 3 {
		case 0:
			v.must(SetReservations{Groups: groups("red", "d0/ETHERNET f:1.0 6", "d1/ETHERNET f:2.0 4", "d2/ETHERNET f:1.0 2", "d0/ETHERNET g:1.0 3")})
		default:
			v.model(`partition "p" { "f" 1.0 5 "g" 1.0 50 % } partition "q" { "f" 2.0 4 "h" 1.0 remainder } partition "r" { "f" 1.0 50 % }`,
				`on any() { use "p", "q", "default" accept }`)
		}
		for i := range rng.IntN(4) {
			v.ask(fmt.Sprint("d", i), fmt.Sprintf("%s %d?", []string{"f:1.0", "f:2.0", "g:1.0"}[rng.IntN(3)], 1+rng.IntN(6)))
		}
		l, err := Restore(v.l.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		other := &life{t: t, l: l, now: v.now}
		far := capability.Seconds(2000 + rng.IntN(4000))
		stops, fewer := v.passing(far, (*Ledger).NextDue), other.passing(far, (*Ledger).NextFelt)
		skipped += stops - fewer
		held += len(v.l.Devices(v.now))
		if got, want := other.l.Slices(), v.l.Slices(); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: after %d stops\n%+v\nafter %d\n%+v", seed, fewer, got, stops, want)
		}
		if got, want := other.l.Devices(other.now), v.l.Devices(v.now); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: after %d stops %+v, after %d %+v", seed, fewer, got, stops, want)
		}
	}
	t.Log(skipped, "stops were spared;", held, "devices held something")
	if skipped == 0 || held == 0 {
		t.Error("nothing is shown")
	}
}

// As many dates as there are items are passed in one step while nobody holds anything, and one more for each lease that ends.
func TestDatesArePassedAtOnce(t *testing.T) {
	all := []capability.LineItem{lineItem('a', "g:1.0", 9)}
	for i := range 4000 {
		it := lineItem('a', "f:1.0", 2, until(day+10_000+capability.Time(i)))
		it.ActivationID = numbered(i)
		all = append(all, it)
	}
	l, now := New(), At(1000, day)
	step := func(c Command) {
		t.Helper()
		d, err := l.Decide(now, c)
		if err != nil || len(d.Entries) != 1 {
			t.Fatalf("%T: %d entries, %v", c, len(d.Entries), err)
		}
		if err := l.Apply(d.Entries[0]); err != nil {
			t.Fatal(err)
		}
	}
	step(Provision{Response: (&life{}).response(1, capability.Response{Items: items(all...)}), Digest: capability.Digest{1}})
	step(SetModel{Text: []byte(`model "m" { partitions { partition "p" { "f" 1.0 500 } partition "q" { "f" 1.0 50 % } } on any() { use "p", "default" accept } }`)})
	step(Serve{Key: key("d"), Request: (&life{t: t}).request("d", "f:1.0 3")})
	if first, _ := l.NextDue(); first != now.Lease+900 {
		t.Errorf("the lease ends at %d, and it is %d", first, now.Lease)
	}
	for _, want := range []struct {
		due capability.Seconds
		any bool
	}{{1900, true}, {0, false}} {
		due, any := l.NextFelt()
		if due != want.due || any != want.any {
			t.Fatalf("something is felt at %d, %t, where %+v is wanted", due, any, want)
		}
		if !any {
			due = 20_000
		}
		now = At(due, day.Add(due-1000))
		step(Advance{})
	}
	for _, s := range l.Slices() {
		if s.Source.Pool != "" {
			t.Errorf("%d of %s are in %s after its end", s.Count, s.Item, s.Source.Pool)
		}
	}
}
