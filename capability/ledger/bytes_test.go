package ledger

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// everything is a life with every kind of entry in it, and holders at the deepest level of an answer.
func everything(t testing.TB) *life {
	v := begin(t)
	v.must(WriteRequest{Number: 1, Digest: capability.Digest{7}, By: "admin"})
	v.respond(capability.Response{
		Items: items(lineItem('a', "f:1.0", 4), lineItem('b', "g:1.0", 2, until(day+9999))), Policy: capability.Policy{Holders: capability.HoldersNames},
		Denials: []capability.Denial{{Code: capability.ErrTooFew, Holders: []capability.Holder{{Name: "x", Count: 1}}}}, Certificate: []byte{1},
	})
	v.ask("d1", "f:1.0 3", "g:1.0 1")
	v.ask("d2", "f:1.0 2")
	v.must(v.giveUp(1, 'a', 1))
	v.must(Prove{ID: capability.ReturnID{1}, Proof: []byte{1, 2, 3}})
	v.must(Drop{Device: hostid.ID{Type: hostid.Ethernet, Value: "d1"}, Feature: "g", By: "admin"})
	v.provision(lineItem('a', "f:1.0", 4), lineItem('m', "m:1.0", 5, metered(true, 100)), lineItem('o', "o:1.0", 1, overdraft(1)))
	v.must(SetReservations{Groups: groups("g", "d1/ETHERNET f:1.0 1", "u/USER f:1.0 3"), By: "admin"})
	v.say("d3 user:u f:1.0 1")
	v.must(DeleteReserved{ID: 1, By: "admin"})
	v.model(`partition "p" {"f" 1.0 2}`, `on any() {use "p", "default" accept}`)
	v.must(SetPolicy{Name: IdleLimit, Value: "2h", By: "admin"})
	v.say("d1 f:1.0 1, o:1.0 2")
	v.say("report d4 m:1.0 2")
	waits := v.request("d5", "f:1.0 4")
	waits.Desired[0].Wait, waits.Idle = true, 30
	v.serve(Serve{Key: key("d5"), Request: waits})
	v.see(v.now.Wall.Add(30 * days))
	v.must(SetTime{Time: v.now.Wall, Raw: v.now.Wall.Add(30 * days), By: "admin"})
	v.must(Start{BootID: "2", HoldFor: 60, Cause: "power", Raw: v.now.Wall, TPM: TPMClock{Milliseconds: 5, Resets: 6, Restarts: 7}})
	v.pass(60)
	v.must(Advance{})
	v.see(v.now.Wall.Add(40 * days))
	v.shows("Ebnd")
	v.must(PlanChange{By: "admin"})
	v.shows("EcmK")
	v.asksOffice()
	v.answer(capability.Policy{Binding: hostid.RuleSecondaries, Grace: 50}, 0)
	v.pass(PlannedFor)
	v.must(Advance{})
	v.must(AddLogin{Name: "Root", Roles: []capability.Role{capability.SecurityAdministrator}, Password: []byte{1}, By: "uid 0"})
	v.must(AddToken{Login: "root", Name: "nightly", Hash: TokenHash("x"), By: "uid 0"})
	v.must(NoteSignIn{SignedIn{Name: "Root", From: "10.0.0.9", How: "password"}})
	v.must(RegisterKey{Key: capability.Digest{7}, Kind: wire.KeyRSA2048, Name: "WS-7", By: "uid 0"})
	v.must(NoteCertificate{Certified{What: CertificateInstalled, SHA256: capability.Digest{1}, Names: []string{"lic01"}, By: "uid 0"}})
	return v
}

// The bytes of an entry are on disk for years.
func TestEntryBytes(t *testing.T) {
	e := Entry{Position: 2, Previous: capability.Digest{0: 0xaa, 31: 0xbb}, Now: At(300, day), Requested: &Requested{Written: Written{Number: 1}, By: "root"}}
	want := "a4" + // map of 4
		"01" + "02" + // position
		"02" + "5820" + "aa" + strings.Repeat("00", 30) + "bb" + // hash of the one before
		"03" + "82" + "19012c" + "1a713fb300" + // 300 on the lease clock, 1900000000 on the wall
		"10" + "a2" + // 16: a request file
		"01" + "a1" + "01" + "01" + // number 1, no digest
		"02" + "64" + "726f6f74" // by root
	if got := hex.EncodeToString(e.Encode(wire.New())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e = Entry{Position: 2, Now: At(300, day), Clock: &Clock{State: ClockAhead, Ahead: 90000, Correction: -2}, Stated: &Stated{Time: 5, Raw: 7, By: "root"}}
	want = "a4" + // map of 4
		"01" + "02" + // position
		"03" + "82" + "19012c" + "1a713fb300" + // 300 on the lease clock, 1900000000 on the wall
		"09" + "a3" + // 9: the clock
		"01" + "03" + "02" + "1a00015f90" + "03" + "21" + // ahead, by 90000, corrected by -2
		"181f" + "a3" + // 31: the time was stated
		"01" + "05" + "02" + "07" + "03" + "64" + "726f6f74" // 5 while the system clock said 7, by root
	if got := hex.EncodeToString(e.Encode(wire.New())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e = Entry{Position: 2, Now: At(300, day), Clock: &Clock{}, Watched: &Watched{Raw: 7}}
	want = "a4" + "01" + "02" + "03" + "82" + "19012c" + "1a713fb300" + "09" + "a0" + "181e" + "a1" + "01" + "07" // 30: watched, and all is well
	if got := hex.EncodeToString(e.Encode(wire.New())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	run := Started{BootID: "b", Slept: 3, TPM: TPMClock{Milliseconds: 4, Resets: 5, Restarts: 6}, At: 7}
	want = "a4" + "01" + "61" + "62" + "04" + "03" + "05" + "a3" + "01" + "04" + "02" + "05" + "03" + "06" + "06" + "07"
	if got := hex.EncodeToString(New().codec.Encode(run)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	lease := Served{Leases: []Lease{{Item: capability.ItemID{ActivationID: "A", Feature: "f"}, Count: 1, End: 2, Dropped: true, Told: 3}}}
	want = "a1" + "03" + "81" + "a5" + "01" + "82" + "6141" + "6166" + "02" + "01" + "03" + "02" + "04" + "f5" + "05" + "03"
	if got := hex.EncodeToString(New().codec.Encode(lease)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// For whom an answer is, is said once: by the key of a device that has no other name.
func TestEntryOfADeviceKey(t *testing.T) {
	c := wire.New()
	k := capability.Digest{0xab, 0xcd}
	id := hostid.OfDigest(hostid.DeviceKey, k)
	e := Entry{Position: 1, Now: At(1, day), Served: &Served{Answer: capability.Response{Version: 1, For: id, Key: k, Serial: 1, Time: day}}}
	b := e.Encode(c)
	if bytes.Contains(b, []byte(id.Value)) {
		t.Errorf("%x says twice whom it is for", b)
	}
	read, err := DecodeEntry(c, b)
	if err != nil || !reflect.DeepEqual(read, e) {
		t.Errorf("read as %+v, %v", read, err)
	}
	if _, err := DecodeEntry(c, c.Encode(&e)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an entry that says it twice: %v", err)
	}
	for name, other := range map[string]hostid.ID{"another digest": hostid.OfDigest(hostid.DeviceKey, capability.Digest{1}), "lower case": {Type: hostid.DeviceKey, Value: strings.ToLower(id.Value)}, "another type": {Type: hostid.String, Value: id.Value}} {
		e.Served.Answer.For = other
		if read, err := DecodeEntry(c, e.Encode(c)); err != nil || read.Served.Answer.For != other {
			t.Errorf("%s: read as %+v, %v", name, read.Served, err)
		}
	}
}

func TestEntriesChain(t *testing.T) {
	v := everything(t)
	kinds := map[string]bool{}
	for _, e := range v.entries {
		r := reflect.ValueOf(e)
		for i := range r.NumField() {
			if f := r.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
				kinds[r.Type().Field(i).Name] = true
			}
		}
	}
	if len(kinds) != 22 { // a division, a clock, a judgment, and the kinds of entries there are
		t.Errorf("a life with %v only", kinds)
	}
	// Any entry left out, repeated, swapped or changed is refused; so is time that runs backward.
	for i, e := range v.entries {
		l := New()
		for _, e := range v.entries[:i] {
			if err := l.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
		snapshot := l.Snapshot()
		for name, change := range map[string]func(*Entry){
			"position": func(e *Entry) { e.Position++ },
			"previous": func(e *Entry) { e.Previous[3] ^= 1 },
			"lease":    func(e *Entry) { e.Now.Lease = l.now.Lease - 1 },
			"wall":     func(e *Entry) { e.Now.Wall = l.now.Wall - 1 },
			"no wall":  func(e *Entry) { e.Now.Wall = 0 },
			"no fact":  func(e *Entry) { *e = Entry{Position: e.Position, Previous: e.Previous, Now: e.Now} },
		} {
			bad := e
			change(&bad)
			l, err := Restore(snapshot)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Apply(bad); !errors.Is(err, ErrCorrupt) {
				t.Errorf("entry %d with another %s: %v", i+1, name, err)
			}
		}
	}
	if _, err := v.l.Decide(At(v.now.Lease-1, v.now.Wall), Advance{}); err == nil {
		t.Error("the lease clock ran backward")
	}
	if _, err := v.l.Decide(At(v.now.Lease, v.now.Wall-1), Advance{}); err == nil {
		t.Error("wall time ran backward")
	}
}

// What Decide refuses, Apply asserts.
func TestApplyAsserts(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 4), lineItem('b', "g:1.0", 2, from(day+500)), lineItem('c', "h:1.0", 2, until(day+100)), lineItem('d', "k:1.0", 2))
	v.ask("d1", "f:1.0 3", "k:1.0 1")
	v.provision(lineItem('a', "f:1.0", 4), lineItem('b', "g:1.0", 2, from(day+500)), lineItem('c', "h:1.0", 2, until(day+100)))
	v.must(v.giveUp(1, 'c', 1))
	snapshot := v.l.Snapshot()
	r := v.request("d2", "f:1.0 1")
	serve, err := v.l.Decide(v.now, Serve{Key: key("d2"), Request: r})
	if err != nil {
		t.Fatal(err)
	}
	base := serve.Entries[0]
	id := func(letter byte, feature string) capability.ItemID {
		return capability.ItemID{ActivationID: activation(letter), Feature: feature}
	}
	served := func(change func(*Served)) Entry {
		e, s := base, *base.Served
		s.Leases = append([]Lease(nil), s.Leases...)
		change(&s)
		e.Served = &s
		return e
	}
	fact := func(e Entry) Entry {
		e.Position, e.Previous, e.Now = base.Position, base.Previous, base.Now
		return e
	}
	if err := v.l.Apply(served(func(*Served) {})); err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]Entry{
		"more than there is":      served(func(s *Served) { s.Leases[0].Count = 2 }),
		"nothing":                 served(func(s *Served) { s.Leases[0].Count = 0 }),
		"ended":                   served(func(s *Served) { s.Leases[0].End = base.Now.Lease }),
		"never told":              served(func(s *Served) { s.Leases[0].Told = 0 }),
		"an item that is not":     served(func(s *Served) { s.Leases[0].Item = id('j', "f") }),
		"not started":             served(func(s *Served) { s.Leases[0].Item = id('b', "g") }),
		"past the expiry":         served(func(s *Served) { s.Leases[0].Item = id('c', "h") }),
		"cut":                     served(func(s *Served) { s.Leases[0].Item = id('d', "k") }),
		"new and dropped":         served(func(s *Served) { s.Leases[0].Dropped = true }),
		"the same twice":          served(func(s *Served) { s.Leases = append(s.Leases, s.Leases[0]) }),
		"another's device":        served(func(s *Served) { s.Answer.For.Value = "d1" }),
		"no serial":               served(func(s *Served) { s.Answer.Serial = 0 }),
		"an answer without time":  served(func(s *Served) { s.Answer.Time = 0 }),
		"response: serial":        fact(Entry{Provisioned: &Provisioned{Response: v.response(2, capability.Response{})}}),
		"response: form":          fact(Entry{Provisioned: &Provisioned{}}),
		"return: in use":          fact(Entry{Returned: &Returned{Return: capability.Return{ID: capability.ReturnID{2}, ActivationID: activation('a'), Copies: 2}}}),
		"return: more than here":  fact(Entry{Returned: &Returned{Return: capability.Return{ID: capability.ReturnID{2}, ActivationID: activation('c'), Copies: 2}}}),
		"return: nothing":         fact(Entry{Returned: &Returned{Return: capability.Return{ID: capability.ReturnID{2}, ActivationID: activation('c')}}}),
		"return: again":           fact(Entry{Returned: &Returned{Return: capability.Return{ID: capability.ReturnID{1}, ActivationID: activation('c'), Copies: 1}}}),
		"return: no ID":           fact(Entry{Returned: &Returned{Return: capability.Return{ActivationID: activation('c'), Copies: 1}}}),
		"proof of nothing":        fact(Entry{Proved: &Proved{ID: capability.ReturnID{2}, Proof: []byte{1}}}),
		"empty proof":             fact(Entry{Proved: &Proved{ID: capability.ReturnID{1}}}),
		"request out of order":    fact(Entry{Requested: &Requested{Written: Written{Number: 2}}}),
		"drop of a stranger":      fact(Entry{Dropped: &Dropped{Device: hostid.ID{Type: hostid.Ethernet, Value: "d9"}, Feature: "f"}}),
		"drop of what it has not": fact(Entry{Dropped: &Dropped{Device: hostid.ID{Type: hostid.Ethernet, Value: "d1"}, Feature: "g"}}),
		"hold in the past":        fact(Entry{Started: &Started{Hold: base.Now.Lease}}),
	} {
		l, err := Restore(snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Apply(e); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Slices, reservations and meters.
	w := begin(t, lineItem('a', "f:1.0", 10), lineItem('m', "m:1.0", 3, metered(true, 9)))
	w.must(SetReservations{Groups: groups("g", "d1/ETHERNET f:1.0 3", "d2/ETHERNET f:1.0 2"), By: "admin"})
	w.say("d3 f:1.0 6")
	snapshot2 := w.l.Snapshot()
	e, err := w.l.Decide(w.now, Serve{Key: key("d1"), Request: w.request("d1", "f:1.0 1")})
	if err != nil {
		t.Fatal(err)
	}
	served2 := func(change func(*Entry, *Served)) Entry {
		e, s := e.Entries[0], *e.Entries[0].Served
		s.Leases = append([]Lease(nil), s.Leases...)
		e.Served = &s
		change(&e, &s)
		return e
	}
	lease := func(of Source, n uint32) Lease {
		return Lease{Item: id('a', "f"), Count: n, End: w.now.Lease + 9, Told: w.now.Wall + 9, Source: of}
	}
	other := func(fact Entry) Entry {
		fact.Position, fact.Previous, fact.Now = e.Entries[0].Position, e.Entries[0].Previous, e.Entries[0].Now
		return fact
	}
	text := []byte(`model "m" { partitions { partition "p" { "f" 1.0 2 } } on any() { use "p" accept } }`)
	part := func(of Source, at uint64, n uint32) Share { return Share{of, []Part{{Item: at, Count: n}}} }
	p := Source{Pool: "p"}
	reserve := func(d *Division) Entry {
		return other(Entry{Reserved: &Reserved{Groups: w.l.groups, LastID: w.l.lastID}, Division: d})
	}
	for name, e := range map[string]Entry{
		"another's reservation":      served2(func(_ *Entry, s *Served) { s.Leases[0].Source.Entry = 5 }),
		"a stranger's":               served2(func(_ *Entry, s *Served) { s.Answer.For.Value = "d7" }),
		"more than reserved":         served2(func(_ *Entry, s *Served) { s.Leases[0].Count = 4 }),
		"no such pool":               served2(func(_ *Entry, s *Served) { s.Leases[0].Source = p }),
		"no overdraft":               served2(func(_ *Entry, s *Served) { s.Leases[0].Source = Source{Overdraft: true} }),
		"out of order":               served2(func(_ *Entry, s *Served) { s.Leases = []Lease{lease(Source{Entry: 3}, 1), lease(Source{}, 1)} }),
		"an end of a meter":          served2(func(_ *Entry, s *Served) { s.Leases[0].Item, s.Leases[0].Source = id('m', "m"), Source{} }),
		"no end of a lease":          served2(func(_ *Entry, s *Served) { s.Leases[0].End = forever }),
		"a division":                 served2(func(e *Entry, _ *Served) { e.Division = &Division{} }),
		"a transfer of nothing":      served2(func(e *Entry, _ *Served) { e.Transfers = []Transfer{{Item: 0, Share: 0}} }),
		"a transfer to nobody":       served2(func(e *Entry, _ *Served) { e.Transfers = []Transfer{{Item: 0, Share: 9, Count: 1}} }),
		"a transfer of no item":      served2(func(e *Entry, _ *Served) { e.Transfers = []Transfer{{Item: 9, Share: 0, Count: 1}} }),
		"a transfer above":           served2(func(e *Entry, _ *Served) { e.Transfers = []Transfer{{Item: 0, Share: 0, Count: 1}} }),
		"a transfer below":           served2(func(e *Entry, _ *Served) { e.Transfers = []Transfer{{Item: 0, Share: 0, Count: -4}} }),
		"a transfer of what is used": served2(func(e *Entry, _ *Served) { e.Transfers = []Transfer{{Item: 0, Share: 0, Count: -3}} }),
		"transfers out of order": served2(func(e *Entry, _ *Served) {
			e.Transfers = []Transfer{{Item: 0, Share: 1, Count: -1}, {Item: 0, Share: 0, Count: -1}}
		}),
		"an undo of nothing": served2(func(_ *Entry, s *Served) { s.Undone = capability.CorrelationID{4} }),
		"a report of a lease": served2(func(_ *Entry, s *Served) {
			s.Reported = &Reported{Parts: []ReportedPart{{Item: id('a', "f"), Count: 1, Until: 1 << 40}}}
		}),
		"a wait without a feature": served2(func(_ *Entry, s *Served) {
			s.Waits = []Wait{{Count: 1, Since: 1, Until: 1 << 40, Pools: []string{"default"}}}
		}),
		"a model beside them":       other(Entry{Modeled: &Modeled{Text: text}, Division: &Division{Shares: []Share{part(p, 0, 2)}}}),
		"transfers without a cause": other(Entry{Advanced: &Advanced{}, Transfers: []Transfer{{Item: 0, Share: 0, Count: 1}}}),
		"transfers of a setting":    other(Entry{Configured: &Configured{Setting: Setting{Name: IdleLimit, Value: "60"}}, Transfers: []Transfer{{Item: 0, Share: 0, Count: -1}}}),
		"a setting of the producer": other(Entry{Configured: &Configured{Setting: Setting{Name: leaseInterval, Value: "60"}}}),
		"a setting in another form": other(Entry{Configured: &Configured{Setting: Setting{Name: IdleLimit, Value: "1m"}}}),
		"groups without a division": reserve(nil),
		"groups with a bad name":    other(Entry{Reserved: &Reserved{Groups: []Group{{ID: 1}}, LastID: 9}, Division: &Division{}}),
		"an ID that was not given":  other(Entry{Reserved: &Reserved{Groups: w.l.groups, LastID: 2}, Division: &Division{}}),
		"a share of nobody":         reserve(&Division{Shares: []Share{part(Source{Entry: 9}, 0, 1)}}),
		"a share of a pool":         reserve(&Division{Shares: []Share{part(p, 0, 1)}}),
		"a share of the default":    reserve(&Division{Shares: []Share{part(Source{}, 0, 1)}}),
		"shares out of order":       reserve(&Division{Shares: []Share{part(Source{Entry: 5}, 0, 1), part(Source{Entry: 3}, 0, 1)}}),
		"a share of no item":        reserve(&Division{Shares: []Share{part(Source{Entry: 3}, 9, 1)}}),
		"a share of a meter":        reserve(&Division{Shares: []Share{part(Source{Entry: 3}, 1, 1)}}),
		"a share above the count":   reserve(&Division{Shares: []Share{part(Source{Entry: 3}, 0, 9), part(Source{Entry: 5}, 0, 2)}}),
		"a share of nothing":        reserve(&Division{Shares: []Share{part(Source{Entry: 3}, 0, 0)}}),
	} {
		l, err := Restore(snapshot2)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Apply(e); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}

	// In a hold.
	v.must(Start{HoldFor: 900})
	for name, e := range map[string]Entry{
		"a new lease in a hold": served(func(s *Served) { s.Answer.Serial, s.Leases[0].End = 9, 1901 }),
		"a later end in a hold": {Now: v.now, Served: &Served{
			Answer: capability.Response{Version: capability.Protocol, For: hostid.ID{Type: hostid.Ethernet, Value: "d1"}, Key: key("d1"), Serial: 9, Time: day},
			Leases: []Lease{{Item: id('a', "f"), Count: 3, End: 1900, Told: day + 901}},
		}},
		"a return in a hold": fact(Entry{Returned: &Returned{Return: capability.Return{ID: capability.ReturnID{2}, ActivationID: activation('c'), Copies: 1}}}),
		"a shorter hold":     fact(Entry{Started: &Started{Hold: 1100}}),
		"no hold":            fact(Entry{Started: &Started{}}),
	} {
		l, err := Restore(v.l.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		e.Position, e.Previous = l.position+1, l.head
		if err := l.Apply(e); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Check finds damage that a snapshot could carry.
func TestCheckFinds(t *testing.T) {
	for name, damage := range map[string]func(*Ledger){
		"use":         func(l *Ledger) { l.items[0].used++ },
		"count":       func(l *Ledger) { l.items[0].Count = 1 },
		"cut":         func(l *Ledger) { l.items[1].cut = true },
		"item":        func(l *Ledger) { l.items[0].Copies = 0 },
		"order":       func(l *Ledger) { l.items[0], l.items[1] = l.items[1], l.items[0] },
		"index":       func(l *Ledger) { l.features["f"] = nil },
		"order in it": func(l *Ledger) { f := l.features["f"]; f[0], f[1] = f[1], f[0] },
		"lease":       func(l *Ledger) { l.rows[0].leases[0].count = 0 },
		"end":         func(l *Ledger) { l.rows[0].leases[0].end = 1 },
		"told":        func(l *Ledger) { l.rows[0].leases[0].told = 0 },
		"heap": func(l *Ledger) {
			q := l.items[0].slices[0].leases
			q[0], q[1] = q[1], q[0]
		},
		"ends":        func(l *Ledger) { l.ends = nil },
		"row":         func(l *Ledger) { l.rows[0].serial = 0 },
		"answer":      func(l *Ledger) { l.rows[0].last.Answer = l.rows[1].last.Answer },
		"no answer":   func(l *Ledger) { l.rows[0].last.Answer = nil },
		"devices":     func(l *Ledger) { delete(l.devices, l.rows[0].id) },
		"leases":      func(l *Ledger) { l.leases++ },
		"head":        func(l *Ledger) { l.head = capability.Digest{} },
		"hold":        func(l *Ledger) { l.hold = 1 },
		"requests":    func(l *Ledger) { l.written = append(l.written, l.written...) },
		"returns":     func(l *Ledger) { l.returns = append(l.returns, l.returns...) },
		"closed":      func(l *Ledger) { l.closed = append(l.closed, l.returns[0].ID) },
		"items":       func(l *Ledger) { l.applied.Items = []capability.LineItem{{}} },
		"response":    func(l *Ledger) { l.applied.Version = 0 },
		"model":       func(l *Ledger) { l.text = []byte("x") },
		"divided":     func(l *Ledger) { l.divided = l.now.Wall + 1 },
		"group":       func(l *Ledger) { l.groups[0].Name = "" },
		"ID":          func(l *Ledger) { l.lastID = 1 },
		"source":      func(l *Ledger) { l.sources[0].Entry = 99 },
		"setting":     func(l *Ledger) { l.settings = []Setting{{Name: leaseInterval, Value: "60"}} },
		"place":       func(l *Ledger) { l.items[0].place = 7 },
		"slice":       func(l *Ledger) { l.items[0].slices[inDefault].count-- },
		"slices":      func(l *Ledger) { l.items[0].slices = l.items[0].slices[:1] },
		"share":       func(l *Ledger) { s := l.items[0].shares()[0]; s.computed = s.count - 1 },
		"overdraft":   func(l *Ledger) { l.items[0].slices[inOverdraft].count = 5 },
		"slice used":  func(l *Ledger) { l.items[0].slices[inDefault].used++ },
		"user":        func(l *Ledger) { l.users = map[held]uint64{{"u", l.items[0]}: 1} },
		"waiting":     func(l *Ledger) { l.waiting = append(l.waiting, &wait{row: l.rows[0]}) },
		"active":      func(l *Ledger) { l.rows[0].active = l.now.Lease + 1 },
		"endless":     func(l *Ledger) { l.rows[0].leases[0].end = forever },
		"lead":        func(l *Ledger) { l.rows[0].leases[0].lead = -1 },
		"all lead":    func(l *Ledger) { l.rows[0].leases[0].lead = l.rows[0].leases[0].end + 1 },
		"device":      func(l *Ledger) { l.rows[0].id.Value = "" },
		"provisioned": func(l *Ledger) { l.applied = capability.Response{} },
	} {
		v := begin(t, lineItem('a', "f:1.0", 9), lineItem('b', "f:2.0", 2))
		v.ask("d1", "f:1.0 3")
		v.ask("d2", "f:1.0 2")
		v.must(WriteRequest{Number: 1})
		v.must(v.giveUp(1, 'a', 1))
		v.must(SetReservations{Groups: groups("g", "d9/ETHERNET f:1.0 2")})
		damage(v.l)
		if err := v.l.Check(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSnapshotRefused(t *testing.T) {
	v := everything(t)
	b := v.l.Snapshot()
	l, err := Restore(b)
	if err != nil || !bytes.Equal(l.Snapshot(), b) {
		t.Fatal(err)
	}
	for n := range b {
		if _, err := Restore(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, err := Restore(append(b[:len(b):len(b)], 0)); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	other := bytes.Clone(b)
	other[7] = 2 // the format: after the length, a map of more than 23 and its first key
	if _, err := Restore(other); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "format 2") {
		t.Error(err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	for _, e := range everything(f).entries {
		f.Add(e.Encode(wire.New()))
	}
	start := everything(f).l.Snapshot()
	f.Fuzz(func(t *testing.T, b []byte) {
		agreeOnEntry(t, wire.New(), b)
		e, err := DecodeEntry(wire.New(), b)
		if err != nil {
			return
		}
		if !bytes.Equal(e.Encode(wire.New()), b) {
			t.Fatalf("%x is encoded as %x", b, e.Encode(wire.New()))
		}
		// Whatever its content, in its place it is applied or refused, and what it leaves is whole.
		l, err := Restore(start)
		if err != nil {
			t.Fatal(err)
		}
		e.Position, e.Previous = l.position+1, l.head
		e.Now.Lease, e.Now.Wall = max(e.Now.Lease, l.now.Lease), max(e.Now.Wall, l.now.Wall)
		if err := l.Apply(e); err == nil {
			if err := l.Check(); err != nil {
				t.Fatalf("%+v: %v", e, err)
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	f.Add(New().Snapshot())
	f.Add(everything(f).l.Snapshot())
	v := begin(f, lineItem('a', "f:1.0", 4), lineItem('b', "f:2.0", 1, uncounted))
	v.ask("d", "f:1.0 5")
	v.provision(lineItem('b', "f:2.0", 1, uncounted))
	f.Add(v.l.Snapshot())
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Restore(b)
		if err != nil {
			return
		}
		if !bytes.Equal(l.Snapshot(), b) {
			t.Fatal("another snapshot")
		}
		now := At(l.now.Lease+60, max(l.now.Wall, day)+60)
		r := capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{{Type: hostid.Ethernet, Value: "d"}}, Correlation: capability.CorrelationID{1}, Desired: []capability.Desired{{Feature: "f", Count: 1}}}
		for _, c := range []Command{Advance{}, Serve{Key: key("d"), Request: r}, Start{HoldFor: 60}, Return{ID: capability.ReturnID{9}, ActivationID: activation('a')}} {
			d, err := l.Decide(now, c)
			if err != nil {
				continue
			}
			for _, e := range d.Entries {
				if err := l.Apply(e); err != nil {
					t.Fatalf("%T: %v", c, err)
				}
			}
		}
		l.Status(now)
		l.Items(now)
		l.Devices(now)
	})
}

// A journal and a snapshot of format 1 must open forever: the files are never edited and never made anew.
func TestFormat1(t *testing.T) {
	read := func(name string) (out [][]byte) {
		text, err := os.ReadFile("testdata/format-1/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.FieldsSeq(string(text)) {
			b, err := hex.DecodeString(line)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b)
		}
		return out
	}
	l := New()
	journal := read("journal.hex")
	if err := feed(l, journal); err != nil || len(journal) == 0 {
		t.Fatal(err)
	}
	snapshot := read("snapshot.hex")[0]
	if !bytes.Equal(l.Snapshot(), snapshot) {
		t.Error("the journal gives another state")
	}
	restored, err := Restore(snapshot)
	if err == nil {
		err = restored.Check()
	}
	if err != nil || restored.Digest() != l.Digest() {
		t.Error("the snapshot gives another state: ", err)
	}
}
