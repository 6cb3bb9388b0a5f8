package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// What is known of holders, the next end and the place in the line is told; what is not known is not guessed.
func TestWhoHas(t *testing.T) {
	for _, row := range []struct {
		no   capability.Denial
		want string
	}{
		{capability.Denial{Code: capability.ErrNoSeat, Until: 1795161600, Position: 2, Holders: []capability.Holder{{Name: "WS-114", Count: 2, Expiry: 1795161600}, {Count: 1, Expiry: 1795161700}}},
			"held: 2 by WS-114, until 2026-11-20T08:00:00Z\nheld: 1 by someone, until 2026-11-20T08:01:40Z\nearliest known end: 2026-11-20T08:00:00Z\nyou are no. 2 in line\n"},
		{capability.Denial{Code: capability.ErrNoSeat}, "earliest known end: none is known\n"},
		{capability.Denial{Code: capability.ErrOverage, Until: 1795161600}, "earliest known end: 2026-11-20T08:00:00Z\n"},
		{capability.Denial{Code: capability.ErrHold, Until: 1795161600}, ""},
		{capability.Denial{Code: capability.ErrNotEntitled}, ""},
	} {
		if got := whoHas(&capability.Refusal{Denial: row.no}); got != row.want {
			t.Errorf("%+v:\n%s", row.no, got)
		}
	}
}

// Who waits reads why, who has the seats and where in the line he stands; his program starts by itself when one comes free. A signal ends the wait, and another waits on.
func TestWaitsAndStarts(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.activated(newProducer(t, 1))
	in := func(device string) string { return m.dir + "/" + device }
	if status, out, stderr := m.run("--dir", in("a"), "acquire", "render", "--count", "100", "--partial"); status != 0 || !strings.Contains(out, "acquired 4 of render") {
		t.Fatalf("%d, %s%s", status, out, stderr)
	}
	type waiter struct {
		*exec.Cmd
		out, said bytes.Buffer
		talk      *bufio.Scanner
	}
	wait := func(device, line string) *waiter {
		t.Helper()
		w := &waiter{Cmd: exec.Command(os.Args[0], "--dir", in(device), "acquire", "render", "--wait", "1h", "--", "echo", "started")}
		w.Dir, w.Env, w.Stdout = m.dir, m.env, &w.out
		said, err := w.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Process.Kill() })
		for w.talk = bufio.NewScanner(said); w.talk.Scan(); {
			fmt.Fprintln(&w.said, w.talk.Text())
			if w.talk.Text() == line {
				return w
			}
		}
		t.Fatalf("%s does not say %q:\n%s", device, line, &w.said)
		return nil
	}
	end := func(w *waiter) int {
		for w.talk.Scan() {
			fmt.Fprintln(&w.said, w.talk.Text())
		}
		w.Wait()
		return w.ProcessState.ExitCode()
	}
	first := wait("b", "you are no. 1 in line")
	for _, part := range []string{"waiting for at most 1h0m0s: LH-3104 no seat free for \"render\": 4 of 4 in use, 1 asked", "held: 4 by ", "earliest known end: 20"} {
		if !strings.Contains(first.said.String(), part) {
			t.Errorf("%q is not in\n%s", part, &first.said)
		}
	}
	second := wait("c", "you are no. 2 in line")
	second.Process.Signal(syscall.SIGINT)
	if status := end(second); status != 130 || second.out.Len() > 0 {
		t.Errorf("a signal ends the wait with %d, %s%s", status, &second.out, &second.said)
	}
	if status, _, stderr := m.run("--dir", in("a"), "release", "render"); status != 0 {
		t.Fatal(stderr)
	}
	if status := end(first); status != 0 || first.out.String() != "started\n" {
		t.Errorf("%d, %s%s", status, &first.out, &first.said)
	}
	for _, flags := range [][]string{{"--borrow=-1h"}, {"--store", "none", "--partial"}, {"--store", "none", "--borrow", "1h"}} {
		if status, _, stderr := m.run(append([]string{"acquire", "render"}, flags...)...); status != 2 {
			t.Errorf("%q: %d, %s", flags, status, stderr)
		}
	}
}
