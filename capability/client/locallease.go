package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// LocalLease is what one program holds of a machine's own rights. It needs no renewal and ends with the rights, with Release, or with the program.
type LocalLease struct {
	s     *Standalone
	claim claim
	keep  bool
	lost  chan struct{}

	// Under s.mu:
	expiry time.Time
	err    error
}

// Feature is what the lease is for: the name, and the least version.
func (l *LocalLease) Feature() capability.Feature {
	return capability.Feature{Name: l.claim.Feature, Version: l.claim.Version}
}

// Count is how many counts it holds.
func (l *LocalLease) Count() uint32 { return l.claim.Count }

// Expiry is when the rights end that it stands on, by this machine's clock; zero: never, as far as is known.
func (l *LocalLease) Expiry() time.Time {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.expiry
}

// Lost is closed when the lease has ended, for whatever reason; Err then says it.
func (l *LocalLease) Lost() <-chan struct{} { return l.lost }

// Err is why the lease ended, or nil while it lasts.
func (l *LocalLease) Err() error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.err
}

// lose ends the lease once. Not under s.mu.
func (l *LocalLease) lose(why error) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.err == nil {
		l.err = why
		close(l.lost)
		l.s.leases = slices.DeleteFunc(l.s.leases, func(o *LocalLease) bool { return o == l })
	}
}

// Release gives the counts back. The lease is over even with an error; that says that the counts come free when the program ends.
func (l *LocalLease) Release(ctx context.Context) error {
	if l.Err() != nil {
		return nil
	}
	l.lose(ErrReleased)
	return l.s.with(ctx, func(st *standing) error {
		if i := slices.Index(st.Claims, l.claim); i >= 0 {
			st.Claims = slices.Delete(st.Claims, i, i+1)
		}
		return nil
	})
}

// Acquire takes counts of a feature, "render" or "render:2026.1": all of them or, with an error, none. It asks nobody: what the machine has and its programs do not
// hold is there. ErrAssigned: it is another user's.
func (s *Standalone) Acquire(ctx context.Context, feature string, options ...Option) (*LocalLease, error) {
	w, err := newWish(feature, options)
	if err != nil {
		return nil, err
	}
	until := s.options.Clock().Add(w.wait)
	for try := 0; ; try++ {
		l, err := s.acquire(ctx, w)
		pause := backoff(try)
		if err == nil || !errors.Is(err, ErrNoSeat) && !errors.Is(err, ErrHold) || s.options.Clock().Add(pause).After(until) {
			return l, err
		}
		if w.waiting != nil {
			w.waiting(err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), err)
		case <-s.life.Done():
			return nil, errors.Join(ErrClosed, err)
		}
	}
}

func (s *Standalone) acquire(ctx context.Context, w wish) (*LocalLease, error) {
	l := &LocalLease{s: s, keep: w.keep, lost: make(chan struct{}),
		claim: claim{Holder: s.store.mine, Feature: w.feature.Name, Version: w.feature.Version, Count: w.count, User: s.options.User}}
	if w.keep {
		l.claim.Holder = holderID{}
	}
	err := s.with(ctx, func(st *standing) error {
		r, err := s.usable(st)
		if err != nil {
			return err
		}
		now, doubted := s.now()
		items := inForce(r.Items, st.Returns, now, doubted)
		if with := append(slices.Clone(st.Claims), l.claim); !fits(items, with, w.feature.Name) {
			d := whyNot(r.Items, st.Returns, st.Claims, l.claim, now, doubted)
			if d.Code == capability.ErrClock {
				d.Detail = fmt.Sprintf("the clock of this machine is behind the latest time that was seen here, %s", now)
			}
			return denied(d)
		} else if len(with) > maxHoldings {
			return broken("acquire "+w.feature.Name, fmt.Errorf("the programs of this machine hold %d leases, and no more are kept", maxHoldings))
		} else {
			st.Claims = with
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed {
			return ErrClosed
		}
		l.expiry = s.ends(r, st, len(st.Claims)-1, now, doubted)
		s.leases = append(s.leases, l)
		return nil
	})
	if err != nil {
		l.lose(err) // it may be among the leases already, when the disk is full
		return nil, err
	}
	s.stir()
	return l, nil
}

// usable are the rights from which may be served now.
func (s *Standalone) usable(st *standing) (*capability.Response, error) {
	r, err := s.rights(st)
	if err != nil {
		return nil, err
	}
	if r == nil {
		code := st.Lost
		if code == 0 {
			code = capability.ErrNotProvisioned
		}
		return nil, denied(capability.Denial{Code: code, Detail: "no response was imported into " + s.options.Dir})
	}
	if now, _ := s.now(); now < r.Hold {
		return nil, denied(capability.Denial{Code: capability.ErrHold, Until: r.Hold})
	}
	return r, nil
}

// ends is when a claim loses what it stands on, by what is known now. Under s.mu.
func (s *Standalone) ends(r *capability.Response, st *standing, at int, now capability.Time, doubted bool) time.Time {
	var ends []capability.Time
	for _, i := range r.Items {
		if i.Expiry > now {
			ends = append(ends, i.Expiry)
		}
	}
	slices.Sort(ends)
	for _, end := range ends {
		if !served(inForce(r.Items, st.Returns, end, doubted), st.Claims)[at] {
			return s.options.Clock().Add(s.anchor.at(end).Sub(s.clock())).Round(0)
		}
	}
	return time.Time{}
}

// Release gives back everything that the programs of this machine hold of a feature; theirs end when they look next, within a minute. ErrNoSuchLease: they hold nothing of it.
func (s *Standalone) Release(ctx context.Context, feature string) error {
	err := s.with(ctx, func(st *standing) error {
		before := len(st.Claims)
		st.Claims = slices.DeleteFunc(st.Claims, func(c claim) bool { return c.Feature == feature })
		if len(st.Claims) == before {
			return denied(capability.Denial{Code: capability.ErrNoSuchLease, Subject: feature})
		}
		return nil
	})
	if err == nil {
		s.stir()
	}
	return err
}

// StandaloneView is what a machine has of its own, and what became of it.
type StandaloneView struct {
	Serial   uint64 // of the response in force; zero: none
	Made     capability.Time
	Hold     capability.Time
	Requests uint64
	Epoch    uint64
	Lost     *capability.Refusal   // why what was kept cannot be used; nil: it can
	Items    []capability.LineItem // what is left of them after returns
	Returns  []capability.Return   // that the back office has not acknowledged
	Held     []Held                // by programs; Expiry is not set
	Refused  []capability.Denial   // of returns, by the response in force: they are sent no more
	NotGiven *capability.Denial    // why the producer refused the request that the response in force answers; nil: it did not
	Asked    bool                  // the producer wants rights returned that it left out
}

// Look says what the machine has. It changes nothing.
func (s *Standalone) Look(ctx context.Context) (*StandaloneView, error) {
	v := &StandaloneView{}
	err := s.locked(ctx, func() error {
		st, lost, err := s.load()
		if err != nil {
			return err
		}
		if v.Lost = lost; lost != nil {
			return nil
		}
		s.bury(st)
		v.Requests, v.Epoch, v.Returns = st.Number, st.Epoch, st.Returns
		if st.Lost != 0 {
			v.Lost = capability.Refuse(st.Lost, "", "a response to the next request repairs it")
		}
		for _, c := range st.Claims {
			v.Held = append(v.Held, Held{Feature: c.Feature, Version: c.Version, Count: c.Count})
		}
		r, err := s.rights(st)
		if err == nil && r != nil {
			v.Serial, v.Made, v.Hold, v.Asked, v.Items = r.Serial, r.Time, r.Hold, r.ReturnAsked, kept(r.Items, st.Returns)
			v.Refused = r.ReturnsRefused()
			if d, is := r.Refused(); is {
				v.NotGiven = &d
			}
		}
		return err
	})
	return v, err
}

// watch ends leases that what is kept does not serve any more: an item expired, a response left it out, the directory was rolled back, another program released it.
func (s *Standalone) watch() {
	for {
		timer := time.NewTimer(s.next())
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.life.Done():
			timer.Stop()
			return
		}
		timer.Stop()
		s.look()
	}
}

// lookAgain is how often a program with leases looks at what is kept.
const lookAgain = time.Minute

// next is how long nothing has to be looked at.
func (s *Standalone) next() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.leases) == 0 {
		return time.Hour
	}
	soon := lookAgain
	for _, l := range s.leases {
		if !l.expiry.IsZero() {
			soon = min(soon, l.expiry.Sub(s.options.Clock().Round(0)))
		}
	}
	return max(soon, time.Millisecond)
}

func (s *Standalone) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// look is one round of watch. What cannot be read now is looked at again; a refusal is an answer.
func (s *Standalone) look() {
	s.mu.Lock()
	leases := slices.Clone(s.leases)
	s.mu.Unlock()
	if len(leases) == 0 {
		return
	}
	over := map[*LocalLease]error{}
	err := s.with(s.life, func(st *standing) error {
		r, err := s.usable(st)
		if err != nil {
			return err
		}
		now, doubted := s.now()
		ok := served(inForce(r.Items, st.Returns, now, doubted), st.Claims)
		taken := make([]bool, len(st.Claims))
		for _, l := range leases {
			at := -1
			for i, c := range st.Claims {
				if c == l.claim && !taken[i] {
					at = i
					break
				}
			}
			if at >= 0 {
				taken[at] = true
			}
			switch {
			case at < 0:
				over[l] = ErrReleased
			case !ok[at]:
				over[l] = denied(whyNot(r.Items, st.Returns, slices.Delete(slices.Clone(st.Claims), at, at+1), l.claim, now, doubted))
			default:
				s.mu.Lock()
				l.expiry = s.ends(r, st, at, now, doubted)
				s.mu.Unlock()
			}
		}
		return nil
	})
	var refusal *capability.Refusal
	if err != nil && errors.As(err, &refusal) && refusal.Code != capability.ErrClientStore {
		for _, l := range leases {
			over[l] = err
		}
	}
	for l, why := range over {
		l.lose(why)
	}
}

func (s *Standalone) public() ed25519.PublicKey { return s.seed.Public().(ed25519.PublicKey) }
