package dongle

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	class      = "sys/class/hidraw"
	maxDevices = 64   // hidraw devices looked at; the kernel numbers at most that many (HIDRAW_MAX_DEVICES)
	maxFile    = 4096 // bytes of a file in sysfs, and of a report descriptor (HID_MAX_DESCRIPTOR_SIZE)
	maxText    = 126  // characters of a string descriptor of USB
	busUSB     = 3
)

// Device is a security key that is plugged in.
type Device struct {
	Path    string `json:"path"`             // "/dev/hidraw3"
	Bus     string `json:"bus"`              // where it is plugged in: "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/0003:1050:0407.0004"
	Name    string `json:"name,omitempty"`   // as it calls itself: at most 126 characters of printable ASCII
	Serial  string `json:"serial,omitempty"` // likewise; many have none. Any device can be made to show the same
	Vendor  uint16 `json:"vendor"`
	Product uint16 `json:"product"`
	Flaw    string `json:"flaw,omitempty"` // why it is never asked: "USB over IP"
}

// List finds the security keys below a root directory, which is "/" on the machine itself and any other for a recorded tree, in the order of their bus paths.
// A device that cannot be read is none; one that could be somewhere else has a flaw.
func List(root *os.Root) ([]Device, error) {
	dir, err := root.Open(class)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a kernel without hidraw, or nothing ever plugged in
	}
	if err != nil {
		return nil, fmt.Errorf("list security keys: %w", err)
	}
	names, err := dir.Readdirnames(maxDevices)
	if err = errors.Join(ended(err), dir.Close()); err != nil {
		return nil, fmt.Errorf("list security keys: %w", err)
	}
	var devices []Device
	for _, name := range names {
		if d, ok := look(root, name); ok {
			devices = append(devices, d)
		}
	}
	slices.SortFunc(devices, func(a, b Device) int { return cmp.Or(cmp.Compare(a.Bus, b.Bus), cmp.Compare(a.Path, b.Path)) })
	return devices, nil
}

// look reads one entry of the class, which is a link to the device.
func look(root *os.Root, name string) (Device, bool) {
	number, ours := strings.CutPrefix(name, "hidraw")
	if n, err := strconv.ParseUint(number, 10, 8); !ours || err != nil || number != strconv.FormatUint(n, 10) {
		return Device{}, false
	}
	at := path.Join(class, name)
	link, err := root.Readlink(at)
	if err != nil || len(link) > maxFile {
		return Device{}, false
	}
	described, err := small(root, path.Join(at, "device/report_descriptor"))
	if err != nil {
		return Device{}, false
	}
	unusable := speaksFIDO(described)
	if errors.Is(unusable, errOtherUsage) {
		return Device{}, false
	}
	event, err := small(root, path.Join(at, "device/uevent"))
	if err != nil {
		return Device{}, false
	}
	d := Device{Path: "/dev/" + name, Bus: bus(link), Name: shown(value(event, "HID_NAME")), Serial: shown(value(event, "HID_UNIQ"))}
	kind, vendor, product, err := identity(value(event, "HID_ID"))
	if err != nil {
		return Device{}, false
	}
	d.Vendor, d.Product = vendor, product
	switch {
	case strings.Contains(d.Bus, "vhci_hcd"):
		d.Flaw = "USB over IP: it is plugged into another machine"
	case strings.HasPrefix(d.Bus, "virtual/"), strings.Contains(d.Bus, "dummy_hcd"):
		d.Flaw = "a program on this machine plays it"
	case kind != busUSB:
		d.Flaw = fmt.Sprintf("on bus %d and not on USB", kind)
	case unusable != nil:
		d.Flaw = unusable.Error()
	}
	return d, true
}

// bus is the part of a link like ../../devices/BUS/hidraw/hidraw3 that says where a device is, in printable words.
func bus(link string) string {
	_, b, found := strings.Cut(link, "devices/")
	if !found {
		b = link
	}
	if i := strings.LastIndex(b, "/hidraw/"); i >= 0 {
		b = b[:i]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, b)
}

// identity reads HID_ID: bus, vendor and product in hexadecimal, "0003:00001050:00000407".
func identity(s string) (bus, vendor, product uint16, err error) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return 0, 0, 0, fmt.Errorf("%w: identity %q", ErrMalformed, s)
	}
	var numbers [3]uint16
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 16, 16)
		if err != nil {
			return 0, 0, 0, fmt.Errorf("%w: identity %q: %w", ErrMalformed, s, err)
		}
		numbers[i] = uint16(n)
	}
	return numbers[0], numbers[1], numbers[2], nil
}

// value is the first value of a name in NAME=VALUE lines. What a device wrote into its name cannot come before what the kernel says of it.
func value(lines []byte, name string) string {
	for line := range strings.SplitSeq(string(lines), "\n") {
		if v, ok := strings.CutPrefix(line, name+"="); ok {
			return v
		}
	}
	return ""
}

// shown is a text of a device if it can be shown, else nothing.
func shown(s string) string {
	if len(s) > maxText || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		return ""
	}
	return s
}

// small reads a regular file of at most maxFile bytes.
func small(root *os.Root, name string) (b []byte, err error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is no file", ErrMalformed, name)
	}
	b, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%w: %s has more than %d bytes", ErrMalformed, name, maxFile)
	}
	return b, err
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// errOtherUsage: a mouse, a keyboard, a joystick.
var errOtherUsage = fmt.Errorf("%w: its report descriptor is no security key's", ErrNotSupported)

// speaksFIDO reads a report descriptor (USB HID 1.11, 6.2.2) for a collection of usage page 0xF1D0, usage 1, with reports of 64 bytes each way (CTAP 2.1, 11.2.8.1).
// The error is errOtherUsage for a device that claims nothing of the kind.
func speaksFIDO(b []byte) error {
	const (
		input, output, collection      = 0x80, 0x90, 0xa0 // main items
		usagePage, size, count, number = 0x04, 0x74, 0x94, 0x84
		usage                          = 0x08
		long                           = 0xfe
	)
	var page, use, bits, times, in, out uint32
	claimed := false
	for len(b) > 0 {
		if b[0] == long {
			return fmt.Errorf("%w: long items in its report descriptor", ErrNotSupported)
		}
		n := int(b[0] & 3)
		if n == 3 {
			n = 4
		}
		tag := b[0] &^ 3
		if len(b) < 1+n {
			break
		}
		var v uint32
		for i, x := range b[1 : 1+n] {
			v |= uint32(x) << (8 * i)
		}
		b = b[1+n:]
		switch tag {
		case usagePage:
			page = v
		case usage:
			use = v
		case collection:
			claimed = claimed || page == 0xf1d0 && use == 1
		case size:
			bits = min(v, maxFile)
		case count:
			times = min(v, maxFile)
		case input:
			in += bits * times
		case output:
			out += bits * times
		case number:
			if claimed {
				return fmt.Errorf("%w: its reports are numbered", ErrNotSupported)
			}
		}
	}
	switch {
	case !claimed:
		return errOtherUsage
	case in != 8*reportBytes || out != 8*reportBytes:
		return fmt.Errorf("%w: reports of %d and %d bits where there must be %d", ErrNotSupported, in, out, 8*reportBytes)
	}
	return nil
}
