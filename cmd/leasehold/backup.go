package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/appliance/courier"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
	"github.com/leasehold/leasehold/storage"
)

func (p *program) backupCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "backup -o DIR", Short: "Copy the configuration and the audit trail, encrypted", Args: cobra.NoArgs,
		Long:    "Writes the appliance's archive into DIR, which must hold no other backup: each has a directory of its own. It is encrypted: this machine's TPM opens it, and the recovery key. It holds no right, so it brings none back.",
		Example: "  leasehold backup -o /media/usb/$(date +%F)",
		RunE:    func(c *cobra.Command, _ []string) error { return p.backup(c.Context(), dir) },
	}
	c.Flags().StringVarP(&dir, "output", "o", "", "`directory` for the copy, which is made if need be")
	if err := c.MarkFlagRequired("output"); err != nil {
		panic(err)
	}
	return c
}

// backedUp is leasehold.backup/1.
type backedUp struct {
	terminal.Data
	Directory string `json:"directory"`
	Files     int    `json:"files"`
	Bytes     int    `json:"bytes"`
}

// backup writes the key last: a directory without it is no archive, so what was cut off is not taken for a backup.
func (p *program) backup(ctx context.Context, dir string) (err error) {
	if err := courier.MakeDirectory(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return terminal.Coded(capability.ErrFileRead, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return terminal.Coded(capability.ErrFileRead, err)
	}
	defer root.Close()
	if err := noArchive(dir); err != nil {
		return err
	}
	done := backedUp{Data: terminal.NewData("leasehold.backup/1"), Directory: dir}
	var written []string
	defer func() {
		if err != nil {
			for _, name := range written {
				root.Remove(name)
			}
		}
	}()
	write := func(name string, b []byte) error {
		written = append(written, name)
		done.Files, done.Bytes = done.Files+1, done.Bytes+len(b)
		if err := writeNew(root, name, b); err != nil {
			return terminal.Coded(capability.ErrFileRead, err)
		}
		return nil
	}
	var key []byte
	if err := p.stream(ctx, "backup", func(r io.Reader) error {
		for d := json.NewDecoder(r); ; {
			var f console.ArchiveFile
			switch err := d.Decode(&f); {
			case errors.Is(err, io.EOF) && len(key) > 0:
				return nil
			case err != nil:
				return terminal.Coded(capability.ErrNoDaemon, fmt.Errorf("the backup broke off after %s: %w", capability.Counted(done.Files, "file"), err))
			case !archived(f.Name):
				return terminal.Coded(capability.ErrInternal, fmt.Errorf("the daemon has a file %q in its archive", f.Name))
			case f.Name == archiveKey:
				key = f.Bytes
			default:
				if err := write(f.Name, f.Bytes); err != nil {
					return err
				}
			}
		}
	}); err != nil {
		return err
	}
	if err := write(archiveKey, key); err != nil {
		return err
	}
	if err := courier.SyncDirectory(dir); err != nil {
		return terminal.Coded(capability.ErrFileRead, err)
	}
	if p.json {
		return terminal.JSON(p.out, done)
	}
	p.printf("%s, %d bytes in %s\n", capability.Counted(done.Files, "file"), done.Bytes, dir)
	return nil
}

const archiveKey = "key"

// archived says whether an archive has files of that name.
func archived(name string) bool {
	return name == archiveKey || name == "note" || strings.HasPrefix(name, "part-")
}

// noArchive refuses a directory with files of an archive: beside those of another, or of an earlier time, neither could be read.
func noArchive(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return terminal.Coded(capability.ErrFileRead, err)
	}
	for _, e := range entries {
		if archived(e.Name()) {
			return terminal.Advised(capability.ErrFileRead, fmt.Errorf("%s holds a backup already, or a part of one: there is a file %s; nothing was changed", dir, e.Name()), "leasehold backup -o DIR, into a directory of its own")
		}
	}
	return nil
}

func writeNew(root *os.Root, name string, b []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (p *program) restoreCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restore DIR", Short: "Bring the configuration of a backup back", Args: cobra.ExactArgs(1),
		Long: "Takes the configuration out of a backup of this machine: its TPM opens it, and no other does. Rights do not come from a backup; they come back by a repair. To read a backup of another machine: leasehold recover.",
		RunE: func(c *cobra.Command, args []string) error {
			form := console.RestoreForm{}
			for _, f := range []struct {
				name string
				to   *[]byte
			}{{"key", &form.Key}, {"note", &form.Note}} {
				b, err := os.ReadFile(filepath.Join(args[0], f.name))
				if errors.Is(err, fs.ErrNotExist) {
					return capability.Refuse(capability.ErrNoArchive, args[0], "it has no file called %s", f.name)
				} else if err != nil {
					return terminal.Coded(capability.ErrFileRead, err)
				}
				*f.to = b
			}
			var out console.Configured
			if err := p.call(c.Context(), http.MethodPost, "restore", form, &out); err != nil {
				return err
			}
			return p.configured(&out)
		},
	}
}

func (p *program) recoverCommand() *cobra.Command {
	var dir, keyFile string
	c := &cobra.Command{
		Use: "recover ARCHIVE -o DIR", Short: "Open an archive with the recovery key", Args: cobra.ExactArgs(1),
		Long: "Reads an appliance's archive (the folder archive of its state directory, or a backup) with the recovery key, and writes configuration.json and audit.cbor into DIR. It needs neither the appliance nor its TPM. " +
			"The key is asked for on the terminal, or read from --key-file; it is never an argument, which every user of a machine can see.",
		RunE: func(c *cobra.Command, args []string) error { return p.recover(args[0], dir, keyFile) },
	}
	c.Flags().StringVarP(&dir, "output", "o", "", "`directory` for what is found, which is made if need be")
	c.Flags().StringVar(&keyFile, "key-file", "", "`file` with the recovery key; - is standard input")
	if err := c.MarkFlagRequired("output"); err != nil {
		panic(err)
	}
	return c
}

// recovered is leasehold.recover/1.
type recovered struct {
	terminal.Data
	Configuration string `json:"configuration"` // path
	Audit         string `json:"audit"`         // path
	First         uint64 `json:"first"`         // entry of the audit trail
	Last          uint64 `json:"last"`
}

func (p *program) recover(from, to, keyFile string) error {
	disk := storage.Dir(from)
	b, err := storage.ArchiveKey(disk)
	if err != nil {
		return terminal.Coded(capability.ErrNoArchive, fmt.Errorf("%s: %w", from, err))
	}
	var file struct {
		TPM      []byte            `cbor:"1,keyasint,omitempty"`
		Recovery []byte            `cbor:"2,keyasint,omitempty"`
		Number   uint32            `cbor:"3,keyasint,omitzero"`
		Life     capability.LifeID `cbor:"4,keyasint,omitzero"`
	}
	if err := wire.New().Decode(b, &file, capability.MaxSigned); err != nil {
		return terminal.Coded(capability.ErrNoArchive, fmt.Errorf("%s: %w", filepath.Join(from, "key"), err))
	}
	name := keyName(file.Life.Short(), file.Number)
	key, err := p.readRecoveryKey(keyFile, name)
	if err != nil {
		return err
	}
	secret, err := storage.Unwrap(string(key), file.Recovery)
	if err != nil {
		return capability.Refuse(capability.ErrRecovery, "", "this archive is opened by recovery key %s", name)
	}
	a, err := storage.OpenArchive(disk, secret, nil)
	if err != nil {
		return terminal.Coded(capability.ErrCorrupt, err)
	}
	if err := courier.MakeDirectory(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return terminal.Coded(capability.ErrFileRead, err)
	}
	note, err := a.Note()
	if err != nil {
		return terminal.Coded(capability.ErrCorrupt, err)
	}
	var conf ledger.Configuration
	if len(note) > 0 {
		if err := wire.New().Decode(note, &conf, storage.MaxNoteBytes); err != nil {
			return terminal.Coded(capability.ErrCorrupt, err)
		}
	}
	if err := p.put(filepath.Join(to, "configuration.json"), func(w io.Writer) error { return terminal.JSON(w, console.ConfigurationOf(conf)) }); err != nil {
		return err
	}
	var trail ledger.Trail
	if err := p.put(filepath.Join(to, "audit.cbor"), func(w io.Writer) error {
		return a.Read(0, func(_ uint64, entry []byte) error {
			if _, err := trail.Add(entry); err != nil {
				return terminal.Coded(capability.ErrAuditForm, err)
			}
			_, err := w.Write(entry)
			return err
		})
	}); err != nil {
		return err
	}
	if p.json {
		return terminal.JSON(p.out, recovered{terminal.NewData("leasehold.recover/1"), filepath.Join(to, "configuration.json"), filepath.Join(to, "audit.cbor"), trail.First, trail.Position})
	}
	p.printf("configuration.json and audit.cbor, entries %d to %d, are in %s\n", trail.First, trail.Position, to)
	return nil
}

// readRecoveryKey takes the key from a file, or asks for it.
func (p *program) readRecoveryKey(name, wanted string) (capability.RecoveryKey, error) {
	var text []byte
	var err error
	in, isFile := p.stdin.(*os.File)
	switch {
	case name == "-":
		text, err = io.ReadAll(io.LimitReader(p.stdin, 1<<10))
	case name != "":
		text, err = os.ReadFile(name)
	case isFile && term.IsTerminal(int(in.Fd())):
		p.say("Recovery key %s: ", wanted)
		text, err = terminal.ReadSecret(int(in.Fd()))
		p.say("\n")
	default:
		return "", terminal.Usage("no recovery key: name a file that holds it with --key-file")
	}
	if err != nil {
		return "", terminal.Coded(capability.ErrFileRead, err)
	}
	key, err := capability.ParseRecoveryKey(string(text))
	if err != nil {
		return "", terminal.Coded(capability.ErrRecovery, err)
	}
	return key, nil
}
