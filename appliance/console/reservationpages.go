package console

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/hostid"
)

func reservationRoutes() []route {
	see, serve := needs(ledger.ToSee), needs(ledger.ToServe)
	return []route{
		{pattern: "GET /reservations", gate: see, do: (*visit).reservationList},
		{pattern: "GET /reservations/export.json", gate: see, do: (*visit).exportReservations},
		{pattern: "POST /reservations/import", gate: serve, do: (*visit).importForm, stands: true},
		{pattern: "GET /reservations/add", gate: serve, do: (*visit).addPage},
		{pattern: "POST /reservations/add", gate: serve, do: (*visit).addForm, stands: true},
		{pattern: "GET /reservations/edit", gate: serve, do: (*visit).editPage},
		{pattern: "POST /reservations/edit", gate: serve, do: (*visit).editForm, stands: true},
		{pattern: "GET /reservations/delete", gate: serve, do: (*visit).deletePage},
		{pattern: "POST /reservations/delete", gate: serve, do: (*visit).deleteForm, stands: true},
		{pattern: "POST /reservations/undo", gate: serve, do: (*visit).undoForm, stands: true},
	}
}

type reservationsView struct {
	web.Sent
	Serves bool
	Model  string // name of the one in force, beside which nothing is reserved
	Table  tableView
	Undo   *undoView
}

type undoView struct {
	Count int
	Until capability.Time
}

func (v *visit) reservationList() error {
	rows, err := got[[]Reserved](v, v.Console.reservations)
	if err != nil {
		return err
	}
	view := reservationsView{Sent: v.Sent, Serves: v.may(ledger.ToServe)}
	var now capability.Time
	if err := v.look(v.r, func(l *ledger.Ledger, n ledger.Now) {
		now = n.Wall
		if m, _ := l.Model(); m != nil {
			view.Model = m.Name
		}
	}); err != nil {
		return err
	}
	if d := v.deleted.of(v.account(), now); view.Serves && d != nil {
		view.Undo = &undoView{len(d.rows), d.at.Add(undoTime)}
	}
	columns := []column[Reserved]{
		{name: "status", title: "Status", text: func(r *Reserved) string { return r.Status }, class: func(r *Reserved) string { return statusClass(r.Status) }},
		{name: "device", title: "Device ID", id: true, text: func(r *Reserved) string { return r.Host.Value }},
		{name: "type", title: "ID Type", text: func(r *Reserved) string { return r.Host.Type }},
		{name: "group", title: "Reservation Group", text: func(r *Reserved) string { return r.Group }},
		{name: "feature", title: "Feature Name", text: func(r *Reserved) string { return r.Feature }},
		{name: "version", title: "Version", text: func(r *Reserved) string { return r.Version.String() }, less: func(a, b *Reserved) int { return a.Version.Compare(b.Version) }},
		{name: "count", title: "Count", count: true, text: func(r *Reserved) string { return counted(uint64(r.Count)) }, less: byNumber(func(r *Reserved) uint32 { return r.Count })},
		{name: "used", title: "In Use", count: true, text: func(r *Reserved) string { return counted(r.Used) }, less: byNumber(func(r *Reserved) uint64 { return r.Used })},
	}
	if view.Serves {
		words := func(r *Reserved) string { return fmt.Sprintf("%s for %s in %s", r.Feature, r.Host.Value, r.Group) }
		number := func(r *Reserved) string { return strconv.FormatUint(r.ID, 10) }
		columns = slices.Concat([]column[Reserved]{{name: "pick", title: "Select", pick: func(r *Reserved) *pickView { return &pickView{"delete", "id", number(r), words(r)} }}}, columns, []column[Reserved]{
			{name: "edit", title: "Edit", link: func(r *Reserved) *pageLink {
				return &pageLink{Title: "Edit", Label: "Edit " + words(r), Path: web.PathTo("/reservations/edit", "id", number(r))}
			}},
			{name: "delete", title: "Delete", link: func(r *Reserved) *pageLink {
				return &pageLink{Title: "Delete", Label: "Delete " + words(r), Path: web.PathTo("/reservations/delete", "id", number(r))}
			}},
		})
	}
	view.Table = tableOf(v, "/reservations", rows, columns, "Nothing is reserved.")
	return v.show("reservations", "Reservations", view)
}

// exportReservations gives what an import takes.
func (v *visit) exportReservations() error {
	rows, err := got[[]Reserved](v, v.Console.reservations)
	if err != nil {
		return err
	}
	for i := range rows {
		rows[i] = Reserved{Group: rows[i].Group, Host: rows[i].Host, Feature: rows[i].Feature, Version: rows[i].Version, Count: rows[i].Count}
	}
	b, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return v.give("reservations.json", "application/json", b)
}

// give answers with a file.
func (v *visit) give(name, kind string, content []byte) error {
	v.w.Header().Set("Content-Type", kind)
	v.w.Header().Set("Content-Disposition", "attachment; filename="+strconv.Quote(name))
	v.w.WriteHeader(http.StatusOK)
	v.w.Write(content) // or whoever asked has gone
	return nil
}

func (v *visit) importForm() error {
	_, files, err := v.uploads()
	if err == nil && len(files) != 1 {
		err = capability.Refuse(capability.ErrForm, "file", "choose one file")
	}
	if err != nil {
		return v.again(err, (*visit).reservationList)
	}
	return v.again(v.act(func() (string, error) {
		var rows []Reserved
		if err := decodeBytes(files[0].Content, &rows); err != nil {
			return "", err
		}
		if _, err := v.change(v.r, "reservations imported", v.by, func([]Reserved, []ledger.Group) ([]Reserved, error) { return rows, nil }); err != nil {
			return "", err
		}
		v.say("%d reservation entries are in force, in place of those before.", len(rows))
		return "/reservations", nil
	}), (*visit).reservationList)
}

// hostTypes are the types of host IDs that people can choose from.
func hostTypes() (names []string) {
	for t := hostid.Type(1); ; t++ {
		name := t.String()
		if _, err := hostid.ParseType(name); err != nil {
			return names
		}
		names = append(names, name)
	}
}

type addView struct {
	web.Sent
	Fields  []web.Field
	Pending []pendingView
}

// pendingView is an entry that waits for Submit: in the page, and nowhere else.
type pendingView struct {
	Reserved
	Text string
}

func (v *visit) addPage() error {
	rows, err := v.pendingOf(v.Filled)
	if err != nil {
		return err
	}
	return v.pendingPage(rows)
}

// pendingPage shows the entries that wait, and the fields for one more.
func (v *visit) pendingPage(rows []Reserved) error {
	names, err := v.featureNames()
	if err != nil {
		return err
	}
	typed := func(name, otherwise string) string { return v.Typed("/reservations/add", name, otherwise) }
	view := addView{Sent: v.Sent, Fields: []web.Field{
		{Name: "group", Label: "Group Name", Kind: web.KindText, Value: typed("group", "")},
		{Name: "device", Label: "Device ID", Hint: "the host ID of a device, or a user", Kind: web.KindText, Value: typed("device", "")},
		{Name: "type", Label: "ID Type", Kind: web.KindSelect, Options: hostTypes(), Value: typed("type", "USER")},
		{Name: "feature", Label: "Feature Name", Kind: web.KindText, Options: names, Value: typed("feature", "")},
		{Name: "version", Label: "Version", Hint: "as 2026.1: this one or any above", Kind: web.KindText, Value: typed("version", "")},
		{Name: "count", Label: "Count", Kind: web.KindNumber, Value: typed("count", "")},
	}}
	for _, r := range rows {
		view.Pending = append(view.Pending, pendingView{r, r.line()})
	}
	return v.show("add", "Add Reservation", view)
}

// maxSuggested features are suggested where a name is typed.
const maxSuggested = 200

func (v *visit) featureNames() (names []string, err error) {
	rows, err := got[[]Feature](v, v.Console.features)
	for _, f := range rows {
		if len(names) < maxSuggested && !slices.Contains(names, f.Feature) {
			names = append(names, f.Feature)
		}
	}
	return names, err
}

// line is an entry as a page carries it.
func (r *Reserved) line() string {
	return url.Values{"group": {r.Group}, "device": {r.Host.Value}, "type": {r.Host.Type}, "feature": {r.Feature}, "version": {r.Version.String()}, "count": {strconv.FormatUint(uint64(r.Count), 10)}}.Encode()
}

// pendingOf are the entries that a page carries.
func (v *visit) pendingOf(form url.Values) (rows []Reserved, err error) {
	for _, line := range form["pending"] {
		q, err := url.ParseQuery(line)
		if err != nil {
			return nil, capability.Refuse(capability.ErrForm, "pending", "%v", err)
		}
		r, err := reservedOf(q)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// reservedOf is the entry that the fields of a form say.
func reservedOf(form url.Values) (r Reserved, err error) {
	text := func(name string) string { return strings.TrimSpace(form.Get(name)) }
	wrong := func(name, format string, args ...any) (Reserved, error) {
		return r, capability.Refuse(capability.ErrForm, name, format, args...)
	}
	r = Reserved{Group: text("group"), Host: Host{text("type"), text("device")}, Feature: text("feature")}
	for _, name := range []string{"group", "device", "feature", "version", "count"} {
		if text(name) == "" {
			return wrong(name, "it is empty")
		}
	}
	id, err := r.Host.ID()
	if err == nil {
		err = id.Validate()
	}
	if err != nil {
		return wrong("device", "%v", err)
	}
	if r.Version, err = capability.ParseVersion(text("version")); err != nil {
		return wrong("version", "%v", err)
	}
	n, err := strconv.ParseUint(text("count"), 10, 32)
	if err != nil || n == 0 || n > capability.MaxCount {
		return wrong("count", "%q is no number from 1 to %d", text("count"), capability.MaxCount)
	}
	r.Count = uint32(n)
	return r, nil
}

// addForm adds a line to those that wait, takes one out, or makes them all reservations.
func (v *visit) addForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	rows, err := v.pendingOf(form)
	if err != nil {
		return err
	}
	do := form.Get("do")
	at, isLine := strings.CutPrefix(do, "remove ")
	switch {
	case do == "cancel":
		return v.goTo("/reservations")
	case do == "clear":
		return v.pendingPage(rows)
	case isLine:
		if n, err := strconv.Atoi(at); err == nil && n >= 0 && n < len(rows) {
			rows = slices.Delete(rows, n, n+1)
		}
		return v.pendingPage(rows)
	case do == "submit":
		if len(rows) == 0 {
			return v.again(capability.Refuse(capability.ErrForm, "pending", "nothing is pending: add an entry first"), (*visit).addPage)
		}
		return v.again(v.act(func() (string, error) {
			if _, err := v.change(v.r, "reservations added", v.by, func(before []Reserved, _ []ledger.Group) ([]Reserved, error) { return append(before, rows...), nil }); err != nil {
				return "", err
			}
			v.say("Reserved: %s.", capability.Counted(len(rows), "entry"))
			return "/reservations", nil
		}), (*visit).addPage)
	}
	one, err := reservedOf(form)
	if err != nil {
		return v.again(err, (*visit).addPage)
	}
	v.Sent = web.Sent{Action: "/reservations/add", Filled: url.Values{"group": {one.Group}, "device": {one.Host.Value}, "type": {one.Host.Type}}}
	return v.pendingPage(append(rows, one))
}

type editView struct {
	web.Sent
	ID     uint64
	Seen   string
	Fields []web.Field
}

// seen is what somebody looked at, so that what another has changed meanwhile is not written over.
func (r *Reserved) seen() string {
	sum := sha256.Sum256([]byte(r.line()))
	return hex.EncodeToString(sum[:8])
}

// entryOf is the reservation entry that a text names.
func entryOf(rows []Reserved, text string) (*Reserved, error) {
	id, err := strconv.ParseUint(text, 10, 64)
	at := slices.IndexFunc(rows, func(r Reserved) bool { return r.ID == id })
	if err != nil || at < 0 {
		return nil, capability.Refuse(capability.ErrNotFound, "", "no reservation entry %s; somebody may have deleted it", strconv.Quote(text))
	}
	return &rows[at], nil
}

func (v *visit) editPage() error {
	rows, err := got[[]Reserved](v, v.Console.reservations)
	if err != nil {
		return err
	}
	r, err := entryOf(rows, cmp.Or(v.query("id"), v.Filled.Get("id")))
	if err != nil {
		return err
	}
	names, err := v.featureNames()
	if err != nil {
		return err
	}
	typed := func(name, otherwise string) string { return v.Typed("/reservations/edit", name, otherwise) }
	seen := typed("seen", r.seen())
	if code := (*capability.Refusal)(nil); errors.As(v.Refused, &code) && code.Code == capability.ErrMeanwhile {
		seen = r.seen() // whoever saves it again has read what it is now
	}
	return v.show("edit", "Edit Reservation", editView{Sent: v.Sent, ID: r.ID, Seen: seen, Fields: []web.Field{
		{Name: "group", Label: "Group Name", Kind: web.KindText, Must: true, Value: typed("group", r.Group)},
		{Name: "device", Label: "Device ID", Hint: "the host ID of a device, or a user", Kind: web.KindText, Must: true, Value: typed("device", r.Host.Value)},
		{Name: "type", Label: "ID Type", Kind: web.KindSelect, Options: hostTypes(), Value: typed("type", r.Host.Type)},
		{Name: "feature", Label: "Feature Name", Kind: web.KindText, Must: true, Options: names, Value: typed("feature", r.Feature)},
		{Name: "version", Label: "Version", Hint: "as 2026.1: this one or any above", Kind: web.KindText, Must: true, Value: typed("version", r.Version.String())},
		{Name: "count", Label: "Count", Kind: web.KindNumber, Must: true, Value: typed("count", counted(uint64(r.Count)))},
	}})
}

func (v *visit) editForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	want, err := reservedOf(form)
	if err != nil {
		return v.again(err, (*visit).editPage)
	}
	return v.again(v.act(func() (string, error) {
		_, err := v.change(v.r, "reservation edited", v.by, func(rows []Reserved, before []ledger.Group) ([]Reserved, error) {
			r, err := entryOf(rows, form.Get("id"))
			if err != nil {
				return nil, err
			}
			if r.seen() != form.Get("seen") {
				return nil, capability.Refuse(capability.ErrMeanwhile, r.Group, "it is now %d of %s %s for %s", r.Count, r.Feature, r.Version, r.Host)
			}
			edit := ReservedEdit{ID: r.ID, Group: &want.Group, Host: &want.Host, Feature: &want.Feature, Version: &want.Version, Count: &want.Count}
			return edit.apply(rows, before)
		})
		if err != nil {
			return "", err
		}
		v.say("The reservation is changed.")
		return "/reservations", nil
	}), (*visit).editPage)
}

type deleteView struct {
	web.Sent
	Rows []Reserved
}

func (v *visit) deletePage() error {
	ids := v.r.URL.Query()["id"]
	if v.r.Method == http.MethodPost {
		ids = v.Filled["id"]
	}
	all, err := got[[]Reserved](v, v.Console.reservations)
	if err != nil {
		return err
	}
	view := deleteView{Sent: v.Sent}
	for _, r := range all {
		if slices.Contains(ids, strconv.FormatUint(r.ID, 10)) {
			view.Rows = append(view.Rows, r)
		}
	}
	if len(view.Rows) == 0 {
		v.say("Nothing was selected.")
		return v.goTo("/reservations")
	}
	return v.show("delete", "Pending Deletions", view)
}

// deleteForm deletes the entries named. For a while it can be undone.
func (v *visit) deleteForm() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	return v.again(v.act(func() (string, error) {
		var gone []Reserved
		_, err := v.change(v.r, "reservations deleted", v.by, func(rows []Reserved, _ []ledger.Group) (stay []Reserved, _ error) {
			for _, r := range rows {
				if slices.Contains(form["id"], strconv.FormatUint(r.ID, 10)) {
					gone = append(gone, r)
				} else {
					stay = append(stay, r)
				}
			}
			if len(gone) == 0 {
				return nil, capability.Refuse(capability.ErrNotFound, "", "they were deleted already")
			}
			return stay, nil
		})
		if err != nil {
			return "", err
		}
		var now capability.Time
		if err := v.look(v.r, func(_ *ledger.Ledger, n ledger.Now) { now = n.Wall }); err != nil {
			return "", err
		}
		v.deleted.keep(v.account(), gone, now)
		v.say("Deleted: %s. It can be undone until %s.", capability.Counted(len(gone), "entry"), now.Add(undoTime))
		return "/reservations", nil
	}), (*visit).deletePage)
}

func (v *visit) undoForm() error {
	if _, err := v.form(); err != nil {
		return err
	}
	return v.again(v.act(func() (string, error) {
		var now capability.Time
		if err := v.look(v.r, func(_ *ledger.Ledger, n ledger.Now) { now = n.Wall }); err != nil {
			return "", err
		}
		d := v.deleted.of(v.account(), now)
		if d == nil {
			return "", capability.Refuse(capability.ErrNotFound, "", "there is nothing to undo any more")
		}
		if _, err := v.change(v.r, "deletion of reservations undone", v.by, func(rows []Reserved, _ []ledger.Group) ([]Reserved, error) { return append(rows, d.rows...), nil }); err != nil {
			return "", err
		}
		v.deleted.forget(v.account())
		v.say("Reserved again: %s, as the youngest now: what is served of older ones comes first.", capability.Counted(len(d.rows), "entry"))
		return "/reservations", nil
	}), (*visit).reservationList)
}
