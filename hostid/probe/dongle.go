package probe

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/hostid"
)

const (
	hubClass  = "09"
	rootHub   = 0x1d6b // the Linux Foundation: the kernel's own hubs
	usbDevice = "sys/bus/usb/devices"
)

// known is the dongles that the package knows, after those that were asked for.
func known(more []Dongle) []Dongle {
	all := slices.Clone(more)
	for _, l := range table("vendors.txt") {
		f := strings.Fields(l)
		if len(f) < 4 {
			continue
		}
		vendor, err := hex16(f[0])
		typ, unknown := hostid.ParseType(f[2])
		d := Dongle{Vendor: vendor, Type: typ, Name: strings.Join(f[3:], " ")}
		if f[1] != "*" && err == nil {
			d.Product, err = hex16(f[1])
		}
		if err == nil && unknown == nil {
			all = append(all, d)
		}
	}
	return all
}

// dongles lists the USB devices that carry licenses, and whatever comes over the network as one. A serial number is weak evidence: it proves nothing that a
// ten-dollar board could not show.
func (t *tree) dongles(more []Dongle) []hostid.Finding {
	names, err := t.list(usbDevice)
	if err != nil {
		return absent(hostid.Flexid9, usbDevice, err)
	}
	kinds := known(more)
	type found struct {
		hostid.Finding
		place string
	}
	var all []found
	for _, name := range names {
		if strings.Contains(name, ":") { // an interface of a device
			continue
		}
		dir, err := t.follow(path.Join(usbDevice, name))
		if errors.Is(err, fs.ErrNotExist) { // unplugged meanwhile
			continue
		}
		if err != nil {
			all = append(all, found{worthless(hostid.Flexid9, "", "USB "+name, err.Error()), name})
			continue
		}
		if f, ok := t.dongle(dir, kinds); ok {
			all = append(all, found{f, dir})
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.Source, b.Source)) })
	times := map[hostid.ID]int{} // that it is shown without a flaw: whoever shows it over the network takes nothing from the one that is here
	for _, a := range all {
		if a.Flaw == "" {
			times[a.ID]++
		}
	}
	var out []hostid.Finding
	for _, a := range all {
		if a.Flaw == "" && times[a.ID] > 1 {
			a.Strength, a.Flaw = hostid.Worthless, "another one shows the same serial number"
		}
		out = append(out, a.Finding)
	}
	return out
}

func (t *tree) dongle(dir string, kinds []Dongle) (hostid.Finding, bool) {
	vendor, err1 := hex16(t.word(dir + "/idVendor"))
	product, err2 := hex16(t.word(dir + "/idProduct"))
	if err1 != nil || err2 != nil || vendor == rootHub || t.word(dir+"/bDeviceClass") == hubClass {
		return hostid.Finding{}, false
	}
	i := slices.IndexFunc(kinds, func(d Dongle) bool { return d.Vendor == vendor && (d.Product == 0 || d.Product == product) })
	remote := t.pluggedIn(dir)
	if remote != "USB over IP" && remote != "emulated USB" {
		remote = ""
	}
	if i < 0 && remote == "" {
		return hostid.Finding{}, false
	}
	kind := Dongle{Type: hostid.Flexid9, Name: "device"}
	if i >= 0 {
		kind = kinds[i]
	}
	source := fmt.Sprintf("%s, USB %04x:%04x at %s", shown(kind.Name), vendor, product, shown(path.Base(dir)))
	if remote != "" {
		source = remote + ", " + source
	}
	serial, err := t.read(dir + "/serial")
	serial = strings.TrimSpace(serial)
	why := serialFlaw(serial)
	switch _, bad := err.(fault); {
	case bad:
		why = err.Error()
	case err != nil || serial == "":
		why = noSerial.Error()
	}
	value := fmt.Sprintf("%04X-%04X-%s", vendor, product, serial)
	switch {
	case remote != "":
		return worthless(kind.Type, value, source, remote+": it is not in this machine"), true
	case why != "":
		return worthless(kind.Type, value, source, why), true
	case len(value) > hostid.MaxValue:
		return worthless(kind.Type, value, source, fmt.Sprintf("longer than %d characters", hostid.MaxValue)), true
	}
	return hostid.Finding{ID: hostid.ID{Type: kind.Type, Value: value}, Strength: hostid.Weak, Source: source}, true
}
