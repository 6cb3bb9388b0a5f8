package portal

import (
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

func (p *Portal) restItems() []operation {
	see, entitle, move := needs(entitlement.ToSee), needs(entitlement.ToEntitle), needs(entitlement.ToMove)
	list := []operation{
		ask("list-items", "GET /items", see, "Line items, the newest first, without their machines", (*call).listItems),
		ask("get-item", "GET /items/{id}", see, "A line item with the machines that have copies of it", (*call).getItem),
		ask("new-item", "POST /items", entitle, "Entitle an account to copies of a product", (*call).createItem),
		ask("split-item", "POST /items/{id}/split", entitle, "Take copies into a line item of their own, which is the answer", (*call).splitItem),
		ask("retire-item", "POST /items/{id}/retire", move, "Take all of a line item back, for good", (*call).retireItem),
		ask("convert-item", "POST /items/{id}/convert", move, "Use a line item online instead of offline, or the other way round", (*call).convertItem),
	}
	for _, a := range alterations() {
		list = append(list, ask(a.String()+"-item", "POST /items/{id}/"+a.String(), entitle, alterationWords(a), func(c *call, o *backoffice.Office, in *alterIn) (entitlement.ItemView, error) {
			return c.alterItem(o, in, a)
		}))
	}
	return list
}

func alterationWords(a entitlement.Alter) string {
	switch a {
	case entitlement.Deploy:
		return "Deploy a draft"
	case entitlement.Suspend:
		return "Give nothing of a line item for the time being; takes a reason"
	case entitlement.Resume:
		return "End a suspension"
	case entitlement.Renew:
		return "Move the end of a line item; takes an expiry, or permanent"
	case entitlement.Archive:
		return "Make a line item obsolete"
	case entitlement.Merge:
		return "Add the copies to another line item; takes into"
	case entitlement.SetCopies:
		return "Set how many copies are entitled; takes copies"
	}
	return "Set how many copies are given beyond those entitled; takes copies"
}

type itemsIn struct {
	Search
	Paging
	State   string `query:"state" maxLength:"32"`
	Group   string `query:"group" maxLength:"128"`
	Account string `query:"account" maxLength:"128" doc:"with its parts"`
	Product string `query:"product" maxLength:"128"`
}

func (c *call) listItems(o *backoffice.Office, in *itemsIn) (page[entitlement.ItemView], error) {
	s := entitlement.ItemSearch{Text: in.Text, Group: in.Group}
	s.State, s.Product = entitlement.State(in.State), in.Product
	var err error
	if s.Within, err = c.cut(o, in.Account); err != nil {
		return page[entitlement.ItemView]{}, err
	}
	list, next := o.Book().FindItems(c.now, s, idOf(in.After), in.Limit)
	for n := range list {
		list[n].Hosts = []entitlement.ItemHolder{}
	}
	return page[entitlement.ItemView]{list, string(next)}, nil
}

// ItemPath names a line item.
type ItemPath struct {
	ID string `path:"id" maxLength:"64" doc:"the activation ID"`
}

func (c *call) getItem(o *backoffice.Office, in *ItemPath) (entitlement.ItemView, error) {
	return c.itemOf(o, in.ID)
}

type newItemIn struct {
	Body struct {
		Customer       string                  `json:"customer" required:"true" doc:"the account"`
		Product        string                  `json:"product" required:"true"`
		ProductVersion capability.Version      `json:"productVersion,omitzero"`
		Copies         uint32                  `json:"copies" required:"true"`
		Start          capability.Time         `json:"start,omitempty" doc:"zero: at once"`
		Expiry         capability.Time         `json:"expiry,omitempty" doc:"zero: it never expires"`
		Model          string                  `json:"model,omitempty"`
		EntitlementID  string                  `json:"entitlementId,omitempty" doc:"drawn if empty"`
		Features       []entitlement.Feature   `json:"features,omitempty" doc:"those of the product on record if empty"`
		Mode           entitlement.Mode        `json:"mode,omitempty"`
		Draft          bool                    `json:"draft,omitempty"`
		User           string                  `json:"user,omitempty"`
		MinimumTier    entitlement.Tier        `json:"minimumTier,omitempty"`
		Limits         []entitlement.TierLimit `json:"limits,omitempty"`
		Metered        bool                    `json:"metered,omitempty"`
		Reusable       bool                    `json:"reusable,omitempty"`
		UndoInterval   capability.Seconds      `json:"undoInterval,omitempty"`
		Replaces       string                  `json:"replaces,omitempty"`
		Marks          *entitlement.Marks      `json:"marks,omitempty"`
	}
}

func (c *call) createItem(o *backoffice.Office, in *newItemIn) (entitlement.ItemView, error) {
	b := &in.Body
	i := entitlement.Item{Customer: b.Customer, Product: b.Product, ProductVersion: b.ProductVersion, Copies: b.Copies, Start: b.Start, Expiry: b.Expiry, Model: b.Model, EntitlementID: b.EntitlementID, Features: b.Features, Mode: b.Mode,
		User: b.User, MinimumTier: b.MinimumTier, Limits: b.Limits, Metered: b.Metered, Reusable: b.Reusable, UndoInterval: b.UndoInterval, Marks: b.Marks}
	if b.Replaces != "" {
		id, err := capability.ParseActivationID(b.Replaces)
		if err != nil {
			return entitlement.ItemView{}, field("replaces", err)
		}
		i.Replaces = id
	}
	if b.Draft {
		i.Life.Stage = entitlement.StageDraft
	}
	return o.Entitle(i, c.login.Name, c.now)
}

type alterIn struct {
	ItemPath
	Body struct {
		Reason    string          `json:"reason,omitempty"`
		Expiry    capability.Time `json:"expiry,omitempty"`
		Permanent bool            `json:"permanent,omitempty"`
		Into      string          `json:"into,omitempty"`
		Copies    *uint32         `json:"copies,omitempty"`
	}
}

func (c *call) alterItem(o *backoffice.Office, in *alterIn, do entitlement.Alter) (entitlement.ItemView, error) {
	i, err := c.itemOf(o, in.ID)
	if err != nil {
		return i, err
	}
	b := &in.Body
	change := entitlement.ItemChange{ActivationID: i.ActivationID, Do: do}
	switch do {
	case entitlement.Suspend:
		change.Reason = strings.TrimSpace(b.Reason)
	case entitlement.Renew:
		if change.Expiry = b.Expiry; (b.Expiry == 0) != b.Permanent {
			return i, capability.Refuse(capability.ErrForm, "expiry", "say until when, or that it is permanent")
		}
	case entitlement.Merge:
		other, err := c.itemOf(o, b.Into)
		if err != nil {
			return i, err
		}
		change.To = other.ActivationID
	case entitlement.SetCopies, entitlement.SetExtra:
		if b.Copies == nil {
			return i, capability.Refuse(capability.ErrForm, "copies", "say how many")
		}
		change.Copies = *b.Copies
	}
	if err := o.Do(entitlement.ChangeItem{Change: change, By: c.login.Name}, c.now); err != nil {
		return i, err
	}
	return c.itemOf(o, in.ID)
}

type splitIn struct {
	ItemPath
	Body struct {
		Copies uint32 `json:"copies" required:"true"`
	}
}

func (c *call) splitItem(o *backoffice.Office, in *splitIn) (entitlement.ItemView, error) {
	i, err := c.itemOf(o, in.ID)
	if err != nil {
		return i, err
	}
	return o.Split(i.ActivationID, in.Body.Copies, c.login.Name, c.now)
}

// onItem has a command about a line item done, and answers with the line item after it.
func (c *call) onItem(o *backoffice.Office, in *ItemPath, command func(i *entitlement.ItemView) (entitlement.Command, error)) (entitlement.ItemView, error) {
	i, err := c.itemOf(o, in.ID)
	if err != nil {
		return i, err
	}
	do, err := command(&i)
	if err != nil {
		return i, err
	}
	if err := o.Do(do, c.now); err != nil {
		return i, err
	}
	return c.itemOf(o, in.ID)
}

func (c *call) retireItem(o *backoffice.Office, in *ItemPath) (entitlement.ItemView, error) {
	return c.onItem(o, in, func(i *entitlement.ItemView) (entitlement.Command, error) {
		return entitlement.Retire{ActivationID: i.ActivationID, By: c.login.Name}, nil
	})
}

type convertIn struct {
	ItemPath
	Body struct {
		To entitlement.Mode `json:"to" required:"true"`
	}
}

func (c *call) convertItem(o *backoffice.Office, in *convertIn) (entitlement.ItemView, error) {
	return c.onItem(o, &in.ItemPath, func(i *entitlement.ItemView) (entitlement.Command, error) {
		return entitlement.Convert{ActivationID: i.ActivationID, To: in.Body.To, By: c.login.Name}, nil
	})
}
