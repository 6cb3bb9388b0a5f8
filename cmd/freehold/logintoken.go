package main

import (
	"crypto/rand"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

func loginToken(f *flags) *cobra.Command {
	var name string
	var days int
	c := &cobra.Command{
		Use: "token NAME", Short: "Make a token for programs that ask the REST API as a login", Args: cobra.ExactArgs(1),
		Long: "Token prints a token, once: the book keeps its hash only. A program sends it to https://HOST/api/v1/ as \"Authorization: Bearer TOKEN\", and may what the login may at that moment, where the login may it. " +
			"It is over after its days, and earlier with its login, where that is disabled, and by freehold login revoke.\n\n" +
			"Where two persons are asked for, whoever makes a token is one person with the login that it is for, and so is who makes two: somebody who approves by a program makes the token, in the portal.",
		Example: "  freehold login add build --role operator\n  freehold login token build --name nightly --days 30",
		RunE: func(c *cobra.Command, args []string) error {
			if most := int(entitlement.MaxTokenLife / (24 * 60 * 60)); days < 1 || days > most {
				return terminal.Usage("--days: %d where 1 to %d are allowed", days, most)
			}
			return f.with(func(o *backoffice.Office) error {
				text, err := entitlement.NewToken(rand.Reader)
				if err != nil {
					return err
				}
				add := entitlement.AddToken{Login: args[0], Name: name, Hash: entitlement.TokenHash(text), Life: capability.Seconds(days) * 24 * 60 * 60, By: operator()}
				if err := o.Do(add, now()); err != nil {
					return err
				}
				if _, _, good := o.Book().OfToken(text, now()); !good {
					text = "" // it was drawn for a command that had been given before, or its login is disabled
				}
				return f.printLogin(c.OutOrStdout(), o, args[0], loginData{Token: text})
			})
		},
	}
	c.Flags().StringVar(&name, "name", "script", "`text` that says what it is for; each of a login has another one")
	c.Flags().IntVar(&days, "days", int(entitlement.TokenLife/(24*60*60)), "`number` of days that it is good")
	return c
}

func loginRevoke(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME TOKEN", Short: "End a token of a login at once, by its name", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(func(o *backoffice.Office) error {
				if err := o.Do(entitlement.RevokeToken{Login: args[0], Name: args[1], By: operator()}, now()); err != nil {
					return err
				}
				return f.printLogin(c.OutOrStdout(), o, args[0], loginData{})
			})
		},
	}
}
