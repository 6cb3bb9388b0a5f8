package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/capabilitytest"
)

// What is metered is reported, taken back and previewed by the commands a user types.
func TestUsage(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	pages := capabilitytest.Item("pages", 20)
	pages.Metered, pages.UndoInterval = true, 600
	a := capabilitytest.New(t, pages, capabilitytest.Item("render:2026.1", 2))
	m.put("producer.lht", a.Trust())
	m.env = append(m.env, "LEASEHOLD_SERVER="+a.Server(), "LEASEHOLD_TRUST=producer.lht")
	do := func(status int, code capability.Code, want string, args ...string) string {
		t.Helper()
		got, out, stderr := m.run(args...)
		if got != status || !strings.Contains(out, want) {
			t.Errorf("%v: exit status %d where %d is wanted\n%s%s", args, got, status, out, stderr)
		}
		if code != 0 {
			fourLines(t, strings.Join(args, " "), stderr[max(0, strings.Index(stderr, "error: ")):], code)
		}
		return out
	}
	do(0, 0, "acquire would get 2 of render", "preview", "render:2026.1", "--count", "2")
	m.golden("preview.json", do(0, 0, "", "preview", "render", "--json"))
	do(10, capability.ErrNoSeat, "", "preview", "render", "--count", "3")
	do(0, 0, "reported +12 of pages, 12 in all", "report", "pages", "--count", "12")
	out := do(0, 0, "15 in all", "report", "pages", "--count", "3")
	m.golden("usage.json", do(0, 0, "", "report", "pages", "--json"))
	do(10, capability.ErrNoSeat, "", "report", "pages", "--count", "5")
	id := regexp.MustCompile(`[0-9a-f]{32}`).FindString(out)
	m.golden("undo.json", do(0, 0, "", "undo", id, "--json"))
	do(4, capability.ErrUndo, "", "undo", id)
	if n := a.Used("pages"); n != 13 {
		t.Errorf("%d pages are counted, want 13", n)
	}
	for _, args := range []string{"report", "report a:b", "report pages --count 0", "report pages --count 99999999999", "undo", "undo 12", "undo " + strings.Repeat("z", 32), "preview", "preview a:b", "preview a --count 0"} {
		do(2, capability.ErrUsage, "", strings.Fields(args)...)
	}
	a.Down()
	do(75, capability.ErrServerUnreachable, "", "report", "pages")
	do(75, capability.ErrServerUnreachable, "", "preview", "render")
}
