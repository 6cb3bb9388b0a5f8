package backoffice

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/google/go-eventlog/register"
	"github.com/google/go-eventlog/tcg"
)

// A machine's event log says in names what its quote says in digests: which firmware settings, boot loader, kernel and command line were started. Nobody signs it, so only the events of a PCR that
// extend to the value which the TPM quoted are believed, and of these the digests: a text counts where it is what was hashed. A log that says otherwise raises nothing, and refuses nothing.

const (
	maxBootEvents = 128 // shown of one log
	maxEventText  = 160 // bytes shown of what an event says

	secureBootPCR = 7
	kernelPCR     = 11 // which the system goes on extending when firmware has stopped to write the log
	commandPCR    = 12
)

// BootReport is what an event log shows.
type BootReport struct {
	Fault      string      `json:"fault,omitempty"`      // why the log cannot be read; then nothing else is there
	PCRs       []BootPCR   `json:"pcrs,omitempty"`       // the quoted ones
	SecureBoot string      `json:"secureBoot,omitempty"` // on or off; empty: no event that is borne out says it
	Events     []BootEvent `json:"events,omitempty"`     // of the PCRs that replay, in the order of the log, at most 128
}

// BootPCR is one PCR that the machine quoted.
type BootPCR struct {
	Index   int      `json:"index"`
	Events  int      `json:"events"`
	Replays bool     `json:"replays"`          // its events extend to the quoted value
	Phases  []string `json:"phases,omitempty"` // and then these words of the running system
}

// BootEvent is one event that the quote bears out.
type BootEvent struct {
	PCR    int    `json:"pcr"`
	Type   string `json:"type"` // as the log calls it
	Digest []byte `json:"digest"`
	Text   string `json:"text,omitempty"`
	Hashed bool   `json:"hashed"` // the digest is that of the text's bytes; else the text is only what the log calls it
}

// replay judges a log by the values of PCR 7, 11 and 12 as quoted, entitlement.StateBytes long.
func replay(log, pcrs []byte) *BootReport {
	parsed, err := tcg.ParseEventLog(log, tcg.ParseOpts{AllowPadding: true})
	if err != nil {
		return &BootReport{Fault: words(err.Error())}
	}
	r := &BootReport{}
	var proven []register.MR
	for i, index := range []int{secureBootPCR, kernelPCR, commandPCR} {
		quoted := pcrs[i*sha256.Size : (i+1)*sha256.Size]
		p := BootPCR{Index: index}
		end := &register.PCR{Index: index, Digest: quoted, DigestAlg: crypto.SHA256}
		events, err := parsed.Verify([]register.MR{end})
		if err != nil && index == kernelPCR {
			end.Digest = folded(parsed, index)
			if p.Phases = phases(end.Digest, quoted); p.Phases != nil {
				events, err = parsed.Verify([]register.MR{end})
			}
		}
		p.Events = len(events)
		if p.Replays = err == nil && (len(events) > 0 || bytes.Equal(quoted, make([]byte, len(quoted)))); p.Replays {
			proven = append(proven, end)
		}
		r.PCRs = append(r.PCRs, p)
	}
	events, err := parsed.Verify(proven)
	if err != nil {
		return &BootReport{Fault: words(err.Error())} // each alone replayed, so this is a fault of the replay
	}
	for _, e := range events[:min(len(events), maxBootEvents)] {
		r.add(e)
	}
	return r
}

// folded is what the events of a PCR extend to.
func folded(log *tcg.EventLog, index int) []byte {
	value := make([]byte, sha256.Size)
	for _, e := range log.Events(register.HashSHA256) {
		if e.Index == index && e.Type != tcg.NoAction {
			value = extend(value, e.Digest)
		}
	}
	return value
}

func extend(value, digest []byte) []byte {
	sum := sha256.Sum256(slices.Concat(value, digest))
	return sum[:]
}

// phases are the words that systemd-pcrphase has extended PCR 11 with since the log ended, nil where none lead from value to quoted.
func phases(value, quoted []byte) []string {
	for _, words := range [][]string{{"enter-initrd", "leave-initrd", "sysinit", "ready", "shutdown", "final"}, {"sysinit", "ready", "shutdown", "final"}} {
		at := value
		for n, word := range words {
			digest := sha256.Sum256([]byte(word))
			if at = extend(at, digest[:]); bytes.Equal(at, quoted) {
				return words[:n+1]
			}
		}
	}
	return nil
}

// add takes in an event that the quote bears out.
func (r *BootReport) add(e tcg.Event) {
	b := BootEvent{PCR: e.Index, Type: e.Type.TCGString(), Digest: e.Digest, Hashed: e.DigestVerified()}
	b.Text = text(e.Data)
	if e.Type == tcg.EFIVariableDriverConfig || e.Type == tcg.EFIVariableAuthority || e.Type == tcg.EFIVariableBoot || e.Type == tcg.EFIVariableBoot2 {
		name, value, ok := variable(e.Data)
		switch {
		case !ok:
			b.Text = ""
		case len(value) <= 8:
			b.Text = text([]byte(name)) + fmt.Sprintf(" = %x", value)
		default:
			b.Text = text([]byte(name)) + fmt.Sprintf(", %d bytes", len(value))
		}
		// Firmware measures this setting before anything that it starts could extend the PCR.
		if ok && e.Index == secureBootPCR && e.Type == tcg.EFIVariableDriverConfig && name == "SecureBoot" && b.Hashed && r.SecureBoot == "" {
			if r.SecureBoot = "off"; bytes.Equal(value, []byte{1}) {
				r.SecureBoot = "on"
			}
		}
	}
	r.Events = append(r.Events, b)
}

// variable reads a UEFI_VARIABLE_DATA: a GUID, the lengths of name and value, both.
func variable(b []byte) (name string, value []byte, ok bool) {
	const header = 16 + 8 + 8
	if len(b) < header {
		return "", nil, false
	}
	letters, bytes := binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
	rest := uint64(len(b) - header)
	if letters > rest/2 || bytes != rest-2*letters {
		return "", nil, false
	}
	return wide(b[header : header+2*letters]), b[header+2*letters:], true
}

// wide is UTF-16 in little endian.
func wide(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// text is what an event says, where it says something that people can read: bytes of ASCII, or UTF-16 of the same, perhaps with zeros behind.
func text(b []byte) string {
	s := strings.TrimRight(string(b), "\x00")
	if len(b) >= 2 && len(b)%2 == 0 && b[1] == 0 {
		s = strings.TrimRight(wide(b), "\x00")
	}
	for _, r := range s {
		if r < 0x20 || r > 0x7e {
			return ""
		}
	}
	if len(s) > maxEventText {
		s = s[:maxEventText] + "..."
	}
	return s
}

// Summary is the report in one line; empty where there was no log.
func (r *BootReport) Summary() string {
	switch {
	case r == nil:
		return ""
	case r.Fault != "":
		return "the event log cannot be read"
	}
	var good, bad []string
	for _, p := range r.PCRs {
		switch {
		case !p.Replays:
			bad = append(bad, fmt.Sprint(p.Index))
		case p.Events > 0:
			good = append(good, fmt.Sprint(p.Index))
		}
	}
	s := "the event log"
	switch {
	case len(good) > 0:
		s += " replays PCR " + strings.Join(good, ", ")
		if len(bad) > 0 {
			s += ", and not " + strings.Join(bad, ", ")
		}
	case len(bad) > 0:
		s += " does not replay PCR " + strings.Join(bad, ", ")
	default:
		s += " says nothing of what was quoted"
	}
	if r.SecureBoot != "" {
		s += "; Secure Boot is " + r.SecureBoot
	}
	return s
}

// Lines is the report in words: first its summary, then what was started.
func (r *BootReport) Lines() []string {
	lines := []string{r.Summary()}
	if r.Fault != "" {
		return []string{lines[0] + ": " + r.Fault}
	}
	for _, e := range r.Events {
		said := "names"
		if e.Hashed {
			said = "is"
		}
		switch e.Text {
		case "":
			lines = append(lines, fmt.Sprintf("PCR %d  %s  %.8x", e.PCR, e.Type, e.Digest))
		default:
			lines = append(lines, fmt.Sprintf("PCR %d  %s  %.8x %s %q", e.PCR, e.Type, e.Digest, said, e.Text))
		}
	}
	for _, p := range r.PCRs {
		if p.Phases != nil {
			lines = append(lines, fmt.Sprintf("PCR %d  then the phases %s", p.Index, strings.Join(p.Phases, ", ")))
		}
	}
	return lines
}
