package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// QMP is a conversation with QEMU's monitor. It may be used by several goroutines.
type QMP struct {
	conn  net.Conn
	log   *os.File   // what was said on both sides
	turn  sync.Mutex // of one command and its answer
	said  chan reply // answers
	ended chan struct{}

	mu     sync.Mutex
	events []Event
	news   chan struct{} // closed at the next event
}

// Event is what QEMU says unasked.
type Event struct {
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
}

type reply struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class       string `json:"class"`
		Description string `json:"desc"`
	} `json:"error"`
	Event
}

// maxReply limits a line of the monitor, in bytes.
const maxReply = 4 << 20

// NewQMP makes the monitor at the other end take commands. What is said is added to a log. The connection is the QMP's from now on.
func NewQMP(ctx context.Context, conn net.Conn, log string) (*QMP, error) {
	f, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		conn.Close()
		return nil, err
	}
	q := &QMP{conn: conn, log: f, said: make(chan reply, 1), ended: make(chan struct{}), news: make(chan struct{})}
	go q.read()
	if _, err := q.Do(ctx, "qmp_capabilities", nil); err != nil {
		conn.Close()
		return nil, err
	}
	return q, nil
}

// read takes everything that the monitor says, until it ends. The greeting is neither an answer nor an event.
func (q *QMP) read() {
	defer close(q.ended)
	defer q.log.Close()
	lines := bufio.NewScanner(q.conn)
	lines.Buffer(nil, maxReply)
	for lines.Scan() {
		fmt.Fprintf(q.log, "< %s\n", lines.Bytes()) // what cannot be logged is no reason to stop
		var r reply
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			return
		}
		switch {
		case r.Event.Event != "":
			q.mu.Lock()
			q.events = append(q.events, r.Event)
			close(q.news)
			q.news = make(chan struct{})
			q.mu.Unlock()
		case r.Return != nil || r.Error != nil:
			q.said <- r
		}
	}
}

// ErrEnded is a monitor whose QEMU has ended.
var ErrEnded = errors.New("QEMU has ended")

// Do runs one command and gives what it returns.
func (q *QMP) Do(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	q.turn.Lock()
	defer q.turn.Unlock()
	b, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(q.log, "> %s\n", b)
	if _, err := q.conn.Write(append(b, '\n')); err != nil {
		return nil, fmt.Errorf("%s: %w", command, ErrEnded)
	}
	select {
	case r := <-q.said:
		if r.Error != nil {
			return nil, fmt.Errorf("%s: %s: %s", command, r.Error.Class, r.Error.Description)
		}
		return r.Return, nil
	case <-q.ended:
		return nil, fmt.Errorf("%s: %w", command, ErrEnded)
	case <-ctx.Done():
		q.conn.Close() // its answer would be taken for that of the next command
		return nil, fmt.Errorf("%s: %w", command, context.Cause(ctx))
	}
}

// Human runs a command of the human monitor, where the other one has none. What it says is an error, as such commands are silent when they work.
func (q *QMP) Human(ctx context.Context, line string) error {
	b, err := q.Do(ctx, "human-monitor-command", map[string]string{"command-line": line})
	if err != nil {
		return err
	}
	var said string
	if err := json.Unmarshal(b, &said); err != nil {
		return err
	}
	if said != "" {
		return fmt.Errorf("%s: %s", line, said)
	}
	return nil
}

// Wait gives the first event that match accepts, from the beginning of the conversation.
func (q *QMP) Wait(ctx context.Context, match func(Event) bool) (Event, error) {
	for i := 0; ; {
		q.mu.Lock()
		events, news := q.events, q.news
		q.mu.Unlock()
		for ; i < len(events); i++ {
			if match(events[i]) {
				return events[i], nil
			}
		}
		select {
		case <-news:
		case <-q.ended:
			return Event{}, ErrEnded
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

// Close ends the conversation, not QEMU.
func (q *QMP) Close() error { return q.conn.Close() }
