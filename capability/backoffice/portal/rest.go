package portal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
)

// The REST API is the back office for programs. A token says who asks (entitlement.Token): it may what its login may, and sees what its login sees. Cookies are not looked at, so no browser can be made to ask for
// somebody. What a POST writes counts once under its Idempotency-Key, in the book, so that it holds over a restart.

// restBase is the path before every resource.
const restBase = "/api/v1"

// Of one address: a company's programs may all come from one.
const (
	callsAtOnce  = 600
	callInterval = 20 * time.Millisecond
)

const (
	maxKey      = 100      // bytes of an Idempotency-Key
	maxRestForm = 64 << 10 // bytes of a body in JSON or CBOR
)

// call is one request of a program, and who sends it.
type call struct {
	asker
	sum capability.Digest // of its body
}

// callKey finds the call in a context.
type callKey struct{}

// rest is everything below restBase.
func (p *Portal) rest() (http.Handler, error) {
	mux := http.NewServeMux()
	api := humago.NewWithPrefix(mux, restBase, p.restConfig())
	for _, op := range p.operations() {
		op.add(api, p.described(api, &op))
	}
	schemas := api.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel") // the library's own, which nobody is answered with
	delete(schemas, "ErrorDetail")
	asJSON, err := json.Marshal(api.OpenAPI())
	if err != nil {
		return nil, err
	}
	asYAML, err := api.OpenAPI().YAML()
	if err != nil {
		return nil, err
	}
	for ending, document := range map[string][]byte{"json": asJSON, "yaml": asYAML} {
		mux.HandleFunc("GET "+restBase+"/openapi."+ending, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/openapi+"+ending)
			w.Write(document)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { p.answerProblem(api, w, r, foreign(r.URL.Path)) })
	return mux, nil
}

// restConfig is what the document says of the whole, and how bodies are written.
func (p *Portal) restConfig() huma.Config {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	for _, t := range []reflect.Type{reflect.TypeFor[capability.Digest](), reflect.TypeFor[capability.LifeID](), reflect.TypeFor[capability.ReturnID]()} {
		schemas.RegisterTypeAlias(t, reflect.TypeFor[[]uint8Number]())
	}
	schemas.RegisterTypeAlias(reflect.TypeFor[[]entitlement.HostType](), reflect.TypeFor[[]string]()) // which is no array of bytes
	schemas.RegisterTypeAlias(reflect.TypeFor[entitlement.SessionID](), reflect.TypeFor[string]())
	c := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "Freehold", Version: "1", Description: "The back office for programs. Times are seconds since 1970, lengths of time seconds. " +
				"Bodies are JSON, or CBOR with the same names where Accept or Content-Type say application/cbor; what is signed is bytes, never either. A path holds names as URLs do: a slash in one is %2F."},
			Components: &huma.Components{Schemas: schemas, SecuritySchemes: map[string]*huma.SecurityScheme{
				"token": {Type: "http", Scheme: "bearer", Description: "made by freehold login token NAME, or in the portal under Logins or My login"},
			}},
		},
		Formats:                      map[string]huma.Format{"application/json": jsonFormat(), "json": jsonFormat(), web.CBORType: cborFormat(), "cbor": cborFormat()},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{p.ourProblems},
	}
	c.FieldsOptionalByDefault = true
	return c
}

// uint8Number is a byte that JSON shows as a number.
type uint8Number uint16

// described is what the document says of an operation, and what is done before it.
func (p *Portal) described(api huma.API, op *operation) huma.Operation {
	schemas := api.OpenAPI().Components.Schemas
	refused := schemas.Schema(reflect.TypeFor[problem](), true, "")
	h := huma.Operation{OperationID: op.id, Method: op.method, Path: op.path, Summary: op.summary, Tags: []string{op.tag()}, MaxBodyBytes: op.limit() + 1, BodyReadTimeout: -1, DefaultStatus: http.StatusOK, Responses: map[string]*huma.Response{}}
	for _, status := range op.refusals() {
		h.Responses[strconv.Itoa(status)] = &huma.Response{Description: refusalWords(status), Content: map[string]*huma.MediaType{"application/problem+json": {Schema: refused}, "application/problem+cbor": {Schema: refused}}}
	}
	ok := &huma.Response{Description: "done", Content: map[string]*huma.MediaType{}}
	if op.kind != "" {
		ok.Content[op.kind] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	} else {
		answered := schemas.Schema(op.answers, true, op.id+"Answer")
		ok.Content["application/json"], ok.Content[web.CBORType] = &huma.MediaType{Schema: answered}, &huma.MediaType{Schema: answered}
	}
	h.Responses["200"] = ok
	if op.gate != anyone {
		h.Security = []map[string][]string{{"token": {}}}
		h.Description = op.needs()
	}
	if op.method == http.MethodPost {
		most := maxKey
		h.Parameters = []*huma.Param{{Name: "Idempotency-Key", In: "header", Description: "where it changes something, the same key with the same body is done once and answered alike; with another body it is refused", Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &most}}}
	}
	h.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		c, err := p.called(w, r, op)
		if err != nil {
			p.answerProblem(api, w, r, err)
			return
		}
		next(huma.WithValue(ctx, callKey{}, c))
	}}
	return h
}

// called finds out who asks, and whether the operation is for them.
func (p *Portal) called(w http.ResponseWriter, r *http.Request, op *operation) (*call, error) {
	if wait := p.calls.Take(web.AddressOf(r)); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		return nil, capability.Refuse(capability.ErrThrottled, "", "the next one in %s", wait.Round(time.Second))
	}
	c := &call{asker: asker{p: p, r: r, now: p.now()}}
	if op.gate == anyone {
		return c, nil
	}
	if err := c.signIn(w); err != nil {
		return nil, err
	}
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		if err := capability.CheckName("Idempotency-Key", key); err != nil || len(key) > maxKey {
			return nil, capability.Refuse(capability.ErrForm, "Idempotency-Key", "1 to %d bytes of text are wanted", maxKey)
		}
	}
	if err := c.passes(op.gate, op.staff); err != nil || op.method != http.MethodPost {
		return c, err
	}
	return c, c.read(w, op.limit())
}

// read reads the body of whoever may send one, for the digest of what is asked, and puts it back.
func (c *call) read(w http.ResponseWriter, limit int64) error {
	b, err := io.ReadAll(http.MaxBytesReader(w, c.r.Body, limit))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return capability.Refuse(capability.ErrFileSize, "", "a body has at most %d bytes here", limit)
	} else if err != nil {
		return web.Unread(err)
	}
	c.sum = sha256.Sum256(b)
	c.r.Body = io.NopCloser(bytes.NewReader(b))
	return nil
}

// signIn finds the login whose token the request has. Tokens that are none are counted by the address they come from, which has to wait after some of them; who has a good one never waits for others.
func (c *call) signIn(w http.ResponseWriter) error {
	text, is := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	if !is {
		w.Header().Set("WWW-Authenticate", "Bearer")
		return capability.Refuse(capability.ErrAPIToken, "", "the header Authorization: Bearer TOKEN is wanted")
	}
	login, token, good := entitlement.Login{}, entitlement.Token{}, false
	err := c.office(func(o *backoffice.Office) error {
		login, token, good = o.Book().OfToken(strings.TrimSpace(text), c.now)
		return nil
	})
	if err != nil {
		return err
	}
	if c.login, c.token = login, token; good {
		c.p.tokens.note(c.token.Hash, c.now)
		return nil
	}
	from := web.AddressOf(c.r)
	if v := c.p.guesses.Try("token from "+from, from); v.Wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(v.Wait.Seconds()))))
		return capability.Refuse(capability.ErrThrottled, "", "too many tokens were none; the next one in %s", v.Wait.Round(time.Second))
	}
	w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	return capability.Refuse(capability.ErrAPIToken, "", "")
}

// act has f done with the back office. Under the request's key it counts once, however often it is sent.
func (c *call) act(f func(o *backoffice.Office) error) error {
	return c.office(func(o *backoffice.Office) error {
		if key := c.key(); key != "" {
			o.Once(key, c.asked())
		}
		o.Through(c.login.Name, entitlement.TokenUsed{Name: c.token.Name, By: c.token.By})
		return f(o)
	})
}

// key is the request's in the book, where each login has keys of its own; empty: it has none.
func (c *call) key() string {
	key := c.r.Header.Get("Idempotency-Key")
	if key == "" {
		return ""
	}
	of := sha256.Sum256([]byte(strings.ToLower(c.login.Name)))
	return "api " + hex.EncodeToString(of[:8]) + " " + key
}

// asked is the digest of who asks for what.
func (c *call) asked() capability.Digest {
	h := sha256.New()
	for _, text := range []string{c.login.Name, c.r.Method, c.r.URL.RequestURI(), string(c.sum[:])} {
		fmt.Fprintf(h, "%d:%s", len(text), text)
	}
	return capability.Digest(h.Sum(nil))
}

// repeated says that this very request was done before: then what it names may be gone by its own work, and nothing is done again.
func (c *call) repeated(o *backoffice.Office) bool {
	if c.key() == "" {
		return false
	}
	was, done := o.Book().Done(c.key(), 0)
	return done && was.Mark.Asked == c.asked()
}

// problemOf is an error as a program reads it. Of what a form is refused for the status is that of a body which does not fit its schema.
func (v *asker) problemOf(err error) *problem {
	code, detail := v.explain(err)
	e := code.Entry()
	q := &problem{Title: e.Title, Status: statusOf(code), Detail: detail, Code: code, Symbol: e.Symbol, Cause: e.Cause, Next: restNext(code)}
	if r := (*capability.Refusal)(nil); errors.As(err, &r) {
		q.Denial = &r.Denial
	}
	if q.Status == http.StatusBadRequest {
		q.Status = http.StatusUnprocessableEntity
	}
	return q
}

// restNext is what a program can do next, where the catalog says what a person types.
func restNext(code capability.Code) string {
	switch code {
	case capability.ErrForm:
		return "compare the request with " + restBase + "/openapi.json"
	case capability.ErrNotFound:
		return "list what there is, with GET on the path above it"
	case capability.ErrKeyUsed:
		return "send this request with an Idempotency-Key of its own"
	case capability.ErrSecondPerson:
		return "have somebody else approve it, with a token of their own"
	case capability.ErrThrottled:
		return "try again after the seconds in the header Retry-After"
	}
	return Next(code)
}

func (q *problem) Error() string  { return q.Detail }
func (q *problem) GetStatus() int { return q.Status }

// ContentType is that of a problem.
func (q *problem) ContentType(kind string) string {
	if kind == web.CBORType {
		return "application/problem+cbor"
	}
	return "application/problem+json"
}

// ourProblems makes what the library finds wrong with a request one of ours. The values that were sent are not repeated: they may be secrets.
func (p *Portal) ourProblems(ctx huma.Context, _ string, v any) (any, error) {
	m, is := v.(*huma.ErrorModel)
	if !is {
		return v, nil
	}
	c := theCall(ctx.Context())
	code, words := capability.ErrForm, []string(nil)
	switch m.Status {
	case http.StatusUnsupportedMediaType:
		m.Errors, m.Detail = nil, "a body of the kind application/json or "+web.CBORType+" is wanted"
	case http.StatusInternalServerError:
		code = capability.ErrInternal
	}
	for _, e := range m.Errors {
		words = append(words, strings.TrimPrefix(e.Location+": "+e.Message, ": "))
	}
	if slices.Sort(words); len(words) == 0 {
		words = []string{m.Detail}
	}
	if code == capability.ErrInternal {
		p.Log.Error("answer a program", "error", strings.Join(words, "; "))
		words = nil
	}
	q := c.problemOf(capability.Refuse(code, "", "%s", strings.Join(words, "; ")))
	q.Status = m.Status
	return q, nil
}

// answerProblem answers what no operation was begun for.
func (p *Portal) answerProblem(api huma.API, w http.ResponseWriter, r *http.Request, err error) {
	q := (&asker{p: p, r: r}).problemOf(err)
	kind, nerr := api.Negotiate(r.Header.Get("Accept"))
	if nerr != nil {
		kind = "application/json"
	}
	w.Header().Set("Content-Type", q.ContentType(kind))
	w.WriteHeader(q.Status)
	if err := api.Marshal(w, kind, q); err != nil {
		p.Log.Debug("answer a program", "path", r.URL.Path, "error", err)
	}
}

// theCall is the call of an operation's context.
func theCall(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }
