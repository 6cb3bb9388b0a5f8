package appliance

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

const tenDays capability.Seconds = 10 * 24 * 60 * 60

// traveler is a PC that no wire leads to: a key, and the number of its last request.
type traveler struct {
	*site
	key  crypto.Signer
	host hostid.ID
	last uint64
}

func (s *site) traveler(key crypto.Signer) *traveler {
	s.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	must(s.t, err)
	return &traveler{site: s, key: key, host: hostid.OfDigest(hostid.DeviceKey, sha256.Sum256(der))}
}

func (p *traveler) request(count uint32) *capability.Request {
	p.last++
	r := &capability.Request{
		Version: 1, Hosts: []hostid.ID{p.host}, Number: p.last, Atomic: true, Borrow: tenDays, Producer: p.a.codec.Fingerprint(p.p.trust.Root),
		Desired: []capability.Desired{{Feature: "render", Count: count}},
	}
	rand.Read(r.Correlation[:])
	return r
}

func (p *traveler) file(r *capability.Request) []byte {
	p.t.Helper()
	b, _, err := p.a.codec.SignClientRequest(rand.Reader, p.key, r)
	must(p.t, err)
	return b
}

// proven is what an answer file says, judged with the producer's root and nothing else.
func (p *traveler) proven(file []byte) *capability.Response {
	p.t.Helper()
	c := wire.New()
	f, err := c.ReadAnswerFile(file)
	must(p.t, err)
	_, err = c.VerifyChain(p.p.trust, &f.Chain, attest.JudgeSession)
	must(p.t, err)
	r, _, err := c.VerifyAnswer(f.Chain.Serving, &f.Answer)
	must(p.t, err)
	return r
}

func (s *site) used() (n uint64) {
	s.t.Helper()
	must(s.t, s.a.Look(context.Background(), func(l *ledger.Ledger, now ledger.Now) {
		for _, it := range l.Items(now) {
			n += it.Used
		}
	}))
	return n
}

func edKey(t testing.TB) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return key
}

// A PC borrows by a file and gives back by another, with a key of either kind; the file that lent brought again lends nothing.
func TestBorrowOverFiles(t *testing.T) {
	s := newSite(t, newProducer(t, 1))
	lent := item(t, 1, "render", 3)
	lent.Borrow = tenDays
	s.activate(lent)
	ctx := context.Background()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	for _, key := range []crypto.Signer{edKey(t), p256} {
		p := s.traveler(key)
		q := p.request(2)
		borrow := p.file(q)
		epoch := s.vault.Epoch()
		out, err := s.a.AnswerFile(ctx, borrow, "test")
		must(t, err)
		r := p.proven(out.Bytes)
		if r.Correlation != q.Correlation || r.For != p.host || len(r.Rights) != 1 || r.Rights[0].Count != 2 || out.Name != "RSP-0001.LHR" {
			t.Fatalf("%s: %+v", out.Name, r)
		}
		if s.used() != 2 || s.vault.Epoch() != epoch+1 {
			t.Fatalf("%d seats are lent, and the epoch went from %d to %d", s.used(), epoch, s.vault.Epoch())
		}
		_, entries := s.vault.count()
		again, err := s.a.AnswerFile(ctx, borrow, "test")
		must(t, err)
		if b := p.proven(again.Bytes); b.Serial != r.Serial || b.Rights[0] != r.Rights[0] {
			t.Fatalf("the same file again: %+v", b)
		}
		if _, n := s.vault.count(); n != entries {
			t.Fatalf("the same file again wrote %d entries", n-entries)
		}

		back := p.request(0)
		back.Applied = r.Serial
		ret := p.file(back)
		for range 2 {
			out, err := s.a.AnswerFile(ctx, ret, "test")
			must(t, err)
			if r := p.proven(out.Bytes); r.Status != capability.StatusReturned || len(r.Rights) != 0 || s.used() != 0 {
				t.Fatalf("returned: %+v, %d seats are lent", r, s.used())
			}
		}
		_, err = s.a.AnswerFile(ctx, borrow, "test")
		if codeOf(err) != capability.ErrRequestPassed || s.used() != 0 {
			t.Fatalf("the first file again: %v, %d seats are lent", err, s.used())
		}
	}
}

func codeOf(err error) capability.Code {
	if r := (*capability.Refusal)(nil); errors.As(err, &r) {
		return r.Code
	}
	return 0
}

// Nothing that is not a PC's own request to an appliance of this producer is decided, and nothing of it leaves a trace.
func TestHostileClientFiles(t *testing.T) {
	producer := newProducer(t, 1)
	s := newSite(t, producer)
	s.activate(item(t, 1, "render", 3))
	ctx := context.Background()
	p, other := s.traveler(edKey(t)), s.traveler(edKey(t))
	good := p.file(p.request(1))
	own, err := s.a.Request(ctx, nil, "test")
	must(t, err)
	_, before := s.vault.count()

	signed := func(change func(*capability.Request), kid, key crypto.Signer) []byte {
		r := p.request(1)
		if change != nil {
			change(r)
		}
		der, err := x509.MarshalPKIXPublicKey(kid.Public())
		must(t, err)
		id := sha256.Sum256(der)
		b, _, err := s.a.codec.SignRequest(r, wire.AlgEd25519, wire.KeyID(id[:16]), func(d capability.Digest) ([]byte, error) { return wire.SignAsClient(rand.Reader, key, d) })
		must(t, err)
		return b
	}
	field := func(change func(*capability.Request)) []byte { return signed(change, p.key, p.key) }
	for _, c := range []struct {
		name string
		file []byte
		code capability.Code
		says string
	}{
		{"nothing", nil, capability.ErrFileCut, ""},
		{"cut", good[:len(good)-1], capability.ErrFileCut, ""},
		{"too large", append(append([]byte(nil), good...), make([]byte, capability.MaxFile)...), capability.ErrFileSize, ""},
		{"a byte too many", append(append([]byte(nil), good...), 0), capability.ErrFileForm, ""},
		{"to a back office", own.Bytes, capability.ErrFileKind, ""},
		{"signed by another key", signed(nil, p.key, other.key), capability.ErrSignature, ""},
		{"in the name of another", signed(nil, other.key, other.key), capability.ErrSignature, ""},
		{"another name beside", field(func(r *capability.Request) { r.Hosts = append(r.Hosts, other.host) }), capability.ErrFileForm, "hosts[1]"},
		{"a TPM's name", field(func(r *capability.Request) { r.Hosts[0] = s.a.Host }), capability.ErrSignature, ""},
		{"another producer's", field(func(r *capability.Request) { r.Producer[0] ^= 1 }), capability.ErrOtherProducer, ""},
		{"no producer", field(func(r *capability.Request) { r.Producer = capability.Digest{} }), capability.ErrFileForm, "producer"},
		{"no number", field(func(r *capability.Request) { r.Number = 0 }), capability.ErrFileForm, "number"},
		{"not all or nothing", field(func(r *capability.Request) { r.Atomic = false }), capability.ErrFileForm, "atomic"},
		{"a preview", field(func(r *capability.Request) { r.Operation = capability.Preview }), capability.ErrFileForm, "operation"},
		{"a report", field(func(r *capability.Request) { r.Operation = capability.Report }), capability.ErrFileForm, "operation"},
		{"with a receipt", field(func(r *capability.Request) { r.Receipt = []byte{1} }), capability.ErrFileForm, "receipt"},
		{"what is mine", field(func(r *capability.Request) { r.Desired = nil }), capability.ErrFileForm, "desired"},
		{"a place in the queue", field(func(r *capability.Request) { r.Desired[0].Wait = true }), capability.ErrFileForm, "desired[0]"},
		{"an activation ID", field(func(r *capability.Request) {
			r.Desired[0] = capability.Desired{ActivationID: item(t, 1, "render", 1).ActivationID, Count: 1}
		}), capability.ErrFileForm, "desired[0]"},
		{"what a back office is told", field(func(r *capability.Request) { r.Settled = true }), capability.ErrFileForm, "settled"},
		{"more than there is", field(func(r *capability.Request) { r.Desired[0].Count = 4 }), capability.ErrNoSeat, ""},
		{"what nobody has", field(func(r *capability.Request) { r.Desired[0].Feature = "paint" }), capability.ErrNotEntitled, ""},
	} {
		_, err := s.a.AnswerFile(ctx, c.file, "test")
		if codeOf(err) != c.code {
			t.Errorf("%s: %v where %s is wanted", c.name, err, c.code)
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v does not name %s", c.name, err, c.says)
		}
	}
	for at := range good {
		bad := append([]byte(nil), good...)
		bad[at] ^= 1 << (at % 8)
		if out, err := s.a.AnswerFile(ctx, bad, "test"); codeOf(err) == 0 {
			t.Fatalf("byte %d flipped: %v, %+v", at, err, out)
		}
	}
	if _, n := s.vault.count(); n != before || s.used() != 0 {
		t.Fatalf("%d entries by refused files, %d seats are lent", n-before, s.used())
	}
	if _, err := s.a.AnswerFile(ctx, good, "test"); err != nil {
		t.Fatalf("the good file after all of them: %v", err)
	}
	if _, err := s.a.Import(ctx, good); codeOf(err) != capability.ErrFileKind {
		t.Fatalf("a request where a response is wanted: %v", err)
	}
}
