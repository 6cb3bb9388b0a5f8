// Package tpmtest starts a software TPM, swtpm, as a child process: for tests,
// demonstrations and scripts, and never for a shipped program. Each TPM is a
// machine of its own, with an endorsement key certificate from an authority that
// lives as long as the process. Start with [Start] in a test and with [New]
// elsewhere.
package tpmtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/leasehold/leasehold/tpm"
)

// ErrNotInstalled is a machine without swtpm. Tests fail with it and never skip.
var ErrNotInstalled = errors.New("swtpm is not installed; type: make deps")

// maxSocketPath is the longest sun_path, of which ".ctrl" is a part.
const maxSocketPath = 107

// patience is how long swtpm may take to answer: it takes 3 ms.
const patience = 10 * time.Second

// TPM is one software TPM: its state directory and, while it has power, its
// process. Its methods are not for several goroutines at once; the Devices it
// gives are.
type TPM struct {
	dir     string
	process *exec.Cmd
	bus     *bus
	owned   bool // dir is ours to remove
}

// Start gives a test a new TPM with the given certificates, by default one of the
// P-256 endorsement key. It is gone when the test is.
func Start(t testing.TB, certificates ...Certificate) *TPM {
	t.Helper()
	if len(certificates) == 0 {
		certificates = []Certificate{P256}
	}
	dir, err := os.MkdirTemp("", "lh") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(dir, certificates...)
	if err != nil {
		os.RemoveAll(dir)
		t.Fatal(err)
	}
	m.owned = true
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// New starts the TPM whose state is in dir, an existing directory with a path of
// at most 98 bytes. If there is none it makes a new TPM and certifies its keys;
// the authority's certificate is then in dir/authority.pem.
func New(dir string, certificates ...Certificate) (*TPM, error) {
	m := &TPM{dir: dir, bus: &bus{path: filepath.Join(dir, "s")}}
	if n := len(m.control()); n > maxSocketPath {
		return nil, fmt.Errorf("path of the tpm's socket has %d bytes, at most %d are allowed: %s", n, maxSocketPath, m.control())
	}
	_, err := os.Stat(filepath.Join(dir, "tpm2-00.permall"))
	fresh := errors.Is(err, os.ErrNotExist)
	if err := m.Boot(); err != nil {
		return nil, err
	}
	if fresh {
		if err := m.certify(certificates); err != nil {
			m.Close()
			return nil, err
		}
		m.bus.hangUp()
	}
	return m, nil
}

// Address is what tpm.Open takes. swtpm serves one connection at a time, so
// Address gives up that of Bus: a Device opened there and one from Device exclude
// each other until one is closed.
func (m *TPM) Address() string {
	m.bus.hangUp()
	return "unix:" + m.bus.path
}

// PID is the process of the TPM while it has power, else 0: what it uses is not its
// user's.
func (m *TPM) PID() int {
	if m.process == nil {
		return 0
	}
	return m.process.Process.Pid
}

// Dir is the state directory.
func (m *TPM) Dir() string { return m.dir }

func (m *TPM) control() string { return m.bus.path + ".ctrl" }

// Bus is the way to the TPM itself, for a recorder or faults in between.
func (m *TPM) Bus() transport.TPM { return m.bus }

// Device opens the TPM by way of Bus, which survives Kill, PowerCycle and Restart.
func (m *TPM) Device(t testing.TB) *tpm.Device {
	t.Helper()
	d, err := tpm.New(m.Bus())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Boot gives the TPM power, after New only if Kill took it.
func (m *TPM) Boot() error {
	if m.process != nil {
		return errors.New("the tpm has power already")
	}
	program, err := exec.LookPath("swtpm")
	if err != nil {
		return ErrNotInstalled
	}
	for _, path := range []string{m.bus.path, m.control()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	m.process = exec.Command(program, "socket", "--tpm2",
		"--tpmstate", "dir="+m.dir,
		"--server", "type=unixio,path="+m.bus.path,
		"--ctrl", "type=unixio,path="+m.control(),
		"--flags", "not-need-init,startup-clear",
		"--log", "file="+filepath.Join(m.dir, "log")+",level=1")
	m.process.SysProcAttr = dying()
	if err := m.process.Start(); err != nil {
		m.process = nil
		return fmt.Errorf("start swtpm: %w", err)
	}
	conn, err := dial(m.control()) // the sockets exist before they listen
	if err == nil {
		conn.Close()
		err = m.bus.redial()
		m.bus.hangUp()
	}
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(m.dir, "log"))
		m.Kill()
		return fmt.Errorf("start swtpm: %w: %s", err, log)
	}
	return nil
}

// Kill cuts the power: PCRs and sessions are lost, and the TPM answers nothing
// until Boot. Killing it twice is killing it once.
func (m *TPM) Kill() {
	m.bus.hangUp()
	if m.process == nil {
		return
	}
	_ = m.process.Process.Kill()
	_ = m.process.Wait() // says it was killed
	m.process = nil
}

// Cut is Kill and Boot.
func (m *TPM) Cut() error {
	m.Kill()
	return m.Boot()
}

// PowerCycle shuts down in order and starts: a TPM reset.
func (m *TPM) PowerCycle() error { return m.cycle(tpm2.TPMSUClear, tpm2.TPMSUClear) }

// Restart is Shutdown(STATE), a power cycle and Startup(CLEAR), as root can have
// it: PCRs are empty and resetCount is what it was.
func (m *TPM) Restart() error { return m.cycle(tpm2.TPMSUState, tpm2.TPMSUClear) }

// Resume is Shutdown(STATE), a power cycle and Startup(STATE), as suspend to RAM
// does it.
func (m *TPM) Resume() error { return m.cycle(tpm2.TPMSUState, tpm2.TPMSUState) }

func (m *TPM) cycle(down, up tpm2.TPMSU) error {
	if _, err := (tpm2.Shutdown{ShutdownType: down}).Execute(m.bus); err != nil {
		return fmt.Errorf("shut the tpm down: %w", err)
	}
	const stop, initialize = 14, 2 // swtpm's control commands
	if err := m.order(stop); err != nil {
		return err
	}
	if err := m.order(initialize, 0); err != nil {
		return err
	}
	if _, err := (tpm2.Startup{StartupType: up}).Execute(m.bus); err != nil {
		return fmt.Errorf("start the tpm up: %w", err)
	}
	return nil
}

// order sends a control command, big-endian words, and reads its result.
func (m *TPM) order(words ...uint32) error {
	conn, err := dial(m.control())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer limit(conn)()
	if err := binary.Write(conn, binary.BigEndian, words); err != nil {
		return fmt.Errorf("control swtpm: %w", err)
	}
	var result uint32
	if err := binary.Read(conn, binary.BigEndian, &result); err != nil {
		return fmt.Errorf("control swtpm: %w", err)
	}
	if result != 0 {
		return fmt.Errorf("control swtpm: command %d gives %#x", words[0], result)
	}
	return nil
}

// Clone gives the same TPM once more, as copying a virtual machine does: same
// keys, same counters, as of the last NV write.
func (m *TPM) Clone(t testing.TB) *TPM {
	t.Helper()
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := m.CopyState(dir); err != nil {
		t.Fatal(err)
	}
	c, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// CopyState copies what the TPM keeps over a power cut into another directory,
// from which New starts the same TPM as of now.
func (m *TPM) CopyState(dir string) error {
	for _, name := range []string{"tpm2-00.permall", authorityFile} {
		b, err := os.ReadFile(filepath.Join(m.dir, name))
		if errors.Is(err, os.ErrNotExist) && name == authorityFile {
			continue
		}
		if err != nil {
			return fmt.Errorf("copy the tpm's state: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return fmt.Errorf("copy the tpm's state: %w", err)
		}
	}
	return nil
}

// Handles lists the transient objects and sessions in the TPM, loaded and saved.
func (m *TPM) Handles() ([]tpm2.TPMHandle, error) {
	var all []tpm2.TPMHandle
	for _, first := range []uint32{0x80000000, 0x02000000, 0x03000000} {
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 64}.Execute(m.bus)
		if err != nil {
			return nil, fmt.Errorf("list handles: %w", err)
		}
		list, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			return nil, fmt.Errorf("list handles: %w", err)
		}
		all = append(all, list.Handle...)
	}
	return all, nil
}

// Close ends the process, and removes the state if Start made it.
func (m *TPM) Close() error {
	m.Kill()
	if m.owned {
		return os.RemoveAll(m.dir)
	}
	return nil
}

// bus is a connection that is made again after each failure.
type bus struct {
	path string
	mu   sync.Mutex
	conn net.Conn
}

func (b *bus) Send(command []byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	response, err := b.exchange(command)
	if err != nil && b.conn != nil {
		b.conn.Close()
		b.conn = nil
	}
	return response, err
}

func (b *bus) exchange(command []byte) ([]byte, error) {
	if err := b.connect(); err != nil {
		return nil, err
	}
	defer limit(b.conn)()
	if _, err := b.conn.Write(command); err != nil {
		return nil, err
	}
	header := make([]byte, 10)
	if _, err := io.ReadFull(b.conn, header); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(header[2:])
	if size < 10 || size > 4096 {
		return nil, fmt.Errorf("response says it has %d bytes", size)
	}
	response := append(header, make([]byte, size-10)...)
	_, err := io.ReadFull(b.conn, response[10:])
	return response, err
}

func (b *bus) connect() (err error) {
	if b.conn == nil {
		b.conn, err = dial(b.path)
	}
	return err
}

func (b *bus) redial() error {
	b.hangUp()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connect()
}

func (b *bus) hangUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		b.conn.Close()
		b.conn = nil
	}
}

// limit closes conn when patience ends before the function it returns is called.
func limit(conn net.Conn) (done func() bool) {
	return time.AfterFunc(patience, func() { conn.Close() }).Stop
}

// dial tries until somebody listens.
func dial(path string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var dialer net.Dialer
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		conn, err := dialer.DialContext(ctx, "unix", path)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-again.C:
		}
	}
}
