//go:build vm

package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Check 9: copies are returned, the stick with the proof is lost, another takes the proof again, and they are credited once. At every moment one book has them, and one only.
func TestCheck09Return(t *testing.T) {
	s := goesOn(t, activated)
	s.enters()
	b, err := os.ReadFile(filepath.Join(s.dir, "known"))
	s.must(err)
	id := string(b)
	s.books(id, 40)
	s.manages(0, "return", id)
	s.run(12, "leasehold", append([]string{"acquire", "render"}, s.client("one")...)...)
	s.books(id, 40)

	lost := s.courier("lost.img")
	s.visits(lost, false, `^USB stick .* - request \d+ WRITTEN\. SAFE TO REMOVE$`)
	again := s.courier("again.img")
	s.visits(again, false, `^USB stick .* - request \d+ WRITTEN\. SAFE TO REMOVE$`)
	s.books(id, 40)
	own, request := s.request(again)
	s.answers(again, own, request)
	s.books(id, 0)
	s.visits(again, false, `^Response \d+: .*SAFE TO REMOVE$`)
	// The stick that was lost is found: it says nothing new.
	own, request = s.request(lost)
	file := filepath.Join(s.dir, "found")
	was, err := lost.Read(s.within(stepTime), own+"/"+request)
	s.must(err)
	s.must(os.WriteFile(file, was, 0o600))
	out := filepath.Join(s.dir, "found-out")
	s.must(os.MkdirAll(out, 0o700))
	_, status, said := s.says("freehold", s.office([]string{"respond", file, "-o", out})...)
	s.log("the back office says to an older request: status %d, %v", status, said)
	s.books(id, 0)
}

// books compares how many copies of 40 the back office's book has as used.
func (s *scenario) books(id string, used int) {
	s.t.Helper()
	if want, out := fmt.Sprintf("copies       40, used %d, left %d\n", used, 40-used), s.freehold("show", id); !strings.Contains(out, want) {
		s.t.Errorf("the book wants %q and says\n%s", want, out)
	}
}
