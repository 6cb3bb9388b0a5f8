// Freehold is the producer's back office on the command line: it makes the producer's keys, keeps the book of entitlements, and answers request files.
package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/tpm"
)

func main() { os.Exit(run()) }

func run() int { return terminal.Program(command(&flags{}), os.Stderr) }

// flags are the ones of every command.
type flags struct {
	dir        string
	json       bool
	wait       time.Duration
	passphrase passphraseFlags
	tpm, token string
	cost       backoffice.Cost // of guessing the passphrases of new keys; tests alone make it less than the usual

	key   string // of a command that is done once
	asked capability.Digest
}

func command(f *flags) *cobra.Command {
	root := &cobra.Command{
		Use:   "freehold",
		Short: "The back office of Leasehold: grant rights, answer request files",
		Long: "Freehold keeps a producer's keys and its book: who is entitled to what, which machine holds how much of it, and what each machine was answered.\n\n" +
			"A request file comes from a customer's appliance on a stick. Freehold judges the TPM's evidence in it and answers with a response file that only that TPM opens. " +
			"The same request again gives the same bytes. Freehold connects to nothing; it can itself be kept off every network.",
		Version: terminal.Version(),
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	p := root.PersistentFlags()
	p.StringVar(&f.dir, "dir", "/var/lib/freehold", "`directory` of keys and book")
	p.DurationVar(&f.wait, "wait", 5*time.Second, "longest `time` to wait for another freehold that has the directory open")
	p.BoolVar(&f.json, "json", false, "print one JSON object with a schema field")
	p.StringVar(&f.passphrase.file, "passphrase-file", "", "`file` with the passphrase of the producer's keys on its first line")
	p.IntVar(&f.passphrase.fd, "passphrase-fd", -1, "open file descriptor `number` to read the passphrase from")
	p.StringVar(&f.tpm, "tpm", tpm.DefaultAddress, "`address` of the TPM 2.0 that the signing key is sealed to, where it is: a device, unix:SOCKET or tcp:HOST:PORT")
	p.StringVar(&f.token, "token", "", "`socket` of freehold-token, which has one half of the signing key in a token")
	root.MarkFlagsMutuallyExclusive("passphrase-file", "passphrase-fd")
	for n, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Every day:", []*cobra.Command{once(f, entitleCommand(f)), respondCommand(f), showCommand(f), inspectCommand(f), terminal.Text(readOurs), terminal.Explain("freehold", &f.json)}},
		{"What is sold, and to whom:", []*cobra.Command{accountCommand(f), productCommand(f), modelCommand(f), itemCommand(f), groupCommand(f)}},
		{"Machines:", []*cobra.Command{deviceCommand(f), once(f, mapCommand(f)), once(f, returnCommand(f)), once(f, retireCommand(f)), rehostCommand(f), once(f, writeOffCommand(f)), bootCommand(f), updateCommand(f), rootsCommand(f)}},
		{"Users and seats:", []*cobra.Command{userCommand(f), seatCommand(f), sessionCommand(f), once(f, convertCommand(f))}},
		{"The portal:", []*cobra.Command{serveCommand(f), loginCommand(f)}},
		{"The book:", []*cobra.Command{reportCommand(f), auditCommand(f), exportCommand(f), once(f, importCommand(f)), policyCommand(f)}},
		{"Keys:", []*cobra.Command{initCommand(f), trustCommand(f), keyCommand(f), ceremonyCommand(f)}},
	} {
		group := cobra.Group{ID: strconv.Itoa(n), Title: g.title}
		root.AddGroup(&group)
		for _, c := range g.commands {
			c.GroupID = group.ID
			root.AddCommand(c)
		}
	}
	root.AddCommand(terminal.Man(root))
	return root
}

// open opens the back office with the passphrase.
func (f *flags) open() (*backoffice.Office, error) {
	if err := backoffice.Look(backoffice.Dir(f.dir)); err != nil {
		return nil, f.coded(err) // before anyone is asked for a passphrase
	}
	u, err := f.unlock()
	if err != nil {
		return nil, err
	}
	o, err := f.openInTurn(u)
	if err == nil && f.key != "" {
		o.Once(f.key, f.asked)
	}
	return o, f.coded(err)
}

// coded gives an error of the back office its code, and where a hint of ours is better than the catalog's, the hint.
func (f *flags) coded(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, backoffice.ErrAbsent):
		err = fmt.Errorf("%w: %s; make one with: freehold init --producer NAME --dir %s", err, f.dir, f.dir)
	case errors.Is(err, backoffice.ErrPresent):
		err = fmt.Errorf("%w: %s; nothing was changed", err, f.dir)
	case errors.Is(err, backoffice.ErrBookGone):
		err = fmt.Errorf("%w, and no %s", err, filepath.Join(f.dir, "book"))
	}
	if r := (*capability.Refusal)(nil); errors.As(err, &r) {
		return err
	}
	if errors.Is(err, backoffice.ErrTrust) {
		return terminal.Advised(capability.ErrTrust, err, "put trust.lht and keys/ back from the newest copy of "+f.dir)
	}
	if c := backoffice.Code(err); c != 0 {
		return terminal.Coded(c, err)
	}
	return err
}

// now is the one place where this program reads the clock.
func now() capability.Time { return capability.At(time.Now()) }

// operator is who runs the program, for the record. Who became another user for it is on record as who logged in: one person does not stand for a change under two names, and not all of them are root.
// Nothing is written by nobody: who has no name here, as in a container, is on record with the number.
func operator() string {
	said, _ := os.ReadFile("/proc/self/loginuid") // absent where the kernel keeps none
	uid, logged := loginUID(said)
	if logged {
		if u, err := user.LookupId(uid); err == nil && u.Username != "" {
			return userName(u)
		}
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		return userName(u)
	}
	return fmt.Sprintf("user %d", os.Getuid())
}

func userName(u *user.User) string {
	return strings.ToValidUTF8(u.Username[:min(len(u.Username), capability.MaxName)], "")
}

// loginUID reads what the kernel says of who logged in (proc_pid_loginuid(5)): a number, which is the highest there is where nobody did, as for a service.
func loginUID(said []byte) (uid string, logged bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(string(said)), 10, 32)
	if err != nil || n == math.MaxUint32 {
		return "", false
	}
	return strconv.FormatUint(n, 10), true
}
