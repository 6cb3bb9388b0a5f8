package storage

// Every maximum of this package, with its reason. A length from the disk is compared with one of these before anything is allocated.
const (
	// MaxEntryBytes: the largest fact is an applied response file, at most 1 MiB, and what it is wrapped in.
	MaxEntryBytes = 2 << 20
	// MaxGroupBytes bounds the entries of one group with their 4-byte lengths: two of the largest entries, or 10,000 of 400 bytes.
	MaxGroupBytes = 4 << 20
	// MaxSnapshotBytes: 1,000,000 leases of 400 bytes and the rest of a ledger, in one piece of memory.
	MaxSnapshotBytes = 512 << 20
	// MaxPublicBytes: a boot key, its signed states and names.
	MaxPublicBytes = 64 << 10
	// MaxBlobBytes: a TPM's blob has 1 KiB; a software key with its passphrase parameters less.
	MaxBlobBytes = 8 << 10
	// secretBytes is the entropy every key is derived from; a sealer gives back what it was given.
	secretBytes = 32
	// DefaultSegmentBytes: 10,000 single commits of 300 bytes; filled with zeros in some 10 ms, beside the hot path.
	DefaultSegmentBytes = 4 << 20
	// MinSegmentBytes: one block, so that a small book stays small.
	MinSegmentBytes = 4 << 10
	// MaxSegmentBytes: a segment is read in one piece.
	MaxSegmentBytes = 64 << 20
	// MaxDeriveBytes is the limit of HKDF with SHA-256 (RFC 5869 2.3).
	MaxDeriveBytes = 255 * 32
	// maxFiles bounds the names looked at in a directory; a vault has some ten, a thousand segments before a snapshot at most.
	maxFiles = 1 << 16
)
