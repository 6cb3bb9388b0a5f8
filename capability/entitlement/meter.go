package entitlement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// A request names what its machine has used of each metered item. That goes back to the machine in every response to a storage that has applied none: one that
// was made anew begins with it, so that a capped item is not used twice. What was used after the last answered request nobody here knows of.

func compareMeters(a, b capability.Meter) int {
	return cmp.Or(cmp.Compare(a.Feature, b.Feature), compareIDs(a.ActivationID, b.ActivationID))
}

// metered says that a feature of an item is.
func (b *Book) metered(id capability.ItemID) bool {
	i := b.byID[id.ActivationID]
	return i != nil && i.Metered && slices.ContainsFunc(i.Features, func(f Feature) bool { return f.Name == id.Feature })
}

// used is what the machine is known to have used of an item.
func (h *Host) used(id capability.ItemID) uint32 {
	if at, ok := h.findMeter(capability.Meter{ActivationID: id.ActivationID, Feature: id.Feature}); ok {
		return h.Metered[at].Count
	}
	return 0
}

func (h *Host) findMeter(m capability.Meter) (int, bool) {
	return slices.BinarySearchFunc(h.Metered, m, compareMeters)
}

// meter sets a total, keeping the order.
func (h *Host) meter(m capability.Meter) {
	at, ok := h.findMeter(m)
	switch {
	case ok && m.Count == 0:
		h.Metered = slices.Delete(h.Metered, at, at+1)
	case ok:
		h.Metered[at] = m
	case m.Count > 0:
		h.Metered = slices.Insert(h.Metered, at, m)
	}
}

// counted are the totals that a request changes. One that has applied nothing knows nothing of them; what is not in the book, or not metered, is nobody's total. A machine
// whose rights went to another one has no totals any more: they went with them.
func (b *Book) counted(h *Host, r *capability.Request) (list []capability.Meter) {
	if r.Applied == 0 || h.Moved != nil {
		return nil
	}
	said := map[capability.ItemID]bool{}
	for _, m := range r.Metered {
		said[m.ID()] = true
		if b.metered(m.ID()) && b.changesTotal(h, m) {
			list = append(list, m)
		}
	}
	for _, m := range h.Metered {
		if m.Count = 0; !said[m.ID()] && b.changesTotal(h, m) {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, compareMeters)
	return list
}

// changesTotal says that a total goes up, or that it differs and may go down.
func (b *Book) changesTotal(h *Host, m capability.Meter) bool {
	was := h.used(m.ID())
	return m.Count > was || m.Count < was && b.byID[m.ActivationID].Reusable
}

// usedBefore puts into the items of a response what their machine is known to have used.
func usedBefore(items []capability.LineItem, h *Host) {
	for n := range items {
		if i := &items[n]; i.Metered {
			i.UsedBefore = h.used(i.ID())
		}
	}
}

// applyMetered asserts what counted promises.
func (b *Book) applyMetered(h *Host, list []capability.Meter) error {
	if h.Moved != nil && len(list) > 0 {
		return fmt.Errorf("%d totals of a machine whose rights went to another one", len(list))
	}
	for n, m := range list {
		if n > 0 && compareMeters(list[n-1], m) >= 0 || !b.metered(m.ID()) || m.Count > capability.MaxCount || !b.changesTotal(h, m) {
			return fmt.Errorf("total of %d of %s is not in order, not metered, or goes from %d", m.Count, m.ID(), h.used(m.ID()))
		}
	}
	return nil
}
