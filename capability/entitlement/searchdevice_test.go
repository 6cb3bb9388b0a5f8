package entitlement

import (
	"fmt"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// found are all pages of a search, which are as long as they may be.
func (w *world) found(s DeviceSearch, limit int) (ids []hostid.ID) {
	w.t.Helper()
	after := hostid.ID{}
	for {
		page, next := w.book.FindDevices(s, after, limit)
		for _, v := range page {
			ids = append(ids, v.ID)
		}
		if next == (hostid.ID{}) {
			return ids
		}
		if len(page) != limit || next != page[limit-1].ID {
			w.fatalf("a page of %d where %d fit goes on behind %s", len(page), limit, next)
		}
		after = next
	}
}

// Pages of devices follow each other without a gap: first those that never asked, then the machines, each the newest first.
func TestFindDevices(t *testing.T) {
	w := newWorld(t, anyTier())
	var machines []*machine
	var all []hostid.ID
	for n := range byte(12) {
		customer := map[bool]string{true: "Acme", false: "Bolt"}[n%2 == 0]
		id := w.entitle(uint64(n), 5, func(i *Item) { i.Customer = customer })
		m := newMachine(n + 1)
		a := m.request(1, capability.Desired{ActivationID: id, Count: 2})
		a.Request.Alias = fmt.Sprintf("line %c", 'a'+n)
		m.apply(w.mustDo(a).Response)
		machines = append(machines, m)
	}
	for n := range byte(6) {
		d := Device{ID: newMachine(n + 101).id.Host, Name: fmt.Sprintf("Mill %d", n), Contact: "Ann Ray", Account: map[bool]string{true: "Acme", false: "Bolt"}[n%2 == 0]}
		w.mustDo(SetDevice{Device: d})
		all = append([]hostid.ID{d.ID}, all...)
	}
	w.mustDo(SetDevice{Device: Device{ID: machines[4].id.Host, Name: "Press", Account: "Acme"}}) // on record twice, and shown once
	for _, m := range slices.Backward(machines) {
		all = append(all, m.id.Host)
	}
	ofAcme := func(id hostid.ID) bool { return w.book.OwnerOf(id) == "Acme" }
	acme := slices.DeleteFunc(slices.Clone(all), func(id hostid.ID) bool { return !ofAcme(id) })
	if len(acme) != 9 {
		t.Fatalf("%d devices of Acme", len(acme))
	}
	for _, limit := range []int{1, 4, 50} {
		if got := w.found(DeviceSearch{}, limit); !slices.Equal(got, all) {
			t.Errorf("%d a page: %v, want %v", limit, got, all)
		}
		if got := w.found(DeviceSearch{Within: "Acme"}, limit); !slices.Equal(got, acme) {
			t.Errorf("%d a page of Acme: %v, want %v", limit, got, acme)
		}
	}
	// Behind another's device is no place of one's own: the page is the first.
	if page, _ := w.book.FindDevices(DeviceSearch{Within: "Acme"}, machines[1].id.Host, 50); len(page) != len(acme) {
		t.Errorf("behind another's: %d", len(page))
	}

	forked := machines[2].copied()
	m := machines[2]
	m.apply(w.mustDo(m.request(2)).Response)
	w.forked(forked.request(3), "")
	w.mustDo(Map{Device: machines[3].id.Host, ActivationID: testID(t, 3), Copies: 4})
	for _, c := range []struct {
		name string
		s    DeviceSearch
		want []hostid.ID
	}{
		{"a name of the record", DeviceSearch{Text: "MILL 3"}, []hostid.ID{newMachine(104).id.Host}},
		{"a contact", DeviceSearch{Text: "ann ray", Within: "Bolt"}, []hostid.ID{newMachine(106).id.Host, newMachine(104).id.Host, newMachine(102).id.Host}},
		{"a name that the machine says", DeviceSearch{Text: "Line L"}, []hostid.ID{machines[11].id.Host}},
		{"the short form", DeviceSearch{Text: machines[7].id.Host.Short()}, []hostid.ID{machines[7].id.Host}},
		{"nobody's", DeviceSearch{Text: "ann ray", Within: "Nobody"}, nil},
		{"forked", DeviceSearch{Forked: true}, []hostid.ID{machines[2].id.Host}},
		{"waiting", DeviceSearch{Waiting: true}, []hostid.ID{machines[3].id.Host}},
	} {
		if got := w.found(c.s, 50); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
