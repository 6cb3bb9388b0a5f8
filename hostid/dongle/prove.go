package dongle

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/hostid"
)

// maxAsked is how many keys Prove asks. Nobody plugs in more, and each costs a goroutine.
const maxAsked = 16

// Prove asks the security keys that are plugged in for the answer to a challenge, all at once, so that one that is slow or hostile keeps no other from
// answering. The first answer with the right signature wins; whoever drew the nonce judges it again, and its counter. Without one the error is ErrGone where
// none is plugged in, ErrOtherKey where all are others, or else what kept one from answering. open is Open.
func Prove(ctx context.Context, devices []Device, open func(Device) (*Key, error), c hostid.Credential, challenge hostid.Challenge) (hostid.Assertion, error) {
	ctx, end := silent(ctx)
	defer end() // and with it all that still wait
	devices = slices.DeleteFunc(slices.Clone(devices), func(d Device) bool { return d.Flaw != "" })
	alike := func(d Device) int {
		if d.Vendor == c.Vendor && d.Product == c.Product && d.Serial == c.Serial {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(devices, func(a, b Device) int { return alike(a) - alike(b) })
	devices = devices[:min(len(devices), maxAsked)]

	type outcome struct {
		assertion hostid.Assertion
		err       error
	}
	outcomes := make(chan outcome, len(devices))
	for _, d := range devices {
		go func() {
			a, err := proveWith(ctx, d, open, c, challenge)
			outcomes <- outcome{a, err}
		}()
	}
	worst := fmt.Errorf("prove a security key: %w", ErrGone)
	for range devices {
		select {
		case <-ctx.Done(): // a device in which the kernel is stuck does not hear it
			return hostid.Assertion{}, fmt.Errorf("prove a security key: %w", named(ctx.Err()))
		case o := <-outcomes:
			if o.err == nil {
				return o.assertion, nil
			}
			if weight(o.err) > weight(worst) {
				worst = o.err
			}
		}
	}
	return hostid.Assertion{}, worst
}

// weight is how much an error says about why nobody answered.
func weight(err error) int {
	switch {
	case errors.Is(err, ErrGone):
		return 0
	case errors.Is(err, ErrOtherKey):
		return 1
	}
	return 2
}

func proveWith(ctx context.Context, d Device, open func(Device) (*Key, error), c hostid.Credential, challenge hostid.Challenge) (a hostid.Assertion, err error) {
	k, err := open(d)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	a, err = k.Prove(ctx, c, challenge)
	if err == nil {
		_, err = judged(c, challenge, a, 0)
	}
	if errors.Is(err, hostid.ErrCopyable) {
		return a, nil // the key itself said it, and that is an alarm for the judge
	}
	return a, err
}

// judged is hostid's verdict in the errors of this package.
func judged(c hostid.Credential, challenge hostid.Challenge, a hostid.Assertion, last uint32) (counter uint32, err error) {
	counter, err = c.Verify(challenge, a, last)
	switch {
	case errors.Is(err, hostid.ErrOtherAnswer):
		err = fmt.Errorf("%w: %w", ErrOtherKey, err)
	case errors.Is(err, hostid.ErrMalformedAnswer):
		err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return counter, err
}
