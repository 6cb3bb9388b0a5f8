package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// keysData is leasehold.keys/1.
type keysData struct {
	terminal.Data
	Keys []console.ClientKey `json:"keys"`
}

func (p *program) keysCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "keys", Short: "List, register and remove the public keys of clients", Args: cobra.NoArgs,
		Long: "Every client proves a key of its own whenever it connects. A registered key is one that a license administrator has looked at: its client is let in before strangers when the appliance is crowded, and with\n\n" +
			"  leasehold policies set client-keys-only true\n\nno other client is served: it is refused with LH-3113, renews nothing, and keeps what it has until that ends.\n\n" +
			"A key is 2048-bit RSA, Ed25519 or P-256, and its file the DER of its public half. Without a verb the registered keys are listed.",
		Example: "  leasehold keys export -o WS-7.DER\n  leasehold keys add WS-7.DER --name WS-7\n  leasehold keys",
		RunE: func(c *cobra.Command, _ []string) error {
			rows := []console.ClientKey{}
			if err := p.call(c.Context(), http.MethodGet, "keys", nil, &rows); err != nil {
				return err
			}
			return p.printKeys(rows)
		},
	}
	c.AddCommand(p.keyAdd(), p.keyRemove(), p.keyExport())
	return c
}

func (p *program) printKeys(rows []console.ClientKey) error {
	if p.json {
		return terminal.JSON(p.out, keysData{terminal.NewData("leasehold.keys/1"), rows})
	}
	return p.table("SHA-256\tKIND\tNAME\tREGISTERED", len(rows), func(i int) string {
		return fmt.Sprintf("%s\t%s\t%s\t%s", rows[i].SHA256, rows[i].Kind, dash(rows[i].Name), minute(rows[i].Since))
	})
}

func (p *program) keyAdd() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use: "add FILE [--name NAME]", Short: "Register the public key in a file", Args: cobra.ExactArgs(1),
		Long: "FILE is the DER of a SubjectPublicKeyInfo, or of an RSA key that of an RSAPublicKey. PEM, a private key and a key of another size or kind are refused by their names, and nothing of them is kept. A private key is not even sent.\n\n" +
			"The same key again gives it another name.",
		RunE: func(c *cobra.Command, args []string) error {
			file, err := terminal.ReadFile(args[0], capability.MaxFile)
			if err != nil {
				return terminal.Coded(capability.ErrFileRead, err)
			}
			if _, _, err := wire.ReadClientKey(file); err != nil {
				return err
			}
			var k console.ClientKey
			if err := p.call(c.Context(), http.MethodPost, "keys?"+url.Values{"name": {name}}.Encode(), file, &k); err != nil {
				return err
			}
			return p.printKeys([]console.ClientKey{k})
		},
	}
	c.Flags().StringVar(&name, "name", "", "whose key it is, for people")
	return c
}

func (p *program) keyRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove SHA-256", Short: "End the registration of a key", Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(c *cobra.Command, args []string, start string) (list []string, _ cobra.ShellCompDirective) {
			rows := []console.ClientKey{}
			if len(args) > 0 || p.call(c.Context(), http.MethodGet, "keys", nil, &rows) != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			for _, r := range rows {
				if strings.HasPrefix(r.SHA256, strings.ToUpper(start)) {
					list = append(list, r.SHA256+"\t"+terminal.Plain(r.Name))
				}
			}
			return list, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := p.call(c.Context(), http.MethodDelete, "keys/"+url.PathEscape(args[0]), nil, &struct{}{}); err != nil {
				return err
			}
			return p.did("leasehold.keys-remove/1", strings.ToUpper(args[0]), "%s is not registered any more\n", strings.ToUpper(args[0]))
		},
	}
}

func (p *program) keyExport() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use: "export -o FILE", Short: "Write the public half of this machine's own key, on a client", Args: cobra.NoArgs,
		Long: "Writes the DER of the public key that programs of this account prove to appliances: the one in --dir. A key is made there where there is none yet. Take the file to the appliance: leasehold keys add FILE, or the page Client Key Operations of its console.",
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := p.open("")
			if err != nil {
				return err
			}
			file := a.PublicKey()
			if err := a.Close(); err != nil {
				return err
			}
			kind, digest, err := wire.ReadClientKey(file)
			if err != nil {
				return err
			}
			if err := p.put(to, func(w io.Writer) error { _, err := w.Write(file); return err }); err != nil {
				return err
			}
			p.say("%s, SHA-256 %X\n", kind, digest)
			return nil
		},
	}
	c.Flags().StringVarP(&to, "output", "o", "", "`file` for the key; - for standard output")
	c.MarkFlagRequired("output")
	c.MarkFlagFilename("output")
	return c
}
