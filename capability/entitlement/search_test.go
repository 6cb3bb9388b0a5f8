package entitlement

import (
	"fmt"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// shelf is a book with items of customers, without entries.
func shelf(customers ...string) *Book {
	b := New()
	for n, c := range customers {
		b.addItem(&item{Item: Item{ActivationID: capability.ActivationID(fmt.Sprintf("ID-%06d", n)), Customer: c, Product: "Render Pro", EntitlementID: fmt.Sprintf("ENT-%d", n%3), Copies: 1, Groups: []string{fmt.Sprintf("g%d", n%2)}}})
	}
	return b
}

func (b *Book) seat(accounts ...Account) *Book {
	for _, a := range accounts {
		b.catalog.accounts.set(a.Name, a)
	}
	return b
}

// A search goes from page to page, the newest first, and finds each item once: of an account and its parts those and no other, whether it walks the book or the customers.
func TestFindItems(t *testing.T) {
	customers := make([]string, 0, 200)
	for n := range 200 {
		customers = append(customers, map[bool]string{true: fmt.Sprintf("other %d", n%5), false: "Bolt"}[n%40 != 0])
	}
	customers[3], customers[100], customers[199] = "Acme", "Lyon", "Acme"
	b := shelf(customers...).seat(Account{Name: "Acme"}, Account{Name: "Bolt"}, Account{Name: "Lyon", Parent: "Acme"}, Account{Name: "other 1"})
	for _, c := range []struct {
		name string
		s    ItemSearch
		want int
	}{
		{"all", ItemSearch{}, 200},
		{"of an account and its part", ItemSearch{ItemFilter: ItemFilter{Within: "Acme"}}, 3},
		{"of a part", ItemSearch{ItemFilter: ItemFilter{Within: "Lyon"}}, 1},
		{"of an account with much", ItemSearch{ItemFilter: ItemFilter{Within: "other 1"}}, 40},
		{"of a customer", ItemSearch{ItemFilter: ItemFilter{Customer: "Bolt"}}, 5},
		{"of a customer elsewhere", ItemSearch{ItemFilter: ItemFilter{Customer: "Bolt", Within: "Acme"}}, 0},
		{"of nobody", ItemSearch{ItemFilter: ItemFilter{Within: "Nobody"}}, 0},
		{"by text", ItemSearch{Text: "lYO"}, 1},
		{"by product and group", ItemSearch{Text: "render", Group: "g1"}, 100},
		{"by text within", ItemSearch{Text: "lyon", ItemFilter: ItemFilter{Within: "Bolt"}}, 0},
		{"by entitlement", ItemSearch{ItemFilter: ItemFilter{EntitlementID: "ENT-1"}}, 67},
	} {
		found, last, next := 0, 1<<30, capability.ActivationID("")
		for {
			var page []ItemView
			page, next = b.FindItems(0, c.s, next, 7)
			for _, v := range page {
				at := b.byID[v.ActivationID].at
				if at >= last {
					t.Fatalf("%s: item %d behind item %d", c.name, at, last)
				}
				last = at
				found++
			}
			if next == "" {
				break
			}
		}
		if found != c.want {
			t.Errorf("%s: %d items found, want %d", c.name, found, c.want)
		}
	}
}

// A page looks at so many records and no more, and the next one goes on there.
func TestSearchesEnd(t *testing.T) {
	customers := make([]string, maxLooked+20)
	for n := range customers {
		customers[n] = "Bolt"
	}
	customers[10] = "Acme"
	b := shelf(customers...)
	page, next := b.FindItems(0, ItemSearch{Text: "acme"}, "", 50)
	if len(page) != 0 || next == "" {
		t.Fatalf("%d items, next %q", len(page), next)
	}
	if page, next = b.FindItems(0, ItemSearch{Text: "acme"}, next, 50); len(page) != 1 || next != "" {
		t.Fatalf("%d items, next %q", len(page), next)
	}
	for n := range maxLooked + 20 {
		u := &User{ID: UserID{"Bolt", fmt.Sprintf("u%d", n)}, Made: 1}
		b.users = append(b.users, u)
		b.userByID[u.ID.folded()] = u
	}
	users, after, more := b.FindUsers(UserSearch{Text: fmt.Sprintf("u%d", maxLooked+10)}, UserID{}, 50)
	if len(users) != 0 || !more {
		t.Fatalf("%d users, more %t", len(users), more)
	}
	if users, _, more = b.FindUsers(UserSearch{Text: fmt.Sprintf("u%d", maxLooked+10)}, after, 50); len(users) != 1 || more {
		t.Fatalf("%d users, more %t", len(users), more)
	}
}

// Where a page ends that looked at very many, it names nothing of another account: neither a line item, whose ID is worth something, nor a user.
func TestSearchesEndWithOnesOwn(t *testing.T) {
	customers := make([]string, 2*maxLooked+20)
	for n := range customers {
		customers[n] = map[bool]string{true: "Acme", false: "Bolt"}[n%2 == 0]
	}
	b := shelf(customers...).seat(Account{Name: "Acme"}, Account{Name: "Bolt"})
	s := ItemSearch{Text: "nothing is called so", ItemFilter: ItemFilter{Within: "Acme"}}
	if _, next := b.FindItems(0, s, "", 50); next == "" || b.byID[next].Customer != "Acme" {
		t.Errorf("next %q", next)
	}
	if page, _ := b.FindItems(0, ItemSearch{ItemFilter: ItemFilter{Within: "Acme"}}, "ID-000007", 50); len(page) != 50 {
		t.Errorf("%d items behind another's", len(page))
	}
	for n := range customers {
		u := &User{ID: UserID{customers[n], fmt.Sprintf("u%d", n)}, Made: 1}
		b.users = append(b.users, u)
		b.userByID[u.ID.folded()] = u
	}
	if _, next, more := b.FindUsers(UserSearch{Text: s.Text, Within: "Acme"}, UserID{}, 50); !more || next.Account != "Acme" {
		t.Errorf("next %v, more %t", next, more)
	}
}

// Pages of users and accounts follow each other without a gap, and of an account have what is within it only.
func TestFindUsersAndAccounts(t *testing.T) {
	b := New()
	for n := range 50 {
		parent := ""
		if n%2 == 1 {
			parent = "a000"
		}
		b.seat(Account{Name: fmt.Sprintf("a%03d", n), Parent: parent, Contact: fmt.Sprintf("c%d", n)})
		u := &User{ID: UserID{fmt.Sprintf("a%03d", n), fmt.Sprintf("User%d", n)}, Made: 1, Groups: []string{fmt.Sprintf("g%d", n%3)}}
		b.users = append(b.users, u)
		b.userByID[u.ID.folded()] = u
	}
	for _, c := range []struct {
		name            string
		s               UserSearch
		users, accounts int
	}{
		{"all", UserSearch{}, 50, 50}, {"within", UserSearch{Within: "a000"}, 26, 26}, {"within a part", UserSearch{Within: "a001"}, 1, 1}, {"text", UserSearch{Text: "A04"}, 10, 10}, {"group", UserSearch{Group: "g0"}, 17, 50},
	} {
		users, next, more := 0, UserID{}, true
		for more {
			var page []User
			page, next, more = b.FindUsers(c.s, next, 4)
			if more && !b.Within(next.Account, c.s.Within) {
				t.Fatalf("%s: the next page is behind %s of %s", c.name, next, next.Account)
			}
			users += len(page)
		}
		accounts, after, more := 0, "", true
		for more {
			var page []Account
			page, after, more = b.FindAccounts(c.s.Within, c.s.Text, after, 4)
			if more && !b.Within(after, c.s.Within) {
				t.Fatalf("%s: the next page is behind %s", c.name, after)
			}
			accounts += len(page)
		}
		if users != c.users || accounts != c.accounts {
			t.Errorf("%s: %d users and %d accounts, want %d and %d", c.name, users, accounts, c.users, c.accounts)
		}
	}
	// What is another's is no place to go on from, and what an account is a part of is no word of its own.
	if page, _, _ := b.FindUsers(UserSearch{Within: "a001"}, UserID{"a004", "User4"}, 4); len(page) != 1 {
		t.Errorf("behind another's user: %v", page)
	}
	if page, _, _ := b.FindAccounts("a001", "", "a004", 4); len(page) != 1 {
		t.Errorf("behind another's account: %v", page)
	}
	if page, _, _ := b.FindAccounts("a001", "a000", "", 4); len(page) != 0 {
		t.Errorf("by the name of the account above: %v", page)
	}
	sizes := b.GroupSizes("a001")
	if len(sizes) != 1 || sizes[0].Name != "g1" || sizes[0].Users != 1 {
		t.Errorf("%+v", sizes)
	}
	if sizes := b.GroupSizes(""); len(sizes) != 3 || sizes[0].Users != 17 {
		t.Errorf("%+v", sizes)
	}
	if parts := b.Parts("a000"); len(parts) != 25 {
		t.Errorf("%v", parts)
	}
}
