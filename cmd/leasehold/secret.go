package main

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// password is where a password comes from: a file, a descriptor, or a person at a terminal. Never the command line, which others on the machine can read.
type password struct {
	name string // of the flags, before -file and -fd
	file string
	fd   int
}

func (w *password) flags(c *cobra.Command, name, whose string) {
	w.name = name
	c.Flags().StringVar(&w.file, name+"-file", "", "`file` with "+whose+"; without it, it is asked for")
	c.Flags().IntVar(&w.fd, name+"-fd", -1, "`number` of an open file with "+whose)
	c.MarkFlagsMutuallyExclusive(name+"-file", name+"-fd")
}

// given says that it comes from a flag.
func (w *password) given() bool { return w.file != "" || w.fd >= 0 }

// read takes it, or asks for it in those words, twice where it is a new one.
func (p *program) read(w *password, words string, twice bool) (string, error) {
	switch {
	case w.file != "":
		b, err := terminal.ReadFile(w.file, web.MaxPassword+2)
		if err != nil {
			return "", terminal.Coded(capability.ErrFileRead, err)
		}
		return line(b), nil
	case w.fd >= 0:
		f := os.NewFile(uintptr(w.fd), "password")
		if f == nil {
			return "", terminal.Usage("--%s-fd %d: no such file is open", w.name, w.fd)
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, web.MaxPassword+3))
		if err != nil {
			return "", terminal.Coded(capability.ErrFileRead, err)
		}
		return line(b), nil
	case !p.asks():
		return "", terminal.Usage("no password: --%s-file FILE or --%s-fd NUMBER", w.name, w.name)
	}
	first, err := p.typed(words)
	if err != nil || !twice {
		return first, err
	}
	again, err := p.typed("The same again: ")
	if err == nil && again != first {
		err = terminal.Usage("the two passwords differ")
	}
	return first, err
}

// line is a text without the end of its line.
func line(b []byte) string { return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r") }

func (p *program) typed(words string) (string, error) {
	in, isFile := p.stdin.(*os.File)
	if !isFile {
		return "", errors.New("no terminal")
	}
	p.say("%s", words)
	b, err := terminal.ReadSecret(int(in.Fd()))
	p.say("\n")
	if err != nil {
		return "", terminal.Coded(capability.ErrFileRead, err)
	}
	return string(b), nil
}
