package portal

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
)

// instead says what there is in the place of an element of other portals and products, and why.
func instead() map[int]string {
	const gives = "an appliance gives rights back by leasehold return or the REST API, and no page of it does: the return is prepared, and the holders are listed first"
	return map[int]string{
		180: "nobody is named at installation: the first login is made with a code that only root sees",
		181: gives,
		182: gives,
		183: "there is no fingerprint file: a request carries the proof, can be written again, and the right stays in a book until it is credited",
		184: "the overview of the appliance says what is returned and not credited yet",
		187: "the inbox is a page of its own",
		198: "the page that follows the assignment has the response: tested with seats used offline",
		199: "the line item says how it is used, and whoever may move rights converts it",
		200: "refused by code, with the names of who uses it: tested with seats",
		201: "REQ-nnnn.TXT beside each request has every datum in words; a test compares the two",
		202: "leasehold login and the SDK's callback",
		203: "leasehold request writes a file, or text to paste",
		204: "leasehold import takes the file or the text, and the product starts",
		205: "leasehold return",
		206: "a machine's page asks rights back; the machine proves that they are gone",
		208: "an activation ID stays good after a return, and nothing of it is left on the machine",
		215: "providers of SAML and OIDC are set up for the whole portal: tested with them",
		217: "the license model says how long a product runs on without its server",
		218: "the same machine has its seat again at once, and another reads when it is free: check 28",
	}
}

// Check 21, for the portal and what belongs to it: every element of others is on a page, or something stands in its place. The console's are tested beside the console. The counts are printed.
func TestCheck21(t *testing.T) {
	text, err := os.ReadFile("testdata/inventory.tsv")
	if err != nil {
		t.Fatal(err)
	}
	s := newStock(t)
	s.anyMachine()
	m := s.station()
	s.answer(m.request(s.own, 1))
	user := entitlement.UserID{Account: "Acme", Name: "a.larsen@acme.example"}
	s.do(entitlement.Convert{ActivationID: s.fixed, To: entitlement.Offline, By: "test"})
	b := s.signedIn("keller", "", capability.SecurityAdministrator, capability.LicenseAdministrator)
	b.fill(itemPath(s.pooled), itemPath(s.pooled, "/pool"), "do", "add", "user", user.Name, "account", user.Account)
	if err := s.desk.Ask(func(o *backoffice.Office) error {
		_, err := o.TakeSession(entitlement.TakeSession{ActivationID: s.pooled, User: user, Device: capability.Digest{1}, Machine: "WS-114", By: "test"}, capability.At(s.now()))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	device, offline, floating := devicePath(m.host()), itemPath(s.fixed), itemPath(s.pooled)
	type on struct {
		page string
		has  []string
	}
	at := func(page string, has ...string) on { return on{page, has} }
	here := map[int]on{
		185: at("/sign-in", `name="name"`, `type="password"`),
		186: at("/inbox", "Drop request files here"),
		188: at("/inbox", `type="file" name="file"`),
		189: at("/inbox", "Or paste requests as text", `<textarea name="text"`),
		190: at("/inbox", ">Look at them</button>"),
		191: at(device, "<h2>Exchanges</h2>", "<h2>Rights</h2>"),
		192: at(offline, ">Convert to online</button>"),
		193: at(offline, "Nobody uses it, and it shall be used online"),
		194: at(offline, ">Assign</button>"),
		195: at(offline, "Assign a seat, 3 left"),
		196: at(offline, "Request file of the user's machine", `type="file" name="file"`),
		197: at(offline, "or its text", `<textarea name="text"`),
		207: at(device, ">Order the re-host</button>"),
		209: at("/sessions", "Idle for at least", ">Idle for</th>"),
		210: at("/sessions", ">Disconnect the chosen</button>"),
		211: at("/reports/licenses", "csv"),
		212: at(offline, `name="user"`, "Draw a code for the slip"),
		213: at(floating, ">Put into the pool</button>", user.Name),
		214: at("/sessions", ">Machine</th>", "WS-114"),
		216: at("/groups", "business unit", ">Put into it</button>"),
	}
	replaced, pages := instead(), map[string]string{}
	var found, missing, numbers []int
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		number, rest, _ := strings.Cut(line, "\t")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(line)
		}
		numbers = append(numbers, n)
		where, isHere := here[n]
		if isHere == (replaced[n] != "") {
			t.Errorf("%d %s: found %t, and something is in its place: %t", n, rest, isHere, replaced[n] != "")
			continue
		}
		if !isHere {
			missing = append(missing, n)
			continue
		}
		found = append(found, n)
		if pages[where.page] == "" {
			pages[where.page] = b.get(where.page).body
		}
		for _, has := range where.has {
			if !strings.Contains(pages[where.page], has) && !strings.Contains(strings.ReplaceAll(pages[where.page], "&#39;", "'"), has) {
				t.Errorf("%d %s: %q is not on %s", n, rest, has, where.page)
			}
		}
	}
	for n := range here {
		if !slices.Contains(numbers, n) {
			t.Errorf("%d is not in the inventory", n)
		}
	}
	if len(found)+len(missing) != 39 {
		t.Errorf("%d elements where the portal and what belongs to it have 39", len(found)+len(missing))
	}
	t.Logf("%d elements: %d on a page, %d replaced", len(numbers), len(found), len(missing))
}
