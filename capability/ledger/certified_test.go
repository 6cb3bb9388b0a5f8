package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// What is done about the certificate is in the trail, in words, and in bytes that stay.
func TestCertified(t *testing.T) {
	f := Certified{What: CertificateInstalled, SHA256: capability.Digest{0xab, 0xcd}, Names: []string{"a", "b"}, By: "uid 0"}
	e := Entry{Position: 1, Now: At(1, 2), Certified: &f}
	want := "a3" + "01" + "01" + "03" + "82" + "01" + "02" + "1834" + "a4" + // 52: about the certificate
		"01" + "02" + "02" + "5820" + "abcd" + strings.Repeat("00", 30) + "03" + "82" + "6161" + "6162" + "04" + "65" + "7569642030" // installed, its fingerprint, for a and b, by uid 0
	b := e.Encode(wire.New())
	if got := fmt.Sprintf("%x", b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if read, err := DecodeEntry(wire.New(), b); err != nil || !bytes.Equal(read.Encode(wire.New()), b) {
		t.Errorf("%+v, %v", read, err)
	}
	for what, words := range map[CertificateAct]string{
		CertificateAsked: "certificate asked for|SHA-256 abcd000000000000..., for a, b|uid 0", CertificateInstalled: "certificate installed|SHA-256 abcd000000000000..., for a, b|uid 0", CertificateRemoved: "certificate removed||uid 0",
	} {
		f.What = what
		if a, b, c := e.Words(); a+"|"+b+"|"+c != words {
			t.Errorf("%d: %s|%s|%s", what, a, b, c)
		}
	}
	if got := CertificateAct(0).String() + CertificateAct(9).String(); got != "of no kindof no kind" {
		t.Error(got)
	}
}

// What is no such act is refused, and corrupt where it is on disk.
func TestBadCertified(t *testing.T) {
	good := Certified{What: CertificateAsked, Names: slices.Repeat([]string{"x"}, MaxCertificateNames), By: "uid 0"}
	for name, spoil := range map[string]func(*Certified){
		"nothing": func(*Certified) {}, "no act": func(f *Certified) { f.What = 0 }, "an act to come": func(f *Certified) { f.What = CertificateRemoved + 1 },
		"too many names": func(f *Certified) { f.Names = append(f.Names, "x") }, "a line in a name": func(f *Certified) { f.Names = []string{"a\nb"} }, "a long name": func(f *Certified) { f.By = strings.Repeat("x", 1000) },
	} {
		f := good
		spoil(&f)
		l := New()
		d, err := l.Decide(At(0, 5), NoteCertificate{f})
		if (err == nil) != (name == "nothing") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			if err := l.Apply(d.Entries[0]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		d, err = l.Decide(At(0, 5), NoteCertificate{good})
		if err != nil {
			t.Fatal(err)
		}
		d.Entries[0].Certified = &f
		if err := l.Apply(d.Entries[0]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s on disk: %v", name, err)
		}
	}
}
