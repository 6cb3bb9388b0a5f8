//go:build vm

package vm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Nothing here takes as long; they end what would never end.
const (
	bootTime = 30 * time.Minute
	stepTime = 5 * time.Minute

	// applianceName is what the appliance goes by: its host name, which this host cannot look up.
	applianceName = "leasehold:7070"

	// The two machines that scenarios go on from, after a first boot: one that nobody has done anything with yet, and one that serves 40 seats of render.
	unprovisioned = "unprovisioned"
	activated     = "activated"
	seats         = 40
)

// scenario is a machine with a built image, and the producer and the client on the other side of its network. Everything is in one directory, so that a copy of that is another scenario.
type scenario struct {
	t     *testing.T
	name  string // of the evidence
	image string // path of a build, without the endings
	bin   string
	dir   string
	vm    *Machine
	begin time.Time

	key   string           // SHA-256 of that of the appliance's authority, in hex
	proxy *httptest.Server // the appliance by the name that it goes by, for programs that only find it on this host's loopback
}

// built is the image to boot.
func built(t *testing.T) string {
	t.Helper()
	base := os.Getenv("IMAGE")
	if base == "" {
		t.Fatal("no image to boot; type: make e2e")
	}
	return base
}

// accelerator is asked for once.
var accelerator = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lhvm")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	name, why, err := Accelerator(context.Background(), dir, os.Getenv("IMAGE")+".efi")
	fmt.Printf("accelerator %s: %s\n", name, why)
	return name, err
})

// base is the directory of the machine that scenarios go on from. BASE names one that is kept, for who works on a scenario.
var base = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("BASE"); dir != "" {
		return dir, os.MkdirAll(dir, 0o700)
	}
	return os.MkdirTemp("", "lhvm")
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := base(); err == nil && os.Getenv("BASE") == "" {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// newScenario is a machine that has never been switched on, with the disk that is built, or the one that is made of it.
func newScenario(t *testing.T, other ...func(*scenario) string) *scenario {
	t.Helper()
	dir, err := os.MkdirTemp("", "lhvm")
	if err != nil {
		t.Fatal(err)
	}
	s := inDir(t, dir)
	disk := s.image + ".disk"
	for _, made := range other {
		disk = made(s)
	}
	name, err := accelerator()
	s.must(err)
	s.vm, err = New(s.within(stepTime), filepath.Join(dir, "a"), disk, name)
	s.must(err)
	return s
}

// goesOn is a machine that goes on from a snapshot, as a scenario of its own.
func goesOn(t *testing.T, snapshot string) *scenario {
	t.Helper()
	from := provided(t)
	dir, err := os.MkdirTemp("", "lhvm")
	if err != nil {
		t.Fatal(err)
	}
	s := inDir(t, dir)
	ctx := s.within(stepTime)
	what := []string{from + "/."}
	if snapshot == unprovisioned { // what came after it is not there yet
		what = []string{from + "/a", from + "/code", from + "/key"}
	}
	s.must(run(ctx, "cp", append([]string{"-r", "--sparse=always", "--reflink=auto", "-t", dir}, what...)...))
	s.resumes(snapshot)
	return s
}

// resumes has the machine of the scenario's directory go on from a snapshot.
func (s *scenario) resumes(snapshot string) {
	s.t.Helper()
	name, err := accelerator()
	s.must(err)
	s.vm = Open(filepath.Join(s.dir, "a"), name)
	b, err := os.ReadFile(filepath.Join(s.dir, "key"))
	s.must(err)
	s.key = string(b)
	s.must(s.vm.Start(s.within(stepTime), snapshot))
	s.log("goes on, %s", snapshot)
}

// inDir is a scenario in a directory, which goes with the test.
func inDir(t *testing.T, dir string) *scenario {
	t.Helper()
	image := built(t)
	s := &scenario{t: t, name: t.Name(), image: image, bin: filepath.Join(filepath.Dir(image), "bin"), dir: dir, begin: time.Now()}
	s.proxy = httptest.NewTLSServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "https", s.server(), applianceName
		},
		Transport: s.transport(),
	})
	t.Cleanup(func() {
		s.proxy.Close()
		if s.vm != nil {
			if t.Failed() {
				s.shoot("failed")
			}
			s.vm.Kill()
		}
		s.keep()
		if shared, err := base(); err != nil || dir != shared {
			os.RemoveAll(dir)
		}
	})
	return s
}

// evidence is where what the machine said and showed is left.
func (s *scenario) evidence(name string) string {
	dir := filepath.Join(filepath.Dir(s.image), "evidence", s.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Error(err)
	}
	return filepath.Join(dir, name)
}

// keep leaves the evidence: what the machine and its monitor said, and the sticks.
func (s *scenario) keep() {
	for _, pattern := range []string{"a/*.log", "*.img"} {
		files, _ := filepath.Glob(filepath.Join(s.dir, pattern))
		for _, f := range files {
			if err := run(context.Background(), "cp", "--sparse=always", f, s.evidence(filepath.Base(f))); err != nil {
				s.t.Error(err)
			}
		}
	}
}

// shoot leaves a picture of the screen, and the text that a terminal on the serial line shows.
func (s *scenario) shoot(name string) {
	if s.vm.Monitor() == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stepTime)
	defer cancel()
	if err := s.vm.Screenshot(ctx, s.evidence(name+".png")); err != nil && !errors.Is(err, ErrEnded) {
		s.t.Error(err)
	}
	text, err := s.vm.Screen()
	if err == nil {
		err = os.WriteFile(s.evidence(name+".txt"), []byte(text+"\n"), 0o644)
	}
	if err != nil {
		s.t.Error(err)
	}
}

func (s *scenario) log(format string, args ...any) {
	s.t.Helper()
	s.t.Logf("%6.1f s  %s", time.Since(s.begin).Seconds(), fmt.Sprintf(format, args...))
}

func (s *scenario) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeoutCause(context.Background(), d, fmt.Errorf("not within %s", d))
	s.t.Cleanup(cancel)
	return ctx
}

func (s *scenario) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// boots switches the machine on and waits until it has started what it starts.
func (s *scenario) boots() {
	s.t.Helper()
	s.switchesOn()
	s.booted()
}

func (s *scenario) switchesOn() {
	s.t.Helper()
	s.must(s.vm.Start(s.within(bootTime), ""))
}

func (s *scenario) booted() {
	s.t.Helper()
	ctx := s.within(bootTime)
	_, err := s.vm.WaitSerial(ctx, `Reached target .*initrd`)
	s.must(err)
	s.log("the initrd has started")
	// The service manager's own last lines are not waited for: it is silent where the text console has begun.
	found, err := s.vm.WaitScreen(ctx, `STATE (NOT|HOLDING|SERVING)`)
	s.must(err)
	s.log("screen: %s", found[0])
	text, err := s.vm.Serial()
	s.must(err)
	for line := range strings.Lines(text) {
		if strings.Contains(line, "FAILED") || strings.Contains(line, "Kernel panic") {
			s.t.Errorf("the boot says: %s", line)
		}
	}
}

// lets the machine run for so long, where the moment that follows is the chance that is tested.
func (s *scenario) lets(d time.Duration) {
	s.t.Helper()
	select {
	case <-time.After(d):
	case <-s.vm.ended:
		s.t.Fatal(ErrEnded)
	}
}

// shows waits until the screen on the serial line shows it.
func (s *scenario) shows(expression string) []string {
	s.t.Helper()
	found, err := s.vm.WaitScreen(s.within(stepTime), expression)
	s.must(err)
	s.log("screen: %s", found[0])
	return found
}

// trusts compares the certificate that the appliance shows with that on its screen, and remembers the key of the authority that signed it.
func (s *scenario) trusts() {
	s.t.Helper()
	ctx := s.within(stepTime)
	for s.key == "" {
		found, err := s.vm.WaitScreen(ctx, `https://10\.0\.2\.15:7070/.*certificate SHA-256 ([0-9A-F]{32}) ([0-9A-F]{32})`)
		s.must(err)
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		conn, err := d.DialContext(ctx, "tcp", s.server())
		if err == nil { // else the machine is too slow for the time that a conversation has to begin
			shown := conn.(*tls.Conn).ConnectionState().PeerCertificates
			conn.Close()
			if sum := sha256.Sum256(shown[0].Raw); strings.EqualFold(hex.EncodeToString(sum[:]), found[1]+found[2]) && len(shown) == 2 {
				sum = sha256.Sum256(shown[1].RawSubjectPublicKeyInfo)
				s.key = hex.EncodeToString(sum[:])
				break
			}
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("the screen shows the certificate %s%s, another is presented, or none: %v", found[1], found[2], err)
		case <-time.After(look):
		}
	}
	s.must(os.WriteFile(filepath.Join(s.dir, "key"), []byte(s.key), 0o600))
	s.log("the certificate is the one on the screen")
}

// run runs one of the programs on this host and gives what it prints.
func (s *scenario) run(wants int, program string, args ...string) string {
	s.t.Helper()
	out, status, err := s.says(program, args...)
	if status != wants {
		s.t.Fatalf("%s %s: %v, want exit status %d\n%s", program, strings.Join(args, " "), err, wants, out)
	}
	return out
}

// says runs a program and gives what it prints, its exit status, and what it complains of.
func (s *scenario) says(program string, args ...string) (out string, status int, err error) {
	s.t.Helper()
	cmd := exec.CommandContext(s.within(stepTime), filepath.Join(s.bin, program), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", fmt.Sprintf("LEASEHOLD_FINGERPRINT=%x", sha256.Sum256(s.proxy.Certificate().Raw)))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err = cmd.Run(); cmd.ProcessState == nil {
		return "", -1, err
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return stdout.String(), cmd.ProcessState.ExitCode(), err
}

// server is where clients find the appliance, and manager where administrators do.
func (s *scenario) server() string { return fmt.Sprintf("127.0.0.1:%d", s.vm.Port) }

func (s *scenario) manager() string { return s.proxy.Listener.Addr().String() }

// manages runs the administrators' command line against the appliance.
func (s *scenario) manages(wants int, args ...string) string {
	s.t.Helper()
	return s.run(wants, "leasehold", append(args, "--server", s.manager(), "--token-file", filepath.Join(s.dir, "token"))...)
}

// freehold runs the back office of the image's test producer.
func (s *scenario) freehold(args ...string) string {
	s.t.Helper()
	return s.run(0, "freehold", s.office(args)...)
}

func (s *scenario) office(args []string) []string {
	return append(args, "--dir", filepath.Join(s.dir, "freehold"), "--passphrase-file", filepath.Join(filepath.Dir(s.image), "test", "passphrase"))
}

// transport reaches the appliance on the forwarded port, and compares what the screen shows.
func (s *scenario) transport() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		InsecureSkipVerify:    true, // what is compared instead is the fingerprint that the screen shows
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error { return s.vouched(raw) },
	}}
}

// web asks the appliance as a browser does that knows its certificate.
func (s *scenario) web(method, path string, body any) (int, string) {
	s.t.Helper()
	b, err := json.Marshal(body)
	s.must(err)
	if body == nil {
		b = nil
	}
	r, err := http.NewRequestWithContext(s.within(stepTime), method, "https://"+s.server()+path, bytes.NewReader(b))
	s.must(err)
	r.Host = applianceName
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	w, err := s.transport().RoundTrip(r)
	s.must(err)
	defer w.Body.Close()
	text, err := io.ReadAll(io.LimitReader(w.Body, 1<<20))
	s.must(err)
	return w.StatusCode, string(text)
}

// vouched says whether the authority whose key the screen shows has signed the first certificate.
func (s *scenario) vouched(raw [][]byte) error {
	if len(raw) != 2 {
		return fmt.Errorf("%d certificates where the appliance's and its authority's are shown", len(raw))
	}
	own, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return err
	}
	authority, err := x509.ParseCertificate(raw[1])
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(authority.RawSubjectPublicKeyInfo); hex.EncodeToString(sum[:]) != s.key {
		return errors.New("another authority than at first")
	}
	return own.CheckSignatureFrom(authority)
}

func (s *scenario) secret(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	s.must(os.WriteFile(path, []byte(text+"\n"), 0o600))
	return path
}

// signsIn takes a token for a login.
func (s *scenario) signsIn(name, passwordFile string) {
	s.t.Helper()
	s.run(0, "leasehold", "session", "open", "--server", s.manager(), "--user", name, "--password-file", passwordFile, "-o", filepath.Join(s.dir, "token"))
}

// measured compares the boot state in a request with what the build said beforehand.
func (s *scenario) measured(request string) {
	s.t.Helper()
	b, err := os.ReadFile(s.image + ".measure.json")
	s.must(err)
	var m struct {
		PCR11 string `json:"pcr_11"`
		PCR12 string `json:"pcr_12"`
	}
	s.must(json.Unmarshal(b, &m))
	s.freehold("boot", "allow", "--from", request, "--note", "this image")
	var allowed struct {
		States []struct {
			State string `json:"state"` // PCR 7, 11 and 12 in hex
		} `json:"states"`
	}
	s.must(json.Unmarshal([]byte(s.freehold("boot", "list", "--json")), &allowed))
	if n := len(allowed.States); n != 1 {
		s.t.Fatalf("%d boot states are allowed", n)
	}
	if got, want := allowed.States[0].State, m.PCR11+m.PCR12; len(got) != 192 || got[64:] != want {
		s.t.Errorf("PCR 7, 11 and 12 of the machine are %s, predicted were 11 and 12 as %s", got, want)
	}
	s.log("PCR 11 and 12 are as predicted")
}
