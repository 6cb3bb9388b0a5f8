package ledger

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

const day capability.Time = 1_900_000_000 // a wall time to begin with

// life is a ledger with a clock, as a test lives it: every decision is encoded, decoded, applied, and followed by Check.
type life struct {
	t       testing.TB
	l       *Ledger
	now     Now
	entries []Entry
	serial  uint64
	calls   uint64
	lossy   bool // devices need not hear their answers
}

func begin(t testing.TB, items ...capability.LineItem) *life {
	v := &life{t: t, l: New(), now: At(1000, day)}
	v.must(Start{BootID: "first"})
	if items != nil {
		v.provision(items...)
	}
	return v
}

func (v *life) do(c Command) (Decision, error) {
	if s, is := c.(Serve); is && !v.lossy {
		s.Heard = true
		c = s
	}
	v.t.Helper()
	before := v.l.Digest()
	d, err := v.l.Decide(v.now, c)
	if v.l.Digest() != before {
		v.t.Fatalf("Decide(%T) changed the state", c)
	}
	if err != nil && len(d.Entries) > 0 {
		v.t.Fatalf("Decide(%T): %d entries beside %v", c, len(d.Entries), err)
	}
	v.apply(d.Entries...)
	return d, err
}

func (v *life) apply(entries ...Entry) {
	v.t.Helper()
	for _, e := range entries {
		back, err := DecodeEntry(v.l.codec, e.Encode(v.l.codec))
		if err == nil {
			err = v.l.Apply(back)
		}
		if err == nil {
			err = v.l.Check()
		}
		if err != nil {
			v.t.Fatalf("entry %d: %v", e.Position, err)
		}
		v.entries = append(v.entries, back)
	}
}

func (v *life) must(c Command) Decision {
	v.t.Helper()
	d, err := v.do(c)
	if err != nil {
		v.t.Fatalf("%T: %v", c, err)
	}
	return d
}

// refused runs a command that must be refused with this code and leave no trace.
func (v *life) refused(c Command, code capability.Code) capability.Denial {
	v.t.Helper()
	before := v.l.Digest()
	_, err := v.do(c)
	var no *capability.Refusal
	if !errors.As(err, &no) || no.Code != code || v.l.Digest() != before {
		v.t.Fatalf("%T: %v where %s is wanted", c, err, code.Symbol())
	}
	return no.Denial
}

func (v *life) provision(items ...capability.LineItem) {
	v.t.Helper()
	v.respond(capability.Response{Items: items})
}

// respond applies a back-office response with the next serial.
func (v *life) respond(r capability.Response) {
	v.t.Helper()
	v.serial++
	v.must(Provision{Response: v.response(v.serial, r), Digest: capability.Digest{byte(v.serial), 1}})
}

func (v *life) response(serial uint64, r capability.Response) capability.Response {
	r.Version, r.For, r.Serial, r.Time = capability.Protocol, hostid.ID{Type: hostid.TPMEK, Value: "00ff"}, serial, day
	return r
}

func (v *life) pass(d capability.Seconds) {
	v.now.Lease += d
	v.now.Wall = v.now.Wall.Add(d)
}

// request is a request of that device with a new correlation ID. Lines are like "f:1.0 3", a ? after the count means partial.
func (v *life) request(device string, lines ...string) capability.Request {
	v.t.Helper()
	v.calls++
	r := capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{{Type: hostid.Ethernet, Value: device}}, Alias: "host of " + device}
	r.Correlation[0] = 1
	for i := range 8 {
		r.Correlation[15-i] = byte(v.calls >> (8 * i))
	}
	for _, line := range lines {
		var feature string
		var w capability.Desired
		n, err := fmt.Sscanf(line, "%s %d", &feature, &w.Count)
		if n != 2 {
			v.t.Fatalf("line %q: %v", line, err)
		}
		f, err := capability.ParseFeature(feature)
		if err != nil {
			v.t.Fatal(err)
		}
		w.Feature, w.Version, w.Partial = f.Name, f.Version, line[len(line)-1] == '?'
		r.Desired = append(r.Desired, w)
	}
	return r
}

// operation is a request for that operation; an undo has no lines, and names a report that there never was.
func (v *life) operation(op capability.Operation, device string, lines ...string) capability.Request {
	v.t.Helper()
	if op != capability.Undo {
		r := v.request(device, lines...)
		r.Operation = op
		return r
	}
	r := v.request(device)
	r.Operation, r.Undoes = op, named("nothing")
	return r
}

func key(device string) capability.Digest {
	var k capability.Digest
	copy(k[:], "key of "+device)
	return k
}

// ask serves a request and returns the answer.
func (v *life) ask(device string, lines ...string) capability.Response {
	v.t.Helper()
	return v.serve(Serve{Key: key(device), Request: v.request(device, lines...)})
}

func (v *life) serve(c Serve) capability.Response {
	v.t.Helper()
	return *v.must(c).Response
}

// holds is what the ledger has for the device, as "item*count@end", ends from the present.
func (v *life) holds(device string) string {
	d, _ := v.l.Device(hostid.ID{Type: hostid.Ethernet, Value: device}, v.now)
	out := ""
	for i, h := range d.Holdings {
		if i > 0 {
			out += " "
		}
		out += fmt.Sprintf("%s*%d@%d", name(h.Item), h.Count, h.End-v.now.Lease)
		if h.Dropped {
			out += "!"
		}
	}
	return out
}

// The activation IDs of tests: letter a to j.
func activation(letter byte) capability.ActivationID {
	id, err := capability.NewActivationID(repeat(letter))
	if err != nil {
		panic(err)
	}
	return id
}

type repeat byte

func (r repeat) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r)
	}
	return len(b), nil
}

func name(id capability.ItemID) string {
	for c := byte('a'); c <= 'z'; c++ {
		if activation(c) == id.ActivationID {
			return string(c)
		}
	}
	return "?"
}

// item is a line item: activation letter, feature with version, count in one copy each.
func lineItem(letter byte, feature string, count uint32, change ...func(*capability.LineItem)) capability.LineItem {
	f, err := capability.ParseFeature(feature)
	if err != nil {
		panic(err)
	}
	i := capability.LineItem{ActivationID: activation(letter), Feature: f.Name, Version: f.Version, Count: count, Copies: max(count, 1)}
	for _, c := range change {
		c(&i)
	}
	return i
}

// show is an answer in short: status, lines, rights.
func show(r capability.Response) string {
	out := r.Status.String()
	for _, n := range r.Denials {
		out += " " + n.Code.Symbol()
	}
	for _, l := range r.Lines {
		out += fmt.Sprintf(" | %s %d", l.Status, l.Count)
		if l.Denial.Code != 0 {
			out += " " + l.Denial.Code.Symbol()
		}
	}
	var n uint64
	for _, g := range r.Rights {
		n += uint64(g.Count)
	}
	return out + fmt.Sprintf(" | has %d", n)
}

// scene is an inventory and what happens: each step a command in words and what must come of it.
//
//	d1 f:1.0 3, g:2.0 1?     a request of d1 with two lines, the second partial; "d1" alone desires nothing
//	atomic|preview|report|undo d1 ...
//	+60                      a minute passes on both clocks; wall+60 on the wall only
//	holds d1                 what the ledger has for d1
//	items                    every item with count and use
type scene struct {
	name  string
	items []capability.LineItem
	steps [][2]string
}

func (s scene) play(t *testing.T) *life {
	v := begin(t, s.items...)
	for i, step := range s.steps {
		if got := v.step(step[0]); got != step[1] {
			t.Fatalf("step %d, %s:\n got %s\nwant %s", i, step[0], got, step[1])
		}
	}
	return v
}

func (v *life) step(words string) string {
	v.t.Helper()
	var seconds int64
	if n, _ := fmt.Sscanf(words, "+%d", &seconds); n == 1 {
		v.pass(capability.Seconds(seconds))
		return ""
	}
	if n, _ := fmt.Sscanf(words, "wall+%d", &seconds); n == 1 {
		v.now.Wall = v.now.Wall.Add(capability.Seconds(seconds))
		return ""
	}
	verb, rest, _ := strings.Cut(words, " ")
	switch verb {
	case "holds":
		return v.holds(rest)
	case "items":
		var out []string
		for _, it := range v.l.Items(v.now) {
			mark := ""
			if it.Cut {
				mark = " cut"
			} else if it.Over {
				mark = " over"
			}
			out = append(out, fmt.Sprintf("%s %d/%d%s", name(it.ID()), it.Used, it.Count, mark))
		}
		return strings.Join(out, ", ")
	case "atomic", "preview", "report", "undo":
		r := v.parse(rest)
		r.Atomic = verb == "atomic"
		r.Operation = map[string]capability.Operation{"preview": capability.Preview, "report": capability.Report, "undo": capability.Undo}[verb]
		if verb == "undo" {
			r.Undoes = named("nothing")
		}
		return show(v.serve(Serve{Key: key(r.Hosts[0].Value), Request: r}))
	}
	r := v.parse(words)
	return show(v.serve(Serve{Key: key(r.Hosts[0].Value), Request: r}))
}

func (v *life) parse(words string) capability.Request {
	device, lines, _ := strings.Cut(words, " ")
	if lines == "" {
		return v.request(device)
	}
	return v.request(device, strings.Split(lines, ", ")...)
}

func asMalformed(err error, m **capability.Malformed) bool { return errors.As(err, m) }

func repeated(c byte, n int) string { return strings.Repeat(string(c), n) }

// numbered is the i-th of many activation IDs.
func numbered(i int) capability.ActivationID {
	id, err := capability.NewActivationID(strings.NewReader(fmt.Sprintf("%018b", i)))
	if err != nil {
		panic(err)
	}
	return id
}
