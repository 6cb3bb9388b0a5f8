package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

func inspectCommand(f *flags) *cobra.Command {
	var bundle string
	c := &cobra.Command{
		Use: "inspect FILE", Short: "Say what is in a request, a response, a trust bundle, or a file of the ceremony",
		Long: "The first line is the verdict on the signatures, and the exit status follows it: 0 for GOOD, 20 for BAD and UNKNOWN KEY. " +
			"It needs no passphrase. Of a response only its machine can show the rights; which signing keys are revoked anyone can read. Responses and certified keys are judged by the trust bundle of --dir, if one is there, or of --trust.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			trust, err := f.readTrust(bundle)
			if err != nil {
				return err
			}
			b, err := readOurs(args[0])
			if err != nil {
				return about(args[0], err)
			}
			return terminal.Inspect(c.OutOrStdout(), f.json, b, trust, hostid.ID{})
		},
	}
	c.Flags().StringVar(&bundle, "trust", "", "judge responses by the trust bundle in `file`")
	return c
}

// readTrust is the bundle that was named, or the one of the directory, or none.
func (f *flags) readTrust(bundle string) (*wire.Trust, error) {
	if bundle != "" {
		return terminal.ReadTrust(bundle)
	}
	_, t, err := backoffice.Trust(backoffice.Dir(f.dir))
	if errors.Is(err, backoffice.ErrAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, terminal.Coded(capability.ErrTrust, err)
	}
	return t, nil
}

// printJSON prints an output with octet strings in hex.
func printJSON(w io.Writer, v any) error { return terminal.JSON(w, terminal.Hexed(v)) }
