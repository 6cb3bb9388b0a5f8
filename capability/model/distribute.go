package model

import (
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

// Given is what each allocation of a pool got, as lines that ask for it. Whoever keeps it need not divide again to answer a request that names no feature.
type Given map[string][]capability.Desired

// Given is what the allocations of all pools got.
func (d Distribution) Given() Given {
	g := make(Given, len(d.Pools))
	for _, p := range d.Pools {
		lines := make([]capability.Desired, len(p.Shares))
		for i, sh := range p.Shares {
			a := sh.Allocation
			lines[i] = capability.Desired{Feature: a.Feature, Version: a.Version, Count: uint32(min(sh.Got, MaxCount)), Partial: true}
		}
		g[p.Name] = lines
	}
	return g
}

// Lines is what a request that names no feature asks for under a clause: each line takes less where there is less. "all from" asks for what each
// allocation of its pools got; the default pool has none.
func (g Given) Lines(s *Spec) []capability.Desired {
	if s == nil {
		return nil
	}
	var all []capability.Desired
	for _, l := range s.Lines {
		all = append(all, capability.Desired{Feature: l.Feature, Version: l.Version, Count: l.Count, Partial: true})
	}
	asked := map[string]bool{}
	for _, n := range s.All {
		if !asked[n.Text] {
			asked[n.Text] = true
			all = append(all, g[n.Text]...)
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
	return m.distribute(newStock(now, items))
}

func (m *Model) distribute(s *stock) Distribution {
	d := Distribution{Pools: make([]PoolShare, len(m.Pools)), Default: make([]Slice, 0, len(s.all))}
	for i := range m.Pools {
		p := &m.Pools[i]
		d.Pools[i] = PoolShare{Name: p.Name, Shares: make([]Share, len(p.Allocations))}
		for j := range p.Allocations {
			d.Pools[i].Shares[j] = s.fill(&p.Allocations[j])
		}
	}
	for i := range s.all {
		d.Default = append(d.Default, Slice{s.all[i].item.ID(), s.all[i].left})
	}
	slices.SortFunc(d.Default, func(a, b Slice) int { return compareIDs(a.Item, b.Item) })
	return d
}
