package portal

import (
	"net/http"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/wire"
)

// A seat that is used offline is assigned with the request of a machine, by file or as text, and its answer is there to take along. What has to do with another account is not there.
func TestOfflineSeats(t *testing.T) {
	s := newStock(t)
	s.anyMachine()
	b := s.signedIn("larsen", "Acme", capability.Operator)
	s.do(entitlement.Convert{ActivationID: s.fixed, To: entitlement.Offline, By: "test"})
	nothing := func(r *capability.Request) { r.Desired = nil }
	theirs := s.station()
	s.answer(theirs.request(s.other, 1))
	mine, second := s.station(), s.station()
	request, another := mine.request("", 0, nothing), second.request("", 0, nothing)
	damaged := append([]byte(nil), another...)
	damaged[len(damaged)-1] ^= 1

	const larsen, page = "a.larsen@acme.example", "/assign"
	assign := func(user string, files []sent, pairs ...string) answer {
		t.Helper()
		return b.sendFiles(itemPath(s.fixed, page), files, append(pairs, "once", b.get(itemPath(s.fixed)).once(), "user", user)...)
	}
	for _, c := range []struct {
		name   string
		files  []sent
		text   string
		status int
		has    string
	}{
		{"nothing", nil, "", 400, "choose its file"},
		{"an empty file", []sent{{"", nil}}, "", 400, "choose its file"},
		{"two files", []sent{{"a", request}, {"b", another}}, "", 400, "choose its file"},
		{"no request", []sent{{"a", []byte(evil)}}, "", 0, "LH-"},
		{"a damaged one", []sent{{"a", damaged}}, "", 0, "LH-"},
		{"a cut text", nil, wire.Text(another)[:400], 400, "LH-6010"},
		{"of another account's machine", []sent{{"a", theirs.request("", 0, nothing)}}, "", 404, "LH-6004"},
		{"that asks for what is another's", []sent{{"a", second.request(s.other, 1)}}, "", 404, "LH-6004"},
	} {
		before := s.entries()
		a := assign(larsen, c.files, "text", c.text)
		if a.status < 400 || a.status >= 500 || c.status != 0 && a.status != c.status || !strings.Contains(a.body, c.has) || strings.Contains(a.body, "<script>alert") {
			t.Errorf("%s: %v", c.name, a)
		}
		if s.entries() != before {
			t.Errorf("%s: something was written", c.name)
		}
	}

	first := assign(larsen, []sent{{"../REQ-0001.LHQ", request}})
	if first.status != http.StatusSeeOther || !strings.HasPrefix(first.location, "/responses/") {
		t.Fatal(first)
	}
	if a := b.get(first.location); a.status != http.StatusOK || !strings.Contains(a.body, "BEGIN LEASEHOLD FILE") {
		t.Error(a)
	}
	entries := s.entries()
	if again := assign(larsen, nil, "text", "Here it is:\r\n"+wire.Text(request)); again.location != first.location || s.entries() != entries {
		t.Errorf("the same request again, as text: %v", again)
	}
	if a := assign("new@acme.example", []sent{{"a", request}}); a.status != http.StatusConflict {
		t.Errorf("the same request for somebody else: %v", a)
	}
	if a := assign("new@acme.example", []sent{{"a", another}}, "slip", "yes"); a.location != "/user/slip" {
		t.Errorf("a new user: %v", a)
	} else if slip := b.get(a.location); !strings.Contains(slip.body, `href="/responses/`) {
		t.Errorf("the slip does not lead to the response: %v", slip)
	}
	if a := b.get(itemPath(s.fixed)); !strings.Contains(a.body, "issued") || !strings.Contains(a.body, mine.host().Short()) || s.view(s.fixed).Left != 1 {
		t.Error(a)
	}
	if a := b.fill(itemPath(s.fixed), itemPath(s.fixed, "/withdraw"), "user", larsen, "account", "Acme"); a.status != http.StatusSeeOther {
		t.Error(a)
	}
	if a := b.get(itemPath(s.fixed)); !strings.Contains(a.body, "being withdrawn") || s.view(s.fixed).Left != 1 {
		t.Errorf("a seat is free on nobody's proof: %v", a)
	}
}
