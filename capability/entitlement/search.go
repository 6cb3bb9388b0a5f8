package entitlement

import (
	"cmp"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// A page of a list is for somebody who waits: a search looks at so many records at most and says where to go on, rather than walk a book of a million for nothing.

// maxLooked is how many records one page looks at, and maxShown how many it has.
const (
	maxLooked = 100_000
	maxShown  = 1000
)

// ItemSearch says which items a page has; the zero value is all.
type ItemSearch struct {
	ItemFilter
	Text  string // in the activation ID, the entitlement's, the customer's or the product's name, in any case
	Group string
}

// FindItems has at most limit items, the newest first, of those before the item of that ID (empty: from the newest on). next is where to go on; empty: there are no more. A page that has looked
// at very many ends with those it found. Where a search is cut to an account, what is another's is passed over as if it were not there: it is not counted, is never next, and nothing comes before it.
func (b *Book) FindItems(now capability.Time, s ItemSearch, before capability.ActivationID, limit int) (page []ItemView, next capability.ActivationID) {
	list, inside := b.candidates(&s), b.inside(s.Within)
	at := len(list)
	if last := b.byID[before]; last != nil && inside(last.Customer) {
		at, _ = slices.BinarySearchFunc(list, last.at, func(i *item, at int) int { return cmp.Compare(i.at, at) })
	}
	page, text, limit := []ItemView{}, strings.ToLower(s.Text), min(limit, maxShown)
	looked, last := 0, capability.ActivationID("")
	for at > 0 {
		at--
		i := list[at]
		if !inside(i.Customer) {
			continue
		}
		if looked == maxLooked {
			return page, last
		}
		looked, last = looked+1, i.ActivationID
		if !s.passes(b, i, text, now) {
			continue
		}
		if len(page) == limit {
			return page, page[limit-1].ActivationID
		}
		page = append(page, b.view(i, now))
	}
	return page, ""
}

// inside is Within, asked of many records of few accounts.
func (b *Book) inside(whole string) func(account string) bool {
	known := map[string]bool{}
	return func(account string) bool {
		in, asked := known[account]
		if whole != "" && !asked {
			in = b.Within(account, whole)
			known[account] = in
		}
		return in || whole == ""
	}
}

func (s *ItemSearch) passes(b *Book, i *item, text string, now capability.Time) bool {
	switch {
	case s.Customer != "" && i.Customer != s.Customer, s.Product != "" && i.Product != s.Product, s.EntitlementID != "" && i.EntitlementID != s.EntitlementID,
		s.Group != "" && !slices.Contains(i.Groups, s.Group), s.State != "" && b.state(i, now) != s.State:
		return false
	}
	return has(text, string(i.ActivationID), i.EntitlementID, i.Customer, i.Product)
}

// has says whether one of the texts has what is searched, which is in small letters.
func has(text string, in ...string) bool {
	return text == "" || slices.ContainsFunc(in, func(s string) bool { return strings.Contains(strings.ToLower(s), text) })
}

// candidates are the items that a search looks at, by place: those of the customers that it is cut to, where these are few.
func (b *Book) candidates(s *ItemSearch) []*item {
	if s.Customer != "" {
		return b.ofCustomer[s.Customer]
	}
	if s.Within == "" || len(b.catalog.accounts.list) > len(b.items) {
		return b.items
	}
	list := slices.Clone(b.ofCustomer[s.Within])
	for _, a := range b.catalog.accounts.list {
		if a.Name != s.Within && len(b.ofCustomer[a.Name]) > 0 && b.Within(a.Name, s.Within) {
			if list = append(list, b.ofCustomer[a.Name]...); len(list) > len(b.items)/8 {
				return b.items
			}
		}
	}
	slices.SortFunc(list, func(i, o *item) int { return cmp.Compare(i.at, o.at) })
	return list
}

// UserSearch says which users a page has; the zero value is all.
type UserSearch struct {
	Within string // an account: its users, and those of the accounts below it
	Text   string // in the name or the account's, in any case
	Group  string
}

// FindUsers is FindItems for users, in the order they were made. more says that some follow the last one of the page, which is next.
func (b *Book) FindUsers(s UserSearch, after UserID, limit int) (page []User, next UserID, more bool) {
	from, inside := 0, b.inside(s.Within)
	if last := b.user(after); last != nil && inside(last.ID.Account) {
		from = slices.Index(b.users, last) + 1
	}
	page, text, limit := []User{}, strings.ToLower(s.Text), min(limit, maxShown)
	looked := 0
	for _, u := range b.users[from:] {
		if !inside(u.ID.Account) {
			continue
		}
		if looked == maxLooked {
			return page, next, true
		}
		looked++
		if (s.Group == "" || slices.Contains(u.Groups, s.Group)) && has(text, u.ID.Name, u.ID.Account) {
			if len(page) == limit {
				return page, next, true
			}
			page = append(page, u.clone())
		}
		next = u.ID
	}
	return page, next, false
}

// FindAccounts is FindItems for accounts with a record, in the order they were made. What an account is a part of is searched where it is within.
func (b *Book) FindAccounts(within, text, after string, limit int) (page []Account, next string, more bool) {
	list, from := b.catalog.accounts.list, 0
	if last := b.catalog.accounts.named[after]; last != nil && b.Within(after, within) {
		from = slices.Index(list, last) + 1
	}
	page, text, limit = []Account{}, strings.ToLower(text), min(limit, maxShown)
	looked := 0
	for _, a := range list[from:] {
		if !b.Within(a.Name, within) {
			continue
		}
		if looked == maxLooked {
			return page, next, true
		}
		looked++
		if has(text, a.Name, a.Contact) || has(text, a.Parent) && b.Within(a.Parent, within) {
			if len(page) == limit {
				return page, next, true
			}
			page = append(page, *a)
		}
		next = a.Name
	}
	return page, next, false
}

// Parts are the accounts that are directly below one.
func (b *Book) Parts(name string) (list []string) {
	for _, a := range b.catalog.accounts.list {
		if a.Parent == name {
			list = append(list, a.Name)
		}
	}
	return list
}

// GroupSize is a group with how much is in it.
type GroupSize struct {
	Name         string
	Items, Users int
}

// GroupSizes are the groups that have something of an account or of one below it, by name, with what they have of it; of an empty account all.
func (b *Book) GroupSizes(within string) []GroupSize {
	sizes := map[string]*GroupSize{}
	in := func(name string) *GroupSize {
		if sizes[name] == nil {
			sizes[name] = &GroupSize{Name: name}
		}
		return sizes[name]
	}
	for _, i := range b.candidates(&ItemSearch{ItemFilter: ItemFilter{Within: within}}) {
		if len(i.Groups) == 0 || !b.Within(i.Customer, within) {
			continue
		}
		for _, g := range i.Groups {
			in(g).Items++
		}
	}
	for _, u := range b.users {
		if len(u.Groups) == 0 || !b.Within(u.ID.Account, within) {
			continue
		}
		for _, g := range u.Groups {
			in(g).Users++
		}
	}
	list := make([]GroupSize, 0, len(sizes))
	for _, g := range sizes {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b GroupSize) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
