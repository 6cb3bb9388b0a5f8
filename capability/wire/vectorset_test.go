package wire

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// set collects the vectors. All keys come from fixed seeds, so that the set is the same on every machine and in every run.
type set struct {
	t    testing.TB
	c    *Codec
	tpm  *paperTPM
	list []*vector

	deviceRequest, tpmRequest, certifiedRequest capability.Digest // of request-file-device, request-file-activation, request-file-certificates
}

func vectorSet(t testing.TB) []*vector {
	s := &set{t: t, c: New(), tpm: newPaperTPM(t, 0x21)}
	s.requests()
	s.returns()
	s.usages()
	s.requestFiles()
	s.evidences()
	s.deviceFiles()
	s.clientFiles()
	s.responseFiles()
	s.wrappedResponses()
	s.received()
	s.deviceResponses()
	s.counted()
	s.trusts()
	s.certifications()
	s.updates()
	s.chains()
	s.answers()
	s.asked()
	s.limits()
	s.receipts()
	s.answerFiles()
	s.frames()
	s.activationIDs()
	s.texts()
	s.codes()
	return s.list
}

// good adds a vector that is encoded from its input, and returns its bytes for the bad ones to be made of.
func (s *set) good(kind, name, description string, input any, keys map[string]string) []byte {
	s.t.Helper()
	v := &vector{Name: name, Description: description, Kind: kind, Keys: keys, Expect: "ok", Input: toInput(reflect.ValueOf(input))}
	b, err := encodeVector(s.t, &vector{Kind: kind, Keys: keys, Input: numbers(v.Input)})
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	v.Hex = hex.EncodeToString(b)
	s.list = append(s.list, v)
	return b
}

func (s *set) bad(kind, name, expect, description string, b []byte, keys map[string]string) {
	s.list = append(s.list, &vector{Name: name, Description: description, Kind: kind, Keys: keys, Hex: hex.EncodeToString(b), Expect: expect})
}

func (s *set) last() *vector { return s.list[len(s.list)-1] }

func rawItem(b []byte) cbor.RawMessage { return cbor.RawMessage(b) }

// flip changes one bit of the byte at i; a negative i counts from the end.
func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	if i < 0 {
		i += len(b)
	}
	b[i] ^= 1
	return b
}

// flipIn changes one bit in the first or only place where part begins, at its byte i.
func (s *set) flipIn(b, part []byte, i int) []byte {
	s.t.Helper()
	at := bytes.Index(b, part)
	if at < 0 || len(part) == 0 {
		s.t.Fatalf("%x is not in the item", part)
	}
	if i < 0 {
		i += len(part)
	}
	return flip(b, at+i)
}

// swap replaces old by new, once.
func (s *set) swap(b, old, new []byte) []byte {
	s.t.Helper()
	if bytes.Count(b, old) == 0 {
		s.t.Fatalf("%x is not in the item", old)
	}
	return bytes.Replace(b, old, new, 1)
}

func (s *set) digestOf(file []byte) string {
	r, err := s.c.ReadRequest(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return hex.EncodeToString(r.Digest[:])
}

func (s *set) id(n byte) capability.ActivationID {
	id, err := capability.NewActivationID(bytes.NewReader(bytes.Repeat([]byte{n}, 18)))
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *set) appliance() hostid.ID { return hostid.ID{Type: hostid.TPMEK, Value: hostOf(s.tpm.EK)} }

func client() hostid.ID {
	return hostid.ID{Type: hostid.DeviceKey, Value: strings.Repeat("C1", 32)}
}

func correlation() capability.CorrelationID {
	return capability.CorrelationID{0xc0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
}

func digest(n byte) capability.Digest { return capability.Digest(bytes.Repeat([]byte{n}, 32)) }

func (s *set) clientRequest() capability.Request {
	return capability.Request{Version: 1, Hosts: []hostid.ID{client()}, Correlation: correlation(),
		Desired: []capability.Desired{{Feature: "render", Version: capability.Version{Major: 2026, Minor: 1}, Count: 2}}}
}

// fullRequest has every field, so that each number is in a vector.
func (s *set) fullRequest() capability.Request {
	return capability.Request{
		Version: 1, Hosts: []hostid.ID{s.appliance(), {Type: hostid.Ethernet, Value: "02004C4F4F50"}}, Correlation: correlation(), Applied: 3,
		Desired: []capability.Desired{
			{Feature: "render", Version: capability.Version{Major: 10}, Count: 24, Partial: true, Selectors: []capability.Pair{{Key: "site", Value: "north"}}, Wait: true},
			{ActivationID: s.id(7), Count: 1},
			{ActivationID: s.id(8)},
		},
		Operation: capability.Preview, Atomic: true, User: "ana", Alias: "Prüfstand 7", DeviceType: "WORKSTATION",
		Dictionary: []capability.Pair{{Key: "project", Value: "A-17"}, {Key: "empty"}}, Borrow: 86400, Granularity: 3, Receipt: []byte("receipt"), Idle: 600,
		Number: 256, Outstanding: []capability.Digest{digest(1), digest(2)}, Epoch: 70000, Head: capability.Head{Position: 5000000000, Hash: digest(3)},
		Returns: []capability.Return{s.aReturn()}, Records: []capability.Record{{Number: 1, Body: []byte{1}}, {Number: 2, Body: []byte{2, 3}}},
		Clock: capability.Clock{Now: 1790000000, Floor: 1789999000}, Condition: capability.ErrRollback, Policy: digest(4), Producer: digest(5), BookHead: digest(6),
		Life: capability.LifeID{0x11, 0xfe}, Metered: []capability.Meter{{ActivationID: s.id(7), Feature: "calls", Count: 300}, {ActivationID: s.id(8), Feature: "calls", Count: 1}},
		Platform: capability.Platform{Virtual: "kvm", Container: capability.Bare},
		Alarms:   []capability.Alarm{{Code: capability.ErrDeviceKey, Count: 300, Last: 1789990000}, {Code: capability.ErrBinding, Count: 1, Last: 1789999000}},
		Settled:  true,
		States: []capability.Usage{
			{From: 1789948800, Until: 1789990000, ActivationID: s.id(7), Feature: "render", Peak: 2, Served: 3, Seconds: 7200, Denials: []capability.Denied{{Code: capability.ErrNoSeat, Count: 1}}},
			{From: 1789948800, Until: 1789990000, ActivationID: s.id(7), Feature: "render", User: "ana", Peak: 1, Served: 1, Seconds: 3600},
		},
	}
}

func (s *set) aReturn() capability.Return {
	return capability.Return{ID: capability.ReturnID{1, 2, 3}, ActivationID: s.id(9), Copies: 2, Epoch: 70000, Time: 1789999999, Serial: 3}
}

func (s *set) requests() {
	c := s.c
	plain := s.clientRequest()
	s.good("request", "request-poll", "the least a request can say: who asks, and nothing is held", capability.Request{Version: 1, Hosts: []hostid.ID{client()}, Correlation: correlation()}, nil)
	good := s.good("request", "request-feature", "a client asks for two of a feature, at least version 2026.1", plain, nil)
	s.good("request", "request-every-field", "every field of a request and of what is in it, but for undoes", s.fullRequest(), nil)
	undo := capability.Request{Version: 1, Hosts: []hostid.ID{client()}, Correlation: capability.CorrelationID{0xc1}, Operation: capability.Undo, Undoes: correlation()}
	s.good("request", "request-undo", "the report of request-feature is canceled; the undo has a correlation of its own", undo, nil)

	words := plain
	words.User, words.Alias = "\ufeffJosé", "Jose\u0301 \U0001f5a5"
	s.good("request", "request-texts", "texts are bytes: a byte order mark at the start is a character like any other, and nothing is normalized", words, nil)

	bad := func(name, description string, b []byte) {
		s.bad("request", "request-"+name, "malformed", description, b, nil)
	}
	pair := func(k, v string) []byte { return unhex(k + v) }
	version, hosts, corr := pair("01", "01"), append([]byte{2}, c.Encode(plain.Hosts)...), append([]byte{3}, c.Encode(plain.Correlation)...)
	fields := func(parts ...[]byte) []byte {
		return append([]byte{0xa0 | byte(len(parts))}, slices.Concat(parts...)...)
	}
	with := func(extra string) []byte { return fields(version, hosts, corr, unhex(extra)) }

	bad("nothing", "no byte at all", nil)
	bad("cut", "a good request without its last byte", good[:len(good)-1])
	bad("trailing-byte", "one byte after a good request", append(bytes.Clone(good), 0))
	bad("longer-integer", "version 1 in two bytes", fields(pair("01", "1801"), hosts, corr))
	bad("longer-length", "the length of the correlation in two bytes", s.swap(good, []byte{3, 0x50}, []byte{3, 0x58, 16}))
	bad("longer-key", "key 1 in two bytes", fields(pair("1801", "01"), hosts, corr))
	bad("keys-unsorted", "correlation before hosts", fields(version, corr, hosts))
	bad("key-twice", "version twice, with the same value", fields(version, version, hosts, corr))
	bad("key-twice-other-value", "applied twice, with 1 and 2", fields(version, hosts, corr, pair("04", "01"), pair("04", "02")))
	bad("indefinite-map", "an indefinite-length map", slices.Concat([]byte{0xbf}, version, hosts, corr, []byte{0xff}))
	bad("indefinite-array", "hosts in an indefinite-length array", fields(version, slices.Concat([]byte{2, 0x9f}, hosts[2:], []byte{0xff}), corr))
	bad("indefinite-text", "user as an indefinite-length text", with("087f6161ff"))
	bad("float", "version as the half-precision number 1.0", fields(pair("01", "f93c00"), hosts, corr))
	bad("null-for-absent", "desired is null", with("05f6"))
	bad("undefined", "desired is undefined", with("05f7"))
	bad("empty-array-for-absent", "desired is an empty array", with("0580"))
	bad("zero-for-absent", "applied is 0", with("0400"))
	bad("false-for-absent", "atomic is false", with("07f4"))
	bad("empty-text-for-absent", "user is an empty text", with("0860"))
	bad("empty-map-for-absent", "head is an empty map", with("17a0"))
	bad("zeros-for-absent", "policy is 32 zero bytes", with("181c5820"+strings.Repeat("00", 32)))
	bad("tag-inside", "version with tag 1", fields(pair("01", "c101"), hosts, corr))
	bad("magic-inside", "a request with the tag that only files begin with", append(unhex("d9d9f7"), good...))
	bad("unknown-field", "field 250", with("18fa01"))
	bad("text-key", "a key that is the text \"a\"", with("616101"))
	bad("negative", "applied is -1", with("0420"))
	bad("bignum", "applied is 2^64", with("04c249010000000000000000"))
	bad("utf8", "user is not UTF-8", with("0861ff"))
	bad("correlation-short", "a correlation of 15 bytes", fields(version, hosts, append([]byte{3}, c.Encode(make([]byte, 15))...)))
	bad("correlation-long", "a correlation of 17 bytes", fields(version, hosts, append([]byte{3}, c.Encode(bytes.Repeat([]byte{1}, 17))...)))
	bad("correlation-as-text", "a correlation that is a text", fields(version, hosts, append([]byte{3}, c.Encode("0123456789abcdef")...)))
	bad("array-for-map", "a request as an array of values", slices.Concat([]byte{0x83}, version[1:], hosts[1:], corr[1:]))
	bad("nesting", "desired is 300 arrays inside each other", with("05"+strings.Repeat("81", 300)+"80"))
	bad("length-bomb", "hosts says it has 2^62 elements", fields(version, unhex("029b4000000000000000"), corr))
	bad("length-bomb-bytes", "the correlation says it has 2^63 bytes", fields(version, hosts, unhex("035b8000000000000000")))
	bad("frame-too-large", "a receipt makes the message larger than a frame", with("0e594100"))
	s.last().Pad = 0x4100

	change := func(name, description string, f func(*capability.Request)) {
		r := s.clientRequest()
		f(&r)
		bad(name, description, c.Encode(&r))
	}
	change("version-2", "a version that is not known", func(r *capability.Request) { r.Version = 2 })
	change("no-host", "no hosts", func(r *capability.Request) { r.Hosts = nil })
	change("host-twice", "the same host ID twice", func(r *capability.Request) { r.Hosts = append(r.Hosts, r.Hosts[0]) })
	change("host-type", "host ID type 18", func(r *capability.Request) { r.Hosts[0].Type = 18 })
	change("host-value", "a host ID that is not printable ASCII", func(r *capability.Request) { r.Hosts[0].Value = "a\u00e9" })
	change("no-correlation", "no correlation", func(r *capability.Request) { r.Correlation = capability.CorrelationID{} })
	change("operation-4", "an operation that is not known", func(r *capability.Request) { r.Operation = 4 })
	change("undo-of-nothing", "an undo that names no report", func(r *capability.Request) { r.Operation, r.Desired = capability.Undo, nil })
	change("undo-of-itself", "an undo that names itself", func(r *capability.Request) { r.Operation, r.Undoes, r.Desired = capability.Undo, r.Correlation, nil })
	change("undo-with-lines", "an undo with a line", func(r *capability.Request) { r.Operation, r.Undoes = capability.Undo, capability.CorrelationID{9} })
	change("undoes-of-a-report", "a report that names a report", func(r *capability.Request) { r.Operation, r.Undoes = capability.Report, capability.CorrelationID{9} })
	change("neither", "a line that names nothing", func(r *capability.Request) { r.Desired[0].Feature = "" })
	change("both", "a line that names a feature and an activation ID", func(r *capability.Request) { r.Desired[0].ActivationID = s.id(7) })
	change("count", "a count of 2^30 and one", func(r *capability.Request) { r.Desired[0].Count = capability.MaxCount + 1 })
	change("id-form", "an activation ID in lower case", func(r *capability.Request) {
		r.Desired[0] = capability.Desired{ActivationID: capability.ActivationID(strings.ToLower(string(s.id(7)))), Count: 1}
	})
	change("escape", "an escape sequence for a terminal in the alias", func(r *capability.Request) { r.Alias = "a\x1b[2J" })
	change("direction", "a mark in the alias that turns the direction of writing", func(r *capability.Request) { r.Alias = "a\u202eb" })
	meter := capability.Meter{ActivationID: s.id(7), Feature: "calls", Count: 1}
	change("metered-nothing", "a total of nothing", func(r *capability.Request) {
		r.Metered = []capability.Meter{{ActivationID: meter.ActivationID, Feature: meter.Feature}}
	})
	change("metered-twice", "two totals of one line item", func(r *capability.Request) { r.Metered = []capability.Meter{meter, meter} })
	state := s.fullRequest().States[0]
	change("states-twice", "two states of one use", func(r *capability.Request) { r.States = []capability.Usage{state, state} })
	change("states-apart", "two states of periods that do not begin together", func(r *capability.Request) {
		later := state
		later.Feature, later.From = "calls", state.From+1
		r.States = []capability.Usage{state, later}
	})
	change("states-nothing", "a state of nothing", func(r *capability.Request) {
		r.States = []capability.Usage{{From: state.From, Until: state.Until, ActivationID: state.ActivationID, Feature: state.Feature}}
	})
	change("platform", "a virtual machine monitor in capitals", func(r *capability.Request) { r.Platform.Virtual = "KVM" })
	change("platform-long", "a container manager of 33 bytes", func(r *capability.Request) { r.Platform.Container = strings.Repeat("a", capability.MaxPlatform+1) })
	alarm := capability.Alarm{Code: capability.ErrDeviceKey, Count: 1, Last: 1}
	change("alarms-twice", "two alarms of one code", func(r *capability.Request) { r.Alarms = []capability.Alarm{alarm, alarm} })
	change("alarm-never", "an alarm of no time", func(r *capability.Request) { r.Alarms = []capability.Alarm{{Code: alarm.Code, Count: 1}} })
	change("records-gap", "records 1 and 3", func(r *capability.Request) { r.Records = []capability.Record{{Number: 1}, {Number: 3}} })
	change("record-0", "a record without a number", func(r *capability.Request) { r.Records = []capability.Record{{Body: []byte{0xa0}}} })
	change("copies-none", "a return of no copies", func(r *capability.Request) { r.Returns = []capability.Return{s.aReturn()}; r.Returns[0].Copies = 0 })
	change("separator", "a line separator in the user", func(r *capability.Request) { r.User = "a\u2028b" })
	change("control", "a control character above ASCII in the user", func(r *capability.Request) { r.User = "a\u0085b" })
	change("isolate", "a mark in the user that sets a direction of writing apart", func(r *capability.Request) { r.User = "a\u2066b" })
	change("replaced", "the sign for what could not be read in the device type", func(r *capability.Request) { r.DeviceType = "a\ufffd" })
	change("lines", "257 lines", func(r *capability.Request) { r.Desired = slices.Repeat(r.Desired, capability.MaxDesired+1) })
}

func (s *set) returns() {
	r := s.aReturn()
	digested := func() {
		d := s.c.ReturnDigest(r)
		s.last().Digest = hex.EncodeToString(d[:])
	}
	s.good("return", "return-without-proof", "a return as its digest covers it; digest is what the TPM's statement is about", r, nil)
	digested()
	r.Proof = []byte("an epoch proof")
	b := s.good("return", "return-with-proof", "the same return with a proof has the same digest", r, nil)
	digested()
	s.bad("return", "return-copies-none", "malformed", "no copies", s.swap(b, []byte{3, 2, 4}, []byte{3, 0, 4}), nil)
	s.bad("return", "return-id-form", "malformed", "a check symbol of the activation ID is wrong", s.swap(b, []byte("BB"), []byte("BC")), nil)
	s.bad("return", "return-id-short", "malformed", "an ID of 15 bytes", s.swap(b, append([]byte{1, 0x50}, r.ID[:]...), append([]byte{1, 0x4f}, r.ID[:15]...)), nil)
}

func (s *set) usages() {
	full := capability.Usage{From: 1789948800, Until: 1790035200, ActivationID: s.id(7), Feature: "render", Peak: 24, Served: 300, Seconds: 1 << 33,
		Denials: []capability.Denied{{Code: capability.ErrNoSeat, Count: 17}, {Code: capability.ErrBinding, Count: 1}}}
	slices.SortFunc(full.Denials, func(a, b capability.Denied) int { return int(a.Code) - int(b.Code) })
	s.good("usage", "usage-feature", "what was used and refused of a feature in one day", full, nil)
	person := capability.Usage{From: 1789948800, Until: 1790035200, ActivationID: s.id(7), Feature: "render", User: "ana", Peak: 2, Served: 3, Seconds: 7200}
	s.good("usage", "usage-user", "what one user had of it", person, nil)
	none := capability.Usage{From: 1789948800, Until: 1789950000, Denials: []capability.Denied{{Code: capability.ErrNotEntitled, Count: 5}}}
	s.good("usage", "usage-unknown-features", "what was refused of features that no line item has, in a part of a day", none, nil)
	bad := func(name, description string, f func(*capability.Usage)) {
		u := full
		u.Denials = slices.Clone(full.Denials)
		f(&u)
		s.bad("usage", "usage-"+name, "malformed", description, s.c.Encode(&u), nil)
	}
	bad("never", "a period that does not begin", func(u *capability.Usage) { u.From = 0 })
	bad("empty", "a period that ends where it begins", func(u *capability.Usage) { u.Until = u.From })
	bad("no-feature", "an activation ID without a feature", func(u *capability.Usage) { u.Feature = "" })
	bad("nothing", "nothing was used or refused, and a peak alone says nothing", func(u *capability.Usage) { u.Served, u.Seconds, u.Denials = 0, 0, nil })
	bad("of-nothing", "counts served of no feature", func(u *capability.Usage) { u.Feature, u.ActivationID = "", "" })
	bad("order", "codes that do not ascend", func(u *capability.Usage) { slices.Reverse(u.Denials) })
	bad("denied-nothing", "a code that refused no line", func(u *capability.Usage) { u.Denials[0].Count = 0 })
	bad("user-denied", "denials of one user", func(u *capability.Usage) { u.User = "ana" })
	bad("most", "more seconds than 2^62", func(u *capability.Usage) { u.Seconds = capability.MaxUsed + 1 })
	bad("escape", "an escape sequence for a terminal in the user", func(u *capability.Usage) { u.User, u.Denials = "a\x1b[2J", nil })
}

func (s *set) requestFiles() {
	c := s.c
	as := func(name, description string, r capability.Request, change func([]byte) []byte) []byte {
		kid := AttestationKeyID(s.tpm.AK)
		var evidence []byte
		if _, _, err := c.SignRequest(&r, AlgTPMQuote, kid, func(d capability.Digest) ([]byte, error) {
			evidence = change(s.tpm.evidence(s.t, "request", d[:]))
			return evidence, nil
		}); err != nil {
			s.t.Fatal(err)
		}
		b := s.good("request-file", name, description, requestFileInput{r, kid, evidence}, nil)
		s.last().Digest = s.digestOf(b)
		return b
	}
	file := func(name, description string, r capability.Request) []byte {
		return as(name, description, r, func(evidence []byte) []byte { return evidence })
	}
	r := capability.Request{Version: 1, Hosts: []hostid.ID{s.appliance()}, Correlation: correlation(), Number: 1,
		Desired: []capability.Desired{{ActivationID: s.id(7), Count: 4}}, Alias: "line 4", Producer: digest(5)}
	good := file("request-file-activation", "an appliance asks for four copies of an activation ID; the evidence is a TPM's quote", r)
	s.tpmRequest = capability.Digest(unhex(s.last().Digest))
	file("request-file-every-field", "every field of a request, with evidence", s.fullRequest())
	as("request-file-event-log", "the evidence carries an event log, which does not replay: that is no flaw of the request", r, func(evidence []byte) []byte {
		return withLog(evidence, []byte("what firmware says it measured"))
	})
	as("request-file-intermediates", "the evidence carries two intermediates and no event log; neither is a certificate: that is no flaw of the request", r, func(evidence []byte) []byte {
		return withIntermediates(evidence, nil, []byte("what the maker wrote"), []byte("and more of it"))
	})
	as("request-file-intermediates-event-log", "the evidence carries as many intermediates as may be, of as many bytes, and an event log", r, func(evidence []byte) []byte {
		return withIntermediates(evidence, []byte("what firmware says it measured"), slices.Repeat([][]byte{make([]byte, 1024)}, 6)...)
	})

	bad := func(name, expect, description string, b []byte) {
		s.bad("request-file", "request-file-"+name, expect, description, b, nil)
	}
	read, err := c.ReadRequest(good)
	if err != nil {
		s.t.Fatal(err)
	}
	evidence, payload := read.Signature, c.Encode(&r)
	protected := c.Encode(header{Alg: AlgTPMQuote, KID: read.KID, Typ: TypRequest})
	make1 := func(e sign1) []byte { return append(requestMagic(), c.Encode(e)...) }
	sign := func(protected, payload []byte) []byte {
		d := sumOf(c.toBeSigned(protected, payload))
		return make1(sign1{Protected: protected, Payload: &payload, Signature: s.tpm.evidence(s.t, "request", d[:])})
	}

	bad("empty", "cut", "an empty file: whatever it was, its content is missing", nil)
	bad("cut-in-magic", "cut", "five bytes", good[:5])
	bad("cut-in-payload", "cut", "half of a good file", good[:len(good)/2])
	bad("cut-last-byte", "cut", "a good file without its last byte", good[:len(good)-1])
	bad("other-kind", "kind", "something else altogether", []byte("PK\x03\x04 not ours at all"))
	bad("magic-of-response", "kind", "a request under the magic of a response", append(responseMagic(), good[9:]...))
	bad("no-magic", "kind", "a bare COSE_Sign1", good[9:])
	bad("no-tag-18", "kind", "the COSE tag is missing", append(bytes.Clone(good[:8]), good[9:]...))
	bad("trailing-byte", "malformed", "one byte after a good file", append(bytes.Clone(good), 0))
	bad("nesting", "malformed", "300 arrays inside each other: refused before it can be seen that the last is cut", append(requestMagic(), bytes.Repeat([]byte{0x81}, 300)...))
	bad("oversize", "size", "a good file and 1 MiB of zeros", good)
	s.last().Pad = capability.MaxFile
	bad("payload-flipped", "signature", "one bit of the alias is another", s.flipIn(good, []byte("line 4"), -1))
	bad("kid-flipped", "signature", "one bit of the kid is another", s.flipIn(good, read.KID[:], 3))
	bad("evidence-flipped", "signature", "one bit of the TPM's signature is another", flip(good, -102))
	bad("quote-flipped", "signature", "one bit of the quoted clock is another", s.flipIn(good, unhex("0000000000001000"), 0))
	bad("pcr-flipped", "signature", "the PCR values are not the quoted ones", flip(good, -2))
	bad("host-of-another", "signature", "the evidence is good, but the first host ID is another machine's", func() []byte {
		o := r
		o.Hosts = []hostid.ID{{Type: hostid.TPMEK, Value: strings.Repeat("0F", 32)}}
		return sign(protected, c.Encode(&o))
	}())
	bad("evidence-of-another", "signature", "the quote is another TPM's", func() []byte {
		d := sumOf(c.toBeSigned(protected, payload))
		return make1(sign1{Protected: protected, Payload: &payload, Signature: newPaperTPM(s.t, 0x31).evidence(s.t, "request", d[:])})
	}())
	bad("evidence-for-session", "signature", "the quote was made for a serving key", func() []byte {
		d := sumOf(c.toBeSigned(protected, payload))
		return make1(sign1{Protected: protected, Payload: &payload, Signature: s.tpm.forged(s.t, "session", d[:], func(*forgery) {})})
	}())
	bad("evidence-too-long", "malformed", "evidence of 81921 bytes", make1(sign1{Protected: protected, Payload: &payload, Signature: make([]byte, capability.MaxQuoted+1)}))
	bad("event-log-empty", "malformed", "evidence with an event log of no bytes, which has another format byte", make1(sign1{Protected: protected, Payload: &payload, Signature: withLog(evidence, nil)}))
	bad("event-log-cut", "malformed", "evidence whose event log is cut", make1(sign1{Protected: protected, Payload: &payload, Signature: withLog(evidence, []byte("log"))[:len(evidence)+4]}))
	chained := func(log []byte, ders ...[]byte) []byte {
		return make1(sign1{Protected: protected, Payload: &payload, Signature: withIntermediates(evidence, log, ders...)})
	}
	bad("intermediates-none", "malformed", "evidence with no intermediates, which has another format byte", chained([]byte("log")))
	bad("intermediates-too-many", "malformed", "evidence with 7 intermediates", chained(nil, slices.Repeat([][]byte{{0x30, 0}}, 7)...))
	bad("intermediates-too-long", "malformed", "evidence with intermediates of 6145 bytes", chained(nil, make([]byte, 6144), []byte{0}))
	bad("intermediates-no-log", "malformed", "evidence with intermediates that ends before the length of the event log", make1(sign1{Protected: protected, Payload: &payload,
		Signature: append(slices.Concat([]byte{0x13}, evidence[1:], []byte{1}), sized([]byte("der"))...)}))
	bad("typ-response", "type", "typ is a response's", sign(c.Encode(header{Alg: AlgTPMQuote, KID: read.KID, Typ: TypResponse}), payload))
	bad("typ-missing", "malformed", "a protected header without typ", sign(c.Encode(map[int]any{1: AlgTPMQuote, 4: read.KID}), payload))
	bad("alg-ed25519", "malformed", "alg is Ed25519", sign(c.Encode(header{Alg: AlgEd25519, KID: read.KID, Typ: TypRequest}), payload))
	bad("alg-esp256", "malformed", "alg is ESP256, which is for a device key that asks an appliance", sign(c.Encode(header{Alg: AlgESP256, KID: read.KID, Typ: TypRequest}), payload))
	bad("no-kid", "malformed", "no kid", sign(c.Encode(header{Alg: AlgTPMQuote, Typ: TypRequest}), payload))
	bad("host-lower-case", "signature", "the host ID of the evidence, in lower case: another ID", func() []byte {
		o := r
		o.Hosts = []hostid.ID{{Type: hostid.TPMEK, Value: strings.ToLower(s.appliance().Value)}}
		return sign(protected, c.Encode(&o))
	}())
	bad("header-claims", "malformed", "claims in the protected header of a request", sign(c.Encode(header{Alg: AlgTPMQuote, KID: read.KID, Typ: TypRequest, Claims: &claims{Size: 1}}), payload))
	bad("header-crit", "malformed", "crit (2) in the protected header", sign(c.Encode(map[int]any{1: AlgTPMQuote, 2: []int{4}, 4: read.KID, 16: TypRequest}), payload))
	bad("header-unsorted", "malformed", "keys of the protected header out of order", sign(slices.Concat([]byte{0xa2, 0x10}, c.Encode(TypRequest), []byte{1}, c.Encode(AlgTPMQuote)), payload))
	bad("unprotected", "malformed", "a key certificate in the unprotected header of a request", make1(sign1{Protected: protected, Unprotected: unprotected{Certificate: []byte{1}}, Payload: &payload, Signature: evidence}))
	bad("detached", "malformed", "no payload", make1(sign1{Protected: protected, Signature: evidence}))
	bad("content-unsorted", "malformed", "a signed payload whose keys are out of order", sign(protected, s.swap(payload, []byte{1, 1}, []byte{4, 1})))
	bad("content-version", "malformed", "a signed request of version 2", sign(protected, s.swap(payload, []byte{1, 1, 2}, []byte{1, 2, 2})))
}

// withLog is evidence with an event log behind it.
func withLog(evidence, log []byte) []byte {
	return append(slices.Concat([]byte{0x12}, evidence[1:]), sized(log)...)
}

// withIntermediates is evidence with intermediates and an event log behind it.
func withIntermediates(evidence, log []byte, ders ...[]byte) []byte {
	b := append(slices.Concat([]byte{0x13}, evidence[1:]), byte(len(ders)))
	for _, der := range ders {
		b = append(b, sized(der)...)
	}
	return append(b, sized(log)...)
}

func (s *set) trusts() {
	root, _, err := keyPair(s.producerKeys())
	if err != nil {
		s.t.Fatal(err)
	}
	good := s.good("trust", "trust-bundle", "a producer's two root keys", Trust{"Example Works", root.Public}, nil)
	bad := func(name, expect, description string, b []byte) {
		s.bad("trust", "trust-"+name, expect, description, b, nil)
	}
	short := root.Public
	short.Ed25519 = short.Ed25519[:31]
	bad("short-key", "malformed", "an Ed25519 key of 31 bytes", s.c.EncodeTrust(&Trust{"Example Works", short}))
	bad("zeros", "malformed", "an Ed25519 key of zeros, which says that there is none", s.c.EncodeTrust(&Trust{"Example Works", PublicKeys{make([]byte, 32), root.Public.MLDSA87}}))
	bad("escape", "malformed", "the producer's name has an escape sequence for a terminal", s.c.EncodeTrust(&Trust{"a\x1b[2J", root.Public}))
	bad("one-key", "malformed", "no ML-DSA-87 key", s.c.EncodeTrust(&Trust{"Example Works", PublicKeys{Ed25519: root.Public.Ed25519}}))
	bad("cut", "cut", "half of a good bundle", good[:len(good)/2])
	bad("trailing-byte", "malformed", "one byte after a good bundle", append(bytes.Clone(good), 0))
	bad("kind", "kind", "a bundle under the magic of a request", append(requestMagic(), good[8:]...))
	bad("oversize", "size", "1 MiB after the magic", good[:8])
	s.last().Pad = capability.MaxFile
}

// producerKeys are a vector's keys for what a producer signs.
func (s *set) producerKeys() map[string]string {
	root, err := NewProducerKey(seed(1))
	if err != nil {
		s.t.Fatal(err)
	}
	return map[string]string{
		"rootSeed": hex.EncodeToString(seed(1)), "signingSeed": hex.EncodeToString(seed(2)), "contentKey": strings.Repeat("09", 32),
		"trust": hex.EncodeToString(s.c.EncodeTrust(&Trust{"Example Works", root.Public})),
	}
}

// judgeKeys are what a reader has: no seeds.
func judgeKeys(keys map[string]string) map[string]string {
	keys = maps.Clone(keys)
	for k := range keys {
		if strings.HasSuffix(k, "Seed") {
			delete(keys, k)
		}
	}
	return keys
}

// order is L, the order of Ed25519's group (RFC 8032, 5.1).
func order() *big.Int {
	l, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
	return l.Add(l, new(big.Int).Lsh(big.NewInt(1), 252))
}

// malleate gives the same signature with S + L, which careless verifiers take.
func malleate(sig []byte) []byte {
	le := bytes.Clone(sig[32:])
	slices.Reverse(le)
	n := new(big.Int).SetBytes(le)
	out := n.Add(n, order()).FillBytes(make([]byte, 32))
	slices.Reverse(out)
	return append(bytes.Clone(sig[:32]), out...)
}

func sumOf(b []byte) capability.Digest { return sha256.Sum256(b) }

func publicOf(seedHex string) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(unhex(seedHex)).Public().(ed25519.PublicKey)
}
