package entitlement

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// world is a book with a replica that sees only encoded entries.
type world struct {
	t       testing.TB
	note    func() string // where a failure is, for the message
	codec   *wire.Codec
	book    *Book
	replica *Book
	now     capability.Time
	entries [][]byte
	hosts   []Host // before the last command
}

// hostBefore is a host as it was before the last command.
func (w *world) hostBefore(id hostid.ID) (Host, bool) {
	for _, h := range w.hosts {
		if h.Host == id {
			return h, true
		}
	}
	return Host{}, false
}

func newWorld(t testing.TB, p Policy) *world {
	w := &world{t: t, note: func() string { return "" }, codec: wire.New(), book: New(), replica: New(), now: 1_800_000_000}
	w.mustDo(SetPolicy{Policy: p})
	return w
}

func anyTier() Policy {
	p := DefaultPolicy("Example Software")
	p.MinimumTier = Software
	return p
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s%s", w.note(), fmt.Sprintf(format, args...))
}

// do decides, makes entries bytes and back, applies them to both books and checks both.
func (w *world) do(c Command) (*Decision, error) {
	w.t.Helper()
	before := w.book.Digest()
	w.hosts = w.book.Hosts()
	d, err := w.book.Decide(w.now, c)
	if w.book.Digest() != before {
		w.fatalf("Decide changed the book")
	}
	if d == nil {
		return nil, err
	}
	for _, e := range d.Entries {
		b := e.Encode(w.codec)
		w.entries = append(w.entries, b)
		for _, book := range []*Book{w.book, w.replica} {
			decoded, err := DecodeEntry(w.codec, b)
			if err != nil {
				w.fatalf("decode an entry: %v", err)
			}
			if err := book.Apply(decoded); err != nil {
				w.fatalf("apply what was decided: %v", err)
			}
			if err := book.Check(); err != nil {
				w.fatalf("%v", err)
			}
		}
	}
	return d, err
}

func (w *world) mustDo(c Command) *Decision {
	w.t.Helper()
	d, err := w.do(c)
	if err != nil {
		w.fatalf("%v", err)
	}
	return d
}

func testID(t testing.TB, n uint64) capability.ActivationID {
	t.Helper()
	seed := sha256.Sum256(binary.BigEndian.AppendUint64(nil, n))
	id, err := capability.NewActivationID(bytes.NewReader(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (w *world) entitle(n uint64, copies uint32, change func(*Item)) capability.ActivationID {
	w.t.Helper()
	i := Item{ActivationID: testID(w.t, n), Customer: "ACME Works", EntitlementID: "ENT-1", Product: "Render Pro", ProductVersion: capability.Version{Major: 2026},
		Features: []Feature{{Name: "render", Version: capability.Version{Major: 2026, Minor: 1}, PerCopy: 1}}, Copies: copies}
	if change != nil {
		change(&i)
	}
	w.mustDo(Entitle{Item: i})
	return i.ActivationID
}

// machine is an appliance as far as the back office can tell: it numbers requests, remembers them until a response answers them, applies responses,
// and returns copies under a new epoch.
type machine struct {
	id          Identity
	life        capability.LifeID
	number      uint64
	applied     uint64
	head        capability.Digest
	outstanding []Known
	epoch       uint64
	rights      map[capability.ActivationID]uint32
	used        uint32 // of what is metered
	lingers     map[capability.ActivationID]linger
	shown       int // host IDs beside the TPM's
	returns     []capability.Return
	drawn       byte
	audited     bool // it names the end of its audit trail
	audit       capability.Head
}

func newMachine(n byte) *machine {
	key := sha256.Sum256([]byte{n})
	return &machine{id: Identity{Host: hostid.OfDigest(hostid.TPMEK, key), AKName: append([]byte{0, 11}, key[:]...), AK: key[:8], EK: key[8:16], Tier: Hardware},
		life: capability.LifeID{n}, epoch: 3, rights: map[capability.ActivationID]uint32{}}
}

// copied is the same machine once more: its storage or all of it was copied.
func (m *machine) copied() *machine {
	c := *m
	c.lingers = maps.Clone(m.lingers)
	c.outstanding, c.returns = slices.Clone(m.outstanding), slices.Clone(m.returns)
	c.rights = map[capability.ActivationID]uint32{}
	for id, n := range m.rights {
		c.rights[id] = n
	}
	return &c
}

// wiped is what the machine is after its storage was lost: it knows nothing, but for the TPM's counter.
func (m *machine) wiped() *machine {
	w := &machine{id: m.id, life: m.life, epoch: m.epoch + 1, drawn: m.drawn, rights: map[capability.ActivationID]uint32{}, audited: m.audited}
	w.life[15]++
	return w
}

// salt makes requests of copied machines differ, as their drawn correlation IDs do.
func (m *machine) request(salt uint64, desired ...capability.Desired) Answer {
	m.number++
	r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{m.id.Host}, Number: m.number, Applied: m.applied, Epoch: m.epoch,
		BookHead: m.head, Life: m.life, Desired: desired, Returns: slices.Clone(m.returns)}
	binary.BigEndian.PutUint64(r.Correlation[:], salt)
	r.Correlation[15] = 1
	if m.audited {
		r.Head = m.audit
		m.log(salt)
	}
	for _, k := range m.outstanding {
		r.Outstanding = append(r.Outstanding, k.Digest)
	}
	a := Answer{Request: r, Digest: wire.New().RequestDigest(r), Identity: m.id}
	for range r.Returns {
		a.Proofs = append(a.Proofs, Proof{Epoch: m.epoch})
	}
	m.outstanding = append(m.outstanding, Known{Number: m.number, Digest: a.Digest})
	return a
}

// log adds an entry to the audit trail, which differs from any other's.
func (m *machine) log(salt uint64) {
	m.audit.Position++
	m.audit.Hash = sha256.Sum256(binary.BigEndian.AppendUint64(m.audit.Hash[:], salt))
}

func (m *machine) giveBack(id capability.ActivationID, copies uint32) {
	m.epoch++
	m.drawn++
	m.rights[id] -= copies
	m.returns = append(m.returns, capability.Return{ID: capability.ReturnID{m.drawn, byte(m.epoch)}, ActivationID: id, Copies: copies, Epoch: m.epoch, Serial: m.applied, Proof: []byte{1}})
}

// apply is what an appliance does with a response: the newest wins, and what it returned meanwhile stays returned.
func (m *machine) apply(r *capability.Response) {
	if r == nil || r.Serial <= m.applied || r.Life != m.life {
		return
	}
	m.applied, m.head = r.Serial, r.BookHead
	m.returns = slices.DeleteFunc(m.returns, func(t capability.Return) bool { return slices.Contains(r.Acknowledged, t.ID) || r.Refuses(t) })
	m.outstanding = slices.DeleteFunc(m.outstanding, func(k Known) bool { return k.Number <= r.Number })
	m.rights = map[capability.ActivationID]uint32{}
	for _, i := range r.Items {
		m.rights[i.ActivationID] = i.Copies
		m.used = max(m.used, i.UsedBefore)
	}
	for _, t := range m.returns {
		m.rights[t.ActivationID] -= min(m.rights[t.ActivationID], t.Copies) // a response may leave them out as well
	}
}

func want(id capability.ActivationID, n uint32) capability.Desired {
	return capability.Desired{ActivationID: id, Count: n}
}

func code(err error) capability.Code {
	if r := (*capability.Refusal)(nil); errors.As(err, &r) {
		return r.Code
	}
	return 0
}

// life is a seeded generator; a failure prints the seed.
func life(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x1ea5e401d)) }

func cardID() hostid.ID { return hostid.ID{Type: hostid.Ethernet, Value: "02004C4F4F50"} }
