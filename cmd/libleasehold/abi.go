package main

// #include <string.h>
// #include "leasehold.h"
// #include "thread.h"
//
// // What leasehold.h calls const; the compiler compares its prototypes with those that are made from the functions below.
// typedef const char leasehold_string;
// typedef const leasehold_options leasehold_options_given;
// typedef const leasehold_usage leasehold_usage_given;
// typedef const leasehold_terms leasehold_terms_given;
import "C"

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/cgo"
	"time"
	"unsafe"

	"github.com/leasehold/leasehold/capability"
)

// answer runs what was asked for, and keeps for the thread what it met.
func answer(f func() error) C.int32_t {
	err := guard(f)
	met := C.leasehold_met_here() // the goroutine of a call from C stays on its thread
	if err == nil {
		met.facts.code = 0
		return 0
	}
	no := explain(err)
	met.facts = C.leasehold_error{code: C.int32_t(no.Code), position: C.uint32_t(no.Position), asked: C.int64_t(no.Asked), available: C.int64_t(no.Available),
		total: C.int64_t(no.Total), used: C.int64_t(no.Used), until: C.int64_t(no.Until)}
	for i, text := range []string{no.sentence, no.next, no.holders} {
		met.length[i] = C.size_t(put(bytesOf(&met.text[i][0], C.LEASEHOLD_TEXT), text))
	}
	return met.facts.code
}

// bytesOf is a buffer of the caller.
func bytesOf(b *C.char, size C.size_t) []byte {
	if b == nil {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(b)), int(min(size, math.MaxInt32)))
}

// text is a string of the caller, which may be absent.
func text(what string, s *C.leasehold_string) (string, error) {
	if s == nil {
		return "", nil
	}
	n := C.strnlen((*C.char)(s), maxArgument+1)
	if n > maxArgument {
		return "", fmt.Errorf("%s of more than %d bytes", what, maxArgument)
	}
	return C.GoStringN((*C.char)(s), C.int(n)), nil
}

// sized refuses a structure that this library does not know.
func sized(what string, got C.size_t, want uintptr) error {
	if uintptr(got) != want {
		return fmt.Errorf("%s says that it has %d bytes where this library knows one of %d: set size, and compare leasehold_abi() with LEASEHOLD_ABI", what, got, want)
	}
	return nil
}

func missing(what string) error { return fmt.Errorf("%s is NULL", what) }

// of is what a handle stands for.
func of[T any](h C.uint64_t) (v T, err error) {
	defer func() {
		if recover() != nil { // package cgo knows no other answer
			err = errHandle
		}
	}()
	v, ok := cgo.Handle(h).Value().(T)
	if !ok {
		err = errHandle
	}
	return v, err
}

// drop takes a handle back. An error: it is taken back already.
func drop(h C.uint64_t) (err error) {
	defer func() {
		if recover() != nil {
			err = errHandle
		}
	}()
	cgo.Handle(h).Delete()
	return nil
}

//export leasehold_abi
func leasehold_abi() C.int32_t { return C.LEASEHOLD_ABI }

//export leasehold_open
func leasehold_open(options *C.leasehold_options_given, out *C.leasehold_client) C.int32_t {
	return answer(func() error {
		if out == nil {
			return missing("client")
		}
		*out = 0
		if options == nil {
			return missing("options")
		}
		if err := sized("options", options.size, unsafe.Sizeof(*options)); err != nil {
			return err
		}
		var s settings
		for _, a := range []struct {
			what string
			from *C.char
			to   *string
		}{
			{"servers", options.servers, &s.servers}, {"trust_file", options.trust_file, &s.trustFile}, {"directory", options.directory, &s.directory},
			{"user", options.user, &s.user}, {"alias", options.alias, &s.alias}, {"device_type", options.device_type, &s.deviceType},
		} {
			var err error
			if *a.to, err = text(a.what, (*C.leasehold_string)(a.from)); err != nil {
				return err
			}
		}
		if options.trust != nil {
			if options.trust_size > maxTrust {
				return fmt.Errorf("trust of %d bytes where at most %d are allowed", options.trust_size, maxTrust)
			}
			s.trust = C.GoBytes(options.trust, C.int(options.trust_size))
		}
		var err error
		if s.borrow, err = length("borrow_s", options.borrow_s, time.Second); err != nil {
			return err
		}
		if s.timeout, err = length("timeout_ms", options.timeout_ms, time.Millisecond); err != nil {
			return err
		}
		opened, err := open(s)
		if err == nil {
			*out = C.leasehold_client(cgo.NewHandle(opened))
		}
		return err
	})
}

// length is a time that a caller gives as a number.
func length(what string, n C.int64_t, unit time.Duration) (time.Duration, error) {
	if n < 0 || int64(n) > math.MaxInt64/int64(unit) {
		return 0, fmt.Errorf("%s is %d, which is no length of time", what, n)
	}
	return time.Duration(n) * unit, nil
}

//export leasehold_acquire
func leasehold_acquire(c C.leasehold_client, feature *C.leasehold_string, count, wait C.int64_t, out *C.leasehold_lease) C.int32_t {
	return acquire(c, feature, out, func() (t terms, err error) {
		t.count = int64(count)
		t.wait, err = length("wait_ms", wait, time.Millisecond)
		return t, err
	})
}

//export leasehold_acquire_as
func leasehold_acquire_as(c C.leasehold_client, feature *C.leasehold_string, given *C.leasehold_terms_given, out *C.leasehold_lease) C.int32_t {
	return acquire(c, feature, out, func() (t terms, err error) {
		if given == nil {
			return t, missing("terms")
		}
		if err := sized("terms", given.size, unsafe.Sizeof(*given)); err != nil {
			return t, err
		}
		t.count = int64(given.count)
		if t.wait, err = length("wait_ms", given.wait_ms, time.Millisecond); err != nil {
			return t, err
		}
		if t.borrow, err = length("borrow_s", given.borrow_s, time.Second); err != nil {
			return t, err
		}
		if t.partial, err = flag("partial", given.partial); err != nil {
			return t, err
		}
		t.keep, err = flag("keep", given.keep)
		return t, err
	})
}

// flag is a yes or no of a caller: another number is of memory that nobody has set.
func flag(what string, n C.int32_t) (bool, error) {
	if n != 0 && n != 1 {
		return false, fmt.Errorf("%s is %d where 0 or 1 is wanted", what, n)
	}
	return n == 1, nil
}

// acquire is both of them, once it is known on which terms.
func acquire(c C.leasehold_client, feature *C.leasehold_string, out *C.leasehold_lease, given func() (terms, error)) C.int32_t {
	return answer(func() error {
		if out == nil {
			return missing("lease")
		}
		*out = 0
		s, name, err := asked(c, feature)
		if err != nil {
			return err
		}
		t, err := given()
		if err != nil {
			return err
		}
		h, err := s.acquire(name, t, func(l *held) uint64 { return uint64(cgo.NewHandle(l)) })
		*out = C.leasehold_lease(h)
		return err
	})
}

// asked is the client and the feature that a call is about.
func asked(c C.leasehold_client, feature *C.leasehold_string) (*session, string, error) {
	s, err := of[*session](c)
	if err != nil {
		return nil, "", err
	}
	if feature == nil {
		return nil, "", missing("feature")
	}
	name, err := text("feature", feature)
	return s, name, err
}

//export leasehold_look
func leasehold_look(h C.leasehold_lease, out *C.leasehold_state) C.int32_t {
	return answer(func() error {
		if out == nil {
			return missing("state")
		}
		if err := sized("state", out.size, unsafe.Sizeof(*out)); err != nil {
			return err
		}
		l, err := of[*held](h)
		if err != nil {
			return err
		}
		out.held, out.why, out.count, out.expiry = 1, 0, C.int64_t(l.Count()), C.int64_t(l.Expiry().Unix())
		if why := l.Err(); why != nil {
			out.held, out.why = 0, C.int32_t(explain(why).Code)
		}
		return nil
	})
}

//export leasehold_notice
func leasehold_notice(h C.leasehold_lease, buffer *C.char, size C.size_t) C.int32_t {
	return answer(func() error {
		if buffer == nil || size == 0 {
			return missing("buffer")
		}
		l, err := of[*held](h)
		if err != nil {
			put(bytesOf(buffer, size), "")
			return err
		}
		put(bytesOf(buffer, size), l.Notice())
		return nil
	})
}

//export leasehold_release
func leasehold_release(h C.leasehold_lease) C.int32_t {
	return answer(func() error {
		l, err := of[*held](h)
		if err != nil {
			return err
		}
		if !l.forget(uint64(h)) {
			return errHandle
		}
		return errors.Join(drop(h), l.Release(context.Background()))
	})
}

//export leasehold_give_back
func leasehold_give_back(c C.leasehold_client, feature *C.leasehold_string) C.int32_t {
	return answer(func() error {
		s, name, err := asked(c, feature)
		if err != nil {
			return err
		}
		return s.client.Release(context.Background(), name)
	})
}

//export leasehold_report
func leasehold_report(c C.leasehold_client, feature *C.leasehold_string, count C.int64_t, out *C.leasehold_usage) C.int32_t {
	return answer(func() error {
		if out != nil {
			if err := sized("usage", out.size, unsafe.Sizeof(*out)); err != nil {
				return err
			}
			*out = C.leasehold_usage{size: out.size}
		}
		s, name, err := asked(c, feature)
		if err != nil {
			return err
		}
		u, err := s.client.Report(context.Background(), name, int64(count))
		if out != nil {
			out.total, out.id = C.int64_t(u.Total), *(*[16]C.uint8_t)(unsafe.Pointer(&u.ID))
		}
		return err
	})
}

//export leasehold_undo
func leasehold_undo(c C.leasehold_client, usage *C.leasehold_usage_given) C.int32_t {
	return answer(func() error {
		if usage == nil {
			return missing("usage")
		}
		if err := sized("usage", usage.size, unsafe.Sizeof(*usage)); err != nil {
			return err
		}
		s, err := of[*session](c)
		if err != nil {
			return err
		}
		id := *(*capability.CorrelationID)(unsafe.Pointer(&usage.id))
		if id == (capability.CorrelationID{}) {
			return errors.New("the usage names no report")
		}
		return s.client.Undo(context.Background(), id)
	})
}

//export leasehold_close
func leasehold_close(c C.leasehold_client) C.int32_t {
	return answer(func() error {
		s, err := of[*session](c)
		if err != nil {
			return err
		}
		if err := drop(c); err != nil {
			return err
		}
		return s.close(func(h uint64) { drop(C.uint64_t(h)) })
	})
}

//export leasehold_last_error
func leasehold_last_error(out *C.leasehold_error) C.int32_t {
	if out == nil || uintptr(out.size) != unsafe.Sizeof(*out) {
		return C.int32_t(capability.ErrUsage)
	}
	size := out.size
	if met := C.leasehold_met_here(); met.facts.code != 0 {
		*out = met.facts
	} else {
		*out = C.leasehold_error{}
	}
	out.size = size
	return 0
}

//export leasehold_error_text
func leasehold_error_text(what C.int32_t, buffer *C.char, size C.size_t) C.size_t {
	met := C.leasehold_met_here()
	if what < 0 || int(what) >= len(met.text) || met.facts.code == 0 {
		put(bytesOf(buffer, size), "")
		return 0
	}
	n := met.length[what]
	put(bytesOf(buffer, size), string(bytesOf(&met.text[what][0], n)))
	return n
}
