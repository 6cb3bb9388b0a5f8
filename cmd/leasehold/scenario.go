package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

// A scenario is what `leasehold simulate` plays: an inventory, reservations or a model, and steps. Its times are seconds, and begin anywhere.

const (
	maxScenario = 16 << 20 // bytes: a model of 900 KiB, escaped, and ten thousand steps
	latest      = 253402300799
	// The ledger's clock knows no zero, and a scenario may begin there. Whole days keep the granularities where they are.
	shift capability.Time = 24 * 60 * 60
)

type scenario struct {
	now          capability.Time
	items        inventory
	reservations []console.Reserved
	model        string
	steps        []step
	names        map[capability.ItemID]string // of items, as the scenario calls them
	given        activations                  // of all items of the scenario, as they are first given
}

// inventory is the items of a moment.
type inventory struct {
	items []capability.LineItem
	given activations
}

// step is one thing that happens: exactly one pointer is set.
type step struct {
	path         string
	request      *capability.Request
	advance      *time.Duration
	seconds      capability.Seconds // by which an advance moves the clock: fractions of steps add up
	model        *string
	items        *inventory
	reservations *[]console.Reserved
}

func readScenario(path string) (*scenario, error) {
	b, err := terminal.ReadFile(path, maxScenario)
	if err != nil {
		return nil, err
	}
	return parseScenario(b)
}

func parseScenario(b []byte) (*scenario, error) {
	v, err := readJSON(b)
	if err != nil {
		return nil, err
	}
	f := &reading{scenario: &scenario{names: map[capability.ItemID]string{}, given: activations{}}}
	o := f.object(v, "now", "items", "reservations", "model", "steps")
	f.numberItems(v)
	s := f.scenario
	s.now = capability.Time(f.number(o["now"], latest)) + shift
	s.items = f.items(o["items"])
	s.reservations = f.reservations(o["reservations"])
	s.model = f.text(o["model"])
	at, part := s.now, time.Duration(0) // of a second
	for _, v := range f.list(o["steps"]) {
		st := f.step(v)
		if st.advance != nil {
			part += *st.advance % time.Second
			st.seconds = capability.Seconds(*st.advance/time.Second + part/time.Second)
			part %= time.Second
			if st.seconds > capability.Seconds(latest+shift-at) {
				f.fail(v.path+".advance", "leads past the year 9999")
			}
			at = at.Add(st.seconds)
		}
		s.steps = append(s.steps, st)
	}
	return s, f.err
}

// reading is a scenario half read.
type reading struct {
	form
	scenario *scenario
	ranks    map[string]int // of all items of the scenario by their IDs
	classes  map[string]int // of the same: those of one activation ID, as it is first given, are one
}

// numberItems finds every item, so that the activation IDs that the ledger sees sort as the items' IDs do: ties are broken by them.
func (f *reading) numberItems(v value) {
	given := map[string]string{}
	var visit func(value)
	visit = func(v value) {
		members, _ := v.is.([]member)
		for _, m := range members {
			list, _ := m.is.([]value)
			for _, e := range list {
				switch m.name {
				case "steps":
					visit(e)
				case "items":
					name, activation := e.textOf("id"), e.textOf("activationId")
					if _, known := given[name]; !known {
						given[name] = activation
					}
				}
			}
		}
	}
	visit(v)
	f.ranks, f.classes = map[string]int{}, map[string]int{}
	for i, name := range slices.Sorted(maps.Keys(given)) {
		f.ranks[name] = i
	}
	texts := slices.Sorted(maps.Values(given))
	for name, text := range given {
		f.classes[name], _ = slices.BinarySearch(texts, text)
	}
}

// textOf is a text in an object that was not looked at yet; empty where there is none.
func (v value) textOf(name string) string {
	members, _ := v.is.([]member)
	for _, m := range members {
		if text, is := m.is.(string); is && m.name == name {
			return text
		}
	}
	return ""
}

func (f *reading) items(v value) inventory {
	out := inventory{items: []capability.LineItem{}, given: activations{}}
	here := map[string]bool{}
	list := f.list(v)
	if len(list) > capability.MaxItems {
		f.fail(v.path, "%d items where at most %d are allowed", len(list), capability.MaxItems)
		return out
	}
	for _, v := range list {
		o := f.object(v, "id", "feature", "version", "count", "start", "expiry", "vendorString", "product", "activationId", "overdraft", "uncounted", "metered",
			"reusable", "undoInterval", "grace")
		name := f.text(o["id"])
		it := capability.LineItem{
			Feature: f.text(o["feature"]), Version: f.version(o["version"]), Count: f.count(o["count"]), Copies: 1, Start: f.moment(o["start"]), Expiry: f.moment(o["expiry"]),
			VendorString: f.line(o["vendorString"]), Product: f.line(o["product"]), Overdraft: f.count(o["overdraft"]), Uncounted: f.flag(o["uncounted"]),
			Metered: f.flag(o["metered"]), Reusable: f.flag(o["reusable"]), UndoInterval: capability.Seconds(f.number(o["undoInterval"], latest)), Grace: f.flag(o["grace"]),
		}
		switch err := capability.CheckName("ID", name); {
		case err != nil:
			f.fail(o["id"].path, "%w", err)
		case strings.Contains(name, "@"):
			f.fail(o["id"].path, "%q has an @, which stands between an item and its pool where a device's holdings are shown", name)
		case here[name]:
			f.fail(o["id"].path, "%q is there twice", name)
		}
		here[name] = true
		if err := capability.CheckName("feature", it.Feature); err != nil {
			f.fail(o["feature"].path, "%w", err)
		}
		if it.Expiry != 0 && it.Start >= it.Expiry {
			f.fail(o["start"].path, "%s where less than the expiry, %s, is wanted", o["start"], o["expiry"])
		}
		var err error
		if it.ActivationID, err = ourID(f.ranks[name], f.classes[name]); err == nil {
			err = it.Validate()
		}
		if err != nil {
			f.fail(v.path, "%w", err)
		}
		id, given := it.ID(), f.line(o["activationId"])
		if _, known := f.scenario.given[id]; !known {
			f.scenario.given[id] = given
		}
		f.scenario.names[id] = name
		out.items, out.given[id] = append(out.items, it), given
	}
	return out
}

// moment is a time, or zero for none.
func (f *reading) moment(v value) capability.Time {
	t := capability.Time(f.number(v, latest))
	if t == 0 {
		return 0
	}
	return t + shift
}

// reservations is the same list in a scenario and in a file that is imported.
func (f *form) reservations(v value) []console.Reserved {
	out := []console.Reserved{}
	for _, v := range f.list(v) {
		o := f.object(v, "group", "hostId", "feature", "version", "count")
		host := f.host(o["hostId"])
		r := console.Reserved{
			Group: f.text(o["group"]), Host: console.HostOf(host), Feature: f.text(o["feature"]), Version: f.version(o["version"]), Count: f.count(o["count"]),
		}
		if o["group"].is == nil {
			r.Group = "reservations"
		}
		if err := capability.CheckName("group", r.Group); err != nil {
			f.fail(o["group"].path, "%w", err)
		}
		if err := capability.CheckName("feature", r.Feature); err != nil {
			f.fail(o["feature"].path, "%w", err)
		}
		if r.Count == 0 {
			f.fail(o["count"].path, "0 where 1 to %d is allowed", capability.MaxCount)
		}
		out = append(out, r)
	}
	if len(out) > ledger.MaxEntries {
		f.fail(v.path, "%d where at most %d are allowed", len(out), ledger.MaxEntries)
	}
	return out
}

func (f *reading) step(v value) step {
	o := f.object(v, "request", "advance", "model", "items", "reservations")
	st := step{path: v.path}
	kinds := 0
	for _, k := range []string{"request", "advance", "model", "items", "reservations"} {
		if o[k].is != nil {
			kinds++
		}
	}
	if kinds != 1 {
		f.fail(v.path, "a step is one of request, advance, model, items and reservations, and this is %d", kinds)
		return st
	}
	switch {
	case o["request"].is != nil:
		st.request = f.request(o["request"])
	case o["advance"].is != nil:
		d := f.duration(o["advance"])
		st.advance = &d
	case o["model"].is != nil:
		text := f.text(o["model"])
		st.model = &text
	case o["items"].is != nil:
		items := f.items(o["items"])
		st.items = &items
	default:
		all := f.reservations(o["reservations"])
		st.reservations = &all
	}
	return st
}

// duration is a length of time as Go writes it, no less than none.
func (f *reading) duration(v value) time.Duration {
	text := f.text(v)
	d, err := time.ParseDuration(text)
	if err != nil {
		zeros := strings.Map(func(r rune) rune {
			if '0' <= r && r <= '9' {
				return '0'
			}
			return r
		}, text)
		if _, unlike := time.ParseDuration(zeros); unlike != nil {
			f.fail(v.path, "%s where a duration like \"90s\" or \"1h30m\" is wanted", v)
			return 0
		}
		if d = math.MinInt64; text[0] != '-' {
			f.fail(v.path, "%s is too large: at most %s is allowed", v, time.Duration(math.MaxInt64).Truncate(time.Hour))
			return 0
		}
	}
	if d < 0 {
		f.fail(v.path, "%s where no less than none is allowed: time goes forward only", v)
		return 0
	}
	return d
}

func (f *reading) request(v value) *capability.Request {
	o := f.object(v, "device", "hostIds", "user", "alias", "deviceType", "dictionary", "desired", "atomic", "operation", "borrow", "correlation", "undoes")
	r := &capability.Request{
		Version: capability.Protocol, Hosts: []hostid.ID{f.host(o["device"])}, User: f.text(o["user"]), Alias: f.text(o["alias"]), DeviceType: f.text(o["deviceType"]),
		Atomic: f.flag(o["atomic"]), Borrow: capability.Seconds(f.number(o["borrow"], math.MaxInt32)),
	}
	for _, v := range f.list(o["hostIds"]) {
		if id := f.host(v); !slices.Contains(r.Hosts, id) {
			r.Hosts = append(r.Hosts, id)
		}
	}
	r.Dictionary = f.dictionary(o["dictionary"])
	for _, v := range f.list(o["desired"]) {
		d := f.object(v, "feature", "version", "count", "partial")
		if err := capability.CheckName("feature", f.text(d["feature"])); err != nil {
			f.fail(d["feature"].path, "%w", err)
		}
		r.Desired = append(r.Desired, capability.Desired{Feature: f.text(d["feature"]), Version: f.version(d["version"]), Count: f.count(d["count"]), Partial: f.flag(d["partial"])})
	}
	switch text := f.text(o["operation"]); text {
	case "", capability.Grant.String():
	case capability.Preview.String():
		r.Operation = capability.Preview
	case capability.Report.String():
		r.Operation = capability.Report
	case capability.Undo.String():
		r.Operation = capability.Undo
	default:
		f.fail(o["operation"].path, "%q where request, preview, report or undo is wanted", text)
	}
	if r.Operation == capability.Undo && len(r.Desired) > 0 {
		f.fail(o["desired"].path, "an undo is of a whole report, and names no features")
	}
	own, undoes := f.text(o["correlation"]), f.text(o["undoes"])
	switch {
	case r.Operation == capability.Undo && undoes == "":
		f.fail(o["undoes"].path, "absent, and an undo names the correlation of a report")
	case r.Operation != capability.Undo && undoes != "":
		f.fail(o["undoes"].path, "only an undo has one")
	case undoes != "":
		r.Undoes = correlation("named", undoes)
	}
	if r.Correlation = correlation("unnamed", v.path); own != "" {
		r.Correlation = correlation("named", own)
	}
	if f.err == nil {
		var bad *capability.Malformed
		if err := r.Validate(); errors.As(err, &bad) {
			f.fail(v.path+"."+strings.Replace(bad.Field, "hosts", "hostIds", 1), "%s", bad.Cause)
		}
	}
	return r
}

// correlation is an ID made of a name. IDs of the two kinds are never the same.
func correlation(kind, name string) (id capability.CorrelationID) {
	h := sha256.New()
	binary.Write(h, binary.BigEndian, uint32(len(kind)))
	io.WriteString(h, kind+name)
	copy(id[:], h.Sum(nil))
	return id
}

// dictionary is an object with lists of values. The key of an empty list is there without a value, as on the wire.
func (f *reading) dictionary(v value) (out []capability.Pair) {
	members, is := v.is.([]member)
	if !is && v.is != nil {
		f.fail(v.path, "%s where an object is wanted", v)
	}
	seen := map[string]bool{}
	for _, m := range members {
		if seen[m.name] {
			f.fail(m.path, "is there twice")
		}
		seen[m.name] = true
		if _, one := m.is.(string); one {
			f.fail(m.path, "%s where a list of values is wanted", m.value)
		}
		values := f.list(m.value)
		if len(values) == 0 {
			out = append(out, capability.Pair{Key: m.name})
		}
		for _, e := range values {
			out = append(out, capability.Pair{Key: m.name, Value: f.text(e)})
		}
	}
	return out
}
