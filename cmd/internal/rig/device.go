package rig

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"time"

	"github.com/leasehold/leasehold/hostid"
)

// NewDevice is a fresh Ed25519 key of a client in a certificate that says nothing, and the host ID of the key.
func NewDevice() (*tls.Certificate, hostid.ID, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, hostid.ID{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return nil, hostid.ID{}, err
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, hostid.ID{}, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, hostid.OfDigest(hostid.DeviceKey, sha256.Sum256(spki)), nil
}
