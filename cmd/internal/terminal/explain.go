package terminal

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
)

// Explanation is one code as JSON.
type Explanation struct {
	Code   capability.Code `json:"code"`
	Symbol string          `json:"symbol"`
	Title  string          `json:"title"`
	Cause  string          `json:"cause"`
	Next   string          `json:"next"`
	Exit   int             `json:"exit"`
}

// Explain is the command that says what a code means. Its schemas are PROGRAM.explain/1 and PROGRAM.codes/1; json is the program's flag.
func Explain(program string, json *bool) *cobra.Command {
	return &cobra.Command{
		Use: "explain [CODE]", Short: "Say what a code means and what to do", Args: cobra.MaximumNArgs(1),
		Long:    "CODE is a number or a name: LH-3104, 3104 or E_NO_SEAT. Without one, all are listed. The words are in the language that LC_ALL, LC_MESSAGES or LANG names, if it is German, else in English; with --json always in English.",
		Example: "  " + program + " explain LH-3104",
		RunE: func(c *cobra.Command, args []string) error {
			w := c.OutOrStdout()
			if len(args) == 0 {
				return listCodes(c, program, *json)
			}
			code, err := capability.ParseCode(args[0])
			if err != nil {
				return Coded(capability.ErrNotFound, err)
			}
			e := code.Entry()
			if *json {
				return JSON(w, Hexed(struct {
					Data
					Explanation
				}{NewData(program + ".explain/1"), Explanation(e)}))
			}
			said, say := code.In(Language()), labelsIn(Language())
			_, err = fmt.Fprintf(w, "%s %s: %s\n%s: %s\n%s: %s\n%s: %d\n", said.Code, said.Symbol, said.Title, say.cause, said.Cause, say.next, said.Next, say.exit, said.Exit)
			return err
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) (codes []string, _ cobra.ShellCompDirective) {
			if len(args) == 0 {
				for _, e := range capability.Catalog() {
					codes = append(codes, e.Code.String()+"\t"+e.Code.In(Language()).Title)
				}
			}
			return codes, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func listCodes(c *cobra.Command, program string, json bool) error {
	all := capability.Catalog()
	if json {
		rows := make([]Explanation, len(all))
		for i, e := range all {
			rows[i] = Explanation(e)
		}
		return JSON(c.OutOrStdout(), Hexed(struct {
			Data
			Codes []Explanation `json:"codes"`
		}{NewData(program + ".codes/1"), rows}))
	}
	t := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	say := labelsIn(Language())
	fmt.Fprintf(t, "%s\t%s\t%s\n", say.code, say.name, say.meaning)
	for _, e := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\n", e.Code, e.Symbol, e.Code.In(Language()).Title)
	}
	return t.Flush()
}
