package web

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

// wellFormed reads a picture as XML and counts its elements.
func wellFormed(t *testing.T, svg []byte) map[string]int {
	t.Helper()
	count := map[string]int{}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		if e, is := token.(xml.StartElement); is {
			count[e.Name.Local]++
			for _, a := range e.Attr {
				if a.Name.Local == "style" || strings.HasPrefix(a.Name.Local, "on") {
					t.Errorf("<%s %s=%q> is not allowed in a page", e.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
}

// A plot is well formed whatever it is about, says what it shows, and has a bar for each number that is one.
func TestPlots(t *testing.T) {
	const evil = `</title><script>alert(1)</script>"'&`
	many := make([]string, 366)
	values := make([]uint64, 366)
	for n := range many {
		many[n], values[n] = fmt.Sprintf("day %d", n), uint64(n)
	}
	for _, c := range []struct {
		name  string
		p     Plot
		bars  int
		ticks int
	}{
		{"nothing", Plot{Title: "Nothing", Description: "Nothing."}, 0, 2},
		{"zeros", Plot{Title: "Zeros", Description: "Zeros.", Labels: []string{"a", "b"}, Series: []Series{{"s", []uint64{0, 0}}}}, 0, 2},
		{"HTML everywhere", Plot{Title: evil, Description: evil, Labels: []string{evil}, Series: []Series{{evil, []uint64{7}}}}, 1, 5},
		{"a year", Plot{Title: "Year", Description: "Year.", Labels: many, Series: []Series{{"s", values}, {"t", values}}}, 730, 5},
		{"the largest", Plot{Title: "L", Description: "L.", Labels: []string{"a"}, Series: []Series{{"s", []uint64{math.MaxUint64}}}}, 1, 2},
		{"too few values", Plot{Title: "F", Description: "F.", Labels: []string{"a", "b"}, Series: []Series{{"s", []uint64{3}}}}, 1, 4},
		{"a hundred", Plot{Title: "H", Description: "H.", Labels: []string{"a"}, Series: []Series{{"s", []uint64{100}}}}, 1, 6},
	} {
		svg := c.p.SVG()
		count := wellFormed(t, svg)
		if bars := count["rect"] - len(c.p.Series); bars != c.bars || count["script"] > 0 || count["title"] != 1+c.bars || count["desc"] != 1 {
			t.Errorf("%s: %d bars, want %d: %v", c.name, bars, c.bars, count)
		}
		if count["line"] < 2 || count["line"] > 8 {
			t.Errorf("%s: %d lines across", c.name, count["line"])
		}
		if len(svg) > 150_000 {
			t.Errorf("%s: %d bytes", c.name, len(svg))
		}
	}
}

// Lines are at round numbers, the highest value is below the highest of them, and there are few.
func TestTicks(t *testing.T) {
	for _, most := range []uint64{0, 1, 2, 4, 5, 6, 9, 10, 11, 49, 50, 51, 99, 100, 101, 12345, 999_999, 1_000_000, 1<<40 + 1, math.MaxUint64 / 2} {
		step := tick(most)
		if step == 0 || (most+step-1)/step > 5 && most < 1<<60 || most >= 10 && most/step < 2 {
			t.Errorf("up to %d in steps of %d", most, step)
		}
		if s := strings.TrimRight(fmt.Sprint(step), "0"); s != "1" && s != "2" && s != "5" {
			t.Errorf("up to %d in steps of %d", most, step)
		}
	}
	for v, want := range map[uint64]string{0: "0", 9999: "9999", 10000: "10k", 12500: "12.5k", 1_000_000: "1M", 2_500_000_000: "2.5G", 3e12: "3T"} {
		if got := short(v); got != want {
			t.Errorf("%d is %s, want %s", v, got, want)
		}
	}
}
