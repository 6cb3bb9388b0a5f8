package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A program does not go on without its seat when leasehold is killed: it gets the signal of a lost lease. The same device has its seat again at once.
func TestKilledLeaseholdEndsTheProgram(t *testing.T) {
	m := newMachine(t)
	m.activated(newProducer(t, 1))
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := exec.Command(os.Args[0], "acquire", "render", "--count", "4", "--", os.Args[0], signalled)
	c.Dir, c.Env, c.Stdout = m.dir, m.env, in
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	said := bufio.NewReader(out)
	var pid int
	if n, err := fmt.Fscanf(said, "up\n%d\n", &pid); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	// The pipe ends when the program does, which alone has it now. Only one that goes on is waited for so long.
	if err := out.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(said); err != nil || string(rest) != "terminated\n" {
		t.Errorf("leasehold was killed, and its program said %q: %v", rest, err)
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if status, _, stderr := m.run("acquire", "render", "--count", "4", "--", "true"); status != 0 {
		t.Errorf("%d, %s", status, stderr)
	}
}
