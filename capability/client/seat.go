package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// ErrSessionEnded is why a seat ended that was disconnected, or taken over elsewhere; ErrUserToken: the user has to sign in again.
var (
	ErrSessionEnded error = sentinel(capability.ErrSessionEnded)
	ErrUserToken    error = sentinel(capability.ErrUserToken)
)

// SeatOptions say what is wanted of a back office on the network, and for whom.
type SeatOptions struct {
	Office       *Office
	Feature      string // and Version, or
	Version      capability.Version
	ActivationID capability.ActivationID
	Token        string // of SignIn; empty: of KeepSignIn, and without one only what this machine has goes on
	TakeOver     bool   // give up a seat of the same user on another machine for this one
	Keep         bool   // it stays with this machine when the program has ended, and nobody renews it then
	Alias        string // of this machine, for people; kept of floating licenses only

	// Idle is how long nobody has worked with the program; nil: somebody always has.
	Idle func() time.Duration
}

// Seat is the use of one seat of a license for users, for as long as this machine may have it: it is renewed by itself, and where the back office cannot be reached it goes on as long as the producer's license
// model lets it, which may be a day. All programs of the machine share it. Its methods are for any number of goroutines.
type Seat struct {
	s      *Standalone
	o      SeatOptions
	holder holderID
	life   context.Context
	end    context.CancelCauseFunc
	ended  sync.WaitGroup

	mu     sync.Mutex
	items  []capability.LineItem
	at     time.Time     // when the request of the last answer went out
	slept  time.Duration // how long the machine had slept by then
	runs   time.Duration // from then on
	renew  time.Duration // from then on
	missed error         // why the last renewal did not come through
	since  time.Time     // of the first of those in a row
	warns  string
}

// seatRetry is the least wait between two renewals that do not come through.
const seatRetry = 5 * time.Second

// Seat takes a seat, or has the one back that this machine has already, after a crash for instance. It is the caller's until Release, or until Done is closed.
func (s *Standalone) Seat(ctx context.Context, o SeatOptions) (*Seat, error) {
	at, err := officeURL(o.Office.URL)
	if err != nil {
		return nil, err
	}
	if s.life.Err() != nil {
		return nil, ErrClosed
	}
	office := *o.Office
	office.URL, o.Office = at, &office
	t := &Seat{s: s, o: o, holder: s.store.mine}
	if o.Keep {
		t.holder = holderID{}
	}
	err = s.withOnline(ctx, func(on *online) error {
		nobody := fmt.Errorf("this machine has no seat at %s, and nobody is signed in who could take one", at)
		if t.known(on); t.o.Token == "" && t.o.ActivationID == "" { // what goes on has a name
			return refuseAs(capability.ErrUserToken, ErrSessionEnded, nobody)
		}
		if _, err := t.ask(ctx, true, true); errors.Is(err, ErrSessionEnded) && t.o.Token == "" {
			return refuseAs(capability.ErrUserToken, err, nobody)
		} else if err != nil {
			return err
		}
		return t.hold(on)
	})
	if err != nil {
		return nil, err
	}
	t.life, t.end = context.WithCancelCause(s.life)
	s.mu.Lock()
	if s.closed {
		t.end(ErrClosed)
	} else {
		s.seats = append(s.seats, t)
	}
	s.mu.Unlock()
	t.ended.Go(t.keep)
	return t, nil
}

// known completes what is wanted with what is kept: the token of the user, and the item of which this machine has a seat.
func (t *Seat) known(on *online) {
	if i := on.signIn(t.o.Office.URL); i != nil && t.o.Token == "" && capability.At(t.s.options.Clock()) < i.Until {
		t.o.Token = i.Token
	}
	for _, u := range on.Uses {
		if t.o.Token == "" && t.o.ActivationID == "" && u.URL == t.o.Office.URL && slices.ContainsFunc(u.Items, func(i capability.LineItem) bool {
			return i.Feature == t.o.Feature && i.Version.Compare(t.o.Version) >= 0
		}) {
			t.o.ActivationID, t.o.Feature, t.o.Version = u.ActivationID, "", capability.Version{}
		}
	}
}

// hold writes down that a program uses the seat.
func (t *Seat) hold(on *online) error {
	u := on.use(t.o.Office.URL, t.o.ActivationID)
	if u == nil {
		if len(on.Uses) >= maxUses {
			return broken("keep a seat", fmt.Errorf("this machine has %d, and no more are kept", maxUses))
		}
		on.Uses = append(on.Uses, use{URL: t.o.Office.URL, ActivationID: t.o.ActivationID})
		u = &on.Uses[len(on.Uses)-1]
	}
	if len(u.Holders) >= maxUsers {
		return broken("keep a seat", fmt.Errorf("%d programs use it, and no more are kept", maxUsers))
	}
	if t.holder != (holderID{}) || !slices.Contains(u.Holders, t.holder) {
		u.Holders = append(u.Holders, t.holder)
	}
	t.note(u)
	return nil
}

// note takes down what was told last.
func (t *Seat) note(u *use) {
	t.mu.Lock()
	defer t.mu.Unlock()
	u.Items, u.Asked, u.Runs, u.Renew, u.Warning = t.items, capability.At(t.at), capability.Seconds(t.runs/time.Second), capability.Seconds(t.renew/time.Second), t.warns
}

// ask makes one exchange, and takes over what it says. final: the back office has signed that this machine has the seat no more. Whatever nobody signed leaves things as they are.
func (t *Seat) ask(ctx context.Context, anew, locked bool) (final bool, err error) {
	at, slept := t.s.options.Clock(), t.s.options.suspended()
	r, err := t.exchange(ctx, 1, anew, locked)
	if err != nil {
		return false, err
	}
	if r.Status == capability.StatusDenied && len(r.Denials) > 0 {
		return true, denied(r.Denials[0])
	}
	runs := capability.Seconds(0)
	for _, i := range r.Items {
		runs = max(runs, capability.Seconds(i.Expiry-r.Time))
	}
	if runs == 0 {
		return false, refuse(capability.ErrResponseForm, errors.New("it brings no right"))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// Until when is told by the back office's clock; how long is measured by this one's, from before it was asked.
	t.o.ActivationID, t.o.Feature, t.o.Version = r.Items[0].ActivationID, "", capability.Version{} // renewals name what it is
	t.warns = ""
	for _, d := range r.Denials {
		t.warns = d.Sentence()
	}
	t.at, t.slept, t.items, t.runs, t.renew, t.missed = at, slept, r.Items, runs.Duration(), paceOf(&r.Policy), nil
	return false, nil
}

// paceOf is after how long a seat is renewed. A policy that says little, or a short lease, has nobody asked without a pause.
func paceOf(p *capability.Policy) time.Duration {
	share := time.Duration(cmp.Or(p.RenewPercent, capability.DefaultPolicy().RenewPercent))
	return max(leastRenewal, cmp.Or(p.Lease, capability.DefaultLease).Duration()*share/100)
}

// exchange sends a request for so many seats, and believes the answer only if it is the producer's, for this machine and to this very request.
func (t *Seat) exchange(ctx context.Context, count uint32, anew, locked bool) (*capability.Response, error) {
	s := t.s
	q := &capability.Request{
		Version: capability.Protocol, Hosts: hostsOf(s.host, s.options.Machine), Alias: t.o.Alias, Platform: capability.PlatformOf(s.options.Machine), Producer: s.codec.Fingerprint(s.trust.Root),
		Desired: []capability.Desired{{ActivationID: t.o.ActivationID, Feature: t.o.Feature, Version: t.o.Version, Count: count}},
	}
	if t.o.Idle != nil {
		q.Idle = max(0, capability.Seconds(t.o.Idle()/time.Second))
	}
	rand.Read(q.Correlation[:])
	rand.Read(q.Life[:])
	file, digest, err := s.sign(q)
	if err != nil {
		return nil, err
	}
	path, token := "seat", ""
	if anew {
		token = t.o.Token
		if t.o.TakeOver {
			path += "?take-over"
		}
	}
	answer, err := t.o.Office.postAs(ctx, path, token, file, capability.MaxFile)
	if err != nil {
		return nil, err
	}
	r, signer, err := s.seated(answer, digest)
	if err != nil {
		return nil, err
	}
	if locked {
		return r, s.notRevoked(signer)
	}
	wait, cancel := patience(s.life, s.options.Timeout)
	defer cancel()
	return r, s.locked(wait, func() error { return s.notRevoked(signer) })
}

// seated opens an answer.
func (s *Standalone) seated(answer []byte, request capability.Digest) (*capability.Response, *wire.KeyCertificate, error) {
	sealed, err := s.codec.ReadResponse(answer)
	var signer *wire.KeyCertificate
	if err == nil {
		signer, _, err = s.codec.Verify(s.trust, sealed)
	}
	if err != nil {
		return nil, nil, refuse(wire.Code(err), err)
	}
	if sealed.Clear.For != s.host || sealed.Clear.Request != request {
		return nil, nil, denied(capability.Denial{Code: capability.ErrNotOurs, Detail: "it answers another request, or another machine"})
	}
	key, err := s.unwrap(sealed.Wrap)
	if err != nil {
		return nil, nil, err
	}
	r, err := s.codec.Open(sealed, key)
	if err != nil {
		return nil, nil, refuse(capability.ErrNotOpened, err)
	}
	return r, signer, nil
}

// notRevoked refuses what a key signed of which this machine has heard that it counts no more, and keeps what its certificate says of others. No other program uses the directory meanwhile.
func (s *Standalone) notRevoked(signer *wire.KeyCertificate) error {
	st, lost, err := s.load()
	if err != nil {
		return err
	}
	if err := s.codec.StillCounts(signer, st.Revoked); err != nil {
		return refuse(wire.Code(err), err)
	}
	known := wire.Learn(st.Revoked, signer)
	if lost != nil || len(known) == len(st.Revoked) || len(known) > capability.MaxRevoked {
		return nil // what is lost is made anew some day, and has heard nothing then
	}
	if err := s.settle(st); err != nil {
		return err
	}
	st.Revoked = known
	return s.keep(st)
}

// gone is how long ago the last answered request went out: by the clock that nobody sets, with the time that the machine slept, or by the one on the wall where that says more.
func (t *Seat) gone() time.Duration {
	now := t.s.options.Clock()
	return max(now.Sub(t.at)+(t.s.options.suspended()-t.slept).Round(time.Second), now.Round(0).Sub(t.at.Round(0)))
}

// keep renews until the seat ends.
func (t *Seat) keep() {
	for {
		t.mu.Lock()
		gone := t.gone()
		wait, left := t.renew-gone, t.runs-gone
		if t.missed != nil {
			wait = max(seatRetry, min(t.renew, left/8))
		}
		t.mu.Unlock()
		timer := time.NewTimer(max(0, min(wait, left)))
		select {
		case <-t.life.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		final, err := t.ask(t.life, false, false)
		t.mu.Lock()
		if t.missed = err; t.since.IsZero() {
			t.since = t.s.options.Clock()
		}
		if err == nil {
			t.since = time.Time{}
		}
		over := t.gone() >= t.runs
		t.mu.Unlock()
		switch {
		case err == nil:
			// What other programs are shown of it is as old as the last time that this could be written.
			t.s.withOnline(t.life, func(on *online) error {
				if u := on.use(t.o.Office.URL, t.o.ActivationID); u != nil {
					t.note(u)
				}
				return nil
			})
		case t.life.Err() != nil:
			return
		case over, final:
			t.end(err)
			t.s.withOnline(t.s.life, func(on *online) error {
				on.drop(t.o.Office.URL, t.o.ActivationID, t.holder)
				return nil
			})
			return // that the program has stopped, Release says, or Close
		}
	}
}

// without forgets a seat that has ended.
func (s *Standalone) without(t *Seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seats = slices.DeleteFunc(s.seats, func(o *Seat) bool { return o == t })
}

// Items are what the seat brings: features, versions and counts.
func (t *Seat) Items() []capability.LineItem {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.items)
}

// Warning is what the back office has to say about the use of the seat, if anything: that it is for people, and runs in a build.
func (t *Seat) Warning() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.warns
}

// Left is how long the program may run on if no renewal gets through, and why the last one did not, if so.
func (t *Seat) Left() (time.Duration, error) {
	if t.life.Err() != nil {
		return 0, context.Cause(t.life)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, t.runs-t.gone()), t.missed
}

func (t *Seat) missedSince() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.since
}

// Done is closed when the seat has ended: the program must stop. Err says why.
func (t *Seat) Done() <-chan struct{} { return t.life.Done() }

// Err is why the seat has ended; nil: it has not.
func (t *Seat) Err() error {
	if t.life.Err() == nil {
		return nil
	}
	return context.Cause(t.life)
}

// Release gives the seat back, if no other program of this machine uses it; of one that has ended it says that the program has stopped, so that the seat is free at once. Where that does not get through, the back office waits until it has ended by itself.
func (t *Seat) Release(ctx context.Context) error {
	t.end(ErrReleased)
	t.ended.Wait()
	t.s.without(t)
	return t.s.withOnline(ctx, func(on *online) error {
		if _, left := on.drop(t.o.Office.URL, t.o.ActivationID, t.holder); left > 0 {
			return nil
		}
		_, err := t.exchange(ctx, 0, false, true)
		return err
	})
}

// giveBack releases what this program has not, unless it said that it is to be kept.
func (s *Standalone) giveBack(seats []*Seat) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.options.Timeout)
	defer cancel()
	for _, t := range seats {
		if !t.o.Keep {
			err = errors.Join(err, t.Release(ctx))
		}
	}
	return err
}

// RenewSeat moves the end of a seat that was kept, once, and says for how long nobody has worked with it. ErrSessionEnded: it is this machine's no more.
func (s *Standalone) RenewSeat(ctx context.Context, o *Office, id capability.ActivationID, idle time.Duration) error {
	at, err := officeURL(o.URL)
	if err != nil {
		return err
	}
	return s.withOnline(ctx, func(on *online) error {
		t := &Seat{s: s, o: SeatOptions{Office: o, ActivationID: id, Idle: func() time.Duration { return idle }}}
		final, err := t.ask(ctx, false, true)
		u := on.use(at, id)
		if u != nil && err == nil {
			t.note(u)
		}
		if final && (u == nil || !slices.ContainsFunc(u.Holders, func(h holderID) bool { return h != holderID{} })) {
			t.exchange(ctx, 0, false, true) // nothing runs with it: the seat is free at once, or else when it would have stopped
		}
		if final {
			on.Uses = slices.DeleteFunc(on.Uses, func(u use) bool { return u.URL == at && u.ActivationID == id })
		}
		return err
	})
}

// FreeSeat gives back a seat that was kept, or that a program left when it died. ErrInUse: programs of this machine use it.
func (s *Standalone) FreeSeat(ctx context.Context, o *Office, id capability.ActivationID) error {
	at, err := officeURL(o.URL)
	if err != nil {
		return err
	}
	return s.withOnline(ctx, func(on *online) error {
		if u := on.use(at, id); u != nil && slices.ContainsFunc(u.Holders, func(h holderID) bool { return h != holderID{} }) {
			return denied(capability.Denial{Code: capability.ErrInUse, Subject: string(id), Detail: "programs of this machine use the seat; it is free when they have ended"})
		}
		t := &Seat{s: s, o: SeatOptions{Office: o, ActivationID: id}}
		if _, err := t.exchange(ctx, 0, false, true); err != nil {
			return err
		}
		on.Uses = slices.DeleteFunc(on.Uses, func(u use) bool { return u.URL == at && u.ActivationID == id })
		return nil
	})
}
