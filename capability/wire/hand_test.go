package wire

import (
	"bytes"
	"crypto/sha256"
	"reflect"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// chooser makes values out of bytes: where the bytes have ended it chooses zero.
type chooser struct{ b []byte }

func (c *chooser) next() byte {
	if len(c.b) == 0 {
		return 0
	}
	n := c.b[0]
	c.b = c.b[1:]
	return n
}

// number is often at a border of the encoding.
func (c *chooser) number() uint64 {
	n := c.next()
	if n < 64 {
		return uint64(n)
	}
	return uint64(1)<<(n%64) - uint64(c.next()%3) + 1
}

func (c *chooser) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(c.next()%2 == 1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(c.number() & (1<<v.Type().Bits() - 1))
	case reflect.Int64:
		v.SetInt(int64(c.number()))
		if c.next()%4 == 1 {
			v.SetInt(-v.Int())
		}
	case reflect.String:
		v.SetString(strings.Repeat("aé\xff\x00"[c.next()%4:], int(c.next())))
	case reflect.Pointer:
		if c.next()%2 == 1 {
			v.Set(reflect.New(v.Type().Elem()))
			c.fill(v.Elem())
		}
	case reflect.Slice:
		if n := int(c.next()); n > 0 { // one above is empty, and not nil
			n = (n - 1) % 30
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				c.fill(v.Index(i))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			c.fill(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "_" {
				c.fill(v.Field(i))
			}
		}
	default:
		panic("no value of " + v.Type().String())
	}
}

// alone gives a value for each field of v's type, of fields within fields too, in which nothing but that field is set.
func alone(v reflect.Type, f func(path string, v reflect.Value)) {
	var walk func(path string, v reflect.Value)
	root := reflect.New(v).Elem()
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if name := v.Type().Field(i).Name; name != "_" {
					walk(path+"."+name, v.Field(i))
				}
			}
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
			f(path+" empty", root)
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			f(path+" of one", root)
			walk(path+"[0]", v.Index(0))
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			f(path+" set", root)
			walk(path, v.Elem())
		default:
			for _, b := range []byte{1, 2, 100, 200, 255} {
				(&chooser{bytes.Repeat([]byte{b}, 64)}).fill(v)
				f(path, root)
			}
		}
		v.SetZero()
	}
	walk(v.Name(), root)
}

// allByLibrary is v by the library, which knows nothing of what is not said twice.
func (c *Codec) allByLibrary(v any) []byte {
	if r, is := v.(*capability.Response); is && r != nil && saysWhom(r) {
		once := *r
		once.For = hostid.ID{}
		v = &once
	}
	return c.byLibrary(v)
}

func TestHandWritesEveryField(t *testing.T) {
	c := New()
	for _, message := range []reflect.Type{reflect.TypeFor[capability.Request](), reflect.TypeFor[capability.Response]()} {
		n := 0
		alone(message, func(path string, v reflect.Value) {
			n++
			if got, want := c.Encode(v.Addr().Interface()), c.allByLibrary(v.Addr().Interface()); !bytes.Equal(got, want) {
				t.Errorf("%s: %.300x by hand, %.300x by the library", path, got, want)
			}
		})
		if n < 100 {
			t.Errorf("%s: %d values", message, n)
		}
	}
}

func TestHandWritesWhatIsThere(t *testing.T) {
	c := New()
	full := bytes.Repeat([]byte{3, 77, 2, 130, 1, 255, 9}, 5000)
	var r capability.Request
	(&chooser{full}).fill(reflect.ValueOf(&r).Elem())
	s := (&set{t: t, c: c, tpm: newPaperTPM(t, 0x21)}).fullResponse()
	var filled capability.Response
	(&chooser{full}).fill(reflect.ValueOf(&filled).Elem())
	for _, v := range []any{&capability.Request{}, &capability.Response{}, (*capability.Request)(nil), (*capability.Response)(nil), typical(), granted(), &r, &s, &filled} {
		if got, want := c.Encode(v), c.allByLibrary(v); !bytes.Equal(got, want) {
			t.Errorf("%T: %.300x by hand, %.300x by the library", v, got, want)
		}
	}
	for _, v := range []any{typical(), granted()} {
		if n := testing.AllocsPerRun(100, func() { c.Encode(v) }); n > 1 {
			t.Errorf("%T: %v allocations where its bytes are one", v, n)
		}
	}
}

func FuzzHand(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add(bytes.Repeat([]byte{1}, 500), true)
	f.Add(bytes.Repeat([]byte{3, 77, 2, 130, 1, 255, 9}, 300), false)
	f.Add(bytes.Repeat([]byte{3, 77, 2, 130, 1, 255, 9}, 300), true)
	c := New()
	f.Fuzz(func(t *testing.T, b []byte, response bool) {
		var v any = new(capability.Request)
		if response {
			v = new(capability.Response)
		}
		(&chooser{b}).fill(reflect.ValueOf(v).Elem())
		want := c.allByLibrary(v)
		if got := c.Encode(v); !bytes.Equal(got, want) {
			t.Errorf("%.300x by hand, %.300x by the library", got, want)
		}
		if r, is := v.(*capability.Request); is && c.RequestDigest(r) != sha256.Sum256(want) {
			t.Errorf("the digest of %.300x is another", want)
		}
	})
}
