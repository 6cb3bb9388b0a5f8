package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// The clock as administrators see it, and what they may say about it.
func TestTime(t *testing.T) {
	var system atomic.Int64
	system.Store(start + 60)
	call, vault := runningBy(t, func() time.Time { return time.Unix(system.Load(), 0) })
	shows := func(body string, want Clock) {
		t.Helper()
		var got Clock
		if err := json.Unmarshal([]byte(body), &got); err != nil || got != want {
			t.Errorf("%s (%v), and %+v is wanted", body, err, want)
		}
	}
	is := func(want Clock) {
		t.Helper()
		status, _, body := call("GET", Base+"time", "")
		if status != http.StatusOK {
			t.Fatal(status, body)
		}
		shows(body, want)
		var h Health
		if _, _, body := call("GET", Base+"health", ""); json.Unmarshal([]byte(body), &h) != nil || h.Clock == nil || *h.Clock != want || h.Now != want.Trusted {
			t.Errorf("health: %s", body)
		}
	}
	is(Clock{State: "trusted", Trusted: start + 60, System: start + 60})
	const weekend = 60 * 3600
	system.Add(weekend)
	is(Clock{State: "ahead", Trusted: start + 60, System: start + 60 + weekend, Behind: -weekend})

	for _, c := range []struct {
		body   string
		status int
		code   capability.Code
	}{
		{"{", http.StatusBadRequest, capability.ErrForm},
		{`{"time": -1}`, http.StatusBadRequest, capability.ErrForm},
		{`{"time": 253402300800}`, http.StatusBadRequest, capability.ErrForm},
		{`{"times": 5}`, http.StatusBadRequest, capability.ErrForm},
		{`{"time": 86400}`, http.StatusUnprocessableEntity, capability.ErrTime},
	} {
		if status, p, body := call("POST", Base+"time", c.body); status != c.status || p.Code != c.code {
			t.Errorf("%s: %d %s", c.body, status, body)
		}
	}
	// Zero says that the system clock is right.
	status, _, body := call("POST", Base+"time", `{"time": 0}`)
	if e := vault.last(); status != http.StatusOK || e.Stated == nil || e.Stated.Time != start+60+weekend || e.Stated.By == "" {
		t.Fatal(status, body, e)
	}
	shows(body, Clock{State: "trusted", Trusted: start + 60 + weekend, System: start + 60 + weekend})
	system.Store(100)
	is(Clock{State: "held", Trusted: start + 60 + weekend, System: 100, Behind: start - 40 + weekend})
	_, _, body = call("POST", Base+"time", fmt.Sprintf(`{"time": %d}`, start+70+weekend))
	shows(body, Clock{State: "trusted", Trusted: start + 70 + weekend, System: 100, Correction: start - 30 + weekend})
	is(Clock{State: "trusted", Trusted: start + 70 + weekend, System: 100, Correction: start - 30 + weekend})
}
