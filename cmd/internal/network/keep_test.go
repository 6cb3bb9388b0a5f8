package network

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What was kept is what is read, whole, and of two directories the second one counts.
func TestKeep(t *testing.T) {
	dir, until := t.TempDir(), t.TempDir()
	all := []Setup{setup(t, "enp0s5", "10.20.0.15/24", "10.20.0.1"), setup(t, "eno1", "fd00::15/64", "fe80::1"), setup(t, "eth2", "", "")}
	for range 2 {
		for _, s := range all {
			if err := s.Keep(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.SortFunc(all, func(a, b Setup) int { return strings.Compare(a.Card, b.Card) })
	if list, err := Kept(dir, filepath.Join(dir, "none")); err != nil || !slices.Equal(list, all) {
		t.Errorf("%+v, %v", list, err)
	}
	other := setup(t, "enp0s5", "10.20.0.16/24", "")
	if err := other.Keep(until); err != nil {
		t.Fatal(err)
	}
	if list, err := Kept(dir, until); err != nil || len(list) != 3 || list[1] != other {
		t.Errorf("%+v, %v", list, err)
	}
	for range 2 {
		if err := Forget(until, "enp0s5"); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := Kept(dir, until); err != nil || !slices.Equal(list, all) {
		t.Errorf("%+v, %v", list, err)
	}
	if left, err := os.ReadDir(until); err != nil || len(left) != 0 {
		t.Error(left, err)
	}
	if all[0].Keep(filepath.Join(dir, "none")) == nil {
		t.Error("kept where nothing is")
	}
}

// A card that came in the place of another has its address, from now on and from the next start: what was kept for the one that is gone stands in no way.
func TestReplaced(t *testing.T) {
	dir, until := t.TempDir(), t.TempDir()
	gone, stays, asks := setup(t, "enp0s5", "10.20.0.15/24", ""), setup(t, "eno1", "10.30.0.15/24", ""), setup(t, "eth9", "", "")
	for _, s := range []Setup{gone, stays, asks} {
		if err := s.Keep(dir); err != nil {
			t.Fatal(err)
		}
	}
	came := setup(t, "enp0s6", "10.20.0.15/24", "10.20.0.1")
	if err := came.Keep(until); err != nil {
		t.Fatal(err)
	}
	if list, err := Kept(dir, until); err == nil || !slices.Equal(list, []Setup{stays, came, asks}) {
		t.Errorf("of the two directories the second one counts: %+v, %v", list, err)
	}
	if err := errors.Join(came.Replace(dir, []string{"eno1", "enp0s5", "enp0s6"}), came.Replace(filepath.Join(dir, "none"), nil)); err != nil {
		t.Fatal(err)
	}
	if list, err := Kept(dir); err != nil || !slices.Contains(list, gone) {
		t.Errorf("a card that is there is forgotten: %+v, %v", list, err)
	}
	if err := errors.Join(came.Replace(dir, []string{"eno1", "enp0s6"}), came.Keep(dir)); err != nil {
		t.Fatal(err)
	}
	if list, err := Kept(dir, until); err != nil || !slices.Equal(list, []Setup{stays, came, asks}) {
		t.Errorf("%+v, %v", list, err)
	}
}

// A disk that was in other hands tells systemd-networkd nothing but addresses: every other file is passed over, and so is what could not be typed.
func TestKeptInOtherHands(t *testing.T) {
	dir, networkd := t.TempDir(), t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	bad := map[string]string{
		"a0": "", "a1": "address=", "a2": "address=\n", "a3": "address=10.20.0.15", "a4": "address=127.0.0.1/8\n", "a5": "address=10.20.0.15/24\ngateway=", "a6": "address=10.20.0.15/24\ngateway=10.20.0.1\nDNS=10.20.0.9\n",
		"a7": "gateway=10.20.0.1\naddress=10.20.0.15/24\n", "a8": "address=10.20.0.15/24\nBridge=evil\n", "a9": "[Network]\nAddress=10.20.0.15/24\n", "b0": "address=10.20.0.15/24\r\n", "b1": "address=dhcp\ngateway=10.20.0.1\n",
		"b2": "address=10.20.0.15/24\n" + strings.Repeat(" ", maxSetup), "b3": "address=10.20.0.15/24\n\n", "b4": "address=10.20.0.15/24\n\x00",
	}
	for card, text := range bad {
		put(card+suffix, text)
	}
	ignored := map[string]string{
		"70-eth0.network": "[Match]\nName=*\n[Network]\nDHCP=no\n", "10-evil.netdev": "[NetDev]\nName=vpn\nKind=wireguard\n", "10-evil.link": "[Match]\n", "lo" + suffix: "address=10.20.0.15/24\n", "eth0*" + suffix: "address=10.20.0.15/24\n",
		suffix: "address=10.20.0.15/24\n", "networkd.conf": "x", "eth0" + suffix + ".new": "address=10.20.0.15/24\n",
	}
	for name, text := range ignored {
		put(name, text)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "c0"+suffix), 0o755), os.Symlink(filepath.Join(dir, "good"+suffix), filepath.Join(dir, "c1"+suffix))); err != nil {
		t.Fatal(err)
	}
	put("good"+suffix, "address=10.20.0.15/24\ngateway=10.20.0.1\n")
	put("same"+suffix, "address=10.20.0.16/24\n")
	list, err := Kept(dir)
	if err == nil || len(list) != 1 || list[0] != setup(t, "good", "10.20.0.15/24", "10.20.0.1") {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, card := range append(slices.Collect(maps.Keys(bad)), "c0", "c1", "10.20.0.16/24") {
		if !strings.Contains(err.Error(), card) {
			t.Errorf("nothing is said of %s: %v", card, err)
		}
	}
	// What was told before goes.
	if err := errors.Join(os.WriteFile(filepath.Join(networkd, "70-gone.network"), nil, 0o644), os.WriteFile(filepath.Join(networkd, "90-own.network"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Tell(networkd, append(list, setup(t, "eth2", "", ""))); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	entries, err := os.ReadDir(networkd)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if err != nil || !slices.Equal(names, []string{"70-good.network", "90-own.network"}) {
		t.Errorf("systemd-networkd is told %q, %v", names, err)
	}
	const want = `# Written by leasehold console.
[Match]
Name=good

[Network]
DHCP=no
IPv6AcceptRA=no
LLDP=no
Address=10.20.0.15/24
Gateway=10.20.0.1
`
	path := filepath.Join(networkd, "70-good.network")
	b, err := os.ReadFile(path)
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o644 {
		t.Error(i.Mode(), err)
	}
	// And a card can be set up over whatever lies in its place.
	for _, card := range []string{"a0", "c0", "c1"} {
		if err := setup(t, card, "10.30.0.15/24", "").Keep(dir); err != nil {
			t.Error(err)
		}
		if s, err := read(filepath.Join(dir, card+suffix), card); err != nil || s.Address.String() != "10.30.0.15/24" {
			t.Errorf("%s: %+v, %v", card, s, err)
		}
	}
	if s, err := read(filepath.Join(dir, "good"+suffix), "good"); err != nil || s.Address.String() != "10.20.0.15/24" {
		t.Errorf("what a link led to is changed: %+v, %v", s, err)
	}
}

// However many files there are, no more are read than a machine has cards.
func TestKeptIsBounded(t *testing.T) {
	dir := t.TempDir()
	for n := range 4 * maxCards {
		name := "e" + strings.Repeat("x", n%12) + string(rune('a'+n/12%26)) + suffix
		if err := os.WriteFile(filepath.Join(dir, name), []byte("address=dhcp\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := Kept(dir); err != nil || len(list) > maxCards || len(list) == 0 {
		t.Errorf("%d are read, %v", len(list), err)
	}
}
