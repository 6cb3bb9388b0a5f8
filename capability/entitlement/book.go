package entitlement

import (
	"cmp"
	"crypto/sha256"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// Book is the state. It belongs to one goroutine.
type Book struct {
	codec  *wire.Codec
	policy Policy
	head   capability.Digest
	length uint64
	last   capability.Time

	items []*item // in the order they were entitled
	byID  map[capability.ActivationID]*item
	boots []*BootState // in the order they were allowed
	hosts []*Host      // in the order they were first answered
	byKey map[hostid.ID]*Host
	// answered is where the same request comes back to.
	answered map[capability.Digest]*Host
}

// item is an Item with the sum of what hosts hold of it.
type item struct {
	Item
	used uint32
}

func (i *item) left() uint32 { return i.Copies - i.used }

// New is a book without a policy: the first entry sets it.
func New() *Book {
	return &Book{codec: wire.New(), byID: map[capability.ActivationID]*item{}, byKey: map[hostid.ID]*Host{}, answered: map[capability.Digest]*Host{}}
}

// Head is the hash of the last entry and the number of entries.
func (b *Book) Head() (capability.Digest, uint64) { return b.head, b.length }

// Policy is the one in force.
func (b *Book) Policy() Policy {
	p := b.policy
	p.Limits = slices.Clone(p.Limits)
	return p
}

// ItemView is an item with what became of it.
type ItemView struct {
	Item
	State State        `json:"state"`
	Used  uint32       `json:"used"`
	Left  uint32       `json:"left"`
	Hosts []ItemHolder `json:"hosts"`
}

// ItemHolder is a host that has copies of an item.
type ItemHolder struct {
	Host   hostid.ID `json:"host"`
	Alias  string    `json:"alias,omitempty"`
	Copies uint32    `json:"copies"`
}

// Items are all items at the moment now, in the order they were entitled.
func (b *Book) Items(now capability.Time) []ItemView {
	views := make([]ItemView, 0, len(b.items))
	for _, i := range b.items {
		views = append(views, b.view(i, now))
	}
	return views
}

// Item is one item at the moment now.
func (b *Book) Item(id capability.ActivationID, now capability.Time) (ItemView, bool) {
	i := b.byID[id]
	if i == nil {
		return ItemView{}, false
	}
	return b.view(i, now), true
}

func (b *Book) view(i *item, now capability.Time) ItemView {
	v := ItemView{Item: i.Item, Used: i.used, Left: i.left(), State: PartlyUsed, Hosts: []ItemHolder{}}
	switch {
	case i.Expiry != 0 && now >= i.Expiry:
		v.State = Expired
	case i.used == 0:
		v.State = Available
	case i.left() == 0:
		v.State = FullyUsed
	}
	for _, h := range b.hosts {
		if n := h.held(i.ActivationID); n > 0 {
			v.Hosts = append(v.Hosts, ItemHolder{h.Host, h.Alias, n})
		}
	}
	return v
}

// Hosts are all hosts, in the order they were first answered.
func (b *Book) Hosts() []Host {
	hosts := make([]Host, 0, len(b.hosts))
	for _, h := range b.hosts {
		hosts = append(hosts, *h.clone())
	}
	return hosts
}

// Host is one host.
func (b *Book) Host(id hostid.ID) (Host, bool) {
	h := b.byKey[id]
	if h == nil {
		return Host{}, false
	}
	return *h.clone(), true
}

func (h *Host) clone() *Host {
	c := *h
	c.Metered, c.Appearances = slices.Clone(h.Metered), slices.Clone(h.Appearances)
	c.Holds, c.Requests, c.Returns, c.Incidents, c.Past = slices.Clone(h.Holds), slices.Clone(h.Requests), slices.Clone(h.Returns), slices.Clone(h.Incidents), slices.Clone(h.Past)
	return &c
}

// held is the number of copies the host has of an item.
func (h *Host) held(id capability.ActivationID) uint32 {
	if at, ok := h.find(id); ok {
		return h.Holds[at].Copies
	}
	return 0
}

func (h *Host) find(id capability.ActivationID) (int, bool) {
	return slices.BinarySearchFunc(h.Holds, id, func(f Fulfillment, id capability.ActivationID) int { return cmp.Compare(f.ActivationID, id) })
}

// hold sets the number of copies, keeping the order.
func (h *Host) hold(id capability.ActivationID, copies uint32) {
	at, ok := h.find(id)
	switch {
	case ok && copies == 0:
		h.Holds = slices.Delete(h.Holds, at, at+1)
	case ok:
		h.Holds[at].Copies = copies
	case copies > 0:
		h.Holds = slices.Insert(h.Holds, at, Fulfillment{id, copies})
	}
}

// known is the request of that number, if it was answered or named.
func (h *Host) known(number uint64) (*Known, bool) {
	at, ok := h.findRequest(number)
	if !ok {
		return nil, false
	}
	return &h.Requests[at], true
}

func (h *Host) findRequest(number uint64) (int, bool) {
	return slices.BinarySearchFunc(h.Requests, number, func(k Known, n uint64) int { return cmp.Compare(k.Number, n) })
}

// bySerial is the answered request whose response had that serial.
func (h *Host) bySerial(serial uint64) (*Known, bool) {
	for i := len(h.Requests) - 1; i >= 0; i-- {
		if h.Requests[i].Serial == serial {
			return &h.Requests[i], true
		}
	}
	return nil, false
}

func (h *Host) byDigest(d capability.Digest) (*Known, bool) {
	for i := len(h.Requests) - 1; i >= 0; i-- {
		if h.Requests[i].Digest == d {
			return &h.Requests[i], true
		}
	}
	for _, p := range h.Past {
		for i := range p.Requests {
			if p.Requests[i].Digest == d {
				return &p.Requests[i], true
			}
		}
	}
	return nil, false
}

func (h *Host) seen(id capability.ReturnID) (*ReturnSeen, bool) {
	for i := range h.Returns {
		if h.Returns[i].ID == id {
			return &h.Returns[i], true
		}
	}
	return nil, false
}

// note keeps a return, or what has become of it.
func (h *Host) note(s ReturnSeen) {
	if seen, ok := h.seen(s.ID); ok {
		*seen = s
		return
	}
	h.Returns = append(h.Returns, s)
}

// Entry is one fact of the book. Exactly one of its sections is there.
type Entry struct {
	Before   capability.Digest `cbor:"1,keyasint,omitzero" json:"before"` // hash of the entry before
	Time     capability.Time   `cbor:"2,keyasint,omitzero" json:"time"`
	By       string            `cbor:"3,keyasint,omitzero" json:"by,omitempty"` // the operator
	Policy   *Policy           `cbor:"4,keyasint,omitempty" json:"policy,omitempty"`
	Item     *Item             `cbor:"5,keyasint,omitempty" json:"item,omitempty"`
	Answer   *Answered         `cbor:"6,keyasint,omitempty" json:"answer,omitempty"`
	Incident *Incident         `cbor:"7,keyasint,omitempty" json:"incident,omitempty"`
	Boot     *BootChange       `cbor:"8,keyasint,omitempty" json:"boot,omitempty"`
}

// Answered is the fact that a request was answered, with everything it changed.
type Answered struct {
	Identity Identity      `cbor:"1,keyasint,omitzero" json:"identity"`
	Alias    string        `cbor:"2,keyasint,omitzero" json:"alias,omitempty"`
	Proven   bool          `cbor:"3,keyasint,omitzero" json:"proven,omitempty"`
	Epoch    uint64        `cbor:"4,keyasint,omitzero" json:"epoch,omitempty"`
	Request  Known         `cbor:"5,keyasint,omitzero" json:"request"`
	Named    []Known       `cbor:"6,keyasint,omitempty" json:"named,omitempty"`   // earlier requests heard of for the first time
	Returns  []ReturnSeen  `cbor:"7,keyasint,omitempty" json:"returns,omitempty"` // new, or newly credited or refused
	Holds    []Fulfillment `cbor:"8,keyasint,omitempty" json:"holds,omitempty"`   // totals that changed; zero copies: none left

	Life   capability.LifeID `cbor:"9,keyasint,omitzero" json:"life,omitzero"`
	Repair *Repaired         `cbor:"10,keyasint,omitempty" json:"repair,omitempty"` // this life replaces the one before

	Metered []capability.Meter `cbor:"11,keyasint,omitempty" json:"metered,omitempty"` // totals that changed; zero: nothing is used any more

	Rehosted *Rehosted `cbor:"12,keyasint,omitempty" json:"rehosted,omitempty"` // first it takes what this machine had

	Appearance *Appearance `cbor:"13,keyasint,omitempty" json:"appearance,omitempty"` // what it shows of itself, where that changed
}

// MaxEntry bounds an entry in bytes: 1,024 named requests of 50 bytes, 256 returns of 90, 256 totals of 40, two keys,
// 4,096 metered totals of 160, an appearance of 6,000.
const MaxEntry = 1 << 20

// Encode is the entry's one encoding.
func (e *Entry) Encode(c *wire.Codec) []byte { return c.Encode(e) }

// DecodeEntry reads what Encode wrote. The error is wire.ErrMalformed.
func DecodeEntry(c *wire.Codec, b []byte) (*Entry, error) {
	var e Entry
	if err := c.Decode(b, &e, MaxEntry); err != nil {
		return nil, err
	}
	return &e, nil
}

// Hash names the entry.
func (e *Entry) Hash(c *wire.Codec) capability.Digest {
	return sha256.Sum256(append([]byte("leasehold book entry v1\x00"), c.Encode(e)...))
}
