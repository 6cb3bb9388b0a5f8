package console

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/hostid"
)

// reserving is a ledger with four items of two features, and a way to make commands facts.
func reserving(t *testing.T) (*ledger.Ledger, func(ledger.Command) (ledger.Decision, error)) {
	t.Helper()
	l, now := ledger.New(), ledger.At(0, start)
	do := func(c ledger.Command) (ledger.Decision, error) {
		d, err := l.Decide(now, c)
		for _, e := range d.Entries {
			if err := l.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		return d, err
	}
	r := capability.Response{Version: capability.Protocol, For: hostid.ID{Type: hostid.String, Value: "appliance"}, Serial: 1, Time: start}
	for i, it := range []capability.LineItem{{Feature: "f", Version: capability.Version{Major: 1}, Count: 10}, {Feature: "f", Version: capability.Version{Major: 2}, Count: 6, Expiry: start + 9000},
		{Feature: "f", Version: capability.Version{Major: 2}, Count: 5}, {Feature: "g", Version: capability.Version{Major: 1}, Count: 7, Overdraft: 1}} {
		id, err := capability.NewActivationID(strings.NewReader(strings.Repeat(string(rune('a'+i)), 18)))
		if err != nil {
			t.Fatal(err)
		}
		it.ActivationID, it.Copies = id, 1
		r.Items = append(r.Items, it)
	}
	if _, err := do(ledger.Provision{Response: r, Digest: capability.Digest{1}}); err != nil {
		t.Fatal(err)
	}
	return l, do
}

func TestConverted(t *testing.T) {
	owners := []Host{{"STRING", "d1"}, {"ETHERNET", "001122334455"}, {"USER", "u1"}, {"USER", `u"2`}}
	seeds := uint64(150)
	if testing.Short() {
		seeds = 30
	}
	converted, red := 0, 0
	for seed := range seeds {
		random := rand.New(rand.NewPCG(seed, 1))
		var rows []Reserved
		for range 1 + random.IntN(6) {
			rows = append(rows, Reserved{
				Group: fmt.Sprint("group ", random.IntN(3)), Host: owners[random.IntN(len(owners))], Feature: []string{"f", "g"}[random.IntN(2)],
				Version: capability.Version{Major: uint32(1 + random.IntN(2))}, Count: uint32(1 + random.IntN(6)),
			})
		}
		l, do := reserving(t)
		groups, err := Groups(rows, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := do(ledger.SetReservations{Groups: groups, By: "test"}); err != nil {
			t.Fatal(err)
		}
		_, views := l.Reservations()
		for _, v := range views {
			if v.Status == ledger.Unsatisfied {
				red++
			}
		}
		text, err := asModel(views)
		if err != nil {
			continue // nothing of it is satisfied
		}
		converted++
		for _, f := range model.Check(text, start, l.Inventory()).Findings {
			t.Errorf("seed %d: %s\n%s", seed, f, text)
		}
		// Whoever asks for whatever gets the same of the same items, alone.
		ask := func() (all []string) {
			for _, host := range []string{"d1/STRING", "001122334455/ETHERNET", "d9/STRING"} {
				for _, user := range []string{"", "u1", `u"2`, "u9"} {
					for _, want := range []string{"", "f 1 4", "f 1 30", "f 2 8", "g 1 7", "g 1 9"} {
						all = append(all, host+" "+user+" "+want+": "+preview(t, do, host, user, want))
					}
				}
			}
			return all
		}
		before := ask()
		if _, err := do(ledger.SetReservations{By: "test"}); err != nil {
			t.Fatal(err)
		}
		if _, err := do(ledger.SetModel{Text: text, By: "test"}); err != nil {
			t.Fatal(err)
		}
		for i, got := range ask() {
			if got != before[i] {
				t.Errorf("seed %d: by the model\n%s\nby the reservations\n%s\n%s", seed, got, before[i], text)
			}
		}
	}
	if converted < int(seeds)/2 || red == 0 {
		t.Errorf("%d of %d converted, %d entries unsatisfied", converted, seeds, red)
	}
}

// preview is what a request would be granted, by version and expiry of the items.
func preview(t *testing.T, do func(ledger.Command) (ledger.Decision, error), host, user, want string) string {
	t.Helper()
	id, err := hostid.Parse(host)
	if err != nil {
		t.Fatal(err)
	}
	r := capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{id}, User: user, Operation: capability.Preview, Correlation: capability.CorrelationID{1}}
	if want != "" {
		d := capability.Desired{Partial: true}
		if _, err := fmt.Sscan(want, &d.Feature, &d.Version.Major, &d.Count); err != nil {
			t.Fatal(err)
		}
		r.Desired = append(r.Desired, d)
	}
	d, err := do(ledger.Serve{Key: capability.Digest{7}, Request: r})
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]uint32{}
	for _, g := range d.Response.Rights {
		sums[fmt.Sprintf("%s %s until %d", g.Feature, g.Version, g.Final)] += g.Count
	}
	return fmt.Sprint(d.Response.Status, sums)
}

// With more entries than pools each owner has one pool; with very many owners the rules for a device with a user are left out. Both is said in the text.
func TestConvertedMany(t *testing.T) {
	var views []ledger.EntryView
	for i := range 4800 {
		v := ledger.EntryView{ReservationEntry: ledger.ReservationEntry{ID: uint64(i + 1), Feature: "f", Count: 1}, Group: "g", Host: hostid.ID{Type: hostid.String, Value: fmt.Sprint("d", i%40)}}
		if i%2 == 1 {
			v.Host = hostid.ID{Type: hostid.User, Value: fmt.Sprint("u", i%80)}
		}
		views = append(views, v)
	}
	for _, c := range []struct {
		entries         int
		pools, together int
		says            string
	}{
		{40, 40, 400, ""},
		{100, 100, 800, ""},
		{4800, 60, 800, "all entries of one owner are one"},
	} {
		text, err := asModel(views[:c.entries])
		if err != nil {
			t.Fatal(err)
		}
		m, err := model.Parse(text)
		if err != nil || len(m.Pools) != c.pools || strings.Count(string(text), " and user(") != c.together || !strings.Contains(string(text), c.says) {
			t.Errorf("%d entries: %d pools, %d rules for two, %v", c.entries, len(m.Pools), strings.Count(string(text), " and user("), err)
		}
		if c.entries == 4800 && m.Pools[0].Allocations[0].Amount.Number != 120 {
			t.Errorf("%+v", m.Pools[0])
		}
	}
	for i := range views {
		views[i].Host.Value = fmt.Sprint(views[i].Host.Value, i%500)
	}
	text, err := asModel(views[:1000])
	if err != nil || strings.Contains(string(text), " and user(") || !strings.Contains(string(text), "what the user has only where the device has nothing") {
		t.Errorf("%v\n%.2000s", err, text)
	}
}

// Each of the three levels is edited in place, as far as its ID reaches.
func TestEditReservations(t *testing.T) {
	call, vault := running(t)
	show := func(body string) string {
		out := ""
		for _, r := range read[[]Reserved](t, body) {
			out += fmt.Sprintf("%d:%s(%d) %s(%d) %s %s %d %s; ", r.ID, r.Group, r.GroupID, r.Host, r.Reservation, r.Feature, r.Version, r.Count, r.Status)
		}
		return out
	}
	_, _, body := call("PUT", Base+"reservations", `[{"group":"g","hostId":{"type":"STRING","value":"d"},"feature":"f","version":"1.0","count":2},
		{"group":"g","hostId":{"type":"STRING","value":"d"},"feature":"f","version":"1.0","count":1},{"group":"h","hostId":{"type":"USER","value":"u"},"feature":"f","version":"1.0","count":1}]`)
	if got := show(body); got != "3:g(1) d/STRING(2) f 1.0 2 satisfied; 4:g(1) d/STRING(2) f 1.0 1 satisfied; 7:h(5) u/USER(6) f 1.0 1 satisfied; " {
		t.Fatal(got)
	}
	for _, c := range []struct {
		body   string
		status int
		want   string // the rows, or what the refusal says
	}{
		{`{"id":3,"count":3}`, 200, "3:g(1) d/STRING(2) f 1.0 3 satisfied; 4:g(1) d/STRING(2) f 1.0 1 satisfied; 7:h(5) u/USER(6) f 1.0 1 satisfied; "},
		{`{"id":1,"group":"workshop"}`, 200, "3:workshop(1) d/STRING(2) f 1.0 3 satisfied; 4:workshop(1) d/STRING(2) f 1.0 1 satisfied; 7:h(5) u/USER(6) f 1.0 1 satisfied; "},
		{`{"id":4,"version":"2.0"}`, 200, "3:workshop(1) d/STRING(2) f 1.0 3 satisfied; 8:workshop(1) d/STRING(2) f 2.0 1 unsatisfied; 7:h(5) u/USER(6) f 1.0 1 satisfied; "},
		{`{"id":8,"feature":"x","version":"1.0","count":9}`, 200, "3:workshop(1) d/STRING(2) f 1.0 3 satisfied; 9:workshop(1) d/STRING(2) x 1.0 9 unsatisfied; 7:h(5) u/USER(6) f 1.0 1 satisfied; "},
		{`{"id":6,"hostId":{"type":"USER","value":"v"}}`, 200, "3:workshop(1) d/STRING(2) f 1.0 3 satisfied; 9:workshop(1) d/STRING(2) x 1.0 9 unsatisfied; 11:h(5) v/USER(10) f 1.0 1 satisfied; "},
		{`{"id":11,"group":"workshop"}`, 200, "3:workshop(1) d/STRING(2) f 1.0 3 satisfied; 9:workshop(1) d/STRING(2) x 1.0 9 unsatisfied; 13:workshop(1) v/USER(12) f 1.0 1 satisfied; "},
		{`{"id":9,"group":"h"}`, 200, "3:workshop(1) d/STRING(2) f 1.0 3 satisfied; 13:workshop(1) v/USER(12) f 1.0 1 satisfied; 16:h(14) d/STRING(15) x 1.0 9 unsatisfied; "},

		{`{"id":14,"group":"workshop"}`, 400, `"workshop" is there already, with the ID 1`},
		{`{"id":14,"group":""}`, 400, "groups[1]"},
		{`{"id":14,"count":2}`, 400, "14 is a whole reservation or group"},
		{`{"id":12,"feature":"g"}`, 400, "12 is a whole reservation or group"},
		{`{"id":1,"hostId":{"type":"USER","value":"v"}}`, 400, "1 is a whole group"},
		{`{"id":3}`, 400, "says nothing that shall be different"},
		{`{"id":3,"count":0}`, 400, "count 0 where 1 to"},
		{`{"id":3,"count":-1}`, 400, "count"},
		{`{"id":3,"count":4294967296}`, 400, "count"},
		{`{"id":3,"version":"6.1.3"}`, 400, "6.1.3"},
		{`{"id":3,"feature":""}`, 400, "feature of 0 bytes"},
		{`{"id":3,"hostId":{"type":"NONE","value":"v"}}`, 400, "NONE"},
		{`{"id":3,"name":"x"}`, 400, "name"},
		{`{"id":0,"count":1}`, 404, "0"},
		{`{"id":99,"count":1}`, 404, "99"},
	} {
		before := vault.last().Position
		status, p, body := call("POST", Base+"reservations/edit", c.body)
		got := p.Text
		if status == http.StatusOK {
			got = show(body)
		} else if vault.last().Position != before {
			t.Errorf("%s: refused, and became a fact", c.body)
		}
		if status != c.status || status == http.StatusOK && got != c.want || !strings.Contains(got, c.want) {
			t.Errorf("%s: %d %s\nwant %d %s", c.body, status, got, c.status, c.want)
		}
	}
}
