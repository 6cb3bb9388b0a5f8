package client

import (
	"time"

	"golang.org/x/sys/unix"
)

// suspended is how long this machine has slept since it was started: what CLOCK_BOOTTIME counts and CLOCK_MONOTONIC, which Go's clock and timers follow, does not.
func suspended() time.Duration {
	var boot, awake unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &awake) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - awake.Nano())
}
