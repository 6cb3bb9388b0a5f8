package capability

import (
	"fmt"
	"time"
)

// Time is a moment in whole seconds since 1970-01-01 UTC, without leap seconds. Zero means "none": permanent as an expiry, at once as a start.
type Time int64

// Seconds is a length of time.
type Seconds int64

// At is the moment of t, rounded down.
func At(t time.Time) Time { return Time(t.Unix()) }

// Add is the moment d later.
func (t Time) Add(d Seconds) Time { return t + Time(d) }

// Std is the same moment in the standard library's form, in UTC.
func (t Time) Std() time.Time { return time.Unix(int64(t), 0).UTC() }

// String is RFC 3339 in UTC, or "none".
func (t Time) String() string {
	if t == 0 {
		return "none"
	}
	return t.Std().Format(time.RFC3339)
}

// Duration is the same length in the standard library's form.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

func (s Seconds) String() string { return s.Duration().String() }

// ParseDate reads 2027-03-31, as the last second of that day in UTC when end is set and its first otherwise, or a whole RFC 3339 moment.
func ParseDate(s string, end bool) (Time, error) {
	if d, err := time.Parse(time.DateOnly, s); err == nil {
		if end {
			d = d.Add(24*time.Hour - time.Second)
		}
		return At(d), nil
	}
	d, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a date like 2027-03-31 nor a moment like 2027-03-31T17:00:00Z", s)
	}
	return At(d), nil
}
