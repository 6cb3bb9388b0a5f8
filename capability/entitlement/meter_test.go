package entitlement

import (
	"fmt"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func metered(i *Item) {
	i.Metered, i.UndoInterval = true, 60
	i.Features = append(i.Features, Feature{Name: "calls", Version: capability.Version{Major: 1}, PerCopy: 10})
}

func reusable(i *Item) {
	metered(i)
	i.Reusable = true
}

// said is a request that names totals.
func (m *machine) said(salt uint64, totals ...capability.Meter) Answer {
	a := m.request(salt)
	a.Request.Metered = totals
	return a.renamed(m)
}

// renamed gives a request that was changed its digest.
func (a Answer) renamed(m *machine) Answer {
	a.Digest = New().codec.RequestDigest(a.Request)
	m.outstanding[len(m.outstanding)-1].Digest = a.Digest
	return a
}

func TestMeteredTotals(t *testing.T) {
	for _, c := range []struct {
		name  string
		item  func(*Item)
		steps [][]uint32 // totals of render and calls, request by request
		want  string     // of the book, and of the response that repairs
	}{
		{"nothing was used", metered, [][]uint32{{0, 0}}, "render 0, calls 0"},
		{"the last", metered, [][]uint32{{1, 5}, {3, 7}}, "render 3, calls 7"},
		{"the highest", metered, [][]uint32{{3, 7}, {1, 0}}, "render 3, calls 7"},
		{"what is reusable goes down", reusable, [][]uint32{{3, 7}, {1, 0}}, "render 1, calls 0"},
		{"what is leased has no total", nil, [][]uint32{{3, 0}}, "render 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, anyTier())
			id := w.entitle(1, 4, c.item)
			m := newMachine(1)
			m.apply(w.mustDo(m.request(1, want(id, 4))).Response)
			for n, step := range c.steps {
				var totals []capability.Meter
				for i, name := range []string{"render", "calls"} {
					if step[i] > 0 {
						totals = append(totals, capability.Meter{ActivationID: id, Feature: name, Count: step[i]})
					}
				}
				d := w.mustDo(m.said(uint64(10+n), totals...))
				m.apply(d.Response)
				for _, i := range d.Response.Items {
					if i.UsedBefore != 0 {
						t.Errorf("an ordinary response says %d of %s were used before", i.UsedBefore, i.Feature)
					}
				}
			}
			back, err := Restore(w.book.Snapshot())
			if err != nil || back.Digest() != w.book.Digest() {
				t.Fatalf("restored: %v", err)
			}
			// The first response to the new storage gets lost: the next one says it too, whatever the machine says.
			r := m.wiped()
			for n := range 2 {
				a := r.said(uint64(20+n), capability.Meter{ActivationID: id, Feature: "render", Count: 1})
				a.Repair = "the disk died"
				if got := shown(w.mustDo(a).Response); got != c.want {
					t.Errorf("response %d: %s where %s is wanted", n+1, got, c.want)
				}
			}
		})
	}
}

func shown(r *capability.Response) (out string) {
	for n, i := range r.Items {
		if n > 0 {
			out += ", "
		}
		out += fmt.Sprintf("%s %d", i.Feature, i.UsedBefore)
	}
	return out
}

// Totals of what the book does not have are nobody's.
func TestMeteredTotalsOfNothing(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 4, metered)
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 4))).Response)
	w.mustDo(m.said(2, capability.Meter{ActivationID: testID(t, 9), Feature: "render", Count: 3}, capability.Meter{ActivationID: id, Feature: "mesh", Count: 3}))
	if h, _ := w.book.Host(m.id.Host); len(h.Metered) != 0 {
		t.Errorf("%+v", h.Metered)
	}
}

// Apply and Check find wrong what Decide never writes about totals.
func TestForgedTotals(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 4, metered)
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 4))).Response)
	m.apply(w.mustDo(m.said(2, capability.Meter{ActivationID: id, Feature: "render", Count: 2})).Response)
	next := m.said(3, capability.Meter{ActivationID: id, Feature: "render", Count: 3})
	for name, list := range map[string][]capability.Meter{
		"lower":        {{ActivationID: id, Feature: "render", Count: 1}},
		"unchanged":    {{ActivationID: id, Feature: "render", Count: 2}},
		"not metered":  {{ActivationID: id, Feature: "mesh", Count: 3}},
		"out of order": {{ActivationID: id, Feature: "render", Count: 3}, {ActivationID: id, Feature: "calls", Count: 3}},
		"too many":     {{ActivationID: id, Feature: "render", Count: capability.MaxCount + 1}},
	} {
		b, err := Restore(w.book.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		d, err := b.Decide(w.now, next)
		if err != nil {
			t.Fatal(err)
		}
		d.Answered().Metered = list
		if err := b.Apply(d.Entries[0]); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	b, err := Restore(w.book.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	b.hosts[0].Metered = append(b.hosts[0].Metered, capability.Meter{ActivationID: id, Feature: "calls", Count: 1})
	if b.Check() == nil {
		t.Error("totals out of order are not found")
	}
	for _, change := range []func(*Item){func(i *Item) { i.Reusable = true }, func(i *Item) { i.UndoInterval = 5 }, func(i *Item) { i.Metered, i.UndoInterval = true, -1 }} {
		i := Item{ActivationID: testID(t, 5), Customer: "c", EntitlementID: "e", Product: "p", Features: []Feature{{Name: "f", PerCopy: 1}}, Copies: 1}
		change(&i)
		if i.Validate() == nil {
			t.Errorf("%+v is taken", i)
		}
	}
}
