package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

// operation is one thing that a program can ask for: a line of the table.
type operation struct {
	pattern string // method and path below Base
	gate    gate
	// stands says that it is refused while the trusted storage cannot be used: what is changed then would be gone with the repair.
	stands bool
	secret bool // what it answers with is shown once, and kept nowhere
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
		whatever(change("POST certificate/request", ledger.ToSecure, c.askCertificate)),
		whatever(change("PUT certificate", ledger.ToSecure, c.installCertificate)),
		whatever(change("DELETE certificate", ledger.ToSecure, c.removeCertificate)),
		look("doctor", func(r *http.Request) (any, error) { return c.Doctor(r.Context()), nil }),
		{pattern: "GET trust", gate: needs(ledger.ToSee), kind: "application/octet-stream", stream: func(_ *http.Request, w io.Writer) error { _, err := w.Write(c.Trust); return err }},
		whatever(change("POST requests", ledger.ToExchange, c.request)),
		whatever(change("POST responses", ledger.ToExchange, c.response)),
		change("POST answers", ledger.ToExchange, c.answerClient),
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
		tell("POST updates/check", c.checkUpdate),
		tell("POST updates", c.takeUpdate),
		tell("POST updates/proved", c.proved),
		change("POST hostids/planned", ledger.ToSecure, c.planChange),
		look("recovery", c.recovery),
		secretly(change("POST recovery", ledger.ToExchange, c.takeRecovery)),
		look("configuration", c.configuration),
		changeAs("PUT configuration", ledger.ToSet, c.configure),
		changeAs("POST restore", ledger.ToExchange, c.restore),
		{pattern: "GET audit", gate: needs(ledger.ToAudit), kind: "application/cbor-seq", stream: c.audit},
		{pattern: "GET backup", gate: needs(ledger.ToExchange), stream: c.backup},
		{pattern: "GET openapi.json", gate: anyone, kind: "application/openapi+json", stream: c.document},
	}, c.rules(), c.reports(), c.userOperations(), c.keyOperations(), c.directoryOperations())
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

// changeAs is change where what somebody may do matters beyond that it may be asked for.
func changeAs(pattern string, p ledger.Permission, f func(*http.Request, asker) (any, error)) operation {
	return operation{pattern: pattern, gate: needs(p), stands: true, do: f}
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

// secretly is an operation whose answer is shown once.
func secretly(op operation) operation {
	op.secret = true
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
			a, err := enter(r, who, op.gate)
			if err == nil && !a.local {
				// Who sends slowly may be somebody else when the end has come.
				if err = gather(w, r, a); err == nil {
					a, err = enter(r, who, op.gate)
				}
			}
			if err == nil && op.stands {
				err = c.look(r, func(*ledger.Ledger, ledger.Now) {})
			}
			if err == nil && op.stream != nil {
				c.stream(w, r, op)
				return
			}
			if err == nil {
				err = c.again.once(w, r, a, op.secret, func(w http.ResponseWriter, r *http.Request) {
					c.reply(w, r, func(r *http.Request) (any, error) { return op.do(r, a) })
				})
			}
			if err != nil {
				c.reply(w, r, func(*http.Request) (any, error) { return nil, err })
			}
		})
	}
}

// enter says who asks, if they may.
func enter(r *http.Request, who func(*http.Request) (asker, error), g gate) (asker, error) {
	a, err := who(r)
	if err == nil {
		err = a.passes(g)
	}
	return a, err
}

// gather reads what a request brings: of a stranger no more than a form. Its error is a *capability.Refusal.
func gather(w http.ResponseWriter, r *http.Request, a asker) error {
	most := int64(maxRestore)
	if a.by == "" {
		most = maxBody
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most+1))
	if err != nil {
		return capability.Refuse(capability.ErrFileSize, "", "%v", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return nil
}

func (c *Console) reply(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	v, err := f(r)
	kind := "json"
	if web.WantsCBOR(r) {
		kind = "cbor"
	}
	w.Header().Add("Vary", "Accept")
	w.Header().Set("Content-Type", "application/"+kind)
	if err != nil {
		w.Header().Set("Content-Type", "application/problem+"+kind)
		// What was sent is read to its end, or whoever is still sending hears a broken pipe instead of the reason.
		io.Copy(io.Discard, io.LimitReader(r.Body, capability.MaxFile))
		p := c.problem(err)
		p.Title, p.Status, p.Detail, p.Next = p.Code.Entry().Title, status(p.Code), p.Text, p.Code.Entry().Next
		if p.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		w.WriteHeader(p.Status)
		v = p
	}
	if kind == "json" {
		json.NewEncoder(w).Encode(v)
	} else if b, err := web.ToCBOR(v); err == nil {
		w.Write(b)
	} else {
		panic(fmt.Sprintf("answer %s in CBOR: %v", r.URL.Path, err)) // all that is answered is JSON
	}
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
