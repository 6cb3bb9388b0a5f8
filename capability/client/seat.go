package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
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
	Token        string // of SignIn
	TakeOver     bool   // give up a seat of the same user on another machine for this one
	Alias        string // of this machine, for people; kept of floating licenses only

	// Idle is how long nobody has worked with the program; nil: somebody always has.
	Idle func() time.Duration
}

// Seat is the use of one seat of a license for users, for as long as this machine may have it: it is renewed by itself, and where the back office cannot be reached it goes on as long as the producer's license
// model lets it, which may be a day. Its methods are for any number of goroutines.
type Seat struct {
	s     *Standalone
	o     SeatOptions
	life  context.Context
	end   context.CancelCauseFunc
	ended sync.WaitGroup

	mu     sync.Mutex
	items  []capability.LineItem
	at     time.Time     // when the request of the last answer went out
	runs   time.Duration // from then on
	renew  time.Duration // from then on
	missed error         // why the last renewal did not come through
	warns  string
}

// seatRetry is the least wait between two renewals that do not come through.
const seatRetry = 5 * time.Second

// SignIn shows a back office who the user of this machine is, and gives a token for seats. A code, which is on the slip of a new user, sets the password. Neither is kept.
func (s *Standalone) SignIn(ctx context.Context, o *Office, account, user, password, code string) (token string, until capability.Time, err error) {
	device, err := hex.DecodeString(s.host.Value)
	if err != nil {
		return "", 0, fmt.Errorf("host ID: %w", err)
	}
	form := map[string]string{"account": account, "user": user, "password": password, "device": hex.EncodeToString(device)}
	if code != "" {
		form["code"] = code
	}
	b, err := json.Marshal(form)
	if err != nil {
		return "", 0, err
	}
	answer, err := o.post(ctx, "token", b, maxTokenAnswer)
	if err != nil {
		return "", 0, err
	}
	var a struct {
		Token string          `json:"token"`
		Until capability.Time `json:"until"`
	}
	if err := json.Unmarshal(answer, &a); err != nil || a.Token == "" {
		return "", 0, refuse(capability.ErrOfficeUnreachable, errors.New("it answers with no token"))
	}
	return a.Token, a.Until, nil
}

const maxTokenAnswer = 16 << 10

// Seat takes a seat, or has the one back that this machine has already, after a crash for instance. It is the caller's until Release, or until Done is closed.
func (s *Standalone) Seat(ctx context.Context, o SeatOptions) (*Seat, error) {
	t := &Seat{s: s, o: o}
	if err := t.ask(ctx, true); err != nil {
		return nil, err
	}
	t.life, t.end = context.WithCancelCause(s.life)
	t.ended.Go(t.keep)
	return t, nil
}

// ask makes one exchange, and takes over what it says.
func (t *Seat) ask(ctx context.Context, anew bool) error {
	at := t.s.options.Clock()
	r, err := t.exchange(ctx, 1, anew)
	if err != nil {
		return err
	}
	runs := capability.Seconds(0)
	for _, i := range r.Items {
		runs = max(runs, capability.Seconds(i.Expiry-r.Time))
	}
	if runs == 0 {
		return refuse(capability.ErrResponseForm, errors.New("it brings no right"))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// Until when is told by the back office's clock; how long is measured by this one's, from before it was asked.
	t.o.ActivationID, t.o.Feature, t.o.Version = r.Items[0].ActivationID, "", capability.Version{} // renewals name what it is
	t.warns = ""
	for _, d := range r.Denials {
		t.warns = d.Sentence()
	}
	t.at, t.items, t.runs, t.renew, t.missed = at, r.Items, runs.Duration(), r.Policy.Lease.Duration()*time.Duration(r.Policy.RenewPercent)/100, nil
	return nil
}

// exchange sends a request for so many seats, and believes the answer only if it is the producer's, for this machine and to this very request.
func (t *Seat) exchange(ctx context.Context, count uint32, anew bool) (*capability.Response, error) {
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
	return s.seated(answer, digest)
}

// seated opens an answer.
func (s *Standalone) seated(answer []byte, request capability.Digest) (*capability.Response, error) {
	sealed, err := s.codec.ReadResponse(answer)
	var signer *wire.KeyCertificate
	if err == nil {
		signer, _, err = s.codec.Verify(s.trust, sealed)
	}
	if err != nil {
		return nil, refuse(wire.Code(err), err)
	}
	if sealed.Clear.For != s.host || sealed.Clear.Request != request {
		return nil, denied(capability.Denial{Code: capability.ErrNotOurs, Detail: "it answers another request, or another machine"})
	}
	key, err := s.unwrap(sealed.Wrap)
	if err != nil {
		return nil, err
	}
	r, err := s.codec.Open(sealed, key)
	if err != nil {
		return nil, refuse(capability.ErrNotOpened, err)
	}
	return r, s.notRevoked(signer)
}

// notRevoked refuses what a key signed of which this machine has heard that it counts no more.
func (s *Standalone) notRevoked(signer *wire.KeyCertificate) error {
	ctx, cancel := patience(s.life, s.options.Timeout)
	defer cancel()
	return s.locked(ctx, func() error {
		st, lost, err := s.load()
		if err != nil || lost != nil {
			return err // what cannot be read has heard nothing
		}
		if err := s.codec.StillCounts(signer, st.Revoked); err != nil {
			return refuse(wire.Code(err), err)
		}
		return nil
	})
}

// gone is how long ago the last answered request went out: by the clock that goes on in a set-back, and by the one that goes on in a sleep.
func (t *Seat) gone() time.Duration {
	now := t.s.options.Clock()
	return max(now.Sub(t.at), now.Round(0).Sub(t.at.Round(0)))
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
		err := t.ask(t.life, false)
		t.mu.Lock()
		t.missed = err
		over := t.gone() >= t.runs
		t.mu.Unlock()
		no := (*capability.Refusal)(nil)
		switch {
		case err == nil:
		case over, errors.As(err, &no) && slices.Contains([]capability.Code{capability.ErrSessionEnded, capability.ErrUnassigned, capability.ErrNoUser, capability.ErrMode, capability.ErrSuspended, capability.ErrRetired, capability.ErrBookExpired}, no.Code):
			t.end(err)
			return
		}
	}
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

// Done is closed when the seat has ended: the program must stop. Err says why.
func (t *Seat) Done() <-chan struct{} { return t.life.Done() }

// Err is why the seat has ended; nil: it has not.
func (t *Seat) Err() error {
	if t.life.Err() == nil {
		return nil
	}
	return context.Cause(t.life)
}

// Release gives the seat back. Where that does not get through, the back office waits until it has ended by itself.
func (t *Seat) Release(ctx context.Context) error {
	t.end(ErrReleased)
	t.ended.Wait()
	_, err := t.exchange(ctx, 0, false)
	return err
}
