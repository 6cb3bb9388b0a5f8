package storage

import (
	"fmt"
	"slices"
)

// Public gives the public part of the newest header, for whoever needs it to make the Sealer. Nothing has authenticated it yet:
// Open does. It fails with ErrAbsent where no vault is.
func Public(d Disk) ([]byte, error) {
	h, err := newestHeader(d)
	if err != nil {
		return nil, err
	}
	return h.public, nil
}

// Sealed gives what the Sealer made of the root secret, from the newest header, for whoever wants to know whose it is. It fails as Public does.
func Sealed(d Disk) ([]byte, error) {
	h, err := newestHeader(d)
	if err != nil {
		return nil, err
	}
	return h.blob, nil
}

func newestHeader(d Disk) (*header, error) {
	found, err := inventory(d)
	if err != nil {
		return nil, err
	}
	if err := found.present(); err != nil {
		return nil, err
	}
	_, h, err := readHeader(d, found.headers[len(found.headers)-1])
	return h, err
}

func readHeader(d Disk, epoch uint64) ([]byte, *header, error) {
	data, err := d.Read(headerName(epoch), maxHeader)
	if err != nil {
		return nil, nil, fmt.Errorf("read the header of epoch %d: %w", epoch, err)
	}
	h, err := decodeHeader(data)
	if err != nil {
		return nil, nil, err
	}
	if h.epoch != epoch {
		return nil, nil, corrupt("header of epoch %d is named %d", h.epoch, epoch)
	}
	return data, h, nil
}

// Open opens the vault, completes what a crash left half done, and judges by the anchor whether anything may be missing. It adds no
// record: closed again without Begin, the vault opens with the same verdict.
func Open(d Disk, o Options) (*Vault, *Restored, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	if found, err := inventory(d); err != nil {
		return nil, nil, err
	} else if err := found.present(); err != nil {
		return nil, nil, err
	}
	unlock, err := d.Lock()
	if err != nil {
		return nil, nil, err
	}
	v := newVault(d, o, unlock)
	restored, err := v.open()
	if err != nil {
		v.close()
		return nil, nil, fmt.Errorf("open trusted storage: %w", err)
	}
	return v, restored, nil
}

func (v *Vault) open() (*Restored, error) {
	found, err := inventory(v.disk) // again: now nobody else writes
	if err != nil {
		return nil, err
	}
	if err := found.present(); err != nil {
		return nil, err
	}
	h, err := v.unseal(&found)
	if err != nil {
		return nil, err
	}
	prepared, err := v.prepared(&found)
	if err != nil {
		return nil, err
	}
	if prepared != nil {
		h = prepared
	}
	j, err := v.readJournal(&found, h)
	if err != nil {
		return nil, err
	}
	judged, err := v.judge(j)
	if err != nil {
		return nil, err
	}
	if err := v.settle(&found, j, h); err != nil {
		return nil, err
	}
	if err := v.complete(j, h, judged); err != nil {
		return nil, err
	}
	return &Restored{Snapshot: j.snapshot.state, Records: j.records, Public: h.public, Verdict: judged.verdict, Cause: judged.cause}, nil
}

// unseal finds the header of the anchor's epoch, opens the secret and authenticates the header with it.
func (v *Vault) unseal(found *files) (*header, error) {
	if v.o.Anchor != nil {
		var err error
		if v.epoch, err = v.o.Anchor.Epoch(); err != nil {
			return nil, fmt.Errorf("read the epoch: %w", err)
		}
	}
	newest := found.headers[len(found.headers)-1]
	if !slices.Contains(found.headers, v.epoch) {
		return nil, fmt.Errorf("%w: this disk is of epoch %d, the anchor is at %d", ErrRolledBack, newest, v.epoch)
	}
	if newest > v.epoch+1 {
		return nil, corrupt("there is a header of epoch %d, the anchor is at %d", newest, v.epoch)
	}
	data, h, err := readHeader(v.disk, v.epoch)
	if err != nil {
		return nil, err
	}
	if v.sealer, err = v.o.sealer(h.public); err != nil {
		return nil, err
	}
	if err := v.take(); err != nil {
		return nil, err
	}
	v.public = h.public
	n := 0
	Guard(func() {
		var s []byte
		s, err = v.sealer.Unseal(h.blob, h.epoch)
		n = len(s)
		copy(v.secret, s)
		clear(s)
	})
	if err != nil {
		return nil, fmt.Errorf("unseal the root secret of epoch %d: %w", h.epoch, err)
	}
	if n != secretBytes {
		return nil, corrupt("root secret has %d bytes", n)
	}
	if !v.secret.genuine(labelHeader, data) {
		return nil, corrupt("header of epoch %d is not what was written", h.epoch)
	}
	return h, nil
}

// prepared gives the header of the next epoch if a whole one is there: a move was cut before its increment. One that is not whole
// was told to nobody, and is dropped.
func (v *Vault) prepared(found *files) (*header, error) {
	if v.o.Anchor == nil || !slices.Contains(found.headers, v.epoch+1) {
		return nil, nil
	}
	data, err := v.disk.Read(headerName(v.epoch+1), maxHeader)
	if err != nil {
		return nil, fmt.Errorf("read the header prepared for epoch %d: %w", v.epoch+1, err)
	}
	h, err := decodeHeader(data)
	if err != nil || h.epoch != v.epoch+1 || !v.secret.genuine(labelHeader, data) {
		return nil, nil
	}
	return h, nil
}

// judged is the start decision with what follows from it.
type judged struct {
	verdict Verdict
	cause   *Cause
	missing bool    // S lacks the last group
	found   Running // the anchor at the decision
}

// judge is the table of README.md, row by row, for a header that opened. A mark behind a header that was only prepared cannot be.
func (v *Vault) judge(j *journal) (judged, error) {
	if v.o.Anchor == nil {
		return judged{verdict: Exact}, nil
	}
	found, err := read(v.o.Anchor)
	if err != nil {
		return judged{}, err
	}
	d := judged{found: found}
	switch {
	case j.clean:
		d.verdict = Clean
	case found == j.run:
		d.verdict = Exact
	// One group past S: written, not yet extended. Only a group of the epoch that opens can be: before every header all
	// groups were read back. S past the head is never exact: a journal cut by one group looks the same.
	case j.unconfirmed && found == Running{Digest: j.before, Resets: j.run.Resets, Restarts: j.run.Restarts}:
		d.verdict, d.missing = Exact, true
	default:
		d.verdict, d.cause = Hold, &Cause{Expected: j.run, Found: found}
	}
	return d, nil
}

// settle makes durable what was read, which a killed process may have left in memory only, and removes what is dead. Neither changes
// what a start finds.
func (v *Vault) settle(found *files, j *journal, h *header) error {
	if j.last != 0 {
		f, err := v.disk.Open(segmentName(j.last))
		if err != nil {
			return diskError("open the journal's last segment", err)
		}
		err = f.Sync()
		if err2 := f.Close(); err == nil {
			err = err2
		}
		if err != nil {
			return diskError("sync the journal", err)
		}
	}
	// Without this a cut after the increment could take back the name of the header that was prepared for it.
	if err := v.disk.Sync(); err != nil {
		return diskError("sync the directory", err)
	}
	return found.remove(v.disk, func(kind fileKind, n uint64) bool {
		switch kind {
		case headerFile:
			return n != v.epoch && n != h.epoch
		case snapshotFile:
			return n != j.snapshot.head.position
		}
		return !slices.Contains(j.live, n)
	})
}

// complete extends the missing group, completes a prepared move and takes over the journal's end.
func (v *Vault) complete(j *journal, h *header, d judged) error {
	v.head, v.bytes, v.clean = j.head, j.bytes, d.verdict == Clean
	v.number = max(v.number, j.next)
	if v.o.Anchor == nil {
		return nil
	}
	v.run = d.found
	if d.missing {
		if err := v.o.Anchor.Extend(j.head.hash); err != nil {
			return fmt.Errorf("extend the running digest: %w", err)
		}
		v.run = j.run
	}
	// A cut here leaves what was found, with S at the head.
	if h.epoch == v.epoch {
		return v.readBack()
	}
	if err := v.increment(); err != nil {
		return err
	}
	// A cut here leaves N+1 with the header before it.
	if err := v.dropHeader(); err != nil {
		return err
	}
	sealer, err := v.o.sealer(h.public)
	if err != nil {
		return err
	}
	v.public, v.sealer = h.public, sealer
	return v.readBack()
}

// journal is what the files of a vault say, folded.
type journal struct {
	snapshot    *snapshot
	head        head
	run         Running  // what the anchor must read
	before      [32]byte // S before the group at the head
	unconfirmed bool     // the group at the head may be missing in S
	clean       bool     // the record at the head is the mark of a clean stop, right behind the header's head
	records     [][]byte
	bytes       int64
	live        []uint64 // segments that hold records
	last        uint64   // the last of them
	next        uint64   // number of the next segment
}

// readJournal folds the newest snapshot and the segments after it, up to the end of the journal of h.
func (v *Vault) readJournal(found *files, h *header) (*journal, error) {
	if len(found.snapshots) == 0 {
		return nil, corrupt("there is no snapshot")
	}
	position := found.snapshots[len(found.snapshots)-1]
	data, err := v.disk.Read(snapshotName(position), maxSnapshot)
	if err != nil {
		return nil, fmt.Errorf("read snapshot %d: %w", position, err)
	}
	p, err := decodeSnapshot(v.secret, position, data)
	if err != nil {
		return nil, err
	}
	j := &journal{snapshot: p, head: p.head, run: p.run, next: p.first}
	if err := j.fits(h, p.epoch); err != nil {
		return nil, err
	}
	ended := false // by a segment of a move that was not finished
	for _, n := range found.segments {
		j.next = max(j.next, n+1)
		if n < p.first {
			continue
		}
		records, unfinished, err := v.readSegment(j, h, n)
		if err != nil {
			return nil, fmt.Errorf("segment %d: %w", n, err)
		}
		if ended && (records > 0 || unfinished) {
			return nil, corrupt("segment %d follows a move that was not finished", n)
		}
		ended = ended || unfinished
		if records > 0 {
			j.live, j.last = append(j.live, n), n
		}
	}
	if j.head.position < h.head.position {
		return nil, corrupt("journal ends at %d, its header was written at %d", j.head.position, h.head.position)
	}
	return j, nil
}

// readSegment folds the records of one segment and says how many there are, and whether it opens with a group of an epoch that
// has no header.
func (v *Vault) readSegment(j *journal, h *header, number uint64) (records int, unfinished bool, err error) {
	data, err := v.disk.Read(segmentName(number), max(MaxSegmentBytes, segmentHeader+maxFrame))
	if err != nil {
		return 0, false, err
	}
	salt, ok := decodeSegmentHeader(v.secret, number, data)
	if !ok {
		if len(data) <= segmentHeader || zeros(data[segmentHeader:]) {
			return 0, false, nil // made in part, never used
		}
		return 0, false, corrupt("its header is not what was written")
	}
	aead := v.kept.journal(salt)
	// This run begins another segment, so all of this one is read again at each start.
	defer func() {
		if records > 0 {
			j.bytes += int64(len(data))
		}
	}()
	at := segmentHeader
	for !zeros(data[at:]) {
		f, next, size, ok := v.framer.open(aead, j.head, data[at:])
		if !ok {
			if torn(data, at, j.head.position) {
				return records, false, nil
			}
			return 0, false, corrupt("record %d at byte %d is not what was written", j.head.position+1, at)
		}
		if f.epoch > h.epoch {
			if f.epoch == h.epoch+1 && records == 0 {
				return 0, true, nil
			}
			return 0, false, corrupt("record %d is of epoch %d, the vault of %d", next.position, f.epoch, h.epoch)
		}
		j.add(&f, h, next)
		if err := j.fits(h, f.epoch); err != nil {
			return 0, false, err
		}
		records, at = records+1, at+size
	}
	return records, false, nil
}

// add folds one record.
func (j *journal) add(f *frame, h *header, next head) {
	j.head = next
	j.clean = false
	switch f.kind {
	case kindMark:
		j.clean = f.epoch == h.epoch && next.position == h.head.position+1
		j.unconfirmed = false
		return
	case kindRun:
		j.run = f.run
	}
	j.before = j.run.Digest
	j.run.Digest = fold(j.before, next.hash)
	j.unconfirmed = f.epoch == h.epoch
	j.records = append(j.records, f.entries...)
}

// fits checks the place reached, by a record or snapshot of that epoch, against the header: it pins the journal up to its head, and
// what follows is of its epoch.
func (j *journal) fits(h *header, epoch uint64) error {
	switch {
	case j.head.position == h.head.position && j.head.hash != h.head.hash:
		return corrupt("record %d is not the one its header names", j.head.position)
	case epoch > h.epoch || j.head.position > h.head.position && epoch != h.epoch:
		return corrupt("record %d is of epoch %d, the vault of %d", j.head.position, epoch, h.epoch)
	}
	return nil
}
