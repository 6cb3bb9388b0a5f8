// Package network keeps how the network cards of an appliance are set up, as files of systemd-networkd (systemd.network(5)). Who asks and whether they may is the caller's business.
//
// A card without a file asks the network for its address, as the image says for all. Start with Setup.
package network

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Setup is what one card is given.
type Setup struct {
	Card    string
	Address netip.Prefix // of the card, with the length of its network; none: the network is asked for it
	Gateway netip.Addr   // none: nothing beyond that network is reached
}

// Parse reads what was typed: an address with the length of its network, as 10.20.0.15/24, or nothing, and a gateway in that network, or nothing. The error says which is wrong.
func Parse(card, address, gateway string) (Setup, error) {
	s := Setup{Card: strings.TrimSpace(card)}
	if !named(s.Card) {
		return Setup{}, fmt.Errorf("%q is not the name of a network card", s.Card)
	}
	address, gateway = strings.TrimSpace(address), strings.TrimSpace(gateway)
	if address == "" {
		if gateway != "" {
			return Setup{}, errors.New("a gateway without an address: the network names both, or neither")
		}
		return s, nil
	}
	var err error
	if s.Address, err = netip.ParsePrefix(address); err != nil {
		return Setup{}, fmt.Errorf("%q is not an address as 10.20.0.15/24", address)
	}
	if !usable(s.Address.Addr()) || s.Address.Bits() == 0 || s.Address.Addr().Is4() && s.Address.Bits() < 31 && edge(s.Address) {
		return Setup{}, fmt.Errorf("%s is no address of a machine", address)
	}
	if gateway == "" {
		return s, nil
	}
	if s.Gateway, err = netip.ParseAddr(gateway); err != nil {
		return Setup{}, fmt.Errorf("%q is not an address as 10.20.0.1", gateway)
	}
	if s.Gateway.Zone() != "" || !s.Address.Contains(s.Gateway) || s.Gateway == s.Address.Addr() {
		return Setup{}, fmt.Errorf("the gateway %s is not another machine of the network %s", gateway, s.Address.Masked())
	}
	return s, nil
}

// maxCard is the length of a card's name in bytes (IFNAMSIZ less the zero).
const maxCard = 15

// named says that a card may have such a name. It becomes part of a file's name and a pattern there.
func named(card string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	return card != "" && len(card) <= maxCard && strings.Trim(card, letters) == "" && card != "lo"
}

// usable says that a machine may have an address.
func usable(a netip.Addr) bool {
	return a.Zone() == "" && !a.Is4In6() && a.IsGlobalUnicast()
}

// edge says that an address is the first or the last of its network, which no machine has.
func edge(p netip.Prefix) bool {
	host := uint32(1)<<(32-p.Bits()) - 1
	b := p.Addr().As4()
	n := (uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])) & host
	return n == 0 || n == host
}

// File is what systemd-networkd reads of a card with an address of its own.
func (s Setup) File() string {
	text := fmt.Sprintf("# Written by leasehold console.\n[Match]\nName=%s\n\n[Network]\nDHCP=no\nIPv6AcceptRA=no\nLLDP=no\nAddress=%s\n", s.Card, s.Address)
	if s.Gateway.IsValid() {
		text += fmt.Sprintf("Gateway=%s\n", s.Gateway)
	}
	return text
}

// Keep puts the file of a card into a directory, whole and durable, or takes it away where the network is to be asked again.
func (s Setup) Keep(dir string) error {
	path := filepath.Join(dir, "70-"+s.Card+".network")
	if !s.Address.IsValid() {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return durable(dir)
	}
	temp := path + ".new"
	if err := os.RemoveAll(temp); err != nil { // of a cut, or somebody else's: the disk may have been in another machine
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(s.File())
	// Systemd-networkd runs as another account, whatever mask this program has.
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return durable(dir)
}

// durable makes the names in a directory so.
func durable(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
