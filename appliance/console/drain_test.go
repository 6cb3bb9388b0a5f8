package console

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// A drain from its beginning to its end: told to whoever asks, and in the way of a new grant only while it runs.
func TestDrain(t *testing.T) {
	call, _ := running(t)
	_, _, features := call("GET", Base+"features", "")
	var rows []Feature
	if err := json.Unmarshal([]byte(features), &rows); err != nil || len(rows) != 1 {
		t.Fatal(features, err)
	}
	id := string(rows[0].ActivationID)
	for _, c := range []struct {
		method, path, body string
		status             int
		code               capability.Code
		want               string
	}{
		{"POST", "drains", `{"activationId":"` + id + `"}`, 400, capability.ErrForm, ""},
		{"POST", "drains", `{"activationId":"` + id + `","for":99999999999}`, 400, capability.ErrForm, ""},
		{"POST", "drains", `{"activationId":"x","for":60}`, 400, capability.ErrForm, ""},
		{"POST", "drains", `{"activationId":"` + id + `","copies":2,"for":60}`, 404, capability.ErrNothingToReturn, ""},
		{"POST", "drains", `{"activationId":"` + id + `","for":3600}`, 200, 0, `"copies":1,"deadline":1795165260`},
		{"GET", "drains", "", 200, 0, `"inTheWay":4,"holders":[{"name":"WS-1","count":4`},
		{"GET", "health", "", 200, 0, `"drains":[{"activationId":"` + id},
		{"GET", "features", "", 200, 0, `"available":0,"status":"being returned","returning":1,"returnBy":1795165260`},
		{"POST", "drains/cancel", `{"activationId":"` + id + `"}`, 200, 0, `"copies":0`},
		{"GET", "drains", "", 200, 0, "[]"},
		{"GET", "features", "", 200, 0, `"available":6,"status":"valid"`},
	} {
		status, problem, body := call(c.method, Base+c.path, c.body)
		if status != c.status || problem.Code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: %d %s\n%s", c.method, c.path, c.body, status, problem.Code, body)
		}
	}
}
