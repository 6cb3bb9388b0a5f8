package entitlement

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A name that only looks like another one, or like itself with nothing behind it, begins nowhere in the book.
func TestLegible(t *testing.T) {
	w := newWorld(t, anyTier())
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	w.mustDo(m.request(1, want(id, 4)))
	for name, good := range map[string]bool{
		"a. ray": true, "Ana Müller": true, "株式会社 例": true, "ray@example.com": true, "o'neill-smith": true,
		" a. ray": false, "a. ray ": false, "a.  ray": false, "a.\u00a0ray": false, "a.\u3000ray": false, "a. r\u200bay": false, "a. r\u00aday": false, "a. ray\ufeff": false, "a.\u2060 ray": false,
		"a. ray\u3164": false, "a. ray\ufe0f": false, "a. ray\u2800": false, "a. ray\U000e0041": false, "": false, "a.\nray": false,
	} {
		item := w.book.byID[id].Item
		item.ActivationID, item.Customer, item.Life = testID(t, 99), name, Life{}
		for what, c := range map[string]Command{
			"login": AddLogin{Name: name}, "user": AddUser{ID: UserID{"ACME Works", name}}, "account": SetAccount{Account: Account{Name: name}}, "customer": Entitle{Item: item},
			"account of a user": AddUser{ID: UserID{name, "new"}}, "account of a login": AddLogin{Name: "new", Account: name}, "account of a device": SetDevice{Device: Device{ID: siteID(9), Account: name}},
			"approver":             WriteOff{Host: m.id.Host, ActivationID: id, Reason: "stolen", By: "somebody", Approved: name},
			"approver of a repair": func() Command { a := m.copied().request(2); a.Repair, a.Approved = "the disk died", name; return a }(),
		} {
			if name == "" && slices.Contains([]string{"approver of a repair", "account of a login", "account of a device"}, what) {
				continue // nobody was named
			}
			if _, err := w.book.Decide(w.now, c); (err == nil) != good {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
	// What is in a book of before stays, and can be changed.
	w.book.catalog.accounts.set("Old ", Account{Name: "Old "})
	if _, err := w.book.Decide(w.now, SetAccount{Account: Account{Name: "Old ", Contact: "them"}}); err != nil {
		t.Error(err)
	}
}

// folded is what strings.EqualFold compares.
func TestFolded(t *testing.T) {
	for _, pair := range [][2]string{{"Kim", "\u212aIM"}, {"straße", "STRAßE"}, {"\u017fam", "SAM"}, {"a", "b"}, {"σς", "ΣΣ"}, {"ı", "i"}, {"", ""}} {
		if got, want := folded(pair[0]) == folded(pair[1]), strings.EqualFold(pair[0], pair[1]); got != want {
			t.Errorf("%q: %t, want %t", pair, got, want)
		}
	}
}

// A book of tens of thousands of accounts and logins is looked at in the time of one: quadratic, this test would take minutes.
func TestManyAccounts(t *testing.T) {
	w := newWorld(t, anyTier())
	b := w.book
	apply := func(c Command) {
		t.Helper()
		d, err := b.Decide(w.now, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Apply(d.Entries[0]); err != nil {
			t.Fatal(err)
		}
	}
	apply(SetAccount{Account: Account{Name: "Partner"}})
	for n := range 30_000 {
		apply(SetAccount{Account: Account{Name: fmt.Sprintf("Customer %d", n), Parent: "Partner"}})
	}
	for n := range 30_000 { // as a snapshot brings them
		b.logins = append(b.logins, &Login{Name: fmt.Sprintf("user %d", n), Made: w.now, Since: w.now})
	}
	if _, err := Restore(b.Snapshot()); err != nil {
		t.Fatal(err)
	}
	b.logins = append(b.logins, &Login{Name: "USER 7", Made: w.now, Since: w.now})
	if err := b.Check(); err == nil || !strings.Contains(err.Error(), "there twice") {
		t.Errorf("a login is there twice: %v", err)
	}
}

// A damaged book whose accounts are parts of each other, or of none, is found.
func TestAccountsInACircle(t *testing.T) {
	for name, accounts := range map[string][]Account{
		"a circle":         {{Name: "a", Parent: "b"}, {Name: "b", Parent: "a"}},
		"itself":           {{Name: "a", Parent: "a"}},
		"of none":          {{Name: "a", Parent: "b"}},
		"a line too long":  {{Name: "1"}, {Name: "2", Parent: "1"}, {Name: "3", Parent: "2"}, {Name: "4", Parent: "3"}, {Name: "5", Parent: "4"}, {Name: "6", Parent: "5"}, {Name: "7", Parent: "6"}, {Name: "8", Parent: "7"}, {Name: "9", Parent: "8"}},
		"a text too long":  {{Name: "a", Contact: strings.Repeat("x", 5000)}},
		"a name of nobody": {{Name: ""}},
	} {
		b := newWorld(t, anyTier()).book
		for _, a := range accounts {
			b.catalog.accounts.set(a.Name, a)
		}
		if err := b.Check(); err == nil {
			t.Errorf("%s is not found", name)
		}
	}
}

// The producer's name is in each right: one that no machine reads is no policy.
func TestProducerIsText(t *testing.T) {
	w := newWorld(t, anyTier())
	for _, name := range []string{"", "a\nb", "a\u202eb", "\xff", strings.Repeat("x", 129)} {
		p := anyTier()
		p.Producer = name
		if _, err := w.book.Decide(w.now, SetPolicy{Policy: p}); err == nil {
			t.Errorf("%q is the name of a producer", name)
		}
	}
}
