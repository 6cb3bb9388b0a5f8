package main

import (
	"math/bits"
	"time"
)

// histogram counts latencies in buckets that are at most 1/64 wide: 64 in each power of two of nanoseconds.
type histogram struct {
	count   uint64
	buckets [64 * 36]uint32 // up to 2^41 ns, half an hour
}

const perPower = 64

func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < perPower {
		return int(n)
	}
	power := bits.Len64(n) - 7 // so that n>>power is 64 to 127
	return min(power*perPower+int(n>>power), len(histogram{}.buckets)-1)
}

// middle of a bucket.
func middle(b int) time.Duration {
	if b < 2*perPower {
		return time.Duration(b)
	}
	power := b/perPower - 1
	low := time.Duration(b-power*perPower) << power
	return low + time.Duration(1)<<power/2
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.count++
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.count += o.count
}

// quantile is the latency that a share q of all does not exceed; zero where there is none.
func (h *histogram) quantile(q float64) time.Duration {
	wanted := uint64(q * float64(h.count))
	var seen uint64
	for i, n := range h.buckets {
		if seen += uint64(n); seen > wanted || seen == h.count && n > 0 {
			return middle(i)
		}
	}
	return 0
}
