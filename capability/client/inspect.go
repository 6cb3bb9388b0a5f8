package client

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
)

// The verdicts on the signatures of a file.
const (
	Good       = "GOOD"
	Bad        = "BAD"
	UnknownKey = "UNKNOWN KEY" // nothing says whether the signer is the producer
)

// Inspection is everything a file says, the verdict on its signatures first. The JSON names are those of SPEC.md.
type Inspection struct {
	Signature string             `json:"signature"`
	Halves    *wire.Verdict      `json:"halves"` // a response's two signatures, where they could be judged
	Code      capability.Code    `json:"code"`   // why not GOOD; zero when it is
	Why       string             `json:"why"`
	Kind      wire.FileKind      `json:"kind"`
	Size      int                `json:"size"` // bytes
	Digest    capability.Digest  `json:"digest"`
	Request   *InspectedRequest  `json:"request,omitempty"`
	Response  *InspectedResponse `json:"response,omitempty"`
	Trust     *InspectedTrust    `json:"trust,omitempty"`

	Answer *InspectedAnswer `json:"answer,omitempty"`

	KeyRequest *InspectedKeyFile `json:"keyRequest,omitempty"`
	Certified  *InspectedKeyFile `json:"certifiedKey,omitempty"`

	Update *InspectedUpdate `json:"update,omitempty"`
}

// InspectedRequest is a request file: its fields, and what the TPM's evidence says of the machine.
type InspectedRequest struct {
	Fields        capability.Request `json:"fields"`
	Algorithm     int64              `json:"alg"`
	KeyID         wire.KeyID         `json:"kid"`
	Signature     []byte             `json:"signature"`        // the TPM's evidence, as octets
	RequestDigest capability.Digest  `json:"requestDigest"`    // names it in responses and later requests
	ForTrusted    bool               `json:"forTrusted"`       // it is addressed to the producer of the trust bundle that was given
	Machine       *Machine           `json:"machine"`          // absent where the evidence does not verify, or is no TPM's
	Device        *Device            `json:"device,omitempty"` // of a machine without a TPM, where its key signed
	Proofs        []Proof            `json:"proofs"`           // one for each return

	ForAppliance bool `json:"forAppliance,omitempty"` // it is a PC's, to an appliance: Device is who asks
}

// Machine is what verified evidence says. That AK and EK share a TPM is only claimed until a response to them was applied.
type Machine struct {
	Host         hostid.ID       `json:"host"`
	EK           []byte          `json:"ek"`     // TPMT_PUBLIC
	AK           []byte          `json:"ak"`     // TPMT_PUBLIC
	AKName       []byte          `json:"akName"` // TPM Name
	PCRs         []byte          `json:"pcrs"`   // 7, 11 and 12, 32 bytes each
	Clock        uint64          `json:"clock"`  // milliseconds the TPM has run
	Resets       uint32          `json:"resetCount"`
	Restarts     uint32          `json:"restartCount"`
	Safe         bool            `json:"safe"`
	Firmware     uint64          `json:"firmware"`
	Certificates []EKCertificate `json:"certificates"` // what a back office judges the tier by
	// Intermediates are the authorities between them and the maker's root, as the TPM has them.
	Intermediates []EKCertificate `json:"intermediates,omitempty"`
	EventLog      int             `json:"eventLog"` // bytes of the firmware's log; zero: none is there
}

// Device is the key of a machine without a TPM. Who has the key is the machine.
type Device struct {
	Host hostid.ID `json:"host"`
	Key  []byte    `json:"key"` // Ed25519; of a PC that asks an appliance, its DER SubjectPublicKeyInfo
	Box  []byte    `json:"box"` // X25519: responses are encrypted to it; none where it is an appliance that is asked
}

// EKCertificate is a TPM maker's word that an endorsement key is one. Who the issuer is, is the back office's to judge.
type EKCertificate struct {
	Issuer string          `json:"issuer"`
	Key    string          `json:"key"`
	From   capability.Time `json:"from"`
	Until  capability.Time `json:"until"`
	Bytes  []byte          `json:"bytes"` // DER
}

// Proof is the verdict on the proof of one return.
type Proof struct {
	Return  capability.ReturnID `json:"return"`
	Verdict string              `json:"verdict"`
	Epoch   uint64              `json:"epoch"` // the TPM's counter, as proven
	Why     string              `json:"why"`
}

// InspectedResponse is what can be seen of a response without the machine it is encrypted to.
type InspectedResponse struct {
	Clear       wire.Clear    `json:"clear"`
	Key         *InspectedKey `json:"key"`         // absent where the root does not certify it
	Certificate int           `json:"certificate"` // bytes of the key certificate
	Wrap        int           `json:"wrap"`        // bytes of the content key, readable by one machine
	WrapHost    hostid.ID     `json:"wrapHost"`    // the host that it names
	Cipher      int           `json:"cipher"`      // bytes of the encrypted content

	Revoked []wire.RevokedKey `json:"revoked,omitempty"` // signing keys that its certificate revokes
}

// InspectedKey is the signing key that the root certified.
type InspectedKey struct {
	Name        string            `json:"name"`
	Fingerprint capability.Digest `json:"fingerprint"`
	From        capability.Time   `json:"from"`
	Until       capability.Time   `json:"until"`
}

// InspectedTrust is a trust bundle. Nobody signs it: compare the fingerprint with the producer's, by another way.
type InspectedTrust struct {
	Producer    string            `json:"producer"`
	Fingerprint capability.Digest `json:"fingerprint"`
}

// Inspect says everything that is in a request, a response of a back office or of an appliance, a trust bundle, a key request, a certified key or an update, and judges the signatures. trust may be nil; a response is then by an unknown key.
// It needs no daemon, no TPM and no network. The inspection is never nil; an error means that the file is not one of ours or damaged, and wire.Code gives its code.
func Inspect(file []byte, trust *wire.Trust) (*Inspection, error) {
	codec := wire.New()
	in := &Inspection{Signature: Bad, Size: len(file), Digest: sha256.Sum256(file)}
	kind, err := wire.Kind(file)
	if err == nil {
		in.Kind = kind
		switch kind {
		case wire.KindRequest:
			err = in.request(codec, file, trust)
		case wire.KindResponse:
			err = in.response(codec, file, trust)
		case wire.KindAnswer:
			err = in.answer(codec, file, trust)
		case wire.KindKeyRequest:
			err = in.keyRequest(codec, file, trust)
		case wire.KindUpdate:
			err = in.update(codec, file, trust)
		case wire.KindCertifiedKey:
			err = in.certifiedKey(codec, file, trust)
		default:
			err = in.bundle(codec, file, trust)
		}
	}
	if err != nil {
		in.bad(wire.Code(err), err)
	}
	return in, err
}

func (in *Inspection) bad(code capability.Code, why error) {
	in.Signature, in.Code, in.Why = Bad, code, why.Error()
}

// untrusted says that there is no trust bundle to judge by.
func (in *Inspection) untrusted(trust *wire.Trust, what string) bool {
	if trust == nil {
		in.Signature, in.Code, in.Why = UnknownKey, capability.ErrOtherProducer, "no trust bundle was given, so nothing says whose "+what+" is"
	}
	return trust == nil
}

// foreign says that another producer than the trusted one has signed, of whose key nothing is known.
func (in *Inspection) foreign(err error) (bool, error) {
	if !errors.Is(err, wire.ErrOtherProducer) {
		return false, err
	}
	in.bad(capability.ErrOtherProducer, err)
	in.Signature = UnknownKey
	return true, nil
}

func (in *Inspection) request(codec *wire.Codec, file []byte, trust *wire.Trust) error {
	s, err := codec.ReadRequest(file)
	if err != nil {
		return err
	}
	r := &InspectedRequest{Fields: s.Request, Algorithm: s.Alg, KeyID: s.KID, Signature: s.Signature, RequestDigest: s.Digest}
	r.ForTrusted = trust != nil && s.Request.Producer == codec.Fingerprint(trust.Root)
	in.Request = r
	if err := r.judge(codec, s); err != nil {
		in.bad(capability.ErrRequestSignature, err)
		return nil
	}
	in.Signature = Good
	for _, p := range r.Proofs {
		if p.Verdict != Good {
			in.Code, in.Why = capability.ErrReturnProof, p.Why // the request is the machine's all the same
		}
	}
	return nil
}

// judge says whose the request and its proofs are.
func (r *InspectedRequest) judge(codec *wire.Codec, s *wire.SignedRequest) error {
	if r.ForAppliance = s.OfClient(); r.ForAppliance {
		digest, err := wire.VerifyClient(s)
		if err == nil {
			r.Device = &Device{Host: hostid.OfDigest(hostid.DeviceKey, digest), Key: wire.ClientKey(s)}
		}
		return err
	}
	if s.Alg == wire.AlgEd25519 {
		e, err := wire.VerifyDevice(s)
		for _, t := range s.Request.Returns {
			r.Proofs = append(r.Proofs, judgeDeviceReturn(codec, e, t))
		}
		if err == nil {
			r.Device = &Device{hostid.OfDigest(hostid.DeviceKey, wire.DeviceOf(e.Key)), e.Key, e.Box}
		}
		return err
	}
	id, err := judgeRequest(s)
	for _, t := range s.Request.Returns {
		r.Proofs = append(r.Proofs, judgeReturn(codec, id, t))
	}
	if err == nil {
		r.Machine = machineOf(id)
	}
	return err
}

// judgeDeviceReturn is judgeReturn where a device key proves. Its epoch is its own word.
func judgeDeviceReturn(codec *wire.Codec, e *wire.DeviceEvidence, t capability.Return) Proof {
	p := Proof{Return: t.ID, Verdict: Bad, Epoch: t.Epoch, Why: "the machine is not proven"}
	if e == nil {
		return p
	}
	if err := wire.VerifyDeviceProof(e.Key, t.Proof, codec.ReturnDigest(t)); err != nil {
		p.Why = err.Error()
		return p
	}
	p.Verdict, p.Why = Good, ""
	return p
}

// judgeRequest checks that the TPM named in a request signed it.
func judgeRequest(s *wire.SignedRequest) (*attest.Identity, error) {
	e, err := attest.DecodeEvidence(s.Signature)
	if err != nil {
		return nil, err
	}
	id, err := attest.Verify(e, attest.Request, s.Digest[:])
	if err != nil {
		return nil, err
	}
	if s.KID != wire.AttestationKeyID(id.AK) {
		return nil, errors.New("the key ID is not that of the attestation key in the evidence")
	}
	if h, signer := s.Request.Hosts[0], hostid.OfDigest(hostid.TPMEK, id.HostID); h != signer {
		return nil, fmt.Errorf("the request is in the name of %s, and the TPM that signed it is %s", h, signer)
	}
	return id, nil
}

func judgeReturn(codec *wire.Codec, id *attest.Identity, t capability.Return) Proof {
	p := Proof{Return: t.ID, Verdict: Bad}
	if id == nil {
		p.Why = "the machine is not proven"
		return p
	}
	digest := codec.ReturnDigest(t)
	e, err := attest.DecodeEpochProof(t.Proof)
	if err == nil {
		p.Epoch, err = attest.VerifyEpoch(e, id, digest[:])
	}
	if err == nil && p.Epoch < t.Epoch {
		err = fmt.Errorf("the counter is proven at %d and the return is from %d", p.Epoch, t.Epoch)
	}
	if err != nil {
		p.Why = err.Error()
		return p
	}
	p.Verdict = Good
	return p
}

func machineOf(id *attest.Identity) *Machine {
	m := &Machine{
		Host: hostid.OfDigest(hostid.TPMEK, id.HostID), EK: id.EK, AK: id.AK, AKName: id.AKName, PCRs: id.PCRs,
		Clock: uint64(id.Clock.Elapsed.Milliseconds()), Resets: id.Clock.Resets, Restarts: id.Clock.Restarts, Safe: id.Clock.Safe, Firmware: id.Firmware,
		EventLog: len(id.EventLog),
	}
	m.Certificates, m.Intermediates = certificatesOf(id.EKCertificates), certificatesOf(id.Intermediates)
	return m
}

func certificatesOf(list []*x509.Certificate) (shown []EKCertificate) {
	for _, c := range list {
		shown = append(shown, EKCertificate{
			Issuer: c.Issuer.String(), Key: keyName(c), From: capability.At(c.NotBefore), Until: capability.At(c.NotAfter), Bytes: c.Raw,
		})
	}
	return shown
}

// keyName is the kind of key in c: an endorsement key's, or any of an authority.
func keyName(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return key.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", key.N.BitLen())
	}
	return c.PublicKeyAlgorithm.String()
}

func (in *Inspection) response(codec *wire.Codec, file []byte, trust *wire.Trust) error {
	s, err := codec.ReadResponse(file)
	if err != nil {
		return err
	}
	r := &InspectedResponse{Clear: s.Clear, Certificate: len(s.Certificate()), Wrap: len(s.Wrap), Cipher: s.Size}
	in.Response = r
	if w, err := attest.DecodeWrapped(s.Wrap); err == nil { // what cannot be read here names no host
		r.WrapHost = hostid.OfDigest(hostid.TPMEK, w.HostID)
	} else if host, ok := wire.DeviceWrapFor(s.Wrap); ok {
		r.WrapHost = host
	}
	if in.untrusted(trust, "the signing key") {
		return nil
	}
	key, verdict, err := codec.Verify(trust, s)
	if key != nil {
		r.Key = &InspectedKey{Name: key.Name, Fingerprint: codec.Fingerprint(key.Keys), From: key.From, Until: key.Until}
		r.Revoked = key.Revoked
		in.Halves = &verdict
	}
	switch {
	case errors.Is(err, wire.ErrOtherProducer):
		in.bad(capability.ErrOtherProducer, err)
		in.Signature = UnknownKey
	case err != nil:
		in.bad(wire.Code(err), err)
	default:
		in.Signature = Good
		if r.WrapHost != (hostid.ID{}) && r.WrapHost != s.Clear.For {
			in.Code, in.Why = capability.ErrResponseForm, fmt.Sprintf("the response is for %s and its key for %s", s.Clear.For, r.WrapHost)
		}
	}
	return nil
}

func (in *Inspection) bundle(codec *wire.Codec, file []byte, trust *wire.Trust) error {
	t, err := codec.DecodeTrust(file)
	if err != nil {
		return err
	}
	in.Trust = &InspectedTrust{Producer: t.Producer, Fingerprint: codec.Fingerprint(t.Root)}
	in.Signature, in.Code, in.Why = UnknownKey, capability.ErrOtherProducer, "a trust bundle carries no signature; compare the fingerprint with the producer's"
	if trust != nil && codec.Fingerprint(trust.Root) == in.Trust.Fingerprint {
		in.Signature, in.Code, in.Why = Good, 0, ""
	}
	return nil
}
