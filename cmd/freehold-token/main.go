// Freehold-token holds the Ed25519 half of a producer's signing key in a PKCS#11 token, and signs with it for freehold, which asks over a Unix socket.
//
// It is a program and a module of its own because a token's driver is C code: nothing else of the back office links any. It signs only what a signing key signs, for
// one user of this machine, and at most so often; a thief of the back office's files has half a key, and one who has its machine can sign no faster than that.
//
//	freehold-token --module /usr/lib/softhsm/libsofthsm2.so --token producer --key signing --pin-file pin --socket /run/freehold/token.sock --per-day 200
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	switch err := run(os.Args[1:], os.Stdout); {
	case errors.Is(err, flag.ErrHelp): // it was printed
	case err != nil:
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	module, token, key, pinFile, socket string
	pinFD, uid, perHour, perDay         int
	generate                            bool
}

func parse(args []string) (*options, error) {
	var o options
	s := flag.NewFlagSet("freehold-token", flag.ContinueOnError)
	s.StringVar(&o.module, "module", "", "PKCS#11 driver of the token, a shared library")
	s.StringVar(&o.token, "token", "", "label of the token")
	s.StringVar(&o.key, "key", "signing", "label of the key in it")
	s.StringVar(&o.pinFile, "pin-file", "", "file with the token's PIN on its first line")
	s.IntVar(&o.pinFD, "pin-fd", -1, "open file descriptor to read the PIN from")
	s.StringVar(&o.socket, "socket", "", "where to listen")
	s.IntVar(&o.uid, "uid", os.Getuid(), "user who may ask, by number")
	s.IntVar(&o.perHour, "per-hour", 0, "signatures in an hour; 0: any number. A response to an appliance takes two")
	s.IntVar(&o.perDay, "per-day", 0, "signatures in a day; 0: any number")
	s.BoolVar(&o.generate, "generate", false, "make the key if the token has none of that label")
	if err := s.Parse(args); err != nil {
		return nil, err
	}
	if o.module == "" || o.token == "" || o.socket == "" || (o.pinFile == "") == (o.pinFD < 0) || s.NArg() > 0 || o.perHour < 0 || o.perDay < 0 {
		return nil, errors.New("--module, --token, --socket and either --pin-file or --pin-fd are needed, and nothing besides")
	}
	return &o, nil
}

func run(args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	pin, err := o.pin()
	if err != nil {
		return err
	}
	half, err := openToken(o.module, o.token, o.key, pin, o.generate)
	clear(pin)
	if err != nil {
		return err
	}
	defer half.close()
	l, err := listen(o.socket, o.uid)
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Fprintf(out, "public key  %x\nlistening   %s\n", half.public, o.socket)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { l.Close() })
	return serve(ctx, l, &server{key: half, uid: uint32(o.uid), rate: &rate{hour: o.perHour, day: o.perDay}, now: time.Now})
}

const maxPIN = 256

// pin is never an argument, which every user of a machine can read.
func (o *options) pin() ([]byte, error) {
	f := os.NewFile(uintptr(o.pinFD), "pin")
	if o.pinFile != "" {
		var err error
		if f, err = os.Open(o.pinFile); err != nil {
			return nil, err
		}
	}
	if f == nil {
		return nil, fmt.Errorf("read the PIN: %d is no file descriptor", o.pinFD)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPIN+2))
	if err != nil {
		return nil, fmt.Errorf("read the PIN: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 || len(line) > maxPIN {
		return nil, fmt.Errorf("read the PIN: a first line of %d bytes where 1 to %d are allowed", len(line), maxPIN)
	}
	return line, nil
}

// listen makes the socket for one user alone. One that is left of a run before is replaced, one that answers is not.
func listen(path string, uid int) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("%s is there, and is no socket", path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fmt.Errorf("%s is there, and somebody listens on it", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, err
	}
	if uid != os.Getuid() {
		if err := os.Chown(path, uid, -1); err != nil {
			return nil, errors.Join(fmt.Errorf("give the socket to user %d: %w", uid, err), l.Close())
		}
	}
	return l, nil
}
