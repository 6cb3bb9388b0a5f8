package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/leasehold/leasehold/image"
)

// patience is how long a kernel under KVM may take to its first line: it takes less than a second.
const patience = 10 * time.Second

// Accelerator says how machines are run here, "kvm" or "tcg", and why. A device that opens, and even one that makes a machine, may still not boot a stock kernel:
// so the kernel of a unified kernel image is booted, and where it says nothing in time the answer is software emulation.
func Accelerator(ctx context.Context, dir, uki string) (name, why string, err error) {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return "tcg", err.Error(), nil
	}
	device.Close()
	f, err := os.Open(uki)
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	kernel, err := image.Section(f, ".linux")
	if err != nil {
		return "", "", err
	}
	m := &Machine{dir: dir}
	if err := os.WriteFile(m.path("kernel"), kernel, 0o600); err != nil {
		return "", "", err
	}
	defer os.Remove(m.path("kernel"))
	if err := os.Remove(m.path("serial.log")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	args := append(acceleration("kvm"), "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-m", "512", "-no-reboot",
		"-kernel", m.path("kernel"), "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1", "-serial", "file:"+m.path("serial.log"))
	qemu := exec.Command("qemu-system-x86_64", args...)
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := qemu.Start(); err != nil {
		return "", "", fmt.Errorf("start qemu-system-x86_64: %w", err)
	}
	m.ended = make(chan struct{})
	go func() {
		qemu.Wait()
		close(m.ended)
	}()
	defer func() {
		qemu.Process.Kill()
		<-m.ended
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := m.WaitSerial(ctx, `Linux version \d`); err != nil {
		return "tcg", "KVM opens but boots no kernel", nil
	}
	return "kvm", "a kernel boots under KVM", nil
}
