// Package web is what the pages of the console and of the portal have in common: files that every page names, the headers that every answer has, who is signed in, how a password is kept, how a form is read,
// and the parts that pages are made of.
//
// It knows neither licenses nor appliances. Pages work without scripts; what a script adds comes from this server, in files of its own.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
)

//go:embed assets
var embedded embed.FS

// Policy is the content security policy of every page: nothing but what this server has, no script or style in a page, and no page inside another's.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; " +
	"require-trusted-types-for 'script'; trusted-types default"

// Assets are the files that pages name. Each is found under a name that changes with its content, so that a browser may keep it forever.
type Assets struct {
	byPath map[string]asset
	paths  map[string]string
}

type asset struct {
	content []byte
	kind    string
}

// Root is the path under which Assets are served.
const Root = "/assets/"

// NewAssets reads the files that come with the program.
func NewAssets() (*Assets, error) {
	a := &Assets{map[string]asset{}, map[string]string{}}
	return a, fs.WalkDir(embedded, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) == ".LICENSE" {
			return err
		}
		b, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		base, ext := path.Base(name), path.Ext(name)
		at := Root + strings.TrimSuffix(base, ext) + "." + hex.EncodeToString(sum[:6]) + ext
		a.byPath[at], a.paths[base] = asset{b, mime.TypeByExtension(ext)}, at
		return nil
	})
}

// Path is where a file is; a name that none has is a fault of the program.
func (a *Assets) Path(name string) (string, error) {
	if p := a.paths[name]; p != "" {
		return p, nil
	}
	return "", fmt.Errorf("no asset %s", name)
}

func (a *Assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := a.byPath[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(f.content)
}

// Protect puts the headers of a page on every answer, and answers no request for another host's name: a name that somebody else has pointed at this address (DNS rebinding). Hosts are the names and
// addresses that this server goes by; what listens on a loopback address goes by those too.
func Protect(next http.Handler, hosts []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", Policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Strict-Transport-Security", "max-age=31536000")
		h.Set("Cache-Control", "no-store")
		if !ours(r.Host, hosts) {
			http.Error(w, "this server does not go by the name "+strings.ToValidUTF8(r.Host, "?"), http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func ours(host string, hosts []string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	return slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, name) })
}
