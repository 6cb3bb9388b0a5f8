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

// template is the text of a unit that has instances, a new line before it. It is rated, in tenths, and verified as each of these instances, and has these lines, which are parted by |.
func template(t *testing.T, name string, most int, lines string, instances ...string) string {
	t.Helper()
	dir := writeUnits(t)
	file := filepath.Join(dir, name+".service")
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", fmt.Sprintf("--threshold=%d", most), "--no-pager", file).CombinedOutput()
	said := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(said[len(said)-1])
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range instances {
		instance := filepath.Join(dir, name+i+".service")
		if err := os.WriteFile(instance, b, 0o644); err != nil {
			t.Fatal(err)
		}
		verify := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", instance)
		verify.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		if out, err := verify.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", i, err, out)
		}
	}
	if b, err = fs.ReadFile(Units(), name+".service"); err != nil {
		t.Fatal(err)
	}
	unit := "\n" + string(b)
	for line := range strings.SplitSeq(lines, "|") {
		if !strings.Contains(unit, "\n"+strings.TrimSpace(line)+"\n") {
			t.Errorf("%q is missing", line)
		}
	}
	return unit
}

// A stick's unit has one capability, the device of that stick and thirty seconds of a processor: 1.3 of 10, most of it for what mounting needs. It ends with the stick, and leaves no failed unit.
func TestUnitsOfTheStick(t *testing.T) {
	unit := template(t, "leasehold-media@", 13, `Type=oneshot|ExecStart=/usr/bin/leasehold media %i|BindsTo=dev-%i.device|After=dev-%i.device leaseholdd-admin.socket leaseholdd.service|CollectMode=inactive-or-failed|TimeoutStartSec=300|LimitCPU=30:40|
User=root|CapabilityBoundingSet=CAP_SYS_ADMIN|NoNewPrivileges=yes|PrivateMounts=yes|PrivateNetwork=yes|DevicePolicy=closed|DeviceAllow=/dev/%i rw|ProtectSystem=strict|SystemCallFilter=mount umount2|MemoryMax=64M|MemorySwapMax=0|RuntimeDirectory=leasehold-media|RuntimeDirectoryPreserve=yes`, "sdb1")
	if strings.Contains(unit, "PrivateUsers=") {
		t.Error("no FAT is mounted under PrivateUsers=")
	}
	if strings.Index(unit, "@mount") > strings.Index(unit, "SystemCallFilter=mount umount2") {
		t.Error("what is allowed after all comes before what is denied")
	}
}

// What repairs a stick is nobody, and reaches that stick alone: 0.6 of 10.
func TestUnitOfTheRepair(t *testing.T) {
	template(t, "leasehold-repair@", 6, `Type=oneshot|ExecStart=/usr/sbin/fsck.vfat -a /dev/%i|SuccessExitStatus=1|BindsTo=dev-%i.device|After=dev-%i.device|CollectMode=inactive-or-failed|DynamicUser=yes|SupplementaryGroups=disk|
DevicePolicy=closed|DeviceAllow=/dev/%i rw|CapabilityBoundingSet=|NoNewPrivileges=yes|PrivateNetwork=yes|RestrictAddressFamilies=none|ProtectSystem=strict|MemoryMax=128M`, "sdb1")
}

// One rule starts the visit of a stick, on what udev has found out by then, and leaves everything else alone.
func TestRulesOfTheStick(t *testing.T) {
	b, err := fs.ReadFile(Units(), "70-leasehold-media.rules")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		device string // as udev knows it
		starts bool
	}{
		{"ACTION=add SUBSYSTEM=block ID_BUS=usb ID_FS_TYPE=vfat", true},
		{"ACTION=add SUBSYSTEM=block ID_BUS=usb ID_FS_TYPE=exfat", true},
		{"ACTION=add SUBSYSTEM=block ID_BUS=usb ID_FS_TYPE=ext4", false},
		{"ACTION=add SUBSYSTEM=block ID_BUS=usb", false},
		{"ACTION=add SUBSYSTEM=block ID_BUS=ata ID_FS_TYPE=vfat", false},
		{"ACTION=change SUBSYSTEM=block ID_BUS=usb ID_FS_TYPE=vfat", false},
		{"ACTION=remove SUBSYSTEM=block ID_BUS=usb ID_FS_TYPE=vfat", false},
		{"ACTION=add SUBSYSTEM=usb ID_BUS=usb ID_FS_TYPE=vfat", false},
		{"ACTION=add SUBSYSTEM=block ID_BUS=usb ID_FS_TYPE=vfat LEASEHOLD_IGNORE=1", false},
	} {
		device := map[string]string{}
		for _, f := range strings.Fields(row.device) {
			key, value, _ := strings.Cut(f, "=")
			device[key] = value
		}
		if got := starts(t, string(b), device); got != row.starts {
			t.Errorf("%s: %v", row.device, got)
		}
	}
}

// starts follows the rules as udev(7) says, as far as ours go, and says whether they want the unit.
func starts(t *testing.T, rules string, device map[string]string) (wanted bool) {
	t.Helper()
	skip := ""
	for _, line := range strings.Split(rules, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		label := strings.TrimSuffix(strings.TrimPrefix(line, `LABEL="`), `"`)
		if skip != "" && (label == line || label != skip) {
			continue
		}
		skip = ""
		matches := true
		for _, part := range strings.Split(line, ", ") {
			key, rest, ok := strings.Cut(part, "=")
			if !ok || !strings.HasSuffix(rest, `"`) {
				t.Fatalf("%q is no part of a rule", part)
			}
			operator := key[len(key)-1:]
			key = strings.TrimSuffix(strings.TrimPrefix(strings.TrimRight(key, "!+"), "ENV{"), "}")
			value := strings.Trim(rest, `="`)
			switch {
			case operator == "!":
				matches = matches && !oneOf(value, device[key])
			case strings.HasPrefix(rest, "="):
				matches = matches && oneOf(value, device[key])
			case matches && key == "GOTO":
				skip = value
			case matches && key == "SYSTEMD_WANTS":
				if value != "leasehold-media@%k.service" {
					t.Errorf("it wants %s", value)
				}
				wanted = true
			}
		}
	}
	return wanted
}

func oneOf(values, value string) bool {
	for _, v := range strings.Split(values, "|") {
		if v == value {
			return true
		}
	}
	return false
}
