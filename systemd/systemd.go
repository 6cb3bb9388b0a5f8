// Package systemd speaks with the service manager: it says READY, STATUS and WATCHDOG, takes the sockets that were passed in, writes to the journal,
// and carries the unit files. Outside systemd every call does nothing, or what a terminal needs.
package systemd

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"net"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

//go:embed units
var units embed.FS

// Units holds the unit files and the sysusers file by name.
func Units() fs.FS {
	sub, err := fs.Sub(units, "units")
	if err != nil {
		panic(err) // the directory is embedded: it is there
	}
	return sub
}

// Ready says that the daemon serves, with a line for systemctl status.
func Ready(status string) error { return notify(daemon.SdNotifyReady + "\nSTATUS=" + oneLine(status)) }

// Status replaces the line that systemctl status shows.
func Status(status string) error { return notify("STATUS=" + oneLine(status)) }

// Stopping says that a clean stop has begun.
func Stopping() error { return notify(daemon.SdNotifyStopping) }

func notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// oneLine keeps a status from becoming another assignment.
func oneLine(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < 0x20 {
			b[i] = ' '
		}
	}
	return string(b)
}

// Watch tells the watchdog that the daemon is well, twice an interval, for as long as alive answers without an error; it returns when ctx ends or alive fails.
// Where no watchdog is set it waits for ctx. alive must fail rather than hang, so its context ends with the interval. A service manager that does not hear it
// is told of to unheard, the first time: whoever serves well does not end for that.
func Watch(ctx context.Context, alive func(context.Context) error, unheard func(error)) error {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("read the watchdog interval: %w", err)
	}
	if interval == 0 {
		<-ctx.Done()
		return nil
	}
	t := time.NewTicker(interval / 2)
	defer t.Stop()
	for said := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		c, cancel := context.WithTimeout(ctx, interval/2)
		err := alive(c)
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watchdog: %w", err)
		}
		if err := notify(daemon.SdNotifyWatchdog); err != nil && !said {
			said = true
			unheard(err)
		}
	}
}

// Listeners are the sockets that were passed in, by FileDescriptorName. None were when the map is empty.
func Listeners() (map[string]net.Listener, error) {
	passed, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("take the sockets that were passed in: %w", err)
	}
	one := make(map[string]net.Listener, len(passed))
	for name, ls := range passed {
		if len(ls) != 1 {
			return nil, fmt.Errorf("take the sockets that were passed in: %d are named %q where one is wanted", len(ls), name)
		}
		one[name] = ls[0]
	}
	return one, nil
}
