package entitlement

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// twisted is a copy of a value with one thing changed somewhere in it: a number at an edge, a text that is none, a list without or with one more.
func twisted[T any](rng *rand.Rand, v T) T {
	c := reflect.New(reflect.TypeFor[T]()).Elem()
	c.Set(deepCopy(reflect.ValueOf(&v).Elem()))
	var ways []func()
	collect(rng, c, &ways)
	for range 1 + rng.IntN(2) {
		if len(ways) > 0 {
			ways[rng.IntN(len(ways))]()
		}
	}
	return c.Interface().(T)
}

// deepCopy shares nothing that can be changed.
func deepCopy(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			c.Set(reflect.New(v.Type().Elem()))
			c.Elem().Set(deepCopy(v.Elem()))
		}
	case reflect.Interface:
		if !v.IsNil() {
			c.Set(deepCopy(v.Elem()))
		}
	case reflect.Slice:
		if !v.IsNil() {
			c.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for n := range v.Len() {
				c.Index(n).Set(deepCopy(v.Index(n)))
			}
		}
	case reflect.Struct:
		for n := range v.NumField() {
			if v.Type().Field(n).IsExported() {
				c.Field(n).Set(deepCopy(v.Field(n)))
			}
		}
	}
	return c
}

// collect finds every way to change a value.
func collect(rng *rand.Rand, v reflect.Value, ways *[]func()) {
	add := func(f func()) { *ways = append(*ways, f) }
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			if v.Type() != reflect.TypeFor[*capability.Request]() { // without which nobody has anything to answer
				add(func() { v.SetZero() })
			}
			collect(rng, v.Elem(), ways)
			return
		}
		if v.Type().Elem().Kind() == reflect.Struct {
			add(func() { v.Set(reflect.New(v.Type().Elem())) })
		}
	case reflect.Interface: // of a command in a command: a struct
		if !v.IsNil() && v.Elem().Kind() == reflect.Struct {
			add(func() {
				inner := reflect.New(v.Elem().Type()).Elem()
				inner.Set(v.Elem())
				var within []func()
				collect(rng, inner, &within)
				if len(within) > 0 {
					within[rng.IntN(len(within))]()
				}
				v.Set(inner)
			})
		}
	case reflect.Struct:
		for n := range v.NumField() {
			if v.Type().Field(n).IsExported() {
				collect(rng, v.Field(n), ways)
			}
		}
	case reflect.Slice:
		add(func() { v.SetZero() })
		if v.Len() > 0 {
			more := deepCopy(v.Index(rng.IntN(v.Len())))
			add(func() { v.Set(reflect.Append(v, more)) })
			add(func() { v.SetLen(max(0, v.Len()-1)) })
		} else {
			add(func() { v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem()))) })
		}
		for n := range min(v.Len(), 40) {
			collect(rng, v.Index(n), ways)
		}
	case reflect.Array:
		add(func() { v.SetZero() })
		add(func() {
			if v.Len() == 0 {
				return
			}
			if e := v.Index(rng.IntN(v.Len())); e.Kind() == reflect.Uint8 {
				e.SetUint(e.Uint() ^ 1)
			}
		})
	case reflect.Bool:
		add(func() { v.SetBool(!v.Bool()) })
	case reflect.String:
		add(func() { v.SetString(hostileText(rng, v.String())) })
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		add(func() {
			most := uint64(math.MaxUint64) >> (64 - v.Type().Bits())
			edge := []uint64{0, 1, 2, 3, v.Uint() + 1, v.Uint() - 1, capability.MaxCount, capability.MaxCount + 1, capability.MaxCount - 1, most, most - 1, most / 2}
			v.SetUint(edge[rng.IntN(len(edge))] & most)
		})
	case reflect.Int32, reflect.Int64, reflect.Int:
		add(func() {
			edge := []int64{0, 1, -1, v.Int() + 1, v.Int() - 1, v.Int() + 40*day, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64}
			x := edge[rng.IntN(len(edge))]
			if v.OverflowInt(x) {
				x = int64(int32(x))
			}
			v.SetInt(x)
		})
	}
}

func hostileText(rng *rand.Rand, was string) string {
	bad := []string{"", " ", "\x00", "a\nb", "\x1b[31m", "\xff\xfe", "\u202e", strings.Repeat("x", capability.MaxName), strings.Repeat("x", capability.MaxName+1), strings.Repeat("y", capability.MaxText+1),
		was + " ", strings.ToLower(was), strings.ToUpper(was), "=1+1", "ACME", "Other", "Partner", "floating", "fixed", "first", "second", "clerk"}
	return bad[rng.IntN(len(bad))]
}
