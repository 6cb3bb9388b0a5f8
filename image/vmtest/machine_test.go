//go:build vm

package vm

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// isOff is a machine that was switched off while it served, to be changed and switched on again.
func isOff(t *testing.T) *scenario {
	t.Helper()
	s := goesOn(t, activated)
	s.vm.Kill()
	return s
}

// startsAs switches the machine on, and waits for a state that is not serving, with what to do about it. The console must go on: a key brings another page, and the state again.
func (s *scenario) startsAs(name, state string) {
	s.t.Helper()
	s.switchesOn()
	s.states(name, state)
}

func (s *scenario) states(name, state string) {
	s.t.Helper()
	found, err := s.vm.WaitScreen(s.within(bootTime), `STATE `+state+`.* NEXT \S`)
	s.must(err)
	s.log("screen: %s", found[0])
	s.shoot(name)
	s.must(s.vm.Type("3"))
	s.shows(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d`) // the log
	s.must(s.vm.Type("1"))
	s.shows(`STATE ` + state)
}

// another is a machine whose TPM has lost what its authority was sealed to: browsers are shown another one, and the screen says which.
func (s *scenario) another() {
	s.t.Helper()
	was := s.key
	s.key = ""
	if s.trusts(); s.key == was {
		s.t.Error("the authority of before signs for a machine that has lost its key")
	}
}

// A disk in another machine: its TPM is another one. What a host hands to systemd does not run, in an image that is not for tests.
func TestMovedDisk(t *testing.T) {
	t.Parallel()
	s := isOff(t)
	s.must(s.vm.NewTPM(s.within(stepTime)))
	s.vm.Hardware.Strings, s.vm.Hardware.Second = AgentStrings(), true
	s.startsAs("moved", `NOT SERVING - LH-4103 the TPM was cleared or replaced`)
	s.another()
	s.refuses("one")
	if has, err := s.vm.HasAgent(); has || err != nil {
		t.Errorf("a unit that the host handed in runs in the production image: %v, %v", has, err)
	}
}

// A kernel command line that the host adds to lets its units run; then trusted storage does not open, for PCR 12 says so.
func TestAddedCommandLine(t *testing.T) {
	t.Parallel()
	s := isOff(t)
	s.vm.Hardware.Strings, s.vm.Hardware.Second = append(AgentStrings(), "io.systemd.stub.kernel-cmdline-extra=systemd.import_credentials=yes"), true
	s.startsAs("added", `NOT SERVING - LH-4\d{3} `)
	s.refuses("one")
	ctx := s.within(stepTime)
	s.must(s.vm.WaitAgent(ctx))
	agent, err := s.vm.Agent(ctx)
	s.must(err)
	defer agent.Close()
	out, err := agent.Run(ctx, "cat /proc/cmdline; cat /sys/class/tpm/tpm0/pcr-sha256/12")
	s.must(err)
	s.log("in the machine: %s", out)
	if !strings.Contains(out, "systemd.import_credentials=yes") || strings.Contains(out, strings.Repeat("0", 64)) {
		t.Errorf("the machine was not started as it should: %s", out)
	}
}

// testImage is the disk of the image with the kernel command line for tests: the same root, and another measured state.
func (s *scenario) testImage() string {
	s.t.Helper()
	ctx := s.within(stepTime)
	disk := filepath.Join(s.dir, "test.disk")
	s.must(run(ctx, "cp", "--sparse=always", s.image+".disk", disk))
	esp := Stick(disk + "@@1M")
	names, err := esp.mtools(ctx, nil, "mdir", "-b", "::/EFI/Linux")
	s.must(err)
	for line := range strings.Lines(string(names)) {
		if name := strings.TrimSpace(line); strings.HasSuffix(name, ".efi") {
			_, err := esp.mtools(ctx, nil, "mcopy", "-o", s.image+".test.efi", name)
			s.must(err)
		}
	}
	return disk
}

// What is seen from inside: the image with the command line for tests, and a shell in it.
func TestInside(t *testing.T) {
	t.Parallel()
	s := newScenario(t, (*scenario).testImage)
	s.vm.Hardware.Strings, s.vm.Hardware.Second = AgentStrings(), true
	s.boots()
	s.must(s.vm.WaitAgent(s.within(bootTime)))
	agent, err := s.vm.Agent(s.within(stepTime))
	s.must(err)
	defer agent.Close()
	sh := func(script string) string {
		t.Helper()
		out, err := agent.Run(s.within(stepTime), script)
		s.must(err)
		return strings.TrimSpace(out)
	}
	step := func(name string, do func(t *testing.T)) {
		t.Run(name, func(part *testing.T) {
			defer func() { s.t = t }()
			s.t = part
			do(part)
		})
	}
	s.shows(`STATE NOT ACTIVATED`)
	code := s.shows(`first-login code ([0-9A-Z]{4}-[0-9A-Z]{4})`)[1]
	s.must(os.WriteFile(filepath.Join(s.dir, "code"), []byte(code), 0o600))
	s.trusts()

	step("check 1, what the VGA console shows", func(t *testing.T) {
		s.shoot("vga")
		text := vcs(t, sh("base64 -w0 /dev/vcsu1"), sh("od -An -tu1 -N2 /dev/vcsa1"))
		for _, want := range []string{`STATE NOT ACTIVATED`, `1\. Plug in a USB stick`, `2\. `, `3\. `, `https://10\.0\.2\.15:7070/`, `certificate SHA-256 [0-9A-F]{32} [0-9A-F]{32}`, `first-login code ` + code} {
			if !regexp.MustCompile(want).MatchString(joined(text)) {
				t.Errorf("the VGA console lacks %q", want)
			}
		}
		for _, r := range text {
			if r > '~' && !strings.ContainsRune("─│┌┐└┘├┤┬┴┼═║╔╗╚╝▀▄█▌▐░▒▓•·○→↑↓▲▼◄►éü", r) || r < ' ' && r != '\n' {
				t.Errorf("the VGA console shows %q, for which it has no sign", r)
			}
		}
		s.must(os.WriteFile(s.evidence("vcsu1.txt"), []byte(text), 0o644))
	})
	step("check 11, what the service manager says", func(t *testing.T) {
		if out := sh("systemctl status leaseholdd --no-pager -n0"); !regexp.MustCompile(`Status: "not activated`).MatchString(out) {
			t.Errorf("systemctl status leaseholdd:\n%s", out)
		}
		if out := sh("journalctl -xu leaseholdd --no-pager -n 50"); !strings.Contains(out, "LH-1001") {
			t.Errorf("journalctl -xu leaseholdd:\n%s", out)
		}
		pid := sh("systemctl show -P MainPID leaseholdd")
		if out := sh("systemctl service-log-level leaseholdd debug && systemctl service-log-level leaseholdd"); out != "debug" {
			t.Errorf("service-log-level: %s", out)
		}
		sh("systemctl service-log-level leaseholdd info")
		if now := sh("systemctl show -P MainPID leaseholdd"); now != pid {
			t.Errorf("another level of the log has another process: %s and %s", pid, now)
		}
	})
	step("nothing has failed", func(t *testing.T) {
		if out := sh("systemctl --failed --plain --no-legend"); out != "" {
			t.Errorf("failed units: %s", out)
		}
		if out := sh("systemctl is-system-running"); out != "running" {
			t.Errorf("the system is %s", out)
		}
		out := sh("systemd-analyze security --no-pager 2>/dev/null | grep -E 'lease'; systemd-analyze; systemctl show -P MemoryCurrent leaseholdd; free -m 2>/dev/null | head -2")
		s.must(os.WriteFile(s.evidence("analyze.txt"), []byte(out+"\n"), 0o644))
		s.log("%s", out)
	})
	step("a restart and a watchdog", func(t *testing.T) {
		pid := sh("systemctl show -P MainPID leaseholdd")
		sh("systemctl restart leaseholdd")
		again := sh("systemctl show -P MainPID leaseholdd")
		if again == pid || again == "0" {
			t.Errorf("process %s after a restart, %s before", again, pid)
		}
		s.shows(`STATE NOT ACTIVATED`)
		// A daemon that hangs tells the watchdog nothing: it is ended and started again.
		sh("kill -STOP " + again)
		s.until("a daemon that hangs is started again", func() bool {
			now := sh("systemctl show -P MainPID leaseholdd")
			return now != again && now != "0"
		})
		if out := sh("journalctl -u leaseholdd --no-pager"); !strings.Contains(out, "Watchdog timeout") {
			t.Errorf("the journal has no word of the watchdog:\n%s", tail(out))
		}
		s.shows(`STATE NOT ACTIVATED`)
		s.log("restarted, and started again by the watchdog")
	})
	step("dongles", func(t *testing.T) {
		ctx := s.within(stepTime)
		started := func() string { return sh("systemctl show -P ExecMainStartTimestampMonotonic leasehold-hostid-change") }
		// What the virtual ones go by: each is a host ID of its kind, vendor, product and serial number.
		listed := ""
		defer func() {
			if t.Failed() {
				t.Log(listed)
			}
		}()
		seen := func(dongle string) bool {
			listed = sh("leasehold hostid --dongle 08e6:4433 --dongle 46f4:0001")
			return strings.Contains(joined(listed), dongle)
		}
		const reader, disk = "FLEXID9 08E6-4433-DONGLE-CCID-1 weak if chosen", "FLEXID9 46F4-0001-DONGLE-MASS-1 weak if chosen"
		was := started()
		_, err := s.vm.Monitor().Do(ctx, "device_add", map[string]any{"driver": "usb-ccid", "id": "dongle", "bus": "xhci.0", "serial": "DONGLE-CCID-1"})
		s.must(err)
		s.until("a dongle with a card reader is a host ID", func() bool { return seen(reader) })
		s.until("the daemon is told what the machine shows", func() bool { return started() != was })
		_, err = s.vm.Monitor().Do(ctx, "device_del", map[string]any{"id": "dongle"})
		s.must(err)
		s.until("it is gone", func() bool { return !seen(reader) })
		in, err := s.vm.Plug(ctx, s.stick("dongle.img"), "DONGLE-MASS-1", false)
		s.must(err)
		s.until("a dongle with files is a host ID", func() bool { return seen(disk) })
		s.must(in.Pull(ctx))
	})
	step("check 7, a response for another appliance", func(t *testing.T) {
		other := Stick(filepath.Join(provided(t), "stick.img"))
		response, err := other.Read(s.within(stepTime), s.wrote(other, "RCP-0001.TXT", "REQ-0001.LHQ", "REQ-0001.TXT", "RSP-0001.LHR")+"/RSP-0001.LHR")
		s.must(err)
		stick := s.courier("other.img")
		s.visits(stick, false, `^USB stick .* - request 1 WRITTEN\. SAFE TO REMOVE$`)
		s.must(stick.Write(s.within(stepTime), s.wrote(stick, "REQ-0001.LHQ", "REQ-0001.TXT")+"/RSP-0001.LHR", response))
		s.visits(stick, false, `LH-2305 This response is for LH-[0-9A-F-]*, not for this appliance \(LH-[0-9A-F-]*\)\. NEXT: plug it into that appliance\. Nothing was changed\. SAFE TO REMOVE$`)
		s.shows(`STATE NOT ACTIVATED`)
	})
	step("what is let in of what is plugged in", func(t *testing.T) { s.letsIn(sh) })
	step("a full disk", func(t *testing.T) {
		sh("dd if=/dev/zero of=/var/full bs=1M; dd if=/dev/zero of=/var/full2 bs=512; systemctl restart leaseholdd")
		s.states("full-disk", `NOT (SERVING|RUNNING) - .*LH-4\d{3} `)
		sh("rm /var/full /var/full2; systemctl restart leaseholdd")
		s.shows(`STATE NOT ACTIVATED`)
	})
	if out := sh("journalctl --no-pager -o short-iso -n 2000 | tail -c 200000"); out != "" {
		s.must(os.WriteFile(s.evidence("journal.txt"), []byte(out+"\n"), 0o644))
	}
}

// until waits for something that has no line on the screen.
func (s *scenario) until(what string, done func() bool) {
	s.t.Helper()
	ctx := s.within(stepTime)
	for !done() {
		select {
		case <-time.After(look):
		case <-ctx.Done():
			s.t.Fatalf("%s: %v", what, context.Cause(ctx))
		}
	}
	s.log("%s", what)
}

// vcs is the text of a console, from the memory of the kernel with four bytes for each sign, and its size: rows and columns.
func vcs(t *testing.T, encoded, size string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatalf("%v: %.200s", err, encoded)
	}
	var rows, columns int
	if _, err := fmt.Sscan(size, &rows, &columns); err != nil || len(b) != 4*rows*columns {
		t.Fatalf("a console of %q has %d bytes", size, len(b))
	}
	var text strings.Builder
	for i := range rows * columns {
		r := rune(binary.LittleEndian.Uint32(b[4*i:]))
		if utf16.IsSurrogate(r) || r == 0 {
			r = ' '
		}
		text.WriteRune(r)
		if i%columns == columns-1 {
			text.WriteByte('\n')
		}
	}
	return text.String()
}

// Without a TPM nothing is served, and the screen says why.
func TestNoTPM(t *testing.T) {
	t.Parallel()
	s := isOff(t)
	s.vm.Hardware.NoTPM = true
	s.startsAs("no-tpm", `NOT (SERVING|RUNNING) - .*LH-\d{4} `)
}

// A TPM of the generation before is none that could be used.
func TestOldTPM(t *testing.T) {
	t.Parallel()
	s := isOff(t)
	s.vm.Hardware.OldTPM = true
	s.startsAs("tpm-1.2", `NOT (SERVING|RUNNING) - .*LH-\d{4} `)
}

// A TPM that was cleared in the firmware's menu has lost what opens trusted storage.
func TestClearedTPM(t *testing.T) {
	t.Parallel()
	s := isOff(t)
	s.must(s.vm.ClearTPM(s.within(stepTime)))
	s.startsAs("cleared", `NOT SERVING - LH-4103 the TPM was cleared or replaced`)
	s.refuses("one")
}

// Without a network card the console says so, and what was activated stays so.
func TestNoCard(t *testing.T) {
	t.Parallel()
	s := isOff(t)
	s.vm.Hardware.NoCards = true
	s.startsAs("no-card", `(SERVING|HOLDING) .*LH-4110 this machine has no network card`)
}

// A board whose clock has stopped starts in 1970: the system's clock begins with the image's own date then, and trusted time does not go back with it.
func TestClock(t *testing.T) {
	t.Parallel()
	s := isOff(t)
	s.vm.Hardware.Clock = "1970-01-01T00:00:00"
	s.startsAs("1970", `(HOLDING|SERVING)`)
	s.shows(`HEALTH .*clock: behind .*LH-1003 note: the clock was judged anew - the system clock is \S+ behind the trusted time`)
}

// The partition for what changes cannot be mounted. Nothing is begun anew in its place: the screen says so, the console goes on, and a card is set up for as long as nobody can be asked who may.
func TestNoState(t *testing.T) {
	t.Parallel()
	s := isOff(t)
	// It begins behind both slots, and is the last.
	s.must(run(s.within(stepTime), "qemu-io", "-f", "qcow2", "-c", "write -z 657M 1390M", s.vm.Disk()))
	s.startsAs("no-state", `NOT RUNNING - LH-4025 `)
	s.must(s.vm.Type("2"))
	s.shows(`Enter sets a card up`)
	s.must(s.vm.Type("\r"))
	s.shows(`Network card`)
	s.must(s.vm.Type("\t10.77.0.15/24\t10.77.0.1\t\r"))
	s.shows(`is set up until the machine starts again`)
	s.must(s.vm.Type("2"))
	s.shows(`NETWORK .*10\.77\.0\.15/24`)
	s.must(s.vm.Type("1"))
	s.shows(`STATE NOT RUNNING - LH-4025 `)
}

// What is set up at the machine is there after the next start too, and the machine asks nobody for it.
func TestNetwork(t *testing.T) {
	t.Parallel()
	s := goesOn(t, unprovisioned)
	s.must(s.vm.Type("2"))
	s.shows(`Enter sets a card up`)
	s.must(s.vm.Type("\r"))
	s.shows(`Network card`)
	s.must(s.vm.Type("\t10.77.0.15/24\t10.77.0.1\t\r"))
	s.shows(`The network card \S+ is set up\.`)
	s.must(s.vm.Type("1"))
	s.shows(`https://10\.77\.0\.15:7070/`)
	s.vm.Kill()
	s.boots()
	s.shows(`https://10\.77\.0\.15:7070/`)
	s.shoot("network")
}

// A root that was changed is not run: the loader's tries are used up, and the screen says what is wrong.
func TestVerity(t *testing.T) {
	t.Parallel()
	s := isOff(t)
	// Blocks in the middle of the root's partition, which begins at 257 MiB.
	for _, at := range []int{257, 280, 290} {
		s.must(run(s.within(stepTime), "qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("write -P 0x5a %dM 1M", at), s.vm.Disk()))
	}
	s.switchesOn()
	for _, line := range []string{`(?i)verity.*(corrupt|mismatch|verification|failed)`, `STATE DAMAGED - `, `NEXT \S`} {
		_, err := s.vm.WaitSerial(s.within(bootTime), line)
		s.must(err)
		s.log("serial: %s", line)
	}
	s.shoot("verity")
}
