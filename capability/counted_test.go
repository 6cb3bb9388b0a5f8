package capability

import "testing"

func TestCounted(t *testing.T) {
	for _, c := range []struct {
		n          int
		noun, want string
	}{
		{0, "copy", "0 copies"}, {1, "copy", "1 copy"}, {2, "copy", "2 copies"},
		{0, "day", "0 days"}, {1, "day", "1 day"}, {2, "day", "2 days"}, {2, "key", "2 keys"}, {2, "entry", "2 entries"},
		{0, "seat", "0 seats"}, {1, "line item", "1 line item"}, {40, "line item", "40 line items"},
	} {
		if got := Counted(c.n, c.noun); got != c.want {
			t.Errorf("%d of %q: %q, not %q", c.n, c.noun, got, c.want)
		}
	}
	if got := Counted(uint64(1<<63), "byte"); got != "9223372036854775808 bytes" {
		t.Error(got)
	}
}
