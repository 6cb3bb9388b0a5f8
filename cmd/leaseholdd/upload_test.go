package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/leasehold/leasehold/appliance/console"
)

// upload is a model on its way: its head was sent, and the daemon has said that it reads.
type upload struct {
	conn net.Conn
	text string
}

// upload NAME begin FILE: sends the head of an upload and half of the file. upload NAME finish STATUS: sends the rest and wants that HTTP status.
func (m *machines) upload(ts *testscript.TestScript, args []string) {
	name, action := args[0], args[1]
	if action == "finish" {
		u := m.uploads[name]
		delete(m.uploads, name)
		defer u.conn.Close()
		_, err := io.WriteString(u.conn, u.text[len(u.text)/2:])
		ts.Check(err)
		answer, err := http.ReadResponse(bufio.NewReader(u.conn), nil)
		ts.Check(err)
		if fmt.Sprint(answer.StatusCode) != args[2] {
			b, err := io.ReadAll(answer.Body)
			ts.Fatalf("the upload ended with %s, want %s: %s %v", answer.Status, args[2], b, err)
		}
		return
	}
	c, err := net.Dial("unix", ts.Getenv("SOCK_"+name))
	ts.Check(err)
	u := &upload{c, ts.ReadFile(args[2])}
	m.uploads[name] = u
	ts.Check(c.SetDeadline(time.Now().Add(30 * time.Second)))
	_, err = fmt.Fprintf(c, "PUT %smodel HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", console.Base, len(u.text))
	ts.Check(err)
	// 100 is said when the handler begins to read: from now on this upload is under way.
	const reads = "HTTP/1.1 100 Continue\r\n\r\n"
	b := make([]byte, len(reads))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != reads {
		ts.Fatalf("%v, heard %q", err, b)
	}
	_, err = io.WriteString(c, u.text[:len(u.text)/2])
	ts.Check(err)
}

// until REGEXP PROGRAM ARGS...: runs the program again and again until its output matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	want := regexp.MustCompile(args[0])
	for end := time.Now().Add(30 * time.Second); ; {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if out := ts.ReadFile("stdout"); want.MatchString(out) != neg {
			return
		} else if time.Now().After(end) {
			ts.Fatalf("no match for %s in\n%s", want, out)
		}
	}
}

// second: waits until the clock shows another second. The book counts in whole ones, and what is over within one is not told.
func second(*testscript.TestScript, bool, []string) {
	for begun := time.Now(); time.Now().Unix() == begun.Unix(); {
		<-time.After(time.Until(begun.Truncate(time.Second).Add(time.Second)))
	}
}

// torn NAME STATE ROUNDS: kills the daemon in so many uploads, sooner and later, and starts it again. The model in force is wholly the old or the new one, and
// the new one wherever the upload was answered.
func (m *machines) torn(ts *testscript.TestScript, args []string) {
	name := args[0]
	var rounds int
	_, err := fmt.Sscan(args[2], &rounds)
	ts.Check(err)
	ask := func(method, body string) (string, error) {
		client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", ts.Getenv("SOCK_"+name))
		}}}
		r, err := http.NewRequest(method, "http://leaseholdd"+console.Base+"model", strings.NewReader(body))
		if err != nil {
			return "", err
		}
		w, err := client.Do(r)
		if err != nil {
			return "", err
		}
		defer w.Body.Close()
		b, err := io.ReadAll(w.Body)
		if err == nil && w.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", w.Status, b)
		}
		return string(b), err
	}
	text := func(round int) string {
		filler := fmt.Sprintf("// %064d\n", round)
		return fmt.Sprintf("model \"m%d\" {\n%s\ton any() { use \"default\" accept }\n}\n", round, strings.Repeat(filler, 880<<10/len(filler)))
	}
	old := text(0)
	_, err = ask("PUT", old)
	ts.Check(err)
	kept := 0
	for round := 1; round <= rounds; round++ {
		next := text(round)
		ended := make(chan error, 1)
		go func() {
			_, err := ask("PUT", next)
			ended <- err
		}()
		switch before := bytesIn(ts, ts.MkAbs(args[1])); {
		case round == rounds: // the last is answered
			ended <- <-ended
		case round%2 == 0: // as soon as something is written
			for len(ended) == 0 && bytesIn(ts, ts.MkAbs(args[1])) == before {
			}
		default: // the later a round, the more the daemon has answered meanwhile
			for i := 0; i < round && len(ended) == 0; i++ {
				_, err := ask("GET", "")
				ts.Check(err)
			}
		}
		m.crash(ts, args[:1])
		answered := <-ended == nil
		m.daemon(ts, args[:2])
		var is console.Model
		b, err := ask("GET", "")
		ts.Check(err)
		ts.Check(json.Unmarshal([]byte(b), &is))
		switch {
		case is.Text == next:
			old = next
		case is.Text != old || answered:
			ts.Fatalf("round %d: a model of %d bytes called %q is in force, answered %v", round, len(is.Text), is.Name, answered)
		default:
			kept++
		}
	}
	ts.Logf("the old model stayed %d times of %d", kept, rounds)
	if kept == 0 || kept == rounds {
		ts.Fatalf("the old model stayed %d times of %d", kept, rounds)
	}
}

// bytesIn is the length of all files under a directory.
func bytesIn(ts *testscript.TestScript, dir string) (n int64) {
	ts.Check(filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil && !d.IsDir() {
			if info, err = d.Info(); err == nil {
				n += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) { // another is in its place meanwhile
			return nil
		}
		return err
	}))
	return n
}
