package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

func (p *program) firstLoginCommand() *cobra.Command {
	return &cobra.Command{
		Use: "first-login", Short: "Show the code by which the first login is made, as root", Args: cobra.NoArgs,
		Long: "No appliance has a password that others know. While there is no login, a browser makes the first one at https://HOST:7070/first with this code, which only root can see, on the appliance. It is worth something once, and another one after each start of the daemon.",
		RunE: func(c *cobra.Command, _ []string) error {
			var f console.FirstLogin
			if err := p.call(c.Context(), http.MethodGet, "first-login", nil, &f); err != nil {
				return err
			}
			if p.json {
				return terminal.JSON(p.out, struct {
					terminal.Data
					console.FirstLogin
				}{terminal.NewData("leasehold.first-login/1"), f})
			}
			p.printf("%s\n", f.Code)
			p.say("valid until the first login, or until the daemon is started anew\n")
			return nil
		},
	}
}

func (p *program) sessionCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "session", Short: "Show as whom this machine manages the appliance, and what it may", Args: cobra.NoArgs,
		Long: "On the appliance that is the account; with --server HOST --token-file FILE it is the login of the token.\n\n" +
			"With session open somebody signs in, for half an hour where the setting token-life says nothing else; programs use a token that lasts: leasehold users token.",
		Example: "  leasehold session\n  leasehold session open --server licenses.example.org --user keller -o token\n  leasehold status --server licenses.example.org --token-file token",
		RunE: func(c *cobra.Command, _ []string) error {
			var s console.Session
			if err := p.call(c.Context(), http.MethodGet, "session", nil, &s); err != nil {
				return err
			}
			if p.json {
				return terminal.JSON(p.out, struct {
					terminal.Data
					console.Session
				}{terminal.NewData("leasehold.session/1"), s})
			}
			var roles []string
			for _, r := range s.Roles {
				roles = append(roles, r.String())
			}
			p.printf("by     %s\nroles  %s\nmay    %s\n", dash(s.By), dash(strings.Join(roles, ", ")), dash(strings.Join(s.Permissions, ", ")))
			return nil
		},
	}
	c.AddCommand(p.sessionOpen(), p.sessionClose())
	return c
}

// openSession signs in, and asks with what comes of it from then on.
func (p *program) openSession(ctx context.Context, form console.SignInForm) error {
	var s console.SignedIn
	p.remote.tokenFile, p.remote.token = "", ""
	if err := p.call(ctx, http.MethodPost, "session", form, &s); err != nil {
		return err
	}
	p.remote.token = s.Token
	return nil
}

func (p *program) sessionOpen() *cobra.Command {
	var user, to string
	var directory bool
	var secret password
	c := &cobra.Command{
		Use: "open --user NAME -o FILE", Short: "Sign in at the appliance of --server, and keep the token of it in a file", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			words, err := p.read(&secret, fmt.Sprintf("Password of %s: ", user), false)
			if err != nil {
				return err
			}
			p.remote.on = true
			if err := p.openSession(c.Context(), console.SignInForm{Name: user, Password: words, Directory: directory}); err != nil {
				return err
			}
			if err := writeSecret(to, p.remote.token+"\n"); err != nil {
				return terminal.Coded(capability.ErrFileRead, err)
			}
			return p.did("leasehold.session-open/1", user, "signed in as %s: --token-file %s\n", user, to)
		},
	}
	c.Flags().StringVar(&user, "user", "", "`name` of the login")
	c.Flags().StringVarP(&to, "output", "o", "", "`file` for the token")
	c.Flags().BoolVar(&directory, "directory", false, "have the directory of the site judge the name and the password")
	c.MarkFlagRequired("user")
	c.MarkFlagRequired("output")
	secret.flags(c, "password", "the password")
	return c
}

// writeSecret writes a file that only its owner reads, also where there was another one.
func writeSecret(path, text string) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if ended := f.Close(); err == nil {
		err = ended
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		os.Remove(path + ".new")
	}
	return err
}

func (p *program) sessionClose() *cobra.Command {
	return &cobra.Command{
		Use: "close --token-file FILE", Short: "Sign out: the token in the file opens nothing any more, and the file goes", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			file := p.remote.tokenFile
			if file == "" {
				return terminal.Usage("name the file of session open: --token-file FILE")
			}
			var none struct{}
			if err := p.call(c.Context(), http.MethodDelete, "session", nil, &none); err != nil && !over(err) {
				return err
			}
			if err := os.Remove(file); err != nil {
				return terminal.Coded(capability.ErrFileRead, err)
			}
			return p.did("leasehold.session-close/1", "", "signed out\n")
		},
	}
}

func (p *program) passwordCommand() *cobra.Command {
	c := p.changing(p.read, func(ctx context.Context, user, was, will string) error {
		p.remote.on = true
		return p.changePassword(ctx, user, was, will)
	})
	c.Use, c.Short = "password --server HOST --user NAME", "Change your own password on an appliance"
	c.Long = "The current password is asked for, whoever you are. You are signed out everywhere; your tokens stay. Who has forgotten it is given another one by a security administrator, or by root: leasehold users change NAME --new-password."
	return c
}

// changing is a command that asks for somebody's own password and another one.
func (p *program) changing(read func(from *password, prompt string, twice bool) (string, error), change func(ctx context.Context, user, was, will string) error) *cobra.Command {
	var user string
	var current, anew password
	c := &cobra.Command{
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			was, err := read(&current, "Current password: ", false)
			if err != nil {
				return err
			}
			will, err := read(&anew, "New password: ", true)
			if err != nil {
				return err
			}
			if err := change(c.Context(), user, was, will); err != nil {
				return err
			}
			return p.did("leasehold.password/1", user, "the password of %s is changed\n", user)
		},
	}
	c.Flags().StringVar(&user, "user", "", "`name` of the login")
	c.MarkFlagRequired("user")
	current.flags(c, "current-password", "the current password")
	anew.flags(c, "password", "the new password")
	return c
}

// changePassword gives a login another password, as itself.
func (p *program) changePassword(ctx context.Context, user, was, will string) error {
	return p.signedIn(ctx, user, was, func() error {
		var u console.User
		return p.call(ctx, http.MethodPut, "password", console.PasswordForm{Current: was, Password: will}, &u)
	})
}
