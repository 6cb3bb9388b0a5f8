package storage

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// deflated is the length of p packed behind something; what comes out again must be p.
func deflated(t *testing.T, what string, p []byte) int {
	t.Helper()
	const before = "header"
	packed := deflate([]byte(before), p)
	if !bytes.HasPrefix(packed, []byte(before)) {
		t.Fatalf("%s: what was before is %q", what, packed[:min(len(packed), len(before))])
	}
	in := bytes.NewReader(packed[len(before):])
	got, err := io.ReadAll(flate.NewReader(in))
	if err != nil || !bytes.Equal(got, p) || in.Len() > 0 {
		t.Fatalf("%s: %d bytes became %d with %d behind them: %v", what, len(p), len(got), in.Len(), err)
	}
	return len(packed) - len(before)
}

func TestDeflate(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 1))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(chance.Uint32())
		}
		return b
	}
	apart := func(n int) []byte { // a thing twice, so far apart, of bytes with short codes
		b := noise(n + 100)
		for i := range b {
			b[i] %= 128
		}
		copy(b[n:], b[:100])
		return b
	}
	var records []byte
	for n := range 4000 {
		records = fmt.Appendf(records, "record %d of device-%04d about something that all are about, its hash %s and the end of it", n, n%50, noise(32))
	}
	for _, c := range []struct {
		what string
		p    []byte
		most int
	}{
		{"nothing", nil, 5},
		{"a byte", []byte{200}, 6},
		{"every byte", append(bytes.Repeat([]byte{143, 144}, 128), noise(256)...), 512 + 5},
		{"noise", noise(1 << 20), 1<<20 + 17*5},
		{"as much as a stored block", noise(1<<16 - 1), 1<<16 - 1 + 5},
		{"one more", noise(1 << 16), 1<<16 + 10},
		{"zeros", make([]byte, 5<<20), 5 << 20 / 100},
		{"records", records, len(records) * 55 / 100},
		{"as far as a match reaches", apart(1 << 15), 1<<15 + 20},
		{"too far", apart(1<<15 + 1), 1<<15 + 1 + 100 + 5},
		{"far further", apart(1<<16 + 1<<15), 1<<16 + 1<<15 + 100 + 10},
	} {
		if n := deflated(t, c.what, c.p); n > c.most {
			t.Errorf("%s: %d bytes became %d, at most %d were expected", c.what, len(c.p), n, c.most)
		}
	}
	for n := range 1200 { // every length of a match, and what is left of a long one
		deflated(t, fmt.Sprint(n, " alike"), bytes.Repeat([]byte("abcdefghij"), n/10+2)[:n+10])
	}
	for seed := range uint64(3000) {
		chance = rand.New(rand.NewPCG(2, seed))
		p := noise(chance.IntN(3000))
		for i := range p {
			p[i] %= byte(1 + seed%255) // few different bytes resemble each other by chance
		}
		for range chance.IntN(20) {
			if len(p) > 0 {
				from, to := chance.IntN(len(p)), chance.IntN(len(p))
				copy(p[to:], p[from:from+chance.IntN(len(p)-from)])
			}
		}
		deflated(t, fmt.Sprint("seed ", seed), p)
	}
}

// BenchmarkArchive is a part of records with a hash each, made ready for the disk.
func BenchmarkArchive(b *testing.B) {
	var plain []byte
	chance := rand.New(rand.NewPCG(1, 1))
	for n := range 4000 {
		plain = fmt.Appendf(plain, "record %d of device-%04d", n, n%64)
		plain = append(plain, make([]byte, 150)...)
		for range 80 {
			plain = append(plain, byte(chance.Uint32()))
		}
	}
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	a := Archive{secret: bytes.Repeat([]byte{1}, secretBytes), rand: bytes.NewReader(nil)}
	for b.Loop() {
		a.rand = bytes.NewReader(make([]byte, saltBytes))
		if _, err := a.seal(part{1, 4000}, plain); err != nil {
			b.Fatal(err)
		}
	}
}
