package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

// What is metered is counted, not leased: a program says what was used, and nothing has to be renewed. The wire knows only how much a device has used in all, so
// that a report that arrives twice counts once; the directory of the device is where the programs' reports are added up.

// usage is how much of a metered feature this device has used in all.
type usage struct {
	Feature string             `cbor:"1,keyasint,omitzero"`
	Version capability.Version `cbor:"2,keyasint"`
	Count   uint32             `cbor:"3,keyasint,omitzero"`
}

// Usage is a report that was made.
type Usage struct {
	ID    capability.CorrelationID // for Undo
	Total uint32                   // of the feature that this device has used, with this report
}

// Report says that n more of a metered feature was used; below zero, that so many may be used again, where the producer allows that. ErrNoSeat: it would be more than
// there is, and nothing was counted. Where the error is ErrServerUnreachable and the usage has an ID, the report is on its way and counts; without an ID nothing was sent.
func (c *Client) Report(ctx context.Context, feature string, n int64) (Usage, error) {
	f, err := capability.ParseFeature(feature)
	if err != nil {
		return Usage{}, fmt.Errorf("feature %q: %w", feature, err)
	}
	if n == 0 || max(n, -n) > capability.MaxCount {
		return Usage{}, fmt.Errorf("count %d where 1 to %d are allowed, or as much less", n, capability.MaxCount)
	}
	var u Usage
	var unheard error
	err = c.converse(ctx, func(ctx context.Context, s *state) error {
		before, err := c.used(ctx, s, f)
		if err != nil {
			return err
		}
		total := int64(before) + n
		if total < 0 || total > capability.MaxCount {
			return fmt.Errorf("%d of %s beside the %d that this device has used, where 0 to %d are allowed", n, f.Name, before, capability.MaxCount)
		}
		r, _ := c.request(capability.Report, s, false)
		r.Desired = []capability.Desired{{Feature: f.Name, Version: f.Version, Count: uint32(total)}}
		resp, err := c.ask(ctx, s, r)
		if sent := c.unanswered(s, r.Correlation); err != nil && sent {
			u, unheard = Usage{r.Correlation, uint32(total)}, err
			s.use(f, uint32(total))
			return nil // what was used stays used
		}
		if err != nil {
			return err
		}
		if _, err := lineOf(resp, r.Desired, f); err != nil {
			return err
		}
		s.use(f, uint32(total))
		u = Usage{r.Correlation, uint32(total)}
		return nil
	})
	return u, errors.Join(err, unheard)
}

// Undo takes one report back while its undo interval runs. ErrUndo: there is none with this ID, or not any more.
func (c *Client) Undo(ctx context.Context, report capability.CorrelationID) error {
	return c.converse(ctx, func(ctx context.Context, s *state) error {
		r, _ := c.request(capability.Undo, s, false)
		r.Desired, r.Undoes = nil, report
		resp, err := c.ask(ctx, s, r)
		if err == nil && resp.Status == capability.StatusDenied {
			err = denied(firstDenial(resp))
		}
		return err
	})
}

// used is how much of a metered feature this device has used. Where it does not know it asks: a report about nothing is answered with all that is held.
func (c *Client) used(ctx context.Context, s *state, f capability.Feature) (uint32, error) {
	if i := slices.IndexFunc(s.Metered, func(u usage) bool { return u.Feature == f.Name }); i >= 0 && !s.pending() {
		return s.Metered[i].Count, nil
	}
	r, _ := c.request(capability.Report, s, false)
	r.Desired = nil
	resp, err := c.ask(ctx, s, r)
	if err != nil {
		return 0, err
	}
	if resp.Status == capability.StatusDenied {
		return 0, denied(firstDenial(resp))
	}
	return uint32(min(total(resp, capability.Feature{Name: f.Name}), capability.MaxCount)), nil
}

// unanswered says whether a request went out and was not answered.
func (c *Client) unanswered(s *state, id capability.CorrelationID) bool {
	for i := range s.Peers {
		if q := c.pending(&s.Peers[i]); q != nil && q.Correlation == id {
			return true
		}
	}
	return false
}

func (s *state) pending() bool {
	return slices.ContainsFunc(s.Peers, func(p peer) bool { return len(p.Pending) > 0 })
}

// use notes what was used of a feature in all.
func (s *state) use(f capability.Feature, count uint32) {
	s.Metered = slices.DeleteFunc(s.Metered, func(u usage) bool { return u.Feature == f.Name })
	if count > 0 {
		s.Metered = append(s.Metered, usage{f.Name, f.Version, count})
	}
}

// meter takes what was used from the newest answer.
func (s *state) meter(kept *capability.Response) {
	if kept == nil {
		s.Metered = nil
		return
	}
	for i := range s.Metered {
		u := &s.Metered[i]
		u.Count = uint32(min(total(kept, capability.Feature{Name: u.Feature}), capability.MaxCount))
	}
	s.Metered = slices.DeleteFunc(s.Metered, func(u usage) bool { return u.Count == 0 })
}
