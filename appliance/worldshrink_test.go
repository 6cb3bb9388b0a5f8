package appliance

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// shrink takes operations out of a schedule that fails, then makes what is left simpler, as long as it goes on failing: whole runs of operations first, ever
// shorter ones, then single ones, then their numbers. It tries at most so many lives.
func shrink(s schedule, tries int, fails func(schedule) (done int, failed bool)) schedule {
	try := func(c schedule) bool {
		if tries--; tries < 0 {
			return false
		}
		done, failed := fails(c)
		if failed {
			s = c
			s.ops = s.ops[:min(done, len(s.ops))]
		}
		return failed
	}
	try(s)
	for size := len(s.ops) / 2; size > 0; {
		smaller := false
		for at := len(s.ops) - size; at >= 0; at -= size {
			at = min(at, len(s.ops)-size)
			if at < 0 {
				break
			}
			c := s
			c.ops = slices.Delete(slices.Clone(s.ops), at, at+size)
			smaller = try(c) || smaller
		}
		if size > 1 || !smaller {
			size /= 2
		}
	}
	for _, c := range []schedule{{s.seed, 1, s.clients, s.ops}, {s.seed, s.boxes, 3, s.ops}, {s.seed, 1, 3, s.ops}, {0, s.boxes, s.clients, s.ops}} {
		c.ops = s.ops
		try(c)
	}
	for i := range s.ops {
		for k := range 3 {
			for _, v := range []int{0, 1, 2} {
				if i >= len(s.ops) {
					break
				}
				c := s
				c.ops = slices.Clone(s.ops)
				n := []*int{&c.ops[i].a, &c.ops[i].b, &c.ops[i].c}[k]
				if v >= *n && *n >= 0 {
					break
				}
				if *n = v; try(c) {
					break
				}
			}
		}
	}
	return s
}

// shortest leads shorter and shorter lives that end badly, and gives the last of them with what is wrong in it.
func (s schedule) shortest(t testing.TB) (schedule, error) {
	var wrong error
	short := shrink(s, 1500, func(c schedule) (int, bool) {
		_, done, err := c.live(t)
		if err != nil {
			wrong = err
		}
		return done, err != nil
	})
	return short, wrong
}

// Every schedule that ever failed is led again: its first lines say what was wrong.
func TestSchedules(t *testing.T) {
	files, err := filepath.Glob("testdata/schedules/*.txt")
	must(t, err)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			must(t, err)
			s, err := parse(string(text))
			must(t, err)
			if again, err := parse(s.String()); err != nil || again.String() != s.String() {
				t.Fatalf("written and read again it is another: %v", err)
			}
			if _, done, err := s.live(t); err != nil {
				t.Fatalf("after %d operations: %v", done, err)
			}
		})
	}
}

// The shortest life has what it takes to fail, in its order, and the simplest numbers.
func TestShrinkLeavesWhatMatters(t *testing.T) {
	needs := func(s schedule) (int, bool) {
		copied := false
		for i, o := range s.ops {
			copied = copied || o.name == "copy" && o.b >= 1
			if copied && o.name == "restore" && s.boxes >= 1 {
				return i + 1, true
			}
		}
		return len(s.ops), false
	}
	shrunk := 0
	for seed := range uint64(20) {
		s := draw(seed, lifetime)
		if _, fails := needs(s); !fails {
			continue
		}
		shrunk++
		short := shrink(s, 1500, needs)
		if got, want := (schedule{ops: short.ops}).String(), "life 0 0 0\ncopy 0 1 0\nrestore 0 0 0\n"; got != want {
			t.Errorf("seed %d: %s", seed, got)
		}
	}
	if shrunk < 5 {
		t.Errorf("only %d lives had it", shrunk)
	}
}

func TestScheduleText(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"life 1 2 3\nask 1 2 3\n", ""},
		{"# why\n\nlife 1 2 3\n", ""},
		{"ask 1 2 3\n", "no line says whose life it is"},
		{"life 1 2 3\nask 1 2\n", "line 2: 3 words where 4 are wanted"},
		{"life 1 2 3\npray 1 2 3\n", `line 2: there is no operation "pray"`},
		{"life 1 2 x\n", `line 1: strconv.Atoi: parsing "x": invalid syntax`},
	} {
		_, err := parse(c.text)
		if got := ""; err != nil && err.Error() != c.want || err == nil && c.want != got {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

// A seed is a life: led twice it is the same one.
func TestALifeRepeats(t *testing.T) {
	for seed := range uint64(3) {
		s := draw(seed, 300)
		one, _, err := s.live(t)
		must(t, err)
		two, _, err := s.live(t)
		must(t, err)
		if !maps.Equal(one.counts, two.counts) || one.now != two.now || one.correlations != two.correlations {
			t.Errorf("seed %d: %v, then %v", seed, one.counts, two.counts)
		}
		for i, b := range one.boxes {
			if o := two.boxes[i]; b.chip.counter != o.chip.counter || b.stores[0].told != o.stores[0].told {
				t.Errorf("seed %d, %s: epoch %d and %d entries, then %d and %d", seed, b, b.chip.counter, b.stores[0].told, o.chip.counter, o.stores[0].told)
			}
		}
	}
}
