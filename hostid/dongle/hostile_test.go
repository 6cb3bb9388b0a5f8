package dongle

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/hostid/dongle/dongletest"
)

// ours says whether an error has a name of this package.
func ours(err error) bool {
	for _, e := range []error{ErrGone, ErrNoAnswer, ErrBusy, ErrTouch, ErrPIN, ErrOtherKey, ErrNotSupported, ErrMalformed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// A key that sends other reports than it should neither hangs nor confuses anybody, and when it behaves again its next answer counts.
func TestHostileReports(t *testing.T) {
	e, k, c, _ := enrolled(t)
	channel := func(r [][]byte) uint32 { return binary.BigEndian.Uint32(r[0]) }
	first := func(change func(r []byte) []byte) func([][]byte) [][]byte {
		return func(r [][]byte) [][]byte { r[0] = change(r[0]); return r }
	}
	for name, v := range map[string]struct {
		twist func([][]byte) [][]byte
		want  error // nil: the answer counts all the same
	}{
		"nothing":             {func([][]byte) [][]byte { return nil }, ErrNoAnswer},
		"a byte too few":      {first(func(r []byte) []byte { return r[:63] }), ErrMalformed},
		"a byte too many":     {first(func(r []byte) []byte { return append(r, 0) }), ErrMalformed},
		"one byte":            {first(func(r []byte) []byte { return r[:1] }), ErrMalformed},
		"another channel":     {func(r [][]byte) [][]byte { return dongletest.Reports(channel(r)+1, 0x10, []byte{0, 0xa0}) }, ErrNoAnswer},
		"the first only":      {func(r [][]byte) [][]byte { return r[:1] }, ErrNoAnswer},
		"the last is missing": {func(r [][]byte) [][]byte { return r[:len(r)-1] }, ErrNoAnswer},
		"the second missing":  {func(r [][]byte) [][]byte { return append(r[:1], r[2:]...) }, ErrMalformed},
		"the second twice":    {func(r [][]byte) [][]byte { return append(r[:2], r[1:]...) }, ErrMalformed},
		"the first twice":     {func(r [][]byte) [][]byte { return append(r[:1:1], r...) }, ErrMalformed},
		"in another order":    {func(r [][]byte) [][]byte { r[1], r[2] = r[2], r[1]; return r }, ErrMalformed},
		"the rest of another": {func(r [][]byte) [][]byte { return append([][]byte{append([]byte(nil), r[2]...)}, r...) }, nil},
		"7,609 bytes said":    {first(func(r []byte) []byte { r[5], r[6] = 0x1d, 0xb9; return r }), ErrNoAnswer},
		"7,610 bytes said":    {first(func(r []byte) []byte { r[5], r[6] = 0x1d, 0xba; return r }), ErrMalformed},
		"65,535 bytes said":   {first(func(r []byte) []byte { r[5], r[6] = 255, 255; return r }), ErrMalformed},
		"0 bytes said":        {func(r [][]byte) [][]byte { return dongletest.Reports(channel(r), 0x10, nil) }, ErrMalformed},
		"7,609 bytes sent":    {func(r [][]byte) [][]byte { return dongletest.Reports(channel(r), 0x10, make([]byte, MaxMessage)) }, ErrMalformed},
		"another command":     {first(func(r []byte) []byte { r[4] = 0x83; return r }), ErrMalformed},
		"a new channel":       {func(r [][]byte) [][]byte { return dongletest.Reports(channel(r), 0x06, make([]byte, 17)) }, ErrMalformed},
		"at work, and done":   {func(r [][]byte) [][]byte { return append(dongletest.Reports(channel(r), 0x3b, []byte{1}), r...) }, nil},
		"at work for ever": {func(r [][]byte) (all [][]byte) {
			for range 200 {
				all = append(all, dongletest.Reports(channel(r), 0x3b, []byte{1})...)
			}
			return all
		}, ErrNoAnswer},
		"at work in two bytes": {func(r [][]byte) [][]byte { return dongletest.Reports(channel(r), 0x3b, []byte{1, 1}) }, ErrMalformed},
		"wants to be touched":  {func(r [][]byte) [][]byte { return append(dongletest.Reports(channel(r), 0x3b, []byte{2}), r...) }, ErrTouch},
		"others are answered": {func(r [][]byte) (all [][]byte) {
			for i := range uint32(100) {
				all = append(all, dongletest.Reports(channel(r)+1+i, 0x10, make([]byte, 50))...)
			}
			return append(all, r...)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e.Become(func(e *dongletest.Key) { e.Twist = v.twist })
			a, err := k.Prove(within(t, soon), c, question(1))
			if !errors.Is(err, v.want) {
				t.Errorf("%v, want %v", err, v.want)
			}
			if _, wrong := c.Verify(question(1), a, 0); (err == nil) != (wrong == nil) {
				t.Errorf("the key says %v, and the answer is %v", err, wrong)
			}
			e.Become(func(e *dongletest.Key) { e.Twist = nil })
			if a, err = k.Prove(t.Context(), c, question(2)); err != nil {
				t.Fatalf("the next answer: %v", err)
			}
			if _, err := c.Verify(question(2), a, 0); err != nil {
				t.Errorf("the next answer: %v", err)
			}
		})
	}
}

// Whatever a key complains of has a name, and is no answer.
func TestEveryStatus(t *testing.T) {
	e, k, c, _ := enrolled(t)
	named := map[byte]error{0x06: ErrBusy, 0x27: ErrTouch, 0x2e: ErrOtherKey, 0x22: ErrOtherKey, 0x36: ErrPIN, 0x31: ErrPIN, 0x01: ErrNotSupported, 0x2b: ErrNotSupported, 0x11: ErrMalformed, 0x7f: ErrMalformed}
	for code := 1; code < 256; code++ {
		e.Become(func(e *dongletest.Key) { e.Alter = func(byte, []byte) []byte { return []byte{byte(code)} } })
		_, err := k.Prove(t.Context(), c, question(1))
		if !ours(err) || named[byte(code)] != nil && !errors.Is(err, named[byte(code)]) {
			t.Errorf("status %#02x: %v", code, err)
		}
	}
	e.Become(func(e *dongletest.Key) { e.Alter = nil })
	named = map[byte]error{0x01: ErrNotSupported, 0x02: ErrMalformed, 0x06: ErrBusy, 0x0b: ErrMalformed, 0x7f: ErrMalformed}
	for code, want := range named {
		e.Become(func(e *dongletest.Key) {
			e.Twist = func(r [][]byte) [][]byte {
				return dongletest.Reports(binary.BigEndian.Uint32(r[0]), 0x3f, []byte{code})
			}
		})
		if _, err := k.Prove(within(t, soon), c, question(1)); !errors.Is(err, want) {
			t.Errorf("error %#02x: %v, want %v", code, err, want)
		}
	}
}

// What is in an answer may be anything.
func TestHostileAnswers(t *testing.T) {
	e, k, c, _ := enrolled(t)
	good := func(real []byte) []byte { return append([]byte(nil), real...) }
	for name, v := range map[string]struct {
		alter func(real []byte) []byte
		want  error
	}{
		"no map":                {func([]byte) []byte { return []byte{0} }, ErrMalformed},
		"a number":              {func([]byte) []byte { return []byte{0, 1} }, ErrMalformed},
		"a byte more":           {func(b []byte) []byte { return append(good(b), 0) }, ErrMalformed},
		"without end":           {func(b []byte) []byte { return append([]byte{0, 0xbf}, append(b[2:], 0xff)...) }, ErrMalformed},
		"4 billion pairs":       {func([]byte) []byte { return []byte{0, 0xba, 255, 255, 255, 255} }, ErrMalformed},
		"2^63 bytes":            {func([]byte) []byte { return []byte{0, 0xa1, 2, 0x5b, 0x7f, 255, 255, 255, 255, 255, 255, 255} }, ErrMalformed},
		"1,000 arrays deep":     {func([]byte) []byte { return append([]byte{0}, []byte(strings.Repeat("\x81", 1000)+"\x00")...) }, ErrMalformed},
		"a field twice":         {func([]byte) []byte { return []byte("\x00\xa2\x02\x40\x02\x40") }, ErrMalformed},
		"a text for bytes":      {func([]byte) []byte { return []byte("\x00\xa1\x02\x61x") }, ErrMalformed},
		"a tag":                 {func([]byte) []byte { return []byte("\x00\xa1\x02\xc2\x41x") }, ErrMalformed},
		"a bignum key":          {func([]byte) []byte { return []byte("\x00\xa1\xc2\x41\x02\x41x") }, ErrMalformed},
		"a number as an object": {func([]byte) []byte { return []byte("\x00\xa1\x01\x05") }, ErrMalformed},
		"another credential": {func([]byte) []byte {
			return []byte("\x00\xa3\x01\xa2\x62id\x41x\x64type\x6apublic-key\x02\x40\x03\x40")
		}, ErrOtherKey},
	} {
		e.Become(func(e *dongletest.Key) { e.Alter = func(_ byte, b []byte) []byte { return v.alter(b) } })
		if a, err := k.Prove(t.Context(), c, question(1)); !errors.Is(err, v.want) {
			t.Errorf("%s: %+v, %v, want %v", name, a, err, v.want)
		}
	}
	for _, cut := range []int{1, 2, 3, 10, 50, 100, 120} {
		e.Become(func(e *dongletest.Key) { e.Alter = func(_ byte, b []byte) []byte { return b[:cut] } })
		if _, err := k.Prove(t.Context(), c, question(1)); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut after %d bytes: %v", cut, err)
		}
	}
	// An answer that is whole and wrong is hostid's to judge, and Prove over all keys does.
	e.Become(func(e *dongletest.Key) { e.Alter = func(_ byte, b []byte) []byte { b[len(b)-1] ^= 1; return b } })
	a, err := k.Prove(t.Context(), c, question(1))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Verify(question(1), a, 0); err == nil {
		t.Errorf("believed, counter %d", n)
	}
}

// Messages of every length come through, and none that is too long.
func TestFrames(t *testing.T) {
	for n := range MaxMessage + 1 {
		message := make([]byte, n)
		for i := range message {
			message[i] = byte(i * 7)
		}
		in := inbox{channel: 0x01020304}
		reports := split(0x01020304, cmdCBOR, message)
		for i, r := range reports {
			done, err := in.take(r[:])
			if err != nil || done != (i == len(reports)-1) {
				t.Fatalf("%d bytes, report %d: %v, %v", n, i, done, err)
			}
		}
		if in.command != cmdCBOR || string(in.message) != string(message) {
			t.Fatalf("%d bytes come back as %d", n, len(in.message))
		}
		theirs := dongletest.Reports(0x01020304, 0x10, message)
		for i, r := range reports {
			if len(theirs) != len(reports) || string(theirs[i]) != string(r[:]) {
				t.Fatalf("%d bytes: report %d is %x and %x", n, i, r, theirs[i])
			}
		}
	}
	if MaxMessage != 7609 {
		t.Error(MaxMessage)
	}
	in := inbox{channel: 1}
	r := [reportBytes]byte{3: 1, 4: cmdCBOR, 5: 0x1d, 6: 0xba}
	if _, err := in.take(r[:]); !errors.Is(err, ErrMalformed) {
		t.Errorf("7,610 bytes: %v", err)
	}
}

// The bytes on the wire, so that both sides of these tests cannot be wrong in the same way: CTAP 2.1, 11.2.4.
func TestFrameBytes(t *testing.T) {
	r := split(0xa1a2a3a4, cmdCBOR, []byte(strings.Repeat("x", 57)+strings.Repeat("y", 59)+"z"))
	for i, want := range []string{
		"\xa1\xa2\xa3\xa4" + "\x90" + "\x00\x75" + strings.Repeat("x", 57), // channel, command, 117 bytes
		"\xa1\xa2\xa3\xa4" + "\x00" + strings.Repeat("y", 59),              // channel, sequence
		"\xa1\xa2\xa3\xa4" + "\x01" + "z" + strings.Repeat("\x00", 58),
	} {
		if len(r) != 3 || string(r[i][:]) != want {
			t.Errorf("report %d: %x", i, r[i])
		}
	}
}

// FuzzReports gives the reader any reports.
func FuzzReports(f *testing.F) {
	for _, n := range []int{0, 1, 57, 58, 200} {
		var all []byte
		for _, r := range split(1, cmdCBOR, make([]byte, n)) {
			all = append(all, r[:]...)
		}
		f.Add(all, 64)
	}
	f.Add([]byte("short"), 5)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		in := inbox{channel: 1}
		size = 1 + int(uint(size)%65)
		for len(b) > 0 {
			n := min(size, len(b))
			done, err := in.take(b[:n])
			b = b[n:]
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Fatal(err)
				}
				in = inbox{channel: 1}
				continue
			}
			if len(in.message) > MaxMessage || done && len(in.message) != in.want {
				t.Fatalf("%d bytes of %d", len(in.message), in.want)
			}
		}
	})
}

// FuzzDecode gives the decoder any answer.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\xa2\x02\x40\x03\x40"))
	f.Add([]byte("\xa2\x01\x81\x68FIDO_2_0\x03\x50xxxxxxxxxxxxxxxx"))
	f.Add([]byte{0xbf})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []any{&Info{}, &makeReply{}, &assertReply{}} {
			if err := decode(b, v); err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("%T: %v", v, err)
			}
		}
	})
}

// FuzzDescriptor gives the parser of report descriptors anything.
func FuzzDescriptor(f *testing.F) {
	f.Add(fidoDescriptor())
	f.Add([]byte{0xfe, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := speaksFIDO(b); err != nil && !errors.Is(err, ErrNotSupported) {
			t.Error(fmt.Errorf("%x: %w", b, err))
		}
	})
}

// A key that takes nothing keeps nobody waiting, though its device minds no deadline, as hidraw does not.
func TestWriteThatHangs(t *testing.T) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	far, near := os.NewFile(uintptr(ends[0]), "far"), os.NewFile(uintptr(ends[1]), "near")
	defer near.Close()
	defer far.Close() // first, which ends the write
	for err == nil {  // until it takes no more
		_, err = unix.Write(ends[1], make([]byte, reportBytes+1))
	}
	raw, err := near.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { err = unix.SetNonblock(int(fd), false) })
	}
	if err != nil {
		t.Fatal(err)
	}
	k := Over(near)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- k.during(ctx, func() error { return k.send(1, cmdCBOR, []byte{4}) }) }()
	select {
	case err := <-ended:
		if !errors.Is(err, ErrNoAnswer) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the call hangs with the device")
	}
}
