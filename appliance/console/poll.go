package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
)

// Poll lets another program carry requests to the back office and responses from it, where an administrator has set its address. The appliance itself reaches nothing: it says when, hands out the bytes of a request
// file, and judges what comes back as it judges every file. The program knows no more than that, and can do no more.
type Poll struct {
	appliance *appliance.Appliance

	mu       sync.Mutex
	changed  chan struct{} // closed when something of what follows changes
	schedule schedule
	pending  pending
	wish     []capability.Desired // of the next request
	out      bool                 // a request is on its way
	asks     time.Duration        // when the program asked last; zero: never
	waiting  int                  // how many of its questions are not answered yet
	last     Outcome
	times    PollTimes
	keeping  sync.Mutex
	keep     func(PollTimes)
	ended    bool
}

// PollTimes outlive a run.
type PollTimes struct {
	Reached capability.Time `json:"reached,omitempty"` // when the last exchange came through; zero: none did
	Since   capability.Time `json:"since,omitempty"`   // when the first try failed of those in a row, in this run or one before; zero: the last one did not
}

// NewPoll is for an appliance that runs. times are those that keep was given last, in an earlier run; it is called when they change, by one goroutine at a time.
func NewPoll(a *appliance.Appliance, times PollTimes, keep func(PollTimes)) *Poll {
	return &Poll{appliance: a, changed: make(chan struct{}), times: times, keep: keep}
}

const (
	// pollPatience is how long a question is kept open; who asked asks again.
	pollPatience = 20 * time.Second
	// pollSilence is how long nobody may have asked before the program counts as stopped. An exchange takes at most a minute.
	pollSilence = 90 * time.Second
)

// Polling is in health, and answers GET poll and POST poll/refresh.
type Polling struct {
	URL     string             `json:"url"`
	Running bool               `json:"running"` // the program that asks does
	Every   capability.Seconds `json:"every"`
	Reached capability.Time    `json:"reached,omitempty"` // when the last exchange came through, in this run or one before
	Since   capability.Time    `json:"since,omitempty"`   // not reached since then, in this run or one before
	Tries   int                `json:"tries,omitempty"`   // of this run, in a row that reached nothing
	Next    capability.Time    `json:"next,omitempty"`    // try; absent while one is made
	Done    uint64             `json:"done"`              // tries of this run that have come to an end
	Last    *Outcome           `json:"last,omitempty"`
}

// Outcome is what came of a try.
type Outcome struct {
	Number   uint64          `json:"number"` // of the request
	At       capability.Time `json:"at"`
	Problem  *Problem        `json:"problem,omitempty"`  // absent: the response is in force
	Imported *Imported       `json:"imported,omitempty"` // what it did
	Lines    []Asked         `json:"lines,omitempty"`    // what became of what was asked for by name

	done uint64
}

// Asked is what became of one activation ID.
type Asked struct {
	capability.Desired
	Problem *Problem `json:"problem,omitempty"`
}

// Errand answers POST poll/next: what to send where. A number of zero says that nothing is to be sent yet.
type Errand struct {
	URL         string `json:"url,omitempty"`
	Certificate string `json:"certificate,omitempty"`
	Number      uint64 `json:"number"`
	File        []byte `json:"file,omitempty"`
}

// Missed is the body of POST poll/missed: the bytes of the request brought a refusal, or reached nothing.
type Missed struct {
	Number uint64            `json:"number"`
	Denial capability.Denial `json:"denial"`
}

// Handler is what the program that asks may ask: for an errand, and to hear how it ended. It is served on a socket of its own, which nobody else may open.
func (p *Poll) Handler(c *Console) http.Handler {
	return c.narrow(map[string]func(*http.Request) (any, error){
		"poll/next":   p.next,
		"poll/answer": func(r *http.Request) (any, error) { return p.answered(c, r) },
		"poll/missed": func(r *http.Request) (any, error) { return p.missed(c, r) },
	})
}

// narrow is a handler for a program that may do these things, by their paths, and nothing else.
func (c *Console) narrow(what map[string]func(*http.Request) (any, error)) http.Handler {
	mux := http.NewServeMux()
	for path, f := range what {
		mux.HandleFunc("POST "+Base+path, func(w http.ResponseWriter, r *http.Request) { c.reply(w, r, f) })
	}
	mux.HandleFunc("/", c.missing)
	return mux
}

// Stop answers everybody who waits. Nobody does where there is no Poll.
func (p *Poll) Stop() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.stir()
}

// stir wakes everybody who waits for a change; p.mu is held.
func (p *Poll) stir() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// poke has the settings looked at again.
func (p *Poll) poke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stir()
}

func (p *Poll) now() capability.Time { return capability.At(p.appliance.Now()) }

// settings are those in force; an appliance whose trusted storage is lost has none.
func (p *Poll) settings(ctx context.Context) (s ledger.Polling, err error) {
	err = p.appliance.Look(ctx, func(l *ledger.Ledger, now ledger.Now) {
		if l.Status(now).Lost == 0 {
			s = l.Polling()
		}
	})
	return s, err
}

// next waits until something is to be sent, for a while.
func (p *Poll) next(r *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), pollPatience)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	defer func() { p.waiting--; p.asks = p.appliance.Elapsed() }()
	if p.out { // whoever fetched it is gone, or there are two of it
		p.fail(&Outcome{Number: p.pending.number, Problem: ProblemOf(capability.Refuse(capability.ErrOfficeUnreachable, "", "the program that asks was stopped on its way"))})
	}
	for {
		changed := p.changed
		p.mu.Unlock()
		s, err := p.settings(ctx)
		p.mu.Lock()
		if ctx.Err() != nil || p.ended {
			return &Errand{}, nil
		}
		if err != nil {
			return nil, err
		}
		wait := time.Duration(-1)
		if s.URL != "" {
			if wait = max(0, p.schedule.due(s)-p.appliance.Elapsed()); wait == 0 {
				return p.errand(r.Context(), s) // once begun, it is made: the end of the patience is no failed try
			}
		}
		p.wait(ctx, changed, wait)
	}
}

// aside has f done without the lock: no lock is held while a device or another program is waited for.
func (p *Poll) aside(f func()) {
	p.mu.Unlock()
	defer p.mu.Lock()
	f()
}

// wait lets others have the lock until something changes, ctx ends, or a time that is not negative has gone by.
func (p *Poll) wait(ctx context.Context, changed <-chan struct{}, d time.Duration) {
	var over <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	p.aside(func() {
		select {
		case <-changed:
		case <-over:
		case <-ctx.Done():
		}
	})
}

// errand hands out a request: the one that is pending, if it still stands, or a new one. p.mu is held.
func (p *Poll) errand(ctx context.Context, s ledger.Polling) (*Errand, error) {
	p.schedule.begin(p.appliance.Elapsed())
	p.out = true
	p.stir()
	old, wish := p.pending, p.wish
	p.wish = nil
	var made pending
	var err error
	p.aside(func() { made, err = p.write(ctx, old, wish) })
	p.pending = made
	if err != nil {
		if !errors.As(err, new(*capability.Malformed)) { // it will never be written
			p.wish = wish
		}
		p.fail(&Outcome{Problem: ProblemOf(err)})
		return &Errand{}, nil
	}
	return &Errand{URL: s.URL, Certificate: s.Certificate, Number: p.pending.number, File: p.pending.file}, nil
}

// write is a request that stands: the old one, where nothing else is wished for. A new one has the wishes of the old one too, which was not answered.
func (p *Poll) write(ctx context.Context, old pending, wish []capability.Desired) (pending, error) {
	var made pending
	look := func() error {
		return p.appliance.Look(ctx, func(l *ledger.Ledger, now ledger.Now) {
			applied, _ := l.Applied()
			s := l.Status(now)
			made.number, made.serial, made.gave, made.lost = s.Number, applied.Serial, len(l.Returns()), s.Lost
		})
	}
	err := look()
	if err != nil || wish == nil && old.stands(&made) {
		return old, err
	}
	made.wish = old.still(&made, wish)
	f, err := p.appliance.RequestFrom(ctx, made.wish, 0, "poll")
	if err != nil {
		return old, err
	}
	made.file = f.Bytes
	err = look()
	return made, err
}

// fail ends a try that reached nothing; p.mu is held.
func (p *Poll) fail(o *Outcome) {
	first := p.times.Since == 0
	if first {
		p.times.Since = p.now()
	}
	p.schedule.missed()
	p.pending.missed = true
	p.end(o)
	if first {
		p.remember()
	}
}

// remember has the times kept, the newest last; p.mu is held, and not meanwhile.
func (p *Poll) remember() {
	p.aside(func() {
		p.keeping.Lock()
		defer p.keeping.Unlock()
		p.mu.Lock()
		times := p.times
		p.mu.Unlock()
		p.keep(times)
	})
}

// end keeps what came of a try; p.mu is held.
func (p *Poll) end(o *Outcome) {
	o.At, o.done = p.now(), p.last.done+1
	p.last, p.out = *o, false
	p.stir()
}

// through ends a try that reached the back office; p.mu is held.
func (p *Poll) through(o *Outcome) {
	p.schedule.reached(p.pending.missed)
	p.times = PollTimes{Reached: p.now()}
	p.pending = pending{}
	p.end(o)
	p.remember()
}

// carried says whether the errand of that number is the one that is out; p.mu is held.
func (p *Poll) carried(number uint64) error {
	if !p.out || number != p.pending.number {
		return capability.Refuse(capability.ErrNotFound, fmt.Sprint(number), "no request of that number is on its way")
	}
	return nil
}

// answered takes the bytes that the back office answered with. Whatever is not a response to this appliance changes nothing, and is the outcome.
func (p *Poll) answered(c *Console, r *http.Request) (any, error) {
	number, err := strconv.ParseUint(r.URL.Query().Get("number"), 10, 64)
	if err != nil {
		return nil, &capability.Malformed{Field: "number", Cause: err.Error()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.carried(number); err != nil {
		return nil, err
	}
	o := &Outcome{Number: number}
	var in *appliance.Imported
	p.aside(func() {
		var file []byte
		if file, err = io.ReadAll(http.MaxBytesReader(nil, r.Body, capability.MaxFile)); err != nil {
			err = capability.Refuse(capability.ErrFileSize, "", "%v", err)
			return
		}
		in, err = p.appliance.Import(r.Context(), file)
	})
	if gone := p.carried(number); gone != nil {
		return nil, gone
	}
	if err == nil && in.Clear.Number != number {
		err = capability.Refuse(capability.OlderResponse, "", "it answers request %d, and request %d was sent", in.Clear.Number, number)
	}
	if err != nil {
		o.Problem = c.problem(err)
		p.fail(o) // what answers with what is no response to this appliance is not the back office
		return o, nil
	}
	o.Imported = importedOf(in)
	for i, l := range in.Response.Lines {
		if i >= len(p.pending.wish) {
			break
		}
		a := Asked{Desired: p.pending.wish[i]}
		if l.Denial.Code != 0 {
			a.Problem = ProblemOf(&capability.Refusal{Denial: l.Denial})
		}
		o.Lines = append(o.Lines, a)
	}
	p.through(o)
	return o, nil
}

// missed takes what the program says of a try that brought no response.
func (p *Poll) missed(_ *Console, r *http.Request) (any, error) {
	var m Missed
	if err := decode(r, &m); err != nil {
		return nil, err
	}
	if m.Denial.Code == 0 || !m.Denial.Code.Refuses() {
		return nil, &capability.Malformed{Field: "denial.code", Cause: fmt.Sprintf("%s is not that of a refusal", m.Denial.Code)}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.carried(m.Number); err != nil {
		return nil, err
	}
	o := &Outcome{Number: m.Number, Problem: ProblemOf(&capability.Refusal{Denial: m.Denial.Shown()})}
	if unreached(m.Denial.Code) {
		p.fail(o)
	} else {
		p.through(o) // the back office said no
	}
	return o, nil
}

// unreached says that a try with such an end reached no back office, or not so that it would be the same the next time.
func unreached(c capability.Code) bool {
	return c == capability.ErrOfficeUnreachable || c == capability.ErrOfficeCertificate || c.Entry().Exit == capability.ExitTemporary
}

// polling is what is known; nil where no address is set.
func (p *Poll) polling(ctx context.Context) (*Polling, error) {
	s, err := p.settings(ctx)
	if err != nil || s.URL == "" {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.appliance.Elapsed()
	out := &Polling{
		URL: s.URL, Running: p.waiting > 0 || p.asks != 0 && now-p.asks < pollSilence,
		Every: s.Period, Reached: p.times.Reached, Since: p.times.Since, Tries: p.schedule.failed, Done: p.last.done,
	}
	if !p.out {
		out.Next = p.now().Add(capability.Seconds(max(0, p.schedule.due(s)-now).Round(time.Second) / time.Second))
	}
	if p.last.done > 0 {
		last := p.last
		last.Lines = slices.Clone(last.Lines)
		out.Last = &last
	}
	return out, nil
}

// look answers GET poll; with done, as soon as more tries than that have come to an end, or after a while.
func (p *Poll) look(r *http.Request) (any, error) {
	if after := r.URL.Query().Get("done"); after != "" {
		n, err := strconv.ParseUint(after, 10, 64)
		if err != nil {
			return nil, &capability.Malformed{Field: "done", Cause: err.Error()}
		}
		p.until(r.Context(), n)
	}
	out, err := p.polling(r.Context())
	if err == nil && out == nil {
		return nil, capability.Refuse(capability.ErrNotPolled, "", "%s is not set", ledger.OfficeURL)
	}
	return out, err
}

// until waits for a while until more than n tries have come to an end.
func (p *Poll) until(ctx context.Context, n uint64) {
	ctx, cancel := context.WithTimeout(ctx, pollPatience)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.last.done <= n && !p.ended && ctx.Err() == nil {
		p.wait(ctx, p.changed, -1)
	}
}

// refresh has a try made now, and says how many come to an end before it. Its body is a wish, or nothing.
func (p *Poll) refresh(r *http.Request, _ string) (any, error) {
	var w Wish
	if err := decode(r, &w); err != nil {
		return nil, err
	}
	return p.askNow(r.Context(), w)
}

// askNow has a try made now that asks for a wish too, and says how many come to an end before it.
func (p *Poll) askNow(ctx context.Context, w Wish) (*Polling, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	if w.From != 0 {
		return nil, &capability.Malformed{Field: "from", Cause: "what is sent by itself is what was not acknowledged"}
	}
	out, err := p.polling(ctx)
	switch {
	case err != nil:
		return nil, err
	case out == nil:
		return nil, capability.Refuse(capability.ErrNotPolled, "", "%s is not set", ledger.OfficeURL)
	case !out.Running:
		return nil, capability.Refuse(capability.ErrNotPolled, "", "the program that asks does not run")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(w.Desired) > 0 {
		p.wish = w.Desired
	}
	p.schedule.asked = true
	p.stir()
	if out.Done = p.last.done; p.out {
		out.Done++ // one is on its way, and this one follows it
	}
	return out, nil
}

// check is what a wish must be.
func (w *Wish) check() error {
	if len(w.Desired) > capability.MaxDesired {
		return &capability.Malformed{Field: "desired", Cause: fmt.Sprintf("%d where at most %d are allowed", len(w.Desired), capability.MaxDesired)}
	}
	for i, d := range w.Desired {
		if d.ActivationID == "" {
			return &capability.Malformed{Field: fmt.Sprintf("desired[%d].activationId", i), Cause: "absent"}
		}
		if err := d.Validate(); err != nil {
			return &capability.Malformed{Field: fmt.Sprintf("desired[%d]", i), Cause: err.Error()}
		}
	}
	return nil
}
