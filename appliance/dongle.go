package appliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
)

// A security key is held by a program that sees USB, as the daemon does not. What it is asked is drawn here and what it answers is judged here, so that program proves
// nothing by itself: it carries a challenge to the key, and the answer back. The key is known by its public key, whose digest is the host ID that the producer bound.

const (
	keyEvery = 6 * time.Minute // the unit that looks at the machine asks every five minutes, and within two seconds of every change
	maxKeys  = 4               // as many dongles count of one machine
)

// moment is the present on a clock that nobody can set, and that stands while the machine sleeps: a key that was there is asked again when it wakes.
func (a *Appliance) moment() time.Time { return time.Unix(0, 0).Add(a.Awake()) }

// Challenge is a question to a security key, to be answered within hostid.MaxWithin. Until then what the key proved before counts, and afterwards no more.
func (a *Appliance) Challenge(ctx context.Context, c hostid.Credential) (q hostid.Challenge, err error) {
	if err := c.Validate(); err != nil {
		return q, &capability.Malformed{Field: "credential", Cause: err.Error()}
	}
	var nonce hostid.Nonce
	if _, err := io.ReadFull(a.Rand, nonce[:]); err != nil {
		return q, fmt.Errorf("draw a nonce: %w", err)
	}
	var refused error
	err = a.Look(ctx, func(*ledger.Ledger, ledger.Now) { q, refused = a.challenge(c, nonce) })
	return q, errors.Join(err, refused)
}

func (a *Appliance) challenge(c hostid.Credential, nonce hostid.Nonce) (hostid.Challenge, error) {
	keys, why := a.watchful.keys, hostid.ToRenew
	w := keys[c.HostID()]
	if w == nil {
		for id, w := range keys {
			if len(keys) >= maxKeys && !w.Grants(a.moment()) {
				delete(keys, id)
			}
		}
		if len(keys) >= maxKeys {
			return hostid.Challenge{}, capability.Refuse(capability.ErrBusy, c.HostID().String(), "%d other security keys are here", len(keys))
		}
		var err error
		if w, err = hostid.NewWatch(c, a.Host, hostid.WatchRules{Every: keyEvery, Within: hostid.MaxWithin}, hostid.WatchState{}, a.moment()); err != nil {
			return hostid.Challenge{}, err
		}
		keys[c.HostID()], why = w, hostid.ToStart
	}
	q, err := w.Ask(a.moment(), why, nonce)
	a.provenUntil()
	return q, err
}

// Answer judges what a security key made of the last challenge to it; an empty answer says that it is not there. The verdict on the machine is durable when it answers.
// The error is a *capability.Refusal for an answer that proves nothing.
func (a *Appliance) Answer(ctx context.Context, key hostid.ID, answer hostid.Assertion) error {
	var refused error
	var c ledger.Command
	err := a.Look(ctx, func(*ledger.Ledger, ledger.Now) {
		w := a.watchful.keys[key]
		switch {
		case w == nil:
			refused = hostid.ErrUnasked
		case len(answer.AuthenticatorData)+len(answer.Signature) == 0:
			w.Removed(a.moment())
		default:
			refused = w.Answer(a.moment(), answer)
		}
		c = a.reproved()
	})
	if err == nil && c != nil {
		err = a.do(ctx, &call{command: c})
	}
	if err != nil || refused == nil {
		return err
	}
	a.Log.Warn("a security key proves nothing", "key", key.String(), "cause", refused.Error())
	return capability.Refuse(capability.ErrBinding, key.String(), "%s", refused)
}

// proven is every security key that is there.
func (a *Appliance) proven() (all []hostid.Finding) {
	for _, w := range a.watchful.keys {
		if f, there := w.Finding(a.moment()); there {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(x, y hostid.Finding) int { return cmp.Compare(x.ID.Value, y.ID.Value) })
	return all
}

// provenUntil notes when the first of them is missed, unless it answers before.
func (a *Appliance) provenUntil() {
	a.watchful.ends = 0
	for _, w := range a.watchful.keys {
		if ends := w.Ends().Sub(time.Unix(0, 0)); w.Grants(a.moment()) && (a.watchful.ends == 0 || ends < a.watchful.ends) {
			a.watchful.ends = ends
		}
	}
}

// reproved is the command that says of the machine what its security keys prove now, or nil where that is what the ledger has. Before anybody has told of the
// rest of the machine nothing is said.
func (a *Appliance) reproved() ledger.Command {
	a.provenUntil()
	v, proven := a.Ledger.Machine(a.now()), a.proven()
	is := func(s hostid.Shown) bool {
		return s.Proven || slices.ContainsFunc(proven, func(f hostid.Finding) bool { return f.ID == s.ID })
	}
	var shown, numbers []hostid.Shown
	for _, s := range v.Shown {
		switch {
		case !s.ID.Type.Dongle():
			shown = append(shown, s)
		case !is(s):
			numbers = append(numbers, s)
		}
	}
	if len(shown) == 0 {
		return nil
	}
	for _, f := range proven {
		shown = append(shown, hostid.Shown{ID: f.ID, Proven: true})
	}
	shown = append(shown, numbers[:min(len(numbers), maxKeys-len(proven))]...)
	if slices.Equal(shown, v.Shown) {
		return nil
	}
	return ledger.Recognize{Shown: shown, Platform: v.Platform}
}

// missed is the command that says what nobody tells any more, or nil.
func (a *Appliance) missed() ledger.Command {
	if c := a.silent(); c != nil {
		a.provenUntil()
		return c
	}
	if c := a.undoubted(); c != nil {
		return c
	}
	return a.reproved()
}
