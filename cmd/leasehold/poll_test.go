package main

import (
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

// asking is a daemon that has had an exchange.
func asking(m *machine, last *console.Outcome) *daemon {
	d := m.daemon()
	s := console.Polling{URL: "https://office.example:7443", Running: true, Every: 28800, Reached: 1795248000, Next: 1795276800, Done: 4}
	d.says("POST poll/refresh", s)
	s.Done, s.Last = 5, last
	d.says("GET poll", s)
	return d
}

func applied() *console.Outcome {
	return &console.Outcome{Number: 13, At: 1795248000, Imported: &console.Imported{Code: capability.Applied, Serial: 13, Changes: []console.Change{{Feature: "render", Before: 30, After: 40}}},
		Lines: []console.Asked{{Desired: capability.Desired{ActivationID: activationID(1), Count: 40}}}}
}

// What an exchange that somebody asked for changed is shown as what a file changed is.
func TestRefreshGolden(t *testing.T) {
	m := newMachine(t)
	d := asking(m, applied())
	m.prints("refresh", "refresh --id "+string(activationID(1))+" --count 40", 0)
	var w console.Wish
	if d.asked(t, "POST poll/refresh", &w); len(w.Desired) != 1 || w.Desired[0].ActivationID != activationID(1) || w.Desired[0].Count != 40 {
		t.Errorf("%+v", w)
	}
}

// The exit status is that of the refusal: of the exchange, or of the first activation ID that was refused.
func TestRefreshRefused(t *testing.T) {
	no := func(c capability.Code) *console.Problem {
		return console.ProblemOf(capability.Refuse(c, string(activationID(2)), "said"))
	}
	refused := applied()
	refused.Lines = append(refused.Lines, console.Asked{Desired: capability.Desired{ActivationID: activationID(2), Count: 1}, Problem: no(capability.ErrTooFew)})
	refused.Imported.Denials = []capability.Denial{refused.Lines[1].Problem.Denial}
	for _, test := range []struct {
		last   *console.Outcome
		status int
		code   capability.Code
		says   string
	}{
		{&console.Outcome{Problem: no(capability.ErrOfficeUnreachable)}, capability.ExitTemporary, capability.ErrOfficeUnreachable, ""},
		{&console.Outcome{Problem: no(capability.ErrOfficeCertificate)}, capability.ExitFile, capability.ErrOfficeCertificate, ""},
		{&console.Outcome{Problem: no(capability.ErrOperator)}, capability.ExitPolicy, capability.ErrOperator, ""},
		{refused, capability.ExitNoSeat, capability.ErrTooFew, "copies here, as asked\n"},
	} {
		m := newMachine(t)
		asking(m, test.last)
		status, out, stderr := m.run("refresh")
		if status != test.status || !strings.Contains(stderr, "error: "+test.code.String()) || !strings.Contains(out, test.says) || strings.Count(out, string(activationID(2))) > 1 {
			t.Errorf("%s: %d\n%s%s", test.code, status, out, stderr)
		}
	}
}

// What is told at the end is that of this exchange, and nothing of the one before.
func TestRefreshAfterAFailure(t *testing.T) {
	m := newMachine(t)
	d := asking(m, applied())
	d.says("POST poll/refresh", console.Polling{Running: true, Tries: 3, Done: 4, Last: &console.Outcome{Number: 12, Problem: console.ProblemOf(capability.Refuse(capability.ErrOfficeUnreachable, "", "said"))}})
	if status, out, stderr := m.run("refresh"); status != 0 || !strings.Contains(out, "response 13 applied") || strings.Contains(out+stderr, capability.ErrOfficeUnreachable.String()) {
		t.Errorf("%d\n%s%s", status, out, stderr)
	}
	if status, out, _ := m.run("refresh", "--json"); status != 0 || strings.Contains(out, capability.ErrOfficeUnreachable.String()) || !strings.Contains(out, `"tries": 0`) {
		t.Errorf("%d\n%s", status, out)
	}
}

// Where the program that polls has stopped meanwhile, nobody waits for it for ever.
func TestRefreshWhilePollingStops(t *testing.T) {
	m := newMachine(t)
	d := asking(m, nil)
	d.says("GET poll", console.Polling{Done: 4, Last: applied()})
	if status, _, stderr := m.run("refresh"); status != capability.ExitPolicy || !strings.Contains(stderr, "error: "+capability.ErrNotPolled.String()) {
		t.Errorf("%d\n%s", status, stderr)
	}
}

// Status says when the back office was reached, since when not, and when it is asked next.
func TestPollingWords(t *testing.T) {
	const at = 1795248000 // 2026-11-21T08:00:00Z
	for _, test := range []struct {
		s     console.Polling
		words string
	}{
		{console.Polling{Running: true, Next: at}, "no exchange yet; next try 2026-11-21T08:00:00Z"},
		{console.Polling{Running: true, Reached: at - 3600, Next: at}, "last exchange 2026-11-21 07:00Z; next try 2026-11-21T08:00:00Z"},
		{console.Polling{Running: true}, "no exchange yet; being asked now"},
		{console.Polling{Running: true, Since: at, Tries: 1, Next: at + 60}, "no exchange yet; not reached since 2026-11-21T08:00:00Z (1 try); next try 2026-11-21T08:01:00Z"},
		{console.Polling{Running: true, Reached: at - 3600, Since: at, Tries: 74, Next: at + 60,
			Last: &console.Outcome{Problem: console.ProblemOf(capability.Refuse(capability.ErrOfficeUnreachable, "", "refused"))}},
			"last exchange 2026-11-21 07:00Z; not reached since 2026-11-21T08:00:00Z (74 tries); next try 2026-11-21T08:01:00Z"},
		{console.Polling{Reached: at - 3600}, "last exchange 2026-11-21 07:00Z; nothing asks it"},
	} {
		if got := pollingWords(&test.s); got != test.words {
			t.Errorf("got  %s\nwant %s", got, test.words)
		}
	}
}
