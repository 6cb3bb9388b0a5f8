package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Stick is the image of a USB stick on this host, which needs no driver for its file system: mtools reads and writes it.
type Stick string

// NewStick makes a stick with FAT32 on the whole of it and nothing on that. It has so many MiB, 40 at least; from 300 on its clusters are as long as those of sticks that are sold, 4 KiB, and else
// one sector.
func NewStick(ctx context.Context, path string, size int) (Stick, error) {
	if err := os.RemoveAll(path); err != nil {
		return "", err
	}
	sectors := "1"
	if size >= 300 {
		sectors = "8"
	}
	return Stick(path), run(ctx, "mkfs.vfat", "-F", "32", "-s", sectors, "-n", "COURIER", "-C", path, fmt.Sprint(size<<10))
}

func (s Stick) mtools(ctx context.Context, stdin []byte, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, append([]string{"-i", string(s)}, args...)...)
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1", "TZ=UTC", "LC_ALL=C.UTF-8")
	cmd.Stdin = bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, tail(errs.String()))
	}
	return out.Bytes(), nil
}

// Folder makes a folder, whose own folder is there.
func (s Stick) Folder(ctx context.Context, name string) error {
	_, err := s.mtools(ctx, nil, "mmd", "::/"+name)
	return err
}

// Write writes a file into a folder that is there, over one of the same name.
func (s Stick) Write(ctx context.Context, name string, b []byte) error {
	_, err := s.mtools(ctx, b, "mcopy", "-o", "-", "::/"+name)
	return err
}

// Read gives a file.
func (s Stick) Read(ctx context.Context, name string) ([]byte, error) {
	return s.mtools(ctx, nil, "mtype", "::/"+name)
}

// Remove takes a file away.
func (s Stick) Remove(ctx context.Context, name string) error {
	_, err := s.mtools(ctx, nil, "mdel", "::/"+name)
	return err
}

// Files are the paths of all files, without those of folders.
func (s Stick) Files(ctx context.Context) ([]string, error) {
	out, err := s.mtools(ctx, nil, "mdir", "-/", "-b", "-a", "::/")
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		if name := strings.TrimPrefix(strings.TrimSpace(line), "::/"); name != "" && !strings.HasSuffix(name, "/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Damage says what the checker of FAT finds, without mending it; "" if that is nothing.
func (s Stick) Damage(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "fsck.vfat", "-n", string(s)).CombinedOutput()
	if err == nil {
		return ""
	}
	return fmt.Sprintf("%v: %s", err, tail(string(out)))
}

// EditESP has the EFI system partition of a machine that is off changed, as by somebody who has taken the disk out. The disk has no snapshots afterwards.
func (m *Machine) EditESP(ctx context.Context, edit func(esp Stick) error) error {
	raw := m.path("disk.raw")
	defer os.Remove(raw)
	if err := run(ctx, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", m.Disk(), raw); err != nil {
		return err
	}
	if err := edit(Stick(raw + "@@1M")); err != nil {
		return err
	}
	return run(ctx, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, m.Disk())
}

// Plugged is a device in a USB port.
type Plugged struct {
	m  *Machine
	id string
}

// Plug plugs a stick in, with a serial number. What the machine writes on one that is write-protected does not get there.
func (m *Machine) Plug(ctx context.Context, s Stick, serial string, protected bool) (*Plugged, error) {
	path, err := filepath.Abs(string(s))
	if err != nil {
		return nil, err
	}
	m.plugs++
	p := &Plugged{m, fmt.Sprintf("stick%d", m.plugs)}
	if _, err := m.monitor.Do(ctx, "blockdev-add", map[string]any{
		"driver": "raw", "node-name": p.id, "read-only": protected, "file": map[string]any{"driver": "file", "filename": path, "locking": "off", "read-only": protected},
	}); err != nil {
		return nil, err
	}
	_, err = m.monitor.Do(ctx, "device_add", map[string]any{"driver": "usb-storage", "id": p.id, "bus": "xhci.0", "drive": p.id, "serial": serial, "removable": true})
	return p, err
}

// Pull pulls it out, whatever goes on.
func (p *Plugged) Pull(ctx context.Context) error {
	if _, err := p.m.monitor.Do(ctx, "device_del", map[string]string{"id": p.id}); err != nil {
		return err
	}
	if _, err := p.m.monitor.Wait(ctx, func(e Event) bool {
		var gone struct {
			Device string `json:"device"`
		}
		return e.Event == "DEVICE_DELETED" && json.Unmarshal(e.Data, &gone) == nil && gone.Device == p.id
	}); err != nil {
		return fmt.Errorf("pull %s: %w", p.id, err)
	}
	for { // the last of what was under way ends
		_, err := p.m.monitor.Do(ctx, "blockdev-del", map[string]string{"node-name": p.id})
		if err == nil {
			return nil
		}
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return err
		}
	}
}
