package appliance

import (
	"bytes"
	"testing/synctest"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// input is what a conversation is made of.
type input []byte

func (in *input) byte() byte {
	if len(*in) == 0 {
		return 0
	}
	b := (*in)[0]
	*in = (*in)[1:]
	return b
}

func (in *input) of(n int) int { return int(in.byte()) % n }

func (in *input) bytes(n int) []byte {
	b := (*in)[:min(n, len(*in))]
	*in = (*in)[len(b):]
	return b
}

// request is one that the input describes. Most are as they should be.
func (s *conversation) request(n int, in *input) *capability.Request {
	p, shape := s.parties[n], in.byte()
	r := &capability.Request{Version: capability.Protocol, Hosts: []hostid.ID{p.id}, Correlation: s.next()}
	if h := s.holds[p.id]; h != nil {
		r.Applied = h.serial
	}
	for range shape % 4 {
		b := in.byte()
		r.Desired = append(r.Desired, capability.Desired{Feature: [4]string{"render", "render", "solve", "other"}[b%4], Count: uint32(b / 4 % 8), Partial: b&32 != 0, Wait: b&64 != 0, Version: capability.Version{Major: uint32(b >> 7 * 2)}})
	}
	r.Atomic = shape&4 != 0
	if shape&8 != 0 {
		r.Borrow = borrows[in.of(4)]
	}
	if shape&16 != 0 {
		r.Receipt = s.parties[in.of(4)].receipt
	}
	if shape&32 != 0 {
		r.Correlation = capability.CorrelationID{1, 0, in.byte()}
	}
	if shape&64 != 0 {
		other := hostid.ID{Type: hostid.Type(in.of(12))}
		if other.Type == 0 {
			other = s.parties[in.of(4)].id
		} else {
			other.Value = string(in.bytes(in.of(16)))
		}
		r.Hosts = append(r.Hosts, other)
		r.User, r.Alias = string(in.bytes(in.of(8))), string(in.bytes(in.of(8)))
		if in.of(2) == 1 {
			r.Hosts[0], r.Hosts[1] = r.Hosts[1], r.Hosts[0]
		}
	}
	if shape&128 != 0 {
		r.Operation, r.Applied, r.Idle = capability.Operation(in.of(5)), uint64(in.byte()), capability.Seconds(in.byte())
		if r.Operation == capability.Undo {
			r.Undoes = capability.CorrelationID{1, 0, in.byte()}
		}
	}
	return r
}

// acts are what may happen next. Their order is that of the corpus.
var acts = [...]func(s *conversation, in *input){
	func(s *conversation, in *input) { s.reach(1 + in.of(3)).say(s.w.codec.Ask()) },
	func(s *conversation, in *input) { n := 1 + in.of(3); s.tell(n, s.request(n, in)) },
	// Several requests at once.
	func(s *conversation, in *input) {
		n := 1 + in.of(3)
		var all []byte
		for range 2 + in.of(6) {
			all = append(all, s.w.codec.Frame(wire.MessageRequest, s.request(n, in))...)
		}
		s.reach(n).say(all)
	},
	// The last frame again, in whole or in part.
	func(s *conversation, in *input) {
		n := 1 + in.of(3)
		b := s.parties[n].sent
		if part := in.of(256); part < len(b) {
			b = b[:len(b)-part]
		}
		s.reach(n).say(b)
	},
	// Bytes of it changed.
	func(s *conversation, in *input) {
		n := 1 + in.of(3)
		b := bytes.Clone(s.parties[n].sent)
		for range 1 + in.of(4) {
			if at, value := in.of(256), in.byte(); at < len(b) {
				b[at] = value
			}
		}
		s.reach(n).say(b)
	},
	func(s *conversation, in *input) { s.reach(1 + in.of(3)).say(in.bytes(in.of(256))) },
	// A frame of any content.
	func(s *conversation, in *input) {
		c, b := s.reach(1+in.of(3)), in.bytes(in.of(256))
		c.say(append([]byte{0, 0, 0, byte(len(b))}, b...))
	},
	// The connection is gone, as it stands.
	func(s *conversation, in *input) {
		n := 1 + in.of(3)
		s.reach(n).raw.Close()
		s.open[n] = nil
	},
	func(s *conversation, in *input) {
		n := 1 + in.of(3)
		s.reach(n).tls.Close()
		s.open[n] = nil
	},
	// Bytes below TLS.
	func(s *conversation, in *input) {
		c := s.reach(1 + in.of(3))
		c.below = true
		c.raw.Write(in.bytes(in.of(64)))
	},
	func(s *conversation, in *input) { s.stranger(in.bytes(in.of(256))) },
	func(s *conversation, in *input) { <-time.After(time.Second << in.of(17)) },
	// The machine's clock is wrong.
	func(s *conversation, in *input) { s.wrong.Store(int64(time.Hour) * int64(int8(in.byte()))) },
	func(s *conversation, in *input) {
		s.stopCleanly()
		s.start()
	},
	func(s *conversation, in *input) {
		s.b.ended = true
		s.shut()
		s.fall(blow{after: in.of(3), seed: uint64(in.byte())})
		s.start()
	},
	// A step from here fails, or is the last.
	func(s *conversation, in *input) {
		c := in.of(12)
		s.armed, s.b.left, s.b.blow = true, in.of(32), blow{effect: storagetest.Effect(c % 3), after: c / 3 % 3, seed: uint64(in.byte())}
		if c >= 9 {
			s.b.blow.fault, s.b.blow.effect, s.b.blow.after = storagetest.Broken().Err, storagetest.None, 0
		}
	},
	func(s *conversation, in *input) { s.a.compactAt = 0 },
}

func (s *conversation) stopCleanly() {
	if err := s.shut(); err != nil && !s.armed {
		s.Fatalf("the appliance does not stop: %v", err)
	}
	s.fall(blow{})
}

// stranger says something without TLS: what comes back is the hint, TLS's own, or nothing.
func (s *conversation) stranger(say []byte) {
	raw := s.lobby.bring(named("10.0.0.9:9"), &s.wrong)
	c := &channel{raw: raw}
	go c.listen(raw)
	go raw.Write(say)
	synctest.Wait()
	heard, _ := c.take()
	http := len(say) >= 5 && speaksHTTP([5]byte(say))
	if http != (string(heard) == hint) || !http && len(heard) > 0 && (heard[0] < 0x14 || heard[0] > 0x17) {
		s.Fatalf("a stranger who says %q hears %q", say, heard)
	}
	switch {
	case len(heard) == 0:
		s.count("nothing")
	case http:
		s.count("the hint")
	default:
		s.count("TLS")
	}
	raw.Close()
}
