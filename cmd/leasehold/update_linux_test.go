package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"context"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/stick"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// A stick with an update is handed over when it is unmounted, and is not said to be safe to remove then; one that is gone, or that could not be unmounted, is not.
func TestStickWithAnUpdate(t *testing.T) {
	for _, row := range []struct {
		name   string
		leave  error
		gone   bool
		mode   string
		update bool
		want   string // what is done
		safe   bool
	}{
		{"as it should be", nil, false, "auto", true, "writable left handed", false},
		{"without an update", nil, false, "auto", false, "writable left", true},
		{"not unmounted", errors.New("busy"), false, "auto", true, "writable left", false},
		{"pulled", nil, true, "auto", true, "writable left", false},
		{"sticks are off", nil, false, "off", true, "", true},
		{"nobody can be told", nil, false, "auto", true, "writable left", true},
		{"no unit waits", nil, false, "auto", true, "writable left", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newPlugged(t)
			s.anew()
			s.mode.Store(row.mode)
			if row.update {
				s.put("stick/LEASEHOLD/UPDATE/UPDATE.LHU", []byte("anything"))
			}
			var done []string
			told := filepath.Join(s.machine.dir, "told")
			p := &program{stdout: &strings.Builder{}, stderr: &strings.Builder{}, socket: s.machine.dir + "/socket"}
			p.out = terminal.NewOutput(p.stdout)
			v := &visit{program: p, name: "X", told: told, log: slog.New(slog.DiscardHandler), gone: func() bool { return row.gone },
				hand: func() error { done = append(done, "handed"); return nil },
				open: func() (stick.Place, error) { return &seen{stick.At(s.dir), &done, false, row.leave}, nil }}
			switch row.name {
			case "nobody can be told":
				v.hand = func() error { return errors.New("read-only file system") }
			case "no unit waits":
				v.hand = nil
			}
			v.serve(t.Context())
			lines, err := stick.Told(told)
			if err != nil || len(lines) == 0 {
				t.Fatal(lines, err)
			}
			last := lines[len(lines)-1].Text
			if got := strings.Join(done, " "); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
			handed := strings.HasSuffix(row.want, "handed")
			if handed != strings.Contains(last, "LEAVE IT IN") || row.safe != strings.HasSuffix(last, "SAFE TO REMOVE") {
				t.Errorf("it says %q", last)
			}
		})
	}
}

// changing is a stick that has other bytes as soon as it was left.
type changing struct {
	stick.Place
	left *bool
}

func (c *changing) Leave() (bool, error) {
	*c.left = true
	return true, errors.Join(os.WriteFile(filepath.Join(c.Path(), "LEASEHOLD/UPDATE/ROOT.IMG"), []byte("another root"), 0o600))
}

// What is installed is what was copied, whatever the stick says later. The boot state is kept when the copy is whole and before it is installed.
func TestUpdateIsInstalledFromTheCopy(t *testing.T) {
	for _, row := range []struct {
		name     string
		says     *capability.Refusal // the daemon, of the second question
		gone     bool
		root     string
		code     capability.Code
		want     string // what is done
		lastHas  string
		lastSafe bool
	}{
		{"as it should be", nil, false, "the root", 0, "check keep install", "INSTALLED", false},
		{"the daemon keeps nothing", capability.Refuse(capability.ErrStorageFull, "", ""), false, "the root", capability.ErrStorageFull, "check keep", "LH-4009", true},
		{"pulled", nil, true, "th", capability.ErrStickPulled, "check", "LH-2008", false},
		{"changed", nil, false, "the toor", capability.ErrUpdateFile, "check", "LH-2404", true},
		{"on trial", nil, false, "the root", capability.ErrUpdateTrial, "check", "LH-2409", true},
		{"did not start", nil, false, "the root", capability.ErrUpdateFailed, "check", "LH-2410", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t)
			producer := newProducer(t, 1)
			part := func(text string) wire.UpdatePart {
				return wire.UpdatePart{Size: uint64(len(text)), SHA256: sha256.Sum256([]byte(text))}
			}
			u := &wire.Update{Version: "2026.2", Security: 2, Time: capability.At(time.Now()), RootHash: capability.Digest{7}, Root: part("the root"), Verity: part("the tree"), Kernel: part("the kernel"), Certificate: producer.certificate}
			file, err := wire.New().SealUpdate(producer.key, u)
			if err != nil {
				t.Fatal(err)
			}
			for name, b := range map[string]string{"UPDATE.LHU": string(file), "ROOT.IMG": row.root, "VERITY.IMG": "the tree", "KERNEL.EFI": "the kernel"} {
				m.put("stick/LEASEHOLD/UPDATE/"+name, []byte(b))
			}
			var done []string
			d := m.daemon()
			ask := func(what string, no *capability.Refusal) func([]byte) (any, *capability.Refusal) {
				return func(b []byte) (any, *capability.Refusal) {
					if !bytes.Equal(b, file) {
						t.Errorf("%s: %d bytes where the update has %d", what, len(b), len(file))
					}
					done = append(done, what)
					return console.Updating{Update: *u}, no
				}
			}
			d.does("POST updates/check", ask("check", nil))
			d.does("POST updates", ask("keep", row.says))
			left := false
			p := &program{stdout: &strings.Builder{}, stderr: &strings.Builder{}, socket: m.dir + "/socket", trust: m.dir + "/producer.lht"}
			m.put("producer.lht", producer.trust)
			p.out = terminal.NewOutput(p.stdout)
			told, to := filepath.Join(m.dir, "told"), filepath.Join(m.dir, "copy")
			k := &taking{program: p, name: "X", told: told, to: to, log: slog.New(slog.DiscardHandler), gone: func() bool { return row.gone },
				open: func() (stick.Place, error) { return &changing{stick.At(filepath.Join(m.dir, "stick")), &left}, nil },
				install: func(_ context.Context, version string) error {
					done = append(done, "install")
					root, _ := u.Partitions()
					b, err := os.ReadFile(filepath.Join(to, "new", "leasehold_2026.2_"+root+".root"))
					if !left || version != "2026.2" || err != nil || string(b) != "the root" {
						t.Errorf("left %v, version %q, root %q: %v", left, version, b, err)
					}
					return nil
				}}
			k.boot = counted(t, "leasehold_2026.1+2-1.efi")
			switch row.name {
			case "on trial":
				prepare(t, os.WriteFile(k.boot.esp+"/EFI/Linux/leasehold_2026.1+2-1.efi", nil, 0o600))
			case "did not start":
				prepare(t, os.WriteFile(k.boot.esp+"/EFI/Linux/leasehold_2026.2+0-3.efi", nil, 0o600))
			}
			err = k.serve(t.Context())
			if (err == nil) != (row.code == 0) || err != nil && terminal.CodeOf(err) != row.code {
				t.Errorf("%v, want %s", err, row.code)
			}
			if got := strings.Join(done, " "); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
			if _, err := os.Stat(to + "/new"); err == nil {
				t.Error("the copy is left over")
			}
			lines, _ := stick.Told(told)
			last := lines[len(lines)-1]
			if !last.Last || !strings.Contains(last.String(), row.lastHas) || strings.Contains(last.Text, "SAFE TO REMOVE") != row.lastSafe || strings.Contains(last.Text, "Nothing was changed") != (err != nil && !strings.Contains(row.want, "keep")) {
				t.Errorf("it says %q", last)
			}
		})
	}
}

// prepare wants what prepares a test to be done.
func prepare(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// counted is a machine whose boot loader counts the starts of a kernel image, which is not there by that name any more.
func counted(t *testing.T, name string) booted {
	t.Helper()
	dir := t.TempDir()
	prepare(t, os.MkdirAll(dir+"/EFI/Linux", 0o700))
	v := []byte{6, 0, 0, 0}
	for _, c := range utf16.Encode([]rune(`\EFI\Linux\` + name + "\x00")) {
		v = binary.LittleEndian.AppendUint16(v, c)
	}
	prepare(t, os.WriteFile(dir+"/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", v, 0o600))
	return booted{dir, dir}
}

// An image is on trial while the file that the boot loader has counted is there by that name; where that cannot be seen, nothing is taken for proved.
func TestOnTrial(t *testing.T) {
	const name = "leasehold_2026.1+2-1.efi"
	for what, c := range map[string]struct {
		change func(booted)
		trial  bool
		fails  bool
	}{
		"nothing is counted": {func(b booted) {
			prepare(t, os.Remove(b.efivars+"/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"))
		}, false, false},
		"blessed":                    {func(b booted) { prepare(t, os.WriteFile(b.esp+"/EFI/Linux/leasehold_2026.1.efi", nil, 0o600)) }, false, false},
		"counted":                    {func(b booted) { prepare(t, os.WriteFile(b.esp+"/EFI/Linux/"+name, nil, 0o600)) }, true, false},
		"the partition is not there": {func(b booted) { prepare(t, os.RemoveAll(b.esp+"/EFI")) }, false, true},
		"an empty variable": {func(b booted) {
			prepare(t, os.WriteFile(b.efivars+"/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", []byte{6, 0, 0, 0}, 0o600))
		}, false, true},
	} {
		b := counted(t, name)
		c.change(b)
		if trial, err := b.onTrial(); trial != c.trial || (err != nil) != c.fails {
			t.Errorf("%s: %v, %v", what, trial, err)
		}
	}
	b := counted(t, name)
	for file, failed := range map[string]bool{"leasehold_2026.2.efi": false, "leasehold_2026.2+3.efi": false, "leasehold_2026.2+1-2.efi": false, "leasehold_2026.20+0-3.efi": false, "leasehold_2026.2+0-3.efi": true, "leasehold_2026.2+0.efi": true} {
		path := b.esp + "/EFI/Linux/" + file
		prepare(t, os.WriteFile(path, nil, 0o600))
		if left := slices.Contains(b.left(), "2026.2"); left != failed {
			t.Errorf("%s: left is %v", file, left)
		}
		prepare(t, os.Remove(path))
	}
}

// A stick is handed over only where an update has a place, and somebody waits for it.
func TestTakesUpdates(t *testing.T) {
	dir := t.TempDir()
	if !takesUpdates(dir, dir) || takesUpdates(dir, dir+"/none") || takesUpdates(dir+"/none", dir) {
		t.Error("judged by something else than what is there")
	}
}

// The image is to blame for what it cannot open, and for nothing else.
func TestBlame(t *testing.T) {
	if err := blame(&console.Health{State: "serving"}); err != nil {
		t.Error(err)
	}
	for code, is := range map[capability.Code]bool{capability.ErrSealed: true, capability.ErrImageOlder: true, capability.ErrCorrupt: true, capability.ErrCounter: true, capability.ErrRollback: false, capability.ErrBinding: false, capability.ErrTPMCleared: false, capability.ErrStorageGone: false} {
		h := &console.Health{State: "refusing", Condition: &console.Problem{Code: code, Text: "x"}}
		if err := blame(h); (err != nil) != is || is && terminal.CodeOf(err) != code {
			t.Errorf("%s: %v", code, err)
		}
	}
}
