package entitlement

import (
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// A line item has a life. It may begin as a draft, of which nobody gets anything; it is suspended and resumed, renewed when it has expired, and archived at its end. Its copies can be split
// off and merged, and their number can be changed, without touching a machine: what machines have they keep until it ends or comes back.

// Stage is what was done with an item, as far as it lasts. Zero is where items begin that are no drafts.
type Stage uint8

const (
	StageDeployed Stage = 0
	StageDraft    Stage = 1
	StageRetiring Stage = 2 // asked back as a whole
	StageInactive Stage = 3 // all of it came back, or was written off
	StageObsolete Stage = 4 // final
)

// Life is the part of an item that changes.
type Life struct {
	Stage     Stage                   `cbor:"1,keyasint,omitzero" json:"stage,omitempty"`
	Suspended capability.Time         `cbor:"2,keyasint,omitzero" json:"suspended,omitempty"` // since; zero: it is not
	Reason    string                  `cbor:"3,keyasint,omitzero" json:"reason,omitempty"`    // of the last suspension
	Extra     uint32                  `cbor:"4,keyasint,omitzero" json:"extra,omitempty"`     // copies beyond those entitled, on the producer's word
	Gone      uint32                  `cbor:"5,keyasint,omitzero" json:"gone,omitempty"`      // copies that were returned, and not credited
	Cut       bool                    `cbor:"6,keyasint,omitzero" json:"cut,omitempty"`       // more are in use than entitled, because the number was lowered
	MergedTo  capability.ActivationID `cbor:"7,keyasint,omitzero" json:"mergedTo,omitempty"`  // where what comes back goes
	SplitFrom capability.ActivationID `cbor:"8,keyasint,omitzero" json:"splitFrom,omitempty"`
	Retired   capability.Time         `cbor:"9,keyasint,omitzero" json:"retired,omitempty"` // when all of it was asked back
}

// Alter is one thing that was done with an item.
type Alter uint8

const (
	Deploy    Alter = 1
	Suspend   Alter = 2
	Resume    Alter = 3
	Renew     Alter = 4 // to Expiry
	Archive   Alter = 5
	Split     Alter = 6 // Copies of what is left, to the new activation ID To
	Merge     Alter = 7 // into To
	SetCopies Alter = 8 // to Copies
	SetExtra  Alter = 9 // to Copies
)

func (a Alter) String() string {
	if names := [...]string{"", "deploy", "suspend", "resume", "renew", "archive", "split", "merge", "quantity", "extra"}; a > 0 && int(a) < len(names) {
		return names[a]
	}
	return fmt.Sprintf("change %d", uint8(a))
}

// ItemChange is the fact that something was done with an item.
type ItemChange struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	Do           Alter                   `cbor:"2,keyasint,omitzero" json:"do"`
	Copies       uint32                  `cbor:"3,keyasint,omitzero" json:"copies,omitempty"`
	Expiry       capability.Time         `cbor:"4,keyasint,omitzero" json:"expiry,omitempty"`
	To           capability.ActivationID `cbor:"5,keyasint,omitzero" json:"to,omitempty"`
	Reason       string                  `cbor:"6,keyasint,omitzero" json:"reason,omitempty"`
}

// ChangeItem does something with an item. Of a split the caller drew the new activation ID.
type ChangeItem struct {
	Change ItemChange
	By     string
}

func (c ChangeItem) decide(b *Book, now capability.Time) (*Decision, error) {
	if err := b.alters(&c.Change, now); err != nil {
		if r := (*capability.Refusal)(nil); errors.As(err, &r) {
			return nil, r
		}
		return nil, fmt.Errorf("%w: %w", ErrItem, err)
	}
	e := b.entry(now, c.By)
	e.Change = &c.Change
	return &Decision{Entries: []*Entry{e}}, nil
}

// alters says why something cannot be done with an item: a *capability.Refusal where the item's state forbids it.
func (b *Book) alters(c *ItemChange, now capability.Time) error {
	i := b.byID[c.ActivationID]
	if i == nil {
		return capability.Refuse(capability.ErrUnknownID, string(c.ActivationID), "to %s it", c.Do)
	}
	if err := capability.CheckText(c.Reason); err != nil {
		return fmt.Errorf("reason: %w", err)
	}
	if c.To != "" {
		if err := c.To.Validate(); err != nil {
			return err
		}
	}
	no := func(format string, args ...any) error {
		return capability.Refuse(capability.ErrItemState, string(i.ActivationID), format, args...)
	}
	state, in := b.state(i, now), i.Life.Stage
	switch {
	case in == StageObsolete:
		return no("it is obsolete, which is final")
	case i.Life.MergedTo != "" && c.Do != Archive:
		return no("it was merged into %s", i.Life.MergedTo)
	case in > StageDraft && c.Do != Archive && c.Do != Suspend && c.Do != Resume:
		return no("it is %s", state)
	}
	switch c.Do {
	case Deploy:
		if in != StageDraft {
			return no("it is %s, and no draft", state)
		}
	case Suspend:
		if i.Life.Suspended != 0 || in == StageDraft || in == StageInactive {
			return no("it is %s", state)
		}
	case Resume:
		if i.Life.Suspended == 0 {
			return no("it is %s, and not suspended", state)
		}
	case Renew:
		switch {
		case i.Expiry == 0:
			return no("it does not expire")
		case c.Expiry != 0 && (c.Expiry <= i.Expiry || c.Expiry <= now):
			return fmt.Errorf("it expires %s, and %s is not later than that and than now", i.Expiry, c.Expiry)
		}
	case Archive:
		if ends := b.ends(i); state != Inactive && in != StageDraft && (ends == 0 || now < ends) {
			return no("it is %s; what is archived is inactive, has expired, or is a draft", state)
		}
	case Split:
		return b.splits(i, c)
	case Merge:
		return b.merges(i, c, now)
	case SetCopies:
		if c.Copies == 0 || uint64(c.Copies)+uint64(i.Life.Extra)+i.incoming() > i.mostCopies() {
			return fmt.Errorf("%d copies, with %d that are extra and %d that may come back to it: 1 to %d are allowed in all", c.Copies, i.Life.Extra, i.incoming(), i.mostCopies())
		}
	case SetExtra:
		if uint64(c.Copies)+uint64(i.Copies)+i.incoming() > i.mostCopies() {
			return fmt.Errorf("%d copies with %d that are extra: at most %d are allowed in all", i.Copies, c.Copies, i.mostCopies())
		}
		if c.Copies > i.Life.Extra {
			if r := b.spent(i, ActExtra, c.Copies-i.Life.Extra, now); r != nil {
				return r
			}
		}
	default:
		return fmt.Errorf("%s is not known", c.Do)
	}
	return nil
}

// splits: what is split off comes of what is left.
func (b *Book) splits(i *item, c *ItemChange) error {
	if err := c.To.Validate(); err != nil {
		return err
	}
	if b.byID[c.To] != nil {
		return fmt.Errorf("activation ID %s is in the book already", c.To)
	}
	if c.Copies == 0 || c.Copies >= i.Copies {
		return fmt.Errorf("%d copies of %d: at least one on each side", c.Copies, i.Copies)
	}
	if left := i.left(); c.Copies > left || i.Life.Extra > 0 { // extra copies would be split off as entitled ones
		r := &capability.Refusal{Denial: capability.Denial{Code: capability.ErrTooFew, Subject: string(i.ActivationID), Asked: c.Copies, Available: left, Total: i.Copies, Used: i.Copies - min(left, i.Copies)}}
		if i.Life.Extra > 0 {
			r.Detail = fmt.Sprintf("%d copies are extra, and not to be split", i.Life.Extra)
		} else {
			r.Detail = b.holdersWords(i)
		}
		return r
	}
	return nil
}

// holdersWords names machines that have copies of an item, so that somebody can ask for them back.
func (b *Book) holdersWords(i *item) string {
	const most = 8
	words, more := "", 0
	for n, h := range b.holders(i) {
		if n >= most {
			more++
			continue
		}
		if n > 0 {
			words += ", "
		}
		words += fmt.Sprintf("%d on %s", h.held(i.ActivationID), h.Host.Short())
	}
	if more > 0 {
		words += fmt.Sprintf(" and %d machines more", more)
	}
	return words
}

// holders are the machines that have copies of an item.
func (b *Book) holders(i *item) (list []*Host) {
	for _, h := range b.hosts {
		if h.held(i.ActivationID) > 0 {
			list = append(list, h)
		}
	}
	return list
}

// merges: two items become one only where nothing but their number tells them apart.
func (b *Book) merges(i *item, c *ItemChange, now capability.Time) error {
	to := b.byID[c.To]
	no := func(format string, args ...any) error {
		return capability.Refuse(capability.ErrItemState, string(i.ActivationID), format, args...)
	}
	switch {
	case to == nil:
		return capability.Refuse(capability.ErrUnknownID, string(c.To), "to merge into")
	case to == i:
		return fmt.Errorf("%s cannot be merged into itself", c.To)
	case i.seated() > 0 || len(i.pool) > 0:
		return no("users have seats of it, or are in its pool")
	case i.Life.Cut || i.Life.Extra > 0:
		return no("more of it is in use than entitled, or may be")
	case i.ties != nil && i.ties.mappings > 0:
		return no("%d devices are to have another number of its copies than they have", i.ties.mappings)
	case slices.ContainsFunc(b.running, func(o *Order) bool { return o.ActivationID == i.ActivationID }):
		return no("an order to move copies of it is open")
	case i.sharedSeat(to) != nil:
		s := i.sharedSeat(to)
		return capability.Refuse(capability.ErrSeatElsewhere, s.User.Name, "the user has a seat of %s and one of %s, and of one license no user has two: withdraw one first", i.ActivationID, to.ActivationID)
	case i.sharedMachine(to) != nil:
		s := i.sharedMachine(to)
		return capability.Refuse(capability.ErrSeatElsewhere, s.User.Name, "%s has seats of both %s and %s, and a machine has the seat of one user: withdraw one first", s.Host.Short(), i.ActivationID, to.ActivationID)
	case to.Life.MergedTo != "" || to.Life.Stage > StageDraft || to.Life.Stage != i.Life.Stage:
		return no("%s is %s", to.ActivationID, b.state(to, now))
	case (to.Life.Suspended == 0) != (i.Life.Suspended == 0):
		return no("one of it and %s is suspended", to.ActivationID)
	case !i.like(&to.Item):
		return no("%s is not the same: a customer, product, model, feature, date or limit differs", to.ActivationID)
	case uint64(to.Copies)+uint64(to.Life.Extra)+to.incoming()+uint64(i.Copies)+i.incoming() > to.mostCopies():
		return fmt.Errorf("%d and %d copies are more than the %d allowed", to.Copies, i.Copies, to.mostCopies())
	}
	return nil
}

// like says that two items give the same rights to the same people.
func (i *Item) like(o *Item) bool {
	return i.Customer == o.Customer && i.Product == o.Product && i.ProductVersion == o.ProductVersion && slices.Equal(i.Features, o.Features) &&
		i.Start == o.Start && i.Expiry == o.Expiry && i.MinimumTier == o.MinimumTier && i.Metered == o.Metered && i.Reusable == o.Reusable &&
		i.UndoInterval == o.UndoInterval && slices.Equal(i.Limits, o.Limits) && i.User == o.User && i.Mode == o.Mode && i.Everybody == o.Everybody && i.Model == o.Model && i.marks() == o.marks()
}

// mostCopies is how many copies an item may have, so that each feature stays a count.
func (i *Item) mostCopies() uint64 {
	most := uint64(capability.MaxCount)
	for _, f := range i.Features {
		most = min(most, capability.MaxCount/uint64(max(1, f.PerCopy)))
	}
	return most
}

func (b *Book) applyChange(e *Entry) error {
	c := e.Change
	if err := b.alters(c, e.Time); err != nil {
		return err
	}
	i := b.byID[c.ActivationID]
	switch c.Do {
	case Deploy:
		i.Life.Stage = StageDeployed
	case Suspend:
		for _, i := range i.whole() {
			i.Life.Suspended, i.Life.Reason = e.Time, c.Reason
		}
	case Resume:
		for _, i := range i.whole() {
			i.Life.Suspended, i.Life.Reason = 0, ""
		}
	case Renew:
		for _, i := range i.whole() {
			i.Expiry = c.Expiry
		}
	case Archive:
		i.Life.Stage = StageObsolete
	case Split:
		b.split(i, c, e.Time)
	case Merge:
		b.merge(i, b.byID[c.To])
	case SetCopies:
		i.Copies = c.Copies
	case SetExtra:
		if c.Copies > i.Life.Extra {
			b.count(i, ActExtra, c.Copies-i.Life.Extra, e.Time)
		}
		i.Life.Extra = c.Copies
	}
	i.Life.Cut = i.overage() > 0
	return nil
}

func (b *Book) split(i *item, c *ItemChange, now capability.Time) {
	n := i.Item
	n.ActivationID, n.Copies, n.Issued, n.Replaces = c.To, c.Copies, now, ""
	n.Features, n.Limits, n.Groups = slices.Clone(i.Features), slices.Clone(i.Limits), slices.Clone(i.Groups)
	n.Life = Life{Stage: i.Life.Stage, Suspended: i.Life.Suspended, Reason: i.Life.Reason, SplitFrom: i.ActivationID}
	it := &item{Item: n}
	if len(i.acts()) > 0 {
		it.tie().acts = cloneActs(i.acts())
	}
	b.addItem(it)
	i.Copies -= c.Copies
}

func (b *Book) merge(i, to *item) {
	i.Life.MergedTo = to.ActivationID
	left := i.left()
	i.Copies -= left
	to.Copies += left
	to.join(i)
	for _, a := range i.acts() {
		to.tie().did(a)
	}
	to.Life.Cut = to.overage() > 0
}

func cloneActs(list []Acts) []Acts {
	list = slices.Clone(list)
	for n := range list {
		list[n].Times = slices.Clone(list[n].Times)
	}
	return list
}

// target is where copies go that come back to an item: itself, or what it was merged into.
func (b *Book) target(i *item) *item {
	for i.Life.MergedTo != "" {
		i = b.byID[i.Life.MergedTo]
	}
	return i
}

// settle comes after every change of what is in use of an item: copies that came back to one that was merged go on to the other, and an overage ends.
func (b *Book) settle(i *item) {
	if to := b.target(i); to != i {
		over := i.left()
		i.Copies -= over
		to.Copies += over
		to.ties.incoming -= uint64(over)
		to.Life.Cut = to.overage() > 0
	}
	i.Life.Cut = i.Life.Cut && i.overage() > 0
	if i.Life.Stage == StageRetiring && i.used == 0 {
		i.Life.Stage = StageInactive
	}
}

// giveUp takes copies that came back and are not credited out of what was entitled. Where more were in use than that, what came back was not entitled to any more.
func (b *Book) giveUp(i *item, copies uint32) {
	copies = min(copies, i.left())
	i.Life.Gone = min(i.Life.Gone+copies, capability.MaxCount)
	entitled := min(copies, i.Copies)
	i.Copies -= entitled
	if to := b.target(i); to != i {
		to.ties.incoming -= uint64(entitled)
	}
	i.Life.Extra -= min(copies-entitled, i.Life.Extra)
}

// tie is where the ties of an item are written.
func (i *item) tie() *ties {
	if i.ties == nil {
		i.ties = &ties{}
	}
	return i.ties
}

// acts are those that were done with an item.
func (i *item) acts() []Acts {
	if i.ties == nil {
		return nil
	}
	return i.ties.acts
}

// incoming is how many copies may come back to an item from what was merged into it.
func (i *item) incoming() uint64 {
	if i.ties == nil {
		return 0
	}
	return i.ties.incoming
}

// join takes note of an item that was merged into this one.
func (i *item) join(other *item) {
	t := i.tie()
	t.merged = append(t.merged, other)
	t.incoming += uint64(other.Copies) + other.incoming()
	if other.ties != nil {
		other.ties.incoming = 0
	}
}

// whole is an item with all that was merged into it.
func (i *item) whole() []*item {
	list := []*item{i}
	if i.ties != nil {
		for _, other := range i.ties.merged {
			list = append(list, other.whole()...)
		}
	}
	return list
}

// rejoin finds in a restored book what was merged into what.
func (b *Book) rejoin() error {
	for _, i := range b.items {
		if i.Life.MergedTo == "" {
			continue
		}
		to := b.byID[i.Life.MergedTo]
		if to == nil {
			return corrupt("item %s was merged into %s, which is not in the book", i.ActivationID, i.Life.MergedTo)
		}
		to.tie().merged = append(to.tie().merged, i)
	}
	for _, i := range b.items {
		to := i
		for n := 0; to.Life.MergedTo != ""; to = b.byID[to.Life.MergedTo] {
			if n++; n > len(b.items) {
				return corrupt("item %s was merged into itself", i.ActivationID)
			}
		}
		if to != i {
			to.tie().incoming += uint64(i.Copies)
		}
	}
	return nil
}

// state is where an item stands at the moment now.
func (b *Book) state(i *item, now capability.Time) State {
	l := &i.Life
	switch {
	case l.Stage == StageObsolete:
		return Obsolete
	case l.Stage == StageInactive || l.MergedTo != "" && i.used == 0:
		return Inactive
	case l.Stage == StageRetiring:
		return Retiring
	case l.MergedTo != "":
		return Merged
	case l.Stage == StageDraft:
		return Draft
	case l.Suspended != 0:
		return Suspended
	case i.Expiry != 0 && now >= b.ends(i):
		return Expired
	case i.Expiry != 0 && now >= i.Expiry:
		return InGrace
	case i.used == 0:
		return Available
	case i.left() == 0:
		return FullyUsed
	}
	return PartlyUsed
}

// checkLife says whether an item's life is as it can become.
func (b *Book) checkLife(i *item) error {
	l := &i.Life
	switch {
	case l.Stage > StageObsolete:
		return fmt.Errorf("stage %d", l.Stage)
	case l.Cut != (i.overage() > 0):
		return fmt.Errorf("%d more are in use than entitled, and it is cut or not: %t", i.overage(), l.Cut)
	case (l.Retired != 0) != (l.Stage == StageRetiring || l.Stage == StageInactive) && l.Stage != StageObsolete || l.Stage == StageRetiring && i.used == 0 || l.Stage == StageInactive && i.used > 0:
		return fmt.Errorf("stage %d with %d copies in use, asked back %s", l.Stage, i.used, l.Retired)
	case l.MergedTo != "" && (b.byID[l.MergedTo] == nil || i.left() > 0 || l.Extra > 0):
		return fmt.Errorf("it was merged into %s, and %d are left", l.MergedTo, i.left())
	case i.Model != "" && b.catalog.models.named[i.Model] == nil:
		return fmt.Errorf("there is no license model %q", i.Model)
	}
	if len(l.Reason) > capability.MaxText {
		return fmt.Errorf("a reason of %d bytes", len(l.Reason))
	}
	return i.checkActs()
}
