package backoffice

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// Noun is what a table lists.
type Noun string

const (
	Accounts     Noun = "accounts"
	Products     Noun = "products"
	Models       Noun = "models"
	Entitlements Noun = "entitlements"
)

// Nouns are all, in the order in which a book is filled: what comes later may name what came before.
func Nouns() []Noun { return []Noun{Accounts, Products, Models, Entitlements} }

// Row is one of a table, in that of its parts that the table is about.
type Row struct {
	Line    int    // of the file, from 1
	Key     string // of a line item: whoever made the file calls it so, and the same key is the same line item
	Account entitlement.Account
	Product entitlement.Product
	Model   entitlement.LicenseModel
	Item    entitlement.Item
	view    *entitlement.ItemView // what became of it, where it is written
	unsaid  []column              // columns that its file does not have: of what is on record they leave what there is
}

// column is one of a table: its cell of a row, and back. Without set it is written for people and not read.
type column struct {
	name string
	get  func(*Row) string
	set  func(*Row, string) error
	must bool // a row without it is none
}

// columns are those of a table, in the order in which they are written.
func columns(n Noun) []column {
	switch n {
	case Accounts:
		return []column{
			textColumn("name", func(r *Row) *string { return &r.Account.Name }).needed(),
			textColumn("parent", func(r *Row) *string { return &r.Account.Parent }),
			textColumn("contact", func(r *Row) *string { return &r.Account.Contact }),
			boolColumn("keeps_online", func(r *Row) *bool { return &r.Account.KeepsOnline }),
		}
	case Products:
		return []column{
			textColumn("name", func(r *Row) *string { return &r.Product.Name }).needed(),
			versionColumn("version", func(r *Row) *capability.Version { return &r.Product.Version }),
			featuresColumn("features", func(r *Row) *[]entitlement.Feature { return &r.Product.Features }),
			{name: "parts", get: func(r *Row) string { return list(r.Product.Parts, partCell) }, set: func(r *Row, s string) (err error) {
				r.Product.Parts, err = parseList(s, parsePart)
				return err
			}},
		}
	case Models:
		return modelColumns()
	}
	return itemColumns()
}

func modelColumns() []column {
	m := func(r *Row) *entitlement.LicenseModel { return &r.Model }
	return []column{
		textColumn("name", func(r *Row) *string { return &m(r).Name }).needed(),
		{name: "state", get: func(r *Row) string { return m(r).State.String() }, set: parsed(entitlement.ParseModelState, func(r *Row) *entitlement.ModelState { return &m(r).State })},
		{name: "kind", must: true, get: func(r *Row) string { return m(r).Kind.String() }, set: parsed(entitlement.ParseKind, func(r *Row) *entitlement.Kind { return &m(r).Kind })},
		boolColumn("metered", func(r *Row) *bool { return &m(r).Metered }),
		boolColumn("reusable", func(r *Row) *bool { return &m(r).Reusable }),
		timeColumn("undo", func(r *Row) *capability.Seconds { return &m(r).UndoInterval }),
		numberColumn("overdraft", func(r *Row) *uint8 { return &m(r).Overdraft }),
		numberColumn("grace_days", func(r *Row) *uint16 { return &m(r).GraceDays }),
		timeColumn("borrow", func(r *Row) *capability.Seconds { return &m(r).Borrow }),
		numberColumn("renew", func(r *Row) *uint8 { return &m(r).Renew }),
		timeColumn("tolerance", func(r *Row) *capability.Seconds { return &m(r).Tolerance }),
		boolColumn("no_virtual", func(r *Row) *bool { return &m(r).NoVirtual }),
		{name: "host_types", get: func(r *Row) string { return list(m(r).HostTypes, entitlement.HostType.String) }, set: func(r *Row, s string) (err error) {
			m(r).HostTypes, err = parseList(s, func(s string) (t entitlement.HostType, err error) { return t, t.UnmarshalText([]byte(s)) })
			return err
		}},
		tierColumn("minimum_tier", func(r *Row) *entitlement.Tier { return &m(r).MinimumTier }),
		boolColumn("no_partial", func(r *Row) *bool { return &m(r).NoPartial }),
		{name: "aggregation", get: func(r *Row) string { return m(r).Aggregation.String() }, set: parsed(entitlement.ParseAggregation, func(r *Row) *entitlement.Aggregation { return &m(r).Aggregation })},
		boolColumn("no_credit", func(r *Row) *bool { return &m(r).NoCredit }),
		{name: "limits", get: func(r *Row) string { return list(m(r).Limits, entitlement.ActLimit.String) }, set: func(r *Row, s string) (err error) {
			m(r).Limits, err = parseList(s, entitlement.ParseActLimit)
			return err
		}},
	}
}

func itemColumns() []column {
	i := func(r *Row) *entitlement.Item { return &r.Item }
	marks := func(r *Row) *entitlement.Marks {
		if r.Item.Marks == nil {
			return &entitlement.Marks{}
		}
		return r.Item.Marks
	}
	mark := func(name string, of func(*entitlement.Marks) *string) column {
		return column{name: name, get: func(r *Row) string { return *of(marks(r)) }, set: func(r *Row, s string) error {
			if s == "" {
				return nil
			}
			if r.Item.Marks == nil {
				r.Item.Marks = &entitlement.Marks{}
			}
			*of(r.Item.Marks) = s
			return nil
		}}
	}
	return []column{
		{name: "activation_id", get: func(r *Row) string { return string(i(r).ActivationID) }, set: parsed(capability.ParseActivationID, func(r *Row) *capability.ActivationID { return &i(r).ActivationID })},
		textColumn("key", func(r *Row) *string { return &r.Key }),
		textColumn("customer", func(r *Row) *string { return &i(r).Customer }).needed(),
		textColumn("entitlement", func(r *Row) *string { return &i(r).EntitlementID }),
		textColumn("product", func(r *Row) *string { return &i(r).Product }).needed(),
		versionColumn("product_version", func(r *Row) *capability.Version { return &i(r).ProductVersion }),
		textColumn("model", func(r *Row) *string { return &i(r).Model }),
		featuresColumn("features", func(r *Row) *[]entitlement.Feature { return &i(r).Features }),
		numberColumn("copies", func(r *Row) *uint32 { return &i(r).Copies }).needed(),
		dateColumn("start", false, func(r *Row) *capability.Time { return &i(r).Start }),
		dateColumn("expires", true, func(r *Row) *capability.Time { return &i(r).Expiry }),
		tierColumn("minimum_tier", func(r *Row) *entitlement.Tier { return &i(r).MinimumTier }),
		{name: "limits", get: func(r *Row) string { return list(i(r).Limits, entitlement.TierLimit.String) }, set: func(r *Row, s string) (err error) {
			i(r).Limits, err = parseList(s, entitlement.ParseTierLimit)
			return err
		}},
		boolColumn("metered", func(r *Row) *bool { return &i(r).Metered }),
		boolColumn("reusable", func(r *Row) *bool { return &i(r).Reusable }),
		timeColumn("undo", func(r *Row) *capability.Seconds { return &i(r).UndoInterval }),
		textColumn("user", func(r *Row) *string { return &i(r).User }),
		mark("vendor_string", func(m *entitlement.Marks) *string { return &m.VendorString }),
		mark("notice", func(m *entitlement.Marks) *string { return &m.Notice }),
		mark("serial_number", func(m *entitlement.Marks) *string { return &m.SerialNumber }),
		{name: "state", get: func(r *Row) string { return viewed(r, func(v *entitlement.ItemView) string { return string(v.State) }) }},
		{name: "used", get: func(r *Row) string {
			return viewed(r, func(v *entitlement.ItemView) string { return fmt.Sprint(v.Used) })
		}},
		{name: "left", get: func(r *Row) string {
			return viewed(r, func(v *entitlement.ItemView) string { return fmt.Sprint(v.Left) })
		}},
	}
}

func viewed(r *Row, of func(*entitlement.ItemView) string) string {
	if r.view == nil {
		return ""
	}
	return of(r.view)
}

func (c column) needed() column {
	c.must = true
	return c
}

func textColumn(name string, of func(*Row) *string) column {
	return column{name: name, get: func(r *Row) string { return *of(r) }, set: func(r *Row, s string) error { *of(r) = s; return nil }}
}

func boolColumn(name string, of func(*Row) *bool) column {
	return column{name: name, get: func(r *Row) string {
		if *of(r) {
			return "yes"
		}
		return ""
	}, set: func(r *Row, s string) error {
		switch s {
		case "yes", "true":
			*of(r) = true
		case "", "no", "false":
		default:
			return fmt.Errorf("%q where yes or no is wanted", s)
		}
		return nil
	}}
}

func numberColumn[T uint8 | uint16 | uint32](name string, of func(*Row) *T) column {
	return column{name: name, get: func(r *Row) string {
		if *of(r) == 0 {
			return ""
		}
		return strconv.FormatUint(uint64(*of(r)), 10)
	}, set: func(r *Row, s string) error {
		if s == "" {
			return nil
		}
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || uint64(T(n)) != n {
			return fmt.Errorf("%q where a number up to %d is wanted", s, ^T(0))
		}
		*of(r) = T(n)
		return nil
	}}
}

func timeColumn(name string, of func(*Row) *capability.Seconds) column {
	return column{name: name, get: func(r *Row) string {
		if *of(r) == 0 {
			return ""
		}
		return of(r).String()
	}, set: parsed(func(s string) (capability.Seconds, error) {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 || d != d.Truncate(time.Second) {
			return 0, fmt.Errorf("%q where a time in whole seconds is wanted, as 36h or 90s", s)
		}
		return capability.Seconds(d / time.Second), nil
	}, of)}
}

func dateColumn(name string, end bool, of func(*Row) *capability.Time) column {
	return column{name: name, get: func(r *Row) string {
		if *of(r) == 0 {
			return ""
		}
		return of(r).String()
	}, set: parsed(func(s string) (capability.Time, error) { return capability.ParseDate(s, end) }, of)}
}

func tierColumn(name string, of func(*Row) *entitlement.Tier) column {
	return column{name: name, get: func(r *Row) string {
		if *of(r) == 0 {
			return ""
		}
		return of(r).String()
	}, set: parsed(entitlement.ParseTier, of)}
}

func versionColumn(name string, of func(*Row) *capability.Version) column {
	return column{name: name, get: func(r *Row) string {
		if *of(r) == (capability.Version{}) {
			return ""
		}
		return of(r).String()
	}, set: parsed(capability.ParseVersion, of)}
}

func featuresColumn(name string, of func(*Row) *[]entitlement.Feature) column {
	return column{name: name, get: func(r *Row) string { return list(*of(r), featureCell) }, set: func(r *Row, s string) (err error) {
		*of(r), err = parseList(s, parseFeature)
		return err
	}}
}

// parsed sets what a parser makes of a cell; an empty one leaves what there is.
func parsed[T any](parse func(string) (T, error), of func(*Row) *T) func(*Row, string) error {
	return func(r *Row, s string) (err error) {
		if s != "" {
			*of(r), err = parse(s)
		}
		return err
	}
}

// A list in a cell has a semicolon between its elements. In names, what separates them is written as in a URL.

func list[T any](all []T, cell func(T) string) string {
	cells := make([]string, len(all))
	for i, v := range all {
		cells[i] = cell(v)
	}
	return strings.Join(cells, ";")
}

// maxListed elements are in no cell of any table that the book would take.
const maxListed = entitlement.MaxFeatures + entitlement.MaxTierLimits

func parseList[T any](s string, parse func(string) (T, error)) (all []T, err error) {
	if s == "" {
		return nil, nil
	}
	if n := strings.Count(s, ";"); n >= maxListed { // before any of it takes memory
		return nil, fmt.Errorf("%d elements where at most %d are allowed", n+1, maxListed)
	}
	for cell := range strings.SplitSeq(s, ";") {
		v, err := parse(strings.TrimSpace(cell))
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func escaped(name string) string {
	return strings.NewReplacer("%", "%25", ";", "%3B", ":", "%3A", "=", "%3D", " ", "%20").Replace(name)
}

// parseCounted reads NAME[:VERSION][=NUMBER]; the number is 1 where none is said.
func parseCounted(s string) (name string, version capability.Version, n uint32, err error) {
	s, number, counted := strings.Cut(s, "=")
	if s, v, has := strings.Cut(s, ":"); has {
		if version, err = capability.ParseVersion(v); err != nil {
			return "", version, 0, err
		}
		name, err = url.PathUnescape(s)
	} else {
		name, err = url.PathUnescape(s)
	}
	if err != nil || name == "" {
		return "", version, 0, fmt.Errorf("%q where NAME[:VERSION][=NUMBER] is wanted, as render:2026.1=5", s)
	}
	if n = 1; counted {
		wide, err := strconv.ParseUint(number, 10, 32)
		if err != nil || wide == 0 {
			return "", version, 0, fmt.Errorf("%q where a number from 1 on is wanted", number)
		}
		n = uint32(wide)
	}
	return name, version, n, nil
}

func countedCell(name string, version capability.Version, n uint32) string {
	return fmt.Sprintf("%s:%s=%d", escaped(name), version, n)
}

func featureCell(f entitlement.Feature) string { return countedCell(f.Name, f.Version, f.PerCopy) }
func partCell(p entitlement.Part) string       { return countedCell(p.Product, p.Version, p.Times) }

func parseFeature(s string) (f entitlement.Feature, err error) {
	f.Name, f.Version, f.PerCopy, err = parseCounted(s)
	return f, err
}

func parsePart(s string) (p entitlement.Part, err error) {
	p.Product, p.Version, p.Times, err = parseCounted(s)
	return p, err
}

// Rows are those of the whole table, of line items only those that the filter lets pass.
func (o *Office) Rows(n Noun, f entitlement.ItemFilter, now capability.Time) []Row {
	rows, _ := o.RowsInPieces(n, f, now, nil)
	return rows
}

// RowsInPieces are Rows, read in many turns (Desk.Read).
func (o *Office) RowsInPieces(n Noun, f entitlement.ItemFilter, now capability.Time, pause Pause) (rows []Row, _ error) {
	switch n {
	case Accounts:
		for _, a := range o.book.Accounts() {
			rows = append(rows, Row{Account: a})
		}
	case Products:
		for _, p := range o.book.Products() {
			rows = append(rows, Row{Product: p})
		}
	case Models:
		for _, m := range o.book.Models() {
			rows = append(rows, Row{Model: m})
		}
	case Entitlements:
		after, pace := capability.ActivationID(""), pacer{pause: pause, rows: pieceRows}
		for more := true; more; pace.rows = pieceRows {
			var page []entitlement.ItemView
			page, more = o.book.ItemPage(now, f, after, pieceRows)
			for i := range page {
				rows, after = append(rows, Row{Item: page[i].Item, view: &page[i]}), page[i].ActivationID
			}
			if more {
				if err := pace.row(); err != nil {
					return nil, err
				}
			}
		}
	}
	return rows, nil
}
