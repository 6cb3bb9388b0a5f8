package backoffice

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/tpm/attest"
)

// Every bad file has its code, and changes nothing.
func TestBadFiles(t *testing.T) {
	_, o := newOffice(t, nil)
	id := entitle(t, o, 40)
	a, other := newAppliance(t), newAppliance(t)
	good := a.request(o, want(id, 4))
	response := mustRespond(t, o, good).File
	next := a.request(o, want(id, 5))
	evidence := func(change func(e *attest.Evidence)) []byte {
		a.number = 1
		r := a.draft(o.Trust().Root, want(id, 6))
		r.Outstanding = nil
		file, _ := a.sign(r, change)
		return file
	}
	draft := func(change func(r *capability.Request)) []byte {
		a.number = 1
		r := a.draft(o.Trust().Root, want(id, 6))
		r.Outstanding = nil
		change(r)
		file, _ := a.sign(r, nil)
		return file
	}
	a.kid[0] ^= 1
	otherKey := draft(func(*capability.Request) {})
	a.kid[0] ^= 1
	for _, c := range []struct {
		name string
		file []byte
		code capability.Code
	}{
		{"the key ID of another key", otherKey, capability.ErrRequestSignature},
		{"empty", nil, capability.ErrFileCut},
		{"some text", []byte("hello, this is no request"), capability.ErrFileKind},
		{"a response", response, capability.ErrFileKind},
		{"a trust bundle", o.codec.EncodeTrust(o.Trust()), capability.ErrFileKind},
		{"cut", next[:len(next)-1], capability.ErrFileCut},
		{"bytes behind", append(bytes.Clone(next), 0), capability.ErrFileForm},
		{"oversize", append(bytes.Clone(next), make([]byte, capability.MaxFile)...), capability.ErrFileSize},
		{"no evidence", evidence(func(e *attest.Evidence) { *e = attest.Evidence{} }), capability.ErrRequestSignature},
		{"evidence of another machine", evidence(func(e *attest.Evidence) {
			d := make([]byte, 32)
			f, err := other.device.Evidence(attest.Request, d)
			if err != nil {
				t.Fatal(err)
			}
			*e = *f
		}), capability.ErrRequestSignature},
		{"the key of another machine", evidence(func(e *attest.Evidence) {
			f, err := other.device.Evidence(attest.Request, nil)
			if err != nil {
				t.Fatal(err)
			}
			e.AK = f.AK
		}), capability.ErrRequestSignature},
		{"the EK of another machine", evidence(func(e *attest.Evidence) {
			f, err := other.device.Evidence(attest.Request, nil)
			if err != nil {
				t.Fatal(err)
			}
			e.EK, e.EKCertificates = f.EK, f.EKCertificates
		}), capability.ErrRequestSignature},
		{"another boot state", evidence(func(e *attest.Evidence) { e.PCRs[0] ^= 1 }), capability.ErrRequestSignature},
		{"in the name of another machine", draft(func(r *capability.Request) { r.Hosts[0] = other.host }), capability.ErrRequestSignature},
		{"in the name of a string", draft(func(r *capability.Request) { r.Hosts[0] = hostid.ID{Type: hostid.String, Value: "hall 3"} }), capability.ErrRequestSignature},
		{"for another producer", draft(func(r *capability.Request) { r.Producer[0] ^= 1 }), capability.ErrOtherProducer},
		{"for no producer", draft(func(r *capability.Request) { r.Producer = capability.Digest{} }), capability.ErrOtherProducer},
		{"no number", draft(func(r *capability.Request) { r.Number = 0 }), capability.ErrFileForm},
		{"an item wanted twice", draft(func(r *capability.Request) { r.Desired = append(r.Desired, r.Desired[0]) }), capability.ErrFileForm},
		{"an operation for appliances", draft(func(r *capability.Request) { r.Operation = capability.Preview }), capability.ErrOperation},
	} {
		before := o.book.Digest()
		if res, err := o.Respond(c.file, "", "operator", today); codeOf(err) != c.code || res != nil {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
		if o.book.Digest() != before {
			t.Errorf("%s: the book was changed", c.name)
		}
	}
	before := o.book.Digest()
	for i := range next {
		bad := bytes.Clone(next)
		bad[i] ^= 1
		if res, err := o.Respond(bad, "", "operator", today); codeOf(err) == 0 || res != nil {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if i%64 == 0 {
			if _, err := o.Respond(next[:i], "", "operator", today); codeOf(err) != capability.ErrFileCut {
				t.Fatalf("cut at %d: %v", i, err)
			}
		}
	}
	if o.book.Digest() != before {
		t.Error("the book was changed")
	}
	// A second history of the same machine is refused, and kept on record.
	fork := evidence(nil)
	_, length := o.book.Head()
	if _, err := o.Respond(fork, "", "operator", today); codeOf(err) != capability.ErrFork {
		t.Errorf("a copied machine: %v", err)
	}
	if h, _ := o.book.Host(a.host); len(h.Incidents) != 1 {
		t.Errorf("incidents %v", h.Incidents)
	}
	if _, n := o.book.Head(); n != length+1 {
		t.Errorf("%d entries more", n-length)
	}
	// After all that, the good one is answered.
	if res := mustRespond(t, o, next); res.Serial != 2 {
		t.Errorf("serial %d, want 2", res.Serial)
	}
}

func TestRequestForAnotherProducer(t *testing.T) {
	_, ours := newOffice(t, nil)
	_, theirs := newOffice(t, nil)
	a := newAppliance(t)
	if _, err := ours.Respond(a.request(theirs), "", "operator", today); codeOf(err) != capability.ErrOtherProducer {
		t.Errorf("%v", err)
	}
	file := mustRespond(t, theirs, a.request(theirs)).File
	if _, err := a.open(ours.Trust(), file); !errors.Is(err, wire.ErrOtherProducer) {
		t.Errorf("their response under our root: %v", err)
	}
}

func TestResponseFileDamaged(t *testing.T) {
	dir := t.TempDir()
	p := Dir(dir)
	if _, err := Create(p, passphrase(), setup(t), today, rand.Reader); err != nil {
		t.Fatal(err)
	}
	o := mustOpen(t, p, rand.Reader)
	t.Cleanup(func() { o.Close() })
	request := newAppliance(t).request(o)
	good := mustRespond(t, o, request).File
	names, err := filepath.Glob(filepath.Join(dir, "responses", "*.lhr"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	bad := bytes.Clone(good)
	bad[len(bad)/2] ^= 1
	for name, change := range map[string]func() error{
		"altered": func() error { return os.WriteFile(names[0], bad, 0o600) },
		"cut":     func() error { return os.WriteFile(names[0], good[:100], 0o600) },
		"gone":    func() error { return os.Remove(names[0]) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Respond(request, "", "operator", today); codeOf(err) != capability.ErrBookDamaged {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.WriteFile(names[0], good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if again := mustRespond(t, o, request); !bytes.Equal(again.File, good) {
		t.Error("put back, it is not the answer")
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	p := Dir(dir)
	if _, err := Open(p, passphrase(), rand.Reader); !errors.Is(err, ErrAbsent) || Code(err) != capability.ErrNoOffice {
		t.Errorf("an empty directory: %v", err)
	}
	for name, change := range map[string]func(*Setup) []byte{
		"a short passphrase": func(*Setup) []byte { return []byte("seven77") },
		"no producer":        func(s *Setup) []byte { s.Policy.Producer = ""; return passphrase() },
		"roots that are none": func(s *Setup) []byte {
			s.Hardware = [][]byte{[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}
			return passphrase()
		},
		"roots with something behind": func(s *Setup) []byte { s.Virtual = [][]byte{append(authority(t), "x"...)}; return passphrase() },
		"roots with a key": func(s *Setup) []byte {
			s.Virtual = [][]byte{[]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")}
			return passphrase()
		},
		"a cost too high": func(s *Setup) []byte { s.Cost = Cost{1, 1<<20 + 1, 1}; return passphrase() },
	} {
		s := setup(t)
		pass := change(&s)
		if _, err := Create(p, pass, s, today, rand.Reader); err == nil {
			t.Errorf("%s: was taken", name)
		}
		if _, err := Open(p, passphrase(), rand.Reader); !errors.Is(err, ErrAbsent) {
			t.Errorf("%s: left %v", name, err)
		}
	}
	if _, err := Create(p, passphrase(), setup(t), today, rand.Reader); err != nil {
		t.Fatal(err)
	}
	_, before, err := Trust(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(p, passphrase(), setup(t), today, rand.Reader); !errors.Is(err, ErrPresent) {
		t.Errorf("twice: %v", err)
	}
	if _, after, err := Trust(p); err != nil || !bytes.Equal(before.Root.Ed25519, after.Root.Ed25519) {
		t.Errorf("the second init changed the root: %v", err)
	}
	if _, err := Open(p, []byte("wrong horse battery"), rand.Reader); !errors.Is(err, ErrPassphrase) || Code(err) != capability.ErrPassphrase {
		t.Errorf("a wrong passphrase: %v", err)
	}
	o := mustOpen(t, p, rand.Reader)
	if _, err := Open(p, passphrase(), rand.Reader); !errors.Is(err, storage.ErrLocked) || Code(err) != capability.ErrOfficeBusy {
		t.Errorf("a second process: %v", err)
	}
	o.Close()

	path := func(elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) }
	read := func(name string) []byte {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	signing, root, trust := path("keys", "signing.key"), path("keys", "root.key"), path("trust.lht")
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 0x80; return b }
	}
	header := filepath.Join(dir, "book", "header-0000000000000001")
	for _, c := range []struct {
		name, file string
		change     func([]byte) []byte
		code       capability.Code
	}{
		{"format of the key file", signing, flip(0), capability.ErrPassphrase},
		{"passes beyond the bound", signing, flip(1), capability.ErrPassphrase},
		{"memory beyond the bound", signing, flip(5), capability.ErrPassphrase},
		{"threads beyond the bound", signing, flip(9), capability.ErrPassphrase},
		{"salt", signing, flip(12), capability.ErrPassphrase},
		{"nonce", signing, flip(30), capability.ErrPassphrase},
		{"secrets", signing, flip(keyHeader + 9), capability.ErrPassphrase},
		{"tag", signing, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, capability.ErrPassphrase},
		{"cut key file", signing, func(b []byte) []byte { return b[:keyHeader-1] }, capability.ErrPassphrase},
		{"oversize key file", signing, func([]byte) []byte { return make([]byte, maxKeyFile+1) }, capability.ErrPassphrase},
		{"the root's file as signing key", signing, func([]byte) []byte { return read(root) }, capability.ErrPassphrase},
		{"trust bundle damaged", trust, func(b []byte) []byte { return b[:len(b)-1] }, capability.ErrTrust},
		{"trust bundle of another root", trust, flip(60), capability.ErrTrust},
		{"book header", header, flip(40), capability.ErrBookDamaged},
	} {
		whole := read(c.file)
		if err := os.WriteFile(c.file, c.change(bytes.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := Open(p, passphrase(), rand.Reader)
		if Code(err) != c.code {
			t.Errorf("%s: %v, want %s", c.name, err, c.code)
		}
		if err == nil {
			o.Close()
		}
		if err := os.WriteFile(c.file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(root); err != nil { // it is kept elsewhere
		t.Fatal(err)
	}
	mustOpen(t, p, rand.Reader).Close()
}

// A sealed file opens as what it was sealed as, with its own passphrase, and not at a cost that it chose to hurt.
func TestKeyFile(t *testing.T) {
	file, err := sealKey(cheap(), signingName, passphrase(), []byte("secrets"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := openKey(signingName, passphrase(), file); err != nil || string(plain) != "secrets" {
		t.Errorf("%q, %v", plain, err)
	}
	if _, err := openKey(rootName, passphrase(), file); !errors.Is(err, ErrPassphrase) {
		t.Errorf("opened as the root's file: %v", err)
	}
	for _, c := range []Cost{{}, {0, 64, 1}, {17, 64, 1}, {1, 63, 1}, {1, 1<<20 + 1, 1}, {1, 64, 0}, {1, 64, 17}, {1 << 31, 1 << 31, 255}} {
		if c.check() == nil {
			t.Errorf("cost %+v was taken", c)
		}
	}
	if c := DefaultCost(); c.check() != nil || c.Memory < 64<<10 || c.Passes < 3 {
		t.Errorf("the default cost %+v is below 64 MiB and 3 passes", c)
	}
}
