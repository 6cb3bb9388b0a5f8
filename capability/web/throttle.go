package web

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"
)

const (
	// FreeTries may fail before the next one has to wait.
	FreeTries = 5
	// longestWait between two tries, and how long failed tries are remembered.
	longestWait = 15 * time.Minute
	memoryOf    = 24 * time.Hour
	maxTried    = 100_000
)

// Throttle slows guessing down: after FreeTries that failed each further one of a name, or from an address, has to wait twice as long as the one before, for at most a quarter of an hour.
type Throttle struct {
	now func() time.Time

	mu    sync.Mutex
	tried map[whom]tried
}

// whom is a name or an address by its digest: whoever tries long names fills no memory with them.
type whom [sha256.Size]byte

func whoms(name, address string) [2]whom {
	return [2]whom{sha256.Sum256([]byte("name " + name)), sha256.Sum256([]byte("address " + Nearby(address)))}
}

type tried struct {
	failed uint32
	last   time.Time
}

// Verdict is what a throttle says of a try.
type Verdict struct {
	Wait   time.Duration // not zero: it comes too soon, and nothing was counted
	Failed uint32        // tries in a row of the name or the address, whichever has more of them, this one among them
	Closes time.Duration // not zero: if this one fails, it is the first after which the next must wait, so long
}

// NewThrottle has seen no tries.
func NewThrottle(now func() time.Time) *Throttle {
	return &Throttle{now: now, tried: map[whom]tried{}}
}

// Try counts a try of a name from an address as failed before anybody knows: a thousand sent at once are a thousand. Succeeded and Undecided take back what did not fail.
func (t *Throttle) Try(name, address string) (v Verdict) {
	keys := whoms(name, address)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for _, key := range keys {
		k := t.tried[key]
		v.Wait = max(v.Wait, pause(k.failed)-now.Sub(k.last))
	}
	if v.Wait > 0 {
		return v
	}
	t.forget()
	for _, key := range keys {
		k := t.tried[key]
		if now.Sub(k.last) > memoryOf {
			k.failed = 0
		}
		k.failed, k.last = k.failed+1, now
		t.tried[key] = k
		v.Failed = max(v.Failed, k.failed)
		if k.failed == FreeTries {
			v.Closes = pause(k.failed)
		}
	}
	return v
}

// Succeeded forgets the tries of a name, and takes back the last one of an address. Those before it are not forgotten: its owner may have a login, and guess at others.
func (t *Throttle) Succeeded(name, address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := whoms(name, address)
	delete(t.tried, keys[0])
	t.takeBack(keys[1])
}

// Undecided takes a try back of which nobody could say whether it failed: whoever judges them may be away for long, and that is nobody's guess.
func (t *Throttle) Undecided(name, address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range whoms(name, address) {
		t.takeBack(key)
	}
}

func (t *Throttle) takeBack(key whom) {
	if k := t.tried[key]; k.failed > 1 {
		k.failed--
		t.tried[key] = k
	} else {
		delete(t.tried, key)
	}
}

// forget drops what is old where very many were tried; then who has free tries left; and all of it where that does not help.
func (t *Throttle) forget() {
	for _, drop := range []func(tried) bool{
		func(k tried) bool { return t.now().Sub(k.last) > longestWait },
		func(k tried) bool { return k.failed < FreeTries },
		func(tried) bool { return true },
	} {
		if len(t.tried) < maxTried {
			return
		}
		for key, k := range t.tried {
			if drop(k) {
				delete(t.tried, key)
			}
		}
	}
}

func pause(failed uint32) time.Duration {
	if failed < FreeTries {
		return 0
	}
	return min(time.Second<<min(failed-FreeTries, 20), longestWait)
}

// Nearby is what all addresses have in common that one network gives to one subscriber: an IPv4 address is its own, of an IPv6 address it is the first half.
func Nearby(address string) string {
	ip, err := netip.ParseAddr(address)
	switch ip = ip.Unmap(); {
	case err != nil:
		return address
	case ip.Is4():
		return ip.String()
	}
	return netip.PrefixFrom(ip.WithZone(""), 64).Masked().String()
}
