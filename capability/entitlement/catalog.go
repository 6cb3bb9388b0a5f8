package entitlement

import (
	"errors"
	"fmt"
	"slices"
)

// ErrCatalog is in the error of an account, a product or a license model that cannot be as it is said; it says why.
var ErrCatalog = errors.New("catalog")

// catalog is what items are made from: accounts, products and license models.
type catalog struct {
	accounts table[string, Account]
	products table[productID, Product]
	models   table[string, LicenseModel]
}

func newCatalog() catalog {
	return catalog{accounts: newTable[string, Account](), products: newTable[productID, Product](), models: newTable[string, LicenseModel]()}
}

// table is a list in the order its records were made, which are found by name.
type table[K comparable, V any] struct {
	list  []*V
	named map[K]*V
}

func newTable[K comparable, V any]() table[K, V] { return table[K, V]{named: map[K]*V{}} }

// set puts a record in the place of the one of that name, or at the end.
func (t *table[K, V]) set(name K, v V) {
	if old := t.named[name]; old != nil {
		*old = v
		return
	}
	t.list, t.named[name] = append(t.list, &v), &v
}

func (t *table[K, V]) all() []V {
	list := make([]V, 0, len(t.list))
	for _, v := range t.list {
		list = append(list, *v)
	}
	return list
}

func (b *Book) applyCatalog(e *Entry) error {
	switch {
	case e.Account != nil:
		if err := b.setsAccount(e.Account); err != nil {
			return err
		}
		b.catalog.accounts.set(e.Account.Name, *e.Account)
	case e.Product != nil:
		if err := b.setsProduct(e.Product); err != nil {
			return err
		}
		b.catalog.products.set(e.Product.id(), e.Product.clone())
	case e.Model != nil:
		if err := b.setsModel(e.Model); err != nil {
			return err
		}
		b.catalog.models.set(e.Model.Name, e.Model.clone())
	}
	return nil
}

// checkCatalog says whether accounts, products and models are as they were allowed to become.
func (b *Book) checkCatalog() error {
	if n := len(b.catalog.accounts.list); n != len(b.catalog.accounts.named) {
		return fmt.Errorf("%d accounts are found as %d", n, len(b.catalog.accounts.named))
	}
	for _, a := range b.catalog.accounts.list {
		if err := b.checkAccount(a); err != nil || b.catalog.accounts.named[a.Name] != a {
			return fmt.Errorf("account %q is there twice, or %w", a.Name, err)
		}
	}
	if n := len(b.catalog.products.list); n != len(b.catalog.products.named) {
		return fmt.Errorf("%d products are found as %d", n, len(b.catalog.products.named))
	}
	whole := b.catalog.flattening(nil)
	for _, p := range b.catalog.products.list {
		if _, err := whole.of(p); err != nil || b.catalog.products.named[p.id()] != p {
			return fmt.Errorf("product %q is there twice, or %w", p.Name, err)
		}
	}
	if n := len(b.catalog.models.list); n != len(b.catalog.models.named) {
		return fmt.Errorf("%d license models are found as %d", n, len(b.catalog.models.named))
	}
	for _, m := range b.catalog.models.list {
		if err := m.Validate(); err != nil || b.catalog.models.named[m.Name] != m {
			return fmt.Errorf("license model %q is there twice, or %w", m.Name, err)
		}
	}
	return nil
}

func (b *Book) restoreCatalog(s *section) {
	switch {
	case s.Account != nil:
		b.catalog.accounts.set(s.Account.Name, *s.Account)
	case s.Product != nil:
		b.catalog.products.set(s.Product.id(), *s.Product)
	case s.Model != nil:
		b.catalog.models.set(s.Model.Name, *s.Model)
	}
}

// sections are the records of the catalog in a snapshot.
func (c *catalog) sections(put func(section)) {
	for _, a := range c.accounts.list {
		put(section{Account: a})
	}
	for _, p := range c.products.list {
		put(section{Product: p})
	}
	for _, m := range c.models.list {
		put(section{Model: m})
	}
}

func (p *Product) clone() Product {
	c := *p
	c.Features, c.Parts = slices.Clone(p.Features), slices.Clone(p.Parts)
	return c
}

func (m *LicenseModel) clone() LicenseModel {
	c := *m
	c.HostTypes, c.Limits = slices.Clone(m.HostTypes), slices.Clone(m.Limits)
	return c
}
