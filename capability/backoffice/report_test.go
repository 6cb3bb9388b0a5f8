package backoffice

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// reported is a book with two accounts, a group, two machines and their records of three days.
func reported(t *testing.T) (*entitlement.Book, []capability.ActivationID, capability.Time) {
	b, c, now := entitlement.New(), wire.New(), capability.Time(1_800_000_000)
	do := func(command entitlement.Command) *entitlement.Decision {
		t.Helper()
		d, err := b.Decide(now, command)
		for i := 0; err == nil && i < len(d.Entries); i++ {
			err = b.Apply(d.Entries[i])
		}
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	p := entitlement.DefaultPolicy("Works")
	p.MinimumTier = entitlement.Software
	do(entitlement.SetPolicy{Policy: p})
	var ids []capability.ActivationID
	for n, customer := range []string{"Acme", "=cmd|'/C calc'!A0", "Acme"} {
		id, err := capability.NewActivationID(strings.NewReader(strings.Repeat(string(rune('a'+n)), 18)))
		if err != nil {
			t.Fatal(err)
		}
		var expiry capability.Time // of the first: none
		if n > 0 {
			expiry = now.Add(capability.Seconds(n) * 40 * 86400)
		}
		do(entitlement.Entitle{Item: entitlement.Item{
			ActivationID: id, Customer: customer, EntitlementID: "E-1", Product: []string{"Render", "Mesh", "Idle"}[n], Copies: 9, Expiry: expiry,
			Features: []entitlement.Feature{{Name: "f", PerCopy: 1}},
		}})
		ids = append(ids, id)
	}
	do(entitlement.SetGroup{Group: "North", ActivationID: ids[0]})
	for n := range 2 {
		host := hostid.OfDigest(hostid.TPMEK, [32]byte{byte(n + 1)})
		r := &capability.Request{
			Version: capability.Protocol, Hosts: []hostid.ID{host}, Correlation: capability.CorrelationID{1}, Number: 1, Life: capability.LifeID{byte(n + 1)}, Epoch: 1,
			Desired: []capability.Desired{{ActivationID: ids[n], Count: 2}},
		}
		for day := range 3 {
			from := now - now%86400 - capability.Time(day)*86400
			for _, u := range []capability.Usage{
				{From: from, Until: from + 86400, ActivationID: ids[n], Feature: "f", Peak: uint64(day + 1), Served: 2, Seconds: 100, Denials: []capability.Denied{{Code: capability.ErrNoSeat, Count: 3}}},
				{From: from, Until: from + 86400, ActivationID: ids[n], Feature: "f", User: "@ana", Peak: 1, Served: 1, Seconds: 50},
			} {
				r.Records = append(r.Records, capability.Record{Number: uint64(len(r.Records) + 1), Body: c.Encode(&u)})
			}
		}
		identity := entitlement.Identity{Host: host, AKName: []byte{0, 11, byte(n)}, AK: []byte{1}, EK: []byte{2}, Tier: entitlement.Hardware}
		if d := do(entitlement.Answer{Request: r, Digest: c.RequestDigest(r), Identity: identity}); d.Response.Records != 6 {
			t.Fatalf("%d records are acknowledged", d.Response.Records)
		}
	}
	return b, ids, now
}

// What a machine says of an item of others makes that neither used nor idle.
func TestReportsOfForeignItems(t *testing.T) {
	b, ids, now := reported(t)
	c, day := wire.New(), now-now%86400
	u := capability.Usage{From: day, Until: day + 86400, ActivationID: ids[2], Feature: "f", Peak: 9, Served: 1000, Seconds: 1000}
	r := &capability.Request{
		Version: capability.Protocol, Hosts: []hostid.ID{hostid.OfDigest(hostid.TPMEK, [32]byte{9})}, Correlation: capability.CorrelationID{1}, Number: 1, Life: capability.LifeID{9}, Epoch: 1,
		Records: []capability.Record{{Number: 1, Body: c.Encode(&u)}},
	}
	d, err := b.Decide(now, entitlement.Answer{Request: r, Digest: c.RequestDigest(r), Identity: entitlement.Identity{Host: r.Hosts[0], AKName: []byte{0, 11, 9}, AK: []byte{1}, EK: []byte{2}, Tier: entitlement.Software}})
	if err == nil {
		err = b.Apply(d.Entries[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	q := Query{Until: now + 1, Now: now}
	if r, _ := MakeReport(b, ReportUnused, q); len(r.Rows) != 1 || r.Rows[0][3] != string(ids[2]) {
		t.Errorf("unused: %v", r.Rows)
	}
	if r, _ := MakeReport(b, ReportLicenses, q); r.Totals["served"] != 12 {
		t.Errorf("licenses: %v", r.Totals)
	}
	if r, _ := MakeReport(b, ReportUsage, Query{Until: now + 1, Now: now, Account: "Acme"}); r.Totals["served"] != 6 {
		t.Errorf("usage of the account: %v", r.Totals)
	}
}

// The totals of each report are those of the records, of its time, account and group; what names a user counts for nothing more.
func TestReportsAddUp(t *testing.T) {
	b, ids, now := reported(t)
	all := Query{From: 0, Until: now + 1, Now: now}
	with := func(change func(*Query)) Query { q := all; change(&q); return q }
	for _, c := range []struct {
		kind   ReportKind
		q      Query
		rows   int
		totals map[string]uint64
	}{
		{ReportUsage, all, 12, map[string]uint64{"served": 12, "seconds": 600, "denied": 18}},
		{ReportUsage, with(func(q *Query) { q.From = now - now%86400 }), 4, map[string]uint64{"served": 4, "seconds": 200, "denied": 6}},
		{ReportUsage, with(func(q *Query) { q.Until = now - now%86400 }), 8, map[string]uint64{"served": 8, "seconds": 400, "denied": 12}},
		{ReportUsage, with(func(q *Query) { q.Account = "Acme" }), 6, map[string]uint64{"served": 6, "seconds": 300, "denied": 9}},
		{ReportUsage, with(func(q *Query) { q.Group = "North" }), 6, map[string]uint64{"served": 6, "seconds": 300, "denied": 9}},
		{ReportUsage, with(func(q *Query) { q.Group = "South" }), 0, map[string]uint64{}},
		{ReportLicenses, all, 3, map[string]uint64{"copies": 27, "in_use": 4, "left": 23, "served": 12, "seconds": 600, "denied": 18}},
		{ReportLicenses, with(func(q *Query) { q.Group = "North" }), 1, map[string]uint64{"copies": 9, "in_use": 2, "left": 7, "served": 6, "seconds": 300, "denied": 9}},
		{ReportDevices, all, 2, map[string]uint64{"copies": 4}},
		{ReportDevices, with(func(q *Query) { q.Group = "North" }), 1, map[string]uint64{"copies": 2}},
		{ReportDevices, with(func(q *Query) { q.Account = "Acme" }), 1, map[string]uint64{"copies": 2}},
		{ReportExpiring, with(func(q *Query) { q.From, q.Until = now, now.Add(60*86400) }), 1, map[string]uint64{"copies": 9, "in_use": 2}},
		{ReportUnused, all, 1, map[string]uint64{"copies": 9, "in_use": 0}},
		{ReportUnused, with(func(q *Query) { q.From, q.Until, q.Now = now+86400, now+2*86400, now+2*86400 }), 3, map[string]uint64{"copies": 27, "in_use": 4}},
		{ReportDenials, all, 2, map[string]uint64{"count": 18}},
		{ReportSeats, all, 0, map[string]uint64{}},
	} {
		r, err := MakeReport(b, c.kind, c.q)
		if err != nil || len(r.Rows) != c.rows || fmt.Sprint(r.Totals) != fmt.Sprint(c.totals) {
			t.Errorf("%s of %+v: %d rows, %v: %v", c.kind, c.q, len(r.Rows), r.Totals, err)
		}
		for _, row := range r.Rows {
			if len(row) != len(r.Columns) {
				t.Errorf("%s: %d cells in %d columns", c.kind, len(row), len(r.Columns))
			}
		}
	}
	if _, err := MakeReport(b, "weather", all); err == nil {
		t.Error("there is a report of the weather")
	}
	r, _ := MakeReport(b, ReportUnused, all)
	if r.Rows[0][3] != string(ids[2]) {
		t.Errorf("unused is %v", r.Rows)
	}
}

// No cell of a table is a formula, whatever a customer is called.
func TestReportIsNoFormula(t *testing.T) {
	b, _, now := reported(t)
	for _, kind := range ReportKinds() {
		r, err := MakeReport(b, kind, Query{Until: now.Add(1000 * 86400), Now: now})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := r.WriteCSV(&out); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&out).ReadAll()
		if err != nil || len(rows) != len(r.Rows)+1 || !slices.Equal(rows[0], r.Columns) {
			t.Fatalf("%s: %d rows: %v", kind, len(rows), err)
		}
		for n, row := range rows[1:] {
			for i, cell := range row {
				if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
					t.Errorf("%s: %q", kind, cell)
				}
				if want := capability.Cell(r.Rows[n][i]); cell != want && cell != "'"+want {
					t.Errorf("%s: %q where %q is wanted", kind, cell, want)
				}
			}
		}
	}
}
