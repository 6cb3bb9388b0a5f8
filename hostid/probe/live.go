package probe

import (
	"fmt"
	"os"

	"github.com/leasehold/leasehold/hostid"
)

// Files that stand in a recorded tree beside those of the kernel, for what a live machine tells otherwise.
const (
	permanentFile = "permaddr" // beside a network interface: its permanent address, which the kernel tells by ioctl
	makerFile     = "pciname"  // beside a PCI device: maker and model, from the machine's list of PCI IDs
)

// Live reads this machine. Without root's rights the UUID of the board stays unread, and is listed so.
func Live(o Options) (hostid.Machine, error) {
	t, err := live()
	if err != nil {
		return hostid.Machine{}, err
	}
	defer t.root.Close()
	return t.machine(o), nil
}

// EventLogPath is where the kernel shows the log that firmware and boot loader wrote of what they measured into the machine's first TPM, below the root. Only root may read it.
const EventLogPath = "sys/kernel/security/tpm0/binary_bios_measurements"

// EventLog is that log below root, or at another path there, unread otherwise and of at most limit bytes. A link is not followed, nothing is waited for. fs.ErrNotExist: there is none.
func EventLog(root *os.Root, name string, limit int) ([]byte, error) {
	s, err := (&tree{root: root}).open(name, limit, false)
	if err == long {
		err = fmt.Errorf("longer than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("read the firmware's log: %w", err)
	}
	return []byte(s), nil
}
