package systemd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/coreos/go-systemd/v22/journal"
)

// Logging is what a daemon logs, and where to. Both can change while it runs, see Control. Use NewLogging.
type Logging struct {
	program string // by which the journal knows it
	level   slog.LevelVar
	console atomic.Bool // text on a stream, instead of the journal
	journal bool        // the service manager reads our standard error into it
	out     slog.Handler
}

// NewLogging writes what a program of that name says into the journal with structured fields when the service manager reads our standard error, else text on w.
func NewLogging(program string, w io.Writer, level slog.Level) *Logging {
	l := &Logging{program: program}
	l.level.Set(level)
	if journal.Enabled() {
		if ok, err := journal.StderrIsJournalStream(); err == nil && ok {
			l.journal = true
		}
	}
	l.console.Store(!l.journal)
	l.out = &switched{l, &handler{program: program, level: &l.level}, slog.NewTextHandler(w, &slog.HandlerOptions{Level: &l.level})}
	return l
}

// Journal is a log of a program that somebody started by hand: it writes into the journal wherever there is one, else text on w.
func Journal(program string, w io.Writer) *slog.Logger {
	if journal.Enabled() {
		return slog.New(&handler{program: program, level: slog.LevelInfo})
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// Logger is the log.
func (l *Logging) Logger() *slog.Logger { return slog.New(l.out) }

// switched writes where Logging says.
type switched struct {
	*Logging
	journal, console slog.Handler
}

func (s *switched) handler() slog.Handler {
	if s.Logging.console.Load() {
		return s.console
	}
	return s.journal
}

func (s *switched) Enabled(ctx context.Context, l slog.Level) bool {
	return s.handler().Enabled(ctx, l)
}

func (s *switched) Handle(ctx context.Context, r slog.Record) error {
	return s.handler().Handle(ctx, r)
}

func (s *switched) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &switched{s.Logging, s.journal.WithAttrs(attrs), s.console.WithAttrs(attrs)}
}

func (s *switched) WithGroup(name string) slog.Handler {
	return &switched{s.Logging, s.journal.WithGroup(name), s.console.WithGroup(name)}
}

// Level is how much is logged, by syslog's names (org.freedesktop.LogControl1(5)): of eight levels those four that we have.
func (l *Logging) Level() string {
	switch at := l.level.Level(); {
	case at <= slog.LevelDebug:
		return "debug"
	case at <= slog.LevelInfo:
		return "info"
	case at <= slog.LevelWarn:
		return "warning"
	}
	return "err"
}

// SetLevel takes all eight names. Those above err are as err, and notice is as info, so that nothing is lost which somebody wants to hear.
func (l *Logging) SetLevel(name string) error {
	level, ok := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "notice": slog.LevelInfo, "warning": slog.LevelWarn,
		"err": slog.LevelError, "crit": slog.LevelError, "alert": slog.LevelError, "emerg": slog.LevelError,
	}[name]
	if !ok {
		return fmt.Errorf("no level of syslog is called %q", name)
	}
	l.level.Set(level)
	return nil
}

// Target is where to: journal or console.
func (l *Logging) Target() string {
	if l.console.Load() {
		return "console"
	}
	return "journal"
}

// SetTarget takes these, and auto for what there was at the start.
func (l *Logging) SetTarget(name string) error {
	switch {
	case name == "auto":
		l.console.Store(!l.journal)
	case name == "console":
		l.console.Store(true)
	case name == "journal" && l.journal:
		l.console.Store(false)
	case name == "journal":
		return errors.New("no journal reads what this daemon says")
	default:
		return fmt.Errorf("the log goes to the journal or to the console, not to %q", strings.ToValidUTF8(name, "?"))
	}
	return nil
}
