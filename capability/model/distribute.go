package model

import (
	"cmp"
	"math"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// Slice is the part of a line item that a pool holds.
type Slice struct {
	Item  capability.ItemID `json:"item"`
	Count uint32            `json:"count"`
}

// Share is what came of one allocation.
type Share struct {
	Allocation *Allocation `json:"-"`
	Want       uint64      `json:"want"` // the amount in units: what a percentage came to; of a remainder what was left
	Got        uint64      `json:"got"`
	Slices     []Slice     `json:"slices,omitempty"` // in the order of filling
}

// Short is the deficit.
func (s Share) Short() uint64 { return s.Want - s.Got }

// PoolShare is what came of one pool: a share for each allocation, in their order.
type PoolShare struct {
	Name   string  `json:"name"`
	Shares []Share `json:"shares"`
}

// Slices are the pool's slices, one for each line item, in the order in which the pool was filled.
func (p PoolShare) Slices() []Slice {
	var all []Slice
	places := map[capability.ItemID]int{}
	for _, s := range p.Shares {
		for _, part := range s.Slices {
			if i, known := places[part.Item]; known {
				all[i].Count += part.Count
				continue
			}
			places[part.Item] = len(all)
			all = append(all, part)
		}
	}
	return all
}

// Distribution divides an inventory: for each line item its slices in Pools and its rest in Default are together its count.
type Distribution struct {
	Pools   []PoolShare `json:"pools"`   // in the order of the model
	Default []Slice     `json:"default"` // every line item, by ID, with what no pool took; zero where nothing is left
}

// Lines is what a request that names no feature asks for under a clause: each line takes less where there is less. "all from" asks for what each
// allocation of its pools got.
func (d Distribution) Lines(s *Spec) []capability.Desired {
	if s == nil {
		return nil
	}
	var all []capability.Desired
	for _, l := range s.Lines {
		all = append(all, capability.Desired{Feature: l.Feature, Version: l.Version, Count: l.Count, Partial: true})
	}
	for k, n := range s.All {
		if slices.ContainsFunc(s.All[:k], func(o Name) bool { return o.Text == n.Text }) {
			continue
		}
		i := slices.IndexFunc(d.Pools, func(p PoolShare) bool { return p.Name == n.Text })
		if i < 0 {
			continue // the default pool has no allocations
		}
		for _, sh := range d.Pools[i].Shares {
			a := sh.Allocation
			all = append(all, capability.Desired{Feature: a.Feature, Version: a.Version, Count: uint32(min(sh.Got, MaxCount)), Partial: true})
		}
	}
	return all
}

// Distribute fills the pools from top to bottom, and in each its allocations from top to bottom. An allocation takes from items of its feature, of
// its version or above, for which its filters hold, that are started, not expired, not metered and not uncounted: the lowest version first, then
// the longest expiry, then by item ID. The order of items does not matter.
func (m *Model) Distribute(now capability.Time, items []capability.LineItem) Distribution {
	if m == nil {
		m = &Model{}
	}
	stock := newStock(now, items)
	d := Distribution{Pools: make([]PoolShare, len(m.Pools)), Default: make([]Slice, 0, len(items))}
	for i := range m.Pools {
		p := &m.Pools[i]
		d.Pools[i] = PoolShare{Name: p.Name, Shares: make([]Share, len(p.Allocations))}
		for j := range p.Allocations {
			d.Pools[i].Shares[j] = stock.fill(&p.Allocations[j])
		}
	}
	for i := range stock.all {
		s := &stock.all[i]
		d.Default = append(d.Default, Slice{s.item.ID(), s.left})
	}
	slices.SortFunc(d.Default, func(a, b Slice) int { return compareIDs(a.Item, b.Item) })
	return d
}

// stock is what is left of an inventory while pools are filled.
type stock struct {
	all       []stocked
	byFeature map[string][]*stocked // those eligible, in the order in which they are taken
}

type stocked struct {
	item *capability.LineItem
	left uint32
}

func newStock(now capability.Time, items []capability.LineItem) *stock {
	s := &stock{all: make([]stocked, len(items)), byFeature: map[string][]*stocked{}}
	for i := range items {
		s.all[i] = stocked{&items[i], items[i].Count}
	}
	slices.SortFunc(s.all, func(a, b stocked) int {
		return cmp.Or(a.item.Version.Compare(b.item.Version), cmp.Compare(lasts(b.item), lasts(a.item)), compareIDs(a.item.ID(), b.item.ID()))
	})
	for i := range s.all {
		it := s.all[i].item
		if it.Start <= now && now < lasts(it) && !it.Metered && !it.Uncounted {
			s.byFeature[it.Feature] = append(s.byFeature[it.Feature], &s.all[i])
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

func (s *stock) fill(a *Allocation) Share {
	var eligible []*stocked
	var total, left uint64
	for _, i := range s.byFeature[a.Feature] {
		if a.takes(i.item) {
			eligible = append(eligible, i)
			total += uint64(i.item.Count)
			left += uint64(i.left)
		}
	}
	sh := Share{Allocation: a, Want: uint64(a.Amount.Number)}
	switch a.Amount.Measure {
	case Percent:
		sh.Want = total * uint64(a.Amount.Number) / 100
	case Remainder:
		sh.Want = left
	}
	for _, i := range eligible {
		t := uint32(min(sh.Want-sh.Got, uint64(i.left)))
		if t == 0 {
			continue
		}
		i.left -= t
		sh.Got += uint64(t)
		sh.Slices = append(sh.Slices, Slice{i.item.ID(), t})
	}
	return sh
}

// takes says whether an item of the allocation's feature is one for it: its version and its filters.
func (a *Allocation) takes(i *capability.LineItem) bool {
	if i.Version.Compare(a.Version) < 0 {
		return false
	}
	for _, f := range a.Filters {
		if !f.Pattern.matches([...]string{i.VendorString, i.Product, string(i.ActivationID)}[f.Property]) {
			return false
		}
	}
	return true
}
