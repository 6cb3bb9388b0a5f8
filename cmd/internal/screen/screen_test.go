package screen

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/stick"
	"github.com/leasehold/leasehold/hostid"
)

func here() hostid.ID { return hostid.OfDigest(hostid.TPMEK, [32]byte{0x7f, 0x3a, 0x22, 0xc9}) }

// first is an appliance that was never activated.
func first() *State {
	return &State{
		Version: "1.0.0", Now: time.Date(2026, 11, 21, 17, 35, 0, 0, time.UTC), FirstCode: "K7QF-2M9X",
		Health: &console.Health{Host: here(), State: "not activated", Media: "auto", Clock: &console.Clock{State: "trusted"},
			Certificate: &certificate.View{Fingerprint: strings.TrimSuffix(strings.Repeat("AB:12:", 16), ":"), Names: []string{"licenses"}}},
		Network: []Interface{{Name: "eth0", Addresses: []string{"10.20.0.15/24", "fd00::15/64"}, Cable: true}, {Name: "eth1"}},
		Told:    []stick.Line{{Time: 1795282502, Code: "LH-1001", Text: "started"}, {Time: 1795282503, Text: "USB stick K\x1bX … – reading"}},
	}
}

// At every size each line is as wide as the screen, there are as many as it has rows, and nothing is drawn that a VGA console lacks.
func TestSizes(t *testing.T) {
	for _, size := range [][2]int{{80, 25}, {80, 24}, {40, 18}, {132, 50}, {20, 6}, {0, 0}, {21, 300}} {
		for _, s := range []*State{first(), {Version: "1.0.0", Problem: "LH-6002 leaseholdd does not answer", Next: "systemctl start leaseholdd"}} {
			for from := range 40 {
				lines := s.Screen(size[0], size[1], from)
				if len(lines) != max(size[1], leastHeight) {
					t.Fatalf("%v from %d: %d lines", size, from, len(lines))
				}
				for _, l := range lines {
					if n := len([]rune(l)); n != max(size[0], leastWidth) || Safe(l) != l {
						t.Fatalf("%v from %d: %d columns: %q", size, from, n, l)
					}
				}
			}
		}
	}
	want := `+- Leasehold 1.0.0 -- LH-7F3A-22C9 -- 2026-11-21 17:35Z -----------------------+
| STATE     NOT ACTIVATED - no licenses yet                                    |
| NEXT      1. Plug in a USB stick that has a folder named LEASEHOLD           |
|           2. Wait for SAFE TO REMOVE (2 beeps), take it to your supplier     |
|           3. Plug it in here again. Done.      No USB? press F4 for QR       |
| CONSOLE   https://10.20.0.15:7070/                                           |
|           https://[fd00::15]:7070/                                           |
|           certificate SHA-256                                                |
|             AB12AB12AB12AB12AB12AB12AB12AB12                                 |
|             AB12AB12AB12AB12AB12AB12AB12AB12                                 |
|           first-login code K7QF-2M9X (valid until first login)               |
| HEALTH    ok   clock: trusted   sticks: auto                                 |
| NETWORK   eth0 10.20.0.15/24 fd00::15/64                                     |
|           eth1 no cable                                                      |
| 17:35:02 LH-1001 started                                                     |
| 17:35:03 USB stick K?X ? ? reading                                           |
|                                                                              |
+ F1 status F2 network F3 log F4 QR code F5 seats F9 password F10 power -------+`
	if got := strings.Join(first().Screen(80, 18, 0), "\n"); got != want {
		t.Errorf("\n%s", got)
	}
	// What does not fit can be reached.
	if got := strings.Join(first().Screen(40, 18, 99), "\n"); !strings.Contains(got, "eth1 no cable") || !strings.Contains(got, "F10 power") {
		t.Errorf("\n%s", got)
	}
}

// Lines that are kept have the address, the fingerprint and the next step, and no secret.
func TestPlain(t *testing.T) {
	got := strings.Join(first().Plain(), "\n")
	for _, want := range []string{"LH-7F3A-22C9", "https://10.20.0.15:7070/", "AB12AB12AB12AB12AB12AB12AB12AB12", "Plug in a USB stick", "STATE    NOT ACTIVATED"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "K7QF") || Safe(strings.ReplaceAll(got, "\n", "")) != strings.ReplaceAll(got, "\n", "") {
		t.Errorf("%s", got)
	}
}

// What is said at the end of a boot has the code of the first login too, and what the authority is known by, in the words of their commands.
func TestOpening(t *testing.T) {
	s := first()
	s.Health.Certificate.Authority, s.Health.Certificate.Key = "01:02", "03:04"
	want := append(s.Plain(), "authority    01:02", "its key      03:04", "first-login code, valid until first login:", "K7QF-2M9X")
	if got := s.Opening(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	s.FirstCode = ""
	if got := s.Opening(); !slices.Equal(got, want[:len(want)-2]) {
		t.Errorf("%q", got)
	}
	if got := (&State{Version: "1.0.0", Problem: "x", Next: "systemctl start leaseholdd"}).Opening(); !strings.Contains(strings.Join(got, "\n"), "NEXT     systemctl start leaseholdd") {
		t.Errorf("%q", got)
	}
}

// A line without an end takes no memory, is no answer, and the next one is.
func TestLines(t *testing.T) {
	endless := strings.NewReader(strings.Repeat("x", 10<<20) + "\n5\n" + strings.Repeat("y", maxLine-1) + "\n" + strings.Repeat("z", maxLine) + "\nlast")
	ask := Lines(endless)
	for i, want := range []string{"", "5", strings.Repeat("y", maxLine-1), "", "last"} {
		if got, err := ask(); got != want || err != nil {
			t.Errorf("line %d: %d bytes, %v", i, len(got), err)
		}
	}
	if _, err := ask(); err != io.EOF {
		t.Error(err)
	}
}

// What is new is heard once, also when the lines before it have left.
func TestNewer(t *testing.T) {
	line := func(n int) stick.Line { return stick.Line{Time: capability.Time(n), Text: "x"} }
	for name, row := range map[string]struct {
		told  []stick.Line
		heard stick.Line
		want  int
	}{
		"the first":          {[]stick.Line{line(1)}, stick.Line{}, 1},
		"none new":           {[]stick.Line{line(1), line(2)}, line(2), 0},
		"two new":            {[]stick.Line{line(1), line(2), line(3)}, line(1), 2},
		"fewer, one new":     {[]stick.Line{line(8), line(9)}, line(8), 1},
		"none that is known": {[]stick.Line{line(8), line(9)}, line(1), 2},
		"all have left":      {nil, line(1), 0},
	} {
		if got := newer(row.told, row.heard); len(got) != row.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Each state, and each named failure, has a line of its own and a next step.
func TestStates(t *testing.T) {
	health := func(f func(*console.Health)) *State {
		s := first()
		f(s.Health)
		return s
	}
	refusing := func(c capability.Code) *State {
		return health(func(h *console.Health) {
			h.State, h.Condition = "refusing", &console.Problem{Code: c, Denial: capability.Denial{Code: c, Detail: "as it is"}}
		})
	}
	all := map[string]*State{
		"STARTING":      {},
		"NOT RUNNING":   {Problem: "x", Next: "systemctl start leaseholdd"},
		"NOT ACTIVATED": first(),
		"NOT ACTIVATED - WAITING for the response to request 7": health(func(h *console.Health) { h.Requests, h.Waiting = 7, 1 }),
		"SERVING - 43 of 50 seats in use, next expiry 2027-03-31": health(func(h *console.Health) {
			h.State, h.Used, h.Total, h.Expiry = "serving", 43, 50, capability.At(time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC))
		}),
		"SERVING - 0 of 1 seat in use":  health(func(h *console.Health) { h.State, h.Total = "serving", 1 }),
		"SERVING - 0 of 0 seats in use": health(func(h *console.Health) { h.State = "serving" }),
		"HOLDING":                       health(func(h *console.Health) { h.State, h.HoldUntil = "holding", 1795282502 }),
	}
	for _, c := range []capability.Code{capability.ErrSealed, capability.ErrRollback, capability.ErrCorrupt, capability.ErrBinding, capability.ErrClock, capability.ErrTPMCleared, capability.ErrCounter, capability.ErrStorageGone} {
		all[fmt.Sprintf("NOT SERVING - %s %s: as it is", c, c.Entry().Title)] = refusing(c)
	}
	seen := map[string]bool{}
	for want, s := range all {
		word, next := s.state()
		if !strings.HasPrefix(word, want) || seen[word] || len(next) == 0 || next[0] == "" {
			t.Errorf("%s: %q, next %q", want, word, next)
		}
		seen[word] = true
	}
	if _, next := all["SERVING - 0 of 0 seats in use"].state(); next[0] != "Nothing to do." {
		t.Error(next)
	}
	early := health(func(h *console.Health) {
		h.Conditions = []console.Condition{{Code: capability.ErrNotProvisioned, Severity: console.Stops, Title: "not activated", Next: "x"}, {Code: capability.ErrClock, Severity: console.Warning, Title: "clock held", Next: "set it"}}
	})
	if word, next := early.state(); word != "NOT ACTIVATED - no licenses yet; LH-4007 clock held" || next[0] != "set it" || len(next) != 4 {
		t.Errorf("%q, %q", word, next)
	}
	// A machine without a network card says so, whatever else it is; of another machine's cards nothing is known.
	for _, s := range []*State{{Problem: "x", Next: "y"}, health(func(h *console.Health) { h.State = "serving" })} {
		e := capability.ErrNoNetwork.Entry()
		s.Network = nil
		if p := strings.Join(s.Plain(), "\n"); !strings.Contains(p, "; LH-4110 "+e.Title+"\nNEXT ") || !strings.Contains(p, e.Next) || !strings.Contains(p, "NETWORK  "+e.Title) {
			t.Error(p)
		}
		s.Away = true
		if p := strings.Join(s.Plain(), "\n"); strings.Contains(p, "LH-4110") || strings.Contains(p, "NETWORK") {
			t.Error(p)
		}
	}
	warned := health(func(h *console.Health) {
		h.State = "serving"
		h.Conditions = []console.Condition{{Code: capability.ErrClock, Severity: console.Warning, Title: "held", Text: "a day ahead", Next: "leasehold time"}}
	})
	if _, next := warned.state(); next[0] != "leasehold time" || !slices.Contains(warned.health(), "LH-4007 warning: held - a day ahead") || !strings.HasPrefix(warned.health()[0], "1 condition ") {
		t.Errorf("%q, %q", next, warned.health())
	}
}

// Where sticks are not served by themselves, the next step says so, and there is a key for it.
func TestStickModes(t *testing.T) {
	s := first()
	if slices.ContainsFunc(s.keys(), func(k Key) bool { return k.Name == "F6" }) {
		t.Error("a key for what needs none")
	}
	s.Health.Media = "confirm"
	if _, next := s.state(); next[0] != "Press F6 first: sticks are let in for five minutes then." || !slices.ContainsFunc(s.keys(), func(k Key) bool { return k.Name == "F6" }) {
		t.Error(next)
	}
	s.Allowed = 61 * time.Second
	if _, next := s.state(); strings.Contains(next[0], "F6") || !strings.Contains(s.health()[0], "let in for 2 more min") {
		t.Error(next, s.health())
	}
	s.Health.Media = "off"
	if _, next := s.state(); !strings.Contains(next[0], "Sticks are off") {
		t.Error(next)
	}
}

func TestWrap(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"short":                "short",
		"one two three four":   "one two|three four",
		"0123456789012":        "0123456789|012",
		"a 0123456789012 b":    "a|0123456789|012 b",
		"  in two three four":  "  in two|  three|  four",
		"ends with spaces    ": "ends with|spaces    ",
	} {
		if got := strings.Join(wrap(in, 10), "|"); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	if got := wrap("            x y", 5); len(got) == 0 {
		t.Error("an indent wider than the screen")
	}
}

// read is what a camera reads off the lines of a code.
func read(t *testing.T, lines []string, dark bool) string {
	t.Helper()
	const scale = 4
	width := 0
	for _, l := range lines {
		width = max(width, len([]rune(l)))
	}
	img := image.NewGray(image.Rect(0, 0, width*scale, len(lines)*2*scale))
	for y, l := range lines {
		for x, r := range []rune(l) {
			for half := range 2 {
				ink := r == '█' || r == '▀' && half == 0 || r == '▄' && half == 1
				for n := range scale * scale {
					c := color.Gray{255}
					if ink != dark {
						c.Y = 0
					}
					img.SetGray(x*scale+n%scale, (2*y+half)*scale+n/scale, c)
				}
			}
		}
	}
	bits, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		t.Fatal(err)
	}
	r, err := qrcode.NewQRCodeReader().Decode(bits, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	return r.GetText()
}

// The codes of a request fit their screen, are as few as was measured, and are the request again when they are read.
func TestCodes(t *testing.T) {
	for _, row := range []struct {
		columns, rows int
		frames        [3]int // of 293, 339 and 501 bytes
	}{{80, 25, [3]int{3, 3, 4}}, {80, 30, [3]int{2, 2, 3}}, {100, 37, [3]int{1, 1, 2}}, {128, 48, [3]int{1, 1, 1}}, {40, 18, [3]int{7, 8, 12}}} {
		for i, n := range []int{293, 339, 501} {
			file := make([]byte, n)
			for i := range file {
				file[i] = byte(i * i >> 3)
			}
			codes, err := Codes(file, row.columns, row.rows)
			if err != nil || len(codes) != row.frames[i] {
				t.Fatalf("%dx%d: %d bytes in %d codes, %v", row.columns, row.rows, n, len(codes), err)
			}
			for n, text := range codes {
				dark := n%2 == 1
				lines, err := Code(text, dark)
				if err != nil {
					t.Fatal(err)
				}
				if len(lines) > row.rows || len([]rune(lines[0])) > row.columns {
					t.Errorf("%dx%d: a code of %dx%d", row.columns, row.rows, len([]rune(lines[0])), len(lines))
				}
				if got := read(t, lines, dark); got != text {
					t.Errorf("%q is read as %q", text, got)
				}
			}
		}
	}
	for _, small := range [][2]int{{0, 0}, {20, 10}, {80, 10}, {28, 25}} {
		if codes, err := Codes([]byte("x"), small[0], small[1]); err == nil {
			t.Errorf("%v: %d codes", small, len(codes))
		}
	}
}

// machine answers a menu, and remembers what was done.
type machine struct {
	done  []string
	inUse bool // somebody can sign in
}

func (m *machine) source() Source {
	return Source{
		Look: func(context.Context) *State {
			s := first()
			if m.inUse {
				s.FirstCode = ""
			}
			return s
		},
		Log:     func(context.Context) []string { return []string{"a line of the log"} },
		Seats:   func(context.Context) []string { return []string{"render  WS-1"} },
		Request: func(context.Context) (uint64, []byte, error) { return 3, []byte("bytes"), nil },
		Allow:   func(context.Context) error { m.done = append(m.done, "allow"); return nil },
		Password: func(_ context.Context, login, current, anew string) error {
			m.done = append(m.done, "password "+login+" "+current+" "+anew)
			return nil
		},
		Network: func(_ context.Context, login, password, card, address, gateway string) (string, error) {
			m.done = append(m.done, strings.Join([]string{"network", login, password, card, address, gateway}, " "))
			return "The network card " + card + " is set up.", nil
		},
		Power: func(_ context.Context, what Power, why string) error {
			m.done = append(m.done, fmt.Sprintf("%s: %s", what, why))
			return errors.New("no bus")
		},
		Say: func(err error) []string { return []string{"error: " + err.Error()} },
	}
}

// menu runs it on what a person types; passwords are the words of secrets, in turn.
func (m *machine) menu(t *testing.T, typed string, stay bool, secrets ...string) string {
	t.Helper()
	var out strings.Builder
	ask := Asker{Line: Lines(strings.NewReader(typed)), Secret: func(question string) (string, error) {
		if len(secrets) == 0 {
			return "", io.EOF
		}
		one := secrets[0]
		secrets = secrets[1:]
		return one, nil
	}}
	if err := Menu(t.Context(), &out, ask, m.source(), stay, func(b []byte) string { return "TEXT " + string(b) + "\nOF IT" }); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.String() {
		if r != '\n' && Safe(string(r)) != string(r) {
			t.Errorf("%q is written", r)
		}
	}
	return out.String()
}

// On a terminal that can draw nothing the same items have numbers, and no byte asks or steers the terminal.
func TestMenu(t *testing.T) {
	for typed, want := range map[string]string{
		"1\n": "first-login code K7QF-2M9X", "2\n": "eth1 no cable", "3\n": "a line of the log", "4\n": "Request 3, to be pasted at the back office:\nTEXT bytes\nOF IT", "5\n": "render  WS-1",
		"": "1) status  2) network  3) log  4) QR code  5) seats  9) password  0) power  q) quit", "17\n": "No such item.", "q\n": "STATE    NOT ACTIVATED", "\n\n": "> \n",
		"0\nhalt\n": "Nothing was done.", "0\noff\n\n": "it needs a reason", "9\n\n": "Nothing was changed.",
	} {
		m := &machine{}
		if got := m.menu(t, typed, false); !strings.Contains(got, want) || len(m.done) > 0 {
			t.Errorf("%q: %q, done %q", typed, got, m.done)
		}
	}
	m := &machine{}
	if got := m.menu(t, "6\n0\noff\nthe cabinet moves\n9\nkeller\n9\nkeller\n", false, "hunter1", "hunter2", "hunter2", "hunter1", "hunter2", "hunter3"); !strings.Contains(got, "error: no bus") || !strings.Contains(got, "plug it in now") ||
		!strings.Contains(got, "The password of keller is changed.") || !strings.Contains(got, "The two new passwords differ") || strings.Contains(got, "hunter") {
		t.Error(got)
	}
	if want := []string{"allow", "off: the cabinet moves", "password keller hunter1 hunter2"}; !slices.Equal(m.done, want) {
		t.Errorf("done: %q", m.done)
	}
	// A card is set up with a login's password, or while there is no login; what is not typed to its end changes nothing.
	m = &machine{}
	if got := m.menu(t, "2\neth0\n10.20.0.15/24\n10.20.0.1\n2\neth1\n\n2\n\n2\neth0\n", false); !strings.Contains(got, "The network card eth0 is set up.") || !strings.Contains(got, "Nothing was changed.") {
		t.Error(got)
	}
	if want := []string{"network   eth0 10.20.0.15/24 10.20.0.1", "network   eth1  "}; !slices.Equal(m.done, want) {
		t.Errorf("done: %q", m.done)
	}
	m = &machine{inUse: true}
	if got := m.menu(t, "2\neth1\n\nkeller\n2\neth0\n\n\n2\neth0\n\nkeller\n", false, "hunter1"); strings.Contains(got, "hunter") || strings.Count(got, "Nothing was changed.") != 2 {
		t.Error(got)
	}
	if want := []string{"network keller hunter1 eth1  "}; !slices.Equal(m.done, want) {
		t.Errorf("done: %q", m.done)
	}
	// What stays is ended by the end of its input alone.
	if got := m.menu(t, "q\n2\n", true); !strings.Contains(got, "eth1 no cable") || strings.Contains(got, "q) quit") {
		t.Error(got)
	}
}
