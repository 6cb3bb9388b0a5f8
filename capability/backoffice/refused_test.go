package backoffice

import (
	"crypto/rand"
	"testing"

	"github.com/leasehold/leasehold/capability/entitlement"
)

// An entry that the book does not take is not written: what is on the disk opens, and the office that met it takes nothing more.
func TestNothingIsWrittenThatTheBookRefuses(t *testing.T) {
	p, o := newOffice(t, nil)
	if _, err := o.Entitle(anItem(), "ann", today); err != nil {
		t.Fatal(err)
	}
	head, length := o.Book().Head()
	good, err := o.Book().Decide(today, entitlement.SetAccount{Account: entitlement.Account{Name: "ACME"}, By: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	bad := *good.Entries[0]
	bad.Time = 1
	if err := o.commit(good.Entries[0], &bad); err == nil || Code(err) != 0 {
		t.Errorf("two entries of which one is of no time: %v", err)
	}
	if _, err := o.Entitle(anItem(), "ann", today); err == nil {
		t.Error("an office that is ahead of its disk goes on")
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o, err = Open(p, passphrase(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if h, n := o.Book().Head(); h != head || n != length {
		t.Errorf("%d entries on the disk, %d before", n, length)
	}
	if _, err := o.Entitle(anItem(), "ann", today); err != nil {
		t.Error(err)
	}
}
