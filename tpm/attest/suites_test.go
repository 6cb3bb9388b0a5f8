package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Wycheproof's signatures by P-256 keys, as r and s, through the function that judges a TPM's. capability/wire/testdata/suites/README.md says what belongs into the
// directory that PUBLIC_SUITES names.
func TestPublicSuitesECDSA(t *testing.T) {
	dir := os.Getenv("PUBLIC_SUITES")
	if dir == "" {
		t.Log("nothing was run: PUBLIC_SUITES names no directory")
		return
	}
	const name = "wycheproof/ecdsa_secp256r1_sha256_p1363_test.json"
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile("../../capability/wire/testdata/suites/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(b); !bytes.Contains(sums, fmt.Appendf(nil, "%x  %s\n", sum, name)) {
		t.Fatalf("%s is not the file that SHA256SUMS names: %x", name, sum)
	}
	var f struct {
		TestGroups []struct {
			PublicKey struct{ Uncompressed string }
			Tests     []struct {
				ID                        int `json:"tcId"`
				Comment, Msg, Sig, Result string
			}
		}
	}
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	octets := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	verified, refused, left := 0, 0, 0
	for _, g := range f.TestGroups {
		point, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), octets(g.PublicKey.Uncompressed))
		if err != nil {
			t.Fatal(err)
		}
		key := &publicKey{point: point}
		for _, c := range g.Tests {
			sig := octets(c.Sig)
			r, s := sig[:len(sig)/2], sig[len(sig)/2:]
			tpmt := []byte{0x00, 0x18, 0x00, 0x0b} // ECDSA with SHA-256
			for _, n := range [][]byte{r, s} {
				tpmt = append(binary.BigEndian.AppendUint16(tpmt, uint16(len(n))), n...)
			}
			if len(sig) < 64 && len(r) == len(s) {
				left++ // a TPM's numbers have lengths of their own, so without zeros before them they are the same
				continue
			}
			good := key.verify(octets(c.Msg), tpmt) == nil
			if good != (c.Result == "valid") {
				t.Errorf("ECDSA, test %d, %s: %v", c.ID, c.Comment, good)
			}
			if good {
				verified++
			} else {
				refused++
			}
		}
	}
	t.Logf("ECDSA P-256 with SHA-256: %d verified, %d refused, left out: %d of fewer than 64 bytes", verified, refused, left)
}
