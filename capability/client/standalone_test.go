package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/attest/attesttest"
)

// office is a real back office in a directory of its own, which gives to any tier.
type office struct {
	t     testing.TB
	o     *backoffice.Office
	trust []byte
	clock func() time.Time
}

func newOffice(t testing.TB, clock func() time.Time) *office {
	t.Helper()
	place, pass := backoffice.Dir(t.TempDir()), []byte("correct horse battery")
	policy := entitlement.DefaultPolicy("Example Works")
	policy.MinimumTier = entitlement.Software
	if _, err := backoffice.Create(place, pass, backoffice.Setup{Policy: policy, KeyName: "producer-A", Cost: backoffice.Cost{Passes: 1, Memory: 64, Threads: 1}, By: "operator"}, capability.At(clock()), rand.Reader); err != nil {
		t.Fatal(err)
	}
	o, err := backoffice.Open(place, pass, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	trust, _, err := backoffice.Trust(place)
	if err != nil {
		t.Fatal(err)
	}
	return &office{t, o, trust, clock}
}

func (o *office) entitle(feature string, copies uint32, change ...func(*entitlement.Item)) capability.ActivationID {
	o.t.Helper()
	f, err := capability.ParseFeature(feature)
	if err != nil {
		o.t.Fatal(err)
	}
	i := entitlement.Item{Customer: "ACME Works", Product: "Render Pro", Copies: copies, Features: []entitlement.Feature{{Name: f.Name, Version: f.Version, PerCopy: 1}}}
	for _, c := range change {
		c(&i)
	}
	v, err := o.o.Entitle(i, "operator", capability.At(o.clock()))
	if err != nil {
		o.t.Fatal(err)
	}
	return v.ActivationID
}

func (o *office) respond(file []byte, order backoffice.Order) (*backoffice.Result, error) {
	order.By = "operator"
	return o.o.RespondTo(file, order, capability.At(o.clock()))
}

// give has a machine ask for so many copies, and hands it what comes back.
func (o *office) give(s *Standalone, id capability.ActivationID, copies uint32) *Applied {
	o.t.Helper()
	r, err := s.Request(o.t.Context(), []capability.Desired{{ActivationID: id, Count: copies}})
	if err != nil {
		o.t.Fatal(err)
	}
	res, err := o.respond(r.Bytes, backoffice.Order{})
	if err != nil {
		o.t.Fatal(err)
	}
	a, err := s.Import(o.t.Context(), res.File)
	if err != nil || a.Code != capability.Applied {
		o.t.Fatal(a, err)
	}
	return a
}

func machineOfIDs(ids ...hostid.ID) (m hostid.Machine) {
	for _, id := range ids {
		m.Findings = append(m.Findings, hostid.Finding{ID: id, Strength: hostid.Firm, Source: "test"})
	}
	return m
}

func workstation(n int) hostid.Machine {
	return machineOfIDs(hostid.ID{Type: hostid.BoardUUID, Value: fmt.Sprintf("4C4C4544-%012d", n)}, hostid.ID{Type: hostid.Ethernet, Value: fmt.Sprintf("02%010d", n)},
		hostid.ID{Type: hostid.Disk, Value: fmt.Sprintf("S3R1AL%d", n)})
}

// testChip is a modeled TPM with a counter. Its faults come at an advance of the counter: before it moves, or when it has.
type testChip struct {
	*attesttest.Chip
	mu      sync.Mutex
	sealed  map[string][]byte
	epoch   uint64
	counts  bool
	auth    []byte
	advance int // how many are left before one fails; negative: none does
	moves   bool
}

func newTestChip(t testing.TB) *testChip {
	t.Helper()
	ek, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ak, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err := attesttest.New(ek, ak)
	if err != nil {
		t.Fatal(err)
	}
	return &testChip{Chip: c, sealed: map[string][]byte{}, advance: -1}
}

func (c *testChip) Host() hostid.ID            { return c.Chip.Host }
func (c *testChip) KeyID() (wire.KeyID, error) { return wire.AttestationKeyID(c.AK), nil }
func (c *testChip) Epoch() (uint64, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch, c.counts, nil
}

func (c *testChip) Quote(digest capability.Digest) ([]byte, error) {
	e, err := c.Chip.Quote(attest.Request, digest[:], tpm2.TPMSClockInfo{Clock: 1, Safe: true})
	if err != nil {
		return nil, err
	}
	return e.Encode(), nil
}

func (c *testChip) Activate(wrap []byte) ([]byte, error) {
	w, err := attest.DecodeWrapped(wrap)
	if err != nil {
		return nil, err
	}
	return c.Chip.Activate(w)
}

func (c *testChip) Certify(digest capability.Digest) ([]byte, error) {
	p, err := c.CertifyEpoch(attest.EpochIndex, c.epoch, digest[:], tpm2.TPMSClockInfo{Clock: 1, Safe: true})
	if err != nil {
		return nil, err
	}
	return p.Encode(), nil
}

func (c *testChip) Seal(secret []byte) ([]byte, error) {
	blob := make([]byte, 16)
	rand.Read(blob)
	c.sealed[string(blob)] = bytes.Clone(secret)
	return blob, nil
}

func (c *testChip) Unseal(blob []byte) ([]byte, error) {
	secret, ok := c.sealed[string(blob)]
	if !ok {
		return nil, fmt.Errorf("%w: not sealed here", ErrOtherMachine)
	}
	return bytes.Clone(secret), nil
}

func (c *testChip) Moves(secret []byte) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts && bytes.Equal(secret, c.auth), nil
}

func (c *testChip) Provision(secret []byte) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch, c.counts, c.auth = c.epoch+1, true, bytes.Clone(secret)
	return c.epoch, nil
}

var errPowerCut = errors.New("the power is cut")

func (c *testChip) Advance(secret []byte, from uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !bytes.Equal(secret, c.auth) || from != c.epoch {
		return fmt.Errorf("the counter is at %d, not at %d, or another's", c.epoch, from)
	}
	if c.advance--; c.advance == -1 {
		if c.moves {
			c.epoch++
		}
		return errPowerCut
	}
	c.epoch++
	return nil
}

// box is one machine with a directory; with a chip or without.
type standBox struct {
	t       testing.TB
	o       *office
	dir     string
	chip    Chip
	machine hostid.Machine
	user    string
	replace bool
}

func (b *standBox) open() (*Standalone, error) {
	s, err := OpenStandalone(b.t.Context(), StandaloneOptions{Dir: b.dir, Trust: b.o.trust, Chip: b.chip, Machine: b.machine, User: b.user, Replace: b.replace, Clock: b.o.clock})
	if err == nil {
		b.t.Cleanup(func() { s.Close() })
	}
	return s, err
}

func (b *standBox) must() *Standalone {
	b.t.Helper()
	s, err := b.open()
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// copied is the machine with a copy of its directory as it is now.
func (b *standBox) copied() *standBox {
	b.t.Helper()
	dir := filepath.Join(b.t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(b.dir)); err != nil {
		b.t.Fatal(err)
	}
	other := *b
	other.dir = dir
	return &other
}

// eachTier runs a test on a machine with a TPM and on one without.
func eachTier(t *testing.T, f func(t *testing.T, b *standBox)) {
	for _, tier := range []string{"TPM", "device key"} {
		t.Run(tier, func(t *testing.T) {
			b := &standBox{t: t, o: newOffice(t, time.Now), dir: t.TempDir(), machine: workstation(1)}
			if tier == "TPM" {
				b.chip = newTestChip(t)
			}
			f(t, b)
		})
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// From the request to the credit of what was returned, by files alone.
func TestStandaloneLife(t *testing.T) {
	eachTier(t, func(t *testing.T, b *standBox) {
		ctx, id := t.Context(), b.o.entitle("render:2026.1", 5)
		s := b.must()
		_, err := s.Acquire(ctx, "render")
		wantError(t, "acquire without rights", err, ErrNotProvisioned)
		b.o.give(s, id, 3)
		two, err := s.Acquire(ctx, "render:2025", Count(2))
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Acquire(ctx, "render", Count(2))
		wantError(t, "two of the one that is left", err, ErrNoSeat)
		_, err = s.Acquire(ctx, "render:2026.2")
		wantError(t, "a later version", err, ErrVersion)
		_, err = s.Acquire(ctx, "other")
		wantError(t, "another feature", err, ErrNotEntitled)
		_, err = s.Return(ctx, id, 2)
		wantError(t, "return what is held", err, ErrInUse)
		if _, err := s.Return(ctx, id, 1); err != nil {
			t.Fatal(err)
		}
		if err := two.Release(ctx); err != nil {
			t.Fatal(err)
		}
		made, err := s.Return(ctx, id, 0)
		if err != nil || made.Copies != 2 || len(made.Proof) == 0 {
			t.Fatal(made, err)
		}
		_, err = s.Acquire(ctx, "render")
		wantError(t, "acquire what was returned", err, ErrNotEntitled)
		_, err = s.Return(ctx, id, 0)
		wantError(t, "return it again", err, sentinel(capability.ErrNothingToReturn))

		r, err := s.Request(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.o.respond(r.Bytes, backoffice.Order{})
		if err != nil || len(res.Credited) != 2 || len(res.Items) != 0 {
			t.Fatalf("%d credited, %v", len(res.Credited), err)
		}
		again, err := b.o.respond(r.Bytes, backoffice.Order{})
		if err != nil || !again.Again || !bytes.Equal(again.File, res.File) {
			t.Errorf("the same proof once more: %v", err)
		}
		if _, err := s.Import(ctx, res.File); err != nil {
			t.Fatal(err)
		}
		if v, err := s.Look(ctx); err != nil || len(v.Returns) != 0 || len(v.Items) != 0 {
			t.Errorf("%+v %v", v, err)
		}
		if v, _ := b.o.o.Book().Item(id, capability.At(time.Now())); v.State != entitlement.Available {
			t.Errorf("the item is %+v", v)
		}
	})
}

// A return whose proof the back office cannot believe is refused once and for good: it is sent no more, and what it was of is here, and can be returned once more.
func TestStandaloneReturnRefused(t *testing.T) {
	eachTier(t, func(t *testing.T, b *standBox) {
		ctx, id := t.Context(), b.o.entitle("render:1.0", 5)
		s := b.must()
		b.o.give(s, id, 3)
		if _, err := s.Return(ctx, id, 1); err != nil {
			t.Fatal(err)
		}
		if err := s.with(ctx, func(st *standing) error { // a disk that flips a bit
			st.Returns[0].Proof[len(st.Returns[0].Proof)-1] ^= 1
			return s.keep(st)
		}); err != nil {
			t.Fatal(err)
		}
		late, err := s.Request(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Return(ctx, id, 1); err != nil {
			t.Fatal(err)
		}
		r, err := s.Request(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.o.respond(r.Bytes, backoffice.Order{})
		if err != nil || len(res.Credited) != 1 {
			t.Fatalf("%d credited, %v", len(res.Credited), err)
		}
		if _, err := b.o.respond(late.Bytes, backoffice.Order{}); err == nil {
			t.Error("a request from before is answered")
		}
		if v, err := s.Look(ctx); err != nil || len(v.Returns) != 2 || v.Items[0].Copies != 1 {
			t.Fatalf("before the response: %+v %v", v, err)
		}
		a, err := s.Import(ctx, res.File)
		if err != nil || len(a.Response.ReturnsRefused()) != 1 {
			t.Fatal(a, err)
		}
		v, err := s.Look(ctx)
		if err != nil || len(v.Returns) != 0 || len(v.Refused) != 1 || v.Items[0].Copies != 2 {
			t.Fatalf("after the response: %+v %v", v, err)
		}
		if r, err = s.Request(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if in, err := Inspect(r.Bytes, nil); err != nil || len(in.Request.Fields.Returns) != 0 {
			t.Errorf("the next request: %v, %v", in, err)
		}
		if _, err := s.Return(ctx, id, 0); err != nil {
			t.Fatal(err)
		}
		if r, err = s.Request(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if res, err = b.o.respond(r.Bytes, backoffice.Order{}); err != nil || len(res.Credited) != 1 || res.Credited[0].Copies != 2 {
			t.Errorf("returned once more: %+v, %v", res, err)
		}
	})
}

// What a program held comes free when it ends, what was to be kept does not; another program of the machine sees both.
func TestStandaloneProgramsShare(t *testing.T) {
	eachTier(t, func(t *testing.T, b *standBox) {
		ctx, id := t.Context(), b.o.entitle("render:1.0", 4)
		s := b.must()
		b.o.give(s, id, 4)
		if _, err := s.Acquire(ctx, "render", Count(2)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Acquire(ctx, "render", Keep()); err != nil {
			t.Fatal(err)
		}
		other := b.must()
		_, err := other.Acquire(ctx, "render", Count(2))
		wantError(t, "two of one", err, ErrNoSeat)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Acquire(ctx, "render", Count(3)); err != nil {
			t.Error(err)
		}
		if v, err := other.Look(ctx); err != nil || len(v.Held) != 2 {
			t.Errorf("%+v %v", v, err)
		}
		if err := other.Release(ctx, "render"); err != nil {
			t.Fatal(err)
		}
		wantError(t, "release nothing", other.Release(ctx, "render"), ErrNoSuchLease)
	})
}

// However many programs try at once, no more get a count than there are.
func TestStandaloneRace(t *testing.T) {
	eachTier(t, func(t *testing.T, b *standBox) {
		const programs, counts = 12, 5
		s := b.must()
		b.o.give(s, b.o.entitle("render:1.0", counts), counts)
		var got, no sync.WaitGroup
		results := make(chan error, programs)
		for range programs {
			p := b.must()
			got.Go(func() {
				_, err := p.Acquire(context.Background(), "render")
				results <- err
			})
		}
		got.Wait()
		no.Wait()
		close(results)
		granted := 0
		for err := range results {
			if err == nil {
				granted++
			} else if !errors.Is(err, ErrNoSeat) {
				t.Error(err)
			}
		}
		if granted != counts {
			t.Errorf("%d programs hold one of %d", granted, counts)
		}
	})
}

// A copy on another machine says whose it is, and takes nothing from the first.
func TestStandaloneOnAnotherMachine(t *testing.T) {
	eachTier(t, func(t *testing.T, b *standBox) {
		s := b.must()
		b.o.give(s, b.o.entitle("render:1.0", 1), 1)
		other := b.copied()
		other.machine = workstation(2)
		if b.chip != nil {
			other.chip = newTestChip(t)
		}
		_, err := other.open()
		wantError(t, "a copy elsewhere", err, ErrBinding)
		if err == nil || !strings.Contains(err.Error(), s.Host().Short()) {
			t.Errorf("the error does not say whose it is: %v", err)
		}
		if _, err := s.Acquire(t.Context(), "render"); err != nil {
			t.Error(err)
		}
	})
}

// A response for another machine is refused by name, and one that was made for another directory of this one too.
func TestStandaloneForeignResponses(t *testing.T) {
	eachTier(t, func(t *testing.T, b *standBox) {
		ctx, id := t.Context(), b.o.entitle("render:1.0", 4)
		s := b.must()
		other := &standBox{t: t, o: b.o, dir: t.TempDir(), machine: workstation(2)}
		if b.chip != nil {
			other.chip = newTestChip(t)
		}
		o := other.must()
		r, err := s.Request(ctx, []capability.Desired{{ActivationID: id, Count: 1}})
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.o.respond(r.Bytes, backoffice.Order{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = o.Import(ctx, res.File)
		wantError(t, "for another machine", err, ErrNotOurs)
		if err == nil || !strings.Contains(err.Error(), s.Host().Short()) {
			t.Errorf("it does not say for which: %v", err)
		}
		for i := range res.File {
			if i%97 != 0 {
				continue
			}
			bad := bytes.Clone(res.File)
			bad[i] ^= 1
			if _, err := s.Import(ctx, bad); err == nil {
				t.Errorf("byte %d changed, and nobody minds", i)
			}
		}
		if a, err := s.Import(ctx, res.File); err != nil || a.Code != capability.Applied {
			t.Fatal(a, err)
		}
		if a, err := s.Import(ctx, res.File); err != nil || a.Code != capability.AlreadyHere {
			t.Error(a, err)
		}
		b.o.give(s, id, 2)
		if a, err := s.Import(ctx, res.File); err != nil || a.Code != capability.OlderResponse {
			t.Error(a, err)
		}
		// A directory that was wiped is another life: what was made for the one before brings nothing back.
		wiped := *b
		wiped.dir, wiped.replace = t.TempDir(), true
		w := wiped.must()
		if _, err := w.Request(ctx, nil); err != nil {
			t.Fatal(err)
		}
		_, err = w.Import(ctx, res.File)
		if b.chip != nil {
			wantError(t, "an old response into a wiped directory", err, sentinel(capability.ErrResponseEpoch))
		} else {
			wantError(t, "an old response into a wiped directory", err, ErrNotOurs)
		}
	})
}

// A copy from before a return is of no use: with a TPM because its counter has moved, without one because the file is another.
func TestStandaloneOlderCopy(t *testing.T) {
	eachTier(t, func(t *testing.T, b *standBox) {
		ctx, id := t.Context(), b.o.entitle("render:1.0", 2)
		s := b.must()
		b.o.give(s, id, 2)
		before := b.copied()
		if _, err := s.Return(ctx, id, 0); err != nil {
			t.Fatal(err)
		}
		r, err := s.Request(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		old, err := before.open()
		if err == nil {
			_, err = old.Acquire(ctx, "render")
		}
		wantError(t, "an older copy", err, ErrRollback)
		// It can be asked to be repaired; the producer sees that something is wrong with it.
		q, err := old.Request(ctx, []capability.Desired{{ActivationID: id, Count: 2}})
		if err != nil {
			t.Fatal(err)
		}
		if res, err := b.o.respond(q.Bytes, backoffice.Order{}); err == nil {
			t.Errorf("it is answered without a repair: %+v", res.Items)
		}
		if res, err := b.o.respond(r.Bytes, backoffice.Order{}); err != nil || len(res.Credited) != 1 {
			t.Errorf("%+v, %v", res.Denials, err)
		}
		// After the repair it has what the book has.
		res, err := b.o.respond(q.Bytes, backoffice.Order{Repair: "an old backup was restored"})
		if err != nil {
			t.Fatal(err)
		}
		a, err := old.Import(ctx, res.File)
		if err != nil || a.Code != capability.Applied {
			t.Fatal(a, err)
		}
		if a.Response.Hold == 0 {
			t.Error("what was lost may be in use, and nobody waits")
		}
		if b.chip != nil {
			_, err = s.Acquire(ctx, "render")
			wantError(t, "the directory that was replaced", err, ErrRollback)
		}
	})
}

// With a TPM a copy of the same age can go on, as after a change of disks; the other one is then stale.
func TestStandaloneSameAge(t *testing.T) {
	b := &standBox{t: t, o: newOffice(t, time.Now), dir: t.TempDir(), chip: newTestChip(t), machine: workstation(1)}
	s := b.must()
	b.o.give(s, b.o.entitle("render:1.0", 1), 1)
	l, err := s.Acquire(t.Context(), "render")
	if err != nil {
		t.Fatal(err)
	}
	moved := b.copied()
	if birthless(t, b.dir) {
		t.Fatal("this file system does not say when a file was made, and nothing here is tested")
	}
	o := moved.must()
	if _, err := o.Acquire(t.Context(), "render"); err != nil {
		t.Fatal(err)
	}
	s.look()
	if wantError(t, "the one that was left behind", l.Err(), ErrRollback); l.Err() == nil {
		t.Error("both are in use")
	}
	if _, err := s.Acquire(t.Context(), "render"); !errors.Is(err, ErrRollback) {
		t.Error(err)
	}
}

// A second name of the file is no second machine: whoever acquires first empties the other. One that was kept for later holds nothing once the rights were returned.
func TestStandaloneSecondName(t *testing.T) {
	eachTier(t, func(t *testing.T, b *standBox) {
		s := b.must()
		id := b.o.entitle("render:1.0", 1)
		b.o.give(s, id, 1)
		second := *b
		second.dir = t.TempDir()
		for _, name := range []string{rootFile, rightsFile} {
			if err := os.Link(filepath.Join(b.dir, name), filepath.Join(second.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		o := second.must()
		if _, err := s.Acquire(t.Context(), "render"); err != nil {
			t.Error(err)
		}
		if _, err := o.Acquire(t.Context(), "render"); err == nil {
			t.Error("both are in use")
		}
	})
	b := &standBox{t: t, o: newOffice(t, time.Now), dir: t.TempDir(), machine: workstation(1)}
	s := b.must()
	id := b.o.entitle("render:1.0", 1)
	b.o.give(s, id, 1)
	rights, kept := filepath.Join(b.dir, rightsFile), filepath.Join(t.TempDir(), "kept")
	if err := os.Link(rights, kept); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(kept); err != nil || i.Size() == 0 {
		t.Fatal(err)
	}
	if err := writeBorn(s.store.dir, rightsFile, func(int64) ([]byte, error) { return []byte("later"), nil }); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(kept); err != nil || i.Size() != 0 {
		t.Errorf("what was replaced is there under another name: %d bytes, %v", i.Size(), err)
	}
}

func birthless(t *testing.T, dir string) bool {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return birth(f) == born{}
}

// Whatever moment a cut comes at, the next opening has the rights of before or of after, and never are both in use.
func TestStandaloneCuts(t *testing.T) {
	for at := range 3 {
		for _, moves := range []bool{false, true} {
			t.Run(fmt.Sprintf("advance %d, moved %t", at, moves), func(t *testing.T) {
				chip := newTestChip(t)
				b := &standBox{t: t, o: newOffice(t, time.Now), dir: t.TempDir(), chip: chip, machine: workstation(1)}
				ctx, id := t.Context(), b.o.entitle("render:1.0", 2)
				s := b.must()
				b.o.give(s, id, 2)
				before := b.copied()
				chip.advance, chip.moves = at, moves
				_, err := s.Return(ctx, id, 0)
				if (err == nil) != (at == 2) {
					t.Fatal(err)
				}
				chip.advance = -1
				s.Close()
				again := b.must()
				v, err := again.Look(ctx)
				if err != nil || v.Lost != nil || len(v.Returns) != 1 || len(v.Items) != 0 {
					t.Errorf("after the cut: %+v %v", v, err)
				}
				if _, err := again.Acquire(ctx, "render"); !errors.Is(err, ErrNotEntitled) {
					t.Error(err)
				}
				r, err := again.Request(ctx, nil)
				if err != nil {
					t.Fatal(err)
				}
				if res, err := b.o.respond(r.Bytes, backoffice.Order{}); err != nil || len(res.Credited) != 1 {
					t.Errorf("%+v, %v", res.Denials, err)
				}
				if old, err := before.open(); err == nil {
					if _, err = old.Acquire(ctx, "render"); !errors.Is(err, ErrRollback) {
						t.Errorf("the copy from before: %v", err)
					}
				}
			})
		}
	}
}

// Whoever deletes the counter has nothing by it: what was kept is refused, and a repair gives it back.
func TestStandaloneWithoutItsCounter(t *testing.T) {
	chip := newTestChip(t)
	b := &standBox{t: t, o: newOffice(t, time.Now), dir: t.TempDir(), chip: chip, machine: workstation(1)}
	ctx, id := t.Context(), b.o.entitle("render:1.0", 1)
	s := b.must()
	b.o.give(s, id, 1)
	for name, spoil := range map[string]func(){
		"deleted":      func() { chip.counts = false },
		"made by root": func() { chip.Provision([]byte("root's own")); chip.epoch += 3 },
	} {
		spoil()
		_, err := s.Acquire(ctx, "render")
		if want := map[bool]capability.Code{true: capability.ErrOtherStore, false: capability.ErrCounter}[chip.counts]; !errors.Is(err, sentinel(want)) {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
		b.replace = true
		s = b.must()
		r, err := s.Request(ctx, nil)
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := b.o.respond(r.Bytes, backoffice.Order{}); err == nil {
			t.Errorf("%s: it is answered without a repair", name)
		}
		res, err := b.o.respond(r.Bytes, backoffice.Order{Repair: "the counter is gone"})
		if err != nil {
			t.Fatal(name, err)
		}
		if a, err := s.Import(ctx, res.File); err != nil || len(a.After) != 1 {
			t.Errorf("%s: after the repair %+v, %v", name, a, err)
		}
	}
}

// A seat that is assigned to a user serves nobody else, and says whose it is.
func TestStandaloneUsers(t *testing.T) {
	eachTier(t, func(t *testing.T, b *standBox) {
		ctx := t.Context()
		mine := b.o.entitle("render:1.0", 1, func(i *entitlement.Item) { i.User = "ana" })
		b.user = "ana"
		s := b.must()
		b.o.give(s, mine, 1)
		b.user = "bob"
		o := b.must()
		_, err := o.Acquire(ctx, "render")
		wantError(t, "another user", err, ErrAssigned)
		var no *capability.Refusal
		if !errors.As(err, &no) || len(no.Holders) != 1 || no.Holders[0].Name != "ana" {
			t.Errorf("it does not say whose it is: %+v", no)
		}
		b.user = ""
		_, err = b.must().Acquire(ctx, "render")
		wantError(t, "nobody in particular", err, ErrAssigned)
		if _, err := s.Acquire(ctx, "render"); err != nil {
			t.Error(err)
		}
		_, err = s.Acquire(ctx, "render")
		wantError(t, "a second seat", err, ErrNoSeat)
	})
}

// Changes of the machine: what is left of three opens, the next request names what is there now, and its response makes that the one that counts.
func TestStandaloneDrift(t *testing.T) {
	b := &standBox{t: t, o: newOffice(t, time.Now), dir: t.TempDir(), machine: workstation(1)}
	ctx, id := t.Context(), b.o.entitle("render:1.0", 3)
	s := b.must()
	b.o.give(s, id, 1)
	change := func(place, n int) { b.machine.Findings[place] = workstation(n).Findings[place] }
	change(1, 2) // another network card
	drifted := b.must()
	if got := drifted.Changed(); len(got) != 1 || drifted.Host() != s.Host() {
		t.Fatal(got)
	}
	if _, err := drifted.Acquire(ctx, "render"); err != nil {
		t.Error(err)
	}
	r, err := drifted.Request(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if q, err := wire.New().ReadRequest(r.Bytes); err != nil || len(q.Request.Hosts) != 4 || q.Request.Hosts[2].Value != "020000000002" {
		t.Errorf("the request names %v, %v", q.Request.Hosts, err)
	}
	b.o.give(drifted, id, 2)
	change(0, 3) // another board: with the new card and the disk it is still three
	if got := b.must().Changed(); len(got) != 1 {
		t.Errorf("after the response %v is not as it was", got)
	}
	change(2, 3)
	if _, err := b.open(); !errors.Is(err, ErrBinding) {
		t.Errorf("a card is left: %v", err)
	}
	b.machine = hostid.Machine{}
	fresh := *b
	fresh.dir = t.TempDir()
	if _, err := fresh.open(); !errors.Is(err, ErrBinding) {
		t.Errorf("a machine that shows nothing: %v", err)
	}
}

// Dates follow the clock as far as it is believed.
func TestStandaloneClock(t *testing.T) {
	for _, c := range []struct {
		off              time.Duration
		dated, permanent bool
		state            ClockState
	}{
		{0, true, true, ClockTrusted},
		{-23 * time.Hour, true, true, ClockBehind},
		{-25 * time.Hour, false, true, ClockHeld},
		{25 * time.Hour, true, true, ClockAhead},
		{40 * day, false, true, ClockAhead},
	} {
		t.Run(c.off.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var off time.Duration
				clock := func() time.Time { return time.Now().Add(off) }
				b := &standBox{t: t, o: newOffice(t, clock), dir: t.TempDir(), machine: workstation(1)}
				ctx := t.Context()
				dated := b.o.entitle("dated:1.0", 1, func(i *entitlement.Item) { i.Expiry = capability.At(clock().Add(30 * day)) })
				s := b.must()
				b.o.give(s, dated, 1)
				b.o.give(s, b.o.entitle("permanent:1.0", 1), 1)
				<-time.After(time.Hour)
				if l, err := s.Acquire(ctx, "dated"); err != nil || l.Expiry().Sub(clock()).Round(time.Second) != 30*day-time.Hour {
					t.Fatal(l, err)
				}
				s.Close()
				off = c.off
				o := b.must()
				defer o.Close()
				if o.Clock() != c.state {
					t.Errorf("the clock is %s, want %s", o.Clock(), c.state)
				}
				if _, err := o.Acquire(ctx, "dated"); (err == nil) != c.dated {
					t.Errorf("dated: %v", err)
				}
				if _, err := o.Acquire(ctx, "permanent"); (err == nil) != c.permanent {
					t.Errorf("permanent: %v", err)
				}
				if c.state == ClockAhead { // nothing was lost by it
					o.Close()
					off = 0
					back := b.must()
					defer back.Close()
					if _, err := back.Acquire(ctx, "dated"); err != nil {
						t.Errorf("set back: %v", err)
					}
				}
			})
		})
	}
}

// A lease ends with the rights it stands on.
func TestStandaloneExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &standBox{t: t, o: newOffice(t, time.Now), dir: t.TempDir(), machine: workstation(1)}
		id := b.o.entitle("render:1.0", 2, func(i *entitlement.Item) { i.Expiry = capability.At(time.Now().Add(2 * time.Hour)) })
		s := b.must()
		defer s.Close()
		b.o.give(s, id, 1)
		l, err := s.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(2*time.Hour - 2*time.Second)
		select {
		case <-l.Lost():
			t.Fatal(l.Err())
		default:
		}
		<-time.After(3 * time.Second)
		<-l.Lost()
		wantError(t, "after its end", l.Err(), ErrExpired)
	})
}

// Another program's release, and a response that leaves rights out, end what this one holds.
func TestStandaloneIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &standBox{t: t, o: newOffice(t, time.Now), dir: t.TempDir(), machine: workstation(1)}
		s, other := b.must(), b.must()
		defer s.Close()
		defer other.Close()
		b.o.give(s, b.o.entitle("render:1.0", 2), 2)
		l, err := s.Acquire(t.Context(), "render")
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Release(t.Context(), "render"); err != nil {
			t.Fatal(err)
		}
		<-time.After(lookAgain + time.Second)
		<-l.Lost()
		wantError(t, "released by another program", l.Err(), ErrReleased)
	})
}

// What is kept is judged anew each time: no byte of it can be changed, and another producer's trust finds nothing of its own.
func TestStandaloneTampered(t *testing.T) {
	eachTier(t, func(t *testing.T, b *standBox) {
		s := b.must()
		b.o.give(s, b.o.entitle("render:1.0", 1), 1)
		s.Close()
		for _, name := range []string{rootFile, rightsFile} {
			path := filepath.Join(b.dir, name)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(good); i += 1 + len(good)/40 {
				other := b.copied() // so that the first file is never touched
				bad := bytes.Clone(good)
				bad[i] ^= 4
				if err := os.WriteFile(filepath.Join(other.dir, name), bad, 0o600); err != nil {
					t.Fatal(err)
				}
				o, err := other.open()
				if err == nil && o.Host() == s.Host() && name == rightsFile {
					_, err = o.Acquire(t.Context(), "render")
				}
				if err == nil && name == rightsFile {
					t.Errorf("%s: byte %d changed, and it serves", name, i)
				}
			}
		}
		stranger := *b
		stranger.o = newOffice(t, time.Now)
		o := stranger.must()
		if _, err := o.Acquire(t.Context(), "render"); err == nil {
			t.Error("another producer's program takes the rights")
		}
	})
}

// ExampleOpenStandalone is a program on a machine with rights of its own.
func ExampleOpenStandalone() {
	run := func(ctx context.Context, machine hostid.Machine) error {
		s, err := OpenStandalone(ctx, StandaloneOptions{Dir: "/var/lib/render/rights", TrustFile: "producer.lht", Machine: machine})
		if err != nil {
			return err
		}
		defer s.Close()
		lease, err := s.Acquire(ctx, "render:2026.1")
		if errors.Is(err, ErrNotProvisioned) {
			request, err := s.Request(ctx, nil) // to be carried to the producer; Import takes what comes back
			if err != nil {
				return err
			}
			return os.WriteFile(request.Name, request.Bytes, 0o644)
		}
		if err != nil {
			return err
		}
		return lease.Release(ctx)
	}
	fmt.Println("a trust bundle is needed:", errors.Is(run(context.Background(), hostid.Machine{}), ErrTrust))
	// Output: a trust bundle is needed: true
}
