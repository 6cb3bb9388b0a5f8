package portal

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/wire"
)

// The online endpoint. A machine sends the bytes of its request file, and the answer is the bytes of the response file: the same two messages as by stick, judged by the same rules. There is no login, the
// signature in the request says who asks, and only its machine can open the answer. There are no cookies either, so no browser can be made to ask for somebody.

// Of one address: an exchange costs a signature and a write.
const (
	exchangesAtOnce  = 60
	exchangeInterval = time.Second // until one more
)

// byOnline is who the book says answered where nobody did.
const byOnline = "online endpoint"

func (p *Portal) exchange(w http.ResponseWriter, r *http.Request) {
	file, err := p.exchanged(w, r)
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Write(file)
}

func (p *Portal) exchanged(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	file, err := posted(w, r, p.exchanges, capability.MaxFile)
	if err != nil {
		return nil, err
	}
	var result *backoffice.Result
	err = p.office(r.Context(), func(o *backoffice.Office) (err error) {
		result, err = o.RespondTo(file, backoffice.Order{By: byOnline, Online: true}, p.now())
		return err
	})
	if err != nil {
		return nil, operators(err)
	}
	return result.File, nil
}

// posted is the request file that an address sends, which may send so often and no oftener, of so many bytes at most. Its signature is judged before the office's turn: what nobody signed keeps nobody waiting.
func posted(w http.ResponseWriter, r *http.Request, rate *web.Rate, limit int64) ([]byte, error) {
	if wait := rate.Take(web.AddressOf(r)); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		return nil, capability.Refuse(capability.ErrThrottled, "", "the next one in %s", wait.Round(time.Second))
	}
	file, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	tooLarge := (*http.MaxBytesError)(nil)
	switch {
	case errors.As(err, &tooLarge):
		return nil, capability.Refuse(capability.ErrFileSize, "", "a request has at most %d bytes here", limit)
	case errors.Is(err, web.ErrRoom):
		return nil, web.Unread(err)
	case err != nil:
		return nil, capability.Refuse(capability.ErrFileCut, "", "%v", err)
	}
	return file, backoffice.Proven(file)
}

// operators is the refusal of what an operator could order, as whoever asks over the network hears it.
func operators(err error) error {
	r := (*capability.Refusal)(nil)
	if errors.As(err, &r) && slices.Contains([]capability.Code{capability.ErrRepair, capability.ErrRehost}, r.Code) {
		return capability.Refuse(capability.ErrOperator, r.Subject, "%s %s", r.Code, r.Sentence())
	}
	return err
}

// problem is a refusal as RFC 9457 has it. The members beyond its own are those that every program of ours shows.
type problem struct {
	Title  string             `json:"title"`
	Status int                `json:"status"`
	Detail string             `json:"detail"`
	Code   capability.Code    `json:"code"`
	Symbol string             `json:"symbol"`
	Cause  string             `json:"cause"`
	Next   string             `json:"next"`
	Denial *capability.Denial `json:"denial,omitempty"`
}

// refuse answers a program with a refusal: a problem in JSON, or the denial alone in CBOR for who accepts that. What is broken here stays in the log.
func (p *Portal) refuse(w http.ResponseWriter, r *http.Request, err error) {
	no := (*capability.Refusal)(nil)
	if !errors.As(err, &no) {
		code := p.CodeOf(err)
		if code == 0 {
			code = capability.ErrInternal
		}
		p.Log.Error("answer a program", "path", r.URL.Path, "error", err)
		no = &capability.Refusal{Denial: capability.Denial{Code: code}}
	}
	status := statusOf(no.Code)
	if status != http.StatusTooManyRequests && no.Code.Entry().Exit == capability.ExitPolicy {
		status = http.StatusForbidden
	}
	if strings.Contains(r.Header.Get("Accept"), web.CBORType) {
		w.Header().Set("Content-Type", web.CBORType)
		w.WriteHeader(status)
		w.Write(wire.New().Encode(&no.Denial))
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	e := no.Code.Entry()
	if err := json.NewEncoder(w).Encode(problem{e.Title, status, no.Sentence(), no.Code, e.Symbol, e.Cause, e.Next, &no.Denial}); err != nil {
		p.Log.Debug("answer a program", "path", r.URL.Path, "error", err)
	}
}
