package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

type fileKind int

const (
	headerFile fileKind = iota
	segmentFile
	snapshotFile
)

// files are the numbers of a vault's files, ascending by kind, and the names of unfinished ones. Other names are not ours.
type files struct {
	headers, segments, snapshots []uint64
	temps                        []string
}

func inventory(d Disk) (files, error) {
	var f files
	names, err := d.List()
	if err != nil {
		return f, diskError("list trusted storage", err)
	}
	if len(names) >= maxFiles {
		return f, corrupt("directory holds %d files or more", maxFiles)
	}
	kinds := map[string]*[]uint64{"header": &f.headers, "journal": &f.segments, "snapshot": &f.snapshots}
	for _, name := range names {
		whole, unfinished := strings.CutSuffix(name, newSuffix)
		prefix, n, ok := nameOf(whole)
		if !ok {
			continue
		}
		switch into := kinds[prefix]; {
		case into == nil:
		case unfinished:
			f.temps = append(f.temps, name)
		default:
			*into = append(*into, n)
		}
	}
	slices.Sort(f.headers)
	slices.Sort(f.segments)
	slices.Sort(f.snapshots)
	return f, nil
}

// nameOf reads a name as the vault's files have it: a kind and a number.
func nameOf(name string) (kind string, n uint64, ok bool) {
	kind, digits, _ := strings.Cut(name, "-")
	n, err := strconv.ParseUint(digits, 16, 64)
	return kind, n, err == nil && name == fmt.Sprintf("%s-%016x", kind, n)
}

// present says whether a vault is there, else ErrAbsent. Create writes the snapshot of position 0 before the header and nothing else: other
// files without a header are a vault that lost it.
func (f *files) present() error {
	switch {
	case len(f.headers) > 0:
		return nil
	case len(f.segments) > 0 || slices.ContainsFunc(f.snapshots, func(n uint64) bool { return n > 0 }):
		return corrupt("the header is missing")
	}
	return ErrAbsent
}

// remove removes the files for which dead says so, and every unfinished one, and makes that durable.
func (f *files) remove(d Disk, dead func(kind fileKind, n uint64) bool) error {
	names := slices.Clone(f.temps)
	for _, n := range f.segments {
		if dead(segmentFile, n) {
			names = append(names, segmentName(n))
		}
	}
	for _, n := range f.snapshots {
		if dead(snapshotFile, n) {
			names = append(names, snapshotName(n))
		}
	}
	for _, n := range f.headers {
		if dead(headerFile, n) {
			names = append(names, headerName(n))
		}
	}
	for _, name := range names {
		if err := d.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return diskError("remove "+name, err)
		}
	}
	if len(names) == 0 {
		return nil
	}
	if err := d.Sync(); err != nil {
		return diskError("sync the directory", err)
	}
	return nil
}

func (f *files) removeAll(d Disk) error {
	return f.remove(d, func(fileKind, uint64) bool { return true })
}
