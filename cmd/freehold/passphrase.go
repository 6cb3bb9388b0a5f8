package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// credential is the name of the systemd credential that may hold the passphrase.
const credential = "freehold.passphrase"

// maxPassphrase is more than anyone types.
const maxPassphrase = 1024

type passphraseFlags struct {
	file string
	fd   int
}

// read takes the passphrase from the first place that has it: the flag, systemd's credential, the terminal. It is never an argument, which all users of a machine can read.
func (p *passphraseFlags) read(twice bool) ([]byte, error) {
	switch {
	case p.file != "":
		f, err := os.Open(p.file)
		if err != nil {
			return nil, terminal.Coded(capability.ErrFileRead, err)
		}
		defer f.Close()
		return firstLine(f, p.file)
	case p.fd >= 0:
		f := os.NewFile(uintptr(p.fd), "passphrase")
		if f == nil {
			return nil, terminal.Usage("--passphrase-fd %d is no file descriptor", p.fd)
		}
		defer f.Close()
		return firstLine(f, fmt.Sprintf("file descriptor %d", p.fd))
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		f, err := os.Open(filepath.Join(dir, credential))
		if err == nil {
			defer f.Close()
			return firstLine(f, "the credential "+credential)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, terminal.Coded(capability.ErrFileRead, err)
		}
	}
	return p.ask(twice)
}

func (p *passphraseFlags) ask(twice bool) ([]byte, error) {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return nil, terminal.Usage("no passphrase: name one with --passphrase-file, --passphrase-fd or the systemd credential %s", credential)
	}
	pass, err := prompt(in, "Passphrase of the producer's keys: ")
	if err != nil || !twice {
		return pass, err
	}
	again, err := prompt(in, "The same again: ")
	if err == nil && !bytes.Equal(pass, again) {
		return nil, terminal.Usage("the two passphrases differ")
	}
	return pass, err
}

func prompt(fd int, words string) ([]byte, error) {
	fmt.Fprint(os.Stderr, words)
	pass, err := terminal.ReadSecret(fd)
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return nil, fmt.Errorf("read the passphrase: %w", err)
	}
	return pass, nil
}

func firstLine(r io.Reader, from string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPassphrase+2))
	if err != nil {
		return nil, terminal.Coded(capability.ErrFileRead, fmt.Errorf("read the passphrase from %s: %w", from, err))
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 || len(line) > maxPassphrase {
		return nil, terminal.Usage("the first line of %s has %d bytes where a passphrase has 1 to %d", from, len(line), maxPassphrase)
	}
	return line, nil
}
