package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// A client that no wire leads to on paper: SPEC.md 7.5 and 8.5, from the specification alone.

func paperClient(key crypto.Signer) (spki []byte, host hostid.ID, kid KeyID) {
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	d := sha256.Sum256(spki)
	return spki, hostid.ID{Type: hostid.DeviceKey, Value: strings.ToUpper(hex.EncodeToString(d[:]))}, KeyID(d[:16])
}

func paperClientEvidence(key crypto.Signer, digest []byte) []byte {
	spki, _, _ := paperClient(key)
	said := slices.Concat([]byte("leasehold client request v1\x00"), digest)
	var signature []byte
	switch k := key.(type) {
	case ed25519.PrivateKey:
		signature = ed25519.Sign(k, said)
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256(said)
		der, err := k.Sign(nil, sum[:], crypto.SHA256) // RFC 6979: the same each time
		var rs struct{ R, S *big.Int }
		if err == nil {
			_, err = asn1.Unmarshal(der, &rs)
		}
		if err != nil {
			panic(err)
		}
		signature = make([]byte, 64)
		rs.R.FillBytes(signature[:32])
		rs.S.FillBytes(signature[32:])
	}
	return slices.Concat([]byte{0x82, 0, byte(len(spki))}, spki, signature)
}

// clientKeys are one of each kind, and a stranger's.
func clientKeys() (ed ed25519.PrivateKey, p256 *ecdsa.PrivateKey, other ed25519.PrivateKey) {
	p256, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{0x51}, 32))
	if err != nil {
		panic(err)
	}
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x52}, 32)), p256, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x53}, 32))
}

// clientFiles are request files to an appliance.
func (s *set) clientFiles() {
	c := s.c
	key, p256, other := clientKeys()
	root, _, err := keyPair(s.producerKeys())
	if err != nil {
		s.t.Fatal(err)
	}
	_, host, kid := paperClient(key)
	_, otherHost, otherKID := paperClient(other)
	r := capability.Request{Version: 1, Hosts: []hostid.ID{host}, Correlation: correlation(), Desired: []capability.Desired{{Feature: "render", Version: capability.Version{Major: 2026, Minor: 1}, Count: 1}},
		Atomic: true, Alias: "notebook-7", Borrow: 2592000, Number: 3, Producer: c.Fingerprint(root.Public)}
	make1 := func(r capability.Request, alg int64, kid KeyID, evidence func(digest []byte) []byte) []byte {
		file, _, err := c.SignRequest(&r, alg, kid, func(d capability.Digest) ([]byte, error) { return evidence(d[:]), nil })
		if err != nil {
			s.t.Fatal(err)
		}
		return file
	}
	by := func(k crypto.Signer) func(d []byte) []byte {
		return func(d []byte) []byte { return paperClientEvidence(k, d) }
	}
	good := func(name, description string, r capability.Request, alg int64, k crypto.Signer) []byte {
		_, _, kid := paperClient(k)
		var evidence []byte
		make1(r, alg, kid, func(d []byte) []byte { evidence = paperClientEvidence(k, d); return evidence })
		b := s.good("request-file", "request-file-client"+name, description, requestFileInput{r, kid, evidence}, nil)
		s.last().Digest = s.digestOf(b)
		return b
	}
	file := good("", "a client that no wire leads to borrows one seat for thirty days, in its third file", r, AlgEd25519, key)
	back := r
	back.Number, back.Applied, back.Borrow, back.Desired = 4, 7, 0, []capability.Desired{{Feature: "render", Version: capability.Version{}, Count: 0}}
	good("-return", "and gives it back early: a count of 0, and the serial of the answer that lent it", back, AlgEd25519, key)
	asked := r
	_, asked.Hosts[0], _ = paperClient(p256)
	asked.Hosts = []hostid.ID{asked.Hosts[0]}
	r.Hosts = []hostid.ID{host}
	good("-p256", "the same with a P-256 key, as TPMs have them", asked, AlgESP256, p256)

	bad := func(name, expect, description string, b []byte) {
		s.bad("request-file", "request-file-client-"+name, expect, description, b, nil)
	}
	change := func(f func(*capability.Request)) []byte {
		o := r
		o.Hosts, o.Desired = slices.Clone(r.Hosts), slices.Clone(r.Desired)
		f(&o)
		return make1(o, AlgEd25519, kid, by(key))
	}
	bad("payload-flipped", "signature", "one bit of the alias is another", s.flipIn(file, []byte("notebook-7"), 3))
	bad("signature-flipped", "signature", "one bit of the signature is another", flip(file, -1))
	bad("of-another", "signature", "another key signed, and kid and host are of the key that it does not have", make1(r, AlgEd25519, kid, by(other)))
	bad("kid", "signature", "kid is another key's", make1(r, AlgEd25519, otherKID, by(key)))
	bad("host-of-another", "signature", "the first host ID is another key's", change(func(o *capability.Request) { o.Hosts[0] = otherHost }))
	bad("host-of-another-beside", "malformed", "another device key is named beside the one that signed", change(func(o *capability.Request) { o.Hosts = append(o.Hosts, otherHost) }))
	bad("host-of-tpm", "signature", "the first host ID has the type of a TPM", change(func(o *capability.Request) { o.Hosts[0].Type = hostid.TPMEK }))
	bad("of-back-office", "signature", "the key signed the digest as a machine's request to a back office", make1(r, AlgEd25519, kid, func(d []byte) []byte {
		e := paperClientEvidence(key, d)
		return append(e[:len(e)-64], ed25519.Sign(key, slices.Concat([]byte("leasehold device request v1\x00"), d))...)
	}))
	bad("cut-evidence", "malformed", "evidence without its last byte", make1(r, AlgEd25519, kid, func(d []byte) []byte { e := paperClientEvidence(key, d); return e[:len(e)-1] }))
	bad("long-evidence", "malformed", "evidence with a byte behind it", make1(r, AlgEd25519, kid, func(d []byte) []byte { return append(paperClientEvidence(key, d), 0) }))
	bad("key-length", "malformed", "the length of the key is one more", make1(r, AlgEd25519, kid, func(d []byte) []byte { e := paperClientEvidence(key, d); e[2]++; return e }))
	bad("alg", "malformed", "alg is ESP256, and the key is of Ed25519", make1(r, AlgESP256, kid, by(key)))
	bad("alg-quote", "malformed", "alg is a TPM's quote", make1(r, AlgTPMQuote, kid, by(key)))
	bad("no-number", "malformed", "no number", change(func(o *capability.Request) { o.Number = 0 }))
	bad("high-number", "malformed", "a number that leaves no room to count on", change(func(o *capability.Request) { o.Number = 1 << 62 }))
	bad("no-producer", "malformed", "no producer", change(func(o *capability.Request) { o.Producer = capability.Digest{} }))
	bad("not-atomic", "malformed", "lines that stand alone", change(func(o *capability.Request) { o.Atomic = false }))
	bad("preview", "malformed", "a preview", change(func(o *capability.Request) { o.Operation = capability.Preview }))
	bad("receipt", "malformed", "a receipt", change(func(o *capability.Request) { o.Receipt = []byte{1} }))
	bad("nothing", "malformed", "no line", change(func(o *capability.Request) { o.Desired = nil }))
	bad("wait", "malformed", "a line that waits for a seat", change(func(o *capability.Request) { o.Desired[0].Wait = true }))
	bad("activation-id", "malformed", "a line of an activation ID", change(func(o *capability.Request) { o.Desired[0] = capability.Desired{ActivationID: s.id(7), Count: 1} }))
	bad("settled", "malformed", "a field that only a back office is told", change(func(o *capability.Request) { o.Settled = true }))
}

// answerFiles are what an appliance answers to them.
func (s *set) answerFiles() {
	c, keys := s.c, s.producerKeys()
	delete(keys, "contentKey")
	keys["servingSeed"] = servingSeed()
	key, _, _ := clientKeys()
	_, host, _ := paperClient(key)
	serving := publicOf(servingSeed())
	responses := s.leaves(3)
	lent := &responses[1]
	lent.For, lent.Key, lent.Serial, lent.Lifetime = host, capability.Digest(unhex(host.Value)), 7, 86400
	lent.Rights[0].Count, lent.Rights[0].Expiry = 1, 5000+2592000
	in := answerFileInput{chainInput{KeyCertificate{Name: "producer-2026-A", From: 1000, Until: 9000},
		ApplianceCertificate{Host: s.appliance(), AK: s.tpm.AK, Serial: 4, From: 5000, Until: 8000}, serving, s.tpm.evidence(s.t, "session", serving)}, answerInput{responses, 1, 5000, 9}}
	good := s.good("answer-file", "answer-file-good", "the answer to request-file-client, with all that leads to it from the producer's root", in, keys)
	returned := in
	returned.Answer.Responses = slices.Clone(responses)
	back := &returned.Answer.Responses[1]
	back.Status, back.Serial, back.Rights, back.Lines = capability.StatusReturned, 8, nil, []capability.Line{{}}
	s.good("answer-file", "answer-file-return", "the answer to request-file-client-return", returned, keys)

	judge := judgeKeys(keys)
	f, err := c.ReadAnswerFile(good)
	if err != nil {
		s.t.Fatal(err)
	}
	bad := func(name, expect, description string, b []byte) {
		s.bad("answer-file", "answer-file-"+name, expect, description, b, judge)
	}
	change := func(change func(*AnswerFile)) []byte {
		g := *f
		change(&g)
		return append(answerMagic(), c.Encode(&g)...)
	}
	bad("cut", "cut", "half of a good file", good[:len(good)/2])
	bad("trailing-byte", "malformed", "one byte after a good file", append(bytes.Clone(good), 0))
	bad("oversize", "size", "1 MiB after the magic", good[:9])
	s.last().Pad = capability.MaxFile
	bad("magic-of-request", "kind", "under the magic of a request", append(requestMagic(), good[8:]...))
	bad("tag-18", "kind", "with the tag of an envelope, as a back office answers", append(responseMagic(), good[8:]...))
	bad("no-certificates", "malformed", "the chain of an appliance that is not activated", change(func(g *AnswerFile) { g.Chain.Key, g.Chain.Appliance = nil, nil }))
	bad("no-answer", "kind", "a map of one: no answer", append(answerMagic(), c.Encode(map[int]any{1: &f.Chain})...))
	bad("chain-too-long", "size", "a chain of more than a frame", change(func(g *AnswerFile) { g.Chain.Statement = make([]byte, 10000) }))
	bad("other-producer", "other-producer", "certified by another root", func() []byte {
		other := maps.Clone(keys)
		other["rootSeed"] = hex.EncodeToString(seed(5))
		o, err := in.encode(c, other)
		if err != nil {
			s.t.Fatal(err)
		}
		return o
	}())
	bad("response-flipped", "signature", "one bit of the expiry is another", s.flipIn(good, []byte("render"), 2))
	bad("statement-flipped", "signature", "one bit of the AK's statement is another", s.flipIn(good, f.Chain.Statement, 60))
	bad("other-serving", "signature", "the answer is by a serving key that the chain does not prove", func() []byte {
		other := maps.Clone(keys)
		other["servingSeed"] = strings.Repeat("77", 32)
		g := in
		a := g.Answer.answer(c, other)
		return change(func(g *AnswerFile) { g.Answer = a })
	}())
	neighbor := in.Answer
	neighbor.Leaf = 0
	other := neighbor.answer(c, keys)
	bad("neighbor", "signature", "the response of a neighbor in the group, under the proof of this one", change(func(g *AnswerFile) { g.Answer.Response = other.Response }))
	bad("revoked", "revoked", "a good file by a key that the reader knows as revoked", good)
	_, signing, err := keyPair(keys)
	if err != nil {
		s.t.Fatal(err)
	}
	s.last().Keys = maps.Clone(judge)
	s.last().Keys["revoked"] = hex.EncodeToString(sliceOf(c.Fingerprint(signing.Public)))
}

type answerFileInput struct {
	Chain  chainInput  `json:"chain"`
	Answer answerInput `json:"answer"`
}

func (in *answerFileInput) encode(c *Codec, keys map[string]string) ([]byte, error) {
	b, err := in.Chain.encode(c, keys)
	if err != nil {
		return nil, err
	}
	f := AnswerFile{Answer: in.Answer.answer(c, keys)}
	if err := c.Decode(b, &f.Chain, capability.MaxFile); err != nil {
		return nil, err
	}
	return c.EncodeAnswerFile(&f), nil
}
