package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"unicode/utf8"

	"github.com/leasehold/leasehold/capability"
	"github.com/leasehold/leasehold/capability/web"
)

// Brand is what a producer has in place of ours: a logo, and what the pages of the menu are called. It comes from a folder, and nothing has to be built for it.
type Brand struct {
	path  string // of the logo; empty: none
	kind  string
	logo  []byte
	items map[string]MenuItem
}

// MenuItem is a page of the menu in menu.json. Path says which; only Label, which the page's heading follows, and Icon may be another's.
type MenuItem struct {
	Path  string `json:"path"`
	Label string `json:"label"`
	Icon  string `json:"icon,omitempty"` // a sign or two, in front of the label
}

// Bounds on what a folder may have.
const (
	maxLogo  = 256 << 10 // bytes
	maxMenu  = 64 << 10  // bytes
	maxLabel = 60        // bytes
	maxIcon  = 16        // bytes
	menuFile = "menu.json"
	brandAt  = "/brand/"
)

// logoKinds are the names that a logo may have, and what is in them.
func logoKinds() map[string]string {
	return map[string]string{"logo.png": "image/png", "logo.jpg": "image/jpeg", "logo.jpeg": "image/jpeg"}
}

// ReadBrand reads a folder: logo.png, logo.jpg or logo.jpeg, and menu.json, each where it is there. Any other name, and whatever a file may not say, is an error that names it.
func ReadBrand(dir fs.FS) (*Brand, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, err
	}
	b := &Brand{items: map[string]MenuItem{}}
	for _, e := range entries {
		kind, isLogo := logoKinds()[e.Name()]
		switch {
		case isLogo && b.logo != nil:
			return nil, fmt.Errorf("%s: there is another logo", e.Name())
		case isLogo:
			err = b.readLogo(dir, e.Name(), kind)
		case e.Name() == menuFile:
			err = b.readMenu(dir)
		default:
			err = fmt.Errorf("want logo.png, logo.jpg, logo.jpeg and %s, and nothing else", menuFile)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	return b, nil
}

func (b *Brand) readLogo(dir fs.FS, name, kind string) error {
	logo, err := bounded(dir, name, maxLogo)
	if err != nil {
		return err
	}
	if is := http.DetectContentType(logo); is != kind {
		return fmt.Errorf("it is %s, and its name says %s", is, kind)
	}
	sum := sha256.Sum256(logo)
	b.logo, b.kind, b.path = logo, kind, brandAt+"logo."+hex.EncodeToString(sum[:6])+path.Ext(name)
	return nil
}

func (b *Brand) readMenu(dir fs.FS) error {
	text, err := bounded(dir, menuFile, maxMenu)
	if err != nil {
		return err
	}
	var items []MenuItem
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&items); err != nil {
		return err
	}
	if err := web.NamesOnce(text); err != nil {
		return err
	}
	ours := Menu()
	for _, i := range items {
		_, twice := b.items[i.Path]
		switch {
		case !slices.ContainsFunc(ours, func(o MenuItem) bool { return o.Path == i.Path }):
			return fmt.Errorf("no page of the menu is %q", i.Path)
		case twice:
			return fmt.Errorf("%q is there twice", i.Path)
		case i.Label == "" || len(i.Label) > maxLabel || capability.CheckText(i.Label) != nil:
			return fmt.Errorf("the label of %q: 1 to %d bytes of text are wanted", i.Path, maxLabel)
		case len(i.Icon) > maxIcon || !utf8.ValidString(i.Icon) || capability.CheckText(i.Icon) != nil:
			return fmt.Errorf("the icon of %q: at most %d bytes of text are allowed", i.Path, maxIcon)
		}
		b.items[i.Path] = i
	}
	return nil
}

// bounded reads a file of a folder.
func bounded(dir fs.FS, name string, most int64) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return b, err
}

// Menu is what the pages of the menu are called, as a menu.json that changes nothing.
func Menu() (items []MenuItem) {
	for _, g := range menu() {
		for _, l := range g.links {
			items = append(items, MenuItem{Path: l.path, Label: l.title})
		}
	}
	return items
}

// name is what a page is called, and the sign in front of it.
func (b *Brand) name(at, title string) (label, icon string) {
	if b != nil {
		if i, is := b.items[at]; is {
			return i.Label, i.Icon
		}
	}
	return title, ""
}

// heading is that of the page at a path: the menu's label, where it would have been the menu's title.
func (b *Brand) heading(at, title string) string {
	for _, i := range Menu() {
		if i.Path == at && i.Label == title {
			title, _ = b.name(at, title)
		}
	}
	return title
}

// Logo is the path of the logo; empty: there is none.
func (b *Brand) Logo() string {
	if b == nil {
		return ""
	}
	return b.path
}

// ServeHTTP gives the logo, under a name that changes with it.
func (b *Brand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b == nil || b.logo == nil || r.URL.Path != b.path {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", b.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(b.logo)
}
