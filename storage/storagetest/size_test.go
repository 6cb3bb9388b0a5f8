package storagetest_test

import (
	"fmt"
	"testing"

	"github.com/leasehold/leasehold/storage/storagetest"
)

// reporter is a test that keeps what it is told.
type reporter struct {
	testing.TB
	attrs  map[string]string
	failed bool
}

type gaveUp struct{}

func (r *reporter) Helper()               {}
func (r *reporter) Attr(key, v string)    { r.attrs[key] = v }
func (r *reporter) Errorf(string, ...any) { r.failed = true }
func (r *reporter) Fatalf(string, ...any) { r.failed = true; panic(gaveUp{}) }

func TestSize(t *testing.T) {
	for _, row := range []struct {
		soak, scale string
		want        int // 0: refused
		asked       string
	}{
		{"", "", 10, "1000"},
		{"", "1/2", 10, "1000"}, // an ordinary run is never smaller
		{"nightly", "", 1000, "1000"},
		{"nightly", "1/4", 250, "1000"},
		{"nightly", "1/1000", 10, "1000"},
		{"release", "", 50_000, "50000"},
		{"release", "3/100", 1500, "50000"},
		{"weekly", "", 0, ""},
		{"nightly", "0/4", 0, ""},
		{"nightly", "4/1", 0, ""},
		{"nightly", "1/10x", 0, ""},
		{"nightly", "-1/10", 0, ""},
		{"nightly", "0.1", 0, ""},
	} {
		t.Run(fmt.Sprintf("%s %s", row.soak, row.scale), func(t *testing.T) {
			t.Setenv("SOAK", row.soak)
			t.Setenv("SOAK_SCALE", row.scale)
			t.Setenv("RELEASE", "")
			r := &reporter{TB: t, attrs: map[string]string{}}
			got := func() int {
				defer func() { _ = recover() }()
				return storagetest.Size(r, 10, 1000, 50_000)
			}()
			if got != row.want || r.failed != (row.want == 0) || r.attrs["soak-asked"] != row.asked {
				t.Errorf("size is %d, failed %v, asked %s", got, r.failed, r.attrs["soak-asked"])
			}
		})
	}
}

func TestTried(t *testing.T) {
	for _, row := range []struct {
		tried, failed int
		fails         bool
	}{{5, 0, false}, {5, 1, true}, {0, 0, true}} {
		r := &reporter{TB: t, attrs: map[string]string{}}
		storagetest.Tried(r, row.tried, row.failed)
		if r.failed != row.fails || r.attrs["soak-tried"] != fmt.Sprint(row.tried) || r.attrs["soak-failed"] != fmt.Sprint(row.failed) {
			t.Errorf("%d tried, %d failed: fails %v, %v", row.tried, row.failed, r.failed, r.attrs)
		}
	}
}
