package terminal

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/capability/wire"
)

// describeUpdate is an update of an appliance's image.
func describeUpdate(b *strings.Builder, u *client.InspectedUpdate) {
	f := &u.Fields
	fmt.Fprintf(b, "update of an appliance to release %s, security version %d, signed %s\n", f.Version, f.Security, f.Time)
	section(b, "The key that signed it", Fields(u.Key), keyWords())
	fmt.Fprintf(b, "\nRoot hash: %x\nFiles beside it:\n", f.RootHash[:])
	for _, p := range []struct {
		name string
		wire.UpdatePart
	}{{wire.UpdateRoot, f.Root}, {wire.UpdateVerity, f.Verity}, {wire.UpdateKernel, f.Kernel}} {
		fmt.Fprintf(b, "  %-10s  %9d bytes, SHA-256 %x\n", p.name, p.Size, p.SHA256[:])
	}
	fmt.Fprintf(b, "\nSigned ahead: %s\n", capability.Counted(len(f.Boot.States), "boot state"))
}
