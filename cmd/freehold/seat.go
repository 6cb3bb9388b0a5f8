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

// seatsData is freehold.seats/1.
type seatsData struct {
	terminal.Data
	ActivationID capability.ActivationID   `json:"activationId"`
	Product      string                    `json:"product"`
	Customer     string                    `json:"customer"`
	Kind         string                    `json:"kind"`
	Mode         entitlement.Mode          `json:"mode"`
	Copies       uint32                    `json:"copies"`
	Left         uint32                    `json:"left"`
	Seats        []entitlement.SeatView    `json:"seats"`
	Pool         []entitlement.UserID      `json:"pool"`
	Everybody    bool                      `json:"everybody"` // of the account is in the pool
	Sessions     []entitlement.SessionView `json:"sessions"`
	Code         string                    `json:"code,omitempty"` // of the slip of a user that was made now
	Response     string                    `json:"response,omitempty"`
	Again        bool                      `json:"again,omitempty"` // the request was answered before: the same bytes
}

func seatCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "seat ID", Short: "Show and give out the seats of a license",
		Long: "A license of the kind fixed-user has as many seats as copies, and each is one user's. Used online, the assignment is all it takes. Used offline, a seat is assigned with the request of the user's machine: " +
			"the response that it becomes names the user and opens on that machine only, and the seat is free again when the machine proved that it gave it back.\n\n" +
			"A floating license that is used online has a pool of users instead, who take seats while some are left.\n\n" +
			"Without a verb the seats of one license are shown: whose they are, on which machine and since when.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.seats(args[0], func(o *backoffice.Office, id capability.ActivationID) error {
				return f.printSeats(c.OutOrStdout(), o, id, seatsData{})
			})
		},
	}
	c.AddCommand(once(f, seatAssign(f)), once(f, seatUnassign(f)), once(f, seatWithdraw(f)), once(f, seatPool(f)))
	return c
}

// seats opens the back office for a command about one license.
func (f *flags) seats(text string, do func(o *backoffice.Office, id capability.ActivationID) error) error {
	id, err := capability.ParseActivationID(text)
	if err != nil {
		return terminal.Usage("%w", err)
	}
	return f.with(func(o *backoffice.Office) error {
		if _, ok := o.Book().Item(id, now()); !ok {
			return capability.Refuse(capability.ErrUnknownID, string(id), "in %s", f.dir)
		}
		return do(o, id)
	})
}

// userFor is the user that a name means for a license, and whether the book has it.
func userFor(o *backoffice.Office, item capability.ActivationID, account, name string) (id entitlement.UserID, known bool, err error) {
	if account == "" {
		v, _ := o.Book().Item(item, now())
		var ok bool
		if id, ok = o.Book().FindUser(v.Customer, name); !ok {
			return id, false, terminal.Usage("several accounts below %s have a user %q: say which with --account NAME", v.Customer, name)
		}
	} else {
		id = entitlement.UserID{Account: account, Name: name}
	}
	_, known = o.Book().User(id)
	return id, known, nil
}

func seatAssign(f *flags) *cobra.Command {
	var (
		account, request, dir string
		slip                  bool
	)
	c := &cobra.Command{
		Use: "assign ID USER [--request FILE -o DIR]", Short: "Give a user a seat",
		Long: "Assign gives the user a seat of a license. A user who is not in the book is put there with it; --slip draws a code for the person's slip.\n\n" +
			"Used online, the seat is the user's from then on; one who gets several may use as many machines at the same time. " +
			"Used offline, the seat comes with the answer to the request of the user's machine, and is on that machine until it proved that it gave it back: the same request again gives the same file.",
		Example: "  freehold seat assign 7K2QF-... a.larsen@acme.example --request /media/stick/LEASEHOLD/7F3A22C9/REQ-0001.LHQ -o /media/stick",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if (request == "") != (dir == "") {
				return terminal.Usage("--request names the file of the machine, -o the directory for its answer: say both or neither")
			}
			return f.seats(args[0], func(o *backoffice.Office, id capability.ActivationID) error {
				user, known, err := userFor(o, id, account, args[1])
				if err != nil {
					return err
				}
				code, hash, err := slipOf(o, user, slip && !known)
				if err != nil {
					return err
				}
				data := seatsData{Code: code}
				if request == "" {
					if err := o.Do(entitlement.AssignSeat{ActivationID: id, User: user, Code: hash, By: operator()}, now()); err != nil {
						return err
					}
				} else if err := f.seatFile(o, request, dir, entitlement.SeatOrder{ActivationID: id, User: user, Code: hash}, &data); err != nil {
					return err
				}
				return f.printSeats(c.OutOrStdout(), o, id, data)
			})
		},
	}
	accountFlag(c, &account)
	c.Flags().StringVar(&request, "request", "", "request `file` of the user's machine, for a seat that is used offline; also in its text form")
	c.Flags().StringVarP(&dir, "output", "o", "", "`directory` for the response file: a stick, or any other")
	c.Flags().BoolVar(&slip, "slip", false, "draw a code for the slip of a user who is made with it")
	return c
}

// seatFile answers the request of a machine with a seat.
func (f *flags) seatFile(o *backoffice.Office, request, dir string, seat entitlement.SeatOrder, data *seatsData) error {
	b, err := readOurs(request)
	if err != nil {
		return about(request, err)
	}
	out, err := openOutbox(dir)
	if err != nil {
		return err
	}
	r, err := o.RespondTo(b, backoffice.Order{By: operator(), Seat: &seat}, now())
	if err != nil {
		return about(request, f.said(err))
	}
	data.Again = r.Again
	data.Response, err = out.put(r)
	return err
}

// seatVerb is a verb about the seat that a user has of a license.
func seatVerb(f *flags, c *cobra.Command, command func(id capability.ActivationID, user entitlement.UserID) entitlement.Command) *cobra.Command {
	var account string
	c.Args = cobra.ExactArgs(2)
	c.RunE = func(c *cobra.Command, args []string) error {
		return f.seats(args[0], func(o *backoffice.Office, id capability.ActivationID) error {
			user, _, err := userFor(o, id, account, args[1])
			if err == nil {
				err = o.Do(command(id, user), now())
			}
			if err != nil {
				return err
			}
			return f.printSeats(c.OutOrStdout(), o, id, seatsData{})
		})
	}
	accountFlag(c, &account)
	return c
}

func seatUnassign(f *flags) *cobra.Command {
	return seatVerb(f, &cobra.Command{
		Use: "unassign ID USER", Short: "Take a seat that is used online back from a user",
		Long: "Unassign takes one seat back. While a session runs on it, or may still run because its connection is lost, it is refused and says where and until when: freehold session disconnect ends renewals.",
	}, func(id capability.ActivationID, user entitlement.UserID) entitlement.Command {
		return entitlement.UnassignSeat{ActivationID: id, User: user, By: operator()}
	})
}

func seatWithdraw(f *flags) *cobra.Command {
	return seatVerb(f, &cobra.Command{
		Use: "withdraw ID USER", Short: "Ask for a seat back that is on a machine",
		Long: "Withdraw asks the machine for the seat: its next response leaves it out. The seat is free when a later request of the machine proves that it does not use it any more, or never did; until then it counts.",
	}, func(id capability.ActivationID, user entitlement.UserID) entitlement.Command {
		return entitlement.WithdrawSeat{ActivationID: id, User: user, By: operator()}
	})
}

func seatPool(f *flags) *cobra.Command {
	var (
		account, add, remove string
		everybody, nobody    bool
		slip                 bool
	)
	c := &cobra.Command{
		Use: "pool ID {--add USER | --remove USER | --everybody | --members}", Short: "Say who may use a floating license online",
		Long: "Pool puts a user into the pool of a floating license that is used online, or takes one out. With --everybody all users of the account are in it, with --members only those who were put there.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.seats(args[0], func(o *backoffice.Office, id capability.ActivationID) error {
				set := entitlement.SetPool{ActivationID: id, Everybody: everybody || nobody, Remove: nobody || remove != "", By: operator()}
				code := ""
				if name := add + remove; name != "" {
					user, known, err := userFor(o, id, account, name)
					if err != nil {
						return err
					}
					if code, set.Code, err = slipOf(o, user, slip && !known && add != ""); err != nil {
						return err
					}
					set.User = user
				}
				if err := o.Do(set, now()); err != nil {
					return err
				}
				return f.printSeats(c.OutOrStdout(), o, id, seatsData{Code: code})
			})
		},
	}
	accountFlag(c, &account)
	c.Flags().StringVar(&add, "add", "", "`name` of a user to put into it")
	c.Flags().StringVar(&remove, "remove", "", "`name` of a user to take out")
	c.Flags().BoolVar(&everybody, "everybody", false, "open it to all users of the account")
	c.Flags().BoolVar(&nobody, "members", false, "close it to all but those who were put there")
	c.Flags().BoolVar(&slip, "slip", false, "draw a code for the slip of a user who is made with it")
	c.MarkFlagsMutuallyExclusive("add", "remove", "everybody", "members")
	c.MarkFlagsOneRequired("add", "remove", "everybody", "members")
	return c
}

func (f *flags) printSeats(w io.Writer, o *backoffice.Office, id capability.ActivationID, data seatsData) error {
	b := o.Book()
	v, _ := b.Item(id, now())
	data.Data, data.ActivationID, data.Product, data.Customer, data.Copies, data.Left, data.Everybody = terminal.NewData("freehold.seats/1"), id, v.Product, v.Customer, v.Copies, v.Left, v.Everybody
	kind, mode := b.Use(id)
	data.Kind, data.Mode, data.Seats, data.Pool, data.Sessions = kind.String(), mode, b.Seats(id), b.Pool(id), o.Sessions(id, now())
	if f.json {
		return printJSON(w, data)
	}
	fmt.Fprintf(w, "%s  %s of %s, %s, used %s: %d of %d seats are left\n", id, terminal.Plain(v.Product), terminal.Plain(v.Customer), data.Kind, mode, v.Left, v.Copies)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range data.Seats {
		where := ""
		if s.Serial != 0 {
			where = fmt.Sprintf("on %s%s since %s", s.Host.Short(), quoted(s.Alias), s.Assigned)
		}
		fmt.Fprintf(t, "seat %d\t%s\t%s\t%s\n", s.Number, terminal.Plain(s.User.Name), s.State, terminal.Plain(where))
	}
	if len(data.Pool) > 0 {
		names := make([]string, len(data.Pool))
		for n, u := range data.Pool {
			names[n] = u.Name
		}
		fmt.Fprintf(t, "pool\t%s\n", terminal.Plain(strings.Join(names, ", ")))
	}
	if data.Everybody {
		fmt.Fprintf(t, "pool\teverybody of %s\n", terminal.Plain(v.Customer))
	}
	sessionRows(t, data.Sessions)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range data.Seats {
		if s.Warning != "" {
			fmt.Fprintf(w, "warning  seat %d: %s\n", s.Number, terminal.Plain(s.Warning))
		}
	}
	if data.Code != "" {
		fmt.Fprintf(w, "code  %s  for one use within 30 days; it is shown this once\n", data.Code)
	}
	if data.Response != "" {
		again := ""
		if data.Again {
			again = ", answered already: the same bytes"
		}
		fmt.Fprintf(w, "-> %s%s\n", terminal.Plain(data.Response), again)
	}
	return nil
}

func convertCommand(f *flags) *cobra.Command {
	var to string
	c := &cobra.Command{
		Use: "convert ID --to {offline | online}", Short: "Use a license offline, by file, or online again",
		Long: "Convert changes how the seats of a license are used. To offline it goes when no user is assigned and no session runs; back to online when every seat is free, which a machine proves that gave it back. " +
			"What is in the way is named. An account may be kept online by the producer.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			mode, err := entitlement.ParseMode(to)
			if err != nil {
				return terminal.Usage("--to: %w", err)
			}
			return f.seats(args[0], func(o *backoffice.Office, id capability.ActivationID) error {
				if err := o.Do(entitlement.Convert{ActivationID: id, To: mode, By: operator()}, now()); err != nil {
					return err
				}
				return f.printSeats(c.OutOrStdout(), o, id, seatsData{})
			})
		},
	}
	c.Flags().StringVar(&to, "to", "", "`mode` of use: offline or online")
	if err := c.MarkFlagRequired("to"); err != nil {
		panic(err)
	}
	return c
}

// groupsData is freehold.groups/1.
type groupsData struct {
	terminal.Data
	Groups []entitlement.GroupView `json:"groups"`
}

func groupCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "group [NAME]", Short: "Show and change groups of licenses and users, by business unit",
		Long: "A group is a name under which licenses and users are found together: lists take it with --group. It exists as long as something is in it, and it grants nothing.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(func(o *backoffice.Office) error { return f.printGroups(c.OutOrStdout(), o, args) })
		},
	}
	c.AddCommand(once(f, groupSet(f, "add", "Put a license or a user into a group", false)), once(f, groupSet(f, "remove", "Take a license or a user out of a group", true)))
	return c
}

func groupSet(f *flags, verb, short string, remove bool) *cobra.Command {
	var account string
	c := &cobra.Command{
		Use: verb + " GROUP {ID | USER}", Short: short, Long: short + ". What looks like an activation ID is one.", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(func(o *backoffice.Office) error {
				set := entitlement.SetGroup{Group: args[0], Remove: remove, By: operator()}
				id, err := capability.ParseActivationID(args[1])
				if err == nil {
					set.ActivationID = id
				} else if set.User, err = findUser(o.Book(), account, args[1]); err != nil {
					return err
				}
				if err := o.Do(set, now()); err != nil {
					return err
				}
				return f.printGroups(c.OutOrStdout(), o, nil)
			})
		},
	}
	accountFlag(c, &account)
	return c
}

func (f *flags) printGroups(w io.Writer, o *backoffice.Office, names []string) error {
	groups := o.Book().Groups()
	if len(names) > 0 {
		one := []entitlement.GroupView{}
		for _, g := range groups {
			if g.Name == names[0] {
				one = append(one, g)
			}
		}
		if groups = one; len(one) == 0 {
			return capability.Refuse(capability.ErrNotFound, names[0], "nothing is in a group of that name; freehold group shows them")
		}
	}
	if f.json {
		return printJSON(w, groupsData{terminal.NewData("freehold.groups/1"), groups})
	}
	for _, g := range groups {
		fmt.Fprintln(w, terminal.Plain(g.Name))
		for _, id := range g.Items {
			v, _ := o.Book().Item(id, now())
			fmt.Fprintf(w, "  %s  %s of %s\n", id, terminal.Plain(v.Product), terminal.Plain(v.Customer))
		}
		for _, u := range g.Users {
			fmt.Fprintf(w, "  %s of %s\n", terminal.Plain(u.Name), terminal.Plain(u.Account))
		}
	}
	return nil
}
