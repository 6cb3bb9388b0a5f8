package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// sessionsData is freehold.sessions/1.
type sessionsData struct {
	terminal.Data
	Sessions []entitlement.SessionView `json:"sessions"`
}

// sessionData is freehold.session/1.
type sessionData struct {
	terminal.Data
	entitlement.Granted
}

func sessionCommand(f *flags) *cobra.Command {
	var idle time.Duration
	c := &cobra.Command{
		Use: "session [ID]", Short: "Show, give and end the use of licenses online",
		Long: "A session is the use of one seat on one device. Without a verb those that run, or may still run, are shown, the longest idle first.\n\n" +
			"A device renews its session before its lease ends. If no renewal gets through, its program runs until the lease ends, or as long as the license model tolerates; until then its seat is nobody else's.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.sessions(args, func(o *backoffice.Office, id capability.ActivationID) error {
				return f.printSessions(c.OutOrStdout(), idleFor(o.Sessions(id, now()), idle))
			})
		},
	}
	idleFlag(c, &idle)
	c.AddCommand(once(f, sessionTake(f)), once(f, sessionRenew(f)), once(f, sessionEnd(f)), once(f, sessionDisconnect(f)))
	return c
}

func idleFlag(c *cobra.Command, idle *time.Duration) {
	c.Flags().DurationVar(idle, "idle", 0, "only sessions with which nobody has worked for that `time`, as 30m")
}

func idleFor(list []entitlement.SessionView, least time.Duration) []entitlement.SessionView {
	return slices.DeleteFunc(list, func(v entitlement.SessionView) bool { return v.Idle < capability.Seconds(least/time.Second) })
}

// sessions opens the back office for a command about the sessions of one license, or of all.
func (f *flags) sessions(args []string, do func(o *backoffice.Office, id capability.ActivationID) error) error {
	if len(args) > 0 {
		return f.seats(args[0], do)
	}
	return f.with(func(o *backoffice.Office) error { return do(o, "") })
}

// deviceFlag names a device by a text that stands for its key.
func deviceFlag(c *cobra.Command, device *string) {
	c.Flags().StringVar(device, "device", "", "`text` that stands for the key of the device: who has it has the session")
	if err := c.MarkFlagRequired("device"); err != nil {
		panic(err)
	}
}

func deviceOf(text string) capability.Digest { return sha256.Sum256([]byte(text)) }

func sessionTake(f *flags) *cobra.Command {
	var (
		account, device string
		take            entitlement.TakeSession
	)
	c := &cobra.Command{
		Use: "take ID USER --device TEXT", Short: "Let a user use a seat on a device",
		Long: "Take does for a device what it does itself online: it takes a seat of a license for a user. A device that has a session for that user has it back at once, after a crash for instance. " +
			"Where all seats of the user are in use on other devices, --take-over moves the oldest one here: say it only if you know that it is the user who asks.",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return f.seats(args[0], func(o *backoffice.Office, id capability.ActivationID) error {
				user, _, err := userFor(o, id, account, args[1])
				if err != nil {
					return err
				}
				take.ActivationID, take.User, take.Device, take.By = id, user, deviceOf(device), operator()
				g, err := o.TakeSession(take, now())
				if err != nil {
					return err
				}
				return f.printGranted(c.OutOrStdout(), g)
			})
		},
	}
	accountFlag(c, &account)
	deviceFlag(c, &device)
	c.Flags().StringVar(&take.Machine, "machine", "", "`name` of the machine; kept of floating licenses only, for who has to end a session")
	c.Flags().StringVar(&take.Platform, "platform", "", "virtual machine, container or build that it runs in, by `name`")
	c.Flags().BoolVar(&take.TakeOver, "take-over", false, "the user has shown who it is, and gives up a session on another device")
	return c
}

func sessionRenew(f *flags) *cobra.Command {
	var (
		device string
		idle   time.Duration
	)
	c := &cobra.Command{
		Use: "renew SESSION --device TEXT", Short: "Move the end of a session",
		Long: "Renew moves the end of the session's lease. The book promises ends some leases ahead, so most renewals write nothing.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.session(args[0], func(o *backoffice.Office, id entitlement.SessionID) error {
				g, err := o.RenewSession(entitlement.RenewSession{ID: id, Device: deviceOf(device), Idle: capability.Seconds(idle / time.Second), By: operator()}, now())
				if err != nil {
					return err
				}
				return f.printGranted(c.OutOrStdout(), g)
			})
		},
	}
	deviceFlag(c, &device)
	c.Flags().DurationVar(&idle, "idle", 0, "`time` for which nobody has worked with it, as 10m")
	return c
}

// session opens the back office for a command about one session.
func (f *flags) session(text string, do func(o *backoffice.Office, id entitlement.SessionID) error) error {
	id, err := entitlement.ParseSessionID(text)
	if err != nil {
		return terminal.Usage("%w", err)
	}
	return f.with(func(o *backoffice.Office) error { return do(o, id) })
}

func sessionEnd(f *flags) *cobra.Command {
	var device string
	c := &cobra.Command{
		Use: "end SESSION --device TEXT", Short: "Give the seat of a session back, because its program has stopped",
		Long: "End is the device's own word that its program has stopped. The seat is free at once.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.session(args[0], func(o *backoffice.Office, id entitlement.SessionID) error {
				return o.Do(entitlement.EndSession{ID: id, Device: deviceOf(device), By: operator()}, now())
			})
		},
	}
	deviceFlag(c, &device)
	return c
}

func sessionDisconnect(f *flags) *cobra.Command {
	var idle time.Duration
	c := &cobra.Command{
		Use: "disconnect {SESSION | --idle TIME}", Short: "Renew a session no more, or all that are idle",
		Long: "Disconnect ends the renewals of a session. Its seat is free as soon as its device has heard it and stopped the program, or at the latest at the time that is shown.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if (len(args) == 0) != (idle > 0) {
				return terminal.Usage("name a session, or say with --idle how long nobody has worked with those to end")
			}
			if idle > 0 && f.key != "" {
				return terminal.Usage("--key names one change, and with --idle others may be idle the next time: given again, it ends those alone that are left")
			}
			if len(args) > 0 {
				return f.session(args[0], func(o *backoffice.Office, id entitlement.SessionID) error {
					return f.disconnect(c.OutOrStdout(), o, []entitlement.SessionID{id})
				})
			}
			return f.with(func(o *backoffice.Office) error {
				var ids []entitlement.SessionID
				for _, v := range idleFor(o.Sessions("", now()), idle) {
					if v.Ended == 0 {
						ids = append(ids, v.ID)
					}
				}
				return f.disconnect(c.OutOrStdout(), o, ids)
			})
		},
	}
	idleFlag(c, &idle)
	return c
}

func (f *flags) disconnect(w io.Writer, o *backoffice.Office, ids []entitlement.SessionID) error {
	for _, id := range ids {
		if err := o.Disconnect(entitlement.Disconnect{ID: id, By: operator()}, now()); err != nil {
			return err
		}
	}
	return f.printSessions(w, slices.DeleteFunc(o.Sessions("", now()), func(v entitlement.SessionView) bool { return !slices.Contains(ids, v.ID) }))
}

func (f *flags) printGranted(w io.Writer, g *entitlement.Granted) error {
	if g == nil {
		return nil // it was done before, under its key; freehold session shows it
	}
	if f.json {
		return printJSON(w, sessionData{terminal.NewData("freehold.session/1"), *g})
	}
	verb := "taken"
	if g.Attached {
		verb = "yours already"
	}
	fmt.Fprintf(w, "%s  %s, to be renewed before %s; without a renewal it runs until %s\n", g.Session.ID, verb, g.Until, g.Runs)
	if g.Warning != "" {
		fmt.Fprintf(w, "warning  %s\n", terminal.Plain(g.Warning))
	}
	return nil
}

func (f *flags) printSessions(w io.Writer, list []entitlement.SessionView) error {
	if f.json {
		return printJSON(w, sessionsData{terminal.NewData("freehold.sessions/1"), list})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	sessionRows(t, list)
	return t.Flush()
}

// sessionRows prints a row for each session.
func sessionRows(w io.Writer, list []entitlement.SessionView) {
	for _, v := range list {
		state := "idle for " + v.Idle.String()
		switch {
		case v.Over:
			state = "taken over"
		case v.Ended != 0:
			state = "disconnected"
		}
		fmt.Fprintf(w, "session\t%s\t%s\t%s\t%s\t%s, has stopped by %s\n", v.ID, terminal.Plain(v.Product), terminal.Plain(v.User.Name), terminal.Plain(v.Machine), state, v.Runs)
	}
}
