package backoffice

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// endings are the ways in which a step can be the last.
func endings() []storagetest.Fault {
	return []storagetest.Fault{{Stop: true, Effect: storagetest.None}, {Stop: true, Effect: storagetest.Half}, {Stop: true, Effect: storagetest.Whole}}
}

// The process ends at every step of Respond, and the power with it or not. Whoever was told keeps what he was told; whoever was not asks again,
// and the request is answered once.
func TestCrashInRespond(t *testing.T) {
	a := newAppliance(t)
	var file []byte // the root's keys come from the seed, so that one request serves all lives
	var id capability.ActivationID
	begin := func() (*storagetest.Machine, Place) {
		m := storagetest.New(1)
		p := simulated(m)
		if _, err := Create(p, passphrase(), setup(t), today, m); err != nil {
			t.Fatal(err)
		}
		o := mustOpen(t, p, m)
		id = entitle(t, o, 10)
		if file == nil {
			file = a.request(o, want(id, 4))
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		return m, p
	}
	m, p := begin()
	m.Plan(nil)
	o := mustOpen(t, p, m)
	mustRespond(t, o, file)
	steps := len(m.Calls())
	if steps < 15 {
		t.Fatalf("only %d steps: %v", steps, m.Calls())
	}
	for _, power := range []bool{false, true} {
		for n := range steps {
			for k, ending := range endings() {
				name := fmt.Sprintf("step %d (%v), ending %d, power cut %v", n, m.Calls()[n], k, power)
				m, p := begin()
				m.Plan(storagetest.At(n, ending))
				var told []byte
				if o, err := Open(p, passphrase(), m); err == nil {
					if res, err := o.Respond(file, "", "operator", today); err == nil {
						told = res.File
					}
					o.Close()
				}
				if m.Plan(nil); power {
					m.PowerCut(uint64(n))
				} else {
					m.Kill()
				}
				o, err := Open(p, passphrase(), m)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				res, err := o.Respond(file, "", "operator", today)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if told != nil && !bytes.Equal(told, res.File) {
					t.Fatalf("%s: the operator was told other bytes", name)
				}
				h, _ := o.Book().Host(a.host)
				if v, _ := o.Book().Item(id, today); h.Serial != 1 || v.Used != 4 || res.Serial != 1 {
					t.Fatalf("%s: serial %d, %d used", name, h.Serial, v.Used)
				}
				if r, err := a.open(o.Trust(), res.File); err != nil || r.Items[0].Count != 4 {
					t.Fatalf("%s: the response does not open: %v", name, err)
				}
				o.Close()
			}
		}
	}
}

// A disk that fails or is full at any step of Respond: an error, and nothing was told.
func TestBrokenDisk(t *testing.T) {
	a := newAppliance(t)
	for _, c := range []struct {
		fault storagetest.Fault
		code  capability.Code
	}{{storagetest.NoSpace(), capability.ErrBookFull}, {storagetest.Broken(), capability.ErrBookWrite}} {
		for n := 0; ; n++ {
			m := storagetest.New(1)
			p := simulated(m)
			if _, err := Create(p, passphrase(), setup(t), today, m); err != nil {
				t.Fatal(err)
			}
			o := mustOpen(t, p, m)
			file := a.request(o)
			a.number, a.outstanding = 0, nil
			m.Plan(storagetest.At(n, c.fault))
			res, err := o.Respond(file, "", "operator", today)
			done := len(m.Calls()) <= n
			m.Plan(nil)
			if err == nil {
				o.Close()
				o = mustOpen(t, p, m)
				if again := mustRespond(t, o, file); !bytes.Equal(again.File, res.File) {
					t.Fatalf("step %d: told and forgotten", n)
				}
			} else {
				if Code(err) != c.code {
					t.Fatalf("step %d: %v is %s, want %s", n, err, Code(err), c.code)
				}
				o.Close()
				o = mustOpen(t, p, m)
				if res := mustRespond(t, o, file); res.Serial != 1 {
					t.Fatalf("step %d: serial %d", n, res.Serial)
				}
			}
			o.Close()
			if done {
				break
			}
		}
	}
}

func TestCrashInCreate(t *testing.T) {
	m := storagetest.New(2)
	m.Plan(nil)
	if _, err := Create(simulated(m), passphrase(), setup(t), today, m); err != nil {
		t.Fatal(err)
	}
	for n := range len(m.Calls()) {
		for k, ending := range endings() {
			m := storagetest.New(2)
			p := simulated(m)
			m.Plan(storagetest.At(n, ending))
			_, first := Create(p, passphrase(), setup(t), today, m)
			m.Plan(nil)
			m.PowerCut(uint64(n))
			o, err := Open(p, passphrase(), m)
			if err != nil && first == nil {
				t.Fatalf("step %d, ending %d: said to be made, and %v", n, k, err)
			}
			if errors.Is(err, ErrBookGone) {
				before := kept(t, p)
				if _, err := Create(p, passphrase(), setup(t), today, m); !errors.Is(err, ErrPresent) || kept(t, p) != before {
					t.Fatalf("step %d, ending %d: create over what may be keys: %v", n, k, err)
				}
				for _, name := range []string{rootName, signingName} {
					if err := p.Keys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Fatal(err)
					}
				}
				if err := p.Top.Remove(trustName); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				err = ErrAbsent
			}
			if errors.Is(err, ErrAbsent) {
				if _, err := Create(p, passphrase(), setup(t), today, m); err != nil {
					t.Fatalf("step %d, ending %d: create again: %v", n, k, err)
				}
				o, err = Open(p, passphrase(), m)
			}
			if err != nil {
				t.Fatalf("step %d, ending %d: %v", n, k, err)
			}
			entitle(t, o, 1)
			o.Close()
		}
	}
}

// kept is what cannot be had again: the key files and the trust bundle.
func kept(t testing.TB, p Place) string {
	t.Helper()
	var all []byte
	for _, f := range []struct {
		disk storage.Disk
		name string
	}{{p.Keys, rootName}, {p.Keys, signingName}, {p.Top, trustName}} {
		b, err := f.disk.Read(f.name, maxKeyFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		all = append(append(all, f.name...), b...)
	}
	return string(all)
}

// A disk that is full at any step of Create leaves nothing that is in the way of the next.
func TestFullDiskInCreate(t *testing.T) {
	for n := 0; ; n++ {
		m := storagetest.New(2)
		p := simulated(m)
		m.Plan(storagetest.At(n, storagetest.NoSpace()))
		_, err := Create(p, passphrase(), setup(t), today, m)
		done := len(m.Calls()) <= n
		m.Plan(nil)
		if _, again := Create(p, passphrase(), setup(t), today, m); err != nil && again != nil && !errors.Is(again, ErrPresent) {
			t.Fatalf("step %d: %v, and then %v", n, err, again)
		}
		mustOpen(t, p, m).Close()
		if done {
			break
		}
	}
}

// Where any one file of a back office is left and the book is not there, opening says what is missing, and no Create touches the file.
func TestBookGone(t *testing.T) {
	for _, left := range [][]string{{"keys/root.key"}, {"keys/signing.key"}, {"trust.lht"}, {"keys/root.key", "keys/signing.key", "trust.lht"}} {
		from, o := newOffice(t, nil)
		o.Close()
		dir := t.TempDir()
		for _, name := range left {
			disk := from.Top
			if strings.HasPrefix(name, "keys/") {
				disk = from.Keys
			}
			b, err := disk.Read(filepath.Base(name), maxKeyFile)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), b, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		p := Dir(dir)
		before := kept(t, p)
		if _, err := Open(p, passphrase(), rand.Reader); !errors.Is(err, ErrBookGone) || Code(err) != capability.ErrBookGone {
			t.Errorf("with %v alone, open: %v", left, err)
		}
		if _, err := Create(p, passphrase(), setup(t), today, rand.Reader); !errors.Is(err, ErrPresent) || Code(err) != capability.ErrOfficePresent {
			t.Errorf("with %v alone, create: %v", left, err)
		}
		if kept(t, p) != before {
			t.Errorf("with %v alone, a Create that was refused has changed it", left)
		}
	}
}

// Of two that make a back office at once, one does, and its keys stay.
func TestTwoCreate(t *testing.T) {
	p := Dir(t.TempDir())
	var all sync.WaitGroup
	made := make([]*wire.Trust, 8)
	for i := range made {
		all.Go(func() { made[i], _ = Create(p, passphrase(), setup(t), today, rand.Reader) })
	}
	all.Wait()
	o := mustOpen(t, p, rand.Reader)
	defer o.Close()
	n := 0
	for _, trust := range made {
		if trust != nil {
			if n++; o.codec.Fingerprint(trust.Root) != o.codec.Fingerprint(o.Trust().Root) {
				t.Error("one was told of a root that is not there")
			}
		}
	}
	if n != 1 {
		t.Errorf("%d were told that they made it", n)
	}
}

// Every run leaves a segment of the journal; they are put together, and no entry is lost.
func TestManyRuns(t *testing.T) {
	m := storagetest.New(3)
	p := simulated(m)
	if _, err := Create(p, passphrase(), setup(t), today, m); err != nil {
		t.Fatal(err)
	}
	const runs = 2*compactAfter + 20
	for range runs {
		o := mustOpen(t, p, m)
		entitle(t, o, 1)
		o.Close()
		m.Kill()
	}
	o := mustOpen(t, p, m)
	defer o.Close()
	if _, n := o.Book().Head(); n != runs+1 || len(o.Book().Items(today)) != runs {
		t.Errorf("%d entries, %d items after %d runs", n, len(o.Book().Items(today)), runs)
	}
	names, err := m.Disk.List()
	if err != nil || len(names) > 2*compactAfter {
		t.Errorf("%d files: %v", len(names), err)
	}
	if n := len(o.past.fresh); n > compactAfter+1 {
		t.Errorf("a start reads %d entries of segments", n)
	}
	if n, err := o.Verify(); err != nil || n != runs+1 {
		t.Errorf("%d entries of the history: %v", n, err)
	}
}
