package systemd

import (
	"context"
	"log/slog"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/leasehold/leasehold/capability"
)

// handler writes records to the journal. An attribute becomes the field LEASEHOLD_NAME; "code" is also shown before the message, and says which entry of the
// catalog explains it: MESSAGE_ID.
type handler struct {
	program string // by which the journal knows it
	level   slog.Leveler
	attrs   []slog.Attr
	group   string
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	message, fields := h.entry(r)
	return journal.Send(message, priority(r.Level), fields)
}

// entry is the message and the fields of a record.
func (h *handler) entry(r slog.Record) (message string, fields map[string]string) {
	fields = map[string]string{"SYSLOG_IDENTIFIER": h.program}
	message = r.Message
	add := func(a slog.Attr) bool {
		value := a.Value.Resolve().String()
		fields[field(h.group+a.Key)] = value
		if a.Key == "code" {
			message = value + " " + message
			if c, err := capability.ParseCode(value); err == nil {
				fields["MESSAGE_ID"] = c.MessageID()
			}
		} else {
			message += " " + a.Key + "=" + value
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	return message, fields
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = append(append([]slog.Attr(nil), h.attrs...), attrs...)
	return &c
}

func (h *handler) WithGroup(name string) slog.Handler {
	c := *h
	c.group += name + "_"
	return &c
}

// field makes a journal field's name: upper-case letters, digits and underscores (systemd.journal-fields(7)).
func field(name string) string {
	return "LEASEHOLD_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}

func priority(l slog.Level) journal.Priority {
	switch {
	case l >= slog.LevelError:
		return journal.PriErr
	case l >= slog.LevelWarn:
		return journal.PriWarning
	case l >= slog.LevelInfo:
		return journal.PriInfo
	}
	return journal.PriDebug
}
