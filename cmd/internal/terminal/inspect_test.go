package terminal

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/client"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/tpm/attest"
	"github.com/leasehold/leasehold/tpm/tpmtest"
)

// fill gives every field of a message a value of its own, so that none can hide behind another.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Interface().(type) {
	case hostid.ID:
		v.Set(reflect.ValueOf(hostid.ID{Type: hostid.Ethernet, Value: fmt.Sprintf("02%010d", *n)}))
		return
	case capability.Version:
		v.Set(reflect.ValueOf(capability.Version{Major: uint32(*n), Minor: 1}))
		return
	case capability.ActivationID:
		id, err := capability.NewActivationID(bytes.NewReader(bytes.Repeat([]byte{byte(*n)}, 32)))
		if err != nil {
			t.Fatal(err)
		}
		v.Set(reflect.ValueOf(id))
		return
	case capability.Operation:
		v.SetUint(uint64(capability.Report))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i), n)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(fmt.Sprintf("octets %d", *n)))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(t, v.Index(i), n)
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(*n + i))
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("words %d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n % 200))
	case reflect.Int64:
		v.SetInt(int64(1_000_000 + *n))
	default:
		t.Fatalf("a %s in a request", v.Type())
	}
}

// full is a request in which every field is there but undoes, which only an undo has.
func full(t *testing.T, host hostid.ID) *capability.Request {
	t.Helper()
	var r capability.Request
	n := 0
	fill(t, reflect.ValueOf(&r).Elem(), &n)
	r.Version, r.Granularity, r.Hosts[0], r.Undoes = capability.Protocol, 2, host, capability.CorrelationID{}
	r.Desired[0].ActivationID, r.Desired[1].Feature = "", ""
	r.Platform = capability.Platform{Virtual: "kvm", Container: "docker"}
	r.Alarms[0].Code, r.Alarms[1].Code = capability.ErrDeviceKey, capability.ErrBinding
	var person, refused capability.Usage
	fill(t, reflect.ValueOf(&person).Elem(), &n)
	fill(t, reflect.ValueOf(&refused).Elem(), &n)
	person.Denials, refused.User = nil, ""
	r.Records = []capability.Record{{Number: 41, Body: wire.New().Encode(&person)}, {Number: 42, Body: wire.New().Encode(&refused)}, {Number: 43, Body: []byte("another kind")}}
	r.States = []capability.Usage{person, refused}
	r.States[1].From = person.From
	return &r
}

func sign(t *testing.T, r *capability.Request, evidence func(digest []byte) *attest.Evidence) []byte {
	t.Helper()
	kid := wire.AttestationKeyID(evidence([]byte("who")).AK)
	file, _, err := wire.New().SignRequest(r, wire.AlgTPMQuote, kid, func(d capability.Digest) ([]byte, error) { return evidence(d[:]).Encode(), nil })
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// The text beside a request has every datum of it: the file is decoded, and each of its values is looked for under its name.
func TestTextHasEveryDatum(t *testing.T) {
	d := tpmtest.Start(t, tpmtest.Chained).Device(t)
	id, err := d.HostID()
	if err != nil {
		t.Fatal(err)
	}
	host := hostid.OfDigest(hostid.TPMEK, id)
	evidence := func(b []byte) *attest.Evidence {
		e, err := d.Evidence(attest.Request, b)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	undo := capability.Request{Version: 1, Hosts: []hostid.ID{host}, Correlation: capability.CorrelationID{1}, Operation: capability.Undo, Undoes: capability.CorrelationID{2, 15: 3}}
	if in, err := client.Inspect(sign(t, &undo, evidence), nil); err != nil || !strings.Contains(Describe(in, hostid.ID{}), "02000000000000000000000000000003") {
		t.Errorf("what an undo undoes is not in the text: %v", err)
	}
	file := sign(t, full(t, host), evidence)
	in, err := client.Inspect(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := Describe(in, hostid.ID{})
	shown := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		if f := strings.Fields(line); strings.HasPrefix(line, "  ") && len(f) > 1 && shown[f[0]] == "" { // the request's own fields come first
			shown[f[0]] = line
		}
	}
	back, err := wire.New().ReadRequest(file)
	if err != nil {
		t.Fatal(err)
	}
	var names int
	walk(t, reflect.ValueOf(back.Request), "", func(path, value string) {
		if names++; path == "undoes" {
			return
		}
		if line, ok := shown[path]; !ok || !strings.Contains(line, value) {
			t.Errorf("%s is %q in the file and %q in the text", path, value, line)
		}
	})
	if names < 75 {
		t.Errorf("%d data in a request with all fields", names)
	}
	e, err := attest.DecodeEvidence(back.Signature)
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Intermediates) != 1 {
		t.Fatalf("the evidence has %d intermediates", len(e.Intermediates))
	}
	for name, b := range map[string][]byte{"ek": e.EK, "ak": e.AK, "pcrs": e.PCRs, "certificates[0].bytes": e.EKCertificates[0], "intermediates[0].bytes": e.Intermediates[0]} {
		if !strings.Contains(shown[name], fmt.Sprintf("%x", b)) {
			t.Errorf("the evidence's %s is not in the text", name)
		}
	}
	if !strings.HasPrefix(text, "signature: GOOD  by a key in the TPM of LH-"+hostid.OfDigest(hostid.TPMEK, id).Short()+"\nbut: LH-5005 ") {
		t.Errorf("it begins %q", text[:160]) // the proofs of its returns are invented
	}
}

// walk visits each datum by the JSON names, by its own reading of the structs.
func walk(t *testing.T, v reflect.Value, path string, visit func(path, value string)) {
	switch x := v.Interface().(type) {
	case capability.Time:
		visit(path, x.Std().Format("2006-01-02T15:04:05Z"))
		return
	case capability.Seconds:
		visit(path, fmt.Sprint(int64(x)))
		return
	case hostid.ID:
		visit(path, x.Value+"/"+x.Type.String())
		return
	case capability.Version:
		visit(path, fmt.Sprintf("%d.%d", x.Major, x.Minor))
		return
	case capability.Code:
		visit(path, fmt.Sprintf("LH-%04d", uint16(x)))
		return
	case capability.Operation:
		visit(path, x.String())
		return
	}
	if r, is := v.Interface().(capability.Record); is {
		visit(path+".number", fmt.Sprint(r.Number))
		if u, err := wire.New().DecodeUsage(r.Body); err != nil {
			visit(path+".body", fmt.Sprintf("%x", r.Body))
		} else {
			walk(t, reflect.ValueOf(u), "", func(name, value string) { visit(path+".body", name+" "+value) })
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if path != "" {
				name = path + "." + name
			}
			walk(t, v.Field(i), name, visit)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			visit(path, fmt.Sprintf("%x", v.Interface()))
			return
		}
		for i := range v.Len() {
			walk(t, v.Index(i), fmt.Sprintf("%s[%d]", path, i), visit)
		}
	case reflect.Bool:
		visit(path, map[bool]string{true: "yes", false: "no"}[v.Bool()])
	default:
		visit(path, fmt.Sprint(v.Interface()))
	}
}

// Each field has words, and no words are left of a field that is gone.
func TestWordsForEachField(t *testing.T) {
	used := map[string]bool{}
	r := full(t, hostid.ID{Type: hostid.Ethernet, Value: "020000000000"})
	var empty capability.Request
	bare := capability.Request{Desired: make([]capability.Desired, 1)}
	for _, f := range append(append(Fields(*r), Fields(empty)...), Fields(bare)...) {
		name := generic(f.Path)
		used[name] = true
		if requestWords()[name] == "" {
			t.Errorf("no words for %s", f.Path)
		}
	}
	for name := range requestWords() {
		if !used[name] {
			t.Errorf("words for %s, which is no field", name)
		}
	}
	for _, row := range []struct {
		v     any
		words map[string]string
	}{
		{client.Machine{Certificates: make([]client.EKCertificate, 1), Intermediates: make([]client.EKCertificate, 1)}, machineWords()}, {client.Machine{}, machineWords()}, {client.Proof{}, proofWords()}, {wire.Clear{}, clearWords()},
		{client.InspectedKey{}, keyWords()}, {client.InspectedTrust{}, trustWords()},
		{client.InspectedAnswer{Rights: make([]client.InspectedRight, 1)}, answerWords()}, {client.InspectedAnswer{}, answerWords()},
	} {
		for _, f := range Fields(row.v) {
			if row.words[generic(f.Path)] == "" {
				t.Errorf("%T: no words for %s", row.v, f.Path)
			}
		}
	}
}

// Text from a file cannot steer a terminal, and JSON has every field under its name.
func TestInspectOutput(t *testing.T) {
	var b bytes.Buffer
	err := Inspect(&b, false, []byte("\x1b[2Jnothing of ours"), nil, hostid.ID{})
	if Report(&bytes.Buffer{}, "leasehold inspect", err) != capability.ExitFile || !strings.HasPrefix(b.String(), "signature: BAD\n") {
		t.Errorf("%v: %s", err, &b)
	}
	r := full(t, hostid.ID{Type: hostid.Ethernet, Value: "020000000000"})
	r.Alias = "x"
	file := sign(t, r, func([]byte) *attest.Evidence { return &attest.Evidence{} })
	b.Reset()
	err = Inspect(&b, true, file, nil, hostid.ID{})
	var status ExitStatus
	if !errors.As(err, &status) || status != capability.ExitFile {
		t.Errorf("a request without evidence: %v", err)
	}
	var out struct {
		Schema     string
		Warnings   []string
		Inspection struct {
			Signature string
			Request   struct{ Fields map[string]any }
		}
	}
	if err := json.Unmarshal(b.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	if out.Schema != "leasehold.inspect/1" || out.Inspection.Signature != "BAD" || len(out.Warnings) != 1 {
		t.Errorf("%+v", out)
	}
	for i := range reflect.TypeFor[capability.Request]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[capability.Request]().Field(i).Tag.Get("json"), ",")
		if out.Inspection.Request.Fields[name] == nil {
			t.Errorf("the JSON has no %s", name)
		}
	}
	if got := out.Inspection.Request.Fields["correlation"]; got != fmt.Sprintf("%x", r.Correlation) {
		t.Errorf("octets are %v", got)
	}
}

// A request of a machine without a TPM says so, and its text has every datum of it too.
func TestTextOfADeviceKey(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	box, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{8}, 32))
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public().(ed25519.PublicKey)
	host := hostid.OfDigest(hostid.DeviceKey, wire.DeviceOf(public))
	r := full(t, host)
	digest := wire.New().ReturnDigest(r.Returns[0])
	r.Returns[0].Proof = wire.ProveAsDevice(key, digest)
	file, _, err := wire.New().SignRequest(r, wire.AlgEd25519, wire.DeviceKeyID(public), func(d capability.Digest) ([]byte, error) {
		return wire.SignAsDevice(key, box.PublicKey(), d), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	in, err := client.Inspect(file, nil)
	if err != nil || in.Signature != client.Good || in.Request.Device == nil || in.Request.Machine != nil {
		t.Fatalf("%+v %v", in, err)
	}
	if len(in.Request.Proofs) != 2 || in.Request.Proofs[0].Verdict != client.Good || in.Request.Proofs[1].Verdict != client.Bad {
		t.Errorf("proofs are %+v", in.Request.Proofs)
	}
	text := Describe(in, hostid.ID{})
	if !strings.HasPrefix(text, "signature: GOOD  by the device key of LH-"+host.Short()+", in no TPM\n") {
		t.Errorf("it begins %q", strings.SplitN(text, "\n", 2)[0])
	}
	for _, f := range append(Fields(*in.Request.Device), Fields(in.Request.Fields)...) {
		if !strings.Contains(text, f.Path) || !strings.Contains(text, Plain(f.Value)) {
			t.Errorf("%s, %s, is not in the text", f.Path, f.Value)
		}
	}
	file[len(file)-1] ^= 1
	if in, err := client.Inspect(file, nil); err != nil || in.Signature != client.Bad || in.Code != capability.ErrRequestSignature || in.Request.Device != nil {
		t.Errorf("with a changed signature it is %+v, %v", in.Signature, err)
	}
}
