package web

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// A form that is sent when its session has ended is not lost: the page that asks to sign in carries it along, and afterwards its own page has what was typed again. Nothing is done with it until somebody who
// is signed in sends it. Files, passwords and codes are not carried.

// MaxKept is how much of a form is carried, in bytes as it is sent; a session holds it until the next page.
const MaxKept = 64 << 10

// KeptForm is a form that waits until somebody has signed in.
type KeptForm struct {
	Page   string // where it is filled in
	Path   string // where it is sent to
	Values url.Values
}

func (k KeptForm) String() string {
	return url.Values{"page": {k.Page}, "path": {k.Path}, "form": {k.Values.Encode()}}.Encode()
}

// ParseKept reads what String wrote. It has been with the browser: its page is one of this server, or there is none.
func ParseKept(text string) (k KeptForm, ok bool) {
	if text == "" || len(text) > MaxKept {
		return k, false
	}
	all, err := url.ParseQuery(text)
	if err != nil {
		return k, false
	}
	k.Page, k.Path = all.Get("page"), all.Get("path")
	k.Values, err = url.ParseQuery(all.Get("form"))
	return k, err == nil && k.Page == Local(k.Page) && k.Path == Local(k.Path) && len(k.Values) > 0
}

// Interrupted is the form that was sent now, as far as it can be carried; else there is none. The pages are those of a multiplexer.
func Interrupted(w http.ResponseWriter, r *http.Request, pages *http.ServeMux) (KeptForm, bool) {
	form, err := ReadForm(w, r)
	if err != nil {
		return KeptForm{}, false
	}
	k := KeptForm{formPage(r, pages), r.URL.Path, url.Values{}}
	for name, list := range form {
		if name != Once && !Secret(name) {
			k.Values[name] = list
		}
	}
	return ParseKept(k.String())
}

// formPage is the page that a form came from, as browsers say of pages of the same site. A form that was refused is shown where it was sent to; then the page above that path is its own.
func formPage(r *http.Request, pages *http.ServeMux) string {
	from, err := url.Parse(r.Referer())
	if err != nil || from.Host != r.Host {
		return "/"
	}
	for at, query := from.Path, from.RawQuery; at != "/" && at != "."; at, query = path.Dir(at), "" {
		_, pattern := pages.Handler(&http.Request{Method: http.MethodGet, Host: r.Host, URL: &url.URL{Path: at}})
		if strings.HasPrefix(pattern, "GET ") {
			return Local((&url.URL{Path: at, RawQuery: query}).String())
		}
	}
	return "/"
}

// Local is a path of this server, whatever was asked for.
func Local(to string) string {
	// Browsers leave out control characters and read a backslash as a slash, so that a path with them may become another host's.
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, `\`) ||
		strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "/"
	}
	return to
}
