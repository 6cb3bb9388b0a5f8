package console

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// operation is one thing that a program can ask for: a line of the table.
type operation struct {
	pattern string // method and path below Base
	gate    gate
	// stands says that it is refused while the trusted storage cannot be used: what is changed then would be gone with the repair.
	stands bool
	do     func(*http.Request, asker) (any, error)
	// stream is there instead of do where the answer is larger than memory should hold, or is no JSON.
	stream func(*http.Request, io.Writer) error
	kind   string // of what is streamed; empty: lines of JSON
}

// operations are all of them. A test asks each with every role.
func (c *Console) operations() []operation {
	list := slices.Concat([]operation{
		look("health", c.health),
		look("features", c.features),
		look("devices", c.devices),
		look("certificate", c.certificate),
		look("doctor", func(r *http.Request) (any, error) { return c.Doctor(r.Context()), nil }),
		{pattern: "GET trust", gate: needs(ledger.ToSee), kind: "application/octet-stream", stream: func(_ *http.Request, w io.Writer) error { _, err := w.Write(c.Trust); return err }},
		whatever(change("POST requests", ledger.ToExchange, c.request)),
		whatever(change("POST responses", ledger.ToExchange, c.response)),
		change("POST returns", ledger.ToExchange, c.giveBack),
		look("drains", c.drains),
		change("POST drains", ledger.ToExchange, c.drain),
		change("POST drains/cancel", ledger.ToExchange, c.cancelDrain),
		change("POST drops", ledger.ToServe, c.drop),
		look("time", c.time),
		whatever(change("POST time", ledger.ToSecure, c.setTime)),
		look("hostids", c.machine),
		tell("PUT hostids", c.tell),
		tell("PUT hostids/eventlog", c.hearLog),
		tell("POST hostids/challenge", c.challenge),
		tell("POST hostids/answer", c.answer),
		change("POST hostids/planned", ledger.ToSecure, c.planChange),
		look("recovery", c.recovery),
		change("POST recovery", ledger.ToExchange, c.takeRecovery),
		look("configuration", c.configuration),
		change("PUT configuration", ledger.ToSet, c.configure),
		change("POST restore", ledger.ToExchange, c.restore),
		{pattern: "GET audit", gate: needs(ledger.ToAudit), kind: "application/cbor-seq", stream: c.audit},
		{pattern: "GET backup", gate: needs(ledger.ToExchange), stream: c.backup},
	}, c.rules(), c.reports())
	if c.Poll != nil {
		list = append(list, look("poll", c.Poll.look), change("POST poll/refresh", ledger.ToExchange, c.Poll.refresh))
	}
	return list
}

// look is an operation that shows something.
func look(path string, f func(*http.Request) (any, error)) operation {
	return operation{pattern: "GET " + path, gate: needs(ledger.ToSee), do: func(r *http.Request, _ asker) (any, error) { return f(r) }}
}

// change is an operation that changes something, in the name of who asks.
func change(pattern string, p ledger.Permission, f func(*http.Request, string) (any, error)) operation {
	return operation{pattern: pattern, gate: needs(p), stands: true, do: func(r *http.Request, a asker) (any, error) { return f(r, a.by) }}
}

// tell is an operation by which root says what the machine is: everybody else may be made to see another one.
func tell(pattern string, f func(*http.Request) (any, error)) operation {
	return operation{pattern: pattern, gate: rootOnly, do: func(r *http.Request, _ asker) (any, error) { return f(r) }}
}

// whatever is an operation that is done also while the trusted storage cannot be used.
func whatever(op operation) operation {
	op.stands = false
	return op
}

// Handler is the API on the Unix socket.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	c.api(mux, c.peerAsks)
	mux.HandleFunc("/", c.missing)
	return mux
}

// api puts every operation on a mux. Who says who asks.
func (c *Console) api(mux *http.ServeMux, who func(*http.Request) (asker, error)) {
	for _, op := range c.operations() {
		method, path, _ := strings.Cut(op.pattern, " ")
		mux.HandleFunc(method+" "+Base+path, func(w http.ResponseWriter, r *http.Request) {
			a, err := who(r)
			if err == nil {
				err = a.passes(op.gate)
			}
			if err == nil && op.stands {
				err = c.look(r, func(*ledger.Ledger, ledger.Now) {})
			}
			if err == nil && op.stream != nil {
				c.stream(w, r, op)
				return
			}
			c.reply(w, r, func(r *http.Request) (any, error) {
				if err != nil {
					return nil, err
				}
				return op.do(r, a)
			})
		})
	}
}

func (c *Console) reply(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	v, err := f(r)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		// What was sent is read to its end, or whoever is still sending hears a broken pipe instead of the reason.
		io.Copy(io.Discard, io.LimitReader(r.Body, capability.MaxFile))
		p := c.problem(err)
		w.WriteHeader(status(p.Code))
		v = p
	}
	json.NewEncoder(w).Encode(v)
}

// stream writes an answer as it is made. What fails before the first byte is a problem like any other; after it the connection breaks off.
func (c *Console) stream(w http.ResponseWriter, r *http.Request, op operation) {
	begun := &begun{ResponseWriter: w, kind: op.kind}
	err := op.stream(r, begun)
	switch {
	case err == nil:
	case begun.any:
		panic(http.ErrAbortHandler)
	default:
		c.reply(w, r, func(*http.Request) (any, error) { return nil, err })
	}
}

// begun knows whether anything was written.
type begun struct {
	http.ResponseWriter
	kind string
	any  bool
}

func (b *begun) Write(p []byte) (int, error) {
	if !b.any && b.kind != "" {
		b.Header().Set("Content-Type", b.kind)
	}
	b.any = true
	return b.ResponseWriter.Write(p)
}

// problem is ProblemOf with the codes of what is below: when the TPM or the disk ended the daemon, the administrator hears which.
func (c *Console) problem(err error) *Problem {
	if r := (*capability.Refusal)(nil); c.CodeOf != nil && !errors.As(err, &r) && c.CodeOf(err) != 0 {
		err = capability.Refuse(c.CodeOf(err), "", "%v; the daemon has ended", err)
	}
	return ProblemOf(err)
}
