package probe

import (
	"path"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/hostid"
)

const mounts = "proc/self/mountinfo"

// disks lists the disks that hold the root file system, by serial number: one, or those below a RAID, an LVM or an encrypted volume.
func (t *tree) disks(virtual string) []hostid.Finding {
	root, ok := rootMount(t.head(mounts, maxHead))
	if !ok {
		return nil
	}
	const notLocal = "no disk is found below the root file system"
	top := t.device(root)
	if top == "" {
		return []hostid.Finding{worthless(hostid.Disk, "", root.kind, notLocal)}
	}
	below := t.below(top, map[string]bool{}, maxHops)
	slices.Sort(below)
	var out []hostid.Finding
	for _, dir := range slices.Compact(below) {
		f := t.disk(dir, virtual)
		// Two paths to one disk show one serial number.
		if !slices.ContainsFunc(out, func(g hostid.Finding) bool { return g.ID == f.ID && f.Flaw == "" }) {
			out = append(out, f)
		}
	}
	return out
}

// mount is the root file system: number of its device, type and source.
type mount struct{ number, kind, source string }

// rootMount finds the last mount at /, which lies on top of those before it (proc_pid_mountinfo(5)).
func rootMount(info string) (root mount, ok bool) {
	for l := range strings.Lines(info) {
		before, after, both := strings.Cut(l, " - ")
		place, kind := strings.Fields(before), strings.Fields(after)
		if both && len(place) >= 6 && len(kind) >= 2 && place[4] == "/" {
			root, ok = mount{place[2], kind[0], kind[1]}, true
		}
	}
	return root, ok && deviceNumber(root.number)
}

// device is the block device of a mount. File systems that span disks have no number of their own, but name one of the disks.
func (t *tree) device(m mount) string {
	if !strings.HasPrefix(m.number, "0:") {
		dir, err := t.follow("sys/dev/block/" + m.number)
		if err != nil {
			return ""
		}
		return dir
	}
	name, ok := strings.CutPrefix(m.source, "/dev/")
	if mapped, is := strings.CutPrefix(name, "mapper/"); is {
		names, err := t.list("sys/class/block")
		if err != nil {
			return ""
		}
		for _, n := range names {
			if !strings.HasPrefix(n, "dm-") {
				continue
			}
			if dir, err := t.follow("sys/class/block/" + n); err == nil && t.word(dir+"/dm/name") == mapped {
				return dir
			}
		}
		return ""
	}
	if !ok || name == "" || strings.Contains(name, "/") || name == "." || name == ".." {
		return ""
	}
	dir, err := t.follow("sys/class/block/" + name)
	if err != nil {
		return ""
	}
	return dir
}

// below is every disk under a block device: itself, the disk of a partition, or what a mapped device is made of.
func (t *tree) below(dir string, been map[string]bool, hops int) []string {
	if been[dir] || hops == 0 {
		return nil
	}
	been[dir] = true
	if t.has(dir + "/partition") {
		return t.below(path.Dir(dir), been, hops-1)
	}
	slaves, err := t.list(dir + "/slaves")
	if err != nil || len(slaves) == 0 {
		return []string{dir}
	}
	var out []string
	for _, s := range slaves {
		if d, err := t.follow(dir + "/slaves/" + s); err == nil {
			out = append(out, t.below(d, been, hops-1)...)
		}
	}
	return out
}

func (t *tree) disk(dir, virtual string) hostid.Finding {
	source := "boot disk " + shown(path.Base(dir))
	if slot := pciDevice(dir); slot != "" {
		source += ", PCI " + path.Base(slot)
	}
	if strings.HasPrefix(dir, "sys/devices/virtual/block/") {
		return worthless(hostid.Disk, "", source, "not a disk of this machine")
	}
	serial, err := t.serial(dir)
	if err != nil {
		return worthless(hostid.Disk, "", source, err.Error())
	}
	f := hostid.Finding{ID: hostid.ID{Type: hostid.Disk, Value: serial}, Strength: firm(virtual), Source: source}
	if why := serialFlaw(serial); why != "" {
		return worthless(hostid.Disk, serial, source, why)
	}
	if why := t.pluggedIn(dir); why != "" {
		f.Strength, f.Flaw = hostid.Weak, why+" disk"
	} else if t.word(dir+"/removable") == "1" {
		f.Strength, f.Flaw = hostid.Weak, "removable disk"
	}
	return f
}

// noSerial is a disk that tells no number.
const noSerial fault = "no serial number"

// serial is what a disk calls itself: of NVMe and memory cards the device's own attribute, of virtio the disk's, of SCSI and SATA the page of vital product data
// with the unit serial number (SPC-5, 7.7.13), else what udev found out.
func (t *tree) serial(dir string) (string, error) {
	names := []string{dir + "/serial"}
	if device, err := t.follow(dir + "/device"); err == nil {
		names = append(names, device+"/serial", device+"/vpd_pg80")
	}
	for _, name := range names {
		s, err := t.read(name)
		if f, bad := err.(fault); bad {
			return "", f
		}
		if path.Base(name) == "vpd_pg80" {
			s = unitSerial(s)
		}
		if s = strings.Trim(s, " \t\n\x00"); s != "" {
			return s, nil
		}
	}
	if n := t.word(dir + "/dev"); deviceNumber(n) {
		if s := udevSerial(t.head("run/udev/data/b"+n, maxFile)); s != "" {
			return s, nil
		}
	}
	return "", noSerial
}

// unitSerial takes the number out of the page: four bytes of head, of which the last two are the length.
func unitSerial(page string) string {
	if len(page) < 4 || page[1] != 0x80 {
		return ""
	}
	n := int(page[2])<<8 | int(page[3])
	return page[4:min(len(page), 4+n)]
}

// udevSerial is the line of udev's data base.
func udevSerial(data string) string {
	for l := range strings.Lines(data) {
		if s, ok := strings.CutPrefix(l, "E:ID_SERIAL_SHORT="); ok {
			return strings.TrimSpace(s)
		}
	}
	return ""
}

// deviceNumber says that a text is MAJOR:MINOR.
func deviceNumber(n string) bool {
	major, minor, ok := strings.Cut(n, ":")
	return ok && number(major) && number(minor) && len(n) <= 21
}
