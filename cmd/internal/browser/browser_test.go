package browser

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const passphrase = "correct horse battery staple"

// office is a back office of its own, served to browsers by the real program.
type office struct {
	t           *testing.T
	dir, secret string
	trust       string // file with the producer's public keys
	scratch     string // directory of the walk
	url         string
	browser     browser
}

// TestMain builds the programs once, for all walks.
func TestMain(m *testing.M) { os.Exit(built(m.Run)) }

// programs is the variable of the environment that says where the programs are.
const programs = "PROGRAMS"

func built(run func() int) int {
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir+"/", "./cmd/freehold", "./cmd/leasehold", "./cmd/leaseholdd")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	os.Setenv(programs, dir)
	return run()
}

func top(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func newOffice(t *testing.T) *office {
	t.Helper()
	home := t.TempDir()
	o := &office{t: t, dir: filepath.Join(home, "office"), secret: filepath.Join(home, "passphrase"), trust: filepath.Join(home, "producer.lht"), scratch: t.TempDir(), browser: chromium(t)}
	if err := os.WriteFile(o.secret, []byte(passphrase+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.freehold("init", "--producer", "Example", "--trust", o.trust, "--minimum-tier", "software")
	return o
}

// freehold runs the program on this back office, which nobody serves meanwhile.
func (o *office) freehold(args ...string) string {
	o.t.Helper()
	c := exec.Command(filepath.Join(os.Getenv(programs), "freehold"), append(args, "--dir", o.dir, "--passphrase-file", o.secret)...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		o.t.Fatalf("freehold %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

var oneTimeCode = regexp.MustCompile(`one-time code: (\S+)`)

// login makes a login and gives its one-time code.
func (o *office) login(name string, args ...string) string {
	o.t.Helper()
	m := oneTimeCode.FindStringSubmatch(o.freehold(append([]string{"login", "add", name}, args...)...))
	if m == nil {
		o.t.Fatal("no code was printed")
	}
	return m[1]
}

var address = regexp.MustCompile(`serving (https://\S+)`)

// serve starts the portal.
func (o *office) serve() {
	o.t.Helper()
	c := exec.Command(filepath.Join(os.Getenv(programs), "freehold"), "serve", "--listen", "127.0.0.1:0", "--host", "localhost", "--dir", o.dir, "--passphrase-file", o.secret)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() {
		c.Process.Signal(os.Interrupt)
		if err := c.Wait(); err != nil {
			o.t.Errorf("freehold serve: %v\n%s", err, &stderr)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	m := address.FindStringSubmatch(line)
	if m == nil {
		o.t.Fatalf("%v: %s\n%s", err, line, &stderr)
	}
	o.url = m[1]
}

// walk has the browser do one of the walks of walk.mjs. What it prints is the test's output, and a step that fails is a failure.
func (o *office) walk(name string, env ...string) {
	o.t.Helper()
	shots := filepath.Join(top(o.t), "bin", "browser", name, o.browser.name)
	if err := os.MkdirAll(shots, 0o755); err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(o.t.Context(), 9*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "node", "walk.mjs", name)
	c.Env = append(os.Environ(), append(env, "PORTAL="+o.url, "SHOTS="+shots, "SCRATCH="+o.scratch, "TRUST="+o.trust, "BROWSER="+o.browser.name, "EXECUTABLE="+o.browser.path)...)
	out, err := c.CombinedOutput()
	o.t.Logf("%s\n%s", name, out)
	if err != nil {
		o.t.Errorf("%s: %v", name, err)
	}
}

// browser is one that is installed; without a path it is not.
type browser struct{ name, path string }

func installed(name string, programs ...string) browser {
	for _, program := range programs {
		if path, err := exec.LookPath(program); err == nil {
			return browser{name, path}
		}
	}
	return browser{name: name}
}

func chromium(t *testing.T) browser {
	t.Helper()
	b := installed("chromium", "chromium", "chromium-browser", "google-chrome")
	if b.path == "" {
		t.Fatal("no chromium: make deps")
	}
	return b
}

func firefox() browser { return installed("firefox", "firefox-esr", "firefox") }

// scripted runs a walk in a browser with scripts and in one without, each through a back office of its own with two operators.
func scripted(t *testing.T, walk string, seen func(*testing.T, *office)) {
	for _, scripts := range []string{"on", "off"} {
		t.Run("scripts "+scripts, func(t *testing.T) {
			o := newOffice(t)
			code := o.login("keller", "--role", "security administrator", "--role", "license administrator")
			second := o.login("second", "--role", "license administrator")
			o.serve()
			o.walk(walk, "SCRIPTS="+scripts, "CODE="+code, "SECOND="+second)
			if seen != nil {
				seen(t, o)
			}
		})
	}
}

func TestFirstLogin(t *testing.T) { scripted(t, "first", nil) }

func TestSeats(t *testing.T) { scripted(t, "seats", nil) }

func TestGone(t *testing.T) { scripted(t, "gone", nil) }

func TestEnded(t *testing.T) { scripted(t, "ended", nil) }

// Ten files dropped together become eight new responses, one that was there before and one refusal, in one archive.
func TestTenFiles(t *testing.T) {
	scripted(t, "ten", func(t *testing.T, o *office) {
		if t.Failed() {
			return
		}
		z, err := zip.OpenReader(filepath.Join(o.scratch, "responses.zip"))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		before, err := os.ReadFile(filepath.Join(o.scratch, "before.LHR"))
		if err != nil {
			t.Fatal(err)
		}
		folders, same := map[string]bool{}, 0
		for _, f := range z.File {
			folders[path.Dir(f.Name)] = true
			if !strings.HasPrefix(f.Name, "LEASEHOLD/") || path.Base(f.Name) != "RSP-0001.LHR" {
				t.Errorf("%s in the archive", f.Name)
			}
			b, err := fs.ReadFile(z, f.Name)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(b, before) {
				same++
			}
		}
		if len(z.File) != 9 || len(folders) != 9 || same != 1 {
			t.Errorf("%d files in %d folders, %d of them the bytes of before; want 9, 9 and 1", len(z.File), len(folders), same)
		}
	})
}

// Markup in every name is text on every page.
func TestHostileNames(t *testing.T) {
	o := newOffice(t)
	code := o.login("keller", "--role", "security administrator", "--role", "license administrator", "--role", "auditor")
	o.serve()
	o.walk("hostile", "CODE="+code)
}

// Every page, as a login with all roles sees it, one that may only look, a customer's and nobody. What other roles see is some of the first one's pages.
func TestPages(t *testing.T) {
	o := newOffice(t)
	code := o.login("keller", "--role", "security administrator", "--role", "license administrator", "--role", "auditor")
	o.freehold("account", "set", "ACME Works")
	codes := map[string]string{
		"viewer":   o.login("viewer", "--role", "viewer"),
		"customer": o.login("customer", "--account", "ACME Works", "--role", "license administrator", "--role", "security administrator"),
	}
	list, err := json.Marshal(codes)
	if err != nil {
		t.Fatal(err)
	}
	o.serve()
	o.walk("pages", "CODE="+code, "LOGINS="+string(list))
}
