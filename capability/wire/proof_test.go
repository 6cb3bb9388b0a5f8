package wire

import (
	"bytes"
	"crypto/ed25519"
	_ "crypto/sha256" // go-cose asks the crypto package for it
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/veraison/go-cose"

	"github.com/leasehold/leasehold/capability"
)

// naive is RFC 9162, 2.1.1 and 2.1.3.1, as written there: by recursion, splitting at the largest power of two below n. It remembers the roots of ranges.
type naive struct {
	leaves [][]byte
	known  map[[2]int]capability.Digest
}

func (n *naive) root(from, to int) capability.Digest {
	if to-from == 1 {
		return sumOf(append([]byte{0}, n.leaves[from]...))
	}
	if d, ok := n.known[[2]int{from, to}]; ok {
		return d
	}
	k := from + split(to-from)
	l, r := n.root(from, k), n.root(k, to)
	d := sumOf(slices.Concat([]byte{1}, l[:], r[:]))
	n.known[[2]int{from, to}] = d
	return d
}

// path is that of leaf m in the tree of the leaves from up to to.
func (n *naive) path(m, from, to int) []capability.Digest {
	if to-from == 1 {
		return nil
	}
	if k := from + split(to-from); m < k {
		return append(n.path(m, from, k), n.root(k, to))
	} else {
		return append(n.path(m, k, to), n.root(from, k))
	}
}

func split(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

func TestTreeIsRFC9162(t *testing.T) {
	var leaves [][]byte
	for n := range 200 {
		leaves = append(leaves, []byte{byte(n), byte(n >> 4)})
	}
	oracle := &naive{leaves, map[[2]int]capability.Digest{}}
	for n := 1; n <= 200; n++ {
		leaves := leaves[:n]
		tree := Grow(leaves)
		if tree.Root() != oracle.root(0, n) {
			t.Fatalf("the root of %d leaves differs", n)
		}
		for i := range n {
			path := tree.Path(i)
			if !slices.Equal(path, oracle.path(i, 0, n)) {
				t.Fatalf("the path of leaf %d of %d differs", i, n)
			}
			if root, ok := fold(leafHash(leaves[i]), uint64(i), uint64(n), path); !ok || root != tree.Root() {
				t.Fatalf("leaf %d of %d does not fold to the root", i, n)
			}
		}
	}
}

// A path proves one leaf at one place in a tree of one size, where the shapes of the trees differ in it; the signed size covers the rest.
func TestFoldRefusesOtherPlaces(t *testing.T) {
	var leaves [][]byte
	for n := 1; n <= 40; n++ {
		leaves = append(leaves, []byte{byte(n)})
		tree := Grow(leaves)
		for i := range n {
			path := tree.Path(i)
			for j := range 2 * n {
				if root, ok := fold(leafHash(leaves[i]), uint64(j), uint64(n), path); ok && root == tree.Root() && j != i {
					t.Fatalf("leaf %d of %d proves place %d", i, n, j)
				}
			}
			if len(path) > 0 {
				if _, ok := fold(leafHash(leaves[i]), uint64(i), uint64(n), path[:len(path)-1]); ok {
					t.Fatalf("leaf %d of %d: a path too short", i, n)
				}
			}
			if _, ok := fold(leafHash(leaves[i]), uint64(i), uint64(n), append(slices.Clone(path), capability.Digest{})); ok {
				t.Fatalf("leaf %d of %d: a path too long", i, n)
			}
		}
	}
	if _, ok := fold(capability.Digest{}, 0, 0, nil); ok {
		t.Error("a tree of no leaves proves something")
	}
}

// What is written by hand is what the encoder writes, whatever the lengths.
func TestHandWrittenAnswers(t *testing.T) {
	c := New()
	key := ed25519.NewKeyFromSeed(seed(1)[:ed25519.SeedSize])
	var leaves [][]byte
	for n := 1; n <= 70_000; n++ {
		leaves = append(leaves, bytes.Repeat([]byte{byte(n)}, n%700))
		switch n {
		case 1, 2, 3, 8, 23, 24, 25, 255, 256, 257, 1000, 65_535, 65_536, 70_000:
		default:
			continue
		}
		tree := c.SignTree(key, Grow(leaves), 1_900_000_000, 7)
		for _, i := range []int{0, n / 2, n - 1} {
			in := c.Encode(inclusion{Size: uint64(n), Leaf: uint64(i), Path: tree.tree.Path(i)})
			want := Answer{leaves[i], c.Encode(sign1{Protected: tree.protected, Unprotected: unprotected{Proofs: &proofs{[][]byte{in}}}, Signature: tree.signature})}
			a := c.Answer(tree, i, leaves[i])
			if !bytes.Equal(a.Response, want.Response) || !bytes.Equal(a.Proof, want.Proof) {
				t.Fatalf("answer %d of %d:\n%x\n%x", i, n, a.Proof, want.Proof)
			}
			content := c.Encode([]any{MessageAnswer, want})
			frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(content))), content...)
			if !bytes.Equal(c.Frame(MessageAnswer, &a), frame) {
				t.Fatalf("frame of answer %d of %d:\n%x\n%x", i, n, c.Frame(MessageAnswer, &a), frame)
			}
		}
	}
	for _, n := range []uint64{0, 23, 24, 255, 256, 65_535, 65_536, 1<<32 - 1, 1 << 32, 1<<64 - 1} {
		if got, want := appendHead(nil, unsigned, n), c.Encode(n); !bytes.Equal(got, want) {
			t.Errorf("%d is % x, want % x", n, got, want)
		}
	}
}

// Every bit of an answer matters.
func TestEveryBitOfAnAnswer(t *testing.T) {
	c := New()
	var good []byte
	for _, v := range readVectors(t) {
		if v.Name == "answer-third-of-five" {
			good = v.bytes()
		}
	}
	key := publicOf(servingSeed())
	for i := range 8 * len(good) {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		var a Answer
		if c.Decode(bad, &a, capability.MaxFrame) != nil {
			continue
		}
		if _, _, err := c.VerifyAnswer(key, &a); err == nil {
			t.Errorf("bit %d of byte %d flipped: accepted", i%8, i/8)
		}
	}
}

// A proof is Ed25519's whatever the group: a path of 32 digests is read, one of 33 is not.
func TestLongestPath(t *testing.T) {
	c := New()
	key := ed25519.NewKeyFromSeed(unhex(servingSeed()))
	r := c.Encode(&capability.Response{Version: 1, For: client(), Time: 1})
	for _, n := range []int{maxDepth, maxDepth + 1} {
		path := slices.Repeat([]capability.Digest{digest(7)}, n)
		size := uint64(1) << n
		root, ok := fold(leafHash(r), 0, size, path)
		if !ok {
			t.Fatalf("%d digests do not fold", n)
		}
		p := c.Encode(header{Alg: AlgEd25519, KID: ServingKeyID(key.Public().(ed25519.PublicKey)), Typ: TypGroup, VDS: vdsRFC9162, Claims: &claims{Size: size}})
		proof := c.Encode(sign1{Protected: p, Unprotected: unprotected{Proofs: &proofs{[][]byte{c.Encode(inclusion{Size: size, Path: path})}}}, Signature: ed25519.Sign(key, c.toBeSigned(p, root[:]))})
		_, g, err := c.VerifyAnswer(key.Public().(ed25519.PublicKey), &Answer{r, proof})
		if n == maxDepth && (err != nil || g.Size != size) || n > maxDepth && !errors.Is(err, ErrMalformed) {
			t.Errorf("%d digests: %+v, %v", n, g, err)
		}
	}
}

// ed19 lets go-cose sign and verify under the fully specified number of Ed25519, which it does not know.
type ed19 struct {
	private ed25519.PrivateKey
	public  ed25519.PublicKey
}

func (ed19) Algorithm() cose.Algorithm { return cose.Algorithm(AlgEd25519) }
func (k ed19) Verify(content, signature []byte) error {
	if !ed25519.Verify(k.public, content, signature) {
		return cose.ErrVerification
	}
	return nil
}
func (k ed19) Sign(_ io.Reader, content []byte) ([]byte, error) {
	return ed25519.Sign(k.private, content), nil
}

// go-cose, written by others, reads our Ed25519 envelopes, computes the same Sig_structure, and makes the same bytes.
func TestCOSEOracle(t *testing.T) {
	c := New()
	p := newProducer(t, 1)
	tw, err := c.openTwice(p.certificate, TypKey, capability.MaxSigned)
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(unhex(servingSeed()))
	leaf := c.Encode(&capability.Response{Version: 1, For: client(), Time: 1})
	tree := Grow([][]byte{leaf, leaf, leaf})
	answer := c.Answer(c.SignTree(key, tree, 5000, 9), 1, leaf)
	root := tree.Root()
	for name, o := range map[string]struct {
		envelope, detached []byte
		key                ed25519.PrivateKey
	}{
		"key certificate": {*tw.outer.Payload, nil, p.root.ed.(ed25519.PrivateKey)},
		"group":           {answer.Proof, root[:], key},
	} {
		var m cose.UntaggedSign1Message
		if err := m.UnmarshalCBOR(o.envelope); err != nil {
			t.Fatalf("%s: go-cose: %v", name, err)
		}
		if again, err := m.MarshalCBOR(); err != nil || !bytes.Equal(again, o.envelope) {
			t.Errorf("%s: go-cose makes %x, %v", name, again, err)
		}
		if alg, err := m.Headers.Protected.Algorithm(); err != nil || int64(alg) != AlgEd25519 {
			t.Errorf("%s: alg %d, %v", name, alg, err)
		}
		if o.detached != nil {
			if m.Payload != nil {
				t.Errorf("%s: the payload is attached", name)
			}
			m.Payload = o.detached
		}
		public := o.key.Public().(ed25519.PublicKey)
		if err := m.Verify(nil, ed19{public: public}); err != nil {
			t.Errorf("%s: go-cose: %v", name, err)
		}
		signed := m.Signature
		m.Payload = append(bytes.Clone(m.Payload), 0)
		if m.Verify(nil, ed19{public: public}) == nil {
			t.Errorf("%s: go-cose verifies another payload", name)
		}
		m.Payload, m.Signature = m.Payload[:len(m.Payload)-1], nil
		if err := m.Sign(nil, nil, ed19{private: o.key}); err != nil || !bytes.Equal(m.Signature, signed) {
			t.Errorf("%s: go-cose signs %x where we sign %x, %v", name, m.Signature, signed, err)
		}
	}
}
