package main

import (
	"math/rand/v2"
	"testing"

	"github.com/leasehold/leasehold/capability/wire"
)

// TestFamilies: every family makes what a server must refuse, and the good request it is made from is none of it.
func TestFamilies(t *testing.T) {
	codec := wire.New()
	if refusable(codec, codec.Frame(wire.MessageRequest, request())) || refusable(codec, codec.Ask()) || refusable(codec, nil) {
		t.Error("a good message counts as malformed")
	}
	all := families(codec)
	names := map[string]bool{}
	r := rand.New(rand.NewPCG(1, 1))
	for _, f := range all {
		if names[f.name] {
			t.Errorf("two families are called %s", f.name)
		}
		names[f.name] = true
		good := 0
		for i := range 60 {
			if b := f.make(r, i); !refusable(codec, b) {
				good++
			} else if len(b) == 0 || len(b) > 20<<10 {
				t.Errorf("%s: %d bytes", f.name, len(b))
			}
		}
		if most := map[string]int{"one bit flipped": 50, "two bytes exchanged": 50}[f.name]; good > most {
			t.Errorf("%s: %d of 60 are good messages", f.name, good)
		}
	}
	if len(all) < leastKinds {
		t.Errorf("%d families", len(all))
	}
	t.Logf("%d families", len(all))
}
