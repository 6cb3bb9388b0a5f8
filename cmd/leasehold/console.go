package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/screen"
	"github.com/leasehold/leasehold/cmd/internal/stick"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/image"
)

func (p *program) consoleCommand() *cobra.Command {
	var stay bool
	t := &textConsole{program: p}
	c := &cobra.Command{
		Use: "console", Short: "Show the appliance on a text screen: its state, and what to do next", Args: cobra.NoArgs,
		Long: "Shows the state, the next step, the address of the browser console with its fingerprint, the code of the first login, health, network, and what was said of sticks. Keys: F1 status, F2 network, F3 log, F4 a request as QR codes, " +
			"F5 seats, F6 let a stick in where media-mode is confirm, F9 password of a login, F10 restart and power off; a digit does the same. On the appliance's own image Enter on the network page gives a card an address, or has the network asked: while there is no login, or with the password of who admits logins.\n\n" +
			"Where nothing can be drawn, as with TERM=dumb, the same items are a numbered menu. Each is a command too. The units leasehold-console@tty1 and leasehold-console@ttyS0 run it on the machine itself.",
		RunE: func(c *cobra.Command, _ []string) error {
			if p.json {
				return terminal.Usage("a screen is for people; for programs: leasehold status --json")
			}
			return t.run(c.Context(), stay)
		},
	}
	c.Flags().BoolVar(&stay, "stay", false, "no key ends it")
	c.PersistentFlags().StringVar(&t.told, "told", from("LEASEHOLD_TOLD", toldDir), "`directory` in which leasehold media keeps what it says ($LEASEHOLD_TOLD)")
	t.networks.flags(c.Flags())
	c.Flags().StringVar(&t.release, "os-release", image.ReleaseFile, "`file` that says which image runs, whose version is shown where it is the appliance's own")
	c.AddCommand(t.lines("status", "Print the state, the next step and the addresses as lines", t.status), t.networkCommand(),
		t.lines("log", "Print what was logged last", func(ctx context.Context) ([]string, error) { return t.log(ctx), nil }), t.codesCommand(), t.seatsCommand(), t.passwordCommand(), t.powerCommand())
	return c
}

// textConsole is what the text console asks of the daemon and of this machine.
type textConsole struct {
	*program
	told     string
	networks networks
	release  string // file that says which image runs
	drawn    bool   // on a screen: nothing else may be written there

	mu      sync.Mutex
	request *console.Written // the last one that was made, for as long as it says all there is to say,
	when    requested        // which was so then
	telling *stick.Telling
	begun   capability.Time // of the run of the daemon that gives no code of a first login
}

// requested is when a request was made.
type requested struct {
	number, applied uint64
	returns         int
}

// lines is an item that prints lines.
func (t *textConsole) lines(name, short string, f func(context.Context) ([]string, error)) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if t.json {
				return terminal.Usage("these lines are for people; for programs: leasehold status --json")
			}
			lines, err := f(c.Context())
			for _, l := range lines {
				t.printf("%s\n", screen.Safe(l))
			}
			return err
		},
	}
}

// run shows the console on the screen that standard input and output are, or else as a menu.
func (t *textConsole) run(ctx context.Context, stay bool) error {
	if stay {
		signal.Ignore(os.Interrupt, syscall.SIGQUIT) // but who stops the unit is heard
	}
	if s := t.drawable(); s != nil {
		defer s.Fini()
		t.drawn = true
		var out io.Writer
		if stay { // it may be the serial line of a machine that somebody keeps a log of
			out = os.Stdout
		}
		return screen.Run(ctx, s, t.source(), stay, out, screen.Beep(os.Stdout, func() { s.Beep() }))
	}
	ask := screen.Asker{Line: screen.Lines(t.stdin), Secret: t.typed}
	return screen.Menu(ctx, t.out, ask, t.source(), stay, wire.Text)
}

// drawable is the screen that can be drawn on, or nil.
func (t *textConsole) drawable() tcell.Screen {
	out, isFile := t.stdout.(*os.File)
	if name := os.Getenv("TERM"); !isFile || name == "" && runtime.GOOS != "windows" || name == "dumb" || !t.asks() || !term.IsTerminal(int(out.Fd())) {
		return nil
	}
	s, err := newScreen()
	if err != nil {
		return nil // a terminal that nobody has described
	}
	return s
}

func (t *textConsole) source() screen.Source {
	s := screen.Source{
		Look: t.look, First: t.first, Log: t.log, Seats: t.seats, Request: t.requestFile, Allow: func(context.Context) error { return allowSticks(t.told) },
		Password: t.password, Power: t.power, Say: reported,
	}
	if t.networks.kept != "" && !t.remote.away() {
		s.Network = t.setUp
	}
	return s
}

// reported is an error in the lines that Report prints.
func reported(err error) []string {
	var b bytes.Buffer
	terminal.Report(&b, "leasehold console", err)
	return strings.Split(strings.TrimSpace(b.String()), "\n")
}

// lookTime is how long the daemon has for one look at it. One that starts or waits for a disk is shown as silent meanwhile, and the screen goes on.
const lookTime = 10 * time.Second

// first is what this program knows by itself.
func (t *textConsole) first() *screen.State {
	s := &screen.State{Version: terminal.Version(), Now: time.Now(), Away: t.remote.away()}
	if !s.Away { // else its image, its sticks and its network cards are not this machine's
		if b, err := os.ReadFile(t.release); err == nil {
			if version, security, err := image.Release(b); err == nil && security != 0 {
				s.Version = version
			}
		}
		t.here(s)
	}
	return s
}

// look finds out what is known now. What cannot be is not in it.
func (t *textConsole) look(ctx context.Context) *screen.State {
	s := t.first()
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	h, err := t.health(ctx)
	if err != nil {
		lines := reported(err)
		s.Problem, s.Next = strings.TrimPrefix(lines[0], "error: "), "leasehold doctor"
		for _, l := range lines {
			if next, is := strings.CutPrefix(l, "next: "); is {
				s.Next = next
			}
		}
	} else {
		s.Health = h
		s.FirstCode = t.firstCode(ctx, h.Since)
	}
	return s
}

// here adds the sticks and the network cards of this machine.
func (t *textConsole) here(s *screen.State) {
	s.Allowed, s.Network = sticksAllowed(t.told), interfaces()
	var err error
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.telling == nil {
		t.telling = stick.NewTelling(t.told)
	}
	if s.Told, err = t.telling.Lines(); err != nil {
		s.Told = []stick.Line{{Time: capability.At(s.Now), Text: err.Error()}}
	}
}

// firstCode is the code of the first login, which root alone is told and only as long as there is no login. A run of the daemon that has refused it, since when says which, is asked no more.
func (t *textConsole) firstCode(ctx context.Context, since capability.Time) string {
	t.mu.Lock()
	refused := t.begun == since && since != 0
	t.mu.Unlock()
	if refused || t.remote.away() {
		return ""
	}
	var f console.FirstLogin
	err := t.call(ctx, http.MethodGet, "first-login", nil, &f)
	if no := (*capability.Refusal)(nil); errors.As(err, &no) && no.Code.Entry().Exit != capability.ExitTemporary {
		t.mu.Lock()
		t.begun = since
		t.mu.Unlock()
	}
	if err != nil {
		return ""
	}
	return f.Code
}

// interfaces are the network cards of this machine.
func interfaces() (list []screen.Interface) {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			continue
		}
		one := screen.Interface{Name: i.Name, Cable: i.Flags&net.FlagRunning != 0}
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if n, is := a.(*net.IPNet); is && n.IP.IsGlobalUnicast() {
				one.Addresses = append(one.Addresses, n.String())
			}
		}
		list = append(list, one)
	}
	return list
}

func (t *textConsole) status(ctx context.Context) ([]string, error) {
	s := t.look(ctx)
	if s.Health == nil {
		_, err := t.health(ctx)
		return s.Plain(), err
	}
	return s.Plain(), nil
}

func (t *textConsole) network(context.Context) ([]string, error) {
	var lines []string
	all := interfaces()
	if len(all) == 0 {
		return nil, capability.Refuse(capability.ErrNoNetwork, "", "")
	}
	for _, i := range all {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s", i.Name, strings.Join(i.Addresses, " "))))
	}
	return lines, nil
}

// logLines is how much of the journal is shown.
const logLines = "200"

// log is what the journal has of the appliance's units, or, without one, what was said of sticks.
func (t *textConsole) log(ctx context.Context) []string {
	if t.remote.away() {
		return []string{"The log is on the appliance itself; who signs in sees what was done: leasehold audit"}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "journalctl", "--no-pager", "--quiet", "--utc", "--output=short-iso", "--lines="+logLines, "--unit=leaseholdd*", "--unit=leasehold-*").Output()
	if text := strings.TrimRight(string(out), "\n"); err == nil && text != "" {
		return strings.Split(text, "\n")
	}
	lines := []string{"No journal can be read here. Of sticks was said:"}
	told, err := stick.Told(t.told)
	if err != nil {
		return append(lines, err.Error())
	}
	for _, l := range told {
		lines = append(lines, l.Time.String()+" "+l.String())
	}
	return lines
}

// seats are who holds what, as leasehold seats prints it.
func (t *textConsole) seats(ctx context.Context) []string {
	var s console.Seats
	if err := t.call(ctx, http.MethodGet, "seats", nil, &s); err != nil {
		return reported(err)
	}
	var b bytes.Buffer
	o := *t.program
	o.out, o.stderr, o.json = terminal.NewOutput(&b), &b, false
	if err := o.printSeats(s); err != nil {
		return reported(err)
	}
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}

func (t *textConsole) seatsCommand() *cobra.Command {
	return t.lines("seats", "Print who holds a seat", func(ctx context.Context) ([]string, error) {
		if _, err := t.health(ctx); err != nil {
			return nil, err
		}
		return t.seats(ctx), nil
	})
}

// requestFile is a request: the one that was made before, as long as there is nothing that it does not say.
func (t *textConsole) requestFile(ctx context.Context) (number uint64, file []byte, err error) {
	h, err := t.health(ctx)
	if err != nil {
		return 0, nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.request == nil || h.Waiting == 0 || t.when != (requested{h.Requests, h.Applied, len(h.Returns)}) {
		var w console.Written
		if err := t.call(ctx, http.MethodPost, "requests", console.Wish{}, &w); err != nil {
			return 0, nil, err
		}
		t.request, t.when = &w, requested{w.Number, h.Applied, len(h.Returns)}
	}
	return t.request.Number, t.request.File, nil
}

func (t *textConsole) codesCommand() *cobra.Command {
	var columns, rows int
	var dark bool
	c := &cobra.Command{
		Use: "qr", Short: "Print a request as a cycle of QR codes", Args: cobra.NoArgs,
		Long: "Prints all codes of a request, one below the other, for a screen of so many columns and rows; the smaller it is, the more they are. A phone or a webcam reads them in any order, and the back office puts them together.\n\n" +
			"The codes are dark on light. For a terminal that writes light on dark: --dark.",
		RunE: func(c *cobra.Command, _ []string) error {
			if t.json {
				return terminal.Usage("codes are for cameras; a request for programs is a file: leasehold request -o DIR")
			}
			_, file, err := t.requestFile(c.Context())
			if err != nil {
				return err
			}
			codes, err := screen.Codes(file, columns, rows)
			if err != nil {
				return terminal.Usage("%w", err)
			}
			for _, text := range codes {
				lines, err := screen.Code(text, dark)
				if err != nil {
					return err
				}
				t.printf("%s\n\n", strings.Join(lines, "\n"))
			}
			return nil
		},
	}
	c.Flags().IntVar(&columns, "columns", 80, "`number` of columns of the screen")
	c.Flags().IntVar(&rows, "rows", 25, "`number` of rows of the screen")
	c.Flags().BoolVar(&dark, "dark", false, "for a terminal that writes light on dark")
	return c
}

// password changes a login's own password. Whose account runs the console counts for nothing in it: the login signs in.
func (t *textConsole) password(ctx context.Context, login, current, anew string) error {
	o := *t.program
	return o.changePassword(ctx, login, current, anew)
}

func (t *textConsole) passwordCommand() *cobra.Command {
	c := t.changing(t.read, t.password)
	c.Use, c.Short = "password --user NAME", "Change your own password, on the appliance itself"
	c.Long = "As leasehold password, on the appliance itself: the current password is asked for."
	return c
}

func (t *textConsole) powerCommand() *cobra.Command {
	p := t.program
	var why string
	all := []string{string(screen.Restart), string(screen.Off)}
	c := &cobra.Command{
		Use: "power restart|off --reason TEXT", Short: "Restart the machine, or switch it off, and log why", Args: cobra.ExactArgs(1), ValidArgs: all,
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(all, args[0]) {
				return terminal.Usage("%q: want restart or off", args[0])
			}
			if err := t.power(c.Context(), screen.Power(args[0]), why); err != nil {
				return err
			}
			return p.did("leasehold.console-power/1", args[0], "it is on its way\n")
		},
	}
	c.Flags().StringVar(&why, "reason", "", "`text` for the log")
	c.MarkFlagRequired("reason")
	return c
}
