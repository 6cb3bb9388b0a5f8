package entitlement

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

const someCode = "ABCD-EFGH-JKMN-PQRS"

// admitted adds a login with a password.
func (w *world) admitted(name, account string, roles ...capability.Role) {
	w.t.Helper()
	w.mustDo(AddLogin{Name: name, Account: account, Roles: roles, Code: LoginHash(name, someCode), By: "test"})
	w.mustDo(ClaimLogin{Name: name, Code: someCode, Password: "$hash of " + name, By: name})
}

func (w *world) theLogin(name string) Login {
	w.t.Helper()
	l, ok := w.book.Login(name)
	if !ok {
		w.fatalf("there is no %s", name)
	}
	return l
}

func TestLogins(t *testing.T) {
	w := newWorld(t, anyTier())
	w.mustDo(AddLogin{Name: "Keller", Roles: []capability.Role{capability.SecurityAdministrator, capability.Viewer}, Code: LoginHash("keller", someCode), By: "test"})
	if l := w.theLogin("KELLER"); l.Name != "Keller" || !slices.Equal(l.Roles, []capability.Role{capability.Viewer, capability.SecurityAdministrator}) || l.Made != w.now || l.CodeEnds != w.now.Add(CodeLife) {
		t.Errorf("%+v", l)
	}
	long := strings.Repeat("x", capability.MaxName+1)
	for _, bad := range []AddLogin{
		{}, {Name: "keller"}, {Name: "KELLER", Account: acme}, {Name: long}, {Name: "a\x00b"}, {Name: "a\u202eb"}, {Name: "new", Account: long}, {Name: "new", Account: "a\nb"},
		{Name: "new", Subject: strings.Repeat("x", capability.MaxText+1)}, {Name: "new", Subject: "a\x1b"},
		{Name: "new", Roles: []capability.Role{0}}, {Name: "new", Roles: []capability.Role{capability.Auditor + 1}}, {Name: "new", Roles: []capability.Role{capability.Viewer, capability.Viewer}},
	} {
		if d, err := w.do(bad); !errors.Is(err, ErrLogin) || d != nil {
			t.Errorf("%+v is made: %v", bad, err)
		}
	}

	if LoginHash("keller", someCode) == LoginHash("larsen", someCode) || LoginHash("Keller", "o1-L") != LoginHash("kellER", "0 11") {
		t.Error("a code is of every login, or not of one however it is typed")
	}
	for _, pair := range [][2]string{{"keſler", "KESLER"}, {"Νίκος", "ΝΊΚΟΣ"}, {"\u212aeller", "keller"}} {
		if LoginHash(pair[0], someCode) != LoginHash(pair[1], someCode) {
			t.Errorf("%q is found as %q, and its code is not", pair[0], pair[1])
		}
	}
	// The code is worth something once, to its login, however it is typed, while it is good.
	claim := func(name, code string) ClaimLogin {
		return ClaimLogin{Name: name, Code: code, Password: "$hash", By: name}
	}
	w.admitted("larsen", acme, capability.LicenseAdministrator)
	w.refused(claim("keller", "ABCD-EFGH-JKMN-PQRT"), capability.ErrLoginCode)
	w.refused(claim("keller", ""), capability.ErrLoginCode)
	w.refused(claim("nobody", someCode), capability.ErrLoginCode)
	w.refused(claim("larsen", someCode), capability.ErrLoginCode) // used; and with none at all
	w.refused(claim("larsen", ""), capability.ErrLoginCode)
	early := w.now
	w.now = early.Add(CodeLife)
	w.refused(claim("keller", someCode), capability.ErrLoginCode, "could be used until")
	w.now--
	w.mustDo(claim("kelleR", "abcd efgh jkmn pqrs"))
	if l := w.theLogin("keller"); l.Code != (capability.Digest{}) || l.CodeEnds != 0 || l.Password != "$hash" {
		t.Errorf("%+v", l)
	}
	w.refused(claim("keller", someCode), capability.ErrLoginCode)

	yes, no := true, false
	w.mustDo(AddLogin{Name: "locked", Roles: []capability.Role{capability.Viewer}, Code: LoginHash("locked", someCode)})
	w.mustDo(ChangeLogin{Name: "locked", Disabled: &yes})
	w.refused(claim("locked", someCode), capability.ErrLoginCode, "disabled")
	if l := w.theLogin("locked"); l.May(ToSee) {
		t.Error("a login that is disabled may see")
	}
	w.mustDo(ChangeLogin{Name: "LOCKED", Disabled: &no, Roles: &[]capability.Role{capability.Auditor, capability.Operator}})
	if l := w.theLogin("locked"); !slices.Equal(l.Roles, []capability.Role{capability.Operator, capability.Auditor}) || l.Disabled || l.Code == (capability.Digest{}) {
		t.Errorf("%+v", l)
	}
	for _, c := range []Command{
		ChangeLogin{Name: "nobody"}, RemoveLogin{Name: "nobody"}, SetPassword{Name: "nobody"}, SetPasskey{Name: "nobody"}, EndSessions{Name: "nobody"},
	} {
		w.refused(c, capability.ErrNoLogin)
	}

	// Two are never called alike at an identity provider; a name there is nobody's here before it is written down.
	subject, none := "corp 4711", ""
	w.mustDo(ChangeLogin{Name: "larsen", Subject: &subject})
	if _, err := w.do(ChangeLogin{Name: "locked", Subject: &subject}); !errors.Is(err, ErrLogin) {
		t.Error(err)
	}
	if l, ok := w.book.LoginOf(subject); !ok || l.Name != "larsen" {
		t.Error(l, ok)
	}
	for _, other := range []string{"", "corp 471", "corp 47110", "CORP 4711"} {
		if l, ok := w.book.LoginOf(other); ok {
			t.Errorf("%q is %s", other, l.Name)
		}
	}
	w.mustDo(ChangeLogin{Name: "larsen", Subject: &none})

	// What is given out is a copy.
	l := w.theLogin("locked")
	l.Roles[0] = capability.SecurityAdministrator
	if again := w.theLogin("locked"); again.Roles[0] != capability.Operator {
		t.Error("the book was changed through what it gave out")
	}
	w.mustDo(RemoveLogin{Name: "locked"})
	if _, ok := w.book.Login("locked"); ok || len(w.book.Logins()) != 2 {
		t.Error(w.book.Logins())
	}
}

// Whatever changes how a login signs in, or what it may, ends its sessions: also twice in one second, and where the clock was set back.
func TestChangesEndSessions(t *testing.T) {
	w := newWorld(t, anyTier())
	w.admitted("keller", "", capability.SecurityAdministrator)
	w.admitted("larsen", "", capability.Viewer)
	key := Passkey{ID: []byte{1}, Name: "phone", Credential: []byte{2}}
	w.mustDo(SetPasskey{Name: "larsen", Passkey: key})
	yes, subject := true, "corp 1"
	for _, c := range []Command{
		ChangeLogin{Name: "larsen", Roles: &[]capability.Role{capability.Operator}}, ChangeLogin{Name: "larsen", Subject: &subject}, ChangeLogin{Name: "larsen", Local: &yes},
		ChangeLogin{Name: "larsen", Code: LoginHash("larsen", "1234")}, ClaimLogin{Name: "larsen", Code: "1234", Password: "$1"}, SetPassword{Name: "larsen", Password: "$2"},
		SetPasskey{Name: "larsen", Passkey: key, Remove: true}, EndSessions{Name: "larsen"}, ChangeLogin{Name: "larsen", Forget: true}, ChangeLogin{Name: "larsen", Disabled: &yes},
	} {
		before := w.theLogin("larsen").Since
		w.mustDo(c)
		if after := w.theLogin("larsen").Since; after <= before {
			t.Errorf("%T: sessions of %d are good at %d", c, before, after)
		}
	}
	before := w.theLogin("larsen").Since
	w.mustDo(SetPasskey{Name: "larsen", Passkey: key})
	w.mustDo(NoteSignIn{SignIn{Name: "larsen", From: "192.0.2.1", How: "password"}})
	if w.theLogin("larsen").Since != before {
		t.Error("a new passkey or a sign-in ended the sessions")
	}
}

func TestPasskeys(t *testing.T) {
	w := newWorld(t, anyTier())
	w.admitted("keller", "", capability.SecurityAdministrator)
	key := func(n byte) Passkey {
		return Passkey{ID: []byte{n}, Name: fmt.Sprint("key ", n), Credential: []byte{n, n}}
	}
	for n := range byte(MaxPasskeys) {
		w.mustDo(SetPasskey{Name: "keller", Passkey: key(n + 1)})
	}
	for _, bad := range []Passkey{
		key(200), {}, {ID: []byte{1}, Name: "x"}, {Name: "x", Credential: []byte{1}}, {ID: []byte{1}, Credential: []byte{1}}, {ID: []byte{1}, Name: "x", Credential: make([]byte, maxPasskey+1)},
		{ID: make([]byte, 1024), Name: "x", Credential: []byte{1}},
	} {
		if _, err := w.do(SetPasskey{Name: "keller", Passkey: bad}); !errors.Is(err, ErrLogin) {
			t.Errorf("%d bytes, %q: %v", len(bad.ID), bad.Name, err)
		}
	}
	made := w.theLogin("keller").Passkeys[0].Made
	w.now += 10
	changed := key(1)
	changed.Credential = []byte{9}
	w.mustDo(SetPasskey{Name: "keller", Passkey: changed})
	if k := w.theLogin("keller").Passkeys[0]; k.Made != made || k.Credential[0] != 9 {
		t.Errorf("%+v", k)
	}
	if _, err := w.do(SetPasskey{Name: "keller", Passkey: key(99), Remove: true}); !errors.Is(err, ErrLogin) {
		t.Error(err)
	}
	w.mustDo(SetPasskey{Name: "keller", Passkey: key(3), Remove: true})
	w.admitted("larsen", acme)
	w.mustDo(SetPasskey{Name: "larsen", Passkey: key(100)})
	for n, whose := range map[byte]string{1: "keller", 3: "", 100: "larsen", 99: ""} {
		if l, ok := w.book.LoginOfPasskey([]byte{n}); l.Name != whose || ok != (whose != "") {
			t.Errorf("key %d is %q's, want %q", n, l.Name, whose)
		}
	}
	if _, ok := w.book.LoginOfPasskey(nil); ok {
		t.Error("no key is somebody's")
	}
	if got := w.theLogin("keller").Passkeys; len(got) != MaxPasskeys-1 || got[2].ID[0] != 4 {
		t.Error(got)
	}
}

// Nothing that is a secret, or made from one, is in what is shown as JSON.
func TestLoginsShowNoSecrets(t *testing.T) {
	w := newWorld(t, anyTier())
	w.mustDo(AddLogin{Name: "keller", Roles: []capability.Role{capability.Viewer}, Code: LoginHash("keller", someCode)})
	w.mustDo(SetPasskey{Name: "keller", Passkey: Passkey{ID: []byte{1}, Name: "phone", Credential: []byte("the credential")}})
	w.mustDo(SetPassword{Name: "keller", Password: "$the hash"})
	d := w.mustDo(ChangeLogin{Name: "keller", Code: LoginHash("keller", "1111")})
	l := w.theLogin("keller")
	for _, v := range []any{l, d.Entries[0]} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, hidden := range []string{"the hash", "dGhlIGNyZWRlbnRpYWw", "credential", "password", `"code"`} {
			if strings.Contains(text, hidden) {
				t.Errorf("%q is in %s", hidden, text)
			}
		}
	}
}

func TestRolesAndPermissions(t *testing.T) {
	for _, c := range []struct {
		role            capability.Role
		staff, customer string
	}{
		{capability.Viewer, "see report", "see report"},
		{capability.Operator, "see answer assign report", "see answer assign report"},
		{capability.LicenseAdministrator, "see answer assign move report entitle approve", "see answer assign move report"},
		{capability.SecurityAdministrator, "see admit approve set", "see admit"},
		{capability.Auditor, "see report audit", "see report"},
		{capability.Auditor + 1, "", ""},
	} {
		for account, want := range map[string]string{"": c.staff, acme: c.customer} {
			l := Login{Name: "x", Account: account, Roles: []capability.Role{c.role}}
			var got []string
			for _, p := range Permissions() {
				if l.May(p) {
					got = append(got, p.String())
				}
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s of %q may %v, want %s", c.role, account, got, want)
			}
			l.Disabled = true
			if slices.ContainsFunc(Permissions(), l.May) {
				t.Errorf("%s of %q is disabled and may something", c.role, account)
			}
		}
	}
	for _, r := range capability.Roles() {
		if got, err := capability.ParseRole(r.String()); err != nil || got != r {
			t.Error(r, got, err)
		}
		if b, err := r.MarshalText(); err != nil || string(b) != r.String() {
			t.Error(string(b), err)
		}
	}
	for _, text := range []string{"", "Viewer", "role 6", "administrator"} {
		if r, err := capability.ParseRole(text); err == nil {
			t.Errorf("%q is %s", text, r)
		}
	}
	if len(Permissions()) != permissions || (&Login{}).May(ToSee) {
		t.Error("somebody without a role may see")
	}
}

// No command makes it so that nobody could admit logins any more. Random lives; at each step one still admits if one did before, and what the snapshot keeps is the same book.
func TestTheLastAdministratorStays(t *testing.T) {
	refused, steps := 0, 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(t, anyTier())
		w.note = func() string { return fmt.Sprintf("seed %d: ", seed) }
		names := []string{"a", "b", "c", "d"}
		for range 120 {
			w.now = w.now.Add(capability.Seconds(r.IntN(3*86400)) * capability.Seconds(r.IntN(2)))
			name := names[r.IntN(len(names))]
			text := fmt.Sprint(r.IntN(3))
			flag := func() *bool {
				b := r.IntN(2) == 0
				return []*bool{nil, &b}[r.IntN(2)]
			}
			roles := func() []capability.Role {
				return [][]capability.Role{{capability.SecurityAdministrator}, {capability.Viewer, capability.SecurityAdministrator}, {capability.Operator}, {}}[r.IntN(4)]
			}
			var c Command
			switch r.IntN(9) {
			case 0, 1:
				c = AddLogin{Name: name, Account: []string{"", "", "", acme}[r.IntN(4)], Roles: roles(), Code: LoginHash(name, text)}
			case 2:
				c = ClaimLogin{Name: name, Code: text, Password: "$hash"}
			case 3:
				change := ChangeLogin{Name: name, Disabled: flag(), Local: flag(), Forget: r.IntN(2) == 0}
				if r.IntN(2) == 0 {
					has := roles()
					change.Roles = &has
				}
				if r.IntN(3) == 0 {
					change.Code = LoginHash(name, text)
				}
				c = change
			case 4:
				c = RemoveLogin{Name: name}
			case 5:
				c = SetPassword{Name: name, Password: []string{"", "$other"}[r.IntN(2)]}
			case 6, 7:
				c = SetPasskey{Name: name, Passkey: Passkey{ID: []byte{byte(r.IntN(2))}, Name: "key", Credential: []byte{1}}, Remove: r.IntN(2) == 0}
			case 8:
				c = NoteSignIn{SignIn{Name: name, From: "192.0.2.1", How: "password", Failed: uint32(r.IntN(2))}}
			}
			before := slices.ContainsFunc(w.book.logins, func(l *Login) bool { return admitsAt(*l, w.now) })
			_, err := w.do(c)
			if code(err) == capability.ErrLastAdministrator {
				refused++
			}
			after := slices.ContainsFunc(w.book.logins, func(l *Login) bool { return admitsAt(*l, w.now) })
			if before && !after {
				w.fatalf("%T %+v: nobody admits any more", c, c)
			}
			steps++
		}
		again, err := Restore(w.book.Snapshot())
		if err != nil {
			w.fatalf("%v", err)
		}
		if again.Digest() != w.book.Digest() || fmt.Sprint(again.Logins()) != fmt.Sprint(w.book.Logins()) {
			w.fatalf("the snapshot is of another book")
		}
	}
	t.Logf("%d commands, %d refused because nobody else could admit", steps, refused)
	if refused < 20 {
		t.Errorf("only %d were refused", refused)
	}
}

// admitsAt is what the book should mean by it, in other words.
func admitsAt(l Login, now capability.Time) bool {
	can := l.Password != "" || len(l.Passkeys) > 0
	if l.Code != (capability.Digest{}) && l.CodeEnds > now {
		can = true
	}
	return can && l.Account == "" && !l.Disabled && slices.Contains(l.Roles, capability.SecurityAdministrator)
}

// What cannot be a fact about a login is no entry, whoever wrote it.
func TestLoginFactsThatCannotBe(t *testing.T) {
	for what, spoil := range map[string]func(*Entry, Login){
		"of another account":        func(e *Entry, l Login) { e.Login.Login.Account = "Other" },
		"of another name":           func(e *Entry, l Login) { e.Login.Login.Name = "KELLER" },
		"made later":                func(e *Entry, l Login) { e.Login.Login.Made++ },
		"with sessions from before": func(e *Entry, l Login) { e.Login.Login.Since = l.Since - 1 },
		"new, with sessions from before": func(e *Entry, l Login) {
			e.Login.Login = Login{Name: "new", Made: e.Time, Since: e.Time - 1}
		},
		"removed and not there":   func(e *Entry, l Login) { e.Login.Login.Name, e.Login.Remove = "nobody", true },
		"the last":                func(e *Entry, l Login) { e.Login.Remove = true },
		"new with a past":         func(e *Entry, l Login) { e.Login.Login.Name = "new" },
		"with an end and no code": func(e *Entry, l Login) { e.Login.Login.CodeEnds = 5 },
		"roles out of order": func(e *Entry, l Login) {
			e.Login.Login.Roles = []capability.Role{capability.Auditor, capability.Viewer}
		},
		"a password too long": func(e *Entry, l Login) { e.Login.Login.Password = strings.Repeat("x", maxPassword+1) },
		"a passkey twice": func(e *Entry, l Login) {
			k := Passkey{ID: []byte{1}, Name: "x", Credential: []byte{1}, Made: 1}
			e.Login.Login.Passkeys = []Passkey{k, k}
		},
		"a sign-in of nobody": func(e *Entry, l Login) { e.Login, e.SignIn = nil, &SignIn{From: "x", How: "y"} },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, anyTier())
			w.admitted("keller", "", capability.SecurityAdministrator)
			if what != "the last" {
				w.admitted("second", "", capability.SecurityAdministrator)
			}
			w.now += 10
			d, err := w.book.Decide(w.now, SetPassword{Name: "keller", Password: "$other"})
			if err != nil {
				t.Fatal(err)
			}
			e := d.Entries[0]
			spoil(e, w.theLogin("keller"))
			if err := w.book.Apply(e); err == nil {
				t.Error("it was applied")
			}
		})
	}
}

// A page has the logins of an account and of those below it, with a text in them, in the order they were made.
func TestFindLogins(t *testing.T) {
	w := newWorld(t, anyTier())
	w.mustDo(SetAccount{Account: Account{Name: "Holding"}})
	w.mustDo(SetAccount{Account: Account{Name: acme, Parent: "Holding"}})
	for n, account := range []string{"", acme, "Holding", "Other", acme, acme} {
		w.mustDo(AddLogin{Name: fmt.Sprint("Login ", n), Account: account})
	}
	for _, c := range []struct {
		within, text, after string
		limit               int
		want                string
		more                bool
	}{
		{"", "", "", 9, "012345", false}, {acme, "", "", 9, "145", false}, {"Holding", "", "", 9, "1245", false}, {"Other", "", "", 9, "3", false}, {"Nobody", "", "", 9, "", false},
		{acme, "", "", 2, "14", true}, {acme, "", "login 4", 2, "5", false}, {acme, "", "", 3, "145", false}, {"", "LOGIN 3", "", 9, "3", false}, {"", "works", "", 9, "145", false}, {acme, "other", "", 9, "", false},
		{"", "", "nobody", 9, "012345", false}, {acme, "", "login 3", 9, "145", false}, {acme, "", "login 2", 9, "145", false},
	} {
		page, more := w.book.FindLogins(c.within, c.text, c.after, c.limit)
		got := ""
		for _, l := range page {
			got += strings.TrimPrefix(l.Name, "Login ")
		}
		if got != c.want || more != c.more {
			t.Errorf("%+v: %s, more %t", c, got, more)
		}
	}
}
