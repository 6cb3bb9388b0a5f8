package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
)

// failure is an error as a caller in C hears of it: facts, and three texts.
type failure struct {
	capability.Denial
	sentence, next, holders string
}

// explain finds the code in an error. One that has none is the caller's: a name, a count or an order of calls that cannot be.
func explain(err error) failure {
	var no *capability.Refusal
	switch {
	case errors.As(err, &no):
	case errors.Is(err, client.ErrReleased):
		no = capability.Refuse(capability.ErrNoSuchLease, "", "%v", err)
	default:
		no = capability.Refuse(capability.ErrUsage, "", "%v", err)
	}
	f := failure{Denial: no.Denial, sentence: no.Error(), next: no.Code.Entry().Next}
	if no.Code == capability.ErrUsage {
		f.next = "leasehold.h says what the function takes"
	}
	var lines strings.Builder
	for _, h := range no.Holders {
		name := h.Name
		if name == "" {
			name = "someone"
		}
		fmt.Fprintf(&lines, "%d by %s, until %s\n", h.Count, name, h.Expiry)
	}
	f.holders = lines.String()
	return f
}

// guard runs what a caller in C asked for. A panic is an error there: it must not reach a frame that knows none.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = capability.Refuse(capability.ErrInternal, "", "%v", p)
		}
	}()
	return f()
}

// put copies a text into a buffer, with a zero byte at its end, and gives how much of it fit. It is cut between characters.
func put(buffer []byte, text string) int {
	if len(buffer) == 0 {
		return 0
	}
	n := min(len(text), len(buffer)-1)
	for n < len(text) && n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	copy(buffer, text[:n])
	buffer[n] = 0
	return n
}
