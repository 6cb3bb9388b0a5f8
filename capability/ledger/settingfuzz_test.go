package ledger

import "testing"

// FuzzSetting: what an administrator types for a setting is refused, or has one form, which is taken as it is.
func FuzzSetting(f *testing.F) {
	for n := range KnownSettings() {
		for _, s := range []string{"", "0", "15m", "7d", "900", "-1s", "9223372036854775807", "2147483647d", "+5", "true", "text", "\x00", "1h30m"} {
			f.Add(uint8(n), s)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, value string) {
		k := KnownSettings()[int(n)%len(KnownSettings())]
		form, err := k.check(value)
		if err != nil {
			return
		}
		if again, err := k.check(form); err != nil || again != form {
			t.Fatalf("%s: %q is %q, and that is %q: %v", k.Name, value, form, again, err)
		}
	})
}
