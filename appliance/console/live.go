package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

// What the overview and the seats show is brought up to date while somebody looks at them, by server-sent events: each has the parts of the page that may have changed, as the page itself would have them now.
// A stream is no request of who listens, so it keeps no session alive, and it ends with the session, with a change of the login, and where its roles do not allow the page any more.

// The bounds of streams.
const (
	liveStreams = 16               // at once: with those who wait for a directory well below the places of all browsers
	liveOfOne   = 4                // of one address
	livePause   = 2 * time.Second  // between two looks at whether something has changed, and between two looks at all seats for all who look at them
	liveAgain   = 15 * time.Second // at the latest is it asked again who listens, and written what has changed without an entry
	liveUnread  = 10 * time.Second // until who does not read is left
)

// live is what all streams have in common.
type live struct {
	room *web.Room
	over chan struct{} // closed: the daemon ends
	end  func()
	once *regexp.Regexp // what is another one in each form

	mu    sync.Mutex
	looks map[string]*looked // of pages
	turns map[string]chan struct{}
}

// looked is what the ledger has for a page, for all of its streams. It is the same whoever listens: what of it somebody may see or do, the page decides after. Nobody changes it.
type looked struct {
	head uint64 // of the journal, just before it was looked
	what any
	over chan struct{} // closed: it is too old
}

func newLive() *live {
	l := &live{room: web.NewRoom(liveStreams, liveOfOne), over: make(chan struct{}), once: regexp.MustCompile(`name="once" value="[^"]*"`), looks: map[string]*looked{}, turns: map[string]chan struct{}{}}
	l.end = sync.OnceFunc(func() { close(l.over) })
	return l
}

// EndLive ends all streams of events, for a server that is shut down.
func (c *Console) EndLive() { c.streams().end() }

func (c *Console) streams() *live {
	c.enliven.Do(func() { c.live = newLive() })
	return c.live
}

// liveAt is where the events of pages come from.
const liveAt = "/live"

// liveRoutes are the streams. A page of the same path without liveAt has the parts.
func liveRoutes() []route {
	see := needs(ledger.ToSee)
	return []route{
		{pattern: "GET " + liveAt + "/overview", gate: see, do: (*visit).overview},
		{pattern: "GET " + liveAt + "/seats", gate: see, do: (*visit).seats},
	}
}

// liveOf is where the events of a page come from; empty: it has none.
func liveOf(path string) string {
	for _, r := range liveRoutes() {
		if r.pattern == "GET "+liveAt+path {
			return liveAt + path
		}
	}
	return ""
}

func (s *site) stream(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		from := web.AddressOf(req)
		if !s.streams().room.Take(from, 1) {
			http.Error(w, web.ErrRoom.Error(), http.StatusServiceUnavailable)
			return
		}
		defer s.streams().room.Give(from, 1)
		shown := s.head(req.Context())
		parts, err := s.parts(req, r, shown)
		if err != nil {
			http.Error(w, "sign in first", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		e := &events{w, http.NewResponseController(w)}
		e.control.SetReadDeadline(time.Time{}) // nothing more is read
		s.follow(req, r, e, parts, shown)
	})
}

// follow writes the parts, which are as of a head of the journal or newer, and again when they have changed, until somebody ends it.
func (s *site) follow(req *http.Request, r route, e *events, parts []byte, shown uint64) {
	if e.write("shown", parts) != nil {
		return
	}
	told := s.streams().same(parts)
	looks := time.NewTicker(livePause)
	defer looks.Stop()
	for since := time.Duration(0); ; {
		select {
		case <-req.Context().Done():
			return
		case <-s.streams().over:
			return
		case <-looks.C:
		}
		head := s.head(req.Context())
		if since += livePause; head == shown && since < liveAgain {
			continue
		}
		since, shown = 0, head
		parts, err := s.parts(req, r, head)
		if err != nil {
			e.write("over", nil)
			return
		}
		if now := s.streams().same(parts); now == told {
			err = e.write("", nil)
		} else {
			told, err = now, e.write("shown", parts)
		}
		if err != nil {
			return
		}
	}
}

// head is where the journal ends: another one, and something has happened.
func (s *site) head(ctx context.Context) (position uint64) {
	s.Appliance.Look(ctx, func(*ledger.Ledger, ledger.Now) { position, _ = headOf(s.Appliance.Vault) })
	return position
}

// shared is what take finds in the ledger for a page: for a stream, what it found for another one less than livePause ago, if nothing has happened since that this one knows of. Something else waits until that is over.
func shared[T any](v *visit, page string, take func() (T, error)) (T, error) {
	if !v.live {
		return take()
	}
	what, err := v.streams().look(v.r.Context(), page, v.atLeast, func() uint64 { return v.site.head(v.r.Context()) }, func() (any, error) { return take() })
	out, _ := what.(T)
	return out, err
}

// look has take look for a page, if what is known is older than a head of the journal, or too old. Where now says that the journal has gone on meanwhile, all who have waited for that share the look.
func (l *live) look(ctx context.Context, page string, head uint64, now func() uint64, take func() (any, error)) (any, error) {
	l.mu.Lock()
	turn := l.turns[page]
	if turn == nil {
		turn = make(chan struct{}, 1)
		l.turns[page] = turn
	}
	l.mu.Unlock()
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	last := l.looks[page]
	l.mu.Unlock()
	if last != nil {
		if last.head >= head {
			return last.what, nil
		}
		select {
		case <-last.over:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.over:
		}
	}
	before := now()
	what, err := take()
	if err != nil {
		return nil, err
	}
	fresh := &looked{before, what, make(chan struct{})}
	l.mu.Lock()
	l.looks[page] = fresh
	l.mu.Unlock()
	time.AfterFunc(livePause, func() { // and a million seats are kept no longer than they are shown
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.looks[page] == fresh {
			delete(l.looks, page)
		}
		close(fresh.over)
	})
	return what, nil
}

// parts are those of the page as it is now, at a head of the journal or after, for who listens, if that may see it before and after it waited for them.
func (s *site) parts(req *http.Request, r route, head uint64) ([]byte, error) {
	v, err := s.listens(req, r)
	if err != nil {
		return nil, err
	}
	p := &partWriter{}
	v.w, v.atLeast = p, head
	if err := r.do(v); err != nil {
		return nil, err
	}
	still, err := s.listens(req, r)
	if err == nil && still.permissions != v.permissions {
		err = errSignInFirst // the parts are those of other roles
	}
	if err != nil {
		return nil, err
	}
	return p.Bytes(), nil
}

// listens is the visit of who listens to a page, if that may see it now.
func (s *site) listens(req *http.Request, r route) (*visit, error) {
	ctx, err := s.sessions.Look(req)
	if err != nil {
		return nil, err
	}
	v := &visit{site: s, r: req.WithContext(ctx), gate: r.gate, live: true}
	changed, err := v.who()
	if err == nil && changed {
		err = errSignInFirst
	}
	if err != nil {
		return nil, err
	}
	v.view = v.readViews()
	return v, v.passes(r.gate)
}

// partWriter is where a page writes its parts.
type partWriter struct{ bytes.Buffer }

func (*partWriter) Header() http.Header { return http.Header{} }
func (*partWriter) WriteHeader(int)     {}

// same is what two writings of the same parts have in common.
func (l *live) same(parts []byte) capability.Digest {
	return sha256.Sum256(l.once.ReplaceAll(parts, nil))
}

// events writes server-sent events (HTML Standard, 9.2) to who reads them soon enough.
type events struct {
	w       io.Writer
	control *http.ResponseController
}

// write sends an event of a kind; without one a comment, by which somebody who has gone is noticed.
func (e *events) write(kind string, data []byte) error {
	var b bytes.Buffer
	if kind == "" {
		b.WriteString(":\n")
	} else {
		b.WriteString("event: " + kind + "\n")
		for line := range bytes.Lines(data) {
			b.WriteString("data: ")
			b.Write(bytes.TrimRight(line, "\r\n"))
			b.WriteString("\n")
		}
		if len(data) == 0 {
			b.WriteString("data\n")
		}
	}
	b.WriteString("\n")
	defer time.AfterFunc(liveUnread, func() { e.control.SetWriteDeadline(time.Unix(1, 0)) }).Stop() // which is over
	if _, err := e.w.Write(b.Bytes()); err != nil {
		return err
	}
	return e.control.Flush()
}
