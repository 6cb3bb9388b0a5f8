package dongle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fidoDescriptor is the report descriptor that the standard gives as an example: CTAP 2.1, 11.2.8.1.
func fidoDescriptor() []byte {
	return []byte{
		0x06, 0xd0, 0xf1, // usage page 0xF1D0
		0x09, 0x01, // usage 1: CTAPHID
		0xa1, 0x01, // collection: application
		0x09, 0x20, 0x15, 0x00, 0x26, 0xff, 0x00, // usage: data in, 0 to 255
		0x75, 0x08, 0x95, 0x40, 0x81, 0x02, // 8 bits, 64 times, input
		0x09, 0x21, 0x15, 0x00, 0x26, 0xff, 0x00, // usage: data out
		0x75, 0x08, 0x95, 0x40, 0x91, 0x02, // 8 bits, 64 times, output
		0xc0, // end
	}
}

// mouse is one of another page.
func mouse() []byte {
	return []byte{0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x75, 0x08, 0x95, 0x04, 0x81, 0x02, 0xc0}
}

func TestSpeaksFIDO(t *testing.T) {
	good := fidoDescriptor()
	if err := speaksFIDO(good); err != nil {
		t.Fatal(err)
	}
	changed := func(old, new string) []byte {
		b := strings.Replace(string(good), old, new, 1)
		if b == string(good) {
			t.Fatalf("%x is not in it", old)
		}
		return []byte(b)
	}
	for name, v := range map[string]struct {
		descriptor []byte
		other      bool // a device of another kind, rather than a strange key
	}{
		"nothing":                  {nil, true},
		"a mouse":                  {mouse(), true},
		"another page":             {changed("\xd0\xf1", "\xd1\xf1"), true},
		"another usage":            {changed("\x09\x01\xa1", "\x09\x02\xa1"), true},
		"no collection":            {changed("\xa1\x01", ""), true},
		"reports of 32 bytes in":   {changed("\x95\x40\x81", "\x95\x20\x81"), false},
		"reports of 32 bytes out":  {changed("\x95\x40\x91", "\x95\x20\x91"), false},
		"no output":                {changed("\x91\x02", ""), false},
		"two inputs":               {changed("\x81\x02", "\x81\x02\x81\x02"), false},
		"numbered reports":         {changed("\xa1\x01", "\xa1\x01\x85\x01"), false},
		"an overflow of the count": {changed("\x75\x08\x95\x40\x81", "\x77\xff\xff\xff\xff\x97\xff\xff\xff\xff\x81"), false},
		"a long item":              {append([]byte{0xfe, 0x00, 0x00}, good...), false},
	} {
		if err := speaksFIDO(v.descriptor); !errors.Is(err, ErrNotSupported) || errors.Is(err, errOtherUsage) != v.other {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range len(good) - 2 { // without the end of the collection it says all there is
		if err := speaksFIDO(good[:n]); !errors.Is(err, ErrNotSupported) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
}

// hid writes a hidraw device into a tree as sysfs shows it.
func hid(t *testing.T, root, name, bus, uevent string, descriptor []byte) {
	t.Helper()
	device := filepath.Join(root, "sys/devices", bus)
	class := filepath.Join(root, "sys/class/hidraw")
	link := filepath.Join("../../devices", bus, "hidraw", name)
	if err := errors.Join(
		os.MkdirAll(filepath.Join(device, "hidraw", name), 0o755),
		os.MkdirAll(class, 0o755),
		os.WriteFile(filepath.Join(device, "uevent"), []byte(uevent), 0o644),
		os.WriteFile(filepath.Join(device, "report_descriptor"), descriptor, 0o644),
		os.Symlink("../..", filepath.Join(device, "hidraw", name, "device")),
		os.Symlink(link, filepath.Join(class, name)),
	); err != nil {
		t.Fatal(err)
	}
}

func uevent(id, name, serial string) string {
	return "DRIVER=hid-generic\nHID_ID=" + id + "\nHID_NAME=" + name + "\nHID_PHYS=usb-0000:00:14.0-2/input1\nHID_UNIQ=" + serial + "\nMODALIAS=hid:b0003\n"
}

func list(t *testing.T, dir string) []Device {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	d, err := List(root)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestList(t *testing.T) {
	const port = "pci0000:00/0000:00:14.0/usb1/1-%d/1-%d:1.1/0003:1050:0407.000%d"
	at := func(n int) string { return fmt.Sprintf(port, n, n, n) }
	const yubico = "0003:00001050:00000407"
	dir := t.TempDir()
	hid(t, dir, "hidraw0", at(9), uevent("0003:0000046D:0000C077", "a mouse", ""), mouse())
	hid(t, dir, "hidraw1", at(2), uevent(yubico, "Yubico YubiKey OTP+FIDO+CCID", ""), fidoDescriptor())
	hid(t, dir, "hidraw10", at(1), uevent("0003:00001209:00005070", "A key", "0815"), fidoDescriptor())
	hid(t, dir, "hidraw2", "platform/vhci_hcd.0/usb3/3-1/3-1:1.0/0003:1050:0407.0007", uevent(yubico, "far away", "1"), fidoDescriptor())
	hid(t, dir, "hidraw3", "virtual/misc/uhid/0003:1050:0407.0008", uevent(yubico, "a program", "1"), fidoDescriptor())
	hid(t, dir, "hidraw4", "platform/dummy_hcd.0/usb4/4-1/4-1:1.0/0003:1050:0407.0009", uevent(yubico, "a gadget", "1"), fidoDescriptor())
	hid(t, dir, "hidraw5", "pci0000:00/0000:00:14.0/usb1/1-3/bluetooth/hci0/hci0:1/0005:1050:0407.0002", uevent("0005:00001050:00000407", "by radio", ""), fidoDescriptor())
	hid(t, dir, "hidraw6", at(3), uevent(yubico, "numbered", ""), []byte(strings.Replace(string(fidoDescriptor()), "\xa1\x01", "\xa1\x01\x85\x01", 1)))
	hid(t, dir, "hidraw7", at(4), uevent(yubico, "lies\nHID_ID=0003:00000001:00000002\nHID_UNIQ=forged", "1\x1b[2J"), fidoDescriptor())
	hid(t, dir, "hidraw8", at(5), uevent(yubico, strings.Repeat("n", 127), strings.Repeat("s", 126)), fidoDescriptor())
	want := []Device{
		{"/dev/hidraw10", at(1), "A key", "0815", 0x1209, 0x5070, ""},
		{"/dev/hidraw1", at(2), "Yubico YubiKey OTP+FIDO+CCID", "", 0x1050, 0x407, ""},
		{"/dev/hidraw6", at(3), "numbered", "", 0x1050, 0x407, "the device is no security key that could be a dongle: its reports are numbered"},
		{"/dev/hidraw5", "pci0000:00/0000:00:14.0/usb1/1-3/bluetooth/hci0/hci0:1/0005:1050:0407.0002", "by radio", "", 0x1050, 0x407, "on bus 5 and not on USB"},
		{"/dev/hidraw7", at(4), "lies", "forged", 0x1050, 0x407, ""},
		{"/dev/hidraw8", at(5), "", strings.Repeat("s", 126), 0x1050, 0x407, ""},
		{"/dev/hidraw4", "platform/dummy_hcd.0/usb4/4-1/4-1:1.0/0003:1050:0407.0009", "a gadget", "1", 0x1050, 0x407, "a program on this machine plays it"},
		{"/dev/hidraw2", "platform/vhci_hcd.0/usb3/3-1/3-1:1.0/0003:1050:0407.0007", "far away", "1", 0x1050, 0x407, "USB over IP: it is plugged into another machine"},
		{"/dev/hidraw3", "virtual/misc/uhid/0003:1050:0407.0008", "a program", "1", 0x1050, 0x407, "a program on this machine plays it"},
	}
	if got := list(t, dir); !slices.Equal(got, want) {
		for i := range max(len(got), len(want)) {
			g, w := Device{}, Device{}
			if i < len(got) {
				g = got[i]
			}
			if i < len(want) {
				w = want[i]
			}
			if g != w {
				t.Errorf("device %d:\n%+v, want\n%+v", i, g, w)
			}
		}
	}
}

// A tree that lies, loops, is huge or leads out of itself shows nothing, and ends.
func TestListOfHostileTrees(t *testing.T) {
	const id = "0003:00001050:00000407"
	bus := "pci0000:00/1-1"
	for name, change := range map[string]func(dir string) error{
		"no descriptor": func(dir string) error {
			return os.Remove(filepath.Join(dir, "sys/devices", bus, "report_descriptor"))
		},
		"no event": func(dir string) error { return os.Remove(filepath.Join(dir, "sys/devices", bus, "uevent")) },
		"a descriptor of 1 MiB": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "sys/devices", bus, "report_descriptor"), append(fidoDescriptor(), make([]byte, 1<<20)...), 0o644)
		},
		"an event of 1 MiB": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "sys/devices", bus, "uevent"), []byte(uevent(id, "x", strings.Repeat("y", 1<<20))), 0o644)
		},
		"a FIFO for an event": func(dir string) error {
			p := filepath.Join(dir, "sys/devices", bus, "uevent")
			return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o644))
		},
		"a directory for an event": func(dir string) error {
			p := filepath.Join(dir, "sys/devices", bus, "uevent")
			return errors.Join(os.Remove(p), os.Mkdir(p, 0o755))
		},
		"an event outside of the root": func(dir string) error {
			p, out := filepath.Join(dir, "sys/devices", bus, "uevent"), filepath.Join(filepath.Dir(dir), "outside")
			return errors.Join(os.WriteFile(out, []byte(uevent(id, "x", "y")), 0o644), os.Remove(p), os.Symlink(out, p))
		},
		"a link to itself": func(dir string) error {
			p := filepath.Join(dir, "sys/class/hidraw/hidraw0")
			return errors.Join(os.Remove(p), os.Symlink("hidraw0", p))
		},
		"a directory for a link": func(dir string) error {
			p := filepath.Join(dir, "sys/class/hidraw/hidraw0")
			return errors.Join(os.Remove(p), os.Mkdir(p, 0o755))
		},
		"an identity of two parts": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "sys/devices", bus, "uevent"), []byte(uevent("0003:00001050", "x", "y")), 0o644)
		},
		"an identity of words": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "sys/devices", bus, "uevent"), []byte(uevent("0003:yubico:key", "x", "y")), 0o644)
		},
		"an identity too great": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "sys/devices", bus, "uevent"), []byte(uevent("0003:00011050:00000407", "x", "y")), 0o644)
		},
		"a name that is no number": func(dir string) error {
			return os.Rename(filepath.Join(dir, "sys/class/hidraw/hidraw0"), filepath.Join(dir, "sys/class/hidraw/hidraw00"))
		},
		"a name with more": func(dir string) error {
			return os.Rename(filepath.Join(dir, "sys/class/hidraw/hidraw0"), filepath.Join(dir, "sys/class/hidraw/hidraw0x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "root")
			hid(t, dir, "hidraw0", bus, uevent(id, "x", "y"), fidoDescriptor())
			if d := list(t, dir); len(d) != 1 {
				t.Fatalf("before the change: %v", d)
			}
			if err := change(dir); err != nil {
				t.Fatal(err)
			}
			if d := list(t, dir); len(d) != 0 {
				t.Errorf("%+v", d)
			}
		})
	}
}

func TestListWithoutAny(t *testing.T) {
	dir := t.TempDir()
	if d := list(t, dir); len(d) != 0 {
		t.Errorf("%+v", d)
	}
	for i := range 300 {
		hid(t, dir, fmt.Sprintf("hidraw%d", i), fmt.Sprintf("pci/%d", i), uevent("0003:00001050:00000407", "x", ""), fidoDescriptor())
	}
	if d := list(t, dir); len(d) > maxDevices || len(d) == 0 {
		t.Errorf("%d devices", len(d))
	}
	file := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(file, "sys/class"), 0o755), os.WriteFile(filepath.Join(file, "sys/class/hidraw"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(file)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if d, err := List(root); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file for a directory: %v, %v", d, err)
	}
}
