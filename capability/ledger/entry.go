package ledger

import (
	"crypto/sha256"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// MaxEntry bounds an encoded entry in bytes: the largest holds a whole response file, or a model, and a division, which is no longer than either.
const MaxEntry = 2 * capability.MaxFile

// Entry is a fact of the ledger. The entries are the audit log. Exactly one of the pointers is set.
//
// Numbers are on disk for years: a field is never reordered, a number never used for something else, and what an entry of an old journal means never changes.
type Entry struct {
	Position uint64            `cbor:"1,keyasint,omitzero"` // from 1, without gaps
	Previous capability.Digest `cbor:"2,keyasint,omitzero"` // SHA-256 of the entry before
	Now      Now               `cbor:"3,keyasint"`

	// What a fact means for the slices of items: a new division, counts that move between them, leases that leave the overdraft.
	Division  *Division  `cbor:"4,keyasint,omitzero"`
	Transfers []Transfer `cbor:"5,keyasint,omitempty"`
	Booked    []Booking  `cbor:"6,keyasint,omitempty"`

	Judged *Judged `cbor:"7,keyasint,omitzero"` // what the machine is to its binding from now on, where that changes

	Clock *Clock `cbor:"9,keyasint,omitzero"` // what is held of the system clock from now on, where that changes

	Started     *Started     `cbor:"10,keyasint,omitzero"`
	Advanced    *Advanced    `cbor:"11,keyasint,omitzero"`
	Provisioned *Provisioned `cbor:"12,keyasint,omitzero"`
	Served      *Served      `cbor:"13,keyasint,omitzero"`
	Returned    *Returned    `cbor:"14,keyasint,omitzero"`
	Proved      *Proved      `cbor:"15,keyasint,omitzero"`
	Requested   *Requested   `cbor:"16,keyasint,omitzero"`
	Dropped     *Dropped     `cbor:"17,keyasint,omitzero"`
	Modeled     *Modeled     `cbor:"18,keyasint,omitzero"`
	Reserved    *Reserved    `cbor:"19,keyasint,omitzero"`
	Configured  *Configured  `cbor:"20,keyasint,omitzero"`
	Drained     *Drained     `cbor:"21,keyasint,omitzero"`
	Watched     *Watched     `cbor:"30,keyasint,omitzero"`
	Stated      *Stated      `cbor:"31,keyasint,omitzero"`
	Recovery    *Recovery    `cbor:"32,keyasint,omitzero"`
	Recognized  *Recognized  `cbor:"33,keyasint,omitzero"`
	Planned     *Planned     `cbor:"34,keyasint,omitzero"`
	Counted     *Counted     `cbor:"40,keyasint,omitzero"`
	Admitted    *Admitted    `cbor:"50,keyasint,omitzero"`
	SignedIn    *SignedIn    `cbor:"51,keyasint,omitzero"`
	Certified   *Certified   `cbor:"52,keyasint,omitzero"`
	Registered  *Registered  `cbor:"53,keyasint,omitzero"`
}

// Started: a run of the appliance began.
type Started struct {
	BootID string             `cbor:"1,keyasint,omitzero"`
	Hold   capability.Seconds `cbor:"2,keyasint,omitzero"` // end of the hold on the lease clock; zero: none runs
	Cause  string             `cbor:"3,keyasint,omitzero"`
	Slept  capability.Seconds `cbor:"4,keyasint,omitzero"` // at least so long after the entry before, by the TPM's clock
	TPM    TPMClock           `cbor:"5,keyasint,omitzero"`
	At     capability.Seconds `cbor:"6,keyasint,omitzero"`  // on the lease clock, when the TPM showed that
	Life   capability.LifeID  `cbor:"10,keyasint,omitzero"` // of the first run only
	Lost   capability.Code    `cbor:"11,keyasint,omitzero"` // what became of the storage before this one
	Counts bool               `cbor:"12,keyasint,omitzero"` // usage is counted from now on
}

// Advanced: time went on, and what was due ended.
type Advanced struct{}

// Provisioned: a response is in force. Its items are those the appliance has from now on: returns that the response neither acknowledged nor refused for good are taken off.
type Provisioned struct {
	Response capability.Response `cbor:"1,keyasint,omitzero"`
	Digest   capability.Digest   `cbor:"2,keyasint,omitzero"`
	Hold     capability.Seconds  `cbor:"3,keyasint,omitzero"` // end of the hold that begins with it: leases that the lost storage gave may still run

	Revoked []capability.Digest `cbor:"4,keyasint,omitempty"` // signing keys that count no more from now on, beside those of before
}

// Served: a device holds exactly these leases from now on.
type Served struct {
	Answer  capability.Response `cbor:"1,keyasint,omitzero"` // names the device, its key, serial and correlation
	Body    capability.Digest   `cbor:"2,keyasint,omitzero"` // SHA-256 of the encoded request
	Leases  []Lease             `cbor:"3,keyasint,omitempty"`
	Receipt uint64              `cbor:"4,keyasint,omitzero"` // serial of the receipt that renewed in a hold
	Who     Who                 `cbor:"5,keyasint,omitzero"`
	Idle    capability.Seconds  `cbor:"6,keyasint,omitzero"` // how long nobody used it, as the device says
	Waits   []Wait              `cbor:"7,keyasint,omitempty"`

	Reported *Reported                `cbor:"8,keyasint,omitzero"` // what a report added, for an undo
	Undone   capability.CorrelationID `cbor:"9,keyasint,omitzero"` // of the report that was canceled

	Spent   capability.Seconds `cbor:"10,keyasint,omitzero"`  // of the ration of moves, on the lease clock, after the one that this needed; zero: it needed none
	Claimed []Booking          `cbor:"12,keyasint,omitempty"` // of what was used before the repair, the device's by its receipt

	Until capability.Seconds `cbor:"11,keyasint,omitzero"` // the answer is remembered until then on the lease clock, or as long as it is the last

	Number uint64 `cbor:"13,keyasint,omitzero"` // that the device has come to, if it is another than before: no file of it with this number or a lower one is decided any more
}

// Who is what a device says about itself, for people.
type Who struct {
	User       string `cbor:"1,keyasint,omitzero"`
	Alias      string `cbor:"2,keyasint,omitzero"`
	DeviceType string `cbor:"3,keyasint,omitzero"`
}

// Lease is one lease of a device: sorted by item, source and end, no two alike.
type Lease struct {
	Item    capability.ItemID  `cbor:"1,keyasint"`
	Count   uint32             `cbor:"2,keyasint,omitzero"`
	End     capability.Seconds `cbor:"3,keyasint,omitzero"` // on the lease clock
	Dropped bool               `cbor:"4,keyasint,omitzero"`
	Told    capability.Time    `cbor:"5,keyasint,omitzero"` // the end as the device heard it
	Source  Source             `cbor:"6,keyasint,omitzero"`
	Lead    capability.Seconds `cbor:"7,keyasint,omitzero"` // how much sooner than End it ends for a device that has heard the answer
}

// Returned: copies left service for good.
type Returned struct {
	Return capability.Return `cbor:"1,keyasint,omitzero"` // without proof
	By     string            `cbor:"2,keyasint,omitzero"`
}

// Proved: the TPM proved a return.
type Proved struct {
	ID    capability.ReturnID `cbor:"1,keyasint,omitzero"`
	Proof []byte              `cbor:"2,keyasint,omitempty"`
}

// Requested: a request file with this number and digest may exist.
type Requested struct {
	Written Written `cbor:"1,keyasint,omitzero"`
	By      string  `cbor:"2,keyasint,omitzero"`
	Epoch   uint64  `cbor:"10,keyasint,omitzero"`

	Shown []hostid.Shown `cbor:"11,keyasint,omitempty"` // what it says of the machine, where the one before said something else
}

// Written is a request file.
type Written struct {
	Number uint64            `cbor:"1,keyasint,omitzero"`
	Digest capability.Digest `cbor:"2,keyasint,omitzero"`
}

// Dropped: a device may not renew this feature until its leases of it have ended.
type Dropped struct {
	Device  hostid.ID `cbor:"1,keyasint,omitzero"`
	Feature string    `cbor:"2,keyasint,omitzero"`
	By      string    `cbor:"3,keyasint,omitzero"`
}

// Modeled: this model is in force. Without a text there is none any more.
type Modeled struct {
	Text []byte `cbor:"1,keyasint,omitempty"`
	By   string `cbor:"2,keyasint,omitzero"`
}

// DecodeEntry reads what Encode wrote and nothing else. The error is ErrCorrupt.
func DecodeEntry(c *wire.Codec, b []byte) (Entry, error) {
	var e Entry
	if readByHand(b, MaxEntry, &e, (*Entry).read) {
		return e, nil
	}
	return decodeByLibrary(c, b)
}

func decodeByLibrary(c *wire.Codec, b []byte) (Entry, error) {
	var e Entry
	if err := c.Decode(b, &e, MaxEntry); err != nil {
		return Entry{}, corrupt("decode an entry of %d bytes: %w", len(b), err)
	}
	n := 0
	for _, set := range []bool{e.Started != nil, e.Advanced != nil, e.Provisioned != nil, e.Served != nil, e.Returned != nil, e.Proved != nil, e.Requested != nil, e.Dropped != nil, e.Modeled != nil, e.Reserved != nil, e.Configured != nil, e.Watched != nil, e.Stated != nil, e.Drained != nil, e.Recovery != nil, e.Recognized != nil, e.Planned != nil, e.Counted != nil, e.Admitted != nil, e.SignedIn != nil, e.Certified != nil, e.Registered != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		return Entry{}, corrupt("entry %d states %d facts where there is one", e.Position, n)
	}
	if e.Served != nil && !wire.ForKey(&e.Served.Answer) {
		return Entry{}, corrupt("entry %d says twice for whom its answer is", e.Position)
	}
	return e, nil
}

func digest(b []byte) capability.Digest { return sha256.Sum256(b) }

// Endless says that the lease is of something metered: it is used up, and not held until an end.
func (s Lease) Endless() bool { return s.End == forever }
