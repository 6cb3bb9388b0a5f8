package dongle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/hostid/dongle/dongletest"
)

// soon is how long tests wait for a key that will not answer.
const soon = 60 * time.Millisecond

func appliance() hostid.ID {
	return hostid.ID{Type: hostid.TPMEK, Value: strings.Repeat("7F", 32)}
}

func question(n byte) hostid.Challenge {
	return hostid.Challenge{Purpose: hostid.ToRenew, Nonce: hostid.Nonce{n}, Host: appliance()}
}

// plug opens an emulated key.
func plug(t testing.TB, e *dongletest.Key) *Key {
	t.Helper()
	f, err := e.Plug()
	if err != nil {
		t.Fatal(err)
	}
	k := Over(f)
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// enrolled is a key with a credential, and the counter of its last answer.
func enrolled(t testing.TB) (e *dongletest.Key, k *Key, c hostid.Credential, counter uint32) {
	t.Helper()
	e = dongletest.New()
	k = plug(t, e)
	c, counter, err := k.Enroll(t.Context(), appliance(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return e, k, c, counter
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, end := context.WithTimeout(t.Context(), d)
	t.Cleanup(end)
	return ctx
}

func TestEnrollAndProve(t *testing.T) {
	e := dongletest.New()
	k := plug(t, e)
	info, err := k.Info(t.Context())
	if err != nil || string(info.AAGUID) != string(e.AAGUID[:]) || info.MaxMessage != 1200 || !info.Options["up"] {
		t.Fatalf("%+v, %v", info, err)
	}
	touches := 0
	c, counter, err := k.Enroll(t.Context(), appliance(), func() { touches++ })
	if err != nil {
		t.Fatal(err)
	}
	if touches != 1 || c.AAGUID != e.AAGUID || c.Validate() != nil {
		t.Errorf("%d touches, %+v", touches, c)
	}
	for i := range byte(10) {
		q := question(i + 1)
		a, err := k.Prove(t.Context(), c, q)
		if err != nil {
			t.Fatal(err)
		}
		before := counter
		if counter, err = c.Verify(q, a, before); err != nil || counter != before+1 {
			t.Errorf("counter %d after %d, %v", counter, before, err)
		}
		if _, err := c.Verify(question(i+2), a, before); !errors.Is(err, hostid.ErrOtherAnswer) {
			t.Errorf("the answer to one question answers another: %v", err)
		}
	}
	again, _, err := k.Enroll(t.Context(), appliance(), nil)
	if err != nil || again.HostID() == c.HostID() {
		t.Errorf("enrolled again: %v, %v", again.HostID(), err)
	}
	if _, err := k.Prove(t.Context(), c, question(99)); err != nil {
		t.Errorf("the first credential after the second: %v", err)
	}
}

// Keys differ, and not every key can be a dongle.
func TestKinds(t *testing.T) {
	for name, v := range map[string]struct {
		become func(*dongletest.Key)
		want   error
	}{
		"ordinary":                                {func(*dongletest.Key) {}, nil},
		"without a counter":                       {func(e *dongletest.Key) { e.Counter, e.Step = 0, 0 }, nil},
		"with a counter that leaps":               {func(e *dongletest.Key) { e.Step = 1000 }, nil},
		"whose counter is zero when it is silent": {func(e *dongletest.Key) { e.SilentZero = true }, nil},
		"that says no more than it must":          {func(e *dongletest.Key) { e.Terse = true }, nil},
		"busy for a while":                        {func(e *dongletest.Key) { e.Busy = 3 }, nil},
		"that was reset":                          {func(e *dongletest.Key) { e.Forgetful = 1 }, nil},
		"whose counter stands":                    {func(e *dongletest.Key) { e.Step = 0 }, ErrNotSupported},
		"with a PIN":                              {func(e *dongletest.Key) { e.PIN = true }, ErrPIN},
		"with a PIN for every answer":             {func(e *dongletest.Key) { e.AlwaysPIN = true }, ErrPIN},
		"of the time before FIDO2":                {func(e *dongletest.Key) { e.U2F = true }, ErrNotSupported},
		"that syncs":                              {func(e *dongletest.Key) { e.Flags = 0x08 }, ErrNotSupported},
		"that wants to be touched every time":     {func(e *dongletest.Key) { e.Insists = true; e.Untouched = false }, ErrTouch},
		"for short messages only":                 {func(e *dongletest.Key) { e.MaxMessage = 64 }, ErrNotSupported},
		"that takes no message": {func(e *dongletest.Key) {
			e.Alter = altered(dongletest.CommandInfo, "\x00\xa3\x01\x81\x68FIDO_2_0\x03\x50"+strings.Repeat("x", 16)+"\x05\x00")
		}, ErrNotSupported},
		"always busy":         {func(e *dongletest.Key) { e.Busy = 1 << 30 }, ErrBusy},
		"that always forgets": {func(e *dongletest.Key) { e.Forgetful = 1 << 30 }, ErrMalformed},
		"that says it speaks U2F": {func(e *dongletest.Key) {
			e.Alter = altered(dongletest.CommandInfo, "\x00\xa2\x01\x81\x66U2F_V2\x03\x50"+strings.Repeat("x", 16))
		}, ErrNotSupported},
		"that does not say what it is": {func(e *dongletest.Key) { e.Alter = altered(dongletest.CommandInfo, "\x00\xa0") }, ErrNotSupported},
		"with a short name": {func(e *dongletest.Key) {
			e.Alter = altered(dongletest.CommandInfo, "\x00\xa2\x01\x81\x68FIDO_2_0\x03\x41x")
		}, ErrMalformed},
		"of one model that makes another's": {func(e *dongletest.Key) {
			e.Alter = altered(dongletest.CommandInfo, "\x00\xa2\x01\x81\x68FIDO_2_0\x03\x50"+strings.Repeat("x", 16))
		}, ErrMalformed},
		"that makes nothing": {func(e *dongletest.Key) { e.Alter = altered(dongletest.CommandMake, "\x00\xa0") }, ErrMalformed},
		"that makes 37 bytes": {func(e *dongletest.Key) {
			e.Alter = altered(dongletest.CommandMake, "\x00\xa1\x02\x58\x25"+strings.Repeat("x", 37))
		}, ErrMalformed},
		"that answers with nothing": {func(e *dongletest.Key) { e.Alter = altered(dongletest.CommandAssert, "\x00\xa0") }, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			e := dongletest.New()
			v.become(e)
			k := plug(t, e)
			ctx := t.Context()
			if errors.Is(v.want, ErrBusy) {
				ctx = within(t, soon)
			}
			c, counter, err := k.Enroll(ctx, appliance(), nil)
			if !errors.Is(err, v.want) {
				t.Fatalf("%v, want %v", err, v.want)
			}
			if err != nil {
				if c.ID != nil || counter != 0 {
					t.Errorf("refused, and yet %+v, %d", c, counter)
				}
				return
			}
			a, err := k.Prove(t.Context(), c, question(1))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Verify(question(1), a, counter); err != nil {
				t.Error(err)
			}
		})
	}
}

// altered is the same answer to every command of a kind.
func altered(command byte, answer string) func(byte, []byte) []byte {
	return func(c byte, real []byte) []byte {
		if c == command {
			return []byte(answer)
		}
		return real
	}
}

func TestTouch(t *testing.T) {
	e := dongletest.New()
	e.Untouched = true
	k := plug(t, e)
	if _, _, err := k.Enroll(within(t, soon), appliance(), nil); !errors.Is(err, ErrTouch) {
		t.Errorf("nobody touched it: %v", err)
	}
	if _, err := k.Info(t.Context()); err != nil && !errors.Is(err, ErrBusy) {
		t.Errorf("asked after it was not touched: %v", err)
	}
	e = dongletest.New()
	e.Untouched = true
	k = plug(t, e)
	if _, _, err := k.Enroll(t.Context(), appliance(), e.Touch); err != nil {
		t.Errorf("touched when it was asked for: %v", err)
	}
}

// An answer that comes when nobody waits for it any more is not taken for the answer to the next question.
func TestLateAnswer(t *testing.T) {
	e, k, c, counter := enrolled(t)
	var late [][]byte
	e.Become(func(e *dongletest.Key) { e.Twist = func(r [][]byte) [][]byte { late = r; return nil } })
	if _, err := k.Prove(within(t, soon), c, question(1)); !errors.Is(err, ErrNoAnswer) {
		t.Fatal(err)
	}
	e.Become(func(e *dongletest.Key) { e.Twist = func(r [][]byte) [][]byte { return append(late, r...) } })
	a, err := k.Prove(t.Context(), c, question(2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Verify(question(2), a, counter); err != nil {
		t.Errorf("the second answer: %v", err)
	}
}

// A key that wants to be touched for a silent question is told to forget it, or its light would blink until the next one.
func TestSilentIsSilent(t *testing.T) {
	e, k, c, _ := enrolled(t)
	e.Become(func(e *dongletest.Key) { e.Insists, e.Untouched = true, true })
	if _, err := k.Prove(t.Context(), c, question(1)); !errors.Is(err, ErrTouch) {
		t.Errorf("%v", err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for e.Canceled() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the question was never taken back")
		}
	}
	e.Become(func(e *dongletest.Key) { e.Insists = false })
	if _, err := k.Prove(t.Context(), c, question(2)); err != nil {
		t.Errorf("the next question: %v", err)
	}
}

func TestUnplugged(t *testing.T) {
	e, k, c, _ := enrolled(t)
	watcher := plug(t, e)
	gone := make(chan error, 1)
	go func() { gone <- watcher.Wait(context.Background()) }()
	if _, err := k.Prove(t.Context(), c, question(1)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := e.Unplug(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-gone:
		if took := time.Since(begin); !errors.Is(err, ErrGone) || took > time.Second {
			t.Errorf("%v after %s", err, took)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("nobody learned of it within 2 s")
	}
	if _, err := k.Prove(t.Context(), c, question(2)); !errors.Is(err, ErrGone) {
		t.Errorf("asked after it was unplugged: %v", err)
	}
	if _, err := plug(t, e).Prove(t.Context(), c, question(3)); err != nil {
		t.Errorf("plugged in again: %v", err)
	}
}

// A key that is unplugged while it is asked, or closed, or asked by somebody who no longer waits.
func TestEndsAtOnce(t *testing.T) {
	for name, v := range map[string]struct {
		end  func(e *dongletest.Key, k *Key, cancel func())
		want error
	}{
		"unplugged": {func(e *dongletest.Key, k *Key, cancel func()) { _ = e.Unplug() }, ErrGone},
		"closed":    {func(e *dongletest.Key, k *Key, cancel func()) { _ = k.Close() }, ErrGone},
		"canceled":  {func(e *dongletest.Key, k *Key, cancel func()) { cancel() }, context.Canceled},
	} {
		for _, wait := range []bool{false, true} {
			e, k, c, _ := enrolled(t)
			asked := make(chan struct{})
			var once sync.Once
			e.Become(func(e *dongletest.Key) {
				e.Alter = func(byte, []byte) []byte { once.Do(func() { close(asked) }); return nil }
			})
			ctx, cancel := context.WithCancel(t.Context())
			outcome := make(chan error, 1)
			begin := time.Now()
			go func() {
				if wait {
					outcome <- k.Wait(ctx)
					return
				}
				_, err := k.Prove(ctx, c, question(1))
				outcome <- err
			}()
			if !wait {
				<-asked
			}
			v.end(e, k, cancel)
			if err := <-outcome; !errors.Is(err, v.want) || time.Since(begin) > time.Second {
				t.Errorf("%s, waiting %v: %v after %s", name, wait, err, time.Since(begin))
			}
			cancel()
		}
	}
}

// Every program that has a key open sees all that it says. Two of them at once do not confuse each other, nor does one that left a full queue.
func TestTwoPrograms(t *testing.T) {
	e, k, c, _ := enrolled(t)
	other := plug(t, e)
	for i := range 400 { // more than any queue holds; k reads none of it
		if _, err := other.Prove(t.Context(), c, question(byte(i))); err != nil {
			t.Fatal(err)
		}
	}
	if n := waiting(t, k); n != 0 {
		t.Errorf("%d reports for another program are left after %d were thrown away", n, stale)
	}
	if _, err := k.Prove(t.Context(), c, question(1)); err != nil {
		t.Errorf("after 400 answers for another program: %v", err)
	}
	var both sync.WaitGroup
	for _, k := range []*Key{k, other} {
		both.Go(func() {
			for i := range 50 {
				q := question(byte(i))
				a, err := k.Prove(t.Context(), c, q)
				if err == nil {
					_, err = c.Verify(q, a, 0)
				}
				if err != nil {
					t.Errorf("question %d: %v", i, err)
				}
			}
		})
	}
	both.Wait()
}

// waiting drains a key as every question does, and says by how many reports too many a queue of hidraw, which has 64 places, would then be full.
func waiting(t *testing.T, k *Key) (n int) {
	t.Helper()
	if err := k.drain(); err != nil {
		t.Fatal(err)
	}
	raw, err := k.file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var report [reportBytes]byte
	err = raw.Read(func(fd uintptr) bool {
		for {
			if _, err := unix.Read(int(fd), report[:]); err != nil {
				return true
			}
			n++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return max(0, n-63)
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo, file, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := errors.Join(unix.Mkfifo(fifo, 0o600), os.WriteFile(file, make([]byte, 64), 0o600), os.Symlink("/dev/null", link)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{"/dev/null": ErrNotSupported, fifo: ErrNotSupported, file: ErrNotSupported, link: ErrNotSupported, filepath.Join(dir, "none"): ErrGone} {
		if k, err := Open(Device{Path: path}); !errors.Is(err, want) {
			t.Errorf("%s: %v, %v, want %v", path, k, err, want)
		}
	}
	if _, err := Open(Device{Path: "/dev/null", Flaw: "USB over IP"}); !errors.Is(err, ErrNotSupported) || !strings.Contains(err.Error(), "USB over IP") {
		t.Errorf("%v", err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	k := Over(f)
	defer k.Close()
	if _, err := k.Info(t.Context()); !errors.Is(err, ErrNotSupported) {
		t.Errorf("a file without deadlines: %v", err)
	}
}
