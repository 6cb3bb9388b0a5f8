package console

import (
	"context"
	"net/http"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

func (c *Console) time(r *http.Request) (any, error) {
	return c.clock(r.Context())
}

func (c *Console) clock(ctx context.Context) (*Clock, error) {
	read, err := c.Appliance.Clock(ctx)
	if err != nil {
		return nil, err
	}
	return clockOf(read), nil
}

func clockOf(r ledger.Reading) *Clock {
	return &Clock{State: r.Clock.State.String(), Trusted: r.Now.Wall, System: r.Raw, Correction: r.Clock.Correction, Behind: r.Behind()}
}

func (c *Console) setTime(r *http.Request, by string) (any, error) {
	var form ClockForm
	if err := decode(r, &form); err != nil {
		return nil, err
	}
	return c.stateTime(r.Context(), form.Time, by)
}

// stateTime says what time it is; zero: the system clock is right.
func (c *Console) stateTime(ctx context.Context, t capability.Time, by string) (*Clock, error) {
	if t < 0 {
		return nil, &capability.Malformed{Field: "time", Cause: "before 1970"}
	}
	read, err := c.Appliance.SetTime(ctx, t, by)
	if err != nil {
		return nil, err
	}
	return clockOf(read), nil
}
