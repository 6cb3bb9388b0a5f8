package wire

// Bounds of the decoder itself; those of the messages are in package capability.
const (
	maxNesting  = 8    // a denial's holders inside a line inside a response inside an answer are six
	maxElements = 4096 // the most a response may list: capability.MaxItems
	maxPairs    = 64   // fields of the largest struct with room to grow
	maxHeader   = 256  // a protected header with claims is 90 bytes
	maxDepth    = 32   // path of an inclusion proof: groups stay far below 2^32 responses
)
