package tpm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// server answers on a socket: script gets the number of the connection and each
// command, and returns what to write; nil hangs up.
func server(t *testing.T, network string, script func(connection int, command []byte) []byte) (address string) {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "lh")
		must(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		at = filepath.Join(dir, "s")
	}
	l, err := net.Listen(network, at)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			for {
				b := make([]byte, 4096)
				k, err := conn.Read(b)
				if err != nil {
					break
				}
				answer := script(n, b[:k])
				if answer == nil {
					conn.Close()
					break
				}
				for _, piece := range answer { // in the smallest pieces
					if _, err := conn.Write([]byte{piece}); err != nil {
						break
					}
				}
			}
		}
	}()
	return network + ":" + l.Addr().String()
}

// answer is a good response to anything that Open and Clock send.
func answer(command []byte) []byte {
	b := tpmtest.Refusal(0)
	switch tpmtest.Command(command) {
	case tpm2.TPMCCGetCapability:
		b = append(b, 0)                        // no more data
		b = binary.BigEndian.AppendUint32(b, 1) // handles
		b = binary.BigEndian.AppendUint32(b, 0) // none
	case tpm2.TPMCCReadClock:
		b = append(b, make([]byte, 8+8+4+4+1)...)
		b[25] = 77 // the clock's last byte
	}
	binary.BigEndian.PutUint32(b[2:], uint32(len(b)))
	return b
}

func TestSocket(t *testing.T) {
	long := append(tpmtest.Refusal(0), make([]byte, 4090)...)
	binary.BigEndian.PutUint32(long[2:], uint32(len(long)))
	huge := tpmtest.Refusal(0)
	binary.BigEndian.PutUint32(huge[2:], 1<<31)
	tiny := tpmtest.Refusal(0)
	binary.BigEndian.PutUint32(tiny[2:], 9)
	for _, network := range []string{"unix", "tcp"} {
		for name, bad := range map[string][]byte{
			"hangs up": nil, "header cut short": tpmtest.Refusal(0)[:7], "body cut short": {0x80, 1, 0, 0, 0, 20, 0, 0, 0, 0, 1},
			"longer than a frame": long, "two gigabytes": huge, "nine bytes": tiny, "silence": {},
		} {
			t.Run(network+" "+name, func(t *testing.T) {
				clocks := 0
				address := server(t, network, func(_ int, command []byte) []byte {
					if tpmtest.Command(command) == tpm2.TPMCCReadClock {
						if clocks++; clocks == 1 {
							return bad
						}
					}
					return answer(command)
				})
				d, err := tpm.OpenWithin(address, 100*time.Millisecond)
				must(t, err)
				defer d.Close()
				if _, err := d.Clock(); !errors.Is(err, tpm.ErrUnavailable) {
					t.Errorf("%v, want %v", err, tpm.ErrUnavailable)
				}
				// On a new connection, so that no late byte is taken for this answer.
				if c, err := d.Clock(); err != nil || c.Elapsed != 77*time.Millisecond {
					t.Errorf("then %+v, %v", c, err)
				}
			})
		}
	}
}

func TestOpenNothing(t *testing.T) {
	dir, err := os.MkdirTemp("", "lh")
	must(t, err)
	defer os.RemoveAll(dir)
	for _, address := range []string{
		filepath.Join(dir, "absent"), "unix:" + filepath.Join(dir, "absent"), "unix:" + string(bytes.Repeat([]byte("x"), 200)),
		"tcp:127.0.0.1:1", "/dev/null", "/dev/zero", "/dev/full", "",
	} {
		if d, err := tpm.Open(address); !errors.Is(err, tpm.ErrUnavailable) {
			t.Errorf("open %q: %v, %v, want %v", address, d, err, tpm.ErrUnavailable)
		}
	}
	if _, err := tpm.Open("tcp:localhost"); err == nil {
		t.Error("open tcp:localhost without a port")
	}
}

// TestDeviceFile uses a FIFO, which gives back what was written, as a device: one
// write and one read a command, under a storm of signals.
func TestDeviceFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	must(t, syscall.Mkfifo(path, 0o600))
	// Startup's own bytes come back as its response: its code is no success but
	// the command code 0x144, and so it is refused, by name.
	if _, err := tpm.Open(path); err == nil {
		t.Fatal("an echo passes for a TPM")
	}
	d := tpm.OverFile(path)
	defer d.Close()
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				syscall.Kill(os.Getpid(), syscall.SIGURG)
			}
		}
	}()
	for i := range uint32(5000) {
		frame := binary.BigEndian.AppendUint32(tpmtest.Refusal(0), i)
		binary.BigEndian.PutUint32(frame[2:], uint32(len(frame)))
		got, err := d.RawSend(frame)
		if err != nil || !bytes.Equal(got, frame) {
			t.Fatalf("command %d: %x, %v", i, got, err)
		}
	}
	close(stop)
	<-stopped
	// A response longer than a frame: what is left of it goes with the descriptor.
	long := append(tpmtest.Refusal(0), make([]byte, 4990)...)
	binary.BigEndian.PutUint32(long[2:], uint32(len(long)))
	if got, err := d.RawSend(long); !errors.Is(err, tpm.ErrUnavailable) {
		t.Errorf("a response of %d bytes: %v", len(got), err)
	}
	if got, err := d.RawSend(tpmtest.Refusal(7)); err != nil || !bytes.Equal(got, tpmtest.Refusal(7)) {
		t.Errorf("then: %x, %v", got, err)
	}
}

func TestNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := tpmtest.New(t.TempDir()); !errors.Is(err, tpmtest.ErrNotInstalled) {
		t.Errorf("%v, want %v", err, tpmtest.ErrNotInstalled)
	}
}
