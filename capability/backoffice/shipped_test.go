package backoffice

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// Every authority that ships is one: it may certify, its key is strong, it is valid when this was written, it is self-signed or certified by another one that ships, and no authority of tests is among them.
func TestShipped(t *testing.T) {
	list, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	test, err := tpmtest.TheAuthority()
	if err != nil {
		t.Fatal(err)
	}
	seen, tiers := map[string]bool{}, map[entitlement.Tier]int{}
	for _, a := range list {
		c := a.Certificate
		name := fmt.Sprintf("%s %s", a.Tier, c.Subject)
		if a.Source == "" || a.Tier != entitlement.Hardware && a.Tier != entitlement.Virtual {
			t.Errorf("%s: has no source, or no tier", name)
		}
		if seen[a.Fingerprint()] {
			t.Errorf("%s: ships twice, or for two tiers", name)
		}
		seen[a.Fingerprint()] = true
		tiers[a.Tier]++
		if a.Flaw(today) != "" {
			t.Errorf("%s: %s", name, a.Flaw(today))
		}
		if strings.Contains(strings.ToLower(c.Subject.String()+c.Issuer.String()), "swtpm") || c.Equal(test.Certificate) {
			t.Errorf("%s: is for tests", name)
		}
		chained := false
		for _, by := range list {
			chained = chained || by.Tier == a.Tier && bytes.Equal(by.Certificate.RawSubject, c.RawIssuer) && signed(c, by.Certificate)
		}
		if !chained {
			t.Errorf("%s: is neither self-signed nor certified by one that ships", name)
		}
	}
	if tiers[entitlement.Hardware] < 20 || tiers[entitlement.Virtual] < 2 {
		t.Errorf("%v ship", tiers)
	}
	t.Logf("%d authorities of makers, %d of virtual TPMs", tiers[entitlement.Hardware], tiers[entitlement.Virtual])
	files(t, "authorities", func(name string, b []byte) {
		some, err := parseAuthorities(b, entitlement.Hardware, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// Each certificate is under the SHA-256 that its file names.
		for _, a := range some {
			if !strings.Contains(string(b), "SHA-256: "+a.Fingerprint()+"\n") || !strings.HasPrefix(a.Source, "https://") {
				t.Errorf("%s: %s is not under its SHA-256, or has no address as source", name, a.Certificate.Subject)
			}
		}
	})
}

// signed says that a certificate is by that authority. Some makers signed their own roots with SHA-1 once, which crypto/x509 takes from nobody any more; what makes them trusted is that they ship.
func signed(c, by *x509.Certificate) bool {
	key, ok := by.PublicKey.(*rsa.PublicKey)
	if c.SignatureAlgorithm == x509.SHA1WithRSA && c.Equal(by) && ok {
		sum := sha1.Sum(c.RawTBSCertificate)
		return rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], c.Signature) == nil
	}
	return c.CheckSignatureFrom(by) == nil
}

func files(t *testing.T, dir string, do func(name string, b []byte)) {
	t.Helper()
	err := fs.WalkDir(authorities, dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || path.Ext(name) != ".pem" {
			return err
		}
		b, err := authorities.ReadFile(name)
		do(name, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What ships is put into roots/ and counts; what was there stays; what comes with the next release takes the place of what came with the last.
func TestShippedAreWritten(t *testing.T) {
	a, err := tpmtest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	p := Dir(t.TempDir())
	s := setup(t)
	s.Hardware, s.Shipped = [][]byte{authority(t)}, []Authority{{Tier: entitlement.Virtual, Certificate: a.Certificate, Source: "https://example.com/ca.cer"}}
	if _, err := Create(p, passphrase(), s, today, rand.Reader); err != nil {
		t.Fatal(err)
	}
	list, err := Authorities(p)
	if err != nil || len(list) != 2 || list[0].File != "roots/hardware/01.pem" || list[1].File != "roots/virtual/shipped.pem" || list[1].Source != "https://example.com/ca.cer" || list[1].Tier != entitlement.Virtual {
		t.Fatalf("%+v, %v", list, err)
	}
	o := mustOpen(t, p, rand.Reader)
	defer o.Close()
	key := newChip(t)
	der, err := a.Certify(mustKey(t, key.EK), nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := key.Quote(attest.Request, []byte("x"), clock())
	if err != nil {
		t.Fatal(err)
	}
	e.EKCertificates = [][]byte{der}
	id, err := attest.Verify(e, attest.Request, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if tier, why, err := o.class(id, "", today); tier != entitlement.Virtual || err != nil || !strings.Contains(why, "Leasehold test TPM authority") {
		t.Errorf("classed %s, %q, %v", tier, why, err)
	}
	shipped, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteShipped(p, shipped); err != nil {
		t.Fatal(err)
	}
	list, err = Authorities(p)
	if err != nil || len(list) != len(shipped)+1 {
		t.Errorf("%d authorities, want %d: %v", len(list), len(shipped)+1, err)
	}
	sum := sha256.Sum256(a.Certificate.Raw)
	for _, l := range list {
		if l.Fingerprint() == fmt.Sprintf("%x", sum) {
			t.Error("what shipped before is still there")
		}
	}
}

// A machine that calls itself virtual is never more than that, whatever its certificate; one that was classed software stays it.
func TestVirtualIsNeverHardware(t *testing.T) {
	_, o := newOffice(t, nil)
	a, err := tpmtest.TheAuthority()
	if err != nil {
		t.Fatal(err)
	}
	chip := newChip(t)
	der, err := a.Certify(mustKey(t, chip.EK), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		virtual      string
		certificates [][]byte
		tier         entitlement.Tier
		word         string
	}{
		{"", [][]byte{der}, entitlement.Hardware, "leads to"},
		{"kvm", [][]byte{der}, entitlement.Virtual, "virtual machine (kvm)"},
		{"", nil, entitlement.Software, "no certificate"},
		{"kvm", nil, entitlement.Software, "no certificate"},
	} {
		e, err := chip.Quote(attest.Request, []byte("x"), clock())
		if err != nil {
			t.Fatal(err)
		}
		e.EKCertificates = c.certificates
		id, err := attest.Verify(e, attest.Request, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if tier, why, err := o.class(id, c.virtual, today); tier != c.tier || err != nil || !strings.Contains(why, c.word) {
			t.Errorf("%q: classed %s, %q, %v", c.virtual, tier, why, err)
		}
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                  "plain",
		"a\x1b[2Jb\nc":           "a?[2Jb?c",
		"\u202eturned":           "?turned",
		strings.Repeat("x", 256): strings.Repeat("x", 256),
		strings.Repeat("x", 257): strings.Repeat("x", 253) + "...",
		strings.Repeat("ü", 200): strings.Repeat("ü", 126) + "...",
	} {
		if got := words(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestParseAuthorities(t *testing.T) {
	block := authority(t)
	text := append([]byte("Subject: X\nSource: https://one\n"), block...)
	list, err := parseAuthorities(append(bytes.Clone(text), append([]byte("Source: https://two\n"), block...)...), entitlement.Virtual, "f")
	if err != nil || len(list) != 2 || list[0].Source != "https://one" || list[1].Source != "https://two" || list[1].File != "f" {
		t.Errorf("%+v, %v", list, err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})
	for _, bad := range [][]byte{nil, []byte("text"), append(bytes.Clone(text), "text"...), append(bytes.Clone(key), block...)} {
		if list, err := parseAuthorities(bad, entitlement.Virtual, "f"); err == nil {
			t.Errorf("%q: %+v", bad, list)
		}
	}
}
