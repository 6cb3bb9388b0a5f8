package client

import (
	"github.com/leasehold/leasehold/capability/wire"
)

// InspectedUpdate is what an update of an appliance's image says, and the key that signed it. The files beside it are not looked at.
type InspectedUpdate struct {
	Fields wire.Update  `json:"fields"`
	Key    InspectedKey `json:"key"`
}

func (in *Inspection) update(codec *wire.Codec, file []byte, trust *wire.Trust) error {
	if in.untrusted(trust, "the update") {
		return nil
	}
	u, k, err := codec.OpenUpdate(trust, file)
	if foreign, err := in.foreign(err); foreign || err != nil {
		return err
	}
	in.Signature = Good
	in.Update = &InspectedUpdate{*u, InspectedKey{k.Name, codec.Fingerprint(k.Keys), k.From, k.Until}}
	return nil
}
