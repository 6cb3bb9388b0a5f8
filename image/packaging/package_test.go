//go:build image

package packaging

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// host is a Debian root without a running service manager. It needs root, as chroot does.
type host struct {
	t    *testing.T
	root string
}

// hosts are the roots that make prepared, by release.
func hosts(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, tar := range strings.Fields(os.Getenv("HOSTS")) {
		release, _, _ := strings.Cut(filepath.Base(tar), "-")
		out[release] = tar
	}
	if len(out) == 0 || os.Getenv("PACKAGE") == "" {
		t.Fatal("no package or no root to install it in; type: make deb-test")
	}
	return out
}

func newHost(t *testing.T, tar string) *host {
	t.Helper()
	h := &host{t, t.TempDir()}
	if out, err := exec.Command("tar", "--numeric-owner", "-C", h.root, "-xf", tar).CombinedOutput(); err != nil {
		t.Fatalf("unpack %s: %v\n%s", tar, err, out)
	}
	// A customer's host has manuals.
	h.remove("etc/dpkg/dpkg.cfg.d/99mmdebstrap")
	return h
}

func (h *host) path(name string) string { return filepath.Join(h.root, name) }

func (h *host) remove(name string) {
	h.t.Helper()
	if err := os.RemoveAll(h.path(name)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) write(name, text string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.path(name), []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) has(name string) bool {
	_, err := os.Lstat(h.path(name))
	return err == nil
}

// run runs a program in the root and gives what it said and its exit status.
func (h *host) run(args ...string) (string, int) {
	h.t.Helper()
	cmd := exec.Command("chroot", append([]string{h.root}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		h.t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func (h *host) does(args ...string) string {
	h.t.Helper()
	out, code := h.run(args...)
	if code != 0 {
		h.t.Fatalf("%s ended with %d:\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// install installs the package at path.
func (h *host) install(path string) string {
	h.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	h.write("leasehold.deb", string(b))
	defer h.remove("leasehold.deb")
	return h.does("dpkg", "--install", "/leasehold.deb")
}

// files are the names of all files in the root.
func (h *host) files() []string {
	h.t.Helper()
	var out []string
	if err := filepath.WalkDir(h.root, func(path string, _ fs.DirEntry, err error) error {
		out = append(out, strings.TrimPrefix(path, h.root))
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
	return out
}

func (h *host) enabled(unit string) string {
	h.t.Helper()
	cmd := exec.Command("chroot", h.root, "systemctl", "is-enabled", unit)
	out, err := cmd.Output() // what it says of a missing /proc is not asked for
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// newer is the same package with a higher version.
func newer(t *testing.T, path string) string {
	t.Helper()
	dir := t.TempDir()
	tree, out := filepath.Join(dir, "tree"), filepath.Join(dir, "leasehold.deb")
	if b, err := exec.Command("dpkg-deb", "-R", path, tree).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	control := filepath.Join(tree, "DEBIAN/control")
	b, err := os.ReadFile(control)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(control, bytes.Replace(b, []byte("\nVersion: "), []byte("\nVersion: 1:"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command("dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return out
}

func TestInstall(t *testing.T) {
	for release, tar := range hosts(t) {
		t.Run(release, func(t *testing.T) {
			h := newHost(t, tar)
			before := h.files()
			if out := h.install(os.Getenv("PACKAGE")); strings.Contains(out, "arning") || strings.Contains(out, "catalog") {
				t.Errorf("the installation warns:\n%s", out)
			}
			for unit, want := range map[string]string{
				"leaseholdd.service": "enabled", "leaseholdd.socket": "enabled", "leaseholdd-admin.socket": "enabled", "leaseholdd-poll.socket": "enabled", "leaseholdd-directory.socket": "enabled",
				"leasehold-poll.service": "disabled", "leasehold-directory.service": "disabled", "leasehold-hostid.service": "static",
			} {
				if got := h.enabled(unit); got != want {
					t.Errorf("%s is %s, want %s", unit, got, want)
				}
			}
			if out := h.does("id", "leasehold"); !strings.Contains(out, "(tss)") {
				t.Errorf("the server's account is not in group tss: %s", out)
			}
			h.does("id", "leasehold-poll")
			h.does("id", "leasehold-directory")
			if out := h.does("leasehold", "version"); !strings.Contains(out, "leasehold") {
				t.Errorf("leasehold version says %q", out)
			}
			for _, name := range []string{"usr/share/man/man8/leaseholdd.8.gz", "usr/share/man/man1/leasehold-status.1.gz", "usr/share/man/man7/leasehold-errors.7.gz", "usr/share/man/de/man7/leasehold-errors.7.gz",
				"usr/share/bash-completion/completions/leasehold", "usr/share/zsh/vendor-completions/_leasehold", "usr/share/fish/vendor_completions.d/leasehold.fish",
				"usr/lib/udev/rules.d/60-leasehold-hostid.rules", "usr/share/dbus-1/system.d/org.leasehold.leaseholdd.conf", "usr/share/doc/leasehold/copyright"} {
				if !h.has(name) {
					t.Errorf("%s is missing", name)
				}
			}
			// The journal finds our messages.
			if out := h.does("journalctl", "--list-catalog"); !strings.Contains(out, "LH-") {
				t.Error("the journal's catalog has no message of ours")
			}
			h.withProc(func() {
				if out := h.does("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "leaseholdd.service", "leaseholdd.socket", "leasehold-hostid.service", "leasehold-poll.service", "leasehold-directory.service"); out != "" {
					t.Errorf("systemd-analyze verify: %s", out)
				}
			})
			if h.has("etc/leasehold") || h.has("var/lib/leasehold") {
				t.Error("the package brings configuration or state")
			}
			h.purged(before)
		})
	}
}

// withProc gives programs in the root what they look for in /proc, as far as that is a plain file.
func (h *host) withProc(f func()) {
	h.write("proc/cmdline", "")
	h.write("proc/version", "Linux")
	h.write("proc/sys/kernel/random/boot_id", "00000000-0000-4000-8000-000000000000\n")
	defer func() {
		h.remove("proc")
		os.Mkdir(h.path("proc"), 0o555)
	}()
	f()
}

// purged purges the package and looks for what is left of it.
func (h *host) purged(before []string) {
	h.t.Helper()
	h.does("dpkg", "--purge", "leasehold")
	for _, name := range h.files() {
		if !slices.Contains(before, name) && !strings.HasPrefix(name, "/var/lib/dpkg/") && !strings.HasPrefix(name, "/run/") && !strings.HasPrefix(name, "/var/lib/systemd/catalog") &&
			!slices.Contains([]string{"/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/.pwd.lock", "/var/log/dpkg.log", "/var/lib/systemd/deb-systemd-helper-enabled", "/var/lib/systemd/deb-systemd-helper-masked"}, name) {
			h.t.Errorf("%s is left after a purge", name)
		}
	}
	if out, _ := h.run("journalctl", "--list-catalog"); strings.Contains(out, "LH-") {
		h.t.Error("the journal's catalog still has messages of ours")
	}
}

// What administrators decided and what the server keeps outlives an upgrade and a removal.
func TestUpgradeAndRemoval(t *testing.T) {
	for release, tar := range hosts(t) {
		t.Run(release, func(t *testing.T) {
			h := newHost(t, tar)
			h.install(os.Getenv("PACKAGE"))
			kept := map[string]string{"etc/leasehold/producer.lht": "trust", "etc/leasehold/conf.d/50-site.toml": "log-level = \"warn\"\n", "var/lib/leasehold/vault/header": "rights"}
			for name, text := range kept {
				h.write(name, text)
			}
			h.does("chown", "-R", "leasehold:leasehold", "/var/lib/leasehold")
			h.does("systemctl", "disable", "leaseholdd.service") // and its sockets with it
			h.does("systemctl", "enable", "leasehold-poll.service")
			unchanged := func(after string) {
				t.Helper()
				for name, text := range kept {
					if b, err := os.ReadFile(h.path(name)); err != nil || string(b) != text {
						t.Errorf("after %s %s holds %q: %v", after, name, b, err)
					}
				}
				if out := h.does("stat", "-c", "%U:%G", "/var/lib/leasehold/vault/header"); out != "leasehold:leasehold\n" {
					t.Errorf("after %s the state is of %s", after, out)
				}
			}

			h.install(newer(t, os.Getenv("PACKAGE")))
			unchanged("an upgrade")
			for unit, want := range map[string]string{"leaseholdd.service": "disabled", "leaseholdd.socket": "disabled", "leaseholdd-admin.socket": "disabled", "leasehold-poll.service": "enabled"} {
				if got := h.enabled(unit); got != want {
					t.Errorf("after an upgrade %s is %s, want %s", unit, got, want)
				}
			}

			h.does("dpkg", "--remove", "leasehold")
			unchanged("a removal")
			if h.has("usr/bin/leaseholdd") || h.has("usr/lib/systemd/system/leaseholdd.service") {
				t.Error("a removal leaves the program")
			}
			h.install(os.Getenv("PACKAGE"))
			unchanged("an installation after a removal")

			// Rights are no rubbish: a purge leaves them and says how they are given up.
			out := h.does("dpkg", "--purge", "leasehold")
			if !strings.Contains(out, "/var/lib/leasehold holds rights and stays") || !h.has("var/lib/leasehold/vault/header") {
				t.Errorf("a purge removes rights, or does not say that it does not:\n%s", out)
			}
			if h.has("etc/leasehold") {
				t.Error("a purge leaves the configuration")
			}
			h.install(os.Getenv("PACKAGE"))
			h.remove("var/lib/leasehold/vault")
			h.write("var/lib/leasehold/requests/header", "no right")
			h.does("dpkg", "--purge", "leasehold")
			if h.has("var/lib/leasehold") {
				t.Error("a purge leaves a state without rights")
			}
		})
	}
}
