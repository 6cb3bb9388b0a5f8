package portal

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"html"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/backoffice"
	"github.com/leasehold/leasehold/capability/entitlement"
	"github.com/leasehold/leasehold/capability/web"
	"github.com/leasehold/leasehold/capability/wire"
	"github.com/leasehold/leasehold/hostid"
)

// sent is one file of a form.
type sent struct {
	name    string
	content []byte
}

func (b *browser) drop(text string, files ...sent) answer {
	b.w.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	if text != "" {
		if err := form.WriteField("text", text); err != nil {
			b.w.t.Fatal(err)
		}
	}
	for _, f := range files {
		w, err := form.CreateFormFile("file", f.name)
		if err == nil {
			_, err = w.Write(f.content)
		}
		if err != nil {
			b.w.t.Fatal(err)
		}
	}
	if err := form.Close(); err != nil {
		b.w.t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, b.w.server.URL+"/inbox", &body)
	if err == nil {
		r.Header.Set("Content-Type", form.FormDataContentType())
	}
	return b.send(r, err)
}

var (
	chosen   = regexp.MustCompile(`form="create" name="file" value="([0-9a-f]{64})"`)
	download = regexp.MustCompile(`href="(/responses/[0-9a-f]{64})" download`)
	image    = regexp.MustCompile(`src="(/responses/[0-9a-f]{64}/qr/[0-9]+)"`)
)

func found(re *regexp.Regexp, text string) (list []string) {
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}

// create sends the form of the inbox as it is.
func (b *browser) create(page answer) answer {
	b.w.t.Helper()
	var pairs []string
	for _, id := range found(chosen, page.body) {
		pairs = append(pairs, "file", id)
	}
	return b.post("/inbox/create", pairs...)
}

// unpacked are the files of an archive.
func unpacked(t *testing.T, archive string) map[string][]byte {
	t.Helper()
	z, err := zip.NewReader(strings.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// Ten files are dropped together, one of them damaged and one answered before: eight new responses, one of the same bytes, and a code, with two clicks and in one archive laid out for a stick.
func TestTenFiles(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	id := w.entitle("ACME Works", 100)
	b := w.signedIn("keller", "", capability.Operator)
	var files []sent
	machines := map[string]*station{}
	for n := range 10 {
		m := w.station()
		files = append(files, sent{fmt.Sprintf("REQ-%04d.LHQ", n+1), m.request(id, 3)})
		machines["LEASEHOLD/"+strings.ReplaceAll(m.host().Short(), "-", "")+"/RSP-0001.LHR"] = m
	}
	before := w.answer(files[4].content)
	files[7].content[len(files[7].content)/2] ^= 1
	if a := b.drop("", files...); a.status != http.StatusSeeOther || a.location != "/inbox" {
		t.Fatal(a)
	}
	var length uint64
	w.book(func(book *entitlement.Book) { _, length = book.Head() })
	page := b.get("/inbox")
	if n := len(found(chosen, page.body)); n != 9 || strings.Count(page.body, "signature GOOD") != 9 || !strings.Contains(page.body, "the same bytes come out again") || strings.Count(page.body, `class="problem"`) != 1 ||
		!strings.Contains(page.body, "LH-2") || strings.Count(page.body, "gives 3 of 3 copies") != 8 {
		t.Fatalf("%d may be chosen: %v", n, page)
	}
	w.book(func(book *entitlement.Book) {
		if _, now := book.Head(); now != length {
			t.Errorf("looking wrote %d entries", now-length)
		}
	})
	for range 2 { // a form that is sent twice counts once
		if a := b.create(page); a.status != http.StatusSeeOther {
			t.Fatal(a)
		}
	}
	page = b.get("/inbox")
	if n := len(found(download, page.body)); n != 9 || len(found(chosen, page.body)) != 0 || strings.Count(page.body, "answered before, the same bytes") != 1 {
		t.Fatalf("%d responses: %v", n, page)
	}
	a := b.get("/inbox/responses.zip")
	if a.header.Get("Content-Type") != "application/zip" || !strings.Contains(a.header.Get("Content-Disposition"), "attachment") {
		t.Error(a.header)
	}
	archive := unpacked(t, a.body)
	if len(archive) != 9 {
		t.Errorf("%d files in the archive", len(archive))
	}
	for name, content := range archive {
		m := machines[name]
		if m == nil {
			t.Errorf("%s is in the archive", name)
			continue
		}
		s, err := wire.New().ReadResponse(content)
		if err != nil || s.Clear.For != m.host() {
			t.Errorf("%s: %v", name, err)
		}
		if m.host() == before.Host && !bytes.Equal(content, before.File) {
			t.Error("what was answered before has other bytes")
		}
	}
	w.book(func(book *entitlement.Book) {
		_, hosts := book.Size()
		if v, _ := book.Item(id, capability.At(time.Now())); v.Used != 27 || hosts != 9 {
			t.Errorf("%d copies are used by %d machines", v.Used, hosts)
		}
	})
	// What was answered makes room for the next; what cannot be read does too.
	m := w.station()
	if b.drop("", sent{"another", m.request(id, 1)}); len(found(download, b.get("/inbox").body)) != 0 || len(found(chosen, b.get("/inbox").body)) != 1 {
		t.Error(b.get("/inbox"))
	}
	if b.post("/inbox/clear"); len(found(chosen, b.get("/inbox").body)) != 0 {
		t.Error("the files are still there")
	}
}

// Requests come as text too, several in one, and responses go out as a file, as text and as codes: always the same bytes.
func TestText(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	id := w.entitle("ACME Works", 100)
	b := w.signedIn("keller", "", capability.Operator)
	one, two := w.station(), w.station()
	text := "Dear M. Keller,\r\n\r\n" + wire.Text(one.request(id, 1)) + "\nand\n\n" + strings.ReplaceAll(wire.Text(two.request(id, 1)), "\n", "\r\n") + "\nKind regards"
	if a := b.post("/inbox", "text", text); a.status != http.StatusSeeOther {
		t.Fatal(a)
	}
	page := b.get("/inbox")
	if len(found(chosen, page.body)) != 2 || strings.Count(page.body, "<section") != 3 {
		t.Fatal(page)
	}
	b.create(page)
	paths := found(download, b.get("/inbox").body)
	if len(paths) != 2 {
		t.Fatal(paths)
	}
	for n, path := range paths {
		file := b.get(path)
		if file.header.Get("Content-Type") != "application/vnd.leasehold.response+cose" || !strings.Contains(file.header.Get("Content-Disposition"), `filename="RSP-0001.LHR"`) {
			t.Error(file.header)
		}
		s, err := wire.New().ReadResponse([]byte(file.body))
		if err != nil || s.Clear.For != []*station{one, two}[n].host() {
			t.Fatal(err)
		}
		asText := b.get(path + "/text").body
		from, to := strings.Index(asText, "-----BEGIN"), strings.Index(asText, "</textarea>")
		if from < 0 || to < from {
			t.Fatal(asText)
		}
		if back, err := wire.FromText([]byte(html.UnescapeString(asText[from:to]))); err != nil || string(back) != file.body {
			t.Errorf("as text: %v", err)
		}
		codes := found(image, b.get(path+"/qr").body)
		if len(codes) != len(frames([]byte(file.body))) || len(codes) < 2 {
			t.Errorf("%d codes", len(codes))
		}
		for _, at := range codes {
			if a := b.get(at); a.status != http.StatusOK || a.header.Get("Content-Type") != "image/svg+xml" || !strings.HasPrefix(a.body, "<svg") {
				t.Error(a.status, a.header)
			}
		}
		for _, at := range []string{"/qr/0", "/qr/99", "/qr/x"} {
			if a := b.get(path + at); a.status != http.StatusNotFound {
				t.Error(at, a.status)
			}
		}
	}
	for _, at := range []string{strings.Repeat("0", 64), "x", strings.Repeat("Z", 64), hex.EncodeToString(make([]byte, 33))} {
		if a := b.get("/responses/" + at); a.status != http.StatusNotFound {
			t.Error(at, a.status)
		}
	}
}

// A customer answers for machines and activation IDs of the own account, and of another's finds the same as of what is not there: no request, no response, no word of it.
func TestCustomersInbox(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	own, other := w.entitle("ACME Works", 10), w.entitle("Other", 10)
	b := w.signedIn("a.larsen@acme.example", "ACME Works", capability.LicenseAdministrator)
	mine, theirs, taken := w.station(), w.station(), w.station()
	theirFile := taken.request(other, 1)
	nowhere, err := capability.NewActivationID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.answer(theirFile)
	b.drop("", sent{"mine", mine.request(own, 2)}, sent{"theirs", theirs.request(other, 1)}, sent{"guessed", w.station().request(nowhere, 1)}, sent{"again", theirFile}, sent{"taken", taken.request(own, 1)})
	page := b.get("/inbox")
	if len(found(chosen, page.body)) != 1 || strings.Count(page.body, "signature GOOD") != 1 || strings.Count(page.body, "LH-6004") != 4 || strings.Contains(page.body, "Other") {
		t.Fatal(page)
	}
	// It asks for all of them all the same.
	sections := w.tray("a.larsen@acme.example")
	var pairs []string
	for _, f := range sections {
		pairs = append(pairs, "file", f.ID)
	}
	if a := b.post("/inbox/create", pairs...); a.status != http.StatusSeeOther || len(pairs) != 10 {
		t.Fatal(a, len(pairs))
	}
	w.book(func(book *entitlement.Book) {
		if _, hosts := book.Size(); hosts != 2 {
			t.Errorf("%d machines are on record", hosts)
		}
		h, _ := book.Host(mine.host())
		if h.Serial != 1 {
			t.Error("its own machine was not answered")
		}
		if h, _ := book.Host(taken.host()); h.Serial != 1 || len(h.Incidents) != 0 {
			t.Error("another's machine was answered, or an incident noted")
		}
	})
	if page := b.get("/inbox"); !strings.Contains(page.body, "1 response created, 4 requests refused.") {
		t.Error(page)
	}
	digest := ""
	w.book(func(book *entitlement.Book) {
		h, _ := book.Host(taken.host())
		digest = hexOf(h.Requests[0].Digest)
	})
	nothing := b.get("/responses/" + strings.Repeat("1", 64))
	for _, at := range []string{"", "/text", "/qr", "/qr/1"} {
		a := b.get("/responses/" + digest + at)
		if a.status != http.StatusNotFound || strings.ReplaceAll(a.body, digest, strings.Repeat("1", 64)) != nothing.body {
			t.Error(at, a)
		}
	}
	staff := w.signedIn("keller", "", capability.Operator)
	if a := staff.get("/responses/" + digest); a.status != http.StatusOK {
		t.Error(a.status)
	}
	if page := staff.get("/inbox"); strings.Contains(page.body, "<section") {
		t.Error("one login sees the files of another")
	}
	for _, r := range []capability.Role{capability.Viewer, capability.Auditor, capability.SecurityAdministrator} {
		if a := w.signedIn("as "+r.String(), "", r).drop("", sent{"mine", mine.request(own, 2)}); a.status != http.StatusForbidden {
			t.Errorf("%s: %v", r, a.status)
		}
	}
}

// Whoever gets the name of a login that was removed gets none of its files and responses, of another account least of all.
func TestTrayOfTheNextOfTheName(t *testing.T) {
	w := newWorld(t)
	w.clock = time.Now()
	w.anyMachine()
	id := w.entitle("ACME Works", 5)
	b := w.signedIn("larsen", "ACME Works", capability.Operator)
	if a := b.drop("", sent{"mine", w.station().request(id, 2)}); a.status != http.StatusSeeOther {
		t.Fatal(a)
	}
	b.create(b.get("/inbox"))
	if a := b.get("/inbox/responses.zip"); a.status != http.StatusOK {
		t.Fatal(a.status)
	}
	w.do(entitlement.RemoveLogin{Name: "larsen", By: "test"})
	w.clock = w.clock.Add(time.Minute)
	next := w.signedIn("larsen", "Other", capability.Operator)
	if page := next.get("/inbox"); strings.Contains(page.body, "<section") {
		t.Error("the files of the one before are there")
	}
	if a := next.get("/inbox/responses.zip"); a.status != http.StatusNotFound {
		t.Errorf("the responses of the one before: %d", a.status)
	}
}

// What is kept of a file's name is as much as is shown of it.
func TestLongFileNames(t *testing.T) {
	before := heap()
	var files []trayFile
	for range 50 {
		files = append(files, newTrayFile(strings.Repeat("x", 1<<20), []byte{1}, nil))
	}
	if grown := heap() - before; grown > 5<<20 {
		t.Errorf("%d bytes are kept of %d names", grown, len(files))
	}
	runtime.KeepAlive(files)
}

// heap is how much memory is in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// tray are the files that wait for a login.
func (w *world) tray(login string) []trayFile {
	l, _ := w.login(login)
	return w.portal.trays.take(trayOf(&l))
}

// What is too large, too much, an archive, or no file at all is refused by its code, and nothing is kept of it; names are only shown.
func TestHostileFiles(t *testing.T) {
	w := newWorld(t)
	w.anyMachine()
	id := w.entitle("ACME Works", 10)
	b := w.signedIn("keller", "", capability.Operator)
	good := sent{"good", w.station().request(id, 1)}
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	f, err := z.Create("LEASEHOLD/REQ-0001.LHQ")
	if err == nil {
		_, err = f.Write(good.content)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	evil := `../../<script>alert(1)</script>"'` + "\u202e.LHQ"
	many := make([]sent, 65)
	for n := range many {
		many[n] = sent{"f", []byte(fmt.Sprint(n))}
	}
	large := make([]sent, 17)
	for n := range large {
		large[n] = sent{"f", bytes.Repeat([]byte{byte(n)}, 1<<20)}
	}
	for name, c := range map[string]struct {
		files            []sent
		text             string
		status, problems int
	}{
		"an archive":         {[]sent{{"x.zip", archive.Bytes()}, good}, "", http.StatusSeeOther, 1},
		"over the limit":     {[]sent{{"x", make([]byte, capability.MaxFile+1)}, good}, "", http.StatusSeeOther, 1},
		"at the limit":       {[]sent{{"x", make([]byte, capability.MaxFile)}, good}, "", http.StatusSeeOther, 1},
		"empty":              {[]sent{{"x", nil}, good}, "", http.StatusSeeOther, 1},
		"a name":             {[]sent{{evil, []byte("x")}, good}, "", http.StatusSeeOther, 1},
		"the same twice":     {[]sent{good, good}, "", http.StatusSeeOther, 0},
		"text that is none":  {nil, "hello <b>there</b>", http.StatusSeeOther, 1},
		"text with an error": {nil, strings.Replace(wire.Text(good.content), "A", "B", 1), http.StatusSeeOther, 1},
		"nothing":            {nil, "", http.StatusBadRequest, 0},
		"65 files":           {many, "", http.StatusBadRequest, 0},
		"65 texts":           {nil, strings.Repeat(pastedEnd+"\n", 65), http.StatusBadRequest, 0},
		"17 MiB":             {large, "", http.StatusBadRequest, 0},
		"a text of 17 MiB":   {nil, strings.Repeat("x", 17<<20), http.StatusBadRequest, 0},
	} {
		b.post("/inbox/clear")
		if a := b.drop(c.text, c.files...); a.status != c.status {
			t.Errorf("%s: %v", name, a)
		}
		page := b.get("/inbox")
		if strings.Count(page.body, `class="problem"`) != c.problems {
			t.Errorf("%s: %v", name, page)
		}
		if strings.Contains(page.body, "<script>alert") || strings.Contains(page.body, "<b>") || strings.Contains(page.body, "\u202e") {
			t.Errorf("%s: markup of a stranger: %v", name, page)
		}
		if want := min(1, len(c.files)); c.status == http.StatusSeeOther && len(found(chosen, page.body)) != want {
			t.Errorf("%s: %d can be answered", name, len(found(chosen, page.body)))
		}
	}
	if a := b.post("/inbox", "text", strings.Repeat("x", web.MaxForm+1)); a.status != http.StatusBadRequest {
		t.Error(a.status)
	}
	for _, body := range []string{"", "--x\r\n", "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nhalf"} {
		r, err := http.NewRequest(http.MethodPost, w.server.URL+"/inbox", strings.NewReader(body))
		if err == nil {
			r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
		}
		if a := b.send(r, err); a.status != http.StatusBadRequest {
			t.Errorf("%q: %v", body, a.status)
		}
	}
	for _, path := range []string{"/inbox/create", "/inbox/clear"} {
		if a := b.get(path); a.status != http.StatusMethodNotAllowed && a.status != http.StatusNotFound {
			t.Error(path, a.status)
		}
	}
	w.book(func(book *entitlement.Book) {
		if _, hosts := book.Size(); hosts != 0 {
			t.Error("a machine is on record, and nobody clicked")
		}
	})
}

// Files wait for half an hour, each login's apart, and all logins' together stay within bounds.
func TestTrays(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	trays := newTrays(func() time.Time { return now })
	put := func(login string, size int, marks ...byte) error {
		var files []trayFile
		for _, m := range marks {
			files = append(files, newTrayFile("f", bytes.Repeat([]byte{m}, size), nil))
		}
		return trays.put(login, files)
	}
	if err := put("a", 1, 1, 2, 1); err != nil || len(trays.take("a")) != 2 || len(trays.take("b")) != 0 {
		t.Error(err, len(trays.take("a")))
	}
	if err := put("a", maxTrayBytes, 3); err == nil || len(trays.take("a")) != 2 {
		t.Error("more than a tray holds")
	}
	now = now.Add(trayLife - time.Second)
	if len(trays.take("a")) != 2 {
		t.Error("gone before its time")
	}
	if now = now.Add(trayLife); len(trays.take("a")) != 0 || trays.bytes != 0 {
		t.Error("there after its time")
	}
	var names []string
	for n := range maxTrays/maxTrayBytes + 4 {
		now = now.Add(time.Second)
		names = append(names, fmt.Sprint("login ", n))
		if err := put(names[n], maxTrayBytes/2, byte(n), byte(n+100)); err != nil {
			t.Fatal(err)
		}
	}
	if trays.bytes > maxTrays || len(trays.take(names[0])) != 0 || len(trays.take(names[len(names)-1])) != 2 {
		t.Errorf("%d bytes wait", trays.bytes)
	}
	sum := 0
	for _, name := range names {
		for _, f := range trays.take(name) {
			sum += len(f.content)
		}
	}
	if sum != trays.bytes {
		t.Errorf("%d bytes are counted as %d", sum, trays.bytes)
	}
	if got := newTrayFile(`C:\x\..\REQ-0001.LHQ`, []byte{1}, nil).Name; got != "REQ-0001.LHQ" {
		t.Error(got)
	}
	if got := newTrayFile(strings.Repeat("é", 300), []byte{1}, nil).Name; len(got) > maxFileName || !slices.Contains([]rune(got), 'é') {
		t.Error(got)
	}
}

// Two machines of one short name, and two responses of one name, are all on the stick.
func TestStick(t *testing.T) {
	id := func(rest string) hostid.ID { return hostid.ID{Type: hostid.TPMEK, Value: "7F3A22C9" + rest} }
	b, err := stick([]*backoffice.Result{
		{Host: id("AA"), Name: "RSP-0001.LHR", File: []byte("a")}, {Host: id("BB"), Name: "RSP-0001.LHR", File: []byte("b")}, {Host: id("AA"), Name: "RSP-0001.LHR", File: []byte("c")}, {Host: id("BB"), Name: "RSP-0002.LHR", File: []byte("d")},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, content := range unpacked(t, string(b)) {
		got[name] = string(content)
	}
	want := map[string]string{
		"LEASEHOLD/7F3A22C9/RSP-0001.LHR": "a", "LEASEHOLD/7F3A22C9.002/RSP-0001.LHR": "b", "LEASEHOLD/7F3A22C9/R02-0001.LHR": "c", "LEASEHOLD/7F3A22C9.002/RSP-0002.LHR": "d",
	}
	if !maps.Equal(got, want) {
		t.Error(got)
	}
}
