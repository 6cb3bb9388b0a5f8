package terminal

import (
	"os"

	"github.com/leasehold/leasehold/capability"
)

// Language is the one of whoever sits at the terminal: what LC_ALL, LC_MESSAGES or LANG asks for, if the catalog has it. Only what people read follows it; JSON,
// symbols, numbers and exit statuses are the same everywhere.
func Language() capability.Language {
	return capability.LanguageOf(os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG"))
}

// labels are the words before the parts of an entry.
type labels struct{ fault, cause, next, more, exit, meant, code, name, meaning string }

func labelsIn(l capability.Language) labels {
	if l == capability.German {
		return labels{"Fehler", "Ursache", "Abhilfe", "mehr", "Exit-Status", "meinten Sie das?", "CODE", "NAME", "BEDEUTUNG"}
	}
	return labels{"error", "cause", "next", "more", "exit status", "did you mean that?", "CODE", "NAME", "MEANING"}
}
