package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/image"
)

// updateData is freehold.update/1.
type updateData struct {
	terminal.Data
	Version  string            `json:"version"`
	Security uint32            `json:"security"`
	RootHash capability.Digest `json:"rootHash"`
	States   int               `json:"states"` // boot states that were signed ahead
	File     string            `json:"file"`
}

func updateCommand(f *flags) *cobra.Command {
	var dir string
	var of backoffice.Machines
	var requests []string
	c := &cobra.Command{
		Use: "update IMAGE -o DIR", Short: "Sign an update of the appliance's image, and put it on a stick",
		Long: "Update takes an image that make image has built, named by what its files begin with, and writes it into the folder LEASEHOLD/UPDATE below DIR: three files, and UPDATE.LHU, in which both signatures of the producer stand for them. " +
			"Release, security version and root hash are read from the image itself.\n\n" +
			"Trusted storage opens in signed boot states only. So the state that each machine will be in is signed ahead: for the firmware of every machine on record, of every boot state that is allowed, and of the requests that --for names. " +
			"A machine whose firmware is not among them refuses the update. One update is signed for about 300 firmwares; where there are more, sign it several times, each time for the machines of --for alone: --only.\n\n" +
			"What was signed is in the book: freehold audit --what update.\n\n" +
			"Once an image of a security version has proved itself on a machine that is activated, no image with a lower one opens its trusted storage, and none is taken as an update. A repair begins anew: the image that runs then is the lowest.",
		Example: "  freehold update dist/leasehold_2026.2 -o /media/stick\n  freehold update dist/leasehold_2026.2 -o /media/stick --for REQ-0003.LHQ\n  freehold audit --what update",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, err := findBuilt(args[0])
			if err != nil {
				return err
			}
			o, err := f.open()
			if err != nil {
				return err
			}
			defer o.Close()
			if of.Only && len(requests) == 0 {
				return terminal.Usage("--only needs the machines that it is signed for: --for REQUEST")
			}
			for _, name := range requests {
				state, err := f.quoted(o, name)
				if err != nil {
					return err
				}
				of.States = append(of.States, state)
			}
			dir = filepath.Join(dir, filepath.FromSlash(wire.UpdateFolder))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return terminal.Coded(capability.ErrFileRead, err)
			}
			// What is signed is what was written: the signature comes last, and that of the release before, which the parts are not any more, goes first.
			path := filepath.Join(dir, wire.UpdateFile)
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return terminal.Coded(capability.ErrFileRead, err)
			}
			for _, p := range b.parts() {
				if err := p.copy(dir); err != nil {
					return terminal.Coded(capability.ErrFileRead, err)
				}
			}
			file, err := o.SignUpdate(&b.update, b.pcr11, of, operator(), now())
			if err != nil {
				return f.coded(err)
			}
			if err := writeWhole(path, file); err != nil {
				return err
			}
			u := &b.update
			if f.json {
				return printJSON(c.OutOrStdout(), updateData{terminal.NewData("freehold.update/1"), u.Version, u.Security, u.RootHash, len(u.Boot.States), path})
			}
			fmt.Fprintf(c.OutOrStdout(), "%s  release %s, security version %d, %s signed ahead\n", terminal.Plain(path), u.Version, u.Security, capability.Counted(len(u.Boot.States), "boot state"))
			return nil
		},
	}
	c.Flags().StringVarP(&dir, "output", "o", "", "`directory` to write to, as that of a stick")
	c.Flags().StringArrayVar(&requests, "for", nil, "sign ahead for the machine of the request in `file` too; may be repeated")
	c.Flags().BoolVar(&of.Only, "only", false, "sign ahead for the machines of --for alone")
	if err := c.MarkFlagRequired("output"); err != nil {
		panic(err)
	}
	return c
}

// built is an image that was built, and what an update says of it.
type built struct {
	kernel, root, verity string // files
	update               wire.Update
	pcr11                [sha256.Size]byte
}

// findBuilt finds the files of an image by what their names begin with, and reads what it says of itself.
func findBuilt(prefix string) (*built, error) {
	b := &built{kernel: prefix + ".efi"}
	f, err := os.Open(b.kernel)
	if err != nil {
		return nil, terminal.Coded(capability.ErrFileRead, err)
	}
	defer f.Close()
	unfit := func(err error) error {
		return terminal.Coded(capability.ErrFileForm, fmt.Errorf("%s: %w", b.kernel, err))
	}
	release, err := image.Section(f, ".osrel")
	if err != nil {
		return nil, unfit(err)
	}
	line, err := image.Section(f, ".cmdline")
	if err != nil {
		return nil, unfit(err)
	}
	if b.pcr11, err = image.PCR11(f, image.Ready()); err != nil {
		return nil, unfit(err)
	}
	u := &b.update
	if u.Version, u.Security, err = image.Release(release); err != nil {
		return nil, unfit(err)
	} else if u.Security == 0 {
		return nil, unfit(errors.New("it says no security version"))
	}
	for word := range strings.FieldsSeq(strings.TrimRight(string(line), "\x00")) {
		if v, ok := strings.CutPrefix(word, "roothash="); ok {
			hash, err := hex.DecodeString(v)
			if err != nil || len(hash) != sha256.Size {
				return nil, unfit(fmt.Errorf("a root hash of %d digits", len(v)))
			}
			u.RootHash = capability.Digest(hash)
		}
	}
	root, verity := u.Partitions()
	b.root, b.verity = prefix+"_"+root+".root", prefix+"_"+verity+".verity"
	return b, nil
}

// part is one of the files of an update: where it is, its name on a stick, and what an update says of it.
type part struct {
	from, name string
	said       *wire.UpdatePart
}

func (b *built) parts() []part {
	return []part{{b.root, wire.UpdateRoot, &b.update.Root}, {b.verity, wire.UpdateVerity, &b.update.Verity}, {b.kernel, wire.UpdateKernel, &b.update.Kernel}}
}

// copy copies the file into a directory, durable before it returns, and says its size and digest as they were copied.
func (p *part) copy(dir string) (err error) {
	in, err := os.Open(p.from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(dir, p.name))
	if err != nil {
		return err
	}
	defer func() {
		if closed := out.Close(); err == nil {
			err = closed
		}
	}()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, h), in)
	if err != nil {
		return err
	}
	*p.said = wire.UpdatePart{Size: uint64(n), SHA256: capability.Digest(h.Sum(nil))}
	return out.Sync()
}
