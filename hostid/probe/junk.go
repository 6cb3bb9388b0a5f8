package probe

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/hostid"
)

const maxShown = 96 // characters of a value or source that is only to be looked at

// shown is text for people that came from a machine: printable ASCII, cut where it is long.
func shown(s string) string {
	cut := len(s) > maxShown
	if cut {
		s = s[:maxShown]
	}
	q := strconv.QuoteToASCII(s)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	q = strings.ReplaceAll(q, `\\`, `\`)
	if len(q) > maxShown { // escapes are longer than what they stand for
		q, cut = q[:maxShown], true
	}
	if cut {
		q += "..."
	}
	return q
}

// table reads a data file: one entry a line, # begins a comment.
func table(name string) []string {
	b, err := data.ReadFile(name)
	if err != nil {
		return nil // it is part of the program
	}
	var lines []string
	for l := range strings.Lines(string(b)) {
		if l, _, _ = strings.Cut(l, "#"); strings.TrimSpace(l) != "" {
			lines = append(lines, strings.TrimSpace(l))
		}
	}
	return lines
}

// Flaws that a recording keeps, because the value is of no machine in particular.
const (
	common   = "thousands of machines show this one"
	repeated = "one character again and again"
)

// flawOf says why a serial number names no machine, or nothing.
func flawOf(serial string) string {
	switch {
	case serial == "":
		return "empty"
	case len(serial) > hostid.MaxValue:
		return fmt.Sprintf("longer than %d characters", hostid.MaxValue)
	}
	for i := range len(serial) {
		if c := serial[i]; c < 0x20 || c > 0x7e {
			return fmt.Sprintf("byte %d of it is no printable ASCII", i+1)
		}
	}
	low := strings.ToLower(serial)
	switch {
	case len(serial) < 4:
		return "too short to tell machines apart"
	case junk(low) != "":
		return common
	case digits(low) < 2:
		return repeated
	}
	return ""
}

// serialFlaw is flawOf for what should be a number: a name that a configuration gives to every disk of its kind is none.
func serialFlaw(serial string) string {
	if why := flawOf(serial); why != "" {
		return why
	}
	if !strings.ContainsAny(serial, "0123456789") {
		return "a word, no number"
	}
	return ""
}

// junk is the part of a text in lower case that the table has, or nothing. A line of the table that ends with * is a beginning.
func junk(low string) string {
	for _, l := range table("junk.txt") {
		if begin, open := strings.CutSuffix(l, "*"); low == l || open && strings.HasPrefix(low, begin) {
			return begin
		}
	}
	return ""
}

// digits counts the different letters and digits.
func digits(s string) int {
	seen := map[rune]bool{}
	for _, r := range s {
		if '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			seen[r] = true
		}
	}
	return len(seen)
}

// The forms of a UUID and of an Ethernet address: 0 stands for a hexadecimal digit.
const (
	uuidForm = "00000000-0000-0000-0000-000000000000"
	macForm  = "00:00:00:00:00:00"
)

func isForm(s, form string) bool {
	if len(s) != len(form) {
		return false
	}
	for i := range len(form) {
		if form[i] == '0' && !hexDigit(s[i]) || form[i] != '0' && form[i] != s[i] {
			return false
		}
	}
	return true
}

// parseUUID is the one form of a UUID that is an ID, upper case with dashes, or why it is none.
func parseUUID(s string) (uuid, flaw string) {
	if why := flawOf(s); why != "" {
		return "", why
	}
	switch s = strings.ToUpper(s); {
	case !isForm(s, uuidForm):
		return "", "not a UUID"
	case digits(s) < 4:
		return "", "a pattern, not a UUID"
	}
	return s, ""
}

// parseMAC is 12 upper-case digits, or why an address is none that a card was made with.
func parseMAC(s string) (mac, flaw string) {
	s = strings.ToUpper(s)
	if !isForm(s, macForm) {
		return "", "not an Ethernet address"
	}
	mac = strings.ReplaceAll(s, ":", "")
	if why := flawOf(mac); why != "" {
		return "", why
	}
	if strings.IndexByte("13579BDF", mac[1]) >= 0 {
		return "", "a group address"
	}
	return mac, ""
}

// local says that the owner, not the maker, gave an address.
func local(mac string) bool { return strings.IndexByte("2367ABEF", mac[1]) >= 0 }

func hexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' || 'a' <= c && c <= 'f'
}
