package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/appliance/courier"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

func (p *program) recoveryCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "recovery", Short: "Say who has the recovery key", Args: cobra.NoArgs,
		Long: "The recovery key opens the appliance's archive, which is its configuration and its audit trail, where its TPM does not open it any more. It never opens rights: those come back by a repair. " +
			"It is shown once, to be written on paper and kept in a safe.",
		RunE: func(c *cobra.Command, _ []string) error {
			var r console.Recovery
			if err := p.call(c.Context(), http.MethodGet, "recovery", nil, &r); err != nil {
				return err
			}
			if p.json {
				return terminal.JSON(p.out, terminal.Hexed(struct {
					terminal.Data
					console.Recovery
				}{terminal.NewData("leasehold.recovery/1"), r}))
			}
			if r.Taken == 0 {
				p.printf("recovery key %s was never shown\n# next: leasehold recovery show\n", keyName(r.Storage, r.Number))
				return nil
			}
			p.printf("recovery key %s was shown %s to %s\n", keyName(r.Storage, r.Number), r.Taken, terminal.Plain(r.By))
			return nil
		},
	}
	var anew bool
	show := &cobra.Command{
		Use: "show [--new]", Short: "Show the recovery key, once", Args: cobra.NoArgs,
		Long: "Prints the recovery key and nothing else on standard output. It is shown once; that it was, and to whom, is in the audit trail. With --new there is another key from then on: the archive here and every later backup open with that one alone. The key before still opens the backups that were made before; " +
			"whoever has it and one of those can work out what encrypts the later ones too, so destroy it, or destroy them.",
		RunE: func(c *cobra.Command, _ []string) error {
			var r console.RecoveryKey
			if err := p.call(c.Context(), http.MethodPost, "recovery", console.RecoveryForm{New: anew}, &r); err != nil {
				return err
			}
			if p.json {
				if err := terminal.JSON(p.out, terminal.Hexed(struct {
					terminal.Data
					console.RecoveryKey
				}{terminal.NewData("leasehold.recovery-key/1"), r})); err != nil {
					return notShown(err)
				}
				return nil
			}
			p.printf("%s\n", r.Key)
			if err := p.out.Err(); err != nil {
				return notShown(err)
			}
			p.say("It is recovery key %s. Write both on paper, and keep it away from this machine. It is not shown again.\n", keyName(r.Storage, r.Number))
			return nil
		},
	}
	show.Flags().BoolVar(&anew, "new", false, "make another key; the one before opens only backups that were made before")
	c.AddCommand(show)
	return c
}

// notShown is about a key that counts as shown and was not.
func notShown(err error) error {
	return terminal.Advised(capability.ErrFileRead, fmt.Errorf("the recovery key was written nowhere: %w", err), "leasehold recovery show --new, where it can be read or written")
}

// keyName names a recovery key: each trusted storage has its own, numbered from 0.
func keyName(storage string, number uint32) string {
	return fmt.Sprintf("%d of storage %s", number, storage)
}

func (p *program) auditCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Export and verify the audit trail",
		Long: "The audit trail is the ledger itself: every entry names the hash of the one before, and every request to the back office names the last.",
		Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	var out string
	var asCSV bool
	var from uint64
	export := &cobra.Command{
		Use: "export -o FILE [--csv] [--from N]", Short: "Write the audit trail into a file", Args: cobra.NoArgs,
		Long: "Writes the entries as a CBOR sequence (RFC 8742), which verify reads, or with --csv as a table for people. FILE must not be there yet; - is standard output.",
		RunE: func(c *cobra.Command, _ []string) error {
			return p.put(out, func(w io.Writer) error {
				return p.stream(c.Context(), "audit?from="+strconv.FormatUint(from, 10), func(r io.Reader) error {
					if !asCSV {
						_, err := io.Copy(w, r)
						return err
					}
					return table(r, w)
				})
			})
		},
	}
	export.Flags().StringVarP(&out, "output", "o", "", "`file` to write")
	export.Flags().BoolVar(&asCSV, "csv", false, "as a table with a heading")
	export.Flags().Uint64Var(&from, "from", 1, "number of the first `entry`")
	if err := export.MarkFlagRequired("output"); err != nil {
		panic(err)
	}
	var request []string
	verify := &cobra.Command{
		Use: "verify FILE [--request REQUEST]...", Short: "Say whether an audit trail holds", Args: cobra.ExactArgs(1),
		Long: "Follows the hashes from the first entry to the last. With requests of the same appliance, which name the end of the trail at their time, it says whether the file agrees with each. It needs no daemon.",
		RunE: func(c *cobra.Command, args []string) error { return p.verify(args[0], request) },
	}
	verify.Flags().StringArrayVar(&request, "request", nil, "`file` with a request of the same appliance")
	c.AddCommand(export, verify)
	return c
}

// put writes a new file that is durable when it returns, or standard output; a file that was not finished is removed.
func (p *program) put(name string, f func(io.Writer) error) error {
	if name == "-" {
		return f(p.out)
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return terminal.Coded(capability.ErrFileRead, err)
	}
	w := bufio.NewWriter(file)
	if err = f(w); err == nil {
		err = errors.Join(w.Flush(), file.Sync())
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = courier.SyncDirectory(filepath.Dir(name))
	}
	if err != nil {
		os.Remove(name)
	}
	return err
}

// entries reads a CBOR sequence of entries, item by item.
func entries(r io.Reader, f func(item []byte) error) error {
	codec, in := wire.New(), bufio.NewReaderSize(r, 2*ledger.MaxEntry)
	for {
		b, err := in.Peek(2 * ledger.MaxEntry)
		if len(b) == 0 && errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		item, _, err := codec.Cut(b)
		if err == nil {
			err = f(item)
		}
		if err != nil {
			return err
		}
		if _, err := in.Discard(len(item)); err != nil {
			return err
		}
	}
}

func table(r io.Reader, out io.Writer) error {
	w := csv.NewWriter(out)
	if err := w.Write([]string{"entry", "time", "fact", "subject", "by"}); err != nil {
		return err
	}
	var trail ledger.Trail
	if err := entries(r, func(item []byte) error {
		e, err := trail.Add(item)
		if err != nil {
			return terminal.Coded(capability.ErrAuditForm, err)
		}
		kind, subject, by := e.Words()
		// A spreadsheet takes what begins with these for a formula.
		for _, s := range []*string{&subject, &by} {
			if *s = terminal.Plain(*s); *s != "" && bytes.ContainsRune([]byte("=+-@"), rune((*s)[0])) {
				*s = "'" + *s
			}
		}
		return w.Write([]string{strconv.FormatUint(e.Position, 10), e.Now.Wall.String(), kind, subject, by})
	}); err != nil {
		return err
	}
	w.Flush()
	return w.Error()
}

func (p *program) verify(name string, requests []string) error {
	file, err := os.Open(name)
	if err != nil {
		return terminal.Coded(capability.ErrFileRead, err)
	}
	defer file.Close()
	said := map[uint64]capability.Head{}
	for _, name := range requests {
		b, err := courier.ReadFile(name)
		if err != nil {
			return terminal.Coded(courier.Code(err), err)
		}
		s, err := wire.New().ReadRequest(b)
		if err != nil {
			return terminal.Coded(wire.Code(err), fmt.Errorf("%s: %w", name, err))
		}
		if h, twice := said[s.Request.Head.Position]; twice && h != s.Request.Head {
			return capability.Refuse(capability.ErrAuditForm, name, "two requests name entry %d with different hashes", h.Position)
		}
		said[s.Request.Head.Position] = s.Request.Head
	}
	agree, anchored := 0, uint64(0)
	var trail ledger.Trail
	if err := entries(file, func(item []byte) error {
		_, err := trail.Add(item)
		if h, ok := said[trail.Position]; err == nil && ok {
			agree, anchored = agree+1, trail.Position
			if h.Hash != trail.Head {
				err = fmt.Errorf("a request says that entry %d is %x, and here it is %x", h.Position, h.Hash[:8], trail.Head[:8])
			}
		}
		return err
	}); err != nil {
		return capability.Refuse(capability.ErrAuditForm, filepath.Base(name), "%v", err)
	}
	if trail.First == 0 {
		return capability.Refuse(capability.ErrAuditForm, filepath.Base(name), "it holds no entry")
	}
	for at := range said {
		if at > trail.Position || at < trail.First {
			return capability.Refuse(capability.ErrAuditForm, filepath.Base(name), "a request names entry %d, and the file has %d to %d", at, trail.First, trail.Position)
		}
	}
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			First    uint64            `json:"first"`
			Last     uint64            `json:"last"`
			Head     capability.Digest `json:"head"`
			Requests int               `json:"requests"`
			Anchored uint64            `json:"anchored"` // the last entry that a request names
		}{terminal.NewData("leasehold.audit/1"), trail.First, trail.Position, trail.Head, agree, anchored}))
	}
	p.printf("GOOD  entries %d to %d name each other, none is missing between; head %x\n", trail.First, trail.Position, trail.Head)
	if trail.First > 1 {
		p.printf("it begins at entry %d: what came before is not in this file\n", trail.First)
	}
	if len(requests) > 0 {
		p.printf("agrees with %s\n", capability.Counted(len(requests), "request"))
	}
	if anchored < trail.Position {
		p.printf("entries %d to %d are vouched for by nothing outside this file: name a later request with --request\n", max(anchored+1, trail.First), trail.Position)
	}
	return nil
}

func (p *program) configurationCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "configuration", Short: "Export and import what administrators have set",
		Long: "The configuration is the model or the reservations, and the settings. It holds no right and no secret, and may be put on another appliance.",
		Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use: "export", Short: "Print the configuration as JSON", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var conf console.Configuration
			if err := p.call(c.Context(), http.MethodGet, "configuration", nil, &conf); err != nil {
				return err
			}
			return terminal.JSON(p.out, conf)
		},
	}, &cobra.Command{
		Use: "import FILE", Short: "Make this the configuration", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := os.ReadFile(args[0])
			if err != nil {
				return terminal.Coded(capability.ErrFileRead, err)
			}
			var out console.Configured
			if err := p.call(c.Context(), http.MethodPut, "configuration", json.RawMessage(b), &out); err != nil {
				return err
			}
			return p.configured(&out)
		},
	})
	return c
}

func (p *program) configured(out *console.Configured) error {
	if p.json {
		return terminal.JSON(p.out, terminal.Hexed(struct {
			terminal.Data
			console.Configured
		}{terminal.NewData("leasehold.configured/1"), *out}))
	}
	for _, name := range out.Changed {
		p.printf("restored  %s\n", terminal.Plain(name))
	}
	for _, d := range out.Refused {
		p.printf("refused   %s %s\n", d.Code, terminal.Plain(d.Sentence()))
	}
	if len(out.Changed)+len(out.Refused) == 0 {
		p.printf("nothing changed\n")
	}
	return nil
}
