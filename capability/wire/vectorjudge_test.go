package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// How each kind of vector is judged.

// class is the word of SPEC.md 16 for an error.
func class(err error) string {
	var m *capability.Malformed
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrSize):
		return "size"
	case errors.Is(err, ErrCut):
		return "cut"
	case errors.Is(err, ErrKind):
		return "kind"
	case errors.Is(err, ErrType):
		return "type"
	case errors.Is(err, ErrOtherProducer):
		return "other-producer"
	case errors.Is(err, ErrRevoked):
		return "revoked"
	case errors.Is(err, errNotOurs):
		return "not-ours"
	case errors.Is(err, errLate):
		return "late"
	case errors.Is(err, ErrOneSignature):
		return "one-signature"
	case errors.Is(err, ErrSignature):
		return "signature"
	case errors.Is(err, ErrMalformed), errors.Is(err, ErrFrame), errors.Is(err, capability.ErrActivationID), errors.As(err, &m):
		return "malformed"
	}
	return "unknown"
}

// judgeVector reads b as its kind and checks all that the vector's keys allow.
func judgeVector(v *vector, b []byte) error {
	c := New()
	switch v.Kind {
	case "request":
		var r capability.Request
		return c.DecodeRequest(b, &r, capability.MaxFrame)
	case "usage":
		_, err := c.DecodeUsage(b)
		return err
	case "return":
		var r capability.Return
		if err := c.Decode(b, &r, capability.MaxFrame); err != nil {
			return err
		}
		whole := capability.Request{Version: 1, Hosts: []hostid.ID{client()}, Correlation: correlation(), Returns: []capability.Return{r}}
		if err := whole.Validate(); err != nil {
			return err
		}
		d := c.ReturnDigest(r)
		if v.Expect == "ok" && v.Digest != hex.EncodeToString(d[:]) {
			return fmt.Errorf("digest %x", d)
		}
		if v.Keys["ak"] != "" {
			return judgeCounted(unhex(v.Keys["ak"]), r.Proof, d[:])
		}
		if v.Keys["device"] != "" {
			return VerifyDeviceProof(unhex(v.Keys["device"]), r.Proof, d)
		}
		return nil
	case "request-file":
		s, err := c.ReadRequest(b)
		if err != nil {
			return err
		}
		if v.Digest != "" && v.Digest != hex.EncodeToString(s.Digest[:]) {
			return fmt.Errorf("digest %x", s.Digest)
		}
		if s.OfClient() {
			_, err := VerifyClient(s)
			return err
		}
		if s.Alg == AlgEd25519 {
			return judgeDevice(s)
		}
		return judgeRequest(s)
	case "response-file":
		trust, err := c.DecodeTrust(unhex(v.Keys["trust"]))
		if err != nil {
			return fmt.Errorf("the vector's own trust bundle: %v", err)
		}
		s, err := c.ReadResponse(b)
		if err != nil {
			return err
		}
		k, _, err := c.Verify(trust, s)
		if err != nil {
			return err
		}
		if err := c.StillCounts(k, known(v)); err != nil {
			return err
		}
		before, after := judgeReceiver(c, v, s.Clear)
		if before != nil {
			return before
		}
		key, err := unwrapVector(v, s)
		if err != nil {
			return err
		}
		if _, err = c.Open(s, key); err != nil {
			return err
		}
		return after
	case "trust":
		_, err := c.DecodeTrust(b)
		return err
	case "chain":
		trust, err := c.DecodeTrust(unhex(v.Keys["trust"]))
		if err != nil {
			return fmt.Errorf("the vector's own trust bundle: %v", err)
		}
		var ch Chain
		if err := c.Decode(b, &ch, capability.MaxFrame); err != nil {
			return err
		}
		k, err := c.SigningKey(trust, ch.Key)
		if err != nil {
			return err
		}
		if err := c.StillCounts(k, known(v)); err != nil {
			return err
		}
		_, err = c.VerifyChain(trust, &ch, judgeServing)
		return err
	case "key-request":
		_, err := c.ReadKeyRequest(b)
		return err
	case "update":
		trust, err := c.DecodeTrust(unhex(v.Keys["trust"]))
		if err != nil {
			return fmt.Errorf("the vector's own trust bundle: %v", err)
		}
		_, k, err := c.OpenUpdate(trust, b)
		if err != nil {
			return err
		}
		return c.StillCounts(k, known(v))
	case "certified-key":
		trust, err := c.DecodeTrust(unhex(v.Keys["trust"]))
		if err != nil {
			return fmt.Errorf("the vector's own trust bundle: %v", err)
		}
		_, _, err = c.ReadCertifiedKey(trust, b)
		return err
	case "answer":
		var a Answer
		if err := c.Decode(b, &a, capability.MaxFrame); err != nil {
			return err
		}
		r, _, err := c.VerifyAnswer(unhex(v.Keys["serving"]), &a)
		if err != nil {
			return err
		}
		return judgeAsker(c, v, r)
	case "answer-file":
		trust, err := c.DecodeTrust(unhex(v.Keys["trust"]))
		if err != nil {
			return fmt.Errorf("the vector's own trust bundle: %v", err)
		}
		f, err := c.ReadAnswerFile(b)
		if err != nil {
			return err
		}
		k, err := c.SigningKey(trust, f.Chain.Key)
		if err != nil {
			return err
		}
		if err := c.StillCounts(k, known(v)); err != nil {
			return err
		}
		if _, err := c.VerifyChain(trust, &f.Chain, judgeServing); err != nil {
			return err
		}
		_, _, err = c.VerifyAnswer(f.Chain.Serving, &f.Answer)
		return err
	case "receipt":
		_, err := c.VerifyReceipt(unhex(v.Keys["ak"]), b, judgeServing)
		return err
	case "frame":
		kind, body, err := c.ReadFrame(bytes.NewReader(b))
		if err != nil {
			return err
		}
		if len(c.Frame(kind, rawItem(body))) != len(b) {
			return fmt.Errorf("%w: bytes after the frame", ErrMalformed)
		}
		return nil
	case "activation-id":
		return capability.ActivationID(b).Validate()
	case "text":
		return judgeText(v, b)
	}
	return fmt.Errorf("kind %q is not known", v.Kind)
}

// judgeText reads a text form; what is given back as it is, is none.
func judgeText(v *vector, b []byte) error {
	file, err := FromText(b)
	switch {
	case err != nil:
		return err
	case bytes.Equal(file, b) && len(b) > capability.MaxFile:
		return fmt.Errorf("%w: %d bytes", ErrSize, len(b))
	case bytes.Equal(file, b):
		return fmt.Errorf("%w: no text form", ErrKind)
	}
	if sum := sumOf(file); v.Digest != "" && v.Digest != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("digest %x", sum)
	}
	return nil
}

// known are the keys that the reader of a vector knows as revoked.
func known(v *vector) []capability.Digest {
	if v.Keys["revoked"] == "" {
		return nil
	}
	return []capability.Digest{capability.Digest(unhex(v.Keys["revoked"]))}
}
