package portal

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// operation is one thing that a program can ask for: a line of the table.
type operation struct {
	id, method, path string
	gate             gate
	staff            bool // nobody of a customer may use it, whatever the permission
	summary          string
	kind             string       // of the bytes that it answers with; empty: a value
	answers          reflect.Type // of the value
	most             int64        // bytes of its body; zero: maxRestForm
	add              func(huma.API, huma.Operation)
}

// operations are all of them. A test asks each with every role, of the own account and of another's.
func (p *Portal) operations() []operation {
	return slices.Concat(p.restPlain(), p.restCatalog(), p.restItems(), p.restSeats(), p.restUsers(), p.restDevices(), p.restRequests(), p.restReports())
}

// ofStaff is an operation that nobody of a customer may use.
func ofStaff(op operation) operation {
	op.staff = true
	return op
}

func (op *operation) tag() string {
	first, _, _ := strings.Cut(strings.TrimPrefix(op.path, "/"), "/")
	return first
}

func (op *operation) limit() int64 {
	if op.most > 0 {
		return op.most
	}
	return maxRestForm
}

// needs says who may.
func (op *operation) needs() string {
	switch {
	case op.gate == signedIn:
		return "Any token may."
	case op.staff:
		return fmt.Sprintf("A token of the producer's staff may whose login has the permission %q.", entitlement.Permission(op.gate))
	}
	return fmt.Sprintf("A token may whose login has the permission %q, within its account.", entitlement.Permission(op.gate))
}

// refusals are the statuses that an operation may end with instead of its answer.
func (op *operation) refusals() []int {
	list := []int{http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable}
	if op.gate != anyone {
		list = append(list, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound)
	}
	if op.method == http.MethodPost {
		list = append(list, http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	return list
}

func refusalWords(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "the body is missing or is not what its kind says"
	case http.StatusUnauthorized:
		return "no token, or one that opens nothing"
	case http.StatusForbidden:
		return "the login's roles do not allow it"
	case http.StatusNotFound:
		return "not there, or another account's"
	case http.StatusConflict:
		return "the book does not allow it, or the key was used for another body"
	case http.StatusRequestEntityTooLarge:
		return "the body is too large"
	case http.StatusUnsupportedMediaType:
		return "the body is of a kind that is not taken here"
	case http.StatusUnprocessableEntity:
		return "a field or a parameter is not known or not right, or a file is none; the detail names it"
	case http.StatusTooManyRequests:
		return "too many requests, or too many tokens that were none"
	case http.StatusServiceUnavailable:
		return "not now; try again"
	}
	return "broken here; the log has why"
}

// value is an answer that was written down while it was in the office's turn: what is in it may be the book's own.
type value struct{ Body json.RawMessage }

// bytesOf is an answer of bytes.
type bytesOf struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func newOperation(id, pattern string, g gate, summary string) operation {
	method, path, _ := strings.Cut(pattern, " ")
	return operation{id: id, method: method, path: path, gate: g, summary: summary}
}

// ask is an operation that is done in one turn of the office. A POST counts once under its key.
func ask[I, O any](id, pattern string, g gate, summary string, do func(c *call, o *backoffice.Office, in *I) (O, error)) operation {
	op := newOperation(id, pattern, g, summary)
	turn := (*call).act
	if op.method == http.MethodGet {
		turn = func(c *call, f func(*backoffice.Office) error) error { return c.office(f) }
	}
	op.answers = reflect.TypeFor[O]()
	op.add = register(func(c *call, in *I) (*value, error) {
		var v value
		err := turn(c, func(o *backoffice.Office) error {
			out, err := do(c, o, in)
			if err == nil {
				v.Body, err = json.Marshal(out)
			}
			return err
		})
		return &v, err
	})
	return op
}

// askSlowly is an operation that asks the office for its turns itself. What it answers with is its own.
func askSlowly[I, O any](id, pattern string, g gate, summary string, do func(c *call, in *I) (O, error)) operation {
	op := newOperation(id, pattern, g, summary)
	op.answers = reflect.TypeFor[O]()
	op.add = register(func(c *call, in *I) (*value, error) {
		out, err := do(c, in)
		if err != nil {
			return nil, err
		}
		b, err := json.Marshal(out)
		return &value{b}, err
	})
	return op
}

// askBytes is an operation that answers with bytes of a kind.
func askBytes[I any](id, pattern string, g gate, summary, kind string, do func(c *call, in *I) ([]byte, error)) operation {
	op := newOperation(id, pattern, g, summary)
	op.kind = kind
	op.add = register(func(c *call, in *I) (*bytesOf, error) {
		b, err := do(c, in)
		return &bytesOf{kind, b}, err
	})
	return op
}

// of gives an operation a body of so many bytes at most.
func (op operation) of(most int64) operation {
	op.most = most
	return op
}

func register[I, O any](do func(c *call, in *I) (*O, error)) func(huma.API, huma.Operation) {
	return func(api huma.API, h huma.Operation) {
		huma.Register(api, h, func(ctx context.Context, in *I) (*O, error) {
			c := theCall(ctx)
			out, err := do(c, in)
			if err != nil {
				return nil, c.problemOf(err)
			}
			return out, nil
		})
	}
}

// nothing is what an operation takes that takes nothing.
type nothing struct{}

// Paging is where a page of a list begins, and how long it is.
type Paging struct {
	After string `query:"after" maxLength:"600" doc:"next, of the page before; without it the first page"`
	Limit int    `query:"limit" default:"50" minimum:"1" maximum:"500" doc:"entries of the page, at most"`
}

// page is a page of a list. Next is empty on the last one.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// Search is a text that a list is searched for.
type Search struct {
	Text string `query:"q" maxLength:"256" doc:"text that entries have, in any case"`
}

// done is the answer where there is nothing to say.
type done struct {
	Done bool `json:"done"`
}

// lastUses is when each token was used last, as long as this program runs.
type lastUses struct {
	mu   sync.Mutex
	last map[capability.Digest]capability.Time
}

// maxUses are remembered. With the next one all are forgotten: the tokens that are good are far fewer.
const maxUses = 100_000

func newLastUses() *lastUses { return &lastUses{last: map[capability.Digest]capability.Time{}} }

func (u *lastUses) note(hash capability.Digest, now capability.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.last[hash]; !known && len(u.last) >= maxUses {
		clear(u.last)
	}
	u.last[hash] = now
}

// of is when a token was used last; zero: not since this program started.
func (u *lastUses) of(hash capability.Digest) capability.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last[hash]
}
