package console

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/model"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// kept is a vault that keeps the entries it was given.
type kept struct {
	mu      sync.Mutex
	entries []ledger.Entry
}

func (k *kept) write(all [][]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range all {
		e, err := ledger.DecodeEntry(wire.New(), b)
		if err != nil {
			return err
		}
		k.entries = append(k.entries, e)
	}
	return nil
}

func (k *kept) Begin(e ...[]byte) error         { return k.write(e) }
func (k *kept) Commit(e [][]byte) error         { return k.write(e) }
func (k *kept) Move(_ []byte, e [][]byte) error { return k.write(e) }
func (k *kept) Snapshot([]byte) error           { return nil }
func (k *kept) JournalBytes() int64             { return 0 }
func (k *kept) Epoch() uint64                   { return 1 }
func (k *kept) Stop() error                     { return nil }

func (k *kept) Head() (p uint64, h [32]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return uint64(len(k.entries)), h
}
func (k *kept) Close() error { return nil }

// last is the last entry.
func (k *kept) last() ledger.Entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.entries[len(k.entries)-1]
}

// machine is a TPM that says nothing: no client comes here.
type machine struct{}

func (machine) Evidence(attest.Purpose, []byte) (*attest.Evidence, error) {
	return &attest.Evidence{}, nil
}
func (machine) Session([]byte) (*attest.Evidence, error) { return &attest.Evidence{}, nil }
func (machine) CertifyEpoch(uint32, []byte) (*attest.EpochProof, error) {
	return nil, fmt.Errorf("no TPM")
}
func (machine) Activate(*attest.Wrapped) ([]byte, error) { return nil, fmt.Errorf("no TPM") }

const start = 1795161600

// running is a console of an appliance with ten counts of f 1.0, of which device d holds four.
func running(t *testing.T) (func(method, path, body string) (int, Problem, string), *kept) {
	t.Helper()
	return runningBy(t, noon)
}

// noon is the system clock of most of them.
func noon() time.Time { return time.Unix(start+60, 0) }

// runningBy is the same by another system clock.
func runningBy(t *testing.T, clock func() time.Time) (func(method, path, body string) (int, Problem, string), *kept) {
	t.Helper()
	c, vault := runningConsole(t, clock)
	return serve(t, c), vault
}

// runningConsole is the console of that appliance.
func runningConsole(t *testing.T, clock func() time.Time) (*Console, *kept) {
	t.Helper()
	l, now := ledger.New(), ledger.At(0, start)
	do := func(c ledger.Command) {
		t.Helper()
		d, err := l.Decide(now, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range d.Entries {
			if err := l.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	id, err := capability.NewActivationID(strings.NewReader(strings.Repeat("a", 18)))
	if err != nil {
		t.Fatal(err)
	}
	do(ledger.Provision{Response: capability.Response{
		Version: capability.Protocol, For: hostid.ID{Type: hostid.String, Value: "appliance"}, Serial: 1, Time: start,
		Items: []capability.LineItem{{ActivationID: id, Feature: "f", Version: capability.Version{Major: 1}, Count: 10, Copies: 1}},
	}, Digest: capability.Digest{1}})
	do(ledger.Serve{Key: capability.Digest{2}, Request: capability.Request{
		Version: capability.Protocol, Hosts: []hostid.ID{{Type: hostid.String, Value: "d"}}, Correlation: capability.CorrelationID{3}, Alias: "WS-1",
		Desired: []capability.Desired{{Feature: "f", Version: capability.Version{Major: 1}, Count: 4}},
	}})
	a, vault := started(t, l, 0, clock)
	return &Console{Appliance: a, Allowed: func(Peer) bool { return true }}, vault
}

// refusing is a console of an appliance whose trusted storage was lost in that way.
func refusing(t *testing.T, lost capability.Code) *Console {
	a, _ := started(t, ledger.New(), lost, noon)
	return &Console{Appliance: a, Lost: capability.Refuse(lost, "", "test"), Allowed: func(Peer) bool { return true }}
}

// started is an appliance that runs until the end of the test.
func started(t *testing.T, l *ledger.Ledger, lost capability.Code, clock func() time.Time) (*appliance.Appliance, *kept) {
	t.Helper()
	vault := &kept{}
	var awake atomic.Int64 // who looks at it sees it go on
	a, err := appliance.New(appliance.Options{
		Start:  ledger.Start{Lost: lost},
		Ledger: l, Vault: vault, Machine: machine{}, Host: hostid.ID{Type: hostid.String, Value: "appliance"}, Trust: &wire.Trust{}, Now: clock,
		Elapsed: func() time.Duration { return 0 }, Awake: func() time.Duration { return time.Duration(awake.Add(1)) * time.Second / 4 }, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, a)
	return a, vault
}

// run has an appliance answer until the end of the test.
func run(t *testing.T, a *appliance.Appliance) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func read[T any](t *testing.T, body string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}

const poolsText = `model "m" { partitions { partition "p" { "f" 1.0 8 } } on any() { use "p", "default" accept } }`

// by is what every entry of an administrator must name: the kernel's word on who asked.
func by() string { return fmt.Sprintf("uid %d (pid %d)", os.Getuid(), os.Getpid()) }

func TestReservationsAtThreeLevels(t *testing.T) {
	call, vault := running(t)
	list := func(method, path, body string) []Reserved {
		t.Helper()
		status, _, got := call(method, Base+path, body)
		if status != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, status, got)
		}
		return read[[]Reserved](t, got)
	}
	if rows := list("GET", "reservations", ""); len(rows) != 0 {
		t.Fatal(rows)
	}
	one := `{"group":"g","hostId":{"type":"STRING","value":"d"},"feature":"f","version":"1.0","count":2}`
	two := `{"group":"g","hostId":{"type":"STRING","value":"d"},"feature":"f","version":"1.0","count":9}`
	user := `{"group":"h","hostId":{"type":"USER","value":"u"},"feature":"f","version":"1.0","count":1}`
	list("POST", "reservations", one)
	list("POST", "reservations", two)
	rows := list("POST", "reservations", user)
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprintf("%s %s %d %s %d", r.Group, r.Host.Value, r.Count, r.Status, r.Has))
	}
	if want := []string{"g d 2 satisfied 2", "g d 9 unsatisfied 0", "h u 1 satisfied 1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if e := vault.last(); e.Reserved == nil || e.Reserved.By != by() {
		t.Errorf("the entry is %+v", e)
	}
	// An edit keeps the ID and with it its age; an import of the same list changes nothing at all.
	edited := list("POST", "reservations/edit", fmt.Sprintf(`{"id":%d,"count":3}`, rows[1].ID))
	if edited[1].ID != rows[1].ID || edited[1].Count != 3 || edited[1].Status != "satisfied" {
		t.Errorf("%+v", edited)
	}
	before := vault.last().Position
	again := list("PUT", "reservations", "["+one+","+strings.Replace(two, "9", "3", 1)+","+user+"]")
	if !slices.Equal(again, edited) || vault.last().Position != before {
		t.Errorf("%+v, want %+v", again, edited)
	}
	if status, p, _ := call("PUT", Base+"model", poolsText); status != http.StatusForbidden || p.Code != capability.ErrReserved || !strings.Contains(p.Text, "g, h") {
		t.Errorf("a model beside reservations: %d %+v", status, p)
	}
	if _, _, body := call("GET", Base+"reservations/model", ""); !strings.Contains(read[Model](t, body).Text, "hostid(\"d/STRING\")") {
		t.Error(body)
	}
	if rows := list("DELETE", fmt.Sprintf("reservations/%d", rows[1].ID), ""); len(rows) != 2 {
		t.Errorf("after an entry: %+v", rows)
	}
	if rows := list("DELETE", fmt.Sprintf("reservations/%d", rows[2].Reservation), ""); len(rows) != 1 {
		t.Errorf("after a reservation: %+v", rows)
	}
	if rows := list("DELETE", fmt.Sprintf("reservations/%d", rows[0].GroupID), ""); len(rows) != 0 {
		t.Errorf("after a group: %+v", rows)
	}
}

func TestModel(t *testing.T) {
	call, vault := running(t)
	if status, p, _ := call("GET", Base+"model", ""); status != http.StatusNotFound || p.Code != capability.ErrNotFound {
		t.Errorf("no model: %d %+v", status, p)
	}
	before := vault.last().Position
	status, _, body := call("POST", Base+"model/check", poolsText)
	dry := read[ModelCheck](t, body)
	if status != http.StatusOK || dry.Refused || len(dry.Pools) != 1 || dry.Pools[0].Got != 8 || len(dry.After) != 2 || vault.last().Position != before {
		t.Fatalf("%d %s", status, body)
	}
	// What the dry run says is what the upload does.
	status, _, body = call("PUT", Base+"model", poolsText)
	if up := read[ModelCheck](t, body); status != http.StatusOK || !slices.Equal(up.After, dry.After) {
		t.Errorf("%d %s", status, body)
	}
	if e := vault.last(); e.Modeled == nil || e.Modeled.By != by() || string(e.Modeled.Text) != poolsText {
		t.Errorf("the entry is %+v", e)
	}
	if _, _, body := call("GET", Base+"pools", ""); !slices.Equal(read[[]Pool](t, body), dry.After) {
		t.Errorf("%s, and the dry run said %+v", body, dry.After)
	}
	if _, _, body := call("GET", Base+"model", ""); read[Model](t, body) != (Model{Name: "m", Text: poolsText}) {
		t.Error(body)
	}
	// A text that cannot be used is refused with its place, and the model in force stays.
	for text, place := range map[string]string{
		`model "x" { partitions { partition "default" { } } }`: "1:36",
		`model "x" { on hostname(~/(/) { accept } }`:           "1:25",
		`model "x`: "1:7",
		`model "x" { on any() { use "no" accept } }`: "1:28",
		strings.Repeat(" ", model.MaxFile+1):         "1:1",
	} {
		status, p, _ := call("PUT", Base+"model", text)
		if status != http.StatusUnprocessableEntity || p.Code != capability.ErrModel || !strings.Contains(p.Text, ": "+place+": ") {
			t.Errorf("%.40s: %d %s, want %s", text, status, p.Text, place)
		}
	}
	if _, _, body := call("GET", Base+"model", ""); read[Model](t, body).Name != "m" {
		t.Error(body)
	}
	row := `{"group":"g","hostId":{"type":"STRING","value":"d"},"feature":"f","version":"1.0","count":2}`
	if status, p, _ := call("POST", Base+"reservations", row); status != http.StatusForbidden || p.Code != capability.ErrModelInForce {
		t.Errorf("reservations beside a model: %d %+v", status, p)
	}
	if status, _, body := call("DELETE", Base+"model", ""); status != http.StatusOK || read[Model](t, body).Text != poolsText {
		t.Errorf("%d %s", status, body)
	}
	if status, p, _ := call("DELETE", Base+"model", ""); status != http.StatusNotFound {
		t.Errorf("%d %+v", status, p)
	}
}

func TestPolicies(t *testing.T) {
	call, vault := running(t)
	status, _, body := call("POST", Base+"policies", `{"name":"borrow-maximum","value":"8h"}`)
	if row := read[Setting](t, body); status != http.StatusOK || row.Value != "28800" || !row.Changed || row.Owner != "administrator" {
		t.Errorf("%d %s", status, body)
	}
	if e := vault.last(); e.Configured == nil || e.Configured.By != by() {
		t.Errorf("the entry is %+v", e)
	}
	for _, c := range []struct {
		body   string
		status int
		code   capability.Code
		says   string
	}{
		{`{"name":"lease-interval","value":"60"}`, 403, capability.ErrLocked, "lease-interval"},
		{`{"name":"sync-to","value":"true"}`, 403, capability.ErrLocked, `"sync-to": it belongs to the producer`},
		{`{"name":"sync-to","value":""}`, 403, capability.ErrLocked, "sync-to"},
		{`{"name":"log-directory","value":"/var/log"}`, 403, capability.ErrSetElsewhere, `"log-directory": it is journal`},
		{`{"name":"expiry-sweep","value":"60"}`, 403, capability.ErrSetElsewhere, "expiry-sweep"},
		{`{"name":"","value":"60"}`, 404, capability.ErrNotFound, ""},
		{`{"name":"no-such","value":"60"}`, 404, capability.ErrNotFound, "no-such"},
		{`{"name":"idle-limit","value":"-1"}`, 400, capability.ErrForm, "idle-limit"},
		{`{"name":"idle-limit","value":"9223372036854775808"}`, 400, capability.ErrForm, "idle-limit"},
		{`{"name":"open-reads","value":"maybe"}`, 400, capability.ErrForm, "open-reads"},
	} {
		if status, p, _ := call("POST", Base+"policies", c.body); status != c.status || p.Code != c.code || !strings.Contains(p.Text, c.says) {
			t.Errorf("%s: %d %+v", c.body, status, p)
		}
	}
	_, _, body = call("GET", Base+"policies", "")
	changed := slices.DeleteFunc(read[[]Setting](t, body), func(s Setting) bool { return !s.Changed })
	if len(changed) != 1 || changed[0].Name != "borrow-maximum" {
		t.Errorf("%+v", changed)
	}
}

// Each setting that administrators know from other servers is there with its default, its value and who may change it; whatever is not an administrator's is
// refused by name.
func TestEverySettingIsShown(t *testing.T) {
	call, vault := running(t)
	_, _, body := call("GET", Base+"policies", "")
	rows := read[[]Setting](t, body)
	for _, want := range strings.Fields(`response-lifetime:producer:86400 apply-before:producer:2592000 lease-interval:producer:900 renew-interval:producer:15
		borrow-maximum:administrator: borrow-granularity:producer:second expiry-sweep:nobody:at duplicate-clients:producer:false virtual-server:producer:true
		virtual-clients:producer:true virtual-check:producer:true tiers:producer:hardware host-id-check:producer:3600 host-id-order:producer:TPM_EK,
		built-in-nic:producer:true binding-grace:producer:604800 failover-uris:administrator: failover-maintenance:producer:259200 sync-to:producer:producer's
		sync-include-all:producer:true sync-from:producer:producer's poll-period:administrator:86400 poll-retries:producer:4 poll-page:producer:100
		storage-backup:administrator:true security:producer+and+administrator:true token-life:producer+and+administrator:1800 open-reads:producer+and+administrator:false
		media-mode:administrator:auto log-directory:administrator:journal log-threshold:administrator:INFO session-timeout:administrator:1800 offline-tolerance:producer:0
		seat-tolerance:producer:86400 clone-suspect:producer:refuse`) {
		f := strings.Split(want, ":")
		i := slices.IndexFunc(rows, func(s Setting) bool { return s.Name == f[0] })
		if i < 0 || rows[i].Owner != strings.ReplaceAll(f[1], "+", " ") || strings.Fields(rows[i].Default + " .")[0] != cmp.Or(f[2], ".") || rows[i].Value != rows[i].Default {
			t.Errorf("%s: %+v", want, rows[max(i, 0)])
		}
	}
	before := vault.last().Position
	for i, s := range rows {
		if i > 0 && rows[i-1].Name >= s.Name {
			t.Errorf("%s comes after %s", s.Name, rows[i-1].Name)
		}
		if strings.Contains(s.Owner, "administrator") {
			continue
		}
		status, p, _ := call("POST", Base+"policies", fmt.Sprintf(`{"name":%q,"value":%q}`, s.Name, s.Default))
		if status != http.StatusForbidden || p.Denial.Subject != s.Name || vault.last().Position != before {
			t.Errorf("%s: %d %+v", s.Name, status, p)
		}
	}
}

func TestSeats(t *testing.T) {
	call, vault := running(t)
	_, _, body := call("GET", Base+"seats?feature=f", "")
	if s := read[Seats](t, body); len(s.Held) != 1 || s.Held[0].Count != 4 || s.Held[0].Alias != "WS-1" || s.Held[0].Pool != "default" {
		t.Error(body)
	}
	for _, path := range []string{"seats?feature=g", "seats?idle=3600"} {
		if _, _, body := call("GET", Base+path, ""); len(read[Seats](t, body).Held) != 0 {
			t.Errorf("%s: %s", path, body)
		}
	}
	for _, path := range []string{"seats?idle=-1", "seats?idle=x"} {
		if status, p, _ := call("GET", Base+path, ""); status != http.StatusBadRequest || p.Code != capability.ErrForm {
			t.Errorf("%s: %d %+v", path, status, p)
		}
	}
	if status, p, _ := call("POST", Base+"seats/disconnect", `{"after":0}`); status != http.StatusBadRequest {
		t.Errorf("%d %+v", status, p)
	}
	if _, _, body := call("POST", Base+"seats/disconnect", `{"after":3600}`); len(read[Disconnected](t, body).Dropped) != 0 {
		t.Error(body)
	}
	if status, _, body := call("POST", Base+"drops", `{"device":{"type":"STRING","value":"d"},"feature":"f"}`); status != http.StatusOK || !read[Holding](t, body).Dropped {
		t.Errorf("%d %s", status, body)
	}
	if e := vault.last(); e.Dropped == nil || e.Dropped.By != by() {
		t.Errorf("the entry is %+v", e)
	}
	if _, _, body := call("GET", Base+"seats", ""); !read[Seats](t, body).Held[0].Dropped {
		t.Error(body)
	}
}

func TestBadRules(t *testing.T) {
	call, _ := running(t)
	host := `"hostId":{"type":"STRING","value":"d"}`
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "reservations", `{"group":"g",` + host + `,"feature":"f","version":"6.1.3","count":1}`, 400, "6.1.3"},
		{"POST", "reservations", `{"group":"g",` + host + `,"feature":"f","version":"1.0","count":9223372036854775808}`, 400, "count"},
		{"POST", "reservations", `{"group":"g",` + host + `,"feature":"f","version":"1.0","count":0}`, 400, "groups[0].reservations[0].entries[0]"},
		{"POST", "reservations", `{"group":"","hostId":{"type":"STRING","value":"d"},"feature":"f","version":"1.0","count":1}`, 400, "groups[0]"},
		{"POST", "reservations", `{"group":"g","hostId":{"type":"NONE","value":"d"},"feature":"f","version":"1.0","count":1}`, 400, "NONE"},
		{"POST", "reservations", `{"groups":"g"}`, 400, "groups"},
		{"POST", "reservations/edit", `{"id":7,"count":1}`, 404, "7"},
		{"POST", "reservations/edit", `{"id":7,"count":1,"Count":2}`, 400, "Count is there twice"},
		{"PUT", "reservations", `[{"group":"g",` + host + `,"feature":"f","version":"1.0","count":1,"count":2}]`, 400, "[0].count is there twice"},
		{"PUT", "reservations", `[{"group":"g","hostId":{"type":"STRING","value":"d","value":"e"},"feature":"f","version":"1.0","count":1}]`, 400, "[0].hostId.value is there twice"},
		{"PUT", "reservations", `[]]`, 400, "something follows"},
		{"PUT", "reservations", `{"group":"g"}`, 400, "body"},
		{"PUT", "reservations", "[" + strings.Repeat(" ", capability.MaxFile) + "]", 400, "too large"},
		{"DELETE", "reservations/7", "", 404, "7"},
		{"DELETE", "reservations/x", "", 404, "x"},
		{"GET", "reservations/model", "", 404, "no satisfied reservations"},
	} {
		if status, p, body := call(c.method, Base+c.path, c.body); status != c.status || !strings.Contains(p.Text, c.says) {
			t.Errorf("%s %s %.60s: %d %s, want %d and %q", c.method, c.path, c.body, status, body, c.status, c.says)
		}
	}
}
