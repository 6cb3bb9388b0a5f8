package storage

import (
	"crypto"
	"crypto/ed25519"
	"fmt"
	"io"
	"sync"
)

// Page is the memory that the long-lived secrets of a process are kept in: root secrets, what is derived from them to last, the key that signs for this run.
// It is not swapped and not in a core dump, and where the kernel has memfd_secret(2) it is in no other process's reach either, root included: the
// kernel takes it out of its own map. A nil *Page is ordinary memory. A Page may be used by several goroutines.
//
// It holds what a secret is at rest. Each use copies it into registers, stack and heap: uses belong inside Guard.
type Page struct {
	mu    sync.Mutex
	bytes []byte
	used  [pageBytes / slotBytes]bool
	weak  error
}

const (
	pageBytes = 4096
	slotBytes = 64 // an Ed25519 private key; 64 of them are many more than a process has
)

// NewPage gives a page, the best there is; Weakness says what it lacks.
func NewPage() *Page {
	p := &Page{}
	var hidden, locked error
	if p.bytes, hidden = hiddenMemory(); hidden == nil {
		return p
	}
	if p.bytes, locked = lockedMemory(); locked == nil {
		p.weak = fmt.Errorf("keys are in locked memory that root can read: memfd_secret: %w", hidden)
		return p
	}
	p.bytes = make([]byte, pageBytes)
	p.weak = fmt.Errorf("keys are in ordinary memory, which may be swapped: memfd_secret: %w; %w", hidden, locked)
	return p
}

// Weakness is nil for a page that only this process can read; else it says in a sentence what was not possible here.
func (p *Page) Weakness() error { return p.weak }

// Clear erases every secret. Nothing that has one may be used after it.
func (p *Page) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.bytes)
	clear(p.used[:])
}

// take gives n bytes, zero, at most slotBytes; an error when the page is full.
func (p *Page) take(n int) ([]byte, error) {
	if p == nil {
		return make([]byte, n), nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.used {
		if at := i * slotBytes; !p.used[i] {
			p.used[i] = true
			return p.bytes[at : at+n : at+slotBytes], nil
		}
	}
	return nil, fmt.Errorf("the page of keys is full: it holds %d", len(p.used))
}

// drop erases what take gave, and makes room.
func (p *Page) drop(b []byte) {
	clear(b)
	if p == nil || len(b) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.used {
		if &p.bytes[i*slotBytes] == &b[0] {
			p.used[i] = false
		}
	}
}

// SigningKey draws an Ed25519 key that stays on the page until it is cleared.
func (p *Page) SigningKey(rand io.Reader) (crypto.Signer, error) {
	private, err := p.take(ed25519.PrivateKeySize)
	if err != nil {
		return nil, err
	}
	k := &signingKey{private: private, public: make(ed25519.PublicKey, ed25519.PublicKeySize)}
	Guard(func() {
		seed := private[:ed25519.SeedSize]
		if _, err = io.ReadFull(rand, seed); err == nil {
			copy(private, ed25519.NewKeyFromSeed(seed))
		}
	})
	if err != nil {
		p.drop(private)
		return nil, fmt.Errorf("draw a signing key: %w", err)
	}
	copy(k.public, private[ed25519.SeedSize:])
	return k, nil
}

// signingKey is an ed25519.PrivateKey on a page.
type signingKey struct {
	private []byte
	public  ed25519.PublicKey
}

func (k *signingKey) Public() crypto.PublicKey { return k.public }

// Sign is ed25519.PrivateKey's. The package signs with a copy: it remembers keys by their address, which must be of the heap.
func (k *signingKey) Sign(rand io.Reader, message []byte, o crypto.SignerOpts) ([]byte, error) {
	signature := make([]byte, 0, ed25519.SignatureSize)
	var err error
	Guard(func() {
		var s []byte
		private := make(ed25519.PrivateKey, ed25519.PrivateKeySize)
		copy(private, k.private)
		s, err = private.Sign(rand, message, o)
		signature = append(signature, s...)
		clear(private)
	})
	return signature, err
}
