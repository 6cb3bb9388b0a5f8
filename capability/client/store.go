package client

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

const (
	stateFile  = "leases.cbor"
	lockFile   = "lock"
	holderDir  = "holders"
	stateLimit = 160 << 10 // bytes: a chain of 13 kB, an answer and four requests of at most a frame each, 256 holdings
)

// store is the directory that all programs of a device share.
type store struct {
	codec *wire.Codec
	dir   *os.Root
	mine  holderID
	alive *os.File      // locked while this process lives
	turn  chan struct{} // one at a time inside this process; the file lock is for the others
	there []byte        // what the file holds; inside with

	mu   sync.Mutex
	seen fs.FileInfo // of the file as this program left or found it last
}

// openStore opens or makes the directory and shows there that this process lives.
func openStore(ctx context.Context, codec *wire.Codec, path string, mine holderID) (*store, error) {
	if err := os.MkdirAll(filepath.Join(path, holderDir), 0o700); err != nil {
		return nil, broken("make the directory for leases", err)
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, broken("open the directory for leases", err)
	}
	s := &store{codec: codec, dir: dir, mine: mine, turn: make(chan struct{}, 1)}
	lock, err := s.lock(ctx)
	if err != nil {
		dir.Close()
		return nil, err
	}
	defer lock.Close()
	s.sweep()
	if s.alive, err = dir.OpenFile(s.holderFile(mine), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err == nil {
		err = syscall.Flock(int(s.alive.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		dir.Close()
		return nil, broken("show that this program lives", err)
	}
	return s, nil
}

// broken is a directory that does not do what was wanted of it.
func broken(what string, err error) error {
	return refuse(capability.ErrClientStore, fmt.Errorf("%s: %w", what, err))
}

// sweep takes away the files of programs that were killed. Under the lock, under which such files are made: none is there that is not locked yet.
func (s *store) sweep() {
	d, err := s.dir.Open(holderDir)
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(256) // the rest at the next time
	for _, n := range names {
		if b, err := hex.DecodeString(n); err == nil && len(b) == len(holderID{}) {
			s.died(holderID(b))
		}
	}
}

func (s *store) holderFile(h holderID) string { return holderDir + "/" + hex.EncodeToString(h[:]) }

func (s *store) Close() error {
	err := s.dir.Remove(s.holderFile(s.mine))
	return errors.Join(err, s.alive.Close(), s.dir.Close())
}

// with runs f on the state while no other program of this device does, and makes durable what f changed. A state that f refused is not kept.
func (s *store) with(ctx context.Context, f func(*state) error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	lock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	st, there, err := s.load()
	if err != nil {
		return err
	}
	s.there = there
	defer s.look()
	s.bury(st)
	if err := f(st); err != nil {
		return err
	}
	return s.keep(st)
}

// look remembers the file, so that changed can tell.
func (s *store) look() {
	i, _ := s.dir.Stat(stateFile) // none is none
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = i
}

// changed says whether another program has replaced the file since.
func (s *store) changed() bool {
	i, err := s.dir.Stat(stateFile)
	s.mu.Lock()
	defer s.mu.Unlock()
	return err == nil && (s.seen == nil || !os.SameFile(i, s.seen) || !i.ModTime().Equal(s.seen.ModTime()))
}

// keep makes the state durable. Inside with.
func (s *store) keep(st *state) error {
	b := s.codec.Encode(st)
	if bytes.Equal(s.there, b) {
		return nil
	}
	if err := writeDurable(s.dir, stateFile, b); err != nil {
		s.there = nil // whatever it is now
		return broken("keep the leases of this device", err)
	}
	s.there = b
	return nil
}

// lock keeps the other programs of this device out until the file is closed.
func (s *store) lock(ctx context.Context) (*os.File, error) {
	f, err := s.dir.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		if err = waitLock(ctx, f); err != nil {
			f.Close()
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("lock the leases of this device: %w", err)
		}
		return nil, broken("lock the leases of this device", err)
	}
	return f, nil
}

// waitLock takes an exclusive lock on a file. The kernel has no queue that a context can leave, so it is asked again and again.
func waitLock(ctx context.Context, f *os.File) error {
	const least, most = 5 * time.Millisecond, 100 * time.Millisecond
	for pause := least; ; pause = min(2*pause, most) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// load reads the state. One that cannot be read is set aside and an empty one taken: it is only a copy, and the next answer states the whole set again.
func (s *store) load() (*state, []byte, error) {
	b, err := readBounded(s.dir, stateFile, stateLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return &state{Format: stateFormat}, nil, nil
	}
	var st state
	if err == nil {
		if err = s.codec.Decode(b, &st, stateLimit); err == nil && st.Format == stateFormat {
			return &st, b, nil
		}
	} else if !errors.Is(err, wire.ErrSize) {
		return nil, nil, broken("read the leases of this device", err)
	}
	if err := s.dir.Rename(stateFile, stateFile+".damaged"); err != nil {
		return nil, nil, broken("set the damaged leases of this device aside", err)
	}
	return &state{Format: stateFormat}, nil, nil
}

// bury takes the shares of programs that died out of the set.
func (s *store) bury(st *state) {
	dead := map[holderID]bool{{}: false, s.mine: false}
	for _, l := range st.Holdings {
		if _, known := dead[l.Holder]; !known {
			dead[l.Holder] = s.died(l.Holder)
		}
	}
	st.Holdings = slices.DeleteFunc(st.Holdings, func(l holding) bool { return dead[l.Holder] })
}

func (s *store) died(h holderID) bool {
	f, err := s.dir.OpenFile(s.holderFile(h), os.O_RDWR, 0)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false
	}
	s.dir.Remove(s.holderFile(h)) // left behind, it only costs one look more
	return true
}

// readBounded reads a regular file of at most limit bytes. wire.ErrSize: it is larger.
func readBounded(dir *os.Root, name string, limit int64) ([]byte, error) {
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if i, err := f.Stat(); err != nil || !i.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: %w: more than %d bytes", name, wire.ErrSize, limit)
	}
	return b, err
}

// writeDurable replaces a file: after it returns, the new content is there whatever happens; before, the old one.
func writeDurable(dir *os.Root, name string, b []byte) error {
	temp := name + ".new"
	f, err := dir.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := dir.Rename(temp, name); err != nil {
		return err
	}
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
