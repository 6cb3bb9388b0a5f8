package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// The bounds of a form.
const (
	MaxForm   = 1 << 20  // bytes of a form without its files
	maxNames  = 10_000   // values of it
	maxFiles  = 64       // in one form
	MaxUpload = 16 << 20 // bytes of all of them
)

// Sent is a form that was refused, so that its page can show it again as it was. Views embed it, and templates ask it for the values of their fields.
type Sent struct {
	Refused error
	Action  string // the path that it was sent to
	Filled  url.Values
}

// Typed is what a field of a form has in it: what was typed when it was refused, else what it has otherwise.
func (s Sent) Typed(form, field, otherwise string) string {
	if s.Action != form {
		return otherwise
	}
	return s.Filled.Get(field)
}

// Chosen says whether a field of a form has that value, for what is chosen from a list or checked.
func (s Sent) Chosen(form, field, value string, otherwise bool) bool {
	if s.Action != form {
		return otherwise
	}
	return s.Filled.Get(field) == value
}

// Once is the name of the field by which a form that is sent twice counts once.
const Once = "once"

// NewOnce is a value of that field.
func NewOnce() string { return rand.Text() }

// Secret says that a password or a code is in a field: that goes into no digest that is kept.
func Secret(field string) bool {
	return field == "again" || field == "code" || strings.HasPrefix(field, "password")
}

// Asked is the digest of who asks for what with a form that was read.
func Asked(who string, r *http.Request) capability.Digest {
	h := sha256.New()
	said := func(text string) { fmt.Fprintf(h, "%d:%s", len(text), text) }
	said(who)
	said(r.URL.RequestURI())
	names := make([]string, 0, len(r.PostForm))
	for name := range r.PostForm {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == Once || Secret(name) {
			continue
		}
		said(name)
		for _, value := range r.PostForm[name] {
			said(value)
		}
	}
	return capability.Digest(h.Sum(nil))
}

// ReadForm reads a form without files. What is wrong with it is the sender's fault: the error is a *capability.Refusal.
func ReadForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	r.Body = http.MaxBytesReader(w, r.Body, MaxForm)
	if err := r.ParseForm(); err != nil {
		return nil, Unread(err)
	}
	return values(r)
}

// Unread refuses a form that could not be read: for what it is, or because there is no room for it now.
func Unread(err error) error {
	if errors.Is(err, ErrRoom) {
		return capability.Refuse(capability.ErrThrottled, "", "%v", err)
	}
	return capability.Refuse(capability.ErrForm, "", "%v", err)
}

func values(r *http.Request) (url.Values, error) {
	n := 0
	for _, list := range r.PostForm {
		n += len(list)
	}
	if n > maxNames {
		return nil, capability.Refuse(capability.ErrForm, "", "%d values", n)
	}
	return r.PostForm, nil
}

// Upload is a file that came with a form.
type Upload struct {
	Field, Name string // Name is the sender's word, for people; it leads nowhere
	Content     []byte
}

// ReadUploads reads a form with files. The files count for what was asked by their digests; a form without any is read as well. The error is a *capability.Refusal.
func ReadUploads(w http.ResponseWriter, r *http.Request) (url.Values, []Upload, error) {
	r.Body = http.MaxBytesReader(w, r.Body, MaxUpload+MaxForm)
	in, err := r.MultipartReader()
	if errors.Is(err, http.ErrNotMultipart) {
		form, err := ReadForm(w, r)
		return form, nil, err
	}
	if err != nil {
		return nil, nil, Unread(err)
	}
	form, files, room := url.Values{}, []Upload(nil), MaxForm
	for {
		part, err := in.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, Unread(err)
		}
		limit := room
		if part.FileName() != "" {
			limit = capability.MaxFile
		}
		b, err := readPart(part, limit)
		if err != nil {
			return nil, nil, Unread(err)
		}
		switch name := part.FormName(); {
		case part.FileName() == "":
			room -= len(b)
			form.Add(name, string(b))
		case len(files) == maxFiles:
			return nil, nil, capability.Refuse(capability.ErrForm, name, "more than %d files", maxFiles)
		default:
			sum := sha256.Sum256(b)
			files = append(files, Upload{name, part.FileName(), b})
			form.Add(name, hex.EncodeToString(sum[:]))
		}
	}
	r.PostForm = form
	form, err = values(r)
	return form, files, err
}

func readPart(part *multipart.Part, limit int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(part, int64(limit)+1))
	if err == nil && len(b) > limit {
		return nil, errors.New("it has more than " + strconv.Itoa(limit) + " bytes")
	}
	return b, err
}
