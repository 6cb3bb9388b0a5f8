package hostid

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const (
	s     = time.Second
	grace = 600 * s
)

func rules() WatchRules { return WatchRules{Every: 60 * s, Within: 2 * s, Grace: grace} }

func at(d time.Duration) time.Time { return time.Unix(1_800_000_000, 0).Add(d) }

func appliance() ID { return ID{TPMEK, strings.Repeat("7F", 32)} }

// watched is a Watch with the key it watches, at time 0.
type watched struct {
	*Watch
	t     *testing.T
	key   *signer
	drawn uint64
}

func watch(t *testing.T, key *signer, state WatchState, now time.Duration) *watched {
	t.Helper()
	w, err := NewWatch(key.credential(t), appliance(), rules(), state, at(now))
	if err != nil {
		t.Fatal(err)
	}
	return &watched{Watch: w, t: t, key: key}
}

func (w *watched) ask(now time.Duration) Challenge {
	w.t.Helper()
	w.drawn++
	var n Nonce
	binary.BigEndian.PutUint64(n[:], w.drawn)
	c, err := w.Ask(at(now), ToRenew, n)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// prove asks at a time and answers a second later.
func (w *watched) prove(now time.Duration) {
	w.t.Helper()
	c := w.ask(now)
	if err := w.Answer(at(now+s), w.key.answer(w.t, c)); err != nil {
		w.t.Fatal(err)
	}
}

// is compares what is allowed at a time.
func (w *watched) is(now time.Duration, grants, renews bool) {
	w.t.Helper()
	_, found := w.Finding(at(now))
	if g, r := w.Grants(at(now)), w.Renews(at(now)); g != grants || r != renews || found != grants {
		w.t.Errorf("at %s: grants %v, renewals %v, shown %v; want %v, %v", now, g, r, found, grants, renews)
	}
}

func TestWatch(t *testing.T) {
	const (
		fresh   = grace // grace of a key that never answered
		almost  = time.Nanosecond
		overdue = 62 * s // after a question that was answered: the next one is due, and its answer
	)
	for name, live := range map[string]func(*testing.T, *watched){
		"nothing is granted before the first answer, and renewals end": func(t *testing.T, w *watched) {
			w.is(0, false, true)
			w.is(fresh-almost, false, true)
			w.is(fresh, false, false)
		},
		"an answer": func(t *testing.T, w *watched) {
			w.prove(0)
			w.is(s, true, true)
			w.is(overdue-almost, true, true)
			w.is(overdue, false, true)
			w.is(overdue+fresh-almost, false, true)
			w.is(overdue+fresh, false, false)
		},
		"an answer every minute": func(t *testing.T, w *watched) {
			for i := range time.Duration(100) {
				w.prove(i * 60 * s)
				w.is(i*60*s+s, true, true)
				w.is(i*60*s+60*s-almost, true, true)
				if want := at(i*60*s + 60*s); !w.Next().Equal(want) {
					t.Errorf("next question at %s, want %s", w.Next(), want)
				}
			}
		},
		"a missed answer ends grants when it was due, and not a minute later": func(t *testing.T, w *watched) {
			w.prove(0)
			w.ask(10 * s)
			w.is(12*s-almost, true, true)
			w.is(12*s, false, true)
			w.is(12*s+fresh, false, false)
		},
		"asking again does not wait longer for the answer": func(t *testing.T, w *watched) {
			w.prove(0)
			for i := range time.Duration(20) {
				w.ask(10*s + i*s/2)
			}
			w.is(12*s, false, true)
		},
		"a removal": func(t *testing.T, w *watched) {
			w.prove(0)
			w.Removed(at(5 * s))
			w.is(5*s, false, true)
			w.is(5*s+fresh-almost, false, true)
			w.is(5*s+fresh, false, false)
		},
		"a removal that is told again ends nothing later": func(t *testing.T, w *watched) {
			w.prove(0)
			for i := range time.Duration(100) {
				w.Removed(at(5*s + i*10*s))
			}
			w.is(5*s+fresh, false, false)
		},
		"after the grace the key may come back": func(t *testing.T, w *watched) {
			w.prove(0)
			w.Removed(at(5 * s))
			w.is(5000*s, false, false)
			w.prove(5001 * s)
			w.is(5002*s, true, true)
		},
		"an answer to what was asked before the removal": func(t *testing.T, w *watched) {
			c := w.ask(0)
			w.Removed(at(s / 2))
			w.refuses(s, w.key.answer(t, c), ErrUnasked)
			w.is(s, false, true)
		},
		"a late answer": func(t *testing.T, w *watched) {
			c := w.ask(0)
			a := w.key.answer(t, c)
			w.refuses(2*s, a, ErrLate)
			w.refuses(3*s, a, ErrLate)
			w.refuses(1*s, a, ErrLate) // the clock went back, and time does not
			w.is(3*s, false, true)
		},
		"just in time": func(t *testing.T, w *watched) {
			c := w.ask(0)
			if err := w.Answer(at(2*s-almost), w.key.answer(t, c)); err != nil {
				t.Error(err)
			}
		},
		"a repeated answer": func(t *testing.T, w *watched) {
			c := w.ask(0)
			a := w.key.answer(t, c)
			if err := w.Answer(at(s), a); err != nil {
				t.Fatal(err)
			}
			w.refuses(s, a, ErrUnasked)
			w.ask(10 * s)
			w.refuses(11*s, a, ErrOtherAnswer)
			w.is(12*s, false, true)
		},
		"an answer that nobody asked for": func(t *testing.T, w *watched) {
			w.refuses(0, w.key.answer(t, Challenge{}), ErrUnasked)
			w.refuses(0, w.key.answer(t, Challenge{Host: appliance()}), ErrUnasked)
		},
		"the answer to the question before": func(t *testing.T, w *watched) {
			old := w.ask(0)
			w.ask(s / 2)
			w.refuses(s, w.key.answer(t, old), ErrOtherAnswer)
			w.is(s, false, true)
		},
		"the answer for another host": func(t *testing.T, w *watched) {
			c := w.ask(0)
			c.Host.Value = strings.Repeat("7E", 32)
			w.refuses(s, w.key.answer(t, c), ErrOtherAnswer)
		},
		"a wrong answer keeps nobody from giving the right one": func(t *testing.T, w *watched) {
			c := w.ask(0)
			for range 10 {
				w.refuses(s/2, newSigner(t).answer(t, c), ErrOtherAnswer)
				w.refuses(s/2, Assertion{}, ErrMalformedAnswer)
			}
			if err := w.Answer(at(s), w.key.answer(t, c)); err != nil {
				t.Error(err)
			}
			w.is(s, true, true)
		},
		"a copy of the key": func(t *testing.T, w *watched) {
			copied := *w.key
			w.prove(0)
			c := w.ask(10 * s)
			w.refuses(11*s, copied.answer(t, c), ErrCopied) // it counts from where it was copied
			w.is(11*s, false, true)
			w.refuses(11*s, w.key.answer(t, c), ErrUnasked)
			w.prove(12 * s)
			w.is(13*s, true, true)
		},
		"a key that turns out to be copyable": func(t *testing.T, w *watched) {
			w.prove(0)
			w.key.flags = flagBackupEligible
			c := w.ask(10 * s)
			w.refuses(11*s, w.key.answer(t, c), ErrCopyable)
			w.is(11*s, false, true)
		},
		"a clock that goes back brings nothing back": func(t *testing.T, w *watched) {
			w.prove(0)
			w.is(overdue, false, true)
			w.is(0, false, true)
			w.is(overdue+fresh, false, false)
			w.is(0, false, false)
		},
		"a nonce is new": func(t *testing.T, w *watched) {
			w.prove(0)
			if _, err := w.Ask(at(s), ToRenew, Nonce{}); !errors.Is(err, ErrNonce) {
				t.Error(err)
			}
			c := w.ask(2 * s)
			if _, err := w.Ask(at(3*s), ToRenew, c.Nonce); !errors.Is(err, ErrNonce) {
				t.Error(err)
			}
			if err := w.Answer(at(3*s), w.key.answer(t, c)); err != nil {
				t.Errorf("what was asked before: %v", err)
			}
		},
		"a restart grants nothing before an answer": func(t *testing.T, w *watched) {
			w.prove(0)
			again := watch(t, w.key, w.State(), 10*s)
			again.is(10*s, false, true)
			again.is(10*s+fresh, false, false)
			again.drawn = 100
			again.prove(20 * s)
			again.is(21*s, true, true)
		},
		"a restart gives no new grace": func(t *testing.T, w *watched) {
			w.prove(0)
			w.Removed(at(5 * s))
			for i := range time.Duration(60) {
				w = watch(t, w.key, w.State(), 10*s*i+6*s)
			}
			w.is(5*s+fresh-almost, false, true)
			w.is(5*s+fresh, false, false)
		},
		"a restart knows the counter": func(t *testing.T, w *watched) {
			copied := *w.key
			w.prove(0)
			w.prove(60 * s)
			again := watch(t, &copied, w.State(), 70*s)
			c := again.ask(71 * s)
			again.refuses(72*s, copied.answer(t, c), ErrCopied)
		},
	} {
		t.Run(name, func(t *testing.T) { live(t, watch(t, newSigner(t), WatchState{}, 0)) })
	}
}

func (w *watched) refuses(now time.Duration, a Assertion, want error) {
	w.t.Helper()
	if err := w.Answer(at(now), a); !errors.Is(err, want) {
		w.t.Errorf("at %s: %v, want %v", now, err, want)
	}
}

func TestWatchBegins(t *testing.T) {
	good := newSigner(t).credential(t)
	for name, c := range map[string]struct {
		credential Credential
		host       ID
		rules      WatchRules
		ok         bool
	}{
		"as it should be":            {good, appliance(), rules(), true},
		"no grace":                   {good, appliance(), WatchRules{3 * s, 2 * s, 0}, true},
		"no key":                     {Credential{}, appliance(), rules(), false},
		"no host":                    {good, ID{}, rules(), false},
		"an answer after 2 s":        {good, appliance(), WatchRules{60 * s, 2*s + 1, 0}, false},
		"no time for an answer":      {good, appliance(), WatchRules{60 * s, 0, 0}, false},
		"asked before it can answer": {good, appliance(), WatchRules{2 * s, 2 * s, 0}, false},
		"a grace before the end":     {good, appliance(), WatchRules{60 * s, 2 * s, -1}, false},
	} {
		if _, err := NewWatch(c.credential, c.host, c.rules, WatchState{}, at(0)); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWatchWithoutGrace(t *testing.T) {
	k := newSigner(t)
	w, err := NewWatch(k.credential(t), appliance(), WatchRules{60 * s, 2 * s, 0}, WatchState{}, at(0))
	if err != nil {
		t.Fatal(err)
	}
	if w.Grants(at(0)) || w.Renews(at(0)) {
		t.Error("a key that never answered is there")
	}
	c, err := w.Ask(at(0), ToStart, Nonce{1})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Answer(at(s), k.answer(t, c)); err != nil || !w.Renews(at(s)) {
		t.Error(err)
	}
	w.Removed(at(2 * s))
	if w.Renews(at(2 * s)) {
		t.Error("a key that was removed renews")
	}
}

// A key that is plugged in and pulled out 1,000 times, with questions at the times that Next says and others on demand, answers that are late, repeated,
// forged, by copies and by other keys, restarts and removals of which nobody tells. The truth is kept beside it in a few numbers.
func TestPlugCycles(t *testing.T) {
	const cycles = 1000
	var grants, renewals, wrongGrants, wrongRenewals, lockedOut, bogus int
	for seed := range uint64(4) {
		chance := rand.New(rand.NewPCG(seed, 5))
		key, stranger := newSigner(t), newSigner(t)
		stranger.id = key.id
		w := watch(t, key, WatchState{}, 0)
		var (
			now      time.Duration
			believed time.Duration // the latest moment until which anything may be granted
			old      []Assertion   // answers that were good once
		)
		look := func() {
			g, r := w.Grants(at(now)), w.Renews(at(now))
			if g {
				grants++
			}
			if r {
				renewals++
			}
			if g && now >= believed {
				wrongGrants++
				t.Errorf("seed %d: granted at %s, and the key was believed until %s", seed, now, believed)
			}
			if r && now >= believed+grace {
				wrongRenewals++
				t.Errorf("seed %d: renewed at %s, and the key was believed until %s", seed, now, believed)
			}
		}
		for range cycles / 4 {
			// Plugged in: it is asked and answers, so it must be believed from then on.
			for range 1 + chance.IntN(4) {
				c := w.ask(now)
				now += time.Duration(chance.Int64N(int64(2 * s)))
				a := key.answer(t, c)
				if err := w.Answer(at(now), a); err != nil {
					t.Fatalf("seed %d at %s: %v", seed, now, err)
				}
				old = append(old[max(0, len(old)-3):], a)
				believed = w.asked.Sub(at(0)) + rules().Every + rules().Within
				if !w.Grants(at(now)) {
					lockedOut++
				}
				look()
				now = w.Next().Sub(at(0)) - time.Duration(chance.Int64N(int64(40*s))) // sometimes before it is due
				now = max(now, w.now.Sub(at(0)))
				if !w.Grants(at(now)) {
					lockedOut++
				}
			}
			// Pulled out: told at once, or noticed by the next question only.
			if chance.IntN(3) > 0 {
				w.Removed(at(now))
				believed = min(believed, now)
			}
			for range chance.IntN(12) {
				look()
				switch chance.IntN(6) {
				case 0:
					w.ask(now)
					believed = min(believed, now+rules().Within)
				case 1:
					c := w.ask(now)
					believed = min(believed, now+rules().Within)
					forged := []Assertion{{}, stranger.answer(t, c), old[chance.IntN(len(old))]}
					if err := w.Answer(at(now), forged[chance.IntN(len(forged))]); err == nil {
						bogus++
					}
				case 2:
					c := w.ask(now)
					believed = min(believed, now+rules().Within)
					now += rules().Within + time.Duration(chance.Int64N(int64(5*s)))
					late := *key // which is not there, so its counter does not move
					if err := w.Answer(at(now), late.answer(t, c)); err == nil {
						bogus++
					}
				case 3:
					if err := w.Answer(at(now), old[chance.IntN(len(old))]); err == nil {
						bogus++
					}
				case 4:
					drawn := w.drawn
					believed = min(believed, now)
					w = watch(t, key, w.State(), now)
					w.drawn = drawn
				case 5:
					now += time.Duration(chance.Int64N(int64(400 * s)))
				}
				look()
			}
			if chance.IntN(4) == 0 {
				now = max(now, believed+grace)
				look()
			}
		}
	}
	if wrongGrants+wrongRenewals+lockedOut+bogus > 0 {
		t.Errorf("%d grants after the end, %d renewals after the grace, %d times locked out, %d answers of nobody", wrongGrants, wrongRenewals, lockedOut, bogus)
	}
	if grants < cycles || renewals <= grants {
		t.Errorf("%d grants and %d renewals: the lives are not what they should be", grants, renewals)
	}
	t.Logf("%d cycles: %d grants, %d renewals, 0 of them wrong", cycles, grants, renewals)
}
