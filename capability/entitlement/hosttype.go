package entitlement

import (
	"fmt"
	"slices"

	"github.com/leasehold/leasehold/hostid"
)

// HostType is a type of host IDs in a license model or a policy. It shows its name in JSON.
type HostType uint16

func (t HostType) String() string { return hostid.Type(t).String() }

// MarshalText makes JSON show the name.
func (t HostType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a name, in any case.
func (t *HostType) UnmarshalText(b []byte) error {
	of, err := hostid.ParseType(string(b))
	*t = HostType(of)
	return err
}

func (t HostType) known() bool {
	of, err := hostid.ParseType(t.String())
	return err == nil && of != hostid.Unknown && HostType(of) == t
}

// checkTypes checks what a policy says of types of host IDs.
func (p *Policy) checkTypes() error {
	for _, t := range []HostType{p.ClientType, p.ServerType} {
		if t != 0 && !t.known() {
			return fmt.Errorf("host ID type %d is not known", t)
		}
	}
	if len(p.Excluded) > MaxHostTypes {
		return fmt.Errorf("%d excluded host ID types where at most %d are allowed", len(p.Excluded), MaxHostTypes)
	}
	for n, t := range p.Excluded {
		if !t.known() || slices.Contains(p.Excluded[:n], t) || t == p.ClientType || t == p.ServerType {
			return fmt.Errorf("the excluded host ID type %s is not known, there twice, or a default", t)
		}
	}
	return nil
}
