package storage

import "io"

// Disk is what a vault needs of one directory. Names are plain file names. A file that is not there is reported as fs.ErrNotExist.
// Calls may come from two goroutines at once, never two for the same file.
type Disk interface {
	// List gives the names in the directory, in any order; none if it does not exist yet.
	List() ([]string, error)
	// Read gives the whole file; one longer than limit is an error, found before it is read.
	Read(name string, limit int64) ([]byte, error)
	// Create makes an empty file for its owner only; the name must be free.
	Create(name string) (File, error)
	// Open opens a file that is there, for writing and syncing.
	Open(name string) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// Sync makes names durable: what was created, renamed and removed.
	Sync() error
	// Lock takes the directory for this process, and makes it if need be; ErrLocked at once if another has it.
	Lock() (io.Closer, error)
}

// File is one open file of a Disk.
type File interface {
	io.WriterAt
	io.Closer
	// Datasync makes the bytes durable where the file's length was durable before.
	Datasync() error
	// Sync makes bytes and length durable.
	Sync() error
}
