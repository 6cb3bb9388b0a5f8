package client

import (
	"fmt"
	"slices"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// anchor ties this machine's clock to the appliance's: at local, it was server there. Between answers the local clock's monotonic reading counts on,
// so neither a wrong clock here nor one that is set makes a lease longer or shorter.
type anchor struct {
	local  time.Time
	server capability.Time
}

func (a anchor) at(t capability.Time) time.Time {
	return a.local.Add(time.Duration(t-a.server) * time.Second)
}

// seenStep is how often the latest known time is written down, in seconds: often enough that a clock set back gains a minute, seldom enough to spare the disk.
const seenStep = 60

// drop casts the anchor where no answer has done it yet: from this machine's clock, but never before the kept answer was made or the latest time this device has seen.
func (c *Client) drop(s *state, kept *capability.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.anchor.local.IsZero() {
		return
	}
	now := c.options.Clock()
	c.anchor = anchor{now, max(capability.At(now), s.Seen)}
	if kept != nil {
		c.anchor.server = max(c.anchor.server, kept.Time)
	}
}

// now is the appliance's time as far as it is known.
func (c *Client) now() capability.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.anchor.server.Add(capability.Seconds(c.options.Clock().Sub(c.anchor.local) / time.Second))
}

// local is a moment of the appliance in this machine's time.
func (c *Client) local(t capability.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.anchor.at(t)
}

// covered is until when the rights of an answer give n counts of a feature at version v or above; zero if they never do.
func covered(r *capability.Response, name string, v capability.Version, n uint64) capability.Time {
	if r == nil {
		return 0
	}
	var fit []capability.Right
	for _, g := range r.Rights {
		if g.Feature == name && g.Version.Compare(v) >= 0 {
			fit = append(fit, g)
		}
	}
	slices.SortFunc(fit, func(a, b capability.Right) int { return int(b.Expiry - a.Expiry) })
	var sum uint64
	for _, g := range fit {
		if sum += uint64(g.Count); sum >= n {
			return g.Expiry
		}
	}
	return 0
}

// total is how many counts of a feature an answer gives.
func total(r *capability.Response, f capability.Feature) (n uint64) {
	for _, g := range r.Rights {
		if g.Feature == f.Name && g.Version.Compare(f.Version) >= 0 {
			n += uint64(g.Count)
		}
	}
	return n
}

// lasts says whether any right of an answer has not ended.
func lasts(r *capability.Response, now capability.Time) bool {
	return slices.ContainsFunc(r.Rights, func(g capability.Right) bool { return g.Expiry > now })
}

// denies says whether an answer has a denial of this code, for the whole or for a line.
func denies(r *capability.Response, code capability.Code) bool {
	return slices.ContainsFunc(r.Denials, func(d capability.Denial) bool { return d.Code == code }) ||
		slices.ContainsFunc(r.Lines, func(l capability.Line) bool { return l.Denial.Code == code })
}

// firstDenial is why an answer is a no as a whole.
func firstDenial(r *capability.Response) capability.Denial {
	for _, d := range r.Denials {
		return d
	}
	for _, l := range r.Lines {
		if l.Denial.Code != 0 {
			return l.Denial
		}
	}
	return capability.Denial{Code: capability.ErrProto, Detail: fmt.Sprintf("status %s without a reason", r.Status)}
}

// lineOf finds what an answer says of the line that holds a feature. Its refusal is an error.
func lineOf(r *capability.Response, lines []capability.Desired, f capability.Feature) (capability.Line, error) {
	if r.Status == capability.StatusDenied {
		return capability.Line{}, denied(firstDenial(r))
	}
	i := slices.IndexFunc(lines, func(d capability.Desired) bool { return d.Feature == f.Name && d.Version == f.Version })
	if i < 0 || len(r.Lines) != len(lines) {
		return capability.Line{}, denied(capability.Denial{Code: capability.ErrProto, Detail: fmt.Sprintf("%d lines in answer to %d", len(r.Lines), len(lines))})
	}
	line := r.Lines[i]
	if line.Status == capability.LineInsufficient {
		if line.Denial.Code == 0 {
			line.Denial = firstDenial(r)
		}
		return line, denied(line.Denial)
	}
	return line, nil
}
