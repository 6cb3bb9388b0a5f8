package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/leasehold/leasehold/capability"
)

const (
	machineFile  = "machine"     // names the machine that a directory belongs to
	machineLimit = 64            // bytes of that file
	machinesDir  = "machines"    // directories of other machines, in one that several share
	machineRole  = "leasehold 1" // so that what is written down does not tell anybody's machine ID
)

// thisMachine names this machine, in a form that says nothing else about it; empty where it has no ID of its own.
func thisMachine() string {
	b, err := os.ReadFile("/etc/machine-id") // machine-id(5)
	if b = bytes.TrimSpace(b); err != nil || len(b) < 32 {
		return ""
	}
	sum := sha256.Sum256(append([]byte(machineRole), b...))
	return hex.EncodeToString(sum[:16])
}

// shown names this machine by what a probe found of it.
func (o *Options) shown() string {
	h := sha256.New()
	h.Write([]byte(machineRole + o.machine))
	for _, id := range secondaries(o.Machine) {
		h.Write([]byte("\x00" + id.String()))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// ownDir is where in a directory this machine keeps what is its own. The first machine to come has the directory itself. One that finds another there, as in a copy
// or in a home that machines share, has a directory of its own in it, and so another key and leases of its own; foreign says so.
func ownDir(ctx context.Context, path, machine string) (own string, foreign error, err error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", nil, broken("make the directory for leases", err)
	}
	if machine == "" {
		return path, nil, nil
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return "", nil, broken("open the directory for leases", err)
	}
	defer dir.Close()
	there, err := readBounded(dir, machineFile, machineLimit)
	if errors.Is(err, fs.ErrNotExist) { // two that come first at once write through one file
		var lock *os.File
		if lock, err = lockIn(ctx, dir); err != nil {
			return "", nil, err
		}
		defer lock.Close()
		if there, err = readBounded(dir, machineFile, machineLimit); errors.Is(err, fs.ErrNotExist) {
			if err := writeDurable(dir, machineFile, []byte(machine)); err != nil {
				return "", nil, broken("name the machine of the directory for leases", err)
			}
			return path, nil, nil
		}
	}
	if err != nil {
		return "", nil, broken("read whose leases these are", err)
	}
	if string(there) == machine {
		return path, nil, nil
	}
	foreign = refuse(capability.ErrBinding, errors.New("what is kept in this directory belongs to another machine"))
	return filepath.Join(path, machinesDir, machine), foreign, nil
}
