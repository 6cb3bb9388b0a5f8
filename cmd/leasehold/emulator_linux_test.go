package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// emulator is a terminal of a few commands: what a program draws on it can be read, and what it asks of it is written down.
type emulator struct {
	mu       sync.Mutex
	columns  int
	cells    [][]rune
	x, y     int
	graphics bool     // the line-drawing set is in use
	asked    []string // queries: a terminal that knows none would answer nothing, and who waits would hang
	unknown  []string
	pending  []byte
	all      strings.Builder // every byte, as a log of a serial line has them
	changed  chan struct{}

	person *os.File
	cmd    *exec.Cmd
}

func newEmulator(columns, rows int) *emulator {
	e := &emulator{columns: columns, changed: make(chan struct{}, 1)}
	for range rows {
		e.cells = append(e.cells, slices.Repeat([]rune{' '}, columns))
	}
	return e
}

// starts runs the program of a machine on a terminal of that name; the kernel is told a size, which may be none.
func (m *machine) starts(term string, columns, rows int, sized bool, args ...string) *emulator {
	m.t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	defer tty.Close()
	if sized {
		if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)}); err != nil {
			m.t.Fatal(err)
		}
	}
	e := newEmulator(columns, rows)
	e.person = person
	e.cmd = exec.Command(os.Args[0], args...)
	e.cmd.Dir, e.cmd.Env = m.dir, append(slices.Clone(m.env), "TERM="+term, "LC_ALL=C.UTF-8")
	e.cmd.Stdin, e.cmd.Stdout, e.cmd.Stderr = tty, tty, tty
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := e.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { e.cmd.Process.Kill(); e.cmd.Wait() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := person.Read(b)
			if err != nil {
				return
			}
			e.mu.Lock()
			e.write(b[:n])
			e.mu.Unlock()
			select {
			case e.changed <- struct{}{}:
			default:
			}
		}
	}()
	return e
}

// text is what is on the screen.
func (e *emulator) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var lines []string
	for _, row := range e.cells {
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	return strings.Join(lines, "\n")
}

// shows waits until the screen is as wanted.
func (e *emulator) shows(t *testing.T, what string, wanted func(string) bool) string {
	t.Helper()
	end := time.After(time.Minute)
	for {
		if text := e.text(); wanted(text) {
			return text
		}
		select {
		case <-e.changed:
		case <-end:
			t.Fatalf("%s is not shown; asked %q\n%s", what, e.asked, e.text())
		}
	}
}

func (e *emulator) has(t *testing.T, words ...string) string {
	t.Helper()
	return e.shows(t, strings.Join(words, ", "), func(text string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	})
}

// logs waits until a log of the terminal has these whole lines, whatever is drawn before and after them.
func (e *emulator) logs(t *testing.T, lines ...string) {
	t.Helper()
	e.shows(t, strings.Join(lines, ", "), func(string) bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return !slices.ContainsFunc(lines, func(l string) bool { return !strings.Contains(e.all.String(), "\r\n"+l+"\r\n") })
	})
}

// sent is how many bytes were sent to the terminal.
func (e *emulator) sent() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.all.Len()
}

// hides waits until what is typed is not shown.
func (e *emulator) hides(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		state, err := unix.IoctlGetTermios(int(e.person.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if state.Lflag&unix.ECHO == 0 {
			return
		}
		select {
		case <-e.changed:
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal("what is typed is shown")
		}
	}
}

func (e *emulator) types(t *testing.T, keys string) {
	t.Helper()
	if _, err := e.person.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

func (e *emulator) write(b []byte) {
	e.all.Write(b)
	e.pending = append(e.pending, b...)
	for len(e.pending) > 0 {
		n := e.take(e.pending)
		if n == 0 {
			return // the rest is still to come
		}
		e.pending = e.pending[n:]
	}
}

// take does what the first bytes say, and gives how many they are.
func (e *emulator) take(b []byte) int {
	switch c := b[0]; {
	case c == 0x1b:
		return e.escape(b)
	case c == '\r':
		e.x = 0
	case c == '\n':
		if e.y++; e.y == len(e.cells) {
			e.y--
			e.cells = append(e.cells[1:], slices.Repeat([]rune{' '}, e.columns))
		}
	case c == '\b':
		e.x = max(0, e.x-1)
	case c == 0x0e, c == 0x0f:
		e.graphics = c == 0x0e
	case c == 0x05: // ENQ
		e.asked = append(e.asked, "ENQ")
	case c < 0x20 || c == 0x7f:
	case c < 0x80:
		e.put(rune(c))
	default:
		size := 2
		if c >= 0xe0 {
			size = 3
		}
		if c >= 0xf0 {
			size = 4
		}
		if len(b) < size {
			return 0
		}
		e.put([]rune(string(b[:size]))[0])
		return size
	}
	return 1
}

func (e *emulator) put(r rune) {
	if e.graphics {
		if at := strings.IndexRune("jklmnqtuvwx", r); at >= 0 {
			r = []rune("┘┐┌└┼─├┤┴┬│")[at]
		}
	}
	if e.x < e.columns && e.y < len(e.cells) {
		e.cells[e.y][e.x] = r
	}
	e.x++
}

func (e *emulator) escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '[':
		for i := 2; i < len(b); i++ {
			if b[i] >= 0x40 && b[i] <= 0x7e {
				e.control(string(b[2:i]), b[i])
				return i + 1
			}
		}
		return 0
	case ']', 'P', '_', '^': // up to BEL or ST
		for i := 2; i < len(b); i++ {
			if b[i] == 0x07 || b[i] == '\\' && b[i-1] == 0x1b {
				if strings.ContainsAny(string(b[2:i]), "?") || b[1] == 'P' {
					e.asked = append(e.asked, string(b[1:i]))
				}
				return i + 1
			}
		}
		return 0
	case '(', ')', '#', '%', ' ':
		if len(b) < 3 {
			return 0
		}
		if b[1] == '(' {
			e.graphics = b[2] == '0'
		}
		return 3
	case 'Z':
		e.asked = append(e.asked, "DECID")
	}
	return 2
}

// control is a control sequence: its parameters, and the letter that ends it.
func (e *emulator) control(parameters string, final byte) {
	var n []int
	for _, p := range strings.Split(strings.TrimLeft(parameters, "?>=<"), ";") {
		v, err := strconv.Atoi(p)
		if err != nil {
			v = 0
		}
		n = append(n, v)
	}
	n = append(n, 0)
	least := func(v int) int { return max(v, 1) }
	blank := func(y, from, to int) {
		for x := from; x < to && y < len(e.cells); x++ {
			e.cells[y][x] = ' '
		}
	}
	switch final {
	case 'H', 'f':
		e.y, e.x = min(least(n[0]), len(e.cells))-1, min(least(n[1]), e.columns)-1
	case 'A':
		e.y = max(0, e.y-least(n[0]))
	case 'B':
		e.y = min(len(e.cells)-1, e.y+least(n[0]))
	case 'C':
		e.x = min(e.columns-1, e.x+least(n[0]))
	case 'D':
		e.x = max(0, e.x-least(n[0]))
	case 'J':
		if n[0] >= 2 {
			for y := range e.cells {
				blank(y, 0, e.columns)
			}
			break
		}
		blank(e.y, e.x, e.columns)
		for y := e.y + 1; y < len(e.cells); y++ {
			blank(y, 0, e.columns)
		}
	case 'K':
		blank(e.y, e.x, e.columns)
	case 'X':
		blank(e.y, e.x, min(e.columns, e.x+least(n[0])))
	case 'm', 'h', 'l', 'r', 's':
	case 'q':
		if strings.HasPrefix(parameters, ">") {
			e.asked = append(e.asked, "["+parameters+"q")
		}
	case 't':
		if n[0] < 22 || n[0] > 23 { // 22 and 23 keep and restore a title
			e.asked = append(e.asked, "["+parameters+"t")
		}
	case 'c': // with a question mark it is about the cursor, on a Linux console
		if !strings.HasPrefix(parameters, "?") {
			e.asked = append(e.asked, "["+parameters+"c")
		}
	case 'u': // with another sign keys are to be told in another way
		if strings.HasPrefix(parameters, "?") {
			e.asked = append(e.asked, "["+parameters+"u")
		}
	case 'n', 'p', 'x', 'y':
		e.asked = append(e.asked, "["+parameters+string(final))
	default:
		e.unknown = append(e.unknown, "["+parameters+string(final))
	}
}
