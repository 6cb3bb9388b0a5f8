package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// Seats of a back office on the network: the person signs in once, and programs of the machine take seats for that user.

// authorities are those that were named; nil: the system's.
func (p *program) authorities() (*x509.CertPool, error) {
	if p.authority == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(p.authority)
	if err != nil {
		return nil, terminal.Coded(capability.ErrFileRead, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, terminal.Usage("--authority %s: no certificate in it", p.authority)
	}
	return pool, nil
}

// onlineFlags are those of commands about seats.
func (p *program) onlineFlags(c *cobra.Command) {
	p.own.flags(c)
	c.Flag("store").Usage = "`directory` where this machine keeps who its user is, and its seats; online in --dir"
}

// withOnline runs f with what this machine keeps of back offices.
func (p *program) withOnline(ctx context.Context, f func(*client.Standalone) error) (err error) {
	dir := p.own.dir
	if dir == "" {
		if dir, err = client.OnlineDir(ctx, p.dir); err != nil {
			return err
		}
	}
	s, d, err := p.openOwn(ctx, client.StandaloneOptions{Dir: dir})
	if err != nil {
		return advisedOnline(err)
	}
	err = errors.Join(f(s), s.Close())
	if d != nil {
		err = errors.Join(err, d.Close())
	}
	return advisedOnline(err)
}

// advisedOnline is an error with the next step where that is another one for who asks a back office for a seat.
func advisedOnline(err error) error {
	var no *capability.Refusal
	if !errors.As(err, &no) {
		return err
	}
	next := ""
	switch no.Code {
	case capability.ErrOfficeCertificate:
		next = "compare it with what freehold serve prints at the producer, then: leasehold login --certificate SHA-256; or name the authority that stands for it: --authority FILE"
	case capability.ErrOfficeUnreachable:
		next = "check the address and the network; what runs goes on as long as the producer's license model lets it: leasehold seat"
	case capability.ErrSessionElsewhere:
		next = "stop the program there, or move the seat here: leasehold seat take FEATURE --take-over"
	case capability.ErrUserToken:
		next = "leasehold login --server https://HOST:PORT --user NAME"
	case capability.ErrBinding:
		next = "use a TPM of this machine, --tpm ADDRESS, or another directory, --store DIR, and sign in there: leasehold login"
	default:
		return err
	}
	// The title of the code is said anyway.
	return terminal.Advised(no.Code, &worded{strings.TrimLeft(strings.TrimPrefix(no.Sentence(), no.Code.Entry().Title), ": "), err}, next)
}

// worded is an error in other words.
type worded struct {
	said string
	error
}

func (w *worded) Error() string { return w.said }
func (w *worded) Unwrap() error { return w.error }

// address is the back office that is meant: the one in --server, or else the only one where the user has signed in.
func (p *program) address(ctx context.Context, s *client.Standalone) (string, error) {
	var named []string
	for _, at := range servers(p.server) {
		if strings.Contains(at, "://") {
			named = append(named, at)
		}
	}
	if len(named) == 0 && s != nil {
		list, err := s.SignIns(ctx)
		if err != nil {
			return "", err
		}
		for _, i := range list {
			named = append(named, i.URL)
		}
		if len(named) == 0 {
			return "", capability.Refuse(capability.ErrUserToken, "", "nobody has signed in on this machine")
		}
	}
	if len(named) != 1 || !strings.HasPrefix(strings.ToLower(named[0]), "https://") {
		return "", terminal.Usage("want one back office: --server https://HOST:PORT")
	}
	return named[0], nil
}

func (p *program) loginCommand() *cobra.Command {
	var account, user, certificate string
	var code bool
	c := &cobra.Command{
		Use: "login --server https://HOST:PORT --account NAME --user NAME [--code]", Short: "Say who you are to a back office that serves seats", Args: cobra.NoArgs,
		Long: "Login shows the producer's back office who the user of this machine is, and keeps for some hours what it answers: programs take seats with it meanwhile. The password is asked for, or read from standard " +
			"input, and not kept. The first time, with --code, the code of your slip comes before it, on a line of its own, and the password is the one that you choose.\n\n" +
			"Account and user are as on the slip; signing in again they need not be said. The certificate of the back office is believed by the SHA-256 in --certificate, which is kept, or by an authority.",
		Example: "  leasehold login --server https://licenses.example.com:7443 --account \"ACME Works\" --user ana@acme.example --code",
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withOnline(c.Context(), func(s *client.Standalone) error {
				at, err := p.address(c.Context(), s)
				if err != nil {
					return err
				}
				office, err := p.officeAt(c.Context(), s, at)
				if err != nil {
					return err
				}
				if certificate != "" {
					office.Certificate = certificate
				}
				list, err := s.SignIns(c.Context())
				if err != nil {
					return err
				}
				for _, i := range list {
					if i.URL == office.URL && account == "" {
						account = i.Account
						if user == "" {
							user = i.User
						}
					}
				}
				if account == "" || user == "" {
					return terminal.Usage("who signs in: --account NAME --user NAME, as on the slip")
				}
				return p.login(c.Context(), s, office, account, user, code)
			})
		},
	}
	c.Flags().StringVar(&account, "account", "", "`name` of the customer, as on the slip")
	c.Flags().StringVar(&user, "user", "", "`name` of the user, as on the slip")
	c.Flags().StringVar(&certificate, "certificate", "", "`SHA-256` of the certificate that the back office shows, as freehold serve prints it")
	c.Flags().BoolVar(&code, "code", false, "use the code of a slip, and choose a password")
	p.onlineFlags(c)
	return c
}

func (p *program) officeAt(ctx context.Context, s *client.Standalone, at string) (*client.Office, error) {
	office, err := s.OfficeAt(ctx, at)
	if err != nil {
		return nil, err
	}
	office.Authorities, err = p.authorities()
	return office, err
}

// signInData is leasehold.login/1.
type signInData struct {
	terminal.Data
	SignIns []signInRow `json:"signIns"`
}

type signInRow struct {
	URL         string          `json:"url"`
	Certificate string          `json:"certificate,omitempty"`
	Account     string          `json:"account"`
	User        string          `json:"user"`
	Until       capability.Time `json:"until"`
}

func (p *program) login(ctx context.Context, s *client.Standalone, office *client.Office, account, user string, withCode bool) error {
	in := bufio.NewReader(io.LimitReader(p.stdin, 4<<10))
	code := ""
	var err error
	if withCode {
		if code, err = p.secret(in, "Code of the slip: "); err != nil {
			return err
		}
	}
	words := "Password: "
	if withCode {
		words = "Password that you choose: "
	}
	password, err := p.secret(in, words)
	if err == nil && withCode && p.asks() {
		var again string
		if again, err = p.secret(in, "The same again: "); err == nil && again != password {
			err = terminal.Usage("the two passwords differ")
		}
	}
	if err != nil {
		return err
	}
	i, err := s.KeepSignIn(ctx, office, account, user, password, code)
	if err != nil {
		return err
	}
	return p.printSignIns("signed in", []client.SignIn{*i})
}

func (p *program) printSignIns(verb string, list []client.SignIn) error {
	if p.json {
		return terminal.JSON(p.out, signInData{terminal.NewData("leasehold.login/1"), rowsOf(list)})
	}
	for _, i := range list {
		p.printf("%s  %s  %s of %s  %s\n", verb, i.URL, i.User, i.Account, until(i.Until))
	}
	return nil
}

func rowsOf(list []client.SignIn) []signInRow {
	rows := []signInRow{}
	for _, i := range list {
		rows = append(rows, signInRow(i))
	}
	return rows
}

// asks says that a person is at a terminal.
func (p *program) asks() bool {
	f, isFile := p.stdin.(*os.File)
	return isFile && term.IsTerminal(int(f.Fd()))
}

// secret is a line that a person types unseen, or the next one of standard input.
func (p *program) secret(in *bufio.Reader, words string) (string, error) {
	if p.asks() {
		p.say("%s", words)
		b, err := terminal.ReadSecret(int(p.stdin.(*os.File).Fd()))
		p.say("\n")
		if err != nil {
			return "", terminal.Coded(capability.ErrFileRead, err)
		}
		return strings.TrimSpace(string(b)), nil
	}
	line, err := in.ReadString('\n')
	if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
		return "", terminal.Usage("a line of standard input is missing: with --code the code of the slip, then the password")
	}
	return strings.TrimSpace(line), nil
}

func (p *program) logoutCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "logout [--server https://HOST:PORT]", Short: "Forget who the user of this machine is to back offices", Args: cobra.NoArgs,
		Long: "Logout forgets what login kept, of one back office or of all. Programs that run go on; new ones get no seat.",
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withOnline(c.Context(), func(s *client.Standalone) error {
				at := ""
				if strings.Contains(p.server, "://") {
					var err error
					if at, err = p.address(c.Context(), nil); err != nil {
						return err
					}
				}
				list, err := s.SignOut(c.Context(), at)
				if err != nil {
					return err
				}
				return p.printSignIns("signed out", list)
			})
		},
	}
	p.onlineFlags(c)
	return c
}

func (p *program) seatCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "seat", Short: "Show, take, renew and free seats of a back office", Args: cobra.NoArgs,
		Long: "A seat is the use of a license by a user. Programs take one by themselves, with leasehold acquire FEATURE --server https://HOST:PORT -- PROGRAM, renew it and give it back; all programs of a machine share it.\n\n" +
			"Without a verb this says who has signed in and which seats this machine has, as it was told last; nobody is asked.",
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withOnline(c.Context(), func(s *client.Standalone) error { return p.printSeatsHeld(c.Context(), s) })
		},
	}
	p.onlineFlags(c)
	c.AddCommand(p.seatTake(), p.seatRenew(), p.seatFree())
	return c
}

func (p *program) seatTake() *cobra.Command {
	var takeOver bool
	c := &cobra.Command{
		Use: "take FEATURE[:VERSION] [--take-over]", Short: "Take a seat and keep it", Args: cobra.ExactArgs(1),
		Long: "Take has a seat of the feature for the user who signed in, or the one that this machine has already. It is kept until leasehold seat free, or until it ends without a renewal; nobody renews it meanwhile.\n\n" +
			"With --take-over a seat of the same user on another machine is given up for this one: its program there stops with its next renewal, or with its time.",
		RunE: func(c *cobra.Command, args []string) error {
			f, err := capability.ParseFeature(args[0])
			if err != nil {
				return terminal.Usage("%q: %w", args[0], err)
			}
			return p.withOnline(c.Context(), func(s *client.Standalone) error {
				at, err := p.address(c.Context(), s)
				if err != nil {
					return err
				}
				office, err := p.officeAt(c.Context(), s, at)
				if err != nil {
					return err
				}
				alias, err := os.Hostname()
				if err != nil {
					return err
				}
				if _, err := s.Seat(c.Context(), client.SeatOptions{Office: office, Feature: f.Name, Version: f.Version, TakeOver: takeOver, Keep: true, Alias: alias}); err != nil {
					return err
				}
				return p.printSeatsHeld(c.Context(), s)
			})
		},
	}
	c.Flags().BoolVar(&takeOver, "take-over", false, "give up a seat of the same user on another machine for this one")
	p.onlineFlags(c)
	return c
}

func (p *program) seatRenew() *cobra.Command {
	var idle time.Duration
	c := p.seatVerb("renew [ID]", "Move the end of the seats that are kept",
		"Renew asks the back office to go on with the seats of this machine, or with the one of that activation ID. Programs that run do it by themselves.",
		func(ctx context.Context, s *client.Standalone, o *client.Office, id capability.ActivationID) error {
			return s.RenewSeat(ctx, o, id, idle)
		})
	c.Flags().DurationVar(&idle, "idle", 0, "`time` for which nobody has worked with it, as 10m")
	return c
}

func (p *program) seatFree() *cobra.Command {
	return p.seatVerb("free [ID]", "Give seats back",
		"Free gives the seats of this machine back, or the one of that activation ID: those that were kept, and those that a program left when it died. What a running program uses it gives back itself.",
		func(ctx context.Context, s *client.Standalone, o *client.Office, id capability.ActivationID) error {
			return s.FreeSeat(ctx, o, id)
		})
}

// seatVerb is a verb about the seats that this machine has.
func (p *program) seatVerb(use, short, long string, do func(context.Context, *client.Standalone, *client.Office, capability.ActivationID) error) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var only capability.ActivationID
			if len(args) > 0 {
				var err error
				if only, err = capability.ParseActivationID(args[0]); err != nil {
					return terminal.Usage("%q: %w", args[0], err)
				}
			}
			return p.withOnline(c.Context(), func(s *client.Standalone) error {
				held, err := s.HeldSeats(c.Context())
				if err != nil {
					return err
				}
				done := 0
				for _, h := range held {
					if only != "" && h.ActivationID != only {
						continue
					}
					office, err := p.officeAt(c.Context(), s, h.URL)
					if err == nil {
						err = do(c.Context(), s, office, h.ActivationID)
					}
					if err != nil {
						return err
					}
					done++
				}
				if only != "" && done == 0 {
					return capability.Refuse(capability.ErrNoSuchLease, string(only), "this machine has no seat of it; leasehold seat shows those it has")
				}
				return p.printSeatsHeld(c.Context(), s)
			})
		},
	}
	p.onlineFlags(c)
	return c
}

// seatData is leasehold.seat/1.
type seatData struct {
	terminal.Data
	SignIns []signInRow `json:"signIns"`
	Seats   []seatRow   `json:"seats"`
}

type seatRow struct {
	URL          string                  `json:"url"`
	ActivationID capability.ActivationID `json:"activationId"`
	Product      string                  `json:"product"`
	Features     []capability.Feature    `json:"features"`
	Renew        capability.Time         `json:"renew"` // when the next renewal is due
	Runs         capability.Time         `json:"runs"`  // when it ends without one
	Programs     int                     `json:"programs"`
	Kept         bool                    `json:"kept"`
	Warning      string                  `json:"warning,omitempty"`
}

func (p *program) printSeatsHeld(ctx context.Context, s *client.Standalone) error {
	in, err := s.SignIns(ctx)
	if err != nil {
		return err
	}
	held, err := s.HeldSeats(ctx)
	if err != nil {
		return err
	}
	d := seatData{terminal.NewData("leasehold.seat/1"), rowsOf(in), []seatRow{}}
	for _, h := range held {
		row := seatRow{URL: h.URL, ActivationID: h.ActivationID, Features: []capability.Feature{}, Renew: h.Asked.Add(h.Renew), Runs: h.Asked.Add(h.Runs), Programs: h.Programs, Kept: h.Kept, Warning: h.Warning}
		for _, i := range h.Items {
			row.Product = i.Product
			row.Features = append(row.Features, capability.Feature{Name: i.Feature, Version: i.Version})
		}
		d.Seats = append(d.Seats, row)
	}
	if p.json {
		return terminal.JSON(p.out, d)
	}
	for _, i := range in {
		p.printf("signed in  %s  %s of %s  %s\n", i.URL, i.User, i.Account, until(i.Until))
	}
	for _, r := range d.Seats {
		var names []string
		for _, f := range r.Features {
			names = append(names, f.Name+":"+f.Version.String())
		}
		use := capability.Counted(r.Programs, "program")
		if r.Kept && r.Programs == 0 {
			use = "kept"
		} else if r.Programs == 0 {
			use = "left by a program that died"
		}
		p.printf("seat       %s  %s  %s  to be renewed before %s, runs %s  (%s)\n", r.ActivationID, r.Product, strings.Join(names, " "), r.Renew, until(r.Runs), use)
		if r.Warning != "" {
			p.say("warning: %s\n", r.Warning)
		}
	}
	return nil
}
