// Package dongle speaks with security keys: FIDO2 authenticators on USB, which prove that they are there by answering a challenge with a key that nobody can copy
// out of them. hostid says what an answer is worth and when one is due; here is only how it is got.
//
// Start with List, which finds the keys that are plugged in, Key.Enroll, for which somebody must touch one, and Prove, which asks silently.
//
// It speaks CTAP 2 over CTAPHID (FIDO Alliance, Client to Authenticator Protocol 2.1) on a Linux hidraw device, and of that only what a dongle needs: it
// knows no PIN, no keys that live on the authenticator, no extension. Whatever a key sends is bounded before it is believed, and every call ends: after
// hostid.MaxWithin where nobody needs to touch anything, after TouchWithin where somebody does.
package dongle

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/leasehold/leasehold/hostid"
)

// TouchWithin is how long Enroll waits for somebody to touch the key. Most keys give up after half of it.
const TouchWithin = time.Minute

const (
	cancelWithin = 100 * time.Millisecond // for telling a key that nobody waits any more
	busyPause    = 20 * time.Millisecond  // before a busy key is asked again
	stale        = 256                    // reports thrown away before a question; the kernel keeps 64
)

// What can be wrong with a key. Every error of this package has one of these in it, or the context's.
var (
	ErrGone         = errors.New("the security key is not plugged in")
	ErrNoAnswer     = errors.New("the security key does not answer in time")
	ErrBusy         = errors.New("another program is using the security key")
	ErrTouch        = errors.New("the security key was not touched")
	ErrPIN          = errors.New("the security key asks for its PIN")
	ErrOtherKey     = errors.New("another security key than the one enrolled")
	ErrNotSupported = errors.New("the device is no security key that could be a dongle")
	ErrMalformed    = errors.New("malformed message of a security key")
)

// errChannel: the key was reset, and has forgotten our channel.
var errChannel = errors.New("the security key does not know its channel")

// Key is one security key that is plugged in, and opened. It is used by one goroutine at a time.
type Key struct {
	file    *os.File
	channel uint32 // 0 before the first call, and after each that went wrong: what then comes late finds no reader
	info    Info
	known   bool            // info was read
	ends    <-chan struct{} // of the call that is under way; nil: never
	vendor  uint16
	product uint16
	serial  string
}

// Over speaks with a key over anything that behaves like a hidraw device: a write is a zero byte and a report, a read is a report, deadlines work. Close closes it.
func Over(f *os.File) *Key { return &Key{file: f} }

// Close ends the use of the key, and every call that is under way.
func (k *Key) Close() error { return k.file.Close() }

// Wait returns when the key is unplugged, with ErrGone, or the context ends. It needs a Key of its own: it throws away whatever is read.
func (k *Key) Wait(ctx context.Context) error {
	return k.during(ctx, func() error {
		var report [reportBytes + 1]byte
		for {
			if _, err := k.file.Read(report[:]); err != nil {
				return err
			}
		}
	})
}

// during does what reads and writes, and makes it end with the context.
func (k *Key) during(ctx context.Context, do func() error) error {
	deadline, _ := ctx.Deadline() // the zero time where there is none, and that is no deadline either
	if err := k.file.SetDeadline(deadline); errors.Is(err, os.ErrNoDeadline) {
		return named(err)
	} else if err != nil {
		return ErrGone // it was closed, which a deadline says in words of its own
	}
	k.ends = ctx.Done()
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = k.file.SetDeadline(time.Unix(1, 0)) // long past; it fails on a file that was closed, which ends all calls as well
	})
	err := do()
	if !stop() {
		<-ended // or it would end the next call
	}
	if err != nil {
		k.channel = 0
		if errors.Is(err, os.ErrDeadlineExceeded) && errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
	}
	return named(err)
}

// named gives an error of the system one of our names.
func named(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrMalformed), errors.Is(err, ErrNotSupported): // whatever the cause in it, it was no end of the device
		return err
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return ErrNoAnswer
	case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed), errors.Is(err, os.ErrNotExist),
		errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return ErrGone
	case errors.Is(err, os.ErrNoDeadline), errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	return err
}

// command sends one message of CTAPHID_CBOR and gives the answer. touch is called once if the key waits to be touched; without it such a key is told to
// forget the question.
func (k *Key) command(ctx context.Context, message []byte, touch func()) ([]byte, error) {
	for busy, again := false, true; ; {
		answer, err := k.exchange(ctx, message, touch)
		switch {
		case errors.Is(err, ErrBusy):
			k.channel, busy = 0, true
			pause := time.NewTimer(busyPause)
			select {
			case <-ctx.Done():
				pause.Stop()
				if errors.Is(ctx.Err(), context.Canceled) {
					return nil, ctx.Err()
				}
				return nil, err
			case <-pause.C:
			}
		case errors.Is(err, errChannel) && again:
			k.channel, again = 0, false
		case errors.Is(err, errChannel):
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		case busy && errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(ctx.Err(), context.Canceled):
			return nil, ErrBusy
		default:
			return answer, err
		}
	}
}

func (k *Key) exchange(ctx context.Context, message []byte, touch func()) ([]byte, error) {
	if err := k.drain(); err != nil {
		return nil, err
	}
	if k.channel == 0 {
		if err := k.allocate(); err != nil {
			return nil, err
		}
	}
	if err := k.send(k.channel, cmdCBOR, message); err != nil {
		return nil, err
	}
	waits := false // for a touch
	answer, err := k.receive(k.channel, cmdCBOR, func(status byte) error {
		const needsTouch = 2
		if status != needsTouch || waits {
			return nil
		}
		waits = true
		if touch == nil {
			return ErrTouch
		}
		touch()
		return nil
	})
	if errors.Is(err, ErrTouch) || errors.Is(err, os.ErrDeadlineExceeded) {
		k.cancel(ctx)
		if waits && !errors.Is(ctx.Err(), context.Canceled) {
			err = ErrTouch
		}
	}
	return answer, err
}

// drain throws away what was sent to others since the last call: hidraw keeps 64 reports for us and then drops new ones, which could be our answer.
func (k *Key) drain() error {
	raw, err := k.file.SyscallConn()
	if err != nil {
		return err
	}
	var report [reportBytes + 1]byte
	var last error
	for range stale {
		n := 0
		err := raw.Read(func(fd uintptr) bool { n, last = readOnce(fd, report[:]); return true })
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		} else if err != nil {
			return ErrGone // closed
		}
		if last == nil && n == 0 {
			return io.EOF
		}
		if last != nil {
			break
		}
	}
	if last == syscall.EAGAIN || last == syscall.EINTR {
		return nil
	}
	return last
}

// allocate asks for a channel: CTAP 2.1, 11.2.9.1.3. Several programs may ask at the same time, so the answer is known by its nonce.
func (k *Key) allocate() error {
	const speaksCBOR = 0x04
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails
	if err := k.send(broadcast, cmdInit, nonce[:]); err != nil {
		return err
	}
	for {
		b, err := k.receive(broadcast, cmdInit, nil)
		if err != nil {
			return err
		}
		if len(b) < 17 {
			return fmt.Errorf("%w: a channel in %d bytes where there must be 17", ErrMalformed, len(b))
		}
		if [8]byte(b) != nonce {
			continue
		}
		channel := binary.BigEndian.Uint32(b[8:])
		if channel == 0 || channel == broadcast {
			return fmt.Errorf("%w: channel %#08x", ErrMalformed, channel)
		}
		if b[16]&speaksCBOR == 0 {
			return fmt.Errorf("%w: it knows U2F only", ErrNotSupported)
		}
		k.channel = channel
		return nil
	}
}

func (k *Key) send(channel uint32, command byte, message []byte) error {
	for _, r := range split(channel, command, message) {
		numbered := append([]byte{0}, r[:]...) // its reports have no number, which hidraw wants to hear
		if err := k.write(numbered); err != nil {
			return err
		}
	}
	return nil
}

// write ends with the call that it is for. The kernel's hidraw does not: it waits up to five seconds for a key that takes nothing, whatever deadline the file has. Such a write
// ends by itself some time, and the next one waits for it, with its own end.
func (k *Key) write(report []byte) error {
	written := make(chan error, 1)
	go func() {
		_, err := k.file.Write(report)
		written <- err
	}()
	select {
	case err := <-written:
		return err
	case <-k.ends:
		return os.ErrDeadlineExceeded
	}
}

// receive waits for an answer to a command. alive hears what the key is busy with, and may end the wait.
func (k *Key) receive(channel uint32, command byte, alive func(status byte) error) ([]byte, error) {
	in := inbox{channel: channel}
	var report [reportBytes + 1]byte
	for {
		n, err := k.file.Read(report[:])
		if err != nil {
			return nil, err
		}
		done, err := in.take(report[:n])
		if err != nil {
			return nil, err
		}
		if !done {
			continue
		}
		switch {
		case in.command == command:
			return in.message, nil
		case in.command == cmdKeepalive && len(in.message) == 1 && alive != nil:
			if err := alive(in.message[0]); err != nil {
				return nil, err
			}
		case in.command == cmdError && len(in.message) == 1:
			return nil, refusal(in.message[0])
		default:
			return nil, fmt.Errorf("%w: %d bytes of message %#02x in answer to %#02x", ErrMalformed, len(in.message), in.command, command)
		}
	}
}

// refusal names an error of CTAPHID: CTAP 2.1, 11.2.9.1.6.
func refusal(code byte) error {
	switch code {
	case 0x01:
		return fmt.Errorf("%w: it does not know the command", ErrNotSupported)
	case 0x06:
		return ErrBusy
	case 0x0b:
		return errChannel
	}
	return fmt.Errorf("%w: it complains of error %#02x in our message", ErrMalformed, code)
}

// cancel tells the key that nobody waits for an answer any more. That it may not hear it changes nothing.
func (k *Key) cancel(ctx context.Context) {
	late, end := context.WithTimeout(context.WithoutCancel(ctx), cancelWithin)
	defer end()
	deadline, _ := late.Deadline()
	k.ends = late.Done()
	if k.file.SetWriteDeadline(deadline) == nil {
		_ = k.send(k.channel, cmdCancel, nil)
	}
}

// silent bounds a call for which nobody needs to touch anything.
func silent(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, hostid.MaxWithin)
}
