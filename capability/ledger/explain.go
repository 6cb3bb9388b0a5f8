package ledger

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/hostid"
)

// Bounds of what a decision explains. Explanations are for people and never on the wire: an answer to a client carries its Denial.
const (
	MaxExplained = 32 // lines
	MaxLooked    = 64 // sources of one line
)

// Explained is why a line got less than it asked for, or why the request was denied as a whole.
type Explained struct {
	Line   int // of the request, from 0
	Whole  bool
	Denial capability.Denial
	Looked []Looked
	More   int // sources that were looked at and are not listed
	Rule   model.Position
	Number int // of the rule that routed the request; zero where none did
}

// Looked is one source that was looked at.
type Looked struct {
	Item    capability.ItemID
	Version capability.Version
	Source  Source
	Free    uint64 // that the line could have; an uncounted item has MaxCount
	Skipped Reason // Usable where it was not
	At      capability.Time
	Owner   string // of Foreign
}

// Reason says why a source gave nothing, or less than it has.
type Reason uint8

// The reasons.
const (
	Usable        Reason = iota
	OtherVersion         // below the version asked for
	NotStarted           // until At
	Expired              // since At
	Withdrawn            // in no response any more
	OtherKind            // lacks a selector that the line names
	Overused             // more in use than licensed
	Unrouted             // the rules do not lead to this pool
	Foreign              // reserved for another
	NotMetered           // a report counts only what is metered
	InUse                // nothing is free
	BeingReturned        // what is free leaves with a return that has begun; renewed until At
	Doubted              // has dates, and the system clock is not believed
	Assigned             // to another user
)

// String is the sentence about one source.
func (x Looked) String() string {
	where := fmt.Sprintf("%s %s of %s, %s: ", x.Item.Feature, x.Version, x.Item.ActivationID, x.Source)
	switch x.Skipped {
	case OtherVersion:
		return where + "the version is below the one asked for"
	case NotStarted:
		return where + "starts " + x.At.String()
	case Expired:
		return where + "expired " + x.At.String()
	case Withdrawn:
		return where + "no longer licensed here"
	case OtherKind:
		return where + "lacks a selector that the line names"
	case Overused:
		return where + "more in use than licensed"
	case Unrouted:
		return where + fmt.Sprintf("%d free, but the rules do not lead there", x.Free)
	case Foreign:
		return where + "reserved for " + x.Owner
	case NotMetered:
		return where + "not metered"
	case InUse:
		return where + "none free"
	case BeingReturned:
		return where + "being returned; what is held of it is renewed until " + x.At.String()
	case Assigned:
		return where + "assigned to another user"
	case Doubted:
		return where + "has dates, and the system clock is not believed"
	}
	return where + fmt.Sprintf("%d free", x.Free)
}

// Sentences is the explanation as people read it: what was refused, with its code if that was everything, every source, who holds them as far as the policy lets the asker see, and the next step.
func (e Explained) Sentences() (out []string) {
	if e.Whole {
		out = append(out, fmt.Sprintf("%s %s %s", e.Denial.Code, e.Denial.Code.Symbol(), e.Denial.Sentence()))
	} else {
		out = append(out, e.Denial.Sentence())
	}
	if e.Number > 0 {
		out = append(out, fmt.Sprintf("routed by rule %d at line %d", e.Number, e.Rule.Line))
	}
	for _, x := range e.Looked {
		out = append(out, x.String())
	}
	if e.More > 0 {
		out = append(out, fmt.Sprintf("%d more sources were looked at", e.More))
	}
	for _, h := range e.Denial.Holders {
		out = append(out, fmt.Sprintf("%d held by %s until %s", h.Count, h.Name, h.Expiry))
	}
	if e.Denial.Position > 0 {
		out = append(out, fmt.Sprintf("place %d in the queue", e.Denial.Position))
	}
	return append(out, "next: "+e.Denial.Code.Entry().Next)
}

// ruledOut is the denial of a request that a rule of the model denies.
func (s *serving) ruledOut() capability.Denial {
	return capability.Denial{Code: capability.ErrRule, Detail: fmt.Sprintf("rule %d at line %d", s.route.Rule, s.route.At.Line)}
}

// explain notes every source of the feature, and why it did not do.
func (s *serving) explain(i int, w want, no *capability.Denial) {
	if len(s.explained) == MaxExplained {
		return
	}
	e := Explained{Line: i, Denial: *no, Rule: s.route.At, Number: s.route.Rule}
	for _, it := range s.l.features[w.Feature] {
		reason, at := s.unfit(it, w)
		for _, sl := range it.slices {
			if sl.source.Overdraft && sl.count == 0 || reason != Usable && sl.source != (Source{}) {
				continue
			}
			if len(e.Looked) == MaxLooked {
				e.More++
				continue
			}
			e.Looked = append(e.Looked, s.look(sl, reason, at))
		}
	}
	s.explained = append(s.explained, e)
}

// unfit is why no slice of the item can serve the line.
func (s *serving) unfit(it *item, w want) (Reason, capability.Time) {
	date := it.dated(s.l.dates(s.now))
	switch {
	case it.cut:
		return Withdrawn, 0
	case it.Version.Compare(w.Version) < 0:
		return OtherVersion, 0
	case !selects(it.Selectors, w.Selectors):
		return OtherKind, 0
	case !it.serves(s.req.User):
		return Assigned, 0
	case date == NotStarted:
		return date, it.Start
	case date != Usable:
		return date, it.Expiry
	case s.over(it) && s.inUse(it) > int64(it.Count):
		return Overused, 0
	case s.req.Operation == capability.Report && !it.Metered:
		return NotMetered, 0
	}
	return Usable, 0
}

func (s *serving) look(sl *slice, reason Reason, at capability.Time) Looked {
	x := Looked{Item: sl.item.ID(), Version: sl.item.Version, Source: sl.source, Skipped: reason, At: at}
	if reason != Usable {
		return x
	}
	x.Free = s.free(sl)
	switch {
	case sl.source.Entry != 0 && !s.reaches(sl):
		if s.owners == nil {
			s.owners = s.l.owners()
		}
		x.Skipped, x.Owner = Foreign, s.owners[sl.source.Entry].String()
	case !s.reaches(sl):
		x.Skipped = Unrouted
	case x.Free == 0 && s.beingReturned(sl):
		x.Skipped, x.At = BeingReturned, s.l.drainOf(sl.item.ActivationID).Deadline
	case x.Free == 0:
		x.Skipped = InUse
	}
	return x
}

// beingReturned says that a drain keeps the request from what is free of the slice.
func (s *serving) beingReturned(sl *slice) bool {
	n, drained := s.spare(sl)
	return drained && uint64(max(0, s.draft.count(sl)-s.draft.used(sl))) > n && sl.item.dated(s.l.dates(s.now)) == Usable
}

// owners is who each reservation entry is for.
func (l *Ledger) owners() map[uint64]hostid.ID {
	out := map[uint64]hostid.ID{}
	for _, g := range l.groups {
		for _, r := range g.Reservations {
			for _, e := range r.Entries {
				out[e.ID] = r.Host
			}
		}
	}
	return out
}

// why says why a line gets less than it asked for, with the most useful code.
func (s *serving) why(w want, sources []*slice, limited bool) capability.Denial {
	no := capability.Denial{Code: capability.ErrNotEntitled, Subject: w.Feature, Asked: w.Count}
	at := s.l.dates(s.now)
	var fitting, dated []*item
	others := false
	var doubted []*slice // that might serve if the system clock were believed
	for _, it := range s.l.features[w.Feature] {
		switch {
		case it.cut || !selects(it.Selectors, w.Selectors):
			continue
		case it.Version.Compare(w.Version) < 0:
			if it.Version.Compare(no.Highest) > 0 {
				no.Highest = it.Version
			}
			no.Code = capability.ErrVersion
			continue
		case !it.serves(s.req.User):
			others = true
			continue
		}
		fitting = append(fitting, it)
		switch it.dated(at) {
		case Usable:
			dated = append(dated, it)
		case Doubted:
			for _, sl := range it.slices {
				if s.reaches(sl) {
					doubted = append(doubted, sl)
				}
			}
		}
	}
	if len(fitting) == 0 {
		if others {
			no.Code, no.Highest = capability.ErrAssigned, capability.Version{}
		}
		return no
	}
	no.Highest = capability.Version{}
	if len(dated)+len(doubted) == 0 {
		no.Code = capability.ErrExpired
		for _, it := range fitting {
			if it.dated(at) == NotStarted && (no.Code == capability.ErrExpired || it.Start < no.Until) {
				no.Code, no.Until = capability.ErrNotStarted, it.Start
			}
		}
		return no
	}
	if len(s.route.Pools) == 0 {
		no.Code, no.Detail = capability.ErrRule, "the rules that are true for this device and user lead to no pool"
		return no
	}
	no.Code = capability.ErrNoSeat
	helps := !limited && s.wouldDo(w, sources, doubted)
	if len(dated) == 0 {
		sources = doubted
	}
	var free, total, used uint64
	frees := s.frees(sources)
	for i, sl := range sources {
		if sl.item.cut {
			continue
		}
		free += frees[i]
		if s.beingReturned(sl) {
			no.Detail = "counts of it are being returned"
		}
		total += uint64(s.draft.count(sl))
		used += uint64(s.draft.used(sl))
		if s.over(sl.item) {
			no.Code = capability.ErrOverage
		}
	}
	no.Available, no.Total, no.Used = clip(free), clip(total), clip(used)
	if helps {
		no.Code, no.Detail = capability.ErrClock, s.l.clock.Sentence(s.now.Wall)
	}
	if limited {
		no.Code = capability.ErrLimit
		for _, m := range s.limits {
			if m.Feature == w.Feature {
				no.Detail = fmt.Sprintf("at most %d of %s %s per %s", m.Count, m.Feature, m.Version, m.Per)
				no.Available = clip(min(free, m.left))
			}
		}
	}
	no.Until, no.Holders = s.holders(sources, s.policy.Holders, s.room)
	for _, h := range no.Holders {
		s.room -= len(h.Name) + holderBytes
	}
	return no
}

// wouldDo says that the line could have more if items that the system clock makes doubtful served as well.
func (s *serving) wouldDo(w want, sources, doubted []*slice) bool {
	var free, more uint64
	for _, sl := range sources {
		free += s.free(sl)
	}
	for _, sl := range doubted {
		more += s.free(sl)
	}
	return more > 0 && (w.Partial || free+more >= uint64(w.Count))
}
