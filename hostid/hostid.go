// Package hostid names the identities a machine can have.
//
// It knows values only: how they are read from a machine is hostid/probe's business, how one of them is proven is tpm/attest's.
// Start with ID; Parse reads the form people type, VALUE/TYPE.
package hostid

import (
	"errors"
	"fmt"
	"strings"
)

// Type is a kind of host ID. The numbers are on the wire and are never reordered.
type Type uint8

// The types of host ID. TPMEK is the identity of an appliance: the digest of its TPM's endorsement key.
const (
	Unknown          Type = 0
	TPMEK            Type = 1
	TPMAK            Type = 2
	Ethernet         Type = 3
	String           Type = 4
	User             Type = 5
	Internet         Type = 6
	Internet6        Type = 7
	Flexid9          Type = 8
	Flexid10         Type = 9
	VMUUID           Type = 10
	BoardUUID        Type = 11
	Disk             Type = 12
	Composite        Type = 13
	Extended         Type = 14
	PublisherDefined Type = 15
	ContainerID      Type = 16
	DeviceKey        Type = 17 // the digest of the key that owns a client's leases
)

// MaxValue bounds a value in bytes: a SHA-256 digest in hex is 64, an administrator's extended ID twice that.
const MaxValue = 128

// ErrSyntax is in every error of Parse and Validate.
var ErrSyntax = errors.New("not a host ID")

const types = 18

func names() [types]string {
	return [types]string{
		"UNKNOWN", "TPM_EK", "TPM_AK", "ETHERNET", "STRING", "USER", "INTERNET", "INTERNET6", "FLEXID9", "FLEXID10",
		"VM_UUID", "BOARD_UUID", "DISK", "COMPOSITE", "EXTENDED", "PUBLISHER_DEFINED", "CONTAINER_ID", "DEVICE_KEY",
	}
}

// String is the name people see and type.
func (t Type) String() string {
	if n := names(); int(t) < len(n) {
		return n[t]
	}
	return fmt.Sprintf("TYPE_%d", uint8(t))
}

// ParseType reads a name without regard to case.
func ParseType(s string) (Type, error) {
	for t, n := range names() {
		if strings.EqualFold(n, s) {
			return Type(t), nil
		}
	}
	return Unknown, fmt.Errorf("%w: type %q is not known", ErrSyntax, s)
}

// ID is one identity of one machine. Two IDs are the same when both fields are.
type ID struct {
	Type  Type   `cbor:"1,keyasint,omitzero" json:"type"`
	Value string `cbor:"2,keyasint,omitzero" json:"value"`
}

// Parse reads VALUE/TYPE; without a type the value is a String. Only the last slash separates.
func Parse(s string) (ID, error) {
	id := ID{Type: String, Value: s}
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		t, err := ParseType(s[i+1:])
		if err != nil {
			return ID{}, err
		}
		id = ID{Type: t, Value: s[:i]}
	}
	return id, id.Validate()
}

// String is VALUE/TYPE, which Parse reads back.
func (id ID) String() string { return id.Value + "/" + id.Type.String() }

// Validate checks what a stranger sent: a known type and 1 to MaxValue bytes of printable ASCII.
func (id ID) Validate() error {
	if id.Type == Unknown || id.Type >= types {
		return fmt.Errorf("%w: type %d is not known", ErrSyntax, uint8(id.Type))
	}
	if len(id.Value) == 0 || len(id.Value) > MaxValue {
		return fmt.Errorf("%w: %d bytes where 1 to %d are allowed", ErrSyntax, len(id.Value), MaxValue)
	}
	for i := range len(id.Value) {
		if c := id.Value[i]; c < 0x20 || c > 0x7e {
			return fmt.Errorf("%w: byte %#02x at %d is not printable ASCII", ErrSyntax, c, i)
		}
	}
	return nil
}

// Short is the eight digits on screens and folders: 7F3A-22C9 for a digest that starts so. Values that are no digest are shown whole.
func (id ID) Short() string {
	if (id.Type == TPMEK || id.Type == TPMAK || id.Type == DeviceKey) && len(id.Value) >= 8 {
		return strings.ToUpper(id.Value[:4] + "-" + id.Value[4:8])
	}
	return id.Value
}

// OfDigest is the ID whose value is a digest: upper-case hex.
func OfDigest(t Type, d [32]byte) ID { return ID{Type: t, Value: fmt.Sprintf("%X", d[:])} }

// Is says that id is OfDigest(t, d).
func (id ID) Is(t Type, d [32]byte) bool {
	if id.Type != t || len(id.Value) != 2*len(d) {
		return false
	}
	const digits = "0123456789ABCDEF"
	for i, b := range d {
		if id.Value[2*i] != digits[b>>4] || id.Value[2*i+1] != digits[b&15] {
			return false
		}
	}
	return true
}
