package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leasehold/leasehold/appliance"
	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/appliance/metrics"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/systemd"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
)

// run opens everything in the order in which it is needed, serves until ctx ends, and closes it the other way round. It says whether it came so far as to serve. The sockets
// that were passed in stay open where it did not.
func run(ctx context.Context, f flags, passed map[string]net.Listener, serves *bool) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.level)); err != nil {
		return terminal.Usage("--log-level %q: want debug, info, warn or error", f.level)
	}
	logging := systemd.NewLogging("leaseholdd", os.Stderr, level)
	log := logging.Logger()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + appliance.SpareProcessors)
	// No core dump may hold a key, and no other process of this user may look into this one.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		log.Warn("memory can be read by this user's other programs", "cause", err.Error())
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		log.Warn("a crash may leave a core dump", "cause", err.Error())
	}
	keys := storage.NewPage()
	defer keys.Clear()
	if weak := keys.Weakness(); weak != nil {
		log.Warn("KEYS ARE NOT HIDDEN IN MEMORY: this kernel needs memfd_secret, Linux 5.14 or later, up to 6.4 with secretmem.enable=1", "cause", weak.Error())
	}
	brand, err := brandOf(f.brand)
	if err != nil {
		return err
	}
	trust, err := terminal.ReadTrust(f.trust)
	if err != nil {
		return err
	}
	warnings, err := storage.Inspect(f.state, "requests", "vault", "archive", "requests.lost", "vault.lost", "archive.lost", pollingFile, pollingFile+".new", authorityFile, authorityFile+".new", siteFile, siteFile+".new", askedFile, askedFile+".new")
	for _, w := range warnings {
		log.Warn(w.Error(), "code", codeOf(w).String())
	}
	if err != nil {
		return coded(err)
	}
	// The lock comes before the TPM: some TPMs serve one program at a time, and the second daemon should say what is in its way.
	lock, err := storage.Dir(f.state).Lock()
	if err != nil {
		return coded(err)
	}
	defer lock.Close()
	device, err := tpm.Open(f.tpm)
	if err != nil {
		return notOpened(f.tpm, err)
	}
	defer device.Close()
	id, err := device.HostID()
	if err != nil {
		return coded(fmt.Errorf("read the TPM's identity: %w", err))
	}
	host := hostid.OfDigest(hostid.TPMEK, id)
	if info, err := device.Info(); err == nil && info.MaxTries > 0 && info.Lockout >= info.MaxTries {
		log.Warn(capability.ErrTPMLockout.Entry().Title, "code", capability.ErrTPMLockout.String(), "tries", info.Lockout, "ends_within", info.LockoutEnds.String())
	}

	c := &console.Console{
		Host: host, Trust: wire.New().EncodeTrust(trust), Version: terminal.Version(), Since: capability.At(time.Now()),
		Allowed: allowed(), Tells: tells, CodeOf: codeOf, Brand: brand, Now: time.Now, Log: log,
	}
	ours, err := runs(f.release)
	if err != nil {
		return err
	}
	s, err := place{f.state, device, keys, ours, log}.open()
	if err != nil {
		return err
	}
	serving, err := keys.SigningKey(rand.Reader)
	if err != nil {
		s.vault.Close()
		return err
	}
	start := ledger.Start{Cause: s.cause}
	if s.lost != nil {
		log.Error(s.lost.Sentence(), "code", s.lost.Code.String())
		start.Lost = s.lost.Code
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		boot = nil // hidden from hardened units: the TPM's counts tell boots apart
	}
	site := &browsing{}
	figures, err := metrics.New(terminal.Version(), c.Figures)
	if err != nil {
		s.vault.Close()
		return err
	}
	start.BootID, start.TPM = strings.TrimSpace(string(boot)), ticks(device)
	a, err := appliance.New(appliance.Options{
		Ledger: s.ledger, Vault: s.vault, Held: s.held, Shared: s.shared, Machine: device, Host: host, Index: attest.EpochIndex, Trust: trust,
		Start: start, EventLog: func() []byte { return eventLog(f.events, f.tpm) }, WantsEventLog: ofItsTPM(f.events, f.tpm), Certificate: site.certificate, Answered: figures.Answered,
		Now: time.Now, Elapsed: func() time.Duration { return clock(unix.CLOCK_BOOTTIME) }, Awake: func() time.Duration { return clock(unix.CLOCK_MONOTONIC) }, Rand: rand.Reader, Log: log,
		Serving: serving, Guard: storage.Guard,
		Counter: s.counter, Found: s.found, Settled: s.settled, Boot: s.states, Base: s.boot.Base, Image: ours, Images: device.Images(attest.ImagesIndex), Journal: s.journal, SnapshotBytes: s.length, Archive: s.archive,
	})
	if err != nil {
		s.vault.Close()
		return coded(err)
	}
	c.Appliance, c.Start, c.Lost, c.OpenNote = a, s.cause, s.lost, s.note
	c.Certificate, c.Pepper, c.Metrics = site.shown.Load, device.Pepper, figures
	c.Short = func() string { return short(f.state) }
	c.Doctor = func(ctx context.Context) []console.Examination { return examine(ctx, a, device, keys, f.state) }
	l, err := listeners(f, passed)
	if err != nil {
		return errors.Join(err, stopped(a))
	}
	log.Info("started", "code", capability.Started.String(), "host", "LH-"+host.Short(), "start", s.cause, "version", terminal.Version())
	*serves = true
	return serve(ctx, f, l, a, c, site, device, logging)
}

// notOpened is why there is no TPM at the address: the machine has none, nothing answers there, or it is not for this account. A device may come late, so a start is tried again.
func notOpened(address string, err error) error {
	code := capability.ErrTPMAbsent
	switch {
	case errors.Is(err, os.ErrPermission):
		code = capability.ErrTPMAccess
	case errors.Is(err, tpm.ErrOld), errors.Is(err, os.ErrNotExist) && strings.HasPrefix(address, "/dev/") && onlyOld(kernelTPMs):
		code = capability.ErrOldTPM
	case errors.Is(err, os.ErrNotExist) && strings.HasPrefix(address, "/dev/"):
		code = capability.ErrNoTPM
	}
	return terminal.Coded(code, fmt.Errorf("open the TPM at %s: %w", address, err))
}

// coded gives an error of the layers below the catalog's code.
func coded(err error) error {
	if c := codeOf(err); c != 0 {
		return terminal.Coded(c, err)
	}
	return err
}

// clock reads a clock that nobody can set.
func clock(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(fmt.Sprintf("clock %d: %v", id, err)) // both are in every kernel since 2.6.39
	}
	return time.Duration(t.Nano())
}

// overflowID is how the kernel shows a user whom this user namespace cannot name (user_namespaces(7)).
const overflowID = 65534

// allowed is root, this daemon's own user, and the group leasehold. Under PrivateUsers= the kernel names only the first two; everyone else who
// got in was let in by the socket's mode, which is root's and the group's.
func allowed() func(console.Peer) bool {
	gid := -1
	if g, err := user.LookupGroup("leasehold"); err == nil {
		gid, _ = strconv.Atoi(g.Gid)
	}
	return func(p console.Peer) bool {
		if p.UID == 0 || p.UID == os.Getuid() || p.UID == overflowID || p.GID == gid {
			return true
		}
		u, err := user.LookupId(strconv.Itoa(p.UID))
		if err != nil || gid < 0 {
			return false
		}
		groups, err := u.GroupIds()
		if err != nil {
			return false
		}
		for _, g := range groups {
			if g == strconv.Itoa(gid) {
				return true
			}
		}
		return false
	}
}

// tells is root, and the account of this daemon, which could change what it hears anyway.
func tells(p console.Peer) bool { return p.UID == 0 || p.UID == os.Getuid() }

// ticks is the TPM's clock where it says that it has not gone back; without it nothing is known of the time since the last run.
func ticks(device *tpm.Device) ledger.TPMClock {
	c, err := device.Clock()
	if err != nil || !c.Safe {
		return ledger.TPMClock{}
	}
	return ledger.TPMClock{Milliseconds: uint64(c.Elapsed / time.Millisecond), Resets: c.Resets, Restarts: c.Restarts}
}

// listening is the passed sockets, or our own where none were passed. Without one for it, nothing is asked over the network.
type listening struct{ clients, admin, poll, directory net.Listener }

func listeners(f flags, passed map[string]net.Listener) (l listening, err error) {
	var own []net.Listener
	defer func() {
		if err != nil {
			for _, one := range own {
				one.Close()
			}
		}
	}()
	open := func(name, flag, at string, listen func(string) (net.Listener, error)) net.Listener {
		if passed[name] != nil || err != nil {
			return passed[name]
		}
		one, no := listen(at)
		if no != nil {
			err = terminal.Coded(capability.ErrUsage, fmt.Errorf("%s %s: %w", flag, at, no))
			return nil
		}
		own = append(own, one)
		return one
	}
	l.clients = open("clients", "--listen", f.listen, func(at string) (net.Listener, error) { return net.Listen("tcp", at) })
	l.admin = open("admin", "--socket", f.socket, listenUnix)
	if l.poll = passed["poll"]; f.poll != "" {
		l.poll = open("poll", "--poll-socket", f.poll, listenUnix)
	}
	if l.directory = passed["directory"]; f.directory != "" {
		l.directory = open("directory", "--directory-socket", f.directory, listenUnix)
	}
	return l, err
}

// listenUnix opens the administrators' socket. A socket file that nobody answers on is a dead daemon's, and is replaced; the lock of the state directory was
// taken before, so a living one is another instance's.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, errors.New("another daemon answers there")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o660)
}

// stopPatience is how long a stop waits for what administrators have asked: a return is done in a second, and a backup that is cut off is made again. It is well
// below the unit's TimeoutStopSec.
const stopPatience = 8 * time.Second

// serve runs the owner, the clients' port, the administrators' socket and the watchdog; the first to fail ends the others.
func serve(ctx context.Context, f flags, l listening, a *appliance.Appliance, c *console.Console, site *browsing, device *tpm.Device, logging *systemd.Logging) error {
	log := logging.Logger()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	servers := []*http.Server{}
	var parts sync.WaitGroup
	part := func(f func() error) {
		parts.Go(func() {
			if err := f(); err != nil {
				cancel(err)
			}
		})
	}
	// The owner outlives the listeners, so that what administrators have asked is answered: a recovery key is shown once. Clients are cut off at once, because
	// they ask again, and what was asked twice counts once. Its own context ends last.
	owner, stopOwner := context.WithCancel(context.Background())
	defer stopOwner()
	ended := make(chan error, 1)
	go func() {
		err := a.Run(owner)
		ended <- err
		cancel(err)
	}()
	cut, cutBrowsers := context.WithCancel(context.Background())
	defer cutBrowsers()
	browsers := a.Browsers(cut)
	if l.directory != nil { // before the first browser is answered
		c.Directory = console.NewDirectory(a)
	}
	part(func() error { return a.Serve(ctx, l.clients) })
	pages := pageServer(c.Pages(), log)
	pages.RegisterOnShutdown(c.EndLive) // who looks on holds up no stop
	servers = append(servers, pages)
	part(func() error {
		if err := pages.Serve(browsers); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	part(func() error { site.keep(ctx, log, authorityOf(f, a, c, device, log)); return nil })
	administrate := func(on net.Listener, h http.Handler) {
		server := unixServer(h)
		server.RegisterOnShutdown(c.Poll.Stop) // who waits for an errand holds up no stop
		server.RegisterOnShutdown(c.Directory.Stop)
		servers = append(servers, server)
		part(func() error {
			if err := server.Serve(on); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	if l.directory != nil {
		administrate(withPlaces(l.directory, directoryPlaces), c.Directory.Handler(c))
	}
	if l.poll != nil {
		c.Poll = console.NewPoll(a, polled(f.state), func(t console.PollTimes) {
			if err := keepPolled(f.state, t); err != nil {
				log.Warn("the next run will not know since when the back office is not reached", "cause", err.Error())
			}
		})
		administrate(withPlaces(l.poll, pollPlaces), c.Poll.Handler(c))
	}
	administrate(l.admin, c.Handler())
	unheard := func(err error) { log.Warn("the service manager does not hear", "cause", err.Error()) }
	part(func() error { return systemd.Watch(ctx, alive(a.Alive, device.Answers), unheard) })
	part(func() error { return tellStatus(ctx, c, unheard) })
	part(func() error { keepHeap(ctx); return nil })
	part(func() error { controlled(ctx, logging); return nil })

	<-ctx.Done()
	systemd.Stopping()
	patience, end := context.WithTimeout(context.Background(), stopPatience)
	defer end()
	defer context.AfterFunc(patience, cutBrowsers)()
	shutDown(patience, servers, log)
	parts.Wait()
	stopOwner()
	if err := <-ended; err != nil {
		return coded(err)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return coded(cause)
	}
	log.Info(capability.Stopped.Entry().Title, "code", capability.Stopped.String())
	return nil
}

// stopped ends an appliance that never served, cleanly.
func stopped(a *appliance.Appliance) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return a.Run(ctx)
}

// alive is the owner's answer to the watchdog. One that waits for a TPM which answers, if only that it is busy, is at work: its operations end. Nothing of that
// kind is known of a disk, so an owner that waits for one longer than the watchdog does is ended, and the start finds out what the disk has taken.
func alive(owner func(context.Context) error, answers func() uint64) func(context.Context) error {
	return func(ctx context.Context) error {
		before := answers()
		err := owner(ctx)
		if errors.Is(err, context.DeadlineExceeded) && answers() != before {
			return nil
		}
		return err
	}
}

// tellStatus says READY once the owner answers, and keeps the line of systemctl status true. A service manager that does not hear it ends nothing.
func tellStatus(ctx context.Context, c *console.Console, unheard func(error)) error {
	h, err := c.Health(ctx)
	if err != nil {
		return ended(err)
	}
	line := statusLine(h)
	said := false
	tell := func(err error) {
		if err != nil && !said {
			said = true
			unheard(err)
		}
	}
	tell(systemd.Ready(line))
	t := time.NewTicker(10 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if h, err = c.Health(ctx); err != nil {
			return ended(err)
		}
		if now := statusLine(h); now != line {
			line = now
			tell(systemd.Status(line))
		}
	}
}

func ended(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, appliance.ErrEnded) {
		return nil
	}
	return err
}

// statusLine is the appliance in one line: what it serves, and the worst of the conditions that somebody has to do something about.
func statusLine(h *console.Health) string {
	line := h.State
	if h.State == "serving" {
		line += fmt.Sprintf(" %d/%d seats", h.Used, h.Total)
		if h.Expiry != 0 {
			line += ", next expiry " + h.Expiry.Std().Format(time.DateOnly)
		}
	}
	if len(h.Conditions) > 0 && h.Conditions[0].Severity != console.Note {
		line += " - " + h.Conditions[0].Words()
	}
	return line
}
