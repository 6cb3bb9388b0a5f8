package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// told is a console of a machine in service, and who may tell what it shows.
func told(t *testing.T, tells func(Peer) bool) func(method, path, body string) (int, Problem, string) {
	t.Helper()
	l := ledger.New()
	d, err := l.Decide(ledger.At(0, start), ledger.Provision{Digest: capability.Digest{1}, Response: capability.Response{
		Version: capability.Protocol, For: hostid.ID{Type: hostid.String, Value: "appliance"}, Serial: 1, Time: start, Policy: capability.Policy{Binding: hostid.RuleSecondaries, Grace: 3600},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range d.Entries {
		if err := l.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := started(t, l, 0, noon)
	a.WantsEventLog = true
	return serve(t, &Console{Appliance: a, Host: hostid.ID{Type: hostid.String, Value: "appliance"}, Allowed: func(Peer) bool { return true }, Tells: tells})
}

func machineJSON(t *testing.T, findings ...hostid.Finding) string {
	t.Helper()
	b, err := json.Marshal(hostid.Machine{Findings: findings, Virtual: "kvm"})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func finding(typ hostid.Type, value, flaw string) hostid.Finding {
	return hostid.Finding{ID: hostid.ID{Type: typ, Value: value}, Strength: hostid.Firm, Source: "test", Flaw: flaw}
}

// A probe tells, everybody on the socket sees what came of it, and an administrator plans a change.
func TestHostids(t *testing.T) {
	call := told(t, func(p Peer) bool { return true })
	see := func(method, path, body string) Machine {
		t.Helper()
		status, _, b := call(method, Base+path, body)
		if status != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, status, b)
		}
		return read[Machine](t, b)
	}
	if status, p, _ := call("POST", Base+"hostids/planned", ""); status != http.StatusForbidden || p.Code != capability.ErrPlanned {
		t.Errorf("planned while a grace runs: %d %s", status, p.Code)
	}
	m := see("GET", "hostids", "")
	if m.Outcome != "grace" || m.Grace == 0 || m.At != 0 || len(m.IDs) != 1 || m.Rule != "secondaries" || m.Alarms == nil || m.Gone == nil {
		t.Errorf("before anyone has told: %+v", m)
	}
	board, card, disk, dock := finding(hostid.BoardUUID, "B1", ""), finding(hostid.Ethernet, "02AA", ""), finding(hostid.Disk, "S1", ""), finding(hostid.Ethernet, "02CC", "USB network adapter")
	m = see("PUT", "hostids", machineJSON(t, board, card, disk, dock))
	if m.Outcome != "same" || m.Grace != 0 || m.Score != 5 || m.Of != 5 || m.At == 0 || m.Platform.Virtual != "kvm" || m.Platform.Container != capability.Bare || len(m.IDs) != 5 || m.Requested {
		t.Errorf("told: %+v", m)
	}
	if id := m.IDs[4]; id.Counts || id.Bound || id.Flaw != "USB network adapter" || id.Strength != "firm" || id.Source != "test" {
		t.Errorf("the dock: %+v", id)
	}
	if id := m.IDs[1]; !id.Counts || !id.Bound || id.Host != (Host{"BOARD_UUID", "B1"}) {
		t.Errorf("the board: %+v", id)
	}
	if m = see("POST", "hostids/planned", ""); m.Planned == 0 || m.By != by() {
		t.Errorf("planned: %+v", m)
	}
	if m = see("PUT", "hostids", machineJSON(t, disk, dock)); m.Outcome != "drifted" || !m.Frozen || m.Score != 1 || len(m.Gone) != 2 || len(m.Changes) != 2 {
		t.Errorf("changed as planned: %+v", m)
	}
	var h Health
	if _, _, b := call("GET", Base+"health", ""); json.Unmarshal([]byte(b), &h) != nil || h.Binding.Outcome != "drifted" || len(h.Alarms) != 1 || h.Alarms[0].Code != capability.Recognized || h.State != "serving" {
		t.Errorf("health: %s", b)
	}
	// Without a TPM nothing of it is left: broken, and health says so.
	if m = see("PUT", "hostids", machineJSON(t, finding(hostid.Disk, "S9", ""))); m.Outcome != "drifted" || m.Again <= 0 || m.Again > 3000 {
		t.Errorf("one look: %+v", m)
	}
	for range 20 {
		if m = see("PUT", "hostids", machineJSON(t, finding(hostid.Disk, "S9", ""))); m.Again == 0 {
			break
		}
	}
	if m.Outcome != "broken" {
		t.Errorf("another machine: %+v", m)
	}
	if _, p, b := call("GET", Base+"health", ""); json.Unmarshal([]byte(b), &h) != nil || h.State != "refusing" || h.Condition == nil || h.Condition.Code != capability.ErrBinding || p.Code != 0 {
		t.Errorf("health: %s", b)
	}
}

// Only root tells, and what it tells has a form and a size.
func TestWhoTells(t *testing.T) {
	good := machineJSON(t, finding(hostid.BoardUUID, "B1", ""))
	for name, tells := range map[string]func(Peer) bool{"nobody": nil, "another": func(Peer) bool { return false }} {
		for path, body := range map[string]string{"hostids": good, "hostids/eventlog": "log"} {
			if status, p, _ := told(t, tells)("PUT", Base+path, body); status != http.StatusForbidden || p.Code != capability.ErrForbidden {
				t.Errorf("%s, %s: %d %s", name, path, status, p.Code)
			}
		}
	}
	call := told(t, func(p Peer) bool { return p.UID >= 0 })
	many := make([]hostid.Finding, MaxFindings+1)
	for i := range many {
		many[i] = finding(hostid.Ethernet, fmt.Sprint(i), "")
	}
	long := strings.Repeat("x", maxToldWords)
	for name, body := range map[string]string{
		"nothing": "", "no JSON": "{", "a list": "[]", "an unknown key": `{"findings":[],"user":"ana"}`, "a key twice": `{"findings":[],"findings":[]}`,
		"an unknown strength": `{"findings":[{"id":{"type":3,"value":"a"},"strength":"iron"}]}`, "too many": machineJSON(t, many...),
		"a long value": machineJSON(t, finding(hostid.Disk, long+"x", "")), "a long flaw": machineJSON(t, finding(hostid.Disk, "S", long+"x")),
		"too large": machineJSON(t, finding(hostid.Disk, strings.Repeat("x", maxTold), "")),
	} {
		if status, p, b := call("PUT", Base+"hostids", body); status != http.StatusBadRequest || p.Code != capability.ErrForm {
			t.Errorf("%s: %d %s", name, status, b[:min(len(b), 200)])
		}
	}
	// The most that is allowed, and what no ID can be, are told all the same; nothing of the latter counts.
	if status, _, b := call("PUT", Base+"hostids", machineJSON(t, append(many[:MaxFindings-2:MaxFindings-2], finding(hostid.Disk, "S", long), finding(hostid.Disk, "a\x1b[2J", ""))...)); status != http.StatusOK {
		t.Errorf("%d %s", status, b)
	} else if m := read[Machine](t, b); len(m.IDs) != MaxFindings+1 || m.IDs[len(m.IDs)-1].Counts {
		t.Errorf("%d IDs, the last %+v", len(m.IDs), m.IDs[len(m.IDs)-1])
	}
}

// The firmware's log is asked for until it is told, at most as long as evidence carries it.
func TestEventLogIsTold(t *testing.T) {
	call := told(t, func(Peer) bool { return true })
	for _, c := range []struct {
		log    string
		status int
		lacks  bool
	}{
		{"", http.StatusOK, true},
		{strings.Repeat("x", attest.MaxEventLogBytes+1), http.StatusUnprocessableEntity, true},
		{"log", http.StatusOK, false},
		{strings.Repeat("x", attest.MaxEventLogBytes), http.StatusOK, false},
		{"", http.StatusOK, true}, // the next boot has none
	} {
		status, _, b := call("PUT", Base+"hostids/eventlog", c.log)
		if _, _, seen := call("GET", Base+"hostids", ""); status != c.status || read[Machine](t, seen).LacksLog != c.lacks {
			t.Errorf("%d bytes: %d %s; lacks one: %t", len(c.log), status, b[:min(len(b), 200)], !c.lacks)
		}
	}
}
