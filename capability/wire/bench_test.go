package wire

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// typical is a request of a machine with three host IDs for six features.
func typical() *capability.Request {
	r := &capability.Request{Version: capability.Protocol, Correlation: capability.CorrelationID{1}}
	for i := range 3 {
		r.Hosts = append(r.Hosts, hostid.OfDigest(hostid.DeviceKey, [32]byte{byte(i)}))
	}
	for i := range 6 {
		r.Desired = append(r.Desired, capability.Desired{Feature: fmt.Sprintf("feature-%d", i), Version: capability.Version{Major: 2026, Minor: 1}, Count: 1})
	}
	return r
}

// granted is the answer to it.
func granted() *capability.Response {
	r := &capability.Response{
		Version: capability.Protocol, For: hostid.OfDigest(hostid.DeviceKey, [32]byte{}), Serial: 1000, Correlation: capability.CorrelationID{1}, Time: 1_900_000_000,
		Lifetime: capability.DefaultLease, Salt: [16]byte{1}, Key: capability.Digest{1},
	}
	for i := range 6 {
		r.Rights = append(r.Rights, capability.Right{Feature: fmt.Sprintf("feature-%d", i), Version: capability.Version{Major: 2026, Minor: 1}, Count: 1, Expiry: 1_900_000_900})
		r.Lines = append(r.Lines, capability.Line{Count: 1})
	}
	return r
}

func BenchmarkEncode(b *testing.B) {
	c := New()
	for _, v := range []struct {
		name string
		item any
	}{{"request", typical()}, {"response", granted()}} {
		b.Run(v.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n = len(c.Encode(v.item))
			}
			b.ReportMetric(float64(n), "B/message")
		})
	}
}

// BenchmarkDecode is decoding, encoding again and comparing; of a request, reading by hand.
func BenchmarkDecode(b *testing.B) {
	c := New()
	for _, v := range []struct {
		name  string
		bytes []byte
		into  func() any
	}{
		{"request", c.Encode(typical()), func() any { return new(capability.Request) }},
		{"response", c.Encode(granted()), func() any { return new(capability.Response) }},
	} {
		b.Run(v.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Decode(v.bytes, v.into(), capability.MaxFrame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecodeRequest is the two ways to decode one: by hand, and by the library, encoded again and compared.
func BenchmarkDecodeRequest(b *testing.B) {
	c := New()
	request := c.Encode(typical())
	for _, way := range []struct {
		name   string
		decode func(r *capability.Request) bool
	}{
		{"hand", func(r *capability.Request) bool { return readByHand(request, r) }},
		{"library", func(r *capability.Request) bool { return c.readByLibrary(request, r) == nil }},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !way.decode(new(capability.Request)) {
					b.Fatal("not taken")
				}
			}
		})
	}
}

// BenchmarkReadFrame is a frame taken apart, its body not yet decoded.
func BenchmarkReadFrame(b *testing.B) {
	c := New()
	frame := c.Frame(MessageRequest, typical())
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.ReadFrame(bytes.NewReader(frame)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNew is a codec: whoever makes one for each message pays this.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		New()
	}
}

// BenchmarkProve is the signature, tree, proofs and frames of a group of answers; us/answer is the share of each.
func BenchmarkProve(b *testing.B) {
	c := New()
	key := ed25519.NewKeyFromSeed(seed(1)[:ed25519.SeedSize])
	for _, size := range []int{1, 8, 64, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			responses := make([][]byte, size)
			for i := range responses {
				r := granted()
				r.Salt[1], r.Salt[2] = byte(i), byte(i>>8)
				responses[i] = c.Encode(r)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				tree := c.SignTree(key, Grow(responses), 1_900_000_000, 7)
				for i, r := range responses {
					a := c.Answer(tree, i, r)
					n = len(c.Frame(MessageAnswer, &a))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "us/answer")
			b.ReportMetric(float64(n), "B/message")
		})
	}
}

// BenchmarkVerify is what a client does with an answer of a group of 64.
func BenchmarkVerify(b *testing.B) {
	c := New()
	key := ed25519.NewKeyFromSeed(seed(1)[:ed25519.SeedSize])
	responses := make([][]byte, 64)
	for i := range responses {
		responses[i] = c.Encode(granted())
	}
	a := c.Answer(c.SignTree(key, Grow(responses), 1_900_000_000, 7), 9, responses[9])
	public := key.Public().(ed25519.PublicKey)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.VerifyAnswer(public, &a); err != nil {
			b.Fatal(err)
		}
	}
}
