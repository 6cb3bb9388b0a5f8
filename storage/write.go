package storage

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
)

func read(a Anchor) (r Running, err error) {
	r.Digest, r.Resets, r.Restarts, err = a.Running()
	if err != nil {
		return r, fmt.Errorf("read the running digest: %w", err)
	}
	return r, nil
}

// readBack compares S and both counts with what this vault left there. Nothing is acknowledged either after a sync that failed beside.
func (v *Vault) readBack() error {
	if err := v.brokeAhead(); err != nil {
		return err
	}
	if v.o.Anchor == nil {
		return nil
	}
	found, err := read(v.o.Anchor)
	if err != nil {
		return err
	}
	if found != v.run {
		return fmt.Errorf("%w: %s", ErrDisturbed, Cause{Expected: v.run, Found: found})
	}
	return nil
}

func (v *Vault) readEpoch() error {
	e, err := v.o.Anchor.Epoch()
	if err != nil {
		return fmt.Errorf("read the epoch: %w", err)
	}
	if e != v.epoch {
		return fmt.Errorf("%w: its epoch is %d, this vault is at %d", ErrDisturbed, e, v.epoch)
	}
	return nil
}

// expect notes that S is extended by the group at the head.
func (v *Vault) expect() {
	if v.o.Anchor != nil {
		v.run.Digest = fold(v.run.Digest, v.head.hash)
	}
}

func fold(digest, group [32]byte) [32]byte {
	return sha256.Sum256(append(digest[:], group[:]...))
}

// group writes one group in the present epoch and confirms it.
func (v *Vault) group(f *frame) error {
	if err := v.write(f); err != nil {
		return err
	}
	// A cut here leaves the group, a part of it or nothing, S behind it. Killed, the process leaves all of it in the page cache:
	// the next start extends the missing group.
	v.expect()
	v.o.Go(v.datasync)
	var extended error
	if v.o.Anchor != nil {
		extended = v.o.Anchor.Extend(v.head.hash)
	}
	// A cut here leaves S past a disk that lost the group; S is lost with the power, so that is a hold.
	if err := <-v.synced; err != nil {
		return diskError("sync the journal", err)
	}
	if extended != nil {
		return fmt.Errorf("extend the running digest: %w", extended)
	}
	// A cut here leaves a group that nobody was told of; it is kept.
	return v.readBack()
}

// write puts one record behind the head, not yet durable.
func (v *Vault) write(f *frame) error {
	if err := v.brokeAhead(); err != nil {
		return err
	}
	size, err := f.size()
	if err != nil {
		return err
	}
	if v.segment != nil && v.segment.offset+int64(size) > v.segment.size {
		if err := v.leaveSegment(); err != nil {
			return err
		}
	}
	if v.segment == nil {
		if v.segment, err = v.takeSegment(segmentHeader + int64(size)); err != nil {
			return err
		}
		v.segment.aead = v.kept.journal(v.segment.salt)
	}
	g := v.segment
	b := v.framer.seal(g.aead, v.head, f, size)
	if err := writeAt(g.file, b, g.offset); err != nil {
		return diskError("write to the journal", err)
	}
	g.offset += int64(size)
	v.bytes += int64(size)
	v.head = v.head.next(b)
	if g.offset > g.size/2 {
		v.prepareSegment()
	}
	return nil
}

func (v *Vault) sync() error {
	if err := v.segment.file.Datasync(); err != nil {
		return diskError("sync the journal", err)
	}
	return nil
}

func (v *Vault) leaveSegment() error {
	if v.segment == nil {
		return nil
	}
	v.bytes += v.segment.size - v.segment.offset // its end is read at each start as well
	err := v.segment.file.Close()
	v.segment = nil
	if err != nil {
		return diskError("close a journal segment", err)
	}
	return nil
}

// making is a segment on its way.
type making struct {
	done    chan struct{}
	segment *segment
	err     error
}

// prepareSegment begins to make the next segment, unless it is there.
func (v *Vault) prepareSegment() {
	if v.making != nil {
		return
	}
	m := &making{done: make(chan struct{})}
	v.making = m
	salt, err := newSalt(v.o.Rand)
	if err != nil {
		m.err = err
		close(m.done)
		return
	}
	number := v.number
	v.number++
	v.o.Go(func() {
		m.segment, m.err = makeSegment(v.disk, v.secret, number, salt, v.o.SegmentBytes)
		close(m.done)
	})
}

// brokeAhead gives the error of the segment on its way, once it has one. Want of space is none: there may be some when it is needed.
func (v *Vault) brokeAhead() error {
	if v.making == nil {
		return nil
	}
	select {
	case <-v.making.done:
		if err := v.making.err; err != nil && !errors.Is(err, ErrFull) {
			return err
		}
	default:
	}
	return nil
}

// following is the number of the segment after the present one.
func (v *Vault) following() uint64 {
	if v.making != nil {
		return v.number - 1 // it has its number already
	}
	return v.number
}

// takeSegment waits for the next segment and makes it as large as a record needs.
func (v *Vault) takeSegment(size int64) (*segment, error) {
	early := v.making != nil
	v.prepareSegment()
	m := v.making
	<-m.done
	v.making = nil
	if early && errors.Is(m.err, ErrFull) {
		return v.takeSegment(size) // the disk was full then
	}
	if m.err != nil {
		return nil, m.err
	}
	if m.segment.size < size {
		if err := m.segment.fill(nil, size); err != nil {
			return nil, errors.Join(diskError("make a journal segment", err), m.segment.file.Close())
		}
	}
	return m.segment, nil
}

// move is the change of epoch: the state of the next one is durable before the increment, never after. It begins with all that can
// be read back.
func (v *Vault) move(public []byte, entries [][]byte) error {
	if err := v.readBack(); err != nil {
		return err
	}
	if err := v.readEpoch(); err != nil {
		return err
	}
	sealer := v.sealer
	if public == nil {
		public = v.public
	} else {
		var err error
		if sealer, err = v.o.sealer(public); err != nil {
			return err
		}
	}
	if len(entries) > 0 {
		// The group opens a segment of its own, so that an unfinished move is a file to remove.
		if err := v.leaveSegment(); err != nil {
			return err
		}
		if err := v.write(&frame{kind: kindGroup, epoch: v.epoch + 1, entries: entries}); err != nil {
			return err
		}
		if err := v.sync(); err != nil {
			return err
		}
	}
	// A cut up to here leaves N, and a segment of an epoch that no header names: the next start removes that.
	if err := v.writeHeader(v.epoch+1, sealer, public); err != nil {
		return err
	}
	// A cut here leaves N valid and a whole N+1: the next start completes the move. S lacks the group, as after a crash in Commit.
	if len(entries) > 0 {
		v.expect()
		if err := v.o.Anchor.Extend(v.head.hash); err != nil {
			return fmt.Errorf("extend the running digest: %w", err)
		}
		// A cut here leaves the same, S at the head.
	}
	if err := v.increment(); err != nil {
		return err
	}
	if err := v.readBack(); err != nil {
		return err
	}
	v.public, v.sealer = bytes.Clone(public), sealer
	return v.dropHeader()
}

// increment moves E and reads it.
func (v *Vault) increment() error {
	var err error
	Guard(func() { err = v.o.Anchor.Advance(v.secret, v.epoch) })
	if err != nil {
		return fmt.Errorf("advance the epoch from %d: %w", v.epoch, err)
	}
	v.epoch++
	return v.readEpoch()
}

// dropHeader removes the header of the epoch before. A cut before it is durable leaves a header that opens no more: the next start
// removes it.
func (v *Vault) dropHeader() error {
	if err := v.disk.Remove(headerName(v.epoch - 1)); err != nil {
		return diskError("remove the header of the epoch before", err)
	}
	return nil
}

// rewrite is Move without an anchor.
func (v *Vault) rewrite(public []byte, entries [][]byte) error {
	if len(entries) > 0 {
		if err := v.group(&frame{kind: kindGroup, epoch: v.epoch, entries: entries}); err != nil {
			return err
		}
	}
	if public == nil {
		return nil
	}
	// A cut here leaves the group with the old public part.
	sealer, err := v.o.sealer(public)
	if err != nil {
		return err
	}
	if err := v.writeHeader(v.epoch, sealer, public); err != nil {
		return err
	}
	v.public, v.sealer = bytes.Clone(public), sealer
	return nil
}

func (v *Vault) writeHeader(epoch uint64, sealer Sealer, public []byte) error {
	var blob []byte
	var err error
	Guard(func() { blob, err = sealer.Seal(v.secret, epoch) })
	if err != nil {
		return fmt.Errorf("seal the root secret to epoch %d: %w", epoch, err)
	}
	h := header{epoch: epoch, head: v.head, public: public, blob: blob}
	b, err := h.encode(v.secret)
	if err != nil {
		return err
	}
	return replace(v.disk, headerName(epoch), b)
}

// writeSnapshot covers the present segment whole: compact, or a new start, leaves it.
func (v *Vault) writeSnapshot(state []byte) error {
	p := snapshot{head: v.head, epoch: v.epoch, first: v.following(), run: v.run, state: state}
	b, err := p.encode(v.secret, v.o.Rand)
	if err != nil {
		return err
	}
	return replace(v.disk, snapshotName(v.head.position), b)
}

// compact removes what the newest snapshot covers.
func (v *Vault) compact() error {
	if err := v.leaveSegment(); err != nil {
		return err
	}
	found, err := inventory(v.disk)
	if err != nil {
		return err
	}
	v.bytes = 0
	return found.remove(v.disk, func(kind fileKind, n uint64) bool {
		return kind == segmentFile && n < v.following() || kind == snapshotFile && n < v.head.position
	})
}

const newSuffix = ".new"

// replace makes a file whole or not at all. With ErrFull it is not there.
func replace(d Disk, name string, b []byte) error {
	temp := name + newSuffix
	if err := writeNew(d, temp, b); err != nil {
		return diskError("write "+name, err)
	}
	// A cut up to here leaves a part of a file under a name that no start reads.
	if err := d.Rename(temp, name); err != nil {
		return diskError("rename "+temp, err)
	}
	// A cut here leaves the old name or the new one, each with a whole file.
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync the directory after writing %s: %w", name, err)
	}
	return nil
}

func writeNew(d Disk, name string, b []byte) error {
	f, err := d.Create(name)
	if errors.Is(err, fs.ErrExist) { // left when the disk was full
		if err = d.Remove(name); err == nil {
			f, err = d.Create(name)
		}
	}
	if err != nil {
		return err
	}
	err = writeAt(f, b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		d.Remove(name) // on a full disk it would keep it full; if it stays, the next start removes it
	}
	return err
}
