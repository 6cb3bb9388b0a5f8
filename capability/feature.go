package capability

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is two integers: 1.10 is above 1.9.
type Version struct {
	_     struct{} `cbor:",toarray"`
	Major uint32
	Minor uint32
}

// ParseVersion reads "2026.1" or "2026". A third number is refused; 2022.01 is 2022.1.
func ParseVersion(s string) (Version, error) {
	major, minor, two := strings.Cut(s, ".")
	a, err := strconv.ParseUint(major, 10, 32)
	if err != nil {
		return Version{}, fmt.Errorf("%q is not a version: want two numbers like 2026.1", s)
	}
	var b uint64
	if two {
		if b, err = strconv.ParseUint(minor, 10, 32); err != nil {
			return Version{}, fmt.Errorf("%q is not a version: want two numbers like 2026.1", s)
		}
	}
	return Version{Major: uint32(a), Minor: uint32(b)}, nil
}

// Compare is negative, zero or positive as v is below, equal to or above w.
func (v Version) Compare(w Version) int {
	if v.Major != w.Major {
		if v.Major < w.Major {
			return -1
		}
		return 1
	}
	switch {
	case v.Minor < w.Minor:
		return -1
	case v.Minor > w.Minor:
		return 1
	}
	return 0
}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// MarshalText makes JSON and flags show 2026.1.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText is ParseVersion.
func (v *Version) UnmarshalText(b []byte) (err error) {
	*v, err = ParseVersion(string(b))
	return err
}

// Feature is the name and version of one licensable capability.
type Feature struct {
	Name    string
	Version Version
}

// ParseFeature reads NAME or NAME:VERSION; without a version any version will do.
func ParseFeature(s string) (Feature, error) {
	name, version, has := strings.Cut(s, ":")
	f := Feature{Name: name}
	if has {
		v, err := ParseVersion(version)
		if err != nil {
			return Feature{}, err
		}
		f.Version = v
	}
	return f, checkName("feature", f.Name, MaxName)
}

func (f Feature) String() string { return f.Name + ":" + f.Version.String() }

// LineItem is one counted right of an entitlement: what an appliance stores and serves from. ActivationID and Feature together name it.
// Fields may be added with new numbers; a number is never used for something else.
type LineItem struct {
	ActivationID   ActivationID `cbor:"1,keyasint,omitzero" json:"activationId"`
	Feature        string       `cbor:"2,keyasint,omitzero" json:"feature"`
	Version        Version      `cbor:"3,keyasint" json:"version"`
	Count          uint32       `cbor:"4,keyasint,omitzero" json:"count"`
	Copies         uint32       `cbor:"5,keyasint,omitzero" json:"copies"` // of the activation ID behind Count; Count is a multiple of it
	Uncounted      bool         `cbor:"6,keyasint,omitzero" json:"uncounted,omitempty"`
	Start          Time         `cbor:"7,keyasint,omitzero" json:"start,omitempty"`
	Expiry         Time         `cbor:"8,keyasint,omitzero" json:"expiry,omitempty"` // first second that is not licensed; zero is permanent
	Product        string       `cbor:"9,keyasint,omitzero" json:"product,omitempty"`
	ProductVersion Version      `cbor:"10,keyasint,omitzero" json:"productVersion,omitzero"`
	EntitlementID  string       `cbor:"11,keyasint,omitzero" json:"entitlementId,omitempty"`
	VendorString   string       `cbor:"12,keyasint,omitzero" json:"vendorString,omitempty"`
	Issuer         string       `cbor:"13,keyasint,omitzero" json:"issuer,omitempty"`
	Issued         Time         `cbor:"14,keyasint,omitzero" json:"issued,omitempty"`
	Notice         string       `cbor:"15,keyasint,omitzero" json:"notice,omitempty"`
	SerialNumber   string       `cbor:"16,keyasint,omitzero" json:"serialNumber,omitempty"`
	Overdraft      uint32       `cbor:"17,keyasint,omitzero" json:"overdraft,omitempty"`
	Metered        bool         `cbor:"18,keyasint,omitzero" json:"metered,omitempty"`
	Reusable       bool         `cbor:"19,keyasint,omitzero" json:"reusable,omitempty"`
	UndoInterval   Seconds      `cbor:"20,keyasint,omitzero" json:"undoInterval,omitempty"`
	Grace          bool         `cbor:"21,keyasint,omitzero" json:"grace,omitempty"`
	Borrow         Seconds      `cbor:"22,keyasint,omitzero" json:"borrow,omitempty"` // longest lease of this item; zero leaves it to the policy
	Selectors      []Pair       `cbor:"23,keyasint,omitempty" json:"selectors,omitempty"`
	UsedBefore     uint32       `cbor:"24,keyasint,omitzero" json:"usedBefore,omitempty"` // of a metered item, by the trusted storage that this response's one replaces
	User           string       `cbor:"25,keyasint,omitzero" json:"user,omitempty"`       // it is assigned to: nobody else is served of it; empty: everybody
}

// ID names the item: no two items of one machine share it.
func (i LineItem) ID() ItemID { return ItemID{ActivationID: i.ActivationID, Feature: i.Feature} }

// ItemID names a line item.
type ItemID struct {
	_            struct{} `cbor:",toarray"`
	ActivationID ActivationID
	Feature      string
}

func (id ItemID) String() string { return string(id.ActivationID) + "/" + id.Feature }

// Pair is one key and value of a vendor dictionary or a selector.
type Pair struct {
	Key   string `cbor:"1,keyasint,omitzero" json:"key"`
	Value string `cbor:"2,keyasint,omitzero" json:"value"`
}
