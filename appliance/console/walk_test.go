package console

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability/web"
)

// walk has Chromium do one of the walks of the directory where those of the programs are, on pages that need what no program lets a test have: more rows than there can be, and a clock that is set by hand.
func walk(t *testing.T, name, url string, env ...string) {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: make deps", err)
	}
	shots, err := filepath.Abs("../../bin/browser/" + name)
	if err == nil {
		err = os.MkdirAll(shots, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "node", "walk.mjs", name)
	c.Dir = "../../cmd/internal/browser"
	c.Env = append(os.Environ(), append(env, "PORTAL="+url, "SHOTS="+shots, "SCRATCH="+t.TempDir(), "BROWSER=chromium", "EXECUTABLE="+chromium)...)
	out, err := c.CombinedOutput()
	t.Logf("%s\n%s", name, out)
	if err != nil {
		t.Error(err)
	}
}

// Check 22: among ten thousand features the rows narrow as somebody types. The time is printed.
func TestCheck22(t *testing.T) {
	s, err := newPages(t).c.site()
	if err != nil {
		t.Fatal(err)
	}
	pages := http.NewServeMux()
	pages.Handle(web.Root, s.assets)
	pages.Handle("GET /features/details", s.list(tenThousand(t)))
	server := httptest.NewTLSServer(web.Protect(pages, []string{"127.0.0.1"}))
	t.Cleanup(server.Close)
	walk(t, "check22", server.URL)
}

// Check 24: who left a page for 31 minutes and then presses Save is asked to sign in, and what was typed is still there.
func TestCheck24(t *testing.T) {
	w := newPages(t)
	w.signedIn("operator").reserve(entry("Design", "bob", 2))
	hand := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.passes(31 * time.Minute) }))
	t.Cleanup(hand.Close)
	walk(t, "check24", w.server.URL, "NAME=operator", "PASSWORD="+pagePassword, "PAGE=/reservations/edit?id="+idOf(w.reserved()[0]), "HAND="+hand.URL)
	if r := w.reserved()[0]; r.Count != 7 || r.Host.Value != "eve" {
		t.Errorf("what was saved at last is %+v", r)
	}
}
