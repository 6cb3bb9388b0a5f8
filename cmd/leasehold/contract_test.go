package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

// commands are all commands that do something, by their words.
func commands(c *cobra.Command) (all []*cobra.Command) {
	for _, s := range c.Commands() {
		if s.Name() != "help" && s.Name() != "completion" {
			all = append(all, s)
			all = append(all, commands(s)...)
		}
	}
	return all
}

// Every command refuses a flag and arguments that it does not know, with 2 and in four lines, before it asks anyone; and says what it is for.
func TestEachCommandRefusesWhatItDoesNotKnow(t *testing.T) {
	all := commands(command(nil, io.Discard, io.Discard))
	if len(all) < 60 {
		t.Fatalf("only %d commands were found", len(all))
	}
	for _, c := range all {
		args := strings.Fields(c.CommandPath())[1:]
		for _, wrong := range [][]string{{"--no-such-flag-anywhere"}, {"one", "two", "three", "four", "five", "six", "seven"}} {
			m := newMachine(t)
			status, out, stderr := m.run(append(slices.Clone(args), wrong...)...)
			what := strings.Join(append(args, wrong...), " ")
			if status != capability.ExitUsage || out != "" {
				t.Errorf("%s: exit status %d\n%s%s", what, status, out, stderr)
				continue
			}
			fourLines(t, what, stderr, capability.ErrUsage)
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || c.Use != strings.TrimSpace(c.Use) {
			t.Errorf("%s says that it is for %q", c.CommandPath(), c.Short)
		}
	}
}

// Nothing ends with 0 that says an error, and nothing that says none ends otherwise without a word: each command as it stands, where no daemon answers.
func TestNoCommandEndsWell(t *testing.T) {
	for _, c := range commands(command(nil, io.Discard, io.Discard)) {
		if c.HasSubCommands() || c.Hidden || slices.Contains([]string{"login", "poll"}, c.Name()) { // one asks a person, the other goes on
			continue
		}
		m := newMachine(t)
		for _, json := range []bool{false, true} {
			args := strings.Fields(c.CommandPath())[1:]
			if c.Flags().Lookup("timeout") != nil {
				args = append(args, "--timeout", "1ms")
			}
			if json {
				args = append(args, "--json")
			}
			status, out, stderr := m.run(args...)
			failed := strings.HasPrefix(stderr, "error: ") || strings.Contains(stderr, "\nerror: ")
			if failed != (status != 0) && (failed || out == "") {
				t.Errorf("%s: exit status %d\n%s%s", strings.Join(args, " "), status, out, stderr)
			}
		}
	}
}

// What a schema number stands for never changes: a file beside the tests, or a script of the daemon's, shows what it has.
func TestEachSchemaHasAGoldenFile(t *testing.T) {
	var sources, shown []string
	for _, pattern := range []string{"*.go", "../internal/terminal/*.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, paths...)
	}
	for _, pattern := range []string{"testdata/*.json", "testdata/hostid/*.json", "../leaseholdd/testdata/check-14-json.txtar", "../leaseholdd/testdata/onlineseat.txtar"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatal(pattern, err)
		}
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			shown = append(shown, regexp.MustCompile(`leasehold\.[a-z-]+/\d+`).FindAllString(string(b), -1)...)
		}
	}
	schemas := map[string]bool{}
	one := "leasehold.user-remove/1" // all that is done to a login is said by one function, and shown once
	for _, path := range sources {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range regexp.MustCompile(`(p\.did\()?"(leasehold\.[a-z-]+/\d+)"`).FindAllStringSubmatch(string(b), -1) {
			schemas[s[2]] = s[1] == "" || s[2] == one
		}
	}
	if len(schemas) < 40 {
		t.Errorf("only %d schemas were found", len(schemas))
	}
	delete(schemas, "leasehold.key/1") // somebody has to touch a security key for it
	for s, alone := range schemas {
		if alone && !slices.Contains(shown, s) {
			t.Errorf("no golden file shows %s", s)
		}
	}
}

// What is said of logins that are changed.
func TestGoldenOfLogins(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	d.says("DELETE users/keller", struct{}{})
	m.prints("user-remove", "users remove keller", 0)
	d.says("POST users/keller/tokens", console.NewToken{Name: "nightly", Token: "lh_example", Ends: 1806451199})
	status, out, stderr := m.run("users", "token", "keller", "--name", "nightly", "--json")
	if status != 0 {
		t.Error(status, stderr)
	}
	m.golden("user-token.json", out)
}
