package capability

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/hostid"
)

// Every maximum holds at its value and breaks one above. The limits of bytes, MaxFrame, MaxFile, MaxQuoted and MaxUsage, are tested in wire where the bytes are; of MaxFrame
// a receipt inside a request is tested here too.
func TestLimits(t *testing.T) {
	text := func(n int) string { return strings.Repeat("x", n) }
	request := func(f func(*Request, int)) func(int) error {
		return func(n int) error { r := goodRequest(t); f(r, n); return r.Validate() }
	}
	response := func(f func(*Response, int)) func(int) error {
		return func(n int) error { r := goodResponse(t); f(r, n); return r.Validate() }
	}
	pairs := func(n int) []Pair { return slices.Repeat([]Pair{{"k", "v"}}, n) }
	cases := []struct {
		limit string
		what  string
		most  int
		try   func(n int) error
	}{
		{"MaxFrame", "receipt", MaxFrame, request(func(r *Request, n int) { r.Receipt = make([]byte, n) })},
		{"MaxHosts", "hosts", MaxHosts, request(func(r *Request, n int) {
			r.Hosts = nil
			for i := range n {
				r.Hosts = append(r.Hosts, host(fmt.Sprint(i)))
			}
		})},
		{"MaxNumber", "number", MaxNumber, func(n int) error { return (&Request{Number: uint64(n)}).ToAppliance() }},
		{"MaxDesired", "desired", MaxDesired, request(func(r *Request, n int) { r.Desired = slices.Repeat(r.Desired[:1], n) })},
		{"MaxDesired", "lines", MaxDesired, response(func(r *Response, n int) { r.Lines = make([]Line, n) })},
		{"MaxItems", "items", MaxItems, response(func(r *Response, n int) {
			r.Items = nil
			for i := range n {
				it := goodItem(t)
				it.Feature = fmt.Sprint("f", i)
				r.Items = append(r.Items, it)
			}
		})},
		{"MaxItems", "rights", MaxItems, response(func(r *Response, n int) { r.Rights = slices.Repeat(r.Rights, n) })},
		{"MaxItems", "metered", MaxItems, request(func(r *Request, n int) {
			for i := range n {
				r.Metered = append(r.Metered, Meter{goodItem(t).ActivationID, fmt.Sprint("f", i), 1})
			}
		})},
		{"MaxCount", "a metered total", MaxCount, request(func(r *Request, n int) { r.Metered = []Meter{{goodItem(t).ActivationID, "f", uint32(n)}} })},
		{"MaxCount", "used before", MaxCount, response(func(r *Response, n int) { r.Items[0].Metered, r.Items[0].UsedBefore = true, uint32(n) })},
		{"MaxReturns", "returns", MaxReturns, request(func(r *Request, n int) { r.Returns = slices.Repeat(r.Returns, n) })},
		{"MaxReturns", "acknowledged", MaxReturns, response(func(r *Response, n int) { r.Acknowledged = make([]ReturnID, n) })},
		{"MaxRecords", "records", MaxRecords, request(func(r *Request, n int) {
			r.Records = nil
			for i := range n {
				r.Records = append(r.Records, Record{Number: uint64(i + 1)})
			}
		})},
		{"MaxStates", "states", MaxStates, request(func(r *Request, n int) {
			r.States = nil
			for i := range n {
				r.States = append(r.States, Usage{From: 1, Until: 2, ActivationID: r.Returns[0].ActivationID, Feature: fmt.Sprint("f", i), Served: 1})
			}
		})},
		{"MaxOutstanding", "outstanding", MaxOutstanding, request(func(r *Request, n int) { r.Outstanding = make([]Digest, n) })},
		{"MaxRevoked", "revoked", MaxRevoked, response(func(r *Response, n int) { r.Revoked = make([]Digest, n) })},
		{"MaxName", "feature asked for", MaxName, request(func(r *Request, n int) { r.Desired[0].Feature = text(n) })},
		{"MaxName", "feature of an item", MaxName, response(func(r *Response, n int) { r.Items[0].Feature = text(n) })},
		{"MaxName", "feature of a right", MaxName, response(func(r *Response, n int) { r.Rights[0].Feature = text(n) })},
		{"MaxName", "key of a pair", MaxName, request(func(r *Request, n int) { r.Dictionary[0].Key = text(n) })},
		{"MaxName", "ParseFeature", MaxName, func(n int) error { _, err := ParseFeature(text(n)); return err }},
		{"MaxText", "user", MaxText, request(func(r *Request, n int) { r.User = text(n) })},
		{"MaxText", "alias", MaxText, request(func(r *Request, n int) { r.Alias = text(n) })},
		{"MaxText", "device type", MaxText, request(func(r *Request, n int) { r.DeviceType = text(n) })},
		{"MaxText", "value of a pair", MaxText, request(func(r *Request, n int) { r.Desired[0].Selectors[0].Value = text(n) })},
		{"MaxText", "product", MaxText, response(func(r *Response, n int) { r.Items[0].Product = text(n) })},
		{"MaxText", "entitlement ID", MaxText, response(func(r *Response, n int) { r.Items[0].EntitlementID = text(n) })},
		{"MaxText", "vendor string", MaxText, response(func(r *Response, n int) { r.Items[0].VendorString = text(n) })},
		{"MaxText", "issuer", MaxText, response(func(r *Response, n int) { r.Items[0].Issuer = text(n) })},
		{"MaxText", "notice", MaxText, response(func(r *Response, n int) { r.Items[0].Notice = text(n) })},
		{"MaxText", "serial number", MaxText, response(func(r *Response, n int) { r.Items[0].SerialNumber = text(n) })},
		{"MaxText", "vendor string of a right", MaxText, response(func(r *Response, n int) { r.Rights[0].Vendor = text(n) })},
		{"MaxText", "subject", MaxText, response(func(r *Response, n int) { r.Denials[0].Subject = text(n) })},
		{"MaxText", "holder", MaxText, response(func(r *Response, n int) { r.Lines[0].Denial.Holders[0].Name = text(n) })},
		{"MaxPairs", "dictionary", MaxPairs, request(func(r *Request, n int) { r.Dictionary = pairs(n) })},
		{"MaxPairs", "selectors asked for", MaxPairs, request(func(r *Request, n int) { r.Desired[0].Selectors = pairs(n) })},
		{"MaxPairs", "selectors of an item", MaxPairs, response(func(r *Response, n int) { r.Items[0].Selectors = pairs(n) })},
		{"MaxSigned", "certificate", MaxSigned, response(func(r *Response, n int) { r.Certificate = make([]byte, n) })},
		{"MaxEvidence", "proof of a return", MaxEvidence, request(func(r *Request, n int) { r.Returns[0].Proof = make([]byte, n) })},
		{"MaxDenials", "denials", MaxDenials, response(func(r *Response, n int) { r.Denials = make([]Denial, n) })},
		{"MaxHolders", "holders", MaxHolders, response(func(r *Response, n int) { r.Denials[0].Holders = make([]Holder, n) })},
		{"MaxDetail", "detail", MaxDetail, response(func(r *Response, n int) { r.Denials[0].Detail = text(n) })},
		{"MaxCount", "count asked for", MaxCount, request(func(r *Request, n int) { r.Desired[0].Count = uint32(n) })},
		{"MaxCount", "copies of a return", MaxCount, request(func(r *Request, n int) { r.Returns[0].Copies = uint32(n) })},
		{"MaxCount", "count of an item", MaxCount, response(func(r *Response, n int) { r.Items[0].Copies, r.Items[0].Count = 1, uint32(n) })},
		{"MaxCount", "copies of an item", MaxCount, response(func(r *Response, n int) { r.Items[0].Copies, r.Items[0].Count = uint32(n), 0 })},
		{"MaxCount", "overdraft", MaxCount, response(func(r *Response, n int) { r.Items[0].Overdraft = uint32(n) })},
		{"MaxLease", "lease", int(MaxLease), response(func(r *Response, n int) { r.Policy.Lease = Seconds(n) })},
		{"MaxInterval", "lease of an item", int(MaxInterval), response(func(r *Response, n int) { r.Items[0].Borrow = Seconds(n) })},
		{"MaxInterval", "undo interval", int(MaxInterval), response(func(r *Response, n int) { r.Items[0].UndoInterval = Seconds(n) })},
		{"MaxGrace", "grace", int(MaxGrace), response(func(r *Response, n int) { r.Policy.Grace = Seconds(n) })},
		{"MaxPlatform", "virtual", MaxPlatform, request(func(r *Request, n int) { r.Platform.Virtual = text(n) })},
		{"MaxPlatform", "container", MaxPlatform, request(func(r *Request, n int) { r.Platform.Container = text(n) })},
		{"MaxPolicyRef", "ref of boot states", MaxPolicyRef, response(func(r *Response, n int) { r.Boot.Ref = make([]byte, n) })},
		{"StateBytes", "signed state", StateBytes, response(func(r *Response, n int) { r.Boot.States = [][]byte{append([]byte{0x41}, make([]byte, n-1)...)} })},
		{"MaxItems", "signed states", MaxItems, response(func(r *Response, n int) {
			r.Boot.States = slices.Repeat([][]byte{append([]byte{0x41}, make([]byte, StateBytes-1)...)}, n)
		})},
		{"MaxAlarms", "alarms", MaxAlarms, request(func(r *Request, n int) {
			for i := range n {
				r.Alarms = append(r.Alarms, Alarm{Code(i + 1), 1, 1})
			}
		})},
		{"MaxDenied", "codes of denials", MaxDenied, func(n int) error {
			u := Usage{From: 1, Until: 2}
			for i := range n {
				u.Denials = append(u.Denials, Denied{Code(i + 1), 1})
			}
			return u.Validate()
		}},
		{"MaxUsed", "seconds used", MaxUsed, func(n int) error {
			u := Usage{From: 1, Until: 2, ActivationID: goodItem(t).ActivationID, Feature: "f", Seconds: uint64(n)}
			return u.Validate()
		}},
		{"", "renewal", 90, response(func(r *Response, n int) { r.Policy.RenewPercent = uint8(n) })},
		{"", "holders shown", int(HoldersNames), response(func(r *Response, n int) { r.Policy.Holders = HolderPolicy(n) })},
		{"", "granularity of the policy", 3, response(func(r *Response, n int) { r.Policy.Granularity = uint8(n) })},
		{"", "granularity", 3, request(func(r *Request, n int) { r.Granularity = uint8(n) })},
		{"", "value of a host ID", hostid.MaxValue, request(func(r *Request, n int) { r.Hosts[0].Value = text(n) })},
	}
	tested := []string{"MaxFile", "MaxQuoted", "MaxUsage", "MinLease", "DefaultLease", "DefaultGrace"}
	for _, c := range cases {
		if err := c.try(c.most); err != nil {
			t.Errorf("%s: %d: %v", c.what, c.most, err)
		}
		if c.try(c.most+1) == nil {
			t.Errorf("%s: %d is accepted", c.what, c.most+1)
		}
		tested = append(tested, c.limit)
	}
	lease := response(func(r *Response, n int) { r.Policy.Lease = Seconds(n) })
	if lease(int(MinLease)) != nil || lease(int(MinLease)-1) == nil || lease(int(DefaultLease)) != nil || lease(-1) == nil || lease(0) != nil {
		t.Error("the least lease is not the limit")
	}
	for _, name := range constants(t, "limits.go") {
		if !slices.Contains(tested, name) {
			t.Errorf("%s has no test", name)
		}
	}
}

// constants are the names that a file of this package declares.
func constants(t *testing.T, file string) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
			for _, s := range g.Specs {
				for _, n := range s.(*ast.ValueSpec).Names {
					names = append(names, n.Name)
				}
			}
		}
	}
	if len(names) == 0 {
		t.Fatalf("%s declares nothing", file)
	}
	return names
}

// Names and texts reach screens: what moves a cursor or turns a line around is refused, letters of all scripts are not.
func TestTextForScreens(t *testing.T) {
	for _, s := range []string{"", "render", "Prüfstand 7", "試験", "مختبر", "a/b:c", "🙂", " "} {
		if err := checkText(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, r := range []rune{0, 7, '\t', '\n', '\r', 0x1b, 0x1f, 0x7f, 0x80, 0x85, 0x9b, 0x9f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2066, 0x2069, 0xfffd} {
		if checkText("a"+string(r)+"b") == nil {
			t.Errorf("%U is accepted", r)
		}
	}
	if checkText("a\xc3") == nil || checkText("\xed\xa0\x80") == nil {
		t.Error("what is not UTF-8 is accepted")
	}
}
