package capability

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Every code has its words in every language, each once and each of its own.
func TestEveryCodeInEveryLanguage(t *testing.T) {
	all := Catalog()
	for _, l := range Languages() {
		titles := map[string]Code{}
		for _, e := range all {
			w := e.Code.In(l)
			if w.Code != e.Code || w.Symbol != e.Symbol || w.Exit != e.Exit {
				t.Errorf("%s in %s is %+v", e.Code, l, w)
			}
			if other, twice := titles[w.Title]; twice {
				t.Errorf("%s and %s are both %q in %s", e.Code, other, w.Title, l)
			}
			titles[w.Title] = e.Code
			for _, s := range []string{w.Title, w.Cause, w.Next} {
				if s == "" || strings.HasSuffix(s, ".") || strings.TrimSpace(s) != s || checkRunes(s) != nil || utf8.RuneCountInString(s) > 320 {
					t.Errorf("%s in %s: %q is no line for a screen", e.Code, l, s)
				}
			}
			if l != English && (w.Title == e.Title || w.Cause == e.Cause) {
				t.Errorf("%s has English words in %s: %q, %q", e.Code, l, w.Title, w.Cause)
			}
		}
	}
	given := map[Code]bool{}
	for _, w := range german() {
		if given[w.code] || w.code.Symbol() == unknown {
			t.Errorf("%s is there twice in German, or in German only", w.code)
		}
		given[w.code] = true
	}
	if len(given) != len(all) {
		t.Errorf("%d codes of %d are in German", len(given), len(all))
	}
}

// typed is what a reader types or fills in: commands with their first word, flags, what stands for a value, addresses, paths. It is the same in all languages.
func typed(s string) []string {
	s = regexp.MustCompile(`(?:activation|host|correlation) ID\b|(?:Aktivierungs|Host|Korrelations)-ID\b|-Stick\b|\bUSB\b`).ReplaceAllString(s, "")
	found := regexp.MustCompile(`\b(?:leasehold|freehold|systemctl|chmod|chown|usermod|tpm2_changeauth|ls) [-a-z][-+=a-zA-Z]*|\s--?[a-z][-a-z]*\b|\b[A-Z][A-Z-]+\b|https://\S+|/[a-z][a-z0-9/]*|[a-z]+\.(?:lht|json)`).FindAllString(s, -1)
	slices.Sort(found)
	return slices.Compact(found)
}

func TestWhatIsTypedIsTheSameInEveryLanguage(t *testing.T) {
	digits := regexp.MustCompile(`[0-9]+`)
	commands := 0
	for _, e := range Catalog() {
		want := typed(e.Next)
		commands += len(want)
		for _, l := range Languages() {
			w := e.Code.In(l)
			if got := typed(w.Next); !slices.Equal(got, want) {
				t.Errorf("%s in %s: %q where English has %q\n%s", e.Code, l, got, want, w.Next)
			}
			for _, pair := range [][2]string{{e.Title, w.Title}, {e.Cause, w.Cause}, {e.Next, w.Next}} {
				if a, b := digits.FindAllString(pair[0], -1), digits.FindAllString(pair[1], -1); !slices.Equal(a, b) {
					t.Errorf("%s in %s: numbers %q where English has %q", e.Code, l, b, a)
				}
			}
		}
	}
	if commands < 200 {
		t.Errorf("only %d things to type were found", commands)
	}
}

// No English is left by accident: the words that every English sentence has, and no German one, are only in what is typed.
func TestNoEnglishLeft(t *testing.T) {
	english := regexp.MustCompile(`\b(the|is|are|of|and|or|with|without|not|to|that|this|it|its|from|for|has|have|be|by|which|who|nothing|again|here|there|then|where|what|ask|wait|try|machine|request|response|license|seat|seats|key|file|appliances|producer|rights|storage|expired|entitlement|user|server's|device)\b`)
	quoted := regexp.MustCompile(`(?:freehold|leasehold)(?: --token SOCKET)?(?: (?:login|add|show|key|certificate|user|seat|device|item|list|request|import|model|convert|account|set|recovery|time|to|now|assign|pool|code|token|wait|config|check|status)\b)+|(?:-[-a-z]+)|"[^"]*"|\bMy login\b`)
	for _, e := range Catalog() {
		w := e.Code.In(German)
		for _, s := range []string{w.Title, w.Cause, w.Next} {
			if left := english.FindAllString(quoted.ReplaceAllString(s, ""), -1); left != nil {
				t.Errorf("%s: %q in %q", e.Code, left, s)
			}
		}
	}
	if !english.MatchString(ErrNoSeat.Entry().Title+" "+ErrNoSeat.Entry().Cause) || !english.MatchString(ErrHold.Entry().Cause) {
		t.Error("English is not known as English")
	}
}

func TestLanguageOf(t *testing.T) {
	for _, row := range []struct {
		all, messages, lang string
		want                Language
	}{
		{"", "", "", English}, {"", "", "de_DE.UTF-8", German}, {"", "", "de", German}, {"", "", "de_AT@euro", German}, {"", "", "de.UTF-8", German},
		{"", "", "fr_FR.UTF-8", English}, {"", "", "C", English}, {"", "", "den", English}, {"", "", "DE_de", English},
		{"", "de_CH.UTF-8", "en_US.UTF-8", German}, {"C.UTF-8", "de_CH.UTF-8", "de_DE.UTF-8", English}, {"de_DE", "en_US", "C", German}, {"POSIX", "", "de_DE", English},
	} {
		if got := LanguageOf(row.all, row.messages, row.lang); got != row.want {
			t.Errorf("LC_ALL=%q LC_MESSAGES=%q LANG=%q is %s, want %s", row.all, row.messages, row.lang, got, row.want)
		}
	}
}

func TestSentencesInGerman(t *testing.T) {
	for want, d := range map[string]Denial{
		`kein Platz frei für "render": 40 von 40 belegt, 1 gewünscht`:                         {Code: ErrNoSeat, Subject: "render", Asked: 1, Total: 40, Used: 40},
		`nur ältere Versionen sind lizenziert für "render": die höchste Version hier ist 3.1`: {Code: ErrVersion, Subject: "render", Highest: Version{Major: 3, Minor: 1}},
		`Wartefrist nach einem Stromausfall oder einer Reparatur, bis 1970-01-01T01:00:00Z`:   {Code: ErrHold, Until: 3600},
		`die Datei lässt sich nicht lesen oder schreiben für "/x": permission denied`:         {Code: ErrFileRead, Subject: "/x", Detail: "permission denied"},
		`unbekannter Code`: {Code: 9},
	} {
		if got := d.SentenceIn(German); got != want {
			t.Errorf("%q where %q is wanted", got, want)
		}
	}
	if e := Code(9).In(German); e.Symbol != unknown || e.Next != Code(9).Entry().Next {
		t.Error(e)
	}
}

// A message ID is in catalogs that are installed, and in journals that are kept: it is the number's for good.
func TestMessageIDs(t *testing.T) {
	seen := map[string]Code{}
	for _, e := range Catalog() {
		id := e.Code.MessageID()
		if other, twice := seen[id]; twice || !regexp.MustCompile(`^[0-9a-f]{12}8[0-9a-f]{3}[89ab][0-9a-f]{15}$`).MatchString(id) {
			t.Errorf("%s has the message ID %s (%s)", e.Code, id, other)
		}
		seen[id] = e.Code
	}
	for c, want := range map[Code]string{Started: "ed0c92671f9a83cd9c2af8794e925069", ErrNoSeat: "7fd862179bce83c69d69d2c4ca39b9f0", ErrForm: "226f61ded5418e40af53c18f01e8a579"} {
		if got := c.MessageID(); got != want {
			t.Errorf("%s has the message ID %s; it is %s for good", c, got, want)
		}
	}
}
