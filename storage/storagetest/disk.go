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

// crash leaves of the pending writes what the loss says: a cut tears and reorders.
func (i *inode) crash(l Loss, r *rand.Rand) {
	writes := len(i.pending)
	keep := r.IntN(writes + 1)
	var torn int64 // units of the write after those kept
	if l.Mode == Torn && keep < writes {
		torn = r.Int64N(int64(len(i.pending[keep].data))/l.Unit + 2)
	}
	choice := map[int64]int{} // unit -> writes that reached it
	for n, w := range i.pending {
		for at := w.at; at < w.at+int64(len(w.data)); {
			unit := at / l.Unit
			end := min((unit+1)*l.Unit, w.at+int64(len(w.data)))
			reached := false
			switch l.Mode {
			case Kept:
				reached = true
			case Torn:
				reached = n < keep || n == keep && unit-w.at/l.Unit < torn
			case Reordered:
				if _, ok := choice[unit]; !ok {
					choice[unit] = r.IntN(writes + 1)
				}
				reached = n < choice[unit]
			}
			if reached {
				i.durable = overwrite(i.durable, at, w.data[at-w.at:end-w.at])
			}
			at = end
		}
	}
	i.pending, i.live = nil, slices.Clone(i.durable)
}

func (d *Disk) crash(l Loss, r *rand.Rand) {
	// Names change in order: a journaling file system keeps a prefix of what was not synced.
	n := r.IntN(len(d.names) + 1)
	switch l.Mode {
	case Lost:
		n = 0
	case Kept:
		n = len(d.names)
	}
	if n > 0 {
		d.durable = d.names[n-1]
	}
	d.names, d.live = nil, maps.Clone(d.durable)
	done := map[*inode]bool{}
	for _, name := range slices.Sorted(maps.Keys(d.live)) {
		if i := d.live[name]; !done[i] {
			i.crash(l, r)
			done[i] = true
		}
	}
}

// fork is a copy that shares nothing with the original.
func (d *Disk) fork(m *Machine) *Disk {
	c := &Disk{m: m, Capacity: d.Capacity, locked: d.locked}
	copies := map[*inode]*inode{}
	names := func(of map[string]*inode) map[string]*inode {
		to := make(map[string]*inode, len(of))
		for name, i := range of {
			if copies[i] == nil {
				copies[i] = &inode{live: slices.Clone(i.live), durable: slices.Clone(i.durable), pending: slices.Clone(i.pending)}
			}
			to[name] = copies[i]
		}
		return to
	}
	c.live, c.durable = names(d.live), names(d.durable)
	for _, n := range d.names {
		c.names = append(c.names, names(n))
	}
	return c
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
		if e >= Astray {
			f.d.misdirect(f.i, at, b, int(e-Astray))
			n = len(b)
			return nil
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

// misdirect puts a write in the k-th wrong place: the same file one sector before or behind, or at its start; then the same place, or the
// start if it is shorter, of every other file. Lengths are as if it had arrived.
func (d *Disk) misdirect(i *inode, at int64, b []byte, k int) {
	if n := at + int64(len(b)) - int64(len(i.live)); n > 0 {
		i.put(int64(len(i.live)), make([]byte, n))
	}
	to := i
	switch k {
	case 0:
		at = max(0, at-sector)
	case 1:
		at += sector
	case 2:
		at = 0
	default:
		var others []*inode
		for _, name := range slices.Sorted(maps.Keys(d.live)) {
			if o := d.live[name]; o != i && len(o.live) > 0 {
				others = append(others, o)
			}
		}
		if k -= 3; k >= len(others) {
			return // into free space
		}
		to = others[k]
	}
	if at >= int64(len(to.live)) {
		at = 0
	}
	to.put(at, b[:min(len(b), len(to.live)-int(at))])
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
