package courier

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// Request reads back the request of a number, as it lies on the medium. One that is not there is fs.ErrNotExist, and one that is not whole, or not of the
// machine that the medium was opened for, is an error too.
func (m *Medium) Request(number uint64) ([]byte, error) {
	b, err := m.read(capability.FileName("REQ", number, "LHQ"))
	if err != nil {
		return nil, err
	}
	r, err := m.codec.ReadRequest(b)
	if err != nil {
		return nil, err
	}
	if r.Request.Hosts[0] != m.host {
		return nil, ErrForeign
	}
	return b, nil
}

// HasText says whether there is a text for people with that prefix, RCP or REQ, and that number.
func (m *Medium) HasText(prefix string, number uint64) bool {
	i, err := m.root.Lstat(capability.FileName(prefix, number, "TXT"))
	return err == nil && i.Mode().IsRegular()
}

// Tidy takes away what a stick that was pulled out too early was left with: temporary files, and requests that are not whole. It touches no other name than
// those of our own files, and gives how many it took away.
func (m *Medium) Tidy() (n int, err error) {
	names, err := m.names()
	if err != nil {
		return 0, err
	}
	looked := 0
	for _, name := range names {
		stem, kind, found := strings.Cut(name, ".")
		if !found || !ourStem(stem) {
			continue
		}
		switch strings.ToUpper(kind) {
		case "TMP":
			if i, err := m.root.Lstat(name); err != nil || !i.Mode().IsRegular() {
				continue
			}
		case "LHQ":
			if looked++; looked > MaxLooked {
				continue
			}
			b, err := m.read(name)
			if err != nil {
				continue // a medium that cannot be read gets no better by that
			}
			if _, err := m.codec.ReadRequest(b); err == nil {
				continue
			}
		default:
			continue
		}
		if err := m.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return n, err
		}
		n++
	}
	if n > 0 {
		err = syncDirectory(m.root)
	}
	return n, err
}

// ourStem says that capability.FileName may give such a name, before the dot, to a file that is written here.
func ourStem(s string) bool {
	digits := func(s string, n int) bool { return len(s) == n && strings.Trim(s, "0123456789") == "" }
	s = strings.ToUpper(s)
	four, is := strings.CutPrefix(s, "REQ-")
	if !is {
		four, is = strings.CutPrefix(s, "RCP-")
	}
	return is && digits(four, 4) || strings.HasPrefix(s, "R") && digits(s[1:], 7)
}
