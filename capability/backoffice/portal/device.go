package portal

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/hostid"
)

func (p *Portal) deviceRoutes() []route {
	sees, moves := needs(entitlement.ToSee), needs(entitlement.ToMove)
	return []route{
		{pattern: "GET /{$}", gate: signedIn, do: (*visit).home},
		{pattern: "GET /devices", gate: sees, do: (*visit).devices},
		{pattern: "GET /devices/{id...}", gate: sees, do: (*visit).devicePage},
		{pattern: "GET /devices/new", gate: moves, do: (*visit).newDevicePage},
		{pattern: "POST /devices/new", gate: moves, do: (*visit).newDevice},
		{pattern: "POST /devices/set", gate: moves, do: (*visit).setDevice},
		{pattern: "POST /devices/map", gate: moves, do: (*visit).mapDevice},
		{pattern: "POST /devices/unmap", gate: moves, do: (*visit).unmapDevice},
		{pattern: "POST /devices/move", gate: moves, do: (*visit).moveDevice},
		{pattern: "POST /devices/end-order", gate: moves, do: (*visit).endOrder},
	}
}

func (v *visit) home() error {
	switch {
	case v.may(entitlement.ToAnswer):
		return v.goTo("/inbox")
	case v.may(entitlement.ToSee):
		return v.goTo("/devices")
	}
	return v.show("home", "Freehold", nil)
}

// pageRows of a list.
const pageRows = 50

type devicesView struct {
	Search web.Search
	Rows   []deviceRow
	Next   string
	Moves  bool
}

type deviceRow struct {
	Path, Short, Name, Account, Tier, Last, Standing, Class string
}

func (v *visit) devices() error {
	s := entitlement.DeviceSearch{Text: v.query("q"), Waiting: v.query("waiting") == "yes", Forked: v.query("forked") == "yes"}
	view := devicesView{Moves: v.may(entitlement.ToMove), Search: web.Search{Path: "/devices", Text: s.Text, More: []web.Field{
		{Name: "waiting", Label: "Only those that are waited for", Kind: web.KindCheck, Value: v.query("waiting")},
		{Name: "forked", Label: "Only those with two histories", Kind: web.KindCheck, Value: v.query("forked")},
		{Name: "account", Label: "Account, with its parts", Kind: web.KindText, Value: v.query("account")},
	}}}
	after, _ := hostid.Parse(v.query("after"))
	err := v.office(func(o *backoffice.Office) error {
		var err error
		if s.Within, err = v.cut(o, v.query("account")); err != nil {
			return err
		}
		page, next := o.Book().FindDevices(s, after, pageRows)
		for n := range page {
			view.Rows = append(view.Rows, deviceRowOf(&page[n]))
		}
		if next != (hostid.ID{}) {
			view.Next = web.PathTo("/devices", "q", s.Text, "waiting", v.query("waiting"), "forked", v.query("forked"), "account", v.query("account"), "after", next.String())
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("devices", "Devices", view)
}

func deviceRowOf(d *entitlement.DeviceView) deviceRow {
	r := deviceRow{Path: devicePath(d.ID), Short: d.ID.Short(), Name: cmp.Or(d.Name, d.Alias), Account: d.Account, Last: "never asked"}
	if d.Known {
		r.Tier, r.Last = d.Tier.String(), d.Last.String()
	}
	r.Standing, r.Class = standing(d)
	return r
}

// standing is what a device waits for, and its color.
func standing(d *entitlement.DeviceView) (words, class string) {
	switch {
	case d.Moved != nil:
		return "its rights went to another machine", "warn"
	case d.Revoked:
		return "revoked", "bad"
	case d.Standing == entitlement.WaitsForDevice:
		return d.Standing, "warn"
	}
	return d.Standing, ""
}

// device is the one that the address or the form names, where who visits may see it.
func (v *visit) device(o *backoffice.Office) (entitlement.DeviceView, error) {
	return v.deviceOf(o, cmp.Or(v.r.PathValue("id"), v.r.PostForm.Get("device")))
}

type deviceView struct {
	web.Sent
	ID, Path, Short string
	Facts           web.Facts
	Rights          []rightRow
	Orders          []orderRow
	Off, Notes      []string
	Shown           []string // what it showed of itself, newest first
	Returns         []string
	Exchanges       []exchangeRow
	Moves, Staff    bool
	Answers         bool
	Form            []web.Field // what is said of it
	Questions       []questionRow
}

type rightRow struct {
	ID, Path, Product, Words, Waiting string
	Held                              uint32
	Mapped                            bool
}

type orderRow struct {
	Number                                              uint64
	From, FromPath, To, ToPath, ID, Since, Words, Moved string
}

type exchangeRow struct {
	Number, Serial uint64
	Time, Digest   string
	Refused        string // why it was; empty: it was not
}

func (v *visit) devicePage() error {
	view := deviceView{Sent: v.Sent, Moves: v.may(entitlement.ToMove), Answers: v.may(entitlement.ToAnswer), Staff: v.login.Account == ""}
	title := ""
	err := v.office(func(o *backoffice.Office) error {
		d, err := v.device(o)
		if err != nil {
			return err
		}
		view.of(v, o, &d)
		title = cmp.Or(d.Name, d.Alias, d.ID.Short())
		return nil
	})
	if err != nil {
		return err
	}
	return v.show("device", title, view)
}

func (view *deviceView) of(v *visit, o *backoffice.Office, d *entitlement.DeviceView) {
	b := o.Book()
	view.ID, view.Path, view.Short = d.ID.String(), devicePath(d.ID), d.ID.Short()
	h, _ := b.Host(d.ID)
	view.Facts = deviceFacts(b, d, &h, view.Staff)
	for n := range d.Rights {
		r := &d.Rights[n]
		row := rightRow{ID: string(r.ActivationID), Product: r.Product, Words: rightWords(r), Held: r.Held, Mapped: r.Mapped != nil}
		if i, ok := b.Item(r.ActivationID, v.now); ok && v.within(o, i.Customer) {
			row.Path = "/items/" + row.ID
		}
		if r.Waiting > 0 {
			row.Waiting = waitingWords(r)
		}
		view.Rights = append(view.Rights, row)
	}
	for n := range d.Orders {
		view.Orders = append(view.Orders, v.orderRow(o, &d.Orders[n]))
	}
	for _, w := range d.Off {
		view.Off = append(view.Off, v.offWords(&w))
	}
	for _, p := range d.Provisional {
		if p.Until > v.now {
			view.Notes = append(view.Notes, fmt.Sprintf("provisional until %s: it took over the rights of %s, which has not proved that they are gone", p.Until, p.From.Short()))
		}
	}
	if h.Forked() {
		view.Notes = append(view.Notes, "two histories of this machine have sent requests: it, or its storage, was copied")
	}
	for _, i := range slices.Backward(h.Incidents) {
		what := "refused"
		if i.Warned {
			what = "answered under a warning"
		}
		words := fmt.Sprintf("%s request %d was %s: %s %s", i.Time, i.Number, what, i.Code, i.Code.Entry().Title)
		if view.Staff {
			words += ": " + i.Detail
		}
		view.Notes = append(view.Notes, words)
	}
	view.Shown = appearances(h.Appearances)
	for _, s := range slices.Backward(h.Returns) {
		what := "credited"
		if !s.Credited {
			what = "not credited: " + s.Refused.String() + " " + s.Refused.Entry().Title
		}
		if view.Returns = append(view.Returns, fmt.Sprintf("%s of %s at epoch %d, %s", capability.Counted(s.Copies, "copy"), s.ActivationID, s.Epoch, what)); len(view.Returns) == pageRows {
			break
		}
	}
	for _, k := range slices.Backward(h.Requests) {
		if k.Serial == 0 {
			continue
		}
		if view.Exchanges = append(view.Exchanges, exchangeRow{k.Number, k.Serial, k.Time.String(), hexOf(k.Digest), k.Refused}); len(view.Exchanges) == pageRows {
			break
		}
	}
	view.Questions = v.questionRows(o, o.Book().QuestionsTo(d.ID))
	view.Form = v.fill("/devices/set", deviceFields(view.Staff), map[string]string{"name": d.Name, "contact": d.Contact, "account": d.Device.Account, "server": yes(d.Server)})
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

// deviceFacts says everything about a device that is one line. Who repaired or re-hosted it, and why, is the producer's business.
func deviceFacts(b *entitlement.Book, d *entitlement.DeviceView, h *entitlement.Host, staff bool) (f web.Facts) {
	f.Add("Host ID", d.ID)
	words, class := standing(d)
	f.Marked("Standing", words, class)
	f.Link("Account", d.Account, web.PathTo("/account", "name", d.Account))
	f.Add("Called", d.Name)
	f.Add("Calls itself", d.Alias)
	f.Add("Contact", d.Contact)
	if d.Server {
		f.Add("Server", "it runs an appliance")
	}
	if !d.Known {
		return f
	}
	keys := "claimed: it has opened no response yet"
	if d.Proven {
		keys = "proven to be in one TPM"
	}
	tier := d.Tier.String()
	if n := len(h.Appearances); n > 0 && h.Appearances[n-1].Why != "" {
		tier += ": " + h.Appearances[n-1].Why
	}
	f.Add("Tier", tier)
	f.Add("Keys", keys)
	f.Add("Last exchange", fmt.Sprintf("%s, request %d, response %d, epoch %d", d.Last, h.Answered, h.Serial, h.Epoch))
	if audit, number := h.Audit(); number != 0 {
		f.Add("Audit trail", fmt.Sprintf("%s, as of request %d", capability.Counted(audit.Position, "entry"), number))
	}
	if s, ok := b.Synced(d.ID); ok {
		f.Add("Use of what it serves", fmt.Sprintf("known until %s", s.Until))
		if s.Missing > 0 {
			f.Marked("Missing", capability.Counted(s.Missing, "record")+" of usage never came", "warn")
		}
	} else if d.Server {
		f.Add("Use of what it serves", "it has never sent any")
	}
	for _, p := range h.Past {
		words := p.Ended.String()
		if staff {
			words += " by " + p.By
			if p.Approved != "" {
				words += ", approved by " + p.Approved
			}
			words += ": " + p.Reason
		}
		f.Add("Repaired", words)
	}
	if m := d.Moved; m != nil {
		words := fmt.Sprintf("%s to %s", m.Time, m.To.Short())
		if staff {
			words += fmt.Sprintf(" by %s, approved by %s: %s", m.By, m.Approved, m.Reason)
		}
		if m.Proved != 0 {
			words += fmt.Sprintf("; it proved %s that it has none of them", m.Proved)
		}
		f.Marked("Re-hosted", words, "warn")
	}
	if d.Revoked {
		f.Marked("Revoked", "its next response says so, and clients that hear of it leave it", "bad")
	}
	return f
}

func rightWords(r *entitlement.DeviceRight) string {
	words := fmt.Sprintf("has %d", r.Held)
	if r.Mapped != nil {
		words = fmt.Sprintf("shall have %d, has %d", *r.Mapped, r.Held)
	}
	if r.Reserved > 0 {
		words += fmt.Sprintf(", %d are reserved and come with its next response", r.Reserved)
	}
	if r.Retired {
		words += ", taken back"
	}
	return words
}

// waitingWords says what proof is missing.
func waitingWords(r *entitlement.DeviceRight) string {
	asked := capability.Counted(r.Waiting, "copy")
	switch {
	case r.Confirmed != 0:
		return fmt.Sprintf("%s asked back %s; response %d was applied, and what was lent of them may run until %s", asked, r.Asked, r.Serial, r.Until)
	case r.Serial != 0:
		return fmt.Sprintf("%s asked back %s and left out of response %d; its next request proves that they are gone", asked, r.Asked, r.Serial)
	}
	return asked + " left out of its next response"
}

// offWords says what was written off. Who did it, and why, is the producer's business.
func (v *visit) offWords(w *entitlement.WrittenOff) string {
	words := fmt.Sprintf("%s: %s of %s", w.Time, capability.Counted(w.Copies, "copy"), w.ActivationID)
	if v.login.Account == "" {
		words += fmt.Sprintf(" by %s, approved by %s: %s", w.By, w.Approved, w.Reason)
	}
	if w.Closed != 0 {
		words += fmt.Sprintf("; proved to be gone %s", w.Closed)
	}
	return words
}

// appearances is what a machine showed of itself, each time that it changed.
func appearances(list []entitlement.Appearance) (words []string) {
	for n := len(list) - 1; n >= 0; n-- {
		a := &list[n]
		line := fmt.Sprintf("%s, request %d: tier %s", a.Time, a.Number, a.Tier)
		if a.Platform != "" {
			line += ", " + a.Platform
		}
		if a.Booted != "" {
			line += ", booted " + a.Booted
		}
		if n > 0 {
			gone, came := a.Drift(&list[n-1])
			line += fmt.Sprintf("; gone %s; new %s", idWords(gone), idWords(came))
		} else {
			line += "; " + idWords(a.Hosts)
		}
		words = append(words, line)
	}
	return words
}

func (v *visit) orderRow(o *backoffice.Office, r *entitlement.Order) orderRow {
	row := orderRow{r.Number, r.From.Short(), "", r.To.Short(), "", string(r.ActivationID), r.Time.String(), r.Standing(), fmt.Sprintf("%d of %d", r.Credited, r.Copies)}
	if v.within(o, o.Book().OwnerOf(r.From)) {
		row.FromPath = devicePath(r.From)
	}
	if _, ok := o.Book().DeviceOf(r.To); ok && v.within(o, o.Book().OwnerOf(r.To)) {
		row.ToPath = devicePath(r.To)
	}
	return row
}

func deviceFields(staff bool) []web.Field {
	fields := []web.Field{
		{Name: "name", Label: "Name", Hint: "no other device has it", Kind: web.KindText},
		{Name: "contact", Label: "Who is asked about it", Kind: web.KindText},
		{Name: "server", Label: "It runs an appliance, which serves others", Kind: web.KindCheck},
	}
	if staff {
		fields = append(fields, web.Field{Name: "account", Label: "Account", Hint: "what it is given first decides if empty", Kind: web.KindText})
	}
	return fields
}

func newDeviceFields(staff bool) []web.Field {
	return append([]web.Field{{Name: "id", Label: "Host ID", Hint: "64 digits, a slash and its type, as leasehold hostid prints it on the machine", Kind: web.KindText, Must: true}}, deviceFields(staff)...)
}

func (v *visit) newDevicePage() error {
	return v.show("form", "New device", formView{Path: "/devices/new", Button: "Enter the device", Fields: v.fill("/devices/new", newDeviceFields(v.login.Account == ""), nil),
		Intro: "A device is entered before it has ever asked, so that rights can wait for it. They reach the machine that proves the host ID, and no other."})
}

// newDevice enters a device by hand. One that is there is changed on its own page.
func (v *visit) newDevice() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	path := ""
	err = v.act(func(o *backoffice.Office) error {
		id, err := hostid.Parse(strings.ToUpper(strings.TrimSpace(form.Get("id"))))
		if err != nil {
			return field("id", err)
		}
		if _, there := o.Book().DeviceOf(id); there && !v.repeated(o) {
			if !v.within(o, o.Book().OwnerOf(id)) {
				return foreign(form.Get("id"))
			}
			return capability.Refuse(capability.ErrForm, "id", "this device is in the book already")
		}
		path = devicePath(id)
		return o.Do(entitlement.SetDevice{Device: v.said(entitlement.Device{ID: id, Account: v.login.Account}), By: v.login.Name}, v.now)
	})
	if err != nil {
		return v.again(err, (*visit).newDevicePage)
	}
	return v.goTo(path)
}

// said is what a form says of a device. Its account only staff changes.
func (v *visit) said(d entitlement.Device) entitlement.Device {
	form := v.r.PostForm
	d.Name, d.Contact, d.Server = strings.TrimSpace(form.Get("name")), strings.TrimSpace(form.Get("contact")), form.Get("server") == "yes"
	if v.login.Account == "" {
		d.Account = strings.TrimSpace(form.Get("account"))
	}
	return d
}

// repeated says that the form was done before: then what is there is its own work.
func (v *visit) repeated(o *backoffice.Office) bool {
	key := v.r.PostForm.Get(web.Once)
	if key == "" {
		return false
	}
	_, done := o.Book().Done("form "+key, 0)
	return done
}

// forDevice has a form about a device done, says so, and goes back to its page.
func (v *visit) forDevice(command func(o *backoffice.Office, d *entitlement.DeviceView) (entitlement.Command, error), said ...string) error {
	if _, err := v.form(); err != nil {
		return err
	}
	path := ""
	err := v.act(func(o *backoffice.Office) error {
		d, err := v.device(o)
		if err != nil {
			return err
		}
		path = devicePath(d.ID)
		c, err := command(o, &d)
		if err != nil {
			return err
		}
		return o.Do(c, v.now)
	})
	if err != nil {
		return v.again(err, (*visit).devicePage)
	}
	for _, words := range said {
		v.say("%s", words)
	}
	return v.goTo(path)
}

func (v *visit) setDevice() error {
	return v.forDevice(func(_ *backoffice.Office, d *entitlement.DeviceView) (entitlement.Command, error) {
		return entitlement.SetDevice{Device: v.said(d.Device), By: v.login.Name}, nil
	})
}

// itemField is the line item that a form names, where who visits may see it.
func (v *visit) itemField(o *backoffice.Office) (capability.ActivationID, error) {
	text := strings.TrimSpace(v.r.PostForm.Get("item"))
	id, err := capability.ParseActivationID(text)
	if err != nil {
		return "", field("item", err)
	}
	if i, ok := o.Book().Item(id, v.now); !ok || !v.within(o, i.Customer) {
		return "", foreign(text)
	}
	return id, nil
}

func (v *visit) mapDevice() error {
	return v.forDevice(func(o *backoffice.Office, d *entitlement.DeviceView) (entitlement.Command, error) {
		id, err := v.itemField(o)
		if err != nil {
			return nil, err
		}
		n, err := count(v.r.PostForm, "copies")
		return entitlement.Map{Device: d.ID, ActivationID: id, Copies: n, By: v.login.Name}, err
	})
}

func (v *visit) unmapDevice() error {
	return v.forDevice(func(o *backoffice.Office, d *entitlement.DeviceView) (entitlement.Command, error) {
		id, err := v.itemField(o)
		return entitlement.Unmap{Device: d.ID, ActivationID: id, By: v.login.Name}, err
	})
}

// moveDevice orders a planned re-host. Staff may order to a device that nobody entered; whoever is of a customer enters it first.
func (v *visit) moveDevice() error {
	return v.forDevice(func(o *backoffice.Office, d *entitlement.DeviceView) (c entitlement.Command, err error) {
		form := v.r.PostForm
		order := entitlement.PlanRehost{From: d.ID, By: v.login.Name}
		if order.To, err = hostid.Parse(strings.ToUpper(strings.TrimSpace(form.Get("to")))); err != nil {
			return nil, field("to", err)
		}
		if _, there := o.Book().DeviceOf(order.To); there || v.login.Account != "" {
			if _, err := v.deviceOf(o, form.Get("to")); err != nil {
				return nil, err
			}
		}
		if strings.TrimSpace(form.Get("item")) != "" {
			if order.ActivationID, err = v.itemField(o); err != nil {
				return nil, err
			}
		}
		if strings.TrimSpace(form.Get("copies")) != "" {
			if order.Copies, err = count(form, "copies"); err != nil {
				return nil, err
			}
		}
		return order, nil
	})
}

// endOrder lets go of what an order has not moved.
func (v *visit) endOrder() error {
	return v.forDevice(func(o *backoffice.Office, d *entitlement.DeviceView) (entitlement.Command, error) {
		n, err := orderOf(o, d.ID, v.r.PostForm.Get("order"))
		return entitlement.EndOrder{Number: n, By: v.login.Name}, err
	})
}
