package storage

import "errors"

// What can be wrong with the directory of a vault before anything in it is read.
var (
	// ErrOwner: a directory or file belongs to another account than the one that runs.
	ErrOwner = errors.New("trusted storage belongs to another account")
	// ErrMode: the group or everyone may read or change it.
	ErrMode = errors.New("trusted storage is open to other accounts")
	// ErrReadOnly: nothing can be written there.
	ErrReadOnly = errors.New("trusted storage cannot be written")
	// ErrNoDisk: what stands there in place of its disk is empty, and takes nothing: memory that is mounted read-only.
	ErrNoDisk = errors.New("the disk of trusted storage cannot be used")
	// ErrFileSystem: the file system is none that keeps what it was told to sync.
	ErrFileSystem = errors.New("the file system is not made for trusted storage")
	// ErrForeign: a file is there that no vault has made.
	ErrForeign = errors.New("a file that is not of trusted storage")
)
