package web

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
)

// ErrRoom: what is sent now has no room beside what others send, or beside what the same address sends already.
var ErrRoom = errors.New("this server is sent more at the moment than it takes at once; send it again later")

// Room is how much of something there may be at once: for all, and for each address with what is Nearby. Whoever sends very much, or very slowly, takes up what is one address's and no more.
type Room struct {
	all, each int64

	mu   sync.Mutex
	used int64
	of   map[string]int64 // without those that use nothing
}

// NewRoom is empty.
func NewRoom(all, each int64) *Room { return &Room{all: all, each: each, of: map[string]int64{}} }

// Take takes n for an address, or says that there is no room; then nothing is taken.
func (r *Room) Take(address string, n int64) bool {
	address = Nearby(address)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used+n > r.all || r.of[address]+n > r.each {
		return false
	}
	r.used += n
	r.of[address] += n
	return true
}

// Give gives back n of what an address took.
func (r *Room) Give(address string, n int64) {
	address = Nearby(address)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= n
	if r.of[address] -= n; r.of[address] == 0 {
		delete(r.of, address)
	}
}

// requestBytes are what a request takes besides what it brings.
const requestBytes = 32 << 10

// Bodies bounds by a room, in bytes, what requests bring that are being answered: a byte counts from when it is read until the answer is written. A request for which there is no room is answered with 503; one that
// grows beyond it has ErrRoom from its body.
func Bodies(next http.Handler, room *Room) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		b := &body{ReadCloser: r.Body, room: room, from: host(r.RemoteAddr)}
		if !b.take(requestBytes) {
			w.Header().Set("Retry-After", "10")
			http.Error(w, ErrRoom.Error(), http.StatusServiceUnavailable)
			return
		}
		defer b.end()
		r.Body = b
		next.ServeHTTP(w, r)
	})
}

type body struct {
	io.ReadCloser
	room *Room
	from string

	mu    sync.Mutex // a handler that has ended may have left somebody reading
	taken int64
	ended bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if !b.take(int64(n)) {
		return 0, ErrRoom
	}
	return n, err
}

func (b *body) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended || !b.room.Take(b.from, n) {
		return false
	}
	b.taken += n
	return true
}

func (b *body) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.room.Give(b.from, b.taken)
}

// Listener bounds by a room how many connections are open. One more is closed at once.
func (r *Room) Listener(l net.Listener) net.Listener { return &listener{l, r} }

type listener struct {
	net.Listener
	room *Room
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := host(c.RemoteAddr().String())
		if l.room.Take(from, 1) {
			return &conn{Conn: c, end: sync.OnceFunc(func() { l.room.Give(from, 1) })}, nil
		}
		c.Close()
	}
}

type conn struct {
	net.Conn
	end func()
}

func (c *conn) Close() error {
	c.end()
	return c.Conn.Close()
}

// host is the address of who sends, without the port.
func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}

// AddressOf is the address of who sends a request, without the port.
func AddressOf(r *http.Request) string { return host(r.RemoteAddr) }
