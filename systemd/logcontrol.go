package systemd

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
	"github.com/godbus/dbus/v5/prop"
)

// BusName is the daemon's name on the system bus, as in its unit and in the bus's rule for it.
const BusName = "org.leasehold.leaseholdd"

const (
	logControl     = "org.freedesktop.LogControl1" // org.freedesktop.LogControl1(5)
	logControlPath = "/org/freedesktop/LogControl1"
	systemBus      = "unix:path=/run/dbus/system_bus_socket"
)

// SystemBus is the address of the system bus: a Unix socket, whatever the environment says.
func SystemBus() string {
	if a := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); strings.HasPrefix(a, "unix:") && !strings.Contains(a, ";") {
		return a
	}
	return systemBus
}

// Control lets systemctl service-log-level and service-log-target change what is logged, until ctx ends. Who may is the bus's rule: root alone.
// A bus that is not there, or that does not give us the name, is an error and no reason not to serve.
func (l *Logging) Control(ctx context.Context, bus string) error {
	conn, err := dbus.Connect(bus, dbus.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("connect to the bus at %s: %w", bus, err)
	}
	defer conn.Close()
	refused := func(err error) *dbus.Error {
		if err == nil {
			return nil
		}
		return dbus.NewError("org.freedesktop.DBus.Error.InvalidArgs", []any{err.Error()})
	}
	set := func(f func(string) error) func(*prop.Change) *dbus.Error {
		return func(c *prop.Change) *dbus.Error {
			s, ok := c.Value.(string)
			if !ok {
				return refused(fmt.Errorf("%s takes a word", c.Name))
			}
			return refused(f(s))
		}
	}
	properties, err := prop.Export(conn, logControlPath, prop.Map{logControl: {
		"LogLevel":         {Value: l.Level(), Writable: true, Emit: prop.EmitFalse, Callback: set(l.SetLevel)},
		"LogTarget":        {Value: l.Target(), Writable: true, Emit: prop.EmitFalse, Callback: set(l.SetTarget)},
		"SyslogIdentifier": {Value: l.program, Emit: prop.EmitConst},
	}})
	if err != nil {
		return fmt.Errorf("offer %s: %w", logControl, err)
	}
	if err := conn.Export(introspect.NewIntrospectable(&introspect.Node{Name: logControlPath, Interfaces: []introspect.Interface{
		introspect.IntrospectData, prop.IntrospectData, {Name: logControl, Properties: properties.Introspection(logControl)},
	}}), logControlPath, "org.freedesktop.DBus.Introspectable"); err != nil {
		return fmt.Errorf("describe %s: %w", logControl, err)
	}
	reply, err := conn.RequestName(BusName, dbus.NameFlagDoNotQueue)
	if err != nil {
		return fmt.Errorf("ask the bus for the name %s: %w", BusName, err)
	}
	if reply != dbus.RequestNameReplyPrimaryOwner {
		return fmt.Errorf("the bus gives the name %s to another program", BusName)
	}
	select {
	case <-ctx.Done():
		return nil
	case <-conn.Context().Done():
		return fmt.Errorf("the bus at %s has ended the connection", bus)
	}
}
