package appliance

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/tpm/attest"
)

// shelf is an archive in memory that can fail.
type shelf struct {
	first   uint64
	entries [][]byte
	notes   int
	unnoted bool          // no note can be written
	gate    chan struct{} // when set, each Append waits for one receive
	broken  atomic.Bool
}

func (s *shelf) fail() error {
	if s.broken.Load() {
		return errors.New("no space")
	}
	return nil
}

func (s *shelf) Next() uint64 {
	if len(s.entries) == 0 {
		return 0
	}
	return s.first + uint64(len(s.entries))
}

func (s *shelf) Append(first uint64, entries [][]byte) error {
	if s.gate != nil {
		<-s.gate
	}
	if err := s.fail(); err != nil {
		return err
	}
	size := 0
	for _, e := range entries {
		size += 4 + len(e)
	}
	if size > 32<<20 {
		return fmt.Errorf("%d bytes are too large for a part", size)
	}
	if next := s.Next(); next == 0 {
		s.first = first
	} else if first != next {
		return fmt.Errorf("entries from %d on where %d comes", first, next)
	}
	s.entries = append(s.entries, entries...)
	return nil
}

func (s *shelf) SetNote([]byte) error {
	if s.notes++; s.unnoted {
		return errors.New("no space for a note")
	}
	return s.fail()
}

func (s *shelf) Trim(int64) error                             { return s.fail() }
func (s *shelf) Rekey(uint32) (capability.RecoveryKey, error) { return "", s.fail() }
func (s *shelf) Read(from uint64, f func(uint64, []byte) error) error {
	for i, b := range s.entries {
		if at := s.first + uint64(i); at >= from {
			if err := f(at, b); err != nil {
				return err
			}
		}
	}
	return s.fail()
}
func (s *shelf) Files() ([]string, error)    { return nil, s.fail() }
func (s *shelf) File(string) ([]byte, error) { return nil, s.fail() }

// long is a vault whose journal is always too long, or of so many bytes.
type long struct {
	memory
	bytes     int64
	snapshots int
}

func (l *long) JournalBytes() int64   { return cmp.Or(l.bytes, 1<<40) }
func (l *long) Snapshot([]byte) error { l.snapshots++; return nil }

func archiving(archive Archive) (*Appliance, *long) {
	v := &long{}
	a := &Appliance{Options: Options{Ledger: ledger.New(), Vault: v, Log: slog.New(slog.DiscardHandler), Elapsed: func() time.Duration { return 0 }}, codec: wire.New()}
	a.keeper.archive = archive
	return a, v
}

// entry is one of a size that reaches the archive at once when there are two.
func bigEntry(position uint64) ([]ledger.Entry, [][]byte) {
	return []ledger.Entry{{Position: position, Configured: &ledger.Configured{}}}, [][]byte{append([]byte{byte(position)}, make([]byte, archiveAfter/2)...)}
}

// Entries reach the archive in order, none twice and none left out, whatever fails on the way; the journal is shortened only when the archive has all of it.
func TestEntriesReachTheArchive(t *testing.T) {
	s := &shelf{}
	a, v := archiving(s)
	a.compactAt = 1 << 50
	position := uint64(0)
	add := func() {
		position++
		e, b := bigEntry(position)
		a.keeper.keep(e, b)
		a.compact()
	}
	for n := range 40 {
		s.broken.Store(false)
		if n%7 == 3 {
			if err := a.keeper.settle(true); err != nil { // one at a time looks at fail
				t.Fatal(err)
			}
			s.broken.Store(true)
		}
		add()
		if n%7 == 3 {
			a.keeper.settle(true)
		}
	}
	s.broken.Store(false)
	if v.snapshots != 0 {
		t.Errorf("%d snapshots of a short journal", v.snapshots)
	}
	a.compactAt = 0
	s.broken.Store(true)
	if add(); v.snapshots != 0 {
		t.Error("the journal was shortened, and the archive has not what was in it")
	}
	s.broken.Store(false)
	a.compactAt = 0
	if add(); v.snapshots != 1 {
		t.Errorf("%d snapshots", v.snapshots)
	}
	if uint64(len(s.entries)) != position || s.first != 1 || s.notes == 0 {
		t.Fatalf("%d of %d entries, from %d on, %d notes", len(s.entries), position, s.first, s.notes)
	}
	for i, b := range s.entries {
		if b[0] != byte(i+1) {
			t.Fatalf("entry %d is %d", i+1, b[0])
		}
	}
	if len(a.keeper.waiting) != 0 || a.keeper.bytes != 0 || a.keeper.first != position+1 {
		t.Errorf("left over: %d entries, %d bytes, from %d on", len(a.keeper.waiting), a.keeper.bytes, a.keeper.first)
	}
}

// The owner does not wait for the archive, but to shorten the journal.
func TestArchiveIsWrittenBeside(t *testing.T) {
	s := &shelf{gate: make(chan struct{})}
	a, _ := archiving(s)
	a.compactAt = 1 << 50
	for n := uint64(1); n <= 9; n++ { // the first batch hangs
		e, b := bigEntry(n)
		a.keeper.keep(e, b)
		a.compact()
	}
	if len(s.entries) != 0 || len(a.keeper.waiting) != 9 {
		t.Errorf("%d entries in the archive, %d wait", len(s.entries), len(a.keeper.waiting))
	}
	go func() {
		for range 2 {
			s.gate <- struct{}{}
		}
	}()
	if err := a.archiveEntries(true); err != nil || len(s.entries) != 9 {
		t.Errorf("%d entries: %v", len(s.entries), err)
	}
}

// Entries are read once each and in order, from the archive and from memory, whatever the archive has taken over meanwhile; nothing is written for it, and who has seen enough is read for no more.
func TestEntriesAreReadBeside(t *testing.T) {
	all := make([][]byte, 10)
	for i := range all {
		e := ledger.Entry{Position: uint64(i + 1), Now: ledger.At(1, 1_900_000_000), Advanced: &ledger.Advanced{}}
		all[i] = e.Encode(wire.New())
	}
	for _, c := range []struct {
		archived int // entries that the archive has by now
		first    int // the first that waits in memory
	}{{0, 1}, {4, 5}, {7, 5}, {10, 5}, {10, 11}} {
		s := &shelf{first: 1, entries: all[:c.archived]}
		s.broken.Store(c.first == 1) // it is not asked for anything
		for from := uint64(1); from <= 11; from++ {
			for _, most := range []int{1, 3, 100} {
				var got []uint64
				err := readBoth(s, uint64(c.first), all[c.first-1:], from, func(e *ledger.Entry) (bool, error) {
					got = append(got, e.Position)
					return len(got) < most, nil
				})
				var want []uint64
				for n := from; n <= 10 && len(want) < most; n++ {
					want = append(want, n)
				}
				if err != nil || !slices.Equal(got, want) || len(s.entries) != c.archived {
					t.Fatalf("%+v, at most %d from %d: %d %v", c, most, from, got, err)
				}
			}
		}
	}
	stop := errors.New("stop")
	if err := readBoth(&shelf{}, 1, all, 1, func(*ledger.Entry) (bool, error) { return true, stop }); !errors.Is(err, stop) {
		t.Errorf("an error of who reads: %v", err)
	}
	if err := readBoth(&shelf{}, 1, [][]byte{{0xff}}, 1, func(*ledger.Entry) (bool, error) { return true, nil }); !errors.Is(err, ledger.ErrCorrupt) {
		t.Errorf("an entry that is none: %v", err)
	}
}

// However much piled up while the archive failed, it takes all of it in the end, and the journal is shortened. Meanwhile the log has a line, not one for every group.
func TestArchiveThatFailedForLong(t *testing.T) {
	s := &shelf{}
	s.broken.Store(true)
	a, v := archiving(s)
	var now time.Duration
	a.Elapsed = func() time.Duration { return now }
	lines := &journal{}
	a.Log = slog.New(slog.NewTextHandler(lines, nil))
	a.compactAt = 1 << 50
	const count = 160 // 80 MiB
	for n := uint64(1); n <= count; n++ {
		e, b := bigEntry(n)
		a.keeper.keep(e, b)
		a.compact()
		if a.keeper.writing != nil { // the next group finds the batch ended
			a.keeper.writing <- <-a.keeper.writing
		}
	}
	if n := strings.Count(lines.b.String(), "not shortened"); n != 1 {
		t.Errorf("%d lines for %d groups", n, count)
	}
	now = tallyInterval
	a.compact()
	if all := lines.b.String(); strings.Count(all, "not shortened") != 2 || !strings.Contains(all, fmt.Sprintf("count=%d", count/2-1)) {
		t.Errorf("after an interval: %s", all)
	}
	a.keeper.settle(true)
	s.broken.Store(false)
	a.compactAt = 0
	if a.compact(); v.snapshots != 1 || s.Next() != count+1 || s.notes != 1 || a.keeper.bytes != 0 {
		t.Errorf("%d snapshots, the archive goes on at %d, %d notes, %d bytes wait", v.snapshots, s.Next(), s.notes, a.keeper.bytes)
	}
}

// Entries that were written before the note failed are not written again.
func TestNoteThatFails(t *testing.T) {
	s := &shelf{unnoted: true}
	a, _ := archiving(s)
	a.compactAt = 1 << 50
	for n := uint64(1); n <= 6; n++ {
		if n == 5 {
			s.unnoted = false
		}
		e, b := bigEntry(n)
		a.keeper.keep(e, b)
		if err := a.archiveEntries(true); (err == nil) == s.unnoted || s.Next() != n+1 || len(a.keeper.waiting) != 0 {
			t.Fatalf("the archive goes on at %d behind %d, %d wait: %v", s.Next(), n, len(a.keeper.waiting), err)
		}
	}
}

func TestWhatWasDurableBeforeTheRun(t *testing.T) {
	l := ledger.New()
	var journal [][]byte
	for n := range 5 {
		d, err := l.Decide(ledger.At(capability.Seconds(n), 1_900_000_000), ledger.Start{})
		must(t, err)
		for _, e := range d.Entries {
			must(t, l.Apply(e))
			journal = append(journal, e.Encode(wire.New()))
		}
	}
	for has := range 6 { // entries that the archive has already
		s := &shelf{first: 1, entries: journal[:has:has]}
		a := &Appliance{Options: Options{Ledger: l, Log: slog.New(slog.DiscardHandler)}, codec: wire.New()}
		a.Archive = func(_ Vault, first, last uint64, _ ledger.RecoveryView) (Archive, error) {
			if first != 1 || last != 5 {
				t.Errorf("from %d to %d", first, last)
			}
			return s, nil
		}
		must(t, a.keeper.inherit(journal))
		must(t, a.openArchive(nil))
		must(t, a.archiveEntries(true))
		if len(s.entries) != 5 || !bytes.Equal(bytes.Join(s.entries, nil), bytes.Join(journal, nil)) {
			t.Errorf("with %d: %d entries", has, len(s.entries))
		}
	}
	if err := new(keeper).inherit([][]byte{{1}}); err == nil {
		t.Error("a journal of something else is taken")
	}
	a := &Appliance{Options: Options{Ledger: l}}
	must(t, a.openArchive(nil))
	if a.keeper.keep([]ledger.Entry{{}}, [][]byte{{1}}); len(a.keeper.waiting) != 0 {
		t.Error("without an archive entries pile up")
	}
}

// A response adds the boot states that its key signed and that are new; it takes none away.
func TestBootStates(t *testing.T) {
	key := func() (*ecdsa.PrivateKey, []byte) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		public, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
		must(t, err)
		return k, public
	}
	k, public := key()
	other, otherPublic := key()
	state := func(k *ecdsa.PrivateKey, n byte) []byte {
		s, err := attest.SignState(rand.Reader, k, []byte("ref"), bytes.Repeat([]byte{n}, 96))
		must(t, err)
		return s.Encode()
	}
	boot := func(public []byte, states ...[]byte) capability.Boot {
		return capability.Boot{Key: public, Ref: []byte("ref"), States: states}
	}
	known := boot(public, state(k, 1))
	count := func() int { return len(known.States) }
	for _, c := range []struct {
		name  string
		b     capability.Boot
		want  int
		fresh bool
	}{
		{"none", boot(public), 1, false},
		{"the same, signed anew", boot(public, state(k, 1)), 1, false},
		{"a new one", boot(public, state(k, 1), state(k, 2)), 2, true},
		{"one twice", boot(public, state(k, 3), state(k, 3)), 3, true},
		{"signed by another key", boot(public, state(other, 4)), 3, false},
		{"no state", boot(public, []byte("x")), 3, false},
		{"no key", boot(nil, state(k, 5)), 3, false},
		{"a damaged key", boot([]byte("key"), state(k, 5)), 3, false},
		{"another key", boot(otherPublic, state(other, 6)), 1, true},
	} {
		before := count()
		all, fresh := withStates(known, c.b)
		if count() != before {
			t.Errorf("%s: what is known was changed", c.name)
		}
		if known = all; fresh != c.fresh || count() != c.want {
			t.Errorf("%s: %d states, new ones: %t", c.name, count(), fresh)
		}
	}
	var many [][]byte
	for n := range maxBootStates + 20 {
		many = append(many, state(other, byte(n+7)))
	}
	running := state(other, 6) // the one that the vault must still open in, known for long
	known, _ = withStates(known, boot(otherPublic, append([][]byte{running}, many...)...))
	if s, err := attest.DecodeSignedState(known.States[0]); err != nil || s.PCRs[0] != 6 {
		t.Errorf("the running state is not the first: %v", err)
	}
	if b := wire.New().Encode(known); count() != maxBootStates || len(b) > 64<<10 {
		t.Errorf("%d states, %d bytes", count(), len(b))
	}
}

// What waits for the archive after a start is a copy: entries are read with whole segments, and one of them would keep its segment in memory.
func TestInheritedEntriesLetTheirSegmentGo(t *testing.T) {
	codec := wire.New()
	segment := slices.Concat((&ledger.Entry{Position: 7, Advanced: &ledger.Advanced{}}).Encode(codec), (&ledger.Entry{Position: 8, Advanced: &ledger.Advanced{}}).Encode(codec))
	n := len(segment) / 2
	k := &keeper{}
	if err := k.inherit([][]byte{segment[:n], segment[n:]}); err != nil {
		t.Fatal(err)
	}
	k.forget(8)
	want := bytes.Clone(segment[n:])
	k.own()
	clear(segment)
	if len(k.waiting) != 1 || cap(k.waiting) != 1 || k.first != 8 || k.bytes != n || !bytes.Equal(k.waiting[0], want) {
		t.Errorf("%d entries wait, from %d on, %d bytes: % x", len(k.waiting), k.first, k.bytes, k.waiting)
	}
}

// A clean stop leaves the next start no journal to read, unless that is short or a small part of the state; whatever becomes of it, it is a clean stop. A failure leaves everything as it is.
func TestStopShortensTheJournal(t *testing.T) {
	for _, c := range []struct {
		what            string
		bytes, snapshot int64
		broken, early   bool
		failure         error
		want            int
	}{
		{what: "a long journal", bytes: stopAfter, want: 1},
		{what: "a short one", bytes: stopAfter - 1},
		{what: "a long one beside a state that is longer", bytes: 2 * stopAfter, snapshot: 8 * stopAfter, want: 1},
		{what: "a long one beside a large state", bytes: 2 * stopAfter, snapshot: 8*stopAfter + 4},
		{what: "one that would be shortened anyway", bytes: snapshotAfter, snapshot: stopState, want: 1},
		{what: "a state that a stop has no time for", bytes: 1 << 40, snapshot: stopState + 1},
		{what: "a journal of which no archive has anything", bytes: earlyAfter - 1, early: true},
		{what: "one that is too long even so", bytes: earlyAfter, early: true, want: 1},
		{what: "an archive that fails", bytes: stopAfter, broken: true},
		{what: "trusted storage that failed", bytes: stopAfter, failure: ErrStorage},
	} {
		s := &shelf{}
		s.broken.Store(c.broken)
		a, v := archiving(s)
		a.finish, a.compactAt, a.SnapshotBytes = make(chan struct{}), snapshotAfter, c.snapshot
		if v.bytes = c.bytes; c.early {
			a.keeper.archive = nil
		}
		a.keeper.keep(bigEntry(1))
		end := "stop"
		if c.failure != nil {
			end = "close"
		}
		if err := a.leave(c.failure); !errors.Is(err, c.failure) || v.snapshots != c.want || v.ended != end {
			t.Errorf("%s: %d snapshots, ended by %s: %v", c.what, v.snapshots, v.ended, err)
		}
		if kept := len(s.entries) == 1; kept == (c.broken || c.early || c.failure != nil) {
			t.Errorf("%s: the archive has %d entries", c.what, len(s.entries))
		}
	}
}
