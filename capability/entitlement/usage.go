package entitlement

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// What machines use comes in records, which ride in each request until a response acknowledges them. Each number is counted once in each life of a machine's trusted
// storage, up to the first that is missing, so that files may be lost, repeated and late. Records that say otherwise than those that were counted under their numbers come
// from a copy of the machine: they are disputed like every other contradiction, and never added up.
//
// What is counted is kept by day, and where a machine has much of it what is old by month, by year, and for good: sums stay, days are forgotten.

// MaxUsedRows of one machine: ten features each day of a year. Above that the older half is put together.
const MaxUsedRows = 4096

// maxCodes of denials in one row; the rest is counted as otherCodes.
const (
	maxCodes                   = 64
	otherCodes capability.Code = 0xffff
)

// Span is the time that a row of usage is about.
type Span uint8

const (
	OneDay   Span = 0
	OneMonth Span = 1
	OneYear  Span = 2
	AllTime  Span = 3
)

func (s Span) String() string { return [...]string{"day", "month", "year", "all"}[min(s, AllTime)] }

// MarshalText makes JSON show the name.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Used is what one machine used of one feature of one activation ID on one day, or in a longer span. A record that spans several days counts for its first one.
type Used struct {
	Day          capability.Time         `cbor:"1,keyasint,omitzero" json:"day"` // first second of the span, UTC
	Span         Span                    `cbor:"2,keyasint,omitzero" json:"span"`
	ActivationID capability.ActivationID `cbor:"3,keyasint,omitzero" json:"activationId,omitempty"` // absent with the feature: of features that the machine has no right to
	Feature      string                  `cbor:"4,keyasint,omitzero" json:"feature,omitempty"`
	User         string                  `cbor:"5,keyasint,omitzero" json:"user,omitempty"` // of rows that say more of the same use; they are in no sum
	Peak         uint64                  `cbor:"6,keyasint,omitzero" json:"peak"`
	Served       uint64                  `cbor:"7,keyasint,omitzero" json:"served"`
	Seconds      uint64                  `cbor:"8,keyasint,omitzero" json:"seconds"`
	Denials      []capability.Denied     `cbor:"9,keyasint,omitempty" json:"denials,omitempty"`
}

func (u Used) compare(v Used) int {
	return cmp.Or(cmp.Compare(u.Day, v.Day), cmp.Compare(u.Span, v.Span), cmp.Compare(u.ActivationID, v.ActivationID), cmp.Compare(u.Feature, v.Feature), cmp.Compare(u.User, v.User))
}

// plus adds counts that stay countable, whatever a machine says.
func plus(a, b uint64) uint64 { return min(capability.MaxUsed, a+b) }

// add takes in what v says of the same.
func (u *Used) add(v *Used) {
	u.Peak, u.Served, u.Seconds = max(u.Peak, v.Peak), plus(u.Served, v.Served), plus(u.Seconds, v.Seconds)
	u.Denials = slices.Clone(u.Denials)
	for _, d := range v.Denials {
		at, here := slices.BinarySearchFunc(u.Denials, d.Code, func(d capability.Denied, c capability.Code) int { return cmp.Compare(d.Code, c) })
		if !here && len(u.Denials) >= maxCodes {
			d.Code = otherCodes
			at = len(u.Denials) - 1
			here = u.Denials[at].Code == otherCodes
			if !here {
				at++
			}
		}
		if here {
			u.Denials[at].Count = plus(u.Denials[at].Count, d.Count)
		} else {
			u.Denials = slices.Insert(u.Denials, at, d)
		}
	}
}

// Denied is how often lines were refused.
func (u *Used) Denied() (n uint64) {
	for _, d := range u.Denials {
		n = plus(n, d.Count)
	}
	return n
}

// Synced is how far the records of a machine are counted, and what they add up to.
type Synced struct {
	Life    capability.LifeID `cbor:"1,keyasint,omitzero" json:"life,omitzero"` // whose numbers these are
	Upto    uint64            `cbor:"2,keyasint,omitzero" json:"upto"`          // acknowledged
	Since   uint64            `cbor:"3,keyasint,omitzero" json:"since"`         // the newest that came together are those from here on
	Digest  capability.Digest `cbor:"4,keyasint,omitzero" json:"digest"`        // of those
	Until   capability.Time   `cbor:"5,keyasint,omitzero" json:"until"`         // end of the newest period
	Missing uint64            `cbor:"6,keyasint,omitzero" json:"missing"`       // never came, and the machine no longer has them
	Unread  uint64            `cbor:"7,keyasint,omitzero" json:"unread"`        // of a kind that this program does not know
	Served  uint64            `cbor:"8,keyasint,omitzero" json:"served"`        // sums of all lives
	Seconds uint64            `cbor:"9,keyasint,omitzero" json:"seconds"`
	Denied  uint64            `cbor:"10,keyasint,omitzero" json:"denied"`
	States  capability.LifeID `cbor:"11,keyasint,omitzero" json:"-"` // whose states are here, if there are any
}

// synced is that with its rows, in order.
type synced struct {
	Synced
	rows   []Used
	states []capability.Usage // how the period that runs stands, as the newest request said; in no row and no sum
}

// Synced is how far the records of a machine are counted, and its newest states; false: none of either ever came.
func (b *Book) Synced(host hostid.ID) (Synced, bool) {
	s := b.synced[host]
	if s == nil {
		return Synced{}, false
	}
	return b.summed(s).Synced, true
}

// upto is the highest number of that life that is counted.
func (b *Book) upto(host hostid.ID, life capability.LifeID) uint64 {
	if s := b.synced[host]; s != nil && s.Life == life {
		return s.Upto
	}
	return 0
}

func (b *Book) recordsDigest(records []capability.Record) capability.Digest {
	return sha256.Sum256(append([]byte("leasehold records v1\x00"), b.codec.Encode(records)...))
}

// miscounted disputes a request whose records are not those that were counted under their numbers. It looks at the newest that came together: two machines that
// differ in older ones differ there as well.
func (b *Book) miscounted(h *Host, r *capability.Request) *dispute {
	s := b.synced[h.Host]
	if n := len(r.Records); s == nil || s.Life != r.Life || n == 0 || r.Records[0].Number > s.Since || r.Records[n-1].Number < s.Upto {
		return nil
	}
	first := r.Records[0].Number
	if b.recordsDigest(r.Records[s.Since-first:s.Upto-first+1]) == s.Digest {
		return nil
	}
	return &dispute{
		Refusal: capability.Refuse(capability.ErrFork, h.Host.Short(), "usage records %d to %d are counted, and request %d says otherwise of them", s.Since, s.Upto, r.Number),
		against: h.witness(h.Answered), ahead: true,
	}
}

// acknowledge puts into the answer the records that are new, and acknowledges them; of a disputed request none is. A machine that has applied the last response, and so
// knows what is acknowledged, and begins above that, has the ones between no more: they are missing for good.
func (b *Book) acknowledge(h *Host, r *capability.Request, d *Decision, disputed bool) {
	a, upto := d.Answered(), b.upto(h.Host, r.Life)
	if i := slices.IndexFunc(r.Records, func(k capability.Record) bool { return k.Number > upto }); i >= 0 && !disputed {
		if gap := r.Records[i].Number - upto - 1; gap == 0 || h.Serial > 0 && r.Applied == h.Serial {
			a.Records, a.Missing = slices.Clone(r.Records[i:]), gap
			upto = r.Records[len(r.Records)-1].Number
		}
	}
	a.States = stated(r, disputed)
	d.Response.Records = upto
}

// countable asserts that the records of an answer go on where the ones before ended.
func (b *Book) countable(a *Answered) error {
	if err := statable(a); err != nil {
		return err
	}
	if len(a.Records) == 0 {
		if a.Missing > 0 {
			return fmt.Errorf("%d records are missing before none", a.Missing)
		}
		return nil
	}
	host := a.Identity.Host
	upto := b.upto(host, a.Life)
	for i, r := range a.Records {
		if r.Number != upto+a.Missing+1+uint64(i) || r.Number <= upto || a.Request.Fork {
			return fmt.Errorf("record %d of host %s follows record %d, %d missing, or is disputed", r.Number, host.Short(), upto, a.Missing)
		}
	}
	return nil
}

// applyRecords takes the new records of an answer in, and its states.
func (b *Book) applyRecords(a *Answered) {
	if a.Request.Fork {
		return
	}
	host := a.Identity.Host
	s := b.synced[host]
	if s == nil {
		if len(a.Records)+len(a.States) == 0 {
			return
		}
		s = &synced{}
		b.synced[host] = s
	}
	if s.States != a.Life {
		b.keepStates(s)
	}
	b.countRecords(s, a)
	b.applyStates(s, a)
	s.shrink()
}

func (b *Book) countRecords(s *synced, a *Answered) {
	if len(a.Records) == 0 {
		return
	}
	s.Life, s.Since, s.Upto, s.Digest = a.Life, a.Records[0].Number, a.Records[len(a.Records)-1].Number, b.recordsDigest(a.Records)
	s.Missing = plus(s.Missing, a.Missing)
	for _, r := range a.Records {
		u, err := b.codec.DecodeUsage(r.Body)
		if err != nil {
			s.Unread++
			continue
		}
		b.supersede(s, &u)
		s.Until = max(s.Until, u.Until)
		if v, counts := b.used(&u); counts {
			s.take(&v)
		}
	}
}

// shrink puts rows together until there are not too many: first those of a month, then those of a year, then all of a feature.
func (s *synced) shrink() {
	for span := OneMonth; span <= AllTime && len(s.rows) > MaxUsedRows; span++ {
		s.fold(span)
	}
}

// take adds a row of a day.
func (s *synced) take(u *Used) {
	if u.User == "" {
		s.Served, s.Seconds, s.Denied = plus(s.Served, u.Served), plus(s.Seconds, u.Seconds), plus(s.Denied, u.Denied())
	}
	at, here := slices.BinarySearchFunc(s.rows, *u, Used.compare)
	if here {
		s.rows[at].add(u)
		return
	}
	s.rows = slices.Insert(s.rows, at, *u)
}

// fold puts the older half of the rows together, as far as they are about less than that span. What is told of users goes with the days.
func (s *synced) fold(span Span) {
	cut := s.rows[len(s.rows)/2].Day
	if span == AllTime {
		cut = s.rows[len(s.rows)-1].Day + 1
	}
	rows := s.rows[:0]
	for _, u := range s.rows {
		if u.Day >= cut || u.Span >= span {
			rows = append(rows, u)
			continue
		}
		if u.User != "" {
			continue
		}
		switch at := u.Day.Std(); span {
		case OneMonth:
			u.Day -= capability.Time(at.Day()-1) * capability.Time(day)
		case OneYear:
			u.Day -= capability.Time(at.YearDay()-1) * capability.Time(day)
		default:
			u.Day = 0
		}
		u.Span = span
		rows = append(rows, u)
	}
	slices.SortStableFunc(rows, Used.compare)
	s.rows = nil
	for i := range rows {
		if n := len(s.rows); n > 0 && s.rows[n-1].compare(rows[i]) == 0 {
			s.rows[n-1].add(&rows[i])
		} else {
			s.rows = append(s.rows, rows[i])
		}
	}
}

// UsageRow is a row of usage with whose it is.
type UsageRow struct {
	Host    hostid.ID `json:"host"`
	Alias   string    `json:"alias,omitempty"`
	Account string    `json:"account"`
	Product string    `json:"product,omitempty"`
	Foreign bool      `json:"foreign,omitempty"` // of a line item that the machine's account has nothing to do with: its word alone
	Used
}

// Usage is what was used from a moment until another, of an account and its parts (empty: of all), machine by machine and day by day. What is older and was put together is there
// where its span begins in that time.
func (b *Book) Usage(from, until capability.Time, account string) []UsageRow {
	return slices.Collect(b.EachUsage(from, until, account))
}

// EachUsage is Usage, one by one.
func (b *Book) EachUsage(from, until capability.Time, account string) iter.Seq[UsageRow] {
	return func(yield func(UsageRow) bool) {
		for _, h := range b.hosts {
			s := b.synced[h.Host]
			if s == nil {
				continue
			}
			for _, u := range b.summed(s).rows {
				r := UsageRow{Host: h.Host, Alias: h.Alias, Account: b.accountOf(h), Used: u}
				if i := b.byID[u.ActivationID]; i != nil {
					// A machine names in its records whatever it likes. What it says of an item of others is its own account's affair, and in no sum of theirs; one that was never given anything has no account.
					if r.Foreign = r.Account == "" || !b.Related(r.Account, i.Customer); !r.Foreign {
						r.Account, r.Product = i.Customer, i.Product
					}
				}
				if u.Day >= from && u.Day < until && b.Within(r.Account, account) {
					r.Denials = slices.Clone(u.Denials)
					if !yield(r) {
						return
					}
				}
			}
		}
	}
}

// usageSections writes what is counted of a host.
func (b *Book) usageSections(host hostid.ID, put func(section)) {
	s := b.synced[host]
	if s == nil {
		return
	}
	put(section{Synced: &s.Synced})
	for i := range s.rows {
		put(section{Used: &s.rows[i]})
	}
	for i := range s.states {
		put(section{State: &s.states[i]})
	}
}

// restoreUsage reads one of those sections.
func (b *Book) restoreUsage(h *Host, p *section) error {
	switch s := b.synced[h.Host]; {
	case p.Synced != nil && s == nil:
		b.synced[h.Host] = &synced{Synced: *p.Synced}
	case p.Used != nil && s != nil:
		s.rows = append(s.rows, *p.Used)
	case p.State != nil && s != nil:
		s.states = append(s.states, *p.State)
	default:
		return corrupt("snapshot has usage of host %s twice, or before its sums", h.Host)
	}
	return nil
}

// checkUsage: the rows are in order and add up.
func (b *Book) checkUsage() error {
	known := 0
	for _, h := range b.hosts {
		s := b.synced[h.Host]
		if s == nil {
			continue
		}
		known++
		var sum Used
		var denied uint64
		for i := range s.rows {
			u := &s.rows[i]
			if i > 0 && s.rows[i-1].compare(*u) >= 0 || u.Span > AllTime || u.Day < 0 || u.Day%capability.Time(day) != 0 || len(u.Denials) > maxCodes+1 {
				return fmt.Errorf("usage of host %s: the row of %s, %s is not in order", h.Host.Short(), u.Day, u.Feature)
			}
			if u.User == "" {
				sum.Served, sum.Seconds, denied = plus(sum.Served, u.Served), plus(sum.Seconds, u.Seconds), plus(denied, u.Denied())
			}
		}
		if sum.Served != s.Served || sum.Seconds != s.Seconds || denied != s.Denied || (s.Upto == 0) != (s.Since == 0) || s.Since > s.Upto {
			return fmt.Errorf("usage of host %s: %d served, %d seconds and %d denials add up to %d, %d and %d; records %d to %d", h.Host.Short(),
				sum.Served, sum.Seconds, denied, s.Served, s.Seconds, s.Denied, s.Since, s.Upto)
		}
		if _, err := capability.CheckStates(s.states); err != nil || len(s.states) > capability.MaxStates {
			return fmt.Errorf("usage of host %s: %d states: %w", h.Host.Short(), len(s.states), err)
		}
	}
	if known != len(b.synced) {
		return fmt.Errorf("usage of %d hosts, of which %d are known", len(b.synced), known)
	}
	return nil
}
