package console

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
)

// An administrator sees and writes reservation entries one by one; the ledger keeps them by group and host.

func (c *Console) reservations(r *http.Request) (any, error) {
	out := []Reserved{}
	err := c.look(r, func(l *ledger.Ledger, _ ledger.Now) { out = reserved(l) })
	return out, err
}

func reserved(l *ledger.Ledger) []Reserved {
	out := []Reserved{}
	groups, views := l.Reservations()
	for _, g := range groups {
		for _, r := range g.Reservations {
			for range r.Entries {
				v := views[len(out)]
				out = append(out, Reserved{
					ID: v.ID, Reservation: r.ID, GroupID: g.ID, Group: g.Name, Host: HostOf(r.Host), Feature: v.Feature, Version: v.Version,
					Count: v.Count, Status: v.Status.String(), Has: v.Has, Used: v.Used,
				})
			}
		}
	}
	return out
}

// reservationsAsModel is a model that divides the counts as the reservations do.
func (c *Console) reservationsAsModel(r *http.Request) (any, error) {
	var views []ledger.EntryView
	if err := c.look(r, func(l *ledger.Ledger, _ ledger.Now) { _, views = l.Reservations() }); err != nil {
		return nil, err
	}
	text, err := asModel(views)
	return &Model{Name: "reservations as pools", Text: string(text)}, err
}

// change makes what f turns the entries into the reservations, and answers with them.
func (c *Console) change(r *http.Request, what, by string, f func([]Reserved, []ledger.Group) ([]Reserved, error)) (any, error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	var rows []Reserved
	var before []ledger.Group
	err := c.look(r, func(l *ledger.Ledger, _ ledger.Now) {
		rows = reserved(l)
		before, _ = l.Reservations()
	})
	if err == nil {
		rows, err = f(rows, before)
	}
	if err != nil {
		return nil, err
	}
	groups, err := Groups(rows, before)
	if err != nil {
		return nil, err
	}
	if _, err := c.Appliance.Change(r.Context(), ledger.SetReservations{Groups: groups, By: by}, what, by); err != nil {
		return nil, err
	}
	return c.reservations(r)
}

func (c *Console) reserve(r *http.Request, by string) (any, error) {
	var row Reserved
	if err := decode(r, &row); err != nil {
		return nil, err
	}
	return c.change(r, "reservation added", by, func(rows []Reserved, _ []ledger.Group) ([]Reserved, error) { return append(rows, row), nil })
}

func (c *Console) importReservations(r *http.Request, by string) (any, error) {
	var rows []Reserved
	if err := decodeUpTo(capability.MaxFile, r, &rows); err != nil {
		return nil, err
	}
	return c.change(r, "reservations imported", by, func([]Reserved, []ledger.Group) ([]Reserved, error) { return rows, nil })
}

func (c *Console) editReservation(r *http.Request, by string) (any, error) {
	var edit ReservedEdit
	if err := decode(r, &edit); err != nil {
		return nil, err
	}
	return c.change(r, "reservation edited", by, edit.apply)
}

// apply changes the rows that the ID is for. A group that is renamed keeps its ID, so it is renamed in what was before as well. An entry with another owner,
// feature or version is another entry for the ledger, and gets a new ID.
func (e *ReservedEdit) apply(rows []Reserved, before []ledger.Group) ([]Reserved, error) {
	found := false
	for i := range rows {
		row := &rows[i]
		switch e.ID {
		case row.ID:
		case row.Reservation, row.GroupID:
			if e.Feature != nil || e.Version != nil || e.Count != nil {
				return nil, &capability.Malformed{Field: "id", Cause: fmt.Sprintf("%d is a whole reservation or group, and a feature, a version and a count are of one entry", e.ID)}
			}
			if e.ID == row.GroupID && e.Host != nil {
				return nil, &capability.Malformed{Field: "id", Cause: fmt.Sprintf("%d is a whole group, and a host ID is of an entry or a reservation", e.ID)}
			}
		default:
			continue
		}
		found = true
		set(&row.Group, e.Group)
		set(&row.Host, e.Host)
		set(&row.Feature, e.Feature)
		set(&row.Version, e.Version)
		set(&row.Count, e.Count)
	}
	switch {
	case !found:
		return nil, capability.Refuse(capability.ErrNotFound, "", "no reservation entry, reservation or group has the ID %d", e.ID)
	case *e == ReservedEdit{ID: e.ID}:
		return nil, &capability.Malformed{Field: "body", Cause: "says nothing that shall be different"}
	}
	if renamed := slices.IndexFunc(before, func(g ledger.Group) bool { return g.ID == e.ID }); renamed >= 0 {
		if other := slices.IndexFunc(before, func(g ledger.Group) bool { return g.Name == *e.Group }); other >= 0 && other != renamed {
			return nil, &capability.Malformed{Field: "group", Cause: fmt.Sprintf("%q is there already, with the ID %d", *e.Group, before[other].ID)}
		}
		before[renamed].Name = *e.Group
	}
	return rows, nil
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// deleteReservation takes an entry, all that a host has in a group, or a group.
func (c *Console) deleteReservation(r *http.Request, by string) (any, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, capability.Refuse(capability.ErrNotFound, "", "%q is not the ID of a reservation", r.PathValue("id"))
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	if _, err := c.Appliance.Change(r.Context(), ledger.DeleteReserved{ID: id, By: by}, "reservation deleted", by); err != nil {
		return nil, err
	}
	return c.reservations(r)
}

// Groups puts entries into the form of the ledger. What is as it was keeps its ID, and with it its age and its leases: a group by its name, a reservation
// by its group and host, an entry by its feature and version.
func Groups(rows []Reserved, before []ledger.Group) ([]ledger.Group, error) {
	var out []ledger.Group
	type place struct {
		group string
		host  hostid.ID
	}
	groups, reservations := map[string]int{}, map[place]int{}
	for i, e := range rows {
		id, err := e.Host.ID()
		if err != nil {
			return nil, &capability.Malformed{Field: fmt.Sprintf("[%d].hostId.type", i), Cause: err.Error()}
		}
		g, known := groups[e.Group]
		if !known {
			g = len(out)
			groups[e.Group] = g
			out = append(out, ledger.Group{Name: e.Group})
		}
		at := place{e.Group, id}
		r, known := reservations[at]
		if !known {
			r = len(out[g].Reservations)
			reservations[at] = r
			out[g].Reservations = append(out[g].Reservations, ledger.Reservation{Host: at.host})
		}
		entries := &out[g].Reservations[r].Entries
		*entries = append(*entries, ledger.ReservationEntry{Feature: e.Feature, Version: e.Version, Count: e.Count})
	}
	for _, old := range before {
		g, here := groups[old.Name]
		if !here {
			continue
		}
		out[g].ID = old.ID
		for _, o := range old.Reservations {
			if r, here := reservations[place{old.Name, o.Host}]; here {
				out[g].Reservations[r].ID = o.ID
				keepIDs(out[g].Reservations[r].Entries, o.Entries)
			}
		}
	}
	return out, nil
}

func keepIDs(entries, before []ledger.ReservationEntry) {
	left := slices.Clone(before)
	for k := range entries {
		e := &entries[k]
		if j := slices.IndexFunc(left, func(o ledger.ReservationEntry) bool { return o.Feature == e.Feature && o.Version == e.Version }); j >= 0 {
			e.ID = left[j].ID
			left = slices.Delete(left, j, j+1)
		}
	}
}
