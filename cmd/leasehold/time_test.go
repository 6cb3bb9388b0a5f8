package main

import (
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

// What an administrator is told of the clock, and what he is asked for a time that he could not take back.
func TestTime(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	const now capability.Time = 1795248000
	d.says("GET time", console.Clock{State: "ahead", Trusted: now, System: now + 216000, Behind: -216000})
	d.says("POST time", console.Clock{State: "trusted", Trusted: now, System: 86400, Correction: capability.Seconds(now - 86400)})
	m.prints("time", "time", 0)

	for _, row := range []struct {
		args   string
		status int
		want   capability.Time // that the daemon is asked to believe; negative: it is not asked
	}{
		{"time set now", 0, 0},
		{"time set 2026-11-21T08:00:00Z", 0, now},
		{"time set 2026-11-21T09:00:00+01:00", 0, now},
		{"time set 2027-11-22T07:59:59Z", 0, now + 366*86400 - 1},
		{"time set 2027-11-22T08:00:01Z", 2, -1},
		{"time set 2027-11-22T08:00:01Z --far", 0, now + 366*86400 + 1},
		{"time set yesterday", 2, -1},
		{"time set 1960-01-01T00:00:00Z", 2, -1},
		{"time set", 2, -1},
	} {
		asked := console.ClockForm{Time: -1}
		d.mu.Lock()
		d.bodies["POST time"] = []byte(`{"time":-1}`)
		d.mu.Unlock()
		status, _, stderr := m.run(strings.Fields(row.args)...)
		if d.asked(t, "POST time", &asked); status != row.status || asked.Time != row.want {
			t.Errorf("%s: exit status %d, asked for %d\n%s", row.args, status, asked.Time, stderr)
		}
	}
	d.says("GET time", console.Clock{State: "held", Trusted: now, System: now + 400*86400})
	if status, _, stderr := m.run("time", "set", "now"); status != 2 || !strings.Contains(stderr, "--far") {
		t.Error(status, stderr)
	}
	d.does("POST time", func([]byte) (any, *capability.Refusal) {
		return nil, capability.Refuse(capability.ErrTime, "", "1970-01-02T00:00:00Z was stated, and it is at least %s", now)
	})
	status, _, stderr := m.run("time", "set", "1970-01-02T00:00:00Z")
	if status != 2 {
		t.Error(status)
	}
	fourLines(t, "a time below the trusted one", stderr, capability.ErrTime)

	// Status says what to do, for each state.
	for state, want := range map[string]string{"held": "leasehold time set TIME", "ahead": "leasehold time set now", "behind": "1h0m0s behind the trusted time", "trusted": ""} {
		d.says("GET health", console.Health{Version: "development", Host: here(), State: "serving", Clock: &console.Clock{State: state, Trusted: now, System: now - 3600, Behind: 3600}})
		_, out, _ := m.run("status")
		if strings.Contains(out, "# Health:") != (want != "") || !strings.Contains(out, want) {
			t.Errorf("%s: %s", state, out)
		}
	}
}
