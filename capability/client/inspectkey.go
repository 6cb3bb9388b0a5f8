package client

import (
	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// InspectedKeyFile is a request for the certificate of a signing key, or the certified key that answers one.
type InspectedKeyFile struct {
	InspectedKey
	Root    capability.Digest `json:"root"`              // fingerprint of the root that is asked, or that certified it
	Number  uint64            `json:"number,omitempty"`  // of the certificate
	Revoked []wire.RevokedKey `json:"revoked,omitempty"` // keys that count no more
	Limits  *wire.Limits      `json:"limits,omitempty"`  // that the back office keeps it to
}

// keyRequest judges that the key in a request signed it. Whose key it is, its fingerprint says to those who compare it.
func (in *Inspection) keyRequest(codec *wire.Codec, file []byte, trust *wire.Trust) error {
	r, err := codec.ReadKeyRequest(file)
	if err != nil {
		return err
	}
	in.Signature = Good
	in.KeyRequest = &InspectedKeyFile{InspectedKey: InspectedKey{r.Name, codec.Fingerprint(r.Keys), r.From, r.Until}, Root: r.Root}
	if trust != nil && r.Root != codec.Fingerprint(trust.Root) {
		in.Code, in.Why = capability.ErrOtherProducer, "it asks another root than that of the trust bundle"
	}
	return nil
}

// certifiedKey judges the root's word on a signing key.
func (in *Inspection) certifiedKey(codec *wire.Codec, file []byte, trust *wire.Trust) error {
	if in.untrusted(trust, "the root") {
		return nil
	}
	k, said, err := codec.ReadCertifiedKey(trust, file)
	if foreign, err := in.foreign(err); foreign || err != nil {
		return err
	}
	in.Signature = Good
	in.Certified = &InspectedKeyFile{InspectedKey{said.Name, codec.Fingerprint(said.Keys), said.From, said.Until}, codec.Fingerprint(trust.Root), said.Number, said.Revoked, &k.Limits}
	return nil
}
