package main

import (
	"context"
	"fmt"
	"io"

	"github.com/godbus/dbus/v5"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/screen"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/systemd"
)

// power asks the login manager of this machine to restart it, or to switch it off (org.freedesktop.login1(5)). The reason is in the journal before.
func (t *textConsole) power(ctx context.Context, what screen.Power, why string) error {
	if t.remote.away() {
		return terminal.Usage("that is for the appliance itself")
	}
	if err := capability.CheckText(why); err != nil || why == "" {
		return terminal.Usage("--reason: want a text of at most %d bytes", capability.MaxText)
	}
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return terminal.Advised(capability.ErrNoDaemon, fmt.Errorf("the system bus: %w", err), "press the button of the machine")
	}
	defer bus.Close()
	e := capability.PowerAsked.Entry()
	beside := t.stderr
	if t.drawn {
		beside = io.Discard
	}
	systemd.Journal("leasehold-console", beside).Info(e.Title, "code", e.Code.String(), "what", string(what), "reason", why)
	method := map[screen.Power]string{screen.Restart: "Reboot", screen.Off: "PowerOff"}[what]
	const manager = "org.freedesktop.login1"
	if err := bus.Object(manager, "/org/freedesktop/login1").CallWithContext(ctx, manager+".Manager."+method, 0, false).Err; err != nil {
		return terminal.Advised(capability.ErrForbidden, fmt.Errorf("the login manager: %w", err), "press the button of the machine")
	}
	return nil
}
