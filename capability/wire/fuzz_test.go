package wire

import (
	"bytes"
	"crypto/ed25519"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// What a decoder accepts encodes again to the same bytes: nothing has two forms. The vectors are where the search begins.

func seedVectors(f *testing.F, kinds ...string) {
	f.Helper()
	for _, v := range readVectors(f) {
		for _, k := range kinds {
			if v.Kind == k && v.Pad == 0 {
				f.Add(v.bytes())
			}
		}
	}
}

func same(t *testing.T, what string, again, b []byte) {
	t.Helper()
	if !bytes.Equal(again, b) {
		t.Errorf("%s was accepted as\n%x\nand is encoded as\n%x", what, b, again)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	seedVectors(f, "request")
	c := New()
	f.Fuzz(func(t *testing.T, b []byte) {
		var r capability.Request
		if c.DecodeRequest(b, &r, capability.MaxFrame) == nil {
			same(t, "a request", c.Encode(&r), b)
		}
	})
}

func FuzzDecodeResponse(f *testing.F) {
	c := New()
	for _, v := range readVectors(f) {
		var a Answer
		if v.Kind == "answer" && c.Decode(v.bytes(), &a, capability.MaxFrame) == nil {
			f.Add(a.Response)
		}
	}
	r := (&set{t: f, c: c, tpm: newPaperTPM(f, 0x21)}).fullResponse()
	f.Add(c.Encode(&r))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r capability.Response
		if c.Decode(b, &r, capability.MaxFile) == nil {
			same(t, "a response", c.Encode(&r), b)
			_ = r.Validate() // must not panic
		}
	})
}

func FuzzReadRequest(f *testing.F) {
	seedVectors(f, "request-file", "response-file")
	c := New()
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := c.ReadRequest(b)
		if err != nil {
			return
		}
		again, digest, err := c.SignRequest(&s.Request, s.Alg, s.KID, func(capability.Digest) ([]byte, error) { return s.Signature, nil })
		if err != nil || digest != s.Digest {
			t.Errorf("digest %x, then %x, %v", s.Digest, digest, err)
		}
		same(t, "a request file", again, b)
	})
}

func FuzzReadResponse(f *testing.F) {
	seedVectors(f, "response-file", "request-file")
	c := New()
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := c.ReadResponse(b)
		if err != nil {
			return
		}
		same(t, "a response file", append(responseMagic(), c.Encode(s.twice.outer)...), b)
		same(t, "an inner envelope", c.Encode(s.twice.inner), *s.twice.outer.Payload)
		same(t, "a sealed payload", c.Encode(sealed{s.Clear, s.Wrap, s.cipher}), s.twice.payload)
	})
}

func FuzzDecodeTrust(f *testing.F) {
	seedVectors(f, "trust")
	c := New()
	f.Fuzz(func(t *testing.T, b []byte) {
		if trust, err := c.DecodeTrust(b); err == nil {
			same(t, "a trust bundle", c.EncodeTrust(trust), b)
		}
	})
}

func FuzzReadKeyRequest(f *testing.F) {
	seedVectors(f, "key-request")
	c, good := New(), map[string]bool{}
	for _, v := range vectorSet(f) {
		if v.Kind == "key-request" && v.Expect == "ok" {
			good[string(v.bytes())] = true
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := c.ReadKeyRequest(b); err == nil && !good[string(b)] {
			t.Errorf("a request that no key signed is taken: %x", b)
		}
	})
}

func FuzzOpenUpdate(f *testing.F) {
	seedVectors(f, "update")
	c, good := New(), map[string]bool{}
	trust := &Trust{}
	for _, v := range vectorSet(f) {
		if v.Kind == "update" && v.Expect == "ok" {
			good[string(v.bytes())] = true
			trust, _ = c.DecodeTrust(unhex(v.Keys["trust"]))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := c.OpenUpdate(trust, b); err == nil && !good[string(b)] {
			t.Errorf("an update that nobody signed is taken: %x", b)
		}
	})
}

func FuzzReadCertifiedKey(f *testing.F) {
	seedVectors(f, "certified-key")
	c, good := New(), map[string]bool{}
	trust := &Trust{}
	for _, v := range vectorSet(f) {
		if v.Kind == "certified-key" && v.Expect == "ok" {
			good[string(v.bytes())] = true
			trust, _ = c.DecodeTrust(unhex(v.Keys["trust"]))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := c.ReadCertifiedKey(trust, b); err == nil && !good[string(b)] {
			t.Errorf("a certificate that no root signed is taken: %x", b)
		}
	})
}

func FuzzSigningKey(f *testing.F) {
	p := newProducer(f, 1)
	f.Add(p.certificate)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := p.c.SigningKey(p.trust, b); err == nil {
			same(t, "a certificate that nobody signed", p.certificate, b)
		}
	})
}

func FuzzChain(f *testing.F) {
	seedVectors(f, "chain")
	p := newProducer(f, 1)
	var good Chain
	for _, v := range readVectors(f) {
		if v.Name == "chain-good" {
			if err := p.c.Decode(v.bytes(), &good, capability.MaxFrame); err != nil {
				f.Fatal(err)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var ch Chain
		if p.c.Decode(b, &ch, capability.MaxFrame) != nil {
			return
		}
		same(t, "a chain", p.c.Encode(&ch), b)
		if _, err := p.c.VerifyChain(p.trust, &ch, judgeServing); err == nil && (!bytes.Equal(ch.Key, good.Key) || !bytes.Equal(ch.Appliance, good.Appliance) || !bytes.Equal(ch.Serving, good.Serving)) {
			t.Errorf("a chain that nobody made was verified: %x", b)
		}
	})
}

func FuzzVerifyAnswer(f *testing.F) {
	seedVectors(f, "answer")
	c := New()
	key := publicOf(servingSeed())
	f.Fuzz(func(t *testing.T, b []byte) {
		var a Answer
		if c.Decode(b, &a, capability.MaxFrame) != nil {
			return
		}
		same(t, "an answer", c.Encode(&a), b)
		r, g, err := c.VerifyAnswer(key, &a)
		if err != nil {
			return
		}
		same(t, "a response", c.Encode(r), a.Response)
		if g.Epoch != 9 || g.Time != 5000 {
			t.Errorf("a group that nobody signed: %+v", g)
		}
	})
}

func FuzzReceipt(f *testing.F) {
	seedVectors(f, "receipt")
	c := New()
	ak := newPaperTPM(f, 0x21).AK
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := c.VerifyReceipt(ak, b, judgeServing); err == nil && (r.Time != 5000 || r.For != client()) {
			t.Errorf("a receipt that nobody signed: %+v", r)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	seedVectors(f, "frame")
	c := New()
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		kind, body, err := c.ReadFrame(in)
		if err != nil {
			return
		}
		same(t, "a frame", c.Frame(kind, rawItem(body)), b[:len(b)-in.Len()])
		if k, again, err := c.DecodeMessage(b[4 : len(b)-in.Len()]); err != nil || k != kind || !bytes.Equal(again, body) {
			t.Errorf("the message alone: %d, %x, %v", k, again, err)
		}
	})
}

// Memory follows what was sent, never what it says about itself.
func TestLengthBombs(t *testing.T) {
	c := New()
	repeat := func(head, element string, n int) []byte {
		return append(unhex(head), bytes.Repeat(unhex(element), n)...)
	}
	for name, bomb := range map[string]struct {
		b     []byte
		limit uint64 // bytes allocated while all decoders look at it
	}{
		"array of 2^62":           {unhex("a1029b4000000000000000"), 1 << 17},
		"array of 4096":           {unhex("a105991000"), 1 << 17},
		"map of 2^61":             {unhex("bb2000000000000000"), 1 << 17},
		"text of 2^63":            {unhex("a1087b8000000000000000"), 1 << 17},
		"bytes of 2^32":           {unhex("a1035b0000000100000000"), 1 << 17},
		"300 arrays":              {repeat("", "81", 300), 1 << 17},
		"16000 arrays":            {repeat("", "9b", 16000), 1 << 17},
		"16000 maps":              {repeat("", "a101", 8000), 1 << 17},
		"4096 empty lines":        {repeat("a105991000", "a0", 4096), 4 << 20},
		"4096 empty line items":   {repeat("a109991000", "a0", 4096), 8 << 20},
		"4097 empty lines":        {repeat("a105991001", "a0", 4097), 1 << 17},
		"4096 arrays of arrays":   {repeat("991000", "83000080", 4096), 1 << 20},
		"a frame of 2^32-1 bytes": {unhex("ffffffff"), 1 << 17},
		"a frame that never ends": {append(unhex("00004000"), make([]byte, 100)...), 1 << 17},
	} {
		files := [][]byte{append(requestMagic(), bomb.b...), append(responseMagic(), bomb.b...), append(trustMagic(), bomb.b...)}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var (
			request  capability.Request
			response capability.Response
			answer   Answer
			chain    Chain
		)
		accepted := ""
		for what, err := range map[string]error{
			"request":  c.Decode(bomb.b, &request, capability.MaxFrame),
			"response": c.Decode(bomb.b, &response, capability.MaxFile),
			"answer":   c.Decode(bomb.b, &answer, capability.MaxFrame),
			"chain":    c.Decode(bomb.b, &chain, capability.MaxFrame),
			"frame":    second(c.ReadFrame(bytes.NewReader(bomb.b))),
		} {
			if err == nil {
				accepted += " " + what
			}
		}
		for _, f := range files {
			if _, err := c.ReadRequest(f); err == nil {
				accepted += " request file"
			}
			if _, err := c.ReadResponse(f); err == nil {
				accepted += " response file"
			}
			if _, err := c.DecodeTrust(f); err == nil {
				accepted += " trust bundle"
			}
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > bomb.limit {
			t.Errorf("%s: %d bytes of input cost %d bytes of memory, at most %d are allowed", name, len(bomb.b), used, bomb.limit)
		}
		if accepted != "" && !strings.Contains(name, "empty") {
			t.Errorf("%s was accepted as%s", name, accepted)
		}
	}
}

func second(_ MessageKind, _ []byte, err error) error { return err }

// A connection that ends between frames is an end, one that ends inside a frame is an error.
func TestFrameEnds(t *testing.T) {
	c := New()
	two := append(c.Ask(), c.Refused()...)
	r := bytes.NewReader(two)
	for _, want := range []MessageKind{MessageAsk, MessageRefused} {
		if kind, _, err := c.ReadFrame(r); kind != want || err != nil {
			t.Fatalf("%d, %v", kind, err)
		}
	}
	if _, _, err := c.ReadFrame(r); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
	for n := 1; n < len(c.Ask()); n++ {
		if _, _, err := c.ReadFrame(bytes.NewReader(two[:n])); class(err) != "cut" || Code(err) != capability.ErrProto {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	var w bytes.Buffer
	if err := c.WriteFrame(&w, MessageAsk, rawItem([]byte{0xa0})); err != nil || !bytes.Equal(w.Bytes(), c.Ask()) {
		t.Errorf("%x, %v", w.Bytes(), err)
	}
	if _, _, err := c.VerifyAnswer(ed25519.PublicKey(make([]byte, 31)), &Answer{}); err == nil {
		t.Error("an empty answer was verified")
	}
}
