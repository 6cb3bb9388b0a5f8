package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// The socket of the program that polls has few places: whoever has them all keeps the next one waiting, and one that is closed is free again.
func TestPlaces(t *testing.T) {
	inner, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	l := withPlaces(inner, 2)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	for range 3 {
		c, err := net.Dial("unix", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	one, two := <-accepted, <-accepted
	if len(l.taken) != 2 {
		t.Errorf("%d places are taken", len(l.taken))
	}
	select {
	case <-accepted:
		t.Fatal("a third one has a place")
	default:
	}
	one.Close()
	one.Close() // leaves once
	three := <-accepted
	if len(l.taken) != 2 {
		t.Errorf("%d places are taken", len(l.taken))
	}
	inner.Close()
	two.Close()
	three.Close()
	if _, more := <-accepted; more {
		t.Error("a connection after the end")
	}
	if len(l.taken) != 0 {
		t.Errorf("%d places are taken in the end", len(l.taken))
	}
}

// A request that does not end on one socket takes no time from what was asked on another.
func TestShutDownSideBySide(t *testing.T) {
	dir := t.TempDir()
	begun, release := make(chan struct{}, 2), make(chan struct{})
	said := make(chan error, 1)
	var servers []*http.Server
	for _, name := range []string{"slow", "quick"} {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		s := unixServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begun <- struct{}{}
			if name == "quick" {
				<-release
				return
			}
			<-r.Context().Done()
		}))
		go s.Serve(l)
		servers = append(servers, s)
		client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", l.Addr().String())
		}}}
		go func() {
			w, err := client.Get("http://local/")
			if err == nil {
				_, err = io.Copy(io.Discard, w.Body)
			}
			if name == "quick" {
				said <- err
			}
		}()
	}
	<-begun
	<-begun
	stopping := make(chan struct{})
	servers[1].RegisterOnShutdown(func() { close(stopping) })
	patience, end := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { shutDown(patience, servers, slog.New(slog.DiscardHandler)); close(ended) }()
	select {
	case <-stopping:
	case <-time.After(20 * time.Second):
		t.Error("the quick one waits for the slow one")
	}
	close(release)
	if err := <-said; err != nil {
		t.Error(err)
	}
	end()
	<-ended
	if err := servers[0].Shutdown(context.Background()); err != nil && !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
