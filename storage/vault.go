package storage

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// Vault is one open trusted storage. It belongs to one goroutine. After any error of Begin, Commit, Move or Stop it gives that error
// to every later call: what the disk or the anchor hold is then unknown, and only the start decision of a new process can tell.
type Vault struct {
	disk   Disk
	o      Options
	unlock io.Closer
	sealer Sealer
	kept   kept   // on the page
	secret secret // of kept

	epoch  uint64
	public []byte
	head   head
	run    Running // what the anchor must read: S after every group of this run, and its power cycle

	segment  *segment // nil: the next record takes a new one
	making   *making  // the one after, while it is made or waits
	number   uint64   // of the next segment
	bytes    int64    // in the journal since the snapshot
	framer   framer
	synced   chan error
	datasync func()

	clean bool  // opened after a clean stop
	begun bool  // Begin was called
	err   error // given to every later call
}

func newVault(d Disk, o Options, unlock io.Closer) *Vault {
	v := &Vault{disk: d, o: o, unlock: unlock, epoch: 1, number: 1, synced: make(chan error, 1)}
	v.datasync = func() { v.synced <- v.segment.file.Datasync() }
	return v
}

// Create makes a vault on a disk that holds none. Public is readable without the secret; state is the first snapshot.
// It fails with ErrPresent where a vault is and with ErrCorrupt where one lost its header, and removes what a Create that was cut off
// left behind.
func Create(d Disk, o Options, public, state []byte) (*Vault, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	unlock, err := d.Lock()
	if err != nil {
		return nil, err
	}
	v := newVault(d, o, unlock)
	if err := v.create(public, state); err != nil {
		v.close()
		return nil, fmt.Errorf("create trusted storage: %w", err)
	}
	return v, nil
}

func (v *Vault) create(public, state []byte) (err error) {
	if len(public) > MaxPublicBytes || len(state) > MaxSnapshotBytes {
		return fmt.Errorf("public part of %d bytes, state of %d: %w", len(public), len(state), ErrTooLarge)
	}
	found, err := inventory(v.disk)
	if err != nil {
		return err
	}
	if err := found.present(); err == nil {
		return ErrPresent
	} else if !errors.Is(err, ErrAbsent) {
		return err
	}
	if err := found.removeAll(v.disk); err != nil {
		return err
	}
	if err := v.take(); err != nil {
		return err
	}
	if err := v.kept.draw(v.o.Rand); err != nil {
		return err
	}
	if v.o.Anchor != nil {
		Guard(func() { v.epoch, err = v.o.Anchor.Provision(v.secret) })
		if err != nil {
			return err
		}
		defer func() {
			if err != nil {
				err = &UnmadeError{v.epoch, err}
			}
		}()
		if v.run, err = read(v.o.Anchor); err != nil {
			return err
		}
	}
	// A cut here leaves a counter that nothing was sealed to: the anchor makes it anew.
	if err := v.writeSnapshot(state); err != nil {
		return err
	}
	// A cut here leaves a snapshot without a header, which is no vault: the next Create removes it.
	if v.sealer, err = v.o.sealer(public); err != nil {
		return err
	}
	v.public = bytes.Clone(public)
	return v.writeHeader(v.epoch, v.sealer, public)
}

// Begin starts the run, before anything is told. Its group carries the anchor's reading and the caller's entries (the end of a
// hold, the boot); then the epoch moves once after a clean stop, else twice: the adversary may keep a state prepared for the
// next epoch, and after two moves by one process no other state opens.
func (v *Vault) Begin(entries ...[]byte) error {
	if v.err == nil && v.begun {
		return errors.New("the run of trusted storage has begun already")
	}
	if v.err != nil {
		return v.err
	}
	return v.poison(v.begin(entries))
}

func (v *Vault) begin(entries [][]byte) error {
	if err := v.group(&frame{kind: kindRun, epoch: v.epoch, run: v.run, entries: entries}); err != nil {
		return err
	}
	v.begun = true
	if v.o.Anchor == nil {
		return nil
	}
	moves := 2
	if v.clean {
		moves = 1
	}
	// Each move first reads S, the counts and E back: a second process that started from the same state has extended S or moved
	// E by now, or will find that we did.
	for range moves {
		if err := v.move(nil, nil); err != nil {
			return err
		}
	}
	v.prepareSegment() // so that a move finds one
	return nil
}

// Commit makes one group of entries durable and anchored; only after it returns may anyone hear of them. Without entries it only
// reads the anchor back, which is needed before an answer is repeated.
func (v *Vault) Commit(entries [][]byte) error {
	if err := v.ready(); err != nil {
		return err
	}
	if len(entries) == 0 {
		return v.poison(v.readBack())
	}
	return v.poison(v.group(&frame{kind: kindGroup, epoch: v.epoch, entries: entries}))
}

// Move is Commit for a change of capacity: when it returns, no older state of this disk opens any more. A public part that is not
// nil replaces the one in the header, in the same step. Without an anchor it is a Commit, and a cut may leave the old public part
// beside the new group.
func (v *Vault) Move(public []byte, entries [][]byte) error {
	if err := v.ready(); err != nil {
		return err
	}
	if v.o.Anchor == nil {
		return v.poison(v.rewrite(public, entries))
	}
	return v.poison(v.move(public, entries))
}

// Stop is the clean stop: the next start serves at once. It closes the vault.
func (v *Vault) Stop() error {
	if err := v.ready(); err != nil {
		return err
	}
	if v.o.Anchor != nil {
		if err := v.poison(v.stop()); err != nil {
			return errors.Join(err, v.close())
		}
	}
	return v.Close()
}

func (v *Vault) stop() error {
	if err := v.move(nil, nil); err != nil {
		return err
	}
	// A cut here leaves a state that was running, with S at its head. The mark comes after the increment: one prepared before
	// it, cut off and kept, would open beside another state of that epoch and serve at once.
	if err := v.write(&frame{kind: kindMark, epoch: v.epoch}); err != nil {
		return err
	}
	return v.sync()
}

// Snapshot replaces the journal so far by state, which the caller makes from the same entries. On ErrFull the old snapshot and
// the journal stay, and the vault goes on.
func (v *Vault) Snapshot(state []byte) error {
	if err := v.ready(); err != nil {
		return err
	}
	err := v.writeSnapshot(state)
	if errors.Is(err, ErrFull) || errors.Is(err, ErrTooLarge) {
		return err
	}
	if err == nil {
		// A cut here leaves segments that the snapshot covers: the next start removes them.
		err = v.compact()
	}
	return v.poison(err)
}

func (v *Vault) take() (err error) {
	if v.kept, err = v.o.Page.take(keptBytes); err == nil {
		v.secret = v.kept.root()
	}
	return err
}

// Close leaves the vault as a crash would: the next start judges it by S.
func (v *Vault) Close() error {
	v.poison(ErrClosed)
	return v.close()
}

func (v *Vault) close() error {
	var err error
	if m := v.making; m != nil {
		<-m.done
		v.making = nil
		if m.segment != nil {
			err = m.segment.file.Close()
		}
	}
	if v.segment != nil {
		err = errors.Join(err, v.segment.file.Close())
		v.segment = nil
	}
	v.o.Page.drop(v.kept)
	v.kept, v.secret = nil, nil
	if v.unlock != nil {
		err = errors.Join(err, v.unlock.Close())
		v.unlock = nil
	}
	return err
}

// Epoch is the epoch of the state on disk.
func (v *Vault) Epoch() uint64 { return v.epoch }

// Head is the number of records since the vault was made, and the hash that chains them.
func (v *Vault) Head() (position uint64, hash [32]byte) { return v.head.position, v.head.hash }

// JournalBytes is the length of the journal since the snapshot: what the next start has to read. It tells when to take another.
func (v *Vault) JournalBytes() int64 { return v.bytes }

// Derive gives n bytes, at most MaxDeriveBytes, that only this vault's secret and label give: a key of the caller's own.
func (v *Vault) Derive(label string, n int) ([]byte, error) {
	if v.secret == nil {
		return nil, ErrClosed
	}
	return v.derive(make([]byte, n), label)
}

// DeriveKey is Derive for 32 bytes that stay on the page of the vault until the page is cleared.
func (v *Vault) DeriveKey(label string) ([]byte, error) {
	if v.secret == nil {
		return nil, ErrClosed
	}
	key, err := v.o.Page.take(secretBytes)
	if err != nil {
		return nil, err
	}
	return v.derive(key, label)
}

func (v *Vault) derive(to []byte, label string) (_ []byte, err error) {
	Guard(func() {
		var key []byte
		key, err = hkdf.Key(sha256.New, v.secret, nil, labelCaller+label, len(to))
		copy(to, key)
	})
	return to, err
}

func (v *Vault) ready() error {
	if v.err == nil && !v.begun {
		return ErrNotBegun
	}
	return v.err
}

func (v *Vault) poison(err error) error {
	if v.err == nil {
		v.err = err
	}
	return err
}
