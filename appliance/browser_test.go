package appliance

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// browsed makes the site's port answer browsers with h, and gives its address with what ends the port, and then what ends them.
func (s *site) browsed(h http.HandlerFunc) (address string, end, cut func()) {
	s.t.Helper()
	cert, _ := deviceCertificate(s.t)
	s.a.browsers = newBrowsers(Options{Now: time.Now, Rand: rand.Reader, Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }})
	all, cut := context.WithCancel(context.Background())
	ctx, end := context.WithCancel(context.Background())
	server := &http.Server{Handler: h}
	served, ended := make(chan error, 1), make(chan error, 1)
	from := s.a.Browsers(all)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(s.t, err)
	go func() { served <- server.Serve(from) }()
	go func() { ended <- s.a.Serve(ctx, l) }()
	s.t.Cleanup(func() {
		end()
		cut()
		if err := <-ended; err != nil {
			s.t.Errorf("the port ended by %v", err)
		}
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			s.t.Errorf("the browsers' server ended by %v", err)
		}
	})
	return l.Addr().String(), end, cut
}

// browse is a connection as a browser makes it.
func browse(t *testing.T, address string, protocols ...string) (*tls.Conn, error) {
	t.Helper()
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	return c, c.SetDeadline(time.Now().Add(20 * time.Second))
}

// get asks for a page on an open connection.
func get(c net.Conn) (string, error) {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	_, page, _ := strings.Cut(string(b), "\r\n\r\n")
	return page, err
}

// TestBrowsers: the port speaks HTTP with whoever asks for that, without a client's key, and the protocol of clients with whoever asks for that as well.
func TestBrowsers(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	j := s.hear()
	addr, _, _ := s.browsed(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto+" of "+r.Host) })
	var clients []*http.Client
	for _, row := range []struct {
		http2 bool
		page  string
	}{{true, "HTTP/2.0 of "}, {false, "HTTP/1.1 of "}} {
		var protocols http.Protocols
		protocols.SetHTTP1(!row.http2)
		protocols.SetHTTP2(row.http2)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: &protocols}}
		r, err := client.Get("https://" + addr)
		must(t, err)
		b, err := io.ReadAll(r.Body)
		must(t, err)
		if string(b) != row.page+addr || r.TLS.Version != tls.VersionTLS13 {
			t.Errorf("TLS %x, %q", r.TLS.Version, b)
		}
		clients = append(clients, client)
	}
	s.until("no browser is left", func(n Connections) bool {
		for _, client := range clients {
			client.CloseIdleConnections() // a connection is idle a moment after its answer was read
		}
		return n == Connections{}
	})
	for _, protocols := range [][]string{{"http/1.1"}, nil} {
		c, err := browse(t, addr, protocols...)
		must(t, err)
		if page, err := get(c); err != nil || page != "HTTP/1.1 of x" {
			t.Errorf("%q: %q, %v", protocols, page, err)
		}
	}
	for _, protocols := range [][]string{{wire.ALPN}, {"h2", wire.ALPN}, {wire.ALPN, "http/1.1"}} {
		c, id := dial(t, addr, func(c *tls.Config) { c.NextProtos = protocols })
		if r := s.roundTrip(c, want(id, 1, "render", 1)); r.Denials[0].Code != capability.ErrNotProvisioned {
			t.Errorf("%q: %+v", protocols, r)
		}
	}
	for _, row := range []struct {
		name   string
		change func(*tls.Config)
		code   capability.Code
	}{
		{"a browser of long ago", func(c *tls.Config) { c.MaxVersion, c.NextProtos = tls.VersionTLS12, []string{"h2"} }, capability.ErrTLSVersion},
		{"the next version", func(c *tls.Config) { c.NextProtos = []string{"leasehold/2"} }, capability.ErrALPN},
		{"a client without a key", func(c *tls.Config) { c.Certificates = nil }, capability.ErrHandshake},
	} {
		if c, _ := dial(t, addr, row.change); c != nil {
			if b, err := io.ReadAll(c); err == nil {
				t.Errorf("%s hears %q", row.name, b)
			}
		}
		j.says(t, row.name, row.code.String())
	}
}

// TestBrowsersTakeNothing: however many browsers come, every device is served and has its place, and of the browsers the ones that were silent longest go.
func TestBrowsersTakeNothing(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	s.activate(item(t, 1, "render", 50))
	addr, _, _ := s.browsed(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "page") })
	s.a.door.places.most.open, s.a.door.places.most.browsers, s.a.door.places.most.browsersFrom = 1, 3, 2
	c, id := dial(t, addr, nil)
	if r := s.roundTrip(c, want(id, 1, "render", 1)); len(r.Rights) != 1 {
		t.Fatalf("%+v", r)
	}
	first, err := browse(t, addr, "http/1.1")
	must(t, err)
	s.until("a browser where devices have every place", func(n Connections) bool { return n.Browsers == 1 && n.Known == 1 })
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 50 {
				if c, err := browse(t, addr, "http/1.1"); err == nil {
					c.Write([]byte("GET / HTTP/1.1\r\n")) // and no more
				}
			}
		})
	}
	for i := range byte(50) {
		if r := s.roundTrip(c, want(id, i+2, "render", uint32(1+i))); len(r.Rights) != 1 || r.Rights[0].Count != uint32(1+i) {
			t.Fatalf("%d: %+v", i, r)
		}
	}
	running.Wait()
	s.until("two browsers and the device", func(n Connections) bool { return n.Browsers == 2 && n.Open == 1 && n.Known == 1 && n.HalfOpen == 0 })
	if _, err := io.ReadAll(first); timedOut(err) {
		t.Error("the browser silent longest stays")
	}
	last, err := browse(t, addr, "http/1.1")
	must(t, err)
	if page, err := get(last); err != nil || page != "page" {
		t.Errorf("the last browser has %q, %v", page, err)
	}
}

// TestBrowserOutlivesThePort: what a browser has asked is answered when the port has ended, and what hangs is cut off.
func TestBrowserOutlivesThePort(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	asked, answer := make(chan bool, 2), make(chan bool)
	addr, end, cut := s.browsed(func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		<-answer
		io.WriteString(w, "answered")
	})
	client, _ := dial(t, addr, nil)
	client.Write(s.a.codec.Ask())
	if kind, _, err := s.a.codec.ReadFrame(client); err != nil || kind != wire.MessageChain {
		t.Fatal(kind, err)
	}
	c, err := browse(t, addr, "http/1.1")
	must(t, err)
	hangs, err := browse(t, addr, "http/1.1")
	must(t, err)
	page := make(chan string)
	go func() {
		p, err := get(c)
		if err != nil {
			p = err.Error()
		}
		page <- p
	}()
	<-asked
	end()
	if _, err := io.ReadAll(client); timedOut(err) {
		t.Error("a client's connection stays")
	}
	if _, err := browse(t, addr, "http/1.1"); err == nil {
		t.Error("the port takes more")
	}
	close(answer)
	if p := <-page; p != "answered" {
		t.Errorf("heard %q", p)
	}
	cut()
	if _, err := io.ReadAll(hangs); timedOut(err) {
		t.Error("one that hangs is not cut off")
	}
}

// TestBrowserThatDoesNotRead is waited for so long, and one whose server has said how long for that.
func TestBrowserThatDoesNotRead(t *testing.T) {
	now := time.Now()
	raw := &deadlines{}
	s := &doorstep{Conn: raw}
	if _, err := s.Write([]byte("x")); err != nil || len(raw.set) != 0 {
		t.Errorf("a client's: %v, %v", raw.set, err)
	}
	s.stay(func() time.Time { return now })
	s.Write([]byte("x"))
	s.SetDeadline(now.Add(time.Hour))
	s.Write([]byte("x"))
	s.SetWriteDeadline(time.Time{})
	s.Write([]byte("x"))
	if want := []time.Time{now.Add(unread), now.Add(time.Hour), {}, now.Add(unread)}; len(raw.set) != len(want) || raw.set[0] != want[0] || raw.set[1] != want[1] || raw.set[2] != want[2] || raw.set[3] != want[3] {
		t.Errorf("%v, want %v", raw.set, want)
	}
	s.Close()
	s.Close()
	select {
	case <-s.gone:
	default:
		t.Error("its place stays")
	}
}

type deadlines struct {
	net.Conn
	set []time.Time
}

func (d *deadlines) Write(b []byte) (int, error)        { return len(b), nil }
func (d *deadlines) SetDeadline(t time.Time) error      { return d.SetWriteDeadline(t) }
func (d *deadlines) SetWriteDeadline(t time.Time) error { d.set = append(d.set, t); return nil }
func (d *deadlines) Close() error                       { return nil }
