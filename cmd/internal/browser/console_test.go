package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// appliance is one of its own on a software TPM, served by the real program, and what the walk needs to know of it.
type appliance struct {
	office
	socket string
}

func newAppliance(t *testing.T) *appliance {
	t.Helper()
	o := newOffice(t)
	dir, err := os.MkdirTemp("", "lh") // Unix sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	a := &appliance{office: *o, socket: filepath.Join(dir, "s")}
	a.url = "https://" + address
	c := exec.Command(filepath.Join(os.Getenv(programs), "leaseholdd"), "--state", filepath.Join(dir, "state"), "--tpm", tpmtest.Start(t).Address(), "--trust", o.trust, "--listen", address, "--socket", a.socket, "--poll-socket", a.socket+"p")
	var log strings.Builder
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		c.Process.Signal(os.Interrupt)
		if err := <-ended; err != nil {
			t.Errorf("leaseholdd: %v\n%s", err, &log)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := a.leasehold("status"); err == nil {
			return a
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("leaseholdd ended: %v\n%s", err, &log)
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("leaseholdd does not answer")
		}
	}
}

// leasehold runs the program on the machine itself.
func (a *appliance) leasehold(args ...string) (string, error) {
	out, err := exec.Command(filepath.Join(os.Getenv(programs), "leasehold"), append(args, "--socket", a.socket)...).Output()
	return string(out), err
}

// firstCode is what the daemon tells who started it.
func (a *appliance) firstCode() string {
	a.t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", a.socket)
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://leasehold" + console.Base + "first-login")
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	var first console.FirstLogin
	if err := json.NewDecoder(resp.Body).Decode(&first); err != nil || first.Code == "" {
		a.t.Fatalf("%s: no code: %v", resp.Status, err)
	}
	return first.Code
}

// everywhere runs a walk through an appliance of its own, in Chromium and, where it is installed, in Firefox.
func everywhere(t *testing.T, walk, scripts string) {
	for _, b := range []browser{chromium(t), firefox()} {
		t.Run(b.name, func(t *testing.T) {
			if b.path == "" {
				t.Skipf("%s is not installed", b.name)
			}
			a := newAppliance(t)
			a.browser = b
			a.walk(walk, "SCRIPTS="+scripts, "CODE="+a.firstCode(), "OFFICE="+a.dir, "SECRET="+a.secret)
		})
	}
}

// Check 19: every view of the console, from the first login on, asks nobody else for anything, and is light.
func TestCheck19(t *testing.T) { everywhere(t, "check19", "on") }

// Check 20: without scripts lists, search, paging, upload, download and release work.
func TestCheck20(t *testing.T) { everywhere(t, "check20", "off") }

// Check 23: a reservation is edited in its group, and what was just exported can be imported and changes nothing. Check 20 does the same without scripts.
func TestCheck23(t *testing.T) {
	a := newAppliance(t)
	a.walk("check23", "CODE="+a.firstCode(), "OFFICE="+a.dir, "SECRET="+a.secret)
}

// The console of an appliance in the browser of another machine, through the program there: the first login, a form, and the same after the page is loaded anew.
func TestConsoleFromAPC(t *testing.T) {
	a := newAppliance(t)
	var shown struct {
		Key string `json:"authorityKeySha256"`
	}
	for deadline := time.Now().Add(time.Minute); shown.Key == ""; {
		if out, err := a.leasehold("fingerprint", "--json"); err == nil {
			if err := json.Unmarshal([]byte(out), &shown); err != nil {
				t.Fatal(err)
			}
		} else if time.Now().After(deadline) {
			t.Fatal("no certificate is shown")
		}
	}
	c := exec.Command(filepath.Join(os.Getenv(programs), "leasehold"), "web", "--no-browser", "--server", strings.TrimPrefix(a.url, "https://"), "--fingerprint", shown.Key)
	var said strings.Builder
	c.Stderr = &said
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "http://127.0.0.1:") {
		c.Wait()
		t.Fatalf("%q, %v\n%s", line, err, &said)
	}
	a.url = strings.TrimSuffix(strings.TrimSpace(line), "/")
	a.walk("pc", "CODE="+a.firstCode())
}

// More than 500 payloads, in every field of the console and in what clients and the producer say of themselves, are text on every page.
func TestConsoleCorpus(t *testing.T) {
	a := newAppliance(t)
	a.walk("corpus", "CODE="+a.firstCode(), "OFFICE="+a.dir, "SECRET="+a.secret)
}
