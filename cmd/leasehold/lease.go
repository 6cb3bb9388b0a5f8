package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm"
)

// asker is the SDK's client, with the TPM by which it asks back offices, where there is one.
type asker struct {
	*client.Client
	tpm *tpm.Device
}

func (a *asker) Close() error {
	err := a.Client.Close()
	if a.tpm != nil {
		err = errors.Join(err, a.tpm.Close())
	}
	return err
}

// open is the SDK's client with this program's flags.
func (p *program) open(user string) (*asker, error) {
	o := client.Options{Servers: servers(p.server), TrustFile: p.trust, Dir: p.dir, User: user}
	if err := p.own.keys(&o); err != nil {
		return nil, err
	}
	a := &asker{}
	o.Seats = func(ctx context.Context) (s *client.Standalone, err error) {
		dir, err := client.OnlineDir(ctx, p.dir)
		if err == nil {
			s, a.tpm, err = p.openOwn(ctx, client.StandaloneOptions{Dir: dir})
		}
		return s, err
	}
	var err error
	if o.Authorities, err = p.authorities(); err == nil {
		a.Client, err = client.New(o)
	}
	return a, err
}

// servers are the addresses in a list with commas, or with spaces.
func servers(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

type leaseResult struct {
	terminal.Data
	Feature string             `json:"feature"`
	Version capability.Version `json:"version"`
	Count   uint32             `json:"count"`
	Expiry  capability.Time    `json:"expiry"`
	Host    hostid.ID          `json:"host"`
	Held    []heldRow          `json:"held"` // all this device holds now
}

type heldRow struct {
	Feature string             `json:"feature"`
	Version capability.Version `json:"version"`
	Count   uint32             `json:"count"`
	Expiry  capability.Time    `json:"expiry"`
}

func (p *program) acquireCommand() *cobra.Command {
	var count uint32
	var wait, borrow time.Duration
	var partial bool
	var user string
	var takeOver bool
	c := &cobra.Command{
		Use: "acquire FEATURE[:VERSION] [--count N] [--wait D] [-- PROGRAM ARGS...]", Short: "Take counts of a feature from the appliance", Args: cobra.MinimumNArgs(1),
		Long: "With a program: takes the counts, starts the program, renews while it runs, gives the counts back when it ends, and ends with its exit status. Signals are passed on. " +
			"If the lease is lost, the program gets SIGTERM, and so it does on Linux if leasehold itself is killed; what the program has started, or a program that changes its user, has to look after itself. " +
			"On Windows and macOS a program whose leasehold is killed goes on without a lease. Counts that nobody gave back come free at the end of the lease. On Windows a program cannot be asked to end, and is ended.\n\n" +
			"Without one: takes the counts and ends. They are kept until \"leasehold release FEATURE\" or the end of the lease; nobody renews them meanwhile. Acquiring again adds to what is held.\n\n" +
			"With --store the counts are of this machine's own rights: no appliance is asked, and nothing has to be renewed.\n\n" +
			"The servers may be back offices too, as https://HOST:PORT, which serve one seat to the user who signed in with leasehold login. The list is tried in its order.",
		Example: "  leasehold acquire render:2026.1 --count 2 --wait 5m -- render scene.blend\n  leasehold acquire render && leasehold release render",
		RunE: func(c *cobra.Command, args []string) error {
			if n := c.ArgsLenAtDash(); n >= 0 && n != 1 || n < 0 && len(args) > 1 {
				return terminal.Usage("want one feature, and a program after --")
			}
			if _, err := capability.ParseFeature(args[0]); err != nil {
				return terminal.Usage("%q: %w", args[0], err)
			}
			if count == 0 || count > capability.MaxCount {
				return terminal.Usage("--count %d: want a number from 1 to %d", count, capability.MaxCount)
			}
			if v := os.Getenv("LEASEHOLD_WAIT"); v != "" && !c.Flags().Changed("wait") {
				var err error
				if wait, err = time.ParseDuration(v); err != nil {
					return terminal.Usage("$LEASEHOLD_WAIT: %w", err)
				}
			}
			if wait < 0 {
				return terminal.Usage("--wait %s: want a length of time like 5m", wait)
			}
			if p.json && len(args) > 1 {
				return terminal.Usage("--json prints a lease, and with a program the output is the program's")
			}
			if borrow < 0 {
				return terminal.Usage("--borrow %s: want a length of time like 72h", borrow)
			}
			if p.own.given() && (partial || borrow > 0) {
				return terminal.Usage("--partial and --borrow are asked of an appliance, and rights of this machine's own are here")
			}
			options := []client.Option{client.Count(count), client.Wait(wait), client.Borrow(borrow), p.waiting(wait)}
			if partial {
				options = append(options, client.Partial())
			}
			if takeOver {
				options = append(options, client.TakeOver())
			}
			var program string
			if len(args) > 1 {
				var err error
				if program, err = exec.LookPath(args[1]); err != nil {
					return terminal.Coded(capability.ErrNotFound, err)
				}
			}
			switch {
			case p.own.given() && len(args) > 1:
				return p.withOwn(c.Context(), user, func(s *client.Standalone) error {
					return p.runUnder(c.Context(), func(ctx context.Context) (leased, error) { return s.Acquire(ctx, args[0], options...) }, program, args[2:])
				})
			case p.own.given():
				return p.acquireOwn(c.Context(), user, args[0], options)
			case len(args) > 1:
				return p.acquireFor(c.Context(), user, args[0], options, program, args[2:])
			}
			return p.acquire(c.Context(), user, args[0], append(options, client.Keep()))
		},
		ValidArgsFunction: p.completeFeature,
	}
	c.Flags().SetInterspersed(true)
	c.Flags().Uint32Var(&count, "count", 1, "counts to take, `N`")
	c.Flags().DurationVar(&wait, "wait", 0, "wait for a seat for at most `D`, like 5m ($LEASEHOLD_WAIT)")
	c.Flags().BoolVar(&partial, "partial", false, "take what there is, if that is less than --count")
	c.Flags().DurationVar(&borrow, "borrow", 0, "take the counts along for `D`, like 72h, without the appliance; what is longer than is allowed is cut")
	c.Flags().StringVar(&user, "user", "", "`name` of the user, as claimed to the appliance")
	c.Flags().BoolVar(&takeOver, "take-over", false, "of a back office: give up a seat of the same user on another machine for this one")
	c.Flags().StringVar(&p.own.keep, "keep-key", p.own.keep, "`how` the key of a device that has none yet is kept: file, machine (bound to what this machine shows) or tpm; programs that use the SDK must be told too ($LEASEHOLD_KEEP_KEY)")
	c.Flags().BoolVar(&p.own.newDevice, "new-device", false, "begin as a new device where this machine, as this account sees it, shows too little of itself to open the key that is bound to it")
	p.own.flags(c)
	return c
}

func (p *program) acquire(ctx context.Context, user, feature string, options []client.Option) error {
	c, err := p.open(user)
	if err != nil {
		return err
	}
	defer c.Close()
	l, err := c.Acquire(ctx, feature, options...)
	if err != nil {
		return explained(p, advisedOnline(err))
	}
	return p.printLease(ctx, c, l.Feature(), l.Count(), l.Expiry())
}

func (p *program) printLease(ctx context.Context, c *asker, f capability.Feature, count uint32, end time.Time) error {
	held, err := c.Held(ctx)
	if err != nil {
		return err
	}
	r := leaseResult{Data: terminal.NewData("leasehold.lease/1"), Feature: f.Name, Version: f.Version, Count: count, Host: c.Host(), Held: []heldRow{}}
	if !end.IsZero() {
		r.Expiry = capability.At(end)
	}
	for _, h := range held {
		row := heldRow{Feature: h.Feature, Version: h.Version, Count: h.Count}
		if !h.Expiry.IsZero() {
			row.Expiry = capability.At(h.Expiry)
		}
		r.Held = append(r.Held, row)
	}
	return p.showLease(&r)
}

func (p *program) showLease(r *leaseResult) error {
	if p.json {
		return terminal.JSON(p.stdout, terminal.Hexed(*r))
	}
	if r.Count == 0 {
		p.printf("released %s\n", r.Feature)
	} else {
		p.printf("acquired %d of %s %s\n", r.Count, r.Feature, until(r.Expiry))
	}
	for _, h := range r.Held {
		p.printf("held     %d of %s:%s %s\n", h.Count, h.Feature, h.Version, until(h.Expiry))
	}
	return nil
}

// leased is a lease, of an appliance or of this machine's own rights.
type leased interface {
	Feature() capability.Feature
	Lost() <-chan struct{}
	Err() error
	Release(ctx context.Context) error
}

// acquireFor runs a program under a lease of an appliance.
func (p *program) acquireFor(ctx context.Context, user, feature string, options []client.Option, path string, args []string) error {
	c, err := p.open(user)
	if err != nil {
		return err
	}
	defer c.Close()
	return p.runUnder(ctx, func(ctx context.Context) (leased, error) {
		l, err := c.Acquire(ctx, feature, options...)
		return l, advisedOnline(err)
	}, path, args)
}

// runUnder acquires, and runs a program under the lease.
func (p *program) runUnder(ctx context.Context, acquire func(context.Context) (leased, error), path string, args []string) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passedOn()...)
	defer signal.Stop(signals)
	l, err := acquireUntil(ctx, signals, acquire)
	if err != nil {
		return explained(p, err)
	}
	child := exec.Command(path, args...)
	child.Stdin, child.Stdout, child.Stderr = p.stdin, p.stdout, p.stderr
	child.SysProcAttr = dying()
	runtime.LockOSThread() // or the thread that starts the program might end before it
	defer runtime.UnlockOSThread()
	if err := child.Start(); err != nil {
		return terminal.Coded(capability.ErrNotFound, fmt.Errorf("start %s: %w", path, err))
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	err = p.watch(l, child.Process, signals, ended)
	if released := l.Release(ctx); released != nil {
		p.say("warning: the counts come free at the end of the lease: %s\n", released)
	}
	return err
}

// acquireUntil acquires unless one of the signals that end programs comes while it waits: its end is then 128 and the signal. Once there is a lease, signals are
// the program's; what else came before is for nobody.
func acquireUntil(ctx context.Context, signals <-chan os.Signal, acquire func(context.Context) (leased, error)) (leased, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var l leased
	ended := make(chan error, 1)
	go func() {
		var err error
		l, err = acquire(ctx)
		ended <- err
	}()
	var ending syscall.Signal
	for {
		select {
		case s := <-signals:
			switch s {
			case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
				ending = s.(syscall.Signal)
				cancel()
			}
		case err := <-ended:
			if ending != 0 { // a lease that came all the same goes back with Close
				return nil, terminal.ExitStatus(128 + int(ending))
			}
			return l, err
		}
	}
}

// watch passes signals on until the program ends, and ends it when its lease does.
func (p *program) watch(l leased, child *os.Process, signals <-chan os.Signal, ended <-chan error) error {
	lost := l.Lost()
	for {
		select {
		case s := <-signals:
			// From a terminal, the kernel gave it to the program already.
			if f, ok := p.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) && (s == os.Interrupt || s == syscall.SIGQUIT || resizes(s)) {
				continue
			}
			child.Signal(s)
		case <-lost:
			lost = nil
			p.say("the lease of %s has ended; stopping the program: %s\n", l.Feature().Name, l.Err())
			stop(child)
		case err := <-ended:
			switch {
			case lost != nil:
				return exitOf(err)
			case errors.Is(l.Err(), client.ErrReleased):
				return terminal.Coded(capability.ErrNoSuchLease, l.Err())
			}
			return l.Err()
		}
	}
}

// exitOf is a program's exit status as ours; one that a signal ended counts as shells do, 128 and the signal.
func exitOf(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return terminal.ExitStatus(128 + int(w.Signal()))
	}
	return terminal.ExitStatus(exit.ExitCode())
}

func (p *program) releaseCommand() *cobra.Command {
	var device, reason string
	c := &cobra.Command{
		Use: "release FEATURE [--device ID --reason TEXT]", Short: "Give counts back, or end another device's lease", Args: cobra.ExactArgs(1),
		Long: "Gives back everything this device holds of the feature, at once.\n\n" +
			"With --device, on the appliance: the lease of that device is not renewed any more; its counts come free when the lease ends, which is printed.",
		RunE: func(c *cobra.Command, args []string) error {
			f, err := capability.ParseFeature(args[0])
			if err != nil || f.Version != (capability.Version{}) {
				return terminal.Usage("%q: want the name of a feature, without a version", args[0])
			}
			if device != "" {
				return p.drop(c.Context(), device, f.Name, reason)
			}
			if reason != "" {
				return terminal.Usage("--reason belongs to --device")
			}
			if p.own.given() {
				return p.releaseOwn(c.Context(), f)
			}
			return p.release(c.Context(), f)
		},
		ValidArgsFunction: p.completeFeature,
	}
	c.Flags().StringVar(&device, "device", "", "end the lease of the device with this host `ID`, as leasehold devices shows it")
	c.Flags().StringVar(&reason, "reason", "", "`text` for the log")
	p.own.flags(c)
	return c
}

func (p *program) release(ctx context.Context, f capability.Feature) error {
	c, err := p.open("")
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Release(ctx, f.Name); err != nil {
		return err
	}
	return p.printLease(ctx, c, f, 0, time.Time{})
}

func (p *program) drop(ctx context.Context, device, feature, reason string) error {
	id, err := hostid.Parse(device)
	if err != nil {
		return terminal.Usage("%q: %w", device, err)
	}
	var h console.Holding
	if err := p.call(ctx, http.MethodPost, "drops", console.Drop{Device: console.HostOf(id), Feature: feature, Reason: reason}, &h); err != nil {
		return err
	}
	if p.json {
		return terminal.JSON(p.stdout, terminal.Hexed(struct {
			terminal.Data
			Device console.Host `json:"device"`
			console.Holding
		}{terminal.NewData("leasehold.drop/2"), console.HostOf(id), h}))
	}
	p.printf("%d of %s, held by %s, come free at %s\n", h.Count, h.Feature, id.Short(), h.Expiry)
	return nil
}

// completeFeature offers what the appliance has, if it answers.
func (p *program) completeFeature(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var rows []console.Feature
	if p.call(c.Context(), http.MethodGet, "features", nil, &rows) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	seen := map[string]bool{}
	for _, r := range rows {
		if !seen[r.Feature] {
			seen[r.Feature] = true
			names = append(names, r.Feature)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
