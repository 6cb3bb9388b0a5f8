// Package dongletest is a security key for tests: a FIDO2 authenticator with its own framing and its own reading of the standard (CTAP 2.1), behind a socket that
// behaves like a hidraw device. It shares no line with package dongle, so that an error in one cannot hide the same in the other.
//
// Start with New and Key.Plug. Its fields make it an unusual key or a hostile one.
package dongletest

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Statuses and commands that tests speak of.
const (
	CommandMake   byte = 0x01
	CommandAssert byte = 0x02
	CommandInfo   byte = 0x04

	Processing  byte = 1 // status of a keepalive
	NeedsTouch  byte = 2
	HIDBusy     byte = 0x06
	StatusNoKey byte = 0x2e
)

// Key is one emulated security key. Its fields are set before it is plugged in, or with Become.
type Key struct {
	AAGUID     [16]byte
	Counter    uint32 // of the last answer
	Step       uint32 // by how much the counter grows with every answer; 0: not at all
	Untouched  bool   // nobody touches it
	Insists    bool   // it wants to be touched for every answer
	PIN        bool   // it has one and asks for it before it makes a credential
	AlwaysPIN  bool   // and before every answer
	SilentZero bool   // its counter is zero in answers that nobody touched it for
	MaxMessage int    // bytes of a message; 0: 1200
	U2F        bool   // it knows no CTAP 2
	Terse      bool   // it leaves out of an answer what it may leave out
	Busy       int    // this many messages are answered with "busy"
	Forgetful  int    // this many messages are answered with "I do not know your channel"
	Flags      byte   // more flags in its answers

	// Alter changes an answer of CTAP 2 before it is sent, status byte first; nil changes nothing. An answer of no bytes is not sent.
	Alter func(command byte, answer []byte) []byte
	// Twist changes the reports of an answer of CTAP 2; nil changes nothing. What it returns is sent, whatever its length.
	Twist func(reports [][]byte) [][]byte

	mu          sync.Mutex
	credentials map[string]credential
	handles     map[*handle]bool
	channels    uint32
	busy        *pending
	canceled    int
	answered    int
}

// handle is one program that has the key open.
type handle struct {
	file  *os.File
	inbox map[uint32]*message
}

// message is one that comes in, by its channel.
type message struct {
	command byte
	body    []byte
	want    int
	next    byte
}

// pending is a command that waits for a touch.
type pending struct {
	channel uint32
	finish  func()
}

// New makes a key with no credentials, whose counter counts.
func New() *Key {
	return &Key{AAGUID: [16]byte([]byte("leasehold-tests.")), Counter: 7, Step: 1, credentials: map[string]credential{}, handles: map[*handle]bool{}}
}

// Copy is another key with the same secrets: what nobody should be able to make. It is not plugged in.
func (k *Key) Copy() *Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := New()
	c.AAGUID, c.Counter, c.Step = k.AAGUID, k.Counter, k.Step
	for id, secret := range k.credentials {
		c.credentials[id] = secret
	}
	return c
}

// Pretend is another key that claims the credentials of k without having their secrets.
func (k *Key) Pretend() (*Key, error) {
	c := k.Copy()
	for id, secret := range c.credentials {
		other, err := newSecret()
		if err != nil {
			return nil, err
		}
		c.credentials[id] = credential{secret.party, other}
	}
	return c, nil
}

// Become changes the fields of a key that is plugged in.
func (k *Key) Become(change func(*Key)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(k)
}

// Plug opens the key, as a program opens its hidraw device; several may.
func (k *Key) Plug() (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	h := &handle{file: os.NewFile(uintptr(fds[1]), "emulated security key"), inbox: map[uint32]*message{}}
	k.mu.Lock()
	k.handles[h] = true
	k.mu.Unlock()
	go k.serve(h)
	return os.NewFile(uintptr(fds[0]), "security key"), nil
}

// Unplug ends every use of the key. What it was doing is forgotten; Plug plugs it in again.
func (k *Key) Unplug() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var err error
	for h := range k.handles {
		err = errors.Join(err, h.file.Close())
		delete(k.handles, h)
	}
	k.busy = nil
	return err
}

// Canceled is how many questions were taken back.
func (k *Key) Canceled() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.canceled
}

// Answered is how many commands of CTAP 2 were answered with success.
func (k *Key) Answered() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.answered
}

func (k *Key) serve(h *handle) {
	var b [128]byte
	for {
		n, err := h.file.Read(b[:])
		if err != nil || n == 0 {
			break
		}
		k.mu.Lock()
		k.report(h, b[:n])
		k.mu.Unlock()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.handles[h] {
		delete(k.handles, h)
		_ = h.file.Close() // its program closed the other end
	}
}

// report takes one output report: CTAP 2.1, 11.2.4.
func (k *Key) report(h *handle, b []byte) {
	if len(b) != 65 || b[0] != 0 {
		return // hidraw would write it to nobody
	}
	channel, rest := binary.BigEndian.Uint32(b[1:]), b[5:]
	if rest[0]&0x80 != 0 {
		m := &message{command: rest[0] &^ 0x80, want: int(binary.BigEndian.Uint16(rest[1:]))}
		if m.command != 0x06 && (channel == 0xffffffff || channel == 0 || channel > k.channels) {
			k.complain(channel, 0x0b)
			return
		}
		if m.want > 7609 {
			k.complain(channel, 0x03)
			return
		}
		m.body = append(m.body, rest[3:min(len(rest), 3+m.want)]...)
		h.inbox[channel] = m
	} else {
		m := h.inbox[channel]
		if m == nil {
			return
		}
		if rest[0] != m.next {
			delete(h.inbox, channel)
			k.complain(channel, 0x04)
			return
		}
		m.next++
		m.body = append(m.body, rest[1:min(len(rest), 1+m.want-len(m.body))]...)
	}
	if m := h.inbox[channel]; len(m.body) >= m.want {
		delete(h.inbox, channel)
		k.handle(channel, m)
	}
}

// handle does a whole message.
func (k *Key) handle(channel uint32, m *message) {
	switch {
	case m.command == 0x06 && len(m.body) == 8: // INIT
		k.channels++
		b := binary.BigEndian.AppendUint32(append([]byte(nil), m.body...), k.channels)
		capabilities := byte(0x04)
		if k.U2F {
			capabilities = 0 // no CBOR
		}
		k.send(channel, 0x06, append(b, 2, 1, 0, 0, capabilities), nil)
	case m.command == 0x11: // CANCEL
		if k.busy != nil && k.busy.channel == channel {
			k.busy = nil
			k.canceled++
			k.send(channel, 0x10, []byte{0x2d}, nil)
		}
	case k.Busy > 0:
		k.Busy--
		k.complain(channel, HIDBusy)
	case k.Forgetful > 0:
		k.Forgetful--
		k.complain(channel, 0x0b)
	case k.busy != nil:
		k.complain(channel, HIDBusy)
	case m.command == 0x10 && len(m.body) > 0 && !k.U2F: // CBOR
		k.ctap(channel, m.body[0], m.body[1:])
	default:
		k.complain(channel, 0x01)
	}
}

func (k *Key) complain(channel uint32, code byte) { k.send(channel, 0x3f, []byte{code}, nil) }

// keepalive says that the key is alive, as it does every 100 ms while it works.
func (k *Key) keepalive(channel uint32, status byte) { k.send(channel, 0x3b, []byte{status}, nil) }

// Reports cuts a message into input reports.
func Reports(channel uint32, command byte, body []byte) [][]byte {
	first := make([]byte, 64)
	binary.BigEndian.PutUint32(first, channel)
	first[4] = command | 0x80
	first[5], first[6] = byte(len(body)>>8), byte(len(body))
	rest := body[copy(first[7:], body):]
	reports := [][]byte{first}
	for i := 0; len(rest) > 0; i++ {
		r := make([]byte, 64)
		binary.BigEndian.PutUint32(r, channel)
		r[4] = byte(i)
		rest = rest[copy(r[5:], rest):]
		reports = append(reports, r)
	}
	return reports
}

// send writes a message to every program that has the key open, as hidraw does, and drops it where one does not read.
func (k *Key) send(channel uint32, command byte, body []byte, twist func([][]byte) [][]byte) {
	reports := Reports(channel, command, body)
	if twist != nil {
		reports = twist(reports)
	}
	for h := range k.handles {
		raw, err := h.file.SyscallConn()
		if err != nil {
			continue
		}
		for _, r := range reports {
			_ = raw.Write(func(fd uintptr) bool { _, _ = unix.Write(int(fd), r); return true })
		}
	}
}
