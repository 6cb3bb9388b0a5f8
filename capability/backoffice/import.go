package backoffice

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// An import is tried on a copy of the book first, so that a wrong row changes nothing. What follows from it is written in groups: a cut leaves the first of them, and the same import again
// does the rest, because a row that is there already is none to write. A line item that a row names by a key of its own has the activation ID that this book makes of the key, always the same.

// Imported is what an import did.
type Imported struct {
	New, Changed, Same int
	Again              bool                      // it was done before under its key, and is not done again
	Items              []capability.ActivationID // of line items, in the order of the rows
}

const (
	importGroup      = 1000    // entries written at once
	importGroupBytes = 1 << 20 // of them
)

// Import writes the rows of a table. An error with a *RowError says which row cannot be, and then nothing was written.
func (o *Office) Import(n Noun, rows []Row, by string, now capability.Time) (*Imported, error) {
	done := &Imported{}
	if n == Entitlements {
		if err := o.name(rows, done); err != nil {
			return nil, err
		}
	}
	mark, again, err := o.marked()
	if err != nil || again {
		done.Again = again
		return done, err
	}
	scratch, err := entitlement.RestoreBeside(allCores, o.book.Snapshot())
	if err != nil {
		return nil, err
	}
	var entries []*entitlement.Entry
	for i := range rows {
		commands, err := rowCommands(scratch, n, &rows[i], by, done)
		if err != nil {
			return nil, err
		}
		for _, c := range commands {
			d, err := scratch.Decide(now, o.asked(c))
			if err != nil {
				return nil, &RowError{rows[i].Line, "", err}
			}
			for _, e := range d.Entries {
				if err := scratch.Apply(e); err != nil {
					return nil, &RowError{rows[i].Line, "", err}
				}
				entries = append(entries, e)
			}
		}
	}
	if len(entries) > 0 {
		entries[len(entries)-1].Once = mark
	}
	return done, o.commitGroups(entries)
}

// marked is the key of what is asked for, for its last entry, and whether it was used for it before. Without a key it is nil.
func (o *Office) marked() (*entitlement.Mark, bool, error) {
	if o.once == nil {
		return nil, false, nil
	}
	m := entitlement.Mark{Key: o.once.Key, Part: o.once.Part, Asked: o.once.Asked}
	was, ok := o.book.Done(m.Key, m.Part)
	if ok && was.Mark != m {
		return nil, false, capability.Refuse(capability.ErrKeyUsed, m.Key, "it was for another command, %s, entry %d", was.Time, was.Entry)
	}
	o.once.Part++
	return &m, ok, nil
}

func (o *Office) commitGroups(entries []*entitlement.Entry) error {
	for len(entries) > 0 {
		n, size := 0, 0
		for n < len(entries) && n < importGroup && (n == 0 || size < importGroupBytes) {
			size += len(entries[n].Encode(o.codec))
			n++
		}
		if err := o.commit(entries[:n]...); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// name gives the rows their activation IDs.
func (o *Office) name(rows []Row, done *Imported) error {
	lines := map[capability.ActivationID]int{}
	for i := range rows {
		r := &rows[i]
		column := "activation_id"
		if r.Item.ActivationID == "" {
			if column = "key"; r.Key == "" {
				return &RowError{r.Line, column, errors.New("a row has an activation ID, or a key that the same row always has")}
			}
			if err := capability.CheckName("key", r.Key); err != nil {
				return &RowError{r.Line, column, err}
			}
			seed, err := o.vault.Derive("freehold line item\x00"+r.Key, 32)
			if err != nil {
				return err
			}
			if r.Item.ActivationID, err = capability.NewActivationID(bytes.NewReader(seed)); err != nil {
				return err
			}
		}
		if other := lines[r.Item.ActivationID]; other != 0 {
			return &RowError{r.Line, column, fmt.Errorf("it is that of line %d too", other)}
		}
		lines[r.Item.ActivationID] = r.Line
		done.Items = append(done.Items, r.Item.ActivationID)
	}
	return nil
}

// rowCommands is what a row asks for that is not so already.
func rowCommands(b *entitlement.Book, n Noun, r *Row, by string, done *Imported) ([]entitlement.Command, error) {
	there, was := false, Row{}
	switch n {
	case Accounts:
		was.Account, there = b.AccountRecord(r.Account.Name)
	case Products:
		was.Product, there = b.Product(r.Product.Name, r.Product.Version)
	case Models:
		was.Model, there = b.Model(r.Model.Name)
	}
	for _, c := range r.unsaid {
		if !there {
			break
		}
		if err := c.set(r, c.get(&was)); err != nil {
			return nil, &RowError{r.Line, c.name, err}
		}
	}
	var commands []entitlement.Command
	switch n {
	case Accounts:
		commands = []entitlement.Command{entitlement.SetAccount{Account: r.Account, By: by}}
	case Products:
		commands = []entitlement.Command{entitlement.SetProduct{Product: r.Product, By: by}}
	case Models:
		if m := r.Model; !there && m.State > entitlement.ModelDeployed { // it has been in use where the table comes from
			m.State = entitlement.ModelDeployed
			commands = append(commands, entitlement.SetModel{Model: m, By: by})
		}
		commands = append(commands, entitlement.SetModel{Model: r.Model, By: by})
	case Entitlements:
		v, ok := b.Item(r.Item.ActivationID, 0)
		if ok {
			done.Same++
			return nil, sameItem(r, &v.Item)
		}
		done.New++
		r.Item.EntitlementID = cmp.Or(r.Item.EntitlementID, r.Key, "ENT-"+string(r.Item.ActivationID))
		return []entitlement.Command{entitlement.Entitle{Item: r.Item, By: by}}, nil
	}
	same := there
	for _, c := range columns(n) {
		same = same && c.get(r) == c.get(&was)
	}
	switch {
	case same:
		done.Same++
		return nil, nil
	case there:
		done.Changed++
	default:
		done.New++
	}
	return commands, nil
}

// sameItem says where a row is not the line item that is in the book under its ID. What the row left to the product and the model is theirs.
func sameItem(r *Row, i *entitlement.Item) error {
	is := Row{Key: r.Key, Item: *i}
	for _, c := range columns(Entitlements) {
		said, there := c.get(r), c.get(&is)
		left := said == "" && (c.name == "entitlement" || c.name == "features" || r.Item.Model != "" && (c.name == "metered" || c.name == "reusable" || c.name == "undo"))
		if c.set != nil && said != there && !left {
			return &RowError{r.Line, c.name, fmt.Errorf("%s is in the book with %q, the row says %q", i.ActivationID, there, said)}
		}
	}
	return nil
}
