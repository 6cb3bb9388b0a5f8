package storagetest_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// TestPowerCut: what was synced stays; of the rest each cut takes what it likes, by sectors of 512 bytes.
func TestPowerCut(t *testing.T) {
	const size = 4096
	lost, kept, torn, gone := 0, 0, 0, 0
	for seed := range uint64(300) {
		m := storagetest.New(seed)
		f := made(t, m, "a", bytes.Repeat([]byte{1}, size))
		must(t, m.Disk.Sync())
		write(t, f, bytes.Repeat([]byte{2}, size))
		made(t, m, "b", []byte("new")) // its name is not synced
		m.PowerCut(seed)
		b, err := m.Disk.Read("a", size)
		must(t, err)
		if len(b) != size {
			t.Fatalf("file has %d bytes", len(b))
		}
		count := 0
		for at := 0; at < size; at += 512 {
			sector := b[at : at+512]
			if !bytes.Equal(sector, bytes.Repeat(sector[:1], 512)) {
				t.Fatal("a sector is torn")
			}
			count += int(sector[0]) - 1
		}
		switch count {
		case 0:
			lost++
		case 8:
			kept++
		default:
			torn++
		}
		if _, err := m.Disk.Read("b", size); errors.Is(err, fs.ErrNotExist) {
			gone++
		}
	}
	if lost < 30 || kept < 30 || torn < 30 || gone < 30 || gone > 270 {
		t.Fatalf("lost %d, kept %d, torn %d, name gone %d", lost, kept, torn, gone)
	}
}

// TestDatasyncLeavesTheLength: bytes beyond the durable length need Sync.
func TestDatasyncLeavesTheLength(t *testing.T) {
	short := 0
	for seed := range uint64(50) {
		m := storagetest.New(seed)
		f := made(t, m, "a", []byte("old"))
		must(t, m.Disk.Sync())
		write(t, f, []byte("longer"))
		must(t, f.Datasync())
		m.PowerCut(seed)
		if b, err := m.Disk.Read("a", 100); err != nil || string(b) == "old" {
			short++
		}
		m = storagetest.New(seed)
		f = made(t, m, "a", []byte("old"))
		must(t, m.Disk.Sync())
		write(t, f, []byte("new"))
		must(t, f.Datasync())
		m.PowerCut(seed)
		if b, err := m.Disk.Read("a", 100); err != nil || string(b) != "new" {
			t.Fatalf("synced bytes are %q, %v", b, err)
		}
	}
	if short == 0 {
		t.Fatal("the length is always there")
	}
}

// TestKill: the page cache stays, files and locks of the process do not.
func TestKill(t *testing.T) {
	m := storagetest.New(1)
	f := made(t, m, "a", []byte("x"))
	_, err := m.Disk.Lock()
	must(t, err)
	if _, err := m.Disk.Lock(); !errors.Is(err, storage.ErrLocked) {
		t.Fatal(err)
	}
	m.Kill()
	if _, err := f.WriteAt([]byte("y"), 0); !errors.Is(err, storagetest.ErrStopped) {
		t.Fatalf("a dead process writes: %v", err)
	}
	if _, err := m.Disk.Lock(); err != nil {
		t.Fatal(err)
	}
	b, err := m.Disk.Read("a", 10)
	if must(t, err); string(b) != "x" {
		t.Fatalf("%q", b)
	}
}

// TestFaults: each kind of fault does as much as it says.
func TestFaults(t *testing.T) {
	for _, row := range []struct {
		name  string
		fault storagetest.Fault
		n     int
		err   error
		left  string
		stops bool
	}{
		{"broken", storagetest.Broken(), 0, syscall.EIO, "....", false},
		{"full", storagetest.NoSpace(), 0, syscall.ENOSPC, "....", false},
		{"short", storagetest.Fault{Effect: storagetest.Half}, 2, nil, "ab..", false},
		{"done and broken", storagetest.Fault{Effect: storagetest.Whole, Err: syscall.EIO}, 4, syscall.EIO, "abcd", false},
		{"stopped before", storagetest.Fault{Stop: true}, 0, storagetest.ErrStopped, "....", true},
		{"stopped amid", storagetest.Fault{Stop: true, Effect: storagetest.Half}, 2, storagetest.ErrStopped, "ab..", true},
		{"stopped after", storagetest.Fault{Stop: true, Effect: storagetest.Whole}, 4, storagetest.ErrStopped, "abcd", true},
		{"lie", storagetest.Fault{}, 0, nil, "....", false},
	} {
		m := storagetest.New(1)
		f := made(t, m, "a", []byte("...."))
		m.Plan(storagetest.On("write", row.fault))
		n, err := f.WriteAt([]byte("abcd"), 0)
		if n != row.n || !errors.Is(err, row.err) || m.Stopped() != row.stops {
			t.Errorf("%s: %d, %v, stopped %v", row.name, n, err, m.Stopped())
		}
		if err := f.Sync(); (err != nil) != row.stops {
			t.Errorf("%s: sync after it: %v", row.name, err)
		}
		if b := m.Disk.Copy()["a"]; string(b) != row.left {
			t.Errorf("%s: left %q", row.name, b)
		}
	}
}

// TestPlans: once is once, forever is forever and for one kind of call.
func TestPlans(t *testing.T) {
	m := storagetest.New(1)
	f := made(t, m, "a", []byte("x"))
	try := func(p storagetest.Plan) (failed string) {
		m.Plan(p)
		for range 3 {
			if f.Sync() != nil {
				failed += "s"
			}
			if f.Datasync() != nil {
				failed += "d"
			}
		}
		return failed
	}
	if got := try(storagetest.At(2, storagetest.Broken())); got != "s" {
		t.Errorf("once: %q", got)
	}
	if got := try(storagetest.From(2, storagetest.Broken())); got != "ss" {
		t.Errorf("forever: %q", got)
	}
	if got := try(storagetest.On("datasync", storagetest.Broken())); got != "ddd" {
		t.Errorf("every: %q", got)
	}
	if n := len(m.Calls()); n != 6 {
		t.Errorf("%d calls", n)
	}
}

func TestCapacity(t *testing.T) {
	m := storagetest.New(1)
	f := made(t, m, "a", make([]byte, 100))
	m.Disk.Capacity = 150
	if _, err := f.WriteAt(make([]byte, 51), 100); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	write(t, f, make([]byte, 150))
}

// TestTPM: the counter only grows, the digest goes with the power, blobs open at their epoch.
func TestTPM(t *testing.T) {
	m := storagetest.New(1)
	e, err := m.TPM.Provision([]byte("secret"))
	must(t, err)
	blob, err := m.TPM.Seal([]byte("secret"), e)
	must(t, err)
	if s, err := m.TPM.Unseal(blob, e); err != nil || string(s) != "secret" {
		t.Fatalf("%q, %v", s, err)
	}
	if err := m.TPM.Advance([]byte("other"), e); err == nil {
		t.Fatal("moved with another secret")
	}
	must(t, m.TPM.Advance([]byte("secret"), e))
	if _, err := m.TPM.Unseal(blob, e); !errors.Is(err, storagetest.ErrUnsealed) {
		t.Fatalf("opened at the next epoch: %v", err)
	}
	must(t, m.TPM.Extend([32]byte{1}))
	d1, resets, restarts, _ := m.TPM.Running()
	m.Restart()
	d2, resets2, restarts2, _ := m.TPM.Running()
	m.PowerCut(0)
	_, resets3, restarts3, _ := m.TPM.Running()
	if d1 == d2 || resets2 != resets || restarts2 != restarts+1 || resets3 != resets+1 || restarts3 != restarts2 {
		t.Fatal("the counts do not tell a restart from a power cycle")
	}
	if now, _ := m.TPM.Epoch(); now != e+1 {
		t.Fatalf("epoch %d after %d", now, e)
	}
}

func made(t *testing.T, m *storagetest.Machine, name string, b []byte) storage.File {
	t.Helper()
	f, err := m.Disk.Create(name)
	must(t, err)
	write(t, f, b)
	must(t, f.Sync())
	return f
}

func write(t *testing.T, w io.WriterAt, b []byte) {
	t.Helper()
	_, err := w.WriteAt(b, 0)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestCut: each way of losing power does to the writes what its name says.
func TestCut(t *testing.T) {
	old, first, second := bytes.Repeat([]byte{1}, 8192), bytes.Repeat([]byte{2}, 8192), bytes.Repeat([]byte{3}, 8192)
	for _, unit := range []int64{512, 4096} {
		seen := map[storagetest.Mode]map[string]bool{}
		for _, mode := range []storagetest.Mode{storagetest.Lost, storagetest.Kept, storagetest.Torn, storagetest.Reordered} {
			seen[mode] = map[string]bool{}
			for seed := range uint64(60) {
				m := storagetest.New(seed)
				f := made(t, m, "a", old)
				must(t, m.Disk.Sync())
				write(t, f, first)
				write(t, f, second)
				m.Cut(storagetest.Loss{Mode: mode, Unit: unit, Seed: seed})
				b, err := m.Disk.Read("a", 8192)
				must(t, err)
				units := ""
				for at := int64(0); at < 8192; at += unit {
					if part := b[at : at+unit]; !bytes.Equal(part, bytes.Repeat(part[:1], int(unit))) {
						t.Fatalf("a unit of %d bytes is torn", unit)
					}
					units += string('0' + b[at])
				}
				seen[mode][units] = true
				if mode == storagetest.Torn && (strings.Contains(units, "12") || strings.Contains(units, "23") || strings.Contains(units, "13")) {
					t.Fatalf("torn leaves %s: a later part without an earlier one", units)
				}
			}
		}
		n := int(8192 / unit)
		if len(seen[storagetest.Lost]) != 1 || !seen[storagetest.Lost][strings.Repeat("1", n)] || len(seen[storagetest.Kept]) != 1 || !seen[storagetest.Kept][strings.Repeat("3", n)] {
			t.Errorf("lost leaves %v, kept %v", seen[storagetest.Lost], seen[storagetest.Kept])
		}
		if len(seen[storagetest.Torn]) < 4 || len(seen[storagetest.Reordered]) < 4 {
			t.Errorf("by %d bytes torn leaves %v, reordered %v", unit, seen[storagetest.Torn], seen[storagetest.Reordered])
		}
	}
}

// TestFork: two machines of one past, and nothing that one does is seen by the other.
func TestFork(t *testing.T) {
	m := storagetest.New(3)
	f := made(t, m, "a", []byte("before"))
	must(t, m.Disk.Sync())
	write(t, f, []byte("behind"))
	var forks []*storagetest.Machine
	m.Watch = func(_ storagetest.Call, fork *storagetest.Machine) { forks = append(forks, fork) }
	write(t, f, []byte("beside"))
	must(t, m.TPM.Extend([32]byte{1}))
	m.Watch = nil
	if len(forks) != 2 {
		t.Fatalf("%d steps were watched", len(forks))
	}
	for i, want := range []string{"behind", "beside"} {
		if got := string(forks[i].Disk.Copy()["a"]); got != want {
			t.Errorf("fork %d has %q, want %q", i, got, want)
		}
	}
	one, two := forks[1].Fork(), forks[1]
	one.Cut(storagetest.Loss{Mode: storagetest.Lost, Unit: 512})
	if a, b := string(one.Disk.Copy()["a"]), string(two.Disk.Copy()["a"]); a != "before" || b != "beside" {
		t.Errorf("after a cut of one: %q and %q", a, b)
	}
	_, resets1, _, _ := one.TPM.Running()
	_, resets2, _, _ := two.TPM.Running()
	if resets1 != resets2+1 {
		t.Errorf("resets are %d and %d", resets1, resets2)
	}
	a, b := make([]byte, 8), make([]byte, 8)
	m.Read(a)
	if two.Read(b); !bytes.Equal(a, b) {
		t.Error("a fork draws other randomness")
	}
}

// TestAstray: a write that is reported as done and lies elsewhere.
func TestAstray(t *testing.T) {
	for k, want := range []storagetest.Image{
		{"a": []byte("newAAAAAA"), "b": []byte("BBBBBBBBB")}, // one sector before is the start, for a short file
		{"a": []byte("newAAAAAA"), "b": []byte("BBBBBBBBB")}, // one behind is beyond the end: the start
		{"a": []byte("newAAAAAA"), "b": []byte("BBBBBBBBB")},
		{"a": []byte("AAAAAAAAA"), "b": []byte("BBBBnewBB")},
		{"a": []byte("AAAAAAAAA"), "b": []byte("BBBBBBBBB")}, // free space
	} {
		m := storagetest.New(1)
		f := made(t, m, "a", []byte("AAAAAAAAA"))
		made(t, m, "b", []byte("BBBBBBBBB"))
		m.Plan(storagetest.On("write", storagetest.Fault{Effect: storagetest.Astray + storagetest.Effect(k)}))
		if n, err := f.WriteAt([]byte("new"), 4); n != 3 || err != nil {
			t.Fatalf("place %d: %d, %v", k, n, err)
		}
		if got := m.Disk.Copy(); !bytes.Equal(got["a"], want["a"]) || !bytes.Equal(got["b"], want["b"]) {
			t.Errorf("place %d: %q, want %q", k, got, want)
		}
	}
}

// TestReset: the TPM restarts under a process that does not notice.
func TestReset(t *testing.T) {
	m := storagetest.New(1)
	must(t, m.TPM.Extend([32]byte{1}))
	before, resets, restarts, _ := m.TPM.Running()
	m.Plan(storagetest.On("running", storagetest.Fault{Reset: true, Effect: storagetest.Whole}))
	after, resets2, restarts2, err := m.TPM.Running()
	if err != nil || after == before || after != [32]byte{} || resets2 != resets || restarts2 != restarts+1 {
		t.Errorf("%x, %d, %d, %v", after, resets2, restarts2, err)
	}
}

// TestKeep: what Keep gives makes another machine's TPM the same.
func TestKeep(t *testing.T) {
	m, other := storagetest.New(1), storagetest.New(2)
	e, err := m.TPM.Provision([]byte("secret"))
	must(t, err)
	blob, err := m.TPM.Seal([]byte("secret"), e)
	must(t, err)
	must(t, m.TPM.Extend([32]byte{1}))
	if _, err := other.TPM.Unseal(blob, e); !errors.Is(err, storagetest.ErrUnsealed) {
		t.Fatalf("another TPM: %v", err)
	}
	must(t, other.TPM.Put(m.TPM.Keep()))
	if s, err := other.TPM.Unseal(blob, e); err != nil || string(s) != "secret" {
		t.Fatalf("%q, %v", s, err)
	}
	must(t, other.TPM.Advance([]byte("secret"), e))
	if d, _, _, _ := other.TPM.Running(); d == ([32]byte{}) {
		t.Fatal("the digest was not kept")
	}
	if other.TPM.Put([]byte("epoch: 1\n")) == nil || other.TPM.Put(m.TPM.Keep()[:40]) == nil {
		t.Fatal("took a part for the whole")
	}
}
