package attest

import (
	"fmt"
	"time"
)

// Clock is a TPM's own time: how long it was powered, and how often it was not.
// Safe proves little on software TPMs: it turns yes seconds after a start although
// Elapsed may have gone back.
type Clock struct {
	Elapsed          time.Duration
	Resets, Restarts uint32
	Safe             bool
}

// Mark is a moment as trusted storage keeps it: what the wall clock and the TPM
// showed, and the latest wall time ever seen.
type Mark struct {
	Wall, Max time.Time
	Clock     Clock
}

// Verdict is what a later moment says about the clocks since a Mark.
type Verdict uint8

const (
	OK       Verdict = iota
	Unsafe           // the TPM's clock went back over a power cut: only Max could be checked
	WindBack         // the wall clock is behind the trusted floor
	Ahead            // the wall clock ran ahead of the TPM's within one power cycle
	Replaced         // another TPM, or a cleared one: its clock cannot be a later one
)

func (v Verdict) String() string {
	switch v {
	case OK:
		return "ok"
	case Unsafe:
		return "unsafe"
	case WindBack:
		return "wind-back"
	case Ahead:
		return "ahead"
	case Replaced:
		return "replaced"
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// Judge compares now and c with the mark. slack is how far clocks may honestly
// differ; a TPM's oscillator besides may be off by 15 percent.
func (m Mark) Judge(now time.Time, c Clock, slack time.Duration) Verdict {
	now, m.Wall, m.Max = now.Round(0), m.Wall.Round(0), m.Max.Round(0) // a monotonic reading would hide a wind-back
	then := m.Clock
	switch {
	case c.Resets < then.Resets,
		c.Resets == then.Resets && (c.Restarts < then.Restarts || c.Elapsed < then.Elapsed):
		return Replaced
	case now.Before(m.Max.Add(-slack)):
		return WindBack
	case c.Elapsed < then.Elapsed:
		return Unsafe
	}
	wall, ticked := now.Sub(m.Wall), c.Elapsed-then.Elapsed
	sameCycle := c.Resets == then.Resets && c.Restarts == then.Restarts
	switch {
	case wall < ticked/100*85-slack:
		return WindBack
	case sameCycle && wall-ticked-slack > ticked/100*15:
		return Ahead
	}
	return OK
}
