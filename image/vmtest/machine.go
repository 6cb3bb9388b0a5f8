package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	firmware       = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	lockedFirmware = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
	variables      = "/usr/share/OVMF/OVMF_VARS_4M.fd" // without keys: setup mode

	// DiskSize is that of the machine's disk: the image, and room that the first boot makes partitions in.
	DiskSize = "2G"
	// Memory of the machine, in MiB.
	Memory = 1024
)

// Machine is one virtual machine: a disk, the firmware's variables and a TPM, in a directory. At most one QEMU runs it.
type Machine struct {
	Port     int // on this host's loopback, forwarded to port 7070 of the machine
	Hardware Hardware

	dir         string
	accelerator string
	qemu        *exec.Cmd
	tpm         *exec.Cmd
	monitor     *QMP
	line        net.Conn      // the serial line
	said        chan struct{} // closed when all that was said on it is in its log
	ended       chan struct{} // closed when QEMU has ended
	plugs       int
}

// Hardware is what a machine is started with where it is not the usual. A snapshot goes on only with the hardware that it was made with.
type Hardware struct {
	NoTPM   bool
	OldTPM  bool     // a TPM 1.2 instead, which is empty
	NoCards bool     // no network card: nothing is forwarded either
	Clock   string   // of the board at the start, as 1970-01-01T00:00:00; this host's
	Strings []string // of the firmware (SMBIOS type 11), by which a host hands things to systemd
	Second  bool     // serial line, which Agent talks on
	Locked  bool     // firmware that alone writes its variables (SMM), so that no running system takes Secure Boot back
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
	if err := run(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", m.Disk(), DiskSize); err != nil {
		return nil, err
	}
	if err := m.NewVariables(ctx); err != nil {
		return nil, err
	}
	return m, m.NewTPM(ctx)
}

func (m *Machine) path(name string) string { return filepath.Join(m.dir, name) }

// Disk is the file of the machine's disk. A machine that is off may be given another, or an older one.
func (m *Machine) Disk() string { return m.path("disk.qcow2") }

// NewVariables gives the firmware of a machine that is off the variables that it had when it was made: no Secure Boot keys are in them.
func (m *Machine) NewVariables(ctx context.Context) error {
	return run(ctx, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", variables, m.path("variables.qcow2"))
}

// NewTPM gives a machine that is off another TPM.
func (m *Machine) NewTPM(ctx context.Context) error {
	if err := os.RemoveAll(m.path("tpm")); err != nil {
		return err
	}
	if err := os.Mkdir(m.path("tpm"), 0o700); err != nil {
		return err
	}
	return run(ctx, "swtpm_setup", "--tpm2", "--tpmstate", m.path("tpm"), "--create-ek-cert", "--create-platform-cert", "--lock-nvram", "--pcr-banks", "sha256", "--overwrite")
}

// ClearTPM does to the TPM of a machine that is off what the item of the firmware's menu does (TPM 2.0 library, part 3, 24.6): its owner's keys and counters are gone, and it is the same TPM.
func (m *Machine) ClearTPM(ctx context.Context) error {
	path := m.path("clear.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tpm, err := m.child("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+m.path("tpm"), "--server", "type=unixio,path="+path, "--flags", "not-need-init,startup-clear")
	if err != nil {
		return err
	}
	defer func() {
		tpm.Process.Kill()
		tpm.Wait()
	}()
	conn, err := m.dial(ctx, "clear.sock", nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, command := range [][]byte{
		{0x80, 2, 0, 0, 0, 27, 0, 0, 1, 0x26, 0x40, 0, 0, 0x0c, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0}, // TPM2_Clear by the platform, whose password is empty
		{0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x45, 0, 0},                                                       // TPM2_Shutdown
	} {
		if _, err := conn.Write(command); err != nil {
			return err
		}
		answer := make([]byte, 4096)
		n, err := conn.Read(answer)
		if err != nil || n < 10 || [4]byte(answer[6:10]) != [4]byte{} {
			return fmt.Errorf("the TPM answers % x to % x, %w", answer[:n], command, err)
		}
	}
	return nil
}

// Open is a machine that was made before in a directory. A copy of the directory of one that is off is another machine, with the same disk, TPM and snapshots.
func Open(dir, accelerator string) *Machine {
	return &Machine{dir: dir, accelerator: accelerator}
}

// run runs a program of this host to its end.
func run(ctx context.Context, program string, args ...string) error {
	if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, tail(string(out)))
	}
	return nil
}

// Start switches the machine on. With the name of a snapshot it goes on from there, disk, variables and TPM included; with "" it boots.
func (m *Machine) Start(ctx context.Context, snapshot string) error {
	if m.qemu != nil {
		return errors.New("the machine runs already")
	}
	for _, name := range []string{"monitor.sock", "tpm.sock", "serial.sock", "serial.log", "agent.sock", "agent.log"} {
		if err := os.Remove(m.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	var err error
	if snapshot != "" { // the line goes on too: what is drawn on it later are changes of what was there
		if err = copyFile(m.path("serial."+snapshot), m.path("serial.log")); err != nil {
			return err
		}
	}
	if m.Port == 0 { // clients find it again where it was
		if m.Port, err = freePort(ctx); err != nil {
			return err
		}
	}
	if !m.Hardware.NoTPM {
		args := []string{"socket", "--tpmstate", "dir=" + m.path("tpm"), "--ctrl", "type=unixio,path=" + m.path("tpm.sock"), "--terminate"}
		if !m.Hardware.OldTPM {
			args = append(args, "--tpm2")
		}
		if m.tpm, err = m.child("swtpm", args...); err != nil {
			return err
		}
		if err := m.appears(ctx, "tpm.sock"); err != nil {
			m.Kill()
			return err
		}
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
	monitor, err := m.dial(ctx, "monitor.sock", m.ended)
	if err != nil {
		m.Kill()
		return err
	}
	if m.monitor, err = NewQMP(ctx, monitor, m.path("monitor.log")); err != nil {
		said := m.complaint("qemu-system-x86_64")
		m.Kill()
		return fmt.Errorf("%w: %s", err, said)
	}
	if err := m.listens(ctx); err != nil {
		m.Kill()
		return err
	}
	if _, err := m.monitor.Do(ctx, "cont", nil); err != nil { // now that nothing that is said is lost
		m.Kill()
		return err
	}
	return nil
}

// listens writes down what is said on the serial line. QEMU's own log of it has signs twice that a slow reader was not ready for.
func (m *Machine) listens(ctx context.Context) error {
	log, err := os.OpenFile(m.path("serial.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if m.line, err = m.dial(ctx, "serial.sock", m.ended); err != nil {
		log.Close()
		return err
	}
	m.said = make(chan struct{})
	go func(line net.Conn, said chan struct{}) {
		defer close(said)
		defer log.Close()
		io.Copy(log, line)
	}(m.line, m.said)
	return nil
}

// arguments are QEMU's. Every drive that is written is qcow2, which snapshots need; nothing of the machine reaches a network but through the forward.
func (m *Machine) arguments(snapshot string) []string {
	// The keyboard is the one on USB: there is no other controller for one.
	board, code := "q35,i8042=off,smm=off", firmware
	if m.Hardware.Locked {
		board, code = "q35,i8042=off,smm=on", lockedFirmware
	}
	args := []string{"-nodefaults", "-no-user-config", "-S", "-display", "none", "-machine", board}
	args = append(args, acceleration(m.accelerator)...)
	args = append(args, "-smp", processors(m.accelerator), "-m", fmt.Sprint(Memory), "-uuid", "6c686c64-0000-4000-8000-000000000001", "-smbios", "type=1,manufacturer=Leasehold,product=Test,serial=LH-TEST-1",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+code,
		"-drive", "if=pflash,format=qcow2,unit=1,file="+m.path("variables.qcow2"),
		"-drive", "if=none,id=hd0,format=qcow2,file="+m.Disk(), "-device", "virtio-blk-pci,drive=hd0,serial=SYSDISK,bootindex=1",
		"-device", "VGA", "-device", "qemu-xhci,id=xhci,p2=8,p3=8", "-device", "usb-kbd,bus=xhci.0", "-device", "virtio-rng-pci", "-device", "i6300esb", "-action", "watchdog=reset",
		"-qmp", "unix:"+m.path("monitor.sock")+",server=on,wait=off",
		"-chardev", "socket,id=line,server=on,wait=off,path="+m.path("serial.sock"), "-serial", "chardev:line")
	if !m.Hardware.NoCards {
		args = append(args, "-netdev", fmt.Sprintf("user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:%d-:7070", m.Port), "-device", "virtio-net-pci,netdev=n0,mac=52:54:00:4c:48:01,romfile=",
			"-netdev", "user,id=n1,restrict=on,net=10.0.9.0/24", "-device", "e1000e,netdev=n1,mac=52:54:00:4c:48:02,romfile=")
	}
	if !m.Hardware.NoTPM {
		device := "tpm-crb"
		if m.Hardware.OldTPM {
			device = "tpm-tis"
		}
		args = append(args, "-chardev", "socket,id=tpm,path="+m.path("tpm.sock"), "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", device+",tpmdev=tpm0")
	}
	if m.Hardware.Second {
		args = append(args, "-chardev", "socket,id=second,server=on,wait=off,path="+m.path("agent.sock")+",logappend=on,logfile="+m.path("agent.log"), "-serial", "chardev:second")
	}
	if m.Hardware.Locked {
		args = append(args, "-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1")
	}
	if m.Hardware.Clock != "" {
		args = append(args, "-rtc", "base="+m.Hardware.Clock)
	}
	for _, value := range m.Hardware.Strings {
		args = append(args, "-smbios", "type=11,value="+strings.ReplaceAll(value, ",", ",,"))
	}
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

// complaint is what a child has said.
func (m *Machine) complaint(program string) string {
	b, err := os.ReadFile(m.path(program + ".log"))
	if err != nil {
		return err.Error()
	}
	return tail(string(b))
}

// appears waits for a socket, which its program may only be about to listen on.
func (m *Machine) appears(ctx context.Context, name string) error {
	return m.until(ctx, name, nil, func() error {
		_, err := os.Lstat(m.path(name))
		return err
	})
}

// dial connects to a socket as soon as its program listens on it.
func (m *Machine) dial(ctx context.Context, name string, ended chan struct{}) (conn net.Conn, err error) {
	var d net.Dialer
	err = m.until(ctx, name, ended, func() (err error) {
		conn, err = d.DialContext(ctx, "unix", m.path(name))
		return err
	})
	return conn, err
}

func (m *Machine) until(ctx context.Context, name string, ended chan struct{}, there func() error) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		err := there()
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("%w: %s", ErrEnded, m.complaint("qemu-system-x86_64"))
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", name, context.Cause(ctx))
		}
	}
}

// Monitor is the conversation with QEMU.
func (m *Machine) Monitor() *QMP { return m.monitor }

// Save keeps the running machine under a name, for Start.
func (m *Machine) Save(ctx context.Context, name string) error {
	if err := m.monitor.Human(ctx, "savevm "+name); err != nil {
		return err
	}
	return copyFile(m.path("serial.log"), m.path("serial."+name))
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// Screenshot keeps what the machine shows on its screen, as a PNG.
func (m *Machine) Screenshot(ctx context.Context, path string) error {
	_, err := m.monitor.Do(ctx, "screendump", map[string]string{"filename": path, "format": "png"})
	return err
}

// Press presses a key of the keyboard, as QEMU names them: f4.
func (m *Machine) Press(ctx context.Context, key string) error {
	type code struct {
		Type string `json:"type"`
		Data string `json:"data"`
	}
	_, err := m.monitor.Do(ctx, "send-key", map[string]any{"keys": []code{{"qcode", key}}})
	return err
}

// Type types on the serial line.
func (m *Machine) Type(text string) error {
	_, err := io.WriteString(m.line, text)
	return err
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
	if m.line != nil {
		<-m.said // QEMU has ended, and its end of the line with it
		m.line.Close()
		m.line = nil
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

// processors are how many the machine has. Under software emulation it is one: with several, on a busy host, one now and then runs what another has just replaced in the kernel's own code, and that is
// the end of the kernel ("Oops: int3").
func processors(accelerator string) string {
	if accelerator == "kvm" {
		return "2"
	}
	return "1"
}

// acceleration is how QEMU is told one.
func acceleration(name string) []string {
	if name == "kvm" {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	return []string{"-accel", "tcg,thread=multi", "-cpu", "max"}
}
