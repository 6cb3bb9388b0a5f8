package portal

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// A form that is sent when its session has ended is not lost: the page that asks to sign in carries it along, and afterwards its own page has what was typed again. Nothing is done with it until somebody who
// is signed in sends it. Files, passwords and codes are not carried.

// maxKept is how much of a form is carried, in bytes as it is sent; a session holds it until the next page.
const maxKept = 64 << 10

// keptForm is a form that waits until somebody has signed in.
type keptForm struct {
	page   string // where it is filled in
	path   string // where it is sent to
	values url.Values
}

func (k keptForm) String() string {
	return url.Values{"page": {k.page}, "path": {k.path}, "form": {k.values.Encode()}}.Encode()
}

// parseKept reads what String wrote. It has been with the browser: its page is one of this portal, or there is none.
func parseKept(text string) (k keptForm, ok bool) {
	if text == "" || len(text) > maxKept {
		return k, false
	}
	all, err := url.ParseQuery(text)
	if err != nil {
		return k, false
	}
	k.page, k.path = all.Get("page"), all.Get("path")
	k.values, err = url.ParseQuery(all.Get("form"))
	return k, err == nil && k.page == local(k.page) && k.path == local(k.path) && len(k.values) > 0
}

// interrupted is the form that was sent now, as far as it can be carried; empty: there is nothing.
func (v *visit) interrupted() string {
	form, err := v.form()
	if err != nil {
		return ""
	}
	k := keptForm{v.formPage(), v.r.URL.Path, url.Values{}}
	for name, list := range form {
		if name != once && !secret(name) {
			k.values[name] = list
		}
	}
	text := k.String()
	if _, ok := parseKept(text); !ok {
		return ""
	}
	return text
}

// formPage is the page that a form came from, as browsers say of pages of the same site. A form that was refused is shown where it was sent to; then the page above that path is its own.
func (v *visit) formPage() string {
	from, err := url.Parse(v.r.Referer())
	if err != nil || from.Host != v.r.Host {
		return "/"
	}
	for at, query := from.Path, from.RawQuery; at != "/" && at != "."; at, query = path.Dir(at), "" {
		_, pattern := v.p.mux.Handler(&http.Request{Method: http.MethodGet, Host: v.r.Host, URL: &url.URL{Path: at}})
		if strings.HasPrefix(pattern, "GET ") {
			return local((&url.URL{Path: at, RawQuery: query}).String())
		}
	}
	return "/"
}

// onward is where the browser goes once somebody has signed in: to where it was going, or back to the form that was interrupted.
func (v *visit) onward(form url.Values) error {
	k, ok := parseKept(form.Get("kept"))
	if !ok {
		return v.goTo(local(form.Get("to")))
	}
	v.p.sessions.Put(v.r.Context(), "kept", k.String())
	v.say("You were signed out before this was saved. What was typed is still here: look it over, and save it again.")
	return v.goTo(k.page)
}

// resume puts the form that was interrupted back into its page.
func (v *visit) resume() {
	if v.r.Method != http.MethodGet || v.login.Name == "" {
		return
	}
	if k, ok := parseKept(v.p.sessions.Take(v.r.Context(), "kept")); ok && k.page == v.r.URL.RequestURI() {
		v.typed = typed{form: k.path, values: k.values}
	}
}
