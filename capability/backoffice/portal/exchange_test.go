package portal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
)

// machine is a station that has applied nothing, and says in each request which it wrote before.
type machine struct {
	*station
	wrote []capability.Digest
}

func (w *world) machine() *machine { return &machine{station: w.station()} }

func (m *machine) public() ed25519.PublicKey { return m.key.Public().(ed25519.PublicKey) }

// request asks for a copy of an item; change may spoil it before it is signed.
func (m *machine) request(id capability.ActivationID, change func(*capability.Request)) []byte {
	m.w.t.Helper()
	file := m.station.request(id, 1, func(r *capability.Request) {
		r.Hosts, r.Applied, r.Outstanding = r.Hosts[:1], 0, m.wrote
		if id == "" {
			r.Desired = nil
		}
		if change != nil {
			change(r)
		}
	})
	m.wrote = append(m.wrote, m.last)
	return file
}

// exchange posts bytes as a program does.
func (w *world) exchange(body []byte, accept string) answer {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, w.server.URL+"/exchange", bytes.NewReader(body))
	if err == nil {
		r.Header.Set("Accept", accept)
	}
	return w.browser().send(r, err)
}

// online lets machines without a TPM ask over the network.
func (w *world) online(p entitlement.OnlinePolicy) {
	w.t.Helper()
	policy := entitlement.DefaultPolicy("Example")
	policy.MinimumTier, policy.Online = entitlement.Software, p
	w.do(entitlement.SetPolicy{Policy: policy, By: "test"})
}

func (w *world) item() (id capability.ActivationID) {
	w.t.Helper()
	err := w.desk.Ask(func(o *backoffice.Office) error {
		v, err := o.Entitle(entitlement.Item{Customer: "ACME Works", Product: "Render Pro", Copies: 5, Features: []entitlement.Feature{{Name: "render", PerCopy: 1}}}, "test", capability.At(w.now()))
		id = v.ActivationID
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// byFile is the answer to a request that an operator was handed.
func (w *world) byFile(file []byte) []byte {
	w.t.Helper()
	var response []byte
	err := w.desk.Ask(func(o *backoffice.Office) error {
		r, err := o.RespondTo(file, backoffice.Order{By: "operator"}, capability.At(w.now()))
		if err == nil {
			response = r.File
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return response
}

func (a answer) code(t *testing.T) capability.Code {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("%v: %s", err, a)
	}
	if p.Title == "" || p.Detail == "" || p.Next == "" || p.Status != a.status || p.Denial.Code != p.Code || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a problem without all that one says: %+v", p)
	}
	return p.Code
}

// The same request has the same answer, byte for byte, by file and over the network, whichever way it goes first and however often.
func TestExchangeIsTheFileWay(t *testing.T) {
	w := newWorld(t)
	w.online(entitlement.AnyoneOnline)
	id, m := w.item(), w.machine()
	first := m.request(id, nil)
	a := w.exchange(first, "")
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/octet-stream" {
		t.Fatal(a)
	}
	if by := w.byFile(first); !bytes.Equal([]byte(a.body), by) {
		t.Error("by file afterwards: other bytes")
	}
	if again := w.exchange(first, ""); again.body != a.body {
		t.Error("once more: other bytes")
	}
	second := m.request("", nil)
	if by, a := w.byFile(second), w.exchange(second, ""); a.status != http.StatusOK || !bytes.Equal([]byte(a.body), by) {
		t.Error("by file before: other bytes")
	}
}

// What an operator has to decide is not decided over the network, and everything else is refused in words that its sender's program knows.
func TestExchangeRefuses(t *testing.T) {
	w := newWorld(t)
	id, m := w.item(), w.machine()
	w.online(entitlement.AnyoneOnline)
	good := m.request(id, nil)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	known := w.machine()
	w.byFile(known.request(id, nil))
	lost := func(r *capability.Request) {
		r.Life, r.Condition, r.Epoch, r.Outstanding = capability.LifeID{2}, capability.ErrStorageGone, 9, nil
	}
	another, err := capability.NewActivationID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		policy entitlement.OnlinePolicy
		body   []byte
		status int
		code   capability.Code
	}{
		{"turned off", entitlement.NothingOnline, good, http.StatusForbidden, capability.ErrOnline},
		{"turned off, for a machine on record", entitlement.NothingOnline, known.request("", nil), http.StatusForbidden, capability.ErrOnline},
		{"first request where machines must be known", entitlement.KnownOnline, good, http.StatusForbidden, capability.ErrOperator},
		{"first request that names nothing", entitlement.AnyoneOnline, w.machine().request("", nil), http.StatusForbidden, capability.ErrOperator},
		{"first request that names what is not there", entitlement.AnyoneOnline, w.machine().request(another, nil), http.StatusForbidden, capability.ErrOperator},
		{"first request of a machine that lost something", entitlement.AnyoneOnline, w.machine().request(id, lost), http.StatusForbidden, capability.ErrOperator},
		{"repair", entitlement.AnyoneOnline, known.request("", lost), http.StatusForbidden, capability.ErrOperator},
		{"not signed by who it says", entitlement.AnyoneOnline, flipped, http.StatusUnprocessableEntity, capability.ErrRequestSignature},
		{"another producer's", entitlement.AnyoneOnline, m.request(id, func(r *capability.Request) { r.Producer = capability.Digest{1} }), http.StatusUnprocessableEntity, capability.ErrOtherProducer},
		{"nothing", entitlement.AnyoneOnline, nil, http.StatusUnprocessableEntity, capability.ErrFileCut},
		{"half", entitlement.AnyoneOnline, good[:len(good)/2], http.StatusUnprocessableEntity, capability.ErrFileCut},
		{"no file of ours", entitlement.AnyoneOnline, []byte("<html>" + strings.Repeat("x", 999)), http.StatusUnprocessableEntity, capability.ErrFileKind},
		{"too large", entitlement.AnyoneOnline, make([]byte, capability.MaxFile+1), http.StatusRequestEntityTooLarge, capability.ErrFileSize},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.online(test.policy)
			before := w.length()
			a := w.exchange(test.body, "")
			if a.status != test.status || a.code(t) != test.code {
				t.Error(a)
			}
			if n := w.length() - before; n > 1 || n == 1 && test.name != "repair" {
				t.Errorf("%d entries for it", n)
			}
			if strings.Contains(a.body, "ACME") || a.header.Get("Set-Cookie") != "" {
				t.Errorf("it tells more than it should: %s %v", a, a.header)
			}
			a = w.exchange(test.body, "application/cbor")
			var d capability.Denial
			if err := wire.New().Decode([]byte(a.body), &d, capability.MaxFrame); err != nil || d.Code != test.code || a.status != test.status {
				t.Errorf("in CBOR: %v %+v", err, d)
			}
		})
	}
	w.online(entitlement.KnownOnline)
	if a := w.exchange(known.request("", nil), ""); a.status != http.StatusOK {
		t.Errorf("a machine on record: %s", a)
	}
}

func (w *world) length() (n uint64) {
	w.t.Helper()
	if err := w.desk.Ask(func(o *backoffice.Office) error { _, n = o.Book().Head(); return nil }); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// Whoever asks too often waits, is told for how long, and nothing of it is read.
func TestExchangeIsThrottled(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Now()
	for range exchangesAtOnce {
		if a := w.exchange([]byte("x"), ""); a.status == http.StatusTooManyRequests {
			t.Fatal(a)
		}
	}
	a := w.exchange([]byte("x"), "")
	if a.status != http.StatusTooManyRequests || a.code(t) != capability.ErrThrottled || a.header.Get("Retry-After") != "1" {
		t.Error(a, a.header)
	}
	w.clock = w.clock.Add(exchangeInterval)
	if a := w.exchange([]byte("x"), ""); a.status == http.StatusTooManyRequests {
		t.Error(a)
	}
}

// The endpoint is for programs: other methods find nothing, and a page of another site cannot use the session of a browser, which counts for nothing here.
func TestExchangeHasNoSessions(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn("keller", "", capability.SecurityAdministrator)
	r, err := http.NewRequest(http.MethodPost, w.server.URL+"/exchange", strings.NewReader("once=1"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://elsewhere.example")
	if a := b.send(r, nil); a.code(t) != capability.ErrFileKind || a.header.Get("Set-Cookie") != "" || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error(a, a.header)
	}
	if a := b.get("/exchange"); a.status != http.StatusNotFound {
		t.Error(a)
	}
	resp, err := w.server.Client().Post(w.server.URL+"/exchange", "", io.LimitReader(neverEnding{}, 64<<20))
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Error(resp.Status)
		}
	}
}

type neverEnding struct{}

func (neverEnding) Read(b []byte) (int, error) { return len(b), nil }
