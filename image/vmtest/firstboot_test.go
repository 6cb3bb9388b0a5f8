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
	"testing"
	"time"
)

// Nothing here takes as long; they end what would never end.
const (
	bootTime = 30 * time.Minute
	stepTime = 5 * time.Minute

	// applianceName is what the appliance goes by: its host name, which this host cannot look up.
	applianceName = "leasehold:7070"

	// fingerprint is the line of the screen with that of the authority's key, which stays. The certificates are others as soon as the machine is reached at an address.
	fingerprint = `(?m)^its key      ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})\s*$`
)

// scenario is a machine with a built image, and the producer and the client on the other side of its network.
type scenario struct {
	t     *testing.T
	image string // path of a build, without the endings
	bin   string
	dir   string
	vm    *Machine
	begin time.Time

	fingerprint string           // of the key of the appliance's authority
	proxy       *httptest.Server // the appliance by the name that it goes by, for programs that only find it on this host's loopback
}

func newScenario(t *testing.T) *scenario {
	t.Helper()
	base := os.Getenv("IMAGE")
	if base == "" {
		t.Fatal("no image to boot; type: make -C image boot-test")
	}
	dir, err := os.MkdirTemp("", "lhvm")
	if err != nil {
		t.Fatal(err)
	}
	s := &scenario{t: t, image: base, bin: filepath.Join(filepath.Dir(base), "bin"), dir: dir, begin: time.Now()}
	ctx := s.within(stepTime)
	accelerator, why, err := Accelerator(ctx, dir, base+".efi")
	if err != nil {
		t.Fatal(err)
	}
	s.log("accelerator %s: %s", accelerator, why)
	s.vm, err = New(ctx, filepath.Join(dir, "a"), base+".disk", accelerator)
	if err != nil {
		t.Fatal(err)
	}
	s.proxy = httptest.NewTLSServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "https", s.server(), applianceName
		},
		Transport: s.transport(),
	})
	t.Cleanup(func() {
		s.proxy.Close()
		s.vm.Kill()
		s.keep()
		os.RemoveAll(dir)
	})
	return s
}

// keep leaves the evidence: what the machine said.
func (s *scenario) keep() {
	to := filepath.Join(filepath.Dir(s.image), "evidence", s.t.Name())
	if err := os.MkdirAll(to, 0o755); err != nil {
		s.t.Error(err)
		return
	}
	logs, _ := filepath.Glob(filepath.Join(s.dir, "a", "*.log*"))
	for _, l := range logs {
		b, err := os.ReadFile(l)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(l)), b, 0o644)
		}
		if err != nil {
			s.t.Error(err)
		}
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

// boots switches the machine on and waits until it has said all that it says at a start.
func (s *scenario) boots() {
	s.t.Helper()
	ctx := s.within(bootTime)
	s.must(s.vm.Start(ctx, ""))
	for _, line := range []string{`Reached target .*initrd`, fingerprint} {
		_, err := s.vm.WaitSerial(ctx, line)
		s.must(err)
		s.log("serial: %s", line)
	}
	found, err := s.vm.WaitSerial(ctx, fingerprint)
	s.must(err)
	s.fingerprint = strings.ToLower(strings.ReplaceAll(found[1], ":", ""))
	text, err := s.vm.Serial()
	s.must(err)
	for line := range strings.Lines(text) {
		if strings.Contains(line, "FAILED") || strings.Contains(line, "Kernel panic") {
			s.t.Errorf("the boot says: %s", line)
		}
	}
}

// run runs one of the programs on this host and gives what it prints.
func (s *scenario) run(wants int, program string, args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.within(stepTime), filepath.Join(s.bin, program), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", fmt.Sprintf("LEASEHOLD_FINGERPRINT=%x", sha256.Sum256(s.proxy.Certificate().Raw)))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != wants {
		s.t.Fatalf("%s %s: %v, want exit status %d\n%s%s", program, strings.Join(args, " "), err, wants, out.String(), errs.String())
	}
	return out.String()
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
	test := filepath.Join(filepath.Dir(s.image), "test")
	return s.run(0, "freehold", append(args, "--dir", filepath.Join(s.dir, "freehold"), "--passphrase-file", filepath.Join(test, "passphrase"))...)
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
	if sum := sha256.Sum256(authority.RawSubjectPublicKeyInfo); hex.EncodeToString(sum[:]) != s.fingerprint {
		return errors.New("another authority than the screen shows")
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

// An appliance that is unpacked, switched on and connected tells on its screen what to do; a request and a response by file make it serve; and after it was
// switched off and on it serves on, its storage opened by the boot state that was signed.
func TestFirstBoot(t *testing.T) {
	s := newScenario(t)
	s.boots()
	found, err := s.vm.WaitSerial(s.within(stepTime), `(?m)^([0-9A-Z]{4}-[0-9A-Z]{4})\s*$`)
	s.must(err)
	code := found[1]
	text, err := s.vm.Serial()
	s.must(err)
	if !strings.Contains(text, "NOT ACTIVATED") {
		t.Error("the screen does not say that the appliance is not activated")
	}
	client, second := s.activates(code)
	s.measured(filepath.Join(s.dir, "stick", "REQ-0001.LHQ"))

	s.must(s.vm.PowerOff(s.within(stepTime)))
	s.log("switched off")
	s.boots()
	s.signsIn("ada", second)
	if out := s.manages(0, "status"); !strings.Contains(out, "of 40") || strings.Contains(out, "not activated") {
		t.Errorf("status after a second boot: %s", out)
	}
	s.run(0, "leasehold", append([]string{"acquire", "render", "--wait", "3m"}, client()...)...)
	s.log("serves after a second boot")
}

// activates takes an appliance from its first login to its first lease. It gives how a client asks, and the file with the password of ada, who brings files.
func (s *scenario) activates(code string) (client func() []string, password string) {
	t := s.t
	t.Helper()
	// The book of the test producer is copied: a scenario begins with an empty one.
	s.must(os.CopyFS(filepath.Join(s.dir, "freehold"), os.DirFS(filepath.Join(filepath.Dir(s.image), "test", "freehold"))))
	if status, said := s.web("GET", "/healthz", nil); status != http.StatusOK || strings.TrimSpace(said) != "alive" {
		t.Errorf("/healthz: %d %q", status, said)
	}
	if status, said := s.web("GET", "/readyz", nil); status != http.StatusServiceUnavailable || strings.TrimSpace(said) != "not serving" {
		t.Errorf("/readyz: %d %q", status, said)
	}
	s.log("serves a stranger on port 7070")

	first, second := s.secret("first", "correct horse battery"), s.secret("second", "another horse battery")
	if status, said := s.web("POST", "/api/v1/instances/~/first-login", map[string]string{"code": code, "name": "keller", "password": "correct horse battery"}); status != http.StatusOK && status != http.StatusCreated {
		t.Fatalf("first login: %d %s", status, said)
	}
	s.signsIn("keller", first)
	s.manages(0, "users", "add", "ada", "--role", "license administrator", "--role", "operator", "--password-file", second, "--own-password-file", first)
	s.signsIn("ada", second)
	if out := s.manages(0, "status"); !strings.Contains(out, "not activated") {
		t.Errorf("status: %s", out)
	}
	s.log("a first login, and one of a license administrator")

	trust := filepath.Join(filepath.Dir(s.image), "test", "producer.lht")
	client = func() []string {
		return []string{"--server", s.server(), "--trust", trust, "--dir", filepath.Join(s.dir, "client")}
	}
	s.run(12, "leasehold", append([]string{"acquire", "render"}, client()...)...)
	id := strings.TrimSpace(s.freehold("entitle", "--customer", "Acme", "--product", "Render", "--feature", "render:2026.1", "--count", "40"))
	stick := filepath.Join(s.dir, "stick")
	s.must(os.Mkdir(stick, 0o700))
	s.manages(0, "request", "--id", id, "--count", "40", "-o", stick)
	request := filepath.Join(stick, "REQ-0001.LHQ")
	s.freehold("respond", request, "-o", stick)
	s.manages(0, "import", stick)
	s.log("activated by files")
	s.run(0, "leasehold", append([]string{"acquire", "render"}, client()...)...)
	if out := s.manages(0, "status"); !strings.Contains(out, "1 of 40") {
		t.Errorf("status after a lease: %s", out)
	}
	if status, said := s.web("GET", "/readyz", nil); status != http.StatusOK {
		t.Errorf("/readyz: %d %q", status, said)
	}
	s.log("a lease is served")
	return client, second
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
