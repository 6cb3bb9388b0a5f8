package entitlement

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

const hour, days30 = 60 * 60, 30 * 24 * 60 * 60

func TestParseTierLimit(t *testing.T) {
	for text, want := range map[string]TierLimit{
		"virtual:10:30d":                {Tier: Virtual, Copies: 10, Life: days30},
		"software:1:":                   {Tier: Software, Copies: 1},
		"hardware::36h":                 {Tier: Hardware, Life: 36 * hour},
		"virtual:5:1h:Render Pro: 2026": {Tier: Virtual, Copies: 5, Life: hour, Product: "Render Pro: 2026"},
		"virtual:1073741824:1h":         {Tier: Virtual, Copies: capability.MaxCount, Life: hour},
	} {
		l, err := ParseTierLimit(text)
		if err != nil || l != want {
			t.Errorf("%q: %+v, %v", text, l, err)
		}
		if again, err := ParseTierLimit(l.String()); err != nil || again != l {
			t.Errorf("%q: written as %q, read as %+v, %v", text, l.String(), again, err)
		}
	}
	for _, text := range []string{
		"", "virtual", "virtual:10", "virtual::", "virtual:0:30d", "virtual:-1:30d", "virtual:1073741825:1h", "virtual:x:30d", "none:1:30d", "1:1:30d", "Virtual:1:1d",
		"virtual:1:59m", "virtual:1:0d", "virtual:1:-1d", "virtual:1:1.5s", "virtual:1:30", "virtual:1:1d2h", "virtual:1:65536d", "virtual:1:60000d", "virtual:1:1d:", "virtual:1:1d:a\x1bb",
		"virtual:1:1d:" + strings.Repeat("x", capability.MaxName+1),
	} {
		if l, err := ParseTierLimit(text); err == nil {
			t.Errorf("%q: %+v", text, l)
		}
	}
}

// The limit of an item is its own, else its product's, else the policy's; another tier's is nobody else's.
func TestLimits(t *testing.T) {
	p := anyTier()
	p.Limits = []TierLimit{{Tier: Virtual, Copies: 3, Life: 2 * hour}, {Tier: Virtual, Product: "Render Pro", Copies: 2, Life: 4 * hour}, {Tier: Software, Copies: 1}}
	w := newWorld(t, p)
	own := w.entitle(1, 10, func(i *Item) { i.Limits = []TierLimit{{Tier: Virtual, Copies: 5}} })
	product := w.entitle(2, 10, func(i *Item) { i.Expiry = w.now + 3*hour })
	other := w.entitle(3, 10, func(i *Item) { i.Product = "Another" })
	later := w.entitle(4, 10, func(i *Item) { i.Start, i.Expiry = w.now+10*hour, w.now+100*hour })
	for n, c := range []struct {
		tier   Tier
		want   capability.Desired
		count  uint32
		code   capability.Code
		expiry capability.Time // after now; zero: none
		life   capability.Seconds
	}{
		{Hardware, want(own, 10), 10, 0, 0, DefaultResponseLife},
		{Hardware, want(product, 10), 10, 0, 3 * hour, DefaultResponseLife},
		{Virtual, want(own, 5), 5, 0, 0, DefaultResponseLife},
		{Virtual, want(own, 6), 0, capability.ErrTierLimit, 0, DefaultResponseLife},
		{Virtual, capability.Desired{ActivationID: own, Count: 6, Partial: true}, 5, capability.ErrTierLimit, 0, DefaultResponseLife},
		{Virtual, want(product, 2), 2, 0, 3 * hour, 4 * hour},
		{Virtual, want(product, 3), 0, capability.ErrTierLimit, 0, DefaultResponseLife},
		{Virtual, want(other, 3), 3, 0, 2 * hour, 2 * hour},
		{Virtual, want(other, 4), 0, capability.ErrTierLimit, 0, DefaultResponseLife},
		{Virtual, want(later, 2), 2, 0, 14 * hour, 4 * hour},
		{Software, want(own, 1), 1, 0, 0, DefaultResponseLife},
		{Software, want(other, 2), 0, capability.ErrTierLimit, 0, DefaultResponseLife},
	} {
		m := newMachine(byte(n + 1))
		a := m.request(1, c.want)
		a.Identity.Tier, a.Shown.Why = c.tier, "its TPM has no certificate"
		d, err := w.book.Decide(w.now, a)
		if err != nil {
			t.Fatal(err)
		}
		line := d.Response.Lines[0]
		if line.Count != c.count || line.Denial.Code != c.code || d.Response.Lifetime != c.life {
			t.Errorf("%d: %+v for %s, want %d %s, %s", n, line, d.Response.Lifetime, c.count, c.code, c.life)
		}
		if c.code != 0 {
			for _, word := range []string{c.tier.String(), "may have", "its TPM has no certificate", "better tier"} {
				if !strings.Contains(line.Denial.Sentence(), word) {
					t.Errorf("%d: %q does not say %q", n, line.Denial.Sentence(), word)
				}
			}
		}
		if c.count > 0 {
			expiry := c.expiry
			if expiry != 0 {
				expiry += w.now
			}
			if got := d.Response.Items[0].Expiry; got != expiry {
				t.Errorf("%d: ends %s, want %s", n, got, expiry)
			}
		}
		if err := d.Response.Validate(); err != nil {
			t.Errorf("%d: %v", n, err)
		}
		// Apply asserts what Decide refuses.
		if c.code == capability.ErrTierLimit && c.count == 0 {
			e := d.Entries[0]
			e.Answer.Holds = []Fulfillment{{c.want.ActivationID, c.want.Count}}
			if err := w.book.Apply(e); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%d: applied above the limit: %v", n, err)
			}
		}
	}
}

// What a machine has stays when its tier falls, but ends in time and does not grow; each exchange moves the end; a better tier lifts both.
func TestTierFalls(t *testing.T) {
	p := anyTier()
	p.Limits = []TierLimit{{Tier: Virtual, Copies: 2, Life: days30}}
	w := newWorld(t, p)
	id := w.entitle(1, 10, nil)
	m := newMachine(1)
	ask := func(tier Tier, n uint32) *capability.Response {
		t.Helper()
		w.now += 1000
		a := m.request(uint64(w.now), want(id, n))
		a.Identity.Tier = tier
		r := w.mustDo(a).Response
		m.apply(r)
		return r
	}
	if r := ask(Hardware, 5); r.Items[0].Copies != 5 || r.Items[0].Expiry != 0 {
		t.Fatalf("hardware has %+v", r.Items)
	}
	for range 3 {
		if r := ask(Virtual, 5); r.Items[0].Copies != 5 || r.Items[0].Expiry != w.now+days30 || r.Status != capability.StatusOK {
			t.Errorf("after the fall it has %+v", r.Items)
		}
	}
	if r := ask(Virtual, 6); r.Items[0].Copies != 5 || r.Lines[0].Denial.Code != capability.ErrTierLimit {
		t.Errorf("it grew: %+v", r.Lines)
	}
	if r := ask(Hardware, 6); r.Items[0].Copies != 6 || r.Items[0].Expiry != 0 {
		t.Errorf("hardware again has %+v", r.Items)
	}
	h, _ := w.book.Host(m.id.Host)
	var tiers []Tier
	for _, a := range h.Appearances {
		tiers = append(tiers, a.Tier)
	}
	if !slices.Equal(tiers, []Tier{Hardware, Virtual, Hardware}) {
		t.Errorf("on record are %v", tiers)
	}
}

// A re-host gives no machine more than its tier may have.
func TestRehostUnderALimit(t *testing.T) {
	p := anyTier()
	p.Limits = []TierLimit{{Tier: Virtual, Copies: 4}}
	w := newWorld(t, p)
	id := w.entitle(1, 10, nil)
	old := newMachine(1)
	w.mustDo(old.request(1, want(id, 5)))
	a := newMachine(2).request(2)
	a.Rehost, a.Repair, a.Approved, a.Identity.Tier = old.id.Host, "the board burnt", "a second person", Virtual
	if _, err := w.do(a); code(err) != capability.ErrTierLimit {
		t.Errorf("%v", err)
	}
	a.Identity.Tier = Hardware
	d, err := w.book.Decide(w.now, a)
	if err != nil {
		t.Fatal(err)
	}
	e := d.Entries[0]
	e.Answer.Identity.Tier, e.Answer.Appearance.Tier = Virtual, Virtual
	if err := w.book.Apply(e); !errors.Is(err, ErrCorrupt) {
		t.Errorf("applied above the limit: %v", err)
	}
	w.mustDo(a)
}

func TestLimitsAreValid(t *testing.T) {
	for name, c := range map[string]struct {
		list   []TierLimit
		policy bool
		item   bool
	}{
		"none":                {nil, true, true},
		"one":                 {[]TierLimit{{Tier: Virtual, Copies: 1}}, true, true},
		"of a product":        {[]TierLimit{{Tier: Virtual, Copies: 1, Product: "P"}}, true, false},
		"all and a product":   {[]TierLimit{{Tier: Virtual, Copies: 1}, {Tier: Virtual, Copies: 1, Product: "P"}}, true, false},
		"twice":               {[]TierLimit{{Tier: Virtual, Copies: 1}, {Tier: Virtual, Life: hour}}, false, false},
		"of nothing":          {[]TierLimit{{Tier: Virtual}}, false, false},
		"of no tier":          {[]TierLimit{{Copies: 1}}, false, false},
		"of another tier":     {[]TierLimit{{Tier: 4, Copies: 1}}, false, false},
		"too many copies":     {[]TierLimit{{Tier: Virtual, Copies: capability.MaxCount + 1}}, false, false},
		"under an hour":       {[]TierLimit{{Tier: Virtual, Life: hour - 1}}, false, false},
		"for longer than all": {[]TierLimit{{Tier: Virtual, Life: capability.MaxInterval + 1}}, false, false},
		"an odd product":      {[]TierLimit{{Tier: Virtual, Copies: 1, Product: "a\nb"}}, false, false},
		"too many":            {many(MaxTierLimits + 1), false, false},
		"as many as may be":   {many(MaxTierLimits), true, false},
	} {
		p := anyTier()
		p.Limits = c.list
		if err := p.Validate(); (err == nil) != c.policy {
			t.Errorf("%s in a policy: %v", name, err)
		}
		i := Item{ActivationID: testID(t, 1), Customer: "C", EntitlementID: "E", Product: "P", Features: []Feature{{Name: "f", PerCopy: 1}}, Copies: 1, Limits: c.list}
		if err := i.Validate(); (err == nil) != c.item {
			t.Errorf("%s in an item: %v", name, err)
		}
	}
	// The largest policy fits a record of a snapshot.
	p := anyTier()
	p.Limits = many(MaxTierLimits)
	w := newWorld(t, p)
	b, err := Restore(w.book.Snapshot())
	if err != nil || !slices.Equal(b.Policy().Limits, p.Limits) {
		t.Errorf("restored: %v", err)
	}
}

func many(n int) (list []TierLimit) {
	for i := range n {
		list = append(list, TierLimit{Tier: Virtual, Copies: capability.MaxCount, Life: capability.MaxInterval, Product: strings.Repeat("x", capability.MaxName-3) + string(rune('a'+i/26)) + string(rune('a'+i%26))})
	}
	return list
}
