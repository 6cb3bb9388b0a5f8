package console

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"strings"
	"sync"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

// What is kept of a password is an Argon2id hash of what the TPM makes of it, encrypted with a key that the TPM makes too. Entries are read by auditors and travel in backups: without this TPM nobody can try
// passwords against them, and nobody sees even the hash.

// passwords makes and judges what is kept.
type passwords struct {
	pepper  func([]byte) ([32]byte, error)
	hashing web.Hashing
	tpm     chan struct{} // one at a time asks the TPM, which has other work

	mu  sync.Mutex
	key *[32]byte // that verifiers are encrypted with; nil: not asked for yet
}

func newPasswords(pepper func([]byte) ([32]byte, error)) *passwords {
	return &passwords{pepper: pepper, hashing: web.NewHashing(), tpm: make(chan struct{}, 1)}
}

// peppered is what the TPM makes of a text of a kind.
func (p *passwords) peppered(ctx context.Context, kind, text string) (out [32]byte, err error) {
	if p.pepper == nil {
		return out, errors.New("no TPM is asked about passwords")
	}
	select {
	case p.tpm <- struct{}{}:
		defer func() { <-p.tpm }()
		return p.pepper([]byte(kind + "\x00" + text))
	case <-ctx.Done():
		return out, ctx.Err()
	}
}

// hashed is the text that is hashed in place of a password.
func (p *passwords) hashed(ctx context.Context, password string) (string, error) {
	b, err := p.peppered(ctx, "password", password)
	return hex.EncodeToString(b[:]), err
}

// sealing is the cipher for verifiers.
func (p *passwords) sealing(ctx context.Context) (cipher.AEAD, error) {
	p.mu.Lock()
	key := p.key
	p.mu.Unlock()
	if key == nil {
		b, err := p.peppered(ctx, "verifiers", "")
		if err != nil {
			return nil, err
		}
		key = &b
		p.mu.Lock()
		p.key = key
		p.mu.Unlock()
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// boundTo binds a verifier to its login.
func boundTo(name string) []byte { return []byte("leasehold verifier v1\x00" + strings.ToLower(name)) }

// make is what may be kept of a password of a login. Its error is a *capability.Malformed where the password will not do.
func (p *passwords) make(ctx context.Context, c *Console, name, password string) ([]byte, error) {
	if err := web.CheckPassword(password, name); err != nil {
		return nil, &capability.Malformed{Field: "password", Cause: err.Error()}
	}
	text, err := p.hashed(ctx, password)
	if err != nil {
		return nil, err
	}
	hash, err := p.hashing.Hash(ctx, text, c.Appliance.Rand)
	if err != nil {
		return nil, err
	}
	seal, err := p.sealing(ctx)
	if err != nil {
		return nil, err
	}
	return seal.Seal(nil, nil, []byte(hash), boundTo(name)), nil
}

// fits says whether a password is the one of a login. It takes as long for a login that is none.
func (p *passwords) fits(ctx context.Context, g *ledger.Login, password string) (bool, error) {
	if len(password) > web.MaxPassword {
		password = password[:web.MaxPassword+1] // none is as long
	}
	text, err := p.hashed(ctx, password)
	if err != nil {
		return false, err
	}
	seal, err := p.sealing(ctx)
	if err != nil {
		return false, err
	}
	hash, err := seal.Open(nil, nil, g.Password, boundTo(g.Name))
	if err != nil {
		hash = nil // no login, or one that another TPM judges: no password fits
	}
	return p.hashing.Fits(ctx, text, string(hash))
}
