package capability

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// symbols takes an ID apart; write puts 20 values together without checking them.
func symbols(t testing.TB, id ActivationID) (s [idSymbols]byte) {
	t.Helper()
	plain := strings.ReplaceAll(string(id), "-", "")
	if len(plain) != idSymbols {
		t.Fatalf("%q has %d symbols", id, len(plain))
	}
	for i := range s {
		s[i] = byte(strings.IndexByte(crockford, plain[i]))
	}
	return s
}

// chance is a fixed stream: SHA-256 of a counter.
type chance struct {
	n    byte
	rest []byte
}

func (c *chance) Read(b []byte) (int, error) {
	for i := range b {
		if len(c.rest) == 0 {
			d := sha256.Sum256([]byte{c.n})
			c.n, c.rest = c.n+1, d[:]
		}
		b[i], c.rest = c.rest[0], c.rest[1:]
	}
	return len(b), nil
}

func TestActivationIDIsReadAsTyped(t *testing.T) {
	for range 50 {
		id, err := NewActivationID(&chance{n: 3})
		if err != nil || id.Validate() != nil || len(id) != 23 {
			t.Fatalf("%q, %v, %v", id, err, id.Validate())
		}
		plain := strings.ReplaceAll(string(id), "-", "")
		for _, typed := range []string{
			string(id), strings.ToLower(string(id)), plain, " " + plain + "\t", strings.Join(strings.Split(plain, ""), "-"),
			strings.NewReplacer("0", "O", "1", "l").Replace(string(id)), strings.NewReplacer("0", "o", "1", "I").Replace(string(id)),
		} {
			if got, err := ParseActivationID(typed); err != nil || got != id {
				t.Errorf("%q: %q, %v", typed, got, err)
			}
			if typed != string(id) && ActivationID(typed).Validate() == nil {
				t.Errorf("%q is not the form for messages", typed)
			}
		}
	}
	for _, wrong := range []string{"", "-", "7", "UUUUU-UUUUU-UUUUU-UUUUU", strings.Repeat("0", 19), strings.Repeat("0", 21), "00000-00000-00000-0000\u00e9", "00000_00000_00000_00000", strings.Repeat("0", 100000)} {
		if id, err := ParseActivationID(wrong); !errors.Is(err, ErrActivationID) {
			t.Errorf("%.30q: %q, %v", wrong, id, err)
		}
	}
	if _, err := NewActivationID(bytes.NewReader(make([]byte, 17))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("17 bytes of chance: %v", err)
	}
}

// Any one wrong symbol is named with its place and what it should have been.
func TestOneWrongSymbolIsLocated(t *testing.T) {
	c := &chance{}
	for range 20 {
		id, err := NewActivationID(c)
		if err != nil {
			t.Fatal(err)
		}
		right := symbols(t, id)
		for place := range right {
			for wrong := range byte(32) {
				if wrong == right[place] {
					continue
				}
				s := right
				s[place] = wrong
				_, err := ParseActivationID(string(format(s)))
				want := fmt.Sprintf("symbol %d (group %d) is %c; if all others are right it is %c", place+1, place/5+1, crockford[wrong], crockford[right[place]])
				if !errors.Is(err, ErrActivationID) || !strings.HasSuffix(err.Error(), want) {
					t.Fatalf("%s, symbol %d: %v", format(s), place+1, err)
				}
			}
		}
	}
}

// Two wrong symbols are never taken: every pair of places, every pair of errors.
func TestTwoWrongSymbolsAreRefused(t *testing.T) {
	id, err := NewActivationID(&chance{n: 50})
	if err != nil {
		t.Fatal(err)
	}
	right := symbols(t, id)
	for a := range right {
		for b := a + 1; b < len(right); b++ {
			for e := byte(1); e < 32; e++ {
				for f := byte(1); f < 32; f++ {
					s := right
					s[a] ^= e
					s[b] ^= f
					if p0, p1 := syndromes(s); p0 == 0 && p1 == 0 {
						t.Fatalf("places %d and %d wrong by %d and %d: accepted", a+1, b+1, e, f)
					}
				}
			}
			// and through the door that people use, with values that differ from pair to pair
			s := right
			s[a] ^= byte(1 + (a*7+b)%31)
			s[b] ^= byte(1 + (b*11+a)%31)
			if got, err := ParseActivationID(string(format(s))); !errors.Is(err, ErrActivationID) {
				t.Fatalf("places %d and %d wrong: %q, %v", a+1, b+1, got, err)
			}
		}
	}
}

func TestSwappedNeighborsAreRefused(t *testing.T) {
	id, err := NewActivationID(&chance{n: 90})
	if err != nil {
		t.Fatal(err)
	}
	for i := range idSymbols - 1 {
		s := symbols(t, id)
		if s[i] == s[i+1] {
			continue
		}
		s[i], s[i+1] = s[i+1], s[i]
		if _, err := ParseActivationID(string(format(s))); !errors.Is(err, ErrActivationID) {
			t.Errorf("symbols %d and %d swapped: accepted", i+1, i+2)
		}
	}
}

// GF(32) is a field: the two checks stand on that.
func TestField(t *testing.T) {
	seen := map[byte]bool{}
	x := byte(1)
	for range gf32Elements {
		if seen[x] {
			t.Fatalf("2 does not generate the field: %d comes twice", x)
		}
		seen[x] = true
		x = gfMul(x, 2)
	}
	for a := range byte(32) {
		for b := range byte(32) {
			if gfMul(a, b) != gfMul(b, a) || gfMul(a, b) >= 32 || (gfMul(a, b) == 0) != (a == 0 || b == 0) {
				t.Fatalf("%d times %d is %d", a, b, gfMul(a, b))
			}
			for c := range byte(32) {
				if gfMul(a, b^c) != gfMul(a, b)^gfMul(a, c) {
					t.Fatalf("%d (%d + %d)", a, b, c)
				}
			}
		}
		if a != 0 && gfMul(a, gfInverse(a)) != 1 {
			t.Fatalf("the inverse of %d is %d", a, gfInverse(a))
		}
	}
}

func FuzzParseActivationID(f *testing.F) {
	for _, s := range []string{"", "00000-00000-00000-00000", "7K2QF", "oil", "\xff", "\u0131\u017f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseActivationID(s)
		if err != nil {
			if !errors.Is(err, ErrActivationID) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if err := id.Validate(); err != nil {
			t.Errorf("%q is %q: %v", s, id, err)
		}
	})
}

// A symbol has the value of its place, and nothing else is one.
func TestSymbolValues(t *testing.T) {
	for c := range 256 {
		want := strings.IndexByte(crockford, byte(c))
		if want < 0 {
			want = 32
		}
		if got := symbolValue(byte(c)); int(got) != want {
			t.Errorf("byte %d is %d, want %d", c, got, want)
		}
	}
}

// Validate takes an ID exactly where Parse gives that very text back, whatever byte of it is another.
func TestValidateIsParse(t *testing.T) {
	id, err := NewActivationID(bytes.NewReader([]byte("a book has so many of them")))
	if err != nil {
		t.Fatal(err)
	}
	for at := range id {
		for c := range 256 {
			other := id[:at] + ActivationID([]byte{byte(c)}) + id[at+1:]
			parsed, err := ParseActivationID(string(other))
			if want, got := err == nil && parsed == other, other.Validate() == nil; got != want {
				t.Errorf("%q: valid %t, want %t", other, got, want)
			}
		}
	}
}
