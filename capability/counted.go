package capability

import (
	"fmt"
	"strings"
)

// Counted is a number of something in English: 0 copies, 1 copy, 2 copies. The noun is in the singular, and regular.
func Counted[N int | int64 | uint16 | uint32 | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, y := strings.CutSuffix(noun, "y"); y && !strings.ContainsAny(stem[max(len(stem)-1, 0):], "aeou") {
		return fmt.Sprintf("%d %sies", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
