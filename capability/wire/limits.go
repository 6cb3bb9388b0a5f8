package wire

// Bounds of the decoder itself; those of the messages are in package capability.
const (
	maxNesting  = 10   // a holder inside a response inside an answer is six deep; an entry of the ledger with a reservation nine
	maxElements = 4096 // the most a response may list: capability.MaxItems
	maxPairs    = 64   // fields of the largest struct with room to grow
	maxHeader   = 256  // a protected header with claims is 90 bytes
	maxPublic   = 512  // a TPMT_PUBLIC: that of an AK is 88 bytes
	maxWrap     = 1024 // two wrapped keys are 800 bytes
	maxDepth    = 32   // path of an inclusion proof: groups stay far below 2^32 responses
)
