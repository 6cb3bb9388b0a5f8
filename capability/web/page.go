package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed templates/parts.html
var parts embed.FS

// Pages are the templates of pages by name, each with the frame around it.
type Pages map[string]*template.Template

const frame = "frame.html"

// ParsePages reads the directory templates of own: the frame in frame.html, and every other file as a page in it, named as the file is. All of them have the parts of parts.html.
func (a *Assets) ParsePages(own fs.FS) (Pages, error) {
	root, err := template.New(frame).Funcs(template.FuncMap{
		"asset": a.Path,
		"once":  NewOnce,
		"inc":   func(n int) int { return n + 1 },
		"short": func(s string) string { return strings.ToValidUTF8(s[:min(len(s), 16)], "") },
	}).ParseFS(parts, "templates/parts.html")
	if err != nil {
		return nil, err
	}
	if root, err = root.ParseFS(own, "templates/"+frame); err != nil {
		return nil, err
	}
	list, err := fs.Glob(own, "templates/*.html")
	if err != nil {
		return nil, err
	}
	set := Pages{}
	for _, name := range list {
		base := path.Base(name)
		if base == frame {
			continue
		}
		one, err := root.Clone()
		if err != nil {
			return nil, err
		}
		if set[strings.TrimSuffix(base, ".html")], err = one.ParseFS(own, name); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// WritePart writes one of a page's own templates with its view, without the frame. A part that cannot be written whole is not begun.
func (p Pages) WritePart(w io.Writer, name, part string, view any) error {
	t := p[name]
	if t == nil {
		return fmt.Errorf("no page %s", name)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, part, view); err != nil {
		return fmt.Errorf("write the part %s of the page %s: %w", part, name, err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Write answers with a page: what the frame shows, with the page's own view in it. A page that cannot be written whole is not begun.
func (p Pages) Write(w http.ResponseWriter, status int, name string, shown any) error {
	t := p[name]
	if t == nil {
		return fmt.Errorf("no page %s", name)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, frame, shown); err != nil {
		return fmt.Errorf("write the page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes()) // or whoever asked has gone
	return nil
}
