package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// usersData is leasehold.users/1.
type usersData struct {
	terminal.Data
	Users []console.User `json:"users"`
}

func (p *program) usersCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "users", Short: "List and change who may manage this appliance from another machine", Args: cobra.NoArgs,
		Long: "A login manages the appliance with a browser, or with leasehold --server HOST --token-file FILE. What it may do follows from its roles:\n\n" +
			"viewer: look, and take reports\n\noperator: also leases, reservations and the model\n\nlicense administrator: also requests, responses and returns, backups, settings, keys of clients\n\n" +
			"security administrator: look, and logins, time, certificate, the audit trail; it brings no rights in\n\nauditor: look, and the audit trail\n\n" +
			"A login may have several. On the appliance root and the group leasehold need no login. Over the network your own password is asked before logins are changed.\n\nWithout a verb the logins are listed.",
		Example: "  leasehold users\n  leasehold users add keller --role \"license administrator\" --role \"security administrator\"\n  leasehold users token keller --name nightly > token",
		RunE: func(c *cobra.Command, _ []string) error {
			rows := []console.User{}
			if err := p.call(c.Context(), http.MethodGet, "users", nil, &rows); err != nil {
				return err
			}
			if len(rows) == 0 && !p.json {
				p.say("There is no login yet. The first one is made in a browser, with the code of: leasehold first-login; or here: leasehold users add NAME --role \"security administrator\"\n")
				return nil
			}
			return p.printUsers(rows)
		},
	}
	c.AddCommand(p.userAdd(), p.userChange(), p.userRemove(), p.userToken(), p.userEndToken())
	for _, verb := range c.Commands() {
		if verb.Name() != "add" {
			verb.ValidArgsFunction = p.completeUser
		}
	}
	return c
}

func (p *program) printUsers(rows []console.User) error {
	if p.json {
		return terminal.JSON(p.out, usersData{terminal.NewData("leasehold.users/1"), rows})
	}
	return p.table("NAME\tROLES\tSTATE\tSINCE\tTOKENS", len(rows), func(i int) string {
		r, state := rows[i], "enabled"
		if r.Disabled {
			state = "disabled"
		}
		var roles, tokens []string
		for _, one := range r.Roles {
			roles = append(roles, one.String())
		}
		for _, t := range r.Tokens {
			tokens = append(tokens, fmt.Sprintf("%s until %s", t.Name, minute(t.Ends)))
		}
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", r.Name, dash(strings.Join(roles, ", ")), state, minute(r.Made), dash(strings.Join(tokens, ", ")))
	})
}

// printUser is the list of one.
func (p *program) printUser(ctx context.Context, method, path string, form console.UserForm) error {
	var u console.User
	if err := p.call(ctx, method, path, form, &u); err != nil {
		return err
	}
	return p.printUsers([]console.User{u})
}

func userPath(name string) string { return "users/" + url.PathEscape(name) }

// own is the password of who asks, which is asked over the network.
func (p *program) ownPassword(w *password) (string, error) {
	if !p.remote.away() {
		return "", nil
	}
	return p.read(w, "Your own password: ", false)
}

const ownFlag, ownWords = "own-password", "your own password, over the network"

func parseRoles(names []string) ([]capability.Role, error) {
	list := []capability.Role{}
	for _, text := range names {
		r, err := capability.ParseRole(text)
		if err != nil {
			return nil, terminal.Usage("--role: %w", err)
		}
		list = append(list, r)
	}
	return list, nil
}

func roleFlag(c *cobra.Command, roles *[]string) {
	c.Flags().StringArrayVar(roles, "role", nil, "`role` of the login; again for each")
	c.RegisterFlagCompletionFunc("role", func(*cobra.Command, []string, string) (list []string, _ cobra.ShellCompDirective) {
		for _, r := range capability.Roles() {
			list = append(list, r.String())
		}
		return list, cobra.ShellCompDirectiveNoFileComp
	})
}

// completeUser completes the name of a login, where the daemon says which there are.
func (p *program) completeUser(c *cobra.Command, args []string, start string) (list []string, _ cobra.ShellCompDirective) {
	rows := []console.User{}
	if len(args) > 0 || p.call(c.Context(), http.MethodGet, "users", nil, &rows) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, u := range rows {
		if strings.HasPrefix(strings.ToLower(u.Name), strings.ToLower(start)) {
			list = append(list, u.Name)
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

func (p *program) userAdd() *cobra.Command {
	var roles []string
	var secret, own password
	c := &cobra.Command{
		Use: "add NAME --role ROLE", Short: "Let somebody sign in", Args: cobra.ExactArgs(1),
		Long:    "The first login is a security administrator, who can admit others. A password has at least 12 characters, and not the name in it; its owner changes it: leasehold password.",
		Example: "  leasehold users add keller --role \"license administrator\" --password-file FILE",
		RunE: func(c *cobra.Command, args []string) error {
			list, err := parseRoles(roles)
			if err != nil {
				return err
			}
			form := console.UserForm{Name: args[0], Roles: &list}
			if form.Current, err = p.ownPassword(&own); err != nil {
				return err
			}
			if form.Password, err = p.read(&secret, fmt.Sprintf("Password of %s: ", args[0]), true); err != nil {
				return err
			}
			return p.printUser(c.Context(), http.MethodPost, "users", form)
		},
	}
	roleFlag(c, &roles)
	secret.flags(c, "password", "the password of the new login")
	own.flags(c, ownFlag, ownWords)
	return c
}

func (p *program) userChange() *cobra.Command {
	var roles []string
	var none, disable, enable, anew bool
	var secret, own password
	c := &cobra.Command{
		Use: "change NAME", Short: "Change what a login may do, or give it another password", Args: cobra.ExactArgs(1),
		Long:    "Change replaces what is named and leaves the rest. Every session of the login ends; its tokens stay. One security administrator at least stays enabled.",
		Example: "  leasehold users change keller --role operator\n  leasehold users change keller --disable\n  leasehold users change keller --new-password",
		RunE: func(c *cobra.Command, args []string) error {
			var form console.UserForm
			if none || len(roles) > 0 {
				list, err := parseRoles(roles)
				if err != nil {
					return err
				}
				form.Roles = &list
			}
			if disable || enable {
				form.Disabled = &disable
			}
			if form.Roles == nil && form.Disabled == nil && !anew && !secret.given() {
				return terminal.Usage("nothing to change: --role, --no-roles, --disable, --enable, --new-password or --password-file")
			}
			var err error
			if form.Current, err = p.ownPassword(&own); err != nil {
				return err
			}
			if anew || secret.given() {
				if form.Password, err = p.read(&secret, fmt.Sprintf("New password of %s: ", args[0]), true); err != nil {
					return err
				}
			}
			return p.printUser(c.Context(), http.MethodPut, userPath(args[0]), form)
		},
	}
	roleFlag(c, &roles)
	c.Flags().BoolVar(&none, "no-roles", false, "it may change its password, and nothing else")
	c.Flags().BoolVar(&disable, "disable", false, "it signs in no more, and its tokens open nothing")
	c.Flags().BoolVar(&enable, "enable", false, "it signs in again")
	c.Flags().BoolVar(&anew, "new-password", false, "ask for another password of the login")
	secret.flags(c, "password", "the other password of the login")
	own.flags(c, ownFlag, ownWords)
	c.MarkFlagsMutuallyExclusive("role", "no-roles")
	c.MarkFlagsMutuallyExclusive("disable", "enable")
	return c
}

func (p *program) userRemove() *cobra.Command {
	var own password
	c := &cobra.Command{
		Use: "remove NAME", Short: "End a login, with its sessions and tokens", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			current, err := p.ownPassword(&own)
			if err != nil {
				return err
			}
			var none struct{}
			if err := p.call(c.Context(), http.MethodDelete, userPath(args[0]), console.UserForm{Current: current}, &none); err != nil {
				return err
			}
			return p.did("leasehold.user-remove/1", args[0], "%s signs in no more\n", args[0])
		},
	}
	own.flags(c, ownFlag, ownWords)
	return c
}

// did says what was done to a login.
func (p *program) did(schema, name, format string, args ...any) error {
	if p.json {
		return terminal.JSON(p.out, struct {
			terminal.Data
			Name string `json:"name"`
		}{terminal.NewData(schema), name})
	}
	p.printf(format, args...)
	return nil
}

const day capability.Seconds = 24 * 60 * 60

func (p *program) userToken() *cobra.Command {
	var own password
	var form console.TokenForm
	var days int
	c := &cobra.Command{
		Use: "token NAME --name WHAT", Short: "Make a token by which a program asks as a login does", Args: cobra.ExactArgs(1),
		Long:    "A token may what its login may at that moment, and is good for 90 days where nobody says. It is shown once; put it where only the program reads it, and name that with --token-file.",
		Example: "  leasehold users token keller --name nightly --days 30 > token",
		RunE: func(c *cobra.Command, args []string) (err error) {
			if most := int(ledger.MaxTokenLife / day); c.Flags().Changed("days") && (days < 1 || days > most) {
				return terminal.Usage("--days %d: want 1 to %d", days, most)
			}
			form.Life = capability.Seconds(days) * day
			if form.Current, err = p.ownPassword(&own); err != nil {
				return err
			}
			var t console.NewToken
			if err := p.call(c.Context(), http.MethodPost, userPath(args[0])+"/tokens", form, &t); err != nil {
				return err
			}
			if p.json {
				return terminal.JSON(p.out, struct {
					terminal.Data
					console.NewToken
				}{terminal.NewData("leasehold.user-token/1"), t})
			}
			p.printf("%s\n", t.Token)
			p.say("token %s of %s, good until %s; it is not shown again\n", t.Name, args[0], minute(t.Ends))
			return nil
		},
	}
	c.Flags().StringVar(&form.Name, "name", "", "`what` the token is for")
	c.Flags().IntVar(&days, "days", 0, "`number` of days that it is good")
	c.MarkFlagRequired("name")
	own.flags(c, ownFlag, ownWords)
	return c
}

func (p *program) userEndToken() *cobra.Command {
	var own password
	var name string
	c := &cobra.Command{
		Use: "end-token NAME --name WHAT", Short: "End a token at once", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			current, err := p.ownPassword(&own)
			if err != nil {
				return err
			}
			var none struct{}
			if err := p.call(c.Context(), http.MethodDelete, userPath(args[0])+"/tokens/"+url.PathEscape(name), console.UserForm{Current: current}, &none); err != nil {
				return err
			}
			return p.did("leasehold.user-end-token/1", args[0], "token %s of %s opens nothing any more\n", name, args[0])
		},
	}
	c.Flags().StringVar(&name, "name", "", "`what` the token is for")
	c.MarkFlagRequired("name")
	own.flags(c, ownFlag, ownWords)
	return c
}
