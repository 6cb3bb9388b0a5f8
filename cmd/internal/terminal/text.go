package terminal

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability/wire"
)

// Text is the command that prints a file of ours as text; read gets the file.
func Text(read func(path string) ([]byte, error)) *cobra.Command {
	return &cobra.Command{
		Use: "text FILE", Short: "Print a request or response as text that can be pasted", Args: cobra.ExactArgs(1),
		Long: "Prints the file in its text form, for where only text passes: a mail, a form. Each line carries a check, so that a typing error is found and its line named. " +
			"Every command that reads a request or a response takes either form.",
		RunE: func(c *cobra.Command, args []string) error {
			b, err := read(args[0])
			if err != nil {
				return err
			}
			if _, err := wire.Kind(b); err != nil {
				return Coded(wire.Code(err), err)
			}
			_, err = fmt.Fprint(c.OutOrStdout(), wire.Text(b))
			return err
		},
	}
}
