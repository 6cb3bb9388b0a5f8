package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Customers are accounts, and an account may be a part of another one: a site of a company, a customer of a partner. An item names its account. A machine belongs to the account of
// the first activation ID it was given, and is given no ID of an account that is neither the same nor above nor below.

// MaxDepth of accounts, and of products in products: a company, its countries, sites and departments are four.
const MaxDepth = 8

// Account is a customer. One that items name and that has no record has no parent, and may do what customers may.
type Account struct {
	Name        string `cbor:"1,keyasint,omitzero" json:"name"`
	Parent      string `cbor:"2,keyasint,omitzero" json:"parent,omitempty"` // an account with a record; empty: none
	Contact     string `cbor:"3,keyasint,omitzero" json:"contact,omitempty"`
	KeepsOnline bool   `cbor:"4,keyasint,omitzero" json:"keepsOnline,omitempty"` // its licenses may not be converted to their offline form
}

// SetAccount makes an account, or gives it other words and another parent.
type SetAccount struct {
	Account Account
	By      string
}

func (c SetAccount) decide(b *Book, now capability.Time) (*Decision, error) {
	if err := b.newAccount(c.Account.Name); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCatalog, err)
	}
	if err := b.setsAccount(&c.Account); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCatalog, err)
	}
	e := b.entry(now, c.By)
	e.Account = &c.Account
	return &Decision{Entries: []*Entry{e}}, nil
}

// newAccount says why an account that has neither a record nor a line item cannot begin under a name.
func (b *Book) newAccount(name string) error {
	if b.catalog.accounts.named[name] != nil || len(b.ofCustomer[name]) > 0 {
		return nil
	}
	return legible("account", name)
}

// setsAccount says why an account cannot be as it is said.
func (b *Book) setsAccount(a *Account) error {
	if err := capability.CheckName("account", a.Name); err != nil {
		return err
	}
	if err := capability.CheckText(a.Contact); err != nil {
		return fmt.Errorf("contact: %w", err)
	}
	old := b.catalog.accounts.named[a.Name]
	if a.Parent == "" || old != nil && old.Parent == a.Parent {
		return nil
	}
	if b.catalog.accounts.named[a.Parent] == nil {
		return fmt.Errorf("account %q would be a part of %q, which is no account on record", a.Name, a.Parent)
	}
	above, below := b.above(a.Parent), 1 // a new one has no parts: they name a record
	if slices.Contains(above, a.Name) {
		return fmt.Errorf("account %q would be a part of %q, which is a part of it", a.Name, a.Parent)
	}
	if old != nil {
		below = b.below(a.Name)
	}
	if depth := len(above) + below; depth > MaxDepth {
		return fmt.Errorf("account %q would be in a line of %d accounts, and %d are allowed", a.Name, depth, MaxDepth)
	}
	return nil
}

// checkAccount says whether an account is as it was allowed to become, at a cost that does not grow with the others: a line that is too long, or has no end, is found with its last account.
func (b *Book) checkAccount(a *Account) error {
	if err := b.setsAccount(a); err != nil { // as it is already: the line is looked at below
		return err
	}
	if above := b.above(a.Name); len(above) > MaxDepth || a.Parent != "" && b.catalog.accounts.named[a.Parent] == nil {
		return fmt.Errorf("account %q is in a line of %d accounts, or a part of %q, which is no account on record", a.Name, len(above), a.Parent)
	}
	return nil
}

// above is the account and all that it is a part of, itself first.
func (b *Book) above(name string) []string {
	line := []string{name}
	for a := b.catalog.accounts.named[name]; a != nil && a.Parent != "" && len(line) <= MaxDepth; a = b.catalog.accounts.named[a.Parent] {
		line = append(line, a.Parent)
	}
	return line
}

// below is how many accounts the longest line of parts under one has, with itself.
func (b *Book) below(name string) int {
	most := 1
	for _, a := range b.catalog.accounts.list {
		if at := slices.Index(b.above(a.Name), name); at >= 0 {
			most = max(most, at+1)
		}
	}
	return most
}

// Related says that two accounts are the same, or one is a part of the other.
func (b *Book) Related(one, other string) bool {
	return slices.Contains(b.above(one), other) || slices.Contains(b.above(other), one)
}

// Within says that an account is another one or a part of it; every account is within the one without a name.
func (b *Book) Within(name, whole string) bool {
	return whole == "" || slices.Contains(b.above(name), whole)
}

// Account is one account. One without a record has only its name.
func (b *Book) Account(name string) Account {
	if a := b.catalog.accounts.named[name]; a != nil {
		return *a
	}
	return Account{Name: name}
}

// HasAccount says whether anything on record is of an account: it was set, is above one that was, or has line items, machines, devices or users.
func (b *Book) HasAccount(name string) bool {
	if b.catalog.accounts.named[name] != nil || len(b.ofCustomer[name]) > 0 {
		return true
	}
	return slices.ContainsFunc(b.Accounts(), func(a Account) bool { return b.Within(a.Name, name) }) ||
		slices.ContainsFunc(b.users, func(u *User) bool { return u.ID.Account == name }) ||
		slices.ContainsFunc(b.devices, func(d *device) bool { return d.Account == name }) ||
		slices.ContainsFunc(b.hosts, func(h *Host) bool { return h.Account == name })
}

// Accounts are those with a record, in the order they were made.
func (b *Book) Accounts() []Account { return b.catalog.accounts.all() }

// accountOf is the account that a machine belongs to; empty: none yet.
func (b *Book) accountOf(h *Host) string {
	if h.Account == "" && len(h.Holds) > 0 { // from before accounts were on record
		return b.byID[h.Holds[0].ActivationID].Customer
	}
	return h.Account
}

// AccountOf is the account that a machine belongs to; empty: none yet, or no such machine.
func (b *Book) AccountOf(host hostid.ID) string {
	if h := b.byKey[host]; h != nil {
		return b.accountOf(h)
	}
	return ""
}

// foreign refuses an item of an account that a machine has nothing to do with. Whose it is, is nobody's business.
func (b *Book) foreign(i *item, h *Host) *capability.Refusal {
	if own := b.accountOf(h); own == "" || b.Related(own, i.Customer) {
		return nil
	}
	return capability.Refuse(capability.ErrAccount, string(i.ActivationID), "the machine belongs to another account")
}
