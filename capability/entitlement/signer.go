package entitlement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// The book knows which certificates the back office was given, so that nobody puts an older one back that has wider limits or knows less of revoked keys; and how
// much was signed lately, so that the limits of the signing key can be kept. It judges neither: who signs does.

// MaxSigners is how many certificates a book takes. One a week lasts for twenty years.
const MaxSigners = 1024

// Signer is a certificate of the root for a signing key, as the book keeps it.
type Signer struct {
	Key     capability.Digest `cbor:"1,keyasint,omitzero" json:"key"` // fingerprint
	Name    string            `cbor:"2,keyasint,omitzero" json:"name"`
	From    capability.Time   `cbor:"3,keyasint,omitzero" json:"from"`
	Until   capability.Time   `cbor:"4,keyasint,omitzero" json:"until,omitempty"`
	Number  uint64            `cbor:"5,keyasint,omitzero" json:"number"`
	Limits  capability.Digest `cbor:"6,keyasint,omitzero" json:"limits,omitzero"`
	Revoked []wire.RevokedKey `cbor:"7,keyasint,omitempty" json:"revoked,omitempty"`
}

// TakeSigner puts a certificate on record that was verified. Its number is above those of all before.
type TakeSigner struct {
	Signer Signer
	By     string
}

func (c TakeSigner) decide(b *Book, now capability.Time) (*Decision, error) {
	s := c.Signer
	if err := b.signable(&s); err != nil {
		return nil, capability.Refuse(capability.ErrKeyRequest, s.Name, "%v", err)
	}
	e := b.entry(now, c.By)
	e.Signer = &s
	return &Decision{Entries: []*Entry{e}}, nil
}

// signable asserts what TakeSigner promises.
func (b *Book) signable(s *Signer) error {
	if err := capability.CheckName("name", s.Name); err != nil {
		return err
	}
	switch n := len(b.signers); {
	case s.Key == capability.Digest{} || s.From < 0 || s.Until != 0 && s.Until < s.From || len(s.Revoked) > wire.MaxRevokedKeys:
		return fmt.Errorf("certificate %d is of no key, or good from %s to %s, or revokes %d keys", s.Number, s.From, s.Until, len(s.Revoked))
	case n > 0 && s.Number <= b.signers[n-1].Number:
		return fmt.Errorf("it is certificate %d, and %d is on record", s.Number, b.signers[n-1].Number)
	case n >= MaxSigners:
		return fmt.Errorf("%d certificates are on record, which are all that a book takes", n)
	}
	return nil
}

// Signers are the certificates on record, by number.
func (b *Book) Signers() []Signer {
	list := slices.Clone(b.signers)
	for n := range list {
		list[n].Revoked = slices.Clone(list[n].Revoked)
	}
	return list
}

// Replaced says which certificate took the place of one of that number for this key, or is empty.
func (b *Book) Replaced(key capability.Digest, number uint64) string {
	for _, s := range b.signers {
		if s.Key == key && s.Number > number {
			return fmt.Sprintf("its certificate is number %d, and %d is on record: an older signing.key was put back", number, s.Number)
		}
	}
	return ""
}

// Limited: a response was not signed, because it went beyond a limit of the signing key.
type Limited struct {
	Host   hostid.ID       `cbor:"1,keyasint,omitzero" json:"host"`
	Detail string          `cbor:"2,keyasint,omitzero" json:"detail"`
	Time   capability.Time `cbor:"3,keyasint,omitzero" json:"time"`
}

// NoteLimited puts on record that a limit kept a response from being signed. The same host in the same hour is noted once, or requests would fill the book.
type NoteLimited struct {
	Host   hostid.ID
	Detail string
	By     string
}

func (c NoteLimited) decide(b *Book, now capability.Time) (*Decision, error) {
	if l := b.limited; l != nil && l.Host == c.Host && clockHour(l.Time) == clockHour(now) {
		return &Decision{}, nil
	}
	if err := c.Host.Validate(); err != nil {
		return nil, fmt.Errorf("a limit was met by no machine: %w", err)
	}
	e := b.entry(now, c.By)
	e.Limited = &Limited{c.Host, strings.ToValidUTF8(c.Detail[:min(len(c.Detail), capability.MaxDetail)], ""), e.Time}
	return &Decision{Entries: []*Entry{e}}, nil
}

// Limited is the last response that a limit kept from being signed, or nil.
func (b *Book) Limited() *Limited { return b.limited }

// Count is what was signed in one hour: responses where it names no product, else the copies that machines got beyond what they had.
type Count struct {
	Hour    int64  `cbor:"1,keyasint,omitzero" json:"hour"` // since 1970
	Product string `cbor:"2,keyasint,omitzero" json:"product,omitempty"`
	Number  uint64 `cbor:"3,keyasint,omitzero" json:"number"`
}

const dayHours = 24

func clockHour(t capability.Time) int64 { return int64(t) / 3600 }

func (c Count) compare(o Count) int {
	return cmp.Or(cmp.Compare(c.Hour, o.Hour), cmp.Compare(c.Product, o.Product))
}

// tally takes in what was signed. What is older than a day is forgotten.
func (b *Book) tally(at capability.Time, product string, n uint64) {
	if n == 0 {
		return
	}
	c := Count{Hour: clockHour(at), Product: product, Number: n}
	b.signed = slices.DeleteFunc(b.signed, func(o Count) bool { return o.Hour <= c.Hour-dayHours })
	place, there := slices.BinarySearchFunc(b.signed, c, Count.compare)
	if there {
		b.signed[place].Number += n
		return
	}
	b.signed = slices.Insert(b.signed, place, c)
}

// Signed is what was signed in this hour of the clock, and in it and the 23 before.
type Signed struct {
	Hour     uint64            `json:"hour"` // responses
	Day      uint64            `json:"day"`
	Products map[string]uint64 `json:"products"` // copies in a day, beyond what machines had
}

// Signed sums up what was signed lately.
func (b *Book) Signed(now capability.Time) Signed {
	s := Signed{Products: map[string]uint64{}}
	for _, c := range b.signed {
		switch {
		case c.Hour <= clockHour(now)-dayHours:
		case c.Product != "":
			s.Products[c.Product] += c.Number
		default:
			s.Day += c.Number
			if c.Hour == clockHour(now) {
				s.Hour += c.Number
			}
		}
	}
	return s
}

// Gain is what an answer gives of one product.
type Gain struct {
	Product string
	Has     uint64 // copies that the machine has of it with the answer
	More    uint64 // beyond what it, or the machine whose rights it takes over, had
}

// Gains are what a decision about a request gives, by product.
func (b *Book) Gains(d *Decision) []Gain {
	a := d.Answered()
	before := func(id capability.ActivationID) (n uint32) {
		if h := b.byKey[a.Identity.Host]; h != nil {
			n = h.held(id)
		}
		if a.Rehosted != nil {
			if from := b.byKey[a.Rehosted.From]; from != nil {
				n += from.held(id)
			}
		}
		return n
	}
	has := map[capability.ActivationID]uint32{}
	for _, i := range d.Response.Items {
		has[i.ActivationID] = i.Copies
	}
	var list []Gain
	add := func(id capability.ActivationID, has, more uint64) {
		i := b.byID[id]
		if i == nil {
			return
		}
		at, there := slices.BinarySearchFunc(list, i.Product, func(g Gain, p string) int { return cmp.Compare(g.Product, p) })
		if !there {
			list = slices.Insert(list, at, Gain{Product: i.Product})
		}
		list[at].Has, list[at].More = list[at].Has+has, list[at].More+more
	}
	for _, i := range d.Response.Items {
		if n, there := has[i.ActivationID]; there { // an item with several features is there several times
			add(i.ActivationID, uint64(n), 0)
			delete(has, i.ActivationID)
		}
	}
	for _, f := range a.Holds {
		if was := before(f.ActivationID); f.Copies > was {
			add(f.ActivationID, 0, uint64(f.Copies-was))
		}
	}
	return list
}

func (b *Book) applySigner(e *Entry) error {
	if e.Limited != nil {
		if e.Limited.Time != e.Time || len(e.Limited.Detail) > capability.MaxDetail {
			return fmt.Errorf("what was limited at %s is on record for %s", e.Limited.Time, e.Time)
		}
		l := *e.Limited
		b.limited = &l
		return nil
	}
	if err := b.signable(e.Signer); err != nil {
		return err
	}
	s := *e.Signer
	s.Revoked = slices.Clone(s.Revoked)
	b.signers = append(b.signers, s)
	return nil
}

func (b *Book) signerSections(put func(section)) {
	for _, s := range b.signers {
		put(section{Signer: &s})
	}
	for _, c := range b.signed {
		put(section{Signed: &c})
	}
	if b.limited != nil {
		put(section{Limited: b.limited})
	}
}

func (b *Book) restoreSigner(s *section) {
	switch {
	case s.Signer != nil:
		b.signers = append(b.signers, *s.Signer)
	case s.Signed != nil:
		b.signed = append(b.signed, *s.Signed)
	default:
		b.limited = s.Limited
	}
}

func (b *Book) checkSigners() error {
	again := Book{}
	for _, s := range b.signers {
		if err := again.signable(&s); err != nil {
			return err
		}
		again.signers = append(again.signers, s)
	}
	for n, c := range b.signed {
		if c.Number == 0 || c.Hour > clockHour(b.last) || n > 0 && b.signed[n-1].compare(c) >= 0 || c.Hour <= b.signed[len(b.signed)-1].Hour-dayHours {
			return fmt.Errorf("count %d of %d is of nothing, out of order, or of another day", n+1, len(b.signed))
		}
	}
	if l := b.limited; l != nil && l.Time > b.last {
		return fmt.Errorf("a limit was met at %s, and the last entry is of %s", l.Time, b.last)
	}
	return nil
}
