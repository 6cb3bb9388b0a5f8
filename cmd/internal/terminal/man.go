package terminal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leasehold/leasehold/capability"
)

// Man is the hidden command that writes a man page for each command of root, and for the catalog of codes, into a directory.
func Man(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write the man pages into a directory, and those in other languages into directories in it", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := os.OpenRoot(args[0])
			if err != nil {
				return err
			}
			defer dir.Close()
			for _, l := range capability.Languages() {
				path := errorsName(root) + ".7"
				if l != capability.English { // as man looks for them: man/de/man7
					if err := dir.MkdirAll(string(l), 0o755); err != nil {
						return err
					}
					path = filepath.Join(string(l), path)
				}
				if err := dir.WriteFile(path, []byte(errorsPage(errorsName(root), l)), 0o644); err != nil {
					return err
				}
			}
			return pages(dir, root)
		},
	}
}

func pages(dir *os.Root, c *cobra.Command) error {
	if c.Hidden || c.Name() == "help" {
		return nil
	}
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	section := 1
	if strings.HasSuffix(c.Root().Name(), "d") && c.Root().Name() == "leaseholdd" {
		section = 8
	}
	if err := dir.WriteFile(filepath.Base(fmt.Sprintf("%s.%d", name, section)), []byte(page(c, name, section)), 0o644); err != nil {
		return err
	}
	for _, s := range c.Commands() {
		if err := pages(dir, s); err != nil {
			return err
		}
	}
	return nil
}

func page(c *cobra.Command, name string, section int) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s %d \"\" \"Leasehold\" \"Leasehold Manual\"\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), section, roff(name), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	if c.Long != "" {
		fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", paragraphs(c.Long))
	}
	if c.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(c.Example))
	}
	options(&b, "OPTIONS", c.NonInheritedFlags())
	options(&b, "COMMON OPTIONS", c.InheritedFlags())
	if subs := c.Commands(); len(subs) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, s := range subs {
			if !s.Hidden {
				fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(s.Name()), roff(s.Short))
			}
		}
	}
	b.WriteString(".SH EXIT STATUS\n0 done or already done, 1 failed, 2 wrong usage, 3 daemon not reachable, 4 no such thing, 10 no seat free, 11 expired, 12 not entitled, 13 refused by policy, " +
		"20 file invalid or signature bad, 21 file is for another appliance, 22 held, 75 temporary.\n")
	fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s\n", roff(errorsName(c.Root())+"(7)"))
	return b.String()
}

func options(b *strings.Builder, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		word, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, ".TP\n.B \\-\\-%s %s\n%s\n", roff(f.Name), roff(word), roff(usage))
	})
}

// errorsName is the page with the codes: one for the two programs of an appliance, and one for the back office, which may be on another machine.
func errorsName(root *cobra.Command) string {
	if root.Name() == "freehold" {
		return "freehold-errors"
	}
	return "leasehold-errors"
}

func errorsPage(name string, l capability.Language) string {
	manual, heading, about, codes := "Leasehold Manual", "NAME", "the codes of Leasehold, their causes and what to do next", "CODES"
	if l == capability.German {
		manual, heading, about, codes = "Leasehold-Handbuch", "BEZEICHNUNG", "die Codes von Leasehold, ihre Ursachen und was zu tun ist", "CODES"
	}
	say := labelsIn(l)
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 7 \"\" \"Leasehold\" \"%s\"\n.SH %s\n%s \\- %s\n.SH %s\n", strings.ToUpper(name), manual, heading, roff(name), about, codes)
	for _, e := range capability.Catalog() {
		e = e.Code.In(l)
		fmt.Fprintf(&b, ".TP\n.B %s %s\n%s.\n.br\n%s: %s.\n.br\n%s: %s.\n.br\n%s: %d.\n", roff(e.Code.String()), roff(e.Symbol), roff(e.Title),
			roff(upper(say.cause)), roff(e.Cause), roff(upper(say.next)), roff(e.Next), roff(upper(say.exit)), e.Exit)
	}
	return b.String()
}

// upper begins a label with a capital.
func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func paragraphs(s string) string {
	return strings.ReplaceAll(roff(s), "\n\n", "\n.PP\n")
}

// roff escapes text for troff: backslashes, hyphens, and lines that would begin a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	for _, p := range []string{".", "'"} {
		s = strings.ReplaceAll(s, "\n"+p, "\n\\&"+p)
		if strings.HasPrefix(s, p) {
			s = `\&` + s
		}
	}
	return s
}
