package capability

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/hostid"
)

// Status is the outcome of a whole request.
type Status uint8

const (
	StatusOK        Status = 0
	StatusPartly    Status = 1 // some lines were refused; what was held of those features stays
	StatusUnchanged Status = 2 // atomic and refused: everything stays as it was, and the lines say what would have been
	StatusPreview   Status = 3 // nothing changed
	StatusReturned  Status = 4 // everything was given back
	StatusDenied    Status = 5 // refused as a whole: nothing is given
)

func (s Status) String() string {
	if names := [...]string{"OK", "PARTLY", "UNCHANGED", "PREVIEW", "RETURNED", "DENIED"}; int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("STATUS_%d", uint8(s))
}

// LineStatus is the outcome of one line.
type LineStatus uint8

const (
	LineOK           LineStatus = 0
	LinePartial      LineStatus = 1
	LineInsufficient LineStatus = 2
)

func (s LineStatus) String() string {
	if names := [...]string{"OK", "PARTIAL", "INSUFFICIENT"}; int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("LINE_%d", uint8(s))
}

// Response is the one response: from an appliance to a client, or from the back office to an appliance or a stand-alone client.
// It states the whole of what the asker now has, never a difference. The newest serial wins; an older one changes nothing; the same one is "already applied".
type Response struct {
	Version     uint8         `cbor:"1,keyasint,omitzero" json:"version"`
	Status      Status        `cbor:"2,keyasint,omitzero" json:"status"`
	For         hostid.ID     `cbor:"3,keyasint,omitzero" json:"for"`
	Serial      uint64        `cbor:"4,keyasint,omitzero" json:"serial"` // grows per asker; zero where nothing was decided
	Correlation CorrelationID `cbor:"5,keyasint,omitzero" json:"correlation"`
	Time        Time          `cbor:"6,keyasint,omitzero" json:"time"`
	Lifetime    Seconds       `cbor:"7,keyasint,omitzero" json:"lifetime,omitempty"` // refused when older; a file: from Time to apply-before
	Rights      []Right       `cbor:"8,keyasint,omitempty" json:"rights,omitempty"`  // a device's
	Items       []LineItem    `cbor:"9,keyasint,omitempty" json:"items,omitempty"`   // an appliance's
	Lines       []Line        `cbor:"10,keyasint,omitempty" json:"lines,omitempty"`  // one for each desired line, in its order
	Denials     []Denial      `cbor:"11,keyasint,omitempty" json:"denials,omitempty"`
	Policy      Policy        `cbor:"12,keyasint,omitzero" json:"policy,omitzero"`
	Salt        [16]byte      `cbor:"13,keyasint,omitzero" json:"salt,omitzero"`  // makes the leaf of this response unguessable to its neighbors in the group
	Hold        Time          `cbor:"14,keyasint,omitzero" json:"hold,omitempty"` // end of a running hold
	Key         Digest        `cbor:"15,keyasint,omitzero" json:"key,omitzero"`   // of the asker's key the rights belong to

	// The rest is the back office's.
	Request      Digest     `cbor:"20,keyasint,omitzero" json:"request,omitzero"` // of the request this answers
	Number       uint64     `cbor:"21,keyasint,omitzero" json:"number,omitempty"`
	Acknowledged []ReturnID `cbor:"22,keyasint,omitempty" json:"acknowledged,omitempty"`
	Records      uint64     `cbor:"23,keyasint,omitzero" json:"records,omitempty"` // usage and audit records up to this number are acknowledged
	Revoked      []Digest   `cbor:"24,keyasint,omitempty" json:"revoked,omitempty"`
	Boot         Boot       `cbor:"25,keyasint,omitzero" json:"boot,omitzero"`
	Certificate  []byte     `cbor:"26,keyasint,omitempty" json:"certificate,omitempty"` // names the appliance's AK to its clients (wire.ApplianceCertificate, signed)
	ReturnAsked  bool       `cbor:"27,keyasint,omitzero" json:"returnAsked,omitempty"`
	BookHead     Digest     `cbor:"28,keyasint,omitzero" json:"bookHead,omitzero"`
	Epoch        uint64     `cbor:"29,keyasint,omitzero" json:"epoch,omitempty"` // of the request: a first response is taken only while the counter is still there
	Life         LifeID     `cbor:"30,keyasint,omitzero" json:"life,omitzero"`   // of the request: no other trusted storage takes it
}

// Right is a served count with its expiry.
type Right struct {
	Feature string  `cbor:"1,keyasint,omitzero" json:"feature"`
	Version Version `cbor:"2,keyasint" json:"version"` // of the item it came from
	Count   uint32  `cbor:"3,keyasint,omitzero" json:"count"`
	Expiry  Time    `cbor:"4,keyasint,omitzero" json:"expiry"`
	Final   Time    `cbor:"5,keyasint,omitzero" json:"final,omitempty"` // expiry of the item itself
	Vendor  string  `cbor:"6,keyasint,omitzero" json:"vendorString,omitempty"`
}

// Line is the outcome of one desired line.
type Line struct {
	Status LineStatus `cbor:"1,keyasint,omitzero" json:"status"`
	Count  uint32     `cbor:"2,keyasint,omitzero" json:"count"`
	Denial Denial     `cbor:"3,keyasint,omitzero" json:"denial,omitzero"`
}

// Denial says why not: a stable code, what it is about, and the facts its sentence is made of. The words are the catalog's.
type Denial struct {
	Code      Code     `cbor:"1,keyasint,omitzero" json:"code"`
	Subject   string   `cbor:"2,keyasint,omitzero" json:"subject,omitempty"` // a feature or an activation ID
	Asked     uint32   `cbor:"3,keyasint,omitzero" json:"asked,omitempty"`
	Available uint32   `cbor:"4,keyasint,omitzero" json:"available,omitempty"`
	Total     uint32   `cbor:"5,keyasint,omitzero" json:"total,omitempty"`
	Used      uint32   `cbor:"6,keyasint,omitzero" json:"used,omitempty"`
	Until     Time     `cbor:"7,keyasint,omitzero" json:"until,omitempty"` // when it may be otherwise: end of a hold, earliest known end of a lease
	Highest   Version  `cbor:"8,keyasint,omitzero" json:"highest,omitzero"`
	Detail    string   `cbor:"9,keyasint,omitzero" json:"detail,omitempty"`
	Holders   []Holder `cbor:"10,keyasint,omitempty" json:"holders,omitempty"` // as the policy lets the asker see them
	Position  uint32   `cbor:"11,keyasint,omitzero" json:"position,omitempty"` // in the queue of the feature, from 1
}

// Holder is a device that holds a count, as shown to someone who waits for one.
type Holder struct {
	Name   string `cbor:"1,keyasint,omitzero" json:"name,omitempty"`
	Count  uint32 `cbor:"2,keyasint,omitzero" json:"count"`
	Expiry Time   `cbor:"3,keyasint,omitzero" json:"expiry"`
}

// HolderPolicy says how holders appear to other end users. Administrators always see names.
type HolderPolicy uint8

const (
	HoldersCount    HolderPolicy = 0
	HoldersInitials HolderPolicy = 1
	HoldersNames    HolderPolicy = 2
)

func (p HolderPolicy) String() string {
	return [...]string{"count", "initials", "names"}[min(p, HoldersNames)]
}

// ParseHolderPolicy reads a name.
func ParseHolderPolicy(s string) (HolderPolicy, error) {
	for p := HoldersCount; p <= HoldersNames; p++ {
		if s == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%q is no policy for holders: want count, initials or names", s)
}

// Policy is what the producer sets for an appliance, and what an appliance tells its clients of it.
type Policy struct {
	Lease         Seconds      `cbor:"1,keyasint,omitzero" json:"lease,omitempty"`        // lease interval, which is also the hold
	RenewPercent  uint8        `cbor:"2,keyasint,omitzero" json:"renewPercent,omitempty"` // of the interval, after which clients renew
	Holders       HolderPolicy `cbor:"3,keyasint,omitzero" json:"holders,omitempty"`
	Tolerance     Seconds      `cbor:"4,keyasint,omitzero" json:"tolerance,omitempty"` // for assigned seats without their server
	ResponseLife  Seconds      `cbor:"5,keyasint,omitzero" json:"responseLife,omitempty"`
	Granularity   uint8        `cbor:"6,keyasint,omitzero" json:"granularity,omitempty"`
	BorrowMaximum Seconds      `cbor:"7,keyasint,omitzero" json:"borrowMaximum,omitempty"`
	Duplicates    bool         `cbor:"8,keyasint,omitzero" json:"duplicates,omitempty"` // each key of a host ID has leases of its own
	Binding       hostid.Rule  `cbor:"9,keyasint,omitzero" json:"binding,omitempty"`    // what is asked of the machine beside its TPM
	Grace         Seconds      `cbor:"10,keyasint,omitzero" json:"grace,omitempty"`     // how long that may be missing; NoGrace: not at all
	Dongle        hostid.ID    `cbor:"11,keyasint,omitzero" json:"dongle,omitzero"`     // the one that the producer chose, if it did
	Detail        bool         `cbor:"35,keyasint,omitzero" json:"detail,omitempty"`    // records may name users, where the site's setting allows it too
	States        bool         `cbor:"36,keyasint,omitzero" json:"states,omitempty"`    // records are of whole days, and requests say how the day that runs stands; else each request ends a record
}

// NoGrace is a Grace of no time: zero stands for the default.
const NoGrace Seconds = -1

// Boot is the producer's word on the boot states in which trusted storage may open.
type Boot struct {
	Key    []byte   `cbor:"1,keyasint,omitempty" json:"key"`              // P-256 public key, PKIX DER
	Ref    []byte   `cbor:"2,keyasint,omitempty" json:"ref,omitempty"`    // policyRef of PolicyAuthorize
	States [][]byte `cbor:"3,keyasint,omitempty" json:"states,omitempty"` // signed states (tpm/attest)
}

// DefaultPolicy is what applies where the producer said nothing.
func DefaultPolicy() Policy {
	return Policy{Lease: DefaultLease, RenewPercent: 15, ResponseLife: 24 * 60 * 60}
}

// Validate checks everything about a response that needs no state. The error is a *Malformed.
func (r *Response) Validate() error {
	switch {
	case r.Version != Protocol:
		return malformed("version", "%d where this program speaks %d", r.Version, Protocol)
	case r.Status > StatusDenied:
		return malformed("status", "%d is not known", r.Status)
	case r.Time <= 0:
		return malformed("time", "absent")
	case r.Lifetime < 0:
		return malformed("lifetime", "%d seconds", r.Lifetime)
	case len(r.Rights) > MaxItems:
		return malformed("rights", "%d where at most %d are allowed", len(r.Rights), MaxItems)
	case len(r.Items) > MaxItems:
		return malformed("items", "%d where at most %d are allowed", len(r.Items), MaxItems)
	case len(r.Lines) > MaxDesired:
		return malformed("lines", "%d where at most %d are allowed", len(r.Lines), MaxDesired)
	case len(r.Denials) > MaxDenials:
		return malformed("denials", "%d where at most %d are allowed", len(r.Denials), MaxDenials)
	case len(r.Acknowledged) > MaxReturns:
		return malformed("acknowledged", "%d where at most %d are allowed", len(r.Acknowledged), MaxReturns)
	case len(r.Revoked) > MaxRevoked:
		return malformed("revoked", "%d where at most %d are allowed", len(r.Revoked), MaxRevoked)
	case r.Hold < 0:
		return malformed("hold", "before 1970")
	case len(r.Certificate) > MaxSigned:
		return malformed("certificate", "%d bytes where at most %d are allowed", len(r.Certificate), MaxSigned)
	case r.Policy.Lease != 0 && (r.Policy.Lease < MinLease || r.Policy.Lease > MaxLease):
		return malformed("policy.lease", "%s where %s to %s are allowed", r.Policy.Lease, MinLease, MaxLease)
	case r.Policy.RenewPercent > 90:
		return malformed("policy.renewPercent", "%d where at most 90 is allowed", r.Policy.RenewPercent)
	case !r.Policy.Binding.Known():
		return malformed("policy.binding", "%d is not known", r.Policy.Binding)
	case r.Policy.Holders > HoldersNames:
		return malformed("policy.holders", "%d is not known", r.Policy.Holders)
	case r.Policy.Granularity > 3:
		return malformed("policy.granularity", "%d is not known", r.Policy.Granularity)
	case min(r.Policy.Tolerance, r.Policy.ResponseLife, r.Policy.BorrowMaximum) < 0:
		return malformed("policy", "times of less than nothing")
	case r.Policy.Grace < NoGrace || r.Policy.Grace > MaxGrace:
		return malformed("policy.grace", "%d seconds where at most %d are allowed", r.Policy.Grace, MaxGrace)
	}
	if d := r.Policy.Dongle; d != (hostid.ID{}) {
		if err := d.Validate(); err != nil {
			return malformed("policy.dongle", "%v", err)
		}
		if !d.Type.Dongle() {
			return malformed("policy.dongle", "%s is no dongle", d)
		}
	}
	if err := r.For.Validate(); err != nil {
		return malformed("for", "%v", err)
	}
	if err := r.Boot.Validate(); err != nil {
		return malformed("boot", "%v", err)
	}
	seen := make(map[ItemID]bool, len(r.Items))
	for i, it := range r.Items {
		if err := it.Validate(); err != nil {
			return malformed(fmt.Sprintf("items[%d]", i), "%v", err)
		}
		if seen[it.ID()] {
			return malformed(fmt.Sprintf("items[%d]", i), "%s is there twice", it.ID())
		}
		seen[it.ID()] = true
	}
	for i, g := range r.Rights {
		if err := g.validate(); err != nil {
			return malformed(fmt.Sprintf("rights[%d]", i), "%v", err)
		}
	}
	for i, l := range r.Lines {
		if l.Status > LineInsufficient {
			return malformed(fmt.Sprintf("lines[%d]", i), "status %d is not known", l.Status)
		}
		if err := l.Denial.Validate(); err != nil {
			return malformed(fmt.Sprintf("lines[%d].denial", i), "%v", err)
		}
	}
	for i, d := range r.Denials {
		if err := d.Validate(); err != nil {
			return malformed(fmt.Sprintf("denials[%d]", i), "%v", err)
		}
	}
	return nil
}

// Validate checks forms and sizes; what the states allow is tpm/attest's to judge.
func (b Boot) Validate() error {
	if len(b.Ref) > MaxPolicyRef || len(b.States) > MaxItems {
		return fmt.Errorf("ref of %d bytes and %d states where at most %d and %d are allowed", len(b.Ref), len(b.States), MaxPolicyRef, MaxItems)
	}
	for i, s := range b.States {
		if len(s) != StateBytes || s[0] != 0x41 {
			return fmt.Errorf("states[%d]: %d bytes, and no signed state", i, len(s))
		}
	}
	return nil
}

func (g Right) validate() error {
	if g.Expiry < 0 || g.Final < 0 {
		return fmt.Errorf("expires before 1970")
	}
	if err := checkText(g.Vendor); err != nil {
		return fmt.Errorf("vendor string: %w", err)
	}
	return checkName("feature", g.Feature, MaxName)
}

// Validate keeps what people will read fit for a screen, whoever wrote it. The code is any.
func (d Denial) Validate() error {
	if len(d.Holders) > MaxHolders {
		return fmt.Errorf("%d holders where at most %d are allowed", len(d.Holders), MaxHolders)
	}
	if len(d.Detail) > MaxDetail {
		return fmt.Errorf("detail of %d bytes where at most %d are allowed", len(d.Detail), MaxDetail)
	}
	if err := checkRunes(d.Detail); err != nil {
		return fmt.Errorf("detail: %w", err)
	}
	if err := checkText(d.Subject); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	if d.Until < 0 {
		return fmt.Errorf("until before 1970")
	}
	for _, h := range d.Holders {
		if h.Expiry < 0 {
			return fmt.Errorf("holder: expires before 1970")
		}
		if err := checkText(h.Name); err != nil {
			return fmt.Errorf("holder: %w", err)
		}
	}
	return nil
}

// Shown is d with what people will read made fit for a screen, of one that nobody signed: what could change the meaning of a line is a question mark, and what is too much is cut.
func (d Denial) Shown() Denial {
	d.Detail, d.Subject = shown(d.Detail, MaxDetail), shown(d.Subject, MaxText)
	d.Holders = slices.Clone(d.Holders[:min(len(d.Holders), MaxHolders)])
	for i := range d.Holders {
		d.Holders[i].Name = shown(d.Holders[i].Name, MaxText)
	}
	return d
}

func shown(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if checkRunes(string(r)) != nil {
			return '?'
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// Validate checks everything about a line item that needs no state.
func (i LineItem) Validate() error {
	switch {
	case i.Count > MaxCount || i.Overdraft > MaxCount:
		return fmt.Errorf("count %d, overdraft %d where at most %d is allowed", i.Count, i.Overdraft, MaxCount)
	case i.Copies == 0 || i.Copies > MaxCount:
		return fmt.Errorf("%d copies where 1 to %d are allowed", i.Copies, MaxCount)
	case i.Count%i.Copies != 0:
		return fmt.Errorf("count %d is not a multiple of its %d copies", i.Count, i.Copies)
	case i.Start < 0 || i.Expiry < 0 || i.Expiry != 0 && i.Expiry <= i.Start:
		return fmt.Errorf("starts %s and expires %s", i.Start, i.Expiry)
	case i.Issued < 0:
		return fmt.Errorf("issued before 1970")
	case i.UsedBefore > MaxCount || i.UsedBefore > 0 && !i.Metered:
		return fmt.Errorf("%d used before, of an item that is metered or not: at most %d of a metered one are allowed", i.UsedBefore, MaxCount)
	case min(i.Borrow, i.UndoInterval) < 0 || max(i.Borrow, i.UndoInterval) > MaxInterval:
		return fmt.Errorf("leases of %s and reports that can be undone for %s where 0 to %s are allowed", i.Borrow, i.UndoInterval, MaxInterval)
	}
	for _, s := range []string{i.Product, i.EntitlementID, i.VendorString, i.Issuer, i.Notice, i.SerialNumber, i.User} {
		if err := checkText(s); err != nil {
			return err
		}
	}
	if err := checkPairs("selectors", i.Selectors); err != nil {
		return err
	}
	if err := i.ActivationID.Validate(); err != nil {
		return err
	}
	return checkName("feature", i.Feature, MaxName)
}
