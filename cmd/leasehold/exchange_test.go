package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

func (p *producer) response(t *testing.T, to hostid.ID, serial uint64) []byte {
	t.Helper()
	wrap := &attest.Wrapped{P256: attest.Credential{Blob: []byte{1}, Secret: []byte{2}}}
	for _, d := range [][32]byte{{0x7f, 0x3a, 0x22, 0xc9}, {0x91, 0xbb, 0x0c, 0x4d}} {
		if hostid.OfDigest(hostid.TPMEK, d) == to {
			wrap.HostID = d
		}
	}
	b, err := wire.New().SealResponse(p.key, p.certificate, &capability.Response{Version: 1, For: to, Serial: serial, Number: serial, Time: 1795160000, Lifetime: 30 * 86400},
		wrap.Encode(), make([]byte, wire.ContentKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// request is a request file whose evidence is none: form only.
func request(t *testing.T, number uint64) []byte {
	t.Helper()
	b, _, err := wire.New().SignRequest(&capability.Request{Version: 1, Hosts: []hostid.ID{here()}, Correlation: capability.CorrelationID{1}, Number: number}, wire.AlgTPMQuote, wire.KeyID{1},
		func(capability.Digest) ([]byte, error) { return []byte("evidence"), nil })
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRequest(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	d.says("POST requests", console.Written{Number: 3, Name: "REQ-0003.LHQ", File: request(t, 3)})
	a, b := activationID(1), activationID(2)
	status, out, _ := m.run("request", "--id", strings.ToLower(string(a)), "--count", "40", "--id", string(b), "-o", ".")
	if status != 0 || !strings.Contains(out, "request 3 written: ./REQ-0003.LHQ") {
		t.Fatal(status, out)
	}
	var asked console.Wish
	if d.asked(t, "POST requests", &asked); len(asked.Desired) != 2 || asked.Desired[0].ActivationID != a || asked.Desired[0].Count != 40 || asked.Desired[1].ActivationID != b || asked.Desired[1].Count != 1 {
		t.Errorf("asked for %+v", asked.Desired)
	}
	text, err := os.ReadFile(filepath.Join(m.dir, "REQ-0003.TXT"))
	if err != nil || !bytes.Contains(text, []byte("\r\nrequest 3 of LH-7F3A-22C9, asks for what is its own\r\n")) {
		t.Errorf("%v: %s", err, text)
	}
	if err := os.Mkdir(filepath.Join(m.dir, "usb"), 0o755); err != nil {
		t.Fatal(err)
	}
	if status, out, stderr := m.run("request", "--stick", "usb", "--json"); status != 0 || !strings.Contains(out, `"request": "usb/LEASEHOLD/7F3A22C9/REQ-0003.LHQ"`) {
		t.Error(status, out, stderr)
	}
	if got, err := os.ReadFile(filepath.Join(m.dir, "usb/LEASEHOLD/7F3A22C9/REQ-0003.LHQ")); err != nil || !bytes.Equal(got, request(t, 3)) {
		t.Error(err)
	}
	// What cannot be written to is found before a number is spent.
	d.does("POST requests", func([]byte) (any, *capability.Refusal) { t.Error("a number was spent"); return nil, nil })
	if status, _, stderr := m.run("request", "-o", "none/below"); status != 1 || !strings.Contains(stderr, "mkdir -p none") {
		t.Error(stderr)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := m.run("request", "-o", "file"); status != 1 {
		t.Error(stderr)
	}
}

func TestReturn(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	id := activationID(1)
	d.says("POST returns", capability.Return{ID: capability.ReturnID{7}, ActivationID: id, Copies: 5, Epoch: 9, Time: 1795160000, Serial: 3})
	d.says("POST requests", console.Written{Number: 4, File: request(t, 4)})
	status, out, stderr := m.run("return", string(id), "--count", "5")
	var asked console.Giving
	d.asked(t, "POST returns", &asked)
	if status != 0 || !strings.Contains(out, "5 copies of "+string(id)+" returned at epoch 9") || !strings.Contains(stderr, "next: leasehold request -o DIR") || asked.Copies != 5 || asked.ActivationID != id {
		t.Error(status, out, stderr)
	}
	if status, out, _ := m.run("return", string(id), "-o", "."); status != 0 || !strings.Contains(out, "request 4 written") {
		t.Error(status, out)
	}
	// As JSON the return is told with the request, and also where there is none.
	var told struct {
		Schema   string
		Warnings []string
		Return   struct{ Epoch uint64 }
		Request  *struct{ Number uint64 }
	}
	status, out, _ = m.run("return", string(id), "-o", ".", "--json")
	if err := json.Unmarshal([]byte(out), &told); err != nil || status != 0 || told.Schema != "leasehold.return/2" || told.Return.Epoch != 9 || told.Request == nil || told.Request.Number != 4 || len(told.Warnings) != 0 {
		t.Errorf("%d, %v: %s", status, err, out)
	}
	d.does("POST requests", func([]byte) (any, *capability.Refusal) {
		return nil, capability.Refuse(capability.ErrStorageFull, "", "no room")
	})
	status, out, stderr = m.run("return", string(id), "-o", ".", "--json")
	if err := json.Unmarshal([]byte(out), &told); err != nil || status != 1 || told.Return.Epoch != 9 || told.Request != nil || len(told.Warnings) != 1 || !strings.Contains(told.Warnings[0], "no room") {
		t.Errorf("%d, %v: %s", status, err, out)
	}
	fourLines(t, "return without a request", stderr, capability.ErrStorageFull)
	d.says("POST requests", console.Written{Number: 4, File: request(t, 4)})
	d.does("POST returns", func([]byte) (any, *capability.Refusal) {
		return nil, capability.Refuse(capability.ErrInUse, string(id), "3 of 5 are held")
	})
	status, _, stderr = m.run("return", string(id))
	if status != 13 {
		t.Error(status)
	}
	fourLines(t, "return of what is in use", stderr, capability.ErrInUse)
	// A place that takes no file is found before anything is given up.
	d.does("POST returns", func([]byte) (any, *capability.Refusal) { t.Error("given up"); return nil, nil })
	if status, _, _ := m.run("return", string(id), "-o", "none/below"); status != 1 {
		t.Error(status)
	}
}

func TestImport(t *testing.T) {
	p := newProducer(t, 1)
	mine := func(serial uint64) []byte { return p.response(t, here(), serial) }
	bad := mine(9)
	bad[len(bad)-1] ^= 1
	for _, row := range []struct {
		name   string
		files  map[string][]byte
		arg    string
		answer func(b []byte) (any, *capability.Refusal)
		status int
		out    string
		stderr string
	}{
		{"one file", map[string][]byte{"a": mine(3)}, "a", nil, 0, "LH-2201 response 3 applied: signatures good, for this appliance\nexport 10 -> 0\nrender 0 -> 40\nrefused: LH-5003 not enough left\ncredited: 1 return\n", ""},
		{"already", map[string][]byte{"a": mine(2)}, "a", nil, 0, "LH-2202 response 2 already applied; nothing changed\n", ""},
		{"older", map[string][]byte{"a": mine(1)}, "a", nil, 0, "LH-2203 a newer response is in force; response 1 was ignored and nothing changed\n", ""},
		{"flipped", map[string][]byte{"a": bad}, "a", nil, 20, "", "LH-2302"},
		{"another's", map[string][]byte{"a": p.response(t, there(), 1)}, "a", nil, 21, "", "LH-2305"},
		{"newest of a directory", map[string][]byte{"d/a.LHR": mine(3), "d/b.LHR": mine(1), "d/c.LHR": p.response(t, there(), 8)}, "d", nil, 0, "LH-2201 response 3", ""},
		{"a bad copy hides no good one", map[string][]byte{"d/a.LHR": mine(3), "d/b.LHR": bad}, "d", nil, 0, "LH-2201 response 3", "warning: d/b.LHR: LH-2302"},
		{"only bad ones", map[string][]byte{"d/b.LHR": bad}, "d", nil, 20, "", "LH-2302"},
		{"only another's", map[string][]byte{"d/c.LHR": p.response(t, there(), 8)}, "d", nil, 21, "", "this appliance is LH-7F3A-22C9: c.LHR is for LH-91BB-0C4D"},
		{"nothing", map[string][]byte{"d/x.jpg": []byte("x")}, "d", nil, 4, "", "LH-2005"},
		{"only damaged", map[string][]byte{"d/x.LHR": mine(3)[:99]}, "d", nil, 4, "", "x.LHR: cut short"},
		{"stick", map[string][]byte{"d/LEASEHOLD/7F3A22C9/RSP-0003.LHR": mine(3)}, "d", nil, 0, "LH-2201 response 3", ""},
		{"stick of another", map[string][]byte{"d/LEASEHOLD/91BB0C4D/RSP-0003.LHR": mine(3)}, "d", nil, 4, "", "LH-2005"},
		{"forbidden", map[string][]byte{"a": mine(3)}, "a", func([]byte) (any, *capability.Refusal) {
			return nil, capability.Refuse(capability.ErrForbidden, "", "uid 1000")
		}, 13, "", "LH-6003"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t)
			for name, b := range row.files {
				m.put(name, b)
			}
			if row.answer == nil {
				row.answer = p.appliance(t)
			}
			m.daemon().does("POST responses", row.answer)
			status, out, stderr := m.run("import", row.arg)
			if status != row.status || !strings.HasPrefix(out, row.out) || !strings.Contains(stderr, row.stderr) {
				t.Errorf("%d\n%s%s", status, out, stderr)
			}
			if receipt, err := os.ReadFile(filepath.Join(m.dir, "d/LEASEHOLD/7F3A22C9/RCP-0003.TXT")); (err == nil) != (row.name == "stick") || err == nil && !bytes.Contains(receipt, []byte("render 0 -> 40\r\n")) {
				t.Errorf("receipt: %v\n%s", err, receipt)
			}
		})
	}
}

// appliance judges a response as the daemon does; response 2 is in force.
func (p *producer) appliance(t *testing.T) func([]byte) (any, *capability.Refusal) {
	codec := wire.New()
	trust, err := codec.DecodeTrust(p.trust)
	if err != nil {
		t.Fatal(err)
	}
	return func(b []byte) (any, *capability.Refusal) {
		r, err := codec.ReadResponse(b)
		if err == nil {
			_, _, err = codec.Verify(trust, r)
		}
		if err != nil {
			return nil, capability.Refuse(wire.Code(err), "", "%v", err)
		}
		if r.Clear.For != here() {
			return nil, capability.Refuse(capability.ErrNotOurs, "", "for %s", r.Clear.For.Short())
		}
		in := console.Imported{Code: capability.Applied, Serial: r.Clear.Serial, Clear: r.Clear, Changes: []console.Change{}}
		switch {
		case r.Clear.Serial < 2:
			in.Code = capability.OlderResponse
		case r.Clear.Serial == 2:
			in.Code = capability.AlreadyHere
		default:
			in.Changes = []console.Change{{Feature: "export", Before: 10}, {Feature: "render", After: 40}}
			in.Denials = []capability.Denial{{Code: capability.ErrTooFew}}
			in.Closed = []capability.ReturnID{{1}}
		}
		return in, nil
	}
}

// The output of a schema number never changes: each has a golden file. LEASEHOLD_UPDATE=1 go test writes them anew.
func TestGolden(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	p := newProducer(t, 1)
	m.put("producer.lht", p.trust)
	m.put("RSP-0012.LHR", p.response(t, here(), 12))
	m.put("REQ-0003.LHQ", request(t, 3))
	id := activationID(1)
	it := capability.LineItem{ActivationID: id, Feature: "render", Version: capability.Version{Major: 2026, Minor: 1}, Count: 40, Copies: 40, Expiry: 1806451199, Product: "Render Pro", EntitlementID: "ENT-2026-004711"}
	hold := console.Holding{Feature: "render", Version: it.Version, ActivationID: id, Count: 2, Expiry: 1795248900}
	device := hostid.OfDigest(hostid.DeviceKey, sha256.Sum256([]byte("device")))
	code := "LH-4007"
	d.says("GET features", []console.Feature{{LineItem: it, Total: 40, Used: 38, Available: 2, Status: "valid"}})
	d.says("GET devices", []console.Device{{Host: console.HostOf(device), Alias: "WS-114\x1b[2J", User: "j.ortiz", Holdings: []console.Holding{hold}, Expiry: 1795248900}})
	d.says("GET doctor", []console.Examination{{What: "TPM", Result: "success", Detail: "answers in 2 ms"}, {What: "clock", Result: "warning", Detail: "0.4 s/day fast", Code: &code}})
	d.says("POST requests", console.Written{Number: 3, Name: "REQ-0003.LHQ", File: request(t, 3)})
	d.says("POST returns", capability.Return{ID: capability.ReturnID{7}, ActivationID: id, Copies: 5, Epoch: 9, Time: 1795160000, Serial: 3})
	d.does("POST responses", p.appliance(t))
	hold.Dropped = true
	d.says("POST drops", hold)
	for _, row := range []struct {
		schema, args string
		status       int
	}{
		{"status", "status", 0}, {"features", "features", 0}, {"devices", "devices", 0}, {"doctor", "doctor --trust producer.lht", 0},
		{"request", "request -o .", 0}, {"import", "import RSP-0012.LHR", 0}, {"return", "return " + string(id), 0}, {"drop", "release render --device " + device.String(), 0},
		{"explain", "explain LH-3104", 0}, {"inspect", "inspect --trust producer.lht RSP-0012.LHR", 0}, {"inspect-request", "inspect REQ-0003.LHQ", 20},
	} {
		m.prints(row.schema, row.args, row.status)
	}
}

// A daemon that refuses to serve: its state is printed, and the status is that of the condition.
func TestStatusOfARefusingDaemon(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	no := capability.Refuse(capability.ErrRollback, "", "the disk is at epoch 6 and the TPM at 7")
	problem := &console.Problem{Code: no.Code, Symbol: no.Code.Symbol(), Denial: no.Denial, Text: no.Sentence()}
	d.says("GET health", console.Health{Version: "development", Host: here(), State: "refusing", Condition: problem, Start: "rolled back"})
	d.does("GET features", func([]byte) (any, *capability.Refusal) { return nil, no })
	status, out, stderr := m.run("status")
	if status != 22 || !strings.Contains(out, "refusing") {
		t.Error(status, out)
	}
	fourLines(t, "status", stderr, capability.ErrRollback)
	if status, _, stderr := m.run("features"); status != 22 || !strings.Contains(stderr, "epoch 6") {
		t.Error(status, stderr)
	}
}

func TestOddDaemons(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	d.says("GET features", "text")
	if status, _, stderr := m.run("features"); status != 1 || !strings.Contains(stderr, "LH-6005") {
		t.Error(status, stderr)
	}
	if status, _, stderr := m.run("devices"); status != 1 || !strings.Contains(stderr, "404") { // knows no such path
		t.Error(status, stderr)
	}
	d.says("GET health", console.Health{Version: "0.9", Host: here(), State: "serving"})
	if _, out, stderr := m.run("version"); !strings.Contains(out, "leaseholdd 0.9") || !strings.Contains(stderr, "warning: this program is version") {
		t.Error(out, stderr)
	}
}

func TestCompletionOffersFeatures(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	d.says("GET features", []console.Feature{{LineItem: capability.LineItem{Feature: "render"}}, {LineItem: capability.LineItem{Feature: "render"}}, {LineItem: capability.LineItem{Feature: "export"}}})
	if status, out, _ := m.run("__complete", "acquire", ""); status != 0 || !strings.HasPrefix(out, "render\nexport\n:") {
		t.Error(status, out)
	}
	if _, out, _ := m.run("__complete", "explain", "LH-310"); !strings.Contains(out, "LH-3104\tno seat free") {
		t.Error(out)
	}
}

// A return that is refused says who is in the way; a drain says how far it is, and can be ended.
func TestDrain(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	id := activationID(1)
	holders := []capability.Holder{{Name: "WS-114\x1b[2J", Count: 2, Expiry: 1795248900}}
	d.does("POST returns", func([]byte) (any, *capability.Refusal) {
		return nil, &capability.Refusal{Denial: capability.Denial{Code: capability.ErrInUse, Subject: string(id), Holders: holders}}
	})
	now := console.Draining{ActivationID: id, Copies: 5, Deadline: 1795240000, InTheWay: 2, Holders: holders, Last: 1795248900}
	d.says("POST drains", now)
	d.says("POST drains/cancel", console.Draining{ActivationID: id, Holders: []capability.Holder{}})
	for _, row := range []struct {
		args           string
		status         int
		stdout, stderr string
	}{
		{"return " + string(id), 13, "", "held: 2 by WS-114"},
		{"return " + string(id), 13, "", "next: leasehold return ID --drain 8h"},
		{"return " + string(id) + " --count 5 --drain 8h", 0, "5 copies of " + string(id) + " being returned", "--cancel"},
		{"return " + string(id) + " --drain 8h", 0, "2 in the way", "held: 2 by WS-114"},
		{"return " + string(id) + " --cancel", 0, string(id) + " is served as before", ""},
		{"return " + string(id) + " --drain 1500ms", 2, "", "want whole seconds"},
		{"return " + string(id) + " --drain 0s", 2, "", "want whole seconds"},
		{"return " + string(id) + " --drain -1s", 2, "", "want whole seconds"},
		{"return " + string(id) + " --drain 9h --cancel", 2, "", "drain"},
		{"return " + string(id) + " --drain 9h -o .", 2, "", "drain"},
	} {
		status, out, stderr := m.run(strings.Fields(row.args)...)
		if status != row.status || !strings.Contains(out, row.stdout) || !strings.Contains(stderr, row.stderr) || strings.Contains(stderr, "\x1b") {
			t.Errorf("%s: %d\n%s%s", row.args, status, out, stderr)
		}
	}
	var asked console.Drain
	d.asked(t, "POST drains", &asked)
	if asked.ActivationID != id || asked.For != 8*3600 {
		t.Errorf("asked %+v", asked)
	}
	m.prints("drain", "return "+string(id)+" --count 5 --drain 8h", 0)
	now.InTheWay = 0
	d.says("POST drains", now)
	if _, _, stderr := m.run("return", string(id), "--drain", "8h"); !strings.Contains(stderr, "Nothing is in the way") {
		t.Error(stderr)
	}
}
