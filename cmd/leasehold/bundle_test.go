package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

// unpack reads a bundle: its parts by name.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name, inside := strings.CutPrefix(h.Name, "leasehold-support/")
		if !inside || strings.Contains(name, "/") {
			t.Errorf("a part is called %q", h.Name)
		}
		parts[name] = string(text)
	}
}

// tools puts programs of the system first in the path, which say something.
func (m *machine) tools(says map[string]string) {
	for name, text := range says {
		m.put("bin/"+name, []byte("#!/bin/sh\ncat <<'EOF'\n"+text+"\nEOF\n"))
		if err := os.Chmod(filepath.Join(m.dir, "bin", name), 0o755); err != nil {
			m.t.Fatal(err)
		}
	}
	for i, v := range m.env {
		if rest, is := strings.CutPrefix(v, "PATH="); is {
			m.env[i] = "PATH=" + filepath.Join(m.dir, "bin") + ":" + rest
		}
	}
}

// The bundle has what it lists, and no secret, wherever one was said.
func TestSupportBundle(t *testing.T) {
	m := newMachine(t)
	id := string(activationID(1))
	secrets := []string{
		id[:17], "K7QF2-9MXA1-00000-ZZZZZ-K7QF2-9MXA1-00000-ZZZZZ", "hunter2hunter2", "c2VjcmV0LWtleS1ieXRlcw", "eyJhbGciOi.tok-en_1", "proxypass", "K7QF-2M9X",
		"lh_" + strings.Repeat("Ab-_", 11),
	}
	m.tools(map[string]string{
		"systemctl": "leaseholdd.service - active (running)\nEnvironment=HTTPS_PROXY=http://proxyuser:proxypass@proxy:3128",
		"journalctl": "LH-2102 rights returned code=LH-2102 activation=" + id + " copies=2\nrecovery key " + secrets[1] + " typed\npassword=hunter2hunter2\n" +
			"-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0LWtleS1ieXRlcw\n-----END EC PRIVATE KEY-----\nAuthorization: Bearer eyJhbGciOi.tok-en_1\nfirst-login code: K7QF-2M9X\nfound " + secrets[7] + " in a script\nthe last line",
	})
	d := m.daemon()
	d.says("GET features", []console.Feature{{LineItem: capability.LineItem{Feature: "render", ActivationID: activationID(1)}, Status: "valid"}})
	d.says("GET doctor", []console.Examination{{What: "TPM", Result: "success"}})
	d.says("GET policies", []any{})
	d.says("GET pools", []any{})
	d.does("GET time", func([]byte) (any, *capability.Refusal) {
		return nil, capability.Refuse(capability.ErrBusy, "", "asked for %s", id)
	})
	status, list, stderr := m.run("support-bundle", "--list")
	if entries, _ := filepath.Glob(filepath.Join(m.dir, "*.gz")); status != 0 || stderr != "" || len(entries) > 0 {
		t.Fatal(status, stderr, entries)
	}
	status, out, stderr := m.run("support-bundle", "-o", "support.tar.gz")
	if status != 0 || out != list || stderr != "Written: support.tar.gz\n" {
		t.Fatalf("%d\n%s%s\n%s", status, out, stderr, list)
	}
	info, err := os.Stat(filepath.Join(m.dir, "support.tar.gz"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	parts := unpack(t, filepath.Join(m.dir, "support.tar.gz"))
	if lines := strings.Split(strings.TrimSpace(list), "\n"); len(parts) != len(lines)-1 {
		t.Errorf("%d parts, and listed are\n%s", len(parts), list)
	}
	for name, text := range parts {
		if !strings.Contains(list, name+" ") {
			t.Errorf("%s is not listed", name)
		}
		for _, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s has %q:\n%s", name, s, text)
			}
		}
	}
	for name, want := range map[string]string{
		"status.json": `"state": "serving"`, "features.json": "#####-#####-#####-" + id[18:], "journal.txt": "code=LH-2102 activation=#####-#####-#####-" + id[18:] + " copies=2", "units.txt": "http://(user)@proxy:3128",
		"time.json": "not to be had: LH-6007", "version.txt": "leasehold development", "doctor.json": `"TPM"`,
	} {
		if !strings.Contains(parts[name], want) {
			t.Errorf("%s lacks %q:\n%s", name, want, parts[name])
		}
	}
	if !strings.HasSuffix(parts["journal.txt"], "the last line\n") {
		t.Error(parts["journal.txt"])
	}
	if strings.Contains(list+out+stderr, id[:17]) {
		t.Error("an activation ID is in the list")
	}
	// What is there is not written over.
	_, _, stderr = m.run("support-bundle", "-o", "support.tar.gz")
	fourLines(t, "again", stderr, capability.ErrFileRead)
	if after, err := os.Stat(filepath.Join(m.dir, "support.tar.gz")); err != nil || after.Size() != info.Size() {
		t.Error(after, err)
	}
}

// Support is asked when nothing answers: the bundle is written all the same, and its JSON warns of what is missing.
func TestSupportBundleWithoutADaemon(t *testing.T) {
	m := newMachine(t)
	m.tools(map[string]string{"systemctl": "failed", "journalctl": "LH-4004"})
	status, out, stderr := m.run("support-bundle", "-o", "x.tar.gz", "--json")
	var said struct {
		Schema   string
		Warnings []string
		File     string
		Parts    []piece
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil || status != 0 || said.Schema != "leasehold.support-bundle/1" || said.File != "x.tar.gz" || len(said.Warnings) < 6 || len(said.Parts) < 10 {
		t.Fatal(err, status, out, stderr)
	}
	parts := unpack(t, filepath.Join(m.dir, "x.tar.gz"))
	for _, p := range said.Parts {
		if p.Bytes != len(parts[p.Name]) {
			t.Errorf("%s has %d bytes and %d are said", p.Name, len(parts[p.Name]), p.Bytes)
		}
	}
	if !strings.Contains(parts["status.json"], "connect") || !strings.Contains(parts["journal.txt"], "LH-4004") {
		t.Error(parts)
	}
	for _, args := range []string{"support-bundle", "support-bundle --list -o x", "support-bundle -o -", "support-bundle -o none/x.tar.gz"} {
		if status, _, _ := m.run(strings.Fields(args)...); status == 0 {
			t.Errorf("%s ends with 0", args)
		}
	}
}

// What is no secret stays as it is.
func TestRedactKeepsTheRest(t *testing.T) {
	for _, s := range []string{
		"LH-7F3A-22C9", "code=LH-3104", `"code": "LH-4007"`, `"name": "token-life", "value": "1800"`, "7F3A22C900000000000000000000000000000000000000000000000000000000/TPM_EK", "2026-11-20T08:02:00Z",
		"https://backoffice.example:7443", "tcp:127.0.0.1:2321", "no token is known", "secret", "basic rights",
	} {
		if got := redact(s); got != s {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}
