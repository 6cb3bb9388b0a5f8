package capability

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// declared are the codes that catalog.go declares, by name; it reads the file, so that one without an entry is found.
func declared(t *testing.T) map[string]Code {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "catalog.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]Code{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			var n Code
			if _, err := fmt.Sscan(v.Values[0].(*ast.BasicLit).Value, &n); err != nil {
				t.Fatal(err)
			}
			codes[v.Names[0].Name] = n
		}
	}
	return codes
}

func TestCatalog(t *testing.T) {
	exits := []int{ExitOK, ExitError, ExitUsage, ExitNoDaemon, ExitNotFound, ExitNoSeat, ExitExpired, ExitNotEntitled, ExitPolicy, ExitFile, ExitOtherHost, ExitHeld, ExitTemporary}
	if want := []int{0, 1, 2, 3, 4, 10, 11, 12, 13, 20, 21, 22, 75}; !slices.Equal(exits, want) {
		t.Errorf("exit statuses are %v; they are an interface: %v", exits, want)
	}
	codes, symbols, titles := map[Code]bool{}, map[string]bool{}, map[string]bool{}
	for _, e := range Catalog() {
		if codes[e.Code] || symbols[e.Symbol] || titles[e.Title] {
			t.Errorf("%s %s %q is there twice", e.Code, e.Symbol, e.Title)
		}
		codes[e.Code], symbols[e.Symbol], titles[e.Title] = true, true, true
		if e.Code < 1000 || e.Code > 9999 {
			t.Errorf("%s has no four digits", e.Code)
		}
		if !slices.Contains(exits, e.Exit) {
			t.Errorf("%s ends with %d, which is not documented", e.Code, e.Exit)
		}
		if strings.Trim(e.Symbol, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
			t.Errorf("%s has the symbol %q", e.Code, e.Symbol)
		}
		for _, s := range []string{e.Title, e.Cause, e.Next} {
			if s == "" || strings.HasSuffix(s, ".") || strings.Contains(s, "failed to") || strings.TrimSpace(s) != s || checkRunes(s) != nil || len(s) > MaxText {
				t.Errorf("%s: %q is no line for a screen", e.Code, s)
			}
		}
		if first := e.Title[:1]; first != strings.ToLower(first) && !strings.HasPrefix(e.Title, "TPM") {
			t.Errorf("%s: %q begins with a capital", e.Code, e.Title)
		}
		// a way round: each is found again by all its names
		for _, s := range []string{e.Code.String(), e.Symbol, strings.ToLower(e.Symbol), fmt.Sprintf("%04d", e.Code), " " + strings.ToLower(e.Code.String()) + " "} {
			if c, err := ParseCode(s); err != nil || c != e.Code {
				t.Errorf("%q: %s, %v", s, c, err)
			}
		}
		if e.Code.Entry() != e || e.Code.Symbol() != e.Symbol {
			t.Errorf("%s is found as %+v", e.Code, e.Code.Entry())
		}
	}
	for name, c := range declared(t) {
		if !codes[c] {
			t.Errorf("%s has no entry", name)
		}
		if e := c.Entry(); strings.HasPrefix(name, "Err") != strings.HasPrefix(e.Symbol, "E_") {
			t.Errorf("%s has the symbol %s", name, e.Symbol)
		}
	}
	if len(declared(t)) != len(Catalog()) {
		t.Errorf("%d codes and %d entries", len(declared(t)), len(Catalog()))
	}
}

func TestUnknownCodes(t *testing.T) {
	if e := Code(1).Entry(); e.Symbol != "E_UNKNOWN" || e.Exit != ExitError || e.Code != 1 {
		t.Errorf("%+v", e)
	}
	for _, s := range []string{"", "LH-", "LH-0001", "1", "31040", "E_UNKNOWN", "no seat", "LH-LH-3104"} {
		if c, err := ParseCode(s); err == nil {
			t.Errorf("%q is %s", s, c)
		}
	}
	var c Code
	b, err := json.Marshal(ErrNoSeat)
	if err != nil || string(b) != `"LH-3104"` || json.Unmarshal(b, &c) != nil || c != ErrNoSeat {
		t.Errorf("%s, %v, %s", b, err, c)
	}
	if json.Unmarshal([]byte(`"LH-0000"`), &c) == nil {
		t.Error("a code that is none is read")
	}
	// A newer program knows more codes, and what it says is not lost for one of them.
	if err := json.Unmarshal([]byte(`"LH-9998"`), &c); err != nil || c != 9998 {
		t.Errorf("%s: %v", c, err)
	}
	for _, s := range []string{`"LH-99998"`, `"LH-998"`, `"LH-+998"`, `"9998"`, `"lh-9998"`} {
		if json.Unmarshal([]byte(s), &c) == nil {
			t.Errorf("%s is read as %s", s, c)
		}
	}
	for c, refuses := range map[Code]bool{Applied: false, AskedBack: false, RequestMade: false, ErrNoSeat: true, ErrOlderRequest: true, 9998: true} {
		if c.Refuses() != refuses {
			t.Errorf("%s refuses: %t", c, !refuses)
		}
	}
}

func TestSentences(t *testing.T) {
	for want, d := range map[string]Denial{
		`no seat free for "render": 40 of 40 in use, 1 asked`:                           {Code: ErrNoSeat, Subject: "render", Asked: 1, Total: 40, Used: 40},
		`only older versions are licensed for "render": highest version here is 2026.1`: {Code: ErrVersion, Subject: "render", Highest: Version{Major: 2026, Minor: 1}},
		`hold after a power loss or a repair, until 1970-01-01T01:00:00Z`:               {Code: ErrHold, Until: 3600},
		`the file cannot be read or written for "/media/x": permission denied`:          {Code: ErrFileRead, Subject: "/media/x", Detail: "permission denied"},
		`unknown code`: {Code: 9},
	} {
		if got := d.Sentence(); got != want {
			t.Errorf("%q where %q is wanted", got, want)
		}
	}
	r := Refuse(ErrNotFound, "x", "looked in %d places", 3)
	if r.Error() != `LH-6004 no such thing for "x": looked in 3 places` || r.Code != ErrNotFound {
		t.Error(r)
	}
}
