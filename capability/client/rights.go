package client

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
)

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

// lineOf finds what an answer says of the line that holds a feature: one of a higher version, where what was borrowed by a file stands for it. Its refusal is an error.
func lineOf(r *capability.Response, lines []capability.Desired, f capability.Feature) (capability.Line, error) {
	if r.Status == capability.StatusDenied {
		return capability.Line{}, denied(firstDenial(r))
	}
	i := slices.IndexFunc(lines, func(d capability.Desired) bool { return d.Feature == f.Name && d.Version == f.Version })
	if i < 0 {
		i = slices.IndexFunc(lines, func(d capability.Desired) bool { return d.Feature == f.Name && d.Version.Compare(f.Version) >= 0 })
	}
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
