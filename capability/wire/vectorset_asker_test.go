package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// What only who asked can judge: SPEC.md 11.3 of an answer, 8.4 of a response file. The programs have other words for each, and these classes for all.
var (
	errNotOurs = errors.New("good, and not for this reader")
	errLate    = errors.New("good, and too late or too old")
)

func long(n uint64) string { return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, n)) }

// numberOf is a number among the keys of a vector, or all of its 64 bits where it is not there.
func numberOf(v *vector, name string) uint64 {
	if v.Keys[name] == "" {
		return 1<<64 - 1
	}
	return binary.BigEndian.Uint64(unhex(v.Keys[name]))
}

// judgeAsker is the end of 11.3 for an answer to the request in the vector's keys.
func judgeAsker(c *Codec, v *vector, r *capability.Response) error {
	if v.Keys["request"] == "" {
		return nil
	}
	var q capability.Request
	if err := c.DecodeRequest(unhex(v.Keys["request"]), &q, capability.MaxFrame); err != nil {
		return fmt.Errorf("the vector's own request: %v", err)
	}
	switch {
	case r.Correlation != q.Correlation, r.For != q.Hosts[0], r.Key != capability.Digest(unhex(v.Keys["device"])):
		return errNotOurs
	case v.Keys["serial"] != "" && r.Serial != 0 && r.Serial < numberOf(v, "serial"), uint64(r.Time) > numberOf(v, "until"):
		return errLate
	}
	return nil
}

// asked are answers to a client that knows what it has asked, and as whom.
func (s *set) asked() {
	c, keys := s.c, servingKeys()
	r := s.clientRequest()
	keys["request"], keys["device"], keys["serial"], keys["until"] = hex.EncodeToString(c.Encode(&r)), hex.EncodeToString(sliceOf(digest(0xc1))), long(1), long(5000)
	in := answerInput{s.leaves(1), 0, 5000, 9}
	s.good("answer", "answer-asked", "the answer to the request of this client, in the last second of the appliance certificate, of the serial that the client keeps", in, keys)
	bad := func(name, expect, description string, change func(*capability.Response)) {
		in := answerInput{s.leaves(1), 0, 5000, 9}
		change(&in.Responses[0])
		a := in.answer(c, keys)
		s.bad("answer", "answer-asked-"+name, expect, description, c.Encode(&a), judgeKeys(keys))
	}
	bad("another", "not-ours", "an answer to another request", func(r *capability.Response) { r.Correlation[0]++ })
	bad("none", "not-ours", "an answer to no request", func(r *capability.Response) { r.Correlation = capability.CorrelationID{} })
	bad("host", "not-ours", "an answer for another host ID, by the key of this client", func(r *capability.Response) { r.For = hostid.ID{Type: hostid.String, Value: "press-7"} })
	bad("key", "not-ours", "an answer for this host ID, by another key", func(r *capability.Response) { r.Key[0]++ })
	bad("after", "late", "an answer from after the appliance certificate", func(r *capability.Response) { r.Time++ })
	older := maps.Clone(judgeKeys(keys))
	older["serial"] = long(2)
	a := in.answer(c, keys)
	s.bad("answer", "answer-asked-older", "late", "an answer below the serial of one that the client keeps", c.Encode(&a), older)
	undecided := s.leaves(1)
	undecided[0].Serial = 0
	keys = maps.Clone(keys)
	keys["serial"] = long(2)
	s.good("answer", "answer-asked-undecided", "an answer without a serial, by which nothing was decided: it is not older than any", answerInput{undecided, 0, 5000, 9}, keys)
}

// judgeReceiver is steps 5 and 8 of 8.4 for a machine of the vector's keys. Step 5 is judged before it opens anything.
func judgeReceiver(c *Codec, v *vector, cl Clear) (before, after error) {
	if v.Keys["now"] == "" {
		return nil, nil
	}
	switch {
	case !bytes.Equal(c.Encode(cl.For), unhex(v.Keys["host"])):
		before = errNotOurs
	case numberOf(v, "now") > uint64(cl.ApplyBefore):
		before = errLate
	case !bytes.Equal(cl.Request[:], unhex(v.Keys["request"])):
		after = errNotOurs
	}
	return before, after
}

// received are response files at a machine that knows who it is, what it wrote and what time it is.
func (s *set) received() {
	keys, r := s.producerKeys(), s.responseContent()
	keys["host"], keys["now"], keys["request"] = hex.EncodeToString(s.c.Encode(r.For)), long(5600), hex.EncodeToString(r.Request[:])
	in := responseFileInput{KeyCertificate{Name: "producer-2026-A", From: 1000, Until: 9000}, r, []byte("a wrapped key")}
	b := s.good("response-file", "response-file-received", "four copies for this machine, in answer to its request, in the last second in which they are taken", in, keys)
	bad := func(name, expect, description string, change func(keys map[string]string)) {
		k := judgeKeys(keys)
		change(k)
		s.bad("response-file", "response-file-received-"+name, expect, description, b, k)
	}
	bad("late", "late", "a second later", func(k map[string]string) { k["now"] = long(5601) })
	bad("elsewhere", "not-ours", "by another machine", func(k map[string]string) {
		k["host"] = hex.EncodeToString(s.c.Encode(hostid.ID{Type: hostid.TPMEK, Value: hostOf(newPaperTPM(s.t, 0x31).EK)}))
	})
	bad("host-type", "not-ours", "by a machine whose host ID has the same value and another type", func(k map[string]string) {
		k["host"] = hex.EncodeToString(s.c.Encode(hostid.ID{Type: hostid.DeviceKey, Value: r.For.Value}))
	})
	bad("not-asked", "not-ours", "by a machine that wrote another request", func(k map[string]string) { k["request"] = hex.EncodeToString(sliceOf(digest(0x10))) })
}
