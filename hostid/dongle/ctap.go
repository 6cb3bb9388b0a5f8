package dongle

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/leasehold/leasehold/hostid"
)

// Commands of CTAP 2, which is CBOR in a canonical form of its own: CTAP 2.1, 6 and 8.
const (
	makeCredential byte = 0x01
	getAssertion   byte = 0x02
	getInfo        byte = 0x04
)

const (
	es256      = -7
	publicKey  = "public-key"
	product    = "leasehold"
	defaultMax = 1024 // bytes of a message, where a key does not say
)

// Info is what a key says of itself: CTAP 2.1, 6.4.
type Info struct {
	Versions   []string        `cbor:"1,keyasint"` // "FIDO_2_0" and later
	AAGUID     []byte          `cbor:"3,keyasint"` // make and model
	Options    map[string]bool `cbor:"4,keyasint"`
	MaxMessage uint            `cbor:"5,keyasint"` // bytes
}

// check says whether a dongle can be made of the key.
func (i Info) check() error {
	if !slices.ContainsFunc(i.Versions, func(v string) bool { return v == "FIDO_2_0" || v == "FIDO_2_1" || v == "FIDO_2_2" || v == "FIDO_2_3" }) {
		return fmt.Errorf("%w: it speaks %q and no FIDO2", ErrNotSupported, i.Versions)
	}
	if len(i.AAGUID) != 16 {
		return fmt.Errorf("%w: an AAGUID of %d bytes where there must be 16", ErrMalformed, len(i.AAGUID))
	}
	return nil
}

type party struct {
	ID   string `cbor:"id"`
	Name string `cbor:"name,omitempty"`
}

type user struct {
	ID   []byte `cbor:"id"`
	Name string `cbor:"name"`
}

type algorithm struct {
	Alg  int    `cbor:"alg"`
	Type string `cbor:"type"`
}

type descriptor struct {
	ID   []byte `cbor:"id"`
	Type string `cbor:"type"`
}

type makeRequest struct {
	Digest     []byte      `cbor:"1,keyasint"`
	Party      party       `cbor:"2,keyasint"`
	User       user        `cbor:"3,keyasint"`
	Algorithms []algorithm `cbor:"4,keyasint"`
}

type makeReply struct {
	AuthenticatorData []byte `cbor:"2,keyasint"`
}

type assertRequest struct {
	Party   string          `cbor:"1,keyasint"`
	Digest  []byte          `cbor:"2,keyasint"`
	Allow   []descriptor    `cbor:"3,keyasint"`
	Options map[string]bool `cbor:"5,keyasint"`
}

type assertReply struct {
	Credential        *descriptor `cbor:"1,keyasint"` // may be left out where only one was allowed
	AuthenticatorData []byte      `cbor:"2,keyasint"`
	Signature         []byte      `cbor:"3,keyasint"`
}

// Info asks a key what it is.
func (k *Key) Info(ctx context.Context) (Info, error) {
	ctx, end := silent(ctx)
	defer end()
	if err := k.during(ctx, func() error { return k.introduce(ctx) }); err != nil {
		return Info{}, fmt.Errorf("ask a security key what it is: %w", err)
	}
	return k.info, nil
}

func (k *Key) introduce(ctx context.Context) error {
	if k.known {
		return nil
	}
	info := Info{MaxMessage: defaultMax}
	if err := k.ask(ctx, getInfo, nil, &info, nil); err != nil {
		return err
	}
	if err := info.check(); err != nil {
		return err
	}
	info.MaxMessage = min(info.MaxMessage, MaxMessage)
	k.info, k.known = info, true
	return nil
}

// Enroll makes a new pair of keys in a security key, for which somebody must touch it; touch is called when it waits for that, and may be nil. Then it asks
// the key twice in silence: one that wants to be touched, or its PIN, for each answer would be a dongle that stops service at night. The counter is the last
// one it showed, for hostid.Watch or Verify. Nothing is kept in the key. Enrolled again it is another dongle, and the old credential stays good too.
func (k *Key) Enroll(ctx context.Context, host hostid.ID, touch func()) (c hostid.Credential, counter uint32, err error) {
	if err := k.enroll(ctx, touch, &c); err != nil {
		return hostid.Credential{}, 0, fmt.Errorf("enroll a security key: %w", err)
	}
	first, err := k.checked(ctx, c, host, 0)
	if err == nil {
		counter, err = k.checked(ctx, c, host, first)
	}
	if err != nil {
		return hostid.Credential{}, 0, fmt.Errorf("ask a security key that was just enrolled: %w", err)
	}
	return c, counter, nil
}

// checked asks the key a question of our own and judges the answer.
func (k *Key) checked(ctx context.Context, c hostid.Credential, host hostid.ID, last uint32) (counter uint32, err error) {
	challenge := hostid.Challenge{Purpose: hostid.ToEnroll, Host: host}
	_, _ = rand.Read(challenge.Nonce[:]) // never fails
	a, err := k.Prove(ctx, c, challenge)
	if err != nil {
		return 0, err
	}
	counter, err = judged(c, challenge, a, last)
	switch {
	case errors.Is(err, hostid.ErrCopied):
		err = fmt.Errorf("%w: its counter stands at %d, so a copy could not be told from it", ErrNotSupported, last)
	case errors.Is(err, hostid.ErrCopyable):
		err = fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	return counter, err
}

func (k *Key) enroll(ctx context.Context, touch func(), c *hostid.Credential) error {
	if _, err := k.Info(ctx); err != nil {
		return err
	}
	if k.info.Options["alwaysUv"] {
		return fmt.Errorf("%w for every answer", ErrPIN)
	}
	if touch == nil {
		touch = func() {}
	}
	// What is signed here is the maker's statement, which is not judged, so the digest says nothing.
	var digest [32]byte
	_, _ = rand.Read(digest[:])
	request := makeRequest{
		Digest:     digest[:],
		Party:      party{hostid.RelyingParty, product},
		User:       user{[]byte(product), product},
		Algorithms: []algorithm{{es256, publicKey}},
	}
	ctx, end := context.WithTimeout(ctx, TouchWithin)
	defer end()
	var reply makeReply
	if err := k.during(ctx, func() error { return k.ask(ctx, makeCredential, request, &reply, touch) }); err != nil {
		return err
	}
	made, err := hostid.Enrolled(reply.AuthenticatorData)
	switch {
	case errors.Is(err, hostid.ErrCopyable):
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	case !bytes.Equal(made.AAGUID[:], k.info.AAGUID):
		return fmt.Errorf("%w: it is model %x and says %x", ErrMalformed, k.info.AAGUID, made.AAGUID)
	}
	made.Vendor, made.Product, made.Serial = k.vendor, k.product, k.serial
	*c = made
	return nil
}

// Prove asks a key for its answer to a challenge, without anybody touching it, and leaves it to whoever drew the nonce to judge the answer.
func (k *Key) Prove(ctx context.Context, c hostid.Credential, challenge hostid.Challenge) (hostid.Assertion, error) {
	ctx, end := silent(ctx)
	defer end()
	var reply assertReply
	err := k.during(ctx, func() error {
		if err := k.introduce(ctx); err != nil {
			return err
		}
		digest := challenge.Digest()
		return k.ask(ctx, getAssertion, assertRequest{
			Party:   hostid.RelyingParty,
			Digest:  digest[:],
			Allow:   []descriptor{{c.ID, publicKey}},
			Options: map[string]bool{"up": false},
		}, &reply, nil)
	})
	if err != nil {
		return hostid.Assertion{}, fmt.Errorf("ask a security key: %w", err)
	}
	if reply.Credential != nil && !bytes.Equal(reply.Credential.ID, c.ID) {
		return hostid.Assertion{}, fmt.Errorf("ask a security key: %w: it answers for another credential", ErrOtherKey)
	}
	return hostid.Assertion{AuthenticatorData: reply.AuthenticatorData, Signature: reply.Signature}, nil
}

// ask does one command of CTAP 2.
func (k *Key) ask(ctx context.Context, command byte, request, reply any, touch func()) error {
	message := []byte{command}
	if request != nil {
		b, err := encode(request)
		if err != nil {
			return err
		}
		message = append(message, b...)
	}
	if k.known && uint(len(message)) > k.info.MaxMessage {
		return fmt.Errorf("%w: it takes messages of %d bytes and not %d", ErrNotSupported, k.info.MaxMessage, len(message))
	}
	b, err := k.command(ctx, message, touch)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return fmt.Errorf("%w: an empty answer", ErrMalformed)
	}
	if b[0] != 0 {
		return status(b[0])
	}
	return decode(b[1:], reply)
}

// status names an error of CTAP 2: CTAP 2.1, 8.2.
func status(code byte) error {
	switch code {
	case 0x06:
		return ErrBusy
	case 0x05, 0x27, 0x2d, 0x2f, 0x3a, 0x3b: // timeout, denied, canceled, user action timeout, action timeout, presence required
		return ErrTouch
	case 0x22, 0x2e: // invalid credential, no credentials
		return ErrOtherKey
	case 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x3c, 0x3f: // everything about PINs and fingers
		return fmt.Errorf("%w (status %#02x)", ErrPIN, code)
	case 0x01, 0x26, 0x2b, 0x2c: // command, algorithm or option not known
		return fmt.Errorf("%w: status %#02x", ErrNotSupported, code)
	}
	return fmt.Errorf("%w: status %#02x", ErrMalformed, code)
}

func encode(v any) ([]byte, error) {
	mode, err := cbor.CTAP2EncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(v)
}

// decode reads what a key sent. Keys add fields from version to version, so unknown ones are left alone; nothing here is hashed or signed as it stands.
func decode(b []byte, v any) error {
	mode, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		UTF8:             cbor.UTF8RejectInvalid,
		MaxNestedLevels:  8,
		MaxArrayElements: 64,
		MaxMapPairs:      64,
	}.DecMode()
	if err != nil {
		return err
	}
	if err := mode.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}
