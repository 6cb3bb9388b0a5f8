package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/storage/storagetest"
)

// tree is an encoded item that can be changed and written again, right or wrong.
type tree struct {
	major    byte
	argument uint64
	content  []byte  // of a string
	parts    []*tree // elements, or keys and values in turn
}

func grow(b []byte) (*tree, []byte) {
	t := &tree{major: b[0] >> 5, argument: uint64(b[0] & 31)}
	b = b[1:]
	if t.argument >= 24 {
		n := 1 << (t.argument - 24)
		var wide [8]byte
		copy(wide[8-n:], b[:n])
		t.argument, b = binary.BigEndian.Uint64(wide[:]), b[n:]
	}
	n := t.argument
	switch t.major {
	case 2, 3:
		t.content = b[:n]
		return t, b[n:]
	case 5:
		n *= 2
		fallthrough
	case 4:
		for range n {
			var part *tree
			part, b = grow(b)
			t.parts = append(t.parts, part)
		}
	}
	return t, b
}

func (t *tree) encode() []byte {
	switch t.major {
	case 2, 3:
		return append(appendHead(nil, t.major<<5, uint64(len(t.content))), t.content...)
	case 4, 5:
		n := len(t.parts)
		if t.major == 5 {
			n /= 2
		}
		b := appendHead(nil, t.major<<5, uint64(n))
		for _, p := range t.parts {
			b = append(b, p.encode()...)
		}
		return b
	case 8: // as it is
		return t.content
	}
	return appendHead(nil, t.major<<5, t.argument)
}

func (t *tree) sort() {
	type pair struct{ key, value *tree }
	var pairs []pair
	for i := 0; i < len(t.parts); i += 2 {
		pairs = append(pairs, pair{t.parts[i], t.parts[i+1]})
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key.encode(), b.key.encode()) })
	for i, p := range pairs {
		t.parts[2*i], t.parts[2*i+1] = p.key, p.value
	}
}

// all are the item and those in it, but for keys.
func (t *tree) all() []*tree {
	list := []*tree{t}
	for i, p := range t.parts {
		if t.major == 4 || i%2 == 1 {
			list = append(list, p.all()...)
		}
	}
	return list
}

// odd are items that stand where something else should: at the edges of what the tables allow, and beyond.
func odd() (list []string) {
	list = strings.Fields(`00 01 02 03 04 05 06 11 12 17 1818 183c 185a 185b 18ff 190100 190e10 190e11 19ffff 1a00010000 1a3fffffff 1a40000000 1a40000001 1a5e3d8e80 1a5e3d8e81 1affffffff
		1b0000000100000000 1b001fffffffffffff 1b0020000000000000 1b4000000000000000 1b4000000000000001 1b7fffffffffffffff 1b8000000000000000 1bffffffffffffffff 20 21 3bffffffffffffffff
		f4 f5 f6 f7 f0 f93c00 fb3ff0000000000000 c100 c240 40 4101 60 6161 80 8100 820000 83000000 a0 a10001 9f00ff bf0001ff 5f4100ff 7f6161ff 1801 61ff
		63efbbbf 64efbbbf61 62c280 62c2a0 63e280a8 63e280aa 63e280ae 63e281a6 63efbfbd 63efbfbe 63ee8080 64f09f9880 63eda080 620a61 617f 6120 652d2d2d2d2d 657669727475`)
	for _, n := range []int{15, 16, 17, 31, 32, 33, 63, 64, 65, 160, 161, 162, 512, 513, 1024, 1025} {
		list = append(list, hex.EncodeToString(appendBytes(nil, make([]byte, n))), hex.EncodeToString(appendBytes(nil, bytes.Repeat([]byte{0x41}, n))))
	}
	for _, n := range []int{32, 33, 64, 65, 128, 129, 256, 257, 1024, 1025} {
		list = append(list, hex.EncodeToString(append(appendHead(nil, text, uint64(n)), bytes.Repeat([]byte{'a'}, n)...)))
	}
	return list
}

// change makes one thing of the item another, and says what.
func (t *tree) change(r *rand.Rand, odds []string) string {
	nodes := t.all()
	n := nodes[r.IntN(len(nodes))]
	switch k := r.IntN(10); {
	case k == 0 && n.major == 5 && len(n.parts) > 0: // a field is missing
		i := 2 * r.IntN(len(n.parts)/2)
		n.parts = slices.Delete(slices.Clone(n.parts), i, i+2)
		return "missing"
	case k == 1 && n.major == 5: // a field more
		value := &tree{major: 8, content: unhex(odds[r.IntN(len(odds))])}
		n.parts = append(slices.Clone(n.parts), &tree{major: 0, argument: uint64(r.IntN(40))}, value)
		if r.IntN(8) > 0 {
			n.sort()
		}
		return "more"
	case k == 2 && n.major == 5 && len(n.parts) > 2: // two fields change places
		i := 2 * r.IntN(len(n.parts)/2-1)
		n.parts = slices.Clone(n.parts)
		n.parts[i], n.parts[i+1], n.parts[i+2], n.parts[i+3] = n.parts[i+2], n.parts[i+3], n.parts[i], n.parts[i+1]
		return "order"
	case k <= 3 && n.major == 4 && len(n.parts) > 0: // an element again, or none
		i := r.IntN(len(n.parts))
		if r.IntN(2) == 0 {
			n.parts = slices.Insert(slices.Clone(n.parts), i, n.parts[i])
			return "again"
		}
		n.parts = slices.Delete(slices.Clone(n.parts), i, i+1)
		return "fewer"
	case k <= 4 && n.major <= 1: // a number beside it
		n.argument += uint64(r.IntN(3)) - 1
		return "beside"
	case k <= 5 && (n.major == 2 || n.major == 3) && len(n.content) > 0: // a string of another length, or with another byte
		i := r.IntN(len(n.content))
		switch n.content = bytes.Clone(n.content); r.IntN(3) {
		case 0:
			n.content = n.content[:i]
		case 1:
			n.content = append(n.content, n.content[i])
		default:
			n.content[i] = "\x00\x1f az09-~\x7f\x80"[r.IntN(11)]
		}
		return "string"
	}
	*n = tree{major: 8, content: unhex(odds[r.IntN(len(odds))])}
	return "odd"
}

// forge is a kind of item, of which content is changed and signed again as if its signer had meant it.
type forge struct {
	kind    string
	keys    map[string]string
	content []byte
	sign    func(content []byte) []byte
}

func (s *set) forges() []forge {
	c := s.c
	keys := s.producerKeys()
	root, signing, err := keyPair(keys)
	if err != nil {
		s.t.Fatal(err)
	}
	bare := func(b []byte) []byte { return b }
	twice := func(key *ProducerKey, typ string, payload []byte) []byte {
		return s.twice(key, typ, payload, func(*twiceSigned) {})
	}
	serving := ed25519.NewKeyFromSeed(unhex(servingSeed()))
	answered := func(response []byte) []byte {
		a := c.Answer(c.SignTree(serving, Grow([][]byte{response}), 5000, 9), 0, response)
		return c.Encode(&a)
	}
	certificate := KeyCertificate{Keys: signing.Public, Name: "producer-2026-A", From: 1000, Until: 9000, Number: 3, Revoked: []RevokedKey{{digest(0x15), 4000}}}
	certified, err := c.CertifyKey(root, &certificate)
	if err != nil {
		s.t.Fatal(err)
	}
	appliance := ApplianceCertificate{Host: s.appliance(), AK: s.tpm.AK, Serial: 4, From: 5000, Until: 8000}
	applianceSigned := twice(signing, TypAppliance, c.Encode(&appliance))
	statement := s.tpm.evidence(s.t, "session", serving.Public().(ed25519.PublicKey))
	chain := func(key, appliance []byte) []byte {
		return c.Encode(&Chain{Key: key, Appliance: appliance, Serving: serving.Public().(ed25519.PublicKey), Statement: statement})
	}
	request, feature, full := s.fullRequest(), s.clientRequest(), s.fullResponse()
	undo := capability.Request{Version: 1, Hosts: feature.Hosts, Correlation: capability.CorrelationID{0xc1}, Operation: capability.Undo, Undoes: correlation()}
	answer := full
	answer.For, answer.Key = client(), digest(0xc1)
	usage := capability.Usage{From: 1789948800, Until: 1790035200, ActivationID: s.id(7), Feature: "render", Peak: 24, Served: 300, Seconds: 1 << 33,
		Denials: []capability.Denied{{Code: 1, Count: 17}, {Code: 2, Count: 1}}}
	clear := clearOf(&full)
	file := func(payload []byte) []byte {
		return append(responseMagic(), s.twice(signing, TypResponse, payload, func(w *twiceSigned) { w.outerExtra.Certificate = certified })...)
	}
	back := s.aReturn()
	back.Proof = []byte("an epoch proof")
	limits := Limits{Hour: 20, Day: 100, Products: []ProductLimit{{Product: "Mesh", Copies: 10, Day: 50}, {Product: "Solve"}}}
	ask := KeyRequest{Keys: signing.Public, Name: "producer-2026-B", From: 1000, Until: 9000, Root: digest(1)}
	trust := Trust{Producer: "Example Works", Root: root.Public}
	trusted := map[string]string{"trust": keys["trust"]}
	opened := map[string]string{"trust": keys["trust"], "contentKey": keys["contentKey"]}
	given := map[string]string{"serving": hex.EncodeToString(serving.Public().(ed25519.PublicKey))}
	a := answered(c.Encode(&answer))
	var parted Answer
	if err := c.Decode(a, &parted, capability.MaxFrame); err != nil {
		s.t.Fatal(err)
	}
	return []forge{
		{"request", nil, c.Encode(&request), bare}, {"request", nil, c.Encode(&feature), bare}, {"request", nil, c.Encode(&undo), bare},
		{"usage", nil, c.Encode(&usage), bare},
		{"return", nil, c.Encode(&back), bare},
		{"answer", given, c.Encode(&answer), answered},
		{"answer", given, c.Encode(&s.leaves(1)[0]), answered},
		{"answer", given, a, bare},
		{"receipt", map[string]string{"ak": hex.EncodeToString(s.tpm.AK)}, c.Encode(&Receipt{Answer: parted, Serving: serving.Public().(ed25519.PublicKey), Statement: statement}), bare},
		{"response-file", opened, c.Encode(&full), func(b []byte) []byte { return file(s.sealed(clear, b, keys["contentKey"])) }},
		{"response-file", opened, s.sealed(clear, c.Encode(&full), keys["contentKey"]), file},
		{"response-file", opened, c.Encode(&certificate), func(b []byte) []byte {
			return append(responseMagic(), s.twice(signing, TypResponse, s.sealed(clear, c.Encode(&full), keys["contentKey"]), func(w *twiceSigned) { w.outerExtra.Certificate = twice(root, TypKey, b) })...)
		}},
		{"chain", trusted, c.Encode(&appliance), func(b []byte) []byte { return chain(certified, twice(signing, TypAppliance, b)) }},
		{"chain", trusted, chain(certified, applianceSigned), bare},
		{"trust", nil, c.Encode(&trust), func(b []byte) []byte { return append(trustMagic(), b...) }},
		{"key-request", trusted, c.Encode(&ask), func(b []byte) []byte { return append(keyRequestMagic(), twice(signing, TypKeyRequest, b)...) }},
		{"certified-key", trusted, c.Encode(&limits), func(b []byte) []byte {
			k := certificate
			k.Limits = sumOf(append([]byte("leasehold signing limits v1\x00"), b...))
			return slices.Concat(certifiedKeyMagic(), []byte{0xa2, 1}, appendBytes(nil, twice(root, TypKey, c.Encode(&k))), []byte{2}, b)
		}},
	}
}

// Both readers say the same of items that nobody would write: right ones of which one thing is changed, signed again as if it had been meant.
func TestReadersAgree(t *testing.T) {
	n := storagetest.Size(t, 800, 10000, 100000)
	s := &set{t: t, c: New(), tpm: newPaperTPM(t, 0x21)}
	forges, odds := s.forges(), odd()
	seed := uint64(n)
	r := rand.New(rand.NewPCG(seed, 1))
	var contents [][]byte
	var in bytes.Buffer
	taken := 0
	for i := range n {
		f := forges[i%len(forges)]
		item, rest := grow(f.content)
		if len(rest) > 0 {
			t.Fatal("a content of two items")
		}
		what := item.change(r, odds)
		contents = append(contents, item.encode())
		v := &vector{Name: fmt.Sprintf("%s-%d-%s", f.kind, i, what), Kind: f.kind, Keys: f.keys, Hex: hex.EncodeToString(f.sign(item.encode()))}
		err := judgeVector(v, v.bytes())
		if v.Expect = class(err); err == nil {
			taken++
		}
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	lines, _ := SecondReader(t, in.Bytes(), "vectors.mjs", "-")
	differ := 0
	for i, j := range readJudged(t, lines) {
		if !j.As {
			if differ++; differ <= 20 {
				t.Errorf("seed %d: %s: this package says %s, the second reader %s %s%s\n%.3000x", seed, j.Name, j.Expect, j.Got, j.Why, j.Refusal, contents[i])
			}
		}
	}
	t.Logf("seed %d: %d items, %d taken and %d refused, %d judged differently", seed, n, taken, n-taken, differ)
	storagetest.Tried(t, n, differ)
}
