package entitlement

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A mapping says how many copies of an item a device shall have. What is above what it has is reserved for it, so that nobody else gets them, and given with its next response. What is below is asked
// back: the next response leaves those copies out, and they stay counted as the machine's until a later request proves that they are gone. As long as there is a mapping, the machine's own wishes do not
// count; once it has what it shall have, and nothing waits, the mapping is done and dropped.

// Mapping is the fact that a device is to have so many copies, or that its own wishes count again.
type Mapping struct {
	Device       hostid.ID               `cbor:"1,keyasint,omitzero" json:"device"`
	ActivationID capability.ActivationID `cbor:"2,keyasint,omitzero" json:"activationId"`
	Copies       uint32                  `cbor:"3,keyasint,omitzero" json:"copies"`
	Ended        bool                    `cbor:"4,keyasint,omitzero" json:"ended,omitempty"`
	Return       bool                    `cbor:"5,keyasint,omitzero" json:"return,omitempty"` // it asks copies back, which the limit of returns counts
}

// Map says how many copies a device is to have, in all.
type Map struct {
	Device       hostid.ID
	ActivationID capability.ActivationID
	Copies       uint32
	By           string
}

// Unmap lets the machine's own wishes count again. What was left out and not proved to be gone comes back to it.
type Unmap struct {
	Device       hostid.ID
	ActivationID capability.ActivationID
	By           string
}

// maxMapped items of one device: with all of them, and as many of its own, a response still has room.
const maxMapped = 256

func (c Map) decide(b *Book, now capability.Time) (*Decision, error) {
	if err := checkDeviceID(c.Device); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	i, d, h := b.byID[c.ActivationID], b.deviceOf[c.Device], b.byKey[c.Device]
	if i == nil {
		return nil, capability.Refuse(capability.ErrUnknownID, string(c.ActivationID), "nothing is mapped")
	}
	no := func(code capability.Code, format string, args ...any) (*Decision, error) {
		return nil, capability.Refuse(code, string(c.ActivationID), format, args...)
	}
	have := h.have(c.ActivationID)
	was, mapped := d.mapping(c.ActivationID)
	back := c.Copies < have && (!mapped || c.Copies < was)
	switch {
	case mapped && was == c.Copies:
		return no(capability.ErrNoMapping, "%s is mapped to have %d already", c.Device.Short(), c.Copies)
	case !mapped && have == c.Copies && h.leftOut(c.ActivationID) == nil:
		return no(capability.ErrNoMapping, "%s has %d already", c.Device.Short(), c.Copies)
	case i.Life.Retired != 0 || i.Life.MergedTo != "":
		return nil, b.closed(i)
	case b.ordered(c.Device, c.ActivationID) != nil:
		return no(capability.ErrNoMapping, "%s", b.ordered(c.Device, c.ActivationID).inTheWay())
	case (b.kindOf(i) == NodeLocked || b.modelOf(i).NoCredit) && c.Copies < have:
		return no(capability.ErrNoMapping, "its license model has copies come back only from the machine itself: return them there")
	case i.Metered && c.Copies < have:
		return no(capability.ErrNoMapping, "it is metered, and what is used up of it only the machine knows: return them there")
	case back && b.spent(i, ActReturn, 1, now) != nil:
		return nil, b.spent(i, ActReturn, 1, now)
	case !mapped && d != nil && len(d.mapped) >= maxMapped:
		return no(capability.ErrNoMapping, "%s has %d mappings open, and no device has more", c.Device.Short(), maxMapped)
	case c.Copies <= have:
	case b.seatRefusal(i) != nil:
		return nil, b.seatRefusal(i)
	case i.Expiry != 0 && now >= i.Expiry:
		return no(capability.ErrBookExpired, "it expired %s", i.Expiry)
	case b.crowded(c.Device, h, i) != nil:
		return nil, b.crowded(c.Device, h, i)
	case h != nil && h.Moved != nil:
		return no(capability.ErrRehosted, "%s", h.Moved)
	case h != nil && h.off(c.ActivationID) != nil:
		return no(capability.ErrWrittenOff, "%s", h.off(c.ActivationID))
	case b.closed(i) != nil:
		return nil, b.closed(i)
	case b.alien(i, h, d) != nil:
		return nil, b.alien(i, h, d)
	case c.Copies-have > i.left()+b.reservedFor(c.Device, c.ActivationID):
		return nil, &capability.Refusal{Denial: capability.Denial{Code: capability.ErrTooFew, Subject: string(c.ActivationID), Asked: c.Copies,
			Available: i.left() + b.reservedFor(c.Device, c.ActivationID), Total: i.Copies, Used: i.used, Detail: fmt.Sprintf("%s has %d", c.Device.Short(), have)}}
	case h != nil:
		if no := b.barred(i, h.Tier, c.Copies, h.why()); no != nil {
			return nil, no
		}
	}
	e := b.entry(now, c.By)
	e.Map = &Mapping{Device: c.Device, ActivationID: c.ActivationID, Copies: c.Copies, Return: back}
	return b.steered(now, e, i, c.By), nil
}

func (c Unmap) decide(b *Book, now capability.Time) (*Decision, error) {
	if _, mapped := b.deviceOf[c.Device].mapping(c.ActivationID); !mapped {
		return nil, capability.Refuse(capability.ErrNoMapping, string(c.ActivationID), "%s has no mapping of it", c.Device.Short())
	}
	if o := b.ordered(c.Device, c.ActivationID); o != nil {
		return nil, capability.Refuse(capability.ErrNoMapping, string(c.ActivationID), "%s", o.inTheWay())
	}
	e := b.entry(now, c.By)
	e.Map = &Mapping{Device: c.Device, ActivationID: c.ActivationID, Ended: true}
	return b.steered(now, e, b.byID[c.ActivationID], c.By), nil
}

// steered is the decision to map, or to end a mapping: a seat that is not asked for any more is not withdrawn either.
func (b *Book) steered(now capability.Time, e *Entry, i *item, by string) *Decision {
	d := &Decision{Entries: []*Entry{e}}
	if back := b.resumed(now, i, e.Map.Device, by); back != nil && (e.Map.Ended || e.Map.Copies > 0) {
		d.Entries = append(d.Entries, back)
		b.chain(d)
	}
	return d
}

func (b *Book) applyMapping(m Mapping, now capability.Time) error {
	i := b.byID[m.ActivationID]
	if err := checkDeviceID(m.Device); err != nil || i == nil {
		return fmt.Errorf("a mapping of %s to %s: %w", m.ActivationID, m.Device, cmp.Or(err, error(capability.Refuse(capability.ErrUnknownID, string(m.ActivationID), ""))))
	}
	if m.Ended {
		if _, mapped := b.deviceOf[m.Device].mapping(m.ActivationID); !mapped || m.Copies != 0 {
			return fmt.Errorf("a mapping of %s to %s ends that is not there", m.ActivationID, m.Device.Short())
		}
		b.unmap(m.Device, m.ActivationID)
		return nil
	}
	if i.Life.Retired != 0 || i.Life.MergedTo != "" {
		return fmt.Errorf("a mapping of %s: %w", m.ActivationID, b.closed(i))
	}
	if more := int64(m.Copies) - int64(b.byKey[m.Device].have(m.ActivationID)); more > int64(i.left())+int64(b.reservedFor(m.Device, m.ActivationID)) {
		return fmt.Errorf("%d copies of %s are mapped to %s, and %d are left", m.Copies, m.ActivationID, m.Device.Short(), i.left())
	}
	if no := b.seatRefusal(i); no != nil && m.Copies > b.byKey[m.Device].have(m.ActivationID) {
		return no
	}
	if have, no := b.byKey[m.Device].have(m.ActivationID), b.spent(i, ActReturn, 1, now); m.Return && (m.Copies >= have || no != nil) {
		return fmt.Errorf("%d of %d copies of %s stay with %s, which is no return, or one too many", m.Copies, have, m.ActivationID, m.Device.Short())
	} else if m.Return {
		b.count(i, ActReturn, 1, now)
	}
	b.mapTo(m.Device, m.ActivationID, m.Copies)
	if b.reservedFor(m.Device, m.ActivationID) == 0 {
		b.astray(m.Device, m.ActivationID)
	}
	return nil
}

// mapTo sets what a device is to have, and what is reserved for it.
func (b *Book) mapTo(id hostid.ID, of capability.ActivationID, copies uint32) {
	t, d := b.byID[of].tie(), b.device(id)
	t.reserved -= b.reservedFor(id, of)
	if at, ok := d.find(of); ok {
		d.mapped[at].Copies = copies
	} else {
		d.mapped = slices.Insert(d.mapped, at, Fulfillment{of, copies})
		t.mappings++
	}
	t.reserved += b.reservedFor(id, of)
}

// unmap drops a mapping, if there is one.
func (b *Book) unmap(id hostid.ID, of capability.ActivationID) {
	if _, mapped := b.deviceOf[id].mapping(of); mapped {
		b.byID[of].ties.reserved -= b.reservedFor(id, of)
		b.dropMapping(id, of)
		b.astray(id, of)
	}
}

// dropMapping drops a mapping whose reservation is in no sum.
func (b *Book) dropMapping(id hostid.ID, of capability.ActivationID) {
	d := b.deviceOf[id]
	at, _ := d.find(of)
	d.mapped = slices.Delete(d.mapped, at, at+1)
	b.byID[of].ties.mappings--
}

// alien refuses to map an item to a device of another account, or nil. What is said of the device counts before what the machine has.
func (b *Book) alien(i *item, h *Host, d *device) *capability.Refusal {
	own := b.ownerOf(h, d)
	if own == "" || b.Related(own, i.Customer) {
		return nil
	}
	return capability.Refuse(capability.ErrAccount, string(i.ActivationID), "the device belongs to another account")
}

// reservedFor is what of an item is kept for a device: what it is to have above what it has.
func (b *Book) reservedFor(id hostid.ID, of capability.ActivationID) uint32 {
	n, _ := b.deviceOf[id].mapping(of)
	return n - min(n, b.byKey[id].have(of))
}

// shall is the total that a machine is to have of an item, whatever it wishes itself, and whether there is one.
func (b *Book) shall(h *Host, i *item) (uint32, bool) {
	if i.Life.Retired != 0 || h.off(i.ActivationID) != nil {
		return 0, true
	}
	return b.deviceOf[h.Host].mapping(i.ActivationID)
}

// asked says that a return is of copies that the producer asks for: what was counted of it was counted with that.
func (b *Book) asked(h *Host, t capability.Return) bool {
	i := b.byID[t.ActivationID]
	target, is := b.shall(h, i)
	held := h.held(t.ActivationID)
	return is && uint64(target)+uint64(t.Copies) <= uint64(held)
}

// mappedLine is the line of an item of which the producer has said how many the machine has.
func (b *Book) mappedLine(h *Host, i *item, w capability.Desired) capability.Line {
	line := capability.Line{Count: h.given(i.ActivationID)}
	if w.Count == line.Count {
		return line
	}
	denial := capability.Denial{Code: capability.ErrMapped, Subject: string(i.ActivationID), Asked: w.Count, Total: i.Copies}
	switch off := h.off(i.ActivationID); {
	case off != nil:
		denial.Code, denial.Detail = capability.ErrWrittenOff, off.String()
	case i.Life.Retired != 0:
		denial.Code, denial.Detail = capability.ErrRetired, "it was asked back"
	}
	line.Status, line.Denial = capability.LineInsufficient, denial
	return line
}

// checkMappings: what is reserved of each item is what the mappings ask for above what is held.
func (b *Book) checkMappings() error {
	reserved, mappings := map[capability.ActivationID]uint64{}, map[capability.ActivationID]int{}
	names := map[string]bool{}
	for _, d := range b.devices {
		if b.deviceOf[d.ID] != d || d.Device.Validate() != nil {
			return corrupt("device %s is there twice, or has %d mappings", d.ID, len(d.mapped))
		}
		last := capability.ActivationID("")
		for _, f := range d.mapped {
			i := b.byID[f.ActivationID]
			if i == nil || i.Life.Retired != 0 || f.ActivationID <= last {
				return corrupt("device %s is mapped to %s, out of order, retired or not in the book", d.ID.Short(), f.ActivationID)
			}
			last = f.ActivationID
			mappings[f.ActivationID]++
			reserved[f.ActivationID] += uint64(b.reservedFor(d.ID, f.ActivationID))
		}
		if d.Name != "" && names[d.Name] {
			return corrupt("two devices are named %q", d.Name)
		}
		names[d.Name] = true
	}
	if len(b.devices) != len(b.deviceOf) {
		return corrupt("%d devices are found as %d", len(b.devices), len(b.deviceOf))
	}
	for _, i := range b.items {
		if n := reserved[i.ActivationID]; n != uint64(i.reserved()) || uint64(i.used)+n > math.MaxUint32 || i.ties != nil && i.ties.mappings != mappings[i.ActivationID] {
			return corrupt("item %s: %d copies are reserved, the sum says %d", i.ActivationID, n, i.reserved())
		}
	}
	return nil
}
