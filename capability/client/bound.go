package client

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// Where a machine has no TPM, what only it shall read is encrypted under a key that its secondaries open: its UUID and a built-in network card weigh two each, its
// boot disk one, and what together weighs three opens. So there is a slot for each pair of them of different kinds, and any one slot is enough. None of them is a
// secret: whoever knows two of them opens a copy anywhere. It keeps a copy from working on another machine by itself, and says to whom it belongs.

const (
	boundFormat = 1
	boundLimit  = 64 << 10 // bytes of a bound file: slots for 16 IDs are 7 kB
	boundNeeds  = 3        // the weight that opens
	boundKey    = 32
	slotTag     = 8
)

// bound is a file that its machine opens.
type bound struct {
	Format uint8    `cbor:"1,keyasint,omitzero"`
	Salt   [16]byte `cbor:"2,keyasint,omitzero"`
	Marks  []mark   `cbor:"3,keyasint,omitempty"` // what it is bound to, in no form that tells it
	Slots  [][]byte `cbor:"4,keyasint,omitempty"` // each: which pair it is for, and the key
	Sealed []byte   `cbor:"5,keyasint,omitempty"`
}

// mark is one secondary of the machine that bound a file: its type, and two bytes by which that machine knows it again.
type mark struct {
	Type  hostid.Type `cbor:"1,keyasint,omitzero"`
	Check []byte      `cbor:"2,keyasint,omitempty"`
}

// unbound is what a file is bound to and this machine does not show.
type unbound struct {
	score, most int
	gone        []string
}

func (e *unbound) Error() string {
	if e.most == 0 {
		return "it is bound to no machine"
	}
	return fmt.Sprintf("it is bound to another machine, or this one was changed: not here are %s (score %d of %d, and %d are needed)", strings.Join(e.gone, ", "), e.score, e.most, boundNeeds)
}

// ErrTooLittle: a machine shows too little for anything to be bound to it.
var ErrTooLittle = errors.New("this machine shows too little of itself: two of a UUID of the board, a built-in network card and the serial number of its boot disk are needed, or a TPM")

// better says that to bind to this machine as it shows itself is worth as much as what a file is bound to, of which something is missing. An account that may not
// read all that the machine has must not make less of it.
func (e *unbound) better(m hostid.Machine) bool {
	var types []hostid.Type
	for _, id := range secondaries(m) {
		types = append(types, id.Type)
	}
	return len(e.gone) > 0 && weight(types...) >= e.most
}

// secondaries are the IDs of a machine that weigh something.
func secondaries(m hostid.Machine) (ids []hostid.ID) {
	for _, s := range m.Counts() {
		if s.ID.Type.Secondary() {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// weight is what IDs of these types weigh together.
func weight(types ...hostid.Type) int {
	ids := make([]hostid.ID, len(types))
	for i, t := range types {
		ids[i].Type = t
	}
	return hostid.Score(ids, ids)
}

// showsEnough says that something can be bound to a machine.
func showsEnough(m hostid.Machine) (enough bool) {
	pairs(secondaries(m), func(hostid.ID, hostid.ID) { enough = true })
	return enough
}

// kindOf is what people call an ID of a type.
func kindOf(t hostid.Type) string {
	switch t {
	case hostid.Ethernet:
		return "a network card"
	case hostid.Disk:
		return "a disk"
	}
	return "a UUID"
}

// pairs calls f for every two IDs that open.
func pairs(ids []hostid.ID, f func(a, b hostid.ID)) {
	for i, a := range ids {
		for _, b := range ids[i+1:] {
			if weight(a.Type, b.Type) >= boundNeeds {
				if b.String() < a.String() { // whichever was found first
					f(b, a)
				} else {
					f(a, b)
				}
			}
		}
	}
}

func slotKey(salt [16]byte, a, b hostid.ID) (tag, key []byte, err error) {
	out, err := hkdf.Key(sha256.New, []byte(a.String()+"\x00"+b.String()), salt[:], "leasehold bound slot v1", slotTag+boundKey)
	if err != nil {
		return nil, nil, err
	}
	return out[:slotTag], out[slotTag:], nil
}

func markOf(salt [16]byte, id hostid.ID) mark {
	h := sha256.New()
	h.Write([]byte("leasehold bound mark v1\x00"))
	h.Write(salt[:])
	h.Write([]byte(id.String()))
	return mark{id.Type, h.Sum(nil)[:2]}
}

// onceCipher is AES-256-GCM under a key that encrypts one thing.
func onceCipher(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// bind encrypts content to a machine. ErrTooLittle: it has no pair that opens.
func bind(codec *wire.Codec, m hostid.Machine, content []byte) ([]byte, error) {
	ids := secondaries(m)
	b := bound{Format: boundFormat}
	key := make([]byte, boundKey)
	rand.Read(b.Salt[:])
	rand.Read(key)
	var failed error
	pairs(ids, func(x, y hostid.ID) {
		tag, k, err := slotKey(b.Salt, x, y)
		if err == nil {
			var aead cipher.AEAD
			if aead, err = onceCipher(k); err == nil {
				b.Slots = append(b.Slots, aead.Seal(tag, make([]byte, aead.NonceSize()), key, tag))
			}
		}
		failed = errors.Join(failed, err)
	})
	if len(b.Slots) == 0 {
		return nil, ErrTooLittle
	}
	for _, id := range ids {
		b.Marks = append(b.Marks, markOf(b.Salt, id))
	}
	aead, err := onceCipher(key)
	if err = errors.Join(failed, err); err != nil {
		return nil, err
	}
	b.Sealed = aead.Seal(nil, make([]byte, aead.NonceSize()), content, b.Salt[:])
	return codec.Encode(b), nil
}

// unbind opens what bind made, and says what of it is missing here though it opens. An *unbound says why this machine does not open it.
func unbind(codec *wire.Codec, file []byte, m hostid.Machine) (content []byte, missing *unbound, err error) {
	var b bound
	if err := codec.Decode(file, &b, boundLimit); err != nil {
		return nil, nil, err
	}
	if b.Format != boundFormat {
		return nil, nil, fmt.Errorf("format %d where %d is known", b.Format, boundFormat)
	}
	ids := secondaries(m)
	no := b.missing(ids)
	pairs(ids, func(x, y hostid.ID) {
		tag, k, err := slotKey(b.Salt, x, y)
		if err != nil || content != nil {
			return
		}
		for _, s := range b.Slots {
			if len(s) > slotTag && bytes.Equal(s[:slotTag], tag) {
				content = b.open(k, s)
			}
		}
	})
	if content == nil {
		return nil, nil, no
	}
	return content, no, nil
}

func (b *bound) open(slotKey, slot []byte) []byte {
	aead, err := onceCipher(slotKey)
	if err != nil {
		return nil
	}
	key, err := aead.Open(nil, make([]byte, aead.NonceSize()), slot[slotTag:], slot[:slotTag])
	if err != nil {
		return nil
	}
	if aead, err = onceCipher(key); err != nil {
		return nil
	}
	content, err := aead.Open(nil, make([]byte, aead.NonceSize()), b.Sealed, b.Salt[:])
	if err != nil {
		return nil
	}
	return content
}

// missing says what the file is bound to and these IDs are not.
func (b *bound) missing(ids []hostid.ID) *unbound {
	e := &unbound{}
	var all, here []hostid.Type
	for _, m := range b.Marks {
		all = append(all, m.Type)
		if slices.ContainsFunc(ids, func(id hostid.ID) bool {
			return id.Type == m.Type && bytes.Equal(markOf(b.Salt, id).Check, m.Check)
		}) {
			here = append(here, m.Type)
		} else {
			e.gone = append(e.gone, kindOf(m.Type))
		}
	}
	e.score, e.most = weight(here...), weight(all...)
	return e
}

// hostsOf is what a request says of a machine: the identity that signs, then what it shows beside.
func hostsOf(first hostid.ID, m hostid.Machine) []hostid.ID {
	hosts := []hostid.ID{first}
	for _, id := range secondaries(m) {
		if len(hosts) < capability.MaxHosts && id != first {
			hosts = append(hosts, id)
		}
	}
	return hosts
}

// seal and unseal are AES-256-GCM under a key that encrypts many things: the nonce is drawn, and goes before.
func seal(key, content, about []byte) ([]byte, error) {
	aead, err := onceCipher(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, content, about), nil
}

func unseal(key, sealed, about []byte) ([]byte, error) {
	aead, err := onceCipher(key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, fmt.Errorf("%d bytes, cut short", len(sealed))
	}
	return aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], about)
}
