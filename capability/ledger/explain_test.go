package ledger

import (
	"os"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// Every cause of a refusal, as people read it. The text is in testdata/explained.txt; EXPLAIN=write makes it anew, to be read before it is kept.
func TestExplained(t *testing.T) {
	var b strings.Builder
	tell := func(title string, v *life, change func(*capability.Request), words string) {
		t.Helper()
		device, lines, _ := strings.Cut(words, " ")
		r := v.request(device, strings.Split(lines, ", ")...)
		r.Alias = ""
		if change != nil {
			change(&r)
		}
		d := v.must(Serve{Key: key(device), Request: r})
		if len(d.Explained) == 0 {
			t.Errorf("%s: nothing is explained", title)
		}
		b.WriteString("# " + title + "\n")
		for _, e := range d.Explained {
			b.WriteString(strings.Join(e.Sentences(), "\n") + "\n")
		}
		b.WriteString("\n")
	}
	v := begin(t)
	blue := capability.Pair{Key: "color", Value: "blue"}
	v.respond(capability.Response{Policy: capability.Policy{Holders: capability.HoldersNames}, Items: items(
		lineItem('a', "f:1.0", 4), lineItem('b', "f:2.0", 2, from(day+5000)), lineItem('c', "f:3.0", 2, until(day+1), overdraft(1)), lineItem('d', "g:1.0", 3, overdraft(1)),
		lineItem('e', "h:1.0", 1, func(i *capability.LineItem) { i.Selectors = []capability.Pair{blue} }), lineItem('h', "k:2.0", 3), lineItem('m', "m:1.0", 3, metered(true, 0)),
		lineItem('n', "m:1.0", 9),
	)})
	v.pass(10)
	tell("not licensed", v, nil, "d1 x:1.0 1")
	tell("version", v, nil, "d1 k:2.1 1")
	tell("not started", v, nil, "d1 f:2.0 1")
	tell("expired", v, nil, "d1 f:3.0 1, f:2.5 1")
	v.say("d2 @render-node-7 f:1.0 3")
	tell("no seat", v, nil, "d1 f:1.0 2")
	tell("selector", v, func(r *capability.Request) { r.Desired[0].Selectors = []capability.Pair{{Key: "color", Value: "red"}} }, "d1 h:1.0 1")
	tell("queue", v, func(r *capability.Request) { r.Desired[0].Wait = true }, "d1 g:1.0 9")
	tell("report of what is metered in part", v, func(r *capability.Request) { r.Operation = capability.Report }, "d1 m:1.0 5")
	v.must(SetReservations{Groups: groups("g", "d9/ETHERNET g:1.0 2", "u/USER g:1.0 1")})
	tell("reserved for others", v, nil, "d1 g:1.0 3")
	v.must(SetReservations{})
	v.model(`partition "cad" { "g" 1.0 2 }`, `
		on hostname("bad") { deny }
		on user("u") { use "cad" max "g" 1.0 1 per user accept }
		on any() { use "default" accept }`)
	tell("rule", v, func(r *capability.Request) { r.Alias = "bad" }, "d1 g:1.0 1")
	tell("pool", v, nil, "d1 g:1.0 3")
	tell("limit", v, func(r *capability.Request) { r.User = "u" }, "d1 g:1.0 2")
	tell("partial", v, nil, "d1 g:1.0 3?")
	v.must(Drop{Device: v.l.devices[v.request("d2").Hosts[0]][0].id, Feature: "f"})
	tell("dropped", v, nil, "d2 f:1.0 3")
	used := v.l.devices[v.request("d2").Hosts[0]][0].last.Correlation
	tell("a correlation twice", v, func(r *capability.Request) { r.Correlation = used }, "d2 g:1.0 1")
	v.must(SetPolicy{Name: IdleLimit, Value: "60"})
	tell("idle", v, func(r *capability.Request) { r.Idle = 61 }, "d1 g:1.0 1")
	v.provision(lineItem('a', "f:1.0", 1), lineItem('d', "g:1.0", 3, overdraft(1)))
	tell("overage", v, nil, "d1 f:1.0 1")
	v.say("d3 g:1.0 1")
	v.provision(lineItem('a', "f:1.0", 1))
	tell("withdrawn", v, nil, "d1 g:1.0 1")
	v.must(Start{HoldFor: 60})
	tell("hold", v, nil, "d1 f:1.0 1")

	const file = "testdata/explained.txt"
	if os.Getenv("EXPLAIN") == "write" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(b.String(), "\n"); b.String() != string(want) {
		for i, line := range strings.Split(string(want), "\n") {
			if i >= len(got) || got[i] != line {
				t.Fatalf("line %d:\n got %s\nwant %s", i+1, got[min(i, len(got)-1)], line)
			}
		}
		t.Fatal("there is more than in the file")
	}
}

// What is explained is bounded, whatever there is.
func TestExplainedBounds(t *testing.T) {
	var many []capability.LineItem
	for i := range MaxLooked + 9 {
		it := lineItem('a', "f:1.0", 1)
		it.ActivationID = numbered(i)
		many = append(many, it)
	}
	v := begin(t, many...)
	lines := make([]string, MaxExplained+5)
	for i := range lines {
		lines[i] = "f:1.0 99"
	}
	d := v.must(Serve{Key: key("d"), Request: v.request("d", lines...)})
	if len(d.Explained) != MaxExplained || len(d.Explained[0].Looked) != MaxLooked || d.Explained[0].More != 9 {
		t.Errorf("%d lines, %d sources and %d more", len(d.Explained), len(d.Explained[0].Looked), d.Explained[0].More)
	}
	if s := d.Explained[0].Sentences(); !strings.Contains(s[len(s)-2], "9 more sources") {
		t.Error(s)
	}
}
