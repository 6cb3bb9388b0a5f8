package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

func (p *program) poolsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pools", Short: "List what each pool holds of each line item", Args: cobra.NoArgs,
		Long: "COMPUTED is what a pool is due. It is more than COUNT while leases of the default pool are in the way, and COUNT grows as they end.",
		RunE: func(c *cobra.Command, _ []string) error {
			rows := []console.Pool{}
			if err := p.call(c.Context(), http.MethodGet, "pools", nil, &rows); err != nil {
				return err
			}
			if p.json {
				return terminal.JSON(p.out, terminal.Hexed(struct {
					terminal.Data
					Pools []console.Pool `json:"pools"`
				}{terminal.NewData("leasehold.pools/1"), rows}))
			}
			if len(rows) == 0 {
				p.say("Nothing is licensed on this appliance yet.\n")
				return nil
			}
			return p.table("POOL\tFEATURE\tVERSION\tCOUNT\tCOMPUTED\tUSED\tSTATUS\tACTIVATION ID", len(rows), func(i int) string {
				r := rows[i]
				count, computed := strconv.FormatUint(r.Count, 10), strconv.FormatUint(r.Computed, 10)
				if r.Uncounted {
					count, computed = "uncounted", "-"
				}
				return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s", r.Pool, r.Feature, r.Version, count, computed, r.Used, r.Status, r.ActivationID)
			})
		},
	}
}

func (p *program) policiesCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "policies", Short: "List the settings, and who may change them", Args: cobra.NoArgs,
		Long: "What belongs to the producer comes with its responses, and is refused here by name. What an administrator sets stays until it is set to nothing: leasehold policies set NAME \"\"",
		RunE: func(c *cobra.Command, _ []string) error {
			rows := []console.Setting{}
			if err := p.call(c.Context(), http.MethodGet, "policies", nil, &rows); err != nil {
				return err
			}
			return p.printSettings("leasehold.policies/1", rows)
		},
	}
	var secret password
	set := &cobra.Command{
		Use: "set NAME VALUE", Short: "Change a setting", Args: cobra.ExactArgs(2),
		Long:    "Settings of the directory, directory-..., say who may sign in: from another machine they are changed by a security administrator, whose own password is asked again. leasehold-directory(1) lists them.",
		Example: "  leasehold policies set borrow-maximum 8h",
		RunE: func(c *cobra.Command, args []string) error {
			form := console.SettingForm{Name: args[0], Value: args[1]}
			if p.remote.away() && strings.HasPrefix(form.Name, "directory-") {
				return p.setDirectory(c.Context(), form, &secret)
			}
			var row console.Setting
			if err := p.call(c.Context(), http.MethodPost, "policies", form, &row); err != nil {
				return err
			}
			return p.printSettings("leasehold.policies/1", []console.Setting{row})
		},
	}
	secret.flags(set, ownFlag, ownWords)
	c.AddCommand(set)
	return c
}

// setDirectory changes a setting of the directory over the network.
func (p *program) setDirectory(ctx context.Context, form console.SettingForm, w *password) error {
	current, err := p.ownPassword(w)
	if err != nil {
		return err
	}
	var s console.DirectoryState
	if err := p.call(ctx, http.MethodPut, "directory", console.DirectoryForm{SettingForm: form, Current: current}, &s); err != nil {
		return err
	}
	return p.printSettings("leasehold.policies/1", slices.DeleteFunc(s.Settings, func(one console.Setting) bool { return one.Name != form.Name }))
}

func (p *program) printSettings(schema string, rows []console.Setting) error {
	if p.json {
		return terminal.JSON(p.out, struct {
			terminal.Data
			Policies []console.Setting `json:"policies"`
		}{terminal.NewData(schema), rows})
	}
	err := p.table("NAME\tVALUE\tDEFAULT\tWHO SETS\tCHANGED", len(rows), func(i int) string {
		r, changed := rows[i], "-"
		if r.Changed {
			changed = "yes"
		}
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", r.Name, dash(r.Value), dash(r.Default), r.Owner, changed)
	})
	for _, r := range rows {
		if r.Note != "" && err == nil {
			p.printf("%s: %s\n", r.Name, r.Note)
		}
	}
	return err
}

func (p *program) seatsCommand() *cobra.Command {
	var idle time.Duration
	var disconnect bool
	c := &cobra.Command{
		Use: "seats [FEATURE]", Short: "List who holds a count and how long nobody has used it, and who waits", Args: cobra.MaximumNArgs(1),
		Long: "The longest idle come first. With --disconnect, what nobody has used for the time of --idle is not renewed any more: its counts come free when the leases end.",
		RunE: func(c *cobra.Command, args []string) error {
			feature := append(args, "")[0]
			if idle < 0 || idle%time.Second != 0 {
				return terminal.Usage("--idle %s: want whole seconds", idle)
			}
			if disconnect {
				return p.disconnect(c, feature, capability.Seconds(idle/time.Second))
			}
			query := url.Values{}
			if feature != "" {
				query.Set("feature", feature)
			}
			if idle > 0 {
				query.Set("idle", strconv.Itoa(int(idle/time.Second)))
			}
			path := "seats"
			if len(query) > 0 {
				path += "?" + query.Encode()
			}
			var seats console.Seats
			if err := p.call(c.Context(), http.MethodGet, path, nil, &seats); err != nil {
				return err
			}
			return p.printSeats(seats)
		},
		ValidArgsFunction: p.completeFeature,
	}
	c.Flags().DurationVar(&idle, "idle", 0, "only what nobody has used for so long")
	c.Flags().BoolVar(&disconnect, "disconnect", false, "renew none of them")
	return c
}

func (p *program) printSeats(s console.Seats) error {
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			console.Seats
		}{terminal.NewData("leasehold.seats/1"), s}))
	}
	if len(s.Held) == 0 {
		p.say("No seat is held.\n")
	} else if err := p.table("DEVICE\tUSER\tFEATURE\tCOUNT\tPOOL\tIDLE\tENDS\tHOST ID", len(s.Held), func(i int) string {
		h := s.Held[i]
		end := ending(h.Expiry, h.Dropped, h.Unheard)
		return fmt.Sprintf("%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s", dash(h.Alias), dash(h.User), h.Feature, h.Count, h.Pool, h.Idle, end, h.Host)
	}); err != nil {
		return err
	}
	if len(s.Waiting) == 0 {
		return nil
	}
	return p.table("WAITS FOR\tPLACE\tCOUNT\tDEVICE\tHOST ID", len(s.Waiting), func(i int) string {
		w := s.Waiting[i]
		return fmt.Sprintf("%s\t%d\t%d\t%s\t%s", w.Feature, w.Position, w.Count, w.Name, w.Host)
	})
}

func (p *program) disconnect(c *cobra.Command, feature string, after capability.Seconds) error {
	if after == 0 {
		return terminal.Usage("--disconnect needs --idle, as --idle 2h")
	}
	var done console.Disconnected
	if err := p.call(c.Context(), http.MethodPost, "seats/disconnect", console.Disconnect{After: after, Feature: feature}, &done); err != nil {
		return err
	}
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			console.Disconnected
		}{terminal.NewData("leasehold.disconnect/1"), done}))
	}
	if len(done.Dropped) == 0 {
		p.say("Nothing was idle for %s.\n", after)
		return nil
	}
	if done.More {
		p.say("warning: there may be more: the same command again takes the next ones\n")
	}
	return p.table("NOT RENEWED\tHOST ID", len(done.Dropped), func(i int) string { return done.Dropped[i].Feature + "\t" + done.Dropped[i].Host })
}

func (p *program) devicesDrop() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "drop HOSTID FEATURE", Short: "End a device's lease: it is not renewed any more", Args: cobra.ExactArgs(2),
		Long: "The counts come free when the lease ends, which is printed, or when the device gives them back.",
		RunE: func(c *cobra.Command, args []string) error { return p.drop(c.Context(), args[0], args[1], reason) },
	}
	c.Flags().StringVar(&reason, "reason", "", "`text` for the log")
	return c
}
