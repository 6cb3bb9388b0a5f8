package wire

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// structs are the Go types of the wire, by the names of their CDDL rules, which are the names of their tables in SPEC.md too.
func structs() map[string]reflect.Type {
	return map[string]reflect.Type{
		"request": reflect.TypeFor[capability.Request](), "desired": reflect.TypeFor[capability.Desired](), "pair": reflect.TypeFor[capability.Pair](),
		"head": reflect.TypeFor[capability.Head](), "clock": reflect.TypeFor[capability.Clock](), "return": reflect.TypeFor[capability.Return](),
		"record": reflect.TypeFor[capability.Record](), "meter": reflect.TypeFor[capability.Meter](), "usage": reflect.TypeFor[capability.Usage](), "denied": reflect.TypeFor[capability.Denied](), "host-id": reflect.TypeFor[hostid.ID](),
		"platform": reflect.TypeFor[capability.Platform](), "alarm": reflect.TypeFor[capability.Alarm](),
		"response": reflect.TypeFor[capability.Response](), "right": reflect.TypeFor[capability.Right](), "line": reflect.TypeFor[capability.Line](),
		"denial": reflect.TypeFor[capability.Denial](), "holder": reflect.TypeFor[capability.Holder](), "policy": reflect.TypeFor[capability.Policy](),
		"line-item": reflect.TypeFor[capability.LineItem](), "boot": reflect.TypeFor[capability.Boot](),
		"sealed": reflect.TypeFor[sealed](), "clear": reflect.TypeFor[Clear](), "trust": reflect.TypeFor[Trust](), "public-keys": reflect.TypeFor[PublicKeys](),
		"key-certificate": reflect.TypeFor[KeyCertificate](), "appliance-certificate": reflect.TypeFor[ApplianceCertificate](), "chain": reflect.TypeFor[Chain](),
		"revoked-key": reflect.TypeFor[RevokedKey](), "key-request": reflect.TypeFor[KeyRequest](), "certified-key": reflect.TypeFor[CertifiedKey](),
		"update": reflect.TypeFor[Update](), "update-part": reflect.TypeFor[UpdatePart](),
		"limits": reflect.TypeFor[Limits](), "product-limit": reflect.TypeFor[ProductLimit](),
		"answer": reflect.TypeFor[Answer](), "receipt": reflect.TypeFor[Receipt](), "answer-file": reflect.TypeFor[AnswerFile](), "claims": reflect.TypeFor[claims](), "proofs": reflect.TypeFor[proofs](),
		"group-header": reflect.TypeFor[header](),
	}
}

// Every field of every Go type has its number and name in the CDDL and in SPEC.md, and neither has one more.
func TestDocumentsNameEveryField(t *testing.T) {
	spec, cddl := readDocument(t, "SPEC.md"), readDocument(t, "capability.cddl")
	specRow := regexp.MustCompile("^\\| (-?\\d+) \\| `(\\w+)` \\|")
	cddlRow := regexp.MustCompile(`^\s*(?:\? )?(-?\d+): .*; (\w+)$`)
	for rule, typ := range structs() {
		want := map[string]string{}
		for i := range typ.NumField() {
			f := typ.Field(i)
			number, _, _ := strings.Cut(f.Tag.Get("cbor"), ",")
			name := jsonName(f)
			if name == "" { // an internal type: its own name begins the field's
				name = strings.ToLower(f.Name)
			}
			if name == "issuedat" {
				name = "iat" // CWT's word
			}
			want[number] = name
		}
		if got := rows(cddl, regexp.MustCompile(`^`+rule+`(<.*>)? = \{`), regexp.MustCompile(`^\}`), cddlRow); !reflect.DeepEqual(got, want) {
			t.Errorf("capability.cddl, %s: %v where the code has %v", rule, got, want)
		}
		if rule == "group-header" {
			continue // SPEC.md has one table for the headers of all envelopes
		}
		if got := rows(spec, regexp.MustCompile("^#.* `"+rule+"`$"), regexp.MustCompile(`^#`), specRow); !reflect.DeepEqual(got, want) {
			t.Errorf("SPEC.md, %s: %v where the code has %v", rule, got, want)
		}
	}
}

func readDocument(t testing.TB, name string) []string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(b), "\n")
}

// rows are the fields between the line that matches begin and the next that matches end, by number.
func rows(lines []string, begin, end, row *regexp.Regexp) map[string]string {
	found := map[string]string{}
	in := false
	for _, l := range lines {
		switch {
		case !in:
			in = begin.MatchString(l)
		case end.MatchString(l):
			return found
		default:
			if m := row.FindStringSubmatch(l); m != nil {
				found[m[1]] = m[2]
			}
		}
	}
	return found
}

// The CDDL takes every good vector, each of its rules is taken by one, and it refuses the vectors whose flaw it can see.
func TestCDDL(t *testing.T) {
	m := &matcher{parseCDDL(t, readDocument(t, "capability.cddl")), map[string]bool{}}
	rule := map[string]string{"request": "request", "return": "return", "usage": "usage", "request-file": "request-file", "response-file": "response-file", "trust": "trust-file", "key-request": "key-request-file", "certified-key": "certified-key-file", "update": "update-file",
		"chain": "chain", "answer": "answer", "answer-file": "answer-response-file", "receipt": "receipt", "frame": "message", "activation-id": "activation-id"}
	check := func(v *vector, name string, b []byte) error {
		if name == "activation-id" {
			return m.match(&cddlNode{op: "name", name: name}, string(b), nil)
		}
		item, err := decodeAny(b)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		return m.match(&cddlNode{op: "name", name: name}, item, nil)
	}
	visible := strings.Fields(`request-unknown-field request-correlation-short request-correlation-long request-correlation-as-text request-array-for-map request-version-2
		request-no-host request-host-type request-host-value request-no-correlation request-operation-4 request-count request-id-form request-lines request-metered-nothing request-platform request-platform-long request-alarm-never request-record-0 request-float request-negative
		request-zero-for-absent request-false-for-absent request-empty-array-for-absent request-empty-text-for-absent request-null-for-absent request-tag-inside request-text-key
		return-id-short usage-never usage-denied-nothing usage-most request-file-typ-response request-file-typ-missing request-file-alg-ed25519 request-file-header-claims request-file-header-crit request-file-unprotected request-file-detached
		request-file-no-tag-18 request-file-device-cut-evidence request-file-client-cut-evidence answer-file-no-answer answer-file-tag-18 request-file-magic-of-response request-file-evidence-too-long response-file-typ-inner response-file-alg-swapped response-file-no-certificate response-file-extra-unsigned
		response-file-inner-unsigned response-file-certificate-typ response-file-certificate-smuggles trust-short-key trust-one-key key-request-no-name key-request-typ update-typ update-release update-security-high update-no-certificate update-no-digest certified-key-no-certificate certified-key-product chain-appliance-typ chain-appliance-host chain-serving-short chain-no-statement
		answer-path-33 answer-digest-31 answer-two-proofs answer-no-proofs answer-attached answer-unsigned-extra answer-typ-response answer-alg-eddsa answer-no-vds answer-vds-2 answer-no-claims
		answer-content-no-time answer-content-unknown-field frame-kind-5 frame-kind-negative frame-ask-null frame-ask-more frame-three
		activation-id-lower-case activation-id-no-hyphens activation-id-short activation-id-letter-u`)
	vectors := map[string]*vector{}
	for _, v := range readVectors(t) {
		vectors[v.Name] = v
		if v.Expect != "ok" || v.Kind == "text" { // which is no CBOR
			continue
		}
		b := v.bytes()
		if v.Kind == "frame" {
			b = b[4:]
		}
		if err := check(v, rule[v.Kind], b); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		if v.Kind == "response-file" { // what only the machine sees
			c := New()
			s, err := c.ReadResponse(b)
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.Open(s, unhex(v.Keys["contentKey"]))
			if err != nil {
				t.Fatal(err)
			}
			if err := check(v, "response", c.Encode(r)); err != nil {
				t.Errorf("%s: %v", v.Name, err)
			}
		}
	}
	c := New()
	if err := check(vectors["chain-good"], "sig-structure", c.toBeSigned([]byte{1}, []byte{2})); err != nil {
		t.Error(err)
	}
	delete(m.rules, "start")
	for name := range m.rules {
		if !m.seen[name] {
			t.Errorf("no good vector has a %s", name)
		}
	}
	for _, name := range visible {
		v := vectors[name]
		if v == nil {
			t.Errorf("no vector is named %s", name)
			continue
		}
		b := v.bytes()
		if v.Kind == "frame" {
			b = b[4:]
		}
		if check(v, rule[v.Kind], b) == nil {
			t.Errorf("the CDDL takes %s", name)
		}
	}
}
