package capability

import (
	"fmt"
	"strings"
)

// Language is one that the catalog has words in, as the first part of a locale names it: en, de.
type Language string

// English is what everything is written in first, and German the catalog too.
const (
	English Language = "en"
	German  Language = "de"
)

// Languages are all of the catalog's, English first.
func Languages() []Language { return []Language{English, German} }

// LanguageOf is the language of the first of the locales that is set, in the order in which POSIX looks at them: LC_ALL, LC_MESSAGES, LANG. de_AT.UTF-8 is
// German; a locale of a language that the catalog does not have, C, POSIX and none are English.
func LanguageOf(locales ...string) Language {
	for _, locale := range locales {
		if locale == "" {
			continue
		}
		name := locale
		if end := strings.IndexAny(locale, "_.@"); end >= 0 {
			name = locale[:end]
		}
		for _, l := range Languages() {
			if name == string(l) {
				return l
			}
		}
		break
	}
	return English
}

// In is the catalog's entry of the code with its title, cause and next step in a language. Code, symbol and exit status are the same in all.
func (c Code) In(l Language) Entry {
	e := c.Entry()
	if l != German {
		return e
	}
	for _, w := range german() {
		if w.code == c {
			e.Title, e.Cause, e.Next = w.title, w.cause, w.next
			return e
		}
	}
	if e.Symbol == unknown {
		e.Title, e.Cause = "unbekannter Code", "dieses Programm kennt den Code nicht; die Gegenseite ist vielleicht neuer"
	}
	return e
}

// phrases are the parts of a sentence around the facts of a denial.
type phrases struct{ about, counts, version, until string }

func phrasesIn(l Language) phrases {
	if l == German {
		return phrases{" für %q", ": %d von %d belegt, %d gewünscht", ": die höchste Version hier ist %s", ", bis %s"}
	}
	return phrases{" for %q", ": %d of %d in use, %d asked", ": highest version here is %s", ", until %s"}
}

// SentenceIn is the title in a language with the facts of the denial filled in, as: kein Platz frei für "render": 40 von 40 belegt, 1 gewünscht. The detail is as
// it came: it may be another program's.
func (d Denial) SentenceIn(l Language) string {
	say := phrasesIn(l)
	t := d.Code.In(l).Title
	if d.Subject != "" {
		t += fmt.Sprintf(say.about, d.Subject)
	}
	switch {
	case d.Total > 0:
		t += fmt.Sprintf(say.counts, d.Used, d.Total, d.Asked)
	case d.Highest != Version{}:
		t += fmt.Sprintf(say.version, d.Highest)
	}
	if d.Until != 0 {
		t += fmt.Sprintf(say.until, d.Until)
	}
	if d.Detail != "" {
		t += ": " + d.Detail
	}
	return t
}
