package backoffice

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// ReportKind is what a report is about.
type ReportKind string

// The reports.
const (
	ReportUsage    ReportKind = "usage"    // what was used, by day and machine
	ReportLicenses ReportKind = "licenses" // each line item, with what was used of it
	ReportDevices  ReportKind = "devices"  // each machine, and since when nothing was heard of it
	ReportExpiring ReportKind = "expiring" // line items that end in that time
	ReportUnused   ReportKind = "unused"   // line items in force of which nothing was used
	ReportDenials  ReportKind = "denials"  // what was refused, by code
	ReportSeats    ReportKind = "seats"    // seats that belong to somebody, and sessions that run
)

// ReportKinds are all of them.
func ReportKinds() []ReportKind {
	return []ReportKind{ReportUsage, ReportLicenses, ReportDevices, ReportExpiring, ReportUnused, ReportDenials, ReportSeats}
}

// Query is what a report is cut to.
type Query struct {
	From, Until capability.Time // first moment, and first moment after
	Account     string          // with its parts; empty: all
	Group       string          // of line items; empty: all
	Now         capability.Time

	pace pacer
}

// InPieces is the query of a report that is made in many turns (Desk.Read).
func (q Query) InPieces(pause Pause) Query {
	q.pace = pacer{pause: pause}
	return q
}

// MakeReport reads a report from a book. Its sums are those of the records that were acknowledged, of its time and account.
func MakeReport(b *entitlement.Book, kind ReportKind, query Query) (*capability.Table, error) {
	q := &query
	switch kind {
	case ReportUsage:
		return usageReport(b, q)
	case ReportLicenses:
		return licenseReport(b, q)
	case ReportDevices:
		return deviceReport(b, q)
	case ReportExpiring:
		return expiringReport(b, q)
	case ReportUnused:
		return unusedReport(b, q)
	case ReportDenials:
		return denialReport(b, q)
	case ReportSeats:
		return seatReport(b, q)
	}
	return nil, fmt.Errorf("%q is no report: want %v", kind, ReportKinds())
}

// passes says that what is about a line item is of the query's group.
func (q *Query) passes(b *entitlement.Book, id capability.ActivationID) bool {
	if q.Group == "" {
		return true
	}
	v, known := b.Item(id, q.Now)
	return known && slices.Contains(v.Groups, q.Group)
}

// eachUsage is for what was used in the time, of the account and the group.
func eachUsage(b *entitlement.Book, q *Query, f func(*entitlement.UsageRow)) error {
	passes := map[capability.ActivationID]bool{}
	for u := range b.EachUsage(q.From, q.Until, q.Account) {
		pass, known := passes[u.ActivationID]
		if !known {
			pass = q.passes(b, u.ActivationID)
			passes[u.ActivationID] = pass
		}
		if pass {
			f(&u)
		}
		if err := q.pace.row(); err != nil {
			return err
		}
	}
	return nil
}

func usageReport(b *entitlement.Book, q *Query) (*capability.Table, error) {
	r := capability.NewTable("day", "span", "account", "product", "activation_id", "feature", "host", "alias", "user", "peak", "served", "seconds", "denied")
	err := eachUsage(b, q, func(u *entitlement.UsageRow) {
		r.Row(u.Day, u.Span.String(), u.Account, u.Product, string(u.ActivationID), u.Feature, u.Host.String(), u.Alias, u.User, u.Peak, u.Served, u.Seconds, u.Denied())
		if u.User == "" {
			r.Add("served", u.Served)
			r.Add("seconds", u.Seconds)
			r.Add("denied", u.Denied())
		}
	})
	return r, err
}

// sumOf is what was used of a line item in the time of a report.
type sumOf struct {
	peak, served, seconds, denied uint64
	last                          capability.Time
}

func sums(b *entitlement.Book, q *Query) (map[capability.ActivationID]*sumOf, error) {
	out := map[capability.ActivationID]*sumOf{}
	err := eachUsage(b, q, func(u *entitlement.UsageRow) {
		if u.User != "" || u.Foreign {
			return
		}
		s := out[u.ActivationID]
		if s == nil {
			s = &sumOf{}
			out[u.ActivationID] = s
		}
		s.peak, s.served, s.seconds, s.denied = max(s.peak, u.Peak), s.served+u.Served, s.seconds+u.Seconds, s.denied+u.Denied()
		if u.Served+u.Seconds > 0 {
			s.last = max(s.last, u.Day)
		}
	})
	return out, err
}

// eachItem is for the line items of the account of a report.
func eachItem(b *entitlement.Book, q *Query, f func(*entitlement.ItemView)) error {
	for v := range b.EachItem(q.Now) {
		if b.Within(v.Customer, q.Account) && (q.Group == "" || slices.Contains(v.Groups, q.Group)) {
			f(&v)
		}
		if err := q.pace.row(); err != nil {
			return err
		}
	}
	return nil
}

func licenseReport(b *entitlement.Book, q *Query) (*capability.Table, error) {
	r := capability.NewTable("account", "entitlement", "product", "activation_id", "model", "state", "copies", "in_use", "left", "expires", "peak", "served", "seconds", "denied")
	used, err := sums(b, q)
	if err != nil {
		return nil, err
	}
	err = eachItem(b, q, func(v *entitlement.ItemView) {
		s := cmp.Or(used[v.ActivationID], &sumOf{})
		r.Row(v.Customer, v.EntitlementID, v.Product, string(v.ActivationID), v.Model, string(v.State), uint64(v.Copies), uint64(v.Used), uint64(v.Left), v.Expiry, s.peak, s.served, s.seconds, s.denied)
		r.Add("copies", uint64(v.Copies))
		r.Add("in_use", uint64(v.Used))
		r.Add("left", uint64(v.Left))
		r.Add("served", s.served)
		r.Add("seconds", s.seconds)
		r.Add("denied", s.denied)
	})
	return r, err
}

// deviceReport has the machines of an account. Nothing is known of one since its last request that was answered, and of what it uses only up to the end of its newest record.
func deviceReport(b *entitlement.Book, q *Query) (*capability.Table, error) {
	r := capability.NewTable("account", "host", "alias", "tier", "copies", "not_synchronized_since", "usage_until", "records", "missing", "unread", "refused")
	for h := range b.EachHost() {
		if err := q.pace.row(); err != nil {
			return nil, err
		}
		account := b.AccountOf(h.Host)
		if !b.Within(account, q.Account) || q.Group != "" && !slices.ContainsFunc(h.Holds, func(f entitlement.Fulfillment) bool { return q.passes(b, f.ActivationID) }) {
			continue
		}
		var copies uint64
		for _, f := range h.Holds {
			copies += uint64(f.Copies)
		}
		var last capability.Time
		for _, k := range h.Requests {
			last = max(last, k.Time)
		}
		s, _ := b.Synced(h.Host)
		r.Row(account, h.Host.String(), h.Alias, h.Tier.String(), copies, last, s.Until, s.Upto, s.Missing, s.Unread, uint64(len(h.Incidents)))
		r.Add("copies", copies)
	}
	return r, nil
}

func expiringReport(b *entitlement.Book, q *Query) (*capability.Table, error) {
	r := capability.NewTable("expires", "account", "entitlement", "product", "activation_id", "copies", "in_use", "state")
	err := eachItem(b, q, func(v *entitlement.ItemView) {
		if v.Expiry != 0 && v.Expiry >= q.From && v.Expiry < q.Until {
			r.Row(v.Expiry, v.Customer, v.EntitlementID, v.Product, string(v.ActivationID), uint64(v.Copies), uint64(v.Used), string(v.State))
			r.Add("copies", uint64(v.Copies))
			r.Add("in_use", uint64(v.Used))
		}
	})
	slices.SortStableFunc(r.Rows, func(a, b []any) int { return cmp.Compare(a[0].(capability.Time), b[0].(capability.Time)) })
	return r, err
}

// unusedReport has what is paid for and idle: line items that were in force in all of that time.
func unusedReport(b *entitlement.Book, q *Query) (*capability.Table, error) {
	r := capability.NewTable("account", "entitlement", "product", "activation_id", "copies", "in_use", "expires", "last_used")
	ever := *q
	ever.From = 0
	used, err := sums(b, &ever)
	if err != nil {
		return nil, err
	}
	err = eachItem(b, q, func(v *entitlement.ItemView) {
		s := cmp.Or(used[v.ActivationID], &sumOf{})
		inForce := v.Start < q.Until && (v.Expiry == 0 || v.Expiry > q.From)
		if inForce && (s.last == 0 || s.last < q.From) {
			r.Row(v.Customer, v.EntitlementID, v.Product, string(v.ActivationID), uint64(v.Copies), uint64(v.Used), v.Expiry, s.last)
			r.Add("copies", uint64(v.Copies))
			r.Add("in_use", uint64(v.Used))
		}
	})
	return r, err
}

func denialReport(b *entitlement.Book, q *Query) (*capability.Table, error) {
	type what struct {
		account, product, feature string
		id                        capability.ActivationID
		code                      capability.Code
	}
	counts := map[what]uint64{}
	err := eachUsage(b, q, func(u *entitlement.UsageRow) {
		for _, d := range u.Denials {
			k := what{u.Account, u.Product, u.Feature, u.ActivationID, d.Code}
			counts[k] = min(capability.MaxUsed, counts[k]+d.Count)
		}
	})
	keys := make([]what, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b what) int {
		return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(a.product, b.product), cmp.Compare(a.id, b.id), cmp.Compare(a.feature, b.feature), cmp.Compare(a.code, b.code))
	})
	r := capability.NewTable("account", "product", "activation_id", "feature", "code", "meaning", "count")
	for _, k := range keys {
		r.Row(k.account, k.product, string(k.id), k.feature, k.code.String(), k.code.Entry().Title, counts[k])
		r.Add("count", counts[k])
	}
	return r, err
}

// seatReport has the seats as they are now.
func seatReport(b *entitlement.Book, q *Query) (*capability.Table, error) {
	r := capability.NewTable("account", "product", "activation_id", "kind", "use", "user", "state", "machine", "since", "idle")
	sessions := map[capability.ActivationID][]entitlement.SessionView{}
	for _, s := range b.Sessions("", q.Now) {
		sessions[s.ActivationID] = append(sessions[s.ActivationID], s)
	}
	err := eachItem(b, q, func(v *entitlement.ItemView) {
		kind, mode := b.Use(v.ActivationID)
		for _, s := range b.Seats(v.ActivationID) {
			machine := ""
			if s.Serial != 0 {
				machine = s.Host.Short()
			}
			r.Row(v.Customer, v.Product, string(v.ActivationID), kind.String(), mode.String(), s.User.String(), string(s.State), machine, s.Assigned, "")
			r.Add("seats", 1)
		}
		for _, s := range sessions[v.ActivationID] {
			r.Row(v.Customer, v.Product, string(v.ActivationID), kind.String(), mode.String(), s.User.String(), "in use", s.Machine, s.Taken, s.Idle.String())
			r.Add("sessions", 1)
		}
	})
	return r, err
}
