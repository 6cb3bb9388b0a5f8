package dongle

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open opens a hidraw device, whose report descriptor must be a security key's.
func Open(d Device) (*Key, error) {
	if d.Flaw != "" {
		return nil, fmt.Errorf("open %s: %w: %s", d.Path, ErrNotSupported, d.Flaw)
	}
	f, err := os.OpenFile(d.Path, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open security key: %w", named(err))
	}
	k, err := opened(f, d)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", d.Path, err), f.Close())
	}
	return k, nil
}

// opened asks the device itself what it is: between List and Open another one may have got the number.
func opened(f *os.File, d Device) (*Key, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var descriptor unix.HIDRawReportDescriptor
	var info *unix.HIDRawDevInfo
	var refused error
	err = raw.Control(func(fd uintptr) {
		if descriptor.Size, refused = unix.IoctlGetUint32(int(fd), unix.HIDIOCGRDESCSIZE); refused != nil {
			return
		}
		descriptor.Size = min(descriptor.Size, uint32(len(descriptor.Value)))
		if refused = unix.IoctlHIDGetDesc(int(fd), &descriptor); refused != nil {
			return
		}
		info, refused = unix.IoctlHIDGetRawInfo(int(fd))
	})
	if err = errors.Join(err, refused); err != nil {
		return nil, fmt.Errorf("%w: it is no hidraw device: %w", ErrNotSupported, err)
	}
	if err := speaksFIDO(descriptor.Value[:min(descriptor.Size, uint32(len(descriptor.Value)))]); err != nil {
		return nil, err
	}
	if uint16(info.Vendor) != d.Vendor || uint16(info.Product) != d.Product || info.Bustype != busUSB {
		return nil, fmt.Errorf("%w: %04x:%04x is there now, and %04x:%04x was", ErrGone, uint16(info.Vendor), uint16(info.Product), d.Vendor, d.Product)
	}
	k := Over(f)
	k.vendor, k.product, k.serial = d.Vendor, d.Product, d.Serial
	return k, nil
}

func readOnce(fd uintptr, b []byte) (int, error) { return unix.Read(int(fd), b) }
