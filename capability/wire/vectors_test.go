package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

const vectorDir = "testdata/vectors"

// vector is one file of testdata/vectors; the README there says how to use it.
type vector struct {
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Kind        string            `json:"kind"`
	Input       any               `json:"input,omitempty"`
	Keys        map[string]string `json:"keys,omitempty"`
	Hex         string            `json:"hex"`
	Pad         int               `json:"pad,omitempty"`
	Digest      string            `json:"digest,omitempty"`
	Expect      string            `json:"expect"`
}

func (v *vector) bytes() []byte { return append(unhex(v.Hex), make([]byte, v.Pad)...) }

// Each vector on disk is the one the set makes, byte for byte, and nothing else lies there.
func TestVectorsAreTheSet(t *testing.T) {
	set := vectorSet(t)
	if len(set) < 60 {
		t.Errorf("%d vectors", len(set))
	}
	want := map[string][]byte{}
	for _, v := range set {
		if want[v.Name+".json"] != nil {
			t.Fatalf("two vectors are named %s", v.Name)
		}
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want[v.Name+".json"] = append(b, '\n')
	}
	if *update {
		for name, b := range want {
			if err := os.WriteFile(filepath.Join(vectorDir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(vectorDir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if want[filepath.Base(f)] == nil {
			t.Errorf("%s is not of the set", f)
		}
	}
	for name, b := range want {
		got, err := os.ReadFile(filepath.Join(vectorDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, b) {
			t.Errorf("%s differs from what is made today", name)
		}
	}
}

// Every vector is judged as it says, and every good one is made from its input alone, as a program in another language would.
func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			b := v.bytes()
			err := judgeVector(v, b)
			if got := class(err); got != v.Expect {
				t.Errorf("%s where %s is expected: %v", got, v.Expect, err)
			}
			if code := Code(err); (code == 0) != (err == nil || errors.Is(err, capability.ErrActivationID) || errors.Is(err, errNotOurs) || errors.Is(err, errLate)) {
				t.Errorf("%v has the code %v", err, code)
			}
			if v.Expect != "ok" || v.Kind == "text" && v.Input == nil { // taken, and written by nobody
				return
			}
			again, err := encodeVector(t, v)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, b) {
				t.Errorf("the input encodes to\n%x, the vector says\n%x", again, b)
			}
		})
	}
}

// Each kind has a good vector, and each class of refusal has one.
func TestVectorsCoverKindsAndClasses(t *testing.T) {
	missing := map[string]bool{}
	for _, s := range []string{"request-file", "response-file", "answer", "chain", "frame", "request", "trust", "key-request", "certified-key", "activation-id", "receipt", "answer-file", "return", "usage", "text", "update"} {
		missing["good "+s], missing["bad "+s] = true, true
	}
	for _, s := range []string{"ok", "malformed", "kind", "cut", "size", "type", "signature", "one-signature", "other-producer", "revoked", "not-ours", "late"} {
		missing[s] = true
	}
	for _, v := range readVectors(t) {
		delete(missing, v.Expect)
		if v.Expect == "ok" {
			delete(missing, "good "+v.Kind)
		} else {
			delete(missing, "bad "+v.Kind)
		}
	}
	for s := range missing {
		t.Errorf("no vector: %s", s)
	}
}

// Each field of each table that a vector can have is in a good one, so that no reader passes that does not know it.
func TestVectorsHaveEveryField(t *testing.T) {
	inputs := map[string]reflect.Type{
		"request": reflect.TypeFor[capability.Request](), "return": reflect.TypeFor[capability.Return](), "usage": reflect.TypeFor[capability.Usage](), "trust": reflect.TypeFor[Trust](),
		"request-file": reflect.TypeFor[requestFileInput](), "response-file": reflect.TypeFor[responseFileInput](), "key-request": reflect.TypeFor[keyRequestInput](), "update": reflect.TypeFor[updateInput](),
		"certified-key": reflect.TypeFor[certifiedKeyInput](), "chain": reflect.TypeFor[chainInput](), "answer": reflect.TypeFor[answerInput](), "receipt": reflect.TypeFor[receiptInput](), "answer-file": reflect.TypeFor[answerFileInput](),
	}
	there := map[string]bool{}
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Struct:
			for i := range v.NumField() {
				if !v.Field(i).IsZero() {
					there[v.Type().String()+"."+v.Type().Field(i).Name] = true
					walk(v.Field(i))
				}
			}
		}
	}
	for _, v := range readVectors(t) {
		if typ := inputs[v.Kind]; v.Expect == "ok" && typ != nil {
			in := reflect.New(typ)
			if err := fromInput(v.Input, in.Elem()); err != nil {
				t.Fatal(v.Name, err)
			}
			walk(in.Elem())
		}
	}
	elsewhere := map[string]bool{ // made of keys, or of other inputs
		"sealed": true, "clear": true, "public-keys": true, "chain": true, "answer": true, "answer-file": true, "claims": true, "proofs": true, "receipt": true, "group-header": true, "certified-key": true,
	}
	made := map[string]bool{"wire.KeyCertificate.Keys": true, "wire.KeyCertificate.Limits": true, "wire.KeyRequest.Keys": true, "wire.Update.Certificate": true}
	for rule, typ := range structs() {
		for i := range typ.NumField() {
			if name := typ.String() + "." + typ.Field(i).Name; !elsewhere[rule] && !made[name] && !there[name] {
				t.Errorf("no good vector has %s", name)
			}
		}
	}
}

func readVectors(t testing.TB) []*vector {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectorDir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors in %s: %v", vectorDir, err)
	}
	var vs []*vector
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		d.DisallowUnknownFields()
		var v vector
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		vs = append(vs, &v)
	}
	return vs
}

// The inputs of the kinds that are more than one message.
type (
	keyRequestInput struct {
		KeyRequest KeyRequest `json:"keyRequest"` // without its keys
	}
	updateInput struct {
		KeyCertificate KeyCertificate `json:"keyCertificate"` // without its keys
		Update         Update         `json:"update"`         // without its certificate
	}
	certifiedKeyInput struct {
		KeyCertificate KeyCertificate `json:"keyCertificate"` // without its keys and the digest of its limits
		Limits         Limits         `json:"limits"`
	}
	requestFileInput struct {
		Request  capability.Request `json:"request"`
		KID      KeyID              `json:"kid"`
		Evidence []byte             `json:"evidence"`
	}
	responseFileInput struct {
		KeyCertificate KeyCertificate      `json:"keyCertificate"`
		Response       capability.Response `json:"response"`
		Wrap           []byte              `json:"wrap"`
	}
	chainInput struct {
		KeyCertificate       KeyCertificate       `json:"keyCertificate"`
		ApplianceCertificate ApplianceCertificate `json:"applianceCertificate"`
		Serving              []byte               `json:"serving"`
		Statement            []byte               `json:"statement"`
	}
	answerInput struct {
		Responses []capability.Response `json:"responses"`
		Leaf      uint64                `json:"leaf"`
		IssuedAt  capability.Time       `json:"iat"`
		Epoch     uint64                `json:"epoch"`
	}
	receiptInput struct {
		Answer    answerInput `json:"answer"`
		Statement []byte      `json:"statement"`
	}
	textInput struct {
		File []byte `json:"file"`
	}
	frameInput struct {
		Kind uint64 `json:"kind"`
		Body []byte `json:"body"`
	}
)

// encodeVector makes the bytes of a good vector from its input and keys.
func encodeVector(t testing.TB, v *vector) ([]byte, error) {
	t.Helper()
	c := New()
	read := func(to any) {
		t.Helper()
		if err := fromInput(v.Input, reflect.ValueOf(to).Elem()); err != nil {
			t.Fatalf("input: %v", err)
		}
	}
	switch v.Kind {
	case "request":
		var in capability.Request
		read(&in)
		return c.Encode(&in), in.Validate()
	case "text":
		var in textInput
		read(&in)
		return []byte(Text(in.File)), nil
	case "usage":
		var in capability.Usage
		read(&in)
		return c.Encode(&in), nil
	case "return":
		var in capability.Return
		read(&in)
		return c.Encode(&in), nil
	case "request-file":
		var in requestFileInput
		read(&in)
		alg := AlgTPMQuote
		switch {
		case len(in.Evidence) > 2 && in.Evidence[0] == 0x82 && in.Evidence[2] > 44:
			alg = AlgESP256
		case len(in.Evidence) > 2 && (in.Evidence[0] == 0x81 || in.Evidence[0] == 0x82):
			alg = AlgEd25519
		}
		file, _, err := c.SignRequest(&in.Request, alg, in.KID, func(capability.Digest) ([]byte, error) { return in.Evidence, nil })
		return file, err
	case "response-file":
		var in responseFileInput
		read(&in)
		return in.encode(c, v.Keys)
	case "trust":
		var in Trust
		read(&in)
		return c.EncodeTrust(&in), nil
	case "key-request":
		var in keyRequestInput
		read(&in)
		_, signing, err := keyPair(v.Keys)
		if err != nil {
			return nil, err
		}
		return c.SealKeyRequest(signing, &in.KeyRequest)
	case "update":
		var in updateInput
		read(&in)
		root, signing, err := keyPair(v.Keys)
		if err != nil {
			return nil, err
		}
		in.KeyCertificate.Keys = signing.Public
		if in.Update.Certificate, err = c.CertifyKey(root, &in.KeyCertificate); err != nil {
			return nil, err
		}
		return c.SealUpdate(signing, &in.Update)
	case "certified-key":
		var in certifiedKeyInput
		read(&in)
		root, signing, err := keyPair(v.Keys)
		if err != nil {
			return nil, err
		}
		in.KeyCertificate.Keys, in.KeyCertificate.Limits = signing.Public, c.LimitsDigest(in.Limits)
		certificate, err := c.CertifyKey(root, &in.KeyCertificate)
		return c.EncodeCertifiedKey(&CertifiedKey{certificate, in.Limits}), err
	case "chain":
		var in chainInput
		read(&in)
		return in.encode(c, v.Keys)
	case "answer":
		var in answerInput
		read(&in)
		a := in.answer(c, v.Keys)
		return c.Encode(&a), nil
	case "answer-file":
		var in answerFileInput
		read(&in)
		return in.encode(c, v.Keys)
	case "receipt":
		var in receiptInput
		read(&in)
		return in.encode(c, v.Keys), nil
	case "frame":
		var in frameInput
		read(&in)
		return c.Frame(MessageKind(in.Kind), rawItem(in.Body)), nil
	case "activation-id":
		text, _ := v.Input.(string)
		id, err := capability.ParseActivationID(text)
		return []byte(id), err
	}
	return nil, fmt.Errorf("kind %q is not known", v.Kind)
}

// keyPair are the root and the signing key of a vector, both from seeds.
func keyPair(keys map[string]string) (root, signing *ProducerKey, err error) {
	if root, err = NewProducerKey(unhex(keys["rootSeed"])); err != nil {
		return nil, nil, err
	}
	signing, err = NewProducerKey(unhex(keys["signingSeed"]))
	return root, signing, err
}

func (in *responseFileInput) encode(c *Codec, keys map[string]string) ([]byte, error) {
	root, signing, err := keyPair(keys)
	if err != nil {
		return nil, err
	}
	certificate, err := c.CertifyKey(root, in.certificate(signing))
	if err != nil {
		return nil, err
	}
	return c.SealResponse(signing, certificate, &in.Response, in.Wrap, unhex(keys["contentKey"]))
}

// certificate fills in the public keys, which follow from the seeds and are not repeated in the input.
func (in *responseFileInput) certificate(signing *ProducerKey) *KeyCertificate {
	k := in.KeyCertificate
	k.Keys = signing.Public
	return &k
}

func (in *chainInput) encode(c *Codec, keys map[string]string) ([]byte, error) {
	root, signing, err := keyPair(keys)
	if err != nil {
		return nil, err
	}
	k := in.KeyCertificate
	k.Keys = signing.Public
	ch := Chain{Serving: in.Serving, Statement: in.Statement}
	if ch.Key, err = c.CertifyKey(root, &k); err != nil {
		return nil, err
	}
	if ch.Appliance, err = c.CertifyAppliance(signing, &in.ApplianceCertificate); err != nil {
		return nil, err
	}
	return c.Encode(&ch), nil
}

func (in *answerInput) answer(c *Codec, keys map[string]string) Answer {
	var leaves [][]byte
	for i := range in.Responses {
		leaves = append(leaves, c.Encode(&in.Responses[i]))
	}
	key := ed25519.NewKeyFromSeed(unhex(keys["servingSeed"]))
	return c.Answer(c.SignTree(key, Grow(leaves), in.IssuedAt, in.Epoch), int(in.Leaf), leaves[in.Leaf])
}

func (in *receiptInput) encode(c *Codec, keys map[string]string) []byte {
	key := ed25519.NewKeyFromSeed(unhex(keys["servingSeed"]))
	return c.Encode(&Receipt{Answer: in.Answer.answer(c, keys), Serving: key.Public().(ed25519.PublicKey), Statement: in.Statement})
}

// Names are lower case with hyphens, so that they are file names anywhere.
func TestVectorNames(t *testing.T) {
	for _, v := range readVectors(t) {
		if strings.Trim(v.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || v.Description == "" {
			t.Errorf("%q: %q", v.Name, v.Description)
		}
		if len(v.Hex) > 192<<10 {
			t.Errorf("%s: %d digits", v.Name, len(v.Hex))
		}
	}
}
