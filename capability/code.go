package capability

import (
	"fmt"
	"strconv"
	"strings"
)

// Code is the stable number of an outcome, LH-nnnn for people; its Symbol is the stable name for programs. A number is never used for something else.
type Code uint16

// Entry is what is known about a code, in words: one sentence for the cause, one for the next step. Exit is the status of a program that ends with it.
type Entry struct {
	Code   Code
	Symbol string
	Title  string
	Cause  string
	Next   string
	Exit   int
}

// Exit statuses of the programs; they are an interface and never change.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitUsage       = 2
	ExitNoDaemon    = 3
	ExitNotFound    = 4
	ExitNoSeat      = 10
	ExitExpired     = 11
	ExitNotEntitled = 12
	ExitPolicy      = 13
	ExitFile        = 20
	ExitOtherHost   = 21
	ExitHeld        = 22
	ExitTemporary   = 75
)

func (c Code) String() string { return fmt.Sprintf("LH-%04d", uint16(c)) }

// MarshalText makes JSON show LH-3104.
func (c Code) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText is ParseCode, and takes LH-nnnn of a code that is not known here: the other side may be newer.
func (c *Code) UnmarshalText(b []byte) error {
	known, err := ParseCode(string(b))
	if digits, numbered := strings.CutPrefix(string(b), "LH-"); err != nil && numbered {
		n, no := strconv.ParseUint(digits, 10, 16)
		if known = Code(n); no == nil && n > 0 && known.String() == string(b) {
			err = nil
		}
	}
	if err == nil {
		*c = known
	}
	return err
}

// ParseCode reads LH-3104, 3104 or E_NO_SEAT, in any case.
func ParseCode(s string) (Code, error) {
	t := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(s)), "LH-")
	for _, e := range Catalog() {
		if t == e.Symbol || t == fmt.Sprintf("%04d", uint16(e.Code)) {
			return e.Code, nil
		}
	}
	return 0, fmt.Errorf("%q is not a code: want one like LH-3104", s)
}

// unknown is the symbol of all codes that the catalog does not have.
const unknown = "E_UNKNOWN"

// Entry finds the code in the catalog; an unknown code gets an entry that says so.
func (c Code) Entry() Entry {
	for _, e := range Catalog() {
		if e.Code == c {
			return e
		}
	}
	return Entry{Code: c, Symbol: unknown, Title: "unknown code", Cause: "this program does not know the code; the other side may be newer", Next: "leasehold version", Exit: ExitError}
}

// Refuses says that the code is that of a refusal, and not of something that was done: its name begins with E_. One that is not known may be one.
func (c Code) Refuses() bool { return strings.HasPrefix(c.Symbol(), "E_") }

// Symbol is the name programs use.
func (c Code) Symbol() string { return c.Entry().Symbol }

// Sentence is the title with the facts of the denial filled in, as: no seat free for "render": 40 of 40 in use.
func (d Denial) Sentence() string { return d.SentenceIn(English) }

// Refusal is a denial as an error: the answer was no, and nothing is broken.
type Refusal struct{ Denial }

func (r *Refusal) Error() string {
	return r.Code.String() + " " + r.Sentence()
}

// Refuse is the refusal with this code about subject, with a detail in words.
func Refuse(c Code, subject, format string, args ...any) *Refusal {
	return &Refusal{Denial{Code: c, Subject: subject, Detail: fmt.Sprintf(format, args...)}}
}
