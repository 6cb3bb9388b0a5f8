package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/hostid/dongle"
	"github.com/leasehold/leasehold/hostid/dongle/dongletest"
)

// judge is a daemon that knows of security keys alone, and what it was told.
type judge struct {
	watch    *hostid.Watch
	verdicts []error
	empty    int
	asked    byte
}

func (j *judge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := hostid.ID{Type: hostid.TPMEK, Value: strings.Repeat("7F", 32)}
	now := time.Unix(1_800_000_000, 0)
	var out any
	var err error
	switch strings.TrimPrefix(r.URL.Path, console.Base) {
	case "health":
		out = console.Health{Host: host}
	case "hostids/challenge":
		var c hostid.Credential
		err = json.NewDecoder(r.Body).Decode(&c)
		if err == nil && j.watch == nil {
			j.watch, err = hostid.NewWatch(c, host, hostid.WatchRules{Every: time.Hour, Within: time.Second}, hostid.WatchState{}, now)
		}
		if err == nil {
			j.asked++
			out, err = j.watch.Ask(now, hostid.ToStart, hostid.Nonce{j.asked})
		}
	case "hostids/answer":
		var a console.KeyAnswer
		if err = json.NewDecoder(r.Body).Decode(&a); err == nil {
			if len(a.Assertion.Signature) == 0 {
				j.empty++
			}
			j.verdicts = append(j.verdicts, j.watch.Answer(now, a.Assertion))
		}
		out = console.Machine{Binding: console.Binding{Outcome: "same"}}
	default:
		http.NotFound(w, r)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

// A security key is enrolled into a file and proven from it; one that was pulled out is told as such, and files that are none are refused.
func TestSecurityKeyFile(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	j := &judge{}
	server := &http.Server{Handler: j}
	go server.Serve(l)
	defer server.Close()

	e := dongletest.New()
	plugged := []dongle.Device{{Path: "/dev/hidraw0"}}
	k := keys{list: func() ([]dongle.Device, error) { return plugged, nil }, open: func(dongle.Device) (*dongle.Key, error) {
		f, err := e.Plug()
		if err != nil {
			return nil, err
		}
		return dongle.Over(f), nil
	}}
	var out, said bytes.Buffer
	p := &program{stdout: &out, stderr: &said, out: terminal.NewOutput(&out), socket: socket}
	file := filepath.Join(t.TempDir(), "new", "key.json")

	far := dongle.Device{Path: "/dev/hidraw1", Flaw: "USB over IP: it is plugged into another machine"}
	for _, list := range [][]dongle.Device{nil, {far}, {plugged[0], plugged[0]}} {
		plugged = list
		if err := p.enrollKey(t.Context(), k, file); err == nil || !strings.Contains(err.Error(), "where one is wanted") || strings.Contains(err.Error(), "USB over IP") != (len(list) == 1) {
			t.Errorf("%d plugged in: %v", len(list), err)
		}
		plugged = []dongle.Device{{Path: "/dev/hidraw0"}, far}
	}
	if err := p.enrollKey(t.Context(), k, file); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), "/FLEXID10\n") || !strings.Contains(said.String(), "Touch the security key.") {
		t.Errorf("said %q and %q", out.String(), said.String())
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.enrollKey(t.Context(), k, file); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("enrolled over another: %v", err)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed: %v", err)
	}

	var m console.Machine
	if err := p.proveKey(t.Context(), k, file, &m); err != nil || len(j.verdicts) != 1 || j.verdicts[0] != nil || m.Outcome != "same" {
		t.Errorf("proven: %v, %v, %+v", err, j.verdicts, m)
	}
	opened := k.open
	busy := true
	k.open = func(d dongle.Device) (*dongle.Key, error) {
		if busy {
			busy = false
			return nil, dongle.ErrBusy
		}
		return opened(d)
	}
	if err := p.proveKey(t.Context(), k, file, &m); err != nil || len(j.verdicts) != 2 || j.verdicts[1] != nil {
		t.Errorf("used by another program once: %v, %v", err, j.verdicts)
	}
	plugged = nil
	if err := p.proveKey(t.Context(), k, file, &m); err != nil || j.empty != 1 || !errors.Is(j.verdicts[2], hostid.ErrMalformedAnswer) || !strings.Contains(said.String(), "not plugged in") {
		t.Errorf("pulled out: %v, %v, %d told as gone", err, j.verdicts, j.empty)
	}
	for name, text := range map[string]string{"no JSON": "x", "no key": "{}", "cut": string(before[:len(before)/2])} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := p.proveKey(t.Context(), k, file, &m); err == nil || len(j.verdicts) != 3 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := p.proveKey(t.Context(), k, filepath.Join(t.TempDir(), "none"), &m); err == nil {
		t.Error("a file that was named and is not there")
	}
}
