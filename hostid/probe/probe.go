// Package probe reads what a machine shows of itself: DMI tables, network cards, the disk it starts from, dongles, virtual machine and container.
//
// Start with Live for this machine, or with Probe for a tree that Record wrote on another. The same tree gives the same findings, in the same order,
// whatever the interfaces are called, whatever is docked, and in whatever order directories list their entries.
//
// Everything is read as if it were hostile: lengths are bounded, no link leads out of the tree, nothing is waited for, and a value that cannot name one
// machine among all is listed with the reason. The package knows no TPM: whoever has asked one hands its identity in. It knows no host name, no user
// and no address of the network either, because nothing of that kind is ever identity.
package probe

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/leasehold/leasehold/hostid"
)

//go:embed vendors.txt junk.txt
var data embed.FS

// maxFindings bounds what a machine lists; a server with 200 ports and their virtual functions has less that is of use.
const maxFindings = 256

// Options are what the tree does not say.
type Options struct {
	// Given are the findings of others: the TPM's keys, what an administrator told, what the host of a container answered.
	Given []hostid.Finding

	// Dongles are recognized besides those that the package knows.
	Dongles []Dongle
}

// Dongle is a kind of USB device that carries licenses.
type Dongle struct {
	Vendor  uint16
	Product uint16 // 0: every product of the vendor
	Type    hostid.Type
	Name    string // for people
}

// ErrSyntax is in every error of ParseDongle.
var ErrSyntax = errors.New("not a kind of dongle")

// ParseDongle reads VENDOR or VENDOR:PRODUCT, each of four hexadecimal digits as lsusb prints them. The type of what it describes is FLEXID9.
func ParseDongle(s string) (Dongle, error) {
	vendor, product, both := strings.Cut(s, ":")
	v, err := hex16(vendor)
	d := Dongle{Vendor: v, Type: hostid.Flexid9, Name: "dongle " + s}
	if err == nil && both {
		d.Product, err = hex16(product)
	}
	if err != nil || v == 0 {
		return Dongle{}, fmt.Errorf("%w: %q is not VENDOR or VENDOR:PRODUCT of four hexadecimal digits each", ErrSyntax, s)
	}
	return d, nil
}

func hex16(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 16, 16)
	if err == nil && len(s) != 4 {
		err = strconv.ErrSyntax
	}
	return uint16(n), err
}

// Probe reads the machine whose file system is at root: one that Record wrote.
func Probe(root *os.Root, o Options) hostid.Machine { return (&tree{root: root}).machine(o) }

// machine is all sections, in the order in which identities are chosen; what has a flaw comes last.
func (t *tree) machine(o Options) hostid.Machine {
	m := hostid.Machine{Virtual: t.virtual(), Container: t.container()}
	var proven, told []hostid.Finding
	for _, f := range o.Given {
		f = given(f)
		if f.ID.Type == hostid.TPMEK || f.ID.Type == hostid.TPMAK {
			proven = append(proven, f)
		} else {
			told = append(told, f)
		}
	}
	found := slices.Concat(t.board(m.Virtual), t.cards(m.Virtual), t.disks(m.Virtual))
	if !slices.ContainsFunc(proven, func(f hostid.Finding) bool { return f.ID.Type == hostid.TPMEK && f.Flaw == "" }) {
		proven = append(proven, t.unasked()...)
		if whole, ok := hostid.Compose(found); ok {
			found = append(found, whole)
		}
	}
	all := slices.Concat(proven, found, t.dongles(o.Dongles), told)
	useless := func(f hostid.Finding) int {
		if f.Flaw == "" {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b hostid.Finding) int { return cmp.Compare(useless(a), useless(b)) })
	if n := len(all) - maxFindings; n > 0 {
		all = append(all[:maxFindings], hostid.Finding{Source: "this machine", Flaw: fmt.Sprintf("%d more are not listed", n)})
	}
	m.Findings = all
	return m
}

// given makes sure that a finding of others is one: an ID that can be none is worthless.
func given(f hostid.Finding) hostid.Finding {
	f.Source, f.Flaw = shown(f.Source), shown(f.Flaw)
	if err := f.ID.Validate(); err != nil {
		f.ID.Value, f.Strength, f.Flaw = shown(f.ID.Value), hostid.Worthless, cmp.Or(f.Flaw, shown(err.Error()))
	}
	return f
}

// unasked names a TPM that is there and that nobody asked.
func (t *tree) unasked() []hostid.Finding {
	dir, err := t.follow("sys/class/tpm/tpm0")
	if err != nil {
		return absent(hostid.TPMEK, "tpm0", err)
	}
	f := hostid.Finding{ID: hostid.ID{Type: hostid.TPMEK}, Source: "tpm0", Flaw: "not a TPM 2.0"}
	if t.word(dir+"/tpm_version_major") == "2" {
		f.Flaw = "nobody asked the TPM for its key"
	}
	return []hostid.Finding{f}
}

// worthless is a finding that names no machine.
func worthless(t hostid.Type, value, source, flaw string) hostid.Finding {
	return hostid.Finding{ID: hostid.ID{Type: t, Value: shown(value)}, Source: shown(source), Flaw: flaw}
}

// firm is the strength of what is burnt in; a virtual machine monitor burns whatever it is told.
func firm(virtual string) hostid.Strength {
	if virtual != "" {
		return hostid.Weak
	}
	return hostid.Firm
}
