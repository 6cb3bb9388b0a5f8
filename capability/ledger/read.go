package ledger

import (
	"math"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// A start reads a row for each device and an entry for each request since the snapshot: those are read by hand. What is in few of them is left to the library,
// which reads the whole row or entry then, and words what is wrong with it.

// readByHand reads b into v, and says whether it did. What it did not read is zero.
func readByHand[T any](b []byte, limit int, v *T, read func(*T, *wire.Reader)) bool {
	if len(b) > limit {
		return false
	}
	r := wire.NewReader(b)
	if read(v, &r); r.Done() {
		return true
	}
	*v = *new(T)
	return false
}

// The fewest bytes of an element, against which the length of an array is held.
const (
	leastRemembered = 1 + 17 + 34 + 2 + 1
	leastLeasePart  = 1 + 6
	leastTransfer   = 1 + 3
	leastBooking    = 1 + 2
	leastLease      = 1 + 1 + 1 + 2 + 2 // its item
)

func (p *rowPart) read(r *wire.Reader) {
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			p.ID = r.Host()
		case 2:
			p.Key = r.Digest()
		case 3:
			p.Serial = r.Uint(math.MaxUint64)
		case 4:
			p.Correlation = r.Correlation()
		case 5:
			p.Body = r.Digest()
		case 6:
			p.Answer = r.Bytes()
		case 7:
			p.Who.read(r)
		case 8:
			p.Leases = make([]leasePart, r.Array(leastLeasePart))
			for i := range p.Leases {
				p.Leases[i].read(r)
			}
		case 9:
			p.Active = capability.Seconds(r.Int())
		case 12:
			p.Until = capability.Seconds(r.Int())
		case 13:
			p.Earlier = make([]remembered, r.Array(leastRemembered))
			for i := range p.Earlier {
				r.Tuple(4)
				p.Earlier[i] = remembered{Correlation: r.Correlation(), Body: r.Digest(), Answer: r.Bytes(), Until: capability.Seconds(r.Signed())}
			}
		case 14:
			p.Leads = make([]capability.Seconds, r.Array(1))
			for i := range p.Leads {
				p.Leads[i] = capability.Seconds(r.Signed())
			}
		case 15:
			p.Number = r.Uint(math.MaxUint64)
		default:
			r.Lose()
		}
	}
}

func (n *leasePart) read(r *wire.Reader) {
	r.Tuple(6)
	n.Item = r.Number(math.MaxUint64)
	n.Slice = r.Number(math.MaxUint64)
	n.Count = uint32(r.Number(math.MaxUint32))
	n.End = capability.Seconds(r.Signed())
	n.Told = capability.Time(r.Signed())
	n.Dropped = r.Either()
}

// read reads an entry of a request, which are nearly all.
func (e *Entry) read(r *wire.Reader) {
	dated := false
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			e.Position = r.Uint(math.MaxUint64)
		case 2:
			e.Previous = r.Digest()
		case 3:
			r.Tuple(2)
			e.Now.Lease = capability.Seconds(r.Signed())
			e.Now.Wall = capability.Time(r.Signed())
			dated = true
		case 5:
			e.Transfers = make([]Transfer, r.Array(leastTransfer))
			for i := range e.Transfers {
				r.Tuple(3)
				e.Transfers[i] = Transfer{Item: r.Number(math.MaxUint64), Share: r.Number(math.MaxUint64), Count: r.Signed()}
			}
		case 6:
			e.Booked = readBookings(r)
		case 13:
			e.Served = new(Served)
			e.Served.read(r)
		default:
			r.Lose()
		}
	}
	if e.Served == nil || !dated {
		r.Lose()
	}
}

func (f *Served) read(r *wire.Reader) {
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			if r.Response(&f.Answer); f.Answer.Version == 0 {
				r.Lose()
			}
		case 2:
			f.Body = r.Digest()
		case 3:
			f.Leases = make([]Lease, r.Array(leastLease))
			for i := range f.Leases {
				f.Leases[i].read(r)
			}
		case 4:
			f.Receipt = r.Uint(math.MaxUint64)
		case 5:
			f.Who.read(r)
		case 6:
			f.Idle = capability.Seconds(r.Int())
		case 10:
			f.Spent = capability.Seconds(r.Int())
		case 11:
			f.Until = capability.Seconds(r.Int())
		case 12:
			f.Claimed = readBookings(r)
		case 13:
			f.Number = r.Uint(math.MaxUint64)
		default:
			r.Lose()
		}
	}
}

func (who *Who) read(r *wire.Reader) {
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			who.User = r.Text()
		case 2:
			who.Alias = r.Text()
		case 3:
			who.DeviceType = r.Text()
		default:
			r.Lose()
		}
	}
	if *who == (Who{}) {
		r.Lose()
	}
}

func (n *Lease) read(r *wire.Reader) {
	named := false
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			r.Tuple(2)
			n.Item.ActivationID = capability.ActivationID(r.Text())
			n.Item.Feature = r.Text()
			named = true
		case 2:
			n.Count = uint32(r.Uint(math.MaxUint32))
		case 3:
			n.End = capability.Seconds(r.Int())
		case 4:
			n.Dropped = r.Bool()
		case 5:
			n.Told = capability.Time(r.Int())
		case 6:
			n.Source.read(r)
		case 7:
			n.Lead = capability.Seconds(r.Int())
		default:
			r.Lose()
		}
	}
	if !named {
		r.Lose()
	}
}

func (s *Source) read(r *wire.Reader) {
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			s.Pool = r.Text()
		case 2:
			s.Entry = r.Uint(math.MaxUint64)
		case 3:
			s.Overdraft = r.Bool()
		default:
			r.Lose()
		}
	}
	if *s == (Source{}) {
		r.Lose()
	}
}

func readBookings(r *wire.Reader) []Booking {
	list := make([]Booking, r.Array(leastBooking))
	for i := range list {
		r.Tuple(2)
		list[i] = Booking{Item: r.Number(math.MaxUint64), Count: r.Number(math.MaxUint64)}
	}
	return list
}
