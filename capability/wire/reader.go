package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// Reader takes items apart by hand, for what every request brings and what is read a million times in a start. It knows nothing but the deterministic form, so that what it took needs no
// encoding again and no comparison. At the first byte that it does not know it is lost, and gives zeros from there on: the library then decides, and words the error.
type Reader struct {
	b    []byte // what is left; nothing once lost
	lost bool
}

// NewReader reads b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Lost says that a byte was not known.
func (r *Reader) Lost() bool { return r.lost }

// Done says that all was read and known.
func (r *Reader) Done() bool { return !r.lost && len(r.b) == 0 }

// readByHand reads b into v, and says whether it did. A message that it did not read is zero.
func readByHand(b []byte, v any) bool {
	r := NewReader(b)
	switch v := v.(type) {
	case *capability.Request:
		if v != nil {
			*v = capability.Request{}
			if r.request(v); r.Done() {
				return true
			}
			*v = capability.Request{}
		}
	case *capability.Response:
		if v != nil {
			*v = capability.Response{}
			if r.Response(v); r.Done() {
				return true
			}
			*v = capability.Response{}
		}
	}
	return false
}

// request reads the fields that an appliance is asked with. A request for the back office has others, which are not known here.
func (r *Reader) request(v *capability.Request) {
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			v.Version = uint8(r.Uint(math.MaxUint8))
		case 2:
			v.Hosts = make([]hostid.ID, r.Array(leastMap))
			for i := range v.Hosts {
				r.host(&v.Hosts[i])
			}
		case 3:
			v.Correlation = r.Correlation()
		case 4:
			v.Applied = r.Uint(math.MaxUint64)
		case 5:
			v.Desired = make([]capability.Desired, r.Array(leastDesired))
			for i := range v.Desired {
				r.desired(&v.Desired[i])
			}
		case 6:
			v.Operation = capability.Operation(r.Uint(math.MaxUint8))
		case 7:
			v.Atomic = r.Bool()
		case 8:
			v.User = r.Text()
		case 9:
			v.Alias = r.Text()
		case 10:
			v.DeviceType = r.Text()
		case 11:
			v.Dictionary = r.pairs()
		case 12:
			v.Borrow = capability.Seconds(r.Int())
		case 13:
			v.Granularity = uint8(r.Uint(math.MaxUint8))
		case 14:
			v.Receipt = r.Bytes()
		case 15:
			v.Idle = capability.Seconds(r.Int())
		case 16:
			v.Undoes = r.Correlation()
		default:
			r.Lose()
		}
	}
}

// The fewest bytes of an element: what an array says of its length is held against them before it is believed.
const (
	leastMap     = 1 // all of it absent
	leastDesired = 5 // but for its version
)

// Response reads the fields of an answer to a client. A response of the back office has others, which are not known here.
func (r *Reader) Response(v *capability.Response) {
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			v.Version = uint8(r.Uint(math.MaxUint8))
		case 2:
			v.Status = capability.Status(r.Uint(math.MaxUint8))
		case 3:
			v.For = r.Host()
		case 4:
			v.Serial = r.Uint(math.MaxUint64)
		case 5:
			v.Correlation = r.Correlation()
		case 6:
			v.Time = capability.Time(r.Int())
		case 7:
			v.Lifetime = capability.Seconds(r.Int())
		case 8:
			v.Rights = make([]capability.Right, r.Array(leastDesired))
			for i := range v.Rights {
				r.right(&v.Rights[i])
			}
		case 10:
			v.Lines = make([]capability.Line, r.Array(leastMap))
			for i := range v.Lines {
				r.line(&v.Lines[i])
			}
		case 11:
			v.Denials = make([]capability.Denial, r.Array(leastDesired))
			for i := range v.Denials {
				r.denial(&v.Denials[i])
			}
		case 12:
			r.policy(&v.Policy)
		case 13:
			v.Salt = r.Correlation()
		case 14:
			v.Hold = capability.Time(r.Int())
		case 15:
			v.Key = r.Digest()
		default:
			r.Lose()
		}
	}
	if !ForKey(v) {
		r.Lose()
	}
}

func (r *Reader) right(v *capability.Right) {
	versions := 0
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			v.Feature = r.Text()
		case 2:
			v.Version = r.Version()
			versions++
		case 3:
			v.Count = uint32(r.Uint(math.MaxUint32))
		case 4:
			v.Expiry = capability.Time(r.Int())
		case 5:
			v.Final = capability.Time(r.Int())
		case 6:
			v.Vendor = r.Text()
		default:
			r.Lose()
		}
	}
	if versions == 0 {
		r.Lose()
	}
}

func (r *Reader) line(v *capability.Line) {
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			v.Status = capability.LineStatus(r.Uint(math.MaxUint8))
		case 2:
			v.Count = uint32(r.Uint(math.MaxUint32))
		case 3:
			if r.denial(&v.Denial); v.Denial.Code == 0 {
				r.Lose()
			}
		default:
			r.Lose()
		}
	}
}

func (r *Reader) denial(v *capability.Denial) {
	versions := 0
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			v.Code = capability.Code(r.Uint(math.MaxUint16))
		case 2:
			v.Subject = r.Text()
		case 3:
			v.Asked = uint32(r.Uint(math.MaxUint32))
		case 4:
			v.Available = uint32(r.Uint(math.MaxUint32))
		case 5:
			v.Total = uint32(r.Uint(math.MaxUint32))
		case 6:
			v.Used = uint32(r.Uint(math.MaxUint32))
		case 7:
			v.Until = capability.Time(r.Int())
		case 8:
			v.Highest = r.Version()
			versions++
		case 9:
			v.Detail = r.Text()
		case 10:
			v.Holders = make([]capability.Holder, r.Array(leastMap))
			for i := range v.Holders {
				r.holder(&v.Holders[i])
			}
		case 11:
			v.Position = uint32(r.Uint(math.MaxUint32))
		default:
			r.Lose()
		}
	}
	if versions == 0 {
		r.Lose()
	}
}

func (r *Reader) holder(v *capability.Holder) {
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			v.Name = r.Text()
		case 2:
			v.Count = uint32(r.Uint(math.MaxUint32))
		case 3:
			v.Expiry = capability.Time(r.Int())
		default:
			r.Lose()
		}
	}
}

func (r *Reader) policy(v *capability.Policy) {
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			v.Lease = capability.Seconds(r.Int())
		case 2:
			v.RenewPercent = uint8(r.Uint(math.MaxUint8))
		case 3:
			v.Holders = capability.HolderPolicy(r.Uint(math.MaxUint8))
		case 4:
			v.Tolerance = capability.Seconds(r.Int())
		case 5:
			v.ResponseLife = capability.Seconds(r.Int())
		case 6:
			v.Granularity = uint8(r.Uint(math.MaxUint8))
		case 7:
			v.BorrowMaximum = capability.Seconds(r.Int())
		case 8:
			v.Duplicates = r.Bool()
		case 9:
			v.Binding = hostid.Rule(r.Uint(math.MaxUint8))
		case 10:
			v.Grace = capability.Seconds(r.Int())
		case 11:
			v.Dongle = r.Host()
		case 35:
			v.Detail = r.Bool()
		case 36:
			v.States = r.Bool()
		default:
			r.Lose()
		}
	}
	if *v == (capability.Policy{}) {
		r.Lose()
	}
}

func (r *Reader) desired(v *capability.Desired) {
	versions := 0
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			v.Feature = r.Text()
		case 2:
			v.Version = r.Version()
			versions++
		case 3:
			v.Count = uint32(r.Uint(math.MaxUint32))
		case 4:
			v.Partial = r.Bool()
		case 5:
			v.ActivationID = capability.ActivationID(r.Text())
		case 6:
			v.Selectors = r.pairs()
		case 7:
			v.Wait = r.Bool()
		default:
			r.Lose()
		}
	}
	if versions == 0 { // it is there even where it is zero
		r.Lose()
	}
}

func (r *Reader) host(v *hostid.ID) {
	for m := r.Open(); r.Next(&m); {
		switch m.Key {
		case 1:
			v.Type = hostid.Type(r.Uint(math.MaxUint8))
		case 2:
			v.Value = r.Text()
		default:
			r.Lose()
		}
	}
}

func (r *Reader) pairs() []capability.Pair {
	list := make([]capability.Pair, r.Array(leastMap))
	for i := range list {
		for m := r.Open(); r.Next(&m); {
			switch m.Key {
			case 1:
				list[i].Key = r.Text()
			case 2:
				list[i].Value = r.Text()
			default:
				r.Lose()
			}
		}
	}
	return list
}

// Version is a version, zero or not.
func (r *Reader) Version() (v capability.Version) {
	r.Tuple(2)
	v.Major = uint32(r.Number(math.MaxUint32))
	v.Minor = uint32(r.Number(math.MaxUint32))
	return v
}

// Host is one that is there, so it is not zero.
func (r *Reader) Host() (id hostid.ID) {
	if r.host(&id); id == (hostid.ID{}) {
		r.Lose()
	}
	return id
}

// Correlation is 16 bytes that are not all zero.
func (r *Reader) Correlation() (id capability.CorrelationID) {
	b := r.take(r.head(octets))
	if copy(id[:], b); len(b) != len(id) || id == (capability.CorrelationID{}) {
		r.Lose()
	}
	return id
}

// Digest is 32 bytes that are not all zero.
func (r *Reader) Digest() (d capability.Digest) {
	b := r.take(r.head(octets))
	if copy(d[:], b); len(b) != len(d) || d == (capability.Digest{}) {
		r.Lose()
	}
	return d
}

// Fields is a map that is being read.
type Fields struct {
	left uint64 // pairs to come
	Key  uint64 // of the pair whose value comes next
}

// Open begins a map.
func (r *Reader) Open() Fields { return Fields{left: r.head(mapping)} }

// Next reads a key, which is above the one before, and says whether there was one. Key 0 is nowhere.
func (r *Reader) Next(m *Fields) bool {
	if m.left == 0 {
		return false
	}
	m.left--
	k := r.head(unsigned)
	if k <= m.Key {
		r.Lose()
	}
	m.Key = k
	return !r.lost
}

// The value of a pair is never none: that would be absent.

// Uint is a number from 1 to limit.
func (r *Reader) Uint(limit uint64) uint64 {
	n := r.Number(limit)
	if n == 0 {
		r.Lose()
	}
	return n
}

// Int is a number that is not zero.
func (r *Reader) Int() int64 {
	n := r.Signed()
	if n == 0 {
		r.Lose()
	}
	return n
}

// Bool is true.
func (r *Reader) Bool() bool {
	if len(r.b) == 0 || r.b[0] != simpleTrue {
		r.Lose()
		return false
	}
	r.b = r.b[1:]
	return true
}

// Text is not empty.
func (r *Reader) Text() string {
	b := r.take(r.head(text))
	if len(b) == 0 || !utf8.Valid(b) {
		r.Lose()
		return ""
	}
	return string(b)
}

// Shared is Text, with one copy of those that are equal: seen has them.
func (r *Reader) Shared(seen map[string]string) string {
	b := r.take(r.head(text))
	if s, ok := seen[string(b)]; ok {
		return s
	}
	if len(b) == 0 || !utf8.Valid(b) {
		r.Lose()
		return ""
	}
	s := string(b)
	seen[s] = s
	return s
}

// Texts keeps texts together that stay in memory as long as each other: a million of them are some thousand blocks. The zero value has none; it is not copied.
type Texts struct {
	block strings.Builder
	last  string
}

const textBlock = 16 << 10

func (t *Texts) keep(b []byte) string {
	if t.last == string(b) {
		return t.last
	}
	if t.block.Cap()-t.block.Len() < len(b) {
		t.block.Reset()
		t.block.Grow(max(textBlock, len(b)))
	}
	from := t.block.Len()
	t.block.Write(b)
	t.last = t.block.String()[from:]
	return t.last
}

// Kept is Text, in a block of texts, and the same memory where it is the one that was kept before.
func (r *Reader) Kept(texts *Texts) string {
	b := r.take(r.head(text))
	if len(b) == 0 || !utf8.Valid(b) {
		r.Lose()
		return ""
	}
	return texts.keep(b)
}

// Ahead is what is left.
func (r *Reader) Ahead() []byte { return r.b }

// Skip goes past an item that was read before, where the next one has the same bytes.
func (r *Reader) Skip(item []byte) bool {
	if len(item) == 0 || !bytes.HasPrefix(r.b, item) {
		return false
	}
	r.b = r.b[len(item):]
	return true
}

// Bytes are a copy, and not empty.
func (r *Reader) Bytes() []byte {
	b := r.take(r.head(octets))
	if len(b) == 0 {
		r.Lose()
	}
	return bytes.Clone(b)
}

// Array is the length of one whose elements have at least least bytes each. They come next.
func (r *Reader) Array(least uint64) uint64 {
	n := r.head(array)
	if n == 0 || n > maxElements || n > uint64(len(r.b))/least {
		r.Lose()
		return 0
	}
	return n
}

// Elements of an array are always there, so they may be zero.

// Tuple begins an array of n elements.
func (r *Reader) Tuple(n uint64) {
	if r.head(array) != n {
		r.Lose()
	}
}

// Number is one from 0 to limit.
func (r *Reader) Number(limit uint64) uint64 { return r.within(r.head(unsigned), limit) }

// Signed is any number.
func (r *Reader) Signed() int64 {
	if len(r.b) > 0 && r.b[0]&^31 == negative {
		return ^int64(r.within(r.head(negative), math.MaxInt64))
	}
	return int64(r.Number(math.MaxInt64))
}

// Either is true or false.
func (r *Reader) Either() bool {
	if len(r.b) > 0 && r.b[0] == simpleFalse {
		r.b = r.b[1:]
		return false
	}
	return r.Bool()
}

func (r *Reader) within(n, limit uint64) uint64 {
	if n > limit {
		r.Lose()
		return 0
	}
	return n
}

// head is the number in the head of an item of this major type.
func (r *Reader) head(major byte) uint64 {
	if len(r.b) > 0 {
		if n := r.b[0] - major; n < 24 { // a byte below the major type wraps around, to more
			r.b = r.b[1:]
			return uint64(n)
		}
	}
	return r.longHead(major)
}

func (r *Reader) longHead(major byte) uint64 {
	if len(r.b) > 0 {
		b := r.b[1:]
		var n, least uint64 // below least a shorter head would do
		width := 0
		switch r.b[0] - major {
		case 24:
			if width = 1; len(b) >= width {
				n, least = uint64(b[0]), 24
			}
		case 25:
			if width = 2; len(b) >= width {
				n, least = uint64(binary.BigEndian.Uint16(b)), math.MaxUint8+1
			}
		case 26:
			if width = 4; len(b) >= width {
				n, least = uint64(binary.BigEndian.Uint32(b)), math.MaxUint16+1
			}
		case 27:
			if width = 8; len(b) >= width {
				n, least = binary.BigEndian.Uint64(b), math.MaxUint32+1
			}
		}
		if least > 0 && n >= least {
			r.b = b[width:]
			return n
		}
	}
	r.Lose()
	return 0
}

// take is the next n bytes, where they are.
func (r *Reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.Lose()
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// Lose says that what is read is not known here.
func (r *Reader) Lose() { r.b, r.lost = nil, true }
