package wire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/leasehold/leasehold/capability"
)

// suite reads a file of testdata/suites/README.md from the directory that PUBLIC_SUITES names, and is sure that it is that one.
func suite(t *testing.T, dir, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("testdata/suites/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(b); !bytes.Contains(sums, fmt.Appendf(nil, "%x  %s\n", sum, name)) {
		t.Fatalf("%s is not the file that SHA256SUMS names: %x", name, sum)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func suitesDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("PUBLIC_SUITES")
	if dir == "" {
		t.Log("nothing was run: PUBLIC_SUITES names no directory; testdata/suites/README.md says what belongs there")
	}
	return dir
}

// wycheproof is what its files have in common, as far as it is used here.
type wycheproof struct {
	TestGroups []struct {
		PublicKey                json.RawMessage
		KeySize, IVSize, TagSize int
		Tests                    []struct {
			ID                                            int `json:"tcId"`
			Comment, Msg, Sig, Ctx, Key, IV, AAD, CT, Tag string
			Result                                        string
		}
	}
}

// Signatures and ciphertexts of Wycheproof, through the functions that judge ours.
func TestPublicSuitesWycheproof(t *testing.T) {
	dir := suitesDir(t)
	if dir == "" {
		return
	}
	producer := newProducer(t, 1)
	other := producer.key.Public
	tally := func(name string, verified, refused int, left map[string]int) {
		t.Logf("%s: %d verified, %d refused, left out: %s", name, verified, refused, counts(left))
	}

	var f wycheproof
	suite(t, dir, "wycheproof/ed25519_test.json", &f)
	verified, refused, left := 0, 0, map[string]int{}
	for _, g := range f.TestGroups {
		var key struct{ PK string }
		if err := json.Unmarshal(g.PublicKey, &key); err != nil {
			t.Fatal(err)
		}
		for _, c := range g.Tests {
			v := PublicKeys{Ed25519: unhex(key.PK), MLDSA87: other.MLDSA87}.judge(signed{unhex(c.Msg), unhex(c.Sig)}, signed{})
			if v.Ed25519 != (c.Result == "valid") {
				t.Errorf("Ed25519, test %d, %s: %v", c.ID, c.Comment, v.Ed25519)
			}
			if v.Ed25519 {
				verified++
			} else {
				refused++
			}
		}
	}
	tally("Ed25519", verified, refused, left)

	f = wycheproof{}
	suite(t, dir, "wycheproof/mldsa_87_verify_test.json", &f)
	verified, refused, left = 0, 0, map[string]int{}
	for _, g := range f.TestGroups {
		var key string
		if err := json.Unmarshal(g.PublicKey, &key); err != nil {
			t.Fatal(err)
		}
		for _, c := range g.Tests {
			v := PublicKeys{Ed25519: other.Ed25519, MLDSA87: unhex(key)}.judge(signed{}, signed{unhex(c.Msg), unhex(c.Sig)})
			valid := c.Result == "valid"
			if c.Ctx != "" && valid { // what is signed in a context counts nowhere else, and ours is empty
				left["in a context, and so refused"]++
				valid = false
			}
			if v.MLDSA87 != valid {
				t.Errorf("ML-DSA-87, test %d, %s: %v", c.ID, c.Comment, v.MLDSA87)
			}
			if v.MLDSA87 {
				verified++
			} else if c.Ctx == "" || c.Result != "valid" {
				refused++
			}
		}
	}
	tally("ML-DSA-87", verified, refused, left)

	f = wycheproof{}
	suite(t, dir, "wycheproof/aes_gcm_test.json", &f)
	verified, refused, left = 0, 0, map[string]int{}
	for _, g := range f.TestGroups {
		for _, c := range g.Tests {
			aead, err := contentCipher(unhex(c.Key))
			if g.KeySize != 256 {
				if left[fmt.Sprintf("keys of %d bits, which are refused", g.KeySize)]++; err == nil {
					t.Errorf("a key of %d bits", g.KeySize)
				}
				continue
			}
			if g.IVSize != 96 || g.TagSize != 128 {
				left["nonces of other than 96 bits"]++
				continue
			}
			plain, err := aead.Open(nil, unhex(c.IV), append(unhex(c.CT), unhex(c.Tag)...), unhex(c.AAD))
			if (err == nil) != (c.Result == "valid") || err == nil && !bytes.Equal(plain, unhex(c.Msg)) {
				t.Errorf("AES-256-GCM, test %d, %s: %v", c.ID, c.Comment, err)
			}
			if err == nil {
				verified++
			} else {
				refused++
			}
		}
	}
	tally("AES-256-GCM", verified, refused, left)
}

// example is one of cose-wg/Examples, as far as it is used here.
type example struct {
	Title string
	Fail  bool
	Input struct {
		Sign0 struct {
			Key struct {
				Crv, X, Y string
				XHex      string `json:"x_hex"`
			}
			External string
		}
	}
	Intermediates struct {
		ToBeSign string `json:"ToBeSign_hex"`
	}
	Output struct{ CBOR string }
}

// The working group's examples of COSE_Sign1: what is signed is the Sig_structure that this package makes, which verifies where they say so; and none of them passes
// for an envelope of ours.
func TestPublicSuitesCOSE(t *testing.T) {
	dir := suitesDir(t)
	if dir == "" {
		return
	}
	c := New()
	verified, refused, left := 0, 0, map[string]int{}
	for _, name := range strings.Fields("ecdsa-sig-01 eddsa-sig-01 eddsa-sig-02 sign-pass-01 sign-pass-02 sign-pass-03 sign-fail-01 sign-fail-02 sign-fail-03 sign-fail-04 sign-fail-06 sign-fail-07") {
		var e example
		suite(t, dir, "cose/"+name+".json", &e)
		b := unhex(strings.ToLower(e.Output.CBOR))
		for _, typ := range []string{TypRequest, TypResponse, TypKey, TypAppliance, TypGroup, TypKeyRequest, TypUpdate} {
			for _, item := range [][]byte{b, bytes.TrimPrefix(b, []byte{0xd2})} {
				if _, _, err := c.open(item, typ, capability.MaxFile, AlgEd25519, AlgMLDSA87, AlgTPMQuote); err == nil {
					t.Errorf("%s passes for %s", e.Title, typ)
				}
			}
		}
		if e.Input.Sign0.External != "" || e.Input.Sign0.Key.Crv == "Ed448" {
			left["with external data, or by Ed448"]++
			continue
		}
		if name == "sign-pass-01" {
			left["with an empty protected header, which ours never has"]++
			continue
		}
		good, sum := verifyExample(t, c, &e, b)
		if good == e.Fail {
			t.Errorf("%s: %v", e.Title, good)
		}
		if !e.Fail && sum != strings.ToLower(e.Intermediates.ToBeSign) {
			t.Errorf("%s: what is signed is %s", e.Title, sum)
		}
		if good {
			verified++
		} else {
			refused++
		}
	}
	t.Logf("COSE_Sign1: %d verified, %d refused, none taken for an envelope of ours; left out: %s", verified, refused, counts(left))
}

// verifyExample judges an example as RFC 9052 does, with our Sig_structure, and gives that in hex.
func verifyExample(t *testing.T, c *Codec, e *example, b []byte) (bool, string) {
	t.Helper()
	rest, tagged := bytes.CutPrefix(b, []byte{0xd2})
	if !tagged && b[0]>>5 == 6 {
		return false, "" // tagged as something else
	}
	var parts struct {
		_           struct{} `cbor:",toarray"`
		Protected   []byte
		Unprotected map[any]any
		Payload     []byte
		Signature   []byte
	}
	if err := cbor.Unmarshal(rest, &parts); err != nil {
		t.Fatalf("%s: %v", e.Title, err)
	}
	var head struct {
		Alg any `cbor:"1,keyasint"`
	}
	if len(parts.Protected) > 0 {
		if err := cbor.Unmarshal(parts.Protected, &head); err != nil {
			t.Fatalf("%s: %v", e.Title, err)
		}
	}
	message := c.toBeSigned(parts.Protected, parts.Payload)
	sum := hex.EncodeToString(message)
	switch key := e.Input.Sign0.Key; {
	case key.Crv == "Ed25519" && head.Alg == int64(-8):
		return ed25519.Verify(unhex(key.XHex), message, parts.Signature), sum
	case key.Crv == "P-256" && head.Alg == int64(-7):
		point := []byte{4}
		for _, s := range []string{key.X, key.Y} {
			n, err := base64.RawURLEncoding.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			point = append(point, n...)
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256(message)
		return len(parts.Signature) == 64 && ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(parts.Signature[:32]), new(big.Int).SetBytes(parts.Signature[32:])), sum
	}
	return false, sum
}
