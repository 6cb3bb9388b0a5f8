package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// A machine with rights of its own exchanges the same two messages with the back office as an appliance does, by file: see Request, Import and Return.

func newLife() (l capability.LifeID) {
	rand.Read(l[:])
	return l
}

// RequestFile is a request that may be carried to the back office.
type RequestFile struct {
	Number uint64
	Name   string // 8.3-safe
	Bytes  []byte
}

// Request makes the next request file: who this machine is, what it wants to hold, the proofs of what it returned. Its number and digest are durable before anyone
// has the bytes. It can be asked for again at will. Where what was kept cannot be used any more, it asks for the repair of that.
func (s *Standalone) Request(ctx context.Context, desired []capability.Desired) (*RequestFile, error) {
	var out *RequestFile
	err := s.locked(ctx, func() error {
		st, lost, err := s.load()
		if err != nil {
			return err
		}
		switch {
		case lost != nil && lost.Code == capability.ErrOtherStore && !s.options.Replace:
			err = &refusal{lost, nil}
		case lost != nil:
			st, err = s.anew(lost.Code, st.Epoch)
		default:
			err = s.settle(st)
		}
		if err == nil {
			err = s.count(st)
		}
		if err != nil {
			return err
		}
		s.bury(st)
		s.see(st)
		out, err = s.request(st, desired)
		return err
	})
	return out, err
}

// anew begins again without rights, and puts what cannot be used aside: the back office is asked to repair it. before is the epoch of that, where it can still be read.
func (s *Standalone) anew(why capability.Code, before uint64) (*standing, error) {
	if err := s.store.dir.Rename(rightsFile, rightsFile+".lost"); errors.Is(err, fs.ErrNotExist) {
		why = capability.ErrStorageGone
	} else if err != nil {
		return nil, broken("put the rights that cannot be used aside", err)
	} else if why == capability.ErrOtherStore {
		why = capability.ErrCounter
	}
	st, _, err := s.begin()
	if err != nil {
		return nil, err
	}
	st.Lost, st.Counted = why, false
	if c := s.options.Chip; c != nil {
		// A counter that was deleted begins above all that it ever was: that is the epoch by which the back office knows that nothing older comes.
		if _, counts, err := c.Epoch(); err != nil {
			return nil, err
		} else if !counts {
			if st.Epoch, err = s.provision(); err != nil {
				return nil, err
			}
		}
	} else {
		st.Epoch = max(st.Epoch, before+2)
	}
	return st, nil
}

func (s *Standalone) request(st *standing, desired []capability.Desired) (*RequestFile, error) {
	if err := s.prove(st); err != nil {
		return nil, err
	}
	r, err := s.rights(st)
	if err != nil {
		return nil, err
	}
	now, doubted := s.now()
	q := &capability.Request{
		Version: capability.Protocol, Hosts: hostsOf(s.host, s.options.Machine), Desired: desired, User: s.options.User,
		Number: st.Number + 1, Epoch: st.Epoch, Returns: st.Returns, Clock: capability.Clock{Now: capability.At(s.options.Clock()), Floor: now},
		Condition: st.Lost, Platform: capability.PlatformOf(s.options.Machine), Producer: s.codec.Fingerprint(s.trust.Root), Life: st.Life,
	}
	rand.Read(q.Correlation[:])
	if r != nil {
		q.Applied, q.BookHead = r.Serial, r.BookHead
		// What no program holds above the rights in force is settled; a storage that was made anew does not know what another one lent.
		q.Settled = st.Lost == 0 && now >= r.Hold && !slices.Contains(served(inForce(r.Items, st.Returns, now, doubted), st.Claims), false)
	}
	for _, w := range st.Written {
		q.Outstanding = append(q.Outstanding, w.Digest)
	}
	file, digest, err := s.sign(q)
	if err != nil {
		return nil, err
	}
	st.Number = q.Number
	st.Written = append(st.Written, wrote{q.Number, digest})
	st.Written = st.Written[max(0, len(st.Written)-capability.MaxOutstanding):]
	if err := s.keep(st); err != nil {
		return nil, err
	}
	return &RequestFile{q.Number, capability.FileName("REQ", q.Number, "LHQ"), file}, nil
}

func (s *Standalone) sign(q *capability.Request) ([]byte, capability.Digest, error) {
	if c := s.options.Chip; c != nil {
		kid, err := c.KeyID()
		if err != nil {
			return nil, capability.Digest{}, err
		}
		return s.codec.SignRequest(q, wire.AlgTPMQuote, kid, c.Quote)
	}
	return s.codec.SignRequest(q, wire.AlgEd25519, wire.DeviceKeyID(s.public()), func(d capability.Digest) ([]byte, error) {
		return wire.SignAsDevice(s.seed, s.box.PublicKey(), d), nil
	})
}

// prove adds the proof to every return that has none: a cut between a return and its proof is mended here.
func (s *Standalone) prove(st *standing) (err error) {
	for i := range st.Returns {
		t := &st.Returns[i]
		if len(t.Proof) > 0 {
			continue
		}
		digest := s.codec.ReturnDigest(*t)
		if c := s.options.Chip; c == nil {
			t.Proof = wire.ProveAsDevice(s.seed, digest)
		} else if t.Proof, err = c.Certify(digest); err != nil {
			return fmt.Errorf("prove the return: %w", err)
		}
	}
	return nil
}

// Applied says what a response file did.
type Applied struct {
	Code     capability.Code // Applied, AlreadyHere or OlderResponse
	Clear    wire.Clear
	Response *capability.Response // nil unless it was applied
	Before   []capability.LineItem
	After    []capability.LineItem
}

// Import applies a response file. A refusal changes nothing; AlreadyHere and OlderResponse are none.
func (s *Standalone) Import(ctx context.Context, file []byte) (*Applied, error) {
	sealed, err := s.codec.ReadResponse(file)
	var signer *wire.KeyCertificate
	if err == nil {
		signer, _, err = s.codec.Verify(s.trust, sealed)
	}
	if err != nil {
		return nil, refuse(wire.Code(err), err)
	}
	if c := sealed.Clear; c.For != s.host {
		return nil, denied(capability.Denial{Code: capability.ErrNotOurs, Detail: fmt.Sprintf("it is for LH-%s, and this machine is LH-%s", c.For.Short(), s.host.Short())})
	}
	var out *Applied
	err = s.with(ctx, func(st *standing) error {
		if err := s.codec.StillCounts(signer, st.Revoked); err != nil {
			return refuse(wire.Code(err), err)
		}
		out, err = s.apply(st, file, sealed, signer)
		return err
	})
	if err == nil && out.Code == capability.Applied {
		s.stir()
	}
	return out, err
}

func (s *Standalone) apply(st *standing, file []byte, sealed *wire.SealedResponse, signer *wire.KeyCertificate) (*Applied, error) {
	old, err := s.rights(st)
	if err != nil {
		return nil, err
	}
	out := &Applied{Code: capability.Applied, Clear: sealed.Clear}
	if old != nil {
		out.Before = kept(old.Items, st.Returns)
		kept, err := s.codec.ReadResponse(st.Response)
		switch {
		case err != nil:
			return nil, err
		case sealed.Clear.Serial < old.Serial:
			out.Code = capability.OlderResponse
		case sealed.Clear.Serial == old.Serial && sealed.Digest == kept.Digest:
			out.Code = capability.AlreadyHere
		case sealed.Clear.Serial == old.Serial:
			return nil, denied(capability.Denial{Code: capability.ErrReplayedSerial, Detail: fmt.Sprintf("serial %d", old.Serial)})
		}
		if out.Code != capability.Applied {
			return out, nil
		}
	}
	if now, _ := s.now(); now > sealed.Clear.ApplyBefore {
		return nil, denied(capability.Denial{Code: capability.ErrResponseStale,
			Detail: fmt.Sprintf("it was made %s, to be applied before %s, and now is %s", sealed.Clear.Time, sealed.Clear.ApplyBefore, now)})
	}
	key, err := s.unwrap(sealed.Wrap)
	if err != nil {
		return nil, err
	}
	r, err := s.codec.Open(sealed, key)
	if errors.Is(err, wire.ErrSignature) {
		return nil, refuse(capability.ErrNotOpened, err)
	} else if err != nil {
		return nil, refuse(capability.ErrResponseForm, err)
	}
	if r.Life != st.Life || !slices.Contains(st.Written, wrote{r.Number, r.Request}) {
		return nil, denied(capability.Denial{Code: capability.ErrResponseEpoch, Detail: fmt.Sprintf("it answers request %d, which this directory did not write; its last one is %d", r.Number, st.Number)})
	}
	if st.Lost != 0 && len(r.Items) == 0 {
		return nil, denied(capability.Denial{Code: capability.ErrNotEntitled, Detail: "the response brings no rights, so nothing is repaired"})
	}
	if st.Revoked = wire.Learn(st.Revoked, signer); len(st.Revoked) > capability.MaxRevoked {
		return nil, refuse(capability.ErrResponseForm, fmt.Errorf("%d keys were revoked where at most %d are kept", len(st.Revoked), capability.MaxRevoked))
	}
	return out, s.adopt(st, out, file, key, r)
}

// adopt makes a response the one in force. Its writes: the counter, where this directory has none yet; what the machine has, moved; how the secret is kept. A cut after
// the first leaves a directory without rights, and the response is imported again; one after the second a directory that is bound to the machine as it was.
func (s *Standalone) adopt(st *standing, out *Applied, file, key []byte, r *capability.Response) error {
	if c := s.options.Chip; c != nil && !st.Counted {
		other, err := s.others()
		if err != nil {
			return err
		}
		if at, _, err := c.Epoch(); err != nil || other && at != st.Instead { // nobody said that it is gone, or it was in use since
			return cmp.Or[error](err, &refusal{s.othersRefusal(at), nil})
		}
		if st.Epoch, err = s.provision(); err != nil {
			return err
		}
		st.Counted, st.Instead = true, 0
	}
	st.Response, st.Content, st.Lost = file, key, 0
	st.Written = slices.DeleteFunc(st.Written, func(w wrote) bool { return w.Number <= r.Number })
	st.Returns = slices.DeleteFunc(st.Returns, func(t capability.Return) bool { return slices.Contains(r.Acknowledged, t.ID) || r.Refuses(t) })
	s.told(st, r.Time)
	if err := s.move(st); err != nil {
		return err
	}
	s.judgedFor, s.believed = sha256.Sum256(file), r
	out.Response, out.After = r, kept(r.Items, st.Returns)
	if s.missing.better(s.options.Machine) { // the request named the machine as it is now
		if err := s.keepRoot(); err != nil {
			return err
		}
		s.missing = unbound{}
	}
	return nil
}

func (s *Standalone) unwrap(wrap []byte) ([]byte, error) {
	var key []byte
	var err error
	if c := s.options.Chip; c != nil {
		key, err = c.Activate(wrap)
	} else {
		key, err = wire.UnwrapAsDevice(s.box, wire.DeviceOf(s.public()), wrap)
	}
	if err != nil {
		return nil, refuse(capability.ErrNotOpened, err)
	}
	return key, nil
}

// kept are the items that are left after returns.
func kept(items []capability.LineItem, returns []capability.Return) (list []capability.LineItem) {
	for _, i := range items {
		if i = without(i, returns); i.Copies > 0 {
			list = append(list, i)
		}
	}
	return list
}

// Return takes copies of an activation ID out of service for good (zero: all of them), by which another machine can have them. When it answers, the rights are gone
// here, no older copy brings them back, and every request carries the proof until the back office has acknowledged it. It never needs rights that are in good order.
// ErrInUse: programs hold what would be missing.
func (s *Standalone) Return(ctx context.Context, id capability.ActivationID, copies uint32) (*capability.Return, error) {
	var made capability.Return
	err := s.with(ctx, func(st *standing) error {
		r, err := s.rights(st)
		if err != nil {
			return err
		}
		have := uint32(0)
		if r != nil {
			for _, i := range r.Items {
				if i.ActivationID == id {
					have = without(i, st.Returns).Copies
				}
			}
		}
		if copies == 0 {
			copies = have
		}
		if have == 0 || copies > have {
			return denied(capability.Denial{Code: capability.ErrNothingToReturn, Subject: string(id), Detail: "this machine has " + capability.Counted(have, "copy")})
		}
		if len(st.Returns) >= capability.MaxReturns {
			return denied(capability.Denial{Code: capability.ErrBusy, Subject: string(id), Detail: fmt.Sprintf("%d returns wait for the back office, and no request carries more", len(st.Returns))})
		}
		now, doubted := s.now()
		made = capability.Return{ActivationID: id, Copies: copies, Epoch: moved(st), Time: now, Serial: r.Serial}
		rand.Read(made.ID[:])
		after := append(slices.Clone(st.Returns), made)
		if err := s.inUse(st, r, after, now, doubted, string(id)); err != nil {
			return err
		}
		st.Returns = after
		if err := s.move(st); err != nil {
			return err
		}
		// A cut here leaves a return without its proof, which the next request adds.
		err = s.prove(st)
		made = st.Returns[len(st.Returns)-1]
		return err
	})
	if err != nil {
		return nil, err
	}
	s.stir()
	return &made, nil
}

// inUse refuses a return of what programs hold.
func (s *Standalone) inUse(st *standing, r *capability.Response, after []capability.Return, now capability.Time, doubted bool, id string) error {
	had := served(inForce(r.Items, st.Returns, now, doubted), st.Claims)
	has := served(inForce(r.Items, after, now, doubted), st.Claims)
	var names []string
	var used uint32
	for i, c := range st.Claims {
		if had[i] && !has[i] {
			used += c.Count
			if !slices.Contains(names, c.Feature) {
				names = append(names, c.Feature)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	return denied(capability.Denial{Code: capability.ErrInUse, Subject: id, Detail: fmt.Sprintf("programs of this machine hold %d of %s; end them, or: leasehold release FEATURE", used, strings.Join(names, ", "))})
}
