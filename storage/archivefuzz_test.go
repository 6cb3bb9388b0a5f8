package storage

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// FuzzPart: whatever a file of an archive holds under a genuine seal, and whatever bytes it is, it is refused as damaged or gives the records of its name, which
// are packed again to the same.
func FuzzPart(f *testing.F) {
	a := &Archive{secret: fixedSecret(), rand: bytes.NewReader(make([]byte, 1<<20))}
	f.Add([]byte{0, 0, 0, 1, 7, 0, 0, 0, 0}, uint64(1), uint64(2), true)
	f.Add([]byte{0, 0, 0, 9, 7}, uint64(1), uint64(1), true)
	f.Add([]byte{255, 255, 255, 255, 7}, uint64(0), ^uint64(0), true)
	f.Add([]byte{}, uint64(5), uint64(4), true)
	whole, err := a.encode(part{1, 1}, [][]byte{{1, 2, 3}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, uint64(1), uint64(1), false)
	f.Add(whole[:len(whole)-1], uint64(1), uint64(1), false)
	f.Fuzz(func(t *testing.T, b []byte, first, last uint64, sealed bool) {
		p := part{first, last}
		a := &Archive{secret: fixedSecret(), rand: bytes.NewReader(make([]byte, 1<<10))}
		if sealed {
			var err error
			if b, err = a.seal(p, b); err != nil {
				t.Fatal(err)
			}
		}
		records, err := a.decode(p, b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := a.encode(p, records)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := a.decode(p, again); err != nil || !slices.EqualFunc(twice, records, bytes.Equal) {
			t.Fatalf("%x is packed as %x: %v", records, twice, err)
		}
		if sealed {
			if _, err := a.decode(part{first + 1, last + 1}, b); err == nil {
				t.Fatal("it opens by another name")
			}
		}
	})
}

// FuzzPartName: a name that is one of a part is the one name of that part.
func FuzzPartName(f *testing.F) {
	for _, s := range []string{part{1, 20}.name(), part{0, ^uint64(0)}.name(), "part-1-2", "part-", noteName, keyName, ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, is := partOf(s); is && (p.name() != s || p.first > p.last) {
			t.Fatalf("%q is taken for %s", s, p.name())
		}
	})
}

// FuzzUnwrap: a wrapped secret opens by its code, and nothing else does.
func FuzzUnwrap(f *testing.F) {
	whole, err := Wrap("a code", fixedSecret(), bytes.NewReader(make([]byte, 1<<10)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:10])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Unwrap("a code", b)
		if (err == nil) != bytes.Equal(b, whole) || err != nil && !errors.Is(err, ErrCode) {
			t.Fatalf("%x opens as %x: %v", b, s, err)
		}
	})
}
