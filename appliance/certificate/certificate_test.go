package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var monday = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// machine is one appliance: its key and what it keeps between runs.
type machine struct {
	*testing.T
	key         *ecdsa.PrivateKey
	kept        []byte
	now         time.Time
	lost        error // to the clock
	full        error // of the disk
	site, asked []byte
	chip        byte  // the TPM's seed
	noted       error // by the audit trail
	told        int   // to it
	log         bytes.Buffer
}

func newMachine(t *testing.T) *machine {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return &machine{T: t, key: key, now: monday}
}

// run is one run of it.
func (m *machine) run(hosts ...string) *Shown {
	m.Helper()
	s, err := New(Options{
		Key: m.key, Machine: "LH-TEST", Hosts: hosts, Kept: m.kept, Keep: func(der []byte) error {
			if m.full == nil {
				m.kept = der
			}
			return m.full
		},
		Site: m.site, Asked: m.asked, KeepSite: m.keep(&m.site), KeepAsked: m.keep(&m.asked), Sealer: m,
		Now: func() (time.Time, error) { return m.now, m.lost }, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(&m.log, nil)),
	})
	must(m.T, err)
	return s
}

func (m *machine) keep(to *[]byte) func([]byte) error {
	return func(b []byte) error {
		if m.full == nil {
			*to = b
		}
		return m.full
	}
}

// Seal and Unseal are a TPM, but for what makes one.
func (m *machine) Seal(secret []byte, _ uint64) ([]byte, error) {
	b := append([]byte{m.chip}, secret...)
	for i := range b[1:] {
		b[1+i] ^= 0x5a
	}
	return b, nil
}

func (m *machine) Unseal(sealed []byte, _ uint64) ([]byte, error) {
	if len(sealed) != 33 || sealed[0] != m.chip {
		return nil, errors.New("made for another tpm, or before this one was cleared")
	}
	b := bytes.Clone(sealed[1:])
	for i := range b {
		b[i] ^= 0x5a
	}
	return b, nil
}

// hello is a connection to that address.
type hello struct {
	net.Conn
	at string
}

func (h hello) LocalAddr() net.Addr { return h }
func (h hello) Network() string     { return "tcp" }
func (h hello) String() string      { return h.at }

// comes is what somebody is shown at that address.
func (m *machine) comes(s *Shown, at string) *x509.Certificate {
	m.Helper()
	c, err := s.Certificate(&tls.ClientHelloInfo{Conn: hello{at: at}})
	must(m.T, err)
	if !s.Look().Site && (len(c.Certificate) != 2 || !bytes.Equal(c.Certificate[1], s.Authority())) {
		m.Errorf("%d certificates are shown", len(c.Certificate))
	}
	return c.Leaf
}

// trusts says whether a browser that trusts that authority goes to that name without a warning.
func (m *machine) trusts(authority []byte, leaf *x509.Certificate, name string) error {
	m.Helper()
	root, err := x509.ParseCertificate(authority)
	must(m.T, err)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: m.now})
	return err
}

// TestShown: who trusts the authority once is warned no more, run after run, at every name and address that the machine goes by.
func TestShown(t *testing.T) {
	m := newMachine(t)
	s := m.run("lic01", "licenses.example.org")
	first := m.comes(s, "10.1.2.3:7070")
	authority := s.Authority()
	for range 3 {
		for _, name := range []string{"lic01", "licenses.example.org", "10.1.2.3"} {
			if err := m.trusts(authority, first, name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, name := range []string{"lic02", "10.1.2.4", "localhost", "127.0.0.1"} {
			if m.trusts(authority, first, name) == nil {
				t.Errorf("it goes by %s", name)
			}
		}
		if d := first.NotAfter.Sub(m.now); first.NotBefore.After(m.now.Add(-time.Hour)) || d > 31*24*time.Hour || d < 29*24*time.Hour {
			t.Errorf("good from %s until %s", first.NotBefore, first.NotAfter)
		}
		v := s.Look()
		if !bytes.Equal(s.Authority(), authority) || v.Fingerprint != Fingerprint(first.Raw) || v.Authority != Fingerprint(authority) || strings.Join(v.Names, " ") != "lic01 licenses.example.org 10.1.2.3" {
			t.Errorf("%+v", v)
		}
		if !strings.Contains(m.log.String(), v.Fingerprint) || !strings.Contains(m.log.String(), v.Authority) {
			t.Error("the journal does not say what is shown")
		}
		m.now = m.now.Add(100 * 24 * time.Hour)
		s = m.run("lic01", "licenses.example.org")
		next := m.comes(s, "10.1.2.3:7070")
		if bytes.Equal(next.RawSubjectPublicKeyInfo, first.RawSubjectPublicKeyInfo) || next.SerialNumber.Cmp(first.SerialNumber) == 0 {
			t.Error("the key of a run is that of another")
		}
		first = next
	}
}

// TestAuthorityMayNameNothingElse: what the key could sign for another name, no browser takes.
func TestAuthorityMayNameNothingElse(t *testing.T) {
	m := newMachine(t)
	for _, n := range []Names{
		{Hosts: []string{"lic01"}},
		{Hosts: []string{"lic01"}, Addresses: []netip.Addr{netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("2001:db8::1")}},
	} {
		a, err := newAuthority(m.key, rand.Reader, "LH-TEST", n)
		must(t, err)
		for _, row := range []struct {
			n    Names
			good bool
		}{
			{n, true},
			{Names{Hosts: []string{"bank.example"}}, false},
			{Names{Hosts: []string{"lic01", "bank.example"}}, false},
			{Names{Hosts: []string{"lic01"}, Addresses: []netip.Addr{netip.MustParseAddr("10.1.2.4")}}, false},
			{Names{Hosts: []string{"lic01"}, Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::2")}}, false},
		} {
			leaf, err := a.leaf(rand.Reader, row.n, m.now)
			must(t, err)
			if err := m.trusts(a.of.Raw, leaf.Leaf, row.n.Hosts[0]); (err == nil) != row.good {
				t.Errorf("of %q, %q: %v", n.All(), row.n.All(), err)
			}
		}
		// Nor does it make others that may.
		below, err := newAuthority(m.key, rand.Reader, "below", n)
		must(t, err)
		if a.of.MaxPathLen != 0 || !a.of.MaxPathLenZero || below.of.MaxPathLen != 0 {
			t.Errorf("%d authorities may be below it", a.of.MaxPathLen)
		}
	}
}

// TestAddressesAreLearned: the address that somebody connects to is named at once, by an authority that may; those that come later leave those that came before, up to an end.
func TestAddressesAreLearned(t *testing.T) {
	m := newMachine(t)
	s := m.run("lic01")
	before := s.Authority()
	leaf := m.comes(s, "192.0.2.7:7070")
	if err := m.trusts(s.Authority(), leaf, "192.0.2.7"); err != nil || bytes.Equal(s.Authority(), before) {
		t.Error(err)
	}
	if again := m.comes(s, "192.0.2.7:7071"); !again.Equal(leaf) {
		t.Error("it is made again for an address that it names")
	}
	for at, named := range map[string]string{"[::ffff:192.0.2.8]:1": "192.0.2.8", "[2001:db8::8]:1": "2001:db8::8", "127.0.0.1:1": "localhost"} {
		leaf = m.comes(s, at)
		if err := m.trusts(s.Authority(), leaf, named); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
	leaf = m.comes(s, "192.0.2.7:7070")
	for _, at := range []string{"[fe80::1%eth0]:1", "[fe80::1]:1", "0.0.0.0:1", "224.0.0.1:1", "@", "pipe"} {
		if other := m.comes(s, at); !other.Equal(leaf) {
			t.Errorf("%s is named", at)
		}
	}
	s = m.run("lic01")
	if got := s.Names(); !slices.Contains(got, "192.0.2.7") || !slices.Contains(got, "2001:db8::8") {
		t.Errorf("the next run knows only %q", got)
	}
	made := strings.Count(m.log.String(), "certificate for browsers")
	for i := range 3 * MaxAddresses {
		leaf = m.comes(s, fmt.Sprintf("10.0.0.%d:1", i))
	}
	if n := strings.Count(m.log.String(), "certificate for browsers") - made; n != MaxAddresses {
		t.Errorf("%d were made, one after the other, where %d may be before the next renewal", n, MaxAddresses)
	}
	if n := len(leaf.IPAddresses); n != MaxAddresses {
		t.Errorf("%d addresses are named, at most %d may be", n, MaxAddresses)
	}
	m.now = m.now.Add(time.Hour)
	must(t, s.Renew())
	if leaf = m.comes(s, "10.0.1.1:1"); m.trusts(s.Authority(), leaf, "10.0.1.1") != nil {
		t.Error("after a renewal none is learned")
	}
}

// TestRenewal: it is made anew in time, by whatever the trusted clock does, and not before.
func TestRenewal(t *testing.T) {
	m := newMachine(t)
	s := m.run("lic01")
	shown := m.comes(s, "10.1.2.3:1")
	for _, row := range []struct {
		after time.Duration
		anew  bool
	}{{0, false}, {life - renewal - time.Second, false}, {life - renewal, true}, {life - renewal + time.Hour, false}, {20 * 365 * 24 * time.Hour, true}} {
		m.now = monday.Add(row.after)
		must(t, s.Renew())
		next := m.comes(s, "10.1.2.3:1")
		if next.Equal(shown) == row.anew {
			t.Errorf("after %s: another one %v, want %v", row.after, !row.anew, row.anew)
		}
		if err := m.trusts(s.Authority(), next, "lic01"); err != nil {
			t.Errorf("after %s: %v", row.after, err)
		}
		shown = next
	}
}

// TestWhatIsKept: what is damaged, another machine's or gone is made anew; what cannot be kept is still shown; and a name that was taken away is named no more.
func TestWhatIsKept(t *testing.T) {
	m, other := newMachine(t), newMachine(t)
	m.comes(m.run("lic01"), "10.1.2.3:1")
	other.comes(other.run("lic02"), "10.9.9.9:1")
	good := m.kept
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1
	for name, kept := range map[string][]byte{"nothing": nil, "noise": []byte("x"), "cut": good[:40], "damaged": damaged, "another machine's": other.kept} {
		m.kept = kept
		s := m.run("lic01")
		if got := s.Names(); len(got) != 1 || m.trusts(s.Authority(), m.comes(s, "pipe"), "lic01") != nil || bytes.Equal(s.Authority(), good) {
			t.Errorf("%s: %q", name, got)
		}
	}
	m.kept = good
	if s := m.run("lic01"); !bytes.Equal(s.Authority(), good) {
		t.Error("what is good is made anew")
	}
	s := m.run("lic03")
	if got := strings.Join(s.Names(), " "); got != "lic03 10.1.2.3" || m.trusts(s.Authority(), m.comes(s, "pipe"), "lic03") != nil {
		t.Errorf("renamed: %s", got)
	}
	m.full = errors.New("the disk is full")
	s = m.run("lic04")
	if m.trusts(s.Authority(), m.comes(s, "pipe"), "lic04") != nil || !strings.Contains(m.log.String(), "the disk is full") {
		t.Error("what cannot be kept is not shown, or not said")
	}
}

// TestWithoutTime: a clock that does not answer costs the new address, and not what is there.
func TestWithoutTime(t *testing.T) {
	m := newMachine(t)
	s := m.run("lic01")
	shown := m.comes(s, "10.1.2.3:1")
	m.lost = errors.New("the owner is busy")
	for range 3 {
		if c := m.comes(s, "10.1.2.4:1"); !c.Equal(shown) {
			t.Error("something else is shown")
		}
	}
	if n := strings.Count(m.log.String(), "the owner is busy"); n != 1 {
		t.Errorf("it was tried %d times", n)
	}
	if s.Renew() == nil {
		t.Error("it is renewed without a time")
	}
	m.lost = nil
	must(t, s.Renew())
	if c := m.comes(s, "10.1.2.4:1"); m.trusts(s.Authority(), c, "10.1.2.4") != nil {
		t.Error("the address is forgotten")
	}
	if _, err := New(Options{}); err == nil {
		t.Error("a machine without a name")
	}
}

func TestHost(t *testing.T) {
	for in, want := range map[string]string{
		"lic01": "lic01", "LIC01.Example.ORG.": "lic01.example.org", "a_b": "a_b", "x": "x",
		"": "", ".": "", "a..b": "", "-a": "", "a-": "", "10.1.2.3": "", "::1": "", "*.example.org": "", "a b": "", "é": "", strings.Repeat("a", 64): "", strings.Repeat("a.", 127) + "ab": "",
	} {
		if got, ok := Host(in); got != want || ok != (want != "") {
			t.Errorf("%q is %q, %v", in, got, ok)
		}
	}
}
