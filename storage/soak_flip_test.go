package storage_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
)

const stateBytes = 64 << 10

// flippable is a vault whose files have 64 KiB in all, and every bit of them by number.
type flippable struct {
	*world
	image storagetest.Image
	names []string
	dead  map[string]int // bytes from here on were never written
	want  storage.Verdict
}

// newFlippable pads its snapshot to the size. What it was left by is the last thing it did.
func newFlippable(t *testing.T, leave func(*world)) *flippable {
	build := func(pad int) *world {
		w := newWorld(t, 7)
		w.must(w.create())
		w.must(w.begin())
		w.must(w.commit(1, pad))
		w.must(w.snapshot())
		for n := range 24 {
			w.must(w.commit(1+n%3, 40+37*n))
		}
		w.must(w.move(2))
		w.must(w.commit(2, 300))
		leave(w)
		w.m.Kill()
		return w
	}
	const least = 100
	size := 0
	for _, b := range build(least).m.Disk.Copy() {
		size += len(b)
	}
	f := &flippable{world: build(least + stateBytes - size), dead: map[string]int{}}
	f.image = f.m.Disk.Copy()
	size = 0
	for name, b := range f.image {
		size += len(b)
		f.names = append(f.names, name)
		f.dead[name] = len(b)
		if strings.HasPrefix(name, "journal-") {
			frames := framesOf(b)
			if f.dead[name] = 0; len(frames) > 0 { // made ahead and not used: a start does not look at it
				f.dead[name] = frames[len(frames)-1].end
			}
		}
	}
	slices.Sort(f.names)
	if size != stateBytes {
		t.Fatalf("the state has %d bytes", size)
	}
	f.want = f.reopen().Verdict
	f.must(f.v.Close())
	return f
}

// frameIn is where a record lies in a segment.
type frameIn struct{ start, end int }

// framesOf finds the records of a segment by their plain lengths.
func framesOf(segment []byte) (list []frameIn) {
	for at := 60; at+28 <= len(segment) && string(segment[at:at+4]) == "LHf1"; {
		end := at + 28 + int(binary.BigEndian.Uint32(segment[at+4:]))
		list = append(list, frameIn{at, end})
		at = end
	}
	return list
}

// bit gives the place of the n-th bit of the state.
func (f *flippable) bit(n int) (name string, at int, mask byte) {
	at = n / 8
	for _, name := range f.names {
		if at < len(f.image[name]) {
			return name, at, 1 << (n % 8)
		}
		at -= len(f.image[name])
	}
	panic("there is no such bit")
}

// flip opens the vault with these bits flipped. It is refused, or nothing but bytes never written was hit and everything is as it was.
func (f *flippable) flip(bits ...int) (harmless bool) {
	f.Helper()
	spoiled, live := maps.Clone(f.image), false
	for _, n := range bits {
		name, at, mask := f.bit(n)
		if &spoiled[name][0] == &f.image[name][0] {
			spoiled[name] = slices.Clone(spoiled[name])
		}
		spoiled[name][at] ^= mask
		live = live || at < f.dead[name]
	}
	f.m.Disk.Restore(spoiled)
	v, r, err := storage.Open(f.m.Disk, f.o)
	if err != nil {
		if !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storagetest.ErrUnsealed) && !errors.Is(err, storage.ErrRolledBack) {
			f.Fatalf("flipped bits %v give %v", bits, err)
		}
		return false
	}
	f.must(v.Close())
	if live {
		f.Fatalf("flipped bits %v were not noticed", bits)
	}
	if r.Verdict != f.want || !slices.Equal(entriesOf(r), f.told) || string(r.Public) != f.public[0] {
		f.Fatalf("bits %v, never written, change what is found: %s", bits, r.Verdict)
	}
	return true
}

func (f *flippable) bits() int { return 8 * stateBytes }

func leaves() map[string]func(*world) {
	return map[string]func(*world){"running": func(*world) {}, "stopped": func(w *world) { w.must(w.stop()) }}
}

// TestSoakEveryBitFlipped flips every bit of 64 KiB; an ordinary run takes some by chance.
func TestSoakEveryBitFlipped(t *testing.T) {
	size := storagetest.Size(t, 4_000, 8*stateBytes, 2*8*stateBytes)
	tried := counted(t)
	harmless := 0
	r := rand.New(rand.NewPCG(uint64(size), 13))
	for _, name := range []string{"running", "stopped"} {
		f := newFlippable(t, leaves()[name])
		f.TB = named{t, name}
		all := size >= f.bits()
		for n := range min(size, f.bits()) {
			if !all {
				n = r.IntN(f.bits())
			}
			tried.n++
			if f.flip(n) {
				harmless++
			}
		}
		if size -= f.bits(); size <= 0 {
			break
		}
	}
	t.Logf("%d of %d were in bytes never written, and without effect", harmless, tried.n)
}

// TestSoakManyBitsFlipped flips 2 to 64 bits: anywhere, or close together.
func TestSoakManyBitsFlipped(t *testing.T) {
	size := storagetest.Size(t, 3_000, 1_000_000, 1_000_000)
	tried := counted(t)
	harmless := 0
	r := rand.New(rand.NewPCG(uint64(size), 14))
	var states []*flippable
	for name, leave := range leaves() {
		f := newFlippable(t, leave)
		f.TB = named{t, name}
		states = append(states, f)
	}
	for tried.n < size {
		f := states[tried.n%len(states)]
		within := f.bits()
		if r.IntN(2) == 0 {
			within = 8 * (8 << r.IntN(9)) // 8 bytes to 2 KiB
		}
		from := r.IntN(f.bits() - within + 1)
		bits := map[int]bool{}
		for range 2 + r.IntN(63) {
			bits[from+r.IntN(within)] = true
		}
		tried.n++
		if f.flip(slices.Sorted(maps.Keys(bits))...) {
			harmless++
		}
	}
	t.Logf("%d of %d were in bytes never written, and without effect", harmless, tried.n)
}

// markBytes is the length of the mark of a clean stop; no group is as short.
const markBytes = 28 + 1 + 16

// TestSoakRecordsMoved swaps, doubles, drops and carries over records: each is genuine and in the wrong place. A vault that opens holds, with
// a beginning of what was acknowledged, or has all of it.
func TestSoakRecordsMoved(t *testing.T) {
	size := storagetest.Size(t, 2_000, 100_000, 1_000_000)
	tried := counted(t)
	ways := map[string]int{}
	r := rand.New(rand.NewPCG(uint64(size), 15))
	var states []*flippable
	for name, leave := range leaves() {
		f := newFlippable(t, leave)
		f.TB = named{t, name}
		states = append(states, f)
	}
	for tried.n < size {
		f := states[tried.n%len(states)]
		records := map[string][][]byte{}
		var segments []string
		for _, name := range f.names {
			if strings.HasPrefix(name, "journal-") && f.dead[name] > 0 {
				segments = append(segments, name)
				for _, at := range framesOf(f.image[name]) {
					records[name] = append(records[name], f.image[name][at.start:at.end])
				}
			}
		}
		one, two := segments[r.IntN(len(segments))], segments[r.IntN(len(segments))]
		a, b := r.IntN(len(records[one])), r.IntN(len(records[two]))
		what := []string{"swap", "double", "drop", "carry over"}[r.IntN(4)]
		switch what {
		case "swap":
			if one == two && a == b {
				continue
			}
			records[one], records[two] = slices.Clone(records[one]), slices.Clone(records[two])
			if one == two {
				records[one] = records[two]
			}
			records[one][a], records[two][b] = records[two][b], records[one][a]
		case "double":
			records[one] = slices.Insert(slices.Clone(records[one]), a, records[one][a])
		case "drop":
			if len(records[one][a]) == markBytes {
				what = "drop the mark" // S says as much
			}
			records[one] = slices.Delete(slices.Clone(records[one]), a, a+1)
		case "carry over":
			records[two] = slices.Insert(slices.Clone(records[two]), b, records[one][a])
		}
		image := maps.Clone(f.image)
		for _, name := range []string{one, two} {
			segment := append(slices.Clone(f.image[name][:60]), slices.Concat(records[name]...)...)
			image[name] = append(segment, make([]byte, max(0, len(f.image[name])-len(segment)))...)
		}
		tried.n++
		w := *f.world
		w.TB = named{f.TB, fmt.Sprintf("%s record %d of %s and %d of %s", what, a, one, b, two)}
		w.m.Disk.Restore(image)
		ways[what+": "+w.noticed(nil)]++
	}
	t.Logf("%v", ways)
	for way := range ways {
		if strings.HasSuffix(way, "nothing was lost") && way != "drop the mark: nothing was lost" {
			t.Errorf("%s: %d", way, ways[way])
		}
	}
}

// TestSoakFilesSwapped mixes the files of two vaults on one machine, and of two moments of one vault.
func TestSoakFilesSwapped(t *testing.T) {
	size := storagetest.Size(t, 2_000, 100_000, 1_000_000)
	tried := counted(t)
	ways := map[string]int{}
	for seed := uint64(0); tried.n < size; seed++ {
		r := rand.New(rand.NewPCG(seed, 16))
		w := running(t, seed)
		other := running(t, seed+7) // at the same epochs
		var kept []storagetest.Image
		for range 8 {
			o := operationsOf()[r.IntN(len(operationsOf()))]
			for _, v := range []*world{w, other} {
				kept = append(kept, v.m.Disk.Copy())
				if o.prepare != nil {
					o.prepare(v)
				}
				v.must(o.do(v))
			}
		}
		w.m.Kill()
		now := w.m.Disk.Copy()
		for range 50 {
			image, from, changed := maps.Clone(now), r.IntN(len(kept)), []string{}
			for _, name := range slices.Sorted(maps.Keys(kept[from])) {
				if r.IntN(3) == 0 {
					image[name] = kept[from][name]
					changed = append(changed, name)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(now)) {
				if kept[from][name] == nil && r.IntN(6) == 0 {
					delete(image, name)
					changed = append(changed, "no "+name)
				}
			}
			tried.n++
			w.TB = named{t, fmt.Sprintf("seed %d: %v of image %d", seed, changed, from)}
			w.m.Disk.Restore(image)
			one := w.on(w.m.Fork())
			one.stopped = false
			one.lies = true
			ways[one.noticed(nil)]++
		}
	}
	t.Logf("%v", ways)
}
