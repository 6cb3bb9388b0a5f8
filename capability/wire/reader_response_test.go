package wire

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// ofClient says that r has only what an answer to a client has. A refusal has a code.
func ofClient(r *capability.Response) bool {
	rest := capability.Response{
		Version: r.Version, Status: r.Status, For: r.For, Serial: r.Serial, Correlation: r.Correlation, Time: r.Time, Lifetime: r.Lifetime, Rights: r.Rights, Lines: r.Lines,
		Denials: r.Denials, Policy: r.Policy, Salt: r.Salt, Hold: r.Hold, Key: r.Key,
	}
	return reflect.DeepEqual(rest, *r) && !slices.ContainsFunc(r.Lines, func(l capability.Line) bool {
		return l.Denial.Code == 0 && !reflect.DeepEqual(l.Denial, capability.Denial{})
	})
}

// agreeOnResponse is agree for a response.
func agreeOnResponse(t testing.TB, c *Codec, b []byte) (taken bool) {
	t.Helper()
	hand, library := capability.Response{Version: 9, Certificate: []byte{1}, Number: 5}, capability.Response{} // one that was used before
	taken = readByHand(b, &hand)
	err := c.readByLibrary(b, &library)
	switch {
	case taken && err != nil:
		t.Errorf("%x is taken by hand, and by the library: %v", b, err)
	case taken && !reflect.DeepEqual(hand, library):
		t.Errorf("%x is\n%+v by hand,\n%+v by the library", b, hand, library)
	case taken && !bytes.Equal(c.Encode(&hand), b):
		t.Errorf("%x is taken by hand and encoded as\n%x", b, c.Encode(&hand))
	case !taken && err == nil && ofClient(&library):
		t.Errorf("%x is taken by the library, and not by hand", b)
	case !taken && !reflect.DeepEqual(hand, capability.Response{}):
		t.Errorf("%x is not taken by hand, and leaves %+v", b, hand)
	}
	return taken
}

// realResponses are those of this test and of all vectors.
func realResponses(t testing.TB, c *Codec) [][]byte {
	own, full := granted(), *granted()
	own.For = hostid.OfDigest(hostid.DeviceKey, own.Key)
	full.Status, full.Hold = capability.StatusPartly, 1_900_000_100
	full.Policy = capability.Policy{Lease: 900, RenewPercent: 20, Holders: capability.HoldersNames, Tolerance: 60, ResponseLife: 86400, Granularity: 2, BorrowMaximum: 1 << 33, Duplicates: true}
	full.Rights[2].Vendor, full.Rights[3].Final, full.Lines[1].Status = "zoë", 1_999_999_999, capability.LinePartial
	denied := full
	denied.Lines = append(slices.Clone(full.Lines), capability.Line{Denial: capability.Denial{
		Code: capability.ErrNoSeat, Subject: "render", Asked: 1, Available: 2, Total: 300, Used: 70_000, Until: 1_900_000_000, Highest: capability.Version{Minor: 1}, Detail: "why",
		Holders: []capability.Holder{{Name: "press 4", Count: 1, Expiry: 1_900_000_000}, {}}, Position: 24,
	}})
	denied.Denials = []capability.Denial{{Code: capability.ErrHold}, {}}
	all := [][]byte{c.Encode(own), c.Encode(&full), c.Encode(&capability.Response{}), c.Encode(&denied), c.byLibrary(own)}
	for _, v := range readVectors(t) {
		var a Answer
		if b := v.bytes(); v.Kind == "answer" && c.Decode(b, &a, capability.MaxFrame) == nil {
			all = append(all, a.Response)
		}
	}
	return all
}

// Each response is cut at each byte; each byte is left out, has another before it, and is flipped.
func TestReaderAgreesOnHostileResponses(t *testing.T) {
	c := New()
	taken, all := 0, 0
	try := func(b []byte) {
		all++
		if agreeOnResponse(t, c, b) {
			taken++
		}
	}
	for n, b := range realResponses(t, c) {
		try(b)
		try(append(slices.Clone(b), 0))
		bits := []byte{0x01, 0x20, 0x80}
		if n < 2 {
			bits = []byte{0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80}
		}
		for i := 0; i < len(b) && !t.Failed(); i++ {
			try(b[:i])
			try(slices.Delete(slices.Clone(b), i, i+1))
			try(slices.Insert(slices.Clone(b), i, []byte{0x00, 0x18, 0x60, 0xa0, 0xf6, 0xff}[i%6]))
			for _, bit := range bits {
				bad := slices.Clone(b)
				bad[i] ^= bit
				try(bad)
			}
		}
	}
	if taken < 5000 || all < 2*taken {
		t.Errorf("%d of %d were taken: the test has lost its balance", taken, all)
	}
	for what, b := range map[string][]byte{"policy": {0xa2, 1, 1, 12, 0xa0}, "denial": {0xa2, 1, 1, 10, 0x81, 0xa1, 3, 0xa0}, "host": {0xa2, 1, 1, 3, 0xa0}} {
		if agreeOnResponse(t, c, b) {
			t.Errorf("an empty %s was taken", what)
		}
	}
	known := 0
	alone(reflect.TypeFor[capability.Response](), func(_ string, v reflect.Value) {
		if agreeOnResponse(t, c, c.Encode(v.Addr().Interface())) {
			known++
		}
	})
	if known < 60 {
		t.Errorf("%d of the responses with one field were taken", known)
	}
}

// FuzzResponseReader looks for a response that is read in two ways.
func FuzzResponseReader(f *testing.F) {
	c := New()
	for _, b := range realResponses(f, c) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { agreeOnResponse(t, c, b) })
}
