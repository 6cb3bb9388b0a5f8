package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mutant is a patch file.
type mutant struct {
	Package string   // its directory from the root
	Name    string   // of the file, without .patch
	Bug     string   // in words
	Tests   []string // directories, from the root, of the packages whose tests must find it
	Run     string   // regexp of test names; empty is all
	changes []change
}

// change is what a patch does to one file.
type change struct {
	file  string // from the package
	hunks []hunk
}

// hunk replaces lines.
type hunk struct {
	line     int // of the old text, from 1
	old, new []string
}

// read takes a patch file apart.
func read(pkg, name, text string) (mutant, error) {
	m := mutant{Package: pkg, Name: name, Tests: []string{pkg}}
	head, diff, is := strings.Cut(text, "\n--- ")
	if !is {
		return m, fmt.Errorf("there is no diff in it")
	}
	for i, line := range strings.Split(strings.TrimSpace(head), "\n") {
		key, value, _ := strings.Cut(line, ":")
		switch {
		case i == 0:
			m.Bug = line
		case key == "tests":
			m.Tests = nil
			for _, p := range strings.Fields(value) {
				m.Tests = append(m.Tests, filepath.Clean(p))
			}
		case key == "run":
			m.Run = strings.TrimSpace(value)
		default:
			return m, fmt.Errorf("want tests: or run: before the diff, found %q", line)
		}
	}
	if m.Bug == "" || len(m.Tests) == 0 {
		return m, fmt.Errorf("want the bug in words, and the tests that must find it")
	}
	var err error
	m.changes, err = readDiff(strings.Split("--- "+strings.TrimSuffix(diff, "\n"), "\n"))
	return m, err
}

func readDiff(lines []string) ([]change, error) {
	var all []change
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "--- ") && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "+++ "):
			continue
		case strings.HasPrefix(line, "+++ ") && i > 0 && strings.HasPrefix(lines[i-1], "--- "):
			file, _, _ := strings.Cut(strings.TrimPrefix(line, "+++ b/"), "\t")
			if !filepath.IsLocal(file) {
				return nil, fmt.Errorf("%q is no file of the package", file)
			}
			all = append(all, change{file: file})
			continue
		case len(all) == 0:
			return nil, fmt.Errorf("want the name of a file, found %q", line)
		}
		c := &all[len(all)-1]
		if strings.HasPrefix(line, "@@ -") {
			first, _, _ := strings.Cut(strings.TrimPrefix(line, "@@ -"), " ")
			first, _, _ = strings.Cut(first, ",")
			n, err := strconv.Atoi(first)
			if err != nil {
				return nil, fmt.Errorf("want the number of a line, found %q", line)
			}
			c.hunks = append(c.hunks, hunk{line: n})
			continue
		}
		if len(c.hunks) == 0 {
			return nil, fmt.Errorf("want the place of a change, found %q", line)
		}
		h := &c.hunks[len(c.hunks)-1]
		switch {
		case line == "":
			h.old, h.new = append(h.old, ""), append(h.new, "")
		case line[0] == ' ':
			h.old, h.new = append(h.old, line[1:]), append(h.new, line[1:])
		case line[0] == '-':
			h.old = append(h.old, line[1:])
		case line[0] == '+':
			h.new = append(h.new, line[1:])
		case line[0] != '\\': // "\ No newline at end of file"
			return nil, fmt.Errorf("want a line of a diff, found %q", line)
		}
	}
	for _, c := range all {
		for _, h := range c.hunks {
			if len(h.old) == 0 || slices.Equal(h.old, h.new) {
				return nil, fmt.Errorf("the change of %s at line %d has no lines around it, or changes nothing", c.file, h.line)
			}
		}
	}
	return all, nil
}

// apply changes a text. Lines may have moved since the patch was made, but each hunk must still find all of its own: the nearest place wins.
func (c change) apply(text string) (string, error) {
	lines := strings.Split(text, "\n")
	from, moved := 0, 0 // where the next hunk may begin, and how far the one before was from where it says
	var out []string
	for _, h := range c.hunks {
		best, said := -1, h.line-1+moved
		for i := from; i+len(h.old) <= len(lines); i++ {
			if slices.Equal(lines[i:i+len(h.old)], h.old) && (best < 0 || abs(i-said) < abs(best-said)) {
				best = i
			}
		}
		if best < 0 {
			return "", fmt.Errorf("what %s had at line %d is nowhere in it", c.file, h.line)
		}
		moved += best - said
		out = append(append(out, lines[from:best]...), h.new...)
		from = best + len(h.old)
	}
	return strings.Join(append(out, lines[from:]...), "\n"), nil
}

func abs(n int) int { return max(n, -n) }
