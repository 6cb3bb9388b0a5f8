package systemd

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The text console has its terminal to itself: 1.3 of 10, most of it for the host's network cards, which it shows, and for root. No key ends it, and it is started again.
func TestUnitOfTheConsole(t *testing.T) {
	dir := writeUnits(t)
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", filepath.Join(dir, "leasehold-console@.service")).CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "leasehold-console@.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tty := range []string{"tty1", "ttyS0"} {
		instance := filepath.Join(dir, "leasehold-console@"+tty+".service")
		if err := os.WriteFile(instance, b, 0o644); err != nil {
			t.Fatal(err)
		}
		verify := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", instance)
		verify.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		if out, err := verify.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", tty, err, out)
		}
	}
	if b, err = fs.ReadFile(Units(), "leasehold-console@.service"); err != nil {
		t.Fatal(err)
	}
	unit := "\n" + string(b)
	for _, line := range strings.Split(`ExecStart=/usr/bin/leasehold console --stay|Restart=always|StandardInput=tty-force|StandardOutput=tty|StandardError=journal|TTYPath=/dev/%I|
Conflicts=getty@%i.service serial-getty@%i.service rescue.service|CapabilityBoundingSet=CAP_SYS_BOOT|NoNewPrivileges=yes|ProtectSystem=strict|RestrictAddressFamilies=AF_UNIX AF_NETLINK|IPAddressDeny=any|WantedBy=getty.target`, "|") {
		if !strings.Contains(unit, "\n"+strings.TrimSpace(line)+"\n") {
			t.Errorf("%q is missing", line)
		}
	}
	if strings.Contains(unit, "PrivateNetwork=") {
		t.Error("it would see no network card")
	}
}
