package settings

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// directory is a configuration of these files.
func directory(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatIsSaidLaterCounts(t *testing.T) {
	dir := directory(t, map[string]string{
		"leaseholdd.toml":   "# the main file\nlisten = \":7070\"\nlog-level = \"warn\"\n\nstate = '/srv/leasehold'\n",
		"conf.d/20-b.toml":  "log-level = \"error\"\n",
		"conf.d/10-a.toml":  "\nlog-level = \"debug\"\nevent-log = \"\"\nname = [\"licenses.example.com\", \"10.20.0.15\"]\n",
		"conf.d/30-no.conf": "not a configuration file",
		"conf.d/empty.toml": "",
		"other.toml":        "nor this",
		"conf.d/sub/x.toml": "nor this",
	})
	c, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	want := &Configuration{
		Files: []string{in("leaseholdd.toml"), in("conf.d/10-a.toml"), in("conf.d/20-b.toml"), in("conf.d/empty.toml")},
		Settings: []Setting{
			{"state", "/srv/leasehold", in("leaseholdd.toml"), 5}, {"event-log", "", in("conf.d/10-a.toml"), 3}, {"listen", ":7070", in("leaseholdd.toml"), 2},
			{"log-level", "error", in("conf.d/20-b.toml"), 1}, {"name", "licenses.example.com,10.20.0.15", in("conf.d/10-a.toml"), 4},
		},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("%+v\nwhere this is wanted\n%+v", c, want)
	}
}

func TestNothingIsConfigured(t *testing.T) {
	for _, files := range []map[string]string{{}, {"conf.d/README": "put files here"}, {"leaseholdd.toml": "# all defaults\n"}} {
		if c, err := Read(directory(t, files)); err != nil || len(c.Settings) != 0 || c.Settings == nil || c.Files == nil {
			t.Errorf("%v: %+v, %v", files, c, err)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); terminal.CodeOf(err) != capability.ErrConfig {
		t.Errorf("a directory that was named and is not there: %v", err)
	}
}

// What cannot be used is named by file, line and key, and the key that may have been meant.
func TestWhatCannotBeUsed(t *testing.T) {
	for text, want := range map[string]string{
		"\nlog-levle = \"debug\"\n":             `line 2: no key is called log-levle; the nearest is log-level`,
		"log_level = \"debug\"\n":               `line 1: no key is called log_level; the nearest is log-level`,
		"tmp = \"/dev/tpm0\"\n":                 `line 1: no key is called tmp; the nearest is tpm`,
		"colour = 7\n":                          `line 1: no key is called colour; there are state, tpm, event-log, trust, listen, socket, poll-socket, os-release, directory-socket, branding, log-level, name`,
		"log-level = \"debug\"\n[daemon]\nx=1":  `line 2: no key is called daemon; there are state`,
		"log-level = \"loud\"\n":                `line 1: log-level = "loud": want debug, info, warn or error`,
		"# \nlisten = \"7070\"\n":               `line 2: listen = "7070": want HOST:PORT, or :PORT for all addresses`,
		"listen = \":0\"\n":                     `line 1: listen = ":0": "0" is no port`,
		"listen = \":70700\"\n":                 `line 1: listen = ":70700": "70700" is no port`,
		"listen = \":http\"\n":                  `line 1: listen = ":http": "http" is no port`,
		"state = \"state\"\n":                   `line 1: state = "state": want a path from the root on`,
		"state = \"\"\n":                        `line 1: state = "": want a path from the root on`,
		"directory-socket = \"x\"\n":            `line 1: directory-socket = "x": want a path from the root on, or nothing`,
		"poll-socket = \"x\"\n":                 `line 1: poll-socket = "x": want a path from the root on, or nothing`,
		"tpm = \"chip\"\n":                      `line 1: tpm = "chip": want a device, unix:SOCKET or tcp:HOST:PORT`,
		"trust = \"/etc/a\\u0000b\"\n":          `line 1: trust = "/etc/a\x00b": it has a control character`,
		"log-level = \"debug\"\nlisten = 7070":  `line 2 (last key "listen"): incompatible types`,
		"log-level = debug\n":                   `line 1: `,
		"log-level = \"a\"\nlog-level = \"b\"":  `line 2: `,
		"listen = [\":7070\"]\n":                `line 1 (last key "listen"): incompatible types`,
		"name = [\"a\", \"b,c\"]\n":             `line 1: name = "b,c": want a name, as licenses.example.com`,
		"name = \"a\"\n":                        `line 1 (last key "name"): incompatible types`,
		"config = \"/etc\"\n":                   `line 1: no key is called config; there are`,
		"\x00":                                  `line 1: `,
		strings.Repeat("# a comment\n", 64<<10): `more than 65536 bytes`,
	} {
		dir := directory(t, map[string]string{"conf.d/x.toml": text})
		_, err := Read(dir)
		if err == nil || terminal.CodeOf(err) != capability.ErrConfig {
			t.Errorf("%.40q: %v", text, err)
			continue
		}
		if got, named := strings.CutPrefix(err.Error(), filepath.Join(dir, "conf.d/x.toml")+": "); !named || !strings.HasPrefix(got, want) {
			t.Errorf("%.40q: %q where %q is wanted", text, err, want)
		}
	}
	dir := directory(t, map[string]string{"conf.d/dir.toml/x": ""})
	if _, err := Read(dir); terminal.CodeOf(err) != capability.ErrConfig || strings.Count(err.Error(), dir) != 1 {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("log-level = \"debug\"\n"))
	f.Add([]byte("[a]\nb = 1\n[[c]]\n\"d\" = { e = 2 }\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		said := map[string]Setting{}
		if err := take(b, "x.toml", said); err != nil && !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("%q", err)
		}
	})
}
