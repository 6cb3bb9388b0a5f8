package console

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Severity says what a condition costs.
type Severity string

// The severities, the worst first.
const (
	Stops   Severity = "stops"   // nothing new is served
	Warning Severity = "warning" // something is to be done, or will cost something later
	Note    Severity = "note"    // good to know
)

// Condition is something about an appliance that somebody should know.
type Condition struct {
	Code      capability.Code   `json:"code"`
	Severity  Severity          `json:"severity"`
	Title     string            `json:"title"`
	Text      string            `json:"text,omitempty"` // of this case
	Next      string            `json:"next"`           // what to do
	DependsOn []capability.Code `json:"dependsOn,omitempty"`
}

// condition is a line of the table: how a condition is seen in a Health, and which others bring it about. Where one of those is there, it is not told: who mends that one mends both.
type condition struct {
	severity  Severity
	dependsOn []capability.Code
	find      func(h *Health) []found
}

// found is one case of a condition.
type found struct {
	code capability.Code
	text string
}

// when is a condition of one code that is there or not.
func when(code capability.Code, is func(h *Health) (text string, there bool)) func(h *Health) []found {
	return func(h *Health) []found {
		if text, there := is(h); there {
			return []found{{code, text}}
		}
		return nil
	}
}

// ofProblem is what an answer said, in what it said beyond the title of its code.
func ofProblem(p *Problem) found {
	return found{p.Code, strings.TrimLeft(strings.TrimPrefix(p.Text, p.Code.Entry().Title), ": ")}
}

// endsSoon is how long before its end a certificate of the site's is spoken of: it is made by people.
const endsSoon = 30 * 24 * time.Hour

// made is before this program was: a clock that says less has lost its time.
const made = capability.Time(1767225600) // 2026-01-01

// unusable are the conditions of a trusted storage that cannot be used: nothing else that is seen of the appliance then means anything.
func unusable() []capability.Code {
	return []capability.Code{capability.ErrRollback, capability.ErrCorrupt, capability.ErrSealed, capability.ErrCounter, capability.ErrTPMCleared, capability.ErrStorageGone, capability.ErrImageOlder}
}

// conditionTable is every condition that is told: screens, programs and metrics have it from here.
func conditionTable() []condition {
	return []condition{
		{Stops, nil, func(h *Health) []found {
			if h.Condition == nil {
				return nil
			}
			return []found{ofProblem(h.Condition)}
		}},
		{Stops, unusable(), when(capability.ErrNotProvisioned, func(h *Health) (string, bool) { return "", h.State == "not activated" })},
		{Stops, unusable(), when(capability.ErrHold, func(h *Health) (string, bool) {
			return fmt.Sprintf("until %s leases are renewed, and nothing new is granted", h.HoldUntil), h.State == "holding"
		})},
		{Warning, unusable(), when(capability.ErrClock, func(h *Health) (string, bool) {
			if h.Clock == nil {
				return "", false
			}
			until := "nothing with a start or an expiry is served"
			if h.Clock.State == "ahead" {
				until = "nothing is served that has expired by either, and nothing starts"
			}
			return fmt.Sprintf("it says %s, and the trusted time is %s: %s", h.Clock.System, h.Clock.Trusted, until), h.Clock.State == "held" || h.Clock.State == "ahead"
		})},
		{Warning, nil, when(capability.ErrClock, func(h *Health) (string, bool) {
			if h.Clock == nil || h.Clock.System >= made || h.Clock.Trusted >= made {
				return "", false
			}
			return fmt.Sprintf("it says %s, and nothing signed has said better yet: set it", h.Clock.System), true
		})},
		{Warning, nil, when(capability.ErrStorageFull, func(h *Health) (string, bool) {
			return h.Short + ": the next start may find no room", h.Short != ""
		})},
		{Warning, append(unusable(), capability.ErrNotProvisioned), when(capability.ErrBinding, func(h *Health) (string, bool) {
			return fmt.Sprintf("what the producer asks for is missing, and from %s on nothing is served: %s", h.Binding.Grace, strings.Join(h.Binding.Changes, "; ")), h.Binding.Outcome == hostid.Grace.String()
		})},
		{Warning, append(unusable(), capability.ErrNotProvisioned), when(capability.ChangePlanned, func(h *Health) (string, bool) {
			return fmt.Sprintf("from %s on what is missing counts: %s", h.Binding.Planned, strings.Join(h.Binding.Changes, "; ")), h.Binding.Frozen
		})},
		{Warning, nil, func(h *Health) (all []found) {
			if n := h.NotGiven; n != nil {
				all = append(all, found{n.Code, fmt.Sprintf("request %d, %s: %s", n.Number, n.Time, n.Reason)})
			}
			for _, d := range h.Refused {
				all = append(all, found{d.Code, strings.TrimSpace(d.Subject + " " + d.Detail)})
			}
			for _, b := range h.TakenBack {
				end := "what is lent of them has not ended yet"
				if b.Settled {
					end = "the next request shows that they are gone"
				}
				all = append(all, found{b.Code, fmt.Sprintf("%s of %s; %s", capability.Counted(b.Copies, "copy"), b.ActivationID, end)})
			}
			for _, a := range h.Alarms {
				all = append(all, found{a.Code, strings.TrimSpace(fmt.Sprintf("%s %s, the last at %s; the next request says so", a.Subject, capability.Counted(a.Count, "time"), a.Last))})
			}
			return all
		}},
		{Warning, nil, when(capability.ErrUpdateFailed, func(h *Health) (string, bool) {
			if h.Left == nil {
				return "", false
			}
			return fmt.Sprintf("it is %s, and %s runs again", h.Left.Version, h.Left.Runs), true
		})},
		{Warning, append(unusable(), capability.ErrNotProvisioned), when(capability.RecoveryOpen, func(h *Health) (string, bool) { return "", h.NoPaper })},
		{Warning, nil, when(capability.ErrNotPolled, func(h *Health) (string, bool) { return "", h.Polling != nil && !h.Polling.Running })},
		{Warning, []capability.Code{capability.ErrNotPolled}, func(h *Health) []found {
			switch p := h.Polling; {
			case p == nil:
				return nil
			case p.Last != nil && p.Last.Problem != nil:
				return []found{ofProblem(p.Last.Problem)}
			case p.Since != 0:
				return []found{{capability.ErrOfficeUnreachable, fmt.Sprintf("%s, since %s, %s", p.URL, p.Since, capability.Counted(p.Tries, "try"))}}
			}
			return nil
		}},
		{Warning, nil, when(capability.ErrCertificateLost, func(h *Health) (string, bool) {
			if h.Certificate == nil {
				return "", false
			}
			return h.Certificate.Lost, h.Certificate.Lost != ""
		})},
		{Warning, []capability.Code{capability.ErrClock, capability.ErrCertificateLost}, when(capability.ErrCertificateEnds, func(h *Health) (string, bool) {
			if h.Certificate == nil {
				return "", false
			}
			return "on " + h.Certificate.Until.Std().Format(time.DateOnly), h.Certificate.Site && h.Certificate.Until.Std().Sub(h.Now.Std()) < endsSoon
		})},
		{Note, []capability.Code{capability.ErrClock}, when(capability.ClockJudged, func(h *Health) (string, bool) {
			if h.Clock == nil {
				return "", false
			}
			if h.Clock.State == "behind" {
				return fmt.Sprintf("the system clock is %s behind the trusted time, which goes on without it: set it", h.Clock.Behind), true
			}
			return "the stated time counts until the daemon starts again: set the system clock before", h.Clock.Correction != 0
		})},
		{Note, append(unusable(), capability.ErrNotProvisioned), when(capability.Recognized, func(h *Health) (string, bool) {
			return strings.Join(h.Binding.Changes, "; "), h.Binding.Outcome == hostid.Drifted.String() && !h.Binding.Frozen && len(h.Binding.Changes) > 0
		})},
		{Note, nil, when(capability.ReturnMade, func(h *Health) (string, bool) {
			return capability.Counted(len(h.Returns), "return") + " not yet credited by the back office", len(h.Returns) > 0
		})},
	}
}

// Conditions are those of an appliance, the worst first, without those that follow from another one.
func Conditions(h *Health) []Condition {
	all := []Condition{}
	there := map[capability.Code]bool{}
	for _, c := range conditionTable() {
		for _, f := range c.find(h) {
			there[f.code] = true
			e := f.code.Entry()
			all = append(all, Condition{f.code, c.severity, e.Title, f.text, e.Next, c.dependsOn})
		}
	}
	return slices.DeleteFunc(all, func(c Condition) bool {
		return slices.ContainsFunc(c.DependsOn, func(cause capability.Code) bool { return there[cause] && cause != c.Code })
	})
}

// Words are a condition in one line: its code, what it is, and what to do.
func (c *Condition) Words() string {
	what := c.Code.String() + " " + c.Title
	if c.Text != "" {
		what += ": " + c.Text
	}
	return what + "; next: " + c.Next
}
