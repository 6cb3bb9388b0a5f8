package entitlement

import (
	"cmp"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// ServedView is what an appliance served, as far as its records say. They come with its requests, so it is known until the last of them and no further; and they name features, and users where the
// producer and the site let them, but no devices.
type ServedView struct {
	From     capability.Time `json:"from"`              // nothing from before is summed up here
	Until    capability.Time `json:"until"`             // end of the newest record or state: since then it was not synchronized
	Upto     uint64          `json:"upto"`              // number of the newest record
	Missing  uint64          `json:"missing,omitempty"` // records that never came
	Features []ServedFeature `json:"features"`          // by activation ID and name; without both: what was asked for and the machine has no right to
}

// ServedFeature is the use of one feature.
type ServedFeature struct {
	ActivationID capability.ActivationID `json:"activationId,omitempty"`
	Feature      string                  `json:"feature,omitempty"`
	Peak         uint64                  `json:"peak"`
	Served       uint64                  `json:"served"`
	Denied       uint64                  `json:"denied,omitempty"`
	Users        []string                `json:"users,omitempty"` // by name
}

// ServedSpan is the time before the newest record that a ServedView is about, 30 days.
const ServedSpan = 30 * day

// ServedBy is what a machine served in the ServedSpan before its newest record or state; false: it never sent one. Only these change it.
func (b *Book) ServedBy(id hostid.ID) (ServedView, bool) {
	s := b.synced[id]
	if s == nil {
		return ServedView{Features: []ServedFeature{}}, false
	}
	s = b.summed(s)
	v := ServedView{From: max(0, s.Until.Add(-ServedSpan)), Until: s.Until, Upto: s.Upto, Missing: s.Missing, Features: []ServedFeature{}}
	v.From -= v.From % day
	for _, u := range s.rows {
		if u.Day < v.From || u.Span != OneDay {
			continue
		}
		f := v.feature(u.ActivationID, u.Feature)
		if u.User == "" {
			f.Peak, f.Served, f.Denied = max(f.Peak, u.Peak), plus(f.Served, u.Served), plus(f.Denied, u.Denied())
		} else if at, there := slices.BinarySearch(f.Users, u.User); !there {
			f.Users = slices.Insert(f.Users, at, u.User)
		}
	}
	return v, true
}

// feature is the row of one, which is made if it is not there.
func (v *ServedView) feature(id capability.ActivationID, name string) *ServedFeature {
	at, there := slices.BinarySearchFunc(v.Features, ServedFeature{ActivationID: id, Feature: name}, func(f, g ServedFeature) int {
		return cmp.Or(cmp.Compare(f.ActivationID, g.ActivationID), cmp.Compare(f.Feature, g.Feature))
	})
	if !there {
		v.Features = slices.Insert(v.Features, at, ServedFeature{ActivationID: id, Feature: name})
	}
	return &v.Features[at]
}
