package vm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	firmware  = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	variables = "/usr/share/OVMF/OVMF_VARS_4M.fd"

	// DiskSize is that of the machine's disk: the image, and room that the first boot makes partitions in.
	DiskSize = "2G"
	// Memory of the machine, in MiB.
	Memory = 1024
)

// Machine is one virtual machine: a disk, the firmware's variables and a TPM, in a directory. At most one QEMU runs it.
type Machine struct {
	Port int // on this host's loopback, forwarded to port 7070 of the machine

	dir         string
	accelerator string
	qemu        *exec.Cmd
	tpm         *exec.Cmd
	monitor     *QMP
	ended       chan struct{} // closed when QEMU has ended
}

// New makes a machine that has never run, with a copy of the disk image in it. The directory's name must be short: sockets are in it, whose paths have at most 107 bytes.
func New(ctx context.Context, dir, image, accelerator string) (*Machine, error) {
	m := &Machine{dir: dir, accelerator: accelerator}
	if n := len(m.path("monitor.sock")); n > 107 {
		return nil, fmt.Errorf("the path of a socket below %s has %d bytes where 107 are allowed", dir, n)
	}
	if err := os.MkdirAll(m.path("tpm"), 0o700); err != nil {
		return nil, err
	}
	base, err := filepath.Abs(image)
	if err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", m.path("disk.qcow2"), DiskSize},
		{"qemu-img", "convert", "-f", "raw", "-O", "qcow2", variables, m.path("variables.qcow2")},
		{"swtpm_setup", "--tpm2", "--tpmstate", m.path("tpm"), "--create-ek-cert", "--create-platform-cert", "--lock-nvram", "--pcr-banks", "sha256", "--overwrite"},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", args[0], err, tail(string(out)))
		}
	}
	return m, nil
}

func (m *Machine) path(name string) string { return filepath.Join(m.dir, name) }

// Start switches the machine on. With the name of a snapshot it goes on from there, disk, variables and TPM included; with "" it boots.
func (m *Machine) Start(ctx context.Context, snapshot string) error {
	if m.qemu != nil {
		return errors.New("the machine runs already")
	}
	for _, name := range []string{"monitor.sock", "tpm.sock", "serial.log"} {
		if err := os.Remove(m.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	var err error
	if m.Port, err = freePort(ctx); err != nil {
		return err
	}
	if m.tpm, err = m.child("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+m.path("tpm"), "--ctrl", "type=unixio,path="+m.path("tpm.sock"), "--terminate"); err != nil {
		return err
	}
	if err := m.appears(ctx, "tpm.sock", nil); err != nil {
		m.Kill()
		return err
	}
	if m.qemu, err = m.child("qemu-system-x86_64", m.arguments(snapshot)...); err != nil {
		m.Kill()
		return err
	}
	m.ended = make(chan struct{})
	go func(qemu *exec.Cmd, ended chan struct{}) {
		qemu.Wait()
		close(ended)
	}(m.qemu, m.ended)
	if err := m.appears(ctx, "monitor.sock", m.ended); err != nil {
		m.Kill()
		return err
	}
	if m.monitor, err = DialQMP(ctx, m.path("monitor.sock")); err != nil {
		said := m.said("qemu-system-x86_64")
		m.Kill()
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

// arguments are QEMU's. Every drive that is written is qcow2, which snapshots need; nothing of the machine reaches a network but through the forward.
func (m *Machine) arguments(snapshot string) []string {
	args := []string{"-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35,smm=off"}
	args = append(args, acceleration(m.accelerator)...)
	args = append(args, "-smp", "2", "-m", fmt.Sprint(Memory), "-uuid", "6c686c64-0000-4000-8000-000000000001", "-smbios", "type=1,manufacturer=Leasehold,product=Test,serial=LH-TEST-1",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+firmware,
		"-drive", "if=pflash,format=qcow2,unit=1,file="+m.path("variables.qcow2"),
		"-drive", "if=none,id=hd0,format=qcow2,file="+m.path("disk.qcow2"), "-device", "virtio-blk-pci,drive=hd0,serial=SYSDISK,bootindex=1",
		"-device", "qemu-xhci,id=xhci", "-device", "virtio-rng-pci", "-device", "i6300esb", "-action", "watchdog=reset",
		"-netdev", fmt.Sprintf("user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:%d-:7070", m.Port), "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:4c:48:01,romfile=",
		"-netdev", "user,id=n1,restrict=on,net=10.0.9.0/24", "-device", "e1000e,netdev=n1,mac=52:54:00:4c:48:02,romfile=",
		"-chardev", "socket,id=tpm,path="+m.path("tpm.sock"), "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0",
		"-qmp", "unix:"+m.path("monitor.sock")+",server=on,wait=off", "-serial", "file:"+m.path("serial.log"))
	if snapshot != "" {
		args = append(args, "-loadvm", snapshot)
	}
	return args
}

// child starts a program that ends with this one, what it says in a file.
func (m *Machine) child(program string, args ...string) (*exec.Cmd, error) {
	log, err := os.Create(m.path(program + ".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return cmd, nil
}

// said is what a child has said.
func (m *Machine) said(program string) string {
	b, err := os.ReadFile(m.path(program + ".log"))
	if err != nil {
		return err.Error()
	}
	return tail(string(b))
}

// appears waits for a socket.
func (m *Machine) appears(ctx context.Context, name string, ended chan struct{}) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if _, err := os.Lstat(m.path(name)); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("%w: %s", ErrEnded, m.said("qemu-system-x86_64"))
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", name, context.Cause(ctx))
		}
	}
}

// Monitor is the conversation with QEMU.
func (m *Machine) Monitor() *QMP { return m.monitor }

// Save keeps the running machine under a name, for Start.
func (m *Machine) Save(ctx context.Context, name string) error {
	return m.monitor.Human(ctx, "savevm "+name)
}

// PowerOff presses the power button and waits until the machine is off.
func (m *Machine) PowerOff(ctx context.Context) error {
	if _, err := m.monitor.Do(ctx, "system_powerdown", nil); err != nil {
		return err
	}
	select {
	case <-m.ended:
		m.Kill()
		return nil
	case <-ctx.Done():
		text, _ := m.Serial()
		return fmt.Errorf("power off: %w; the serial line ends with:\n%s", context.Cause(ctx), tail(text))
	}
}

// Kill pulls the plug: what the machine has not yet given to its disk is lost. It waits until nothing has the directory's files open.
func (m *Machine) Kill() {
	if m.monitor != nil {
		m.monitor.Close()
		m.monitor = nil
	}
	if m.qemu != nil {
		m.qemu.Process.Kill()
		<-m.ended
		m.qemu = nil
	}
	if m.tpm != nil {
		m.tpm.Process.Kill()
		m.tpm.Wait()
		m.tpm = nil
	}
}

// freePort is one that nobody listens on.
func freePort(ctx context.Context) (int, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("%s is no TCP address", l.Addr())
	}
	return addr.Port, nil
}

// acceleration is how QEMU is told one.
func acceleration(name string) []string {
	if strings.HasPrefix(name, "kvm") {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	return []string{"-accel", "tcg,thread=multi", "-cpu", "max"}
}
