package capability

// Every maximum of the two messages, with its reason. All are checked before anything is allocated or kept.
const (
	MaxFrame       = 16 << 10  // one message on the wire: a whole certificate chain is 13 kB, a request 300 bytes
	MaxFile        = 1 << 20   // a request or response file: what a stick, an upload or a paste may bring
	MaxHosts       = 16        // host IDs of one machine: EK, AK, board, a handful of NICs, disks and dongles
	MaxDesired     = 256       // lines of one request: 64 bytes each fill a frame
	MaxItems       = 4096      // line items of one appliance: 200 bytes each fill a file
	MaxReturns     = 256       // unacknowledged returns in one request, each with a proof of 700 bytes
	MaxRecords     = 4096      // usage and audit records in one request: what fits is sent, the rest waits
	MaxStates      = 1024      // states in one request: of more the records tell
	MaxUsage       = 1 << 10   // bytes of one record's body: a name, a user and 32 codes fill it
	MaxDenied      = 32        // codes of denials in one record: lines are refused by fewer
	MaxUsed        = 1 << 62   // counts, and seconds of counts, of one record: two of them make no overflow
	MaxNumber      = 1<<62 - 1 // of a request to an appliance: no device counts as far, and none that says so could count on
	MaxOutstanding = 1024      // digests of requests written since the last response
	MaxName        = 128       // bytes of a feature, product or entitlement name
	MaxText        = 256       // bytes of user, alias, device type and vendor string
	MaxPairs       = 64        // entries of a vendor dictionary
	MaxSigned      = 64 << 10  // an embedded signed item: a certificate is 7.4 kB
	MaxEvidence    = 16 << 10  // TPM evidence with its certificates
	MaxQuoted      = 80 << 10  // evidence of a request: an event log of 64 KiB and intermediates may follow
	MaxDenials     = 256       // refusals in one response: one a line, or one for all
	MaxHolders     = 64        // holders named in one refusal
	MaxDetail      = 1024      // bytes of a refusal's detail: a sentence with a path or two
	MaxRevoked     = 1024      // digests of what was revoked
	MaxPlatform    = 32        // bytes of the name of what a machine runs on: the longest is docker's kin with 15
	MaxPolicyRef   = 32        // bytes of what names the producer's policy of boot states: a digest
	StateBytes     = 161       // of one signed boot state: a format byte, three PCRs of 32 and a signature of 64
	MaxAlarms      = 16        // codes of alarms: there are six
	MaxCount       = 1 << 30   // units of one line: sums of all items stay inside 64 bits with room
)

// The lease interval a producer may set; the default is also the hold after a power loss.
const (
	MinLease     Seconds = 60
	DefaultLease Seconds = 15 * 60
	MaxLease     Seconds = 60 * 60
)

// How long a machine may lack what the producer asks for, where the producer said nothing, and at most.
const (
	DefaultGrace Seconds = 7 * 24 * 60 * 60
	MaxGrace     Seconds = 366 * 24 * 60 * 60
)

// MaxInterval bounds the longest lease of an item, and how long its reports can be undone: a lease of fifty years is a right that needs no server, and the sum
// with any time stays a time.
const MaxInterval Seconds = 50 * 366 * 24 * 60 * 60
