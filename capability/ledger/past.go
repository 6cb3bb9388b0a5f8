package ledger

import "github.com/leasehold/leasehold/capability"

// Past is what was used: in each period whose record is still kept, the oldest first and as wire.Codec encodes capability.Usage, and in the running one up to that moment. It is for programs to show, so what is
// encoded is not decoded in the owner's time; the caller must not change it.
func (l *Ledger) Past(now Now) (kept [][]byte, running []capability.Usage) {
	kept = make([][]byte, 0, len(l.usage.kept))
	for _, k := range l.usage.kept {
		kept = append(kept, k.body)
	}
	if l.usage.from != 0 && now.Wall > l.usage.from {
		running = l.used(now.Wall, now.Lease)
	}
	return kept, running
}
