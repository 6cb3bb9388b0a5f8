package capability

import (
	"fmt"

	"github.com/leasehold/leasehold/hostid"
)

// Protocol is the version of the two messages.
const Protocol = 1

// Operation is what a request wants done. Numbers are on the wire.
type Operation uint8

const (
	Grant   Operation = 0 // hold exactly what Desired says
	Preview Operation = 1 // say what Grant would give; nothing changes
	Report  Operation = 2 // say what is held and take the usage records; nothing is granted or renewed
	Undo    Operation = 3 // cancel the metered report that Undoes names
)

func (o Operation) String() string {
	switch o {
	case Grant:
		return "request"
	case Preview:
		return "preview"
	case Report:
		return "report"
	case Undo:
		return "undo"
	}
	return fmt.Sprintf("operation %d", uint8(o))
}

// CorrelationID is drawn by the sender for each request; an answer carries it back.
type CorrelationID [16]byte

// Digest is a SHA-256.
type Digest [32]byte

// Request is the one request: from a client to an appliance over the wire, or from an appliance or a stand-alone client to the back office in a file.
// What does not apply is absent. Unknown fields are refused.
type Request struct {
	Version     uint8         `cbor:"1,keyasint,omitzero" json:"version"`
	Hosts       []hostid.ID   `cbor:"2,keyasint,omitempty" json:"hosts,omitempty"` // who I am; the first is the one rights belong to
	Correlation CorrelationID `cbor:"3,keyasint,omitzero" json:"correlation"`
	Applied     uint64        `cbor:"4,keyasint,omitzero" json:"applied,omitempty"` // serial of the last response applied
	Desired     []Desired     `cbor:"5,keyasint,omitempty" json:"desired,omitempty"`
	Operation   Operation     `cbor:"6,keyasint,omitzero" json:"operation,omitempty"`
	Atomic      bool          `cbor:"7,keyasint,omitzero" json:"atomic,omitempty"` // one refused line refuses all
	User        string        `cbor:"8,keyasint,omitzero" json:"user,omitempty"`   // a claim, not a proof
	Alias       string        `cbor:"9,keyasint,omitzero" json:"alias,omitempty"`  // the device's name for people
	DeviceType  string        `cbor:"10,keyasint,omitzero" json:"deviceType,omitempty"`
	Dictionary  []Pair        `cbor:"11,keyasint,omitempty" json:"dictionary,omitempty"`
	Borrow      Seconds       `cbor:"12,keyasint,omitzero" json:"borrow,omitempty"` // longest time without asking again; zero leaves it to the server
	Granularity uint8         `cbor:"13,keyasint,omitzero" json:"granularity,omitempty"`
	Receipt     []byte        `cbor:"14,keyasint,omitempty" json:"receipt,omitempty"` // a signed response kept by the client: renews during a hold

	Idle Seconds `cbor:"15,keyasint,omitzero" json:"idle,omitempty"` // how long nobody has used the program

	Undoes CorrelationID `cbor:"16,keyasint,omitzero" json:"undoes,omitzero"` // of Undo, and of nothing else: the correlation ID of the report to cancel

	// The rest is for the back office.
	Number      uint64   `cbor:"20,keyasint,omitzero" json:"number,omitempty"`       // counts the requests written by this host; a client tells an appliance as well
	Outstanding []Digest `cbor:"21,keyasint,omitempty" json:"outstanding,omitempty"` // of every request written since the last response, oldest first
	Epoch       uint64   `cbor:"22,keyasint,omitzero" json:"epoch,omitempty"`
	Head        Head     `cbor:"23,keyasint,omitzero" json:"head,omitzero"`
	Returns     []Return `cbor:"24,keyasint,omitempty" json:"returns,omitempty"` // each until it is acknowledged
	Records     []Record `cbor:"25,keyasint,omitempty" json:"records,omitempty"` // usage and audit, oldest first, each until it is acknowledged
	Clock       Clock    `cbor:"26,keyasint,omitzero" json:"clock,omitzero"`
	Condition   Code     `cbor:"27,keyasint,omitzero" json:"condition,omitempty"` // what is wrong with the sender's trusted storage, if anything
	Policy      Digest   `cbor:"28,keyasint,omitzero" json:"policy,omitzero"`     // of the policy in force
	Producer    Digest   `cbor:"29,keyasint,omitzero" json:"producer,omitzero"`   // of the root the sender trusts
	BookHead    Digest   `cbor:"30,keyasint,omitzero" json:"bookHead,omitzero"`   // the back office's head as the last response named it
	Life        LifeID   `cbor:"31,keyasint,omitzero" json:"life,omitzero"`       // of the sender's trusted storage
	Metered     []Meter  `cbor:"32,keyasint,omitempty" json:"metered,omitempty"`  // of every metered item that is in use, by feature and activation ID
	Platform    Platform `cbor:"33,keyasint,omitzero" json:"platform,omitzero"`   // what the machine runs on, as it says itself
	Alarms      []Alarm  `cbor:"34,keyasint,omitempty" json:"alarms,omitempty"`   // what has looked like a copy or a change of the machine, by code
	Settled     bool     `cbor:"36,keyasint,omitzero" json:"settled,omitempty"`   // nothing is lent any more of what the response applied, or one before it, left out
	States      []Usage  `cbor:"37,keyasint,omitempty" json:"states,omitempty"`   // where the policy asks for them: what was used since the newest record, in place of what earlier requests said of it
}

// Bare is what a platform says of a machine that is not virtual, or of a program that is in no container.
const Bare = "bare"

// Platform is what a machine says it runs on, by systemd's names: "kvm", "docker". Both are Bare where it looked and found nothing; empty: nobody has looked.
type Platform struct {
	Virtual   string `cbor:"1,keyasint,omitzero" json:"virtual,omitempty"`
	Container string `cbor:"2,keyasint,omitzero" json:"container,omitempty"`
}

// PlatformOf is what a probe found. A name that is none of a platform is written as "other", so that it says as much as it may.
func PlatformOf(m hostid.Machine) Platform {
	word := func(s string) string {
		switch {
		case s == "":
			return Bare
		case checkPlatform(s) != nil:
			return "other"
		}
		return s
	}
	return Platform{word(m.Virtual), word(m.Container)}
}

// IsVirtual says that the machine calls itself virtual, or a container.
func (p Platform) IsVirtual() bool {
	return p.Virtual != "" && p.Virtual != Bare || p.Container != "" && p.Container != Bare
}

// Validate checks that both are names: lower-case letters, digits and hyphens.
func (p Platform) Validate() error {
	for _, s := range []string{p.Virtual, p.Container} {
		if err := checkPlatform(s); s != "" && err != nil {
			return err
		}
	}
	return nil
}

func checkPlatform(s string) error {
	if len(s) > MaxPlatform {
		return fmt.Errorf("%d bytes where at most %d are allowed", len(s), MaxPlatform)
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("byte %#02x at %d is not of a platform's name", c, i)
		}
	}
	return nil
}

// Alarm says that something has looked like a copy or a change of the machine, how often since the daemon started, and when last.
type Alarm struct {
	Code  Code   `cbor:"1,keyasint,omitzero" json:"code"`
	Count uint32 `cbor:"2,keyasint,omitzero" json:"count"`
	Last  Time   `cbor:"3,keyasint,omitzero" json:"last"`
}

// Meter is how much of a metered item is in use or used up, by all devices of the sender together.
type Meter struct {
	ActivationID ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	Feature      string       `cbor:"2,keyasint,omitzero" json:"feature"`
	Count        uint32       `cbor:"3,keyasint,omitzero" json:"count"`
}

// ID names the item.
func (m Meter) ID() ItemID { return ItemID{ActivationID: m.ActivationID, Feature: m.Feature} }

// Validate checks everything about a total that needs no state.
func (m Meter) Validate() error {
	if m.Count == 0 || m.Count > MaxCount {
		return fmt.Errorf("count %d where 1 to %d are allowed", m.Count, MaxCount)
	}
	if err := m.ActivationID.Validate(); err != nil {
		return err
	}
	return checkName("feature", m.Feature, MaxName)
}

// Desired is one line of a request. An appliance is asked for a feature, the back office for an activation ID; Count is the whole wanted total, and zero gives back.
type Desired struct {
	Feature      string       `cbor:"1,keyasint,omitzero" json:"feature,omitempty"`
	Version      Version      `cbor:"2,keyasint,omitzero" json:"version,omitzero"` // at least
	Count        uint32       `cbor:"3,keyasint,omitzero" json:"count"`
	Partial      bool         `cbor:"4,keyasint,omitzero" json:"partial,omitempty"` // less will do
	ActivationID ActivationID `cbor:"5,keyasint,omitzero" json:"activationId,omitempty"`
	Selectors    []Pair       `cbor:"6,keyasint,omitempty" json:"selectors,omitempty"`
	Wait         bool         `cbor:"7,keyasint,omitzero" json:"wait,omitempty"` // queue for it where it is busy
}

// LifeID names one life of trusted storage; it is drawn when the storage is made. A storage that was lost and one that was made in its place differ in it,
// so that their requests, which are both numbered from 1, cannot be mistaken for one history.
type LifeID [16]byte

// Short is its first eight digits, which are enough for people.
func (l LifeID) Short() string { return fmt.Sprintf("%X", l[:4]) }

// Head is a position in a journal and the hash of the record there.
type Head struct {
	Position uint64 `cbor:"1,keyasint,omitzero" json:"position"`
	Hash     Digest `cbor:"2,keyasint,omitzero" json:"hash"`
}

// Clock is what the sender believes about time.
type Clock struct {
	Now   Time `cbor:"1,keyasint,omitzero" json:"now"`
	Floor Time `cbor:"2,keyasint,omitzero" json:"floor"` // the latest time it may trust
}

// ReturnID names one return; it is drawn when the return is decided.
type ReturnID [16]byte

// Return is the statement that rights left service for good, at an epoch from which the earlier state cannot come back.
type Return struct {
	ID           ReturnID     `cbor:"1,keyasint,omitzero" json:"id"`
	ActivationID ActivationID `cbor:"2,keyasint,omitzero" json:"activationId"`
	Copies       uint32       `cbor:"3,keyasint,omitzero" json:"copies"`
	Epoch        uint64       `cbor:"4,keyasint,omitzero" json:"epoch"` // the first epoch without these rights
	Time         Time         `cbor:"5,keyasint,omitzero" json:"time"`
	Serial       uint64       `cbor:"6,keyasint,omitzero" json:"serial"`           // of the response the rights came with
	Proof        []byte       `cbor:"7,keyasint,omitempty" json:"proof,omitempty"` // the TPM's word on its counter (tpm/attest), over the digest of the other fields
}

// Record is one usage or audit record on its way to the back office.
type Record struct {
	Number uint64 `cbor:"1,keyasint,omitzero" json:"number"`
	Body   []byte `cbor:"2,keyasint,omitempty" json:"body"`
}

// Malformed says which field of a message is not as it must be. It is the sender's fault, and nothing was changed.
type Malformed struct {
	Field string
	Cause string
}

func (e *Malformed) Error() string { return e.Field + ": " + e.Cause }

func malformed(field, format string, args ...any) error {
	return &Malformed{field, fmt.Sprintf(format, args...)}
}

// Validate checks everything about a request that needs no state. The error is a *Malformed.
func (r *Request) Validate() error {
	switch {
	case r.Version != Protocol:
		return malformed("version", "%d where this program speaks %d", r.Version, Protocol)
	case len(r.Hosts) == 0 || len(r.Hosts) > MaxHosts:
		return malformed("hosts", "%d where 1 to %d are allowed", len(r.Hosts), MaxHosts)
	case r.Correlation == CorrelationID{}:
		return malformed("correlation", "absent")
	case r.Operation > Undo:
		return malformed("operation", "%d is not known", r.Operation)
	case (r.Undoes == CorrelationID{}) != (r.Operation != Undo):
		return malformed("undoes", "an undo, and nothing else, names a report, and this is the operation %s", r.Operation)
	case r.Operation == Undo && r.Undoes == r.Correlation:
		return malformed("undoes", "the correlation of the undo itself")
	case r.Operation == Undo && len(r.Desired) > 0:
		return malformed("desired", "%d lines, and an undo has none", len(r.Desired))
	case r.Borrow < 0:
		return malformed("borrow", "%d seconds", r.Borrow)
	case r.Idle < 0:
		return malformed("idle", "%d seconds", r.Idle)
	case r.Granularity > 3:
		return malformed("granularity", "%d is not known", r.Granularity)
	case len(r.Receipt) > MaxFrame:
		return malformed("receipt", "%d bytes where at most %d are allowed", len(r.Receipt), MaxFrame)
	case len(r.Outstanding) > MaxOutstanding:
		return malformed("outstanding", "%d digests where at most %d are allowed", len(r.Outstanding), MaxOutstanding)
	case len(r.Returns) > MaxReturns:
		return malformed("returns", "%d where at most %d are allowed", len(r.Returns), MaxReturns)
	case len(r.Records) > MaxRecords:
		return malformed("records", "%d where at most %d are allowed", len(r.Records), MaxRecords)
	case len(r.States) > MaxStates:
		return malformed("states", "%d where at most %d are allowed", len(r.States), MaxStates)
	case len(r.Metered) > MaxItems:
		return malformed("metered", "%d where at most %d are allowed", len(r.Metered), MaxItems)
	case len(r.Alarms) > MaxAlarms:
		return malformed("alarms", "%d where at most %d are allowed", len(r.Alarms), MaxAlarms)
	case len(r.Desired) > MaxDesired:
		return malformed("desired", "%d lines where at most %d are allowed", len(r.Desired), MaxDesired)
	case r.Clock.Now < 0 || r.Clock.Floor < 0:
		return malformed("clock", "before 1970")
	}
	for i, h := range r.Hosts {
		if err := h.Validate(); err != nil {
			return malformed(fmt.Sprintf("hosts[%d]", i), "%v", err)
		}
		for _, other := range r.Hosts[:i] {
			if other == h {
				return malformed(fmt.Sprintf("hosts[%d]", i), "%s is named twice", h)
			}
		}
	}
	if err := r.Platform.Validate(); err != nil {
		return malformed("platform", "%v", err)
	}
	for i, a := range r.Alarms {
		if a.Code == 0 || a.Count == 0 || a.Last <= 0 || i > 0 && r.Alarms[i-1].Code >= a.Code {
			return malformed(fmt.Sprintf("alarms[%d]", i), "%s %d times, last %s; codes ascend, and nothing of it is absent", a.Code, a.Count, a.Last)
		}
	}
	for i, d := range r.Desired {
		if err := d.Validate(); err != nil {
			return malformed(fmt.Sprintf("desired[%d]", i), "%v", err)
		}
	}
	for i, t := range r.Returns {
		if err := t.validate(); err != nil {
			return malformed(fmt.Sprintf("returns[%d]", i), "%v", err)
		}
	}
	for i, b := range r.Records {
		if b.Number == 0 || i > 0 && b.Number != r.Records[i-1].Number+1 {
			return malformed(fmt.Sprintf("records[%d]", i), "number %d, and numbers grow by one, from 1 on", b.Number)
		}
	}
	if i, err := CheckStates(r.States); err != nil {
		return malformed(fmt.Sprintf("states[%d]", i), "%v", err)
	}
	seen := make(map[ItemID]bool, len(r.Metered))
	for i, m := range r.Metered {
		if err := m.Validate(); err != nil {
			return malformed(fmt.Sprintf("metered[%d]", i), "%v", err)
		}
		if seen[m.ID()] {
			return malformed(fmt.Sprintf("metered[%d]", i), "%s is there twice", m.ID())
		}
		seen[m.ID()] = true
	}
	for _, f := range []struct{ field, text string }{{"user", r.User}, {"alias", r.Alias}, {"deviceType", r.DeviceType}} {
		if err := checkText(f.text); err != nil {
			return malformed(f.field, "%v", err)
		}
	}
	return checkPairs("dictionary", r.Dictionary)
}

// ToAppliance checks what an appliance asks of every request, beyond Validate: it tells nothing that only a back office is told, and leaves room above its number.
// The error is a *Malformed.
func (r *Request) ToAppliance() error {
	if name := r.forBackOffice(); name != "" {
		return malformed(name, "a field for the back office in a request to an appliance")
	}
	if r.Number > MaxNumber {
		return malformed("number", "%d where at most %d is allowed", r.Number, uint64(MaxNumber))
	}
	return nil
}

// forBackOffice names a field that only a back office is told, and that the request has all the same; empty: it has none.
func (r *Request) forBackOffice() string {
	for _, f := range []struct {
		name string
		is   bool
	}{
		{"returns", len(r.Returns) != 0}, {"records", len(r.Records) != 0}, {"states", len(r.States) != 0}, {"outstanding", len(r.Outstanding) != 0}, {"metered", len(r.Metered) != 0},
		{"alarms", len(r.Alarms) != 0}, {"settled", r.Settled}, {"platform", r.Platform != (Platform{})}, {"life", r.Life != (LifeID{})},
	} {
		if f.is {
			return f.name
		}
	}
	return ""
}

// FromFile checks what an appliance asks of a request that comes in a file, beyond Validate and ToAppliance: it has a number and says whose the appliance shall be, it grants or
// gives back features, all or nothing, and it waits for nothing. The error is a *Malformed.
func (r *Request) FromFile() error {
	if err := r.ToAppliance(); err != nil {
		return err
	}
	switch {
	case r.Number == 0:
		return malformed("number", "absent: a file is as new as its number")
	case r.Producer == Digest{}:
		return malformed("producer", "absent: a file says whose the appliance shall be")
	case r.Operation != Grant:
		return malformed("operation", "%s, and a file asks for leases only", r.Operation)
	case !r.Atomic:
		return malformed("atomic", "absent: a file that is refused changes nothing")
	case len(r.Receipt) != 0:
		return malformed("receipt", "a file renews nothing in a hold")
	case len(r.Desired) == 0:
		return malformed("desired", "absent: a file names what it is about")
	}
	for i, d := range r.Desired {
		if d.ActivationID != "" || d.Wait {
			return malformed(fmt.Sprintf("desired[%d]", i), "names an activation ID, or waits for a seat")
		}
	}
	return nil
}

// Validate checks everything about a wish that needs no state: it names a feature or an activation ID, and not more than MaxCount of it.
func (d Desired) Validate() error {
	if (d.Feature == "") == (d.ActivationID == "") {
		return fmt.Errorf("names neither or both of a feature and an activation ID")
	}
	if d.Count > MaxCount {
		return fmt.Errorf("count %d where at most %d is allowed", d.Count, MaxCount)
	}
	if err := checkPairs("selectors", d.Selectors); err != nil {
		return err
	}
	if d.ActivationID != "" {
		return d.ActivationID.Validate()
	}
	return checkName("feature", d.Feature, MaxName)
}

func (t Return) validate() error {
	switch {
	case t.ID == ReturnID{}:
		return fmt.Errorf("has no ID")
	case t.Copies == 0 || t.Copies > MaxCount:
		return fmt.Errorf("%d copies where 1 to %d are allowed", t.Copies, MaxCount)
	case t.Time < 0:
		return fmt.Errorf("decided before 1970")
	case len(t.Proof) > MaxEvidence:
		return fmt.Errorf("proof of %d bytes where at most %d are allowed", len(t.Proof), MaxEvidence)
	}
	return t.ActivationID.Validate()
}

func checkPairs(field string, pairs []Pair) error {
	if len(pairs) > MaxPairs {
		return malformed(field, "%d pairs where at most %d are allowed", len(pairs), MaxPairs)
	}
	for i, p := range pairs {
		if err := checkName("key", p.Key, MaxName); err != nil {
			return malformed(fmt.Sprintf("%s[%d]", field, i), "%v", err)
		}
		if err := checkText(p.Value); err != nil {
			return malformed(fmt.Sprintf("%s[%d]", field, i), "%v", err)
		}
	}
	return nil
}

// CheckName says why s is not the name of something of this kind; CheckText is for words that may be absent. Both keep what people will read fit for a screen.
func CheckName(what, s string) error { return checkName(what, s, MaxName) }

// CheckText accepts at most MaxText bytes of printable characters.
func CheckText(s string) error { return checkText(s) }

// checkName accepts 1 to limit bytes of printable characters without control codes.
func checkName(what, s string, limit int) error {
	if s == "" || len(s) > limit {
		return fmt.Errorf("%s of %d bytes where 1 to %d are allowed", what, len(s), limit)
	}
	return checkRunes(s)
}

func checkText(s string) error {
	if len(s) > MaxText {
		return fmt.Errorf("%d bytes where at most %d are allowed", len(s), MaxText)
	}
	return checkRunes(s)
}

// checkRunes refuses what could change the meaning of a line on a screen: control codes and marks that turn the direction of writing.
func checkRunes(s string) error {
	plain := 0
	for plain < len(s) && s[plain] >= ' ' && s[plain] < 0x7f {
		plain++
	}
	if plain == len(s) {
		return nil
	}
	for i, r := range s {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0xfffd || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029 {
			return fmt.Errorf("character %U at byte %d is not allowed", r, i)
		}
	}
	return nil
}
