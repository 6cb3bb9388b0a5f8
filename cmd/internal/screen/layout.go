package screen

import (
	"slices"
	"strings"
)

// Key is a key and what it is for.
type Key struct{ Name, What string }

// keys are those of the foot of the screen. A digit does the same, for terminals that have no such keys.
func (s *State) keys() []Key {
	list := []Key{{"F1", "status"}, {"F2", "network"}, {"F3", "log"}, {"F4", "QR code"}, {"F5", "seats"}}
	if s.Health != nil && s.Health.Media == "confirm" {
		list = append(list, Key{"F6", "stick"})
	}
	return append(list, Key{"F9", "password"}, Key{"F10", "power"})
}

// The smallest screen that anything is laid out for; what is smaller shows a part of it.
const (
	leastWidth  = 20
	leastHeight = 6
)

// labelWidth is the column of labels with the space after it.
const labelWidth = 10

// Screen is the state on a screen of so many columns and rows, from a row on where there are more than fit; every line is as wide as the screen. What was told of sticks last takes the rows that are left.
func (s *State) Screen(width, height, from int) []string {
	return s.framed(s.rows(max(width, leastWidth)-4), width, height, from, s.told())
}

// rows are the sections, with their labels, wrapped to a width.
func (s *State) rows(width int) (rows []string) {
	for _, part := range s.sections() {
		label := part.label
		for _, text := range part.lines {
			for _, line := range wrap(Safe(text), width-labelWidth) {
				rows = append(rows, pad(label, labelWidth)+line)
				label = ""
			}
		}
	}
	return rows
}

// Page is lines under the same head and foot.
func (s *State) Page(lines []string, width, height, from int) []string {
	var rows []string
	for _, l := range lines {
		rows = append(rows, wrap(Safe(l), max(width, leastWidth)-4)...)
	}
	return s.framed(rows, width, height, from, nil)
}

// framed puts rows between head and foot. The last ones of tail go below them where there is room.
func (s *State) framed(rows []string, width, height, from int, tail []string) []string {
	width, height = max(width, leastWidth), max(height, leastHeight)
	foot := s.foot(width)
	foot = foot[:min(len(foot), height-leastHeight+2)]
	room := height - 1 - len(foot)
	from = max(0, min(from, len(rows)-room))
	rows = rows[from:]
	if left := room - len(rows); left > 0 && len(tail) > 0 {
		var last []string
		for _, l := range tail {
			last = append(last, wrap(Safe(l), width-4)...)
		}
		rows = append(slices.Clone(rows), last[max(0, len(last)-left):]...)
	}
	out := []string{s.head(width)}
	for i := range room {
		text := ""
		if i < len(rows) {
			text = rows[i]
		}
		out = append(out, "| "+pad(text, width-4)+" |")
	}
	return append(out, foot...)
}

// head is the line on top, with as much of the title as there is room for.
func (s *State) head(width int) string {
	parts := s.title()
	short := slices.Clone(parts[:len(parts)-1])
	short[0] = "Leasehold"
	for _, words := range [][]string{parts, parts[:len(parts)-1], short, short[:1]} {
		text := "+- " + Safe(strings.Join(words, " -- ")) + " "
		if len([]rune(text)) < width {
			return text + strings.Repeat("-", width-len([]rune(text))-1) + "+"
		}
	}
	return "+" + strings.Repeat("-", width-2) + "+"
}

// foot is the line or the lines with the keys.
func (s *State) foot(width int) (lines []string) {
	line := "+"
	end := func() { lines = append(lines, line+" "+strings.Repeat("-", max(0, width-len(line)-2))+"+") }
	for _, k := range s.keys() {
		word := " " + k.Name + " " + k.What
		if len(line)+len(word) > width-2 {
			end()
			line = "+"
		}
		line += word
	}
	end()
	return lines
}

// pad makes text as wide as that, by spaces or by leaving its end off.
func pad(text string, width int) string {
	r := []rune(text)
	if len(r) >= width {
		return string(r[:max(width, 0)])
	}
	return text + strings.Repeat(" ", width-len(r))
}

// wrap breaks text into lines at spaces, and words that are too long anywhere. Spaces at its beginning stay with each line.
func wrap(text string, width int) (lines []string) {
	width = max(width, 1)
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
	if len(indent) >= width {
		indent = ""
	}
	for r := []rune(text); ; {
		if len(r) <= width {
			return append(lines, string(r))
		}
		at := width
		for at > len(indent) && r[at] != ' ' {
			at--
		}
		if at <= len(indent) {
			at = width
		}
		lines = append(lines, strings.TrimRight(string(r[:at]), " "))
		rest := strings.TrimLeft(string(r[at:]), " ")
		if rest == "" {
			return lines
		}
		r = []rune(indent + rest)
	}
}
