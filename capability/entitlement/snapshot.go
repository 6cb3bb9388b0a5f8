package entitlement

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/leasehold/leasehold/capability"
)

// A snapshot is a sequence of records, each with its length in 4 bytes before it: first the head, then items, boot states, then each host followed by what belongs
// to it. Small records keep every length inside the decoder's bounds, however large the book. Each section has its place in ranks.
type section struct {
	Head     *headRecord       `cbor:"1,keyasint,omitempty"`
	Item     *Item             `cbor:"2,keyasint,omitempty"`
	Host     *hostRecord       `cbor:"3,keyasint,omitempty"`
	Hold     *Fulfillment      `cbor:"4,keyasint,omitempty"` // of the host before, as the next three
	Request  *Known            `cbor:"5,keyasint,omitempty"`
	Return   *ReturnSeen       `cbor:"6,keyasint,omitempty"`
	Incident *Incident         `cbor:"7,keyasint,omitempty"`
	Past     *PastLife         `cbor:"8,keyasint,omitempty"`
	Before   *Known            `cbor:"9,keyasint,omitempty"` // a request of the past life before
	Boot     *BootState        `cbor:"10,keyasint,omitempty"`
	Meter    *capability.Meter `cbor:"11,keyasint,omitempty"` // of the host before, as the next
	Shown    *Appearance       `cbor:"12,keyasint,omitempty"`

	User    *User         `cbor:"40,keyasint,omitempty"`
	Seat    *Seat         `cbor:"41,keyasint,omitempty"` // after all hosts, as the next two
	Member  *memberRecord `cbor:"42,keyasint,omitempty"`
	Session *Session      `cbor:"43,keyasint,omitempty"`
	Account *Account      `cbor:"20,keyasint,omitempty"`
	Product *Product      `cbor:"21,keyasint,omitempty"`
	Model   *LicenseModel `cbor:"22,keyasint,omitempty"`
	Acts    *actsRecord   `cbor:"23,keyasint,omitempty"` // of an item before
	Device  *Device       `cbor:"30,keyasint,omitempty"`
	Mapped  *Mapping      `cbor:"31,keyasint,omitempty"` // of the device before
	Out     *LeftOut      `cbor:"32,keyasint,omitempty"` // of the host before, as the next
	Off     *WrittenOff   `cbor:"33,keyasint,omitempty"`
	Order   *Order        `cbor:"34,keyasint,omitempty"`
	Signer  *Signer       `cbor:"50,keyasint,omitempty"`
	Signed  *Count        `cbor:"51,keyasint,omitempty"`
	Limited *Limited      `cbor:"52,keyasint,omitempty"`
	Synced  *Synced       `cbor:"55,keyasint,omitempty"` // of the host before, as the next
	Used    *Used         `cbor:"56,keyasint,omitempty"`

	State *capability.Usage `cbor:"57,keyasint,omitempty"`

	Done  *Done  `cbor:"60,keyasint,omitempty"`
	Login *Login `cbor:"65,keyasint,omitempty"`

	Proposal *Proposal `cbor:"66,keyasint,omitempty"`
	Question *Question `cbor:"70,keyasint,omitempty"`
}

type headRecord struct {
	Policy Policy            `cbor:"1,keyasint,omitzero"`
	Head   capability.Digest `cbor:"2,keyasint,omitzero"`
	Length uint64            `cbor:"3,keyasint,omitzero"`
	Last   capability.Time   `cbor:"4,keyasint,omitzero"`
}

type hostRecord struct {
	Identity Identity `cbor:"1,keyasint,omitzero"`
	Alias    string   `cbor:"2,keyasint,omitzero"`
	Proven   bool     `cbor:"3,keyasint,omitzero"`
	Epoch    uint64   `cbor:"4,keyasint,omitzero"`
	Answered uint64   `cbor:"5,keyasint,omitzero"`
	Serial   uint64   `cbor:"6,keyasint,omitzero"`

	Life  capability.LifeID `cbor:"7,keyasint,omitzero"`
	Moved *Moved            `cbor:"8,keyasint,omitempty"`

	Account string `cbor:"9,keyasint,omitzero"`
}

// maxRecord: the largest record is an item with all its features, 64 of 150 bytes, and as many limits.
const maxRecord = 32 << 10

// Snapshot is the whole state in its one encoding. It holds no history: that is what entries are for.
func (b *Book) Snapshot() []byte {
	var out []byte
	b.sections(func(s section) {
		record := b.codec.Encode(s)
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(record))), record...)
	})
	return out
}

// sections gives the whole state out, record by record.
func (b *Book) sections(put func(section)) {
	put(section{Head: &headRecord{b.policy, b.head, b.length, b.last}})
	b.catalog.sections(put)
	for _, i := range b.items {
		put(section{Item: &i.Item})
		if acts := i.acts(); len(acts) > 0 {
			put(section{Acts: &actsRecord{i.ActivationID, acts}})
		}
	}
	for _, s := range b.boots {
		put(section{Boot: s})
	}
	b.signerSections(put)
	for _, u := range b.users {
		put(section{User: u})
	}
	for _, l := range b.logins {
		put(section{Login: l})
	}
	for _, p := range b.proposals {
		put(section{Proposal: p})
	}
	for _, q := range b.questions {
		put(section{Question: q})
	}
	for _, d := range b.keys {
		put(section{Done: d})
	}
	for _, h := range b.hosts {
		put(section{Host: &hostRecord{h.Identity, h.Alias, h.Proven, h.Epoch, h.Answered, h.Serial, h.Life, h.Moved, h.Account}})
		for _, f := range h.Holds {
			put(section{Hold: &f})
		}
		for _, m := range h.Metered {
			put(section{Meter: &m})
		}
		for _, k := range h.Requests {
			put(section{Request: &k})
		}
		for _, s := range h.Returns {
			put(section{Return: &s})
		}
		for _, i := range h.Incidents {
			put(section{Incident: &i})
		}
		for _, a := range h.Appearances {
			put(section{Shown: &a})
		}
		for _, o := range h.Out {
			put(section{Out: &o})
		}
		for _, w := range h.Off {
			put(section{Off: &w})
		}
		b.usageSections(h.Host, put)
		for _, p := range h.Past {
			put(section{Past: &p})
			for _, k := range p.Requests {
				put(section{Before: &k})
			}
		}
	}
	for _, d := range b.devices {
		put(section{Device: &d.Device})
		for _, f := range d.mapped {
			put(section{Mapped: &Mapping{Device: d.ID, ActivationID: f.ActivationID, Copies: f.Copies}})
		}
	}
	for _, o := range b.orders {
		put(section{Order: o})
	}
	b.seatSections(put)
}

// Digest names the state: two books with the same digest answer alike.
func (b *Book) Digest() capability.Digest { return sha256.Sum256(b.Snapshot()) }

// DigestInPieces is Digest, and calls pause after each record of the snapshot. An error of pause ends it; where the book changed meanwhile, pause has to give one.
func (b *Book) DigestInPieces(pause func() error) (d capability.Digest, err error) {
	h := sha256.New()
	b.sections(func(s section) {
		if err != nil {
			return
		}
		record := b.codec.Encode(s)
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(record))))
		h.Write(record)
		err = pause()
	})
	h.Sum(d[:0])
	return d, err
}
