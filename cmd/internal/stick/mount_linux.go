package stick

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrSystem is a stick with a file system that is not mounted here, or a damaged one.
var ErrSystem = errors.New("no FAT and no exFAT that can be used")

// Device is a block device with the file system of a stick.
type Device struct {
	Name   string // KINGSTON 8 GB, for a screen
	System string // VFAT or ExFAT; empty: neither
	Dirty  bool   // pulled out too early the last time, and not checked since

	node string // /dev/sdb1
	sys  string // /sys/class/block/sdb1
}

// Look says what is at a device, by its name as in sdb1, or its path in /dev. Nothing is mounted, and the first sector alone is read.
func Look(device string) (*Device, error) { return look("/", device) }

func look(root, device string) (*Device, error) {
	name := strings.TrimPrefix(device, "/dev/")
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return nil, fmt.Errorf("%q is not the name of a device, as sdb1 is", device)
	}
	d := &Device{node: filepath.Join(root, "dev", name), sys: filepath.Join(root, "sys/class/block", name)}
	if i, err := os.Lstat(d.node); err != nil {
		return nil, err
	} else if i.Mode()&(os.ModeDevice|os.ModeCharDevice) != os.ModeDevice {
		return nil, fmt.Errorf("%s is no block device", d.node)
	}
	d.named()
	b, err := sector(d.node)
	if err != nil {
		return d, err
	}
	d.System, d.Dirty = Sector(b)
	return d, nil
}

// sector is the first one of a device.
func sector(node string) ([]byte, error) {
	f, err := os.OpenFile(node, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, sectorSize)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", node, err)
	}
	return b, nil
}

// named finds out what the device is called. A partition's are the words of the disk it is on: one directory up, from where the link leads to.
func (d *Device) named() {
	disk := d.sys
	if _, err := os.Stat(disk + "/partition"); err == nil {
		disk += "/.."
	}
	word := func(name string) string {
		b, err := os.ReadFile(disk + "/" + name)
		if err != nil {
			return ""
		}
		return string(b)
	}
	sectors, err := strconv.ParseUint(strings.TrimSpace(word("size")), 10, 54)
	if err != nil {
		sectors = 0
	}
	d.Name = called(word("device/vendor"), word("device/model"), sectors*sectorSize)
}

// Serial is what the USB device calls itself, as a host ID of a dongle has it: vendor and product in four digits each, and its serial number. Empty: it has none, or is no USB device.
func (d *Device) Serial() string {
	dir, err := filepath.EvalSymlinks(d.sys)
	for ; err == nil && dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		vendor, no := os.ReadFile(dir + "/idVendor")
		if no != nil {
			continue
		}
		product, no1 := os.ReadFile(dir + "/idProduct")
		serial, no2 := os.ReadFile(dir + "/serial")
		s := strings.TrimSpace(string(serial))
		if errors.Join(no1, no2) != nil || s == "" {
			return ""
		}
		return strings.ToUpper(strings.TrimSpace(string(vendor))+"-"+strings.TrimSpace(string(product))) + "-" + s
	}
	return ""
}

// Gone says that the device was pulled out.
func (d *Device) Gone() bool {
	_, err := os.Lstat(d.sys)
	return errors.Is(err, os.ErrNotExist)
}

// Mount shows the files of the stick at a directory, which is made, and which only this process and those of its mount namespace see. Read-only.
func (d *Device) Mount(at string) (Place, error) {
	if d.System == "" {
		return nil, fmt.Errorf("%s: %w", d.node, ErrSystem)
	}
	return mount(d.node, at, d.System, options(d.System))
}

// stopPatience is the wait for a repair to end that nobody waits for any more.
const stopPatience = 30 * time.Second

// Mend has the file system put right, while nobody has it mounted. The program that does so has a unit of its own, with the stick and nothing else in reach: it is large, and what it reads is
// a stranger's. An error is a stick that is as it was, or a machine without that unit or program.
func (d *Device) Mend(ctx context.Context) error {
	name := filepath.Base(d.node)
	unit := "leasehold-repair@" + name + ".service"
	out, err := exec.CommandContext(ctx, "systemctl", "start", unit).CombinedOutput()
	if ctx.Err() != nil { // the unit goes on without who asked for it
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
		defer cancel()
		out, err := exec.CommandContext(last, "systemctl", "stop", unit).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("stop %s: %w: %s", unit, err, plain(string(out)))
		}
		return errors.Join(ctx.Err(), err)
	}
	if err != nil {
		return fmt.Errorf("repair %s: %w: %s", d.node, err, plain(string(out)))
	}
	b, err := sector(d.node)
	if err != nil {
		return err
	}
	if _, dirty := Sector(b); dirty {
		return fmt.Errorf("repair %s: it is still marked as pulled out too early", d.node)
	}
	return nil
}

// options are those of the file system's driver: files are root's and nobody may run them, names are UTF-8, damage stops writing.
func options(system string) string {
	const common = "fmask=0177,dmask=0077,errors=remount-ro"
	if system == ExFAT {
		return common + ",iocharset=utf8"
	}
	return common + ",utf8,tz=UTC"
}

// flags are those of every mount, whatever is done with it: no device, no program and no link on a stick means anything here.
const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NOSYMFOLLOW

// leastRoom is what a stick must have free before anything is begun on it, in bytes: a request with a long log of the firmware, and its description.
const leastRoom = 256 << 10

// Room says with ENOSPC that there is too little room at a place.
func Room(path string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return err
	}
	if free := uint64(s.Bavail) * uint64(s.Bsize); free < leastRoom {
		return fmt.Errorf("%d bytes are free at %s, and %d are wanted: %w", free, path, leastRoom, unix.ENOSPC)
	}
	return nil
}

type mounted struct{ node, at, data string }

func mount(node, at, system, data string) (Place, error) {
	if err := os.MkdirAll(at, 0o700); err != nil {
		return nil, err
	}
	switch err := unix.Mount(node, at, system, flags|unix.MS_RDONLY, data); {
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EUCLEAN), errors.Is(err, unix.ENODEV):
		return nil, fmt.Errorf("mount %s as %s: %w: %w", node, system, ErrSystem, err)
	case err != nil:
		return nil, fmt.Errorf("mount %s as %s: %w", node, system, err)
	}
	return &mounted{node, at, data}, nil
}

func (m *mounted) Path() string { return m.at }

func (m *mounted) Writable() error {
	err := unix.Mount(m.node, m.at, "", flags|unix.MS_REMOUNT|unix.MS_SYNCHRONOUS, m.data)
	if errors.Is(err, unix.EACCES) {
		err = unix.EROFS // how a device with a switch for that says it
	}
	if err != nil {
		return fmt.Errorf("mount %s for writing: %w", m.node, err)
	}
	return nil
}

func (m *mounted) Leave() (safe bool, err error) {
	if err := unix.Unmount(m.at, unix.UMOUNT_NOFOLLOW); err != nil {
		return false, fmt.Errorf("unmount %s: %w", m.node, err)
	}
	return true, os.Remove(m.at)
}

// at is a stick that somebody else has mounted.
type at string

// At is the directory where a stick is mounted already. It stays mounted.
func At(dir string) Place { return at(dir) }

func (a at) Path() string { return string(a) }

func (a at) Writable() error {
	var s unix.Statfs_t
	if err := unix.Statfs(string(a), &s); err != nil {
		return err
	}
	if s.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("write to %s: %w", string(a), unix.EROFS)
	}
	return nil
}

func (a at) Leave() (safe bool, err error) {
	d, err := os.Open(string(a))
	if err != nil {
		return false, err
	}
	defer d.Close()
	return false, unix.Syncfs(int(d.Fd()))
}
