package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leasehold/leasehold/appliance/console"
	"github.com/leasehold/leasehold/capability"
)

// tree is every file below a directory with its content.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all.WriteString(path + ": " + string(b) + "\n")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

const firstPart = "part-0000000000000001-0000000000000008"

// Each backup has a directory of its own: one that is there is not changed, whichever of its files is left.
func TestBackupBesideAnother(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	whole := stream{console.ArchiveFile{Name: "key", Bytes: []byte("k2")}, console.ArchiveFile{Name: "note", Bytes: []byte("n2")}, console.ArchiveFile{Name: firstPart, Bytes: []byte("p2")}}
	d.says("GET backup", whole)
	for _, left := range []string{"key", "note", "part-0000000000000001-0000000000000020"} {
		m.put("used/"+left, []byte("the first"))
		before := tree(t, m.dir+"/used")
		status, out, stderr := m.run("backup", "-o", "used")
		if status != capability.ExitError || out != "" || !strings.Contains(stderr, left) {
			t.Errorf("beside a %s: exit status %d\n%s%s", left, status, out, stderr)
		}
		fourLines(t, "beside a "+left, stderr, capability.ErrFileRead)
		if after := tree(t, m.dir+"/used"); after != before {
			t.Errorf("beside a %s: %s", left, after)
		}
		if err := os.RemoveAll(m.dir + "/used"); err != nil {
			t.Fatal(err)
		}
	}
	m.put("stick/holiday.txt", []byte("of somebody"))
	if status, _, stderr := m.run("backup", "-o", "stick"); status != 0 {
		t.Errorf("beside what is no backup: %s", stderr)
	}
	for args, want := range map[string]string{
		"backup -o words":       "3 files, 6 bytes in words\n",
		"backup -o json --json": "{\n  \"schema\": \"leasehold.backup/1\",\n  \"warnings\": [],\n  \"directory\": \"json\",\n  \"files\": 3,\n  \"bytes\": 6\n}\n",
	} {
		if status, out, stderr := m.run(strings.Fields(args)...); status != 0 || out != want {
			t.Errorf("%s: exit status %d, %s%s", args, status, out, stderr)
		}
	}
}

// What breaks off leaves nothing behind, and nothing that can be taken for a backup.
func TestBackupThatBreaksOff(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	for name, answer := range map[string]stream{
		"no key":            {console.ArchiveFile{Name: "note", Bytes: []byte("n")}, console.ArchiveFile{Name: firstPart, Bytes: []byte("p")}},
		"nothing":           {},
		"another file":      {console.ArchiveFile{Name: "key", Bytes: []byte("k")}, console.ArchiveFile{Name: "../out", Bytes: []byte("p")}},
		"not one of ours":   {console.ArchiveFile{Name: "key", Bytes: []byte("k")}, console.ArchiveFile{Name: "holiday.txt", Bytes: []byte("p")}},
		"no JSON":           {console.ArchiveFile{Name: "note", Bytes: []byte("n")}, "not an object"},
		"one file twice":    {console.ArchiveFile{Name: "note", Bytes: []byte("n")}, console.ArchiveFile{Name: "note", Bytes: []byte("n")}, console.ArchiveFile{Name: "key", Bytes: []byte("k")}},
		"a name with slash": {console.ArchiveFile{Name: "part-/x", Bytes: []byte("n")}, console.ArchiveFile{Name: "key", Bytes: []byte("k")}},
	} {
		d.says("GET backup", answer)
		if status, out, _ := m.run("backup", "-o", "copy"); status == 0 || out != "" {
			t.Errorf("%s: exit status %d, %s", name, status, out)
		}
		if left := tree(t, m.dir+"/copy"); left != "" {
			t.Errorf("%s: it left %s", name, left)
		}
	}
}

// Standard output that takes nothing ends every command that prints with an error, and whoever lost the recovery key hears how to get another.
func TestFullOutput(t *testing.T) {
	m := newMachine(t)
	d := m.daemon()
	d.says("POST recovery", console.RecoveryKey{Key: "00000-00000"})
	d.says("GET recovery", console.Recovery{})
	d.says("GET features", []console.Feature{{LineItem: capability.LineItem{Feature: "render"}}})
	d.says("GET configuration", console.Configuration{})
	d.says("GET doctor", []console.Examination{{What: "disk", Result: "failure", Detail: "full"}})
	p := newProducer(t, 1)
	m.put("RSP-0012.LHR", p.response(t, here(), 12))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, line := range []string{
		"recovery show", "recovery show --json", "recovery", "status", "status --json", "features", "version", "help", "--help", "explain", "explain LH-3104", "inspect RSP-0012.LHR", "inspect RSP-0012.LHR --json", "doctor", "configuration export", "completion bash",
	} {
		c := exec.Command(os.Args[0], strings.Fields(line)...)
		var stderr bytes.Buffer
		c.Dir, c.Env, c.Stdout, c.Stderr = m.dir, m.env, full, &stderr
		if err := c.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Fatal(err)
		}
		if c.ProcessState.ExitCode() != capability.ExitError {
			t.Errorf("%s: exit status %d\n%s", line, c.ProcessState.ExitCode(), stderr.String())
			continue
		}
		fourLines(t, line, stderr.String(), capability.ErrFileRead)
		if strings.HasPrefix(line, "recovery show") && !strings.Contains(stderr.String(), "next: leasehold recovery show --new") {
			t.Errorf("%s: %s", line, stderr.String())
		}
	}
}
