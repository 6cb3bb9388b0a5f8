package console

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

func deviceRoutes() []route {
	see, serve := needs(ledger.ToSee), needs(ledger.ToServe)
	return []route{
		{pattern: "GET /devices", gate: see, do: (*visit).devices},
		{pattern: "GET /devices/{type}/{value}", gate: see, do: (*visit).device},
		{pattern: "GET /seats", gate: see, do: (*visit).seats},
		{pattern: "POST /seats/free", gate: serve, do: (*visit).free, stands: true},
		{pattern: "POST /seats/disconnect", gate: serve, do: (*visit).freeIdle, stands: true},
	}
}

func (v *visit) devices() error {
	rows, err := got[[]Device](v, v.Console.devices)
	if err != nil {
		return err
	}
	return v.show("list", "Devices", listPage{Table: tableOf(v, "/devices", rows, []column[Device]{
		{name: "device", title: "Device ID", id: true, text: func(d *Device) string { return d.Host.Value }, path: func(d *Device) string { return devicePath(d.Host) }},
		{name: "type", title: "ID Type", text: func(d *Device) string { return d.Host.Type }},
		{name: "kind", title: "Device Type", text: func(d *Device) string { return kindOf(d.Type) }},
		{name: "alias", title: "Device Alias", text: func(d *Device) string { return d.Alias }},
		{name: "user", title: "User", text: func(d *Device) string { return d.User }},
		{name: "features", title: "Features", text: func(d *Device) string { return heldFeatures(d) }},
		{name: "expiry", title: "Device Expiry", when: true, text: func(d *Device) string { return expiry(d.Expiry) }, less: byNumber(func(d *Device) capability.Time { return d.Expiry })},
	}, "No device holds anything.")})
}

// heldFeatures names the features that a device holds.
func heldFeatures(d *Device) string {
	var names []string
	for _, h := range d.Holdings {
		if !slices.Contains(names, h.Feature) {
			names = append(names, h.Feature)
		}
	}
	return strings.Join(names, ", ")
}

type deviceView struct {
	Facts web.Facts
	Table tableView
}

func (v *visit) device() error {
	rows, err := got[[]Device](v, v.Console.devices)
	if err != nil {
		return err
	}
	host := Host{v.r.PathValue("type"), v.r.PathValue("value")}
	at := slices.IndexFunc(rows, func(d Device) bool { return d.Host == host })
	if at < 0 {
		return notThere(host.Value)
	}
	d := &rows[at]
	items, err := got[[]Feature](v, v.Console.features)
	if err != nil {
		return err
	}
	final := map[capability.ItemID]capability.Time{}
	for _, f := range items {
		final[f.ID()] = f.Expiry
	}
	var view deviceView
	view.Facts.Add("Device ID", d.Host.Value)
	view.Facts.Add("ID Type", d.Host.Type)
	view.Facts.Add("Device Type", kindOf(d.Type))
	view.Facts.Add("Device Alias", d.Alias)
	view.Facts.Add("User", d.User)
	view.Facts.Add("Device Expiry", expiry(d.Expiry))
	if k := d.Key; k != nil {
		view.Facts.Link("Client Key", strings.TrimSpace("registered "+k.Name)+", since "+k.Since.String(), web.PathTo("/keys", "q", k.SHA256))
	} else {
		view.Facts.Link("Client Key", "not registered", "/keys")
	}
	var holdings []served
	for _, h := range d.Holdings {
		holdings = append(holdings, served{*d, h})
	}
	view.Table = tableOf(v, devicePath(host), holdings, []column[served]{
		{name: "feature", title: "Feature", text: func(s *served) string { return s.h.Feature }, path: func(s *served) string {
			return web.PathTo("/feature", "id", string(s.h.ActivationID), "name", s.h.Feature)
		}},
		{name: "version", title: "Version", text: func(s *served) string { return s.h.Version.String() }},
		{name: "count", title: "Count", count: true, text: func(s *served) string { return counted(uint64(s.h.Count)) }, less: byNumber(func(s *served) uint32 { return s.h.Count })},
		{name: "expiry", title: "Expiry", when: true, text: func(s *served) string {
			return expiry(final[capability.ItemID{ActivationID: s.h.ActivationID, Feature: s.h.Feature}])
		}},
		{name: "lease", title: "Lease Ends", when: true, text: func(s *served) string { return s.h.Expiry.String() }, less: byNumber(func(s *served) capability.Time { return s.h.Expiry })},
		{name: "state", title: "State", text: func(s *served) string { return holdingWords(&s.h) }},
	}, "It holds nothing any more.")
	return v.show("device", "Device Details: "+cmp.Or(d.Alias, d.Host.Value), view)
}

type seatsView struct {
	web.Sent
	Table   tableView
	Waiting []Waiting
	Serves  bool
	Idle    string
	Feature string
}

// seated are the seats that the address asks for. All streams look at all seats together, whatever of them each shows.
func (v *visit) seated() (Seats, error) {
	if !v.live {
		return got[Seats](v, v.Console.seats)
	}
	feature, after, err := askedSeats(v.r)
	if err != nil {
		return Seats{}, err
	}
	all, err := shared(v, "/seats", func() (Seats, error) { return v.seatsOf(v.r, "", 0) })
	return all.of(feature, after), err
}

func (v *visit) seats() error {
	rows, err := v.seated()
	if err != nil {
		return err
	}
	view := seatsView{Sent: v.Sent, Waiting: rows.Waiting, Serves: v.may(ledger.ToServe), Idle: v.query("idle"), Feature: v.query("feature")}
	columns := []column[Seat]{
		{name: "user", title: "User", text: func(s *Seat) string { return s.User }},
		{name: "alias", title: "Device Alias", text: func(s *Seat) string { return s.Alias }},
		{name: "device", title: "Device ID", id: true, text: func(s *Seat) string { return s.Host }, path: func(s *Seat) string { return devicePath(hostNamed(s.Host)) }},
		{name: "feature", title: "Feature", text: func(s *Seat) string { return s.Feature }},
		{name: "version", title: "Version", text: func(s *Seat) string { return s.Version.String() }},
		{name: "count", title: "Count", count: true, text: func(s *Seat) string { return counted(uint64(s.Count)) }, less: byNumber(func(s *Seat) uint32 { return s.Count })},
		{name: "pool", title: "Pool", text: func(s *Seat) string { return s.Pool }},
		{name: "idle", title: "Idle", text: func(s *Seat) string { return s.Idle.String() }, less: byNumber(func(s *Seat) capability.Seconds { return s.Idle })},
		{name: "ends", title: "Ends", when: true, text: func(s *Seat) string { return expiry(s.Expiry) }, less: byNumber(func(s *Seat) capability.Time { return s.Expiry })},
		{name: "state", title: "State", text: func(s *Seat) string { return holdingWords(&Holding{Dropped: s.Dropped, Unheard: s.Unheard}) }},
	}
	if view.Serves {
		columns = append(columns, column[Seat]{name: "free", title: "Free It", form: func(s *Seat) *rowForm {
			if s.Dropped {
				return &rowForm{}
			}
			return &rowForm{Path: "/seats/free", Button: "Free", Label: fmt.Sprintf("Free %s of %s", s.Feature, cmp.Or(s.Alias, s.Host)), Hidden: []pair{{"device", s.Host}, {"feature", s.Feature}},
				Fields: []web.Field{{Name: "reason", Label: "Reason", Kind: web.KindText, Must: true}}}
		}})
	}
	view.Table = tableOf(v, "/seats", rows.Held, columns, "Nobody holds a seat.", "idle", "feature")
	return v.show("seats", "Seats", view)
}

// hostNamed reads what hostid.ID prints.
func hostNamed(text string) Host {
	at := strings.LastIndexByte(text, '/')
	if at < 0 {
		return Host{Value: text}
	}
	return Host{Type: text[at+1:], Value: text[:at]}
}

// free ends a device's lease. The seat is free when the lease would have ended.
func (v *visit) free() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	return v.again(v.act(func() (string, error) {
		h, err := v.dropLease(v.r.Context(), Drop{Device: hostNamed(form.Get("device")), Feature: form.Get("feature"), Reason: strings.TrimSpace(form.Get("reason"))}, v.by)
		if err != nil {
			return "", err
		}
		v.say("%s is not renewed any more. Its seat is free when its lease ends, at %s, or when the device gives it back.", h.Feature, h.Expiry)
		return "/seats", nil
	}), (*visit).seats)
}

// freeIdle does the same with what nobody has used for so long.
func (v *visit) freeIdle() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	return v.again(v.act(func() (string, error) {
		minutes, err := strconv.ParseInt(strings.TrimSpace(form.Get("minutes")), 10, 32)
		if err != nil || minutes < 1 {
			return "", capability.Refuse(capability.ErrForm, "minutes", "%q is no number of minutes", form.Get("minutes"))
		}
		out, err := v.dropIdle(v.r.Context(), Disconnect{After: capability.Seconds(minutes * 60), Feature: strings.TrimSpace(form.Get("feature"))}, v.by)
		if err != nil {
			return "", err
		}
		more := ""
		if out.More {
			more = " There are more: the same again takes the next."
		}
		v.say("%d are not renewed any more.%s", len(out.Dropped), more)
		return "/seats", nil
	}), (*visit).seats)
}
