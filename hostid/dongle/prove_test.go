package dongle

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/hostid/dongle/dongletest"
)

// bench is what is plugged into a machine, by device path.
type bench map[string]*dongletest.Key

func (b bench) open(d Device) (*Key, error) {
	e := b[d.Path]
	if e == nil {
		return nil, ErrGone
	}
	f, err := e.Plug()
	if err != nil {
		return nil, err
	}
	return Over(f), nil
}

func (b bench) devices(c hostid.Credential) (all []Device) {
	for p := range b {
		all = append(all, Device{Path: p, Vendor: c.Vendor, Product: c.Product, Serial: c.Serial})
	}
	return all
}

func TestProve(t *testing.T) {
	e, _, c, counter := enrolled(t)
	pretender, err := e.Pretend()
	if err != nil {
		t.Fatal(err)
	}
	mute, liar, syncs := dongletest.New(), e.Copy(), e.Copy()
	mute.Alter = func(byte, []byte) []byte { return nil }
	liar.Alter = func(command byte, b []byte) []byte {
		if command == dongletest.CommandAssert {
			b[len(b)-1] ^= 1 // of the signature
		}
		return b
	}
	syncs.Flags = 0x08
	for name, v := range map[string]struct {
		plugged bench
		want    error
	}{
		"the key":                      {bench{"a": e}, nil},
		"none":                         {bench{}, ErrGone},
		"another key":                  {bench{"a": dongletest.New()}, ErrOtherKey},
		"one without the secrets":      {bench{"a": pretender}, ErrOtherKey},
		"the key among others":         {bench{"a": dongletest.New(), "b": pretender, "c": e, "d": liar}, nil},
		"the key beside a mute one":    {bench{"a": mute, "b": mute, "c": e}, nil},
		"others, and one of them mute": {bench{"a": dongletest.New(), "b": mute}, ErrNoAnswer},
		"one that lies":                {bench{"a": liar}, ErrOtherKey},
		"a key that now syncs":         {bench{"a": syncs}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := Prove(within(t, 4*soon), v.plugged.devices(c), v.plugged.open, c, question(1))
			if name == "a key that now syncs" { // the judge raises the alarm
				if _, wrong := c.Verify(question(1), a, counter); err != nil || !errors.Is(wrong, hostid.ErrCopyable) {
					t.Errorf("%v, %v", err, wrong)
				}
				return
			}
			if !errors.Is(err, v.want) {
				t.Fatalf("%v, want %v", err, v.want)
			}
			if err != nil {
				return
			}
			if counter, err = c.Verify(question(1), a, counter); err != nil {
				t.Error(err)
			}
		})
	}
	flawed := []Device{{Path: "a", Flaw: "USB over IP"}}
	if a, err := Prove(t.Context(), flawed, bench{"a": e}.open, c, question(1)); !errors.Is(err, ErrGone) {
		t.Errorf("a key behind USB over IP: %+v, %v", a, err)
	}
}

// 100 devices that show the vendor, product and serial number of the key, and even its credential, and do not have its secrets.
func TestEmulatedSerials(t *testing.T) {
	e, k, c, counter := enrolled(t)
	c.Vendor, c.Product, c.Serial = 0x1050, 0x407, "0815"
	w, err := hostid.NewWatch(c, appliance(), times(), hostid.WatchState{Counter: counter}, at(0))
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for i := range byte(100) {
		fake := dongletest.New()
		if i%2 == 1 {
			if fake, err = e.Pretend(); err != nil {
				t.Fatal(err)
			}
		}
		plugged := bench{"a": fake}
		q, err := w.Ask(at(time.Duration(i)*time.Minute), hostid.OnDemand, hostid.Nonce{i + 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Prove(t.Context(), plugged.devices(c), plugged.open, c, q); err == nil {
			accepted++
		} else if !errors.Is(err, ErrOtherKey) {
			t.Errorf("device %d: %v", i, err)
		}
		// And what it answers, given to the judge as it is.
		a, err := plug(t, fake).Prove(t.Context(), c, q)
		if i%2 == 1 && err != nil {
			t.Errorf("device %d does not even try: %v", i, err)
		}
		now := at(time.Duration(i)*time.Minute + time.Second)
		if w.Answer(now, a) == nil || w.Grants(now) {
			accepted++
		}
	}
	if accepted > 0 {
		t.Errorf("%d of 100 devices without the key were accepted", accepted)
	}
	q, err := w.Ask(at(200*time.Minute), hostid.OnDemand, hostid.Nonce{200})
	if err != nil {
		t.Fatal(err)
	}
	a, err := k.Prove(t.Context(), c, q)
	if err != nil || w.Answer(at(200*time.Minute), a) != nil || !w.Grants(at(200*time.Minute)) {
		t.Errorf("the key itself: %v", err)
	}
}

func times() hostid.WatchRules {
	return hostid.WatchRules{Every: time.Minute, Within: 2 * time.Second, Grace: 10 * time.Minute}
}

func at(d time.Duration) time.Time { return time.Unix(1_800_000_000, 0).Add(d) }

// A key is plugged in and pulled out 1,000 times, with the transport between: it answers while it is there, whoever waits for its end learns of it, and
// nothing is granted after that or renewed after the grace. Time is the test's, the end of the device is real.
func TestPlugCycles(t *testing.T) {
	const cycles = 1000
	e, k, c, counter := enrolled(t)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	chance := rand.New(rand.NewPCG(17, 1))
	now := time.Duration(0)
	w, err := hostid.NewWatch(c, appliance(), times(), hostid.WatchState{Counter: counter}, at(now))
	if err != nil {
		t.Fatal(err)
	}
	var granted, wrongGrants, renewed, wrongRenewals int
	var slowest time.Duration
	drawn := uint64(0)
	ask := func(k *Key) error {
		drawn++
		var n hostid.Nonce
		binary.BigEndian.PutUint64(n[:], drawn)
		q, err := w.Ask(at(now), hostid.OnDemand, n)
		if err != nil {
			return err
		}
		a, err := k.Prove(context.Background(), c, q)
		if err != nil {
			return err
		}
		return w.Answer(at(now), a)
	}
	for cycle := range cycles {
		k, watcher := plug(t, e), plug(t, e)
		gone := make(chan error, 1)
		go func() { gone <- watcher.Wait(context.Background()) }()
		for range 1 + chance.IntN(3) {
			if err := ask(k); err != nil {
				t.Fatalf("cycle %d: %v", cycle, err)
			}
			now += time.Duration(chance.Int64N(int64(time.Minute)))
			if !w.Grants(at(now)) {
				t.Fatalf("cycle %d: locked out at %s with the key plugged in", cycle, now)
			}
			granted++
		}
		begin := time.Now()
		if err := e.Unplug(); err != nil {
			t.Fatal(err)
		}
		if err := <-gone; !errors.Is(err, ErrGone) {
			t.Fatalf("cycle %d: %v", cycle, err)
		}
		slowest = max(slowest, time.Since(begin))
		w.Removed(at(now))
		removed := now
		for range chance.IntN(5) {
			if w.Grants(at(now)) {
				wrongGrants++
			}
			switch r := w.Renews(at(now)); {
			case r && now >= removed+times().Grace:
				wrongRenewals++
			case r:
				renewed++
			case now < removed+times().Grace:
				t.Fatalf("cycle %d: no renewal %s after the removal", cycle, now-removed)
			}
			if err := ask(k); !errors.Is(err, ErrGone) {
				t.Fatalf("cycle %d: asked a key that is gone: %v", cycle, err)
			}
			now += time.Duration(chance.Int64N(int64(5 * time.Minute)))
		}
		if err := errors.Join(k.Close(), watcher.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if wrongGrants+wrongRenewals > 0 {
		t.Errorf("%d grants after the removal, %d renewals after the grace", wrongGrants, wrongRenewals)
	}
	if slowest > 2*time.Second {
		t.Errorf("a removal was noticed after %s", slowest)
	}
	if granted < cycles || renewed < cycles/2 {
		t.Errorf("%d grants, %d renewals: the lives are not what they should be", granted, renewed)
	}
	t.Logf("%d cycles: %d grants, %d renewals in grace, none wrong; the slowest removal was noticed after %s", cycles, granted, renewed, slowest)
}

// What an appliance does with a key: an administrator enrolls it once, and from then on it answers at every interval.
func Example() {
	e := dongletest.New() // in place of a key in a port; on a machine, List finds it and Open opens it
	plugged := bench{"/dev/hidraw0": e}
	devices := []Device{{Path: "/dev/hidraw0", Vendor: 0x1050, Product: 0x407}}
	host := hostid.ID{Type: hostid.TPMEK, Value: strings.Repeat("7F", 32)}

	key, err := plugged.open(devices[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	credential, counter, err := key.Enroll(context.Background(), host, func() { fmt.Println("touch the key") })
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = key.Close()

	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	watch, err := hostid.NewWatch(credential, host, hostid.WatchRules{Every: time.Minute, Within: 2 * time.Second, Grace: 7 * 24 * time.Hour}, hostid.WatchState{Counter: counter}, start)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("before an answer:", watch.Grants(start), watch.Renews(start))
	challenge, err := watch.Ask(start, hostid.ToStart, hostid.Nonce{1: 2, 31: 3}) // 32 bytes of chance
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := Prove(context.Background(), devices, plugged.open, credential, challenge)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("answered:", watch.Answer(start, answer) == nil, watch.Grants(start), watch.Renews(start))
	watch.Removed(start)
	fmt.Println("pulled out:", watch.Grants(start), watch.Renews(start))
	// Output:
	// touch the key
	// before an answer: false true
	// answered: true true true
	// pulled out: false true
}
