package web

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// There is so much for one network and so much for all, and what is given back is there again.
func TestRoom(t *testing.T) {
	r := NewRoom(10, 6)
	for n, step := range []struct {
		from  string
		takes int64
		there bool
	}{
		{"2001:db8::1", 4, true}, {"2001:db8::2", 3, false}, {"2001:db8::2", 2, true}, {"192.0.2.1", 5, false}, {"192.0.2.1", 4, true}, {"198.51.100.1", 1, false},
	} {
		if got := r.Take(step.from, step.takes); got != step.there {
			t.Errorf("step %d: %t", n, got)
		}
	}
	r.Give("2001:db8::3", 6)
	if !r.Take("198.51.100.1", 6) || r.Take("192.0.2.1", 1) {
		t.Error("what was given back is not there, or more")
	}
	r.Give("198.51.100.1", 6)
	r.Give("192.0.2.1", 4)
	if r.used != 0 || len(r.of) != 0 {
		t.Errorf("%d are used, by %v", r.used, r.of)
	}
}

// What requests bring counts while they are answered and no longer, whoever reads it and however it ends.
func TestBodies(t *testing.T) {
	const each = requestBytes + 1000
	room := NewRoom(3*requestBytes, each)
	var read error
	inside := func(*http.Request) {}
	h := Bodies(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if used := room.of[host(r.RemoteAddr)]; err == nil && len(b) > 0 && used != requestBytes+int64(len(b)) {
			t.Errorf("%d are used for %d bytes", used, len(b))
		}
		read = err
		inside(r)
	}), room)
	send := func(from string, size int) int {
		read = nil
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(make([]byte, size)))
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	if code := send("192.0.2.1:1", 1000); code != http.StatusOK || read != nil {
		t.Error(code, read)
	}
	if code := send("192.0.2.1:1", 1001); code != http.StatusOK || !errors.Is(read, ErrRoom) {
		t.Error(code, read)
	}
	inside = func(*http.Request) {
		inside = func(r *http.Request) {
			if r.RemoteAddr == "192.0.2.1:2" {
				t.Error("it was let in")
			}
		}
		if code := send("192.0.2.1:2", 1); code != http.StatusServiceUnavailable {
			t.Errorf("a second one of the same address: %d", code)
		}
		if code := send("198.51.100.1:1", 1); code != http.StatusOK || read != nil {
			t.Errorf("one of another address: %d, %v", code, read)
		}
	}
	if code := send("192.0.2.1:1", 900); code != http.StatusOK {
		t.Error(code)
	}
	if code := send("192.0.2.1:1", 0); code != http.StatusOK {
		t.Error(code)
	}
	if room.used != 0 {
		t.Errorf("%d are used in the end", room.used)
	}
	// A panic gives back what was taken too.
	inside = func(*http.Request) { panic("it") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		send("192.0.2.1:1", 10)
	}()
	if room.used != 0 {
		t.Errorf("%d are used after a panic", room.used)
	}
}

// One connection too many is closed; one that has ended makes room, and twice closed is once.
func TestConnections(t *testing.T) {
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := NewRoom(5, 2).Listener(in)
	defer l.Close()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	accept := func() net.Conn {
		t.Helper()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for range 2 {
		dial()
		accept()
	}
	third := dial()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("the third connection is open")
	}
	select {
	case c := <-accepted:
		t.Errorf("accepted: %v", c.RemoteAddr())
	default:
	}
	l.Close()
	<-accepted

	room := NewRoom(1, 1)
	one, other := net.Pipe()
	defer other.Close()
	fake := room.Listener(&once{conn: one})
	c, err := fake.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	c.Close()
	if room.used != 0 {
		t.Errorf("%d connections after it was closed twice", room.used)
	}
}

// once is a listener that one connection comes to.
type once struct {
	net.Listener
	conn net.Conn
}

func (o *once) Accept() (net.Conn, error) { return o.conn, nil }
