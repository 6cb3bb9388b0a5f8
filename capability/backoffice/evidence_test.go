package backoffice

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/storage/storagetest"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// newDirectory is a back office in a directory, which the test looks into.
func newDirectory(t *testing.T, policy entitlement.ForkPolicy) (string, *Office) {
	t.Helper()
	dir := t.TempDir()
	s := setup(t)
	s.Policy.Forks = policy
	if _, err := Create(Dir(dir), passphrase(), s, today, rand.Reader); err != nil {
		t.Fatal(err)
	}
	o := mustOpen(t, Dir(dir), rand.Reader)
	t.Cleanup(func() { o.Close() })
	return dir, o
}

// second is another request with the number of the last one, as a copy of the machine writes it.
func (a *appliance) second(o *Office, desired ...capability.Desired) []byte {
	a.t.Helper()
	a.number--
	was := a.outstanding
	a.outstanding = was[:len(was)-1]
	r := a.draft(o.Trust().Root, desired...)
	r.Correlation[15] = 9
	file, _ := a.sign(r, nil)
	a.outstanding = was
	return file
}

func count(t *testing.T, pattern ...string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestBothFilesOfAForkAreKept(t *testing.T) {
	dir, o := newDirectory(t, entitlement.RefuseForks)
	a := newAppliance(t)
	first := a.request(o)
	mustRespond(t, o, first)
	fork := a.second(o)
	if err := os.RemoveAll(filepath.Join(dir, "evidence")); err != nil { // as a back office from before there was evidence
		t.Fatal(err)
	}
	for range 2 {
		if _, err := o.Respond(fork, "", "operator", today); codeOf(err) != capability.ErrFork {
			t.Fatalf("%v", err)
		}
		if n := count(t, dir, "evidence", "*"); n != 1 {
			t.Errorf("%d files of evidence", n)
		}
	}
	h, _ := o.Book().Host(a.host)
	if !h.Forked() || len(h.Incidents) != 1 {
		t.Fatalf("incidents %+v", h.Incidents)
	}
	i := h.Incidents[0]
	for _, c := range []struct {
		digest capability.Digest
		place  string
		file   []byte
	}{{i.Digest, "evidence", fork}, {i.Against, "responses", first}} {
		name := o.RequestFile(c.digest)
		if name != fmt.Sprintf("%s/%x.lhq", c.place, c.digest[:]) {
			t.Fatalf("kept as %q", name)
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		kept, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(kept, c.file) {
			t.Errorf("%s: not the file that came: %v", name, err)
		}
		// A file that is not what its name says is no evidence.
		for what, change := range map[string]func() error{
			"another request": func() error { return os.WriteFile(path, a.second(o, want("00000-00000-00000-00000", 1)), 0o600) },
			"cut":             func() error { return os.WriteFile(path, kept[:100], 0o600) },
			"too large":       func() error { return os.WriteFile(path, make([]byte, capability.MaxFile+1), 0o600) },
			"gone":            func() error { return os.Remove(path) },
		} {
			if err := change(); err != nil {
				t.Fatal(err)
			}
			if name := o.RequestFile(c.digest); name != "" {
				t.Errorf("%s, %s: still %q", c.place, what, name)
			}
		}
	}
	if o.RequestFile(capability.Digest{}) != "" {
		t.Error("the file of no request")
	}
}

func TestWarningOfAFork(t *testing.T) {
	dir, o := newDirectory(t, entitlement.WarnForks)
	a := newAppliance(t)
	a.apply(o.Trust(), mustRespond(t, o, a.request(o)).File)
	mustRespond(t, o, a.request(o))
	a.outstanding[0][0] ^= 1 // a copy, whose request 2 was another one
	ahead := a.request(o)
	res := mustRespond(t, o, ahead)
	if !strings.Contains(res.Warning, "number 2 is on record") || res.Serial != 3 {
		t.Errorf("the operator is told %q", res.Warning)
	}
	a.apply(o.Trust(), res.File)
	if again := mustRespond(t, o, ahead); !again.Again || again.Warning != res.Warning {
		t.Errorf("again: %+v", again)
	}
	h, _ := o.Book().Host(a.host)
	if i := h.Incidents[0]; !h.Forked() || !i.Warned || o.RequestFile(i.Digest) == "" || o.RequestFile(i.Against) == "" {
		t.Errorf("%+v", h.Incidents)
	}
	r := a.draft(o.Trust().Root)
	r.Number, r.Correlation[15] = 2, 9
	behind, _ := a.sign(r, nil)
	if _, err := o.Respond(behind, "", "operator", today); codeOf(err) != capability.ErrFork {
		t.Errorf("the line that is behind: %v", err)
	}
	if n := count(t, dir, "evidence", "*"); n != 1 { // the one that was answered is among the answered ones
		t.Errorf("%d files of evidence", n)
	}
	if res := mustRespond(t, o, newAppliance(t).request(o)); res.Warning != "" {
		t.Errorf("another machine is warned of: %s", res.Warning)
	}
}

func TestTwoRequestsAfterOneResponseLeaveNoEvidence(t *testing.T) {
	dir, o := newDirectory(t, entitlement.RefuseForks)
	a := newAppliance(t)
	a.apply(o.Trust(), mustRespond(t, o, a.request(o)).File)
	two, three := a.request(o), a.request(o)
	mustRespond(t, o, three)
	if _, err := o.Respond(two, "", "operator", today); codeOf(err) != capability.ErrOlderRequest {
		t.Errorf("the late one: %v", err)
	}
	if h, _ := o.Book().Host(a.host); h.Forked() || len(h.Incidents) != 0 || count(t, dir, "evidence", "*") != 0 {
		t.Errorf("%+v", h.Incidents)
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	m := storagetest.New(4)
	p := simulated(m)
	evidence := m.AddDisk(nil)
	p.Evidence = evidence
	if _, err := Create(p, passphrase(), setup(t), today, m); err != nil {
		t.Fatal(err)
	}
	o := mustOpen(t, p, m)
	t.Cleanup(func() { o.Close() })
	a := newAppliance(t)
	mustRespond(t, o, a.request(o))
	for n := range entitlement.MaxIncidents + 3 {
		r := a.draft(o.Trust().Root)
		r.Number, r.Outstanding, r.Correlation[15] = 1, nil, byte(n+1)
		a.number = 1
		file, _ := a.sign(r, nil)
		if _, err := o.Respond(file, "", "operator", today); codeOf(err) != capability.ErrFork {
			t.Fatal(err)
		}
	}
	if names, err := evidence.List(); err != nil || len(names) != entitlement.MaxIncidents {
		t.Errorf("%d files of evidence: %v", len(names), err)
	}
}

// The process ends at every step of a refusal, and the power with it: what the book says is kept is kept.
func TestCrashInRefusal(t *testing.T) {
	a := newAppliance(t)
	var first, fork []byte
	begin := func() (*storagetest.Machine, Place, storage.Disk) {
		m := storagetest.New(1)
		p := simulated(m)
		p.Evidence = m.AddDisk(nil)
		if _, err := Create(p, passphrase(), setup(t), today, m); err != nil {
			t.Fatal(err)
		}
		o := mustOpen(t, p, m)
		if first == nil {
			first = a.request(o)
			fork = a.second(o)
		}
		mustRespond(t, o, first)
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		return m, p, p.Evidence
	}
	m, p, _ := begin()
	m.Plan(nil)
	o := mustOpen(t, p, m)
	if _, err := o.Respond(fork, "", "operator", today); codeOf(err) != capability.ErrFork {
		t.Fatal(err)
	}
	steps := len(m.Calls())
	for n := range steps {
		for k, ending := range endings() {
			m, p, evidence := begin()
			m.Plan(storagetest.At(n, ending))
			told := false
			if o, err := Open(p, passphrase(), m); err == nil {
				_, err := o.Respond(fork, "", "operator", today)
				told = codeOf(err) == capability.ErrFork && !m.Stopped()
				o.Close()
			}
			m.Plan(nil)
			m.PowerCut(uint64(n))
			o := mustOpen(t, p, m)
			h, _ := o.Book().Host(a.host)
			if told && len(h.Incidents) == 0 {
				t.Fatalf("step %d, ending %d: told and forgotten", n, k)
			}
			for _, i := range h.Incidents {
				if o.RequestFile(i.Digest) == "" || o.RequestFile(i.Against) == "" {
					t.Fatalf("step %d, ending %d: the book names a file that is not there", n, k)
				}
			}
			if _, err := o.Respond(fork, "", "operator", today); codeOf(err) != capability.ErrFork {
				t.Fatalf("step %d, ending %d: %v", n, k, err)
			}
			names, err := evidence.List()
			if h, _ := o.Book().Host(a.host); err != nil || len(h.Incidents) != 1 || len(names) != 1 {
				t.Fatalf("step %d, ending %d: %d incidents, files %v: %v", n, k, len(h.Incidents), names, err)
			}
			o.Close()
		}
	}
}

// A state that was allowed before an update opens the storage after it; one that was not does not.
func TestBootStateSignedAhead(t *testing.T) {
	_, o := newOffice(t, nil)
	m := tpmtest.Start(t)
	a := applianceWith(t, m)
	_, now, err := o.Quoted(a.request(o))
	if err != nil {
		t.Fatal(err)
	}
	event := sha256.Sum256([]byte("image 2026.2"))
	next := bytes.Clone(now)
	after := sha256.Sum256(append(bytes.Clone(now[32:64]), event[:]...)) // what PCR 11 is after the event
	copy(next[32:64], after[:])
	if err := o.AllowBoot(next, "image 2026.2", "operator", today); err != nil {
		t.Fatal(err)
	}
	other := bytes.Repeat([]byte{5}, entitlement.StateBytes)
	if err := o.AllowBoot(other, "never built", "operator", today); err != nil {
		t.Fatal(err)
	}
	if err := o.WithdrawBoot(other, "operator", today); err != nil {
		t.Fatal(err)
	}
	r := a.apply(o.Trust(), mustRespond(t, o, a.request(o)).File)
	var states [][]byte
	for _, raw := range r.Boot.States {
		s, err := attest.DecodeSignedState(raw)
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, s.PCRs)
	}
	if len(states) != 2 || !bytes.Equal(states[0], now) || !bytes.Equal(states[1], next) {
		t.Fatalf("%d states signed", len(states))
	}
	a.provision(r.Boot)
	blob, err := a.binding.Seal(a.secret, a.epoch)
	if err != nil {
		t.Fatal(err)
	}
	extend := func() {
		_, err := (tpm2.PCRExtend{PCRHandle: tpm2.AuthHandle{Handle: 11, Auth: tpm2.PasswordAuth(nil)},
			Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: event[:]}}}}).Execute(m.Bus())
		if err != nil {
			t.Fatal(err)
		}
	}
	extend()
	if back, err := a.binding.Unseal(blob, a.epoch); err != nil || !bytes.Equal(back, a.secret) {
		t.Errorf("after the update: %v", err)
	}
	_, quoted, err := o.Quoted(a.request(o))
	if err != nil || !bytes.Equal(quoted, next) {
		t.Errorf("after the update it quotes another state: %v", err)
	}
	if err := o.WithdrawBoot(next, "operator", today); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Respond(a.request(o), "", "operator", today); codeOf(err) != capability.ErrSealed {
		t.Errorf("in a withdrawn state: %v", err)
	}
	extend()
	if _, err := a.binding.Unseal(blob, a.epoch); err == nil {
		t.Error("it opens in a state that nobody signed")
	}
}

func TestQuotedIsProven(t *testing.T) {
	_, o := newOffice(t, nil)
	a := newAppliance(t)
	file, _ := a.sign(a.draft(o.Trust().Root), func(e *attest.Evidence) { e.PCRs[0] ^= 1 })
	if _, state, err := o.Quoted(file); codeOf(err) != capability.ErrRequestSignature || state != nil {
		t.Errorf("%x, %v", state, err)
	}
}
