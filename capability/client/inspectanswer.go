package client

import (
	"errors"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// InspectedAnswer is what an appliance answers to a client in a file. Nothing of it is encrypted.
type InspectedAnswer struct {
	For         hostid.ID         `json:"for"`
	Appliance   hostid.ID         `json:"appliance"` // absent where the root does not lead to it
	Serial      uint64            `json:"serial"`
	Status      capability.Status `json:"status"`
	Time        capability.Time   `json:"time"`
	ApplyBefore capability.Time   `json:"applyBefore"` // none: no end
	Epoch       uint64            `json:"epoch"`       // of the appliance's trusted storage
	Rights      []InspectedRight  `json:"rights"`
}

// InspectedRight is what such an answer lends.
type InspectedRight struct {
	Feature string             `json:"feature"`
	Version capability.Version `json:"version"`
	Count   uint32             `json:"count"`
	Expiry  capability.Time    `json:"expiry"`
}

// answer says what is in an answer file, and judges it from the producer's root to its last byte.
func (in *Inspection) answer(codec *wire.Codec, file []byte, trust *wire.Trust) error {
	f, err := codec.ReadAnswerFile(file)
	if err != nil {
		return err
	}
	r, group, unproven := codec.VerifyAnswer(f.Chain.Serving, &f.Answer)
	if unproven != nil {
		in.bad(wire.Code(unproven), unproven)
		return nil
	}
	a := &InspectedAnswer{For: r.For, Serial: r.Serial, Status: r.Status, Time: r.Time, Epoch: group.Epoch, Rights: []InspectedRight{}}
	if r.Lifetime != 0 {
		a.ApplyBefore = r.Time.Add(r.Lifetime)
	}
	for _, g := range r.Rights {
		a.Rights = append(a.Rights, InspectedRight{g.Feature, g.Version, g.Count, g.Expiry})
	}
	in.Answer = a
	if in.untrusted(trust, "the appliance") {
		return nil
	}
	appliance, err := codec.VerifyChain(trust, &f.Chain, attest.JudgeSession)
	if err == nil {
		a.Appliance = appliance.Host
		if late := inTime(appliance, r.Time); late != nil {
			in.bad(capability.ErrSignature, late)
			return nil
		}
		in.Signature = Good
		return nil
	}
	code := wire.Code(err)
	if code == 0 {
		code = capability.ErrSignature
	}
	in.bad(code, err)
	if errors.Is(err, wire.ErrOtherProducer) {
		in.Signature = UnknownKey
	}
	return nil
}
