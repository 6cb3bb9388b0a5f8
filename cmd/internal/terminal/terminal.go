// Package terminal is what all our command lines do the same way: four-line errors, exit statuses, JSON beside text, man pages.
//
// Rules, for everyone who adds an output: data goes to stdout, talk to stderr; no color, no prompt and no width is assumed; an error is always four lines;
// whatever prints data also prints it as JSON with a schema, and the output of a schema number never changes.
package terminal

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leasehold/leasehold/capability"
)

// Errors that carry no code of their own end as wrong usage when the command line was at fault, else as something broken.
type usageError struct {
	error
	next string // what to type; empty for the command's help
}

func (e usageError) Unwrap() error { return e.error }

// Usage marks err as a fault of the command line: exit status 2.
func Usage(format string, args ...any) error { return usageError{error: fmt.Errorf(format, args...)} }

// Coded gives err a code of the catalog.
func Coded(c capability.Code, err error) error {
	return &codedError{c, err, ""}
}

// Advised is Coded with another next step than the catalog's, where that is what was just done.
func Advised(c capability.Code, err error, next string) error {
	return &codedError{c, err, next}
}

type codedError struct {
	code capability.Code
	err  error
	next string // empty: that of the catalog
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// Program runs a root command as a program: it prints what went wrong in four lines and returns the exit status.
func Program(root *cobra.Command, stderr io.Writer) int {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usageError{err, meantFlag(c, err)} })
	out, ok := root.OutOrStdout().(*Output)
	if !ok {
		out = NewOutput(root.OutOrStdout())
		root.SetOut(out)
	}
	cmd, err := root.ExecuteC()
	if word := ExitStatus(0); err == nil || errors.As(err, &word) { // a status says nothing more than what was printed
		if unheard := out.Err(); unheard != nil {
			err = unheard
		}
	}
	if err == nil {
		return capability.ExitOK
	}
	if strings.HasPrefix(err.Error(), "unknown command") || strings.Contains(err.Error(), "arg(s)") || strings.HasPrefix(err.Error(), "required flag") ||
		strings.Contains(err.Error(), "flags in the group") {
		err = usageError{err, meant(cmd)}
	}
	return Report(stderr, cmd.CommandPath(), err)
}

// Output is standard output that remembers: what was printed may be shown once, so a program whose words a full disk did not take has not done its work.
type Output struct {
	w   io.Writer
	err error
}

// NewOutput writes to w. Program makes one where the root command's output is none.
func NewOutput(w io.Writer) *Output { return &Output{w: w} }

// Write is w's.
func (o *Output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// Err is the first error of a Write, with a code.
func (o *Output) Err() error {
	if o.err == nil {
		return nil
	}
	return Coded(capability.ErrFileRead, fmt.Errorf("standard output: %w", o.err))
}

// meant is the command below c that a misspelled one is nearest to, or empty.
func meant(c *cobra.Command) string {
	words := c.Flags().Args()
	if len(words) == 0 {
		return ""
	}
	var names []string
	if !c.HasParent() {
		names = append(names, "help")
	}
	for _, s := range c.Commands() {
		if !s.Hidden {
			names = append(names, s.Name())
		}
	}
	return didYouMean(c, Nearest(words[0], names))
}

// meantFlag is the flag of c that one which is unknown is nearest to, or empty.
func meantFlag(c *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return ""
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if name := Nearest(unknown.GetSpecifiedName(), names); name != "" {
		return didYouMean(c, "--"+name)
	}
	return ""
}

func didYouMean(c *cobra.Command, word string) string {
	if word == "" {
		return ""
	}
	return fmt.Sprintf("%s %s (%s)", c.CommandPath(), word, labelsIn(Language()).meant)
}

// Nearest is the one of some words that a misspelled one is nearest to, or empty where none is near.
func Nearest(word string, words []string) string {
	const near = 2 // letters that are wrong, missing or too many
	best, at := "", near+1
	for _, w := range words {
		if d := distance(word, w); d < at && d > 0 {
			best, at = w, d
		}
	}
	return best
}

// distance is how many letters to change, add, take away or swap with the next to get from a to b (Levenshtein, with Damerau's swaps).
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1) // of the letters of a up to the last but one, and up to the last
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			change := row[j]
			if a[i] != b[j] {
				change++
			}
			next[j+1] = min(change, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// ExitStatus is an error that ends a program with a status and says nothing: a child program's, or the word that was printed already.
type ExitStatus int

func (e ExitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Report prints err in four lines, in the language of the terminal, and returns its exit status.
func Report(w io.Writer, command string, err error) int {
	var status ExitStatus
	if errors.As(err, &status) {
		return int(status)
	}
	code, said, cause, next := describe(err, command, Language())
	said = strings.ReplaceAll(said, "\n", "; ") // several errors joined
	program, _, _ := strings.Cut(command, " ")
	if program != "freehold" {
		program = "leasehold" // its daemon has nobody at a terminal
	}
	say := labelsIn(Language())
	fmt.Fprintf(w, "%s: %s %s\n%s: %s\n%s: %s\n%s: %s explain %s\n", say.fault, code, Plain(said), say.cause, Plain(cause), say.next, Plain(next), say.more, program, code)
	return code.Entry().Exit
}

// CodeOf is the code that Report prints for err: what a program says of an error as data is what it says in words.
func CodeOf(err error) capability.Code {
	code, _, _, _ := describe(err, "", capability.English)
	return code
}

// describe is what the four lines say. What an error says beside its code is in English in every language.
func describe(err error, command string, l capability.Language) (code capability.Code, said, cause, next string) {
	var (
		refusal *capability.Refusal
		coded   *codedError
		usage   usageError
	)
	switch {
	case errors.As(err, &coded):
		e := coded.code.In(l)
		said = e.Title + ": " + err.Error()
		if l != capability.English && errors.As(err, &refusal) && refusal.Code == coded.code {
			said = refusal.SentenceIn(l)
		}
		return coded.code, said, e.Cause, cmp.Or(coded.next, e.Next)
	case errors.As(err, &refusal):
		e := refusal.Code.In(l)
		return refusal.Code, refusal.SentenceIn(l), e.Cause, e.Next
	case errors.As(err, &usage):
		return capability.ErrUsage, err.Error(), capability.ErrUsage.In(l).Cause, cmp.Or(usage.next, command+" --help")
	}
	code = capability.ErrInternal
	if path := (*fs.PathError)(nil); errors.As(err, &path) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		code = capability.ErrFileRead
	}
	e := code.In(l)
	return code, err.Error(), e.Cause, e.Next
}

// Version is the module's version, or "development" where the build knows none.
func Version() string {
	b, ok := debug.ReadBuildInfo()
	if !ok || b.Main.Version == "" || b.Main.Version == "(devel)" {
		return "development"
	}
	return b.Main.Version
}

// Plain makes text safe for a terminal: control codes that came from a file, a name or a network are shown escaped.
func Plain(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Data is what every JSON output has. Embed it.
type Data struct {
	Schema   string   `json:"schema"`
	Warnings []string `json:"warnings"`
}

// NewData is the head of an output: leasehold.status/1.
func NewData(schema string, warnings ...string) Data {
	if warnings == nil {
		warnings = []string{}
	}
	return Data{schema, warnings}
}

// JSON prints v indented, one object.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
