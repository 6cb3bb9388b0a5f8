package hostid

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
)

// signer is what is inside a security key.
type signer struct {
	secret  *ecdsa.PrivateKey
	id      []byte
	counter uint32
	flags   byte
	party   string
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{secret: k, id: []byte("credential"), counter: 10, party: RelyingParty}
}

func (s *signer) point(t testing.TB) []byte {
	t.Helper()
	b, err := s.secret.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s *signer) credential(t testing.TB) Credential {
	t.Helper()
	return Credential{ID: s.id, PublicKey: s.point(t), Vendor: 0x1050, Product: 0x407, Serial: "0815"}
}

func (s *signer) header(flags byte) []byte {
	party := sha256.Sum256([]byte(s.party))
	return binary.BigEndian.AppendUint32(append(party[:], flags), s.counter)
}

func (s *signer) sign(t testing.TB, data []byte, c Challenge) Assertion {
	t.Helper()
	digest := c.Digest()
	sum := sha256.Sum256(append(append([]byte(nil), data...), digest[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, s.secret, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return Assertion{data, signature}
}

func (s *signer) answer(t testing.TB, c Challenge) Assertion {
	s.counter++
	return s.sign(t, s.header(s.flags), c)
}

// enrollment is authenticator data with a new credential.
func (s *signer) enrollment(t testing.TB) []byte {
	t.Helper()
	b := append(s.header(flagUserPresent|flagCredential|s.flags), []byte("0123456789abcdef")...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(s.id))), s.id...)
	p := s.point(t)
	b = append(b, 0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20) // map of 5; 1: 2, 3: -7, -1: 1, -2: 32 bytes
	b = append(append(b, p[1:33]...), 0x22, 0x58, 0x20)                       // -3: 32 bytes
	return append(b, p[33:]...)
}

func challenge() Challenge {
	return Challenge{ToRenew, Nonce{1, 2, 3}, ID{TPMEK, strings.Repeat("7F", 32)}}
}

func TestEnrolled(t *testing.T) {
	s := newSigner(t)
	for _, n := range []int{1, 10, 64, MaxCredentialID} {
		s.id = []byte(strings.Repeat("i", n))
		c, err := Enrolled(s.enrollment(t))
		if err != nil {
			t.Fatalf("ID of %d bytes: %v", n, err)
		}
		if string(c.ID) != string(s.id) || string(c.PublicKey) != string(s.point(t)) || string(c.AAGUID[:]) != "0123456789abcdef" {
			t.Errorf("ID of %d bytes: %+v", n, c)
		}
		ch := challenge()
		if _, err := c.Verify(ch, s.answer(t, ch), 0); err != nil {
			t.Errorf("ID of %d bytes: the new key's first answer: %v", n, err)
		}
	}
}

func TestEnrolledRefuses(t *testing.T) {
	good := newSigner(t).enrollment(t)
	if _, err := Enrolled(good); err != nil {
		t.Fatal(err)
	}
	const key = answerBytes + 16 + 2 + len("credential") // where the public key begins
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"nothing":                {func([]byte) []byte { return nil }, ErrMalformedAnswer},
		"an answer":              {func(b []byte) []byte { return b[:answerBytes] }, ErrMalformedAnswer},
		"one byte less":          {func(b []byte) []byte { return b[:len(b)-1] }, ErrMalformedAnswer},
		"one byte more":          {func(b []byte) []byte { return append(b, 0) }, ErrMalformedAnswer},
		"much more":              {func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, ErrMalformedAnswer},
		"another relying party":  {func(b []byte) []byte { b[0] ^= 1; return b }, ErrOtherAnswer},
		"not touched":            {func(b []byte) []byte { b[32] &^= flagUserPresent; return b }, ErrMalformedAnswer},
		"no credential":          {func(b []byte) []byte { b[32] &^= flagCredential; return b }, ErrMalformedAnswer},
		"extensions":             {func(b []byte) []byte { b[32] |= 0x80; return b }, ErrMalformedAnswer},
		"a reserved flag":        {func(b []byte) []byte { b[32] |= 0x02; return b }, ErrMalformedAnswer},
		"a passkey that syncs":   {func(b []byte) []byte { b[32] |= flagBackupEligible; return b }, ErrCopyable},
		"a passkey in the cloud": {func(b []byte) []byte { b[32] |= flagBackupEligible | flagBackedUp; return b }, ErrCopyable},
		"an ID longer than said": {func(b []byte) []byte { b[answerBytes+17]--; return b }, ErrMalformedAnswer},
		"an ID of 65,535 bytes":  {func(b []byte) []byte { b[answerBytes+16], b[answerBytes+17] = 255, 255; return b }, ErrMalformedAnswer},
		"an empty ID": {func(b []byte) []byte {
			b[answerBytes+17] = 0
			return append(b[:answerBytes+18], b[key:]...)
		}, ErrMalformedAnswer},
		"an ID of 1,024 bytes": {func(b []byte) []byte {
			s := newSigner(t)
			s.id = make([]byte, MaxCredentialID+1)
			return s.enrollment(t)
		}, ErrMalformedAnswer},
		"RS256":                    {func(b []byte) []byte { b[key+4] = 0x39; return b }, ErrMalformedAnswer},
		"P-384":                    {func(b []byte) []byte { b[key+6] = 2; return b }, ErrMalformedAnswer},
		"y of another type":        {func(b []byte) []byte { b[key+43] = 0x78; return b }, ErrMalformedAnswer},
		"a point beside the curve": {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, ErrMalformedAnswer},
		"the point at infinity":    {func(b []byte) []byte { clear(b[key+10 : key+42]); clear(b[key+45:]); return b }, ErrMalformedAnswer},
	} {
		if got, err := Enrolled(c.change(append([]byte(nil), good...))); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, got, err, c.want)
		}
	}
	for n := range good {
		if _, err := Enrolled(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are enough", n, len(good))
		}
	}
}

func TestVerify(t *testing.T) {
	s := newSigner(t)
	c, ch := s.credential(t), challenge()
	for name, flags := range map[string]byte{"silent": 0, "touched": flagUserPresent, "with a finger": flagUserVerified, "with both": flagUserPresent | flagUserVerified} {
		s.flags = flags
		a := s.answer(t, ch)
		if got, err := c.Verify(ch, a, s.counter-1); err != nil || got != s.counter {
			t.Errorf("%s: counter %d, %v", name, got, err)
		}
		if got, err := c.Verify(ch, negated(t, a), s.counter-1); err != nil || got != s.counter {
			t.Errorf("%s, with n-s for s: counter %d, %v", name, got, err)
		}
	}
}

// negated gives the other of the two signatures that ECDSA has for the same message, so one of them is "low" and one "high".
func negated(t *testing.T, a Assertion) Assertion {
	t.Helper()
	var v struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(a.Signature, &v); err != nil {
		t.Fatal(err)
	}
	v.S.Sub(elliptic.P256().Params().N, v.S)
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return Assertion{a.AuthenticatorData, b}
}

func TestVerifyRefuses(t *testing.T) {
	s := newSigner(t)
	c, ch := s.credential(t), challenge()
	with := func(change func(*signer)) Assertion {
		other := *s
		change(&other)
		return other.answer(t, ch)
	}
	asked := func(change func(*Challenge)) Assertion {
		other := ch
		change(&other)
		return s.answer(t, other)
	}
	raw := func(change func(*Assertion)) Assertion {
		a := s.answer(t, ch)
		change(&a)
		return a
	}
	for name, v := range map[string]struct {
		answer Assertion
		want   error
	}{
		"nothing":                  {Assertion{}, ErrMalformedAnswer},
		"another key":              {with(func(s *signer) { s.secret = newSigner(t).secret }), ErrOtherAnswer},
		"another relying party":    {with(func(s *signer) { s.party = "example.com" }), ErrOtherAnswer},
		"another nonce":            {asked(func(c *Challenge) { c.Nonce[31]++ }), ErrOtherAnswer},
		"another purpose":          {asked(func(c *Challenge) { c.Purpose = ToStart }), ErrOtherAnswer},
		"another host":             {asked(func(c *Challenge) { c.Host.Value = strings.Repeat("7E", 32) }), ErrOtherAnswer},
		"another type of host":     {asked(func(c *Challenge) { c.Host.Type = TPMAK }), ErrOtherAnswer},
		"no signature":             {raw(func(a *Assertion) { a.Signature = nil }), ErrOtherAnswer},
		"a byte after the S":       {raw(func(a *Assertion) { a.Signature = append(a.Signature, 0) }), nil}, // ErrOtherAnswer or, at 73 bytes, ErrMalformedAnswer
		"a signature of 1 MiB":     {raw(func(a *Assertion) { a.Signature = make([]byte, 1<<20) }), ErrMalformedAnswer},
		"signed with an extension": {s.sign(t, append(s.header(0x80), 0xa0), ch), ErrMalformedAnswer},
		"signed, and one byte":     {s.sign(t, append(s.header(0), 0), ch), ErrMalformedAnswer},
		"signed without a counter": {s.sign(t, s.header(0)[:33], ch), ErrMalformedAnswer},
		"a new credential":         {s.sign(t, s.enrollment(t), ch), ErrMalformedAnswer},
		"a credential's flag":      {with(func(s *signer) { s.flags = flagCredential }), ErrMalformedAnswer},
		"an extension's flag":      {with(func(s *signer) { s.flags = 0x80 }), ErrMalformedAnswer},
		"a reserved flag":          {with(func(s *signer) { s.flags = 0x20 }), ErrMalformedAnswer},
		"may be backed up":         {with(func(s *signer) { s.flags = flagBackupEligible }), ErrCopyable},
		"was backed up":            {with(func(s *signer) { s.flags = flagBackedUp }), ErrCopyable},
	} {
		got, err := c.Verify(ch, v.answer, 0)
		if err == nil || v.want != nil && !errors.Is(err, v.want) {
			t.Errorf("%s: counter %d, %v, want %v", name, got, err, v.want)
		}
	}
	for name, c := range map[string]Credential{
		"no key":               {ID: s.id},
		"a compressed key":     {ID: s.id, PublicKey: append([]byte{2}, c.PublicKey[1:33]...)},
		"a key and a byte":     {ID: s.id, PublicKey: append(append([]byte(nil), c.PublicKey...), 0)},
		"a key of zeros":       {ID: s.id, PublicKey: make([]byte, 65)},
		"a hybrid key (SEC 1)": {ID: s.id, PublicKey: append([]byte{6 | c.PublicKey[64]&1}, c.PublicKey[1:]...)},
	} {
		if _, err := c.Verify(ch, s.answer(t, ch), 0); !errors.Is(err, ErrMalformedAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No single bit of an answer may be another, and none of what a stranger could write raises an alarm about the key itself.
func TestVerifyEveryBit(t *testing.T) {
	s := newSigner(t)
	c, ch := s.credential(t), challenge()
	good := s.answer(t, ch)
	if _, err := c.Verify(ch, good, s.counter-1); err != nil {
		t.Fatal(err)
	}
	for part := range 2 {
		for i := range 8 * len([][]byte{good.AuthenticatorData, good.Signature}[part]) {
			a := Assertion{append([]byte(nil), good.AuthenticatorData...), append([]byte(nil), good.Signature...)}
			[][]byte{a.AuthenticatorData, a.Signature}[part][i/8] ^= 1 << (i % 8)
			if _, err := c.Verify(ch, a, s.counter-1); !errors.Is(err, ErrOtherAnswer) && !errors.Is(err, ErrMalformedAnswer) {
				t.Errorf("part %d, bit %d: %v", part, i, err)
			}
		}
	}
}

func TestCounter(t *testing.T) {
	s := newSigner(t)
	c, ch := s.credential(t), challenge()
	const most = 1<<32 - 1
	for _, v := range []struct {
		last, next uint32
		ok         bool
	}{
		{0, 0, true}, // it has none
		{0, 1, true},
		{1, 2, true},
		{1, 1000, true},
		{most - 1, most, true},
		{0, most, true},
		{1, 1, false},
		{1, 0, false},
		{2, 1, false},
		{most, most, false},
		{most, 0, false},
		{most, 1, false},
	} {
		s.counter = v.next
		got, err := c.Verify(ch, s.sign(t, s.header(0), ch), v.last)
		if v.ok && (err != nil || got != v.next) || !v.ok && !errors.Is(err, ErrCopied) {
			t.Errorf("%d after %d: %d, %v", v.next, v.last, got, err)
		}
	}
}

// The bytes that are signed never change: a key enrolled today is asked the same way for as long as it lives. The digests were made by another program.
func TestDigest(t *testing.T) {
	for want, c := range map[string]Challenge{
		"7fff4f21c5895aabff8723d0abec159506f3699defd79cb8800b61964d2791dd": {},
		"e597046f0bb41458654a043e5a4a01ac9a07d8e6bf4a6df7ad6cf95912be20b6": {ToStart, Nonce{0: 1, 31: 2}, ID{TPMEK, "7F3A"}},
	} {
		if d := c.Digest(); hex.EncodeToString(d[:]) != want {
			t.Errorf("%+v: %x", c, d)
		}
	}
	if RelyingParty != "leasehold:dongle" {
		t.Error("no key that was ever enrolled knows its credential any more")
	}
}

func TestPurposes(t *testing.T) {
	for p, want := range map[Purpose]string{1: "enroll", 2: "start", 3: "renew", 4: "demand", 0: "purpose 0", 5: "purpose 5"} {
		if p.String() != want {
			t.Errorf("%d: %s", uint8(p), p)
		}
	}
}

func TestCredentialValidate(t *testing.T) {
	s := newSigner(t)
	for name, v := range map[string]struct {
		change func(*Credential)
		ok     bool
	}{
		"as it is":                {func(*Credential) {}, true},
		"no serial number":        {func(c *Credential) { c.Serial = "" }, true},
		"128 characters":          {func(c *Credential) { c.Serial = strings.Repeat("~", 128) }, true},
		"129 characters":          {func(c *Credential) { c.Serial = strings.Repeat("~", 129) }, false},
		"10,000 characters":       {func(c *Credential) { c.Serial = strings.Repeat("x", 10_000) }, false},
		"a control byte":          {func(c *Credential) { c.Serial = "a\x1b[2J" }, false},
		"a byte that is no ASCII": {func(c *Credential) { c.Serial = "\u00e9" }, false},
		"an ID of 1,023 bytes":    {func(c *Credential) { c.ID = make([]byte, 1023) }, true},
		"an ID of 1,024 bytes":    {func(c *Credential) { c.ID = make([]byte, 1024) }, false},
		"no ID":                   {func(c *Credential) { c.ID = nil }, false},
		"no key":                  {func(c *Credential) { c.PublicKey = nil }, false},
	} {
		c := s.credential(t)
		v.change(&c)
		if err := c.Validate(); (err == nil) != v.ok || err != nil && !errors.Is(err, ErrMalformedAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostIDOfACredential(t *testing.T) {
	s, other := newSigner(t), newSigner(t)
	c := s.credential(t)
	id := c.HostID()
	if err := id.Validate(); err != nil || !id.Is(Flexid10, sha256.Sum256(s.point(t))) {
		t.Errorf("%s, %v", id, err)
	}
	c.Serial, c.Vendor, c.AAGUID, c.ID = "another", 1, [16]byte{1}, []byte("other")
	if c.HostID() != id {
		t.Error("what a key only says of itself changes its identity")
	}
	if other.credential(t).HostID() == id {
		t.Error("another key has the same identity")
	}
	f := s.credential(t).Finding()
	if f.ID != id || f.Strength != Proven || f.Flaw != "" || f.Source != "security key 1050:0407, serial number 0815" {
		t.Errorf("%+v", f)
	}
}

func TestNonceText(t *testing.T) {
	c := challenge()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"nonce":"010203` + strings.Repeat("0", 58) + `"`; !strings.Contains(string(b), want) {
		t.Errorf("%s", b)
	}
	var back Challenge
	if err := json.Unmarshal(b, &back); err != nil || back != c {
		t.Errorf("%+v, %v", back, err)
	}
	for _, text := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("g", 64)} {
		var n Nonce
		if err := n.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is a nonce", text)
		}
	}
}

func FuzzEnrolled(f *testing.F) {
	f.Add(newSigner(f).enrollment(f))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := Enrolled(b); err == nil {
			if err := c.Validate(); err != nil {
				t.Errorf("enrolled, and invalid: %v", err)
			}
			if len(b) != answerBytes+18+len(c.ID)+coseKeyBytes {
				t.Errorf("%d bytes for an ID of %d", len(b), len(c.ID))
			}
		}
	})
}
