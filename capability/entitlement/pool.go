package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// SetPool puts a user into the pool of a floating item that is used online, takes one out, or opens the pool to everybody of the item's account. Nobody takes a session before.
type SetPool struct {
	ActivationID capability.ActivationID
	User         UserID            // or
	Everybody    bool              // of the account and those below it
	Code         capability.Digest // of the slip of a user who is not in the book yet
	Remove       bool
	By           string
}

// PoolFact is the fact of it.
type PoolFact struct {
	ActivationID capability.ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	User         UserID                  `cbor:"2,keyasint,omitzero" json:"user,omitzero"`
	Everybody    bool                    `cbor:"3,keyasint,omitzero" json:"everybody,omitempty"`
	Remove       bool                    `cbor:"4,keyasint,omitzero" json:"remove,omitempty"`
}

func (c SetPool) decide(b *Book, now capability.Time) (*Decision, error) {
	i, err := b.poolItem(c.ActivationID)
	if err != nil {
		return nil, err
	}
	d, f := &Decision{}, &PoolFact{ActivationID: c.ActivationID, Everybody: c.Everybody, Remove: c.Remove}
	if !c.Everybody {
		if !b.Within(c.User.Account, i.Customer) {
			return nil, capability.Refuse(capability.ErrNoUser, c.User.Name, "the user is of another account than the line item")
		}
		u := b.user(c.User)
		if u == nil && c.Remove {
			return nil, capability.Refuse(capability.ErrNoUser, c.User.Name, "in the account %s", c.User.Account)
		}
		if d, f.User, err = b.withUser(now, u, c.User, c.Code, c.By); err != nil {
			return nil, err
		}
	}
	if _, in := i.findMember(f.User); !c.Everybody && in == !c.Remove || c.Everybody && i.Everybody == !c.Remove {
		return nil, fmt.Errorf("%w of %s: it is so already", ErrUser, i.ActivationID)
	}
	e := b.entry(now, c.By)
	e.Pool = f
	d.Entries = append(d.Entries, e)
	b.chain(d)
	return d, nil
}

func (b *Book) poolItem(id capability.ActivationID) (*item, error) {
	i := b.byID[id]
	switch {
	case i == nil:
		return nil, capability.Refuse(capability.ErrUnknownID, string(id), "it has no pool")
	case b.kindOf(i) != Floating || b.mode(i) != Online:
		return nil, capability.Refuse(capability.ErrMode, string(id), "its kind is %s and it is used %s; a pool of users is for the kind %s, used online", b.kindOf(i), b.mode(i), Floating)
	}
	return i, nil
}

// findMember is where a user is in the pool, or belongs.
func (i *item) findMember(u UserID) (int, bool) {
	return slices.BinarySearchFunc(i.pool, u, compareUsers)
}

// inPool says whether a user may take sessions of a floating item.
func (b *Book) inPool(i *item, u UserID) bool {
	_, in := i.findMember(u)
	return in || i.Everybody && b.Within(u.Account, i.Customer)
}

func (b *Book) applyPool(f *PoolFact) error {
	i := b.byID[f.ActivationID]
	if i == nil || b.kindOf(i) != Floating || b.mode(i) != Online {
		return fmt.Errorf("a pool of %s, which is not floating and online", f.ActivationID)
	}
	if f.Everybody {
		if f.User != (UserID{}) || i.Everybody == !f.Remove {
			return fmt.Errorf("the pool of %s is opened or closed twice, or for one user", f.ActivationID)
		}
		i.Everybody = !f.Remove
		return nil
	}
	at, in := i.findMember(f.User)
	u := b.user(f.User)
	switch {
	case u == nil || u.ID != f.User || in == !f.Remove:
		return fmt.Errorf("%s is put into the pool of %s, or taken out, twice, or is not in the book", f.User, f.ActivationID)
	case f.Remove:
		i.pool = slices.Delete(i.pool, at, at+1)
	default:
		i.pool = slices.Insert(i.pool, at, f.User)
	}
	return nil
}

// Pool are the members of the pool of an item.
func (b *Book) Pool(id capability.ActivationID) []UserID {
	if i := b.byID[id]; i != nil {
		return append([]UserID{}, i.pool...)
	}
	return nil
}
