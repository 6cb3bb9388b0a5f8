// Package certificate is what an appliance shows to browsers, and to programs that speak HTTP with it, to say who it is.
//
// Nobody outside vouches for a machine in a network of its own. So it has an authority of its own, whose key never leaves the TPM, and which may name nothing but this machine: whoever takes its
// certificate once is warned no more. What is shown is a fresh one for each run that the authority has signed. Clients of the protocol know the machine by its chain, and look at none of this.
//
// Dates follow the time that is handed in, which nobody can set back. Start with New.
package certificate

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	life      = 30 * 24 * time.Hour // of what is shown
	renewal   = 10 * 24 * time.Hour // before its end the next one is made
	allowance = 24 * time.Hour      // for who looks at it with a clock that is behind
)

// Names are what a machine goes by.
type Names struct {
	Hosts     []string // as in the DNS, in small letters
	Addresses []netip.Addr
}

// MaxAddresses is how many addresses a certificate names: those of a machine in a few networks, by both protocols.
const MaxAddresses = 16

// Host is a name as it stands in a certificate, and whether it can.
func Host(name string) (string, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if len(name) == 0 || len(name) > 253 || name[0] == '.' {
		return "", false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", false
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' }) {
			return "", false
		}
	}
	return name, true
}

// All are the names and addresses in words.
func (n Names) All() []string {
	all := slices.Clone(n.Hosts)
	for _, a := range n.Addresses {
		all = append(all, a.String())
	}
	return all
}

// with adds an address to those that a machine goes by, and a loopback address with the name that goes with it. What was there longest makes room.
func (n Names) with(a netip.Addr) Names {
	n = Names{slices.Clone(n.Hosts), append(slices.Clone(n.Addresses), a)}
	n.Addresses = n.Addresses[max(0, len(n.Addresses)-MaxAddresses):]
	return n
}

// hosts are the names for a certificate: a machine that is asked at a loopback address is asked by that name as well.
func (n Names) hosts() []string {
	hosts := n.Hosts
	if slices.ContainsFunc(n.Addresses, netip.Addr.IsLoopback) && !slices.Contains(hosts, "localhost") {
		hosts = append(slices.Clone(hosts), "localhost")
	}
	return hosts
}

func (n Names) ips() []net.IP {
	var ips []net.IP
	for _, a := range n.Addresses {
		ips = append(ips, net.IP(a.AsSlice()))
	}
	return ips
}

// networks are the addresses as networks of one.
func (n Names) networks() []*net.IPNet {
	var all []*net.IPNet
	for _, ip := range n.ips() {
		all = append(all, &net.IPNet{IP: ip, Mask: net.CIDRMask(8*len(ip), 8*len(ip))})
	}
	return all
}

// authority is a key with the certificate that names it.
type authority struct {
	key crypto.Signer
	of  *x509.Certificate
}

func newSerial(chance io.Reader) (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(chance, b); err != nil {
		return nil, err
	}
	b[0] = b[0]&0x7f | 0x40 // positive, and of 16 bytes
	return new(big.Int).SetBytes(b), nil
}

// newAuthority makes the certificate of an authority that may name that machine and nothing else. It has no end but the key's: dates would only add a clock to trust.
func newAuthority(key crypto.Signer, chance io.Reader, machine string, n Names) (*authority, error) {
	serial, err := newSerial(chance)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Leasehold appliance " + machine},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: n.hosts(), PermittedIPRanges: n.networks(),
	}
	if len(n.Addresses) == 0 { // no list of addresses would be any address
		t.ExcludedIPRanges = []*net.IPNet{{IP: make(net.IP, 4), Mask: make(net.IPMask, 4)}, {IP: make(net.IP, 16), Mask: make(net.IPMask, 16)}}
	}
	der, err := x509.CreateCertificate(chance, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority's certificate: %w", err)
	}
	of, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{key, of}, nil
}

// keptAuthority is one whose certificate was kept, if it is this key's and whole.
func keptAuthority(key crypto.Signer, der []byte) (*authority, error) {
	of, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	public, ok := of.PublicKey.(*ecdsa.PublicKey)
	if !ok || !public.Equal(key.Public()) {
		return nil, errors.New("it is of another machine's key")
	}
	if err := of.CheckSignatureFrom(of); err != nil {
		return nil, err
	}
	return &authority{key, of}, nil
}

// names are what the authority may name.
func (a *authority) names() Names {
	n := Names{Hosts: slices.Clone(a.of.PermittedDNSDomains)}
	for _, r := range a.of.PermittedIPRanges {
		if ip, ok := netip.AddrFromSlice(r.IP); ok && len(n.Addresses) < MaxAddresses {
			n.Addresses = append(n.Addresses, ip.Unmap())
		}
	}
	return n
}

// covers says whether the authority may name exactly these.
func (a *authority) covers(n Names) bool {
	may := a.names()
	return slices.Equal(may.Hosts, n.hosts()) && slices.Equal(may.Addresses, n.Addresses)
}

// leaf is a certificate for the names, with a key that nobody else has and nobody keeps.
func (a *authority) leaf(chance io.Reader, n Names, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), chance)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial(chance)
	if err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: commonName(n.Hosts[0])}, NotBefore: now.Add(-allowance), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		DNSNames: n.hosts(), IPAddresses: n.ips(),
	}
	der, err := x509.CreateCertificate(chance, t, a.of, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	of, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.of.Raw}, PrivateKey: key, Leaf: of}, nil
}

// Fingerprint is SHA-256 of a certificate, as browsers show it: pairs of digits, in capitals, with colons.
func Fingerprint(der []byte) string {
	var b bytes.Buffer
	for i, c := range sha256.Sum256(der) {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02X", c)
	}
	return b.String()
}
