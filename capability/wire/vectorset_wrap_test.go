package wire

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// What a TPM does with the wrap of a response, on paper: SPEC.md 8.3, written from the specification alone. The endorsement keys are TEST KEYS, whose private halves
// are in the vectors, so that software can open them; those of a true TPM never leave it.

// The primes of the test RSA endorsement key. Its exponent is 65537.
const (
	testPrimeP = "ff6e854bc632810f2b76500adaa8d967d3009b08d4b4fdfa093e978239f9769c12018a3e356da58b85546b6938f449de085cb4a9b0ad669f09d729bb56bdf60f396938449bb4d527a203d6264f1314c7dd3d14c2c74f706486de4961337ce6bb2b341ae3d7fe393643433e85905f88711d8d59446c1ddfadf752a84b8f949ddb"
	testPrimeQ = "db200eea343bd9b3fd72be7dc19434093595c06a388c38a36f10b7022b057547079b53e58954875443da73f7b13f61791dfc7cdb855e2b829a4bb8a70c0e9dba917798066600284c87c941ca21206cfbdc14a2d08d9bdcc7a5ff7e3d6f78a7556c740e9070237a47775382aefb79f0ff0bcaabecfb2d4faabd2b1cad40a0f219"
)

func testRSA() *rsa.PrivateKey {
	p, q := new(big.Int).SetBytes(unhex(testPrimeP)), new(big.Int).SetBytes(unhex(testPrimeQ))
	one, e := big.NewInt(1), big.NewInt(65537)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, D: new(big.Int).ModInverse(e, phi), Primes: []*big.Int{p, q}}
	k.Precompute()
	return k
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(bytes.Join(parts, nil))
	return h.Sum(nil)
}

// kdfa is KDFa of the TPM specification for at most 256 bits, one block of its counter.
func kdfa(seed []byte, label string, context []byte, bits int) []byte {
	return mac(seed, []byte{0, 0, 0, 1}, []byte(label+"\x00"), context, binary.BigEndian.AppendUint32(nil, uint32(bits)))[:bits/8]
}

// identityCipher encrypts and decrypts: AES-128-CFB with an IV of zeros, which go on from what is encrypted.
func identityCipher(seed, ak, in []byte, encrypt bool) []byte {
	block, err := aes.NewCipher(kdfa(seed, "STORAGE", tpmName(ak), 128))
	if err != nil {
		panic(err)
	}
	out, before, mask := make([]byte, len(in)), make([]byte, 16), make([]byte, 16)
	for i := range in {
		if i%16 == 0 {
			if i > 0 && encrypt {
				before = out[i-16 : i]
			} else if i > 0 {
				before = in[i-16 : i]
			}
			block.Encrypt(mask, before)
		}
		out[i] = in[i] ^ mask[i%16]
	}
	return out
}

// identityObject is the blob of a credential for an AK.
func identityObject(seed, ak, credential []byte) []byte {
	encrypted := identityCipher(seed, ak, sized(credential), true)
	return append(sized(mac(kdfa(seed, "INTEGRITY", nil, 256), encrypted, tpmName(ak))), encrypted...)
}

func openIdentityObject(seed, ak, blob []byte) ([]byte, error) {
	no := fmt.Errorf("%w: the credential does not open", ErrSignature)
	if len(blob) != 68 || !bytes.Equal(blob[:2], []byte{0, 32}) || !hmac.Equal(blob[2:34], mac(kdfa(seed, "INTEGRITY", nil, 256), blob[34:], tpmName(ak))) {
		return nil, no
	}
	plain := identityCipher(seed, ak, blob[34:], false)
	if !bytes.Equal(plain[:2], []byte{0, 32}) {
		return nil, no
	}
	return plain[2:], nil
}

// identitySeed is KDFe over what two P-256 keys share.
func identitySeed(shared, ephemeralX, ekX []byte) []byte {
	d := sha256.Sum256(slices.Concat([]byte{0, 0, 0, 1}, shared, []byte("IDENTITY\x00"), ephemeralX, ekX))
	return d[:]
}

// toP256 is TPM2_MakeCredential to a P-256 EK, with the ephemeral key of a fixed scalar: blob, then secret, each with its length.
func toP256(ekPublic, ak, credential []byte, scalar byte) []byte {
	ephemeral, err := ecdh.P256().NewPrivateKey(bytes.Repeat([]byte{scalar}, 32))
	if err != nil {
		panic(err)
	}
	start := len(unhex(ekStart))
	x, y := ekPublic[start+2:start+34], ekPublic[start+36:]
	ek, err := ecdh.P256().NewPublicKey(slices.Concat([]byte{4}, x, y))
	if err != nil {
		panic(err)
	}
	shared, err := ephemeral.ECDH(ek)
	if err != nil {
		panic(err)
	}
	own := ephemeral.PublicKey().Bytes()
	secret := append(sized(own[1:33]), sized(own[33:])...)
	return append(sized(identityObject(identitySeed(shared, own[1:33], x), ak, credential)), sized(secret)...)
}

// toRSA is TPM2_MakeCredential to an RSA EK: RSAES-OAEP by hand, for a library draws its seed by chance.
func toRSA(ek *rsa.PublicKey, ak, credential []byte, scalar byte) []byte {
	seed, pad := bytes.Repeat([]byte{scalar}, 32), bytes.Repeat([]byte{scalar + 1}, 32)
	label := sha256.Sum256([]byte("IDENTITY\x00"))
	data := slices.Concat(label[:], make([]byte, 256-2*32-2-len(seed)), []byte{1}, seed)
	mask := func(by []byte, n int) (out []byte) {
		for i := uint32(0); len(out) < n; i++ {
			d := sha256.Sum256(binary.BigEndian.AppendUint32(bytes.Clone(by), i))
			out = append(out, d[:]...)
		}
		return out[:n]
	}
	xor := func(a, b []byte) []byte {
		out := make([]byte, len(a))
		for i := range a {
			out[i] = a[i] ^ b[i]
		}
		return out
	}
	data = xor(data, mask(pad, len(data)))
	pad = xor(pad, mask(data, len(pad)))
	m := new(big.Int).SetBytes(slices.Concat([]byte{0}, pad, data))
	secret := m.Exp(m, big.NewInt(int64(ek.E)), ek.N).FillBytes(make([]byte, 256))
	return append(sized(identityObject(seed, ak, credential)), sized(secret)...)
}

// paperWrap is a wrap of its parts.
func paperWrap(host string, credentials ...[]byte) []byte {
	return slices.Concat([]byte{0x31}, unhex(host), bytes.Join(credentials, nil))
}

func noRSA() []byte { return []byte{0, 0, 0, 0} }

// paperUnwrap is what the machine with these test keys makes of a wrap.
func paperUnwrap(keys map[string]string, wrap []byte) ([]byte, error) {
	if len(wrap) < 33 || wrap[0] != 0x31 {
		return nil, fmt.Errorf("%w: no wrap for a TPM", ErrMalformed)
	}
	var parts [4][]byte // P256.Blob, P256.Secret, RSA.Blob, RSA.Secret
	rest := wrap[33:]
	for i := range parts {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return nil, fmt.Errorf("%w: a wrap that ends in field %d", ErrMalformed, i)
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		parts[i], rest = rest[2:n], rest[n:]
	}
	if len(rest) > 0 || len(parts[0]) == 0 || len(parts[1]) == 0 || (len(parts[2]) == 0) != (len(parts[3]) == 0) {
		return nil, fmt.Errorf("%w: a wrap without a part, or with bytes left over", ErrMalformed)
	}
	ek, err := ecdh.P256().NewPrivateKey(unhex(keys["testEK"]))
	if err != nil {
		return nil, fmt.Errorf("the vector's own key: %v", err)
	}
	own, ak, no := ek.PublicKey().Bytes(), unhex(keys["ak"]), fmt.Errorf("%w: the wrap does not open", ErrSignature)
	if host := hostOf(slices.Concat(unhex(ekStart), sized(own[1:33]), sized(own[33:]))); !bytes.Equal(wrap[1:33], unhex(host)) {
		return nil, fmt.Errorf("%w: a wrap for another machine", ErrSignature)
	}
	secret := parts[1]
	if len(secret) != 68 || !bytes.Equal(secret[:2], []byte{0, 32}) || !bytes.Equal(secret[34:36], []byte{0, 32}) {
		return nil, no
	}
	ephemeral, err := ecdh.P256().NewPublicKey(slices.Concat([]byte{4}, secret[2:34], secret[36:]))
	if err != nil {
		return nil, no
	}
	shared, err := ek.ECDH(ephemeral)
	if err != nil {
		return nil, no
	}
	content, err := openIdentityObject(identitySeed(shared, secret[2:34], own[1:33]), ak, parts[0])
	if err != nil || len(parts[2]) == 0 {
		return content, err
	}
	if keys["testRSAEK"] == "" {
		return nil, no
	}
	key, err := x509.ParsePKCS8PrivateKey(unhex(keys["testRSAEK"]))
	if err != nil {
		return nil, fmt.Errorf("the vector's own key: %v", err)
	}
	seed, err := rsa.DecryptOAEP(sha256.New(), nil, key.(*rsa.PrivateKey), parts[3], []byte("IDENTITY\x00"))
	if err != nil || len(seed) != 32 {
		return nil, no
	}
	other, err := openIdentityObject(seed, ak, parts[2])
	if err != nil {
		return nil, err
	}
	for i := range content {
		content[i] ^= other[i]
	}
	return content, nil
}

// wrappedResponses are what a back office answers to a machine with a TPM, and what somebody might put in the place of the wrap.
func (s *set) wrappedResponses() {
	c, keys := s.c, s.producerKeys()
	content, host, ak := unhex(keys["contentKey"]), s.appliance().Value, s.tpm.AK
	keys["testEK"], keys["ak"] = strings.Repeat("21", 32), hex.EncodeToString(ak)
	r := s.responseContent()
	r.Number, r.Request = 1, s.tpmRequest
	file := func(wrap []byte) responseFileInput {
		return responseFileInput{KeyCertificate{Name: "producer-2026-A", From: 1000, Until: 9000}, r, wrap}
	}
	p256 := toP256(s.tpm.EK, ak, content, 0x51)
	wrap := paperWrap(host, p256, noRSA())
	s.good("response-file", "response-file-tpm", "the answer to request-file-activation, wrapped to the EK and the AK of that request; opened with the EK's private half, a test key", file(wrap), keys)
	judge := judgeKeys(keys)
	delete(judge, "contentKey")
	judged := judge
	bad := func(name, expect, description string, wrap []byte) {
		in := file(wrap)
		b, err := in.encode(c, keys)
		if err != nil {
			s.t.Fatal(err)
		}
		s.bad("response-file", "response-file-tpm-"+name, expect, description, b, judged)
	}
	const blob, secret = 33 + 2, 33 + 2 + 68 + 2
	other := newPaperTPM(s.t, 0x31)
	bad("blob-flipped", "signature", "one bit of the encrypted credential is another", flip(wrap, blob+50))
	bad("integrity-flipped", "signature", "one bit of the blob's integrity is another", flip(wrap, blob+10))
	bad("secret-flipped", "signature", "one bit of the ephemeral point is another, which is no point then", flip(wrap, secret+36+31))
	bad("other-ephemeral", "signature", "the ephemeral point is another one", paperWrap(host, p256[:70], toP256(s.tpm.EK, ak, content, 0x53)[70:], noRSA()))
	bad("other-ak", "signature", "the credential is for the EK and another AK: who asked in the name of this EK, and has no key in its TPM", paperWrap(host, toP256(s.tpm.EK, other.AK, content, 0x51), noRSA()))
	bad("other-ek", "signature", "the credential is for another EK, under the host ID of this one", paperWrap(host, toP256(other.EK, ak, content, 0x51), noRSA()))
	bad("for-another", "signature", "the wrap is for another host than the clear part", paperWrap(hostOf(other.EK), p256, noRSA()))
	bad("short-credential", "signature", "a whole credential of 31 bytes", paperWrap(host, toP256(s.tpm.EK, ak, content[:31], 0x51), noRSA()))
	bad("other-content-key", "signature", "a good wrap of another content key", paperWrap(host, toP256(s.tpm.EK, ak, bytes.Repeat([]byte{8}, 32), 0x51), noRSA()))
	bad("format", "malformed", "the wrap has the format byte of a device key's", append([]byte{0xa1}, wrap[1:]...))
	bad("cut", "malformed", "a wrap without its last byte", wrap[:len(wrap)-1])
	bad("trailing-byte", "malformed", "one byte after a good wrap", append(bytes.Clone(wrap), 0))
	bad("no-blob", "malformed", "a secret without its blob", paperWrap(host, []byte{0, 0}, p256[70:], noRSA()))
	bad("no-secret", "malformed", "a blob without its secret", paperWrap(host, p256[:70], []byte{0, 0}, noRSA()))
	bad("too-long", "malformed", "a wrap of 1025 bytes", append(bytes.Clone(wrap), make([]byte, 1025-len(wrap))...))

	ek := testRSA()
	der, err := x509.MarshalPKCS8PrivateKey(ek)
	if err != nil {
		s.t.Fatal(err)
	}
	share := bytes.Repeat([]byte{0x5a}, 32)
	rest := slices.Clone(content)
	for i := range rest {
		rest[i] ^= share[i]
	}
	keys = maps.Clone(keys)
	keys["testRSAEK"] = hex.EncodeToString(der)
	judged = maps.Clone(judge)
	judged["testRSAEK"] = keys["testRSAEK"]
	r.Request = s.certifiedRequest
	first, second := toP256(s.tpm.EK, ak, rest, 0x52), toRSA(&ek.PublicKey, ak, share, 0x61)
	both := paperWrap(host, first, second)
	s.good("response-file", "response-file-tpm-rsa", "the answer to request-file-certificates, wrapped to both EKs; the content key is the exclusive or of the two credentials", file(both), keys)
	bad("rsa-blob-flipped", "signature", "one bit of the credential for the RSA EK is another", flip(both, len(both)-256-2-10))
	bad("rsa-secret-flipped", "signature", "one bit of the seed for the RSA EK is another", flip(both, len(both)-3))
	bad("rsa-left-out", "signature", "the credential for the RSA EK is left out, and that for the P-256 EK alone is not the content key", paperWrap(host, first, noRSA()))
	bad("rsa-ignored", "signature", "a whole content key for the P-256 EK, and another credential beside it", paperWrap(host, p256, second))
	bad("rsa-no-blob", "malformed", "a secret for the RSA EK without its blob", paperWrap(host, first, []byte{0, 0}, second[70:]))
	judged = judge
	bad("rsa-of-another", "signature", "the machine has no RSA EK", both)
}

// unwrapVector gives the content key of a response file by what the vector's machine has.
func unwrapVector(v *vector, s *SealedResponse) ([]byte, error) {
	switch {
	case v.Keys["testEK"] != "":
		return paperUnwrap(v.Keys, s.Wrap)
	case v.Keys["box"] != "":
		box, err := ecdh.X25519().NewPrivateKey(unhex(v.Keys["box"]))
		if err != nil {
			return nil, fmt.Errorf("the vector's own box key: %v", err)
		}
		return UnwrapAsDevice(box, capability.Digest(unhex(s.Clear.For.Value)), s.Wrap)
	}
	return unhex(v.Keys["contentKey"]), nil
}

// The judge and the wrap that programs use say the same as those on paper: a program takes the evidence of good vectors and no other, and what it wraps to such a
// machine opens with the test keys.
func TestProgramsWrapAsOnPaper(t *testing.T) {
	c, content := New(), bytes.Repeat([]byte{7}, attest.KeyBytes)
	taken := 0
	for _, v := range readVectors(t) {
		if v.Kind != "request-file" || strings.HasPrefix(v.Name, "request-file-device") {
			continue
		}
		s, err := c.ReadRequest(v.bytes())
		if err != nil || s.Alg != AlgTPMQuote {
			continue
		}
		var id *attest.Identity
		e, err := attest.DecodeEvidence(s.Signature)
		if err == nil {
			id, err = attest.Verify(e, attest.Request, s.Digest[:])
		}
		if err == nil && (!s.Request.Hosts[0].Is(hostid.TPMEK, id.HostID) || s.KID != AttestationKeyID(id.AK)) {
			err = ErrSignature
		}
		if (err == nil) != (v.Expect == "ok") {
			t.Errorf("%s: %v, and %s is expected", v.Name, err, v.Expect)
		}
		if err != nil {
			continue
		}
		taken++
		w, err := attest.Wrap(rand.Reader, id, content)
		if err != nil {
			t.Fatal(v.Name, err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(testRSA())
		if err != nil {
			t.Fatal(err)
		}
		keys := map[string]string{"testEK": strings.Repeat("21", 32), "testRSAEK": hex.EncodeToString(der), "ak": hex.EncodeToString(id.AK)}
		if w.RSA.Present() != (v.Name == "request-file-certificates") {
			t.Errorf("%s: wrapped to an RSA key: %v", v.Name, w.RSA.Present())
		}
		if got, err := paperUnwrap(keys, w.Encode()); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: what was wrapped opens as %x: %v", v.Name, got, err)
		}
	}
	for _, v := range readVectors(t) {
		if !strings.HasPrefix(v.Name, "response-file-tpm") || v.Expect != "ok" {
			continue
		}
		s, err := c.ReadResponse(v.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if w, err := attest.DecodeWrapped(s.Wrap); err != nil || w.RSA.Present() != (v.Keys["testRSAEK"] != "") {
			t.Errorf("%s: %+v %v", v.Name, w, err)
		}
	}
	if taken < 7 {
		t.Errorf("%d were taken", taken)
	}
}
