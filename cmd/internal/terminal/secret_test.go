package terminal

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary is also the program that asks.
func TestMain(m *testing.M) {
	if os.Getenv("LEASEHOLD_TEST_ASK") != "" {
		secret, err := ReadSecret(0)
		fmt.Printf("read %q, %v\n", secret, err)
		return
	}
	os.Exit(m.Run())
}

// terminalPair is a pseudoterminal: what a person types into and sees, and what a program has.
func terminalPair(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// However the asking ends, the terminal shows again what is typed, and the shell is told of the signal.
func TestReadSecret(t *testing.T) {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP) // or the programs would ignore it where these tests are started so
	defer signal.Stop(heard)
	for _, c := range []struct {
		name, types string
		sends       syscall.Signal
		ended       syscall.Signal
		ignores     bool
	}{
		{"an answer", "hunter2\n", 0, 0, false},
		{"Ctrl-C", "hun\x03", 0, syscall.SIGINT, false},
		{"kill", "hun", syscall.SIGTERM, syscall.SIGTERM, false},
		{"the line is hung up", "", syscall.SIGHUP, syscall.SIGHUP, false},
		{"and nobody minds", "hunter2\n", syscall.SIGHUP, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			person, program := terminalPair(t)
			var out strings.Builder
			cmd := exec.Command(os.Args[0])
			if c.ignores {
				cmd = exec.Command("/bin/sh", "-c", `trap "" HUP; exec "$0"`, os.Args[0])
			}
			cmd.Env = append(os.Environ(), "LEASEHOLD_TEST_ASK=1")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = program, &out, &out
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			defer time.AfterFunc(time.Minute, func() { cmd.Process.Signal(syscall.SIGABRT) }).Stop() // it says where it stands
			for end := time.Now().Add(30 * time.Second); echoes(t, program); {
				if time.Now().After(end) {
					t.Fatal("it does not ask")
				}
			}
			if c.sends != 0 {
				if err := cmd.Process.Signal(c.sends); err != nil {
					t.Fatal(err)
				}
			}
			if c.ignores { // it would echo by then
				for range 1000 {
					if echoes(t, program) {
						t.Fatal("it shows what is typed")
					}
				}
			}
			if _, err := person.WriteString(c.types); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if c.ended == 0 && (err != nil || out.String() != "read \"hunter2\", <nil>\n") || c.ended != 0 && (!status.Signaled() || status.Signal() != c.ended) {
				t.Errorf("it ended with %v and said %q", err, out.String())
			}
			if !echoes(t, program) {
				t.Error("the terminal does not echo any more")
			}
		})
	}
}
