// Package storage is trusted storage: a vault that keeps records in an encrypted, hash-chained journal and names its own age.
// It knows neither licenses nor TPMs: records are bytes, a Sealer keeps one secret, an Anchor tells how old the state must be.
//
// Pick Create for a new vault and Open for one that is there; both want Begin before the first Commit or Move. Commit makes
// a group of entries durable; Move does the same for a change of capacity, after which no older copy of the disk opens.
// A Vault belongs to one goroutine. README.md has the bytes and the order of writes.
package storage

import (
	"errors"
	"fmt"
	"io"
	"syscall"
)

// Sealer keeps the root secret of a vault: what Seal gives back opens only here, and only while the epoch is as said.
type Sealer interface {
	Seal(secret []byte, epoch uint64) (blob []byte, err error)
	Unseal(blob []byte, epoch uint64) (secret []byte, err error)
}

// Anchor is what outside the disk knows the vault's age: an epoch E that only grows, and a running digest S that is lost with
// the power. Extend may be called while the disk syncs, never beside another call.
type Anchor interface {
	// Provision makes the counter, to be moved with secret only; once in the life of a vault.
	Provision(secret []byte) (epoch uint64, err error)
	// Epoch reads E, without the secret.
	Epoch() (uint64, error)
	// Advance moves E to from+1.
	Advance(secret []byte, from uint64) error
	// Extend sets S to SHA-256(S || group).
	Extend(group [32]byte) error
	// Running reads S and the counts of power cycles and restarts in which it was emptied.
	Running() (digest [32]byte, resets, restarts uint32, err error)
}

// Options are the parts of the world a vault needs. Sealer or SealerFor, and Rand, are required.
type Options struct {
	// Sealer keeps the root secret.
	Sealer Sealer
	// SealerFor, when set, is asked instead of Sealer, with the public part of the header that is opened or written. It is
	// needed where sealing depends on the public part: Move can then change both together.
	SealerFor func(public []byte) (Sealer, error)
	// Anchor may be nil: then nothing outside the disk knows the vault's age, the epoch stays 1, Move is an ordinary group
	// and the verdict is always Exact.
	Anchor Anchor
	// Page is where the root secret is kept; nil means ordinary memory.
	Page *Page
	// Rand gives secrets and salts; crypto/rand.Reader but in tests.
	Rand io.Reader
	// SegmentBytes is the size of a journal segment; 0 means DefaultSegmentBytes.
	SegmentBytes int64
	// Go runs a task beside the caller; nil means a goroutine. A test hands in one that runs it at once, to repeat a life.
	Go func(task func())
}

func (o *Options) check() error {
	if o.Sealer == nil && o.SealerFor == nil {
		return errors.New("trusted storage has no sealer")
	}
	if o.Rand == nil {
		return errors.New("trusted storage has no source of randomness")
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.SegmentBytes < MinSegmentBytes || o.SegmentBytes > MaxSegmentBytes {
		return fmt.Errorf("segment of %d bytes: must be %d to %d", o.SegmentBytes, MinSegmentBytes, MaxSegmentBytes)
	}
	if o.Go == nil {
		o.Go = func(task func()) { go task() }
	}
	return nil
}

func (o *Options) sealer(public []byte) (Sealer, error) {
	if o.SealerFor == nil {
		return o.Sealer, nil
	}
	return o.SealerFor(public)
}

// What can be wrong with a vault, where a caller branches. Errors of Sealer and Anchor are wrapped and passed on.
var (
	// ErrAbsent: there is no vault on this disk.
	ErrAbsent = errors.New("trusted storage is not there")
	// ErrPresent: Create was asked for a disk that holds a vault.
	ErrPresent = errors.New("trusted storage is there already")
	// ErrCorrupt: bytes are not what was written, and not what a power cut leaves.
	ErrCorrupt = errors.New("trusted storage is corrupt")
	// ErrRolledBack: the anchor has moved on; this is an older copy of the disk.
	ErrRolledBack = errors.New("trusted storage is an older copy")
	// ErrLocked: another process has the vault open.
	ErrLocked = errors.New("trusted storage is in use by another process")
	// ErrDisturbed: what was read back from the anchor is not what this vault left there.
	ErrDisturbed = errors.New("the anchor was changed by something else")
	// ErrFull: the disk has no space left. Nothing that was acknowledged is lost.
	ErrFull = errors.New("no space is left for trusted storage")
	// ErrTooLarge: an entry, a group, a snapshot or a public part is above its limit.
	ErrTooLarge = errors.New("too large for trusted storage")
	// ErrNotBegun: Begin comes before Commit, Move, Snapshot and Stop.
	ErrNotBegun = errors.New("trusted storage is open but its run has not begun")
	// ErrClosed: the vault was closed or stopped.
	ErrClosed = errors.New("trusted storage is closed")
)

// UnmadeError is in the error of a Create that failed after it had provisioned the anchor: the epoch has moved, and whatever is there holds nothing.
type UnmadeError struct {
	Epoch uint64 // that the anchor was provisioned at
	Cause error
}

func (e *UnmadeError) Error() string { return e.Cause.Error() }
func (e *UnmadeError) Unwrap() error { return e.Cause }

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

// diskError says what was being done, and tells a full disk from a broken one.
func diskError(doing string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%s: %w: %w", doing, ErrFull, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// Verdict is the start decision: how sure the anchor is that nothing is missing from what was opened.
type Verdict uint8

const (
	// Clean: stopped cleanly; nothing can be missing.
	Clean Verdict = iota + 1
	// Exact: the process ended without a stop, and the anchor shows that nothing is missing.
	Exact
	// Hold: power was lost or someone interfered; a newer state of the same epoch may have been told to clients.
	Hold
)

func (v Verdict) String() string {
	switch v {
	case Clean:
		return "clean"
	case Exact:
		return "exact"
	case Hold:
		return "hold"
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// Running is a reading of the anchor: the running digest and the counts of its power cycle.
type Running struct {
	Digest           [32]byte
	Resets, Restarts uint32
}

// Cause says why a start is a hold: what the journal expects of the anchor, and what was found.
type Cause struct{ Expected, Found Running }

// Counts says whether the power cycle differs; if not, the running digest does.
func (c Cause) Counts() bool {
	return c.Expected.Resets != c.Found.Resets || c.Expected.Restarts != c.Found.Restarts
}

func (c Cause) String() string {
	if c.Counts() {
		return fmt.Sprintf("power was lost or the machine restarted: resets %d, restarts %d; the journal has %d and %d",
			c.Found.Resets, c.Found.Restarts, c.Expected.Resets, c.Expected.Restarts)
	}
	return fmt.Sprintf("running digest is %x, the journal ends at %x", c.Found.Digest, c.Expected.Digest)
}

// Restored is what Open found.
type Restored struct {
	// Snapshot is the state given to Create or to the last Snapshot.
	Snapshot []byte
	// Records are the entries since, in order. They share memory: do not append to one.
	Records [][]byte
	// Public is the authenticated public part.
	Public  []byte
	Verdict Verdict
	// Cause is nil unless Verdict is Hold.
	Cause *Cause
}
