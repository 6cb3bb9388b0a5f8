package console

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// Figures are what monitoring is told, without anybody's name in it.
type Figures struct {
	Features   map[string]bool // that there are
	Seats      []PoolSeats
	Expiries   map[string]capability.Time // of features: the first that is still to come
	Offset     capability.Seconds         // of the system clock, ahead of the trusted time
	Conditions []Condition
	Media      map[capability.Code]uint64 // responses and requests of this run, by what came of them
}

// PoolSeats are those of one feature in one pool.
type PoolSeats struct {
	Feature string
	Pool    string // of the model, default, overdraft, or reservations: those are one
	Total   uint64
	Used    uint64
	// Of the feature in all pools, where Pool is empty: what is reserved, and what is held by devices that say nobody has used them for an hour.
	Reserved, Idle uint64
}

const (
	reservationsPool = "reservations"
	idleAfter        = capability.Seconds(60 * 60)
)

// Figures looks at all of them.
func (c *Console) Figures(ctx context.Context) (*Figures, error) {
	h, err := c.Health(ctx)
	if err != nil {
		return nil, err
	}
	f := &Figures{Conditions: h.Conditions, Features: map[string]bool{}, Expiries: map[string]capability.Time{}, Media: c.media.counts()}
	if h.Clock != nil {
		f.Offset = -h.Clock.Behind
	}
	type place struct{ feature, pool string }
	seats := map[place]*PoolSeats{}
	at := func(feature, pool string) *PoolSeats {
		s := seats[place{feature, pool}]
		if s == nil {
			s = &PoolSeats{Feature: feature, Pool: pool}
			seats[place{feature, pool}] = s
		}
		return s
	}
	if err := c.Appliance.Look(ctx, func(l *ledger.Ledger, now ledger.Now) {
		if l.Status(now).Lost != 0 {
			return
		}
		for _, s := range l.Slices() {
			if s.Uncounted || s.Expiry != 0 && now.Wall >= s.Expiry {
				continue
			}
			pool := s.Source.String()
			if s.Source.Entry != 0 {
				pool = reservationsPool
				at(s.Item.Feature, "").Reserved += s.Count
			}
			row := at(s.Item.Feature, pool)
			row.Total += s.Count
			row.Used += s.Used
		}
		for _, it := range l.Items(now) {
			f.Features[it.Feature] = true
			if first := f.Expiries[it.Feature]; it.Expiry > now.Wall && (first == 0 || it.Expiry < first) {
				f.Expiries[it.Feature] = it.Expiry
			}
		}
		for _, d := range l.Idle(idleAfter, now) {
			for _, h := range d.Holdings {
				at(h.Item.Feature, "").Idle += uint64(h.Count)
			}
		}
	}); err != nil {
		return nil, err
	}
	for _, s := range seats {
		f.Seats = append(f.Seats, *s)
	}
	slices.SortFunc(f.Seats, func(a, b PoolSeats) int {
		return cmp.Or(cmp.Compare(a.Feature, b.Feature), cmp.Compare(a.Pool, b.Pool))
	})
	return f, nil
}

// media counts what came of files.
type media struct {
	mu sync.Mutex
	of map[capability.Code]uint64
}

func (m *media) count(code capability.Code) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[capability.Code]uint64{}
	}
	m.of[code]++
}

func (m *media) counts() map[capability.Code]uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.of)
}
