package portal

import (
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/hostid"
)

func (p *Portal) restDevices() []operation {
	see, move := needs(entitlement.ToSee), needs(entitlement.ToMove)
	return []operation{
		ask("list-devices", "GET /devices", see, "Devices: those that never asked, then machines, the newest first", (*call).listDevices),
		ask("get-device", "GET /devices/{id}", see, "A device, with what it serves where it has said so", (*call).getDevice),
		ask("set-device", "POST /devices", move, "Enter a device before it has asked, or change what is said of one", (*call).saveDevice),
		ask("list-returns", "GET /devices/{id}/returns", see, "What a machine gave back, and what became of it", (*call).listReturns),
		ask("list-exchanges", "GET /devices/{id}/requests", see, "Requests of a machine that were answered, the newest first", (*call).listExchanges),
		ask("map-device", "POST /devices/{id}/map", move, "Set how many copies of a line item a device shall have; fewer are asked back", (*call).mapTo),
		ask("unmap-device", "POST /devices/{id}/unmap", move, "End a mapping: the machine's own wishes count again", (*call).unmapFrom),
		ask("move-device", "POST /devices/{id}/move", move, "Order a planned re-host: what this device proves to be gone the other one gets", (*call).orderMove),
		ask("end-order", "POST /devices/{id}/orders/{order}/end", move, "Let go of what an order has not moved", (*call).endMove),
		ask("list-orders", "GET /orders", see, "Planned re-hosts that are open, oldest first", (*call).listOrders),
		ask("propose-write-off", "POST /devices/{id}/write-off", move, "Propose to credit what a machine has that proves nothing any more", (*call).proposeOff),
	}
}

// deviceOut is a device as it is named in paths, and what became of it.
type deviceOut struct {
	Address string `json:"address"` // VALUE/TYPE
	entitlement.DeviceView
	Served *entitlement.ServedView `json:"served,omitempty"` // absent: it never sent a record of usage
}

// deviceOutOf leaves out of a device who of the staff did what with it, and why, where a customer asks.
func (c *call) deviceOutOf(o *backoffice.Office, d *entitlement.DeviceView) deviceOut {
	out := deviceOut{Address: d.ID.String(), DeviceView: *d}
	if c.login.Account == "" {
		return out
	}
	if m := d.Moved; m != nil {
		told := *m
		told.By, told.Approved, told.Reason = theProducer, theProducer, ""
		out.Moved = &told
	}
	out.Off, out.Orders = slices.Clone(d.Off), slices.Clone(d.Orders)
	for n := range out.Off {
		out.Off[n].By, out.Off[n].Approved, out.Off[n].Reason = theProducer, theProducer, ""
	}
	for n := range out.Orders {
		c.veil(o, &out.Orders[n].By)
	}
	return out
}

type devicesIn struct {
	Search
	Paging
	Account string `query:"account" maxLength:"128" doc:"with its parts"`
	Waiting bool   `query:"waiting" doc:"only those that are waited for"`
	Forked  bool   `query:"forked" doc:"only those with two histories"`
}

func (c *call) listDevices(o *backoffice.Office, in *devicesIn) (page[deviceOut], error) {
	s := entitlement.DeviceSearch{Text: in.Text, Waiting: in.Waiting, Forked: in.Forked}
	var err error
	if s.Within, err = c.cut(o, in.Account); err != nil {
		return page[deviceOut]{}, err
	}
	after, _ := hostid.Parse(in.After)
	list, next := o.Book().FindDevices(s, after, in.Limit)
	out := page[deviceOut]{Items: []deviceOut{}}
	for n := range list {
		out.Items = append(out.Items, c.deviceOutOf(o, &list[n]))
	}
	if next != (hostid.ID{}) {
		out.Next = next.String()
	}
	return out, nil
}

// DevicePath names a device.
type DevicePath struct {
	ID string `path:"id" maxLength:"256" doc:"VALUE/TYPE, with %2F for the slash"`
}

func (c *call) getDevice(o *backoffice.Office, in *DevicePath) (deviceOut, error) {
	d, err := c.deviceOf(o, in.ID)
	if err != nil {
		return deviceOut{}, err
	}
	out := c.deviceOutOf(o, &d)
	if served, ok := o.Book().ServedBy(d.ID); ok {
		out.Served = &served
	}
	return out, nil
}

type setDeviceIn struct {
	Body struct {
		Address string `json:"address" required:"true" doc:"VALUE/TYPE: 64 digits, a slash and the type, as leasehold hostid prints it on the machine"`
		Name    string `json:"name,omitempty"`
		Contact string `json:"contact,omitempty"`
		Server  bool   `json:"server,omitempty" doc:"it runs an appliance"`
		Account string `json:"account,omitempty" doc:"staff says it; of a customer's device it is the customer's own"`
	}
}

func (c *call) saveDevice(o *backoffice.Office, in *setDeviceIn) (deviceOut, error) {
	id, err := hostid.Parse(strings.ToUpper(strings.TrimSpace(in.Body.Address)))
	if err != nil {
		return deviceOut{}, field("address", err)
	}
	said := entitlement.Device{ID: id, Account: c.login.Account}
	if d, there := o.Book().DeviceOf(id); there {
		if !c.within(o, o.Book().OwnerOf(id)) {
			return deviceOut{}, foreign(in.Body.Address)
		}
		said = d.Device
	}
	said.Name, said.Contact, said.Server = in.Body.Name, in.Body.Contact, in.Body.Server
	if c.login.Account == "" {
		said.Account = in.Body.Account
	}
	if err := o.Do(entitlement.SetDevice{Device: said, By: c.login.Name}, c.now); err != nil {
		return deviceOut{}, err
	}
	return c.getDevice(o, &DevicePath{id.String()})
}

type pagedDevice struct {
	DevicePath
	Paging
}

// hostOf is the machine that a device is; one that never asked is without a past.
func (c *call) hostOf(o *backoffice.Office, text string) (entitlement.Host, error) {
	d, err := c.deviceOf(o, text)
	if err != nil {
		return entitlement.Host{}, err
	}
	h, _ := o.Book().Host(d.ID)
	return h, nil
}

func (c *call) listReturns(o *backoffice.Office, in *pagedDevice) (page[entitlement.ReturnSeen], error) {
	h, err := c.hostOf(o, in.ID)
	return pageFrom(h.Returns, in.Paging), err
}

// exchangeOut is a request that was answered. By the digest the response is had again.
type exchangeOut struct {
	Request string          `json:"request"` // hexadecimal digits
	Number  uint64          `json:"number"`
	Serial  uint64          `json:"serial"`
	Time    capability.Time `json:"time"`
}

func (c *call) listExchanges(o *backoffice.Office, in *pagedDevice) (page[exchangeOut], error) {
	h, err := c.hostOf(o, in.ID)
	var list []exchangeOut
	for _, k := range slices.Backward(h.Requests) {
		if k.Serial != 0 {
			list = append(list, exchangeOut{hexOf(k.Digest), k.Number, k.Serial, k.Time})
		}
	}
	return pageFrom(list, in.Paging), err
}

// onDevice has a command about a device done, and answers with the device after it.
func (c *call) onDevice(o *backoffice.Office, in *DevicePath, command func(d *entitlement.DeviceView) (entitlement.Command, error)) (deviceOut, error) {
	d, err := c.deviceOf(o, in.ID)
	if err != nil {
		return deviceOut{}, err
	}
	do, err := command(&d)
	if err != nil {
		return deviceOut{}, err
	}
	if err := o.Do(do, c.now); err != nil {
		return deviceOut{}, err
	}
	return c.getDevice(o, in)
}

type mapIn struct {
	DevicePath
	Body struct {
		ActivationID string `json:"activationId" required:"true"`
		Copies       uint32 `json:"copies" required:"true"`
	}
}

func (c *call) mapTo(o *backoffice.Office, in *mapIn) (deviceOut, error) {
	return c.onDevice(o, &in.DevicePath, func(d *entitlement.DeviceView) (entitlement.Command, error) {
		i, err := c.itemOf(o, in.Body.ActivationID)
		return entitlement.Map{Device: d.ID, ActivationID: i.ActivationID, Copies: in.Body.Copies, By: c.login.Name}, err
	})
}

type unmapIn struct {
	DevicePath
	Body struct {
		ActivationID string `json:"activationId" required:"true"`
	}
}

func (c *call) unmapFrom(o *backoffice.Office, in *unmapIn) (deviceOut, error) {
	return c.onDevice(o, &in.DevicePath, func(d *entitlement.DeviceView) (entitlement.Command, error) {
		i, err := c.itemOf(o, in.Body.ActivationID)
		return entitlement.Unmap{Device: d.ID, ActivationID: i.ActivationID, By: c.login.Name}, err
	})
}

type moveIn struct {
	DevicePath
	Body struct {
		To           string `json:"to" required:"true" doc:"VALUE/TYPE of the other device"`
		ActivationID string `json:"activationId,omitempty" doc:"of one line item; all that the device has if empty"`
		Copies       uint32 `json:"copies,omitempty" doc:"all of the line item's if zero"`
	}
}

// orderMove orders a planned re-host. Staff may order to a device that nobody entered; whoever is of a customer enters it first.
func (c *call) orderMove(o *backoffice.Office, in *moveIn) (deviceOut, error) {
	return c.onDevice(o, &in.DevicePath, func(d *entitlement.DeviceView) (_ entitlement.Command, err error) {
		order := entitlement.PlanRehost{From: d.ID, Copies: in.Body.Copies, By: c.login.Name}
		if order.To, err = hostid.Parse(strings.ToUpper(strings.TrimSpace(in.Body.To))); err != nil {
			return nil, field("to", err)
		}
		if _, there := o.Book().DeviceOf(order.To); there || c.login.Account != "" {
			if _, err := c.deviceOf(o, in.Body.To); err != nil {
				return nil, err
			}
		}
		if in.Body.ActivationID != "" {
			i, err := c.itemOf(o, in.Body.ActivationID)
			if err != nil {
				return nil, err
			}
			order.ActivationID = i.ActivationID
		}
		return order, nil
	})
}

type endOrderIn struct {
	DevicePath
	Order uint64 `path:"order"`
}

func (c *call) endMove(o *backoffice.Office, in *endOrderIn) (deviceOut, error) {
	return c.onDevice(o, &in.DevicePath, func(d *entitlement.DeviceView) (entitlement.Command, error) {
		n, err := orderOf(o, d.ID, strconv.FormatUint(in.Order, 10))
		return entitlement.EndOrder{Number: n, By: c.login.Name}, err
	})
}

func (c *call) listOrders(o *backoffice.Office, in *Paging) (page[entitlement.Order], error) {
	list := pageFrom(o.Book().Waiting(c.login.Account), *in)
	for n := range list.Items {
		c.veil(o, &list.Items[n].By)
	}
	return list, nil
}

type writeOffIn struct {
	DevicePath
	Body struct {
		ActivationID string `json:"activationId" required:"true"`
		Reason       string `json:"reason" required:"true"`
	}
}

func (c *call) proposeOff(o *backoffice.Office, in *writeOffIn) (deviceOut, error) {
	return c.onDevice(o, &in.DevicePath, func(d *entitlement.DeviceView) (entitlement.Command, error) {
		i, err := c.itemOf(o, in.Body.ActivationID)
		return entitlement.Propose{Proposal: entitlement.Proposal{Freeing: entitlement.FreeByWriteOff, Host: d.ID, ActivationID: i.ActivationID, Reason: strings.TrimSpace(in.Body.Reason)}, By: c.login.Name}, err
	})
}
