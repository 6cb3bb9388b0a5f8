package probe

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/hostid"
)

// ErrPrivate is in the error of a recording that was not written, because a value that it was to hide would have been in it.
var ErrPrivate = errors.New("the recording would hold what it is to hide")

// Record is Probe, and writes to into, which should be empty, all that was read: a tree that Probe judges the same way. Serial numbers, addresses and
// UUIDs are made-up ones of the same kind there, the same one for the same one; of other texts only those words remain that Probe looks for.
// What Options hand in is not recorded.
func Record(root, into *os.Root, o Options) (hostid.Machine, error) {
	return (&tree{root: root}).record(into, o)
}

// RecordLive is Record of this machine.
func RecordLive(into *os.Root, o Options) (hostid.Machine, error) {
	t, err := live()
	if err != nil {
		return hostid.Machine{}, err
	}
	defer t.root.Close()
	return t.record(into, o)
}

func (t *tree) record(into *os.Root, o Options) (hostid.Machine, error) {
	t.seen = map[string]entry{}
	m := t.machine(o)
	private, err := scrub(t.seen)
	if err != nil {
		return m, err
	}
	for _, name := range slices.Sorted(maps.Keys(private)) {
		if err := write(into, name, private[name]); err != nil {
			return m, fmt.Errorf("write the recording: %w", err)
		}
	}
	return m, nil
}

func write(into *os.Root, name string, e entry) error {
	if e.dir {
		return into.MkdirAll(name, 0o755)
	}
	if err := into.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch {
	case e.link != "":
		return into.Symlink(e.link, name)
	case e.fault != "":
		return into.WriteFile(name+unreadable, []byte(e.fault+"\n"), 0o644)
	}
	return into.WriteFile(name, []byte(e.text), 0o644)
}

// scrub makes a recording of what was seen.
func scrub(seen map[string]entry) (map[string]entry, error) {
	s := &scrubber{salt: rand.Text(), made: map[string]string{}, taken: map[string]bool{}, names: map[string]string{}, ordinary: ordinaryNames()}
	paths := slices.Sorted(maps.Keys(seen))
	for _, name := range paths {
		s.learn(name)
		s.learn(path.Join(path.Dir(name), seen[name].link))
	}
	out := map[string]entry{}
	for _, name := range paths {
		e := seen[name]
		if e.link != "" {
			e.link = s.path(e.link)
		}
		if e.text != "" {
			e.text = s.text(name, e.text)
		}
		out[s.path(name)] = e
	}
	for name, e := range out {
		if !s.hidden(name, e) {
			return nil, fmt.Errorf("%w: see %s", ErrPrivate, shown(name))
		}
	}
	for name := range maps.Clone(out) { // what was only looked at may be a directory
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if e, ok := out[dir]; ok && e.link == "" && e.fault == "" {
				out[dir] = entry{dir: true}
			}
		}
	}
	return out, nil
}

// ordinaryNames are those that the kernel and systemd give to interfaces, block devices and their numbers. In every other there may be a person, a place
// or an address.
func ordinaryNames() *regexp.Regexp {
	return regexp.MustCompile(`^(` +
		`lo|bonding_masters|(eth|wlan|wwan|bond|br|team|docker|virbr|vnet|tap|tun|dummy|ifb|wg|usb|ib|thunderbolt)\d{1,4}(\.\d{1,4})?|` +
		`(en|wl|ww|ib)(o\d+|(P\d+)?(p\d+)?s\d+)(f\d+)?(u\d+)*(c\d+)?(i\d+)?(np\d+|d\d+)?|` +
		`(sd|vd|xvd|hd)[a-z]{1,3}\d{0,3}|nvme\d+(c\d+)?n\d+(p\d+)?|mmcblk\d+(p\d+)?|(dm-|md|loop|zram|sr|nbd|ram)\d+(p\d+)?|\d+:\d+)$`)
}

// scrubber remembers what it made of what.
type scrubber struct {
	made     map[string]string // of serial numbers, addresses and UUIDs
	taken    map[string]bool   // made-up values
	names    map[string]string // of devices whose names are not ordinary, and of UUIDs in paths
	salt     string            // so that the made-up values of two recordings are not the same
	count    int
	ordinary *regexp.Regexp
}

// given says that the part of a path at i is a name that somebody may have given: of an interface, a block device, or a partition.
func (s *scrubber) given(parts []string, i int) bool {
	if i == 0 || s.ordinary.MatchString(parts[i]) || strings.Trim(parts[i], ".") == "" {
		return false
	}
	above := parts[i-1]
	return slices.Contains([]string{"net", "block", "slaves"}, above) || i > 1 && parts[i-2] == "block" && strings.HasPrefix(parts[i], above)
}

// learn looks in a path for names that are not ordinary, and for UUIDs.
func (s *scrubber) learn(name string) {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		switch {
		case s.names[part] != "":
		case isUUID(part):
			s.names[part] = strings.ToLower(s.value(part, uuidOf))
		case s.given(parts, i):
			s.names[part] = fmt.Sprintf("own%d", len(s.names)+1)
		}
	}
}

func isUUID(s string) bool {
	uuid, flaw := parseUUID(s)
	return flaw == "" && strings.EqualFold(uuid, s)
}

// path replaces the names that learn found, and only them: an interface may be called like a directory.
func (s *scrubber) path(name string) string {
	parts := strings.Split(name, "/")
	made := slices.Clone(parts)
	for i, part := range parts {
		if to, ok := s.names[part]; ok && (isUUID(part) || s.given(parts, i)) {
			made[i] = to
		}
	}
	return strings.Join(made, "/")
}

// text is what a file says in the recording. What has no rule says nothing there.
func (s *scrubber) text(name, text string) string {
	word := strings.TrimSpace(text)
	switch base := path.Base(name); {
	case name == mounts:
		return s.mount(text)
	case name == "proc/cpuinfo":
		if guest, says := flagged(text); guest {
			return "flags : hypervisor\n"
		} else if says {
			return "flags : fpu\n"
		}
		return ""
	case name == "proc/1/cgroup":
		return only(text, "/docker/", "/docker-", "/libpod-", "/lxc/", "/lxc.payload", "/kubepods")
	case name == "proc/sys/kernel/osrelease":
		return only(strings.ToLower(text), "microsoft")
	case name == "proc/xen/capabilities":
		return only(text, "control_d")
	case name == "run/host/container-manager", name == "run/systemd/container":
		return managerOf(word) + "\n"
	case base == "available_clocksource":
		return only(text, "kvm-clock", "hyperv_clocksource_tsc_page", "hyperv_clocksource", "hyperv_clocksource_msr", "xen")
	case name == "sys/hypervisor/type":
		return only(text, "xen")
	case slices.Contains(dmiFields(), base):
		if strings.HasSuffix(word, ".metal") {
			return "made-up.metal\n"
		}
		return monitorOf(word).begins + "\n"
	case base == "uevent":
		if kind := devType(text); kind != "" {
			return "DEVTYPE=" + kind + "\n"
		}
		return ""
	case base == "product_uuid":
		return s.value(word, uuidOf) + "\n"
	case base == "address", base == permanentFile, base == "perm_hwaddr":
		return s.value(word, macOf) + "\n"
	case base == "vpd_pg80":
		serial := strings.Trim(unitSerial(text), " \t\n\x00")
		made := s.value(serial, serialOf)
		return string([]byte{0, 0x80, byte(len(made) >> 8), byte(len(made))}) + made
	case strings.HasPrefix(name, "run/udev/data/"):
		return "E:ID_SERIAL_SHORT=" + s.value(udevSerial(text), serialOf) + "\n"
	case base == "serial":
		return s.value(word, serialOf) + "\n"
	case base == "name" && path.Base(path.Dir(name)) == "dm":
		return s.value(word, nameOf) + "\n"
	case base == makerFile: // a line of a public list
		return text
	case plain(word):
		return word + "\n"
	}
	return ""
}

// only keeps those of the words that text holds.
func only(text string, words ...string) string {
	kept := slices.DeleteFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	return strings.Join(kept, " ") + "\n"
}

// plain says that a word is a number, also a hexadecimal one with 0x, of at most eight digits, a device number, or one of the words that the kernel has for
// whether something can be unplugged.
func plain(word string) bool {
	if slices.Contains([]string{"fixed", "removable", "unknown"}, word) || deviceNumber(word) {
		return true
	}
	digits := strings.TrimPrefix(word, "0x")
	for i := range len(digits) {
		if !hexDigit(digits[i]) {
			return false
		}
	}
	return len(digits) > 0 && len(digits) <= 8
}

// mount is the one line that counts, without labels, options and the names of subvolumes.
func (s *scrubber) mount(info string) string {
	root, ok := rootMount(info)
	if !ok {
		return ""
	}
	source := "none"
	if mapped, is := strings.CutPrefix(root.source, "/dev/mapper/"); is {
		source = "/dev/mapper/" + s.value(mapped, nameOf)
	} else if strings.HasPrefix(root.source, "/dev/") {
		block := "block/" + path.Base(root.source)
		s.learn(block)
		source = "/dev/" + path.Base(s.path(block))
	}
	if kind := root.kind; len(kind) > 16 || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz0123456789._") != "" {
		root.kind = "other"
	}
	return fmt.Sprintf("1 0 %s / / rw - %s %s rw\n", root.number, root.kind, source)
}
