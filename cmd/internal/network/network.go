// Package network keeps how the network cards of an appliance are set up, and makes the files of systemd-networkd from it (systemd.network(5)). Who asks and whether they may is the caller's business.
//
// What is kept may have been in other hands, as the disk may: it is read back as what is typed is, and nothing but a card, an address and a gateway that can work reaches systemd-networkd. A card
// that nothing is kept of asks the network for its address, as the image says for all. Start with Setup.
package network

import (
	"errors"
	"fmt"
	"net/netip"
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
	if s.Address.Bits() < shortest || !usable(s.Address.Addr()) || edge(s.Address) {
		return Setup{}, fmt.Errorf("%s is no address of a machine", address)
	}
	if gateway == "" {
		return s, nil
	}
	if s.Gateway, err = netip.ParseAddr(gateway); err != nil {
		return Setup{}, fmt.Errorf("%q is not an address as 10.20.0.1", gateway)
	}
	if !s.reaches(s.Gateway) {
		return Setup{}, fmt.Errorf("the gateway %s is not another machine of the network %s", gateway, s.Address.Masked())
	}
	return s, nil
}

// maxCard is the length of a card's name in bytes (IFNAMSIZ less the zero).
const maxCard = 15

// shortest is the least length of a network, in bits: a shorter one would be a good part of all addresses that there are.
const shortest = 8

// named says that a card may have such a name. It becomes part of a file's name and a pattern there.
func named(card string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	return card != "" && len(card) <= maxCard && strings.Trim(card, letters) == "" && card != "lo"
}

// usable says that a machine may have an address: it is not of those that mean this network, this machine, a group, or nothing yet (RFC 6890).
func usable(a netip.Addr) bool {
	if a.Zone() != "" || a.Is4In6() || !a.IsGlobalUnicast() {
		return false
	}
	if !a.Is4() {
		return true
	}
	first := a.As4()[0]
	return first != 0 && first != 127 && first < 240
}

// edge says that an address is the first of its network, or the last of one of IPv4: no machine has those, but where a network has no more than two.
func edge(p netip.Prefix) bool {
	a, host := p.Addr().AsSlice(), p.Addr().BitLen()-p.Bits()
	if host < 2 {
		return false
	}
	ones, zeros := true, true
	for i := range host {
		bit := a[len(a)-1-i/8] >> (i % 8) & 1
		ones, zeros = ones && bit == 1, zeros && bit == 0
	}
	return zeros || ones && p.Addr().Is4()
}

// reaches says that a gateway is another machine of the network: by an address in it, or of IPv6 by that of the wire, as routers have.
func (s Setup) reaches(gateway netip.Addr) bool {
	if s.Address.Addr().Is6() && gateway.Is6() && !gateway.Is4In6() && gateway.IsLinkLocalUnicast() {
		return gateway.Zone() == ""
	}
	return usable(gateway) && s.Address.Contains(gateway) && gateway != s.Address.Addr() && !edge(netip.PrefixFrom(gateway, s.Address.Bits()))
}

// Beside says why a card cannot have its address while another has that one: two cards in one network answer for each other, and not as somebody expects.
func (s Setup) Beside(card string, address netip.Prefix) error {
	if card == s.Card || !s.Address.IsValid() || !address.IsValid() || !s.Address.Overlaps(address) {
		return nil
	}
	return fmt.Errorf("%s is in the network of the card %s, which has %s", s.Address, card, address)
}

// File is what systemd-networkd reads of a card with an address of its own.
func (s Setup) File() string {
	text := fmt.Sprintf("# Written by leasehold console.\n[Match]\nName=%s\n\n[Network]\nDHCP=no\nIPv6AcceptRA=no\nLLDP=no\nAddress=%s\n", s.Card, s.Address)
	if s.Gateway.IsValid() {
		text += fmt.Sprintf("Gateway=%s\n", s.Gateway)
	}
	return text
}
