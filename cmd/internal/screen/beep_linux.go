package screen

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/cmd/internal/stick"
)

// note is a sound of a frequency, in Hz, or none, for a time.
type note struct {
	frequency int
	length    time.Duration
}

// notes are what a sound is made of.
func notes(s stick.Sound) []note {
	const short, long = 120 * time.Millisecond, 900 * time.Millisecond
	switch s {
	case stick.Written:
		return []note{{880, short}, {0, short}, {880, short}}
	case stick.Applied:
		return []note{{660, short}, {880, short}, {1175, 2 * short}}
	case stick.Failed:
		return []note{{220, long}}
	}
	return nil
}

// Beep sounds on the speaker of the console that a file is, or rings the terminal's bell where it is none: twice, three times, once.
func Beep(console *os.File, bell func()) func(stick.Sound) {
	const kiocsound = 0x4b2f // console_ioctl(2); the argument is in ticks of the PC's timer
	const timer = 1193180
	return func(s stick.Sound) {
		for _, n := range notes(s) {
			ticks := 0
			if n.frequency > 0 {
				ticks = timer / n.frequency
			}
			if err := unix.IoctlSetInt(int(console.Fd()), kiocsound, ticks); err != nil && n.frequency > 0 {
				bell()
			}
			<-time.After(n.length)
		}
		unix.IoctlSetInt(int(console.Fd()), kiocsound, 0)
	}
}
