package wire

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/bits"

	"github.com/leasehold/leasehold/capability"
)

// The responses that one write to trusted storage makes durable are signed together: they are the leaves of an RFC 9162 tree, the root is signed once,
// and each response carries the path from its leaf. A group of one is a plain signature with an empty path; it is the same code.

// Group is what the serving key says of a commit group, besides its root.
type Group struct {
	Size  uint64
	Time  capability.Time
	Epoch uint64
}

// claims are the CWT claims (RFC 9597) of a group's signature. The private labels are ours.
type claims struct {
	IssuedAt capability.Time `cbor:"6,keyasint,omitzero"`
	Epoch    uint64          `cbor:"-70003,keyasint,omitzero"`
	Size     uint64          `cbor:"-70004,keyasint,omitzero"`
}

// proofs is the verifiable-data-proofs header of RFC 9942; inclusion is its only kind here.
type proofs struct {
	Inclusion [][]byte `cbor:"-1,keyasint,omitempty"`
}

// inclusion is RFC 9942's RFC9162_SHA256 inclusion proof.
type inclusion struct {
	_    struct{} `cbor:",toarray"`
	Size uint64
	Leaf uint64
	Path []capability.Digest
}

// vdsRFC9162 is RFC9162_SHA256 in the registry of verifiable data structures.
const vdsRFC9162 = 1

// Answer is a response with its proof, as a client gets and keeps it.
type Answer struct {
	Response []byte `cbor:"1,keyasint,omitempty" json:"response"`
	Proof    []byte `cbor:"2,keyasint,omitempty" json:"proof"` // COSE_Sign1 with the root as detached payload and the path unprotected
}

// Tree holds the nodes of one group. Grow builds it; it is not changed afterwards.
type Tree struct {
	levels [][]capability.Digest // levels[0] are the leaves; an odd last node moves up unhashed
}

// Grow builds the tree of the responses, which are at least one.
func Grow(responses [][]byte) *Tree {
	level := make([]capability.Digest, len(responses))
	for i, r := range responses {
		level[i] = leafHash(r)
	}
	t := &Tree{levels: [][]capability.Digest{level}}
	for len(level) > 1 {
		next := make([]capability.Digest, 0, (len(level)+1)/2)
		for i := 0; i+1 < len(level); i += 2 {
			next = append(next, nodeHash(level[i], level[i+1]))
		}
		if len(level)%2 == 1 {
			next = append(next, level[len(level)-1])
		}
		t.levels = append(t.levels, next)
		level = next
	}
	return t
}

// Root is the Merkle tree hash (RFC 9162, 2.1.1). Pairing neighbors level by level gives the same tree as splitting at powers of two.
func (t *Tree) Root() capability.Digest { return t.levels[len(t.levels)-1][0] }

// Path is the inclusion path of leaf i (RFC 9162, 2.1.3.1).
func (t *Tree) Path(i int) []capability.Digest {
	return t.appendPath(make([]capability.Digest, 0, len(t.levels)-1), i)
}

func (t *Tree) appendPath(path []capability.Digest, i int) []capability.Digest {
	for _, level := range t.levels[:len(t.levels)-1] {
		if s := i ^ 1; s < len(level) {
			path = append(path, level[s])
		}
		i /= 2
	}
	return path
}

func leafHash(b []byte) (d capability.Digest) {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(b)
	h.Sum(d[:0])
	return d
}

func nodeHash(l, r capability.Digest) capability.Digest {
	var b [65]byte
	b[0] = 1
	copy(b[1:], l[:])
	copy(b[33:], r[:])
	return sha256.Sum256(b[:])
}

// fold computes the root from a leaf and its path (RFC 9162, 2.1.3.2). A path that is longer or shorter than the tree's shape asks for fails.
func fold(leaf capability.Digest, index, size uint64, path []capability.Digest) (capability.Digest, bool) {
	if index >= size {
		return leaf, false
	}
	last, hash := size-1, leaf
	for _, p := range path {
		if last == 0 {
			return hash, false
		}
		if index&1 == 1 || index == last {
			hash = nodeHash(p, hash)
			if index&1 == 0 {
				n := bits.TrailingZeros64(index | 1<<63)
				index, last = index>>n, last>>n
			}
		} else {
			hash = nodeHash(hash, p)
		}
		index, last = index>>1, last>>1
	}
	return hash, last == 0
}

// SignedTree is a tree with its root signed: it gives each response its answer.
type SignedTree struct {
	tree      *Tree
	size      uint64
	protected []byte
	signature []byte
}

// SignTree signs the root with the serving key, as RFC 9942 does: COSE_Sign1 whose detached payload is the root. The key is Ed25519 and in memory, where
// signing cannot fail.
func (c *Codec) SignTree(key crypto.Signer, t *Tree, at capability.Time, epoch uint64) *SignedTree {
	size := uint64(len(t.levels[0]))
	root := t.Root()
	protected := c.Encode(header{
		Alg: AlgEd25519, KID: ServingKeyID(key.Public().(ed25519.PublicKey)), Typ: TypGroup, VDS: vdsRFC9162,
		Claims: &claims{IssuedAt: at, Epoch: epoch, Size: size},
	})
	signature, err := key.Sign(nil, c.toBeSigned(protected, root[:]), crypto.Hash(0))
	if err != nil {
		panic("wire: " + err.Error())
	}
	return &SignedTree{t, size, protected, signature}
}

// Answer joins response i of the group with its proof. The proof is written by hand, the same bytes as those of an encoded sign1: every answer has one.
func (c *Codec) Answer(t *SignedTree, i int, response []byte) Answer {
	var room [512]byte
	in := t.inclusion(room[:0], i)
	b := make([]byte, 0, len(t.protected)+len(in)+len(t.signature)+20)
	b = appendHead(b, array, 4)
	b = appendBytes(b, t.protected)
	b = append(b,
		0xa1, 0x19, 0x01, 0x8c, // {396:
		0xa1, 0x20, 0x81, // {-1: [
	)
	b = appendBytes(b, in) // ]}}
	b = append(b, 0xf6)    // the payload is detached
	return Answer{Response: response, Proof: appendBytes(b, t.signature)}
}

// inclusion appends the encoded inclusion proof of leaf i.
func (t *SignedTree) inclusion(b []byte, i int) []byte {
	var room [16]capability.Digest
	path := t.tree.appendPath(room[:0], i)
	b = appendHead(b, array, 3)
	b = appendHead(b, unsigned, t.size)
	b = appendHead(b, unsigned, uint64(i))
	b = appendHead(b, array, uint64(len(path)))
	for i := range path {
		b = appendBytes(b, path[i][:])
	}
	return b
}

// ServingKeyID is the kid of a serving key: the first half of its SHA-256.
func ServingKeyID(k ed25519.PublicKey) KeyID {
	d := sha256.Sum256(k)
	return KeyID(d[:16])
}

// VerifyAnswer checks an answer against the serving key: path, root, signature, form. It stands alone, whatever else was in its group.
func (c *Codec) VerifyAnswer(key ed25519.PublicKey, a *Answer) (*capability.Response, Group, error) {
	if len(a.Response) == 0 {
		return nil, Group{}, fmt.Errorf("answer: %w: no response", ErrMalformed)
	}
	s, h, err := c.open(a.Proof, TypGroup, capability.MaxFrame, AlgEd25519)
	if err != nil {
		return nil, Group{}, fmt.Errorf("proof: %w", err)
	}
	if s.Payload != nil || s.Unprotected.Proofs == nil || len(s.Unprotected.Proofs.Inclusion) != 1 || len(s.Unprotected.Certificate) != 0 {
		return nil, Group{}, fmt.Errorf("proof: %w: not one inclusion proof over a detached root", ErrMalformed)
	}
	if len(key) != ed25519.PublicKeySize || h.KID != ServingKeyID(key) {
		return nil, Group{}, fmt.Errorf("proof: %w: signed by another serving key", ErrSignature)
	}
	var in inclusion
	if err := c.Decode(s.Unprotected.Proofs.Inclusion[0], &in, capability.MaxFrame); err != nil {
		return nil, Group{}, fmt.Errorf("inclusion proof: %w", err)
	}
	g := Group{h.Claims.Size, h.Claims.IssuedAt, h.Claims.Epoch}
	if in.Size != g.Size || len(in.Path) > maxDepth {
		return nil, Group{}, fmt.Errorf("inclusion proof: %w: a tree of %d where %d was signed, path of %d", ErrMalformed, in.Size, g.Size, len(in.Path))
	}
	root, ok := fold(leafHash(a.Response), in.Leaf, in.Size, in.Path)
	if !ok || !ed25519.Verify(key, c.toBeSigned(s.Protected, root[:]), s.Signature) {
		return nil, Group{}, fmt.Errorf("proof: %w", ErrSignature)
	}
	var r capability.Response
	if err := c.Decode(a.Response, &r, capability.MaxFrame); err != nil {
		return nil, Group{}, fmt.Errorf("response: %w", err)
	}
	if err := r.Validate(); err != nil {
		return nil, Group{}, err
	}
	return &r, g, nil
}

// Receipt is a response that a client kept, with what it takes to believe it later: the serving key that signed its group and the AK's statement about that key.
type Receipt struct {
	Answer    Answer `cbor:"1,keyasint,omitzero" json:"answer"`
	Serving   []byte `cbor:"2,keyasint,omitempty" json:"serving"`
	Statement []byte `cbor:"3,keyasint,omitempty" json:"statement"`
}

// VerifyReceipt checks a receipt against the AK of the appliance that is said to have signed it. judge is as in VerifyChain.
func (c *Codec) VerifyReceipt(ak []byte, b []byte, judge func(ak, statement, serving []byte) error) (*capability.Response, error) {
	var r Receipt
	if err := c.Decode(b, &r, capability.MaxFrame); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	if len(r.Serving) != ed25519.PublicKeySize || zeros(r.Serving) {
		return nil, fmt.Errorf("receipt: %w: a serving key of %d bytes, or of zeros", ErrMalformed, len(r.Serving))
	}
	if err := judge(ak, r.Statement, r.Serving); err != nil {
		return nil, fmt.Errorf("receipt: %w: %w", ErrSignature, err)
	}
	resp, _, err := c.VerifyAnswer(r.Serving, &r.Answer)
	return resp, err
}
