// Package model is the language in which a license administrator divides the counts of an appliance into named license pools and says who may
// draw on which.
//
// Parse reads a model, or says at which line and column it is refused and why. Check is the dry run: every finding about a text against an
// inventory, refusals and doubts alike. A Model answers two questions, and keeps no state between them:
//
//	model.Distribute(now, items)   // which counts of which line items are in which pool
//	model.Route(facts)             // may this request be served, and from which pools in which order
//
// A nil Model is no model: everybody is accepted, and everything is in the default pool. What is leased, and what happens to leases when a model
// changes, is the ledger's.
//
// The grammar, white space and comments aside (keywords are lower case, comments are // to the end of the line and /* */):
//
//	file      = model EOF
//	model     = "model" STRING "{" [ "partitions" "{" { pool } "}" ] { rule } "}"
//	pool      = "partition" STRING "{" { alloc } "}"
//	alloc     = STRING version amount { filter }
//	version   = INT [ "." INT ]
//	amount    = INT | INT "%" | "remainder"
//	filter    = ( "vendor" "string" | "product" "name" | "activation" "id" ) "matches" pattern
//	rule      = "on" cond "{" [ "use" STRING { "," STRING } ] [ spec ] [ limit ] action "}"
//	cond      = conj { ("or" | "||") conj }
//	conj      = neg { ("and" | "&&") neg }
//	neg       = [ "not" | "!" ] ( test | "(" cond ")" )
//	test      = "any" "(" ")" | ("hostid" | "hostname" | "hosttype" | "user") "(" pattern { "," pattern } ")"
//	          | "dictionary" "(" pair { "," pair } ")"
//	pair      = STRING ":" ( pattern | "*" )
//	spec      = "without" "requested" "features" "{" ( "all" "from" STRING { "," STRING } | { STRING version INT } ) "}"
//	limit     = "max" STRING version INT "per" ("device" | "user") { "," STRING version INT "per" ("device" | "user") }
//	action    = "accept" | "continue" | "deny"
//	pattern   = STRING | "~/" regexp "/"
//
// A line ends with a line feed, or a carriage return and a line feed. A STRING is in double quotes on one line, with \" and \\ as its only escapes and
// no character that nobody sees; one that names something has no tab either. An INT is the longest run of digits. A regexp is RE2, is matched
// against the whole value, and writes a slash as \/.
package model

import (
	"cmp"
	"fmt"
	"regexp"

	"github.com/leasehold/leasehold/capability"
)

// DefaultPool is the pool of everything that no named pool holds. No model, and no pool of one, can have its name or ReservedPool. OverdraftPool is what
// a screen calls the counts above those licensed, and no pool can have it.
const (
	DefaultPool   = "default"
	ReservedPool  = "reservations"
	OverdraftPool = "overdraft"
)

// Position is a place in a text: line and column from 1, the column in characters.
type Position struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

func (p Position) String() string { return fmt.Sprintf("%d:%d", p.Line, p.Column) }

func (p Position) compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}

// Model is a text that was read and found good. It is made by Parse only, and never changed after.
type Model struct {
	Position
	Name  string
	Pools []Pool
	Rules []Rule
}

// Pool is a named license pool, in the text a partition.
type Pool struct {
	Position
	Name        string
	Allocations []Allocation
}

// Allocation is what a pool wants of one feature, of its version or any above.
type Allocation struct {
	Position
	Feature string
	Version capability.Version
	Amount  Amount
	Filters []Filter // all must hold

	comments []comment // beside it, for Lint
}

// Measure says what the number of an Amount counts.
type Measure uint8

// The three ways to state an amount.
const (
	Units     Measure = iota
	Percent           // of all eligible counts, before any pool took its part; rounded down
	Remainder         // all that is left; the number is zero
)

// Amount is how much a pool wants.
type Amount struct {
	Measure Measure
	Number  uint32
}

// Property is an attribute of a line item that a filter looks at.
type Property uint8

// The properties of line items.
const (
	VendorString Property = iota
	ProductName
	ActivationID
	properties = iota
)

// Filter restricts an allocation to line items whose property matches. An item without that property does not.
type Filter struct {
	Position
	Property Property
	Pattern  Pattern
}

// Pattern is a text to be equal to, or a regexp to match as a whole.
type Pattern struct {
	Position
	Text   string // of a regexp: its source, slashes not escaped
	Regexp bool

	value    string // what is compared: Text, or the full form of a host ID
	compiled *regexp.Regexp
}

// Rule says what happens to requests for which its condition is true.
type Rule struct {
	Position
	Condition Condition
	Use       []Name
	Spec      *Spec // nil without the clause
	Limits    []Limit
	Action    Action
}

// Name is the name of a pool where it is used.
type Name struct {
	Position
	Text string
}

// Action is how a rule ends.
type Action uint8

// The actions. Continue gathers the pools of its rule and goes on to the next.
const (
	Accept Action = iota
	Continue
	Deny
)

// Operator joins the parts of a condition.
type Operator uint8

// The operators, from the one that binds tightest. Test has no parts, Not has one, And and Or have two or more.
const (
	IsTest Operator = iota
	Not
	And
	Or
)

// Condition is a test, or parts under an operator.
type Condition struct {
	Position
	Operator      Operator
	Parts         []Condition
	Test          Test
	Parenthesized bool
}

// Subject is the fact of a request that a test looks at.
type Subject uint8

// The subjects of tests. AnyRequest is always true.
const (
	AnyRequest Subject = iota
	HostID
	Hostname
	HostType
	User
	Dictionary
)

// Test is true if one of its patterns matches; for Dictionary, if for each key one of its pairs does.
type Test struct {
	Position
	Subject  Subject
	Patterns []Pattern
	Pairs    []Pair

	values matcher
	keys   []keyMatcher
}

// Pair is a key of the vendor dictionary and what its value must match.
type Pair struct {
	Position
	Key      string
	AnyValue bool // "*": the key is there; Pattern is empty
	Pattern  Pattern
}

// Spec is the clause "without requested features": what a request that names no feature asks for. Either All names pools, whose allocations
// it asks for, or Lines states features.
type Spec struct {
	Position
	All   []Name
	Lines []SpecLine
}

// SpecLine is one feature of a Spec.
type SpecLine struct {
	Position
	Feature string
	Version capability.Version
	Count   uint32
}

// Scope says over what a limit counts.
type Scope uint8

// The scopes of limits.
const (
	PerDevice Scope = iota
	PerUser
)

// Limit is the most that one device or user may hold of a feature, of its version or any above.
type Limit struct {
	Position
	Feature string
	Version capability.Version
	Count   uint32
	Per     Scope
}

func (m Measure) String() string { return [...]string{"units", "%", "remainder"}[m] }
func (a Action) String() string  { return [...]string{"accept", "continue", "deny"}[a] }
func (s Scope) String() string   { return [...]string{"device", "user"}[s] }
func (p Property) String() string {
	return [...]string{"vendor string", "product name", "activation id"}[p]
}
func (s Subject) String() string {
	return [...]string{"any", "hostid", "hostname", "hosttype", "user", "dictionary"}[s]
}

func (a Amount) String() string {
	switch a.Measure {
	case Percent:
		return fmt.Sprintf("%d %%", a.Number)
	case Remainder:
		return a.Measure.String()
	}
	return fmt.Sprint(a.Number)
}
