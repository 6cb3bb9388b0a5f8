package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// monitor is a stand-in for QEMU's end: it greets, and answers each line with what answer says.
func monitor(t *testing.T, answer func(line string) string) *QMP {
	t.Helper()
	own, c := net.Pipe()
	go func() {
		defer c.Close()
		fmt.Fprintln(c, `{"QMP": {"version": {}, "capabilities": []}}`)
		for lines := bufio.NewScanner(c); lines.Scan(); {
			said := `{"return": {}}`
			if !strings.Contains(lines.Text(), "qmp_capabilities") {
				if said = answer(lines.Text()); said == "" {
					return
				}
			}
			fmt.Fprintln(c, said)
		}
	}()
	q, err := NewQMP(context.Background(), own, filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func TestQMP(t *testing.T) {
	q := monitor(t, func(line string) string {
		switch {
		case strings.Contains(line, `"query-status"`):
			return "{\"timestamp\": {}, \"event\": \"RESUME\"}\n{\"return\": {\"running\": true}}"
		case strings.Contains(line, `"command-line":"savevm a"`):
			return `{"return": ""}`
		case strings.Contains(line, `"command-line"`):
			return `{"return": "Error: no such thing\r\n"}`
		case strings.Contains(line, `"quit"`):
			return ""
		}
		return `{"error": {"class": "CommandNotFound", "desc": "The command nonsense has not been found"}}`
	})
	ctx := context.Background()
	if b, err := q.Do(ctx, "query-status", nil); err != nil || string(b) != `{"running": true}` {
		t.Errorf("%s, %v", b, err)
	}
	if e, err := q.Wait(ctx, func(e Event) bool { return e.Event == "RESUME" }); err != nil || e.Event != "RESUME" {
		t.Errorf("%v, %v", e, err)
	}
	if err := q.Human(ctx, "savevm a"); err != nil {
		t.Error(err)
	}
	if err := q.Human(ctx, "loadvm b"); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("%v", err)
	}
	if _, err := q.Do(ctx, "nonsense", nil); err == nil || !strings.Contains(err.Error(), "nonsense: CommandNotFound") {
		t.Errorf("%v", err)
	}
	// A monitor that ends is said to have ended, to who asks and to who waits.
	if _, err := q.Do(ctx, "quit", nil); !errors.Is(err, ErrEnded) {
		t.Errorf("%v", err)
	}
	if _, err := q.Wait(ctx, func(Event) bool { return false }); !errors.Is(err, ErrEnded) {
		t.Errorf("%v", err)
	}
}

// Whoever waits in vain is told so when the context ends.
func TestQMPDeadline(t *testing.T) {
	stuck := make(chan struct{})
	q := monitor(t, func(string) string { <-stuck; return "" })
	defer close(stuck)
	late := errors.New("late")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(late)
	if _, err := q.Do(ctx, "query-status", nil); !errors.Is(err, late) {
		t.Errorf("%v", err)
	}
}
