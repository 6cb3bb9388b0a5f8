package capability

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/hostid"
)

func someID(t testing.TB, n int) ActivationID {
	t.Helper()
	chance := binary.BigEndian.AppendUint32(bytes.Repeat([]byte{9}, 12), uint32(n))
	chance = append(chance, byte(n>>5), byte(n>>10)) // only five bits of a byte count
	id, err := NewActivationID(bytes.NewReader(chance))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func host(value string) hostid.ID { return hostid.ID{Type: hostid.TPMEK, Value: value} }

func goodRequest(t testing.TB) *Request {
	return &Request{
		Version: Protocol, Hosts: []hostid.ID{host("7f3a22c9")}, Correlation: CorrelationID{1},
		Desired: []Desired{{Feature: "render", Count: 1, Selectors: []Pair{{"site", "north"}}}, {ActivationID: someID(t, 1), Count: MaxCount}},
		User:    "ana", Alias: "Prüfstand 7", DeviceType: "WS", Dictionary: []Pair{{"project", "A-17"}},
		Returns: []Return{{ID: ReturnID{1}, ActivationID: someID(t, 2), Copies: 1, Proof: []byte{1}}},
		Records: []Record{{Number: 1, Body: []byte{1}}}, Clock: Clock{Now: 5, Floor: 4},
	}
}

func goodResponse(t testing.TB) *Response {
	return &Response{
		Version: Protocol, For: host("7f3a22c9"), Serial: 1, Time: 5000, Lifetime: 60,
		Rights:  []Right{{Feature: "render", Count: 1, Expiry: 6000}},
		Items:   []LineItem{goodItem(t)},
		Lines:   []Line{{Status: LineInsufficient, Denial: Denial{Code: ErrNoSeat, Subject: "render", Holders: []Holder{{Name: "WS-114"}}}}},
		Denials: []Denial{{Code: ErrHold, Detail: "after a power loss"}}, Policy: DefaultPolicy(),
	}
}

func goodItem(t testing.TB) LineItem {
	return LineItem{ActivationID: someID(t, 1), Feature: "render", Version: Version{Major: 2026, Minor: 1}, Count: 40, Copies: 4, Start: 10, Expiry: 20,
		Product: "Suite", Selectors: []Pair{{"site", "north"}}}
}

// Each rule of a request is broken once, and the error names the field.
func TestRequestValidate(t *testing.T) {
	if err := goodRequest(t).Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		field string
		spoil func(*Request)
	}{
		{"version", func(r *Request) { r.Version = 0 }},
		{"version", func(r *Request) { r.Version = 2 }},
		{"hosts", func(r *Request) { r.Hosts = nil }},
		{"hosts[0]", func(r *Request) { r.Hosts[0].Type = hostid.Unknown }},
		{"hosts[0]", func(r *Request) { r.Hosts[0].Value = "" }},
		{"hosts[1]", func(r *Request) { r.Hosts = append(r.Hosts, r.Hosts[0]) }},
		{"correlation", func(r *Request) { r.Correlation = CorrelationID{} }},
		{"operation", func(r *Request) { r.Operation = Undo + 1 }},
		{"undoes", func(r *Request) { r.Operation, r.Desired = Undo, nil }},
		{"undoes", func(r *Request) { r.Undoes = CorrelationID{2} }},
		{"undoes", func(r *Request) { r.Operation, r.Undoes = Report, CorrelationID{2} }},
		{"undoes", func(r *Request) { r.Operation, r.Undoes, r.Desired = Undo, r.Correlation, nil }},
		{"desired", func(r *Request) { r.Operation, r.Undoes = Undo, CorrelationID{2} }},
		{"borrow", func(r *Request) { r.Borrow = -1 }},
		{"granularity", func(r *Request) { r.Granularity = 4 }},
		{"clock", func(r *Request) { r.Clock.Now = -1 }},
		{"clock", func(r *Request) { r.Clock.Floor = -1 }},
		{"desired[0]", func(r *Request) { r.Desired[0].Feature = "" }},
		{"desired[0]", func(r *Request) { r.Desired[0].ActivationID = someID(t, 1) }},
		{"desired[0]", func(r *Request) { r.Desired[0].Feature = "a\tb" }},
		{"desired[0]", func(r *Request) { r.Desired[0].Selectors[0].Key = "" }},
		{"desired[1]", func(r *Request) { r.Desired[1].ActivationID = "7777" }},
		{"desired[1]", func(r *Request) { r.Desired[1].ActivationID = ActivationID(strings.ToLower(string(someID(t, 1)))) }},
		{"returns[0]", func(r *Request) { r.Returns[0].ID = ReturnID{} }},
		{"returns[0]", func(r *Request) { r.Returns[0].Copies = 0 }},
		{"returns[0]", func(r *Request) { r.Returns[0].ActivationID = "" }},
		{"user", func(r *Request) { r.User = "a\x1b[2J" }},
		{"alias", func(r *Request) { r.Alias = "a\u202eb" }},
		{"deviceType", func(r *Request) { r.DeviceType = "a\u2028b" }},
		{"user", func(r *Request) { r.User = "\xff" }},
		{"metered[0]", func(r *Request) { r.Metered = []Meter{{someID(t, 1), "f", 0}} }},
		{"metered[0]", func(r *Request) { r.Metered = []Meter{{"7777", "f", 1}} }},
		{"metered[0]", func(r *Request) { r.Metered = []Meter{{someID(t, 1), "a\tb", 1}} }},
		{"metered[1]", func(r *Request) { r.Metered = []Meter{{someID(t, 1), "f", 1}, {someID(t, 1), "f", 2}} }},
		{"dictionary[0]", func(r *Request) { r.Dictionary[0].Key = "" }},
		{"dictionary[0]", func(r *Request) { r.Dictionary[0].Value = "a\u0085b" }},
	} {
		r := goodRequest(t)
		c.spoil(r)
		checkMalformed(t, r.Validate(), c.field)
	}
}

// Each rule of a response is broken once.
func TestResponseValidate(t *testing.T) {
	if err := goodResponse(t).Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		field string
		spoil func(*Response)
	}{
		{"version", func(r *Response) { r.Version = 2 }},
		{"status", func(r *Response) { r.Status = StatusDenied + 1 }},
		{"time", func(r *Response) { r.Time = 0 }},
		{"time", func(r *Response) { r.Time = -5 }},
		{"lifetime", func(r *Response) { r.Lifetime = -1 }},
		{"hold", func(r *Response) { r.Hold = -1 }},
		{"for", func(r *Response) { r.For = hostid.ID{} }},
		{"items[0]", func(r *Response) { r.Items[0].Copies = 0 }},
		{"items[0]", func(r *Response) { r.Items[0].Count = 41 }},
		{"items[0]", func(r *Response) { r.Items[0].Start = -1 }},
		{"items[0]", func(r *Response) { r.Items[0].Expiry = -1 }},
		{"items[0]", func(r *Response) { r.Items[0].Expiry = r.Items[0].Start }},
		{"items[0]", func(r *Response) { r.Items[0].Borrow = -1 }},
		{"items[0]", func(r *Response) { r.Items[0].UndoInterval = -1 }},
		{"items[0]", func(r *Response) { r.Items[0].Notice = "a\x07" }},
		{"items[0]", func(r *Response) { r.Items[0].UsedBefore = 1 }},
		{"items[0]", func(r *Response) { r.Items[0].Selectors[0].Key = "" }},
		{"items[0]", func(r *Response) { r.Items[0].ActivationID = "" }},
		{"items[0]", func(r *Response) { r.Items[0].Feature = "" }},
		{"items[1]", func(r *Response) { r.Items = append(r.Items, r.Items[0]) }},
		{"rights[0]", func(r *Response) { r.Rights[0].Feature = "" }},
		{"rights[0]", func(r *Response) { r.Rights[0].Expiry = -1 }},
		{"rights[0]", func(r *Response) { r.Rights[0].Final = -1 }},
		{"rights[0]", func(r *Response) { r.Rights[0].Vendor = "\x00" }},
		{"lines[0]", func(r *Response) { r.Lines[0].Status = LineInsufficient + 1 }},
		{"lines[0].denial", func(r *Response) { r.Lines[0].Denial.Subject = "\x1b" }},
		{"lines[0].denial", func(r *Response) { r.Lines[0].Denial.Holders[0].Name = "\u2066" }},
		{"denials[0]", func(r *Response) { r.Denials[0].Detail = "\x1b]0;" }},
	} {
		r := goodResponse(t)
		c.spoil(r)
		checkMalformed(t, r.Validate(), c.field)
	}
}

func checkMalformed(t *testing.T, err error, field string) {
	t.Helper()
	var m *Malformed
	if !errors.As(err, &m) || m.Field != field || m.Cause == "" {
		t.Errorf("%v where %s should be malformed", err, field)
		return
	}
	if s := err.Error(); !strings.HasPrefix(s, field+": ") || strings.Contains(s, "failed to") || strings.HasSuffix(s, ".") {
		t.Errorf("%q does not read like a sentence about %s", s, field)
	}
}

// The same item under two features, and the same feature under two IDs, are different items.
func TestItemsAreNamedByBoth(t *testing.T) {
	r := goodResponse(t)
	a, b := goodItem(t), goodItem(t)
	a.Feature, b.ActivationID = "mesh", someID(t, 2)
	r.Items = append(r.Items, a, b)
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	if s := a.ID().String(); s != string(a.ActivationID)+"/mesh" {
		t.Error(s)
	}
}

func TestNamesOfNumbers(t *testing.T) {
	var got []string
	for i := range uint8(5) {
		got = append(got, Operation(i).String())
	}
	for i := range uint8(7) {
		got = append(got, Status(i).String())
	}
	for i := range uint8(4) {
		got = append(got, LineStatus(i).String())
	}
	want := []string{"request", "preview", "report", "undo", "operation 4", "OK", "PARTLY", "UNCHANGED", "PREVIEW", "RETURNED", "DENIED", "STATUS_6",
		"OK", "PARTIAL", "INSUFFICIENT", "LINE_3"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// What nobody signed is shown all the same, and says nothing beside what it says.
func TestDenialShown(t *testing.T) {
	d := Denial{Code: ErrOperator, Subject: "one\ntwo" + strings.Repeat("x", MaxText), Detail: "\x1b[2Jall is well\u202e\xff" + strings.Repeat("\u20ac", MaxDetail), Holders: make([]Holder, MaxHolders+1), Total: 3}
	d.Holders[0].Name = "a\rb"
	got := d.Shown()
	if err := got.Validate(); err != nil || got.Code != ErrOperator || got.Total != 3 || !strings.HasPrefix(got.Subject, "one?two") || !strings.HasPrefix(got.Detail, "?[2Jall is well??\u20ac") || got.Holders[0].Name != "a?b" || d.Holders[0].Name != "a\rb" {
		t.Errorf("%v: %+v", err, got)
	}
	if whole := (Denial{Code: ErrOperator, Subject: "f\u00fcr", Detail: "said\ttwice?"}); whole.Shown().Detail != "said?twice?" || whole.Shown().Subject != whole.Subject {
		t.Errorf("%+v", whole.Shown())
	}
}
