package portal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// typed is a form that was refused, so that its page can show it again as it was. Views embed it, and templates ask it for the values of their fields.
type typed struct {
	refused error
	form    string // the path it was sent to
	values  url.Values
}

// Typed is what a field of a form has in it: what was typed when it was refused, else what it has otherwise.
func (t typed) Typed(form, field, otherwise string) string {
	if t.form != form {
		return otherwise
	}
	return t.values.Get(field)
}

// Chosen says whether a field of a form has that value, for what is chosen from a list or checked.
func (t typed) Chosen(form, field, value string, otherwise bool) bool {
	if t.form != form {
		return otherwise
	}
	return t.values.Get(field) == value
}

// again shows the page of a form that was refused, with the reason above it and what was typed still in it. What has no page to go back to is shown by itself.
func (v *visit) again(err error, page func(*visit) error) error {
	if code, _ := refusalOf(err); err == nil || code == capability.ErrNotFound || code == capability.ErrPermission || errors.Is(err, errSignInFirst) {
		return err
	}
	v.typed = typed{err, v.r.URL.Path, v.r.PostForm}
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

// The bounds of a form with files.
const (
	maxFiles  = 64
	maxUpload = 16 << 20 // bytes of all of them
)

// upload is a file that came with a form.
type upload struct {
	field, name string // name is the sender's word, for people; it leads nowhere
	content     []byte
}

// uploads reads a form with files. The files count for what was asked by their digests; a form without any is read as well.
func (v *visit) uploads() (url.Values, []upload, error) {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxUpload+maxForm)
	in, err := v.r.MultipartReader()
	if errors.Is(err, http.ErrNotMultipart) {
		form, err := v.form()
		return form, nil, err
	}
	malformed := func(err error) (url.Values, []upload, error) {
		return nil, nil, unread(err)
	}
	if err != nil {
		return malformed(err)
	}
	form, files, room := url.Values{}, []upload(nil), maxForm
	for {
		part, err := in.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return malformed(err)
		}
		limit := room
		if part.FileName() != "" {
			limit = capability.MaxFile
		}
		b, err := readPart(part, limit)
		if err != nil {
			return malformed(err)
		}
		switch name := part.FormName(); {
		case part.FileName() == "":
			room -= len(b)
			form.Add(name, string(b))
		case len(files) == maxFiles:
			return nil, nil, capability.Refuse(capability.ErrForm, name, "more than %d files", maxFiles)
		default:
			sum := sha256.Sum256(b)
			files = append(files, upload{name, part.FileName(), b})
			form.Add(name, hex.EncodeToString(sum[:]))
		}
	}
	v.r.PostForm = form
	form, err = v.values()
	return form, files, err
}

func readPart(part *multipart.Part, limit int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(part, int64(limit)+1))
	if err == nil && len(b) > limit {
		return nil, errors.New("it has more than " + strconv.Itoa(limit) + " bytes")
	}
	return b, err
}
