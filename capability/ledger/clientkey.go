package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// A client key is the public half of a device's key that an administrator has registered. Every request comes over a connection that proves its key, so a registered one is known before it asks for anything:
// the appliance can be told to serve registered keys alone. A key that is not registered is no worse proved, only nobody here has said whose it is.

// MaxClientKeys that one appliance keeps: more than it has devices in most places, and 1 MiB of a snapshot.
const MaxClientKeys = 8192

// ClientKey is a registered key. What is kept is its digest: connections show the key itself.
type ClientKey struct {
	Key   capability.Digest `cbor:"1,keyasint,omitzero"` // SHA-256 of the DER SubjectPublicKeyInfo: the value of a DEVICE_KEY
	Kind  wire.KeyKind      `cbor:"2,keyasint,omitzero"`
	Name  string            `cbor:"3,keyasint,omitzero"` // for people; may be empty, and two may have the same
	Since capability.Time   `cbor:"4,keyasint,omitzero"`
}

// Registered: this key is registered from now on, or with Removed is not any more; then only its digest is said.
type Registered struct {
	Key     ClientKey `cbor:"1,keyasint"`
	Removed bool      `cbor:"2,keyasint,omitzero"`
	By      string    `cbor:"3,keyasint,omitzero"`

	Spent capability.Seconds `cbor:"4,keyasint,omitzero"` // of the ration of moves of client keys, on the lease clock, after the one that this needed; zero: it needed none
}

// RegisterKey registers a key, or gives a registered one another name. Registering it again as it is changes nothing.
type RegisterKey struct {
	Key  capability.Digest
	Kind wire.KeyKind
	Name string
	By   string
}

// RemoveKey ends a registration.
type RemoveKey struct {
	Key capability.Digest
	By  string
}

func (RegisterKey) command() {}
func (RemoveKey) command()   {}

// ClientKeys are the registered keys, by their digests; a copy.
func (l *Ledger) ClientKeys() []ClientKey { return slices.Clone(l.keys) }

// ClientKey is a registered key, if that is one.
func (l *Ledger) ClientKey(key capability.Digest) (ClientKey, bool) {
	at, here := l.keyAt(key)
	if !here {
		return ClientKey{}, false
	}
	return l.keys[at], true
}

func (l *Ledger) keyAt(key capability.Digest) (at int, here bool) {
	return slices.BinarySearchFunc(l.keys, key, func(k ClientKey, key capability.Digest) int { return bytes.Compare(k.Key[:], key[:]) })
}

// ServesRegistered says that registered keys are served and no others.
func (l *Ledger) ServesRegistered() bool { return l.changed(ClientKeysOnly) == "true" }

// strange says that a key is not served, because registered keys alone are.
func (l *Ledger) strange(key capability.Digest) bool {
	if !l.ServesRegistered() {
		return false
	}
	_, here := l.keyAt(key)
	return !here
}

func (l *Ledger) registerKey(now Now, c RegisterKey) (Decision, error) {
	k := ClientKey{Key: c.Key, Kind: c.Kind, Name: c.Name, Since: now.Wall}
	at, here := l.keyAt(c.Key)
	if here {
		if k.Since = l.keys[at].Since; k == l.keys[at] {
			return Decision{}, nil
		}
	}
	if !here && len(l.keys) >= MaxClientKeys {
		return Decision{}, malformed("key", "there are %d registered keys, and no more are kept", len(l.keys))
	}
	return l.decidedKey(now, &Registered{Key: k, By: c.By})
}

func (l *Ledger) removeKey(now Now, c RemoveKey) (Decision, error) {
	if _, here := l.keyAt(c.Key); !here {
		return Decision{}, capability.Refuse(capability.ErrNotFound, "", "no client key with the SHA-256 %X is registered", c.Key)
	}
	spent, err := l.keyMove(now, "")
	if err != nil {
		return Decision{}, err
	}
	d, err := l.decidedKey(now, &Registered{Key: ClientKey{Key: c.Key}, Removed: true, By: c.By, Spent: spent})
	// As with logins: what an administrator takes away stays away, whatever older copy of the disk is put back.
	d.Move = err == nil && spent != 0
	return d, err
}

func (l *Ledger) decidedKey(now Now, f *Registered) (Decision, error) {
	if err := checkBy(f.By); err != nil {
		return Decision{}, err
	}
	if err := l.keyFact(f, now.Wall); err != nil {
		return Decision{}, malformed("key", "%v", err)
	}
	return l.decided(now, Entry{Registered: f}), nil
}

// keyFact says why a fact about a client key cannot be.
func (l *Ledger) keyFact(f *Registered, now capability.Time) error {
	at, here := l.keyAt(f.Key.Key)
	if err := capability.CheckText(f.By); err != nil {
		return err
	}
	if f.Spent != 0 && !f.Removed {
		return fmt.Errorf("%X is registered with a move", f.Key.Key)
	}
	if f.Removed {
		if !here || f.Key != (ClientKey{Key: f.Key.Key}) {
			return fmt.Errorf("%X is removed and was not here so", f.Key.Key)
		}
		return nil
	}
	since := now
	if here {
		since = l.keys[at].Since
	}
	switch {
	case f.Key.Since != since || here && f.Key == l.keys[at]:
		return fmt.Errorf("%X is registered since %s", f.Key.Key, f.Key.Since)
	case here && f.Key.Kind != l.keys[at].Kind:
		return fmt.Errorf("%X is %s, and becomes %s", f.Key.Key, l.keys[at].Kind, f.Key.Kind)
	case !here && len(l.keys) >= MaxClientKeys:
		return fmt.Errorf("%d are registered, and no more are kept", len(l.keys))
	}
	return f.Key.validate()
}

func (k *ClientKey) validate() error {
	if k.Key == (capability.Digest{}) || !k.Kind.Taken() {
		return errors.New("it is no key of a client")
	}
	if len(k.Name) > capability.MaxName {
		return fmt.Errorf("a name of %d bytes where at most %d are allowed", len(k.Name), capability.MaxName)
	}
	return capability.CheckText(k.Name)
}

func (l *Ledger) applyRegistered(f *Registered) error {
	if err := l.keyFact(f, l.now.Wall); err != nil {
		return err
	}
	if err := l.applyKeyMove(f.Spent); err != nil {
		return err
	}
	at, here := l.keyAt(f.Key.Key)
	switch {
	case f.Removed:
		l.keys = slices.Delete(l.keys, at, at+1)
	case here:
		l.keys[at] = f.Key
	default:
		l.keys = slices.Insert(l.keys, at, f.Key)
	}
	return nil
}

func (l *Ledger) checkKeys() error {
	if len(l.keys) > MaxClientKeys {
		return corrupt("%d client keys where at most %d are kept", len(l.keys), MaxClientKeys)
	}
	for n, k := range l.keys {
		if err := k.validate(); err != nil {
			return corrupt("client key %X: %w", k.Key, err)
		}
		if n > 0 && bytes.Compare(l.keys[n-1].Key[:], k.Key[:]) >= 0 || k.Since <= 0 || k.Since > l.now.Wall {
			return corrupt("client key %X is out of order, or registered %s", k.Key, k.Since)
		}
	}
	return nil
}

// words say which key, and whose it is.
func (f *Registered) words() string {
	if f.Removed || f.Key.Name == "" {
		return fmt.Sprintf("%X", f.Key.Key)
	}
	return fmt.Sprintf("%s, %X", f.Key.Name, f.Key.Key)
}
