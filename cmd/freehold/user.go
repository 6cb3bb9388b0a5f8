package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// usersData is freehold.users/1.
type usersData struct {
	terminal.Data
	Users []entitlement.User `json:"users"`
}

// userData is freehold.user/1.
type userData struct {
	terminal.Data
	User entitlement.User `json:"user"`
	Code string           `json:"code,omitempty"` // of the slip that was made now
}

func userCommand(f *flags) *cobra.Command {
	var account, group string
	c := &cobra.Command{
		Use: "user", Short: "Show and change the users of accounts",
		Long: "Users stand for seats. Of a user the name is kept, what it may do, and the hash of a code on a paper slip, with which the person shows once who it is; nothing else. " +
			"Who is given a seat and is not known yet is made with it.\n\nWithout a verb the users are listed.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(func(o *backoffice.Office) error {
				if err := onRecord(o.Book(), account, group); err != nil {
					return err
				}
				users := slices.DeleteFunc(o.Book().Users(), func(u entitlement.User) bool {
					return account != "" && u.ID.Account != account || group != "" && !slices.Contains(u.Groups, group)
				})
				return f.printUsers(c.OutOrStdout(), users)
			})
		},
	}
	c.Flags().StringVar(&account, "account", "", "only users of the account of that `name`")
	c.Flags().StringVar(&group, "group", "", "only users in the group of that `name`")
	c.AddCommand(once(f, userAdd(f)), once(f, userCode(f)), userClaim(f),
		once(f, userChange(f, "disable NAME", "Let a user take no session and no seat any more", func(c *entitlement.ChangeUser, yes, _ *bool) { c.Disabled = yes })),
		once(f, userChange(f, "enable NAME", "Let a user take sessions and seats again", func(c *entitlement.ChangeUser, _, no *bool) { c.Disabled = no })),
		once(f, userChange(f, "service NAME", "Say that a user is a program or a build machine, so that it gets no seat of a person", func(c *entitlement.ChangeUser, yes, _ *bool) { c.Service = yes })),
		once(f, userChange(f, "person NAME", "Say that a user is a person", func(c *entitlement.ChangeUser, _, no *bool) { c.Service = no })),
		once(f, userRemove(f)))
	return c
}

// with opens the back office for as long as a function runs.
func (f *flags) with(do func(o *backoffice.Office) error) error {
	return f.look(func(o *backoffice.Office) error { return f.said(do(o)) })
}

// findUser is the user of a name: of the account, or the only one of all.
func findUser(b *entitlement.Book, account, name string) (entitlement.UserID, error) {
	if account != "" {
		if u, ok := b.User(entitlement.UserID{Account: account, Name: name}); ok {
			return u.ID, nil
		}
		return entitlement.UserID{}, capability.Refuse(capability.ErrNoUser, name, "in the account %s", account)
	}
	var found []entitlement.UserID
	for _, u := range b.Users() {
		if strings.EqualFold(u.ID.Name, name) {
			found = append(found, u.ID)
		}
	}
	switch len(found) {
	case 0:
		return entitlement.UserID{}, capability.Refuse(capability.ErrNoUser, name, "in no account")
	case 1:
		return found[0], nil
	}
	return entitlement.UserID{}, terminal.Usage("%s have a user %q: say which with --account NAME", capability.Counted(len(found), "account"), name)
}

func userAdd(f *flags) *cobra.Command {
	var (
		id            entitlement.UserID
		service, slip bool
	)
	c := &cobra.Command{
		Use: "add NAME --account NAME", Short: "Put a user into the book",
		Long: "Add puts a user into an account: a mail address, or another name; no two of an account differ by case only. With --slip a code is drawn and printed, for a paper slip: it is shown this once.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id.Name = args[0]
			return f.with(func(o *backoffice.Office) error {
				code, hash, err := slipOf(o, id, slip)
				if err != nil {
					return err
				}
				if err := o.Do(entitlement.AddUser{ID: id, Service: service, Code: hash, By: operator()}, now()); err != nil {
					return err
				}
				return f.printUser(c.OutOrStdout(), o, id, code)
			})
		},
	}
	c.Flags().StringVar(&id.Account, "account", "", "`name` of the account")
	c.Flags().BoolVar(&service, "service", false, "a program or a build machine, not a person")
	c.Flags().BoolVar(&slip, "slip", false, "draw a code for a paper slip")
	if err := c.MarkFlagRequired("account"); err != nil {
		panic(err)
	}
	return c
}

// slipOf draws a code where one is wanted.
func slipOf(o *backoffice.Office, id entitlement.UserID, wanted bool) (string, capability.Digest, error) {
	if !wanted {
		return "", capability.Digest{}, nil
	}
	return o.Slip(id)
}

// userVerb is a verb about one user on record.
func userVerb(f *flags, c *cobra.Command, do func(o *backoffice.Office, id entitlement.UserID) error) *cobra.Command {
	var account string
	c.Args = cobra.ExactArgs(1)
	c.RunE = func(c *cobra.Command, args []string) error {
		return f.with(func(o *backoffice.Office) error {
			id, err := findUser(o.Book(), account, args[0])
			if err != nil {
				return err
			}
			return do(o, id)
		})
	}
	accountFlag(c, &account)
	return c
}

func userCode(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "code NAME", Short: "Draw a new code for a user's slip",
		Long: "Code prints a new code, which is shown this once and can be used once, for 30 days. The code of an older slip is worth nothing from then on.",
	}
	return userVerb(f, c, func(o *backoffice.Office, id entitlement.UserID) error {
		code, hash, err := o.Slip(id)
		if err != nil {
			return err
		}
		if err := o.Do(entitlement.ChangeUser{ID: id, Code: hash, By: operator()}, now()); err != nil {
			return err
		}
		return f.printUser(c.OutOrStdout(), o, id, code)
	})
}

func accountFlag(c *cobra.Command, account *string) {
	c.Flags().StringVar(account, "account", "", "`name` of the user's account, where several have a user of that name")
}

func userClaim(f *flags) *cobra.Command {
	code := ""
	c := &cobra.Command{
		Use: "claim NAME", Short: "Use the code of a user's slip, read from standard input",
		Long: "Claim reads a code from the first line of standard input, and says whether it is the one on the user's newest slip. It can be used once.",
		PreRunE: func(c *cobra.Command, _ []string) (err error) { // before the back office is opened, which nobody else can do meanwhile
			if code, err = bufio.NewReader(io.LimitReader(c.InOrStdin(), capability.MaxName)).ReadString('\n'); err != nil && !errors.Is(err, io.EOF) {
				return terminal.Coded(capability.ErrFileRead, err)
			}
			return nil
		},
	}
	return userVerb(f, c, func(o *backoffice.Office, id entitlement.UserID) error {
		if err := o.Do(entitlement.UseCode{ID: id, Code: strings.TrimSpace(code), By: operator()}, now()); err != nil {
			return err
		}
		return f.printUser(c.OutOrStdout(), o, id, "")
	})
}

// userChange is a verb that changes one thing of a user.
func userChange(f *flags, use, short string, set func(c *entitlement.ChangeUser, yes, no *bool)) *cobra.Command {
	yes, no := true, false
	c := &cobra.Command{Use: use, Short: short, Long: short + ". What the user has stays its own; sessions that run are not renewed for a user that is disabled."}
	return userVerb(f, c, func(o *backoffice.Office, id entitlement.UserID) error {
		change := entitlement.ChangeUser{ID: id, By: operator()}
		set(&change, &yes, &no)
		if err := o.Do(change, now()); err != nil {
			return err
		}
		return f.printUser(c.OutOrStdout(), o, id, "")
	})
}

func userRemove(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "remove NAME", Short: "Take a user out of the book",
		Long: "Remove takes out a user that has no seat, no session and no place in a pool. What the user did stays in the entries of the book.",
	}
	return userVerb(f, c, func(o *backoffice.Office, id entitlement.UserID) error {
		u, _ := o.Book().User(id)
		if err := o.Do(entitlement.RemoveUser{ID: id, By: operator()}, now()); err != nil || !f.json {
			return err
		}
		return printJSON(c.OutOrStdout(), userData{terminal.NewData("freehold.user/1"), u, ""})
	})
}

func (f *flags) printUser(w io.Writer, o *backoffice.Office, id entitlement.UserID, code string) error {
	u, _ := o.Book().User(id)
	if code != "" && entitlement.CodeHash(id, code) != u.Code {
		code = "" // the command was done before, under its key, and what was drawn now is nobody's
	}
	if f.json {
		return printJSON(w, userData{terminal.NewData("freehold.user/1"), u, code})
	}
	fmt.Fprintf(w, "%s of %s%s\n", terminal.Plain(u.ID.Name), terminal.Plain(u.ID.Account), userWords(&u))
	if code != "" {
		fmt.Fprintf(w, "code  %s  for one use until %s; it is shown this once\n", code, u.CodeEnds)
	}
	return nil
}

func userWords(u *entitlement.User) (words string) {
	if u.Service {
		words += "  service account"
	}
	if u.Disabled {
		words += "  disabled"
	}
	if u.Claimed != 0 {
		words += "  has used a code " + u.Claimed.String()
	}
	return words
}

func (f *flags) printUsers(w io.Writer, users []entitlement.User) error {
	if f.json {
		return printJSON(w, usersData{terminal.NewData("freehold.users/1"), append([]entitlement.User{}, users...)})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, u := range users {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", terminal.Plain(u.ID.Account), terminal.Plain(u.ID.Name), terminal.Plain(strings.Join(u.Groups, ", ")), strings.TrimSpace(userWords(&u)))
	}
	return t.Flush()
}
