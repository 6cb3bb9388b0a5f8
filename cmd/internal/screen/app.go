package screen

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/rivo/tview"

	"github.com/leasehold/leasehold/cmd/internal/stick"
)

// How often the console looks, and how long it shows each code of a cycle.
const (
	tick      = 500 * time.Millisecond
	lookTicks = 2
	codeTicks = 3

	// drawTicks is how often all of the screen is drawn anew: what the kernel or the service manager wrote over it is gone then.
	drawTicks = 60
	// silentLooks is after how many looks without such an answer of the daemon what is known is said as lines too.
	silentLooks = 30
)

// App is the console on a screen that can be drawn on. Use Run.
type App struct {
	src  Source
	stay bool // no key ends it
	beep func(stick.Sound)
	out  io.Writer // for the opening lines, until they are said; or nil
	mute int       // looks without an answer

	app    *tview.Application
	screen tcell.Screen
	page   *page // everything but forms
	state  *State
	at     view
	lines  []string // of the view, where it has any of its own
	file   []byte
	shown  int        // code of the cycle
	from   int        // first row
	heard  stick.Line // the last one that was told about sticks
}

// view is what is shown.
type view int

const (
	statusView view = iota
	networkView
	logView
	codeView
	seatsView
	saidView // what came of something
)

// Run shows the console on a screen until it is ended by a key, where stay does not forbid that, or by ctx. beep may be nil. out takes the opening as lines, once the daemon has answered and
// between two drawings; it is the terminal of the screen, or nil for no such lines.
func Run(ctx context.Context, s tcell.Screen, src Source, stay bool, out io.Writer, beep func(stick.Sound)) error {
	if err := s.Init(); err != nil {
		return err
	}
	a := &App{src: src, stay: stay, beep: beep, out: out, screen: s, app: tview.NewApplication().SetScreen(begun{s}), state: src.First()}
	if n := len(a.state.Told); n > 0 {
		a.heard = a.state.Told[n-1]
	}
	a.page = &page{tview.NewBox(), a.draw}
	a.app.SetInputCapture(func(e *tcell.EventKey) *tcell.EventKey { return a.key(ctx, e) })
	a.app.SetRoot(a.page, true)
	ctx, end := context.WithCancel(ctx)
	defer end()
	go a.keep(ctx)
	return a.app.Run()
}

// page is all of the screen. It is not cleared before it is drawn, as a box of the library's is: see begun.
type page struct {
	*tview.Box
	draw func(s tcell.Screen, x, y, width, height int)
}

func (p *page) Draw(s tcell.Screen) {
	x, y, width, height := p.GetRect()
	p.draw(s, x, y, width, height)
}

// begun is a screen that is drawn on already: the application would hide that it cannot be. It is never cleared, as everything here fills it: what was cleared is sent again although it is as
// it was, and a serial line is slow.
type begun struct{ tcell.Screen }

func (begun) Init() error { return nil }

func (begun) Clear() {}

// keep looks again and again, and goes through the codes of a cycle.
func (a *App) keep(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for n := 0; ; n++ {
		var state *State
		if n%lookTicks == 0 {
			state = a.src.Look(ctx)
		}
		a.app.QueueUpdate(func() {
			if state != nil {
				a.seen(state)
			}
			if n%codeTicks == codeTicks-1 {
				a.shown++
			}
			if a.app.GetFocus() == a.page {
				a.app.ForceDraw()
			}
		})
		if n%drawTicks == drawTicks-1 {
			a.app.Sync()
		}
		select {
		case <-ctx.Done():
			a.app.Stop()
			return
		case <-t.C:
		}
	}
}

// seen takes another state, and is heard where something new was told of a stick.
func (a *App) seen(s *State) {
	a.state = s
	a.opens()
	var sounds []stick.Sound
	for _, l := range newer(s.Told, a.heard) {
		a.heard = l
		if l.Sound != stick.Silent {
			sounds = append(sounds, l.Sound)
		}
	}
	if len(sounds) > 0 && a.beep != nil {
		go func() {
			for _, one := range sounds { // one after the other
				a.beep(one)
			}
		}()
	}
}

// newer are the lines after the last one that was heard. Where that is not among them any more, all are: lines leave at the beginning only.
func newer(told []stick.Line, heard stick.Line) []stick.Line {
	for i := len(told) - 1; i >= 0; i-- {
		if told[i] == heard {
			return told[i+1:]
		}
	}
	return told
}

// opens says the opening as lines as soon as the daemon has answered, and has a certificate to show. One that does not for long is said once before.
func (a *App) opens() {
	whole := a.state.Health != nil && a.state.Health.Certificate != nil
	if !whole {
		a.mute++
	}
	if a.out == nil || !whole && a.mute != silentLooks {
		return
	}
	lines := a.state.Opening()
	fmt.Fprintf(a.out, "\r\n%s\r\n", strings.Join(lines, "\r\n"))
	a.screen.Sync() // what is drawn is drawn again over them
	if whole {
		a.out = nil
	}
}

// draw puts the view on the screen.
func (a *App) draw(s tcell.Screen, x, y, width, height int) {
	style := tcell.StyleDefault
	var lines []string
	switch a.at {
	case codeView:
		if lines = a.code(width, height); lines != nil {
			style = style.Foreground(tcell.ColorBlack).Background(tcell.ColorWhite)
		} else {
			lines = a.state.Page(a.lines, width, height, 0)
		}
	case statusView:
		lines = a.state.Screen(width, height, a.from)
	case networkView:
		how := "Addresses are given by the network, or by systemd-networkd: see networkctl."
		if a.src.Network != nil {
			how = "Addresses are given by the network, or here: Enter sets a card up."
		}
		lines = a.state.Page(append([]string{"NETWORK", ""}, append(a.state.network(), "", how)...), width, height, a.from)
	default:
		lines = a.state.Page(a.lines, width, height, a.from)
	}
	for row := range height {
		text := []rune{}
		if row < len(lines) {
			text = []rune(lines[row])
		}
		for column := range width {
			r := ' '
			if column < len(text) {
				r = text[column]
			}
			s.SetContent(x+column, y+row, r, nil, style)
		}
	}
}

// code is the code whose turn it is, with its words beside it where there is room; nil: there is none to show.
func (a *App) code(width, height int) []string {
	if a.file == nil {
		return nil
	}
	codes, err := Codes(a.file, width, height)
	if err != nil {
		a.lines = []string{err.Error()}
		return nil
	}
	n := a.shown % len(codes)
	lines, err := Code(codes[n], false)
	if err != nil {
		a.lines = []string{err.Error()}
		return nil
	}
	beside := []string{"", a.lines[0], "", fmt.Sprintf("%d of %d", n+1, len(codes)), "", "F1 ends"}
	for i, text := range beside {
		if i < len(lines) && len([]rune(lines[i]))+len(text) <= width {
			lines[i] += text
		}
	}
	return lines
}

// key does what a key is for; nil where nothing else is to see it.
func (a *App) key(ctx context.Context, e *tcell.EventKey) *tcell.EventKey {
	form := a.app.GetFocus() != a.page
	key := e.Key()
	switch r := e.Rune(); {
	case key == tcell.KeyCtrlC, key == tcell.KeyRune && r == 'q' && !form:
		if !a.stay {
			a.app.Stop()
		}
		return nil
	case key == tcell.KeyRune && r >= '0' && r <= '9' && !form:
		if key = tcell.KeyF1 + tcell.Key(r-'1'); r == '0' {
			key = tcell.KeyF10
		}
	}
	switch key {
	case tcell.KeyF1, tcell.KeyEscape:
		a.show(statusView)
	case tcell.KeyF2:
		a.show(networkView)
	case tcell.KeyF3:
		a.show(logView, "reading ...")
		a.fetch(ctx, logView, a.src.Log)
	case tcell.KeyF4:
		a.show(codeView, "making a request ...")
		a.request(ctx)
	case tcell.KeyF5:
		a.show(seatsView, "reading ...")
		a.fetch(ctx, seatsView, a.src.Seats)
	case tcell.KeyF6:
		a.done(ctx, "Sticks are let in for five minutes: plug it in now.", a.src.Allow)
	case tcell.KeyF9:
		a.password(ctx)
	case tcell.KeyF10:
		a.power(ctx)
	default:
		if form {
			return e
		}
		if key == tcell.KeyEnter && a.at == networkView && a.src.Network != nil {
			a.network(ctx)
			break
		}
		a.scroll(key)
	}
	return nil
}

func (a *App) scroll(key tcell.Key) {
	switch key {
	case tcell.KeyUp:
		a.from--
	case tcell.KeyDown:
		a.from++
	case tcell.KeyPgUp:
		a.from -= 10
	case tcell.KeyPgDn:
		a.from += 10
	case tcell.KeyHome:
		a.from = 0
	}
	a.from = max(0, min(a.from, len(a.lines)+100)) // the layout bounds it to what there is
}

// show goes to a view, from whatever form there was.
func (a *App) show(v view, lines ...string) {
	a.at, a.lines, a.from, a.file = v, lines, 0, nil
	a.app.SetRoot(a.page, true)
	a.app.SetFocus(a.page)
}

// fetch has lines of a view, and shows their end.
func (a *App) fetch(ctx context.Context, v view, f func(context.Context) []string) {
	go func() {
		lines := f(ctx)
		a.app.QueueUpdateDraw(func() {
			if a.at == v {
				a.lines = lines
				if v == logView {
					a.from = len(lines) // the newest are the last
				}
			}
		})
	}()
}

// request has a request made, and shows it as codes.
func (a *App) request(ctx context.Context) {
	go func() {
		number, file, err := a.src.Request(ctx)
		a.app.QueueUpdateDraw(func() {
			switch {
			case a.at != codeView:
			case err != nil:
				a.lines = a.src.Say(err)
			default:
				a.lines, a.file, a.shown = []string{fmt.Sprintf("Request %d", number)}, file, 0
			}
		})
	}()
}

// done does something, and says that it is done, or why not.
func (a *App) done(ctx context.Context, well string, f func(context.Context) error) {
	a.does(ctx, func(ctx context.Context) (string, error) { return well, f(ctx) })
}

// does does something, and says what came of it.
func (a *App) does(ctx context.Context, f func(context.Context) (string, error)) {
	a.show(saidView, "one moment ...")
	go func() {
		well, err := f(ctx)
		a.app.QueueUpdateDraw(func() {
			if a.at != saidView {
				return
			}
			a.lines = []string{Safe(well), "", "F1 goes back."}
			if err != nil {
				a.lines = append(slices.Clone(a.src.Say(err)), "", "F1 goes back.")
			}
		})
	}()
}

// form is an empty form with a title.
func form(title string) *tview.Form {
	f := tview.NewForm()
	f.SetBorder(true).SetTitle(" " + title + " - Esc goes back ")
	return f
}

// fill shows a form in place of the page, with its first field to be typed into.
func (a *App) fill(f *tview.Form) {
	a.app.SetRoot(f, true)
	a.app.SetFocus(f)
}

// maxReason is how many bytes of a reason can be typed.
const maxReason = 128

func (a *App) password(ctx context.Context) {
	f := form("Password of a login")
	var login, current, anew, again string
	keep := func(to *string) func(string) { return func(s string) { *to = s } } // as long as it was typed: the appliance refuses what is too long
	f.AddInputField("Login", "", 24, nil, keep(&login)).AddPasswordField("Current password", "", 24, '*', keep(&current)).
		AddPasswordField("New password", "", 24, '*', keep(&anew)).AddPasswordField("The same again", "", 24, '*', keep(&again))
	f.AddButton("Change", func() {
		if anew != again {
			f.SetTitle(" The two new passwords differ - Esc goes back ")
			return
		}
		a.done(ctx, fmt.Sprintf("The password of %s is changed.", Safe(login)), func(ctx context.Context) error { return a.src.Password(ctx, login, current, anew) })
	})
	f.AddButton("Cancel", func() { a.show(statusView) })
	a.fill(f)
}

func (a *App) network(ctx context.Context) {
	f := form("Network card")
	var login, password, card, address, gateway string
	keep := func(to *string) func(string) { return func(s string) { *to = s } }
	if len(a.state.Network) > 0 {
		card = a.state.Network[0].Name
	}
	f.AddInputField("Card", card, 24, nil, keep(&card)).AddInputField("Address, as 10.20.0.15/24; none: DHCP", "", 24, nil, keep(&address)).AddInputField("Gateway, or none", "", 24, nil, keep(&gateway))
	if a.state.signsIn() {
		f.AddInputField("Your login", "", 24, nil, keep(&login)).AddPasswordField("Its password", "", 24, '*', keep(&password))
	}
	f.AddButton("Set up", func() {
		a.does(ctx, func(ctx context.Context) (string, error) {
			return a.src.Network(ctx, login, password, card, address, gateway)
		})
	})
	f.AddButton("Cancel", func() { a.show(networkView) })
	a.fill(f)
}

func (a *App) power(ctx context.Context) {
	f := form("Power")
	why := ""
	f.AddInputField("Reason, for the log", "", 40, func(s string, _ rune) bool { return len(s) <= maxReason }, func(s string) { why = s })
	act := func(what Power, well string) func() {
		return func() {
			if why == "" {
				f.SetTitle(" Type a reason first - Esc goes back ")
				return
			}
			a.done(ctx, well, func(ctx context.Context) error { return a.src.Power(ctx, what, why) })
		}
	}
	f.AddButton("Restart", act(Restart, "The machine restarts.")).AddButton("Power off", act(Off, "The machine switches itself off.")).AddButton("Cancel", func() { a.show(statusView) })
	a.fill(f)
}
