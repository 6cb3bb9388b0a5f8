package web

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"
)

const (
	// Idle is how long a session lasts without a request unless SetIdle says otherwise, and Longest how long at most.
	Idle    = 30 * time.Minute
	Longest = 8 * time.Hour

	// Fresh is how long it counts that somebody has shown who it is, where more is at stake than a look.
	Fresh = 5 * time.Minute

	// MaxSessions at once; with the next one the one that was idle for longest ends.
	MaxSessions = 10_000
)

// Sessions are who is signed in: a cookie of 256 random bits, and what belongs to it in memory. A restart ends them all.
type Sessions struct {
	m    *scs.SessionManager
	now  func() time.Time
	idle *atomic.Int64
}

// NewSessions are none yet. Their limits are measured on now's monotonic clock: setting the system's clock lengthens nothing.
func NewSessions(now func() time.Time) *Sessions {
	idle := &atomic.Int64{}
	idle.Store(int64(Idle))
	// Not by scs.New: the store that it begins with leaves a goroutine that wakes once a minute.
	m := &scs.SessionManager{Store: &memory{now: now, idle: idle, kept: map[string]kept{}}, Codec: scs.GobCodec{}, Lifetime: Longest, IdleTimeout: Idle, HashTokenInStore: true}
	m.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, "session: "+err.Error(), http.StatusInternalServerError)
	}
	m.Cookie.Name, m.Cookie.Path, m.Cookie.Secure, m.Cookie.HttpOnly, m.Cookie.SameSite, m.Cookie.Persist = "__Host-session", "/", true, true, http.SameSiteStrictMode, false
	return &Sessions{m, now, idle}
}

// SetIdle has sessions last so long without a request, at most Longest; those that there are too.
func (s *Sessions) SetIdle(d time.Duration) { s.idle.Store(int64(min(d, Longest))) }

// Handler gives every request its session.
func (s *Sessions) Handler(next http.Handler) http.Handler { return s.m.LoadAndSave(next) }

// Look is the context of a request with the session that it names, for Who, and the session does not last longer for it.
func (s *Sessions) Look(r *http.Request) (context.Context, error) {
	token := ""
	if c, err := r.Cookie(s.m.Cookie.Name); err == nil {
		token = c.Value
	}
	return s.m.Load(r.Context(), token)
}

// Begin signs somebody in: under a new cookie, so that one from before is worth nothing, and with nothing of what was kept under that one.
func (s *Sessions) Begin(ctx context.Context, name string, since int64) error {
	if err := s.m.RenewToken(ctx); err != nil {
		return err
	}
	if err := s.m.Clear(ctx); err != nil {
		return err
	}
	s.m.Put(ctx, "name", name)
	s.m.Put(ctx, "since", since)
	s.Prove(ctx)
	return nil
}

// Prove keeps that who is signed in has shown just now who it is, and Proved says that this was no longer ago than Fresh.
func (s *Sessions) Prove(ctx context.Context) { s.m.Put(ctx, "proved", s.now().Unix()) }
func (s *Sessions) Proved(ctx context.Context) bool {
	at, now := s.m.GetInt64(ctx, "proved"), s.now().Unix()
	return at <= now && now < at+int64(Fresh/time.Second)
}

// End signs out.
func (s *Sessions) End(ctx context.Context) error { return s.m.Destroy(ctx) }

// Who is signed in, and as of which change of the login; empty: nobody.
func (s *Sessions) Who(ctx context.Context) (name string, since int64) {
	return s.m.GetString(ctx, "name"), s.m.GetInt64(ctx, "since")
}

// Put keeps a value for this session, and Take gives it back once.
func (s *Sessions) Put(ctx context.Context, key, value string)  { s.m.Put(ctx, key, value) }
func (s *Sessions) Take(ctx context.Context, key string) string { return s.m.PopString(ctx, key) }

// memory keeps sessions. The ends that it is told are of the wall clock, so it keeps its own.
type memory struct {
	now  func() time.Time
	idle *atomic.Int64
	mu   sync.Mutex
	// kept are the sessions by the hash of their cookie.
	kept map[string]kept
}

type kept struct {
	content     []byte
	first, last time.Time
	// ended sessions are remembered for as long as they would have lasted: a request that was under way when its session ended must not write it back.
	ended bool
}

var _ scs.Store = (*memory)(nil)

func (m *memory) Find(token string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.kept[token]
	if !ok || k.ended {
		return nil, false, nil
	}
	if m.over(k) {
		m.end(token)
		return nil, false, nil
	}
	return k.content, true, nil
}

func (m *memory) over(k kept) bool {
	now := m.now()
	return now.Sub(k.last) >= time.Duration(m.idle.Load()) || now.Sub(k.first) >= Longest
}

func (m *memory) Commit(token string, content []byte, _ time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.kept[token]
	switch {
	case !ok:
		m.makeRoom()
		k.first = m.now()
	case k.ended || m.over(k):
		m.end(token)
		return nil
	}
	k.content, k.last = content, m.now()
	m.kept[token] = k
	return nil
}

func (m *memory) makeRoom() {
	if len(m.kept) < MaxSessions {
		return
	}
	oldest, now := "", m.now()
	for token, k := range m.kept {
		if now.Sub(k.last) >= Longest+Idle { // no request that it began is still under way
			delete(m.kept, token)
		} else if oldest == "" || k.last.Before(m.kept[oldest].last) {
			oldest = token
		}
	}
	if len(m.kept) >= MaxSessions {
		delete(m.kept, oldest)
	}
}

func (m *memory) Delete(token string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end(token)
	return nil
}

func (m *memory) end(token string) {
	if _, ok := m.kept[token]; ok {
		m.kept[token] = kept{ended: true, first: m.now(), last: m.now()}
	}
}
