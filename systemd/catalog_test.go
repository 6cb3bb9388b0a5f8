package systemd

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
)

// unfolded is the catalog's entry of a code, its paragraphs as one line each.
func unfolded(t *testing.T, l capability.Language, c capability.Code) string {
	t.Helper()
	_, after, found := strings.Cut(string(Catalog(l)), "-- "+c.MessageID()+"\n")
	entry, _, _ := strings.Cut(after, "\n-- ")
	head, body, two := strings.Cut(entry, "\n\n")
	if !found || !two {
		t.Fatalf("%s is not in the catalog in %s", c, l)
	}
	return head + "\n\n" + strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(body), "\nNext: ", "\x00Next: "), "\n", " ")
}

// The journal's catalog says the sentences of the catalog of codes, in lines that a pager shows whole.
func TestCatalogOfTheJournal(t *testing.T) {
	for _, l := range capability.Languages() {
		text := string(Catalog(l))
		for _, line := range strings.Split(text, "\n") {
			if n := len([]rune(line)); n > catalogColumns && !strings.HasPrefix(line, "Subject: ") || strings.Contains(line, "@") {
				t.Errorf("%s: %d columns, or a field that may be absent: %s", l, n, line)
			}
		}
		for _, e := range capability.Catalog() {
			e = e.Code.In(l)
			got := unfolded(t, l, e.Code)
			for _, want := range []string{"Subject: " + e.Code.String() + " " + e.Title + "\n", ": " + e.Cause + ".", ": " + e.Next + "."} {
				if !strings.Contains(got, want) {
					t.Errorf("%s in %s lacks %q:\n%s", e.Code, l, want, got)
				}
			}
		}
	}
}

// The tool of systemd that makes the database of installed catalogs takes ours: all languages together, and each by itself, under the name of English so that it
// is found where no other locale is installed.
func TestJournalctlTakesTheCatalog(t *testing.T) {
	journalctl, err := exec.LookPath("journalctl")
	if err != nil {
		t.Fatal("journalctl is missing: make deps")
	}
	install := func(files map[string][]byte) (run func(level string, args ...string) string) {
		root := t.TempDir()
		dir := filepath.Join(root, "usr/lib/systemd/catalog")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range files {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return func(level string, args ...string) string {
			c := exec.Command(journalctl, append([]string{"--root", root, "--no-pager"}, args...)...)
			c.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "SYSTEMD_LOG_LEVEL="+level)
			out, err := c.CombinedOutput()
			if err != nil {
				t.Fatalf("journalctl %v: %v\n%s", args, err, out)
			}
			return string(out)
		}
	}
	all := capability.Catalog()
	files := map[string][]byte{}
	for _, l := range capability.Languages() {
		files[CatalogName(l)] = Catalog(l)
		run := install(map[string][]byte{CatalogName(capability.English): Catalog(l)})
		if out := run("info", "--update-catalog"); strings.TrimSpace(out) != "" {
			t.Errorf("the catalog in %s is complained of: %s", l, out)
		}
		list := run("info", "--list-catalog")
		if n := strings.Count(list, "\n"); n != len(all) {
			t.Errorf("%d entries in %s of %d", n, l, len(all))
		}
		for _, e := range all {
			e = e.Code.In(l)
			if want := e.Code.MessageID() + " Leasehold: " + e.Code.String() + " " + e.Title + "\n"; !strings.Contains(list, want) {
				t.Errorf("%s is not listed in %s as %q", e.Code, l, want)
			}
		}
		if dump := run("info", "--dump-catalog", capability.ErrNoSeat.MessageID()); !strings.Contains(dump, capability.ErrNoSeat.In(l).Cause) {
			t.Errorf("no cause in %s in\n%s", l, dump)
		}
	}
	if out, want := install(files)("debug", "--update-catalog"), fmt.Sprintf("Found %d items in catalog", len(files)*len(all)); !strings.Contains(out, want) {
		t.Errorf("%q is wanted of all languages together:\n%s", want, out)
	}
}

// A message with a code goes into the journal with the ID that the catalog has, one without a code with none.
func TestMessagesNameTheirEntry(t *testing.T) {
	h := &handler{program: "leaseholdd", level: slog.LevelInfo}
	r := slog.NewRecord(time.Time{}, slog.LevelWarn, "no seat free", 0)
	r.AddAttrs(slog.String("code", capability.ErrNoSeat.String()), slog.String("feature", "render"))
	message, fields := h.entry(r)
	for name, want := range map[string]string{"MESSAGE_ID": capability.ErrNoSeat.MessageID(), "LEASEHOLD_CODE": "LH-3104", "LEASEHOLD_FEATURE": "render", "SYSLOG_IDENTIFIER": "leaseholdd"} {
		if fields[name] != want {
			t.Errorf("%s=%s, want %s", name, fields[name], want)
		}
	}
	if message != "LH-3104 no seat free feature=render" {
		t.Error(message)
	}
	if _, fields = h.entry(slog.NewRecord(time.Time{}, slog.LevelInfo, "hello", 0)); fields["MESSAGE_ID"] != "" {
		t.Error(fields)
	}
	_, fields = h.WithAttrs([]slog.Attr{slog.String("code", "LH-4001")}).(*handler).entry(slog.NewRecord(time.Time{}, slog.LevelInfo, "hello", 0))
	if fields["MESSAGE_ID"] != capability.ErrNotProvisioned.MessageID() {
		t.Error(fields)
	}
}
