package console

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// How somebody wants lists to be is kept in the browser, for each login apart: it is nobody else's business, and no entry of the ledger.

// views are what somebody has chosen: rows of a page, and the columns that are hidden, by the path of their list.
type views struct {
	size   int
	hidden map[string][]string
}

const (
	// defaultRows and MaxRows are the records of a page.
	defaultRows, maxRows = 50, 1000

	viewYears = 400 * 24 * 60 * 60 // seconds that a browser keeps it: as long as it keeps any
	maxViews  = 3 << 10            // bytes
)

func (v *visit) viewCookie() string {
	sum := sha256.Sum256([]byte(v.account()))
	return "__Host-views-" + hex.EncodeToString(sum[:8])
}

// readViews reads what the browser has kept. What cannot be is as if nothing was chosen.
func (v *visit) readViews() views {
	out := views{size: defaultRows, hidden: map[string][]string{}}
	c, err := v.r.Cookie(v.viewCookie())
	if err != nil || len(c.Value) > maxViews {
		return out
	}
	q, err := url.ParseQuery(c.Value)
	if err != nil {
		return out
	}
	if n, err := strconv.Atoi(q.Get("size")); err == nil && n >= 1 && n <= maxRows {
		out.size = n
	}
	for path, names := range q {
		if strings.HasPrefix(path, "/") {
			out.hidden[path] = names
		}
	}
	return out
}

// keepViews has the browser keep it.
func (v *visit) keepViews() {
	q := url.Values{"size": {strconv.Itoa(v.view.size)}}
	for path, names := range v.view.hidden {
		q[path] = names
	}
	http.SetCookie(v.w, &http.Cookie{Name: v.viewCookie(), Value: q.Encode(), Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: viewYears})
}

// pageSize is how many records a page has.
func (v *visit) pageSize() int { return v.view.size }

// columns are those of a list that are to be seen. All where nothing else would be left.
func (v *visit) columns(path string, all []string) []string {
	seen := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(v.view.hidden[path], name) })
	if len(seen) == 0 {
		return all
	}
	return seen
}
