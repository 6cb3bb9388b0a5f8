package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// What becomes of reservation entries when counts, entries and leases change. The entries of a group of n devices have the IDs 3, 5, 7 and so on.
func TestSatisfied(t *testing.T) {
	three := []string{"D/ETHERNET f:1.0 3", "E/ETHERNET f:1.0 3", "F/ETHERNET f:1.0 3"}
	for _, c := range []struct {
		name    string
		items   string // "a f:1.0 10, b f:2.0 2"
		entries []string
		steps   [][2]string // as play reads them; "items a f:1.0 6" and "group D/ETHERNET f:1.0 3, ..." also say which entries lose by it
	}{
		{"the newest first, and what it gave up is not divided again", "a f:1.0 10", []string{"D/ETHERNET f:1.0 3", "E/ETHERNET f:1.0 5", "F/ETHERNET f:1.0 2"}, [][2]string{
			{"items a f:1.0 6", "loses [5 7]"}, {"slices", "default a 0/3, reservation 3 a 0/3"},
			{"items a f:1.0 6", "loses []"}, {"slices", "default a 0/3, reservation 3 a 0/3"}, // no more is free than was
			{"items a f:1.0 7", "loses []"}, {"slices", "default a 0/2, reservation 3 a 0/3, reservation 7 a 0/2"},
			{"items a f:1.0 10", "loses []"}, {"slices", "default a 0/0, reservation 3 a 0/3, reservation 5 a 0/5, reservation 7 a 0/2"},
		}},
		{"what is free in the default pool goes first", "a f:1.0 10", three[:2], [][2]string{
			{"items a f:1.0 6", "loses []"}, {"slices", "default a 0/0, reservation 3 a 0/3, reservation 5 a 0/3"},
			{"items a f:1.0 5", "loses [5]"}, {"slices", "default a 0/2, reservation 3 a 0/3"},
		}},
		{"nothing of what is leased in the default pool", "a f:1.0 10", []string{"D/ETHERNET f:1.0 4"}, [][2]string{
			{"x f:1.0 6", "OK | OK 6 | has 6"}, {"items a f:1.0 8", "loses [3]"}, {"slices", "default a 6/8"}, {"x", "RETURNED | has 0"}, {"slices", "default a 0/8"},
			{"items a f:1.0 9", "loses []"}, {"slices", "default a 0/5, reservation 3 a 0/4"},
		}},
		{"free and leased", "a f:1.0 10", []string{"D/ETHERNET f:1.0 2", "E/ETHERNET f:1.0 2"}, [][2]string{
			{"x f:1.0 4", "OK | OK 4 | has 4"}, {"items a f:1.0 7", "loses [5]"}, {"slices", "default a 4/5, reservation 3 a 0/2"},
		}},
		{"what a lost entry has leased is in the way", "a f:1.0 10", three, [][2]string{
			{"F", "OK | has 3"}, {"items a f:1.0 6", "loses [5 7]"}, {"has F", "a*3@default"}, {"slices", "default a 3/3, reservation 3 a 0/3"},
			{"F", "RETURNED | has 0"}, {"slices", "default a 0/3, reservation 3 a 0/3"},
			{"items a f:1.0 7", "loses []"}, {"slices", "default a 0/1, reservation 3 a 0/3, reservation 5 a 0/3"},
		}},
		{"what is leased above the count is overage", "a f:1.0 10", three[:1], [][2]string{
			{"D f:1.0 5", "OK | OK 5 | has 5"}, {"items a f:1.0 4", "loses [3]"}, {"has D", "a*5@default"}, {"slices", "default a 5/4"},
			{"items a f:1.0 8", "loses []"}, {"slices", "default a 5/5, reservation 3 a 0/3"},
		}},
		{"one that waits for leases goes on waiting", "a f:1.0 10", nil, [][2]string{
			{"x f:1.0 8", "OK | OK 8 | has 8"}, {"group D/ETHERNET f:1.0 4", "loses []"}, {"slices", "default a 8/8, reservation 3 a 0/2 of 4"},
			{"items a f:1.0 10, b g:1.0 1", "loses []"}, {"slices", "default a 8/8, reservation 3 a 0/2 of 4, default b 0/1"},
			{"items a f:1.0 9, b g:1.0 1", "loses [3]"}, {"slices", "default a 8/9, default b 0/1"},
		}},
		{"another feature loses nothing", "a f:1.0 4, b g:1.0 4", []string{"D/ETHERNET f:1.0 3", "E/ETHERNET g:1.0 3", "F/ETHERNET g:1.0 1"}, [][2]string{
			{"items a f:1.0 2, b g:1.0 4", "loses [3]"}, {"slices", "default a 0/2, default b 0/0, reservation 5 b 0/3, reservation 7 b 0/1"},
		}},
		{"an entry moves to another version before one is lost", "a f:1.0 3, b f:2.0 3", three[:1], [][2]string{
			{"slices", "default a 0/0, reservation 3 a 0/3, default b 0/3"}, {"items a f:1.0 1, b f:2.0 3", "loses []"},
			{"slices", "default a 0/0, reservation 3 a 0/1, default b 0/1, reservation 3 b 0/2"},
		}},
		{"an entry of a version that is not short stays", "a f:1.0 3, b f:2.0 3", []string{"D/ETHERNET f:2.0 3", "E/ETHERNET f:1.0 3"}, [][2]string{
			{"items a f:1.0 3, b f:2.0 2", "loses [3]"}, {"slices", "default a 0/0, reservation 5 a 0/3, default b 0/2"},
		}},
		{"the oldest first when more is free", "a f:1.0 3", append(three, "G/ETHERNET f:1.0 1"), [][2]string{
			{"slices", "default a 0/0, reservation 3 a 0/3"}, {"items a f:1.0 7", "loses []"}, {"slices", "default a 0/0, reservation 3 a 0/3, reservation 5 a 0/3, reservation 9 a 0/1"},
		}},
		{"an entry that goes makes room", "a f:1.0 6", three, [][2]string{
			{"slices", "default a 0/0, reservation 3 a 0/3, reservation 5 a 0/3"},
			{"group E/ETHERNET f:1.0 3, F/ETHERNET f:1.0 3", "loses [3]"}, {"slices", "default a 0/0, reservation 5 a 0/3, reservation 7 a 0/3"},
		}},
		{"one that asks for more does not take it from another", "a f:1.0 6", three[:2], [][2]string{
			{"group D/ETHERNET f:1.0 4, E/ETHERNET f:1.0 3", "loses [3]"}, {"slices", "default a 0/3, reservation 5 a 0/3"},
			{"group D/ETHERNET f:1.0 2, E/ETHERNET f:1.0 3", "loses []"}, {"slices", "default a 0/1, reservation 3 a 0/2, reservation 5 a 0/3"},
		}},
		{"a new entry is tried beside what is lost", "a f:1.0 10", []string{"D/ETHERNET f:1.0 3", "E/ETHERNET f:1.0 5", "F/ETHERNET f:1.0 2"}, [][2]string{
			{"items a f:1.0 6", "loses [5 7]"},
			{"group D/ETHERNET f:1.0 3, E/ETHERNET f:1.0 5, F/ETHERNET f:1.0 2, G/ETHERNET f:1.0 3", "loses []"}, {"slices", "default a 0/0, reservation 3 a 0/3, reservation 9 a 0/3"},
		}},
		{"an item that is gone", "a f:1.0 3, b f:1.0 3", three[:2], [][2]string{
			{"E f:1.0 3", "OK | OK 3 | has 3"}, {"items a f:1.0 3", "loses [5]"}, {"has E", "b*3@default"}, {"slices", "default a 0/0, reservation 3 a 0/3, default b 3/3"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := begin(t)
			provision := func(words string) string {
				v.serial++
				d := v.must(Provision{Response: v.response(v.serial, capability.Response{Items: parseItems(words)}), Digest: capability.Digest{byte(v.serial), 1}})
				return fmt.Sprintf("loses %v", d.Unsatisfied)
			}
			provision(c.items)
			if c.entries != nil {
				v.must(SetReservations{Groups: groups("g", c.entries...)})
			}
			for i, s := range c.steps {
				verb, rest, _ := strings.Cut(s[0], " ")
				switch verb {
				case "items":
					if got := provision(rest); got != s[1] {
						t.Errorf("step %d, %s: %s where %s is wanted", i, s[0], got, s[1])
					}
				case "group":
					before := v.satisfied()
					v.must(SetReservations{Groups: groups("g", strings.Split(rest, ", ")...)})
					var lost []uint64
					for _, id := range before {
						if !slices.Contains(v.satisfied(), id) {
							lost = append(lost, id)
						}
					}
					if got := fmt.Sprintf("loses %v", lost); got != s[1] {
						t.Errorf("step %d, %s: %s where %s is wanted", i, s[0], got, s[1])
					}
				default:
					v.play(c.steps[i : i+1])
				}
			}
		})
	}
}

// satisfied is the IDs of the entries that have or wait for what they ask for.
func (v *life) satisfied() (out []uint64) {
	for _, s := range v.l.sources {
		out = append(out, s.Entry)
	}
	return out
}

func parseItems(words string) (out []capability.LineItem) {
	for _, w := range strings.Split(words, ", ") {
		var letter, feature string
		var n uint32
		if _, err := fmt.Sscan(w, &letter, &feature, &n); err != nil {
			panic(err)
		}
		out = append(out, lineItem(letter[0], feature, n))
	}
	return out
}
