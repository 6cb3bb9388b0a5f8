package model

import (
	"cmp"
	"math"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// stock is what is left of an inventory while pools are filled. A model may have many allocations and an appliance many items: what is the same for
// several allocations is found out once.
type stock struct {
	all     []stocked
	shelves map[string]*shelf // by feature
	values  [properties]int   // how many different values of a property the items have; 0 before they are numbered
	tried   [properties]map[string]*trial

	looks, runs int // items looked at, and regexps matched: what a division costs, for tests
}

type stocked struct {
	item  *capability.LineItem
	left  uint32
	value [properties]int // numbers of its values
}

// shelf is the items of one feature that pools can have, in the order in which they are taken.
type shelf struct {
	items []*stocked
	total []uint64 // total[i] is the counts of items[i] and all behind it
	next  []int    // nothing is left of items[i] up to, but not with, items[next[i]]
}

func newStock(now capability.Time, items []capability.LineItem) *stock {
	s := &stock{all: make([]stocked, len(items)), shelves: map[string]*shelf{}}
	for i := range items {
		s.all[i] = stocked{item: &items[i], left: items[i].Count}
	}
	slices.SortFunc(s.all, func(a, b stocked) int {
		return cmp.Or(a.item.Version.Compare(b.item.Version), cmp.Compare(lasts(b.item), lasts(a.item)), compareIDs(a.item.ID(), b.item.ID()))
	})
	for i := range s.all {
		it := s.all[i].item
		if it.Start <= now && now < lasts(it) && !it.Metered && !it.Uncounted {
			if s.shelves[it.Feature] == nil {
				s.shelves[it.Feature] = &shelf{}
			}
			f := s.shelves[it.Feature]
			f.items = append(f.items, &s.all[i])
		}
	}
	for _, f := range s.shelves {
		f.total, f.next = make([]uint64, len(f.items)+1), make([]int, len(f.items)+1)
		for i, it := range slices.Backward(f.items) {
			f.total[i] = f.total[i+1] + uint64(it.item.Count)
		}
		for i := range f.next {
			f.next[i] = i
		}
	}
	return s
}

// lasts is the first moment an item is not licensed; a permanent one lasts longest.
func lasts(i *capability.LineItem) capability.Time {
	if i.Expiry == 0 {
		return math.MaxInt64
	}
	return i.Expiry
}

func compareIDs(a, b capability.ItemID) int {
	return cmp.Or(cmp.Compare(a.ActivationID, b.ActivationID), cmp.Compare(a.Feature, b.Feature))
}

// from is the place of the first item of a version or above.
func (f *shelf) from(v capability.Version) int {
	at, _ := slices.BinarySearchFunc(f.items, v, func(it *stocked, v capability.Version) int { return it.item.Version.Compare(v) })
	return at
}

// left is the first place from i on where something may be left. Each step shortens the way for the next who comes here.
func (f *shelf) left(i int) int {
	for f.next[i] != i {
		f.next[i] = f.next[f.next[i]]
		i = f.next[i]
	}
	return i
}

func (s *stock) fill(a *Allocation) Share {
	sh := Share{Allocation: a}
	if a.Amount.Measure == Units {
		sh.Want = uint64(a.Amount.Number)
	}
	f := s.shelves[a.Feature]
	if f == nil {
		return sh
	}
	from, sieves := f.from(a.Version), s.sieves(a.Filters)
	most := sh.Want
	switch a.Amount.Measure {
	case Percent:
		sh.Want = s.total(f, from, sieves) * uint64(a.Amount.Number) / 100
		most = sh.Want
	case Remainder:
		most = math.MaxUint64
	}
	for i := f.left(from); i < len(f.items) && sh.Got < most; i = f.left(i + 1) {
		it := f.items[i]
		if s.looks++; !s.pass(sieves, it) {
			continue
		}
		t := uint32(min(most-sh.Got, uint64(it.left)))
		if it.left -= t; it.left == 0 {
			f.next[i] = i + 1
		}
		if t > 0 {
			sh.Got += uint64(t)
			sh.Slices = append(sh.Slices, Slice{it.item.ID(), t})
		}
	}
	if a.Amount.Measure == Remainder {
		sh.Want = sh.Got
	}
	return sh
}

// total is the counts of all items from a place on that pass, before any pool took its part.
func (s *stock) total(f *shelf, from int, sieves []sieve) (sum uint64) {
	if len(sieves) == 0 {
		return f.total[from]
	}
	for _, it := range f.items[from:] {
		if s.looks++; s.pass(sieves, it) {
			sum += uint64(it.item.Count)
		}
	}
	return sum
}

// sieve is a filter, and what is known of its pattern: a text is compared, but a regexp is matched once with each value.
type sieve struct {
	*Filter
	trial *trial // nil for a text
}

// trial is which values a regexp was matched with, and which of them it matched: a bit a value.
type trial struct{ done, matched []uint64 }

func (s *stock) sieves(filters []Filter) []sieve {
	if len(filters) == 0 {
		return nil
	}
	all := make([]sieve, len(filters))
	for i := range filters {
		all[i].Filter = &filters[i]
		if filters[i].Pattern.Regexp {
			all[i].trial = s.trial(&filters[i])
		}
	}
	return all
}

func (s *stock) trial(f *Filter) *trial {
	p := f.Property
	if s.tried[p] == nil {
		s.tried[p] = map[string]*trial{}
		numbers := map[string]int{}
		for i := range s.all {
			v := p.of(s.all[i].item)
			n, known := numbers[v]
			if !known {
				n = len(numbers)
				numbers[v] = n
			}
			s.all[i].value[p] = n
		}
		s.values[p] = len(numbers)
	}
	t := s.tried[p][f.Pattern.Text]
	if t == nil {
		words := (s.values[p] + 63) / 64
		t = &trial{make([]uint64, words), make([]uint64, words)}
		s.tried[p][f.Pattern.Text] = t
	}
	return t
}

// pass says that an item passes all filters.
func (s *stock) pass(sieves []sieve, it *stocked) bool {
	for _, f := range sieves {
		if f.trial == nil {
			if !f.Pattern.matches(f.Property.of(it.item)) {
				return false
			}
			continue
		}
		n := it.value[f.Property]
		word, bit := n/64, uint64(1)<<(n%64)
		if f.trial.done[word]&bit == 0 {
			s.runs++
			f.trial.done[word] |= bit
			if f.Pattern.matches(f.Property.of(it.item)) {
				f.trial.matched[word] |= bit
			}
		}
		if f.trial.matched[word]&bit == 0 {
			return false
		}
	}
	return true
}

// of is the property of an item; empty where it has none.
func (p Property) of(i *capability.LineItem) string {
	switch p {
	case VendorString:
		return i.VendorString
	case ProductName:
		return i.Product
	}
	return string(i.ActivationID)
}
