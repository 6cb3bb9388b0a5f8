package entitlement

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/hostid"
)

// DeviceSearch says which devices a page has; the zero value is all.
type DeviceSearch struct {
	Text    string // in the host ID, as it is written or in its short form, the names, the contact or the account, in any case
	Within  string // an account: its devices, and those of the accounts below it
	Waiting bool   // for what their next request brings or shows
	Forked  bool   // two histories of them have sent requests
}

// FindDevices has at most limit devices: first those that never asked, then the machines, each the newest first, of those behind the one of that ID (zero: from the newest on). next is where to go on;
// zero: there are no more. A page that has looked at very many ends with those it found. What is another account's is passed over as by FindItems.
func (b *Book) FindDevices(s DeviceSearch, after hostid.ID, limit int) (page []DeviceView, next hostid.ID) {
	page, limit = []DeviceView{}, min(limit, maxShown)
	inside := b.inside(s.Within)
	own := func(id hostid.ID) bool {
		account := b.OwnerOf(id)
		return s.Within == "" || account != "" && inside(account)
	}
	if !own(after) {
		after = hostid.ID{}
	}
	looked, text, last := 0, strings.ToLower(s.Text), hostid.ID{}
	for id := range b.behind(after) {
		if !own(id) {
			continue
		}
		if looked == maxLooked {
			return page, last
		}
		if s.passes(b, id, text) {
			if len(page) == limit {
				return page, page[limit-1].ID
			}
			page = append(page, b.deviceView(id))
		}
		looked, last = looked+1, id
	}
	return page, hostid.ID{}
}

// behind are the devices behind one, in the order of FindDevices.
func (b *Book) behind(after hostid.ID) iter.Seq[hostid.ID] {
	return func(yield func(hostid.ID) bool) {
		hosts := len(b.hosts)
		if h := b.byKey[after]; h != nil {
			hosts = h.at
		} else {
			at := len(b.devices)
			if d := b.deviceOf[after]; d != nil {
				at = slices.Index(b.devices, d)
			}
			for _, d := range slices.Backward(b.devices[:at]) {
				if b.byKey[d.ID] != nil {
					continue
				}
				if !yield(d.ID) {
					return
				}
			}
		}
		for _, h := range slices.Backward(b.hosts[:hosts]) {
			if !yield(h.Host) {
				return
			}
		}
	}
}

func (s *DeviceSearch) passes(b *Book, id hostid.ID, text string) bool {
	h, d := b.byKey[id], b.deviceOf[id]
	if s.Forked && (h == nil || !h.Forked()) {
		return false
	}
	var said Device
	if d != nil {
		said = d.Device
	}
	alias := ""
	if h != nil {
		alias = h.Alias
	}
	if !has(text, id.String(), id.Short(), alias, said.Name, said.Contact, b.ownerOf(h, d)) {
		return false
	}
	return !s.Waiting || b.deviceView(id).Standing == WaitsForDevice
}

// Waiting are the orders that are open, of devices of an account (empty: of all), oldest first.
func (b *Book) Waiting(account string) (list []Order) {
	for _, o := range b.running {
		if account == "" || b.Within(cmp.Or(b.OwnerOf(o.From), b.byID[o.ActivationID].Customer), account) {
			list = append(list, *o)
		}
	}
	return list
}
