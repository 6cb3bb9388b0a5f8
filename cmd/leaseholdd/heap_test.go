package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 300}, {4 << 20, 300}, {6 << 20, 200}, {leastSpare, 100}, {leastSpare + 1, 100}, {1 << 40, 100},
	} {
		if got := percentFor(c.live); got != c.want {
			t.Errorf("%d bytes live: %d %%, want %d", c.live, got, c.want)
		}
	}
}

// TestPace sees a heap that grows and shrinks again: the percentage goes down with it and up, collection by collection, and stays as it is once ctx has ended.
func TestPace(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	percent := func() (now int) {
		now = debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	until := func(what string, good func(percent int) bool) {
		for deadline := time.Now().Add(time.Minute); !good(percent()); runtime.GC() {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d %%", what, percent())
			}
		}
	}
	runtime.GC()
	pace(ctx, 100)
	until("little is live", func(p int) bool { return p > 150 })
	much := make([]byte, 2*leastSpare)
	until("much is live", func(p int) bool { return p == 100 })
	runtime.KeepAlive(much)
	until("little is live again", func(p int) bool { return p > 150 })
	cancel()
	debug.SetGCPercent(77)
	much = make([]byte, 2*leastSpare)
	for range 5 {
		runtime.GC()
	}
	if p := percent(); p != 77 {
		t.Errorf("the pace is still followed: %d %%", p)
	}
	runtime.KeepAlive(much)
}
