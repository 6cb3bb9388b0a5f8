package model

import "github.com/leasehold/leasehold/capability"

// Every maximum of a model, with its reason. Each is checked before what it bounds is kept; one above is refused with its position.
const (
	MaxFile        = 900 << 10             // bytes of a model file: what license administrators know from other servers
	MaxPools       = capability.MaxItems   // a division lists its pools in the journal, and no list there is longer
	MaxAllocations = 3 << 14               // of all pools together: a division takes 9 bytes of its journal entry for each, and must fit beside a response
	MaxRules       = 1 << 16               // as many as a file holds; each request looks at every rule until one decides
	MaxNesting     = 32                    // parentheses in parentheses: the reader calls itself for each
	MaxName        = capability.MaxName    // bytes of a model, pool or feature name: no line item has a longer one
	MaxString      = capability.MaxText    // bytes of any other string: no request states a longer value
	MaxRegexp      = 512                   // bytes of one regexp
	FreeRegexpCost = 4                     // of a regexp for each of its bytes: that much the file bounds. A byte is at most 240 bytes of memory, measured
	MaxRegexpCost  = 1 << 16               // of all regexps above that: characters and class bounds with repeats written out; each is 40 bytes and a step a byte matched
	MaxLines       = capability.MaxDesired // features of one clause, allocations behind "all from" included: they become lines of a request
	MaxLimits      = 256                   // of one rule
	MaxKeys        = capability.MaxPairs   // different keys of one dictionary test: a request has no more
	MaxCount       = capability.MaxCount   // units of an allocation, a clause or a limit
	MaxPercent     = 100
	MaxRefusals    = 256 // findings that refuse a text: reading ends there
)
