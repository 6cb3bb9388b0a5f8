package appliance

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// memory is a vault that keeps groups in memory, and lets a test stand between a write and its end.
type memory struct {
	mu       sync.Mutex
	groups   [][][]byte
	moves    int
	confirms int
	epoch    uint64
	public   []byte        // the last that came
	ended    string        // "stop" or "close"
	gate     chan struct{} // when set, each write waits for one receive
	atGate   atomic.Int32
	fail     error
}

func (m *memory) write(entries [][]byte, move bool) error {
	if m.gate != nil {
		m.atGate.Add(1)
		<-m.gate
		m.atGate.Add(-1)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if len(entries) == 0 && !move {
		m.confirms++
		return nil
	}
	size := 0
	for _, e := range entries {
		size += len(e)
	}
	if size > 4<<20 {
		return fmt.Errorf("a group of %d bytes: too large for trusted storage", size)
	}
	m.groups = append(m.groups, entries)
	if move {
		m.moves++
		m.epoch++
	}
	return nil
}

func (m *memory) Begin(e ...[]byte) error { m.epoch += 2; return m.write(e, false) }
func (m *memory) Commit(e [][]byte) error { return m.write(e, false) }
func (m *memory) Move(public []byte, e [][]byte) error {
	if err := m.write(e, true); err != nil || public == nil {
		return err
	}
	m.public = public
	return nil
}
func (m *memory) Snapshot([]byte) error        { return nil }
func (m *memory) JournalBytes() int64          { return 0 }
func (m *memory) Epoch() uint64                { return m.epoch }
func (m *memory) Head() (p uint64, h [32]byte) { return uint64(len(m.groups)), h }
func (m *memory) Stop() error                  { m.ended = "stop"; return m.fail }
func (m *memory) Close() error                 { m.ended = "close"; return nil }
func (m *memory) count() (groups, entries int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range m.groups {
		entries += len(g)
	}
	return len(m.groups), entries
}

// producer is the other end of the stick: it answers requests as the back office does, without a book.
type producer struct {
	t           testing.TB
	c           *wire.Codec
	key         *wire.ProducerKey
	boot        *ecdsa.PrivateKey
	trust       *wire.Trust
	certificate []byte
}

func newProducer(t testing.TB, n byte) *producer {
	t.Helper()
	p := &producer{t: t, c: wire.New()}
	root, err := wire.NewProducerKey(bytes.Repeat([]byte{n}, wire.SeedSize))
	must(t, err)
	p.key, err = wire.NewProducerKey(bytes.Repeat([]byte{n + 1}, wire.SeedSize))
	must(t, err)
	p.boot, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	p.trust = &wire.Trust{Producer: "Example Works", Root: root.Public}
	p.certificate, err = p.c.CertifyKey(root, &wire.KeyCertificate{Keys: p.key.Public, Name: "producer-A", From: 1})
	must(t, err)
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// respond answers a request with these items.
func (p *producer) respond(file []byte, serial uint64, change func(*capability.Response), items ...capability.LineItem) []byte {
	p.t.Helper()
	req, err := p.c.ReadRequest(file)
	must(p.t, err)
	e, err := attest.DecodeEvidence(req.Signature)
	must(p.t, err)
	id, err := attest.Verify(e, attest.Request, req.Digest[:])
	must(p.t, err)
	state, err := attest.SignState(rand.Reader, p.boot, []byte("ref"), id.PCRs)
	must(p.t, err)
	bootKey, err := x509.MarshalPKIXPublicKey(&p.boot.PublicKey)
	must(p.t, err)
	host := hostid.OfDigest(hostid.TPMEK, id.HostID)
	now := capability.At(time.Now())
	ac, err := p.c.CertifyAppliance(p.key, &wire.ApplianceCertificate{Host: host, AK: id.AK, Serial: serial, From: now})
	must(p.t, err)
	r := &capability.Response{
		Version: capability.Protocol, For: host, Serial: serial, Time: now, Lifetime: 3600, Request: req.Digest, Number: req.Request.Number,
		Correlation: req.Request.Correlation, Items: items, Epoch: req.Request.Epoch, Certificate: ac, Policy: capability.Policy{Lease: 60, RenewPercent: 15},
		Boot: capability.Boot{Key: bootKey, Ref: []byte("ref"), States: [][]byte{state.Encode()}},
	}
	if change != nil {
		change(r)
	}
	key := make([]byte, wire.ContentKeySize)
	rand.Read(key)
	w, err := attest.Wrap(rand.Reader, id, key)
	must(p.t, err)
	out, err := p.c.SealResponse(p.key, p.certificate, r, w.Encode(), key)
	must(p.t, err)
	return out
}

func item(t testing.TB, n byte, feature string, count uint32) capability.LineItem {
	t.Helper()
	id, err := capability.NewActivationID(bytes.NewReader(bytes.Repeat([]byte{n}, 18)))
	must(t, err)
	return capability.LineItem{ActivationID: id, Feature: feature, Version: capability.Version{Major: 2026, Minor: 1}, Count: count, Copies: count}
}

// site is one appliance with its TPM.
type site struct {
	t        testing.TB
	p        *producer
	device   *tpm.Device
	vault    *memory // what Found gives
	a        *Appliance
	stop     context.CancelFunc
	ended    chan error
	foundErr error

	slept, awake atomic.Int64 // nanoseconds ahead of the test's own time

	beforeFound func()
	failAfter   error // of Found, once the counter has moved
}

func newSite(t testing.TB, p *producer) *site {
	t.Helper()
	s := &site{t: t, p: p, device: tpmtest.Start(t).Device(t), vault: &memory{epoch: 7}, ended: make(chan error, 1)}
	id, err := s.device.HostID()
	must(t, err)
	binding := s.device.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil)
	_, err = binding.Provision(bytes.Repeat([]byte{2}, 32))
	must(t, err)
	begin := time.Now()
	s.a, err = New(Options{
		Counter: binding.Epoch,
		Ledger:  ledger.New(), Vault: &memory{}, Machine: s.device, Host: hostid.OfDigest(hostid.TPMEK, id), Index: attest.EpochIndex, Trust: p.trust,
		Start: ledger.Start{Cause: "test"}, Now: time.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
		Elapsed: func() time.Duration { return time.Since(begin) + time.Duration(s.awake.Load()+s.slept.Load()) },
		Awake:   func() time.Duration { return time.Since(begin) + time.Duration(s.awake.Load()) },
		Found: func(_ capability.Boot, proved bool, _ []byte) (Vault, uint64, error) {
			if s.beforeFound != nil {
				s.beforeFound()
			}
			if s.foundErr != nil {
				return nil, 0, s.foundErr
			}
			// The memory has no counter of its own, but proofs of returns name the TPM's.
			epoch, err := binding.Provision(bytes.Repeat([]byte{1}, 32))
			if err == nil && s.failAfter != nil {
				return nil, 0, &UnmadeError{Epoch: epoch, Cause: s.failAfter}
			}
			s.vault.epoch = epoch
			base := uint64(0)
			if proved && err == nil && s.a.Images != nil {
				base, err = s.a.Images.Provision()
			}
			return s.vault, base, err
		},
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() { s.ended <- s.a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-s.a.Done() })
	return s
}

// activate brings the first response.
func (s *site) activate(items ...capability.LineItem) {
	s.t.Helper()
	f, err := s.a.Request(context.Background(), nil, "test")
	must(s.t, err)
	in, err := s.a.Import(context.Background(), s.p.respond(f.Bytes, 1, nil, items...))
	must(s.t, err)
	if in.Code != capability.Applied {
		s.t.Fatalf("%s", in.Code)
	}
}

func ask(n int, count uint32, feature string) *call {
	key := sha256.Sum256([]byte{byte(n), byte(n >> 8)})
	var c capability.CorrelationID
	rand.Read(c[:])
	return &call{sign: true, command: ledger.Serve{Key: key, Request: capability.Request{
		Version: 1, Hosts: []hostid.ID{hostid.OfDigest(hostid.DeviceKey, key)}, Correlation: c,
		Desired: []capability.Desired{{Feature: feature, Count: count}},
	}}}
}

func (s *site) response(c *call) *capability.Response {
	s.t.Helper()
	r, _, err := s.a.codec.VerifyAnswer(s.a.chain.Serving, &c.answer)
	must(s.t, err)
	return r
}

// Sixty-four clients that come while a write is under way share the next one, and each has an answer that stands alone.
func TestOneWriteForAllWhoWait(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	s.activate(item(t, 1, "render", 100))
	s.vault.gate = make(chan struct{})
	groups, _ := s.vault.count()

	first := ask(0, 1, "render")
	done := make(chan error, 65)
	go func() { done <- s.a.do(context.Background(), first) }()
	s.vault.gate <- struct{}{} // the first is written alone
	must(t, <-done)
	lead := ask(1, 1, "render")
	go func() { done <- s.a.do(context.Background(), lead) }()
	for s.waiting() > 0 || !s.writing() { // until the owner stands in the write of lead
		runtime.Gosched()
	}
	calls := make([]*call, 63)
	for i := range calls {
		calls[i] = ask(i+2, 1, "render")
		go func() { done <- s.a.do(context.Background(), calls[i]) }()
	}
	for s.waiting() < len(calls) {
		runtime.Gosched()
	}
	select {
	case err := <-done:
		t.Fatalf("an answer before its write: %v", err)
	default:
	}
	s.vault.gate <- struct{}{}
	s.vault.gate <- struct{}{}
	for range 64 {
		must(t, <-done)
	}
	after, _ := s.vault.count()
	if after-groups != 3 {
		t.Errorf("%d writes for 1, 1 and 63 clients", after-groups)
	}
	for _, c := range calls {
		if r := s.response(c); r.Status != capability.StatusOK || len(r.Rights) != 1 {
			t.Fatalf("%+v", r)
		}
	}
	close(s.vault.gate)
}

func (s *site) waiting() (n int) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	for _, g := range s.a.queue {
		n += len(g.calls)
	}
	return n
}

// writing is true while the owner stands before the gate: nothing waits, and nothing was taken.
func (s *site) writing() bool { return s.vault.atGate.Load() > 0 }

// Requests whose entries are large share as many writes as they need: nobody can end the daemon by asking for much at once.
func TestLargeGroupsAreDivided(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	s.activate(item(t, 1, "render", 1000))
	s.vault.gate = make(chan struct{})
	done := make(chan error, 500)
	lead := ask(0, 1, "render")
	go func() { done <- s.a.do(context.Background(), lead) }()
	for s.waiting() > 0 || !s.writing() {
		runtime.Gosched()
	}
	calls := make([]*call, 499)
	for i := range calls {
		calls[i] = ask(i+1, 1, "render")
		serve := calls[i].command.(ledger.Serve)
		for n := range 90 { // each is refused in words
			serve.Request.Desired = append(serve.Request.Desired, capability.Desired{Feature: fmt.Sprintf("%0*d", capability.MaxName-4, n), Count: 1})
		}
		calls[i].command = serve
		go func() { done <- s.a.do(context.Background(), calls[i]) }()
	}
	for s.waiting() < len(calls) {
		runtime.Gosched()
	}
	before, _ := s.vault.count()
	close(s.vault.gate)
	for range 500 {
		must(t, <-done)
	}
	if after, _ := s.vault.count(); after-before < 2 {
		t.Errorf("%d writes: the group was not large enough to show anything", after-before)
	}
	for _, c := range calls {
		if r := s.response(c); len(r.Rights) != 1 || len(r.Lines) != 91 {
			t.Fatalf("%d rights, %d lines", len(r.Rights), len(r.Lines))
		}
	}
}

// A write that fails tells nobody, ends the appliance, and leaves every later call with the reason.
func TestFailedWriteEndsEverything(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	s.activate(item(t, 1, "render", 10))
	s.vault.mu.Lock()
	s.vault.fail = errors.New("input/output error")
	s.vault.mu.Unlock()
	c := ask(1, 1, "render")
	if err := s.a.do(context.Background(), c); !errors.Is(err, ErrStorage) || c.answer.Response != nil {
		t.Fatalf("%v, answer %x", err, c.answer.Response)
	}
	if err := <-s.ended; !errors.Is(err, ErrStorage) {
		t.Fatal(err)
	}
	if s.vault.ended != "close" {
		t.Errorf("after a failed write the vault was left with %q, which is no crash", s.vault.ended)
	}
	if err := s.a.Alive(context.Background()); !errors.Is(err, ErrStorage) {
		t.Errorf("a later call: %v", err)
	}
}

// Who has stopped waiting for a look has what it writes to for himself: it is never taken, or over.
func TestLookThatNobodyWaitsFor(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	s.activate(item(t, 1, "render", 10))
	in, out := make(chan struct{}), make(chan struct{})
	look := func(ctx context.Context, f func()) chan error {
		ended := make(chan error, 1)
		go func() { ended <- s.a.Look(ctx, func(*ledger.Ledger, ledger.Now) { f() }) }()
		return ended
	}
	first, cancelFirst := context.WithCancel(t.Context())
	over := false
	begun := look(first, func() { close(in); <-out; over = true })
	<-in
	second, cancelSecond := context.WithCancel(t.Context())
	taken := false
	queued := look(second, func() { taken = true })
	for s.waiting() == 0 {
		runtime.Gosched()
	}
	cancelSecond()
	if err := <-queued; !errors.Is(err, context.Canceled) {
		t.Errorf("one that waits: %v", err)
	}
	cancelFirst()
	close(out)
	if err := <-begun; !over || err != nil {
		t.Errorf("one that was begun: %t, %v", over, err)
	}
	if err := s.a.Alive(t.Context()); err != nil || taken {
		t.Errorf("%v; it was taken all the same: %t", err, taken)
	}
}

func TestStopIsClean(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	s.activate(item(t, 1, "render", 10))
	s.stop()
	if err := <-s.ended; err != nil {
		t.Fatal(err)
	}
	if s.vault.ended != "stop" {
		t.Errorf("%q", s.vault.ended)
	}
	if err := s.a.Alive(context.Background()); !errors.Is(err, ErrEnded) {
		t.Errorf("a later call: %v", err)
	}
}

// A repeated answer reads the anchor back before it goes out, and writes nothing.
func TestResendConfirmsAndWritesNothing(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	s.activate(item(t, 1, "render", 10))
	c := ask(1, 2, "render")
	must(t, s.a.do(context.Background(), c))
	groups, _ := s.vault.count()
	again := &call{sign: true, command: c.command}
	must(t, s.a.do(context.Background(), again))
	if after, _ := s.vault.count(); after != groups || s.vault.confirms != 1 {
		t.Errorf("%d writes more, %d read-backs", after-groups, s.vault.confirms)
	}
	a, b := s.response(c), s.response(again)
	if a.Serial != b.Serial || fmt.Sprint(a.Rights) != fmt.Sprint(b.Rights) {
		t.Errorf("%+v\n%+v", a, b)
	}
}

// Each way a response file can be wrong has a code of its own and changes nothing.
func TestResponsesThatAreRefused(t *testing.T) {
	p := newProducer(t, 1)
	s, other := newSite(t, p), newSite(t, p)
	ctx := context.Background()
	render := item(t, 1, "render", 10)
	f, err := s.a.Request(ctx, nil, "test")
	must(t, err)
	of, err := other.a.Request(ctx, nil, "test")
	must(t, err)
	good := p.respond(f.Bytes, 2, nil, render)
	older := p.respond(f.Bytes, 1, nil, render)
	rival := p.respond(f.Bytes, 2, nil, item(t, 2, "export", 5))
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	lastOuter := len(good) - 1 // the file ends with the ML-DSA signature
	cases := []struct {
		name string
		file []byte
		want capability.Code
	}{
		{"for another machine", p.respond(of.Bytes, 2, nil, render), capability.ErrNotOurs},
		{"signed by another producer", newProducer(t, 9).respond(f.Bytes, 2, nil, render), capability.ErrOtherProducer},
		{"one good and one bad signature", flip(good, lastOuter), capability.ErrOneSignature},
		{"flipped in the content", flip(good, bytes.Index(good, []byte(s.a.Host.Value))+3), capability.ErrSignature},
		{"cut", good[:len(good)-100], capability.ErrFileCut},
		{"cut in the magic", good[:5], capability.ErrFileCut},
		{"a request", f.Bytes, capability.ErrFileKind},
		{"nothing of ours", []byte("hello, this is a text"), capability.ErrFileKind},
		{"trailing byte", append(bytes.Clone(good), 0), capability.ErrFileForm},
		{"too large", append(bytes.Clone(good), make([]byte, capability.MaxFile)...), capability.ErrFileSize},
		{"too late", p.respond(f.Bytes, 2, func(r *capability.Response) { r.Time -= 7200 }, render), capability.ErrResponseStale},
	}
	try := func(when string) {
		for _, c := range cases {
			before := s.digest()
			_, err := s.a.Import(ctx, c.file)
			var r *capability.Refusal
			if !errors.As(err, &r) || r.Code != c.want {
				t.Errorf("%s, %s: %v, want %s", when, c.name, err, c.want)
			}
			if s.digest() != before {
				t.Errorf("%s, %s: something changed", when, c.name)
			}
		}
	}
	try("before the first response")
	if s.a.Found == nil {
		t.Error("a refused response made a vault")
	}
	in, err := s.a.Import(ctx, good)
	must(t, err)
	if in.Code != capability.Applied || len(in.Changes) != 1 || in.Changes[0] != (Change{"render", 0, 10}) {
		t.Errorf("%+v", in)
	}
	try("after it")
	for _, c := range []struct {
		name string
		file []byte
		want capability.Code
	}{{"the same again", good, capability.AlreadyHere}, {"older", older, capability.OlderResponse}} {
		if in, err := s.a.Import(ctx, c.file); err != nil || in.Code != c.want {
			t.Errorf("%s: %+v, %v", c.name, in, err)
		}
	}
	var r *capability.Refusal
	if _, err := s.a.Import(ctx, rival); !errors.As(err, &r) || r.Code != capability.ErrReplayedSerial {
		t.Errorf("another response with one serial: %v", err)
	}
}

// The boot states of a response that is refused are not taken for written: the next response that brings them does.
func TestStatesOfARefusedResponse(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	render := item(t, 1, "render", 5)
	s.activate(render)
	next, err := attest.SignState(rand.Reader, s.p.boot, []byte("ref"), bytes.Repeat([]byte{7}, 96))
	must(t, err)
	updated := func(r *capability.Response) { r.Boot.States = append(r.Boot.States, next.Encode()) }
	f, err := s.a.Request(context.Background(), nil, "test")
	must(t, err)
	var r *capability.Refusal
	if _, err := s.a.Import(context.Background(), s.p.respond(f.Bytes, 1, updated, render)); !errors.As(err, &r) || r.Code != capability.ErrReplayedSerial || s.vault.public != nil {
		t.Fatalf("another response with one serial: %v, and the vault has %d bytes of it", err, len(s.vault.public))
	}
	_, err = s.a.Import(context.Background(), s.p.respond(f.Bytes, 2, updated, render))
	must(t, err)
	var sealed capability.Boot
	if err := s.a.codec.Decode(s.vault.public, &sealed, 64<<10); err != nil || len(sealed.States) != 2 || !bytes.Equal(sealed.States[1], next.Encode()) {
		t.Errorf("the vault is sealed to %d states: %v", len(sealed.States), err)
	}
	if len(s.a.Boot.States) != 2 {
		t.Errorf("%d states are known", len(s.a.Boot.States))
	}
}

func (s *site) digest() (d capability.Digest) {
	s.t.Helper()
	must(s.t, s.a.Look(context.Background(), func(l *ledger.Ledger, _ ledger.Now) { d = l.Digest() }))
	return d
}

// A cut after the counter moved and before there was a vault costs no other trip: the same response makes the vault. A fourth move may be of a vault that
// told something, and in a repair the second.
func TestFoundedAfterCuts(t *testing.T) {
	for _, row := range []struct {
		lost   capability.Code
		within int
	}{{0, 3}, {capability.ErrRollback, 1}} {
		s := newSite(t, newProducer(t, 1))
		if row.lost != 0 {
			must(t, s.a.do(context.Background(), &call{command: ledger.Start{Life: capability.LifeID{7}, Lost: row.lost}}))
		}
		f, err := s.a.Request(context.Background(), nil, "test")
		must(t, err)
		response := s.p.respond(f.Bytes, 1, nil, item(t, 1, "render", 5))
		first, err := s.a.Options.Counter()
		must(t, err)
		s.foundErr = errors.New("no space")
		for moves := range row.within + 3 {
			s.a.Counter = func() (uint64, error) { return first + uint64(moves), nil }
			_, err := s.a.Import(context.Background(), response)
			r, is := errors.AsType[*capability.Refusal](err)
			if moves <= row.within && !errors.Is(err, s.foundErr) || moves > row.within && (!is || r.Code != capability.ErrResponseEpoch) {
				t.Errorf("%s, after %d moves: %v", row.lost, moves, err)
			}
		}
	}
}

// However often a vault cannot be made after the counter moved, the first response makes it in the end, and a request can be written. What others moved counts as before.
func TestVaultsThatCannotBeMade(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	ctx := context.Background()
	f, err := s.a.Request(ctx, nil, "test")
	must(t, err)
	file := s.p.respond(f.Bytes, 1, nil, item(t, 1, "render", 10))
	binding := s.device.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil)
	refused := func(what string, err error, want capability.Code) {
		t.Helper()
		if r, is := errors.AsType[*capability.Refusal](err); !is || r.Code != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	broken := errors.New("input/output error")
	for range 6 {
		s.failAfter = broken
		if _, err := s.a.Import(ctx, file); !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
	f, err = s.a.Request(ctx, nil, "test")
	must(t, err)
	second := s.p.respond(f.Bytes, 2, nil, item(t, 1, "render", 10))
	if _, err := s.a.Import(ctx, file); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	_, err = binding.Provision(bytes.Repeat([]byte{3}, 32)) // somebody else's
	must(t, err)
	_, err = s.a.Import(ctx, file)
	refused("a move of somebody else behind makings that failed", err, capability.ErrResponseEpoch)
	s.failAfter = nil
	in, err := s.a.Import(ctx, second) // two moves after its request
	if err != nil || in.Code != capability.Applied {
		t.Error(err)
	}

	s = newSite(t, newProducer(t, 1))
	_, err = s.a.Request(ctx, nil, "test")
	must(t, err)
	f, err = s.a.Request(ctx, nil, "test")
	must(t, err)
	file = s.p.respond(f.Bytes, 1, nil, item(t, 1, "render", 10))
	binding = s.device.Binding(attest.EpochIndex, attest.RunningPCR, attest.BootKey{}, nil)
	for range 4 { // each time somebody else moves the counter beside a making that fails before it does
		s.foundErr = broken
		s.beforeFound = func() {
			_, err := binding.Provision(bytes.Repeat([]byte{3}, 32))
			must(t, err)
		}
		if _, err := s.a.Import(ctx, file); !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
	_, err = s.a.Import(ctx, file)
	refused("moves of others", err, capability.ErrResponseEpoch)
	_, err = s.a.Request(ctx, nil, "test")
	refused("a request behind moves of others", err, capability.ErrStorageGone)
}

// When the vault cannot be made, the first response is refused and can be tried again.
func TestVaultThatCannotBeMade(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	ctx := context.Background()
	f, err := s.a.Request(ctx, nil, "test")
	must(t, err)
	file := s.p.respond(f.Bytes, 1, nil, item(t, 1, "render", 10))
	s.foundErr = errors.New("no space")
	if _, err := s.a.Import(ctx, file); !errors.Is(err, s.foundErr) {
		t.Fatal(err)
	}
	s.foundErr = nil
	in, err := s.a.Import(ctx, file)
	must(t, err)
	if in.Code != capability.Applied {
		t.Error(in.Code)
	}
}

// A return is a move; its proof is the TPM's, names an epoch, and rides in every request until it is acknowledged.
func TestReturnIsProved(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	render := item(t, 1, "render", 10)
	s.activate(render)
	ctx := context.Background()
	c := ask(1, 3, "render")
	must(t, s.a.do(ctx, c))
	var r *capability.Refusal
	if _, err := s.a.Return(ctx, render.ActivationID, 0, "test"); !errors.As(err, &r) || r.Code != capability.ErrInUse {
		t.Fatalf("return of what is in use: %v", err)
	}
	moves := s.vault.moves
	made, err := s.a.Return(ctx, render.ActivationID, 4, "test")
	must(t, err)
	if s.vault.moves != moves+1 || made.Epoch != s.vault.epoch || made.Copies != 4 || len(made.Proof) == 0 {
		t.Errorf("%d moves, epoch %d of %d, %d copies, proof of %d bytes", s.vault.moves-moves, made.Epoch, s.vault.epoch, made.Copies, len(made.Proof))
	}
	for range 2 {
		f, err := s.a.Request(ctx, nil, "test")
		must(t, err)
		req, err := s.a.codec.ReadRequest(f.Bytes)
		must(t, err)
		if len(req.Request.Returns) != 1 || !bytes.Equal(req.Request.Returns[0].Proof, made.Proof) {
			t.Fatal("the request does not carry the proof")
		}
		p, err := attest.DecodeEpochProof(made.Proof)
		must(t, err)
		e, err := attest.DecodeEvidence(req.Signature)
		must(t, err)
		id, err := attest.Verify(e, attest.Request, req.Digest[:])
		must(t, err)
		d := s.a.codec.ReturnDigest(*made)
		if _, err := attest.VerifyEpoch(p, id, d[:]); err != nil {
			t.Error(err)
		}
	}
}

// A storage of before the first response that finds the counter moved on is a copy: a vault made meanwhile may have told all that a request would get once more.
// Three steps are of a vault that has told nothing. They count from the first request, whatever was written since: a copy may follow the vault step by step.
func TestRequestOfACopyFromBefore(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	first, err := s.a.Options.Counter()
	must(t, err)
	for steps := range uint64(7) { // each request is durable before the next
		s.a.Counter = func() (uint64, error) { return first + steps, nil }
		f, err := s.a.Request(context.Background(), nil, "test")
		if no, is := errors.AsType[*capability.Refusal](err); steps > 3 {
			if !is || no.Code != capability.ErrStorageGone {
				t.Errorf("%d steps: %v", steps, err)
			}
			continue
		}
		must(t, err)
		if r, err := s.a.codec.ReadRequest(f.Bytes); err != nil || r.Request.Epoch != first {
			t.Errorf("%d steps: epoch %d, the first request was of %d: %v", steps, r.Request.Epoch, first, err)
		}
	}
}

// Requests are numbered without gaps and know each other, also when many ask at once.
func TestRequestsFollowEachOther(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	var wg sync.WaitGroup
	files := make([]*File, 8)
	for i := range files {
		wg.Go(func() {
			f, err := s.a.Request(context.Background(), nil, "test")
			if err != nil {
				t.Error(err)
				return
			}
			files[i] = f
		})
	}
	wg.Wait()
	seen := map[uint64]int{}
	for _, f := range files {
		if f == nil {
			t.FailNow()
		}
		r, err := s.a.codec.ReadRequest(f.Bytes)
		must(t, err)
		seen[f.Number]++
		if n := uint64(len(r.Request.Outstanding)); n != f.Number-1 || r.Request.Number != f.Number {
			t.Errorf("request %d knows %d others", f.Number, n)
		}
	}
	for n := uint64(1); n <= 8; n++ {
		if seen[n] != 1 {
			t.Errorf("number %d was given %d times", n, seen[n])
		}
	}
}
