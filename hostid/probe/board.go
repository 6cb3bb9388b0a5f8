package probe

import (
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/hostid"
)

const dmi = "sys/class/dmi/id"

// board is the UUID that the firmware shows: the board's, or the one that a virtual machine was made with.
func (t *tree) board(virtual string) []hostid.Finding {
	kind := hostid.BoardUUID
	if virtual != "" {
		kind = hostid.VMUUID
	}
	dir, err := t.follow(dmi)
	if err != nil {
		return absent(kind, "DMI", err)
	}
	const source = "DMI product UUID"
	s, err := t.read(dir + "/product_uuid")
	if err != nil {
		return absent(kind, source, err)
	}
	s = strings.TrimSpace(s)
	uuid, flaw := parseUUID(s)
	if flaw != "" {
		return []hostid.Finding{worthless(kind, s, source, flaw)}
	}
	return []hostid.Finding{{ID: hostid.ID{Type: kind, Value: uuid}, Strength: firm(virtual), Source: source}}
}

// The texts of DMI in which virtual machine monitors name themselves.
func dmiFields() []string {
	return []string{"product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"}
}

// monitor is a virtual machine monitor: how its DMI texts begin, and systemd's name for it.
type monitor struct{ begins, name string }

// monitors are those that systemd knows by DMI (src/basic/virt.c). KVM can show anything there, so what it shows counts last.
func monitors() []monitor {
	return []monitor{
		{"OpenStack", "kvm"}, {"KubeVirt", "kvm"}, {"KVM", "kvm"}, {"Amazon EC2", "amazon"}, {"VMware", "vmware"}, {"VMW", "vmware"},
		{"innotek GmbH", "oracle"}, {"VirtualBox", "oracle"}, {"Oracle Corporation", "oracle"}, {"Xen", "xen"}, {"Bochs", "bochs"},
		{"Parallels", "parallels"}, {"BHYVE", "bhyve"}, {"Hyper-V", "microsoft"}, {"Apple Virtualization", "apple"}, {"Google Compute Engine", "google"}, {"QEMU", "qemu"},
	}
}

// monitorOf is the monitor that a DMI text names, or none.
func monitorOf(text string) monitor {
	for _, m := range monitors() {
		if strings.HasPrefix(text, m.begins) {
			return m
		}
	}
	return monitor{}
}

// virtual is systemd's name for the virtual machine monitor below this machine, or nothing. Programs cannot ask the processor without assembler code,
// so the clock that a monitor offers stands for the name that it would answer with.
func (t *tree) virtual() string {
	if strings.Contains(t.head("proc/xen/capabilities", maxFile), "control_d") {
		return "" // the machine that runs the others
	}
	clock := clockOf(t.head("sys/devices/system/clocksource/clocksource0/available_clocksource", maxFile))
	guest, says := flagged(t.head("proc/cpuinfo", maxFile))
	guest = guest || clock != ""
	byDMI := ""
	if dir, err := t.follow(dmi); err == nil {
		for _, field := range dmiFields() {
			text := t.word(dir + "/" + field)
			if strings.HasSuffix(text, ".metal") {
				return ""
			}
			if name := monitorOf(text).name; byDMI == "" {
				byDMI = name
			}
		}
	}
	// Oracle builds servers, Google and Amazon rent them bare, under the names of their virtual machines.
	if (byDMI == "oracle" || byDMI == "google") && says && !guest {
		byDMI = ""
	}
	switch {
	case clock != "" && (byDMI == "" || byDMI == "qemu"):
		return clock
	case byDMI != "":
		return byDMI
	case t.word("sys/hypervisor/type") == "xen":
		return "xen"
	case guest:
		return "vm-other"
	}
	return ""
}

// clockOf is the monitor whose clock is among those that can be had.
func clockOf(available string) string {
	for _, c := range strings.Fields(available) {
		switch c {
		case "kvm-clock":
			return "kvm"
		case "hyperv_clocksource_tsc_page", "hyperv_clocksource", "hyperv_clocksource_msr":
			return "microsoft"
		case "xen":
			return "xen"
		}
	}
	return ""
}

// flagged says that the processor knows it is not alone; says, that it is of a kind that would know.
func flagged(cpuinfo string) (guest, says bool) {
	for l := range strings.Lines(cpuinfo) {
		if name, flags, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "flags" {
			return slices.Contains(strings.Fields(flags), "hypervisor"), true
		}
	}
	return false, false
}

// container is systemd's name for the container manager around this process, or nothing.
func (t *tree) container() string {
	if strings.Contains(strings.ToLower(t.head("proc/sys/kernel/osrelease", maxFile)), "microsoft") {
		return "wsl"
	}
	for _, name := range []string{"run/host/container-manager", "run/systemd/container"} {
		if s, err := t.read(name); !errors.Is(err, fs.ErrNotExist) {
			return managerOf(strings.TrimSpace(s)) // also where it cannot be read
		}
	}
	switch {
	case t.has("run/.containerenv"):
		return "podman"
	case t.has(".dockerenv"):
		return "docker"
	case t.has("proc/vz") && !t.has("proc/bc"):
		return "openvz"
	}
	return controlGroup(t.head("proc/1/cgroup", maxFile))
}

// managerOf is a manager that systemd knows, or that it is another.
func managerOf(name string) string {
	if slices.Contains([]string{"systemd-nspawn", "lxc", "lxc-libvirt", "docker", "podman", "rkt", "wsl", "openvz", "proot", "pouch"}, name) {
		return name
	}
	return "container-other"
}

// controlGroup is the manager by whose control group the first process runs.
func controlGroup(text string) string {
	for _, m := range []struct{ part, name string }{{"/docker/", "docker"}, {"/docker-", "docker"}, {"/libpod-", "podman"}, {"/lxc/", "lxc"}, {"/lxc.payload", "lxc"}, {"/kubepods", "container-other"}} {
		if strings.Contains(text, m.part) {
			return m.name
		}
	}
	return ""
}
