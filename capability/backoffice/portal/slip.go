package portal

import (
	"encoding/base64"
	"html/template"

	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

type itemSlipView struct {
	Customer, Contact, Entitlement string
	Rows                           []slipRow
	Next                           string
}

type slipRow struct {
	ID, Product, Kind, Expires string
	Copies                     uint32
	Picture                    template.URL
}

// itemSlip is a sheet to print: the activation IDs of the entitlement that a line item is of.
func (v *visit) itemSlip() error {
	view, path := itemSlipView{}, ""
	err := v.office(func(o *backoffice.Office) error {
		i, err := v.item(o)
		if err != nil {
			return err
		}
		path = "/items/" + string(i.ActivationID) + "/slip"
		view.Customer, view.Contact, view.Entitlement = i.Customer, o.Book().Account(i.Customer).Contact, i.EntitlementID
		page, more := o.Book().ItemPage(v.now, entitlement.ItemFilter{Customer: i.Customer, EntitlementID: i.EntitlementID}, idOf(v.query("after")), pageRows)
		for n := range page {
			p := &page[n]
			kind, mode := o.Book().Use(p.ActivationID)
			view.Rows = append(view.Rows, slipRow{ID: string(p.ActivationID), Product: p.Product + " " + p.ProductVersion.String(), Kind: kind.String() + ", used " + mode.String(), Expires: until(p.Expiry), Copies: p.Copies})
		}
		if more {
			view.Next = web.PathTo(path, "after", string(page[len(page)-1].ActivationID))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for n := range view.Rows { // outside of the office's turn
		image, err := picture(view.Rows[n].ID)
		if err != nil {
			return err
		}
		view.Rows[n].Picture = template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(image))
	}
	return v.show("slip", "Activation IDs", view)
}
