// Package entitlement is the back office's book: what customers may fulfill, which machine has how much of it, and what each machine was answered.
//
// It is pure. A Book decides (Decide: a command becomes entries and, for a request, the whole response), the caller makes the entries durable, and Apply takes
// them in; Apply never decides. Each entry names the hash of the one before, so the book cannot be edited unseen: every response names the head of its moment,
// and every request the last head its machine was told.
//
// A copy is in exactly one place: left in its line item, or fulfilled to one host. It goes to a host by an answer and comes back by a proven return, never otherwise.
//
// Start with New, Decide and Apply; Entitle, SetPolicy, AllowBoot, WithdrawBoot and Answer are the commands. The book judges no signatures: Answer brings what was judged as values.
package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Tier classes a machine by its evidence. Zero says nothing: in an item, that the policy's tier counts.
type Tier uint8

const (
	Software Tier = 1
	Virtual  Tier = 2
	Hardware Tier = 3
)

func (t Tier) String() string {
	switch t {
	case Software:
		return "software"
	case Virtual:
		return "virtual"
	case Hardware:
		return "hardware"
	}
	return "as the policy says"
}

// MarshalText makes JSON show the name, and nothing where nothing is said.
func (t Tier) MarshalText() ([]byte, error) {
	if t == 0 {
		return nil, nil
	}
	return []byte(t.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (t *Tier) UnmarshalText(b []byte) (err error) {
	if *t = 0; len(b) > 0 {
		*t, err = ParseTier(string(b))
	}
	return err
}

// ParseTier reads a name.
func ParseTier(s string) (Tier, error) {
	for t := Software; t <= Hardware; t++ {
		if s == t.String() {
			return t, nil
		}
	}
	return 0, fmt.Errorf("%q is not a tier: want hardware, virtual or software", s)
}

// MaxFeatures of one item: with all of them a response still has room for 64 items.
const MaxFeatures = 64

// Feature is one capability of an item. Each copy of the item is worth PerCopy counts of it.
type Feature struct {
	Name    string             `cbor:"1,keyasint,omitzero" json:"name"`
	Version capability.Version `cbor:"2,keyasint" json:"version"`
	PerCopy uint32             `cbor:"3,keyasint,omitzero" json:"perCopy"`
}

// Item is one line item of a customer's entitlement. What is left of it follows from the hosts.
type Item struct {
	ActivationID   capability.ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	Customer       string                  `cbor:"2,keyasint,omitzero" json:"customer"`
	EntitlementID  string                  `cbor:"3,keyasint,omitzero" json:"entitlementId"`
	Product        string                  `cbor:"4,keyasint,omitzero" json:"product"`
	ProductVersion capability.Version      `cbor:"5,keyasint" json:"productVersion"`
	Features       []Feature               `cbor:"6,keyasint,omitempty" json:"features"` // names differ
	Copies         uint32                  `cbor:"7,keyasint,omitzero" json:"copies"`
	Start          capability.Time         `cbor:"8,keyasint,omitzero" json:"start,omitempty"`
	Expiry         capability.Time         `cbor:"9,keyasint,omitzero" json:"expiry,omitempty"`
	MinimumTier    Tier                    `cbor:"10,keyasint,omitzero" json:"minimumTier,omitempty"`
	Issued         capability.Time         `cbor:"11,keyasint,omitzero" json:"issued"`
	Metered        bool                    `cbor:"12,keyasint,omitzero" json:"metered,omitempty"`      // counts are used up, not leased
	Reusable       bool                    `cbor:"13,keyasint,omitzero" json:"reusable,omitempty"`     // what was used of them can be given back
	UndoInterval   capability.Seconds      `cbor:"14,keyasint,omitzero" json:"undoInterval,omitempty"` // in which a device may take a report back
	Limits         []TierLimit             `cbor:"15,keyasint,omitempty" json:"limits,omitempty"`      // instead of the policy's, for the tiers that they name
	Model          string                  `cbor:"16,keyasint,omitzero" json:"model,omitempty"`        // license model; empty: the one that allows everything
	Life           Life                    `cbor:"17,keyasint,omitzero" json:"life,omitzero"`
	Marks          *Marks                  `cbor:"18,keyasint,omitempty" json:"marks,omitempty"`
	User           string                  `cbor:"30,keyasint,omitzero" json:"user,omitempty"`      // whose seats they are; empty: everybody's
	Replaces       capability.ActivationID `cbor:"31,keyasint,omitzero" json:"replaces,omitempty"`  // an ID that was taken back, and is inactive
	Mode           Mode                    `cbor:"35,keyasint,omitzero" json:"mode,omitempty"`      // how its seats are used
	Everybody      bool                    `cbor:"36,keyasint,omitzero" json:"everybody,omitempty"` // of the account is in its pool
	Groups         []string                `cbor:"37,keyasint,omitempty" json:"groups,omitempty"`   // in order, each once
}

// Marks are texts that a line item carries to the programs that use it.
type Marks struct {
	VendorString string `cbor:"1,keyasint,omitzero" json:"vendorString,omitempty"`
	Notice       string `cbor:"2,keyasint,omitzero" json:"notice,omitempty"`
	SerialNumber string `cbor:"3,keyasint,omitzero" json:"serialNumber,omitempty"`
}

func (i *Item) marks() Marks {
	if i.Marks == nil {
		return Marks{}
	}
	return *i.Marks
}

// has says whether the feature is one of the item's.
func (i *Item) has(feature string) bool {
	return slices.ContainsFunc(i.Features, func(f Feature) bool { return f.Name == feature })
}

// lineItem is what a host with so many copies stores of one feature.
func (i *Item) lineItem(f Feature, copies uint32) capability.LineItem {
	marks := i.marks()
	return capability.LineItem{
		VendorString: marks.VendorString, Notice: marks.Notice, SerialNumber: marks.SerialNumber,
		ActivationID: i.ActivationID, Feature: f.Name, Version: f.Version, Count: copies * f.PerCopy, Copies: copies, Start: i.Start, Expiry: i.Expiry,
		Product: i.Product, ProductVersion: i.ProductVersion, EntitlementID: i.EntitlementID, Issued: i.Issued,
		Metered: i.Metered, Reusable: i.Reusable, UndoInterval: i.UndoInterval, User: i.User,
	}
}

// Validate checks everything about an item that needs no book: limits, names, dates, and that all its copies together stay a count.
func (i *Item) Validate() error {
	for _, n := range []struct{ what, text string }{{"customer", i.Customer}, {"product", i.Product}, {"entitlement ID", i.EntitlementID}} {
		if n.text == "" || len(n.text) > capability.MaxName {
			return fmt.Errorf("%s of %d bytes where 1 to %d are allowed", n.what, len(n.text), capability.MaxName)
		}
	}
	if err := capability.CheckText(i.Customer); err != nil { // the other texts are judged with the features
		return fmt.Errorf("customer: %w", err)
	}
	if len(i.Features) == 0 || len(i.Features) > MaxFeatures {
		return fmt.Errorf("%d features where 1 to %d are allowed", len(i.Features), MaxFeatures)
	}
	if i.MinimumTier > Hardware {
		return fmt.Errorf("tier %d is not known", i.MinimumTier)
	}
	if !i.Metered && (i.Reusable || i.UndoInterval != 0) {
		return fmt.Errorf("reusable, or with an undo interval of %s, and not metered", i.UndoInterval)
	}
	if err := validateLimits(i.Limits, false); err != nil {
		return err
	}
	if err := validateGroups(i.Groups); err != nil {
		return err
	}
	if i.Mode > Offline {
		return fmt.Errorf("mode %d is not known", i.Mode)
	}
	for n, f := range i.Features {
		for _, other := range i.Features[:n] {
			if other.Name == f.Name {
				return fmt.Errorf("feature %q is there twice", f.Name)
			}
		}
		copies := max(1, uint64(i.Copies)+uint64(i.Life.Extra))
		if f.PerCopy == 0 || copies > capability.MaxCount || copies*uint64(f.PerCopy) > capability.MaxCount {
			return fmt.Errorf("feature %q: %d copies of %d counts where 1 to %d in all are allowed", f.Name, copies, f.PerCopy, capability.MaxCount)
		}
		if n > 0 { // what the features have in common was judged with the first one
			if err := capability.CheckName("feature", f.Name); err != nil {
				return fmt.Errorf("feature %q: %w", f.Name, err)
			}
			continue
		}
		line := i.lineItem(f, uint32(copies))
		if err := line.Validate(); err != nil {
			return fmt.Errorf("feature %q: %w", f.Name, err)
		}
	}
	return nil
}

// Policy is what the producer decides for all its customers.
type Policy struct {
	Producer     string                  `cbor:"1,keyasint,omitzero" json:"producer"` // its name, for people
	Lease        capability.Seconds      `cbor:"2,keyasint,omitzero" json:"lease"`
	Holders      capability.HolderPolicy `cbor:"3,keyasint,omitzero" json:"holders"`
	ResponseLife capability.Seconds      `cbor:"4,keyasint,omitzero" json:"responseLife"` // from a response's time to its apply-before
	MinimumTier  Tier                    `cbor:"5,keyasint,omitzero" json:"minimumTier"`
	Forks        ForkPolicy              `cbor:"6,keyasint,omitzero" json:"forks"`
	Repairs      RepairLimit             `cbor:"7,keyasint,omitzero" json:"repairs"` // of one machine in RepairSpan, before a second person must approve
	Limits       []TierLimit             `cbor:"8,keyasint,omitempty" json:"limits,omitempty"`
	Binding      hostid.Rule             `cbor:"9,keyasint,omitzero" json:"binding"` // what is asked of a machine beside its TPM
	Grace        capability.Seconds      `cbor:"10,keyasint,omitzero" json:"grace"`  // how long that may be missing: zero for the default, capability.NoGrace
	Dongle       hostid.ID               `cbor:"11,keyasint,omitzero" json:"dongle,omitzero"`
	WriteOffs    RepairLimit             `cbor:"20,keyasint,omitzero" json:"writeOffs"`              // of one line item in WriteOffSpan; zero, in older books, is DefaultWriteOffs
	ServiceSeats bool                    `cbor:"25,keyasint,omitzero" json:"serviceSeats,omitempty"` // service accounts may have seats of users
	WaitTakeover bool                    `cbor:"26,keyasint,omitzero" json:"waitTakeover,omitempty"` // nobody takes over a session of their own on another machine: it has to end

	ClientType HostType   `cbor:"12,keyasint,omitzero" json:"clientType,omitempty"` // of a client that is put on record by hand, where nobody says another
	ServerType HostType   `cbor:"13,keyasint,omitzero" json:"serverType,omitempty"` // the same of a server
	Excluded   []HostType `cbor:"14,keyasint,omitempty" json:"excluded,omitempty"`  // a machine whose host ID is of such a type is given nothing

	Detail bool `cbor:"35,keyasint,omitzero" json:"detail,omitempty"` // records of usage name users, where the site allows it too
	States bool `cbor:"36,keyasint,omitzero" json:"states,omitempty"` // requests say how the day stands, and records are of whole days; else each request ends a record

	Online OnlinePolicy `cbor:"40,keyasint,omitzero" json:"online"` // whose requests are answered over the network
}

// The lifetimes a response file may have. A stick travels for days; a file of last year should not start a machine.
const (
	MinResponseLife     capability.Seconds = 60 * 60
	DefaultResponseLife capability.Seconds = 30 * 24 * 60 * 60
	MaxResponseLife     capability.Seconds = 366 * 24 * 60 * 60
)

// DefaultPolicy is the careful one: 15 minutes of lease, hardware only and all of it, holders shown as counts, forks refused.
func DefaultPolicy(producer string) Policy {
	return Policy{Producer: producer, Lease: capability.DefaultLease, ResponseLife: DefaultResponseLife, MinimumTier: Hardware, Repairs: DefaultRepairs}
}

// Validate checks the bounds of a policy.
func (p *Policy) Validate() error {
	if err := capability.CheckName("producer", p.Producer); err != nil { // it is in each right, and what a machine does not take there it takes nowhere
		return fmt.Errorf("producer: %w", err)
	}
	switch {
	case p.Lease < capability.MinLease || p.Lease > capability.MaxLease:
		return fmt.Errorf("lease interval %s where %s to %s are allowed", p.Lease, capability.MinLease, capability.MaxLease)
	case p.Holders > capability.HoldersNames:
		return fmt.Errorf("holders policy %d is not known", p.Holders)
	case p.ResponseLife < MinResponseLife || p.ResponseLife > MaxResponseLife:
		return fmt.Errorf("response lifetime %s where %s to %s are allowed", p.ResponseLife, MinResponseLife, MaxResponseLife)
	case p.MinimumTier < Software || p.MinimumTier > Hardware:
		return fmt.Errorf("tier %d is not known", p.MinimumTier)
	case p.Online > AnyoneOnline:
		return fmt.Errorf("policy %d for requests over the network is not known", p.Online)
	case p.Forks > WarnForks:
		return fmt.Errorf("policy %d for forks is not known", p.Forks)
	case p.Repairs < NoRepairs || p.Repairs > MaxRepairs:
		return fmt.Errorf("%d repairs a year where 0 to %d are allowed", p.Repairs, MaxRepairs)
	case p.WriteOffs < NoRepairs || p.WriteOffs > MaxRepairs:
		return fmt.Errorf("%d write-offs a year where 0 to %d are allowed", p.WriteOffs, MaxRepairs)
	case !p.Binding.Known():
		return fmt.Errorf("binding %d is not known", p.Binding)
	case p.Grace < capability.NoGrace || p.Grace > capability.MaxGrace:
		return fmt.Errorf("grace %s where at most %s is allowed", p.Grace, capability.MaxGrace)
	case p.Dongle != hostid.ID{} && !p.Binding.AsksDongle():
		return fmt.Errorf("a dongle %s that the binding %s does not ask for", p.Dongle, p.Binding)
	}
	if err := p.checkTypes(); err != nil {
		return err
	}
	if p.Dongle != (hostid.ID{}) {
		if err := p.Dongle.Validate(); err != nil {
			return fmt.Errorf("dongle: %w", err)
		}
		if !p.Dongle.Type.Dongle() {
			return fmt.Errorf("%s is no dongle", p.Dongle)
		}
	}
	return validateLimits(p.Limits, true)
}

// Identity is what a request's evidence proved, as plain values. That AK and EK share a TPM it does not prove: see Host.Proven.
type Identity struct {
	Host   hostid.ID `cbor:"1,keyasint,omitzero" json:"host"`
	AKName []byte    `cbor:"2,keyasint,omitempty" json:"akName"`
	AK     []byte    `cbor:"3,keyasint,omitempty" json:"ak"` // TPMT_PUBLIC
	EK     []byte    `cbor:"4,keyasint,omitempty" json:"ek"` // TPMT_PUBLIC
	Tier   Tier      `cbor:"5,keyasint,omitzero" json:"tier"`
}

// Host is one machine as the book knows it.
type Host struct {
	Identity
	Alias string `json:"alias,omitempty"` // as its last request named itself
	// Account is that of the first activation ID it was given; empty: none was, or before accounts were on record.
	Account string `json:"account,omitempty"`
	// Proven: a request named the head inside a response that only a TPM with both keys could open. Until then the AK is claimed.
	Proven   bool          `json:"proven"`
	Epoch    uint64        `json:"epoch"`    // of the last request answered
	Answered uint64        `json:"answered"` // its number
	Serial   uint64        `json:"serial"`   // of the last response
	Holds    []Fulfillment `json:"holds"`    // by activation ID, none of zero copies
	Requests []Known       `json:"requests"` // of the running life, by number
	// Life is that of the machine's trusted storage, Past are those that repairs ended, in order.
	Life    capability.LifeID `json:"life"`
	Past    []PastLife        `json:"past,omitempty"`
	Returns []ReturnSeen      `json:"returns"` // in the order they were first seen
	// Metered is what the machine has used of its metered items, by feature and activation ID: the most it ever said, of what is reusable what it said last.
	Metered []capability.Meter `json:"metered,omitempty"`
	// Moved is set once its rights went to another machine; nil, they did not.
	Moved *Moved `json:"moved,omitempty"`
	// Incidents are the requests that were refused as a whole, or answered under a warning, at most MaxIncidents, each once.
	Incidents []Incident `json:"incidents"`
	// Out are copies that it holds and that its responses leave out, by activation ID. Off is what was written off of it, in order.
	Out []LeftOut    `json:"out,omitempty"`
	Off []WrittenOff `json:"writtenOff,omitempty"`
	// Appearances are what it showed of itself, each where that changed, at most MaxAppearances.
	Appearances []Appearance `json:"appearances"`

	at int // its place in the book
}

// Fulfillment is a number of copies of an item given to a host.
type Fulfillment struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	Copies       uint32                  `cbor:"2,keyasint,omitzero" json:"copies"`
}

// Known is a request that a host wrote. Those with a serial were answered; the others are known because a later one named them.
type Known struct {
	Number uint64            `cbor:"1,keyasint,omitzero" json:"number"`
	Digest capability.Digest `cbor:"2,keyasint,omitzero" json:"digest"`
	Serial uint64            `cbor:"3,keyasint,omitzero" json:"serial,omitempty"`
	Head   capability.Digest `cbor:"4,keyasint,omitzero" json:"head,omitzero"` // of the book, as the response named it
	File   capability.Digest `cbor:"5,keyasint,omitzero" json:"file,omitzero"` // of the response file
	Time   capability.Time   `cbor:"6,keyasint,omitzero" json:"time,omitempty"`
	Audit  capability.Head   `cbor:"7,keyasint,omitzero" json:"audit,omitzero"` // end of the machine's audit trail, if it named one: entries and hash of the last
	Fork   bool              `cbor:"8,keyasint,omitzero" json:"fork,omitempty"` // it contradicted the record, and was answered because the policy only warns

	Claimed uint64 `cbor:"9,keyasint,omitzero" json:"claimed,omitempty"` // serial it had applied, of a response that is none of this book's: the answer goes above that

	Refused string `cbor:"10,keyasint,omitzero" json:"refused,omitempty"` // why an operator refused it; empty: it was answered on its merits
}

// ReturnSeen is a return that a request brought. Floor is the last epoch seen before it first came, which its own must exceed,
// also when it is proven only later.
type ReturnSeen struct {
	ID           capability.ReturnID     `cbor:"1,keyasint,omitzero" json:"id"`
	ActivationID capability.ActivationID `cbor:"2,keyasint,omitzero" json:"activationId"`
	Copies       uint32                  `cbor:"3,keyasint,omitzero" json:"copies"`
	Epoch        uint64                  `cbor:"4,keyasint,omitzero" json:"epoch"`
	Floor        uint64                  `cbor:"5,keyasint,omitzero" json:"floor"`
	Credited     bool                    `cbor:"6,keyasint,omitzero" json:"credited"`
	Refused      capability.Code         `cbor:"7,keyasint,omitzero" json:"refused,omitempty"`    // why not credited
	Gone         bool                    `cbor:"8,keyasint,omitzero" json:"gone,omitempty"`       // credited to the machine, and not to the item: its model says so
	WrittenOff   bool                    `cbor:"9,keyasint,omitzero" json:"writtenOff,omitempty"` // its copies had been credited before, without it
	Final        bool                    `cbor:"10,keyasint,omitzero" json:"final,omitempty"`     // refused, and its machine was told so for good: it is never credited
	Asked        bool                    `cbor:"11,keyasint,omitzero" json:"asked,omitempty"`     // the producer asked for it, and no limit counts it
}

// MaxIncidents kept of one host: what comes after is refused all the same. Requests that wait for a repair fill at most half of them, so that they hide no fork.
const (
	MaxIncidents       = 64
	maxRepairIncidents = MaxIncidents / 2
)

// Incident is a request that was refused as a whole, or answered under a warning, and what it disagreed with.
type Incident struct {
	Host   hostid.ID         `cbor:"1,keyasint,omitzero" json:"host"`
	Code   capability.Code   `cbor:"2,keyasint,omitzero" json:"code"`
	Number uint64            `cbor:"3,keyasint,omitzero" json:"number"`
	Digest capability.Digest `cbor:"4,keyasint,omitzero" json:"digest"`
	Detail string            `cbor:"5,keyasint,omitzero" json:"detail"`
	Time   capability.Time   `cbor:"6,keyasint,omitzero" json:"time"`
	// Against is the answered request whose signed file says otherwise; zero where the record itself does.
	Against capability.Digest `cbor:"7,keyasint,omitzero" json:"against,omitzero"`
	Warned  bool              `cbor:"8,keyasint,omitzero" json:"warned,omitempty"` // answered all the same, because the policy only warns
}

// State of an item, in words of the book.
type State string

const (
	Available  State = "available"
	PartlyUsed State = "partly used"
	FullyUsed  State = "fully used"
	Expired    State = "expired"
	InGrace    State = "in grace" // expired, and rights go on for the days that the model adds
	Draft      State = "draft"
	Suspended  State = "suspended"
	Retiring   State = "retiring"
	Merged     State = "merged" // into another one; what machines have of it lives on
	Inactive   State = "inactive"
	Obsolete   State = "obsolete"
)
