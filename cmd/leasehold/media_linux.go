package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/stick"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/systemd"
)

// Where this machine runs an image, transfers says where the files of an update go; taker is there where a unit waits for a stick with one.
const (
	transfers = "/usr/lib/sysupdate.d"
	taker     = "/etc/systemd/system/multi-user.target.wants/leasehold-update.path"
)

func (p *program) mediaCommand() *cobra.Command {
	var at, told string
	c := &cobra.Command{
		Use: "media DEVICE", Short: "Serve a USB stick: apply the response on it, write a request, and say when it is safe to remove", Args: cobra.MaximumNArgs(1),
		Long: "Media is the program of leasehold-media@.service, which udev starts for each USB stick with FAT or exFAT that is plugged in. It mounts the stick, hands responses to the daemon and writes what the daemon gives it, unmounts the stick, " +
			"and then says SAFE TO REMOVE.\n\n" +
			"Nothing but the folder LEASEHOLD is touched, and a stick without it is ignored; so is one that is a dongle of the appliance. The setting media-mode says whether sticks are served: auto; confirm, after leasehold media allow or the key on the text console; off. While the trusted storage, and with it the setting, is lost it is confirm.\n\n" +
			"A stick that was pulled out too early is put right the next time, its file system by fsck.vfat(8) in leasehold-repair@.service where it is FAT. With --at, the stick is mounted already and stays so.",
		Example: "  leasehold media sdb1\n  leasehold media --at /media/usb",
		RunE: func(c *cobra.Command, args []string) error {
			if (len(args) == 1) == (at != "") {
				return terminal.Usage("want either the name of a device, as sdb1, or the directory of one that is mounted: --at DIR")
			}
			o := *p
			o.remote = remote{} // a stick is plugged into the appliance itself
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGXCPU)
			defer stop()
			v := &visit{program: &o, told: told, log: systemd.NewLogging("leasehold-media", p.stderr, slog.LevelInfo).Logger()}
			if at != "" {
				v.name, v.open = "at "+at, func() (stick.Place, error) { return stick.At(at), nil }
				return v.serve(ctx)
			}
			d, err := stick.Look(args[0])
			if d == nil {
				return terminal.Coded(capability.ErrFileRead, err)
			}
			v.name, v.gone, v.dirty, v.serial = d.Name, d.Gone, d.Dirty, d.Serial()
			if d.System == stick.VFAT {
				v.mend = d.Mend
			}
			v.open = func() (stick.Place, error) {
				if err != nil {
					return nil, err
				}
				return d.Mount(filepath.Join(told, filepath.Base(args[0])))
			}
			if takesUpdates(transfers, taker) {
				v.hand = func() error { return stick.HandOver(told, args[0]) }
			}
			return v.serve(ctx)
		},
	}
	c.Flags().StringVar(&at, "at", "", "`directory` where the stick is mounted already")
	c.MarkFlagDirname("at")
	c.PersistentFlags().StringVar(&told, "told", from("LEASEHOLD_TOLD", toldDir), "`directory` in which it keeps what it says, for the text console, and mounts sticks ($LEASEHOLD_TOLD)")
	c.AddCommand(p.mediaAllow(&told), p.mediaEnded(&told))
	return c
}

// takesUpdates says whether all of these are there: else nobody would take over a stick that was handed over.
func takesUpdates(paths ...string) bool {
	return !slices.ContainsFunc(paths, func(p string) bool { _, err := os.Lstat(p); return err != nil })
}

func (p *program) mediaAllow(told *string) *cobra.Command {
	return &cobra.Command{
		Use: "allow", Short: "Let sticks in for five minutes, where media-mode is confirm", Args: cobra.NoArgs,
		Long: "Where the setting media-mode is confirm, a stick is served when somebody has said so here, as root, or on the text console, at most five minutes before.",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := allowSticks(*told); err != nil {
				return err
			}
			return p.did("leasehold.media-allow/1", "", "sticks are let in for %s: plug it in now\n", days(capability.Time(stick.AllowedFor/time.Second)))
		},
	}
}

// mediaEnded gives a visit that was killed its last word: what it had mounted went with it.
func (p *program) mediaEnded(told *string) *cobra.Command {
	return &cobra.Command{
		Use: "ended RESULT", Short: "Say of a stick that its visit was killed, where the service manager's result of its unit says so", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if args[0] == "success" || args[0] == "exit-code" { // it had its own
				return nil
			}
			lines, err := stick.Told(*told)
			if err != nil || len(lines) == 0 || lines[len(lines)-1].Last {
				return err
			}
			e := capability.ErrStickStopped.Entry()
			return stick.Tell(*told, stick.Line{Time: capability.At(time.Now()), Code: e.Code.String(), Text: fmt.Sprintf("%s %s. NEXT: %s. SAFE TO REMOVE", e.Code, e.Title, e.Next), Sound: stick.Failed, Last: true})
		},
	}
}

// allowSticks lets sticks in for a while.
func allowSticks(told string) error {
	if err := os.MkdirAll(told, 0o755); err != nil {
		return terminal.Coded(capability.ErrForbidden, err)
	}
	if err := stick.Allow(told, sinceBoot()); err != nil {
		return terminal.Coded(capability.ErrForbidden, err)
	}
	return nil
}

// sticksAllowed is for how much longer sticks are let in.
func sticksAllowed(told string) time.Duration { return stick.Allowed(told, sinceBoot()) }

// sinceBoot is a clock that nobody sets.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0 // older than any kernel that this runs on: nothing is allowed
	}
	return time.Duration(t.Nano())
}

// context for calls that a stop of this program must not cut: what the daemon has done is heard to its end.
func uncut(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }
