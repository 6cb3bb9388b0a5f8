package client

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A file system that keeps times in steps shows another time of the same file once it was mounted again; on others a nanosecond tells a copy.
func TestBirthInSteps(t *testing.T) {
	const made int64 = 1_800_000_001_234_567_891
	for _, x := range []struct {
		magic uint32
		shown int64
		same  bool
	}{
		{unix.EXT4_SUPER_MAGIC, made, true}, {unix.EXT4_SUPER_MAGIC, made + 1, false}, {unix.EXT4_SUPER_MAGIC, made - 1e8, false},
		{unix.EXFAT_SUPER_MAGIC, made / 1e7 * 1e7, true}, {unix.EXFAT_SUPER_MAGIC, made / 2e9 * 2e9, true}, {unix.EXFAT_SUPER_MAGIC, made + 2e9, false},
		{unix.MSDOS_SUPER_MAGIC, made / 2e9 * 2e9, true}, {0x7366746e, made / 100 * 100, true}, {0x7366746e, made + 100, false},
	} {
		if same := (born{x.shown, grainOf(x.magic)}).is(made); same != x.same {
			t.Errorf("%#x: made at %d and shown as %d is the same: %t", x.magic, int64(made), x.shown, same)
		}
	}
}
