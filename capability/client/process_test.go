package client

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain is also the other program of TestProgramThatIsKilled: it acquires two of render, says so, and waits for its end.
func TestMain(m *testing.M) {
	if args := os.Getenv("LEASEHOLD_OTHER_PROGRAM"); args != "" {
		if err := otherProgram(strings.Split(args, "\n")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func otherProgram(args []string) error {
	c, err := New(Options{Server: args[0], Dir: args[1], TrustFile: args[2], judge: judgeSaid})
	if err != nil {
		return err
	}
	if _, err := c.Acquire(context.Background(), "render", Count(2)); err != nil {
		return err
	}
	fmt.Println("acquired")
	bufio.NewReader(os.Stdin).ReadByte()
	return fmt.Errorf("nobody killed it")
}

func TestProgramThatIsKilled(t *testing.T) {
	p := newProducer(t, 1)
	s := newServer(t, p, item("render", "1.0", 9))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			there, err := l.Accept()
			if err != nil {
				return
			}
			here, err := s.dial(t.Context(), "")
			if err != nil {
				there.Close()
				continue
			}
			go join(there, here)
			go join(here, there)
		}
	}()
	dir := t.TempDir()
	trust := dir + "/producer.lht"
	if err := os.WriteFile(trust, p.trust, 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "LEASEHOLD_OTHER_PROGRAM="+strings.Join([]string{l.Addr().String(), dir, trust}, "\n"))
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "acquired\n" {
		t.Fatalf("the other program says %q, %v", line, err)
	}
	c := s.client(dir)
	if _, err := c.Acquire(t.Context(), "render"); err != nil || s.used("render") != 3 {
		t.Fatalf("%v; %d in use where the other program has 2 and this one 1", err, s.used("render"))
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait()
	if _, err := c.Acquire(t.Context(), "render", Count(3)); err != nil || s.used("render") != 4 {
		t.Errorf("%v; %d in use where the other program is dead and this one has 4", err, s.used("render"))
	}
}

func join(to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		if _, failed := to.Write(b[:n]); err != nil || failed != nil {
			return
		}
	}
}
