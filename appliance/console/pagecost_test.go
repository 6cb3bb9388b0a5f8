package console

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// manyFeatures are so many of them.
func manyFeatures(t *testing.T, n int) (list []capability.LineItem) {
	t.Helper()
	for i := range n {
		list = append(list, capability.LineItem{
			ActivationID: activation(t, i+10), Feature: fmt.Sprintf("feature-%05d", i), Version: capability.Version{Major: 2026, Minor: uint32(i % 7)}, Count: uint32(i%90 + 1), Copies: 1,
			Product: fmt.Sprintf("Product %d", i%50), ProductVersion: capability.Version{Major: 2026}, EntitlementID: fmt.Sprintf("ENT-%d", i/10),
		})
	}
	return list
}

// The bounds are medians on an idle machine; a busy one is given so many times as long.
const (
	pageBound = 50 * time.Millisecond
	busyTimes = 6
	pageTries = 9
)

// within has f done some times, and says what it takes at the median.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	var took []time.Duration
	for range pageTries {
		began := time.Now()
		f()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	median := took[pageTries/2]
	t.Logf("%s: %s", what, median.Round(100*time.Microsecond))
	if median > busyTimes*pageBound {
		t.Errorf("%s takes %s where %s are meant", what, median, pageBound)
	}
}

// As many features as an appliance can have are listed and searched over TLS. The times are printed.
func TestManyFeatures(t *testing.T) {
	b := newPages(t, manyFeatures(t, capability.MaxItems-1)...).signedIn("viewer")
	for _, path := range []string{"/features", "/features?q=ature-0123", "/features/details", "/features/details?q=ature-0123", "/features/details?sort=expiry&page=80", "/overview", "/pools"} {
		within(t, path, func() { b.page(path) })
	}
}

// tenThousand are more features than an appliance can have, of which every hundredth renders.
func tenThousand(t *testing.T) (rows []Feature) {
	t.Helper()
	for n, i := range manyFeatures(t, 10_000) {
		if n%100 == 0 {
			i.Feature = fmt.Sprintf("render-%05d", n)
		}
		rows = append(rows, Feature{LineItem: i, Total: uint64(i.Count), Available: uint64(i.Count), Status: "valid"})
	}
	return rows
}

// list answers with the page that lists these features.
func (s *site) list(rows []Feature) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{site: s, w: w, r: r}
		v.view = v.readViews()
		table := tableOf(v, "/features/details", rows, detailColumns(), "")
		if err := s.pages.Write(w, http.StatusOK, "list", shown{Title: "Features", View: listPage{Table: table}}); err != nil {
			panic(err)
		}
	}
}

// Ten thousand rows are searched, sorted and written. The times are printed.
func TestManyRows(t *testing.T) {
	s, err := newPages(t).c.site()
	if err != nil {
		t.Fatal(err)
	}
	list := s.list(tenThousand(t))
	for _, query := range []string{"", "?q=rend", "?q=ature-0123", "?sort=product&order=descending", "?in-product=7&q=9"} {
		within(t, "10,000 rows"+query, func() {
			list(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/features/details"+query, nil))
		})
	}
}
