package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// family is one way to be no message. make gives the i-th variant, which a server must refuse; most families have more variants than a run sends.
type family struct {
	name string
	make func(r *rand.Rand, i int) []byte
}

// families are made by rule from one good request: from its bytes, its fields and the ways in which CBOR (RFC 8949) can be written wrongly.
func families(codec *wire.Codec) []family {
	good := codec.Frame(wire.MessageRequest, request())
	body := good[4:]
	framed := func(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	lying := func(n uint32, b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), b...) }
	all := []family{
		{"cut at a byte", func(_ *rand.Rand, i int) []byte { return good[:1+i%(len(good)-1)] }},
		{"cut at a byte, length mended", func(_ *rand.Rand, i int) []byte { return framed(body[:1+i%(len(body)-1)]) }},
		{"begun in the middle", func(_ *rand.Rand, i int) []byte { return framed(body[1+i%(len(body)-1):]) }},
		{"length longer than the frame", func(_ *rand.Rand, i int) []byte { return lying(uint32(len(body)+1+i%1000), body) }},
		{"length shorter than the frame", func(_ *rand.Rand, i int) []byte { return lying(uint32(1+i%(len(body)-1)), body) }},
		{"length zero", func(_ *rand.Rand, i int) []byte { return lying(0, body[:i%len(body)]) }},
		{"length above the limit", func(_ *rand.Rand, i int) []byte { return lying(capability.MaxFrame+1+uint32(i), body) }},
		{"length of gigabytes", func(_ *rand.Rand, i int) []byte { return lying(1<<31+uint32(i), body) }},
		{"length with its bytes turned", func(_ *rand.Rand, i int) []byte {
			return append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...)
		}},
		{"the longest frame of zeros", func(_ *rand.Rand, i int) []byte { return framed(make([]byte, capability.MaxFrame-i%1000)) }},
		{"bytes behind the message", func(_ *rand.Rand, i int) []byte { return framed(append(bytes.Clone(body), make([]byte, 1+i%100)...)) }},
		{"noise", func(r *rand.Rand, i int) []byte { return noise(r, 1+i%300) }},
		{"noise with its length", func(r *rand.Rand, i int) []byte { return framed(noise(r, 1+i%300)) }},
		{"noise as a body", func(r *rand.Rand, i int) []byte { return framed(append([]byte{0x82, 0}, noise(r, 1+i%300)...)) }},
		{"one bit flipped", func(r *rand.Rand, i int) []byte {
			b := bytes.Clone(body)
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			return framed(b)
		}},
		{"one byte left out", func(_ *rand.Rand, i int) []byte {
			at := i % len(body)
			return framed(append(bytes.Clone(body[:at]), body[at+1:]...))
		}},
		{"one byte twice", func(_ *rand.Rand, i int) []byte {
			at := i % len(body)
			return framed(append(bytes.Clone(body[:at+1]), body[at:]...))
		}},
		{"two bytes exchanged", func(_ *rand.Rand, i int) []byte {
			b := bytes.Clone(body)
			at := i % (len(b) - 1)
			b[at], b[at+1] = b[at+1], b[at]
			return framed(b)
		}},
		{"a chain is asked for with a body", func(_ *rand.Rand, i int) []byte {
			return framed(append([]byte{0x82, 2}, head(byte(i%6), uint64(i))...))
		}},
		{"a message of one part", func(_ *rand.Rand, i int) []byte { return framed([]byte{0x81, byte(i % 24)}) }},
		{"a message of three parts", func(_ *rand.Rand, i int) []byte { return framed([]byte{0x83, 0, 0xa0, byte(i % 24)}) }},
		{"a message that is a map", func(_ *rand.Rand, i int) []byte { return framed(append([]byte{0xa1, byte(i % 24)}, body[2:]...)) }},
	}
	for kind, name := range []string{wire.MessageAnswer: "answer", wire.MessageChain: "chain", wire.MessageRefused: "refusal"} {
		if name != "" {
			all = append(all, family{"a server's " + name, func(_ *rand.Rand, i int) []byte {
				return framed(append(append([]byte{0x82, byte(kind)}, head(2, uint64(i%20))...), make([]byte, i%20)...))
			}})
		}
	}
	all = append(all, family{"an unknown kind", func(_ *rand.Rand, i int) []byte {
		return framed(append(append([]byte{0x82}, head(0, 5+uint64(i))...), 0xa0))
	}})
	for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-x\r\n", "\x16\x03\x01\x02\x00\x01", "EHLO a\r\n", "{\"jsonrpc\":\"2.0\"}", "\x00\x00\x00\x2fSMB"} {
		all = append(all, family{fmt.Sprintf("another protocol, %q", text[:4]), func(_ *rand.Rand, i int) []byte {
			return append([]byte(text), strings.Repeat("x", i%500)...)
		}})
	}
	// Every place of the message where an item is, with every other kind of item in it.
	for _, p := range places(codec, body) {
		for major, name := range []string{"a number", "a negative number", "bytes", "text", "an array", "a map", "a tag", "a simple value or float"} {
			if major == p.major || major == 1 && (p.name == "message[1].12" || p.name == "message[1].15") {
				continue // seconds have a sign
			}
			all = append(all, family{fmt.Sprintf("%s where %s belongs", name, p.name), func(r *rand.Rand, i int) []byte {
				return framed(p.with(body, item(r, byte(major), i)))
			}})
		}
	}
	// Every head, written longer than needed, without an end, and with a count that nothing follows.
	for _, p := range places(codec, body) {
		if p.major == 7 {
			continue
		}
		for n, width := range []byte{24, 25, 26, 27} {
			if len(head(byte(p.major), p.value)) >= 2+1<<n-1 {
				continue
			}
			all = append(all, family{fmt.Sprintf("the head of %s in %d bytes", p.name, 2+1<<n-1), func(_ *rand.Rand, i int) []byte {
				return framed(p.headed(body, wide(byte(p.major), p.value, width)))
			}})
		}
		if p.major >= 2 {
			all = append(all, family{"indefinite: " + p.name, func(_ *rand.Rand, i int) []byte {
				b := p.headed(body, []byte{byte(p.major)<<5 | 31})
				return framed(append(b[:len(b)-i%2], 0xff))
			}})
			all = append(all, family{"a huge count of " + p.name, func(_ *rand.Rand, i int) []byte {
				return framed(p.headed(body, head(byte(p.major), 1<<(16+i%48))))
			}})
		}
	}
	all = append(all, more(framed)...)
	slices.SortFunc(all, func(a, b family) int { return strings.Compare(a.name, b.name) })
	return all
}

// more are wrong in ways of their own.
func more(framed func([]byte) []byte) []family {
	asBody := func(b []byte) []byte { return framed(append([]byte{0x82, 0}, b...)) }
	all := []family{
		{"a key twice", func(_ *rand.Rand, i int) []byte { k := byte(1 + i%20); return asBody([]byte{0xa2, k, 1, k, 1}) }},
		{"keys out of order", func(_ *rand.Rand, i int) []byte { return asBody([]byte{0xa2, byte(2 + i%20), 1, byte(1 + i%2), 1}) }},
		{"an unknown key", func(_ *rand.Rand, i int) []byte {
			return asBody(append(append([]byte{0xa1}, head(0, 100+uint64(i))...), 0))
		}},
		{"a negative key", func(_ *rand.Rand, i int) []byte {
			return asBody(append(append([]byte{0xa1}, head(1, uint64(i))...), 0))
		}},
		{"a key in words", func(_ *rand.Rand, i int) []byte { return asBody([]byte{0xa1, 0x61, byte('a' + i%26), 0}) }},
		{"a key of floating point", func(_ *rand.Rand, i int) []byte { return asBody([]byte{0xa1, 0xf9, 0x3c, byte(i), 1}) }},
		{"an odd map", func(_ *rand.Rand, i int) []byte { return asBody([]byte{0xa2, 1, 1, byte(2 + i%20)}) }},
		{"a break alone", func(_ *rand.Rand, i int) []byte { return asBody(bytes.Repeat([]byte{0xff}, 1+i%100)) }},
		{"a reserved length", func(_ *rand.Rand, i int) []byte { return asBody([]byte{byte(i%8)<<5 | byte(28+i/8%3)}) }},
		{"text that is no UTF-8", func(_ *rand.Rand, i int) []byte { return asBody([]byte{0xa1, 8, 0x62, 0xc3, byte(i % 64)}) }},
		{"a text of zeros", func(_ *rand.Rand, i int) []byte {
			n := 200 + i%1000
			return asBody(append(append([]byte{0xa1, 1}, head(3, uint64(n))...), make([]byte, n)...))
		}},
		{"an empty request", func(_ *rand.Rand, i int) []byte { return asBody([]byte{0xa1, 1, byte(i % 24)}) }},
		{"many elements", func(_ *rand.Rand, i int) []byte {
			n := 300 + i%10_000
			return asBody(append(append([]byte{0xa1, 2}, head(4, uint64(n))...), make([]byte, n)...))
		}},
		{"many pairs", func(_ *rand.Rand, i int) []byte {
			n := 100 + i%5000
			b := head(5, uint64(n))
			for k := range n {
				b = append(append(b, head(0, uint64(k))...), 0)
			}
			return asBody(b[:min(len(b), capability.MaxFrame-2)])
		}},
	}
	for name, open := range map[string][]byte{"arrays": {0x81}, "maps": {0xa1, 0x01}, "tags": {0xc6}, "endless arrays": {0x9f}, "endless maps": {0xbf, 0x01}} {
		all = append(all, family{"nested " + name, func(_ *rand.Rand, i int) []byte {
			b := bytes.Repeat(open, min(11+i%8000, (capability.MaxFrame-3)/len(open)))
			return asBody(append(b, 0))
		}})
	}
	for name, major := range map[string]byte{"bytes": 2, "text": 3, "array": 4, "map": 5} {
		for _, bits := range []int{16, 32, 63} {
			all = append(all, family{fmt.Sprintf("a body of 2^%d: %s", bits, name), func(_ *rand.Rand, i int) []byte { return asBody(head(major, 1<<bits+uint64(i))) }})
		}
	}
	return all
}

// request is a good one that has most of what a request can have.
func request() *capability.Request {
	return &capability.Request{
		Version: capability.Protocol, Hosts: []hostid.ID{hostid.OfDigest(hostid.DeviceKey, [32]byte{1}), {Type: hostid.Ethernet, Value: "020000000001"}},
		Correlation: capability.CorrelationID{1, 2, 3}, Applied: 7, Desired: []capability.Desired{{Feature: feature, Version: version(), Count: 2, Partial: true, Selectors: []capability.Pair{{Key: "site", Value: "a"}}}},
		Atomic: true, User: "ann", Alias: "cad-12", DeviceType: "desk", Dictionary: []capability.Pair{{Key: "site", Value: "a"}}, Borrow: 3600, Granularity: 1, Receipt: []byte{1, 2, 3}, Idle: 60,
	}
}

// refusable says whether a server that keeps to the specification answers b, after which the client says no more, with the fixed refusal: no frame, no message,
// no request, or one without a device.
func refusable(codec *wire.Codec, b []byte) bool {
	in := bytes.NewReader(b)
	for {
		kind, body, err := codec.ReadFrame(in)
		if errors.Is(err, io.EOF) && !errors.Is(err, wire.ErrFrame) {
			return false
		}
		if err != nil || kind != wire.MessageAsk && kind != wire.MessageRequest {
			return true
		}
		var r capability.Request
		if kind == wire.MessageRequest && (codec.Decode(body, &r, capability.MaxFrame) != nil || len(r.Hosts) == 0 || r.Hosts[0].Validate() != nil) {
			return true
		}
		if kind == wire.MessageRequest {
			return false // it is answered, with a denial or not
		}
	}
}

func noise(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// head is the shortest head of an item.
func head(major byte, n uint64) []byte {
	switch {
	case n < 24:
		return []byte{major<<5 | byte(n)}
	case n < 1<<8:
		return wide(major, n, 24)
	case n < 1<<16:
		return wide(major, n, 25)
	case n < 1<<32:
		return wide(major, n, 26)
	}
	return wide(major, n, 27)
}

// wide is a head whose number follows in 1, 2, 4 or 8 bytes, for 24 to 27.
func wide(major byte, n uint64, width byte) []byte {
	b := []byte{major<<5 | width}
	for i := 1<<(width-24) - 1; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return b
}

// item is something of a major type.
func item(r *rand.Rand, major byte, i int) []byte {
	switch major {
	case 2:
		return append(head(2, uint64(i%40)), noise(r, i%40)...)
	case 3:
		return append(head(3, uint64(i%40)), strings.Repeat("x", i%40)...)
	case 4:
		return append(head(4, uint64(i%8)), make([]byte, i%8)...)
	case 5:
		b := head(5, uint64(i%8))
		for k := range i % 8 {
			b = append(b, byte(k), 0)
		}
		return b
	case 6:
		return append(head(6, uint64(i)), 0)
	case 7:
		return [][]byte{{0xf6}, {0xf7}, {0xf9, 0x3c, 0}, {0xfa, 0x7f, 0xc0, 0, 0}, {0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0}, {0xf8, 0x20}, {0xe0}}[i%7]
	}
	return head(major, uint64(i))
}

// place is one item of a message: where its head begins and ends and where the item ends.
type place struct {
	name        string
	major       int
	value       uint64
	at, in, end int
}

func (p *place) with(b, item []byte) []byte {
	return append(append(bytes.Clone(b[:p.at]), item...), b[p.end:]...)
}

func (p *place) headed(b, head []byte) []byte {
	return append(append(bytes.Clone(b[:p.at]), head...), b[p.in:]...)
}

// places walks through a message and names every item in it by its path.
func places(codec *wire.Codec, b []byte) (out []place) {
	var walk func(at int, name string) int
	walk = func(at int, name string) int {
		p := place{name: name, major: int(b[at] >> 5), value: uint64(b[at] & 31), at: at, in: at + 1}
		if width := b[at] & 31; width >= 24 && width < 28 {
			p.value = 0
			for range 1 << (width - 24) {
				p.value = p.value<<8 | uint64(b[p.in])
				p.in++
			}
		}
		i := len(out)
		out = append(out, p)
		end := p.in
		switch p.major {
		case 2, 3:
			end += int(p.value)
		case 4:
			for n := range p.value {
				end = walk(end, fmt.Sprintf("%s[%d]", name, n))
			}
		case 5:
			for range p.value {
				key := b[end]
				end = walk(end, fmt.Sprintf("key %d of %s", key, name))
				end = walk(end, fmt.Sprintf("%s.%d", name, key))
			}
		}
		out[i].end = end
		return end
	}
	walk(0, "message")
	return out
}
