package storage

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"testing"
)

// gcm is AES-256-GCM under the key of a label and salt, made from the standard library alone.
func gcm(t *testing.T, label string, salt []byte) cipher.AEAD {
	t.Helper()
	key, err := hkdf.Key(sha256.New, fixedSecret(), salt, label, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

// TestFrameSealed: what seals and what opens could be wrong in the same way, so another hand opens the frame: the nonce is its position, the
// associated data its whole plain header and the hash before it.
func TestFrameSealed(t *testing.T) {
	var w framer
	salt := []byte("sixteen bytes...")
	after := head{position: 0x0102030405060707, hash: [32]byte{9, 8, 7}}
	f := &frame{kind: kindGroup, epoch: 7, entries: [][]byte{[]byte("ab")}}
	size, err := f.size()
	if err != nil {
		t.Fatal(err)
	}
	b := w.seal(fixedSecret().aead(labelJournal, salt), after, f, size)
	nonce := []byte{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	plain, err := gcm(t, "leasehold journal v1", salt).Open(nil, nonce, b[28:], append(bytes.Clone(b[:28]), after.hash[:]...))
	if want := []byte{kindGroup, 0, 0, 0, 2, 'a', 'b'}; err != nil || !bytes.Equal(plain, want) {
		t.Fatalf("frame holds %x, %v, want %x", plain, err, want)
	}
}

// TestSnapshotSealed: the salt of a snapshot is its own, its nonce zero, its associated data its whole plain part.
func TestSnapshotSealed(t *testing.T) {
	p := snapshot{head: head{position: 5, hash: [32]byte{1}}, epoch: 7, first: 3, run: Running{Resets: 1, Restarts: 2, Digest: [32]byte{4}}, state: []byte("state")}
	salts := map[string]bool{}
	for range 3 {
		b, err := p.encode(fixedSecret(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		const plainBytes = 8 + 1 + 16 + 8 + 32 + 8 + 8
		salt := b[9:25]
		salts[string(salt)] = true
		body, err := gcm(t, "leasehold snapshot v1", salt).Open(nil, make([]byte, 12), b[plainBytes:], b[:plainBytes])
		want := append(append([]byte{0, 0, 0, 1, 0, 0, 0, 2, 4}, make([]byte, 31)...), "state"...)
		if err != nil || !bytes.Equal(body, want) {
			t.Fatalf("snapshot holds %x, %v, want %x", body, err, want)
		}
	}
	if len(salts) != 3 {
		t.Fatal("two snapshots share a salt")
	}
}
