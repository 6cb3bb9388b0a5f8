package appliance

// When the journal is replaced by a snapshot.
const (
	snapshotAfter = 16 << 20  // bytes of journal that a start would have to read: 0.2 s of two cores
	stopAfter     = 5 << 20   // the same for a stop, which keeps nobody waiting by it; a start counts a whole segment of 4 MiB for the one it found
	stopState     = 64 << 20  // bytes of a snapshot that a stop has time for
	earlyAfter    = 128 << 20 // the same before there is an archive: entries that wait for it are in the journal alone, which has some thirty starts in so much
)

// compact moves entries to the archive, and replaces a long journal by a snapshot once the archive has all of it.
func (a *Appliance) compact() {
	due := a.Vault.JournalBytes() >= max(a.compactAt, a.keeper.least())
	err := a.archiveEntries(due)
	if due && err == nil {
		err = a.snapshot()
	}
	if err != nil {
		a.warn(&a.unshortened, "the journal was not shortened", err)
	}
	if due {
		// A large state is written less often, so that snapshots are never more than half of what is written.
		a.compactAt = a.Vault.JournalBytes() + max(snapshotAfter, a.SnapshotBytes)
	}
}

// snapshot replaces the journal. One that cannot be written, for want of space say, changes nothing: the journal goes on, and after as much again it is tried
// again. If more is wrong than that, the next write says so.
func (a *Appliance) snapshot() error {
	state := a.Ledger.Snapshot()
	if err := a.Vault.Snapshot(state); err != nil {
		return err
	}
	a.SnapshotBytes = int64(len(state))
	return nil
}

// shorten replaces the journal before a stop, so that the next start has none to read. A large state is written again only for what is no small part of it:
// reading that would take the start as long as writing takes the stop. One so large that a stop might be ended over it is not written at all.
func (a *Appliance) shorten() {
	due := min(a.compactAt, max(stopAfter, a.SnapshotBytes/4))
	if a.SnapshotBytes > stopState || a.Vault.JournalBytes() < max(due, a.keeper.least()) {
		return
	}
	if err := a.snapshot(); err != nil {
		a.warn(&a.unshortened, "the journal was not shortened", err)
	}
}
