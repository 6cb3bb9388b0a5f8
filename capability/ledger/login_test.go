package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/wire"
)

// admins is a ledger with a security administrator.
func admins(t testing.TB) *life {
	v := begin(t)
	v.must(AddLogin{Name: "Keller", Roles: []capability.Role{capability.SecurityAdministrator}, Password: []byte("verifier"), First: true, By: "uid 0"})
	return v
}

func yes(b bool) *bool { return &b }

// No role both sets time and brings rights in; what a login may is what its roles may together.
func TestRoles(t *testing.T) {
	for _, r := range capability.Roles() {
		all := PermissionsOfRole(r)
		if all.Has(ToSecure) && all.Has(ToExchange) {
			t.Errorf("the %s sets the time and brings rights in", r)
		}
		if !all.Has(ToSee) || !all.Has(ToReport) {
			t.Errorf("the %s sees nothing", r)
		}
		if back, err := capability.ParseRole(r.String()); err != nil || back != r {
			t.Errorf("%s is read as %s, %v", r, back, err)
		}
		var text capability.Role
		if b, _ := r.MarshalText(); text.UnmarshalText(b) != nil || text != r {
			t.Errorf("%s as text: %s", r, text)
		}
	}
	want := map[capability.Role]string{capability.Viewer: "see report", capability.Operator: "see report serve", capability.LicenseAdministrator: "see report serve exchange set", capability.SecurityAdministrator: "see report admit secure audit", capability.Auditor: "see report audit"}
	for r, names := range want {
		var got []string
		for _, p := range AllPermissions() {
			if PermissionsOfRole(r).Has(p) {
				got = append(got, p.String())
			}
		}
		if strings.Join(got, " ") != names {
			t.Errorf("the %s may %s, want %s", r, got, names)
		}
	}
	if _, err := capability.ParseRole("root"); err == nil || PermissionsOfRole(9) != 0 || capability.Role(9).String() != "role 9" {
		t.Error("a role that is none")
	}
	if got := RolesFor(ToAudit); !slices.Equal(got, []capability.Role{capability.SecurityAdministrator, capability.Auditor}) {
		t.Error(got)
	}
	both := Login{Roles: []capability.Role{capability.LicenseAdministrator, capability.SecurityAdministrator}}
	if both.Permissions() != Everything || Everything.Has(permissionCount) {
		t.Errorf("%b", both.Permissions())
	}
	if both.Disabled = true; both.Permissions() != 0 {
		t.Error("who is disabled may something")
	}
}

func TestLogins(t *testing.T) {
	v := admins(t)
	v.refused(AddLogin{Name: "bo", Roles: []capability.Role{capability.SecurityAdministrator}, Password: []byte("3"), First: true}, capability.ErrFirstLogin)
	v.must(AddLogin{Name: "ada", Roles: []capability.Role{capability.Operator, capability.Viewer, capability.Operator}, Password: []byte("2"), By: "login Keller"})
	g, ok := v.l.Login("ADA")
	if !ok || g.Name != "ada" || !slices.Equal(g.Roles, []capability.Role{capability.Viewer, capability.Operator}) || g.Made != v.now.Wall || g.Since != v.now.Wall {
		t.Errorf("%+v, %v", g, ok)
	}
	v.refused(AddLogin{Name: "Ada", Roles: []capability.Role{capability.Viewer}, Password: []byte("3")}, capability.ErrLoginTaken)
	v.refused(RemoveLogin{Name: "bo"}, capability.ErrApplianceLogin)
	v.refused(ChangeLogin{Name: "\x00"}, capability.ErrApplianceLogin)

	// What it may and how it signs in ends what was signed in, also twice in one second; a token does not.
	roles := []capability.Role{capability.Auditor}
	for n, c := range []struct {
		change ChangeLogin
		what   Admission
	}{
		{ChangeLogin{Name: "ada", Roles: &roles, By: "x"}, RolesChanged},
		{ChangeLogin{Name: "ada", Password: []byte("4")}, PasswordChanged},
		{ChangeLogin{Name: "ada", Disabled: yes(true)}, LoginDisabled},
		{ChangeLogin{Name: "ada", Disabled: yes(false), Password: []byte("5")}, LoginEnabled | PasswordChanged},
	} {
		d := v.must(c.change)
		now, _ := v.l.Login("ada")
		if d.Entries[0].Admitted.What != c.what || now.Since != v.now.Wall+capability.Time(n)+1 {
			t.Errorf("%s since %s", d.Entries[0].Admitted.What, now.Since)
		}
	}
	if d := v.must(ChangeLogin{Name: "ada", Roles: &roles, Disabled: yes(false), Password: []byte("5")}); len(d.Entries) != 0 {
		t.Errorf("nothing changed, and %+v", d.Entries)
	}
	before, _ := v.l.Login("ada")
	v.must(AddToken{Login: "ada", Name: "nightly", Hash: TokenHash("one")})
	after, token, ok := v.l.OfToken("one", v.now.Wall)
	if !ok || after.Since != before.Since || token.Ends != v.now.Wall.Add(TokenLife) {
		t.Errorf("%+v, %+v, %v", after, token, ok)
	}

	// The state is the same from a snapshot, and what is given out is a copy.
	list := v.l.Logins()
	list[0].Password[0], list[1].Tokens[0].Name = 'X', "x"
	l, err := Restore(v.l.Snapshot())
	if err != nil || l.Digest() != v.l.Digest() || len(l.Logins()) != 2 || l.Logins()[0].Password[0] == 'X' {
		t.Errorf("restored: %v", err)
	}
	v.must(RemoveLogin{Name: "ADA", By: "login Keller"})
	if _, _, ok := v.l.OfToken("one", v.now.Wall); ok || len(v.l.Logins()) != 1 {
		t.Error("a token outlives its login")
	}
}

// An older copy of the disk does not give back what was taken away: a login, a role, a password, a token.
func TestLoginsThatGoMoveTheEpoch(t *testing.T) {
	v := admins(t)
	if d := v.must(ChangeLogin{Name: "keller", Roles: &[]capability.Role{capability.SecurityAdministrator, capability.Viewer}}); d.Move {
		t.Error("there is no epoch before the first response")
	}
	v.provision(lineItem('a', "f:1.0", 4))
	for _, c := range []struct {
		command Command
		moves   bool
	}{
		{AddLogin{Name: "ada", Roles: []capability.Role{capability.Operator}, Password: []byte{1}}, false},
		{ChangeLogin{Name: "ada", Password: []byte{2}}, true},
		{ChangeLogin{Name: "ada", Password: []byte{2}}, false},
		{AddToken{Login: "ada", Name: "t", Hash: TokenHash("t")}, false},
		{EndToken{Login: "ada", Name: "t"}, true},
		{NoteSignIn{SignedIn{Name: "ada"}}, false},
		{ChangeLogin{Name: "ada", Roles: &[]capability.Role{capability.Viewer}}, true},
		{ChangeLogin{Name: "ada", Disabled: yes(true)}, true},
		{ChangeLogin{Name: "ada", Disabled: yes(false)}, false},
		{RemoveLogin{Name: "ada"}, true},
	} {
		if d := v.must(c.command); d.Move != c.moves {
			t.Errorf("%+v moves the epoch: %v", c.command, d.Move)
		}
	}
}

// However often a login changes its password or ends its tokens, the TPM is written to as often as it can bear, and a year of it is known beforehand. What administrators take away moves beside that.
func TestLoginsDoNotWearTheTPM(t *testing.T) {
	v := admins(t)
	v.provision(lineItem('a', "f:1.0", 4))
	v.must(AddLogin{Name: "ada", Roles: []capability.Role{capability.Operator}, Password: []byte{1}})
	moves, n := 0, byte(1)
	change := func() bool {
		n++
		d := v.must(ChangeLogin{Name: "ada", Password: []byte{n, 1}})
		if d.Move {
			moves++
		}
		return d.Move
	}
	for range 500 {
		change()
	}
	if moves != loginSaved {
		t.Errorf("%d moves at once, want %d", moves, loginSaved)
	}
	v.must(AddToken{Login: "ada", Name: "t", Hash: TokenHash("t")})
	if v.must(EndToken{Login: "ada", Name: "t"}).Move {
		t.Error("a token ends with a move that is not there")
	}
	if !v.must(ChangeLogin{Name: "ada", Roles: &[]capability.Role{capability.Viewer}}).Move {
		t.Error("a flood of passwords keeps an administrator from taking a role away")
	}
	if l, err := Restore(v.l.Snapshot()); err != nil || l.Digest() != v.l.Digest() || l.loginMove(v.now) != 0 {
		t.Error("the ration is another after a restart: ", err)
	}
	v.pass(loginPeriod - 1)
	if change() {
		t.Error("a move before its time")
	}
	v.pass(1)
	if !change() || change() {
		t.Error("not one move in its time")
	}
	moves = 0
	for range 365 {
		for range 24 {
			v.pass(60 * 60)
			change()
		}
	}
	if moves != 2*365 {
		t.Errorf("%d moves in a year, want %d", moves, 2*365)
	}
	// A token that is over has nothing that could come back.
	v.pass(30 * days)
	v.must(AddToken{Login: "ada", Name: "short", Hash: TokenHash("s"), Life: 1})
	v.pass(1)
	if v.must(EndToken{Login: "ada", Name: "short"}).Move {
		t.Error("the end of a token that was over moves the epoch")
	}
}

// However often administrators disable, remove or change a login, the TPM is written to as often as it can bear. Whom they shut out is shut out also when none is left.
func TestAdministratorsDoNotWearTheTPM(t *testing.T) {
	for name, flood := range map[string]func(n int) []Command{
		"disabled": func(int) []Command {
			return []Command{ChangeLogin{Name: "ada", Disabled: yes(true)}, ChangeLogin{Name: "ada", Disabled: yes(false)}}
		},
		"roles": func(n int) []Command {
			return []Command{ChangeLogin{Name: "ada", Roles: &[]capability.Role{[]capability.Role{capability.Viewer, capability.Operator}[n%2]}}}
		},
		"removed": func(int) []Command {
			return []Command{RemoveLogin{Name: "ada"}, AddLogin{Name: "ada", Roles: []capability.Role{capability.Operator}, Password: []byte{1}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := admins(t)
			v.provision(lineItem('a', "f:1.0", 4))
			v.must(AddLogin{Name: "ada", Roles: []capability.Role{capability.Operator}, Password: []byte{1}})
			n := 0
			change := func() (moves int) {
				for _, c := range flood(n) {
					if v.must(c).Move {
						moves++
					}
				}
				n++
				return moves
			}
			moves := 0
			for range keySaved + 100 {
				moves += change()
			}
			if moves != keySaved {
				t.Errorf("%d moves at once, want %d", moves, keySaved)
			}
			if !v.must(ChangeLogin{Name: "ada", Password: []byte{9}}).Move {
				t.Error("a flood of administrators takes the moves of logins")
			}
			v.refused(SetPolicy{Name: ClientKeysOnly, Value: "true"}, capability.ErrRation)
			if l, err := Restore(v.l.Snapshot()); err != nil || l.Digest() != v.l.Digest() || l.takingMove(v.now) != 0 {
				t.Error("the ration is another after a restart: ", err)
			}
			v.pass(keyPeriod - 1)
			if change() != 0 {
				t.Error("a move before its time")
			}
			v.pass(1)
			if moves = change() + change(); moves != 1 {
				t.Errorf("%d moves in the time of one", moves)
			}
			moves = 0
			for range 365 * 4 {
				v.pass(6 * 60 * 60)
				moves += change()
			}
			if moves != 2*365 {
				t.Errorf("%d moves in a year, want %d", moves, 2*365)
			}
		})
	}
}

// On disk a move of logins spends what is there, and no more is saved up than can be.
func TestBadLoginRation(t *testing.T) {
	for name, spoil := range map[string]func(*life, *Admitted){
		"nothing": func(*life, *Admitted) {}, "none": func(_ *life, f *Admitted) { f.Spent = 0 }, "spent before": func(v *life, f *Admitted) { f.Spent = v.now.Lease }, "less than none": func(_ *life, f *Admitted) { f.Spent = -1 }, "more than there is": func(v *life, f *Admitted) { f.Spent = v.now.Lease + loginSaved*loginPeriod + 1 },
	} {
		v := admins(t)
		v.provision(lineItem('a', "f:1.0", 4))
		d, err := v.l.Decide(v.now, ChangeLogin{Name: "keller", Password: []byte{9}})
		if err != nil || d.Entries[0].Admitted.Spent != v.now.Lease+loginPeriod {
			t.Fatal(d, err)
		}
		spoil(v, d.Entries[0].Admitted)
		if err := v.l.Apply(d.Entries[0]); errors.Is(err, ErrCorrupt) == (name == "nothing" || name == "none") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, spent := range []capability.Seconds{0, 1} { // what an administrator takes spends another one
		v := admins(t)
		v.provision(lineItem('a', "f:1.0", 4))
		v.must(AddLogin{Name: "ada", Roles: []capability.Role{capability.Operator}, Password: []byte{1}})
		d, err := v.l.Decide(v.now, RemoveLogin{Name: "ada"})
		if err != nil || d.Entries[0].Admitted.Spent != v.now.Lease+keyPeriod {
			t.Fatal(d, err)
		}
		d.Entries[0].Admitted.Spent += spent * keySaved * keyPeriod
		if err := v.l.Apply(d.Entries[0]); errors.Is(err, ErrCorrupt) != (spent != 0) || err == nil && (v.l.keySpent != v.now.Lease+keyPeriod || v.l.loginSpent != 0) {
			t.Errorf("%d: %v, the rations are at %d and %d", spent, err, v.l.keySpent, v.l.loginSpent)
		}
	}
	v := admins(t)
	for _, spent := range []capability.Seconds{-1, v.now.Lease + loginSaved*loginPeriod + 1} {
		v.l.loginSpent = spent
		if err := v.l.Check(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d: %v", spent, err)
		}
	}
}

// From the first login on somebody can admit others.
func TestLastAdministratorOfTheAppliance(t *testing.T) {
	v := begin(t)
	v.refused(AddLogin{Name: "ada", Roles: []capability.Role{capability.LicenseAdministrator}, Password: []byte("1")}, capability.ErrApplianceLast)
	v.must(AddLogin{Name: "ada", Roles: []capability.Role{capability.SecurityAdministrator}, Password: []byte("1")})
	viewer := []capability.Role{capability.Viewer}
	last := []Command{RemoveLogin{Name: "Ada"}, ChangeLogin{Name: "ada", Roles: &viewer}, ChangeLogin{Name: "ada", Roles: new([]capability.Role)}, ChangeLogin{Name: "ada", Disabled: yes(true)}}
	for _, c := range last {
		v.refused(c, capability.ErrApplianceLast)
	}
	v.must(AddLogin{Name: "bo", Roles: []capability.Role{capability.SecurityAdministrator}, Password: []byte("1")})
	v.must(ChangeLogin{Name: "bo", Disabled: yes(true)})
	for _, c := range last {
		v.refused(c, capability.ErrApplianceLast)
	}
	v.must(ChangeLogin{Name: "bo", Disabled: yes(false)})
	v.must(RemoveLogin{Name: "ada"})
	v.refused(RemoveLogin{Name: "bo"}, capability.ErrApplianceLast)
}

func TestTokensOfTheAppliance(t *testing.T) {
	v := admins(t)
	v.refused(AddToken{Login: "nobody", Name: "a", Hash: TokenHash("a")}, capability.ErrApplianceLogin)
	v.refused(EndToken{Login: "nobody", Name: "a"}, capability.ErrApplianceLogin)
	v.refused(EndToken{Login: "keller", Name: "a"}, capability.ErrNotFound)
	for n := range MaxTokens {
		v.must(AddToken{Login: "keller", Name: fmt.Sprint(n), Hash: TokenHash(fmt.Sprint(n)), Life: 10 + capability.Seconds(n)})
	}
	if _, err := v.do(AddToken{Login: "keller", Name: "17", Hash: TokenHash("17")}); err == nil {
		t.Error("more tokens than are kept")
	}
	if _, err := v.do(AddToken{Login: "keller", Name: "3", Hash: TokenHash("new")}); err == nil {
		t.Error("two tokens of one name")
	}
	// The end is the first moment at which it is worth nothing; what is over makes room.
	if _, _, ok := v.l.OfToken("0", v.now.Wall+9); !ok {
		t.Error("it ended too soon")
	}
	if _, _, ok := v.l.OfToken("0", v.now.Wall+10); ok {
		t.Error("it is good at its end")
	}
	v.pass(10)
	if d := v.must(AddToken{Login: "keller", Name: "0", Hash: TokenHash("again"), Life: MaxTokenLife}); d.Entries[0].Admitted.What != TokenMade|TokenEnded {
		t.Error(d.Entries[0].Admitted.What)
	}
	if d := v.must(EndToken{Login: "keller", Name: "0"}); d.Entries[0].Admitted.What != TokenEnded {
		t.Error(d.Entries[0].Admitted.What)
	}
	for _, bad := range []AddToken{
		{Login: "keller", Name: "x", Hash: TokenHash("x"), Life: MaxTokenLife + 1}, {Login: "keller", Name: "x", Hash: TokenHash("x"), Life: -1}, {Login: "keller", Name: "x"},
		{Login: "keller", Name: "", Hash: TokenHash("x")}, {Login: "keller", Name: "x", Hash: TokenHash("3")},
	} {
		if _, err := v.do(bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	v.must(AddLogin{Name: "ada", Password: []byte{1}})
	if _, err := v.do(AddToken{Login: "ada", Name: "x", Hash: TokenHash("3")}); err == nil {
		t.Error("two logins with one token")
	}
	v.must(ChangeLogin{Name: "ada", Disabled: yes(true)})
	v.must(AddToken{Login: "ada", Name: "x", Hash: TokenHash("y")})
	if _, _, ok := v.l.OfToken("y", v.now.Wall); ok {
		t.Error("a disabled login's token opens something")
	}
}

func TestMalformedLogins(t *testing.T) {
	v := admins(t)
	long := strings.Repeat("x", capability.MaxText+1)
	for name, c := range map[string]Command{
		"no name":               AddLogin{Password: []byte{1}},
		"a long name":           AddLogin{Name: long, Password: []byte{1}},
		"a space at its end":    AddLogin{Name: "ada ", Password: []byte{1}},
		"a line end":            AddLogin{Name: "a\nb", Password: []byte{1}},
		"no password":           AddLogin{Name: "ada"},
		"an empty password":     ChangeLogin{Name: "keller", Password: []byte{}},
		"a long verifier":       AddLogin{Name: "ada", Password: make([]byte, MaxVerifier+1)},
		"a role that is none":   AddLogin{Name: "ada", Password: []byte{1}, Roles: []capability.Role{9}},
		"a long author":         AddLogin{Name: "ada", Password: []byte{1}, By: long},
		"a long author removes": RemoveLogin{Name: "keller", By: long},
		"a long address":        NoteSignIn{SignedIn{From: long}},
		"a line in an address":  NoteSignIn{SignedIn{From: "a\nb"}},
		"closed by success":     NoteSignIn{SignedIn{Closed: 5}},
	} {
		var bad *capability.Malformed
		if _, err := v.do(c); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := 1; n < MaxLogins; n++ {
		d, err := v.l.Decide(v.now, AddLogin{Name: fmt.Sprint("n", n), Password: make([]byte, MaxVerifier)})
		if err == nil {
			err = v.l.Apply(d.Entries[0])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.do(AddLogin{Name: "one more", Password: []byte{1}}); err == nil {
		t.Error("more logins than are kept")
	}
	if _, err := Restore(v.l.Snapshot()); err != nil {
		t.Errorf("all there may be: %v", err)
	}
}

// What Decide refuses about logins, Apply asserts.
func TestApplyAssertsLogins(t *testing.T) {
	v := admins(t)
	v.must(AddLogin{Name: "ada", Roles: []capability.Role{capability.Viewer}, Password: []byte("2")})
	v.must(AddToken{Login: "ada", Name: "x", Hash: TokenHash("x")})
	v.pass(5)
	keller, _ := v.l.Login("keller")
	ada, _ := v.l.Login("ada")
	with := func(g Login, change func(*Login)) Login {
		g = g.clone()
		change(&g)
		return g
	}
	bo := Login{Name: "bo", Password: []byte{1}, Made: v.now.Wall, Since: v.now.Wall}
	snapshot := v.l.Snapshot()
	apply := func(e Entry) error {
		l, err := Restore(snapshot)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Apply(l.decided(v.now, e).Entries[0]); err != nil {
			return err
		}
		return l.Check()
	}
	if err := apply(Entry{Admitted: &Admitted{Login: bo, What: LoginMade}}); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Admitted{
		"removed: not here":       {Login: Login{Name: "bo"}, What: LoginRemoved},
		"removed: the last":       {Login: Login{Name: "Keller"}, What: LoginRemoved},
		"removed: in other case":  {Login: Login{Name: "Ada"}, What: LoginRemoved},
		"removed: with the rest":  {Login: ada, What: LoginRemoved},
		"made: with a past":       {Login: with(bo, func(g *Login) { g.Made-- }), What: LoginMade},
		"made: with a future":     {Login: with(bo, func(g *Login) { g.Since++ }), What: LoginMade},
		"made: without password":  {Login: with(bo, func(g *Login) { g.Password = nil }), What: LoginMade},
		"made: with another role": {Login: with(bo, func(g *Login) { g.Roles = []capability.Role{2, 1} }), What: LoginMade},
		"made: another's token":   {Login: with(bo, func(g *Login) { g.Tokens = ada.Tokens }), What: LoginMade},
		"made: two tokens of a name": {Login: with(bo, func(g *Login) {
			g.Tokens = []Token{{"a", TokenHash("a"), 1, 2}, {"A", TokenHash("b"), 1, 2}}
		}), What: LoginMade},
		"changed: nothing":         {Login: ada},
		"changed: said wrongly":    {Login: with(ada, func(g *Login) { g.Password, g.Since = []byte("3"), g.Since+1 }), What: RolesChanged},
		"changed: still signed in": {Login: with(ada, func(g *Login) { g.Password = []byte("3") }), What: PasswordChanged},
		"changed: signed out":      {Login: with(ada, func(g *Login) { g.Tokens, g.Since = nil, g.Since+1 }), What: TokenEnded},
		"changed: made anew":       {Login: with(ada, func(g *Login) { g.Password, g.Since, g.Made = []byte("3"), g.Since+1, g.Made+1 }), What: PasswordChanged},
		"changed: another case":    {Login: with(ada, func(g *Login) { g.Name, g.Password, g.Since = "Ada", []byte("3"), g.Since+1 }), What: PasswordChanged},
		"changed: the last":        {Login: with(keller, func(g *Login) { g.Roles, g.Since = nil, g.Since+1 }), What: RolesChanged},
		"disabled: the last":       {Login: with(keller, func(g *Login) { g.Disabled, g.Since = true, g.Since+1 }), What: LoginDisabled},
	} {
		if err := apply(Entry{Admitted: &f}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := apply(Entry{SignedIn: &SignedIn{From: "\x07"}}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a sign-in from nowhere: %v", err)
	}
}

// Check finds logins that cannot be.
func TestCheckFindsBadLogins(t *testing.T) {
	for name, spoil := range map[string]func(l *Ledger){
		"nobody admits": func(l *Ledger) { l.logins = l.logins[1:] },
		"twice": func(l *Ledger) {
			l.logins = append(l.logins, &Login{Name: "ADA", Password: []byte{1}, Made: 1, Since: 1})
		},
		"never made": func(l *Ledger) { l.logins[1].Made = 0 },
		"changed before": func(l *Ledger) {
			l.logins[1].Since = l.logins[1].Made - 1
		},
		"one token of two": func(l *Ledger) {
			for _, g := range l.logins {
				g.Tokens = []Token{{"t", TokenHash("t"), 1, 2}}
			}
		},
		"no password": func(l *Ledger) { l.logins[1].Password = nil },
		"too many": func(l *Ledger) {
			for n := range MaxLogins {
				l.logins = append(l.logins, &Login{Name: fmt.Sprint("n", n), Password: []byte{1}, Made: 1, Since: 1})
			}
		},
	} {
		v := admins(t)
		v.must(AddLogin{Name: "ada", Password: []byte("2")})
		if spoil(v.l); !errors.Is(v.l.Check(), ErrCorrupt) {
			t.Errorf("%s: %v", name, v.l.Check())
		}
		if _, err := Restore(v.l.Snapshot()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: restored, %v", name, err)
		}
	}
}

// The audit trail says who did what, and nothing of passwords; a name that none has is not repeated.
func TestWordsOfLogins(t *testing.T) {
	v := admins(t)
	v.must(AddToken{Login: "keller", Name: "nightly", Hash: TokenHash("x"), Life: 60, By: "login Keller"})
	v.must(NoteSignIn{SignedIn{Name: "Keller", From: "10.0.0.9", How: "password"}})
	v.must(NoteSignIn{SignedIn{From: "10.0.0.9", How: "password", Failed: 5, Closed: v.now.Wall + 1}})
	v.must(AddLogin{Name: "ada", Password: []byte{7}, By: "uid 0"})
	v.must(RemoveLogin{Name: "ada", By: "uid 0"})
	want := []string{
		"login made|Keller: security administrator|uid 0",
		fmt.Sprintf("login token made|Keller: security administrator, token \"nightly\" until %s|login Keller", v.now.Wall+60),
		"signed in|Keller by password from 10.0.0.9|login Keller",
		fmt.Sprintf("sign-in failed|an unknown name by password from 10.0.0.9, 5 tries in a row, closed until %s|", v.now.Wall+1),
		"login made|ada: no role|uid 0",
		"login removed|ada|uid 0",
	}
	for n, e := range v.entries[1:] {
		kind, what, by := e.Words()
		if got := kind + "|" + what + "|" + by; got != want[n] {
			t.Errorf("%s\nwant %s", got, want[n])
		}
	}
}

// The bytes of a login are on disk for years.
func TestLoginBytes(t *testing.T) {
	e := Entry{Position: 1, Now: At(1, 2), Admitted: &Admitted{Login: Login{Name: "a", Roles: []capability.Role{4}, Password: []byte{9}, Disabled: true, Made: 2, Since: 3, Tokens: []Token{{"t", capability.Digest{0: 1}, 4, 5}}}, What: LoginMade, By: "r"}}
	b := e.Encode(wire.New())
	want := "a3" + "01" + "01" + "03" + "82" + "01" + "02" + // the first, at 1 and 2
		"1832" + "a3" + // 50: a login
		"01" + "a7" + "01" + "6161" + "02" + "4104" + "03" + "4109" + "04" + "f5" + "05" + "02" + "06" + "03" + // a, security administrator, 9, disabled, made 2, since 3
		"07" + "81" + "a4" + "01" + "6174" + "02" + "5820" + "01" + strings.Repeat("00", 31) + "03" + "04" + "04" + "05" + // token t, from 4 to 5
		"02" + "01" + "03" + "6172" // made by r
	if got := fmt.Sprintf("%x", b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	e = Entry{Position: 1, Now: At(1, 2), SignedIn: &SignedIn{Name: "a", From: "b", How: "c", Failed: 5, Closed: 6}}
	want = "a3" + "01" + "01" + "03" + "82" + "01" + "02" + "1833" + "a5" + "01" + "6161" + "02" + "6162" + "03" + "6163" + "04" + "05" + "05" + "06"
	if got := fmt.Sprintf("%x", e.Encode(wire.New())); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !bytes.Equal(b[:2], []byte{0xa3, 1}) {
		t.Error("position")
	}
}
