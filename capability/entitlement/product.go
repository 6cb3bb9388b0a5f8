package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// MaxParts of a bundle: with more features than an item may have nothing can be made of it anyway.
const MaxParts = MaxFeatures

// Product is what a customer is entitled to copies of. Its features are copied into each line item, so a later change of the product changes no right that was given.
type Product struct {
	Name     string             `cbor:"1,keyasint,omitzero" json:"name"`
	Version  capability.Version `cbor:"2,keyasint" json:"version"`
	Features []Feature          `cbor:"3,keyasint,omitempty" json:"features,omitempty"`
	Parts    []Part             `cbor:"4,keyasint,omitempty" json:"parts,omitempty"` // of a bundle: other products, each so many times
}

// Part is a product in a bundle.
type Part struct {
	Product string             `cbor:"1,keyasint,omitzero" json:"product"`
	Version capability.Version `cbor:"2,keyasint" json:"version"`
	Times   uint32             `cbor:"3,keyasint,omitzero" json:"times"`
}

type productID struct {
	name    string
	version capability.Version
}

func (p *Product) id() productID { return productID{p.Name, p.Version} }
func (p *Part) id() productID    { return productID{p.Product, p.Version} }

// SetProduct makes a product, or gives it other features. Line items that were made of it keep theirs.
type SetProduct struct {
	Product Product
	By      string
}

func (c SetProduct) decide(b *Book, now capability.Time) (*Decision, error) {
	p := c.Product.clone()
	if err := b.setsProduct(&p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCatalog, err)
	}
	e := b.entry(now, c.By)
	e.Product = &p
	return &Decision{Entries: []*Entry{e}}, nil
}

// setsProduct says why a product cannot be as it is said: itself, or because of a bundle that it is a part of.
func (b *Book) setsProduct(p *Product) error {
	f := b.catalog.flattening(p)
	if _, err := f.of(p); err != nil {
		return err
	}
	if b.catalog.products.named[p.id()] == nil {
		return nil // nothing has it for a part yet
	}
	for _, other := range b.catalog.products.list {
		if _, err := f.of(f.find(other.id())); len(other.Parts) > 0 && err != nil {
			return err
		}
	}
	return nil
}

// flattening gives products the features of their parts, multiplied, each product once however many bundles have it.
type flattening struct {
	catalog *catalog
	instead *Product // of the one on record under its name; nil: none
	done    map[productID]*flat
	inside  []productID
}

// flat is what a product comes to: its features, and the longest line of parts with itself.
type flat struct {
	features []Feature
	line     int
}

func (c *catalog) flattening(instead *Product) *flattening {
	return &flattening{catalog: c, instead: instead, done: map[productID]*flat{}}
}

func (f *flattening) find(id productID) *Product {
	if f.instead != nil && f.instead.id() == id {
		return f.instead
	}
	return f.catalog.products.named[id]
}

func (f *flattening) of(p *Product) (*flat, error) {
	if known := f.done[p.id()]; known != nil {
		return known, nil
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if slices.Contains(f.inside, p.id()) {
		return nil, fmt.Errorf("product %q %s would be a part of itself", p.Name, p.Version)
	}
	f.inside = append(f.inside, p.id())
	defer func() { f.inside = f.inside[:len(f.inside)-1] }()
	all := &flat{slices.Clone(p.Features), 1}
	for _, part := range p.Parts {
		of := f.find(part.id())
		if of == nil {
			return nil, fmt.Errorf("product %q %s has a part %q %s, which is no product on record", p.Name, p.Version, part.Product, part.Version)
		}
		inner, err := f.of(of)
		if err != nil {
			return nil, err
		}
		if all.line = max(all.line, inner.line+1); all.line > MaxDepth {
			return nil, fmt.Errorf("product %q %s would begin a line of %d products in products, and %d are allowed", p.Name, p.Version, all.line, MaxDepth)
		}
		for _, feature := range inner.features {
			if all.features, err = add(all.features, feature, part.Times); err != nil {
				return nil, fmt.Errorf("product %q %s: %w", p.Name, p.Version, err)
			}
		}
	}
	f.done[p.id()] = all
	return all, nil
}

// add puts a feature into a list so many times. Equal ones become one; a feature has one version in a line item.
func add(list []Feature, f Feature, times uint32) ([]Feature, error) {
	n := uint64(f.PerCopy) * uint64(times)
	at := slices.IndexFunc(list, func(g Feature) bool { return g.Name == f.Name })
	if at >= 0 {
		if list[at].Version != f.Version {
			return nil, fmt.Errorf("feature %q would be there with the versions %s and %s", f.Name, list[at].Version, f.Version)
		}
		n += uint64(list[at].PerCopy)
	}
	if n > capability.MaxCount {
		return nil, fmt.Errorf("feature %q would have %d counts a copy, and %d are allowed", f.Name, n, capability.MaxCount)
	}
	f.PerCopy = uint32(n)
	if at >= 0 {
		list[at] = f
		return list, nil
	}
	if len(list) >= MaxFeatures {
		return nil, fmt.Errorf("more than %d features", MaxFeatures)
	}
	return append(list, f), nil
}

// check is about the product alone.
func (p *Product) check() error {
	if err := capability.CheckName("product", p.Name); err != nil {
		return err
	}
	if len(p.Features)+len(p.Parts) == 0 || len(p.Features) > MaxFeatures || len(p.Parts) > MaxParts {
		return fmt.Errorf("product %q has %d features and %d parts where 1 to %d are allowed", p.Name, len(p.Features), len(p.Parts), MaxFeatures)
	}
	for n, f := range p.Features {
		if err := capability.CheckName("feature", f.Name); err != nil {
			return fmt.Errorf("product %q: %w", p.Name, err)
		}
		if f.PerCopy == 0 || f.PerCopy > capability.MaxCount || slices.ContainsFunc(p.Features[:n], func(o Feature) bool { return o.Name == f.Name }) {
			return fmt.Errorf("product %q: feature %q is there twice, or with %d counts a copy where 1 to %d are allowed", p.Name, f.Name, f.PerCopy, capability.MaxCount)
		}
	}
	for n, part := range p.Parts {
		if part.Times == 0 || part.Times > capability.MaxCount || slices.ContainsFunc(p.Parts[:n], func(o Part) bool { return o.id() == part.id() }) {
			return fmt.Errorf("product %q: part %q %s is there twice, or %d times where 1 to %d are allowed", p.Name, part.Product, part.Version, part.Times, capability.MaxCount)
		}
	}
	return nil
}

// Product is one product.
func (b *Book) Product(name string, version capability.Version) (Product, bool) {
	p := b.catalog.products.named[productID{name, version}]
	if p == nil {
		return Product{}, false
	}
	return p.clone(), true
}

// Products are all, in the order they were made.
func (b *Book) Products() []Product {
	list := make([]Product, 0, len(b.catalog.products.list))
	for _, p := range b.catalog.products.list {
		list = append(list, p.clone())
	}
	return list
}

// FeaturesOf are the features of a copy of a product, with those of its parts.
func (b *Book) FeaturesOf(name string, version capability.Version) ([]Feature, bool) {
	p := b.catalog.products.named[productID{name, version}]
	if p == nil {
		return nil, false
	}
	all, err := b.catalog.flattening(nil).of(p)
	if err != nil {
		return nil, false
	}
	return all.features, true
}
