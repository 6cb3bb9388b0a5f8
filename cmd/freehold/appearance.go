package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
)

// printAppearances says what a machine first showed of itself, then each change with its date: what was before and what came.
func printAppearances(w io.Writer, list []entitlement.Appearance) {
	for n, a := range list {
		line := func(what, format string, args ...any) {
			fmt.Fprintf(w, "%-13s%s  request %d: %s\n", what, a.Time, a.Number, terminal.Plain(fmt.Sprintf(format, args...)))
		}
		if n == 0 {
			line("shown", "%s", tierWords(&a))
			line("shown", "%s", hostWords(a.Hosts))
			if a.Platform != "" {
				line("shown", "virtual machine: %s", a.Platform)
			}
			if a.Booted != "" {
				line("shown", "%s", a.Booted)
			}
			continue
		}
		before := &list[n-1]
		if a.Tier != before.Tier {
			line("changed", "tier %s -> %s", before.Tier, tierWords(&a))
		}
		if words := driftWords(a.Drift(before)); words != "" {
			line("changed", "%s", words)
		}
		if a.Platform != before.Platform {
			line("changed", "virtual machine: %s -> %s", orNone(before.Platform), orNone(a.Platform))
		}
		if !bytes.Equal(a.State, before.State) || a.Booted != before.Booted {
			line("changed", "booted %s -> %s", bootWords(before), bootWords(&a))
		}
	}
}

func tierWords(a *entitlement.Appearance) string {
	if a.Why == "" {
		return "tier " + a.Tier.String()
	}
	return fmt.Sprintf("tier %s: %s", a.Tier, a.Why)
}

// bootWords names the boot state as freehold boot does.
func bootWords(a *entitlement.Appearance) string {
	s := "state " + (&entitlement.BootState{State: a.State}).ID()
	if a.Booted != "" {
		s += " (" + a.Booted + ")"
	}
	return s
}

// driftWords says what of the host IDs is gone and what came; empty, nothing.
func driftWords(gone, came []hostid.ID) string {
	var parts []string
	if len(gone) > 0 {
		parts = append(parts, "gone: "+hostWords(gone))
	}
	if len(came) > 0 {
		parts = append(parts, "came: "+hostWords(came))
	}
	return strings.Join(parts, "; ")
}

func hostWords(ids []hostid.ID) string {
	if len(ids) == 0 {
		return "no host ID beside its TPM's"
	}
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return strings.Join(texts, ", ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
