package probe

import (
	"cmp"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/hostid"
)

const (
	etherType    = "1" // ARPHRD_ETHER in a device's type
	loopbackType = "772"
	intel        = "0x8086"
)

// card is a network interface on its way to a finding.
type card struct {
	hostid.Finding
	place string // the device's path, which does not change when the interface is renamed
}

// cards lists every network interface but loopbacks: built-in PCI cards by their permanent address, in the order of their places, and after them all
// others, with what they are.
func (t *tree) cards(virtual string) []hostid.Finding {
	const class = "sys/class/net"
	names, err := t.list(class)
	if err != nil {
		return absent(hostid.Ethernet, class, err)
	}
	var all []card
	for _, name := range names {
		dir, err := t.follow(path.Join(class, name))
		switch {
		case err == nil && t.word(dir+"/type") == loopbackType:
		case errors.Is(err, fs.ErrNotExist), name == "bonding_masters": // unplugged meanwhile; a file of the bonding driver
		case err != nil:
			all = append(all, card{Finding: worthless(hostid.Ethernet, "", name, err.Error())})
		default:
			all = append(all, t.card(name, dir, virtual))
		}
	}
	slices.SortFunc(all, func(a, b card) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.ID.Value, b.ID.Value), cmp.Compare(a.Source, b.Source))
	})
	return unique(all)
}

// unique refuses addresses that two built-in cards show.
func unique(all []card) (out []hostid.Finding) {
	first := map[string]int{} // by address, the only or first card without a flaw
	for i, c := range all {
		if c.Flaw != "" {
			continue
		}
		if j, ok := first[c.ID.Value]; ok {
			all[i].Flaw, all[i].Strength = "the same address as "+all[j].Source, hostid.Worthless
			all[j].Flaw, all[j].Strength = "the same address as "+c.Source, hostid.Worthless
			continue
		}
		first[c.ID.Value] = i
	}
	for _, c := range all {
		out = append(out, c.Finding)
	}
	return out
}

func (t *tree) card(name, dir, virtual string) card {
	slot := pciDevice(dir)
	c := card{place: path.Dir(path.Dir(dir))}
	c.ID.Type, c.Source = hostid.Ethernet, shown(name)
	if slot != "" {
		c.Source += ", PCI " + path.Base(slot)
	}
	if slot != "" && !strings.Contains(t.pluggedIn(dir), "USB") { // else the slot is that of the USB controller
		if maker := t.word(slot + "/" + makerFile); maker != "" {
			c.Source += ", " + shown(maker)
		}
	}
	address, known := t.permanent(dir)
	mac, junk := parseMAC(address)
	if junk != "" {
		c.ID.Value = shown(address)
	} else {
		c.ID.Value = mac
	}
	switch why := t.notBuiltIn(dir, slot); {
	case why != "":
		c.Flaw = why
		if junk == "" {
			c.Strength = hostid.Weak
		}
	case !known:
		c.Flaw = "its permanent address is not known"
	case junk != "":
		c.Flaw = junk
	case local(mac):
		c.Strength = hostid.Weak
	default:
		c.Strength = firm(virtual)
	}
	return c
}

// permanent is the address that a card was made with. Where that is not known, it is the one it has now, and known is false.
func (t *tree) permanent(dir string) (address string, known bool) {
	for _, name := range []string{permanentFile, "bonding_slave/perm_hwaddr"} {
		if s := t.word(dir + "/" + name); s != "" && strings.Trim(s, "0:") != "" {
			return s, true
		}
	}
	return t.word(dir + "/address"), t.word(dir+"/addr_assign_type") == "0"
}

// notBuiltIn says why an interface is not a wired card on the machine's own PCI bus, or nothing.
func (t *tree) notBuiltIn(dir, slot string) string {
	kind := devType(t.head(dir+"/uevent", maxFile))
	if strings.HasPrefix(dir, "sys/devices/virtual/") {
		switch {
		case kind != "":
			return kind + ", not a card"
		case t.has(dir + "/bridge"):
			return "bridge, not a card"
		case t.has(dir + "/bonding"):
			return "bond, not a card"
		}
		return "virtual interface, not a card"
	}
	if why := t.pluggedIn(dir); why != "" {
		return why + " network adapter"
	}
	switch {
	case kind == "wlan", t.has(dir + "/wireless"), t.has(dir + "/phy80211"):
		return "wireless network adapter"
	case kind == "wwan":
		return "mobile network adapter"
	case t.word(dir+"/type") != etherType:
		return "not Ethernet"
	case slot == "":
		return "not on the PCI bus"
	case t.has(slot + "/physfn"):
		return "virtual function of another card"
	}
	return ""
}

// devType is what the kernel calls a kind of interface, if that is a word of its own.
func devType(uevent string) string {
	for l := range strings.Lines(uevent) {
		if kind, ok := strings.CutPrefix(strings.TrimSpace(l), "DEVTYPE="); ok && slices.Contains([]string{
			"bond", "bridge", "vlan", "vxlan", "macvlan", "macvtap", "ipvlan", "geneve", "gre", "wireguard", "wlan", "wwan", "dsa", "hsr", "team", "veth",
		}, kind) {
			return kind
		}
	}
	return ""
}

// pluggedIn says by what a device hangs on this machine from outside, or nothing for one inside.
func (t *tree) pluggedIn(dir string) string {
	parts := strings.Split(dir, "/")
	usb := ""
	for i, part := range parts {
		at := strings.Join(parts[:i+1], "/")
		switch {
		case strings.HasPrefix(part, "vhci_hcd"):
			return "USB over IP"
		case strings.HasPrefix(part, "dummy_hcd"), strings.HasPrefix(part, "dummy_udc"):
			return "emulated USB"
		case strings.HasPrefix(part, "usb") && number(part[3:]):
			usb = "USB"
		case strings.HasPrefix(part, "domain") && number(part[6:]):
			return "Thunderbolt"
		case pciAddress(part) && t.external(at):
			return "Thunderbolt or docked"
		}
	}
	return usb
}

// external says that a PCI device is one that can be unplugged, or a bridge of a Thunderbolt controller: what is below one is on the far side of a cable.
func (t *tree) external(dir string) bool {
	if t.word(dir+"/removable") == "removable" {
		return true
	}
	// Kernels before 5.14 have no such attribute. The bridges are those that Linux knows in drivers/thunderbolt/nhi.h.
	return t.word(dir+"/vendor") == intel && slices.Contains([]string{
		"0x1513", "0x151a", "0x151b", "0x1547", "0x1548", "0x1549", "0x1567", "0x1569", "0x156b", "0x156d",
		"0x1576", "0x1578", "0x157e", "0x15c0", "0x15d3", "0x15da", "0x15e7", "0x15ea", "0x15ef",
	}, t.word(dir+"/device"))
}

// pciDevice is the nearest PCI device at or above a path, or nothing.
func pciDevice(dir string) string {
	for ; dir != "." && dir != "/"; dir = path.Dir(dir) {
		if pciAddress(path.Base(dir)) {
			return dir
		}
	}
	return ""
}

// pciAddress says that a name is one like 0000:00:1f.6. A virtual controller has a domain of more digits.
func pciAddress(s string) bool {
	i := strings.IndexByte(s, ':')
	if i < 4 || i > 8 || len(s) != i+8 || s[i+3] != ':' || s[i+6] != '.' {
		return false
	}
	for j := range len(s) {
		if j != i && j != i+3 && j != i+6 && !hexDigit(s[j]) {
			return false
		}
	}
	return true
}

func number(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// absent is nothing where a class of devices is not there, and the fault where it cannot be read.
func absent(t hostid.Type, class string, err error) []hostid.Finding {
	if f, ok := err.(fault); ok {
		return []hostid.Finding{worthless(t, "", class, f.Error())}
	}
	return nil
}
