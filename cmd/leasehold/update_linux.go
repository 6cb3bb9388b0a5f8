package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/stick"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/systemd"
)

const (
	copyDir    = "/var/lib/leasehold-update" // where the files of an update are copied to
	installer  = "/usr/lib/systemd/systemd-sysupdate"
	spareBytes = 16 << 20 // of the file system that is copied to, which others write to as well
)

func (p *program) updateCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "update", Short: "Update the image of this appliance: the programs of its units", Args: cobra.NoArgs,
		Long: "An appliance takes an update of its image from a stick with the folder LEASEHOLD/UPDATE, as freehold update writes it. It is copied, and each file is compared with what the producer signed while it is copied; the boot state that the machine " +
			"will be in is kept; then the copy is installed in the slot that does not run. Nothing of what serves is changed. Where the image that runs has not proved itself yet, that waits until it has: the slot has the image before it. The update starts with the next restart, whenever somebody restarts the machine: on the text console, F10.\n\n" +
			"A new image has to prove itself: the license server must answer. One that does not in three starts is left, and the machine is back on the one before. Once it has proved itself, no image with a lower security version opens the trusted storage of the machine any more. An update that was left so is told of as LH-2410, and is not installed again, as what did not start in three tries would take the machine away for three more: the next release is, and the same image under a higher number is one. While trusted storage is lost no update is taken.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.updateTake(), p.updateHealth(), p.updateProved())
	return c
}

func (p *program) updateTake() *cobra.Command {
	var at, told, to, program, esp string
	c := &cobra.Command{
		Use: "take", Short: "Install the update on the stick that was handed over", Args: cobra.NoArgs,
		Long: "Take is the program of leasehold-update.service. The program that serves a stick hands over one with an update, and takes SAFE TO REMOVE back until the copy is made.",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			o := *p
			o.remote = remote{}
			u := &taking{program: &o, told: told, to: to, log: systemd.NewLogging("leasehold-update", p.stderr, slog.LevelInfo).Logger()}
			u.boot, u.patience = booted{efivars, espAt(esp, espDirs()...)}, 10*time.Minute
			u.install = func(ctx context.Context, version string) error { return install(ctx, program, version, p.stderr) }
			if at != "" {
				u.name, u.open = "at "+at, func() (stick.Place, error) { return stick.At(at), nil }
				return u.serve(ctx)
			}
			name, err := stick.TakeOver(told)
			if err != nil {
				return terminal.Coded(capability.ErrFileRead, fmt.Errorf("no stick was handed over: %w", err))
			}
			d, err := stick.Look(name)
			if d == nil {
				return terminal.Coded(capability.ErrStickPulled, err)
			}
			u.name, u.gone = d.Name, d.Gone
			u.open = func() (stick.Place, error) {
				if err != nil {
					return nil, err
				}
				return d.Mount(filepath.Join(told, "from-"+name))
			}
			return u.serve(ctx)
		},
	}
	c.Flags().StringVar(&at, "at", "", "`directory` where the stick is mounted already")
	c.Flags().StringVar(&told, "told", from("LEASEHOLD_TOLD", toldDir), "`directory` in which it keeps what it says, for the text console, and mounts sticks ($LEASEHOLD_TOLD)")
	c.Flags().StringVar(&to, "to", copyDir, "`directory` to copy to, which is root's")
	c.Flags().StringVar(&esp, "esp", "", "`directory` of the boot loader's partition; else the first of /boot and /efi that has one")
	c.Flags().StringVar(&program, "installer", installer, "`program` that puts the copy into its slot: systemd-sysupdate(8)")
	return c
}

// taking is an update on a stick, from handed over to installed.
//
// What is on the stick is a stranger's, and may be another the next time it is read: each file is read once, into a copy that only root can write, and is judged by what was read. The order of what is made
// durable is: the copy, then the boot state that the machine will be in, then the slot. A cut before the last leaves what runs as it was; one in the last leaves a slot that no boot loader names.
type taking struct {
	*program
	name    string // of the stick
	told    string // directory
	to      string // directory
	open    func() (stick.Place, error)
	gone    func() bool // the stick was pulled out; nil: nobody knows
	install func(ctx context.Context, version string) error
	log     *slog.Logger

	boot     booted
	patience time.Duration // with an image that has not proved itself yet

	safe bool // to remove
	kept bool // the boot states of the update may have been
}

func (u *taking) serve(ctx context.Context) error {
	u.tell(stick.Line{Text: fmt.Sprintf("USB stick %s - an update is on it, looking at it ... LEAVE IT IN.", u.name)})
	version, err := u.take(ctx)
	if err == nil {
		e := capability.UpdateInstalled.Entry()
		u.log.Info(e.Title, "code", e.Code.String(), "version", version)
		u.tell(stick.Line{Last: true, Sound: stick.Applied, Code: e.Code.String(), Text: fmt.Sprintf("Update %s INSTALLED. It starts when this machine restarts. NEXT: %s.", version, e.Next)})
		return nil
	}
	if u.gone != nil && u.gone() && !u.safe {
		err = terminal.Coded(capability.ErrStickPulled, err)
	}
	e := terminal.CodeOf(err).Entry()
	text, detail := e.Title, ""
	if no := (*capability.Refusal)(nil); errors.As(err, &no) && no.Detail != "" {
		detail = ": " + no.Detail
	}
	changed := "Nothing was changed."
	if u.kept {
		changed = "What runs was not changed."
	}
	text = fmt.Sprintf("%s %s%s. NEXT: %s. %s", e.Code, text, detail, e.Next, changed)
	if u.safe {
		text += " SAFE TO REMOVE"
	}
	sound, level := stick.Failed, slog.LevelWarn
	if e.Exit == capability.ExitOK {
		sound, level = stick.Silent, slog.LevelInfo
	}
	u.log.Log(ctx, level, e.Title, "code", e.Code.String(), "stick", u.name, "cause", err.Error())
	u.tell(stick.Line{Last: true, Sound: sound, Code: e.Code.String(), Text: text})
	if e.Exit == capability.ExitOK {
		return nil
	}
	return err
}

func (u *taking) tell(l stick.Line) {
	l.Time, l.Text = capability.At(time.Now()), terminal.Plain(l.Text)
	if err := errors.Join(os.MkdirAll(u.told, 0o755), stick.Tell(u.told, l)); err != nil {
		u.log.Warn("the text console does not hear of this update", "cause", err.Error())
	}
	u.printf("%s\n", l.Text)
}

// take does all of it, and gives the release that is installed.
func (u *taking) take(ctx context.Context) (string, error) {
	trust, err := terminal.ReadTrust(u.trust)
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.RemoveAll(u.to+"/new"), os.MkdirAll(u.to+"/new", 0o700)); err != nil { // of an update that was cut off
		return "", terminal.Coded(capability.ErrUpdateRoom, err)
	}
	defer os.RemoveAll(u.to + "/new")
	file, said, err := u.copies(ctx, trust)
	if err != nil {
		return "", err
	}
	if err := u.proved(ctx, said.Version); err != nil {
		return "", err
	}
	if u.safe {
		u.tell(stick.Line{Text: fmt.Sprintf("USB stick %s - update %s is copied, installing it ... SAFE TO REMOVE", u.name, said.Version)})
	}
	u.kept = true
	var answer console.Updating
	if err := u.call(uncut(ctx), http.MethodPost, "updates", file, &answer); err != nil {
		return "", err
	}
	return said.Version, u.install(ctx, said.Version)
}

// proved waits until the image that runs has proved itself: the slot that is written has the one before it, to which the machine goes back if it does not.
func (u *taking) proved(ctx context.Context, version string) error {
	end := time.Now().Add(u.patience)
	for told := false; ; told = true {
		trial, err := u.boot.onTrial()
		if err != nil {
			return terminal.Coded(capability.ErrUpdateTrial, err)
		}
		if !trial {
			return nil
		}
		if !time.Now().Before(end) {
			return capability.Refuse(capability.ErrUpdateTrial, "", "waited for %s", u.patience)
		}
		if !told {
			text := fmt.Sprintf("USB stick %s - update %s is copied, and installed when the image that runs has proved itself ...", u.name, version)
			if u.safe {
				text += " SAFE TO REMOVE"
			}
			u.tell(stick.Line{Text: text})
		}
		t := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// copies makes the copy and leaves the stick.
func (u *taking) copies(ctx context.Context, trust *wire.Trust) (file []byte, said *wire.Update, err error) {
	place, err := u.open()
	if err != nil {
		return nil, nil, onMedium(err)
	}
	defer func() {
		safe, left := place.Leave()
		u.safe = safe && left == nil && !(u.gone != nil && u.gone())
		err = cmp.Or(err, onMedium(left))
	}()
	root, err := os.OpenRoot(filepath.Join(place.Path(), filepath.FromSlash(wire.UpdateFolder)))
	if err != nil {
		return nil, nil, unfit(wire.UpdateFile, err)
	}
	defer root.Close()
	if file, err = readUpdate(root); err != nil {
		return nil, nil, err
	}
	// It is root that installs, so root judges the signatures by itself. The daemon knows which keys are revoked, and what the TPM remembers.
	if said, _, err = wire.New().OpenUpdate(trust, file); err != nil {
		return nil, nil, terminal.Coded(wire.Code(err), err)
	}
	if err := u.call(ctx, http.MethodPost, "updates/check", file, &console.Updating{}); err != nil {
		return nil, nil, err
	}
	if slices.Contains(u.boot.left(), said.Version) {
		return nil, nil, capability.Refuse(capability.ErrUpdateFailed, "", "it is %s", said.Version)
	}
	parts := partsOf(said)
	if err := room(u.to, parts); err != nil {
		return nil, nil, err
	}
	u.tell(stick.Line{Text: fmt.Sprintf("USB stick %s - copying update %s ... LEAVE IT IN.", u.name, said.Version)})
	for _, p := range parts {
		if err := p.copy(ctx, root, u.to+"/new"); err != nil {
			return nil, nil, err
		}
	}
	return file, said, nil
}

func readUpdate(root *os.Root) ([]byte, error) {
	f, err := plain(root, wire.UpdateFile)
	if err != nil {
		return nil, unfit(wire.UpdateFile, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, capability.MaxSigned+1))
	if err != nil {
		return nil, unfit(wire.UpdateFile, err)
	}
	return b, nil
}

// plain opens a plain file, and nothing else that may have its name.
func plain(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is no plain file", name), err, f.Close())
	}
	return f, nil
}

func unfit(name string, err error) error {
	return terminal.Coded(capability.ErrUpdateFile, fmt.Errorf("%s: %w", name, err))
}

// updatePart is one file of an update: its name on the stick, that of the copy, as systemd-sysupdate looks for it, and what was signed.
type updatePart struct {
	name, copied string
	wire.UpdatePart
}

func partsOf(u *wire.Update) []updatePart {
	root, verity := u.Partitions()
	base := "leasehold_" + u.Version
	return []updatePart{{wire.UpdateVerity, base + "_" + verity + ".verity", u.Verity}, {wire.UpdateRoot, base + "_" + root + ".root", u.Root}, {wire.UpdateKernel, base + ".efi", u.Kernel}}
}

func room(dir string, parts []updatePart) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return terminal.Coded(capability.ErrUpdateRoom, err)
	}
	need := uint64(spareBytes)
	for _, p := range parts {
		need += p.Size
	}
	if free := uint64(s.Bavail) * uint64(s.Bsize); free < need {
		return capability.Refuse(capability.ErrUpdateRoom, "", "%d MiB are free in %s, and %d are needed", free>>20, dir, need>>20)
	}
	return nil
}

// copy copies the file, and compares what it has copied with what was signed. The copy is durable before it returns.
func (p *updatePart) copy(ctx context.Context, root *os.Root, dir string) (err error) {
	in, err := plain(root, p.name)
	if err != nil {
		return unfit(p.name, err)
	}
	defer in.Close()
	out, err := os.OpenFile(filepath.Join(dir, p.copied), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return terminal.Coded(capability.ErrUpdateRoom, err)
	}
	defer func() { err = cmp.Or(err, out.Close()) }()
	h, block := sha256.New(), make([]byte, 1<<20)
	left := p.Size
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, read := in.Read(block)
		if uint64(n) > left {
			return capability.Refuse(capability.ErrUpdateFile, "", "%s is longer than the %d bytes that were signed", p.name, p.Size)
		}
		left -= uint64(n)
		h.Write(block[:n])
		if _, err := out.Write(block[:n]); err != nil {
			return terminal.Coded(capability.ErrUpdateRoom, err)
		}
		if errors.Is(read, io.EOF) {
			break
		} else if read != nil {
			return unfit(p.name, read)
		}
	}
	if left > 0 {
		return capability.Refuse(capability.ErrUpdateFile, "", "%s ends %d bytes before the %d that were signed", p.name, left, p.Size)
	}
	if capability.Digest(h.Sum(nil)) != p.SHA256 {
		return capability.Refuse(capability.ErrUpdateFile, "", "%s is not the file that was signed", p.name)
	}
	if err := out.Sync(); err != nil {
		return terminal.Coded(capability.ErrUpdateRoom, err)
	}
	return nil
}

// install has systemd-sysupdate put the copy into the slot that does not run, by the transfer files of the image.
func install(ctx context.Context, program, version string, stderr io.Writer) error {
	c := exec.CommandContext(ctx, program, "--verify=no", "update", version)
	c.Stdout, c.Stderr = stderr, stderr
	if err := c.Run(); err != nil {
		return terminal.Coded(capability.ErrUpdateInstall, fmt.Errorf("%s: %w", program, err))
	}
	return nil
}

func (p *program) updateHealth() *cobra.Command {
	var patience time.Duration
	c := &cobra.Command{
		Use: "health", Short: "Say whether the image that runs has started well", Args: cobra.NoArgs,
		Long: "Health is the program of leasehold-health.service. An image has started well when its license server answers, also where it serves nothing for a reason that is no fault of the image, as before the first response. " +
			"Where trusted storage does not open in its boot state or cannot be read, or the image is older than this machine allows, it has not.",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), patience)
			defer cancel()
			for {
				h, err := p.health(c.Context()) // once in any case
				if err == nil {
					return blame(h)
				}
				t := time.NewTimer(time.Second)
				select {
				case <-ctx.Done():
					t.Stop()
					return err
				case <-t.C:
				}
			}
		},
	}
	c.Flags().DurationVar(&patience, "patience", 0, "for how long the license server is waited for")
	return c
}

// blame is why the image that runs is to blame for the state of the appliance, or nil.
func blame(h *console.Health) error {
	if h.Condition == nil {
		return nil
	}
	switch h.Condition.Code {
	case capability.ErrSealed, capability.ErrImageOlder, capability.ErrCorrupt, capability.ErrCounter:
		return terminal.Coded(h.Condition.Code, errors.New(h.Condition.Text))
	}
	return nil
}

func (p *program) updateProved() *cobra.Command {
	var esp string
	c := &cobra.Command{
		Use: "proved", Short: "Have the TPM remember the security version of the image that runs", Args: cobra.NoArgs,
		Long: "Proved is the program of leasehold-proved.service, which starts when the image has proved itself. From then on no image with a lower security version opens this machine's trusted storage; where there is none yet, from the first response on. A repair begins anew: the image that runs then is the lowest. It says too which update did not start well and was left, so that the appliance tells of it.",
		RunE: func(c *cobra.Command, _ []string) error {
			boot := booted{efivars, espAt(esp, espDirs()...)}
			if trial, err := boot.onTrial(); trial || err != nil {
				return terminal.Coded(capability.ErrUpdateTrial, cmp.Or(err, errors.New("the boot loader still counts its starts")))
			}
			var answer console.Proved
			if err := p.call(c.Context(), http.MethodPost, "updates/proved", console.Proving{Left: newest(boot.left())}, &answer); err != nil {
				return err
			}
			return p.did("leasehold.update-proved/1", "", "security version %d is the lowest that may run\n", answer.Lowest)
		},
	}
	c.Flags().StringVar(&esp, "esp", "", "`directory` of the boot loader's partition; else the first of /boot and /efi that has one")
	return c
}

// newest is the last of some releases, or empty.
func newest(releases []string) string {
	if len(releases) == 0 {
		return ""
	}
	return slices.MaxFunc(releases, wire.CompareReleases)
}
