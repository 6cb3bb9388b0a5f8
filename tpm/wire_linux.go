package tpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// wire is a file descriptor to a TPM: a device, or a stream socket of a software
// TPM. Both are used in blocking mode. In a device the command runs inside
// write(2), which a signal may interrupt before it began; O_NONBLOCK with polling,
// as others do it, loses answers or takes one command's answer for another's.
//
// After any error the descriptor is closed and the next command opens another, so
// that a late answer is never read as the next one's.
type wire struct {
	open    func() (int, error)
	fd      int // -1 when closed
	socket  bool
	timeout time.Duration // on a socket, for each read and write
	ended   bool          // by Close
}

const replyTimeout = 15 * time.Second // a driver has its own

func dial(address string, timeout time.Duration) (*wire, error) {
	w := &wire{fd: -1, timeout: timeout}
	switch kind, rest, found := strings.Cut(address, ":"); {
	case found && kind == "unix":
		w.socket = true
		w.open = func() (int, error) {
			return uninterrupted(func() (int, error) { return connect(unix.AF_UNIX, timeout, &unix.SockaddrUnix{Name: rest}) })
		}
	case found && kind == "tcp":
		at, err := netip.ParseAddrPort(rest)
		if err != nil {
			return nil, fmt.Errorf("want an IP address and a port after tcp: %w", err)
		}
		w.socket = true
		w.open = func() (int, error) {
			return uninterrupted(func() (int, error) {
				if at.Addr().Is4() {
					return connect(unix.AF_INET, timeout, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
				}
				return connect(unix.AF_INET6, timeout, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()})
			})
		}
	default:
		w.open = func() (int, error) {
			return uninterrupted(func() (int, error) { return unix.Open(address, unix.O_RDWR|unix.O_CLOEXEC, 0) })
		}
	}
	if err := w.pickUp(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return w, nil
}

func connect(family int, timeout time.Duration, to unix.Sockaddr) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	limit := unix.NsecToTimeval(int64(timeout))
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit))
	if err == nil {
		// An interrupted connect goes on by itself; the caller takes a new socket.
		err = unix.Connect(fd, to)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (w *wire) pickUp() error {
	if w.ended {
		return errors.New("the tpm was closed")
	}
	if w.fd >= 0 {
		return nil
	}
	fd, err := w.open()
	if err != nil {
		return err
	}
	w.fd = fd
	return nil
}

func (w *wire) hangUp() {
	if w.fd >= 0 {
		unix.Close(w.fd)
		w.fd = -1
	}
}

// Close ends the wire for good.
func (w *wire) Close() error {
	w.hangUp()
	w.ended = true
	return nil
}

// Send writes one command and reads its response.
func (w *wire) Send(command []byte) ([]byte, error) {
	if err := w.pickUp(); err != nil {
		return nil, err
	}
	response, err := w.exchange(command)
	if err == nil {
		err = checkFrame(response)
	}
	if err != nil {
		w.hangUp()
		return nil, err
	}
	return response, nil
}

func (w *wire) exchange(command []byte) ([]byte, error) {
	for rest := command; len(rest) > 0; {
		n, err := uninterrupted(func() (int, error) { return w.write(rest) })
		if err != nil {
			return nil, fmt.Errorf("send a command: %w", err)
		}
		if !w.socket && n != len(command) {
			return nil, fmt.Errorf("send a command: %w", io.ErrShortWrite)
		}
		rest = rest[n:]
	}
	var buffer [maxFrame]byte // on the stack: a response is kept at its own size
	response := buffer[:]
	if !w.socket { // a driver hands out a response in one read
		n, err := uninterrupted(func() (int, error) { return unix.Read(w.fd, response) })
		if err != nil {
			return nil, fmt.Errorf("read a response: %w", err)
		}
		return bytes.Clone(response[:n]), nil
	}
	if err := w.fill(response[:headerBytes]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(response[2:])
	if size < headerBytes || size > maxFrame {
		return nil, fmt.Errorf("read a response: it says it has %d bytes, want %d to %d", size, headerBytes, maxFrame)
	}
	if err := w.fill(response[headerBytes:size]); err != nil {
		return nil, err
	}
	return bytes.Clone(response[:size]), nil
}

func (w *wire) write(b []byte) (int, error) {
	if w.socket {
		return unix.SendmsgN(w.fd, b, nil, nil, unix.MSG_NOSIGNAL)
	}
	return unix.Write(w.fd, b)
}

func (w *wire) fill(b []byte) error {
	for len(b) > 0 {
		n, err := uninterrupted(func() (int, error) { return unix.Read(w.fd, b) })
		switch {
		case errors.Is(err, unix.EAGAIN):
			return fmt.Errorf("read a response: none within %v", w.timeout)
		case err != nil:
			return fmt.Errorf("read a response: %w", err)
		case n == 0:
			return fmt.Errorf("read a response: %w", io.ErrUnexpectedEOF)
		}
		b = b[n:]
	}
	return nil
}

// uninterrupted repeats a system call that a signal interrupted.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
