package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/leasehold/leasehold/appliance/courier"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/cmd/internal/terminal"
)

// readBounded reads a file that a stranger made: a plain file, and one byte more than allowed at most, so that its size is judged and not trusted.
func readBounded(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no plain file", name)
	}
	if err != nil {
		return nil, capability.Refuse(capability.ErrFileRead, "", "%v", err)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, capability.Refuse(capability.ErrFileRead, "", "%v", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, capability.MaxFile+1))
	if err != nil {
		return nil, capability.Refuse(capability.ErrFileRead, "", "%v", err)
	}
	return b, nil
}

// readOurs is readBounded of a request, a response or a trust bundle in either form.
func readOurs(name string) ([]byte, error) {
	b, err := readBounded(name)
	if err != nil {
		return nil, err
	}
	if b, err = wire.FromText(b); err != nil {
		return nil, terminal.Coded(wire.Code(err), err)
	}
	return b, nil
}

// writeWhole makes a file whole or not at all, and durable before it returns: a stick may be pulled the moment we are done.
// The unfinished name fits 8.3 as well.
func writeWhole(path string, b []byte) error {
	if err := write(path, b); err != nil {
		return terminal.Coded(capability.ErrFileRead, err)
	}
	return nil
}

func write(path string, b []byte) error {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	name := filepath.Base(path)
	temp := strings.TrimSuffix(name, filepath.Ext(name)) + ".TMP"
	if err := dir.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by a stick that was pulled
		return err
	}
	f, err := dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = dir.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, dir.Remove(temp))
	}
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// creatable says, before anything is done that cannot be taken back, whether a file can be made under this name.
func creatable(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(path))
	}
	if err != nil {
		return terminal.Coded(capability.ErrFileRead, err)
	}
	return nil
}

// writeNew makes a file that somebody named, durable before it returns. What is there is never replaced; the same bytes are there already, which is as good.
func writeNew(path string, b []byte) error { return writeMode(path, b, 0o644) }

func writeMode(path string, b []byte, mode fs.FileMode) error {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() == int64(len(b)) {
		if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, b) {
			return nil
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return terminal.Coded(capability.ErrFileRead, err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = courier.SyncDirectory(filepath.Dir(path))
	}
	if err != nil {
		return terminal.Coded(capability.ErrFileRead, errors.Join(err, os.Remove(path)))
	}
	return nil
}

// outbox is where responses go. A stick that has a folder LEASEHOLD gets each response into the folder of its machine, beside the
// request; any other directory is filled flat, because the next step is to copy what is there, except that a response never
// replaces another machine's: then it goes into a folder of its machine too.
type outbox struct {
	dir   string
	stick bool
	codec *wire.Codec
}

func openOutbox(dir string) (*outbox, error) {
	if err := courier.MakeDirectory(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, terminal.Coded(capability.ErrFileRead, err)
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory", dir)
	}
	if err != nil {
		return nil, terminal.Coded(capability.ErrFileRead, err)
	}
	const folder = "LEASEHOLD"
	if filepath.Base(filepath.Clean(dir)) == folder {
		return &outbox{dir, true, wire.New()}, nil
	}
	if info, err := os.Stat(filepath.Join(dir, folder)); err == nil && info.IsDir() {
		return &outbox{filepath.Join(dir, folder), true, wire.New()}, nil
	}
	return &outbox{dir, false, wire.New()}, nil
}

// put writes a response and says where.
func (o *outbox) put(r *backoffice.Result) (string, error) {
	path := filepath.Join(o.dir, r.Name)
	if o.stick || o.taken(path, r) {
		folder := filepath.Join(o.dir, strings.ReplaceAll(r.Host.Short(), "-", ""))
		if err := courier.MakeDirectory(folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", terminal.Coded(capability.ErrFileRead, err)
		}
		path = filepath.Join(folder, r.Name)
	}
	return path, writeWhole(path, r.File)
}

// taken says whether path holds the response of another machine, or something that is no response.
func (o *outbox) taken(path string, r *backoffice.Result) bool {
	b, err := readBounded(path)
	if err != nil {
		return !isAbsent(path)
	}
	if bytes.Equal(b, r.File) {
		return false
	}
	s, err := o.codec.ReadResponse(b)
	return err != nil || s.Clear.For != r.Host
}

func isAbsent(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
