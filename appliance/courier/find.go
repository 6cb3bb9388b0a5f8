package courier

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// Limits of one search.
const (
	MaxLooked = 64      // files opened: a stick of a site with sixty appliances, and each costs at most 1 MiB
	maxOurs   = 8 << 20 // bytes of responses for the host: hundreds of them
	maxAsked  = 1024    // names that are asked for what they are: FAT looks through the whole folder for each
	maxNames  = 1 << 16 // names read: ten thousand other files are no reason to give up
)

// Found is a response file, as its clear part says.
type Found struct {
	Name  string
	File  []byte // none where it is not ours
	Clear wire.Clear
	Ours  bool // it says it is for the host that was asked about
}

// Find gives the response files among the first MaxLooked regular files of the medium, those with the usual ending first: content decides what one is.
// Those for the host come first, the newest serial before older ones. Skipped says in words why a file with the usual ending is not among them.
// ErrNone: there is no response at all.
func (m *Medium) Find() (found []Found, skipped []error, err error) {
	names, err := m.names()
	if err != nil {
		return nil, nil, fmt.Errorf("look for responses in %s: %w", m.path, err)
	}
	ours, looked := 0, 0
	for i, name := range names {
		if looked == MaxLooked || i == maxAsked || ours > maxOurs {
			skipped = append(skipped, fmt.Errorf("%d %w", len(names)-i, ErrMore))
			break
		}
		f, err := m.response(name)
		if errors.Is(err, errKind) {
			continue
		}
		if looked++; err == nil {
			ours += len(f.File)
			found = append(found, *f)
		} else if usual(name) {
			skipped = append(skipped, fmt.Errorf("%s: %w", name, err))
		}
	}
	if len(found) == 0 {
		return nil, skipped, errors.Join(append([]error{fmt.Errorf("%w in %s", ErrNone, m.path)}, skipped...)...)
	}
	slices.SortStableFunc(found, func(a, b Found) int {
		if a.Ours != b.Ours {
			if a.Ours {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Clear.Serial, a.Clear.Serial)
	})
	return found, skipped, nil
}

func (m *Medium) response(name string) (*Found, error) {
	b, err := m.read(name)
	if err != nil {
		return nil, err
	}
	r, err := m.codec.ReadResponse(b)
	if err != nil {
		return nil, err
	}
	f := &Found{Name: name, Clear: r.Clear, Ours: m.host != (hostid.ID{}) && r.Clear.For == m.host}
	if f.Ours {
		f.File = b
	}
	return f, nil
}

// names lists what is in the folder, those with the usual ending first, each kind in alphabetical order. What a name stands for is not asked here.
func (m *Medium) names() ([]string, error) {
	d, err := m.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(maxNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	slices.SortFunc(names, func(a, b string) int {
		if ua, ub := usual(a), usual(b); ua != ub {
			if ua {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return names, nil
}

func usual(name string) bool { return strings.HasSuffix(strings.ToUpper(name), ".LHR") }

// IsDirectory says whether a path that was named is a directory to be searched.
func IsDirectory(path string) bool {
	i, err := os.Stat(path)
	return err == nil && i.IsDir()
}
