package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leasehold/leasehold/storage/storagetest"
)

const (
	parts    = 20
	warm     = 1000     // answers before memory is measured for the first time
	mayGrow  = 24 << 20 // bytes of resident memory, from then to the end: what the collector may leave behind, not what a day would add up to
	mayWrite = 3        // times that the TPM writes, whatever the number of answers: none of them moves the epoch
)

// TestSoakSteady has one daemon serve clients that take, renew, give back, break off in the middle and come again, without a pause and without a restart. Its memory
// must not grow with what it has served, nor its open files, and its TPM must not write. One case is one answer.
func TestSoakSteady(t *testing.T) {
	size := storagetest.Size(t, 3_000, 1_000_000, 100_000_000)
	b := newBox(t)
	chip := strings.TrimPrefix(b.Chip.Address(), "unix:")
	bus := newTap(t, "unix", filepath.Join(b.Dir, "t"), true, func() (net.Conn, error) { return net.Dial("unix", chip) })
	b.Bus = "unix:" + filepath.Join(b.Dir, "t")
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	all, err := desks(8)
	if err != nil {
		t.Fatal(err)
	}
	var answers atomic.Int64
	begun, failed := time.Now(), 0
	serve := func(until int64) {
		t.Helper()
		var work sync.WaitGroup
		wrong := make(chan error, len(all))
		for i, d := range all {
			chance := rand.New(rand.NewPCG(uint64(i), uint64(until)))
			work.Go(func() {
				for answers.Load() < until {
					denied, err := d.want(b.Clients.Addr().String(), uint32(chance.IntN(9)), nil)
					if err != nil || len(denied) > 0 {
						wrong <- fmt.Errorf("after %d answers: %v, %w", answers.Load(), denied, err)
						return
					}
					answers.Add(1)
					if chance.IntN(500) == 0 {
						d.leave()
					}
				}
			})
		}
		work.Wait()
		select {
		case err := <-wrong:
			failed++
			t.Error(err)
		default:
		}
	}
	serve(warm)
	memory, files := b.resident(t), b.descriptors(t)
	bus.writes(t) // those of the start
	n := 0
	for part := range int64(parts) {
		serve(warm + (int64(size)-warm)*(part+1)/parts)
		t.Logf("after %d answers: %d MiB, %d files", answers.Load(), b.resident(t)>>20, b.descriptors(t))
		for _, k := range bus.writes(t) {
			n += k
		}
	}
	grown, more := b.resident(t)-memory, b.descriptors(t)-files
	if grown > mayGrow || more > 2*len(all) || n > mayWrite {
		failed++
		t.Errorf("%d MiB and %d files more than after %d answers, and the TPM wrote %d times", grown>>20, more, warm, n)
	}
	storagetest.Tried(t, int(answers.Load()), failed)
	t.Logf("%d answers in %.0f s, %+d KiB since the first %d, %d writes of the TPM", answers.Load(), time.Since(begun).Seconds(), grown>>10, warm, n)
}

// resident is the daemon's memory in bytes.
func (b *box) resident(t testing.TB) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var kib int
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// descriptors is how many files the daemon has open.
func (b *box) descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", b.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
