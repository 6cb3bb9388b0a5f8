// Package courier carries request and response files: on a stick, or in a directory someone named.
//
// Whatever lies on a medium was put there by strangers. The courier looks at content and never believes a name, opens only regular files, reads each once and
// no more than a response may have, follows no link, and writes nowhere but in its own folder. It does not judge signatures: that is the business of whoever
// gets the bytes.
//
// Start with Open for the directory of -o, and OpenStick for a stick, which is laid out so that one stick serves a whole site:
//
//	LEASEHOLD/README.TXT               what this stick is
//	LEASEHOLD/7F3A22C9/REQ-0001.LHQ    request of the machine 7F3A-22C9
//	LEASEHOLD/7F3A22C9/REQ-0001.TXT    every datum in it, in words
//	LEASEHOLD/7F3A22C9/RSP-0001.LHR    response, put there by the back office
//	LEASEHOLD/7F3A22C9/RCP-0001.TXT    what was applied and when; for people
package courier

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// Folder is the one folder of a stick that we touch.
const Folder = "LEASEHOLD"

// The kinds of no, beside what the operating system says.
var (
	ErrNoFolder = errors.New("the stick has no folder " + Folder)
	ErrNoOwn    = errors.New("no machine with this host ID has used it")
	ErrNone     = errors.New("no response file")
	ErrMore     = errors.New("more files were not looked at")
	ErrForeign  = errors.New("in the way")

	errKind = errors.New("not a regular file")
)

// Code is the catalog's code for an error of this package.
func Code(err error) capability.Code {
	switch {
	case errors.Is(err, ErrNone), errors.Is(err, ErrNoFolder):
		return capability.ErrFileNone
	case errors.Is(err, syscall.ENOSPC):
		return capability.ErrMediumFull
	case errors.Is(err, syscall.EROFS):
		return capability.ErrMediumLocked
	case wire.Code(err) != 0:
		return wire.Code(err)
	}
	return capability.ErrFileRead
}

// Medium is an open place for files.
type Medium struct {
	codec *wire.Codec
	root  *os.Root
	path  string
	host  hostid.ID
	stick bool
}

// Open takes a directory as it is: files lie in it side by side. host is the appliance whose files are carried; zero for any.
func Open(path string, host hostid.ID) (*Medium, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &Medium{wire.New(), root, path, host, false}, nil
}

// OpenStick takes the root of a stick and goes to the host's folder on it. With make, folders that are not there are made; without, nothing is written,
// so that a write-protected stick can be read, and a stick without them is ErrNoFolder; with LEASEHOLD alone it is ErrNoOwn too.
func OpenStick(path string, host hostid.ID, make bool) (*Medium, error) {
	stick, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open the stick at %s: %w", path, err)
	}
	defer stick.Close()
	folder, err := enter(stick, Folder, make)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, ErrNoFolder)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s on the stick: %w", Folder, err)
	}
	defer folder.Close()
	m := &Medium{codec: wire.New(), root: folder, path: path, host: host, stick: true}
	if _, err := folder.Lstat("README.TXT"); make && errors.Is(err, fs.ErrNotExist) {
		if err := m.write("README.TXT", []byte(readme())); err != nil {
			return nil, fmt.Errorf("write to the stick: %w", err)
		}
	}
	name := FolderName(host)
	m.root, err = enter(folder, name, make)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w/%s: %w", path, ErrNoFolder, name, ErrNoOwn)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s/%s on the stick: %w", Folder, name, err)
	}
	m.path = path + "/" + Folder + "/" + name
	return m, nil
}

// FolderName is the folder of a host on a stick: the first eight digits of its ID, or what letters and digits it has.
func FolderName(host hostid.ID) string {
	var b strings.Builder
	for _, r := range strings.ToUpper(strings.ReplaceAll(host.Short(), "-", "")) {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			b.WriteRune(r)
		}
		if b.Len() == 8 {
			break
		}
	}
	if b.Len() == 0 {
		return "UNNAMED"
	}
	return b.String()
}

// enter opens a directory that is one itself: a link there leads to where we do not want to write.
func enter(in *os.Root, name string, make bool) (*os.Root, error) {
	i, err := in.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) && make {
		if err := in.Mkdir(name, 0o755); err != nil {
			return nil, err
		}
		if err := syncDirectory(in); err != nil {
			return nil, err
		}
		i, err = in.Lstat(name)
	}
	if err != nil {
		return nil, err
	}
	if !i.IsDir() {
		return nil, fmt.Errorf("%s is not a folder: %w", name, ErrForeign)
	}
	dir, err := in.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if now, err := dir.Stat("."); err != nil || !os.SameFile(i, now) {
		dir.Close()
		return nil, fmt.Errorf("%s was exchanged while it was opened: %w", name, ErrForeign)
	}
	return dir, nil
}

// Path is where the files are, for people.
func (m *Medium) Path() string { return m.path }

// Close ends the use of the medium; what was written is on it already.
func (m *Medium) Close() error { return m.root.Close() }

// Write puts a request and its description in words on the medium and gives the name of the request. The description comes first: no request is ever there without it.
// An older copy of the same request is replaced; a request of another machine under that name is not.
func (m *Medium) Write(number uint64, request []byte, description string) (string, error) {
	name := capability.FileName("REQ", number, "LHQ")
	if err := m.mayReplace(name); err != nil {
		return "", err
	}
	if err := m.write(capability.FileName("REQ", number, "TXT"), []byte(crlf(description))); err != nil {
		return "", fmt.Errorf("write the description of %s: %w", name, err)
	}
	if err := m.write(name, request); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return name, nil
}

// Respond puts the answer to a client's request file on the medium and gives its name. An older answer to the same client is replaced; what is another machine's is not.
func (m *Medium) Respond(number uint64, answer []byte) (string, error) {
	name := capability.FileName("RSP", number, "LHR")
	if err := m.mayReplaceAnswer(name); err != nil {
		return "", err
	}
	if err := m.write(name, answer); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return name, nil
}

// CertificateRequest puts a request for a server's certificate on the medium and gives its name.
func (m *Medium) CertificateRequest(request []byte) (string, error) {
	const name = "SERVER.CSR"
	if err := m.write(name, request); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return name, nil
}

// Receipt puts on a stick what was applied, in words for people. Elsewhere it does nothing and gives no name.
func (m *Medium) Receipt(number uint64, text string) (string, error) {
	if !m.stick {
		return "", nil
	}
	name := capability.FileName("RCP", number, "TXT")
	if err := m.write(name, []byte(crlf(text))); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return name, nil
}

// MayWrite says why Write of a request of that number would be refused for what lies there already; nothing is written. Who has a number given to a request asks before.
func (m *Medium) MayWrite(number uint64) error {
	for _, ending := range []string{"TXT", "TMP"} {
		name := capability.FileName("REQ", number, ending)
		if i, err := m.root.Lstat(name); err == nil && !i.Mode().IsRegular() {
			return fmt.Errorf("%s: %w: %s", name, ErrForeign, i.Mode().Type())
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return m.mayReplace(capability.FileName("REQ", number, "LHQ"))
}

// mayReplace refuses to overwrite what another machine put there.
func (m *Medium) mayReplace(name string) error {
	b, err := m.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, ErrForeign, err)
	}
	r, err := m.codec.ReadRequest(b)
	if err != nil {
		return nil // half a request, from a stick that was pulled too early
	}
	if m.host != (hostid.ID{}) && r.Request.Hosts[0] != m.host {
		return fmt.Errorf("%s: %w: a request of %s", name, ErrForeign, r.Request.Hosts[0].Short())
	}
	return nil
}

// mayReplaceAnswer refuses to overwrite a response for another machine.
func (m *Medium) mayReplaceAnswer(name string) error {
	b, err := m.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", name, ErrForeign, err)
	}
	if r, err := m.codec.ReadResponse(b); err == nil {
		return fmt.Errorf("%s: %w: a response for %s", name, ErrForeign, r.Clear.For.Short())
	}
	f, err := m.codec.ReadAnswerFile(b)
	if err != nil {
		return nil // half an answer, from a stick that was pulled too early
	}
	if r, _, err := m.codec.VerifyAnswer(f.Chain.Serving, &f.Answer); err == nil && m.host != (hostid.ID{}) && r.For != m.host {
		return fmt.Errorf("%s: %w: an answer for %s", name, ErrForeign, r.For.Short())
	}
	return nil
}

// write makes a file appear whole or not at all: temporary name, content, fsync, rename, fsync of the directory.
// A power cut or a pulled stick leaves at most the temporary file, which the next write replaces.
func (m *Medium) write(name string, b []byte) error {
	temp := strings.TrimSuffix(name, name[strings.LastIndexByte(name, '.'):]) + ".TMP"
	if err := m.root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Exclusive, so that a link of this name is an error and not a way out.
	f, err := m.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = m.root.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, m.root.Remove(temp))
	}
	return syncDirectory(m.root)
}

// MakeDirectory makes a directory that no power cut takes away again, nor what is written into it; one that is there is fs.ErrExist.
func MakeDirectory(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil {
		return err
	}
	return SyncDirectory(filepath.Dir(filepath.Clean(path)))
}

// SyncDirectory makes the names in a directory durable.
func SyncDirectory(path string) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	return syncDirectory(root)
}

func syncDirectory(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// read opens a regular file and nothing else, and reads it once.
func (m *Medium) read(name string) ([]byte, error) { return read(m.root, name) }

func read(root *os.Root, name string) ([]byte, error) {
	seen, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !seen.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is %w but %s", name, errKind, seen.Mode().Type())
	}
	// Not blocking: what was a file at the look before may be a pipe at the opening.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if i, err := f.Stat(); err != nil || !os.SameFile(seen, i) {
		return nil, fmt.Errorf("%s was exchanged while it was opened", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, capability.MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > capability.MaxFile {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", name, wire.ErrSize, capability.MaxFile)
	}
	return b, nil
}

// ReadFile reads the one file that was named, with all the care of this package. The error has a Code.
func ReadFile(path string) ([]byte, error) {
	dir, name := ".", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i+1], path[i+1:]
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	b, err := read(root, name)
	if where := (*fs.PathError)(nil); errors.As(err, &where) {
		return nil, fmt.Errorf("open %s: %w", path, where.Err)
	}
	return b, err
}

// crlf gives text the line ends of the machines that a stick may visit.
func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

func readme() string {
	return crlf(`This stick carries licenses between machines that have no network in common.

Each folder here belongs to one machine and has its host ID as its name.
  REQ-nnnn.LHQ  a request: take it to the back office of your supplier
  REQ-nnnn.TXT  everything that is in that request, in words
  RSP-nnnn.LHR  the response: bring it back to the machine
  RCP-nnnn.TXT  what the machine did with it

Any of these files may be lost or copied: a request can be written again, and
a response opens on its one machine only. Delete what you do not need.
`)
}
