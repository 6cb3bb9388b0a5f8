package capability

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// What people type is refused, or has one form that reads as the same.

func FuzzParseRecoveryKey(f *testing.F) {
	key, err := NewRecoveryKey(bytes.NewReader(bytes.Repeat([]byte{7, 99}, 64)))
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{string(key), strings.ToLower(string(key)), string(key)[1:], string(key) + "\n", strings.ReplaceAll(string(key), "-", " "), "", "é" + string(key)[1:]} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := ParseRecoveryKey(s)
		if err != nil {
			if !errors.Is(err, ErrRecoveryKey) {
				t.Fatal(err)
			}
			return
		}
		if again, err := ParseRecoveryKey(string(key)); err != nil || again != key {
			t.Fatalf("%q reads as %s, and that as %s: %v", s, key, again, err)
		}
	})
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"2027-03-31", "2027-03-31T17:00:00Z", "2027-03-31T17:00:00.9+05:30", "0000-01-01", "9999-12-31", "2027-02-29", "", "31.3.2027"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, end bool) {
		at, err := ParseDate(s, end)
		if err != nil || at == 0 { // which is none, for people
			return
		}
		if again, err := ParseDate(at.String(), end); err != nil || again != at {
			t.Fatalf("%q is %s, which reads as %s: %v", s, at, again, err)
		}
	})
}

func FuzzParseCode(f *testing.F) {
	for _, s := range []string{"LH-3104", "3104", "e_no_seat", " lh-3104 ", "LH-LH-3104", "LH-03104", "LH-9999", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCode(s)
		if err != nil {
			return
		}
		for _, form := range []string{c.String(), c.Symbol()} {
			if again, err := ParseCode(form); err != nil || again != c {
				t.Fatalf("%q is %s, and %s is %s: %v", s, c, form, again, err)
			}
		}
	})
}
