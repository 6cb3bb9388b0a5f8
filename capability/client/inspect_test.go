package client

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// requestOf is a request as an appliance writes it.
func requestOf(t *testing.T, d *tpm.Device, change func(*capability.Request)) []byte {
	t.Helper()
	id, err := d.HostID()
	if err != nil {
		t.Fatal(err)
	}
	probe, err := d.Evidence(attest.Request, []byte("who"))
	if err != nil {
		t.Fatal(err)
	}
	r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{hostid.OfDigest(hostid.TPMEK, id)}, Correlation: capability.CorrelationID{1}, Number: 3}
	if change != nil {
		change(r)
	}
	file, _, err := wire.New().SignRequest(r, wire.AlgTPMQuote, wire.AttestationKeyID(probe.AK), func(digest capability.Digest) ([]byte, error) {
		e, err := d.Evidence(attest.Request, digest[:])
		if err != nil {
			return nil, err
		}
		return e.Encode(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestInspectRequest(t *testing.T) {
	d := tpmtest.Start(t).Device(t)
	p := newProducer(t, 1)
	trust, err := p.codec.DecodeTrust(p.trust)
	if err != nil {
		t.Fatal(err)
	}
	good := requestOf(t, d, func(r *capability.Request) { r.Producer = p.codec.Fingerprint(trust.Root) })
	in, err := Inspect(good, trust)
	if err != nil || in.Signature != Good || in.Code != 0 || in.Kind != wire.KindRequest || !in.Request.ForTrusted || in.Request.Fields.Number != 3 {
		t.Fatalf("%+v, %v", in, err)
	}
	if m := in.Request.Machine; m == nil || m.Host != in.Request.Fields.Hosts[0] || len(m.Certificates) != 1 || len(m.PCRs) != 96 || m.Certificates[0].Key != "P-256" {
		t.Errorf("machine %+v", m)
	}
	if in, err := Inspect(good, nil); err != nil || in.Signature != Good || in.Request.ForTrusted {
		t.Errorf("without a bundle: %+v, %v", in, err)
	}

	other := requestOf(t, d, func(r *capability.Request) {
		first := "AB"
		if strings.HasPrefix(r.Hosts[0].Value, first) {
			first = "CD"
		}
		r.Hosts[0].Value = first + r.Hosts[0].Value[2:]
	})
	if in, err := Inspect(other, nil); err != nil || in.Signature != Bad || in.Code != capability.ErrRequestSignature || in.Request.Machine != nil {
		t.Errorf("in another machine's name: %+v, %v", in, err)
	}
	unproven := requestOf(t, d, func(r *capability.Request) {
		r.Returns = []capability.Return{{ID: capability.ReturnID{1}, ActivationID: item("x", "1.0", 1).ActivationID, Copies: 1, Epoch: 4, Time: 1, Serial: 1, Proof: []byte("no")}}
	})
	if in, err := Inspect(unproven, nil); err != nil || in.Signature != Good || in.Code != capability.ErrReturnProof || len(in.Request.Proofs) != 1 || in.Request.Proofs[0].Verdict != Bad {
		t.Errorf("a return without proof: %+v, %v", in, err)
	}
	// The TPM's signature covers everything but the certificate of its key, which carries its maker's own; that one is the back office's to judge.
	certificate := in.Request.Machine.Certificates[0].Bytes
	begin := bytes.Index(good, certificate)
	for i := 9; i < len(good); i += 7 {
		if i >= begin && i < begin+len(certificate) {
			continue
		}
		b := bytes.Clone(good)
		b[i] ^= 1
		if in, _ := Inspect(b, trust); in.Signature == Good {
			t.Errorf("byte %d flipped, and the signature is %s", i, in.Signature)
		}
	}
}

func TestInspectReturnProof(t *testing.T) {
	d := tpmtest.Start(t).Device(t)
	secret := bytes.Repeat([]byte{3}, 32)
	if _, err := d.Binding(attest.EpochIndex, 15, attest.BootKey{}, nil).Provision(secret); err != nil {
		t.Fatal(err)
	}
	codec := wire.New()
	epoch, err := d.Binding(attest.EpochIndex, 15, attest.BootKey{}, nil).Epoch()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		epoch uint64
		want  string
	}{{epoch, Good}, {epoch + 1, Bad}} {
		back := capability.Return{ID: capability.ReturnID{1}, ActivationID: item("x", "1.0", 1).ActivationID, Copies: 1, Epoch: row.epoch, Time: 1, Serial: 1}
		digest := codec.ReturnDigest(back)
		proof, err := d.CertifyEpoch(attest.EpochIndex, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		back.Proof = proof.Encode()
		in, err := Inspect(requestOf(t, d, func(r *capability.Request) { r.Returns = []capability.Return{back} }), nil)
		if err != nil || in.Signature != Good || (in.Code == 0) != (row.want == Good) || in.Request.Proofs[0].Verdict != row.want || in.Request.Proofs[0].Epoch != epoch {
			t.Errorf("a return of epoch %d where the counter is at %d: %s, %+v, %v", row.epoch, epoch, in.Why, in.Request.Proofs, err)
		}
	}
}

func TestInspectResponse(t *testing.T) {
	p, stranger := newProducer(t, 1), newProducer(t, 50)
	trust, _ := p.codec.DecodeTrust(p.trust)
	another, _ := p.codec.DecodeTrust(stranger.trust)
	host := hostid.OfDigest(hostid.TPMEK, [32]byte{0x7f, 0x3a})
	wrap := func(h [32]byte) []byte {
		return (&attest.Wrapped{HostID: h, P256: attest.Credential{Blob: []byte{1}, Secret: []byte{2}}}).Encode()
	}
	seal := func(wrapped []byte) []byte {
		b, err := p.codec.SealResponse(p.key, p.certificate, &capability.Response{Version: 1, For: host, Serial: 12, Number: 11, Time: 5000, Lifetime: 3600}, wrapped, make([]byte, wire.ContentKeySize))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := seal(wrap([32]byte{0x7f, 0x3a}))
	alter := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	const mldsa = 4627 // bytes of the outer signature, which ends the file
	for _, row := range []struct {
		name    string
		file    []byte
		trust   *wire.Trust
		verdict string
		code    capability.Code
		halves  *wire.Verdict
		damaged bool
	}{
		{"good", good, trust, Good, 0, &wire.Verdict{Ed25519: true, MLDSA87: true}, false},
		{"no bundle", good, nil, UnknownKey, capability.ErrOtherProducer, nil, false},
		{"another producer", good, another, UnknownKey, capability.ErrOtherProducer, nil, false},
		{"outer signature", alter(len(good) - 1), trust, Bad, capability.ErrOneSignature, &wire.Verdict{Ed25519: true}, false},
		{"inner signature", alter(len(good) - mldsa - 4), trust, Bad, capability.ErrSignature, &wire.Verdict{}, false},
		{"wrapped to another TPM", seal(wrap([32]byte{1})), trust, Good, capability.ErrResponseForm, &wire.Verdict{Ed25519: true, MLDSA87: true}, false},
		{"wrapped in a way nobody knows", seal([]byte("x")), trust, Good, 0, &wire.Verdict{Ed25519: true, MLDSA87: true}, false},
		{"cut", good[:len(good)-1], trust, Bad, capability.ErrFileCut, nil, true},
		{"longer", append(bytes.Clone(good), 0), trust, Bad, capability.ErrFileForm, nil, true},
		{"empty", nil, trust, Bad, capability.ErrFileCut, nil, true},
		{"too large", append(bytes.Clone(good), make([]byte, capability.MaxFile)...), trust, Bad, capability.ErrFileSize, nil, true},
		{"something else", []byte("hello"), trust, Bad, capability.ErrFileKind, nil, true},
	} {
		in, err := Inspect(row.file, row.trust)
		if in == nil || in.Signature != row.verdict || in.Code != row.code || (err != nil) != row.damaged || (in.Halves == nil) != (row.halves == nil) || in.Halves != nil && *in.Halves != *row.halves {
			t.Errorf("%s: %+v, %v", row.name, in, err)
		}
		if err == nil && (in.Response.Clear.For != host || in.Response.Clear.Serial != 12 || in.Response.Clear.ApplyBefore != 8600) {
			t.Errorf("%s: %+v", row.name, in.Response)
		}
	}
}

func TestInspectTrustBundle(t *testing.T) {
	p := newProducer(t, 1)
	trust, _ := p.codec.DecodeTrust(p.trust)
	if in, err := Inspect(p.trust, nil); err != nil || in.Signature != UnknownKey || in.Trust.Producer != "Example Works" || in.Trust.Fingerprint != p.codec.Fingerprint(trust.Root) {
		t.Errorf("%+v, %v", in, err)
	}
	if in, err := Inspect(p.trust, trust); err != nil || in.Signature != Good {
		t.Errorf("the bundle that is trusted: %+v, %v", in, err)
	}
	if in, err := Inspect(p.trust[:60], nil); !errors.Is(err, wire.ErrCut) || in.Signature != Bad {
		t.Errorf("%+v, %v", in, err)
	}
}

// The vectors of the wire format that are files: what one says is wrong, an inspection says too, and the one half that it cannot see is the encrypted one.
func TestInspectVectors(t *testing.T) {
	files, err := filepath.Glob("../wire/testdata/vectors/*.json")
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string][]capability.Code{
		"ok":   {0, capability.ErrReturnProof}, // a vector's proof of a return is opaque
		"size": {capability.ErrFileSize}, "kind": {capability.ErrFileKind}, "cut": {capability.ErrFileCut}, "type": {capability.ErrFileKind},
		"malformed": {capability.ErrFileForm, capability.ErrRequestSignature}, "signature": {capability.ErrSignature, capability.ErrRequestSignature},
		"one-signature": {capability.ErrOneSignature}, "other-producer": {capability.ErrOtherProducer}, "revoked": {capability.ErrKeyRevoked},
	}
	codec := wire.New()
	seen := map[string]int{}
	for _, file := range files {
		var v struct {
			Kind, Hex, Expect string
			Pad               int
			Keys              struct{ Trust, ContentKey, Revoked string }
		}
		b, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(b, &v)
		}
		octets, bad := hex.DecodeString(v.Hex)
		if err := errors.Join(err, bad); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if v.Kind != "request-file" && v.Kind != "response-file" {
			continue
		}
		if v.Keys.Revoked != "" || v.Expect == "not-ours" || v.Expect == "late" {
			continue // only the machine that it is for knows so
		}
		seen[v.Kind]++
		octets = append(octets, make([]byte, v.Pad)...)
		var trust *wire.Trust
		if v.Keys.Trust != "" {
			bundle, _ := hex.DecodeString(v.Keys.Trust)
			if trust, err = codec.DecodeTrust(bundle); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
		in, err := Inspect(octets, trust)
		if v.Kind == "response-file" && in.Signature == Good && v.Expect != "ok" {
			key, _ := hex.DecodeString(v.Keys.ContentKey)
			sealed, err := codec.ReadResponse(octets)
			if err == nil {
				_, err = codec.Open(sealed, key)
			}
			if err == nil {
				t.Errorf("%s: GOOD where %s is expected, and it opens", filepath.Base(file), v.Expect)
			}
			continue
		}
		if in.Kind != "" && string(in.Kind)+"-file" != v.Kind && v.Expect == "kind" {
			continue // a file of the other kind, well made
		}
		if !slices.Contains(codes[v.Expect], in.Code) || (v.Expect == "ok") != (in.Signature == Good) {
			t.Errorf("%s: %s, %s, %v where %s is expected", filepath.Base(file), in.Signature, in.Code, err, v.Expect)
		}
	}
	if seen["request-file"] < 10 || seen["response-file"] < 10 {
		t.Errorf("vectors seen: %v", seen)
	}
}
