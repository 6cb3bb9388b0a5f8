package entitlement

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

func TestTokens(t *testing.T) {
	w := newWorld(t, anyTier())
	w.admitted("keller", "", capability.LicenseAdministrator)
	w.admitted("larsen", acme, capability.Viewer)
	text, err := NewToken(strings.NewReader(strings.Repeat("some chance ", 9)))
	if err != nil || !strings.HasPrefix(text, tokenPrefix) || len(text) != len(tokenPrefix)+43 {
		t.Fatal(text, err)
	}
	if _, err := NewToken(strings.NewReader("little")); err == nil {
		t.Error("a token of little chance")
	}
	since := w.theLogin("keller").Since
	w.mustDo(AddToken{Login: "KELLER", Name: "build", Hash: TokenHash(text), By: "chen"})
	l := w.theLogin("keller")
	if want := (Token{"build", TokenHash(text), w.now, w.now.Add(TokenLife), "chen"}); !slices.Equal(l.Tokens, []Token{want}) || l.Since != since {
		t.Errorf("%+v", l)
	}
	for _, other := range []string{"", text + "x", text[1:], strings.ToUpper(text), tokenPrefix} {
		if l, _, ok := w.book.OfToken(other, w.now); ok {
			t.Errorf("%q is %s's", other, l.Name)
		}
	}
	if of, token, ok := w.book.OfToken(text, w.now); !ok || of.Name != "keller" || token.Name != "build" {
		t.Error(of, token, ok)
	}

	// It is good to its last second, and while its login is.
	ends := l.Tokens[0].Ends
	if _, _, ok := w.book.OfToken(text, ends-1); !ok {
		t.Error("it is over a second early")
	}
	if _, _, ok := w.book.OfToken(text, ends); ok {
		t.Error("it is good when it is over")
	}
	yes, no := true, false
	w.mustDo(ChangeLogin{Name: "keller", Disabled: &yes})
	if _, _, ok := w.book.OfToken(text, w.now); ok {
		t.Error("a token of a login that is disabled is good")
	}
	w.mustDo(ChangeLogin{Name: "keller", Disabled: &no, Roles: &[]capability.Role{capability.Auditor}})
	if l, _, ok := w.book.OfToken(text, w.now); !ok || !l.May(ToAudit) || l.May(ToEntitle) {
		t.Error("a token may not what its login may now", l)
	}

	hash := TokenHash("another")
	for _, bad := range []AddToken{
		{Login: "keller", Name: "build", Hash: hash}, {Login: "keller", Name: "BUILD", Hash: hash}, {Login: "keller", Name: "more"}, {Login: "keller", Hash: hash}, {Login: "keller", Name: "a\nb", Hash: hash},
		{Login: "keller", Name: "more", Hash: TokenHash(text)}, {Login: "larsen", Name: "more", Hash: TokenHash(text)},
		{Login: "keller", Name: "more", Hash: hash, Life: -1}, {Login: "keller", Name: "more", Hash: hash, Life: MaxTokenLife + 1}, {Login: "keller", Name: "more", Hash: hash, By: strings.Repeat("x", capability.MaxName+1)},
	} {
		if _, err := w.do(bad); !errors.Is(err, ErrLogin) {
			t.Errorf("%+v is made: %v", bad, err)
		}
	}
	w.refused(AddToken{Login: "nobody", Name: "more", Hash: hash}, capability.ErrNoLogin)
	w.refused(RevokeToken{Login: "nobody", Name: "build"}, capability.ErrNoLogin)
	w.refused(RevokeToken{Login: "larsen", Name: "build"}, capability.ErrNotFound)
	w.mustDo(AddToken{Login: "larsen", Name: "build", Hash: hash, Life: MaxTokenLife})
	w.mustDo(RevokeToken{Login: "keller", Name: "Build"})
	if _, _, ok := w.book.OfToken(text, w.now); ok || w.theLogin("keller").Tokens != nil {
		t.Error("a token that was revoked is good")
	}
	if of, _, ok := w.book.OfToken("another", w.now); !ok || of.Account != acme {
		t.Error("the token of another went with it")
	}
	w.mustDo(RemoveLogin{Name: "larsen"})
	if _, _, ok := w.book.OfToken("another", w.now); ok {
		t.Error("a token is good without its login")
	}
}

// What is over makes room; more than there may be there are not.
func TestTokensAreBounded(t *testing.T) {
	w := newWorld(t, anyTier())
	w.admitted("keller", "")
	add := func(n int) AddToken {
		return AddToken{Login: "keller", Name: fmt.Sprint("token ", n), Hash: TokenHash(fmt.Sprint(n)), Life: day}
	}
	for n := range MaxTokens {
		w.mustDo(add(n))
	}
	if _, err := w.do(add(99)); !errors.Is(err, ErrLogin) {
		t.Error(err)
	}
	w.now = w.now.Add(day)
	w.mustDo(add(99))
	if l := w.theLogin("keller"); len(l.Tokens) != 1 || l.Tokens[0].Name != "token 99" {
		t.Errorf("%+v", l.Tokens)
	}
}

// A login with the most of everything is a record that can be read again, and its JSON shows no hash.
func TestTheLargestLogin(t *testing.T) {
	w := newWorld(t, anyTier())
	long := func(n int, c string) string { return strings.Repeat(c, n-2) + fmt.Sprintf("%02d", w.now%100) }
	name := strings.Repeat("n", capability.MaxName)
	w.mustDo(AddLogin{Name: name, Account: strings.Repeat("a", capability.MaxName), Roles: capability.Roles(), Subject: strings.Repeat("s", capability.MaxText), Local: true, Code: LoginHash(name, someCode)})
	w.mustDo(SetPassword{Name: name, Password: strings.Repeat("p", maxPassword)})
	for n := range MaxPasskeys {
		w.now++
		w.mustDo(SetPasskey{Name: name, Passkey: Passkey{ID: []byte(long(1023, string(rune('a'+n)))), Name: strings.Repeat("k", capability.MaxName), Credential: make([]byte, maxPasskey)}})
	}
	for range MaxTokens {
		w.now++
		text := long(capability.MaxName, "t")
		w.mustDo(AddToken{Login: name, Name: text, Hash: TokenHash(text), Life: MaxTokenLife, By: name})
	}
	l := w.theLogin(name)
	if record := w.book.codec.Encode(section{Login: &l}); len(record) > maxRecord {
		t.Errorf("%d bytes where %d are allowed", len(record), maxRecord)
	}
	b, err := Restore(w.book.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if b.Digest() != w.book.Digest() {
		t.Error("another book came back")
	}
	shown, err := json.Marshal(l)
	if err != nil || !strings.Contains(string(shown), `"ends":`) || strings.Contains(string(shown), "hash") {
		t.Error(string(shown), err)
	}
}
