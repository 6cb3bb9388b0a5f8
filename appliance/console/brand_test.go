package console

import (
	"bytes"
	"encoding/json"
	"image"
	"image/jpeg"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/leasehold/leasehold/capability/ledger"
	"github.com/leasehold/leasehold/capability/web"
)

func picture(t *testing.T, encode func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngOf(t *testing.T) []byte {
	return picture(t, func(b *bytes.Buffer) error { return png.Encode(b, image.NewGray(image.Rect(0, 0, 8, 8))) })
}

func jpegOf(t *testing.T) []byte {
	return picture(t, func(b *bytes.Buffer) error { return jpeg.Encode(b, image.NewGray(image.Rect(0, 0, 8, 8)), nil) })
}

// The producer's logo is on every page, and what it calls a page is in the menu and over the page.
func TestBrand(t *testing.T) {
	w := newPagesWith(t, func(w *pageWorld) {
		w.addFirst()
		b, err := ReadBrand(fstest.MapFS{
			"logo.png":  {Data: pngOf(t)},
			"menu.json": {Data: []byte(`[{"path":"/features","label":"Werkzeuge <b>","icon":"★"},{"path":"/devices","label":"Geräte"}]`)},
		})
		if err != nil {
			t.Fatal(err)
		}
		w.c.Brand = b
	})
	b := w.signedIn("both")
	page := b.page("/features")
	for _, has := range []string{`<img class="logo" src="` + w.c.Brand.Logo() + `"`, `<span aria-hidden="true">★</span> Werkzeuge &lt;b&gt;</a>`, "<h1>Werkzeuge &lt;b&gt;</h1>", "<title>Werkzeuge &lt;b&gt; - ", ">Geräte</a>", ">Reservations</a>"} {
		if !strings.Contains(page, has) {
			t.Errorf("%q is not on the page", has)
		}
	}
	if page := b.page("/features/details"); !strings.Contains(page, "Werkzeuge") || strings.Contains(page, "<h1>Werkzeuge") {
		t.Error("a page that is not in the menu has the heading of one that is")
	}
	if page := w.browser().page("/sign-in"); !strings.Contains(page, w.c.Brand.Logo()) {
		t.Error("no logo where nobody is signed in")
	}
	a := b.get(w.c.Brand.Logo())
	if a.status != http.StatusOK || a.body != string(pngOf(t)) || a.header.Get("Content-Type") != "image/png" || !strings.Contains(a.header.Get("Cache-Control"), "immutable") {
		t.Errorf("the logo: %d %v", a.status, a.header)
	}
	if a := b.get("/brand/menu.json"); a.status != http.StatusNotFound {
		t.Errorf("another file of the folder: %d", a.status)
	}
	plain := newPages(t)
	if page := plain.signedIn("both").page("/features"); strings.Contains(page, "<img") || !strings.Contains(page, "<h1>Features</h1>") {
		t.Error("without a folder the pages are not ours")
	}
}

// Only the names and the members that there are may be in the folder, and what is not is named.
func TestBadBrand(t *testing.T) {
	menu := func(text string) fstest.MapFS { return fstest.MapFS{"menu.json": {Data: []byte(text)}} }
	for _, c := range []struct {
		why string
		dir fstest.MapFS
	}{
		{"logo.gif", fstest.MapFS{"logo.gif": {Data: []byte("GIF89a")}}},
		{"readme.txt", fstest.MapFS{"logo.png": {Data: pngOf(t)}, "readme.txt": {}}},
		{"logo.png: it is image/jpeg", fstest.MapFS{"logo.png": {Data: jpegOf(t)}}},
		{"logo.jpg: it is text/html", fstest.MapFS{"logo.jpg": {Data: []byte("<html><script>")}}},
		{"another logo", fstest.MapFS{"logo.png": {Data: pngOf(t)}, "logo.jpeg": {Data: jpegOf(t)}}},
		{"more than", fstest.MapFS{"logo.png": {Data: append(pngOf(t), make([]byte, maxLogo)...)}}},
		{"/nowhere", menu(`[{"path":"/nowhere","label":"x"}]`)},
		{"unknown field", menu(`[{"path":"/features","label":"x","gate":"anyone"}]`)},
		{"there twice", menu(`[{"path":"/features","label":"x","Label":"y"}]`)},
		{"there twice", menu(`[{"path":"/features","label":"x"},{"path":"/features","label":"y"}]`)},
		{"label", menu(`[{"path":"/features"}]`)},
		{"label", menu(`[{"path":"/features","label":"` + strings.Repeat("x", maxLabel+1) + `"}]`)},
		{"icon", menu(`[{"path":"/features","label":"x","icon":"` + strings.Repeat("x", maxIcon+1) + `"}]`)},
		{"icon", menu(`[{"path":"/features","label":"x","icon":"a\u0007"}]`)},
		{"menu.json", menu(`{}`)},
	} {
		if _, err := ReadBrand(c.dir); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	for _, name := range []string{"logo.jpg", "logo.jpeg"} {
		if _, err := ReadBrand(fstest.MapFS{name: {Data: jpegOf(t)}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is printed as an example changes nothing.
	text, err := json.Marshal(Menu())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ReadBrand(menu(string(text)))
	if err != nil || len(b.items) != len(Menu()) {
		t.Errorf("%v", err)
	}
	for _, i := range Menu() {
		if label, icon := b.name(i.Path, i.Label); label != i.Label || icon != "" || b.heading(i.Path, i.Label) != i.Label {
			t.Errorf("%s: %q %q", i.Path, label, icon)
		}
	}
}

// A session lasts as long without a request as an administrator says.
func TestSessionTimeout(t *testing.T) {
	w := newPages(t)
	b := w.signedIn("both")
	stays := func(idle time.Duration) bool {
		w.passes(idle)
		return b.get("/me").status == http.StatusOK
	}
	if !stays(web.Idle - time.Second) {
		t.Error("a session does not last for the default")
	}
	set := func(value string) {
		t.Helper()
		if _, err := w.c.Appliance.Change(t.Context(), ledger.SetPolicy{Name: "session-timeout", Value: value, By: "test"}, "set", "test"); err != nil {
			t.Fatal(err)
		}
	}
	set("120")
	b.page("/me") // hears of it
	if !stays(119 * time.Second) {
		t.Error("a session ends before the time that was set")
	}
	if stays(120 * time.Second) {
		t.Error("a session lasts longer than was set")
	}
	b = w.signedIn("both")
	set("")
	b.page("/me")
	if !stays(web.Idle - time.Second) {
		t.Error("the default is not back")
	}
}
