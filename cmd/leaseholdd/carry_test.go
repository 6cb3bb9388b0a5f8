package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"html"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/capability/wire"
)

// carry NAME LOGIN PASSWORD FILE PAGE [ANSWER]: a browser signs in at that daemon by the password in a file, uploads a file where request and response files are exchanged, or pastes it where it is text, and keeps the page that
// comes of it; and the file that this offers for download.
func (m *machines) carry(ts *testscript.TestScript, args []string) {
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	client := &http.Client{Timeout: 20 * time.Second, Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	base := "https://" + ts.Getenv("ADDR_"+args[0])
	send := func(method, path, kind string, body io.Reader) (status int, text string) {
		r, err := http.NewRequest(method, base+path, body)
		ts.Check(err)
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		w, err := client.Do(r)
		ts.Check(err)
		defer w.Body.Close()
		b, err := io.ReadAll(w.Body)
		ts.Check(err)
		return w.StatusCode, string(b)
	}
	password := strings.TrimSpace(ts.ReadFile(args[2]))
	status, page := send(http.MethodPost, "/sign-in", "application/x-www-form-urlencoded", strings.NewReader(url.Values{"name": {args[1]}, "password": {password}, "to": {"/offline"}}.Encode()))
	once := regexp.MustCompile(`action="/offline/response"[^>]*><input type="hidden" name="once" value="([^"]+)"`).FindStringSubmatch(page)
	if status != http.StatusOK || once == nil {
		ts.Fatalf("sign in as %s: %d %s", args[1], status, page)
	}
	var form bytes.Buffer
	parts := multipart.NewWriter(&form)
	ts.Check(parts.WriteField("once", once[1]))
	if content := ts.ReadFile(args[3]); utf8.ValidString(content) {
		ts.Check(parts.WriteField("text", content))
	} else {
		file, err := parts.CreateFormFile("file", "it")
		ts.Check(err)
		_, err = io.WriteString(file, content)
		ts.Check(err)
	}
	ts.Check(parts.Close())
	status, page = send(http.MethodPost, "/offline/response", parts.FormDataContentType(), &form)
	ts.Check(os.WriteFile(ts.MkAbs(args[4]), []byte(fmt.Sprintf("%d\n%s", status, html.UnescapeString(page))), 0o600))
	if len(args) > 5 {
		link := regexp.MustCompile(`href="(/offline/requests/[^"]+)"`).FindStringSubmatch(page)
		if link == nil {
			ts.Fatalf("nothing is offered: %d %s", status, page)
		}
		status, answer := send(http.MethodGet, link[1], "", nil)
		if status != http.StatusOK {
			ts.Fatalf("download %s: %d", link[1], status)
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[5]), []byte(answer), 0o600))
	}
}

// codes FILE OUT: what a scanner types that reads the codes of a file.
func codes(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(wire.Frames([]byte(ts.ReadFile(args[0])), 600), "\n")+"\n"), 0o600))
}
