package console

import (
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/hostid"
)

// Model answers GET model and DELETE model.
type Model struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// ModelCheck answers POST model/check and PUT model, whose body is the text: what an upload says, gives to each pool, and moves.
type ModelCheck struct {
	Refused  bool            `json:"refused"` // an upload is refused for the text itself
	Findings []model.Finding `json:"findings"`
	Pools    []PoolShare     `json:"pools"`
	Moves    []Move          `json:"moves"`
	After    []Pool          `json:"after"`             // what the pools hold right after the upload: less than they get while leases are in the way
	Problem  *Problem        `json:"problem,omitempty"` // an upload is refused for another reason
}

// PoolShare is what one allocation of a pool gets.
type PoolShare struct {
	Pool    string             `json:"pool"`
	Feature string             `json:"feature"`
	Version capability.Version `json:"version"`
	Amount  string             `json:"amount"` // as in the text
	Want    uint64             `json:"want"`
	Got     uint64             `json:"got"`
	Short   uint64             `json:"short"`
}

// Move is a lease that an upload books on another pool.
type Move struct {
	Device       string                  `json:"device"`
	Feature      string                  `json:"feature"`
	ActivationID capability.ActivationID `json:"activationId"`
	Count        uint32                  `json:"count"`
	From         string                  `json:"from"`
	To           string                  `json:"to"`
}

// Pool is one row of GET pools: the part of a line item that a pool holds.
type Pool struct {
	Pool         string                  `json:"pool"` // default, overdraft, the name of a pool, or reservation and its ID
	Feature      string                  `json:"feature"`
	Version      capability.Version      `json:"version"`
	ActivationID capability.ActivationID `json:"activationId"`
	Count        uint64                  `json:"count"`
	Computed     uint64                  `json:"computed"` // what the pool is due; more than Count while leases are in the way
	Used         uint64                  `json:"used"`
	Uncounted    bool                    `json:"uncounted,omitempty"`
	Expiry       capability.Time         `json:"expiry,omitempty"`
	Status       string                  `json:"status"` // valid, short, expired, withdrawn
}

// Host is a host ID, or a user as one of type USER, with its type by name.
type Host struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// HostOf is a host ID for people.
func HostOf(id hostid.ID) Host { return Host{id.Type.String(), id.Value} }

// ID is the host ID. The error is that its type has no such name.
func (h Host) ID() (hostid.ID, error) {
	t, err := hostid.ParseType(h.Type)
	return hostid.ID{Type: t, Value: h.Value}, err
}

func (h Host) String() string { return h.Value + "/" + h.Type }

// Reserved is one reservation entry with the two levels above it: a row of GET reservations, and the body of POST reservations. PUT reservations takes
// a list of them, as an import. Who sends one leaves out the IDs and what it has.
type Reserved struct {
	ID          uint64             `json:"id,omitempty"`
	Reservation uint64             `json:"reservation,omitempty"` // ID of all that the host has in the group
	GroupID     uint64             `json:"groupId,omitempty"`
	Group       string             `json:"group"`
	Host        Host               `json:"hostId"`
	Feature     string             `json:"feature"`
	Version     capability.Version `json:"version"`
	Count       uint32             `json:"count"`
	Status      string             `json:"status,omitempty"` // satisfied, pending, unsatisfied
	Has         uint64             `json:"has,omitempty"`
	Used        uint64             `json:"used,omitempty"`
}

// ReservedEdit is the body of POST reservations/edit: what shall be different of an entry, of all that a host has in a group, or of a group. The name of
// its group is of each of the three; a host ID is of an entry or a reservation; the rest is of an entry.
type ReservedEdit struct {
	ID      uint64              `json:"id"`
	Group   *string             `json:"group,omitempty"`
	Host    *Host               `json:"hostId,omitempty"`
	Feature *string             `json:"feature,omitempty"`
	Version *capability.Version `json:"version,omitempty"`
	Count   *uint32             `json:"count,omitempty"`
}

// Setting is one row of GET policies, and answers POST policies.
type Setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Owner   string `json:"owner"` // producer, administrator, producer and administrator
	Changed bool   `json:"changed"`
	KnownAs string `json:"knownAs,omitempty"` // on other servers
	Note    string `json:"note,omitempty"`    // why the value is not what its owner set
}

// SettingForm is the body of POST policies. An empty value lets go of what was set.
type SettingForm struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Seats answers GET seats; ?feature=NAME and ?idle=SECONDS narrow it.
type Seats struct {
	Held    []Seat    `json:"held"` // the longest idle first
	Waiting []Waiting `json:"waiting"`
}

// Seat is a served count and how long nobody has used it.
type Seat struct {
	Host    string             `json:"host"`
	Alias   string             `json:"alias,omitempty"`
	User    string             `json:"user,omitempty"`
	Feature string             `json:"feature"`
	Version capability.Version `json:"version"`
	Count   uint32             `json:"count"`
	Pool    string             `json:"pool"`
	Idle    capability.Seconds `json:"idle"`
	Expiry  capability.Time    `json:"expiry"`
	Dropped bool               `json:"dropped,omitempty"` // by an administrator: not renewed
	Unheard bool               `json:"unheard,omitempty"` // not renewed, and the device may not know it yet
}

// Waiting is a place in the queue of a feature.
type Waiting struct {
	Feature  string `json:"feature"`
	Position int    `json:"position"`
	Host     string `json:"host"`
	Name     string `json:"name"`
	Count    uint32 `json:"count"`
}

// Disconnect is the body of POST seats/disconnect: what nobody has used for so long is not renewed.
type Disconnect struct {
	After   capability.Seconds `json:"after"`
	Feature string             `json:"feature,omitempty"`
}

// Disconnected answers it. There may be More than one answer names; the same again takes the next.
type Disconnected struct {
	Dropped []Dropped `json:"dropped"`
	More    bool      `json:"more,omitempty"`
}

// Dropped is a feature that a device is not renewed.
type Dropped struct {
	Host    string `json:"host"`
	Feature string `json:"feature"`
}
