package probe

import (
	"crypto/sha256"
	"fmt"
	"path"
	"strings"
)

// value is the made-up value for a real one: always the same for the same, never the same for two. What thousands of machines show stays as it is,
// because it says nothing and its flaw shall be found again.
func (s *scrubber) value(original string, kind func(original string, seed [32]byte) string) string {
	if kept, ok := worn(original); ok {
		return kept
	}
	key := strings.ToUpper(original) // an address is in small letters here and in capitals there
	if made, ok := s.made[key]; ok {
		return made
	}
	for {
		s.count++
		made := kind(original, sha256.Sum256(fmt.Appendf(nil, "%s %d", s.salt, s.count)))
		if s.count%64 == 0 { // there may be no more of this length
			made += fmt.Sprint(s.count)
		}
		mark := strings.ToUpper(made)
		if _, junk := worn(made); !junk && !s.taken[mark] && mark != key && s.made[mark] == "" {
			s.taken[mark], s.made[key] = true, made
			return made
		}
	}
}

// worn says that a value is of no machine in particular, and what may be kept of it: of what only begins as junk does, the beginning.
func worn(v string) (kept string, ok bool) {
	low := strings.ToLower(v)
	if isForm(v, macForm) {
		low = strings.ReplaceAll(low, ":", "")
	}
	begin := junk(low)
	switch {
	case v == "", flawOf(low) == repeated, isForm(v, uuidForm) && digits(v) < 4, begin != "" && (begin == low || len(low) != len(v)):
		return v, true
	case begin != "":
		return v[:len(begin)], true
	}
	return "", false
}

// uuidOf keeps nothing but the form; what has not that form is a serial number.
func uuidOf(original string, seed [32]byte) string {
	if !isUUID(original) {
		return serialOf(original, seed)
	}
	return fmt.Sprintf("%X-%X-4%.3X-8%.3X-%X", seed[:4], seed[4:6], uint16(seed[6])<<4, uint16(seed[7])<<4, seed[8:14])
}

// macOf keeps the maker.
func macOf(original string, seed [32]byte) string {
	if !isForm(original, macForm) {
		return serialOf(original, seed)
	}
	return strings.ToLower(original[:9]) + fmt.Sprintf("%02x:%02x:%02x", seed[0], seed[1], seed[2])
}

// serialOf keeps the length, what is a digit, a capital or a small letter, and everything else, except that what is no ASCII becomes one byte that is none.
func serialOf(original string, seed [32]byte) string {
	const digits, hexadecimals, capitals = "0123456789", "ABCDEF", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	big := capitals
	if strings.Trim(original, digits+hexadecimals+strings.ToLower(hexadecimals)) == "" {
		big = hexadecimals
	}
	out := []byte(original)
	for i, c := range out {
		n := int(seed[i%len(seed)]) + i/len(seed)
		switch {
		case '0' <= c && c <= '9':
			out[i] = digits[n%len(digits)]
		case 'A' <= c && c <= 'Z':
			out[i] = big[n%len(big)]
		case 'a' <= c && c <= 'z':
			out[i] = big[n%len(big)] | 0x20
		case c >= 0x80:
			out[i] = 0xff
		}
	}
	return string(out)
}

// nameOf keeps nothing.
func nameOf(_ string, seed [32]byte) string { return fmt.Sprintf("volume-%x", seed[:4]) }

// hidden says that no value that was replaced is left in a path or a file. Short ones, and those of few different characters, are in everything.
func (s *scrubber) hidden(name string, e entry) bool {
	if path.Base(name) == makerFile {
		return true // a line of a public list
	}
	bare := strings.NewReplacer(":", "", "-", "")
	all := strings.ToUpper(name + "\n" + e.link + "\n" + e.text)
	for original, made := range s.made {
		short := bare.Replace(original)
		if len(short) >= 8 && digits(short) >= 4 && !strings.Contains(strings.ToUpper(made), original) && (strings.Contains(all, original) || strings.Contains(bare.Replace(all), short)) {
			return false
		}
	}
	return true
}
