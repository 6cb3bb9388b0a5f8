package systemd

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The units of updates, rated in tenths: the one that installs mounts a stick and writes slots, the others only ask the daemon.
func TestUnitsOfUpdates(t *testing.T) {
	dir := writeUnits(t)
	for name, c := range map[string]struct {
		most  int
		lines string
	}{
		"leasehold-update":   {15, `Type=oneshot|ExecStart=/usr/bin/leasehold update take|CapabilityBoundingSet=CAP_SYS_ADMIN|NoNewPrivileges=yes|ProtectSystem=strict|PrivateNetwork=yes|DevicePolicy=closed|InaccessiblePaths=-/var/lib/leasehold|StateDirectory=leasehold-update|StateDirectoryMode=0700|RuntimeDirectoryPreserve=yes|StandardError=journal|ReadWritePaths=-/boot -/efi`},
		"leasehold-health":   {10, `Type=oneshot|ExecStart=/usr/bin/leasehold update health --patience 4m|StandardError=journal|Before=boot-complete.target|After=leaseholdd-admin.socket leaseholdd.service|OnFailure=leasehold-fallback.service|RequiredBy=boot-complete.target|CapabilityBoundingSet=`},
		"leasehold-proved":   {10, `Type=oneshot|ExecStart=/usr/bin/leasehold update proved|Requires=boot-complete.target|After=boot-complete.target systemd-bless-boot.service leaseholdd-admin.socket leaseholdd.service|PartOf=leaseholdd.service|CapabilityBoundingSet=`},
		"leasehold-fallback": {10, `Type=oneshot|SuccessAction=reboot|ConditionPathExists=/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f|ConditionPathExists=!/dev/disk/by-partlabel/_empty`},
	} {
		file := filepath.Join(dir, name+".service")
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", fmt.Sprintf("--threshold=%d", c.most), "--no-pager", file).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		verify := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", file)
		verify.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		if out, err := verify.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		b, err := fs.ReadFile(Units(), name+".service")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(c.lines, "|") {
			if !strings.Contains("\n"+string(b), "\n"+line+"\n") {
				t.Errorf("%s: %q is missing", name, line)
			}
		}
	}
	b, err := fs.ReadFile(Units(), "leasehold-update.path")
	for _, line := range []string{"DirectoryNotEmpty=/run/leasehold-media/updates", "TriggerLimitIntervalSec=10min", "TriggerLimitBurst=20"} {
		if err != nil || !strings.Contains(string(b), "\n"+line+"\n") {
			t.Errorf("nobody waits for what is handed over, or without an end: %v\n%s", err, b)
		}
	}
	verify := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", filepath.Join(dir, "leasehold-update.path"))
	verify.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
	if out, err := verify.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("leasehold-update.path: %v\n%s", err, out)
	}
}
