package stick

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/capability"
)

// TestMain is also a process in a mount namespace of its own, where a file system in memory stands in for a stick's.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STICK_MOUNTS_AT"); dir != "" {
		if err := mounts(dir); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// What a stick is mounted with, and that it is read-only until something is to be written.
func TestMount(t *testing.T) {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "STICK_MOUNTS_AT="+t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func mounts(dir string) error {
	p, err := mount("none", dir+"/stick", "tmpfs", "size=1m")
	if err != nil {
		return err
	}
	var s unix.Statfs_t
	if err := unix.Statfs(p.Path(), &s); err != nil {
		return err
	}
	const noSymfollow = 0x2000 // ST_NOSYMFOLLOW of statfs(2)
	const always = unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC | unix.ST_NOATIME | noSymfollow
	if s.Flags&always != always || s.Flags&unix.ST_RDONLY == 0 {
		return errors.New("it is not mounted as it should be")
	}
	if err := os.WriteFile(p.Path()+"/a", nil, 0o600); !errors.Is(err, unix.EROFS) {
		return errors.Join(errors.New("it is written to before it may be"), err)
	}
	if err := p.Writable(); err != nil {
		return err
	}
	if err := unix.Statfs(p.Path(), &s); err != nil {
		return err
	}
	if s.Flags&always != always || s.Flags&(unix.ST_RDONLY|unix.ST_SYNCHRONOUS) != unix.ST_SYNCHRONOUS {
		return errors.New("it is not writable as it should be")
	}
	if err := errors.Join(os.WriteFile(p.Path()+"/a", []byte("x"), 0o600), os.Symlink("a", p.Path()+"/link"), Room(p.Path())); err != nil {
		return err
	}
	if _, err := os.ReadFile(p.Path() + "/link"); !errors.Is(err, unix.ELOOP) {
		return errors.Join(errors.New("a link is followed"), err)
	}
	if err := os.WriteFile(p.Path()+"/b", make([]byte, 900<<10), 0o600); err != nil {
		return err
	}
	if err := Room(p.Path()); !errors.Is(err, unix.ENOSPC) {
		return errors.Join(errors.New("there is room where there is none"), err)
	}
	held, err := os.Open(p.Path() + "/a")
	if err != nil {
		return err
	}
	if safe, err := p.Leave(); safe || !errors.Is(err, unix.EBUSY) {
		return errors.Join(errors.New("it is left while it is in use"), err)
	}
	held.Close()
	if safe, err := p.Leave(); !safe || err != nil {
		return errors.Join(errors.New("it cannot be left"), err)
	}
	if _, err := os.Stat(dir + "/stick"); !errors.Is(err, os.ErrNotExist) {
		return errors.New("its directory is left over")
	}
	if _, err := mount("none", dir+"/stick", "no-such-system", ""); !errors.Is(err, ErrSystem) {
		return errors.Join(errors.New("a file system that nobody knows"), err)
	}
	return nil
}

// What is mounted already stays, and nobody is told that it may be pulled out.
func TestAt(t *testing.T) {
	p := At(t.TempDir())
	if err := p.Writable(); err != nil {
		t.Error(err)
	}
	if safe, err := p.Leave(); safe || err != nil {
		t.Error(safe, err)
	}
	if _, err := At("/no/such/place").Leave(); err == nil {
		t.Error("left what is not there")
	}
	if err := At("/no/such/place").Writable(); err == nil {
		t.Error("writable where nothing is")
	}
}

// The first sector of what the usual tools make.
func TestSector(t *testing.T) {
	image := func(args ...string) []byte {
		path := filepath.Join(t.TempDir(), "image")
		if out, err := exec.Command("mkfs.vfat", append(args, "-C", path, "40000")...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b[:sectorSize]
	}
	sector := func(jump byte, name string) []byte {
		b := make([]byte, sectorSize)
		b[0], b[510], b[511] = jump, 0x55, 0xaa
		copy(b[3:], name)
		return b
	}
	with := func(b []byte, at int, bits byte) []byte { b[at] |= bits; return b }
	for name, row := range map[string]struct {
		sector []byte
		system string
		dirty  bool
	}{
		"FAT16":               {image("-F", "16"), VFAT, false},
		"FAT32":               {image("-F", "32"), VFAT, false},
		"FAT16, pulled early": {with(image("-F", "16"), 0x25, 1), VFAT, true},
		"FAT32, pulled early": {with(image("-F", "32"), 0x41, 1), VFAT, true},
		"exFAT":               {sector(0xeb, "EXFAT   "), ExFAT, false},
		"exFAT, pulled early": {with(sector(0xeb, "EXFAT   "), 0x6a, 2), ExFAT, true},
		"NTFS":                {sector(0xeb, "NTFS    "), "", false},
		"a table of parts":    {sector(0x33, ""), "", false},
		"noise":               {[]byte(strings.Repeat("noise", 103))[:sectorSize], "", false},
		"short":               {make([]byte, sectorSize-1), "", false},
		"empty":               {make([]byte, sectorSize), "", false},
	} {
		if system, dirty := Sector(row.sector); system != row.system || dirty != row.dirty {
			t.Errorf("%s: %q, %v", name, system, dirty)
		}
	}
}

func TestCalled(t *testing.T) {
	for _, row := range []struct {
		vendor, model string
		bytes         uint64
		want          string
	}{
		{"Kingston", "DataTraveler 3.0", 7_990_000_000, "Kingston 8 GB"},
		{"Generic ", "Flash Disk      ", 512_000_000, "Flash Disk 512 MB"},
		{"", "", 0, "without a name"},
		{"\x1b[2J\x07evil\u202e", "", 2_000_000_000_000, "[2J evil 2.0 TB"},
		{strings.Repeat("x", 99), "", 0, strings.Repeat("x", maxName)},
	} {
		if got := called(row.vendor, row.model, row.bytes); got != row.want {
			t.Errorf("%q, %q: %q", row.vendor, row.model, got)
		}
	}
}

// Only block devices are looked at, by their names, and a partition has the name of its disk.
func TestLook(t *testing.T) {
	root := t.TempDir()
	disk := filepath.Join(root, "sys/devices/usb1/block/sdb")
	write := func(path, text string) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write(disk+"/device/vendor", "Kingston\n")
	write(disk+"/device/model", "DataTraveler\n")
	write(disk+"/size", "15625000\n")
	write(disk+"/sdb1/partition", "1\n")
	write(disk+"/sdb1/size", "15623000\n")
	if err := errors.Join(os.MkdirAll(root+"/sys/class/block", 0o755), os.Symlink("../../devices/usb1/block/sdb/sdb1", root+"/sys/class/block/sdb1"),
		os.Symlink("../../devices/usb1/block/sdb", root+"/sys/class/block/sdb")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sdb", "sdb1"} {
		d := &Device{sys: filepath.Join(root, "sys/class/block", name)}
		if d.named(); d.Name != "Kingston 8 GB" || d.Gone() {
			t.Errorf("%s is %q", name, d.Name)
		}
	}
	if d := (&Device{sys: filepath.Join(root, "sys/class/block/sdc")}); !d.Gone() {
		t.Error("what was never there is there")
	}
	whole := &Device{sys: filepath.Join(root, "sys/class/block/sdb1")}
	if got := whole.Serial(); got != "" {
		t.Errorf("a serial number of nothing: %q", got)
	}
	write(root+"/sys/devices/usb1/idVendor", "096e\n")
	write(root+"/sys/devices/usb1/idProduct", "0006\n")
	if got := whole.Serial(); got != "" {
		t.Errorf("a device without one: %q", got)
	}
	write(root+"/sys/devices/usb1/serial", "aB12 \n")
	if got := whole.Serial(); got != "096E-0006-aB12" {
		t.Errorf("serial number %q", got)
	}
	write(root+"/dev/sdb1", strings.Repeat("x", 1024))
	if err := os.Symlink("/dev/zero", root+"/dev/sdc1"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sdb1", "sdc1", "sdz9", "", "../sdb1", "sd b", "/dev/", "/etc/passwd", "sdb1\n"} {
		if d, err := look(root, name); err == nil || d != nil {
			t.Errorf("%q is looked at: %+v", name, d)
		}
	}
	if _, err := (&Device{node: "/dev/sdb1"}).Mount(t.TempDir()); !errors.Is(err, ErrSystem) {
		t.Error(err)
	}
	for _, system := range []string{VFAT, ExFAT} {
		if o := options(system); !strings.Contains(o, "fmask=0177,dmask=0077,errors=remount-ro") {
			t.Errorf("%s: %s", system, o)
		}
	}
}

// What is told is kept, and does not grow without end; what another program left there is passed over.
func TestTold(t *testing.T) {
	dir := t.TempDir()
	if lines, err := Told(dir); len(lines) != 0 || err != nil {
		t.Fatal(lines, err)
	}
	long := strings.Repeat("x", 1000)
	const many = 300
	for n := range many {
		if err := Tell(dir, Line{Time: capability.Time(n + 1), Code: "LH-2101", Text: long, Sound: Written, Last: true}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, toldFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("not JSON\n{\"text\":\"half")
	f.Close()
	lines, err := Told(dir)
	if err != nil || len(lines) < 60 || len(lines) > 2*maxTold/1000+4 {
		t.Fatal(len(lines), err)
	}
	for i, l := range lines {
		if want := capability.Time(many - len(lines) + i + 1); l.Time != want || l.Text != long || l.Sound != Written || !l.Last {
			t.Fatalf("line %d: %d, want %d", i, l.Time, want)
		}
	}
	if got := (Line{Code: "LH-2101", Text: "written"}).String() + (Line{Code: "LH-2101", Text: "LH-2101 written"}).String() + (Line{Text: "x"}).String(); got != "LH-2101 writtenLH-2101 writtenx" {
		t.Error(got)
	}
	if err := Tell(filepath.Join(dir, "none"), Line{Text: "x"}); err == nil {
		t.Error("told where nothing is")
	}
	if i, err := os.Stat(filepath.Join(dir, oldFile)); err != nil || i.Size() > maxTold+2000 {
		t.Error(i.Size(), err)
	}
}

// Who looks again and again sees each line, also after the files have changed places, and reads nothing that is as it was.
func TestTelling(t *testing.T) {
	dir := t.TempDir()
	seen := NewTelling(filepath.Join(dir, "later"))
	look := func() []Line {
		t.Helper()
		lines, err := seen.Lines()
		if err != nil {
			t.Fatal(err)
		}
		return lines
	}
	if len(look()) != 0 {
		t.Error("something was told where nothing is")
	}
	if err := os.Mkdir(filepath.Join(dir, "later"), 0o755); err != nil {
		t.Fatal(err)
	}
	for n := range 300 { // twice the files change places
		if err := Tell(seen.dir, Line{Time: capability.Time(n + 1), Text: strings.Repeat("x", 1000)}); err != nil {
			t.Fatal(err)
		}
		lines := look()
		if last := lines[len(lines)-1].Time; last != capability.Time(n+1) {
			t.Fatalf("line %d is not seen: %d is the last", n+1, last)
		}
		if again := look(); &again[0] != &lines[0] {
			t.Fatal("read again, although nothing has changed")
		}
	}
	if err := os.RemoveAll(seen.dir); err != nil {
		t.Fatal(err)
	}
	if len(look()) != 0 {
		t.Error("what is gone is seen")
	}
}

// A file system that was left too early is clean again after the program of the repair's unit, and its files are there; and there must be a unit to say so.
func TestMend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	run := func(want int, name string, args ...string) string {
		t.Helper()
		c := exec.Command(name, args...)
		out, _ := c.CombinedOutput()
		if c.ProcessState == nil || c.ProcessState.ExitCode() != want {
			t.Fatalf("%s: %v\n%s", name, c.ProcessState, out)
		}
		return string(out)
	}
	run(0, "mkfs.vfat", "-F", "32", "-C", path, "40000")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, sectorSize)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	b[0x41] |= 1
	reserved := int64(b[0x0e]) | int64(b[0x0f])<<8
	_, err = f.WriteAt(b, 0)
	if _, lost := f.WriteAt([]byte{0xff, 0xff, 0xff, 0x0f}, reserved*sectorSize+4*9); errors.Join(err, lost, f.Close()) != nil { // a cluster of no file
		t.Fatal(err, lost)
	}
	if out := run(1, "fsck.vfat", "-a", path); !strings.Contains(out, "eclaimed 1 unused cluster") {
		t.Error(out)
	}
	if b, err = sector(path); err != nil {
		t.Fatal(err)
	}
	if system, dirty := Sector(b); system != VFAT || dirty {
		t.Errorf("%q, dirty: %v", system, dirty)
	}
	run(0, "fsck.vfat", "-n", path)
	d := &Device{node: path, System: VFAT}
	t.Setenv("PATH", t.TempDir())
	if err := d.Mend(t.Context()); err == nil {
		t.Error("mended by nobody")
	}
}

// Sticks are let in for five minutes of a clock that nobody sets.
func TestAllow(t *testing.T) {
	dir := t.TempDir()
	if Allowed(dir, time.Hour) != 0 {
		t.Error("allowed by nobody")
	}
	if err := Allow(dir, time.Hour); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]time.Duration{time.Hour: AllowedFor, time.Hour + AllowedFor - 1: 1, time.Hour + AllowedFor: 0, time.Hour - 1: 0, 0: 0} {
		if got := Allowed(dir, at); got != want {
			t.Errorf("at %s for %s, want %s", at, got, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, allowFile), []byte("always"), 0o644); err != nil {
		t.Fatal(err)
	}
	if Allowed(dir, time.Hour) != 0 {
		t.Error("allowed by what is no time")
	}
	if Allow(filepath.Join(dir, "none"), 1) == nil {
		t.Error("allowed where nothing is")
	}
}
