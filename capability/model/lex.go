package model

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	endOfText kind = iota
	word
	quoted // text is what the quotes hold, escapes resolved
	regex  // text is the source, slashes not escaped
	number
	mark
)

type token struct {
	Position
	kind kind
	text string
}

func (t token) String() string {
	switch t.kind {
	case endOfText:
		return "the end of the text"
	case quoted:
		return "the string " + Quote(shorten(t.text))
	case regex:
		return "the regexp ~/" + shorten(t.text) + "/"
	}
	return `"` + shorten(t.text) + `"`
}

// shorten keeps what a message repeats of a text fit for one line.
func shorten(s string) string {
	const most = 40
	n := 0
	for i := range s {
		if n++; n > most {
			return s[:i] + "..."
		}
	}
	return s
}

// Quote writes s as a STRING of the language. s must not hold control codes.
func Quote(s string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`) + `"`
}

type comment struct {
	Position
	text string
}

// lexer cuts a text into tokens. The text was screened before: it is UTF-8 without control codes other than tab and line ends.
type lexer struct {
	rest     string
	at       Position
	comments []comment // before the last token
	accepted bool      // the text was accepted once
}

// screen names the first character that has no place in a model, not even in a comment: one that would let a line look like what it is not.
func screen(text string) (Finding, bool) {
	at := Position{1, 1}
	for i, r := range text {
		switch {
		case r == '\n':
			at = Position{at.Line + 1, 1}
			continue
		case r == '\r' && !strings.HasPrefix(text[i+1:], "\n"):
			return refusal(at, SymbolCharacter, "a carriage return without the line feed that ends a line"), false
		case r == '\t' || r == '\r':
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(text[i:]); size == 1 {
				return refusal(at, SymbolCharacter, "byte %#02x is not UTF-8", text[i]), false
			}
			return refusal(at, SymbolCharacter, "character %U is not allowed", r), false
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029, r == 0x200e || r == 0x200f || r == 0x61c:
			return refusal(at, SymbolCharacter, "character %U is not allowed", r), false
		}
		at.Column++
	}
	return Finding{}, true
}

// take consumes n bytes and moves the position over them.
func (l *lexer) take(n int) string {
	s := l.rest[:n]
	l.rest = l.rest[n:]
	last := s
	if i := strings.LastIndexByte(s, '\n'); i >= 0 {
		l.at = Position{l.at.Line + strings.Count(s, "\n"), 1}
		last = s[i+1:]
	}
	l.at.Column += utf8.RuneCountInString(last)
	return s
}

// next reads a token. A finding ends the reading.
func (l *lexer) next() (token, *Finding) {
	if bad := l.skip(); bad != nil {
		return token{Position: l.at}, bad
	}
	t := token{Position: l.at}
	if l.rest == "" {
		return t, nil
	}
	switch c := l.rest[0]; {
	case c == '"':
		return l.quoted()
	case strings.HasPrefix(l.rest, "~/"):
		return l.regexp()
	case isDigit(c):
		t.kind, t.text = number, l.take(span(l.rest, isDigit))
	case isLetter(c):
		t.kind, t.text = word, l.take(span(l.rest, func(c byte) bool { return isLetter(c) || isDigit(c) || c == '_' || c == '-' }))
	case strings.HasPrefix(l.rest, "&&") || strings.HasPrefix(l.rest, "||"):
		t.kind, t.text = mark, l.take(2)
	case strings.IndexByte("{}(),.%:*!", c) >= 0:
		t.kind, t.text = mark, l.take(1)
	default:
		r, _ := utf8.DecodeRuneInString(l.rest)
		f := refusal(t.Position, SymbolSyntax, "%q begins nothing that belongs in a model", r)
		return t, &f
	}
	return t, nil
}

// skip passes white space and keeps comments.
func (l *lexer) skip() *Finding {
	l.comments = nil
	for {
		l.take(span(l.rest, func(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }))
		at := l.at
		switch {
		case strings.HasPrefix(l.rest, "//"):
			n := strings.IndexByte(l.rest, '\n')
			if n < 0 {
				n = len(l.rest)
			}
			l.comments = append(l.comments, comment{at, l.rest[2:n]})
			l.take(n)
		case strings.HasPrefix(l.rest, "/*"):
			n := strings.Index(l.rest[2:], "*/")
			if n < 0 {
				f := refusal(at, SymbolUnclosed, "the comment that begins here has no end")
				return &f
			}
			l.comments = append(l.comments, comment{at, l.rest[2 : n+2]})
			l.take(n + 4)
		default:
			return nil
		}
	}
}

// seen consumes n bytes of a string or regexp, unless one of its characters is one that nobody sees: two names could look the same.
func (l *lexer) seen(n int) *Finding {
	for i, r := range l.rest[:n] {
		if unicode.Is(unicode.Cf, r) && !l.accepted {
			l.take(i)
			f := refusal(l.at, SymbolCharacter, "character %U is not allowed here: nobody sees it", r)
			return &f
		}
	}
	l.take(n)
	return nil
}

func (l *lexer) quoted() (token, *Finding) {
	t := token{Position: l.at, kind: quoted}
	var b strings.Builder
	for i := 1; i < len(l.rest); i++ {
		switch c := l.rest[i]; c {
		case '"':
			t.text = b.String()
			return t, l.seen(i + 1)
		case '\n':
			i = len(l.rest)
		case '\\':
			if i+1 < len(l.rest) && (l.rest[i+1] == '"' || l.rest[i+1] == '\\') {
				i++
				b.WriteByte(l.rest[i])
				continue
			}
			l.take(i)
			f := refusal(l.at, SymbolSyntax, `a backslash in a string is written \\, a quote \"`)
			return t, &f
		default:
			b.WriteByte(c)
		}
		if b.Len() > MaxString {
			f := refusal(t.Position, SymbolLimit, "a string of more than %d bytes", MaxString)
			return t, &f
		}
	}
	f := refusal(t.Position, SymbolUnclosed, "the string that begins here has no closing quote on its line")
	return t, &f
}

func (l *lexer) regexp() (token, *Finding) {
	t := token{Position: l.at, kind: regex}
	var b strings.Builder
	for i := 2; i < len(l.rest); i++ {
		switch c := l.rest[i]; {
		case c == '/':
			t.text = b.String()
			return t, l.seen(i + 1)
		case c == '\n':
			i = len(l.rest)
		case c == '\\' && i+1 < len(l.rest) && l.rest[i+1] == '/':
			i++
			b.WriteByte('/')
		case c == '\\' && i+1 < len(l.rest) && l.rest[i+1] == '\\':
			i++
			b.WriteString(`\\`)
		default:
			b.WriteByte(c)
		}
		if b.Len() > MaxRegexp {
			f := refusal(t.Position, SymbolLimit, "a regexp of more than %d bytes", MaxRegexp)
			return t, &f
		}
	}
	f := refusal(t.Position, SymbolUnclosed, "the regexp that begins here has no closing slash on its line")
	return t, &f
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func span(s string, in func(byte) bool) int {
	for i := range len(s) {
		if !in(s[i]) {
			return i
		}
	}
	return len(s)
}
