package console

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/capability"
)

// on is where an element of the inventory is: a page, and what of it its markup or its words have.
type on struct {
	page string
	has  []string
}

func at(page string, has ...string) on { return on{page, has} }

// here are the elements that a page has, by their number in the inventory.
func here(item string) map[int]on {
	feature := "/feature?id=" + item + "&name=f"
	m := map[int]on{
		1:   at("/overview", "License Manager Configuration", `href="/settings"`, `href="/about"`),
		2:   at("/overview", "License Server Setup", `href="/me"`, `href="/properties"`),
		3:   at("/overview", `href="/features"`),
		4:   at("/overview", `href="/pools"`),
		5:   at("/overview", `href="/devices"`),
		6:   at("/overview", `href="/reservations"`),
		10:  at("/help", "Total number of records:", `aria-label="Page 2"`),
		13:  at("denied:/audit", "LH-4303", "your roles do not allow this"),
		17:  at("/about", "<h2>Build</h2>", "1.2.3"),
		18:  at("/about", "<h2>System</h2>", "Host ID"),
		19:  at("/about", "<h2>Browser</h2>", "Go-http-client"),
		21:  at("/settings", "Page Size", `name="size"`, `value="50"`),
		28:  at("/settings", ">Save</button>"),
		29:  at("out:/sign-in", "User Name", `name="name"`),
		30:  at("out:/sign-in", "Password", `type="password"`),
		31:  at("out:/sign-in", ">Login</button>"),
		32:  at("/me", "User Name", "both"),
		33:  at("/me", "Your current password", `name="password-current"`),
		34:  at("/me", "New Password", `name="password"`),
		35:  at("/me", "Confirm New Password", `name="again"`),
		36:  at("/me", ">Reset Password</button>"),
		38:  at("/properties", "The policy in force", "after Save"),
		39:  at("/properties", "<summary>General Properties</summary>"),
		40:  at("/properties", "Host IDs", "appliance/STRING"),
		41:  at("/properties", "License server version", "1.2.3"),
		42:  at("/properties", "Device UUID"),
		43:  at("/properties", "<dt>Status</dt>"),
		44:  at("/properties", "<summary>Secure REST API Settings</summary>", "token-life"),
		45:  at("/properties", "<summary>Server Sync Settings</summary>", "sync-to"),
		46:  at("/properties", "<summary>License Generation</summary>", "lease-interval"),
		47:  at("/properties", "Server-to-Server Sync", "failover-uris"),
		48:  at("/properties", "<summary>Capability Polling Settings</summary>", "poll-period"),
		49:  at("/properties", "<summary>Locally Deployed License Servers Settings</summary>", "host-id-order"),
		50:  at("/properties", "<summary>Logging Properties</summary>", "log-directory", "log-threshold"),
		51:  at("/properties", "<details open><summary>"),
		52:  at("/properties", "response-lifetime", "failover-maintenance", "locked: producer"),
		53:  at("/properties", ">Save</button>"),
		64:  at("/features", `aria-current="page">Summary`),
		65:  at("/features", "Total number of records: 1"),
		66:  at("/features", "permanent", "true"),
		78:  at("/features/details", `aria-current="page">Details`),
		79:  at("/features/details", "View Columns", `action="/columns"`),
		80:  at("/features/details", `name="q"`, `role="search"`),
		81:  at("/features/details", ">Search</button>"),
		82:  at("/features/details", `href="/feature?id=`),
		83:  at(feature, "<h1>Feature Details: f</h1>"),
		93:  at(feature, "Served Device"),
		100: at(feature, "Back to list", `href="/features/details"`),
		101: at("/pools", `aria-current="page">Named License Pools`),
		102: at("/pools", "Select a pool name to see its content"),
		103: at("/pools", "<summary>1 / default</summary>"),
		109: at("/pools", ">Status</th>", "normal"),
		110: at("/pools/model", `aria-current="page">Model`),
		111: at("/pools/model", "divides the counts into named license pools", "Browse for a file"),
		112: at("/pools/model", "Model Definition File", `type="file"`),
		113: at("/pools/model", `type="file" name="file"`),
		114: at("/pools/model", ">Upload</button>", `formaction="/pools/model"`),
		115: at("/pools/model", "Current Model Definition File"),
		116: at("reserved:/pools/model", "pools and reservations cannot be at the same time"),
		117: at("/devices", ">Device ID</a>", `href="/devices/STRING/d"`),
		121: at("/devices", "Total number of records: 1"),
		122: at("/devices/STRING/d", "Device Details"),
		123: at("/devices/STRING/d", "<dt>Device Expiry</dt>"),
		124: at("/devices/STRING/d", "Consumed Features"),
		126: at("/devices/STRING/d", ">Expiry</a>", "permanent"),
		127: at("/devices/STRING/d", ">Back</a>"),
		128: at("/reservations", ">Import</button>", "JSON"),
		129: at("/reservations", ">Export</a>", "export.json"),
		130: at("/reservations", ">Delete</button>"),
		131: at("/reservations", ">Add</a>"),
		132: at("reserved:/reservations", `type="checkbox" form="delete"`),
		133: at("reserved:/reservations", ">Status</a>", "satisfied"),
		140: at("reserved:/reservations", `aria-label="Delete f for `),
		141: at("reserved:/reservations/delete?id=ID", "Pending Deletions", ">Submit</button>"),
		142: at("reserved:/reservations", "Total number of records: 1"),
		144: at("/reservations/add", "A reservation keeps counts of features for one device or one user"),
		145: at("/reservations/add", "Group Name", `name="group"`),
		146: at("/reservations/add", "Device ID", `name="device"`),
		147: at("/reservations/add", "ID Type", `<select name="type"`),
		148: at("/reservations/add", "Feature Name", `name="feature"`),
		149: at("/reservations/add", "Version", `name="version"`, "or any above"),
		150: at("/reservations/add", "Count", `name="count"`),
		151: at("/reservations/add", `value="add">Add</button>`),
		152: at("/reservations/add", ">Clear</button>"),
		153: at("/reservations/add", "Reservations (Pending Submission)"),
		154: at("/reservations/add", ">Submit</button>"),
		155: at("/reservations/add", ">Cancel</button>"),
		156: at("/online", `aria-current="page">Online Activations`),
		157: at("/online", "Activation ID", `name="id"`),
		158: at("/online", "Count", `name="count"`),
		159: at("/online", `value="more"`, ">+</button>"),
		160: at("more:/online", `value="remove 1"`),
		161: at("/online", ">Activate</button>"),
		162: at("/online", "LH-", "Back office"),
		163: at("/online/update", `aria-current="page">Update Licenses`),
		164: at("/online/update", ">Refresh</button>"),
		165: at("/offline", "Download Capability/Confirmation Request"),
		166: at("/offline", ">Download</button>"),
		167: at("/offline", "Generate Offline Request"),
		168: at("/offline", "Activation ID", `name="id"`),
		169: at("/offline", "Count", `name="count"`),
		170: at("/offline", `action="/offline/request"`, ">Download</button>"),
		171: at("/offline", `type="file" name="file"`),
		172: at("/offline", ">Upload</button>"),
		173: at("/keys", "choose the file", `type="file" name="file"`),
		174: at("/keys", "Upload a client", ">Upload</button>"),
		175: at("/keys", "2048-bit RSA", "in DER", "license administrator has registered"),
		7:   at("/overview", "Back Office Operations", `href="/online"`, `href="/offline"`, `href="/keys"`),
	}
	column := func(page string, from int, titles ...string) {
		for n, title := range titles {
			m[from+n] = at(page, ">"+title+"</a>")
		}
	}
	column("/features", 54, "Feature", "Version", "Total Count", "Total Used", "Total Available", "First Expiration", "Last Expiration", "Total Overdraft", "Metered", "Counted")
	column("/features/details", 67, "Feature", "Version", "Count", "Available", "Expiry", "Start Date", "Vendor String", "Product Name", "Activation ID", "Entitlement ID", "Product Version")
	column(feature, 94, "Device ID", "Device ID Type", "Device Type", "Device Alias", "Total Count Served", "Expiry")
	column("/devices", 118, "ID Type", "Device Type", "Device Alias")
	column("/devices/STRING/d", 125, "Feature")
	column("reserved:/reservations", 134, "Device ID", "ID Type", "Reservation Group", "Feature Name", "Version", "Count")
	for n, name := range []string{"Feature Name", "Version", "Start Date", "Total Count", "Available", "Used Count", "Reserved Count", "Vendor String", "Feature Expiry"} {
		m[84+n] = at(feature, "<dt>"+name+"</dt>")
	}
	for n, name := range []string{"Feature Name", "Version", "Expiration Date", "Allocated", "Used"} {
		m[104+n] = at("/pools", ">"+name+"</th>")
	}
	return m
}

// instead says what there is in the place of an element, and why.
func instead() map[int]string {
	return map[int]string{
		11:  "the About page names them; nothing is newer than what they have",
		8:   "a folder of the producer's, --branding: tested with pages of their own",
		9:   "menu.json in that folder, as leaseholdd menu prints one: tested with pages of their own",
		12:  "capability/web ends sessions: 30 minutes idle unless a setting says otherwise, 8 hours at most",
		14:  "nothing is to be filled in: the console comes from the server that it shows",
		15:  "first page is the overview, with what needs somebody, or Login where nobody is signed in",
		16:  "assets have names of their content, pages are not kept: nothing is to be cleared",
		20:  "the Settings page says that there is nothing to configure",
		22:  "shown and fixed on the Settings page: the server is this one",
		23:  "shown and fixed: a local server; a hosted one is another release's",
		24:  "shown and fixed on the Settings page",
		25:  "there is one local instance",
		26:  "shown and fixed: always HTTPS",
		27:  "the words beside each field say it",
		37:  "said on the page after it, and tested with logins",
		143: "an entry is edited in place, and a group is added to",
		176: "no container: the daemon serves the console",
		177: "one port, 7070, HTTPS always",
		178: "the appliance makes its certificate, or takes the site's",
		179: "a browser is enough; from a PC, leasehold web, for Linux, Windows and macOS",
	}
}

// Check 21, for the console: every element of that of other servers is on a page, or something stands in its place. The portal's are tested beside the portal. The counts are printed.
func TestCheck21(t *testing.T) {
	text, err := os.ReadFile("testdata/inventory.tsv")
	if err != nil {
		t.Fatal(err)
	}
	w := newPages(t)
	b, stranger, viewer := w.signedIn("both"), w.browser(), w.signedIn("viewer")
	reserved := newPages(t)
	holder := reserved.signedIn("both")
	holder.reserve(Reserved{Group: "g", Host: Host{"USER", "bob"}, Feature: "f", Version: capability.Version{Major: 1}, Count: 1})
	rows := reserved.reserved()
	pages := map[string]string{}
	load := func(page string) string {
		body, known := pages[page]
		if !known {
			who, path, special := strings.Cut(page, ":")
			switch {
			case special && who == "out":
				body = stranger.page(path)
			case special && who == "denied":
				body = viewer.get(path).body
			case special && who == "reserved":
				body = holder.page(strings.Replace(path, "ID", strconv.FormatUint(rows[0].ID, 10), 1))
			case special && who == "more":
				body = b.post(path, "id", "", "count", "", "do", "more").body
			default:
				body = b.page(page)
			}
			pages[page] = body
		}
		return body
	}
	found, replaced := here(string(w.item)), instead()
	counts := [2]int{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		number, rest, _ := strings.Cut(line, "\t")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(line)
		}
		where, isHere := found[n]
		_, isReplaced := replaced[n]
		switch {
		case isHere && !isReplaced:
			counts[0]++
			for _, has := range where.has {
				if body := load(where.page); !strings.Contains(body, has) && !strings.Contains(words(body), has) {
					t.Errorf("%d %s: %q is not on %s", n, rest, has, where.page)
				}
			}
		case isReplaced && !isHere:
			counts[1]++
		default:
			t.Errorf("%d %s: found %t, replaced %t", n, rest, isHere, isReplaced)
		}
		delete(found, n)
		delete(replaced, n)
	}
	if len(found)+len(replaced) > 0 {
		t.Errorf("not in the inventory: %v %v", found, replaced)
	}
	t.Logf("%d elements: %d on a page, %d replaced", counts[0]+counts[1], counts[0], counts[1])
}
