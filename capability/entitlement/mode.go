package entitlement

import (
	"fmt"

	"github.com/leasehold/leasehold/capability"
)

// Mode says how the seats of a line item are used.
type Mode uint8

const (
	// ByKind is the mode of an item that says none: online for the kind fixed-user, offline for the others.
	ByKind Mode = 0
	// Online: through sessions with the back office.
	Online Mode = 1
	// Offline: through machines, by file.
	Offline Mode = 2
)

func (m Mode) String() string {
	switch m {
	case Online:
		return "online"
	case Offline:
		return "offline"
	}
	return "by kind"
}

// MarshalText makes JSON show the name, and nothing where nothing is said.
func (m Mode) MarshalText() ([]byte, error) {
	if m == ByKind {
		return nil, nil
	}
	return []byte(m.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (m *Mode) UnmarshalText(b []byte) (err error) {
	if *m = ByKind; len(b) > 0 {
		*m, err = ParseMode(string(b))
	}
	return err
}

// ParseMode reads online or offline.
func ParseMode(s string) (Mode, error) {
	for m := Online; m <= Offline; m++ {
		if s == m.String() {
			return m, nil
		}
	}
	return 0, fmt.Errorf("%q is not how seats are used: want online or offline", s)
}

// kindOf is the kind of an item. One that was entitled to a single user is that user's on every machine, and has no seats to give out.
func (b *Book) kindOf(i *item) Kind {
	if i.User != "" {
		return NodeLocked
	}
	return b.modelOf(i).Kind
}

// mode is how an item is used.
func (b *Book) mode(i *item) Mode {
	switch {
	case i.Mode != ByKind:
		return i.Mode
	case b.kindOf(i) == FixedUser:
		return Online
	}
	return Offline
}

// Use is the kind of an item, and how its seats are used.
func (b *Book) Use(id capability.ActivationID) (Kind, Mode) {
	if i := b.byID[id]; i != nil {
		return b.kindOf(i), b.mode(i)
	}
	return 0, ByKind
}
