package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// TestSoakReplayedFiles brings recorded responses and requests again, in any order and any number of times, at any moment of the life that they are of. A response
// above the one in force takes its place whole, the one in force is known again, and an older one changes nothing, not a byte of the state; nor does a request that
// was answered last. One case is one order of eight messages.
func TestSoakReplayedFiles(t *testing.T) {
	short := 3_000
	if testing.Short() {
		short = 500
	}
	size := storagetest.Size(t, short, 1_000_000, 1_000_000)
	tried, failed, newer := 0, 0, 0
	defer func() {
		storagetest.Tried(t, tried, failed)
		t.Logf("%d orders, in which %d responses were newer than the one in force; nothing else had an effect", tried, newer)
	}()
	for seed := uint64(1); tried < size; seed++ {
		rng := rand.New(rand.NewPCG(seed, 12))
		r := record(t, rng)
		for range min(500, size-tried) {
			n, err := r.replay(rng)
			tried++
			newer += n
			if err != "" {
				failed++
				t.Fatalf("seed %d, order %d: %s", seed, tried, err)
			}
		}
	}
}

// recording is a life with its messages: what was served between the responses is in force at each of its moments.
type recording struct {
	files   []Provision
	moments []moment
}

// moment is the state after a response and what was served since, with the last request of each device.
type moment struct {
	snapshot []byte
	now      Now
	served   []Serve
	answers  []capability.Response
}

func record(t *testing.T, rng *rand.Rand) *recording {
	r := &recording{}
	v := &life{t: t, l: New(), now: At(1000, day)}
	v.must(Start{BootID: "1"})
	for serial := range uint64(5) {
		response := v.response(serial+1, capability.Response{Items: []capability.LineItem{lineItem('a', "f:1.0", 2+rng.Uint32N(4)), lineItem('b', "g:1.0", 1+rng.Uint32N(3), copies(1))}})
		r.files = append(r.files, Provision{Response: response, Digest: capability.Digest{byte(serial), byte(rng.Uint32())}})
	}
	for _, file := range r.files {
		if rng.IntN(4) == 0 {
			continue // lost on its way
		}
		v.must(file)
		m := moment{}
		for _, device := range []string{"d1", "d2"} {
			s := Serve{Key: key(device), Request: v.request(device, []string{"f:1.0 1?", "g:1.0 1?", "f:1.0 3?"}[rng.IntN(3)])}
			d := v.must(s)
			s.Heard = true // as the device is played
			m.served, m.answers = append(m.served, s), append(m.answers, *d.Response)
		}
		m.snapshot, m.now = v.l.Snapshot(), v.now
		r.moments = append(r.moments, m)
		v.pass(capability.Seconds(rng.IntN(60)))
	}
	if len(r.moments) == 0 {
		return record(t, rng)
	}
	return r
}

// replay brings eight messages to one moment and says how many responses were newer, and what was wrong.
func (r *recording) replay(rng *rand.Rand) (newer int, wrong string) {
	m := r.moments[rng.IntN(len(r.moments))]
	l, err := Restore(m.snapshot)
	if err != nil {
		return 0, err.Error()
	}
	state := m.snapshot
	for range 8 {
		if i := rng.IntN(len(r.files) + len(m.served)); i < len(r.files) {
			f := r.files[i]
			applied, digest := l.Applied()
			d, err := l.Decide(m.now, f)
			switch {
			case f.Response.Serial > applied.Serial:
				if newer++; err != nil || len(d.Entries) == 0 {
					return newer, "a newer response is not taken"
				}
				for _, e := range d.Entries {
					if err := l.Apply(e); err != nil {
						return newer, err.Error()
					}
				}
				if now, _ := l.Applied(); now.Serial != f.Response.Serial {
					return newer, "a newer response is not in force"
				}
				for _, it := range f.Response.Items {
					at := slices.IndexFunc(l.Items(m.now), func(have Item) bool { return have.ID() == it.ID() })
					if at < 0 || l.Items(m.now)[at].Count != it.Count {
						return newer, "the rights are not those of the response in force"
					}
				}
				state = l.Snapshot()
				continue
			case f.Response.Serial == applied.Serial && (f.Digest != digest || !refused(err, capability.AlreadyHere)):
				return newer, fmt.Sprintf("the response in force is not known again: %v", err)
			case f.Response.Serial < applied.Serial && !refused(err, capability.OlderResponse):
				return newer, fmt.Sprintf("an older response is not known as one: %v", err)
			}
		} else {
			at := i - len(r.files)
			d, err := l.Decide(m.now, m.served[at])
			if err != nil || len(d.Entries) > 0 || d.Response.Serial != m.answers[at].Serial || d.Response.Correlation != m.answers[at].Correlation {
				return newer, "the last request of a device has another answer, or an effect"
			}
		}
		if !slices.Equal(l.Snapshot(), state) {
			return newer, "the state is another"
		}
	}
	return newer, ""
}

func refused(err error, code capability.Code) bool {
	no, is := errors.AsType[*capability.Refusal](err)
	return is && no.Code == code
}
