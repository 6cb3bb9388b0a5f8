package appliance

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// browsers are the connections on the port of clients that ask for HTTP, from a browser or another program. They come in by the same door, and are handed to a server of somebody else's as if
// that had a listener of its own.
type browsers struct {
	config *tls.Config // nil: they are refused
	cut    context.Context
	come   chan *tls.Conn
	over   chan struct{} // closed: no more are taken
	end    func()
}

func newBrowsers(o Options) *browsers {
	b := &browsers{cut: context.Background(), come: make(chan *tls.Conn), over: make(chan struct{})}
	b.end = sync.OnceFunc(func() { close(b.over) })
	if o.Certificate != nil {
		b.config = &tls.Config{
			GetCertificate:         o.Certificate,
			MinVersion:             tls.VersionTLS13,
			NextProtos:             []string{"h2", "http/1.1"},
			SessionTicketsDisabled: true, // a handshake costs little, and one way in is enough to look at
			Time:                   o.Now,
			Rand:                   o.Rand,
		}
	}
	return b
}

// speak says whether browsers are served that ask for these protocols. Who names none speaks HTTP/1.1: programs of old do, and no client of ours.
func (b *browsers) speak(protocols ...string) bool {
	return b.config != nil && (len(protocols) == 0 || slices.ContainsFunc(protocols, func(p string) bool { return slices.Contains(b.config.NextProtos, p) }))
}

// Browsers is where the connections of browsers come in while Serve runs, which begins later: each is a *tls.Conn that has done its handshake. The end of Serve's context ends none of them, so that
// what was asked can be answered; the end of cut ends them all. Close takes no more of them, and then Accept's error is net.ErrClosed, as when Serve ends.
func (a *Appliance) Browsers(cut context.Context) net.Listener {
	a.browsers.cut = cut
	return a.browsers
}

// Accept waits for the next one.
func (b *browsers) Accept() (net.Conn, error) {
	select {
	case c := <-b.come:
		return c, nil
	case <-b.over:
		return nil, net.ErrClosed
	}
}

// Close takes no more of them.
func (b *browsers) Close() error {
	b.end()
	return nil
}

// Addr says only what they are: the address is that of Serve's listener.
func (b *browsers) Addr() net.Addr { return browserAddr{} }

type browserAddr struct{}

func (browserAddr) Network() string { return "tcp" }
func (browserAddr) String() string  { return "browsers" }

// hand gives a connection to who accepts, before hs ends, and stays until it is closed or loses its place.
func (b *browsers) hand(ctx, hs context.Context, conn *tls.Conn, step *doorstep) error {
	defer context.AfterFunc(b.cut, func() { step.Conn.Close() })()
	select {
	case b.come <- conn:
	case <-b.over:
		return &refused{capability.ErrBusy, errors.New("the pages are not served any more")}
	case <-hs.Done():
		return &refused{capability.ErrBusy, errors.New("nobody had time for a browser")}
	}
	select {
	case <-step.gone:
	case <-ctx.Done():
	}
	return nil
}

// unread is how long one write to a browser may wait for it to read.
const unread = 30 * time.Second

// visit is what a connection below TLS keeps of a browser's after its handshake.
type visit struct {
	gone    chan struct{} // closed with the connection; nil: no browser's
	leave   func()
	now     func() time.Time
	limited atomic.Bool // somebody else has said how long a write may wait
}

// stay makes it a browser's.
func (s *doorstep) stay(now func() time.Time) {
	s.gone, s.now = make(chan struct{}), now
	s.leave = sync.OnceFunc(func() { close(s.gone) })
}

// Close ends the place of a browser too.
func (s *doorstep) Close() error {
	err := s.Conn.Close()
	if s.gone != nil {
		s.leave()
	}
	return err
}

// SetDeadline is also of writes.
func (s *doorstep) SetDeadline(t time.Time) error {
	s.limited.Store(!t.IsZero())
	return s.Conn.SetDeadline(t)
}

// SetWriteDeadline takes the place of the time that a browser has, until it is called with none.
func (s *doorstep) SetWriteDeadline(t time.Time) error {
	s.limited.Store(!t.IsZero())
	return s.Conn.SetWriteDeadline(t)
}

// patient sees to it that a browser which does not read is not waited for without end. A page that goes on for hours may be read for as long.
func (s *doorstep) patient() error {
	if s.gone == nil || s.limited.Load() {
		return nil
	}
	return s.Conn.SetWriteDeadline(s.now().Add(unread))
}
