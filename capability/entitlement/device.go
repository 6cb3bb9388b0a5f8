package entitlement

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A Device is what staff say of a machine, a Host what the machine itself proved. Either may be there without the other: a device that was entered by hand is met when its first request comes, and a
// machine that asks by itself needs no device. What is said of a device proves nothing; what it is to have (mapping.go) reaches the machine that proves the ID, and no other.

// ErrDevice is in the error of a device that cannot be in the book, or of a wish about one; it says why.
var ErrDevice = errors.New("device")

// Device is a machine as staff know it.
type Device struct {
	ID      hostid.ID `cbor:"1,keyasint,omitzero" json:"id"` // one that a request proves: of a TPM, or of a device key
	Name    string    `cbor:"2,keyasint,omitzero" json:"name,omitempty"`
	Server  bool      `cbor:"3,keyasint,omitzero" json:"server,omitempty"`  // it runs an appliance
	Contact string    `cbor:"4,keyasint,omitzero" json:"contact,omitempty"` // who is asked about it
	Account string    `cbor:"5,keyasint,omitzero" json:"account,omitempty"` // of the customer; empty: what it holds first decides
}

// device is a Device with what it is to have, by activation ID.
type device struct {
	Device
	mapped []Fulfillment // zero copies: it is to have none
}

// SetDevice enters a device, or says something else of one that is there.
type SetDevice struct {
	Device Device
	By     string
}

// Validate checks what needs no book.
func (d *Device) Validate() error {
	if err := checkDeviceID(d.ID); err != nil {
		return err
	}
	for _, t := range []struct{ what, text string }{{"name", d.Name}, {"account", d.Account}} {
		if t.text == "" {
			continue
		}
		if err := capability.CheckName(t.what, t.text); err != nil {
			return err
		}
	}
	if err := capability.CheckText(d.Contact); err != nil {
		return fmt.Errorf("contact: %w", err)
	}
	return nil
}

// checkDeviceID: of any other type an ID is a claim, and rights that wait for a claim go to whoever makes it first.
func checkDeviceID(id hostid.ID) error {
	if err := id.Validate(); err != nil {
		return err
	}
	if id.Type != hostid.TPMEK && id.Type != hostid.DeviceKey {
		return fmt.Errorf("%s is claimed by a machine and never proved: want an ID of type %s or %s", id, hostid.TPMEK, hostid.DeviceKey)
	}
	if b, err := hex.DecodeString(id.Value); err != nil || len(b) != len(capability.Digest{}) || !id.Is(id.Type, capability.Digest(b)) {
		return fmt.Errorf("%s is no digest: want 64 hexadecimal digits in upper case", id)
	}
	return nil
}

func (c SetDevice) decide(b *Book, now capability.Time) (*Decision, error) {
	if err := c.Device.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	if other := b.named(c.Device.Name); other != nil && other.ID != c.Device.ID {
		return nil, fmt.Errorf("%w: another one is named %q", ErrDevice, c.Device.Name) // whose it is, is nobody's business
	}
	if account := c.Device.Account; account != "" && account != b.OwnerOf(c.Device.ID) {
		if err := b.newAccount(account); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDevice, err)
		}
	}
	e := b.entry(now, c.By)
	e.Device = &c.Device
	return &Decision{Entries: []*Entry{e}}, nil
}

func (b *Book) applyDevice(d Device) error {
	if err := d.Validate(); err != nil {
		return err
	}
	if other := b.named(d.Name); other != nil && other.ID != d.ID {
		return fmt.Errorf("%s and %s are both named %q", other.ID.Short(), d.ID.Short(), d.Name)
	}
	b.device(d.ID).Device = d
	return nil
}

// named is the device of that name. People do not tell names apart by their case.
func (b *Book) named(name string) *device {
	for _, d := range b.devices {
		if name != "" && strings.EqualFold(d.Name, name) {
			return d
		}
	}
	return nil
}

// device is the device of that ID, which is made if it is not there.
func (b *Book) device(id hostid.ID) *device {
	d := b.deviceOf[id]
	if d == nil {
		d = &device{Device: Device{ID: id}}
		b.devices, b.deviceOf[id] = append(b.devices, d), d
	}
	return d
}

// mapping is the total of an item that a device is to have, and whether there is one.
func (d *device) mapping(id capability.ActivationID) (uint32, bool) {
	if d == nil {
		return 0, false
	}
	at, ok := d.find(id)
	if !ok {
		return 0, false
	}
	return d.mapped[at].Copies, true
}

func (d *device) find(id capability.ActivationID) (int, bool) {
	return slices.BinarySearchFunc(d.mapped, id, func(f Fulfillment, id capability.ActivationID) int { return cmp.Compare(f.ActivationID, id) })
}

// DeviceView is a device with what became of it.
type DeviceView struct {
	Device
	Known       bool            `json:"known"` // it has proved itself in a request
	Alias       string          `json:"alias,omitempty"`
	Tier        Tier            `json:"tier,omitempty"`
	Proven      bool            `json:"proven"`
	Last        capability.Time `json:"last,omitempty"` // when it was answered last
	Rights      []DeviceRight   `json:"rights"`
	Revoked     bool            `json:"revoked,omitempty"`
	Moved       *Moved          `json:"moved,omitempty"`
	Off         []WrittenOff    `json:"writtenOff,omitempty"`
	Orders      []Order         `json:"orders,omitempty"` // that are open
	Provisional []Provisional   `json:"provisional,omitempty"`
	Standing    string          `json:"standing"` // what it waits for, in words: WaitsForDevice where it is more than its machine's own affair
}

// DeviceRight is an item of a device: what it is to have, what is counted as its, and what its last response gave.
type DeviceRight struct {
	ActivationID capability.ActivationID `json:"activationId"`
	Product      string                  `json:"product"`
	Mapped       *uint32                 `json:"mapped,omitempty"` // nil: the machine's own wishes count
	Held         uint32                  `json:"held"`
	Given        uint32                  `json:"given"`
	Reserved     uint32                  `json:"reserved,omitempty"` // for it alone, from its next response on
	Waiting      uint32                  `json:"waiting,omitempty"`  // asked back, and not proved to be gone
	Asked        capability.Time         `json:"asked,omitempty"`    // since when
	Serial       uint64                  `json:"serial,omitempty"`   // of the response that left them out
	Confirmed    capability.Time         `json:"confirmed,omitempty"`
	Until        capability.Time         `json:"until,omitempty"` // what it had lent of them has ended then at the latest
	Retired      bool                    `json:"retired,omitempty"`
}

// WaitsForDevice is the standing of a device whose next request brings something, or shows something.
const WaitsForDevice = "waiting for device"

// Devices are all devices and machines: first the machines in the order they were answered, then the devices that were never met.
func (b *Book) Devices() []DeviceView {
	views := make([]DeviceView, 0, len(b.hosts))
	for _, h := range b.hosts {
		views = append(views, b.deviceView(h.Host))
	}
	for _, d := range b.devices {
		if b.byKey[d.ID] == nil {
			views = append(views, b.deviceView(d.ID))
		}
	}
	return views
}

// DeviceOf is one device or machine.
func (b *Book) DeviceOf(id hostid.ID) (DeviceView, bool) {
	if b.byKey[id] == nil && b.deviceOf[id] == nil {
		return DeviceView{}, false
	}
	return b.deviceView(id), true
}

func (b *Book) deviceView(id hostid.ID) DeviceView {
	v := DeviceView{Device: Device{ID: id}, Rights: []DeviceRight{}, Standing: "done"}
	d, h := b.deviceOf[id], b.byKey[id]
	if d != nil {
		v.Device = d.Device
	}
	waits := false
	for _, i := range b.concerning(id) {
		r := DeviceRight{ActivationID: i.ActivationID, Product: i.Product, Retired: i.Life.Retired != 0}
		if n, ok := d.mapping(i.ActivationID); ok {
			r.Mapped = &n
		}
		if h != nil {
			r.Held, r.Given = h.held(i.ActivationID), h.given(i.ActivationID)
			if o := h.leftOut(i.ActivationID); o != nil {
				r.Waiting, r.Asked, r.Serial, r.Confirmed = o.Copies, o.Since, o.Serial, o.Confirmed
				if o.Confirmed != 0 {
					r.Until = o.Confirmed.Add(b.longest(i))
				}
			}
		}
		r.Reserved = b.reservedFor(id, i.ActivationID)
		waits = waits || r.Mapped != nil || r.Waiting > 0 || r.Retired && r.Held > 0
		v.Rights = append(v.Rights, r)
	}
	if waits {
		v.Standing = WaitsForDevice
	}
	for _, o := range b.running {
		if o.From == id || o.To == id {
			v.Orders = append(v.Orders, *o)
		}
	}
	if h == nil {
		if !waits {
			v.Standing = "never asked"
		}
		return v
	}
	v.Known, v.Alias, v.Tier, v.Proven, v.Moved, v.Off, v.Revoked = true, h.Alias, h.Tier, h.Proven, h.Moved, slices.Clone(h.Off), h.isRevoked()
	v.Provisional, v.Account = b.provisional(h), cmp.Or(b.accountOf(h), v.Account)
	for _, k := range h.Requests {
		v.Last = max(v.Last, k.Time)
	}
	return v
}

// concerning are the items that a machine holds or is to have, by activation ID.
func (b *Book) concerning(id hostid.ID) (list []*item) {
	seen := map[capability.ActivationID]bool{}
	add := func(all []Fulfillment) {
		for _, f := range all {
			if i := b.byID[f.ActivationID]; i != nil && !seen[f.ActivationID] {
				seen[f.ActivationID] = true
				list = append(list, i)
			}
		}
	}
	if h := b.byKey[id]; h != nil {
		add(h.Holds)
	}
	if d := b.deviceOf[id]; d != nil {
		add(d.mapped)
	}
	slices.SortFunc(list, func(a, c *item) int { return compareIDs(a.ActivationID, c.ActivationID) })
	return list
}
