package probe

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jaypipes/ghw"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/leasehold/leasehold/hostid"
)

const pciIDs = "8086  Intel Corporation\n\t15bc  Ethernet Connection (7) I219-LM\n\t\t1028 0869  On board\n14e4  Broadcom Inc. \x1b[31m\n\t165f  NetXtreme BCM5720\n"

// The list of PCI IDs is a file of the operating system; where there is none, cards have no names, and nobody asks the network for one.
func TestPCINames(t *testing.T) {
	t.Setenv("PCIDB_ENABLE_NETWORK_FETCH", "1")
	dir := t.TempDir()
	if names := pciNames(dir); names != nil {
		t.Error("names out of nothing")
	}
	list := filepath.Join(dir, "misc", "pci.ids")
	if err := os.MkdirAll(filepath.Dir(list), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, []byte(pciIDs), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PCIDB_PATH", list)
	names := pciNames(dir)
	if names == nil {
		t.Fatal("no names")
	}
	const known = "pci:v00008086d000015BCsv00001028sd00000869bc02sc00i00"
	for modalias, want := range map[string]string{
		known: "Intel Corporation Ethernet Connection (7) I219-LM",
		"pci:v000014E4d0000165Fsv00001028sd00000869bc02sc00i00": `Broadcom Inc. \x1b[31m NetXtreme BCM5720`,
		"pci:v0000FFFFd0000165Fsv00001028sd00000869bc02sc00i00": "",
		"pci:v00008086d0000FFFFsv00001028sd00000869bc02sc00i00": "Intel Corporation",
		"pci:": "", "": "", "usb:v0BDAp8153": "", strings.Repeat("x", 4096): "",
	} {
		if got, ok := makerOf(names, modalias); got != want || ok != (want != "") {
			t.Errorf("%.60q: %q, %v, want %q", modalias, got, ok, want)
		}
	}
	if got, ok := makerOf(nil, known); ok {
		t.Errorf("%q out of nothing", got)
	}
}

// What the kernel tells by other means than files is recorded as files.
func TestBesideTheFiles(t *testing.T) {
	a := &txtar.Archive{Files: []txtar.File{
		{Name: "sys/class/net/eno1 -> ../../devices/pci0000:00/0000:00:1f.6/net/eno1"},
		{Name: "sys/devices/pci0000:00/0000:00:1f.6/net/eno1/type", Data: []byte("1\n")},
		{Name: "sys/devices/pci0000:00/0000:00:1f.6/net/eno1/address", Data: []byte("02:00:00:00:aa:01\n")},
		{Name: "sys/devices/pci0000:00/0000:00:1f.6/net/eno1/addr_assign_type", Data: []byte("3\n")},
	}}
	tr := &tree{root: plant(t, a), beside: func(_ *tree, name string) (string, bool) {
		switch name {
		case "sys/devices/pci0000:00/0000:00:1f.6/net/eno1/permaddr":
			return "ac:1f:6b:00:10:aa", true
		case "sys/devices/pci0000:00/0000:00:1f.6/pciname":
			return "Maker Model", true
		}
		return "", false
	}}
	into := open(t, t.TempDir())
	m, err := tr.record(into, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct{ source, value string }{{m.Findings[0].Source, m.Findings[0].ID.Value[:6]}, {Probe(into, Options{}).Findings[0].Source, Probe(into, Options{}).Findings[0].ID.Value[:6]}} {
		if m.source != "eno1, PCI 0000:00:1f.6, Maker Model" || m.value != "AC1F6B" {
			t.Errorf("%+v", m)
		}
	}
	if again := Probe(into, Options{}); again.Findings[0].ID == m.Findings[0].ID || again.Findings[0].Flaw != "" {
		t.Errorf("%+v", again.Findings)
	}
	if _, ok := permanentAddress(strings.Repeat("x", 16)); ok {
		t.Error("an interface whose name is too long has an address")
	}
	if s, ok := permanentAddress("no-such-one"); ok {
		t.Errorf("an interface that is not there has the address %s", s)
	}
}

// Whose home this runs in changes no name.
func TestNamesAreTheSystems(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	for file, maker := range map[string]string{filepath.Join(dir, "misc", "pci.ids"): "Intel Corporation", filepath.Join(home, ".cache", "pci.ids"): "Mallory", filepath.Join(home, "other.ids"): "Mallory"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("8086  "+maker+"\n\t1533  I210\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", home)
	t.Setenv("PCIDB_PATH", filepath.Join(home, "other.ids"))
	t.Setenv("PCIDB_CHROOT", home)
	t.Setenv("PCIDB_CACHE_ONLY", "1")
	if got, _ := makerOf(pciNames(dir), "pci:v00008086d00001533sv00008086sd00000001bc02sc00i00"); got != "Intel Corporation I210" {
		t.Errorf("the card is by %q", got)
	}
}

// A second opinion: what ghw reads of the trees that are not made to hurt is what is listed.
func TestAgreesWithAnotherReader(t *testing.T) {
	for _, name := range []string{"server", "laptop", "guest", "notpm", "renamed", "usbip", "dongles"} {
		root := plant(t, archive(t, name))
		m := Probe(root, Options{})
		quiet := ghw.WithLogger(slog.New(slog.DiscardHandler))
		product, err := ghw.Product(context.Background(), ghw.WithChroot(root.Name()), quiet)
		if err != nil {
			t.Fatal(err)
		}
		nics, err := ghw.Network(context.Background(), ghw.WithChroot(root.Name()), ghw.WithDisableTools(), quiet)
		if err != nil || len(nics.NICs) == 0 {
			t.Fatal(len(nics.NICs), err)
		}
		cards := map[string]*ghw.NIC{}
		for _, n := range nics.NICs {
			cards[n.Name] = n
		}
		seen := 0
		for _, f := range m.Findings {
			switch f.ID.Type {
			case hostid.BoardUUID, hostid.VMUUID:
				if f.ID.Value != strings.ToUpper(product.UUID) {
					t.Errorf("%s: %s, and by ghw %s", name, f.ID, product.UUID)
				}
				seen++
			case hostid.Ethernet:
				parts := strings.Split(f.Source, ", ")
				n := cards[parts[0]]
				if n == nil {
					t.Errorf("%s: ghw knows no %s", name, parts[0])
					continue
				}
				// The card of a guest is on virtio's bus, and that on PCI: ghw looks at the nearer one.
				if f.Flaw == "" && (n.IsVirtual || name != "guest" && (n.PCIAddress == nil || "PCI "+*n.PCIAddress != parts[1])) {
					t.Errorf("%s: %s of %s, and by ghw %+v", name, f.ID, f.Source, n)
				}
				if mac := strings.ToUpper(strings.ReplaceAll(n.MACAddress, ":", "")); f.Flaw == "" && mac != "" && mac != f.ID.Value { // ghw shows none that was set by hand
					t.Errorf("%s: %s of %s, and by ghw %s", name, f.ID, f.Source, n.MACAddress)
				}
				seen++
			}
		}
		if seen < 2 {
			t.Errorf("%s: only %d were compared", name, seen)
		}
	}
}

// The log is read as all else: nothing is waited for, no link leads out, and its length has an end.
func TestEventLog(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, n := range map[string]int{"log": 100, "longest": 200, "longer": 201, "empty": 0} {
		if err := root.WriteFile(name, bytes.Repeat([]byte{7}, n), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(root.Symlink("log", "link"), root.Symlink("loop", "loop"), root.Mkdir("dir", 0o700), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"log": 100, "longest": 200, "empty": 0, "longer": -1, "link": -1, "loop": -1, "dir": -1, "pipe": -1, "nothing": -1, "../log": -1, EventLogPath: -1} {
		b, err := EventLog(root, name, 200)
		if (err != nil) != (want < 0) || err == nil && len(b) != want || errors.Is(err, fs.ErrNotExist) != (name == "nothing" || name == EventLogPath) {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}
