package entitlement

import (
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// A group is a business unit's: line items and users are in it by its name, and lists are cut to it. It exists as long as something is in it, and it grants nothing.

// ErrGroup is in the error of a change of a group that cannot be; it says why.
var ErrGroup = errors.New("group")

// MaxGroups that one line item or one user can be in.
const MaxGroups = 16

// SetGroup puts a line item or a user into a group, or takes it out.
type SetGroup struct {
	Group        string
	ActivationID capability.ActivationID // of the line item; or
	User         UserID
	Remove       bool
	By           string
}

// Grouped is the fact of it.
type Grouped struct {
	Group        string                  `cbor:"1,keyasint,omitzero" json:"group"`
	ActivationID capability.ActivationID `cbor:"2,keyasint,omitzero" json:"activationId,omitempty"`
	User         UserID                  `cbor:"3,keyasint,omitzero" json:"user,omitzero"`
	Remove       bool                    `cbor:"4,keyasint,omitzero" json:"remove,omitempty"`
}

func (c SetGroup) decide(b *Book, now capability.Time) (*Decision, error) {
	g := &Grouped{c.Group, c.ActivationID, c.User, c.Remove}
	if c.ActivationID == "" {
		u, err := b.mustUser(c.User)
		if err != nil {
			return nil, err
		}
		g.User = u.ID
	} else if b.byID[c.ActivationID] == nil {
		return nil, capability.Refuse(capability.ErrUnknownID, string(c.ActivationID), "it cannot be in a group")
	}
	if err := b.grouped(g); err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrGroup, c.Group, err)
	}
	e := b.entry(now, c.By)
	e.Group = g
	return &Decision{Entries: []*Entry{e}}, nil
}

// groupsOf is the list that a change is about.
func (b *Book) groupsOf(g *Grouped) *[]string {
	if i := b.byID[g.ActivationID]; i != nil && g.User == (UserID{}) {
		return &i.Groups
	}
	if u := b.user(g.User); u != nil && g.ActivationID == "" && u.ID == g.User {
		return &u.Groups
	}
	return nil
}

// grouped says why a change cannot be.
func (b *Book) grouped(g *Grouped) error {
	if err := capability.CheckName("group", g.Group); err != nil {
		return err
	}
	list := b.groupsOf(g)
	if list == nil {
		return errors.New("neither one line item nor one user of the book is named")
	}
	_, in := slices.BinarySearch(*list, g.Group)
	switch {
	case g.Remove && !in:
		return errors.New("it is not in there")
	case !g.Remove && in:
		return errors.New("it is in there already")
	case !g.Remove && len(*list) >= MaxGroups:
		return fmt.Errorf("it is in %d groups, and in no more can it be", MaxGroups)
	}
	return nil
}

func (b *Book) applyGroup(g *Grouped) error {
	if err := b.grouped(g); err != nil {
		return err
	}
	list := b.groupsOf(g)
	at, _ := slices.BinarySearch(*list, g.Group)
	if g.Remove {
		*list = slices.Delete(slices.Clone(*list), at, at+1)
		if len(*list) == 0 {
			*list = nil
		}
		return nil
	}
	*list = slices.Insert(slices.Clone(*list), at, g.Group)
	return nil
}

func validateGroups(list []string) error {
	if len(list) > MaxGroups {
		return fmt.Errorf("%d groups where at most %d are allowed", len(list), MaxGroups)
	}
	for n, g := range list {
		if err := capability.CheckName("group", g); err != nil {
			return err
		}
		if n > 0 && list[n-1] >= g {
			return fmt.Errorf("group %q is there twice, or out of order", g)
		}
	}
	return nil
}

// GroupView is a group with what is in it.
type GroupView struct {
	Name  string                    `json:"name"`
	Items []capability.ActivationID `json:"items"`
	Users []UserID                  `json:"users"`
}

// Groups are all groups by name.
func (b *Book) Groups() []GroupView {
	list := []GroupView{}
	in := func(name string) *GroupView {
		at, there := slices.BinarySearchFunc(list, name, func(g GroupView, name string) int {
			switch {
			case g.Name < name:
				return -1
			case g.Name > name:
				return 1
			}
			return 0
		})
		if !there {
			list = slices.Insert(list, at, GroupView{Name: name, Items: []capability.ActivationID{}, Users: []UserID{}})
		}
		return &list[at]
	}
	for _, i := range b.items {
		for _, g := range i.Groups {
			v := in(g)
			v.Items = append(v.Items, i.ActivationID)
		}
	}
	for _, u := range b.users {
		for _, g := range u.Groups {
			v := in(g)
			v.Users = append(v.Users, u.ID)
		}
	}
	return list
}
