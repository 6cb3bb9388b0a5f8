package console

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/hostid"
)

// What the language has no words for, so that whoever puts the model in force knows it.
const differences = `// Made of reservations: a pool for each entry, the oldest first, and its owner draws on it before the default pool. It differs from them in this:
// - a rule with hostid looks at every host ID that a device sends, a reservation only at the one by which the appliance knows it;
// - when counts are cut, a pool has what is left for it, and an entry all or nothing;
// - who names no feature is filled up from the default pool, where some of his counts are on another device;
// - leases of reserved counts go on in the default pool, and the pools fill as they end.
`

// asModel is the text of a model that divides the counts as reservation entries do, and serves them in the same order. The error is a *capability.Refusal.
func asModel(views []ledger.EntryView) ([]byte, error) {
	c := converter{pools: map[hostid.ID][]string{}, merge: len(views) > model.MaxPools}
	var b strings.Builder
	b.WriteString(differences)
	partitions := c.partitions(views)
	if len(c.owners) == 0 {
		return nil, capability.Refuse(capability.ErrNotFound, "", "there are no satisfied reservations")
	}
	rules := c.rules()
	for _, n := range c.notes {
		fmt.Fprintf(&b, "// - %s\n", n)
	}
	fmt.Fprintf(&b, "model \"reservations as pools\" {\n\tpartitions {\n%s\t}\n%s}\n", partitions, rules)
	text := []byte(b.String())
	if _, err := model.Parse(text); err != nil {
		return nil, capability.Refuse(capability.ErrModel, "", "%v", err)
	}
	return text, nil
}

type converter struct {
	merge  bool // entries of one owner into one pool: there are more than a model has pools
	owners []hostid.ID
	pools  map[hostid.ID][]string // of an owner, in the order of serving
	notes  []string
}

// partitions is the text of all pools. Older entries get their counts before newer ones, so their pools come first.
func (c *converter) partitions(views []ledger.EntryView) string {
	type pool struct {
		name  string // empty: a comment alone
		about string
		lines []ledger.ReservationEntry
	}
	var pools []*pool
	byName := map[string]*pool{}
	for _, v := range views {
		at := fmt.Sprintf("%s, for %s", v.Group, v.Host)
		if v.Status == ledger.Unsatisfied {
			at = fmt.Sprintf("%s: %q %s, of which it asks for %d, more than there is. It has nothing; a pool would take the rest that there is, so it has none", at, v.Feature, v.Version, v.Count)
			pools = append(pools, &pool{about: at, lines: []ledger.ReservationEntry{v.ReservationEntry}})
			continue
		}
		name := fmt.Sprintf("entry %d", v.ID)
		if c.merge {
			name = append(c.pools[v.Host], fmt.Sprintf("reserved %d", len(c.owners)+1))[0]
		}
		p := byName[name]
		if p == nil {
			p = &pool{name: name, about: at}
			byName[name], pools = p, append(pools, p)
			if len(c.pools[v.Host]) == 0 {
				c.owners = append(c.owners, v.Host)
			}
			c.pools[v.Host] = append(c.pools[v.Host], name)
		}
		same := func(e ledger.ReservationEntry) bool { return e.Feature == v.Feature && e.Version == v.Version }
		if i := slices.IndexFunc(p.lines, same); i >= 0 {
			p.lines[i].Count += v.Count
		} else {
			p.lines = append(p.lines, v.ReservationEntry)
		}
	}
	if c.merge {
		c.notes = append(c.notes, fmt.Sprintf("a model has at most %d pools, so all entries of one owner are one.", model.MaxPools))
	}
	slices.SortStableFunc(pools, func(a, b *pool) int { return cmp.Compare(a.lines[0].ID, b.lines[0].ID) })
	var b strings.Builder
	for _, p := range pools {
		fmt.Fprintf(&b, "\t\t// %s\n", p.about)
		if p.name == "" {
			continue
		}
		fmt.Fprintf(&b, "\t\tpartition %s {\n", model.Quote(p.name))
		for _, e := range p.lines {
			fmt.Fprintf(&b, "\t\t\t%s %s %d\n", model.Quote(e.Feature), e.Version, e.Count)
		}
		b.WriteString("\t\t}\n")
	}
	return b.String()
}

// rules is the text of all rules: a device gathers its pools, then those of its user, then the default pool. The first rule that is true decides what is
// given to who names no feature, so those of a device and a user together come before those of each.
func (c *converter) rules() string {
	var b strings.Builder
	quoted := func(id hostid.ID) (all []string) {
		for _, p := range c.pools[id] {
			all = append(all, model.Quote(p))
		}
		return all
	}
	clause := func(pools []string) {
		fmt.Fprintf(&b, "\t\twithout requested features { all from %s }\n\t\tcontinue\n\t}\n", strings.Join(pools, ", "))
	}
	condition := func(id hostid.ID) string {
		if id.Type == hostid.User {
			return fmt.Sprintf("user(%s)", model.Quote(id.Value))
		}
		return fmt.Sprintf("hostid(%s)", model.Quote(id.String()))
	}
	isUser := func(id hostid.ID) bool { return id.Type == hostid.User }
	devices, users := slices.DeleteFunc(slices.Clone(c.owners), isUser), slices.DeleteFunc(slices.Clone(c.owners), func(id hostid.ID) bool { return !isUser(id) })
	const most = 1000 // of these rules: with more nobody could read the others
	if len(devices)*len(users) <= most {
		for _, d := range devices {
			for _, u := range users {
				fmt.Fprintf(&b, "\ton %s and %s {\n", condition(d), condition(u))
				clause(append(quoted(d), quoted(u)...))
			}
		}
	} else {
		c.notes = append(c.notes, "who names no feature gets what the device has reserved, and what the user has only where the device has nothing.")
	}
	for _, id := range append(devices, users...) {
		fmt.Fprintf(&b, "\ton %s {\n\t\tuse %s\n", condition(id), strings.Join(quoted(id), ", "))
		clause(quoted(id))
	}
	b.WriteString("\ton any() {\n\t\tuse \"default\"\n\t\taccept\n\t}\n")
	return b.String()
}
