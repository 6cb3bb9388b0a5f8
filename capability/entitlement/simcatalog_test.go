package entitlement

import (
	"errors"

	"github.com/leasehold/leasehold/capability"
)

// What the producer sells comes into the lives of the simulation: line items of several accounts and under several license models are suspended, split, merged, cut, extended, renewed and archived
// while machines have copies of them. Beside the book stands how many copies there must be in all.

// sold is what the simulation knows of what was sold.
type sold struct {
	copies int64 // of all items, with those that are extra and those that were returned without credit
	drawn  uint64
	seen   soldOutcomes
}

type soldOutcomes struct {
	Suspended, Resumed, Split, Merged, Flowed, Cut, Healed, Extra, Renewed, Archived, Ended, Spent, Foreign, Lost, Held int
}

func (o *soldOutcomes) add(p soldOutcomes) {
	o.Suspended, o.Resumed, o.Split, o.Merged, o.Flowed = o.Suspended+p.Suspended, o.Resumed+p.Resumed, o.Split+p.Split, o.Merged+p.Merged, o.Flowed+p.Flowed
	o.Cut, o.Healed, o.Extra, o.Renewed, o.Archived = o.Cut+p.Cut, o.Healed+p.Healed, o.Extra+p.Extra, o.Renewed+p.Renewed, o.Archived+p.Archived
	o.Ended, o.Spent, o.Foreign, o.Lost, o.Held = o.Ended+p.Ended, o.Spent+p.Spent, o.Foreign+p.Foreign, o.Lost+p.Lost, o.Held+p.Held
}

func (o *soldOutcomes) all() bool {
	return min(o.Suspended, o.Resumed, o.Split, o.Merged, o.Flowed, o.Cut, o.Healed, o.Extra, o.Renewed, o.Archived, o.Ended, o.Spent, o.Foreign, o.Lost, o.Held) > 0
}

// sell gives a life its accounts, models and what of them its items have, which differ from life to life.
func (s *simulation) sell(seed uint64) {
	s.w.account("ACME Works", "")
	s.w.account("Lyon", "ACME Works")
	m := LicenseModel{Name: "M", State: ModelDeployed}
	switch seed / 3 % 4 {
	case 1:
		m.Overdraft, m.GraceDays, m.Limits = 20, 1, []ActLimit{{ActReturn, 2, hour}, {ActExtra, 6, 0}}
	case 2:
		m.NoCredit, m.NoPartial, m.Limits = true, true, []ActLimit{{ActRehost, 1, 0}, {ActRepair, 1, 2 * hour}, {ActExtra, 3, hour}}
	case 3:
		m.Aggregation, m.MinimumTier, m.Limits = Max, Virtual, []ActLimit{{ActExtra, 9, 0}, {ActReturn, 4, 0}}
	}
	s.w.mustDo(SetModel{Model: m})
	for n := range 3 {
		s.sold.drawn = uint64(10 + n)
		s.ids = append(s.ids, s.w.entitle(s.sold.drawn, 1+s.rng.Uint32N(12), func(i *Item) {
			i.Model = "M"
			if n == 0 {
				i.Customer = "Lyon"
			}
			if n == 2 && seed%5 == 0 {
				i.Customer = "Rival Works"
			}
			if seed%2 == 0 {
				i.Expiry = s.w.now + hour*(1+capability.Time(seed%3))
			}
		}))
	}
	for _, v := range s.w.book.Items(s.w.now) {
		s.sold.copies += int64(v.Copies)
	}
}

// handle does something with an item. What cannot be done says why, and is not done.
func (s *simulation) handle() {
	id, other := s.ids[s.rng.IntN(len(s.ids))], s.ids[s.rng.IntN(len(s.ids))]
	was, _ := s.w.book.Item(id, s.w.now)
	c := ItemChange{ActivationID: id, Copies: s.rng.Uint32N(14)}
	switch k := s.rng.IntN(20); {
	case k < 2:
		c.Do = Suspend
	case k < 5:
		c.Do = Resume
	case k < 8:
		c.Do, c.To, c.Copies = Split, testID(s.w.t, s.sold.drawn+1), 1+s.rng.Uint32N(4)
	case k < 12:
		c.Do, c.To = Merge, other
	case k < 15:
		c.Do = SetCopies
	case k < 17:
		c.Do = SetExtra
	case k < 18:
		c.Do, c.Expiry = Renew, s.w.now.Add(capability.Seconds(s.rng.IntN(4))*hour)
	case k < 19:
		c.Do = Archive
	default:
		s.endModel()
		return
	}
	if c.Do == Split && len(s.ids) > 10 {
		return
	}
	_, err := s.w.do(ChangeItem{Change: c})
	if err != nil && code(err) == 0 && !errors.Is(err, ErrItem) {
		s.w.fatalf("%s: %v", c.Do, err)
	}
	seen := &s.sold.seen
	if code(err) == capability.ErrSpent {
		seen.Spent++
	}
	if err != nil {
		return
	}
	is, _ := s.w.book.Item(id, s.w.now)
	switch c.Do {
	case Suspend:
		seen.Suspended++
	case Resume:
		seen.Resumed++
	case Split:
		s.sold.drawn++
		s.ids = append(s.ids, c.To)
		if seen.Split++; was.Used != is.Used {
			s.w.fatalf("a split took %d copies from machines", was.Used-is.Used)
		}
	case Merge:
		if seen.Merged++; was.Used != is.Used || is.Left != 0 {
			s.w.fatalf("a merge took %d copies from machines, or left %d", was.Used-is.Used, is.Left)
		}
	case SetCopies:
		s.sold.copies += int64(c.Copies) - int64(was.Copies)
		if is.Over > 0 {
			seen.Cut++
		} else if was.Over > 0 {
			seen.Healed++
		}
	case SetExtra:
		s.sold.copies += int64(c.Copies) - int64(was.Life.Extra)
		if c.Copies > was.Life.Extra {
			seen.Extra++
		}
	case Renew:
		seen.Renewed++
	case Archive:
		seen.Archived++
	}
}

func (s *simulation) endModel() {
	m, _ := s.w.book.Model("M")
	if s.step < 60 || s.rng.IntN(2) > 0 || m.State > ModelDeployed {
		return
	}
	m.State = ModelInactive
	s.w.mustDo(SetModel{Model: m})
	s.sold.seen.Ended++
}

// honest: nobody is given more of what is closed or foreign, and no right to it is led on.
func (s *simulation) honest(d *Decision) {
	before, _ := s.w.hostBefore(d.Host.Host)
	for _, f := range d.Host.Holds {
		i := s.w.book.byID[f.ActivationID]
		if had := before.held(f.ActivationID); f.Copies > had && d.Answered().Rehosted == nil {
			if no := s.w.book.closed(i); no != nil {
				s.w.fatalf("%d copies are given of %s: %v", f.Copies-had, f.ActivationID, no)
			}
			if !s.w.book.Related(d.Host.Account, i.Customer) {
				s.w.fatalf("a machine of %q is given %s of %q", d.Host.Account, f.ActivationID, i.Customer)
			}
		}
	}
	for n, l := range d.Response.Lines {
		switch l.Denial.Code {
		case capability.ErrAccount:
			s.sold.seen.Foreign++
		case capability.ErrSuspended, capability.ErrRetired, capability.ErrLicenseModel:
			s.sold.seen.Held++
		}
		if l.Status == capability.LineOK && l.Denial.Code != 0 {
			s.w.fatalf("line %d is well, and refused: %+v", n, l)
		}
	}
	for _, r := range d.Credited {
		if r.Gone {
			s.sold.seen.Lost++
		}
		if s.w.book.byID[r.ActivationID].Life.MergedTo != "" && !r.Gone {
			s.sold.seen.Flowed++
		}
	}
	for _, no := range d.Response.Denials {
		if no.Code == capability.ErrSpent {
			s.sold.seen.Spent++
		}
	}
}

// inAll compares how many copies there are with how many there must be.
func (s *simulation) inAll() {
	var all int64
	for _, v := range s.w.book.Items(s.w.now) {
		all += int64(v.Copies) + int64(v.Life.Extra) + int64(v.Life.Gone)
	}
	if all != s.sold.copies {
		s.w.fatalf("there are %d copies of all items, and %d were sold", all, s.sold.copies)
	}
}

// fits says whether so many copies may be in use of an item, as the book has it.
func (v *ItemView) fits(live uint32) bool {
	room := v.Copies + v.Life.Extra
	if v.Life.Cut {
		return live <= v.Used && v.Left == 0 && v.Used-v.Over == room
	}
	if v.Used+v.Reserved > room { // the number was lowered below what waits for devices: they get what there is
		return live <= room && v.Left == 0 && v.Over == 0
	}
	return live <= room && v.Used+v.Reserved+v.Left == room && v.Over == 0
}
