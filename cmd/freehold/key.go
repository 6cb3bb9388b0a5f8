package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// keyData is freehold.key/1.
type keyData struct {
	terminal.Data
	Keys []backoffice.KeyView `json:"keys"`
	File string               `json:"file,omitempty"`
}

// limitsData is freehold.limits/1.
type limitsData struct {
	terminal.Data
	backoffice.LimitsView
}

func keyCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use: "key", Short: "The keys that sign responses: list, replace, revoke, seal", Args: cobra.NoArgs,
		Long: "Signing keys sign every response; the root certifies them. The certified key with the highest number that is in its time and not revoked signs. What others signed before stays good.\n\n" +
			"With the root elsewhere a new key takes a trip: key request, freehold ceremony certify there, key install. With keys/root.key here, key rotate does all three. " +
			"A key that may have been stolen is revoked: every response from then on says so, and an appliance that has applied one takes nothing more from it. Machines that have not heard yet still believe it, so have them exchange files soon.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(keyList(f), keyRequest(f), keyInstall(f), keyRotate(f), keyRevoke(f), keyLimits(f), keySeal(f), keyRestore(f))
	return c
}

// keys opens the back office for a command about keys.
func (f *flags) keys(use func(o *backoffice.Office, u backoffice.Unlock) error) error {
	if err := backoffice.Look(backoffice.Dir(f.dir)); err != nil {
		return f.coded(err)
	}
	u, err := f.unlock()
	if err != nil {
		return err
	}
	o, err := f.openInTurn(u)
	if err != nil {
		return f.coded(err)
	}
	defer o.Close()
	return f.coded(use(o, u))
}

func (f *flags) printKeys(c *cobra.Command, o *backoffice.Office, file, next string) error {
	list, err := o.Keys(now())
	if err != nil {
		return err
	}
	w := c.OutOrStdout()
	if f.json {
		if list == nil {
			list = []backoffice.KeyView{}
		}
		return printJSON(w, keyData{terminal.NewData("freehold.key/1"), list, file})
	}
	for _, k := range list {
		place := ""
		if k.Token {
			place = ", half of it in a token"
		}
		fmt.Fprintf(w, "%-8s %s%s\n  fingerprint  %x\n", k.State, terminal.Plain(k.Name), place, k.Fingerprint[:])
		if k.State == "waits" {
			fmt.Fprintln(w, "  certificate  none yet")
			continue
		}
		fmt.Fprintf(w, "  certificate  %d, from %s, %s\n", k.Number, k.From, untilWords(k.Until))
		for _, r := range k.Revoked {
			fmt.Fprintf(w, "  revokes      %x\n", r.Key[:])
		}
		for _, line := range backoffice.LimitWords(&k.Limits) {
			fmt.Fprintf(w, "  limit        %s\n", terminal.Plain(line))
		}
	}
	if len(list) == 0 {
		fmt.Fprintln(w, "no signing key")
	}
	if file != "" {
		fmt.Fprintf(w, "-> %s\n", terminal.Plain(file))
	}
	if next != "" {
		fmt.Fprintln(w, next)
	}
	return nil
}

func keyList(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "Show the signing keys", Args: cobra.NoArgs,
		Long: "List shows each signing key: whether it signs, is ready, begins later, has ended, is revoked or waits for its certificate. The fingerprint is what the root's people compare.",
		RunE: func(c *cobra.Command, _ []string) error {
			return f.keys(func(o *backoffice.Office, _ backoffice.Unlock) error { return f.printKeys(c, o, "", "") })
		},
	}
}

func keyRequest(f *flags) *cobra.Command {
	var ask backoffice.KeyAsk
	var from, until, out string
	c := &cobra.Command{
		Use: "request -o FILE", Short: "Ask the root for a certificate", Args: cobra.NoArgs,
		Long: "Request makes a new signing key, which waits, and writes the request for its certificate. With the name of a key that waits already it writes that one's request again. " +
			"--again asks for another certificate of the key that signs now: with other limits, or one that revokes other keys.",
		Example: "  freehold key request --name producer-2027-A --from 2027-01-01 -o request.lhk",
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if ask.From, err = date("from", from, false); err != nil {
				return err
			}
			if ask.Until, err = date("until", until, true); err != nil {
				return err
			}
			return f.keys(func(o *backoffice.Office, u backoffice.Unlock) error {
				b, err := o.RequestKey(u, ask, now())
				if err != nil {
					return err
				}
				if err := writeNew(out, b); err != nil {
					return err
				}
				return f.printKeys(c, o, out, "next: take it to the root: freehold ceremony certify "+terminal.Plain(out)+" --expect FINGERPRINT -o certified.lhk")
			})
		},
	}
	c.Flags().StringVar(&ask.Name, "name", "", "`name` of the new key, as producer-2027-A")
	c.Flags().StringVar(&from, "from", "", "`date` from which it shall sign, as 2027-01-01; at once if absent")
	c.Flags().StringVar(&until, "until", "", "`date` after which it signs no more")
	c.Flags().BoolVar(&ask.Again, "again", false, "of the key that signs now, instead of a new one")
	c.Flags().BoolVar(&ask.InToken, "in-token", false, "the Ed25519 half of the new key is that of --token")
	c.Flags().StringVarP(&out, "output", "o", "", "`file` for the request")
	c.MarkFlagsMutuallyExclusive("name", "again")
	c.MarkFlagsOneRequired("name", "again")
	if err := c.MarkFlagRequired("output"); err != nil {
		panic(err)
	}
	return c
}

func keyInstall(f *flags) *cobra.Command {
	return &cobra.Command{
		Use: "install FILE", Short: "Take a certificate from the root", Args: cobra.ExactArgs(1),
		Long: "Install takes the certified key that came back from the root, if it is for a key of this back office and newer than every certificate before. The same file again changes nothing.",
		RunE: func(c *cobra.Command, args []string) error {
			file, err := readOurs(args[0])
			if err != nil {
				return err
			}
			return f.keys(func(o *backoffice.Office, u backoffice.Unlock) error {
				if _, err := o.InstallKey(u, file, operator(), now()); err != nil {
					return about(args[0], err)
				}
				return f.printKeys(c, o, "", "")
			})
		},
	}
}

// here asks for a certificate, has the root beside the back office sign it, and installs it. adapt may change the terms, or say why nothing is to be done.
func (f *flags) here(c *cobra.Command, ask backoffice.KeyAsk, t *termFlags, adapt func(*backoffice.Office, *backoffice.Terms) (done string, err error)) error {
	terms, err := t.terms()
	if err != nil {
		return err
	}
	if err := revokesInTime(&terms, terms.From, 0); err != nil {
		return err
	}
	if !backoffice.HasRoot(backoffice.Dir(f.dir)) {
		return terminal.Advised(capability.ErrKeyRequest, fmt.Errorf("the root is not kept in %s", f.dir),
			"take a request to it: freehold key request -o FILE, there freehold ceremony certify, and here freehold key install")
	}
	return f.keys(func(o *backoffice.Office, u backoffice.Unlock) error {
		pass := u.Passphrase
		if pass == nil { // signing.key opens without one
			if pass, err = f.passphrase.read(false); err != nil {
				return err
			}
		}
		if adapt != nil {
			done, err := adapt(o, &terms)
			if err != nil {
				return err
			}
			if done != "" {
				return f.printKeys(c, o, "", done)
			}
		}
		request, err := o.RequestKey(u, ask, now())
		if err != nil {
			return err
		}
		file, err := o.CertifyHere(pass, request, terms)
		if err != nil {
			return err
		}
		if _, err := o.InstallKey(u, file, operator(), now()); err != nil {
			return err
		}
		return f.printKeys(c, o, "", "")
	})
}

// known refuses a key to revoke that nobody has heard of: a slip of the hand would leave the one that is meant.
func known(o *backoffice.Office, key capability.Digest, unknown bool) error {
	if ours, _ := o.Revocation(key); !ours && !unknown {
		return terminal.Advised(capability.ErrKeyRequest, fmt.Errorf("%x is no signing key of this back office, here or on record", key[:]),
			"compare it with freehold key list; if it is another back office's, or one from before this record, add --unknown")
	}
	return nil
}

func keyRotate(f *flags) *cobra.Command {
	var ask backoffice.KeyAsk
	var t termFlags
	var noLimits bool
	c := &cobra.Command{
		Use: "rotate --name NAME", Short: "Replace the signing key, with the root here", Args: cobra.NoArgs,
		Long: "Rotate makes a new signing key, has keys/root.key certify it, and signs with it from its first second on. The key before stays good for what it signed, unless --revoke names it. " +
			"The new key is kept to the limits of the one before, unless limits are named, which take the place of all of those, or --no-limits.",
		Example: "  freehold key rotate --name producer-2027-A --from 2027-01-01",
		RunE: func(c *cobra.Command, _ []string) error {
			return f.here(c, ask, &t, func(o *backoffice.Office, terms *backoffice.Terms) (string, error) {
				if !noLimits && !limitsNamed(c) {
					terms.Limits = o.LastLimits(now())
				}
				for _, r := range terms.Revoke {
					if err := known(o, r.Key, t.unknown); err != nil {
						return "", err
					}
				}
				return "", nil
			})
		},
	}
	c.Flags().StringVar(&ask.Name, "name", "", "`name` of the new key")
	c.Flags().BoolVar(&ask.InToken, "in-token", false, "the Ed25519 half of the new key is that of --token")
	c.Flags().BoolVar(&noLimits, "no-limits", false, "without limits, whatever those of the key before are")
	t.add(c)
	for _, name := range limitFlags() {
		c.MarkFlagsMutuallyExclusive("no-limits", name)
	}
	if err := c.MarkFlagRequired("name"); err != nil {
		panic(err)
	}
	return c
}

func keyRevoke(f *flags) *cobra.Command {
	var t termFlags
	var since string
	var unknown bool
	c := &cobra.Command{
		Use: "revoke FINGERPRINT", Short: "Revoke a signing key, with the root here", Args: cobra.ExactArgs(1),
		Long: "Revoke has keys/root.key certify the key that signs now once more, by a certificate that revokes another. Every response from then on carries it. The key that signs now is revoked by its successor: freehold key rotate --revoke.\n\n" +
			"A machine that asks again for a response that a revoked key signed is refused and writes a new request. What such a response gave before stays until the next one. A key that is revoked already changes nothing.",
		RunE: func(c *cobra.Command, args []string) error {
			at, err := date("since", since, false)
			if err != nil {
				return err
			}
			key, err := backoffice.ParseRevoked(args[0], at)
			if err != nil {
				return terminal.Usage("%w", err)
			}
			return f.here(c, backoffice.KeyAsk{Again: true}, &t, func(o *backoffice.Office, terms *backoffice.Terms) (string, error) {
				if _, revoked := o.Revocation(key.Key); revoked {
					return fmt.Sprintf("%x is revoked already: nothing was changed", key.Key[:]), nil
				}
				if err := known(o, key.Key, unknown); err != nil {
					return "", err
				}
				l, err := o.Limits(now())
				terms.Limits, terms.Revoke = l.Limits, append(terms.Revoke, key) // the limits stay as they are
				return "", err
			})
		},
	}
	c.Flags().StringVar(&since, "since", "", "`date` from when on others may have had it, for the record")
	c.Flags().BoolVar(&unknown, "unknown", false, "revoke also a key that this back office has not heard of")
	return c
}

func keyLimits(f *flags) *cobra.Command {
	var t termFlags
	c := &cobra.Command{
		Use: "limits", Short: "Show what the signing key may sign, or set it with the root here", Args: cobra.NoArgs,
		Long: "Limits shows what the root lets the signing key sign, and what was signed lately. With limits named it has keys/root.key certify the key again within those, instead of the ones before.\n\n" +
			"They are signed by the root, and the book counts: an operator changes neither. A limit of a product binds its name: what features and counts a copy of it is worth is said when it is entitled, so that copies of much are limited by a rate and by products of their own. Seats that are used online are kept to the products; the numbers are of answers to request files. Whoever owns the machine of the back office is not held by them; a token that counts by itself, and revocation, are for that.",
		RunE: func(c *cobra.Command, _ []string) error {
			if limitsNamed(c) {
				return f.here(c, backoffice.KeyAsk{Again: true}, &t, nil)
			}
			return f.keys(func(o *backoffice.Office, _ backoffice.Unlock) error {
				l, err := o.Limits(now())
				if err != nil {
					return err
				}
				w := c.OutOrStdout()
				if f.json {
					return printJSON(w, limitsData{terminal.NewData("freehold.limits/1"), l})
				}
				fmt.Fprintf(w, "key     %s\n", terminal.Plain(l.Name))
				for _, line := range backoffice.LimitWords(&l.Limits) {
					fmt.Fprintf(w, "limit   %s\n", terminal.Plain(line))
				}
				if l.Limits.None() {
					fmt.Fprintln(w, "limit   none")
				}
				fmt.Fprintf(w, "signed  %s in this hour, %d in a day\n", capability.Counted(l.Signed.Hour, "response"), l.Signed.Day)
				table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				for _, product := range sortedKeys(l.Signed.Products) {
					fmt.Fprintf(table, "given\t%s\t%s in a day\n", terminal.Plain(product), capability.Counted(l.Signed.Products[product], "copy"))
				}
				if l.Limited != nil {
					fmt.Fprintf(table, "refused\t%s\t%s: %s\n", l.Limited.Time, l.Limited.Host.Short(), terminal.Plain(l.Limited.Detail))
				}
				return table.Flush()
			})
		},
	}
	t.addLimits(c)
	return c
}

func sortedKeys(m map[string]uint64) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

func keySeal(f *flags) *cobra.Command {
	var to, spare string
	c := &cobra.Command{
		Use: "seal --to tpm|passphrase", Short: "Seal the signing keys to this machine's TPM, or with a passphrase again", Args: cobra.NoArgs,
		Long: "Sealed to the TPM, keys/signing.key opens on this machine only, at every start, and nobody types anything. A TPM that is lost takes the signing keys with it, which are replaced: freehold key restore, then key request. " +
			"It would take the book with it as well, so the keys of the book and of the boot states go into --spare, sealed with the passphrase: keep it off this machine.\n\n" +
			"--to passphrase seals with the passphrase that is given.",
		Example: "  freehold key seal --to tpm --spare /media/safe/spare.key",
		RunE: func(c *cobra.Command, _ []string) error {
			if to != "tpm" && to != "passphrase" || to == "tpm" && spare == "" {
				return terminal.Usage("--to %q: want tpm, with --spare, or passphrase", to)
			}
			return f.keys(func(o *backoffice.Office, u backoffice.Unlock) error {
				var err error
				pass := u.Passphrase
				if pass == nil {
					if pass, err = f.passphrase.read(true); err != nil {
						return err
					}
				}
				if spare != "" {
					if err := f.writeSpare(o, spare, pass); err != nil {
						return err
					}
				}
				if u.TPM = nil; to == "tpm" {
					u.TPM = chip(f.tpm)
				}
				u.Passphrase = pass
				if err := o.SealKeys(u); err != nil {
					return err
				}
				return f.printKeys(c, o, spare, "")
			})
		},
	}
	c.Flags().StringVar(&to, "to", "", "`what` opens them: tpm or passphrase")
	c.Flags().StringVar(&spare, "spare", "", "`file` for what cannot be had again, sealed with the passphrase")
	return c
}

// writeSpare writes a spare for its owner only. One of this book that is there and opens is as good: what came after it did not work.
func (f *flags) writeSpare(o *backoffice.Office, name string, pass []byte) error {
	if _, err := os.Lstat(name); err == nil {
		b, err := readBounded(name)
		if err != nil {
			return err
		}
		if err := o.CheckSpare(b, pass); err != nil {
			return terminal.Advised(capability.ErrFileRead, fmt.Errorf("%s is there, and no spare of this book under this passphrase: %v", name, err), "name another file with --spare")
		}
		return nil
	}
	b, err := o.Spare(pass, f.cost)
	if err != nil {
		return err
	}
	return writeMode(name, b, 0o600)
}

func keyRestore(f *flags) *cobra.Command {
	var to string
	c := &cobra.Command{
		Use: "restore SPARE", Short: "Open the book again after the TPM was lost", Args: cobra.ExactArgs(1),
		Long: "Restore makes keys/signing.key anew from a spare, with no signing key in it: request one next, and have the root revoke those that are lost. It opens the book before it writes anything, and refuses where keys/signing.key still opens. One that does not is kept beside it as signing.key.old.",
		RunE: func(c *cobra.Command, args []string) error {
			b, err := readBounded(args[0])
			if err != nil {
				return err
			}
			pass, err := f.passphrase.read(false)
			if err != nil {
				return err
			}
			u := backoffice.Unlock{Passphrase: pass}
			if to == "tpm" {
				u.TPM = chip(f.tpm)
			} else if to != "passphrase" {
				return terminal.Usage("--to %q: want tpm or passphrase", to)
			}
			there := backoffice.Unlock{Passphrase: pass, TPM: chip(f.tpm)}
			if err := backoffice.RestoreSpare(backoffice.Dir(f.dir), b, pass, there, u, f.cost, rand.Reader); err != nil {
				return f.coded(err)
			}
			if f.json {
				return printJSON(c.OutOrStdout(), keyData{terminal.NewData("freehold.key/1"), []backoffice.KeyView{}, ""})
			}
			fmt.Fprintln(c.OutOrStdout(), "next: freehold key request --name NAME -o request.lhk")
			return nil
		},
	}
	c.Flags().StringVar(&to, "to", "passphrase", "`what` opens the new file: passphrase or tpm")
	return c
}
