package backoffice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/storage"
)

// The vault's snapshot is the state of the book, so that a start reads what there is and not what there was. Before a snapshot lets go of entries they are in the archive in history/, in
// parts that never change, under a key from the vault. An entry is at the place of its number and names the hash of the one before, and the state names the last: one that is cut,
// changed or put in is found by Verify. A vault from before there was a history, and a new one, has entries in the place of the state; the first snapshot moves them.
//
// Order of writes: the entries are durable in the vault, then in the archive, then the snapshot replaces them in the vault. A cut between leaves them in both.

const (
	stateMagic   = "LHbook02" // before a state. Entries begin with a length, whose first byte is zero
	historyLabel = "freehold history"

	compactAfter   = 128      // entries since the snapshot, before a run begins with the next: each run leaves a segment
	compactBytes   = 4 << 20  // of them, where the book is large: 10,000 entries, which a start reads in a fifth of a second
	compactShare   = 8        // less where it is small: so much of its size
	compactRunning = 32 << 20 // bytes of entries that one run keeps in memory, before it takes a snapshot itself
	historyChunk   = 8 << 20  // bytes given to the archive at once
)

// past is what was written of the book so far.
type past struct {
	archive *storage.Archive // nil until it is needed
	base    uint64           // entries that the vault's snapshot has in its state
	state   int              // its size in bytes
	fresh   [][]byte         // the entries since
	bytes   int              // of them
}

// restore makes the book of what the vault holds, and sees that the history goes as far.
func (o *Office) restore(r *storage.Restored) error {
	rest, is := bytes.CutPrefix(r.Snapshot, []byte(stateMagic))
	if is {
		var err error
		if o.book, err = entitlement.RestoreBeside(allCores, rest); err != nil {
			return err
		}
		_, o.past.base = o.book.Head()
		o.past.state = len(rest)
	}
	for !is && len(rest) > 0 {
		b, after, err := cutEntry(rest)
		if err != nil {
			return err
		}
		if err := o.replay(b); err != nil {
			return err
		}
		rest = after
	}
	for _, b := range r.Records {
		if err := o.replay(b); err != nil {
			return err
		}
	}
	if !is || len(r.Records) > 0 { // a state was checked as it was read
		if err := o.book.Check(); err != nil {
			return err
		}
	}
	if o.past.base == 0 {
		return nil
	}
	return o.openHistory()
}

// allCores runs tasks on as many processors as there are.
func allCores(n int, task func(int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				task(i - 1)
			}
		})
	}
	all.Wait()
}

// replay applies an entry that was written before.
func (o *Office) replay(b []byte) error {
	e, err := entitlement.DecodeEntry(o.codec, b)
	if err != nil {
		return fmt.Errorf("%w: %w", entitlement.ErrCorrupt, err)
	}
	return o.apply(e, b)
}

// apply takes an entry into the book, which is b as bytes.
func (o *Office) apply(e *entitlement.Entry, b []byte) error {
	if err := o.book.Apply(e); err != nil {
		return err
	}
	if e.Tells() {
		o.changes++
	}
	o.past.fresh = append(o.past.fresh, b)
	o.past.bytes += len(b)
	return nil
}

// openHistory opens the archive. It must begin with the first entry, reach what the vault has let go of, and not go beyond the book.
func (o *Office) openHistory() error {
	if o.past.archive != nil {
		return nil
	}
	secret, err := o.vault.Derive(historyLabel, 32)
	if err != nil {
		return err
	}
	a, err := storage.OpenArchive(o.place.History, secret, o.rand)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	_, length := o.book.Head()
	last := uint64(0)
	if n := a.Next(); n > 0 {
		last = n - 1
	}
	switch {
	case last > 0 && a.First() != 1 || last < o.past.base:
		return fmt.Errorf("%w: history has entries %d to %d, and the book had %d before its last snapshot", entitlement.ErrCorrupt, a.First(), last, o.past.base)
	case last > length:
		return fmt.Errorf("%w: history has %d entries, and the book %d: it is an older copy", entitlement.ErrCorrupt, last, length)
	}
	o.past.archive = a
	return nil
}

// due says whether it is time for a snapshot: at the begin of a run for the sake of starts, in it for the sake of memory.
func (o *Office) due(first bool) bool {
	if !first {
		return o.past.bytes >= max(compactRunning, o.past.state/2)
	}
	return len(o.past.fresh) >= compactAfter && o.past.bytes >= min(compactBytes, o.past.state/compactShare)
}

// compact moves the entries since the last snapshot into the history, and makes another. Where the state has become too large for one, the vault goes on without.
func (o *Office) compact() error {
	if err := o.recordHistory(); err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	// A cut here leaves entries in both: the next time goes on behind them.
	state := append([]byte(stateMagic), o.book.Snapshot()...)
	err := o.vault.Snapshot(state)
	if errors.Is(err, storage.ErrTooLarge) {
		return nil
	}
	if err != nil {
		return err
	}
	_, length := o.book.Head()
	o.past = past{archive: o.past.archive, base: length, state: len(state)}
	return nil
}

// recordHistory appends to the archive what it does not have.
func (o *Office) recordHistory() error {
	unlock, err := o.place.History.Lock() // which makes the directory
	if err != nil {
		return err
	}
	defer unlock.Close()
	if err := o.openHistory(); err != nil {
		return err
	}
	p := &o.past
	next := max(p.archive.Next(), 1)
	if next > 1 {
		if err := o.follows(next); err != nil {
			return err
		}
	}
	for rest := p.fresh[next-1-p.base:]; len(rest) > 0; {
		n, size := 0, 0
		for n < len(rest) && (n == 0 || size+len(rest[n]) < historyChunk) {
			size += len(rest[n])
			n++
		}
		if err := p.archive.Append(next, rest[:n]); err != nil {
			return err
		}
		next, rest = next+uint64(n), rest[n:]
	}
	return nil
}

// follows sees that the entry of that number, or the head where there is none, follows the last one in the archive: it may be that of another copy of the book.
func (o *Office) follows(next uint64) error {
	want, length := o.book.Head()
	if next <= length {
		e, err := entitlement.DecodeEntry(o.codec, o.past.fresh[next-1-o.past.base])
		if err != nil {
			return err
		}
		want = e.Before
	}
	return o.past.archive.Read(next-1, func(n uint64, b []byte) error {
		e, err := entitlement.DecodeEntry(o.codec, b)
		if err != nil {
			return fmt.Errorf("%w: history, entry %d: %w", entitlement.ErrCorrupt, n, err)
		}
		if got := e.Hash(o.codec); got != want {
			return fmt.Errorf("%w: history ends with entry %d of hash %.8x, and entry %d follows %.8x: they are of two copies of the book", entitlement.ErrCorrupt, n, got[:], next, want[:])
		}
		return nil
	})
}

// errEnough ends a reading that has all it needs.
var errEnough = errors.New("enough")

// History calls f for every entry from that number on (the first is 1), in order, until it fails. Each is seen to follow the one before, the last to be the book's head.
func (o *Office) History(from uint64, f func(number uint64, e *entitlement.Entry) error) error {
	from = max(from, 1)
	head, length := o.book.Head()
	base, fresh := o.past.base, o.past.fresh // also where others write meanwhile, which a reading in pieces lets them
	number, hash := from-1, head             // of the entry before
	step := func(n uint64, b []byte) error {
		if n != number+1 {
			return fmt.Errorf("%w: history has entry %d behind entry %d", entitlement.ErrCorrupt, n, number)
		}
		e, err := entitlement.DecodeEntry(o.codec, b)
		if err != nil {
			return fmt.Errorf("%w: history, entry %d: %w", entitlement.ErrCorrupt, n, err)
		}
		if before := e.Before; n > from && before != hash || n == 1 && before != (entitlement.Entry{}).Before {
			return fmt.Errorf("%w: history, entry %d follows %.8x, the entry before is %.8x", entitlement.ErrCorrupt, n, before[:], hash[:])
		}
		number, hash = n, e.Hash(o.codec)
		return f(n, e)
	}
	if from <= base {
		err := o.past.archive.Read(from, func(n uint64, b []byte) error {
			if n > base {
				return errEnough // the vault has it too
			}
			return step(n, b)
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
	}
	for i, b := range fresh {
		if n := base + uint64(i) + 1; n >= from {
			if err := step(n, b); err != nil {
				return err
			}
		}
	}
	if from <= length && (number != length || hash != head) {
		return fmt.Errorf("%w: history ends with entry %d, the book with entry %d", entitlement.ErrCorrupt, number, length)
	}
	return nil
}

func appendEntry(log, entry []byte) []byte {
	return append(binary.BigEndian.AppendUint32(log, uint32(len(entry))), entry...)
}

func cutEntry(log []byte) (entry, rest []byte, err error) {
	if len(log) < 4 {
		return nil, nil, fmt.Errorf("%w: its history ends inside a length", entitlement.ErrCorrupt)
	}
	n := binary.BigEndian.Uint32(log)
	if n > entitlement.MaxEntry || uint64(n) > uint64(len(log)-4) {
		return nil, nil, fmt.Errorf("%w: an entry of %d bytes where %d follow and at most %d are allowed", entitlement.ErrCorrupt, n, len(log)-4, entitlement.MaxEntry)
	}
	return log[4 : 4+n], log[4+n:], nil
}
