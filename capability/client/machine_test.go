package client

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/leasehold/leasehold/capability/capabilitytest"
)

// A copy of the store gives another machine nothing, and takes nothing from the first: neither its leases nor its name. It says why.
func TestStoreOnAnotherMachine(t *testing.T) {
	a := capabilitytest.New(t, capabilitytest.Item("render", 4))
	open := func(dir, machine string) *Client {
		t.Helper()
		c, err := New(Options{Trust: a.Trust(), Dir: dir, Dial: a.Dial, machine: machine})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	first, second := t.TempDir(), t.TempDir()
	c := open(first, "one")
	if _, err := c.Acquire(t.Context(), "render", Count(2), Keep()); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(second, os.DirFS(first)); err != nil {
		t.Fatal(err)
	}
	host := c.Host()
	a.Down()
	other := open(second, "two")
	if _, err := other.Acquire(t.Context(), "render"); !errors.Is(err, ErrBinding) || !errors.Is(err, ErrServerUnreachable) {
		t.Errorf("a copy on another machine, without a server: %v", err)
	}
	if held, err := other.Held(t.Context()); err != nil || len(held) != 0 {
		t.Errorf("it holds %v, %v", held, err)
	}
	a.Up()
	if _, err := other.Acquire(t.Context(), "render", Count(2)); err != nil || other.Host() == host {
		t.Errorf("it is the device %s as the first: %v", other.Host(), err)
	}
	if n := a.Used("render"); n != 4 {
		t.Errorf("%d in use where each machine has 2", n)
	}
	// Machines that share a directory each have what is their own.
	for _, machine := range []string{"two", "three", "two"} {
		again := open(second, machine)
		if want := machine == "two"; (again.Host() == other.Host()) != want {
			t.Errorf("machine %s is %s, and two is %s", machine, again.Host(), other.Host())
		}
	}
	back := open(first, "one")
	if held, err := back.Held(t.Context()); err != nil || len(held) != 1 || held[0].Count != 2 || back.Host() != host {
		t.Errorf("the first machine has %v, %v", held, err)
	}
	nameless := open(first, "")
	if nameless.options.machine != thisMachine() {
		t.Errorf("this machine is %q", nameless.options.machine)
	}
	for _, wrong := range []string{"a directory", "too long"} {
		dir := t.TempDir()
		if wrong == "a directory" {
			os.Mkdir(filepath.Join(dir, machineFile), 0o700)
		} else {
			os.WriteFile(filepath.Join(dir, machineFile), make([]byte, machineLimit+1), 0o600)
		}
		if _, err := New(Options{Trust: a.Trust(), Dir: dir, Dial: a.Dial, machine: "one"}); err == nil {
			t.Errorf("the name of the machine is %s, and nobody minds", wrong)
		}
	}
}
