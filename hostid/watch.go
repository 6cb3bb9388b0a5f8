package hostid

import (
	"errors"
	"fmt"
	"time"
)

// MaxWithin is the longest time a security key may take for an answer: who pulls it out must be noticed within two seconds.
const MaxWithin = 2 * time.Second

// The refusals of a Watch, beside those of Credential.Verify. None of them changes anything.
var (
	ErrUnasked = errors.New("the security key was not asked, or the answer was given before")
	ErrLate    = errors.New("the security key answered too late")
	ErrNonce   = errors.New("a challenge needs a new nonce")
)

// WatchRules are the times of a Watch.
type WatchRules struct {
	Every  time.Duration // from a question to the next; longer than Within
	Within time.Duration // an answer comes within it or not at all; up to MaxWithin
	Grace  time.Duration // from the moment the key is missed to the end of renewals; 0 for none
}

// Validate checks that the times make sense together.
func (r WatchRules) Validate() error {
	switch {
	case r.Within <= 0 || r.Within > MaxWithin:
		return fmt.Errorf("an answer within %s where up to %s are allowed", r.Within, MaxWithin)
	case r.Every <= r.Within:
		return fmt.Errorf("a question every %s where an answer may take %s", r.Every, r.Within)
	case r.Grace < 0:
		return fmt.Errorf("a grace of %s", r.Grace)
	}
	return nil
}

// WatchState is what a Watch must find again after a restart; its caller keeps it in trusted storage. The zero state is that of a key just enrolled.
type WatchState struct {
	Counter uint32    // of the last answer
	Until   time.Time // the key is believed to be there until then; grace begins then
}

// Watch decides whether a security key is still there, from its answers alone. New grants need a key that is there. Renewals go on for the grace after it was
// missed.
//
// A key is there until the next answer is overdue. Only the right answer to the last question, in time and for the first time, moves that moment on;
// everything else either brings it nearer or does nothing. A watch begins with a key that is not there, so a restart grants nothing before an answer and
// gives no new grace.
//
// Its caller owns clock, chance and device: it calls Ask with new random bytes at the start, when Next says so and whenever somebody wants to know, sends the
// challenge to the key, and calls Answer with what comes back, or Removed when the key was unplugged. Times that go back count as the latest one seen.
type Watch struct {
	credential Credential
	host       ID
	rules      WatchRules
	counter    uint32
	until      time.Time
	now        time.Time
	asked      time.Time // of the last question, answered or not
	question   Challenge // zero when it was answered, or the key was removed since
	last       Nonce     // of the last question: no nonce is drawn twice in a row
}

// NewWatch begins to watch for a key on behalf of a host.
func NewWatch(c Credential, host ID, rules WatchRules, s WatchState, now time.Time) (*Watch, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("watch a security key: %w", err)
	}
	if err := host.Validate(); err != nil {
		return nil, fmt.Errorf("watch a security key: %w", err)
	}
	if err := rules.Validate(); err != nil {
		return nil, fmt.Errorf("watch a security key: %w", err)
	}
	until := s.Until
	if until.IsZero() || until.After(now) {
		until = now
	}
	return &Watch{credential: c, host: host, rules: rules, counter: s.Counter, until: until, now: now}, nil
}

// Ask makes the next question. Whatever was asked before can no longer be answered. An answer that does not come in time ends grants at the end of that time.
func (w *Watch) Ask(now time.Time, why Purpose, nonce Nonce) (Challenge, error) {
	w.step(now)
	if nonce == (Nonce{}) || nonce == w.last {
		return Challenge{}, ErrNonce
	}
	w.last, w.asked = nonce, w.now
	w.question = Challenge{Purpose: why, Nonce: nonce, Host: w.host}
	w.notAfter(w.now.Add(w.rules.Within))
	return w.question, nil
}

// Answer judges what came back. Without an error the key is there. ErrCopied and ErrCopyable are alarms: the key itself answered, and is believed no more
// until it gives a better answer to another question. Every other error is as if nothing had come.
func (w *Watch) Answer(now time.Time, a Assertion) error {
	w.step(now)
	if w.question == (Challenge{}) {
		return ErrUnasked
	}
	if !w.now.Before(w.asked.Add(w.rules.Within)) {
		return ErrLate
	}
	counter, err := w.credential.Verify(w.question, a, w.counter)
	if errors.Is(err, ErrCopied) || errors.Is(err, ErrCopyable) {
		w.Removed(now)
	}
	if err != nil {
		return err
	}
	w.question = Challenge{}
	w.counter = counter
	w.until = w.asked.Add(w.rules.Every + w.rules.Within)
	return nil
}

// Removed says that the key was unplugged. It is missed from now on, and what it was asked can no longer be answered.
func (w *Watch) Removed(now time.Time) {
	w.step(now)
	w.question = Challenge{}
	w.notAfter(w.now)
}

// Grants says whether the key is there, so that something new may be granted.
func (w *Watch) Grants(now time.Time) bool {
	w.step(now)
	return w.now.Before(w.until)
}

// Renews says whether what was granted may be renewed: the key is there, or missed for less than the grace.
func (w *Watch) Renews(now time.Time) bool {
	w.step(now)
	return w.now.Before(w.Ends())
}

// Ends is when renewals end unless the key answers before.
func (w *Watch) Ends() time.Time { return w.until.Add(w.rules.Grace) }

// Next is when the key is to be asked again: one interval after the last question, and at once when it never was.
func (w *Watch) Next() time.Time {
	if w.asked.IsZero() {
		return w.now
	}
	return w.asked.Add(w.rules.Every)
}

// State is what to keep. It changes with every answer and when the key is missed. Whoever restarts with one that does not know of a removal gets one interval
// of grace more, once, and no grant.
func (w *Watch) State() WatchState { return WatchState{Counter: w.counter, Until: w.until} }

// Finding is the key as a part of the machine, while it is there.
func (w *Watch) Finding(now time.Time) (Finding, bool) {
	if !w.Grants(now) {
		return Finding{}, false
	}
	return w.credential.Finding(), true
}

// notAfter brings the end of belief nearer, never further away.
func (w *Watch) notAfter(t time.Time) {
	if t.Before(w.until) {
		w.until = t
	}
}

func (w *Watch) step(now time.Time) {
	if now.After(w.now) {
		w.now = now
	}
}
