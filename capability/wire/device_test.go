package wire

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

type deviceKeys struct {
	key ed25519.PrivateKey
	box *ecdh.PrivateKey
}

func newDeviceKeys(t testing.TB, n byte) deviceKeys {
	t.Helper()
	box, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{n + 1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return deviceKeys{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)), box}
}

func (k deviceKeys) digest() capability.Digest { return DeviceOf(k.key.Public().(ed25519.PublicKey)) }
func (k deviceKeys) kid() KeyID                { return DeviceKeyID(k.key.Public().(ed25519.PublicKey)) }

func (k deviceKeys) request() capability.Request {
	return capability.Request{Version: 1, Hosts: []hostid.ID{hostid.OfDigest(hostid.DeviceKey, k.digest())}, Correlation: correlation(), Number: 1, Producer: digest(5)}
}

func (k deviceKeys) sign(t testing.TB, r capability.Request, kid KeyID, change func([]byte) []byte) *SignedRequest {
	t.Helper()
	c := New()
	file, _, err := c.SignRequest(&r, AlgEd25519, kid, func(d capability.Digest) ([]byte, error) {
		return change(SignAsDevice(k.key, k.box.PublicKey(), d)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.ReadRequest(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A request by a device key is that key's, for that content, with that box, and no other's.
func TestDeviceRequest(t *testing.T) {
	a, b := newDeviceKeys(t, 1), newDeviceKeys(t, 3)
	same := func(e []byte) []byte { return e }
	good := a.sign(t, a.request(), a.kid(), same)
	e, err := VerifyDevice(good)
	if err != nil || !bytes.Equal(e.Box, a.box.PublicKey().Bytes()) {
		t.Fatal(e, err)
	}
	for i := range good.Signature {
		i := i
		if _, err := VerifyDevice(a.sign(t, a.request(), a.kid(), func(e []byte) []byte { return flip(e, i) })); err == nil {
			t.Errorf("byte %d of the evidence changed, and nobody minds", i)
		}
	}
	other := *good
	other.Digest[0]++
	tpm := a.request()
	tpm.Hosts[0].Type = hostid.TPMEK
	for name, s := range map[string]*SignedRequest{
		"another content":   &other,
		"another host":      a.sign(t, b.request(), a.kid(), same),
		"another kid":       a.sign(t, a.request(), b.kid(), same),
		"another key":       b.sign(t, a.request(), a.kid(), same),
		"the type of a TPM": a.sign(t, tpm, a.kid(), same),
		"cut":               a.sign(t, a.request(), a.kid(), func(e []byte) []byte { return e[:len(e)-1] }),
		"longer":            a.sign(t, a.request(), a.kid(), func(e []byte) []byte { return append(e, 0) }),
		"another's box": a.sign(t, a.request(), a.kid(), func(e []byte) []byte {
			return append(append(bytes.Clone(e[:33]), b.box.PublicKey().Bytes()...), e[65:]...)
		}),
	} {
		if _, err := VerifyDevice(s); err == nil {
			t.Errorf("%s: nobody minds", name)
		}
	}
}

func TestDeviceProof(t *testing.T) {
	a, b := newDeviceKeys(t, 1), newDeviceKeys(t, 3)
	proof := ProveAsDevice(a.key, digest(1))
	public := a.key.Public().(ed25519.PublicKey)
	if err := VerifyDeviceProof(public, proof, digest(1)); err != nil {
		t.Fatal(err)
	}
	for i := range proof {
		if VerifyDeviceProof(public, flip(proof, i), digest(1)) == nil {
			t.Errorf("byte %d changed", i)
		}
	}
	evidence := SignAsDevice(a.key, a.box.PublicKey(), digest(1))
	for name, err := range map[string]error{
		"another return": VerifyDeviceProof(public, proof, digest(2)),
		"another key":    VerifyDeviceProof(b.key.Public().(ed25519.PublicKey), proof, digest(1)),
		"a request's":    VerifyDeviceProof(public, append([]byte{formatDeviceProof}, evidence[65:]...), digest(1)),
		"none":           VerifyDeviceProof(public, nil, digest(1)),
	} {
		if err == nil {
			t.Errorf("%s: nobody minds", name)
		}
	}
}

// A thousand changes of the identity that a content key was wrapped to, and of the wrap: none opens.
func TestDeviceWrapOpensForOne(t *testing.T) {
	a := newDeviceKeys(t, 1)
	content := bytes.Repeat([]byte{9}, ContentKeySize)
	wrap := func(k deviceKeys, host capability.Digest) []byte {
		public, err := hpke.NewDHKEMPublicKey(k.box.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		kdf, aead, info := DeviceSuite(host)
		sealed, err := hpke.Seal(public, kdf, aead, info, content)
		if err != nil {
			t.Fatal(err)
		}
		return DeviceWrap(host, sealed)
	}
	good := wrap(a, a.digest())
	if got, err := UnwrapAsDevice(a.box, a.digest(), good); err != nil || !bytes.Equal(got, content) {
		t.Fatal(got, err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	families := map[string]int{}
	for range 1000 {
		n := byte(10 + rng.IntN(200))
		b := newDeviceKeys(t, n)
		var err error
		var family string
		switch rng.IntN(6) {
		case 0:
			family = "another machine's box"
			_, err = UnwrapAsDevice(b.box, a.digest(), good)
		case 1:
			family = "another machine"
			_, err = UnwrapAsDevice(b.box, b.digest(), good)
		case 2:
			family = "another host with this box"
			_, err = UnwrapAsDevice(a.box, b.digest(), append(append([]byte{formatDeviceWrap}, hostBytes(b.digest())...), good[33:]...))
		case 3:
			family = "wrapped to another box under this host"
			_, err = UnwrapAsDevice(a.box, a.digest(), wrap(b, a.digest()))
		case 4:
			family = "a bit"
			_, err = UnwrapAsDevice(a.box, a.digest(), flip(good, rng.IntN(len(good))))
		case 5:
			family = "cut"
			_, err = UnwrapAsDevice(a.box, a.digest(), good[:rng.IntN(len(good))])
		}
		if families[family]++; err == nil {
			t.Errorf("%s: it opens", family)
		}
	}
	if len(families) != 6 {
		t.Errorf("%v", families)
	}
}

func hostBytes(d capability.Digest) []byte { return d[:] }

// The text form is the file again, whatever is around it; no wrong character passes, and the line it is in is named.
func TestText(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{1, 44, 45, 46, 90, 2000} {
		file := make([]byte, size)
		for i := range file {
			file[i] = byte(rng.Uint32())
		}
		text := Text(file)
		for name, form := range map[string]string{
			"as it is": text, "in a mail": "Dear all,\r\n\r\n> nothing\n" + strings.ReplaceAll(text, "\n", "  \r\n") + "\r\n-- \nAna\n", "indented": strings.ReplaceAll(text, "\n", "\n\n   "),
		} {
			if got, err := FromText([]byte(form)); err != nil || !bytes.Equal(got, file) {
				t.Errorf("%d bytes, %s: %v", size, name, err)
			}
		}
		if got, err := FromText(file); err != nil || !bytes.Equal(got, file) {
			t.Errorf("%d bytes that are no text: %v", size, err)
		}
	}
	file := []byte("a request file, more or less; what is in it does not matter here at all, but that it has a few lines does")
	text := Text(file)
	const typed = "ABCxyz019-_ "
	for i := range text {
		for _, r := range typed {
			wrong := text[:i] + string(r) + text[i+1:]
			if got, err := FromText([]byte(wrong)); err == nil && bytes.Equal(got, file) != (wrong == text || strings.Join(strings.Fields(wrong), " ") == strings.Join(strings.Fields(text), " ")) && text[i] != '\n' {
				if !bytes.Equal(got, []byte(wrong)) { // a wrong marker makes it no text of ours
					t.Errorf("%q for %q at %d passes", r, text[i], i)
				}
			}
		}
		if i+1 < len(text) && text[i] != text[i+1] && text[i] != '\n' && text[i+1] != '\n' {
			swapped := text[:i] + string(text[i+1]) + string(text[i]) + text[i+2:]
			if got, err := FromText([]byte(swapped)); err == nil && !bytes.Equal(got, []byte(swapped)) && !bytes.Equal(got, file) {
				t.Errorf("two neighbors swapped at %d pass", i)
			}
		}
	}
	lines := strings.SplitAfter(text, "\n")
	for name, bad := range map[string]string{
		"a line is missing":  strings.Join(append(append([]string{}, lines[:2]...), lines[3:]...), ""),
		"a line twice":       strings.Join(append(append(append([]string{}, lines[:2]...), lines[1]), lines[2:]...), ""),
		"two are exchanged":  strings.Join([]string{lines[0], lines[2], lines[1], lines[3], lines[4]}, ""),
		"the end is missing": strings.Join(lines[:len(lines)-2], ""),
		"the last is":        strings.Join(append(append([]string{}, lines[:3]...), lines[4]), ""),
	} {
		if _, err := FromText([]byte(bad)); err == nil {
			t.Errorf("%s, and nobody minds", name)
		} else if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrCut) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong := strings.Replace(lines[2], lines[2][5:6], "!", 1)
	if _, err := FromText([]byte(strings.Replace(text, lines[2], wrong, 1))); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("the line is not named: %v", err)
	}
}

// What is read as a text form is the file of exactly one: written again it is the same lines.
func FuzzFromText(f *testing.F) {
	f.Add([]byte(Text([]byte("a file"))))
	f.Add([]byte("words\n" + Text(bytes.Repeat([]byte{1, 2, 3}, 40)) + "words"))
	f.Add([]byte(textBegin + "\n1 AA AAAAAA\n" + textEnd + " 1"))
	f.Add([]byte(strings.Join(Frames([]byte("a file"), LeastFrame), "\n")))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := FromText(b)
		if err != nil || bytes.Equal(file, b) || len(file) == 0 || !bytes.Contains(b, []byte(textBegin)) {
			return
		}
		_, given, _ := strings.Cut(string(b), textBegin)
		given, _, _ = strings.Cut(given, textEnd)
		_, written, _ := strings.Cut(Text(file), textBegin)
		written, _, _ = strings.Cut(written, textEnd)
		if strings.Join(strings.Fields(given), " ") != strings.Join(strings.Fields(written), " ") {
			t.Errorf("%q is read as\n%s", b, Text(file))
		}
	})
}
