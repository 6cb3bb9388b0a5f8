package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// numbered is an RSA public key with a modulus of so many bits. Nobody knows its factors, and nobody asks here.
func numbered(bits, exponent int) *rsa.PublicKey {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return &rsa.PublicKey{N: n.Add(n, big.NewInt(12345)), E: exponent}
}

// A public key is taken in DER in each of the kinds that clients have, and its digest is that of the key that a connection shows.
func TestReadClientKey(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	for _, one := range []struct {
		public crypto.PublicKey
		kind   KeyKind
		name   string
	}{{ed.Public(), KeyEd25519, "Ed25519"}, {ec.Public(), KeyP256, "P-256"}, {numbered(2048, 65537), KeyRSA2048, "RSA-2048"}, {numbered(2048, 3), KeyRSA2048, "RSA-2048"}} {
		info := must[[]byte](t)(x509.MarshalPKIXPublicKey(one.public))
		files := [][]byte{info}
		if k, is := one.public.(*rsa.PublicKey); is {
			files = append(files, x509.MarshalPKCS1PublicKey(k)) // the older form of the same key
		}
		for _, file := range files {
			if kind, digest, err := ReadClientKey(file); err != nil || kind != one.kind || kind.String() != one.name || digest != sha256.Sum256(info) || !kind.Taken() {
				t.Errorf("%s in %d bytes: %s, %x, %v", one.name, len(file), kind, digest, err)
			}
		}
	}
	var read KeyKind
	if err := read.UnmarshalText([]byte("RSA-2048")); err != nil || read != KeyRSA2048 {
		t.Error(read, err)
	}
	if err := read.UnmarshalText([]byte("of no kind")); err == nil {
		t.Error("a kind that is none was read")
	}
	for _, kind := range []KeyKind{0, lastKeyKind + 1} {
		if kind.Taken() || kind.String() != "of no kind" {
			t.Errorf("%d is %s", kind, kind)
		}
	}
}

// Whatever else the file is, it is refused by its name, and no byte of it is in what is said.
func TestRefusedClientKeys(t *testing.T) {
	ec := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	secret := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	wide := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	info := func(k crypto.PublicKey) []byte { return must[[]byte](t)(x509.MarshalPKIXPublicKey(k)) }
	pkcs8 := func(k any) []byte { return must[[]byte](t)(x509.MarshalPKCS8PrivateKey(k)) }
	text := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, ec.Public(), ec))
	request := must[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, ec))
	good := info(secret.Public())
	const secretSum = "\x30\x0c\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03" // of a key that a password protects
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x25519 := must[[]byte](t)(x509.MarshalPKIXPublicKey(must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public()))
	copy(x25519[4:], []byte{0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x02}) // id-ecMQV: an algorithm that nobody here knows
	for name, one := range map[string]struct {
		file []byte
		code capability.Code
		says string
	}{
		"PEM":                            {text("PUBLIC KEY", good), capability.ErrKeyPEM, ""},
		"PEM after words":                {append([]byte("the key:\n"), text("PUBLIC KEY", good)...), capability.ErrKeyPEM, ""},
		"PEM that is cut":                {text("PUBLIC KEY", good)[:60], capability.ErrKeyPEM, ""},
		"a certificate in PEM":           {text("CERTIFICATE", certificate), capability.ErrKeyPEM, ""},
		"PEM longer than any key":        {text("PUBLIC KEY", make([]byte, MaxKeyFile+1)), capability.ErrKeyPEM, ""},
		"a private key in PEM":           {text("PRIVATE KEY", pkcs8(ec)), capability.ErrKeyPrivate, "in PEM"},
		"an RSA private key in PEM":      {text("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(secret)), capability.ErrKeyPrivate, "in PEM"},
		"both halves in PEM":             {append(text("PUBLIC KEY", good), text("EC PRIVATE KEY", must[[]byte](t)(x509.MarshalECPrivateKey(ec)))...), capability.ErrKeyPrivate, "in PEM"},
		"a private key":                  {pkcs8(secret), capability.ErrKeyPrivate, "in DER"},
		"an Ed25519 private key":         {pkcs8(ed), capability.ErrKeyPrivate, "in DER"},
		"a private key of another size":  {pkcs8(wide), capability.ErrKeyPrivate, "in DER"},
		"an RSA private key":             {x509.MarshalPKCS1PrivateKey(secret), capability.ErrKeyPrivate, "in DER"},
		"an elliptic curve private key":  {must[[]byte](t)(x509.MarshalECPrivateKey(ec)), capability.ErrKeyPrivate, "in DER"},
		"a private key under a password": {append([]byte{0x30, byte(len(secretSum)) + 4}, secretSum+"\x04\x02ab"...), capability.ErrKeyPrivate, "in DER"},
		"RSA with 1024 bits":             {info(numbered(1024, 65537)), capability.ErrKeySize, "1024 bits"},
		"RSA with 2047 bits":             {info(numbered(2047, 65537)), capability.ErrKeySize, "2047 bits"},
		"RSA with 2049 bits":             {info(numbered(2049, 65537)), capability.ErrKeySize, "2049 bits"},
		"RSA with 4096 bits":             {info(numbered(4096, 65537)), capability.ErrKeySize, "4096 bits"},
		"RSA with 3072 bits, older form": {x509.MarshalPKCS1PublicKey(numbered(3072, 65537)), capability.ErrKeySize, "3072 bits"},
		"P-384":                          {info(wide.Public()), capability.ErrKeySize, "P-384"},
		"RSA that anybody can sign with": {info(numbered(2048, 1)), capability.ErrKeyKind, "exponent 1"},
		"RSA with an even exponent":      {info(numbered(2048, 65536)), capability.ErrKeyKind, "exponent 65536"},
		"a certificate":                  {certificate, capability.ErrKeyKind, "certificate"},
		"a request for a certificate":    {request, capability.ErrKeyKind, "certificate"},
		"an unknown algorithm":           {x25519, capability.ErrKeyForm, ""},
		"nothing":                        {nil, capability.ErrKeyForm, "empty"},
		"noise":                          {[]byte("ssh-rsa AAAAB3NzaC1yc2E client"), capability.ErrKeyForm, "no DER"},
		"cut":                            {good[:len(good)-1], capability.ErrKeyForm, "no DER"},
		"a byte after it":                {append(append([]byte{}, good...), 0), capability.ErrKeyForm, "no DER"},
		"larger than any key":            {append([]byte{0x30}, make([]byte, MaxKeyFile)...), capability.ErrKeyForm, "at most 4096"},
		"an empty sequence":              {[]byte{0x30, 0}, capability.ErrKeyForm, "no DER"},
		"a sequence of noise":            {[]byte{0x30, 1, 0xff}, capability.ErrKeyForm, "no DER"},
	} {
		kind, digest, err := ReadClientKey(one.file)
		r := (*capability.Refusal)(nil)
		if !errors.As(err, &r) || r.Code != one.code || !strings.Contains(r.Detail, one.says) || kind != 0 || digest != (capability.Digest{}) {
			t.Errorf("%s: %s, %x, %v; want %s %q", name, kind, digest, err, one.code, one.says)
		}
	}
}

// A key of a connection is judged as one of a file is.
func TestKeyKindOf(t *testing.T) {
	if _, err := KeyKindOf("no key"); err == nil || !strings.Contains(err.Error(), capability.ErrKeyKind.String()) {
		t.Error(err)
	}
	if kind, err := KeyKindOf(numbered(2048, 65537)); err != nil || kind != KeyRSA2048 {
		t.Error(kind, err)
	}
}

func FuzzReadClientKey(f *testing.F) {
	f.Add(x509.MarshalPKCS1PublicKey(numbered(2048, 65537)))
	info, err := x509.MarshalPKIXPublicKey(numbered(2048, 65537))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(info)
	f.Fuzz(func(t *testing.T, file []byte) {
		kind, digest, err := ReadClientKey(file)
		if r := (*capability.Refusal)(nil); err != nil && !errors.As(err, &r) || (err == nil) != kind.Taken() || (err == nil) != (digest != capability.Digest{}) {
			t.Errorf("%s, %x, %v", kind, digest, err)
		}
	})
}
