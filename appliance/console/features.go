package console

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

func featureRoutes() []route {
	see := needs(ledger.ToSee)
	return []route{
		{pattern: "GET /features", gate: see, do: (*visit).summary},
		{pattern: "GET /features/details", gate: see, do: (*visit).details},
		{pattern: "GET /feature", gate: see, do: (*visit).feature},
	}
}

// listPage is a page that is one table.
type listPage struct {
	Tabs  []tab
	Intro string
	Links []navLink
	Table tableView
}

type tab struct {
	Path, Title string
	Here        bool
}

// tabs are those of a page, of which one is here.
func tabs(here string, links ...navLink) (list []tab) {
	for _, l := range links {
		list = append(list, tab{l.Path, l.Title, l.Path == here})
	}
	return list
}

func featureTabs(here string) []tab {
	return tabs(here, navLink{"/features", "Summary"}, navLink{"/features/details", "Details"})
}

// got is what the REST API answers with.
func got[T any](v *visit, f func(*http.Request) (any, error)) (out T, err error) {
	a, err := f(v.r)
	if err != nil {
		return out, err
	}
	out, ok := a.(T)
	if !ok {
		return out, fmt.Errorf("%T where %T is wanted", a, out)
	}
	return out, nil
}

// summed is every item of one feature and version.
type summed struct {
	name                     string
	version                  capability.Version
	total, used, overdraft   uint64
	first, last              capability.Time // expiries; zero: permanent
	items                    int
	uncounted, metered, kept bool
}

// sums are the features by name and version, in the order in which they come.
func sums(rows []Feature) (out []summed) {
	type key struct {
		name    string
		version capability.Version
	}
	at := map[key]int{}
	for i := range rows {
		f := &rows[i]
		k := key{f.Feature, f.Version}
		n, known := at[k]
		if !known {
			n = len(out)
			at[k] = n
			out = append(out, summed{name: f.Feature, version: f.Version, first: f.Expiry, last: f.Expiry, metered: f.Metered, uncounted: f.Uncounted})
		}
		s := &out[n]
		s.items++
		s.total, s.used, s.overdraft = s.total+f.Total, s.used+f.Used, s.overdraft+uint64(f.Overdraft)
		s.metered, s.uncounted = s.metered || f.Metered, s.uncounted || f.Uncounted
		if compareExpiries(f.Expiry, s.first) < 0 {
			s.first = f.Expiry
		}
		if compareExpiries(f.Expiry, s.last) > 0 {
			s.last = f.Expiry
		}
	}
	return out
}

// compareExpiries puts what is permanent last.
func compareExpiries(a, b capability.Time) int {
	switch {
	case a == b:
		return 0
	case a == 0:
		return 1
	case b == 0:
		return -1
	}
	return cmp.Compare(a, b)
}

// expiry is one in words.
func expiry(t capability.Time) string {
	if t == 0 {
		return "permanent"
	}
	return t.String()
}

func counted(n uint64) string { return strconv.FormatUint(n, 10) }

// left is what is neither used nor above the count.
func left(total, used uint64) uint64 {
	if used > total {
		return 0
	}
	return total - used
}

func (v *visit) summary() error {
	rows, err := got[[]Feature](v, v.Console.features)
	if err != nil {
		return err
	}
	return v.show("list", "Features", listPage{
		Tabs:  featureTabs("/features"),
		Table: tableOf(v, "/features", sums(rows), summaryColumns(), "No feature is here: the back office's response brings them."),
	})
}

func summaryColumns() []column[summed] {
	total, used := func(s *summed) uint64 { return s.total }, func(s *summed) uint64 { return s.used }
	available, overdraft := func(s *summed) uint64 { return left(s.total, s.used) }, func(s *summed) uint64 { return s.overdraft }
	unless := func(of func(*summed) uint64) func(*summed) string {
		return func(s *summed) string {
			if s.uncounted {
				return "uncounted"
			}
			return counted(of(s))
		}
	}
	return []column[summed]{
		{name: "feature", title: "Feature", text: func(s *summed) string { return s.name }, path: func(s *summed) string {
			return web.PathTo("/features/details", "in-feature", s.name, "in-version", s.version.String())
		}},
		{name: "version", title: "Version", text: func(s *summed) string { return s.version.String() }, less: func(a, b *summed) int { return a.version.Compare(b.version) }},
		{name: "total", title: "Total Count", count: true, text: unless(total), less: byNumber(total)},
		{name: "used", title: "Total Used", count: true, text: func(s *summed) string { return counted(s.used) }, less: byNumber(used)},
		{name: "available", title: "Total Available", count: true, text: unless(available), less: byNumber(available)},
		{name: "first", title: "First Expiration", when: true, text: func(s *summed) string { return expiry(s.first) }, less: func(a, b *summed) int { return compareExpiries(a.first, b.first) }},
		{name: "last", title: "Last Expiration", when: true, text: func(s *summed) string { return expiry(s.last) }, less: func(a, b *summed) int { return compareExpiries(a.last, b.last) }},
		{name: "overdraft", title: "Total Overdraft", count: true, text: func(s *summed) string { return counted(s.overdraft) }, less: byNumber(overdraft)},
		{name: "metered", title: "Metered", text: func(s *summed) string { return strconv.FormatBool(s.metered) }},
		{name: "counted", title: "Counted", text: func(s *summed) string { return strconv.FormatBool(!s.uncounted) }},
	}
}

func (v *visit) details() error {
	rows, err := got[[]Feature](v, v.Console.features)
	if err != nil {
		return err
	}
	return v.show("list", "Features", listPage{
		Tabs:  featureTabs("/features/details"),
		Table: tableOf(v, "/features/details", rows, detailColumns(), "No line item is here: the back office's response brings them."),
	})
}

func detailColumns() []column[Feature] {
	return []column[Feature]{
		{name: "feature", title: "Feature", text: func(f *Feature) string { return f.Feature }, path: featurePath},
		{name: "version", title: "Version", text: func(f *Feature) string { return f.Version.String() }, less: func(a, b *Feature) int { return a.Version.Compare(b.Version) }},
		{name: "count", title: "Count", count: true, text: countWords, less: byNumber(func(f *Feature) uint64 { return f.Total })},
		{name: "available", title: "Available", count: true, text: availableWords, less: byNumber(func(f *Feature) uint64 { return f.Available })},
		{name: "expiry", title: "Expiry", when: true, text: func(f *Feature) string { return expiry(f.Expiry) }, less: func(a, b *Feature) int { return compareExpiries(a.Expiry, b.Expiry) }},
		{name: "start", title: "Start Date", when: true, text: func(f *Feature) string { return web.When(f.Start) }, less: byNumber(func(f *Feature) capability.Time { return f.Start })},
		{name: "vendor", title: "Vendor String", text: func(f *Feature) string { return f.VendorString }},
		{name: "product", title: "Product Name", text: func(f *Feature) string { return f.Product }},
		{name: "activation", title: "Activation ID", id: true, text: func(f *Feature) string { return string(f.ActivationID) }},
		{name: "entitlement", title: "Entitlement ID", id: true, text: func(f *Feature) string { return f.EntitlementID }},
		{name: "product-version", title: "Product Version", text: func(f *Feature) string { return f.ProductVersion.String() }, less: func(a, b *Feature) int { return a.ProductVersion.Compare(b.ProductVersion) }},
		{name: "status", title: "Status", text: func(f *Feature) string { return f.Status }, class: func(f *Feature) string { return statusClass(f.Status) }},
	}
}

func featurePath(f *Feature) string {
	return web.PathTo("/feature", "id", string(f.ActivationID), "name", f.Feature)
}

func countWords(f *Feature) string {
	if f.Uncounted {
		return "uncounted"
	}
	return counted(f.Total)
}

func availableWords(f *Feature) string {
	if f.Uncounted && f.Status == "valid" {
		return "uncounted"
	}
	return counted(f.Available)
}

// statusClass is the color beside a status word.
func statusClass(status string) string {
	switch status {
	case "valid", "satisfied":
		return "good"
	case "expired", "overage", "unsatisfied", "withdrawn":
		return "bad"
	}
	return "warn"
}

type featureView struct {
	web.Sent
	Facts  web.Facts
	Table  tableView
	Serves bool
}

// served is a count of an item that a device holds.
type served struct {
	d Device
	h Holding
}

// itemOf is the item that the address names.
func (v *visit) itemOf() (*Feature, error) {
	rows, err := got[[]Feature](v, v.Console.features)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if f := &rows[i]; string(f.ActivationID) == v.query("id") && f.Feature == v.query("name") {
			return f, nil
		}
	}
	return nil, notThere(v.query("name"))
}

func (v *visit) feature() error {
	f, err := v.itemOf()
	if err != nil {
		return err
	}
	pools, err := got[[]Pool](v, v.Console.pools)
	if err != nil {
		return err
	}
	devices, err := got[[]Device](v, v.Console.devices)
	if err != nil {
		return err
	}
	var reserved, inUse uint64
	for _, p := range pools {
		if p.ActivationID == f.ActivationID && p.Feature == f.Feature && strings.HasPrefix(p.Pool, "reservation") {
			reserved, inUse = reserved+p.Count, inUse+p.Used
		}
	}
	var rows []served
	for _, d := range devices {
		for _, h := range d.Holdings {
			if h.ActivationID == f.ActivationID && h.Feature == f.Feature {
				rows = append(rows, served{d, h})
			}
		}
	}
	always := func(facts *web.Facts, name, value string) {
		*facts = append(*facts, web.Fact{Name: name, Value: cmp.Or(value, "none")})
	}
	view := featureView{Sent: v.Sent, Serves: v.may(ledger.ToServe)}
	always(&view.Facts, "Feature Name", f.Feature)
	always(&view.Facts, "Version", f.Version.String())
	always(&view.Facts, "Start Date", web.When(f.Start))
	always(&view.Facts, "Total Count", countWords(f))
	always(&view.Facts, "Available", availableWords(f))
	always(&view.Facts, "Used Count", counted(f.Used))
	always(&view.Facts, "Reserved Count", fmt.Sprintf("%d, of which %d in use", reserved, inUse))
	always(&view.Facts, "Vendor String", f.VendorString)
	always(&view.Facts, "Feature Expiry", expiry(f.Expiry))
	view.Facts.Marked("Status", f.Status, statusClass(f.Status))
	view.Facts.Add("Activation ID", string(f.ActivationID))
	view.Facts.Add("Entitlement ID", f.EntitlementID)
	view.Facts.Add("Product", strings.TrimSpace(f.Product+" "+f.ProductVersion.String()))
	view.Facts.Add("Overdraft", f.Overdraft)
	view.Facts.Add("Overage", f.Overage)
	view.Facts.Add("Issuer", f.Issuer)
	view.Facts.Add("Issued", f.Issued)
	view.Facts.Add("Notice", f.Notice)
	view.Facts.Add("Serial number", f.SerialNumber)
	view.Facts.Add("Assigned to", f.User)
	if f.Returning > 0 {
		view.Facts.Add("Being returned", fmt.Sprintf("%s, not renewed from %s on", capability.Counted(f.Returning, "copy"), f.ReturnBy))
	}
	view.Table = tableOf(v, "/feature", rows, servedColumns(), "No device holds any of it.", "id", "name")
	return v.show("feature", "Feature Details: "+f.Feature, view)
}

func servedColumns() []column[served] {
	return []column[served]{
		{name: "device", title: "Device ID", id: true, text: func(s *served) string { return s.d.Host.Value }, path: func(s *served) string { return devicePath(s.d.Host) }},
		{name: "type", title: "Device ID Type", text: func(s *served) string { return s.d.Host.Type }},
		{name: "kind", title: "Device Type", text: func(s *served) string { return kindOf(s.d.Type) }},
		{name: "alias", title: "Device Alias", text: func(s *served) string { return s.d.Alias }},
		{name: "user", title: "User", text: func(s *served) string { return s.d.User }},
		{name: "count", title: "Total Count Served", count: true, text: func(s *served) string { return counted(uint64(s.h.Count)) }, less: byNumber(func(s *served) uint32 { return s.h.Count })},
		{name: "expiry", title: "Expiry", when: true, text: func(s *served) string { return s.h.Expiry.String() }, less: byNumber(func(s *served) capability.Time { return s.h.Expiry })},
		{name: "state", title: "State", text: func(s *served) string { return holdingWords(&s.h) }},
	}
}

// holdingWords says what becomes of a lease.
func holdingWords(h *Holding) string {
	switch {
	case h.Dropped:
		return "dropped, not renewed"
	case h.Unheard:
		return "not renewed, and the device may not know it yet"
	}
	return "renewed while it is asked for"
}

// kindOf is the type of a device, as it says itself.
func kindOf(typ string) string { return cmp.Or(typ, "unknown") }

func devicePath(h Host) string {
	return "/devices/" + url.PathEscape(h.Type) + "/" + url.PathEscape(h.Value)
}
