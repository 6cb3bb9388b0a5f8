package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/hostid"
)

// Limits of reservations.
const (
	MaxGroups  = 1024 // as many as a model may have pools
	MaxEntries = 4096 // of all groups: as many as there may be line items
)

// Group is a group of reservations. An ID is given once to a group, a reservation or a reservation entry, and never again.
type Group struct {
	ID           uint64        `cbor:"1,keyasint,omitzero" json:"id,omitempty"`
	Name         string        `cbor:"2,keyasint,omitzero" json:"group"`
	Reservations []Reservation `cbor:"3,keyasint,omitempty" json:"reservations,omitempty"`
}

// Reservation is what one device, or one user (a host ID of type USER), has reserved.
type Reservation struct {
	ID      uint64             `cbor:"1,keyasint,omitzero" json:"id,omitempty"`
	Host    hostid.ID          `cbor:"2,keyasint,omitzero" json:"hostId"`
	Entries []ReservationEntry `cbor:"3,keyasint,omitempty" json:"entries,omitempty"`
}

// ReservationEntry is one reserved feature, of its version or any above.
type ReservationEntry struct {
	ID      uint64             `cbor:"1,keyasint,omitzero" json:"id,omitempty"`
	Feature string             `cbor:"2,keyasint,omitzero" json:"feature"`
	Version capability.Version `cbor:"3,keyasint" json:"version"`
	Count   uint32             `cbor:"4,keyasint,omitzero" json:"count"`
}

// SetReservations replaces all groups: an import as a whole. What has an ID keeps it if it is what the ID was given to; the rest get new ones.
type SetReservations struct {
	Groups []Group
	By     string
}

// PutGroup makes a group, or with an ID that is here replaces that group.
type PutGroup struct {
	Group Group
	By    string
}

// DeleteReserved takes out a group, a reservation or a reservation entry. What becomes empty by it goes too.
type DeleteReserved struct {
	ID uint64
	By string
}

// Reserved: these are all reservations from now on.
type Reserved struct {
	Groups []Group `cbor:"1,keyasint,omitempty"`
	LastID uint64  `cbor:"2,keyasint,omitzero"` // the last that was given to anything
	By     string  `cbor:"3,keyasint,omitzero"`
}

func (SetReservations) command() {}
func (PutGroup) command()        {}
func (DeleteReserved) command()  {}

// entries are all entries in the order of their IDs, which is that of age.
func entries(groups []Group) (out []ReservationEntry) {
	for _, g := range groups {
		for _, r := range g.Reservations {
			out = append(out, r.Entries...)
		}
	}
	slices.SortFunc(out, func(a, b ReservationEntry) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// reservedFor is the entries of one host ID or user, by group, reservation and entry.
func (l *Ledger) reservedFor(id hostid.ID) (out []ReservationEntry) {
	for _, g := range l.groups {
		for _, r := range g.Reservations {
			if r.Host == id {
				out = append(out, r.Entries...)
			}
		}
	}
	return out
}

// own is the entries that a request draws on: the device's, then the user's.
func (l *Ledger) own(device hostid.ID, user string) []ReservationEntry {
	if len(l.groups) == 0 {
		return nil
	}
	out := l.reservedFor(device)
	if user != "" {
		out = append(out, l.reservedFor(hostid.ID{Type: hostid.User, Value: user})...)
	}
	return out
}

func (l *Ledger) setReservations(now Now, c SetReservations) (Decision, error) {
	return l.reserveGroups(now, c.Groups, c.By)
}

func (l *Ledger) putGroup(now Now, c PutGroup) (Decision, error) {
	groups := slices.Clone(l.groups)
	if c.Group.ID == 0 {
		return l.reserveGroups(now, append(groups, c.Group), c.By)
	}
	i := slices.IndexFunc(groups, func(g Group) bool { return g.ID == c.Group.ID })
	if i < 0 {
		return Decision{}, capability.Refuse(capability.ErrNotFound, "", "no reservation group has the ID %d", c.Group.ID)
	}
	groups[i] = c.Group
	return l.reserveGroups(now, groups, c.By)
}

func (l *Ledger) deleteReserved(now Now, c DeleteReserved) (Decision, error) {
	found := false
	groups := keepGroups(l.groups, func(id uint64) bool {
		found = found || id == c.ID
		return id != c.ID
	})
	if !found {
		return Decision{}, capability.Refuse(capability.ErrNotFound, "", "no reservation has the ID %d", c.ID)
	}
	return l.reserveGroups(now, groups, c.By)
}

// keepGroups is a copy with those groups, reservations and entries only whose ID the caller wants, and nothing empty.
func keepGroups(groups []Group, want func(id uint64) bool) (out []Group) {
	for _, g := range groups {
		all := g.Reservations
		g.Reservations = nil
		if !want(g.ID) {
			continue
		}
		for _, r := range all {
			if !want(r.ID) {
				continue
			}
			r.Entries = slices.DeleteFunc(slices.Clone(r.Entries), func(e ReservationEntry) bool { return !want(e.ID) })
			if len(r.Entries) > 0 {
				g.Reservations = append(g.Reservations, r)
			}
		}
		if len(g.Reservations) > 0 {
			out = append(out, g)
		}
	}
	return out
}

// reserveGroups decides about the whole of the reservations as they shall be.
func (l *Ledger) reserveGroups(now Now, groups []Group, by string) (Decision, error) {
	if err := checkBy(by); err != nil {
		return Decision{}, err
	}
	groups, last, err := l.numbered(groups)
	if err != nil {
		return Decision{}, err
	}
	if len(groups) > 0 {
		switch {
		case l.model != nil:
			return Decision{}, capability.Refuse(capability.ErrModelInForce, l.model.Name, "delete the model first; its pools are %s", poolNames(l.model))
		case l.policy().Duplicates:
			return Decision{}, capability.Refuse(capability.ErrDuplicates, "", "a reserved count belongs to one device, and the policy duplicate-clients gives each key of a host ID its own")
		}
	}
	if slices.EqualFunc(groups, l.groups, sameGroup) {
		return Decision{}, nil
	}
	d := l.decided(now, Entry{
		Reserved: &Reserved{Groups: groups, LastID: last, By: by},
		Division: l.division(rules{groups: groups}, now, l.dates(now), l.inventory()),
	})
	return d, nil
}

func sameGroup(a, b Group) bool {
	return a.ID == b.ID && a.Name == b.Name && slices.EqualFunc(a.Reservations, b.Reservations, func(a, b Reservation) bool {
		return a.ID == b.ID && a.Host == b.Host && slices.Equal(a.Entries, b.Entries)
	})
}

// numbered checks groups as somebody wrote them, and gives IDs to what has none or one that was never its own. What is here already under the same group,
// owner and feature is the same thing: the same import again changes nothing.
func (l *Ledger) numbered(groups []Group) ([]Group, uint64, error) {
	if err := checkGroups(groups); err != nil {
		return nil, 0, err
	}
	kinds, paths := map[uint64]string{}, map[string][]uint64{}
	eachID(l.groups, func(path, kind string, id *uint64) {
		kinds[*id] = kind
		paths[path+kind] = append(paths[path+kind], *id)
	})
	out := make([]Group, len(groups))
	for i, g := range groups {
		g.Reservations = slices.Clone(g.Reservations)
		for j, r := range g.Reservations {
			g.Reservations[j].Entries = slices.Clone(r.Entries)
		}
		out[i] = g
	}
	last, taken := l.lastID, map[uint64]bool{}
	eachID(out, func(_, kind string, id *uint64) {
		if kinds[*id] != kind || taken[*id] {
			*id = 0
		}
		taken[*id] = true
	})
	eachID(out, func(path, kind string, id *uint64) {
		if *id != 0 {
			return
		}
		at := slices.IndexFunc(paths[path+kind], func(id uint64) bool { return !taken[id] })
		if at < 0 {
			last++
			*id = last
		} else {
			*id = paths[path+kind][at]
		}
		taken[*id] = true
	})
	return out, last, nil
}

// eachID visits the IDs of all three levels, from the top down. The kind is what an ID stands for: an entry of another owner or feature is another entry.
// The path says in which group it is.
func eachID(groups []Group, visit func(path, kind string, id *uint64)) {
	for i := range groups {
		path := fmt.Sprintf("%q ", groups[i].Name)
		visit(path, "group", &groups[i].ID)
		for j := range groups[i].Reservations {
			r := &groups[i].Reservations[j]
			visit(path, "reservation for "+r.Host.String(), &r.ID)
			for k := range r.Entries {
				e := &r.Entries[k]
				visit(path, fmt.Sprintf("entry for %s of %q %s", r.Host, e.Feature, e.Version), &e.ID)
			}
		}
	}
}

// checkGroups names the first field of reservations that is not as it must be. The error is a *capability.Malformed.
func checkGroups(groups []Group) error {
	if len(groups) > MaxGroups {
		return malformed("groups", "%d where at most %d are allowed", len(groups), MaxGroups)
	}
	names, total := map[string]bool{}, 0
	for i, g := range groups {
		at := fmt.Sprintf("groups[%d]", i)
		if err := capability.CheckName("group", g.Name); err != nil {
			return malformed(at, "%v", err)
		}
		if names[g.Name] {
			return malformed(at, "group %q is there twice", g.Name)
		}
		names[g.Name] = true
		if len(g.Reservations) == 0 || len(g.Reservations) > MaxEntries {
			return malformed(at, "%d reservations where 1 to %d are allowed", len(g.Reservations), MaxEntries)
		}
		for j, r := range g.Reservations {
			at := fmt.Sprintf("%s.reservations[%d]", at, j)
			if err := r.Host.Validate(); err != nil {
				return malformed(at, "%v", err)
			}
			if len(r.Entries) == 0 {
				return malformed(at, "reserves nothing")
			}
			if total += len(r.Entries); total > MaxEntries {
				return malformed(at, "more than %d entries in all", MaxEntries)
			}
			for k, e := range r.Entries {
				at := fmt.Sprintf("%s.entries[%d]", at, k)
				if err := capability.CheckName("feature", e.Feature); err != nil {
					return malformed(at, "%v", err)
				}
				if e.Count == 0 || e.Count > capability.MaxCount {
					return malformed(at, "count %d where 1 to %d are allowed", e.Count, capability.MaxCount)
				}
			}
		}
	}
	return nil
}

func (l *Ledger) applyReserved(f *Reserved) error {
	if err := checkGroups(f.Groups); err != nil {
		return err
	}
	if len(f.Groups) > 0 && (l.model != nil || l.policy().Duplicates) {
		return corrupt("reservations beside a model or duplicate clients")
	}
	if err := checkIDs(f.Groups, f.LastID); err != nil || f.LastID < l.lastID {
		return corrupt("the last ID is %d after %d: %w", f.LastID, l.lastID, err)
	}
	l.groups, l.lastID = f.Groups, f.LastID
	return nil
}

// checkIDs says that every ID is there once and was given.
func checkIDs(groups []Group, last uint64) (err error) {
	seen := map[uint64]bool{}
	eachID(groups, func(_, _ string, id *uint64) {
		if *id == 0 || *id > last || seen[*id] {
			err = corrupt("reservation ID %d, and the last is %d", *id, last)
		}
		seen[*id] = true
	})
	return err
}

// EntryStatus says what became of a reservation entry.
type EntryStatus uint8

// The three states of an entry: it has all it asks for; it will when leases that are in the way have ended; it asks for more than there is and has nothing.
const (
	Satisfied EntryStatus = iota
	Pending
	Unsatisfied
)

func (s EntryStatus) String() string { return [...]string{"satisfied", "pending", "unsatisfied"}[s] }

// EntryView is a reservation entry with what it has.
type EntryView struct {
	ReservationEntry
	Group  string
	Host   hostid.ID
	Status EntryStatus
	Has    uint64
	Used   uint64
}

// Reservations is every group, and every entry with its state, by group, reservation and entry.
func (l *Ledger) Reservations() ([]Group, []EntryView) {
	type sum struct{ has, used uint64 }
	sums := map[uint64]sum{}
	for _, it := range l.items {
		for _, s := range it.shares() {
			e := sums[s.source.Entry]
			sums[s.source.Entry] = sum{e.has + s.count, e.used + s.used}
		}
	}
	var out []EntryView
	for _, g := range l.groups {
		for _, r := range g.Reservations {
			for _, e := range r.Entries {
				v := EntryView{ReservationEntry: e, Group: g.Name, Host: r.Host, Has: sums[e.ID].has, Used: sums[e.ID].used}
				switch {
				case v.Has >= uint64(e.Count):
				case slices.ContainsFunc(l.sources, func(s Source) bool { return s.Entry == e.ID }):
					v.Status = Pending
				default:
					v.Status = Unsatisfied
				}
				out = append(out, v)
			}
		}
	}
	return keepGroups(l.groups, func(uint64) bool { return true }), out
}

// unsatisfied is the entries that have a share now and none in the next division.
func (l *Ledger) unsatisfied(next *Division) (out []uint64) {
	for _, s := range l.sources {
		if s.Entry != 0 && !slices.ContainsFunc(next.Shares, func(n Share) bool { return n.Source == s }) {
			out = append(out, s.Entry)
		}
	}
	return out
}

func poolNames(m *model.Model) string {
	names := make([]string, 0, 4)
	for i, p := range m.Pools {
		if i == 3 {
			names = append(names, fmt.Sprintf("%d more", len(m.Pools)-3))
			break
		}
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}
