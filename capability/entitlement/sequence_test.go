package entitlement

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// TestSoakSequences plays short lives of small books, with every command there is: staff make, change, split, merge and take back, machines ask, apply, lose, repeat and delay files, are wiped, copied and
// replaced, and lie about what they applied. What is entitled and what is out is counted beside the book, from the facts that it wrote and from what the machines themselves have, and compared after each step.
func TestSoakSequences(t *testing.T) {
	short := 2_500
	if testing.Short() {
		short = 2_000
	}
	lives := storagetest.Size(t, short, 500_000, 1_000_000)
	names := sequenceNames(t)
	var next, tried, failed atomic.Int64
	seen, mu := tally{}, sync.Mutex{}
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			own, codec := tally{}, wire.New()
			for {
				seed := uint64(next.Add(1)) - 1
				if seed >= uint64(lives) || failed.Load() > 3 {
					break
				}
				tried.Add(1)
				if _, err := playSequence(names, codec, seed, own, false, nil); err != nil {
					failed.Add(1)
					trace, _ := playSequence(names, codec, seed, tally{}, true, nil)
					t.Errorf("seed %d: %v\n%s", seed, err, strings.Join(trace[max(0, len(trace)-30):], "\n"))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for k, n := range own {
				seen[k] += n
			}
		})
	}
	wg.Wait()
	storagetest.Tried(t, int(tried.Load()), int(failed.Load()))
	t.Logf("%d lives, %s", tried.Load(), seen)
	for _, k := range mustOccur() {
		if seen[k] == 0 && failed.Load() == 0 && (lives >= enough || !isRare(k)) {
			t.Errorf("%s never came", k)
		}
	}
}

// enough lives for what is rare.
const enough = 20_000

func isRare(o outcome) bool {
	switch o.code {
	case capability.ErrRollbackSuspect, capability.ErrRehosted, capability.ErrSealed, capability.ErrInUse, capability.ErrSessionElsewhere, capability.ErrSeatElsewhere, capability.ErrNoSeat:
		return true
	}
	return o.kind == "withdrawal" || o.kind == "order done"
}

// tally counts what came of what was tried.
type tally map[outcome]int

// outcome is a kind of step, and the code of its refusal; zero: it was done.
type outcome struct {
	kind string
	code capability.Code
}

func (o outcome) String() string {
	if o.code == 0 {
		return o.kind
	}
	return o.kind + " refused with " + o.code.Symbol()
}

func (c tally) String() string {
	var lines []string
	for o, n := range c {
		lines = append(lines, fmt.Sprintf("%s %d", o, n))
	}
	slices.Sort(lines)
	return fmt.Sprintf("%d kinds: %s", len(lines), strings.Join(lines, ", "))
}

// maxLines is how many activation IDs a sequence has.
const maxLines = 16

// sequenceNames are activation IDs for all sequences.
func sequenceNames(t testing.TB) []capability.ActivationID {
	names := make([]capability.ActivationID, maxLines)
	for n := range names {
		names[n] = testID(t, uint64(1000+n))
	}
	return names
}

// sequence is one life.
type sequence struct {
	rng   *rand.Rand
	codec *wire.Codec
	book  *Book
	now   capability.Time
	step  int
	seen  tally
	trace []string
	tells bool
	probe func(*sequence, Command)

	names   []capability.ActivationID
	line    map[capability.ActivationID]int
	used    int // of the names
	sites   []*site
	boxes   []*box // that run
	letters []*letter
	entries [][]byte
	drawn   uint64 // digests, correlations, returns

	family             [maxLines]int    // index of the first ID of all that were split from each other or merged
	entitled           [maxLines]int64  // by family: copies, with those that are extra
	over               [maxLines]uint64 // out above what is entitled, as of the step before
	copies             [maxLines]uint32 // and what was entitled before the last command
	shut               [maxLines]bool   // nobody is to be given any of it, because it is a draft, was merged, or one of the next two
	suspended, retired [maxLines]bool
	dead               [maxLines]bool   // another activation ID took its place
	burns              [maxLines]uint32 // by family: returned for nothing in the answer at hand
	cut                bool             // the number of copies of an activation ID was lowered in this step
	made               map[capability.ReturnID]madeReturn
	keys               []Once

	seatings
	staffing
}

// broken is what the recovered panic of a failed sequence carries.
type broken struct{ text string }

func (s *sequence) fatalf(format string, args ...any) { panic(broken{fmt.Sprintf(format, args...)}) }

func (s *sequence) tell(format string, args ...any) {
	if s.tells {
		s.trace = append(s.trace, fmt.Sprintf("%3d %s ", s.step, s.now)+fmt.Sprintf(format, args...))
	}
}

// playSequence leads the life of one seed, and says what is wrong with it. The probe, if there is one, sees each command before it is decided.
func playSequence(names []capability.ActivationID, codec *wire.Codec, seed uint64, seen tally, tells bool, probe func(*sequence, Command)) (trace []string, err error) {
	s := &sequence{rng: rand.New(rand.NewPCG(seed, 0x5e90e9ce)), codec: codec, book: New(), now: 1_800_000_000, seen: seen, tells: tells, probe: probe, names: names,
		line: map[capability.ActivationID]int{}, made: map[capability.ReturnID]madeReturn{}}
	defer func() {
		trace = s.trace
		if r := recover(); r != nil {
			if b, ok := r.(broken); ok {
				err = fmt.Errorf("step %d: %s", s.step, b.text)
				return
			}
			err = fmt.Errorf("step %d: panic: %v\n%s", s.step, r, debug.Stack())
		}
	}()
	s.begin()
	acts := sequenceActs()
	total := 0
	for _, a := range acts {
		total += a.weight
	}
	steps := 25 + s.rng.IntN(35)
	returns := s.rng.IntN(2 * steps) // in half of the lives
	for s.step = range steps {
		s.now += capability.Time(s.rng.IntN(600))
		if s.rng.IntN(12) == 0 {
			s.now += capability.Time(s.rng.IntN(4)) * capability.Time(day)
		}
		n := s.rng.IntN(total)
		for _, a := range acts {
			if n -= a.weight; n < 0 {
				a.do(s)
				break
			}
		}
		s.check()
		if s.step%8 == 7 {
			s.whole()
		}
		if s.step == returns {
			s.back()
		}
	}
	s.back()
	s.replay()
	return nil, nil
}

// act is something that happens in a life, so often among all.
type act struct {
	weight int
	do     func(*sequence)
}

func (s *sequence) digest() (d capability.Digest) {
	s.drawn++
	binary.BigEndian.PutUint64(d[:], s.drawn)
	return d
}

// chance is true once in n times.
func (s *sequence) chance(n int) bool { return s.rng.IntN(n) == 0 }

// do has the book decide, and applies what it wrote. Some commands come under a key, and once more.
func (s *sequence) do(kind string, c Command) (*Decision, error) {
	if s.chance(12) {
		once := Once{Key: fmt.Sprintf("key %d", len(s.keys)), Asked: s.digest(), Command: c}
		s.keys, c = append(s.keys, once), once
	}
	for n := range s.used {
		i := s.book.byID[s.names[n]]
		s.copies[n] = i.Copies + i.Life.Extra
	}
	if s.probe != nil {
		s.probe(s, c)
	}
	before := capability.Digest{}
	if s.chance(30) {
		before = s.book.Digest()
	}
	d, err := s.book.Decide(s.now, c)
	s.both(c, d, err)
	if before != (capability.Digest{}) && before != s.book.Digest() {
		s.fatalf("%s: to decide changed the book", kind)
	}
	s.count(kind, err)
	if a, ok := c.(Answer); ok {
		s.tell("%s to %s, request %d: %v", kind, a.Identity.Host.Short(), a.Request.Number, err)
	} else {
		s.tell("%s %+v: %v", kind, c, err)
	}
	if d == nil {
		return nil, err
	}
	foreseen := s.book.Outcomes(d, s.now)
	for _, e := range d.Entries {
		b := e.Encode(s.codec)
		if len(b) > MaxEntry {
			s.fatalf("%s: an entry of %d bytes", kind, len(b))
		}
		s.entries = append(s.entries, b)
		if err := s.book.Apply(e); err != nil {
			s.fatalf("%s: apply what was decided: %v", kind, err)
		}
	}
	s.foretold(kind, d, foreseen)
	if once, ok := c.(Once); ok && err == nil && len(d.Entries) > 0 {
		s.again(once)
	}
	return d, err
}

// again: the same command under its key is done already, and another one is not let in under it.
func (s *sequence) again(c Once) {
	d, err := s.book.Decide(s.now, c)
	if err != nil || d.Done == nil || len(d.Entries) > 0 {
		s.fatalf("%q is repeated: %v", c.Key, err)
	}
	s.count("repeated", nil)
	c.Asked = s.digest()
	if _, err := s.book.Decide(s.now, c); code(err) != capability.ErrKeyUsed {
		s.fatalf("another command passes under the key %q: %v", c.Key, err)
	}
}

// count keeps what came of a command. A refusal carries a code of the catalog, and no command finds the book damaged.
func (s *sequence) count(kind string, err error) {
	r := (*capability.Refusal)(nil)
	switch {
	case err == nil:
		s.seen[outcome{kind, 0}]++
	case errors.Is(err, ErrCorrupt):
		s.fatalf("%s: %v", kind, err)
	case errors.As(err, &r):
		if s.seen[outcome{kind, r.Code}]++; s.seen[outcome{kind, r.Code}] == 1 && (r.Code == 0 || r.Code.Symbol() == "") {
			s.fatalf("%s is refused with the code %d, which is none of the catalog: %v", kind, r.Code, err)
		}
	case err.Error() == "":
		s.fatalf("%s is refused without a word", kind)
	default:
		s.seen[outcome{kind + ", in error", 0}]++
	}
}

// back is the book that comes back from its snapshot. It is the same, and from then on it decides as the one that was there before.
func (s *sequence) back() {
	s.same()
	was := s.book.Snapshot()
	restored, err := Restore(was)
	if err != nil {
		s.fatalf("restore what was written: %v", err)
	}
	if !bytes.Equal(restored.Snapshot(), was) {
		s.fatalf("the book is another one than its snapshot was of")
	}
	s.twin, s.book = s.book, restored
}

// whole has the book look at itself.
func (s *sequence) whole() {
	if err := s.book.Check(); err != nil {
		s.fatalf("%v", err)
	}
}

// replay gives a replica the entries as they were written.
func (s *sequence) replay() {
	replica := New()
	for n, b := range s.entries {
		e, err := DecodeEntry(s.codec, b)
		if err != nil {
			s.fatalf("decode entry %d: %v", n+1, err)
		}
		if err := replica.Apply(e); err != nil {
			s.fatalf("a replica applies entry %d: %v", n+1, err)
		}
	}
	if !bytes.Equal(replica.Snapshot(), s.book.Snapshot()) {
		s.fatalf("the replica differs at the end")
	}
}

// head is the family of an activation ID.
func (s *sequence) head(line int) int {
	for s.family[line] != line {
		line = s.family[line]
	}
	return line
}

// check compares what is out with what is entitled: no activation ID is out more often than it has copies, but where their number was lowered, and then that does not grow; and the copies of all
// that were split from each other or merged are together those that were entitled.
func (s *sequence) check() {
	var held [maxLines]uint64
	for _, at := range s.sites {
		for n := range s.used {
			held[n] += uint64(at.charged[n])
		}
	}
	var sums [maxLines]int64
	for n := range s.used {
		i := s.book.byID[s.names[n]]
		copies := uint64(i.Copies) + uint64(i.Life.Extra)
		sums[s.head(n)] += int64(copies)
		if held[n] != uint64(i.used) {
			s.fatalf("%s: by the facts machines have %d copies, the book says %d", s.names[n], held[n], i.used)
		}
		out := held[n] + s.seatsOut(n)
		if s.dead[n] && held[n]+s.runningOf(n) > 0 {
			s.fatalf("%s: %d copies are out, and another activation ID took its place", s.names[n], out)
		}
		over := out - min(out, copies)
		if over > s.over[n] && !s.cut {
			s.fatalf("%s: %d copies are out, of %d, and %d more than entitled before", s.names[n], out, copies, s.over[n])
		}
		s.over[n] = over
	}
	s.cut = false
	for n := range s.used {
		if s.head(n) == n && sums[n] != s.entitled[n] {
			s.fatalf("%s and what was split from it or merged with it: %d copies are entitled, the book says %d", s.names[n], s.entitled[n], sums[n])
		}
	}
	s.checkBoxes()
	s.checkSessions()
}

// foretold: what was said before an answer of what its machine will have, and of what will be left, is so.
func (s *sequence) foretold(kind string, d *Decision, list []Outcome) {
	for _, o := range list {
		i, h := s.book.byID[o.Item.ActivationID], s.book.byKey[d.Answered().Identity.Host]
		if i.left() != o.Left || h.held(i.ActivationID) != o.Has {
			s.fatalf("%s: %d copies of %s were foretold and %d left, it has %d and %d are left", kind, o.Has, i.ActivationID, o.Left, h.held(i.ActivationID), i.left())
		}
	}
	if len(list) > 0 {
		s.count("foretold", nil)
	}
}
