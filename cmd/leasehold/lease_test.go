package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// A signal that ends programs ends the wait for a seat; others are for nobody, and none is left for the program that starts then.
func TestSignalsWhileWaiting(t *testing.T) {
	for _, row := range []struct {
		come   []os.Signal
		status int
	}{
		{[]os.Signal{os.Interrupt}, 130}, {[]os.Signal{syscall.SIGTERM}, 143}, {[]os.Signal{syscall.SIGHUP}, 129}, {[]os.Signal{syscall.SIGQUIT}, 131},
		{[]os.Signal{syscall.SIGWINCH, syscall.SIGUSR1, syscall.SIGHUP}, 129}, {[]os.Signal{syscall.SIGWINCH, syscall.SIGUSR1, syscall.SIGCONT}, 0},
	} {
		signals := make(chan os.Signal)
		granted := make(chan struct{})
		go func() {
			for _, s := range row.come {
				signals <- s
			}
			if row.status == 0 {
				close(granted)
			}
		}()
		l, err := acquireUntil(t.Context(), signals, func(ctx context.Context) (leased, error) {
			select {
			case <-granted:
				return new(client.Lease), nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		})
		var status terminal.ExitStatus
		if errors.As(err, &status); int(status) != row.status || (l != nil) != (row.status == 0) {
			t.Errorf("%v: %v, a lease %t, where exit status %d is wanted", row.come, err, l != nil, row.status)
		}
	}
}

func TestServers(t *testing.T) {
	for given, want := range map[string][]string{
		"a:7070": {"a:7070"}, "a:1,b:2": {"a:1", "b:2"}, " a:1 , b:2,": {"a:1", "b:2"}, "a:1\tb:2": {"a:1", "b:2"}, "": nil, " ,": nil,
	} {
		if got := servers(given); !slices.Equal(got, want) {
			t.Errorf("%q: %q", given, got)
		}
	}
}
