package storagetest

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// Names under which a soak test reports. cmd/internal/soak reads them.
const (
	attrAsked  = "soak-asked"  // cases of the whole size
	attrSize   = "soak-size"   // cases of this run
	attrTried  = "soak-tried"  // cases that were run
	attrFailed = "soak-failed" // of them
)

// Size is how many cases a soak test tries: short in an ordinary run; where SOAK says so nightly or release, times SOAK_SCALE, a
// fraction as "1/10", but never fewer than short.
func Size(t testing.TB, short, nightly, release int) int {
	t.Helper()
	mode := os.Getenv("SOAK")
	asked := nightly
	switch {
	case mode == "release" || mode == "" && os.Getenv("RELEASE") == "1":
		asked = release
	case mode != "" && mode != "nightly":
		t.Fatalf("SOAK is %q: want nightly or release", mode)
	}
	over, under, err := fraction(os.Getenv("SOAK_SCALE"))
	if err != nil {
		t.Fatalf("SOAK_SCALE: %v", err)
	}
	n := short
	if mode != "" {
		n = max(short, int(int64(asked)*over/under))
	}
	t.Attr(attrAsked, strconv.Itoa(asked))
	t.Attr(attrSize, strconv.Itoa(n))
	return n
}

// fraction reads "A/B", both 1 to 1,000,000 and A at most B; nothing is 1/1.
func fraction(s string) (over, under int64, err error) {
	if s == "" {
		return 1, 1, nil
	}
	if n, err := fmt.Sscanf(s+"\n", "%d/%d\n", &over, &under); n != 2 || err != nil || over < 1 || under < over || under > 1_000_000 {
		return 0, 0, fmt.Errorf("%q: want a fraction as 1/10", s)
	}
	return over, under, nil
}

// Tried reports what a soak test did, and fails it where a case failed or none was run. It may be called again with the figures so
// far: the last call counts, also for a test that ends in the middle.
func Tried(t testing.TB, tried, failed int) {
	t.Helper()
	t.Attr(attrTried, strconv.Itoa(tried))
	t.Attr(attrFailed, strconv.Itoa(failed))
	if tried == 0 {
		t.Errorf("nothing was tried")
	}
	if failed > 0 {
		t.Errorf("%d of %d failed", failed, tried)
	}
}
