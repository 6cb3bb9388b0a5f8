package console

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
)

func codes(all []Condition) (list []capability.Code) {
	for _, c := range all {
		list = append(list, c.Code)
	}
	return list
}

// TestConditions: each condition is told when it is there, with its words; one that follows from another is not.
func TestConditions(t *testing.T) {
	serving := func() *Health {
		return &Health{State: "serving", Now: start, Clock: &Clock{State: "trusted", System: start, Trusted: start}}
	}
	if got := Conditions(serving()); got == nil || len(got) != 0 {
		t.Errorf("where nothing is wrong: %+v", got)
	}
	site := func(h *Health, left time.Duration) {
		h.Certificate = &certificate.View{Site: true, Until: capability.Time(start).Add(capability.Seconds(left / time.Second))}
	}
	for name, row := range map[string]struct {
		is   func(*Health)
		want []capability.Code
		text string
	}{
		"rolled back": {func(h *Health) {
			h.State, h.Condition, h.NoPaper = "refusing", &Problem{Code: capability.ErrRollback, Text: "the disk is older"}, true
			h.Binding.Outcome = hostid.Grace.String()
		}, []capability.Code{capability.ErrRollback}, "the disk is older"},
		"binding broken":      {func(h *Health) { h.State, h.Condition = "refusing", &Problem{Code: capability.ErrBinding} }, []capability.Code{capability.ErrBinding}, ""},
		"not activated":       {func(h *Health) { h.State, h.NoPaper = "not activated", true }, []capability.Code{capability.ErrNotProvisioned}, ""},
		"a hold":              {func(h *Health) { h.State, h.HoldUntil = "holding", start }, []capability.Code{capability.ErrHold}, capability.Time(start).String()},
		"clock held":          {func(h *Health) { h.Clock.State = "held"; site(h, 0) }, []capability.Code{capability.ErrClock}, "trusted time"},
		"clock ahead":         {func(h *Health) { h.Clock.State = "ahead" }, []capability.Code{capability.ErrClock}, ""},
		"clock behind":        {func(h *Health) { h.Clock.State = "behind"; h.Clock.Behind = 90 }, []capability.Code{capability.ClockJudged}, "1m30s"},
		"a clock of 1970":     {func(h *Health) { h.State, h.Clock.System, h.Clock.Trusted = "not activated", 7, 7 }, []capability.Code{capability.ErrNotProvisioned, capability.ErrClock}, ""},
		"a disk that is full": {func(h *Health) { h.Short = "0 MiB are free in /var" }, []capability.Code{capability.ErrStorageFull}, "0 MiB are free"},
		"no clock":            {func(h *Health) { h.Clock = nil }, nil, ""},
		"a grace":             {func(h *Health) { h.Binding.Outcome, h.Binding.Changes = hostid.Grace.String(), []string{"no disk"} }, []capability.Code{capability.ErrBinding}, "no disk"},
		"a refused request":   {func(h *Health) { h.NotGiven = &NotGiven{Code: capability.ErrRefused, Number: 3, Reason: "unpaid"} }, []capability.Code{capability.ErrRefused}, "unpaid"},
		"a refused return":    {func(h *Health) { h.Refused = []capability.Denial{{Code: capability.ErrReturnRefused, Subject: "A"}} }, []capability.Code{capability.ErrReturnRefused}, "A"},
		"taken back": {func(h *Health) {
			h.TakenBack = []TakenBack{{Code: capability.AskedBack, Copies: 2}, {Code: capability.ErrWrittenOff, Settled: true}}
		}, []capability.Code{capability.AskedBack, capability.ErrWrittenOff}, "has not ended"},
		"an alarm":                {func(h *Health) { h.Alarms = []Alarm{{Code: capability.ErrDeviceKey, Count: 2, Subject: "WS-1"}} }, []capability.Code{capability.ErrDeviceKey}, "WS-1 2 times"},
		"nobody has the key":      {func(h *Health) { h.NoPaper = true }, []capability.Code{capability.RecoveryOpen}, ""},
		"nobody polls":            {func(h *Health) { h.Polling = &Polling{Since: start} }, []capability.Code{capability.ErrNotPolled}, ""},
		"office not reached":      {func(h *Health) { h.Polling = &Polling{Running: true, Since: start, URL: "https://o"} }, []capability.Code{capability.ErrOfficeUnreachable}, "https://o"},
		"office reached":          {func(h *Health) { h.Polling = &Polling{Running: true} }, nil, ""},
		"a certificate that ends": {func(h *Health) { site(h, endsSoon-time.Hour) }, []capability.Code{capability.ErrCertificateEnds}, "on 20"},
		"one that does not":       {func(h *Health) { site(h, endsSoon+time.Hour) }, nil, ""},
		"our own":                 {func(h *Health) { site(h, time.Hour); h.Certificate.Site = false }, nil, ""},
		"a lost one":              {func(h *Health) { site(h, time.Hour); h.Certificate.Site, h.Certificate.Lost = false, "damaged" }, []capability.Code{capability.ErrCertificateLost}, "damaged"},
		"an update that was left": {func(h *Health) { h.Left = &LeftUpdate{"2026.3", "2026.2"} }, []capability.Code{capability.ErrUpdateFailed}, "2026.3, and 2026.2 runs again"},
		"a return on its way":     {func(h *Health) { h.Returns = make([]capability.Return, 2) }, []capability.Code{capability.ReturnMade}, "2 returns"},
	} {
		h := serving()
		row.is(h)
		got := Conditions(h)
		if !slices.Equal(codes(got), row.want) || len(got) > 0 && !strings.Contains(got[0].Text, row.text) {
			t.Errorf("%s: %+v, want %v and %q", name, got, row.want, row.text)
		}
		for _, c := range got {
			if c.Title == "" || c.Next == "" || c.Severity == "" {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
	worst := serving()
	worst.State, worst.NoPaper, worst.Returns = "holding", true, make([]capability.Return, 1)
	if got := Conditions(worst); !slices.IsSortedFunc(got, func(a, b Condition) int { return rank(a.Severity) - rank(b.Severity) }) || len(got) != 3 {
		t.Errorf("%+v", got)
	}
}

func rank(s Severity) int { return slices.Index([]Severity{Stops, Warning, Note}, s) }

// asks is a mux of probes with an answer for who asks as that.
func asks(c *Console, a asker) func(path string) (int, string, string) {
	mux := http.NewServeMux()
	c.probes(mux, func(*http.Request) (asker, error) { return a, nil })
	return func(path string) (int, string, string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Header().Get("Content-Type"), w.Body.String()
	}
}

// TestProbes: strangers hear yes or no, and who may see hears why.
func TestProbes(t *testing.T) {
	c := refusing(t, capability.ErrRollback)
	c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("leasehold_up 1\n")) })
	stranger, viewer := asks(c, asker{}), asks(c, asker{by: "login v", permissions: ledger.PermissionsOf(ledger.ToSee)})
	for path, want := range map[string]string{"/healthz": "200 alive\n", "/readyz": "503 not serving\n"} {
		status, kind, body := stranger(path)
		if got := http.StatusText(status); want != map[int]string{200: "200 ", 503: "503 "}[status]+body || kind != "text/plain; charset=utf-8" {
			t.Errorf("a stranger at %s: %d %s %s %q", path, status, got, kind, body)
		}
		status, kind, body = viewer(path)
		var p Probe
		if err := json.Unmarshal([]byte(body), &p); err != nil || kind != "application/json" || p.OK != (status == 200) || p.State != "refusing" || len(p.Conditions) != 1 || p.Conditions[0].Code != capability.ErrRollback || p.Conditions[0].Severity != Stops {
			t.Errorf("a viewer at %s: %d %s %s: %v", path, status, kind, body, err)
		}
	}
	if status, _, body := stranger("/metrics"); status == 200 || strings.Contains(body, "leasehold_up") {
		t.Errorf("a stranger has figures: %d %s", status, body)
	}
	if status, _, body := viewer("/metrics"); status != 200 || body != "leasehold_up 1\n" {
		t.Errorf("a viewer has no figures: %d %s", status, body)
	}
	c.Metrics = nil
	if status, _, _ := viewer("/metrics"); status != http.StatusNotFound {
		t.Errorf("without figures: %d", status)
	}
	a, _ := started(t, ledger.New(), 0, noon)
	empty := &Console{Appliance: a}
	if status, _, body := asks(empty, asker{})("/readyz"); status != 503 || body != "not serving\n" {
		t.Errorf("before the first response: %d %q", status, body)
	}
}
