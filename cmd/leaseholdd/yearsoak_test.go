package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/storage/storagetest"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// mostADay is how many writes to its non-volatile memory a TPM is asked for in a day of ordinary use.
const mostADay = 24

// TestSoakYear counts the commands by which a real daemon makes its TPM write non-volatile memory, in days of ordinary use without the nights between: fifty
// clients that take a count in the morning, renew it and give it back, ten borrows a day beyond the hold, which must move the epoch, a stop and a start every
// seventh day, a request and a response every thirtieth. A proxy before the TPM reads the code of every command: increments, definitions, undefinitions, writes and
// extensions of NV indexes, and objects made persistent count. What a TPM writes of its own accord, its clock above all, nobody can count here.
//
// Days take a second here, and moves by clients are rationed by the clock: 600 at first and 20 a real day from then on, of which these clients need ten. So that no day
// is short of them, a new machine comes every eighth week.
//
// One case is one day; it fails above 24 writes.
func TestSoakYear(t *testing.T) {
	size := storagetest.Size(t, 2, 365, 3650)
	b := newBox(t)
	works := newWorks(t)
	b.Trust = filepath.Join(b.Dir, "works")
	if err := os.WriteFile(b.Trust, works.trust, 0o600); err != nil {
		t.Fatal(err)
	}
	chip := strings.TrimPrefix(b.Chip.Address(), "unix:") // of every machine to come: they follow each other in one directory
	bus := newTap(t, "unix", filepath.Join(b.Dir, "t"), true, func() (net.Conn, error) { return net.Dial("unix", chip) })
	b.Bus = "unix:" + filepath.Join(b.Dir, "t")
	office, err := desks(50)
	if err != nil {
		t.Fatal(err)
	}
	borrowers, err := desks(10)
	if err != nil {
		t.Fatal(err)
	}
	tried, failed, total, most := 0, 0, 0, 0
	defer func() {
		storagetest.Tried(t, tried, failed)
		t.Logf("%d days: %d writes, %.1f a day, %d on the day with most; %.0f in a year", tried, total, float64(total)/float64(max(tried, 1)), most, 365*float64(total)/float64(max(tried, 1)))
	}()
	take := func(d *desk, count uint32, borrow capability.Seconds) {
		t.Helper()
		denied, err := d.want(b.Clients.Addr().String(), count, func(r *capability.Request) { r.Borrow = borrow })
		if err != nil || len(denied) > 0 {
			t.Fatalf("day %d: %v %v", tried, denied, err)
		}
	}
	for ; tried < size; tried++ {
		if tried%sameMachine == 0 {
			if err := works.machine(b); err != nil {
				t.Fatal(err)
			}
			t.Logf("in the making of a vault: %v", bus.writes(t))
			for _, d := range slices.Concat(office, borrowers) {
				d.leave()
				d.serial = 0
			}
		}
		if tried%7 == 1 {
			if err := errors.Join(b.Halt(), b.Start()); err != nil {
				t.Fatal(err)
			}
			for _, d := range slices.Concat(office, borrowers) {
				d.leave()
			}
		}
		if tried%30 == 29 {
			if err := works.supply(b); err != nil {
				t.Fatal(err)
			}
		}
		for _, count := range []uint32{1, 1, 0} { // comes, renews, goes
			for _, d := range office {
				take(d, count, 900)
			}
		}
		for _, d := range borrowers {
			take(d, 0, 0) // back from the journey before
			take(d, 1, 14*24*3600)
		}
		day := bus.writes(t)
		n := 0
		for _, k := range day {
			n += k
		}
		total, most = total+n, max(most, n)
		if tried < 9 || n > mostADay {
			t.Logf("day %d: %v", tried, day)
		}
		if n > mostADay {
			failed++
		}
		if n < len(borrowers) {
			t.Fatalf("day %d: %d writes, and %d borrows: the count is wrong, or a borrow moves nothing", tried, n, len(borrowers))
		}
	}
}

// sameMachine is the days that one machine lives: 560 borrows.
const sameMachine = 56

// machine gives the box another TPM, an empty disk and rights.
func (w *works) machine(b *box) (err error) {
	b.Kill()
	b.Chip.Kill()
	dir := filepath.Join(b.Dir, "tpm")
	if err := errors.Join(os.RemoveAll(b.State()), os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return err
	}
	if b.Chip, err = tpmtest.New(dir, tpmtest.P256); err != nil {
		return err
	}
	return errors.Join(b.Start(), w.supply(b))
}

// writes counts the commands since the last call that write non-volatile memory.
func (p *tap) writes(t testing.TB) map[string]int {
	t.Helper()
	names := map[tpm2.TPMCC]string{
		tpm2.TPMCCNVIncrement: "increment", tpm2.TPMCCNVDefineSpace: "define", tpm2.TPMCCNVUndefineSpace: "undefine", tpm2.TPMCCNVUndefineSpaceSpecial: "undefine",
		tpm2.TPMCCNVWrite: "write", tpm2.TPMCCNVExtend: "extend", tpm2.TPMCCNVSetBits: "set bits", tpm2.TPMCCEvictControl: "persist",
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := map[string]int{}
	for len(p.bytes) > 0 {
		if len(p.bytes) < 10 {
			t.Fatalf("%d bytes of a command", len(p.bytes))
		}
		size := binary.BigEndian.Uint32(p.bytes[2:])
		if size < 10 || int(size) > len(p.bytes) {
			t.Fatalf("a command of %d bytes where %d are there", size, len(p.bytes))
		}
		if name := names[tpmtest.Command(p.bytes)]; name != "" {
			n[name]++
		}
		p.bytes = p.bytes[size:]
	}
	return n
}

// works is a producer without a book, whose items can be borrowed: the back office's command offers no such item.
type works struct {
	trust       []byte
	key         *wire.ProducerKey
	certificate []byte
	boot        *ecdsa.PrivateKey
	id          capability.ActivationID
	serial      uint64
}

func newWorks(t testing.TB) *works {
	t.Helper()
	w, err := makeWorks()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func makeWorks() (w *works, err error) {
	c := wire.New()
	w = &works{}
	seed := func() []byte {
		b := make([]byte, wire.SeedSize)
		rand.Read(b)
		return b
	}
	root, err := wire.NewProducerKey(seed())
	if err != nil {
		return nil, err
	}
	if w.key, err = wire.NewProducerKey(seed()); err != nil {
		return nil, err
	}
	if w.certificate, err = c.CertifyKey(root, &wire.KeyCertificate{Keys: w.key.Public, Name: "works-A", From: 1}); err != nil {
		return nil, err
	}
	if w.boot, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	w.trust = c.EncodeTrust(&wire.Trust{Producer: "Works", Root: root.Public})
	w.id, err = capability.NewActivationID(rand.Reader)
	return w, err
}

// supply carries a request of the box to the producer, and the response back.
func (w *works) supply(b *box) error {
	file, err := b.request(w.id)
	if err != nil {
		return err
	}
	c := wire.New()
	req, err := c.ReadRequest(file)
	if err != nil {
		return err
	}
	e, err := attest.DecodeEvidence(req.Signature)
	if err != nil {
		return err
	}
	id, err := attest.Verify(e, attest.Request, req.Digest[:])
	if err != nil {
		return err
	}
	state, err := attest.SignState(rand.Reader, w.boot, []byte("works"), id.PCRs)
	if err != nil {
		return err
	}
	bootKey, err := x509.MarshalPKIXPublicKey(&w.boot.PublicKey)
	if err != nil {
		return err
	}
	w.serial++
	host, now := req.Request.Hosts[0], capability.At(time.Now())
	certificate, err := c.CertifyAppliance(w.key, &wire.ApplianceCertificate{Host: host, AK: id.AK, Serial: w.serial, From: now})
	if err != nil {
		return err
	}
	r := &capability.Response{
		Version: capability.Protocol, For: host, Serial: w.serial, Time: now, Lifetime: 3600, Request: req.Digest, Number: req.Request.Number, Correlation: req.Request.Correlation,
		Items:       []capability.LineItem{{ActivationID: w.id, Feature: "render", Version: version(), Count: 100, Copies: 100, Borrow: 30 * 24 * 3600}},
		Certificate: certificate, Policy: capability.Policy{Lease: 900, RenewPercent: 15}, Epoch: req.Request.Epoch, Life: req.Request.Life,
		Boot: capability.Boot{Key: bootKey, Ref: []byte("works"), States: [][]byte{state.Encode()}},
	}
	key := make([]byte, wire.ContentKeySize)
	rand.Read(key)
	wrapped, err := attest.Wrap(rand.Reader, id, key)
	if err != nil {
		return err
	}
	out, err := c.SealResponse(w.key, w.certificate, r, wrapped.Encode(), key)
	if err != nil {
		return err
	}
	if err := b.Import(out); err != nil {
		return fmt.Errorf("response %d: %w", w.serial, err)
	}
	return nil
}
