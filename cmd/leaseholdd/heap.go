package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/leasehold/leasehold/storage"
)

// The collector's own rule, a heap of twice what is live, fits neither end of an appliance's life: the little that is live with few leases would be collected
// many times a second at full load, and what a start read would be kept for a heap that never gets so large again.
const (
	// leastSpare is how much is allocated between two collections, in bytes, or as much as is live where that is more.
	leastSpare = 12 << 20

	// startSettles is when those who waited for the start have been answered.
	startSettles = 2 * time.Second

	// eraseEvery is how long a copy of a key may lie on the heap after its use, but for the time of a collection.
	eraseEvery = 10 * time.Second
)

// keepHeap gives the collector its pace, and back to the system what a start needed, until ctx ends.
func keepHeap(ctx context.Context) {
	defer time.AfterFunc(startSettles, func() {
		debug.FreeOSMemory()
		pace(ctx, 100) // not before: it takes the pace from what a collection left
	}).Stop()
	if storage.Erases {
		eraseUses(ctx)
	}
	<-ctx.Done()
}

// eraseUses runs the collector every eraseEvery: only it erases what uses of keys have left on the heap, and left alone it comes after two minutes. It takes a
// fiftieth of the time at most, so a large heap is collected less often.
func eraseUses(ctx context.Context) {
	wait := eraseEvery
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		begin := time.Now()
		runtime.GC()
		wait = max(eraseEvery, 50*time.Since(begin))
	}
}

// pace sets the collector's percentage after each collection, by what it left, until ctx ends; percent is what the collector last heard.
func pace(ctx context.Context, percent int) {
	if ctx.Err() != nil {
		return
	}
	if now := percentFor(liveHeap()); now != percent {
		debug.SetGCPercent(now)
		percent = now
	}
	runtime.AddCleanup(new(*int), func(percent int) { pace(ctx, percent) }, percent) // of what nothing refers to: the next collection runs it
}

// percentFor is how much may be allocated in hundredths of what is live, both in bytes.
func percentFor(live uint64) int {
	const least = 4 << 20 // the runtime takes no heap for smaller, and the same hundredths of it
	return int(max(100, 100*leastSpare/max(live, least)))
}

// liveHeap is what the percentage is of: what the last collection left, and the stacks and globals it looked through.
func liveHeap() (n uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	for _, s := range samples {
		n += s.Value.Uint64()
	}
	return n
}
