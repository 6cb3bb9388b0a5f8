package appliance

import "testing"

// making is one daemon on a copy of a storage without rights, as far as the counter matters.
type making struct {
	written uint64 // epoch of the newest request
	answers uint32 // epochs that responses to requests of this storage name, as bits
	unmade  uint64 // what this process remembers
	vault   int8   // number of the vault that it has, from 1; zero: none
	moves   int8   // of the counter, by that vault
}

// makings is two such daemons and their TPM.
type makings struct {
	counter  uint64
	owner    int8 // the vault whose secret moves the counter
	vaults   int8
	requests int8
	told     bool // a vault has told rights
	of       [2]making
}

// TestNoRightsTwice tries every order in which two daemons on copies of one disk, which has written its first request, can write requests, import each other's responses,
// make vaults, fail at it, be cut off, be restarted, or go back to a copy: none takes a response when a vault has told anything.
func TestNoRightsTwice(t *testing.T) {
	const highest, requests = 7, 3
	first := makings{counter: 1, of: [2]making{{written: 1, answers: 1 << 1}, {written: 1, answers: 1 << 1}}}
	seen := map[makings]bool{first: true}
	next := []makings{first}
	add := func(s makings) {
		if s.counter <= highest && !seen[s] {
			seen[s] = true
			next = append(next, s)
		}
	}
	failed := 0
	for len(next) > 0 {
		s := next[len(next)-1]
		next = next[:len(next)-1]
		for i, m := range s.of {
			with := func(change func(*makings, *making)) {
				again := s
				change(&again, &again.of[i])
				add(again)
			}
			if m.vault != 0 {
				if s.owner == m.vault && m.moves < 4 {
					with(func(s *makings, m *making) { s.counter++; m.moves++; s.told = s.told || m.moves == 4 })
				}
				with(func(_ *makings, m *making) { m.vault, m.moves, m.unmade = 0, 0, 0 }) // a copy from before the vault
				continue
			}
			a := &Appliance{unmade: m.unmade}
			if epoch, err := a.dated(m.written, s.counter, 0); err == nil && s.requests < requests {
				with(func(s *makings, m *making) { s.requests++; m.written = epoch; m.answers |= 1 << epoch })
			}
			with(func(_ *makings, m *making) { m.unmade = 0 }) // a restart
			with(func(s *makings, m *making) { *m = s.of[1-i]; m.vault, m.moves, m.unmade = 0, 0, 0 })
			for epoch := uint64(1); epoch <= highest; epoch++ {
				if m.answers&(1<<epoch) == 0 || !a.untold(epoch, s.counter, 0) {
					continue
				}
				if s.told {
					t.Fatalf("a response to a request of epoch %d is taken at %d: %+v", epoch, s.counter, s)
				}
				if s.counter-m.written > 3 {
					failed++ // only what the process remembers allows that
				}
				with(func(s *makings, m *making) { s.counter++; s.owner = 0; m.unmade = s.counter })
				with(func(s *makings, m *making) { s.counter++; s.owner = 0; m.unmade = 0 })
				with(func(s *makings, m *making) {
					s.counter++
					s.vaults++
					s.owner, m.vault, m.moves, m.unmade = s.vaults, s.vaults, 1, 0
				})
			}
		}
	}
	if len(seen) < 10_000 || failed == 0 {
		t.Errorf("%d states, %d makings behind others that failed: too few to show anything", len(seen), failed)
	}
}
