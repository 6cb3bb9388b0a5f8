package client

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// Chip is the TPM of a machine with rights of its own. Whoever wants one hands it in, so that a program without a TPM carries no code for it.
type Chip interface {
	Host() hostid.ID            // its TPM_EK
	KeyID() (wire.KeyID, error) // of its attestation key
	// Quote signs the digest of a request: evidence for wire.AlgTPMQuote.
	Quote(digest capability.Digest) ([]byte, error)
	// Activate recovers the content key of a response that was wrapped to this TPM.
	Activate(wrap []byte) ([]byte, error)
	// Seal keeps 32 bytes so that only this TPM opens them. Unseal's error has ErrOtherMachine in it where they are another's.
	Seal(secret []byte) ([]byte, error)
	Unseal(blob []byte) ([]byte, error)
	// Epoch reads the counter that dates trusted storage; false: there is none.
	Epoch() (uint64, bool, error)
	// Moves says whether secret moves the counter that is there; false too where there is none.
	Moves(secret []byte) (bool, error)
	// Provision makes the counter, or makes it anew, above every value it had, to be moved with secret only.
	Provision(secret []byte) (uint64, error)
	// Advance moves the counter from a value to the next.
	Advance(secret []byte, from uint64) error
	// Certify is the TPM's word on the counter, over the digest of a return.
	Certify(digest capability.Digest) ([]byte, error)
}

// ErrOtherMachine is in the error of what another machine made.
var ErrOtherMachine = errors.New("made by another machine")

// StandaloneOptions say where a machine keeps rights of its own, and whom it believes. Dir, a trust bundle, and a Chip or a Machine are needed.
type StandaloneOptions struct {
	Dir       string
	Trust     []byte // the producer's trust bundle, as a program embeds it
	TrustFile string // or where it is

	Chip    Chip           // nil: there is none, and the rights are those of tier software
	Machine hostid.Machine // what a probe found: named in requests; without a Chip the store is bound to it

	// Existing: nothing is made where there is no store yet, which is ErrNotProvisioned.
	Existing bool
	// Replace is an administrator's word that the store that the TPM counts for until now is gone: the next request may take its place, and the response to it ends the other one for good.
	Replace bool

	User    string           // who uses the program: counts that are assigned to a user serve that user only
	Clock   func() time.Time // time.Now
	Timeout time.Duration    // of waiting for the other programs of this machine; 10 s

	suspended func() time.Duration
}

// Standalone is a machine with rights of its own: they came in a response file, and need no server. All programs of the machine that name its directory share them.
//
// Rights are the producer's signed response, which is kept and judged anew each time. Beside it only what programs hold of them, and what was returned, is kept; all
// of it is encrypted, and opens on this machine only. With a TPM an older copy is refused, because the TPM's counter has moved since; what a copy of the same age
// holds, whoever opens it first has. Without one, a file that was put in the place of the one that was written is noticed by the time of its making, which a copy
// does not have. A disk that is copied below its file system is not noticed, and neither is a machine that was copied as a whole: that shows at the back office,
// when both ask.
//
// Its methods are for any number of goroutines.
type Standalone struct {
	options StandaloneOptions
	codec   *wire.Codec
	trust   *wire.Trust
	store   *store
	secret  []byte // of the directory; everything else is derived from it
	host    hostid.ID
	first   uint64  // the counter's value when it was made for this directory; without a TPM, the least epoch of what begins anew
	fresh   bool    // it was not made for it yet
	ours    bool    // it is this directory's, and not another store's
	missing unbound // what the directory is bound to and this machine does not show

	seed ed25519.PrivateKey // without a chip
	box  *ecdh.PrivateKey

	life  context.Context
	end   context.CancelCauseFunc
	ended sync.WaitGroup
	wake  chan struct{}

	// In the store's turn:
	judgedFor capability.Digest // of the response file that believed is
	believed  *capability.Response
	copied    bool // the file of the rights is not the one that was written

	mu     sync.Mutex
	leases []*LocalLease
	seats  []*Seat
	anchor anchor
	judged judged
	closed bool
}

const (
	rootFile    = "root.cbor"   // what opens the rest, as this machine keeps it
	rightsFile  = "rights.cbor" // encrypted
	rightsLimit = 3 << 20       // bytes of that: a response, 1,024 digests, 256 returns with proofs
	rootFormat  = 1
	mostMoves   = 1 << 21 // of an epoch without a TPM, in the life of a directory: as many milliseconds are half an hour
)

// root is how the secret of a directory is kept.
type root struct {
	Format uint8     `cbor:"1,keyasint,omitzero"`
	Host   hostid.ID `cbor:"2,keyasint,omitzero"`  // whose the directory is, for people
	Blob   []byte    `cbor:"3,keyasint,omitempty"` // sealed by a TPM
	Bound  []byte    `cbor:"4,keyasint,omitempty"` // or bound to secondaries
	First  uint64    `cbor:"5,keyasint,omitzero"`  // the TPM's counter when it was made for this directory: as long as it stands there, nobody was told anything. Without a TPM, the least epoch of what begins anew
	Fresh  bool      `cbor:"6,keyasint,omitzero"`  // it was not made yet, or the making was cut off
}

// OpenStandalone opens or makes the directory; of a TPM nothing is used up before the first request. ErrBinding: it is another machine's. ErrTrust: the bundle is absent or damaged. ErrClientStore: it cannot be used.
// That what it holds cannot be used any more, because it is an older copy, is the error of what needs it; Request still asks for its repair.
func OpenStandalone(ctx context.Context, o StandaloneOptions) (*Standalone, error) {
	codec := wire.New()
	trust, err := readTrust(codec, o.Trust, o.TrustFile)
	if err != nil {
		return nil, err
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.suspended == nil {
		o.suspended = suspended
	}
	s := &Standalone{options: o, codec: codec, trust: trust, wake: make(chan struct{}, 1)}
	s.life, s.end = context.WithCancelCause(context.Background())
	var mine holderID
	rand.Read(mine[:])
	if _, err := os.Lstat(filepath.Join(o.Dir, rootFile)); o.Existing && errors.Is(err, fs.ErrNotExist) {
		return nil, refuse(capability.ErrNotProvisioned, fmt.Errorf("no rights are kept in %s", o.Dir))
	}
	if s.store, err = openStore(codec, o.Dir, mine); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	s.ended.Go(s.watch)
	return s, nil
}

// open recovers the secret, and looks at the clock before anything takes time.
func (s *Standalone) open(ctx context.Context) error {
	return s.locked(ctx, func() error {
		b, err := readBounded(s.store.dir, rootFile, boundLimit)
		if errors.Is(err, fs.ErrNotExist) {
			err = s.make()
		} else if err == nil {
			err = s.recover(b)
		} else {
			err = broken("read what opens the rights", err)
		}
		if err != nil {
			return err
		}
		s.judge(0)
		st, _, err := s.load()
		if err == nil {
			s.judge(st.Seen)
		}
		return err
	})
}

// make draws the secret and keeps it.
func (s *Standalone) make() error {
	s.secret = make([]byte, boundKey)
	rand.Read(s.secret)
	if err := s.derive(); err != nil {
		return err
	}
	s.fresh = s.options.Chip != nil
	return s.keepRoot()
}

// keepRoot writes how the secret is kept on this machine, as the machine is now.
func (s *Standalone) keepRoot() error {
	r := root{Format: rootFormat, Host: s.host, First: s.first, Fresh: s.fresh}
	var err error
	if s.options.Chip != nil {
		r.Blob, err = s.options.Chip.Seal(s.secret)
	} else {
		r.Bound, err = bind(s.codec, s.options.Machine, s.secret)
	}
	if errors.Is(err, ErrTooLittle) {
		return refuse(capability.ErrBinding, err)
	}
	if err != nil {
		return err
	}
	if err := writeDurable(s.store.dir, rootFile, s.codec.Encode(r)); err != nil {
		return broken("keep what opens the rights", err)
	}
	return nil
}

func (s *Standalone) recover(b []byte) error {
	var r root
	if err := s.codec.Decode(b, &r, boundLimit); err != nil || r.Format != rootFormat {
		return refuse(capability.ErrCorrupt, fmt.Errorf("%s: %w", rootFile, errors.Join(err, fmt.Errorf("format %d", r.Format))))
	}
	foreign := func(why error) error {
		return refuse(capability.ErrBinding, fmt.Errorf("the rights in %s belong to LH-%s: %w", s.options.Dir, r.Host.Short(), why))
	}
	var err error
	switch {
	case len(r.Blob) > 0 && s.options.Chip == nil:
		return refuse(capability.ErrTPMAbsent, fmt.Errorf("the rights in %s are sealed to the TPM of LH-%s", s.options.Dir, r.Host.Short()))
	case len(r.Blob) > 0:
		if s.secret, err = s.options.Chip.Unseal(r.Blob); errors.Is(err, ErrOtherMachine) {
			return foreign(err)
		}
	default:
		var missing *unbound
		if s.secret, missing, err = unbind(s.codec, r.Bound, s.options.Machine); err == nil {
			s.missing = *missing
		}
		if no := (*unbound)(nil); errors.As(err, &no) {
			return foreign(no)
		}
		s.options.Chip = nil // rights that began without a TPM go on without it
	}
	if err != nil {
		return refuse(capability.ErrCorrupt, fmt.Errorf("%s: %w", rootFile, err))
	}
	s.first, s.fresh = r.First, r.Fresh
	return s.derive()
}

// derive makes of the secret who this machine is.
func (s *Standalone) derive() error {
	if s.options.Chip != nil {
		s.host = s.options.Chip.Host()
		return nil
	}
	seed, err := s.key("device key")
	if err != nil {
		return err
	}
	box, err := s.key("device box")
	if err != nil {
		return err
	}
	s.seed = ed25519.NewKeyFromSeed(seed)
	s.host = hostid.OfDigest(hostid.DeviceKey, wire.DeviceOf(s.seed.Public().(ed25519.PublicKey)))
	s.box, err = ecdh.X25519().NewPrivateKey(box)
	return err
}

func (s *Standalone) key(use string) ([]byte, error) {
	return hkdf.Key(sha256.New, s.secret, nil, "leasehold stand-alone "+use+" v1", boundKey)
}

// Host is who this machine is to the back office: the digest of its TPM's endorsement key, or of a device key.
func (s *Standalone) Host() hostid.ID { return s.host }

// Changed names what the directory is bound to and this machine does not show, to this account; what is left is enough. The next response makes the machine as it is the one that
// counts, where it shows as much as it did.
func (s *Standalone) Changed() []string { return slices.Clone(s.missing.gone) }

// locked runs f while no other program of this machine uses the directory.
func (s *Standalone) locked(ctx context.Context, f func() error) error {
	return s.lockedFor(ctx, s.options.Timeout, f)
}

// lockedFor is locked for what waits for the others so long.
func (s *Standalone) lockedFor(ctx context.Context, wait time.Duration, f func() error) error {
	ctx, cancel := patience(ctx, wait)
	defer cancel()
	if err := s.store.take(ctx); err != nil {
		return err
	}
	defer s.store.leave()
	lock, err := lockIn(ctx, s.store.dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	return f()
}

// with runs f on what is kept and makes durable what it changed. lost: it cannot be used, and f is not run.
func (s *Standalone) with(ctx context.Context, f func(*standing) error) error {
	return s.locked(ctx, func() error {
		st, lost, err := s.load()
		if err == nil && lost != nil {
			err = &refusal{lost, nil}
		}
		if err != nil {
			return err
		}
		before := s.codec.Encode(st)
		if err := s.settle(st); err != nil {
			return err
		}
		s.bury(st)
		s.see(st)
		if err := f(st); err != nil {
			return err
		}
		if bytes.Equal(before, s.codec.Encode(st)) {
			return nil
		}
		return s.keep(st)
	})
}

// bury takes out what programs held that have died, and what of their own this program has ended.
func (s *Standalone) bury(st *standing) {
	dead := map[holderID]bool{{}: false, s.store.mine: false}
	for _, c := range st.Claims {
		if _, known := dead[c.Holder]; !known {
			dead[c.Holder] = s.store.died(c.Holder)
		}
	}
	st.Claims = slices.DeleteFunc(st.Claims, func(c claim) bool { return dead[c.Holder] })
}

// Close gives back what this program holds and did not say to keep.
func (s *Standalone) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	leases, seats := slices.Clone(s.leases), slices.Clone(s.seats)
	s.mu.Unlock()
	err := s.giveBack(seats)
	s.end(ErrClosed)
	s.ended.Wait()
	if slices.ContainsFunc(leases, func(l *LocalLease) bool { return !l.keep }) {
		err = errors.Join(err, s.with(context.Background(), func(st *standing) error {
			st.Claims = slices.DeleteFunc(st.Claims, func(c claim) bool { return c.Holder == s.store.mine })
			return nil
		}))
	}
	for _, l := range leases {
		l.lose(ErrReleased)
	}
	clear(s.secret)
	return errors.Join(err, s.store.Close())
}
