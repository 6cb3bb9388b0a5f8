package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"
)

// half is a key pair in a token. Package github.com/miekg/pkcs11 was chosen because it is the C interface and nothing more, with its headers beside it; the wrappers above
// it know no EdDSA.
type half struct {
	ctx     *pkcs11.Ctx
	session pkcs11.SessionHandle
	private pkcs11.ObjectHandle
	public  []byte
}

// Numbers of PKCS#11 3.0 that the package does not have yet: CKK_EC_EDWARDS, CKM_EC_EDWARDS_KEY_PAIR_GEN and CKM_EDDSA.
const (
	keyEdwards  uint = 0x40
	makeEdwards uint = 0x1055
	signEdwards uint = 0x1057
)

// edwards25519 is its OID as a DER value: CKA_EC_PARAMS of an Ed25519 key.
func edwards25519() []byte { return []byte{0x06, 0x03, 0x2b, 0x65, 0x70} }

// openToken opens the token of that label with its PIN, and finds the key; without one it makes it, if it may.
func openToken(module, label, key string, pin []byte, generate bool) (_ *half, err error) {
	h := &half{ctx: pkcs11.New(module)}
	if h.ctx == nil {
		return nil, fmt.Errorf("%s is no PKCS#11 driver", module)
	}
	if err := h.ctx.Initialize(); err != nil {
		h.ctx.Destroy()
		return nil, fmt.Errorf("start %s: %w", module, err)
	}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	slot, err := h.slot(label)
	if err != nil {
		return nil, err
	}
	if h.session, err = h.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION); err != nil {
		return nil, fmt.Errorf("open the token %q: %w", label, err)
	}
	if err := h.ctx.Login(h.session, pkcs11.CKU_USER, string(pin)); err != nil {
		return nil, fmt.Errorf("log in to the token %q: %w", label, err)
	}
	if err = h.find(key); errors.Is(err, errNoKey) && generate {
		if err = h.generate(key); err == nil {
			err = h.find(key)
		}
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (h *half) slot(label string) (uint, error) {
	slots, err := h.ctx.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("list the tokens: %w", err)
	}
	for _, s := range slots {
		if info, err := h.ctx.GetTokenInfo(s); err == nil && info.Label == label {
			return s, nil
		}
	}
	return 0, fmt.Errorf("none of %d tokens has the label %q", len(slots), label)
}

var errNoKey = errors.New("the token has no Ed25519 key of that label")

// one is the object of a class with the key's label. Two of a kind would leave open which one signs.
func (h *half) one(class uint, key string) (pkcs11.ObjectHandle, error) {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyEdwards), pkcs11.NewAttribute(pkcs11.CKA_LABEL, key)}
	if err := h.ctx.FindObjectsInit(h.session, template); err != nil {
		return 0, fmt.Errorf("look for the key %q: %w", key, err)
	}
	found, _, err := h.ctx.FindObjects(h.session, 2)
	if err = errors.Join(err, h.ctx.FindObjectsFinal(h.session)); err != nil {
		return 0, fmt.Errorf("look for the key %q: %w", key, err)
	}
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("%w: %q", errNoKey, key)
	case 1:
		return found[0], nil
	}
	return 0, fmt.Errorf("the token has more than one key %q", key)
}

func (h *half) find(key string) (err error) {
	if h.private, err = h.one(pkcs11.CKO_PRIVATE_KEY, key); err != nil {
		return err
	}
	public, err := h.one(pkcs11.CKO_PUBLIC_KEY, key)
	if err != nil {
		return err
	}
	got, err := h.ctx.GetAttributeValue(h.session, public, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil)})
	if err != nil || len(got) != 1 {
		return fmt.Errorf("read the public key %q: %w", key, err)
	}
	// A DER OCTET STRING, or the bytes alone: both are in use.
	point := got[0].Value
	if len(point) == 2+ed25519.PublicKeySize && point[0] == 0x04 && point[1] == ed25519.PublicKeySize {
		point = point[2:]
	}
	if len(point) != ed25519.PublicKeySize {
		return fmt.Errorf("the public key %q has %d bytes where %d are wanted", key, len(point), ed25519.PublicKeySize)
	}
	h.public = slices.Clone(point)
	return nil
}

// generate makes the pair in the token, from where its private half never comes.
func (h *half) generate(key string) error {
	public := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyEdwards),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true),
		pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, edwards25519()), pkcs11.NewAttribute(pkcs11.CKA_LABEL, key),
	}
	private := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyEdwards),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true), pkcs11.NewAttribute(pkcs11.CKA_LABEL, key),
	}
	if _, _, err := h.ctx.GenerateKeyPair(h.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(makeEdwards, nil)}, public, private); err != nil {
		return fmt.Errorf("make the key %q in the token: %w", key, err)
	}
	return nil
}

// Public is the Ed25519 public key.
func (h *half) Public() []byte { return h.public }

// Sign signs a message, pure Ed25519 (CKM_EDDSA without parameters).
func (h *half) Sign(message []byte) ([]byte, error) {
	if err := h.ctx.SignInit(h.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(signEdwards, nil)}, h.private); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	sig, err := h.ctx.Sign(h.session, message)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return sig, nil
}

func (h *half) close() {
	h.ctx.Finalize()
	h.ctx.Destroy()
}
