package probe

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/hostid"
)

// verdicts is a machine without its values: of sources only what is not the name of an interface.
func verdicts(m hostid.Machine) []string {
	var out []string
	for _, f := range m.Findings {
		_, place, _ := strings.Cut(f.Source, ", ")
		flaw := f.Flaw
		if strings.HasPrefix(flaw, "the same address as ") {
			flaw = "the same address as another"
		}
		out = append(out, f.ID.Type.String()+" "+f.Strength.String()+" "+place+": "+flaw)
	}
	slices.Sort(out) // those that differ in the value only are listed by it
	return append(out, "virtual "+m.Virtual, "container "+m.Container)
}

// everything is all names, link targets and texts of a recording.
func everything(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	if err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		b.WriteString(strings.TrimPrefix(name, dir) + "\n")
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(name)
			b.WriteString(to + "\n")
			return err
		case d.Type().IsRegular():
			text, err := os.ReadFile(name)
			b.Write(text)
			return err
		case !d.IsDir():
			t.Errorf("%s is %s", name, d.Type())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// secrets are the values that a recording of m must not hold.
func secrets(m hostid.Machine, given []hostid.Finding) (out []string) {
	for _, f := range m.Findings {
		v := f.ID.Value
		switch {
		case slices.ContainsFunc(given, func(g hostid.Finding) bool { return g.ID == f.ID }), f.Flaw == common, f.Flaw == repeated, len(v) < 6:
			continue
		case f.ID.Type == hostid.Flexid9 || f.ID.Type == hostid.Flexid10 || f.ID.Type == hostid.Unknown:
			if len(v) < 16 {
				continue // short: vendor and product only
			}
			v = v[10:]
		}
		out = append(out, v)
		if len(v) == 12 {
			out = append(out, strings.ToLower(v[:2]+":"+v[2:4]+":"+v[4:6]+":"+v[6:8]+":"+v[8:10]+":"+v[10:]))
		}
	}
	return out
}

func leaks(text string, secrets []string) (found []string) {
	text = strings.ToUpper(text)
	for _, s := range secrets {
		if strings.Contains(text, strings.ToUpper(s)) {
			found = append(found, s)
		}
	}
	return found
}

func TestRecordingsReplay(t *testing.T) {
	for _, name := range trees(t) {
		a := archive(t, name)
		o := options(t, a)
		dir := t.TempDir()
		into := open(t, dir)
		m, err := Record(plant(t, a), into, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again := Probe(into, o)
		sound(t, name+", recorded", again)
		if got, want := verdicts(again), verdicts(m); !slices.Equal(got, want) {
			t.Errorf("%s: the recording says\n%s\nand the machine\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		text := everything(t, dir)
		if found := leaks(text, append(secrets(m, o.Given), "anneliese", "Keller", "fileserver", "M\u00fcller", "J\u00f6rg")); len(found) > 0 {
			t.Errorf("%s: the recording holds %q\n%s", name, found, text)
		}
		if own := leaks(text, secrets(again, o.Given)); len(own) == 0 && len(secrets(again, o.Given)) > 0 {
			t.Errorf("%s: the search for values finds not even those of the recording", name)
		}
		// A recording of a recording is as good.
		second := open(t, t.TempDir())
		if _, err := Record(into, second, o); err != nil || !slices.Equal(verdicts(Probe(second, o)), verdicts(m)) {
			t.Errorf("%s: recorded twice: %v\n%s", name, err, strings.Join(verdicts(Probe(second, o)), "\n"))
		}
	}
}

func TestThisMachineRecorded(t *testing.T) {
	dir := t.TempDir()
	into := open(t, dir)
	m, err := RecordLive(into, Options{})
	if err != nil {
		t.Fatal(err)
	}
	again := Probe(into, Options{})
	if got, want := verdicts(again), verdicts(m); !slices.Equal(got, want) {
		t.Errorf("the recording says\n%s\nand this machine\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	text := everything(t, dir)
	if text == "" {
		t.Error("nothing was recorded")
	}
	private := secrets(m, nil)
	// Names of two or three letters, and root's, are in every word.
	if host, err := os.Hostname(); err == nil && len(host) > 3 {
		private = append(private, host)
	}
	if u, err := user.Current(); err == nil && u.Username != "root" {
		private = append(private, u.Username, u.HomeDir)
	}
	if found := leaks(text, private); len(found) > 0 {
		t.Errorf("the recording holds %q\n%s", found, text)
	}
}

// A directory that was refused for its size is refused in the recording too, and its names are not in it.
func TestCrowdRecorded(t *testing.T) {
	from := t.TempDir()
	crowd := filepath.Join(from, "sys", "class", "net")
	if err := os.MkdirAll(crowd, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range maxEntries + 1 {
		if err := os.Symlink("anneliese", filepath.Join(crowd, strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	into := open(t, dir)
	m, err := Record(open(t, from), into, Options{})
	if err != nil || len(m.Findings) != 1 || m.Findings[0].Flaw != string(crowded) {
		t.Fatalf("%+v, %v", m, err)
	}
	if got := verdicts(Probe(into, Options{})); !slices.Equal(got, verdicts(m)) {
		t.Errorf("the recording says\n%s", strings.Join(got, "\n"))
	}
	if text := everything(t, dir); len(text) > 1000 {
		t.Errorf("the recording has %d bytes", len(text))
	}
}

// What is the same stays the same, what differs stays different, and each keeps its kind.
func TestMadeUpValues(t *testing.T) {
	s := &scrubber{made: map[string]string{}, taken: map[string]bool{}}
	all := map[string]bool{}
	for i, v := range []string{"2c:ea:7f:a1:b2:10", "2c:ea:7f:a1:b2:11", "02:42:ac:11:00:02", "01:1b:21:3c:4d:5e"} {
		made := s.value(v, macOf)
		if made[:9] != v[:9] || made == v || !isForm(made, macForm) || all[made] || s.value(strings.ToUpper(v), macOf) != made {
			t.Errorf("%d: %s is made %s", i, v, made)
		}
		all[made] = true
	}
	for _, v := range []string{"4c4c4544-0035-4b10-8051-b4c04f4d5332", "9d1c0b7e-33a4-4f7e-a5f1-0f1e2d3c4b5a"} {
		made := s.value(v, uuidOf)
		if uuid, flaw := parseUUID(made); flaw != "" || uuid != made || all[made] {
			t.Errorf("%s is made %s: %s", v, made, flaw)
		}
		all[made] = true
	}
	for v, form := range map[string]string{"S64ANS0T512345K": "X00XXX0X000000X", "WD-1f6a9c40": "XX-0x0x0x00", "18121F9C8A77": "00000X0X0X00", "a\x01b": "x\x01x", "M\u00fc 7": "X\xff\xff 0", strings.Repeat("a7", 80): strings.Repeat("x0", 80)} {
		made := s.value(v, serialOf)
		got := []byte(made)
		for i, c := range got {
			switch {
			case '0' <= c && c <= '9':
				got[i] = '0'
			case 'A' <= c && c <= 'Z':
				got[i] = 'X'
			case 'a' <= c && c <= 'z':
				got[i] = 'x'
			}
		}
		if string(got) != form || made == v || all[made] || (flawOf(made) == "") != (flawOf(v) == "") {
			t.Errorf("%q is made %q", v, made)
		}
		all[made] = true
	}
	if made := s.value("12AB34CD56EF", serialOf); strings.Trim(made, "0123456789ABCDEF") != "" {
		t.Errorf("a hexadecimal number is made %s", made)
	}
	for v, want := range map[string]string{"": "", "00:00:00:00:00:00": "00:00:00:00:00:00", "00:11:22:33:44:55": "00:11:22:33:44:55", "Default string": "Default string", "To be filled by anneliese": "To be filled", "QM00001": "QM0000", "00000000-0000-0000-0000-000000000000": "00000000-0000-0000-0000-000000000000"} {
		if made := s.value(v, serialOf); made != want {
			t.Errorf("%q is made %q", v, made)
		}
	}
	short := map[string]bool{}
	for i := range 200 { // more than there are of this kind
		v := string([]byte{byte('0' + i%10), byte('0' + i/10%10), byte('a' + i/100)})
		made := s.value(v, serialOf)
		if short[made] {
			t.Errorf("%s is made %s, as another", v, made)
		}
		short[made] = true
	}
}

// The last look before a recording is written finds what no rule found.
func TestLastLook(t *testing.T) {
	seen := map[string]entry{
		"sys/bus/usb/devices/1-1/serial":         {text: "B28520B9XQ\n"},
		"sys/class/block/sda/b28520b9xq/address": {text: "00:1b:21:3c:4d:5e"},
	}
	if _, err := scrub(seen); !errors.Is(err, ErrPrivate) {
		t.Errorf("a serial number in a path: %v", err)
	}
	delete(seen, "sys/class/block/sda/b28520b9xq/address")
	out, err := scrub(seen)
	if err != nil || len(out) != 1 {
		t.Errorf("%v, %v", out, err)
	}
}

// Texts for which there is no rule are not recorded.
func TestOnlyKnownWordsAreRecorded(t *testing.T) {
	s := &scrubber{made: map[string]string{}, taken: map[string]bool{}}
	for name, texts := range map[string][2]string{
		"sys/devices/x/product":         {"Anneliese's stick", ""},
		"sys/devices/x/idVendor":        {"0529\n", "0529\n"},
		"sys/devices/x/removable":       {"fixed", "fixed\n"},
		"sys/devices/x/type":            {"anneliese", ""},
		"sys/devices/x/dev":             {"8:16", "8:16\n"},
		"sys/devices/x/uevent":          {"DEVTYPE=anneliese\nINTERFACE=anneliese", ""},
		"sys/devices/x/net/y/uevent":    {"DEVTYPE=vlan\nINTERFACE=anneliese", "DEVTYPE=vlan\n"},
		"sys/class/dmi/id/sys_vendor":   {"Anneliese GmbH", "\n"},
		"sys/class/dmi/id/bios_vendor":  {"innotek GmbH, Anneliese", "innotek GmbH\n"},
		"sys/class/dmi/id/product_name": {"anneliese.metal", "made-up.metal\n"},
		"proc/sys/kernel/osrelease":     {"6.1.0-anneliese", "\n"},
		"proc/1/cgroup":                 {"0::/docker/anneliese", "/docker/\n"},
		"run/systemd/container":         {"anneliese", "container-other\n"},
		"proc/cpuinfo":                  {"model name : Anneliese\nflags : fpu hypervisor", "flags : hypervisor\n"},
		"proc/self/mountinfo":           {"1 0 8:2 /@anneliese / rw,x-anneliese - ext4 /dev/disk/by-label/anneliese rw,usrjquota=anneliese", "1 0 8:2 / / rw - ext4 /dev/own1 rw\n"},
		"run/udev/data/b8:0":            {"E:ID_FS_LABEL=anneliese\n", "E:ID_SERIAL_SHORT=\n"},
		"sys/devices/x/modalias":        {"pci:v00008086", ""},
	} {
		s.names = map[string]string{}
		s.ordinary = ordinaryNames()
		if got := s.text(name, texts[0]); got != texts[1] {
			t.Errorf("%s: %q is recorded as %q, want %q", name, texts[0], got, texts[1])
		}
	}
}

func TestOrdinaryNames(t *testing.T) {
	r := ordinaryNames()
	for _, n := range strings.Fields("lo eth0 eno1 enp0s31f6 ens192 enp65s0f1np1 wlp0s20f3 wwan0 bond0 bond0.100 br0 docker0 sda sda2 nvme0n1 nvme0n1p2 nvme0c0n1 vda1 md127 dm-0 8:16 mmcblk0p1 ibp1s0 enP4p1s0") {
		if !r.MatchString(n) {
			t.Errorf("%s is not ordinary", n)
		}
	}
	for _, n := range strings.Fields("anneliese enx8c8caa123456 lan0 eth0-anneliese br-0a1b2c3d4e5f vethab12cd en0anneliese md_data sda.anneliese 1-4.2 usb1anneliese eth12345 .. -") {
		if r.MatchString(n) {
			t.Errorf("%s is ordinary", n)
		}
	}
}

// Hostile trees of every shape: no crash, no ID that is none, and what is recorded is judged the same. A tree is names and texts, each ended by a byte 1.
func FuzzProbe(f *testing.F) {
	for _, name := range trees(f) {
		var b strings.Builder
		for _, file := range archive(f, name).Files {
			b.WriteString(file.Name + "\x01" + string(file.Data) + "\x01")
		}
		f.Add(b.String())
	}
	f.Fuzz(func(t *testing.T, s string) {
		root := open(t, t.TempDir())
		parts := strings.Split(s, "\x01")
		for i := 0; i+1 < min(len(parts), 400); i += 2 {
			place(root, parts[i], []byte(parts[i+1])) // what cannot be made is not in this tree
		}
		into := open(t, t.TempDir())
		m, err := Record(root, into, Options{})
		sound(t, "fuzzed", m)
		if err != nil {
			return // what cannot be hidden is not recorded
		}
		if got, want := verdicts(Probe(into, Options{})), verdicts(m); !slices.Equal(got, want) {
			t.Errorf("the recording says\n%s\nand the machine\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func FuzzTexts(f *testing.F) {
	for _, s := range []string{"", "1 0 8:2 / / rw - ext4 /dev/sda2 rw\n", "\x00\x80\x00\x04ABCD", "E:ID_SERIAL_SHORT=x\n", "flags : hypervisor", "2c:ea:7f:a1:b2:10", "4c4c4544-0035-4b10-8051-b4c04f4d5332", "0529:0001", "0000:00:1f.6", "DEVTYPE=vlan", "J\u00f6rg"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if mac, flaw := parseMAC(s); flaw == "" && (hostid.ID{Type: hostid.Ethernet, Value: mac}).Validate() != nil {
			t.Errorf("%q is %q", s, mac)
		}
		if uuid, flaw := parseUUID(s); flaw == "" && (hostid.ID{Type: hostid.BoardUUID, Value: uuid}).Validate() != nil {
			t.Errorf("%q is %q", s, uuid)
		}
		if flawOf(s) == "" && (hostid.ID{Type: hostid.Disk, Value: s}).Validate() != nil {
			t.Errorf("%q has no flaw", s)
		}
		if q := shown(s); len(q) > maxShown+3 || strings.ContainsFunc(q, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			t.Errorf("%q is shown as %q", s, q)
		}
		rootMount(s)
		unitSerial(s)
		udevSerial(s)
		flagged(s)
		devType(s)
		pciAddress(s)
		if d, err := ParseDongle(s); err == nil && d.Vendor == 0 {
			t.Errorf("%q is a dongle", s)
		}
		x := &scrubber{made: map[string]string{}, taken: map[string]bool{}}
		for _, kind := range []func(string, [32]byte) string{macOf, uuidOf, serialOf} {
			if made := x.value(s, kind); len(made) > len(s)+8 {
				t.Errorf("%q is made %q", s, made)
			}
		}
	})
}
