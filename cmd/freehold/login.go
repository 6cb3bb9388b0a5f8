package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// loginData is freehold.login/1.
type loginData struct {
	terminal.Data
	Logins []entitlement.Login `json:"logins"`
	Code   string              `json:"code,omitempty"`  // the one-time code that was made now
	Token  string              `json:"token,omitempty"` // the token that was made now
}

func loginCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "login", Short: "Show and change who may sign in at the portal",
		Long: "A login is somebody of the producer's staff, or with --account of a customer, who sees that account and those below it only. What it may do follows from its roles: viewer, operator, license administrator, " +
			"security administrator, auditor. A new login sets its password with a one-time code, which is printed here once.\n\nWithout a verb the logins are listed.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(func(o *backoffice.Office) error {
				return f.printLogins(c.OutOrStdout(), loginData{Logins: o.Book().Logins()})
			})
		},
	}
	c.AddCommand(once(f, loginAdd(f)), once(f, loginChange(f)), once(f, loginCode(f)), once(f, loginToken(f)), once(f, loginRevoke(f)),
		once(f, loginVerb(f, "disable NAME", "End the sessions of a login, and let it sign in no more", func(name string) entitlement.Command {
			yes := true
			return entitlement.ChangeLogin{Name: name, Disabled: &yes, By: operator()}
		})),
		once(f, loginVerb(f, "enable NAME", "Let a login sign in again", func(name string) entitlement.Command {
			no := false
			return entitlement.ChangeLogin{Name: name, Disabled: &no, By: operator()}
		})),
		once(f, loginVerb(f, "remove NAME", "Take a login out of the book", func(name string) entitlement.Command {
			return entitlement.RemoveLogin{Name: name, By: operator()}
		})))
	return c
}

func loginAdd(f *flags) *cobra.Command {
	var add entitlement.AddLogin
	var roles []string
	c := &cobra.Command{
		Use: "add NAME --role ROLE", Short: "Let somebody sign in", Args: cobra.ExactArgs(1),
		Long:    "Add puts a login into the book and prints its one-time code, with which it sets its password at the portal. The code is good for 30 days.",
		Example: "  freehold login add m.keller --role \"security administrator\" --role \"license administrator\"\n  freehold login add a.larsen@acme.example --account \"ACME Works\" --role \"license administrator\"",
		RunE: func(c *cobra.Command, args []string) error {
			add.Name, add.By = args[0], operator()
			var err error
			if add.Roles, err = parseRoles(roles); err != nil {
				return err
			}
			return f.with(func(o *backoffice.Office) (err error) {
				var code string
				if code, add.Code, err = o.LoginCode(add.Name); err != nil {
					return err
				}
				if err := o.Do(add, now()); err != nil {
					return err
				}
				return f.printLogin(c.OutOrStdout(), o, add.Name, loginData{Code: code})
			})
		},
	}
	c.Flags().StringVar(&add.Account, "account", "", "`name` of the customer's account; without it, of the producer's staff")
	c.Flags().StringArrayVar(&roles, "role", nil, "`role` of the login; again for each")
	c.Flags().StringVar(&add.Subject, "subject", "", "what the identity provider calls it: the provider's `name` in portal.toml, a space, and the name there")
	c.Flags().BoolVar(&add.Local, "local", false, "it may sign in with a password where an identity provider is for everybody")
	return c
}

func loginChange(f *flags) *cobra.Command {
	var (
		roles          []string
		subject        string
		none, unknown  bool // no roles, no subject
		local, noLocal bool
	)
	c := &cobra.Command{
		Use: "change NAME", Short: "Change what a login may do, or how it signs in", Args: cobra.ExactArgs(1),
		Long: "Change replaces what is named and leaves the rest: the roles, what the identity provider calls it, and whether it signs in with a password where an identity provider is for everybody. " +
			"Every session of the login ends. The last security administrator of the staff who can sign in stays one.",
		Example: "  freehold login change m.keller --role operator --role auditor\n  freehold login change m.keller --subject \"corp 4711\"\n  freehold login change m.keller --no-subject --local",
		RunE: func(c *cobra.Command, args []string) error {
			change := entitlement.ChangeLogin{Name: args[0], By: operator()}
			if none || len(roles) > 0 {
				list, err := parseRoles(roles)
				if err != nil {
					return err
				}
				change.Roles = &list
			}
			if c.Flags().Changed("subject") && strings.TrimSpace(subject) == "" {
				return terminal.Usage("--subject: no name; a login that no provider knows has --no-subject")
			}
			if subject != "" || unknown {
				change.Subject = &subject
			}
			if local || noLocal {
				change.Local = &local
			}
			if change.Roles == nil && change.Subject == nil && change.Local == nil {
				return terminal.Usage("nothing to change: --role, --no-roles, --subject, --no-subject, --local or --no-local")
			}
			return f.with(func(o *backoffice.Office) error {
				if err := o.Do(change, now()); err != nil {
					return err
				}
				return f.printLogin(c.OutOrStdout(), o, args[0], loginData{})
			})
		},
	}
	c.Flags().StringArrayVar(&roles, "role", nil, "`role` of the login from now on; again for each")
	c.Flags().BoolVar(&none, "no-roles", false, "it has no role, and sees its own seats only")
	c.Flags().StringVar(&subject, "subject", "", "what the identity provider calls it: the provider's `name` in portal.toml, a space, and the name there")
	c.Flags().BoolVar(&unknown, "no-subject", false, "no identity provider knows it")
	c.Flags().BoolVar(&local, "local", false, "it may sign in with a password where an identity provider is for everybody")
	c.Flags().BoolVar(&noLocal, "no-local", false, "it may not")
	c.MarkFlagsMutuallyExclusive("role", "no-roles")
	c.MarkFlagsMutuallyExclusive("subject", "no-subject")
	c.MarkFlagsMutuallyExclusive("local", "no-local")
	return c
}

func parseRoles(names []string) (list []capability.Role, err error) {
	for _, text := range names {
		r, err := capability.ParseRole(text)
		if err != nil {
			return nil, terminal.Usage("--role: %w", err)
		}
		list = append(list, r)
	}
	return list, nil
}

func loginCode(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "code NAME", Short: "Draw a new one-time code for a login, and forget its password", Args: cobra.ExactArgs(1),
		Long: "Code is for who has forgotten the password: it ends every session of the login, and prints a code with which it sets another one.",
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(func(o *backoffice.Office) error {
				code, hash, err := o.LoginCode(args[0])
				if err != nil {
					return err
				}
				if err := o.Do(entitlement.ChangeLogin{Name: args[0], Code: hash, Forget: true, By: operator()}, now()); err != nil {
					return err
				}
				return f.printLogin(c.OutOrStdout(), o, args[0], loginData{Code: code})
			})
		},
	}
}

func loginVerb(f *flags, use, short string, command func(name string) entitlement.Command) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(func(o *backoffice.Office) error {
				if err := o.Do(command(args[0]), now()); err != nil {
					return err
				}
				return f.printLogin(c.OutOrStdout(), o, args[0], loginData{})
			})
		},
	}
}

func (f *flags) printLogin(w io.Writer, o *backoffice.Office, name string, data loginData) error {
	data.Logins = []entitlement.Login{}
	if l, ok := o.Book().Login(name); ok {
		data.Logins = append(data.Logins, l)
		if data.Code != "" && entitlement.LoginHash(name, data.Code) != l.Code {
			data.Code = "" // the command was done before, under its key, and what was drawn now is nobody's
		}
	}
	return f.printLogins(w, data)
}

func (f *flags) printLogins(w io.Writer, data loginData) error {
	if f.json {
		data.Data = terminal.NewData("freehold.login/1")
		return terminal.JSON(w, data)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range data.Logins {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", terminal.Plain(l.Name), terminal.Plain(l.Account), rolesOf(&l), terminal.Plain(strings.Join(signInsOf(&l), ", ")))
		for _, k := range l.Tokens {
			fmt.Fprintf(t, "  token %s\tmade %s by %s\tgood until %s\t\n", terminal.Plain(k.Name), k.Made, terminal.Plain(k.By), k.Ends)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if data.Code != "" {
		fmt.Fprintf(w, "one-time code: %s\n", data.Code)
	}
	if data.Token != "" {
		fmt.Fprintf(w, "token: %s\n", data.Token)
	}
	return nil
}

func rolesOf(l *entitlement.Login) string {
	var words []string
	for _, r := range l.Roles {
		words = append(words, r.String())
	}
	return strings.Join(words, ", ")
}

// signInsOf is how a login stands, and how it signs in where that is not by password alone.
func signInsOf(l *entitlement.Login) (words []string) {
	if s := standing(l); s != "" {
		words = append(words, s)
	}
	if l.Subject != "" {
		words = append(words, "signs in as "+l.Subject)
	}
	if l.Local {
		words = append(words, "by password too")
	}
	return words
}

func standing(l *entitlement.Login) string {
	switch {
	case l.Disabled:
		return "disabled"
	case l.Code != (capability.Digest{}):
		return fmt.Sprintf("one-time code good until %s", l.CodeEnds)
	}
	return ""
}

func loginWords(f *entitlement.LoginFact) (what, detail string) {
	l := &f.Login
	words := []string{"of the staff"}
	if l.Account != "" {
		words[0] = "of " + l.Account
	}
	if len(l.Roles) > 0 {
		words = append(words, rolesOf(l))
	}
	if s := standing(l); s != "" {
		words = append(words, s)
	}
	switch {
	case f.Remove:
		return "removed the login", words[0]
	case l.Subject != "":
		words = append(words, "signs in as "+l.Subject)
	}
	if n := len(l.Passkeys); n > 0 {
		words = append(words, fmt.Sprintf("passkeys: %d", n))
	}
	if n := len(l.Tokens); n > 0 {
		words = append(words, fmt.Sprintf("tokens: %d", n))
	}
	return "set the login", strings.Join(words, ", ")
}

func signInWords(s *entitlement.SignIn) (what, detail string) {
	if s.Failed > 0 {
		return "closed the login", fmt.Sprintf("after %s from %s failed (%s)", capability.Counted(s.Failed, "try"), s.From, s.How)
	}
	return "signed in", fmt.Sprintf("from %s (%s)", s.From, s.How)
}
