//go:build vm

package vm

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Check 2: on a serial line of no size the whole screen is drawn, for a VT220, keys work, and no terminal is asked anything: from the kernel's first line on, by whatever program.
func TestCheck02Serial(t *testing.T) {
	s := goesOn(t, unprovisioned)
	b, err := os.ReadFile(filepath.Join(s.dir, "a", "serial."+unprovisioned))
	s.must(err)
	_, booted, found := strings.Cut(string(b), "Linux version")
	if !found {
		t.Error("the serial line has no word of the kernel")
	}
	for _, asked := range regexp.MustCompile(`\x05|\x1bZ|\x1b\[[0-9;?>=]*[cnx]|\x1b\[(1[1-9]|2[01])(;[0-9]*)*t|\x1bP[+$]q[^\x1b]*|\x1b\][0-9;]*\?`).FindAllString(booted, -1) {
		t.Errorf("the terminal is asked %q", asked)
	}
	text, err := s.vm.Screen()
	s.must(err)
	rows := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(rows) != screenRows || !strings.HasPrefix(rows[0], "+- Leasehold ") || !strings.HasPrefix(rows[len(rows)-1], "+ F1 status ") {
		t.Errorf("%d rows:\n%s", len(rows), text)
	}
	for _, key := range []struct{ key, shows string }{{"2", `NETWORK .*enp0s`}, {"3", `LH-1001`}, {"5", `No seat is held\.`}, {"1", `STATE NOT ACTIVATED`}} {
		s.must(s.vm.Type(key.key))
		s.shows(key.shows)
	}
}
