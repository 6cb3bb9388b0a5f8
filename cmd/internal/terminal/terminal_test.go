package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
)

func tool(fail error) *cobra.Command {
	root := &cobra.Command{Use: "tool", Short: "does nothing", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {}}
	one := &cobra.Command{Use: "import FILE", Short: ".starts with a dot", Long: "First.\n\n.second\\", Args: cobra.ExactArgs(1), RunE: func(*cobra.Command, []string) error { return fail }}
	one.Flags().Int("count", 1, "how `many`")
	set := &cobra.Command{Use: "set", Short: "has commands of its own", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {}}
	set.AddCommand(&cobra.Command{Use: "value", Short: "is one", Run: func(*cobra.Command, []string) {}})
	root.AddCommand(one, set, Man(root))
	root.SetOut(new(bytes.Buffer))
	root.SetErr(new(bytes.Buffer))
	return root
}

func TestErrorsAreFourLines(t *testing.T) {
	for _, row := range []struct {
		args   string
		fail   error
		status int
		first  string
		next   string
	}{
		{"import x", nil, 0, "", ""},
		{"import x", capability.Refuse(capability.ErrNoSeat, "render", ""), 10, `error: LH-3104 no seat free for "render"`, "next: leasehold devices"},
		{"import x", fmt.Errorf("more: %w", capability.Refuse(capability.ErrHold, "", "")), 22, "error: LH-4002 hold after a power loss or a repair", "next: wait"},
		{"import x", Coded(capability.ErrFileCut, errors.New("5 bytes")), 20, "error: LH-2002 the file is cut short: 5 bytes", "next: copy"},
		{"import x", Usage("no %s", "way"), 2, "error: LH-6001 no way", "next: tool import --help"},
		{"import x", errors.New("odd"), 1, "error: LH-6005 odd", "next: keep the journal"},
		{"import x", fmt.Errorf("open: %w", &fs.PathError{Op: "open", Path: "/x", Err: fs.ErrNotExist}), 1, "error: LH-2006", "next: check the path"},
		{"import x", errors.Join(errors.New("a"), errors.New("b\x1b[2J")), 1, `error: LH-6005 a; b\u001b[2J`, "next:"},
		{"import x", ExitStatus(42), 42, "", ""},
		{"import", nil, 2, "error: LH-6001 accepts 1 arg(s), received 0", "next: tool import --help"},
		{"import --cuont 3 x", nil, 2, "error: LH-6001 unknown flag: --cuont", "next: tool import --count (did you mean that?)"},
		{"import --nothinglike x", nil, 2, "error: LH-6001 unknown flag: --nothinglike", "next: tool import --help"},
		{"import -c x", nil, 2, "error: LH-6001 unknown shorthand flag", "next: tool import --help"},
		{"import --count x x", nil, 2, "error: LH-6001 invalid argument", "next: tool import --help"},
		{"improt x", nil, 2, `error: LH-6001 unknown command "improt" for "tool"`, "next: tool import (did you mean that?)"},
		{"hlep", nil, 2, `error: LH-6001 unknown command "hlep" for "tool"`, "next: tool help (did you mean that?)"},
		{"set valeu", nil, 2, `error: LH-6001 unknown command "valeu" for "tool set"`, "next: tool set value (did you mean that?)"},
		{"nothinglike", nil, 2, `error: LH-6001 unknown command`, "next: tool --help"},
	} {
		root := tool(row.fail)
		root.SetArgs(strings.Fields(row.args))
		var stderr bytes.Buffer
		if status := Program(root, &stderr); status != row.status {
			t.Errorf("%s, %v: exit status %d where %d is wanted", row.args, row.fail, status, row.status)
		}
		if row.first == "" {
			if stderr.Len() > 0 {
				t.Errorf("%s: says %s", row.args, &stderr)
			}
			continue
		}
		lines := strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n")
		if len(lines) != 4 || !strings.HasPrefix(lines[0], row.first) || !strings.HasPrefix(lines[1], "cause: ") || !strings.HasPrefix(lines[2], row.next) || !strings.HasPrefix(lines[3], "more: leasehold explain LH-") {
			t.Errorf("%s, %v: says\n%s", row.args, row.fail, &stderr)
		}
	}
}

// Every code of the catalog ends a program with its documented status, in four lines.
func TestEachCode(t *testing.T) {
	for _, e := range capability.Catalog() {
		var b bytes.Buffer
		if status := Report(&b, "tool", &capability.Refusal{Denial: capability.Denial{Code: e.Code}}); status != e.Exit || strings.Count(b.String(), "\n") != 4 {
			t.Errorf("%s: %d, %s", e.Code, status, &b)
		}
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ttext ünï": "plain\ttext ünï", "\x1b]0;x\a": `\u001b]0;x\u0007`, "a\r\nb": `a\u000d\u000ab`, "\u202egpj.exe": `\u202egpj.exe`, "\u009b2J": `\u009b2J`, "\x7f": `\u007f`,
	} {
		if got := Plain(in); got != want {
			t.Errorf("%q: %q where %q is wanted", in, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"help", "help", 0}, {"hlep", "help", 1}, {"statsu", "status", 1}, {"ab", "ba", 1}, {"abc", "ca", 3}, {"hel", "help", 1}, {"helpp", "help", 1}, {"", "help", 4}, {"kitten", "sitting", 3}} {
		if got, back := distance(row.a, row.b), distance(row.b, row.a); got != row.want || back != row.want {
			t.Errorf("%s, %s: %d and %d where %d is wanted", row.a, row.b, got, back, row.want)
		}
	}
}

func TestManPages(t *testing.T) {
	dir := t.TempDir()
	root := tool(nil)
	root.SetArgs([]string{"man", dir})
	if status := Program(root, os.Stderr); status != 0 {
		t.Fatal(status)
	}
	for name, want := range map[string][]string{
		"tool.1":             {".SH NAME\ntool \\- does nothing", ".B import"},
		"tool-import.1":      {`\&.starts with a dot`, ".PP\n\\&.second\\e", `.B \-\-count many`, ".SH EXIT STATUS"},
		"leasehold-errors.7": {`.B LH\-3104 E_NO_SEAT`, `.B LH\-6007 E_BUSY`},
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		for _, w := range want {
			if !strings.Contains(string(b), w) {
				t.Errorf("%s lacks %q:\n%.600s", name, w, b)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "tool-man.1")); err == nil {
		t.Error("a hidden command has a page")
	}
}
