package ledger

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
)

// A request that comes again, however late and whatever followed, is answered as it was, and changes nothing; with another body it is refused.
func TestReplayEarlier(t *testing.T) {
	type call struct {
		correlation byte
		lines       string
		want        string
	}
	for _, c := range []struct {
		name  string
		calls []call // lines "+60": a minute passes; "key": the next key asks from now on
	}{
		{"earlier, the same body", []call{
			{'x', "f:1.0 3", "OK | OK 3 | has 3"}, {'y', "f:1.0 1", "OK | OK 1 | has 1"}, {'x', "f:1.0 3", "again"}, {'y', "f:1.0 1", "again"}, {'x', "f:1.0 3", "again"},
			{'z', "f:1.0 4", "OK | OK 4 | has 4"}, {'y', "f:1.0 1", "again"},
		}},
		{"earlier, another body", []call{
			{'x', "f:1.0 3", "OK | OK 3 | has 3"}, {'y', "f:1.0 2", "OK | OK 2 | has 2"}, {'x', "f:1.0 4", "DENIED E_CORRELATION_REUSED | has 0"},
			{'y', "f:1.0 4", "DENIED E_CORRELATION_REUSED | has 0"}, {'x', "f:1.0 3", "again"},
		}},
		{"for two minutes", []call{
			{'x', "f:1.0 3", "OK | OK 3 | has 3"}, {0, "+60", ""}, {'y', "f:1.0 2", "OK | OK 2 | has 2"}, {0, "+59", ""}, {'x', "f:1.0 3", "again"},
			{0, "+1", ""}, {'x', "f:1.0 3", "OK | OK 3 | has 3"},
		}},
		{"the last always", []call{
			{'x', "f:1.0 3", "OK | OK 3 | has 3"}, {0, "+5000", ""}, {'x', "f:1.0 3", "again"}, {'x', "f:1.0 4", "DENIED E_CORRELATION_REUSED | has 0"},
			{'y', "f:1.0 2", "OK | OK 2 | has 2"}, {'x', "f:1.0 4", "OK | OK 4 | has 4"}, {'y', "f:1.0 2", "again"},
		}},
		{"eight", []call{
			{1, "f:1.0 1", "OK | OK 1 | has 1"}, {2, "f:1.0 2", "OK | OK 2 | has 2"}, {3, "f:1.0 3", "OK | OK 3 | has 3"}, {4, "f:1.0 4", "OK | OK 4 | has 4"},
			{5, "f:1.0 1", "OK | OK 1 | has 1"}, {6, "f:1.0 2", "OK | OK 2 | has 2"}, {7, "f:1.0 3", "OK | OK 3 | has 3"}, {8, "f:1.0 4", "OK | OK 4 | has 4"},
			{1, "f:1.0 1", "again"}, {9, "f:1.0 5", "OK | OK 5 | has 5"}, {2, "f:1.0 2", "again"}, {1, "f:1.0 1", "OK | OK 1 | has 1"},
		}},
		{"what was denied is not remembered", []call{
			{'x', "f:1.0 3", "OK | OK 3 | has 3"}, {'x', "f:1.0 1", "DENIED E_CORRELATION_REUSED | has 0"}, {'y', "f:1.0 2", "OK | OK 2 | has 2"},
			{'x', "f:1.0 1", "DENIED E_CORRELATION_REUSED | has 0"}, {'x', "f:1.0 3", "again"},
		}},
		{"of another key", []call{
			{'x', "f:1.0 3", "OK | OK 3 | has 3"}, {'y', "", "RETURNED | has 0"}, {0, "key", ""}, {'x', "f:1.0 2", "OK | OK 2 | has 2"}, {'x', "f:1.0 2", "again"},
			{'y', "f:1.0 1", "OK | OK 1 | has 1"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t, lineItem('a', "f:1.0", 5))
			first, asker := map[string]capability.Response{}, 0
			for i, s := range c.calls {
				var seconds capability.Seconds
				if n, _ := fmt.Sscanf(s.lines, "+%d", &seconds); n == 1 {
					v.pass(seconds)
					continue
				}
				if s.lines == "key" {
					asker++
					continue
				}
				r := v.parse("d " + s.lines)
				r.Correlation = capability.CorrelationID{s.correlation}
				before := v.l.Digest()
				d := v.must(Serve{Key: key(fmt.Sprint("d", asker)), Request: r})
				got, name := show(*d.Response), fmt.Sprint(s.correlation, s.lines)
				if old, known := first[name]; s.want == "again" && known {
					if got = "again"; !reflect.DeepEqual(old, *d.Response) || len(d.Entries) > 0 || v.l.Digest() != before {
						t.Errorf("call %d, %c %s: first %+v, again %+v, %d entries", i, s.correlation, s.lines, old, d.Response, len(d.Entries))
					}
				}
				if got != s.want {
					t.Fatalf("call %d, %c %s: got %s, want %s", i, s.correlation, s.lines, got, s.want)
				}
				if s.want != "again" && d.Response.Serial > 0 {
					first[name] = *d.Response
				}
				restored, err := Restore(v.l.Snapshot())
				if err != nil {
					t.Fatal(err)
				}
				v.l = restored
			}
		})
	}
}

// A device that renews at the usual interval has one remembered answer, whatever it did before.
func TestReplayMemory(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 5))
	for i := range 50 {
		v.ask("d", fmt.Sprintf("f:1.0 %d", 1+i%5))
	}
	size := len(v.l.Snapshot())
	if n := len(v.l.rows[0].earlier); n != MaxRemembered-1 {
		t.Errorf("%d earlier answers after a burst", n)
	}
	for range 3 {
		v.pass(135) // 15 % of 15 minutes
		v.ask("d", "f:1.0 5")
	}
	if n := len(v.l.rows[0].earlier); n != 0 || len(v.l.Snapshot()) >= size {
		t.Errorf("%d earlier answers of a device that renews", n)
	}
}

func TestReplayCorrupt(t *testing.T) {
	v := begin(t, lineItem('a', "f:1.0", 5))
	v.ask("d", "f:1.0 1")
	v.ask("d", "f:1.0 2")
	v.ask("d", "f:1.0 3")
	for name, damage := range map[string]func(*row){
		"nine":           func(r *row) { r.earlier = make([]remembered, MaxRemembered) },
		"no answer":      func(r *row) { r.earlier[0].Answer = nil },
		"another answer": func(r *row) { r.earlier[0].Answer = r.earlier[1].Answer },
		"out of order":   func(r *row) { r.earlier[0], r.earlier[1] = r.earlier[1], r.earlier[0] },
		"twice":          func(r *row) { r.earlier[1] = r.earlier[0] },
		"the last twice": func(r *row) { r.earlier[1] = r.last },
		"for no time":    func(r *row) { r.earlier[1].Until = 0 },
		"another key":    func(r *row) { r.key[0] ^= 1 },
	} {
		l, err := Restore(v.l.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		damage(l.rows[0])
		if err := l.Check(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d, err := v.l.Decide(v.now, Serve{Key: key("d"), Request: v.request("d", "f:1.0 4")})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Served){
		"used before":    func(f *Served) { f.Answer.Correlation = v.l.rows[0].earlier[0].Correlation },
		"until the past": func(f *Served) { f.Until = v.now.Lease },
		"until nothing":  func(f *Served) { f.Until = -1 },
	} {
		l, err := Restore(v.l.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		e, f := d.Entries[0], *d.Entries[0].Served
		change(&f)
		e.Served = &f
		if err := l.Apply(e); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A journal of an earlier release may hold a model that is refused today: it is read, divides as it did, and goes through a snapshot. Nobody can upload it any more.
func TestModelsOfOldJournals(t *testing.T) {
	for name, text := range map[string]string{
		"a tab in a name":    "model \"m\" { partitions { partition \"c\tad\" { \"f\" 1.0 3 } } on any() { use \"c\tad\" accept } }",
		"a joiner in a name": "model \"m\" { partitions { partition \"c\u200dad\" { \"f\" 1.0 3 } } on any() { use \"c\u200dad\" accept } }",
		"a reserved name":    "model \"reserved\" { partitions { partition \"overdraft\" { \"f\" 1.0 3 } } on any() { use \"overdraft\" accept } }",
	} {
		v := begin(t, lineItem('a', "f:1.0", 4))
		v.refused(SetModel{Text: []byte(text)}, capability.ErrModel)
		m, err := model.Reread([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e := Entry{Modeled: &Modeled{Text: []byte(text), By: "admin"}, Division: v.l.division(rules{model: m}, v.now, v.l.dates(v.now), v.l.inventory())}
		v.apply(v.l.decided(v.now, e).Entries...)
		v.expect("d f:1.0 4", "PARTLY | INSUFFICIENT 0 E_NO_SEAT | has 0")
		v.expect("d f:1.0 3", "OK | OK 3 | has 3")
		back, err := Restore(v.l.Snapshot())
		if err != nil || back.Digest() != v.l.Digest() || back.Check() != nil {
			t.Fatalf("%s: restored: %v", name, err)
		}
		v.l = back
		v.provision(lineItem('a', "f:1.0", 5)) // divided anew, by the same model
		v.expect("d f:1.0 3", "OK | OK 3 | has 3")
		v.must(DeleteModel{})
	}
}
