package appliance

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// silent is a TPM for an appliance that no client comes to.
type silent struct{ Machine }

func (silent) Evidence(attest.Purpose, []byte) (*attest.Evidence, error) {
	return &attest.Evidence{}, nil
}
func (silent) Session([]byte) (*attest.Evidence, error) { return &attest.Evidence{}, nil }

// said is a log that is read while it is written.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *said) take() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}

// The system clock is looked at each minute though nobody asks anything, and each change is an entry and a line of the log.
func TestClockIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var off atomic.Int64 // of the system clock
		var log said
		vault := &memory{}
		begin := time.Now()
		l := ledger.New()
		a, err := New(Options{
			Ledger: l, Vault: vault, Machine: silent{}, Host: hostid.ID{Type: hostid.String, Value: "appliance"}, Rand: rand.Reader,
			Now: func() time.Time { return time.Now().Add(time.Duration(off.Load())) }, Elapsed: func() time.Duration { return time.Since(begin) },
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		must(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		minute := func(want ledger.ClockState, entries int, words string) {
			t.Helper()
			log.take()
			_, before := vault.count()
			<-time.After(61 * time.Second)
			synctest.Wait()
			var s ledger.Status
			must(t, a.Look(ctx, func(l *ledger.Ledger, now ledger.Now) { s = l.Status(now) }))
			if _, n := vault.count(); s.Clock.State != want || n-before != entries || !strings.Contains(log.text(), words) || entries == 0 && log.text() != "" {
				t.Errorf("%+v, %d entries, log %s", s.Clock, n-before, log.text())
			}
		}
		minute(ledger.ClockTrusted, 0, "")
		off.Store(int64(60 * time.Hour))
		minute(ledger.ClockAhead, 1, "level=ERROR")
		minute(ledger.ClockAhead, 0, "")
		off.Store(int64(-time.Hour))
		minute(ledger.ClockBehind, 1, "level=WARN")
		off.Store(int64(-60 * time.Hour))
		minute(ledger.ClockHeld, 1, "code="+capability.ErrClock.String())
		r, err := a.Clock(ctx)
		must(t, err)
		if truth := capability.At(time.Now()); r.Now.Wall < truth || r.Now.Wall > truth+1 {
			t.Errorf("it is %s, and trusted is %s", truth, r.Now.Wall)
		}
		off.Store(0)
		minute(ledger.ClockTrusted, 1, "code="+capability.ClockJudged.String())

		off.Store(int64(-60 * time.Hour))
		minute(ledger.ClockHeld, 1, "")
		var no *capability.Refusal
		if _, err := a.SetTime(ctx, 0, "admin"); !errors.As(err, &no) || no.Code != capability.ErrTime {
			t.Errorf("the time was set back: %v", err)
		}
		if r, err := a.SetTime(ctx, capability.At(time.Now())+1, "admin"); err != nil || r.Clock.State != ledger.ClockTrusted || r.Clock.Correction == 0 || !strings.Contains(log.text(), "by=admin") {
			t.Errorf("%+v %v %s", r, err, log.text())
		}
		minute(ledger.ClockTrusted, 0, "")
		cancel()
		must(t, <-ended)

		// The next run does not remember what was stated.
		begin = time.Now()
		_, err = New(Options{
			Ledger: l, Vault: vault, Machine: silent{}, Host: a.Host, Rand: rand.Reader, Now: a.Options.Now, Elapsed: a.Elapsed, Log: a.Log,
		})
		must(t, err)
		if s := l.Status(ledger.Now{}); s.Clock != (ledger.Clock{State: ledger.ClockHeld}) {
			t.Errorf("%+v", s.Clock)
		}
	})
}

// What is told of a moment on the lease clock is one second, whenever in a second somebody asks, and whenever in a second the run began.
func TestEndsDoNotFlicker(t *testing.T) {
	for _, late := range []time.Duration{0, 1, 300 * time.Millisecond, 999 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			<-time.After(late)
			begin := time.Now().Add(-250 * time.Millisecond) // the fraction of a second that this boot began with
			a, err := New(Options{
				Ledger: ledger.New(), Vault: &memory{}, Machine: silent{}, Host: hostid.ID{Type: hostid.String, Value: "appliance"}, Rand: rand.Reader,
				Now: time.Now, Elapsed: func() time.Duration { return time.Since(begin) }, Log: slog.New(slog.DiscardHandler),
			})
			must(t, err)
			<-time.After(time.Second)
			told := a.now().Told(100)
			for range 40 {
				<-time.After(70 * time.Millisecond)
				if got := a.now().Told(100); got != told {
					t.Fatalf("begun %s into a second: %s was told, and now %s is", late, told, got)
				}
			}
		})
	}
}
