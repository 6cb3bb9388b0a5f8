package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
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
	items        []capability.LineItem
	reservations []console.Reserved
	model        string
	steps        []step
	names        map[capability.ItemID]string // of items, as the scenario calls them
}

// step is one thing that happens. Exactly one field besides the path is set.
type step struct {
	path         string
	request      *capability.Request
	advance      *capability.Seconds
	model        *string
	items        *[]capability.LineItem
	reservations *[]console.Reserved
}

func readScenario(path string) (*scenario, error) {
	b, err := readUpTo(path, maxScenario)
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
	f := &reading{scenario: &scenario{names: map[capability.ItemID]string{}}}
	o := f.object(v, "now", "items", "reservations", "model", "steps")
	f.numberItems(v)
	s := f.scenario
	s.now = capability.Time(f.number(o["now"], latest)) + shift
	s.items = f.items(o["items"])
	s.reservations = f.reservations(o["reservations"])
	s.model = f.text(o["model"])
	at := s.now
	for _, v := range f.list(o["steps"]) {
		st := f.step(v)
		if st.advance != nil {
			if *st.advance > capability.Seconds(latest+shift-at) {
				f.fail(v.path+".advance", "leads past the year 9999")
			}
			at = at.Add(*st.advance)
		}
		s.steps = append(s.steps, st)
	}
	return s, f.err
}

// reading is a scenario half read.
type reading struct {
	form
	scenario *scenario
	ranks    map[string]int // of the IDs of all items of the scenario, in order
}

// numberItems finds every item's ID, so that those without an activation ID get one that sorts as their own IDs do: ties are broken by it.
func (f *reading) numberItems(v value) {
	var names []string
	var visit func(value)
	visit = func(v value) {
		members, _ := v.is.([]member)
		for _, m := range members {
			list, _ := m.is.([]value)
			for _, e := range list {
				if m.name == "steps" {
					visit(e)
					continue
				}
				fields, _ := e.is.([]member)
				for _, field := range fields {
					if id, is := field.is.(string); is && m.name == "items" && field.name == "id" {
						names = append(names, id)
					}
				}
			}
		}
	}
	visit(v)
	slices.Sort(names)
	f.ranks = map[string]int{}
	for i, n := range slices.Compact(names) {
		f.ranks[n] = i
	}
}

// rankedID is an activation ID made of a number; IDs sort as their numbers do.
func rankedID(rank int) (capability.ActivationID, error) {
	symbols := make([]byte, 18) // of five bits each
	for i := len(symbols) - 1; rank > 0; i-- {
		symbols[i] = byte(rank & 31)
		rank >>= 5
	}
	return capability.NewActivationID(bytes.NewReader(symbols))
}

func (f *reading) items(v value) []capability.LineItem {
	out := []capability.LineItem{}
	here, there := map[string]bool{}, map[capability.ItemID]bool{}
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
		if err := capability.CheckName("ID", name); err != nil {
			f.fail(o["id"].path, "%w", err)
		}
		if here[name] {
			f.fail(o["id"].path, "%q is there twice", name)
		}
		here[name] = true
		var err error
		if text := f.text(o["activationId"]); text != "" {
			it.ActivationID, err = capability.ParseActivationID(text)
		} else {
			it.ActivationID, err = rankedID(f.ranks[name])
		}
		if err != nil {
			f.fail(o["activationId"].path, "%w", err)
		}
		if err := capability.CheckName("feature", it.Feature); err != nil {
			f.fail(o["feature"].path, "%w", err)
		}
		if err := it.Validate(); err != nil {
			f.fail(v.path, "%w", err)
		}
		switch other, known := f.scenario.names[it.ID()]; {
		case there[it.ID()]:
			f.fail(v.path, "another item has this activation ID and feature")
		case known && other != name:
			f.fail(o["id"].path, "%q was called %q before", name, other)
		}
		there[it.ID()] = true
		f.scenario.names[it.ID()] = name
		out = append(out, it)
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
		d, err := time.ParseDuration(f.text(o["advance"]))
		switch {
		case err != nil:
			f.fail(o["advance"].path, "%s where a duration like \"90s\" or \"1h30m\" is wanted", o["advance"])
		case d < 0 || d%time.Second != 0:
			f.fail(o["advance"].path, "%s where whole seconds, and no less than none, are wanted", o["advance"])
		}
		advance := capability.Seconds(d / time.Second)
		st.advance = &advance
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

// dictionary is an object with lists of values.
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
		for _, e := range f.list(m.value) {
			out = append(out, capability.Pair{Key: m.name, Value: f.text(e)})
		}
	}
	return out
}

// places says for each entry ID which entry of the input it is. The groups are those made of that input.
func places(all []console.Reserved, made []ledger.Group) map[uint64]int {
	type place struct {
		group string
		host  console.Host
	}
	entries := map[place][]ledger.ReservationEntry{}
	for _, g := range made {
		for _, r := range g.Reservations {
			entries[place{g.Name, console.HostOf(r.Host)}] = r.Entries
		}
	}
	out := map[uint64]int{}
	for i, e := range all {
		at := place{e.Group, e.Host}
		out[entries[at][0].ID] = i
		entries[at] = entries[at][1:]
	}
	return out
}
