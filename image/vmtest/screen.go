package vm

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The size of a terminal on the serial line that says none.
const (
	screenColumns = 80
	screenRows    = 24
)

// Screen is what a terminal on the serial line shows, a line for each of its rows.
func (m *Machine) Screen() (string, error) {
	b, err := os.ReadFile(m.path("serial.log"))
	if err != nil {
		return "", err
	}
	return render(b), nil
}

// WaitScreen waits until the terminal on the serial line shows what the expression matches, and gives its groups. Rows are joined for it: frames and runs of spaces are one space.
func (m *Machine) WaitScreen(ctx context.Context, expression string) ([]string, error) {
	return m.wait(ctx, expression, func() (text, shown string, err error) {
		screen, err := m.Screen()
		return joined(screen), "the screen shows\n" + screen, err
	})
}

// joined is the text in the rows of a screen, in one line.
func joined(screen string) string {
	var words []string
	for line := range strings.Lines(screen) {
		line = strings.TrimSpace(line)
		if rest, framed := strings.CutPrefix(line, "|"); framed {
			line = strings.TrimSuffix(rest, "|")
		}
		words = append(words, strings.Fields(line)...)
	}
	return strings.Join(words, " ")
}

// terminal is one of few commands: those that a program uses that draws on a line which answers nothing.
type terminal struct {
	cells [][]rune
	x, y  int
}

func render(b []byte) string {
	t := &terminal{}
	for range screenRows {
		t.cells = append(t.cells, blank())
	}
	for len(b) > 0 {
		b = b[t.take(b):]
	}
	var lines []string
	for _, row := range t.cells {
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	return strings.Join(lines, "\n")
}

func blank() []rune { return slices.Repeat([]rune{' '}, screenColumns) }

// A control sequence (ECMA-48, 5.4), and others, which show nothing.
var (
	controls = regexp.MustCompile(`^\x1b\[([0-9;?>=]*)[ -/]*([@-~])`)
	settings = regexp.MustCompile(`^\x1b(?s:\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[()#%].|.)`)
)

// take does what the first bytes say, and gives how many they are.
func (t *terminal) take(b []byte) int {
	switch c := b[0]; {
	case c == 0x1b:
		return t.escape(b)
	case c == '\r':
		t.x = 0
	case c == '\n':
		if t.y++; t.y == screenRows {
			t.y--
			t.cells = append(t.cells[1:], blank())
		}
	case c == '\b':
		t.x = max(0, t.x-1)
	case c < 0x20 || c == 0x7f:
	default:
		r, n := utf8.DecodeRune(b)
		if t.x == screenColumns { // the next row begins with what comes after the last column
			t.x = 0
			t.take([]byte{'\n'})
		}
		t.cells[t.y][t.x] = r
		t.x++
		return n
	}
	return 1
}

func (t *terminal) escape(b []byte) int {
	found := controls.FindSubmatch(b[:min(len(b), 64)])
	if found == nil {
		return max(1, len(settings.Find(b[:min(len(b), 4096)])))
	}
	n := []int{}
	for _, p := range strings.Split(strings.TrimLeft(string(found[1]), "?>="), ";") {
		v, err := strconv.Atoi(p)
		if err != nil {
			v = 0
		}
		n = append(n, v)
	}
	n = append(n, 0)
	least := max(n[0], 1)
	switch found[2][0] {
	case 'H', 'f':
		t.y, t.x = min(least, screenRows)-1, min(max(n[1], 1), screenColumns)-1
	case 'A':
		t.y = max(0, t.y-least)
	case 'B':
		t.y = min(screenRows-1, t.y+least)
	case 'C':
		t.x = min(screenColumns-1, t.x+least)
	case 'D':
		t.x = max(0, t.x-least)
	case 'J':
		if n[0] >= 2 {
			t.clear(0, 0, screenRows)
			break
		}
		t.clear(t.y, t.x, screenRows)
	case 'K':
		t.clear(t.y, t.x, t.y+1)
	}
	return len(found[0])
}

// clear makes everything blank from a place to the row before another.
func (t *terminal) clear(row, column, end int) {
	for y := row; y < end; y++ {
		for x := column; x < screenColumns; x++ {
			t.cells[y][x] = ' '
		}
		column = 0
	}
}
