package backoffice

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/leasehold/leasehold/tpm/attest"
)

// event is one of a made log (TCG PC Client Platform Firmware Profile 10.2.2, TCG_PCR_EVENT2).
type event struct {
	pcr    uint32
	kind   uint32
	hashed []byte // what the digest is of
	data   []byte // what the log says
}

const (
	evSeparator = 4
	evIPL       = 0x0d
	evVariable  = 0x80000001
)

func le32(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }

// madeLog is a log with SHA-256 digests, and the values of PCR 7, 11 and 12 that it extends to.
func madeLog(events ...event) (log, pcrs []byte) {
	spec := slices.Concat([]byte("Spec ID Event03\x00"), le32(0), []byte{0, 2, 0, 2}, le32(1), []byte{0x0b, 0, 32, 0}, []byte{0})
	log = slices.Concat(le32(0), le32(3), make([]byte, 20), le32(uint32(len(spec))), spec)
	values := map[uint32][]byte{7: make([]byte, 32), 11: make([]byte, 32), 12: make([]byte, 32)}
	for _, e := range events {
		digest := sha256.Sum256(e.hashed)
		log = slices.Concat(log, le32(e.pcr), le32(e.kind), le32(1), []byte{0x0b, 0}, digest[:], le32(uint32(len(e.data))), e.data)
		if v, ok := values[e.pcr]; ok {
			values[e.pcr] = extend(v, digest[:])
		}
	}
	return log, slices.Concat(values[7], values[11], values[12])
}

func utf16le(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func efiVariable(name string, value ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(bytes.Repeat([]byte{0x61}, 16), uint64(len(name)))
	return slices.Concat(binary.LittleEndian.AppendUint64(b, uint64(len(value))), utf16le(name), value)
}

// booted is a machine with Secure Boot and a unified kernel image.
func booted() []event {
	same := func(pcr, kind uint32, b []byte) event { return event{pcr, kind, b, b} }
	return []event{
		same(0, 8, []byte("firmware 1.0")),
		same(7, evVariable, efiVariable("SecureBoot", 1)),
		same(7, evVariable, efiVariable("PK", bytes.Repeat([]byte{9}, 50)...)),
		same(7, evSeparator, make([]byte, 4)),
		{4, 0x80000003, []byte("the image"), []byte("a device path")},
		{11, evIPL, []byte("sections of the kernel"), utf16le(".linux\x00")},
		same(12, evIPL, utf16le("root=/dev/vda ro\x00")),
	}
}

func TestReplay(t *testing.T) {
	log, pcrs := madeLog(booted()...)
	r := replay(log, pcrs)
	if r.Summary() != "the event log replays PCR 7, 11, 12; Secure Boot is on" || len(r.Events) != 5 {
		t.Errorf("%q, %+v", r.Summary(), r.Events)
	}
	want := []BootEvent{{PCR: 7, Text: "SecureBoot = 01", Hashed: true}, {PCR: 7, Text: "PK, 50 bytes", Hashed: true}, {PCR: 7, Hashed: true}, {PCR: 11, Text: ".linux"}, {PCR: 12, Text: "root=/dev/vda ro", Hashed: true}}
	for i, e := range r.Events {
		if w := want[i]; e.PCR != w.PCR || e.Text != w.Text || e.Hashed != w.Hashed || len(e.Digest) != 32 || !strings.HasPrefix(e.Type, "EV_") {
			t.Errorf("event %d is %+v", i, e)
		}
	}
	if lines := r.Lines(); len(lines) != 6 || !strings.Contains(lines[4], `names ".linux"`) || !strings.Contains(lines[5], `is "root=/dev/vda ro"`) {
		t.Errorf("%q", lines)
	}

	// What systemd extends PCR 11 with after the firmware's log has ended is known.
	at := pcrs[32:64]
	for n, word := range []string{"enter-initrd", "leave-initrd", "sysinit", "ready"} {
		sum := sha256.Sum256([]byte(word))
		at = extend(at, sum[:])
		later := slices.Concat(pcrs[:32], at, pcrs[64:])
		if r := replay(log, later); !r.PCRs[1].Replays || len(r.PCRs[1].Phases) != n+1 || r.PCRs[1].Phases[n] != word || len(r.Events) != 5 {
			t.Errorf("after %s: %+v", word, r.PCRs[1])
		}
	}
	sum := sha256.Sum256([]byte("anything"))
	if r := replay(log, slices.Concat(pcrs[:32], extend(pcrs[32:64], sum[:]), pcrs[64:])); r.PCRs[1].Replays || r.PCRs[1].Phases != nil || len(r.Events) != 4 {
		t.Errorf("after something else: %+v", r.PCRs[1])
	}
}

// A log that says something else than what was quoted is not believed where it does, and nothing of these PCRs is shown.
func TestLogsThatLie(t *testing.T) {
	honest, pcrs := madeLog(booted()...)
	change := func(do func([]event) []event) []byte {
		log, _ := madeLog(do(booted())...)
		return log
	}
	for name, c := range map[string]struct {
		log     []byte
		replays [3]bool
		secure  string
	}{
		"honest":                  {honest, [3]bool{true, true, true}, "on"},
		"an event left out":       {change(func(e []event) []event { return append(e[:2], e[3:]...) }), [3]bool{false, true, true}, ""},
		"one put in":              {change(func(e []event) []event { return append(e, e[6]) }), [3]bool{true, true, false}, "on"},
		"another order":           {change(func(e []event) []event { e[1], e[2] = e[2], e[1]; return e }), [3]bool{false, true, true}, ""},
		"Secure Boot off":         {change(func(e []event) []event { e[1].data = efiVariable("SecureBoot", 0); return e }), [3]bool{true, true, true}, ""},
		"another kernel":          {change(func(e []event) []event { e[5].hashed = []byte("evil"); return e }), [3]bool{true, false, true}, "on"},
		"another name for it":     {change(func(e []event) []event { e[5].data = utf16le("good"); return e }), [3]bool{true, true, true}, "on"},
		"a type that is none":     {change(func(e []event) []event { e[6].kind = 0x7777; return e }), [3]bool{true, true, true}, "on"},
		"nothing of the quoted":   {change(func(e []event) []event { return e[:1] }), [3]bool{}, ""},
		"a digest of another PCR": {change(func(e []event) []event { e[6].pcr = 11; return e }), [3]bool{true, false, false}, "on"},
	} {
		r := replay(c.log, pcrs)
		got := [3]bool{}
		for i, p := range r.PCRs {
			got[i] = p.Replays
		}
		if got != c.replays || r.SecureBoot != c.secure || r.Fault != "" {
			t.Errorf("%s: %v, Secure Boot %q, %q", name, got, r.SecureBoot, r.Fault)
		}
		for _, e := range r.Events {
			if i := slices.Index([]int{7, 11, 12}, e.PCR); i < 0 || !got[i] {
				t.Errorf("%s: shows an event of PCR %d", name, e.PCR)
			}
		}
		if len(r.Lines()) == 0 || words(r.Summary()) != r.Summary() {
			t.Errorf("%s: said as %q", name, r.Summary())
		}
	}
	// A PCR of zeros needs no events; one with a value does.
	if r := replay(change(func(e []event) []event { return e[:1] }), make([]byte, 96)); !r.PCRs[0].Replays || r.Summary() != "the event log says nothing of what was quoted" {
		t.Errorf("nothing measured: %q", r.Summary())
	}
	if (*BootReport)(nil).Summary() != "" {
		t.Error("no log says something")
	}
}

// Whatever comes as a log, the replay ends, and shows no event of a PCR that it does not replay. Cut anywhere, and with any byte changed.
func TestBrokenLogs(t *testing.T) {
	log, pcrs := madeLog(booted()...)
	check := func(b []byte) {
		t.Helper()
		r := replay(b, pcrs)
		if r.Fault != "" && len(r.PCRs)+len(r.Events) > 0 {
			t.Fatalf("a fault, and %+v", r)
		}
		for _, e := range r.Events {
			if len(e.Digest) != 32 {
				t.Fatalf("event %+v", e)
			}
		}
		r.Lines()
	}
	for i := range log {
		check(log[:i])
		for _, mask := range []byte{1, 0x80, 0xff} {
			b := bytes.Clone(log)
			b[i] ^= mask
			check(b)
		}
	}
	check(nil)
	check(make([]byte, attest.MaxEventLogBytes))
	check(bytes.Repeat([]byte{0xff}, attest.MaxEventLogBytes))
	many := slices.Repeat(booted()[1:2], 400)
	b, values := madeLog(many...)
	if r := replay(b, values); len(r.Events) != maxBootEvents || !r.PCRs[0].Replays || r.PCRs[0].Events != 400 {
		t.Errorf("%d events shown of %d", len(r.Events), r.PCRs[0].Events)
	}
}

func FuzzReplay(f *testing.F) {
	log, pcrs := madeLog(booted()...)
	f.Add(log)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > attest.MaxEventLogBytes {
			return
		}
		r := replay(b, pcrs)
		if words(r.Summary()) != r.Summary() {
			t.Errorf("%q", r.Summary())
		}
		for _, line := range r.Lines() {
			if strings.ContainsAny(line, "\n\x1b") {
				t.Errorf("%q", line)
			}
		}
	})
}

// The log goes with a request and is shown, and what it says decides nothing: the same machine is answered with a good log, a lying one and none.
func TestLogInARequest(t *testing.T) {
	_, o := newOffice(t, nil)
	id := entitle(t, o, 9)
	a := newAppliance(t)
	_, pcrs, err := o.Quoted(a.request(o))
	if err != nil {
		t.Fatal(err)
	}
	lying, _ := madeLog(booted()...)
	for n, c := range []struct {
		log  []byte
		word string
	}{
		{nil, ""}, {lying, "does not replay"}, {[]byte("noise"), "cannot be read"}, {make([]byte, attest.MaxEventLogBytes), ""},
	} {
		r := a.draft(o.Trust().Root, want(id, uint32(n+1)))
		file, digest := a.sign(r, func(e *attest.Evidence) { e.EventLog = c.log })
		a.outstanding = append(a.outstanding, digest)
		res := mustRespond(t, o, file)
		if res.Status != 0 || res.Lines[0].Count != uint32(n+1) || (res.Booted != nil) != (c.log != nil) || !strings.Contains(res.Booted.Summary(), c.word) {
			t.Errorf("log %d: %s, %q for PCRs %x", n, res.Status, res.Booted.Summary(), pcrs)
		}
		a.apply(o.Trust(), res.File)
	}
}
