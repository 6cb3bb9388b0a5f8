package main

import (
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

func conditionOf(c capability.Code) *console.Problem {
	no := capability.Refuse(c, "", "")
	return &console.Problem{Code: no.Code, Symbol: no.Code.Symbol(), Denial: no.Denial, Text: no.Sentence()}
}

// The word and the exit status say the same, and --quiet leaves the exit status.
func TestIsActive(t *testing.T) {
	m := newMachine(t)
	if status, out, stderr := m.run("is-active"); status != capability.ExitNoDaemon || out != "stopped\n" || stderr != "" {
		t.Errorf("%d %q %q", status, out, stderr)
	}
	d := m.daemon()
	for _, row := range []struct {
		health console.Health
		word   string
		status int
	}{
		{console.Health{State: "serving", Applied: 1}, "serving", 0},
		{console.Health{State: "holding", Applied: 1, HoldUntil: 1795248000}, "holding", 22},
		{console.Health{State: "not activated"}, "not activated", 12},
		{console.Health{State: "refusing", Applied: 1, Condition: conditionOf(capability.ErrCorrupt)}, "refusing", 1},
		{console.Health{State: "refusing", Condition: conditionOf(capability.ErrRollback)}, "refusing", 22},
	} {
		d.says("GET health", row.health)
		if status, out, stderr := m.run("is-active"); status != row.status || out != row.word+"\n" || stderr != "" {
			t.Errorf("%s: %d %q %q", row.word, status, out, stderr)
		}
		for _, quiet := range []string{"-q", "--quiet"} {
			if status, out, stderr := m.run("is-active", quiet); status != row.status || out+stderr != "" {
				t.Errorf("%s, quiet: %d %q %q", row.word, status, out, stderr)
			}
		}
	}
	m.prints("is-active", "is-active", 22)
	for code, word := range map[capability.Code]string{capability.ErrBusy: "waiting", capability.ErrTPMAbsent: "waiting", capability.ErrNoTPM: "waiting"} {
		d.does("GET health", func([]byte) (any, *capability.Refusal) { return nil, capability.Refuse(code, "", "") })
		if status, out, stderr := m.run("is-active"); status != capability.ExitTemporary || out != word+"\n" || stderr != "" {
			t.Errorf("%s: %d %q %q", code, status, out, stderr)
		}
	}
	d.does("GET health", func([]byte) (any, *capability.Refusal) {
		return nil, capability.Refuse(capability.ErrForbidden, "", "")
	})
	status, out, stderr := m.run("is-active")
	if status != capability.ExitPolicy || out != "" {
		t.Error(status, out)
	}
	fourLines(t, "is-active", stderr, capability.ErrForbidden)
}

// What is waited for ends the command when it is there, however often it was not.
func TestWait(t *testing.T) {
	for _, row := range []struct {
		what  string
		lives []console.Health // the last one is it
	}{
		{"ready", []console.Health{{State: "serving", Applied: 1}}},
		{"ready", []console.Health{{State: "not activated"}, {State: "holding", Applied: 1, HoldUntil: 9}, {State: "serving", Applied: 1}}},
		{"activated", []console.Health{{State: "not activated"}, {State: "holding", Applied: 1, HoldUntil: 9}}},
		{"response", []console.Health{{State: "not activated", Waiting: 1}, {State: "serving", Applied: 1, Waiting: 1}, {State: "serving", Applied: 2}}},
	} {
		m := newMachine(t)
		asked := 0
		m.daemon().does("GET health", func([]byte) (any, *capability.Refusal) {
			h := row.lives[min(asked, len(row.lives)-1)]
			asked++
			return h, nil
		})
		status, out, stderr := m.run("wait", "--for", row.what)
		if want := row.lives[len(row.lives)-1].State; status != 0 || out != want+"\n" || stderr != "" || asked != len(row.lives) {
			t.Errorf("%s: asked %d times; %d %q %q", row.what, asked, status, out, stderr)
		}
	}
}

func TestWaitInVain(t *testing.T) {
	m := newMachine(t)
	for _, row := range []struct {
		args   string
		status int
		code   capability.Code
	}{
		{"wait", 2, capability.ErrUsage},
		{"wait --for rain", 2, capability.ErrUsage},
		{"wait --for ready --timeout -1s", 2, capability.ErrUsage},
		{"wait --for ready --timeout 1ms", 75, capability.ErrWaited}, // no daemon
	} {
		status, out, stderr := m.run(strings.Fields(row.args)...)
		if status != row.status || out != "" {
			t.Errorf("%s: %d %q", row.args, status, out)
		}
		fourLines(t, row.args, stderr, row.code)
	}
	d := m.daemon()
	d.says("GET health", console.Health{State: "not activated"})
	if status, _, stderr := m.run("wait", "--for", "activated", "--timeout", "1ms"); status != 75 || !strings.Contains(stderr, "activated, after 1ms: not activated") {
		t.Error(status, stderr)
	}
	d.says("GET health", console.Health{State: "serving", Applied: 3})
	m.prints("wait", "wait --for response", 0)
	// Where the account may not ask, waiting does not help.
	d.does("GET health", func([]byte) (any, *capability.Refusal) {
		return nil, capability.Refuse(capability.ErrForbidden, "", "")
	})
	_, _, stderr := m.run("wait", "--for", "ready")
	fourLines(t, "wait", stderr, capability.ErrForbidden)
}

// Status names the features that are full, those that end next, and a daemon of another version.
func TestStatusNamesFeatures(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	item := func(name string, expiry capability.Time, total, available uint64, status string, uncounted bool) console.Feature {
		return console.Feature{LineItem: capability.LineItem{Feature: name, Expiry: expiry, Uncounted: uncounted}, Total: total, Available: available, Status: status}
	}
	d.says("GET health", console.Health{Version: "v9.9.9", State: "serving", Applied: 1, Host: here(), Since: 1795161600, Now: 1795248000, Total: 9, Used: 8, Features: 8, Expiry: 1806451199})
	d.says("GET features", []console.Feature{
		item("render", 1806451199, 4, 0, "valid", false), item("render", 0, 4, 1, "valid", false), item("export", 0, 4, 0, "valid", false), item("export", 1806451199, 4, 0, "valid", false),
		item("light", 0, 4, 1, "valid", false), item("light", 0, 4, 0, "valid", false), item("view", 0, 0, 0, "valid", true), item("old", 1700000000, 4, 0, "expired", false),
	})
	status, out, _ := m.run("status")
	for _, want := range []string{
		"leaseholdd v9.9.9 serving since 2026-11-20 08:00Z (24 h)", ", 1 feature full: export\n", " d): render, export\n", "# Health:\n#   this program is version development and the daemon v9.9.9\n",
		"# See who holds \"export\": leasehold seats export\n",
	} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("%d, without %q:\n%s", status, want, out)
		}
	}
	_, out, _ = m.run("status", "--json")
	if !strings.Contains(out, `"this program is version development and the daemon v9.9.9"`) || strings.Contains(out, "export") {
		t.Error(out)
	}
	if got := some([]string{"a", "b", "c", "d", "e", "f", "g"}); got != "a, b, c, d, e and 2 more" {
		t.Error(got)
	}
}
