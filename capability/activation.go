package capability

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// ActivationID names one line item of an entitlement: four groups of five symbols of Crockford's base32, as 7K2QF-....
// 18 symbols are chance (90 bits), the last two are a Reed-Solomon check over GF(32), which finds any two wrong symbols and says where one is.
type ActivationID string

// ErrActivationID is in every error of ParseActivationID.
var ErrActivationID = errors.New("not an activation ID")

const (
	crockford    = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	idSymbols    = 20
	idChecks     = 2
	idGroup      = 5
	gf32Modulus  = 0x25 // x^5 + x^2 + 1
	gf32Elements = 31
)

// NewActivationID draws an ID from rand.
func NewActivationID(rand io.Reader) (ActivationID, error) {
	var b [idSymbols - idChecks]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", fmt.Errorf("draw an activation ID: %w", err)
	}
	var s [idSymbols]byte
	for i, c := range b {
		s[i] = c & 31
	}
	// The codeword c(x) = sum s[i] x^(19-i) has the roots 1 and 2 (alpha^0, alpha^1): solve for the two check symbols.
	p0, p1 := syndromes(s)
	// c18*1 + c19 = p0 ; c18*2 + c19 = p1
	s[18] = gfMul(p0^p1, gfInverse(1^2))
	s[19] = p0 ^ s[18]
	return format(s), nil
}

// ParseActivationID reads an ID as people type it: any case, with or without hyphens or spaces, O for 0, I and L for 1.
// A single wrong symbol is named with its place and what it should have been.
func ParseActivationID(text string) (ActivationID, error) {
	var s [idSymbols]byte
	n := 0
	for _, r := range strings.ToUpper(text) {
		switch r {
		case '-', ' ', '\t':
			continue
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		v := strings.IndexRune(crockford, r)
		if v < 0 {
			return "", fmt.Errorf("%w: %q is not one of its symbols", ErrActivationID, r)
		}
		if n < idSymbols {
			s[n] = byte(v)
		}
		n++
	}
	if n != idSymbols {
		return "", fmt.Errorf("%w: %d symbols where there are %d", ErrActivationID, n, idSymbols)
	}
	p0, p1 := syndromes(s)
	if p0 == 0 && p1 == 0 {
		return format(s), nil
	}
	if at, ok := locate(p0, p1); ok {
		fixed := s
		fixed[at] ^= p0
		return "", fmt.Errorf("%w: symbol %d (group %d) is %c; if all others are right it is %c", ErrActivationID, at+1, at/idGroup+1, crockford[s[at]], crockford[fixed[at]])
	}
	return "", fmt.Errorf("%w: several symbols are wrong", ErrActivationID)
}

// syndromes are the codeword at 1 and at 2; both are zero exactly for a whole ID.
func syndromes(s [idSymbols]byte) (p0, p1 byte) {
	for _, c := range s {
		p0 ^= c
		p1 = p1<<1 ^ p1>>4*gf32Modulus ^ c // times 2
	}
	return p0, p1
}

// locate finds the one place whose change by p0 explains both syndromes.
func locate(p0, p1 byte) (int, bool) {
	if p0 == 0 || p1 == 0 {
		return 0, false
	}
	x := byte(1)
	for place := idSymbols - 1; place >= 0; place-- {
		if gfMul(p0, x) == p1 {
			return place, true
		}
		x = gfMul(x, 2)
	}
	return 0, false
}

func gfMul(a, b byte) byte {
	var p byte
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			p ^= a
		}
		a <<= 1
		if a&32 != 0 {
			a ^= gf32Modulus
		}
	}
	return p
}

// gfInverse is a^30: the multiplicative group has 31 elements.
func gfInverse(a byte) byte {
	p := byte(1)
	for range gf32Elements - 1 {
		p = gfMul(p, a)
	}
	return p
}

func format(s [idSymbols]byte) ActivationID {
	var b strings.Builder
	for i, v := range s {
		if i > 0 && i%idGroup == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(crockford[v])
	}
	return ActivationID(b.String())
}

// canonical says that id is in the one form that Parse produces. It makes nothing, because a book has a million of them at each start.
func (id ActivationID) canonical() bool {
	if len(id) != idSymbols+idSymbols/idGroup-1 {
		return false
	}
	var s [idSymbols]byte
	var wrong byte
	for group := range idSymbols / idGroup {
		from := group * (idGroup + 1)
		for i := range idGroup {
			v := symbolValue(id[from+i])
			s[group*idGroup+i], wrong = v, wrong|v
		}
		if group > 0 && id[from-1] != '-' {
			return false
		}
	}
	p0, p1 := syndromes(s)
	return wrong < noSymbol && p0|p1 == 0
}

// noSymbol is more than the place of any symbol.
const noSymbol = 1 << 5

// symbolPlaces has the place in crockford of each byte from '0' to 'Z'; a space is noSymbol.
const symbolPlaces = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09       \x0a\x0b\x0c\x0d\x0e\x0f\x10\x11 \x12\x13 \x14\x15 \x16\x17\x18\x19\x1a \x1b\x1c\x1d\x1e\x1f"

// symbolValue is the place of a symbol in crockford, or more than all of them.
func symbolValue(c byte) byte {
	if at := int(c) - '0'; at >= 0 && at < len(symbolPlaces) {
		return symbolPlaces[at]
	}
	return noSymbol
}

// Validate accepts the one form that Parse produces.
func (id ActivationID) Validate() error {
	if id.canonical() {
		return nil
	}
	p, err := ParseActivationID(string(id))
	if err != nil {
		return err
	}
	if p != id {
		return fmt.Errorf("%w: %q is not in its canonical form %q", ErrActivationID, string(id), string(p))
	}
	return nil
}
