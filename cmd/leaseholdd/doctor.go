package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
)

const (
	success = "success"
	warning = "warning"
	failure = "failure"
)

// lowSpace is where doctor warns: a few segments of the journal and a snapshot.
const lowSpace = 256 << 20

// scarce is where everybody is told: below twice what a start or a new vault takes.
const scarce = 8 * storage.DefaultSegmentBytes

// examine looks at everything the appliance stands on, each with what it found. The times are of this TPM, which chips differ in.
func examine(ctx context.Context, a *appliance.Appliance, device *tpm.Device, keys *storage.Page, state string) []console.Examination {
	var out []console.Examination
	add := func(what, result, detail string) {
		out = append(out, console.Examination{What: what, Result: result, Detail: detail})
	}
	var check error
	var lost capability.Code
	err := a.Look(ctx, func(l *ledger.Ledger, now ledger.Now) { check, lost = l.Check(), l.Status(now).Lost })
	if lost != 0 {
		code := lost.String()
		out = append(out, console.Examination{What: "trusted storage", Result: failure, Detail: lost.Entry().Title + " - next: " + lost.Entry().Next, Code: &code})
	}
	switch {
	case err != nil:
		add("ledger", failure, err.Error())
	case check != nil:
		add("ledger", failure, check.Error())
	default:
		add("ledger", success, "every invariant holds")
	}
	add(archiveOf(ctx, a, state))
	switch r, err := a.Clock(ctx); {
	case err != nil:
		add("clock", failure, err.Error())
	case r.Clock.State == ledger.ClockTrusted:
		add("clock", success, r.Clock.Sentence(r.Now.Wall))
	default:
		add("clock", warning, fmt.Sprintf("%s; it says %s", r.Clock.Sentence(r.Now.Wall), r.Raw))
	}
	if info, err := device.Info(); err != nil {
		add("TPM", failure, err.Error())
	} else {
		result, detail := success, fmt.Sprintf("%s %s, firmware %x", info.Maker, info.Model, info.Firmware)
		if info.Lockout > 0 {
			result, detail = warning, fmt.Sprintf("%s, %d of %d wrong authorizations by other programs", detail, info.Lockout, info.MaxTries)
			if info.LockoutEnds > 0 {
				detail += fmt.Sprintf("; it is locked out to them for up to %v", info.LockoutEnds)
			}
		}
		add("TPM", result, detail)
	}
	for _, probe := range []struct {
		what string
		run  func() error
	}{
		{"TPM clock read", func() error { _, err := device.Clock(); return err }},
		{"TPM quote", func() error { _, err := device.Session(make([]byte, 32)); return err }},
		{"epoch counter read", func() error {
			_, err := device.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil).Epoch()
			return err
		}},
	} {
		begin := time.Now()
		if err := probe.run(); err != nil {
			add(probe.what, warning, err.Error())
		} else {
			add(probe.what, success, time.Since(begin).Round(10*time.Microsecond).String())
		}
	}
	add(keysInMemory(keys.Weakness(), storage.Erases))
	if free, err := freeIn(state); err != nil {
		add("disk", failure, err.Error())
	} else if free < lowSpace {
		add("disk", warning, fmt.Sprintf("%d MiB are free in %s", free>>20, state))
	} else {
		add("disk", success, fmt.Sprintf("%d MiB are free in %s", free>>20, state))
	}
	return out
}

// lastEntries is how many entries of the archive doctor reads: all that are younger than a day or so, where every entry of years would take a minute.
const lastEntries = 10_000

// archiveOf reads the end of the audit trail out of the archive, entry by entry.
func archiveOf(ctx context.Context, a *appliance.Appliance, state string) (what, result, detail string) {
	what = "archive"
	var s ledger.Status
	if err := a.Look(ctx, func(l *ledger.Ledger, now ledger.Now) { s = l.Status(now) }); err != nil {
		return what, failure, err.Error()
	}
	if !s.Provisioned && s.Lost == 0 {
		return what, success, "before the first response there is none"
	}
	var trail ledger.Trail
	err := a.Audit(ctx, s.Position-min(s.Position-1, lastEntries), entryWriter(func(b []byte) error {
		_, err := trail.Add(b)
		return err
	}))
	_, aside := os.Lstat(filepath.Join(state, "archive.lost"))
	switch {
	case err != nil:
		return what, warning, err.Error()
	case trail.Position < s.Position:
		return what, failure, fmt.Sprintf("it ends with entry %d, and there are %d", trail.Position, s.Position)
	case aside == nil:
		return what, warning, fmt.Sprintf("entries %d to %d are in it; an earlier one was put aside as archive.lost: leasehold recover opens it with its recovery key", trail.First, trail.Position)
	}
	return what, success, fmt.Sprintf("entries %d to %d are in it, and each names the one before", trail.First, trail.Position)
}

// entryWriter takes one entry a Write.
type entryWriter func([]byte) error

func (w entryWriter) Write(b []byte) (int, error) { return len(b), w(b) }

// keysInMemory says where the keys are and what was not possible here.
func keysInMemory(weak error, erases bool) (what, result, detail string) {
	what, result, detail = "memory of keys", success, "a page that the kernel hides from every other process (memfd_secret)"
	if weak != nil {
		result, detail = warning, weak.Error()
	}
	if !erases {
		return what, warning, detail + "; copies that a use leaves on the heap are not erased: this build lacks GOEXPERIMENT=runtimesecret"
	}
	return what, result, detail + "; what a use leaves on stack and heap is erased"
}

// freeIn is how many bytes this account may still write to a place.
func freeIn(place string) (uint64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(place, &fs); err != nil {
		return 0, err
	}
	return fs.Bavail * uint64(fs.Bsize), nil
}

// short says how little room is left at a place, where it is too little.
func short(place string) string {
	if free, err := freeIn(place); err == nil && free < scarce {
		return fmt.Sprintf("%d MiB are free in %s", free>>20, place)
	}
	return ""
}
