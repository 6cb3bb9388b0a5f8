package dongletest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"

	"github.com/fxamacker/cbor/v2"
)

// credential is a pair of keys made for a relying party.
type credential struct {
	party  string
	secret *ecdsa.PrivateKey
}

func newSecret() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// ctap does one command: CTAP 2.1, 6. The map must be canonical and have what the command needs, of the right types.
func (k *Key) ctap(channel uint32, command byte, parameters []byte) {
	finish := func(status byte, body any) {
		answer := []byte{status}
		if status == 0 {
			k.answered++
			answer = append(answer, canonical(body)...)
		}
		if k.Alter != nil {
			answer = k.Alter(command, answer)
		}
		if len(answer) > 0 {
			k.send(channel, 0x10, answer, k.Twist)
		}
	}
	var request map[uint64]any
	if command != CommandInfo {
		if err := cbor.Unmarshal(parameters, &request); err != nil || !bytes.Equal(canonical(request), parameters) {
			finish(0x12, nil) // CTAP2_ERR_INVALID_CBOR
			return
		}
	}
	if len(parameters) >= k.maxMessage() {
		finish(0x39, nil) // CTAP2_ERR_REQUEST_TOO_LARGE
		return
	}
	switch command {
	case CommandInfo:
		options := map[string]bool{"rk": true, "up": true, "clientPin": k.PIN}
		if k.AlwaysPIN {
			options["alwaysUv"] = true
		}
		finish(0, map[uint64]any{1: []string{"U2F_V2", "FIDO_2_0"}, 3: k.AAGUID[:], 4: options, 5: k.maxMessage(), 6: []int{1}})
	case CommandMake:
		party, hash, status := k.wanted(request)
		if status != 0 {
			finish(status, nil)
			return
		}
		k.touched(channel, func() {
			id := make([]byte, 48)
			_, _ = rand.Read(id)
			secret, err := newSecret()
			if err != nil {
				finish(0x7f, nil)
				return
			}
			k.credentials[string(id)] = credential{party, secret}
			data := append(k.header(party, 0x41), k.AAGUID[:]...)
			data = append(binary.BigEndian.AppendUint16(data, uint16(len(id))), id...)
			data = append(data, coseKey(secret)...)
			finish(0, map[uint64]any{1: "packed", 2: data, 3: map[string]any{"alg": -7, "sig": sign(secret, data, hash)}})
		})
	case CommandAssert:
		party, okParty := request[1].(string)
		hash, okHash := request[2].([]byte)
		if !okParty || !okHash || len(hash) != 32 {
			finish(0x14, nil) // CTAP2_ERR_MISSING_PARAMETER
			return
		}
		id, c, found := k.allowed(party, request[3])
		silent := !option(request[5], "up", true)
		switch {
		case k.AlwaysPIN:
			finish(0x36, nil) // CTAP2_ERR_PUAT_REQUIRED
			return
		case !found:
			finish(StatusNoKey, nil)
			return
		}
		answer := func(flags byte) {
			data := k.header(party, flags)
			if silent && k.SilentZero {
				clear(data[33:37])
			}
			body := map[uint64]any{1: map[string]any{"id": id, "type": "public-key"}, 2: data, 3: sign(c.secret, data, hash)}
			if k.Terse {
				delete(body, 1)
			}
			finish(0, body)
		}
		if silent && !k.Insists {
			answer(0)
			return
		}
		k.touched(channel, func() { answer(1) })
	default:
		finish(0x01, nil) // CTAP1_ERR_INVALID_COMMAND
	}
}

// wanted reads what a credential is to be made for: CTAP 2.1, 6.1.
func (k *Key) wanted(request map[uint64]any) (party string, hash []byte, status byte) {
	hash, okHash := request[1].([]byte)
	rp, okParty := request[2].(map[any]any)
	user, okUser := request[3].(map[any]any)
	algorithms, okAlgorithms := request[4].([]any)
	if !okHash || len(hash) != 32 || !okParty || !okUser || !okAlgorithms {
		return "", nil, 0x14
	}
	party, okParty = rp["id"].(string)
	name, okUser := user["id"].([]byte)
	if !okParty || !okUser || len(name) == 0 || len(name) > 64 {
		return "", nil, 0x14
	}
	known := false
	for _, a := range algorithms {
		m, _ := a.(map[any]any)
		alg, _ := m["alg"].(int64)
		known = known || alg == -7 && m["type"] == "public-key"
	}
	switch {
	case !known:
		return "", nil, 0x26 // CTAP2_ERR_UNSUPPORTED_ALGORITHM
	case option(request[7], "rk", false):
		return "", nil, 0x28 // CTAP2_ERR_KEY_STORE_FULL
	case k.PIN || k.AlwaysPIN:
		return "", nil, 0x36
	}
	return party, hash, 0
}

// allowed finds the first credential of the list that is ours and was made for the party.
func (k *Key) allowed(party string, list any) (id []byte, c credential, found bool) {
	descriptors, _ := list.([]any)
	for _, d := range descriptors {
		m, _ := d.(map[any]any)
		id, _ := m["id"].([]byte)
		if c, ours := k.credentials[string(id)]; ours && c.party == party && m["type"] == "public-key" {
			return id, c, true
		}
	}
	return nil, credential{}, false
}

// touched does the rest once somebody touched the key, or never.
func (k *Key) touched(channel uint32, rest func()) {
	k.keepalive(channel, Processing)
	k.keepalive(channel, NeedsTouch)
	if k.Untouched {
		k.busy = &pending{channel, rest}
		return
	}
	rest()
}

// Touch is somebody touching the key while it waits for that.
func (k *Key) Touch() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.busy; p != nil {
		k.busy = nil
		p.finish()
	}
}

// header begins authenticator data: WebAuthn level 2, 6.1.
func (k *Key) header(party string, flags byte) []byte {
	hash := sha256.Sum256([]byte(party))
	k.Counter += k.Step
	return binary.BigEndian.AppendUint32(append(hash[:], flags|k.Flags), k.Counter)
}

func (k *Key) maxMessage() int {
	if k.MaxMessage > 0 {
		return k.MaxMessage
	}
	return 1200
}

func option(options any, name string, otherwise bool) bool {
	m, _ := options.(map[any]any)
	if v, ok := m[name].(bool); ok {
		return v
	}
	return otherwise
}

// coseKey is a public key as RFC 9053, 7.1.1 writes it.
func coseKey(secret *ecdsa.PrivateKey) []byte {
	point, err := secret.PublicKey.Bytes()
	if err != nil {
		panic(err) // the curve is P-256
	}
	return canonical(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
}

func sign(secret *ecdsa.PrivateKey, data, hash []byte) []byte {
	digest := sha256.Sum256(append(append([]byte(nil), data...), hash...))
	signature, err := ecdsa.SignASN1(rand.Reader, secret, digest[:])
	if err != nil {
		panic(err) // the machine has no chance left
	}
	return signature
}

// canonical is CTAP 2's one encoding: CTAP 2.1, 8.
func canonical(v any) []byte {
	mode, err := cbor.CTAP2EncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	b, err := mode.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
