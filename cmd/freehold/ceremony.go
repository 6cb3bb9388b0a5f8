package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/storage"
)

// ceremonyData is freehold.ceremony/1.
type ceremonyData struct {
	terminal.Data
	Producer    string               `json:"producer,omitempty"`
	Fingerprint string               `json:"fingerprint"` // of the root
	Copy        string               `json:"copy,omitempty"`
	Certificate *wire.KeyCertificate `json:"certificate,omitempty"`
	Key         string               `json:"key,omitempty"` // fingerprint of the key that was certified
	Limits      *wire.Limits         `json:"limits,omitempty"`
	File        string               `json:"file,omitempty"`
}

func ceremonyCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "ceremony", Short: "Make and use the producer's root on a machine without a network", Args: cobra.NoArgs,
		Long: "The root is the key that every product and appliance of the producer believes. It signs nothing but certificates of signing keys, so it can stay on a machine that was never on a network, with two people beside it.\n\n" +
			"Once: ceremony root makes it, --copy makes a second medium and reads it back, and the trust bundle goes to the back office: freehold init --root-elsewhere. " +
			"For each signing key a request comes on a stick, ceremony certify answers it, and the answer goes back: freehold key install. A key that was stolen is revoked in the certificate of the next one: --revoke. " +
			"--dir is the directory of the ceremony; it holds the root, the trust bundle and every certificate ever made.",
		Example: "  freehold ceremony root --dir /media/root --producer \"Example Software\" --copy /media/copy\n" +
			"  freehold ceremony certify request.lhk --dir /media/root --expect 3f9a0c117e52d4b6 -o certified.lhk",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(ceremonyRoot(f), ceremonyCheck(f), ceremonyCertify(f))
	return c
}

func ceremonyRoot(f *flags) *cobra.Command {
	var producer, second string
	c := &cobra.Command{
		Use: "root --producer NAME", Short: "Make the root", Args: cobra.NoArgs,
		Long: "Root makes the root in an empty directory: root.key, sealed with the passphrase, and trust.lht, its public keys. Write the fingerprint down, and compare it wherever the bundle arrives.",
		RunE: func(c *cobra.Command, _ []string) error {
			pass, err := f.passphrase.read(true)
			if err != nil {
				return err
			}
			if len(pass) < backoffice.MinPassphrase {
				return terminal.Usage("the passphrase has %d bytes; at least %d are needed", len(pass), backoffice.MinPassphrase)
			}
			if err := os.MkdirAll(f.dir, 0o700); err != nil {
				return terminal.Coded(capability.ErrFileRead, err)
			}
			if _, err := backoffice.CreateRoot(storage.Dir(f.dir), producer, pass, f.cost, rand.Reader); err != nil {
				return f.coded(err)
			}
			return f.readBack(c.OutOrStdout(), pass, second)
		},
	}
	c.Flags().StringVar(&producer, "producer", "", "`name` of the producer, as people read it")
	c.Flags().StringVar(&second, "copy", "", "also write everything to `directory`, another medium, and read it back from there")
	if err := c.MarkFlagRequired("producer"); err != nil {
		panic(err)
	}
	return c
}

func ceremonyCheck(f *flags) *cobra.Command {
	var second string
	c := &cobra.Command{
		Use: "check", Short: "Read the root back, and copy it", Args: cobra.NoArgs,
		Long: "Check opens root.key with the passphrase, makes its public keys anew and compares them with trust.lht. With --copy it then does the same with a copy, which it makes or completes. Once a year is not too often.",
		RunE: func(c *cobra.Command, _ []string) error {
			pass, err := f.passphrase.read(false)
			if err != nil {
				return err
			}
			return f.readBack(c.OutOrStdout(), pass, second)
		},
	}
	c.Flags().StringVar(&second, "copy", "", "`directory` of the copy")
	return c
}

// readBack says what a root is after it was read from its medium, and from its copy.
func (f *flags) readBack(w io.Writer, pass []byte, second string) error {
	t, err := backoffice.CheckRoot(storage.Dir(f.dir), pass)
	if err != nil {
		return f.coded(err)
	}
	if second != "" {
		if err := os.MkdirAll(second, 0o700); err != nil {
			return terminal.Coded(capability.ErrFileRead, err)
		}
		if _, err := backoffice.CopyRoot(storage.Dir(f.dir), storage.Dir(second), pass); err != nil {
			return f.coded(err)
		}
	}
	fingerprint := fmt.Sprintf("%x", wire.New().Fingerprint(t.Root))
	if f.json {
		return printJSON(w, ceremonyData{Data: terminal.NewData("freehold.ceremony/1"), Producer: t.Producer, Fingerprint: fingerprint, Copy: second})
	}
	fmt.Fprintf(w, "producer     %s\nfingerprint  %s\n", terminal.Plain(t.Producer), fingerprint)
	if second != "" {
		fmt.Fprintf(w, "copy         %s, read back\n", terminal.Plain(second))
	}
	fmt.Fprintln(w, "next: take trust.lht to the back office: freehold init --root-elsewhere trust.lht")
	return nil
}

// minExpected digits of a fingerprint are compared: 64 bits, which nobody finds a second key for in a day.
const minExpected = 16

func ceremonyCertify(f *flags) *cobra.Command {
	var expect, out string
	var t termFlags
	c := &cobra.Command{
		Use: "certify REQUEST -o FILE", Short: "Certify a signing key, and revoke others", Args: cobra.ExactArgs(1),
		Long: "Certify answers the request of a signing key. Have the back office read out the key's fingerprint (freehold key list), and give what you hear with --expect: a request of somebody else's key is refused by it.\n\n" +
			"The certificate says from when to when the key signs, which keys are revoked, and the limits that freehold keeps it to. Keys that were revoked once stay so in every later certificate. " +
			"Limits bind those who use the back office, not one who has stolen the key: for him there is --revoke.",
		Example: "  freehold ceremony certify request.lhk --expect 3f9a0c117e52d4b6 --until 2027-12-31 --per-day 200 --product Solve:50 -o certified.lhk",
		RunE: func(c *cobra.Command, args []string) error {
			request, err := readOurs(args[0])
			if err != nil {
				return err
			}
			terms, err := t.terms()
			if err != nil {
				return err
			}
			codec := wire.New()
			r, err := codec.ReadKeyRequest(request)
			if err != nil {
				return about(args[0], terminal.Coded(wire.Code(err), err))
			}
			key := fmt.Sprintf("%x", codec.Fingerprint(r.Keys))
			heard := strings.ToLower(strings.ReplaceAll(expect, " ", ""))
			if len(heard) < minExpected || !strings.HasPrefix(key, heard) {
				return terminal.Coded(capability.ErrKeyRequest, fmt.Errorf("the request is of the key %s, and expected is %q, at least %d digits", key, expect, minExpected))
			}
			from := terms.From
			if from == 0 {
				from = r.From
			}
			if err := revokesInTime(&terms, from, slackOfClocks); err != nil {
				return err
			}
			if err := creatable(out); err != nil { // what is signed has its number, and is kept
				return err
			}
			pass, err := f.passphrase.read(false)
			if err != nil {
				return err
			}
			file, k, err := backoffice.Certify(storage.Dir(f.dir), pass, request, terms)
			if err != nil {
				return f.coded(err)
			}
			if err := writeNew(out, file); err != nil {
				return terminal.Advised(capability.ErrFileRead, err, fmt.Sprintf("the certificate is signed: take the newest cert*.lhk in %s to the back office", f.dir))
			}
			if f.json {
				_, trust, err := backoffice.RootTrust(storage.Dir(f.dir))
				if err != nil {
					return f.coded(err)
				}
				return printJSON(c.OutOrStdout(), ceremonyData{Data: terminal.NewData("freehold.ceremony/1"), Fingerprint: fmt.Sprintf("%x", codec.Fingerprint(trust.Root)), Certificate: k, Key: key, Limits: &terms.Limits, File: out})
			}
			printCertificate(c.OutOrStdout(), k, key, &terms.Limits)
			fmt.Fprintf(c.OutOrStdout(), "-> %s\nnext: take it to the back office: freehold key install %s\n", terminal.Plain(out), terminal.Plain(out))
			return nil
		},
	}
	c.Flags().StringVar(&expect, "expect", "", "`fingerprint` of the key as the back office reads it out, at least its first 16 digits")
	c.Flags().StringVarP(&out, "output", "o", "", "`file` for the certified key")
	t.add(c)
	c.Flags().StringArrayVar(&t.after, "after", nil, "certified key `file` that came before and is not in the directory; may be repeated")
	for _, name := range []string{"expect", "output"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return c
}

// slackOfClocks is how far the clock of a machine without a network may be behind that of the back office, in seconds.
const slackOfClocks = 24 * 3600

// revokesInTime refuses a certificate that revokes a key and signs only later: the back office would have no key that says so until then.
func revokesInTime(t *backoffice.Terms, from, slack capability.Time) error {
	if at := now(); len(t.Revoke) > 0 && from > at+slack {
		return terminal.Usage("--revoke with a key that signs only from %s, and the clock here says %s: a revocation counts at once, so give --from a date that has begun, or revoke later", from, at)
	}
	return nil
}

func printCertificate(w io.Writer, k *wire.KeyCertificate, key string, l *wire.Limits) {
	fmt.Fprintf(w, "certificate  %d, of %s\nkey          %s\nsigns        from %s, %s\n", k.Number, terminal.Plain(k.Name), key, k.From, untilWords(k.Until))
	for _, r := range k.Revoked {
		since := ""
		if r.Since != 0 {
			since = ", in other hands since " + r.Since.String()
		}
		fmt.Fprintf(w, "revokes      %x%s\n", r.Key[:], since)
	}
	for _, line := range backoffice.LimitWords(l) {
		fmt.Fprintf(w, "limit        %s\n", terminal.Plain(line))
	}
}

func untilWords(t capability.Time) string {
	if t == 0 {
		return "without end"
	}
	return "until " + t.String()
}
