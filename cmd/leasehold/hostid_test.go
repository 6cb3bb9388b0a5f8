package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/hostid/probe"
	"github.com/leasehold/leasehold/hostid/probe/probetest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

const trees = "../../hostid/probe/testdata/trees"

// What is printed for each tree is in testdata/hostid, for people and as JSON.
func TestHostIDsOfEachTree(t *testing.T) {
	for _, name := range probetest.Trees(t, trees) {
		a := probetest.Read(t, trees, name)
		m := probe.Probe(probetest.Plant(t, a), probe.Options{Given: probetest.Given(t, a)})
		chosen, _ := hostid.Choose(m, nil, hostid.ID{}) // of a broken tree there is none
		for _, form := range []string{".txt", ".json"} {
			var out bytes.Buffer
			p := &program{stdout: &out, stderr: io.Discard, out: terminal.NewOutput(&out), json: form == ".json"}
			if err := p.printMachine(m, chosen, nil); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "hostid", name+form)
			if os.Getenv("LEASEHOLD_UPDATE") != "" {
				if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || !bytes.Equal(want, out.Bytes()) {
				t.Errorf("%s is not as in %s: %v\n%s", name, file, err, out.Bytes())
			}
		}
	}
}

// listed is what the program says as JSON.
type listed struct {
	Schema             string
	Warnings           []string
	Virtual, Container string
	IDs                []listedID
}

func (m *machine) listed(args ...string) (l listed) {
	m.t.Helper()
	status, out, stderr := m.run(append([]string{"hostid", "--json"}, args...)...)
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil || l.Schema != "leasehold.hostid/1" || l.Warnings == nil || l.IDs == nil {
		m.t.Fatalf("%v: %d, %v\n%s%s", args, status, err, out, stderr)
	}
	return l
}

func (l listed) of(t hostid.Type) (out []listedID) {
	return slices.DeleteFunc(slices.Clone(l.IDs), func(i listedID) bool { return i.Type != t.String() })
}

// With a TPM, with a daemon that knows one, and with none: this machine.
func TestHostIDsOfThisMachine(t *testing.T) {
	m := newMachine(t)
	_, err := os.Stat("/dev/tpmrm0")
	advised := func(s string) bool { return strings.Contains(s, "--tpm /dev/tpmrm0") }
	if l := m.listed(); slices.ContainsFunc(l.Warnings, advised) != (err == nil) || slices.ContainsFunc(l.of(hostid.TPMEK), func(i listedID) bool { return i.Flaw == "" }) {
		t.Errorf("without a daemon: %+v", l)
	}
	m.daemon()
	l := m.listed()
	if ek := l.of(hostid.TPMEK); len(ek) != 1 || ek[0].Value != here().Value || ek[0].Strength != "proven" || ek[0].Binding != "identity" || !ek[0].Chosen || len(l.Warnings) != 0 {
		t.Errorf("with a daemon: %+v", l)
	}
	chip := tpmtest.Start(t)
	d := chip.Device(t)
	id, err := d.HostID()
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	l = m.listed("--tpm", chip.Address())
	ek, ak := l.of(hostid.TPMEK), l.of(hostid.TPMAK)
	if len(ek) != 1 || ek[0].Value != hostid.OfDigest(hostid.TPMEK, id).Value || ek[0].Strength != "proven" || len(ak) != 1 || len(ak[0].Value) != 64 || ak[0].Strength != "proven" || ak[0].Value == ek[0].Value {
		t.Errorf("with a TPM: %+v", l)
	}
}

// A recording is judged as the machine was, and is made of it alone.
func TestHostIDsRecorded(t *testing.T) {
	m := newMachine(t)
	status, out, stderr := m.run("hostid", "--record", "recording")
	if status != 0 || !strings.Contains(stderr, "The recording is in recording.") {
		t.Fatalf("%d\n%s%s", status, out, stderr)
	}
	before, after := m.listed(), m.listed("--root", "recording")
	kinds := func(l listed) (out []string) {
		for _, i := range l.IDs {
			out = append(out, i.Type+" "+i.Strength+" "+i.Binding+" "+i.Flaw)
		}
		slices.Sort(out)
		return append(out, l.Virtual, l.Container)
	}
	if !slices.Equal(kinds(before), kinds(after)) {
		t.Errorf("the machine shows\n%+v\nits recording\n%+v", before, after)
	}
	for _, i := range before.IDs {
		if i.Flaw == "" && slices.ContainsFunc(after.IDs, func(j listedID) bool { return i.Value == j.Value }) {
			t.Errorf("%s is in the recording", i.Value)
		}
	}
	if status, _, stderr := m.run("hostid", "--record", "recording"); status != capability.ExitUsage || !strings.Contains(stderr, "is not empty") {
		t.Errorf("over another recording: %d\n%s", status, stderr)
	}
}

// The host of a container says one line; whatever else it does, the program ends and says what is wrong.
func TestContainerID(t *testing.T) {
	for _, row := range []struct{ what, says, value, flaw string }{
		{"a line", "web-7\n", "web-7", ""},
		{"a line without an end", "web-7", "web-7", ""},
		{"the longest line", strings.Repeat("x", hostid.MaxValue) + "\n", strings.Repeat("x", hostid.MaxValue), ""},
		{"nothing", "", "", "0 bytes where 1 to 128 are allowed"},
		{"an empty line", "\n", "", "0 bytes where 1 to 128 are allowed"},
		{"a longer line", strings.Repeat("x", hostid.MaxValue+1) + "\n", strings.Repeat("x", 96) + "...", "129 bytes where 1 to 128 are allowed"},
		{"much", strings.Repeat("x", 1<<20), "", "more than one line of 128 bytes"},
		{"two lines", "a\nb\n", "", "more than one line of 128 bytes"},
		{"control bytes", "a\x1b[31m\n", `a\x1b[31m`, "not printable ASCII"},
	} {
		m := newMachine(t)
		answer(t, m.dir+"/host", row.says, true)
		ids := m.listed("--root", ".", "--container-socket", "host").of(hostid.ContainerID)
		if len(ids) != 1 || ids[0].Value != row.value || (ids[0].Flaw == "") != (row.flaw == "") || !strings.Contains(ids[0].Flaw, row.flaw) {
			t.Errorf("%s: %+v", row.what, ids)
		}
	}
	m := newMachine(t)
	if ids := m.listed("--root", ".", "--container-socket", "none").of(hostid.ContainerID); len(ids) != 1 || ids[0].Flaw == "" {
		t.Errorf("no socket: %+v", ids)
	}
	answer(t, m.dir+"/host", "", false)
	if ids := m.listed("--root", ".", "--container-socket", "host").of(hostid.ContainerID); len(ids) != 1 || !strings.Contains(ids[0].Flaw, "timeout") {
		t.Errorf("a host that says nothing: %+v", ids)
	}
}

// answer says something to whoever connects, and then ends or waits.
func answer(t *testing.T, socket, says string, end bool) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, says)
			if !end {
				io.Copy(io.Discard, c) // until the other side has had enough
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
}

// What the daemon is told is what was found, to the last flaw.
func TestTheDaemonIsToldWhatWasFound(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	d.says("PUT hostids", console.Machine{Binding: console.Binding{Outcome: "same"}})
	for _, name := range []string{"broken", "dongles"} {
		root := probetest.Plant(t, probetest.Read(t, trees, name))
		if status, _, stderr := m.run("hostid", "--tell", "--root", root.Name()); status != 0 {
			t.Fatalf("%s: %d\n%s", name, status, stderr)
		}
		var told hostid.Machine
		d.asked(t, "PUT hostids", &told)
		if found := probe.Probe(root, probe.Options{}); !reflect.DeepEqual(told, found) {
			t.Errorf("%s: the daemon is told\n%+v\nand there is\n%+v", name, told, found)
		}
	}
}

func TestHostIDUsage(t *testing.T) {
	m := newMachine(t)
	if err := os.Mkdir(m.dir+"/empty", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args   string
		status int
		code   capability.Code
	}{
		{"--root none", 1, capability.ErrFileRead},
		{"--root empty extra", 2, capability.ErrUsage},
		{"--root empty --dongle 529", 2, capability.ErrUsage},
		{"--root empty --agreed x/TPM_EK", 2, capability.ErrUsage},
		{"--root empty --agreed x/ETHERNET", 2, capability.ErrUsage},
		{"--root empty --agreed x/NOTHING", 2, capability.ErrUsage},
		{"--root empty --order NOTHING", 2, capability.ErrUsage},
		{"--root empty --order ,", 2, capability.ErrUsage},
		{"--root empty --choose x/NOTHING", 2, capability.ErrUsage},
		{"--root empty --agreed a/STRING --choose b/STRING", 4, capability.ErrNotFound},
		{"--root empty --tpm unix:none", capability.ErrTPMAbsent.Entry().Exit, capability.ErrTPMAbsent},
	} {
		status, _, stderr := m.run(strings.Fields("hostid " + row.args)...)
		if status != row.status {
			t.Errorf("%s: exit status %d where %d is wanted\n%s", row.args, status, row.status, stderr)
		}
		fourLines(t, row.args, stderr, row.code)
	}
	if status, out, stderr := m.run("hostid", "--root", "empty"); status != 0 || out != "" || stderr != "This machine shows nothing of itself.\nnote: no identity of this machine: it shows nothing that only one machine has\n" {
		t.Errorf("an empty machine: %d\n%s%s", status, out, stderr)
	}
}

// Only a TPM that is there is advised to be asked.
func TestUnaskedTPM(t *testing.T) {
	if notes := unaskedTPM(filepath.Join(t.TempDir(), "tpmrm0")); len(notes) != 0 {
		t.Errorf("no TPM is there: %q", notes)
	}
	if notes := unaskedTPM(os.DevNull); len(notes) != 1 || !strings.HasSuffix(notes[0], "--tpm "+os.DevNull) {
		t.Errorf("one is there: %q", notes)
	}
}

// The firmware's log is told where the daemon lacks it and the machine shows it; where there is none nothing is said of it, and what cannot be read stops nothing.
func TestTheLogIsTold(t *testing.T) {
	for _, c := range []struct {
		name, log string
		lacks     bool
		told      []string
		note      string
	}{
		{name: "not wanted", log: "-- " + probe.EventLogPath + " --\nlog\n"},
		{name: "wanted", log: "-- " + probe.EventLogPath + " --\nlog\n", lacks: true, told: []string{"log\n"}},
		{name: "none is there", log: "-- sys/none --\n", lacks: true},
		{name: "too long", log: "-- " + probe.EventLogPath + " (long 65536) --\n", lacks: true, note: "longer than 65535 bytes"},
		{name: "a pipe", log: "-- " + probe.EventLogPath + " (fifo) --\n", lacks: true, note: "not a regular file"},
		{name: "a link", log: "-- sys/other --\nlog\n-- " + probe.EventLogPath + " -> ../../../other --\n", lacks: true, note: "not a regular file"},
	} {
		m := newMachine(t)
		d := m.daemon()
		d.says("PUT hostids", console.Machine{LacksLog: c.lacks})
		var told []string
		d.does("PUT hostids/eventlog", func(body []byte) (any, *capability.Refusal) {
			told = append(told, string(body))
			return console.Machine{}, nil
		})
		root := probetest.Plant(t, txtar.Parse([]byte(c.log)))
		status, out, stderr := m.run("hostid", "--tell", "--root", root.Name())
		if status != 0 || !slices.Equal(told, c.told) || strings.Contains(stderr, "log") != (c.note != "") || !strings.Contains(stderr, c.note) {
			t.Errorf("%s: %d, %q\n%s%s", c.name, status, told, out, stderr)
		}
		m.put("log", []byte("named"))
		told = nil
		if status, _, stderr := m.run("hostid", "--tell", "--root", root.Name(), "--event-log", "log"); status != 0 || !slices.Equal(told, []string{"named"}) {
			t.Errorf("%s, and another is named: %d, %q\n%s", c.name, status, told, stderr)
		}
	}
}
