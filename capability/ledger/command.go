package ledger

import (
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Command is one of the commands of this package.
type Command interface{ command() }

// Serve answers a client. Every no is an answer in the Response; the error of Decide is only a *capability.Malformed.
//
// A device is the first host ID of the request; its leases belong to the key that asked first. While it holds none, the next key that asks owns the row, and its serial goes on.
// Previews, denials and reports of what is not metered have no serial, make no entry and are not remembered. Everything else is: the same correlation and body
// get the same content again for two minutes, and longer if nothing else was answered since. At most MaxRemembered answers of a device are kept.
//
// A request with a number came in a file (SPEC.md 7.5): each number of a device is decided once, and what is refused is not remembered.
type Serve struct {
	Key     capability.Digest // thumbprint of the key that signed or sent the request
	Request capability.Request
	Filed   bool     // it came in a file, and not over a connection
	Receipt *Receipt // the response that came with the request, if its signature is this appliance's
	Heard   bool     // the answer reaches the device for certain, as the one before did: nothing stays booked for one that it may not have heard
}

// Receipt is a verified earlier response of this appliance. It matters in a hold only, and only for the device and key it names.
type Receipt struct {
	For    hostid.ID
	Key    capability.Digest
	Serial uint64
	Rights []capability.Right
	Time   capability.Time
}

// ReceiptOf is the part of a verified response that counts as a receipt.
func ReceiptOf(r *capability.Response) *Receipt {
	return &Receipt{For: r.For, Key: r.Key, Serial: r.Serial, Rights: r.Rights, Time: r.Time}
}

// Start is the first command of each run. A running hold goes on; HoldFor above zero starts one, and the later end wins. The moves of the epoch at a start are the caller's.
type Start struct {
	BootID string // of the operating system
	// Life names the trusted storage. It counts at the first start only.
	Life capability.LifeID
	// Lost says why the trusted storage that was here before cannot be used, if there was one. It counts until the first response.
	Lost    capability.Code
	HoldFor capability.Seconds
	Cause   string          // why there is a hold, or why there is none
	Raw     capability.Time // what the system clock says; zero: it is not judged, and the moment of the command is believed
	TPM     TPMClock        // zero where it was not read, or the TPM says it may have gone back
}

// Advance ends what is due. Nothing due, no entry.
type Advance struct{}

// Provision applies a response of the back office that was opened and verified. An older one, the same one and another one with the same serial are refusals:
// OlderResponse, AlreadyHere (both no failure) and ErrReplayedSerial.
type Provision struct {
	Response capability.Response
	Digest   capability.Digest // of the response as it came
	Raw      capability.Time   // what the system clock says; zero: it is not judged

	Key     capability.Digest   // fingerprint of the signing key; zero: nobody looked
	Revoked []capability.Digest // what its certificate says of other keys, in the order of wire.Learn
}

// Return takes copies of an activation ID out of service for good. The ID is drawn by the caller; the same ID again is the same return.
type Return struct {
	ID           capability.ReturnID
	ActivationID capability.ActivationID
	Copies       uint32 // zero: all that are here
	Epoch        uint64 // the first epoch without these rights
	By           string
}

// Prove keeps the TPM's proof of a return. The first proof stays: every request carries the same one until the return is acknowledged.
type Prove struct {
	ID    capability.ReturnID
	Proof []byte
}

// WriteRequest says that a request file is about to exist. Its number is one above the last; the same number with the same digest changes nothing.
// At most capability.MaxOutstanding digests are kept; the oldest go first.
type WriteRequest struct {
	Number uint64
	Digest capability.Digest
	Epoch  uint64         // as the request says it
	Shown  []hostid.Shown // of the machine, as the request names it; none: it names its TPM only
	By     string
}

// Drop keeps a device from renewing a feature. The seats free when the leases end, or when the device gives them back.
type Drop struct {
	Device  hostid.ID
	Feature string
	By      string
}

func (Serve) command()        {} // a *Serve is a command as well, without a copy of what is large
func (Start) command()        {}
func (Advance) command()      {}
func (Provision) command()    {}
func (Return) command()       {}
func (Prove) command()        {}
func (WriteRequest) command() {}
func (Drop) command()         {}

// Line is a line that the clause of a model asks for where a request names nothing, and what came of it.
type Line struct {
	Feature string
	Version capability.Version
	Asked   uint32
	capability.Line
}

// Decision is what a command would do.
type Decision struct {
	Entries     []Entry              // to be made durable, then applied; none where nothing changes
	Response    *capability.Response // of Serve, without salt: what its entry says, where it makes one
	Return      capability.Return    // of Return: what the TPM's proof is about
	Explained   []Explained          // of Serve: for each refused line what was looked at
	Lines       []Line               // of Serve, where the clause of a model stood in for the lines of the request; a Response has none of them
	Unsatisfied []uint64             // of Provision and Return: reservation entries that lose what they have
	Notices     []capability.Denial  // of Provision: what of the response is in force only later; of Serve: leases that are shorter than asked for
	Move        bool                 // the entries must be durable under a new epoch before anyone hears of them
}
