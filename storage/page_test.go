package storage

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

const scannedDir = "LEASEHOLD_TEST_SCANNED_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(scannedDir); dir != "" {
		if err := scanned(dir, os.Stdin, os.Stdout); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// masked gives bytes that are nowhere in memory before they are read: a XOR b.
type masked struct{ a, b []byte }

func (m *masked) Read(p []byte) (int, error) {
	n := min(len(p), len(m.a))
	if n == 0 {
		return 0, io.EOF
	}
	for i := range n {
		p[i] = m.a[i] ^ m.b[i]
	}
	m.a, m.b = m.a[n:], m.b[n:]
	return n, nil
}

// mask is a Sealer that hides the secret from whoever looks for its bytes.
type mask []byte

func (m mask) Seal(s []byte, _ uint64) ([]byte, error) {
	return io.ReadAll(&masked{m, s})
}

func (m mask) Unseal(blob []byte, epoch uint64) ([]byte, error) {
	s := make([]byte, len(blob))
	_, err := io.ReadFull(&masked{m, blob}, s)
	return s, err
}

const (
	uses          = 20
	maskOfVault   = "2b7e151628aed2a6abf7158809cf4f3c2b7e151628aed2a6abf7158809cf4f3c"
	maskOfSigning = "6bc1bee22e409f96e93d7e117393172a6bc1bee22e409f96e93d7e117393172a"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// scanned is the process that is searched: it uses every key uses times, says so, and collects garbage at each line it reads.
func scanned(dir string, in io.Reader, out io.Writer) error {
	page := NewPage()
	v, _, err := Open(Dir(dir), Options{Sealer: mask(unhex(maskOfVault)), Page: page, Rand: rand.Reader})
	if err != nil {
		return err
	}
	hidden, err := os.ReadFile(dir + ".signing")
	if err != nil {
		return err
	}
	signing, err := page.SigningKey(&masked{hidden, unhex(maskOfSigning)})
	if err != nil {
		return err
	}
	key, err := v.DeriveKey("archive")
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir+".archive", 0o700); err != nil {
		return err
	}
	a, err := CreateArchive(Dir(dir+".archive"), key, nil, rand.Reader)
	if err == nil {
		err = v.Begin()
	}
	for i := range uses {
		_, refused := signing.Sign(nil, []byte{byte(i)}, crypto.Hash(0))
		err = errors.Join(err, refused, v.Commit([][]byte{{byte(i)}}), a.SetNote([]byte{byte(i)}))
		if i == uses/2 {
			err = errors.Join(err, v.Snapshot([]byte{1}))
		}
	}
	err = errors.Join(err, v.Move([]byte{1}, nil))
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if lines.Text() == "close" {
			err = v.Close()
		}
		runtime.GC()
		fmt.Fprintln(out, "collected")
	}
	runtime.KeepAlive(signing)
	runtime.KeepAlive(a)
	return err
}

// wanted is what is searched for.
type wanted struct {
	name  string
	bytes []byte
	onto  bool // lives on the page
}

// derived gives the key of a label and salt, and what HKDF and HMAC make on the way to it.
func derived(t *testing.T, name string, root []byte, label string, salt []byte) []wanted {
	t.Helper()
	prk, err := hkdf.Extract(sha256.New, root, salt)
	if err != nil {
		t.Fatal(err)
	}
	pad := bytes.Repeat([]byte{0x36}, 64)
	for i, b := range prk {
		pad[i] ^= b
	}
	return []wanted{{name, secret(root).key(label, salt), false}, {name + ", pseudorandom", prk, false}, {name + ", padded", pad[:32], false}}
}

// search counts what it finds in all memory of a process that can be read, root's way: through /proc.
func search(t *testing.T, pid int, want []wanted) (hits []int, read int64) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	hits = make([]int, len(want))
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || mode[0] != 'r' || strings.Contains(line, "[v") {
			continue
		}
		b := make([]byte, to-from)
		n, _ := mem.ReadAt(b, from) // a hidden page cannot be read
		read += int64(n)
		for i, w := range want {
			hits[i] += bytes.Count(b[:n], w.bytes)
		}
	}
	return hits, read
}

// Another process that looks through all memory, as root may, finds no key after each was used 20 times: the keys at rest are on a page that the kernel
// hides, and what uses leave is erased once the collector has run. Without memfd_secret the page is seen, so each key that rests there is found
// once; without the runtime's experiment copies stay behind, up to the number asserted.
func TestKeysInMemory(t *testing.T) {
	const maxLeft = 2 * uses // of one key, without the experiment; measured: 66 copies of 21 keys
	dir := t.TempDir() + "/vault"
	root, seed := make([]byte, secretBytes), make([]byte, ed25519.SeedSize)
	rand.Read(root)
	rand.Read(seed)
	v, err := Create(Dir(dir), Options{Sealer: mask(unhex(maskOfVault)), Rand: io.MultiReader(bytes.NewReader(root), rand.Reader)}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	archive, err := v.Derive("archive", secretBytes)
	if err = errors.Join(err, v.Begin(), v.Close()); err != nil {
		t.Fatal(err)
	}
	hidden, _ := io.ReadAll(&masked{seed, unhex(maskOfSigning)})
	if err := os.WriteFile(dir+".signing", hidden, 0o600); err != nil {
		t.Fatal(err)
	}

	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program)
	c.Env = append(os.Environ(), scannedDir+"="+dir)
	in, err1 := c.StdinPipe()
	out, err2 := c.StdoutPipe()
	if err := errors.Join(err1, err2, c.Start()); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	defer func() {
		in.Close()
		io.Copy(io.Discard, out)
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}()
	answer := func(want string) {
		t.Helper()
		if lines.Scan(); lines.Text() != want {
			t.Fatalf("the process says %q", lines.Text())
		}
	}
	answer("ready")

	expanded := sha512.Sum512(seed)
	want := []wanted{{"root secret", root, true}, {"archive secret", archive, true}, {"seed of the signing key", seed, true}, {"prefix of the signing key", expanded[32:], false}}
	want = append(want, derived(t, "key of headers", root, labelHeader, nil)...)
	want = append(want, derived(t, "key of segment headers", root, labelSegment, nil)...)
	want = append(want, derived(t, "archive secret", root, labelCaller+"archive", nil)[1:]...)
	for _, f := range []struct {
		name, dir, prefix, label string
		root                     []byte
		salt                     int
	}{{"key of a segment", dir, "journal-", labelJournal, root, 12}, {"key of a snapshot", dir, "snapshot-", labelSnapshot, root, 9}, {"key of the note", dir + ".archive", noteName, labelArchive, archive, 9}} {
		names, err := Dir(f.dir).List()
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, name := range names {
			if strings.HasPrefix(name, f.prefix) {
				b, err := os.ReadFile(f.dir + "/" + name)
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, derived(t, f.name, f.root, f.label, b[f.salt:f.salt+saltBytes])...)
				found++
			}
		}
		if found == 0 {
			t.Fatalf("no file %s in %v", f.prefix, names)
		}
	}
	// What is certain to be there shows that the search can find.
	env := wanted{"environment", []byte(scannedDir + "=" + dir), false}

	weak := NewPage().Weakness()
	bound := func(w wanted) int {
		switch {
		case !Erases:
			return maxLeft
		case weak != nil && w.onto:
			return 1
		}
		return 0
	}
	var hits []int
	for round := range 20 {
		var read int64
		hits, read = search(t, c.Process.Pid, append(want, env))
		if hits[len(want)] == 0 || read < 1<<20 {
			t.Fatalf("the search of %d bytes does not find what is there", read)
		}
		sum, over := 0, false
		for i, w := range want {
			sum += hits[i]
			over = over || hits[i] > bound(w)
		}
		if round < 2 {
			t.Logf("after %d uses and %d collections: %d copies of %d keys in %d MiB; page: %v; copies erased: %v", uses, round, sum, len(want), read>>20, weak, Erases)
		}
		if !over && round > 0 {
			break
		}
		fmt.Fprintln(in, "collect")
		answer("collected")
	}
	for i, w := range want {
		if hits[i] > bound(w) {
			t.Errorf("%s is found %d times, want at most %d", w.name, hits[i], bound(w))
		}
	}
	fmt.Fprintln(in, "close")
	answer("collected")
	if closed, _ := search(t, c.Process.Pid, want); Erases && closed[0] != 0 {
		t.Errorf("the root secret is found %d times after Close", closed[0])
	}
}

func TestPage(t *testing.T) {
	page := NewPage()
	empty := func(when string) {
		t.Helper()
		if i := bytes.IndexFunc(page.bytes, func(r rune) bool { return r != 0 }); i >= 0 {
			t.Errorf("%s byte %d of the page is not zero", when, i)
		}
	}
	v, err := Create(Dir(t.TempDir()), Options{Sealer: mask(unhex(maskOfVault)), Page: page, Rand: rand.Reader}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(v.secret, page.bytes[:secretBytes]) || &v.secret[0] != &page.bytes[0] {
		t.Error("the root secret is not on the page")
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	empty("after Close")

	var taken [][]byte
	for range pageBytes / slotBytes {
		b, err := page.take(slotBytes)
		if err != nil {
			t.Fatal(err)
		}
		rand.Read(b)
		taken = append(taken, b)
	}
	if _, err := page.take(1); err == nil {
		t.Error("a full page has room")
	}
	if _, err := page.SigningKey(rand.Reader); err == nil {
		t.Error("a full page takes a signing key")
	}
	if _, err := Create(Dir(t.TempDir()), Options{Sealer: mask(unhex(maskOfVault)), Page: page, Rand: rand.Reader}, nil, nil); err == nil {
		t.Error("a full page takes a vault")
	}
	page.drop(taken[7])
	again, err := page.take(3)
	if err != nil || &again[0] != &taken[7][0] || !bytes.Equal(taken[7], make([]byte, slotBytes)) {
		t.Errorf("a place that was left: %v, %v", again, err)
	}
	page.Clear()
	empty("after Clear")
	if _, err := page.SigningKey(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a signing key of 31 bytes")
	}
	empty("after a key that was not drawn")
}

// The key signs as the package's does, on every kind of page.
func TestSigningKey(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	locked, err := lockedMemory()
	if err != nil {
		t.Fatal(err)
	}
	want := ed25519.NewKeyFromSeed(seed)
	for name, page := range map[string]*Page{"hidden": NewPage(), "locked": {bytes: locked}, "ordinary": {bytes: make([]byte, pageBytes)}, "none": nil} {
		k, err := page.SigningKey(bytes.NewReader(seed))
		if err != nil {
			t.Fatal(err)
		}
		if !want.Public().(ed25519.PublicKey).Equal(k.Public()) {
			t.Errorf("%s: another public key", name)
		}
		for i := range 100 {
			message := []byte{byte(i)}
			signature, err := k.Sign(nil, message, crypto.Hash(0))
			if err != nil || !bytes.Equal(signature, ed25519.Sign(want, message)) {
				t.Fatalf("%s: signature %d: %x, %v", name, i, signature, err)
			}
			if i%10 == 0 {
				runtime.GC()
			}
		}
		if _, err := k.Sign(nil, []byte("x"), crypto.SHA256); err == nil {
			t.Errorf("%s: signs a digest", name)
		}
	}
}

// BenchmarkSign compares a key on a page with one in ordinary memory, which the package signs with as it is.
func BenchmarkSign(b *testing.B) {
	_, ordinary, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	hidden, err := NewPage().SigningKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	for name, k := range map[string]crypto.Signer{"ordinary": ordinary, "page": hidden} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := k.Sign(nil, []byte("root"), crypto.Hash(0)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
