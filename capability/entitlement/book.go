package entitlement

import (
	"cmp"
	"crypto/sha256"
	"iter"
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

	catalog  catalog
	hosts    []*Host // in the order they were first answered
	byKey    map[hostid.ID]*Host
	devices  []*device // in the order they were entered, or first mapped
	deviceOf map[hostid.ID]*device
	orders   []*Order
	running  []*Order // those of them that are open
	revoked  []*Host  // by place
	// answered is where the same request comes back to.
	answered map[capability.Digest]*Host

	signers []Signer // certificates of signing keys, by number
	signed  []Count  // what was signed in the last day, in order
	limited *Limited

	ofCustomer map[string][]*item
	synced     map[hostid.ID]*synced

	keys []*Done // in the order they were used
	done map[part]*Done

	users     []*User          // in the order they were made
	userByID  map[UserID]*User // by folded name
	logins    []*Login         // in the order they were made
	proposals []*Proposal      // that are open, or were and are remembered, by number
	questions []*Question      // that are open, by number
	seatedOn  map[hostid.ID][]*Seat
	sessionOf map[SessionID]*item
}

// item is an Item with the sum of what hosts hold of it.
type item struct {
	Item
	used  uint32
	ties  *ties   // nil: none
	at    int     // its place in items
	hosts []*Host // that hold copies of it, in their order

	seats    []*Seat    // by number
	pool     []UserID   // in order
	sessions []*Session // by ID
}

// ties is what few items have: what was done with it so often as it may be, what was merged into it, and how many copies of that may come back.
type ties struct {
	acts     []Acts // by act
	merged   []*item
	incoming uint64
	reserved uint32            // by mappings, for devices that have not got it yet
	mappings int               // how many there are
	replaced bool              // another one took its place
	offs     []capability.Time // when copies of it were written off
}

// reserved is what devices get with their next responses.
func (i *item) reserved() uint32 {
	if i.ties == nil {
		return 0
	}
	return i.ties.reserved
}

// left is what can be given: none while more are in use than entitled.
func (i *item) left() uint32 {
	return i.room() - min(i.room(), i.used+i.reserved()+i.seated())
}

// overage is how many more are in use than entitled.
func (i *item) overage() uint32 {
	if in := i.used + i.seated(); i.room() < in {
		return in - i.room()
	}
	return 0
}

// room is how many copies there may be in use.
func (i *item) room() uint32 { return i.Copies + i.Life.Extra }

// seated is how many copies users have without a machine of the book: seats that are assigned, or sessions of a pool.
func (i *item) seated() (n uint32) {
	if len(i.seats) == 0 {
		for _, s := range i.sessions {
			if !s.Over {
				n++
			}
		}
		return n
	}
	for _, s := range i.seats {
		if s.Host == (hostid.ID{}) {
			n++
		}
	}
	return n
}

// lapsed is how many of those only had sessions whose products have stopped by now: the next command about sessions of the item forgets them.
func (i *item) lapsed(now capability.Time) (n uint32) {
	if len(i.seats) > 0 {
		return 0
	}
	for _, s := range i.sessions {
		if !s.Over && s.Through <= now {
			n++
		}
	}
	return n
}

// New is a book without a policy: the first entry sets it.
func New() *Book {
	return &Book{
		codec: wire.New(), byID: map[capability.ActivationID]*item{}, byKey: map[hostid.ID]*Host{}, deviceOf: map[hostid.ID]*device{}, answered: map[capability.Digest]*Host{}, catalog: newCatalog(), ofCustomer: map[string][]*item{}, synced: map[hostid.ID]*synced{}, done: map[part]*Done{},
		userByID: map[UserID]*User{}, seatedOn: map[hostid.ID][]*Seat{}, sessionOf: map[SessionID]*item{},
	}
}

// Head is the hash of the last entry and the number of entries.
func (b *Book) Head() (capability.Digest, uint64) { return b.head, b.length }

// Policy is the one in force.
func (b *Book) Policy() Policy {
	p := b.policy
	p.Limits, p.Excluded = slices.Clone(p.Limits), slices.Clone(p.Excluded)
	return p
}

// ItemView is an item with what became of it.
type ItemView struct {
	Item
	State    State        `json:"state"`
	Used     uint32       `json:"used"`
	Left     uint32       `json:"left"`
	Reserved uint32       `json:"reserved,omitempty"` // for devices, with their next responses
	Over     uint32       `json:"overage,omitempty"`  // in use above what is entitled
	Acts     []Acts       `json:"acts,omitempty"`     // what was done with it that is counted
	Hosts    []ItemHolder `json:"hosts"`
}

// ItemHolder is a host that has copies of an item.
type ItemHolder struct {
	Host   hostid.ID `json:"host"`
	Alias  string    `json:"alias,omitempty"`
	Copies uint32    `json:"copies"`
	Out    uint32    `json:"out,omitempty"` // of them, that its responses leave out and that are not proved to be gone
}

// Items are all items at the moment now, in the order they were entitled.
func (b *Book) Items(now capability.Time) []ItemView {
	return slices.AppendSeq(make([]ItemView, 0, len(b.items)), b.EachItem(now))
}

// EachItem is Items, one by one.
func (b *Book) EachItem(now capability.Time) iter.Seq[ItemView] {
	return func(yield func(ItemView) bool) {
		for _, i := range b.items {
			if !yield(b.view(i, now)) {
				return
			}
		}
	}
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
	v := ItemView{Item: i.Item, Used: i.used, Reserved: i.reserved(), Acts: cloneActs(i.acts()), State: b.state(i, now), Hosts: []ItemHolder{}}
	room, in := i.room(), i.used+i.seated()-i.lapsed(now)
	v.Left, v.Over = room-min(room, in+v.Reserved), in-min(in, room)
	for _, h := range i.hosts {
		v.Hosts = append(v.Hosts, ItemHolder{h.Host, h.Alias, h.held(i.ActivationID), h.held(i.ActivationID) - h.given(i.ActivationID)})
	}
	return v
}

// Hosts are all hosts, in the order they were first answered.
func (b *Book) Hosts() []Host {
	return slices.AppendSeq(make([]Host, 0, len(b.hosts)), b.EachHost())
}

// EachHost is Hosts, one by one.
func (b *Book) EachHost() iter.Seq[Host] {
	return func(yield func(Host) bool) {
		for _, h := range b.hosts {
			if !yield(*h.clone()) {
				return
			}
		}
	}
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
	c.Out, c.Off = slices.Clone(h.Out), slices.Clone(h.Off)
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
	Device   *Device           `cbor:"20,keyasint,omitempty" json:"device,omitempty"`
	Map      *Mapping          `cbor:"21,keyasint,omitempty" json:"map,omitempty"`
	Order    *Order            `cbor:"22,keyasint,omitempty" json:"order,omitempty"`
	Step     *OrderStep        `cbor:"23,keyasint,omitempty" json:"step,omitempty"` // that ends an order
	Retire   *Retired          `cbor:"24,keyasint,omitempty" json:"retire,omitempty"`
	WriteOff *WrittenOff       `cbor:"25,keyasint,omitempty" json:"writeOff,omitempty"`

	User    *UserFact     `cbor:"30,keyasint,omitempty" json:"user,omitempty"`
	Seat    *SeatFact     `cbor:"31,keyasint,omitempty" json:"seat,omitempty"`
	Pool    *PoolFact     `cbor:"32,keyasint,omitempty" json:"pool,omitempty"`
	Session *SessionFact  `cbor:"33,keyasint,omitempty" json:"session,omitempty"`
	Convert *Converted    `cbor:"34,keyasint,omitempty" json:"convert,omitempty"`
	Group   *Grouped      `cbor:"35,keyasint,omitempty" json:"group,omitempty"`
	Account *Account      `cbor:"10,keyasint,omitempty" json:"account,omitempty"`
	Product *Product      `cbor:"11,keyasint,omitempty" json:"product,omitempty"`
	Model   *LicenseModel `cbor:"12,keyasint,omitempty" json:"model,omitempty"`
	Change  *ItemChange   `cbor:"13,keyasint,omitempty" json:"change,omitempty"`
	Signer  *Signer       `cbor:"40,keyasint,omitempty" json:"signer,omitempty"`
	Limited *Limited      `cbor:"41,keyasint,omitempty" json:"limited,omitempty"`
	Update  *SignedUpdate `cbor:"42,keyasint,omitempty" json:"update,omitempty"`
	Login   *LoginFact    `cbor:"60,keyasint,omitempty" json:"login,omitempty"`
	SignIn  *SignIn       `cbor:"61,keyasint,omitempty" json:"signIn,omitempty"`
	Once    *Mark         `cbor:"50,keyasint,omitempty" json:"once,omitempty"` // beside its section: the key under which it was asked for

	Token    *TokenUsed  `cbor:"63,keyasint,omitempty" json:"token,omitempty"` // beside its section: with which a program asked for it
	Proposed *Proposed   `cbor:"62,keyasint,omitempty" json:"proposed,omitempty"`
	Question *Questioned `cbor:"70,keyasint,omitempty" json:"question,omitempty"`
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

	Out     []LeftOut                 `cbor:"20,keyasint,omitempty" json:"out,omitempty"`    // what its responses leave out, where that changed; zero copies: nothing any more
	Gone    []Gone                    `cbor:"21,keyasint,omitempty" json:"gone,omitempty"`   // copies that were left out and are proved to be gone
	Mapped  []capability.ActivationID `cbor:"22,keyasint,omitempty" json:"mapped,omitempty"` // mappings that are done
	Steps   []OrderStep               `cbor:"23,keyasint,omitempty" json:"steps,omitempty"`
	Closed  []Gone                    `cbor:"24,keyasint,omitempty" json:"closed,omitempty"`  // what was written off, or without an activation ID re-hosted, and is proved to be gone
	Account string                    `cbor:"14,keyasint,omitzero" json:"account,omitempty"`  // that it belongs to from now on
	Foreign *Foreign                  `cbor:"15,keyasint,omitempty" json:"foreign,omitempty"` // it goes above a response that is none of this book's

	Records []capability.Record `cbor:"30,keyasint,omitempty" json:"records,omitempty"` // of usage, counted by this answer
	Missing uint64              `cbor:"31,keyasint,omitzero" json:"missing,omitempty"`  // so many before them never came
	States  []capability.Usage  `cbor:"32,keyasint,omitempty" json:"states,omitempty"`  // how the period that runs stands, in place of what was said before
	Seats   []Seat              `cbor:"25,keyasint,omitempty" json:"seats,omitempty"`   // that this answer brings, or of which the request says more than was known
}

// MaxEntry bounds an entry in bytes: 1,024 named requests of 50 bytes, 256 returns of 90, 256 totals of 40, two keys,
// 4,096 metered totals of 160, an appearance of 6,000, and the records of a whole request file.
const MaxEntry = capability.MaxFile + 1<<20

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
