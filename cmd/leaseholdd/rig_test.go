package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/cmd/internal/rig"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// What the long tests of the daemon share: the programs as they are built, and one activated machine, of which each test takes a copy. Everything in here is a
// real process: the daemon, the back office's command, the software TPM. Only the administrator and the clients are this program.

const (
	passphrase = "a passphrase that nobody guesses"
	customer   = "Customer of the canaries"
	planted    = 4000 // copies the appliance was given
)

// site is an activated machine that was stopped cleanly.
type site struct {
	dir string // bin, fh, tpm, state, trust, pass
	id  capability.ActivationID
}

// lazySite is made when the first test asks for it.
type lazySite struct {
	once sync.Once
	site *site
	err  error
}

func (l *lazySite) get() (*site, error) {
	l.once.Do(func() { l.site, l.err = newSite() })
	return l.site, l.err
}

var theSite lazySite

func TestMain(m *testing.M) {
	code := m.Run()
	if s := theSite.site; s != nil {
		os.RemoveAll(s.dir)
	}
	os.Exit(code)
}

func newSite() (*site, error) {
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir}
	if err := s.make(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func (s *site) make() error {
	path := func(name string) string { return filepath.Join(s.dir, name) }
	if err := rig.Build(path("bin"), "../leaseholdd", "../leasehold", "../freehold"); err != nil {
		return err
	}
	if err := os.WriteFile(path("pass"), []byte(passphrase+"\n"), 0o600); err != nil {
		return err
	}
	o := s.office(s.dir)
	if _, err := o.Run("init", "--producer", "Works", "--trust", path("trust"), "--minimum-tier", "software"); err != nil {
		return err
	}
	var err error
	if s.id, err = o.Entitle("--customer", customer, "--product", "Render", "--feature", "render:2026.1", "--feature", "paint:1.0", "--count", fmt.Sprint(planted)); err != nil {
		return err
	}
	b := s.box(s.dir)
	defer b.Close()
	if err := b.Open(tpmtest.P256); err != nil {
		return err
	}
	if err := b.Start(); err != nil {
		return err
	}
	if err := o.Activate(b.Box, s.id, planted); err != nil {
		return err
	}
	return b.Halt()
}

// office is the back office with its book in that directory.
func (s *site) office(dir string) rig.Office {
	return rig.Office{Program: filepath.Join(s.dir, "bin", "freehold"), Dir: filepath.Join(dir, "fh"), Passphrase: filepath.Join(s.dir, "pass")}
}

// box is one machine of the site, with a back office.
type box struct {
	*rig.Box
	site   *site
	office rig.Office
}

func (s *site) box(dir string) *box {
	return &box{&rig.Box{Dir: dir, Program: filepath.Join(s.dir, "bin", "leaseholdd"), Trust: filepath.Join(s.dir, "trust")}, s, s.office(dir)}
}

// newBox is a copy of the site: the same TPM, state and book.
func newBox(t testing.TB) *box {
	t.Helper()
	s, err := theSite.get()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "lh")
	if err != nil {
		t.Fatal(err)
	}
	b := s.box(dir)
	t.Cleanup(func() {
		b.Close()
		os.RemoveAll(dir)
	})
	for _, name := range []string{"state", "fh", "tpm"} {
		if err := rig.CopyTree(filepath.Join(s.dir, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Open(); err != nil {
		t.Fatal(err)
	}
	return b
}

// replaceTree puts a copy in the place of a directory.
func replaceTree(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return rig.CopyTree(from, to)
}

func (b *box) get(path string, answer any) error { return b.Ask("GET", path, nil, answer) }

func (b *box) request(ids ...capability.ActivationID) ([]byte, error) {
	var wish console.Wish
	for _, id := range ids {
		wish.Desired = append(wish.Desired, capability.Desired{ActivationID: id, Count: planted})
	}
	return b.Request(wish)
}
