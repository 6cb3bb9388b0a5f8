package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

// Build makes the programs of these packages in a directory; names as for the go command, from the working directory.
func Build(dir string, packages ...string) error {
	args := append([]string{"build", "-trimpath", "-o", dir + "/"}, packages...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// Office is the back office's command with its directory.
type Office struct {
	Program    string // freehold
	Dir        string
	Passphrase string // file with it
}

// Run is one call of the command. The error has what it said.
func (o Office) Run(args ...string) (string, error) {
	c := exec.Command(o.Program, append([]string{"--dir", o.Dir, "--passphrase-file", o.Passphrase}, args...)...)
	var out, said strings.Builder
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("freehold %s: %w: %s%s", args[0], err, &out, &said)
	}
	return out.String(), nil
}

// Entitle is Run of entitle, and the ID that it says.
func (o Office) Entitle(args ...string) (capability.ActivationID, error) {
	out, err := o.Run(append([]string{"entitle"}, args...)...)
	return capability.ActivationID(strings.TrimSpace(out)), err
}

// Respond answers a request; the error has what was said against it.
func (o Office) Respond(request []byte, more ...string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "R.LHQ")
	if err := os.WriteFile(file, request, 0o600); err != nil {
		return nil, err
	}
	if _, err := o.Run(append([]string{"respond", file, "-o", dir}, more...)...); err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.LHR"))
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("%d responses: %w", len(found), err)
	}
	return os.ReadFile(found[0])
}

// Activate carries a request for so many copies and its response between the box, which runs, and the office.
func (o Office) Activate(b *Box, id capability.ActivationID, copies uint32) error {
	request, err := b.Request(console.Wish{Desired: []capability.Desired{{ActivationID: id, Count: copies}}})
	if err != nil {
		return err
	}
	response, err := o.Respond(request)
	if err != nil {
		return err
	}
	return b.Import(response)
}
