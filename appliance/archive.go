package appliance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
)

// Archive keeps the entries that trusted storage lets go of, and the configuration; package storage has it. It holds no right, and what it holds proves itself: each entry
// names the hash of the one before.
type Archive interface {
	Next() uint64 // position of the next entry; zero: none is there yet
	Append(first uint64, entries [][]byte) error
	SetNote(configuration []byte) error
	Trim(limit int64) error
	// Read may be called beside the others, from any goroutine.
	Read(from uint64, f func(position uint64, entry []byte) error) error
	// Rekey lets the recovery key of that number open the archive from now on, and no other.
	Rekey(number uint32) (capability.RecoveryKey, error)
	// Files are what a backup copies.
	Files() ([]string, error)
	File(name string) ([]byte, error)
}

const (
	archiveAfter = 1 << 20  // bytes of entries that wait in memory for the archive: compressed they are no small part, which would be written again with the next
	archiveBatch = 16 << 20 // bytes of entries that are handed over at once, or one entry: storage takes 32 MiB, and a large state or an archive that failed for long lets more wait
	archiveLimit = 1 << 30  // bytes of the archive's files: at 500 leases a year and more
)

// keeper hands entries to the archive beside the owner. The owner gathers; one batch at a time is written by a goroutine.
type keeper struct {
	archive    Archive
	first      uint64 // position of the first that waits
	waiting    [][]byte
	bytes      int
	configured bool       // the note is older than the configuration
	writing    chan error // of the batch that is written; nil when none is
	off        bool       // nothing is kept
}

// keep takes what has become durable.
func (k *keeper) keep(entries []ledger.Entry, encoded [][]byte) {
	if k.off {
		return
	}
	for i, e := range entries {
		if len(k.waiting) == 0 {
			k.first = e.Position
		}
		k.waiting = append(k.waiting, encoded[i])
		k.bytes += len(encoded[i])
		k.configured = k.configured || e.Configures()
	}
}

// inherit takes what was durable before this run. Until there is an archive, entries wait: an appliance without rights makes few.
func (k *keeper) inherit(journal [][]byte) error {
	for i, b := range journal {
		if i == 0 {
			e, err := ledger.DecodeEntry(wire.New(), b)
			if err != nil {
				return err
			}
			k.first = e.Position
		}
		k.waiting = append(k.waiting, b)
		k.bytes += len(b)
	}
	return nil
}

// own copies the entries that wait: what they were read with is whole segments, and each would keep its own.
func (k *keeper) own() {
	k.waiting = slices.Clone(k.waiting)
	for i, b := range k.waiting {
		k.waiting[i] = bytes.Clone(b)
	}
}

// least is the bytes of journal that are kept in any case.
func (k *keeper) least() int64 {
	if k.archive == nil && !k.off {
		return earlyAfter
	}
	return 0
}

// settle ends the batch that is written, or with wait waits for it. After an error the entries wait on, and are tried again with the next batch.
func (k *keeper) settle(wait bool) error {
	if k.writing == nil {
		return nil
	}
	if !wait {
		select {
		case err := <-k.writing:
			return k.settled(err)
		default:
			return nil
		}
	}
	return k.settled(<-k.writing)
}

func (k *keeper) settled(err error) error {
	k.writing = nil
	if err != nil {
		k.configured = true
	}
	k.forget(k.archive.Next()) // after an error too: what failed may be the note, or what is done behind the entries
	k.waiting = slices.Clone(k.waiting)
	return err
}

// forget lets go of the entries that an archive has whose next entry is at position next.
func (k *keeper) forget(next uint64) {
	for ; next > k.first && len(k.waiting) > 0; k.first++ {
		k.bytes -= len(k.waiting[0])
		k.waiting = k.waiting[1:]
	}
}

// next is how many of those that wait are written now.
func (k *keeper) next() (n int) {
	for size := 0; n < len(k.waiting); n++ {
		if size += 4 + len(k.waiting[n]); n > 0 && size > archiveBatch {
			break
		}
	}
	return n
}

// start begins to write the first n that wait, and behind the last of all the note, if there is one.
func (k *keeper) start(n int, note []byte) {
	batch, first := k.waiting[:n:n], k.first
	if k.writing = make(chan error, 1); note != nil {
		k.configured = false
	}
	go func(done chan<- error) {
		err := k.archive.Append(first, batch)
		if err == nil && note != nil {
			err = k.archive.SetNote(note)
		}
		if err == nil {
			err = k.archive.Trim(archiveLimit)
		}
		done <- err
	}(k.writing)
}

// archiveEntries moves entries to the archive when there are many, or with all, all of them and waits. A failure changes nothing but the journal's length.
func (a *Appliance) archiveEntries(all bool) error {
	k := &a.keeper
	if k.archive == nil {
		return nil
	}
	for {
		if err := k.settle(all); err != nil {
			return fmt.Errorf("write the archive: %w", err)
		}
		if k.writing != nil || !all && k.bytes < archiveAfter || len(k.waiting) == 0 && !k.configured {
			return nil
		}
		n, note := k.next(), []byte(nil)
		if k.configured && n == len(k.waiting) {
			note = a.codec.Encode(a.Ledger.Configuration())
		}
		if k.start(n, note); !all {
			return nil
		}
	}
}

// openArchive gives the keeper the archive of the vault.
func (a *Appliance) openArchive(v Vault) error {
	if a.Archive == nil {
		a.keeper = keeper{off: true}
		return nil
	}
	k, last := &a.keeper, a.Ledger.Status(ledger.Now{}).Position
	if len(k.waiting) == 0 {
		k.first = last + 1
	}
	archive, err := a.Archive(v, k.first, last, a.Ledger.Recovery())
	if err != nil {
		return fmt.Errorf("open the archive: %w", err)
	}
	k.forget(archive.Next())
	k.archive, k.configured = archive, true
	return nil
}

// Audit writes the entries from position from on to w, one after the other: a CBOR sequence (RFC 8742). What is durable when it is called is in it.
func (a *Appliance) Audit(ctx context.Context, from uint64, w io.Writer) error {
	archive, err := a.complete(ctx)
	if err != nil {
		return err
	}
	return readFrom(archive, from, func(_ uint64, entry []byte) error {
		_, err := w.Write(entry)
		return err
	})
}

// readFrom reads an archive beside who writes it.
func readFrom(archive Archive, from uint64, f func(position uint64, entry []byte) error) error {
	for try := 0; ; try++ {
		err := archive.Read(from, func(position uint64, entry []byte) error {
			from = position + 1
			return f(position, entry)
		})
		// A part that grew has another name by now; what was read so far stays.
		if errors.Is(err, fs.ErrNotExist) && try < 100 {
			continue
		}
		return err
	}
}

// errEnough ends a reading of the archive where no more of it is needed.
var errEnough = errors.New("as much as was wanted")

// Entries has f called with every entry that was durable when it was called, from position from on and in order, as long as f wants more. Nothing is written for it, and the owner waits for nobody: what the
// archive does not have yet is in memory. The entries are f's.
func (a *Appliance) Entries(ctx context.Context, from uint64, f func(*ledger.Entry) (more bool, err error)) error {
	var archive Archive
	var first uint64
	var waiting [][]byte
	if err := a.owned(ctx, func() error {
		k := &a.keeper
		archive, first, waiting = k.archive, k.first, slices.Clone(k.waiting)
		return nil
	}); err != nil {
		return err
	}
	if archive == nil {
		return a.noArchive(ctx)
	}
	return readBoth(archive, first, waiting, from, f)
}

// readBoth reads what an archive has before the entry at first, and then those that wait.
func readBoth(archive Archive, first uint64, waiting [][]byte, from uint64, f func(*ledger.Entry) (more bool, err error)) (err error) {
	codec := wire.New()
	one := func(position uint64, entry []byte) error {
		if position < from {
			return nil
		}
		e, err := ledger.DecodeEntry(codec, entry)
		if err != nil {
			return err
		}
		more, err := f(&e)
		if err == nil && !more {
			err = errEnough
		}
		return err
	}
	if from < first {
		err = readFrom(archive, from, func(position uint64, entry []byte) error {
			if position >= first {
				return errWaits // the archive has it by now, and so have we
			}
			return one(position, entry)
		})
	}
	if errors.Is(err, errWaits) {
		err = nil
	}
	for i := 0; err == nil && i < len(waiting); i++ {
		err = one(first+uint64(i), waiting[i])
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return err
}

// errWaits ends a reading of the archive where the entries begin that wait in memory.
var errWaits = errors.New("the rest is in memory")

// RecoveryKey shows the recovery key, once, or with anew makes another that is shown.
func (a *Appliance) RecoveryKey(ctx context.Context, anew bool, by string) (key capability.RecoveryKey, err error) {
	if err := a.do(ctx, &call{command: ledger.TakeRecovery{New: anew, By: by}}); err != nil {
		return "", err
	}
	err = a.owned(ctx, func() (err error) {
		key, err = a.keeper.archive.Rekey(a.Ledger.Recovery().Number)
		return err
	})
	if err == nil {
		a.Log.Info("recovery key shown", "by", by)
	}
	return key, err
}

// complete is the archive with everything durable in it.
func (a *Appliance) complete(ctx context.Context) (archive Archive, err error) {
	err = a.owned(ctx, func() error {
		archive = a.keeper.archive
		return a.archiveEntries(true)
	})
	if err == nil && archive == nil {
		err = a.noArchive(ctx)
	}
	return archive, err
}

// noArchive is why there is none.
func (a *Appliance) noArchive(ctx context.Context) error {
	var lost capability.Code
	if err := a.Look(ctx, func(l *ledger.Ledger, now ledger.Now) { lost = l.Status(now).Lost }); err != nil {
		return err
	}
	if lost != 0 {
		return capability.Refuse(capability.ErrNoArchive, "", "it belongs to the storage that cannot be used (%s), and only the recovery key opens it", lost)
	}
	return capability.Refuse(capability.ErrNoArchive, "", "before the first response nothing is kept")
}

// Backup gives the files of the archive, which are encrypted, with everything durable in them.
func (a *Appliance) Backup(ctx context.Context, put func(name string, b []byte) error) error {
	archive, err := a.complete(ctx)
	if err != nil {
		return err
	}
	given := map[string]bool{}
	for try := 0; ; try++ {
		names, err := archive.Files()
		if err != nil {
			return err
		}
		grown := false
		for _, name := range names {
			if given[name] {
				continue
			}
			b, err := archive.File(name)
			if grown = grown || errors.Is(err, fs.ErrNotExist); errors.Is(err, fs.ErrNotExist) && try < 100 {
				continue // a part that grew has another name by now
			}
			if err == nil {
				err = put(name, b)
			}
			if err != nil {
				return err
			}
			given[name] = true
		}
		if !grown {
			return nil
		}
	}
}

// owned runs f in the owner's place, between two groups.
func (a *Appliance) owned(ctx context.Context, f func() error) error {
	var err error
	if e := a.Look(ctx, func(*ledger.Ledger, ledger.Now) { err = f() }); e != nil {
		return e
	}
	return err
}
