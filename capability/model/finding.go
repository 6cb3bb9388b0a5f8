package model

import "fmt"

// Symbol is the stable name of a kind of finding, for programs and for the manual.
type Symbol string

// Findings that refuse a text.
const (
	SymbolSize            Symbol = "size"
	SymbolCharacter       Symbol = "character"
	SymbolSyntax          Symbol = "syntax"
	SymbolUnclosed        Symbol = "unclosed"
	SymbolNumber          Symbol = "number"
	SymbolVersion         Symbol = "version"
	SymbolName            Symbol = "name"
	SymbolReserved        Symbol = "reserved-name"
	SymbolDuplicatePool   Symbol = "duplicate-pool"
	SymbolDuplicateEntry  Symbol = "duplicate-feature"
	SymbolUnknownPool     Symbol = "unknown-pool"
	SymbolRegexp          Symbol = "regexp"
	SymbolHostID          Symbol = "host-id"
	SymbolAction          Symbol = "action"
	SymbolLimit           Symbol = "limit"
	SymbolTooManyFindings Symbol = "too-many-findings"
)

// Findings that leave a model valid but may not be what was meant.
const (
	SymbolOversubscribed Symbol = "oversubscribed"   // the pools ask for more than there is
	SymbolShort          Symbol = "short"            // there is enough, but not of the version or kind a pool asks for
	SymbolAfterRemainder Symbol = "after-remainder"  // an earlier allocation takes all that is left
	SymbolUnreachable    Symbol = "unreachable-rule" // earlier rules decide, or the condition cannot be true
	SymbolMixed          Symbol = "mixed-and-or"     // and beside or without parentheses
	SymbolUseOrder       Symbol = "use-order"        // pools are used in another order than they are filled
	SymbolComment        Symbol = "comment"          // a comment states another number than the allocation beside it
	SymbolUnusedPool     Symbol = "unused-pool"      // no rule lets anybody draw on the pool
	SymbolNoPool         Symbol = "accept-no-pool"   // accepted, but with nothing to draw on
	SymbolUseDenied      Symbol = "use-denied"       // pools, clause or limits of a rule that denies
	SymbolEmptyClause    Symbol = "all-from-default" // the default pool has no allocations to ask for
)

// stricter says that a refusal of this kind may come from a rule that is younger than the text. The meaning of the text does not depend on it.
func (s Symbol) stricter() bool {
	switch s {
	case SymbolName, SymbolReserved, SymbolDuplicateEntry, SymbolHostID:
		return true
	}
	return false
}

// Finding is something to say about a place in a text.
type Finding struct {
	Position
	Symbol    Symbol   `json:"symbol"`
	Refused   bool     `json:"refused"` // an upload of the text is refused for it
	Reason    string   `json:"reason"`  // a sentence
	Arguments []string `json:"arguments,omitempty"`
}

// String is line:column: reason.
func (f Finding) String() string { return f.Position.String() + ": " + f.Reason }

// SyntaxError is the first finding that refuses a text. Its text is line:column: reason.
type SyntaxError struct{ Finding }

func (e *SyntaxError) Error() string { return e.String() }

func finding(at Position, s Symbol, format string, args ...any) Finding {
	f := Finding{Position: at, Symbol: s, Reason: fmt.Sprintf(format, args...)}
	for _, a := range args {
		f.Arguments = append(f.Arguments, fmt.Sprint(a))
	}
	return f
}

func refusal(at Position, s Symbol, format string, args ...any) Finding {
	f := finding(at, s, format, args...)
	f.Refused = true
	return f
}
