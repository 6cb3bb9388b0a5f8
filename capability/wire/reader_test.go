package wire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// everything is a request with every field that a client may send.
func everything() *capability.Request {
	r := typical()
	r.Applied, r.Operation, r.Atomic, r.User, r.Alias, r.DeviceType = 1<<32, capability.Undo, true, "zoë", "press 4", "press"
	r.Dictionary = []capability.Pair{{Key: "site", Value: "north"}, {Key: "line"}, {}}
	r.Borrow, r.Granularity, r.Receipt, r.Idle, r.Undoes = 86400, 2, bytes.Repeat([]byte{7}, 300), 65536, capability.CorrelationID{15: 1}
	r.Desired = append(r.Desired[:2], capability.Desired{}, capability.Desired{
		ActivationID: "7K2QF", Version: capability.Version{Major: 1<<32 - 1}, Count: 1 << 30, Partial: true, Wait: true, Selectors: []capability.Pair{{Key: "a", Value: "b"}, {Value: "c"}},
	})
	r.Hosts = append(r.Hosts[:1], hostid.ID{}, hostid.ID{Value: "only"}, hostid.ID{Type: 255})
	return r
}

// forOffice are the fields of a request that are for the back office.
func forOffice(t testing.TB, r *capability.Request) (fields []reflect.Value) {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		number, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("cbor"), ",")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("field %s: %v", v.Type().Field(i).Name, err)
		}
		if n >= 20 {
			fields = append(fields, v.Field(i))
		}
	}
	return fields
}

// ofClients says that r has no field for the back office.
func ofClients(t testing.TB, r *capability.Request) bool {
	return !slices.ContainsFunc(forOffice(t, r), func(f reflect.Value) bool { return !f.IsZero() })
}

// made is the encoding of a request of a client, made of b.
func made(t testing.TB, c *Codec, b []byte) []byte {
	var r capability.Request
	(&chooser{b}).fill(reflect.ValueOf(&r).Elem())
	for _, f := range forOffice(t, &r) {
		f.SetZero()
	}
	readable(reflect.ValueOf(&r).Elem())
	return c.byLibrary(&r)
}

// readable makes UTF-8 of the texts in v.
func readable(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.ToValidUTF8(v.String(), "\U0001F512"))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				readable(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			readable(v.Index(i))
		}
	}
}

// agree decodes b by hand and by the library. They take the same, but for what is not of clients, and make the same of it.
func agree(t testing.TB, c *Codec, b []byte) (taken bool) {
	t.Helper()
	hand, library := capability.Request{Version: 9, Receipt: []byte{1}, Number: 5}, capability.Request{} // one that was used before
	taken = readByHand(b, &hand)
	err := c.readByLibrary(b, &library)
	switch {
	case taken && err != nil:
		t.Errorf("%x is taken by hand, and by the library: %v", b, err)
	case taken && !reflect.DeepEqual(hand, library):
		t.Errorf("%x is\n%+v by hand,\n%+v by the library", b, hand, library)
	case taken && !bytes.Equal(c.byLibrary(&hand), b):
		t.Errorf("%x is taken by hand and encoded as\n%x", b, c.byLibrary(&hand))
	case !taken && err == nil && ofClients(t, &library):
		t.Errorf("%x is taken by the library, and not by hand", b)
	case !taken && !reflect.DeepEqual(hand, capability.Request{}):
		t.Errorf("%x is not taken by hand, and leaves %+v", b, hand)
	}
	return taken
}

// realRequests are those of this test and all bytes that the vectors have for one, good and bad.
func realRequests(t testing.TB, c *Codec) [][]byte {
	all := [][]byte{
		c.byLibrary(typical()), c.byLibrary(everything()), c.byLibrary(&capability.Request{}),
		c.byLibrary(&capability.Request{Borrow: -1, Idle: -1 << 63, Applied: 1<<64 - 1}),
		c.byLibrary(&capability.Request{Version: 24, Applied: 256, Borrow: 65535, Idle: 1<<63 - 1, Number: 1}),
	}
	for _, v := range readVectors(t) {
		switch b := v.bytes(); {
		case v.Kind == "request" && v.Pad == 0:
			all = append(all, b)
		case v.Kind == "frame" && len(b) > 6 && len(b) < 2000 && b[5] == byte(MessageRequest):
			all = append(all, b[6:])
		}
	}
	return all
}

// Each request is cut at each byte; each byte is left out, has another before it, and is flipped. Of the long ones it is every eleventh.
func TestReaderAgreesOnHostileBytes(t *testing.T) {
	c := New()
	taken, all := 0, 0
	try := func(b []byte) {
		all++
		if agree(t, c, b) {
			taken++
		}
	}
	for n, b := range realRequests(t, c) {
		try(b)
		try(append(slices.Clone(b), 0))
		stride, bits := 1, []byte{0x01, 0x20, 0x80}
		if n < 5 {
			bits = []byte{0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80}
		} else if len(b) > 500 {
			stride = 11
		}
		for i := 0; i < len(b) && !t.Failed(); i += stride {
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
	t.Logf("%d of %d were taken", taken, all)
}

func TestReaderKnowsEveryField(t *testing.T) {
	c := New()
	taken := 0
	alone(reflect.TypeFor[capability.Request](), func(path string, v reflect.Value) {
		if agree(t, c, c.byLibrary(v.Addr().Interface())) {
			taken++
		}
	})
	if taken < 80 {
		t.Errorf("%d were taken", taken)
	}
	for _, r := range []*capability.Request{typical(), everything()} {
		if !agree(t, c, c.byLibrary(r)) {
			t.Errorf("%+v was not taken", r)
		}
	}
	chance := rand.NewChaCha8([32]byte{7})
	for n := range 100 {
		b := make([]byte, 4*n)
		chance.Read(b)
		if request := made(t, c, b); !agree(t, c, request) {
			t.Errorf("%x was not taken", request)
		}
	}
	for _, v := range []any{(*capability.Request)(nil), (*capability.Response)(nil), new(Answer)} {
		if readByHand([]byte{0xa0}, v) {
			t.Errorf("a %T was taken", v)
		}
	}
}

// The forms that a decoder is easily too kind to, each in the first place that has it.
func TestReaderIsStrict(t *testing.T) {
	c := New()
	for name, in := range map[string]string{
		"one byte for 23":        "a1041817",
		"two bytes for 255":      "a1041900ff",
		"four bytes for 65535":   "a1041a0000ffff",
		"eight for 2^32-1":       "a1041b00000000ffffffff",
		"long length of a text":  "a108780161",
		"long length of a map":   "b8010101",
		"long length of a list":  "a1029801a0",
		"long key":               "a1180101",
		"key 0":                  "a10000",
		"keys in another order":  "a204010101",
		"a key twice":            "a204010401",
		"version above 255":      "a101190100",
		"operation above 255":    "a106190100",
		"count above 2^32-1":     "a10581a202820000031b0000000100000000",
		"major above 2^32-1":     "a10581a102821b000000010000000000",
		"zero":                   "a10400",
		"zero seconds":           "a10c00",
		"false":                  "a107f4",
		"null":                   "a107f6",
		"no text":                "a10860",
		"no bytes":               "a10e40",
		"no hosts":               "a10280",
		"no lines":               "a10580",
		"no pairs":               "a10b80",
		"correlation of zeros":   "a10350" + strings.Repeat("00", 16),
		"correlation too short":  "a1034f" + strings.Repeat("01", 15),
		"correlation too long":   "a10351" + strings.Repeat("01", 17),
		"a line without version": "a10581a10301",
		"nor with a long name":   "a10581a101656161616161",
		"a version of one":       "a10581a1028100",
		"a version of three":     "a10581a10283000000",
		"text that is not UTF-8": "a10861ff",
		"a surrogate":            "a10863eda080",
		"-2^63-1 seconds":        "a10c3b8000000000000000",
		"2^63 seconds":           "a10c1b8000000000000000",
		"a byte too many":        "a1010100",
		"no end":                 "bf0101ff",
		"bytes for a text":       "a1084161",
		"text for bytes":         "a10e6161",
		"nothing":                "",
		"an array":               "8101",
	} {
		b := unhex(in)
		if agree(t, c, b) {
			t.Errorf("%s: %x was taken", name, b)
		}
		var r capability.Request
		if err := c.Decode(b, &r, capability.MaxFrame); class(err) != "malformed" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An array has as many elements as the library lets it have, and none is made room for that its bytes cannot hold.
func TestReaderBounds(t *testing.T) {
	c := New()
	list := func(key byte, n int, element string, there int) []byte {
		head := binary.BigEndian.AppendUint16([]byte{0xa1, key, 0x99}, uint16(n))
		return append(head, bytes.Repeat(unhex(element), there)...)
	}
	for name, v := range map[string]struct {
		key     byte
		element string
	}{"hosts": {2, "a0"}, "desired": {5, "a102820000"}, "dictionary": {11, "a0"}} {
		if !agree(t, c, list(v.key, maxElements, v.element, maxElements)) {
			t.Errorf("%s: %d were not taken", name, maxElements)
		}
		for _, b := range [][]byte{
			list(v.key, maxElements+1, v.element, maxElements+1),
			list(v.key, maxElements, v.element, maxElements-1),
			list(v.key, maxElements, "a0", maxElements-1),
			append([]byte{0xa1, v.key, 0x9b, 0x40}, make([]byte, 7)...),
		} {
			var r capability.Request
			if n := testing.AllocsPerRun(10, func() { readByHand(b, &r) }); n > 0 || agree(t, c, b) {
				t.Errorf("%s: %.10x...: %v allocations", name, b, n)
			}
		}
	}
	b := c.byLibrary(typical())
	if err := c.Decode(b, new(capability.Request), len(b)-1); class(err) != "malformed" {
		t.Errorf("a byte above the limit: %v", err)
	}
}

// What was read does not change with the bytes it was read from. It costs the texts and the two lists, and nothing else.
func TestReaderKeepsCopies(t *testing.T) {
	c := New()
	b := c.byLibrary(everything())
	var r capability.Request
	if !readByHand(b, &r) {
		t.Fatal("not taken")
	}
	for i := range b {
		b[i] = 0xff
	}
	if !reflect.DeepEqual(&r, everything()) {
		t.Errorf("%+v after its bytes were overwritten", r)
	}
	b = c.byLibrary(typical())
	if n := testing.AllocsPerRun(100, func() { readByHand(b, &r) }); n > 11 {
		t.Errorf("%v allocations where three hosts, six features and two lists are 11", n)
	}
}

// FuzzReader looks for a request that is read in two ways: in bytes, and in the encodings of made requests.
func FuzzReader(f *testing.F) {
	c := New()
	for _, b := range realRequests(f, c) {
		f.Add(b, false)
	}
	f.Add(bytes.Repeat([]byte{1}, 500), true)
	f.Add(bytes.Repeat([]byte{3, 77, 2, 130, 1, 255, 9}, 300), true)
	f.Fuzz(func(t *testing.T, b []byte, make bool) {
		if make {
			b = made(t, c, b)
		}
		agree(t, c, b)
	})
}

// Texts that are kept are those that came, one after the other the same memory where they are the same, and none is lost when a block is full.
func TestKeptTexts(t *testing.T) {
	var texts Texts
	var want, got []string
	for n := range 3000 {
		s := strings.Repeat(string(rune('a'+n%26)), 1+n%40)
		if n == 1000 {
			s = strings.Repeat("x", 2*textBlock)
		}
		for range 2 {
			r := NewReader(New().Encode(s))
			kept := r.Kept(&texts)
			if !r.Done() {
				t.Fatalf("text %d was not read", n)
			}
			want, got = append(want, s), append(got, kept)
		}
		if a, b := got[2*n], got[2*n+1]; unsafe.StringData(a) != unsafe.StringData(b) {
			t.Errorf("text %d is in memory twice", n)
		}
	}
	if !slices.Equal(want, got) {
		t.Error("a text has changed")
	}
	for name, b := range map[string][]byte{"empty": {0x60}, "not UTF-8": {0x61, 0xff}, "cut": {0x62, 'a'}, "bytes": {0x41, 'a'}} {
		if r := NewReader(b); r.Kept(&texts) != "" || !r.Lost() {
			t.Errorf("%s: read", name)
		}
	}
}

// An item is skipped where it comes next, whole, and nothing else is.
func TestSkip(t *testing.T) {
	r := NewReader([]byte{0x61, 'a', 0x61, 'a', 0x61, 'b'})
	before := r.Ahead()
	r.Text()
	first := before[:len(before)-len(r.Ahead())]
	if !r.Skip(first) || r.Skip(first) || r.Skip(nil) || r.Lost() {
		t.Errorf("%x was not skipped once; %x is left", first, r.Ahead())
	}
	if r.Text() != "b" || !r.Done() || r.Skip(first) {
		t.Error("what comes behind it was not read")
	}
}
