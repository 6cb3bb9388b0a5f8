package hostid

import "fmt"

// Strength is how hard it is for another machine to show the same ID.
type Strength uint8

// The strengths, weakest first. Only a key that answers a fresh challenge proves anything; all else is read, and whoever is root can have it read differently.
const (
	Worthless Strength = iota // thousands of machines show it, or nobody could have made it
	Told                      // an administrator or another program said it
	Weak                      // a number that any device of its kind can be made to show
	Firm                      // burnt into the board, a network card or a disk
	Proven                    // a key in hardware answered for it
)

func (s Strength) String() string {
	switch s {
	case Worthless:
		return "worthless"
	case Told:
		return "told"
	case Weak:
		return "weak"
	case Firm:
		return "firm"
	case Proven:
		return "proven"
	}
	return fmt.Sprintf("strength %d", uint8(s))
}

// MarshalText writes the name.
func (s Strength) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one ID that a machine shows.
type Finding struct {
	ID       ID       `json:"id"` // of a worthless finding it may be what no ID can be: Validate says so
	Strength Strength `json:"strength"`
	Source   string   `json:"source"`         // where it was read, in printable words: "eno1, PCI 0000:00:1f.6"
	Flaw     string   `json:"flaw,omitempty"` // why it is worthless, or why it is never part of a binding: "USB network adapter"
}

// Machine is what a probe found: all that a machine shows of itself.
type Machine struct {
	Findings  []Finding `json:"findings"`            // in the order in which they are chosen: proven identity, board, built-in NICs, disks, dongles, what was told, the useless
	Virtual   string    `json:"virtual,omitempty"`   // the virtual machine monitor by systemd's name for it ("kvm", "vmware", "microsoft"), empty on bare metal
	Container string    `json:"container,omitempty"` // the container manager by systemd's name for it ("docker", "lxc"), empty outside of one
}
