package entitlement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// What a command or a page of a list needs is found without walking the book: an item knows the hosts that hold it, a customer's items are in one list, and items and hosts know their places.

func (b *Book) addItem(i *item) {
	b.byID[i.ActivationID] = i
	b.place(i)
	b.sell([]*item{i})
	b.replaced(i)
}

func (b *Book) place(i *item) {
	i.at = len(b.items)
	b.items = append(b.items, i)
}

// replaced says of the one that i replaces that it does.
func (b *Book) replaced(i *item) {
	if i.Replaces == "" {
		return
	}
	if old := b.byID[i.Replaces]; old != nil {
		old.tie().replaced = true
	}
}

// sell has items found with their customers. Items of one customer often follow each other.
func (b *Book) sell(items []*item) {
	for len(items) > 0 {
		n := 1
		for n < len(items) && items[n].Customer == items[0].Customer {
			n++
		}
		b.ofCustomer[items[0].Customer] = append(b.ofCustomer[items[0].Customer], items[:n]...)
		items = items[n:]
	}
}

func (b *Book) addHost(h *Host) {
	h.at = len(b.hosts)
	b.hosts, b.byKey[h.Host] = append(b.hosts, h), h
}

func compareHostPlaces(h *Host, at int) int { return cmp.Compare(h.at, at) }

// heldBy says that h has copies of the item.
func (i *item) heldBy(h *Host) {
	if at, ok := slices.BinarySearchFunc(i.hosts, h.at, compareHostPlaces); !ok {
		i.hosts = slices.Insert(i.hosts, at, h)
	}
}

// leftBy says that h has none any more.
func (i *item) leftBy(h *Host) {
	if at, ok := slices.BinarySearchFunc(i.hosts, h.at, compareHostPlaces); ok {
		i.hosts = slices.Delete(i.hosts, at, at+1)
	}
}

// reindex finds h, which had what was says, with what it has now. Whatever changes Holds of a host in the book ends with it.
func (b *Book) reindex(h *Host, was []Fulfillment) {
	for _, f := range was {
		if h.held(f.ActivationID) == 0 {
			b.byID[f.ActivationID].leftBy(h)
		}
	}
	for _, f := range h.Holds {
		b.byID[f.ActivationID].heldBy(h)
	}
}

// keepRevoked finds h among the hosts that are revoked, or no longer.
func (b *Book) keepRevoked(h *Host) {
	switch at, in := slices.BinarySearchFunc(b.revoked, h.at, compareHostPlaces); {
	case !in && h.isRevoked():
		b.revoked = slices.Insert(b.revoked, at, h)
	case in && !h.isRevoked():
		b.revoked = slices.Delete(b.revoked, at, at+1)
	}
}

// checkIndex asserts that everything is found where it is.
func (b *Book) checkIndex(run Beside) error {
	found, holders := 0, 0
	err := first(run, len(b.items), func(n int) error {
		i := b.items[n]
		if i.at != n {
			return fmt.Errorf("item %s is found at %d, its place is %d", i.ActivationID, i.at, n)
		}
		for _, h := range i.hosts {
			if h.at >= len(b.hosts) || b.hosts[h.at] != h || h.held(i.ActivationID) == 0 {
				return fmt.Errorf("item %s is found with host %s, which has none of it", i.ActivationID, h.Host.Short())
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, i := range b.items {
		holders += len(i.hosts)
	}
	for customer, items := range b.ofCustomer {
		for n, i := range items {
			if i.Customer != customer || n > 0 && items[n-1].at >= i.at {
				return fmt.Errorf("item %s is found with the customer %q, or out of order", i.ActivationID, customer)
			}
		}
		found += len(items)
	}
	for n, h := range b.hosts {
		if h.at != n {
			return fmt.Errorf("host %s is found at %d, its place is %d", h.Host.Short(), h.at, n)
		}
		holders -= len(h.Holds)
		if _, in := slices.BinarySearchFunc(b.revoked, n, compareHostPlaces); in != h.isRevoked() {
			return fmt.Errorf("host %s is revoked, and not found so, or the other way round", h.Host.Short())
		}
	}
	if found != len(b.items) || holders != 0 {
		return fmt.Errorf("%d items are found with customers, of %d; with hosts %d more than they hold", found, len(b.items), holders)
	}
	return nil
}

// ItemFilter says which items a page lists; the zero value is all.
type ItemFilter struct {
	Customer, Product, EntitlementID string // whole names; empty: any
	Within                           string // an account: its items, and those of the accounts below it
	State                            State
}

// ItemPage lists at most limit items that the filter lets pass, in the order they were entitled, after the item of that ID (empty: from the first on), and says whether
// there are more. Its cost follows the page, but for a filter that lets little pass.
func (b *Book) ItemPage(now capability.Time, f ItemFilter, after capability.ActivationID, limit int) (page []ItemView, more bool) {
	items, from := b.items, 0
	if f.Customer != "" {
		items = b.ofCustomer[f.Customer]
	}
	if last := b.byID[after]; last != nil {
		from, _ = slices.BinarySearchFunc(items, last.at+1, func(i *item, at int) int { return cmp.Compare(i.at, at) })
	}
	page = []ItemView{}
	known := map[string]bool{} // of the customers that were met
	within := func(customer string) bool {
		if f.Within == "" {
			return true
		}
		is, met := known[customer]
		if !met {
			is = b.Within(customer, f.Within)
			known[customer] = is
		}
		return is
	}
	for _, i := range items[from:] {
		if f.Product != "" && i.Product != f.Product || f.EntitlementID != "" && i.EntitlementID != f.EntitlementID || !within(i.Customer) || f.State != "" && b.state(i, now) != f.State {
			continue
		}
		if len(page) >= limit {
			return page, true
		}
		page = append(page, b.view(i, now))
	}
	return page, false
}

// HostFilter says which hosts a page lists; the zero value is all.
type HostFilter struct {
	ID     func(hostid.ID) bool // nil: any
	Forked bool                 // two histories of it have sent requests

	Account string // it belongs to that one, or to one below it; empty: any
}

// HostPage is ItemPage for hosts, in the order they were first answered.
func (b *Book) HostPage(f HostFilter, after hostid.ID, limit int) (page []Host, more bool) {
	from := 0
	if last := b.byKey[after]; last != nil {
		from = last.at + 1
	}
	page = []Host{}
	for _, h := range b.hosts[from:] {
		if f.ID != nil && !f.ID(h.Host) || f.Forked && !h.Forked() || f.Account != "" && !b.Within(b.accountOf(h), f.Account) {
			continue
		}
		if len(page) >= limit {
			return page, true
		}
		page = append(page, *h.clone())
	}
	return page, false
}

// AccountRecord is an account that has a record.
func (b *Book) AccountRecord(name string) (Account, bool) {
	if a := b.catalog.accounts.named[name]; a != nil {
		return *a, true
	}
	return Account{}, false
}

// Size is the number of items and hosts.
func (b *Book) Size() (items, hosts int) { return len(b.items), len(b.hosts) }
