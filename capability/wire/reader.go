package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// reader takes items apart by hand, for what clients send with every request. It knows nothing but the deterministic form, so that what it took needs no
// encoding again and no comparison. At the first byte that it does not know it is lost, and gives zeros from there on: the library then decides, and words the error.
type reader struct {
	b    []byte // what is left; nothing once lost
	lost bool
}

// readByHand reads b into v, and says whether it did. A request that it did not read is zero.
func readByHand(b []byte, v any) bool {
	request, is := v.(*capability.Request)
	if !is || request == nil {
		return false
	}
	*request = capability.Request{}
	r := reader{b: b}
	r.request(request)
	if r.lost || len(r.b) > 0 {
		*request = capability.Request{}
		return false
	}
	return true
}

// request reads the fields that an appliance is asked with. A request for the back office has others, which are not known here.
func (r *reader) request(v *capability.Request) {
	for m := r.open(); r.next(&m); {
		switch m.key {
		case 1:
			v.Version = uint8(r.uint(math.MaxUint8))
		case 2:
			v.Hosts = make([]hostid.ID, r.array(leastMap))
			for i := range v.Hosts {
				r.host(&v.Hosts[i])
			}
		case 3:
			v.Correlation = r.correlation()
		case 4:
			v.Applied = r.uint(math.MaxUint64)
		case 5:
			v.Desired = make([]capability.Desired, r.array(leastDesired))
			for i := range v.Desired {
				r.desired(&v.Desired[i])
			}
		case 6:
			v.Operation = capability.Operation(r.uint(math.MaxUint8))
		case 7:
			v.Atomic = r.bool()
		case 8:
			v.User = r.text()
		case 9:
			v.Alias = r.text()
		case 10:
			v.DeviceType = r.text()
		case 11:
			v.Dictionary = r.pairs()
		case 12:
			v.Borrow = capability.Seconds(r.int())
		case 13:
			v.Granularity = uint8(r.uint(math.MaxUint8))
		case 14:
			v.Receipt = r.bytes()
		case 15:
			v.Idle = capability.Seconds(r.int())
		case 16:
			v.Undoes = r.correlation()
		default:
			r.lose()
		}
	}
}

// The fewest bytes of an element: what an array says of its length is held against them before it is believed.
const (
	leastMap     = 1 // all of it absent
	leastDesired = 5 // but for its version
)

func (r *reader) desired(v *capability.Desired) {
	versions := 0
	for m := r.open(); r.next(&m); {
		switch m.key {
		case 1:
			v.Feature = r.text()
		case 2:
			v.Version = r.version()
			versions++
		case 3:
			v.Count = uint32(r.uint(math.MaxUint32))
		case 4:
			v.Partial = r.bool()
		case 5:
			v.ActivationID = capability.ActivationID(r.text())
		case 6:
			v.Selectors = r.pairs()
		case 7:
			v.Wait = r.bool()
		default:
			r.lose()
		}
	}
	if versions == 0 { // it is there even where it is zero
		r.lose()
	}
}

func (r *reader) host(v *hostid.ID) {
	for m := r.open(); r.next(&m); {
		switch m.key {
		case 1:
			v.Type = hostid.Type(r.uint(math.MaxUint8))
		case 2:
			v.Value = r.text()
		default:
			r.lose()
		}
	}
}

func (r *reader) pairs() []capability.Pair {
	list := make([]capability.Pair, r.array(leastMap))
	for i := range list {
		for m := r.open(); r.next(&m); {
			switch m.key {
			case 1:
				list[i].Key = r.text()
			case 2:
				list[i].Value = r.text()
			default:
				r.lose()
			}
		}
	}
	return list
}

func (r *reader) version() (v capability.Version) {
	if r.head(array) != 2 {
		r.lose()
	}
	v.Major = uint32(r.number(math.MaxUint32))
	v.Minor = uint32(r.number(math.MaxUint32))
	return v
}

func (r *reader) correlation() (id capability.CorrelationID) {
	b := r.take(r.head(octets))
	if copy(id[:], b); len(b) != len(id) || id == (capability.CorrelationID{}) {
		r.lose()
	}
	return id
}

// inside is a map that is being read.
type inside struct {
	left uint64 // pairs to come
	key  uint64 // of the pair whose value comes next
}

func (r *reader) open() inside { return inside{left: r.head(mapping)} }

// next reads a key, which is above the one before, and says whether there was one. Key 0 is nowhere.
func (r *reader) next(m *inside) bool {
	if m.left == 0 {
		return false
	}
	m.left--
	k := r.head(unsigned)
	if k <= m.key {
		r.lose()
	}
	m.key = k
	return !r.lost
}

// What follows is the value of a pair, and never none: that would be absent.

func (r *reader) uint(limit uint64) uint64 {
	n := r.number(limit)
	if n == 0 {
		r.lose()
	}
	return n
}

func (r *reader) int() int64 {
	if len(r.b) > 0 && r.b[0]&^31 == negative {
		return ^int64(r.within(r.head(negative), math.MaxInt64))
	}
	return int64(r.uint(math.MaxInt64))
}

func (r *reader) bool() bool {
	if len(r.b) == 0 || r.b[0] != simpleTrue {
		r.lose()
		return false
	}
	r.b = r.b[1:]
	return true
}

func (r *reader) text() string {
	b := r.take(r.head(text))
	if len(b) == 0 || !utf8.Valid(b) {
		r.lose()
		return ""
	}
	return string(b)
}

func (r *reader) bytes() []byte {
	b := r.take(r.head(octets))
	if len(b) == 0 {
		r.lose()
	}
	return bytes.Clone(b)
}

// array is the length of one whose elements have at least least bytes each. They come next.
func (r *reader) array(least uint64) uint64 {
	n := r.head(array)
	if n == 0 || n > maxElements || n > uint64(len(r.b))/least {
		r.lose()
		return 0
	}
	return n
}

// number may be zero, as an element may.
func (r *reader) number(limit uint64) uint64 { return r.within(r.head(unsigned), limit) }

func (r *reader) within(n, limit uint64) uint64 {
	if n > limit {
		r.lose()
		return 0
	}
	return n
}

// head is the number in the head of an item of this major type.
func (r *reader) head(major byte) uint64 {
	if len(r.b) > 0 {
		if n := r.b[0] - major; n < 24 { // a byte below the major type wraps around, to more
			r.b = r.b[1:]
			return uint64(n)
		}
	}
	return r.longHead(major)
}

func (r *reader) longHead(major byte) uint64 {
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
	r.lose()
	return 0
}

// take is the next n bytes, where they are.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.lose()
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) lose() { r.b, r.lost = nil, true }
