//go:build image

package lint

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// each calls f for every file of the root, with its path from there.
func each(t *testing.T, f func(path string, info fs.FileInfo)) {
	t.Helper()
	top := unpacked(t)
	if err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f(strings.TrimPrefix(path, top), info)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Nothing gains rights by being run, nobody but root can write, and there are no device files.
func TestModes(t *testing.T) {
	each(t, func(path string, info fs.FileInfo) {
		m := info.Mode()
		if m.IsRegular() && m&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			t.Errorf("%s is setuid or setgid: %s", path, m)
		}
		if m&(fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0 {
			t.Errorf("%s is a device", path)
		}
		if m&fs.ModeSymlink == 0 && m.Perm()&0o002 != 0 && m&fs.ModeSticky == 0 {
			t.Errorf("%s can be written by anyone: %s", path, m)
		}
	})
}

// What installs, builds, interprets or lets people in is not there.
func TestAbsent(t *testing.T) {
	gone := regexp.MustCompile(`/(apt|apt-get|dpkg|perl[0-9.]*|python[0-9.]*|gcc|cc|ld|as|make|sshd|ssh|bash|su|sudo|login|agetty|passwd|gdb|strace|nc|curl|wget|tpm2_[a-z]*|qemu-ga|tar|debconf)$`)
	each(t, func(path string, info fs.FileInfo) {
		if info.Mode().IsRegular() && info.Mode()&0o111 != 0 && gone.MatchString(path) {
			t.Errorf("%s is in the image", path)
		}
		if strings.HasPrefix(path, "/var/") || strings.HasPrefix(path, "/usr/share/doc/") || strings.HasPrefix(path, "/usr/share/man/") {
			t.Errorf("%s is in the image", path)
		}
	})
}

// Whatever a program or a library is linked with is there.
func TestLibraries(t *testing.T) {
	have := map[string]bool{}
	each(t, func(path string, _ fs.FileInfo) { have[filepath.Base(path)] = true })
	top, seen := unpacked(t), 0
	each(t, func(path string, info fs.FileInfo) {
		if !info.Mode().IsRegular() || strings.HasSuffix(path, ".ko.xz") {
			return
		}
		f, err := elf.Open(filepath.Join(top, path))
		if err != nil {
			return
		}
		defer f.Close()
		needs, err := f.ImportedLibraries()
		if err != nil {
			return
		}
		seen++
		for _, n := range needs {
			if !have[n] {
				t.Errorf("%s needs %s, which is not there", path, n)
			}
		}
	})
	if seen < 100 {
		t.Errorf("only %d programs and libraries were looked at", seen)
	}
}

// The modules are those of the list and what they depend on, and no file system, USB network or radio is among them.
func TestModules(t *testing.T) {
	list, err := os.ReadFile("../modules.list")
	if err != nil {
		t.Fatal(err)
	}
	top := unpacked(t)
	kernels, err := filepath.Glob(filepath.Join(top, "usr/lib/modules/*"))
	if err != nil || len(kernels) != 1 {
		t.Fatalf("kernels: %v, %v", kernels, err)
	}
	have := map[string]string{}
	each(t, func(path string, _ fs.FileInfo) {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko.xz"); ok {
			have[strings.ReplaceAll(name, "-", "_")] = path
		}
	})
	reached := map[string]bool{}
	for line := range strings.Lines(string(list)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "initrd" && f[0] != "root" {
			continue
		}
		for _, m := range f[1:] {
			out, err := exec.Command("modprobe", "-d", top, "-S", filepath.Base(kernels[0]), "--show-depends", m).Output()
			if err != nil {
				t.Errorf("%s of the list cannot be loaded: %v", m, err)
			}
			for line := range strings.Lines(string(out)) {
				if w := strings.Fields(line); len(w) > 1 && w[0] == "insmod" {
					reached[strings.ReplaceAll(strings.TrimSuffix(filepath.Base(w[1]), ".ko.xz"), "-", "_")] = true
				}
			}
		}
	}
	never := regexp.MustCompile(`/(usb/gadget|net/usb|net/wireless|bluetooth|firewire|thunderbolt|sound|media)/|/fs/(btrfs|xfs|f2fs|ntfs3|hfs|udf|isofs|nfs|cifs|smb|overlayfs|fuse)`)
	for name, path := range have {
		if !reached[name] {
			t.Errorf("%s is not of the list, nor does one of the list need it", path)
		}
		if never.MatchString(path) {
			t.Errorf("%s is in the image", path)
		}
	}
	if len(have) < 40 {
		t.Errorf("only %d modules", len(have))
	}
	t.Logf("%d modules", len(have))
}

// The units of the package are enabled or not as they should be, and those that would interfere are masked.
func TestUnits(t *testing.T) {
	top := unpacked(t)
	state := func(unit string) string {
		out, _ := exec.Command("systemctl", "--root="+top, "is-enabled", unit).Output()
		return strings.TrimSpace(string(out))
	}
	for unit, want := range map[string]string{
		"leaseholdd.service": "enabled", "leaseholdd.socket": "enabled", "leaseholdd-admin.socket": "enabled", "leaseholdd-directory.socket": "enabled", "leasehold-poll.service": "disabled", "leasehold-directory.service": "disabled", "systemd-networkd.service": "enabled",
		"systemd-pcrmachine.service": "masked", "systemd-pcrfs-root.service": "masked", "getty@tty1.service": "masked", "serial-getty@ttyS0.service": "masked", "debug-shell.service": "masked", "leasehold-console@tty1.service": "enabled", "leasehold-console@ttyS0.service": "enabled", "rescue.service": "masked",
	} {
		if got := state(unit); got != want {
			t.Errorf("%s is %s, want %s", unit, got, want)
		}
	}
	// The text console is all that runs on a terminal: no other unit of ours or of a package's has one.
	each(t, func(path string, info fs.FileInfo) {
		if !strings.Contains(path, "/systemd/system/") || !strings.HasSuffix(path, ".service") || !info.Mode().IsRegular() || filepath.Base(path) == "leasehold-console@.service" {
			return
		}
		b, err := os.ReadFile(filepath.Join(top, path))
		if err != nil {
			t.Error(err)
		}
		name := strings.Replace(filepath.Base(path), "@.", "@tty1.", 1)
		if regexp.MustCompile(`(?m)^(TTYPath|StandardInput)=.*tty`).Match(b) && state(name) != "masked" && state(filepath.Base(path)) != "masked" && state(name) != "static" {
			t.Errorf("%s has a terminal", path)
		}
	})
	// A look at what no unit may name: the TPM's device is not waited for, as a machine without one would wait for minutes.
	each(t, func(path string, info fs.FileInfo) {
		if !strings.Contains(path, "/systemd/system/leasehold") || !info.Mode().IsRegular() {
			return
		}
		b, err := os.ReadFile(filepath.Join(top, path))
		if err != nil {
			t.Error(err)
		}
		if regexp.MustCompile(`(?m)^(Wants|Requires|BindsTo)=.*dev-tpm`).Match(b) {
			t.Errorf("%s waits for the TPM's device", path)
		}
	})
}

// What somebody changes at the machine has its place on the partition for what changes, and what reads it finds it there: nothing of /etc can be changed.
func TestPlacesOfChange(t *testing.T) {
	top := unpacked(t)
	const place, until = "/var/lib/leasehold-site/network", "/run/leasehold-site/network"
	for name, want := range map[string]string{
		"usr/lib/systemd/system/leasehold-console@.service.d/50-network.conf": "Environment=LEASEHOLD_NETWORKS=" + place + " LEASEHOLD_NETWORKS_UNTIL_RESTART=" + until + "\nReadWritePaths=-/var/lib/leasehold-site -/run/leasehold-site\n",
		"usr/lib/systemd/system/leasehold-network.service":                    "Environment=LEASEHOLD_NETWORKS=" + place + " LEASEHOLD_NETWORKS_UNTIL_RESTART=" + until + "\n",
		"usr/lib/systemd/system/systemd-networkd.service.d/50-leasehold.conf": "[Unit]\nWants=leasehold-network.service\nAfter=leasehold-network.service\n",
		"usr/lib/tmpfiles.d/leasehold-site.conf":                              "d " + place + " 0755 root root\nd /run/leasehold-site 0755 root root\nd " + until + " 0755 root root\n",
	} {
		if b, err := os.ReadFile(filepath.Join(top, name)); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %q: %v", name, want, err)
		}
	}
	// Nothing of that partition is in a place that systemd looks for its own files in: who has the disk in hand would have the machine.
	each(t, func(path string, info fs.FileInfo) {
		if !info.Mode().IsRegular() || !strings.HasPrefix(path, "/usr/lib/systemd/") && !strings.HasPrefix(path, "/etc/systemd/") || !strings.Contains(path, ".service") && !strings.Contains(path, ".mount") {
			return
		}
		b, err := os.ReadFile(filepath.Join(top, path))
		if err != nil {
			t.Error(err)
		}
		if regexp.MustCompile(`(?m)^Bind(ReadOnly)?Paths=.*/var/.*:`).Match(b) {
			t.Errorf("%s reads of the partition for what changes as if it were of the root", path)
		}
	})
	// The producer to trust is none of that: it is of the verified root, and no link leads out of it.
	if i, err := os.Lstat(filepath.Join(top, "etc/leasehold/producer.lht")); err != nil || !i.Mode().IsRegular() {
		t.Errorf("the producer to trust can be changed: %v", err)
	}
}

// Every unit of ours, as the guest's own release rates it, is exposed as little as it may be: in tenths of 10.
func TestExposure(t *testing.T) {
	top := unpacked(t)
	units, err := filepath.Glob(filepath.Join(top, "usr/lib/systemd/system/leasehold*.service"))
	if err != nil || len(units) < 4 {
		t.Fatalf("units: %v, %v", units, err)
	}
	for _, u := range units {
		name := filepath.Base(u)
		limit := 15
		if name == "leaseholdd.service" {
			limit = 5
		}
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", fmt.Sprintf("--threshold=%d", limit), u).CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Logf("%s: %s", name, lines[len(lines)-1])
		if err != nil {
			t.Errorf("%s is exposed more than %d/10 allow", name, limit)
		}
	}
}

// The machine has no name of its own, no host's leftovers, and one producer to trust.
func TestIdentity(t *testing.T) {
	top := unpacked(t)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(top, name))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
	if read("etc/machine-id") != "" {
		t.Error("all machines would have one machine ID")
	}
	if release := read("usr/lib/os-release"); !strings.Contains(release, "\nIMAGE_ID=leasehold\nIMAGE_VERSION=") {
		t.Errorf("os-release does not say which image it is:\n%s", release)
	}
	if len(read("etc/leasehold/producer.lht")) == 0 {
		t.Error("there is no producer to trust")
	}
	for line := range strings.Lines(read("etc/shadow")) {
		if f := strings.Split(line, ":"); len(f) < 2 || !strings.HasPrefix(f[1], "!") && !strings.HasPrefix(f[1], "*") {
			t.Errorf("%s can sign in", f[0])
		}
	}
	if fstab, mounts := read("etc/fstab"), read("usr/sbin/mount.leasehold"); !strings.Contains(fstab, "\nleasehold_var /var leasehold ") || !strings.Contains(mounts, "mount -t ext4 -o rw,nosuid,nodev,noexec,") || strings.Count(mounts, "mount -t ext4") != 1 {
		t.Errorf("/var can hold programs:\n%s\n%s", fstab, mounts)
	}
	var labels []string
	definitions, err := filepath.Glob(filepath.Join(top, "usr/lib/repart.d/*.conf"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(definitions)
	for _, d := range definitions {
		b, err := os.ReadFile(d)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if kind, ok := strings.CutPrefix(line, "Type="); ok {
				labels = append(labels, strings.TrimSpace(kind))
			}
		}
	}
	if want := []string{"root", "root-verity", "root", "root-verity", "var"}; !slices.Equal(labels, want) {
		t.Errorf("the first boot makes partitions %v, want %v", labels, want)
	}
}

// The bill of materials names every package that has files here, the kernel, and the modules that our programs are made of; the list of files names every file.
func TestBill(t *testing.T) {
	b, err := os.ReadFile(base(t) + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		Format     string `json:"bomFormat"`
		Components []struct {
			Name, Version string
			URL           string `json:"purl"`
		} `json:"components"`
	}
	if err := json.Unmarshal(b, &bill); err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, c := range bill.Components {
		if c.Name == "" || c.Version == "" || !strings.HasPrefix(c.URL, "pkg:") {
			t.Errorf("%+v says too little", c)
		}
		have[c.Name] = true
	}
	kernels, err := filepath.Glob(filepath.Join(unpacked(t), "usr/lib/modules/*"))
	if err != nil || len(kernels) != 1 {
		t.Fatal(kernels, err)
	}
	for _, name := range []string{"leasehold", "systemd", "libc6", "dosfstools", "e2fsprogs", "libssl3t64", "linux-image-" + filepath.Base(kernels[0]), "stdlib", "github.com/google/go-tpm"} {
		if !have[name] {
			t.Errorf("the bill of materials has no %s", name)
		}
	}
	for _, name := range []string{"apt", "perl-base", "dpkg"} {
		if have[name] {
			t.Errorf("the bill of materials has %s, and the image has not", name)
		}
	}
	list, err := os.ReadFile(base(t) + ".files")
	if err != nil {
		t.Fatal(err)
	}
	named, lines := map[string]bool{}, 0
	for line := range strings.Lines(string(list)) {
		_, path, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " /")
		if i := strings.LastIndex(line, " /"); ok && i >= 0 {
			path = strings.TrimSuffix(line[i+2:], "\n")
		}
		named["/"+path] = true
		lines++
	}
	files := 0
	each(t, func(path string, _ fs.FileInfo) {
		files++
		if path == "" {
			path = "/"
		}
		if !named[path] {
			t.Errorf("%s is not in the list of files", path)
		}
	})
	if files != lines {
		t.Errorf("%d files, and %d in the list", files, lines)
	}
	if !bundled(have) {
		t.Errorf("only %d parts", len(have))
	}
}

// bundled says that there are about as many parts as packages and modules are left.
func bundled(have map[string]bool) bool { return len(have) > 100 }
