package probe

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// What is read from a tree, at most. A kernel's attribute is one page, and the largest machines have some hundred devices of a kind.
const (
	maxFile    = 4096    // bytes of a file
	maxHead    = 1 << 20 // bytes of those files of which only the head is wanted
	maxEntries = 4096    // names in a directory
	maxReads   = 1 << 16 // files and directories looked at in all
	maxHops    = 8       // links from one name to its directory, disks below a disk
)

// unreadable is the ending of the file that stands in a recording for one that could not be read; it holds the fault.
const unreadable = ".unreadable"

// fault is why something that is there could not be read.
type fault string

const (
	denied    fault = "only root may read it"
	irregular fault = "not a regular file"
	long      fault = "longer than 4096 bytes"
	crowded   fault = "more than 4096 entries"
	astray    fault = "a link that leads nowhere, in a circle or out of the tree"
	broken    fault = "cannot be read"
	exhausted fault = "there is too much to read"
)

func (f fault) Error() string { return string(f) }

// faults are those that a recording may name.
func faults() []fault { return []fault{denied, irregular, long, crowded, astray, broken, exhausted} }

// tree reads below a root, and nothing else: no file is waited for, no link leads out, and every length has an end. Paths have no leading slash.
type tree struct {
	root   *os.Root
	beside func(t *tree, name string) (string, bool) // files that the kernel has only as calls; nil in a recorded tree, which has them as files
	seen   map[string]entry                          // what was read, to be recorded; nil where nobody records
	reads  int
}

// entry is what was found at a path: a link, a directory, a fault, or a file's text.
type entry struct {
	link  string
	dir   bool
	fault fault
	text  string
}

func (t *tree) saw(name string, e entry) {
	if t.seen != nil {
		t.seen[name] = e
	}
}

// lost turns an error of the system into absence or a fault, and remembers the latter.
func (t *tree) lost(name string, err error) error {
	why := broken
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		b, err := t.open(name+unreadable, 64, true)
		if why = fault(strings.TrimSpace(b)); err != nil || !slices.Contains(faults(), why) {
			return fs.ErrNotExist
		}
	case errors.As(err, &why):
	case errors.Is(err, fs.ErrPermission):
		why = denied
	case errors.Is(err, syscall.ELOOP):
		why = astray
	}
	t.saw(name, entry{fault: why})
	return why
}

// open is the first limit bytes of a regular file; one that is longer is a fault, unless it may be cut.
func (t *tree) open(name string, limit int, cut bool) (string, error) {
	if t.reads++; t.reads > maxReads {
		return "", exhausted
	}
	// To open a device can do something, so it is looked at before, and once more after.
	if at, err := t.root.Lstat(name); err != nil {
		return "", err
	} else if !at.Mode().IsRegular() {
		return "", irregular
	}
	f, err := t.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if at, err := f.Stat(); err != nil {
		return "", err
	} else if !at.Mode().IsRegular() {
		return "", irregular
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return "", err
	}
	if len(b) > limit && !cut {
		return "", long
	}
	return string(b[:min(len(b), limit)]), nil
}

// read is the whole text of a file of at most maxFile bytes.
func (t *tree) read(name string) (string, error) { return t.text(name, maxFile, false) }

// head is the beginning of a file of any length.
func (t *tree) head(name string, limit int) string {
	s, err := t.text(name, limit, true)
	if err != nil {
		return ""
	}
	return s
}

func (t *tree) text(name string, limit int, cut bool) (string, error) {
	if t.beside != nil {
		if s, ok := t.beside(t, name); ok {
			t.saw(name, entry{text: s})
			return s, nil
		}
	}
	s, err := t.open(name, limit, cut)
	if err != nil {
		return "", t.lost(name, err)
	}
	t.saw(name, entry{text: s})
	return s, nil
}

// word is the text of a file without the space around it, or nothing.
func (t *tree) word(name string) string {
	s, err := t.read(name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(s)
}

// has says that something is at name, whatever it is.
func (t *tree) has(name string) bool {
	if t.reads++; t.reads > maxReads {
		return false
	}
	at, err := t.root.Lstat(name)
	if err != nil {
		return false
	}
	if _, ok := t.seen[name]; !ok {
		t.saw(name, entry{dir: at.IsDir()})
	}
	return true
}

// list is the names in a directory, sorted.
func (t *tree) list(name string) ([]string, error) {
	names, err := t.names(name)
	if err != nil {
		return nil, t.lost(name, err)
	}
	t.saw(name, entry{dir: true})
	for i, n := range names {
		names[i] = strings.TrimSuffix(n, unreadable)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (t *tree) names(name string) ([]string, error) {
	if t.reads++; t.reads > maxReads {
		return nil, exhausted
	}
	f, err := t.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|directoryOnly, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	for len(names) <= maxEntries { // one call may answer with fewer than there are
		some, err := f.Readdirnames(maxEntries + 1 - len(names))
		names = append(names, some...)
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, crowded
}

// follow is the directory that name leads to. Links are followed by their text, so that every path that is read is one without links.
func (t *tree) follow(name string) (string, error) {
	to := name
	for range maxHops {
		if t.reads++; t.reads > maxReads {
			return "", t.lost(name, exhausted)
		}
		at, err := t.root.Lstat(to)
		switch {
		case err != nil && to != name:
			return "", t.lost(name, astray)
		case err != nil:
			return "", t.lost(name, err)
		case at.IsDir():
			t.saw(to, entry{dir: true})
			return to, nil
		case at.Mode()&fs.ModeSymlink == 0:
			return "", t.lost(name, irregular)
		}
		link, err := t.root.Readlink(to)
		next := path.Join(path.Dir(to), link)
		if err != nil || path.IsAbs(link) || !fs.ValidPath(next) || next == "." || len(next) > maxFile {
			return "", t.lost(name, astray)
		}
		t.saw(to, entry{link: link})
		to = next
	}
	return "", t.lost(name, astray)
}
