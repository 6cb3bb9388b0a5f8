package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// once gives a command that writes to the book its --key. Everything that the command asks of the back office after it has opened it is done once under that key.
func once(f *flags, c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&f.key, "key", "", "`text` that names this command: given again with the same text, it changes nothing and says again what came of it; the last 10000 are remembered")
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		if c.Flags().Changed("key") {
			if err := capability.CheckName("key", f.key); err != nil {
				return terminal.Usage("--key: %w", err)
			}
			if f.asked, err = asked(c, args); err != nil {
				return err
			}
		}
		return run(c, args)
	}
	return c
}

// asked is the digest of a command line without what only says where the book is, who may open it, and how the outcome is shown. A file that is named counts by its content.
func asked(c *cobra.Command, args []string) (capability.Digest, error) {
	h := sha256.New()
	said := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }
	said(c.CommandPath())
	common := c.InheritedFlags()
	c.Flags().Visit(func(g *pflag.Flag) { // in the order of their names
		if g.Name != "key" && common.Lookup(g.Name) == nil {
			said(g.Name)
			said(g.Value.String())
		}
	})
	for _, arg := range args {
		said(arg)
		if info, err := os.Stat(arg); err != nil || !info.Mode().IsRegular() {
			continue // it is no file, and counts by its name
		}
		content, err := contentOf(arg)
		if err != nil {
			return capability.Digest{}, terminal.Coded(capability.ErrFileRead, err)
		}
		said(string(content))
	}
	return capability.Digest(h.Sum(nil)), nil
}

// contentOf is the digest of a file, however large.
func contentOf(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}
