package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/model"
)

const poolsModel = "model \"pools\" {\n  partitions { partition \"design\" { \"render\" 2026.1 30 } }\n  on any() { use \"design\", \"default\" accept }\n}\n"

func checked() console.ModelCheck {
	v := capability.Version{Major: 2026, Minor: 1}
	return console.ModelCheck{
		Findings: []model.Finding{{Position: model.Position{Line: 2, Column: 38}, Symbol: model.SymbolOversubscribed, Reason: `"render" is oversubscribed`}},
		Pools:    []console.PoolShare{{Pool: "design", Feature: "render", Version: v, Amount: "30", Want: 30, Got: 28, Short: 2}},
		Moves:    []console.Move{{Device: "WS-114\x1b[2J", Feature: "render", ActivationID: activationID(1), Count: 2, From: "default", To: "design"}},
		After:    []console.Pool{{Pool: "design", Feature: "render", Version: v, ActivationID: activationID(1), Count: 27, Computed: 28, Used: 2, Status: "short"}},
	}
}

// ruling is a daemon that has something to say to a license administrator.
func ruling(m *machine) *daemon {
	d := m.daemon()
	v := capability.Version{Major: 2026, Minor: 1}
	m.put("pools.model", []byte(poolsModel))
	m.put("reservations.json", []byte(`{"reservations": [{"group": "g", "hostId": {"type": "user", "value": "j.ortiz"}, "feature": "render", "version": "2026.1", "count": 2}]}`))
	d.says("GET model", console.Model{Name: "pools", Text: poolsModel})
	d.says("DELETE model", console.Model{Name: "pools", Text: poolsModel})
	d.says("POST model/check", checked())
	d.says("PUT model", checked())
	rows := []console.Reserved{
		{ID: 3, Reservation: 2, GroupID: 1, Group: "design", Host: console.Host{Type: "ETHERNET", Value: "001122334455"}, Feature: "render", Version: v, Count: 2, Status: "satisfied", Has: 2, Used: 1},
		{ID: 5, Reservation: 4, GroupID: 1, Group: "design", Host: console.Host{Type: "USER", Value: "j.ortiz"}, Feature: "render", Version: v, Count: 90, Status: "unsatisfied"},
	}
	for _, what := range []string{"GET reservations", "POST reservations", "PUT reservations", "POST reservations/edit", "DELETE reservations/5"} {
		d.says(what, rows)
	}
	d.says("GET reservations/model", console.Model{Name: "reservations as pools", Text: poolsModel})
	d.says("GET pools", []console.Pool{
		{Pool: "default", Feature: "render", Version: v, ActivationID: activationID(1), Count: 12, Computed: 12, Used: 12, Status: "valid"},
		checked().After[0],
		{Pool: "default", Feature: "viewer", Version: v, ActivationID: activationID(2), Used: 700, Uncounted: true, Status: "valid"},
	})
	d.says("GET policies", []console.Setting{
		{Name: "borrow-maximum", Value: "28800", Owner: "administrator", Changed: true, KnownAs: "licensing.borrowIntervalMax"},
		{Name: "lease-interval", Value: "900", Default: "900", Owner: "producer", KnownAs: "licensing.borrowInterval"},
	})
	d.says("POST policies", console.Setting{Name: "borrow-maximum", Value: "28800", Owner: "administrator", Changed: true})
	d.says("GET seats", console.Seats{
		Held: []console.Seat{
			{Host: "AA/DEVICE_KEY", Alias: "WS-114", User: "j.ortiz", Feature: "render", Version: v, Count: 2, Pool: "design", Idle: 11520, Expiry: 1795248900},
			{Host: "BB/DEVICE_KEY", Feature: "render", Version: v, Count: 1, Pool: "default", Expiry: 1795248900, Dropped: true},
		},
		Waiting: []console.Waiting{{Feature: "render", Position: 1, Host: "CC/DEVICE_KEY", Name: "WS-9", Count: 1}},
	})
	d.says("POST seats/disconnect", console.Disconnected{Dropped: []console.Dropped{{Host: "AA/DEVICE_KEY", Feature: "render"}}})
	return d
}

// What an administrator of pools and reservations sees. The files show each schema whole.
func TestRulesGolden(t *testing.T) {
	m := newMachine(t)
	ruling(m)
	for _, row := range []struct{ schema, args string }{
		{"model", "model show"}, {"model-check", "model check pools.model --against live"}, {"model-upload", "model upload pools.model"}, {"model-delete", "model delete"},
		{"reservations", "reservations list"}, {"reservations-export", "reservations export"}, {"pools", "pools"}, {"policies", "policies"}, {"seats", "seats"},
		{"disconnect", "seats render --idle 2h --disconnect"},
	} {
		m.prints(row.schema, row.args, 0)
	}
}

// What is typed is what the daemon is asked.
func TestRulesAsk(t *testing.T) {
	m := newMachine(t)
	d := ruling(m)
	ask := func(args string, status int) string {
		t.Helper()
		got, out, stderr := m.run(strings.Fields(args)...)
		if got != status {
			t.Errorf("%s: exit status %d\n%s%s", args, got, out, stderr)
		}
		return out + stderr
	}
	var row console.Reserved
	ask("reservations add render:2026.1 2 --host 001122334455/ethernet --group design", 0)
	d.asked(t, "POST reservations", &row)
	if want := (console.Reserved{Group: "design", Host: console.Host{Type: "ETHERNET", Value: "001122334455"}, Feature: "render", Version: capability.Version{Major: 2026, Minor: 1}, Count: 2}); row != want {
		t.Errorf("%+v", row)
	}
	ask("reservations add render 3 --user j.ortiz", 0)
	d.asked(t, "POST reservations", &row)
	if row.Host.Type != "USER" || row.Host.Value != "j.ortiz" || row.Group != "reservations" || row.Count != 3 {
		t.Errorf("%+v", row)
	}
	for args, want := range map[string]string{
		"5 4":                                `{"id":5,"count":4}`,
		"5 --version 2027.1":                 `{"id":5,"version":"2027.1"}`,
		"5 4 --feature export --user m.chen": `{"id":5,"hostId":{"type":"USER","value":"m.chen"},"feature":"export","count":4}`,
		"2 --host 001122334455/ethernet":     `{"id":2,"hostId":{"type":"ETHERNET","value":"001122334455"}}`,
		"1 --group workshop":                 `{"id":1,"group":"workshop"}`,
	} {
		ask("reservations edit "+args, 0)
		var body json.RawMessage
		if d.asked(t, "POST reservations/edit", &body); strings.TrimSpace(string(body)) != want {
			t.Errorf("%s: %s", args, body)
		}
	}
	if out := ask("reservations delete 5", 0); !strings.Contains(out, "warning: entry 5 asks for more than there is") {
		t.Error(out)
	}
	var rows []console.Reserved
	ask("reservations import reservations.json", 0)
	if d.asked(t, "PUT reservations", &rows); len(rows) != 1 || rows[0].Host.Type != "USER" || rows[0].Count != 2 {
		t.Errorf("%+v", rows)
	}
	if out := ask("reservations export --model", 0); out != poolsModel {
		t.Error(out)
	}
	var setting console.SettingForm
	ask("policies set borrow-maximum 8h", 0)
	if d.asked(t, "POST policies", &setting); setting != (console.SettingForm{Name: "borrow-maximum", Value: "8h"}) {
		t.Errorf("%+v", setting)
	}
	var after console.Disconnect
	ask("seats --idle 90m --disconnect", 0)
	if d.asked(t, "POST seats/disconnect", &after); after != (console.Disconnect{After: 5400}) {
		t.Errorf("%+v", after)
	}
	// What an export writes, an import reads.
	out := ask("reservations export", 0)
	m.put("again.json", []byte(out))
	ask("reservations import again.json", 0)
	d.asked(t, "PUT reservations", &rows)
	if !slices.Equal([]string{rows[0].Feature, rows[1].Host.Value}, []string{"render", "j.ortiz"}) || rows[0].ID != 0 {
		t.Errorf("%+v", rows)
	}
}

// A model that would be refused has the status of its refusal, and each misuse is told before the daemon is asked.
func TestRulesRefused(t *testing.T) {
	m := newMachine(t)
	d := ruling(m)
	no := capability.Refuse(capability.ErrModelInForce, "pools", "delete the model first")
	d.does("POST reservations", func([]byte) (any, *capability.Refusal) { return nil, no })
	bad := checked()
	bad.Refused, bad.Findings[0].Refused = true, true
	d.says("POST model/check", bad)
	d.does("POST policies", func([]byte) (any, *capability.Refusal) {
		return nil, capability.Refuse(capability.ErrLocked, "lease-interval", "it is 900")
	})
	m.put("bad.json", []byte(`{"reservations": [{"group": "g", "hostId": {"type": "STRING", "value": "d"}, "feature": "f", "version": "6.1.3", "count": 1}]}`))
	m.put("zero.json", []byte(`{"reservations": [{"group": "g", "hostId": {"type": "STRING", "value": "d"}, "feature": "f", "version": "1.0", "count": 0}]}`))
	m.put("large.json", []byte(strings.Repeat(" ", capability.MaxFile+1)))
	for _, row := range []struct {
		args   string
		status int
		code   capability.Code
		says   string
	}{
		{"reservations add render 2 --user x", 13, capability.ErrModelInForce, "delete the model first"},
		{"reservations add render 2", 2, capability.ErrUsage, "host user"},
		{"reservations add render 2 --user x --host y", 2, capability.ErrUsage, ""},
		{"reservations add render 0 --user x", 2, capability.ErrUsage, ""},
		{"reservations add render -- -1", 2, capability.ErrUsage, ""},
		{"reservations add render 9223372036854775808 --user x", 2, capability.ErrUsage, "9223372036854775808 where 1 to 1073741824"},
		{"reservations add render:6.1.3 1 --user x", 2, capability.ErrUsage, "6.1.3"},
		{"reservations add render 1 --host x/y", 2, capability.ErrUsage, ""},
		{"reservations edit x 1", 2, capability.ErrUsage, ""},
		{"reservations edit 0 1", 2, capability.ErrUsage, ""},
		{"reservations edit 1 x", 2, capability.ErrUsage, ""},
		{"reservations edit 1", 2, capability.ErrUsage, "what shall be different of 1?"},
		{"reservations edit 1 0", 2, capability.ErrUsage, "want a whole number from 1"},
		{"reservations edit 1 --version 6.1.3", 2, capability.ErrUsage, "6.1.3"},
		{"reservations edit 1 --host x/y", 2, capability.ErrUsage, ""},
		{"reservations edit 1 --host=", 2, capability.ErrUsage, ""},
		{"reservations edit 1 --user x --host y/STRING", 2, capability.ErrUsage, ""},
		{"reservations delete 1.5", 2, capability.ErrUsage, ""},
		{"reservations import none", 1, capability.ErrFileRead, ""},
		{"reservations import bad.json", 2, capability.ErrImport, "reservations[0].version: \"6.1.3\""},
		{"reservations import zero.json", 2, capability.ErrImport, "reservations[0].count: 0 where 1 to"},
		{"reservations import large.json", 2, capability.ErrImport, "more than 1048576 bytes"},
		{"model check pools.model --against live", 2, capability.ErrModel, "pools.model:2:38: "},
		{"policies set lease-interval 60", 13, capability.ErrLocked, "lease-interval"},
		{"policies set lease-interval", 2, capability.ErrUsage, ""},
		{"seats --disconnect", 2, capability.ErrUsage, "--idle"},
		{"seats --idle=-1s", 2, capability.ErrUsage, ""},
		{"seats --idle 1ms", 2, capability.ErrUsage, ""},
		{"devices drop x/y render", 2, capability.ErrUsage, ""},
		{"devices drop AA/DEVICE_KEY", 2, capability.ErrUsage, ""},
	} {
		status, _, stderr := m.run(strings.Fields(row.args)...)
		if status != row.status || !strings.Contains(stderr, row.says) {
			t.Errorf("%s: exit status %d where %d is wanted, and %q\n%s", row.args, status, row.status, row.says, stderr)
		}
		fourLines(t, row.args, stderr, row.code)
	}
}
