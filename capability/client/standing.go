package client

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// Every change of what a machine has moves the TPM's counter twice: what is written for the next value is durable first, then the counter moves. A cut between
// leaves the counter one behind what is written, which the next opening completes. Twice, because a copy of an earlier try for the first of the two values may
// have been kept; no process but this one has written anything for the second. An acquire or a release moves nothing.

// standing is what a machine with rights of its own keeps.
type standing struct {
	Format   uint8               `cbor:"1,keyasint,omitzero"`
	Life     capability.LifeID   `cbor:"2,keyasint,omitzero"`
	Born     int64               `cbor:"3,keyasint,omitzero"` // when its file was made, nanoseconds by the file system: a copy of it has another; zero: it cannot tell
	Epoch    uint64              `cbor:"4,keyasint,omitzero"`
	Counted  bool                `cbor:"5,keyasint,omitzero"`  // the TPM's counter is at Epoch, and moves with it
	Half     bool                `cbor:"14,keyasint,omitzero"` // written for the first of the two moves of a change
	Instead  uint64              `cbor:"16,keyasint,omitzero"` // where the counter of another store stood when somebody said that that store is gone
	Lost     capability.Code     `cbor:"6,keyasint,omitzero"`  // what became of the one before, until a response repairs
	Seen     capability.Time     `cbor:"7,keyasint,omitzero"`  // the latest time that is known here
	Number   uint64              `cbor:"8,keyasint,omitzero"`  // of the last request
	Written  []wrote             `cbor:"9,keyasint,omitempty"`
	Response []byte              `cbor:"10,keyasint,omitempty"` // the newest, as it was received
	Content  []byte              `cbor:"11,keyasint,omitempty"` // its content key
	Returns  []capability.Return `cbor:"12,keyasint,omitempty"` // until they are acknowledged
	Claims   []claim             `cbor:"13,keyasint,omitempty"` // in the order in which they were made
	Revoked  []capability.Digest `cbor:"15,keyasint,omitempty"` // signing keys of the producer that count no more, in the order of wire.Learn; it only grows
}

// wrote is a request since the last response that answers a later one.
type wrote struct {
	Number uint64            `cbor:"1,keyasint,omitzero"`
	Digest capability.Digest `cbor:"2,keyasint,omitzero"`
}

const standingFormat = 1

// load reads what is kept; where there is nothing yet it begins. The refusal says why what is there cannot be used.
func (s *Standalone) load() (*standing, *capability.Refusal, error) {
	b, born, err := readBorn(s.store.dir, rightsFile, rightsLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return s.begin()
	}
	if err != nil {
		return nil, nil, broken("read the rights of this machine", err)
	}
	var st standing
	key, err := s.key("rights")
	if err != nil {
		return nil, nil, err
	}
	plain, err := unseal(key, b, []byte(rightsFile))
	if err == nil {
		err = s.codec.Decode(plain, &st, rightsLimit)
	}
	if err == nil && st.Format != standingFormat {
		err = fmt.Errorf("format %d where %d is known", st.Format, standingFormat)
	}
	if err != nil {
		return &standing{}, capability.Refuse(capability.ErrCorrupt, "", "%s: %v", rightsFile, err), nil
	}
	s.copied = !born.is(st.Born)
	lost, err := s.aged(&st)
	return &st, lost, err
}

// begin is what a machine has before it has anything. Where the TPM has counted for rights of this directory before, they were lost.
func (s *Standalone) begin() (*standing, *capability.Refusal, error) {
	st := &standing{Format: standingFormat, Life: newLife()}
	if c := s.options.Chip; c == nil {
		st.Epoch = max(s.instant(), s.first)
	} else {
		epoch, counts, err := c.Epoch()
		if err != nil {
			return nil, nil, err
		}
		other, err := s.others()
		if err != nil {
			return nil, nil, err
		}
		switch st.Epoch = epoch; {
		case other:
			st.Lost = capability.ErrStorageGone
			return st, s.othersRefusal(epoch), nil
		case !counts || s.fresh: // count makes it
		case epoch == s.first:
			st.Counted = true
		default:
			st.Lost = capability.ErrStorageGone
		}
	}
	return st, nil, nil
}

// others says that the TPM counts for another store: one that is in use stops for good when the counter is made anew.
func (s *Standalone) others() (bool, error) {
	c := s.options.Chip
	if c == nil || s.ours {
		return false, nil
	}
	_, counts, err := c.Epoch()
	if err != nil || !counts {
		return false, err
	}
	s.ours, err = c.Moves(s.secret)
	return err == nil && !s.ours, err
}

func (s *Standalone) othersRefusal(epoch uint64) *capability.Refusal {
	return capability.Refuse(capability.ErrOtherStore, "", "its counter is at %d, and the secret in %s does not move it", epoch, s.options.Dir)
}

// count makes the TPM count for this directory before anybody is told anything of it. A cut before the counter is named in the root leaves a fresh directory, whose counter is made
// again. Where it counts for another store, an administrator must have said that that one is gone; what counts then is made with the response.
func (s *Standalone) count(st *standing) error {
	c := s.options.Chip
	if c == nil && st.Number == 0 && len(s.missing.gone) == 0 {
		s.first = st.Epoch + mostMoves
		return s.keepRoot()
	}
	if c == nil || st.Counted {
		return nil
	}
	other, err := s.others()
	if err != nil {
		return err
	}
	if other {
		epoch, _, err := c.Epoch()
		if err != nil {
			return err
		}
		if !s.options.Replace {
			return &refusal{s.othersRefusal(epoch), nil}
		}
		st.Instead = epoch
	}
	if st.Lost != 0 {
		return nil
	}
	st.Epoch, err = s.provision()
	st.Counted = err == nil
	return err
}

// provision makes the counter for this directory.
func (s *Standalone) provision() (epoch uint64, err error) {
	if epoch, err = s.options.Chip.Provision(s.secret); err != nil {
		return 0, err
	}
	s.first, s.fresh, s.ours = epoch, false, true
	return epoch, s.keepRoot()
}

// aged says why what is kept is not the newest. A copy is another file than the one that was written.
func (s *Standalone) aged(st *standing) (*capability.Refusal, error) {
	c := s.options.Chip
	if c == nil || !st.Counted {
		if s.copied {
			return capability.Refuse(capability.ErrRollback, "", "%s is not the file that was written here: it was copied or restored", rightsFile), nil
		}
		return nil, nil
	}
	epoch, counts, err := c.Epoch()
	if err != nil {
		return nil, err
	}
	if counts && st.Epoch != epoch {
		s.ours = false // it may have been made anew since
	}
	other, err := s.others()
	switch {
	case err != nil:
		return nil, err
	case other:
		return s.othersRefusal(epoch), nil
	case !counts, st.Epoch > epoch+1:
		return capability.Refuse(capability.ErrCounter, "", "the rights are of epoch %d, and the TPM's counter is at %d", st.Epoch, epoch), nil
	case st.Epoch < epoch:
		return capability.Refuse(capability.ErrRollback, "", "the rights are of epoch %d, and the TPM's counter is at %d: this is an older copy", st.Epoch, epoch), nil
	}
	return nil, nil
}

// settle completes a move that was cut off, and makes every other copy stale where this one is not the file that was written.
func (s *Standalone) settle(st *standing) error {
	c := s.options.Chip
	if c == nil || !st.Counted {
		return nil
	}
	epoch, _, err := c.Epoch()
	if err != nil {
		return err
	}
	behind := epoch+1 == st.Epoch
	if behind {
		if err := c.Advance(s.secret, epoch); err != nil {
			return err
		}
	}
	if behind || st.Half || s.copied {
		s.copied = false
		return s.move(st)
	}
	return nil
}

// moved is the epoch after the next move.
func moved(st *standing) uint64 { return st.Epoch + 2 }

// instant is the time in milliseconds. Without a TPM what begins anew after a loss takes it for its first epoch: that is above all that was lost, which was counted from an earlier time and goes up by two at
// a move. Where the clock was ahead then, the root has noted what is above it.
func (s *Standalone) instant() uint64 {
	now, _ := s.now()
	return uint64(max(int64(now)*1000, s.options.Clock().UnixMilli(), 0))
}

// move makes a change of what the machine has durable, so that nothing from before it opens any more.
func (s *Standalone) move(st *standing) error {
	c := s.options.Chip
	if c == nil {
		st.Epoch = moved(st)
		return s.keep(st)
	}
	for _, half := range []bool{true, false} {
		from := st.Epoch
		st.Epoch, st.Half = from+1, half
		if err := s.keep(st); err != nil {
			return err
		}
		// A cut here leaves the counter one behind; one after the first Advance leaves half a move. settle goes on with either.
		if err := c.Advance(s.secret, from); err != nil {
			return fmt.Errorf("move the epoch of the rights: %w", err)
		}
	}
	return nil
}

// keep writes what is kept, into a file that knows when it was made.
func (s *Standalone) keep(st *standing) error {
	key, err := s.key("rights")
	if err != nil {
		return err
	}
	err = writeBorn(s.store.dir, rightsFile, func(born int64) ([]byte, error) {
		st.Born = born
		b := s.codec.Encode(st)
		if len(b) > rightsLimit-64 {
			return nil, fmt.Errorf("%d bytes where at most %d are read again", len(b), rightsLimit)
		}
		return seal(key, b, []byte(rightsFile))
	})
	if err != nil {
		return broken("keep the rights of this machine", err)
	}
	return nil
}

// rights is the response in force, judged as if it came now; nil: there is none.
func (s *Standalone) rights(st *standing) (*capability.Response, error) {
	if len(st.Response) == 0 {
		return nil, nil
	}
	digest := capability.Digest(sha256.Sum256(st.Response))
	if s.believed != nil && s.judgedFor == digest {
		return s.believed, nil
	}
	sealed, err := s.codec.ReadResponse(st.Response)
	if err == nil {
		_, _, err = s.codec.Verify(s.trust, sealed)
	}
	var r *capability.Response
	if err == nil {
		r, err = s.codec.Open(sealed, st.Content)
	}
	if err == nil && r.For != s.host {
		err = fmt.Errorf("it is for %s", r.For)
	}
	if err != nil {
		code := wire.Code(err)
		if code == 0 {
			code = capability.ErrCorrupt
		}
		return nil, refuse(code, fmt.Errorf("the response in force: %w", err))
	}
	s.judgedFor, s.believed = digest, r
	return r, nil
}

// judge looks at this machine's clock by the latest time seen here.
func (s *Standalone) judge(seen capability.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	local, said := s.clock(), capability.At(s.options.Clock())
	s.judged, s.anchor = judgeClock(local, seen, said)
}

// clock is this machine's clock with the time that it slept.
func (s *Standalone) clock() time.Time { return s.options.Clock().Add(s.options.suspended()) }

// now is the time as far as it is known, and whether dates are in doubt because the clock is held.
func (s *Standalone) now() (capability.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.anchor.passed(s.clock()), s.judged.state == ClockHeld
}

// see moves the latest time seen, a minute at a time.
func (s *Standalone) see(st *standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.judged.mark.passed(s.clock()); now-st.Seen >= capability.Time(seenStep) {
		st.Seen = now
	}
}

// told takes the signer's time in a new response: it ends the doubts about a clock that was held, once, and moves one that was not only forward.
func (s *Standalone) told(st *standing, at capability.Time) {
	_, held := s.now()
	if held || at > st.Seen {
		st.Seen = at
	}
	s.judge(st.Seen)
}

// Clock is how far this machine's clock was believed when this program started, or since a response was imported.
func (s *Standalone) Clock() ClockState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.judged.state
}
