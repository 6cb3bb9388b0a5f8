package systemd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines is what a daemon wrote.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestLogging: what is logged follows the level at once, in loggers that were made before too, and the eight levels of syslog mean ours.
func TestLogging(t *testing.T) {
	var out lines
	l := NewLogging("leaseholdd", &out, slog.LevelInfo)
	log := l.Logger().With("part", 1).WithGroup("g")
	for name, want := range map[string]string{
		"debug": "debug", "info": "info", "notice": "info", "warning": "warning", "err": "err", "crit": "err", "alert": "err", "emerg": "err",
	} {
		if err := l.SetLevel(name); err != nil || l.Level() != want {
			t.Errorf("%s is %s, %v", name, l.Level(), err)
		}
		before := strings.Count(out.String(), "\n")
		log.Debug("x")
		log.Info("x")
		log.Warn("x")
		log.Error("x", "a", 1)
		if n := strings.Count(out.String(), "\n") - before; n != map[string]int{"debug": 4, "info": 3, "warning": 2, "err": 1}[want] {
			t.Errorf("%s: %d lines", name, n)
		}
	}
	if !strings.Contains(out.String(), "part=1 g.a=1") {
		t.Errorf("%s", out.String())
	}
	for _, bad := range []string{"", "INFO", "trace", "warn"} {
		if l.SetLevel(bad) == nil || l.Level() != "err" && l.Level() == "" {
			t.Errorf("%q is a level", bad)
		}
	}
	if l.Target() != "console" || l.SetTarget("journal") == nil || l.SetTarget("kmsg") == nil || l.SetTarget("auto") != nil || l.Target() != "console" {
		t.Error("a journal that nobody reads is a target")
	}
	l.journal = true
	if l.SetTarget("auto") != nil || l.Target() != "journal" || l.SetTarget("console") != nil || l.Target() != "console" || l.SetTarget("journal") != nil || l.Target() != "journal" {
		t.Error("the target does not change")
	}
}

// bus is a private one with the rule that is shipped, under which the account of this test is the daemon's, and root.
func bus(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	rule, err := fs.ReadFile(Units(), BusName+".conf")
	if err != nil {
		t.Fatal(err)
	}
	own := strings.NewReplacer(`user="leasehold"`, fmt.Sprintf("user=%q", me.Uid), `user="root"`, fmt.Sprintf("user=%q", me.Uid)).Replace(string(rule))
	config := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>custom</type>
  <listen>unix:path=` + dir + `/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="method_return"/>
    <allow send_type="error"/>
    <allow send_type="signal"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>rule.conf</include>
</busconfig>
`
	for name, text := range map[string]string{"bus.conf": config, "rule.conf": own} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("dbus-daemon", "--config-file="+filepath.Join(dir, "bus.conf"), "--nofork", "--nopidfile", "--print-address")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatalf("dbus-daemon is not installed; type: make deps (%v)", err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("dbus-daemon: %v %s", err, complaints.String())
	}
	return strings.TrimSpace(address)
}

// busctl asks as systemctl does.
func busctl(address string, args ...string) (string, error) {
	out, err := exec.Command("busctl", append([]string{"--address=" + address}, args...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestLogControl: what systemctl service-log-level asks for changes what is logged, without a restart; what is no level is refused, and nothing else can be done there.
func TestLogControl(t *testing.T) {
	address := bus(t)
	var out lines
	l := NewLogging("leaseholdd", &out, slog.LevelInfo)
	log := l.Logger()
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Control(ctx, address) }()
	get := func(property string) (string, error) {
		return busctl(address, "get-property", BusName, logControlPath, logControl, property)
	}
	set := func(property, value string) (string, error) {
		return busctl(address, "set-property", BusName, logControlPath, logControl, property, "s", value)
	}
	level, err := get("LogLevel")
	for until := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(until); level, err = get("LogLevel") {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err != nil || level != `s "info"` {
		t.Fatalf("%s, %v", level, err)
	}
	for property, want := range map[string]string{"LogTarget": `s "console"`, "SyslogIdentifier": `s "leaseholdd"`} {
		if got, err := get(property); err != nil || got != want {
			t.Errorf("%s: %s, %v", property, got, err)
		}
	}
	log.Debug("before")
	if got, err := set("LogLevel", "debug"); err != nil {
		t.Fatalf("%s, %v", got, err)
	}
	log.Debug("after")
	if got, err := get("LogLevel"); err != nil || got != `s "debug"` || strings.Contains(out.String(), "before") || !strings.Contains(out.String(), "after") {
		t.Errorf("%s, %v: %s", got, err, out.String())
	}
	for _, bad := range [][2]string{{"LogLevel", "loud"}, {"LogTarget", "kmsg"}, {"LogTarget", "journal"}, {"SyslogIdentifier", "other"}, {"Nothing", "x"}} {
		if got, err := set(bad[0], bad[1]); err == nil {
			t.Errorf("%s=%s is taken: %s", bad[0], bad[1], got)
		}
	}
	if got, err := get("LogLevel"); err != nil || got != `s "debug"` {
		t.Errorf("after that the level is %s, %v", got, err)
	}
	if got, err := busctl(address, "introspect", BusName, logControlPath); err != nil || !strings.Contains(got, "LogLevel") || !strings.Contains(got, "writable") {
		t.Errorf("%s, %v", got, err)
	}
	// A second daemon does without.
	if err := NewLogging("leaseholdd", &out, slog.LevelInfo).Control(ctx, address); err == nil || !strings.Contains(err.Error(), BusName) {
		t.Errorf("the name is given twice: %v", err)
	}
	end()
	if err := <-ended; err != nil {
		t.Errorf("it ended by %v", err)
	}
	if err := l.Control(t.Context(), "unix:path=/no/such/bus"); err == nil {
		t.Error("a bus that is not there is connected to")
	}
}

// The system bus is a socket on this machine, whatever the environment says.
func TestSystemBus(t *testing.T) {
	for given, want := range map[string]string{"": systemBus, "unix:path=/x": "unix:path=/x", "tcp:host=10.0.0.1,port=1": systemBus, "unix:path=/x;tcp:host=10.0.0.1": systemBus} {
		t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", given)
		if got := SystemBus(); got != want {
			t.Errorf("%q: %s", given, got)
		}
	}
}
