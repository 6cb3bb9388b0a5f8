package storagetest_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
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
