package vm

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"time"
)

// agentUnit answers commands on the second serial line. It is in no image: a machine takes it from its firmware, and only where its kernel command line lets it.
const agentUnit = `[Service]
StandardInput=tty
StandardOutput=tty
TTYPath=/dev/ttyS1
ExecStart=/bin/sh -c 'stty -echo -onlcr; echo agent; while read -r l; do echo "=$$(echo "$$l" | base64 -d | sh 2>&1 | base64 -w0)"; done'
`

// AgentStrings are the strings of the firmware that hand a unit in, and have it started. Whether it runs is for the machine to say.
func AgentStrings() []string {
	const prefix = "io.systemd.credential.binary:systemd."
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	return []string{prefix + "extra-unit.lhtest.service=" + encode(agentUnit), prefix + "unit-dropin.multi-user.target=" + encode("[Unit]\nWants=lhtest.service\n")}
}

// Agent is a shell as root in a machine that was booted with a kernel command line for tests.
type Agent struct {
	conn  net.Conn
	lines *bufio.Reader
}

// Agent connects to it. The machine must have been started with AgentStrings and a second line; a connection is made once for each start.
func (m *Machine) Agent(ctx context.Context) (*Agent, error) {
	conn, err := m.dial(ctx, "agent.sock", m.ended)
	if err != nil {
		return nil, err
	}
	return &Agent{conn, bufio.NewReader(conn)}, nil
}

// Run runs a script of at most 3,000 bytes, and gives what it prints on both streams.
func (a *Agent) Run(ctx context.Context, script string) (string, error) {
	if end, has := ctx.Deadline(); has {
		a.conn.SetDeadline(end)
	}
	// What was typed before the shell listened, and its greeting, are passed over.
	if _, err := fmt.Fprintf(a.conn, "%s\n", base64.StdEncoding.EncodeToString([]byte(script))); err != nil {
		return "", err
	}
	for {
		line, err := a.lines.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("run %q in the machine: %w", script, err)
		}
		if answer, is := strings.CutPrefix(strings.TrimSpace(line), "="); is {
			out, err := base64.StdEncoding.DecodeString(answer)
			return string(out), err
		}
	}
}

// Close ends the connection, not the shell.
func (a *Agent) Close() error { return a.conn.Close() }

// greeting is what the agent says first.
const greeting = "agent"

// HasAgent says whether the unit that was handed in runs, as far as it has said so until now.
func (m *Machine) HasAgent() (bool, error) {
	text, err := m.read("agent.log")
	return strings.Contains(text, greeting), err
}

// WaitAgent waits until it runs.
func (m *Machine) WaitAgent(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if has, err := m.HasAgent(); has || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-m.ended:
			return fmt.Errorf("wait for the agent: %w", ErrEnded)
		case <-ctx.Done():
			return fmt.Errorf("wait for the agent: %w", context.Cause(ctx))
		}
	}
}
