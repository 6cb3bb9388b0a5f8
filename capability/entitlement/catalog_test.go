package entitlement

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// cannot wants a command refused, without a trace, with words in its error.
func (w *world) cannot(c Command, words string) {
	w.t.Helper()
	before := w.book.Digest()
	if d, err := w.do(c); err == nil || d != nil || !strings.Contains(err.Error(), words) {
		w.fatalf("%+v: %v, want %q", c, err, words)
	}
	if w.book.Digest() != before {
		w.fatalf("%+v was refused, and changed the book", c)
	}
}

// forced applies an entry that Decide never made, and wants it found wrong, by a book that is as it was.
func (w *world) forced(e Entry, words string) {
	w.t.Helper()
	b, err := Restore(w.book.Snapshot())
	if err != nil {
		w.fatalf("%v", err)
	}
	e.Before, _ = b.Head()
	e.Time = w.now
	if err := b.Apply(&e); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), words) {
		w.fatalf("%+v: %v, want %q", e, err, words)
	}
}

func (w *world) account(name, parent string) {
	w.t.Helper()
	w.mustDo(SetAccount{Account: Account{Name: name, Parent: parent}})
}

func TestAccounts(t *testing.T) {
	w := newWorld(t, anyTier())
	w.account("ACME", "")
	w.account("France", "ACME")
	w.account("Lyon", "France")
	w.account("Paris", "France")
	w.account("Rival", "")
	for _, c := range []struct {
		one, other string
		related    bool
	}{
		{"ACME", "ACME", true}, {"ACME", "Lyon", true}, {"Lyon", "ACME", true}, {"Lyon", "France", true}, {"Lyon", "Paris", false}, {"Rival", "ACME", false},
		{"nobody", "nobody", true}, {"nobody", "ACME", false}, {"", "", true},
	} {
		if got := w.book.Related(c.one, c.other); got != c.related {
			t.Errorf("%q and %q are related: %t", c.one, c.other, got)
		}
	}
	if w.book.Within("ACME", "Lyon") || !w.book.Within("Lyon", "ACME") || !w.book.Within("Rival", "") || w.book.Within("Rival", "ACME") {
		t.Error("what is below what is not as it was said")
	}
	w.cannot(SetAccount{Account: Account{Name: "ACME", Parent: "Lyon"}}, "which is a part of it")
	w.cannot(SetAccount{Account: Account{Name: "ACME", Parent: "ACME"}}, "which is a part of it")
	w.cannot(SetAccount{Account: Account{Name: "Nice", Parent: "Frnace"}}, "no account on record")
	w.cannot(SetAccount{Account: Account{}}, "account of 0 bytes")
	w.cannot(SetAccount{Account: Account{Name: "Nice", Contact: "a\x1bb"}}, "contact")
	w.forced(Entry{Account: &Account{Name: "ACME", Parent: "Lyon"}}, "which is a part of it")

	// A line of 8, and not of 9: also where what is moved brings parts of its own.
	for n := 4; n <= MaxDepth; n++ {
		w.account(fmt.Sprint("level ", n), map[bool]string{true: "Lyon", false: fmt.Sprint("level ", n-1)}[n == 4])
	}
	w.cannot(SetAccount{Account: Account{Name: "level 9", Parent: "level 8"}}, "a line of 9 accounts")
	w.account("World", "")
	w.cannot(SetAccount{Account: Account{Name: "ACME", Parent: "World"}}, "a line of 9 accounts")
	w.account("Lyon", "")
	w.account("ACME", "World")

	// What is said again replaces what was said, in its place.
	w.mustDo(SetAccount{Account: Account{Name: "ACME", Contact: "boss", KeepsOnline: true}})
	if a := w.book.Accounts()[0]; a != (Account{Name: "ACME", Contact: "boss", KeepsOnline: true}) {
		t.Errorf("the first account is %+v", a)
	}
	if a := w.book.Account("nobody"); a != (Account{Name: "nobody"}) {
		t.Errorf("an account without a record is %+v", a)
	}
}

// TestMachineKeepsItsAccount: the first activation ID decides, and of a foreign one nobody learns whose it is.
func TestMachineKeepsItsAccount(t *testing.T) {
	w := newWorld(t, anyTier())
	w.account("ACME", "")
	w.account("Lyon", "ACME")
	w.account("Paris", "ACME")
	of := func(n uint64, account string) capability.ActivationID {
		return w.entitle(n, 10, func(i *Item) { i.Customer = account })
	}
	acme, lyon, paris, rival := of(1, "ACME"), of(2, "Lyon"), of(3, "Paris"), of(4, "Rival Works")

	m := newMachine(1)
	r := w.mustDo(m.request(1, want(lyon, 1), want(rival, 1))).Response // the order of the lines decides
	m.apply(r)
	if r.Lines[0].Count != 1 || r.Lines[1].Denial.Code != capability.ErrAccount || r.Lines[1].Denial.Asked != 1 || strings.Contains(r.Lines[1].Denial.Detail, "Rival") {
		t.Fatalf("lines %+v", r.Lines)
	}
	if h, _ := w.book.Host(m.id.Host); h.Account != "Lyon" {
		t.Errorf("the machine is that of %q", h.Account)
	}
	r = w.mustDo(m.request(2, want(acme, 1), want(paris, 1), want(lyon, 2))).Response
	m.apply(r)
	if r.Lines[0].Count != 1 || r.Lines[1].Denial.Code != capability.ErrAccount || r.Lines[2].Count != 2 {
		t.Errorf("lines %+v", r.Lines)
	}

	// It stays when all is given back, and none is taken from a machine whose account moves away.
	m.giveBack(lyon, 2)
	m.giveBack(acme, 1)
	m.apply(w.mustDo(m.request(3)).Response)
	if r := w.mustDo(m.request(4, want(rival, 1))).Response; r.Lines[0].Denial.Code != capability.ErrAccount {
		t.Errorf("lines %+v", r.Lines)
	}
	m.apply(w.mustDo(m.request(5, want(acme, 2))).Response)
	w.account("Lyon", "")
	r = w.mustDo(m.request(6, want(acme, 2))).Response
	if r.Status != capability.StatusOK || len(r.Items) != 1 {
		t.Errorf("what the machine has is %+v", r)
	}
	if r = w.mustDo(m.request(7, want(acme, 3))).Response; r.Lines[0].Count != 2 || r.Lines[0].Denial.Code != capability.ErrAccount {
		t.Errorf("lines %+v", r.Lines)
	}

	// A request that changes nothing decides nothing; nor does one that is refused as a whole.
	other := newMachine(2)
	a := other.request(8, want(rival, 1), want(lyon, 99))
	a.Request.Atomic = true
	a.Digest = w.codec.RequestDigest(a.Request)
	other.outstanding[0].Digest = a.Digest
	w.mustDo(a)
	if h, _ := w.book.Host(other.id.Host); h.Account != "" {
		t.Errorf("a request that was refused made the machine that of %q", h.Account)
	}
	d := w.mustDo(other.request(9, want(paris, 1)))
	if d.Answered().Account != "Paris" || d.Host.Account != "Paris" {
		t.Errorf("the entry says %q, the host %q", d.Answered().Account, d.Host.Account)
	}
	w.forced(Entry{Answer: &Answered{Identity: other.id, Epoch: 3, Life: other.life, Account: "Rival Works",
		Request: Known{Number: 3, Serial: 3, Digest: capability.Digest{9}}}}, "goes to another account")
	w.forced(Entry{Answer: &Answered{Identity: other.id, Epoch: 3, Life: other.life, Holds: []Fulfillment{{rival, 1}},
		Request: Known{Number: 3, Serial: 3, Digest: capability.Digest{9}}}}, "given to a machine of")
}

// TestMachineFromBeforeAccounts: what it has says whose it is.
func TestMachineFromBeforeAccounts(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	foreign := w.entitle(2, 10, func(i *Item) { i.Customer = "Rival Works" })
	m := newMachine(1)
	m.apply(w.mustDo(m.request(1, want(id, 1))).Response)
	for _, b := range []*Book{w.book, w.replica} {
		b.byKey[m.id.Host].Account = ""
	}
	d := w.mustDo(m.request(2, want(foreign, 1)))
	if d.Response.Lines[0].Denial.Code != capability.ErrAccount || d.Answered().Account != "ACME Works" {
		t.Errorf("lines %+v, account %q", d.Response.Lines, d.Answered().Account)
	}
}

func features(list ...any) (f []Feature) {
	for n := 0; n < len(list); n += 2 {
		f = append(f, Feature{Name: list[n].(string), Version: capability.Version{Major: 1}, PerCopy: uint32(list[n+1].(int))})
	}
	return f
}

func TestProducts(t *testing.T) {
	w := newWorld(t, anyTier())
	v1 := capability.Version{Major: 1}
	set := func(name string, f []Feature, parts ...Part) SetProduct {
		return SetProduct{Product: Product{Name: name, Version: v1, Features: f, Parts: parts}}
	}
	part := func(name string, times uint32) Part { return Part{Product: name, Version: v1, Times: times} }
	w.mustDo(set("render", features("render", 1, "export", 5)))
	w.mustDo(set("view", features("view", 1, "export", 2)))
	w.mustDo(set("suite", features("help", 1), part("render", 3), part("view", 2)))
	w.mustDo(set("site", nil, part("suite", 10)))
	want := features("help", 10, "render", 30, "export", 190, "view", 20)
	if got, ok := w.book.FeaturesOf("site", v1); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("a site is %+v, %t", got, ok)
	}

	for words, c := range map[string]SetProduct{
		"part of itself":                    set("render", nil, part("site", 1)),
		"no product on record":              set("other", nil, part("missing", 1)),
		"0 features and 0 parts":            set("other", nil),
		"is there twice, or with 1 counts":  set("other", features("f", 1, "f", 1)),
		"is there twice, or with 0 counts":  set("other", features("f", 0)),
		"is there twice, or 0 times":        set("other", nil, part("view", 0)),
		"is there twice, or 1 times":        set("other", nil, part("view", 1), part("view", 1)),
		"counts a copy, and 1073741824 are": set("other", nil, part("site", capability.MaxCount)),
		"versions 2.0 and 1.0":              {Product: Product{Name: "other", Version: v1, Features: []Feature{{Name: "view", Version: capability.Version{Major: 2}, PerCopy: 1}}, Parts: []Part{part("view", 1)}}},
		"product of 0 bytes":                set("", features("f", 1)),
		"feature of 0 bytes":                set("other", features("", 1)),
		"66 features and 0 parts where 1 to 64": set("other", func() (f []Feature) {
			for n := range 66 {
				f = append(f, features(fmt.Sprint(n), 1)...)
			}
			return f
		}()),
	} {
		w.cannot(c, words)
	}
	// A change that breaks a bundle is refused with the bundle's name.
	w.cannot(set("render", features("render", capability.MaxCount)), "product \"suite\"")
	w.cannot(set("view", features("help", 1, "view", 1, "export", 2, "render", 1), part("site", 1)), "part of itself")
	w.forced(Entry{Product: &Product{Name: "render", Version: v1, Parts: []Part{part("site", 1)}}}, "part of itself")

	// Products in products: 8 and not 9, also from below.
	w.mustDo(set("level 1", features("deep", 1)))
	for n := 2; n <= MaxDepth; n++ {
		w.mustDo(set(fmt.Sprint("level ", n), nil, part(fmt.Sprint("level ", n-1), 2)))
	}
	w.cannot(set("level 9", nil, part("level 8", 1)), "a line of 9 products")
	w.mustDo(set("floor", features("deep", 1)))
	w.cannot(set("level 1", nil, part("floor", 1)), "a line of 9 products")
	if got, _ := w.book.FeaturesOf("level 8", v1); !reflect.DeepEqual(got, features("deep", 128)) {
		t.Errorf("at the end of the line %+v", got)
	}

	// An item has a copy: what is said of the product later changes nothing of it.
	id := w.entitle(1, 3, func(i *Item) { i.Product, i.ProductVersion, i.Features = "suite", v1, nil })
	w.mustDo(set("render", features("render", 7)))
	if i, _ := w.book.Item(id, w.now); !reflect.DeepEqual(i.Features, features("help", 1, "render", 3, "export", 19, "view", 2)) {
		t.Errorf("the item has %+v", i.Features)
	}
	m := newMachine(1)
	r := w.mustDo(m.request(1, capability.Desired{ActivationID: id, Count: 3})).Response
	if at := slices.IndexFunc(r.Items, func(i capability.LineItem) bool { return i.Feature == "export" }); r.Items[at].Count != 57 {
		t.Errorf("3 copies of 19 are %d", r.Items[at].Count)
	}
	w.cannot(Entitle{Item: Item{ActivationID: testID(t, 9), Customer: "C", EntitlementID: "E", Product: "suite", Copies: 1}}, "no product \"suite\" 0.0")
	if _, ok := w.book.Product("suite", v1); !ok || len(w.book.Products()) != 13 {
		t.Errorf("%d products", len(w.book.Products()))
	}
}

// A bundle of bundles with many ways to one product is gone through once, not once each way.
func TestManyWaysToOneProduct(t *testing.T) {
	w := newWorld(t, anyTier())
	w.mustDo(SetProduct{Product: Product{Name: "0", Features: features("f", 1)}})
	for depth := 1; depth < MaxDepth; depth++ {
		p := Product{Name: fmt.Sprint(depth), Parts: []Part{{Product: fmt.Sprint(depth - 1), Times: 1}}}
		for n := range 40 {
			side := Product{Name: fmt.Sprint(depth, "-", n), Features: []Feature{{Name: "f", Version: capability.Version{Major: 1}, PerCopy: 1}}}
			if depth > 1 {
				side.Parts = []Part{{Product: fmt.Sprint(depth-1, "-", n), Times: 1}, {Product: fmt.Sprint(depth-1, "-", (n+1)%40), Times: 1}}
			}
			if d, err := w.book.Decide(w.now, SetProduct{Product: side}); err != nil {
				t.Fatal(err)
			} else if err := w.book.Apply(d.Entries[0]); err != nil {
				t.Fatal(err)
			}
			p.Parts = append(p.Parts, Part{Product: side.Name, Times: 1})
		}
		if d, err := w.book.Decide(w.now, SetProduct{Product: p}); err != nil {
			t.Fatal(err)
		} else if err := w.book.Apply(d.Entries[0]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.book.Check(); err != nil {
		t.Fatal(err)
	}
	if f, _ := w.book.FeaturesOf("7", capability.Version{}); f[0].PerCopy != 1+40*(1+3+7+15+31+63+127) {
		t.Errorf("all of it is %+v", f)
	}
}
