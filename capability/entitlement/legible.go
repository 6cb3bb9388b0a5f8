package entitlement

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/leasehold/leasehold/capability"
)

// Names are read by people, who take two for one that differ in what nothing shows. So a name that is new in the book, of a login, a user, an account, or of who approves, has one space between its words
// and no character that is not seen. What older books hold stays: Apply does not ask.

// unseen says that a character looks like a space, or like nothing.
func unseen(r rune) bool {
	switch {
	case unicode.In(r, unicode.Z, unicode.Cf), r == 0x034f, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r >= 0x180b && r <= 0x180f, r == 0x2800, r == 0x3164, r >= 0xfe00 && r <= 0xfe0f, r == 0xffa0,
		r >= 0xe0000 && r <= 0xe0fff:
		return true
	}
	return false
}

// legible says why a name cannot be told from others by who reads it, or nil.
func legible(what, name string) error {
	if err := capability.CheckName(what, name); err != nil {
		return err
	}
	for at, r := range name {
		if r != ' ' && unseen(r) {
			return fmt.Errorf("%s %q: character %U at byte %d is not seen", what, name, r, at)
		}
	}
	if plain := strings.Join(strings.Fields(name), " "); plain != name {
		return fmt.Errorf("%s %q: want single spaces, and none at its ends: %q", what, name, plain)
	}
	return nil
}

// folded is what names share that are equal but for case, as strings.EqualFold compares them.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}
