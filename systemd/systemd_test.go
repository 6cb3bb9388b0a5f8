package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// writeUnits puts the units into a directory with ExecStart naming a program that exists, as systemd-analyze asks for.
func writeUnits(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "leaseholdd")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := fs.ReadDir(Units(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := fs.ReadFile(Units(), e.Name())
		if err != nil {
			t.Fatal(err)
		}
		b = []byte(strings.NewReplacer("/usr/bin/leaseholdd", program, "/usr/bin/leasehold ", program+" ").Replace(string(b)))
		if err := os.WriteFile(filepath.Join(dir, e.Name()), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The exposure of every unit, as systemd-analyze computes it in tenths of 10: 0.5 for the server, and 1.5 for whatever else runs. There is no list of them, so a new one is rated too.
func TestExposure(t *testing.T) {
	dir := writeUnits(t)
	rate := func(file string, most int) ([]byte, error) {
		return exec.Command("systemd-analyze", "security", "--offline=true", fmt.Sprintf("--threshold=%d", most), "--no-pager", file).CombinedOutput()
	}
	units, err := filepath.Glob(filepath.Join(dir, "*.service"))
	if err != nil || len(units) < 8 {
		t.Fatal(units, err)
	}
	for _, u := range units {
		most := 15
		if filepath.Base(u) == "leaseholdd.service" {
			most = 5
		}
		out, err := rate(u, most)
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Log(lines[len(lines)-1])
		if err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(u), err, out)
		}
	}
	// The same gate must be able to fail.
	naked := filepath.Join(dir, "naked.service")
	if err := os.WriteFile(naked, []byte("[Service]\nExecStart="+filepath.Join(dir, "leaseholdd")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := rate(naked, 15); err == nil {
		t.Errorf("a unit without hardening passes too:\n%s", out)
	}
}

func TestUnitsAreWellFormed(t *testing.T) {
	dir := writeUnits(t)
	for _, name := range []string{"leaseholdd.socket", "leaseholdd-admin.socket", "leaseholdd.service", "leasehold-hostid.service", "leasehold-hostid.timer", "leasehold-hostid-change.timer", "leasehold-hostid-change.service", "leaseholdd-poll.socket", "leasehold-poll.service", "leaseholdd-directory.socket", "leasehold-directory.service"} {
		cmd := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", filepath.Join(dir, name))
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// The units that ask the back office and a directory have the network and nothing else. They alone have it, nothing starts them but an administrator, and each has an account
// and a socket of its own, which is not that of administrators.
func TestUnitsThatConnect(t *testing.T) {
	names := []string{"poll", "directory"}
	entries, err := fs.ReadDir(Units(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := fs.ReadFile(Units(), e.Name())
		if err != nil {
			t.Fatal(err)
		}
		unit, mine := "\n"+string(b), slices.ContainsFunc(names, func(name string) bool { return e.Name() == "leasehold-"+name+".service" })
		if network := strings.Contains(unit, "AF_INET"); network != mine {
			t.Errorf("%s: network %v", e.Name(), network)
		}
		if strings.HasSuffix(e.Name(), ".service") && !mine && !strings.Contains(unit, "\nRestrictAddressFamilies=AF_UNIX\n") && !strings.Contains(unit, "\nRestrictAddressFamilies=none\n") && !strings.Contains(unit, "\nRestrictAddressFamilies=AF_UNIX AF_NETLINK\n") {
			t.Errorf("%s: no limit to its sockets", e.Name())
		}
		for _, name := range names {
			if e.Name() != "leasehold-"+name+".service" && strings.Contains(unit, "leasehold-"+name+".service") {
				t.Errorf("%s names what only an administrator starts", e.Name())
			}
			account := "leasehold-" + name + "\n"
			if e.Name() == "leaseholdd-"+name+".socket" && (!strings.Contains(unit, "\nSocketUser="+account) || !strings.Contains(unit, "\nSocketMode=0600\n")) {
				t.Errorf("%s is open to others", e.Name())
			}
			if e.Name() == "leasehold-"+name+".service" && (!strings.Contains(unit, "\nUser="+account) || !strings.Contains(unit, "\nRequires=leaseholdd-"+name+".socket\n") || !strings.Contains(unit, "\nExecStart=/usr/bin/leasehold "+name+"\n")) {
				t.Errorf("%s runs as another account, or asks on another socket", e.Name())
			}
		}
	}
}

// A change of what a machine shows starts the unit that looks at it; the daemon wants the unit and its timer.
func TestUnitsOfTheLook(t *testing.T) {
	text := func(name string) string {
		b, err := fs.ReadFile(Units(), name)
		if err != nil {
			t.Fatal(err)
		}
		return "\n" + string(b)
	}
	const unit, change = "leasehold-hostid.service", "leasehold-hostid-change.timer"
	for name, wants := range map[string][]string{
		"leaseholdd.service":              {"\nWants=" + unit + " leasehold-hostid.timer\n"},
		unit:                              {"\nType=oneshot\n", "\nUser=root\n", "\nCapabilityBoundingSet=\n", "\nNoNewPrivileges=yes\n", "\nProtectSystem=strict\n", "\nRequisite=leaseholdd.service\n", "\nExecStart=/usr/bin/leasehold hostid --tell\n"},
		"leasehold-hostid.timer":          {"\nOnUnitActiveSec=5min\n", "\nPartOf=leaseholdd.service\n"},
		change:                            {"\nOnActiveSec=500ms\n", "\nRemainAfterElapse=no\n", "\nPartOf=leaseholdd.service\n"},
		"leasehold-hostid-change.service": {"\nType=oneshot\n", "\nExecStart=/usr/bin/systemctl --no-block restart " + unit + "\n"},
	} {
		for _, line := range wants {
			if !strings.Contains(text(name), line) {
				t.Errorf("%s lacks %q", name, strings.TrimSpace(line))
			}
		}
	}
	for _, sandbox := range []string{"PrivateNetwork=", "PrivateUsers=", "ProcSubset=", "PrivateDevices="} { // each would hide what is looked at
		if strings.Contains(text(unit), "\n"+sandbox) {
			t.Errorf("%s has %s", unit, sandbox)
		}
	}
	rules := strings.Split(strings.TrimSpace(text("60-leasehold-hostid.rules")), "\n")
	var matched, ran bool
	for _, line := range rules {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for _, part := range strings.Split(line, ", ") {
			key, value, ok := strings.Cut(strings.NewReplacer("+=", "=", "==", "=", "!=", "=").Replace(part), "=")
			if !ok || len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' || strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
				t.Errorf("%q is no part of a rule", part)
			}
			switch key {
			case "SUBSYSTEM":
				matched = strings.Trim(value, `"`) == "net|usb|block|dmi|hidraw"
			case "RUN":
				ran = strings.HasSuffix(strings.Trim(value, `"`), "--no-block restart "+change)
			}
		}
	}
	if !matched || !ran {
		t.Errorf("the rules do not start %s: %q", change, rules)
	}
}

// Every option of the hardening list is in the unit.
func TestHardeningList(t *testing.T) {
	b, err := fs.ReadFile(Units(), "leaseholdd.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := "\n" + string(b)
	for _, option := range strings.Fields(`User= CapabilityBoundingSet= NoNewPrivileges=yes ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateUsers=yes PrivateMounts=yes
		PrivateIPC=yes PrivateNetwork=yes ProtectProc=invisible ProcSubset=pid ProtectClock=yes ProtectHostname=yes ProtectKernelTunables=yes ProtectKernelModules=yes
		ProtectKernelLogs=yes ProtectControlGroups=yes RestrictNamespaces=yes RestrictRealtime=yes RestrictSUIDSGID=yes RestrictAddressFamilies=AF_UNIX IPAddressDeny=any
		MemoryDenyWriteExecute=yes LockPersonality=yes SystemCallArchitectures=native SystemCallFilter=@system-service DevicePolicy=closed UMask=0077 KeyringMode=private
		RemoveIPC=yes LimitCORE=0 MemoryMax= MemorySwapMax=0 SystemCallFilter=memfd_secret TasksMax= StateDirectoryMode=0700 WatchdogSec= StartLimitIntervalSec=0`) {
		if !strings.Contains(unit, "\n"+option) {
			t.Errorf("%s is missing", option)
		}
	}
	for _, class := range strings.Fields("@privileged @resources @mount @swap @reboot @module @raw-io @obsolete @cpu-emulation @debug @clock @keyring") {
		if !strings.Contains(unit, class) {
			t.Errorf("system calls of %s are not taken away", class)
		}
	}
}

// manager is a stand-in for the service manager's end of the notification socket.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	addr := &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"}
	c, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", addr.Name)
	return c
}

func read(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestNotify(t *testing.T) {
	c := manager(t)
	if err := Ready("serving 1/2\nMAINPID=1"); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, c), "READY=1\nSTATUS=serving 1/2 MAINPID=1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := Stopping(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c); got != "STOPPING=1" {
		t.Errorf("got %q", got)
	}
}

func TestWatchdogStopsWithTheDaemon(t *testing.T) {
	c := manager(t)
	t.Setenv("WATCHDOG_USEC", "2000")
	t.Setenv("WATCHDOG_PID", "")
	calls, dead := 0, errors.New("owner has ended")
	err := Watch(context.Background(), func(context.Context) error {
		if calls++; calls > 3 {
			return dead
		}
		return nil
	}, func(err error) { t.Error(err) })
	if !errors.Is(err, dead) {
		t.Fatal(err)
	}
	for range 3 {
		if got := read(t, c); got != "WATCHDOG=1" {
			t.Errorf("got %q", got)
		}
	}
}

// A daemon that is well outlives a service manager that does not hear it, and says so once.
func TestWatchUnheard(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	t.Setenv("WATCHDOG_USEC", "2000")
	t.Setenv("WATCHDOG_PID", "")
	ctx, cancel := context.WithCancel(context.Background())
	calls, said := 0, 0
	err := Watch(ctx, func(context.Context) error {
		if calls++; calls > 5 {
			cancel()
		}
		return nil
	}, func(err error) {
		if said++; err == nil {
			t.Error("unheard, and no cause")
		}
	})
	if err != nil || calls != 6 || said != 1 {
		t.Errorf("%v; asked %d times, said %d times", err, calls, said)
	}
}

func TestWatchWithoutWatchdogWaits(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		begin := time.Now()
		if err := Watch(ctx, func(context.Context) error { t.Error("asked"); return nil }, nil); err != nil || time.Since(begin) != time.Hour {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
}

func TestFieldNames(t *testing.T) {
	for in, want := range map[string]string{"feature": "LEASEHOLD_FEATURE", "next-expiry": "LEASEHOLD_NEXT_EXPIRY", "a=b\n": "LEASEHOLD_A_B_"} {
		if got := field(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if priority(slog.LevelWarn) != 4 || priority(slog.LevelError) != 3 || priority(slog.LevelDebug) != 7 {
		t.Error("priorities are not syslog's")
	}
}
