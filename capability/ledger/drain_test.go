package ledger

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// drains is every drain in words: "a 2 copies, 1 in the way: host of d1*1".
func (v *life) drains() string {
	var out []string
	for _, d := range v.l.Drains(v.now) {
		t := fmt.Sprintf("%s %d copies, %d in the way:", name(capability.ItemID{ActivationID: d.ActivationID}), d.Copies, d.InTheWay)
		for _, h := range d.Holders {
			t += fmt.Sprintf(" %s*%d@%d", h.Name, h.Count, h.Expiry-v.now.Wall)
		}
		out = append(out, t)
	}
	return strings.Join(out, ", ")
}

func TestDrain(t *testing.T) {
	fullFive := [][2]string{{"d1 f:1.0 2", "OK | OK 2 | has 2"}, {"d2 f:1.0 2", "OK | OK 2 | has 2"}}
	no := "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has "
	for _, c := range []struct {
		name  string
		items []capability.LineItem
		steps [][2]string
	}{
		{"only what remains is served anew", items(lineItem('a', "f:1.0", 5)), append(fullFive[:2:2], [][2]string{
			{"drain a 2 600", ""},
			{"drains", "a 2 copies, 1 in the way: d1*2@900 d2*2@900"},
			{"d3 f:1.0 1", no + "0"},
			{"d1 f:1.0 3", no + "2"}, // what it has stays
			{"d1 f:1.0 2", "OK | OK 2 | has 2"},
			{"d2 f:1.0 1", "OK | OK 1 | has 1"},
			{"drains", "a 2 copies, 0 in the way: d1*2@900 d2*1@900"},
			{"d2 f:1.0 2", no + "1"}, // given back is given back
			{"d2", "RETURNED | has 0"},
			{"d3 f:1.0 2?", "OK | PARTIAL 1 E_NO_SEAT | has 1"},
			{"return a 3", "E_IN_USE"},
			{"return a 2", ""},
			{"drains", ""},
			{"items", "a 3/3"},
		}...)},
		{"from the deadline on nothing of it is renewed", items(lineItem('a', "f:1.0", 4)), append(fullFive[:2:2], [][2]string{
			{"drain a 4 600", ""},
			{"+599", ""},
			{"d1 f:1.0 2", "OK | OK 2 | has 2"},
			{"+1", ""},
			{"d2 f:1.0 2", no + "2"},
			{"d1 f:1.0 2", no + "2"},
			{"+300", ""},
			{"drains", "a 4 copies, 2 in the way: d1*2@599"},
			{"return a 0", "E_IN_USE"},
			{"+599", ""},
			{"return a 0", ""},
			{"items", ""},
		}...)},
		{"what remains is renewed after the deadline, who asks first", items(lineItem('a', "f:1.0", 4)), append(fullFive[:2:2], [][2]string{
			{"drain a 2 60", ""},
			{"+890", ""},
			{"d1 f:1.0 2", no + "2"}, // d2 is in the way
			{"+10", ""},
			{"d1 f:1.0 2", "OK | OK 2 | has 2"},
			{"d2 f:1.0 1", no + "0"},
		}...)},
		{"canceled", items(lineItem('a', "f:1.0", 4)), [][2]string{
			{"drain a 0 600", ""},
			{"d1 f:1.0 1", no + "0"},
			{"cancel a", ""},
			{"cancel a", ""},
			{"d1 f:1.0 4", "OK | OK 4 | has 4"},
			{"drains", ""},
		}},
		{"changed", items(lineItem('a', "f:1.0", 4)), [][2]string{
			{"drain a 4 600", ""},
			{"drain a 1 700", ""},
			{"d1 f:1.0 4", no + "0"},
			{"d1 f:1.0 3", "OK | OK 3 | has 3"},
			{"drains", "a 1 copies, 0 in the way: d1*3@900"},
		}},
		{"another activation serves on", items(lineItem('a', "f:1.0", 2), lineItem('b', "f:1.0", 2)), [][2]string{
			{"drain a 0 600", ""},
			{"d1 f:1.0 3", no + "0"},
			{"d1 f:1.0 2", "OK | OK 2 | has 2"},
			{"has d1", "b*2@default"},
		}},
		{"a copy of many counts, and overdraft", items(lineItem('a', "f:1.0", 6, copies(2), overdraft(1))), [][2]string{
			{"d1 f:1.0 7", "OK | OK 7 | has 7"},
			{"drain a 1 600", ""},
			{"d1 f:1.0 7", "OK | OK 7 | has 7"},
			{"d1 f:1.0 5", "OK | OK 5 | has 5"}, // 3 remain, one of the overdraft, and it had more
			{"drain a 0 600", ""},
			{"d2 f:1.0 1", no + "0"},
			{"d1 f:1.0 5", "OK | OK 5 | has 5"},
			{"drains", "a 2 copies, 5 in the way: d1*5@900"},
		}},
		{"overdraft is not covered with what leaves", items(lineItem('a', "f:1.0", 2, overdraft(1))), [][2]string{
			{"d1 f:1.0 2", "OK | OK 2 | has 2"},
			{"d2 f:1.0 1", "OK | OK 1 | has 1"},
			{"drain a 1 600", ""},
			{"d1", "RETURNED | has 0"},
			{"has d2", "a*1@default"},
			{"d3 f:1.0 1", "OK | OK 1 | has 1"},
			{"slices", "default a 1/2, overdraft a 1/1"},
			{"return a 1", ""},
			{"d2", "RETURNED | has 0"},
			{"slices", "default a 1/1, overdraft a 0/1"},
		}},
		{"uncounted", items(lineItem('u', "u:1.0", 1, uncounted)), [][2]string{
			{"d1 u:1.0 3", "OK | OK 3 | has 3"},
			{"drain u 1 600", ""},
			{"d2 u:1.0 1", no + "0"},
			{"d1 u:1.0 4", no + "3"},
			{"d1 u:1.0 3", "OK | OK 3 | has 3"},
			{"+600", ""},
			{"d1 u:1.0 3", no + "3"},
		}},
		{"a response ends it with its rights", items(lineItem('a', "f:1.0", 2)), [][2]string{
			{"drain a 1 600", ""},
			{"empty", ""},
			{"drains", ""},
		}},
		{"a long borrow ends with the deadline", items(lineItem('a', "f:1.0", 2, borrow(86400))), [][2]string{
			{"d1 f:1.0 1", "OK | OK 1 | has 1"},
			{"drain a 2 2000", ""},
			{"d1 f:1.0 1", "OK | OK 1 | has 1"},
			{"drains", "a 2 copies, 1 in the way: d1*1@2000"},
		}},
		{"refused", items(lineItem('a', "f:1.0", 2)), [][2]string{
			{"drain b 1 600", "E_NOTHING_TO_RETURN"},
			{"drain a 3 600", "E_NOTHING_TO_RETURN"},
			{"drain a 1 0", "malformed"},
			{"drain a 1 99999999", "malformed"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t, c.items...)
			for i, s := range c.steps {
				var verb, letter string
				var n uint32
				var seconds capability.Seconds
				fmt.Sscan(s[0], &verb, &letter, &n, &seconds)
				var got string
				var c Command
				switch id := activation(append([]byte(letter), 0)[0]); verb {
				case "drain":
					c = Drain{ActivationID: id, Copies: n, Deadline: v.now.Wall.Add(seconds), By: "admin"}
				case "cancel":
					c = CancelDrain{ActivationID: id}
				case "return":
					c = Return{ID: capability.ReturnID{byte(i + 1)}, ActivationID: id, Copies: n}
				case "empty":
					v.provision()
				case "drains":
					got = v.drains()
				default:
					v.play([][2]string{s})
					continue
				}
				if c != nil {
					_, err := v.do(c)
					var no *capability.Refusal
					var bad *capability.Malformed
					switch {
					case errors.As(err, &no):
						got = no.Code.Symbol()
					case errors.As(err, &bad):
						got = "malformed"
					}
					if d, err := v.l.Decide(v.now, c); verb == "drain" && err == nil && len(d.Entries) > 0 {
						t.Errorf("step %d: again makes entries", i+1)
					}
				}
				if got != s[1] {
					t.Fatalf("step %d, %s: %q where %q is wanted", i+1, s[0], got, s[1])
				}
			}
			back, err := Restore(v.l.Snapshot())
			if err != nil || back.Digest() != v.l.Digest() {
				t.Error("another state from the snapshot:", err)
			}
		})
	}
}

// What remains is there once, however many slices it is in.
func TestDrainCountsSlicesTogether(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 6))
	v.model(`partition "p" { "f" 1.0 3 }`, `on any() { use "p", "default" accept }`)
	v.must(Drain{ActivationID: activation('a'), Copies: 3, Deadline: v.now.Wall + 600})
	v.play([][2]string{
		{"d1 f:1.0 4", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0"},
		{"d1 f:1.0 6?", "OK | PARTIAL 3 E_NO_SEAT | has 3"},
	})
}

// A refused line says which source is being returned.
func TestDrainIsExplained(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 2))
	v.must(Drain{ActivationID: activation('a'), Deadline: v.now.Wall + 600})
	d := v.must(Serve{Key: key("d1"), Request: v.request("d1", "f:1.0 1")})
	if len(d.Explained) != 1 || d.Explained[0].Looked[0].Skipped != BeingReturned || d.Explained[0].Denial.Detail != "counts of it are being returned" {
		t.Fatalf("%+v", d.Explained)
	}
	if got := d.Explained[0].Looked[0].String(); !strings.HasSuffix(got, "default: being returned; what is held of it is renewed until "+(v.now.Wall+600).String()) {
		t.Error(got)
	}
	if it := v.l.Items(v.now)[0]; it.Available != 0 || it.Returning != 2 || it.ReturnBy != v.now.Wall+600 {
		t.Errorf("%+v", it)
	}
}

// What Decide refuses, Apply asserts.
func TestDrainIsAsserted(t *testing.T) {
	for _, c := range []struct {
		name   string
		copies uint32
		late   bool
		grant  string
	}{
		{"more than remains", 1, false, "d2 f:1.0 1"},
		{"anything of all", 0, false, "d2 f:1.0 1"},
		{"a renewal past the deadline", 0, true, "d1 f:1.0 2"},
		{"a renewal of too much past the deadline", 1, true, "d1 f:1.0 2"},
		{"uncounted", 0, false, "d2 u:1.0 1"},
	} {
		v := begin(t, lineItem('a', "f:1.0", 3, copies(3)), lineItem('a', "u:1.0", 3, copies(3), uncounted))
		v.say("d1 f:1.0 2")
		entry := func(w *life) Entry {
			w.pass(map[bool]capability.Seconds{true: 700, false: 10}[c.late])
			w.calls = 50
			device, line, _ := strings.Cut(c.grant, " ")
			d, err := w.l.Decide(w.now, Serve{Key: key(device), Request: w.request(device, line)})
			if err != nil || len(d.Entries) != 1 {
				t.Fatal(err)
			}
			return d.Entries[0]
		}
		// The grant as it is without a drain, put behind one.
		w := begin(t, lineItem('a', "f:1.0", 3, copies(3)), lineItem('a', "u:1.0", 3, copies(3), uncounted))
		w.say("d1 f:1.0 2")
		e := entry(w)
		d, err := v.l.Decide(v.now, Drain{ActivationID: activation('a'), Copies: c.copies + map[bool]uint32{true: 1}[c.copies == 1], Deadline: v.now.Wall + 600})
		if err != nil {
			t.Fatal(err)
		}
		v.apply(d.Entries...)
		e.Position, e.Previous = v.l.position+1, v.l.head
		if err := v.l.Apply(e); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	v := begin(t, lineItem('a', "f:1.0", 3))
	for _, f := range []Drained{{activation('a'), 4, v.now.Wall + 1, ""}, {activation('b'), 1, v.now.Wall + 1, ""}, {activation('a'), 0, 0, ""}, {activation('a'), 1, v.now.Wall, ""}} {
		if err := v.l.applyDrained(&f); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	v.must(Drain{ActivationID: activation('a'), Deadline: v.now.Wall + 5})
	v.l.drains[0].Copies = 0
	if err := v.l.Check(); !errors.Is(err, ErrCorrupt) {
		t.Error("a drain of nothing:", err)
	}
}
