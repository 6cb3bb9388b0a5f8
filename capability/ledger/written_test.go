package ledger

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/leasehold/leasehold/capability/wire"
)

// fieldsAlone shows root to f with nothing set but one field in it, at every depth, for each value that is encoded in a way of its own.
func fieldsAlone(root reflect.Value, f func(path string)) {
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if name := v.Type().Field(i).Name; name != "_" {
					walk(path+"."+name, v.Field(i))
				}
			}
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			f(path)
			walk(path, v.Elem())
		case reflect.Slice:
			for n := range 3 {
				v.Set(reflect.MakeSlice(v.Type(), n, n))
				f(path)
			}
			walk(path+"[1]", v.Index(1))
		case reflect.Array:
			v.Index(v.Len() - 1).SetUint(1)
			f(path)
		case reflect.Bool:
			v.SetBool(true)
			f(path)
		case reflect.String:
			for _, s := range []string{"a", "é\x00", string(bytes.Repeat([]byte{'b'}, 300)), string(bytes.Repeat([]byte{'c'}, 3000))} {
				v.SetString(s)
				f(path)
			}
		default:
			for _, n := range []int64{1, 23, 24, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, 1<<63 - 1, -1, -24, -25, -1 << 63} {
				if v.CanUint() {
					v.SetUint(uint64(n) & (1<<v.Type().Bits() - 1))
				} else {
					v.SetInt(n)
				}
				f(path)
			}
		}
		v.SetZero()
	}
	walk("entry", root)
}

func TestEntriesByHand(t *testing.T) {
	c := wire.New()
	var e Entry
	n := 0
	look := func(path string) {
		n++
		// By value it is none of the types that are written by hand.
		if got, want := e.Encode(c), c.Encode(e); !bytes.Equal(got, want) {
			t.Errorf("%s: %.300x by hand, %.300x by the library", path, got, want)
		}
	}
	look("nothing")
	fieldsAlone(reflect.ValueOf(&e).Elem(), look)
	for _, e = range everything(t).entries {
		look("an entry")
		if e.Served != nil {
			served := *e.Served
			served.Leases = slices.Repeat(served.Leases, 40) // more than a Writer has room for
			e.Served = &served
			look("many leases")
		}
	}
	if n < 2000 {
		t.Errorf("%d values", n)
	}
}
