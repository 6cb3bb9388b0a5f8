package wire

import (
	"crypto/ed25519"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// limits are messages at the limits of SPEC.md 3, and one above each. What takes more than some thousand bytes to exceed is left to the tests of each implementation.
func (s *set) limits() {
	c := s.c
	named := func(n int) string { return strings.Repeat("n", n) }
	hosts := func(n int) (list []hostid.ID) {
		for i := range n {
			list = append(list, hostid.ID{Type: hostid.String, Value: named(i + 1)})
		}
		return list
	}
	alarms := func(n int) (list []capability.Alarm) {
		for i := range n {
			list = append(list, capability.Alarm{Code: capability.Code(i + 1), Count: 1<<32 - 1, Last: 1<<63 - 1})
		}
		return list
	}
	pairs := func(n int) (list []capability.Pair) {
		for i := range n {
			list = append(list, capability.Pair{Key: named(i + 1)})
		}
		return list
	}
	r := s.clientRequest()
	r.Hosts = append(hosts(capability.MaxHosts-1), hostid.ID{Type: hostid.ContainerID, Value: named(128)})
	r.Alarms, r.Dictionary, r.User = alarms(capability.MaxAlarms), pairs(capability.MaxPairs), named(capability.MaxText)
	r.Desired = []capability.Desired{{Feature: named(capability.MaxName), Version: capability.Version{Major: 1<<32 - 1, Minor: 1<<32 - 1}, Count: capability.MaxCount}}
	r.Clock.Now, r.Borrow, r.Granularity, r.Applied, r.Platform.Virtual = 1<<63-1, 1<<63-1, 3, 1<<64-1, named(capability.MaxPlatform)
	s.good("request", "request-limits", "as much as there may be of what a request has in numbers and lengths", r, nil)
	bad := func(name, description string, change func(*capability.Request)) {
		r := s.clientRequest()
		change(&r)
		s.bad("request", "request-above-"+name, "malformed", description, c.Encode(&r), nil)
	}
	bad("hosts", "17 host IDs", func(r *capability.Request) { r.Hosts = hosts(capability.MaxHosts + 1) })
	bad("host-value", "a host ID of 129 bytes", func(r *capability.Request) { r.Hosts[0].Value = named(129) })
	bad("alarms", "17 alarms", func(r *capability.Request) { r.Alarms = alarms(capability.MaxAlarms + 1) })
	bad("dictionary", "65 pairs", func(r *capability.Request) { r.Dictionary = pairs(capability.MaxPairs + 1) })
	bad("selectors", "65 selectors of one line", func(r *capability.Request) { r.Desired[0].Selectors = pairs(capability.MaxPairs + 1) })
	bad("name", "a feature of 129 bytes", func(r *capability.Request) { r.Desired[0].Feature = named(capability.MaxName + 1) })
	bad("text", "a user of 257 bytes", func(r *capability.Request) { r.User = named(capability.MaxText + 1) })
	bad("granularity", "a granularity that is not known", func(r *capability.Request) { r.Granularity = 4 })
	bad("copies", "a return of 2^30 copies and one", func(r *capability.Request) {
		r.Returns = []capability.Return{s.aReturn()}
		r.Returns[0].Copies = capability.MaxCount + 1
	})
	bad("metered", "a total of 2^30 and one", func(r *capability.Request) {
		r.Metered = []capability.Meter{{ActivationID: s.id(7), Feature: "calls", Count: capability.MaxCount + 1}}
	})
	bad("usage", "a usage with 33 codes, among the states", func(r *capability.Request) {
		u := capability.Usage{From: 1, Until: 2}
		for i := range capability.MaxDenied + 1 {
			u.Denials = append(u.Denials, capability.Denied{Code: capability.Code(i + 1), Count: 1})
		}
		r.States = []capability.Usage{u}
	})
	for _, raw := range []struct{ name, description, field string }{
		{"time", "a clock of 2^63", "181a" + "a101" + "1b8000000000000000"},
		{"seconds", "2^63 seconds of borrowing", "0c" + "1b8000000000000000"},
		{"version", "a version of 2^32", "05" + "81a2" + "016166" + "0282" + "1b0000000100000000" + "00"},
		{"code", "a condition of 65536", "181b" + "1a00010000"},
	} {
		b := c.Encode(&capability.Request{Version: 1, Hosts: []hostid.ID{client()}, Correlation: correlation()})
		b[0]++
		s.bad("request", "request-above-"+raw.name, "malformed", raw.description, append(b, unhex(raw.field)...), nil)
	}

	keys := servingKeys()
	key := ed25519.NewKeyFromSeed(unhex(servingSeed()))
	holders := func(n int) []capability.Holder { return slices.Repeat([]capability.Holder{{Name: "WS", Count: 1}}, n) }
	item := capability.LineItem{ActivationID: s.id(7), Feature: "render", Count: capability.MaxCount, Copies: capability.MaxCount, Overdraft: capability.MaxCount, Metered: true,
		UsedBefore: capability.MaxCount, UndoInterval: capability.MaxInterval, Borrow: capability.MaxInterval, Selectors: pairs(capability.MaxPairs)}
	full := s.leaves(1)[0]
	full.Items = []capability.LineItem{item}
	full.Policy = capability.Policy{Lease: capability.MaxLease, RenewPercent: 90, Holders: 2, Granularity: 3, Binding: 3, Grace: capability.MaxGrace}
	full.Denials = []capability.Denial{{Code: 65535, Detail: named(capability.MaxDetail), Holders: holders(capability.MaxHolders)}}
	s.good("answer", "answer-limits", "as much as there may be of what a response has in numbers and lengths", answerInput{[]capability.Response{full}, 0, 5000, 9}, keys)
	least := s.leaves(1)[0]
	least.Policy = capability.Policy{Lease: capability.MinLease, Grace: capability.NoGrace}
	s.good("answer", "answer-limits-least", "the shortest lease, and no grace", answerInput{[]capability.Response{least}, 0, 5000, 9}, keys)
	above := func(name, description string, change func(*capability.Response)) {
		o := full
		o.Items, o.Denials = slices.Clone(full.Items), slices.Clone(full.Denials)
		change(&o)
		b := c.Encode(&o)
		a := c.Answer(c.SignTree(key, Grow([][]byte{b}), 5000, 9), 0, b)
		s.bad("answer", "answer-above-"+name, "malformed", description, c.Encode(&a), judgeKeys(keys))
	}
	above("status", "a status that is not known", func(r *capability.Response) { r.Status = 6 })
	above("line-status", "a status of a line that is not known", func(r *capability.Response) { r.Lines = []capability.Line{{Status: 3}} })
	above("lease", "a lease of 3601 seconds", func(r *capability.Response) { r.Policy.Lease++ })
	above("lease-least", "a lease of 59 seconds", func(r *capability.Response) { r.Policy.Lease = 59 })
	above("renew", "a renewal after 91 percent", func(r *capability.Response) { r.Policy.RenewPercent++ })
	above("granularity", "a granularity that is not known", func(r *capability.Response) { r.Policy.Granularity++ })
	above("binding", "a binding that is not known", func(r *capability.Response) { r.Policy.Binding++ })
	above("grace", "a grace of a year and a second", func(r *capability.Response) { r.Policy.Grace++ })
	above("grace-least", "a grace of -2 seconds", func(r *capability.Response) { r.Policy.Grace = -2 })
	above("detail", "a detail of 1025 bytes", func(r *capability.Response) { r.Denials[0].Detail += "n" })
	above("holders", "65 holders", func(r *capability.Response) { r.Denials[0].Holders = holders(capability.MaxHolders + 1) })
	above("count", "a count of 2^30 and one", func(r *capability.Response) { r.Items[0].Count, r.Items[0].Copies = capability.MaxCount+1, 1 })
	above("copies", "2^30 copies and one, of no count", func(r *capability.Response) { r.Items[0].Count, r.Items[0].Copies = 0, capability.MaxCount+1 })
	above("copies-least", "no copies", func(r *capability.Response) { r.Items[0].Copies = 0 })
	above("overdraft", "an overdraft of 2^30 and one", func(r *capability.Response) { r.Items[0].Overdraft++ })
	above("used-before", "2^30 and one used before", func(r *capability.Response) { r.Items[0].UsedBefore++ })
	above("undo", "reports that can be undone for more than fifty years", func(r *capability.Response) { r.Items[0].UndoInterval++ })
	above("borrow", "a lease of more than fifty years", func(r *capability.Response) { r.Items[0].Borrow++ })
	above("expiry", "a line item that expires as it starts", func(r *capability.Response) { r.Items[0].Start, r.Items[0].Expiry = 6000, 6000 })
	above("selectors", "65 selectors", func(r *capability.Response) { r.Items[0].Selectors = pairs(capability.MaxPairs + 1) })
}
