package main

import (
	"crypto"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/storage"
	"github.com/leasehold/leasehold/tpm"
)

// unlock is what opens the producer's keys: the passphrase, or nothing that anyone types where they are sealed to a TPM; and the token, where one is named.
func (f *flags) unlock() (u backoffice.Unlock, err error) {
	// Where that cannot be seen, opening the file says why.
	if sealed, _ := backoffice.SealedToTPM(backoffice.Dir(f.dir)); sealed {
		u.TPM = chip(f.tpm)
	} else if u.Passphrase, err = f.passphrase.read(false); err != nil {
		return u, err
	}
	return u, f.withToken(&u)
}

func (f *flags) withToken(u *backoffice.Unlock) error {
	if f.token == "" {
		return nil
	}
	t := &token{socket: f.token}
	public, err := t.ask(askPublic, nil, ed25519.PublicKeySize)
	if err != nil {
		return f.coded(err)
	}
	t.public = public
	u.Token = t
	return nil
}

// chip is the address of a TPM that seals keys. It is opened for each use: nobody else waits for it meanwhile.
type chip string

var _ storage.Sealer = chip("")

// Seal is that of a TPM in any boot state.
func (c chip) Seal(secret []byte, epoch uint64) (blob []byte, err error) {
	d, err := tpm.Open(string(c))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Setup().Seal(secret, epoch)
}

// Unseal opens what Seal sealed.
func (c chip) Unseal(blob []byte, epoch uint64) (secret []byte, err error) {
	d, err := tpm.Open(string(c))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Setup().Unseal(blob, epoch)
}

// What freehold-token is asked, over a Unix socket, one question a connection: a 4-byte big-endian length, a byte for the question, and what is to be signed. It answers with
// a 4-byte length, a byte that is 0 for yes, and the public key or the signature; or 1 and why not.
const (
	askPublic byte = 1
	askSign   byte = 2

	maxTokenAnswer = 1024
	tokenTimeout   = 30 * time.Second
)

// token signs with the Ed25519 half of a signing key that freehold-token holds.
type token struct {
	socket string
	public ed25519.PublicKey
}

func (t *token) Public() crypto.PublicKey { return t.public }

// Sign signs a message. What comes back is verified where it is used.
func (t *token) Sign(_ io.Reader, message []byte, o crypto.SignerOpts) ([]byte, error) {
	if o.HashFunc() != 0 {
		return nil, errors.New("the token signs messages, not digests")
	}
	return t.ask(askSign, message, ed25519.SignatureSize)
}

func (t *token) ask(what byte, message []byte, want int) ([]byte, error) {
	no := func(err error) error { return fmt.Errorf("%w: %s: %w", backoffice.ErrToken, t.socket, err) }
	if len(message) > 2*capability.MaxFile {
		return nil, no(fmt.Errorf("a message of %d bytes", len(message)))
	}
	conn, err := net.DialTimeout("unix", t.socket, tokenTimeout)
	if err != nil {
		return nil, no(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(now().Add(capability.Seconds(tokenTimeout / time.Second)).Std()); err != nil {
		return nil, no(err)
	}
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(1+len(message))), what)
	if _, err := conn.Write(append(frame, message...)); err != nil {
		return nil, no(err)
	}
	var head [5]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, no(err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > maxTokenAnswer {
		return nil, no(fmt.Errorf("an answer of %d bytes", n))
	}
	b := make([]byte, n-1)
	if _, err := io.ReadFull(conn, b); err != nil {
		return nil, no(err)
	}
	switch {
	case head[4] != 0:
		return nil, no(fmt.Errorf("it says %q", b))
	case len(b) != want:
		return nil, no(fmt.Errorf("an answer of %d bytes where %d are wanted", len(b), want))
	}
	return b, nil
}
