package probe

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/leasehold/leasehold/hostid"
)

// bound is the IDs without a flaw.
func bound(m hostid.Machine) (ids []string) {
	for _, f := range m.Findings {
		if f.Flaw == "" {
			ids = append(ids, f.ID.String())
		}
	}
	return ids
}

// sound checks what must hold of every machine, however broken its tree is.
func sound(t *testing.T, what string, m hostid.Machine) {
	t.Helper()
	if len(m.Findings) > maxFindings+1 {
		t.Errorf("%s: %d findings", what, len(m.Findings))
	}
	flawed := false
	for _, f := range m.Findings {
		if f.Flaw == "" && f.ID.Validate() != nil {
			t.Errorf("%s: %s of %s is no ID: %v", what, f.ID, f.Source, f.ID.Validate())
		}
		if (f.Strength == hostid.Worthless) && f.Flaw == "" {
			t.Errorf("%s: %s is worthless, and nobody says why", what, f.ID)
		}
		for _, s := range []string{f.ID.Value, f.Source, f.Flaw} {
			if strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e }) || len(s) > 4*maxShown {
				t.Errorf("%s: %q is not for people", what, s)
			}
		}
		if f.Source == "" {
			t.Errorf("%s: %s has no source", what, f.ID)
		}
		if flawed && f.Flaw == "" {
			t.Errorf("%s: %s comes after what has a flaw", what, f.ID)
		}
		flawed = flawed || f.Flaw != ""
	}
}

// What each shipped tree is for: the IDs that are without flaw, in order, and words that must stand at IDs that have one.
func TestTrees(t *testing.T) {
	ek := strings.Repeat("7F3A22C9", 8) + "/TPM_EK"
	for _, row := range []struct {
		name, virtual, container string
		bound                    []string // without COMPOSITE, which is a digest
		named                    []string // beginnings of "source: flaw"
	}{
		{"server", "", "", []string{ek, strings.Repeat("91BB0C4D", 8) + "/TPM_AK", "4C4C4544-0035-4B10-8051-B4C04F4D5332/BOARD_UUID", "2CEA7FA1B210/ETHERNET", "2CEA7FA1B211/ETHERNET",
			"3CFDFE0A0B20/ETHERNET", "3CFDFE0A0B21/ETHERNET", "S64ANS0T512345K/DISK", "S64ANS0T512399M/DISK"},
			[]string{"bond0: bond, not a card", "bond0.100: vlan, not a card", "br0: bridge, not a card", "docker0: bridge, not a card", "veth12ab34c: virtual interface, not a card", "wg0: wireguard, not a card",
				"idrac, PCI 0000:00:14.0: USB network adapter", "eno3v0, PCI 0000:19:02.0, Intel Corporation Ethernet Virtual Function 700 Series: virtual function of another card"}},
		{"laptop", "", "", []string{"A1B2C3D4-77E5-11EC-9F3A-0A1B2C3D4E5F/BOARD_UUID", "8C8CAA123456/ETHERNET", "S5GXNX0R123456/DISK"},
			[]string{"tpm0: nobody asked", "enx8c8caa123456, PCI 0000:00:0d.0: USB network adapter", "enp36s0, PCI 0000:24:00.0, Intel Corporation I210 Gigabit Network Connection: Thunderbolt or docked network adapter",
				"wlp0s20f3, PCI 0000:00:14.3, Intel Corporation Wi-Fi 6 AX201: wireless", "wwan0, PCI 0000:08:00.0: mobile", "thunderbolt0, PCI 0000:00:0d.2: Thunderbolt network adapter"}},
		{"guest", "kvm", "", []string{ek, "6F1F9C3E-5D0A-4B5E-8F5E-2A4D1C7B9E01/VM_UUID", "5254006B3C58/ETHERNET", "WD-1f6a9c40/DISK"}, nil},
		{"microvm", "kvm", "", []string{"0600AC100002/ETHERNET"}, []string{"boot disk vda, PCI 0000:00:02.0: no serial number", "ifb0: virtual interface"}},
		{"container", "", "docker", []string{"4C4C4544-0035-4B10-8051-B4C04F4D5332/BOARD_UUID", "web-7/CONTAINER_ID"}, []string{"eth0: virtual interface", "overlay: no disk is found"}},
		{"notpm", "", "", []string{"03AA02FC-0414-05A2-8F06-660700080009/BOARD_UUID", "0C9D924A5B6C/ETHERNET", "WD-WCC4E3SX0LKP/DISK", "Werkstatt 3/STRING", "plant-12-A7/PUBLISHER_DEFINED"}, nil},
		{"dongles", "", "", []string{ek, "E2D4A1B0-1111-4C22-9D33-123456ABCDEF/BOARD_UUID", "B00CD15E6F70/ETHERNET", "064F-2AF9-3-4710815/FLEXID10", "0529-0001-B28520B9/FLEXID9"},
			[]string{"Sentinel HASP, USB 0529:0001 at 1-3: no serial number", "Feitian, USB 096e:0006 at 1-4: thousands", "SenseLock, USB 1bc0:8101 at 1-5.1: another one shows", "SenseLock, USB 1bc0:8101 at 1-5.2: another one shows", "YubiKey, USB 1050:0407 at 1-6: no serial"}},
		{"renamed", "", "", []string{"9D1C0B7E-33A4-4F7E-A5F1-0F1E2D3C4B5A/BOARD_UUID", "AC1F6B0010AA/ETHERNET", "AC1F6B0010AB/ETHERNET", "AC1F6B7710AC/ETHERNET", "18121F9C8A77/DISK"}, []string{"anneliese-vpn: virtual interface"}},
		{"broken", "", "container-other", []string{}, []string{"DMI product UUID: one character again and again", "abs: a link that leads", "circle: ", "gone: a link that leads", "loop1: a link that leads", "out: a link that leads", "pipe: not a regular file", "self: a link",
			"eth0, PCI 0000:00:03.0: the same address as eth1", "eth1, PCI 0000:00:04.0: the same address as eth0", "eth2, PCI 0000:00:05.0: one character", "eth3, PCI 0000:00:06.0: one character", "eth4, PCI 0000:00:07.0: thousands",
			"eth5, PCI 0000:00:08.0: a group address", "eth6, PCI 0000:00:09.0: not an Ethernet address", "eth7, PCI 0000:00:0a.0: its permanent address is not known", "eth8, PCI 0000:00:0b.0: ", "eth9, PCI 0000:00:0c.0: not Ethernet",
			"Sentinel HASP, USB 0529:0001 at 1-1: byte 1 of it", "Sentinel HASP, USB 0529:0001 at 1-2: longer than 4096 bytes", "Sentinel HASP, USB 0529:0001 at 1-3: longer than 128 characters", "Sentinel HASP, USB 0529:0001 at 1-4: not a regular file",
			"Sentinel HASP, USB 0529:0001 at 1-5: byte 2 of it", "Sentinel HASP, USB 0529:0001 at 1-7: too short", "Sentinel HASP, USB 0529:0001 at 1-8: thousands", "USB 2-1: a link", "USB 2-2: not a regular file", "boot disk sda, PCI 0000:00:1f.2: thousands"}},
		{"usbip", "", "", []string{ek, "5B1E7F00-92C3-44D5-8E66-77F88091A2B3/BOARD_UUID", "D08E79102030/ETHERNET", "0529-0001-D15EA5E5/FLEXID9"},
			[]string{"USB over IP, Sentinel HASP, USB 0529:0001 at 3-1: USB over IP", "USB over IP, device, USB 0951:1666 at 3-2: USB over IP", "eth0: USB over IP network adapter", "emulated USB, CodeMeter, USB 064f:2af9 at 4-1: emulated USB"}},
		{"whitebox", "", "", []string{"1C83412A3B4C/ETHERNET"}, []string{"tpm0: not a TPM 2.0", "DMI product UUID: thousands", "enp3s0, PCI 0000:03:00.0: thousands", "boot disk sdc, PCI 0000:00:14.0: USB disk"}},
	} {
		a := archive(t, row.name)
		m := Probe(plant(t, a), options(t, a))
		sound(t, row.name, m)
		got := slices.DeleteFunc(bound(m), func(s string) bool { return strings.HasSuffix(s, "/COMPOSITE") })
		if m.Virtual != row.virtual || m.Container != row.container || !slices.Equal(got, row.bound) {
			t.Errorf("%s: virtual %q, container %q, bound\n%s", row.name, m.Virtual, m.Container, strings.Join(got, "\n"))
		}
		var said []string
		for _, f := range m.Findings {
			if f.Flaw != "" {
				said = append(said, f.Source+": "+f.Flaw)
			}
		}
		for _, words := range row.named {
			if !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, words) }) {
				t.Errorf("%s: nothing says %q; it says\n%s", row.name, words, strings.Join(said, "\n"))
			}
		}
	}
}

// Interfaces get other names, cards are docked and undocked, virtual ones come and go, in any order: what is bound stays the same, in the same order.
func TestNothingOutsideChangesWhatIsBound(t *testing.T) {
	const lives = 4
	for _, name := range trees(t) {
		a := archive(t, name)
		o := options(t, a)
		want := bound(Probe(plant(t, a), o))
		for seed := range uint64(lives) {
			r := rand.New(rand.NewPCG(seed, 17))
			if got := bound(Probe(plant(t, drift(a, r)), o)); !slices.Equal(got, want) {
				t.Errorf("%s, seed %d: bound is\n%s\nwhere it was\n%s", name, seed, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// drift is another day of the same machine: interfaces renamed, a dock plugged in, virtual interfaces added and removed, files written in another order.
func drift(a *txtar.Archive, r *rand.Rand) *txtar.Archive {
	b := &txtar.Archive{Comment: a.Comment, Files: slices.Clone(a.Files)}
	names := map[string]string{}
	gone := map[string]bool{}
	for _, f := range b.Files {
		if n, ok := strings.CutPrefix(f.Name, "sys/class/net/"); ok {
			n, to, _ := strings.Cut(n, " ")
			names[n] = fmt.Sprintf("%c%d", 'a'+r.IntN(26), 1000+len(names))
			if strings.Contains(to, "devices/virtual") && r.IntN(2) == 0 {
				gone[n] = true
			}
		}
	}
	part := func(name string) (n string) {
		parts := strings.Split(name, "/")
		if i := slices.Index(parts, "net"); i >= 0 && i+1 < len(parts) {
			n, _, _ = strings.Cut(parts[i+1], " ")
		}
		return n
	}
	b.Files = slices.DeleteFunc(b.Files, func(f txtar.File) bool { return gone[part(f.Name)] })
	for i, f := range b.Files {
		for old, to := range names {
			from, target, link := strings.Cut(f.Name, " -> ")
			if from = renamed(from, old, to); link {
				from += " -> " + renamed(target, old, to)
			}
			f.Name = from
		}
		b.Files[i] = f
	}
	add := func(name, dir string, files ...string) {
		b.Files = append(b.Files, txtar.File{Name: "sys/class/net/" + name + " -> ../../../" + dir + "/net/" + name})
		for i := 0; i < len(files); i += 2 {
			b.Files = append(b.Files, txtar.File{Name: path.Join(dir, "net", name, files[i]), Data: []byte(files[i+1] + "\n")})
		}
	}
	add("dock0", "sys/devices/pci0000:00/0000:00:0e.0/usb9/9-1/9-1:1.0", "type", "1", "address", "00:e0:4c:68:99:01", "addr_assign_type", "0", "permaddr", "00:e0:4c:68:99:01")
	add("dock1", "sys/devices/pci0000:00/0000:00:0f.0/0000:f0:00.0", "type", "1", "address", "00:23:a4:68:99:02", "addr_assign_type", "0", "permaddr", "00:23:a4:68:99:02")
	b.Files = append(b.Files, txtar.File{Name: "sys/devices/pci0000:00/0000:00:0f.0/vendor", Data: []byte("0x8086\n")}, txtar.File{Name: "sys/devices/pci0000:00/0000:00:0f.0/device", Data: []byte("0x15d3\n")})
	add("new0", "sys/devices/virtual", "type", "1", "address", "2c:ea:7f:a1:b2:10", "addr_assign_type", "3")
	r.Shuffle(len(b.Files), func(i, j int) { b.Files[i], b.Files[j] = b.Files[j], b.Files[i] })
	return b
}

// renamed replaces an interface's name after net/ and nowhere else.
func renamed(p, old, to string) string {
	parts := strings.Split(p, "/")
	for i := 1; i < len(parts); i++ {
		if parts[i] == old && parts[i-1] == "net" {
			parts[i] = to
		}
	}
	return strings.Join(parts, "/")
}

func TestSameTreeSameFindings(t *testing.T) {
	for _, name := range trees(t) {
		a := archive(t, name)
		root, o := plant(t, a), options(t, a)
		first := Probe(root, o)
		for range 3 {
			if again := Probe(root, o); !reflect.DeepEqual(again, first) {
				t.Errorf("%s: %+v\n%+v", name, again, first)
			}
		}
	}
}

func TestThisMachine(t *testing.T) {
	m, err := Live(Options{})
	if err != nil {
		t.Fatal(err)
	}
	sound(t, "this machine", m)
	again, err := Live(Options{})
	if err != nil || !slices.Equal(bound(again), bound(m)) {
		t.Errorf("%v, %v, then %v", err, bound(m), bound(again))
	}
}

func TestGiven(t *testing.T) {
	root := open(t, t.TempDir())
	m := Probe(root, Options{Given: []hostid.Finding{
		{ID: hostid.ID{Type: hostid.String, Value: "told"}, Strength: hostid.Told, Source: "a"},
		{ID: hostid.ID{Type: hostid.TPMEK, Value: "EK"}, Strength: hostid.Proven, Source: "b"},
		{ID: hostid.ID{Type: hostid.String, Value: "no\nline"}, Strength: hostid.Told, Source: "c\x1b[31m"},
		{ID: hostid.ID{Type: 99, Value: "x"}, Strength: hostid.Proven, Source: "d"},
		{ID: hostid.ID{Type: hostid.Extended, Value: strings.Repeat("x", 10000)}, Strength: hostid.Told, Source: "e"},
	}})
	sound(t, "given", m)
	if got := bound(m); !slices.Equal(got, []string{"EK/TPM_EK", "told/STRING"}) || len(m.Findings) != 5 {
		t.Errorf("%v of %+v", got, m.Findings)
	}
	for _, f := range m.Findings[2:] {
		if f.Strength != hostid.Worthless {
			t.Errorf("%+v", f)
		}
	}
}

// A machine with more of everything than anybody can look at.
func TestCrowd(t *testing.T) {
	a := new(txtar.Archive)
	for i := range 300 {
		dir := fmt.Sprintf("sys/devices/pci0000:00/0000:%02x:%02x.0/net/n%d", i/256, i%256, i)
		a.Files = append(a.Files, txtar.File{Name: fmt.Sprintf("sys/class/net/n%d -> ../../../%s", i, dir)}, txtar.File{Name: dir + "/type", Data: []byte("1")},
			txtar.File{Name: dir + "/permaddr", Data: fmt.Appendf(nil, "00:1b:21:00:%02x:%02x", i/256, i%256)})
	}
	m := Probe(plant(t, a), Options{})
	sound(t, "crowd", m)
	if last := m.Findings[len(m.Findings)-1]; len(m.Findings) != maxFindings+1 || last.Flaw != "44 more are not listed" {
		t.Errorf("%d findings, the last %+v", len(m.Findings), last)
	}
}

func TestParseDongle(t *testing.T) {
	for s, want := range map[string]Dongle{
		"0529":      {Vendor: 0x529, Type: hostid.Flexid9, Name: "dongle 0529"},
		"064F:2af9": {Vendor: 0x64f, Product: 0x2af9, Type: hostid.Flexid9, Name: "dongle 064F:2af9"},
	} {
		if d, err := ParseDongle(s); err != nil || d != want {
			t.Errorf("%s: %+v, %v", s, d, err)
		}
	}
	for _, s := range []string{"", ":", "529", "0000", "0529:", ":0001", "0529:1", "0529:0001:2", "052g", "+529", "0x52", "0529 ", "05290001"} {
		if d, err := ParseDongle(s); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %+v, %v", s, d, err)
		}
	}
}

func TestDonglesThatWereAskedFor(t *testing.T) {
	a := archive(t, "dongles")
	d, err := ParseDongle("0a5c:5842")
	if err != nil {
		t.Fatal(err)
	}
	m := Probe(plant(t, a), Options{Dongles: []Dongle{d}})
	if !slices.Contains(bound(m), "0A5C-5842-A1F0039D/FLEXID9") {
		t.Errorf("%v", bound(m))
	}
}

// Whoever shows a dongle's number over the network takes nothing from the one that is plugged in here.
func TestFarTwinOfADongle(t *testing.T) {
	a := archive(t, "usbip")
	for i, f := range a.Files {
		if strings.HasSuffix(f.Name, "vhci_hcd.0/usb3/3-1/serial") {
			a.Files[i].Data = []byte("D15EA5E5\n")
		}
	}
	m := Probe(plant(t, a), options(t, a))
	if !slices.Contains(bound(m), "0529-0001-D15EA5E5/FLEXID9") {
		t.Errorf("bound: %v", bound(m))
	}
	far := 0
	for _, f := range m.Findings {
		if f.ID.Value == "0529-0001-D15EA5E5" && strings.HasPrefix(f.Flaw, "USB over IP") {
			far++
		}
	}
	if far != 1 {
		t.Errorf("%d far twins are named where there is one", far)
	}
}

// Each line of the tables is one.
func TestTables(t *testing.T) {
	if n := len(known(nil)); n != len(table("vendors.txt")) || n == 0 {
		t.Errorf("%d kinds of dongles of %d lines", n, len(table("vendors.txt")))
	}
	for _, l := range table("junk.txt") {
		if begin := strings.TrimSuffix(l, "*"); l != strings.ToLower(l) || flawOf(begin) == "" || flawOf(strings.ToUpper(begin)) == "" {
			t.Errorf("%q is not found", l)
		}
	}
}

func TestValues(t *testing.T) {
	for s, want := range map[string]string{
		"S64ANS0T512345K": "", "WD-1f6a9c40": "", "1A2B": "", "a b c d": "", strings.Repeat("ab", 64): "",
		"": "empty", strings.Repeat("ab", 65): "longer than 128 characters", "abc": "too short to tell machines apart", "a\x00bcd": "byte 2 of it is no printable ASCII", "ab\x7fcd": "byte 3 of it is no printable ASCII",
		"J\u00f6rg1": "byte 2 of it is no printable ASCII", "0000000": repeated, "----": repeated, "FFFF-FFFF": repeated, "To be filled by O.E.M.": common, "TO BE FILLED BY anybody": common, "Default string": common, "QM00001": common, "None": common,
	} {
		if got := flawOf(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	for s, want := range map[string]string{"overlayblk": "a word, no number", "DATA-DISK": "a word, no number", "disk1": "", "": "empty"} {
		if got := serialFlaw(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	for s, want := range map[string]string{
		"9d1c0b7e-33a4-4f7e-a5f1-0f1e2d3c4b5a": "9D1C0B7E-33A4-4F7E-A5F1-0F1E2D3C4B5A", "9D1C0B7E-33A4-4F7E-A5F1-0F1E2D3C4B5A": "9D1C0B7E-33A4-4F7E-A5F1-0F1E2D3C4B5A",
		"": "", "00000000-0000-0000-0000-000000000000": "", "ffffffff-ffff-ffff-ffff-ffffffffffff": "", "03000200-0400-0500-0006-000700080009": "", "12121212-1212-1212-1212-121212121212": "",
		"9d1c0b7e33a44f7ea5f10f1e2d3c4b5a": "", "9d1c0b7e-33a4-4f7e-a5f1-0f1e2d3c4b5g": "", "9d1c0b7e-33a4-4f7e-a5f1-0f1e2d3c4b5a7": "", "{9d1c0b7e-33a4-4f7e-a5f1-0f1e2d3c4b}": "", "Not Settable": "", "9d1c0b7e_33a4_4f7e_a5f1_0f1e2d3c4b5a": "",
	} {
		if got, flaw := parseUUID(s); got != want || (flaw == "") != (want != "") {
			t.Errorf("%q: %q, %q", s, got, flaw)
		}
	}
	for s, want := range map[string]string{
		"00:1b:21:3c:4d:5e": "001B213C4D5E", "52:54:00:6B:3C:58": "5254006B3C58",
		"": "", "00:00:00:00:00:00": "", "ff:ff:ff:ff:ff:ff": "", "01:1b:21:3c:4d:5e": "", "00:11:22:33:44:55": "", "001b213c4d5e": "", "00-1b-21-3c-4d-5e": "", "00:1b:21:3c:4d:5": "", "00:1b:21:3c:4d:5e:6f": "", "00:1b:21:3c:4d:5g": "",
		"80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:01:02:03": "",
	} {
		if got, flaw := parseMAC(s); got != want || (flaw == "") != (want != "") {
			t.Errorf("%q: %q, %q", s, got, flaw)
		}
	}
}

func TestShown(t *testing.T) {
	for s, want := range map[string]string{"": "", `a "b" \c`: `a "b" \c`, "\x1b[31m": `\x1b[31m`, "\u00f6": `\u00f6`, "\xff": `\xff`} {
		if got := shown(s); got != want {
			t.Errorf("%q: %q", s, got)
		}
	}
	for _, s := range []string{strings.Repeat("x", 10000), strings.Repeat("\x00", 60), strings.Repeat("\u2028", 100)} {
		if got := shown(s); len(got) != maxShown+3 || !strings.HasSuffix(got, "...") {
			t.Errorf("%d bytes, %q", len(got), got)
		}
	}
}

// What is virtual, by what each monitor shows.
func TestVirtual(t *testing.T) {
	const dir, clocks, cpu = "sys/class/dmi/id/", "sys/devices/system/clocksource/clocksource0/available_clocksource", "proc/cpuinfo"
	guest, alone := "processor: 0\nflags\t\t: fpu hypervisor avx\n", "flags : fpu avx\n"
	for _, row := range []struct {
		what  string
		files []string // name and text
		want  string
	}{
		{"nothing known", nil, ""},
		{"bare metal", []string{dir + "sys_vendor", "Dell Inc.", cpu, alone, clocks, "tsc hpet"}, ""},
		{"KVM", []string{dir + "sys_vendor", "QEMU", cpu, guest, clocks, "kvm-clock tsc"}, "kvm"},
		{"QEMU without KVM", []string{dir + "sys_vendor", "QEMU", cpu, alone, clocks, "tsc"}, "qemu"},
		{"VMware", []string{dir + "product_name", "VMware Virtual Platform", cpu, guest}, "vmware"},
		{"VirtualBox", []string{dir + "board_vendor", "Oracle Corporation", dir + "bios_vendor", "innotek GmbH", cpu, guest}, "oracle"},
		{"a server by Oracle", []string{dir + "sys_vendor", "Oracle Corporation", cpu, alone}, ""},
		{"Hyper-V", []string{dir + "sys_vendor", "Microsoft Corporation", cpu, guest, clocks, "hyperv_clocksource_tsc_page"}, "microsoft"},
		{"a tablet by Microsoft", []string{dir + "sys_vendor", "Microsoft Corporation", cpu, alone}, ""},
		{"Xen", []string{"sys/hypervisor/type", "xen", cpu, guest}, "xen"},
		{"the machine that runs the others", []string{"sys/hypervisor/type", "xen", cpu, guest, clocks, "xen", "proc/xen/capabilities", "control_d"}, ""},
		{"Amazon", []string{dir + "sys_vendor", "Amazon EC2", dir + "product_name", "m5.large", cpu, guest, clocks, "kvm-clock"}, "amazon"},
		{"Amazon, bare", []string{dir + "sys_vendor", "Amazon EC2", dir + "product_name", "m5.metal", cpu, alone}, ""},
		{"Google", []string{dir + "product_name", "Google Compute Engine", cpu, guest, clocks, "kvm-clock"}, "google"},
		{"Google, bare", []string{dir + "product_name", "Google Compute Engine", cpu, alone}, ""},
		{"a processor that says only that", []string{cpu, guest}, "vm-other"},
		{"the word elsewhere", []string{cpu, "model name : hypervisor\nflags : fpu nohypervisor\n"}, ""},
		{"ARM", []string{dir + "sys_vendor", "QEMU", cpu, "Features : fp asimd"}, "qemu"},
	} {
		a := new(txtar.Archive)
		for i := 0; i < len(row.files); i += 2 {
			a.Files = append(a.Files, txtar.File{Name: row.files[i], Data: []byte(row.files[i+1] + "\n")})
		}
		if got := Probe(plant(t, a), Options{}).Virtual; got != row.want {
			t.Errorf("%s: %q, want %q", row.what, got, row.want)
		}
	}
}

func TestContainer(t *testing.T) {
	for _, row := range []struct{ file, text, want string }{
		{"etc/none", "", ""}, {".dockerenv", "", "docker"}, {"run/.containerenv", "", "podman"}, {"run/systemd/container", "lxc", "lxc"}, {"run/systemd/container", "systemd-nspawn", "systemd-nspawn"},
		{"run/systemd/container", "something", "container-other"}, {"run/host/container-manager", "podman", "podman"}, {"proc/vz/x", "", "openvz"}, {"proc/sys/kernel/osrelease", "5.15.90.1-microsoft-standard-WSL2", "wsl"},
		{"proc/1/cgroup", "12:pids:/docker/0a1b2c", "docker"}, {"proc/1/cgroup", "0::/machine.slice/libpod-12.scope", "podman"}, {"proc/1/cgroup", "1:cpu:/lxc/web", "lxc"}, {"proc/1/cgroup", "0::/kubepods.slice/x", "container-other"}, {"proc/1/cgroup", "0::/init.scope", ""},
	} {
		a := &txtar.Archive{Files: []txtar.File{{Name: row.file, Data: []byte(row.text + "\n")}}}
		if got := Probe(plant(t, a), Options{}).Container; got != row.want {
			t.Errorf("%s %q: %q, want %q", row.file, row.text, got, row.want)
		}
	}
}

// A machine goes to the daemon as JSON and comes back the same.
func TestMachineAsJSON(t *testing.T) {
	a := archive(t, "broken")
	m := Probe(plant(t, a), options(t, a))
	b, err := json.Marshal(m)
	if err != nil || len(b) > 64<<10 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
}

// Only root may read some numbers; where that is so, it is said.
func TestUnreadable(t *testing.T) {
	root := open(t, t.TempDir())
	if err := errors.Join(place(root, "sys/class/dmi/id/product_uuid.unreadable", []byte(denied)), place(root, "sys/class/net/eth0.unreadable", []byte("whatever I please"))); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 { // root can read everything, so the recording of another stands for it
		if err := errors.Join(place(root, "sys/class/dmi/id/product_uuid", nil), root.Chmod("sys/class/dmi/id/product_uuid", 0)); err != nil {
			t.Fatal(err)
		}
	}
	m := Probe(root, Options{})
	if len(m.Findings) != 1 || m.Findings[0].Flaw != string(denied) || m.Findings[0].ID.Type != hostid.BoardUUID {
		t.Errorf("%+v", m.Findings)
	}
}
