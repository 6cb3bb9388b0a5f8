package backoffice

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability/entitlement"
)

// FuzzRoots: a file of authorities is refused, or holds certificates and nothing else.
func FuzzRoots(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for _, b := range [][]byte{one, append(one, one...), append(one, "more"...), one[:100], pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseRoots(b)
		if err != nil && !errors.Is(err, ErrRoots) || err == nil && len(list) == 0 {
			t.Fatalf("%d certificates: %v", len(list), err)
		}
	})
}

// FuzzKeyFile: a key file opens as it was sealed and in no other form. What it says that it costs is not believed.
func FuzzKeyFile(f *testing.F) {
	cheap := Cost{Passes: 1, Memory: 64, Threads: 1}
	whole, err := sealKey(cheap, "root", []byte("pass"), []byte("secret"), bytes.NewReader(make([]byte, keySalt+keyNonce))) // the same for every process that fuzzes
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range [][]byte{whole, whole[:keyHeader], whole[:20], append(bytes.Clone(whole), 0), bytes.Repeat([]byte{1, 255, 255, 255}, 20)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 10 && !bytes.Equal(b[1:10], whole[1:10]) {
			b = append(append(bytes.Clone(b[:1]), whole[1:10]...), b[10:]...) // an honest cost: a high one that is allowed takes seconds
		}
		plain, err := openKey("root", []byte("pass"), b)
		if (err == nil) != bytes.Equal(b, whole) || err != nil && !errors.Is(err, ErrPassphrase) {
			t.Fatalf("%x opens as %q: %v", b, plain, err)
		}
	})
}

// FuzzHistory: the book's history is cut into the entries it was made of, or is damaged.
func FuzzHistory(f *testing.F) {
	f.Add(appendEntry(appendEntry(nil, []byte("one")), nil))
	f.Add([]byte{0, 0, 0, 4, 1})
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		for rest := b; len(rest) > 0; {
			entry, after, err := cutEntry(rest)
			if err != nil {
				if !errors.Is(err, entitlement.ErrCorrupt) {
					t.Fatal(err)
				}
				return
			}
			again, rest = appendEntry(again, entry), after
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x is put together as %x", b, again)
		}
	})
}
