package storagetest

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"

	"github.com/leasehold/leasehold/storage"
)

const sector = 512

// Disk is one directory in memory. What is live is what a process sees; what is durable outlives a power cut for certain.
type Disk struct {
	m *Machine
	// OnSync, when set, is called at each sync of a file, without a lock: for delays and counts.
	OnSync func()
	// Capacity, when not 0, is the number of bytes all files may have; more is ENOSPC.
	Capacity int64

	live, durable map[string]*inode
	names         []map[string]*inode // live as it was after each change since the last directory sync
	locked        int                 // 1 + process that holds the lock
}

// inode is one file: its bytes on the platter, and the writes since.
type inode struct {
	live, durable []byte
	pending       []write
}

type write struct {
	at   int64
	data []byte
}

func (i *inode) put(at int64, b []byte) {
	i.live = overwrite(i.live, at, b)
	i.pending = append(i.pending, write{at, slices.Clone(b)})
}

func overwrite(to []byte, at int64, b []byte) []byte {
	if n := int(at) + len(b); n > len(to) {
		to = append(to, make([]byte, n-len(to))...)
	}
	copy(to[at:], b)
	return to
}

// sync makes the pending writes durable; without length, only as far as the durable length goes.
func (i *inode) sync(length bool) {
	var kept []write
	for _, w := range i.pending {
		if !length && int(w.at)+len(w.data) > len(i.durable) {
			kept = append(kept, w)
			continue
		}
		i.durable = overwrite(i.durable, w.at, w.data)
	}
	i.pending = kept
}

// crash leaves each sector at one of the versions it had since the last sync: a cut tears and reorders.
func (i *inode) crash(r *rand.Rand) {
	mode, unit := r.IntN(5), int64(sector)
	if r.IntN(3) == 0 {
		unit = 8 * sector
	}
	keep := r.IntN(len(i.pending) + 1)
	choice := map[int64]int{} // sector -> writes that reached it
	for n, w := range i.pending {
		for at := w.at; at < w.at+int64(len(w.data)); {
			end := min(at-at%unit+unit, w.at+int64(len(w.data)))
			if _, ok := choice[at/unit]; !ok {
				switch mode {
				case 0: // all lost
					choice[at/unit] = 0
				case 1: // all kept
					choice[at/unit] = len(i.pending)
				case 2: // lost from some write on
					choice[at/unit] = keep
				default: // each for itself
					choice[at/unit] = r.IntN(len(i.pending) + 1)
				}
			}
			if n < choice[at/unit] {
				i.durable = overwrite(i.durable, at, w.data[at-w.at:end-w.at])
			}
			at = end
		}
	}
	i.pending, i.live = nil, slices.Clone(i.durable)
}

func (d *Disk) crash(r *rand.Rand) {
	// Names change in order: a journaling file system keeps a prefix of what was not synced.
	if n := r.IntN(len(d.names) + 1); n > 0 {
		d.durable = d.names[n-1]
	}
	d.names, d.live = nil, maps.Clone(d.durable)
	done := map[*inode]bool{}
	for _, name := range slices.Sorted(maps.Keys(d.live)) {
		if i := d.live[name]; !done[i] {
			i.crash(r)
			done[i] = true
		}
	}
}

func (d *Disk) syncAll() {
	d.syncNames()
	for _, i := range d.live {
		i.sync(true)
	}
}

func (d *Disk) syncNames() { d.names, d.durable = nil, maps.Clone(d.live) }

func (d *Disk) renamed() { d.names = append(d.names, maps.Clone(d.live)) }

// Image is a copy of every file, as an adversary keeps it.
type Image map[string][]byte

// Copy gives the files as a process sees them now.
func (d *Disk) Copy() Image {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	image := Image{}
	for name, i := range d.live {
		image[name] = slices.Clone(i.live)
	}
	return image
}

// Restore puts image in the place of everything, durably.
func (d *Disk) Restore(image Image) {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	d.live = map[string]*inode{}
	for name, b := range image {
		d.live[name] = &inode{live: slices.Clone(b), durable: slices.Clone(b)}
	}
	d.syncNames()
}

func (d *Disk) find(name string) (*inode, error) {
	if i, ok := d.live[name]; ok {
		return i, nil
	}
	return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

// List, Read, Create, Open, Rename, Remove, Sync and Lock are those of storage.Disk.
func (d *Disk) List() (names []string, err error) {
	err = d.m.step(d.m.now(), "list", "", func(Effect) error {
		names = slices.Sorted(maps.Keys(d.live))
		return nil
	})
	return names, err
}

func (d *Disk) Read(name string, limit int64) (b []byte, err error) {
	err = d.m.step(d.m.now(), "read", name, func(Effect) error {
		i, err := d.find(name)
		if err != nil {
			return err
		}
		if int64(len(i.live)) > limit {
			return storage.ErrTooLarge
		}
		b = slices.Clone(i.live)
		return nil
	})
	return b, err
}

func (d *Disk) Create(name string) (f storage.File, err error) {
	process := d.m.now()
	err = d.m.step(process, "create", name, func(Effect) error {
		if d.live[name] != nil {
			return fmt.Errorf("%s: %w", name, fs.ErrExist)
		}
		i := &inode{}
		d.live[name] = i
		d.renamed()
		f = &file{d, i, name, process}
		return nil
	})
	return f, err
}

func (d *Disk) Open(name string) (f storage.File, err error) {
	process := d.m.now()
	err = d.m.step(process, "open", name, func(Effect) error {
		i, err := d.find(name)
		f = &file{d, i, name, process}
		return err
	})
	return f, err
}

func (d *Disk) Rename(from, to string) error {
	return d.m.step(d.m.now(), "rename", from, func(Effect) error {
		i, err := d.find(from)
		if err != nil {
			return err
		}
		delete(d.live, from)
		d.live[to] = i
		d.renamed()
		return nil
	})
}

func (d *Disk) Remove(name string) error {
	return d.m.step(d.m.now(), "remove", name, func(Effect) error {
		if _, err := d.find(name); err != nil {
			return err
		}
		delete(d.live, name)
		d.renamed()
		return nil
	})
}

func (d *Disk) Sync() error {
	return d.m.step(d.m.now(), "syncdir", "", func(Effect) error {
		d.syncNames()
		return nil
	})
}

func (d *Disk) Lock() (io.Closer, error) {
	process := d.m.now()
	err := d.m.step(process, "lock", "", func(Effect) error {
		if d.locked != 0 {
			return storage.ErrLocked
		}
		d.locked = process + 1
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &lock{d, process}, nil
}

type lock struct {
	d       *Disk
	process int
}

func (l *lock) Close() error {
	l.d.m.mu.Lock()
	defer l.d.m.mu.Unlock()
	if l.d.locked == l.process+1 {
		l.d.locked = 0
	}
	return nil
}

type file struct {
	d       *Disk
	i       *inode
	name    string
	process int
}

func (f *file) WriteAt(b []byte, at int64) (n int, err error) {
	err = f.d.m.step(f.process, "write", f.name, func(e Effect) error {
		if e == Half {
			b = b[:len(b)/2]
		}
		if full := f.d.room(f.i, at+int64(len(b))); full {
			return syscall.ENOSPC
		}
		f.i.put(at, b)
		n = len(b)
		return nil
	})
	return n, err
}

// room says whether the disk is too small for i to have that length.
func (d *Disk) room(i *inode, length int64) (full bool) {
	if d.Capacity == 0 || length <= int64(len(i.live)) {
		return false
	}
	sum := length - int64(len(i.live))
	for _, other := range d.live {
		sum += int64(len(other.live))
	}
	return sum > d.Capacity
}

func (f *file) Datasync() error {
	if f.d.OnSync != nil {
		f.d.OnSync()
	}
	return f.d.m.step(f.process, "datasync", f.name, func(Effect) error { f.i.sync(false); return nil })
}

func (f *file) Sync() error {
	if f.d.OnSync != nil {
		f.d.OnSync()
	}
	return f.d.m.step(f.process, "sync", f.name, func(Effect) error { f.i.sync(true); return nil })
}

func (f *file) Close() error {
	return f.d.m.step(f.process, "close", f.name, func(Effect) error { return nil })
}
