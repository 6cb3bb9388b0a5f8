package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

// scrape is what a monitoring program is told, without comments and without what counts buckets.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return regexp.MustCompile(`(?m)^(#.*|.*_bucket.*)\n`).ReplaceAllString(w.Body.String(), "")
}

// TestMetrics: the names and labels are a promise to whoever has made a board of them.
func TestMetrics(t *testing.T) {
	figures := &console.Figures{
		Features: map[string]bool{"render": true, "export": true},
		Seats: []console.PoolSeats{
			{Feature: "render", Reserved: 3, Idle: 2}, {Feature: "render", Pool: "default", Total: 50, Used: 43}, {Feature: "render", Pool: "reservations", Total: 3, Used: 1},
		},
		Expiries:   map[string]capability.Time{"render": 1795161600},
		Offset:     -90,
		Conditions: []console.Condition{{Code: capability.ErrClock}, {Code: capability.AskedBack}, {Code: capability.AskedBack}},
		Media:      map[capability.Code]uint64{capability.Applied: 2, capability.ErrNotOurs: 1},
	}
	m, err := New("1.2.3", func(context.Context) (*console.Figures, error) { return figures, nil })
	if err != nil {
		t.Fatal(err)
	}
	no := func(code capability.Code, subject string) capability.Line {
		return capability.Line{Denial: capability.Denial{Code: code, Subject: subject}}
	}
	refused := &capability.Response{Lines: []capability.Line{{}, no(capability.ErrNoSeat, "render"), no(capability.ErrNotEntitled, "what a client made up")}}
	m.Answered(refused, time.Millisecond) // before anybody looked, no name is known
	scrape(t, m)
	m.Answered(refused, 3*time.Millisecond)
	m.Answered(&capability.Response{}, 3*time.Millisecond)
	got := regexp.MustCompile(`go[0-9.]+[^"]*`).ReplaceAllString(scrape(t, m), "GO")
	want := `leasehold_build_info{goversion="GO",version="1.2.3"} 1
leasehold_checkout_seconds_sum 0.007
leasehold_checkout_seconds_count 3
leasehold_clock_offset_seconds -90
leasehold_denials_total{feature="",reason="LH-3101"} 2
leasehold_denials_total{feature="",reason="LH-3104"} 1
leasehold_denials_total{feature="render",reason="LH-3104"} 1
leasehold_expiry_timestamp_seconds{feature="render"} 1.7951616e+09
leasehold_health{code="LH-4007"} 1
leasehold_health{code="LH-5060"} 1
leasehold_media_events_total{result="LH-2201"} 2
leasehold_media_events_total{result="LH-2305"} 1
leasehold_seats{feature="render",pool="",state="idle"} 2
leasehold_seats{feature="render",pool="",state="reserved"} 3
leasehold_seats{feature="render",pool="default",state="total"} 50
leasehold_seats{feature="render",pool="default",state="used"} 43
leasehold_seats{feature="render",pool="reservations",state="total"} 3
leasehold_seats{feature="render",pool="reservations",state="used"} 1
leasehold_up 1
`
	if got != want {
		t.Errorf("told:\n%s\nwant:\n%s", got, want)
	}
}

// TestNamesAreBounded: what clients make up takes no memory.
func TestNamesAreBounded(t *testing.T) {
	m, err := New("", func(context.Context) (*console.Figures, error) {
		return &console.Figures{Features: map[string]bool{"render": true}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	scrape(t, m)
	for i := range 10000 {
		m.Answered(&capability.Response{Lines: []capability.Line{{Denial: capability.Denial{Code: capability.ErrNoSeat, Subject: fmt.Sprint("f", i)}}}}, 0)
	}
	if n := strings.Count(scrape(t, m), "leasehold_denials_total"); n != 1 {
		t.Errorf("%d names are kept", n)
	}
}

// TestAwayForTheMoment: an appliance that does not answer is down, and what was counted stays.
func TestAwayForTheMoment(t *testing.T) {
	m, err := New("", func(context.Context) (*console.Figures, error) { return nil, errors.New("the owner has ended") })
	if err != nil {
		t.Fatal(err)
	}
	m.Answered(&capability.Response{}, time.Millisecond)
	if got := scrape(t, m); !strings.Contains(got, "leasehold_up 0\n") || !strings.Contains(got, "leasehold_checkout_seconds_count 1\n") || strings.Contains(got, "seats") {
		t.Errorf("%s", got)
	}
}
