package systemd

import (
	"fmt"
	"strings"

	"github.com/leasehold/leasehold/capability"
)

// catalogColumns is where lines of the journal's catalog end: the pager of journalctl cuts longer ones off.
const catalogColumns = 76

// CatalogName is the file of the message catalog in a language: journalctl -x takes the language from the name.
func CatalogName(l capability.Language) string {
	if l == capability.English {
		return "leasehold.catalog"
	}
	return "leasehold." + string(l) + ".catalog"
}

// Catalog is the message catalog in a language as journalctl --update-catalog reads it: for each code its message ID, title, cause and next step.
func Catalog(l capability.Language) []byte {
	cause, next := "Cause", "Next"
	if l == capability.German {
		cause, next = "Ursache", "Abhilfe"
	}
	var b strings.Builder
	for _, e := range capability.Catalog() {
		e = e.Code.In(l)
		fmt.Fprintf(&b, "-- %s\nSubject: %s %s\nDefined-By: Leasehold\nSupport: man:leasehold-errors(7)\nDocumentation: man:leasehold-errors(7)\n\n%s\n%s\n\n",
			e.Code.MessageID(), e.Code, e.Title, fold(cause+": "+e.Cause+"."), fold(next+": "+e.Next+"."))
	}
	return []byte(b.String())
}

// fold breaks a text into lines where it has spaces.
func fold(text string) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Split(text, " ") {
		n := len([]rune(word))
		switch {
		case i == 0:
		case column+1+n > catalogColumns:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
