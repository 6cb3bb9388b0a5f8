package network

import (
	"net/netip"
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
		{"eth0", "10.20.0.15/32", "", true},
		{"eth0", "10.20.0.255/16", "10.20.1.0", true},
		{"eth0", "fd00::15/64", "fd00::1", true},
		{"eth0", "fd00::15/64", "fe80::1", true},
		{"eth0", "2001:db8::ffff:ffff:ffff:ffff/64", "", true},
		{"eth0", "fd00::/127", "fd00::1", true},
		{"eth0", "", "10.20.0.1", false},
		{"eth0", "10.20.0.15", "", false},
		{"eth0", "10.20.0.15/0", "", false},
		{"eth0", "10.20.0.15/7", "", false},
		{"eth0", "10.20.0.0/24", "", false},
		{"eth0", "10.20.0.255/24", "", false},
		{"eth0", "0.0.0.0/8", "", false},
		{"eth0", "0.20.0.15/24", "", false},
		{"eth0", "127.0.0.1/8", "", false},
		{"eth0", "127.20.0.15/24", "", false},
		{"eth0", "169.254.0.15/16", "", false},
		{"eth0", "224.0.0.5/24", "", false},
		{"eth0", "240.20.0.15/24", "", false},
		{"eth0", "255.255.255.254/31", "", false},
		{"eth0", "::ffff:10.0.0.1/120", "", false},
		{"eth0", "::1/64", "", false},
		{"eth0", "fd00::/64", "", false},
		{"eth0", "fd00::15/7", "", false},
		{"eth0", "fe80::1/64", "", false},
		{"eth0", "fe80::1%eth0/64", "", false},
		{"eth0", "ff02::1/64", "", false},
		{"eth0", "10.20.0.15/24\nDHCP=yes", "", false},
		{"eth0", "10.20.0.15/24", "10.21.0.1", false},
		{"eth0", "10.20.0.15/24", "10.20.0.15", false},
		{"eth0", "10.20.0.15/24", "10.20.0.255", false},
		{"eth0", "10.20.0.15/24", "10.20.0.0", false},
		{"eth0", "10.20.0.15/24", "fd00::1", false},
		{"eth0", "10.20.0.15/24", "fe80::1", false},
		{"eth0", "10.20.0.15/24", "x", false},
		{"eth0", "fd00::15/64", "fe80::1%eth0", false},
		{"eth0", "fd00::15/64", "fd01::1", false},
		{"eth0", "fd00::15/64", "fd00::", false},
		{"eth0", "fd00::15/64", "10.20.0.1", false},
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

// Two cards are in two networks.
func TestBeside(t *testing.T) {
	s := setup(t, "eth0", "10.20.0.15/24", "")
	for address, good := range map[string]bool{"10.20.1.15/24": true, "10.20.0.16/24": false, "10.20.0.15/32": false, "10.20.9.9/16": false, "fd00::15/64": true} {
		if err := s.Beside("eth1", netip.MustParsePrefix(address)); (err == nil) != good {
			t.Errorf("%s: %v", address, err)
		}
		if err := s.Beside("eth0", netip.MustParsePrefix(address)); err != nil {
			t.Errorf("%s is its own: %v", address, err)
		}
	}
	if err := setup(t, "eth0", "", "").Beside("eth1", netip.MustParsePrefix("10.20.0.16/24")); err != nil {
		t.Error(err)
	}
}

func setup(t *testing.T, card, address, gateway string) Setup {
	t.Helper()
	s, err := Parse(card, address, gateway)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
