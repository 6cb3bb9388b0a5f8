package wire

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/hostid"
)

// twiceSigned builds an item that is signed twice, with whatever a forger would like to be different.
type twiceSigned struct {
	key                      *ProducerKey
	typInner, typOuter       string
	kidInner, kidOuter       KeyID
	algInner, algOuter       int64
	payload                  []byte
	innerExtra, outerExtra   unprotected
	changeInner, changeOuter func(sig []byte) []byte
}

func (s *set) twice(key *ProducerKey, typ string, payload []byte, f func(*twiceSigned)) []byte {
	kid := s.c.keyID(key.Public)
	same := func(sig []byte) []byte { return sig }
	w := &twiceSigned{key: key, typInner: typ, typOuter: typ, kidInner: kid, kidOuter: kid, algInner: AlgEd25519, algOuter: AlgMLDSA87,
		payload: payload, changeInner: same, changeOuter: same}
	f(w)
	c := s.c
	inner := c.Encode(header{Alg: w.algInner, KID: w.kidInner, Typ: w.typInner})
	in := c.Encode(sign1{Protected: inner, Unprotected: w.innerExtra, Payload: &w.payload,
		Signature: w.changeInner(ed25519.Sign(w.key.ed.(ed25519.PrivateKey), c.toBeSigned(inner, w.payload)))})
	outer := c.Encode(header{Alg: w.algOuter, KID: w.kidOuter, Typ: w.typOuter})
	sig, err := w.key.ml.SignDeterministic(c.toBeSigned(outer, in), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return c.Encode(sign1{Protected: outer, Unprotected: w.outerExtra, Payload: &in, Signature: w.changeOuter(sig)})
}

func lastFlipped(sig []byte) []byte { return flip(sig, 40) }

func (s *set) responseContent() capability.Response {
	return capability.Response{Version: 1, For: s.appliance(), Serial: 4, Correlation: correlation(), Time: 5000, Lifetime: 600, Request: digest(0x11), Number: 2,
		Items:  []capability.LineItem{{ActivationID: s.id(7), Feature: "render", Version: capability.Version{Major: 2026, Minor: 1}, Count: 40, Copies: 4, Expiry: 1800000000}},
		Lines:  []capability.Line{{Count: 4}},
		Policy: capability.Policy{Lease: 900, RenewPercent: 15}, BookHead: digest(0x12)}
}

// fullResponse has every field that a back office sets, and those of a client's answer too.
func (s *set) fullResponse() capability.Response {
	r := s.responseContent()
	r.Status = capability.StatusPartly
	r.Rights = []capability.Right{{Feature: "render", Version: capability.Version{Major: 2026, Minor: 1}, Count: 2, Expiry: 5900, Final: 1800000000, Vendor: "gold"}}
	r.Items = append(r.Items, capability.LineItem{ActivationID: s.id(8), Feature: "mesh", Count: 6, Copies: 3, Uncounted: true, Start: 4000, Expiry: 1900000000,
		Product: "Suite", ProductVersion: capability.Version{Major: 3, Minor: 2}, EntitlementID: "E-1", VendorString: "v", Issuer: "Example Works", Issued: 4500, Notice: "for tests",
		SerialNumber: "S-1", Overdraft: 1, Metered: true, Reusable: true, UndoInterval: 60, Grace: true, Borrow: 86400, Selectors: []capability.Pair{{Key: "site", Value: "north"}}, UsedBefore: 1, User: "ana"})
	r.Lines = append(r.Lines, capability.Line{Status: capability.LineInsufficient, Count: 1, Denial: capability.Denial{Code: capability.ErrNoSeat, Subject: "mesh", Asked: 4, Available: 1, Total: 6, Used: 5,
		Until: 5900, Highest: capability.Version{Major: 1}, Detail: "five are in use", Position: 2, Holders: []capability.Holder{{Name: "WS-114", Count: 5, Expiry: 5900}}}})
	r.Denials = []capability.Denial{{Code: capability.ErrHold, Until: 5900}}
	r.Policy = capability.Policy{Lease: 60, RenewPercent: 90, Holders: capability.HoldersNames, Tolerance: 86400, ResponseLife: 600, Granularity: 1, BorrowMaximum: 604800,
		Binding: hostid.RuleDongle, Grace: 3600, Dongle: hostid.ID{Type: hostid.Flexid9, Value: "9-1A2B"}, Detail: true, States: true, Duplicates: true}
	r.Salt, r.Hold, r.Key, r.Epoch, r.Life = [16]byte{5}, 5900, digest(0x13), 70000, capability.LifeID{0x11, 0xfe}
	r.Acknowledged, r.Records, r.Revoked = []capability.ReturnID{{1, 2, 3}}, 2, []capability.Digest{digest(0x14)}
	r.Boot = capability.Boot{Key: []byte("public key"), Ref: []byte("ref"), States: [][]byte{append([]byte{0x41}, make([]byte, 160)...)}}
	r.Certificate, r.ReturnAsked = []byte("an appliance certificate"), true
	return r
}

func (s *set) responseFiles() {
	c, keys := s.c, s.producerKeys()
	root, signing, err := keyPair(keys)
	if err != nil {
		s.t.Fatal(err)
	}
	validity := KeyCertificate{Name: "producer-2026-A", From: 1000, Until: 9000}
	r := s.responseContent()
	good := s.good("response-file", "response-file-good", "four copies for an appliance; wrap is opaque here, contentKey is what it carries",
		responseFileInput{validity, r, []byte("a wrapped key")}, keys)
	s.good("response-file", "response-file-every-field", "every field of a response, made in the only second of its key's time", responseFileInput{KeyCertificate{From: 5000, Until: 5000}, s.fullResponse(), []byte("a wrapped key")}, keys)

	judge := judgeKeys(keys)
	bad := func(name, expect, description string, b []byte) {
		s.bad("response-file", "response-file-"+name, expect, description, b, judge)
	}
	read, err := c.ReadResponse(good)
	if err != nil {
		s.t.Fatal(err)
	}
	outerSig, innerSig := read.twice.outer.Signature, read.twice.inner.Signature

	bad("cut", "cut", "half of a good file", good[:len(good)/2])
	bad("trailing-byte", "malformed", "one byte after a good file", append(bytes.Clone(good), 0))
	bad("oversize", "size", "1 MiB after the magic", good[:9])
	s.last().Pad = capability.MaxFile
	bad("magic-of-request", "kind", "a response under the magic of a request", append(requestMagic(), good[9:]...))
	bad("outer-flipped", "one-signature", "one bit of the ML-DSA-87 signature is another", s.flipIn(good, outerSig, 1000))
	bad("inner-flipped", "one-signature", "one bit of the Ed25519 signature is another, and ML-DSA-87 covers what is there", s.responseFile(signing, read, nil, func(w *twiceSigned) { w.changeInner = lastFlipped }))
	bad("inner-malleable", "one-signature", "S of the Ed25519 signature is S + L", s.responseFile(signing, read, nil, func(w *twiceSigned) { w.changeInner = malleate }))
	bad("inner-flipped-only", "signature", "one bit of the Ed25519 signature is another: ML-DSA-87 covers it, so both are bad", s.flipIn(good, innerSig, 2))
	bad("cipher-flipped", "signature", "one bit of the ciphertext is another", s.flipIn(good, read.cipher, 5))
	bad("clear-flipped", "signature", "one bit of the host ID in the clear part is another", s.flipIn(good, []byte(r.For.Value), 9))
	bad("certificate-flipped", "signature", "one bit of the signing key inside the key certificate is another", s.flipIn(good, signing.Public.Ed25519, 7))
	bad("inner-alone", "malformed", "only the Ed25519 envelope", append(responseMagic(), c.Encode(*read.twice.inner)...))
	bad("typ-outer", "type", "the outer envelope is of type appliance", s.responseFile(signing, read, nil, func(w *twiceSigned) { w.typOuter = TypAppliance }))
	bad("typ-inner", "type", "the inner envelope is of type key", s.responseFile(signing, read, nil, func(w *twiceSigned) { w.typInner = TypKey }))
	bad("alg-swapped", "malformed", "alg of the outer envelope is Ed25519", s.responseFile(signing, read, nil, func(w *twiceSigned) { w.algOuter = AlgEd25519 }))
	bad("alg-eddsa", "malformed", "alg of the inner envelope is the polymorphic EdDSA (-8)", s.responseFile(signing, read, nil, func(w *twiceSigned) { w.algInner = -8 }))
	bad("kid-inner", "malformed", "the two envelopes name two keys", s.responseFile(signing, read, nil, func(w *twiceSigned) { w.kidInner = KeyID{1} }))
	bad("kid-wrong", "signature", "kid is not the certified key's", s.responseFile(signing, read, nil, func(w *twiceSigned) { w.kidInner, w.kidOuter = KeyID{1}, KeyID{1} }))
	bad("signed-by-root", "signature", "signed by the root instead of the certified key", s.responseFile(root, read, nil, func(*twiceSigned) {}))
	bad("no-certificate", "malformed", "no key certificate", s.responseFile(signing, read, nil, func(w *twiceSigned) { w.outerExtra.Certificate = nil }))
	bad("extra-unsigned", "malformed", "a proof in the unprotected header", s.responseFile(signing, read, nil, func(w *twiceSigned) { w.outerExtra.Proofs = &proofs{} }))
	bad("inner-unsigned", "malformed", "a certificate in the unprotected header of the inner envelope", s.responseFile(signing, read, nil, func(w *twiceSigned) { w.innerExtra.Certificate = []byte{1} }))

	certified := func(k KeyCertificate, by *ProducerKey, f func(*twiceSigned)) func(*twiceSigned) {
		k.Keys = signing.Public
		b := s.twice(by, TypKey, c.Encode(&k), f)
		return func(w *twiceSigned) { w.outerExtra.Certificate = b }
	}
	plain := func(*twiceSigned) {}
	stranger, err := NewProducerKey(seed(5))
	if err != nil {
		s.t.Fatal(err)
	}
	bad("other-producer", "other-producer", "the key is certified by another root", s.responseFile(signing, read, nil, certified(validity, stranger, plain)))
	bad("certificate-one-signature", "one-signature", "the Ed25519 signature of the key certificate is bad", s.responseFile(signing, read, nil, certified(validity, root, func(w *twiceSigned) { w.changeInner = lastFlipped })))
	bad("certificate-typ", "type", "the key certificate is of type appliance", s.responseFile(signing, read, nil, certified(validity, root, func(w *twiceSigned) { w.typInner, w.typOuter = TypAppliance, TypAppliance })))
	bad("certificate-smuggles", "malformed", "the key certificate has unsigned bytes in its own unprotected header", s.responseFile(signing, read, nil, certified(validity, root, func(w *twiceSigned) { w.outerExtra.Certificate = []byte("anything") })))
	bad("key-expired", "signature", "the signing key's time was over when the response was made", s.responseFile(signing, read, nil, certified(KeyCertificate{From: 1000, Until: 4999}, root, plain)))
	bad("key-revokes-itself", "revoked", "the certificate of the signing key revokes that key", s.responseFile(signing, read, nil, certified(KeyCertificate{From: 1000, Until: 9000, Number: 2, Revoked: []RevokedKey{{c.Fingerprint(signing.Public), 4000}}}, root, plain)))
	bad("key-revokes-twice", "malformed", "the key certificate revokes one key twice", s.responseFile(signing, read, nil, certified(KeyCertificate{From: 1000, Until: 9000, Revoked: []RevokedKey{{digest(1), 4000}, {digest(1), 4001}}}, root, plain)))
	bad("key-revoked", "revoked", "a good file by a key that the reader knows as revoked", good)
	s.last().Keys = maps.Clone(judge)
	s.last().Keys["revoked"] = hex.EncodeToString(sliceOf(c.Fingerprint(signing.Public)))
	bad("key-too-new", "signature", "the signing key's time had not begun when the response was made", s.responseFile(signing, read, nil, certified(KeyCertificate{From: 5001, Until: 9000}, root, plain)))

	content := func(f func(*capability.Response), g func(*Clear)) []byte {
		o, cl := r, clearOf(&r)
		f(&o)
		g(&cl)
		return s.sealed(cl, c.Encode(&o), keys["contentKey"])
	}
	same := func(*Clear) {}
	reseal := func(payload []byte) []byte {
		return s.responseFile(signing, read, payload, plain)
	}
	bad("clear-contradicts-serial", "malformed", "the clear part says serial 5, the content 4", reseal(content(func(*capability.Response) {}, func(c *Clear) { c.Serial = 5 })))
	bad("clear-contradicts-host", "malformed", "the clear part names another host than the content", reseal(content(func(*capability.Response) {}, func(c *Clear) { c.For.Value = strings.Repeat("0F", 32) })))
	bad("clear-contradicts-life", "malformed", "apply-before is later than time and lifetime of the content", reseal(content(func(*capability.Response) {}, func(c *Clear) { c.ApplyBefore++ })))
	bad("clear-contradicts-request", "malformed", "the clear part names another request than the content", reseal(content(func(*capability.Response) {}, func(c *Clear) { c.Request[0]++ })))
	bad("content-copies", "malformed", "a count that is no multiple of its copies", reseal(content(func(o *capability.Response) {
		o.Items = slices.Clone(o.Items)
		o.Items[0].Count = 41
	}, same)))
	bad("content-twice", "malformed", "a line item twice", reseal(content(func(o *capability.Response) { o.Items = append(slices.Clone(o.Items), o.Items[0]) }, same)))
	bad("content-escape", "malformed", "an escape sequence for a terminal in a denial", reseal(content(func(o *capability.Response) { o.Denials = []capability.Denial{{Code: 1, Detail: "\x1b]0;"}} }, same)))
	bad("content-no-lifetime", "malformed", "a response that has no end, which is for connections only", reseal(content(func(o *capability.Response) { o.Lifetime = 0 }, func(c *Clear) { c.ApplyBefore = c.Time })))
	bad("content-holders", "malformed", "a way to show holders that is not known", reseal(content(func(o *capability.Response) { o.Policy.Holders = 3 }, same)))
	bad("content-dongle", "malformed", "a dongle that is a network card", reseal(content(func(o *capability.Response) {
		o.Policy.Dongle = hostid.ID{Type: hostid.Ethernet, Value: "02004C4F4F50"}
	}, same)))
	bad("content-state", "malformed", "a signed boot state of 160 bytes", reseal(content(func(o *capability.Response) { o.Boot.States = [][]byte{append([]byte{0x41}, make([]byte, 159)...)} }, same)))
	bad("content-used-before", "malformed", "an item that is not metered has been used", reseal(content(func(o *capability.Response) {
		o.Items = slices.Clone(o.Items)
		o.Items[0].UsedBefore = 1
	}, same)))
	bad("no-wrap", "malformed", "no wrap", reseal(func() []byte {
		var parts sealed
		if err := c.Decode(read.twice.payload, &parts, capability.MaxFile); err != nil {
			s.t.Fatal(err)
		}
		parts.Wrap = nil
		return c.Encode(parts)
	}()))
	cl, body := clearOf(&r), c.Encode(&r)
	bad("content-unsorted", "malformed", "content whose first key comes again at its end", reseal(s.sealed(cl, append(append([]byte{body[0]}, body[3:]...), body[1:3]...), keys["contentKey"])))
	bad("content-other-key", "signature", "encrypted with another content key", reseal(s.sealed(cl, body, strings.Repeat("08", 32))))
	bad("nonce", "signature", "the associated data is that of another clear part", reseal(func() []byte {
		o := cl
		o.Number++
		b := s.sealed(o, body, keys["contentKey"])
		return s.swap(b, c.Encode(o), c.Encode(cl))
	}()))
	s.last().Name = "response-file-associated-data"
}

// responseFile signs a payload, or that of the file read, anew with one thing wrong.
func (s *set) responseFile(key *ProducerKey, read *SealedResponse, payload []byte, f func(*twiceSigned)) []byte {
	if payload == nil {
		payload = read.twice.payload
	}
	return append(responseMagic(), s.twice(key, TypResponse, payload, func(w *twiceSigned) {
		w.outerExtra.Certificate = read.certificate
		f(w)
	})...)
}

// sealed is what a response file's signatures cover, made of parts that need not belong together.
func (s *set) sealed(cl Clear, body []byte, key string) []byte {
	aead, err := contentCipher(unhex(key))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.c.Encode(sealed{Clear: cl, Wrap: []byte("a wrapped key"), Cipher: aead.Seal(nil, make([]byte, 12), body, s.c.associated(cl))})
}

func (s *set) chains() {
	c, keys := s.c, s.producerKeys()
	delete(keys, "contentKey")
	root, signing, err := keyPair(keys)
	if err != nil {
		s.t.Fatal(err)
	}
	serving := publicOf(servingSeed())
	in := chainInput{KeyCertificate{Name: "producer-2026-A", From: 1000, Until: 9000},
		ApplianceCertificate{Host: s.appliance(), AK: s.tpm.AK, Serial: 4, From: 5000, Until: 8000}, serving, s.tpm.evidence(s.t, "session", serving)}
	good := s.good("chain", "chain-good", "from the root to a serving key, with a true statement of the AK", in, keys)
	judge := judgeKeys(keys)
	var ch Chain
	if err := c.Decode(good, &ch, capability.MaxFrame); err != nil {
		s.t.Fatal(err)
	}
	bad := func(name, expect, description string, f func(*Chain)) {
		o := ch
		f(&o)
		s.bad("chain", "chain-"+name, expect, description, c.Encode(&o), judge)
	}
	appliance := func(a ApplianceCertificate, by *ProducerKey, f func(*twiceSigned)) []byte {
		return s.twice(by, TypAppliance, c.Encode(&a), f)
	}
	plain := func(*twiceSigned) {}
	stranger, err := NewProducerKey(seed(5))
	if err != nil {
		s.t.Fatal(err)
	}
	bad("other-producer", "other-producer", "the key certificate is another root's", func(o *Chain) {
		k := in.KeyCertificate
		k.Keys = signing.Public
		o.Key = s.twice(stranger, TypKey, c.Encode(&k), plain)
	})
	bad("key-short", "malformed", "the root certified an Ed25519 key of 31 bytes", func(o *Chain) {
		k := in.KeyCertificate
		k.Keys = PublicKeys{Ed25519: signing.Public.Ed25519[:31], MLDSA87: signing.Public.MLDSA87}
		o.Key = s.twice(root, TypKey, c.Encode(&k), plain)
	})
	bad("key-flipped", "signature", "one bit of the certified key is another", func(o *Chain) { o.Key = s.flipIn(o.Key, signing.Public.Ed25519, 0) })
	bad("key-revokes-itself", "revoked", "the certificate of the signing key revokes that key", func(o *Chain) {
		k := in.KeyCertificate
		k.Keys, k.Revoked = signing.Public, []RevokedKey{{c.Fingerprint(signing.Public), 4000}}
		o.Key = s.twice(root, TypKey, c.Encode(&k), plain)
	})
	bad("key-revoked", "revoked", "a good chain by a key that the reader knows as revoked", func(*Chain) {})
	s.last().Keys = maps.Clone(judge)
	s.last().Keys["revoked"] = hex.EncodeToString(sliceOf(c.Fingerprint(signing.Public)))
	bad("appliance-flipped", "signature", "one bit of the AK is another", func(o *Chain) { o.Appliance = s.flipIn(o.Appliance, s.tpm.AK, -1) })
	bad("appliance-one-signature", "one-signature", "the Ed25519 signature of the appliance certificate is bad", func(o *Chain) {
		o.Appliance = appliance(in.ApplianceCertificate, signing, func(w *twiceSigned) { w.changeInner = lastFlipped })
	})
	bad("appliance-by-root", "signature", "the appliance certificate is signed by the root", func(o *Chain) { o.Appliance = appliance(in.ApplianceCertificate, root, plain) })
	bad("appliance-by-stranger", "signature", "the appliance certificate is signed by a key nobody certified, under the right kid", func(o *Chain) {
		o.Appliance = appliance(in.ApplianceCertificate, stranger, func(w *twiceSigned) {
			w.kidInner, w.kidOuter = c.keyID(signing.Public), c.keyID(signing.Public)
		})
	})
	bad("appliance-typ", "type", "the key certificate in the place of the appliance's", func(o *Chain) { o.Appliance = o.Key })
	bad("appliance-time", "signature", "the appliance certificate is from after the signing key's time", func(o *Chain) {
		a := in.ApplianceCertificate
		a.From = 9001
		o.Appliance = appliance(a, signing, plain)
	})
	bad("appliance-host", "malformed", "the appliance certificate names a host ID of type 0", func(o *Chain) {
		a := in.ApplianceCertificate
		a.Host.Type = hostid.Unknown
		o.Appliance = appliance(a, signing, plain)
	})
	bad("appliance-smuggles", "malformed", "the appliance certificate has unsigned bytes in its unprotected header", func(o *Chain) {
		o.Appliance = appliance(in.ApplianceCertificate, signing, func(w *twiceSigned) { w.outerExtra.Certificate = []byte("anything") })
	})
	bad("serving-swapped", "signature", "another serving key than the one stated", func(o *Chain) { o.Serving = publicOf(strings.Repeat("55", 32)) })
	bad("key-escape", "malformed", "the name of the certified key has an escape sequence for a terminal", func(o *Chain) {
		k := in.KeyCertificate
		k.Keys, k.Name = signing.Public, "a\x1b[2J"
		o.Key = s.twice(root, TypKey, c.Encode(&k), plain)
	})
	bad("appliance-before", "malformed", "the appliance certificate ends before 1970", func(o *Chain) {
		a := in.ApplianceCertificate
		a.Until = -1
		o.Appliance = appliance(a, signing, plain)
	})
	bad("appliance-no-ak", "malformed", "the appliance certificate names no AK", func(o *Chain) {
		a := in.ApplianceCertificate
		a.AK = nil
		o.Appliance = appliance(a, signing, plain)
	})
	bad("serving-zeros", "malformed", "a serving key of zeros, which says that there is none", func(o *Chain) { o.Serving = make([]byte, 32) })
	bad("serving-short", "malformed", "a serving key of 31 bytes", func(o *Chain) { o.Serving = o.Serving[:31] })
	bad("statement-flipped", "signature", "one bit of the AK's signature is another", func(o *Chain) { o.Statement = flip(o.Statement, -5) })
	bad("statement-of-another", "signature", "the statement is another TPM's", func(o *Chain) { o.Statement = newPaperTPM(s.t, 0x31).evidence(s.t, "session", serving) })
	bad("statement-of-request", "signature", "the AK's quote over the serving key was made as a request's", func(o *Chain) { o.Statement = s.tpm.evidence(s.t, "request", serving) })
	bad("not-activated", "malformed", "the chain of an appliance that has had no response: no certificates, so nothing is proven (LH-4001)", func(o *Chain) { o.Key, o.Appliance = nil, nil })
	bad("no-statement", "signature", "no statement", func(o *Chain) { o.Statement = nil })
	s.bad("chain", "chain-cut", "malformed", "half of a good chain", good[:len(good)/2], judge)
	s.bad("chain", "chain-trailing-byte", "malformed", "one byte after a good chain", append(bytes.Clone(good), 0), judge)
}

func servingSeed() string { return strings.Repeat("03", 32) }

func servingKeys() map[string]string {
	return map[string]string{"servingSeed": servingSeed(), "serving": hex.EncodeToString(publicOf(servingSeed()))}
}

func (s *set) leaves(n int) []capability.Response {
	var rs []capability.Response
	for i := range n {
		rs = append(rs, capability.Response{Version: 1, For: client(), Serial: uint64(i + 1), Correlation: correlation(), Time: 5000, Salt: [16]byte{byte(i), 0x5a}, Key: digest(0xc1),
			Rights: []capability.Right{{Feature: "render", Version: capability.Version{Major: 2026, Minor: 1}, Count: 2, Expiry: 5900}}})
	}
	return rs
}

func (s *set) answers() {
	c, keys := s.c, servingKeys()
	judge := judgeKeys(keys)
	s.good("answer", "answer-alone", "a group of one: an empty path", answerInput{s.leaves(1), 0, 5000, 9}, keys)
	s.good("answer", "answer-first-of-seven", "leaf 0 of 7", answerInput{s.leaves(7), 0, 5000, 9}, keys)
	s.good("answer", "answer-last-of-seven", "leaf 6 of 7: an odd last node moves up unhashed, its path is shorter", answerInput{s.leaves(7), 6, 5000, 9}, keys)
	named := s.leaves(1)
	named[0].For = hostid.ID{Type: hostid.String, Value: "press-7"}
	s.good("answer", "answer-named", "for a host ID that is not the key's", answerInput{named, 0, 5000, 9}, keys)
	in := answerInput{s.leaves(5), 2, 5000, 9}
	good := s.good("answer", "answer-third-of-five", "leaf 2 of 5; the bad answers are made of this one", in, keys)

	a := in.answer(c, keys)
	key := ed25519.NewKeyFromSeed(unhex(servingSeed()))
	var encoded [][]byte
	for i := range in.Responses {
		encoded = append(encoded, c.Encode(&in.Responses[i]))
	}
	tree := Grow(encoded)
	path, root := tree.Path(2), tree.Root()
	bad := func(name, expect, description string, a Answer) {
		s.bad("answer", "answer-"+name, expect, description, c.Encode(&a), judge)
	}
	head := header{Alg: AlgEd25519, KID: ServingKeyID(publicOf(servingSeed())), Typ: TypGroup, VDS: vdsRFC9162, Claims: &claims{IssuedAt: 5000, Epoch: 9, Size: 5}}
	// proof signs root under head and joins it with the inclusion proofs.
	proof := func(h any, root capability.Digest, payload *[]byte, extra []byte, ins ...[]byte) []byte {
		p := c.Encode(h)
		return c.Encode(sign1{Protected: p, Unprotected: unprotected{Proofs: &proofs{ins}, Certificate: extra}, Payload: payload, Signature: ed25519.Sign(key, c.toBeSigned(p, root[:]))})
	}
	at := func(size, leaf uint64, path []capability.Digest) []byte {
		return c.Encode(inclusion{Size: size, Leaf: leaf, Path: path})
	}
	with := func(proof []byte) Answer { return Answer{a.Response, proof} }
	right := at(5, 2, path)
	if !bytes.Equal(proof(head, root, nil, nil, right), a.Proof) {
		s.t.Fatal("the forger's tools do not make the good proof")
	}

	bad("no-response", "malformed", "a proof of nothing", Answer{nil, a.Proof})
	bad("response-flipped", "signature", "one bit of the count is another", Answer{s.flipIn(a.Response, []byte("render"), 0), a.Proof})
	bad("neighbor", "signature", "the response of leaf 3 with the proof of leaf 2", Answer{encoded[3], a.Proof})
	bad("signature-flipped", "signature", "one bit of the signature is another", with(flip(a.Proof, -1)))
	bad("signature-malleable", "signature", "S of the signature is S + L", with(s.swap(a.Proof, a.Proof[len(a.Proof)-64:], malleate(a.Proof[len(a.Proof)-64:]))))
	bad("epoch-flipped", "signature", "the epoch in the claims is another", with(s.swap(a.Proof, c.Encode(head), func() []byte {
		h := head
		h.Claims = &claims{IssuedAt: 5000, Epoch: 8, Size: 5}
		return c.Encode(h)
	}())))
	bad("path-flipped", "signature", "one bit of the path is another", with(s.flipIn(a.Proof, path[1][:], 0)))
	bad("path-short", "signature", "the last digest of the path is missing", with(proof(head, root, nil, nil, at(5, 2, path[:len(path)-1]))))
	bad("path-long", "signature", "a digest more than the tree has levels", with(proof(head, root, nil, nil, at(5, 2, append(slices.Clone(path), digest(1))))))
	bad("path-33", "malformed", "33 digests", with(proof(head, root, nil, nil, at(5, 2, slices.Repeat(path[:1], 33)))))
	bad("path-swapped", "signature", "two digests of the path in the other order", with(proof(head, root, nil, nil, at(5, 2, []capability.Digest{path[1], path[0], path[2]}))))
	bad("node-as-response", "signature", "the left half of the tree as if its 64 bytes were a response", func() Answer {
		n := slices.Concat(path[0][:], path[0][:])
		return Answer{n, proof(head, root, nil, nil, at(5, 0, path[1:]))}
	}())
	bad("index-at-size", "signature", "leaf 5 of 5", with(proof(head, root, nil, nil, at(5, 5, path))))
	bad("index-huge", "signature", "leaf 2^64-1 of 5", with(proof(head, root, nil, nil, at(5, 1<<64-1, path))))
	bad("index-other", "signature", "leaf 3 instead of 2", with(proof(head, root, nil, nil, at(5, 3, path))))
	bad("size-mismatch", "malformed", "the inclusion proof says 6 leaves, 5 were signed", with(proof(head, root, nil, nil, at(6, 2, path))))
	bad("size-zero", "malformed", "a tree of no leaves", with(func() []byte {
		h := head
		h.Claims = &claims{IssuedAt: 5000, Epoch: 9}
		return proof(h, root, nil, nil, at(0, 0, nil))
	}()))
	bad("digest-31", "malformed", "a digest of 31 bytes in the path", with(proof(head, root, nil, nil, slices.Concat([]byte{0x83, 5, 2, 0x81, 0x58, 31}, path[0][:31]))))
	bad("longer-integer", "malformed", "the size of the inclusion proof in two bytes", with(proof(head, root, nil, nil, slices.Concat([]byte{0x83, 0x18, 5}, right[2:]))))
	bad("two-proofs", "malformed", "two inclusion proofs", with(proof(head, root, nil, nil, right, right)))
	bad("no-proofs", "malformed", "an empty list of inclusion proofs", with(proof(head, root, nil, nil)))
	bad("attached", "malformed", "the root as payload", with(proof(head, root, ptr(root[:]), nil, right)))
	bad("unsigned-extra", "malformed", "a certificate in the unprotected header", with(proof(head, root, nil, []byte{1}, right)))
	other := func(f func(*header)) Answer {
		h := head
		f(&h)
		return with(proof(h, root, nil, nil, right))
	}
	bad("typ-response", "type", "typ is a response's", other(func(h *header) { h.Typ = TypResponse }))
	bad("alg-eddsa", "malformed", "alg is the polymorphic EdDSA (-8)", other(func(h *header) { h.Alg = -8 }))
	bad("alg-none", "malformed", "alg is 0", other(func(h *header) { h.Alg = 0 }))
	bad("kid-wrong", "signature", "signed by the serving key under another kid", other(func(h *header) { h.KID = KeyID{1} }))
	bad("no-vds", "malformed", "no vds", other(func(h *header) { h.VDS = 0 }))
	bad("vds-2", "malformed", "another verifiable data structure", other(func(h *header) { h.VDS = 2 }))
	bad("no-claims", "malformed", "no claims", other(func(h *header) { h.Claims = nil }))
	bad("other-key", "signature", "signed by another serving key, which its kid names", func() Answer {
		k := servingKeys()
		k["servingSeed"] = strings.Repeat("55", 32)
		return in.answer(c, k)
	}())
	bad("other-key-same-kid", "signature", "signed by another serving key under the right kid", func() Answer {
		p := c.Encode(head)
		sig := ed25519.Sign(ed25519.NewKeyFromSeed(unhex(strings.Repeat("55", 32))), c.toBeSigned(p, root[:]))
		return with(c.Encode(sign1{Protected: p, Unprotected: unprotected{Proofs: &proofs{[][]byte{right}}}, Signature: sig}))
	}())
	signed := func(response []byte) Answer {
		return c.Answer(c.SignTree(key, Grow([][]byte{response}), 5000, 9), 0, response)
	}
	bad("content-unsorted", "malformed", "truly signed, but its first key comes again at the end", signed(append(append([]byte{encoded[0][0]}, encoded[0][3:]...), encoded[0][1:3]...)))
	bad("content-says-twice", "malformed", "truly signed, but whom it is for is said beside the key that says it", signed(c.byLibrary(&in.Responses[0])))
	bad("content-no-asker", "malformed", "truly signed, for nobody: neither a host ID nor a key", signed(c.Encode(&capability.Response{Version: 1, Time: 5000})))
	bad("content-no-time", "malformed", "truly signed, but without time", signed(c.Encode(&capability.Response{Version: 1, For: client()})))
	bad("content-denial-of-nothing", "malformed", "truly signed, with a line whose denial says nothing but that no version is licensed", signed(s.swap(
		c.Encode(&capability.Response{Version: 1, For: client(), Time: 5000, Lines: []capability.Line{{Count: 7}}}), []byte{0xa1, 2, 7}, []byte{0xa1, 3, 0xa1, 8, 0x82, 0, 0})))
	bad("content-unknown-field", "malformed", "truly signed, with field 250", signed(append(append([]byte{encoded[0][0] + 1}, encoded[0][1:]...), 0x18, 250, 1)))
	s.bad("answer", "answer-trailing-byte", "malformed", "one byte after a good answer", append(bytes.Clone(good), 0), judge)
	s.bad("answer", "answer-cut", "malformed", "a good answer without its last byte", good[:len(good)-1], judge)
}

func ptr(b []byte) *[]byte { return &b }

func (s *set) receipts() {
	keys := servingKeys()
	keys["ak"] = hex.EncodeToString(s.tpm.AK)
	serving := publicOf(servingSeed())
	in := receiptInput{answerInput{s.leaves(3), 1, 5000, 9}, s.tpm.evidence(s.t, "session", serving)}
	good := s.good("receipt", "receipt-good", "an answer that a client kept, with the AK's statement about the key that signed it", in, keys)
	judge := judgeKeys(keys)
	bad := func(name, expect, description string, b []byte) {
		s.bad("receipt", "receipt-"+name, expect, description, b, judge)
	}
	bad("serving-swapped", "signature", "another serving key than the one stated", s.swap(good, serving, publicOf(strings.Repeat("55", 32))))
	bad("statement-flipped", "signature", "one bit of the AK's signature is another", flip(good, -5))
	bad("answer-flipped", "signature", "one bit of the response is another", s.flipIn(good, []byte("render"), 0))
	bad("trailing-byte", "malformed", "one byte after a good receipt", append(bytes.Clone(good), 0))
	wrong := newPaperTPM(s.t, 0x31)
	s.bad("receipt", "receipt-of-another", "signature", "a receipt of another appliance", good, map[string]string{"ak": hex.EncodeToString(wrong.AK), "serving": keys["serving"]})
}

func (s *set) frames() {
	c := s.c
	r := s.clientRequest()
	a := func() []byte {
		in := answerInput{s.leaves(1), 0, 5000, 9}
		a := in.answer(c, servingKeys())
		return c.Encode(&a)
	}()
	request := s.good("frame", "frame-request", "a request in its frame", frameInput{0, c.Encode(&r)}, nil)
	s.good("frame", "frame-answer", "an answer in its frame", frameInput{1, a}, nil)
	s.good("frame", "frame-ask", "a client asks for the chain", frameInput{2, []byte{0xa0}}, nil)
	for _, v := range s.list {
		if v.Name == "chain-good" {
			s.good("frame", "frame-chain", "the chain in its frame; its serving key signed what is in frame-answer", frameInput{3, unhex(v.Hex)}, nil)
		}
	}
	s.good("frame", "frame-refused", "what answers everything that was not understood", frameInput{4, c.Encode("LH-3001 malformed frame.")}, nil)
	bad := func(name, expect, description, h string) {
		s.bad("frame", "frame-"+name, expect, description, unhex(h), nil)
	}
	bad("empty", "malformed", "a length of 0", "00000000")
	bad("too-large", "size", "a length of 16385", "00004001")
	bad("huge", "size", "a length of 2^32-1", "ffffffff")
	bad("cut-length", "cut", "three of the four bytes of the length", "000000")
	s.bad("frame", "frame-cut", "cut", "a frame without its last byte", request[:len(request)-1], nil)
	bad("kind-5", "malformed", "a kind that is not known", "00000003"+"8205a0")
	bad("kind-negative", "malformed", "kind -1", "00000003"+"8220a0")
	bad("ask-null", "malformed", "a chain is asked for with null", "00000003"+"8202f6")
	bad("ask-more", "malformed", "a chain is asked for with a field", "00000005"+"8202a10101")
	bad("three", "malformed", "a message of three elements", "00000004"+"8302a0a0")
	bad("indefinite", "malformed", "a message in an indefinite-length array", "00000005"+"9f02a0ff00")
	bad("inner-trailing", "malformed", "a byte after the message, inside the frame", "00000004"+"8202a000")
	bad("longer-kind", "malformed", "the kind in two bytes", "00000004"+"821802a0")
	bad("http", "size", "a browser came to the wrong port", hex.EncodeToString([]byte("GET / HTTP/1.1\r\n")))
}

func (s *set) activationIDs() {
	good := func(name, description string, id capability.ActivationID) []byte {
		v := &vector{Name: "activation-id-" + name, Description: description, Kind: "activation-id", Input: string(id), Hex: hex.EncodeToString([]byte(id)), Expect: "ok"}
		s.list = append(s.list, v)
		return []byte(id)
	}
	good("zeros", "all symbols are 0", s.id(0))
	id := good("sevens", "18 times 7 and two check symbols", s.id(7))
	good("highest", "18 times Z and two check symbols", s.id(31))
	bad := func(name, description, text string) {
		s.bad("activation-id", "activation-id-"+name, "malformed", description, []byte(text), nil)
	}
	swap := func(at int, c byte) []byte { b := bytes.Clone(id); b[at] = c; return b }
	bad("one-wrong", "one symbol is wrong: the third is 8 and should be 7", string(swap(2, '8')))
	bad("two-wrong", "two symbols are wrong", func() string { b := swap(2, '8'); b[9] = 'A'; return string(b) }())
	bad("check-wrong", "the last check symbol is wrong", string(swap(len(id)-1, id[len(id)-1]^1)))
	bad("transposed", "two unlike neighbors are swapped", func() string { b := bytes.Clone(id); b[20], b[21] = b[21], b[20]; return string(b) }())
	bad("lower-case", "lower case is for people, not for messages", strings.ToLower(string(s.id(31))))
	bad("no-hyphens", "without hyphens", strings.ReplaceAll(string(id), "-", ""))
	bad("short", "19 symbols", string(id[:len(id)-1]))
	bad("long", "21 symbols", string(id)+"7")
	bad("letter-u", "U is no symbol", string(swap(0, 'U')))
	bad("empty", "nothing", "")
}

func sliceOf(d capability.Digest) []byte { return d[:] }

// certifications are what travels between a back office and the root.
func (s *set) certifications() {
	c, keys := s.c, s.producerKeys()
	delete(keys, "contentKey")
	root, signing, err := keyPair(keys)
	if err != nil {
		s.t.Fatal(err)
	}
	ask := KeyRequest{Name: "producer-2026-B", From: 1000, Until: 9000, Root: c.Fingerprint(root.Public)}
	good := s.good("key-request", "key-request-good", "a signing key asks its root for a certificate", keyRequestInput{ask}, keys)
	judge := judgeKeys(keys)
	bad := func(kind, name, expect, description string, b []byte) {
		s.bad(kind, kind+"-"+name, expect, description, b, judge)
	}
	request := func(r KeyRequest, key *ProducerKey, f func(*twiceSigned)) []byte {
		if r.Keys.Ed25519 == nil {
			r.Keys = signing.Public
		}
		return append(keyRequestMagic(), s.twice(key, TypKeyRequest, c.Encode(&r), f)...)
	}
	plain := func(*twiceSigned) {}
	mine := func(w *twiceSigned) { w.kidInner, w.kidOuter = c.keyID(signing.Public), c.keyID(signing.Public) }
	bad("key-request", "cut", "cut", "half of a good request", good[:len(good)/2])
	bad("key-request", "kind", "kind", "a key request under the magic of a response", append(responseMagic(), good[9:]...))
	bad("key-request", "typ", "type", "the envelopes are of type key", append(keyRequestMagic(), s.twice(signing, TypKey, c.Encode(&ask), plain)...))
	bad("key-request", "anothers-key", "signature", "signed by another key than the one it names", request(ask, root, plain))
	bad("key-request", "anothers-kid", "signature", "signed by another key under the kid of the one it names", request(ask, root, mine))
	bad("key-request", "one-signature", "one-signature", "the Ed25519 signature is bad", request(ask, signing, func(w *twiceSigned) { w.changeInner = lastFlipped }))
	for name, change := range map[string]func(*KeyRequest){
		"no-name": func(r *KeyRequest) { r.Name = "" }, "name-long": func(r *KeyRequest) { r.Name = strings.Repeat("n", MaxKeyName+1) },
		"no-from": func(r *KeyRequest) { r.From = 0 }, "until-first": func(r *KeyRequest) { r.Until = 999 },
		"escape": func(r *KeyRequest) { r.Name = "\x1b]0;" },
	} {
		r := ask
		change(&r)
		bad("key-request", name, "malformed", "a key request that breaks a rule", request(r, signing, plain))
	}
	slices.SortFunc(s.list[len(s.list)-5:], func(a, b *vector) int { return strings.Compare(a.Name, b.Name) })

	validity := KeyCertificate{Name: "producer-2026-B", From: 1000, Until: 9000, Number: 3, Revoked: []RevokedKey{{digest(0x15), 4000}, {Key: digest(0x16)}}}
	limits := Limits{Hour: 20, Day: 100, Products: []ProductLimit{{"Mesh", 10, 50}, {Product: "Solve"}}}
	certified := s.good("certified-key", "certified-key-good", "the root certifies a signing key within limits, and revokes two others", certifiedKeyInput{validity, limits}, keys)
	s.good("certified-key", "certified-key-unlimited", "the root certifies a signing key without limits", certifiedKeyInput{KeyCertificate: KeyCertificate{Name: "producer-2026-A", From: 1000}}, keys)
	var k CertifiedKey
	if err := c.Decode(certified[8:], &k, capability.MaxSigned); err != nil {
		s.t.Fatal(err)
	}
	file := func(k CertifiedKey) []byte { return c.EncodeCertifiedKey(&k) }
	bad("certified-key", "cut", "cut", "half of a good file", certified[:len(certified)/2])
	bad("certified-key", "kind", "kind", "a certified key under the magic of a trust bundle", append(trustMagic(), certified[8:]...))
	bad("certified-key", "no-certificate", "malformed", "limits alone", file(CertifiedKey{Limits: limits}))
	bad("certified-key", "no-limits", "signature", "the certificate names limits, and there are none", file(CertifiedKey{Certificate: k.Certificate}))
	more := limits
	more.Hour++
	bad("certified-key", "other-limits", "signature", "the limits are not those that the certificate names", file(CertifiedKey{k.Certificate, more}))
	signed := func(l Limits) []byte {
		v := validity
		v.Keys, v.Limits = signing.Public, c.LimitsDigest(l)
		return file(CertifiedKey{s.twice(root, TypKey, c.Encode(&v), plain), l})
	}
	bad("certified-key", "product", "malformed", "a limit of a product without a name", signed(Limits{Products: []ProductLimit{{Copies: 1}}}))
	bad("certified-key", "order", "malformed", "products out of order", signed(Limits{Products: []ProductLimit{{Product: "Solve"}, {Product: "Mesh"}}}))
	self := validity
	self.Keys = signing.Public
	bad("certified-key", "by-itself", "other-producer", "the key certified itself", file(CertifiedKey{Certificate: s.twice(signing, TypKey, c.Encode(&self), plain)}))
	bad("certified-key", "by-itself-as-root", "signature", "the key certified itself under the kid of the root", file(CertifiedKey{Certificate: s.twice(signing, TypKey, c.Encode(&self), func(w *twiceSigned) {
		w.kidInner, w.kidOuter = c.keyID(root.Public), c.keyID(root.Public)
	})}))
}
