package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/leasehold/leasehold/appliance/certificate"
	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/screen"
	"github.com/leasehold/leasehold/cmd/internal/stick"
)

// newConsole is a machine whose daemon was never activated, with a journal of two lines.
func newConsole(t *testing.T) (*machine, *daemon, string) {
	m := newMachine(t)
	d := m.daemon()
	d.says("GET health", console.Health{Version: "development", Host: here(), State: "not activated", Media: "auto", Requests: 3, Certificate: &certificate.View{Fingerprint: strings.TrimSuffix(strings.Repeat("AB:12:", 16), ":"), Authority: "0A:0B", Key: "0C:0D", Names: []string{"licenses"}}})
	d.says("GET first-login", console.FirstLogin{Code: "K7QF-2M9X"})
	d.says("GET seats", console.Seats{Held: []console.Seat{}})
	d.says("POST requests", console.Written{Number: 3, Name: "REQ-0003.LHQ", File: request(t, 3)})
	told := filepath.Join(m.dir, "told")
	m.env = append(m.env, "LEASEHOLD_TOLD="+told)
	m.put("bin/journalctl", []byte("#!/bin/sh\necho 2026-11-21T17:35:02Z LH-1001 started\nprintf 'evil \\033[2J line\\n'\n"))
	if err := os.Chmod(filepath.Join(m.dir, "bin/journalctl"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i, v := range m.env {
		if strings.HasPrefix(v, "PATH=") {
			m.env[i] = "PATH=" + filepath.Join(m.dir, "bin") + ":" + os.Getenv("PATH")
		}
	}
	if err := os.MkdirAll(told, 0o755); err != nil {
		t.Fatal(err)
	}
	return m, d, told
}

// drawable fails for what a VGA console cannot draw, and for every question to the terminal.
func (e *emulator) drawable(t *testing.T) {
	t.Helper()
	text := e.text()
	for _, l := range strings.Split(text, "\n") {
		if screen.Safe(l) != l {
			t.Errorf("not drawable: %q", l)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.asked) > 0 || len(e.unknown) > 0 {
		t.Errorf("the terminal is asked %q, and told %q", e.asked, e.unknown)
	}
}

// On every terminal and at every size the whole screen is there, no terminal is asked anything, and nothing is drawn that it has no sign for.
func TestConsoleOnTerminals(t *testing.T) {
	for _, row := range []struct {
		term          string
		columns, rows int
		sized         bool
	}{{"linux", 80, 25, true}, {"vt220", 80, 24, true}, {"linux", 40, 18, true}, {"vt220", 80, 24, false}, {"linux", 128, 48, true}, {"xterm", 100, 37, true}} {
		t.Run(fmt.Sprintf("%s %dx%d %v", row.term, row.columns, row.rows, row.sized), func(t *testing.T) {
			m, _, told := newConsole(t)
			e := m.starts(row.term, row.columns, row.rows, row.sized, "console")
			text := e.has(t, "Leasehold", "LH-7F3A-22C9", "NOT ACTIVATED", "LEASEHOLD", "F1 status", "F10 power")
			if row.columns >= 80 && !strings.Contains(text, "first-login code K7QF-2M9X") {
				t.Errorf("no code of the first login:\n%s", text)
			}
			if lines := strings.Split(text, "\n"); len(lines) != row.rows || !strings.HasPrefix(lines[0], "+- ") || !strings.HasPrefix(lines[row.rows-1], "+ ") {
				t.Errorf("the screen is not filled:\n%s", text)
			}
			e.drawable(t)
			e.types(t, "3")
			e.has(t, "LH-1001 started", "evil ?[2J line")
			e.types(t, "5")
			e.has(t, "No seat is held.")
			e.types(t, "2")
			e.has(t, "NETWORK", "networkctl")
			e.types(t, "1")
			e.has(t, "STATE")
			if row.rows >= 24 && row.columns >= 80 { // there is room for what is told of sticks
				if err := stick.Tell(told, stick.Line{Time: 1795282502, Text: "USB stick KINGSTON 8 GB - request 1 WRITTEN. SAFE TO REMOVE", Sound: stick.Written, Last: true}); err != nil {
					t.Fatal(err)
				}
				e.has(t, "SAFE TO REMOVE")
			}
			e.drawable(t)
			e.types(t, "q")
			if err := e.cmd.Wait(); err != nil {
				t.Errorf("ended by %v", err)
			}
		})
	}
}

// On the appliance's own image the screen says which one that is, and on any other system the version of the program.
func TestConsoleNamesTheImage(t *testing.T) {
	m, _, _ := newConsole(t)
	for text, title := range map[string]string{"IMAGE_VERSION=2026.1\nLEASEHOLD_SECURITY=3\n": "Leasehold 2026.1  LH-7F3A-22C9", "ID=debian\nIMAGE_VERSION=13\n": "Leasehold development  LH-7F3A-22C9"} {
		m.put("os-release", []byte(text))
		if status, out, stderr := m.run("console", "--os-release", filepath.Join(m.dir, "os-release")); status != 0 || !strings.HasPrefix(out, title) {
			t.Errorf("%d %q %q, want %q", status, out, stderr, title)
		}
	}
}

// The keys of the foot, as a Linux console sends them.
func TestConsoleKeys(t *testing.T) {
	m, d, _ := newConsole(t)
	e := m.starts("linux", 80, 25, true, "console", "--stay")
	e.has(t, "NOT ACTIVATED")
	e.types(t, "\x03q\x1b[[B") // Ctrl-C and q end nothing, F2
	e.has(t, "networkctl")
	e.types(t, "\x1b[[C") // F3
	e.has(t, "LH-1001 started")
	e.types(t, "\x1b[21~") // F10
	e.has(t, "Power", "Reason, for the log", "Power off")
	e.drawable(t)
	e.types(t, "\t\r") // Restart, without a reason
	e.has(t, "Type a reason first")
	e.types(t, "\x1b[20~") // F9
	e.has(t, "Current password", "The same again")
	e.types(t, "keller\thunter1\thunter2\thunter3\t\r")
	e.has(t, "The two new passwords differ")
	if text := e.text(); strings.Contains(text, "hunter") || !strings.Contains(text, "*******") {
		t.Errorf("a password is shown:\n%s", text)
	}
	e.drawable(t)
	e.types(t, "\x1b[[A") // F1
	e.has(t, "NOT ACTIVATED")
	e.types(t, "6")
	e.has(t, "plug it in now")
	// A daemon that stops answering is a state with its own words.
	d.does("GET health", func([]byte) (any, *capability.Refusal) { return nil, capability.Refuse(capability.ErrBusy, "", "") })
	e.types(t, "1")
	e.has(t, "NOT RUNNING - LH-6007 busy", "try again")
}

// The log of a serial line has the state as whole lines once, with what a technician needs first, although the screen is drawn; and a daemon that comes up later is waited for.
func TestConsoleOnASerialLine(t *testing.T) {
	m, d, _ := newConsole(t)
	d.mu.Lock()
	up := d.answers["GET health"]
	d.mu.Unlock()
	d.does("GET health", func([]byte) (any, *capability.Refusal) { return nil, capability.Refuse(capability.ErrBusy, "", "") })
	e := m.starts("vt220", 80, 24, false, "console", "--stay")
	e.has(t, "NOT RUNNING - LH-6007 busy")
	d.does("GET health", func(b []byte) (any, *capability.Refusal) { // it answers before it has a certificate
		v, no := up(b)
		h := v.(console.Health)
		h.Certificate = nil
		return h, no
	})
	e.has(t, "NOT ACTIVATED")
	d.does("GET health", up)
	e.logs(t, "STATE    NOT ACTIVATED - no licenses yet", "NEXT     1. Plug in a USB stick that has a folder named LEASEHOLD", "its key      0C:0D", "K7QF-2M9X")
	e.has(t, "+- Leasehold", "NOT ACTIVATED", "F10 power") // and drawn again
	e.drawable(t)
	e.types(t, "2")
	e.has(t, "networkctl")
	e.mu.Lock()
	if n := strings.Count(e.all.String(), "its key"); n != 1 {
		t.Errorf("it is said %d times", n)
	}
	e.mu.Unlock()
	// A screen on which nothing changes is not sent again: each look asks the daemon, and some of them are waited for.
	e.types(t, "1")
	e.has(t, "NOT ACTIVATED")
	looks := make(chan struct{})
	d.does("GET health", func(b []byte) (any, *capability.Refusal) {
		select {
		case looks <- struct{}{}:
		case <-t.Context().Done():
		}
		return up(b)
	})
	<-looks
	before := e.sent()
	for range 4 {
		<-looks
	}
	if n := e.sent() - before; n > 600 { // the minute may change meanwhile, and a cursor is hidden
		t.Errorf("%d bytes are sent where nothing changes", n)
	}
}

// The codes on the screen, read as a camera reads them, are the request.
func TestConsoleCodes(t *testing.T) {
	m, d, _ := newConsole(t)
	e := m.starts("linux", 80, 25, true, "console")
	e.has(t, "NOT ACTIVATED")
	e.types(t, "4")
	want := request(t, 3)
	codes := map[string]bool{}
	for total := 0; total == 0 || len(codes) < total; {
		text := e.shows(t, "another code", func(text string) bool {
			_, counted, found := strings.Cut(text, " of ")
			if !found || !strings.Contains(text, "Request 3") {
				return false
			}
			if _, err := fmt.Sscan(counted, &total); err != nil {
				return false
			}
			return true
		})
		if code, err := camera(text, 45+8); err == nil {
			codes[code] = true
		}
		select {
		case <-e.changed:
		case <-t.Context().Done():
		}
	}
	file, err := wire.FromText([]byte(strings.Join(slices.Collect(maps.Keys(codes)), "\n")))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, want) {
		t.Errorf("%d bytes were read where the request has %d", len(file), len(want))
	}
	e.drawable(t)
	// The same request is shown again as long as nothing is new.
	d.says("GET health", console.Health{Host: here(), State: "not activated", Media: "auto", Requests: 3, Waiting: 1})
	d.does("POST requests", func([]byte) (any, *capability.Refusal) {
		return console.Written{Number: 4, File: request(t, 4)}, nil
	})
	e.types(t, "1")
	e.has(t, "WAITING for the response to request 3")
	e.types(t, "4")
	e.has(t, "Request 3")
}

// camera reads the code in the first columns of a screen.
func camera(text string, columns int) (string, error) {
	const scale = 4
	lines := strings.Split(text, "\n")
	img := image.NewGray(image.Rect(0, 0, columns*scale, len(lines)*2*scale))
	for y, l := range lines {
		row := []rune(l)
		for x := range columns {
			r := ' '
			if x < len(row) {
				r = row[x]
			}
			for half := range 2 {
				for n := range scale * scale {
					c := color.Gray{255}
					if r == '█' || r == '▀' && half == 0 || r == '▄' && half == 1 {
						c.Y = 0
					}
					img.SetGray(x*scale+n%scale, (2*y+half)*scale+n/scale, c)
				}
			}
		}
	}
	bits, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		return "", err
	}
	r, err := qrcode.NewQRCodeReader().Decode(bits, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		return "", err
	}
	return r.GetText(), nil
}

// A terminal that can draw nothing gets a menu, and no byte that steers it.
func TestConsoleOnADumbTerminal(t *testing.T) {
	m, _, _ := newConsole(t)
	e := m.starts("dumb", 80, 60, true, "console")
	e.has(t, "STATE    NOT ACTIVATED", "1) status")
	e.types(t, "1\n")
	e.has(t, "first-login code K7QF-2M9X")
	e.types(t, "9\nkeller\n")
	for i, question := range []string{"Current password:", "New password:", "The same again:"} {
		e.has(t, question)
		e.hides(t)
		e.types(t, fmt.Sprintf("hunter%d\n", i))
	}
	if text := e.has(t, "The two new passwords differ"); strings.Contains(text, "hunter") {
		t.Errorf("a password is shown:\n%s", text)
	}
	e.drawable(t)
	e.types(t, "q\n")
	if err := e.cmd.Wait(); err != nil {
		t.Error(err)
	}
	// So does what is no terminal, and the items are commands.
	for args, want := range map[string]string{"console": "1) status", "console status": "STATE    NOT ACTIVATED", "console log": "evil ?[2J line", "console seats": "No seat is held.", "console network": "", "console qr": "█"} {
		status, out, stderr := m.run(strings.Fields(args)...)
		if status != 0 || !strings.Contains(out, want) || strings.ContainsAny(out+stderr, "\x1b\x07") || strings.Contains(out, "K7QF") {
			t.Errorf("%s: %d %q %q", args, status, out, stderr)
		}
	}
	for args, code := range map[string]capability.Code{"console --json": capability.ErrUsage, "console status --json": capability.ErrUsage, "console qr --json": capability.ErrUsage, "console qr --rows 5": capability.ErrUsage,
		"console power halt --reason x": capability.ErrUsage, "console power off": capability.ErrUsage, "console password": capability.ErrUsage} {
		if status, _, stderr := m.run(strings.Fields(args)...); status != capability.ExitUsage {
			t.Errorf("%s: %d %s", args, status, stderr)
		} else {
			fourLines(t, args, stderr, code)
		}
	}
}

// A network card is set up at the machine: by whoever stands there while there is no login, then by one who admits others. What is refused is not kept.
func TestConsoleNetwork(t *testing.T) {
	cards := interfaces()
	if len(cards) == 0 {
		t.Fatal("this machine has no network card to be named")
	}
	card := cards[0].Name
	m, d, _ := newConsole(t)
	networks, until := filepath.Join(m.dir, "networks"), filepath.Join(m.dir, "until")
	m.put("bin/systemctl", []byte("#!/bin/sh\necho \"$@\" >> \"$LEASEHOLD_NETWORKS/../restarted\"\n"))
	if err := errors.Join(os.Chmod(filepath.Join(m.dir, "bin/systemctl"), 0o755), os.Mkdir(networks, 0o755), os.Mkdir(until, 0o755)); err != nil {
		t.Fatal(err)
	}
	m.env = append(m.env, "LEASEHOLD_NETWORKS="+networks, "LEASEHOLD_NETWORKS_UNTIL_RESTART="+until)
	e := m.starts("linux", 80, 25, true, "console", "--stay")
	e.has(t, "NOT ACTIVATED", "first-login code")
	e.types(t, "2")
	e.has(t, "Enter sets a card up")
	e.types(t, "\r")
	if text := e.has(t, "Network card", card, "Gateway, or none"); strings.Contains(text, "Its password") || strings.Contains(text, "Your login") {
		t.Errorf("a password is asked for where there is none:\n%s", text)
	}
	e.drawable(t)
	e.types(t, "\t10.20.0.15/24\t10.20.0.1\t\r")
	e.has(t, "The network card "+card+" is set up.")
	in := func(dir string) string {
		b, err := os.ReadFile(filepath.Join(dir, card+".card"))
		if err != nil {
			return ""
		}
		return string(b)
	}
	if got := in(networks); got != "address=10.20.0.15/24\ngateway=10.20.0.1\n" || in(until) != "" {
		t.Errorf("kept: %q, until the next start: %q", got, in(until))
	}
	if b, err := os.ReadFile(filepath.Join(m.dir, "restarted")); err != nil || string(b) != "restart systemd-networkd.service\n" {
		t.Errorf("%q, %v", b, err)
	}
	// A storage that does not open knows no login, and its logins come back with it; a daemon that cannot start knows none either. What is set up then goes with the next start.
	was := in(networks)
	up := func(h console.Health) func() { return func() { d.says("GET health", h) } }
	down := func() {
		no := func([]byte) (any, *capability.Refusal) { return nil, capability.Refuse(capability.ErrNoTPM, "", "") }
		d.does("GET health", no)
		d.does("GET first-login", no)
	}
	for n, state := range []func(){up(console.Health{Version: "development", Host: here(), State: "refusing", Condition: conditionOf(capability.ErrSealed), Media: "confirm"}), down} {
		state()
		e.types(t, "2")
		e.has(t, "Enter sets a card up")
		if n == 1 {
			e.types(t, "1")
			e.has(t, "NOT RUNNING")
			e.types(t, "2")
			e.has(t, "Enter sets a card up")
		}
		e.types(t, "\r")
		if text := e.has(t, "Network card", card, "Gateway, or none"); strings.Contains(text, "Your login") {
			t.Errorf("a login is asked for where nobody knows one:\n%s", text)
		}
		e.types(t, fmt.Sprintf("\t10.20.%d.16/24\t\t\r", n))
		e.has(t, "until the machine starts again")
		if got, want := in(until), fmt.Sprintf("address=10.20.%d.16/24\n", n); got != want || in(networks) != was {
			t.Errorf("kept: %q, until the next start: %q, want %q", in(networks), got, want)
		}
	}
	d.says("GET health", console.Health{Version: "development", Host: here(), State: "not activated", Media: "auto"})
	// Now somebody can sign in, and not everybody admits others.
	d.does("GET first-login", func([]byte) (any, *capability.Refusal) {
		return nil, capability.Refuse(capability.ErrForbidden, "", "there are logins")
	})
	d.says("POST session", console.SignedIn{Token: "t"})
	d.says("DELETE session", struct{}{})
	d.does("GET users", func([]byte) (any, *capability.Refusal) {
		return nil, capability.Refuse(capability.ErrForbidden, "", "another role")
	})
	o := m.starts("dumb", 80, 60, true, "console")
	o.has(t, "1) status")
	waits := func(question string) {
		t.Helper()
		o.shows(t, question, func(text string) bool { return strings.HasSuffix(strings.TrimSpace(text), question) })
	}
	asks := func(card, login string) {
		t.Helper()
		waits(">")
		o.types(t, "2\n")
		waits("Card to set up, or nothing:")
		o.types(t, card+"\n")
		waits("or nothing for DHCP:")
		o.types(t, "\n")
		waits("Your login:")
		o.types(t, login+"\n")
		waits("Its password:")
		o.hides(t)
		o.types(t, "hunter2\n")
	}
	asks(card, "eve")
	o.has(t, "another role")
	if in(networks) != was {
		t.Error("somebody without that role has changed it")
	}
	d.says("GET users", []console.User{})
	asks(card, "keller")
	if text := o.has(t, "The network card "+card+" is set up."); strings.Contains(text, "hunter2") {
		t.Error("a password is shown")
	}
	if got := in(networks); got != "address=dhcp\n" || in(until) != "" {
		t.Errorf("kept: %q, until the next start: %q", got, in(until))
	}
	asks("no-such-card", "keller")
	o.has(t, "this machine has no network card no-such-card")
}

// The machine is restarted and switched off by its login manager, and the reason is said before.
func TestConsolePower(t *testing.T) {
	m, _, _ := newConsole(t)
	m.env = append(m.env, "DBUS_SYSTEM_BUS_ADDRESS=unix:path="+filepath.Join(m.dir, "none"))
	status, _, stderr := m.run("console", "power", "restart", "--reason", "the cabinet moves")
	if status != capability.ExitNoDaemon || strings.Contains(stderr, "the cabinet moves") {
		t.Errorf("without a bus: %d %s", status, stderr)
	}
	m.put("bus.conf", []byte(`<busconfig><type>session</type><listen>unix:path=`+m.dir+`/bus</listen><auth>EXTERNAL</auth>
		<policy context="default"><allow send_destination="*"/><allow eavesdrop="false"/><allow own="*"/></policy></busconfig>`))
	bus := exec.Command("dbus-daemon", "--config-file="+m.dir+"/bus.conf", "--nofork", "--nopidfile", "--print-address")
	out, err := bus.StdoutPipe()
	if err == nil {
		err = bus.Start()
	}
	if err != nil {
		t.Fatalf("dbus-daemon is not installed; type: make deps (%v)", err)
	}
	t.Cleanup(func() { bus.Process.Kill(); bus.Wait() })
	if _, err := out.Read(make([]byte, 256)); err != nil { // its address: it listens
		t.Fatal(err)
	}
	m.env[len(m.env)-1] = "DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + m.dir + "/bus"
	status, _, stderr = m.run("console", "power", "off", "--reason", "x")
	if status != capability.ExitPolicy {
		t.Errorf("without a login manager: %d %s", status, stderr)
	}
	conn, err := dbus.Connect("unix:path=" + m.dir + "/bus")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	l := &loginManager{make(chan string, 2)}
	if err := conn.Export(l, "/org/freedesktop/login1", "org.freedesktop.login1.Manager"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName("org.freedesktop.login1", dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{"restart": "Reboot false", "off": "PowerOff false"} {
		status, out, stderr := m.run("console", "power", what, "--reason", "the cabinet moves")
		if status != 0 || !strings.Contains(out, "on its way") {
			t.Fatalf("%s: %d %s%s", what, status, out, stderr)
		}
		if got := <-l.called; got != want {
			t.Errorf("%s calls %s", what, got)
		}
		if journal := exec.Command("test", "-S", "/run/systemd/journal/socket").Run() == nil; !journal && !strings.Contains(stderr, `code=LH-1006 what=`+what+` reason="the cabinet moves"`) {
			t.Errorf("the reason is not said: %s", stderr)
		}
	}
}

type loginManager struct{ called chan string }

func (l *loginManager) Reboot(interactive bool) *dbus.Error {
	l.called <- fmt.Sprint("Reboot ", interactive)
	return nil
}

func (l *loginManager) PowerOff(interactive bool) *dbus.Error {
	l.called <- fmt.Sprint("PowerOff ", interactive)
	return nil
}
