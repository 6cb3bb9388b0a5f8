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
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

const (
	stateFile   = "leases.cbor"
	lockFile    = "lock"
	holderDir   = "holders"
	stateLimit  = 160 << 10 // bytes: a chain of 13 kB, an answer and four requests of at most a frame each, the holdings
	maxHoldings = 256       // of all programs: lines of a feature at a version
)

// store is the directory that all programs of a device share.
type store struct {
	codec *wire.Codec
	dir   *os.Root
	mine  holderID
	alive *os.File      // locked while this process lives; says what it holds
	turn  chan struct{} // one at a time inside this process; the file lock is for the others
	there []byte        // what the file holds; inside with
	shown []byte        // what alive holds; inside with

	mu   sync.Mutex
	seen fs.FileInfo // of the file as this program left or found it last
}

// openStore opens or makes the directory and shows there that this process lives. It waits for no other program.
func openStore(codec *wire.Codec, path string, mine holderID) (*store, error) {
	if err := os.MkdirAll(filepath.Join(path, holderDir), 0o700); err != nil {
		return nil, broken("make the directory for leases", err)
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, broken("open the directory for leases", err)
	}
	s := &store{codec: codec, dir: dir, mine: mine, turn: make(chan struct{}, 1)}
	if s.alive, err = s.live(); err != nil {
		dir.Close()
		return nil, broken("show that this program lives", err)
	}
	s.sweep()
	return s, nil
}

// live makes the file of this process. It has its name only when it is locked, so that nobody takes it for a dead one's.
func (s *store) live() (*os.File, error) {
	name := s.holderFile(s.mine)
	f, err := s.dir.OpenFile(name+".new", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	locked, err := tryLock(f)
	if err == nil && !locked {
		err = errors.New("the file of this program is locked by another")
	}
	if err == nil {
		err = s.dir.Rename(name+".new", name)
	}
	if err != nil {
		return nil, errors.Join(err, s.dir.Remove(name+".new"), f.Close())
	}
	return f, nil
}

// broken is a directory that does not do what was wanted of it.
func broken(what string, err error) error {
	return refuse(capability.ErrClientStore, fmt.Errorf("%s: %w", what, err))
}

// sweep takes away the files of programs that were killed, and gives the programs that live.
func (s *store) sweep() (live []holderID) {
	d, err := s.dir.Open(holderDir)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(256) // the rest at the next time
	slices.Sort(names)
	for _, n := range names {
		if b, err := hex.DecodeString(n); err == nil && len(b) == len(holderID{}) && !s.died(holderID(b)) {
			live = append(live, holderID(b))
		}
	}
	return live
}

func (s *store) holderFile(h holderID) string { return holderDir + "/" + hex.EncodeToString(h[:]) }

func (s *store) Close() error {
	err := s.dir.Remove(s.holderFile(s.mine))
	return errors.Join(err, s.alive.Close(), s.dir.Close())
}

// take waits for the turn of this goroutine among those of this process, until leave.
func (s *store) take(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *store) leave() { <-s.turn }

// with runs f on the state while no other program of this device does, and makes durable what f changed. A state that f refused is not kept. The caller has the turn.
func (s *store) with(ctx context.Context, f func(*state) error) error {
	lock, err := lockIn(ctx, s.dir)
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
	if there == nil {
		s.again(st)
	}
	s.bury(st)
	if err := f(st); err != nil {
		return err
	}
	return s.keep(st)
}

// peek is the state as it is now, for what need not wait for another program; one that cannot be read is empty.
func (s *store) peek() *state {
	s.look()
	var st state
	if b, err := readBounded(s.dir, stateFile, stateLimit); err != nil || s.codec.Decode(b, &st, stateLimit) != nil || st.Format != stateFormat {
		return &state{Format: stateFormat}
	}
	return &st
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
	if len(b) > stateLimit {
		return broken("keep the leases of this device", fmt.Errorf("%d bytes where at most %d are read again", len(b), stateLimit))
	}
	if err := writeDurable(s.dir, stateFile, b); err != nil {
		s.there = nil // whatever it is now
		return broken("keep the leases of this device", err)
	}
	s.there = b
	s.show(st)
	return nil
}

// show writes what this program holds into the file by which it lives, for the case that the state is lost. That it is there as long as the program is enough.
func (s *store) show(st *state) {
	own := share{Holder: s.mine}
	for _, h := range st.Holdings {
		if h.Holder == s.mine {
			own.Holdings = append(own.Holdings, h)
		}
	}
	b := s.codec.Encode(own)
	if bytes.Equal(s.shown, b) {
		return
	}
	s.shown = nil
	if s.alive.Truncate(0) == nil {
		if _, err := s.alive.WriteAt(b, 0); err == nil {
			s.shown = b
		}
	}
}

// again puts into a state that begins anew what the programs that live hold: the state they had was deleted or damaged, and an appliance that is asked
// without their shares gives them to others.
func (s *store) again(st *state) {
	for _, h := range s.sweep() {
		var own share
		b, err := readBounded(s.dir, s.holderFile(h), stateLimit)
		if err != nil || s.codec.Decode(b, &own, stateLimit) != nil || own.Holder != h {
			continue // it holds nothing, or cannot say it
		}
		for _, l := range own.Holdings {
			if len(st.Holdings) < maxHoldings && l.Holder == h && l.Count <= capability.MaxCount {
				st.Holdings = append(st.Holdings, l)
			}
		}
	}
}

// lockIn keeps the other programs of a device out of its directory until the file is closed.
func lockIn(ctx context.Context, dir *os.Root) (*os.File, error) {
	f, err := dir.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
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

// patience is a context for waiting for the other programs of a device, whose end has a code.
func patience(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, broken("wait for the other programs of this device", fmt.Errorf("one of them has kept its leases locked for %s", d)))
}

// waitLock takes an exclusive lock on a file. The kernel has no queue that a context can leave, so it is asked again and again.
func waitLock(ctx context.Context, f *os.File) error {
	const least, most = 5 * time.Millisecond, 100 * time.Millisecond
	for pause := least; ; pause = min(2*pause, most) {
		if locked, err := tryLock(f); locked || err != nil {
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
	if locked, err := tryLock(f); err != nil || !locked {
		return false
	}
	s.dir.Remove(s.holderFile(h)) // left behind, it only costs one look more
	return true
}

// readBounded reads a regular file of at most limit bytes. wire.ErrSize: it is larger.
func readBounded(dir *os.Root, name string, limit int64) ([]byte, error) {
	b, _, err := readBorn(dir, name, limit)
	return b, err
}

// readBorn is readBounded, and when the file was made.
func readBorn(dir *os.Root, name string, limit int64) ([]byte, born, error) {
	f, err := dir.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, born{}, err
	}
	defer f.Close()
	if i, err := f.Stat(); err != nil || !i.Mode().IsRegular() {
		return nil, born{}, fmt.Errorf("%s is not a regular file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: %w: more than %d bytes", name, wire.ErrSize, limit)
	}
	return b, birth(f), err
}

// writeDurable replaces a file: after it returns, the new content is there whatever happens; before, the old one.
func writeDurable(dir *os.Root, name string, b []byte) error {
	f, err := dir.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return putDurable(dir, name, f, b, nil)
}

// born is when a file was made, in nanoseconds, and in what steps its file system keeps that; the zero born is not known.
type born struct{ at, grain int64 }

// is says that a file is the one that was made then.
func (b born) is(then int64) bool {
	return then == 0 || b.at == then || b.grain > 1 && b.at/b.grain == then/b.grain
}

// writeBorn is writeDurable of what a file that knows when it was made shall hold. What was left of a write that was cut off is not used again, so that no two files
// are of one time. What was there before is emptied, so that it is nothing under another name either.
func writeBorn(dir *os.Root, name string, content func(born int64) ([]byte, error)) error {
	if err := dir.Remove(name + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := dir.OpenFile(name+".new", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	b, err := content(birth(f).at)
	old, missing := dir.OpenFile(name, os.O_WRONLY|nonblock, 0)
	if missing == nil {
		defer old.Close()
	}
	if err := putDurable(dir, name, f, b, err); err != nil || missing != nil {
		return err
	}
	return old.Truncate(0)
}

// putDurable writes a new file, which f is, unless there is an error already, and gives it its name.
func putDurable(dir *os.Root, name string, f *os.File, b []byte, err error) error {
	if err == nil {
		_, err = f.Write(b)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := dir.Rename(name+".new", name); err != nil {
		return err
	}
	return syncDir(dir)
}
