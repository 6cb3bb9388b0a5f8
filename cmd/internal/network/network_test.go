package network

import (
	"os"
	"path/filepath"
	"testing"
)

// What is typed is taken as it is meant, or refused with a reason; nothing of it becomes a line or a file of its own.
func TestParse(t *testing.T) {
	for _, row := range []struct {
		card, address, gateway string
		good                   bool
	}{
		{"eth0", "", "", true},
		{" enp0s5 ", " 10.20.0.15/24 ", " 10.20.0.1 ", true},
		{"eth0", "10.20.0.15/24", "", true},
		{"eth0", "10.20.0.14/31", "10.20.0.15", true},
		{"eth0", "fd00::15/64", "fd00::1", true},
		{"eth0", "", "10.20.0.1", false},
		{"eth0", "10.20.0.15", "", false},
		{"eth0", "10.20.0.15/0", "", false},
		{"eth0", "10.20.0.0/24", "", false},
		{"eth0", "10.20.0.255/24", "", false},
		{"eth0", "0.0.0.0/8", "", false},
		{"eth0", "127.0.0.1/8", "", false},
		{"eth0", "224.0.0.5/24", "", false},
		{"eth0", "::ffff:10.0.0.1/120", "", false},
		{"eth0", "fe80::1%eth0/64", "", false},
		{"eth0", "10.20.0.15/24\nDHCP=yes", "", false},
		{"eth0", "10.20.0.15/24", "10.21.0.1", false},
		{"eth0", "10.20.0.15/24", "10.20.0.15", false},
		{"eth0", "10.20.0.15/24", "fd00::1", false},
		{"eth0", "10.20.0.15/24", "x", false},
		{"", "10.20.0.15/24", "", false},
		{"lo", "10.20.0.15/24", "", false},
		{"../eth0", "10.20.0.15/24", "", false},
		{"eth*", "10.20.0.15/24", "", false},
		{"eth0\n[Network]", "10.20.0.15/24", "", false},
		{"a-name-that-is-long", "10.20.0.15/24", "", false},
	} {
		if s, err := Parse(row.card, row.address, row.gateway); (err == nil) != row.good {
			t.Errorf("%q %q %q: %+v, %v", row.card, row.address, row.gateway, s, err)
		}
	}
}

// A card's file is there whole, can be read by everybody, and goes when the network is asked again.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	s, err := Parse("enp0s5", "10.20.0.15/24", "10.20.0.1")
	if err != nil {
		t.Fatal(err)
	}
	const want = `# Written by leasehold console.
[Match]
Name=enp0s5

[Network]
DHCP=no
IPv6AcceptRA=no
LLDP=no
Address=10.20.0.15/24
Gateway=10.20.0.1
`
	path := filepath.Join(dir, "70-enp0s5.network")
	for range 2 {
		if err := s.Keep(dir); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil || string(b) != want {
			t.Fatalf("%s, %v", b, err)
		}
		if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o644 {
			t.Error(i.Mode(), err)
		}
	}
	if s, err = Parse("enp0s5", "", ""); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Keep(dir); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Error(left, err)
	}
	if s, _ = Parse("eth0", "10.20.0.15/24", ""); s.Keep(filepath.Join(dir, "none")) == nil {
		t.Error("kept where nothing is")
	}
}
