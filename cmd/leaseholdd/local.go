package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/systemd"
)

// unixServer answers on a Unix socket: the leasehold command, the program that polls, or the one that asks a directory.
func unixServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ConnContext: console.WithPeer, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
}

// pollPlaces are the connections that the program that polls may have at a time: it needs one, and two of it are there while it is started anew. Its account is the one on an appliance that talks to the world
// outside, so it gets neither the daemon's memory nor its files.
const pollPlaces = 4

// directoryPlaces are those of the program that asks a directory: it needs four, and two of it are there while it is started anew.
const directoryPlaces = 8

// places is a listener with so many connections at a time; the others wait in the kernel until one is closed.
type places struct {
	net.Listener
	taken chan struct{}
}

func withPlaces(l net.Listener, n int) *places { return &places{l, make(chan struct{}, n)} }

func (p *places) Accept() (net.Conn, error) {
	p.taken <- struct{}{} // the end of a server closes its connections too
	c, err := p.Listener.Accept()
	if err != nil {
		<-p.taken
		return nil, err
	}
	return &placed{Conn: c, leave: sync.OnceFunc(func() { <-p.taken })}, nil
}

type placed struct {
	net.Conn
	leave func()
}

func (c *placed) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// shutDown ends servers side by side, so that none of them uses up the patience with another. What is not done then is cut off.
func shutDown(patience context.Context, servers []*http.Server, log *slog.Logger) {
	var ends sync.WaitGroup
	for _, server := range servers {
		ends.Go(func() {
			if err := server.Shutdown(patience); err != nil {
				log.Warn("what an administrator asked is cut off", "cause", err.Error())
				server.Close()
			}
		})
	}
	ends.Wait()
}

// busPatience is the wait for a system bus: at boot it may come later than this daemon.
const busPatience = time.Minute

// controlled lets the service manager change what is logged, where one has started this daemon.
func controlled(ctx context.Context, l *systemd.Logging) {
	if os.Getenv("INVOCATION_ID") == "" {
		return
	}
	for {
		if err := l.Control(ctx, systemd.SystemBus()); err != nil && ctx.Err() == nil {
			l.Logger().Debug("the log level cannot be changed over the bus", "cause", err.Error())
		}
		select {
		case <-time.After(busPatience):
		case <-ctx.Done():
			return
		}
	}
}
