package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/systemd"
)

// locale is the environment of one who reads that language.
func locale(t *testing.T, l capability.Language) {
	t.Helper()
	t.Setenv("LC_ALL", "")
	t.Setenv("LC_MESSAGES", map[capability.Language]string{capability.English: "en_US.UTF-8", capability.German: "de_AT.UTF-8"}[l])
	t.Setenv("LANG", "fr_FR.UTF-8")
}

func TestErrorsInGerman(t *testing.T) {
	locale(t, capability.German)
	no := capability.Refuse(capability.ErrNoSeat, "render", "")
	for _, row := range []struct {
		err  error
		want string
	}{
		{no, "Fehler: LH-3104 kein Platz frei für \"render\"\nUrsache: alle Plätze des Features sind belegt\nAbhilfe: leasehold devices zeigt, wer sie belegt\nmehr: leasehold explain LH-3104\n"},
		{Coded(capability.ErrNoDaemon, errors.New("/run/x: connection refused")), "Fehler: LH-6002 leaseholdd antwortet nicht: /run/x: connection refused\nUrsache: am Socket lauscht niemand: der Dienst ist beendet, oder es wurde ein anderer Pfad angegeben\nAbhilfe: systemctl start leaseholdd\nmehr: leasehold explain LH-6002\n"},
		{Advised(capability.ErrNoSeat, fmt.Errorf("for some: %w", no), "leasehold seat"), "Fehler: LH-3104 kein Platz frei für \"render\"\nUrsache: alle Plätze des Features sind belegt\nAbhilfe: leasehold seat\nmehr: leasehold explain LH-3104\n"},
	} {
		var b bytes.Buffer
		if status := Report(&b, "leasehold status", row.err); b.String() != row.want || status != CodeOf(row.err).Entry().Exit {
			t.Errorf("%d\n%swhere this is wanted\n%s", status, &b, row.want)
		}
	}
	root := tool(nil)
	root.SetArgs([]string{"improt"})
	var b bytes.Buffer
	if status := Program(root, &b); status != capability.ExitUsage || !strings.Contains(b.String(), "Abhilfe: tool import (meinten Sie das?)\n") {
		t.Errorf("%d\n%s", status, &b)
	}
}

// unroff is a page as it is read, each paragraph on one line.
func unroff(page string) string {
	return strings.NewReplacer(`\-`, "-", `\e`, `\`, `\&`, "").Replace(page)
}

// Explain, the man page and the journal's catalog say the same three sentences, in every language; JSON says the English ones in all.
func TestExplainManAndJournalAgree(t *testing.T) {
	var inEnglish string
	for _, l := range capability.Languages() {
		locale(t, l)
		dir := t.TempDir()
		root := tool(nil)
		root.SetArgs([]string{"man", dir})
		if status := Program(root, os.Stderr); status != 0 {
			t.Fatal(status)
		}
		path := filepath.Join(dir, "leasehold-errors.7")
		if l != capability.English {
			path = filepath.Join(dir, string(l), "leasehold-errors.7")
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		page := unroff(string(b))
		journal := string(systemd.Catalog(l))
		asJSON := ""
		for _, e := range capability.Catalog() {
			explained := explain(t, false, e.Code.String())
			parts := regexp.MustCompile(`^(LH-\d{4}) ([A-Z_]+): (.+)\n[A-Z]?[a-z]+: (.+)\n[A-Z]?[a-z]+: (.+)\n.+: (\d+)\n$`).FindStringSubmatch(explained)
			if parts == nil {
				t.Errorf("%s: %q", e.Code, explained)
				continue
			}
			title, cause, next := parts[3], parts[4], parts[5]
			if in := e.Code.In(l); parts[1] != e.Code.String() || parts[2] != e.Symbol || title != in.Title || cause != in.Cause || next != in.Next || parts[6] != fmt.Sprint(e.Exit) {
				t.Errorf("%s in %s is explained as %q", e.Code, l, explained)
			}
			_, after, _ := strings.Cut(page, ".B "+e.Code.String()+" "+e.Symbol+"\n")
			said, _, _ := strings.Cut(after, ".TP\n")
			if !strings.HasPrefix(said, title+".\n.br\n") || !strings.Contains(said, ": "+cause+".\n.br\n") || !strings.Contains(said, ": "+next+".\n.br\n") {
				t.Errorf("%s in %s is on the man page as\n%s", e.Code, l, said)
			}
			_, after, _ = strings.Cut(journal, "-- "+e.Code.MessageID()+"\nSubject: "+e.Code.String()+" "+title+"\n")
			said, _, _ = strings.Cut(after, "\n-- ")
			if said = strings.ReplaceAll(said, "\n", " "); !strings.Contains(said, ": "+cause+".") || !strings.Contains(said, ": "+next+".") {
				t.Errorf("%s in %s is in the journal's catalog as\n%s", e.Code, l, said)
			}
		}
		asJSON = explain(t, true) + explain(t, true, "3104")
		if l == capability.English {
			inEnglish = asJSON
		} else if asJSON != inEnglish {
			t.Errorf("JSON in %s is another one", l)
		}
		if list := explain(t, false); strings.Count(list, "\n") != len(capability.Catalog())+1 || !strings.Contains(list, capability.ErrNoSeat.In(l).Title) {
			t.Errorf("the list in %s is\n%s", l, list)
		}
	}
}

func explain(t *testing.T, json bool, args ...string) string {
	t.Helper()
	c := Explain("leasehold", &json)
	var b bytes.Buffer
	c.SetOut(&b)
	c.SetArgs(args)
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
