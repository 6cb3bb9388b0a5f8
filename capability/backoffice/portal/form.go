package portal

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

// again shows the page of a form that was refused, with the reason above it and what was typed still in it. What has no page to go back to is shown by itself.
func (v *visit) again(err error, page func(*visit) error) error {
	if code, _ := refusalOf(err); err == nil || code == capability.ErrNotFound || code == capability.ErrPermission || errors.Is(err, errSignInFirst) {
		return err
	}
	v.Sent = web.Sent{Refused: err, Action: v.r.URL.Path, Filled: v.r.PostForm}
	return page(v)
}

func refusalOf(err error) (capability.Code, bool) {
	r := (*capability.Refusal)(nil)
	if errors.As(err, &r) {
		return r.Code, true
	}
	return 0, false
}

// field refuses a form for one of its fields.
func field(name string, err error) error {
	return capability.Refuse(capability.ErrForm, name, "%v", err)
}

// parsed is a field of a form as parse reads it; an empty one is the zero value.
func parsed[T any](form url.Values, name string, parse func(string) (T, error)) (value T, err error) {
	text := strings.TrimSpace(form.Get(name))
	if text == "" {
		return value, nil
	}
	if value, err = parse(text); err != nil {
		return value, field(name, err)
	}
	return value, nil
}

// count is a field with a number of copies.
func count(form url.Values, name string) (uint32, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(form.Get(name)), 10, 32)
	if err != nil || n > capability.MaxCount {
		return 0, capability.Refuse(capability.ErrForm, name, "%q is no number from 0 to %d", form.Get(name), capability.MaxCount)
	}
	return uint32(n), nil
}

// day reads a date, as the last second of it if it ends something.
func day(end bool) func(string) (capability.Time, error) {
	return func(s string) (capability.Time, error) { return capability.ParseDate(s, end) }
}

// userID is the user of an account that two fields name.
func userID(form url.Values) entitlement.UserID {
	return entitlement.UserID{Account: strings.TrimSpace(form.Get("account")), Name: strings.TrimSpace(form.Get("user"))}
}
